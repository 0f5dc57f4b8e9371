//! Uploaded files on three real nodes: on two machines when the upload is answered, served by each, and gone from each.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use natter::base::crypto::{hex, sha256};

use crate::stage::Stage;
use crate::support::http::{Person, Response};
use crate::support::net::Http;

/// What the protocol allows for the removal of a deleted file, and the turns of a busy machine.
const REMOVED_MAX: Duration = Duration::from_secs(90);
/// After the start of a node the others hear where it listens, and accounts reach them.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// Waits until a step succeeds.
#[track_caller]
fn until<T>(what: &str, limit: Duration, mut step: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = step() {
            return value;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// The stored files of a node.
fn stored(stage: &Stage, index: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for byte in 0..=u8::MAX {
        let Ok(folder) = fs::read_dir(stage.uploads(index).join(format!("{byte:02x}"))) else { continue };
        files.extend(folder.map(|entry| entry.expect("an entry").path()));
    }
    files
}

/// Which nodes have a file of this upload.
fn holders(stage: &Stage, id: &str) -> Vec<usize> {
    (0..3).filter(|index| stored(stage, *index).iter().any(|path| path.ends_with(id))).collect()
}

fn upload(stage: &Stage, index: usize, person: &Person, bytes: &[u8]) -> Response {
    let mut http = Http::connect(stage.address(index));
    let head = format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nX-Filename: a.txt\r\n\
         Content-Length: {}\r\n\r\n",
        person.access,
        bytes.len()
    );
    http.send(&[head.as_bytes(), bytes].concat()).expect("a request");
    http.response(false).expect("a response").expect("a response")
}

/// Asks a node for the file of an upload, once it knows the row and reaches a node that has the file: before, it answers 404 and 503.
fn download(stage: &Stage, index: usize, person: &Person, id: &str, range: Option<&str>) -> Response {
    let bearer = format!("Bearer {}", person.access);
    let mut fields = vec![("Authorization", bearer.as_str())];
    fields.extend(range.map(|range| ("Range", range)));
    until("the node knows the row", HEARD_MAX, || {
        let mut http = Http::try_connect(stage.address(index)).ok()?;
        let response = http.ask("GET", &format!("/uploads/{id}/a.txt"), &fields, None).ok()?;
        (!matches!(response.status, 404 | 503)).then_some(response)
    })
}

fn delete(stage: &Stage, index: usize, person: &Person, id: &str) {
    let mut http = Http::connect(stage.address(index));
    let path = format!("/api/v1/uploads/{id}");
    let status = http.ask_as(person, "DELETE", &path, None).expect("a response").status;
    assert_eq!(status, 204);
}

/// A text of this many bytes, different for each `seed`.
fn text(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + ((at / 7 + seed * 5) % 26) as u8).collect()
}

#[test]
fn a_file_is_on_two_machines_served_by_all_and_erased_on_all() {
    let Some(mut stage) = Stage::start() else { return };
    let ann = Http::connect(stage.address(0)).sign_up("ann");
    // Each node tells where it listens within a second. Until then nobody takes the file.
    let first = text(1, 300_000);
    let made = until("an upload is answered", HEARD_MAX, || {
        let answer = upload(&stage, 0, &ann, &first);
        assert!(matches!(answer.status, 201 | 503), "{}", answer.text());
        (answer.status == 201).then_some(answer)
    });
    assert_eq!(made.at("data.sha256"), hex(&sha256(&first)));
    let first_id = made.at("data.id");
    let on = holders(&stage, &first_id);
    assert!(on.len() == 2 && on.contains(&0), "{on:?}");

    a_node_that_does_not_have_it_fetches_it(&stage, &ann, &first_id, &first);
    a_picture_of_a_profile_is_on_each_node(&stage, &ann);

    // The node that took it dies: the others serve what it has answered.
    let second = text(2, 70_000);
    let made = upload(&stage, 0, &ann, &second);
    assert_eq!(made.status, 201, "{}", made.text());
    let second_id = made.at("data.id");
    stage.kill_node(0);
    for index in [1, 2] {
        let got = download(&stage, index, &ann, &second_id, None);
        assert_eq!((got.status, got.body == second), (200, true), "node {index}");
    }

    // Deleted while a node is away: the others erase it within the time, and that one before it serves.
    for id in [&first_id, &second_id] {
        delete(&stage, 1, &ann, id);
        let is_gone = || holders(&stage, id).iter().all(|index| *index == 0).then_some(());
        until("the running nodes have removed it", REMOVED_MAX, is_gone);
    }
    assert_eq!(holders(&stage, &first_id), [0]);
    stage.start_node(0);
    assert_eq!(holders(&stage, &first_id), [0; 0], "erased before the node listens");
    assert_eq!(holders(&stage, &second_id), [0; 0]);

    // A node alone takes no upload, and keeps nothing of it.
    let before = stored(&stage, 0);
    stage.kill_node(1);
    stage.kill_node(2);
    let refused = upload(&stage, 0, &ann, &text(3, 50_000));
    assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{}", refused.text());
    assert!(refused.field("retry-after").is_some());
    assert_eq!(stored(&stage, 0), before);
    stage.start_node(1);
    until("an upload is answered again", HEARD_MAX, || {
        (upload(&stage, 0, &ann, &text(4, 50_000)).status == 201).then_some(())
    });
}

fn a_node_that_does_not_have_it_fetches_it(stage: &Stage, ann: &Person, id: &str, bytes: &[u8]) {
    let without: Vec<usize> = (0..3).filter(|index| !holders(stage, id).contains(index)).collect();
    let part = download(stage, without[0], ann, id, Some("bytes=10-19"));
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[10..20]));
    assert_eq!(holders(stage, id), [0, 1, 2], "it keeps the file");
    for index in 0..3 {
        let got = download(stage, index, ann, id, None);
        assert_eq!((got.status, got.body == bytes), (200, true), "node {index}");
    }
    // What somebody else says at the inner address is not answered.
    let address = stage.files_address(without[0]);
    let mut socket = std::net::TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(HEARD_MAX)).expect("a limit");
    std::io::Write::write_all(&mut socket, format!("GET /{id} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .expect("written");
    let mut answer = Vec::new();
    let ended = socket.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{ended:?}");
}

fn a_picture_of_a_profile_is_on_each_node(stage: &Stage, ann: &Person) {
    let picture = crate::support::pictures::picture(1);
    let made = upload(stage, 1, ann, &picture);
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.at("data.id");
    let body = format!(r#"{{"profile_image":"{id}"}}"#);
    let mut http = Http::connect(stage.address(1));

    let changed = http.ask_as(ann, "PUT", "/api/v1/profile", Some(&body)).expect("a response");
    assert_eq!(changed.status, 200, "{}", changed.text());
    let url = changed.at("data.profile_image");
    let target = &url[url.find("/uploads/").expect("a signed URL")..];
    for index in 0..3 {
        let got = until("the node knows the row", HEARD_MAX, || {
            let mut http = Http::connect(stage.address(index));
            let got = http.ask("GET", target, &[], None).expect("a response");
            (got.status != 404).then_some(got)
        });
        assert_eq!(got.status, 200, "node {index}: {}", got.text());
    }
    assert_eq!(holders(stage, &id), [0, 1, 2]);
}
