//! Notifications: who subscribes, what is pushed to whom and when, and what becomes of a push that fails.

use std::time::Duration;

use crate::support::http::{Person, request, text_at};
use crate::support::{Seeded, World, limits, settings};
use natter::base::crypto::{Entropy, base64url};
use natter::base::json;
use natter::base::time::UnixMs;
use natter::limits::Limits;
use natter::model::job::Done;
use natter::model::push::Pushed;
use natter::server::contract::Input;

/// Longer than a message waits for its notification.
const DELAY: Duration = Duration::from_secs(8);

fn subscription(name: &str, level: &str) -> String {
    let (point, auth) = (base64url(&[4; 65]), base64url(&[9; 16]));
    format!(
        r#"{{"endpoint":"https://push.example/{name}","p256dh":"{point}","auth":"{auth}","level":"{level}"}}"#
    )
}

struct Stage {
    world: World,
    ann: Person,
    bob: Person,
    random: Seeded,
}

impl Stage {
    fn new() -> Stage {
        // A test may last for hours.
        let mut world = World::with(settings(Limits { access_ttl: 86_400, ..limits() }));
        let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
        Stage { world, ann, bob, random: Seeded(5) }
    }

    fn subscribe(&mut self, who: &Person, name: &str, level: &str) {
        let made = self.world.ask_as(who, "PUT", "/api/v1/push", Some(&subscription(name, level)));
        assert_eq!((made.status, made.at("data.level")), (200, level.to_owned()), "{}", made.text());
    }

