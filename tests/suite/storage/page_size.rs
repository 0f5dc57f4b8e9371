//! The size of the database's pages, which it keeps for its life: bounds in bytes are the same for each size.

use std::time::{Duration, Instant};

use natter::base::id::Id;
use natter::model::id::ProfileId;
use natter::store::{Access, check};
use rusqlite::Connection;

use crate::storage::files::{bytes, fill, wal};
use crate::store_kit::{Kit, options};

/// Bytes of a page.
const PAGES: [i64; 2] = [2_048, 4_096];

/// A database with pages of so many bytes, and two people.
fn with_pages(page: i64, name: &str) -> (Kit, ProfileId, ProfileId) {
    let options = options(&format!("{name}-{page}"));
    let conn = Connection::open(&options.path).expect("a file");
    conn.execute_batch(&format!("PRAGMA page_size = {page}; VACUUM")).expect("an empty database");
    drop(conn);
    let mut kit = Kit::with(options);
    assert_eq!(kit.sql_number("PRAGMA page_size"), page);
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    (kit, ann.profile, bob.profile)
}

#[test]
fn the_wal_stays_bounded_under_a_writer_that_never_pauses() {
    for page in PAGES {
        let (mut kit, ann, bob) = with_pages(page, "wal");
        let text = "x".repeat(12_000);
        let mut most = 0;
        for _ in 0..60 {
            fill(&mut kit, ann, bob, &text, 100).expect("a commit");
            kit.store().maintain(Instant::now()).expect("a checkpoint");
            most = most.max(bytes(&wal(&kit.options)));
        }
        assert!((8 << 20..16 << 20).contains(&most), "{most} bytes with pages of {page}");
        kit.close();
        check(&kit.options, Access::Exclusive).expect("a sound database");
    }
}

#[test]
fn a_wal_that_is_held_is_reported_from_the_same_length_on() {
    for page in PAGES {
        let (mut kit, ann, bob) = with_pages(page, "reported");
        let shell = Connection::open(&kit.options.path).expect("a shell");
        shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
        let text = "x".repeat(12_000);
        let mut now = Instant::now();
        while !kit.store().is_wal_held() {
            fill(&mut kit, ann, bob, &text, 50).expect("a commit");
            now += Duration::from_secs(1);
            kit.store().maintain(now).expect("writing does not depend on it");
            assert!(bytes(&wal(&kit.options)) < 36 << 20, "not reported with pages of {page}");
        }
        let long = bytes(&wal(&kit.options));
        assert!(long > 32 << 20, "{long} bytes with pages of {page}");
        drop(shell);
        kit.close();
    }
}

#[test]
fn a_step_of_a_backup_copies_as_many_bytes() {
    const STEP: u64 = 1 << 20;
    for page in PAGES {
        let (mut kit, ann, bob) = with_pages(page, "steps");
        for _ in 0..4 {
            fill(&mut kit, ann, bob, &"x".repeat(12_000), 100).expect("a commit");
        }
        let mut steps = 0;
        let copied = kit.store().back_up(Id::from_u128(7), &mut |_| {
            steps += 1;
            true
        });
        let copy = kit.options.path.with_file_name(copied.expect("a copy").file);
        // Nothing follows the last step.
        assert_eq!(steps + 1, bytes(&copy).div_ceil(STEP), "with pages of {page}");
        kit.close();
    }
}
