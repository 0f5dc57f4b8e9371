//! Uploads: a body becomes a file, and members who may read it do.

use std::fs;
use std::time::Duration;

use natter::base::crypto::{hex, sha256};
use natter::in_memory::Append;
use natter::limits::{Limits, UPLOADS_OF_MEMBER_MAX};
use natter::model::settings::{DefaultImage, Settings};

use crate::support::http::{Person, Response, responses};
use crate::support::{World, limits, pictures, settings};

/// A request with any header fields and any body.
pub fn bytes_of(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// One exchange on its own connection.
pub fn exchange(world: &mut World, method: &str, request: &[u8]) -> Response {
    let conn = world.connect();
    world.send(conn, request);
    let mut bytes = world.take(conn);
    let mut all = responses(&mut bytes, method == "HEAD");
    assert_eq!(all.len(), 1, "{:?}", String::from_utf8_lossy(&bytes));
    world.reset(conn);
    all.remove(0)
}

pub fn bearer(person: &Person) -> String {
    format!("Bearer {}", person.access)
}

/// Uploads a raw body.
pub fn raw(world: &mut World, person: &Person, name: &str, body: &[u8]) -> Response {
    let length = body.len().to_string();
    let fields = [("Authorization", &*bearer(person)), ("X-Filename", name), ("Content-Length", &length)];
    exchange(world, "POST", &bytes_of("POST", "/api/v1/uploads", &fields, body))
}

/// A form with one file.
pub fn form(field: &str, name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: text/html\r\n\r\n"
    );
    [head.as_bytes(), body, b"\r\n--b--\r\n"].concat()
}

pub fn send_form(world: &mut World, person: &Person, method: &str, path: &str, body: &[u8]) -> Response {
    let length = body.len().to_string();
    let fields = [
        ("Authorization", &*bearer(person)),
        ("Content-Type", "multipart/form-data; boundary=b"),
        ("Content-Length", &length),
    ];
    exchange(world, method, &bytes_of(method, path, &fields, body))
}

pub(super) fn with(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut limits = limits();
    change(&mut limits);
    settings(limits)
}

/// Status, code, the header field that gives the type, and a body.
type Refused<'a> = (u16, &'a str, (&'a str, &'a str), &'a [u8]);

/// Method and header fields, and the status, body and Content-Range of the response.
type Asked<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a [u8], Option<&'a str>);

fn get(world: &mut World, url: &str) -> Response {
    world.ask("GET", url, &[], None)
}

// ---- creating ------------------------------------------------------------------------------------

#[test]
fn an_upload_is_on_disk_before_its_response() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let picture = pictures::picture(7);
    let answer = raw(&mut world, &ann, "a%20b%C3%A9.png", &picture);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let data = |name: &str| answer.at(&format!("data.{name}"));
    assert_eq!((data("name"), data("type")), ("a b\u{e9}.png".into(), "image/png".into()));
    assert_eq!(
        (data("size"), data("width"), data("height")),
        (picture.len().to_string(), "2".into(), "1".into())
    );
    assert_eq!(data("sha256"), hex(&sha256(&picture)));
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 1));
    assert_eq!(fs::read(&published[0]).expect("a file"), picture);
    assert!(data("url").starts_with(&format!("/uploads/{}/a%20b%C3%A9.png?expires=", data("id"))));
    let read = get(&mut world, &data("url"));
    assert_eq!((read.status, &read.body), (200, &picture));
}

#[test]
fn a_form_gives_the_same_file_as_a_raw_body_in_every_split() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let text = b"hello\r\n--not the boundary\r\n";
    let body = form("file", "n\u{635}.txt", text);
    let chunked: Vec<u8> = [
        body.chunks(40)
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect::<Vec<u8>>(),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    let (bearer, length) = (bearer(&ann), body.len().to_string());
    for (framing, body) in
        [(("Content-Length", &*length), &body), (("Transfer-Encoding", "chunked"), &chunked)]
    {
        let fields =
            [("Authorization", &*bearer), ("Content-Type", "multipart/form-data; boundary=\"b\""), framing];
        let request = bytes_of("POST", "/api/v1/uploads", &fields, body);
        for step in [1, 2, 17, request.len()] {
            let conn = world.connect();
            for piece in request.chunks(step) {
                world.send(conn, piece);
            }
            let mut bytes = world.take(conn);
            let answer = responses(&mut bytes, false).remove(0);
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_eq!(answer.at("data.name"), "n\u{635}.txt");
            assert_eq!(answer.at("data.type"), "text/plain; charset=utf-8");
            assert_eq!(answer.at("data.sha256"), hex(&sha256(text)));
            assert_eq!(answer.at("data.width"), "null");
            world.reset(conn);
        }
    }
}

