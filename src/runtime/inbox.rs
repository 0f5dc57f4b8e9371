//! The way from all threads back to the loop: one list, one waker. Refuses to interpret what it carries.
//! Invariant: between two turns the loop is woken at most once, and whatever was posted before that turn looked is seen
//! by it: post first, then raise the flag; lower the flag first, then take.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::queue::lock;
use super::workers::PoolKind;
use crate::model::job::Done;
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Outcome, Refusal};
use crate::model::readiness::Readiness;
use crate::server::contract::{ConnId, Ticket, UploadId};

/// Completions the loop has not taken yet. Beyond: the thread that brings one waits, since the loop is the slower one.
const INBOX_MAX: usize = 128;

/// What a thread has to say.
pub enum Completion {
    /// The outcomes of one batch, in the order of their commits, and whose they are.
    Committed(Vec<Ticket>, Vec<Outcome>),
    Read(Ticket, Result<Answer, Refusal>),
    Finished(PoolKind, Ticket, Done),
    /// What became of these bytes of an upload.
    Upload {
        upload: UploadId,
        bytes: usize,
        result: Written,
    },
    Piece(Piece),
    /// What the database can do, when that changes.
    Storage(Readiness),
    /// A thread that nothing works without is gone; the reason.
    Fatal(String),
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// With the last bytes of a file comes the hash of all.
    Whole {
        sha256: Option<[u8; 32]>,
    },
    Failed {
        full: bool,
    },
    /// An earlier one failed, and said so.
    Dropped,
}

/// A part of a file that was read ahead of a socket, and stands in the page cache now.
pub struct Piece {
    pub conn: ConnId,
    /// Which file and where, so that a piece that comes too late is not taken for another file's.
    pub file: Arc<File>,
    pub offset: u64,
    pub len: usize,
    pub result: io::Result<()>,
}

pub struct Inbox {
    state: Mutex<State>,
    /// Where a thread waits while the inbox is full.
    emptied: Condvar,
    woken: AtomicBool,
    waker: mio::Waker,
}

#[derive(Default)]
struct State {
    completions: Vec<Completion>,
    troubles: BTreeMap<ErrorKind, u64>,
    waiting: usize,
    closed: bool,
}

impl Inbox {
    pub fn new(waker: mio::Waker) -> Inbox {
        Inbox { state: Mutex::default(), emptied: Condvar::new(), woken: AtomicBool::new(false), waker }
    }

    /// Brings one completion, waiting while the inbox is full. After [`Inbox::close`] nobody hears it.
    pub fn post(&self, completion: Completion) {
        let mut state = lock(&self.state);
        while state.completions.len() >= INBOX_MAX && !state.closed {
            state.waiting += 1;
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if state.closed {
            return;
        }
        state.completions.push(completion);
        drop(state);
        self.wake();
    }

    /// Counts one background error; the counts need no bound.
    pub fn count(&self, trouble: ErrorKind) {
        *lock(&self.state).troubles.entry(trouble).or_default() += 1;
        self.wake();
    }

    /// Ends the loop's sleep, now or next time.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // The kernel refuses only when it is out of memory; the next post tries again.
            self.woken.store(false, Ordering::Release);
            log::error!(kind = "waker"; "the loop could not be woken: {error}");
        }
    }

    /// Takes all that was posted, into an empty `completions`; the emptied list is reused by the threads.
    pub fn take(&self, completions: &mut Vec<Completion>) -> BTreeMap<ErrorKind, u64> {
        debug_assert!(completions.is_empty());
        self.woken.store(false, Ordering::Release);
        let mut state = lock(&self.state);
        std::mem::swap(completions, &mut state.completions);
        let waiting = state.waiting > 0;
        let troubles = std::mem::take(&mut state.troubles);
        drop(state);
        if waiting {
            self.emptied.notify_all();
        }
        troubles
    }

    /// From now on nobody listens; threads that wait go on.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.emptied.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Events;
    use std::time::Duration;

    #[test]
    fn many_posts_are_one_wake_and_a_full_inbox_holds_its_threads() {
        let (mut poll, inbox) = crate::runtime::testing::inbox();
        let total = INBOX_MAX * 3;
        let poster = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || {
                (0..total).for_each(|_| inbox.post(Completion::Storage(Readiness::default())))
            })
        };
        let (mut seen, mut taken, mut events) = (0, Vec::new(), Events::with_capacity(8));
        while seen < total {
            poll.poll(&mut events, Some(Duration::from_secs(10))).expect("a poll");
            assert!(!events.is_empty(), "woken, not timed out");
            inbox.take(&mut taken);
            assert!(taken.len() <= INBOX_MAX);
            seen += taken.drain(..).count();
        }
        poster.join().expect("it ends");
        (0..INBOX_MAX).for_each(|_| inbox.post(Completion::Storage(Readiness::default())));
        inbox.close();
        inbox.post(Completion::Storage(Readiness::default())); // returns, though nobody takes
        inbox.count(ErrorKind::Commit);
        inbox.count(ErrorKind::Commit);
        assert_eq!(inbox.take(&mut taken).get(&ErrorKind::Commit), Some(&2));
    }
}
