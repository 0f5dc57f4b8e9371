//! The thread that writes: batches or entries of a log, lanes with a fault, backups. What it does between batches is `maintenance`.
//!
//! Takes what the loop submitted and posts the outcomes to its inbox. Leaves what becomes of a write in a cluster to `cluster_node`.
//! Invariant: a batch is answered after its commit, and after a fault the rest of its lane is refused.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Item;
#[cfg(feature = "cluster")]
use super::cluster_node::ClusterNode;
use super::maintenance::{Maintenance, error_kind, fatal};
use crate::base::id::Id;
use crate::model::backup::{BackUp, DatabaseCopy};
use crate::model::measures::Measure;
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
    /// The folder of the database, if it has one.
    fn folder(&self) -> Option<&Path> {
        None
    }
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

/// What becomes of the writes.
pub enum Writes {
    /// Each batch is committed.
    Alone(Batches),
    /// They become entries of the log of a cluster.
    #[cfg(feature = "cluster")]
    InCluster(Box<ClusterNode>),
}

impl Writes {
    /// Those of a natter alone.
    pub fn alone() -> Writes {
        Writes::Alone(Batches::default())
    }

    /// Whether there is more to do at once.
    fn is_at_work(&self) -> bool {
        match self {
            Writes::Alone(batches) => batches.has_deferred(),
            #[cfg(feature = "cluster")]
            Writes::InCluster(node) => node.is_at_work(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self {
            Writes::Alone(_) => None,
            #[cfg(feature = "cluster")]
            Writes::InCluster(node) => node.next_deadline(),
        }
    }

    /// Why no write is performed although the database could.
    fn unready(&self) -> Option<&'static str> {
        match self {
            Writes::Alone(_) => None,
            #[cfg(feature = "cluster")]
            Writes::InCluster(node) => node.unready(),
        }
    }

    /// Whether a closed and empty queue ends the thread. If it does not, the rest has its turn.
    fn is_over(&mut self) -> bool {
        match self {
            Writes::Alone(batches) => !batches.has_deferred(),
            #[cfg(feature = "cluster")]
            Writes::InCluster(node) => {
                let is_over = node.is_over(Instant::now());
                if !is_over {
                    node.wait_at_end();
                }
                is_over
            }
        }
    }
}

/// The state of the writer's thread.
pub(super) struct WriterThread {
    writes: Writes,
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
    /// The queue is closed, and nothing is left.
    Over,
    /// The process must stop.
    Fatal(String),
}

impl WriterThread {
    pub(super) fn new(
        writes: Writes,
        readiness: Readiness,
        progress: Arc<IndexProgress>,
        inbox: Arc<Inbox>,
    ) -> WriterThread {
        WriterThread {
            writes,
            maintenance: Maintenance::new(readiness, progress, Arc::clone(&inbox)),
            backup: None,
            backing_up: false,
            draining: false,
            inbox,
        }
    }

    /// Runs until the queue is closed and empty, then closes the database.
    pub(super) fn run(mut self, mut database: impl Database, queue: &Arc<Queue<Item>>) {
        #[cfg(feature = "cluster")]
        if let Writes::InCluster(node) = &self.writes {
            node.begin(queue);
        }
        let mut items = VecDeque::new();
        loop {
            let mut iteration = self.iterate(&mut database, queue, &mut items);
            if let (Iteration::Done, Some((ticket, wanted))) = (&iteration, self.backup.take()) {
                iteration = self.back_up(&mut database, queue, &mut items, ticket, wanted);
            }
            match iteration {
                Iteration::Done => {}
                Iteration::Over => break,
                Iteration::Fatal(reason) => return self.inbox.post(Completion::Fatal(reason)),
            }
        }
        if let Err(fault) = database.close() {
            // Acknowledged writes are in the WAL, which the next start reads.
            log::warn!(kind = "checkpoint"; "the database was closed without a checkpoint: {fault}");
        }
    }

