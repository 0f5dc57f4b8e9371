//! Presence and typing across nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{events, post, socket};
use crate::support::cluster::{Cluster, name};
use crate::support::http::Person;
use crate::support::{limits, settings};
use natter::limits::Limits;
use natter::model::id::{ConversationId, ProfileId};
use natter::model::node::NodeName;
use natter::model::whisper::{About, Here, WHISPER_IDS_MAX, Whisper};
use natter::server::contract::{ConnId, Input};

struct Three {
    cluster: Cluster,
    ann: Person,
    bob: Person,
    conversation: String,
}

/// Two members with a conversation, on a cluster of three.
fn three() -> Three {
    let mut cluster = Cluster::new(3);
    let (ann, bob) = (cluster[0].sign_up("ann"), cluster[0].sign_up("bob"));
    let conversation = post(&mut cluster, 0, &ann, &bob, 1).at("data.conversation");
    cluster.settle();
    Three { cluster, ann, bob, conversation }
}

fn online(cluster: &mut Cluster, at: usize, conn: ConnId) -> Vec<bool> {
    let seen = events(cluster, at, conn, "presence");
    seen.iter().map(|text| text.contains("\"online\":true")).collect()
}

#[test]
fn typing_reaches_the_streams_of_other_nodes() {
    let Three { mut cluster, ann, bob, conversation } = three();
    let (a, b) = (socket(&mut cluster, 0, &ann), socket(&mut cluster, 1, &bob));
    let eve = cluster[2].sign_up("eve");
    cluster.settle();
    let e = socket(&mut cluster, 1, &eve);
    // Whose device came just now is known to the other node within a second.
    cluster.pass(Duration::from_millis(500));
    let say =
        |active| format!(r#"{{"id":1,"op":"typing","conversation":"{conversation}","active":{active}}}"#);
    cluster[0].say(a, &say(true));
    cluster.settle();
    let expect = |active| {
        format!(
            r#"{{"event":"typing","data":{{"conversation":"{conversation}","profile":"{}","active":{active}}}}}"#,
            ann.profile
        )
    };
    assert_eq!(events(&mut cluster, 1, b, "typing"), [expect(true)]);
    cluster[0].say(a, &say(false));
    cluster.settle();
    assert_eq!(events(&mut cluster, 1, b, "typing"), [expect(false)]);
    cluster[0].say(a, &say(true));
    cluster[0].reset(a);
    cluster.settle();
    assert_eq!(events(&mut cluster, 1, b, "typing"), [expect(true), expect(false)]);
    assert!(events(&mut cluster, 1, e, "typing").is_empty());
}

#[test]
fn one_person_on_two_nodes_is_online_once() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 2, &bob);
    let first = socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 2, b), [true]);
    let second = socket(&mut cluster, 1, &ann);
    cluster.pass(Duration::from_secs(4));
    cluster[0].reset(first);
    cluster.pass(Duration::from_secs(12));
    assert!(online(&mut cluster, 2, b).is_empty(), "still there, on another node");
    // A member who connects gets the presence of its peers on all nodes.
    let other = cluster[0].open_socket(&bob, "/api/v1/ws");
    assert_eq!(online(&mut cluster, 0, other), [true]);
    cluster[1].reset(second);
    cluster.pass(Duration::from_secs(16));
    for (at, conn) in [(2, b), (0, other)] {
        let texts = events(&mut cluster, at, conn, "presence");
        assert!(texts.len() == 1 && texts[0].contains("\"online\":false"), "{texts:?}");
        assert!(!texts[0].contains("\"last_seen_at\":null"), "{texts:?}");
    }
}

#[test]
fn a_quick_reconnect_on_another_node_is_no_change() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 2, &bob);
    let first = socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 2, b), [true]);
    cluster[0].reset(first);
    cluster.pass(Duration::from_secs(1));
    socket(&mut cluster, 1, &ann);
    cluster.pass(Duration::from_secs(20));
    assert!(online(&mut cluster, 2, b).is_empty());
}

