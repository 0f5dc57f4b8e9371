//! The one writer: opens the database and turns batches of commands into transactions.
//!
//! Maintenance between two batches is in `upkeep`. The caller owns the thread and the queue, and decides how long a batch
//! is.
//!
//! ```text
//! open → ( commit → maintain → sweep_search )* → close
//! ```
//! Invariant: a batch is completely on disk, or no part of it is and all of it was refused.

use std::path::PathBuf;
use std::time::Instant;

use rusqlite::{Connection, ffi};

use super::batch::{Batch, Log, erases};
#[cfg(feature = "cluster")]
use super::before_upgrade::FreeBytes;
use super::cache::Cache;
use super::durability::{Durability, State};
use super::fault::{Fault, FaultLog, OpenFault, with_cause};
use super::litestream::Litestream;
use super::metadata::Beginning;
use super::reserve::Reserve;
use super::upkeep::Replacing;
use super::{
    Committed, StoreOptions, backup, before_upgrade, bots, certificate, connection, hooks, metadata, push,
    replacement, reserve, reserved, search_changes,
};
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::limits::{CHECKPOINT_BUSY_MS, WAL_HELD_BYTES};
use crate::model::backup::DatabaseCopy;
use crate::model::node::LEVEL;
use crate::model::operation::{Lane, Outcome, Refusal, Start, Write};
use crate::model::readiness::{Readiness, WalHeld};

pub struct Store {
    pub(super) conn: Connection,
    pub(super) options: StoreOptions,
    pub(super) replacing: Replacing,
    pub(super) writer_state: WriterState,
}

/// The open store. It is separate from [`Store`] because a backup borrows the connection, and the work between two of its
/// steps needs the same connection.
pub struct WriteHandle<'a> {
    pub(super) conn: &'a Connection,
    pub(super) writer_state: &'a mut WriterState,
}

/// The writer's state, apart from its connection.
pub(super) struct WriterState {
    pub cache: Cache,
    pub log: Log,
    pub path: PathBuf,
    /// See [`StoreOptions::free_bytes`].
    #[cfg(feature = "cluster")]
    pub free_bytes: Option<FreeBytes>,
    /// The last transaction failed: the head of the event log is read again before the next one.
    stale: bool,
    pub durability: Durability,
    /// The fault of the last commit. `None` after the next successful commit.
    pub failing: Option<Fault>,
    /// No attempt to recover from an unsound state or a failing commit before this time.
    pub retry_at: Option<Instant>,
    /// The values that the start has not recorded yet.
    pub beginning: Option<Beginning>,
    /// The reason, last written to the log, why writes are not answered.
    pub logged_reason: Option<&'static str>,
    /// Something was erased that the WAL may still hold.
    pub erased: bool,
    /// The number of the log in the WAL file that may hold it, while the file is not emptied at once.
    pub erased_in: Option<u32>,
    /// The number of the log at the last look at the WAL file.
    pub log_seen: Option<u32>,
    /// No checkpoint because of erased content before this time.
    pub erase_at: Option<Instant>,
    /// Pages in the WAL as the last [`Store::maintain`] left it.
    pub wal_pages: u64,
    /// The current limit.
    pub wal_pages_max: u64,
    pub wal_pages_of_option: u64,
    pub page_bytes: u64,
    /// No passive checkpoint before the WAL has this many pages.
    pub copy_at: u64,
    /// A reader prevents the WAL from restarting: the time of the next attempt.
    pub restart_at: Option<Instant>,
    pub wal_held: Option<WalHeld>,
    pub litestream: Litestream,
    pub reserve: Reserve,
    pub synchronous_full: bool,
    pub commit_faults: FaultLog,
    pub checkpoint_faults: FaultLog,
}

impl WriterState {
    pub fn readiness(&self) -> Readiness {
        let unready = self.durability.reason().or(self.failing.map(Fault::reason));
        Readiness { unready, unproven: self.beginning.is_some(), wal_held: self.wal_held }
    }

    /// How many pages of this database have so many bytes. A database keeps the page size that it was made with.
    pub fn pages(&self, bytes: u64) -> u64 {
        bytes / self.page_bytes
    }

    /// The database was replaced by another file with the same content.
    pub fn replaced(&mut self) {
        self.cache.clear();
        self.stale = true;
        (self.wal_pages, self.copy_at, self.restart_at, self.wal_held) = (0, 0, None, None);
        self.retry_at = None;
    }
}

/// The state of the WAL after a checkpoint.
pub(super) struct Wal {
    /// A reader prevented the checkpoint from completing.
    pub busy: bool,
    pub pages: u64,
    /// How many of these pages are also in the database file.
    pub copied: u64,
}

