//! Posting: the conversation of a message, refusals, and that no message is stored twice or leaves a gap.

use natter::base::id::Id;
use natter::base::secret::Secret;
use natter::base::time::UnixMs;
use natter::model::conversation::MarkRead;
use natter::model::id::{MessageId, UploadId};
use natter::model::member::FindAccount;
use natter::model::message::{Destination, ListMessages, PagePoint, PostMessage, PostedMessage};
use natter::model::operation::{Refusal, Write};

use crate::storage::sessions::refresh;
use crate::storage::{Room, key_of, make_group, room};
use crate::store_kit::{Kit, NOW_MS, complete, posted};

#[test]
fn the_first_message_creates_the_conversation_for_both() {
    let Room { mut kit, ann, bob, first, other, .. } = room("first");
    assert_eq!((first.n, first.seq, first.rev), (1, 1, 1));
    assert_eq!((other.n, other.seq), (1, 2), "n is dense in its conversation, seq in the server");
    assert_eq!((first.id.seq(), first.id.unix_ms()), (1, NOW_MS));
    assert_eq!((first.sender, first.body.as_deref()), (Some(ann.profile), Some("hello")));
    let post = kit.post(bob.profile, Destination::To(ann.profile), "back");
    let (answer, events) = kit.write(post);
    let back = complete(answer.expect("a post"));
    assert_eq!((back.conversation, back.n, back.seq), (first.conversation, 2, 3));
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!(event.seq, 3);
    assert!(event.audience.direct);
    let mut audience = event.audience.profiles.to_vec();
    audience.sort();
    let mut both = vec![ann.profile, bob.profile];
    both.sort();
    assert_eq!(audience, both);
    let by_id = kit.say(ann.profile, Destination::Conversation(first.conversation), "by id");
    assert_eq!((by_id.n, by_id.seq), (3, 4));
}

#[test]
fn a_post_is_refused_because_of_stored_state() {
    // The sender, the destination, whether ann blocks bob and bob blocks ann, and the result. `conversation` is that of
    // ann and bob.
    #[derive(Clone, Copy)]
    enum To {
        Ann,
        Bob,
        Nobody,
        Pair,
        Foreign,
        NoConversation,
    }
    let not_found = Err(Refusal::NotFound);
    let rows = [
        (To::Bob, (false, false), Ok(())),
        (To::Pair, (false, false), Ok(())),
        (To::Ann, (false, false), not_found),
        (To::Nobody, (false, false), not_found),
        (To::Foreign, (false, false), not_found),
        (To::NoConversation, (false, false), not_found),
        (To::Bob, (true, false), not_found),
        (To::Bob, (false, true), not_found),
        (To::Pair, (true, false), Err(Refusal::NotAllowed)),
        (To::Pair, (false, true), Err(Refusal::NotAllowed)),
    ];
    // With a cold cache, and with one that has the conversation.
    for warm in [false, true] {
        for (row, (to, blocks, expect)) in rows.into_iter().enumerate() {
            let Room { mut kit, ann, bob, first, other, .. } = room(&format!("refused-{row}-{warm}"));
            kit.close();
            for (blocked, blocker, victim) in [(blocks.0, ann, bob), (blocks.1, bob, ann)] {
                if blocked {
                    kit.sql(&format!(
                        "INSERT INTO blocks (blocker, blocked) VALUES ({}, {})",
                        key_of(blocker),
                        key_of(victim)
                    ));
                }
            }
            kit.reopen();
            if warm {
                let (at, reader, conversation) = (kit.now_ms, bob.profile, first.conversation);
                kit.write(MarkRead { at, reader, conversation, n: 1 }).0.expect("a read mark");
            }
            let head = kit.start.head + u64::from(warm);
            let to = match to {
                To::Ann => Destination::To(ann.profile),
                To::Bob => Destination::To(bob.profile),
                To::Nobody => Destination::To(Id::from_u128(77)),
                To::Pair => Destination::Conversation(first.conversation),
                To::Foreign => Destination::Conversation(other.conversation),
                To::NoConversation => Destination::Conversation(Id::from_u128(77)),
            };
            let post = kit.post(ann.profile, to, "again");
            let (answer, events) = kit.write(post);
            assert_eq!(
                answer.as_ref().map(|_| ()).map_err(|refusal| *refusal),
                expect,
                "row {row} warm {warm}"
            );
            assert_eq!(events.len(), usize::from(expect.is_ok()));
            if let Ok(answer) = answer {
                assert_eq!(complete(answer).seq, head + 1);
            }
        }
    }
}

