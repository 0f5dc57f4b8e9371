//! Files in use: in messages, on profiles, on groups.

use std::time::Duration;

use super::uploads::{form, raw, send_form};
use crate::support::World;
use crate::support::http::{Person, Response};
use crate::support::pictures;

/// Posts this upload; the client_id is made of `n`.
fn post(world: &mut World, from: &Person, to: &str, uploads: &[&str], n: u8) -> Response {
    let list = uploads.iter().map(|upload| format!("\"{upload}\"")).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{{to},"client_id":"01ARZ3NDEKTSV4RRFFQ69G5F{n:02}","attachments":[{list}]}}"#);
    world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
}

fn to(person: &Person) -> String {
    format!(r#""to":"{}""#, person.profile)
}

fn plain(upload: &Response) -> String {
    upload.at("data.url").split('?').next().expect("a path").to_owned()
}

#[test]
fn a_message_shows_its_files_to_its_conversation() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let picture = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let text = raw(&mut world, &ann, "t.txt", b"hello");
    let (first, second) = (picture.at("data.id"), text.at("data.id"));
    for upload in [&picture, &text] {
        assert_eq!(world.ask_as(&bob, "GET", &plain(upload), None).status, 404, "not yet");
    }
    let posted = post(&mut world, &ann, &to(&bob), &[&first, &second], 1);
    assert_eq!(posted.status, 201, "{}", posted.text());
    let attachment = |answer: &Response, at: &str| {
        ["id", "name", "type", "size", "width", "height"].map(|name| answer.at(&format!("{at}.{name}")))
    };
    let size = pictures::picture(1).len().to_string();
    let shown = [&*first, "p.png", "image/png", &size, "2", "1"].map(str::to_owned);
    assert_eq!(attachment(&posted, "data.attachments.0"), shown);
    let shown_text = [&*second, "t.txt", "text/plain; charset=utf-8", "5", "null", "null"].map(str::to_owned);
    assert_eq!(attachment(&posted, "data.attachments.1"), shown_text);
    assert_eq!(posted.at("data.body"), "null");
    // The same in every read, each with a newly signed URL.
    let conversation = posted.at("data.conversation");
    let message = posted.at("data.id");
    world.pass(Duration::from_secs(2 * 3_600));
    for (path, at) in [
        (format!("/api/v1/conversations/{conversation}/messages"), "data.0.attachments.0"),
        (format!("/api/v1/messages/{message}"), "data.attachments.0"),
        ("/api/v1/conversations".to_owned(), "data.0.last_message.attachments.0"),
        ("/api/v1/events".to_owned(), "data.0.data.attachments.0"),
    ] {
        // The access tokens have expired meanwhile.
        let bob = world.sign_in("bob");
        let read = world.ask_as(&bob, "GET", &path, None);
        assert_eq!(attachment(&read, at), shown, "{path} {}", read.text());
        let url = read.at(&format!("{at}.url"));
        assert_ne!(url, posted.at("data.attachments.0.url"), "renewed");
        assert_eq!(world.ask("GET", &url, &[], None).body, pictures::picture(1));
    }
    let (ann, bob, eve_again) = (world.sign_in("ann"), world.sign_in("bob"), world.sign_in("eve"));
    assert_eq!(world.ask_as(&bob, "GET", &plain(&text), None).body, b"hello");
    assert_eq!(world.ask_as(&eve_again, "GET", &plain(&text), None).status, 404);
    // A repeat returns the original, whatever it contains.
    let again = post(&mut world, &ann, &to(&bob), &[&first], 1);
    assert_eq!((again.status, again.at("duplicate")), (200, "true".into()));
    assert_eq!(attachment(&again, "data.attachments.1"), shown_text);
    // A file in a message can't be deleted, and neither can another member's file.
    let path = format!("/api/v1/uploads/{second}");
    let refused = world.ask_as(&ann, "DELETE", &path, None);
    assert_eq!((refused.status, refused.code()), (409, "in_use".into()));
    let refused = world.ask_as(&bob, "DELETE", &path, None);
    assert_eq!((refused.status, refused.code()), (403, "not_allowed".into()));
    assert_eq!(world.ask_as(&eve_again, "DELETE", &path, None).status, 404);
    drop(eve);
}

