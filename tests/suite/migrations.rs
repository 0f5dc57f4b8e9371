//! The history of the schema: every released version opens today with all of its content.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::store_kit::{Kit, Seeded, complete, options};
use natter::base::id::Id;
use natter::base::time::UnixMs;
use natter::model::conversation::{MarkRead, Marked, UnreadMentions};
use natter::model::id::ProfileId;
use natter::model::member::{EraseMessages, Erased, FindCredential};
use natter::model::message::{Destination, ListMessages, PagePoint};
use natter::store::{Access, FreeBytes, Store, StoreOptions, VERSION, check};
use rusqlite::Connection;

/// The migrations as they were released.
const RELEASED: &[&str] = &[
    include_str!("../../src/store/migrations/001_two_people_chat.sql"),
    include_str!("../../src/store/migrations/002_codes_and_mail.sql"),
    include_str!("../../src/store/migrations/003_accounts.sql"),
    include_str!("../../src/store/migrations/004_groups.sql"),
    include_str!("../../src/store/migrations/005_presence.sql"),
    include_str!("../../src/store/migrations/006_uploads.sql"),
    include_str!("../../src/store/migrations/007_search.sql"),
    include_str!("../../src/store/migrations/008_export.sql"),
    include_str!("../../src/store/migrations/009_client_ids_in_order.sql"),
    include_str!("../../src/store/migrations/010_client_ids_as_integers.sql"),
    include_str!("../../src/store/migrations/011_search_in_its_own_file.sql"),
    include_str!("../../src/store/migrations/012_tag_of_the_password_secret.sql"),
    include_str!("../../src/store/migrations/013_tombstones_in_blocks.sql"),
    include_str!("../../src/store/migrations/014_push.sql"),
    include_str!("../../src/store/migrations/015_mentions.sql"),
    include_str!("../../src/store/migrations/016_admins.sql"),
    include_str!("../../src/store/migrations/017_invites.sql"),
    include_str!("../../src/store/migrations/018_system_messages.sql"),
    include_str!("../../src/store/migrations/019_history_for_newcomers.sql"),
    include_str!("../../src/store/migrations/020_previews.sql"),
    include_str!("../../src/store/migrations/021_forwarding.sql"),
    include_str!("../../src/store/migrations/022_pins.sql"),
    include_str!("../../src/store/migrations/023_files_of_conversations.sql"),
    include_str!("../../src/store/migrations/024_digests.sql"),
    include_str!("../../src/store/migrations/025_preferences.sql"),
    include_str!("../../src/store/migrations/026_seen_before_sign_out.sql"),
    include_str!("../../src/store/migrations/027_flags_of_messages.sql"),
    include_str!("../../src/store/migrations/028_cluster.sql"),
    include_str!("../../src/store/migrations/029_skipped_entries.sql"),
    include_str!("../../src/store/migrations/030_certificate.sql"),
    include_str!("../../src/store/migrations/031_bots.sql"),
    include_str!("../../src/store/migrations/032_bot_hooks.sql"),
    include_str!("../../src/store/migrations/033_levels_of_a_cluster.sql"),
    include_str!("../../src/store/migrations/034_retention.sql"),
    include_str!("../../src/store/migrations/035_second_factor.sql"),
    include_str!("../../src/store/migrations/036_people.sql"),
    include_str!("../../src/store/migrations/037_bound_of_the_audit.sql"),
    #[cfg(feature = "next-level")]
    include_str!("../../src/store/migrations/next_level.sql"),
];

