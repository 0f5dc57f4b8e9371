//! The one writer: opens the database, turns batches of commands into transactions, keeps the WAL short.
//! Refuses to own a thread or a queue; whoever calls decides how long a batch is.
//!
//! ```text
//! open → ( commit → tend → sweep_search )* → close
//! ```
//! Invariant: a batch is on disk whole, or none of it is and all of it was refused.

use std::path::PathBuf;
use std::time::Instant;

use rusqlite::Connection;

use super::batch::{Batch, Log};
use super::cache::Cache;
use super::fault::{Fault, OpenFault, Stop, Trouble};
use super::{Committed, StoreOptions, backup, connection, reserved, search_changes, state};
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::limits::{
    CHECKPOINT_BUSY_MS, ERASE_EVERY, STORE_BUSY_MS, WAL_CHECKPOINT_PAGES, WAL_PAGES_MAX, WAL_RESTART_PAGES,
};
use crate::model::backup::DatabaseCopy;
use crate::model::operation::{Command, Lane, Outcome, Refusal, Start};

pub struct Store {
    conn: Connection,
    path: PathBuf,
    desk: Desk,
}

/// The store in use. Apart from it because a backup holds on to the connection, and what happens between two of its steps
/// needs the same connection.
pub struct Session<'a> {
    conn: &'a Connection,
    desk: &'a mut Desk,
}

/// What the writer knows beside its connection.
struct Desk {
    cache: Cache,
    log: Log,
    /// The last transaction failed: the ends of the log are read again before the next.
    stale: bool,
    /// Something was erased that the WAL may still hold.
    erased: bool,
    /// No checkpoint for the sake of erasure before this.
    erase_at: Option<Instant>,
    /// Pages in the WAL as the last [`Store::tend`] left it.
    wal_pages: u64,
    commit_trouble: Trouble,
    checkpoint_trouble: Trouble,
}

/// The WAL as a checkpoint left it.
struct Wal {
    /// A reader was in the way.
    busy: bool,
    pages: u64,
    /// How many of them the database file has too.
    copied: u64,
}

impl Store {
    /// Creates or opens the database, brings its schema up to date and judges its soundness. `entropy` only
    /// makes an epoch, where one is needed; `now_ms` only judges which ended sessions still matter.
    pub fn open(
        options: &StoreOptions,
        entropy: &mut dyn Entropy,
        now_ms: u64,
    ) -> Result<(Store, Start), OpenFault> {
        let conn = connection::open_writer(options)?;
        backup::clear(&options.path)
            .map_err(|error| OpenFault::Failed { path: options.path.clone(), detail: error.to_string() })?;
        Store::start(conn, options, entropy, now_ms).map_err(|error| OpenFault::new(&options.path, &error))
    }

    fn start(
        mut conn: Connection,
        options: &StoreOptions,
        entropy: &mut dyn Entropy,
        now_ms: u64,
    ) -> rusqlite::Result<(Store, Start)> {
        connection::set_synchronous(&conn, true)?;
        let epoch = state::begin(&conn, options.synchronous_full, entropy)?;
        connection::set_synchronous(&conn, options.synchronous_full)?;
        let mut log = ends_of_log(&conn)?;
        reserved::release(&mut conn, &mut log, entropy, now_ms)?;
        let start = Start {
            epoch,
            head: log.head,
            ended: state::ended(&conn, now_ms / 1_000)?,
            newest_ms: state::newest_ms(&conn)?,
        };
        let desk = Desk {
            cache: Cache::default(),
            log,
            stale: false,
            erased: false,
            erase_at: None,
            wal_pages: 0,
            commit_trouble: Trouble::new("a commit"),
            checkpoint_trouble: Trouble::new("a checkpoint"),
        };
        // What a crash left in the WAL is old news: begin with an empty one, or with the bound in force.
        let mut store = Store { conn, path: options.path.clone(), desk };
        store.session().checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok((store, start))
    }

