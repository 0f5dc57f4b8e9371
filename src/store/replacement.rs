//! Copies the database into a new file that replaces the old one, after a sync of the old one failed.
//!
//! Copies the bytes of the file and of the WAL up to the last commit. The file alone cannot be trusted: pages that were
//! written to it since its last successful sync may be lost. All these pages are in the WAL, which was synced at every
//! commit and is not truncated before the file is synced. Replayed over the copy, the WAL completes it.
//!
//! ```text
//! natter.db, -wal ──copy──→ natter.db.part, -wal ──replay, check, sync──→ natter.db.replacement ──→ natter.db
//! ```
//! Invariant: a file `natter.db.replacement` is complete and on disk, and the old file is not written to once it exists. A
//! start that finds one finishes the exchange first. The old WAL is removed before the exchange, so that it is never
//! replayed over the new file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::connection::{self, with_suffix};
use super::fault::Fault;

/// Bytes copied and synced in one step. The writer refuses commands between two steps.
const STEP_BYTES: u64 = 8 << 20;
/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// The header of a WAL and of one of its frames (<https://www.sqlite.org/fileformat2.html#walformat>).
const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// Why there is no new file.
#[derive(Debug)]
pub enum Failed {
    /// The content that was read is damaged.
    Damaged(String),
    Fault(Fault, String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        let fault = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Fault::Full,
            _ => Fault::Io,
        };
        Failed::Fault(fault, error.to_string())
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        match Fault::of(&error) {
            Fault::Corrupt => Failed::Damaged(error.to_string()),
            fault => Failed::Fault(fault, error.to_string()),
        }
    }
}

/// The old database at the time of the failed sync. A transaction of the writer's connection pins it: no connection writes,
/// and no checkpoint of another process restarts the WAL.
pub struct Old {
    path: PathBuf,
    /// Closed only when the connection is: closing any descriptor of a file releases the locks that the process has on it
    /// (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
    file: File,
    /// Frames of the WAL up to the last commit, and the offset of their end in bytes.
    frames: u64,
    wal_bytes: u64,
}

impl Old {
    pub fn pin(conn: &Connection, path: &Path) -> Result<Old, Failed> {
        let version = || conn.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0));
        let page: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let before = version()?;
        // Before the transaction, because this pragma fails inside of one.
        let frames = frames(conn)?;
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let begun = version().map_err(Failed::from).and_then(|after| match after == before {
            true => Ok(File::open(path)?),
            false => Err(Failed::Fault(Fault::Busy, "another process wrote to the database".to_owned())),
        });
        match begun {
            Ok(file) => {
                let wal_bytes = WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + u64::from(page));
                Ok(Old { path: path.to_owned(), file, frames, wal_bytes })
            }
            Err(failed) => {
                conn.execute_batch("ROLLBACK")?;
                Err(failed)
            }
        }
    }
}

/// A copy in progress.
pub struct Copy {
    database: Part,
    wal: Option<(File, Part)>,
}

/// The copied part of a file: up to `at`, of `end` bytes.
struct Part {
    to: File,
    at: u64,
    end: u64,
}

impl Part {
    /// Copies the next step. Returns whether there was something left to copy.
    fn step(&mut self, from: &File) -> io::Result<bool> {
        if self.at >= self.end {
            return Ok(false);
        }
        let until = self.end.min(self.at + STEP_BYTES);
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.at < until {
            let bytes = &mut buffer[..BUFFER_BYTES.min((until - self.at) as usize)];
            from.read_exact_at(bytes, self.at)?;
            self.to.write_all_at(bytes, self.at)?;
            self.at += bytes.len() as u64;
        }
        self.to.sync_data()?;
        Ok(true)
    }
}

