//! What the owner of a file adds to it: a preview, an alt text, how long it plays.

use std::time::Duration;

use natter::base::json;
use natter::limits::{Limits, PREVIEW_MAX};

use super::uploads::{bearer, bytes_of, exchange, form, raw, send_form};
use crate::support::http::{Person, Response};
use crate::support::{World, limits, pictures, settings};

fn path(upload: &Response) -> String {
    format!("/api/v1/uploads/{}", upload.at("data.id"))
}

/// Gives an upload a preview, as `curl -T` does.
pub(super) fn preview(world: &mut World, person: &Person, upload: &Response, picture: &[u8]) -> Response {
    let length = picture.len().to_string();
    let fields = [("Authorization", &*bearer(person)), ("Content-Length", &length)];
    exchange(world, "PUT", &bytes_of("PUT", &format!("{}/preview", path(upload)), &fields, picture))
}

fn with(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = limits();
    change(&mut limits);
    World::with(settings(limits))
}

fn post(world: &mut World, from: &Person, to: &Person, upload: &Response) -> Response {
    let (to, id) = (&to.profile, upload.at("data.id"));
    let body = format!(r#"{{"to":"{to}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","attachments":["{id}"]}}"#);
    world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
}

/// A PNG that says it has these sides, with `more` bytes of pixels.
fn png(width: u32, height: u32, more: usize) -> Vec<u8> {
    let size = [&width.to_be_bytes()[..], &height.to_be_bytes(), b"\x08\0\0\0\0"].concat();
    let chunks = [(&b"IHDR"[..], size), (b"IDAT", vec![b'x'; more]), (b"IEND", Vec::new())];
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in chunks {
        bytes.extend_from_slice(&u32::try_from(data.len()).expect("a length").to_be_bytes());
        let from = bytes.len();
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(&crc(&bytes[from..]).to_be_bytes());
    }
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn a_preview_is_served_to_those_who_may_read_the_file() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let upload = raw(&mut world, &ann, "p.jpg", &pictures::portrait());
    assert_eq!((upload.at("data.preview"), upload.at("data.alt")), ("null".into(), "null".into()));
    let bare = format!("/uploads/{}/preview", upload.at("data.id"));
    assert_eq!(world.ask_as(&ann, "GET", &bare, None).status, 404, "it has none yet");
    let small = pictures::jpeg(&pictures::phone_exif());
    let given = preview(&mut world, &ann, &upload, &small);
    assert_eq!(given.status, 200, "{}", given.text());
    assert_eq!(given.at("data.url"), upload.at("data.url"));
    let url = given.at("data.preview");
    assert!(url.starts_with(&format!("{bare}?expires=")), "{url}");
    let read = world.ask("GET", &url, &[], None);
    assert_eq!((read.status, read.field("content-type")), (200, Some("image/jpeg")));
    assert!(!read.body.windows(3).any(|bytes| bytes == b"GPS"), "its metadata is removed");
    assert_eq!(read.field("content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(read.field("x-content-type-options"), Some("nosniff"));
    assert!(read.field("content-disposition").is_some_and(|value| value.starts_with("inline;")));
    let etag = read.field("etag").expect("an ETag").to_owned();
    assert_eq!(world.ask("GET", &url, &[("If-None-Match", &etag)], None).status, 304);
    let part = world.ask("GET", &url, &[("Range", "bytes=0-1")], None);
    assert_eq!((part.status, &*part.body), (206, &b"\xff\xd8"[..]));
    assert_eq!(world.ask("GET", &bare, &[], None).status, 401, "without a signature");
    for person in [&bob, &eve] {
        assert_eq!(world.ask_as(person, "GET", &bare, None).status, 404, "not yet");
    }
    let posted = post(&mut world, &ann, &bob, &upload);
    assert_eq!(posted.at("data.attachments.0.preview"), url);
    assert_eq!(world.ask_as(&bob, "GET", &bare, None).body, read.body);
    assert_eq!(world.ask_as(&eve, "GET", &bare, None).status, 404);
    let message = format!("/api/v1/messages/{}", posted.at("data.id"));
    assert_eq!(world.ask_as(&ann, "DELETE", &message, None).status, 204);
    assert_eq!(world.ask("GET", &url, &[], None).status, 404, "with its file");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 0, "both files are removed");
}

#[test]
fn a_repeated_preview_replaces_the_former() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let upload = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let mut last = preview(&mut world, &ann, &upload, &pictures::picture(2));
    for picture in [2, 3, 3, 1, 4] {
        last = preview(&mut world, &ann, &upload, &pictures::picture(picture));
        assert_eq!(last.status, 200, "{}", last.text());
        let read = world.ask("GET", &last.at("data.preview"), &[], None);
        assert_eq!(read.body, pictures::picture(picture));
        assert_eq!(world.ask("GET", &last.at("data.url"), &[], None).body, pictures::picture(1));
    }
    let as_form = form("file", "x.png", &pictures::picture(5));
    let answer = send_form(&mut world, &ann, "PUT", &format!("{}/preview", path(&upload)), &as_form);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.ask("GET", &last.at("data.preview"), &[], None).body, pictures::picture(5));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 2, "the former ones are removed");
    assert_eq!(world.ask_as(&ann, "DELETE", &path(&upload), None).status, 204);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 0);
}

