//! What `/metrics` and `/readyz` show of other threads: the kinds of background error, the progress in the log of a cluster, and the
//! files that passed between its nodes.

use super::job::Done;

/// The kinds of background error. Each is logged once where it is handled, counted here, and shown by `/readyz`
/// while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// A transaction did not reach the disk.
    Commit,
    /// The disk is full.
    DiskFull,
    /// A sync of the database or its WAL failed.
    Sync,
    /// A read of the database failed.
    Read,
    /// A checkpoint failed: the WAL grows until one succeeds.
    Checkpoint,
    /// The search index could not be read or written: searches find fewer messages until it can.
    Search,
    /// A worker failed at its job.
    Worker,
    /// A mail was given up, or none can be sent as the server is configured.
    Mail,
    /// A look-up of a place failed.
    Geolocation,
    /// A push service refused a notification, or did not answer in several tries.
    Push,
    /// A file of an upload could not be written, published or removed.
    Upload,
    /// `accept` failed.
    Accept,
    /// The certificate could not be read again.
    Certificate,
    /// A handler panicked; its caller got a 500.
    Panic,
    /// A backup of BACKUP_EVERY, or one that an admin has asked for, was not made.
    Backup,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [ErrorKind; 15] = [
        ErrorKind::Commit,
        ErrorKind::DiskFull,
        ErrorKind::Sync,
        ErrorKind::Read,
        ErrorKind::Checkpoint,
        ErrorKind::Search,
        ErrorKind::Worker,
        ErrorKind::Mail,
        ErrorKind::Geolocation,
        ErrorKind::Push,
        ErrorKind::Upload,
        ErrorKind::Accept,
        ErrorKind::Certificate,
        ErrorKind::Panic,
        ErrorKind::Backup,
    ];

    /// The label in `/metrics` and `/readyz`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Commit => "commit",
            ErrorKind::DiskFull => "disk_full",
            ErrorKind::Sync => "sync",
            ErrorKind::Read => "read",
            ErrorKind::Checkpoint => "checkpoint",
            ErrorKind::Search => "search",
            ErrorKind::Worker => "worker",
            ErrorKind::Mail => "mail",
            ErrorKind::Geolocation => "geolocation",
            ErrorKind::Push => "push",
            ErrorKind::Upload => "upload",
            ErrorKind::Accept => "accept",
            ErrorKind::Certificate => "certificate",
            ErrorKind::Panic => "panic",
            ErrorKind::Backup => "backup",
        }
    }
}

/// How many members and uploads there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountTotals;

/// Of [`CountTotals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Members, disabled ones included.
    pub members: u64,
    /// Uploads, without previews.
    pub uploads: u64,
    /// The bytes of all files of uploads.
    pub upload_bytes: u64,
}

/// Files that passed between this node of a cluster and others, since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyCounts {
    /// Uploads that another node took, and their bytes.
    pub given: u64,
    /// See `given`.
    pub given_bytes: u64,
    /// Uploads that were refused because no other node took them.
    pub not_given: u64,
    /// Files that came from another node, and their bytes.
    pub fetched: u64,
    /// See `fetched`.
    pub fetched_bytes: u64,
    /// Files that no other node gave.
    pub not_fetched: u64,
    /// Files that had lost their second copy and have one again, and their bytes.
    pub kept: u64,
    /// See `kept`.
    pub kept_bytes: u64,
}

impl CopyCounts {
    /// A worker has done a job.
    pub fn count(&mut self, done: &Done) {
        match done {
            Done::UploadPublished { given: 0, .. } | Done::FileFetched { bytes: 0 } => {}
            Done::UploadPublished { given, .. } => {
                self.given += 1;
                self.given_bytes += given;
            }
            Done::NotGiven => self.not_given += 1,
            Done::FileFetched { bytes } => {
                self.fetched += 1;
                self.fetched_bytes += bytes;
            }
            Done::NotFetched => self.not_fetched += 1,
            Done::CopiesKept(kept) => {
                self.kept += kept.files;
                self.kept_bytes += kept.bytes;
            }
            _ => {}
        }
    }
}

/// How far a node of a cluster has come in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// The position of the last entry that it has applied.
    pub position: u64,
    /// Of all entries up to there: two nodes that have applied the same ones have the same.
    pub chain: [u8; 32],
    /// The position of the newest entry of the log, as far as it knows.
    pub head: u64,
    /// Entries that it has appended since its start, and those of all nodes that it has applied.
    pub appended: u64,
    /// See `appended`.
    pub applied: u64,
    /// How far its clock is ahead of the log's, in milliseconds; negative if it is behind, 0 if it is not known to be off.
    pub clock_ahead_ms: i64,
    /// The level in force there.
    pub level: u32,
}
