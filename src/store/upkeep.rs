//! Maintenance of the database between two batches: checkpoints, proofs of durability, the replacement of a suspect file.
//!
//! After a start or a failed write it proves that all answered writes are on disk; if only a new file can achieve that, it
//! makes one. Owns when each is tried. Which fault leads to which state is the rule of `durability`.
//! Invariant: no answer in progress waits for this work.

use std::path::Path;
use std::time::{Duration, Instant};

use super::durability::{Obstacle, State};
use super::fault::{Fault, with_cause};
use super::replacement::{self, Copy, Failed, Old};
use super::writer::{Store, WriteHandle};
use super::{connection, metadata};
use crate::limits::{CHECKPOINT_BUSY_MS, ERASE_EVERY, PROBE_EVERY, WAL_HELD_BYTES};
use crate::model::readiness::Readiness;

/// Time between two attempts to become sound again.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
/// A held WAL may use one part in this many of the free space of the disk.
const FREE_SPACE_SHARE: u64 = 2;

/// A replacement file in progress.
#[derive(Default)]
pub struct Replacing {
    old: Option<Old>,
    copy: Option<Copy>,
    /// The new file is complete.
    complete: bool,
}

impl Store {
    /// Maintenance between two batches, when no answer waits for it.
    pub fn maintain(&mut self, now: Instant) -> Result<(), Fault> {
        if self.writer_state.durability.state != State::Database {
            return self.handle().maintain(now);
        }
        if self.writer_state.retry_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        let replaced = match self.replace() {
            Ok(false) => return Ok(()),
            Ok(true) => self.handle().prove(),
            Err(failed) => {
                self.writer_state.retry_at = Some(now + REPAIR_EVERY);
                Err(self.not_replaced(failed))
            }
        };
        self.handle().log_state();
        replaced
    }

    /// Whether [`Store::maintain`] has more to do at once.
    pub fn is_at_work(&self) -> bool {
        self.replacing.copy.is_some()
    }

    /// See [`WriteHandle::pause`].
    pub fn pause(&mut self) -> Duration {
        self.handle().pause()
    }

    /// See [`WriteHandle::is_wal_held`].
    pub fn is_wal_held(&mut self) -> bool {
        self.handle().is_wal_held()
    }

    /// See [`WriteHandle::bound_wal`].
    pub fn bound_wal(&mut self, free_bytes: u64) {
        self.handle().bound_wal(free_bytes);
    }

    /// The folder of the database.
    pub fn folder(&self) -> &Path {
        connection::folder(&self.options.path)
    }

    /// One step towards a new file. Returns whether it has replaced the old one.
    fn replace(&mut self) -> Result<bool, Failed> {
        let Replacing { old, copy, complete } = &mut self.replacing;
        if !*complete {
            let old = match old {
                Some(old) => old,
                None => old.insert(Old::pin(&self.conn, &self.options.path)?),
            };
            let copying = match copy {
                Some(copy) => copy,
                None => copy.insert(Copy::begin(old)?),
            };
            if !copying.step(old)? {
                return Ok(false);
            }
            if let Some(copy) = copy.take() {
                copy.complete(old)?;
            }
            *complete = true;
        }
        replacement::exchange(&self.options.path)?;
        let opened = connection::open_writer(&self.options);
        let conn = opened.map_err(|fault| Failed::Fault(Fault::Io, fault.to_string()))?;
        // The old file is removed after its connection is closed.
        drop(std::mem::replace(&mut self.conn, conn));
        self.replacing = Replacing::default();
        replacement::remove_mark(&self.options.path)?;
        self.writer_state.replaced();
        log::warn!("storage: the content of the database is in a new file, which has replaced the old one");
        Ok(true)
    }

