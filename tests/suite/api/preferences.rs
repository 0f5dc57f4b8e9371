//! What a member sets of a conversation for oneself: muted for a time, pinned, archived, marked as unread, cleared, hidden.

use std::time::Duration;

use natter::base::crypto::base64url;
use natter::base::json;
use natter::base::time::rfc3339;

use crate::support::World;
use crate::support::http::{Person, Response, request, text_at};

/// In which notifications have been sent.
const PUSH_DELAY: Duration = Duration::from_secs(8);

/// Ann and Bob, and Ann's groups with Bob in them.
struct Stage {
    world: World,
    ann: Person,
    bob: Person,
    posts: u32,
}

impl Stage {
    fn new() -> Stage {
        let mut world = World::new();
        let [ann, bob] = ["ann", "bob"].map(|name| world.sign_up(name));
        Stage { world, ann, bob, posts: 0 }
    }

    fn group(&mut self, title: &str) -> String {
        let body = format!(r#"{{"title":"{title}","members":["{}"]}}"#, self.bob.profile);
        let made = self.world.ask_as(&self.ann, "POST", "/api/v1/conversations", Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
        made.at("data.id")
    }

    fn say(&mut self, who: &Person, place: &str, text: &str) -> Response {
        self.posts += 1;
        let client_id = format!("01ARZ3NDEKTSV4RRFFQ69{:05}", self.posts);
        let body = format!(r#"{{{place},"client_id":"{client_id}","body":"{text}"}}"#);
        let posted = self.world.ask_as(who, "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
        posted
    }

    fn ann_says(&mut self, group: &str, text: &str) -> Response {
        let ann = self.ann.clone();
        self.say(&ann, &format!(r#""conversation":"{group}""#), text)
    }

    fn bob_asks(&mut self, method: &str, path: &str, body: Option<&str>) -> Response {
        let bob = self.bob.clone();
        self.world.ask_as(&bob, method, &format!("/api/v1{path}"), body)
    }

    /// Bob changes what he has set.
    fn set(&mut self, conversation: &str, change: &str) -> Response {
        let set = self.bob_asks("PUT", &format!("/conversations/{conversation}"), Some(change));
        assert_eq!(set.status, 200, "{change}: {}", set.text());
        set
    }

    fn refused(&mut self, conversation: &str, change: &str) -> (u16, String) {
        let refused = self.bob_asks("PUT", &format!("/conversations/{conversation}"), Some(change));
        (refused.status, refused.code())
    }

    fn get(&mut self, conversation: &str) -> Response {
        self.bob_asks("GET", &format!("/conversations/{conversation}"), None)
    }

    /// What Bob has set, as one line.
    fn own(&mut self, conversation: &str) -> String {
        let seen = self.get(conversation);
        let is_set = |name: &&str| seen.at(&format!("data.{name}")) == "true";
        let names = ["muted", "pinned", "archived", "marked_unread", "hidden"];
        names.into_iter().filter(is_set).collect::<Vec<_>>().join(" ")
    }

    /// The titles of Bob's list, page by page, and how many are archived.
    fn titles(&mut self, query: &str) -> (String, String) {
        let (mut titles, mut next) = (Vec::new(), String::new());
        loop {
            let list = self.bob_asks("GET", &format!("/conversations?limit=2{query}{next}"), None);
            titles.extend(
                (0..).map(|i| list.at(&format!("data.{i}.title"))).take_while(|title| title != "null"),
            );
            match list.at("next") {
                end if end == "null" => return (titles.join(" "), list.at("archived_total")),
                more => next = format!("&next={more}"),
            }
        }
    }

    /// The names of the events of a person that concern only its own settings.
    fn own_events(&mut self, who: &Person) -> usize {
        let log = self.world.ask_as(who, "GET", "/api/v1/events?limit=200", None);
        let events =
            (0..).map(|i| (log.at(&format!("data.{i}.event")), log.at(&format!("data.{i}.data.own"))));
        let own = events.take_while(|(name, _)| name != "null").filter(|(_, own)| own == "true");
        own.inspect(|(name, _)| assert_eq!(name, "conversation.updated")).count()
    }

    fn pushed(&mut self) -> Vec<String> {
        self.world.pass(PUSH_DELAY);
        let pushes = std::mem::take(&mut self.world.pushes);
        pushes.iter().map(|one| text_at(&json::parse(one.text.expose()).expect("JSON"), "body")).collect()
    }
}

fn lists(titles: &str, archived: &str) -> (String, String) {
    (titles.to_owned(), archived.to_owned())
}

#[test]
fn a_mute_ends_at_its_time() {
    let mut s = Stage::new();
    let group = s.group("tea");
    let (point, auth) = (base64url(&[4; 65]), base64url(&[9; 16]));
    let device = format!(
        r#"{{"endpoint":"https://push.example/bob","p256dh":"{point}","auth":"{auth}","level":"text"}}"#
    );
    assert_eq!(s.bob_asks("PUT", "/push", Some(&device)).status, 200);
    let at = |s: &Stage, seconds: u64| rfc3339(s.world.now.unix_ms.after(seconds * 1_000));
    let (past, until) = (rfc3339(s.world.now.unix_ms), at(&s, 60));
    for wrong in [
        format!(r#"{{"muted":true,"muted_until":"{past}"}}"#),
        format!(r#"{{"muted":false,"muted_until":"{until}"}}"#),
        format!(r#"{{"muted_until":"{until}"}}"#),
        r#"{"muted_until":null}"#.to_owned(),
        r#"{"muted":true,"muted_until":"tomorrow"}"#.to_owned(),
        r#"{"muted":true,"muted_until":7}"#.to_owned(),
    ] {
        assert_eq!(s.refused(&group, &wrong), (422, "invalid_muted_until".into()), "{wrong}");
    }
    assert_eq!(s.own(&group), "");
    let set = s.set(&group, &format!(r#"{{"muted":true,"muted_until":"{until}"}}"#));
    let shown = set.at("data.muted_until");
    assert_eq!((set.at("data.muted"), &shown[..19]), ("true".into(), &until[..19]), "whole seconds");
    s.ann_says(&group, "quiet");
    assert!(s.pushed().is_empty());
    let list = s.bob_asks("GET", "/conversations", None);
    assert_eq!((list.at("data.0.muted"), list.at("data.0.muted_until")), ("true".into(), shown));
    s.world.pass(Duration::from_secs(60));
    for seen in [s.get(&group).at("data"), s.bob_asks("GET", "/conversations", None).at("data.0")] {
        assert!(seen.contains(r#""muted":false"#) && !seen.contains("muted_until"), "{seen}");
    }
    s.ann_says(&group, "loud");
    assert_eq!(s.pushed(), ["loud"]);
    // Without end: alone, and with null.
    let until = at(&s, 60);
    for forever in [r#"{"muted":true}"#, r#"{"muted":true,"muted_until":null}"#] {
        s.set(&group, &format!(r#"{{"muted":true,"muted_until":"{until}"}}"#));
        let set = s.set(&group, forever);
        assert_eq!((set.at("data.muted"), set.at("data.muted_until")), ("true".into(), "null".into()));
    }
    s.world.pass(Duration::from_secs(60));
    assert_eq!(s.own(&group), "muted");
    s.set(&group, r#"{"muted":false,"muted_until":null}"#);
    assert_eq!(s.own(&group), "");
}

#[test]
fn pinned_conversations_come_first_and_are_bounded() {
    let mut s = Stage::new();
    let groups: Vec<String> = ["a", "b", "c", "d", "e"].map(|title| s.group(title)).into();
    assert_eq!(s.titles(""), lists("e d c b a", "0"));
    s.set(&groups[0], r#"{"pinned":true}"#);
    s.set(&groups[2], r#"{"pinned":true}"#);
    assert_eq!(s.titles(""), lists("c a e d b", "0"), "among the pinned the newest activity is first too");
    s.ann_says(&groups[0], "hi");
    s.ann_says(&groups[1], "hi");
    assert_eq!(s.titles(""), lists("a c b e d", "0"));
    // For oneself only.
    let ann = s.ann.clone();
    let list = s.world.ask_as(&ann, "GET", "/api/v1/conversations", None);
    assert_eq!((list.at("data.0.title"), list.at("data.0.pinned")), ("b".into(), "null".into()));
    assert_eq!((s.own_events(&s.bob.clone()), s.own_events(&ann)), (2, 0));
    s.set(&groups[0], r#"{"pinned":false}"#);
    s.set(&groups[2], r#"{"pinned":false}"#);
    assert_eq!(s.titles(""), lists("b a e d c", "0"));

    let many: Vec<String> = (0..101).map(|i| s.group(&format!("g{i}"))).collect();
    for group in &many[..100] {
        s.set(group, r#"{"pinned":true}"#);
    }
    assert_eq!(s.refused(&many[100], r#"{"pinned":true}"#), (413, "quota_exceeded".into()));
    assert_eq!(s.own(&many[100]), "");
    s.set(&many[0], r#"{"pinned":true}"#);
    s.set(&many[0], r#"{"pinned":false}"#);
    s.set(&many[100], r#"{"pinned":true}"#);
}

#[test]
fn an_archived_conversation_returns_with_a_message() {
    let mut s = Stage::new();
    let [tea, cake] = ["tea", "cake"].map(|title| s.group(title));
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    s.ann_says(&tea, "unread");
    s.set(&tea, r#"{"pinned":true}"#);
    s.set(&tea, r#"{"archived":true}"#);
    assert_eq!(s.own(&tea), "archived", "not pinned any more");
    let both = |s: &mut Stage| [s.titles(""), s.titles("&archived=false"), s.titles("&archived=true")];
    let away = [lists("tea cake", "1"), lists("cake", "1"), lists("tea", "1")];
    assert_eq!(both(&mut s), away);
    assert_eq!(s.bob_asks("GET", "/conversations", None).at("unread_total"), "1", "of the archive too");
    // A system message counts for nothing.
    let path = format!("/api/v1/conversations/{tea}");
    assert_eq!(s.world.ask_as(&ann, "PUT", &path, Some(r#"{"title":"tea2"}"#)).status, 200);
    assert_eq!(s.own(&tea), "archived");
    assert_eq!(s.world.ask_as(&ann, "PUT", &path, Some(r#"{"title":"tea"}"#)).status, 200);
    let message = s.ann_says(&tea, "back").at("data.id");
    assert_eq!(s.own(&tea), "");
    assert_eq!(both(&mut s), [lists("tea cake", "0"), lists("tea cake", "0"), lists("", "0")]);
    // Read: it stays where it is. Deleted: nothing is new in it.
    s.bob_asks("POST", &format!("/conversations/{tea}/read"), Some(r#"{"n":99}"#));
    assert_eq!(s.own(&tea), "");
    let path = format!("/api/v1/messages/{message}");
    assert_eq!(s.world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!(s.own(&tea), "archived");
    // One's own message, and the other ways out.
    s.say(&bob, &format!(r#""conversation":"{tea}""#), "mine");
    assert_eq!(s.own(&tea), "");
    s.set(&tea, r#"{"archived":true}"#);
    s.set(&tea, r#"{"archived":false}"#);
    assert_eq!(s.own(&tea), "");
    s.set(&tea, r#"{"archived":true}"#);
    s.set(&tea, r#"{"pinned":true}"#);
    assert_eq!(s.own(&tea), "pinned");
    let wrong = r#"{"pinned":true,"archived":true}"#;
    assert_eq!(s.refused(&tea, wrong), (422, "invalid_archived".into()));
    let wrong = s.bob_asks("GET", "/conversations?archived=1", None);
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_archived".into()));
    // Muted: until the mute ends.
    let until = rfc3339(s.world.now.unix_ms.after(60_000));
    s.set(&cake, &format!(r#"{{"muted":true,"muted_until":"{until}","archived":true}}"#));
    s.ann_says(&cake, "quiet");
    assert_eq!(s.own(&cake), "muted archived");
    s.world.pass(Duration::from_secs(61));
    assert_eq!(s.own(&cake), "");
}

#[test]
fn a_mark_ends_with_reading_on_all_devices() {
    let mut s = Stage::new();
    let group = s.group("tea");
    let (bob, ann) = (s.bob.clone(), s.ann.clone());
    let tablet = s.world.sign_in("bob");
    let socket = s.world.open_socket(&tablet, "/api/v1/ws");
    s.world.texts(socket);
    s.set(&group, r#"{"marked_unread":true}"#);
    assert_eq!((s.own(&group), s.get(&group).at("data.unread")), ("marked_unread".into(), "0".into()));
    let own = |texts: Vec<String>| texts.iter().filter(|text| text.contains(r#""own":true"#)).count();
    let texts = s.world.texts(socket);
    assert!(texts[0].starts_with(r#"{"event":"conversation.updated""#), "{texts:?}");
    assert_eq!((texts.len(), own(texts)), (1, 1));
    // Nothing is unread, and reading ends it all the same; a second time is no event.
    for events in [1, 0] {
        let read = s.bob_asks("POST", &format!("/conversations/{group}/read"), Some(r#"{"n":1}"#));
        assert_eq!(read.status, 200);
        assert_eq!((s.own(&group), own(s.world.texts(socket))), (String::new(), events));
    }
    // With a message too, and after a restart.
    s.set(&group, r#"{"marked_unread":true}"#);
    s.world = s.world.restart();
    s.ann_says(&group, "hi");
    assert_eq!(s.own(&group), "marked_unread");
    s.bob_asks("POST", &format!("/conversations/{group}/read"), Some(r#"{"n":9}"#));
    assert_eq!(s.own(&group), "");
    s.set(&group, r#"{"marked_unread":true}"#);
    s.set(&group, r#"{"marked_unread":false}"#);
    assert_eq!((s.own(&group), s.own_events(&ann)), (String::new(), 0));
    // Who has left it gets no event of it.
    let events = s.own_events(&bob);
    assert_eq!(events, 6);
    let path = format!("/conversations/{group}/members/{}", bob.profile);
    assert_eq!(s.bob_asks("DELETE", &path, None).status, 204);
    assert_eq!(s.own_events(&bob), 0);
    assert_eq!(s.refused(&group, r#"{"pinned":true}"#), (404, "not_found".into()));
    let clear = s.bob_asks("POST", &format!("/conversations/{group}/clear"), None);
    assert_eq!((clear.status, clear.code()), (404, "not_found".into()));
}

/// What a member has cleared is shown to that member in no way, and to the others as before.
#[test]
fn a_cleared_conversation_is_empty_for_oneself() {
    let mut s = Stage::new();
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    let to_bob = format!(r#""to":"{}""#, bob.profile);
    let id = s.say(&ann, &to_bob, "secret one").at("data.conversation");
    let first = s.say(&ann, &to_bob, "secret two").at("data.id");
    let place = format!(r#""conversation":"{id}""#);
    s.say(&bob, &place, "my secret");
    s.say(&ann, &to_bob, "secret three");
    let cursor = s.bob_asks("GET", "/conversations", None).at("cursor");
    s.set(&id, r#"{"marked_unread":true}"#);
    let clear = format!("/conversations/{id}/clear");
    let wrong = s.bob_asks("POST", &clear, Some(r#"{"hide":1}"#));
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_hide".into()));
    let cleared = s.bob_asks("POST", &clear, None);
    let seen = ["first_n", "last_n", "read_n", "unread", "last_message", "marked_unread"];
    assert_eq!(seen.map(|name| cleared.at(&format!("data.{name}"))), ["5", "4", "4", "0", "null", "null"]);
    assert_eq!(s.get(&id).at("data"), cleared.at("data"));
    let check = |s: &mut Stage, since: &str| {
        for query in ["", "?after=0", "?before=5"] {
            let list = s.bob_asks("GET", &format!("/conversations/{id}/messages{query}"), None);
            assert_eq!((list.status, list.at("next")), (200, "null".into()));
            assert!(!list.text().contains("secret"), "{}", list.text());
        }
        assert_eq!(s.bob_asks("GET", &format!("/messages/{first}"), None).status, 404);
        assert_eq!(s.bob_asks("GET", "/search?q=secret", None).at("data"), "[]");
        for path in [format!("/events?cursor={since}"), "/events".to_owned()] {
            let events = s.bob_asks("GET", &path, None);
            assert!(events.status == 200 && !events.text().contains("secret"), "{}", events.text());
        }
        let list = s.bob_asks("GET", "/conversations", None);
        assert_eq!((list.at("data.0.id"), list.at("unread_total")), (id.clone(), "0".into()));
        let conn = s.world.open_socket(&s.bob.clone(), &format!("/api/v1/ws?cursor={since}"));
        let texts = s.world.texts(conn);
        assert!(!texts.iter().any(|text| text.contains("secret")), "{texts:?}");
    };
    check(&mut s, &cursor);
    let chats = s.world.open_socket(&bob, &format!("/api/v1/ws/{}/{}", bob.profile, ann.profile));
    assert!(!s.world.texts(chats).iter().any(|text| text.contains("secret")));
    // The other one sees all of it, and that it was read.
    let list = s.world.ask_as(&ann, "GET", &format!("/api/v1/conversations/{id}/messages"), None);
    assert_eq!(
        (list.at("data.0.body"), list.at("data.3.body")),
        ("secret one".into(), "secret three".into())
    );
    let seen = s.world.ask_as(&ann, "GET", &format!("/api/v1/conversations/{id}"), None);
    assert_eq!((seen.at("data.peer_read_n"), seen.at("data.first_n")), ("4".into(), "null".into()));
    s.world = s.world.restart();
    check(&mut s, &cursor);
    // What comes later is shown, also in the replay.
    s.say(&ann, &to_bob, "news");
    let seen = s.get(&id);
    assert_eq!((seen.at("data.unread"), seen.at("data.last_message.body")), ("1".into(), "news".into()));
    let list = s.bob_asks("GET", &format!("/conversations/{id}/messages"), None);
    assert_eq!((list.at("data.0.n"), list.at("data.1")), ("5".into(), "null".into()));
    let events = s.bob_asks("GET", &format!("/events?cursor={cursor}"), None);
    let posted = |i: usize| events.at(&format!("data.{i}.event")) == "message.posted";
    assert_eq!((0..10).filter(|i| posted(*i)).count(), 1, "{}", events.text());
    // The export has one's own message still.
    let conn = s.world.connect();
    let bearer = format!("Bearer {}", bob.access);
    s.world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    let export = String::from_utf8_lossy(&s.world.take(conn)).into_owned();
    assert!(export.contains("my secret") && !export.contains("secret one"), "{export}");
}

#[test]
fn a_hidden_conversation_returns_with_a_message() {
    let mut s = Stage::new();
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    let to_bob = format!(r#""to":"{}""#, bob.profile);
    let id = s.say(&ann, &to_bob, "secret").at("data.conversation");
    s.set(&id, r#"{"pinned":true}"#);
    let hidden = s.bob_asks("POST", &format!("/conversations/{id}/clear"), Some(r#"{"hide":true}"#));
    assert_eq!((hidden.status, hidden.at("data.hidden")), (200, "true".into()));
    assert_eq!(s.own(&id), "hidden", "and not pinned");
    for query in ["", "?archived=true", "?archived=false"] {
        assert_eq!(s.bob_asks("GET", &format!("/conversations{query}"), None).at("data"), "[]", "{query}");
    }
    assert_eq!(s.world.ask_as(&ann, "GET", "/api/v1/conversations", None).at("data.0.id"), id);
    s.say(&ann, &to_bob, "again");
    assert_eq!(s.own(&id), "");
    let list = s.bob_asks("GET", "/conversations", None);
    assert_eq!((list.at("data.0.id"), list.at("data.0.unread")), (id.clone(), "1".into()));
    // One's own message returns it too, and a second clear shows it empty.
    s.bob_asks("POST", &format!("/conversations/{id}/clear"), Some(r#"{"hide":true}"#));
    s.say(&bob, &format!(r#""to":"{}""#, ann.profile), "me first");
    assert_eq!(s.own(&id), "");
    s.bob_asks("POST", &format!("/conversations/{id}/clear"), Some(r#"{"hide":true}"#));
    s.bob_asks("POST", &format!("/conversations/{id}/clear"), None);
    assert_eq!(s.own(&id), "");
}
