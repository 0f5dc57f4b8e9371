//! The threads that read the database, and the loop's side of them.
//!
//! Owns the queue between them, the time budget of a read and its interruption. Leaves the order of reads to `read_queue`,
//! and the reading to the store.
//! Invariant: each accepted read is answered once: by its thread, or by the loop if it was dropped before it started.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::background::Background;
use super::inbox::{Completion, Inbox};
use super::queue::lock;
use super::read_queue::ReadQueue;
use super::threads::{Thread, spawn};
use crate::model::measures::Measure;
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Flow, Read, Refusal};
use crate::server::contract::Ticket;

/// The longest time that one read may run, and that it may hold a snapshot and with it the WAL. After that it is
/// interrupted: `Refusal::Busy`.
const READ_BUDGET: Duration = Duration::from_secs(2);

/// Time between two checks of running reads. An interruption between two statements of a read has no effect, so it is
/// repeated.
const WATCH_EVERY: Duration = Duration::from_millis(10);

/// One reader, used by one thread.
pub trait Reads: Send + 'static {
    fn read(&mut self, read: Read) -> Result<Answer, Refusal>;
    /// A function that ends a read early, called from another thread. The read then returns `Busy`.
    fn interrupt(&self) -> Interrupt;
}

pub type Interrupt = Box<dyn Fn() + Send>;

/// The loop's side.
pub struct Readers {
    shared: Arc<Shared>,
    /// The time of the next check of running reads; `None` while there is none.
    watch_at: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    /// With the time at which each came.
    queue: ReadQueue<(Instant, Box<Read>)>,
    /// One for each thread.
    slots: Vec<Slot>,
    sleepers: usize,
    closed: bool,
}

struct Slot {
    interrupt: Interrupt,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    ticket: Ticket,
    until: Instant,
}

impl Readers {
    /// Starts one thread for each reader, all with this name. `wait` is how long reads wait for one.
    pub fn start<R: Reads>(
        name: &str,
        wait: Measure,
        readers: Vec<R>,
        inbox: &Arc<Inbox>,
        background: &Background,
        threads: &mut Vec<Thread>,
    ) -> std::io::Result<Readers> {
        let shared = Arc::new(Shared::default());
        for reader in readers {
            let slot = {
                let mut state = lock(&shared.state);
                state.slots.push(Slot { interrupt: reader.interrupt(), running: None });
                state.slots.len() - 1
            };
            let work = Work { shared: Arc::clone(&shared), slot, wait, inbox: Arc::clone(inbox) };
            let background = background.clone();
            threads.push(spawn(name, inbox, move || work.run(reader, &background))?);
        }
        Ok(Readers { shared, watch_at: None })
    }

    /// Queues one read. Returns the ticket of the read that is refused for it, if one is.
    #[must_use]
    pub fn submit(&mut self, flow: Flow, ticket: Ticket, read: Box<Read>) -> Option<Ticket> {
        let now = Instant::now();
        self.watch_at.get_or_insert(now + WATCH_EVERY);
        lock(&self.shared.state).queue.offer(flow, ticket, (now, read))
    }

    /// Wakes as many threads as there are reads to start.
    pub fn push_staged(&mut self) {
        if self.watch_at.is_none() {
            return;
        }
        let state = lock(&self.shared.state);
        let wakes = state.queue.startable().min(state.sleepers);
        drop(state);
        (0..wakes).for_each(|_| self.shared.filled.notify_one());
    }

    /// The answer of this read is no longer needed. Returns `true` if it was dropped before it started. A running read is
    /// interrupted and returns its own answer.
    #[must_use]
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let mut state = lock(&self.shared.state);
        if state.queue.cancel(ticket).is_some() {
            return true;
        }
        let now = Instant::now();
        for slot in &mut state.slots {
            if let Some(running) = slot.running.as_mut().filter(|running| running.ticket == ticket) {
                running.until = now;
                (slot.interrupt)();
            }
        }
        false
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.watch_at
    }

    /// Interrupts the reads that exceeded their budget.
    pub fn watch(&mut self, now: Instant) {
        if self.watch_at.is_none_or(|at| at > now) {
            return;
        }
        let state = lock(&self.shared.state);
        for slot in &state.slots {
            if slot.running.is_some_and(|running| running.until <= now) {
                (slot.interrupt)();
            }
        }
        self.watch_at = (!state.queue.is_empty()).then(|| now + WATCH_EVERY);
    }

    /// Ends the threads: waiting reads are dropped, and running ones are interrupted, because no one needs their answers.
    pub fn close(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.queue = ReadQueue::default();
        state.slots.iter().filter(|slot| slot.running.is_some()).for_each(|slot| (slot.interrupt)());
        drop(state);
        self.shared.filled.notify_all();
    }
}

/// Without the loop's side no read can come: the threads end.
impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

/// A thread's side.
struct Work {
    shared: Arc<Shared>,
    slot: usize,
    wait: Measure,
    inbox: Arc<Inbox>,
}

impl Work {
    fn run<R: Reads>(self, mut reader: R, background: &Background) {
        while let Some((flow, ticket, (asked, read))) = self.next() {
            let name = read.name();
            let began = Instant::now();
            self.inbox.measures.took(self.wait, began.saturating_duration_since(asked));
            let result = match catch_unwind(AssertUnwindSafe(|| reader.read(*read))) {
                Ok(result) => {
                    // `Busy` is an interruption. The store logs the other faults.
                    if matches!(result, Err(refusal) if refusal.is_fault() && refusal != Refusal::Busy) {
                        self.inbox.count(ErrorKind::Read, format!("{name} failed"));
                    }
                    result
                }
                Err(_) => {
                    background.report(ErrorKind::Read, format_args!("{name} panicked"));
                    Err(Refusal::Internal)
                }
            };
            self.finished(flow, began.elapsed());
            self.inbox.post(Completion::Read(ticket, result));
        }
    }

    /// The next read; sleeps until there is one. `None` at the end.
    fn next(&self) -> Option<(Flow, Ticket, (Instant, Box<Read>))> {
        let mut state = lock(&self.shared.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some((flow, ticket, read)) = state.queue.start() {
                state.slots[self.slot].running =
                    Some(Running { ticket, until: Instant::now() + READ_BUDGET });
                return Some((flow, ticket, read));
            }
            state.sleepers += 1;
            state = self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleepers -= 1;
        }
    }

    fn finished(&self, flow: Flow, took: Duration) {
        let mut state = lock(&self.shared.state);
        state.slots[self.slot].running = None;
        state.queue.finished(flow, took);
    }
}

#[cfg(test)]
mod tests;
