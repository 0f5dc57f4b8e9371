//! Floor 3: SQLite. Owns the database file, its schema and every line of SQL: one writer ([`Store`], group
//! commit) and any number of readers ([`Reader`]). Refuses to own threads, queues, clocks and randomness: a
//! command brings its time and its ids, and the caller decides who waits for whom.
//!
//! The search index is a database file of its own, which follows the messages ([`Index`]) and can always be made again.
//!
//! Invariant: an event or an answer of a write leaves [`Store::commit`] only when its transaction is on disk.
//!
//! Faults are logged here, once when one begins and once when it is over; the caller counts and shows them.

mod accounts;
mod backup;
mod batch;
mod block;
mod blocks;
mod by_sender;
mod cache;
mod changes;
mod codes;
mod connection;
mod conversations;
mod deletion;
mod durability;
mod export;
mod fault;
mod groups;
mod holder;
mod index;
mod index_file;
mod inspect;
mod judge;
mod log;
mod messages;
mod metadata;
mod migrations;
mod offline;
mod outbox;
mod page;
mod presence;
mod profiles;
mod reader;
mod replacement;
mod reserve;
mod reserved;
mod search;
mod search_changes;
mod sessions;
mod upkeep;
mod uploads;
mod value;
mod writer;

use std::path::PathBuf;

use crate::model::operation::Outcome;

pub use fault::{Fault, OpenFault};
pub use index::{Index, Step};
pub use inspect::{Held, Survey, check, exists, has_members, survey};
pub use migrations::VERSION;
pub use offline::{Sessions, adopt, forget_codes};
pub use reader::Reader;
pub use writer::{Store, WriteHandle};

/// Where the database is and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The database file; its `-wal` and `-shm` stand beside it.
    pub path: PathBuf,
    /// `synchronous=FULL`: an answered write survives a power cut. Without it an unclean start changes the epoch.
    pub synchronous_full: bool,
    /// Bytes of the log (`-wal`) beyond which nothing more is written, while a reader outside of this process keeps it from
    /// being cut off.
    pub wal_max: u64,
}

impl StoreOptions {
    /// Bytes of `wal_max` unless something else is asked for.
    pub const WAL_MAX: u64 = 256 << 20;

    pub fn new(path: PathBuf) -> StoreOptions {
        StoreOptions { path, synchronous_full: true, wal_max: StoreOptions::WAL_MAX }
    }
}

/// What became of a batch: one outcome a command, in their order.
#[derive(Debug)]
pub struct Committed {
    pub outcomes: Vec<Outcome>,
    /// Why the whole batch was refused, where it was.
    pub fault: Option<Fault>,
}
