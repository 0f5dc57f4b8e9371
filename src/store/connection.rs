//! Connections: how the database file is opened, with which settings, and whether the file is sound.
//!
//! Invariant: all connections have settings of the same strength.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::StoreOptions;
use super::before_upgrade;
use super::fault::OpenFault;
use super::migrations::{self, VERSION};
use super::value::number;
use super::{metadata, replacement};
use crate::limits::{CacheSizes, QUICK_CHECK_BYTES_MAX, STORE_BUSY_MS};
use crate::model::node::LEVEL;

/// Prepared statements a connection keeps: more than there are texts of SQL. Above it, the least recently used is prepared
/// again.
const STATEMENTS_CACHED: usize = 128;

/// `natt`: marks the file as ours (SQLite's `application_id`).
pub(super) const APPLICATION_ID: i32 = 0x6e61_7474;

/// Bytes of a page of a new database. A commit writes each page that it changes to the WAL: a lone post changes five, of which it
/// fills a small part. An existing database keeps the size that it was made with, SQLite's default of 4 KiB in earlier versions.
pub(super) const PAGE_BYTES: u32 = 2_048;

/// The writer's connection, created, checked and migrated. A file that is refused stays unchanged, and so does its WAL:
/// only [`close_in_order`] lets SQLite checkpoint and remove that.
pub(super) fn open_writer(options: &StoreOptions) -> Result<Connection, OpenFault> {
    let path = &options.path;
    let failed = |error: std::io::Error| OpenFault::Failed { path: path.clone(), detail: error.to_string() };
    replacement::recover(path).map_err(failed)?;
    let is_new = length(path) == 0;
    if !is_new {
        check_file(path)?;
    } else if length(&with_suffix(path, "-wal")) > 0 {
        // SQLite would remove it as the WAL of a missing database.
        let detail = "it is missing or empty, but its -wal file is there".to_owned();
        return Err(OpenFault::Corrupt { path: path.clone(), detail });
    }
    // Created before SQLite opens it, because SQLite would let every user read it: it holds password hashes and messages.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    let mut conn = Connection::open_with_flags(path, flags).map_err(wrap)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(wrap)?;
    configure(&conn, options.caches.writer_kib).map_err(wrap)?;
    if is_new {
        // Before the first write, which decides it.
        conn.pragma_update(None, "page_size", PAGE_BYTES).map_err(wrap)?;
    }
    prepare_writer(&conn, options.synchronous_full).map_err(wrap)?;
    let target = migrations::target(&conn, options.in_cluster).map_err(wrap)?;
    before_upgrade::keep(&conn, path, target, options.free_bytes);
    migrations::migrate(&mut conn, target).map_err(wrap)?;
    keep_pages(&conn, true).map_err(wrap)?;
    Ok(conn)
}

/// Lets SQLite remove the WAL, which must be empty by now.
pub(super) fn close_in_order(conn: Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.close().map_err(|(_, error)| error)
}

/// The folder of the database.
pub(super) fn folder(database: &Path) -> &Path {
    match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A reader's connection, which can't write.
pub(super) fn open_reader(options: &StoreOptions) -> Result<Connection, OpenFault> {
    let path = &options.path;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    let conn = Connection::open_with_flags(path, flags).map_err(wrap)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(wrap)?;
    configure(&conn, options.caches.reader_kib).map_err(wrap)?;
    conn.pragma_update(None, "query_only", true).map_err(wrap)?;
    is_ours(&conn, path)?;
    let target = migrations::target(&conn, options.in_cluster).map_err(wrap)?;
    if migrations::version(&conn).map_err(wrap)? < target {
        let detail = "its schema is not yet of this version".to_owned();
        return Err(OpenFault::Failed { path: path.clone(), detail });
    }
    Ok(conn)
}

pub(super) fn configure(conn: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    set_busy_timeout(conn, STORE_BUSY_MS)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // A misspelt column must not become a text. A foreign schema must not run functions.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Otherwise SQLite prepares a statement with a bound LIMIT again at each execution, to plan with its value.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))
}

fn prepare_writer(conn: &Connection, synchronous_full: bool) -> rusqlite::Result<()> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        // A file system without shared memory: readers and the writer could not work at the same time.
        return Err(rusqlite::Error::InvalidParameterName(format!("no write-ahead log here, but {mode}")));
    }
    set_synchronous(conn, synchronous_full)?;
    // Checkpoints run between batches, where no answer waits for them (`Store::maintain`).
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Erased content is overwritten.
    conn.pragma_update(None, "secure_delete", true)?;
    // Written once: it is a transaction, and at a start nothing is to be written before the WAL is proven.
    if application_id(conn)? != APPLICATION_ID {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(())
}