#[test]
fn requests_after_an_upload_are_answered_in_their_order() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let upload = |body: &[u8]| {
        let length = body.len().to_string();
        let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", &length)];
        bytes_of("POST", "/api/v1/uploads", &fields, body)
    };
    let me = bytes_of("GET", "/api/v1/user/me", &[("Authorization", &*bearer)], b"");
    let all = [upload(b"one"), me.clone(), upload(b"\xff\xfe\0"), me, upload(b"two")].concat();
    for step in [1, 100, all.len()] {
        let conn = world.connect();
        for piece in all.chunks(step) {
            world.send(conn, piece);
        }
        let mut bytes = world.take(conn);
        let statuses: Vec<u16> = responses(&mut bytes, false).iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [201, 200, 415, 200, 201]);
        world.reset(conn);
    }
}

#[test]
fn a_bad_upload_is_refused_and_leaves_nothing() {
    let mut world = World::with(with(|limits| limits.upload_max = 1_000));
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let two = [&form("file", "a", b"x")[..], &form("file", "b", b"y")].concat();
    let two = String::from_utf8(two).expect("text").replacen("--b--\r\n", "", 1).into_bytes();
    let form_type = ("Content-Type", "multipart/form-data; boundary=b");
    let name = ("X-Filename", "x");
    let none: (&str, &str) = ("X-Nothing", "");
    let rows: &[Refused<'_>] = &[
        (201, "", name, &[b'x'; 1_000]),
        (413, "too_large", name, &[b'x'; 1_001]),
        (422, "invalid_file", name, b""),
        (415, "not_supported_type", name, b"\x7fELF\x02\x01\x01\0\xff\xff"),
        (415, "not_supported_type", name, b"\xff\xd8\xff<script>alert(1)</script>"),
        (422, "invalid_filename", none, b"hello"),
        (422, "invalid_filename", ("X-Filename", "%zz"), b"hello"),
        (422, "invalid_filename", ("X-Filename", "%ff"), b"hello"),
        (400, "error_parsing_data", ("Content-Type", "multipart/form-data"), b"hello"),
        (400, "error_parsing_data", form_type, b"hello"),
        (422, "invalid_file", form_type, &two),
        (422, "invalid_file", form_type, &form("other", "a", b"x")),
        (422, "invalid_file", form_type, &form("file", "", b"")),
        (422, "invalid_file", form_type, b"--b--\r\n"),
        (413, "too_large", form_type, &form("file", "a", &[b'x'; 1_001])),
    ];
    for (status, code, field, body) in rows {
        let length = body.len().to_string();
        let fields = [("Authorization", &*bearer), *field, ("Content-Length", &length)];
        let answer = exchange(&mut world, "POST", &bytes_of("POST", "/api/v1/uploads", &fields, body));
        assert_eq!(answer.status, *status, "{field:?} {}", answer.text());
        if *status >= 400 {
            assert_eq!(answer.code(), *code, "{field:?}");
        }
    }
    let coded = [("Authorization", &*bearer), name, ("Content-Encoding", "gzip"), ("Content-Length", "1")];
    assert_eq!(exchange(&mut world, "POST", &bytes_of("POST", "/api/v1/uploads", &coded, b"x")).status, 415);
    let bare = [("Authorization", &*bearer), name];
    let answer = exchange(&mut world, "POST", &bytes_of("POST", "/api/v1/uploads", &bare, b""));
    assert_eq!((answer.status, answer.code()), (411, "length_required".into()));
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 1));
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn a_refusal_that_the_head_allows_comes_before_the_body() {
    let mut world = World::with(with(|limits| limits.upload_max = 1_000));
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let expect = ("Expect", "100-continue");
    let ask = |world: &mut World, fields: &[(&str, &str)]| {
        let conn = world.connect();
        world.send(conn, &bytes_of("POST", "/api/v1/uploads", fields, b""));
        let bytes = world.take(conn);
        world.reset(conn);
        String::from_utf8(bytes).expect("text")
    };
    let name = ("X-Filename", "x");
    let authorized = ("Authorization", &*bearer);
    let length = |length| ("Content-Length", length);
    assert!(ask(&mut world, &[name, length("5"), expect]).starts_with("HTTP/1.1 401 "));
    assert!(ask(&mut world, &[authorized, name, length("1001"), expect]).starts_with("HTTP/1.1 413 "));
    assert!(ask(&mut world, &[authorized, length("5"), expect]).starts_with("HTTP/1.1 422 "));
    assert_eq!(ask(&mut world, &[authorized, name, length("5"), expect]), "HTTP/1.1 100 Continue\r\n\r\n");
    // A form may be longer than its file by the size of its framing.
    let form = ("Content-Type", "multipart/form-data; boundary=b");
    let long = ask(&mut world, &[authorized, form, length("66537"), expect]);
    assert!(long.starts_with("HTTP/1.1 413 ") && long.contains("\r\nConnection: close\r\n"), "{long}");
    assert_eq!(
        ask(&mut world, &[authorized, form, length("66536"), expect]),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert_eq!(world.files.all().0.len(), 0);
}

#[test]
fn an_incomplete_upload_leaves_nothing() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let head = |length: &str| {
        let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", length)];
        bytes_of("POST", "/api/v1/uploads", &fields, &[b'x'; 40_000])
    };
    let begin = |world: &mut World| {
        let conn = world.connect();
        world.send(conn, &head("1000000"));
        assert_eq!(world.files.all().0.len(), 1, "some of it is on disk");
        conn
    };
    let conn = begin(&mut world);
    world.reset(conn);
    assert_eq!(world.files.all().0.len(), 0, "the connection broke");
    let conn = begin(&mut world);
    world.end(conn);
    assert_eq!(world.files.all().0.len(), 0, "the peer stopped in the middle");
    // 60 s, and a million bytes at 8 KiB/s.
    let conn = begin(&mut world);
    world.pass(Duration::from_secs(60 + 122 - 1));
    assert_eq!(world.files.all().0.len(), 1, "it is slow but within the deadline");
    world.pass(Duration::from_secs(2));
    assert!(world.take(conn).starts_with(b"HTTP/1.1 408 "));
    assert_eq!(world.files.all().0.len(), 0);
    // The session ends while the body is being received.
    let conn = begin(&mut world);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    for _ in 0..24 {
        world.send(conn, &[b'x'; 40_000]);
    }
    assert!(world.take(conn).starts_with(b"HTTP/1.1 401 "));
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 0));
}

