//! Whether answered writes are on disk, and what has to succeed before the writer answers again.
//!
//! After a sync that failed, Linux marks the pages clean: a later sync of the same pages returns 0 and writes nothing. So a
//! failed sync is never repeated: its bytes are written to other blocks, or, where another process copies the WAL, written
//! again to the same ones (`wal_file`). Owns the states and the rule of which fault leads to which state. Leaves the work to
//! `upkeep` (checkpoints) and `replacement` (a new file).
//!
//! ```text
//! Unproven ──TRUNCATE, mark of the start──→ Sound ←──TRUNCATE──┐        (TRUNCATE: or the WAL is written again)
//!     │                                      │ │               │
//!     │                                      │ └─failed COMMIT─→ WAL
//!     └──────────failed checkpoint───────────┴──→ Database ←───┘ failed checkpoint
//!                                                    └──content in a new, synced file──→ Sound
//! ```
//! Invariant: a write is committed and answered in `Sound` alone.

use rusqlite::{Error, ErrorCode, ffi};

use super::fault::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// After a start: recovery reads the WAL from the page cache, which may hold writes that the last process could not
    /// sync.
    Unproven,
    Sound,
    /// A write or sync of the WAL failed. Answered writes are in the WAL and were synced before.
    Wal,
    /// A sync of the database file may have failed. Its content since the last successful sync is in the WAL, which is
    /// kept.
    Database,
}

/// Why the latest attempt to become sound failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another process reads the WAL.
    OtherProcess,
    /// The content for the new file is damaged.
    Damaged,
    Fault(Fault),
}

#[derive(Debug)]
pub struct Durability {
    pub state: State,
    /// The fault that refuses writes while the state is not `Sound`.
    fault: Fault,
    pub obstacle: Option<Obstacle>,
}

impl Durability {
    pub fn unproven() -> Durability {
        Durability { state: State::Unproven, fault: Fault::Io, obstacle: None }
    }

    pub fn is_sound(&self) -> bool {
        self.state == State::Sound
    }

    /// The fault that refuses writes, if they are refused.
    pub fn fault(&self) -> Option<Fault> {
        (!self.is_sound()).then_some(self.fault)
    }

    /// A COMMIT failed. Returns whether the WAL may be affected: a transaction writes nothing before its COMMIT.
    pub fn commit_failed(&mut self, error: &Error) -> bool {
        let Error::SqliteFailure(failure, _) = error else { return false };
        let wrote = match failure.code {
            ErrorCode::ConstraintViolation | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => false,
            ErrorCode::SystemIoFailure => failure.extended_code != ffi::SQLITE_IOERR_NOMEM,
            _ => true,
        };
        if wrote && self.state != State::Database {
            self.fault = lasting(Fault::of(error));
            self.obstacle = None;
            // An unfinished start stays in its state: it needs the same checkpoint, and more.
            if self.state != State::Unproven {
                self.state = State::Wal;
            }
        }
        wrote
    }

    /// A checkpoint failed. Returns whether the database file has to be written to a new file: because a sync failed, of
    /// the WAL or of the file (SQLite does not say which), or a write failed for another reason than lack of space.
    pub fn checkpoint_failed(&mut self, error: &Error) -> bool {
        let suspect = is_failed_write(error);
        if suspect {
            (self.state, self.fault, self.obstacle) = (State::Database, Fault::Io, None);
        } else if !self.is_sound() {
            self.blocked(Fault::of(error));
        }
        suspect
    }

    /// An attempt to return to `Sound` failed, and the state is not worse than before.
    pub fn blocked(&mut self, fault: Fault) {
        self.obstacle =
            Some(if fault == Fault::Busy { Obstacle::OtherProcess } else { Obstacle::Fault(fault) });
        if self.state != State::Database {
            self.fault = lasting(fault);
        }
    }

    /// Answered writes are on disk, and later writes will be.
    pub fn is_proven(&mut self) {
        (self.state, self.obstacle) = (State::Sound, None);
    }

    /// The reason in words, as `/readyz` shows it.
    pub fn reason(&self) -> Option<&'static str> {
        use Obstacle::{Damaged, OtherProcess};
        Some(match (self.state, self.obstacle) {
            (State::Sound, _) => return None,
            (State::Unproven | State::Wal, Some(OtherProcess)) => "another process holds the write-ahead log",
            (State::Unproven | State::Wal, Some(Obstacle::Fault(Fault::Full))) => Fault::Full.reason(),
            (State::Unproven, _) => "what the write-ahead log holds is not yet known to be on disk",
            (State::Wal, _) if self.fault == Fault::Full => Fault::Full.reason(),
            (State::Wal, _) => "a write to the write-ahead log failed: a checkpoint has to succeed first",
            (State::Database, None) => "a sync of the database failed: its content is written to a new file",
            (State::Database, Some(OtherProcess)) => {
                "a sync of the database failed, and another process holds the database"
            }
            (State::Database, Some(Damaged)) => {
                "a sync of the database failed, and its content is damaged: a backup has to be restored"
            }
            (State::Database, Some(Obstacle::Fault(Fault::Full))) => {
                "a sync of the database failed, and the disk has no room for a new file"
            }
            (State::Database, Some(Obstacle::Fault(_))) => {
                "a sync of the database failed, and its content can't be written to a new file"
            }
        })
    }
}

