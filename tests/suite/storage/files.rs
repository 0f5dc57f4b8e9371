//! The database as a file: created, closed, crashed, damaged, and bounded.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter::base::time::UnixMs;
use natter::limits::{ERASE_EVERY, STORE_BUSY_MS};
use natter::model::id::ProfileId;
use natter::model::message::{DeleteMessage, Destination, PostMessage};
use natter::model::operation::Refusal;
use natter::model::readiness::Readiness;
use natter::store::{Access, Fault, OpenFault, Reader, StoreOptions, check, forget_codes};

use crate::storage::{Room, room};
use crate::store_kit::{Kit, open, options};

pub fn wal(options: &StoreOptions) -> PathBuf {
    let mut name = options.path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

pub fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_new_database_is_private_sound_and_empty() {
    let mut kit = Kit::new("new");
    assert_eq!((kit.start.head, kit.start.newest_ms.0, kit.start.ended.len()), (0, 0, 0));
    let epoch = kit.start.epoch.clone();
    assert!((1..=32).contains(&epoch.len()));
    assert!(epoch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{epoch}");
    let mode = std::fs::metadata(&kit.options.path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    check(&kit.options, Access::Shared).expect("a sound database, while it is open");
    kit.person("ann");
    kit.close();
    assert_eq!(bytes(&wal(&kit.options)), 0, "a closed database needs no recovery");
    check(&kit.options, Access::Exclusive).expect("a sound database, closed");
}

#[test]
fn the_connection_has_every_required_setting() {
    let mut kit = Kit::new("promises");
    // The rows that migration 11 kept for the index.
    while kit.store().sweep_search(0).expect("a sweep") {}
    for (question, expect) in [
        (
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite%'",
            0,
        ),
        ("SELECT count(*) FROM pragma_index_list('messages')", 2),
        ("SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1),
    ] {
        assert_eq!(kit.sql_number(question), expect, "{question}");
    }
}

#[test]
fn the_epoch_changes_only_if_confirmed_writes_may_be_lost() {
    // FULL or NORMAL, closed or crashed, and whether the epoch changes.
    for (full, closed, changes) in
        [(true, true, false), (true, false, false), (false, true, false), (false, false, true)]
    {
        let mut options = options(&format!("epoch-{full}-{closed}"));
        options.synchronous_full = full;
        let mut kit = Kit::with(options);
        let before = kit.start.epoch.clone();
        let ann = kit.person("ann");
        if closed {
            kit.close();
        } else {
            kit.crash();
        }
        kit.options.synchronous_full = true;
        kit.reopen();
        assert_eq!(kit.start.epoch != before, changes, "full {full} closed {closed}");
        let after = kit.start.epoch.clone();
        kit.crash();
        kit.reopen();
        assert_eq!(kit.start.epoch, after, "an unclean start under FULL keeps it");
        assert!(kit.read(natter::model::member::FindAccount { member: ann.member }).is_ok());
    }
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let spoil = |path: &Path, offset: u64, bytes: &[u8]| {
        let mut file = OpenOptions::new().write(true).open(path).expect("the file");
        file.seek(SeekFrom::Start(offset)).expect("an offset");
        file.write_all(bytes).expect("the damage");
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let rows: [(&str, Damage<'_>); 4] = [
        ("not a database", &|path| std::fs::write(path, "gibberish ".repeat(1_000)).expect("a file")),
        ("header", &|path| spoil(path, 0, b"SQLite format 4")),
        ("a page in the middle", &|path| spoil(path, 4_096 * 9, &[0x55; 4_096])),
        ("cut short", &|path| {
            let file = OpenOptions::new().write(true).open(path).expect("the file");
            file.set_len(bytes(path) / 2).expect("half of it");
        }),
    ];
    for (name, damage) in rows {
        let Room { mut kit, .. } = room(&format!("damage-{}", name.replace(' ', "-")));
        kit.close();
        damage(&kit.options.path);
        let fault = open(&kit.options).err().unwrap_or_else(|| panic!("{name}: opened"));
        let text = fault.to_string();
        assert!(matches!(fault, OpenFault::Corrupt { .. }), "{name}: {text}");
        assert!(text.contains(&kit.options.path.display().to_string()), "{name}: {text}");
        assert!(text.contains("natter restore"), "{name}: {text}");
        assert!(!text.contains('\n'), "{name}: {text}");
        kit.forget_store();
    }
}

#[test]
fn the_database_of_another_program_is_not_changed() {
    let mut kit = Kit::new("foreign");
    kit.close();
    kit.sql("PRAGMA user_version = 99");
    let fault = open(&kit.options).err().expect("a newer schema is refused");
    assert!(matches!(fault, OpenFault::TooNew { found: 99, .. }), "{fault}");
    assert!(Reader::open(&kit.options).is_err());

    let other = options("foreign-other");
    let conn = rusqlite::Connection::open(&other.path).expect("another program");
    conn.execute_batch("CREATE TABLE cats (name TEXT); PRAGMA user_version = 3").expect("its schema");
    drop(conn);
    let before = std::fs::read(&other.path).expect("its bytes");
    let fault = open(&other).err().expect("another program's database is refused");
    assert!(matches!(fault, OpenFault::Foreign { .. }), "{fault}");
    assert_eq!(std::fs::read(&other.path).expect("its bytes"), before, "no byte of it changed");

    let missing = StoreOptions::new(other.path.join("no/such/folder.db"));
    assert!(matches!(open(&missing).err(), Some(OpenFault::Failed { .. })));
    kit.forget_store();
}

/// All files of a folder with their contents.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("its bytes"))
        })
        .collect()
}

/// Also with a WAL, which a connection would copy into the database on close.
#[test]
fn a_refused_start_changes_no_byte_of_any_file() {
    type Spoil<'a> = &'a dyn Fn(&rusqlite::Connection, &Path);
    let rows: [(&str, Spoil<'_>); 4] = [
        ("damaged", &|_, path| {
            let mut file = OpenOptions::new().write(true).open(path).expect("the file");
            file.seek(SeekFrom::Start(4_096 * 9)).expect("an offset");
            file.write_all(&[0x55; 4_096]).expect("the damage");
        }),
        ("foreign", &|conn, _| conn.execute_batch("PRAGMA application_id = 7").expect("another's")),
        ("newer", &|conn, _| conn.execute_batch("PRAGMA user_version = 99").expect("a newer one")),
        ("lost", &|_, path| std::fs::remove_file(path).expect("removed")),
    ];
    for (name, spoil) in rows {
        let Room { mut kit, .. } = room(&format!("refused-{name}"));
        kit.close();
        // A WAL that was not copied: its writer ended without a close.
        let conn = rusqlite::Connection::open(&kit.options.path).expect("a second connection");
        conn.execute_batch("UPDATE state SET touched = touched + 1").expect("a write");
        spoil(&conn, &kit.options.path);
        let folder = kit.options.path.parent().expect("a folder");
        let copy = options(&format!("refused-copy-{name}"));
        for (name, bytes) in contents(folder) {
            if !name.ends_with("-shm") {
                std::fs::write(copy.path.with_file_name(name), bytes).expect("a copy");
            }
        }
        drop(conn);
        let folder = copy.path.parent().expect("a folder");
        let before = contents(folder);
        assert!(
            before.get("natter.db-wal").is_some_and(|wal| !wal.is_empty()),
            "{name}: {:?}",
            before.keys()
        );
        for _ in 0..2 {
            let fault = open(&copy).err().unwrap_or_else(|| panic!("{name}: opened"));
            let after = contents(folder);
            assert!(after == before, "{name}: {fault}: {:?} became {:?}", before.keys(), after.keys());
        }
        kit.forget_store();
    }
}

/// Writes that the last process may not have synced are confirmed only after a checkpoint, which another process can
/// delay.
#[test]
fn a_start_answers_no_write_before_its_checkpoint_has_succeeded() {
    let Room { mut kit, ann, bob, .. } = room("unproven");
    kit.crash();
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    kit.reopen();
    let held = Some("another process holds the write-ahead log");
    assert_eq!((kit.start.readiness.unready, kit.start.readiness.unproven), (held, true));
    let refused = fill(&mut kit, ann.profile, bob.profile, "no", 2);
    assert_eq!(refused, Err((Some(Fault::Busy), Refusal::Unavailable)));
    let mut now = Instant::now();
    assert_eq!(kit.store().maintain(now), Err(Fault::Busy), "it is tried again");
    assert_eq!(kit.store().maintain(now), Ok(()), "but not at once");
    assert!(kit.read(natter::model::member::FindAccount { member: ann.member }).is_ok(), "reads work");
    shell.execute_batch("COMMIT").expect("the end of the snapshot");
    now += Duration::from_secs(1);
    assert_eq!(kit.store().maintain(now), Ok(()));
    assert_eq!(kit.store().readiness(), Readiness::default());
    fill(&mut kit, ann.profile, bob.profile, "yes", 2).expect("a commit");
    kit.close();
}

/// The database file itself is replaced: the new file has all content, and readers switch to it.
#[test]
fn a_suspect_database_is_replaced_by_a_new_file_with_all_its_content() {
    let Room { mut kit, ann, bob, first, .. } = room("replaced");
    kit.crash();
    // The mark that the previous process left after a failed sync of the database.
    let mark = kit.options.path.with_file_name("natter.db.suspect");
    std::fs::write(&mark, "").expect("a mark");
    let inode =
        |kit: &Kit| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&kit.options.path).expect("it"));
    let old = inode(&kit);
    kit.reopen();
    let why = kit.store().readiness();
    assert!(why.unready.is_some_and(|reason| reason.contains("new file")) && why.unproven, "{why:?}");
    fill(&mut kit, ann.profile, bob.profile, "no", 1).expect_err("not yet");
    let now = Instant::now();
    let mut steps = 0;
    while !kit.store().readiness().is_ready() {
        assert!(steps < 10, "{:?}", kit.store().readiness());
        kit.store().maintain(now).expect("a step");
        steps += 1;
    }
    assert!(inode(&kit) != old && !mark.exists());
    fill(&mut kit, ann.profile, bob.profile, "yes", 3).expect("a commit");
    // The reader that was open all the time.
    let list = kit.read(natter::model::message::ListMessages {
        pinned: false,
        viewer: ann.profile,
        conversation: first.conversation,
        at: natter::model::message::PagePoint::Newest,
        limit: 50,
    });
    assert_eq!(list.expect("a page").messages.len(), 4, "the first message and three more");
    let names: Vec<String> = contents(kit.options.path.parent().expect("a folder")).into_keys().collect();
    let names: Vec<&String> = names.iter().filter(|name| name.starts_with("natter.db")).collect();
    assert_eq!(names, ["natter.db", "natter.db-shm", "natter.db-wal"]);
    kit.close();
    check(&kit.options, Access::Exclusive).expect("a sound database");
}

/// A power failure at any step of the exchange: the next start completes it, and the old WAL is never applied to the
/// new file.
#[test]
fn a_start_completes_an_interrupted_exchange() {
    for has_wal in [true, false] {
        let Room { mut kit, ann, .. } = room(&format!("exchange-{has_wal}"));
        kit.close();
        let path = kit.options.path.clone();
        std::fs::copy(&path, path.with_file_name("natter.db.replacement")).expect("a complete copy");
        // By now the old file and its WAL have other content.
        kit.sql("PRAGMA wal_autocheckpoint = 0");
        let old = rusqlite::Connection::open(&path).expect("a second connection");
        old.execute_batch("DELETE FROM log; DELETE FROM messages").expect("content that must not come back");
        std::mem::forget(old);
        if !has_wal {
            std::fs::remove_file(wal(&kit.options)).expect("the first step of the exchange");
        }
        kit.reopen();
        assert!(!path.with_file_name("natter.db.replacement").exists());
        assert_eq!(kit.sql_number("SELECT count(*) FROM messages"), 2, "with its WAL: {has_wal}");
        assert!(kit.read(natter::model::member::FindAccount { member: ann.member }).is_ok());
        kit.close();
    }
}

/// A reader in another process holds a snapshot: writes continue up to a bound, which a full disk lowers, and the
/// readiness reports it. They stop at the bound, before the disk is full, and continue after the reader has ended.
#[test]
fn a_foreign_reader_stops_writing_at_wal_max_and_is_named_before() {
    const WAL_MAX: u64 = 80 << 20;
    let mut kit = Kit::with(StoreOptions { wal_max: WAL_MAX, ..options("held") });
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    let text = "x".repeat(12_000);
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    let mut now = Instant::now();
    let refused = (0..60).find_map(|_| {
        let answer = fill(&mut kit, ann.profile, bob.profile, &text, 200).err();
        now += Duration::from_secs(1);
        assert_eq!(kit.store().maintain(now), Ok(()), "writing does not depend on it");
        let readiness = kit.store().readiness();
        let long = bytes(&wal(&kit.options));
        assert!(readiness.wal_held.is_some() || long < 40 << 20, "{long} bytes, and it is not reported");
        assert!(readiness.wal_held.is_none() || long > 30 << 20, "{long} bytes are too few to report");
        answer
    });
    assert_eq!(refused, Some((Some(Fault::Busy), Refusal::Unavailable)));
    let long = bytes(&wal(&kit.options));
    assert!((WAL_MAX..WAL_MAX + (8 << 20)).contains(&long), "{long} bytes");
    let readiness = kit.store().readiness();
    assert_eq!(readiness.unready, Some(Fault::Busy.reason()));
    assert!(matches!(&readiness.warnings()[..], [text] if text.contains("natter.db-wal")));
    // The writer waits for the reader, but no longer than posts can wait.
    let began = Instant::now();
    fill(&mut kit, ann.profile, bob.profile, &text, 1).expect_err("still refused");
    assert_eq!(kit.store().maintain(now + Duration::from_secs(1)), Ok(()));
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(STORE_BUSY_MS / 2), "{waited:?}");
    shell.execute_batch("COMMIT").expect("the end of the snapshot");
    fill(&mut kit, ann.profile, bob.profile, &text, 10).expect("writes continue");
    assert!(kit.store().maintain(now + Duration::from_secs(2)).is_ok());
    assert_eq!(kit.store().readiness(), Readiness::default());
    kit.close();
    assert_eq!(bytes(&wal(&kit.options)), 0);
}

/// Next to a process that copies the WAL, such as Litestream, what it may not have copied yet is not removed with the erased
/// content: the file keeps the previous log for one interval. A stop leaves the WAL too.
#[test]
fn erased_content_leaves_a_shared_wal_after_the_other_process_could_copy_it() {
    let Room { mut kit, ann, bob, .. } = room("shared");
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell
        .execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); CREATE TABLE _litestream_lock (id INTEGER)")
        .expect("Litestream's tables");
    let secret = "unforgettable";
    let holds_secret = |kit: &Kit| {
        let files = [kit.options.path.clone(), wal(&kit.options)];
        files.map(|file| {
            let bytes = std::fs::read(file).expect("a file");
            bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
        })
    };
    // Enough that the next log does not overwrite the previous one.
    fill(&mut kit, ann.profile, bob.profile, &"x".repeat(12_000), 20).expect("a commit");
    let message = kit.say(ann.profile, Destination::To(bob.profile), secret).id;
    kit.write(DeleteMessage { at: UnixMs(2), actor: ann.profile, message }).0.expect("deleted");
    let mut now = Instant::now();
    let mut look = |kit: &mut Kit| {
        kit.store().maintain(now).expect("a checkpoint");
        now += ERASE_EVERY;
        holds_secret(kit)
    };
    assert_eq!(look(&mut kit), [false, true], "the WAL is restarted, and its file is not shorter");
    assert_eq!(look(&mut kit), [false, true], "the log may have been restarted just now");
    assert_eq!(look(&mut kit), [false, false]);
    kit.say(ann.profile, Destination::To(bob.profile), "the last words");
    kit.close();
    let left = bytes(&wal(&kit.options));
    assert!(left > 0, "Litestream may still copy it");
    // Litestream has a snapshot open at nearly all times: neither a command nor a start waits for its end.
    shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    forget_codes(&kit.options).expect("a change by a command");
    assert!(bytes(&wal(&kit.options)) >= left, "a command leaves it");
    kit.reopen();
    assert_eq!(kit.store().readiness(), Readiness::default());
    assert!(bytes(&wal(&kit.options)) >= left, "a start leaves it");
    kit.say(ann.profile, Destination::To(bob.profile), "after the start");
    shell.execute_batch("COMMIT").expect("the end of the snapshot");
    kit.close();
}

