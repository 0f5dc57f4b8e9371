//! Counts of what happened, for `/metrics`. Plain numbers owned by one thread; a scrape reads them between two turns.

/// The kinds of background error. Each is logged once where it is handled, counted here, and shown by `/readyz`
/// while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A transaction did not reach the disk.
    Commit,
    /// The disk is full.
    DiskFull,
    /// A sync of the database or its log failed.
    Sync,
    /// A read of the database failed.
    Read,
    /// A checkpoint failed: the WAL grows until one succeeds.
    Checkpoint,
    /// The search index could not be read or written: searches find less until it can.
    Search,
    /// A worker failed at its job.
    Worker,
    /// A mail was given up, or none can be sent as the server is configured.
    Mail,
    /// A look-up of a place failed.
    Geolocation,
    /// A file of an upload could not be written, published or removed.
    Upload,
    /// `accept` failed.
    Accept,
    /// A handler panicked; its caller got a 500.
    Panic,
}

impl Trouble {
    pub const ALL: [Trouble; 12] = [
        Trouble::Commit,
        Trouble::DiskFull,
        Trouble::Sync,
        Trouble::Read,
        Trouble::Checkpoint,
        Trouble::Search,
        Trouble::Worker,
        Trouble::Mail,
        Trouble::Geolocation,
        Trouble::Upload,
        Trouble::Accept,
        Trouble::Panic,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Trouble::Commit => "commit",
            Trouble::DiskFull => "disk_full",
            Trouble::Sync => "sync",
            Trouble::Read => "read",
            Trouble::Checkpoint => "checkpoint",
            Trouble::Search => "search",
            Trouble::Worker => "worker",
            Trouble::Mail => "mail",
            Trouble::Geolocation => "geolocation",
            Trouble::Upload => "upload",
            Trouble::Accept => "accept",
            Trouble::Panic => "panic",
        }
    }
}
