//! Sessions listed and revoked, passwords changed, tickets: each success, each refusal, and an attempt by another
//! member.

use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, Response};

const SESSIONS: &str = "/api/v1/user/sessions";
const PASSWORD: &str = "/api/v1/user/password";
const TICKET: &str = "/api/v1/user/ticket";

/// Another session of the member who signed up as `name`.
fn sign_in(world: &mut World, name: &str, password: &str, more: &str) -> Response {
    let body = format!(r#"{{"email":"{name}@example.org","password":"{password}"{more}}}"#);
    world.ask("POST", "/api/v1/user/sign-in", &[("User-Agent", "second/2")], Some(&body))
}

fn again(world: &mut World, name: &str) -> Person {
    let response = sign_in(world, name, &format!("correct horse {name}'s"), "");
    assert_eq!(response.status, 200, "{}", response.text());
    Person {
        profile: response.at("data.profile.id"),
        member: response.at("data.member.id"),
        access: response.at("data.token.access"),
        refresh: response.at("data.token.refresh"),
    }
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn unauthorized() -> (u16, String) {
    (401, "unauthorized_access".to_owned())
}

fn works(world: &mut World, person: &Person) -> bool {
    world.ask_as(person, "GET", "/api/v1/user/me", None).status == 200
}

#[test]
fn sessions_are_listed_newest_first_and_one_of_them_is_this() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    world.sign_up("bob");
    world.pass(Duration::from_secs(10));
    sign_in(&mut world, "ann", "correct horse ann's", r#","unique_id":"phone-1""#);
    let list = world.ask_as(&ann, "GET", SESSIONS, None);
    assert_eq!((list.status, list.at("next"), list.at("data.2")), (200, "null".into(), "null".into()));
    assert_eq!(
        (list.at("data.0.unique_id"), list.at("data.0.user_agent"), list.at("data.0.current")),
        ("phone-1".into(), "second/2".into(), "false".into())
    );
    assert_eq!((list.at("data.0.address"), list.at("data.0.place")), ("127.0.0.1".into(), "null".into()));
    assert_eq!((list.at("data.1.unique_id"), list.at("data.1.current")), ("null".into(), "true".into()));
    assert_eq!(list.at("data.1.created_at"), "2026-11-22T13:03:54.120Z");
    assert_eq!(list.at("data.0.created_at"), "2026-11-22T13:04:04.120Z");

    let first = world.ask_as(&ann, "GET", &format!("{SESSIONS}?limit=1"), None);
    assert_eq!((first.at("data.0.id"), first.at("data.1")), (list.at("data.0.id"), "null".into()));
    let next = first.at("next");
    let second = world.ask_as(&ann, "GET", &format!("{SESSIONS}?limit=1&next={next}"), None);
    assert_eq!((second.at("data.0.id"), second.at("next")), (list.at("data.1.id"), "null".into()));
    let bad = world.ask_as(&ann, "GET", &format!("{SESSIONS}?next=x1"), None);
    assert_eq!(refused(&bad), (400, "error_parsing_data".into()));
    assert_eq!(refused(&world.ask("GET", SESSIONS, &[], None)), unauthorized());
}

/// `last_seen_at` changes at most once a minute, by requests and by open sockets, and is stored.
#[test]
fn a_session_is_seen_once_a_minute() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let seen = |world: &mut World, index: usize| {
        let list = world.ask_as(&ann, "GET", SESSIONS, None);
        list.at(&format!("data.{index}.last_seen_at"))
    };
    world.pass(Duration::from_secs(30));
    assert_eq!(seen(&mut world, 0), "2026-11-22T13:03:54.120Z", "not written yet");
    world.pass(Duration::from_secs(31));
    assert_eq!(seen(&mut world, 0), "2026-11-22T13:04:24.120Z");
    let other = again(&mut world, "ann");
    let socket = world.open_socket(&other, "/api/v1/ws");
    world.pass(Duration::from_secs(40));
    world.send(socket, &[0x8a, 0x80, 0, 0, 0, 0]);
    world.pass(Duration::from_secs(90));
    let by_socket = seen(&mut world, 0);
    assert!(by_socket.as_str() > "2026-11-22T13:05:20", "{by_socket}");
    let mut world = world.restart();
    assert_eq!(seen(&mut world, 0), by_socket);
}

#[test]
fn a_revoked_session_ends_at_once_and_stays_ended() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let phone = again(&mut world, "ann");
    let id = world.ask_as(&phone, "GET", SESSIONS, None).at("data.0.id");
    let path = format!("{SESSIONS}/{id}");
    let (socket, kept) = (world.open_socket(&phone, "/api/v1/ws"), world.open_socket(&ann, "/api/v1/ws"));
    let pair = world.open_socket(&phone, &format!("/api/v1/ws/{}/{}", phone.profile, bob.profile));

    // Another member can't see or revoke the session.
    assert_eq!(refused(&world.ask_as(&bob, "DELETE", &path, None)), (404, "not_found".into()));
    assert_eq!(refused(&world.ask("DELETE", &path, &[], None)), unauthorized());
    let unknown = format!("{SESSIONS}/01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(world.ask_as(&ann, "DELETE", &unknown, None).status, 404);
    assert_eq!(world.ask_as(&ann, "DELETE", &format!("{SESSIONS}/nonsense"), None).status, 404);
    assert!(works(&mut world, &phone));

    let revoked = world.ask_as(&ann, "DELETE", &path, None);
    assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    assert_eq!((world.close_code(socket), world.close_code(pair)), (Some(4401), Some(4401)));
    let received = world.texts(kept);
    assert!(
        received.last().is_some_and(|text| text.contains("session.ended") && text.contains(&id)),
        "{received:?}"
    );
    assert!(!works(&mut world, &phone) && works(&mut world, &ann));
    let refresh = format!(r#"{{"refresh":"{}"}}"#, phone.refresh);
    let answer = world.ask("POST", "/api/v1/user/refresh", &[], Some(&refresh));
    assert_eq!(refused(&answer), unauthorized());
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 404, "revoked already");
    assert_eq!(world.ask_as(&ann, "GET", SESSIONS, None).at("data.1"), "null");

    let mut world = world.restart();
    // The access token has not expired, but is refused.
    assert!(!works(&mut world, &phone) && works(&mut world, &ann));
}

#[test]
fn all_others_are_revoked_together() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let others = [again(&mut world, "ann"), again(&mut world, "ann")];
    let sockets: Vec<_> = others.iter().map(|other| world.open_socket(other, "/api/v1/ws")).collect();
    assert_eq!(refused(&world.ask("DELETE", SESSIONS, &[], None)), unauthorized());
    assert_eq!(world.ask_as(&bob, "DELETE", SESSIONS, None).status, 204);
    assert!(works(&mut world, &others[0]), "bob has no other session, and ann's sessions are not touched");
    assert_eq!(world.ask_as(&ann, "DELETE", SESSIONS, None).status, 204);
    for socket in sockets {
        assert_eq!(world.close_code(socket), Some(4401));
    }
    for other in &others {
        assert!(!works(&mut world, other));
    }
    assert!(works(&mut world, &ann) && works(&mut world, &bob));
}

