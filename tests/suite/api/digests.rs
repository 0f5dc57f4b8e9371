//! Digests: who gets a mail about what is unread, when, and what it says.

use std::time::Duration;

use natter::model::job::Delivery;
use natter::model::settings::Settings;

use super::codes::code_of;
use super::export::exported;
use crate::support::http::Person;
use crate::support::{World, limits, settings};

const HOUR: Duration = Duration::from_secs(3_600);

fn set(world: &mut World, who: &Person, fields: &[(&str, &str)], on: bool) -> (u16, String) {
    let bearer = format!("Bearer {}", who.access);
    let fields = [&[("Authorization", &*bearer)], fields].concat();
    let body = format!(r#"{{"digest":{on}}}"#);
    let answer = world.ask("PUT", "/api/v1/user/me", &fields, Some(&body));
    (answer.status, answer.at("data.member.digest"))
}

fn verify(world: &mut World, who: &Person, name: &str) {
    let body = format!(r#"{{"code":"{}"}}"#, code_of(world, name));
    assert_eq!(world.ask_as(who, "POST", "/api/v1/user/verify/check", Some(&body)).status, 200);
}

fn say(world: &mut World, from: &Person, to: &str, n: u32) {
    let body = format!(r#"{{{to},"client_id":"01ARZ3NDEKTSV4RRFFQ69{n:05}","body":"a secret {n}"}}"#);
    let posted = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
}

/// The digests that were sent: to whom, and their texts.
fn digests(world: &World) -> Vec<(String, String)> {
    let is_digest = |subject: &str| subject == "Unread messages" || subject == "رسائل غير مقروءة";
    let all = world.mails.iter().filter(|mail| is_digest(mail.subject.expose()));
    all.map(|mail| (mail.to.expose().clone(), mail.body.expose().clone())).collect()
}

fn world() -> World {
    let mut limits = limits();
    limits.access_ttl = 30 * 86_400;
    World::with(settings(limits))
}

#[test]
fn who_was_away_gets_one_mail_a_day_without_a_text() {
    let mut world = world();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    for (who, name) in [(&ann, "ann"), (&bob, "bob")] {
        verify(&mut world, who, name);
    }
    let me = world.ask_as(&bob, "GET", "/api/v1/user/me", None);
    assert_eq!(
        (me.at("data.mails"), me.at("data.member.digest")),
        ("true".into(), "null".into()),
        "off at first"
    );
    assert_eq!(set(&mut world, &bob, &[], true), (200, "true".into()));
    assert!(exported(&mut world, &bob).contains(r#""digest":true"#));
    let group = format!(r#"{{"title":"tea {{site}}","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group)).at("data.id");
    world.pass(HOUR);
    assert_eq!(digests(&world), [], "a system message is not unread");
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/profile", None).status, 200);
    world.pass(HOUR / 30);
    for n in 1..=3 {
        say(&mut world, &ann, &format!(r#""conversation":"{group}""#), n);
    }
    say(&mut world, &ann, &format!(r#""to":"{}""#, bob.profile), 4);
    world.pass(HOUR / 2);
    assert_eq!(digests(&world), [], "not at once");
    world.pass(HOUR);
    let sent = digests(&world);
    let [(to, text)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(to, "bob@example.org");
    for part in ["Unread messages: 4\n", "\nann: 1\ntea {site}: 3\n", "To turn it off"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("secret"), "{text}");
    // Not again on this day, over a restart and off and on again.
    say(&mut world, &ann, &format!(r#""to":"{}""#, bob.profile), 5);
    let mut world = world.restart();
    assert_eq!(set(&mut world, &bob, &[], false), (200, "null".into()));
    assert_eq!(set(&mut world, &bob, &[("Accept-Language", "ar")], true), (200, "true".into()));
    world.pass(22 * HOUR);
    assert_eq!(digests(&world).len(), 1, "only the first");
    say(&mut world, &ann, &format!(r#""to":"{}""#, bob.profile), 6);
    world.pass(3 * HOUR);
    let sent = digests(&world);
    assert!(sent.len() == 2 && sent[1].1.contains("الرسائل غير المقروءة: 6"), "{sent:?}");
}

#[test]
fn who_is_here_has_read_it_or_has_no_verified_address_gets_none() {
    let mut world = world();
    let names = ["ann", "bob", "cat", "dan", "eve", "fay"];
    let [ann, bob, cat, dan, eve, fay] = names.map(|name| world.sign_up(name));
    for (who, name) in [(&bob, "bob"), (&cat, "cat"), (&eve, "eve"), (&fay, "fay")] {
        verify(&mut world, who, name);
    }
    for who in [&bob, &cat, &dan, &eve, &fay] {
        assert_eq!(set(&mut world, who, &[], true), (200, "true".into()));
    }
    assert_eq!(set(&mut world, &fay, &[], false), (200, "null".into()));
    for (n, who) in (1..).zip([&bob, &cat, &dan, &eve, &fay]) {
        say(&mut world, &ann, &format!(r#""to":"{}""#, who.profile), n);
    }
    // Cat reads it, Eve mutes it, Dan's address is not verified, Bob is here from time to time, and
    // Fay does not want any more.
    let list = world.ask_as(&cat, "GET", "/api/v1/conversations", None).at("data.0.id");
    let path = format!("/api/v1/conversations/{list}/read");
    assert_eq!(world.ask_as(&cat, "POST", &path, Some(r#"{"n":1}"#)).status, 200);
    let muted = world.ask_as(&eve, "GET", "/api/v1/conversations", None).at("data.0.id");
    let path = format!("/api/v1/conversations/{muted}");
    assert_eq!(world.ask_as(&eve, "PUT", &path, Some(r#"{"muted":true}"#)).status, 200);
    for _ in 0..6 {
        world.pass(HOUR / 2);
        assert_eq!(world.ask_as(&bob, "GET", "/api/v1/profile", None).status, 200);
    }
    assert_eq!(digests(&world), []);
}

/// Ann and bob, who wants digests and has not read the first message of a group that both are in.
fn world_of_two() -> (World, Person, Person, String) {
    let mut world = world();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    verify(&mut world, &bob, "bob");
    assert_eq!(set(&mut world, &bob, &[], true), (200, "true".into()));
    let group = format!(r#"{{"title":"tea","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group)).at("data.id");
    say(&mut world, &ann, &format!(r#""conversation":"{group}""#), 1);
    world.pass(HOUR / 2);
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/profile", None).status, 200);
    world.pass(HOUR / 60);
    (world, ann, bob, group)
}

#[test]
fn a_change_of_a_group_and_a_deleted_message_are_no_cause() {
    let (mut world, ann, _bob, group) = world_of_two();
    let path = format!("/api/v1/conversations/{group}");
    assert_eq!(world.ask_as(&ann, "PUT", &path, Some(r#"{"title":"coffee"}"#)).status, 200);
    let body = format!(r#"{{"conversation":"{group}","client_id":"01ARZ3NDEKTSV4RRFFQ6900002","body":"x"}}"#);
    let deleted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).at("data.id");
    let path = format!("/api/v1/messages/{deleted}");
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    world.pass(3 * HOUR);
    assert_eq!(digests(&world), [], "bob was here after the only unread message");
    say(&mut world, &ann, &format!(r#""conversation":"{group}""#), 3);
    let path = format!("/api/v1/conversations/{group}");
    assert_eq!(world.ask_as(&ann, "PUT", &path, Some(r#"{"title":"water"}"#)).status, 200);
    world.pass(HOUR);
    let sent = digests(&world);
    assert!(sent.len() == 1 && sent[0].1.contains("\nwater: 2\n"), "{sent:?}");
}

#[test]
fn messages_that_never_pause_do_not_put_it_off() {
    let (mut world, ann, _bob, group) = world_of_two();
    for n in 2..7 {
        assert_eq!(digests(&world), [], "bob was here less than an hour ago");
        say(&mut world, &ann, &format!(r#""conversation":"{group}""#), n);
        world.pass(HOUR / 5);
    }
    say(&mut world, &ann, &format!(r#""conversation":"{group}""#), 7);
    world.pass(HOUR / 5);
    assert_eq!(digests(&world).len(), 1);
}

#[test]
fn who_signed_out_was_here_until_then() {
    let (mut world, ann, bob, group) = world_of_two();
    world.pass(HOUR / 2);
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/user/logout", None).status, 200);
    world.pass(3 * HOUR);
    assert_eq!(digests(&world), [], "the only unread message is older");
    let bob = world.sign_in("bob");
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/user/logout", None).status, 200);
    let mut world = world.restart();
    world.pass(HOUR / 60);
    say(&mut world, &ann, &format!(r#""conversation":"{group}""#), 2);
    world.pass(HOUR * 5 / 6);
    assert_eq!(digests(&world), [], "bob was here less than an hour ago");
    world.pass(HOUR / 2);
    assert_eq!(digests(&world).len(), 1);
}

#[test]
fn a_mail_that_waits_is_not_sent_after_it_was_turned_off() {
    for turned_off in [true, false] {
        let (mut world, ann, bob, group) = world_of_two();
        say(&mut world, &ann, &format!(r#""conversation":"{group}""#), 2);
        // Tries that fail keep the mail in the outbox, until it is tried an hour later.
        world.deliveries = [Delivery::Failed; 5].into();
        world.pass(HOUR * 5 / 4);
        assert!(world.deliveries.len() < 5, "it was tried");
        assert_eq!(set(&mut world, &bob, &[], !turned_off).0, 200);
        world.deliveries.clear();
        let before = digests(&world).len();
        world.pass(5 * HOUR);
        let sent = digests(&world).len() - before;
        assert_eq!(sent, usize::from(!turned_off), "turned off: {turned_off}");
    }
}

#[test]
fn without_a_mail_server_there_are_none() {
    let mut world = World::with(Settings { mail_to_file: true, ..settings(limits()) });
    let ann = world.sign_up("ann");
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).at("data.mails"), "null");
    let refused = world.ask_as(&ann, "PUT", "/api/v1/user/me", Some(r#"{"digest":true}"#));
    assert_eq!((refused.status, refused.code()), (422, "invalid_digest".into()));
    for body in [r#"{"digest":false}"#, "{}"] {
        assert_eq!(world.ask_as(&ann, "PUT", "/api/v1/user/me", Some(body)).status, 200, "{body}");
    }
    let refused = world.ask_as(&ann, "PUT", "/api/v1/user/me", Some(r#"{"digest":1}"#));
    assert_eq!((refused.status, refused.code()), (422, "invalid_digest".into()));
}
