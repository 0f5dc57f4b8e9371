//! Appends and deliveries through every kind of fault of the servers.

use std::time::{Duration, Instant};

use super::nodes::{Node, options, until};
use super::servers::{Servers, Wish};

/// For a start or an election.
const LONG: Duration = Duration::from_secs(25);

fn three(servers: &Servers) -> Vec<Node> {
    (0..3u8).map(|name| Node::start(options(servers, name.into(), &format!("n{name}")), name, 0)).collect()
}

fn are_up(nodes: &mut [Node]) -> bool {
    nodes.iter().all(|node| node.down.is_none())
}

/// Each node appends up to `upto`, and all apply all of it, in one order, once.
#[track_caller]
fn append_all(what: &str, nodes: &mut [Node], upto: u64) {
    let count = upto as usize * nodes.len();
    until(what, LONG, nodes, |nodes| {
        nodes.iter_mut().for_each(|node| node.append(upto));
        nodes.iter().all(|node| node.applied.len() == count)
    });
    check(nodes);
}

/// Those that have read equally far have read the same.
#[track_caller]
fn check(nodes: &mut [Node]) {
    let most = nodes.iter().map(|node| node.position).max().expect("a node");
    until("all have read all", LONG, nodes, |nodes| nodes.iter().all(|node| node.position >= most));
    for node in &*nodes {
        let shorter = node.applied.len().min(nodes[0].applied.len());
        assert_eq!(node.applied[..shorter], nodes[0].applied[..shorter]);
        assert!(node.position != nodes[0].position || node.chain == nodes[0].chain);
        assert_eq!(node.broken, None);
    }
}

/// Appends without an end until `done`.
#[track_caller]
fn append_until(what: &str, nodes: &mut [Node], mut done: impl FnMut(&[Node]) -> bool) {
    until(what, LONG, nodes, |nodes| {
        nodes.iter_mut().for_each(|node| node.append(u64::MAX));
        done(nodes)
    });
}

fn applied(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.applied.len()).min().unwrap_or(0)
}

/// Appends until every node has applied this many more.
#[track_caller]
fn append_more(what: &str, nodes: &mut [Node], more: usize) {
    let own: Vec<u64> = nodes.iter().map(Node::done).collect();
    let before = applied(nodes);
    append_until(what, nodes, |nodes| {
        applied(nodes) >= before + more && nodes.iter().zip(&own).all(|(node, own)| node.done() > *own)
    });
}

#[test]
fn what_is_appended_is_delivered_to_all_through_kills_and_pauses() {
    let Some(mut servers) = Servers::start(Wish::default()) else { return };
    let mut nodes = three(&servers);
    until("all are up", LONG, &mut nodes, are_up);
    append_all("all are applied", &mut nodes, 300);
    // Each node is connected to another server. Whether the leader of all of JetStream is among the two is left to chance.
    let mut asked = 0;
    for kills_leader in [true, false] {
        let leader = servers.leader(asked);
        let index = if kills_leader { leader } else { (leader + 1) % 3 };
        asked = (0..3).find(|&other| other != index && other != asked).expect("a third");
        servers.kill(index);
        let at = Instant::now();
        append_more(if kills_leader { "without the leader" } else { "without a follower" }, &mut nodes, 100);
        println!("killed, the leader: {kills_leader}; all append and apply again after {:?}", at.elapsed());
        servers.revive(index);
        until("the server is back", LONG, &mut nodes, |nodes| {
            nodes.iter_mut().for_each(|node| node.append(u64::MAX));
            servers.is_whole(asked)
        });
    }
    let leader = servers.leader(asked);
    servers.pause(leader);
    let at = Instant::now();
    append_until("a pause of five seconds", &mut nodes, |_| at.elapsed() > Duration::from_secs(5));
    servers.go_on(leader);
    append_more("after the pause", &mut nodes, 100);
    println!("the leader paused: all append and apply again after {:?}", at.elapsed());
    let most = nodes.iter().map(|node| node.done() + 4).max().expect("a node");
    append_all("the rest", &mut nodes, most);
    let ignored: Vec<usize> = nodes.iter().map(|node| node.ignored).collect();
    let silences: Vec<Duration> = nodes.iter().map(|node| node.silence).collect();
    println!("{} applied, {ignored:?} ignored, longest silences {silences:?}", nodes[0].applied.len());
    // A node that begins later, or anew, reads the same from the log.
    let chain = nodes[0].chain;
    let position = nodes[0].position;
    let mut late = [Node::start(options(&servers, 0, "late"), 9, 0)];
    until("a late node has read all", LONG, &mut late, |late| late[0].position == position);
    assert_eq!((late[0].chain, &late[0].applied), (chain, &nodes[0].applied));
}

#[test]
fn ephemeral_messages_reach_all_others() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let mut nodes = three(&servers);
    until("all are up", LONG, &mut nodes, are_up);
    let mut heard = vec![Vec::new(); 3];
    // A message may be lost, so it is said until it is heard.
    until("both others hear", LONG, &mut nodes, |nodes| {
        nodes[0].whispers.send(b"typing".to_vec());
        for (heard, node) in heard.iter_mut().zip(nodes.iter()) {
            heard.extend(node.whispered());
        }
        !heard[1].is_empty() && !heard[2].is_empty()
    });
    assert!(heard[0].is_empty(), "its own does not come back");
    assert!(heard.concat().iter().all(|message| message == b"typing"));
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    let Some(servers) = Servers::start(Wish { one_is_lazy: true, ..Wish::default() }) else { return };
    let mut nodes = [Node::start(options(&servers, 0, "a"), 0, 0)];
    until("it stops", LONG, &mut nodes, |nodes| nodes[0].broken.is_some());
    let message = nodes[0].broken.clone().expect("a message");
    assert!(message.contains("the server n1 syncs every 120s"), "{message}");
    assert!(message.contains("set sync_interval to always"), "{message}");
    assert_eq!(nodes[0].state, None, "it was never up");
    // Who says that it does not matter is believed.
    let trying = natter::nats::NatsOptions { is_unsafe: true, ..options(&servers, 1, "b") };
    let mut nodes = [Node::start(trying, 1, 0)];
    append_all("it appends all the same", &mut nodes, 5);
}

