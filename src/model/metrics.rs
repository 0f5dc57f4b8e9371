//! What `/metrics` and `/readyz` show of other threads: the kinds of background error, the progress in the log of a cluster.

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
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [ErrorKind; 14] = [
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
}
