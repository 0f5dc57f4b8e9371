//! The writer's thread of a node of a cluster, over a log in memory, with a store that fails on demand and with a real one.

use std::sync::Mutex;
use std::time::Duration;

use mio::Poll;

use super::*;
use crate::base::crypto::{Entropy, SystemEntropy};
use crate::base::id::Id;
use crate::base::seal::SealKey;
use crate::base::slab::Key;
use crate::base::time::UnixMs;
use crate::model::entry::{Entry, EntryBody, NodeName};
use crate::model::operation::Outcome;
use crate::runtime::inbox::Completion;
use crate::runtime::queue::lock;
use crate::runtime::replica::{Broker, Replica};
use crate::runtime::testing::{self, Folder, Idle, PATIENCE, Plan, Store, until, write};
use crate::store::{self, Fault, StoreOptions};

const SECRET: [u8; 32] = [3; 32];

fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("a name")
}

/// An entry that no node of the test wrote.
fn put(broker: &Broker, author: &str, n: u64, body: EntryBody) {
    let entry = Entry { node: name(author), life: Id::from_u128(1), n, body };
    broker.put(entry.seal(&SealKey::new(&SECRET)));
}

fn broker() -> Broker {
    let broker = Broker::new("log");
    put(&broker, "init", 1, EntryBody::Genesis { epoch: "epoch".to_owned(), level: 1 });
    put(&broker, "other", 1, EntryBody::hello());
    broker.at_once();
    broker
}

/// A node of this name, whose log is the next one of the broker.
fn node(broker: &Broker, text: &str, place: Option<store::Place>) -> ClusterNode {
    let entropy: Box<dyn Entropy> = Box::new(SystemEntropy::new());
    let replica = Replica::new(name(text), SealKey::new(&SECRET), place, entropy, UnixMs(1));
    let log = |wake| Ok(Box::new(broker.join(Some(wake))) as Box<_>);
    ClusterNode::open(replica, log).expect("a log in memory")
}

/// The test's stand-in for the loop.
struct Fixture {
    _poll: Poll,
    inbox: Arc<Inbox>,
    storage: Storage,
    broker: Broker,
    plan: Arc<Mutex<Plan>>,
    answers: Vec<(u64, Result<(), Refusal>)>,
    happened: usize,
    unready: Option<&'static str>,
    fatal: Option<String>,
}

impl Fixture {
    fn new() -> Fixture {
        let (poll, inbox) = testing::inbox();
        let (broker, plan) = (broker(), Arc::default());
        let fake = || Store { plan: Arc::clone(&plan), ..Store::default() };
        let background = Background::new(Arc::clone(&inbox));
        let node = node(&broker, "here", None);
        let readers = vec![fake()];
        let writes = Writes::InCluster(Box::new(node));
        let storage =
            Storage::start(fake(), writes, readers, fake(), Idle, &inbox, &background).expect("threads");
        let (answers, happened, unready, fatal) = (Vec::new(), 0, None, None);
        Fixture { _poll: poll, inbox, storage, broker, plan, answers, happened, unready, fatal }
    }

    /// As [`Fixture::new`], after its Hello.
    fn ready() -> Fixture {
        let mut fixture = Fixture::new();
        fixture.broker.up(0);
        fixture
            .until("the node has begun", |fixture| fixture.broker.head() == 3 && fixture.unready.is_none());
        fixture
    }

    fn submit(&mut self, lane: u64, n: u64) {
        self.storage.submit(Key::from_u64(n), Lane(lane), write(n)).expect("room");
        self.storage.push_staged();
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Fixture) -> bool) {
        until(what, || {
            self.take();
            is_so(self)
        });
    }

    fn take(&mut self) {
        let mut completions = Vec::new();
        self.inbox.take(&mut completions);
        for completion in completions {
            match completion {
                Completion::Committed(tickets, outcomes) => {
                    self.storage.written(tickets.len());
                    let results = outcomes.into_iter().map(|outcome: Outcome| outcome.result.map(drop));
                    self.answers.extend(tickets.iter().map(|ticket| ticket.to_u64()).zip(results));
                }
                Completion::Happened(outcomes) => self.happened += outcomes.len(),
                Completion::Storage(readiness) => self.unready = readiness.unready,
                Completion::Fatal(message) => self.fatal = Some(message),
                Completion::Progressed(progress) => {
                    assert!(progress.position <= progress.head, "{progress:?}");
                }
                _ => panic!("not storage's"),
            }
        }
    }

    fn close(mut self) -> Arc<Mutex<Plan>> {
        self.inbox.close();
        self.storage.close().into_iter().for_each(|thread| thread.join().expect("no panic"));
        self.plan
    }
}

#[test]
fn writes_are_answered_once_the_log_has_delivered_them_and_others_happen() {
    let mut fixture = Fixture::new();
    fixture.submit(1, 1);
    fixture.until("a reason", |fixture| fixture.unready == Some("the log is not reached yet"));
    fixture.broker.up(0);
    fixture.until("an answer", |fixture| fixture.answers.len() == 1);
    let body = EntryBody::Writes(vec![write(101), write(102)]);
    put(&fixture.broker, "other", 2, body);
    (2..=1_000).for_each(|n| fixture.submit(n % 7, n));
    fixture.until("all answers", |fixture| fixture.answers.len() == 1_000 && fixture.happened == 2);
    assert!(fixture.answers.iter().zip(1..).all(|((n, result), at)| *n == at && result.is_ok()));
    assert_eq!((fixture.unready, fixture.fatal.as_ref()), (None, None));
    let plan = fixture.close();
    let plan = lock(&plan);
    assert!(plan.closed);
    let own: Vec<u64> = plan.batches.concat().into_iter().filter(|n| !(101..=102).contains(n)).collect();
    assert!(own.into_iter().eq((1..=1_000).filter(|n| !(101..=102).contains(n))), "in order, each once");
}

