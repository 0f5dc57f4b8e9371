//! A copy of the database during writes: complete, as of the end of the copy, and with another epoch.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use natter::base::id::Id;
use natter::model::message::{Destination, PostMessage};
use natter::model::operation::{Lane, Refusal};
use natter::store::{Access, Sessions, StoreOptions, adopt, check};

use crate::store_kit::{Kit, Person, options};

/// Posts of 4,000 characters: one page each, so that a copy takes several steps.
const TALK: i64 = 1_200;

/// A database of more pages than one step copies.
fn long_talk(name: &str) -> (Kit, Person, Person) {
    let mut kit = Kit::new(name);
    let (ann, bob) = (kit.person("ann"), kit.person("bob"));
    let words = "word ".repeat(800);
    let posts =
        (0..TALK).map(|_| kit.post(ann.profile, Destination::To(bob.profile), &words)).collect::<Vec<_>>();
    let committed = kit.commit(posts.into_iter().map(|post| (1, post.into())).collect());
    assert!(committed.outcomes.iter().all(|outcome| outcome.result.is_ok()));
    (kit, ann, bob)
}

fn copies(kit: &Kit) -> Vec<PathBuf> {
    let folder = kit.options.path.parent().expect("a folder");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("backup")));
    paths
}

#[test]
fn writes_during_a_copy_are_in_the_copy() {
    let (mut kit, ann, bob) = long_talk("backup");
    let mut posts: Vec<PostMessage> =
        (0..2_000).map(|_| kit.post(ann.profile, Destination::To(bob.profile), "meanwhile")).collect();
    let (mut steps, mut posted) = (0, 0);
    let copy = kit.store().back_up(Id::from_u128(7), &mut |session| {
        steps += 1;
        for post in posts.drain(..posts.len().min(5)) {
            let committed = session.commit(&mut vec![(Lane(1), post.into())]);
            assert!(committed.outcomes[0].result.is_ok());
            posted += 1;
        }
        session.maintain(std::time::Instant::now()).expect("the store's own work continues");
        true
    });
    let copy = copy.expect("a copy");
    assert!(steps > 3 && posted == 5 * steps, "{steps} steps, {posted} posts");
    let path = kit.options.path.with_file_name(&copy.file);
    assert_eq!(copies(&kit), std::slice::from_ref(&path));
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o7777, 0o600);

    let copy = options("backup-copy");
    std::fs::rename(&path, &copy.path).expect("moved");
    adopt(&copy, Sessions::Kept, kit.now_ms).expect("a sound database");
    check(&copy, Access::Exclusive).expect("a sound database");
    let epoch = |options: &StoreOptions| {
        let conn = rusqlite::Connection::open(&options.path).expect("a second connection");
        conn.query_row("SELECT epoch FROM state", [], |row| row.get::<_, String>(0)).expect("an epoch")
    };
    assert_eq!(
        (epoch(&kit.options), epoch(&copy).as_str()),
        (kit.start.epoch.clone(), ""),
        "its next start makes another"
    );
    let mut other = Kit::with(copy);
    assert_eq!(other.sql_number("SELECT count(*) FROM messages"), TALK + posted);
    let head = kit.sql_number("SELECT max(seq) FROM messages");
    assert_eq!(other.start.head, u64::try_from(head).expect("a number"), "to the last post");
    // Both continue independently.
    kit.say(ann.profile, Destination::To(bob.profile), "here");
    other.say(bob.profile, Destination::To(ann.profile), "there");
}

#[test]
fn a_copy_that_is_cancelled_or_fails_or_is_not_fetched_is_removed() {
    let (mut kit, ann, bob) = long_talk("backup-gone");
    let given_up = kit.store().back_up(Id::from_u128(7), &mut |_| false);
    assert_eq!(given_up.expect_err("no copy"), Refusal::Unavailable);
    assert_eq!(copies(&kit), [] as [PathBuf; 0]);

    // A folder that can't be removed has its name.
    let taken = kit.options.path.with_file_name(format!("natter.backup-{}", <Id>::from_u128(8)));
    std::fs::create_dir(&taken).expect("a folder");
    assert_eq!(
        kit.store().back_up(Id::from_u128(8), &mut |_| true).expect_err("no copy"),
        Refusal::Unavailable
    );
    std::fs::remove_dir(&taken).expect("removed");

    let first = kit.store().back_up(Id::from_u128(9), &mut |_| true).expect("a copy");
    let second = kit.store().back_up(Id::from_u128(10), &mut |_| true).expect("a copy");
    assert_ne!(first, second);
    assert_eq!(copies(&kit).len(), 1, "the next backup removes a copy that was not fetched");
    kit.close();
    kit.reopen();
    assert_eq!(copies(&kit).len(), 0, "and so does the next start");
    kit.say(ann.profile, Destination::To(bob.profile), "and it continues");
}
