//! Checkpoints: how long the WAL becomes, and when erased content is gone from it.
//!
//! Owns when the WAL is copied into the database, restarted, emptied or shortened. What a failed checkpoint means is left to
//! `durability`.
//! Invariant: next to another process that has the database open, the WAL never loses what that process may still copy.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fault::{Fault, with_cause};
use super::wal_file::WalFile;
use super::writer::{Wal, WriteHandle, WriterState};
use super::{connection, holder, litestream};
use crate::limits::{CHECKPOINT_BUSY_MS, STORE_BUSY_MS, WAL_HELD_BYTES, WAL_KEPT_BYTES};
use crate::model::readiness::WalHeld;

/// Bytes in the WAL that are worth a checkpoint. Fewer would copy the same busy pages more often (at 4 MiB an eighth of the
/// writer's time), more would stall longer.
const WAL_CHECKPOINT_BYTES: u64 = 8 << 20;
/// Bytes in the WAL after which a checkpoint waits for the readers of old snapshots, which take milliseconds, so that the WAL
/// restarts.
const WAL_RESTART_BYTES: u64 = 24 << 20;

/// Time between two attempts to restart the WAL after a reader prevented one. With [`HELD_BUSY_MS`] they take one
/// twenty-fifth of the writer's time.
const RESTART_EVERY: Duration = Duration::from_millis(250);
/// Milliseconds such an attempt waits for the readers of this process. For another process no attempt waits, because every
/// post would wait too: its snapshot can last for minutes. Litestream has one at all times, except during its own
/// checkpoints, which restart the WAL.
const HELD_BUSY_MS: u64 = 10;

/// Bytes in the WAL up to which all checkpoints are left to Litestream, if it runs. It loses a log that begins and ends between
/// two steps of its own checkpoint, and its replica is then corrupt: no other process may restart the WAL meanwhile.
const WAL_LITESTREAM_BYTES: u64 = 96 << 20;

/// Bytes in the WAL from which on the write lock stays free between two batches. Litestream waits for the lock from 10,000 pages
/// on (40 MiB, or 20 MiB with pages of 2 KiB), and asks for it ten times in a second: without the pauses a writer with much to do
/// never leaves it free, and the WAL grows up to WAL_MAX.
const WAL_YIELD_BYTES: u64 = 48 << 20;
/// Such a pause: longer than most batches.
const YIELD: Duration = Duration::from_millis(20);
/// Bytes from which on the pauses are long, so that larger batches change fewer pages.
const WAL_PRESSED_BYTES: u64 = 128 << 20;
const PRESSED_YIELD: Duration = Duration::from_millis(100);

const _: () = assert!(WAL_HELD_BYTES < WAL_YIELD_BYTES && WAL_YIELD_BYTES < WAL_LITESTREAM_BYTES);
const _: () = assert!(WAL_LITESTREAM_BYTES < WAL_PRESSED_BYTES);
// A held WAL is reported only after attempts to restart it.
const _: () = assert!(WAL_CHECKPOINT_BYTES < WAL_RESTART_BYTES && WAL_RESTART_BYTES < WAL_HELD_BYTES);
const _: () = assert!(HELD_BUSY_MS < CHECKPOINT_BUSY_MS && CHECKPOINT_BUSY_MS < STORE_BUSY_MS);

/// Whether another process may copy the WAL. Litestream's tables tell it where `/proc` does not.
pub(super) fn is_shared(conn: &Connection, path: &Path) -> rusqlite::Result<bool> {
    Ok(litestream::has_tables(conn)? || is_open_elsewhere(path))
}

fn is_open_elsewhere(path: &Path) -> bool {
    holder::of_database(&connection::with_suffix(path, "-shm")).is_some()
}

impl WriterState {
    fn path_of_wal(&self) -> PathBuf {
        connection::with_suffix(&self.path, "-wal")
    }

    /// The part of [`WriteHandle::remove_earlier_logs`] that needs the write lock.
    fn remove_earlier_logs(&mut self) -> std::io::Result<Option<u32>> {
        let Some(file) = WalFile::open(&self.path_of_wal(), self.page_bytes)? else {
            (self.erased, self.erased_in, self.log_seen) = (false, None, None);
            return Ok(None);
        };
        if std::mem::take(&mut self.erased) {
            self.erased_in = Some(file.number);
        }
        let is_old = self.log_seen.replace(file.number) == Some(file.number);
        let kept = u32::from(!is_old);
        file.remove_earlier(kept)?;
        self.erased_in = self.erased_in.filter(|it| file.number.wrapping_sub(*it) <= kept);
        Ok(Some(file.number))
    }
}

