//! The search index next to the database.
//!
//! It follows the log, is rebuilt if it can't be used, and removes erased texts. A search finds the same with it,
//! without it and with a part of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use natter::base::time::UnixMs;
use natter::model::conversation::CreateConversation;
use natter::model::id::ConversationId;
use natter::model::message::{DeleteMessage, Destination, EditMessage, FoundMessages, Message};
use natter::store::Index;

use super::{Room, find, room};
use crate::store_kit::Kit;

fn file(kit: &Kit) -> PathBuf {
    kit.options.path.with_file_name("search.db")
}

fn holds(kit: &Kit, word: &str) -> bool {
    ["", "-wal"].iter().any(|suffix| {
        let mut path = file(kit).into_os_string();
        path.push(suffix);
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    })
}

/// Runs every step that is due at this time; returns the number of changes that were made.
fn follow(index: &mut Index, now: Instant) -> u64 {
    loop {
        let step = index.step(now).expect("a step");
        if !step.more {
            return step.done;
        }
    }
}

fn bodies(found: &FoundMessages) -> Vec<&str> {
    found.messages.iter().map(|message| message.body.as_deref().unwrap_or_default()).collect()
}

/// Ann posts this many messages in her conversation with Bob.
fn post_numbered(room: &mut Room, count: usize) -> Vec<Message> {
    let to = Destination::Conversation(room.first.conversation);
    (0..count).map(|i| room.kit.say(room.ann.profile, to, &format!("number{i} talk"))).collect()
}

#[test]
fn a_search_finds_the_same_with_all_of_an_index_with_half_and_with_none() {
    let mut room = room("index-halves");
    let sent = post_numbered(&mut room, 70);
    let mut index = Index::open(&room.kit.options).expect("an index");
    let newest_first: Vec<String> = (0..70).rev().map(|i| format!("number{i} talk")).collect();
    for round in 0..3 {
        let found = find(&mut room.kit, room.ann.profile, "talk numb", None);
        assert!(found.complete && found.next.is_some(), "{round}");
        assert_eq!(bodies(&found), newest_first[..50], "{round}");
        let rest = find(&mut room.kit, room.bob.profile, "NUMB", found.next);
        assert_eq!((bodies(&rest), rest.next), (newest_first[50..].iter().map(|s| &**s).collect(), None));
        assert_eq!(bodies(&find(&mut room.kit, room.ann.profile, "number17", None)), ["number17 talk"]);
        assert!(bodies(&find(&mut room.kit, room.cat.profile, "number17", None)).is_empty());
        // From no index to a partial one, since the conversation continues after it.
        follow(&mut index, Instant::now());
        if round == 1 {
            let edit = EditMessage {
                at: UnixMs(1),
                actor: room.ann.profile,
                message: sent[0].id,
                body: "number0 talk".to_owned(),
            };
            room.kit.write(edit).0.expect("an edit");
        }
    }
}

#[test]
fn an_erased_text_is_removed_from_the_index_and_then_its_row_also_after_a_crash() {
    let mut room = room("index-erased");
    let to = Destination::Conversation(room.first.conversation);
    let secrets: Vec<Message> =
        (0..3).map(|i| room.kit.say(room.ann.profile, to, &format!("secretword{i}"))).collect();
    post_numbered(&mut room, 70);
    let now = Instant::now();
    let rows = |kit: &Kit| kit.sql_number("SELECT count(*) FROM search_changes");
    let mut index = Index::open(&room.kit.options).expect("an index");
    assert_eq!(follow(&mut index, now), 0);
    // The complete word is in the dictionary of a block, even if it shares a prefix with others.
    assert!(holds(&room.kit, "secretword0"));

    let delete = |room: &mut Room, at: usize| {
        let delete = DeleteMessage { at: UnixMs(2), actor: room.ann.profile, message: secrets[at].id };
        room.kit.write(delete).0.expect("a deletion");
    };
    delete(&mut room, 0);
    let done = follow(&mut index, now);
    assert!(done > 0 && rows(&room.kit) == 1, "done, and its row is still stored");
    while room.kit.store().sweep_search(done).expect("a sweep") {}
    assert_eq!(rows(&room.kit), 0);
    assert!(!holds(&room.kit, "secretword0"));

    // The next one shares its checkpoint with all that follow within ten seconds; the process ends before.
    delete(&mut room, 1);
    let step = index.step(now + Duration::from_secs(1)).expect("a step");
    assert!(step.waits && step.done == done);
    assert!(holds(&room.kit, "secretword1"), "still in the log");
    drop(index);
    delete(&mut room, 2);
    let mut index = Index::open(&room.kit.options).expect("an index");
    let done = follow(&mut index, now + Duration::from_secs(2));
    while room.kit.store().sweep_search(done).expect("a sweep") {}
    assert_eq!(rows(&room.kit), 0);
    assert!(!holds(&room.kit, "secretword"));
    assert_eq!(bodies(&find(&mut room.kit, room.ann.profile, "number42", None)), ["number42 talk"]);
}

