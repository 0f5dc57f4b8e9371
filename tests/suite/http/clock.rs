//! Deadlines of HTTP: slow heads, slow bodies, idle connections, slow readers, lingering ones.

use std::io::IoSlice;
use std::time::Duration;

use crate::support::http::{request, responses};
use crate::support::{World, limits, settings};
use natter::base::network::{Network, Networks};
use natter::model::settings::Settings;
use natter::server::contract::{ConnId, Input};

const MS: Duration = Duration::from_millis(1);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The peer takes `count` bytes of its queue.
fn trickle(world: &mut World, conn: ConnId, count: usize) {
    let mut left = count;
    while left > 0 {
        let queue = world.server.send_queue(conn).expect("open");
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = queue.slices(&mut slices);
        let taken = slices[..filled].iter().map(|slice| slice.len()).sum::<usize>().min(left);
        assert!(taken > 0, "there is more to send");
        queue.advance(taken);
        left -= taken;
        world.input(Input::Sent { conn, bytes: taken as u64 });
    }
}

#[test]
fn a_slow_head_is_408_and_an_empty_one_is_closed() {
    let mut world = World::new();
    let head = request("GET", "/healthz", &[], None);
    for (sent, answered) in
        [(&b""[..], false), (b"\r\n", false), (b"G", true), (&head[..head.len() - 1], true)]
    {
        let conn = world.connect();
        world.send(conn, sent);
        world.pass(seconds(10) - MS);
        assert!(!world.is_closed(conn));
        world.pass(MS);
        assert!(world.is_closed(conn), "{sent:?}");
        let all = responses(&mut world.take(conn), false);
        assert_eq!(all.len(), usize::from(answered), "{sent:?}");
        for response in all {
            assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"));
            assert_eq!(response.field("Connection"), Some("close"));
        }
    }
}

/// The answers to thousands of late requests must not be one step that all others wait for.
#[test]
fn many_deadlines_at_once_are_handled_in_steps() {
    let mut world = World::new();
    let conns: Vec<_> = (0..200).map(|_| world.connect()).collect();
    conns.iter().for_each(|conn| world.send(*conn, b"G"));
    let late = |world: &World| conns.iter().filter(|conn| world.is_closed(**conn)).count();
    world.pass(seconds(10) - MS);
    assert_eq!(late(&world), 0);
    world.now = world.now.later(MS);
    let mut before = 0;
    let mut steps = 0;
    while before < conns.len() {
        assert!(
            world.server.next_deadline().is_some_and(|at| at <= world.now.instant),
            "the rest is due at once"
        );
        world.input(Input::Tick);
        world.perform();
        let after = late(&world);
        assert!(before < after && after <= before + 64, "{before} {after}");
        before = after;
        steps += 1;
    }
    assert_eq!(steps, 4);
    for conn in conns {
        assert_eq!(responses(&mut world.take(conn), false)[0].status, 408);
    }
}

/// A peer can't be late while the server does not run: heads, bodies and responses continue afterwards.
#[test]
fn the_time_of_a_stopped_process_counts_against_no_peer() {
    let mut world = World::new();
    let head = request("GET", "/healthz", &[], None);
    let body = request("POST", "/api/v1/user/refresh", &[], Some("{\"refresh\":1}"));
    let (slow_head, slow_body, reader) = (world.connect(), world.connect(), world.connect());
    world.send(slow_head, &head[..5]);
    world.send(slow_body, &body[..body.len() - 1]);
    world.peers.get_mut(&reader).expect("a peer").stalled = true;
    world.send(reader, &head.repeat(1_000));
    world.now = world.now.later(seconds(3_600));
    world.input(Input::Tick);
    world.send(slow_head, &head[5..]);
    world.send(slow_body, &body[body.len() - 1..]);
    assert_eq!(responses(&mut world.take(slow_head), false)[0].status, 200);
    assert_eq!(responses(&mut world.take(slow_body), false)[0].status, 422);
    world.unstall(reader);
    assert_eq!(responses(&mut world.take(reader), false).len(), 1_000);
}

#[test]
fn slow_bytes_do_not_extend_a_deadline() {
    let mut world = World::new();
    let head = request("GET", "/healthz", &[("A", &"b".repeat(100))], None);
    let conn = world.connect();
    for byte in &head[..head.len() - 1] {
        if world.is_closed(conn) {
            break;
        }
        world.send(conn, &[*byte]);
        world.pass(seconds(1));
    }
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 408);
    let body = request("POST", "/api/v1/user/refresh", &[], Some(&"x".repeat(100)));
    let head_len = body.len() - 100;
    let conn = world.connect();
    world.send(conn, &body[..head_len]);
    for _ in 0..29 {
        world.send(conn, b"x");
        world.pass(seconds(1));
        assert!(!world.is_closed(conn));
    }
    world.send(conn, b"x");
    world.pass(seconds(1));
    let all = responses(&mut world.take(conn), false);
    assert_eq!(
        (all[0].status, all[0].code().as_str(), world.is_closed(conn)),
        (408, "request_timeout", true)
    );
}