#[test]
fn the_people_of_a_dead_node_go_offline() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 1, &bob);
    socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 1, b), [true]);
    cluster.dead.insert(0);
    cluster.pass(Duration::from_secs(19));
    assert!(online(&mut cluster, 1, b).is_empty(), "it may be slow");
    cluster.pass(Duration::from_secs(26));
    assert_eq!(online(&mut cluster, 1, b), [false]);
}

/// Who leaves it has time to come back on another node.
#[test]
fn the_people_of_a_node_that_stops_are_online_until_they_are_not_back() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 1, &bob);
    let mut a = socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 1, b), [true]);
    for at in [0, 2] {
        cluster[at].input(Input::Drain);
        cluster[at].reset(a);
        cluster.pass(Duration::from_secs(8));
        cluster.dead.insert(at);
        cluster.pass(Duration::from_secs(2));
        if at == 0 {
            a = socket(&mut cluster, 2, &ann);
        }
        cluster.pass(Duration::from_secs(10));
        assert!(online(&mut cluster, 1, b).is_empty());
    }
    cluster.pass(Duration::from_secs(30));
    assert_eq!(online(&mut cluster, 1, b), [false]);
}

/// The node on duty stores who went offline. If it has just started, it does not know who was online.
#[test]
fn who_left_goes_offline_also_if_the_node_on_duty_knows_nothing() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 2, &bob);
    let a = socket(&mut cluster, 1, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 2, b), [true]);
    cluster[1].reset(a);
    cluster.pass(Duration::from_secs(1));
    cluster.restart(0);
    cluster.pass(Duration::from_secs(8));
    assert!(online(&mut cluster, 2, b).is_empty());
    cluster.pass(Duration::from_secs(8));
    assert_eq!(online(&mut cluster, 2, b), [false]);
}

/// The node that stores it has not heard of a device that this node has.
#[test]
fn whoever_has_a_device_here_is_not_offline_here() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 1, &bob);
    let a = socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 1, b), [true]);
    cluster.is_deaf = true;
    socket(&mut cluster, 1, &ann);
    cluster[0].reset(a);
    cluster[0].trace.clear();
    cluster.pass(Duration::from_secs(6));
    assert!(cluster[0].trace.contains(&"MarkOffline"));
    cluster.is_deaf = false;
    cluster.pass(Duration::from_secs(30));
    assert!(online(&mut cluster, 1, b).is_empty());
}

/// In calm one node writes that.
#[test]
fn one_node_stores_who_went_offline() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 2, &bob);
    let a = socket(&mut cluster, 1, &ann);
    cluster.pass(Duration::from_secs(4));
    cluster[1].reset(a);
    cluster.pass(Duration::from_secs(4));
    assert_eq!(online(&mut cluster, 2, b), [true, false]);
    cluster.pass(Duration::from_secs(30));
    let marked = |at: usize| cluster[at].trace.iter().filter(|asked| **asked == "MarkOffline").count();
    assert_eq!([marked(0), marked(1), marked(2)], [1, 0, 0]);
}

/// A node that hears of thousands at once asks storage about a few at a time.
#[test]
fn what_another_node_says_asks_storage_little_by_little() {
    const PEOPLE: usize = 500;
    let mut cluster = Cluster::new(2);
    let online: Vec<ProfileId> = (1..=PEOPLE).map(|at| ProfileId::from_u128(at as u128)).collect();
    let here = Here { about: About::These(online.clone()), online, shown: Vec::new() };
    cluster[1].holds = true;
    let bytes = Whisper::Here(here).to_bytes();
    cluster[1].input(Input::Whispered { node: name(0), bytes });
    cluster[1].trace.clear();
    cluster[1].pass(Duration::from_millis(3_100));
    assert!((1..=64).contains(&cluster[1].reads()), "{}", cluster[1].reads());
    cluster[1].holds = false;
    cluster[1].perform();
    cluster[1].pass(Duration::from_millis(100));
    let asked = cluster[1].trace.iter().filter(|asked| **asked == "FindPeers").count();
    assert_eq!(asked, PEOPLE);
}