/// What each version could hold, written by its own statements.
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
    // A group that cat left, with an answer, an edited message, and the half-erased messages of a deleted member.
    "
    INSERT INTO reactions (message, emoji, profile, seq) VALUES (1, '+1', 2, 3);
    UPDATE messages SET rev = 3 WHERE seq = 1;
    INSERT INTO profiles (id, member, display_name, is_private, presence, created_at) VALUES
        (x'00000000000000000000000000000014', NULL, '', 0, 1, 1000),
        (x'00000000000000000000000000000015', NULL, '', 0, 1, 1000);
    INSERT INTO conversations (id, kind, title, members_count, last_n, last_seq, activity) VALUES
        (x'00000000000000000000000000000022', 1, 'group', 1, 6, 11, 9);
    INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq, role) VALUES (1, 2, 3, 6, 0, 1);
    INSERT INTO messages
        (seq, id_high, conversation, n, sender, client_id, reply_to, rev, edited_at, deleted_at, body) VALUES
        (4, 65536000, 2, 1, 3, x'00000000000000000000000000000001', NULL, NULL, NULL, NULL, 'of cat'),
        (5, 65536000, 2, 2, 1, x'00000000000000000000000000000005', 4, NULL, NULL, NULL, 'an answer'),
        (6, 65536000, 2, 3, 1, x'00000000000000000000000000000006', NULL, 10, 7, NULL, 'edited'),
        (7, 65536000, 2, 4, 4, x'00000000000000000000000000000007', NULL, 11, NULL, 8, NULL),
        (8, 65536000, 2, 5, 4, x'00000000000000000000000000000008', NULL, NULL, NULL, NULL, 'to be erased'),
        (9, 65536000, 2, 6, 5, x'00000000000000000000000000000009', NULL, NULL, NULL, NULL, 'kept, of nobody');
    INSERT INTO tombstones (conversation, n) VALUES (2, 4);
    INSERT INTO erasures (profile, done) VALUES (4, x'00000000000000000000000000000007');
    UPDATE state SET head = 11;
    ",
    "UPDATE profiles SET last_seen_at = 5;",
    "
    INSERT INTO files (id, owner, sha256, size, mime) VALUES
        (x'00000000000000000000000000000031', 1, zeroblob(32), 3, 'text/plain');
    INSERT INTO uploads (id, file, name, created_at) VALUES
        (x'00000000000000000000000000000032', 1, 'notes.txt', 1000);
    INSERT INTO upload_usage (owner, bytes) VALUES (1, 3);
    INSERT INTO attachments (message, place, upload) VALUES (5, 0, 1);
    UPDATE messages SET has_files = 1 WHERE seq = 5;
    ",
    "INSERT INTO search (rowid, body, scope) VALUES (1, 'first', '1'); UPDATE search_state SET through = 1;",
    "",
    "",
    "",
    "",
    "UPDATE state SET password_tag = x'00112233445566778899aabbccddeeff'",
    "",
    "
    INSERT INTO sessions
        (key, id, member, access_uuid, refresh_uuid, user_agent, address, issued, access_expire, refresh_expire,
         access_until, created_at, last_seen_at)
        VALUES (1, x'00000000000000000000000000000031', 1, x'00000000000000000000000000000041',
            x'00000000000000000000000000000042', 'phone', '192.0.2.1', 1, 1, 1, 1, 1, 1);
    INSERT INTO push_subscriptions VALUES (1, 'https://push.example/a', zeroblob(65), zeroblob(16), 2, 0, 1);
    UPDATE state SET pushed = 1;
    ",
    "INSERT INTO mentions (message, profile, conversation, n) VALUES (4, 0, 2, 1), (4, 1, 2, 1);",
    "UPDATE members SET admin = 1 WHERE key = 1;",
    "INSERT INTO invites (id, hash, maker, conversation, uses, uses_max, created_at, expires_at)
        VALUES (x'00000000000000000000000000000061', zeroblob(32), 1, 2, 0, 1, 1, 2);",
    "",
    "",
    "UPDATE uploads SET alt = 'a cup', duration_ms = NULL, preview = file WHERE key = 1;
    UPDATE upload_usage SET bytes = 2 * bytes WHERE owner = (SELECT owner FROM files WHERE key = 1);",
    "
    INSERT INTO files (id, owner, sha256, size, mime, bytes_of) VALUES
        (x'00000000000000000000000000000034', 4, zeroblob(32), 3, 'text/plain', x'00000000000000000000000000000031');
    INSERT INTO uploads (id, file, name, created_at) VALUES
        (x'00000000000000000000000000000034', last_insert_rowid(), 'notes.txt', 1000);
    INSERT INTO upload_usage (owner, bytes, files) VALUES (4, 3, 1);
    ",
    "INSERT INTO pins (message, conversation) VALUES (5, 2);",
    "",
    "INSERT INTO digests (member, is_on, language, written_at) VALUES (1, 1, 'ar', 7);",
    "UPDATE memberships SET muted = 1, muted_until = 5, pinned = 1, marked_unread = 1, archived_n = 1, hidden_n = 1 WHERE key = 1;",
    "UPDATE digests SET seen_at = 8 WHERE member = 1;",
    "",
    "INSERT INTO duty (only_row, node, until) VALUES (1, 'a', 1);",
    "",
    "",
    "
    INSERT INTO members (id, email, hash, verified, active, created_at, bot) VALUES
        (x'00000000000000000000000000000009', 'bot 9', '', 1, 1, 1000, 1);
    INSERT INTO profiles (id, member, display_name, nick_name, is_private, presence, created_at) VALUES
        (x'00000000000000000000000000000019', (SELECT key FROM members WHERE bot), 'Disk', 'disk', 0, 1, 1000);
    INSERT INTO sessions
        (id, member, access_uuid, refresh_uuid, user_agent, address, issued, access_expire, refresh_expire,
         access_until, created_at, last_seen_at)
        VALUES (x'00000000000000000000000000000071', (SELECT key FROM members WHERE bot), zeroblob(16), zeroblob(16),
         'first', '', 1, 1, 253402300799, 1, 1000, 1000);
    INSERT INTO bot_tokens (session, hash, conversation) VALUES (last_insert_rowid(), zeroblob(32), NULL);
    ",
    "INSERT INTO bot_hooks (member, id, url, secret, epoch, through, failures, retry_at, created_at) VALUES
        ((SELECT key FROM members WHERE bot), x'00000000000000000000000000000081', 'https://a', zeroblob(32), 'kept', 1, 0, 0, 1);",
    "",
    "UPDATE conversations SET messages_kept = 30 WHERE kind = 1;",
    "INSERT INTO second_factors VALUES (1, 'sealed', 7); INSERT INTO recovery_codes VALUES (1, zeroblob(32));",
    "
    INSERT INTO audit (at, who, act, whom, detail) VALUES (1, NULL, 'member.add', zeroblob(16), '');
    INSERT INTO reports (id, at, reporter, person, message, body, files, posted_at, reason)
        VALUES (zeroblob(16), 1, 1, 2, zeroblob(16), 'text', '', 1, 'spam');
    INSERT INTO reset_links (member, hash, expires_at) VALUES (1, zeroblob(32), 1);
    ",
    "",
    #[cfg(feature = "next-level")]
    "",
];

