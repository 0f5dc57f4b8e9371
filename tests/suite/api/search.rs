//! Search: only in the member's own conversations, with any text, and never of deleted messages.

use crate::support::World;
use crate::support::http::Person;

struct Chat {
    world: World,
    ann: Person,
    bob: Person,
    eve: Person,
    conversation: String,
    key: u32,
}

fn chat() -> Chat {
    let mut world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.sign_up(name));
    let mut chat = Chat { world, ann, bob, eve, conversation: String::new(), key: 0 };
    chat.conversation = chat.post("hello").1;
    chat
}

impl Chat {
    /// Posts as Ann to Bob; returns the message's path and its conversation.
    fn post(&mut self, text: &str) -> (String, String) {
        self.key += 1;
        let client_id = format!("01ARZ3NDEKTSV4RRFFQ69G{:04}", self.key);
        let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"{text}"}}"#, self.bob.profile);
        let posted = self.world.ask_as(&self.ann.clone(), "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
        (format!("/api/v1/messages/{}", posted.at("data.id")), posted.at("data.conversation"))
    }

    /// The bodies that were found, newest first.
    fn find(&mut self, who: &Person, query: &str) -> Vec<String> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        let found = self.world.ask_as(who, "GET", &format!("/api/v1/search?q={encoded}"), None);
        assert_eq!(found.status, 200, "{query}: {}", found.text());
        (0..).map(|i| found.at(&format!("data.{i}.body"))).take_while(|body| body != "null").collect()
    }
}

#[test]
fn words_are_found_by_their_beginnings_and_without_their_marks() {
    let mut c = chat();
    for text in ["Crème brûlée at noon", "مَدْرَسَة أحمد", "nothing special", "noon again"] {
        c.post(text);
    }
    let bob = c.bob.clone();
    for (query, expect) in [
        ("noon", vec!["noon again", "Crème brûlée at noon"]),
        ("NOO", vec!["noon again", "Crème brûlée at noon"]),
        ("creme", vec!["Crème brûlée at noon"]),
        ("brule noon", vec!["Crème brûlée at noon"]),
        ("noon absent", vec![]),
        ("مدرسه", vec!["مَدْرَسَة أحمد"]),
        ("احمد", vec!["مَدْرَسَة أحمد"]),
        ("إحمد", vec!["مَدْرَسَة أحمد"]),
        ("c1", vec![]),
    ] {
        assert_eq!(c.find(&bob, query), expect, "{query}");
    }
}

#[test]
fn any_text_is_a_valid_query() {
    let mut c = chat();
    c.post("a AND b");
    let ann = c.ann.clone();
    for query in [
        "\"",
        "\"\"",
        "*",
        "a*",
        "(",
        ")",
        "a OR",
        "NOT",
        "AND",
        "NEAR(a b)",
        "body:a",
        "scope:c1",
        "-a",
        "^a",
        "a + b",
        "{a b}",
        "'; DROP TABLE messages; --",
        "\u{0}",
        "؟",
        "🙂",
        "a\u{301}",
        " ",
    ] {
        c.find(&ann, query);
    }
    assert_eq!(c.find(&ann, "\"a\" AND (b"), ["a AND b"]);
    let long = "x".repeat(513);
    let refused = c.world.ask_as(&ann, "GET", &format!("/api/v1/search?q={long}"), None);
    assert_eq!((refused.status, refused.code()), (422, "invalid_q".into()));
    let missing = c.world.ask_as(&ann, "GET", "/api/v1/search", None);
    assert_eq!((missing.status, missing.code()), (422, "invalid_q".into()));
}

#[test]
fn only_own_conversations_and_only_current_texts_are_searched() {
    let mut c = chat();
    let (ann, bob, eve) = (c.ann.clone(), c.bob.clone(), c.eve.clone());
    let (path, conversation) = c.post("a secret word");
    assert_eq!(c.find(&bob, "secret"), ["a secret word"]);
    assert!(c.find(&eve, "secret").is_empty());
    let foreign = format!("/api/v1/search?q=secret&conversation={conversation}");
    assert_eq!(c.world.ask_as(&eve, "GET", &foreign, None).status, 404);
    assert_eq!(c.world.ask_as(&bob, "GET", &foreign, None).at("data.0.body"), "a secret word");

    let edited = c.world.ask_as(&ann, "PUT", &path, Some(r#"{"body":"a public word"}"#));
    assert_eq!(edited.status, 200);
    assert!(c.find(&bob, "secret").is_empty());
    assert_eq!(c.find(&bob, "public"), ["a public word"]);
    assert_eq!(c.world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert!(c.find(&bob, "public").is_empty());
}

#[test]
fn pages_go_back_in_time() {
    let mut c = chat();
    for i in 0..5 {
        c.post(&format!("page {i}"));
    }
    let ann = c.ann.clone();
    let first = c.world.ask_as(&ann, "GET", "/api/v1/search?q=page&limit=2", None);
    assert_eq!((first.at("data.0.body"), first.at("data.1.body")), ("page 4".into(), "page 3".into()));
    let next = c.world.ask_as(
        &ann,
        "GET",
        &format!("/api/v1/search?q=page&limit=2&next={}", first.at("next")),
        None,
    );
    assert_eq!((next.at("data.0.body"), next.at("data.1.body")), ("page 2".into(), "page 1".into()));
    let last =
        c.world.ask_as(&ann, "GET", &format!("/api/v1/search?q=page&limit=2&next={}", next.at("next")), None);
    assert_eq!((last.at("data.0.body"), last.at("next")), ("page 0".into(), "null".into()));
}
