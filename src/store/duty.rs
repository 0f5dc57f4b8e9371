//! The duty of a cluster: which node holds it.
//!
//! Invariant: the time that decides is that of the log, so that every node decides alike.

use rusqlite::OptionalExtension;

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{int, number, text};
use crate::base::time::UnixMs;
use crate::model::duty::{DUTY_MS, Duty, HoldDuty};
use crate::model::node::NodeName;
use crate::model::operation::{Answer, Refusal};

pub fn hold(batch: &mut Batch<'_>, hold: HoldDuty) -> Result<Written, Stop> {
    let conn = batch.conn;
    // A natter alone has no log, and nobody else asks.
    let now = batch.log.time.unwrap_or_default();
    let held = conn
        .prepare_cached("SELECT node, until FROM duty")?
        .query_row([], |row| Ok((text(row, 0)?, UnixMs(number(row, 1)?))))
        .optional()?;
    if let Some((node, until)) = held
        && now < until
        && node != hold.node.as_str()
    {
        let node = NodeName::parse(&node).ok_or(Refusal::Internal)?;
        return Written::quietly(Answer::HoldDuty(Duty { node, until }));
    }
    let until = now.after(DUTY_MS);
    conn.prepare_cached("INSERT OR REPLACE INTO duty (only_row, node, until) VALUES (1, ?1, ?2)")?
        .execute((hold.node.as_str(), int(until)))?;
    Written::quietly(Answer::HoldDuty(Duty { node: hold.node, until }))
}
