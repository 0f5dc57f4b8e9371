//! Tests of a full disk: writes are refused with the reason, reads are served, and writes continue when there is space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Natter};
use super::{client_id, post_to, until};

/// A small file system, which is unmounted when the value is dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// `None` if this process may not mount one.
    pub fn mount(folder: PathBuf, options: &str) -> Option<SmallDisk> {
        fs::create_dir_all(&folder).expect("a folder");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "natter-test"]).arg(&folder).output();
        mount.is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a server that a failed test leaves running has open files here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn readiness_follows_the_disk() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=4m,mode=700") else {
        println!(
            "SKIPPED: a small disk can be mounted only by root; the report of a fault is tested in runtime/storage"
        );
        return;
    };
    let mut natter = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let disk_full = r#"natter_background_errors_total{kind="disk_full"}"#;
    let ready = http.ask("GET", "/readyz", &[], None).expect("a response");
    assert_eq!(
        (ready.status, ready.at("data.status"), ready.at("data.reason")),
        (200, "ready".into(), "null".into())
    );
    assert_eq!((http.metric("natter_storage_ready"), http.metric(disk_full)), (1, 0));

    let filler = disk.0.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[b'x'; 4_096]).is_ok() {}
    drop(file); // else its removal would free no space
    // The WAL may still have free space, and begins anew in it after a refusal if the database has room for its pages: posts fill it
    // until two in a row are refused.
    let (mut last, mut before) = (0, None);
    let (refused, id) = loop {
        let id = before.clone().unwrap_or_else(client_id);
        let body = post_to(&bob.profile, &id, &"word ".repeat(700));
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        if posted.status == 201 {
            (last, before) = (last + 1, None);
            assert!(last < 2_000, "4 MiB have no space for more posts");
        } else if before.is_some() {
            break (posted, id);
        } else {
            (before, http) = (Some(id), Http::connect(natter.address));
        }
    };
    assert_eq!(
        (refused.status, refused.code(), refused.at("retry")),
        (507, "storage_full".into(), "true".into())
    );
    // No later post may overtake the refused one, so its connection is closed.
    let mut http = Http::connect(natter.address);
    let unready = http.ask("GET", "/readyz", &[], None).expect("a response");
    assert_eq!(
        (unready.status, unready.code(), unready.at("detail")),
        (503, "unavailable".into(), "the disk is full".into()),
        "{}",
        unready.text()
    );
    assert_eq!((unready.at("retry"), unready.field("retry-after")), ("true".into(), Some("1")));
    assert_ne!(unready.at("errors.disk_full"), "null");
    assert_eq!(http.metric("natter_storage_ready"), 0);
    let counted = http.metric(disk_full);
    assert!(counted > 0);
    // The event loop runs, and reads need no space.
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    let list = http.ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(list.status, 200);
    // A shorter one may fit into what is left.
    let body = post_to(&bob.profile, &client_id(), &"word ".repeat(700));
    for _ in 0..5 {
        let again = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        assert_eq!(again.code(), "storage_full");
        http = Http::connect(natter.address);
    }
    assert!(http.metric(disk_full) >= counted + 5, "each refusal counts");

    // Space again, and no client writes: the server becomes ready by itself.
    fs::remove_file(&filler).expect("freed");
    until("it is ready again", || http.ask("GET", "/readyz", &[], None).expect("a response").status == 200);
    assert_eq!(http.metric("natter_storage_ready"), 1);
    let body = post_to(&bob.profile, &id, &"word ".repeat(700));
    let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(
        (posted.status, posted.at("data.n")),
        (201, (last + 1).to_string()),
        "no gap: {}",
        posted.text()
    );
    // A fault is logged once, not at every post, and its end too.
    let mut logged = |what: &str| natter.log().iter().filter(|line| line.contains(what)).count();
    until("each fault is over", || {
        let begun = logged(" failed: the disk is full");
        begun > 0 && begun == logged(" works again after: the disk is full")
    });
    natter.stop();
}

