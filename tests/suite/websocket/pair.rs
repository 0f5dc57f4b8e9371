//! The legacy socket between two members, as the predecessor's clients use it.

use super::{at, client_id, closed, frame, ready};
use crate::support::World;
use crate::support::http::{Person, request, responses};
use crate::support::socket::{Frame, UPGRADE};
use natter::model::operation::Refusal;
use natter::server::contract::ConnId;

const KEY: [(&str, &str); 0] = [];

fn path(from: &Person, to: &Person) -> String {
    format!("/api/v1/ws/{}/{}?access={}", from.profile, to.profile, from.access)
}

/// Opens it with the token in the URL, as those clients do, and returns its history.
fn open(world: &mut World, from: &Person, to: &Person) -> (ConnId, String) {
    let conn = world.upgrade(&path(from, to), &KEY).unwrap_or_else(|refusal| panic!("{}", refusal.text()));
    let mut texts = world.texts(conn);
    assert_eq!(texts.len(), 1, "one array");
    (conn, texts.remove(0))
}

fn unread(world: &mut World, person: &Person) -> String {
    world.ask_as(person, "GET", "/api/v1/conversations", None).at("unread_total")
}

#[test]
fn a_legacy_socket_opens_for_its_sender_only() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let stranger = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (path, status, code) in [
        (format!("/api/v1/ws/{}/{}?access={}", ann.profile, bob.profile, eve.access), 403, "not_allowed"),
        (format!("/api/v1/ws/{}/{}?access={}", bob.profile, ann.profile, ann.access), 403, "not_allowed"),
        (
            format!("/api/v1/ws/{}/{}?access={}", ann.profile, ann.profile, ann.access),
            422,
            "invalid_receiver",
        ),
        (format!("/api/v1/ws/{}/{stranger}?access={}", ann.profile, ann.access), 404, "not_found"),
        (format!("/api/v1/ws/{}/nonsense?access={}", ann.profile, ann.access), 404, "not_found"),
        (format!("/api/v1/ws/{}/{}", ann.profile, bob.profile), 401, "unauthorized_access"),
        (format!("/api/v1/ws/{}/{}?access=x", ann.profile, bob.profile), 401, "unauthorized_access"),
    ] {
        let refusal = world.upgrade(&path, &KEY).expect_err("a refusal");
        assert_eq!((refusal.status, refusal.code().as_str()), (status, code), "{path}");
    }
    let bearer = format!("Bearer {}", ann.access);
    let plain = world.ask("GET", &path(&ann, &bob), &[("Authorization", &bearer)], None);
    assert_eq!(plain.status, 426);
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn a_client_that_has_the_history_finds_the_conversation_read() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"to":"{}","client_id":"{}","body":"hi"}}"#, ann.profile, client_id(1));
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/messages", Some(&body)).status, 201);
    world.holds = true;
    let conn = world.connect();
    world.send(conn, &request("GET", &path(&ann, &bob), &UPGRADE, None));
    world.release(1);
    assert!(world.take(conn).ends_with(b"\r\n\r\n"), "the history waits until it is marked");
    world.release(1);
    let texts = world.texts(conn);
    assert!(texts.len() == 1 && texts[0].contains("\"hi\""), "{texts:?}");
    world.holds = false;
    assert_eq!(unread(&mut world, &ann), "0");
}

/// Every device of both members gets the same message. In the predecessor there was one session per two members: a
/// second device replaced the first, and each side had its own copy of a message.
#[test]
fn every_device_of_both_sides_gets_the_same_message() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let (one, history) = open(&mut world, &ann, &bob);
    assert_eq!(history, "[]");
    let (two, _) = open(&mut world, &ann, &bob);
    let (three, _) = open(&mut world, &bob, &ann);
    let (aside, _) = open(&mut world, &ann, &eve);
    let native = ready(&mut world, &bob);
    // The ids in the body decide nothing. In the predecessor anyone could write as anyone.
    let say = format!(
        r#"{{"sender":"{}","receiver":"{}","message":"hi","client_id":"{}"}}"#,
        eve.profile,
        eve.profile,
        client_id(1)
    );
    world.say(one, &say);
    let mut ids = Vec::new();
    for (conn, own, peer) in [(one, &ann, &bob), (two, &ann, &bob), (three, &bob, &ann)] {
        let texts = world.texts(conn);
        assert_eq!(texts.len(), 1);
        let line = |name: &str| at(&texts[0], &format!("0.{name}"));
        assert_eq!(line("chat_id"), format!("{}-{}", own.profile, peer.profile), "the socket's own side");
        assert_eq!(
            (line("sender"), line("receiver"), line("message")),
            (ann.profile.clone(), bob.profile.clone(), "hi".into())
        );
        assert_eq!(line("created_at"), "2026-11-22T13:03:54.120Z");
        ids.push(line("id"));
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(world.texts(aside), [""; 0], "another pair");
    assert_eq!(world.texts(native).len(), 2, "the post and the read mark");
    // A repeat is answered to this socket alone, with the original.
    world.say(one, &say);
    let again = world.texts(one);
    assert_eq!((again.len(), at(&again[0], "0.id")), (1, ids[0].clone()));
    assert!(world.texts(two).is_empty() && world.texts(three).is_empty());
    // A native post is shown too, with its text only.
    world.say(native, &super::post(2, &ann, "native"));
    for conn in [one, two, three] {
        assert_eq!(at(&world.texts(conn)[0], "0.message"), "native");
    }
}

