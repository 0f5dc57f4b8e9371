//! What the writer's thread has in a cluster instead of batches: a [`Replica`] with its log.
//!
//! Owns when a turn of the replica is due, and the start, when nobody asks for a write yet. Leaves the database, backups and the end of the
//! thread to `writer_thread`.
//! Invariant: as for a natter alone, an answer is posted after its commit, and outcomes are posted in the order of the commits.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Item;
use super::maintenance::Maintenance;
use super::measured::Measured;
use super::writer_thread::Writer;
use crate::base::seal::Chain;
use crate::limits::PROBE_EVERY;
use crate::model::duty;
use crate::model::operation::{Lane, Write};
use crate::runtime::event_loop::clock;
use crate::runtime::inbox::{Completion, Inbox};
use crate::runtime::log::{Log, Wake};
use crate::runtime::queue::{Queue, lock};
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
    /// The writer's thread takes a turn in any case: an item for it is in the queue, or it gathers entries until a time that it knows.
    is_expected: AtomicBool,
}

impl Woken {
    fn wake(&self) {
        if let Some(queue) = self.queue.get() {
            if !self.is_expected.swap(true, Ordering::AcqRel) {
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

/// A replica and its log: of the start, then of the writer's thread.
pub struct ClusterNode {
    replica: Replica,
    log: Box<dyn Log>,
    woken: Arc<Woken>,
    /// When the loop is told again how far the node is.
    tell_at: Instant,
    /// The queue is closed: when the thread ends at the latest.
    end_at: Option<Instant>,
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
        Ok(ClusterNode { replica, log, woken, tell_at: Instant::now(), end_at: None })
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

    // ---- the writer's thread ------------------------------------------------------------------------

    /// From now on the log wakes the thread by an item in its queue.
    pub(super) fn begin(&self, queue: &Arc<Queue<Item>>) {
        if self.woken.queue.set(Arc::clone(queue)).is_ok() {
            // The log may have woken the start, which does not listen any more.
            self.woken.wake();
        }
    }

    pub(super) fn submit(&mut self, ticket: Ticket, lane: Lane, write: Write) {
        self.replica.submit(Instant::now(), ticket, lane, write);
    }

    pub(super) fn reset_lane(&mut self, lane: Lane) {
        self.replica.reset_lane(lane);
    }

    pub(super) fn compare(&mut self, position: u64, chain: Chain) {
        self.replica.compare(position, chain);
    }

    /// Whether a turn is due at once.
    pub(super) fn is_at_work(&self) -> bool {
        self.replica.is_at_work()
    }

    /// When a turn is due although nothing comes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.replica.next_deadline(), self.end_at].into_iter().flatten().min()
    }

    pub(super) fn unready(&self) -> Option<&'static str> {
        self.replica.unready()
    }

    /// One turn of the replica, and what came of it. Returns the message if the process must stop.
    pub(super) fn turn(
        &mut self,
        writer: &mut dyn Writer,
        maintenance: &mut Maintenance,
        inbox: &Inbox,
    ) -> Option<String> {
        let now = Instant::now();
        // Before the log is asked: what it has from now on wakes the thread again.
        self.woken.is_expected.store(false, Ordering::Release);
        self.replica.turn(now, &mut *self.log, &mut Measured { store: writer.applies(), inbox });
        if self.replica.gathers() {
            self.woken.is_expected.store(true, Ordering::Release);
        }
        maintenance.report(writer, self.replica.unready());
        for output in self.replica.take_outputs() {
            match output {
                Output::Committed(tickets, outcomes) => {
                    maintenance.written(outcomes.len());
                    inbox.post(Completion::Committed(tickets, outcomes));
                }
                Output::Happened(outcomes) => {
                    maintenance.written(outcomes.len());
                    inbox.post(Completion::Happened(outcomes));
                }
                Output::Fatal(message) => return Some(message),
            }
        }
        // Also without progress: a node that hears nothing compares nothing.
        if self.replica.place().is_some() && now >= self.tell_at {
            self.tell_at = now + TELL_EVERY;
            inbox.post(Completion::Progressed(self.replica.progress(clock())));
        }
        None
    }

    /// Whether a closed queue ends the thread now: nothing is left, or it takes too long.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let end_at = *self.end_at.get_or_insert(now + END_MAX);
        self.replica.is_idle() || now >= end_at
    }

    /// Waits for the log at the end. The queue does not wait any more, since it is closed.
    pub(super) fn wait_at_end(&self) {
        std::thread::sleep(END_POLL);
    }
}
