//! A file next to the database that reserves disk space, to be released when the disk is full.
//!
//! SQLite creates a `-shm` file at each start. On a full disk a stopped server could not even serve the data it has. Owns
//! this file: it is created when the database was opened, refilled when there is space again, and removed by a start that
//! fails.
//! Invariant: it holds no data, and an error of this file is never an error of the database.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StoreOptions;
use super::connection::PAGE_BYTES;
use crate::base::no_follow::NO_FOLLOW;

/// Bytes of the file: enough for the `-shm` of a WAL at the default limit, which has more pages in a new database than in one of an
/// earlier version, whose pages are larger. A start with a longer one (WAL_MAX is greater, and
/// another process held the WAL) says that the disk is full.
const BYTES: usize = 34 * SHM_BLOCK_BYTES;

/// SQLite adds blocks of this size to the `-shm` file. Each lists 4,096 pages of the WAL, the first one 34 fewer for its header
/// (<https://www.sqlite.org/walformat.html>).
const SHM_BLOCK_BYTES: usize = 32 * 1_024;
const SHM_BLOCK_PAGES: u64 = 4_096;
const SHM_HEADER_PAGES: u64 = 34;

/// Bytes that the last batch may add to a WAL just below its limit.
const BATCH_BYTES: u64 = 8 << 20;

const fn shm_bytes(wal_pages: u64) -> u64 {
    (wal_pages + SHM_HEADER_PAGES).div_ceil(SHM_BLOCK_PAGES) * SHM_BLOCK_BYTES as u64
}
const _: () = assert!(BYTES as u64 >= shm_bytes((StoreOptions::WAL_MAX + BATCH_BYTES) / PAGE_BYTES as u64));

/// Bytes written at once: a full disk takes as many of them as fit.
const STEP: usize = 32 * 1_024;
const _: () = assert!(BYTES.is_multiple_of(STEP));

fn path(database: &Path) -> PathBuf {
    database.with_file_name("reserve")
}

/// Time between two attempts to refill it.
const FILL_EVERY: Duration = Duration::from_secs(1);

/// The writer's state of the reserve.
#[derive(Debug, Default)]
pub struct Reserve {
    is_full: bool,
    next_at: Option<Instant>,
}

impl Reserve {
    /// At a start the remaining space goes back into the reserve, so that the first post is refused if the disk is full.
    pub fn begin(&mut self, database: &Path) {
        self.is_full = refill(database);
    }

    /// While the database accepts writes, there is space for the reserve, or there will be.
    pub fn maintain(&mut self, database: &Path, now: Instant) {
        if !self.is_full && self.next_at.is_none_or(|at| at <= now) {
            self.next_at = Some(now + FILL_EVERY);
            self.is_full = refill(database);
        }
    }
}

/// Releases the reserved space. Returns whether there was any.
pub fn release(database: &Path) -> bool {
    fs::remove_file(path(database)).is_ok()
}

/// Fills the file as far as there is space. Returns whether it has its full size.
fn refill(database: &Path) -> bool {
    match fill(&path(database)) {
        Ok(()) => true,
        Err(error) => {
            log::debug!("storage: the reserve file does not have its full size: {error}");
            false
        }
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NO_FOLLOW).open(path)?;
    let mut bytes = usize::try_from(file.metadata()?.len()).unwrap_or(BYTES);
    while bytes < BYTES {
        bytes += file.write(&[0; STEP][..STEP.min(BYTES - bytes)])?;
    }
    // Not synced: the next start refills what a power cut removes.
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::base::testing::Folder;

    /// The sizes that SQLite gives to the file, at both sides of a new block.
    #[test]
    fn the_size_of_the_shm_file_is_that_of_sqlite() {
        let folder = Folder::new();
        let path = folder.join("wal.db");
        let conn = Connection::open(&path).expect("a database");
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_spill = OFF; PRAGMA synchronous = OFF; \
             CREATE TABLE pages (content)",
        )
        .expect("a table");
        let pages = |conn: &Connection| {
            conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1)).expect("a length")
        };
        let shm = folder.join("wal.db-shm");
        for end in [10, 4_062, 4_063, 8_158, 8_159, 12_400] {
            while pages(&conn) < end {
                // The leaf of an inner page or a first row: each commit adds a few pages at most.
                let missing = end - pages(&conn);
                let content = if missing > 40 { (missing - 20) * 4_096 } else { 100 };
                conn.execute("INSERT INTO pages VALUES (zeroblob(?1))", [content]).expect("a row");
            }
            let length = shm.metadata().expect("a file").len();
            assert_eq!(length, shm_bytes(pages(&conn) as u64), "{} pages", pages(&conn));
        }
    }

    #[test]
    fn the_reserve_is_filled_and_released() {
        let folder = Folder::new();
        let (database, path) = (folder.join("natter.db"), folder.join("reserve"));
        assert!(!release(&database));
        for before in [None, Some(0), Some(700), Some(BYTES)] {
            if let Some(bytes) = before {
                fs::write(&path, vec![0; bytes]).expect("written");
            }
            assert!(refill(&database));
            assert_eq!(path.metadata().expect("a file").len(), BYTES as u64);
        }
        assert!(release(&database) && !path.exists());
        // A symbolic link is not followed, and a folder is not a file: neither prevents a start.
        std::os::unix::fs::symlink(folder.join("elsewhere"), &path).expect("a link");
        assert!(!refill(&database) && !folder.join("elsewhere").exists());
    }
}