#[test]
fn the_references_of_a_post_must_exist() {
    let Room { mut kit, ann, bob, cat, first, other, .. } = room("shows");
    let to = Destination::To(bob.profile);
    let wrong_time = MessageId::of(first.id.unix_ms().after(1), 0x5a5a, first.seq);
    type Row = (&'static str, Option<MessageId>, Vec<UploadId>, Result<(), Refusal>);
    let rows: [Row; 6] = [
        ("a message of this conversation", Some(first.id), vec![], Ok(())),
        ("of another", Some(other.id), vec![], Err(Refusal::Invalid("reply_to"))),
        ("of none", Some(Id::from_u128(12345)), vec![], Err(Refusal::Invalid("reply_to"))),
        ("its seq with another id", Some(wrong_time), vec![], Err(Refusal::Invalid("reply_to"))),
        ("an upload that does not exist", None, vec![Id::from_u128(5)], Err(Refusal::Invalid("attachments"))),
        ("nothing", None, vec![], Ok(())),
    ];
    for (name, reply_to, attachments, expect) in rows {
        let mut post = PostMessage { attachments: attachments.into(), ..kit.post(ann.profile, to, "re") };
        post.draft_mut().reply_to = reply_to;
        let answer = kit.write(post).0;
        assert_eq!(answer.as_ref().map(|_| ()).map_err(|refusal| *refusal), expect, "{name}");
        if let Ok(answer) = answer {
            let message = complete(answer);
            assert_eq!(message.reply_to, reply_to);
            let list = ListMessages {
                pinned: false,
                viewer: bob.profile,
                conversation: first.conversation,
                at: PagePoint::Newest,
                limit: 1,
            };
            assert_eq!(kit.read(list).expect("a page").messages[0].reply_to, reply_to, "{name}");
        }
    }
    let mut first_words = kit.post(cat.profile, Destination::To(ann.profile), "x");
    first_words.draft_mut().reply_to = Some(first.id);
    assert_eq!(kit.write(first_words).0.err(), Some(Refusal::Invalid("reply_to")));
    let stranger = kit.post(Id::from_u128(4), to, "who am I");
    assert_eq!(kit.write(stranger).0.err(), Some(Refusal::Unauthorized));
}

#[test]
fn a_client_id_has_one_message_at_all_times() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("twice");
    let post = kit.post(ann.profile, Destination::To(bob.profile), "once");
    // Twice in one batch, with a destination that is refused, and by another sender.
    let mut elsewhere = PostMessage { destination: Destination::To(Id::from_u128(7)), ..post.clone() };
    elsewhere.draft_mut().body = None;
    let mut with_reply = PostMessage { attachments: [Id::from_u128(8)].into(), ..post.clone() };
    with_reply.draft_mut().reply_to = Some(Id::from_u128(7));
    let mut by_bob = PostMessage { destination: Destination::To(ann.profile), ..post.clone() };
    by_bob.draft_mut().sender = Some(bob.profile);
    let batch = [post.clone(), post.clone(), elsewhere, with_reply, by_bob];
    let committed = kit.commit(batch.into_iter().map(|post| (1, Write::PostMessage(post))).collect());
    let seen: Vec<_> = committed.outcomes.iter().map(|outcome| posted(&outcome.result)).collect();
    let original = Some((2, 3, true));
    assert_eq!(seen, [Some((2, 3, false)), original, original, original, Some((3, 4, false))]);
    let events: Vec<_> = committed.outcomes.iter().map(|outcome| outcome.events.len()).collect();
    assert_eq!(events, [1, 0, 0, 0, 1]);

    // After a restart, after a block, and after the sender has left.
    kit.crash();
    kit.reopen();
    let again = |kit: &mut Kit| {
        let (answer, events) = kit.write(post.clone());
        assert!(events.is_empty());
        let answer = answer.expect("the original");
        assert!(answer.duplicate);
        answer.message
    };
    let PostedMessage::Complete(message) = again(&mut kit) else { panic!("a complete message") };
    assert_eq!((message.n, message.seq, message.body.as_deref()), (2, 3, Some("once")));
    assert_eq!((message.client_id, message.sender), (post.draft.client_id, Some(ann.profile)));
    kit.close();
    kit.sql(&format!("INSERT INTO blocks (blocker, blocked) VALUES ({}, {})", key_of(bob), key_of(ann)));
    kit.reopen();
    assert!(matches!(again(&mut kit), PostedMessage::Complete(_)));

    let group = make_group(&mut kit, &[ann, bob, cat], 0, 4);
    let in_group = kit.post(cat.profile, Destination::Conversation(group), "in the group");
    let to_group = complete(kit.write(in_group.clone()).0.expect("a post"));
    kit.close();
    kit.sql(&format!("DELETE FROM memberships WHERE profile = {}", key_of(cat)));
    kit.reopen();
    let PostedMessage::Left(stub) = kit.write(in_group).0.expect("the original").message else {
        panic!("a stub")
    };
    assert_eq!((stub.id, stub.n, stub.seq), (to_group.id, to_group.n, to_group.seq));
    let new_post = kit.post(cat.profile, Destination::Conversation(group), "again");
    assert_eq!(kit.write(new_post).0.err(), Some(Refusal::NotFound));
    assert_eq!(first.n, 1);
}

