//! The thread that writes: batches, lanes with a fault, maintenance between batches, backups.
//!
//! Takes what the loop submitted and posts the outcomes to its inbox. Invariant: a batch is answered after its commit, and
//! after a fault the rest of its lane is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Item;
use crate::base::id::Id;
use crate::limits::PROBE_EVERY;
use crate::model::backup::{BackUp, DatabaseCopy};
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Lane, Outcome, Refusal, Write};
use crate::model::readiness::Readiness;
use crate::runtime::inbox::{Completion, Inbox};
use crate::runtime::indexing::IndexProgress;
use crate::runtime::lanes::Batches;
use crate::runtime::queue::{Queue, Taken};
use crate::server::contract::Ticket;
use crate::store::{Committed, Fault};

/// Commands of one transaction: half of a thousand posts in progress, so that the loop answers one batch while the next is
/// written. The rest waits for the next batch.
pub(super) const WRITE_BATCH_MAX: usize = 512;
/// Time between two calls of [`Writer::maintain`] (checkpoint, repair) while no write comes.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
/// Pause after a deletion of search changes, in lengths of that step: posts keep 95 % of the writer.
const SWEEP_REST: u32 = 19;
/// Minimum of that pause.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// The error kind that counts a fault of this kind of work. The store has logged it.
fn error_kind(fault: Fault, work: ErrorKind) -> ErrorKind {
    match fault {
        Fault::Full => ErrorKind::DiskFull,
        Fault::Sync => ErrorKind::Sync,
        _ => work,
    }
}

/// The reason why the process must stop, if it must: further writes would make a corrupt database worse.
fn fatal(fault: Fault) -> Option<&'static str> {
    (fault == Fault::Corrupt).then(|| fault.reason())
}

/// The operations of the one writer that are possible at any time, also between two steps of a backup.
pub trait Writer {
    /// Commits a batch. After a fault it refuses the later writes of that lane.
    fn commit(&mut self, batch: &mut Vec<(Lane, Write)>) -> Committed;
    /// Maintains the database between two batches.
    fn maintain(&mut self) -> Result<(), Fault>;
    /// Deletes search changes up to `done`, which the index has applied. Returns whether there is more to do.
    fn sweep_search(&mut self, done: u64) -> Result<bool, Fault>;
    /// What the database can do now.
    fn readiness(&self) -> Readiness;
    /// Whether [`Writer::maintain`] has more to do at once.
    fn is_at_work(&self) -> bool;
    /// How long the database must stay unlocked before the next batch, for another process that waits for it.
    fn pause(&mut self) -> Duration;
}

/// The one writer, used by one thread.
pub trait Database: Writer + Send + 'static {
    /// Copies the database into a new file whose name contains `id`, step by step. `between` may commit, which also changes
    /// the copy, or cancel the copy with `false`.
    fn back_up(
        &mut self,
        id: Id,
        between: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<DatabaseCopy, Refusal>;
    /// Checkpoints and closes.
    fn close(self) -> Result<(), Fault>;
}

/// The state of the writer's thread.
pub(super) struct WriterThread {
    batches: Batches,
    /// The readiness that was last reported to the loop.
    readiness: Readiness,
    /// The shared state of the index, and the last search change that was deleted because the index applied it.
    progress: Arc<IndexProgress>,
    swept: u64,
    /// The last deletion left something to do, and the time before which the next one does not begin.
    is_sweep_left: bool,
    sweep_at: Instant,
    /// The requested backup.
    backup: Option<(Ticket, BackUp)>,
    /// A backup is in progress: its steps don't wait for writes.
    backing_up: bool,
    /// The process will end.
    draining: bool,
    inbox: Arc<Inbox>,
}

/// The result of one iteration of the writer's thread.
enum Iteration {
    Done,
    /// The queue is closed and empty.
    Over,
    /// The process must stop.
    Fatal(&'static str),
}

impl WriterThread {
    pub(super) fn new(readiness: Readiness, progress: Arc<IndexProgress>, inbox: Arc<Inbox>) -> WriterThread {
        WriterThread {
            batches: Batches::default(),
            readiness,
            progress,
            swept: 0,
            is_sweep_left: true,
            sweep_at: Instant::now(),
            backup: None,
            backing_up: false,
            draining: false,
            inbox,
        }
    }

    /// Runs until the queue is closed and empty, then closes the database.
    pub(super) fn run(mut self, mut database: impl Database, queue: &Queue<Item>) {
        let mut items = VecDeque::new();
        loop {
            let mut iteration = self.iterate(&mut database, queue, &mut items);
            if let (Iteration::Done, Some((ticket, wanted))) = (&iteration, self.backup.take()) {
                iteration = self.back_up(&mut database, queue, &mut items, ticket, wanted);
            }
            match iteration {
                Iteration::Done => {}
                Iteration::Over => break,
                Iteration::Fatal(reason) => return self.inbox.post(Completion::Fatal(reason.to_owned())),
            }
        }
        if let Err(fault) = database.close() {
            // Acknowledged writes are in the WAL, which the next start reads.
            log::warn!(kind = "checkpoint"; "the database was closed without a checkpoint: {fault}");
        }
    }

