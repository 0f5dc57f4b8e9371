//! REQUIRE_VERIFIED: everything but `/user/*` needs a verified address.

use natter::model::settings::Settings;

use super::codes::code_of;
use crate::support::http::Person;
use crate::support::{World, limits, settings};

fn strict() -> World {
    World::with(Settings { require_verified: true, ..settings(limits()) })
}

fn verify(world: &mut World, person: &Person, name: &str) {
    let body = format!(r#"{{"code":"{}"}}"#, code_of(world, name));
    let done = world.ask_as(person, "POST", "/api/v1/user/verify/check", Some(&body));
    assert_eq!(done.status, 200, "{}", done.text());
}

fn not_verified() -> (u16, String) {
    (403, "not_verified".to_owned())
}

#[test]
fn nothing_but_the_account_is_open_before_the_address_is_verified() {
    let mut world = strict();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let list = world.ask_as(&ann, "GET", "/api/v1/conversations", None);
    assert_eq!((list.status, list.code()), not_verified());
    let post = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let posted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&post));
    assert_eq!((posted.status, posted.code()), not_verified());
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 200);
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/sessions", None).status, 200);
    verify(&mut world, &ann, "ann");
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&post)).status, 201);
    let list = world.ask_as(&bob, "GET", "/api/v1/conversations", None);
    assert_eq!((list.status, list.code()), not_verified(), "a code verifies only its own member");
}

#[test]
fn errors_of_the_request_come_first() {
    let mut world = strict();
    let ann = world.sign_up("ann");
    let posted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(r#"{"body":"hi"}"#));
    assert_eq!(posted.status, 422, "{}", posted.text());
    assert_eq!(world.ask("GET", "/api/v1/conversations", &[], None).status, 401);
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/nothing/here/at/all", None).status, 404);
    assert_eq!(world.ask("GET", "/healthz", &[], None).status, 200);
}

#[test]
fn streams_open_to_the_verified_only() {
    let mut world = strict();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    verify(&mut world, &ann, "ann");
    let bearer = format!("Bearer {}", bob.access);
    for path in ["/api/v1/ws".to_owned(), format!("/api/v1/ws/{}/{}", bob.profile, ann.profile)] {
        let refusal = world.upgrade(&path, &[("Authorization", &bearer)]).expect_err("a refusal");
        assert_eq!((refusal.status, refusal.code()), not_verified(), "{path}");
    }
    for path in ["/api/v1/events", "/api/v1/chat-list", "/api/v1/chat-counter"] {
        let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
        let refusal = world.ask("GET", path, &fields, None);
        assert_eq!((refusal.status, refusal.code()), not_verified(), "{path}");
    }
    // A ticket can be requested, but opens no stream.
    let ticket = world.ask_as(&bob, "POST", "/api/v1/user/ticket", None).at("data.ticket");
    let refusal = world.upgrade(&format!("/api/v1/ws?ticket={ticket}"), &[]).expect_err("a refusal");
    assert_eq!((refusal.status, refusal.code()), not_verified());
    let socket = world.open_socket(&ann, "/api/v1/ws");
    assert!(!world.frames(socket).is_empty());
}

#[test]
fn a_verified_member_is_looked_up_once() {
    let mut world = strict();
    let ann = world.sign_up("ann");
    verify(&mut world, &ann, "ann");
    let asked = |world: &mut World| {
        world.trace.clear();
        assert_eq!(world.ask_as(&ann, "GET", "/api/v1/conversations", None).status, 200);
        world.trace.clone()
    };
    assert_eq!(asked(&mut world), ["ListConversations"], "the check itself is remembered");
    let mut world = world.restart();
    assert_eq!(asked(&mut world), ["FindAccount", "ListConversations"]);
    assert_eq!(asked(&mut world), ["ListConversations"]);
}

#[test]
fn without_the_setting_no_member_is_looked_up() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    world.trace.clear();
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/conversations", None).status, 200);
    assert_eq!(world.trace, ["ListConversations"]);
}