/// A database that Litestream once copied has its tables for ever. The WAL stays as short as without them once Litestream
/// has not been seen for long, and is left to it again from its next checkpoint on.
#[test]
fn the_tables_of_litestream_alone_let_no_wal_grow() {
    let Room { mut kit, ann, bob, .. } = room("abandoned");
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell
        .execute_batch(
            "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); \
             CREATE TABLE _litestream_lock (id INTEGER); INSERT INTO _litestream_seq VALUES (1, 7)",
        )
        .expect("Litestream's tables");
    let (text, mut now) = ("x".repeat(12_000), Instant::now());
    let mut grow = |kit: &mut Kit, mib: usize, seconds: u64| {
        let mut longest = 0;
        for _ in 0..mib {
            fill(kit, ann.profile, bob.profile, &text, 70).expect("no post is refused");
            now += Duration::from_secs(seconds);
            kit.store().maintain(now).expect("maintained");
            longest = longest.max(bytes(&wal(&kit.options)) >> 20);
        }
        longest
    };
    assert!(grow(&mut kit, 35, 1) > 26, "Litestream may be about to begin");
    // Minutes without its checkpoint.
    grow(&mut kit, 4, 100);
    let longest = grow(&mut kit, 90, 1);
    assert!(longest <= 40, "the WAL restarts from 24 MiB on: {longest}");
    shell.execute_batch("UPDATE _litestream_seq SET seq = seq + 1").expect("a checkpoint of Litestream");
    let longest = grow(&mut kit, 60, 1);
    assert!(longest > 45, "it is left to Litestream again: {longest}");
    kit.close();
}