/// A server that was stopped starts on a full disk, and serves its data.
#[test]
fn a_start_on_a_full_disk_serves_reads() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=8m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let post = |http: &mut Http| {
        let body = post_to(&bob.profile, &client_id(), &"word ".repeat(700));
        http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response")
    };
    let conversation = post(&mut http).at("data.conversation");
    let reserve = disk.0.join("reserve");
    let reserve_bytes = reserve.metadata().expect("a reserve").len();
    let mut natter = Some(natter);
    for how in ["stopped", "killed"] {
        match natter.take() {
            Some(natter) if how == "stopped" => drop(natter.stop()),
            Some(mut natter) => natter.kill(),
            None => {}
        }
        let filler = disk.0.join("filler");
        let mut file = File::create(&filler).expect("a file");
        while file.write_all(&[b'x'; 4_096]).is_ok() {}
        drop(file); // else its removal would free no space
        let started = launch.start();
        let mut http = Http::connect(started.address);
        let path = format!("/api/v1/conversations/{conversation}/messages");
        let read = |http: &mut Http| http.ask_as(&bob, "GET", &path, None).expect("a response").status;
        assert_eq!(read(&mut http), 200, "{how}");
        // The reserve leaves little space: a few posts at most.
        let mut refused = post(&mut http);
        for _ in 0..400 {
            if refused.status != 201 {
                break;
            }
            refused = post(&mut http);
        }
        assert_eq!(
            (refused.status, refused.code()),
            (507, "storage_full".into()),
            "{how}: {}",
            refused.text()
        );
        // A checkpoint frees the space of the WAL, and a probe is smaller than a post: both fit for some time.
        until("it says that the disk is full", || {
            let mut http = Http::connect(started.address);
            assert!([201, 507].contains(&post(&mut http).status), "{how}");
            let unready =
                Http::connect(started.address).ask("GET", "/readyz", &[], None).expect("a response");
            (unready.status, unready.at("detail")) == (503, "the disk is full".into())
        });
        let mut http = Http::connect(started.address);
        assert_eq!(read(&mut http), 200, "{how}");
        // Space again: posts succeed without a restart, and the reserve is made again.
        fs::remove_file(&filler).expect("freed");
        until("it is ready again", || {
            http.ask("GET", "/readyz", &[], None).expect("a response").status == 200
        });
        assert_eq!(post(&mut http).status, 201, "{how}");
        until("the reserve has its full size", || {
            reserve.metadata().is_ok_and(|file| file.len() == reserve_bytes)
        });
        natter = Some(started);
    }
    natter.into_iter().for_each(|natter| drop(natter.stop()));
}

/// Without a single free block, SQLite can't create its `-shm` file. The start says so and changes nothing. With a few blocks
/// it serves.
#[test]
fn a_start_without_any_space_says_what_to_do() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=8m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    // Without the reserve and without the index: an index that can't be opened is removed, which gives its blocks to the
    // `-shm` if that is created later.
    let roomy = dir.path().join("roomy");
    Launch::new(dir.path()).with(&[("DATA_DIR", "roomy")]).start().stop();
    for entry in fs::read_dir(&roomy).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if path.is_file() && name != "reserve" && !name.starts_with("search.db") {
            fs::copy(&path, disk.0.join(name)).expect("a copy");
        }
    }
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]);
    let (database, filler) = (disk.0.join("natter.db"), disk.0.join("filler"));
    let before = fs::read(&database).expect("a database");
    fill_up(&filler);
    let mut natter = launch.spawn(Stdio::piped());
    let serves = |natter: &mut Natter| natter.log().iter().any(|line| line.contains(" listens on http"));
    until("it serves or ends", || serves(&mut natter) || !natter.is_running());
    if serves(&mut natter) {
        // tmpfs sometimes finds a few blocks for a new file that it had not for the filler: enough for the `-shm`.
        natter.stop();
        return;
    }
    assert_eq!(natter.wait().code(), Some(1));
    let errors = natter.log().join("\n");
    assert!(errors.contains("because its disk is full") && errors.contains("Free"), "{errors}");
    assert!(fs::read(&database).expect("a database") == before, "the database is changed");
    for created in ["natter.db-wal", "natter.db-shm"] {
        assert!(!disk.0.join(created).exists(), "{created}: {errors}");
    }
    fs::remove_file(&filler).expect("freed");
    launch.start().stop();
}

