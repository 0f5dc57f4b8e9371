//! Copies the complete database while it is in use.
//!
//! Owns the copy's file, in the folder of the database, where the server's user may write. Does not know what happens with
//! it.
//!
//! The copy shares the writer's connection: SQLite then applies every later commit to the pages that are already copied, so
//! that no step is repeated, however busy the writer is, and no snapshot is held between two steps.
//! Invariant: a copy is complete or does not exist.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connection;
use super::fault::{Fault, with_cause};
use crate::base::id::Id;
use crate::model::operation::Refusal;

/// Bytes of the database copied in one step of a backup, which takes one or two milliseconds between two batches.
const BACKUP_STEP_BYTES: i32 = 1 << 20;

const PREFIX: &str = "natter.backup-";

/// Copies the open database of `conn` into a file in the same folder, whose name contains `id`. Calls `between` after each
/// step but the last; `false` cancels the copy. Returns the file's name.
pub fn copy(
    conn: &Connection,
    database: &Path,
    id: Id,
    between: &mut dyn FnMut() -> bool,
) -> Result<String, Refusal> {
    let name = format!("{PREFIX}{id}");
    let path = database.with_file_name(&name);
    let refused = match clear(database).map_err(storage).and_then(|()| fill(conn, &path, between)) {
        Ok(true) => return Ok(name),
        Ok(false) => Refusal::Unavailable,
        Err(error) => {
            let error = with_cause(error);
            let fault = Fault::of(&error);
            log::error!("storage: a backup failed: {fault} ({error})");
            fault.refusal()
        }
    };
    if let Err(error) = remove(&path) {
        log::warn!("storage: an incomplete backup can't be removed: {error}");
    }
    Err(refused)
}

/// Copies the open database of `conn` to `target`, in the folder of the database; a file of this name is replaced. `prepare` changes
/// the copy before it has its name, and it is on disk afterwards.
pub(super) fn copy_to(
    conn: &Connection,
    database: &Path,
    target: &Path,
    prepare: fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let path = database.with_file_name(format!("{PREFIX}upgrade"));
    clear(database).map_err(storage)?;
    let copied = fill(conn, &path, &mut || true).and_then(|_| {
        let copy = reopen(&path)?;
        prepare(&copy)?;
        copy.close().map_err(|(_, error)| error)?;
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        let moved = sync(&path).and_then(|()| fs::rename(&path, target));
        moved.and_then(|()| sync(connection::folder(database))).map_err(storage)
    });
    if copied.is_err()
        && let Err(error) = remove(&path)
    {
        log::warn!("storage: an incomplete copy can't be removed: {error}");
    }
    copied
}

/// Removes copies that no command fetched.
pub fn clear(database: &Path) -> io::Result<()> {
    for entry in fs::read_dir(connection::folder(database))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn fill(conn: &Connection, path: &Path, between: &mut dyn FnMut() -> bool) -> rusqlite::Result<bool> {
    let page_bytes: i32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let mut copy = create(path)?;
    let backup = Backup::new(conn, &mut copy)?;
    while backup.step(BACKUP_STEP_BYTES / page_bytes)? != StepResult::Done {
        if !between() {
            return Ok(false);
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| error)?;
    Ok(true)
}

/// A new file, readable by its owner only, because it holds password hashes and messages.
fn create(path: &Path) -> rusqlite::Result<Connection> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(storage)?;
    let conn = reopen(path)?;
    // It is read only when it is complete, and the command that archives it syncs the archive: the writer waits for no disk
    // here.
    conn.pragma_update(None, "journal_mode", "OFF")?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    Ok(conn)
}

fn reopen(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The error that SQLite itself would return.
pub(super) fn storage(error: io::Error) -> rusqlite::Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => rusqlite::ffi::SQLITE_FULL,
        _ => rusqlite::ffi::SQLITE_CANTOPEN,
    };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.kind().to_string()))
}