fn change(old: &str, new: &str, confirm: &str) -> String {
    format!(r#"{{"password":"{old}","new_password":"{new}","confirm_password":"{confirm}"}}"#)
}

/// A change of the password ends all other sessions. The predecessor's revoked nothing.
#[test]
fn a_changed_password_ends_all_other_sessions() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let other = again(&mut world, "ann");
    let socket = world.open_socket(&other, "/api/v1/ws");
    let body = change("correct horse ann's", "a new and better one", "a new and better one");
    let changed = world.ask_as(&ann, "PUT", PASSWORD, Some(&body));
    assert_eq!((changed.status, changed.text()), (200, r#"{"data":null}"#));
    assert_eq!(world.close_code(socket), Some(4401));
    assert!(works(&mut world, &ann) && !works(&mut world, &other));
    let old = sign_in(&mut world, "ann", "correct horse ann's", "");
    assert_eq!(refused(&old), (401, "email_password_wrong".into()));
    assert_eq!(sign_in(&mut world, "ann", "a new and better one", "").status, 200);
}

#[test]
fn a_password_change_needs_the_old_password_and_a_good_new_one() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let new = "a new and better one";
    let mut check = |person: &Person, body: &str, expect: (u16, &str)| {
        let answer = world.ask_as(person, "PUT", PASSWORD, Some(body));
        assert_eq!(refused(&answer), (expect.0, expect.1.to_owned()), "{body}");
        if expect.0 == 401 {
            assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
        }
    };
    check(&ann, &change("wrong", new, new), (401, "email_password_wrong"));
    check(&bob, &change("correct horse ann's", new, new), (401, "email_password_wrong"));
    check(&ann, &change("correct horse ann's", new, "another"), (400, "password_mismatch"));
    check(&ann, &change("correct horse ann's", "short", "short"), (422, "invalid_new_password"));
    let mail = "ann@example.org";
    check(&ann, &change("correct horse ann's", mail, mail), (422, "invalid_new_password"));
    check(&ann, &change("correct horse ann's", "password123", "password123"), (422, "invalid_new_password"));
    check(&ann, "{}", (422, "invalid_password"));
    check(&ann, r#"{"password":"x"}"#, (422, "invalid_new_password"));
    check(&ann, r#"{"password":"x","new_password":"y"}"#, (422, "invalid_confirm_password"));
    check(&ann, "[]", (400, "error_parsing_data"));
    let body = change("correct horse ann's", new, new);
    assert_eq!(refused(&world.ask("PUT", PASSWORD, &[], Some(&body))), unauthorized());
    assert_eq!(sign_in(&mut world, "ann", "correct horse ann's", "").status, 200, "unchanged");
}

/// A stolen access token does not help to guess the password.
#[test]
fn guesses_of_the_own_password_are_counted() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let body = change("wrong", "a new and better one", "a new and better one");
    for _ in 0..10 {
        assert_eq!(world.ask_as(&ann, "PUT", PASSWORD, Some(&body)).status, 401);
    }
    let right = change("correct horse ann's", "a new and better one", "a new and better one");
    let closed = world.ask_as(&ann, "PUT", PASSWORD, Some(&right));
    assert_eq!(refused(&closed), (429, "rate_limited".into()));
    world.pass(Duration::from_secs(14 * 60 + 59));
    let person = again(&mut world, "ann");
    assert_eq!(world.ask_as(&person, "PUT", PASSWORD, Some(&right)).status, 429);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.ask_as(&person, "PUT", PASSWORD, Some(&right)).status, 200);
}

fn ticket(world: &mut World, person: &Person, body: Option<&str>) -> String {
    let answer = world.ask_as(person, "POST", TICKET, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.at("data.ticket")
}

/// A stream is opened by a ticket of one use. The predecessor had a 24-hour token in its WebSocket URLs.
#[test]
fn a_ticket_opens_one_socket_within_half_a_minute() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let open = |ticket: &str| format!("/api/v1/ws?ticket={ticket}");
    let first = ticket(&mut world, &ann, None);
    let socket = world.upgrade(&open(&first), &[]).expect("opened");
    assert!(world.texts(socket)[0].contains(&ann.profile));
    let second_use = world.upgrade(&open(&first), &[]).expect_err("used up");
    assert_eq!(refused(&second_use), unauthorized());

    let pair = format!("/api/v1/ws/{}/{}?ticket=", ann.profile, bob.profile);
    let second = ticket(&mut world, &ann, Some("{}"));
    assert!(world.upgrade(&format!("{pair}{second}"), &[]).is_ok());
    let foreign = ticket(&mut world, &bob, None);
    let refusal = world.upgrade(&format!("{pair}{foreign}"), &[]).expect_err("bob is not ann");
    assert_eq!(refused(&refusal), (403, "not_allowed".into()));

    let late = ticket(&mut world, &ann, None);
    world.pass(Duration::from_secs(30));
    assert!(world.upgrade(&open(&late), &[]).is_err());
    for bad in ["", "nonsense", "%00"] {
        assert_eq!(refused(&world.upgrade(&open(bad), &[]).expect_err("refused")), unauthorized());
    }
    assert_eq!(refused(&world.ask("POST", TICKET, &[], None)), unauthorized());
    let bad = world.ask_as(&ann, "POST", TICKET, Some(r#"{"for":"everything"}"#));
    assert_eq!(refused(&bad), (422, "invalid_for".into()));
}

/// A presented ticket is used up, even if the upgrade was refused, so that a ticket in a log is worth nothing.
#[test]
fn a_ticket_is_used_up_by_being_presented() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let ticket = ticket(&mut world, &ann, None);
    let path = format!("/api/v1/ws?ticket={ticket}");
    assert_eq!(world.ask("GET", &path, &[], None).status, 426);
    assert_eq!(refused(&world.upgrade(&path, &[]).expect_err("used up")), unauthorized());
}

#[test]
fn a_socket_ticket_opens_nothing_else_and_ends_with_session_and_process() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let mine = ticket(&mut world, &ann, None);
    for path in ["/api/v1/user/me", "/api/v1/events"] {
        assert_eq!(world.ask("GET", &format!("{path}?ticket={mine}"), &[], None).status, 401, "{path}");
    }
    let phone = again(&mut world, "ann");
    let phones = ticket(&mut world, &phone, None);
    assert_eq!(world.ask_as(&phone, "POST", "/api/v1/user/logout", None).status, 200);
    assert!(world.upgrade(&format!("/api/v1/ws?ticket={phones}"), &[]).is_err());
    world.pass(Duration::from_millis(1));
    let mut world = world.restart();
    assert!(world.upgrade(&format!("/api/v1/ws?ticket={mine}"), &[]).is_err());
}

/// An EventSource reconnects with the same URL again and again, also after a restart.
#[test]
fn an_events_ticket_is_good_for_the_event_streams_until_the_token_expires() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let events = ticket(&mut world, &ann, Some(r#"{"for":"events"}"#));
    let streams = ["/api/v1/events", "/api/v1/chat-list", "/api/v1/chat-counter"];
    let opens = |world: &mut World, path: &str| {
        let conn = world.connect();
        let path = format!("{path}?ticket={events}");
        let accept = [("Accept", "text/event-stream")];
        world.send(conn, &crate::support::http::request("GET", &path, &accept, None));
        let bytes = world.take(conn);
        world.reset(conn);
        bytes.starts_with(b"HTTP/1.1 200 ")
    };
    for path in streams.iter().chain(&streams) {
        assert!(opens(&mut world, path), "{path}");
    }
    for other in ["/api/v1/user/me", "/api/v1/conversations"] {
        assert!(!opens(&mut world, other), "{other}");
    }
    assert!(world.upgrade(&format!("/api/v1/ws?ticket={events}"), &[]).is_err());
    let bearer = format!("Bearer {events}");
    assert_eq!(world.ask("GET", "/api/v1/user/me", &[("Authorization", &bearer)], None).status, 401);
    let mut world = world.restart();
    // SYNCHRONOUS=normal and an orderly stop: the epoch stays the same.
    assert!(opens(&mut world, streams[0]));
    world.pass(Duration::from_secs(900));
    assert!(!opens(&mut world, streams[0]));

    let bob = world.sign_up("bob");
    let events = ticket(&mut world, &bob, Some(r#"{"for":"events"}"#));
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/user/logout", None).status, 200);
    let ended = world.ask("GET", &format!("{}?ticket={events}", streams[0]), &[], None);
    assert_eq!(refused(&ended), unauthorized());
}

/// A ticket of a bound session needs no device header: tickets exist for clients that can't set one.
#[test]
fn tickets_of_a_bound_session_need_no_device() {
    let mut world = World::new();
    world.sign_up("ann");
    let bound = sign_in(&mut world, "ann", "correct horse ann's", r#","unique_id":"phone-1""#);
    let bearer = format!("Bearer {}", bound.at("data.token.access"));
    let without = world.ask("POST", TICKET, &[("Authorization", &bearer)], None);
    assert_eq!(refused(&without), unauthorized());
    let fields = [("Authorization", bearer.as_str()), ("UniqueId", "phone-1")];
    let issued = world.ask("POST", TICKET, &fields, None);
    let path = format!("/api/v1/ws?ticket={}", issued.at("data.ticket"));
    assert!(world.upgrade(&path, &[]).is_ok());
}
