//! Several nodes over one log in memory, which loses, repeats, reorders, delays and forgets: what clients were told stays true, and all
//! nodes have the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use natter::base::crypto::Entropy;
use natter::base::fields;
use natter::base::seal::{Chain, SealKey, SealPurpose, SealedBy};
use natter::base::slab::Key;
use natter::base::time::UnixMs;
use natter::model::duty::{HoldDuty, RemoveNode};
use natter::model::entry::{Entry, EntryBody, FIRST_LEVEL, LEVEL, Life};
use natter::model::id::ProfileId;
use natter::model::message::Destination;
use natter::model::operation::{Lane, Outcome, Refusal, Write};
use natter::model::profile::UpdateProfile;
use natter::replica::{Broker, Log, LogEvent, MemoryLog, Output, Replica};
use natter::store::{OpenFault, Store, StoreOptions};
use rusqlite::Connection;

use super::cluster::{cluster_options, node, rows};
use crate::store_kit::{Kit, NOW_MS, Seeded};

const KEY: [u8; 32] = [9; 32];

/// One node: its process may be killed.
struct Node {
    kit: Kit,
    name: &'static str,
    /// The highest level that its build knows.
    known: u32,
    replica: Replica,
    log: MemoryLog,
    /// Tickets without an answer, and since when.
    open: BTreeMap<u64, Instant>,
    answered: Vec<(u64, Outcome)>,
    happened: Vec<Outcome>,
    fatal: Option<String>,
}

struct Cluster {
    test: String,
    broker: Broker,
    nodes: Vec<Node>,
    now: Instant,
    /// Milliseconds since the start.
    ms: u64,
    tickets: u64,
}

fn replica(store: &Store, name: &str, known: u32, (seed, now): (u64, UnixMs)) -> Replica {
    let place = store.place().expect("a readable place");
    Replica::new(node(name), SealKey::new(&KEY), place, Box::new(Seeded(seed)), now).knowing(known)
}

fn genesis(epoch: &str) -> Vec<u8> {
    let body = EntryBody::Genesis { epoch: epoch.to_owned(), level: 1 };
    Entry { node: node("init"), life: Life::from_u128(1), n: 1, body }.seal(&SealKey::new(&KEY))
}

impl Node {
    fn new(broker: &Broker, name: &'static str, known: u32, test: &str) -> Node {
        // No power is cut here.
        let options = StoreOptions { synchronous_full: false, ..cluster_options(&format!("{test}-{name}")) };
        let mut kit = Kit::with(options);
        let mut node = Node {
            replica: replica(kit.store(), name, known, (1, NOW_MS)),
            kit,
            name,
            known,
            log: broker.join(None),
            open: BTreeMap::new(),
            answered: Vec::new(),
            happened: Vec::new(),
            fatal: None,
        };
        node.replica.begin(&mut node.log);
        node
    }

    fn turn(&mut self, now: Instant) {
        if self.fatal.is_some() {
            return;
        }
        self.replica.turn(now, &mut self.log, self.kit.store());
        for output in self.replica.take_outputs() {
            match output {
                Output::Committed(tickets, outcomes) => {
                    assert_eq!(tickets.len(), outcomes.len(), "one outcome for each ticket");
                    for (ticket, outcome) in tickets.into_iter().map(|ticket| ticket.to_u64()).zip(outcomes) {
                        assert!(self.open.remove(&ticket).is_some(), "ticket {ticket} is answered once");
                        self.answered.push((ticket, outcome));
                    }
                }
                Output::Happened(outcomes) => self.happened.extend(outcomes),
                Output::Fatal(message) => self.fatal = Some(message),
            }
        }
        let waits = self.open.values().min().map(|since| now - *since);
        assert!(waits.is_none_or(|waits| waits < Duration::from_secs(10)), "{waits:?}");
    }

    /// All turns that are due without a delay.
    fn work(&mut self, now: Instant) {
        loop {
            self.turn(now);
            if !self.replica.is_at_work() || self.fatal.is_some() {
                return;
            }
        }
    }

    fn result(&self, ticket: u64) -> Option<Result<(), Refusal>> {
        let found = self.answered.iter().find(|(answered, _)| *answered == ticket);
        found.map(|(_, outcome)| outcome.result.as_ref().map(|_| ()).map_err(|refusal| *refusal))
    }
}

