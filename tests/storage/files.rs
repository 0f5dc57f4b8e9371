//! The database as a file: made, closed, crashed, damaged, and bounded.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter::limits::{CHECKPOINT_BUSY_MS, STORE_BUSY_MS};
use natter::model::message::{Destination, PostMessage};
use natter::model::operation::{Command, Refusal};
use natter::store::{Fault, Held, OpenFault, Reader, StoreOptions, check};

use crate::store_kit::{Kit, open, options};
use crate::{Room, room};

fn wal(options: &StoreOptions) -> PathBuf {
    let mut name = options.path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[test]
fn a_new_database_is_private_sound_and_empty() {
    let mut kit = Kit::new("new");
    assert_eq!((kit.start.head, kit.start.newest_ms, kit.start.ended.len()), (0, 0, 0));
    let epoch = kit.start.epoch.clone();
    assert!((1..=32).contains(&epoch.len()));
    assert!(epoch.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{epoch}");
    let mode = std::fs::metadata(&kit.options.path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    check(&kit.options, Held::Shared).expect("a sound database, while it is open");
    kit.person("ann");
    kit.close();
    assert_eq!(bytes(&wal(&kit.options)), 0, "a closed database needs no recovery");
    check(&kit.options, Held::Alone).expect("a sound database, closed");
}

#[test]
fn every_promise_of_the_connection_is_kept() {
    let mut kit = Kit::new("promises");
    // What migration 11 put aside.
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
fn the_epoch_changes_only_when_answers_may_be_lost() {
    // FULL or NORMAL, closed or crashed, whether the epoch changes.
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
        file.seek(SeekFrom::Start(offset)).expect("a place");
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
fn somebody_elses_database_is_left_alone() {
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
    assert_eq!(std::fs::read(&other.path).expect("its bytes"), before, "not a byte of it changed");

    let missing = StoreOptions { path: other.path.join("no/such/folder.db"), synchronous_full: true };
    assert!(matches!(open(&missing).err(), Some(OpenFault::Failed { .. })));
    kit.forget_store();
}

#[test]
fn the_wal_stays_bounded_under_a_writer_that_never_pauses() {
    let Room { mut kit, ann, bob, .. } = room("wal");
    let text = "x".repeat(12_000);
    let mut most = 0;
    for _ in 0..60 {
        fill(&mut kit, ann.profile, bob.profile, &text, 100).expect("a commit");
        kit.store().tend(Instant::now()).expect("a checkpoint");
        most = most.max(bytes(&wal(&kit.options)));
    }
    assert!(most < 16 << 20, "{most} bytes");
    // Our own readers, one snapshot after another, are no obstacle; a foreign one stops the writing before the disk
    // is full, and writing goes on when it is gone.
    let shell = rusqlite::Connection::open(&kit.options.path).expect("a shell");
    shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
    let refused = (0..60).find_map(|_| {
        let answer = fill(&mut kit, ann.profile, bob.profile, &text, 200).err();
        // Reported as long as it lasts.
        assert!(kit.store().tend(Instant::now()).is_ok() || bytes(&wal(&kit.options)) > 30 << 20);
        answer
    });
    assert_eq!(refused, Some((Some(Fault::Busy), Refusal::Unavailable)));
    assert!(bytes(&wal(&kit.options)) < 64 << 20);
    // Who is in the way is waited for, but no longer than posts can wait.
    let began = Instant::now();
    assert_eq!(kit.store().tend(Instant::now()), Err(Fault::Busy));
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(STORE_BUSY_MS / 2), "{waited:?}");
    assert!(waited >= Duration::from_millis(CHECKPOINT_BUSY_MS / 2), "{waited:?}");
    shell.execute_batch("COMMIT").expect("the end of the snapshot");
    fill(&mut kit, ann.profile, bob.profile, &text, 10).expect("writing goes on");
    assert!(kit.store().tend(Instant::now()).is_ok());
    assert_eq!(kit.store().probe(), Ok(()));
    kit.close();
    assert_eq!(bytes(&wal(&kit.options)), 0);
}

/// Posts a batch of long messages.
fn fill(
    kit: &mut Kit,
    sender: natter::base::id::Id,
    to: natter::base::id::Id,
    text: &str,
    count: usize,
) -> Result<(), (Option<Fault>, Refusal)> {
    let posts: Vec<PostMessage> = (0..count).map(|_| kit.post(sender, Destination::To(to), text)).collect();
    let committed = kit.commit(posts.into_iter().map(|post| (1, Command::PostMessage(post))).collect());
    match committed.outcomes.iter().find_map(|outcome| outcome.result.as_ref().err()) {
        Some(refusal) => {
            let same =
                committed.outcomes.iter().all(|outcome| outcome.result.as_ref().err() == Some(refusal));
            assert!(same, "a batch is refused whole");
            Err((committed.fault, *refusal))
        }
        None => Ok(()),
    }
}