#[test]
fn a_refusal_inside_a_batch_leaves_no_gap() {
    let Room { mut kit, ann, bob, cat, dan, first, .. } = room("gaps");
    let mut batch = Vec::new();
    for i in 0..20 {
        let destination = match i % 5 {
            0 => Destination::To(bob.profile),
            1 => Destination::To(Id::from_u128(77)),
            2 => Destination::Conversation(first.conversation),
            3 => Destination::Conversation(Id::from_u128(78)),
            _ => Destination::To(dan.profile),
        };
        batch.push((i, Write::PostMessage(kit.post(ann.profile, destination, "x"))));
        if i % 4 == 0 {
            let mut taken = kit.sign_up_command("x");
            taken.account.email = Secret::new("ann@example.org".to_owned());
            batch.push((i, taken.into()));
            batch.push((i, refresh(&mut kit, Id::from_u128(3), Id::from_u128(4)).into()));
        }
    }
    let committed = kit.commit(batch);
    let stored: Vec<_> = committed.outcomes.iter().filter_map(|outcome| posted(&outcome.result)).collect();
    assert_eq!(stored.len(), 12);
    let seqs: Vec<u64> = stored.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(seqs, (3..15).collect::<Vec<u64>>());
    for (viewer, conversation, count) in [
        (bob, first.conversation, 9),
        (cat, kit.say(cat.profile, Destination::To(dan.profile), "y").conversation, 2),
    ] {
        let list = ListMessages {
            pinned: false,
            viewer: viewer.profile,
            conversation,
            at: PagePoint::Newest,
            limit: 200,
        };
        let ns: Vec<u64> = kit.read(list).expect("a page").messages.iter().map(|message| message.n).collect();
        assert_eq!(ns, (1..=count).collect::<Vec<u64>>());
    }
}

#[test]
fn a_fault_closes_its_lane_and_no_other() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("lanes");
    let mut post = |text: &str| Write::PostMessage(kit.post(ann.profile, Destination::To(bob.profile), text));
    let mut batch = vec![(1, post("a")), (2, post("b")), (1, post("c")), (2, post("d"))];
    // The id of a conversation that exists, so the rows of a new one can't be written. Nothing of its lane may overtake it.
    let broken = PostMessage {
        conversation_if_new: first.conversation,
        ..kit.post(ann.profile, Destination::To(cat.profile), "never")
    };
    batch.insert(1, (1, Write::PostMessage(broken)));
    let committed = kit.commit(batch);
    let results: Vec<_> = committed
        .outcomes
        .iter()
        .map(|outcome| outcome.result.as_ref().map(|_| ()).map_err(|refusal| *refusal))
        .collect();
    assert_eq!(results, [Ok(()), Err(Refusal::Internal), Ok(()), Err(Refusal::Unavailable), Ok(())]);
    let seqs: Vec<_> =
        committed.outcomes.iter().flat_map(|outcome| &outcome.events).map(|event| event.seq).collect();
    assert_eq!(seqs, [3, 4, 5]);
    assert_eq!(committed.fault, None);
}