impl Cluster {
    /// Nodes that are up and have said Hello, if the log is at once.
    fn new(test: &str, names: &[&'static str]) -> Cluster {
        let broker = Broker::new("log of the test");
        broker.set_time(NOW_MS);
        broker.put(genesis("epoch"));
        let nodes = names.iter().map(|name| Node::new(&broker, name, FIRST_LEVEL, test)).collect();
        Cluster { test: test.to_owned(), broker, nodes, now: Instant::now(), ms: 0, tickets: 0 }
    }

    /// As [`Cluster::new`], where each append is delivered at once.
    fn ready(test: &str, names: &[&'static str]) -> Cluster {
        let mut cluster = Cluster::new(test, names);
        cluster.broker.at_once();
        (0..names.len()).for_each(|node| cluster.broker.up(node));
        cluster.settle();
        assert!(cluster.nodes.iter().all(|node| node.replica.unready().is_none()));
        cluster
    }

    fn submit(&mut self, node: usize, lane: u64, write: Write) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        self.nodes[node].open.insert(ticket, self.now);
        self.nodes[node].replica.submit(self.now, Key::from_u64(ticket), Lane(lane), write);
        ticket
    }

    /// Until all is applied, longer than entries of other nodes are gathered.
    fn settle(&mut self) {
        self.work();
        self.later(5);
        self.work();
    }

    fn work(&mut self) {
        for _ in 0..2 {
            self.nodes.iter_mut().for_each(|node| node.work(self.now));
        }
    }

    fn later(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.ms += ms;
        self.broker.set_time(NOW_MS.after(self.ms));
    }

    /// The process of a node is killed and started again.
    fn restart(&mut self, node: usize, seed: u64) {
        // Longer than a clock cannot tell.
        self.later(1);
        let it = &mut self.nodes[node];
        it.kit.crash();
        it.kit.reopen();
        it.log = self.broker.rejoin(node);
        it.replica = replica(it.kit.store(), it.name, it.known, (seed, NOW_MS.after(self.ms)));
        it.replica.begin(&mut it.log);
        it.open.clear();
    }
}

/// Two people, as the first writes of a log.
fn people(kit: &mut Kit) -> ([Write; 2], ProfileId, ProfileId) {
    let sign_ups = [kit.sign_up_command("ann"), kit.sign_up_command("bob")];
    let (ann, bob) = (sign_ups[0].account.profile, sign_ups[1].account.profile);
    (sign_ups.map(Write::from), ann, bob)
}

/// A write of which a second performance would show: a row of the log with this time.
fn rename(profile: ProfileId, at: u64) -> Write {
    let display_name = Some(format!("name {at}").into());
    UpdateProfile { at: UnixMs(at), profile, display_name, ..UpdateProfile::default() }.into()
}

fn numbers(kit: &Kit, sql: &str) -> Vec<i64> {
    let conn = Connection::open(&kit.options.path).expect("a second connection");
    conn.prepare(sql)
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("the question of the test")
}

fn texts(kit: &Kit, sql: &str) -> Vec<String> {
    let conn = Connection::open(&kit.options.path).expect("a second connection");
    conn.prepare(sql)
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("the question of the test")
}

// ---- what is applied when ---------------------------------------------------------------------------

#[test]
fn entries_of_others_are_gathered_until_one_of_the_node_comes() {
    let mut cluster = Cluster::ready("gathered", &["a", "b"]);
    let (sign_ups, ann, bob) = people(&mut Kit::new("gathered-commands"));
    let mut commands = Kit::new("gathered-posts");
    let at = |cluster: &Cluster, node: usize| cluster.nodes[node].replica.place().expect("a place").position;
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    cluster.settle();
    let began = at(&cluster, 1);
    assert_eq!(at(&cluster, 0), began);
    // Somebody waits at the first node, and nobody at the second one, which has just applied one.
    cluster.later(10);
    for n in 1..=3 {
        let ticket = cluster.submit(0, 1, commands.post(ann, Destination::To(bob), &n.to_string()).into());
        cluster.work();
        assert_eq!(cluster.nodes[0].result(ticket), Some(Ok(())), "{n}");
        assert_eq!((at(&cluster, 0), at(&cluster, 1)), (began + n, began + 1), "{n}");
    }
    let until = cluster.nodes[1].replica.next_deadline().expect("a deadline");
    assert!(!cluster.nodes[1].replica.is_at_work() && until > cluster.now);
    assert!(
        cluster.nodes[1].replica.gathers(),
        "it has its own time for the next turn, and needs no wake before"
    );
    cluster.later(u64::try_from((until - cluster.now).as_millis()).expect("milliseconds"));
    cluster.work();
    assert_eq!(at(&cluster, 1), began + 3, "one transaction");
    // Now somebody waits at the second one, too.
    let first = cluster.submit(0, 1, rename(ann, NOW_MS.0 + cluster.ms));
    cluster.work();
    assert_eq!((cluster.nodes[0].result(first), at(&cluster, 1)), (Some(Ok(())), began + 3));
    let second = cluster.submit(1, 1, rename(bob, NOW_MS.0 + cluster.ms));
    cluster.work();
    assert_eq!((cluster.nodes[1].result(second), at(&cluster, 1)), (Some(Ok(())), began + 5));
}

// ---- what holds whatever the log does --------------------------------------------------------------

enum Asked {
    /// The lane and its counter, which are the text.
    Post(u64, u64),
    Rename(u64),
}

#[test]
fn nothing_answered_is_lost_doubled_or_reordered_and_all_nodes_are_the_same() {
    let mut answered = 0;
    for seed in 1..=8 {
        answered += play(seed);
    }
    assert!(answered > 400, "{answered} writes were performed");
}

fn play(seed: u64) -> usize {
    let mut random = Seeded(seed);
    let random: &mut dyn Entropy = &mut random;
    let mut cluster = Cluster::new(&format!("play-{seed}"), &["a", "b", "c"]);
    let mut commands = Kit::new(&format!("play-commands-{seed}"));
    let (sign_ups, ann, bob) = people(&mut commands);
    // Of each ticket the lane, and what was asked for.
    let (mut asked, mut lanes) = (BTreeMap::new(), BTreeMap::<u64, u64>::new());
    // Lanes of a node: new ones after a restart.
    let mut lives = [0_u64; 3];
    (0..3).for_each(|node| cluster.broker.up(node));
    for sign_up in sign_ups {
        let body = EntryBody::Writes(vec![sign_up]);
        let entry = |n, body| Entry { node: node("people"), life: Life::from_u128(1), n, body };
        if cluster.broker.head() == 1 {
            cluster.broker.put(entry(1, EntryBody::hello()).seal(&SealKey::new(&KEY)));
        }
        let n = cluster.broker.head();
        cluster.broker.put(entry(n, body).seal(&SealKey::new(&KEY)));
    }
    let mut renamed_at = 0;
    for step in 0..1_500 {
        let node = random.below(3) as usize;
        match random.below(24) {
            0..=5 => {
                let lane = lives[node] * 100 + node as u64 * 10 + random.below(3);
                let count = lanes.entry(lane).or_default();
                *count += 1;
                let (write, what) = if random.below(3) == 0 {
                    {
                        // Each its own time, ahead of the log by less than a second: others are held to it.
                        renamed_at = (NOW_MS.0 + cluster.ms + 800).max(renamed_at + 1);
                        (rename(ann, renamed_at), Asked::Rename(renamed_at))
                    }
                } else {
                    let post = commands.post(ann, Destination::To(bob), &format!("{lane} {count:09}"));
                    (post.into(), Asked::Post(lane, *count))
                };
                asked.insert(cluster.submit(node, lane, write), (lane, what));
            }
            6..=11 => {
                let sent = cluster.broker.sent(node) as u64;
                let index = if sent > 1 && random.below(4) == 0 { random.below(sent) } else { 0 } as usize;
                match random.below(8) {
                    0 => cluster.broker.double(node, index),
                    1 => cluster.broker.lose(node, index),
                    _ => cluster.broker.store(node, index),
                }
            }
            12..=16 => {
                cluster.broker.deliver(node, 1 + random.below(12));
            }
            17 if cluster.broker.is_up(node) => cluster.broker.down(node),
            17 | 18 if !cluster.broker.is_up(node) => cluster.broker.up(node),
            19 => cluster.broker.report_loss(node),
            20 => cluster.later([10, 50, 100, 150, 500, 2_500][random.below(6) as usize]),
            21 if random.below(8) == 0 => {
                cluster.restart(node, seed * 10_000 + step);
                lives[node] += 1;
            }
            _ => {
                // As the server does once everything of a lane is answered.
                let lane = lives[node] * 100 + node as u64 * 10 + random.below(3);
                let it = &mut cluster.nodes[node];
                if !it.open.keys().any(|ticket| asked[ticket].0 == lane) {
                    it.replica.reset_lane(Lane(lane));
                }
            }
        }
        let now = cluster.now;
        cluster.nodes.iter_mut().for_each(|node| node.turn(now));
    }
    // The log recovers.
    cluster.broker.at_once();
    for node in 0..3 {
        cluster.broker.down(node);
        cluster.broker.up(node);
    }
    for _ in 0..20 {
        cluster.settle();
        cluster.later(1_000);
    }
    let first = &cluster.nodes[0];
    for node in &cluster.nodes {
        assert_eq!(node.fatal, None, "seed {seed}: {}", node.name);
        assert!(node.open.is_empty() && node.replica.is_idle(), "seed {seed}: {}", node.name);
        assert_eq!(node.replica.place().map(|place| place.position), Some(cluster.broker.head()));
        assert_eq!(rows(&node.kit), rows(&first.kit), "seed {seed}: {}", node.name);
    }
    // Once, in the order of each lane, and what was answered is there.
    let bodies = texts(&first.kit, "SELECT body FROM messages ORDER BY n");
    let renamed = numbers(&first.kit, "SELECT at FROM log WHERE kind = 9 ORDER BY seq");
    let once: BTreeSet<&String> = bodies.iter().collect();
    assert_eq!(once.len(), bodies.len(), "seed {seed}: a post is there twice");
    let once: BTreeSet<&i64> = renamed.iter().collect();
    assert_eq!(once.len(), renamed.len(), "seed {seed}: a change is there twice");
    let mut last = BTreeMap::new();
    for body in &bodies {
        let (lane, count) = body.split_once(' ').expect("a lane and its counter");
        let before = last.insert(lane, count);
        assert!(before.is_none_or(|before| before < count), "seed {seed}: {body} after {before:?}");
    }
    let mut performed = 0;
    for (ticket, outcome) in cluster.nodes.iter().flat_map(|node| &node.answered) {
        match (&outcome.result, &asked[ticket].1) {
            (Ok(_), Asked::Post(lane, count)) => assert!(bodies.contains(&format!("{lane} {count:09}"))),
            (Ok(_), Asked::Rename(at)) => assert!(renamed.contains(&(*at as i64))),
            (Err(refusal), _) => assert_eq!(*refusal, Refusal::Unavailable),
        }
        performed += usize::from(outcome.result.is_ok());
    }
    performed
}

// ---- the way of a write -----------------------------------------------------------------------------

#[test]
fn a_write_is_answered_at_its_node_and_happens_at_the_others() {
    let mut cluster = Cluster::ready("way", &["a", "b"]);
    let mut commands = Kit::new("way-commands");
    let (sign_ups, ann, bob) = people(&mut commands);
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    let ticket = cluster.submit(0, 1, commands.post(ann, Destination::To(bob), "hello").into());
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(ticket), Some(Ok(())));
    assert!(cluster.nodes[0].happened.is_empty());
    let seqs = |outcomes: &mut dyn Iterator<Item = &Outcome>| -> Vec<u64> {
        outcomes.flat_map(|outcome| outcome.events.iter().map(|event| event.seq)).collect()
    };
    let [a, b] = &cluster.nodes[..] else { panic!("two nodes") };
    let here = seqs(&mut a.answered.iter().map(|(_, outcome)| outcome));
    assert_eq!(here, seqs(&mut b.happened.iter()), "the same events on both");
    assert_eq!(a.kit.start.epoch, "", "the epoch is that of the log");
    for node in &mut cluster.nodes {
        assert_eq!(node.kit.store().start_values(NOW_MS).expect("a start").epoch, "epoch");
        assert_eq!(node.kit.store().place().expect("a place").as_ref(), node.replica.place());
    }
}