/// Litestream needs the write lock to restart the WAL, and gets it only where the lock is free for a moment.
#[test]
fn a_long_wal_leaves_the_write_lock_to_litestream() {
    for has_litestream in [false, true] {
        let Room { mut kit, ann, bob, .. } = room("paced");
        let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
        if has_litestream {
            shell.execute_batch("CREATE TABLE _litestream_lock (id INTEGER)").expect("Litestream's table");
        }
        shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
        let (text, mut now) = ("x".repeat(12_000), Instant::now());
        let mut paced_from = None;
        while bytes(&wal(&kit.options)) < 60 << 20 {
            fill(&mut kit, ann.profile, bob.profile, &text, 100).expect("no post is refused");
            now += Duration::from_secs(1);
            kit.store().maintain(now).expect("writing does not depend on it");
            if paced_from.is_none() && !kit.store().pause().is_zero() {
                paced_from = Some(bytes(&wal(&kit.options)) >> 20);
            }
        }
        assert_eq!(paced_from.is_some_and(|mib| (45..=52).contains(&mib)), has_litestream, "{paced_from:?}");
        drop(shell);
        kit.close();
    }
}

#[test]
fn a_held_wal_uses_half_of_the_free_disk_space() {
    let mut kit = Kit::new("room");
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    let text = "x".repeat(12_000);
    let mut now = Instant::now();
    let refused = (0..60).any(|_| {
        now += Duration::from_secs(1);
        kit.store().maintain(now).expect("writing does not depend on it");
        if kit.store().is_wal_held() {
            kit.store().bound_wal(20 << 20);
        }
        fill(&mut kit, ann.profile, bob.profile, &text, 100).is_err()
    });
    let long = bytes(&wal(&kit.options));
    assert!(refused && (32 << 20..40 << 20).contains(&long), "{long} bytes, of 256 MiB on a disk with room");
    drop(shell);
    kit.close();
}

/// Posts a batch of long messages.
pub fn fill(
    kit: &mut Kit,
    sender: ProfileId,
    to: ProfileId,
    text: &str,
    count: usize,
) -> Result<(), (Option<Fault>, Refusal)> {
    let posts: Vec<PostMessage> = (0..count).map(|_| kit.post(sender, Destination::To(to), text)).collect();
    let committed = kit.commit(posts.into_iter().map(|post| (1, post.into())).collect());
    match committed.outcomes.iter().find_map(|outcome| outcome.result.as_ref().err()) {
        Some(refusal) => {
            let same =
                committed.outcomes.iter().all(|outcome| outcome.result.as_ref().err() == Some(refusal));
            assert!(same, "all posts of a batch are refused");
            Err((committed.fault, *refusal))
        }
        None => Ok(()),
    }
}