#[test]
fn a_bad_preview_is_refused_and_leaves_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let upload = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let largest = usize::try_from(PREVIEW_MAX).expect("a size");
    let overhead = png(9, 9, 0).len();
    let gif = b"GIF89a\x01\0\x01\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;";
    let rows: [(u16, &str, Vec<u8>); 8] = [
        (413, "too_large", png(9, 9, largest - overhead + 1)),
        (415, "not_supported_type", b"hello".to_vec()),
        (415, "not_supported_type", gif.to_vec()),
        (415, "not_supported_type", b"%PDF-1.7\n%%EOF\n".to_vec()),
        (415, "not_supported_type", b"\xff\xd8\xff<script>alert(1)</script>".to_vec()),
        (422, "invalid_file", Vec::new()),
        (422, "invalid_file", png(1_025, 1_024, 9)),
        (200, "", png(1_024, 1_024, largest - overhead)),
    ];
    for (status, code, body) in rows {
        let answer = preview(&mut world, &ann, &upload, &body);
        assert_eq!(answer.status, status, "{code} {}", answer.text());
        if status != 200 {
            assert_eq!(answer.code(), code);
        }
    }
    let mut foreign = |person: &Person, upload: &str| {
        let picture = pictures::picture(3);
        let length = picture.len().to_string();
        let fields = [("Authorization", &*bearer(person)), ("Content-Length", &length)];
        let path = format!("/api/v1/uploads/{upload}/preview");
        let answer = exchange(&mut world, "PUT", &bytes_of("PUT", &path, &fields, &picture));
        (answer.status, answer.code())
    };
    assert_eq!(foreign(&bob, &upload.at("data.id")), (404, "not_found".into()));
    assert_eq!(foreign(&ann, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), (404, "not_found".into()));
    assert_eq!(post(&mut world, &ann, &bob, &upload).status, 201);
    let refused = preview(&mut world, &bob, &upload, &pictures::picture(3));
    assert_eq!((refused.status, refused.code()), (403, "not_allowed".into()));
    let refused = preview(&mut world, &ann, &upload, &pictures::picture(3));
    assert_eq!((refused.status, refused.code()), (409, "in_use".into()), "a message shows it");
    let (temporary, published) = world.files.all();
    assert_eq!((temporary.len(), published.len()), (0, 2));
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn a_preview_counts_in_the_quota_and_not_as_a_file() {
    let size = pictures::picture(1).len() as u64;
    let mut world = with(|limits| (limits.upload_quota, limits.upload_files_max) = (1_000 + size, 1));
    let ann = world.sign_up("ann");
    let upload = raw(&mut world, &ann, "t.txt", &[b'x'; 1_000]);
    assert_eq!(upload.status, 201);
    assert_eq!(preview(&mut world, &ann, &upload, &pictures::picture(1)).status, 200);
    let another = preview(&mut world, &ann, &upload, &pictures::picture(2));
    assert_eq!(another.status, 200, "one of the same size in its place: {}", another.text());
    assert_eq!(world.ask_as(&ann, "DELETE", &path(&upload), None).status, 204);
    let again = raw(&mut world, &ann, "t.txt", &[b'y'; 1_001]);
    assert_eq!(again.status, 201, "the quota of both is given back");
    let over = preview(&mut world, &ann, &again, &pictures::picture(1));
    assert_eq!((over.status, over.code()), (413, "quota_exceeded".into()));
    assert_eq!(raw(&mut world, &ann, "u.txt", b"u").code(), "quota_exceeded", "one file is the most");
}

