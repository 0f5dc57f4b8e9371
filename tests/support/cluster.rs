//! Several natters in memory over one log, and what they whisper to each other.
//!
//! The log is the one order of all writes. Each natter has a store of its own, which applies them in this order: its own write and
//! what precedes it at once, what others wrote when [`Cluster::settle`] has it catch up.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use natter::base::crypto::Entropy;
use natter::base::seal::Chain;
use natter::base::time::{Now, UnixMs};
use natter::model::entry::{Entry, EntryBody};
use natter::model::id::Life;
use natter::model::node::NodeName;
use natter::model::operation::{Lane, Outcome, Start, Write};
use natter::model::settings::{ClusterSettings, Settings};
use natter::server::contract::Input;
use natter::store::{AppliedEntry, Committed, Delivered, Store};

use super::{START_MS, TestDir, World, limits, settings};

/// Between two deliveries while time passes: what one node says at a deadline is heard by the others before their next one.
const STEP_MIN: Duration = Duration::from_millis(1);

/// The epoch of every log.
const EPOCH: &str = "k3";

/// The entries of all nodes, in their one order, each with the time at which the log took it.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(UnixMs, Entry)>>>);

impl Log {
    fn entries(&self) -> MutexGuard<'_, Vec<(UnixMs, Entry)>> {
        self.0.lock().expect("the log")
    }

    /// Its own clock never runs backwards.
    fn append(&self, now: UnixMs, entry: Entry) {
        let mut entries = self.entries();
        let time = entries.last().map_or(now, |(last, _)| now.max(*last));
        entries.push((time, entry));
    }
}

/// The place of one natter in the log.
pub struct Follower {
    log: Log,
    node: NodeName,
    life: Life,
    n: u64,
    /// How many entries it has applied.
    position: u64,
    chain: Chain,
}

impl Follower {
    pub fn new(log: Log, node: NodeName) -> Follower {
        Follower { log, node, life: Life::from_u128(0), n: 0, position: 0, chain: Chain::START }
    }

    /// The process starts: its store applies what it missed, and a new life of the node begins.
    pub fn begin(&mut self, store: &mut Store, now: Now, entropy: &mut dyn Entropy) -> Start {
        if store.place().expect("a place").is_none() {
            assert!(store.enter("log").expect("a fresh database"));
        }
        if self.log.entries().is_empty() {
            self.write(now.unix_ms, EntryBody::Genesis { epoch: EPOCH.to_owned(), level: 1 });
        }
        self.apply(store, usize::MAX);
        (self.life, self.n) = (store.next_life(&self.node, entropy, now.unix_ms).expect("a life"), 0);
        self.write(now.unix_ms, EntryBody::hello());
        self.apply(store, usize::MAX);
        store.start_values(now.unix_ms).expect("what a start finds")
    }

    fn write(&mut self, now: UnixMs, body: EntryBody) {
        self.n += 1;
        self.log.append(now, Entry { node: self.node.clone(), life: self.life, n: self.n, body });
    }

    /// Appends writes of this node and applies them after all before them, whose outcomes go to `happened`.
    pub fn commit(
        &mut self,
        store: &mut Store,
        now: UnixMs,
        batch: &mut Vec<(Lane, Write)>,
        happened: &mut Vec<Outcome>,
    ) -> Committed {
        happened.extend(self.apply(store, usize::MAX));
        self.write(now, EntryBody::Writes(batch.drain(..).map(|(_, write)| write).collect()));
        Committed { outcomes: self.apply(store, usize::MAX), fault: None }
    }

    /// Applies at most `count` entries that this store does not have. Returns the outcomes of their writes.
    pub fn apply(&mut self, store: &mut Store, count: usize) -> Vec<Outcome> {
        let from = self.position as usize;
        let rest: Vec<(UnixMs, Entry)> = self.log.entries()[from..].iter().take(count).cloned().collect();
        let mut outcomes = Vec::new();
        for (time, entry) in rest {
            self.position += 1;
            self.chain = self.chain.next(self.position, &entry.to_bytes());
            let delivered = Delivered { position: self.position, time, chain: self.chain, entry };
            let mut applied = store.apply(&mut vec![delivered]);
            assert_eq!(applied.fault, None);
            match applied.entries.remove(0) {
                AppliedEntry::Performed(of_entry) => outcomes.extend(of_entry),
                AppliedEntry::Begun | AppliedEntry::Raised(_) => {}
                AppliedEntry::Ignored(why) => panic!("each entry of this log counts: {why:?}"),
            }
        }
        outcomes
    }
}

