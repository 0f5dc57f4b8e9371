//! Pinned messages: who pins, who sees it, how many, and what unpins.

use super::export::exported;
use crate::support::World;
use crate::support::http::{Person, Response};

struct Group {
    world: World,
    /// The admin.
    ann: Person,
    bob: Person,
    cat: Person,
    id: String,
    posts: u32,
}

fn group() -> Group {
    let mut world = World::new();
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| world.sign_up(name));
    let body = format!(r#"{{"title":"tea","members":["{}"]}}"#, bob.profile);
    let id = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    Group { world, ann, bob, cat, id, posts: 0 }
}

impl Group {
    fn say(&mut self, who: &Person, to: &str, text: &str) -> Response {
        self.posts += 1;
        let client_id = format!("01ARZ3NDEKTSV4RRFFQ69{:05}", self.posts);
        let body = format!(r#"{{{to},"client_id":"{client_id}","body":"{text}"}}"#);
        let posted = self.world.ask_as(who, "POST", "/api/v1/messages", Some(&body));
        assert_eq!(posted.status, 201, "{}", posted.text());
        posted
    }

    fn here(&mut self, who: &Person, text: &str) -> Response {
        let to = format!(r#""conversation":"{}""#, self.id);
        self.say(who, &to, text)
    }

    fn pin(&mut self, who: &Person, method: &str, message: &str) -> Response {
        self.world.ask_as(who, method, &format!("/api/v1/messages/{message}/pin"), None)
    }

    /// The texts of the pinned messages.
    fn pinned(&mut self, who: &Person, query: &str) -> Vec<String> {
        let path = format!("/api/v1/conversations/{}/messages?pinned=true{query}", self.id);
        let list = self.world.ask_as(who, "GET", &path, None);
        assert_eq!(list.status, 200, "{}", list.text());
        let text = |i: usize| list.at(&format!("data.{i}.body"));
        (0..).map(text).take_while(|text| text != "null").collect()
    }

    /// The newest event of a member: its name, its text, and whether it is pinned.
    fn newest_event(&mut self, who: &Person) -> [String; 3] {
        let events = self.world.ask_as(who, "GET", "/api/v1/events?limit=200", None);
        let last =
            (0..).take_while(|i| events.at(&format!("data.{i}.seq")) != "null").last().expect("an event");
        ["event", "data.body", "data.pinned"].map(|name| events.at(&format!("data.{last}.{name}")))
    }
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

#[test]
fn admins_pin_for_all_who_see_the_message() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    let (first, second) = (g.here(&bob, "first").at("data.id"), g.here(&bob, "second").at("data.id"));
    assert_eq!(g.pinned(&bob, ""), Vec::<String>::new());
    let pinned = g.pin(&ann, "PUT", &second);
    assert_eq!((pinned.status, pinned.at("data.pinned")), (200, "true".into()), "{}", pinned.text());
    assert_eq!(g.newest_event(&bob), ["message.pinned", "second", "true"]);
    let again = g.pin(&ann, "PUT", &second);
    assert_eq!((again.status, again.at("data.rev")), (200, pinned.at("data.rev")), "nothing changes");
    assert_eq!(g.pin(&ann, "PUT", &first).status, 200);
    assert_eq!(g.pinned(&bob, ""), ["first", "second"]);
    assert_eq!(g.pinned(&bob, "&limit=1"), ["second"], "the newest page");
    assert_eq!(g.pinned(&bob, "&after=0&limit=1"), ["first"]);
    // A page has a next one only where there is one: other messages are before and behind.
    let place = |g: &mut Group, query: &str| {
        let path = format!("/api/v1/conversations/{}/messages?pinned=true{query}", g.id);
        g.world.ask_as(&bob, "GET", &path, None).at("next")
    };
    g.here(&bob, "last");
    for query in ["", "&limit=2", "&after=0", "&after=0&limit=2"] {
        assert_eq!(place(&mut g, query), "null", "{query}");
    }
    for query in ["&limit=1", "&after=0&limit=1"] {
        let next = place(&mut g, query);
        assert_ne!(next, "null", "{query}");
        assert_eq!(place(&mut g, &format!("&limit=1&next={next}")), "null", "{query}");
    }
    // Who is no admin, and who is no member.
    assert_eq!(refused(&g.pin(&bob, "PUT", &first)), (403, "not_allowed".into()));
    assert_eq!(refused(&g.pin(&bob, "DELETE", &first)), (403, "not_allowed".into()));
    assert_eq!(refused(&g.pin(&cat, "PUT", &first)), (404, "not_found".into()));
    // An edit keeps it, a deletion does not.
    let path = format!("/api/v1/messages/{first}");
    let edited = g.world.ask_as(&bob, "PUT", &path, Some(r#"{"body":"edited"}"#));
    assert_eq!(edited.at("data.pinned"), "true");
    assert_eq!(g.world.ask_as(&bob, "DELETE", &path, None).status, 204);
    assert_eq!(g.newest_event(&ann), ["message.deleted", "null", "null"]);
    assert_eq!(g.pinned(&ann, ""), ["second"]);
    assert_eq!(refused(&g.pin(&ann, "PUT", &first)), (403, "not_allowed".into()), "a tombstone");
    let unpinned = g.pin(&ann, "DELETE", &second);
    assert_eq!((unpinned.status, unpinned.at("data.pinned")), (200, "null".into()));
    assert_eq!(g.newest_event(&bob), ["message.pinned", "second", "null"]);
    assert_eq!(g.pinned(&ann, ""), Vec::<String>::new());
    // A system message.
    let list = format!("/api/v1/conversations/{}/messages", g.id);
    let told = g.world.ask_as(&ann, "GET", &list, None).at("data.0.id");
    assert_eq!(refused(&g.pin(&ann, "PUT", &told)), (403, "not_allowed".into()));
}

#[test]
fn newcomers_see_only_what_they_may_see() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    let before = g.here(&bob, "before").at("data.id");
    assert_eq!(g.pin(&ann, "PUT", &before).status, 200);
    let path = format!("/api/v1/conversations/{}", g.id);
    assert_eq!(g.world.ask_as(&ann, "PUT", &path, Some(r#"{"history":"joined"}"#)).status, 200);
    let member = format!("{path}/members/{}", cat.profile);
    assert_eq!(g.world.ask_as(&ann, "PUT", &member, Some(r#"{"role":"admin"}"#)).status, 200);
    let after = g.here(&bob, "after").at("data.id");
    assert_eq!(g.pin(&ann, "PUT", &after).status, 200);
    assert_eq!(
        (g.pinned(&bob, ""), g.pinned(&cat, "")),
        (vec!["before".into(), "after".into()], vec!["after".to_owned()])
    );
    assert_eq!(refused(&g.pin(&cat, "DELETE", &before)), (404, "not_found".into()), "though an admin");
    let newest = g.newest_event(&cat);
    assert_eq!(g.pin(&ann, "DELETE", &before).status, 200);
    assert_eq!(g.newest_event(&cat), newest, "no event of what she does not see");
}

#[test]
fn both_of_a_direct_conversation_pin_unless_one_blocks_the_other() {
    let mut g = group();
    let (ann, bob) = (g.ann.clone(), g.bob.clone());
    let message = g.say(&ann, &format!(r#""to":"{}""#, bob.profile), "hi").at("data.id");
    assert_eq!(g.pin(&bob, "PUT", &message).status, 200);
    assert_eq!(g.newest_event(&ann), ["message.pinned", "hi", "true"]);
    let export = exported(&mut g.world, &ann);
    assert!(export.contains(r#""pinned":true"#), "{export}");
    let block = format!("/api/v1/blocks/{}", bob.profile);
    assert_eq!(g.world.ask_as(&ann, "PUT", &block, Some("{}")).status, 204);
    for who in [&ann, &bob] {
        assert_eq!(refused(&g.pin(who, "DELETE", &message)), (403, "not_allowed".into()));
    }
    assert_eq!(g.world.ask_as(&ann, "DELETE", &block, None).status, 204);
    assert_eq!(g.pin(&ann, "DELETE", &message).status, 200);
}

#[test]
fn a_conversation_has_at_most_100() {
    let mut g = group();
    let ann = g.ann.clone();
    let mut ids = Vec::new();
    for n in 0..101 {
        ids.push(g.here(&ann, &n.to_string()).at("data.id"));
        g.world.pass(std::time::Duration::from_secs(1));
    }
    for id in &ids[..100] {
        assert_eq!(g.pin(&ann, "PUT", id).status, 200);
        g.world.pass(std::time::Duration::from_secs(1));
    }
    assert_eq!(refused(&g.pin(&ann, "PUT", &ids[100])), (422, "invalid_pinned".into()));
    assert_eq!(g.pinned(&ann, "&limit=200").len(), 100);
    assert_eq!(g.pin(&ann, "DELETE", &ids[7]).status, 200);
    assert_eq!(g.pin(&ann, "PUT", &ids[100]).status, 200);

    // What all members have cleared takes no place, and what one of them still sees does.
    let (bob, clear) = (g.bob.clone(), format!("/api/v1/conversations/{}/clear", g.id));
    assert_eq!(g.world.ask_as(&ann, "POST", &clear, Some("{}")).status, 200);
    let new = g.here(&ann, "new").at("data.id");
    assert_eq!(refused(&g.pin(&ann, "PUT", &new)), (422, "invalid_pinned".into()));
    assert_eq!(g.world.ask_as(&bob, "POST", &clear, Some("{}")).status, 200);
    let newer = g.here(&ann, "newer").at("data.id");
    assert_eq!(g.pin(&ann, "PUT", &newer).status, 200);
    assert_eq!(
        (g.pinned(&ann, ""), g.pinned(&bob, "")),
        (vec!["newer".to_owned()], vec!["newer".to_owned()])
    );
}
