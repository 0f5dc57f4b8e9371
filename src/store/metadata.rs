//! Metadata of the database: its epoch, whether it was closed cleanly, the head of its log.
//!
//! Invariant: no `seq` is ever assigned twice, so the head never decreases, even if rows are removed.

use rusqlite::{Connection, OptionalExtension};

use super::value::{id, int, number};
use super::{PasswordTag, StoreOptions};
use crate::base::crypto::Entropy;
use crate::base::time::{UnixMs, UnixS};
use crate::model::id::SessionId;

/// Letters of a new epoch: 50 bits, so that no two histories have the same.
const EPOCH_LEN: usize = 10;
const EPOCH_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

const CLOSED: i64 = 0;
const OPEN_FULL: i64 = 1;
const OPEN_NORMAL: i64 = 2;

/// The greatest `seq` on disk: of messages, of the log, and of events without a row of their own.
pub fn head(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT max(head, ifnull((SELECT max(seq) FROM messages), 0), ifnull((SELECT max(seq) FROM log), 0)) \
         FROM state",
    )?
    .query_row([], |row| number(row, 0))
}

/// Events up to here were deleted.
pub fn pruned(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT pruned FROM state")?.query_row([], |row| number(row, 0))
}

/// Raises the lower bound of the head.
pub fn keep_head(conn: &Connection, head: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE state SET head = ?1")?.execute([int(head)])?;
    Ok(())
}

/// How many of the newest messages [`newest_id_high`] reads. The newest message has the greatest id in current databases.
/// In old ones the random bits within a millisecond were unordered, and a clock that was set back extended that
/// millisecond.
const NEWEST_IDS_READ: i64 = 4_096;

/// The greatest high half of a message's id: its time and its random bits. No later message has a smaller one.
pub fn newest_id_high(conn: &Connection) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached("SELECT id_high FROM messages ORDER BY seq DESC LIMIT ?1")?;
    let mut rows = statement.query([NEWEST_IDS_READ])?;
    let mut newest = 0;
    while let Some(row) = rows.next()? {
        // Stored in two's complement, so that SQL's max() is wrong for times after the year 6,400.
        newest = newest.max(row.get::<_, i64>(0)? as u64);
    }
    Ok(newest)
}

/// The newest time in any row. Rows are made in the order of their keys.
pub fn newest_ms(conn: &Connection) -> rusqlite::Result<UnixMs> {
    let mut newest = newest_id_high(conn)? >> 16;
    for sql in [
        "SELECT at FROM log ORDER BY seq DESC LIMIT 1",
        "SELECT created_at FROM members ORDER BY key DESC LIMIT 1",
        "SELECT created_at FROM sessions ORDER BY key DESC LIMIT 1",
    ] {
        let time = conn.query_row(sql, [], |row| number(row, 0)).optional()?;
        newest = newest.max(time.unwrap_or_default());
    }
    Ok(UnixMs(newest))
}

/// Sessions that ended and whose last access token is still valid at `unix_s`.
pub fn ended(conn: &Connection, unix_s: UnixS) -> rusqlite::Result<Vec<(SessionId, UnixS)>> {
    conn.prepare("SELECT session, until FROM ended_sessions WHERE until > ?1")?
        .query_map([int(unix_s)], |row| Ok((id(row, 0)?, UnixS(number(row, 1)?))))?
        .collect()
}

/// The values that a start records.
#[derive(Debug)]
pub struct Beginning {
    /// Empty in a cluster until the first entry of the log is applied.
    pub epoch: String,
    running: i64,
    password_tag: Option<PasswordTag>,
}

pub fn epoch(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("SELECT epoch FROM state", [], |row| row.get(0))
}

/// The epoch that goes on; `None` if there is none, or if answered writes may have been lost when the database was last open.
#[cfg(feature = "cluster")]
pub fn lasting_epoch(conn: &Connection) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT epoch, running FROM state", [], |row| {
        let (epoch, running): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok(Some(epoch).filter(|epoch| !epoch.is_empty() && running != OPEN_NORMAL))
    })
}

/// Decides what a start records: a new epoch for a new database, and for one that was not closed cleanly while a power cut
/// could lose answered writes. In a cluster the log names the epoch.
pub fn beginning(
    conn: &Connection,
    options: &StoreOptions,
    entropy: &mut dyn Entropy,
) -> rusqlite::Result<Beginning> {
    let (epoch, running): (String, i64) =
        conn.query_row("SELECT epoch, running FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let is_new = !options.in_cluster && (epoch.is_empty() || running == OPEN_NORMAL);
    let epoch = if is_new { new_epoch(entropy) } else { epoch };
    let running = if options.synchronous_full { OPEN_FULL } else { OPEN_NORMAL };
    Ok(Beginning { epoch, running, password_tag: options.password_tag })
}

/// Marks the database as open. Runs under `synchronous=FULL`, because the mark itself must not be lost.
pub fn begin(conn: &Connection, beginning: &Beginning) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE state SET epoch = ?1, running = ?2, password_tag = ifnull(?3, password_tag)",
        (&beginning.epoch, beginning.running, beginning.password_tag),
    )?;
    Ok(())
}

/// Whether there are members whose password hashes need another secret than the one of this tag. `false` for a database
/// without a tag.
pub fn needs_other_secret(conn: &Connection, tag: PasswordTag) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT password_tag IS NOT NULL AND password_tag <> ?1 AND EXISTS (SELECT 1 FROM members) FROM state",
        [tag],
        |row| row.get(0),
    )
}

/// Records which password secret the database needs from now on.
pub fn set_password_tag(conn: &Connection, tag: Option<PasswordTag>) -> rusqlite::Result<()> {
    conn.execute("UPDATE state SET password_tag = ?1", [tag])?;
    Ok(())
}

/// Marks the database as closed cleanly.
pub fn end(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE state SET running = ?1", [CLOSED])?;
    Ok(())
}

/// Sets the epoch that the log of a cluster names.
#[cfg(feature = "cluster")]
pub fn set_epoch(conn: &Connection, epoch: &str) -> rusqlite::Result<()> {
    conn.execute("UPDATE state SET epoch = ?1", [epoch])?;
    Ok(())
}

/// The level in force at the place of a node of a cluster; `None` for the database of a natter alone.
pub fn level(conn: &Connection) -> rusqlite::Result<Option<u32>> {
    conn.query_row("SELECT level FROM place", [], |row| row.get(0)).optional()
}

/// Whether this is the database of a node of a cluster.
pub fn is_in_cluster(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM place)", [], |row| row.get(0))
}

/// From now on the database is that of a natter alone.
pub fn leave_cluster(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "DELETE FROM place; DELETE FROM nodes; DELETE FROM duty; DELETE FROM skip; DELETE FROM certificate",
    )
}

/// Deletes the epoch: the next start begins another history.
pub fn renew(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE state SET epoch = '', running = ?1", [CLOSED])?;
    Ok(())
}

/// A write without meaning that reaches the disk. SQLite does not write a page whose bytes stay the same, so it counts.
pub fn touch(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE state SET touched = (touched + 1) & 65535")?.execute([])?;
    Ok(())
}

pub fn new_epoch(entropy: &mut dyn Entropy) -> String {
    (0..EPOCH_LEN).map(|_| char::from(EPOCH_ALPHABET[entropy.below(32) as usize])).collect()
}