#[test]
fn only_own_uploads_are_posted() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let own = raw(&mut world, &ann, "a", b"mine").at("data.id");
    let other = raw(&mut world, &bob, "b", b"his").at("data.id");
    let refused = |world: &mut World, uploads: &[&str]| {
        let answer = post(world, &ann, &to(&bob), uploads, 1);
        assert_eq!((answer.status, answer.code()), (422, "invalid_attachments".into()), "{uploads:?}");
    };
    refused(&mut world, &[&other]);
    refused(&mut world, &[&own, &other]);
    refused(&mut world, &[&own, &own]);
    refused(&mut world, &["01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    let ids: Vec<String> =
        (0..11_u8).map(|n| raw(&mut world, &ann, "n", &[b'a' + n; 3]).at("data.id")).collect();
    let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
    refused(&mut world, &ids);
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/conversations", None).at("data"), "[]", "nothing was made");
    let posted = post(&mut world, &ann, &to(&bob), &ids[..10], 2);
    assert_eq!((posted.status, posted.at("data.attachments.9.id")), (201, ids[9].to_owned()));
}

#[test]
fn a_deleted_message_deletes_files_that_nothing_else_uses() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let once = raw(&mut world, &ann, "once", b"once");
    let twice = raw(&mut world, &ann, "twice", b"twice");
    let (a, b) = (once.at("data.id"), twice.at("data.id"));
    let first = post(&mut world, &ann, &to(&bob), &[&a, &b], 1);
    let second = post(&mut world, &ann, &to(&bob), &[&b], 2);
    let delete = |world: &mut World, message: &Response| {
        let path = format!("/api/v1/messages/{}", message.at("data.id"));
        assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    };
    delete(&mut world, &first);
    assert_eq!(
        world.ask("GET", &once.at("data.url"), &[], None).status,
        404,
        "as soon as the response is sent"
    );
    assert_eq!(world.ask_as(&ann, "GET", &plain(&once), None).status, 404, "for its owner too");
    assert_eq!(world.ask_as(&bob, "GET", &plain(&twice), None).status, 200);
    let tombstone = world.ask_as(&bob, "GET", &format!("/api/v1/messages/{}", first.at("data.id")), None);
    assert_eq!((tombstone.at("data.attachments"), tombstone.at("data.body")), ("[]".into(), "null".into()));
    assert_eq!(world.files.all().1.len(), 2);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 1, "the bytes are deleted within a minute");
    delete(&mut world, &second);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 0);
    let quota = raw(&mut world, &ann, "x", b"x");
    assert_eq!(quota.status, 201);
}

#[test]
fn a_member_who_left_a_group_reads_its_files_no_longer() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"title":"t","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    let upload = raw(&mut world, &ann, "a", b"hello");
    let destination = format!(r#""conversation":"{group}""#);
    assert_eq!(post(&mut world, &ann, &destination, &[&upload.at("data.id")], 1).status, 201);
    assert_eq!(world.ask_as(&bob, "GET", &plain(&upload), None).status, 200);
    let member = format!("/api/v1/conversations/{group}/members/{}", bob.profile);
    assert_eq!(world.ask_as(&bob, "DELETE", &member, None).status, 204);
    assert_eq!(world.ask_as(&bob, "GET", &plain(&upload), None).status, 404);
}

#[test]
fn a_profile_has_a_picture() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let picture = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let (id, path) = (picture.at("data.id"), "/api/v1/profile");
    assert_eq!(world.ask_as(&eve, "GET", &plain(&picture), None).status, 404);
    let update = |world: &mut World, person: &Person, value: &str| {
        world.ask_as(person, "PUT", path, Some(&format!(r#"{{"profile_image":{value}}}"#)))
    };
    let set = update(&mut world, &ann, &format!("\"{id}\""));
    assert_eq!(set.status, 200, "{}", set.text());
    assert!(set.at("data.profile_image").starts_with(&plain(&picture)), "{}", set.text());
    assert_eq!(world.ask_as(&eve, "GET", &plain(&picture), None).status, 200, "any member");
    let seen = world.ask_as(&bob, "GET", &format!("/api/v1/profile/{}", ann.profile), None);
    assert_eq!(world.ask("GET", &seen.at("data.profile_image"), &[], None).body, pictures::picture(1));
    let me = world.ask_as(&ann, "GET", "/api/v1/user/me", None);
    assert!(me.at("data.profile.profile_image").starts_with(&plain(&picture)));
    // An upload of another member, a file that is not a picture, an unknown id.
    let text = raw(&mut world, &ann, "t", b"text").at("data.id");
    for (person, value) in [(&bob, &*id), (&ann, &*text), (&ann, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), (&ann, "x")] {
        let refused = update(&mut world, person, &format!("\"{value}\""));
        assert_eq!((refused.status, refused.code()), (422, "invalid_profile_image".into()), "{value}");
    }
    let refused = world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{id}"), None);
    assert_eq!((refused.status, refused.code()), (409, "in_use".into()));
    // Another picture, with a form; the previous one is deleted.
    let answer =
        send_form(&mut world, &ann, "PUT", path, &form("profile_image", "q.png", &pictures::picture(2)));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = answer.at("data.profile_image");
    assert_eq!(world.ask("GET", &url, &[], None).body, pictures::picture(2));
    assert_eq!(world.ask("GET", &picture.at("data.url"), &[], None).status, 404);
    assert_eq!(update(&mut world, &ann, "null").at("data.profile_image"), "null");
    assert_eq!(world.ask("GET", &url, &[], None).status, 404);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 1, "the text");
}

#[test]
fn a_form_changes_a_profile_as_json_does() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let field = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let path = "/api/v1/profile";
    let fields = [field("display_name", "Ann B"), field("nick_name", "ann.b"), field("is_private", "true")];
    let body = [fields.concat().as_bytes(), &form("profile_image", "p.png", &pictures::picture(3))].concat();
    let answer = send_form(&mut world, &ann, "PUT", path, &body);
    assert_eq!(
        (
            answer.status,
            answer.at("data.display_name"),
            answer.at("data.nick_name"),
            answer.at("data.is_private")
        ),
        (200, "Ann B".into(), "ann.b".into(), "true".into())
    );
    let kept = answer.at("data.profile_image");
    // A refused request leaves neither a change nor a file.
    let taken =
        [field("nick_name", "ann.b").as_bytes(), &form("profile_image", "p.png", &pictures::picture(4))]
            .concat();
    let refused = send_form(&mut world, &bob, "PUT", path, &taken);
    assert_eq!((refused.status, refused.code()), (409, "nickname_taken".into()));
    let bad = [field("nick_name", "1x").as_bytes(), &form("profile_image", "p.png", &pictures::picture(5))]
        .concat();
    let refused = send_form(&mut world, &bob, "PUT", path, &bad);
    assert_eq!((refused.status, refused.code()), (422, "invalid_nickname".into()));
    let refused = send_form(&mut world, &bob, "PUT", path, &form("profile_image", "p.png", b"text"));
    assert_eq!((refused.status, refused.code()), (422, "invalid_profile_image".into()));
    let refused = send_form(&mut world, &bob, "PUT", path, &form("other", "p.png", &pictures::picture(6)));
    assert_eq!((refused.status, refused.code()), (422, "invalid_profile_image".into()));
    world.pass(Duration::from_secs(60));
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 1));
    let only_fields = [field("display_name", "Ann C"), "--b--\r\n".to_owned()].concat();
    let answer = send_form(&mut world, &ann, "PUT", path, only_fields.as_bytes());
    assert_eq!((answer.status, answer.at("data.display_name")), (200, "Ann C".into()));
    assert_eq!(answer.at("data.profile_image"), kept);
}

