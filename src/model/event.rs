//! The event contract: everything durable that concerns a profile, each with its `seq`.
//!
//! Invariant: an event holds no field of one viewer, so it is encoded once for its audience.

#![warn(missing_docs)]

use std::iter::Chain;
use std::ops::Deref;
use std::sync::Arc;
use std::{option, slice, vec};

use serde::Serialize;

use super::conversation::{ConversationType, History};
use super::id::{ConversationId, ProfileId, SessionId};
use super::message::Message;
use super::profile::Profile;
use super::upload::Image;
use crate::base::json::{self, push_key, push_plain};
use crate::base::time::{UnixMs, UnixS};

/// A fact in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its position in the log.
    pub seq: u64,
    /// The profiles that receive it.
    pub audience: Audience,
    /// What happened.
    pub fact: Fact,
}

/// What one command caused, in the order of `seq`. One event, as every post has, is stored without a list, so that no memory is
/// allocated by one thread and freed by another.
#[derive(Clone, Debug, Default)]
pub enum Events {
    /// A read, or a write that changed nothing.
    #[default]
    None,
    /// Exactly one.
    One(Event),
    /// In the order of their `seq`.
    Many(Vec<Event>),
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        match self {
            Events::None => &[],
            Events::One(event) => std::slice::from_ref(event),
            Events::Many(events) => events,
        }
    }
}

impl From<Event> for Events {
    fn from(event: Event) -> Events {
        Events::One(event)
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Events {
        Events::Many(events)
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = Chain<option::IntoIter<Event>, vec::IntoIter<Event>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Events::None => (None, Vec::new()),
            Events::One(event) => (Some(event), Vec::new()),
            Events::Many(events) => (None, events),
        };
        one.into_iter().chain(many)
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The profiles that may know of an event, as they were at its `seq`.
#[derive(Clone, Debug)]
pub struct Audience {
    /// Each once, in no particular order.
    pub profiles: Arc<[ProfileId]>,
    /// Whether they are the two of a direct conversation: then the legacy sockets of this pair receive it too.
    pub direct: bool,
}

impl Audience {
    /// The devices of one profile only.
    pub fn one(profile: ProfileId) -> Audience {
        Audience { profiles: Arc::new([profile]), direct: false }
    }
}

/// What happened. Each variant is a pointer, since an event is moved with its outcome from list to list.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A new message.
    MessagePosted(Arc<Message>),
    /// A changed text.
    MessageEdited(Arc<Message>),
    /// A message became a tombstone.
    MessageDeleted(Arc<Message>),
    /// A reaction was added or removed.
    MessageReacted(Arc<Message>),
    /// A message was pinned, or is no longer pinned.
    MessagePinned(Arc<Message>),
    /// A profile has read up to a message.
    ConversationRead(Box<ReadMark>),
    /// A new group.
    ConversationCreated(Box<ConversationBrief>),
    /// A changed title or image.
    ConversationUpdated(Box<ConversationBrief>),
    /// A profile joined a group, or got another role.
    MemberAdded(Box<Membership>),
    /// A profile left a group or was removed.
    MemberRemoved(Box<Membership>),
    /// A changed profile.
    ProfileUpdated(Box<Profile>),
    /// A session ended; only for the profile of its member.
    SessionEnded(Box<EndedSession>),
}

/// How far a profile has read.
#[derive(Clone, Debug, Serialize)]
pub struct ReadMark {
    /// The conversation.
    pub conversation: ConversationId,
    /// The profile.
    pub profile: ProfileId,
    /// The greatest `n` read.
    pub read_n: u64,
}

/// A profile's membership in a group.
#[derive(Clone, Debug, Serialize)]
pub struct Membership {
    /// The group.
    pub conversation: ConversationId,
    /// The profile.
    pub profile: ProfileId,
    /// What it may do there.
    pub role: Role,
}

/// A session that ended.
#[derive(Clone, Debug, Serialize)]
pub struct EndedSession {
    /// The session.
    pub session: SessionId,
    /// The `exp` of its last access token (Unix s), for the list of ended sessions; not on the wire.
    #[serde(skip)]
    pub until: UnixS,
}

/// What a member of a group may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May change the group and its members.
    Admin,
    /// May read and post.
    Member,
}

