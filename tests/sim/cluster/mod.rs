//! Three nodes of a cluster on one simulated log, and devices that go from one to another: a run is a function of its
//! seed.
//!
//! The servers, stores and replicas are the real ones. The log loses, refuses, doubles, delays and reorders appends, delivers
//! late, skips and damages, and has entries that change nothing; nodes crash, pause, stop in order, are cut off and run twice
//! under one name; disks fail; clocks differ. Owns the order of the steps and the end of a run, at which all nodes have the same
//! rows and every device knows everything.
//! What a log must never do is in `endings`, the order of a stop in `drain`, presence and typing in `people`.
//! Invariant: nothing here reads a clock or the system's randomness.

mod client;
mod drain;
mod endings;
mod http_streams;
mod node;
mod people;
mod record;
mod workload;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natter::base::id::Id;
use natter::base::json;
use natter::base::seal::SealKey;
use natter::base::time::UnixMs;
use natter::model::entry::{Entry, EntryBody, FIRST_LEVEL, LEVEL, NodeName};
use natter::model::id::{ClientId, ProfileId};
use natter::replica::Broker;
use natter::server::contract::ConnId;
use rusqlite::Connection;

use self::client::{Counts, Device, EPOCH, What};
use self::http_streams::Page;
pub use self::node::Planted;
use self::node::{Node, Shared};
use super::mirror::compare_databases;
use super::network::Link;
use super::random::Rng;
use crate::support::START_MS;

const NODES: usize = 3;
/// Posts that are sent before the first of them is answered.
const PIPELINED_MAX: usize = 5;
/// Within this time a write is answered, whatever the log does; with what the steps of a run add.
const ANSWER_MAX: Duration = Duration::from_millis(10_600);
/// How long messages are kept, in a run that erases: longer than all that comes before its end.
const KEPT: Duration = Duration::from_secs(1_800);
/// From one sweep to the next, and what the nodes need to agree on it.
const SWEEP: Duration = Duration::from_secs(3_700);
/// A node that was not reached by what it needs for this many rounds never will be.
const ROUNDS_MAX: usize = 10_000;

/// What may happen in a run.
struct Plan {
    steps: usize,
    /// Of a thousand appends: lost, doubled, stored before an earlier one.
    lossy: usize,
    crashes: bool,
    /// Crashes may be power cuts.
    power_cuts: bool,
    pauses: bool,
    cuts: bool,
    /// The log delivers another entry than the next one, or a damaged one.
    misreads: bool,
    rival: bool,
    logouts: bool,
    /// Nodes stop in order and start again.
    drains: bool,
    /// Writes and syncs fail.
    disks: bool,
    /// The clock of a node is an hour off.
    skewed: bool,
    /// All nodes lose the log for longer than anyone waits.
    outage: bool,
    /// What is older than [`KEPT`] is erased.
    retains: bool,
    /// The nodes begin with a build of the first level, and each goes to one of the last level and back until the level is raised.
    upgrade: bool,
}

/// Counts of what happened.
#[derive(Debug, Default)]
pub struct Stats {
    pub seeds: u64,
    pub steps: u64,
    pub entries: u64,
    pub ignored: u64,
    pub posts: u64,
    pub repeats: u64,
    pub refused: u64,
    pub events: u64,
    pub replays: u64,
    pub ahead: u64,
    pub typings: u64,
    pub lists: u64,
    pub unready: u64,
    pub hops: u64,
    pub crashes: u64,
    pub power_cuts: u64,
    pub pauses: u64,
    pub cuts: u64,
    pub misreads: u64,
    pub probes: u64,
    pub fenced: u64,
    pub logouts: u64,
    pub outages: u64,
    pub drains: u64,
    pub sent_away: u64,
    pub blocks: u64,
    pub pages: u64,
    pub presences: u64,
    pub disk_failures: u64,
    /// Nodes of an older build that stopped at the entry which raised the level.
    pub overtaken: u64,
    pub mails: u64,
    pub mails_again: u64,
    /// Messages that were erased as they were too old.
    pub retained: u64,
    pub endings: BTreeMap<&'static str, u64>,
    /// The digest of the run's transcript; of several runs, of all of them.
    pub transcript: u64,
}

