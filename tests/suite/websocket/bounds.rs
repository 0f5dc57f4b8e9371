//! Limits of a socket: sizes, ops in flight, rates, refusals, slow readers, and the close code of each.

use std::time::Duration;

use super::{at, closed, frame, kinds, post, ready};
use crate::support::socket::Frame;
use crate::support::{World, limits, settings};
use natter::limits::{Limits, Rate};

#[test]
fn a_broken_protocol_is_closed_with_its_code() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let max = 65_536;
    let big = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8)).into_bytes();
    let unmasked = vec![0x81, 2, b'{', b'}'];
    for (bytes, code) in [
        (frame(0x82, b"{}"), 1_003),
        (frame(0x81, b"\xff"), 1_007),
        (frame(0x81, b"\xed\xa0\x80"), 1_007),
        ([frame(0x01, b"\xce"), frame(0x80, b"a")].concat(), 1_007),
        (frame(0x81, &big(max + 1)), 1_009),
        ([frame(0x01, &big(max)), frame(0x80, b"x")].concat(), 1_009),
        (unmasked, 1_002),
        (frame(0xc1, b"{}"), 1_002),
        (frame(0x83, b"{}"), 1_002),
        (frame(0x8b, b""), 1_002),
        (frame(0x80, b"{}"), 1_002),
        (frame(0x09, b""), 1_002),
        (frame(0x89, &[0; 126]), 1_002),
        ([frame(0x01, b"{"), frame(0x81, b"}")].concat(), 1_002),
        (frame(0x88, &[3]), 1_002),
        (frame(0x88, &1_005u16.to_be_bytes()), 1_002),
        (frame(0x88, &1_000u16.to_be_bytes()), 1_000),
        (frame(0x88, &4_000u16.to_be_bytes()), 4_000),
        (frame(0x88, b""), 0),
    ] {
        for split in [0, 1, 2, 3, bytes.len() / 2, bytes.len() - 1] {
            let conn = ready(&mut world, &ann);
            world.send(conn, &bytes[..split]);
            world.send(conn, &bytes[split..]);
            let close = closed(&mut world, conn).map(|(code, _)| code);
            assert_eq!(close, Some(code), "{:x?} split at {split}", &bytes[..bytes.len().min(20)]);
            world.send(conn, &frame(0x81, b"{}"));
            assert_eq!(world.take(conn), b"", "nothing after a close");
            world.send(conn, &frame(0x88, &1_000u16.to_be_bytes()));
            world.end(conn);
            assert!(world.peers[&conn].closed);
        }
    }
    let conn = ready(&mut world, &ann);
    world.send(conn, &frame(0x81, &big(max)));
    assert_eq!(kinds(&world.texts(conn)), ["null unknown_op"], "at the bound");
    world.reset(conn);
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn pings_are_answered() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let conn = ready(&mut world, &ann);
    world.send(conn, &[frame(0x89, b""), frame(0x89, &[b'x'; 125]), frame(0x8a, b"unasked")].concat());
    assert_eq!(world.take(conn), [&[0x8a, 0, 0x8a, 125][..], &[b'x'; 125]].concat());
}

#[test]
fn sixty_four_are_in_flight_then_the_socket_is_not_read() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    let posts = |world: &World| world.asked.iter().filter(|asked| asked.name() == "PostMessage").count();
    world.holds = true;
    for id in 0..64 {
        world.say(conn, &post(id, &bob, "x"));
    }
    assert_eq!((posts(&world), world.unread(conn)), (64, 0));
    world.say(conn, &post(64, &bob, "x"));
    world.say(conn, &post(65, &bob, "x"));
    assert_eq!((posts(&world), world.unread(conn) > 0), (64, true));
    world.release(1);
    assert_eq!((world.texts(conn).len(), posts(&world), world.unread(conn)), (1, 64, 0));
    world.holds = false;
    world.release(99);
    let ids: Vec<String> = world.texts(conn).iter().map(|text| at(text, "re")).collect();
    let expect: Vec<String> = (1..66).map(|id| id.to_string()).collect();
    assert_eq!(ids, expect);
}

#[test]
fn the_write_rate_is_enforced_by_not_reading() {
    let rate_writes = Rate { per_second: 2, burst: 3 };
    let mut world = World::with(settings(Limits { rate_limit: true, rate_writes, ..limits() }));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    for id in 0..10 {
        world.say(conn, &post(id, &bob, "x"));
    }
    assert_eq!(world.texts(conn).len(), 3);
    assert!(world.unread(conn) > 0, "not read");
    let mut all = 3;
    for _ in 0..7 {
        world.pass(Duration::from_millis(500));
        let texts = world.texts(conn);
        assert_eq!(kinds(&texts), [format!("{all} ok")], "no error, only patience");
        all += texts.len();
    }
    assert_eq!((all, world.unread(conn), world.is_closed(conn)), (10, 0, false));
}

