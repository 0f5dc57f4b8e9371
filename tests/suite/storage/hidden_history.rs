//! Searches of members who do not see all of a conversation.
//!
//! An answer must not depend on what is hidden: neither its messages, nor `next`, nor whether it is complete.

use std::time::Instant;

use natter::base::time::UnixMs;
use natter::model::conversation::{CreateConversation, History, PutMember, UpdateConversation};
use natter::model::event::Role;
use natter::model::id::ConversationId;
use natter::model::message::{Destination, FoundMessages};
use natter::model::preferences::{ChangePreferences, ClearConversation};
use natter::store::Index;

use super::find;
use crate::store_kit::{Kit, Person};

fn group(kit: &mut Kit, creator: Person, members: &[Person]) -> ConversationId {
    let create = CreateConversation {
        at: UnixMs(1),
        creator: creator.profile,
        client_id: None,
        id: kit.id(),
        title: "group".to_owned(),
        members: members.iter().map(|member| member.profile).collect(),
        members_max: 9,
    };
    kit.write(create).0.expect("a group").conversation.id
}

fn say(kit: &mut Kit, who: Person, group: ConversationId, text: &str, count: usize) {
    let posts = (0..count)
        .map(|_| (1, kit.post(who.profile, Destination::Conversation(group), text).into()))
        .collect();
    assert_eq!(kit.commit(posts).fault, None);
}

fn clear(kit: &mut Kit, who: Person, conversation: ConversationId) {
    let clear = ClearConversation { at: UnixMs(2), actor: who.profile, conversation, hide: false };
    kit.write(clear).0.expect("cleared");
}

/// The next member who joins sees nothing that was said before.
fn join_later(kit: &mut Kit, admin: Person, conversation: ConversationId, newcomer: Person) {
    let update = UpdateConversation {
        at: UnixMs(2),
        actor: admin.profile,
        conversation,
        title: None,
        image: None,
        history: Some(History::Joined),
        messages_kept: None,
        own: ChangePreferences::default(),
    };
    kit.write(update).0.expect("an update");
    let put = PutMember {
        at: UnixMs(2),
        actor: admin.profile,
        conversation,
        profile: newcomer.profile,
        role: Role::Member,
        members_max: 9,
    };
    kit.write(put).0.expect("a member");
}

/// The answer for a word that only hidden messages have is that for a word which no message has.
fn same_as_absent(kit: &mut Kit, viewer: Person, hidden: &str, before: Option<u64>) -> FoundMessages {
    let [found, absent] = [hidden, "absent"].map(|word| find(kit, viewer.profile, word, before));
    assert_eq!(format!("{found:?}"), format!("{absent:?}"), "{hidden} before {before:?}");
    assert!(found.messages.is_empty(), "{hidden}");
    found
}

#[test]
fn a_search_does_not_tell_which_words_are_in_hidden_messages() {
    let mut kit = Kit::new("hidden-history");
    let [ann, bob, cat, dan] = ["ann", "bob", "cat", "dan"].map(|name| kit.person(name));
    // Small conversations are scanned last: `next` is the one at which a search has reached its cost.
    for _ in 0..40 {
        let small = group(&mut kit, ann, &[cat, dan]);
        say(&mut kit, ann, small, "small", 1);
    }
    // Large ones take almost all of it from Cat and Dan. Bob has cleared them: his first messages share a block of the index
    // with hidden ones, which are more than the cost of one search.
    let padding = group(&mut kit, ann, &[cat, dan]);
    say(&mut kit, ann, padding, "padding", 990);
    let everybody = [bob, cat, dan];
    let large: Vec<ConversationId> =
        (0..9).map(|i| group(&mut kit, ann, &everybody[..if i < 7 { 3 } else { 1 }])).collect();
    for each in &large {
        say(&mut kit, ann, *each, "hay", 1_019);
        clear(&mut kit, bob, *each);
        say(&mut kit, ann, *each, "later", 5);
    }
    // Cat has cleared the last one, and Dan has joined it later. A few hidden messages have the word.
    let secret = group(&mut kit, ann, &[cat]);
    say(&mut kit, ann, secret, "the treasure", 3);
    let hidden_seq = kit.sql_number("SELECT max(seq) FROM messages") as u64;
    clear(&mut kit, cat, secret);
    join_later(&mut kit, ann, secret, dan);
    say(&mut kit, ann, secret, "later", 1);

    for member in [cat, dan] {
        let found = same_as_absent(&mut kit, member, "treasure", None);
        let next = found.next.expect("the search has reached its cost");
        assert!(found.complete && next < hidden_seq);
        // A client may also begin at, above or below a hidden message.
        for before in [next, hidden_seq - 1, hidden_seq, hidden_seq + 1, hidden_seq + 2] {
            same_as_absent(&mut kit, member, "treasure", Some(before));
        }
    }
    assert_eq!(find(&mut kit, ann.profile, "treasure", None).messages.len(), 3, "it is there");

    // In the index, blocks and candidates cost.
    for with_index in [false, true] {
        if with_index {
            let mut index = Index::open(&kit.options).expect("an index");
            while index.step(Instant::now()).expect("a step").more {}
        }
        let found = same_as_absent(&mut kit, bob, "hay", None);
        assert_eq!((found.next, found.complete), (None, true), "index: {with_index}");
        assert_eq!(find(&mut kit, bob.profile, "later", None).messages.len(), 45, "index: {with_index}");
        same_as_absent(&mut kit, bob, "hay", Some(hidden_seq / 2));
    }
    for member in [cat, dan] {
        same_as_absent(&mut kit, member, "treasure", None);
    }
    // Who has cleared everything finds nothing, also of messages that are in no block.
    say(&mut kit, ann, large[0], "hay", 9);
    large.iter().for_each(|each| clear(&mut kit, bob, *each));
    for word in ["hay", "later"] {
        assert_eq!(same_as_absent(&mut kit, bob, word, None).next, None);
    }
}