#[test]
fn an_internal_fault_undoes_its_command_alone() {
    let Room { mut kit, ann, bob, cat, first, .. } = room("ours");
    let good = kit.post(ann.profile, Destination::To(bob.profile), "before");
    // The id of a conversation that exists, so the rows of a new one can't be written.
    let broken = PostMessage {
        conversation_if_new: first.conversation,
        ..kit.post(ann.profile, Destination::To(cat.profile), "never")
    };
    let mut taken = kit.sign_up_command("eve");
    taken.account.profile = ann.profile;
    let after = kit.post(bob.profile, Destination::To(ann.profile), "after");
    let committed = kit.commit(vec![
        (1, Write::PostMessage(good)),
        (2, Write::PostMessage(broken)),
        (3, taken.clone().into()),
        (4, Write::PostMessage(after)),
    ]);
    let seen: Vec<_> = committed.outcomes.iter().map(|outcome| posted(&outcome.result)).collect();
    assert_eq!(seen, [Some((2, 3, false)), None, None, Some((3, 4, false))]);
    for outcome in &committed.outcomes[1..3] {
        assert_eq!(outcome.result.as_ref().err(), Some(&Refusal::Internal));
    }
    assert_eq!(kit.sql_number("SELECT count(*) FROM conversations"), 2);
    assert_eq!(kit.read(FindAccount { member: taken.account.member }).err(), Some(Refusal::NotFound));
    // The writes before the fault are in the rows, not only in memory.
    assert_eq!(kit.sql_number("SELECT last_n FROM conversations WHERE key = 1"), 3);
}

#[test]
fn time_and_ids_never_run_backwards() {
    let Room { mut kit, ann, bob, .. } = room("time");
    kit.now_ms = UnixMs(NOW_MS.0 - 5_000);
    let early = kit.say(ann.profile, Destination::To(bob.profile), "the clock was set back");
    assert_eq!((early.created_at, early.id.unix_ms()), (NOW_MS, NOW_MS));
    kit.crash();
    kit.reopen();
    let after = kit.say(ann.profile, Destination::To(bob.profile), "still");
    assert_eq!(after.created_at, NOW_MS);
    kit.now_ms = NOW_MS.after(1);
    let late = kit.say(ann.profile, Destination::To(bob.profile), "and on");
    assert_eq!(late.created_at, NOW_MS.after(1));
    kit.close();
    kit.reopen();
    assert_eq!(kit.start.newest_ms, NOW_MS.after(1));
    // Ids keep the order within a millisecond, whatever random bits they have, and across a restart.
    kit.now_ms = NOW_MS.after(2);
    let mut newest = late.id;
    for random in [0, 0xffff, 0, 7, 0x5a5a, 1] {
        let post = PostMessage { random, ..kit.post(ann.profile, Destination::To(bob.profile), "burst") };
        let id = complete(kit.write(post).0.expect("a post")).id;
        assert!(id > newest, "{id} after {newest}");
        assert_eq!(id.unix_ms(), NOW_MS.after(2));
        newest = id;
        kit.close();
        kit.reopen();
    }
    // Ids of older versions had no order within a millisecond.
    kit.close();
    kit.sql(&format!(
        "UPDATE messages SET id_high = {} WHERE seq = {}",
        newest.high() | 0xffff,
        newest.seq() - 1
    ));
    kit.sql(&format!(
        "UPDATE messages SET id_high = {} WHERE seq = {}",
        newest.high() & !0xffff,
        newest.seq()
    ));
    kit.reopen();
    let post =
        PostMessage { random: 3, ..kit.post(ann.profile, Destination::To(bob.profile), "after the upgrade") };
    let id = complete(kit.write(post).0.expect("a post")).id;
    assert_eq!(id.high(), newest.high() | 0xffff);
    // A clock with an absurd time neither panics nor breaks an id.
    kit.now_ms = UnixMs(u64::MAX);
    let post = kit.post(ann.profile, Destination::To(bob.profile), "far");
    let far = complete(kit.write(post).0.expect("a post"));
    assert_eq!(far.created_at.0, (1 << 48) - 1);
}