/// The name of the node at this place.
pub fn name(at: usize) -> NodeName {
    NodeName::parse(&format!("node-{at}")).expect("a name")
}

/// Natters that each apply what any of them writes.
pub struct Cluster {
    nodes: Vec<World>,
    /// They neither run nor hear anything.
    pub dead: BTreeSet<usize>,
    /// They do not apply what others write, unless they write themselves.
    pub behind: BTreeSet<usize>,
    /// While set, no whisper arrives.
    pub is_deaf: bool,
}

impl Cluster {
    pub fn new(count: usize) -> Cluster {
        Cluster::with(count, settings(limits()))
    }

    pub fn with(count: usize, settings: Settings) -> Cluster {
        let now = Now { instant: Instant::now(), unix_ms: START_MS };
        let log = Log::default();
        let node = |at: usize| {
            let node = name(at);
            let follower = Some(Follower::new(log.clone(), node.clone()));
            let settings = Settings { cluster: Some(ClusterSettings::new(node)), ..settings.clone() };
            World::start(TestDir::new(), settings, now, at as u64 + 1, follower)
        };
        let mut cluster = Cluster {
            nodes: (0..count).map(node).collect(),
            dead: BTreeSet::new(),
            behind: BTreeSet::new(),
            is_deaf: false,
        };
        // Each has heard the others.
        cluster.pass(Duration::from_millis(200));
        cluster
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| !self.dead.contains(at)).collect()
    }

    /// Delivers entries and whispers until there are none.
    pub fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for at in self.alive() {
                if !self.behind.contains(&at) {
                    quiet &= !self.nodes[at].catch_up(usize::MAX);
                }
                while let Some(bytes) = self.nodes[at].whispers.pop_front() {
                    quiet = false;
                    if !self.is_deaf {
                        self.deliver(at, &bytes);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, from: usize, bytes: &[u8]) {
        for to in self.alive().into_iter().filter(|to| *to != from) {
            self.nodes[to].input(Input::Whispered { node: name(from), bytes: bytes.to_vec() });
        }
    }

    /// Time passes on all nodes, deadline by deadline, and what they say is delivered.
    pub fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let alive = self.alive();
            let first = alive.iter().filter_map(|at| {
                let node = &self.nodes[*at];
                let deadline = node.server.next_deadline()?;
                Some(deadline.saturating_duration_since(node.now.instant))
            });
            let step = first.min().unwrap_or(left).max(STEP_MIN).min(left);
            left -= step;
            alive.into_iter().for_each(|at| self.nodes[at].pass(step));
            self.settle();
        }
    }

    /// A process that was stopped goes on. The monotonic clock and the calendar have gone on without it.
    pub fn wake(&mut self, at: usize) {
        assert!(self.dead.remove(&at));
        let now = self.nodes[self.alive()[usize::from(at == 0)]].now;
        self.nodes[at].now = now;
        self.nodes[at].input(Input::Tick);
        self.settle();
    }

    /// The process of a node starts again on its data.
    pub fn restart(&mut self, at: usize) {
        let world = self.nodes.remove(at);
        let world = world.restart();
        self.nodes.insert(at, world);
        self.settle();
    }
}

impl Index<usize> for Cluster {
    type Output = World;

    fn index(&self, at: usize) -> &World {
        &self.nodes[at]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, at: usize) -> &mut World {
        &mut self.nodes[at]
    }
}

impl World {
    /// The oldest write becomes an entry of the log, and is applied after all before it. Returns `false` if there is no log.
    pub(super) fn append_write(&mut self) -> bool {
        let World { runtime, store, follower, .. } = self;
        let Some(follower) = follower else { return false };
        let (now, mut before) = (runtime.now.unix_ms, Vec::new());
        runtime.commit(1, |batch| follower.commit(store, now, batch, &mut before));
        before.into_iter().for_each(|outcome| runtime.handle(Input::Happened(outcome)));
        (0..runtime.committed.len()).for_each(|_| runtime.answer());
        true
    }

    /// Applies at most `count` entries of other nodes. Returns whether there were any.
    pub fn catch_up(&mut self, count: usize) -> bool {
        let World { store, follower, .. } = self;
        let Some(follower) = follower else { return false };
        let before = follower.position;
        let happened = follower.apply(store, count);
        if follower.position == before {
            return false;
        }
        happened.into_iter().for_each(|outcome| self.input(Input::Happened(outcome)));
        self.store.maintain(self.now.instant).expect("a tidy store");
        self.follow();
        true
    }
}
