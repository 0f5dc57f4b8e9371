//! The messages of one sender, found without an index of senders.
//!
//! They are found in each conversation that the sender was ever in, in bounded steps, each message once.

use natter::base::crypto::HmacKey;
use natter::base::json;
use natter::limits::SENDER_SCAN;
use natter::model::conversation::{CreateConversation, PutMember, RemoveMember};
use natter::model::event::{Event, Fact, Role};
use natter::model::export::{ExportAccount, ExportCursor, MessageCursor};
use natter::model::id::ConversationId;
use natter::model::member::{DeleteAccount, EraseMessages, Erased, Leftovers};
use natter::model::message::{Destination, ListMessages, PagePoint};
use natter::model::settings::UrlSigner;

use crate::storage::{Room, key_of, room};
use crate::store_kit::{Kit, Person};

/// The bodies of the member's own messages as an export has them, page by page.
fn exported(kit: &mut Kit, person: Person) -> Vec<Vec<String>> {
    let mut cursor = ExportCursor::Messages(MessageCursor::default());
    let mut pages = Vec::new();
    while let ExportCursor::Messages(_) = &cursor {
        let urls = UrlSigner::new(HmacKey::new(&[7; 32]), String::new());
        let export = ExportAccount {
            member: person.member,
            profile: person.profile,
            cursor: cursor.clone(),
            urls,
            unix_s: kit.now_ms.s(),
        };
        let page = kit.read(export).expect("a page");
        let next = page.next.expect("reactions follow");
        assert_ne!(next, cursor, "each page begins at another position");
        let lines = String::from_utf8(page.lines).expect("UTF-8");
        let body = |line: &str| {
            let line = json::parse(line.as_bytes()).expect("a line of JSON");
            let data = line.get("data").expect("data");
            let text = data.get("body").and_then(|body| body.as_str()).map(str::to_owned);
            assert!(text.is_some() || data.get("kind").is_some(), "a text, or a system message");
            text
        };
        pages.push(lines.lines().filter_map(body).collect());
        cursor = next;
    }
    pages
}

/// Deletes the account and erases its messages to the end; returns the events of each step.
fn erased(kit: &mut Kit, person: Person) -> Vec<Vec<Event>> {
    let (at, member) = (kit.now_ms, person.member);
    kit.write(DeleteAccount { at, member, proven: None, by: None, leftovers: Leftovers::Erase })
        .0
        .expect("deleted");
    let mut steps = Vec::new();
    loop {
        let (more, events) = kit.write(EraseMessages { at });
        steps.push(events);
        if more.expect("a step") == Erased::All {
            return steps;
        }
    }
}

fn texts(kit: &mut Kit, viewer: Person, conversation: ConversationId) -> Vec<Option<String>> {
    let list = ListMessages {
        pinned: false,
        viewer: viewer.profile,
        conversation,
        at: PagePoint::Newest,
        limit: 50,
    };
    let messages = kit.read(list).expect("a page").messages;
    messages.into_iter().filter(|message| message.system.is_none()).map(|message| message.body).collect()
}

fn group(kit: &mut Kit, maker: Person, others: &[Person]) -> ConversationId {
    let id = kit.id();
    let create = CreateConversation {
        at: kit.now_ms,
        creator: maker.profile,
        client_id: None,
        id,
        title: "group".to_owned(),
        members: others.iter().map(|person| person.profile).collect(),
        members_max: 9,
    };
    kit.write(create).0.expect("a group");
    id
}

fn remove(kit: &mut Kit, actor: Person, conversation: ConversationId, person: Person) {
    let remove = RemoveMember { at: kit.now_ms, actor: actor.profile, conversation, profile: person.profile };
    kit.write(remove).0.expect("one member less");
}

fn add(kit: &mut Kit, actor: Person, conversation: ConversationId, person: Person) {
    let put = PutMember {
        at: kit.now_ms,
        actor: actor.profile,
        conversation,
        profile: person.profile,
        role: Role::Member,
        members_max: 9,
    };
    kit.write(put).0.expect("one member more");
}

