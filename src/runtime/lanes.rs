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

enum Deferred {
    Write(Ticket, Lane, Write),
    Reset(Lane),
}

/// The batch that is committed next, and the writes that have to wait for a later one. A heavy write is committed by itself
/// after a batch of others, so that posts wait for at most one of them; what follows it in its lane waits too.
#[derive(Default)]
pub struct Batches {
    /// Lanes with a fault in an earlier batch. The store handles those of the current one.
    closed: Lanes,
    /// In the order in which they came, and their number for each lane. The bound of the writes in flight bounds them too.
    deferred: VecDeque<Deferred>,
    waiting: BTreeMap<Lane, usize>,
    /// The current batch, and its tickets. Both are empty between two batches, and the memory of the batch is reused.
    tickets: Vec<(Ticket, Lane)>,
    batch: Vec<(Lane, Write)>,
}

impl Batches {
    /// Adds a write to the current batch, or defers it. Returns its ticket if it is refused, because its lane is closed.
    #[must_use]
    pub fn push(&mut self, ticket: Ticket, lane: Lane, write: Write) -> Option<Ticket> {
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
    pub fn take_deferred(&mut self) -> Vec<Ticket> {
        let (mut refused, mut is_first) = (Vec::new(), true);
        while let Some(next) = self.deferred.pop_front() {
            let is_heavy = matches!(&next, Deferred::Write(_, _, write) if write.is_heavy());
            if is_heavy && !is_first {
                self.deferred.push_front(next);
                break;
            }
            is_first = false;
            let (Deferred::Write(_, lane, _) | Deferred::Reset(lane)) = next;
            if let Some(count) = self.waiting.get_mut(&lane) {
                *count -= 1;
                if *count == 0 {
                    self.waiting.remove(&lane);
                }
            }
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
    ) -> Option<(Vec<Ticket>, Committed)> {
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

    fn defer(&mut self, lane: Lane, what: Deferred) {
        *self.waiting.entry(lane).or_default() += 1;
        self.deferred.push_back(what);
    }

    fn admit(&mut self, ticket: Ticket, lane: Lane, write: Write) -> Option<Ticket> {
        if self.closed.contains(lane) {
            return Some(ticket);
        }
        self.tickets.push((ticket, lane));
        self.batch.push((lane, write));
        None
    }
}