impl WriteHandle<'_> {
    /// Whether the file of the WAL may hold erased content, or is longer than it has to be.
    pub(super) fn holds_too_much(&self) -> bool {
        self.writer_state.erased
            || self.writer_state.erased_in.is_some()
            || connection::length(&self.writer_state.path_of_wal()) > WAL_KEPT_BYTES
    }

    pub(super) fn is_shared(&self) -> rusqlite::Result<bool> {
        is_shared(self.conn, &self.writer_state.path)
    }

    /// How long the database must stay unlocked before the next batch.
    pub fn pause(&mut self) -> Duration {
        match self.writer_state.wal_pages * self.writer_state.page_bytes {
            WAL_YIELD_BYTES.. if !self.has_litestream().unwrap_or(false) => Duration::ZERO,
            WAL_PRESSED_BYTES.. => PRESSED_YIELD,
            WAL_YIELD_BYTES.. => YIELD,
            _ => Duration::ZERO,
        }
    }

    fn has_litestream(&self) -> rusqlite::Result<bool> {
        litestream::has_tables(self.conn)
    }

    /// Whether Litestream runs, as far as it can be known while the WAL is long.
    fn is_litestream_running(&mut self, now: Instant) -> rusqlite::Result<bool> {
        let WriterState { litestream, path, .. } = &mut *self.writer_state;
        litestream.is_running(self.conn, now, || is_open_elsewhere(path))
    }

    fn is_open_elsewhere(&self) -> bool {
        is_open_elsewhere(&self.writer_state.path)
    }

    /// Proves that the WAL is on disk where it can't be truncated, because another process may not have copied it.
    pub(super) fn rewrite_wal(&mut self) -> Result<(), Fault> {
        let rewritten = self.locked(|state| match WalFile::open(&state.path_of_wal(), state.page_bytes)? {
            Some(file) => file.rewrite(),
            None => Ok(()),
        });
        match rewritten {
            Err(error) => Err(self.checkpoint_failed(&error)),
            Ok(None) => Err(self.blocked(Fault::Busy)),
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => {
                log::error!("storage: the WAL can't be written again: {error}");
                let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                Err(self.blocked(if is_full { Fault::Full } else { Fault::Io }))
            }
        }
    }

    /// Runs `work` while no other connection writes. `None` if another one does.
    fn locked<T>(&mut self, work: impl FnOnce(&mut WriterState) -> T) -> rusqlite::Result<Option<T>> {
        connection::set_busy_timeout(self.conn, 0)?;
        let begun = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        connection::set_busy_timeout(self.conn, STORE_BUSY_MS)?;
        match begun {
            Err(error) if Fault::of(&error) == Fault::Busy => return Ok(None),
            begun => begun?,
        };
        let result = work(self.writer_state);
        self.conn.prepare_cached("ROLLBACK")?.execute([])?;
        Ok(Some(result))
    }

    fn held(&self, pages: u64) -> Option<WalHeld> {
        let index = connection::with_suffix(&self.writer_state.path, "-shm");
        (pages >= self.writer_state.pages(WAL_HELD_BYTES)).then(|| WalHeld { pid: holder::of_log(&index) })
    }

    /// `secure_delete` removes erased content from the database file. Earlier copies of it stay in the WAL until that is
    /// truncated.
    pub(super) fn empty_wal(&mut self) -> rusqlite::Result<()> {
        let wal = self.checkpoint_soon("PRAGMA wal_checkpoint(TRUNCATE)", CHECKPOINT_BUSY_MS)?;
        // A reader of an old snapshot prevented it: tried again later.
        self.writer_state.erased = wal.busy;
        if !wal.busy {
            self.writer_state.erased_in = None;
        }
        Ok(())
    }

    /// As [`WriteHandle::empty_wal`], next to a process that copies the WAL. Litestream copies what was written since its
    /// last look only after the WAL was restarted, from the rest of the previous log: if the file is shorter by then, its
    /// replica is corrupt and it does not notice. So the WAL is restarted, and the file keeps the previous log until there is
    /// another one or until the next look. Returns whether a write has to begin the next log.
    pub(super) fn cut_wal(&mut self) -> rusqlite::Result<bool> {
        match self.remove_earlier_logs()? {
            // Litestream restarts the WAL itself, and may lose a log if another process does.
            Some(_) if self.has_litestream()? && self.is_open_elsewhere() => Ok(false),
            Some(number) if self.writer_state.erased_in == Some(number) => {
                Ok(!self.checkpoint_soon("PRAGMA wal_checkpoint(RESTART)", 0)?.busy)
            }
            _ => Ok(false),
        }
    }

    /// Removes earlier logs from the file of the WAL. Returns the number of the current log, if there is one and no other
    /// connection writes.
    fn remove_earlier_logs(&mut self) -> rusqlite::Result<Option<u32>> {
        let removed = self.locked(WriterState::remove_earlier_logs)?.unwrap_or(Ok(None));
        Ok(removed.unwrap_or_else(|error| {
            log::warn!("storage: earlier parts of the WAL can't be removed: {error}");
            None
        }))
    }

    pub(super) fn shorten_wal(&mut self, now: Instant) -> rusqlite::Result<()> {
        let wal = self.checkpoint("PRAGMA wal_checkpoint(NOOP)")?;
        let [worth, restart, litestream] = [WAL_CHECKPOINT_BYTES, WAL_RESTART_BYTES, WAL_LITESTREAM_BYTES]
            .map(|it| self.writer_state.pages(it));
        let due = self.writer_state.restart_at.is_none_or(|at| at <= now);
        if wal.pages < worth {
            self.writer_state.litestream.rest();
        }
        let is_left = (worth..litestream).contains(&wal.pages) && self.is_litestream_running(now)?;
        let writer_state = &*self.writer_state;
        if is_left {
            if due {
                self.writer_state.restart_at = Some(now + RESTART_EVERY);
                // Without a process that is seen, the WAL is only left alone: nothing prevents its restart.
                self.writer_state.wal_held = self.held(wal.pages).filter(|held| held.pid.is_some());
            }
        } else if wal.pages >= restart && due {
            let wait_ms = match writer_state.restart_at {
                _ if self.is_shared()? => 0,
                Some(_) => HELD_BUSY_MS,
                None => CHECKPOINT_BUSY_MS,
            };
            let wal = self.checkpoint_soon("PRAGMA wal_checkpoint(RESTART)", wait_ms)?;
            self.writer_state.copy_at = wal.pages + worth;
            self.writer_state.restart_at = wal.busy.then_some(now + RESTART_EVERY);
            self.writer_state.wal_held = if wal.busy { self.held(wal.pages) } else { None };
        } else if wal.pages >= worth.max(writer_state.copy_at)
            && wal.pages - wal.copied.min(wal.pages) >= worth
        {
            let wal = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
            // Pages after a reader's old snapshot can't be copied, and each attempt costs more as the WAL grows.
            self.writer_state.copy_at = if wal.copied < wal.pages { wal.pages + worth } else { wal.copied };
        }
        if wal.pages < restart {
            (self.writer_state.restart_at, self.writer_state.wal_held) = (None, None);
        }
        Ok(())
    }

    /// A checkpoint that waits for readers, but only as long as posts may wait.
    pub(super) fn checkpoint_soon(&mut self, pragma: &str, wait_ms: u64) -> rusqlite::Result<Wal> {
        connection::set_busy_timeout(self.conn, wait_ms)?;
        let wal = self.checkpoint(pragma);
        connection::set_busy_timeout(self.conn, STORE_BUSY_MS)?;
        wal
    }

    fn checkpoint(&mut self, pragma: &str) -> rusqlite::Result<Wal> {
        let before = self.writer_state.wal_pages;
        let wal = self.conn.prepare_cached(pragma)?.query_row([], |row| {
            let (busy, pages, copied): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(match u64::try_from(pages) {
                Ok(pages) => Wal { busy, pages, copied: copied.max(0) as u64 },
                // Another process is in a checkpoint: nothing was done, and SQLite does not report the length.
                Err(_) if busy => Wal { busy, pages: before, copied: 0 },
                // There is no WAL.
                Err(_) => Wal { busy, pages: 0, copied: 0 },
            })
        });
        let wal = wal.map_err(with_cause)?;
        // No reader prevented the restart: the next commit begins at the start of the WAL.
        let restarted = !wal.busy && wal.copied == wal.pages && pragma.contains("RESTART");
        self.writer_state.wal_pages = if restarted { 0 } else { wal.pages };
        if self.writer_state.wal_pages == 0 {
            self.writer_state.copy_at = 0;
        }
        Ok(wal)
    }
}
