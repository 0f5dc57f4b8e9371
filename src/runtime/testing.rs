//! Test doubles for the loop and the threads.
//!
//! A machine that echoes, a store that fails on demand, a worker that obeys its jobs. Each fulfils the contract of its trait,
//! so that a test can only fail for what it tests.

mod echo;
#[cfg(feature = "tls")]
pub mod secure;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use mio::{Poll, Token, Waker};

#[cfg(feature = "tls")]
pub use self::echo::start_secure;
pub use self::echo::{Echo, QUEUE_MAX, start, start_with};
use super::inbox::Inbox;
use super::queue::lock;
#[cfg(feature = "cluster")]
use super::replica::Applies;
use super::{Database, Indexes, Interrupt, Reads, Worker, Writer};
#[cfg(feature = "cluster")]
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::secret::Secret;
pub use crate::base::testing::{Folder, PATIENCE, until};
use crate::base::time::UnixMs;
use crate::model::backup::DatabaseCopy;
use crate::model::conversation::{MarkRead, Marked, UnreadMentions};
#[cfg(feature = "cluster")]
use crate::model::entry::{Entry, EntryBody, Life, NodeName};
use crate::model::event::{LogPage, ReadLog};
use crate::model::job::{Done, Job};
use crate::model::member::EraseMessages;
use crate::model::operation::{Answer, Lane, Outcome, Read, Refusal, Write};
use crate::model::readiness::Readiness;
#[cfg(feature = "cluster")]
use crate::store::{Applied, AppliedEntry, Delivered, Ignored};
use crate::store::{Committed, Fault, Step};

/// An inbox that wakes a poll without a waiting thread.
pub fn inbox() -> (Poll, Arc<Inbox>) {
    let poll = Poll::new().expect("a poll");
    let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), Token(0)).expect("a waker")));
    (poll, inbox)
}

/// A write that is identified by its number.
pub fn write(n: u64) -> Write {
    Write::MarkRead(MarkRead { at: UnixMs(0), reader: Id::from_u128(1), conversation: Id::from_u128(2), n })
}

/// As [`write`], for a write that is committed by itself.
pub fn heavy(n: u64) -> Write {
    EraseMessages { at: UnixMs(n) }.into()
}

pub fn read(after: u64) -> Read {
    ReadLog { profile: Id::from_u128(1), after, limit: 1, from_oldest: false }.into()
}

/// The planned failures of a [`Store`], and the record of its writes.
#[derive(Default)]
pub struct Plan {
    /// Numbers whose commit is a fault.
    pub faulty: BTreeSet<u64>,
    /// The fault of every commit.
    pub broken: Option<Fault>,
    /// The numbers committed, batch by batch.
    pub batches: Vec<Vec<u64>>,
    pub closed: bool,
}

/// A store that keeps nothing and fails on demand. It knows [`write`] and [`read`].
#[derive(Default)]
pub struct Store {
    pub plan: Arc<Mutex<Plan>>,
    /// If set, each commit waits for a message.
    pub gate: Option<mpsc::Receiver<()>>,
    pub interrupted: Arc<AtomicBool>,
}

/// A [`read`] of this number lasts until it is interrupted.
pub const LASTS: u64 = u64::MAX;

impl Writer for Store {
    fn commit(&mut self, batch: &mut Vec<(Lane, Write)>) -> Committed {
        self.gate.iter().for_each(|gate| gate.recv_timeout(PATIENCE).expect("the test's message"));
        let mut plan = lock(&self.plan);
        let (mut numbers, mut closed) = (Vec::new(), BTreeSet::new());
        let mut outcome = |(lane, write): (Lane, Write)| {
            let n = match write {
                Write::MarkRead(MarkRead { n, .. }) => n,
                Write::EraseMessages(EraseMessages { at }) => at.0,
                _ => panic!("a write"),
            };
            let result = if let Some(fault) = plan.broken {
                Err(fault.refusal())
            } else if plan.faulty.contains(&n) || closed.contains(&lane) {
                closed.insert(lane);
                Err(Refusal::Unavailable)
            } else {
                numbers.push(n);
                Ok(Answer::MarkRead(Box::new(Marked {
                    read_n: n,
                    unread: 0,
                    mentions: UnreadMentions::default(),
                })))
            };
            Outcome::quiet(result)
        };
        let outcomes = batch.drain(..).map(&mut outcome).collect();
        plan.batches.push(numbers);
        Committed { outcomes, fault: plan.broken }
    }

