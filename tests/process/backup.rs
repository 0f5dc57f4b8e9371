//! Tests of `natter backup` and `natter restore` with the real binary.
//!
//! A backup made under load is complete, a restore gives it a new history, and an incomplete backup or a folder that is not
//! empty changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::disk::SmallDisk;
use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, Ws, at};
use super::support::process::{Launch, Natter, Signal};
use super::{client_id, failed_with, post_to, stderr_of, stdout_of, until};

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort();
    names
}

/// All files and folders below a folder, with their modes.
fn below(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        all.push((path.clone(), path.metadata().expect("there").permissions().mode() & 0o777));
        if path.is_dir() {
            all.extend(below(&path));
        }
    }
    all.sort();
    all
}

fn post(http: &mut Http, from: &Person, to: &Person, text: &str) -> String {
    let body = post_to(&to.profile, &client_id(), text);
    let posted = http.ask_as(from, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
    posted.at("data.conversation")
}

/// Posts an upload; returns the path at which the sender can read its bytes.
fn show(http: &mut Http, from: &Person, to: &Person, bytes: &str) -> String {
    let bearer = format!("Bearer {}", from.access);
    let fields =
        [("Authorization", bearer.as_str()), ("Content-Type", "text/plain"), ("X-Filename", "note.txt")];
    let made = http.ask("POST", "/api/v1/uploads", &fields, Some(bytes)).expect("a response");
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.at("data.id");
    let body = format!(r#"{{"to":"{}","client_id":"{}","attachments":["{id}"]}}"#, to.profile, client_id());
    let posted = http.ask_as(from, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
    format!("/uploads/{id}/note.txt")
}

fn sign_in(http: &mut Http, name: &str) -> Person {
    let body = format!(r#"{{"email":"{name}@example.org","password":"correct horse {name}'s"}}"#);
    let session = http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("a response");
    assert_eq!(session.status, 200, "the keys are in the backup: {}", session.text());
    Person::from_response(&session)
}

#[test]
fn a_backup_made_under_load_is_complete() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let note = show(&mut http, &ann, &bob, "bytes of an upload");
    fs::write(dir.path().join("data/uploads/tmp/half"), b"half").expect("a file");
    // Enough pages for several steps, with posts between them.
    let conversation = post(&mut http, &ann, &bob, "the second");
    for _ in 0..600 {
        post(&mut http, &ann, &bob, &"word ".repeat(700));
    }
    let running = std::thread::scope(|scope| {
        let backup = scope.spawn(|| launch.run(&["backup", "all.tar"]));
        let mut count = 0;
        while !backup.is_finished() {
            post(&mut http, &ann, &bob, "meanwhile");
            count += 1;
        }
        let text = stdout_of(&backup.join().expect("no panic"));
        assert!(text.contains("with 1 files of uploads") && text.contains("holds keys"), "{text}");
        count
    });
    let file = dir.path().join("all.tar");
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(dir.path()), ["all.tar", "data"], "nothing else is left");
    assert!(!names(&dir.path().join("data")).iter().any(|name| name.contains("backup")), "no copy is left");
    let complete = fs::read(&file).expect("a file");
    assert!(stderr_of(&launch.run(&["backup", "all.tar"])).contains("already exists"));
    assert_eq!(fs::read(&file).expect("a file"), complete);

    // Any tar program can read it.
    if let Ok(listed) = Command::new("tar").arg("-tvf").arg(&file).output() {
        let text = stdout_of(&listed);
        for entry in ["natter.db", "password_secret", "uploads/", "natter.sha256"] {
            assert!(text.contains(entry), "{text}");
        }
        assert!(!text.contains("half"), "an incomplete upload is not in it: {text}");
        assert!(text.lines().all(|line| line.starts_with("-rw-------")), "{text}");
    }

    // Not while a server runs.
    let error = stderr_of(&launch.run(&["restore", "all.tar"]));
    assert!(error.contains("is locked") && error.contains("stop the server first"), "{error}");
    post(&mut http, &ann, &bob, "after the backup");
    let list = http.ask_as(&ann, "GET", "/api/v1/conversations", None).expect("a response");
    let (cursor, last_n) = (list.at("cursor"), list.at("data.0.last_n"));
    assert_eq!(last_n, (603 + running).to_string());
    natter.stop();

    // Not into a folder that is not empty.
    let before = below(dir.path());
    let error = stderr_of(&launch.run(&["restore", "all.tar"]));
    assert!(error.contains("DATA_DIR is not empty"), "{error}");
    assert_eq!(below(dir.path()), before);

    // In another folder, while the first server is stopped.
    let other = TestDir::new();
    fs::rename(&file, other.path().join("all.tar")).expect("moved");
    let launch = Launch::new(other.path());
    let text = stdout_of(&launch.run(&["restore", "all.tar"]));
    assert!(text.starts_with("restored from all.tar into /") && text.lines().count() == 2, "{text}");
    assert!(
        text.contains("erased since this backup was made are back") && text.contains("--end-sessions"),
        "{text}"
    );
    let data = other.path().join("data");
    for (path, mode) in below(&data) {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    for expect in ["restoring", "natter.db-wal"] {
        assert!(!names(&data).iter().any(|name| name == expect));
    }
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let again = sign_in(&mut http, "ann");
    let path = format!("/api/v1/conversations/{conversation}/messages?after=1&limit=1");
    let second = http.ask_as(&again, "GET", &path, None).expect("a response");
    assert_eq!(second.at("data.0.body"), "the second");
    assert_eq!(http.ask_as(&again, "GET", &note, None).expect("a response").body, b"bytes of an upload");
    let list = http.ask_as(&again, "GET", "/api/v1/conversations", None).expect("a response");
    let restored: u64 = list.at("data.0.last_n").parse().expect("a number");
    assert!((602..=602 + running).contains(&restored), "{restored} of {last_n}");

    // A new history: tokens and cursors of the old one are refused, and a stream with an old cursor gets a reset.
    assert_eq!(http.ask_as(&ann, "GET", "/api/v1/user/me", None).expect("a response").status, 401);
    let path = format!("/api/v1/events?cursor={cursor}");
    let reset = http.ask_as(&again, "GET", &path, None).expect("a response");
    assert_eq!((reset.status, reset.code()), (410, "cursor_reset".into()));
    let (mut ws, epoch) = Ws::native(natter.address, &again.access, Some(&cursor)).expect("a socket");
    assert!(!cursor.starts_with(&format!("{epoch}:")), "{cursor}");
    let text = ws.text();
    assert_eq!((at(&text, "event"), at(&text, "reason")), ("reset".into(), "epoch".into()), "{text}");
    post(&mut http, &again, &bob, "and on it goes");
    natter.stop();
    stdout_of(&launch.run(&["check"]));
}

/// A backup of a folder with one member and one file, made without a server.
fn small(launch: &Launch) -> Vec<u8> {
    let added = launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n");
    assert!(added.status.success());
    let folder = launch.folder.join("data/uploads/5a");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("01ARZ3NDEKTSV4RRFFQ69G5FAT"), b"bytes").expect("a file");
    fs::write(folder.join("somebody's"), b"no upload").expect("a file");
    stdout_of(&launch.run(&["backup", "all.tar"]));
    fs::read(launch.folder.join("all.tar")).expect("a file")
}

/// Changes the name in the header at the front of an archive.
fn renamed(archive: &[u8], name: &str) -> Vec<u8> {
    let mut archive = archive.to_vec();
    archive[..100].fill(0);
    archive[..name.len()].copy_from_slice(name.as_bytes());
    archive[148..156].copy_from_slice(b"        ");
    let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

#[test]
fn a_backup_needs_no_server_and_an_incomplete_one_restores_nothing() {
    let dir = TestDir::new();
    let complete = small(&Launch::new(dir.path()));
    let other = TestDir::new();
    let launch = Launch::new(other.path());
    let restore = |bytes: &[u8]| {
        fs::write(other.path().join("some.tar"), bytes).expect("written");
        launch.run(&["restore", "some.tar"])
    };
    let mut damaged = complete.clone();
    damaged[512 + 5_000..512 + 6_000].fill(0xff);
    for (bytes, expect) in [
        (&b""[..], "not a complete backup"),
        (b"nonsense", "not a complete backup"),
        (&[0; 1024], "its checksum is missing"),
        (&complete[..complete.len() / 2], "not a complete backup"),
        (&complete[..complete.len() - 1_024], "its end is missing"),
        (&damaged, "its checksum is wrong"),
        (&[&complete[..], b"more"].concat(), "data follows its end"),
        // Names outside the folder, and names that natter does not write.
        (&renamed(&complete, "uploads/../../escaped"), "not a backup of natter"),
        (&renamed(&complete, "uploads/5a/../../escaped"), "not a backup of natter"),
        (&renamed(&complete, "/tmp/escaped"), "not a backup of natter"),
        (&renamed(&complete, "uploads/tmp/01ARZ3NDEKTSV4RRFFQ69G5FAT"), "not a backup of natter"),
        (&renamed(&complete, "control.sock"), "not a backup of natter"),
    ] {
        let error = stderr_of(&restore(bytes));
        assert!(error.contains(expect) && error.contains("some.tar"), "{error}");
        assert_eq!(names(other.path()), ["some.tar"]);
    }
    assert!(stderr_of(&launch.run(&["restore", "missing.tar"])).contains("missing.tar"));
    // A folder in which a restore was killed counts as empty.
    fs::create_dir_all(other.path().join("data/restoring")).expect("a folder");
    fs::write(other.path().join("data/restoring/natter.db"), b"half").expect("a file");
    fs::create_dir_all(other.path().join("data/uploads/restoring/5a")).expect("a folder");
    stdout_of(&restore(&complete));
    assert_eq!(
        names(&other.path().join("data")),
        ["access_secret", "lock", "natter.db", "password_secret", "refresh_secret", "uploads"]
    );
    let upload = other.path().join("data/uploads/5a");
    assert_eq!(names(&upload), ["01ARZ3NDEKTSV4RRFFQ69G5FAT"]);
    assert_eq!(fs::read(upload.join("01ARZ3NDEKTSV4RRFFQ69G5FAT")).expect("a file"), b"bytes");
    assert!(stdout_of(&launch.run(&["member", "list"])).contains("ann@example.org"));
    let before = fs::read(other.path().join("data/natter.db")).expect("a database");
    assert!(stderr_of(&restore(&complete)).contains("DATA_DIR is not empty"));
    assert_eq!(fs::read(other.path().join("data/natter.db")).expect("a database"), before);
}

#[test]
fn keys_from_variables_are_reported_and_another_uploads_folder_is_filled() {
    let dir = TestDir::new();
    let keys = [
        ("ACCESS_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("REFRESH_SECRET", "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"),
        ("PASSWORD_SECRET", "pppppppppppppppppppppppppppppppp"),
    ];
    let launch = Launch::new(dir.path()).with(&keys);
    small(&launch);
    fs::remove_file(dir.path().join("all.tar")).expect("removed");
    let text = stdout_of(&launch.run(&["backup", "all.tar"]));
    assert!(text.contains("the keys are in variables") && !text.contains("pppp"), "{text}");
    for place in ["no/such/folder.tar", "data"] {
        let error = stderr_of(&launch.run(&["backup", place]));
        assert!(error.contains(place), "{error}");
    }

    let (data, uploads) = (dir.path().join("new/data"), dir.path().join("new/media"));
    let env = [("DATA_DIR", "new/data"), ("UPLOADS", "new/media")];
    let launch = Launch::new(dir.path()).with(&env);
    fs::create_dir_all(uploads.join("5a")).expect("a folder");
    fs::write(uploads.join("5a/mine"), b"mine").expect("a file");
    let error = stderr_of(&launch.run(&["restore", "all.tar"]));
    assert!(error.contains("UPLOADS is not empty") && error.contains("5a"), "{error}");
    assert_eq!((data.exists(), names(&uploads)), (false, vec!["5a".to_owned()]));
    fs::remove_file(uploads.join("5a/mine")).expect("removed");
    for root in [&data, &uploads] {
        fs::create_dir_all(root.join("lost+found")).expect("a folder");
    }
    let text = stdout_of(&launch.run(&["restore", "all.tar"]));
    for (name, _) in keys {
        assert!(text.contains(&format!("{name} is not in this backup")), "{text}");
    }
    assert_eq!(names(&data), ["lock", "lost+found", "natter.db"]);
    assert_eq!(names(&uploads.join("5a")), ["01ARZ3NDEKTSV4RRFFQ69G5FAT"]);
}

#[test]
fn a_full_disk_is_reported_and_nothing_is_left_on_it() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=2m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    for _ in 0..600 {
        post(&mut http, &ann, &bob, &"word ".repeat(700));
    }
    let check_no_space = |error: String| assert!(error.contains("No space left"), "{error}");
    check_no_space(stderr_of(&launch.run(&["backup", "small/all.tar"])));
    assert_eq!(names(&disk.0), [] as [&str; 0]);
    assert!(!names(&dir.path().join("data")).iter().any(|name| name.contains("backup")));
    post(&mut http, &ann, &bob, "and on it goes");
    stdout_of(&launch.run(&["backup", "all.tar"]));
    natter.stop();

    let launch = launch.with(&[("DATA_DIR", "small/data"), ("UPLOADS", "media")]);
    check_no_space(stderr_of(&launch.run(&["restore", "all.tar"])));
    assert_eq!(names(&disk.0), [] as [&str; 0]);
    assert!(!dir.path().join("media").exists());
}

/// The copy is in DATA_DIR: if this disk is full, the backup is refused, and its space is free for posts again.
#[test]
fn a_copy_that_does_not_fit_is_refused_and_posts_continue() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=32m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    for _ in 0..1_000 {
        post(&mut http, &ann, &bob, &"word ".repeat(700));
    }
    natter.stop();
    // Space for posts, not for a copy.
    let database = disk.0.join("natter.db").metadata().expect("a database").len();
    let filling = (32 << 20) - database - (5 << 19);
    assert!(database > 4 << 20, "{database}");
    fs::write(disk.0.join("filling"), vec![b'x'; usize::try_from(filling).expect("a size")])
        .expect("written");
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let error = failed_with(5, &launch.run(&["backup", "all.tar"]));
    assert!(error.contains("storage_full"), "{error}");
    assert!(!names(&disk.0).iter().any(|name| name.contains("backup")), "given back");
    assert_eq!(names(dir.path()), ["small"]);
    post(&mut http, &ann, &bob, "and on it goes");
    natter.stop();
}

/// A stop does not wait for a backup, which can be repeated, and no part of it stays in DATA_DIR or at FILE.
#[test]
fn a_stop_in_the_middle_of_a_backup_ends_it() {
    const BALLAST: u64 = 96 << 20;
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    Http::connect(natter.address).sign_up("ann");
    natter.stop();
    // Free pages are copied like all others.
    let data = dir.path().join("data");
    let database = rusqlite::Connection::open(data.join("natter.db")).expect("a database");
    let ballast = format!(
        "PRAGMA synchronous = OFF; CREATE TABLE ballast (x); INSERT INTO ballast VALUES (zeroblob({BALLAST})); \
         DROP TABLE ballast;"
    );
    database.execute_batch(&ballast).expect("ballast");
    drop(database);

    let copy = || {
        let name = names(&data).into_iter().find(|name| name.starts_with("natter.backup-"))?;
        Some(data.join(name).metadata().map_or(0, |copy| copy.len()))
    };
    // On a busy machine the server may stop too late: then the backup is complete, and the test tries again.
    let halfway = |natter: &Natter| loop {
        let launch = launch.clone();
        let backup = std::thread::spawn(move || launch.run(&["backup", "all.tar"]));
        until("a copy grows", || copy().is_some_and(|bytes| bytes > 0) || backup.is_finished());
        natter.signal(Signal::Stop);
        if copy().is_some_and(|bytes| bytes < BALLAST / 2) {
            return backup;
        }
        natter.signal(Signal::Continue);
        stdout_of(&backup.join().expect("no panic"));
        fs::remove_file(dir.path().join("all.tar")).expect("a complete backup");
    };
    let mut natter = launch.start();
    let backup = halfway(&natter);
    let asked = Instant::now();
    natter.signal(Signal::Term);
    natter.signal(Signal::Continue);
    let error = failed_with(5, &backup.join().expect("no panic"));
    assert!(error.contains("the server can't make a copy now: it is stopping"), "{error}");
    assert_eq!(natter.wait().code(), Some(0), "{:#?}", natter.log());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert!(natter.log().last().is_some_and(|line| line.ends_with("stopped")), "{:#?}", natter.log());
    assert_eq!((names(dir.path()), copy()), (vec!["data".to_owned()], None));

    // After a kill the copy is still there; the next start removes it.
    let mut natter = launch.start();
    let backup = halfway(&natter);
    natter.kill();
    let error = failed_with(5, &backup.join().expect("no panic"));
    assert!(error.contains("the server ended before it answered"), "{error}");
    assert_eq!((names(dir.path()), copy().is_some()), (vec!["data".to_owned()], true));
    let natter = launch.start();
    assert_eq!(copy(), None);
    stdout_of(&launch.run(&["backup", "all.tar"]));
    natter.stop();
}

#[test]
fn a_backup_on_stdout_is_verified_and_restored() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    show(&mut http, &ann, &bob, "bytes of an upload");
    let file = dir.path().join("all.tar");
    let output = launch.run(&["backup", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&file, &output.stdout).expect("a file");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("stdout: ") && said.contains("with 1 files of uploads"), "{said}");
    let good = stdout_of(&launch.run(&["backup", "--verify", "all.tar"]));
    assert!(good.contains("a good backup, with 1 files of uploads") && good.lines().count() == 1, "{good}");
    assert_eq!(names(dir.path()), ["all.tar", "data"], "no copy of the database is left");

    // Each damage is found, also where the checksum of the archive was made again.
    let bytes = fs::read(&file).expect("a file");
    for (what, at) in [("in the middle", bytes.len() / 2), ("in the first page", 1_000)] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        fs::write(dir.path().join("bad.tar"), bytes).expect("a file");
        let error = stderr_of(&launch.run(&["backup", "--verify", "bad.tar"]));
        assert!(error.contains("bad.tar"), "{what}: {error}");
    }
    fs::write(dir.path().join("bad.tar"), &bytes[..bytes.len() - 2_000]).expect("a file");
    let error = stderr_of(&launch.run(&["backup", "--verify", "bad.tar"]));
    assert!(error.contains("not a complete backup"), "{error}");
    fs::write(dir.path().join("bad.tar"), [&bytes[..], b"more"].concat()).expect("a file");
    let error = stderr_of(&launch.run(&["backup", "--verify", "bad.tar"]));
    assert!(error.contains("data follows its end"), "{error}");
    assert_eq!(names(dir.path()), ["all.tar", "bad.tar", "data"]);
    natter.stop();

    let other = TestDir::new();
    fs::rename(&file, other.path().join("all.tar")).expect("moved");
    stdout_of(&Launch::new(other.path()).run(&["restore", "all.tar"]));
}

