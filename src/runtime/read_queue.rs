//! The order of reads: fair queueing between flows (start-time fair queueing, by the time that reads take).
//!
//! Owns which read is next and which is refused. Leaves the threads, the clock and the reading to `readers`.
//! Invariant: a flow runs at most [`RUNNING_PER_FLOW`] reads at once. Of two waiting flows, the one that has used less time
//! is next. A flow that used no time recently waits only for the reads that already run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::operation::Flow;
use crate::server::contract::Ticket;

/// Reads that wait or run: all devices of a full server may catch up after a restart. Above it, the newest read of the
/// account with the most of them is refused with `Refusal::Busy`.
const READS_IN_FLIGHT_MAX: usize = 16_384;
/// Waiting reads of one account, and of all anonymous readers of one address prefix. Above it: `Refusal::Busy`.
const READS_PER_FLOW_MAX: usize = 1_024;

/// One, because there are two readers: no flow may use all of them.
const RUNNING_PER_FLOW: usize = 1;
/// Minimum charge of a read in microseconds: the cost of a switch.
const CHARGE_MIN: u64 = 20;
/// Idle flows whose use is remembered. Above it, the one that used least is dropped.
const IDLE_MAX: usize = 4_096;

const _: () = assert!(READS_PER_FLOW_MAX * 8 <= READS_IN_FLIGHT_MAX);

/// Reads that wait or run, of type `T`.
pub struct ReadQueue<T> {
    flows: BTreeMap<Flow, State<T>>,
    /// Flows that may start a read, by their use, then in the order in which they became ready.
    ready: BTreeSet<(u64, u64, Flow)>,
    /// Flows by their number of waiting reads: the longest gives up its newest when the queue is full.
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
    /// The virtual time at which its next read starts: microseconds used, raised to `time` after it was idle.
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

    /// Queues one read. Returns the ticket of the read that is refused for it: itself if its flow has too many, the newest
    /// of the longest flow if the queue is full.
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
        self.relist(flow, waiting);
        refused
    }

    /// The next read, if one may start. It runs until [`ReadQueue::finished`].
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
        self.relist(flow, before);
        while self.idle.first().is_some_and(|(used, _)| *used <= self.time) {
            self.forget_one();
        }
        Some((flow, ticket, read))
    }

    /// A started read has ended after this time.
    pub fn finished(&mut self, flow: Flow, took: Duration) {
        let Some(state) = self.flows.get_mut(&flow) else { return };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.ready.remove(&(state.used, state.turn, flow));
        state.running = state.running.saturating_sub(1);
        state.used = state.used.saturating_add(took.max(CHARGE_MIN));
        self.running = self.running.saturating_sub(1);
        let waiting = state.waiting.len();
        self.relist(flow, waiting);
        if self.is_empty() {
            // No flow competes: a new busy period begins without recorded use.
            *self = ReadQueue::default();
        }
    }

    /// Drops a waiting read. Returns `None` if it runs or has ended.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        let flow = *self.flow_of.get(&ticket)?;
        let state = self.flows.get_mut(&flow)?;
        let before = state.waiting.len();
        let index = state.waiting.iter().position(|(waiting, _)| *waiting == ticket)?;
        let (_, read) = state.waiting.remove(index)?;
        self.flow_of.remove(&ticket);
        self.waiting -= 1;
        self.relist(flow, before);
        Some(read)
    }

    fn drop_newest(&mut self, flow: Flow) -> Option<Ticket> {
        let ticket = self.flows.get(&flow)?.waiting.back()?.0;
        self.cancel(ticket).map(|_| ticket)
    }

    /// Updates the lists of a flow, whose number of waiting reads was `before`.
    fn relist(&mut self, flow: Flow, before: usize) {
        self.turn += 1;
        let Some(state) = self.flows.get_mut(&flow) else { return };
        self.lengths.remove(&(before, flow));
        let waiting = state.waiting.len();
        if waiting > 0 {
            self.lengths.insert((waiting, flow));
        }
        if waiting > 0 && state.running < RUNNING_PER_FLOW {
            // A flow that is already ready keeps its turn.
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

    /// Drops the idle flow that used least.
    fn forget_one(&mut self) {
        if let Some((_, flow)) = self.idle.pop_first() {
            self.flows.remove(&flow);
        }
    }
}

#[cfg(test)]
mod tests;