impl Store {
    /// Creates or opens the database, migrates its schema and checks that it is sound. `entropy` only makes an epoch, if
    /// one is needed. `now_ms` only decides which ended sessions still matter.
    pub fn open(
        options: &StoreOptions,
        entropy: &mut dyn Entropy,
        now_ms: UnixMs,
    ) -> Result<(Store, Start), OpenFault> {
        let conn = match connection::open_writer(options) {
            // The disk may be full, so that SQLite can't create the `-shm` file. A file that was refused for another reason
            // is refused again.
            Err(OpenFault::Full { .. } | OpenFault::Failed { .. }) if reserve::release(&options.path) => {
                connection::open_writer(options)?
            }
            opened => opened?,
        };
        if let Some(tag) = options.password_tag
            && metadata::needs_other_secret(&conn, tag)
                .map_err(|error| OpenFault::new(&options.path, error))?
        {
            return Err(OpenFault::OtherSecret { path: options.path.clone() });
        }
        let is_in_cluster =
            metadata::is_in_cluster(&conn).map_err(|error| OpenFault::new(&options.path, error))?;
        if is_in_cluster && !options.in_cluster {
            return Err(OpenFault::InCluster { path: options.path.clone() });
        }
        backup::clear(&options.path)
            .and_then(|()| replacement::clear(&options.path))
            .and_then(|()| before_upgrade::expire(&options.path, now_ms))
            .map_err(|error| OpenFault::Failed { path: options.path.clone(), detail: error.to_string() })?;
        Store::start(conn, options, entropy, now_ms).map_err(|error| OpenFault::new(&options.path, error))
    }

