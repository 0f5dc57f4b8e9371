//! One node of a cluster, as far as its rows are concerned: what it is asked to write becomes entries of the log, and what the log
//! delivers, its own entries among it, is applied.
//!
//! Owns the order of these steps, and when a life of the node begins and the level is raised. Leaves the transactions to `applying`, what
//! is read of the log to `reading`, its own entries until they are applied to `own`, rows and which entries count to the store,
//! connections to a [`Log`].
//!
//! ```text
//! reach the log → apply all up to its head → Hello: a life begins → ( write entries, apply ) * → ended
//! ```
//!
//! It has no thread and no clock: its user calls [`Replica::turn`] when the log wakes it, after it submitted something and at
//! [`Replica::next_deadline`], and then takes the outputs.
//! Invariant: entries are applied in the order of their positions, without a gap. A node that may not go on says why, and changes nothing
//! from then on.

mod applying;
mod memory_log;
mod own;
mod reading;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::memory_log::{Broker, MemoryLog};
use self::own::Own;
pub use self::reading::check;
use self::reading::{Read, Reading};
pub use super::log::{DELIVERED_BYTES_MAX, Log, LogClock, LogEvent, LogState, Wake};
pub use super::storage::ClusterNode;
use crate::base::crypto::Entropy;
use crate::base::seal::{Chain, SealKey};
use crate::base::time::{Now, UnixMs};
use crate::model::entry::{Entry, FIRST_LEVEL, LEVEL, Life, NodeName};
use crate::model::metrics::LogProgress;
use crate::model::operation::{Lane, Outcome, Write};
use crate::server::contract::Ticket;
use crate::store::{Applied, Delivered, Fault, Place, Skip, Store, WriteHandle};

/// Entries that wait to be applied. Above: no more are taken from the log.
const ARRIVED_MAX: usize = 64;
/// Between two attempts to apply the same entries, while the disk is full or another process holds the database.
const APPLY_RETRY: Duration = Duration::from_millis(250);
/// Between two looks whether the level may be raised, while this process knows a higher one.
const RAISE_EVERY: Duration = Duration::from_secs(1);

/// A store that applies entries.
pub trait Applies {
    /// See [`Store::enter`].
    fn enter(&mut self, log: &str) -> Result<bool, Fault>;
    /// See [`Store::next_life`].
    fn next_life(&self, node: &NodeName, entropy: &mut dyn Entropy, now_ms: UnixMs) -> Result<Life, Fault>;
    /// See [`WriteHandle::apply`].
    fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied;
    /// See [`Store::raisable`].
    fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault>;
    /// See [`Store::raises`].
    fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault>;
}

/// Both the store and its handle between two steps of a backup apply entries.
macro_rules! applies {
    ($($store:ty),*) => {
        $(impl Applies for $store {
            fn enter(&mut self, log: &str) -> Result<bool, Fault> {
                self.enter(log)
            }

            fn next_life(
                &self,
                node: &NodeName,
                entropy: &mut dyn Entropy,
                now_ms: UnixMs,
            ) -> Result<Life, Fault> {
                self.next_life(node, entropy, now_ms)
            }

            fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
                self.apply(delivered)
            }

            fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault> {
                self.raisable(node)
            }

            fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault> {
                self.raises(entry)
            }
        })*
    };
}