#[test]
fn at_most_four_entries_are_under_way_and_the_next_one_takes_what_waits() {
    let mut cluster = Cluster::new("window", &["a"]);
    cluster.broker.up(0);
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.broker.sent(0), 1, "the Hello");
    let mut commands = Kit::new("window-commands");
    for i in 0..100 {
        cluster.submit(0, i, commands.sign_up_command(&format!("p{i}")).into());
        cluster.settle();
    }
    assert_eq!(cluster.broker.sent(0), 4);
    cluster.broker.store(0, 0);
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.broker.sent(0), 4, "one more");
    while cluster.broker.sent(0) > 0 {
        cluster.broker.store(0, 0);
    }
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.nodes[0].answered.len(), 100);
    assert_eq!(cluster.broker.head(), 1 + 1 + 3 + 1, "epoch, Hello, three single writes, all others");
}

/// An entry is bounded in bytes, too; a write that no entry can hold is refused alone.
#[test]
fn a_long_batch_is_several_entries() {
    let mut cluster = Cluster::ready("long", &["a"]);
    let mut commands = Kit::new("long-commands");
    let (sign_ups, ann, bob) = people(&mut commands);
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    cluster.settle();
    let head = cluster.broker.head();
    let long = "x".repeat(100_000);
    for _ in 0..12 {
        cluster.submit(0, 1, commands.post(ann, Destination::To(bob), &long).into());
    }
    let too_long = "x".repeat(600_000);
    let refused = cluster.submit(0, 2, commands.post(ann, Destination::To(bob), &too_long).into());
    let behind = cluster.submit(0, 2, commands.post(ann, Destination::To(bob), "behind it").into());
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(refused), Some(Err(Refusal::Internal)));
    assert_eq!(cluster.nodes[0].result(behind), Some(Err(Refusal::Unavailable)), "its lane is closed");
    let entries = (head + 1..=cluster.broker.head()).map(|position| cluster.broker.entry(position).len());
    assert!(entries.clone().count() >= 3 && entries.max().is_some_and(|bytes| bytes <= 524_288));
    assert_eq!(cluster.nodes[0].kit.sql_number("SELECT count(*) FROM messages"), 12);
    assert!(cluster.nodes[0].open.is_empty());
}