/// From here on a transaction writes nothing before its commit, so that the commit reports a full or failing disk, and no
/// statement before it does. A batch changes a few hundred pages. Not during migrations: a table that is rewritten would
/// have to fit into memory.
pub(super) fn keep_pages(conn: &Connection, kept: bool) -> rusqlite::Result<()> {
    conn.pragma_update(None, "cache_spill", !kept)
}

/// Sets how long a connection waits for a lock of another one.
pub(super) fn set_busy_timeout(conn: &Connection, wait_ms: u64) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(wait_ms))
}

pub(super) fn set_synchronous(conn: &Connection, full: bool) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })
}

pub(super) fn application_id(conn: &Connection) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Checks that the file belongs to natter and is sound, by a connection that can't write, not even to replay a journal that
/// another program left. What reading creates, the index of the WAL and an empty WAL, is removed again if the file is refused.
fn check_file(path: &Path) -> Result<(), OpenFault> {
    let (wal, index) = (with_suffix(path, "-wal"), with_suffix(path, "-shm"));
    let (had_wal, had_index) = (wal.exists(), index.exists());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    let checked = Connection::open_with_flags(path, flags).map_err(wrap).and_then(|conn| {
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(wrap)?;
        configure(&conn, CacheSizes::default().reader_kib).map_err(wrap)?;
        is_ours(&conn, path)?;
        is_sound(&conn, path)
    });
    if checked.is_err() {
        // A WAL that is not empty is that of another process.
        let created = [(!had_index, index), (!had_wal && length(&wal) == 0, wal)];
        for (_, file) in created.into_iter().filter(|(is_new, _)| *is_new) {
            if let Err(error) = std::fs::remove_file(&file)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                log::warn!("storage: {} can't be removed: {error}", file.display());
            }
        }
    }
    checked
}

/// The path of the file to which SQLite gives this suffix, such as `-wal`.
pub(super) fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Identifies the file: as long as a process has it open, no other file has its number.
pub(super) fn inode(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}

pub(super) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Refuses another program's file and a newer natter's. An empty file is accepted: it is about to become natter's.
pub(super) fn is_ours(conn: &Connection, path: &Path) -> Result<(), OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    let application = application_id(conn).map_err(wrap)?;
    let objects: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(wrap)?;
    let found = migrations::version(conn).map_err(wrap)?;
    if application != APPLICATION_ID && (application != 0 || objects != 0) {
        return Err(OpenFault::Foreign { path: path.to_owned() });
    }
    if found > VERSION {
        return Err(OpenFault::TooNew { path: path.to_owned(), found, known: VERSION });
    }
    if found >= migrations::CLUSTER
        && let Some(level) = metadata::level(conn).map_err(wrap)?
        && level > LEVEL
    {
        return Err(OpenFault::LevelTooNew { path: path.to_owned(), level });
    }
    Ok(())
}

/// A check that costs milliseconds: every page of a small database; for a large one the header, the schema (both already
/// read by now) and the length of the file. `natter check` reads everything.
fn is_sound(conn: &Connection, path: &Path) -> Result<(), OpenFault> {
    let pragma = |name| {
        conn.pragma_query_value(None, name, |row| number(row, 0)).map_err(|error| OpenFault::new(path, error))
    };
    let bytes = pragma("page_count")? * pragma("page_size")?;
    if bytes <= QUICK_CHECK_BYTES_MAX {
        return verdict(conn, path, "PRAGMA quick_check(1)");
    }
    // While a WAL exists, the file may be shorter than the database.
    if length(&with_suffix(path, "-wal")) == 0 && length(path) < bytes {
        let detail = format!("{} bytes are missing at its end", bytes - length(path));
        return Err(OpenFault::Corrupt { path: path.to_owned(), detail });
    }
    Ok(())
}

pub(super) fn verdict(conn: &Connection, path: &Path, pragma: &str) -> Result<(), OpenFault> {
    let result: String =
        conn.query_row(pragma, [], |row| row.get(0)).map_err(|error| OpenFault::new(path, error))?;
    match result.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenFault::Corrupt { path: path.to_owned(), detail: result.replace('\n', " ") }),
    }
}