    fn start(
        conn: Connection,
        options: &StoreOptions,
        entropy: &mut dyn Entropy,
        now_ms: UnixMs,
    ) -> rusqlite::Result<(Store, Start)> {
        let beginning = metadata::beginning(&conn, options, entropy)?;
        let log = ends_of_log(&conn)?;
        let page_bytes: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let page_bytes = u64::from(page_bytes);
        let wal_pages_of_option = options.wal_max.max(WAL_HELD_BYTES) / page_bytes;
        let mut durability = Durability::unproven();
        if replacement::is_marked(&options.path) {
            durability.state = State::Database;
        }
        let writer_state = WriterState {
            cache: Cache::default(),
            log,
            path: options.path.clone(),
            #[cfg(feature = "cluster")]
            free_bytes: options.free_bytes,
            stale: false,
            durability,
            failing: None,
            retry_at: None,
            beginning: Some(beginning),
            logged_reason: None,
            erased: false,
            erased_in: None,
            log_seen: None,
            erase_at: None,
            wal_pages: 0,
            wal_pages_max: wal_pages_of_option,
            wal_pages_of_option,
            page_bytes,
            copy_at: 0,
            restart_at: None,
            wal_held: None,
            litestream: Litestream::default(),
            reserve: Reserve::default(),
            synchronous_full: options.synchronous_full,
            commit_faults: FaultLog::new("a commit"),
            checkpoint_faults: FaultLog::new("a checkpoint"),
        };
        connection::set_synchronous(&conn, true)?;
        let mut store =
            Store { conn, options: options.clone(), replacing: Replacing::default(), writer_state };
        // Proves what a crash left in the WAL now, or later while reads are already answered.
        if store.writer_state.durability.state == State::Unproven {
            let proven = store.handle().prove();
            store.handle().log_state();
            if proven == Err(Fault::Corrupt) {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None));
            }
        }
        // A start that could not prove the database writes nothing. The next start tries again. In a cluster a node alone may not
        // rename anybody.
        if store.writer_state.durability.is_sound() && !options.in_cluster {
            store.release_nick_names(entropy, now_ms);
        }
        let start = store.describe(now_ms)?;
        store.writer_state.reserve.begin(&options.path);
        Ok((store, start))
    }

    /// What a start finds.
    pub(super) fn describe(&self, now_ms: UnixMs) -> rusqlite::Result<Start> {
        let beginning = self.writer_state.beginning.as_ref();
        Ok(Start {
            epoch: beginning
                .map_or_else(|| metadata::epoch(&self.conn), |beginning| Ok(beginning.epoch.clone()))?,
            head: self.writer_state.log.head,
            ended: metadata::ended(&self.conn, now_ms.s())?,
            newest_ms: metadata::newest_ms(&self.conn)?,
            is_subscribed: push::is_anyone_subscribed(&self.conn)?,
            certificate: certificate::read(&self.conn)?,
            bot_tokens: bots::live_tokens(&self.conn)?,
            has_hooks: hooks::is_any(&self.conn)?,
            readiness: self.readiness(),
        })
    }

    /// Renames the holders of reserved nick names. A fault is handled as that of a commit, and does not stop the start.
    fn release_nick_names(&mut self, entropy: &mut dyn Entropy, now_ms: UnixMs) {
        let Store { conn, writer_state, .. } = self;
        if let Err(error) =
            reserved::release(conn, &mut writer_state.log, entropy, now_ms).map_err(with_cause)
        {
            self.writer_state.stale = true;
            self.handle().commit_failed(&error);
            self.handle().log_state();
        }
    }

    pub(super) fn handle(&mut self) -> WriteHandle<'_> {
        WriteHandle { conn: &self.conn, writer_state: &mut self.writer_state }
    }

    /// See [`WriteHandle::commit`].
    pub fn commit(&mut self, batch: &mut Vec<(Lane, Write)>) -> Committed {
        self.handle().commit(batch)
    }

    /// See [`WriteHandle::sweep_search`].
    pub fn sweep_search(&mut self, done: u64) -> Result<bool, Fault> {
        self.handle().sweep_search(done)
    }

    /// What the database can do now.
    pub fn readiness(&self) -> Readiness {
        self.writer_state.readiness()
    }

    /// Copies the database into a file in the same folder, whose name contains `id`, one bounded step at a time. After each
    /// step `between` may commit, which also changes the copy, or cancel the copy with `false`.
    pub fn back_up(
        &mut self,
        id: Id,
        between: &mut dyn FnMut(&mut WriteHandle<'_>) -> bool,
    ) -> Result<DatabaseCopy, Refusal> {
        let Store { conn, options, writer_state, .. } = self;
        // The backup must not hold a connection that has to be replaced.
        let file = backup::copy(conn, &options.path, id, &mut || {
            between(&mut WriteHandle { conn, writer_state })
                && writer_state.durability.state != State::Database
        })?;
        Ok(DatabaseCopy { file })
    }

    /// Leaves a database that needs no recovery: all content in the file, the WAL empty, marked as closed. If answered
    /// writes can't be proven to be on disk, the WAL stays for the next start.
    pub fn close(mut self) -> Result<(), Fault> {
        if self.writer_state.durability.state == State::Database {
            return Err(Fault::Sync);
        }
        let mut handle = self.handle();
        if !handle.writer_state.durability.is_sound() {
            handle.prove()?;
        }
        let ended = connection::set_synchronous(handle.conn, true).and_then(|()| metadata::end(handle.conn));
        if let Err(error) = ended.map_err(with_cause) {
            return Err(handle.commit_failed(&error));
        }
        // Another process may not have copied the last writes: the next start empties the WAL.
        match handle.is_shared() {
            Err(error) => return Err(handle.checkpoint_failed(&error)),
            Ok(true) => return Ok(()),
            Ok(false) => {}
        }
        match handle.checkpoint_soon("PRAGMA wal_checkpoint(TRUNCATE)", CHECKPOINT_BUSY_MS) {
            Err(error) => Err(handle.checkpoint_failed(&error)),
            Ok(wal) if wal.busy => Ok(()),
            Ok(_) => {
                let Store { conn, .. } = self;
                connection::close_in_order(conn).map_err(|error| Fault::of(&error))
            }
        }
    }
}

