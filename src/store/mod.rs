//! The storage layer: SQLite, with one writer in group commit and any number of readers.
//!
//! Owns the database file, its schema and every line of SQL: one writer ([`Store`]) and any number of readers ([`Reader`]).
//! Owns no threads, queues, clocks or randomness: a command brings its time and its ids, and the caller decides which
//! command waits for which.
//!
//! The search index is a separate database file. It follows the messages ([`Index`]) and can be rebuilt at any time.
//!
//! Invariant: an event or an answer of a write leaves [`Store::commit`] only when its transaction is on disk.
//!
//! Faults are logged here, once when one begins and once when it is over. The caller counts and shows them.

mod accounts;
mod admin;
mod attachments;
mod audit;
mod backup;
mod batch;
mod before_upgrade;
mod block;
mod blocks;
mod bots;
mod by_sender;
mod cache;
mod certificate;
mod changes;
mod checkpoints;
mod codes;
mod connection;
mod conversations;
mod deletion;
mod digests;
mod durability;
mod duty;
mod event_log;
mod export;
mod fault;
mod groups;
mod holder;
mod hooks;
mod index;
mod index_file;
mod inspect;
mod invites;
#[cfg(feature = "cluster")]
mod level;
mod litestream;
mod mentions;
mod messages;
mod metadata;
mod migrations;
mod offline;
mod outbox;
mod page;
mod pins;
#[cfg(feature = "cluster")]
mod place;
mod posting;
mod preferences;
mod presence;
mod profiles;
mod push;
mod reader;
mod replacement;
mod reports;
mod reserve;
mod reserved;
mod retention;
mod schema_check;
mod search;
mod search_changes;
mod second_factor;
mod sessions;
mod system_messages;
mod upkeep;
mod uploads;
mod value;
mod wal_file;
mod writer;

use std::path::PathBuf;

use crate::limits::CacheSizes;
use crate::model::operation::Outcome;

pub use before_upgrade::FreeBytes;
pub use fault::{Fault, OpenFault};
pub use index::{Index, Step};
pub use inspect::{
    Access, FileHashes, Survey, check, exists, file_hashes, has_members, needs_other_secret, survey,
};
#[cfg(feature = "cluster")]
pub use inspect::{ClusterRows, cluster_rows};
pub use metadata::new_epoch;
pub use migrations::VERSION;
pub use offline::{Sessions, adopt, adopt_secret, forget_codes, unverify};
#[cfg(feature = "cluster")]
pub use offline::{adopt_node, follow, leave, skip};
#[cfg(feature = "cluster")]
pub use place::{Applied, AppliedEntry, Delivered, Ignored, Place, Skip};
pub use reader::Reader;
pub use writer::{Store, WriteHandle};

/// The first bytes of an HMAC of a constant under the password secret.
pub type PasswordTag = [u8; 16];

/// Where the database is and how it is kept.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The database file. Its `-wal` and `-shm` files are in the same folder.
    pub path: PathBuf,
    /// `synchronous=FULL`: an answered write survives a power cut. Without it an unclean start changes the epoch.
    pub synchronous_full: bool,
    /// Recognizes the password secret. A database whose members need another one is not opened. `None` where nothing is
    /// hashed.
    pub password_tag: Option<PasswordTag>,
    /// Maximum bytes of the write-ahead log, the WAL (`-wal`). At this size no more writes are accepted while a reader outside of
    /// this process prevents the WAL from being truncated.
    pub wal_max: u64,
    /// What its connections cache.
    pub caches: CacheSizes,
    /// A node of a cluster: the log alone changes what the nodes have in common, and its first entry names the epoch. The database of
    /// such a node is not opened without this, since any other write would make it another state than that of the other nodes.
    pub in_cluster: bool,
    /// Asked before the schema changes, whether there is room for a copy of the database. `None` keeps no copy.
    pub free_bytes: Option<FreeBytes>,
}

impl StoreOptions {
    /// The default of `wal_max`.
    pub const WAL_MAX: u64 = 256 << 20;

    pub fn new(path: PathBuf) -> StoreOptions {
        let wal_max = StoreOptions::WAL_MAX;
        StoreOptions {
            path,
            synchronous_full: true,
            password_tag: None,
            wal_max,
            caches: CacheSizes::default(),
            in_cluster: false,
            free_bytes: None,
        }
    }
}

/// The result of a batch: one outcome for each command, in order.
#[derive(Debug)]
pub struct Committed {
    pub outcomes: Vec<Outcome>,
    /// Why the complete batch was refused, if it was.
    pub fault: Option<Fault>,
}
