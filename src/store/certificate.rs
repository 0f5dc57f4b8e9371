//! What the nodes of a cluster share of the certificate of https.
//!
//! Owns the table `certificate`. Leaves to `model::certificate` what the rows are.
//! Invariant: the duty and the time of the log decide who writes, so that every node decides alike.

use std::sync::Arc;

use rusqlite::Connection;

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{int, text};
use crate::model::certificate::{CertificateRow, CertificateRows, KeepCertificate};
use crate::model::operation::Answer;

pub fn keep(batch: &mut Batch<'_>, keep: KeepCertificate) -> Result<Written, Stop> {
    let conn = batch.conn;
    // A natter alone has no log, and keeps its certificate in files.
    let now = batch.log.time.unwrap_or_default();
    let has_duty: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM duty WHERE node = ?1 AND until > ?2)")?
        .query_row((keep.node.as_str(), int(now)), |row| row.get(0))?;
    if !has_duty {
        return Written::quietly(Answer::KeepCertificate(Arc::default()));
    }
    let mut insert =
        conn.prepare_cached("INSERT OR REPLACE INTO certificate (name, sealed) VALUES (?1, ?2)")?;
    for CertificateRow { name, sealed } in &keep.rows {
        insert.execute((name, sealed))?;
    }
    Written::quietly(Answer::KeepCertificate(keep.rows.into()))
}

/// All rows.
pub fn read(conn: &Connection) -> rusqlite::Result<CertificateRows> {
    conn.prepare("SELECT name, sealed FROM certificate ORDER BY name")?
        .query_map([], |row| Ok(CertificateRow { name: text(row, 0)?, sealed: text(row, 1)? }))?
        .collect()
}
