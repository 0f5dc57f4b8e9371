//! The copy of a database that is kept before its schema changes: the way back to the version of natter before.
//!
//! Owns the copy's file, in the folder of the database, and when it is removed. The operator puts it in the place of the database: that
//! works with each version of before, also with one whose `natter restore` takes no database.
//! An upgrade goes on without a copy, and says so: who has no room for one has a backup.
//! Invariant: a copy is complete and on disk or does not exist, and an older one is removed when it does. A start with it begins
//! another history.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::backup;
use super::connection;
use super::metadata;
use super::migrations;
use crate::base::time::UnixMs;

/// The free bytes of the file system of a folder, where the system tells them.
pub type FreeBytes = fn(&Path) -> Option<u64>;

/// Between this and the version of its schema is nothing: `natter.db.schema-33`.
const PREFIX: &str = "natter.db.schema-";
/// Days after which a copy goes at a start: it holds what is erased in the database since.
const KEPT_DAYS: u64 = 30;
/// Bytes that must stay free in addition to what the steps of an upgrade may need, which is as much as the database.
const SPARE_BYTES: u64 = 64 << 20;

/// Copies the database before the steps to schema version `target` are taken, and removes the copies of earlier upgrades.
pub fn keep(conn: &Connection, database: &Path, target: i64, free_bytes: Option<FreeBytes>) {
    let Some(free_bytes) = free_bytes else { return };
    match make(conn, database, target, free_bytes) {
        Ok(Kept::Nothing) => {}
        Ok(Kept::Copy(path)) => log::info!(
            "storage: the database before this upgrade is kept as {}: with it the version of before can be installed again, \
             see \"The way back\" in the README",
            path.display()
        ),
        Ok(Kept::NoRoom { needed, free }) => log::warn!(
            "storage: no copy of the database is kept before this upgrade: that needs {needed} bytes of free space, and there \
             are {free}"
        ),
        Err(error) => log::warn!("storage: no copy of the database is kept before this upgrade: {error}"),
    }
}

enum Kept {
    /// There is nothing to keep: the database is new, or is of this version already.
    Nothing,
    Copy(PathBuf),
    NoRoom {
        needed: u64,
        free: u64,
    },
}

fn make(conn: &Connection, database: &Path, target: i64, free_bytes: FreeBytes) -> rusqlite::Result<Kept> {
    let from = migrations::version(conn)?;
    if from == 0 || from >= target {
        return Ok(Kept::Nothing);
    }
    let pages: u32 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_bytes: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let bytes = u64::from(pages) * u64::from(page_bytes);
    let needed = bytes.saturating_mul(2).saturating_add(SPARE_BYTES);
    match free_bytes(connection::folder(database)) {
        Some(free) if free >= needed => {}
        free => return Ok(Kept::NoRoom { needed, free: free.unwrap_or(0) }),
    }
    log::info!("storage: the database is copied before the upgrade: {bytes} bytes");
    let name = format!("{PREFIX}{from}");
    let copy = database.with_file_name(&name);
    backup::copy_to(conn, database, &copy, renew)?;
    remove(database, |other| other != name).map_err(backup::storage)?;
    Ok(Kept::Copy(copy))
}

/// Clients have cursors of what comes after the copy, so no cursor of before may fit. Of a node the log names the history.
fn renew(copy: &Connection) -> rusqlite::Result<()> {
    // Only since version 28.
    let place = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'place')";
    let is_newer: bool = copy.query_row(place, [], |row| row.get(0))?;
    if is_newer && metadata::is_in_cluster(copy)? { Ok(()) } else { metadata::renew(copy) }
}

/// Removes a copy whose time is over.
pub fn expire(database: &Path, now: UnixMs) -> io::Result<()> {
    let folder = connection::folder(database);
    remove(database, |name| {
        let made_s = fs::metadata(folder.join(name)).map(|file| file.mtime()).ok();
        let made_s = made_s.and_then(|made_s| u64::try_from(made_s).ok());
        let is_over = made_s.is_some_and(|made_s| made_s + KEPT_DAYS * 86_400 < now.0 / 1_000);
        if is_over {
            log::info!("storage: {name}, the database before an upgrade {KEPT_DAYS} days ago, is removed");
        }
        is_over
    })
}

fn remove(database: &Path, is_removed: impl Fn(&str) -> bool) -> io::Result<()> {
    let folder = connection::folder(database);
    let mut is_any = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && is_removed(name)) {
            fs::remove_file(entry.path())?;
            is_any = true;
        }
    }
    if is_any { File::open(folder)?.sync_all() } else { Ok(()) }
}
