//! A log in memory for several nodes of one process: tests and the simulation decide what becomes of each append and delivery.
//!
//! Owns the stored entries, and for each node what it has appended and what was delivered to it. Has no thread and draws nothing: its
//! user calls the faults.
//!
//! ```text
//! append → sent ──store──→ entries ──deliver──→ taken by the node
//!            ├── lose         ├── forget the tail, begin anew
//!            └── double       └── skip
//! ```
//! Invariant: positions of stored entries are dense, and times do not decrease.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Log, LogClock, LogEvent, LogState, Wake};
use crate::base::time::UnixMs;
use crate::runtime::queue::lock;

/// The log of all nodes.
#[derive(Clone)]
pub struct Broker(Arc<Mutex<State>>);

struct State {
    identity: String,
    time: UnixMs,
    entries: Vec<(UnixMs, Arc<[u8]>)>,
    /// Entries before this one are no longer kept.
    first: u64,
    /// Each append is stored and delivered at once.
    at_once: bool,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    is_up: bool,
    /// Appended, and neither stored nor lost.
    sent: VecDeque<Arc<[u8]>>,
    /// The position of the last entry that was delivered.
    delivered: u64,
    events: Vec<LogEvent>,
    wake: Option<Wake>,
}

/// The log as one node sees it.
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    node: usize,
}

impl Broker {
    pub fn new(identity: &str) -> Broker {
        let (identity, time) = (identity.to_owned(), UnixMs(0));
        let (entries, first, nodes) = (Vec::new(), 1, Vec::new());
        Broker(Arc::new(Mutex::new(State { identity, time, entries, first, at_once: false, nodes })))
    }

    /// From now on each append is stored and delivered at once.
    pub fn at_once(&self) {
        lock(&self.0).at_once = true;
    }

    /// From now on its user decides again.
    pub fn hold(&self) {
        lock(&self.0).at_once = false;
    }

    /// The log for one more node, which is down. Its number counts from 0.
    pub fn join(&self, wake: Option<Wake>) -> MemoryLog {
        let mut state = lock(&self.0);
        state.nodes.push(Node { wake, ..Node::default() });
        MemoryLog { state: Arc::clone(&self.0), node: state.nodes.len() - 1 }
    }

    /// The node is started anew: what it had sent and read is gone, but not what the network still has.
    pub fn rejoin(&self, node: usize) -> MemoryLog {
        let mut state = lock(&self.0);
        let it = &mut state.nodes[node];
        (it.is_up, it.delivered, it.wake) = (false, 0, None);
        it.events.clear();
        MemoryLog { state: Arc::clone(&self.0), node }
    }

    /// The clock of the log. It is not set back.
    pub fn set_time(&self, time: UnixMs) {
        let mut state = lock(&self.0);
        state.time = state.time.max(time);
    }

    /// A node hears what the clock of the log shows: it had asked at this moment.
    pub fn tell_time(&self, node: usize, now: Instant) {
        let mut state = lock(&self.0);
        let clock = LogClock { asked_at: now, heard_at: now, time: state.time };
        // Another answer is newer.
        state.nodes[node].events.retain(|event| !matches!(event, LogEvent::Clock(_)));
        state.tell(node, LogEvent::Clock(clock));
    }

    /// An entry that no node wrote, such as the first one.
    pub fn put(&self, sealed: Vec<u8>) {
        lock(&self.0).store(sealed.into());
    }

    pub fn head(&self) -> u64 {
        lock(&self.0).head()
    }

    /// The bytes of the entry at a position.
    pub fn entry(&self, position: u64) -> Arc<[u8]> {
        Arc::clone(&lock(&self.0).entries[position as usize - 1].1)
    }

    // ---- the connections ----------------------------------------------------------------------------

    pub fn up(&self, node: usize) {
        let mut state = lock(&self.0);
        let at = LogState { identity: state.identity.clone(), first: state.first, head: state.head() };
        state.nodes[node].is_up = true;
        state.tell(node, LogEvent::Up(at));
        state.deliver_at_once();
    }

    pub fn down(&self, node: usize) {
        let mut state = lock(&self.0);
        state.nodes[node].is_up = false;
        state.tell(node, LogEvent::Down("the log is down"));
    }

    pub fn is_up(&self, node: usize) -> bool {
        lock(&self.0).nodes[node].is_up
    }

    /// The node learns of an append that may be lost.
    pub fn report_loss(&self, node: usize) {
        lock(&self.0).tell(node, LogEvent::Lost);
    }

    /// The log refuses one of the appends of a node, which is gone.
    pub fn refuse(&self, node: usize, index: usize, reason: &'static str) {
        let mut state = lock(&self.0);
        if state.nodes[node].sent.remove(index).is_some() {
            state.tell(node, LogEvent::Refused(reason));
        }
    }

    pub fn break_with(&self, node: usize, message: &str) {
        lock(&self.0).tell(node, LogEvent::Broken(message.to_owned()));
    }