/// Who has no user of the system account asks the monitoring ports.
#[test]
fn servers_are_asked_at_their_monitoring_ports() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let asking = |monitors: [String; 3], name: &str| natter::nats::NatsOptions {
        system: None,
        monitors: monitors.to_vec(),
        ..options(&servers, 0, name)
    };
    let all = [0, 1, 2].map(|index| servers.monitor(index));
    let mut nodes = [Node::start(asking(all.clone(), "a"), 0, 0)];
    append_all("all are asked and sync", &mut nodes, 5);
    let refused = |monitors: [String; 3], name: &str, expect: &[&str]| {
        let mut nodes = [Node::start(asking(monitors, name), 1, 0)];
        until("it stops", LONG, &mut nodes, |nodes| nodes[0].broken.is_some());
        let message = nodes[0].broken.clone().expect("a message");
        for part in expect {
            assert!(message.contains(part), "{part:?}: {message}");
        }
        assert_eq!(nodes[0].state, None, "it was never up");
    };
    let [zero, one, _] = all.clone();
    let unnamed = "the server n2 can't be asked whether it syncs: no URL of CLUSTER_MONITORS is that of its monitoring port";
    refused([zero.clone(), one.clone(), one.clone()], "b", &[unnamed]);
    // No monitoring port: nothing listens, and what listens is no HTTP.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let silent = format!("http://{free}/varz");
    let wanted = format!("the server n1 can't be asked whether it syncs: {silent}: ");
    refused([zero.clone(), silent.clone(), all[2].clone()], "c", &[&wanted]);
    let wrong = format!("http://127.0.0.1:{}/varz", servers.port(1));
    refused([zero, wrong.clone(), all[2].clone()], "d", &[&format!("{wrong}: the service's response is")]);
    refused([silent.clone(), silent.clone(), silent.clone()], "e", &[&silent]);
}

#[test]
fn a_monitoring_port_tells_that_its_server_does_not_sync() {
    let Some(servers) = Servers::start(Wish { one_is_lazy: true, ..Wish::default() }) else { return };
    let monitors = [0, 1, 2].map(|index| servers.monitor(index)).to_vec();
    let asking = natter::nats::NatsOptions { system: None, monitors, ..options(&servers, 0, "a") };
    let mut nodes = [Node::start(asking, 0, 0)];
    until("it stops", LONG, &mut nodes, |nodes| nodes[0].broken.is_some());
    let message = nodes[0].broken.clone().expect("a message");
    assert!(message.contains("the server n1 syncs every 120s"), "{message}");
    assert_eq!(nodes[0].state, None, "it was never up");
}

/// Both ways: an address demands it, or the server does.
#[cfg(feature = "tls")]
#[test]
fn servers_with_tls_are_trusted_by_their_certificate() {
    let Some(servers) = Servers::start(Wish { tls: true, ..Wish::default() }) else { return };
    let authority = include_bytes!("../certificates/authority.pem");
    let trust = natter::work::Trust::new(Some(authority)).expect("an authority");
    let secure = |first: usize, demands: bool, name: &str| {
        let list = servers.list(first, demands);
        natter::nats::NatsOptions { trust: trust.clone(), servers: list, ..options(&servers, 0, name) }
    };
    let mut nodes =
        [Node::start(secure(0, true, "a"), 0, 0), Node::start(secure(1, false, "b"), 1, 0).of_size(200_000)];
    until("both are up", LONG, &mut nodes, are_up);
    append_all("all are applied", &mut nodes, 50);
    let mut strangers = [Node::start(options(&servers, 0, "c"), 2, 0)];
    let at = Instant::now();
    until("a second", LONG, &mut strangers, |_| at.elapsed() > Duration::from_secs(1));
    assert_eq!(strangers[0].state, None, "nobody that it trusts has signed the certificate");
}

#[test]
fn a_stream_that_is_made_anew_is_another_log() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    let mut nodes = [Node::start(options(&servers, 0, "a"), 0, 0)];
    until("it is up", LONG, &mut nodes, are_up);
    append_all("all are applied", &mut nodes, 20);
    let before = nodes[0].state.clone().expect("it is up");
    let reply = servers.request(1, "$JS.API.STREAM.DELETE.NATTER_c", "");
    assert!(reply.contains(r#""success":true"#), "{reply}");
    until("it is down", LONG, &mut nodes, |nodes| nodes[0].down.is_some());
    // This node has read the old one, so it does not make a new one.
    let reply = servers.request(1, "$JS.API.STREAM.INFO.NATTER_c", "");
    assert!(reply.contains(r#""err_code":10059"#), "{reply}");
    let mut others = [Node::start(options(&servers, 1, "b"), 1, 0)];
    append_all("another node makes one", &mut others, 5);
    until("it is told", LONG, &mut nodes, |nodes| {
        nodes[0].state.as_ref().is_some_and(|state| state.identity != before.identity)
    });
    let state = nodes[0].state.clone().expect("told");
    assert!(state.head < nodes[0].position, "the writer sees that it has read more");
}
