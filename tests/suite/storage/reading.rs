//! Reading: pages, read marks and lists, as one viewer sees them.

use natter::base::id::Id;
use natter::base::time::UnixMs;
use natter::model::conversation::{
    ConversationCursor, ConversationType, ListChats, ListConversations, MarkRead, Marked, UnreadMentions,
};
use natter::model::event::Fact;
use natter::model::id::{ConversationId, ProfileId};
use natter::model::message::{
    DeleteMessage, Destination, ListMessages, OpenLegacySocket, PagePoint, PostMessage,
};
use natter::model::operation::Refusal;

use crate::storage::{Room, key_of, make_group, room};
use crate::store_kit::{Kit, Person};

fn list(viewer: Person, conversation: ConversationId, at: PagePoint, limit: u32) -> ListMessages {
    ListMessages { pinned: false, viewer: viewer.profile, conversation, at, limit }
}

#[test]
fn pages_begin_at_either_end() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("pages");
    for i in 2..=10 {
        kit.say(ann.profile, Destination::To(bob.profile), &format!("message {i}"));
    }
    use PagePoint::{After, Before, Newest};
    let rows: &[(PagePoint, u32, std::ops::Range<u64>, Option<PagePoint>)] = &[
        (Newest, 3, 8..11, Some(Before(8))),
        (Newest, 10, 1..11, None),
        (Before(8), 3, 5..8, Some(Before(5))),
        (Before(3), 9, 1..3, None),
        (Before(1), 9, 1..1, None),
        (Before(0), 9, 1..1, None),
        (Before(u64::MAX), 2, 9..11, Some(Before(9))),
        (After(0), 4, 1..5, Some(After(4))),
        (After(4), 200, 5..11, None),
        (After(4), 6, 5..11, None),
        (After(10), 5, 1..1, None),
        (After(u64::MAX), 5, 1..1, None),
    ];
    for (at, limit, expect, next) in rows {
        let page = kit.read(list(bob, first.conversation, *at, *limit)).expect("a page");
        let ns: Vec<u64> = page.messages.iter().map(|message| message.n).collect();
        assert_eq!((ns, page.next), (expect.clone().collect(), *next), "{at:?} {limit}");
    }
    for (viewer, conversation) in [(cat, first.conversation), (ann, Id::from_u128(5))] {
        assert_eq!(kit.read(list(viewer, conversation, Newest, 5)).err(), Some(Refusal::NotFound));
    }

    // A page also ends at 256 KiB, and no message is lost.
    let long = "é\"\n".repeat(1_333);
    for _ in 0..60 {
        kit.say(bob.profile, Destination::To(ann.profile), &long);
    }
    for (start, step) in [(Newest, -1), (After(0), 1)] {
        let (mut at, mut seen) = (Some(start), Vec::new());
        while let Some(point) = at {
            let page = kit.read(list(ann, first.conversation, point, 200)).expect("a page");
            let bytes = natter::base::json::to_vec(&page.messages).len();
            assert!(bytes <= 262_144 && page.messages.len() < 60, "{bytes} bytes");
            let ns: Vec<u64> = page.messages.iter().map(|message| message.n).collect();
            assert!(ns.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            seen.extend(ns);
            at = page.next;
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=70).collect::<Vec<u64>>(), "step {step}");
    }
}

fn mark(kit: &Kit, reader: Person, conversation: ConversationId, n: u64) -> MarkRead {
    MarkRead { at: kit.now_ms, reader: reader.profile, conversation, n }
}

