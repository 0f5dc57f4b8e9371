//! Tests of uploads that need a real kernel: a `kill -9` in the middle, a full disk, and hundreds of slow readers.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use natter::base::crypto::{hex, sha256};

use super::disk::SmallDisk;
use super::support::TestDir;
use super::support::http::{Person, Response};
use super::support::net::{Http, Ws};
use super::support::process::{Launch, Natter, is_over_tls};
use super::{client_id, post_to, until};

/// The head of a raw upload of this many bytes.
fn head(person: &Person, name: &str, length: usize) -> String {
    format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nX-Filename: {name}\r\n\
         Content-Length: {length}\r\n\r\n",
        person.access
    )
}

pub fn upload(address: SocketAddr, person: &Person, name: &str, body: &[u8]) -> Response {
    let mut http = Http::connect(address);
    http.send(head(person, name, body.len()).as_bytes()).expect("a head");
    http.send(body).expect("a body");
    http.response(false).expect("a response").expect("a response")
}

/// A text of this many bytes, different for each `seed`.
fn text(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + ((at / 7 + usize::from(seed) * 5) % 26) as u8).collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// One post, answered and delivered.
fn post_and_receive(http: &mut Http, receiver: &mut Ws, from: &Person, to: &Person) {
    let id = client_id();
    let posted = http.ask_as(from, "POST", "/api/v1/messages", Some(&post_to(&to.profile, &id, "hi")));
    assert_eq!(posted.expect("a response").status, 201);
    receiver.until("data.client_id", &id);
}

#[test]
fn sigkill_in_the_middle_of_an_upload_leaves_nothing() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let uploads = dir.path().join("data/uploads");
    let mut natter = launch.start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    let complete = upload(natter.address, &ann, "whole.txt", &text(1, 100_000));
    assert_eq!(complete.status, 201, "{}", complete.text());
    let kept = files(&uploads);
    assert_eq!(kept.len(), 1);

    let mut broken: Vec<Http> = (2..6).map(|_| Http::connect(natter.address)).collect();
    for (http, seed) in broken.iter_mut().zip(2..) {
        http.send(head(&ann, "half.txt", 4_000_000).as_bytes()).expect("a head");
        http.send(&text(seed, 2_000_000)).expect("half a body");
    }
    let temporary = uploads.join("tmp");
    until("the server writes the halves", || files(&temporary).len() == broken.len());
    // A kill after a file is published and before its row is stored leaves this: a file without a row.
    let orphan = uploads.join("aa").join("01ARZ3NDEKTSV4RRFFQ69G5F5A");
    fs::create_dir_all(orphan.parent().expect("a folder")).expect("a folder");
    fs::write(&orphan, b"nobody's").expect("a file");
    natter.kill();
    assert!(files(&temporary).len() == broken.len(), "a kill removes nothing");

    natter = launch.start();
    assert_eq!(files(&uploads), kept, "the start removes files without a row, and no others");
    let report = "removed 4 unfinished uploads and 1 that nothing refers to";
    assert!(natter.log().iter().any(|line| line.contains(report)), "{:#?}", natter.log());
    let mut http = Http::connect(natter.address);
    let shown = http.ask("GET", &complete.at("data.url"), &[], None).expect("a response");
    assert_eq!((shown.status, shown.body == text(1, 100_000)), (200, true));
    let mut all = String::new();
    let request = format!(
        "GET /api/v1/user/export HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        ann.access
    );
    http.send(request.as_bytes()).expect("a request");
    http.stream.read_to_string(&mut all).expect("an export");
    assert_eq!((all.matches("whole.txt").count() > 0, all.contains("half.txt")), (true, false), "{all}");
    // Its owner can send it again.
    assert_eq!(upload(natter.address, &ann, "half.txt", &text(2, 4_000_000)).status, 201);
    natter.stop();
}

#[test]
fn a_full_disk_refuses_uploads_and_nothing_else() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=4m,mode=700") else {
        println!(
            "SKIPPED: a small disk can be mounted only by root; a fault at the edge is tested in tests/api"
        );
        return;
    };
    let natter = Launch::new(dir.path()).with(&[("UPLOADS", &disk.0.display().to_string())]).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut receiver, _) = Ws::native(natter.address, &bob.access, None).expect("a socket");
    receiver.until("event", "caught_up");
    assert_eq!(upload(natter.address, &ann, "small.txt", &text(1, 100_000)).status, 201);
    let kept = files(&disk.0);

    let filler = disk.0.join("filler");
    fs::write(&filler, vec![0; 3_000_000]).expect("most of the disk");
    // An upload that fills it, and posts at the same time.
    let mut full = Http::connect(natter.address);
    full.send(head(&ann, "large.txt", 3_000_000).as_bytes()).expect("a head");
    full.send(&text(2, 1_500_000)).expect("half a body");
    post_and_receive(&mut http, &mut receiver, &ann, &bob);
    full.send(&text(3, 1_500_000)).expect("the other half");
    let refused = full.response(false).expect("a response").expect("a response");
    assert_eq!(
        (refused.status, refused.code(), refused.at("retry")),
        (507, "storage_full".into(), "true".into())
    );
    assert!(refused.field("content-type").is_some_and(|it| it.starts_with("application/problem+json")));
    for seed in 4..8 {
        let refused = upload(natter.address, &ann, "large.txt", &text(seed, 2_000_000));
        assert_eq!((refused.status, refused.code()), (507, "storage_full".into()));
        post_and_receive(&mut http, &mut receiver, &ann, &bob);
    }
    assert_eq!(
        http.ask("GET", "/readyz", &[], None).expect("a response").status,
        200,
        "the database has its own disk"
    );
    until("nothing of them is left", || files(&disk.0.join("tmp")).is_empty());
    assert_eq!(
        refused.field("connection"),
        Some("close"),
        "no request may overtake the one that must be sent again"
    );
    // All requests succeed when there is space again.
    fs::remove_file(&filler).expect("freed");
    let stored = upload(natter.address, &ann, "large.txt", &text(9, 2_000_000));
    assert_eq!((stored.status, stored.at("data.sha256")), (201, hex(&sha256(&text(9, 2_000_000)))));
    assert_eq!(files(&disk.0).len(), kept.len() + 1);
    natter.stop();
}

