//! System messages: each change of a group tells its members once, and nobody can do anything with it.

use natter::base::crypto::base64url;
use natter::base::json;
use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, Response};

struct Group {
    world: World,
    /// The admin.
    ann: Person,
    bob: Person,
    cat: Person,
    path: String,
}

fn group() -> Group {
    let mut world = World::new();
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| world.sign_up(name));
    let body = format!(r#"{{"title":"tea","members":["{}","{}"]}}"#, bob.profile, cat.profile);
    let made = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body));
    assert_eq!((made.at("data.last_message.kind"), made.at("data.unread")), ("created".into(), "0".into()));
    let path = format!("/api/v1/conversations/{}", made.at("data.id"));
    Group { world, ann, bob, cat, path }
}

impl Group {
    fn ask(&mut self, who: &Person, method: &str, rest: &str, body: Option<&str>) -> Response {
        let path = if rest.starts_with("/api") { rest.to_owned() } else { format!("{}{rest}", self.path) };
        self.world.ask_as(who, method, &path, body)
    }

    /// The messages as one line each: position, kind, sender, whom it is about, how many, and the title.
    fn told(&mut self, who: &Person) -> Vec<String> {
        let list = self.ask(who, "GET", "/messages", None);
        let fields = ["n", "kind", "sender", "profiles", "profiles_count", "title", "body"];
        let line = |i: usize| fields.map(|name| list.at(&format!("data.{i}.{name}"))).join(" ");
        let mut lines: Vec<String> = (0..).map(line).take_while(|line| !line.starts_with("null")).collect();
        for (person, name) in [(&self.ann, "ann"), (&self.bob, "bob"), (&self.cat, "cat")] {
            lines.iter_mut().for_each(|line| *line = line.replace(&person.profile, name));
        }
        lines
    }