#[test]
fn messages_that_a_socket_shows_are_marked_read() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    for id in 0..150 {
        let body = format!(r#"{{"to":"{}","client_id":"{}","body":"m{id}"}}"#, bob.profile, client_id(id));
        assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
    }
    assert_eq!(unread(&mut world, &bob), "150");
    let (conn, history) = open(&mut world, &bob, &ann);
    assert_eq!(
        (at(&history, "0.message"), at(&history, "99.message"), at(&history, "100")),
        ("m50".into(), "m149".into(), "null".into())
    );
    assert_eq!(unread(&mut world, &bob), "0");
    let body = format!(r#"{{"to":"{}","client_id":"{}","body":"live"}}"#, bob.profile, client_id(150));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
    assert_eq!(world.texts(conn).len(), 1);
    assert_eq!(unread(&mut world, &bob), "0");
    world.reset(conn);
    let body = body.replace(&client_id(150), &client_id(151));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
    assert_eq!(unread(&mut world, &bob), "1", "no socket is open");
}

/// A message that is committed while the history is being read is neither lost nor shown twice.
#[test]
fn the_history_has_no_gap() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sender = ready(&mut world, &ann);
    world.say(sender, &super::post(0, &bob, "m0"));
    for held_until in 0..4 {
        let conn = world.connect();
        world.holds = true;
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            path(&bob, &ann)
        );
        world.send(conn, head.as_bytes());
        for step in 0..4 {
            if step == held_until {
                // After the question for the history, which is answered as of then.
                world.release(1);
            }
            world.say(sender, &super::post(100 * (held_until + 1) + step, &bob, "m"));
            let command = if step < held_until { world.asked.pop_front() } else { None };
            world.release(9);
            world.asked.extend(command);
        }
        world.holds = false;
        world.release(99);
        let mut bytes = world.take(conn);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        bytes.drain(..end);
        world.peers.get_mut(&conn).expect("a peer").received = bytes;
        let mut seen = Vec::new();
        for text in world.texts(conn) {
            let mut at_line = 0;
            while at(&text, &format!("{at_line}.id")) != "null" {
                seen.push(at(&text, &format!("{at_line}.id")));
                at_line += 1;
            }
        }
        let count = seen.len();
        assert_eq!(count, 1 + 4 * (held_until + 1));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "none twice");
        world.reset(conn);
    }
}

/// A message that is delivered while the history is read again is shown after it, once, and marked read; also the first
/// message of a conversation that the earlier read did not find.
#[test]
fn a_message_held_during_the_history_is_shown_and_marked_read() {
    for earlier in [false, true] {
        let mut world = World::new();
        let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
        let sender = ready(&mut world, &ann);
        if earlier {
            world.say(sender, &super::post(1, &bob, "before"));
        }
        world.holds = true;
        let conn = world.connect();
        world.send(conn, &request("GET", &path(&bob, &ann), &UPGRADE, None));
        let first = world.look();
        // The log moves on after the first read, so the history is read again after the subscription.
        world.holds = false;
        world.say(sender, &super::post(2, &eve, "elsewhere"));
        world.holds = true;
        world.deliver(first);
        let second = world.look();
        world.holds = false;
        world.say(sender, &super::post(3, &bob, "held"));
        world.deliver(second);
        let mut bytes = world.take(conn);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        bytes.drain(..end);
        world.peers.get_mut(&conn).expect("a peer").received = bytes;
        let texts = world.texts(conn);
        assert_eq!(texts.len(), 2, "the history and a message: {texts:?}");
        assert_eq!(at(&texts[0], "0.message"), if earlier { "before" } else { "null" });
        assert_eq!((at(&texts[1], "0.message"), at(&texts[1], "1")), ("held".into(), "null".into()));
        assert_eq!(unread(&mut world, &bob), "0", "a message that was shown is read");
    }
}