    /// Commits a batch if there is one, then maintains the database.
    fn iterate(
        &mut self,
        writer: &mut dyn Writer,
        queue: &Queue<Item>,
        items: &mut VecDeque<Item>,
    ) -> Iteration {
        // The database is maintained also while no write comes.
        let at_once = self.backing_up || self.batches.has_deferred() || writer.is_at_work();
        let until = match (at_once, self.is_sweep_left) {
            (true, _) => Instant::now(),
            (_, true) => self.sweep_at,
            _ => Instant::now() + MAINTAIN_EVERY,
        };
        let reason = match queue.take(items, WRITE_BATCH_MAX, Some(until)) {
            Taken::Closed if !self.batches.has_deferred() => return Iteration::Over,
            Taken::Closed | Taken::Nothing => None,
            Taken::Items => {
                items.drain(..).for_each(|item| self.admit(item));
                self.commit(writer)
            }
        };
        let reason = reason.or_else(|| {
            let refused = self.batches.take_deferred();
            refused.into_iter().for_each(|ticket| self.refuse(ticket, Refusal::Unavailable));
            self.commit(writer)
        });
        // After the answers are sent, so that no answer waits for this work.
        match reason.or_else(|| self.maintain(writer)).or_else(|| self.sweep(writer)) {
            Some(reason) => Iteration::Fatal(reason),
            None => {
                std::thread::sleep(writer.pause());
                Iteration::Done
            }
        }
    }

    /// Makes a complete backup, with iterations between its steps. A drain cancels it: a copy can be made again.
    fn back_up(
        &mut self,
        database: &mut impl Database,
        queue: &Queue<Item>,
        items: &mut VecDeque<Item>,
        ticket: Ticket,
        wanted: BackUp,
    ) -> Iteration {
        self.backing_up = true;
        let mut end = Iteration::Done;
        let copied = database.back_up(wanted.id, &mut |writer| {
            end = self.iterate(writer, queue, items);
            matches!(end, Iteration::Done) && !self.draining
        });
        self.backing_up = false;
        let outcome = Outcome::quiet(copied.map(Answer::BackUp));
        self.inbox.post(Completion::Committed(vec![ticket], vec![outcome]));
        end
    }

    /// Adds one item to the current batch, or handles it at once.
    fn admit(&mut self, item: Item) {
        match item {
            Item::LaneReset(lane) => self.batches.reset(lane),
            Item::Drain => self.draining = true,
            Item::BackUp(ticket, _) if self.backing_up || self.backup.is_some() => {
                self.refuse(ticket, Refusal::Busy);
            }
            Item::BackUp(ticket, wanted) => self.backup = Some((ticket, wanted)),
            Item::Write(ticket, lane, write) => {
                if let Some(ticket) = self.batches.push(ticket, lane, write) {
                    self.refuse(ticket, Refusal::Unavailable);
                }
            }
        }
    }

    fn refuse(&self, ticket: Ticket, refusal: Refusal) {
        self.inbox.post(Completion::Committed(vec![ticket], vec![Outcome::quiet(Err(refusal))]));
    }

    /// Commits the current batch and posts its answers. Returns the reason if the process must stop.
    fn commit(&mut self, writer: &mut dyn Writer) -> Option<&'static str> {
        let (tickets, Committed { outcomes, fault }) = self.batches.commit(|batch| writer.commit(batch))?;
        let reason = match fault {
            Some(fault) => {
                self.inbox.count(error_kind(fault, ErrorKind::Commit));
                fatal(fault)
            }
            None => {
                self.progress.written();
                None
            }
        };
        self.report_readiness(writer);
        self.inbox.post(Completion::Committed(tickets, outcomes));
        reason
    }

    fn maintain(&mut self, writer: &mut dyn Writer) -> Option<&'static str> {
        let maintained = writer.maintain();
        self.report_readiness(writer);
        maintained.err().and_then(|fault| self.maintenance_failed(fault))
    }

    /// Deletes search changes that the index has applied. Rare, and limited so that posts keep most of the writer's time.
    fn sweep(&mut self, writer: &mut dyn Writer) -> Option<&'static str> {
        let (began, done) = (Instant::now(), self.progress.done());
        if !self.readiness.is_ready() || began < self.sweep_at || !(self.is_sweep_left || done > self.swept) {
            return None;
        }
        let swept = writer.sweep_search(done);
        self.sweep_at = Instant::now() + SWEEP_PAUSE.max(began.elapsed() * SWEEP_REST);
        match swept {
            Ok(more) => {
                (self.swept, self.is_sweep_left) = (done, more);
                None
            }
            Err(fault) => {
                self.sweep_at += PROBE_EVERY;
                self.maintenance_failed(fault)
            }
        }
    }

    fn maintenance_failed(&mut self, fault: Fault) -> Option<&'static str> {
        self.inbox.count(error_kind(fault, ErrorKind::Checkpoint));
        fatal(fault)
    }

    /// Reports the readiness to the loop if it changed.
    fn report_readiness(&mut self, writer: &mut dyn Writer) {
        let readiness = writer.readiness();
        if std::mem::replace(&mut self.readiness, readiness) != readiness {
            self.progress.hold(readiness.unproven);
            self.inbox.post(Completion::Storage(readiness));
        }
    }
}