#[test]
fn the_deadline_of_a_chunked_upload_grows_with_its_bytes() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Transfer-Encoding", "chunked")];
    let conn = world.connect();
    world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, b""));
    let chunk = [format!("{:x}\r\n", 81_920).as_bytes(), &[b'x'; 81_920], b"\r\n"].concat();
    for _ in 0..3 {
        world.pass(Duration::from_secs(20));
        world.send(conn, &chunk);
    }
    world.pass(Duration::from_secs(29));
    assert_eq!(world.take(conn), b"");
    world.pass(Duration::from_secs(2));
    assert!(world.take(conn).starts_with(b"HTTP/1.1 408 "), "60 s and 240 KiB at 8 KiB/s are 90 s");
    assert_eq!(world.files.all().0.len(), 0);
}

#[test]
fn a_full_disk_refuses_uploads_and_nothing_else() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let check = |world: &mut World, status: u16, code: &str| {
        let answer = raw(world, &ann, "x", b"hello");
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()));
        assert_eq!(answer.at("retry"), "true");
        let body =
            format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
        assert!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status < 300);
        let (temporary, published) = world.files.all();
        assert_eq!((temporary.len(), published.len()), (0, 0));
    };
    world.files.append_fails = Some(true);
    check(&mut world, 507, "storage_full");
    world.files.append_fails = Some(false);
    check(&mut world, 503, "unavailable");
    world.files.append_fails = None;
    world.files.publish_fails = true;
    check(&mut world, 507, "storage_full");
    world.files.publish_fails = false;
    assert_eq!(raw(&mut world, &ann, "x", b"hello").status, 201);
}

#[test]
fn a_member_keeps_no_more_than_the_quota() {
    let mut world = World::with(with(|limits| limits.upload_quota = 1_000));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    assert_eq!(raw(&mut world, &ann, "a", &[b'a'; 600]).status, 201);
    let over = raw(&mut world, &ann, "b", &[b'b'; 401]);
    assert_eq!((over.status, over.code()), (413, "quota_exceeded".into()));
    assert_eq!(raw(&mut world, &bob, "b", &[b'b'; 401]).status, 201, "each member has its own");
    // The same bytes again share a file and count again.
    let again = raw(&mut world, &ann, "c", &[b'a'; 600]);
    assert_eq!((again.status, again.code()), (413, "quota_exceeded".into()));
    let last = raw(&mut world, &ann, "d", &[b'd'; 400]);
    assert_eq!(last.status, 201);
    assert_eq!(raw(&mut world, &ann, "e", b"e").status, 413);
    // The length in the head refuses it before a byte of the body.
    let conn = world.connect();
    let bearer = bearer(&ann);
    let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", "900")];
    world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, b""));
    assert!(world.take(conn).starts_with(b"HTTP/1.1 413 "));
    // A deleted file frees its room.
    let id = last.at("data.id");
    assert_eq!(world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{id}"), None).status, 204);
    assert_eq!(raw(&mut world, &ann, "f", &[b'f'; 400]).status, 201);
    assert_eq!(world.files.all().0.len(), 0);
}

#[test]
fn the_number_of_files_of_a_member_is_bounded() {
    let mut world = World::with(with(|limits| limits.upload_files_max = 2));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let first = raw(&mut world, &ann, "a", b"a");
    assert_eq!(
        (first.status, raw(&mut world, &ann, "b", b"a").status),
        (201, 201),
        "the same bytes count twice"
    );
    let over = raw(&mut world, &ann, "c", b"c");
    assert_eq!((over.status, over.code()), (413, "quota_exceeded".into()));
    assert_eq!(raw(&mut world, &bob, "c", b"c").status, 201);
    let path = format!("/api/v1/uploads/{}", first.at("data.id"));
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!(raw(&mut world, &ann, "d", b"d").status, 201);
}

