//! A rolling upgrade: three nodes of one build, replaced one after another by a build of the next level, and put back until the level is
//! raised. Somebody posts all along.
//!
//! The newer build is that of the tests, which have the feature `next-level`; NATTER_OLD_BIN names the other one (`scripts/upgrade`).
//! Invariant: a post is sent again, with its `client_id`, until it is answered, before the next one is sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::life::{Machine, number, status};
use super::rows;
use super::servers::{Servers, Wish};
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::Natter;

/// The level of the two builds.
const OLD: i64 = 1;
const NEW: i64 = 2;
/// How long a post, a level or equal positions may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what has to come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Posts that are answered in each state of the upgrade.
const POSTS: usize = 20;

fn old_build() -> PathBuf {
    let named = std::env::var_os("NATTER_OLD_BIN");
    PathBuf::from(named.expect("NATTER_OLD_BIN names a build of the level before: see scripts/upgrade"))
}

/// Where the nodes that run are.
type Addresses = Arc<Mutex<[Option<SocketAddr>; 3]>>;

/// Posts one text after another through the nodes that run, in turn.
struct Writer {
    answered: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(addresses: Addresses, ann: Person, to: String) -> Writer {
        let (answered, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, over) = (Arc::clone(&answered), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut node = 0;
            while !over.load(Ordering::SeqCst) {
                let number = count.load(Ordering::SeqCst) + 1;
                let body = format!(r#"{{"to":"{to}","client_id":"{number:026}","body":"text {number}"}}"#);
                let until = Instant::now() + PATIENCE;
                loop {
                    assert!(Instant::now() < until, "post {number} is never answered");
                    node = (node + 1) % 3;
                    let address = addresses.lock().expect("no panic")[node];
                    let http = address.and_then(|address| Http::try_connect(address).ok());
                    let answer = http
                        .and_then(|mut http| http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).ok());
                    match answer {
                        Some(answer) if [200, 201].contains(&answer.status) => break,
                        Some(answer) if answer.status < 500 => panic!("{}", answer.text()),
                        _ => std::thread::sleep(LOOK_EVERY),
                    }
                }
                count.store(number, Ordering::SeqCst);
            }
        });
        Writer { answered, ended, thread }
    }

    /// Some posts are answered from now on.
    fn goes_on(&self) {
        let until = self.answered.load(Ordering::SeqCst) + POSTS;
        wait("posts", || self.answered.load(Ordering::SeqCst) >= until);
    }

    /// Returns how many were answered.
    fn end(self) -> usize {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().expect("each post was answered");
        self.answered.load(Ordering::SeqCst)
    }
}

fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < until, "{what}: it never comes");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Three machines, of which each runs one of the two builds.
struct Stage {
    machines: [Machine; 3],
    running: [Option<Natter>; 3],
    addresses: Addresses,
    old: PathBuf,
    new: PathBuf,
}

impl Stage {
    fn start(&mut self, at: usize) {
        let natter = self.machines[at].launch.start();
        self.addresses.lock().expect("no panic")[at] = Some(natter.address);
        self.running[at] = Some(natter);
    }

    fn stop(&mut self, at: usize) {
        self.addresses.lock().expect("no panic")[at] = None;
        self.running[at].take().expect("it runs").stop();
    }

    /// As an operator does it: stop, install, start.
    fn install(&mut self, at: usize, is_new: bool) {
        self.stop(at);
        self.machines[at].launch.binary = if is_new { self.new.clone() } else { self.old.clone() };
        self.start(at);
    }

    fn level(&self, at: usize) -> i64 {
        number(&status(&self.machines[at]).0, "level")
    }

    fn are_equal(&self) {
        let databases: Vec<PathBuf> =
            self.machines.iter().map(|machine| machine.data().join("data/natter.db")).collect();
        let positions = || databases.iter().map(|database| rows::position(database)).collect::<Vec<_>>();
        wait("equal positions", || {
            let before = positions();
            if before.iter().any(|position| *position != before[0]) {
                return false;
            }
            let equal = rows::are_equal(&databases);
            // The duty is renewed each five seconds.
            let stood_still = positions() == before;
            assert!(equal || !stood_still, "the rows of the nodes differ");
            stood_still
        });
    }
}

