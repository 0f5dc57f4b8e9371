//! Deadlines of a stream: heartbeats, silence, the end of a token, a shutdown.

use std::time::Duration;

use super::{at, closed, frame, kinds, post, ready};
use crate::support::http::Person;
use crate::support::socket::Frame;
use crate::support::{World, limits, settings};
use natter::limits::Limits;
use natter::server::contract::Input;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_heartbeat_comes_with_the_ping_and_silence_ends_the_stream() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (conn, other) = (ready(&mut world, &ann), ready(&mut world, &bob));
    world.say(conn, &post(1, &bob, "hi"));
    let seq = at(&world.texts(conn)[0], "ok.seq");
    world.pass(seconds(30));
    let mut frames = world.frames(conn);
    frames.retain(|frame| !matches!(frame, Frame::Text(text) if at(text, "event") == "presence"));
    let [Frame::Ping, Frame::Text(heartbeat)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(
        (at(heartbeat, "event"), at(heartbeat, "seq")),
        ("heartbeat".into(), seq),
        "the high-water mark"
    );
    world.texts(other);
    // Any byte is a sign of life; after 2.5 heartbeats without one the stream ends.
    world.send(conn, &frame(0x8a, b""));
    world.pass(seconds(75) - Duration::from_millis(1));
    assert!(!world.peers[&conn].closed && world.peers[&other].closed);
    world.pass(Duration::from_millis(1));
    assert!(world.peers[&conn].closed);
    assert_eq!(world.server.load(), (0, 0, 0));
}

/// SIGSTOP, or a suspended machine: bytes that clients sent meanwhile wait in the kernel.
#[test]
fn time_in_which_the_process_did_not_run_does_not_count_as_silence() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (conn, other) = (ready(&mut world, &ann), ready(&mut world, &bob));
    for standstill in [20, 200, 300] {
        world.now = world.now.later(seconds(standstill));
        world.input(Input::Tick);
        assert!(!world.peers[&conn].closed && !world.peers[&other].closed, "{standstill} s");
        // Also if the first bytes that arrive are those of another connection.
        world.now = world.now.later(seconds(30));
        world.send(conn, &frame(0x8a, b""));
        world.pass(Duration::ZERO);
        assert!(!world.peers[&other].closed);
    }
    world.say(conn, &post(1, &bob, "after it"));
    assert!(world.texts(other).iter().any(|text| text.contains("after it")));
    // From here on silence counts again.
    world.pass(seconds(90));
    assert!(world.peers[&conn].closed && world.peers[&other].closed);
}

/// A stream lives as long as its token, by the calendar that the token uses.
#[test]
fn a_clock_set_ahead_ends_the_streams_of_expired_tokens() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    world.now.unix_ms.0 += 800_000;
    world.send(conn, &frame(0x8a, b""));
    assert!(!world.is_closed(conn));
    let pair = world.open_socket(&bob, &format!("/api/v1/ws/{}/{}", bob.profile, ann.profile));
    world.frames(pair);
    world.now.unix_ms.0 += 200_000;
    // Any input works: no deadline of these streams is near.
    assert_eq!(world.ask("GET", "/healthz", &[], None).status, 200);
    for conn in [conn, pair] {
        assert_eq!(closed(&mut world, conn).map(|(code, _)| code), Some(4_401));
    }
}

/// The token of an ended session stays invalid, also if the clock was ahead for a while.
#[test]
fn a_clock_that_was_ahead_makes_no_token_valid_again() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    world.now.unix_ms.0 += 86_400_000;
    world.pass(seconds(130));
    world.now.unix_ms.0 -= 86_400_000;
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 401);
}

/// While the server does not read, it can't see that a peer is alive.
#[test]
fn time_in_which_nothing_is_read_does_not_count_as_silence() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    world.holds = true;
    for id in 0..65 {
        world.say(conn, &post(id, &bob, "x"));
    }
    world.pass(seconds(300));
    assert!(!world.peers[&conn].closed);
    world.holds = false;
    world.release(99);
    world.pass(seconds(74));
    assert!(!world.peers[&conn].closed);
    world.pass(seconds(2));
    assert!(world.peers[&conn].closed);
}

#[test]
fn a_peer_that_reads_nothing_is_closed() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (sender, conn) = (ready(&mut world, &ann), ready(&mut world, &bob));
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    world.say(sender, &post(1, &bob, "hi"));
    for _ in 0..15 {
        world.send(conn, &frame(0x8a, b""));
        world.pass(seconds(10));
    }
    assert!(world.peers[&conn].closed, "it sends, and reads nothing");
}

