//! The thread that writes: batches, lanes with a fault, backups. What it does between batches is `maintenance`.
//!
//! Takes what the loop submitted and posts the outcomes to its inbox. Invariant: a batch is answered after its commit, and
//! after a fault the rest of its lane is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Item;
use super::maintenance::{Maintenance, error_kind, fatal};
use crate::base::id::Id;
use crate::model::backup::{BackUp, DatabaseCopy};
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Lane, Outcome, Refusal, Write};
use crate::model::readiness::Readiness;
use crate::runtime::inbox::{Completion, Inbox};
use crate::runtime::indexing::IndexProgress;
use crate::runtime::lanes::Batches;
use crate::runtime::queue::{Queue, Taken};
#[cfg(feature = "cluster")]
use crate::runtime::replica::Applies;
use crate::server::contract::Ticket;
use crate::store::{Committed, Fault};

/// Commands of one transaction: half of a thousand posts in progress, so that the loop answers one batch while the next is
/// written. The rest waits for the next batch.
pub(super) const WRITE_BATCH_MAX: usize = 512;
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
    /// In a cluster it applies entries instead.
    #[cfg(feature = "cluster")]
    fn applies(&mut self) -> &mut dyn Applies;
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
    maintenance: Maintenance,
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
            maintenance: Maintenance::new(readiness, progress, Arc::clone(&inbox)),
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
        let until = if at_once { Instant::now() } else { self.maintenance.due_at() };
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
        let reason = reason.or_else(|| self.maintenance.maintain(writer, None));
        match reason.or_else(|| self.maintenance.sweep(writer)) {
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
            #[cfg(feature = "cluster")]
            Item::Log | Item::Compare(..) => {}
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
                self.maintenance.written();
                None
            }
        };
        self.maintenance.report(writer, None);
        self.inbox.post(Completion::Committed(tickets, outcomes));
        reason
    }
}