    fn say(&mut self, who: &Person, text: &str) -> Response {
        let (id, body) = (self.path.rsplit('/').next().expect("an id").to_owned(), json::to_string(text));
        let client_id = format!("01ARZ3NDEKTSV4RRFFQ69{:05}", text.len());
        let post = format!(r#"{{"conversation":"{id}","client_id":"{client_id}","body":{body}}}"#);
        let posted = self.ask(who, "POST", "/api/v1/messages", Some(&post));
        assert_eq!(posted.status, 201, "{}", posted.text());
        posted
    }
}

#[test]
fn each_change_is_told_once() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    let member = |person: &Person| format!("/members/{}", person.profile);
    assert_eq!(g.ask(&bob, "DELETE", &member(&bob), None).status, 204);
    for _ in 0..2 {
        assert_eq!(g.ask(&ann, "PUT", &member(&bob), Some(r#"{"role":"admin"}"#)).status, 200);
    }
    assert_eq!(g.ask(&bob, "PUT", &member(&bob), Some(r#"{"role":"member"}"#)).status, 200);
    assert_eq!(g.ask(&ann, "PUT", &member(&cat), Some(r#"{"role":"admin"}"#)).status, 200);
    assert_eq!(g.ask(&cat, "DELETE", &member(&bob), None).status, 204);
    for title in ["coffee", "coffee", "tea"] {
        let body = format!(r#"{{"title":"{title}","muted":false}}"#);
        assert_eq!(g.ask(&ann, "PUT", "", Some(&body)).status, 200);
    }
    // What is refused, and what is for oneself, is not told.
    assert_eq!(g.ask(&bob, "PUT", "", Some(r#"{"title":"x"}"#)).status, 404);
    assert_eq!(g.ask(&ann, "PUT", "", Some(r#"{"muted":true}"#)).status, 200);
    assert_eq!(g.ask(&cat, "DELETE", &member(&cat), None).status, 204);
    let expect = [
        r#"1 created ann ["bob","cat"] 2 null null"#,
        r#"2 left bob [] 0 null null"#,
        r#"3 added ann ["bob"] 1 null null"#,
        r#"4 demoted bob ["bob"] 1 null null"#,
        r#"5 promoted ann ["cat"] 1 null null"#,
        r#"6 removed cat ["bob"] 1 null null"#,
        r#"7 renamed ann [] 0 coffee null"#,
        r#"8 renamed ann [] 0 tea null"#,
        r#"9 left cat [] 0 null null"#,
    ];
    assert_eq!(g.told(&ann), expect);
}

#[test]
fn they_are_never_unread_and_never_pushed() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    let keys = format!(r#""p256dh":"{}","auth":"{}""#, base64url(&[4; 65]), base64url(&[9; 16]));
    let device = format!(r#"{{"endpoint":"https://push.example/bob",{keys},"level":"text"}}"#);
    assert_eq!(g.ask(&bob, "PUT", "/api/v1/push", Some(&device)).status, 200);
    g.say(&ann, "hello");
    let counts = |g: &mut Group| {
        let seen = g.ask(&bob, "GET", "", None);
        ["unread", "read_n", "last_n"].map(|name| seen.at(&format!("data.{name}")))
    };
    assert_eq!(counts(&mut g), ["1", "0", "2"]);
    assert_eq!(g.ask(&ann, "PUT", "", Some(r#"{"title":"coffee"}"#)).status, 200);
    assert_eq!(counts(&mut g), ["1", "0", "3"]);
    g.world.pass(Duration::from_secs(8));
    let pushed: Vec<_> = g.world.pushes.drain(..).map(|push| push.text.expose().clone()).collect();
    let texts: Vec<String> = pushed.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    assert!(matches!(&*texts, [one] if one.contains(r#""body":"hello""#)), "{texts:?}");
    assert_eq!(g.ask(&ann, "PUT", "", Some(r#"{"title":"tea"}"#)).status, 200);
    g.world.pass(Duration::from_secs(8));
    assert!(g.world.pushes.is_empty(), "a change alone is not pushed");
    let marked = g.ask(&bob, "POST", "/read", Some(r#"{"n":2}"#));
    assert_eq!((marked.at("data.read_n"), marked.at("data.unread")), ("2".into(), "0".into()));
    let chats = g.ask(&bob, "GET", "/api/v1/conversations", None);
    assert_eq!(chats.at("unread_total"), "0");
}

#[test]
fn nobody_changes_or_finds_one() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    assert_eq!(g.ask(&ann, "PUT", "", Some(r#"{"title":"mountains"}"#)).status, 200);
    let list = g.ask(&bob, "GET", "/messages", None);
    let path = format!("/api/v1/messages/{}", list.at("data.1.id"));
    for who in [&ann, &bob] {
        for (method, path, body) in [
            ("PUT", path.clone(), Some(r#"{"body":"x"}"#)),
            ("DELETE", path.clone(), None),
            ("PUT", format!("{path}/reactions/%F0%9F%91%8D"), None),
            ("DELETE", format!("{path}/reactions/%F0%9F%91%8D"), None),
        ] {
            let refused = g.ask(who, method, &path, body);
            assert_eq!((refused.status, refused.code()), (403, "not_allowed".into()), "{method} {path}");
        }
        assert_eq!(g.ask(who, "GET", &path, None).at("data.title"), "mountains");
        assert_eq!(g.ask(who, "GET", "/api/v1/search?q=mountains", None).at("data"), "[]");
    }
}

/// No answer has a system message, so that its event goes to the connection that made the change too.
#[test]
fn the_connection_that_makes_a_change_gets_its_message() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    let [own, other] = [&ann, &bob].map(|who| g.world.open_socket(who, "/api/v1/ws"));
    for socket in [own, other] {
        g.world.texts(socket);
    }
    let id = g.path.rsplit('/').next().expect("an id");
    let op = format!(r#"{{"id":1,"op":"conversation.update","conversation":"{id}","title":"coffee"}}"#);
    g.world.say(own, &op);
    let names = |texts: Vec<String>| -> Vec<String> {
        let first =
            |text: &String| text.split('"').take(4).collect::<Vec<_>>().join("").replace(['{', ':'], "");
        texts.iter().map(first).collect()
    };
    let (mine, theirs) = (g.world.texts(own), g.world.texts(other));
    assert!(mine[0].contains(r#""kind":"renamed""#), "{mine:?}");
    assert_eq!(names(theirs), ["eventconversation.updated", "eventmessage.posted"]);
    assert!(mine.len() == 2 && mine[1].starts_with(r#"{"re":1,"ok":"#), "{mine:?}");
}

#[test]
fn an_erased_account_leaves_them_without_its_name_and_its_titles() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    assert_eq!(g.ask(&ann, "PUT", "", Some(r#"{"title":"of ann"}"#)).status, 200);
    let password = r#"{"password":"correct horse ann's","messages":"erase"}"#;
    assert_eq!(g.ask(&ann, "DELETE", "/api/v1/user/me", Some(password)).status, 204);
    let password = r#"{"password":"correct horse cat's","messages":"keep"}"#;
    assert_eq!(g.ask(&cat, "DELETE", "/api/v1/user/me", Some(password)).status, 204);
    g.world.pass(Duration::from_secs(1));
    let expect = [
        r#"1 created null ["bob"] 2 null null"#,
        "2 null null null null null null",
        "3 left null [] 0 null null",
        r#"4 promoted bob ["bob"] 1 null null"#,
        "5 left null [] 0 null null",
    ];
    assert_eq!(g.told(&bob), expect);
}