/// A file as natter of this version would have left it.
fn of_version(version: usize, name: &str) -> (StoreOptions, Connection) {
    let options = options(&format!("{name}-{version}"));
    let conn = Connection::open(&options.path).expect("an old database");
    // Migrations run in the same way as natter runs them: a table that others refer to may be rebuilt.
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x6e617474; PRAGMA foreign_keys = OFF",
    )
    .expect("its header");
    for (step, content) in RELEASED.iter().zip(CONTENT).take(version) {
        conn.execute_batch(step).expect("its schema");
        conn.execute_batch(content).expect("its content");
    }
    conn.pragma_update(None, "user_version", version as i64).expect("its version");
    (options, conn)
}

#[test]
fn every_released_version_opens_today() {
    assert_eq!(VERSION, RELEASED.len() as i64, "a new step needs its row here");
    for version in 1..=RELEASED.len() {
        let (options, conn) = of_version(version, "migrate");
        drop(conn);
        let mut kit = Kit::with(options);
        let head = if version >= 4 { 11 } else { 3 };
        assert_eq!((kit.start.epoch.as_str(), kit.start.head), ("kept", head), "from version {version}");
        let find = FindCredential { email: "ann@example.org".to_owned(), device: None };
        let ann = kit.read(find).expect("a look-up").expect("ann");
        let conversation = Id::from_u128(0x21);
        let list = ListMessages {
            pinned: false,
            viewer: ann.profile,
            conversation,
            at: PagePoint::Newest,
            limit: 9,
        };
        let page = kit.read(list).expect("a page");
        let texts: Vec<_> = page.messages.iter().map(|message| message.body.as_deref()).collect();
        assert_eq!(texts, [Some("first"), Some("second")], "from version {version}");
        let next = kit.say(ann.profile, Destination::Conversation(conversation), "third");
        assert_eq!((next.n, next.seq), (3, head + 1), "from version {version}");
        let blocks = 1 + i64::from(version >= 3);
        assert_eq!(kit.sql_number("SELECT count(*) FROM blocks"), blocks, "from version {version}");
        let marked = kit.write(MarkRead { at: UnixMs(0), reader: ann.profile, conversation, n: 2 }).0;
        assert_eq!(
            marked,
            Ok(Box::new(Marked { read_n: 3, unread: 0, mentions: UnreadMentions::default() }))
        );
        a_client_id_has_one_message_of_its_sender(&mut kit, ann.profile);
        if version >= 4 {
            the_group_is_as_it_was(&mut kit, ann.profile, version);
            an_unfinished_erasure_is_continued(&mut kit, ann.profile);
        }
        // The rows that versions 7 to 10 kept for the index are removed step by step.
        while kit.store().sweep_search(0).expect("a sweep") {}
        let retired =
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'search%' AND name <> 'search_changes'";
        assert_eq!(kit.sql_number(retired), 0);
        let counted =
            "SELECT count(*) - (SELECT ifnull(sum(count), 0) FROM tombstone_blocks) FROM tombstones";
        assert_eq!(kit.sql_number(counted), 0, "from version {version}");
        check(&kit.options, Access::Exclusive).expect("a sound database");
        assert_eq!(kit.sql_number("PRAGMA user_version"), VERSION);
    }
}

