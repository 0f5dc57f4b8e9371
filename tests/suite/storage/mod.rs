//! Storage, operation by operation: what each does, what each refuses, and what remains after a crash.

mod accounts;
mod backup;
mod by_sender;
#[cfg(feature = "cluster")]
mod cluster;
mod event_log;
pub mod files;
mod hidden_history;
mod index;
mod page_size;
mod posting;
mod reactions;
mod reading;
#[cfg(feature = "cluster")]
mod replicas;
mod reserved;
mod sessions;

use crate::store_kit::{Kit, Person};
use natter::base::secret::Secret;
use natter::model::id::{ConversationId, ProfileId};
use natter::model::message::{Destination, FoundMessages, Message, SearchMessages};

/// Four people; ann and bob have a conversation of one message, cat and dan have another.
pub struct Room {
    pub kit: Kit,
    pub ann: Person,
    pub bob: Person,
    pub cat: Person,
    pub dan: Person,
    /// The message of ann and bob.
    pub first: Message,
    /// The message of cat and dan.
    pub other: Message,
}

pub fn room(name: &str) -> Room {
    let mut kit = Kit::new(name);
    let (ann, bob, cat, dan) = (kit.person("ann"), kit.person("bob"), kit.person("cat"), kit.person("dan"));
    let first = kit.say(ann.profile, Destination::To(bob.profile), "hello");
    let other = kit.say(cat.profile, Destination::To(dan.profile), "elsewhere");
    Room { kit, ann, bob, cat, dan, first, other }
}

/// Searches all conversations of a viewer.
pub fn find(kit: &mut Kit, viewer: ProfileId, query: &str, before: Option<u64>) -> FoundMessages {
    let search = SearchMessages {
        viewer,
        query: Secret::new(query.to_owned()),
        conversation: None,
        before,
        limit: 50,
    };
    kit.read(search).expect("an answer")
}

pub fn key_of(person: Person) -> String {
    format!("(SELECT key FROM profiles WHERE id = x'{:032x}')", person.profile.to_u128())
}

/// A group of these people, created by the first; written directly into the tables.
pub fn make_group(kit: &mut Kit, people: &[Person], last_n: u64, joined_seq: u64) -> ConversationId {
    let id: ConversationId = kit.id();
    kit.close();
    let mut sql = format!(
        "INSERT INTO conversations (id, kind, title, members_count, last_n, last_seq, activity) \
         VALUES (x'{:032x}', 1, 'group', {}, {last_n}, {joined_seq}, {joined_seq});",
        id.to_u128(),
        people.len()
    );
    for person in people {
        sql += &format!(
            "INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq) \
             VALUES ({}, (SELECT max(key) FROM conversations), {joined_seq}, {last_n}, 0);",
            key_of(*person)
        );
    }
    kit.sql(&sql);
    kit.reopen();
    id
}