#[test]
fn the_number_of_files_counts_those_that_are_being_received() {
    let mut world = World::with(with(|limits| limits.upload_files_max = 2));
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", "9")];
    let conns: Vec<_> = (0..3)
        .map(|_| {
            let conn = world.connect();
            world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, b"8 of the"));
            conn
        })
        .collect();
    let refused = world.take(conns[2]);
    assert!(refused.starts_with(b"HTTP/1.1 413 "), "the third, before its body");
    for conn in &conns[..2] {
        world.send(*conn, b"9");
        assert!(world.take(*conn).starts_with(b"HTTP/1.1 201 "));
    }
    let over = raw(&mut world, &ann, "c", b"c");
    assert_eq!((over.status, over.code()), (413, "quota_exceeded".into()));
}

#[test]
fn the_quota_counts_concurrent_uploads() {
    let mut world = World::with(with(|limits| limits.upload_quota = 1_000));
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    let conns: Vec<_> = (0_u8..3)
        .map(|n| {
            let conn = world.connect();
            let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", "600")];
            world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, &[b'a' + n; 599]));
            conn
        })
        .collect();
    let statuses: Vec<String> = conns
        .into_iter()
        .map(|conn| {
            world.send(conn, b"z");
            String::from_utf8_lossy(&world.take(conn)[9..12]).into_owned()
        })
        .collect();
    assert_eq!(statuses, ["201", "413", "413"]);
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 1), "what was refused at the end is gone too");
}

/// A body that is being received has no row, but counts in its owner's quota: a member cannot fill the disk with bodies
/// that never end.
#[test]
fn the_quota_counts_bodies_that_are_being_received() {
    let mut world = World::with(with(|limits| limits.upload_quota = 1_000));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let begin = |world: &mut World, person: &Person, framing: (&str, &str), body: &[u8]| {
        let fields = [("Authorization", &*bearer(person)), ("X-Filename", "x"), framing];
        let conn = world.connect();
        world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, body));
        conn
    };
    let refused = |world: &mut World, conn| {
        let answer = world.take(conn);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("quota_exceeded"), "{text:?}");
    };
    let length = ("Content-Length", "700");
    let first = begin(&mut world, &ann, length, b"a");
    let second = begin(&mut world, &ann, length, b"");
    refused(&mut world, second);
    let other = begin(&mut world, &bob, length, &[b'b'; 700]);
    assert!(world.take(other).starts_with(b"HTTP/1.1 201 "), "each member has its own");
    // A body of unknown length uses the room of the bytes received so far.
    let chunked = ("Transfer-Encoding", "chunked");
    let growing = begin(&mut world, &ann, chunked, b"200\r\n");
    world.send(growing, &[b'g'; 0x200]);
    assert_eq!(world.take(growing), b"", "there is room for so much");
    world.send(growing, b"\r\n200\r\n");
    world.send(growing, &[b'g'; 0x200]);
    refused(&mut world, growing);
    // An upload that ends frees its room, however it ends.
    world.reset(first);
    assert_eq!(world.files.all().0.len(), 0);
    let last = begin(&mut world, &ann, length, &[b'l'; 700]);
    assert!(world.take(last).starts_with(b"HTTP/1.1 201 "));
}

#[test]
fn the_concurrent_uploads_of_a_member_are_bounded() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let begin = |world: &mut World, person: &Person| {
        let fields = [("Authorization", &*bearer(person)), ("X-Filename", "x"), ("Content-Length", "2")];
        let conn = world.connect();
        world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, b"a"));
        conn
    };
    let conns: Vec<_> = (0..UPLOADS_OF_MEMBER_MAX).map(|_| begin(&mut world, &ann)).collect();
    assert!(conns.iter().all(|conn| world.peers[conn].received.is_empty()), "all are received");
    let refused = begin(&mut world, &ann);
    let answer = responses(&mut world.take(refused), false).remove(0);
    assert_eq!((answer.status, answer.code()), (429, "rate_limited".into()));
    assert_eq!((answer.field("retry-after"), answer.at("retry")), (Some("1"), "true".into()));
    let form = form("profile_image", "x", b"hello");
    assert_eq!(
        send_form(&mut world, &ann, "PUT", "/api/v1/profile", &form).status,
        429,
        "a profile picture counts too"
    );
    let other = begin(&mut world, &bob);
    world.send(other, b"b");
    assert!(world.take(other).starts_with(b"HTTP/1.1 201 "));
    // An upload that is complete makes room for another.
    world.send(conns[0], b"b");
    assert!(world.take(conns[0]).starts_with(b"HTTP/1.1 201 "));
    let next = begin(&mut world, &ann);
    let excess = begin(&mut world, &ann);
    assert_eq!(world.take(next), b"");
    assert!(world.take(excess).starts_with(b"HTTP/1.1 429 "));
}

