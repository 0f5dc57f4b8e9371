//! The writer's thread of a node of a cluster: a [`Replica`] with its log, a database and a queue.
//!
//! Owns when a turn of the replica is due, and the start, when nobody asks for a write yet. What comes of the turns goes to the loop.
//! Invariant: as for the thread of a natter alone, an answer is posted after its commit, and outcomes are posted in the order of the
//! commits.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Item;
use super::maintenance::Maintenance;
use super::writer_thread::{Database, WRITE_BATCH_MAX, Writer};
use crate::limits::PROBE_EVERY;
use crate::model::backup::BackUp;
use crate::model::duty;
use crate::model::operation::{Answer, Outcome, Refusal};
use crate::model::readiness::Readiness;
use crate::runtime::event_loop::clock;
use crate::runtime::inbox::{Completion, Inbox};
use crate::runtime::indexing::IndexProgress;
use crate::runtime::log::{Log, Wake};
use crate::runtime::queue::{Queue, Taken, lock};
use crate::runtime::replica::{Output, Replica};
use crate::server::contract::Ticket;
use crate::store::Store;

/// How long the end of the process waits for entries that are appended and not applied yet. They are performed after that, too.
const END_MAX: Duration = Duration::from_secs(2);
/// Between two reports of how far the node is.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the log until then.
const END_POLL: Duration = Duration::from_millis(5);

/// Wakes whoever takes the turns of the replica: the thread of the start, then the writer's.
#[derive(Default)]
struct Woken {
    is_new: Mutex<bool>,
    changed: Condvar,
    queue: OnceLock<Arc<Queue<Item>>>,
    /// An item for it is in the queue.
    is_queued: AtomicBool,
}

impl Woken {
    fn wake(&self) {
        if let Some(queue) = self.queue.get() {
            if !self.is_queued.swap(true, Ordering::AcqRel) {
                queue.append(&mut VecDeque::from([Item::Log]));
            }
            return;
        }
        *lock(&self.is_new) = true;
        self.changed.notify_all();
    }

    /// Waits for the log, at most until then.
    fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let is_new = lock(&self.is_new);
        let waited = self.changed.wait_timeout_while(is_new, left, |is_new| !*is_new);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// A replica and its log, before the threads of storage start.
pub struct ClusterNode {
    replica: Replica,
    log: Box<dyn Log>,
    woken: Arc<Woken>,
}

impl ClusterNode {
    /// Opens the log, which begins to deliver.
    pub fn open(
        mut replica: Replica,
        open: impl FnOnce(Wake) -> io::Result<Box<dyn Log>>,
    ) -> io::Result<ClusterNode> {
        let woken = Arc::new(Woken::default());
        let its_woken = Arc::clone(&woken);
        let mut log = open(Arc::new(move || its_woken.wake()))?;
        replica.begin(&mut *log);
        Ok(ClusterNode { replica, log, woken })
    }

    /// Applies what the store has missed, until then at most. Returns whether that is all. `Err` if the node may not start.
    pub fn catch_up(&mut self, store: &mut Store, until: Instant) -> Result<bool, String> {
        loop {
            let now = Instant::now();
            self.replica.turn(now, &mut *self.log, store);
            for output in self.replica.take_outputs() {
                match output {
                    Output::Fatal(message) => return Err(message),
                    // No client is there, and the server begins with what is stored.
                    Output::Committed(..) | Output::Happened(_) => {}
                }
            }
            if self.replica.has_caught_up() {
                let fault = duty::clock_fault(self.replica.clock_ahead_ms(clock()));
                return fault.map_or(Ok(true), Err);
            }
            if now >= until {
                return Ok(false);
            }
            if let Err(fault) = store.maintain(now) {
                log::debug!("cluster: the database is maintained again: {fault}");
            }
            if !self.replica.is_at_work() {
                let next = self.replica.next_deadline().unwrap_or(until).min(now + PROBE_EVERY);
                self.woken.wait(next.min(until));
            }
        }
    }
}

/// The state of the writer's thread.
pub(super) struct ClusterThread {
    replica: Replica,
    log: Box<dyn Log>,
    woken: Arc<Woken>,
    maintenance: Maintenance,
    /// The requested backup.
    backup: Option<(Ticket, BackUp)>,
    /// A backup is in progress: its steps don't wait for writes.
    backing_up: bool,
    /// The process will end.
    draining: bool,
    /// When the loop is told again how far the node is.
    tell_at: Instant,
    /// The queue is closed: when the thread ends at the latest.
    end_at: Option<Instant>,
    inbox: Arc<Inbox>,
}

/// The result of one iteration.
enum Iteration {
    Done,
    Over,
    /// The process must stop.
    Fatal(String),
}

impl ClusterThread {
    pub fn new(
        node: ClusterNode,
        readiness: Readiness,
        progress: Arc<IndexProgress>,
        inbox: Arc<Inbox>,
    ) -> ClusterThread {
        let ClusterNode { replica, log, woken } = node;
        let maintenance = Maintenance::new(readiness, progress, Arc::clone(&inbox));
        ClusterThread {
            replica,
            log,
            woken,
            maintenance,
            backup: None,
            backing_up: false,
            draining: false,
            tell_at: Instant::now(),
            end_at: None,
            inbox,
        }
    }

