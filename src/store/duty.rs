//! The duty of a cluster: which node holds it; and which node the cluster waits for no more.
//!
//! Invariant: the time that decides is that of the log, so that every node decides alike.

#[cfg(feature = "next-level")]
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::audit;
use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{int, number, text};
use crate::base::time::UnixMs;
use crate::model::duty::{DUTY_MS, Duty, HoldDuty, RemoveNode};
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
    if let Some((node, until)) = &held
        && now < *until
        && node != hold.node.as_str()
    {
        let node = NodeName::parse(node).ok_or(Refusal::Internal)?;
        return Written::quietly(Answer::HoldDuty(Duty { node, until: *until }));
    }
    #[cfg(feature = "next-level")]
    if batch.log.level >= SINCE_LEVEL {
        let is_again = held.is_some_and(|(node, _)| node == hold.node.as_str());
        return hold_since(conn, hold.node, now, is_again);
    }
    let until = now.after(DUTY_MS);
    conn.prepare_cached("INSERT OR REPLACE INTO duty (only_row, node, until) VALUES (1, ?1, ?2)")?
        .execute((hold.node.as_str(), int(until)))?;
    Written::quietly(Answer::HoldDuty(Duty { node: hold.node, until }))
}

/// The row stays, so that no entry of a life that is over counts again.
pub fn remove_node(batch: &mut Batch<'_>, remove: &RemoveNode) -> Result<Written, Stop> {
    let changed = batch
        .conn
        .prepare_cached("UPDATE nodes SET level = 0 WHERE name = ?1")?
        .execute([remove.node.as_str()])?;
    if changed > 0 {
        let node = remove.node.as_str();
        audit::record::<()>(batch.conn, (remove.at, None), "cluster.remove", None, node)?;
    }
    Written::quietly(Answer::RemoveNode(changed > 0))
}

/// From this level on there is a column `since`.
#[cfg(feature = "next-level")]
const SINCE_LEVEL: u32 = 2;

/// The rule of the second level: who asks again keeps the time since when it has the duty.
#[cfg(feature = "next-level")]
fn hold_since(conn: &Connection, node: NodeName, now: UnixMs, is_again: bool) -> Result<Written, Stop> {
    let until = now.after(DUTY_MS);
    conn.prepare_cached(
        "INSERT INTO duty (only_row, node, until, since) VALUES (1, ?1, ?2, ?3) ON CONFLICT DO UPDATE SET \
         node = excluded.node, until = excluded.until, since = CASE WHEN ?4 THEN since ELSE excluded.since END",
    )?
    .execute((node.as_str(), int(until), int(now), is_again))?;
    Written::quietly(Answer::HoldDuty(Duty { node, until }))
}