    /// Commits what waits, then maintains the database.
    fn iterate(
        &mut self,
        writer: &mut dyn Writer,
        queue: &Queue<Item>,
        items: &mut VecDeque<Item>,
    ) -> Iteration {
        // The database is maintained also while no write comes.
        let at_once = self.backing_up || self.writes.is_at_work() || writer.is_at_work();
        let until = if at_once {
            Instant::now()
        } else {
            self.writes.next_deadline().into_iter().fold(self.maintenance.due_at(), Instant::min)
        };
        match queue.take(items, WRITE_BATCH_MAX, Some(until)) {
            Taken::Closed if self.writes.is_over() => return Iteration::Over,
            Taken::Closed | Taken::Nothing => {}
            Taken::Items => items.drain(..).for_each(|item| self.admit(item)),
        }
        let reason = self.perform(writer);
        // After the answers are sent, so that no answer waits for this work.
        let because = self.writes.unready();
        let reason = reason.or_else(|| self.maintenance.maintain(writer, because).map(str::to_owned));
        match reason.or_else(|| self.maintenance.sweep(writer).map(str::to_owned)) {
            Some(reason) => Iteration::Fatal(reason),
            None => {
                std::thread::sleep(writer.pause());
                Iteration::Done
            }
        }
    }

    /// Performs the writes that were admitted. Returns the reason if the process must stop.
    fn perform(&mut self, writer: &mut dyn Writer) -> Option<String> {
        #[cfg(feature = "cluster")]
        if let Writes::InCluster(node) = &mut self.writes {
            return node.turn(writer, &mut self.maintenance, &self.inbox);
        }
        let reason = self.commit(writer).or_else(|| {
            self.admit_deferred();
            self.commit(writer)
        });
        reason.map(str::to_owned)
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
        self.answer(ticket, copied.map(Answer::BackUp));
        end
    }

    /// Adds one item to what is performed next, or handles it at once.
    fn admit(&mut self, item: Item) {
        match (item, &mut self.writes) {
            (Item::Write(ticket, lane, write), Writes::Alone(batches)) => {
                if let Some(ticket) = batches.push(ticket, lane, write) {
                    self.answer(ticket, Err(Refusal::Unavailable));
                }
            }
            (Item::LaneReset(lane), Writes::Alone(batches)) => batches.reset(lane),
            #[cfg(feature = "cluster")]
            (Item::Write(ticket, lane, write), Writes::InCluster(node)) => node.submit(ticket, lane, write),
            #[cfg(feature = "cluster")]
            (Item::LaneReset(lane), Writes::InCluster(node)) => node.reset_lane(lane),
            #[cfg(feature = "cluster")]
            (Item::Compare(position, chain), Writes::InCluster(node)) => node.compare(position, chain),
            #[cfg(feature = "cluster")]
            // The turn that follows asks the log.
            (Item::Log, _) | (Item::Compare(..), Writes::Alone(_)) => {}
            (Item::Drain, _) => self.draining = true,
            (Item::BackUp(ticket, _), _) if self.backing_up || self.backup.is_some() => {
                self.answer(ticket, Err(Refusal::Busy));
            }
            (Item::BackUp(ticket, wanted), _) => self.backup = Some((ticket, wanted)),
        }
    }

    /// Makes the next batch of what was deferred.
    fn admit_deferred(&mut self) {
        match &mut self.writes {
            Writes::Alone(batches) => {
                let refused = batches.take_deferred();
                refused.into_iter().for_each(|ticket| self.answer(ticket, Err(Refusal::Unavailable)));
            }
            #[cfg(feature = "cluster")]
            Writes::InCluster(_) => {}
        }
    }

    fn answer(&self, ticket: Ticket, result: Result<Answer, Refusal>) {
        self.inbox.post(Completion::Committed(vec![ticket], vec![Outcome::quiet(result)]));
    }

    /// Commits the current batch and posts its answers. Returns the reason if the process must stop.
    fn commit(&mut self, writer: &mut dyn Writer) -> Option<&'static str> {
        let committed = match &mut self.writes {
            Writes::Alone(batches) => batches.commit(|batch| {
                let (writes, began) = (batch.len() as u64, Instant::now());
                let committed = writer.commit(batch);
                self.inbox.measures.took_here(Measure::Commit, began.elapsed());
                self.inbox.measures.observe(Measure::Batch, writes);
                committed
            }),
            #[cfg(feature = "cluster")]
            Writes::InCluster(_) => None,
        };
        let (tickets, Committed { outcomes, fault }) = committed?;
        let reason = match fault {
            Some(fault) => {
                self.inbox.count(error_kind(fault, ErrorKind::Commit), fault.to_string());
                fatal(fault)
            }
            None => {
                self.maintenance.written(outcomes.len());
                None
            }
        };
        self.maintenance.report(writer, None);
        self.inbox.post(Completion::Committed(tickets, outcomes));
        reason
    }
}
