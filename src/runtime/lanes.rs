//! Lanes: the writes of one connection are committed in their order, also after a fault.
//!
//! Owns which lanes are closed, and the batch that the writer commits next. Knows neither a queue nor a thread: the
//! writer's thread and the runtime in memory use the same values.
//! Invariant: after a fault in a lane, no later write of that lane is committed until the lane is reset.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::operation::{Lane, Refusal, Write};
use crate::server::contract::Ticket;
use crate::store::Committed;

/// Lanes closed after a fault. The server resets each of them. Above it, the lane of the oldest connection (the smallest
/// number) is forgotten.
const LANES_CLOSED_MAX: usize = 65_536;

/// The closed lanes.
#[derive(Default)]
pub struct Lanes(BTreeSet<Lane>);

impl Lanes {
    /// Offers a write of this lane to a queue. A full queue closes the lane, so that nothing overtakes what was refused.
    pub fn offer(&mut self, lane: Lane, has_room: impl FnOnce() -> bool) -> Result<(), Refusal> {
        if self.contains(lane) {
            return Err(Refusal::Unavailable);
        }
        if has_room() {
            return Ok(());
        }
        self.close(lane);
        Err(Refusal::Busy)
    }

    pub fn reset(&mut self, lane: Lane) {
        self.0.remove(&lane);
    }

    fn contains(&self, lane: Lane) -> bool {
        !self.0.is_empty() && self.0.contains(&lane)
    }

    fn close(&mut self, lane: Lane) {
        self.0.insert(lane);
        if self.0.len() > LANES_CLOSED_MAX {
            self.0.pop_first();
        }
    }
}

enum Deferred<T> {
    Write(T, Lane, Write),
    Reset(Lane),
}

/// The batch that is committed next, and the writes that have to wait for a later one. A heavy write is committed by itself
/// after a batch of others, so that posts wait for at most one of them; what follows it in its lane waits too.
///
/// A write has a ticket, in a cluster with the time at which it was asked.
pub struct Batches<T = Ticket> {
    /// Lanes with a fault in an earlier batch. The store handles those of the current one.
    closed: Lanes,
    /// In the order in which they came, and their number for each lane. The bound of the writes in flight bounds them too.
    deferred: VecDeque<Deferred<T>>,
    waiting: BTreeMap<Lane, usize>,
    /// The current batch, and its tickets. Both are empty between two batches, and the memory of the batch is reused.
    tickets: Vec<(T, Lane)>,
    batch: Vec<(Lane, Write)>,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        let (deferred, waiting) = (VecDeque::new(), BTreeMap::new());
        Batches { closed: Lanes::default(), deferred, waiting, tickets: Vec::new(), batch: Vec::new() }
    }
}

impl<T> Batches<T> {
    /// Adds a write to the current batch, or defers it. Returns its ticket if it is refused, because its lane is closed.
    #[must_use]
    pub fn push(&mut self, ticket: T, lane: Lane, write: Write) -> Option<T> {
        if write.is_heavy() || self.waiting.contains_key(&lane) {
            self.defer(lane, Deferred::Write(ticket, lane, write));
            return None;
        }
        self.admit(ticket, lane, write)
    }

    /// Reopens a lane after the writes that came before.
    pub fn reset(&mut self, lane: Lane) {
        if self.waiting.contains_key(&lane) {
            self.defer(lane, Deferred::Reset(lane));
        } else {
            self.closed.reset(lane);
        }
    }

    /// Whether a deferred write waits for a batch.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Makes the next batch of deferred writes: a heavy one, and the light ones after it. Returns the tickets of those that
    /// are refused.
    #[must_use]
    pub fn take_deferred(&mut self) -> Vec<T> {
        let (mut refused, mut is_first) = (Vec::new(), true);
        while let Some(next) = self.deferred.pop_front() {
            let is_heavy = matches!(&next, Deferred::Write(_, _, write) if write.is_heavy());
            if is_heavy && !is_first {
                self.deferred.push_front(next);
                break;
            }
            is_first = false;
            let (Deferred::Write(_, lane, _) | Deferred::Reset(lane)) = next;
            self.no_longer_waits(lane);
            match next {
                Deferred::Write(ticket, lane, write) => refused.extend(self.admit(ticket, lane, write)),
                Deferred::Reset(lane) => self.closed.reset(lane),
            }
        }
        refused
    }

    /// Has the current batch committed, if there is one. A fault closes the lane of its write. Returns the tickets in the
    /// order of the outcomes.
    pub fn commit(
        &mut self,
        commit: impl FnOnce(&mut Vec<(Lane, Write)>) -> Committed,
    ) -> Option<(Vec<T>, Committed)> {
        if self.tickets.is_empty() {
            return None;
        }
        let committed = commit(&mut self.batch);
        assert_eq!(committed.outcomes.len(), self.tickets.len(), "one outcome for each command");
        let mut tickets = Vec::with_capacity(self.tickets.len());
        for ((ticket, lane), outcome) in self.tickets.drain(..).zip(&committed.outcomes) {
            if matches!(outcome.result, Err(refusal) if refusal.is_fault()) {
                self.closed.close(lane);
            }
            tickets.push(ticket);
        }
        Some((tickets, committed))
    }

    fn no_longer_waits(&mut self, lane: Lane) {
        if let Some(count) = self.waiting.get_mut(&lane) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&lane);
            }
        }
    }

    fn defer(&mut self, lane: Lane, what: Deferred<T>) {
        *self.waiting.entry(lane).or_default() += 1;
        self.deferred.push_back(what);
    }

    fn admit(&mut self, ticket: T, lane: Lane, write: Write) -> Option<T> {
        if self.closed.contains(lane) {
            return Some(ticket);
        }
        self.tickets.push((ticket, lane));
        self.batch.push((lane, write));
        None
    }
}

/// For a cluster, where lanes are judged before a write is in the log, and an entry of the log is never refused.
#[cfg(feature = "cluster")]
impl<T> Batches<T> {
    /// Takes the current batch.
    pub fn take(&mut self) -> impl Iterator<Item = (T, Lane, Write)> {
        self.tickets
            .drain(..)
            .zip(self.batch.drain(..))
            .map(|((ticket, lane), (_, write))| (ticket, lane, write))
    }

    /// A write of this lane was refused.
    pub fn close(&mut self, lane: Lane) {
        self.closed.close(lane);
    }

    pub fn is_closed(&self, lane: Lane) -> bool {
        self.closed.contains(lane)
    }

    /// The tickets of the deferred writes.
    pub fn deferred(&self) -> impl Iterator<Item = &T> {
        self.deferred.iter().filter_map(|deferred| match deferred {
            Deferred::Write(ticket, ..) => Some(ticket),
            Deferred::Reset(_) => None,
        })
    }

    /// Refuses the deferred writes that are no longer waited for, and closes their lanes. Returns their tickets.
    #[must_use]
    pub fn refuse_deferred(&mut self, is_over: impl Fn(&T) -> bool) -> Vec<T> {
        let mut refused = Vec::new();
        for next in std::mem::take(&mut self.deferred) {
            match next {
                Deferred::Write(ticket, lane, _) if is_over(&ticket) => {
                    self.closed.close(lane);
                    self.no_longer_waits(lane);
                    refused.push(ticket);
                }
                next => self.deferred.push_back(next),
            }
        }
        refused
    }
}