/// It was not told when it applied the entry; what came after it until then is applied too.
#[test]
fn a_node_that_has_applied_a_skipped_entry_does_not_go_on() {
    let mut cluster = Cluster::ready("skipped", &["a"]);
    let mut commands = Kit::new("skipped-commands");
    let (sign_ups, ..) = people(&mut commands);
    let skipped = cluster.broker.head() + 1;
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    let body = EntryBody::Skipped { position: skipped, chain: [3; 32] };
    let said = Entry { node: node("b"), life: Life::from_u128(9), n: 1, body };
    cluster.settle();
    let before = cluster.broker.head();
    cluster.broker.put(said.seal(&SealKey::new(&KEY)));
    cluster.broker.deliver_all();
    cluster.settle();
    let fatal = cluster.nodes[0].fatal.clone().expect("it stops");
    assert!(fatal.contains(&format!("node b has skipped entry {skipped} of the log")), "{fatal}");
    assert_eq!(
        cluster.nodes[0].kit.store().place().expect("a place").map(|place| place.position),
        Some(before)
    );
    // So does its next start.
    cluster.restart(0, 7);
    cluster.nodes[0].fatal = None;
    cluster.broker.up(0);
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.nodes[0].fatal.clone(), Some(fatal));
}

#[test]
fn an_asker_waits_ten_seconds_and_what_was_sent_happens_later() {
    let mut cluster = Cluster::ready("asker", &["a", "b"]);
    let mut commands = Kit::new("asker-commands");
    let (sign_ups, ann, bob) = people(&mut commands);
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    cluster.settle();
    // What it appends from now on is on its way.
    cluster.broker.hold();
    let mut post = |body: &str| commands.post(ann, Destination::To(bob), body).into();
    let sent = cluster.submit(0, 1, post("sent"));
    cluster.settle();
    assert_eq!(cluster.broker.sent(0), 1);
    cluster.broker.down(0);
    cluster.later(5_000);
    let never = cluster.submit(0, 2, post("never"));
    cluster.settle();
    assert_eq!(cluster.nodes[0].replica.unready(), Some("the log is down"));
    assert_eq!(cluster.nodes[0].open.len(), 2);
    cluster.later(5_000);
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(sent), Some(Err(Refusal::Unavailable)));
    assert_eq!(cluster.nodes[0].result(never), None);
    let behind = cluster.submit(0, 1, post("behind"));
    cluster.later(5_000);
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(never), Some(Err(Refusal::Unavailable)));

    cluster.broker.up(0);
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(behind), Some(Err(Refusal::Unavailable)), "it overtakes nothing");
    cluster.nodes[0].replica.reset_lane(Lane(1));
    let open_again = cluster.submit(0, 1, post("open again"));
    cluster.settle();
    while cluster.broker.sent(0) > 0 {
        cluster.broker.store(0, 0);
    }
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(open_again), Some(Ok(())));
    assert_eq!(cluster.nodes[0].happened.len(), 1, "its asker is gone, but it happened");
    let bodies = texts(&cluster.nodes[1].kit, "SELECT body FROM messages ORDER BY n");
    assert_eq!(bodies, ["sent", "open again"]);
}

