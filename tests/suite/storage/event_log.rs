//! The log: a replay has the same events as live delivery, in order, each once, and no event that the profile may not
//! see.

use std::collections::BTreeMap;

use natter::base::crypto::Entropy;
use natter::base::id::Id;
use natter::base::time::UnixMs;
use natter::model::conversation::{ListConversations, MarkRead};
use natter::model::event::{Event, Fact, LogPage, ReadLog};
use natter::model::id::{ConversationId, ProfileId};
use natter::model::message::Destination;
use natter::model::operation::{Refusal, Write};
use natter::model::session::EndSession;

use crate::storage::sessions::refresh;
use crate::storage::{Room, key_of, make_group, room};
use crate::store_kit::{Kit, Person, Seeded};

/// All events after a cursor, a page at a time.
fn replay(kit: &mut Kit, profile: ProfileId, mut after: u64, limit: u32) -> Vec<(u64, Fact)> {
    let mut all = Vec::new();
    loop {
        let page =
            kit.read(ReadLog { profile, after, from_oldest: false, limit }).expect("a page of the log");
        let LogPage::Events { events, through, complete } = page else { panic!("{page:?}") };
        assert!(events.len() <= limit as usize);
        assert!(events.iter().all(|(seq, _)| *seq > after && *seq <= through), "{after} {through}");
        assert!(complete || (through > after && events.last().map(|last| last.0) == Some(through)));
        all.extend(events);
        after = through;
        if complete {
            return all;
        }
    }
}

/// An event without the values that may have changed since.
fn text_of(fact: &Fact) -> String {
    match fact {
        Fact::MessagePosted(message) => format!("posted {} {:?}", message.id, message.body),
        Fact::ConversationRead(mark) => format!("read {} {}", mark.conversation, mark.profile),
        Fact::SessionEnded(ended) => format!("ended {}", ended.session),
        other => panic!("no operation causes {other:?}"),
    }
}

#[test]
fn a_replay_has_the_events_that_were_delivered_live() {
    for seed in 0..12 {
        let mut kit = Kit::new(&format!("replay-{seed}"));
        let mut dice = Seeded(seed);
        let people: Vec<Person> = (0..6).map(|i| kit.person(&format!("p{i}"))).collect();
        let group = make_group(&mut kit, &people[..4], 0, 0);
        let mut live: Vec<Event> = Vec::new();
        let mut conversations = vec![group];
        for _ in 0..60 {
            let batch: Vec<(u64, Write)> = (0..1 + dice.below(8))
                .map(|lane| (lane, command(&mut kit, &mut dice, &people, &conversations)))
                .collect();
            let committed = kit.commit(batch);
            assert_eq!(committed.fault, None);
            for event in committed.outcomes.into_iter().flat_map(|outcome| outcome.events) {
                if let Fact::MessagePosted(message) = &event.fact
                    && !conversations.contains(&message.conversation)
                {
                    conversations.push(message.conversation);
                }
                live.push(event);
            }
            if dice.below(20) == 0 {
                kit.crash();
                kit.reopen();
                assert_eq!(kit.start.head, live.last().map_or(0, |event| event.seq), "seed {seed}");
            }
        }
        let seqs: Vec<u64> = live.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<u64>>(), "seq has no gap here");
        for person in &people {
            let head = seqs.len() as u64;
            for after in [0, head / 3, head.saturating_sub(2), head] {
                let expect = received(&live, person.profile, after);
                for limit in [1, 7, 200] {
                    let got: Vec<(u64, String)> = replay(&mut kit, person.profile, after, limit)
                        .iter()
                        .map(|(seq, fact)| (*seq, text_of(fact)))
                        .collect();
                    assert_eq!(got, expect, "seed {seed}, after {after}, limit {limit}");
                }
            }
            counts_agree(&mut kit, &live, *person, group, seed);
        }
    }
}

