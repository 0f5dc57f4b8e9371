//! The thread of the search index, and its exchange with the writer.
//!
//! Owns when the index works and how much processor time it may use. Does not know what an index is.
//! Invariant: posts have priority: the thread has a lower priority, and while writes come each step is followed by a pause of [`REST`]
//! times its length, or [`REST_BEHIND`] times while the index can't keep up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::kernel;
use super::queue::lock;
use crate::limits::PROBE_EVERY;
use crate::model::metrics::ErrorKind;
use crate::store::{Fault, Step};

/// Pause after a step while writes come, in lengths of the step: posts keep 90 % of a processor that they share with it.
const REST: u32 = 9;
/// The same once the index has been behind for [`BEHIND_MAX`]: a lasting stream of posts leaves it a sixth of the processor, so that the
/// lag has an end.
const REST_BEHIND: u32 = 5;
/// How long the index may have work left before it rests less: half of the second in which new messages are found.
const BEHIND_MAX: Duration = Duration::from_millis(500);
/// Pause after a step without writes, in lengths of the step: an index that is being rebuilt leaves half of the processor
/// to reads.
const REST_QUIET: u32 = 1;
/// Time between the begins of two steps if the last one left no work and fewer than [`WRITES_WORTH`] writes came since: a post now and then
/// is not worth a transaction of the index. A search reads unindexed messages itself; only an edit waits for a step, less than a
/// second.
const PAUSE: Duration = Duration::from_millis(800);
/// Writes that are worth a step at once: about as many as one step reads.
const WRITES_WORTH: u64 = 1_024;
/// Time between two steps while an erasure waits for its checkpoint.
const WAIT: Duration = Duration::from_secs(1);

/// The search index, used by one thread.
pub trait Indexes: Send + 'static {
    fn step(&mut self, now: Instant) -> Result<Step, Fault>;
}

/// The shared state of the writer and the index.
#[derive(Default)]
pub struct IndexProgress {
    state: Mutex<State>,
    changed: Condvar,
    /// Changes up to this one are done.
    done: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Writes that were committed since the last step began.
    written: u64,
    /// Readable messages may be lost in a power cut: an index of them would be ahead of the messages.
    held: bool,
    closed: bool,
}

impl IndexProgress {
    /// The writer committed so many writes.
    pub fn written(&self, count: usize) {
        let mut state = lock(&self.state);
        let before = state.written;
        state.written += count as u64;
        let is_news = before == 0 || before < WRITES_WORTH && state.written >= WRITES_WORTH;
        drop(state);
        if is_news {
            self.changed.notify_all();
        }
    }

    /// Sets whether no step may begin for now.
    pub fn hold(&self, held: bool) {
        lock(&self.state).held = held;
        self.changed.notify_all();
    }

    /// Changes that the writer may delete.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Begins a step that sees everything written until now. Returns whether anything was written since the last step
    /// began; `None` if no step should follow.
    fn begin(&self) -> Option<bool> {
        let mut state = lock(&self.state);
        while state.held && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let was_written = std::mem::take(&mut state.written);
        (!state.closed).then_some(was_written > 0)
    }

    fn is_written(&self) -> bool {
        lock(&self.state).written > 0
    }

    /// Sleeps until `until` (without limit if it is `None`), or until so many writes have come.
    fn sleep(&self, until: Option<Instant>, writes: u64) {
        let mut state = lock(&self.state);
        while !(state.closed || state.written >= writes) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Runs until `progress` is closed. A fault is reported and the step tried again: without it the server only lacks search
/// results.
pub fn index_until_closed(mut index: impl Indexes, progress: &Arc<IndexProgress>, inbox: &Inbox) {
    kernel::lower_priority(kernel::NICE_UNAWAITED);
    let mut behind_since = None;
    while let Some(was_written) = progress.begin() {
        let began = Instant::now();
        let step = index.step(began);
        let ended = Instant::now();
        let step = match step {
            Ok(step) => step,
            Err(fault) => {
                let kind = if fault == Fault::Full { ErrorKind::DiskFull } else { ErrorKind::Search };
                inbox.count(kind, fault.to_string()); // logged by the store
                progress.sleep(Some(ended + PROBE_EVERY), u64::MAX);
                continue;
            }
        };
        if progress.done.swap(step.done, Ordering::AcqRel) != step.done {
            log::debug!("storage: the search index holds no erased text up to {}", step.done);
        }
        behind_since = step.more.then(|| behind_since.unwrap_or(began));
        // A step is shorter than the time between two large batches.
        let rest = match was_written || progress.is_written() {
            false => REST_QUIET,
            true if behind_since.is_some_and(|since| ended - since > BEHIND_MAX) => REST_BEHIND,
            true => REST,
        };
        progress.sleep(Some(ended + (ended - began) * rest), u64::MAX);
        if !step.more {
            progress.sleep(Some(began + PAUSE), WRITES_WORTH);
            progress.sleep(step.waits.then(|| ended + WAIT), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::runtime::testing::{self, PATIENCE};

    /// An index that does what the test says, step by step.
    struct ScriptedIndex {
        steps: mpsc::Receiver<Result<Step, Fault>>,
        began: mpsc::Sender<()>,
    }

    impl Indexes for ScriptedIndex {
        fn step(&mut self, _: Instant) -> Result<Step, Fault> {
            self.began.send(()).expect("the test receives");
            self.steps.recv().expect("the test sends")
        }
    }

    #[test]
    fn a_step_follows_a_write_and_nothing_else() {
        let (_poll, inbox) = testing::inbox();
        let progress = Arc::new(IndexProgress::default());
        progress.hold(true);
        let ((say, steps), (began, begun)) = (mpsc::channel(), mpsc::channel());
        let thread = {
            let (progress, inbox) = (Arc::clone(&progress), Arc::clone(&inbox));
            std::thread::spawn(move || index_until_closed(ScriptedIndex { steps, began }, &progress, &inbox))
        };
        let step = |more, done| Ok(Step { more, done, waits: false });
        assert!(begun.recv_timeout(PAUSE).is_err(), "readable messages are not proven yet");
        progress.hold(false);
        let next = || begun.recv_timeout(PATIENCE).expect("a step");
        next(); // the start causes a step
        say.send(step(true, 0)).expect("received");
        next(); // more is left
        progress.written(1); // while a step runs: the next one sees it
        say.send(step(false, 7)).expect("received");
        next();
        assert_eq!(progress.done(), 7);
        say.send(step(false, 8)).expect("received");
        assert!(begun.recv_timeout(PAUSE * 3).is_err(), "no write came");
        progress.written(1);
        next();
        assert_eq!(progress.done(), 8);
        say.send(step(false, 8)).expect("received");
        progress.written(1);
        assert!(begun.recv_timeout(PAUSE / 4).is_err(), "one write is not worth a step at once");
        progress.written(WRITES_WORTH as usize);
        assert!(begun.recv_timeout(PAUSE / 4).is_ok(), "many are");
        say.send(Err(Fault::Io)).expect("received");
        progress.close();
        thread.join().expect("it ends");
        assert_eq!(inbox.take(&mut Vec::new()).get(&ErrorKind::Search).map(|errors| errors.count), Some(1));
    }
}