/// A conversation as an event shows it: nothing of one viewer.
#[derive(Clone, Debug, Serialize)]
pub struct ConversationBrief {
    /// The conversation.
    pub id: ConversationId,
    /// `"type"` on the wire.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// Of a group.
    pub title: Option<String>,
    /// Of a group.
    pub image: Option<Image>,
    /// Members after this event.
    pub members_count: u64,
    /// Of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Days that the messages of a group are kept, if that is less than those of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_kept: Option<u64>,
    /// All messages up to this `n` are tombstones: their time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_n: Option<u64>,
    /// A member changed preferences of it: the event is for the member's own devices only, and does not say which.
    #[serde(skip_serializing_if = "is_not_set")]
    pub own: bool,
}

fn is_not_set(flag: &bool) -> bool {
    !flag
}

/// The names of all facts, as the log and the wire have them.
pub const NAMES: [&str; 12] = [
    "message.posted",
    "message.edited",
    "message.deleted",
    "message.reacted",
    "message.pinned",
    "conversation.read",
    "conversation.created",
    "conversation.updated",
    "member.added",
    "member.removed",
    "profile.updated",
    "session.ended",
];

impl Fact {
    /// The message that it shows.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Fact::MessagePosted(message)
            | Fact::MessageEdited(message)
            | Fact::MessageDeleted(message)
            | Fact::MessageReacted(message)
            | Fact::MessagePinned(message) => Some(message),
            _ => None,
        }
    }

    /// The event's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::MessagePosted(_) => NAMES[0],
            Fact::MessageEdited(_) => NAMES[1],
            Fact::MessageDeleted(_) => NAMES[2],
            Fact::MessageReacted(_) => NAMES[3],
            Fact::MessagePinned(_) => NAMES[4],
            Fact::ConversationRead(_) => NAMES[5],
            Fact::ConversationCreated(_) => NAMES[6],
            Fact::ConversationUpdated(_) => NAMES[7],
            Fact::MemberAdded(_) => NAMES[8],
            Fact::MemberRemoved(_) => NAMES[9],
            Fact::ProfileUpdated(_) => NAMES[10],
            Fact::SessionEnded(_) => NAMES[11],
        }
    }
}

/// `{"event":"message.posted","seq":1190,"data":{…}}`: one text for WebSocket frames, event streams and event.list.
/// Its URLs must have been signed before.
pub fn encode_event(seq: u64, fact: &Fact) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    write_event(&mut out, seq, fact);
    out
}