#[test]
fn equal_bytes_of_one_owner_are_one_file() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let first = raw(&mut world, &ann, "a", b"hello");
    let second = raw(&mut world, &ann, "b", b"hello");
    assert_ne!(first.at("data.id"), second.at("data.id"));
    assert_eq!(world.files.all().1.len(), 1);
    assert_eq!(raw(&mut world, &bob, "c", b"hello").status, 201);
    assert_eq!(world.files.all().1.len(), 2);
    let delete = |world: &mut World, upload: &Response| {
        let id = upload.at("data.id");
        world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{id}"), None).status
    };
    assert_eq!(delete(&mut world, &first), 204);
    assert_eq!(get(&mut world, &first.at("data.url")).status, 404, "at once");
    world.pass(Duration::from_secs(60));
    assert_eq!(
        get(&mut world, &second.at("data.url")).body,
        b"hello",
        "the other upload still has the bytes"
    );
    assert_eq!(delete(&mut world, &second), 204);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 1, "the bytes are deleted with the last upload");
    assert_eq!(delete(&mut world, &second), 404);
}

// ---- what is in a file ---------------------------------------------------------------------------

/// A picture is served without its metadata. The predecessor kept the geolocations in photographs, and took an
/// incomplete file for a complete one.
#[test]
fn a_portrait_keeps_its_orientation_and_loses_its_geolocation() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let portrait = pictures::portrait();
    assert!(portrait.windows(3).any(|bytes| bytes == b"GPS"));
    assert_eq!(pictures::orientation(&portrait), Some(6));
    let answer = raw(&mut world, &ann, "p.jpg", &portrait);
    assert_eq!((answer.at("data.width"), answer.at("data.height")), ("8".into(), "16".into()));
    let stored = get(&mut world, &answer.at("data.url"));
    assert!(!stored.body.windows(3).any(|bytes| bytes == b"GPS"), "no maker, no place, no time");
    assert_eq!(pictures::orientation(&stored.body), Some(6), "a viewer still turns it");
    assert_eq!(answer.at("data.size"), stored.body.len().to_string());
    assert_eq!(stored.field("etag"), Some(&*format!("\"{}\"", hex(&sha256(&stored.body)))));
    // The same photograph again, as it was stored, gives the same bytes.
    let again = raw(&mut world, &ann, "p.jpg", &stored.body);
    assert_eq!(again.at("data.sha256"), answer.at("data.sha256"));
    let png = raw(&mut world, &ann, "p.png", &pictures::png("GPS"));
    let stored = get(&mut world, &png.at("data.url"));
    assert!(!stored.body.windows(3).any(|bytes| bytes == b"GPS"));
}

/// The type of such a file and what may stay of it are known when it is complete. All its values are of the bytes as
/// served.
#[test]
fn a_film_and_a_picture_of_a_phone_lose_their_geolocation() {
    let atom =
        |name: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], name, body].concat();
    let brand = |brand: &[u8; 4]| atom(b"ftyp", &[&brand[..], &[0; 4], brand].concat());
    let handler = atom(b"hdlr", &[&[0; 8][..], b"soun", &[0; 13]].concat());
    let place = atom(b"udta", &atom(b"\xa9xyz", b"GPS+59.33+018.07/"));
    let track = atom(b"trak", &atom(b"mdia", &handler));
    let sound = [brand(b"isom"), atom(b"mdat", b"sound"), atom(b"moov", &[track, place].concat())].concat();
    let ispe = atom(b"ispe", &[0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 48]);
    let turn = atom(b"irot", &[1]);
    let links = atom(b"ipma", &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1, 2]);
    let properties = atom(b"iprp", &[atom(b"ipco", &[ispe, turn].concat()), links].concat());
    let meta = [&[0; 4][..], &atom(b"pitm", &[0, 0, 0, 0, 0, 1]), &properties].concat();
    let picture = [brand(b"heic"), atom(b"meta", &meta), atom(b"mpvd", b"GPS+59.33")].concat();
    for keep_metadata in [false, true] {
        let mut world = World::with(Settings { keep_metadata, ..settings(limits()) });
        let ann = world.sign_up("ann");
        for (file, mime, width, height) in
            [(&sound, "audio/mp4", "null", "null"), (&picture, "image/heic", "48", "64")]
        {
            let answer = raw(&mut world, &ann, "x", file);
            assert_eq!((answer.status, answer.at("data.type")), (201, mime.to_owned()));
            assert_eq!((&*answer.at("data.width"), &*answer.at("data.height")), (width, height));
            let stored = get(&mut world, &answer.at("data.url"));
            assert_eq!(stored.field("content-type"), Some(mime));
            assert_eq!(stored.body.windows(3).any(|bytes| bytes == b"GPS"), keep_metadata, "{mime}");
            assert_eq!(stored.body.len(), file.len());
            assert_eq!(answer.at("data.sha256"), hex(&sha256(&stored.body)));
            assert_eq!(stored.field("etag"), Some(&*format!("\"{}\"", hex(&sha256(&stored.body)))));
        }
        // It begins like a picture, but is not one.
        let (temporary, published) = world.files.all();
        let none = raw(&mut world, &ann, "x.heic", &brand(b"heic"));
        assert_eq!((none.status, none.code()), (415, "not_supported_type".to_owned()));
        assert_eq!(world.files.all(), (temporary, published));
    }
}