    fn not_replaced(&mut self, failed: Failed) -> Fault {
        self.replacing.copy = None;
        let (obstacle, fault, detail) = match failed {
            Failed::Damaged(detail) => (Obstacle::Damaged, Fault::Io, detail),
            Failed::Fault(Fault::Busy, detail) => (Obstacle::OtherProcess, Fault::Busy, detail),
            Failed::Fault(fault, detail) => (Obstacle::Fault(fault), fault, detail),
        };
        if self.writer_state.durability.obstacle != Some(obstacle) {
            log::error!("storage: the database can't be replaced by a new file: {detail}");
        }
        self.writer_state.durability.obstacle = Some(obstacle);
        if !self.replacing.complete
            && let Err(error) = replacement::clear(&self.options.path)
        {
            log::warn!("storage: a part of a copy can't be removed: {error}");
        }
        fault
    }
}

impl WriteHandle<'_> {
    /// A connection that a backup borrows is not replaced.
    pub fn is_at_work(&self) -> bool {
        false
    }

    /// The folder of the database.
    pub fn folder(&self) -> &Path {
        connection::folder(&self.writer_state.path)
    }

    /// Maintenance between two batches, when no answer waits for it: a checkpoint once the WAL is long or holds erased
    /// content. A database file that has to be replaced is left to [`Store::maintain`], which owns the connection.
    pub fn maintain(&mut self, now: Instant) -> Result<(), Fault> {
        let due = self.writer_state.retry_at.is_none_or(|at| at <= now);
        let result = match self.writer_state.durability.state {
            State::Sound => {
                let kept = self.keep(now);
                // A WAL at its limit accepts no write, not even this one.
                let has_room = self.writer_state.wal_pages < self.writer_state.wal_pages_max;
                if self.writer_state.failing.is_some()
                    && due
                    && has_room
                    && self.writer_state.durability.is_sound()
                {
                    self.writer_state.retry_at = Some(now + PROBE_EVERY);
                    kept.and(self.probe())
                } else {
                    kept
                }
            }
            State::Unproven | State::Wal if due => {
                self.writer_state.retry_at = Some(now + REPAIR_EVERY);
                self.prove()
            }
            State::Unproven | State::Wal | State::Database => Ok(()),
        };
        if self.writer_state.failing.is_none() && self.writer_state.durability.is_sound() {
            self.writer_state.reserve.maintain(&self.writer_state.path, now);
        }
        self.log_state();
        result
    }

    /// Proves that answered writes are on disk, by a checkpoint that syncs the WAL and the database and truncates the WAL,
    /// so that later writes go to new blocks. Next to a process that copies the WAL, the WAL is written again instead. After a
    /// start it also writes the mark of the start.
    pub fn prove(&mut self) -> Result<(), Fault> {
        // First a test write: the space that the checkpoint frees would let one small write through, and the next post
        // would fail.
        if self.writer_state.durability.state == State::Wal && self.writer_state.failing == Some(Fault::Full)
        {
            self.probe()?;
        }
        let is_shared = match self.is_shared() {
            Err(error) => return Err(self.checkpoint_failed(&error)),
            Ok(is_shared) => is_shared,
        };
        if is_shared { self.rewrite_wal() } else { self.truncate_wal() }?;
        if let Err(error) = self.begin().map_err(with_cause) {
            self.writer_state.durability.commit_failed(&error);
            let fault = self.writer_state.commit_faults.begins(&error);
            self.writer_state.durability.blocked(fault);
            return Err(fault);
        }
        // A log that stays may hold content that an earlier process erased.
        (self.writer_state.erased, self.writer_state.erased_in) = (is_shared, None);
        self.writer_state.durability.is_proven();
        // The failure may persist, and only a write shows it.
        if self.writer_state.failing.is_some() { self.probe() } else { Ok(()) }
    }

    fn truncate_wal(&mut self) -> Result<(), Fault> {
        match self.checkpoint_soon("PRAGMA wal_checkpoint(TRUNCATE)", CHECKPOINT_BUSY_MS) {
            Err(error) => Err(self.checkpoint_failed(&error)),
            Ok(wal) if wal.busy => Err(self.blocked(Fault::Busy)),
            Ok(_) => Ok(()),
        }
    }

    /// An attempt to prove the WAL failed without a change of the files.
    pub(super) fn blocked(&mut self, fault: Fault) -> Fault {
        self.writer_state.durability.blocked(fault);
        fault
    }

    /// Records once that the database is open.
    fn begin(&mut self) -> rusqlite::Result<()> {
        let Some(beginning) = &self.writer_state.beginning else { return Ok(()) };
        connection::set_synchronous(self.conn, true)?;
        metadata::begin(self.conn, beginning)?;
        connection::set_synchronous(self.conn, self.writer_state.synchronous_full)?;
        self.writer_state.beginning = None;
        Ok(())
    }

    fn keep(&mut self, now: Instant) -> Result<(), Fault> {
        let due = self.writer_state.erase_at.is_none_or(|at| at <= now);
        let result = if due && self.holds_too_much() {
            self.writer_state.erase_at = Some(now + ERASE_EVERY);
            self.is_shared()
                .and_then(|shared| if shared { self.cut_wal() } else { self.empty_wal().map(|()| false) })
        } else {
            self.shorten_wal(now).map(|()| false)
        };
        match result {
            Ok(begins_log) => {
                self.writer_state.checkpoint_faults.is_over();
                if begins_log { self.probe() } else { Ok(()) }
            }
            Err(error) => Err(self.checkpoint_failed(&error)),
        }
    }

    pub(super) fn checkpoint_failed(&mut self, error: &rusqlite::Error) -> Fault {
        let fault = self.writer_state.checkpoint_faults.begins(error);
        let before = self.writer_state.durability.state;
        if self.writer_state.durability.checkpoint_failed(error) && before != State::Database {
            self.writer_state.retry_at = None;
            if let Err(error) = replacement::set_mark(&self.writer_state.path) {
                log::warn!(
                    "storage: the next start will not know that the database file is suspect: {error}"
                );
            }
        }
        fault
    }

    /// A small real write, which shows whether the database accepts writes again after a fault.
    pub(super) fn probe(&mut self) -> Result<(), Fault> {
        match metadata::touch(self.conn).map_err(with_cause) {
            Ok(()) => {
                self.writer_state.commit_faults.is_over();
                self.writer_state.failing = None;
                Ok(())
            }
            Err(error) => Err(self.commit_failed(&error)),
        }
    }

    pub(super) fn commit_failed(&mut self, error: &rusqlite::Error) -> Fault {
        let fault = self.writer_state.commit_faults.begins(error);
        self.writer_state.failing = Some(fault);
        let before = self.writer_state.durability.state;
        self.writer_state.durability.commit_failed(error);
        if self.writer_state.durability.state != before {
            self.writer_state.retry_at = None;
        }
        fault
    }

    /// What the database can do now.
    pub fn readiness(&self) -> Readiness {
        self.writer_state.readiness()
    }

    /// Logs when writes are no longer answered, and when they are answered again.
    pub(super) fn log_state(&mut self) {
        let reason = self.writer_state.durability.reason();
        if self.writer_state.logged_reason == reason {
            return;
        }
        match reason {
            Some(reason) => log::error!("storage: no write is answered: {reason}"),
            None => log::info!("storage: writes are answered: everything answered before is on disk"),
        }
        self.writer_state.logged_reason = reason;
    }

    /// Whether a reader outside of this process prevents the WAL from being truncated. [`WriteHandle::bound_wal`] then
    /// needs the free space of the disk.
    pub fn is_wal_held(&self) -> bool {
        self.writer_state.wal_held.is_some()
    }

    /// Limits a held WAL to a part of the disk's free space.
    pub fn bound_wal(&mut self, free_bytes: u64) {
        let free = self.writer_state.pages(free_bytes);
        let bound = (self.writer_state.wal_pages + free) / FREE_SPACE_SHARE;
        let least = self.writer_state.pages(WAL_HELD_BYTES);
        self.writer_state.wal_pages_max = self.writer_state.wal_pages_of_option.min(bound.max(least));
    }
}