impl Stats {
    pub fn add(&mut self, other: Stats) {
        let sums = [
            (&mut self.seeds, other.seeds),
            (&mut self.steps, other.steps),
            (&mut self.entries, other.entries),
            (&mut self.ignored, other.ignored),
            (&mut self.posts, other.posts),
            (&mut self.repeats, other.repeats),
            (&mut self.refused, other.refused),
            (&mut self.events, other.events),
            (&mut self.replays, other.replays),
            (&mut self.ahead, other.ahead),
            (&mut self.typings, other.typings),
            (&mut self.lists, other.lists),
            (&mut self.unready, other.unready),
            (&mut self.hops, other.hops),
            (&mut self.crashes, other.crashes),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.pauses, other.pauses),
            (&mut self.cuts, other.cuts),
            (&mut self.misreads, other.misreads),
            (&mut self.probes, other.probes),
            (&mut self.fenced, other.fenced),
            (&mut self.logouts, other.logouts),
            (&mut self.outages, other.outages),
            (&mut self.drains, other.drains),
            (&mut self.sent_away, other.sent_away),
            (&mut self.blocks, other.blocks),
            (&mut self.pages, other.pages),
            (&mut self.presences, other.presences),
            (&mut self.disk_failures, other.disk_failures),
            (&mut self.overtaken, other.overtaken),
            (&mut self.mails, other.mails),
            (&mut self.mails_again, other.mails_again),
            (&mut self.retained, other.retained),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        for (name, count) in other.endings {
            *self.endings.entry(name).or_default() += count;
        }
        self.transcript ^= other.transcript;
    }
}

struct Run {
    shared: Shared,
    plan: Plan,
    nodes: Vec<Node>,
    devices: Vec<Device>,
    owners: BTreeMap<ConnId, usize>,
    /// Nodes that have the log no more without knowing it.
    silent: BTreeSet<usize>,
    /// The position of each node at which the log was last misread.
    misread: BTreeMap<usize, u64>,
    /// Nothing fails any more.
    calm: bool,
    answer_max: Duration,
    bodies: u64,
    stats: Stats,
    tracing: bool,
}

/// Plays one seed. `step` holds the current step, for the report of a failure.
pub fn play(seed: u64, step: &Cell<usize>) -> Stats {
    play_with(seed, step, None)
}

