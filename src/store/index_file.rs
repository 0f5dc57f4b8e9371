//! The file of the search index: its path, its schema, how it is made, opened and replaced.
//!
//! Owns whether a file can be used. Does not know the content of its blocks.
//!
//! All its content can be rebuilt from `natter.db`, so it is never repaired: a file that is missing, damaged, of another
//! format or of another history is replaced by a new, empty one. It is not part of a backup.
//! Invariant: a file that is opened belongs to the history of the database next to it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::connection::{self, with_suffix};
use super::fault::Fault;
use super::value::int;
use crate::limits::{CacheSizes, QUICK_CHECK_BYTES_MAX};

/// `nats`: marks the file as ours (SQLite's `application_id`).
const APPLICATION_ID: i32 = 0x6e61_7473;
/// The format of the blocks: raised with each change of it or of how a text is split and folded.
const FORMAT: i64 = 1;
/// Bytes of its WAL file that are kept for reuse. The rest is released.
const WAL_KEPT_BYTES: i64 = 4_194_304;

const SCHEMA: &str = "
CREATE TABLE state (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Of which history this is the index.
    epoch TEXT NOT NULL,
    -- Messages up to this seq were looked at, and the upper half of the id of the message there; 0 at the beginning.
    through INTEGER NOT NULL,
    through_id INTEGER NOT NULL
) STRICT;
CREATE TABLE blocks (
    key INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    -- The seqs of its first and last message, and how many there are.
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    -- Last, since it goes on in overflow pages.
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blocks_of_conversation ON blocks (conversation, first);
";

/// The index file of this database.
pub fn path(database: &Path) -> PathBuf {
    database.with_file_name("search.db")
}

/// Replaces the file, if there is one, with an empty index.
pub fn make(path: &Path, epoch: &str) -> rusqlite::Result<()> {
    let new = with_suffix(path, ".new");
    for suffix in ["", "-journal", "-wal", "-shm"] {
        remove(&with_suffix(&new, suffix)).map_err(storage)?;
    }
    // It holds words of messages: readable by its owner only.
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new).map_err(storage)?;
    let conn = Connection::open_with_flags(
        &new,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // Before the first write, which decides it.
    conn.pragma_update(None, "page_size", connection::PAGE_BYTES)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", FORMAT)?;
    conn.execute_batch(SCHEMA)?;
    conn.execute("INSERT INTO state VALUES (1, ?1, 0, 0)", [epoch])?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    conn.close().map_err(|(_, error)| error)?;
    discard_wal(path)?;
    fs::rename(&new, path).map_err(storage)
}

/// Removes the index. A search that has it open continues with its content.
pub fn discard(path: &Path) -> rusqlite::Result<()> {
    discard_wal(path)?;
    remove(path).map_err(storage)
}

/// Removed before its database: SQLite would take the WAL of a removed file for the WAL of the next file with that name.
fn discard_wal(path: &Path) -> rusqlite::Result<()> {
    remove(&with_suffix(path, "-wal")).map_err(storage)?;
    remove(&with_suffix(path, "-shm")).map_err(storage)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The error that SQLite itself would return.
fn storage(error: io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => rusqlite::ffi::SQLITE_FULL,
        _ => rusqlite::ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
}

/// The one connection that writes it. `None`: there is no usable file.
pub fn open_writer(
    path: &Path,
    natter: &Connection,
    caches: CacheSizes,
) -> rusqlite::Result<Option<Connection>> {
    let open = || {
        let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, caches.index_kib)?;
        if !is_of(&conn, natter)? || !is_sound(&conn)? {
            return Ok(None);
        }
        // Everything lost with it can be rebuilt. SQLite syncs before and after each checkpoint, so the file itself is
        // never torn.
        connection::set_synchronous(&conn, false)?;
        conn.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        // Erased content is overwritten.
        conn.pragma_update(None, "secure_delete", true)?;
        Ok(Some(conn))
    };
    usable(path, open())
}

/// A connection for searches. `None`: there is no usable file, or not yet.
pub fn open_reader(
    path: &Path,
    natter: &Connection,
    caches: CacheSizes,
) -> rusqlite::Result<Option<Connection>> {
    let open = || {
        let conn = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, caches.reader_kib)?;
        conn.pragma_update(None, "query_only", true)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(is_of(&conn, natter)?.then_some(conn))
    };
    usable(path, open())
}

/// Identifies the file, so that a replaced file is noticed.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn usable(path: &Path, opened: rusqlite::Result<Option<Connection>>) -> rusqlite::Result<Option<Connection>> {
    match opened {
        Err(error) if Fault::of(&error) == Fault::Corrupt || !path.exists() => Ok(None),
        opened => opened,
    }
}

fn open(path: &Path, mode: OpenFlags, cache_kib: u32) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection::configure(&conn, cache_kib)?;
    Ok(conn)
}

/// Whether this is an index of the current format and of `natter`'s history, and not ahead of `natter`.
fn is_of(conn: &Connection, natter: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != i64::from(APPLICATION_ID) || pragma("user_version")? != FORMAT {
        return Ok(false);
    }
    let found = conn
        .query_row("SELECT epoch, through, through_id FROM state", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    let Some((epoch, through, through_id)) = found else { return Ok(false) };
    if epoch != self::epoch(natter)? {
        return Ok(false);
    }
    // An older or newer copy of the same history has another message, or none, at that seq.
    Ok(through == 0
        || natter
            .prepare_cached("SELECT 1 FROM messages WHERE seq = ?1 AND id_high = ?2")?
            .exists((through, through_id))?)
}

/// The epoch of the database.
pub fn epoch(natter: &Connection) -> rusqlite::Result<String> {
    natter.query_row("SELECT epoch FROM state", [], |row| row.get(0))
}

/// Small files are checked completely. Damage in a large one is found when it is read.
fn is_sound(conn: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("page_count")? * pragma("page_size")? > int(QUICK_CHECK_BYTES_MAX) {
        return Ok(true);
    }
    conn.query_row("PRAGMA quick_check(1)", [], |row| Ok(row.get::<_, String>(0)? == "ok"))
}
