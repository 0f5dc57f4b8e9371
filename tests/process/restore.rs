//! Tests that `natter restore` checks its input, and that a killed restore is undone by the next one.
//!
//! It refuses an empty, foreign or altered backup, and accepts an archive or a database without one.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use rusqlite::Connection;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, Ws, at};
use super::support::process::Launch;
use super::{client_id, post_to, stderr_of, stdout_of};

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| name(entry).expect("UTF-8")).collect();
    names.sort();
    names
}

/// Runs and stops a server with ann, bob and one message between them; returns ann and her cursor.
fn server(launch: &Launch) -> (Person, String) {
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let body = post_to(&bob.profile, &client_id(), "hello");
    assert_eq!(http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response").status, 201);
    let list = http.ask_as(&ann, "GET", "/api/v1/conversations", None).expect("a response");
    let cursor = list.at("cursor");
    natter.stop();
    (ann, cursor)
}

#[test]
fn a_database_with_objects_that_natter_did_not_make_is_refused() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    server(&launch);
    let database = dir.path().join("data/natter.db");
    let other = TestDir::new();
    let launch = Launch::new(other.path());
    let copy = other.path().join("some.db");
    let check = |what: &str, expect: &str| {
        let error = stderr_of(&launch.run(&["restore", "some.db"]));
        assert!(error.contains(expect) && error.contains("some.db"), "{what}: {error}");
        assert!(!other.path().join("data").exists(), "{what}");
    };
    for (sql, expect) in [
        (
            "CREATE TRIGGER evil AFTER INSERT ON messages BEGIN DELETE FROM messages; END",
            r#"it holds the trigger "evil", which natter did not make"#,
        ),
        ("CREATE VIEW evil AS SELECT * FROM members", r#"the view "evil""#),
        ("CREATE TABLE evil (x)", r#"the table "evil""#),
        ("CREATE INDEX evil ON members (hash)", r#"the index "evil""#),
        ("ALTER TABLE members ADD COLUMN evil TEXT", r#"its table "members" is not as natter made it"#),
        ("DROP TABLE blocks", "it lacks the "),
        ("CREATE VIEW _litestream_seq AS SELECT 1", r#"the view "_litestream_seq""#),
        ("PRAGMA application_id = 0", "is the database of another program"),
        ("PRAGMA user_version = 900", "has schema version 900"),
    ] {
        fs::copy(&database, &copy).expect("copied");
        let conn = Connection::open(&copy).expect("a database");
        conn.execute_batch(sql).expect(sql);
        conn.pragma_update(None, "journal_mode", "DELETE").expect("closed");
        drop(conn);
        check(sql, expect);
    }
    // A page with other bytes.
    let mut bytes = fs::read(&database).expect("a database");
    bytes[8_192..12_288].fill(0xa5);
    fs::write(&copy, &bytes).expect("written");
    check("a damaged page", "corrupt");
    // A database in use.
    fs::copy(&database, &copy).expect("copied");
    fs::write(other.path().join("some.db-wal"), b"a log").expect("written");
    check("a WAL", "is incomplete without it");
    // An archive whose database is empty, made by hand.
    let archive = other.path().join("some.tar");
    fs::write(&archive, archive_of_nothing()).expect("written");
    let error = stderr_of(&launch.run(&["restore", "some.tar"]));
    assert!(error.contains("it is empty"), "{error}");
    assert!(!other.path().join("data").exists());
    // `check` of such a database is refused too.
    Connection::open(&database)
        .and_then(|conn| conn.execute_batch("CREATE VIEW evil AS SELECT 1"))
        .expect("a view");
    let output = Launch::new(dir.path()).run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(r#"the view "evil""#), "{output:?}");
    // A backup of it warns too.
    let output = Launch::new(dir.path()).run(&["backup", "all.tar"]);
    stdout_of(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("`natter restore` will refuse this backup") && stderr.contains("evil"),
        "{stderr}"
    );
}

/// The backup that `natter backup` would make of an empty database file.
fn archive_of_nothing() -> Vec<u8> {
    let header = |name: &str, size: usize| {
        let mut block = vec![0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000600\x000000000\x000000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0        0");
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    };
    let mut bytes = header("natter.db", 0);
    let mut sum = natter::base::crypto::Sha256::new();
    sum.update(&bytes);
    let sum = natter::base::crypto::hex(&sum.finish());
    bytes.extend(header("natter.sha256", sum.len()));
    bytes.extend(sum.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512) + 1_024, 0);
    bytes
}

#[test]
fn a_bare_database_is_restored_without_the_tables_of_litestream() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let (ann, cursor) = server(&launch);
    let copy = dir.path().join("restored.db");
    fs::copy(dir.path().join("data/natter.db"), &copy).expect("copied");
    let conn = Connection::open(&copy).expect("a database");
    conn.execute_batch(
        "PRAGMA journal_mode = DELETE; CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); \
         CREATE TABLE _litestream_lock (id INTEGER); INSERT INTO _litestream_seq VALUES (1, 7)",
    )
    .expect("two tables");
    drop(conn);
    let other = launch.clone().with(&[("DATA_DIR", "other")]);
    let text = stdout_of(&other.run(&["restore", "restored.db"]));
    for expect in
        ["uploads are not in it", "PASSWORD_SECRET is not in this backup", "the next start is refused"]
    {
        assert!(text.contains(expect), "{expect} is missing in {text}");
    }
    let conn = Connection::open(dir.path().join("other/natter.db")).expect("a database");
    let left: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%litestream%'", [], |row| row.get(0))
        .expect("a number");
    assert_eq!(left, 0);
    drop(conn);
    // The keys are copied by hand.
    let mut natter = other.spawn(Stdio::piped());
    assert_eq!(natter.wait().code(), Some(1), "{:#?}", natter.log());
    for key in ["access_secret", "refresh_secret", "password_secret"] {
        fs::copy(dir.path().join("data").join(key), dir.path().join("other").join(key)).expect("copied");
    }
    let natter = other.start();
    let mut http = Http::connect(natter.address);
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let session = http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response");
    assert_eq!(session.status, 200);
    let again = Person::from_response(&session);
    let list = http.ask_as(&again, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(list.at("data.0.last_message.body"), "hello");
    // A new history: any cursor of the old one gets a reset.
    let ahead = format!("{}:{}", cursor.split(':').next().expect("an epoch"), 9_999);
    for cursor in [&cursor, &ahead] {
        let (mut ws, _) = Ws::native(natter.address, &again.access, Some(cursor)).expect("a socket");
        let text = ws.text();
        assert_eq!((at(&text, "event"), at(&text, "reason")), ("reset".into(), "epoch".into()), "{text}");
    }
    // An older session continues: its refresh token is valid.
    let body = format!(r#"{{"refresh":"{}"}}"#, ann.refresh);
    assert_eq!(http.ask("POST", "/api/v1/user/refresh", &[], Some(&body)).expect("a response").status, 200);
    natter.stop();

    // With --end-sessions it ends.
    let third = launch.with(&[("DATA_DIR", "third")]);
    let text = stdout_of(&third.run(&["restore", "restored.db", "--end-sessions"]));
    assert!(text.contains("all members have to sign in again"), "{text}");
    for key in ["access_secret", "refresh_secret", "password_secret"] {
        fs::copy(dir.path().join("data").join(key), dir.path().join("third").join(key)).expect("copied");
    }
    let natter = third.start();
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("POST", "/api/v1/user/refresh", &[], Some(&body)).expect("a response").status, 401);
    natter.stop();
}

#[test]
fn a_killed_restore_is_undone_by_the_next() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    server(&launch);
    let uploads = dir.path().join("data/uploads");
    fs::create_dir_all(uploads.join("5a")).expect("a folder");
    fs::write(uploads.join("5a/01ARZ3NDEKTSV4RRFFQ69G5FAT"), b"bytes").expect("a file");
    stdout_of(&launch.run(&["backup", "all.tar"]));
    let other = launch.clone().with(&[("DATA_DIR", "other"), ("UPLOADS", "media")]);
    let (data, media) = (dir.path().join("other"), dir.path().join("media"));

    // As after a kill between two moves: an upload and a key are at their final paths, the rest is not.
    stdout_of(&other.run(&["restore", "all.tar"]));
    fs::create_dir(data.join("restoring")).expect("a folder");
    fs::create_dir(media.join("restoring")).expect("a folder");
    let moves =
        "uploads 5a\nuploads tmp\ndata access_secret\ndata password_secret\ndata push_key\ndata ../all.tar\n";
    fs::write(data.join("restoring/moves"), moves).expect("a list");
    fs::rename(data.join("natter.db"), data.join("restoring/natter.db")).expect("moved");
    fs::rename(data.join("refresh_secret"), data.join("restoring/refresh_secret")).expect("moved");
    // A start does not create a new server from a part of an old one.
    let mut natter = other.spawn(Stdio::piped());
    assert_eq!(natter.wait().code(), Some(1));
    let text = natter.log().join("\n");
    assert!(
        text.contains("a restore was interrupted in other") && text.contains("natter restore FILE"),
        "{text}"
    );
    assert!(!data.join("natter.db").exists());
    let text = stdout_of(&other.run(&["restore", "all.tar"]));
    assert!(text.starts_with("restored from all.tar"), "{text}");
    assert_eq!(
        names(&data),
        ["access_secret", "lock", "natter.db", "password_secret", "push_key", "refresh_secret"]
    );
    assert_eq!(names(&media), ["5a"]);
    assert!(dir.path().join("all.tar").exists(), "no name leads out of the two folders");

    // A kill after the last move: the start continues, and removes the rest.
    for folder in [&data, &media] {
        fs::create_dir(folder.join("restoring")).expect("a folder");
    }
    fs::write(data.join("restoring/moves"), moves).expect("a list");
    other.start().stop();
    assert!(!data.join("restoring").exists() && !media.join("restoring").exists());
    assert!(media.join("5a").exists() || names(&media).contains(&"tmp".to_owned()));
    stdout_of(&other.run(&["check"]));
}

#[test]
fn the_next_backup_removes_the_files_of_a_killed_one() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    server(&launch);
    let place = dir.path().join("backups");
    fs::create_dir(&place).expect("a folder");
    let stale = place.join("old.tar.natter-part-4194999");
    let live = place.join("other.tar.natter-part-17");
    let foreign = ["film.part-17", "a.natter-part-", "a.natter-part-x1", "natter-part"];
    for path in [&stale, &live] {
        fs::write(path, b"half").expect("a file");
    }
    for name in foreign {
        fs::write(place.join(name), b"somebody's").expect("a file");
    }
    // A running backup still writes to this one.
    let held = fs::File::open(&live).expect("a file");
    held.try_lock().expect("a lock");
    let output = launch.run(&["backup", "backups/new.tar"]);
    stdout_of(&output);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("old.tar.natter-part-4194999 was left by a backup that was killed"), "{stderr}");
    let mut expect = vec!["new.tar", "other.tar.natter-part-17"];
    expect.extend(foreign);
    expect.sort_unstable();
    assert_eq!(names(&place), expect);
}