#[test]
fn the_server_makes_verified_backups_by_itself_and_removes_the_oldest() {
    let dir = TestDir::new();
    let folder = dir.path().join("kept");
    fs::create_dir(&folder).expect("a folder");
    // Older ones of this schedule, one of a node of a cluster, and a file of somebody else.
    let old = ["natter-20250101T000000Z.tar", "natter-20250102T000000Z.tar", "natter-20250103T000000Z.tar"];
    // And one from the future, which would be the newest for ever.
    let foreign = [
        "natter-b-20250101T000000Z.tar",
        "natter-20250101.tar",
        "natter-20251301T000000Z.tar",
        "natter-99991231T235959Z.tar",
    ];
    old.iter().chain(&foreign).for_each(|name| fs::write(folder.join(name), "old").expect("a file"));
    let launch = Launch::new(dir.path()).with(&[
        ("BACKUP_EVERY", "1h"),
        ("BACKUP_KEEP", "2"),
        ("BACKUP_DIR", "kept"),
        ("DISK_FREE_MIN", "0"),
    ]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    until("the oldest are removed", || names(&folder).len() == foreign.len() + 2);
    let made: Vec<String> =
        names(&folder).into_iter().filter(|name| !foreign.contains(&name.as_str())).collect();
    assert_eq!(made[0], old[2], "{made:?}");
    let newest = made[1].clone();
    assert!(newest.as_str() > old[2] && newest.len() == old[2].len(), "{newest}");
    assert_eq!(folder.join(&newest).metadata().expect("a file").permissions().mode() & 0o7777, 0o600);
    stdout_of(&launch.run(&["backup", "--verify", &format!("kept/{newest}")]));
    assert_eq!(http.metric("natter_backup_interval_seconds"), 3_600);
    assert!(http.metric("natter_backup_last_success_timestamp_seconds") > 1_700_000_000);
    assert!(http.metric("natter_backup_last_success_timestamp_seconds") < 9_000_000_000);
    assert_eq!(http.metric(r#"natter_background_errors_total{kind="backup"}"#), 0);
    let log = natter.stop();
    let of_future = |line: &&String| line.contains("natter-99991231T235959Z.tar has a time in the future");
    assert!(log.iter().any(|line| of_future(&line)), "{log:?}");

    // One that is young enough is not made again; where none can be made, the older ones stay.
    let before = names(&folder);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    until("its age is known", || {
        let metrics = http.ask("GET", "/metrics", &[], None).expect("a response");
        metrics.text().contains("\nnatter_backup_last_success_timestamp_seconds 1")
    });
    natter.stop();
    assert_eq!(names(&folder), before);
    fs::remove_file(folder.join(&newest)).expect("removed");
    let before: Vec<String> = before.into_iter().filter(|name| *name != newest).collect();
    let full = launch.with(&[("DISK_FREE_MIN", "1125899906842624")]);
    let natter = full.start();
    let mut http = Http::connect(natter.address);
    until("it is refused", || http.metric(r#"natter_background_errors_total{kind="backup"}"#) == 1);
    assert_eq!(names(&folder), before);
    let log = natter.stop();
    assert!(log.iter().any(|line| line.contains("no backup is made")), "{log:?}");
}