#[test]
fn a_file_that_is_its_own_preview_counts_twice_and_is_erased_once() {
    let size = pictures::picture(1).len() as u64;
    let mut world = with(|limits| limits.upload_quota = 2 * size);
    let ann = world.sign_up("ann");
    for _ in 0..3 {
        let upload = raw(&mut world, &ann, "p.png", &pictures::picture(1));
        assert_eq!(preview(&mut world, &ann, &upload, &pictures::picture(1)).status, 200);
        assert_eq!(raw(&mut world, &ann, "t.txt", b"t").code(), "quota_exceeded");
        assert_eq!(world.ask_as(&ann, "DELETE", &path(&upload), None).status, 204);
    }
    world.pass(Duration::from_secs(60));
    assert_eq!(world.files.all().1.len(), 0);
}

#[test]
fn an_alt_text_belongs_to_its_file() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let upload = raw(&mut world, &ann, "p.png", &pictures::picture(1));
    let say = |world: &mut World, person: &Person, upload: &Response, said: &str| {
        world.ask_as(person, "PUT", &path(upload), Some(said))
    };
    let long = "é".repeat(1_001);
    for (said, code) in [
        (format!(r#"{{"alt":"{long}"}}"#), "invalid_alt"),
        (r#"{"alt":""}"#.to_owned(), "invalid_alt"),
        (r#"{"alt":"a\nb"}"#.to_owned(), "invalid_alt"),
        (r#"{"alt":"a\u202eb"}"#.to_owned(), "invalid_alt"),
        (r#"{"alt":7}"#.to_owned(), "invalid_alt"),
        (r#"{"duration_ms":5}"#.to_owned(), "invalid_duration_ms"),
        (r#"{"duration_ms":0}"#.to_owned(), "invalid_duration_ms"),
        (r#"{"duration_ms":86400001}"#.to_owned(), "invalid_duration_ms"),
        (r#"{"duration_ms":-1}"#.to_owned(), "invalid_duration_ms"),
        (r#"{"duration_ms":"5"}"#.to_owned(), "invalid_duration_ms"),
    ] {
        let refused = say(&mut world, &ann, &upload, &said);
        assert_eq!((refused.status, refused.code()), (422, code.into()), "{said}");
    }
    let longest = &long[..2_000];
    for said in [longest, "a cat on a \"mat\""] {
        let given = say(&mut world, &ann, &upload, &format!(r#"{{"alt":{}}}"#, json::to_string(said)));
        assert_eq!((given.status, given.at("data.alt")), (200, said.to_owned()));
    }
    assert_eq!(say(&mut world, &bob, &upload, r#"{"alt":"x"}"#).status, 404);
    let posted = post(&mut world, &ann, &bob, &upload);
    assert_eq!(posted.at("data.attachments.0.alt"), "a cat on a \"mat\"");
    assert_eq!(posted.at("data.attachments.0.duration_ms"), "null");
    let refused = say(&mut world, &ann, &upload, r#"{"alt":"x"}"#);
    assert_eq!((refused.status, refused.code()), (409, "in_use".into()));
    assert_eq!(say(&mut world, &bob, &upload, r#"{"alt":"x"}"#).code(), "not_allowed");
    let conn = world.connect();
    world.send(conn, &bytes_of("GET", "/api/v1/user/export", &[("Authorization", &*bearer(&ann))], b""));
    let exported = String::from_utf8(world.take(conn)).expect("text");
    let line = exported.lines().find(|line| line.contains(r#""kind":"upload""#)).expect("a line");
    assert!(line.contains(r#""alt":"a cat on a \"mat\"","duration_ms":null"#), "{line}");
    // A sound says how long it plays, until that is taken back.
    let sound = b"RIFF\x2a\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80";
    let sound = raw(&mut world, &ann, "s.wav", sound);
    assert_eq!(sound.at("data.type"), "audio/wav", "{}", sound.text());
    let given = say(&mut world, &ann, &sound, r#"{"duration_ms":86400000}"#);
    assert_eq!((given.status, given.at("data.duration_ms")), (200, "86400000".into()), "{}", given.text());
    assert_eq!(say(&mut world, &ann, &sound, "{}").at("data.duration_ms"), "null");
}

#[test]
fn no_file_has_the_name_of_previews() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let upload = raw(&mut world, &ann, "preview", b"hello");
    assert_eq!(upload.at("data.name"), "file");
    assert_eq!(world.ask("GET", &upload.at("data.url"), &[], None).body, b"hello");
    assert_eq!(
        world.ask("GET", &upload.at("data.url").replace("/file?", "/preview?"), &[], None).status,
        404
    );
}