/// The history is read before the socket opens: a member who logs out meanwhile gets a refusal and no stream.
#[test]
fn a_session_that_ends_while_its_legacy_socket_opens_opens_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    world.holds = true;
    let conn = world.connect();
    world.send(conn, &request("GET", &path(&bob, &ann), &UPGRADE, None));
    let history = world.look();
    world.holds = false;
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/user/logout", None).status, 200);
    world.deliver(history);
    let refused = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((refused.status, refused.code()), (401, "unauthorized_access".into()));
}

/// Posts keep their order: after a temporarily refused post all later ones are refused too, and the socket closes.
#[test]
fn a_refused_post_refuses_all_after_it_and_closes_1013() {
    for refusal in [Refusal::Busy, Refusal::Unavailable, Refusal::StorageFull, Refusal::Internal] {
        let mut world = World::new();
        let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
        let (conn, _) = open(&mut world, &ann, &bob);
        world.holds = true;
        for text in ["one", "two", "three"] {
            world.say(conn, &format!(r#"{{"message":"{text}"}}"#));
        }
        let first = world.asked.pop_front().expect("a post");
        world.refuse(refusal);
        world.say(conn, r#"{"message":"behind"}"#);
        assert_eq!(world.asked.len(), 1, "no further frame is taken");
        world.asked.push_front(first);
        world.release(1);
        world.refuse(Refusal::Unavailable);
        let frames = world.frames(conn);
        let code = natter::model::problem::Problem::from(refusal).code_text();
        let ends: Vec<String> = frames
            .iter()
            .map(|frame| match frame {
                Frame::Text(text) if text.starts_with('[') => at(text, "0.message"),
                Frame::Text(text) => at(text, "error.code"),
                Frame::Close(code, _) => code.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(ends, ["one".to_owned(), code, "unavailable".to_owned(), "1013".to_owned()]);
    }
}

/// A bad frame is an error and does not end the socket. In the predecessor the message `null` panicked, and a message
/// over 512 bytes ended the connection.
#[test]
fn a_bad_frame_is_an_error_and_the_socket_stays() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (conn, _) = open(&mut world, &ann, &bob);
    for (say, code) in [
        ("null", "error_parsing_data"),
        ("{", "error_parsing_data"),
        ("[]", "error_parsing_data"),
        ("{}", "invalid_message"),
        (r#"{"message":null}"#, "invalid_message"),
        (r#"{"message":" "}"#, "invalid_message"),
        (r#"{"message":"hi","client_id":"x"}"#, "invalid_client_id"),
    ] {
        world.say(conn, say);
        let texts = world.texts(conn);
        assert_eq!(
            (texts.len(), at(&texts[0], "error.code").as_str(), at(&texts[0], "error.retry").as_str()),
            (1, code, "false"),
            "{say}"
        );
    }
    let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(4_000));
    world.say(conn, &long);
    assert_eq!(at(&world.texts(conn)[0], "0.message").chars().count(), 4_000);
    world.say(conn, &long.replacen('é', "éé", 1));
    assert_eq!(at(&world.texts(conn)[0], "error.code"), "invalid_message");
    // The same frames in every split.
    let bytes = frame(0x81, r#"{"message":"split"}"#.as_bytes());
    for split in 0..bytes.len() {
        world.send(conn, &bytes[..split]);
        world.send(conn, &bytes[split..]);
        assert_eq!(at(&world.texts(conn)[0], "0.message"), "split");
    }
    world.send(conn, &frame(0x82, b"{}"));
    assert_eq!(closed(&mut world, conn).map(|(code, _)| code), Some(1_003));
}

#[test]
fn a_legacy_socket_ends_with_its_token_without_a_warning() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (conn, _) = open(&mut world, &ann, &bob);
    let mut frames = Vec::new();
    for _ in 0..900 {
        world.pass(std::time::Duration::from_secs(1));
        frames.extend(world.frames(conn));
        if !world.is_closed(conn) && frames.last() == Some(&Frame::Ping) {
            world.send(conn, &frame(0x8a, b""));
        }
    }
    frames.retain(|frame| *frame != Frame::Ping);
    assert!(matches!(frames[..], [Frame::Close(4_401, _)]), "{frames:?}");
}