/// The events delivered to one profile after a cursor; of read marks only the newest of each.
fn received(live: &[Event], profile: ProfileId, after: u64) -> Vec<(u64, String)> {
    let mut newest_read = BTreeMap::new();
    for event in live {
        if let Fact::ConversationRead(mark) = &event.fact {
            newest_read.insert((mark.conversation, mark.profile), event.seq);
        }
    }
    live.iter()
        .filter(|event| event.seq > after && event.audience.profiles.contains(&profile))
        .filter(|event| match &event.fact {
            Fact::ConversationRead(mark) => newest_read[&(mark.conversation, mark.profile)] == event.seq,
            _ => true,
        })
        .map(|event| (event.seq, text_of(&event.fact)))
        .collect()
}

/// Checks the unread counts against their definition over all posts: messages of others with n > read_n.
fn counts_agree(kit: &mut Kit, live: &[Event], person: Person, group: ConversationId, seed: u64) {
    let page = kit
        .read(ListConversations {
            at: UnixMs(1),
            viewer: person.profile,
            after: None,
            archived: None,
            limit: 200,
        })
        .expect("the conversations");
    let mut total = 0;
    for conversation in &page.conversations {
        let posted = live.iter().filter_map(|event| match &event.fact {
            Fact::MessagePosted(message) if message.conversation == conversation.id => Some(message),
            _ => None,
        });
        let unread = posted
            .filter(|message| message.n > conversation.read_n && message.sender != Some(person.profile))
            .count() as u64;
        assert_eq!(conversation.unread, unread, "seed {seed} {} group {group}", conversation.id);
        total += unread;
    }
    assert_eq!(page.unread_total, total);
}

fn command(kit: &mut Kit, dice: &mut Seeded, people: &[Person], conversations: &[ConversationId]) -> Write {
    let mut pick = |count: usize| dice.below(count as u64) as usize;
    let person = people[pick(people.len())];
    let conversation = conversations[pick(conversations.len())];
    match pick(20) {
        0..8 => {
            let to = Destination::To(people[pick(people.len())].profile);
            kit.post(person.profile, to, "direct").into()
        }
        8..13 => kit.post(person.profile, Destination::Conversation(conversation), "there").into(),
        13..19 => {
            let n = pick(30) as u64;
            MarkRead { at: kit.now_ms, reader: person.profile, conversation, n }.into()
        }
        _ => EndSession { at: kit.now_ms, session: person.session }.into(),
    }
}

#[test]
fn a_cursor_is_checked_before_it_is_used() {
    let Room { mut kit, ann, bob, .. } = room("cursor");
    let ask = |after| ReadLog { profile: ann.profile, after, from_oldest: false, limit: 10 };
    assert!(matches!(kit.read(ask(3)), Ok(LogPage::Ahead { head: 2 })));
    assert!(matches!(kit.read(ask(u64::MAX)), Ok(LogPage::Ahead { head: 2 })));
    // The message is cat's and not visible to ann, yet the page returns how far it went.
    let page = kit.read(ask(1)).expect("a page");
    assert!(
        matches!(page, LogPage::Events { ref events, through: 2, complete: true } if events.is_empty()),
        "{page:?}"
    );
    assert_eq!(
        kit.read(ReadLog { profile: Id::from_u128(4), after: 0, from_oldest: false, limit: 1 }).err(),
        Some(Refusal::Unauthorized)
    );
    kit.say(bob.profile, Destination::To(ann.profile), "third");
    kit.close();
    kit.sql("UPDATE state SET pruned = 2");
    kit.reopen();
    assert!(matches!(kit.read(ask(1)), Ok(LogPage::Pruned { head: 3 })));
    assert!(matches!(kit.read(ask(2)), Ok(LogPage::Events { complete: true, .. })));
    // Without a cursor a reader gets all events that are kept.
    let oldest = kit.read(ReadLog { from_oldest: true, ..ask(0) }).expect("a page");
    assert!(matches!(oldest, LogPage::Events { ref events, .. } if events.len() == 1), "{oldest:?}");
}