/// The texts that a node has, in order.
fn texts(address: SocketAddr, person: &Person, conversation: &str) -> Vec<String> {
    let (mut texts, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/api/v1/conversations/{conversation}/messages?limit=100&after={after}");
        let page = Http::connect(address).ask_as(person, "GET", &path, None).expect("a page");
        assert_eq!(page.status, 200, "{}", page.text());
        let before = texts.len();
        let value = page.json();
        let messages = value.get("data").and_then(|data| data.as_list()).unwrap_or_default();
        for message in messages {
            let body = message.get("body").and_then(|body| body.as_str()).expect("a text");
            texts.push(body.to_owned());
            after = message.get("n").and_then(|n| n.as_i64()).expect("a place").max(after);
        }
        if texts.len() == before {
            return texts;
        }
    }
}

#[test]
fn a_rolling_upgrade_and_the_way_back_lose_nothing() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let old = old_build();
    let mut machines = ["a", "b", "c"].map(|node| Machine::new(&servers, node));
    let new = machines[0].launch.binary.clone();
    machines.iter_mut().for_each(|machine| machine.launch.binary.clone_from(&old));
    let late = {
        let mut machine = Machine::new(&servers, "d");
        machine.launch.binary.clone_from(&old);
        machine
    };
    machines[0].good(&["cluster", "init"]);
    let addresses = Addresses::default();
    let mut stage =
        Stage { machines, running: [None, None, None], addresses: Arc::clone(&addresses), old, new };
    stage.start(0);
    let first = stage.running[0].as_ref().expect("it runs").address;
    let ann = Http::connect(first).sign_up("ann");
    let bob = Http::connect(first).sign_up("bob");
    for at in [1, 2] {
        let copy = stage.machines[0].copy_to(&stage.machines[at]);
        stage.machines[at].good(&["cluster", "join", &copy]);
        stage.start(at);
    }
    let writer = Writer::start(addresses, ann.clone(), bob.profile.clone());
    writer.goes_on();
    // A copy of before, for later.
    let copy = stage.machines[0].copy_to(&late);

    // One after another, and one of them back.
    for (at, is_new, holds_back) in
        [(2, true, r#"["a","b"]"#), (1, true, r#"["a"]"#), (2, false, r#"["a","c"]"#)]
    {
        stage.install(at, is_new);
        writer.goes_on();
        for machine in 0..3 {
            assert_eq!(stage.level(machine), OLD, "node {machine}");
        }
        // Its own level is in the log a moment after its start.
        let waits_for = format!(r#""level_waits_for":{holds_back}"#);
        wait("the status of the level", || status(&stage.machines[at]).0.contains(&waits_for));
        let (said, is_well) = status(&stage.machines[at]);
        assert!(said.contains(&waits_for) && !is_well, "{said}");
        assert!(said.contains("install on it the version of the others"), "{said}");
    }
    stage.install(2, true);
    writer.goes_on();
    wait("the status of the level", || status(&stage.machines[2]).0.contains(r#""level_waits_for":["a"]"#));
    stage.machines[2].refused(&["cluster", "remove", "a"], &["node a runs"]);
    stage.machines[2].refused_with(3, &["cluster", "remove", "x"], &["there is no such node"]);
    stage.install(0, true);
    wait("the level", || (0..3).all(|at| stage.level(at) == NEW));
    writer.goes_on();
    let (said, _) = status(&stage.machines[0]);
    assert!(said.contains(r#""level_waits_for":[]"#), "{said}");

    // The way back is over: it says so, and nothing is lost by trying.
    stage.stop(1);
    let launch = stage.machines[1].launch.clone();
    stage.machines[1].launch.binary.clone_from(&stage.old);
    stage.machines[1].refused(&["serve"], &["natter.db has schema version", "start the newer natter"]);
    stage.machines[1].launch = launch;
    stage.start(1);
    // A copy of before joins with the old build, and stops where the level was raised; the new one goes on from there.
    late.good(&["cluster", "join", &copy]);
    // It says so at that entry, or at a later one that it has read already.
    late.refused(&["serve"], &["of the log", "install the version that the other nodes have"]);
    let mut upgraded = late.launch.clone();
    upgraded.binary.clone_from(&stage.new);
    let fourth = upgraded.start();
    writer.goes_on();

    let answered = writer.end();
    let expected: Vec<String> = (1..=answered).map(|number| format!("text {number}")).collect();
    let list =
        Http::connect(fourth.address).ask_as(&ann, "GET", "/api/v1/conversations", None).expect("a list");
    let conversation = list.at("data.0.id");
    let nodes = stage.running.iter().flatten().map(|natter| natter.address).chain([fourth.address]);
    for address in nodes {
        wait("all posts", || texts(address, &ann, &conversation).len() >= answered);
        assert_eq!(texts(address, &ann, &conversation), expected, "none is lost, twice or out of order");
    }
    stage.are_equal();
    println!("{answered} posts were answered, by builds of level {OLD} and {NEW}");
}