    fn session(&mut self) -> Session<'_> {
        Session { conn: &self.conn, desk: &mut self.desk }
    }

    /// See [`Session::commit`].
    pub fn commit(&mut self, batch: &mut Vec<(Lane, Command)>) -> Committed {
        self.session().commit(batch)
    }

    /// See [`Session::tend`].
    pub fn tend(&mut self, now: Instant) -> Result<(), Fault> {
        self.session().tend(now)
    }

    /// See [`Session::sweep_search`].
    pub fn sweep_search(&mut self, done: u64) -> Result<bool, Fault> {
        self.session().sweep_search(done)
    }

    /// See [`Session::probe`].
    pub fn probe(&mut self) -> Result<(), Fault> {
        self.session().probe()
    }

    /// Copies the database, as it will be at the end, into a file beside it that `id` names, a bounded step at a time.
    /// After each step `between` may commit, which reaches the copy too, or give up with `false`.
    pub fn back_up(
        &mut self,
        id: Id,
        between: &mut dyn FnMut(&mut Session<'_>) -> bool,
    ) -> Result<DatabaseCopy, Refusal> {
        let Store { conn, path, desk } = self;
        let file = backup::copy(conn, path, id, &mut || between(&mut Session { conn, desk }))?;
        Ok(DatabaseCopy { file })
    }

    /// Leaves a database that needs no recovery: everything in the file, the WAL empty, marked as closed.
    pub fn close(mut self) -> Result<(), Fault> {
        let result = connection::set_synchronous(&self.conn, true)
            .and_then(|()| state::end(&self.conn))
            .and_then(|()| self.session().checkpoint("PRAGMA wal_checkpoint(TRUNCATE)"))
            .map(|_| ());
        self.session().settle(result)
    }
}