/// A small file can declare more pixels than a viewer has memory for.
#[test]
fn a_picture_has_a_bound_of_pixels() {
    let mut world = World::with(with(|limits| limits.pixels_max = 128));
    let ann = world.sign_up("ann");
    assert_eq!(raw(&mut world, &ann, "x.jpg", &pictures::jpeg(b"")).status, 201);
    let mut world = World::with(with(|limits| limits.pixels_max = 127));
    let ann = world.sign_up("ann");
    let refused = raw(&mut world, &ann, "x.jpg", &pictures::jpeg(b""));
    assert_eq!((refused.status, refused.code()), (422, "invalid_file".to_owned()));
    assert_eq!(world.files.all().1.len(), 0);
}

#[test]
fn keep_metadata_keeps_it() {
    let mut world = World::with(Settings { keep_metadata: true, ..settings(limits()) });
    let ann = world.sign_up("ann");
    let answer = raw(&mut world, &ann, "p.jpg", &pictures::portrait());
    assert_eq!((answer.at("data.width"), answer.at("data.height")), ("8".into(), "16".into()));
    assert_eq!(get(&mut world, &answer.at("data.url")).body, pictures::portrait());
}

#[test]
fn the_type_of_a_file_comes_from_its_bytes_and_it_never_runs() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let page = b"<html><script>alert(document.domain)</script></html>";
    let polyglot = [&pictures::picture(1)[..], page].concat();
    let jpeg_and_zip = [&pictures::jpeg(b"")[..], b"PK\x03\x04 and so on"].concat();
    let rows: [(&str, &[u8], &str, &[u8]); 7] = [
        ("x.png", page, "text/plain; charset=utf-8", page),
        ("x.html", page, "text/plain; charset=utf-8", page),
        (
            "x.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "text/plain; charset=utf-8",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        ),
        ("x.js", b"alert(1)", "text/plain; charset=utf-8", b"alert(1)"),
        ("x.html", &polyglot, "image/png", &pictures::picture(1)),
        ("x.zip", &jpeg_and_zip, "image/jpeg", &pictures::jpeg(b"")),
        ("x.gif", b"%PDF-1.7\n<script>", "application/pdf", b"%PDF-1.7\n<script>"),
    ];
    for (name, body, mime, stored) in rows {
        let answer = raw(&mut world, &ann, name, body);
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        assert_eq!(answer.at("data.type"), mime, "{name}");
        let read = get(&mut world, &answer.at("data.url"));
        assert_eq!((read.field("content-type"), &*read.body), (Some(mime), stored), "{name}");
        assert_eq!(read.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(read.field("content-security-policy"), Some("sandbox; default-src 'none'"));
        let shown = if mime.starts_with("image/") { "inline; " } else { "attachment; " };
        assert!(read.field("content-disposition").expect("a disposition").starts_with(shown), "{name}");
    }
}

// ---- reading -------------------------------------------------------------------------------------

#[test]
fn a_file_is_read_complete_in_part_or_as_a_304() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let upload = raw(&mut world, &ann, "a%22%C3%A9.txt", b"0123456789");
    let url = upload.at("data.url");
    let complete = get(&mut world, &url);
    let etag = complete.field("etag").expect("a tag").to_owned();
    let modified = complete.field("last-modified").expect("a date").to_owned();
    assert_eq!((complete.status, &*complete.body), (200, &b"0123456789"[..]));
    assert_eq!(etag, format!("\"{}\"", upload.at("data.sha256")));
    assert_eq!(modified, "Sun, 22 Nov 2026 13:03:54 GMT");
    assert_eq!(complete.field("cache-control"), Some("private, max-age=3600, immutable"));
    assert_eq!(complete.field("accept-ranges"), Some("bytes"));
    assert_eq!(
        complete.field("content-disposition"),
        Some("attachment; filename=\"a__.txt\"; filename*=UTF-8''a%22%C3%A9.txt")
    );
    let rows: &[Asked<'_>] = &[
        ("HEAD", &[], 200, b"", None),
        ("HEAD", &[("Range", "bytes=1-2")], 200, b"", None),
        ("GET", &[("Range", "bytes=2-4")], 206, b"234", Some("bytes 2-4/10")),
        ("GET", &[("Range", "bytes=-3")], 206, b"789", Some("bytes 7-9/10")),
        ("GET", &[("Range", "bytes=4-")], 206, b"456789", Some("bytes 4-9/10")),
        ("GET", &[("Range", "bytes=1-2,4-5")], 200, b"0123456789", None),
        ("GET", &[("Range", "bytes=10-")], 416, b"", Some("bytes */10")),
        ("GET", &[("Range", "bytes=2-4"), ("If-Range", &etag)], 206, b"234", Some("bytes 2-4/10")),
        ("GET", &[("Range", "bytes=2-4"), ("If-Range", &modified)], 206, b"234", Some("bytes 2-4/10")),
        ("GET", &[("Range", "bytes=2-4"), ("If-Range", "\"other\"")], 200, b"0123456789", None),
        ("GET", &[("If-None-Match", &etag)], 304, b"", None),
        ("GET", &[("If-None-Match", "*")], 304, b"", None),
        ("HEAD", &[("If-None-Match", &etag)], 304, b"", None),
        ("GET", &[("If-None-Match", "\"other\"")], 200, b"0123456789", None),
        ("GET", &[("If-Modified-Since", &modified)], 304, b"", None),
        ("GET", &[("If-Match", "\"other\"")], 412, b"", None),
    ];
    for (method, fields, status, body, range) in rows {
        let answer = world.ask(method, &url, fields, None);
        assert_eq!((answer.status, answer.field("content-range")), (*status, *range), "{method} {fields:?}");
        if answer.status < 400 {
            assert_eq!((&*answer.body, answer.field("etag")), (*body, Some(&*etag)), "{method} {fields:?}");
            assert_eq!(answer.field("cache-control"), Some("private, max-age=3600, immutable"));
            let length = match (*method, status) {
                (_, 304) => None,
                ("HEAD", _) => Some("10".to_owned()),
                _ => Some(body.len().to_string()),
            };
            assert_eq!(answer.field("content-length"), length.as_deref(), "{method} {fields:?}");
        }
    }
    assert_eq!(world.ask("GET", &url, &[("Range", "bytes=10-")], None).code(), "range_not_satisfiable");
}