/// A fault of natter in one entry: what precedes it is applied, it is tried again, and then it is named.
#[test]
fn an_entry_that_cannot_be_applied_is_tried_again_and_then_stops_the_process() {
    let mut cluster = Cluster::ready("fault", &["a"]);
    let mut commands = Kit::new("fault-node-commands");
    let (sign_ups, ann, bob) = people(&mut commands);
    for sign_up in sign_ups {
        cluster.submit(0, 1, sign_up);
    }
    cluster.settle();
    let sabotage = "CREATE TRIGGER sabotage AFTER INSERT ON messages WHEN NEW.body = 'boom' \
                    BEGIN SELECT RAISE(ABORT, 'sabotage'); END";
    cluster.nodes[0].kit.sql(sabotage);
    let mut post = |body: &str| commands.post(ann, Destination::To(bob), body).into();
    let before = cluster.submit(0, 1, post("before"));
    cluster.nodes[0].turn(cluster.now);
    let boom = cluster.submit(0, 1, post("boom"));
    cluster.settle();
    assert_eq!((cluster.nodes[0].result(before), cluster.nodes[0].result(boom)), (Some(Ok(())), None));
    cluster.nodes[0].kit.sql("DROP TRIGGER sabotage");
    let retry = cluster.nodes[0].replica.next_deadline().expect("another try");
    cluster.now = retry;
    cluster.settle();
    assert_eq!(cluster.nodes[0].result(boom), Some(Ok(())), "a fault that passes costs time only");

    cluster.nodes[0].kit.sql(sabotage);
    let last = cluster.submit(0, 1, post("boom"));
    let position = cluster.broker.head() + 1;
    for _ in 0..20 {
        cluster.settle();
        cluster.later(300);
    }
    let fatal = cluster.nodes[0].fatal.as_deref().expect("it stops");
    assert!(fatal.contains(&format!("entry {position} ")), "{fatal}");
    assert_eq!(cluster.nodes[0].result(last), Some(Err(Refusal::Unavailable)));
    assert_eq!(cluster.nodes[0].kit.sql_number("SELECT count(*) FROM messages"), 2);
}

// ---- a log that is not what it was ------------------------------------------------------------------

fn append_some(cluster: &mut Cluster, node: usize, count: u64) {
    let mut commands = Kit::new(&format!("some-{}-{node}-{}", cluster.test, cluster.tickets));
    commands.seed = Seeded(100 + cluster.tickets);
    for i in 0..count {
        let name = format!("p{}x{i}", cluster.tickets);
        cluster.submit(node, 1, commands.sign_up_command(&name).into());
        cluster.settle();
    }
}

/// The message with which a node ends after this happened to its log.
fn ends_with(test: &str, happens: impl FnOnce(&mut Cluster)) -> String {
    let mut cluster = Cluster::ready(test, &["a", "b"]);
    append_some(&mut cluster, 0, 3);
    happens(&mut cluster);
    cluster.settle();
    let place = cluster.nodes[1].kit.store().place().expect("a place").expect("it follows the log");
    cluster.later(10_000);
    cluster.settle();
    assert_eq!(cluster.nodes[1].kit.store().place(), Ok(Some(place)), "it changes nothing");
    let fatal = cluster.nodes[1].fatal.clone();
    fatal.unwrap_or_else(|| panic!("{test}: the node goes on"))
}

#[test]
fn a_log_that_is_not_what_it_was_ends_the_process() {
    let forgot = ends_with("forgot", |cluster| {
        cluster.broker.down(1);
        cluster.broker.forget_tail(1);
        cluster.broker.up(1);
    });
    assert!(forgot.contains("the log has forgotten entries"), "{forgot}");
    let another = ends_with("another", |cluster| {
        cluster.broker.begin_anew("another log");
        cluster.broker.up(1);
    });
    assert!(another.contains("the log is another log"), "{another}");
    let too_late = ends_with("too-late", |cluster| {
        cluster.broker.down(1);
        append_some(cluster, 0, 3);
        cluster.broker.keep_from(cluster.broker.head());
        cluster.broker.up(1);
    });
    assert!(too_late.contains("it is older than what the log keeps"), "{too_late}");
    let broken = ends_with("broken", |cluster| cluster.broker.break_with(1, "two replicas only"));
    assert_eq!(broken, "two replicas only");
    let newer = ends_with("newer", |cluster| {
        let (life, n) = (Life::from_u128(1), 1);
        let mut bytes = Vec::new();
        fields::put_field(&mut bytes, 1, &(LEVEL + 1));
        fields::put_field(&mut bytes, 2, &node("new"));
        let by = SealedBy { node: "new", life: life.to_u128(), n };
        cluster.broker.put(SealKey::new(&KEY).seal(SealPurpose::Entry, by, &bytes));
    });
    assert!(newer.contains("written by a newer natter"), "{newer}");
    let divided = ends_with("divided", |cluster| {
        let head = cluster.broker.head();
        cluster.nodes[1].replica.compare(head, Chain::START);
    });
    assert!(divided.contains("two stories"), "{divided}");
    let divided = ends_with("divided-later", |cluster| {
        let head = cluster.broker.head();
        cluster.nodes[1].replica.compare(head + 1, Chain::START);
        append_some(cluster, 0, 1);
    });
    assert!(divided.contains("two stories"), "{divided}");
}

