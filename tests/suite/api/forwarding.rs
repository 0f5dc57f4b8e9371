//! Forwarded messages: what is copied, whose the files are then, and what is refused.

use std::time::Duration;

use super::export::exported;
use super::previews::preview;
use super::uploads::{raw, with};
use crate::support::World;
use crate::support::http::{Person, Response};
use crate::support::pictures;

/// Ann and Bob have a conversation, Bob and Cat have one.
struct Three {
    world: World,
    ann: Person,
    bob: Person,
    cat: Person,
    posts: u32,
}

impl Three {
    fn of(mut world: World) -> Three {
        let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| world.sign_up(name));
        Three { world, ann, bob, cat, posts: 0 }
    }

    fn client_id(&mut self) -> String {
        self.posts += 1;
        format!("01ARZ3NDEKTSV4RRFFQ69{:05}", self.posts)
    }

    fn post(&mut self, from: &Person, to: &str, rest: &str) -> Response {
        let body = format!(r#"{{"to":"{to}","client_id":"{}",{rest}}}"#, self.client_id());
        self.world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
    }

    fn forward(&mut self, from: &Person, to: &str, message: &Response) -> Response {
        self.post(from, to, &format!(r#""forward":"{}""#, message.at("data.id")))
    }

    fn ask(&mut self, who: &Person, method: &str, message: &Response, body: Option<&str>) -> Response {
        self.world.ask_as(who, method, &format!("/api/v1/messages/{}", message.at("data.id")), body)
    }

    /// Bytes on disk, after what is erased was removed.
    fn files(&mut self) -> usize {
        self.world.pass(Duration::from_secs(60));
        self.world.files.all().1.len()
    }
}

fn plain(message: &Response, index: usize) -> String {
    let url = message.at(&format!("data.attachments.{index}.url"));
    url.split('?').next().expect("a path").to_owned()
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

#[test]
fn text_and_files_are_posted_again_and_neither_author_nor_place_is_named() {
    let mut t = Three::of(World::new());
    let (ann, bob, cat) = (t.ann.clone(), t.bob.clone(), t.cat.clone());
    let files = [raw(&mut t.world, &ann, "a.txt", b"one"), raw(&mut t.world, &ann, "b.txt", b"two")];
    let rest = format!(
        r#""body":"look @cat","attachments":["{}","{}"]"#,
        files[0].at("data.id"),
        files[1].at("data.id")
    );
    let first = t.post(&ann, &bob.profile, &rest);
    assert_eq!((first.status, first.at("data.forwarded")), (201, "null".into()), "{}", first.text());
    let second = t.forward(&bob, &cat.profile, &first);
    assert_eq!(second.status, 201, "{}", second.text());
    let shown = ["body", "forwarded", "sender", "reply_to", "mentions", "n"]
        .map(|name| second.at(&format!("data.{name}")));
    assert_eq!(shown, ["look @cat", "true", &bob.profile, "null", "null", "1"].map(str::to_owned));
    assert!(!second.text().contains(&ann.profile) && !second.text().contains(&first.at("data.conversation")));
    for (index, (name, bytes)) in [("a.txt", &b"one"[..]), ("b.txt", b"two")].into_iter().enumerate() {
        let at = |name: &str| second.at(&format!("data.attachments.{index}.{name}"));
        assert_eq!(
            (at("name"), at("size"), at("type")),
            (name.into(), "3".into(), "text/plain; charset=utf-8".into())
        );
        assert_ne!(at("id"), files[index].at("data.id"), "an upload of Bob's own");
        assert_eq!(t.world.ask_as(&cat, "GET", &plain(&second, index), None).body, bytes);
        assert_eq!(t.world.ask_as(&cat, "GET", &plain(&first, index), None).status, 404, "not Ann's");
    }
    // As it is read, in the log, and in the export of who forwarded it.
    assert_eq!(t.ask(&cat, "GET", &second, None).at("data"), second.at("data"));
    assert_eq!(t.world.ask_as(&cat, "GET", "/api/v1/events", None).at("data.0.data.forwarded"), "true");
    let export = exported(&mut t.world, &bob);
    assert!(export.contains(r#""forwarded":true"#), "{export}");
    assert_eq!(export.matches(r#""kind":"upload""#).count(), 2, "{export}");
    // A repeat is the same message, whatever became of the first.
    assert_eq!(t.ask(&ann, "DELETE", &first, None).status, 204);
    let body = format!(
        r#"{{"to":"{}","client_id":"{}","forward":"{}"}}"#,
        cat.profile,
        second.at("data.client_id"),
        first.at("data.id")
    );
    let again = t.world.ask_as(&bob, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(
        (again.status, again.at("duplicate"), again.at("data.id")),
        (200, "true".into(), second.at("data.id"))
    );
    // Others wrote the text.
    assert_eq!(refused(&t.ask(&bob, "PUT", &second, Some(r#"{"body":"x"}"#))), (403, "not_allowed".into()));
    let third = t.forward(&cat, &ann.profile, &second);
    assert_eq!((third.status, third.at("data.body")), (201, "look @cat".into()), "forwarded on");
}

#[test]
fn the_bytes_stay_until_the_last_upload_of_them_is_gone() {
    let mut t = Three::of(World::new());
    let (ann, bob, cat) = (t.ann.clone(), t.bob.clone(), t.cat.clone());
    let file = raw(&mut t.world, &ann, "a.txt", b"one");
    let shown = format!(r#""body":" ","attachments":["{}"]"#, file.at("data.id"));
    let first = t.post(&ann, &bob.profile, &shown);
    let second = t.forward(&bob, &cat.profile, &first);
    let third = t.forward(&cat, &ann.profile, &second);
    assert_eq!(third.at("data.attachments.0.name"), "a.txt");
    assert_eq!(t.files(), 1, "one file for three uploads");
    // The first owner's account.
    let leave = r#"{"password":"correct horse ann's"}"#;
    assert_eq!(t.world.ask_as(&ann, "DELETE", "/api/v1/user/me", Some(leave)).status, 204);
    assert_eq!(t.world.ask("GET", &first.at("data.attachments.0.url"), &[], None).status, 404);
    assert_eq!((t.files(), t.world.ask_as(&cat, "GET", &plain(&second, 0), None).status), (1, 200));
    // What has lost its files, and had no text that one sees, is nothing to forward.
    assert_eq!(refused(&t.forward(&bob, &cat.profile, &first)), (422, "invalid_forward".into()));
    // The second one's message.
    assert_eq!(t.ask(&bob, "DELETE", &second, None).status, 204);
    assert_eq!(t.world.ask_as(&cat, "GET", &plain(&second, 0), None).status, 404);
    assert_eq!((t.files(), t.world.ask_as(&cat, "GET", &plain(&third, 0), None).body), (1, b"one".to_vec()));
    assert_eq!(t.ask(&cat, "DELETE", &third, None).status, 204);
    assert_eq!(t.files(), 0);
}

#[test]
fn own_bytes_are_one_file_and_count_each_time() {
    let limit = with(|limits| (limits.upload_quota, limits.upload_files_max) = (10, 3));
    let mut t = Three::of(World::with(limit));
    let (ann, bob, cat) = (t.ann.clone(), t.bob.clone(), t.cat.clone());
    let file = raw(&mut t.world, &ann, "a.txt", b"four");
    let first = t.post(&ann, &bob.profile, &format!(r#""attachments":["{}"]"#, file.at("data.id")));
    // Bob has the same bytes already.
    let own = raw(&mut t.world, &bob, "b.txt", b"four");
    let second = t.forward(&bob, &cat.profile, &first);
    assert_eq!((second.status, second.at("data.attachments.0.name")), (201, "a.txt".into()));
    assert_eq!(t.files(), 2, "Ann's and Bob's");
    let full = t.forward(&bob, &cat.profile, &first);
    assert_eq!(refused(&full), (413, "quota_exceeded".into()), "8 of 10 bytes are used");
    assert_eq!(t.world.ask_as(&bob, "GET", &plain(&second, 0), None).status, 200);
    // What is erased counts no more.
    assert_eq!(t.ask(&bob, "DELETE", &second, None).status, 204);
    assert_eq!(t.forward(&bob, &cat.profile, &first).status, 201);
    let path = format!("/api/v1/uploads/{}", own.at("data.id"));
    assert_eq!(t.world.ask_as(&bob, "DELETE", &path, None).status, 204);
    assert_eq!(t.files(), 2);
    // Also by their number.
    let small: Vec<String> =
        (0..2).map(|n| raw(&mut t.world, &cat, "s", &[b'a' + n]).at("data.id")).collect();
    let rest = format!(r#""attachments":["{}","{}"]"#, small[0], small[1]);
    let two = t.post(&cat, &bob.profile, &rest);
    assert_eq!(t.forward(&bob, &ann.profile, &two).status, 201, "three files");
    assert_eq!(refused(&t.forward(&bob, &ann.profile, &two)), (413, "quota_exceeded".into()));
    let text = t.post(&cat, &bob.profile, r#""body":"no file""#);
    assert_eq!(t.forward(&bob, &ann.profile, &text).status, 201, "a text needs no room");
}

#[test]
fn what_is_not_forwarded() {
    let mut t = Three::of(World::new());
    let (ann, bob, cat) = (t.ann.clone(), t.bob.clone(), t.cat.clone());
    let first = t.post(&ann, &bob.profile, r#""body":"for Bob""#);
    let invalid = (422, "invalid_forward".to_owned());
    assert_eq!(refused(&t.forward(&cat, &bob.profile, &first)), invalid, "Cat does not see it");
    for rest in [
        r#""forward":"01ARZ3NDEKTSV4RRFFQ69G5FAV""#.to_owned(),
        r#""forward":"x""#.to_owned(),
        format!(r#""forward":"{}","body":"and this""#, first.at("data.id")),
        format!(r#""forward":"{0}","reply_to":"{0}""#, first.at("data.id")),
        format!(r#""forward":"{}","attachments":[]"#, first.at("data.id")),
    ] {
        assert_eq!(refused(&t.post(&bob, &cat.profile, &rest)), invalid, "{rest}");
    }
    // Of a group: a system message, and what was said before one joined.
    let group = format!(r#"{{"title":"tea","members":["{}"]}}"#, bob.profile);
    let group = t.world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group));
    let path = format!("/api/v1/conversations/{}", group.at("data.id"));
    let told = t.world.ask_as(&bob, "GET", &format!("{path}/messages"), None).at("data.0.id");
    assert_eq!(refused(&t.post(&bob, &cat.profile, &format!(r#""forward":"{told}""#))), invalid);
    let said = format!(
        r#"{{"conversation":"{}","client_id":"{}","body":"before"}}"#,
        group.at("data.id"),
        t.client_id()
    );
    let said = t.world.ask_as(&ann, "POST", "/api/v1/messages", Some(&said));
    assert_eq!(t.world.ask_as(&ann, "PUT", &path, Some(r#"{"history":"joined"}"#)).status, 200);
    let member = format!("{path}/members/{}", cat.profile);
    assert_eq!(t.world.ask_as(&ann, "PUT", &member, Some("{}")).status, 200);
    assert_eq!(refused(&t.forward(&cat, &bob.profile, &said)), invalid);
    assert_eq!(t.forward(&bob, &cat.profile, &said).status, 201);
    // To where nobody may post.
    let block = format!("/api/v1/blocks/{}", cat.profile);
    assert_eq!(t.world.ask_as(&bob, "PUT", &block, Some("{}")).status, 204);
    assert_eq!(t.forward(&bob, &cat.profile, &first).status, 404);
    // A tombstone.
    assert_eq!(t.ask(&ann, "DELETE", &first, None).status, 204);
    assert_eq!(refused(&t.forward(&bob, &ann.profile, &first)), invalid);
}

#[test]
fn a_preview_and_an_alt_text_go_with_the_file() {
    let mut t = Three::of(World::new());
    let (ann, bob, cat) = (t.ann.clone(), t.bob.clone(), t.cat.clone());
    let file = raw(&mut t.world, &ann, "p.png", &pictures::picture(1));
    let small = pictures::picture(2);
    assert_eq!(preview(&mut t.world, &ann, &file, &small).status, 200);
    let path = format!("/api/v1/uploads/{}", file.at("data.id"));
    assert_eq!(t.world.ask_as(&ann, "PUT", &path, Some(r#"{"alt":"a cup"}"#)).status, 200);
    let first = t.post(&ann, &bob.profile, &format!(r#""attachments":["{}"]"#, file.at("data.id")));
    let second = t.forward(&bob, &cat.profile, &first);
    assert_eq!(
        (second.status, second.at("data.attachments.0.alt")),
        (201, "a cup".into()),
        "{}",
        second.text()
    );
    assert_eq!(t.ask(&ann, "DELETE", &first, None).status, 204);
    assert_eq!(t.files(), 2);
    let shown = ["url", "preview"].map(|name| second.at(&format!("data.attachments.0.{name}")));
    let bytes = shown.map(|url| t.world.ask("GET", &url, &[], None).body);
    assert_eq!(bytes, [pictures::picture(1), small]);
    assert_eq!(t.ask(&bob, "DELETE", &second, None).status, 204);
    assert_eq!(t.files(), 0);
}