    // ---- appends ------------------------------------------------------------------------------------

    /// How many appends of a node are neither stored nor lost.
    pub fn sent(&self, node: usize) -> usize {
        lock(&self.0).nodes[node].sent.len()
    }

    /// Stores one of the appends of a node: not the first one reorders them.
    pub fn store(&self, node: usize, index: usize) {
        let mut state = lock(&self.0);
        if let Some(sealed) = state.nodes[node].sent.remove(index) {
            state.store(sealed);
        }
    }

    /// Stores one of the appends of a node, which the network keeps: it may be stored again.
    pub fn double(&self, node: usize, index: usize) {
        let mut state = lock(&self.0);
        if let Some(sealed) = state.nodes[node].sent.get(index).cloned() {
            state.store(sealed);
        }
    }

    pub fn lose(&self, node: usize, index: usize) {
        lock(&self.0).nodes[node].sent.remove(index);
    }

    // ---- deliveries ---------------------------------------------------------------------------------

    /// Delivers the next entries to a node, at most so many. Returns how many.
    pub fn deliver(&self, node: usize, most: u64) -> u64 {
        lock(&self.0).deliver(node, most)
    }

    /// How many stored entries were not delivered to a node.
    pub fn undelivered(&self, node: usize) -> u64 {
        let state = lock(&self.0);
        state.head().saturating_sub(state.nodes[node].delivered)
    }

    /// Delivers all stored entries to all nodes that are up.
    pub fn deliver_all(&self) {
        let mut state = lock(&self.0);
        for node in 0..state.nodes.len() {
            if state.nodes[node].is_up {
                state.deliver(node, u64::MAX);
            }
        }
    }

    /// The next entry is not delivered to a node, as if its replica did not have it.
    pub fn skip(&self, node: usize) {
        lock(&self.0).nodes[node].delivered += 1;
    }

    /// Delivers the next entry to a node with one bit changed.
    pub fn damage(&self, node: usize) {
        let mut state = lock(&self.0);
        let position = state.nodes[node].delivered + 1;
        let Some((time, sealed)) = state.entries.get(position as usize - 1).cloned() else { return };
        let mut bytes = sealed.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        state.nodes[node].delivered = position;
        state.tell(node, LogEvent::Delivered { position, time, sealed: bytes.into() });
    }

    // ---- what a log must not do ---------------------------------------------------------------------

    /// Forgets the newest entries.
    pub fn forget_tail(&self, count: usize) {
        let mut state = lock(&self.0);
        let kept = state.entries.len().saturating_sub(count);
        state.entries.truncate(kept);
        for node in &mut state.nodes {
            node.delivered = node.delivered.min(kept as u64);
        }
    }

    /// No longer keeps the entries before this one.
    pub fn keep_from(&self, first: u64) {
        lock(&self.0).first = first;
    }

    /// Another log, empty, under the same address.
    pub fn begin_anew(&self, identity: &str) {
        let mut state = lock(&self.0);
        state.identity = identity.to_owned();
        state.entries.clear();
        state.first = 1;
        state.nodes.iter_mut().for_each(|node| node.delivered = 0);
    }
}

impl State {
    fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    fn tell(&mut self, node: usize, event: LogEvent) {
        let node = &mut self.nodes[node];
        node.events.push(event);
        if let Some(wake) = &node.wake {
            wake();
        }
    }

    fn store(&mut self, sealed: Arc<[u8]>) {
        self.entries.push((self.time, sealed));
        self.deliver_at_once();
    }

    fn deliver_at_once(&mut self) {
        for node in 0..self.nodes.len() {
            if self.at_once && self.nodes[node].is_up {
                self.deliver(node, u64::MAX);
            }
        }
    }

    fn deliver(&mut self, node: usize, most: u64) -> u64 {
        let from = self.nodes[node].delivered.max(self.first - 1);
        let count = self.head().saturating_sub(from).min(most);
        for position in from + 1..=from + count {
            let (time, sealed) = self.entries[position as usize - 1].clone();
            self.nodes[node].delivered = position;
            self.tell(node, LogEvent::Delivered { position, time, sealed });
        }
        count
    }
}

impl Log for MemoryLog {
    fn read_after(&mut self, position: u64) {
        let mut state = lock(&self.state);
        let node = &mut state.nodes[self.node];
        node.delivered = position;
        node.events.retain(|event| !matches!(event, LogEvent::Delivered { .. }));
        state.deliver_at_once();
    }

    fn append(&mut self, sealed: &Arc<[u8]>) {
        let mut state = lock(&self.state);
        if !state.nodes[self.node].is_up {
            return;
        }
        if state.at_once {
            state.store(Arc::clone(sealed));
        } else {
            state.nodes[self.node].sent.push_back(Arc::clone(sealed));
        }
    }

    fn take(&mut self, out: &mut Vec<LogEvent>) {
        out.append(&mut lock(&self.state).nodes[self.node].events);
    }
}
