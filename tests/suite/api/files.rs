//! file.list: the files of a conversation, by their kind, for those who see their messages.

use super::uploads::raw;
use crate::support::World;
use crate::support::http::{Person, Response};
use crate::support::pictures;

/// Posts these uploads; the client_id is made of `n`.
fn post(world: &mut World, from: &Person, to: &str, uploads: &[Response], n: u8) -> Response {
    let ids: Vec<String> = uploads.iter().map(|upload| format!("\"{}\"", upload.at("data.id"))).collect();
    let ids = ids.join(",");
    let body = format!(r#"{{{to},"client_id":"01ARZ3NDEKTSV4RRFFQ69G5F{n:02}","attachments":[{ids}]}}"#);
    let posted = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
    posted
}

/// The names of a page, and its `next`.
fn list(world: &mut World, person: &Person, conversation: &str, query: &str) -> (Vec<String>, String) {
    let path = format!("/api/v1/conversations/{conversation}/files?{query}");
    let page = world.ask_as(person, "GET", &path, None);
    assert_eq!(page.status, 200, "{query}: {}", page.text());
    let names = (0..).map(|i| page.at(&format!("data.{i}.file.name"))).take_while(|name| name != "null");
    (names.collect(), page.at("next"))
}

const SOUND: &[u8] =
    b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80";

#[test]
fn the_files_of_a_conversation_are_listed_by_kind_and_page_by_page() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let to = format!(r#""to":"{}""#, bob.profile);
    let picture = |world: &mut World, n: u8| raw(world, &ann, &format!("{n}.png"), &pictures::picture(n));
    let first = [picture(&mut world, 1), raw(&mut world, &ann, "a.txt", b"a"), picture(&mut world, 2)];
    let posted = post(&mut world, &ann, &to, &first, 1);
    let second = [picture(&mut world, 3), raw(&mut world, &ann, "s.wav", SOUND)];
    post(&mut world, &ann, &to, &second, 2);
    let third = [picture(&mut world, 4)];
    let last = post(&mut world, &ann, &to, &third, 3);
    let conversation = posted.at("data.conversation");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = names(&["4.png", "3.png", "2.png", "1.png"]);
    for person in [&ann, &bob] {
        assert_eq!(list(&mut world, person, &conversation, "kind=media"), (all.clone(), "null".into()));
    }
    assert_eq!(list(&mut world, &bob, &conversation, "kind=audio").0, names(&["s.wav"]));
    assert_eq!(list(&mut world, &bob, &conversation, "kind=file").0, names(&["a.txt"]));
    // A page may end inside of a message.
    let mut found = Vec::new();
    let mut query = "kind=media&limit=1".to_owned();
    for _ in 0..4 {
        let (page, next) = list(&mut world, &bob, &conversation, &query);
        assert_eq!(page.len(), 1);
        found.extend(page);
        query = format!("kind=media&limit=1&next={next}");
    }
    assert_eq!(found, all);
    assert!(query.ends_with("next=null"), "{query}");
    assert_eq!(list(&mut world, &bob, &conversation, "kind=media&before=2").0, names(&["2.png", "1.png"]));
    // Each names its message, and is as the message shows it.
    let page =
        world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{conversation}/files?kind=media"), None);
    for (name, at) in [("message", "id"), ("n", "n"), ("sender", "sender"), ("created_at", "created_at")] {
        assert_eq!(page.at(&format!("data.0.{name}")), last.at(&format!("data.{at}")));
    }
    assert_eq!(page.at("data.0.file"), last.at("data.attachments.0"));
    // Nobody else sees them, and bad parameters are named.
    let refused = |world: &mut World, person: &Person, query: &str| {
        let path = format!("/api/v1/conversations/{conversation}/files?{query}");
        let answer = world.ask_as(person, "GET", &path, None);
        (answer.status, answer.code())
    };
    assert_eq!(refused(&mut world, &eve, "kind=media"), (404, "not_found".into()));
    for query in ["", "kind=picture", "kind="] {
        assert_eq!(refused(&mut world, &bob, query), (422, "invalid_kind".into()), "{query}");
    }
    assert_eq!(refused(&mut world, &bob, "kind=media&before=x"), (422, "invalid_before".into()));
    for next in ["x", "f1", "f1.", "f.1", "f1.x", "f-1.1"] {
        let answer = refused(&mut world, &bob, &format!("kind=media&next={next}"));
        assert_eq!(answer, (400, "error_parsing_data".into()), "{next}");
    }
    // A deleted message shows none.
    let path = format!("/api/v1/messages/{}", posted.at("data.id"));
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!(list(&mut world, &bob, &conversation, "kind=media").0, names(&["4.png", "3.png"]));
    assert!(list(&mut world, &bob, &conversation, "kind=file").0.is_empty());
}

#[test]
fn a_newcomer_and_one_who_left_see_what_their_messages_show() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(r#"{"title":"Tea"}"#)).at("data.id");
    let path = format!("/api/v1/conversations/{group}");
    let changed = world.ask_as(&ann, "PUT", &path, Some(r#"{"history":"joined"}"#));
    assert_eq!(changed.status, 200, "{}", changed.text());
    let to = format!(r#""conversation":"{group}""#);
    let before = [raw(&mut world, &ann, "before.txt", b"before")];
    post(&mut world, &ann, &to, &before, 1);
    let member = format!("{path}/members/{}", bob.profile);
    assert_eq!(world.ask_as(&ann, "PUT", &member, Some(r#"{"role":"member"}"#)).status, 200);
    let after = [raw(&mut world, &ann, "after.txt", b"after")];
    post(&mut world, &ann, &to, &after, 2);
    assert_eq!(list(&mut world, &ann, &group, "kind=file").0.len(), 2);
    assert_eq!(list(&mut world, &bob, &group, "kind=file").0, ["after.txt"]);
    assert_eq!(world.ask_as(&bob, "DELETE", &member, None).status, 204);
    let left = world.ask_as(&bob, "GET", &format!("{path}/files?kind=file"), None);
    assert_eq!((left.status, left.code()), (404, "not_found".into()));
}