applies!(Store, WriteHandle<'_>);

/// What a replica has to say to the server of its node.
#[derive(Debug)]
pub enum Output {
    /// Outcomes of writes that were submitted here, with their tickets.
    Committed(Vec<Ticket>, Vec<Outcome>),
    /// Outcomes of writes that nobody here waits for: those of other nodes, of an earlier life, and of askers who were refused since.
    Happened(Vec<Outcome>),
    /// The process must stop: why, and what to do.
    Fatal(String),
}

/// Outputs in the order of the commits.
#[derive(Default)]
struct Outputs(Vec<Output>);

impl Outputs {
    fn committed(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Some(Output::Committed(tickets, outcomes)) = self.0.last_mut() {
            tickets.push(ticket);
            outcomes.push(outcome);
        } else {
            self.0.push(Output::Committed(vec![ticket], vec![outcome]));
        }
    }

    fn happened(&mut self, outcomes: Vec<Outcome>) {
        if let Some(Output::Happened(before)) = self.0.last_mut() {
            before.extend(outcomes);
        } else if !outcomes.is_empty() {
            self.0.push(Output::Happened(outcomes));
        }
    }
}

/// Why the process must stop: the message of [`Output::Fatal`].
type Broken = String;

/// An entry and its bytes, which are read again after a fault.
type Arrived = (Delivered, Arc<[u8]>);

pub struct Replica {
    node: NodeName,
    entropy: Box<dyn Entropy>,
    /// The greatest time of the start and of the entries.
    time: UnixMs,
    /// What the clock of the log showed last.
    clock: Option<LogClock>,
    /// Why the log cannot be used now; `None` while it can.
    down: Option<&'static str>,
    /// Why the log takes no entry of this node; `None` after one was applied.
    refused: Option<&'static str>,
    /// The entry to reach before a life begins.
    head: u64,
    /// The log that the store is about to follow.
    entering: Option<String>,
    /// How far the store is; `None` until it follows a log.
    place: Option<Place>,
    reading: Reading,
    arrived: VecDeque<Arrived>,
    /// What is new of the log was not taken in the last turn.
    is_full: bool,
    /// The entries of the transaction that is tried.
    applying: Vec<Delivered>,
    /// Their bytes.
    applying_sealed: Vec<Arc<[u8]>>,
    apply_tries: u32,
    /// No access to the store before this time, after a fault.
    retry_at: Option<Instant>,
    /// When the last transaction was begun, and until when the next one gathers entries.
    applied_at: Option<Instant>,
    gathers_until: Option<Instant>,
    own: Own,
    /// The highest level that this process knows.
    known: u32,
    /// When it looks again whether the level may be raised; `None` for at once.
    raise_at: Option<Instant>,
    /// Entries that were applied since the start.
    applied: u64,
    events: Vec<LogEvent>,
    outputs: Outputs,
    ended: bool,
}

impl Replica {
    /// A node whose store is at this place. `entropy` and the time of the start make its life, which is the greatest of its node.
    pub fn new(
        node: NodeName,
        key: SealKey,
        place: Option<Place>,
        entropy: Box<dyn Entropy>,
        now_ms: UnixMs,
    ) -> Replica {
        Replica {
            own: Own::new(node.clone()),
            reading: Reading::new(key, place.as_ref()),
            node,
            entropy,
            time: now_ms,
            clock: None,
            down: Some("the log is not reached yet"),
            refused: None,
            head: 0,
            entering: None,
            place,
            arrived: VecDeque::new(),
            is_full: false,
            applying: Vec::new(),
            applying_sealed: Vec::new(),
            apply_tries: 0,
            retry_at: None,
            applied_at: None,
            gathers_until: None,
            known: LEVEL,
            raise_at: None,
            applied: 0,
            events: Vec::new(),
            outputs: Outputs::default(),
            ended: false,
        }
    }

    /// The same node, which skips this entry.
    pub fn skipping(mut self, skip: Option<Skip>) -> Replica {
        self.reading.skip(skip);
        self
    }

    /// A node of a build that knows no higher level than this one.
    #[must_use]
    pub fn knowing(mut self, level: u32) -> Replica {
        self.known = level;
        self
    }

    /// Begins to read the log. Called once.
    pub fn begin(&mut self, log: &mut dyn Log) {
        log.read_after(self.reading.position());
    }

    /// A write to perform. Its outcome is an output within ten seconds, whatever the log does.
    pub fn submit(&mut self, now: Instant, ticket: Ticket, lane: Lane, write: Write) {
        self.own.submit(now, ticket, lane, write);
    }

    /// Reopens a lane after the writes that came before.
    pub fn reset_lane(&mut self, lane: Lane) {
        self.own.reset_lane(lane);
    }

    /// Another node has this chain after this position. If this node has another one, it stops.
    pub fn compare(&mut self, position: u64, chain: Chain) {
        let result = self.reading.compare(position, chain);
        self.end_if(result);
    }

    /// How far the store is, and the chain there.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The level in force there.
    fn level(&self) -> u32 {
        self.place.as_ref().map_or(FIRST_LEVEL, |place| place.level)
    }

    /// How far it is, for `/metrics`, and how far its clock is off.
    pub fn progress(&self, now: Now) -> LogProgress {
        LogProgress {
            position: self.place.as_ref().map_or(0, |place| place.position),
            chain: self.place.as_ref().map_or(Chain::START, |place| place.chain).to_bytes(),
            head: self.head.max(self.reading.position()),
            appended: self.own.appended(),
            applied: self.applied,
            clock_ahead_ms: self.clock_ahead_ms(now),
            level: self.level(),
        }
    }

    /// How far the clock of this node is ahead of the log's, in milliseconds; negative if it is behind, 0 if it is not known to be off.
    pub fn clock_ahead_ms(&self, now: Now) -> i64 {
        self.clock.map_or(0, |clock| clock.ahead_ms(now))
    }

    /// Why no write is performed now.
    pub fn unready(&self) -> Option<&'static str> {
        if self.ended {
            return Some("the log may not be used");
        }
        // A late refusal of what was stored in the end says nothing.
        let refused = self.refused.filter(|_| !self.own.is_empty());
        self.down.or(refused).or((!self.own.has_begun()).then_some("this node applies what it has missed"))
    }

    /// Whether its store has all entries that the log had when it was reached.
    pub fn has_caught_up(&self) -> bool {
        self.down.is_none() && self.place.as_ref().is_some_and(|place| place.position >= self.head)
    }

    /// Whether [`Replica::turn`] has more to do at once.
    pub fn is_at_work(&self) -> bool {
        let has_arrived = self.place.is_some() && !self.arrived.is_empty() && self.gathers_until.is_none();
        let can_form = self.down.is_none() && self.own.can_form();
        !self.ended && self.retry_at.is_none() && (self.is_full || has_arrived || can_form)
    }

    /// Whether nothing that the log may have is awaited before [`Replica::next_deadline`]: entries of other nodes are being gathered, and
    /// none of this node is under way.
    pub fn gathers(&self) -> bool {
        self.gathers_until.is_some() && self.own.is_empty() && !self.ended
    }

    /// Whether all that was submitted is answered, and all of its entries are applied.
    pub fn is_idle(&self) -> bool {
        self.own.is_empty()
    }

    /// When the next turn is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let own = self.own.next_deadline(self.down.is_none());
        let raise_at = self.raise_at.filter(|_| self.may_look_for_a_level());
        [self.retry_at, self.gathers_until, own, raise_at].into_iter().flatten().min().filter(|_| !self.ended)
    }

    /// What came of the turns, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        mem::take(&mut self.outputs.0)
    }

    /// Takes what the log delivered, applies one transaction of it, and appends entries of what was submitted.
    pub fn turn(&mut self, now: Instant, log: &mut dyn Log, store: &mut dyn Applies) {
        if self.ended {
            self.own.refuse_all(&mut self.outputs);
            return;
        }
        self.retry_at.take_if(|at| *at <= now);
        let result = self.take_events(now, log).and_then(|()| self.work(now, log, store));
        self.end_if(result);
    }

    fn work(&mut self, now: Instant, log: &mut dyn Log, store: &mut dyn Applies) -> Result<(), Broken> {
        self.enter(now, store)?;
        self.apply(now, store)?;
        self.begin_life(now, store);
        self.raise_level(now, store);
        self.own.refuse_old(now, &mut self.outputs);
        if self.down.is_none() {
            let level = self.level();
            self.own.send(now, self.reading.key(), level, log, &mut self.outputs);
        }
        Ok(())
    }

    fn end_if(&mut self, result: Result<(), Broken>) {
        if let Err(message) = result
            && !mem::replace(&mut self.ended, true)
        {
            self.own.refuse_all(&mut self.outputs);
            self.outputs.0.push(Output::Fatal(message));
        }
    }

    // ---- the log ------------------------------------------------------------------------------------

    fn take_events(&mut self, now: Instant, log: &mut dyn Log) -> Result<(), Broken> {
        let mut events = mem::take(&mut self.events);
        self.is_full = self.arrived.len() >= ARRIVED_MAX;
        if !self.is_full {
            log.take(&mut events);
        }
        // Read before the request to read anew.
        let mut is_stale = false;
        for event in events.drain(..) {
            match event {
                LogEvent::Up(state) => {
                    self.reached(state)?;
                    self.own.go_back(now);
                }
                LogEvent::Down(reason) => self.down = Some(reason),
                LogEvent::Lost => self.own.go_back(now),
                LogEvent::Refused(reason) => {
                    self.refused = Some(reason);
                    self.own.go_back(now);
                }
                LogEvent::Clock(clock) => self.clock = Some(clock),
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Delivered { .. } if is_stale => {}
                LogEvent::Delivered { position, time, sealed } => {
                    match self.reading.read(position, time, &sealed)? {
                        Read::Next(delivered) => {
                            self.time = self.time.max(time);
                            self.arrived.push_back((*delivered, sealed));
                        }
                        Read::Known => {}
                        Read::Anew => {
                            log.read_after(self.reading.position());
                            is_stale = true;
                        }
                    }
                }
            }
        }
        self.events = events;
        Ok(())
    }

    fn reached(&mut self, state: LogState) -> Result<(), Broken> {
        let known = self.place.as_ref().map(|place| &place.log).or(self.entering.as_ref());
        self.reading.check(known, &state)?;
        (self.down, self.head) = (None, state.head);
        if self.place.is_none() {
            self.entering = Some(state.identity);
        }
        Ok(())
    }

    /// The store of a new node begins to follow the log.
    fn enter(&mut self, now: Instant, store: &mut dyn Applies) -> Result<(), Broken> {
        let Some(log) = self.entering.take_if(|_| self.retry_at.is_none()) else { return Ok(()) };
        match store.enter(&log) {
            Ok(true) => {
                self.place = Some(Place { log, position: 0, chain: Chain::START, level: FIRST_LEVEL });
            }
            Ok(false) => {
                return Err(
                    "the database has content that the log does not know: a new node of a cluster begins with an empty DATA_DIR"
                        .to_owned(),
                );
            }
            Err(_) => (self.entering, self.retry_at) = (Some(log), Some(now + APPLY_RETRY)),
        }
        Ok(())
    }

    /// After all that the log had: what an earlier life of this node wrote is before it, or does not count.
    fn begin_life(&mut self, now: Instant, store: &mut dyn Applies) {
        if self.own.has_life() || !self.has_caught_up() || self.retry_at.is_some() {
            return;
        }
        match store.next_life(&self.node, &mut *self.entropy, self.time) {
            Ok(life) => self.own.begin(life, self.known, self.reading.key()),
            Err(_) => self.retry_at = Some(now + APPLY_RETRY),
        }
    }

    /// Whether there is a level that this node may raise the cluster to, as far as it is concerned.
    fn may_look_for_a_level(&self) -> bool {
        self.level() < self.known && self.down.is_none() && self.own.has_begun()
    }

    /// The node with the duty raises the level, as soon as every node knows it.
    fn raise_level(&mut self, now: Instant, store: &dyn Applies) {
        let is_due = self.raise_at.is_none_or(|at| at <= now) && self.retry_at.is_none();
        if !is_due || !self.may_look_for_a_level() {
            return;
        }
        self.raise_at = Some(now + RAISE_EVERY);
        match store.raisable(&self.node) {
            Ok(Some(level)) => self.own.raise(level.min(self.known)),
            Ok(None) => {}
            Err(_) => self.retry_at = Some(now + APPLY_RETRY),
        }
    }
}