/// As [`encode_event`], after what `out` holds. Returns where the message begins, for an event that shows one; the message ends
/// one byte before `out` does.
pub fn write_event(out: &mut Vec<u8>, seq: u64, fact: &Fact) -> Option<usize> {
    #[derive(Serialize)]
    struct Encoded<'a> {
        event: &'static str,
        seq: u64,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Data<'a> {
        Read(&'a ReadMark),
        Conversation(&'a ConversationBrief),
        Member(&'a Membership),
        Profile(Profile),
        Session(&'a EndedSession),
    }
    let data = match *fact {
        // Nearly all events are this one.
        Fact::MessagePosted(ref message)
        | Fact::MessageEdited(ref message)
        | Fact::MessageDeleted(ref message)
        | Fact::MessageReacted(ref message)
        | Fact::MessagePinned(ref message) => {
            out.extend_from_slice(b"{\"event\":");
            push_plain(out, fact.name().as_bytes());
            push_key!(out, "seq");
            json::write(out, &seq);
            push_key!(out, "data");
            let start = out.len();
            message.write(out);
            out.push(b'}');
            return Some(start);
        }
        Fact::ConversationRead(ref mark) => Data::Read(mark),
        Fact::ConversationCreated(ref brief) | Fact::ConversationUpdated(ref brief) => {
            Data::Conversation(brief)
        }
        Fact::MemberAdded(ref member) | Fact::MemberRemoved(ref member) => Data::Member(member),
        // The member itself and others receive the same bytes, so no field that only the member may see is in it.
        Fact::ProfileUpdated(ref profile) => Data::Profile(Profile::clone(profile).for_others()),
        Fact::SessionEnded(ref ended) => Data::Session(ended),
    };
    json::write(out, &Encoded { event: fact.name(), seq, data });
    None
}

/// Reads the events of one profile after a cursor, a page at a time, in the order of `seq`.
#[derive(Clone, Debug)]
pub struct ReadLog {
    /// The profile whose events are read.
    pub profile: ProfileId,
    /// Exclusive.
    pub after: u64,
    /// Begin at the oldest event that is kept; otherwise the answer is `Pruned` if older ones were removed.
    pub from_oldest: bool,
    /// Events of a page.
    pub limit: u32,
}

/// Removes events that are older than `before`, a bounded number at a time; the answer is whether more are left. Messages stay:
/// a client that returns with a cursor from that time gets a reset.
#[derive(Clone, Copy, Debug)]
pub struct PruneLog {
    /// Unix milliseconds.
    pub before: UnixMs,
}

/// The answer to [`ReadLog`].
#[derive(Clone, Debug)]
pub enum LogPage {
    /// A page.
    Events {
        /// With their `seq`. A message is as it is now, not as it was at its event.
        events: Vec<(u64, Fact)>,
        /// Everything of this profile up to here is in this page or before it.
        through: u64,
        /// Whether `through` is the head of the log when the page was read.
        complete: bool,
    },
    /// `after` is older than what is kept.
    Pruned {
        /// The greatest `seq`, from which the client continues.
        head: u64,
    },
    /// `after` is ahead of the log: the cursor is of another history.
    Ahead {
        /// The greatest `seq`, from which the client continues.
        head: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    fn check(fact: Fact, expect: &str) {
        assert_eq!(String::from_utf8_lossy(&encode_event(9, &fact)), expect);
    }

    #[test]
    fn events_on_the_wire() {
        let (ta, tb) = (<Id>::from_u128(1).to_string(), <Id>::from_u128(2).to_string());
        let message = Message {
            id: Id::from_u128(1),
            client_id: Id::from_u128(2),
            conversation: Id::from_u128(1),
            n: 3,
            seq: 9,
            rev: 9,
            sender: Some(Id::from_u128(2)),
            body: Some("é\"".to_owned()),
            attachments: Vec::new(),
            reply_to: None,
            reactions: Vec::new(),
            mentions: Vec::new(),
            forwarded: false,
            pinned: false,
            system: None,
            created_at: UnixMs(0),
            edited_at: None,
            deleted_at: None,
            damaged: false,
        };
        check(
            Fact::MessagePosted(Arc::new(message)),
            &format!(
                r#"{{"event":"message.posted","seq":9,"data":{{"id":"{ta}","client_id":"{tb}","conversation":"{ta}","n":3,"seq":9,"rev":9,"sender":"{tb}","body":"é\"","attachments":[],"reply_to":null,"reactions":[],"created_at":"1970-01-01T00:00:00.000Z","edited_at":null,"deleted_at":null}}}}"#
            ),
        );
        check(
            Fact::ConversationRead(Box::new(ReadMark {
                conversation: Id::from_u128(1),
                profile: Id::from_u128(2),
                read_n: 4,
            })),
            &format!(
                r#"{{"event":"conversation.read","seq":9,"data":{{"conversation":"{ta}","profile":"{tb}","read_n":4}}}}"#
            ),
        );
        check(
            Fact::ConversationCreated(Box::new(ConversationBrief {
                id: Id::from_u128(1),
                kind: ConversationType::Group,
                title: Some("t".to_owned()),
                image: None,
                members_count: 2,
                history: Some(History::Joined),
                messages_kept: Some(30),
                erased_n: Some(7),
                own: false,
            })),
            &format!(
                r#"{{"event":"conversation.created","seq":9,"data":{{"id":"{ta}","type":"group","title":"t","image":null,"members_count":2,"history":"joined","messages_kept":30,"erased_n":7}}}}"#
            ),
        );
        check(
            Fact::MemberRemoved(Box::new(Membership {
                conversation: Id::from_u128(1),
                profile: Id::from_u128(2),
                role: Role::Admin,
            })),
            &format!(
                r#"{{"event":"member.removed","seq":9,"data":{{"conversation":"{ta}","profile":"{tb}","role":"admin"}}}}"#
            ),
        );
        check(
            Fact::SessionEnded(Box::new(EndedSession { session: Id::from_u128(1), until: UnixS(5) })),
            &format!(r#"{{"event":"session.ended","seq":9,"data":{{"session":"{ta}"}}}}"#),
        );
        let own = Profile {
            id: Id::from_u128(1),
            member: Some(Id::from_u128(2)),
            display_name: "A".to_owned(),
            nick_name: "aaa".to_owned(),
            profile_image: None,
            is_private: false,
            created_at: UnixMs(0),
            presence: Some(true),
            bot: false,
        };
        check(
            Fact::ProfileUpdated(Box::new(own)),
            &format!(
                r#"{{"event":"profile.updated","seq":9,"data":{{"id":"{ta}","member":null,"display_name":"A","nick_name":"aaa","profile_image":null,"is_private":false,"created_at":"1970-01-01T00:00:00.000Z"}}}}"#
            ),
        );
    }
}
