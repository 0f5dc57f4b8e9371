//! The order of reads: fair queueing between flows (start-time fair queueing, by the time that reads take).
//!
//! Owns who is next and what is refused. Leaves to `readers` the threads, the clock and what a read is. Invariant: a flow
//! runs at most [`RUNNING_PER_FLOW`] reads at once, and of two flows that wait, the one that has used less time is next; one
//! that used nothing lately waits for no more than the reads that already run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::operation::Flow;
use crate::server::contract::Ticket;

/// Reads that wait or run: all devices of a full server may catch up after a restart. Beyond: the newest of the account that
/// has the most of them is refused with `Refusal::Busy`.
const READS_IN_FLIGHT_MAX: usize = 16_384;
/// Reads of one account that wait; as many of the anonymous readers of one address prefix. Beyond: `Refusal::Busy`.
const READS_PER_FLOW_MAX: usize = 1_024;

/// One, while there are two readers: no flow takes all of them.
const RUNNING_PER_FLOW: usize = 1;
/// What a read is charged at least, in microseconds: the cost of taking turns.
const CHARGE_MIN: u64 = 20;
/// Idle flows whose use is remembered. Beyond: the one that used least is forgotten.
const IDLE_MAX: usize = 4_096;

const _: () = assert!(READS_PER_FLOW_MAX * 8 <= READS_IN_FLIGHT_MAX);

/// Reads that wait or run, of type `T`.
pub struct ReadQueue<T> {
    flows: BTreeMap<Flow, State<T>>,
    /// Flows that may start a read: by their use, then in the order in which they became ready.
    ready: BTreeSet<(u64, u64, Flow)>,
    /// Flows by the number of reads that wait: the longest gives way when all is full.
    lengths: BTreeSet<(usize, Flow)>,
    /// Flows without a read, by their use.
    idle: BTreeSet<(u64, Flow)>,
    flow_of: BTreeMap<Ticket, Flow>,
    waiting: usize,
    running: usize,
    /// The virtual time: the use of the flow that started a read last.
    time: u64,
    turn: u64,
}

struct State<T> {
    waiting: VecDeque<(Ticket, T)>,
    running: usize,
    /// The virtual time at which its next read starts: microseconds used, moved up to `time` when it was idle.
    used: u64,
    turn: u64,
}

impl<T> Default for ReadQueue<T> {
    fn default() -> Self {
        ReadQueue {
            flows: BTreeMap::new(),
            ready: BTreeSet::new(),
            lengths: BTreeSet::new(),
            idle: BTreeSet::new(),
            flow_of: BTreeMap::new(),
            waiting: 0,
            running: 0,
            time: 0,
            turn: 0,
        }
    }
}

impl<T> ReadQueue<T> {
    /// Reads that wait or run.
    pub fn len(&self) -> usize {
        self.waiting + self.running
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads that could start now.
    pub fn startable(&self) -> usize {
        self.ready.len()
    }

    /// Takes one read, and answers which one is refused for it: itself where its flow has too many, the newest of the
    /// longest flow where all have.
    #[must_use]
    pub fn offer(&mut self, flow: Flow, ticket: Ticket, read: T) -> Option<Ticket> {
        let waiting = self.flows.get(&flow).map_or(0, |state| state.waiting.len());
        if waiting >= READS_PER_FLOW_MAX {
            return Some(ticket);
        }
        let mut refused = None;
        if self.len() >= READS_IN_FLIGHT_MAX {
            match self.lengths.last().copied() {
                Some((length, longest)) if length > waiting => refused = self.drop_newest(longest),
                _ => return Some(ticket),
            }
        }
        let (time, turn) = (self.time, self.turn);
        let state = self.flows.entry(flow).or_insert_with(|| State {
            waiting: VecDeque::new(),
            running: 0,
            used: time,
            turn,
        });
        if state.waiting.is_empty() && state.running == 0 {
            self.idle.remove(&(state.used, flow));
            state.used = state.used.max(time);
        }
        state.waiting.push_back((ticket, read));
        self.flow_of.insert(ticket, flow);
        self.waiting += 1;
        self.place(flow, waiting);
        refused
    }

    /// The read that is next, if one may start; it runs until [`ReadQueue::finished`].
    pub fn start(&mut self) -> Option<(Flow, Ticket, T)> {
        let (used, _, flow) = self.ready.first().copied()?;
        let state = self.flows.get_mut(&flow)?;
        let before = state.waiting.len();
        let (ticket, read) = state.waiting.pop_front()?;
        state.running += 1;
        self.flow_of.remove(&ticket);
        self.waiting -= 1;
        self.running += 1;
        self.time = self.time.max(used);
        self.place(flow, before);
        while self.idle.first().is_some_and(|(used, _)| *used <= self.time) {
            self.forget_one();
        }
        Some((flow, ticket, read))
    }

    /// A read that was started has taken so long.
    pub fn finished(&mut self, flow: Flow, took: Duration) {
        let Some(state) = self.flows.get_mut(&flow) else { return };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.ready.remove(&(state.used, state.turn, flow));
        state.running = state.running.saturating_sub(1);
        state.used = state.used.saturating_add(took.max(CHARGE_MIN));
        self.running = self.running.saturating_sub(1);
        let waiting = state.waiting.len();
        self.place(flow, waiting);
        if self.is_empty() {
            // Nobody competes: a new busy period begins with nothing on record.
            *self = ReadQueue::default();
        }
    }

    /// Drops a read that waits; `None` where it runs, or is over.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let flow = *self.flow_of.get(&ticket)?;
        let state = self.flows.get_mut(&flow)?;
        let before = state.waiting.len();
        let place = state.waiting.iter().position(|(waiting, _)| *waiting == ticket)?;
        let (_, read) = state.waiting.remove(place)?;
        self.flow_of.remove(&ticket);
        self.waiting -= 1;
        self.place(flow, before);
        Some(read)
    }

    fn drop_newest(&mut self, flow: Flow) -> Option<Ticket> {
        let ticket = self.flows.get(&flow)?.waiting.back()?.0;
        self.cancel(ticket).map(|_| ticket)
    }

    /// Lists a flow where it belongs, after its number of waiting reads was `before`.
    fn place(&mut self, flow: Flow, before: usize) {
        self.turn += 1;
        let Some(state) = self.flows.get_mut(&flow) else { return };
        self.lengths.remove(&(before, flow));
        let waiting = state.waiting.len();
        if waiting > 0 {
            self.lengths.insert((waiting, flow));
        }
        if waiting > 0 && state.running < RUNNING_PER_FLOW {
            // One that is ready keeps its turn.
            if !self.ready.contains(&(state.used, state.turn, flow)) {
                state.turn = self.turn;
                self.ready.insert((state.used, state.turn, flow));
            }
        } else {
            self.ready.remove(&(state.used, state.turn, flow));
        }
        if waiting == 0 && state.running == 0 {
            self.idle.insert((state.used, flow));
            if self.idle.len() > IDLE_MAX {
                self.forget_one();
            }
        }
    }

    /// Forgets the idle flow that used least.
    fn forget_one(&mut self) {
        if let Some((_, flow)) = self.idle.pop_first() {
            self.flows.remove(&flow);
        }
    }
}

#[cfg(test)]
mod tests;
