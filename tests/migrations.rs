//! The schema's history: every version that was ever released opens today, with everything that was in it.

mod store_kit;

use natter::model::conversation::{MarkRead, Marked};
use natter::model::member::FindCredential;
use natter::model::message::{Destination, ListMessages, PagePoint};
use natter::store::{VERSION, check};
use store_kit::{Kit, options};

/// The steps, as they were released.
const RELEASED: &[&str] = &[
    include_str!("../src/store/migrations/001_two_people_chat.sql"),
    include_str!("../src/store/migrations/002_codes_and_mail.sql"),
    include_str!("../src/store/migrations/003_accounts.sql"),
    include_str!("../src/store/migrations/004_groups.sql"),
    include_str!("../src/store/migrations/005_presence.sql"),
    include_str!("../src/store/migrations/006_uploads.sql"),
    include_str!("../src/store/migrations/007_search.sql"),
    include_str!("../src/store/migrations/008_export.sql"),
];

/// What each version could hold, made by its own statements.
const CONTENT: &[&str] = &[
    "
    UPDATE state SET epoch = 'kept', running = 1, head = 3;
    INSERT INTO members (id, email, hash, verified, active, created_at) VALUES
        (x'00000000000000000000000000000001', 'ann@example.org', 'hash', 1, 1, 1000),
        (x'00000000000000000000000000000002', 'bob@example.org', 'hash', 0, 1, 1000),
        (x'00000000000000000000000000000003', 'cat@example.org', 'hash', 0, 1, 1000);
    INSERT INTO profiles (id, member, display_name, nick_name, is_private, presence, created_at) VALUES
        (x'00000000000000000000000000000011', 1, 'Ann', 'ann', 0, 1, 1000),
        (x'00000000000000000000000000000012', 2, 'Bob', 'bob', 0, 1, 1000),
        (x'00000000000000000000000000000013', 3, 'Cat', 'cat', 0, 1, 1000);
    INSERT INTO blocks (blocker, blocked) VALUES (1, 3);
    INSERT INTO conversations (id, kind, low, high, members_count, last_n, last_seq, activity) VALUES
        (x'00000000000000000000000000000021', 0, 1, 2, 2, 2, 3, 2);
    INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq) VALUES
        (1, 1, 0, 1, 0), (2, 1, 0, 2, 3);
    INSERT INTO messages (seq, id_high, conversation, n, sender, client_id, body) VALUES
        (1, 65536000, 1, 1, 1, x'00000000000000000000000000000001', 'first'), (2, 65536000, 1, 2, 2, x'00000000000000000000000000000002', 'second');
    ",
    "",
    "INSERT INTO blocks (blocker, blocked) VALUES (3, 2);",
    "INSERT INTO reactions (message, emoji, profile, seq) VALUES (1, '+1', 2, 3);",
    "UPDATE profiles SET last_seen_at = 5;",
    "",
    "INSERT INTO search (rowid, body, scope) VALUES (1, 'first', '1'); UPDATE search_state SET through = 1;",
    "",
];

#[test]
fn every_released_version_opens_today() {
    assert_eq!(VERSION, RELEASED.len() as i64, "a new step needs its row here");
    for version in 1..=RELEASED.len() {
        let options = options(&format!("migrate-{version}"));
        let conn = rusqlite::Connection::open(&options.path).expect("an old database");
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA application_id = 0x6e617474")
            .expect("its header");
        for (step, content) in RELEASED.iter().zip(CONTENT).take(version) {
            conn.execute_batch(step).expect("its schema");
            conn.execute_batch(content).expect("its content");
        }
        conn.pragma_update(None, "user_version", version as i64).expect("its version");
        drop(conn);

        let mut kit = Kit::with(options);
        assert_eq!((kit.start.epoch.as_str(), kit.start.head), ("kept", 3), "from version {version}");
        let find = FindCredential { email: "ann@example.org".to_owned(), device: None };
        let ann = kit.read(find).expect("a look-up").expect("ann");
        let conversation = natter::base::id::Id(0x21);
        let list = ListMessages { viewer: ann.profile, conversation, at: PagePoint::Newest, limit: 9 };
        let page = kit.read(list).expect("a page");
        let texts: Vec<_> = page.messages.iter().map(|message| message.body.as_deref()).collect();
        assert_eq!(texts, [Some("first"), Some("second")], "from version {version}");
        let next = kit.say(ann.profile, Destination::Conversation(conversation), "third");
        assert_eq!((next.n, next.seq), (3, 4), "from version {version}");
        let blocks = 1 + i64::from(version >= 3);
        assert_eq!(kit.sql_number("SELECT count(*) FROM blocks"), blocks, "from version {version}");
        let told = kit.write(MarkRead { at: 0, reader: ann.profile, conversation, n: 2 }).0;
        assert_eq!(told, Ok(Marked { read_n: 3, unread: 0 }));
        kit.store().index().expect("the index follows");
        check(&kit.options).expect("a sound database");
        assert_eq!(kit.sql_number("PRAGMA user_version"), VERSION);
    }
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let options = options("migrate-fails");
    let conn = rusqlite::Connection::open(&options.path).expect("a database");
    // Half of the first schema stands already, as no natter ever left it.
    conn.execute_batch("PRAGMA application_id = 0x6e617474; CREATE TABLE log (seq INTEGER)")
        .expect("a table");
    drop(conn);
    for _ in 0..2 {
        let fault = store_kit::open(&options).err().expect("the step fails");
        assert!(fault.to_string().contains("can't be opened"), "{fault}");
    }
    let conn = rusqlite::Connection::open(&options.path).expect("a database");
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .expect("a count");
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    assert_eq!((tables, version), (1, 0));
}
