//! The channel from all threads back to the loop: one list, one waker.
//!
//! Does not interpret its content.
//! Invariant: between two turns the loop is woken at most once, and each turn sees every completion that was posted before
//! it took them: a post first adds, then raises the flag; the loop first lowers the flag, then takes.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::handshakes::Worked;
#[cfg(feature = "cluster")]
use super::peers::Heard;
use super::queue::lock;
use super::workers::PoolKind;
use crate::base::open_file::OpenFile;
use crate::model::id::UploadId;
use crate::model::job::Done;
use crate::model::measures::Measures;
use crate::model::metrics::ErrorKind;
#[cfg(feature = "cluster")]
use crate::model::metrics::LogProgress;
use crate::model::operation::{Answer, Outcome, Refusal};
use crate::model::readiness::Readiness;
use crate::server::contract::{ConnId, Ticket};

/// Completions the loop has not taken yet. Above it, the posting thread waits, because the loop is the slower one.
const INBOX_MAX: usize = 128;

/// A message from a thread to the loop.
pub enum Completion {
    /// The outcomes of one batch, in the order of their commits, and their tickets.
    Committed(Vec<Ticket>, Vec<Outcome>),
    /// Outcomes that no ticket waits for, in their place in the order of the commits.
    #[cfg(feature = "cluster")]
    Happened(Vec<Outcome>),
    /// What another node of the cluster has said.
    #[cfg(feature = "cluster")]
    Heard(Heard),
    /// How far this node has come in the log.
    #[cfg(feature = "cluster")]
    Progressed(LogProgress),
    Read(Ticket, Result<Answer, Refusal>),
    Finished(PoolKind, Ticket, Done),
    /// The result of writing these bytes of an upload.
    Upload {
        upload: UploadId,
        bytes: usize,
        result: Written,
    },
    Piece(Piece),
    /// A part of a TLS handshake.
    Handshake(Worked),
    /// The readiness of the database, when it changes.
    Storage(Readiness),
    /// A necessary thread ended; the reason.
    Fatal(String),
}

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Written. With the last bytes of a file comes the hash of all of them.
    Stored {
        sha256: Option<[u8; 32]>,
    },
    Failed {
        full: bool,
    },
    /// An earlier append of this upload failed, and was reported.
    Dropped,
}

/// A part of a file that was read ahead of a socket, and is now in the page cache, or here.
pub struct Piece {
    pub conn: ConnId,
    /// The file and position, so that a late piece is not assigned to another file.
    pub file: Arc<OpenFile>,
    pub offset: u64,
    pub len: usize,
    pub bytes: Option<Vec<u8>>,
    pub result: io::Result<()>,
}

/// Background errors of one kind that the loop has not taken yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Errors {
    pub count: u64,
    /// The text of the newest one.
    pub text: String,
}

pub struct Inbox {
    state: Mutex<State>,
    /// Threads wait on it while the inbox is full.
    emptied: Condvar,
    woken: AtomicBool,
    waker: mio::Waker,
    /// What all threads measure.
    pub measures: Arc<Measures>,
}

#[derive(Default)]
struct State {
    completions: Vec<Completion>,
    errors: BTreeMap<ErrorKind, Errors>,
    waiting: usize,
    closed: bool,
}

impl Inbox {
    pub fn new(waker: mio::Waker) -> Inbox {
        Inbox {
            state: Mutex::default(),
            emptied: Condvar::new(),
            woken: AtomicBool::new(false),
            waker,
            measures: Arc::default(),
        }
    }

    /// Posts one completion; waits while the inbox is full. After [`Inbox::close`] it is dropped.
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

    /// Posts one completion that may be lost: if the inbox is full or closed it is dropped, and the result is `false`.
    #[cfg(feature = "cluster")]
    pub fn offer(&self, completion: Completion) -> bool {
        let mut state = lock(&self.state);
        if state.completions.len() >= INBOX_MAX || state.closed {
            return false;
        }
        state.completions.push(completion);
        drop(state);
        self.wake();
        true
    }

    /// Counts one background error. The counts need no limit, and one text of each kind is kept.
    pub fn count(&self, kind: ErrorKind, text: String) {
        let mut state = lock(&self.state);
        let errors = state.errors.entry(kind).or_default();
        errors.count += 1;
        errors.text = text;
        drop(state);
        self.wake();
    }

    /// Ends the loop's sleep, now or the next one.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // The kernel refuses only when it is out of memory; the next post tries again.
            self.woken.store(false, Ordering::Release);
            log::error!(kind = "waker"; "the loop could not be woken: {error}");
        }
    }

    /// Takes all that was posted into `completions`, which must be empty. The threads reuse its memory.
    pub fn take(&self, completions: &mut Vec<Completion>) -> BTreeMap<ErrorKind, Errors> {
        debug_assert!(completions.is_empty());
        self.woken.store(false, Ordering::Release);
        let mut state = lock(&self.state);
        std::mem::swap(completions, &mut state.completions);
        let waiting = state.waiting > 0;
        let errors = std::mem::take(&mut state.errors);
        drop(state);
        if waiting {
            self.emptied.notify_all();
        }
        errors
    }

    /// From now on posts are dropped, and waiting threads continue.
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
        inbox.post(Completion::Storage(Readiness::default())); // returns, although the inbox is full
        inbox.count(ErrorKind::Commit, "disk I/O error".to_owned());
        inbox.count(ErrorKind::Commit, "locked".to_owned());
        let errors = Errors { count: 2, text: "locked".to_owned() };
        assert_eq!(inbox.take(&mut taken).get(&ErrorKind::Commit), Some(&errors));
    }
}