#[test]
fn an_unusable_index_is_rebuilt_and_searches_continue() {
    type Spoil = fn(&Kit);
    let spoils: [(&str, Spoil); 6] = [
        ("missing", |kit| std::fs::remove_file(file(kit)).expect("removed")),
        ("no database", |kit| std::fs::write(file(kit), "nonsense ".repeat(999)).expect("written")),
        ("empty", |kit| std::fs::write(file(kit), "").expect("written")),
        ("of another format", |kit| spoil(kit, "PRAGMA user_version = 99")),
        ("of another history", |kit| spoil(kit, "UPDATE state SET epoch = 'other'")),
        ("ahead of the database", |kit| spoil(kit, "UPDATE state SET through = 100000")),
    ];
    fn spoil(kit: &Kit, sql: &str) {
        let conn = rusqlite::Connection::open(file(kit)).expect("the index");
        conn.execute_batch(sql).expect(sql);
    }
    let mut room = room("index-spoilt");
    post_numbered(&mut room, 40);
    for (what, spoil) in spoils {
        let mut index = Index::open(&room.kit.options).expect("an index");
        follow(&mut index, Instant::now());
        drop(index);
        room.kit.close();
        spoil(&room.kit);
        room.kit.reopen();
        for _ in 0..2 {
            let found = find(&mut room.kit, room.ann.profile, "number7", None);
            assert_eq!((bodies(&found), found.complete), (vec!["number7 talk"], true), "{what}");
            let mut index = Index::open(&room.kit.options).expect("an index");
            follow(&mut index, Instant::now());
            let blocks = rusqlite::Connection::open(file(&room.kit)).expect("the index");
            let blocks: i64 =
                blocks.query_row("SELECT count(*) FROM blocks", [], |row| row.get(0)).expect("a count");
            assert_eq!(blocks, 2, "{what}");
        }
    }
    // Damage that the check at the start does not find: the block is lost with its file.
    let mut index = Index::open(&room.kit.options).expect("an index");
    follow(&mut index, Instant::now());
    spoil(&room.kit, "UPDATE blocks SET data = x'ff'");
    let found = find(&mut room.kit, room.ann.profile, "number7", None);
    assert_eq!(bodies(&found), ["number7 talk"], "without the index");
    let edit = EditMessage {
        at: UnixMs(1),
        actor: room.ann.profile,
        message: found.messages[0].id,
        body: "number7 talks".to_owned(),
    };
    room.kit.write(edit).0.expect("an edit");
    assert!(index.step(Instant::now()).is_err());
    follow(&mut index, Instant::now());
    assert_eq!(bodies(&find(&mut room.kit, room.ann.profile, "number7", None)), ["number7 talks"]);
    // If it can't be rebuilt, the server works without an index.
    drop(index);
    std::fs::remove_file(file(&room.kit)).expect("removed");
    std::fs::create_dir(file(&room.kit)).expect("a folder of that name");
    let mut index = Index::open(&room.kit.options).expect("a start");
    assert!(index.step(Instant::now()).is_err());
    assert_eq!(bodies(&find(&mut room.kit, room.ann.profile, "number7", None)), ["number7 talks"]);
}

/// Without an index: more texts than one search reads, and more than it reads of one conversation.
#[test]
fn a_long_search_continues_by_next_and_reports_what_it_skipped() {
    let mut kit = Kit::new("index-long");
    let ann = kit.person("ann");
    let groups: Vec<ConversationId> = (0..5)
        .map(|i| {
            let create = CreateConversation {
                at: UnixMs(1),
                creator: ann.profile,
                client_id: None,
                id: kit.id(),
                title: format!("group {i}"),
                members: vec![],
                members_max: 9,
            };
            kit.write(create).0.expect("a group").conversation.id
        })
        .collect();
    let mut say = |group: usize, text: &str, count: usize| {
        let posts = (0..count)
            .map(|_| (1, kit.post(ann.profile, Destination::Conversation(groups[group]), text).into()))
            .collect();
        assert_eq!(kit.commit(posts).fault, None);
    };
    say(0, "a needle passed over", 1);
    (0..5).for_each(|group| {
        say(group, "some hay", 1_000);
        say(group, if group == 0 { "a needle" } else { "more hay" }, 1);
        say(group, "some hay", 1_100);
    });
    let (mut before, mut pages, mut all, mut complete) = (None, 0, Vec::new(), true);
    loop {
        let found = find(&mut kit, ann.profile, "needle", before);
        assert!(found.next.is_none_or(|next| before.is_none_or(|before| next < before)), "it makes progress");
        pages += 1;
        complete &= found.complete;
        all.extend(bodies(&found).into_iter().map(str::to_owned));
        before = found.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((all, complete), (vec!["a needle".to_owned()], false));
    assert!(pages > 1, "the first page was empty and not the last");
    // As long as the index can't be made, each search reports it.
    std::fs::create_dir(file(&kit)).expect("a folder of that name");
    let mut index = Index::open(&kit.options).expect("a start all the same");
    for _ in 0..2 {
        assert!(index.step(Instant::now()).is_err());
        let found = find(&mut kit, ann.profile, "over", None);
        assert_eq!((bodies(&found).len(), found.complete), (0, false));
    }
    std::fs::remove_dir(file(&kit)).expect("removed");
    drop(index);
    let mut index = Index::open(&kit.options).expect("an index");
    follow(&mut index, Instant::now());
    let found = find(&mut kit, ann.profile, "needle", None);
    assert_eq!(
        (bodies(&found), found.next, found.complete),
        (vec!["a needle", "a needle passed over"], None, true)
    );
}