#[test]
fn a_flood_of_refused_frames_is_closed_4429() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let slow = ready(&mut world, &ann);
    for _ in 0..30 {
        for _ in 0..9 {
            world.say(slow, "{");
        }
        world.pass(Duration::from_secs(1));
    }
    assert!(!world.is_closed(slow), "90 in 10 s");
    let conn = ready(&mut world, &ann);
    for _ in 0..99 {
        world.say(conn, "{");
    }
    assert!(!world.is_closed(conn));
    assert_eq!(world.texts(conn).len(), 99);
    world.say(conn, r#"{"id":1,"op":"message.list","conversation":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#);
    let frames = world.frames(conn);
    assert!(matches!(frames[..], [Frame::Text(_), Frame::Close(4_429, _)]), "{frames:?}");
}

#[test]
fn a_slow_reader_is_closed_4408_and_resumes_with_nothing_lost() {
    let send_queue_max = 100_000;
    let mut world = World::with(settings(Limits { send_queue_max, ..limits() }));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sender = ready(&mut world, &ann);
    let conn = world.open_socket(&bob, "/api/v1/ws");
    let epoch = at(&world.texts(conn)[0], "epoch");
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    let body = "x".repeat(3_000);
    let mut sent = 0;
    while world.server.load().2 == 2 {
        world.say(sender, &post(sent, &bob, &body));
        sent += 1;
        assert!(sent < 100, "the bound must close it");
    }
    let queued = world.server.send_queue(conn).expect("closing").memory();
    assert!(queued > send_queue_max && queued < send_queue_max + 5_000, "{queued}");
    for _ in 0..10 {
        world.say(sender, &post(sent, &bob, &body));
        sent += 1;
    }
    world.unstall(conn);
    let frames = world.frames(conn);
    assert!(matches!(frames.last(), Some(Frame::Close(4_408, _))));
    let seq = |frame: &Frame| match frame {
        Frame::Text(text) => at(text, "seq").parse::<u64>().ok(),
        _ => None,
    };
    let mut seqs: Vec<u64> = frames.iter().filter_map(seq).collect();
    let cursor = seqs.last().expect("some came");
    // The peer reconnects with the last seq it has seen and reads slowly again: it gets back-pressure and is not closed
    // again.
    let conn = world.open_socket(&bob, &format!("/api/v1/ws?cursor={epoch}:{cursor}"));
    let posted = |text: &String| {
        (at(text, "event") == "message.posted").then(|| at(text, "seq").parse::<u64>().expect("seq"))
    };
    seqs.extend(world.texts(conn).iter().filter_map(posted));
    assert_eq!(seqs.len(), sent, "nothing lost, nothing twice");
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn a_replay_waits_for_its_reader() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sender = ready(&mut world, &ann);
    let conn = world.open_socket(&bob, "/api/v1/ws");
    let hello = world.texts(conn).remove(0);
    world.reset(conn);
    for id in 0..700 {
        world.say(sender, &post(id, &bob, &"x".repeat(3_000)));
    }
    let path = format!("/api/v1/ws?cursor={}:{}", at(&hello, "epoch"), at(&hello, "seq"));
    world.holds = true;
    let conn = world.open_socket(&bob, &path);
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    world.holds = false;
    world.release(9);
    let queued = world.server.send_queue(conn).expect("open").memory();
    assert!(queued < 600_000, "one page, not two million bytes: {queued}");
    // Live events are held, then dropped and read from the log again.
    for id in 700..760 {
        world.say(sender, &post(id, &bob, &"y".repeat(3_000)));
    }
    world.unstall(conn);
    let texts = world.texts(conn);
    let seqs: Vec<u64> = texts
        .iter()
        .filter(|text| at(text, "event") == "message.posted")
        .map(|text| at(text, "seq").parse().expect("seq"))
        .collect();
    assert_eq!(seqs.len(), 760);
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(kinds(&texts).last().map(String::as_str), Some("caught_up"));
}

/// One account with many sockets may not fill the memory with messages that it never completes.
#[test]
fn incomplete_messages_share_a_bound_and_those_of_the_largest_holder_give_way() {
    let mut world = World::with(settings(Limits { connections_per_address: 2_000, ..limits() }));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let half = frame(0x01, &[b' '; 65_000]);
    let others = ready(&mut world, &bob);
    world.send(others, &half);
    let sockets: Vec<_> = (0..1_100)
        .map(|_| {
            let conn = ready(&mut world, &ann);
            world.send(conn, &half);
            conn
        })
        .collect();
    let closed: Vec<_> = sockets.iter().filter_map(|conn| closed(&mut world, *conn)).collect();
    let open = sockets.len() - closed.len();
    assert!(open * half.len() <= 67_108_864 && open > 700, "{open}");
    assert!(closed.iter().all(|(code, reason)| (*code, reason.as_str()) == (1_013, "try again")));
    world.send(others, &frame(0x80, b"{}"));
    assert_eq!(kinds(&world.texts(others)), ["null unknown_op"]);
}