/// As [`play`], with a fault of a node that only its rows and what devices are shown can give away.
pub fn play_with(seed: u64, step: &Cell<usize>, planted: Option<Planted>) -> Stats {
    let mut run = Run::new(seed);
    run.begin();
    if planted.is_some() {
        run.shared.record.is_blind = true;
        run.nodes[1].planted = planted;
        run.devices.iter_mut().for_each(|device| device.misses_one = planted == Some(Planted::Missed));
    }
    for number in 0..run.plan.steps {
        step.set(number);
        if run.plan.outage && number == run.plan.steps / 2 {
            run.outage();
        }
        if run.plan.drains && number == run.plan.steps / 3 {
            run.one_stops();
        }
        run.step();
    }
    step.set(run.plan.steps);
    run.finish();
    run.end(seed);
    run.stats()
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng::new(seed ^ 0x636c_7573_7465_7200);
        let is_rough = rng.chance(750);
        let plan = Plan {
            steps: rng.between(1_500, 4_500),
            lossy: if is_rough { [0, 60, 250][rng.below(3)] } else { 0 },
            crashes: is_rough && rng.chance(600),
            power_cuts: rng.chance(500),
            pauses: is_rough && rng.chance(500),
            cuts: is_rough && rng.chance(600),
            misreads: is_rough && rng.chance(500),
            rival: is_rough && rng.chance(300),
            logouts: rng.chance(500),
            drains: rng.chance(500),
            disks: is_rough && rng.chance(400),
            skewed: rng.chance(300),
            outage: rng.chance(500),
            retains: rng.chance(300),
            // With the feature `next-level`: else there is one level.
            upgrade: LEVEL > FIRST_LEVEL && rng.chance(700),
        };
        let key = SealKey::new(&[7; 32]);
        let broker = Broker::new("the log");
        broker.set_time(START_MS);
        let node = NodeName::parse("init").expect("a name");
        let body = EntryBody::Genesis { epoch: EPOCH.to_owned(), level: 1 };
        broker.put(Entry { node, life: Id::from_u128(1), n: 1, body }.seal(&key));
        let skewed = if plan.skewed { rng.below(NODES) } else { NODES };
        let skew = [3_600_000, -3_600_000][rng.below(2)];
        let mut devices = Vec::new();
        for person in 0..rng.between(2, 4) {
            for _ in 0..rng.between(1, 2) {
                devices.push(Device::new(person, devices.len() as u8 + 1));
            }
        }
        let mut shared = Shared::new(rng, broker);
        shared.kept = plan.retains.then_some(KEPT);
        let mut nodes = Vec::new();
        for at in 0..NODES {
            let name = NodeName::parse(&format!("node-{at}")).expect("a name");
            drop(shared.broker.join(None));
            let skew = if at == skewed { skew } else { shared.rng.between(0, 400) as i64 - 200 };
            let mut node = Node::new(&shared, name, at, key.clone(), skew);
            if plan.power_cuts || plan.disks {
                node.forgets();
            }
            if plan.upgrade {
                node.known = FIRST_LEVEL;
            }
            nodes.push(node);
        }
        Run {
            shared,
            plan,
            nodes,
            devices,
            owners: BTreeMap::new(),
            silent: BTreeSet::new(),
            misread: BTreeMap::new(),
            calm: true,
            answer_max: Duration::MAX,
            bodies: 0,
            stats: Stats { seeds: 1, ..Stats::default() },
            tracing: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>8} ms: {}", self.shared.time.as_millis(), what());
        }
    }

    fn stats(mut self) -> Stats {
        let counts = self.devices.iter().map(|device| device.counts);
        for counts in counts {
            let Counts {
                answered, repeats, refused, events, replays, ahead, typings, lists, unready, ..
            } = counts;
            let Counts { sent_away, blocks, pages, presences, .. } = counts;
            self.stats.sent_away += sent_away;
            self.stats.blocks += blocks;
            self.stats.pages += pages;
            self.stats.presences += presences;
            self.stats.posts += answered;
            self.stats.repeats += repeats;
            self.stats.refused += refused;
            self.stats.events += events;
            self.stats.replays += replays;
            self.stats.ahead += ahead;
            self.stats.typings += typings;
            self.stats.lists += lists;
            self.stats.unready += unready;
        }
        self.stats.disk_failures = self.nodes.iter().map(Node::disk_failures).sum();
        self.stats.steps = self.plan.steps as u64;
        self.stats.ignored = self.shared.record.ignored;
        self.stats.mails = self.shared.mails.len() as u64;
        self.stats.mails_again = self.shared.mails.values().map(|times| times - 1).sum();
        self.stats.transcript = self.shared.transcript.digest();
        self.stats
    }

    /// All people have accounts, a session for each device, and a group.
    fn begin(&mut self) {
        self.shared.calm = true;
        for at in 0..NODES {
            self.nodes[at].start(&mut self.shared);
            self.shared.broker.up(at);
        }
        self.settle("the start of the nodes");
        for is_first in [true, false] {
            for d in 0..self.devices.len() {
                let person = self.devices[d].person;
                if is_first == (d == 0 || self.devices[d - 1].person != person) {
                    self.sign(d, if is_first { What::SignUp } else { What::SignIn });
                    self.settle("an account");
                    assert!(self.devices[d].token.is_some(), "a session");
                }
            }
        }
        let profiles: BTreeSet<ProfileId> = self.devices.iter().map(Device::me).collect();
        let me = self.devices[0].me();
        let members: Vec<ProfileId> = profiles.into_iter().filter(|profile| *profile != me).collect();
        let (client_id, members) = (self.client_id(), json::to_string(&members));
        let body = format!(r#"{{"client_id":"{client_id}","title":"All","members":{members}}}"#);
        self.ask(0, What::Group, "POST", "/api/v1/conversations", Some(&body));
        self.settle("a group");
        let group = self.devices[0].group;
        self.devices.iter_mut().for_each(|device| device.group = group);
        for d in 0..self.devices.len() {
            self.open_stream(d);
        }
        self.settle("the first streams");
        self.calm = false;
        self.shared.calm = false;
    }

    fn client_id(&mut self) -> ClientId {
        let mut random = [0; 10];
        random.iter_mut().for_each(|byte| *byte = self.shared.rng.next() as u8);
        Id::new(UnixMs(START_MS.0 + self.shared.time.as_millis() as u64), random)
    }

    // ---- steps --------------------------------------------------------------------------------------

    fn step(&mut self) {
        let at = self.shared.rng.below(self.nodes.len());
        match self.shared.rng.below(300) {
            0..30 => {
                let d = self.shared.rng.below(self.devices.len());
                self.act(d);
            }
            30..75 => {
                let readable = self.nodes[at].readable();
                if let Some(conn) = self.shared.rng.pick(&readable).copied() {
                    for _ in 0..self.pieces(at, conn) {
                        self.nodes[at].read(&mut self.shared, conn);
                    }
                }
            }
            75..120 => {
                if let Some((node, conn)) = self.shared.rng.pick(&self.receivable()).copied() {
                    for _ in 0..self.pieces(node, conn) {
                        self.receive(node, conn);
                    }
                }
            }
            120..160 => self.nodes[at].turn(&mut self.shared),
            160..210 => self.log_step(at),
            210..235 => (0..4).for_each(|_| self.nodes[at].tell(&mut self.shared)),
            235..260 => (0..3).for_each(|_| self.nodes[at].work(&mut self.shared)),
            260..280 => {
                let ms = [1, 20, 100, 400][self.shared.rng.below(4)];
                self.pass(Duration::from_millis(ms));
            }
            280..288 => drop(self.whisper(at, 100)),
            288..293 => self.nodes[at].write(&mut self.shared),
            _ => self.fault(at),
        }
        if self.shared.rng.chance(850) {
            self.nodes.iter_mut().for_each(|node| node.perform(&mut self.shared));
        }
        self.supervise();
    }

    /// What ends on its own ends.
    fn supervise(&mut self) {
        let has_rival = self.nodes.len() > NODES;
        for node in &mut self.nodes {
            node.end_if_drained(&mut self.shared);
            node.sweep();
            if !has_rival {
                node.outlives_its_predecessor();
            }
        }
    }

    /// Time passes on all nodes, and what is due is done.
    fn pass(&mut self, time: Duration) {
        self.shared.time += time;
        let ms = self.shared.time.as_millis() as u64;
        self.shared.broker.set_time(UnixMs(START_MS.0 + ms));
        for node in &mut self.nodes {
            node.follow_time(&self.shared);
            if self.shared.broker.is_up(node.number) && !self.silent.contains(&node.number) {
                node.hear_time(&self.shared);
            }
            node.tick(&mut self.shared);
        }
    }

    /// Something happens between a node and the log.
    fn log_step(&mut self, at: usize) {
        let (broker, rng, number) = (&self.shared.broker, &mut self.shared.rng, self.nodes[at].number);
        if self.silent.contains(&number) || !broker.is_up(number) {
            return;
        }
        let sent = broker.sent(number);
        if sent > 0 && rng.chance(600) {
            if !rng.chance(self.plan.lossy) {
                return broker.store(number, 0);
            }
            let index = rng.below(sent);
            match rng.below(3) {
                0 => {
                    if rng.chance(300) {
                        return broker.refuse(number, index, "the log is full");
                    }
                    broker.lose(number, index);
                    if rng.chance(500) {
                        broker.report_loss(number);
                    }
                }
                1 => broker.double(number, index),
                _ => broker.store(number, index),
            }
            return;
        }
        let count = [1, 2, 100][rng.below(3)];
        broker.deliver(number, count);
    }

    /// A node hears what another one has said, and how far that is.
    fn whisper(&mut self, from: usize, lost: usize) -> bool {
        let name = self.nodes[from].name.clone();
        let (whisper, chain) = (self.nodes[from].take_whisper(), self.nodes[from].chain());
        for to in (0..self.nodes.len()).filter(|to| self.nodes[*to].name != name).collect::<Vec<usize>>() {
            if self.shared.rng.chance(lost) {
                continue;
            }
            if let Some(bytes) = whisper.clone() {
                self.nodes[to].hear(&mut self.shared, name.clone(), bytes);
            }
            if let Some(chain) = chain {
                self.nodes[to].compare(chain);
            }
        }
        whisper.is_some()
    }

    fn fault(&mut self, at: usize) {
        let number = self.nodes[at].number;
        self.install_the_newer();
        if self.plan.upgrade && self.nodes[at].runs() && self.shared.rng.chance(150) {
            return self.install(at);
        }
        match self.shared.rng.below(12) {
            _ if self.nodes[at].is_down() => self.start(at),
            _ if self.nodes[at].is_paused => self.nodes[at].is_paused = false,
            _ if !self.nodes[at].runs() => {}
            0 if self.plan.crashes && self.shared.rng.chance(150) => {
                let all: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].runs()).collect();
                all.into_iter().for_each(|at| self.crash(at));
            }
            0 if self.plan.crashes => self.crash(at),
            1 if self.plan.pauses => {
                self.trace(|| format!("node {at} pauses"));
                self.stats.pauses += 1;
                self.nodes[at].is_paused = true;
            }
            2 if self.plan.cuts => {
                self.trace(|| format!("node {at} loses the log"));
                self.stats.cuts += 1;
                self.shared.broker.down(number);
            }
            3 if self.plan.cuts => drop(self.silent.insert(number)),
            4 if self.plan.misreads => self.misread(at),
            5 if self.plan.rival && self.nodes.len() == NODES => self.rival(at),
            // A node asks by it whether the log has forgotten something: it changes nothing.
            7 => {
                let probe = Entry::probe(self.nodes[at].name.clone()).seal(&SealKey::new(&[7; 32]));
                self.shared.broker.put(probe);
                self.stats.probes += 1;
            }
            8 if self.plan.drains && self.shared.rng.chance(300) => {
                self.trace(|| format!("node {at} is told to stop"));
                self.stats.drains += u64::from(self.nodes[at].accepts());
                self.nodes[at].drain(&mut self.shared);
            }
            9 | 10 if self.plan.disks => {
                self.trace(|| format!("the disk of node {at} fails"));
                self.nodes[at].fail(&mut self.shared.rng);
            }
            6 => {
                let s = self.shared.rng.between(1, 6) as u64;
                self.pass(Duration::from_secs(s));
            }
            _ => {
                self.silent.remove(&number);
                if !self.shared.broker.is_up(number) {
                    self.shared.broker.up(number);
                }
            }
        }
    }

    /// Another build will start: a newer one, or an older one that the level in force allows.
    fn install(&mut self, at: usize) {
        let may_go_back = self.shared.record.raised == 0 && self.shared.rng.chance(400);
        let known = if may_go_back { FIRST_LEVEL } else { LEVEL };
        self.trace(|| format!("node {at} gets a build that knows level {known}"));
        self.crash(at);
        self.nodes[at].known = known;
    }

    /// A node that stopped because the level was raised gets the newer build, as it says.
    fn install_the_newer(&mut self) {
        for node in &mut self.nodes {
            let says =
                |message: &mut String| message.contains("install the version that the other nodes have");
            if node.stopped.take_if(says).is_some() {
                self.stats.overtaken += 1;
                node.known = LEVEL;
            }
        }
    }

    fn start(&mut self, at: usize) {
        self.trace(|| format!("node {at} starts"));
        self.nodes[at].start(&mut self.shared);
        if self.shared.rng.chance(700) {
            self.shared.broker.up(self.nodes[at].number);
        }
    }

    fn crash(&mut self, at: usize) {
        self.trace(|| format!("node {at} crashes"));
        self.stats.crashes += 1;
        let Plan { power_cuts, disks, .. } = self.plan;
        self.stats.power_cuts += u64::from(self.nodes[at].crash(&mut self.shared, power_cuts, disks));
    }

    /// The log leaves out the next entry or damages it, once: it is read anew.
    fn misread(&mut self, at: usize) {
        let (number, position) = (self.nodes[at].number, self.nodes[at].position());
        let broker = &self.shared.broker;
        if broker.undelivered(number) < 2
            || self.misread.get(&number).is_some_and(|before| *before >= position)
        {
            return;
        }
        self.stats.misreads += 1;
        self.misread.insert(number, position + broker.undelivered(number));
        if self.shared.rng.chance(500) {
            broker.skip(number);
            broker.deliver(number, 1);
        } else {
            broker.damage(number);
        }
    }

    /// A second process begins under the name of a node, with a copy of its files or none.
    fn rival(&mut self, at: usize) {
        self.trace(|| format!("a rival of node {at} starts"));
        let number = NODES;
        drop(self.shared.broker.join(None));
        let (name, key) = (self.nodes[at].name.clone(), SealKey::new(&[7; 32]));
        let mut rival = Node::new(&self.shared, name, number, key, 0);
        if self.shared.rng.chance(500) {
            rival.take_over(self.nodes[at].copy());
        }
        rival.start(&mut self.shared);
        self.shared.broker.up(number);
        self.nodes.push(rival);
    }

    // ---- rounds -------------------------------------------------------------------------------------

    /// Everything that is in progress goes on. Returns whether something happened.
    fn round(&mut self, has_log: bool) -> bool {
        let mut is_busy = false;
        for at in 0..self.nodes.len() {
            let number = self.nodes[at].number;
            for conn in self.nodes[at].readable() {
                is_busy = true;
                for _ in 0..self.pieces(at, conn) {
                    self.nodes[at].read(&mut self.shared, conn);
                }
            }
            self.nodes[at].perform(&mut self.shared);
            self.nodes[at].turn(&mut self.shared);
            is_busy |= self.nodes[at].runs() && self.nodes[at].told() + self.nodes[at].work_left() > 0;
            (0..self.nodes[at].told()).for_each(|_| self.nodes[at].tell(&mut self.shared));
            (0..self.nodes[at].work_left()).for_each(|_| self.nodes[at].work(&mut self.shared));
            self.nodes[at].perform(&mut self.shared);
            self.nodes[at].write(&mut self.shared);
            self.nodes[at].perform(&mut self.shared);
            let broker = &self.shared.broker;
            if has_log && broker.is_up(number) {
                let sent = broker.sent(number);
                (0..sent).for_each(|_| broker.store(number, 0));
                is_busy |= sent > 0 || broker.deliver(number, u64::MAX) > 0;
            }
            while self.whisper(at, 0) {
                is_busy = true;
            }
        }
        for (node, conn) in self.receivable() {
            is_busy = true;
            for _ in 0..self.pieces(node, conn) {
                self.receive(node, conn);
            }
        }
        self.supervise();
        is_busy
    }

    fn rounds(&mut self, has_log: bool) {
        for _ in 0..ROUNDS_MAX {
            if !self.round(has_log) {
                return;
            }
        }
        panic!("it never becomes quiet");
    }

    /// Until all nodes have applied the log, and every request is answered.
    fn settle(&mut self, what: &str) {
        for _ in 0..200 {
            self.rounds(true);
            let head = self.shared.broker.head();
            let is_there = |node: &Node| node.stopped.is_some() || node.is_idle() && node.position() == head;
            let waits =
                self.devices.iter().flat_map(|device| &device.https).any(|http| !http.asks.is_empty());
            if self.nodes.iter().all(is_there) && !waits {
                return;
            }
            for at in 0..self.nodes.len() {
                // One that stopped since: all others were started before.
                if self.nodes[at].is_down() {
                    self.nodes[at].start(&mut self.shared);
                    self.shared.broker.up(self.nodes[at].number);
                }
            }
            self.pass(Duration::from_millis(250));
        }
        let far: Vec<(u64, Option<&str>)> =
            self.nodes.iter().map(|node| (node.position(), node.unready())).collect();
        panic!("{what}: never settled: {far:?} of {}", self.shared.broker.head());
    }

    /// No node reaches the log for longer than anyone waits: writes are refused, reads are answered, and streams stay.
    fn outage(&mut self) {
        self.stats.outages += 1;
        self.heal();
        self.settle("before an outage");
        for d in 0..self.devices.len() {
            self.open_stream(d);
        }
        self.settle("streams before an outage");
        let is_known = self.shared.rng.chance(500);
        self.trace(|| format!("an outage, known: {is_known}"));
        (0..self.nodes.len())
            .filter(|_| is_known)
            .for_each(|at| self.shared.broker.down(self.nodes[at].number));
        (self.answer_max, self.shared.calm) = (ANSWER_MAX, true);
        let writers: Vec<usize> =
            (0..self.devices.len()).filter(|d| self.devices[*d].token.is_some()).collect();
        for d in &writers {
            self.compose(*d);
            self.send_posts(*d, 5);
        }
        let posts_before: usize = self.devices.iter().map(Device::unanswered).sum();
        for quarter in 0..60 {
            if quarter % 10 == 5 {
                for d in &writers {
                    self.reads_are_answered(*d, is_known && quarter > 10);
                }
            }
            self.rounds(false);
            self.pass(Duration::from_millis(250));
        }
        self.rounds(false);
        let waits = |http: &client::Http| !http.asks.is_empty();
        assert!(!self.devices.iter().flat_map(|device| &device.https).any(waits), "an answer never came");
        let posts_now: usize = self.devices.iter().map(Device::unanswered).sum();
        assert_eq!(posts_before, posts_now, "a post was answered without the log");
        assert!(
            self.devices
                .iter()
                .all(|device| device.next_post <= device.posts.len() - usize::from(device.unanswered() > 0)),
            "a post is neither answered nor refused"
        );
        (self.answer_max, self.shared.calm) = (Duration::MAX, false);
        (0..self.nodes.len()).for_each(|at| self.shared.broker.up(self.nodes[at].number));
        self.settle("after an outage");
    }

    /// While no write is answered, a read is, and the node says why it is not ready.
    fn reads_are_answered(&mut self, d: usize, is_unready: bool) {
        if self.devices[d].token.is_none() {
            return;
        }
        let Some(node) = self.some_node() else { return };
        let conn = self.connect(d, node);
        self.devices[d].opened_http(node, conn);
        let before = (self.devices[d].counts.lists, self.devices[d].counts.unready);
        let what = What::List { floor: self.nodes[node].published() };
        self.ask_on(d, (node, conn), what, ("GET", "/api/v1/conversations"), None);
        self.ask_on(d, (node, conn), What::Ready, ("GET", "/readyz"), None);
        self.rounds(false);
        let counts = self.devices[d].counts;
        assert_eq!(counts.lists, before.0 + 1, "node {node} answers no read without the log");
        assert!(!is_unready || counts.unready == before.1 + 1, "node {node} is ready without the log");
        self.cut(d, conn);
    }

    /// All faults end.
    fn heal(&mut self) {
        self.silent.clear();
        self.install_the_newer();
        for at in 0..self.nodes.len() {
            self.nodes[at].is_paused = false;
            self.nodes[at].repair();
            self.ends(at);
            if self.nodes[at].is_down() {
                self.nodes[at].start(&mut self.shared);
            }
            self.shared.broker.up(self.nodes[at].number);
        }
    }

    // ---- the end ------------------------------------------------------------------------------------

    fn finish(&mut self) {
        self.heal();
        self.shared.calm = true;
        self.nodes.iter_mut().flat_map(|node| node.links.values_mut()).for_each(Link::hurry);
        self.settle("work in progress");
        self.install_on_all();
        self.one_of_two_is_left();
        self.calm = true;
        for round in 0.. {
            assert!(round < 100, "a device never gets what it waits for");
            if !self.every_device_asks() {
                break;
            }
            self.settle("missing answers");
            self.pass(Duration::from_millis(500));
        }
        self.settle("the end");
        self.people_are_known();
        self.a_session_ends_on_all_nodes();
        self.nodes_are_equal();
        for device in &self.devices {
            device.check(&self.shared.record);
        }
        self.mails_were_sent();
        if self.plan.retains {
            self.what_is_old_is_erased();
        }
        if LEVEL > FIRST_LEVEL {
            assert_eq!(self.shared.record.raised, 1, "the level is raised by itself, once");
            self.nodes_are_equal();
        }
    }

    /// Each node gets the newest build.
    fn install_on_all(&mut self) {
        self.heal();
        self.settle("the builds that were left behind");
        for at in 0..self.nodes.len() {
            if self.nodes[at].runs() && std::mem::replace(&mut self.nodes[at].known, LEVEL) < LEVEL {
                self.crash(at);
                self.start(at);
                self.shared.broker.up(self.nodes[at].number);
                self.settle("a newer build");
            }
        }
    }

    /// Of two processes under one name one has stopped, and says why; no other has.
    fn one_of_two_is_left(&mut self) {
        let stopped: Vec<&String> = self.nodes.iter().filter_map(|node| node.stopped.as_ref()).collect();
        assert_eq!(stopped.len(), self.nodes.len() - NODES, "{stopped:?}");
        let names = |message: &&String| message.contains("another natter runs under the name node-");
        assert!(stopped.iter().all(names), "{stopped:?}");
        self.stats.fenced += stopped.len() as u64;
    }

    fn every_device_asks(&mut self) -> bool {
        let is_over = |device: &Device| {
            device
                .stream
                .as_ref()
                .filter(|_| !device.wants_page())
                .is_some_and(|stream| self.nodes[stream.node].over_at(stream.session).is_some())
        };
        assert!(!self.devices.iter().any(is_over), "a stream outlived its session");
        let mut has_asked = false;
        for d in 0..self.devices.len() {
            let device = &self.devices[d];
            match () {
                () if device.token.is_none() => self.sign(d, What::SignIn),
                () if device.stream.is_none() => self.open_stream(d),
                () if device.wants_page() && !device.is_up_to_date(&self.shared.record) => {
                    self.open_stream(d)
                }
                () if device.unanswered() > 0 => self.send_posts(d, PIPELINED_MAX),
                () if !device.is_up_to_date(&self.shared.record) => {}
                () => continue,
            }
            has_asked = true;
        }
        has_asked
    }

    /// All nodes have the same rows at the same position, and these are what was answered.
    fn nodes_are_equal(&mut self) {
        let head = self.shared.broker.head();
        self.stats.entries = head;
        let all: Vec<&Node> = self.nodes.iter().filter(|node| node.stopped.is_none()).collect();
        assert_eq!(all.len(), NODES, "all nodes are there");
        for node in &all {
            assert_eq!((node.position(), node.place()), (head, all[0].place()), "{}", node.name);
            compare_databases(&all[0].database(), &node.database());
            let conn = Connection::open(node.database()).expect("a second connection");
            let epoch: String =
                conn.query_row("SELECT epoch FROM state", [], |row| row.get(0)).expect("an epoch");
            assert_eq!(epoch, EPOCH, "the epoch of {}", node.name);
            assert_eq!(lives(&conn), lives(&Connection::open(all[0].database()).expect("a connection")));
            let stored: BTreeMap<(i64, i64), (i64, i64)> = conn
                .prepare("SELECT client_high, client_low, seq, n FROM messages")
                .and_then(|mut select| {
                    select
                        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))))?
                        .collect()
                })
                .expect("the messages");
            for (client_id, posted) in self.shared.record.messages() {
                let halves = client_id.to_u128();
                let row = stored.get(&((halves >> 64) as i64, halves as i64));
                assert_eq!(
                    row,
                    Some(&(posted.seq as i64, posted.n as i64)),
                    "{client_id} in the rows of {}",
                    node.name
                );
            }
            assert_eq!(stored.len(), self.shared.record.messages().count(), "messages of {}", node.name);
        }
    }

    /// A logout on one node ends the stream of its session on another one within a second.
    fn a_session_ends_on_all_nodes(&mut self) {
        let d = self.shared.rng.below(self.devices.len());
        if self.devices[d].wants_page() {
            let page = Page { limit: 1, wait: 30, at: self.shared.time };
            self.ask_for_page(d, page);
            self.rounds(true);
        }
        let stream = self.devices[d].stream.as_ref().expect("a stream");
        let (session, its_node) = (stream.session, stream.node);
        let others: Vec<usize> =
            (0..self.nodes.len()).filter(|at| *at != its_node && self.nodes[*at].accepts()).collect();
        let node = *self.shared.rng.pick(&others).expect("another node");
        let conn = self.connect(d, node);
        self.devices[d].opened_http(node, conn);
        self.ask_on(d, (node, conn), What::Logout(session), ("POST", "/api/v1/user/logout"), None);
        self.rounds(true);
        self.pass(Duration::from_secs(1));
        self.rounds(true);
        let device = &self.devices[d];
        assert!(device.token.is_none(), "node {node} answers no logout");
        assert!(device.stream.is_none(), "a logout on node {node} ended no stream on node {its_node}");
        self.settle("a logout");
    }

    /// The node with the duty erases what is too old, whatever its clock shows: on all nodes alike, not before its time, and soon
    /// after it.
    fn what_is_old_is_erased(&mut self) {
        assert!(self.shared.time < KEPT, "it is not old yet: {:?}", self.shared.time);
        assert_eq!(self.tombstones(0).0, 0, "erased before its time");
        for d in 0..self.devices.len() {
            for (_, conn) in self.devices[d].conns() {
                self.cut(d, conn);
            }
        }
        let until = self.shared.time + KEPT + SWEEP;
        while self.shared.time < until {
            self.pass(Duration::from_secs(10));
            self.settle("retention");
        }
        // Also that each keeps its `n` and its `client_id`.
        self.nodes_are_equal();
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].stopped.is_none()).collect::<Vec<_>>() {
            let (erased, left) = self.tombstones(at);
            assert_eq!(left, 0, "messages of node {at} outlive their time");
            self.stats.retained = erased.cast_unsigned();
        }
    }

    /// How many messages of a node are tombstones, and how many are not or have content left.
    fn tombstones(&self, at: usize) -> (i64, i64) {
        let conn = Connection::open(self.nodes[at].database()).expect("a second connection");
        conn.query_row(
            "SELECT count(*) FILTER (WHERE deleted_at IS NOT NULL), \
             count(*) FILTER (WHERE deleted_at IS NULL OR body IS NOT NULL OR n > (SELECT erased_n FROM conversations \
             WHERE key = conversation)) + (SELECT count(*) FROM attachments) + (SELECT count(*) FROM reactions) FROM messages",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("the messages")
    }

    /// Each mail is sent within the time in which the duty moves and a task looks for what is left: once if no node
    /// failed.
    fn mails_were_sent(&mut self) {
        for _ in 0..10 {
            self.pass(Duration::from_secs(10));
            self.settle("mails");
        }
        let at = self.nodes.iter().find(|node| node.stopped.is_none()).expect("a node");
        let conn = Connection::open(at.database()).expect("a second connection");
        let left: i64 =
            conn.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("the mails");
        assert_eq!(left, 0, "mails are never sent");
        let moved = self.stats.crashes + self.stats.pauses + self.stats.cuts + self.stats.outages;
        let is_calm = moved + self.stats.fenced + self.stats.drains == 0
            && self.plan.lossy == 0
            && !(self.plan.cuts || self.plan.disks);
        for (mail, times) in self.shared.mails.iter().filter(|_| is_calm) {
            assert_eq!(*times, 1, "mail {mail}");
        }
    }
}

/// The lives of the nodes, which decide which entries count.
fn lives(conn: &Connection) -> Vec<(String, Vec<u8>, i64)> {
    conn.prepare("SELECT name, life, last_n FROM nodes ORDER BY name")
        .and_then(|mut select| {
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
        .expect("the lives")
}