    /// Runs until the queue is closed and empty, then closes the database.
    pub fn run(mut self, mut database: impl Database, queue: &Arc<Queue<Item>>) {
        if self.woken.queue.set(Arc::clone(queue)).is_ok() {
            // The log may have woken the start, which does not listen any more.
            self.woken.wake();
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
                Iteration::Fatal(message) => return self.inbox.post(Completion::Fatal(message)),
            }
        }
        if let Err(fault) = database.close() {
            // What was applied is in the WAL, which the next start reads.
            log::warn!(kind = "checkpoint"; "the database was closed without a checkpoint: {fault}");
        }
    }

    /// One turn of the replica, then maintenance of the database.
    fn iterate(
        &mut self,
        writer: &mut dyn Writer,
        queue: &Queue<Item>,
        items: &mut VecDeque<Item>,
    ) -> Iteration {
        let at_once = self.backing_up || self.replica.is_at_work() || writer.is_at_work();
        let now = Instant::now();
        let due = [self.replica.next_deadline(), self.end_at];
        let until = due.into_iter().flatten().fold(self.maintenance.due_at(), Instant::min);
        match queue.take(items, WRITE_BATCH_MAX, Some(if at_once { now } else { until })) {
            Taken::Closed if self.is_over(now) => return Iteration::Over,
            // It is not waited for any more, since it is closed.
            Taken::Closed => std::thread::sleep(END_POLL),
            Taken::Nothing => {}
            Taken::Items => items.drain(..).for_each(|item| self.admit(item)),
        }
        self.replica.turn(Instant::now(), &mut *self.log, writer.applies());
        self.maintenance.report(writer, self.replica.unready());
        if let Some(message) = self.post_outputs() {
            return Iteration::Fatal(message);
        }
        self.tell_progress(now);
        // After the answers are sent, so that no answer waits for this work.
        let reason = self.maintenance.maintain(writer, self.replica.unready());
        match reason.or_else(|| self.maintenance.sweep(writer)) {
            Some(reason) => Iteration::Fatal(reason.to_owned()),
            None => {
                std::thread::sleep(writer.pause());
                Iteration::Done
            }
        }
    }

    /// Tells the loop how far the node is, once a second at most. Also without progress: a node that hears nothing compares nothing.
    fn tell_progress(&mut self, now: Instant) {
        if self.replica.place().is_some() && now >= self.tell_at {
            self.tell_at = now + TELL_EVERY;
            self.inbox.post(Completion::Progressed(self.replica.progress(clock())));
        }
    }

    /// Whether a closed queue ends the thread now: nothing is left, or it takes too long.
    fn is_over(&mut self, now: Instant) -> bool {
        let end_at = *self.end_at.get_or_insert(now + END_MAX);
        self.replica.is_idle() || now >= end_at
    }

    /// Returns the message if the process must stop.
    fn post_outputs(&mut self) -> Option<String> {
        let mut fatal = None;
        for output in self.replica.take_outputs() {
            match output {
                Output::Committed(tickets, outcomes) => {
                    self.maintenance.written();
                    self.inbox.post(Completion::Committed(tickets, outcomes));
                }
                Output::Happened(outcomes) => {
                    self.maintenance.written();
                    self.inbox.post(Completion::Happened(outcomes));
                }
                Output::Fatal(message) => fatal = Some(message),
            }
        }
        fatal
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

    fn admit(&mut self, item: Item) {
        match item {
            Item::Write(ticket, lane, write) => self.replica.submit(Instant::now(), ticket, lane, write),
            Item::LaneReset(lane) => self.replica.reset_lane(lane),
            // Before the log is asked: what it has from now on wakes the thread again.
            Item::Log => self.woken.is_queued.store(false, Ordering::Release),
            Item::Compare(position, chain) => self.replica.compare(position, chain),
            Item::Drain => self.draining = true,
            Item::BackUp(ticket, _) if self.backing_up || self.backup.is_some() => {
                self.answer(ticket, Err(Refusal::Busy));
            }
            Item::BackUp(ticket, wanted) => self.backup = Some((ticket, wanted)),
        }
    }

    fn answer(&self, ticket: Ticket, result: Result<Answer, Refusal>) {
        self.inbox.post(Completion::Committed(vec![ticket], vec![Outcome::quiet(result)]));
    }
}
