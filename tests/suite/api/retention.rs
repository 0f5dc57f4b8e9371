//! Retention: what is too old becomes a tombstone, everywhere at once, and nothing younger does.

use std::time::Duration;

use natter::limits::Limits;

use super::deletion::on_disk;
use super::uploads::raw;
use crate::support::World;
use crate::support::http::{Person, Response};
use crate::support::pictures;

const DAY: Duration = Duration::from_secs(86_400);
/// The sweep begins each hour.
const SLACK: Duration = Duration::from_secs(3_700);

fn world(messages_days: Option<u32>, uploads_days: Option<u32>) -> World {
    let limits = Limits { access_ttl: 1 << 30, ..crate::support::limits() };
    let mut settings = crate::support::settings(limits);
    settings.messages_kept = messages_days.map(|days| DAY * days);
    settings.uploads_kept = uploads_days.map(|days| DAY * days);
    World::with(settings)
}

/// `to` is a field of the post, as `"to":"…"`.
fn post(world: &mut World, from: &Person, to: &str, rest: &str, key: u32) -> Response {
    let body = format!(r#"{{{to},"client_id":"01ARZ3NDEKTSV4RRFFQ69G{key:04}",{rest}}}"#);
    let posted = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert!(posted.status < 300, "{}", posted.text());
    posted
}

fn to(person: &Person) -> String {
    format!(r#""to":"{}""#, person.profile)
}

/// The bodies of a conversation in order, `null` for each tombstone, and whether each is one.
fn bodies(world: &mut World, who: &Person, conversation: &str) -> Vec<(String, bool)> {
    let path = format!("/api/v1/conversations/{conversation}/messages?limit=100");
    let list = world.ask_as(who, "GET", &path, None);
    let all: Vec<(String, bool)> = (0..)
        .take_while(|i| list.at(&format!("data.{i}.n")) != "null")
        .map(|i| (list.at(&format!("data.{i}.body")), list.at(&format!("data.{i}.deleted_at")) != "null"))
        .collect();
    for (i, n) in (1..=all.len()).enumerate() {
        assert_eq!(list.at(&format!("data.{i}.n")), n.to_string(), "no gap");
    }
    all
}

fn kept(text: &str) -> (String, bool) {
    (text.to_owned(), false)
}

fn gone() -> (String, bool) {
    ("null".to_owned(), true)
}

#[test]
fn an_old_message_becomes_a_tombstone_and_its_client_id_stays() {
    let mut world = world(Some(30), None);
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let file = raw(&mut world, &ann, "t.txt", b"hello");
    let (id, url) = (file.at("data.id"), file.at("data.url"));
    let rest = format!(r#""body":"old pineapple","attachments":["{id}"]"#);
    let old = post(&mut world, &ann, &to(&bob), &rest, 1);
    let (conversation, message) = (old.at("data.conversation"), old.at("data.id"));
    let react = format!("/api/v1/messages/{message}/reactions/%F0%9F%91%8D");
    assert_eq!(world.ask_as(&bob, "PUT", &react, None).status, 200);
    world.pass(20 * DAY);
    post(&mut world, &bob, &to(&ann), r#""body":"young""#, 2);
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");

    world.pass(9 * DAY);
    assert_eq!(bodies(&mut world, &ann, &conversation), [kept("old pineapple"), kept("young")]);
    world.pass(DAY - Duration::from_secs(60));
    // A socket that answers no ping is closed: one for each minute.
    let live = (0..70).find_map(|_| {
        let socket = world.open_socket(&bob, "/api/v1/ws");
        world.texts(socket);
        world.pass(Duration::from_secs(60));
        let texts = world.texts(socket);
        world.reset(socket);
        texts.into_iter().find(|text| text.contains("\"erased_n\":1"))
    });
    assert!(live.is_some_and(|text| text.contains("conversation.updated")));
    assert_eq!(bodies(&mut world, &ann, &conversation), [gone(), kept("young")]);
    // Every way to it: by its id, by a search, as a file, in a replay of the log.
    let one = world.ask_as(&bob, "GET", &format!("/api/v1/messages/{message}"), None);
    let empty = ["body", "attachments.0", "reactions.0"].map(|name| one.at(&format!("data.{name}")));
    assert_eq!(empty, ["null", "null", "null"]);
    assert!(one.at("data.rev").parse::<u64>().expect("a number") > old.at("data.rev").parse().expect("one"));
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/search?q=pineapple", None).at("data.0"), "null");
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/search?q=young", None).at("data.0.body"), "young");
    assert_eq!(world.ask("GET", &url, &[], None).status, 404);
    assert!(!world.ask_as(&bob, "GET", "/api/v1/events?limit=200", None).text().contains("pineapple"));
    // One event for the conversation.
    let replay = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={cursor}"), None);
    assert_eq!(
        (replay.at("data.0.event"), replay.at("data.1")),
        ("conversation.updated".into(), "null".into())
    );
    assert_eq!(replay.at("data.0.data.erased_n"), "1");
    let listed = world.ask_as(&ann, "GET", "/api/v1/conversations", None);
    assert_eq!(listed.at("data.0.erased_n"), "1");
    // The post is still known.
    let again = post(&mut world, &ann, &to(&bob), r#""body":"old pineapple""#, 1);
    assert_eq!((again.status, again.at("data.id"), again.at("data.body")), (200, message, "null".into()));
    assert_eq!(bodies(&mut world, &ann, &conversation).len(), 2);
}

#[test]
fn a_long_history_is_erased_in_steps_with_one_event() {
    let mut world = world(Some(7), None);
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let mut conversation = String::new();
    for key in 0..250 {
        conversation = post(&mut world, &ann, &to(&bob), r#""body":"x""#, key).at("data.conversation");
    }
    let unread = |world: &mut World| {
        world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{conversation}"), None).at("data.unread")
    };
    assert_eq!(unread(&mut world), "250");
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    world.trace.clear();
    world.pass(7 * DAY + SLACK);
    assert_eq!(world.trace.iter().filter(|asked| **asked == "EraseOld").count(), 3);
    let replay = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={cursor}"), None);
    assert_eq!((replay.at("data.0.data.erased_n"), replay.at("data.1")), ("250".into(), "null".into()));
    assert_eq!(unread(&mut world), "0");
    // Nothing is left: no run writes anything.
    world.trace.clear();
    world.pass(DAY);
    assert!(world.trace.contains(&"FindOld") && !world.trace.contains(&"EraseOld"));
    let next = post(&mut world, &ann, &to(&bob), r#""body":"y""#, 300);
    assert_eq!(next.at("data.n"), "251");
}

#[test]
fn a_group_keeps_its_messages_for_less() {
    let mut world = world(None, None);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.sign_up(name));
    let made = format!(r#"{{"title":"tea","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&made)).at("data.id");
    let path = format!("/api/v1/conversations/{group}");
    let set = |world: &mut World, who: &Person, days: &str| {
        world.ask_as(who, "PUT", &path, Some(&format!(r#"{{"messages_kept":{days}}}"#)))
    };
    for (who, days, status, code) in [
        (&ann, "0", 422, "invalid_messages_kept"),
        (&ann, "36501", 422, "invalid_messages_kept"),
        (&ann, "\"x\"", 422, "invalid_messages_kept"),
        (&bob, "7", 403, "not_allowed"),
        (&eve, "7", 404, "not_found"),
    ] {
        let refused = set(&mut world, who, days);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{days}");
    }
    let changed = set(&mut world, &ann, "7");
    assert_eq!((changed.status, changed.at("data.messages_kept")), (200, "7".into()));
    let here = format!(r#""conversation":"{group}""#);
    post(&mut world, &ann, &here, r#""body":"in the group""#, 1);
    let direct = post(&mut world, &ann, &to(&bob), r#""body":"for ever""#, 2).at("data.conversation");
    world.pass(7 * DAY + SLACK);
    // The message of the system that tells of the group, and the text.
    assert_eq!(bodies(&mut world, &bob, &group), [gone(), gone()]);
    assert_eq!(bodies(&mut world, &bob, &direct), [kept("for ever")]);
    let event = world.ask_as(&bob, "GET", "/api/v1/events?limit=200", None);
    assert!(event.text().contains(r#""messages_kept":7,"erased_n":2"#), "{}", event.text());
    // Without it they stay.
    assert_eq!(set(&mut world, &ann, "null").at("data.messages_kept"), "null");
    post(&mut world, &ann, &here, r#""body":"stays""#, 3);
    world.pass(30 * DAY);
    assert_eq!(bodies(&mut world, &bob, &group)[2], kept("stays"));
}

#[test]
fn an_old_file_leaves_its_message_and_a_picture_in_use_stays() {
    let mut world = world(None, Some(10));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let upload = |world: &mut World, bytes: &[u8]| raw(world, &ann, "t.txt", bytes).at("data.id");
    let (one, two, unused) =
        (upload(&mut world, b"one"), upload(&mut world, b"two"), upload(&mut world, b"unused"));
    let face = raw(&mut world, &ann, "p.png", &pictures::picture(1)).at("data.id");
    let image = format!(r#"{{"profile_image":"{face}"}}"#);
    assert_eq!(world.ask_as(&ann, "PUT", "/api/v1/profile", Some(&image)).status, 200);
    let attach = |id: &str, rest: &str| format!(r#""attachments":["{id}"]{rest}"#);
    let with_text = post(&mut world, &ann, &to(&bob), &attach(&one, r#","body":"look""#), 1);
    let conversation = with_text.at("data.conversation");
    post(&mut world, &ann, &to(&bob), &attach(&two, ""), 2);
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    world.pass(9 * DAY);
    let status = |world: &mut World, id: &str| {
        let attached = format!(
            r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G0009","attachments":["{id}"]}}"#,
            ann.profile
        );
        world.ask_as(&bob, "POST", "/api/v1/messages", Some(&attached)).status
    };
    assert_eq!(status(&mut world, &unused), 422, "it is another's");
    let young = upload(&mut world, b"young");
    world.pass(DAY + SLACK);
    assert_eq!(bodies(&mut world, &bob, &conversation), [kept("look"), gone()]);
    let replay = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={cursor}"), None);
    let events = [0, 1, 2].map(|i| replay.at(&format!("data.{i}.event")));
    assert_eq!(events, ["message.edited", "message.deleted", "null"]);
    assert_eq!(
        ["attachments.0", "edited_at", "body"].map(|name| replay.at(&format!("data.0.data.{name}"))),
        ["null", "null", "look"]
    );
    for (id, expect) in [(&one, 404), (&two, 404), (&unused, 404), (&young, 204), (&face, 409)] {
        let deleted = world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{id}"), None);
        assert_eq!(deleted.status, expect, "{id}: {}", deleted.text());
    }
}

/// As after a deletion: within a minute of its erasure no file contains the text.
#[test]
fn no_file_contains_what_was_too_old() {
    let mut world = world(Some(30), None);
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let words = "flabbergasted ".repeat(250);
    for n in 0..20 {
        post(&mut world, &ann, &to(&bob), &format!(r#""body":"{words}""#), n);
    }
    assert!(!on_disk(&world, "flabbergasted").is_empty());
    world.pass(30 * DAY);
    world.pass(SLACK);
    let later = world.now.instant + Duration::from_secs(59);
    world.maintain(later);
    assert_eq!(on_disk(&world, "flabbergasted"), Vec::<String>::new());
}

/// As after a 201 that was lost on the way: nobody knows the id, and the bytes count in the quota.
#[test]
fn an_upload_that_nothing_shows_is_deleted_after_a_week() {
    let limits = Limits { access_ttl: 1 << 30, upload_quota: 1_000, ..crate::support::limits() };
    let mut world = World::with(crate::support::settings(limits));
    let stored = |world: &World, byte: &str| !on_disk(world, &byte.repeat(40)).is_empty();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let lost = raw(&mut world, &ann, "lost.txt", &[b'x'; 600]);
    let lost_url = lost.at("data.url");
    let shown = raw(&mut world, &ann, "shown.txt", &[b'y'; 300]);
    let (shown_id, shown_url) = (shown.at("data.id"), shown.at("data.url"));
    post(&mut world, &ann, &to(&bob), &format!(r#""body":"look","attachments":["{shown_id}"]"#), 1);
    assert_eq!(raw(&mut world, &ann, "more.txt", &[b'z'; 300]).code(), "quota_exceeded");
    world.pass(7 * DAY - SLACK);
    assert!(stored(&world, "x"));
    assert_eq!(raw(&mut world, &ann, "young.txt", &[b'v'; 50]).status, 201);
    world.pass(2 * SLACK);
    assert!(!stored(&world, "x") && stored(&world, "y") && stored(&world, "v"));
    assert_eq!(world.ask("GET", &lost_url, &[], None).status, 404);
    let bearer = format!("Bearer {}", bob.access);
    let path = shown_url.split('?').next().expect("a path").to_owned();
    assert_eq!(world.ask("GET", &path, &[("Authorization", &bearer)], None).status, 200);
    // The quota has room again, and what is shown later stays.
    let more = raw(&mut world, &ann, "more.txt", &[b'z'; 300]);
    assert_eq!(more.status, 201, "{}", more.text());
    let more = more.at("data.id");
    world.pass(6 * DAY);
    post(&mut world, &ann, &to(&bob), &format!(r#""body":"more","attachments":["{more}"]"#), 2);
    world.pass(2 * DAY);
    assert!(stored(&world, "z") && !stored(&world, "v"));
}