#[test]
fn a_group_has_a_picture() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let body = format!(r#"{{"title":"t","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    let path = format!("/api/v1/conversations/{group}");
    let picture = raw(&mut world, &ann, "g.png", &pictures::picture(1));
    let put = |world: &mut World, person: &Person, value: &str| {
        world.ask_as(person, "PUT", &path, Some(&format!(r#"{{"image":{value}}}"#)))
    };
    let value = format!("\"{}\"", picture.at("data.id"));
    assert_eq!(put(&mut world, &bob, &value).status, 403);
    assert_eq!(put(&mut world, &eve, &value).status, 404);
    let set = put(&mut world, &ann, &value);
    assert!(set.at("data.image").starts_with(&plain(&picture)), "{}", set.text());
    assert_eq!(world.ask_as(&eve, "GET", &plain(&picture), None).status, 200, "any member");
    for (path, at) in [
        (&*path, "data.image"),
        ("/api/v1/conversations", "data.0.image"),
        ("/api/v1/events", "data.2.data.image"),
    ] {
        let read = world.ask_as(&bob, "GET", path, None);
        assert_eq!(world.ask("GET", &read.at(at), &[], None).status, 200, "{path} {}", read.text());
    }
    let text = raw(&mut world, &ann, "t", b"text").at("data.id");
    let refused = put(&mut world, &ann, &format!("\"{text}\""));
    assert_eq!((refused.status, refused.code()), (422, "invalid_image".into()));
    let away = put(&mut world, &ann, "null");
    assert_eq!((away.at("data.image"), away.at("data.title")), ("null".into(), "t".into()));
    assert_eq!(world.ask("GET", &picture.at("data.url"), &[], None).status, 404);
}

#[test]
fn a_deleted_account_deletes_its_files() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let shown = raw(&mut world, &ann, "a", b"hello");
    let kept = raw(&mut world, &bob, "b", b"hello");
    let face = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let posted = post(&mut world, &ann, &to(&bob), &[&shown.at("data.id")], 1);
    let body = format!(r#"{{"profile_image":"{}"}}"#, face.at("data.id"));
    assert_eq!(world.ask_as(&ann, "PUT", "/api/v1/profile", Some(&body)).status, 200);
    let body = r#"{"password":"correct horse ann's"}"#;
    assert_eq!(world.ask_as(&ann, "DELETE", "/api/v1/user/me", Some(body)).status, 204);
    for upload in [&shown, &face] {
        assert_eq!(world.ask("GET", &upload.at("data.url"), &[], None).status, 404);
        assert_eq!(world.ask_as(&bob, "GET", &plain(upload), None).status, 404);
    }
    let message = world.ask_as(&bob, "GET", &format!("/api/v1/messages/{}", posted.at("data.id")), None);
    assert_eq!((message.at("data.attachments"), message.at("data.sender")), ("[]".into(), "null".into()));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 1);
    assert_eq!(world.ask("GET", &kept.at("data.url"), &[], None).body, b"hello");
}