#[test]
fn a_new_member_gets_the_events_from_the_joining_on() {
    let Room { mut kit, ann, bob, cat, .. } = room("newcomer");
    let group = make_group(&mut kit, &[ann, bob], 0, 2);
    for text in ["a", "b"] {
        kit.say(ann.profile, Destination::Conversation(group), text);
    }
    kit.close();
    kit.sql(&format!(
        "INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq) \
         VALUES ({}, (SELECT max(key) FROM conversations), 4, 2, 0)",
        key_of(cat)
    ));
    kit.reopen();
    let later = kit.say(bob.profile, Destination::Conversation(group), "c");
    let seqs = |kit: &mut Kit, person: Person| {
        replay(kit, person.profile, 2, 50).iter().map(|(seq, _)| *seq).collect::<Vec<u64>>()
    };
    assert_eq!(seqs(&mut kit, ann), [3, 4, 5]);
    assert_eq!((seqs(&mut kit, cat), later.seq), (vec![5], 5));
}

#[test]
fn hidden_and_blocked_read_marks_are_not_replayed() {
    let Room { mut kit, ann, bob, first, .. } = room("hidden");
    let command = MarkRead { at: UnixMs(0), reader: bob.profile, conversation: first.conversation, n: 1 };
    kit.write(command).0.expect("a read mark");
    assert_eq!(replay(&mut kit, ann.profile, 1, 9).len(), 1);
    for (sql, received) in [
        (format!("INSERT INTO blocks (blocker, blocked) VALUES ({}, {})", key_of(ann), key_of(bob)), 0),
        ("DELETE FROM blocks; UPDATE profiles SET is_private = 1 WHERE nick_name = 'bob'".to_owned(), 0),
        ("UPDATE profiles SET is_private = 0".to_owned(), 1),
    ] {
        kit.sql(&sql);
        assert_eq!(replay(&mut kit, ann.profile, 1, 9).len(), received, "{sql}");
        assert_eq!(replay(&mut kit, bob.profile, 1, 9).len(), 1, "the member's own devices always get it");
    }
}

#[test]
fn the_head_survives_events_without_a_row() {
    let Room { mut kit, bob, cat, first, .. } = room("head");
    // A read mark that moved twice is one column, and a session's end is a row; both count for the head.
    for n in [0, 1] {
        let command = MarkRead { at: UnixMs(0), reader: bob.profile, conversation: first.conversation, n };
        kit.write(command).0.expect("a read mark");
    }
    kit.crash();
    kit.reopen();
    assert_eq!(kit.start.head, 3);
    let theft = refresh(&mut kit, cat.session, Id::from_u128(1));
    kit.write(theft).0.expect_err("a theft");
    kit.crash();
    kit.reopen();
    assert_eq!(kit.start.head, 4);
    let facts = replay(&mut kit, cat.profile, 0, 9);
    assert!(matches!(facts.last(), Some((4, Fact::SessionEnded(ended))) if ended.session == cat.session));
}

#[test]
fn a_page_of_long_events_ends_at_its_byte_bound() {
    let Room { mut kit, ann, bob, .. } = room("bytes");
    let long = "\u{1}".repeat(4_000);
    for _ in 0..40 {
        let post = kit.post(ann.profile, Destination::To(bob.profile), &long);
        kit.write(post).0.expect("a post");
    }
    let page =
        kit.read(ReadLog { profile: bob.profile, after: 2, from_oldest: false, limit: 200 }).expect("a page");
    let LogPage::Events { events, complete: false, .. } = page else { panic!("{page:?}") };
    assert!(!events.is_empty() && events.len() < 12, "{} events of 24 kB", events.len());
    assert_eq!(replay(&mut kit, bob.profile, 2, 200).len(), 40);
}