#[test]
fn many_messages_of_others_are_skipped_in_bounded_steps() {
    let Room { mut kit, ann, bob, first, .. } = room("scan");
    let of_bob = 2 * SENDER_SCAN + 500;
    kit.close();
    kit.sql(&format!(
        "WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < {of_bob}) \
         INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low, body) \
         SELECT 1000 + x, 65536000, 1, 1 + x, {bob}, x, x, 'of bob' FROM i; \
         UPDATE conversations SET last_n = 1 + {of_bob}, last_seq = 1000 + {of_bob} WHERE key = 1;",
        bob = key_of(bob)
    ));
    kit.reopen();
    let to = Destination::Conversation(first.conversation);
    let last = kit.say(ann.profile, to, "at last");
    assert_eq!(last.n, u64::from(of_bob) + 2);
    let pages = exported(&mut kit, ann);
    assert_eq!(pages, [vec!["hello".to_owned()], vec![], vec!["at last".to_owned()]]);

    let steps: Vec<Vec<u64>> = erased(&mut kit, ann)
        .iter()
        .map(|events| {
            let deleted = |event: &Event| match &event.fact {
                Fact::MessageDeleted(message) => message.n,
                other => panic!("{other:?}"),
            };
            events.iter().map(deleted).collect()
        })
        .collect();
    assert_eq!(steps, [vec![1], vec![], vec![last.n]]);
    assert_eq!(kit.sql_number("SELECT count(*) FROM messages WHERE deleted_at IS NOT NULL"), 2);
    assert_eq!(kit.sql_number("SELECT count(*) FROM erasures"), 0);
}

/// Left, removed, come back: each of the member's messages is found once.
#[test]
fn messages_from_before_a_member_left_are_found_once() {
    let Room { mut kit, ann, bob, cat, .. } = room("departed");
    let [left, removed, rejoined, silent] =
        [(); 4].map(|()| group(&mut kit, bob, &[ann, cat])).map(Destination::Conversation);
    let id = |destination| match destination {
        Destination::Conversation(id) => id,
        Destination::To(_) => unreachable!(),
    };
    for (destination, text) in [(left, "in left"), (removed, "in removed"), (rejoined, "in rejoined")] {
        kit.say(cat.profile, destination, "of cat");
        kit.say(ann.profile, destination, text);
    }
    for (group, by) in [(left, ann), (removed, bob), (rejoined, ann), (silent, ann)] {
        remove(&mut kit, by, id(group), ann);
    }
    for _ in 0..2 {
        add(&mut kit, bob, id(rejoined), ann);
        remove(&mut kit, bob, id(rejoined), ann);
    }
    add(&mut kit, bob, id(rejoined), ann);
    kit.say(ann.profile, rejoined, "again in rejoined");
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 4);
    let expect = ["hello", "in left", "in removed", "in rejoined", "again in rejoined"];
    assert_eq!(exported(&mut kit, ann).concat(), expect);
    assert_eq!(exported(&mut kit, bob).concat(), Vec::<String>::new());

    // A deleted member leaves every group, and its messages are erased in all of them.
    assert_eq!(erased(&mut kit, ann).concat().len(), expect.len());
    assert_eq!(texts(&mut kit, bob, id(left)), [Some("of cat".to_owned()), None]);
    assert_eq!(texts(&mut kit, bob, id(removed)), [Some("of cat".to_owned()), None]);
    assert_eq!(texts(&mut kit, bob, id(rejoined)), [Some("of cat".to_owned()), None, None]);
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 0, "the entries are no longer needed");

    // With `keep` no record of former memberships stays.
    remove(&mut kit, cat, id(left), cat);
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 1);
    let (at, member) = (kit.now_ms, cat.member);
    kit.write(DeleteAccount { at, member, proven: None, by: None, leftovers: Leftovers::Keep })
        .0
        .expect("deleted");
    assert_eq!(kit.sql_number("SELECT count(*) FROM departures"), 0);
    assert_eq!(texts(&mut kit, bob, id(removed))[0].as_deref(), Some("of cat"));
}