#[test]
fn two_nodes_that_read_the_same_agree() {
    let mut cluster = Cluster::ready("agree", &["a", "b"]);
    append_some(&mut cluster, 0, 2);
    let place = cluster.nodes[0].replica.place().expect("a place").clone();
    cluster.nodes[1].replica.compare(place.position, place.chain);
    cluster.settle();
    assert_eq!(cluster.nodes[1].fatal, None);
}

/// One replica of the log lacks an entry or has a changed bit: it is read anew. If all do, the node stops and names the entry.
#[test]
fn a_missing_or_damaged_entry_is_read_anew_and_never_skipped() {
    for (test, is_damage) in [("skipped", false), ("damaged", true)] {
        for times in [1, 2, 3] {
            let mut cluster = Cluster::new(&format!("{test}-{times}"), &["a", "b"]);
            cluster.broker.at_once();
            cluster.broker.up(0);
            append_some(&mut cluster, 0, 5);
            cluster.broker.hold();
            cluster.broker.up(1);
            cluster.broker.deliver(1, 3);
            cluster.settle();
            for _ in 0..times {
                if is_damage {
                    cluster.broker.damage(1);
                } else {
                    cluster.broker.skip(1);
                }
                cluster.broker.deliver(1, 2);
                cluster.settle();
            }
            cluster.broker.deliver_all();
            cluster.settle();
            let place = cluster.nodes[1].kit.store().place().expect("a place").expect("it follows the log");
            match cluster.nodes[1].fatal.as_deref() {
                None => assert_eq!((times < 3, place.position), (true, cluster.broker.head()), "{test}"),
                Some(fatal) => {
                    assert_eq!((times, place.position), (3, 3), "{test}: {fatal}");
                    assert!(fatal.contains("entry 4"), "{fatal}");
                }
            }
        }
    }
}

#[test]
fn a_log_that_no_node_may_follow() {
    let fatal = |test: &str, first: Option<Vec<u8>>, secret: [u8; 32]| {
        let broker = Broker::new("log");
        first.into_iter().for_each(|sealed| broker.put(sealed));
        let mut node = Node::new(&broker, "a", FIRST_LEVEL, test);
        let place = node.kit.store().place().expect("a place");
        let (now, seed) = (Instant::now(), Box::new(Seeded(1)));
        node.replica = Replica::new(super::cluster::node("a"), SealKey::new(&secret), place, seed, NOW_MS);
        node.replica.begin(&mut node.log);
        broker.up(0);
        for _ in 0..3 {
            broker.deliver(0, 9);
            node.work(now);
        }
        node.fatal
    };
    assert_eq!(fatal("empty", None, KEY), None, "its first entry may come later");
    let other_key = fatal("other-key", Some(genesis("epoch")), [1; 32]).expect("it stops");
    assert!(other_key.contains("cluster_key"), "{other_key}");
    let body = EntryBody::hello();
    let hello = Entry { node: node("a"), life: Life::from_u128(1), n: 1, body }.seal(&SealKey::new(&KEY));
    let no_epoch = fatal("no-epoch", Some(hello), KEY).expect("it stops");
    assert!(no_epoch.contains("natter cluster init"), "{no_epoch}");

    // A database with content of its own.
    let mut kit = Kit::new("own-content");
    kit.person("ann");
    kit.close();
    kit.options.in_cluster = true;
    kit.reopen();
    let broker = Broker::new("log");
    broker.put(genesis("epoch"));
    let mut log = broker.join(None);
    let mut replica = replica(kit.store(), "a", FIRST_LEVEL, (1, NOW_MS));
    replica.begin(&mut log);
    broker.up(0);
    replica.turn(Instant::now(), &mut log, kit.store());
    let outputs = replica.take_outputs();
    let [Output::Fatal(message)] = &outputs[..] else { panic!("{outputs:?}") };
    assert!(message.contains("empty DATA_DIR"), "{message}");
}

#[test]
fn of_two_processes_with_one_name_the_later_one_stays() {
    let mut cluster = Cluster::ready("twins", &["a"]);
    append_some(&mut cluster, 0, 2);
    // The same name, with its own DATA_DIR.
    cluster.nodes.push(Node::new(&cluster.broker, "a", FIRST_LEVEL, "twins-second"));
    cluster.broker.up(1);
    cluster.later(1_000);
    cluster.settle();
    let fatal = cluster.nodes[0].fatal.as_deref().expect("the first one stops");
    assert!(fatal.contains("another natter runs under the name a"), "{fatal}");
    assert_eq!(cluster.nodes[1].fatal, None);
    append_some(&mut cluster, 1, 1);
    assert_eq!(cluster.nodes[1].replica.unready(), None);
    assert!(cluster.nodes[1].open.is_empty(), "{:?} {:?}", cluster.nodes[1].open, cluster.nodes[1].answered);
}