impl Session<'_> {
    /// Performs a batch in one transaction and answers each command, in their order; the batch is empty
    /// afterwards. After a fault of one command the rest of its lane in this batch is refused `Unavailable`; a
    /// fault of the transaction refuses all of it.
    pub fn commit(&mut self, batch: &mut Vec<(Lane, Command)>) -> Committed {
        let count = batch.len();
        match self.transact(batch) {
            Ok(outcomes) => {
                self.desk.commit_trouble.is_over();
                Committed { outcomes, fault: None }
            }
            Err(error) => {
                batch.clear();
                self.roll_back();
                let fault = self.desk.commit_trouble.begins(&error);
                // A transaction that failed for a reason of ours is as lost as any other, and worth the same retry.
                let refusal = match fault.refusal() {
                    Refusal::Internal => Refusal::Unavailable,
                    refusal => refusal,
                };
                let outcomes = (0..count).map(|_| Outcome::quiet(Err(refusal))).collect();
                Committed { outcomes, fault: Some(fault) }
            }
        }
    }

    fn transact(&mut self, batch: &mut Vec<(Lane, Command)>) -> rusqlite::Result<Vec<Outcome>> {
        if self.desk.wal_pages >= WAL_PAGES_MAX {
            self.checkpoint_soon("PRAGMA wal_checkpoint(RESTART)")?;
            if self.desk.wal_pages >= WAL_PAGES_MAX {
                return Err(busy());
            }
        }
        let conn = self.conn;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if self.desk.stale {
            self.desk.log = ends_of_log(conn)?;
            self.desk.stale = false;
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut closed: Vec<Lane> = Vec::new();
        let mut erased = false;
        let mut open = Batch { conn, log: &mut self.desk.log, cache: &mut self.desk.cache, insert: None };
        for (lane, command) in batch.drain(..) {
            if closed.contains(&lane) {
                outcomes.push(Outcome::quiet(Err(Refusal::Unavailable)));
                continue;
            }
            erased |= erases(&command);
            let written = open.perform(command)?;
            if written.result.as_ref().is_err_and(|refusal| refusal.is_fault()) {
                closed.push(lane);
            }
            outcomes.push(Outcome { result: written.result, events: written.events });
        }
        drop(open);
        self.desk.cache.write(conn)?;
        if self.desk.log.head_is_bare {
            state::keep_head(conn, self.desk.log.head)?;
            self.desk.log.head_is_bare = false;
        }
        conn.prepare_cached("COMMIT")?.execute([])?;
        self.desk.cache.trim();
        self.desk.erased |= erased;
        Ok(outcomes)
    }

    /// Back to what is on disk.
    fn roll_back(&mut self) {
        self.desk.cache.clear();
        self.desk.stale = true;
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            // SQLite ends the transaction anyway when the connection does; the next BEGIN reports what lasts.
            ::log::error!("storage: a rollback failed: {error}");
        }
    }

    /// What is worth doing between two batches, when no answer waits for it: a checkpoint once the WAL is long or holds what
    /// was erased.
    pub fn tend(&mut self, now: Instant) -> Result<(), Fault> {
        let result = if self.desk.erased && self.desk.erase_at.is_none_or(|at| at <= now) {
            self.desk.erase_at = Some(now + ERASE_EVERY);
            self.empty_wal()
        } else {
            self.shorten_wal()
        };
        self.settle(result)
    }

    /// Forgets changes that the search index is done with, up to `done`, a bounded step at a time. Answers whether more is
    /// left to do at once; how often is the caller's to weigh.
    pub fn sweep_search(&mut self, done: u64) -> Result<bool, Fault> {
        let result = self.sweep_search_within(done);
        if result.is_err() {
            self.roll_back();
        }
        self.settle(result)
    }

    fn sweep_search_within(&mut self, done: u64) -> rusqlite::Result<bool> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let more = search_changes::sweep(self.conn, done)?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(more)
    }

    /// What was erased is gone from the database file by `secure_delete`; what was written of it before stands in the WAL
    /// until that is cut off.
    fn empty_wal(&mut self) -> rusqlite::Result<()> {
        let wal = self.checkpoint_soon("PRAGMA wal_checkpoint(TRUNCATE)")?;
        // A reader of an old snapshot was in the way: tried again later.
        self.desk.erased = wal.busy;
        Ok(())
    }

    fn shorten_wal(&mut self) -> rusqlite::Result<()> {
        let wal = self.checkpoint("PRAGMA wal_checkpoint(NOOP)")?;
        if wal.pages >= WAL_RESTART_PAGES {
            let wal = self.checkpoint_soon("PRAGMA wal_checkpoint(RESTART)")?;
            if wal.busy && wal.pages >= WAL_PAGES_MAX {
                return Err(busy());
            }
        } else if wal.pages - wal.copied.min(wal.pages) >= WAL_CHECKPOINT_PAGES {
            self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        }
        Ok(())
    }

    /// A checkpoint that waits for readers, but only for as long as posts may.
    fn checkpoint_soon(&mut self, pragma: &str) -> rusqlite::Result<Wal> {
        connection::set_patience(self.conn, CHECKPOINT_BUSY_MS)?;
        let wal = self.checkpoint(pragma);
        connection::set_patience(self.conn, STORE_BUSY_MS)?;
        wal
    }

    fn checkpoint(&mut self, pragma: &str) -> rusqlite::Result<Wal> {
        let wal = self.conn.prepare_cached(pragma)?.query_row([], |row| {
            // -1 where there is no WAL at all.
            let pages = |column| row.get(column).map(|pages: i64| pages.max(0) as u64);
            Ok(Wal { busy: row.get(0)?, pages: pages(1)?, copied: pages(2)? })
        })?;
        // A restart that nobody was in the way of: the next commit begins at the front again.
        let restarted = !wal.busy && wal.copied == wal.pages && pragma.contains("RESTART");
        self.desk.wal_pages = if restarted { 0 } else { wal.pages };
        Ok(wal)
    }

    /// A tiny real write, to learn whether the database takes writes again after a fault.
    pub fn probe(&mut self) -> Result<(), Fault> {
        let result = state::touch(self.conn);
        match result {
            Ok(()) => {
                self.desk.commit_trouble.is_over();
                Ok(())
            }
            Err(Stop::Failed(error)) => Err(self.desk.commit_trouble.begins(&error)),
            Err(Stop::Refused(_)) => Err(Fault::Internal),
        }
    }

    fn settle<T>(&mut self, result: rusqlite::Result<T>) -> Result<T, Fault> {
        match result {
            Ok(done) => {
                self.desk.checkpoint_trouble.is_over();
                Ok(done)
            }
            Err(error) => Err(self.desk.checkpoint_trouble.begins(&error)),
        }
    }
}

/// Whether content goes with this command that must not stay readable anywhere.
fn erases(command: &Command) -> bool {
    matches!(
        command,
        Command::DeleteMessage(_)
            | Command::EditMessage(_)
            | Command::DeleteAccount(_)
            | Command::EraseMessages(_)
    )
}

fn ends_of_log(conn: &Connection) -> rusqlite::Result<Log> {
    Ok(Log { head: state::head(conn)?, newest_id_high: state::newest_id_high(conn)?, head_is_bare: false })
}

/// SQLite's own word for what keeps the WAL from beginning anew.
fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some("a reader outside of this process keeps the WAL from shrinking".to_owned()),
    )
}