/// An entry is never refused: it waits for the disk, and so do those who asked.
#[test]
fn a_full_disk_makes_entries_wait_and_a_corrupt_database_stops_the_process() {
    let mut fixture = Fixture::ready();
    lock(&fixture.plan).broken = Some(Fault::Full);
    fixture.submit(1, 1);
    fixture.until("a reason", |fixture| fixture.unready == Some(Fault::Full.reason()));
    assert!(fixture.answers.is_empty());
    lock(&fixture.plan).broken = None;
    fixture.until("an answer", |fixture| fixture.answers == [(1, Ok(()))]);
    fixture.until("no reason", |fixture| fixture.unready.is_none());
    lock(&fixture.plan).broken = Some(Fault::Corrupt);
    fixture.submit(1, 2);
    fixture.until("the end", |fixture| fixture.fatal.as_deref() == Some(Fault::Corrupt.reason()));
    assert_eq!(fixture.answers, [(1, Ok(())), (2, Err(Refusal::Unavailable))]);
    assert!(!lock(&fixture.close()).closed, "no checkpoint over a corrupt database");
}

#[test]
fn a_log_that_may_not_be_used_stops_the_process() {
    let mut fixture = Fixture::ready();
    fixture.broker.break_with(0, "two servers of three do not sync");
    fixture.until("the end", |fixture| fixture.fatal.is_some());
    assert_eq!(fixture.fatal.as_deref(), Some("two servers of three do not sync"));
    fixture.close();
}

#[test]
fn a_difference_to_another_node_stops_the_process() {
    let mut fixture = Fixture::ready();
    fixture.storage.compare(1, Chain::START);
    fixture.storage.push_staged();
    fixture.until("the end", |fixture| fixture.fatal.is_some());
    assert!(fixture.fatal.as_deref().is_some_and(|message| message.contains("two stories")));
    fixture.close();
}

/// A backup delays no entry, and a second one is refused.
#[test]
fn a_backup_is_made_between_entries() {
    let mut fixture = Fixture::ready();
    for n in [1, 2] {
        fixture.storage.back_up(Key::from_u64(n), BackUp { id: Id::from_u128(n.into()) }).expect("room");
    }
    fixture.submit(3, 3);
    fixture.until("the answers", |fixture| fixture.answers.len() == 3);
    fixture.answers.sort_by_key(|(n, _)| *n);
    assert_eq!(fixture.answers, [(1, Ok(())), (2, Err(Refusal::Busy)), (3, Ok(()))]);
    fixture.close();
}

/// What is on its way at the end of the process is awaited, but not for ever.
#[test]
fn the_end_waits_for_what_is_appended() {
    let mut fixture = Fixture::ready();
    fixture.submit(1, 1);
    let plan = fixture.close();
    assert_eq!(lock(&plan).batches.concat(), [1]);

    let mut fixture = Fixture::ready();
    fixture.broker.hold();
    fixture.submit(1, 1);
    let plan = fixture.close();
    assert!(lock(&plan).closed && lock(&plan).batches.is_empty());
}

/// Servers with full disks answer, but take nothing.
#[test]
fn a_log_that_takes_no_entries_is_a_reason_until_it_takes_one() {
    let mut fixture = Fixture::ready();
    fixture.broker.hold();
    fixture.submit(1, 1);
    until("an entry", || fixture.broker.sent(0) > 0);
    fixture.broker.refuse(0, 0, "its disks are full");
    fixture.until("the reason", |fixture| fixture.unready == Some("its disks are full"));
    assert!(fixture.answers.is_empty());
    fixture.broker.at_once();
    until("a repetition", || {
        (0..fixture.broker.sent(0)).for_each(|_| fixture.broker.store(0, 0));
        fixture.take();
        fixture.answers.len() == 1
    });
    fixture.until("no reason", |fixture| fixture.unready.is_none());
    fixture.close();
}

/// A start applies what it has missed before anybody asks, and knows the epoch of the log.
#[test]
fn a_start_catches_up() {
    let folder = Folder::new();
    let options = StoreOptions { in_cluster: true, ..StoreOptions::new(folder.join("natter.db")) };
    let open = || store::Store::open(&options, &mut SystemEntropy::new(), UnixMs(1)).expect("it opens").0;
    let (broker, mut store) = (broker(), open());
    (2..=200).for_each(|n| put(&broker, "other", n, EntryBody::Writes(Vec::new())));
    let mut starting = node(&broker, "here", None);
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(starting.catch_up(&mut store, soon), Ok(false), "the log is down");
    let later = Instant::now() + PATIENCE;
    std::thread::scope(|scope| {
        scope.spawn(|| broker.up(0));
        assert_eq!(starting.catch_up(&mut store, later), Ok(true));
    });
    let start = store.start_values(UnixMs(1)).expect("a start");
    assert_eq!(start.epoch, "epoch");
    assert_eq!(store.place().expect("a place").map(|place| place.position >= 201), Some(true));
    drop((starting, store));

    // A node that may not start says why: its clock is off, or the log is not what it was.
    let mut store = open();
    let mut starting = node(&broker, "here", store.place().expect("a place"));
    broker.up(1);
    broker.tell_time(1, Instant::now());
    let refused = starting.catch_up(&mut store, later).expect_err("the log is of 1970");
    assert!(refused.contains("ahead of that of the log"), "{refused}");
    drop((starting, store));
    broker.forget_tail(100);
    let mut store = open();
    let mut starting = node(&broker, "here", store.place().expect("a place"));
    broker.up(2);
    let refused = starting.catch_up(&mut store, later).expect_err("the log has forgotten");
    assert!(refused.contains("forgotten"), "{refused}");
}
