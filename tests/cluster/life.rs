//! The commands of a cluster on real processes: begin, join, look, rebuild, leave; exit codes and sentences.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use natter::base::json::{self, Value};

use super::servers::{Servers, Wish};
use super::support::TestDir;
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::{Launch, Natter};

/// A machine: a folder, and how natter is run in it.
pub struct Machine {
    pub launch: Launch,
    dir: TestDir,
}

impl Machine {
    pub fn new(servers: &Servers, node: &str) -> Machine {
        let dir = TestDir::new();
        let urls: Vec<String> =
            (0..3).map(|index| format!("nats://127.0.0.1:{}", servers.port(index))).collect();
        let files =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
        let launch = Launch::new(dir.path()).with(&[
            ("CLUSTER_NODE", node),
            ("CLUSTER_SERVERS", &urls.join(",")),
            ("CLUSTER_LISTEN", &files.to_string()),
            ("CLUSTER_USER", "app"),
            ("CLUSTER_PASSWORD", "apppw"),
            ("CLUSTER_SYSTEM_USER", "sys"),
            ("CLUSTER_SYSTEM_PASSWORD", "syspw"),
        ]);
        Machine { launch, dir }
    }

    /// The same machine without a cluster.
    fn alone(&self) -> Launch {
        let mut launch = self.launch.clone();
        launch.env.retain(|name, _| !name.starts_with("CLUSTER_"));
        launch
    }

    #[track_caller]
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.launch.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    /// The command ends with 1 and says this.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], says: &[&str]) {
        self.refused_with(1, arguments, says);
    }

    /// The command ends with this status and says this.
    #[track_caller]
    pub fn refused_with(&self, status: i32, arguments: &[&str], says: &[&str]) {
        let output = self.launch.run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output));
        for part in says {
            assert!(text(&output).contains(part), "{arguments:?} does not say {part:?}: {}", text(&output));
        }
    }

    pub fn data(&self) -> &Path {
        self.dir.path()
    }

    pub fn copy_to(&self, other: &Machine) -> String {
        let file = other.data().join("copy.tar");
        if file.exists() {
            fs::remove_file(&file).expect("removed");
        }
        let file = file.to_str().expect("a path").to_owned();
        self.good(&["backup", &file]);
        file
    }
}