    /// A message to a profile, or in a conversation. Returns its conversation.
    fn post(&mut self, from: &Person, to: &str, body: &str) -> String {
        let id: natter::base::id::Id = (&mut self.random as &mut dyn Entropy).id(UnixMs(7));
        let body = format!(r#"{{"to":"{to}","client_id":"{id}","body":"{body}"}}"#);
        let posted = self.world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
        posted.at("data.conversation")
    }

    fn ann_writes(&mut self, body: &str) -> String {
        let (ann, to) = (self.ann.clone(), self.bob.profile.clone());
        self.post(&ann, &to, body)
    }

    /// The texts that were pushed since the last call, each with the end of its address.
    fn pushed(&mut self) -> Vec<(String, String)> {
        let pushes = std::mem::take(&mut self.world.pushes);
        let each = pushes.into_iter().map(|one| {
            let endpoint = one.endpoint.expose();
            let name = endpoint.rsplit('/').next().expect("a name").to_owned();
            (name, String::from_utf8(one.text.expose().clone()).expect("UTF-8"))
        });
        each.collect()
    }

    fn names(&mut self) -> Vec<String> {
        self.pushed().into_iter().map(|(name, _)| name).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.world.pass(Duration::from_secs(seconds));
    }
}

fn at(text: &str, path: &str) -> String {
    text_at(&json::parse(text.as_bytes()).expect("JSON"), path)
}

#[test]
fn messages_are_merged_and_each_device_gets_what_it_asks_for() {
    let mut s = Stage::new();
    let (phone, tablet, desk) = (s.bob.clone(), s.world.sign_in("bob"), s.world.sign_in("bob"));
    s.subscribe(&phone, "phone", "text");
    s.subscribe(&tablet, "tablet", "who");
    s.subscribe(&desk, "desk", "off");
    s.ann_writes("one");
    s.pass(2);
    let conversation = s.ann_writes("two");
    s.world.pass(DELAY);
    let mut pushed = s.pushed();
    pushed.sort();
    assert_eq!(pushed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["phone", "tablet"]);
    let (text, who) = (&pushed[0].1, &pushed[1].1);
    for text in [text, who] {
        assert_eq!(
            (at(text, "unread"), at(text, "n"), at(text, "sender")),
            ("2".into(), "2".into(), "ann".into())
        );
        assert_eq!((at(text, "tag"), at(text, "conversation")), (conversation.clone(), conversation.clone()));
        assert_eq!((at(text, "type"), at(text, "title")), ("direct".into(), "null".into()));
    }
    assert_eq!((at(text, "body"), at(text, "attachments")), ("two".into(), "0".into()));
    assert!(!who.contains("two") && !who.contains("body") && !who.contains("message"), "{who}");
    // Nothing more, until there is something new.
    s.pass(100);
    assert!(s.pushed().is_empty());
    s.ann_writes("three");
    s.world.pass(DELAY);
    assert_eq!(s.pushed().len(), 2);
}

#[test]
fn long_texts_are_cut() {
    let mut s = Stage::new();
    let bob = s.bob.clone();
    s.subscribe(&bob, "phone", "text");
    s.ann_writes(&"\u{e9}".repeat(1_000));
    s.world.pass(DELAY);
    let (_, text) = s.pushed().remove(0);
    assert_eq!(at(&text, "body"), "\u{e9}".repeat(300));
}

#[test]
fn what_is_read_shown_muted_or_older_is_not_pushed() {
    let mut s = Stage::new();
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    s.ann_writes("before the subscription");
    s.world.pass(DELAY);
    s.subscribe(&bob, "phone", "text");
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "older than the subscription");
    let conversation = s.ann_writes("read at once");
    let read = format!("/api/v1/conversations/{conversation}/read");
    s.world.ask_as(&bob, "POST", &read, Some(r#"{"n":9}"#));
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "read");
    // What a socket shows. It counts for all devices, and ends with the socket.
    let socket = s.world.open_socket(&bob, "/api/v1/ws");
    let focus = |conversation: &str| format!(r#"{{"id":1,"op":"focus","conversation":{conversation}}}"#);
    let shown = focus(&format!("\"{conversation}\""));
    s.world.say(socket, &shown);
    assert!(s.world.texts(socket).contains(&r#"{"re":1,"ok":null}"#.to_owned()));
    s.ann_writes("shown");
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "shown");
    s.world.say(socket, &focus("null"));
    s.ann_writes("shown no more");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    s.world.say(socket, &shown);
    s.world.reset(socket);
    s.ann_writes("the socket has ended");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    let other = s.world.open_socket(&bob, "/api/v1/ws");
    s.world.say(other, r#"{"id":2,"op":"focus","conversation":"x"}"#);
    assert!(s.world.texts(other).iter().any(|text| text.contains("invalid_conversation")));
    // Muted.
    let path = format!("/api/v1/conversations/{conversation}");
    s.world.ask_as(&bob, "PUT", &path, Some(r#"{"muted":true}"#));
    s.ann_writes("muted");
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "muted");
    // One's own messages, also on another device.
    s.subscribe(&ann, "ann", "text");
    s.ann_writes("my own");
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "my own");
}

#[test]
fn a_subscription_is_listed_changed_and_ends_with_its_session() {
    let mut s = Stage::new();
    let (phone, tablet) = (s.bob.clone(), s.world.sign_in("bob"));
    s.subscribe(&phone, "phone", "who");
    s.subscribe(&tablet, "tablet", "who");
    let key = s.world.ask_as(&phone, "GET", "/api/v1/push", None);
    assert_eq!(key.at("data.key").len(), 87);
    let list = s.world.ask_as(&phone, "GET", "/api/v1/user/sessions", None);
    assert_eq!((list.at("data.0.push.level"), list.at("data.1.push.level")), ("who".into(), "who".into()));
    let (tablet_session, phone_session) = (list.at("data.0.id"), list.at("data.1.id"));
    assert_eq!(list.at("data.1.current"), "true");
    // Of another device of mine, never of somebody else's.
    let path = format!("/api/v1/push/{tablet_session}");
    let changed = s.world.ask_as(&phone, "PUT", &path, Some(r#"{"level":"off"}"#));
    assert_eq!((changed.status, changed.at("data.level")), (200, "off".into()), "{}", changed.text());
    let ann = s.ann.clone();
    for method in ["PUT", "DELETE"] {
        let foreign = s.world.ask_as(&ann, method, &path, Some(r#"{"level":"text"}"#));
        assert_eq!(foreign.status, 404, "{method}");
    }
    let wrong = s.world.ask_as(&phone, "PUT", &path, Some(r#"{"level":"loud"}"#));
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_level".into()));
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    // The same browser signs in again: its older session gets no more notifications.
    let phone_again = s.world.sign_in("bob");
    s.subscribe(&phone_again, "phone", "text");
    let list = s.world.ask_as(&phone_again, "GET", "/api/v1/user/sessions", None);
    assert_eq!((list.at("data.0.push.level"), list.at("data.2.push")), ("text".into(), "null".into()));
    let none =
        s.world.ask_as(&phone, "PUT", &format!("/api/v1/push/{phone_session}"), Some(r#"{"level":"who"}"#));
    assert_eq!(none.status, 404);
    // The export shows it, without its keys.
    let conn = s.world.connect();
    let bearer = format!("Bearer {}", phone_again.access);
    s.world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    let export = String::from_utf8_lossy(&s.world.take(conn)).into_owned();
    assert!(export.contains(r#""push":{"level":"text""#) && !export.contains("push.example"), "{export}");
    s.world.ask_as(&phone_again, "POST", "/api/v1/user/logout", None);
    s.ann_writes("two");
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "the session has ended");
    let gone = s.world.ask_as(&tablet, "DELETE", &path, None);
    assert_eq!(gone.status, 204);
    let list = s.world.ask_as(&tablet, "GET", "/api/v1/user/sessions", None);
    assert_eq!(list.at("data.0.push"), "null");
}

#[test]
fn an_account_has_twenty_subscriptions() {
    let mut s = Stage::new();
    for n in 0..20 {
        let device = s.world.sign_in("bob");
        s.subscribe(&device, &format!("d{n}"), "who");
    }
    let bob = s.bob.clone();
    let more = s.world.ask_as(&bob, "PUT", "/api/v1/push", Some(&subscription("more", "who")));
    assert_eq!((more.status, more.code()), (413, "quota_exceeded".into()));
    // The one that replaces another counts once.
    s.subscribe(&bob, "d3", "who");
    s.subscribe(&bob, "more", "who");
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.pushed().len(), 20);
}

#[test]
fn a_push_that_fails_is_tried_again_later_and_given_up_at_last() {
    let mut s = Stage::new();
    let bob = s.bob.clone();
    s.subscribe(&bob, "phone", "text");
    s.world.push_outcomes.extend([Pushed::Later(None), Pushed::Later(Some(Duration::from_secs(300)))]);
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    s.pass(8);
    assert!(s.pushed().is_empty(), "too early");
    s.pass(10);
    assert_eq!(s.names(), ["phone"]);
    // The push service has named a time, and what is new until then waits with it.
    s.ann_writes("two");
    s.pass(250);
    assert!(s.pushed().is_empty(), "earlier than asked");
    s.pass(60);
    let pushed = s.pushed();
    assert_eq!((pushed.len(), at(&pushed[0].1, "unread")), (1, "2".into()));
    s.world.push_outcomes.extend([Pushed::Later(None); 20]);
    s.ann_writes("three");
    s.pass(7_200);
    assert_eq!(s.pushed().len(), 6, "the tries of one notification");
    s.world.push_outcomes.clear();
    // What is read in the meantime is not tried again.
    let conversation = s.ann_writes("four");
    s.world.push_outcomes.push_back(Pushed::Later(None));
    s.pass(3_600);
    s.pushed();
    s.world.push_outcomes.push_back(Pushed::Later(None));
    s.ann_writes("five");
    s.world.pass(DELAY);
    assert_eq!(s.pushed().len(), 1);
    s.world.ask_as(&bob, "POST", &format!("/api/v1/conversations/{conversation}/read"), Some(r#"{"n":99}"#));
    s.pass(3_600);
    assert!(s.pushed().is_empty());
}

#[test]
fn a_subscription_that_is_gone_is_removed() {
    let mut s = Stage::new();
    let (phone, tablet) = (s.bob.clone(), s.world.sign_in("bob"));
    s.subscribe(&phone, "phone", "text");
    s.subscribe(&tablet, "tablet", "text");
    s.world.push_outcomes.push_back(Pushed::Gone);
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone", "tablet"]);
    let list = s.world.ask_as(&tablet, "GET", "/api/v1/user/sessions", None);
    assert_eq!((list.at("data.0.push.level"), list.at("data.1.push")), ("text".into(), "null".into()));
    s.ann_writes("two");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["tablet"]);
}

/// Push services that never answer hold the workers for devices that are not proven, and no others.
#[test]
fn a_slow_push_service_delays_no_proven_device() {
    let mut s = Stage::new();
    let bob = s.bob.clone();
    s.subscribe(&bob, "phone", "text");
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"], "proven");
    s.world.pushes_hang = true;
    let ann = s.ann.clone();
    for n in 0..6 {
        let eve = s.world.sign_up(&format!("eve{n}"));
        for device in 0..3 {
            let session = s.world.sign_in(&format!("eve{n}"));
            s.subscribe(&session, &format!("slow{n}{device}"), "text");
        }
        s.post(&ann, &eve.profile, "hello");
    }
    s.world.pass(DELAY);
    assert_eq!(s.names().len(), 4, "four workers, each for another account");
    s.world.pushes_hang = false;
    s.ann_writes("two");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
}

/// A device that was signed out shows nothing more, also not what waited for a worker.
#[test]
fn what_is_queued_for_a_session_is_dropped_with_it() {
    let mut s = Stage::new();
    let devices = ["phone", "tablet", "watch"].map(|name| {
        let device = s.world.sign_in("bob");
        s.subscribe(&device, name, "text");
        device
    });
    s.world.pushes_hang = true;
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"], "one at a time");
    s.world.ask_as(&devices[1], "POST", "/api/v1/user/logout", None);
    s.world.pushes_hang = false;
    let ticket = s.world.pushes_held.remove(0);
    s.world.input(Input::Finished { ticket, done: Done::Pushed(Pushed::Accepted) });
    assert_eq!(s.names(), ["watch"]);
    s.ann_writes("two");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone", "watch"]);
}

/// Each message is pushed at least once, whatever is lost with the process.
#[test]
fn a_restart_pushes_what_was_not_sent() {
    let mut s = Stage::new();
    let bob = s.bob.clone();
    s.subscribe(&bob, "phone", "text");
    s.ann_writes("one");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    s.pass(3);
    // One is waiting, one is on its way.
    s.world.pushes_hang = true;
    s.ann_writes("two");
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"]);
    s.pass(60);
    s.world = s.world.restart();
    s.world.pass(DELAY);
    let pushed = s.pushed();
    assert_eq!((pushed.len(), at(&pushed[0].1, "n")), (1, "2".into()), "the one that was not answered");
    s.pass(3);
    s.world = s.world.restart();
    s.world.pass(DELAY);
    assert!(s.pushed().is_empty(), "the cursor has moved");
    s.ann_writes("three");
    s.pass(1);
    s.world = s.world.restart();
    s.world.pass(DELAY);
    assert_eq!(s.names(), ["phone"], "the one that waited");
}

/// The cursor is written at most once a second, and nothing is written or read for a server without subscriptions.
#[test]
fn a_post_pays_nothing() {
    let mut s = Stage::new();
    s.world.pass(DELAY);
    s.world.trace.clear();
    for n in 0..20 {
        s.ann_writes(&format!("{n}"));
        s.world.pass(Duration::from_millis(100));
    }
    assert!(!s.world.trace.iter().any(|name| ["ReadPosted", "MovePushCursor"].contains(name)));
    let bob = s.bob.clone();
    s.subscribe(&bob, "phone", "text");
    s.world.pass(DELAY);
    s.world.trace.clear();
    for n in 0..200 {
        s.ann_writes(&format!("{n}"));
        s.world.pass(Duration::from_millis(100));
    }
    let count = |name: &str| s.world.trace.iter().filter(|one| **one == name).count();
    let (reads, writes, pushes) = (count("ReadPosted"), count("MovePushCursor"), count("push"));
    assert!(reads <= 21 && writes <= 21, "{reads} reads and {writes} writes of the cursor in 20 s");
    assert!((3..=6).contains(&pushes), "{pushes} notifications in 20 s");
}
