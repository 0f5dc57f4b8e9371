//! The writer's part of the search index: records edited and erased messages, and removes the index of old versions.
//!
//! A record is deleted when the index reports that it is done. The index that versions before 11 kept in the database is
//! erased in small steps.
//! Invariant: a change is recorded in the transaction that makes it.

use rusqlite::Connection;

use super::value::int;

/// Rows deleted in one step.
const FORGET_STEP: u32 = 1_000;

/// Tables of the old index that migration 11 renamed, and how many rows of each take about a hundred pages.
const RETIRED: [(&str, u64); 3] =
    [("search_retired_content", 2_048), ("search_retired_data", 64), ("search_retired_docsize", 8_192)];

/// Whether this is a table of the old index, which exists until a step has erased it.
pub fn is_retired(table: &str) -> bool {
    RETIRED.iter().any(|(name, _)| *name == table)
}

/// Records that a message has another text, or none any more. `op` is the seq of the event of this change.
pub fn record(conn: &Connection, op: u64, message: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO search_changes (op, message) VALUES (?1, ?2)")?
        .execute((int(op), int(message)))?;
    Ok(())
}

/// Deletes changes up to `done`, and erases a part of the old index. Returns whether there is more to do now. Must run
/// inside of a transaction.
pub fn sweep(conn: &Connection, done: u64) -> rusqlite::Result<bool> {
    let forgotten = conn
        .prepare_cached(
            "DELETE FROM search_changes WHERE op IN \
             (SELECT op FROM search_changes WHERE op <= ?1 ORDER BY op LIMIT ?2)",
        )?
        .execute((int(done), FORGET_STEP))?;
    Ok(erase_retired(conn)? || forgotten == FORGET_STEP as usize)
}

fn erase_retired(conn: &Connection) -> rusqlite::Result<bool> {
    for (table, rows) in RETIRED {
        if !conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([table])? {
            continue;
        }
        let erased = conn
            .prepare(&format!("DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} LIMIT {rows})"))?
            .execute([])?;
        if (erased as u64) < rows {
            conn.execute_batch(&format!("DROP TABLE {table}"))?;
        }
        return Ok(true);
    }
    Ok(false)
}