/// Uploads leave DISK_FREE_MIN to the database: they are refused first, and posts go on.
#[test]
fn uploads_leave_space_to_the_database() {
    let dir = TestDir::new();
    let post = |http: &mut Http, from: &Person, to: &Person| {
        let body = post_to(&to.profile, &client_id(), "there is space for this");
        http.ask_as(from, "POST", "/api/v1/messages", Some(&body)).expect("a response").status
    };
    // No disk has this much space, so this needs no small one.
    let natter = Launch::new(dir.path()).with(&[("DISK_FREE_MIN", "1125899906842624")]).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let refused = upload(natter.address, &ann, "small.txt", &text(1, 100_000));
    assert_eq!((refused.status, refused.code()), (507, "storage_full".into()), "{}", refused.text());
    assert_eq!(post(&mut http, &ann, &bob), 201);
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    natter.stop();

    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=40m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small"), ("DISK_FREE_MIN", "16777216")]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    assert_eq!(upload(natter.address, &ann, "small.txt", &text(1, 100_000)).status, 201);
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![0; 20_000_000]).expect("most of what uploads may use");
    // It fits in the disk, and not beside what the database needs.
    let refused = upload(natter.address, &ann, "large.txt", &text(2, 10_000_000));
    assert_eq!((refused.status, refused.code()), (507, "storage_full".into()), "{}", refused.text());
    for _ in 0..20 {
        assert_eq!(post(&mut http, &ann, &bob), 201);
    }
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    until("nothing of it is left", || files(&disk.0.join("uploads/tmp")).is_empty());
    fs::remove_file(&filler).expect("freed");
    assert_eq!(upload(natter.address, &ann, "large.txt", &text(2, 10_000_000)).status, 201);
    natter.stop();
}

/// What each slow reader may add to the memory of the server. A file is sent from the page cache, so only the connection and
/// its request need memory.
const READER_KIB_MAX: u64 = 16;
/// The same over TLS: in addition a session, and what the socket did not take of a record.
pub const SECURE_READER_KIB_MAX: u64 = 40;

/// Where the body of a response begins, if its head has arrived.
fn head_of(response: &[u8]) -> Option<usize> {
    response.windows(4).take(4_096).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[test]
fn five_hundred_slow_downloads_cost_bounded_memory() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let each = if is_over_tls() { SECURE_READER_KIB_MAX } else { READER_KIB_MAX };
    slow_downloads(natter, 500, 500 * each);
}

/// This many slow downloads, while others talk and some read all; together they may add this much to the memory of the server.
pub fn slow_downloads(natter: Natter, readers: usize, kib_max: u64) {
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut receiver, _) = Ws::native(natter.address, &bob.access, None).expect("a socket");
    receiver.until("event", "caught_up");
    let body = text(1, 10_000_000);
    let large = upload(natter.address, &ann, "large.txt", &body);
    assert_eq!(large.status, 201, "{}", large.text());
    let request = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", large.at("data.url"));
    post_and_receive(&mut http, &mut receiver, &ann, &bob);
    let before = natter.memory_kib("VmHWM:");

    let mut open: Vec<Http> = (0..readers).map(|_| Http::connect(natter.address)).collect();
    for reader in &mut open {
        reader.send(request.as_bytes()).expect("a request");
    }
    // Some readers continue at once and get every byte. A reader that reads nothing for ten seconds is closed, and on a busy
    // machine the others take longer than that, so they stay in the middle.
    let (reading, mut staying): (Vec<_>, Vec<_>) =
        open.into_iter().enumerate().partition(|(index, _)| index % 25 == 0);
    let body = Arc::new(body);
    let threads: Vec<_> = reading
        .into_iter()
        .map(|(_, mut reader)| {
            let body = Arc::clone(&body);
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut buffer = vec![0; 65_536];
                while head_of(&all).is_none_or(|head| all.len() < head + body.len()) {
                    let count = reader.stream.read(&mut buffer).expect("a connection");
                    assert!(count > 0, "it ended after {} bytes", all.len());
                    all.extend_from_slice(&buffer[..count]);
                }
                assert!(all.starts_with(b"HTTP/1.1 200 ") && all.ends_with(&body));
            })
        })
        .collect();
    let mut first = [0; 4_096];
    for (_, reader) in &mut staying {
        reader.stream.read_exact(&mut first).expect("the first bytes");
        assert!(first.starts_with(b"HTTP/1.1 200 "));
    }
    for _ in 0..20 {
        post_and_receive(&mut http, &mut receiver, &ann, &bob);
    }
    for thread in threads {
        thread.join().expect("every byte");
        post_and_receive(&mut http, &mut receiver, &ann, &bob);
    }
    match before.zip(natter.memory_kib("VmHWM:")) {
        Some((before, after)) => {
            assert!(after - before < kib_max, "{before} → {after} KiB for {readers} readers");
        }
        None => println!("SKIPPED: no /proc here: memory is not measured"),
    }
    drop(staying);
    post_and_receive(&mut http, &mut receiver, &ann, &bob);
    natter.stop();
}