impl Copy {
    pub fn begin(old: &Old) -> io::Result<Copy> {
        clear(&old.path)?;
        let part = part(&old.path);
        let database = Part { to: create(&part)?, at: 0, end: old.file.metadata()?.len() };
        let wal = match old.frames {
            0 => None,
            _ => {
                let to = create(&with_suffix(&part, "-wal"))?;
                Some((File::open(with_suffix(&old.path, "-wal"))?, Part { to, at: 0, end: old.wal_bytes }))
            }
        };
        Ok(Copy { database, wal })
    }

    /// Copies the next step. Returns whether all is copied.
    pub fn step(&mut self, old: &Old) -> io::Result<bool> {
        if self.database.step(&old.file)? {
            return Ok(false);
        }
        match &mut self.wal {
            Some((from, part)) => Ok(!part.step(from)?),
            None => Ok(true),
        }
    }

    /// Replays the WAL over the copy, checks it, and renames it to the name that marks it as complete.
    pub fn complete(self, old: &Old) -> Result<(), Failed> {
        drop(self);
        let part = part(&old.path);
        let conn = Connection::open_with_flags(
            &part,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cell_size_check", true)?;
        let found = frames(&conn)?;
        if found != old.frames {
            return Err(Failed::Damaged(format!("{found} of {} frames of the WAL are valid", old.frames)));
        }
        let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        let result: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if result != "ok" {
            return Err(Failed::Damaged(result.replace('\n', " ")));
        }
        conn.close().map_err(|(_, error)| error)?;
        let wal = fs::metadata(with_suffix(&part, "-wal")).map_or(0, |file| file.len());
        if busy || wal > 0 {
            return Err(Failed::Fault(Fault::Busy, "another process opened the copy".to_owned()));
        }
        File::open(&part)?.sync_all()?;
        fs::rename(&part, replacement(&old.path))?;
        sync_folder(&old.path)?;
        Ok(())
    }
}

/// Renames a complete replacement to the name of the database. Without a replacement it only syncs the folder.
pub fn exchange(path: &Path) -> io::Result<()> {
    let replacement = replacement(path);
    if replacement.try_exists()? {
        for end in ["-wal", "-shm"] {
            remove(&with_suffix(path, end))?;
        }
        // The rename comes after this sync: after a power cut, the new file must never be found together with the old WAL.
        sync_folder(path)?;
        fs::rename(replacement, path)?;
    }
    sync_folder(path)
}

/// Finishes an exchange that the last process began. Returns whether there was one.
pub fn recover(path: &Path) -> io::Result<bool> {
    let found = replacement(path).try_exists()?;
    if found {
        exchange(path)?;
        remove(&mark(path))?;
        log::warn!(
            "storage: the database was replaced by its complete copy, which the last process had made"
        );
    }
    Ok(found)
}

/// Removes the files of an incomplete attempt.
pub fn clear(path: &Path) -> io::Result<()> {
    let part = part(path);
    for end in ["-wal", "-shm", ""] {
        remove(&with_suffix(&part, end))?;
    }
    Ok(())
}

/// Marks the file as suspect for the next process. The kernel's page cache does not show that a sync failed. After a power
/// cut or a reboot the mark is not needed, so it is not synced.
pub fn set_mark(path: &Path) -> io::Result<()> {
    create(&mark(path)).map(drop)
}

pub fn is_marked(path: &Path) -> bool {
    mark(path).exists()
}

pub fn remove_mark(path: &Path) -> io::Result<()> {
    remove(&mark(path))
}

/// Frames in the WAL up to the last commit.
fn frames(conn: &Connection) -> rusqlite::Result<u64> {
    conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1))
        .map(|frames| frames.max(0) as u64)
}

fn part(path: &Path) -> PathBuf {
    with_suffix(path, ".part")
}

pub fn replacement(path: &Path) -> PathBuf {
    with_suffix(path, ".replacement")
}

fn mark(path: &Path) -> PathBuf {
    with_suffix(path, ".suspect")
}

/// Readable by its owner only, because it holds password hashes and messages.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(connection::folder(path))?.sync_all()
}