#[test]
fn the_database_before_an_upgrade_is_kept_once_and_can_be_opened() {
    let kept = |options: &StoreOptions| {
        let folder = options.path.parent().expect("a folder");
        let names =
            std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.into_string().expect("a name"));
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("search")).collect();
        names.retain(|name| {
            !["natter.db", "natter.db-wal", "natter.db-shm", "reserve"].contains(&name.as_str())
        });
        names
    };
    let open = |options: &StoreOptions, now_ms| {
        drop(Store::open(options, &mut Seeded(7), UnixMs(now_ms)).expect("an upgrade"));
    };
    // A new database has nothing to keep, and one without room is upgraded without a copy.
    let new = StoreOptions { free_bytes: Some(|_| Some(u64::MAX)), ..options("kept-new") };
    open(&new, 0);
    assert_eq!(kept(&new), [""; 0]);
    for (name, free_bytes) in [
        ("kept-none", None),
        ("kept-unknown", Some((|_| None) as FreeBytes)),
        ("kept-full", Some(|_| Some(64 << 20))),
    ] {
        let (old, conn) = of_version(12, name);
        drop(conn);
        let old = StoreOptions { free_bytes, ..old };
        open(&old, 0);
        assert_eq!(kept(&old), [""; 0], "{name}");
    }
    // What is only in the write-ahead log is in the copy.
    let (old, conn) = of_version(12, "kept");
    let old = StoreOptions { free_bytes: Some(|_| Some(u64::MAX)), ..old };
    let count = "SELECT count(*) FROM messages";
    let messages: i64 = conn.query_row(count, [], |row| row.get(0)).expect("a number");
    let folder = old.path.parent().expect("a folder");
    for stale in ["natter.db.schema-7", "natter.backup-upgrade"] {
        std::fs::write(folder.join(stale), "of an earlier upgrade").expect("a file");
    }
    conn.execute("UPDATE state SET epoch = 'before', running = 0", []).expect("an epoch");
    open(&old, 0);
    let epoch = |conn: &Connection| {
        conn.query_row("SELECT epoch FROM state", [], |row| row.get::<_, String>(0)).expect("an epoch")
    };
    assert_eq!(epoch(&conn), "before");
    drop(conn);
    assert_eq!(kept(&old), ["natter.db.schema-12"]);
    let copy = folder.join("natter.db.schema-12");
    let made = std::fs::metadata(&copy).expect("the copy");
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    let conn = Connection::open(&copy).expect("the copy");
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    assert_eq!((number("PRAGMA user_version"), number(count)), (12, messages));
    // No cursor of the history that goes on fits in the copy.
    assert_eq!(epoch(&conn), "");
    drop(conn);
    // A start without an upgrade keeps it for a month.
    let made_ms = made.mtime() as u64 * 1_000;
    open(&old, made_ms + 30 * 86_400_000);
    assert_eq!(kept(&old), ["natter.db.schema-12"]);
    open(&old, made_ms + 30 * 86_400_000 + 1_000);
    assert_eq!(kept(&old), [""; 0]);
}