#[test]
fn a_read_mark_moves_forward_only_and_causes_one_event() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("marks");
    let pair = first.conversation;
    for _ in 0..4 {
        kit.say(ann.profile, Destination::To(bob.profile), "x");
    }
    // The requested n, read_n and unread afterwards, and whether an event is written.
    let rows = [
        (3, 3, 2, true),
        (3, 3, 2, false),
        (1, 3, 2, false),
        (0, 3, 2, false),
        (u64::MAX, 5, 0, true),
        (9, 5, 0, false),
    ];
    for (n, read_n, unread, moves) in rows {
        let command = mark(&kit, bob, pair, n);
        let (answer, events) = kit.write(command);
        assert_eq!(
            answer,
            Ok(Box::new(Marked { read_n, unread, mentions: UnreadMentions::default() })),
            "{n}"
        );
        assert_eq!(events.len(), usize::from(moves), "{n}");
        for event in events {
            let Fact::ConversationRead(mark) = &event.fact else { panic!("{event:?}") };
            assert_eq!((mark.conversation, mark.profile, mark.read_n), (pair, bob.profile, read_n));
            assert!(event.audience.direct && event.audience.profiles.contains(&ann.profile));
        }
    }
    for (reader, conversation) in [(cat, pair), (bob, Id::from_u128(9))] {
        let command = mark(&kit, reader, conversation, 1);
        assert_eq!(kit.write(command).0.err(), Some(Refusal::NotFound));
    }
    // A post moves the sender's own read mark without a separate event.
    kit.say(ann.profile, Destination::To(bob.profile), "unread");
    let post = kit.post(bob.profile, Destination::To(ann.profile), "answer");
    assert_eq!(kit.write(post).1.len(), 1);
    let command = mark(&kit, bob, pair, 0);
    assert_eq!(
        kit.write(command).0,
        Ok(Box::new(Marked { read_n: 7, unread: 0, mentions: UnreadMentions::default() }))
    );
    let command = mark(&kit, ann, pair, 0);
    assert_eq!(
        kit.write(command).0,
        Ok(Box::new(Marked { read_n: 6, unread: 1, mentions: UnreadMentions::default() }))
    );
    // In a group, and between members who hide presence or have a block, only the reader's own devices get the event.
    let group = make_group(&mut kit, &[ann, bob, cat], 0, 20);
    kit.say(ann.profile, Destination::Conversation(group), "all");
    let command = mark(&kit, bob, group, 1);
    let events = kit.write(command).1;
    assert_eq!((&*events[0].audience.profiles, events[0].audience.direct), (&[bob.profile][..], false));
    for sql in [
        format!("INSERT INTO blocks (blocker, blocked) VALUES ({}, {})", key_of(ann), key_of(bob)),
        "DELETE FROM blocks; UPDATE profiles SET presence = 0 WHERE nick_name = 'ann'".to_owned(),
        "UPDATE profiles SET presence = 1; UPDATE profiles SET is_private = 1 WHERE nick_name = 'bob'"
            .to_owned(),
    ] {
        kit.say(bob.profile, Destination::Conversation(pair), "seen?");
        kit.close();
        kit.sql(&sql);
        kit.reopen();
        let command = mark(&kit, ann, pair, u64::MAX);
        let events = kit.write(command).1;
        assert_eq!(&*events[0].audience.profiles, &[ann.profile], "{sql}");
        kit.close();
        kit.sql("DELETE FROM blocks");
        kit.reopen();
    }
}

#[test]
fn conversations_are_listed_by_their_last_activity() {
    let Room { mut kit, ann, bob, cat, dan, first, .. } = room("list");
    let with_cat = kit.say(cat.profile, Destination::To(ann.profile), "from cat");
    let with_dan = kit.say(ann.profile, Destination::To(dan.profile), "to dan");
    kit.say(bob.profile, Destination::To(ann.profile), "newest");
    let ask =
        |after, limit| ListConversations { at: UnixMs(1), viewer: ann.profile, after, archived: None, limit };
    let page = kit.read(ask(None, 50)).expect("a page");
    let order: Vec<ConversationId> = page.conversations.iter().map(|conversation| conversation.id).collect();
    assert_eq!(order, [first.conversation, with_dan.conversation, with_cat.conversation]);
    assert_eq!((page.unread_total, page.as_of, page.next), (2, 5, None));
    let newest = &page.conversations[0];
    assert_eq!((newest.kind, newest.members_count, newest.own.muted), (ConversationType::Direct, 2, false));
    assert_eq!((newest.unread, newest.read_n, newest.last_n), (1, 1, 2));
    let peer = newest.peer.as_ref().expect("a peer");
    assert_eq!((peer.id, peer.member, peer.presence), (bob.profile, None, None));
    let last = newest.last_message.as_ref().expect("a last message");
    assert_eq!((last.body.as_deref(), last.sender), (Some("newest"), Some(bob.profile)));
    assert_eq!(page.conversations[1].unread, 0, "own messages are not unread");

    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = kit.read(ask(after, 1)).expect("a page");
        assert_eq!(page.unread_total, 2, "the total counts all conversations, not those of the page");
        seen.extend(page.conversations.iter().map(|conversation| conversation.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, order);
    let excess = kit.read(ask(Some(ConversationCursor { pinned: false, activity: 1 }), 5)).expect("a page");
    assert_eq!((excess.conversations.len(), excess.next), (0, None));
    assert_eq!(
        kit.read(ListConversations {
            at: UnixMs(1),
            viewer: Id::from_u128(3),
            after: None,
            archived: None,
            limit: 5
        })
        .err(),
        Some(Refusal::Unauthorized)
    );

    let group = make_group(&mut kit, &[ann, bob], 0, 9);
    let page = kit.read(ask(None, 50)).expect("a page");
    let shown = &page.conversations[0];
    assert_eq!(
        (shown.id, shown.kind, shown.title.as_deref()),
        (group, ConversationType::Group, Some("group"))
    );
    assert!(shown.peer.is_none() && shown.last_message.is_none());
    // Long last messages end a page early, and the next page continues there.
    let long = "x".repeat(150_000);
    kit.say(bob.profile, Destination::To(ann.profile), &long);
    kit.say(cat.profile, Destination::To(ann.profile), &long);
    let page = kit.read(ask(None, 50)).expect("a page");
    assert_eq!(page.conversations.len(), 2, "the group, and one of the long ones");
    let rest = kit.read(ask(page.next, 50)).expect("a page");
    assert_eq!((rest.conversations.len(), rest.next), (2, None));
}

fn textless(kit: &mut Kit, sender: Person, to: Person) -> PostMessage {
    let mut post = kit.post(sender.profile, Destination::To(to.profile), "");
    post.draft_mut().body = None;
    post
}

#[test]
fn a_legacy_socket_opens_with_the_newest_texts() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("pair");
    for i in 2..=5 {
        kit.say(ann.profile, Destination::To(bob.profile), &format!("{i}"));
    }
    let post = textless(&mut kit, bob, ann);
    kit.write(post).0.expect("a post");
    let open = |sender: Person, receiver: ProfileId, limit| OpenLegacySocket {
        sender: sender.profile,
        receiver,
        limit,
    };
    let pair = kit.read(open(bob, ann.profile, 3)).expect("a pair");
    let texts: Vec<_> =
        pair.messages.iter().map(|message| message.body.as_deref().expect("a text")).collect();
    assert_eq!(texts, ["3", "4", "5"]);
    assert_eq!((pair.conversation, pair.last_n, pair.as_of), (Some(first.conversation), 6, 7));
    let none_yet = kit.read(open(cat, ann.profile, 3)).expect("a pair");
    assert_eq!((none_yet.conversation, none_yet.last_n, none_yet.messages.len()), (None, 0, 0));
    for receiver in [Id::from_u128(5), bob.profile] {
        assert_eq!(kit.read(open(bob, receiver, 3)).err(), Some(Refusal::NotFound));
    }
    kit.close();
    kit.sql(&format!("INSERT INTO blocks (blocker, blocked) VALUES ({}, {})", key_of(ann), key_of(bob)));
    kit.reopen();
    for (one, other) in [(ann, bob), (bob, ann)] {
        assert_eq!(kit.read(open(one, other.profile, 3)).err(), Some(Refusal::NotFound));
    }
}