impl WriteHandle<'_> {
    /// Performs a batch in one transaction and answers each command, in order. The batch is empty afterwards. After a fault
    /// of one command the rest of its lane in this batch is refused with `Unavailable`. A fault of the transaction refuses
    /// the complete batch.
    pub fn commit(&mut self, batch: &mut Vec<(Lane, Write)>) -> Committed {
        let count = batch.len();
        if let Some(fault) = self.writer_state.durability.fault() {
            batch.clear();
            return refused(count, fault);
        }
        let written = self.transact(batch);
        match self.conclude(written) {
            Ok(outcomes) => Committed { outcomes, fault: None },
            Err(error) => {
                batch.clear();
                refused(count, Fault::of(&error))
            }
        }
    }

    /// Commits what was written, or returns to the state on disk.
    pub(super) fn conclude<T>(&mut self, written: rusqlite::Result<T>) -> rusqlite::Result<T> {
        let written = written.map_err(with_cause).inspect_err(|error| {
            self.writer_state.failing = Some(self.writer_state.commit_faults.begins(error));
        });
        let committed = written.and_then(|outcomes| self.end(outcomes));
        match &committed {
            Ok(_) => {
                self.writer_state.commit_faults.is_over();
                self.writer_state.failing = None;
            }
            Err(_) => {
                self.roll_back();
                self.log_state();
            }
        }
        committed
    }

    pub(super) fn begin_transaction(&mut self) -> rusqlite::Result<()> {
        if self.writer_state.wal_pages >= self.writer_state.wal_pages_max {
            self.restart_wal()?;
        }
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if self.writer_state.stale {
            self.writer_state.log = ends_of_log(self.conn)?;
            self.writer_state.stale = false;
        }
        Ok(())
    }

    /// Writes what the performed writes have left in memory.
    pub(super) fn finish_writes(&mut self, erased: bool) -> rusqlite::Result<()> {
        self.writer_state.cache.write(self.conn)?;
        if self.writer_state.log.head_is_bare {
            metadata::keep_head(self.conn, self.writer_state.log.head)?;
            self.writer_state.log.head_is_bare = false;
        }
        self.writer_state.erased |= erased;
        Ok(())
    }

    fn transact(&mut self, batch: &mut Vec<(Lane, Write)>) -> rusqlite::Result<Vec<Outcome>> {
        self.begin_transaction()?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut closed: Vec<Lane> = Vec::new();
        let mut erased = false;
        let mut open = Batch {
            conn: self.conn,
            log: &mut self.writer_state.log,
            cache: &mut self.writer_state.cache,
            insert: None,
        };
        for (lane, write) in batch.drain(..) {
            if closed.contains(&lane) {
                outcomes.push(Outcome::quiet(Err(Refusal::Unavailable)));
                continue;
            }
            erased |= erases(&write);
            let written = open.perform(write)?;
            if written.result.as_ref().is_err_and(|refusal| refusal.is_fault()) {
                closed.push(lane);
            }
            outcomes.push(Outcome { result: written.result, events: written.events });
        }
        drop(open);
        self.finish_writes(erased)?;
        Ok(outcomes)
    }

    /// The WAL has its maximum length: it restarts from its beginning, or the transaction fails.
    fn restart_wal(&mut self) -> rusqlite::Result<()> {
        let restarted = self.checkpoint_soon("PRAGMA wal_checkpoint(RESTART)", CHECKPOINT_BUSY_MS);
        if let Err(error) = restarted {
            self.checkpoint_failed(&error);
            return Err(error);
        }
        if self.writer_state.wal_pages >= self.writer_state.wal_pages_max { Err(busy()) } else { Ok(()) }
    }

    /// Commits. SQLite writes the pages of a transaction at its COMMIT.
    fn end<T>(&mut self, outcomes: T) -> rusqlite::Result<T> {
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
        match committed {
            Ok(_) => {
                self.writer_state.cache.trim();
                Ok(outcomes)
            }
            Err(error) => {
                let error = with_cause(error);
                self.commit_failed(&error);
                Err(error)
            }
        }
    }

    /// Returns to the state on disk.
    fn roll_back(&mut self) {
        self.writer_state.cache.clear();
        self.writer_state.stale = true;
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            // SQLite ends the transaction when the connection closes. A lasting fault is reported by the next BEGIN.
            log::error!("storage: a rollback failed: {error}");
        }
    }

    /// Deletes changes that the search index has applied, up to `done`, one bounded step at a time. Returns whether there
    /// is more to do now. The caller decides how often.
    pub fn sweep_search(&mut self, done: u64) -> Result<bool, Fault> {
        if !self.writer_state.durability.is_sound() {
            return Ok(true);
        }
        let begun = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        let swept = begun.and_then(|_| search_changes::sweep(self.conn, done));
        let result = match swept {
            Ok(more) => match self.conn.prepare_cached("COMMIT").and_then(|mut end| end.execute([])) {
                Ok(_) => return Ok(more),
                Err(error) => Err(self.commit_failed(&with_cause(error))),
            },
            Err(error) => Err(self.writer_state.commit_faults.begins(&with_cause(error))),
        };
        self.roll_back();
        self.log_state();
        result
    }
}

fn ends_of_log(conn: &Connection) -> rusqlite::Result<Log> {
    Ok(Log {
        head: metadata::head(conn)?,
        newest_id_high: metadata::newest_id_high(conn)?,
        head_is_bare: false,
        time: None,
        level: metadata::level(conn)?.unwrap_or(LEVEL),
    })
}

/// A batch of which no part is on disk. The client may retry it, also after an internal fault.
fn refused(count: usize, fault: Fault) -> Committed {
    let refusal = match fault.refusal() {
        Refusal::Internal => Refusal::Unavailable,
        refusal => refusal,
    };
    let outcomes = (0..count).map(|_| Outcome::quiet(Err(refusal))).collect();
    Committed { outcomes, fault: Some(fault) }
}

/// The error that SQLite returns when a reader prevents the WAL from restarting.
fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some("a reader outside of this process keeps the WAL from shrinking".to_owned()),
    )
}