/// Fills the disk of `filler`, up to its last block. The kernel may free the blocks of a removed file a moment later.
fn fill_up(filler: &Path) {
    let mut file = File::create(filler).expect("a file");
    let (mut before, mut attempts) = (0, 0);
    while attempts < 50 {
        while file.write_all(&[b'x'; 4_096]).is_ok() {}
        let length = file.metadata().expect("a file").len();
        attempts = if length == before { attempts + 1 } else { 0 };
        before = length;
        std::thread::sleep(Duration::from_millis(2)); // between two looks
    }
}

/// A database of version 8, whose messages the next step copies to another table.
fn old_database(path: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    let entries = fs::read_dir(folder).expect("the migrations");
    let mut steps: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    steps.sort();
    let conn = rusqlite::Connection::open(path).expect("a database");
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x6e617474; PRAGMA foreign_keys = OFF",
    )
    .expect("its header");
    for step in &steps[..8] {
        conn.execute_batch(&fs::read_to_string(step).expect("a step")).expect("its schema");
    }
    conn.execute_batch(
        "INSERT INTO profiles (id, display_name, is_private, presence, created_at) VALUES (zeroblob(16), 'Ann', 0, 1, 0); \
         INSERT INTO conversations (id, kind, title, members_count, last_n, last_seq, activity) VALUES (zeroblob(16), 1, 'group', 1, 2000, 2000, 2000); \
         INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq, role) VALUES (1, 1, 0, 2000, 0, 1); \
         WITH numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000) \
         INSERT INTO messages (seq, id_high, conversation, n, sender, client_id, body) \
         SELECT n, 65536000, 1, n, 1, CAST(printf('%016d', n) AS BLOB), printf('%01500d', n) FROM numbers; \
         UPDATE state SET head = 2000; PRAGMA user_version = 8",
    )
    .expect("its content");
}

/// What a database holds: its version, and the number and the length of its messages.
fn content(path: &Path) -> (i64, i64, i64) {
    let conn = rusqlite::Connection::open(path).expect("a database");
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    assert_eq!(number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    (
        number("PRAGMA user_version"),
        number("SELECT count(*) FROM messages"),
        number("SELECT sum(length(body)) FROM messages"),
    )
}

#[test]
fn an_upgrade_on_a_full_disk_changes_nothing_and_succeeds_with_space() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=24m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let (database, filler) = (disk.0.join("natter.db"), disk.0.join("filler"));
    old_database(&database);
    let (bytes, before) = (fs::read(&database).expect("a file"), content(&database));
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]);
    // As often as it is tried, there is no space for the copies of the messages.
    for spare in [2 << 20, 1 << 20, 0] {
        // As the old server left it.
        fs::write(disk.0.join("reserve"), vec![0; 17 * 32 * 1_024]).expect("the reserve");
        fill_up(&filler);
        let file = File::options().write(true).open(&filler).expect("a file");
        let filled = file.metadata().expect("a file").len();
        file.set_len(filled.saturating_sub(spare)).expect("some space");
        let mut natter = launch.spawn(std::process::Stdio::piped());
        assert_eq!(natter.wait().code(), Some(1), "{spare}");
        let log = natter.log().join("\n");
        assert!(log.contains("natter.db can't be opened") && log.contains("disk is full"), "{spare}: {log}");
        fs::remove_file(&filler).expect("freed");
        assert!(fs::read(&database).expect("a file") == bytes, "{spare}: the old database is changed");
        assert_eq!(content(&database), before, "{spare}");
    }
    launch.start().stop();
    let after = content(&database);
    assert!(after.0 > before.0, "version {}", after.0);
    assert_eq!((after.1, after.2), (before.1, before.2), "with every message");
}