pub fn text(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

fn post(natter: &Natter, person: &Person, to: &str, number: u32) {
    let body = format!(r#"{{"to":"{to}","client_id":"{:026}","body":"text {number}"}}"#, number);
    let answer = Http::connect(natter.address)
        .ask_as(person, "POST", "/api/v1/messages", Some(&body))
        .expect("an answer");
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

/// The cursor of now.
fn cursor(natter: &Natter, person: &Person) -> String {
    let answer = Http::connect(natter.address)
        .ask_as(person, "GET", "/api/v1/events?cursor=now", None)
        .expect("an answer");
    answer.at("cursor")
}

/// The events after a cursor: their texts, or `None` if the client must load everything again.
fn after(natter: &Natter, person: &Person, cursor: &str) -> Option<String> {
    let answer = Http::connect(natter.address)
        .ask_as(person, "GET", &format!("/api/v1/events?cursor={cursor}"), None)
        .expect("an answer");
    assert!([200, 410].contains(&answer.status), "{}", answer.text());
    (answer.status == 200).then(|| answer.text().to_owned())
}

fn epoch(cursor: &str) -> &str {
    cursor.split([':', '-']).next().expect("an epoch")
}

/// What `status --json` says, and whether it ended with 0.
pub fn status(machine: &Machine) -> (String, bool) {
    let output = machine.launch.run(&["cluster", "status", "--json"]);
    assert!(json::parse(&output.stdout).is_ok(), "{}", text(&output));
    (String::from_utf8(output.stdout.clone()).expect("UTF-8"), output.status.success())
}

pub fn number(status: &str, name: &str) -> i64 {
    let value = json::parse(status.as_bytes()).expect("JSON");
    value.get(name).and_then(Value::as_i64).unwrap_or_else(|| panic!("{name} in {status}"))
}

#[test]
fn a_database_becomes_a_cluster_and_a_database_again() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let first = Machine::new(&servers, "a");
    let second = Machine::new(&servers, "b");
    // A natter alone, with people and a message.
    let natter = first.alone().start();
    let ann = Http::connect(natter.address).sign_up("ann");
    let bob = Http::connect(natter.address).sign_up("bob");
    post(&natter, &ann, &bob.profile, 1);
    let before = cursor(&natter, &ann);
    first.refused(&["cluster", "init"], &["stop natter there first"]);
    natter.stop();
    first.refused(&["cluster", "status"], &["the log does not exist", "natter cluster init"]);
    first.refused(&["cluster", "leave"], &["it is in no cluster"]);

    // It becomes the first node; its clients continue.
    let said = first.good(&["cluster", "init"]);
    assert!(said.contains("goes on in it") && said.contains("natter cluster join FILE"), "{said}");
    first.refused(&["cluster", "init"], &["already"]);
    second.refused(&["serve"], &["ACCESS_SECRET", "natter cluster join FILE"]);
    let a = first.launch.start();
    post(&a, &ann, &bob.profile, 2);
    let events = after(&a, &ann, &before).expect("no reset");
    assert!(events.contains("text 2") && !events.contains("text 1"), "{events}");

    // A second node begins with a copy, and catches up.
    let copy = first.copy_to(&second);
    post(&a, &ann, &bob.profile, 3);
    let same = Machine { launch: second.launch.clone().with(&[("CLUSTER_NODE", "a")]), dir: TestDir::new() };
    same.refused(&["cluster", "join", &copy], &["a natter runs under the name a already"]);
    let said = second.good(&["cluster", "join", &copy]);
    assert!(said.contains("node b of cluster natter"), "{said}");
    second.refused(&["cluster", "join", &copy], &["is not empty"]);
    let b = second.launch.start();
    let events = after(&b, &ann, &before).expect("no reset");
    assert!(events.contains("text 2") && events.contains("text 3"), "{events}");

    // All is well, and both run.
    let (said, is_well) = status(&first);
    assert!(is_well && said.contains("\"wrong\":[]"), "{said}");
    assert!(said.contains("\"node\":\"b\"") && said.contains("\"leader\":true"), "{said}");
    first.refused(&["cluster", "leave"], &["stop natter there first"]);
    let at = cursor(&b, &ann);
    b.stop();
    second.refused(&["cluster", "status"], &["natter does not run here", "start it"]);
    second.refused(&["cluster", "leave"], &["natter runs on a: stop it there first", "--new-epoch"]);
    a.stop();
    // Both have written since the other one ended.
    let (one, two) = (number(&status(&first).0, "position"), number(&status(&second).0, "position"));
    assert!(one > two, "{one} {two}");
    second.refused(&["cluster", "leave"], &["start natter here once more"]);

    // The node that has all goes on alone, and its clients continue; the other one may not go on.
    let said = first.good(&["cluster", "leave"]);
    assert!(said.contains("clients continue where they were"), "{said}");
    second.refused(&["serve"], &["this cluster has ended", "node a went on alone"]);
    let alone = first.alone().start();
    post(&alone, &ann, &bob.profile, 4);
    let events = after(&alone, &ann, &at).expect("no reset");
    assert!(events.contains("text 4"), "{events}");
    let now = cursor(&alone, &ann);
    assert_eq!(epoch(&now), epoch(&before));

    // The other one leaves with another epoch: its clients load everything again.
    second.good(&["cluster", "leave", "--new-epoch"]);
    let other = second.alone().start();
    // An access token of another epoch is refused.
    let ann = Http::connect(other.address).sign_in("ann");
    assert_eq!(after(&other, &ann, &at), None);
    assert_ne!(epoch(&cursor(&other, &ann)), epoch(&now));
}

/// A statement that fails in the database of a node, as a fault of natter would.
fn plant(machine: &Machine, sql: &str) {
    let database = machine.data().join("data/natter.db");
    let conn = rusqlite::Connection::open(database).expect("a database that no natter has open");
    conn.execute_batch(sql).expect("planted");
}

/// Both stop at a post that neither can apply, and that nobody answers as done. Returns the entry.
fn stop_both(machines: [&Machine; 2], people: [&Person; 2], number: u32) -> String {
    let trigger = format!(
        "CREATE TRIGGER planted BEFORE INSERT ON messages WHEN NEW.body = 'text {number}'
         BEGIN SELECT RAISE(ABORT, 'planted'); END"
    );
    machines.iter().for_each(|machine| plant(machine, &trigger));
    let mut running = machines.map(|machine| machine.launch.start());
    let [ann, bob] = people;
    post(&running[1], ann, &bob.profile, number + 100);
    let body = format!(r#"{{"to":"{}","client_id":"{number:026}","body":"text {number}"}}"#, bob.profile);
    let answer = Http::connect(running[0].address).ask_as(ann, "POST", "/api/v1/messages", Some(&body));
    assert!(!answer.is_ok_and(|answer| answer.status < 500));
    for natter in &mut running {
        assert!(natter.wait_for_line("cannot be applied").contains("natter cluster skip "));
        assert!(!natter.wait().success());
    }
    let [one, two] = machines.map(|machine| self::number(&status(machine).0, "position"));
    assert_eq!(one, two, "both have stopped at the same entry");
    (one + 1).to_string()
}

#[test]
fn an_entry_that_cannot_be_applied_is_skipped_by_all_or_stops_them() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let [first, second, third] = ["a", "b", "c"].map(|node| Machine::new(&servers, node));
    first.good(&["cluster", "init"]);
    let a = first.launch.start();
    let ann = Http::connect(a.address).sign_up("ann");
    let bob = Http::connect(a.address).sign_up("bob");
    second.good(&["cluster", "join", &first.copy_to(&second)]);
    a.stop();

    // Where it can be applied after all, it is. Who is behind such a node does not skip it.
    let entry = stop_both([&first, &second], [&ann, &bob], 666);
    plant(&first, "DROP TRIGGER planted");
    let said = first.good(&["cluster", "skip", &entry]);
    assert!(said.contains("this natter can apply it, and has done so"), "{said}");
    let a = first.launch.start();
    second.refused(&["cluster", "skip", &entry, "--confirm"], &["node a runs", "it has applied it"]);
    third.good(&["cluster", "join", &first.copy_to(&third)]);
    a.stop();
    plant(&second, "DROP TRIGGER planted");

    let entry = stop_both([&first, &second], [&ann, &bob], 667);
    let next: i64 = entry.parse().expect("a number");
    first.refused(&["cluster", "skip", &(next + 1).to_string()], &["only the next one"]);
    // What it is, and nothing of what a person has written.
    let says = ["was written by node a at ", "its writes: 1 PostMessage", "--confirm", "nothing was changed"];
    first.refused(&["cluster", "skip", &entry], &says);
    let said = text(&first.launch.run(&["cluster", "skip", &entry]));
    assert!(!said.contains("text 667"), "{said}");
    first.good(&["cluster", "skip", &entry, "--confirm"]);
    plant(&first, "DROP TRIGGER planted");
    let mut a = first.launch.start();
    post(&a, &ann, &bob.profile, 2);
    first.refused(&["cluster", "skip", &entry, "--confirm"], &["stop natter there first"]);
    // The other one still stops there, until it skips it too.
    second.refused(&["serve"], &["cannot be applied"]);
    let said = second.good(&["cluster", "skip", &entry, "--confirm"]);
    assert!(said.contains("has skipped it already"), "{said}");
    let mut b = second.launch.start();
    post(&b, &ann, &bob.profile, 3);
    let (said, is_well) = status(&first);
    assert!(is_well && said.contains(&format!("\"skipped\":{entry}")), "{said}");

    // A node that has applied it stops before anybody sees it, and the others go on.
    let says = ["node a has skipped entry ", "which this node has applied", "natter cluster join FILE"];
    third.refused(&["serve"], &says);
    third.refused(&["serve"], &says);
    assert!(a.is_running() && b.is_running());
    post(&a, &ann, &bob.profile, 4);
}

/// The whole natter over TLS, and the servers asked at their monitoring ports; the other node by the system account.
#[cfg(feature = "tls")]
#[test]
fn a_node_reaches_its_log_over_tls() {
    let Some(servers) = Servers::start(Wish { tls: true, ..Wish::default() }) else { return };
    let urls: Vec<String> = (0..3).map(|index| format!("tls://127.0.0.1:{}", servers.port(index))).collect();
    let urls = urls.join(",");
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/authority.pem");
    let secure = |node: &str| {
        let mut machine = Machine::new(&servers, node);
        machine.launch = machine.launch.with(&[("CLUSTER_SERVERS", &urls), ("TLS_CA_FILE", authority)]);
        machine
    };
    let (mut first, second) = (secure("a"), secure("b"));
    let monitors: Vec<String> = (0..3).map(|index| servers.monitor(index)).collect();
    first.launch.env.retain(|name, _| !name.starts_with("CLUSTER_SYSTEM_"));
    first.launch = first.launch.with(&[("CLUSTER_MONITORS", &monitors.join(","))]);
    let mut stranger = Machine::new(&servers, "c");
    stranger.launch = stranger.launch.with(&[("CLUSTER_SERVERS", &urls)]);
    stranger.refused(&["cluster", "status"], &["the log cannot be used", "TLS: ", "certificate"]);
    // What no time repairs ends at once.
    let begun = Instant::now();
    stranger.refused(&["cluster", "init"], &["the log can't be made", "TLS: ", "TLS_CA_FILE"]);
    let mut forgetful = secure("d");
    forgetful.launch = forgetful.launch.with(&[("CLUSTER_PASSWORD", "another-password")]);
    forgetful.refused(&["cluster", "init"], &["the log can't be made", "Authorization"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    first.good(&["cluster", "init"]);
    let a = first.launch.start();
    let ann = Http::connect(a.address).sign_up("ann");
    let bob = Http::connect(a.address).sign_up("bob");
    second.good(&["cluster", "join", &first.copy_to(&second)]);
    let b = second.launch.start();
    post(&a, &ann, &bob.profile, 1);
    post(&b, &ann, &bob.profile, 2);
    let (said, is_well) = status(&first);
    assert!(is_well && said.contains("\"syncs\":true") && !said.contains("\"syncs\":false"), "{said}");
}

#[test]
fn a_log_that_is_lost_is_rebuilt_from_the_furthest_node() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let (first, second) = (Machine::new(&servers, "a"), Machine::new(&servers, "b"));
    first.good(&["cluster", "init"]);
    let a = first.launch.start();
    let ann = Http::connect(a.address).sign_up("ann");
    let bob = Http::connect(a.address).sign_up("bob");
    let copy = first.copy_to(&second);
    second.good(&["cluster", "join", &copy]);
    let b = second.launch.start();
    b.stop();
    post(&a, &ann, &bob.profile, 1);
    let before = cursor(&a, &ann);
    first.refused(&["cluster", "rebuild"], &["stop natter there first"]);
    a.stop();
    // While the log is there, it is not deleted unasked.
    first.refused(&["cluster", "rebuild"], &["--seen b=ENTRY", "--new-epoch"]);
    let at = number(&status(&second).0, "position");
    let seen = format!("b={at}");
    first.refused(&["cluster", "rebuild", "--seen", &seen], &["start natter", "--replace"]);
    second.refused(&["cluster", "rebuild", "--seen", "a=99999"], &["rebuild from that node"]);
    // It is lost.
    let deleted = servers.request(0, "$JS.API.STREAM.DELETE.NATTER_natter", "");
    assert!(deleted.contains("\"success\":true"), "{deleted}");
    let copy_is_old = Machine::new(&servers, "c");
    copy_is_old.refused(&["cluster", "join", &copy], &["the log can't be reached", "does not exist"]);
    let said = first.good(&["cluster", "rebuild", "--seen", &seen]);
    assert!(said.contains("the epoch stays"), "{said}");
    second.refused(&["serve"], &["the log is", "natter cluster join FILE"]);
    copy_is_old.refused(&["cluster", "join", &copy], &["natter cluster join FILE"]);
    let a = first.launch.start();
    post(&a, &ann, &bob.profile, 2);
    let events = after(&a, &ann, &before).expect("no reset");
    assert!(events.contains("text 2"), "{events}");
    // The other node begins anew, with what it has missed.
    fs::remove_dir_all(second.data().join("data")).expect("removed");
    let copy = first.copy_to(&second);
    second.good(&["cluster", "join", &copy]);
    let b = second.launch.start();
    assert!(after(&b, &ann, &before).expect("no reset").contains("text 2"));
    b.stop();
    a.stop();
    // With a node that is lost nobody knows who was furthest.
    let said = first.good(&["cluster", "rebuild", "--replace", "--new-epoch"]);
    assert!(said.contains("the epoch is another one"), "{said}");
    let a = first.launch.start();
    let ann = Http::connect(a.address).sign_in("ann");
    assert_eq!(after(&a, &ann, &before), None);
}

#[test]
fn another_value_of_a_setting_is_named() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let (first, second) = (Machine::new(&servers, "a"), Machine::new(&servers, "b"));
    first.good(&["cluster", "init"]);
    let a = first.launch.start();
    second.good(&["cluster", "join", &first.copy_to(&second)]);
    let b = second.launch.clone().with(&[("MESSAGE_MAX", "4001"), ("HEARTBEAT", "30")]).start();
    let (said, is_well) = status(&first);
    assert!(!is_well && said.contains("node b has another value of MESSAGE_MAX than"), "{said}");
    for natter in [&a, &b] {
        let ready = Http::connect(natter.address).ask("GET", "/readyz", &[], None).expect("an answer");
        assert_eq!(ready.status, 200, "it is a warning");
        assert!(ready.text().contains("another value of MESSAGE_MAX"), "{}", ready.text());
    }
}