#[test]
fn the_chat_list_shows_the_last_text() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("chats");
    let with_cat = kit.say(cat.profile, Destination::To(ann.profile), "from cat");
    let post = textless(&mut kit, cat, ann);
    kit.write(post).0.expect("a post");
    let eve = kit.person("eve");
    let post = textless(&mut kit, eve, ann);
    kit.write(post).0.expect("a post");
    make_group(&mut kit, &[ann, bob], 0, 9);
    let chats = kit.read(ListChats { at: UnixMs(1), viewer: ann.profile, limit: 50 }).expect("the chats");
    let shown: Vec<_> = chats.chats.iter().map(|chat| (chat.message.as_str(), chat.is_read)).collect();
    assert_eq!(shown, [("", false), ("from cat", false), ("hello", true)]);
    assert_eq!((chats.chats[1].id, chats.chats[2].id), (with_cat.conversation, first.conversation));
    assert_eq!((chats.chats[2].sender, chats.chats[2].receiver[0].id), (ann.profile, bob.profile));
    assert_eq!(chats.unread_conversations, 2);
    assert_eq!(
        kit.read(ListChats { at: UnixMs(1), viewer: ann.profile, limit: 1 }).expect("the chats").chats.len(),
        1
    );
}

/// A member who deletes a million messages makes no read mark of the other one slow: tombstones are counted in blocks.
#[test]
fn deleted_messages_are_not_unread_wherever_the_read_mark_is() {
    let Room { mut kit, ann, bob, first, .. } = room("tombstones");
    let pair = first.conversation;
    let posted: Vec<_> =
        (0..2_100).map(|_| kit.say(ann.profile, Destination::To(bob.profile), "x")).collect();
    let deleted = |n: u64| n.is_multiple_of(3) || (1_020..=1_030).contains(&n);
    let mut last = 0;
    for message in &posted {
        last = message.n;
        if deleted(message.n) {
            let delete = DeleteMessage { actor: ann.profile, message: message.id, at: kit.now_ms };
            assert_eq!(kit.write(delete).0, Ok(()));
        }
    }
    // A message that was deleted before is counted once.
    let again = DeleteMessage { actor: ann.profile, message: posted[1].id, at: kit.now_ms };
    assert!(deleted(posted[1].n) && kit.write(again).0 == Ok(()));
    for read_n in [1, 2, 3, 1_019, 1_022, 1_023, 1_024, 1_025, 1_030, 2_047, 2_048, 2_049, last - 1, last] {
        let command = mark(&kit, bob, pair, read_n);
        let unread = (read_n + 1..=last).filter(|n| !deleted(*n)).count() as u64;
        assert_eq!(
            kit.write(command).0,
            Ok(Box::new(Marked { read_n, unread, mentions: UnreadMentions::default() }))
        );
    }
}