/// A sync fails once. Later writes are refused because of its consequence, which is an I/O fault.
fn lasting(fault: Fault) -> Fault {
    if fault == Fault::Sync { Fault::Io } else { fault }
}

/// Errors of reading, locking and mapping leave the disk unchanged. For any other I/O error the worst case is assumed. A
/// full disk or quota is `SQLITE_FULL` when a write meets it (see `fault::with_cause`), and an error of the sync on a thin
/// volume.
fn is_failed_write(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    failure.code == ErrorCode::SystemIoFailure
        && !matches!(
            failure.extended_code,
            ffi::SQLITE_IOERR_READ
                | ffi::SQLITE_IOERR_SHORT_READ
                | ffi::SQLITE_IOERR_NOMEM
                | ffi::SQLITE_IOERR_LOCK
                | ffi::SQLITE_IOERR_UNLOCK
                | ffi::SQLITE_IOERR_RDLOCK
                | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
                | ffi::SQLITE_IOERR_BLOCKED
                | ffi::SQLITE_IOERR_ACCESS
                | ffi::SQLITE_IOERR_FSTAT
                | ffi::SQLITE_IOERR_SHMOPEN
                | ffi::SQLITE_IOERR_SHMSIZE
                | ffi::SQLITE_IOERR_SHMLOCK
                | ffi::SQLITE_IOERR_SHMMAP
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(extended: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(extended), None)
    }

    /// Each error code, and the state it leads to from `Sound`: as the error of a COMMIT, and as the error of a checkpoint.
    #[test]
    fn each_error_leads_to_the_state_of_its_worst_meaning() {
        use State::{Database, Sound, Wal};
        for (code, commit, checkpoint) in [
            (ffi::SQLITE_IOERR_FSYNC, Wal, Database),
            (ffi::SQLITE_IOERR_WRITE, Wal, Database),
            (ffi::SQLITE_IOERR_TRUNCATE, Wal, Database),
            (ffi::SQLITE_IOERR, Wal, Database),
            (ffi::SQLITE_FULL, Wal, Sound),
            (ffi::SQLITE_IOERR_READ, Wal, Sound),
            (ffi::SQLITE_IOERR_SHMMAP, Wal, Sound),
            (ffi::SQLITE_IOERR_NOMEM, Sound, Sound),
            (ffi::SQLITE_BUSY, Sound, Sound),
            (ffi::SQLITE_LOCKED, Sound, Sound),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, Sound, Sound),
        ] {
            let sound = || Durability { state: Sound, ..Durability::unproven() };
            let (mut after_commit, mut after_checkpoint) = (sound(), sound());
            assert_eq!(after_commit.commit_failed(&error(code)), commit == Wal, "{code}");
            assert_eq!(after_checkpoint.checkpoint_failed(&error(code)), checkpoint == Database, "{code}");
            assert_eq!((after_commit.state, after_checkpoint.state), (commit, checkpoint), "{code}");
            assert_eq!(after_commit.fault().is_some(), commit == Wal);
            assert_eq!(after_commit.reason().is_some(), commit == Wal);
        }
    }

    #[test]
    fn a_suspect_database_stays_suspect_after_any_other_fault() {
        let mut durability = Durability::unproven();
        assert!(durability.checkpoint_failed(&error(ffi::SQLITE_IOERR_FSYNC)));
        durability.commit_failed(&error(ffi::SQLITE_FULL));
        durability.checkpoint_failed(&error(ffi::SQLITE_BUSY));
        assert_eq!(durability.state, State::Database);
        let mut durability = Durability::unproven();
        durability.commit_failed(&error(ffi::SQLITE_IOERR_FSYNC));
        assert_eq!(durability.state, State::Unproven, "a start needs more than the checkpoint");
    }

    #[test]
    fn a_lock_of_another_process_is_named() {
        for state in [State::Unproven, State::Wal, State::Database] {
            let mut durability = Durability { state, ..Durability::unproven() };
            durability.checkpoint_failed(&error(ffi::SQLITE_BUSY));
            assert!(durability.reason().expect("a reason").contains("another process holds"), "{state:?}");
        }
    }
}
