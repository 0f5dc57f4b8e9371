//! The thread of the search index, and what it and the writer tell each other.
//! Owns when the index works and how much of the processor it may take; refuses to know what an index is.
//! Invariant: posts come first: while writes come, each step is followed by a rest of [`REST`] times its length.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::inbox::Inbox;
use super::queue::lock;
use crate::limits::PROBE_EVERY;
use crate::model::metrics::ErrorKind;
use crate::store::{Fault, Step};

/// After a step while writes come, in lengths of the step: posts keep 90 % of a processor that they share with it.
const REST: u32 = 9;
/// After a step while nobody writes: an index that is made anew leaves half of the processor to reads.
const REST_QUIET: u32 = 1;
/// Between two steps at least, where the last one left nothing: a slow talk is not indexed message by message. A search
/// reads what is not indexed yet, so it waits for no step.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two steps while an erasure waits for its checkpoint.
const WAIT: Duration = Duration::from_secs(1);

/// The one who writes the index, used by one thread.
pub trait Indexes: Send + 'static {
    fn step(&mut self, now: Instant) -> Result<Step, Fault>;
}

/// What the writer tells the index, and the other way round.
#[derive(Default)]
pub struct Notes {
    state: Mutex<State>,
    told: Condvar,
    /// Changes up to this one are done.
    done: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Something was committed since the last step began.
    written: bool,
    /// What can be read may be lost to a power cut: an index of it would be ahead of the messages.
    held: bool,
    closed: bool,
}

impl Notes {
    /// The writer committed something.
    pub fn written(&self) {
        let was = std::mem::replace(&mut lock(&self.state).written, true);
        if !was {
            self.told.notify_all();
        }
    }

    /// Whether no step begins for now.
    pub fn hold(&self, held: bool) {
        lock(&self.state).held = held;
        self.told.notify_all();
    }

    /// Changes that the writer may forget.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.told.notify_all();
    }

    /// What was written until now is seen by the step that begins. `false`: there is to be none.
    fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        while state.held && !state.closed {
            state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.written = false;
        !state.closed
    }

    fn is_written(&self) -> bool {
        lock(&self.state).written
    }

    /// Sleeps until `until` (without end where it is `None`), or, if `for_writes`, until something is written.
    fn sleep(&self, until: Option<Instant>, for_writes: bool) {
        let mut state = lock(&self.state);
        while !(state.closed || for_writes && state.written) {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.told.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => self.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

/// Runs until the notes are closed. A fault is told and tried again: the server lacks nothing but words to find.
pub fn index_until_closed(mut index: impl Indexes, notes: &Arc<Notes>, inbox: &Inbox) {
    while notes.begin() {
        let began = Instant::now();
        let step = index.step(began);
        let ended = Instant::now();
        let step = match step {
            Ok(step) => step,
            Err(fault) => {
                let kind = if fault == Fault::Full { ErrorKind::DiskFull } else { ErrorKind::Search };
                inbox.count(kind); // logged by the store
                notes.sleep(Some(ended + PROBE_EVERY), false);
                continue;
            }
        };
        if notes.done.swap(step.done, Ordering::AcqRel) != step.done {
            log::debug!("storage: the search index holds no erased text up to {}", step.done);
        }
        let rest = if notes.is_written() { REST } else { REST_QUIET };
        let rest = (ended - began) * rest;
        notes.sleep(Some(ended + if step.more { rest } else { rest.max(PAUSE) }), false);
        if !step.more {
            notes.sleep(step.waits.then(|| ended + WAIT), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::runtime::testing::{self, PATIENCE};

    /// Does what the test says, step by step.
    struct Told {
        steps: mpsc::Receiver<Result<Step, Fault>>,
        began: mpsc::Sender<()>,
    }

    impl Indexes for Told {
        fn step(&mut self, _: Instant) -> Result<Step, Fault> {
            self.began.send(()).expect("the test listens");
            self.steps.recv().expect("the test says")
        }
    }

    #[test]
    fn a_step_follows_what_is_written_and_nothing_else() {
        let (_poll, inbox) = testing::inbox();
        let notes = Arc::new(Notes::default());
        notes.hold(true);
        let ((say, steps), (began, begun)) = (mpsc::channel(), mpsc::channel());
        let thread = {
            let (notes, inbox) = (Arc::clone(&notes), Arc::clone(&inbox));
            std::thread::spawn(move || index_until_closed(Told { steps, began }, &notes, &inbox))
        };
        let step = |more, done| Ok(Step { more, done, waits: false });
        assert!(begun.recv_timeout(PAUSE).is_err(), "what is read is not proven yet");
        notes.hold(false);
        let next = || begun.recv_timeout(PATIENCE).expect("a step");
        next(); // the start is an occasion
        say.send(step(true, 0)).expect("heard");
        next(); // more is left
        notes.written(); // while a step is under way: the next one sees it
        say.send(step(false, 7)).expect("heard");
        next();
        assert_eq!(notes.done(), 7);
        say.send(step(false, 8)).expect("heard");
        assert!(begun.recv_timeout(PAUSE * 3).is_err(), "nobody wrote");
        notes.written();
        next();
        assert_eq!(notes.done(), 8);
        say.send(Err(Fault::Io)).expect("heard");
        notes.close();
        thread.join().expect("it ends");
        assert_eq!(inbox.take(&mut Vec::new()).get(&ErrorKind::Search), Some(&1));
    }
}
