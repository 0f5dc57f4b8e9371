//! A file beside the database that takes up room, to be given back when nothing else is left: SQLite makes a `-shm` file at
//! each start, and on a full disk a server that was stopped could not even serve what it has.
//!
//! Owns that file. Made when the database was opened, filled up when there is room again, removed by a start that fails.
//! Invariant: it holds nothing, and no fault of it is one of the database.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::no_follow::NO_FOLLOW;

/// The `-shm` of a log at its bound: 32 KiB for each 4,096 pages in the log (<https://www.sqlite.org/walformat.html>), of
/// 65,536 pages of 4 KiB at 256 MiB, the first 62 pages fewer.
const BYTES: usize = 17 * 32 * 1_024;

/// Written at once: a full disk takes as much of it as fits.
const STEP: usize = 32 * 1_024;
const _: () = assert!(BYTES.is_multiple_of(STEP));

fn place(database: &Path) -> PathBuf {
    database.with_file_name("reserve")
}

/// Between two attempts to fill it up.
const FILL_EVERY: Duration = Duration::from_secs(1);

/// What the writer knows of it.
#[derive(Debug, Default)]
pub struct Reserve {
    is_whole: bool,
    next_at: Option<Instant>,
}

impl Reserve {
    /// At a start: what is left of the room goes back into it, so that a full disk is told to the first post.
    pub fn begin(&mut self, database: &Path) {
        self.is_whole = keep(database);
    }

    /// While the database takes writes: the room is there again, or will be.
    pub fn maintain(&mut self, database: &Path, now: Instant) {
        if !self.is_whole && self.next_at.is_none_or(|at| at <= now) {
            self.next_at = Some(now + FILL_EVERY);
            self.is_whole = keep(database);
        }
    }
}

/// Gives the room back. Whether there was any.
pub fn release(database: &Path) -> bool {
    fs::remove_file(place(database)).is_ok()
}

/// Fills the file up, as far as there is room. Whether it is whole.
fn keep(database: &Path) -> bool {
    match fill(&place(database)) {
        Ok(()) => true,
        Err(error) => {
            ::log::debug!("storage: the reserve is not whole: {error}");
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
    // Not synced: what a power cut takes of it is filled up by the next start.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;

    #[test]
    fn it_is_filled_up_and_given_back() {
        let folder = Folder::new();
        let (database, path) = (folder.join("natter.db"), folder.join("reserve"));
        assert!(!release(&database));
        for before in [None, Some(0), Some(700), Some(BYTES)] {
            if let Some(bytes) = before {
                fs::write(&path, vec![0; bytes]).expect("written");
            }
            assert!(keep(&database));
            assert_eq!(path.metadata().expect("a file").len(), BYTES as u64);
        }
        assert!(release(&database) && !path.exists());
        // A link leads nowhere, and a folder is no file: neither stops anything.
        std::os::unix::fs::symlink(folder.join("elsewhere"), &path).expect("a link");
        assert!(!keep(&database) && !folder.join("elsewhere").exists());
    }
}