/// Another token of the same session, a second later.
fn renew(world: &mut World, person: &Person) -> Person {
    let body = format!(r#"{{"refresh":"{}"}}"#, person.refresh);
    let response = world.ask("POST", "/api/v1/user/refresh", &[], Some(&body));
    assert_eq!(response.status, 200, "{}", response.text());
    Person { access: response.at("data.access"), refresh: response.at("data.refresh"), ..person.clone() }
}

/// Lets time pass and answers each ping.
fn live(world: &mut World, conn: natter::server::contract::ConnId, time: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..time {
        world.pass(seconds(1));
        if !world.is_closed(conn) {
            world.send(conn, &frame(0x8a, b""));
        }
        frames.extend(world.frames(conn));
    }
    frames.retain(|frame| {
        !matches!(frame, Frame::Ping) && !matches!(frame, Frame::Text(text) if text.contains("heartbeat"))
    });
    frames
}

#[test]
fn a_stream_gets_a_warning_and_ends_with_its_token_unless_renewed() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    assert_eq!(live(&mut world, conn, 839), []);
    assert_eq!(live(&mut world, conn, 2), [Frame::Text(r#"{"event":"expiring"}"#.to_owned())], "60 s before");
    let later = renew(&mut world, &ann);
    let auth = |access: &str| format!(r#"{{"id":1,"op":"auth","access":"{access}"}}"#);
    for (access, expect) in [
        ("nonsense", "1 unauthorized_access"),
        (bob.access.as_str(), "1 unauthorized_access"),
        (later.refresh.as_str(), "1 unauthorized_access"),
    ] {
        world.say(conn, &auth(access));
        assert_eq!(kinds(&world.texts(conn)), [expect]);
    }
    world.say(conn, r#"{"id":1,"op":"auth"}"#);
    assert_eq!(kinds(&world.texts(conn)), ["1 invalid_access"]);
    world.say(conn, &auth(&later.access));
    let texts = world.texts(conn);
    assert_eq!(at(&texts[0], "ok.expires_at"), "2026-11-22T13:32:55.000Z");
    assert_eq!(live(&mut world, conn, 800), [], "the end of the old token does not end the stream");
    let frames = live(&mut world, conn, 110);
    assert_eq!(frames[0], Frame::Text(r#"{"event":"expiring"}"#.to_owned()));
    assert!(matches!(frames[1..], [Frame::Close(4_401, _)]), "{frames:?}");
}

#[test]
fn the_end_of_a_session_ends_its_streams() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sign_in = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let other = Person::from_response(&world.ask("POST", "/api/v1/user/sign-in", &[], Some(sign_in)));
    let (here, there) = (ready(&mut world, &ann), ready(&mut world, &other));
    let pair = world.open_socket(&ann, &format!("/api/v1/ws/{}/{}", ann.profile, bob.profile));
    world.frames(pair);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    for conn in [here, pair] {
        assert_eq!(closed(&mut world, conn).map(|(code, _)| code), Some(4_401));
    }
    assert_eq!(kinds(&world.texts(there)), ["session.ended"]);
    let fields = [("Authorization", format!("Bearer {}", ann.access))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(world.upgrade("/api/v1/ws", &fields).is_err_and(|refusal| refusal.status == 401));
}

#[test]
fn a_shutdown_answers_the_ops_in_flight_then_closes_1001() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (idle, busy) = (ready(&mut world, &ann), ready(&mut world, &bob));
    world.holds = true;
    world.say(busy, &post(1, &ann, "last words"));
    world.input(Input::Drain);
    let (code, reason) = closed(&mut world, idle).expect("a close");
    let wait: u64 = at(&reason, "retry_after_ms").parse().expect("a time");
    assert_eq!((code, (500..6_000).contains(&wait)), (1_001, true));
    assert!(!world.is_closed(busy));
    world.say(busy, &post(2, &ann, "too late"));
    world.holds = false;
    world.release(9);
    let frames = world.frames(busy);
    assert!(
        matches!(&frames[..], [Frame::Text(text), Frame::Close(1_001, _)] if at(text, "re") == "1"),
        "{frames:?}"
    );
}

#[test]
fn a_close_that_is_not_answered_ends_after_a_while() {
    let mut world = World::with(settings(Limits { access_ttl: 100, ..limits() }));
    let ann = world.sign_up("ann");
    let conn = ready(&mut world, &ann);
    world.send(conn, &frame(0x82, b"binary"));
    assert_eq!(closed(&mut world, conn).map(|(code, _)| code), Some(1_003));
    world.pass(seconds(9));
    assert!(!world.peers[&conn].closed);
    world.pass(seconds(1));
    assert!(world.peers[&conn].closed);
    // If the close is answered, the write side is shut at once.
    let conn = ready(&mut world, &ann);
    world.send(conn, &[frame(0x82, b"binary"), frame(0x88, &1_003u16.to_be_bytes())].concat());
    assert!(world.peers[&conn].write_shut);
}
