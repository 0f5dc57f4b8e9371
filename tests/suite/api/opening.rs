//! What may end while a stream opens.
//!
//! Storage may be asked between the check of a stream's token and its first bytes. Meanwhile the session may end, or
//! the token may expire.

use std::time::Duration;

use natter::model::settings::Settings;
use natter::server::contract::ConnId;

use super::codes::code_of;
use crate::support::http::{Person, request, responses};
use crate::support::socket::UPGRADE;
use crate::support::{World, limits, settings};

/// Two people, of whom Ann is verified. A server that has just started must ask storage about that.
fn strict() -> (World, Person, Person) {
    let mut world = World::with(Settings { require_verified: true, ..settings(limits()) });
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"code":"{}"}}"#, code_of(&world, "ann"));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/verify/check", Some(&body)).status, 200);
    (world.restart(), ann, bob)
}

type Fields = &'static [(&'static str, &'static str)];

const STREAM: Fields = &[("Accept", "text/event-stream")];
const TARGETS: usize = 6;

/// Each kind of stream that Ann can open, and the header fields that ask for it.
fn targets(ann: &Person, bob: &Person) -> [(String, Fields); TARGETS] {
    [
        ("/api/v1/ws".to_owned(), &UPGRADE),
        (format!("/api/v1/ws/{}/{}", ann.profile, bob.profile), &UPGRADE),
        ("/api/v1/events".to_owned(), STREAM),
        ("/api/v1/chat-list".to_owned(), STREAM),
        ("/api/v1/chat-counter".to_owned(), STREAM),
        ("/api/v1/events?cursor=now&wait=30".to_owned(), &[("Accept", "*/*")]),
    ]
}

/// Asks for a stream and calls `meanwhile` before storage answers; returns the bytes that arrived.
fn open(
    world: &mut World,
    person: &Person,
    target: &str,
    fields: &[(&str, &str)],
    meanwhile: impl FnOnce(&mut World),
) -> (ConnId, Vec<u8>) {
    let bearer = format!("Bearer {}", person.access);
    let conn = world.connect();
    world.holds = true;
    let fields = [&[("Authorization", bearer.as_str())], fields].concat();
    world.send(conn, &request("GET", target, &fields, None));
    assert_eq!((world.asked.len(), world.take(conn).len()), (1, 0), "{target} waits for storage");
    let command = world.asked.pop_front().expect("a command");
    world.holds = false;
    meanwhile(world);
    world.asked.push_back(command);
    world.release(1);
    (conn, world.take(conn))
}

/// Nothing is disclosed and no socket is opened: the response is the 401 that it would have been a moment later.
#[test]
fn a_session_that_ends_meanwhile_opens_nothing() {
    for at in 0..TARGETS {
        let (mut world, ann, bob) = strict();
        let (target, fields) = targets(&ann, &bob)[at].clone();
        let (conn, mut bytes) = open(&mut world, &ann, &target, fields, |world| {
            assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
        });
        let refused = responses(&mut bytes, false).remove(0);
        assert_eq!((refused.status, refused.code()), (401, "unauthorized_access".into()), "{target}");
        assert!(bytes.is_empty(), "{target}");
        world.reset(conn);
        assert_eq!(world.server.load(), (0, 0, 0), "{target}");
    }
}

/// If storage hangs for longer than the token lives, no stream stays open.
#[test]
fn a_token_that_ends_meanwhile_ends_the_stream() {
    for at in 0..TARGETS {
        let (mut world, ann, bob) = strict();
        let (target, fields) = targets(&ann, &bob)[at].clone();
        let (conn, bytes) = open(&mut world, &ann, &target, fields, |world| {
            world.pass(Duration::from_secs(901));
        });
        world.pass(Duration::ZERO);
        match fields {
            [("Accept", "*/*")] => {
                assert!(bytes.starts_with(b"HTTP/1.1 200 "), "a poll returns what exists")
            }
            fields if fields == UPGRADE => assert_eq!(world.close_code(conn), Some(4_401), "{target}"),
            _ => assert!(world.is_closed(conn), "{target}"),
        }
    }
}