/// The log is the only clock: a start whose clock is behind has the greater life, all the same.
#[test]
fn a_restart_begins_a_life_and_its_late_entries_do_not_count() {
    let mut cluster = Cluster::new("late", &["a", "b"]);
    cluster.broker.up(0);
    let store_all = |cluster: &mut Cluster| {
        while cluster.broker.sent(0) > 0 {
            cluster.broker.store(0, 0);
        }
        cluster.broker.deliver_all();
        cluster.settle();
    };
    cluster.broker.deliver_all();
    cluster.settle();
    store_all(&mut cluster);
    let mut commands = Kit::new("late-commands");
    cluster.submit(0, 1, commands.sign_up_command("ann").into());
    cluster.settle();
    assert_eq!(cluster.broker.sent(0), 1, "on its way when the process is killed");
    cluster.restart(0, 2);
    cluster.broker.up(0);
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(cluster.broker.sent(0), 2, "and the Hello of the new process");
    cluster.broker.store(0, 1);
    store_all(&mut cluster);
    assert_eq!(cluster.nodes[0].replica.unready(), None);
    assert_eq!(cluster.nodes[0].kit.sql_number("SELECT count(*) FROM members"), 0, "it came too late");
    cluster.broker.up(1);
    cluster.broker.deliver_all();
    cluster.settle();
    assert_eq!(rows(&cluster.nodes[0].kit), rows(&cluster.nodes[1].kit).into_iter().collect::<Vec<_>>());
}

/// The seam: what an implementation may do.
#[test]
fn what_was_read_before_a_request_to_read_anew_is_dropped() {
    let broker = Broker::new("log");
    (0..4).for_each(|i| broker.put(vec![i]));
    let mut log = broker.join(None);
    log.read_after(0);
    broker.up(0);
    broker.deliver(0, 3);
    log.read_after(1);
    broker.deliver(0, 1);
    let mut events = Vec::new();
    log.take(&mut events);
    let positions: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            LogEvent::Delivered { position, .. } => Some(*position),
            _ => None,
        })
        .collect();
    assert_eq!(positions, [2]);
}

// ---- levels -----------------------------------------------------------------------------------------

/// The level after the first one: of this build, or of a newer one.
const NEXT_LEVEL: u32 = FIRST_LEVEL + 1;

impl Cluster {
    /// Another build starts on the database of a node.
    fn install(&mut self, node: usize, known: u32) {
        self.nodes[node].known = known;
        self.restart(node, 1_000 + self.ms);
        self.broker.up(node);
        self.settle();
    }

    /// Some time passes, in which the node with the duty looks at the levels.
    #[cfg(feature = "next-level")]
    fn wait(&mut self) {
        for _ in 0..4 {
            self.later(500);
            self.settle();
        }
    }

    fn levels(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.replica.place().expect("a place").level).collect()
    }

    /// A write at a node is answered.
    fn writes(&mut self, at: usize, write: Write) {
        let ticket = self.submit(at, self.ms, write);
        self.settle();
        assert_eq!(self.nodes[at].result(ticket), Some(Ok(())), "{:?}", self.nodes[at].fatal);
    }

    fn are_equal(&self) {
        let first = rows(&self.nodes[0].kit);
        assert!(self.nodes.iter().all(|node| node.fatal.is_none() && rows(&node.kit) == first));
    }
}

fn hold_duty(name: &str) -> Write {
    HoldDuty { node: node(name) }.into()
}

#[cfg(feature = "next-level")]
#[test]
fn the_level_is_raised_as_soon_as_every_node_knows_it_and_not_before() {
    let mut cluster = Cluster::ready("levels", &["a", "b", "c"]);
    let mut commands = Kit::new("levels-commands");
    let mut sign_up = |cluster: &mut Cluster, at: usize, name: &str| {
        let sign_up = commands.sign_up_command(name);
        cluster.writes(at, sign_up.into());
    };
    cluster.writes(0, hold_duty("a"));
    for (at, known) in [(1, NEXT_LEVEL), (2, NEXT_LEVEL), (1, FIRST_LEVEL), (1, NEXT_LEVEL)] {
        cluster.install(at, known);
        cluster.wait();
        let name = format!("on{at}at{}", cluster.ms);
        sign_up(&mut cluster, at, &name);
        assert_eq!(cluster.levels(), [FIRST_LEVEL; 3]);
    }
    cluster.install(0, NEXT_LEVEL);
    cluster.wait();
    assert_eq!(cluster.levels(), [NEXT_LEVEL; 3]);
    let head = cluster.broker.head();
    cluster.wait();
    assert_eq!(cluster.broker.head(), head, "once");
    for at in 0..3 {
        sign_up(&mut cluster, at, &format!("after{at}"));
    }
    cluster.are_equal();
    cluster.install(2, NEXT_LEVEL);
    assert_eq!(cluster.levels(), [NEXT_LEVEL; 3], "also after a start");
    cluster.are_equal();
}

/// A node of a newer build writes this.
fn put_newer(cluster: &Cluster, n: u64, body: EntryBody) {
    let entry = Entry { node: node("new"), life: Life::from_u128(1), n, body };
    cluster.broker.put(entry.seal(&SealKey::new(&KEY)));
}

/// A node was put back while the entry was on its way.
#[test]
fn an_entry_that_raises_the_level_too_early_changes_nothing() {
    let mut cluster = Cluster::ready("too-early", &["a", "b"]);
    put_newer(&cluster, 1, EntryBody::Hello { level: NEXT_LEVEL });
    for (n, level) in [(2, NEXT_LEVEL), (3, FIRST_LEVEL), (4, NEXT_LEVEL + 1)] {
        put_newer(&cluster, n, EntryBody::Level { level });
        cluster.settle();
        assert_eq!(cluster.levels(), [FIRST_LEVEL; 2]);
    }
    cluster.writes(0, hold_duty("a"));
    cluster.are_equal();
}

