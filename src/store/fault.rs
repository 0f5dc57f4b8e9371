//! Faults of the store: failures of the disk or of SQLite, and why a database does not open.
//!
//! Their texts show no content and no SQL. Only [`OpenFault`], which an operator reads, names the file.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rusqlite::{Error, ErrorCode, ffi};

use crate::model::node::LEVEL;
use crate::model::operation::Refusal;

/// Why storage could not do its work. The same command may succeed later, except after `Corrupt`: then the caller stops
/// the process, because every further write could make the damage worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full, or a quota of the operating system is used up.
    Full,
    /// The file does not contain what was written to it.
    Corrupt,
    /// The operating system refused to read or write.
    Io,
    /// A sync failed: data that should be on disk may not be.
    Sync,
    /// Another process holds the database, or a reader outside of this process prevents the WAL from shrinking.
    Busy,
    /// A bug of natter: an invalid statement, or a row that violates a rule of the schema.
    Internal,
}

impl Fault {
    pub(super) fn of(error: &Error) -> Fault {
        match error {
            Error::SqliteFailure(failure, _) => match failure.code {
                _ if matches!(
                    failure.extended_code,
                    ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC
                ) =>
                {
                    Fault::Sync
                }
                ErrorCode::DiskFull => Fault::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Fault::Corrupt,
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Fault::Busy,
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport => Fault::Io,
                _ => Fault::Internal,
            },
            _ => Fault::Internal,
        }
    }

    /// The refusal that the client receives.
    pub fn refusal(self) -> Refusal {
        match self {
            Fault::Full => Refusal::StorageFull,
            Fault::Internal => Refusal::Internal,
            Fault::Corrupt | Fault::Io | Fault::Sync | Fault::Busy => Refusal::Unavailable,
        }
    }

    /// The reason in words, as `/readyz` shows it.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::Full => "the disk is full",
            Fault::Corrupt => "the database is corrupt",
            Fault::Io => "the database can't be read or written",
            Fault::Sync => "a sync of the database failed",
            Fault::Busy => "the database is held by another process",
            Fault::Internal => "an internal fault",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Fault {}

/// The same error, and `SQLITE_FULL` if it is one of a write that found no space. SQLite returns that code only for ENOSPC
/// in a write of the database or the WAL: an exceeded quota (EDQUOT) is an I/O error, and so is any lack of space for the
/// `-shm` file. The errno tells them apart. It is read here and not by `sqlite3_system_errno`, which returns the same value,
/// so `error` must come from the last call on this thread.
pub(super) fn with_cause(error: Error) -> Error {
    let Error::SqliteFailure(failure, _) = &error else { return error };
    let cause = io::Error::last_os_error();
    if !is_lack_of_space(failure.extended_code, cause.kind()) {
        return error;
    }
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(cause.to_string()))
}

