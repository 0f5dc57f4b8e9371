//! Mentions: whom a text addresses, what is unread of it, and what changes it.

use natter::base::crypto::{Entropy, base64url};
use natter::base::json;
use natter::base::time::UnixMs;
use natter::limits::Limits;
use std::time::Duration;

use crate::support::http::{Person, Response, request, text_at};
use crate::support::{Seeded, World, limits, settings};

struct Group {
    world: World,
    random: Seeded,
    /// The admin.
    ann: Person,
    bob: Person,
    cat: Person,
    /// Not a member of the group.
    eve: Person,
    id: String,
}

/// Ann's group with Bob and Cat in it. Their nick names are their names.
fn group() -> Group {
    let mut world = World::with(settings(Limits { access_ttl: 86_400, ..limits() }));
    let people = ["ann", "bob", "cat", "eve"].map(|name| world.sign_up(name));
    for (person, name) in people.iter().zip(["ann", "bob", "cat", "eve"]) {
        rename(&mut world, person, name);
    }
    let [ann, bob, cat, eve] = people;
    let body = format!(r#"{{"title":"tea","members":["{}","{}"]}}"#, bob.profile, cat.profile);
    let id = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    Group { world, random: Seeded(9), ann, bob, cat, eve, id }
}

fn rename(world: &mut World, person: &Person, name: &str) {
    let named = world.ask_as(person, "PUT", "/api/v1/profile", Some(&format!(r#"{{"nick_name":"{name}"}}"#)));
    assert_eq!(named.status, 200, "{}", named.text());
}

impl Group {
    fn post_to(&mut self, from: &Person, to: &str, text: &str) -> Response {
        let id: natter::base::id::Id = (&mut self.random as &mut dyn Entropy).id(UnixMs(7));
        let body = format!(r#"{{{to},"client_id":"{id}","body":{}}}"#, json::to_string(text));
        let posted = self.world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
        let id = posted.at("data.id");
        let read = self.world.ask_as(from, "GET", &format!("/api/v1/messages/{id}"), None);
        assert_eq!(read.at("data"), posted.at("data"), "the answer is what is stored");
        posted
    }

    fn post(&mut self, from: &Person, text: &str) -> Response {
        let to = format!(r#""conversation":"{}""#, self.id);
        self.post_to(from, &to, text)
    }

    /// Posts a text and returns whom it mentions, by their names.
    fn mentioned(&mut self, from: &Person, text: &str) -> String {
        let posted = self.post(from, text);
        self.names(&posted)
    }

    fn names(&self, message: &Response) -> String {
        let mut names = message.at("data.mentions");
        for (person, name) in [(&self.ann, "ann"), (&self.bob, "bob"), (&self.cat, "cat"), (&self.eve, "eve")]
        {
            names = names.replace(&person.profile, name);
        }
        names
    }

    fn edit(&mut self, who: &Person, message: &Response, text: &str) -> Response {
        let path = format!("/api/v1/messages/{}", message.at("data.id"));
        let body = format!(r#"{{"body":{}}}"#, json::to_string(text));
        let edited = self.world.ask_as(who, "PUT", &path, Some(&body));
        assert_eq!(edited.status, 200, "{}", edited.text());
        edited
    }

    /// How many unread messages mention this member, and the first of them.
    fn unread(&mut self, who: &Person) -> (String, String) {
        let path = format!("/api/v1/conversations/{}", self.id);
        let one = self.world.ask_as(who, "GET", &path, None);
        let list = self.world.ask_as(who, "GET", "/api/v1/conversations", None);
        let found = (one.at("data.unread_mentions"), one.at("data.mention_n"));
        let index = (0..).find(|i| list.at(&format!("data.{i}.id")) == self.id).expect("in the list");
        let listed = |field: &str| list.at(&format!("data.{index}.{field}"));
        assert_eq!((listed("unread_mentions"), listed("mention_n")), found);
        found
    }

    fn read(&mut self, who: &Person, n: u64) -> (String, String) {
        let path = format!("/api/v1/conversations/{}/read", self.id);
        let marked = self.world.ask_as(who, "POST", &path, Some(&format!(r#"{{"n":{n}}}"#)));
        let found = (marked.at("data.unread_mentions"), marked.at("data.mention_n"));
        assert_eq!(self.unread(who), found);
        found
    }
}

fn pair(count: &str, first: &str) -> (String, String) {
    (count.to_owned(), first.to_owned())
}

fn none() -> (String, String) {
    pair("null", "null")
}

#[test]
fn members_are_mentioned_by_their_nick_names() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    for (text, expected) in [
        ("hello", "null"),
        ("hello @bob", r#"["bob"]"#),
        ("@Bob and @cat, @BOB", r#"["bob","cat"]"#),
        ("@ann myself", r#"["ann"]"#),
        // Not a member, nobody, a longer name, an address, code.
        ("@eve @nobody @bobby a@bob.c `@bob`", "null"),
        ("@all", r#"["all"]"#),
        ("@all @bob", r#"["all","bob"]"#),
    ] {
        assert_eq!(g.mentioned(&ann, text), expected, "{text}");
    }
    assert_eq!(g.mentioned(&bob, "@all @ann"), r#"["ann"]"#, "@all is for admins");
    let to = format!(r#""to":"{}""#, g.bob.profile);
    let direct = g.post_to(&ann, &to, "@bob @all");
    assert_eq!(direct.at("data.mentions"), "null", "not in a direct conversation");
    // A name after the 64th is not looked up.
    let others: String = (100..164).map(|n| format!("@n{n} ")).collect();
    assert_eq!(g.mentioned(&ann, &format!("{others} @bob")), "null");
    assert_eq!(g.mentioned(&ann, &format!("{} @bob", &others[..others.len() - 6])), r#"["bob"]"#);
}

#[test]
fn a_mention_is_of_its_moment() {
    let mut g = group();
    let (ann, bob, cat, eve) = (g.ann.clone(), g.bob.clone(), g.cat.clone(), g.eve.clone());
    let first = g.post(&ann, "@bob");
    rename(&mut g.world, &bob, "bobby");
    rename(&mut g.world, &eve, "bob");
    let read = g.world.ask_as(&ann, "GET", &format!("/api/v1/messages/{}", first.at("data.id")), None);
    assert_eq!(g.names(&read), r#"["bob"]"#);
    let edited = g.edit(&ann, &first, "@bob, again");
    assert_eq!(g.names(&edited), "null", "an edit resolves again");
    // A block, in either direction; the sender's @all is for all.
    for blocker in [&ann, &cat] {
        let other = if blocker.profile == ann.profile { &cat } else { &ann };
        let path = format!("/api/v1/blocks/{}", other.profile);
        g.world.ask_as(blocker, "PUT", &path, None);
        assert_eq!(g.mentioned(&ann, "@cat @bobby @all"), r#"["all","bob"]"#);
        g.world.ask_as(blocker, "DELETE", &path, None);
        assert_eq!(g.mentioned(&ann, "@cat"), r#"["cat"]"#);
    }
    // Who leaves is mentioned no more, and keeps what was.
    let before = g.post(&ann, "@cat");
    let path = format!("/api/v1/conversations/{}/members/{}", g.id, cat.profile);
    assert_eq!(g.world.ask_as(&cat, "DELETE", &path, None).status, 204);
    assert_eq!(g.mentioned(&ann, "@cat"), "null");
    let path = format!("/api/v1/messages/{}", before.at("data.id"));
    let read = g.world.ask_as(&ann, "GET", &path, None);
    assert_eq!(g.names(&read), r#"["cat"]"#);
    // A deleted account is no longer named.
    let password = r#"{"password":"correct horse cat's"}"#;
    assert_eq!(g.world.ask_as(&cat, "DELETE", "/api/v1/user/me", Some(password)).status, 204);
    let read = g.world.ask_as(&ann, "GET", &path, None);
    assert_eq!((read.at("data.body"), g.names(&read)), ("@cat".into(), "null".into()));
}

#[test]
fn unread_mentions_follow_the_read_mark_edits_and_deletions() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    g.post(&ann, "hello");
    assert_eq!(g.unread(&bob), none());
    let second = g.post(&ann, "@bob");
    let third = g.post(&cat, "@bob @ann");
    let fourth = g.post(&ann, "@all and @bob");
    assert_eq!(g.unread(&bob), pair("3", "3"));
    assert_eq!(g.unread(&cat), pair("1", "5"));
    assert_eq!(g.unread(&ann), none(), "her own post read all before it");
    assert_eq!(g.read(&bob, 3), pair("2", "4"));
    assert_eq!(g.read(&bob, 1), pair("2", "4"), "a mark moves only forward");
    g.edit(&cat, &third, "nobody");
    assert_eq!(g.unread(&bob), pair("1", "5"));
    g.edit(&cat, &third, "@bob");
    g.edit(&ann, &second, "@bob @cat");
    assert_eq!(g.unread(&bob), pair("2", "4"), "what is read stays read");
    let path = format!("/api/v1/messages/{}", fourth.at("data.id"));
    assert_eq!(g.world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!((g.unread(&bob), g.unread(&cat)), (pair("1", "4"), none()));
    let read = g.world.ask_as(&bob, "GET", &path, None);
    assert_eq!((read.at("data.body"), read.at("data.mentions")), ("null".into(), "null".into()));
    assert_eq!(g.read(&bob, 9), none());
    g.post(&ann, "@bob");
    assert_eq!(g.unread(&bob), pair("1", "6"));
    g.post(&bob, "here");
    assert_eq!(g.unread(&bob), none(), "a post is a read mark");
    // Counted to 100.
    for _ in 0..101 {
        g.post(&ann, "@cat");
    }
    assert_eq!(g.unread(&cat), pair("100", "8"));
}

#[test]
fn events_and_exports_show_them() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    let posted = g.post(&ann, "@bob @all");
    let log = g.world.ask_as(&bob, "GET", "/api/v1/events?limit=200", None);
    let is_it = |i: &usize| log.at(&format!("data.{i}.data.id")) == posted.at("data.id");
    let index = (0..200).find(is_it).expect("the event");
    assert_eq!(log.at(&format!("data.{index}.data")), posted.at("data"));
    let conn = g.world.connect();
    let bearer = format!("Bearer {}", ann.access);
    g.world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    let export = String::from_utf8(g.world.take(conn)).expect("UTF-8");
    let line = export.lines().find(|line| line.contains("@bob @all")).expect("the message");
    assert!(line.contains(&format!(r#""mentions":["all","{}"]"#, bob.profile)), "{line}");
    // The same post again is answered with the original.
    let client_id = posted.at("data.client_id");
    let body = format!(r#"{{"conversation":"{}","client_id":"{client_id}","body":"x"}}"#, g.id);
    let again = g.world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    assert_eq!((again.status, again.at("data")), (200, posted.at("data")));
    assert_eq!(g.unread(&bob), pair("1", "2"));
}

#[test]
fn mentions_are_pushed_also_of_a_muted_conversation() {
    const DELAY: Duration = Duration::from_secs(8);
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    let (point, auth) = (base64url(&[4; 65]), base64url(&[9; 16]));
    let subscription = format!(
        r#"{{"endpoint":"https://push.example/bob","p256dh":"{point}","auth":"{auth}","level":"text"}}"#
    );
    assert_eq!(g.world.ask_as(&bob, "PUT", "/api/v1/push", Some(&subscription)).status, 200);
    let path = format!("/api/v1/conversations/{}", g.id);
    assert_eq!(g.world.ask_as(&bob, "PUT", &path, Some(r#"{"muted":true}"#)).status, 200);
    let pushed = |g: &mut Group| -> Vec<[String; 4]> {
        g.world.pass(DELAY);
        let pushes = std::mem::take(&mut g.world.pushes);
        let text = |one: &natter::model::push::Notification| {
            let value = json::parse(one.text.expose()).expect("JSON");
            ["body", "n", "unread", "mention"].map(|field| text_at(&value, field))
        };
        pushes.iter().map(text).collect()
    };
    let row = |fields: [&str; 4]| vec![fields.map(str::to_owned)];
    g.post(&ann, "muted");
    assert!(pushed(&mut g).is_empty());
    g.post(&ann, "@bob, look");
    g.post(&ann, "and something else");
    assert_eq!(pushed(&mut g), row(["@bob, look", "3", "3", "true"]), "the mention, not the newest message");
    g.post(&ann, "an unread mention is not pushed again with each message");
    assert!(pushed(&mut g).is_empty());
    g.post(&ann, "@all!");
    assert_eq!(pushed(&mut g), row(["@all!", "6", "5", "true"]));
    let message = g.post(&ann, "nothing");
    assert!(pushed(&mut g).is_empty());
    g.edit(&ann, &message, "@bob by an edit");
    assert!(pushed(&mut g).is_empty(), "an edit is not pushed");
    // A mention that was deleted before its notification.
    let message = g.post(&ann, "@bob, never mind");
    g.world.ask_as(&bob, "POST", &format!("{path}/read"), Some(r#"{"n":7}"#));
    g.world.ask_as(&ann, "DELETE", &format!("/api/v1/messages/{}", message.at("data.id")), None);
    assert!(pushed(&mut g).is_empty());
    // Not muted any more: the newest message.
    assert_eq!(g.world.ask_as(&bob, "PUT", &path, Some(r#"{"muted":false}"#)).status, 200);
    g.post(&ann, "@bob");
    g.post(&ann, "the newest");
    assert_eq!(pushed(&mut g), row(["the newest", "10", "2", "false"]));
}