fn a_client_id_has_one_message_of_its_sender(kit: &mut Kit, ann: ProfileId) {
    let bob = Id::from_u128(0x12);
    for (sender, to, expect) in [(ann, bob, Some(1)), (bob, ann, None), (bob, ann, Some(4))] {
        let mut post = kit.post(sender, Destination::To(to), "under 1");
        post.draft_mut().client_id = Id::from_u128(1);
        let posted = kit.write(post).0.expect("a post");
        assert_eq!(posted.duplicate, expect.is_some());
        assert_eq!(complete(posted).n, expect.unwrap_or(4));
    }
    let again = "INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low) \
         SELECT 1000, 0, 1, 1000, sender, client_high, client_low FROM messages WHERE seq = 1";
    let conn = Connection::open(&kit.options.path).expect("a connection");
    let error = conn.execute(again, []).expect_err("the schema's own rule").to_string();
    assert!(error.contains("UNIQUE") && error.contains("client_high"), "{error}");
}

#[test]
fn client_ids_became_integers_without_changing() {
    let (options, conn) = of_version(9, "client-ids");
    let ids = [
        0,
        u128::MAX,
        1 << 127,
        (1 << 127) - 1,
        1 << 63,
        (1 << 63) - 1,
        u128::from(u64::MAX),
        u128::MAX << 64,
        (1 << 95) | (1 << 31),
        0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
    ]
    .map(Id::from_u128);
    // The same client_ids of two senders, alternating.
    let people = [(1, Id::from_u128(0x11)), (2, Id::from_u128(0x12))];
    let mut kept: Vec<_> =
        [(Id::from_u128(0x11), Id::from_u128(1)), (Id::from_u128(0x12), Id::from_u128(2))].into();
    for client_id in ids {
        for (key, sender) in people {
            kept.push((sender, client_id));
            let n = kept.len() as i64;
            conn.execute(
                "INSERT INTO messages (seq, id_high, conversation, n, sender, client_id, body) \
                 VALUES (?1, 65536000, 1, ?2, ?3, ?4, 'kept')",
                (100 + n, n, key, client_id.to_bytes()),
            )
            .expect("a message");
        }
    }
    conn.execute(
        "UPDATE conversations SET last_n = ?1, last_seq = 100 + ?1 WHERE key = 1",
        [kept.len() as i64],
    )
    .expect("its conversation");
    drop(conn);

    let mut kit = Kit::with(options);
    assert_eq!(kit.start.head, 100 + kept.len() as u64);
    let destination = Destination::Conversation(Id::from_u128(0x21));
    for _ in 0..2 {
        let list = ListMessages {
            pinned: false,
            viewer: Id::from_u128(0x11),
            conversation: Id::from_u128(0x21),
            at: PagePoint::After(0),
            limit: 99,
        };
        let messages = kit.read(list).expect("a page").messages;
        let found: Vec<_> =
            messages.iter().map(|message| (message.sender.expect("a sender"), message.client_id)).collect();
        assert_eq!(found, kept);
        for message in messages {
            let (sender, client_id) = (message.sender.expect("a sender"), message.client_id);
            let mut again = kit.post(sender, destination, "again");
            again.draft_mut().client_id = client_id;
            let answer = kit.write(again).0.expect("an answer");
            assert!(answer.duplicate, "{client_id}");
            assert_eq!(complete(answer).id, message.id);
        }
        // Messages that are posted today are stored in the same way.
        let neighbours = [(1 << 127) + 1, (1 << 63) + 1, 1 << 64, u128::MAX - 1].map(Id::from_u128);
        for client_id in neighbours {
            let mut post = kit.post(Id::from_u128(0x11), destination, "new");
            post.draft_mut().client_id = client_id;
            let repeated = kept.contains(&(Id::from_u128(0x11), client_id));
            assert_eq!(kit.write(post).0.expect("a post").duplicate, repeated, "{client_id}");
            if !repeated {
                kept.push((Id::from_u128(0x11), client_id));
            }
        }
    }
    check(&kit.options, Access::Exclusive).expect("a sound database");
}