/// A failed write leaves the errno of this write. After any other error, the errno may be an older one.
fn is_lack_of_space(extended_code: i32, cause: ErrorKind) -> bool {
    matches!(extended_code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
        && matches!(cause, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Why an operation ended without an answer.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Refusal),
    /// Kept complete until it is logged, at the boundary of the store.
    Failed(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Remembers the current fault, so that it is logged once when it begins and once when it is over, not ten thousand
/// times in between.
#[derive(Debug)]
pub(super) struct FaultLog {
    of: &'static str,
    lasting: Option<Fault>,
}

impl FaultLog {
    pub fn new(of: &'static str) -> FaultLog {
        FaultLog { of, lasting: None }
    }

    pub fn begins(&mut self, error: &Error) -> Fault {
        let fault = Fault::of(error);
        if self.lasting != Some(fault) {
            log::error!("storage: {} failed: {fault} ({error})", self.of);
            self.lasting = Some(fault);
        }
        fault
    }

    pub fn is_over(&mut self) {
        if let Some(fault) = self.lasting.take() {
            log::info!("storage: {} works again after: {fault}", self.of);
        }
    }
}

/// Why a database was not opened. The start stops with this text.
#[derive(Debug)]
pub enum OpenFault {
    /// The file is damaged.
    Corrupt { path: PathBuf, detail: String },
    /// A newer natter wrote it.
    TooNew { path: PathBuf, found: i64, known: i64 },
    /// The database of a node of a cluster that has gone over to a level which this natter does not know.
    LevelTooNew { path: PathBuf, level: u32 },
    /// Another program's database.
    Foreign { path: PathBuf },
    /// A database of natter that holds an object natter did not make, or lacks one that natter makes.
    Altered { path: PathBuf, detail: String },
    /// Another password secret than the one that the hashes of its members need.
    OtherSecret { path: PathBuf },
    /// The database of a node of a cluster, opened for a natter alone.
    InCluster { path: PathBuf },
    /// The disk has no space for what a start writes: at least the `-shm` file, in an upgrade the changed tables.
    Full { path: PathBuf, detail: String },
    /// The operating system or SQLite refused.
    Failed { path: PathBuf, detail: String },
}

impl OpenFault {
    /// `error` must come from the last call on this thread: see [`with_cause`].
    pub(super) fn new(path: &std::path::Path, error: Error) -> OpenFault {
        let error = with_cause(error);
        let (path, detail) = (path.to_owned(), error.to_string());
        match Fault::of(&error) {
            Fault::Corrupt => OpenFault::Corrupt { path, detail },
            Fault::Full => OpenFault::Full { path, detail },
            _ => OpenFault::Failed { path, detail },
        }
    }
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenFault::Corrupt { path, detail } => write!(
                f,
                "the database {} is corrupt ({detail}): move it and its -wal file to another folder and restore a backup \
                 with `natter restore FILE`",
                path.display()
            ),
            OpenFault::TooNew { path, found, known } => write!(
                f,
                "the database {} has schema version {found}, this natter knows versions up to {known}: start \
                 the newer natter, or restore a backup with `natter restore FILE`",
                path.display()
            ),
            OpenFault::LevelTooNew { path, level } => write!(
                f,
                "the database {} is that of a node whose cluster has gone over to level {level}, this natter knows levels up to {LEVEL}: \
                 install the version that the other nodes have",
                path.display()
            ),
            OpenFault::Foreign { path } => {
                write!(f, "{} is the database of another program", path.display())
            }
            OpenFault::Altered { path, detail } => {
                write!(f, "the database {} is not as natter makes it: {detail}", path.display())
            }
            OpenFault::OtherSecret { path } => write!(
                f,
                "the password secret is the wrong one: {} holds members whose passwords were hashed with another \
                 password_secret, so no password would match. Restore the right file (each backup made by \
                 `natter backup` has it) or set PASSWORD_SECRET to the old value. If it is lost, `natter secret \
                 reset` accepts the present one, and members choose new passwords with a code by e-mail",
                path.display()
            ),
            OpenFault::InCluster { path } => write!(
                f,
                "the database {} belongs to a node of a cluster, whose log alone may change it: start natter with CLUSTER_NODE as \
                 before. To go on with one natter alone: `natter cluster leave`",
                path.display()
            ),
            OpenFault::Full { path, detail } => write!(
                f,
                "the database {} can't be opened, because its disk is full ({detail}): a start needs about a MiB of free \
                 space there, and an upgrade as much as the database takes. Free that much, or raise the quota, and start \
                 again; nothing is changed until then",
                path.display()
            ),
            OpenFault::Failed { path, detail } => {
                write!(f, "the database {} can't be opened: {detail}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_without_space_is_a_full_disk() {
        use ErrorKind::{InvalidInput, QuotaExceeded, StorageFull};
        for (code, cause, is_full) in [
            (ffi::SQLITE_IOERR_WRITE, QuotaExceeded, true),
            (ffi::SQLITE_IOERR_WRITE, StorageFull, true),
            (ffi::SQLITE_IOERR_WRITE, InvalidInput, false),
            (ffi::SQLITE_IOERR_SHMSIZE, StorageFull, true),
            (ffi::SQLITE_IOERR_SHMSIZE, QuotaExceeded, true),
            // A failed sync has lost data, whatever the reason. The errno of the others may be that of an earlier call.
            (ffi::SQLITE_IOERR_FSYNC, StorageFull, false),
            (ffi::SQLITE_IOERR_FSYNC, QuotaExceeded, false),
            (ffi::SQLITE_IOERR_READ, QuotaExceeded, false),
            (ffi::SQLITE_BUSY, QuotaExceeded, false),
        ] {
            assert_eq!(is_lack_of_space(code, cause), is_full, "{code}, {cause}");
        }
    }
}
