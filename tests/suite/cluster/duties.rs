//! What happens once in a cluster, and on which node.

use std::time::{Duration, UNIX_EPOCH};

use super::{post, socket};
use crate::support::cluster::{Cluster, name};
use crate::support::http::{Person, series};
use crate::support::{START_MS, limits, settings};
use natter::base::crypto::base64url;
use natter::limits::Limits;
use natter::model::job::Delivery;
use natter::model::metrics::LogProgress;
use natter::model::readiness::Readiness;
use natter::server::contract::Input;

/// Longer than the duty lasts after its holder has asked for it.
const TAKEN_OVER: Duration = Duration::from_secs(16);

/// The nodes that believe that they have the duty are those that send.
fn mails(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.len()).map(|at| cluster[at].mails.len()).collect()
}

fn metrics(cluster: &mut Cluster, at: usize) -> String {
    cluster[at].ask("GET", "/metrics", &[], None).text().to_owned()
}

#[test]
fn one_node_mails_whichever_was_asked() {
    let mut cluster = Cluster::new(3);
    for (at, name) in [(0, "ann"), (1, "bob"), (2, "eve")] {
        cluster[at].sign_up(name);
        cluster.settle();
    }
    cluster.pass(Duration::from_secs(120));
    assert_eq!(mails(&cluster), [3, 0, 0]);
    for at in 0..3 {
        assert_eq!(series(&metrics(&mut cluster, at), r#"natter_cluster_duty{node="node-0"}"#), 1);
    }
}

#[test]
fn another_node_takes_the_duty_of_a_dead_one_within_16_seconds() {
    let mut cluster = Cluster::new(3);
    cluster.pass(Duration::from_secs(7));
    cluster.dead.insert(0);
    cluster[2].sign_up("ann");
    cluster.settle();
    assert_eq!(mails(&cluster), [0, 0, 0]);
    cluster.pass(TAKEN_OVER);
    assert_eq!(mails(&cluster)[1..].iter().sum::<usize>(), 1, "{:?}", mails(&cluster));
    cluster.pass(Duration::from_secs(120));
    assert_eq!(mails(&cluster).iter().sum::<usize>(), 1);
}

/// By its own clock it would send what is due an hour too early or too late.
#[test]
fn a_node_whose_clock_is_off_has_no_duty_and_says_so() {
    let off = |clock_ahead_ms| {
        Input::Progressed(Box::new(LogProgress { clock_ahead_ms, ..LogProgress::default() }))
    };
    let ready = |cluster: &mut Cluster| cluster[0].ask("GET", "/readyz", &[], None).text().to_owned();
    let is_warned = |cluster: &mut Cluster| ready(cluster).contains("that of the log");
    let mut cluster = Cluster::new(3);
    cluster[0].input(off(2_000));
    cluster.pass(Duration::from_secs(7));
    cluster[0].sign_up("ann");
    cluster.settle();
    cluster.pass(Duration::from_secs(60));
    assert_eq!((mails(&cluster), is_warned(&mut cluster)), (vec![1, 0, 0], false), "two seconds are few");
    cluster[0].input(off(-3_600_000));
    cluster[0].sign_up("bob");
    cluster.settle();
    cluster.pass(TAKEN_OVER);
    cluster.pass(Duration::from_secs(60));
    assert_eq!((mails(&cluster)[0], mails(&cluster).iter().sum::<usize>()), (1, 2), "another node has it");
    let warned = ready(&mut cluster);
    assert!(warned.contains("3600 s behind that of the log"), "{warned}");
    // It asks again when the clock is right, and when nobody else does.
    cluster[0].input(off(0));
    assert!(!is_warned(&mut cluster));
    cluster.dead.extend([1, 2]);
    cluster.pass(TAKEN_OVER);
    cluster[0].sign_up("eve");
    cluster.settle();
    cluster.pass(Duration::from_secs(60));
    assert_eq!(mails(&cluster)[0], 2);
}

/// A process that was stopped does not know what happened meanwhile, and begins nothing before it does.
#[test]
fn a_node_that_was_stopped_sends_no_mail_again() {
    let mut cluster = Cluster::new(3);
    cluster[0].deliveries.push_back(Delivery::Failed);
    cluster[0].sign_up("ann");
    cluster.settle();
    // The mail is due again after 15 s: the first thing that the process would do when it goes on.
    cluster.pass(Duration::from_millis(14_900));
    cluster.dead.insert(0);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(mails(&cluster)[1..].iter().sum::<usize>(), 1);
    cluster.wake(0);
    cluster.pass(Duration::from_secs(120));
    assert_eq!(mails(&cluster).iter().sum::<usize>(), 1);
}

/// Who got the duty asks all stores to rename the holders of names that are reserved now.
#[test]
fn the_node_with_the_duty_releases_the_reserved_nick_names() {
    let mut cluster = Cluster::new(3);
    let asked = |cluster: &Cluster, at: usize| {
        cluster[at].trace.iter().filter(|asked| **asked == "ReleaseNickNames").count()
    };
    cluster.pass(Duration::from_secs(60));
    assert_eq!([0, 1, 2].map(|at| asked(&cluster, at)), [1, 0, 0]);
    cluster.dead.insert(0);
    cluster.pass(TAKEN_OVER + Duration::from_secs(60));
    assert_eq!(asked(&cluster, 1) + asked(&cluster, 2), 1);
}

#[test]
fn the_log_is_pruned_and_the_deleted_erased_by_one_node() {
    let settings = natter::model::settings::Settings {
        events_kept: Some(Duration::from_secs(60)),
        messages_kept: Some(Duration::from_secs(60)),
        ..settings(Limits { access_ttl: 86_400, ..limits() })
    };
    let mut cluster = Cluster::with(3, settings);
    cluster.pass(Duration::from_secs(150));
    for name in ["PruneLog", "EraseMessages", "FindOld", "FindDigests"] {
        let asked = |at: usize| cluster[at].trace.iter().filter(|asked| **asked == name).count();
        assert!(asked(0) > 0 && asked(1) + asked(2) == 0, "{name}");
    }
    // Each writes when its own sessions were last seen.
    let ann = cluster[1].sign_up("ann");
    cluster[1].ask_as(&ann, "GET", "/api/v1/user/me", None);
    cluster.pass(Duration::from_secs(70));
    assert!(cluster[1].trace.contains(&"RecordLastSeen") && !cluster[0].trace.contains(&"RecordLastSeen"));
}

#[test]
fn old_messages_are_erased_on_all_nodes() {
    let kept = Duration::from_secs(86_400);
    let settings = natter::model::settings::Settings {
        messages_kept: Some(kept),
        ..settings(Limits { access_ttl: 1 << 30, ..limits() })
    };
    let mut cluster = Cluster::with(3, settings);
    let (ann, bob) = (cluster[1].sign_up("ann"), cluster[2].sign_up("bob"));
    cluster.settle();
    let posted = post(&mut cluster, 2, &ann, &bob, 1);
    cluster.settle();
    let path = format!("/api/v1/messages/{}", posted.at("data.id"));
    cluster.pass(kept - Duration::from_secs(60));
    for at in 0..3 {
        assert_ne!(cluster[at].ask_as(&bob, "GET", &path, None).at("data.body"), "null", "{at}");
    }
    cluster.pass(Duration::from_secs(3_700));
    cluster.settle();
    for at in 0..3 {
        let read = cluster[at].ask_as(&bob, "GET", &path, None);
        assert_eq!((read.at("data.body"), read.at("data.n")), ("null".into(), "1".into()), "{at}");
    }
    // By the node on duty only.
    assert!(cluster[0].trace.contains(&"EraseOld"));
    assert!(!cluster[1].trace.contains(&"EraseOld") && !cluster[2].trace.contains(&"EraseOld"));
}

fn subscribe(cluster: &mut Cluster, at: usize, who: &Person) {
    let (point, auth) = (base64url(&[4; 65]), base64url(&[9; 16]));
    let body = format!(
        r#"{{"endpoint":"https://push.example/{at}","p256dh":"{point}","auth":"{auth}","level":"text"}}"#
    );
    let made = cluster[at].ask_as(who, "PUT", "/api/v1/push", Some(&body));
    assert_eq!(made.status, 200, "{}", made.text());
    cluster.settle();
}

fn pushes(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.len()).map(|at| cluster[at].pushes.len()).collect()
}

#[test]
fn one_node_pushes_what_no_device_of_any_node_shows() {
    let mut cluster = Cluster::new(3);
    let (ann, bob) = (cluster[1].sign_up("ann"), cluster[2].sign_up("bob"));
    cluster.settle();
    subscribe(&mut cluster, 1, &bob);
    let conversation = post(&mut cluster, 2, &ann, &bob, 1).at("data.conversation");
    cluster.settle();
    cluster.pass(Duration::from_secs(8));
    assert_eq!(pushes(&cluster), [1, 0, 0]);
    // A device on another node shows the conversation.
    let conn = socket(&mut cluster, 2, &bob);
    cluster[2].say(conn, &format!(r#"{{"op":"focus","conversation":"{conversation}"}}"#));
    cluster.pass(Duration::from_secs(1));
    post(&mut cluster, 1, &ann, &bob, 2);
    cluster.settle();
    cluster.pass(Duration::from_secs(8));
    assert_eq!(pushes(&cluster), [1, 0, 0]);
    cluster[2].say(conn, r#"{"op":"focus","conversation":null}"#);
    cluster.pass(Duration::from_secs(1));
    post(&mut cluster, 1, &ann, &bob, 3);
    cluster.settle();
    cluster.pass(Duration::from_secs(8));
    assert_eq!(pushes(&cluster), [2, 0, 0]);
    // The next holder goes on where this one has ended.
    cluster.dead.insert(0);
    post(&mut cluster, 2, &ann, &bob, 4);
    cluster.settle();
    cluster.pass(TAKEN_OVER + Duration::from_secs(8));
    assert_eq!(pushes(&cluster)[1..].iter().sum::<usize>(), 1, "{:?}", pushes(&cluster));
}

/// What waits to be pushed on a node that loses the duty is pushed by the next one only.
#[test]
fn a_node_that_loses_the_duty_pushes_nothing_more() {
    let mut cluster = Cluster::new(2);
    let (ann, bob) = (cluster[0].sign_up("ann"), cluster[0].sign_up("bob"));
    cluster.settle();
    subscribe(&mut cluster, 0, &bob);
    cluster.pass(Duration::from_secs(3));
    post(&mut cluster, 0, &ann, &bob, 1);
    cluster.settle();
    cluster.pass(Duration::from_secs(2));
    cluster.dead.insert(0);
    cluster.pass(TAKEN_OVER + Duration::from_secs(8));
    assert_eq!(pushes(&cluster), [0, 1]);
    cluster.wake(0);
    cluster.pass(Duration::from_secs(60));
    assert_eq!(pushes(&cluster), [0, 1]);
}

/// Uploads a file of five bytes.
fn upload(cluster: &mut Cluster, at: usize, who: &Person) -> crate::support::http::Response {
    let bearer = format!("Bearer {}", who.access);
    let fields = [
        ("Authorization", bearer.as_str()),
        ("X-Filename", "a.txt"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "5"),
    ];
    let request = crate::support::http::request("POST", "/api/v1/uploads", &fields, None);
    let conn = cluster[at].connect();
    cluster[at].send(conn, &[request, b"hello".to_vec()].concat());
    let mut bytes = cluster[at].take(conn);
    let made = crate::support::http::next_response(&mut bytes, false).expect("a response");
    assert_eq!(made.status, 201, "{}", made.text());
    made
}

/// A node looks again and again whether its files are on another one, too.
#[test]
fn a_node_looks_after_the_second_copies_of_its_files() {
    let mut cluster = Cluster::new(2);
    let ann = cluster[1].sign_up("ann");
    cluster.settle();
    upload(&mut cluster, 1, &ann);
    let (_, published) = cluster[1].files.all();
    let [path] = &published[..] else { panic!("one file: {published:?}") };
    let file = std::fs::File::options().write(true).open(path).expect("the file");
    file.set_modified(UNIX_EPOCH + Duration::from_millis(START_MS.0)).expect("its time");
    let looks = |cluster: &Cluster, at: usize| {
        cluster[at].trace.iter().filter(|asked| **asked == "keep_copies").count()
    };
    // No file is looked at in its first hour; then one of the 256 folders each 20 s.
    cluster.pass(Duration::from_secs(3_590));
    assert_eq!([looks(&cluster, 0), looks(&cluster, 1)], [0, 0]);
    cluster.pass(Duration::from_secs(256 * 21));
    assert_eq!([looks(&cluster, 0), looks(&cluster, 1)], [0, 1]);
}

#[test]
fn every_node_removes_the_files_and_one_forgets_the_rows_later() {
    let limits = Limits { access_ttl: 86_400, ..limits() };
    let mut cluster = Cluster::with(2, settings(limits));
    let ann = cluster[1].sign_up("ann");
    cluster.settle();
    let made = upload(&mut cluster, 1, &ann);
    let path = format!("/api/v1/uploads/{}", made.at("data.id"));
    assert_eq!(cluster[1].ask_as(&ann, "DELETE", &path, None).status, 204);
    cluster.settle();
    let count = |cluster: &Cluster, at: usize, name: &str| {
        cluster[at].trace.iter().filter(|asked| **asked == name).count()
    };
    cluster.pass(Duration::from_secs(60));
    for at in 0..2 {
        assert_eq!((count(&cluster, at, "remove_files"), count(&cluster, at, "ForgetFiles")), (1, 0));
    }
    cluster.pass(Duration::from_secs(3_600));
    assert_eq!((count(&cluster, 0, "ForgetFiles"), count(&cluster, 1, "ForgetFiles")), (1, 0));
    cluster.pass(Duration::from_secs(60));
    for at in 0..2 {
        assert_eq!(count(&cluster, at, "remove_files"), 1);
    }
    assert_eq!(count(&cluster, 0, "ForgetFiles"), 1);
}

#[test]
fn metrics_and_readiness_say_how_the_node_is() {
    let mut cluster = Cluster::new(3);
    let progress = LogProgress {
        position: 40,
        chain: [7; 32],
        head: 42,
        appended: 7,
        applied: 38,
        clock_ahead_ms: 0,
        level: 1,
    };
    cluster[1].input(Input::Progressed(Box::new(progress)));
    let text = metrics(&mut cluster, 1);
    for (series_of, value) in [
        (r#"natter_cluster_node{node="node-1"}"#, 1),
        ("natter_cluster_nodes", 3),
        ("natter_cluster_log_position", 40),
        ("natter_cluster_log_lag", 2),
        ("natter_cluster_entries_appended_total", 7),
        ("natter_cluster_entries_applied_total", 38),
    ] {
        assert_eq!(series(&text, series_of), value, "{series_of}");
    }
    assert_eq!(name(1).as_str(), "node-1");
    cluster[1].input(Input::Storage(Readiness::unready("the log is not reached")));
    let ready = cluster[1].ask("GET", "/readyz", &[], None);
    assert_eq!(
        (ready.status, ready.at("detail"), ready.field("Retry-After")),
        (503, "the log is not reached".into(), Some("1"))
    );
    cluster[1].input(Input::Storage(Readiness::default()));
    assert_eq!(cluster[1].ask("GET", "/readyz", &[], None).status, 200);
    // A server alone has none of them.
    let alone = crate::support::World::new().ask("GET", "/metrics", &[], None);
    assert!(!alone.text().contains("natter_cluster"));
}