#[test]
fn what_lost_whispers_have_left_wrong_is_right_again_soon() {
    let Three { mut cluster, ann, bob, .. } = three();
    let b = socket(&mut cluster, 1, &bob);
    cluster.pass(Duration::from_secs(1));
    cluster.is_deaf = true;
    let a = socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(5));
    assert!(online(&mut cluster, 1, b).is_empty());
    cluster.is_deaf = false;
    cluster.pass(Duration::from_secs(14));
    assert_eq!(online(&mut cluster, 1, b), [true]);
    cluster.is_deaf = true;
    cluster[0].reset(a);
    cluster.pass(Duration::from_secs(2));
    cluster.is_deaf = false;
    cluster.pass(Duration::from_secs(26));
    assert_eq!(online(&mut cluster, 1, b), [false]);
}

/// It asks, so that its first clients do not wait for the next round.
#[test]
fn a_node_that_has_just_started_knows_who_is_online_at_once() {
    let Three { mut cluster, ann, bob, .. } = three();
    socket(&mut cluster, 0, &ann);
    cluster.pass(Duration::from_secs(5));
    cluster.restart(2);
    cluster.pass(Duration::from_secs(4));
    let b = cluster[2].open_socket(&bob, "/api/v1/ws");
    assert_eq!(online(&mut cluster, 2, b), [true]);
}

/// More than one whisper takes: each is told of, in the time of one round.
#[test]
fn a_round_has_as_many_spans_as_it_takes() {
    const PEOPLE: usize = 40;
    const SHOWN: usize = 32;
    let limits = Limits { connections_per_address: 10_000, ..limits() };
    let mut cluster = Cluster::with(2, settings(limits));
    let people: Vec<Person> = (0..PEOPLE).map(|at| cluster[0].sign_up(&format!("member{at}"))).collect();
    let mut shown = BTreeSet::new();
    for (at, who) in people.iter().enumerate() {
        for number in 0..SHOWN {
            let conn = socket(&mut cluster, 0, who);
            let conversation = ConversationId::from_u128((at * SHOWN + number + 1) as u128);
            cluster[0].say(conn, &format!(r#"{{"op":"focus","conversation":"{conversation}"}}"#));
            shown.insert((ProfileId::parse(&who.profile).expect("an id"), conversation));
        }
    }
    cluster.pass(Duration::from_secs(1));
    let (mut told, mut spans) = (BTreeSet::new(), Vec::new());
    for _ in 0..200 {
        cluster[0].pass(Duration::from_millis(50));
        for bytes in std::mem::take(&mut cluster[0].whispers) {
            let Some(Whisper::Here(here)) = Whisper::from_bytes(&bytes) else { continue };
            assert!(here.online.len() + here.shown.len() <= WHISPER_IDS_MAX);
            told.extend(here.shown);
            if let About::Span(span) = here.about {
                spans.push(span);
            }
        }
    }
    assert!(told == shown, "{} of {}", told.len(), shown.len());
    // Each begins where the one before it has ended.
    assert!(spans.len() >= 2, "{spans:?}");
    for pair in spans.windows(2) {
        let [(_, through), (from, _)] = pair else { panic!("two") };
        assert_eq!(from.to_u128(), through.to_u128().wrapping_add(1));
    }
}

#[test]
fn nonsense_does_no_harm() {
    use crate::support::seed::Seeded;
    use natter::base::crypto::Entropy;
    let Three { mut cluster, ann, .. } = three();
    socket(&mut cluster, 0, &ann);
    let mut random = Seeded(9);
    for round in 0..20_000_u64 {
        let mut bytes = vec![0; random.below(80) as usize];
        random.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first %= 7;
        }
        let node = NodeName::parse(&format!("node-{}", round % 60)).expect("a name");
        cluster[0].input(Input::Whispered { node, bytes });
    }
    cluster[0].whispers.clear();
    assert_eq!(cluster[0].ask_as(&ann, "GET", "/api/v1/user/me", None).status, 200);
}