#[test]
fn only_a_member_who_may_read_it_finds_a_file() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let upload = raw(&mut world, &ann, "a.txt", b"hello");
    let (id, url) = (upload.at("data.id"), upload.at("data.url"));
    let plain = format!("/uploads/{id}/a.txt");
    let other = raw(&mut world, &ann, "b.txt", b"other").at("data.url");
    let signature = other.split_once('?').expect("a query").1;
    assert_eq!(get(&mut world, &url).status, 200);
    assert_eq!(get(&mut world, &url.to_lowercase().replace("sig=", "SIG=")).status, 404);
    assert_eq!(world.ask_as(&ann, "GET", &plain, None).body, b"hello");
    assert_eq!(world.ask_as(&ann, "GET", &plain.to_uppercase(), None).status, 404, "a name is not an id");
    assert_eq!(world.ask_as(&ann, "GET", &format!("/uploads/{}/a.txt", id.to_lowercase()), None).status, 200);
    assert_eq!(world.ask_as(&bob, "GET", &plain, None).status, 404);
    let anonymous = get(&mut world, &plain);
    assert_eq!((anonymous.status, anonymous.field("www-authenticate")), (401, Some("Bearer")));
    let (path, query) = url.split_once('?').expect("a query");
    let (expires, sig) = query.split_once('&').expect("two parts");
    let last = if sig.ends_with('A') { "B" } else { "A" };
    for bad in [
        format!("{path}?{signature}"),
        format!("{path}?{expires}&{}{last}", &sig[..sig.len() - 1]),
        format!("{path}?{expires}"),
        format!("{path}?{sig}"),
        format!("{path}?expires=99999999999&{sig}"),
        format!("{path}?expires=&sig="),
        format!("/uploads/{id}/b.txt?{query}"),
        format!("/uploads/{id}/?{query}"),
        format!("/uploads/{id}?{query}"),
        format!("/uploads/{id}/a.txt/?{query}"),
        format!("/uploads/{id}/a%2Etxt%00?{query}"),
        format!("/uploads/{id}/a.txt%2F?{query}"),
        format!("/uploads/{id}/..%2Fa.txt?{query}"),
        format!("/uploads/{id}/../{id}/a.txt?{query}"),
        format!("/uploads/{id}/%2e%2e/a.txt?{query}"),
        format!("/uploads/..%2f..%2fnatter.db?{query}"),
        format!("/uploads/tmp/{id}?{query}"),
        format!("/uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV/a.txt?{query}"),
    ] {
        assert_eq!(get(&mut world, &bad).status, 404, "{bad}");
    }
    assert_eq!(get(&mut world, &format!("{path}?{sig}&{expires}")).status, 200, "in any order");
    assert_eq!(get(&mut world, &format!("/uploads/{id}/a%2Etxt?{query}")).status, 200, "the same name");
    // 24 hours, rounded up to the hour: from 13:03:54 until 14:00.
    world.pass(Duration::from_secs(24 * 3_600 + 55 * 60));
    assert_eq!(get(&mut world, &url).status, 200);
    world.pass(Duration::from_secs(2 * 60));
    assert_eq!(get(&mut world, &url).status, 404, "expired");
}

#[test]
fn an_upload_is_deleted_by_its_owner_only() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let upload = raw(&mut world, &ann, "a.txt", b"hello");
    let path = format!("/api/v1/uploads/{}", upload.at("data.id"));
    assert_eq!(world.ask("DELETE", &path, &[], None).status, 401);
    assert_eq!(world.ask_as(&bob, "DELETE", &path, None).status, 404);
    assert_eq!(world.ask_as(&ann, "DELETE", "/api/v1/uploads/nonsense", None).status, 404);
    assert_eq!(get(&mut world, &upload.at("data.url")).status, 200);
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!(get(&mut world, &upload.at("data.url")).status, 404);
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 404);
    assert_eq!(world.files.all().1.len(), 1);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 0);
}