/// From the first byte of its head, not from the last.
#[test]
fn a_json_request_has_thirty_seconds_in_all() {
    let mut world = World::new();
    let complete = request("POST", "/api/v1/user/refresh", &[], Some("{\"refresh\":1}"));
    let conn = world.connect();
    world.send(conn, &complete[..10]);
    world.pass(seconds(9));
    world.send(conn, &complete[10..complete.len() - 1]);
    world.pass(seconds(21) - MS);
    assert!(!world.is_closed(conn));
    world.pass(MS);
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 408);
    let conn = world.connect();
    world.send(conn, &complete[..complete.len() - 1]);
    world.pass(seconds(30) - MS);
    world.send(conn, &complete[complete.len() - 1..]);
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 422);
}

#[test]
fn an_idle_connection_is_kept_for_75_seconds() {
    let mut world = World::new();
    let one = request("GET", "/healthz", &[], None);
    let conn = world.connect();
    for _ in 0..3 {
        world.send(conn, &one);
        assert_eq!(responses(&mut world.take(conn), false).len(), 1);
        world.pass(seconds(75) - MS);
        assert!(!world.is_closed(conn));
    }
    world.pass(MS);
    assert!(world.peers[&conn].closed && world.take(conn).is_empty(), "just a close");
    // The next head starts its own deadline.
    let conn = world.connect();
    world.send(conn, &one);
    world.take(conn);
    world.pass(seconds(60));
    world.send(conn, b"GET");
    world.pass(seconds(10));
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 408);
}

/// Load balancers keep their idle connections for up to 600 seconds. The proxy must be the side that closes, or one of
/// its requests is lost on the way.
#[test]
fn an_idle_connection_of_a_trusted_proxy_outlives_its_pool() {
    let trusted_proxies = Networks::new(vec![Network::parse("10.0.0.1").expect("a network")]);
    let mut world = World::with(Settings { trusted_proxies, ..settings(limits()) });
    let one = request("GET", "/healthz", &[("X-Forwarded-For", "192.0.2.1")], None);
    let conn = world.connect_from("10.0.0.1");
    for _ in 0..2 {
        world.send(conn, &one);
        assert_eq!(responses(&mut world.take(conn), false).len(), 1);
        world.pass(seconds(620) - MS);
        assert!(!world.is_closed(conn));
    }
    world.pass(MS);
    assert!(world.peers[&conn].closed);
}

#[test]
fn a_slow_reader_is_kept_while_it_reads() {
    let mut world = World::new();
    let conn = world.connect();
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    let one = request("GET", "/healthz", &[], None);
    world.send(conn, &one.repeat(4_000));
    // 1 KiB/s, for minutes.
    for _ in 0..30 {
        trickle(&mut world, conn, 10_240);
        world.pass(seconds(10) - MS);
        assert!(!world.peers[&conn].closed);
    }
    // A slower reader is closed.
    let mut waited = 0;
    while !world.peers[&conn].closed {
        trickle(&mut world, conn, 5_000);
        world.pass(seconds(10));
        waited += 1;
        assert!(waited < 4, "half of the rate is not enough");
    }
    let (conns, ..) = world.server.load();
    assert_eq!(conns, 0);
}

#[test]
fn the_idle_time_begins_when_the_response_was_sent() {
    let mut world = World::new();
    let conn = world.connect();
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    world.send(conn, &request("GET", "/", &[], None));
    world.pass(seconds(9));
    world.unstall(conn);
    world.pass(seconds(75) - MS);
    assert!(!world.peers[&conn].closed);
    world.pass(MS);
    assert!(world.peers[&conn].closed);
}

#[test]
fn lingering_ends_after_ten_seconds() {
    let mut world = World::new();
    let refused = world.connect();
    world.send(refused, b"nonsense\r\n\r\n");
    let drained = world.connect();
    world.send(drained, b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    for conn in [refused, drained] {
        assert_eq!(responses(&mut world.take(conn), false).len(), 1);
    }
    for _ in 0..9 {
        world.pass(seconds(1));
        world.send(refused, b"more");
        world.send(drained, b"more");
        assert!(!world.peers[&refused].closed && !world.peers[&drained].closed);
    }
    world.pass(seconds(1));
    assert!(world.peers[&refused].closed && world.peers[&drained].closed);
    assert_eq!(world.server.load(), (0, 0, 0));
}