fn the_group_is_as_it_was(kit: &mut Kit, ann: ProfileId, version: usize) {
    let list = ListMessages {
        pinned: false,
        viewer: ann,
        conversation: Id::from_u128(0x22),
        at: PagePoint::Newest,
        limit: 9,
    };
    let messages = kit.read(list).expect("a page").messages;
    let texts: Vec<_> = messages.iter().map(|message| message.body.as_deref()).collect();
    let expect = ["of cat", "an answer", "edited", "", "to be erased", "kept, of nobody"];
    assert_eq!(
        texts,
        expect.map(|text| Some(text).filter(|text| !text.is_empty())),
        "from version {version}"
    );
    assert_eq!(kit.sql_number("SELECT count(*) FROM mentions"), if version >= 15 { 2 } else { 0 });
    assert_eq!(messages[1].reply_to, Some(messages[0].id));
    let shown: Vec<_> = messages[1].attachments.iter().map(|shown| shown.name.as_str()).collect();
    assert_eq!(shown, if version >= 6 { vec!["notes.txt"] } else { vec![] });
    assert_eq!((messages[2].edited_at, messages[2].rev), (Some(UnixMs(7)), 10));
    assert_eq!((messages[3].deleted_at, messages[3].rev), (Some(UnixMs(8)), 11));
    let list = ListMessages {
        pinned: false,
        viewer: ann,
        conversation: Id::from_u128(0x21),
        at: PagePoint::After(0),
        limit: 1,
    };
    let first = kit.read(list).expect("a page").messages.remove(0);
    let reactions: Vec<_> = first.reactions.iter().map(|of| (of.emoji.as_str(), of.count)).collect();
    assert_eq!((first.rev, reactions), (3, vec![("+1", 1)]));
    // Those of cat and of the member whose messages are being erased; not of the member whose messages are kept.
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 2);
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures WHERE profile = 3 AND conversation = 2"), 1);
}

fn an_unfinished_erasure_is_continued(kit: &mut Kit, ann: ProfileId) {
    let (erased, events) = kit.write(EraseMessages { at: UnixMs(9) });
    assert_eq!((erased, events.len()), (Ok(Erased::All), 1), "a tombstone is not erased again");
    let list = ListMessages {
        pinned: false,
        viewer: ann,
        conversation: Id::from_u128(0x22),
        at: PagePoint::After(3),
        limit: 9,
    };
    let messages = kit.read(list).expect("a page").messages;
    let texts: Vec<_> = messages.iter().map(|message| message.body.as_deref()).collect();
    assert_eq!(texts, [None, None, Some("kept, of nobody")]);
    assert_eq!((messages[0].deleted_at, messages[1].deleted_at), (Some(UnixMs(8)), Some(UnixMs(9))));
    assert_eq!(kit.sql_number("SELECT count(*) FROM erasures"), 0);
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 1);
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let options = options("migrate-fails");
    let conn = Connection::open(&options.path).expect("a database");
    // Half of the first schema exists already, which no natter ever leaves.
    conn.execute_batch("PRAGMA application_id = 0x6e617474; CREATE TABLE log (seq INTEGER)")
        .expect("a table");
    drop(conn);
    for _ in 0..2 {
        let fault = crate::store_kit::open(&options).err().expect("the step fails");
        assert!(fault.to_string().contains("can't be opened"), "{fault}");
    }
    let conn = Connection::open(&options.path).expect("a database");
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))
        .expect("a count");
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    assert_eq!((tables, version), (1, 0));
}