/// Each request for a file takes a handle: the next request waits until the file before it has been sent.
#[test]
fn pipelined_reads_of_files_wait_for_each_other() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let url = raw(&mut world, &ann, "a.txt", &[b'x'; 100_000]).at("data.url");
    let conn = world.connect();
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    let request = bytes_of("GET", &url, &[], b"");
    world.send(conn, &request.repeat(50));
    assert!(!world.server.wants_read(conn));
    let queue = world.server.send_queue(conn).expect("a queue");
    assert!(queue.len() < 110_000 && queue.memory() < 2_000, "one answer, and its file is not in memory");
    world.unstall(conn);
    let mut bytes = world.take(conn);
    assert_eq!(responses(&mut bytes, false).len(), 50);
}

/// While the disk is slow no upload is lost, and none is read without a bound.
#[test]
fn a_slow_disk_stops_the_reading_of_uploads() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = bearer(&ann);
    world.holds_appends = true;
    let conns: Vec<_> = (0_u8..100)
        .map(|n| {
            let conn = world.connect();
            let fields = [("Authorization", &*bearer), ("X-Filename", "x"), ("Content-Length", "300000")];
            world.send(conn, &bytes_of("POST", "/api/v1/uploads", &fields, &[]));
            (conn, n)
        })
        .collect();
    let mut left: Vec<usize> = vec![300_000; conns.len()];
    let send_what_is_wanted = |world: &mut World, left: &mut [usize]| {
        for ((conn, n), left) in conns.iter().zip(left) {
            while world.server.wants_read(*conn) && *left > 0 {
                let piece = (*left).min(65_536);
                world.send(*conn, &vec![b'a' + n % 26; piece]);
                *left -= piece;
            }
        }
    };
    send_what_is_wanted(&mut world, &mut left);
    let length = |append: &Append| if let Append::Bytes { bytes, .. } = append { bytes.len() } else { 0 };
    let held = world.appends.iter().map(length).sum::<usize>();
    assert!(held <= 4_194_304 + 131_072, "{held} bytes wait for the disk");
    let mut rounds = 0;
    while left.iter().any(|left| *left > 0) {
        world.write_held_appends();
        send_what_is_wanted(&mut world, &mut left);
        rounds += 1;
        assert!(rounds < 100, "reading goes on when the disk does");
    }
    world.write_held_appends();
    for (conn, _) in &conns {
        assert!(world.take(*conn).starts_with(b"HTTP/1.1 201 "));
    }
    assert_eq!(world.files.all().0.len(), 0);
}

/// DEFAULT_PROFILE_PIC: a file of the operator is the picture of each profile without one.
#[test]
fn a_profile_without_a_picture_shows_the_operators() {
    let with_default = settings(limits());
    let default = DefaultImage { name: "no one.png".to_owned(), mime: "image/png" };
    let urls = with_default.urls.clone().with_default_image(Some(default));
    let mut world = World::with(Settings { urls, ..with_default });
    fs::write(world.dir.path().join("default.png"), pictures::picture(7)).expect("a picture");
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let of = |world: &mut World, viewer: &Person, profile: &str| {
        world.ask_as(viewer, "GET", &format!("/api/v1/profile/{profile}"), None).at("data.profile_image")
    };
    let url = of(&mut world, &bob, &ann.profile);
    assert!(url.starts_with("/uploads/00000000000000000000000000/no%20one.png?expires="), "{url}");
    let shown = get(&mut world, &url);
    assert_eq!((shown.status, &*shown.body), (200, &*pictures::picture(7)));
    assert_eq!(shown.field("content-type"), Some("image/png"));
    assert_eq!(shown.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(shown.field("content-disposition").map(|it| it.starts_with("inline;")), Some(true));
    let etag = shown.field("etag").expect("a tag").to_owned();
    assert_eq!(world.ask("GET", &url, &[("If-None-Match", &etag)], None).status, 304);
    // A member needs no signature. It is not served to anyone else, under another name, or with a wrong signature.
    let (path, query) = url.split_once('?').expect("a query");
    assert_eq!(world.ask_as(&ann, "GET", path, None).status, 200);
    assert_eq!(get(&mut world, path).status, 401);
    assert_eq!(get(&mut world, &format!("{path}x?{query}")).status, 404);
    assert_eq!(get(&mut world, &url.replace("sig=", "sig=A")).status, 404);
    assert_eq!(world.ask_as(&ann, "DELETE", "/api/v1/uploads/00000000000000000000000000", None).status, 404);
    // No member owns it: it can't be sent, and a member's own picture replaces it.
    let body = format!(
        r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","attachments":["00000000000000000000000000"]}}"#,
        bob.profile
    );
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 422);
    let own = send_form(
        &mut world,
        &ann,
        "PUT",
        "/api/v1/profile",
        &form("profile_image", "me.png", &pictures::picture(1)),
    );
    assert_eq!(own.status, 200, "{}", own.text());
    let url = of(&mut world, &bob, &ann.profile);
    assert_eq!(get(&mut world, &url).body, pictures::picture(1));
    // Without the file it is as if none were configured.
    fs::remove_file(world.dir.path().join("default.png")).expect("removed");
    assert_eq!(world.ask_as(&bob, "GET", path, None).status, 404);
}