/// It says what to do, and goes on with a newer build where it was.
#[test]
fn a_build_that_does_not_know_the_level_stops_at_its_entry() {
    let mut cluster = Cluster::ready("overtaken", &["a"]);
    put_newer(&cluster, 1, EntryBody::Hello { level: NEXT_LEVEL });
    put_newer(&cluster, 2, EntryBody::Level { level: NEXT_LEVEL });
    cluster.settle();
    assert_eq!(cluster.levels(), [FIRST_LEVEL], "this one holds it back");
    // An operator says that it is gone for good.
    cluster.writes(0, RemoveNode { at: UnixMs(0), node: node("a") }.into());
    let before = cluster.nodes[0].replica.place().expect("a place").position;
    // That of another life, and one that was applied before, raise nothing.
    put_newer(&cluster, 2, EntryBody::Level { level: NEXT_LEVEL });
    cluster.settle();
    assert_eq!((cluster.levels(), &cluster.nodes[0].fatal), (vec![FIRST_LEVEL], &None));
    let before = before + 1;
    put_newer(&cluster, 3, EntryBody::Level { level: NEXT_LEVEL });
    cluster.settle();
    let fatal = cluster.nodes[0].fatal.clone().expect("it stops");
    for part in ["raises the cluster to level 2", "knows level 1", "install the version"] {
        assert!(fatal.contains(part), "{fatal}");
    }
    assert_eq!(cluster.nodes[0].replica.place().expect("a place").position, before);
    // Again, as long as it is the old one.
    cluster.nodes[0].fatal = None;
    cluster.install(0, FIRST_LEVEL);
    assert_eq!(cluster.nodes[0].fatal.take(), Some(fatal));
    // The newer one has no fault here. What it writes, and its database, are for newer builds alone.
    cluster.install(0, NEXT_LEVEL);
    assert_eq!(cluster.levels(), [NEXT_LEVEL]);
    cluster.nodes[0].kit.crash();
    match Store::open(&cluster.nodes[0].kit.options, &mut Seeded(1), NOW_MS) {
        Err(fault @ OpenFault::LevelTooNew { level, .. }) => {
            assert_eq!((level, LEVEL), (NEXT_LEVEL, FIRST_LEVEL));
            assert!(fault.to_string().contains("install the version that the other nodes have"), "{fault}");
        }
        Err(fault) => panic!("{fault}"),
        Ok((store, _)) => assert_eq!(store.place().expect("a place").map(|place| place.level), Some(LEVEL)),
    }
}

/// Without the feature there is one level, and no release has the feature.
#[test]
fn the_second_level_is_for_tests_alone() {
    assert_eq!(LEVEL > FIRST_LEVEL, cfg!(feature = "next-level"));
    let manifest = include_str!("../../../Cargo.toml");
    let default = manifest.lines().find(|line| line.starts_with("default = ")).expect("the default features");
    assert!(!default.contains("next-level") && !default.contains("conformance"), "{default}");
    let naming = manifest.lines().filter(|line| line.contains("next-level") && !line.starts_with('#'));
    assert_eq!(naming.collect::<Vec<_>>(), ["next-level = []"]);
}

/// The schema is that of the level, before and after, whenever a node is killed.
#[cfg(feature = "next-level")]
#[test]
fn the_schema_changes_at_the_entry_on_all_nodes() {
    let schema = |kit: &Kit| numbers(kit, "PRAGMA user_version")[0];
    let has_since =
        |kit: &Kit| numbers(kit, "SELECT count(*) FROM pragma_table_info('duty') WHERE name = 'since'");
    let mut cluster = Cluster::ready("schema", &["a", "b"]);
    for node in &mut cluster.nodes {
        node.kit.options.free_bytes = Some(|_| Some(u64::MAX));
    }
    cluster.writes(0, hold_duty("a"));
    let before = schema(&cluster.nodes[0].kit);
    cluster.install(0, LEVEL);
    cluster.install(1, LEVEL);
    // The second node has the entry, and is killed before it applies it.
    cluster.later(1_000);
    for _ in 0..3 {
        cluster.nodes[0].work(cluster.now);
    }
    assert_eq!((schema(&cluster.nodes[0].kit), schema(&cluster.nodes[1].kit)), (before + 1, before));
    cluster.install(1, LEVEL);
    cluster.later(1);
    cluster.writes(0, hold_duty("a"));
    for node in &cluster.nodes {
        assert_eq!((schema(&node.kit), has_since(&node.kit)), (before + 1, vec![1]));
        // The database of before is kept.
        let kept = node.kit.options.path.with_file_name(format!("natter.db.schema-{before}"));
        let conn = rusqlite::Connection::open(kept).expect("the copy");
        let version: i64 =
            conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(version, before);
        let epoch: String = conn.query_row("SELECT epoch FROM state", [], |row| row.get(0)).expect("one");
        assert_eq!(vec![epoch], texts(&node.kit, "SELECT epoch FROM state"));
    }
    // The rule of the level: the duty that was given before has no beginning, the next one does.
    assert_eq!(texts(&cluster.nodes[1].kit, "SELECT ifnull(since, 'unknown') FROM duty"), ["unknown"]);
    cluster.later(60_000);
    let since = (NOW_MS.0 + cluster.ms) as i64;
    cluster.writes(1, hold_duty("b"));
    cluster.later(1_000);
    cluster.writes(1, hold_duty("b"));
    assert_eq!(numbers(&cluster.nodes[0].kit, "SELECT since FROM duty"), [since]);
    cluster.are_equal();
}