    fn maintain(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn sweep_search(&mut self, _: u64) -> Result<bool, Fault> {
        Ok(false)
    }

    fn readiness(&self) -> Readiness {
        Readiness { unready: lock(&self.plan).broken.map(Fault::reason), ..Readiness::default() }
    }

    fn is_at_work(&self) -> bool {
        false
    }

    fn pause(&mut self) -> Duration {
        Duration::ZERO
    }

    #[cfg(feature = "cluster")]
    fn applies(&mut self) -> &mut dyn Applies {
        self
    }
}

/// Each entry counts, and is recorded as a batch.
#[cfg(feature = "cluster")]
impl Applies for Store {
    fn enter(&mut self, _: &str) -> Result<bool, Fault> {
        Ok(true)
    }

    fn next_life(&self, _: &NodeName, entropy: &mut dyn Entropy, now_ms: UnixMs) -> Result<Life, Fault> {
        Ok(entropy.id(now_ms))
    }

    fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
        if let Some(fault) = lock(&self.plan).broken {
            return Applied { entries: Vec::new(), fault: Some(fault) };
        }
        let entries = delivered.drain(..).map(|each| match each.entry.body {
            EntryBody::Genesis { .. } | EntryBody::Hello { .. } => AppliedEntry::Begun,
            EntryBody::Level { level } => AppliedEntry::Raised(level),
            EntryBody::Continued { .. } | EntryBody::End | EntryBody::Skipped { .. } => {
                AppliedEntry::Ignored(Ignored::Misplaced)
            }
            EntryBody::Writes(writes) => {
                let mut batch = writes.into_iter().map(|write| (Lane(0), write)).collect();
                AppliedEntry::Performed(self.commit(&mut batch).outcomes)
            }
        });
        Applied { entries: entries.collect(), fault: None }
    }

    fn raisable(&self, _: &NodeName) -> Result<Option<u32>, Fault> {
        Ok(None)
    }

    fn raises(&self, _: &Entry) -> Result<Option<u32>, Fault> {
        Ok(None)
    }
}

impl Database for Store {
    fn back_up(
        &mut self,
        _: Id,
        between: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<DatabaseCopy, Refusal> {
        let copy = DatabaseCopy { file: "copy".to_owned() };
        (0..3).all(|_| between(self)).then_some(copy).ok_or(Refusal::Unavailable)
    }

    fn close(self) -> Result<(), Fault> {
        lock(&self.plan).closed = true;
        Ok(())
    }
}

impl Reads for Store {
    fn read(&mut self, read: Read) -> Result<Answer, Refusal> {
        let Read::ReadLog(read) = read else { return Err(Refusal::Internal) };
        let after = read.after;
        assert_ne!(after, 13, "as the test asks");
        if after == LASTS {
            // As with a statement of SQLite, only an interruption ends it.
            until("an interruption", || self.interrupted.swap(false, Ordering::SeqCst));
            return Err(Refusal::Busy);
        }
        Ok(Answer::ReadLog(Box::new(LogPage::Ahead { head: after })))
    }

    fn interrupt(&self) -> Interrupt {
        let interrupted = Arc::clone(&self.interrupted);
        Box::new(move || interrupted.store(true, Ordering::SeqCst))
    }
}

/// An index with nothing to do.
pub struct Idle;

impl Indexes for Idle {
    fn step(&mut self, _: Instant) -> Result<Step, Fault> {
        Ok(Step { more: false, done: 0, waits: false })
    }
}

/// A worker that is controlled by its jobs' passwords: it panics for `panic`, and otherwise returns the password after the
/// number of jobs it has done.
#[derive(Default)]
pub struct ScriptedWorker {
    done: usize,
    /// The calls of `idle`, by the number of jobs done before.
    idle_calls: Arc<Mutex<Vec<String>>>,
}

impl ScriptedWorker {
    pub fn new(idle_calls: &Arc<Mutex<Vec<String>>>) -> ScriptedWorker {
        ScriptedWorker { done: 0, idle_calls: Arc::clone(idle_calls) }
    }
}

impl Worker for ScriptedWorker {
    fn run(&mut self, job: Job) -> Done {
        let Job::HashPassword { password, .. } = job else { return Done::Failed };
        assert_ne!(password.expose(), "panic", "as the test asks");
        self.done += 1;
        Done::PasswordHashed(Secret::new(format!("{} {}", self.done, password.expose())))
    }

    fn idle(&mut self) {
        lock(&self.idle_calls).push(format!("idle after {}", self.done));
    }
}

/// A job for a [`ScriptedWorker`].
pub fn job(text: &str) -> Job {
    Job::HashPassword { password: Secret::new(text.to_owned()), salt: [0; 16] }
}
