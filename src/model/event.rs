//! Events: everything durable that concerns a profile, each with its `seq`.
//! Invariant: an event holds no field of one viewer, so it is encoded once for all who may hear it.

use std::sync::Arc;

use serde::Serialize;

use super::conversation::ConversationType;
use super::message::Message;
use super::profile::Profile;
use super::session::SessionId;
use super::upload::Image;
use crate::base::id::Id;

#[derive(Clone, Debug)]
pub struct Event {
    pub seq: u64,
    pub audience: Audience,
    pub fact: Fact,
}

/// Who may hear an event: profiles, as they stood at its seq.
#[derive(Clone, Debug)]
pub struct Audience {
    pub profiles: Arc<[Id]>,
    /// The two of a direct conversation: Go-form sockets of this pair hear it too.
    pub direct: bool,
}

impl Audience {
    pub fn one(profile: Id) -> Audience {
        Audience { profiles: Arc::new([profile]), direct: false }
    }
}

#[derive(Clone, Debug)]
pub enum Fact {
    MessagePosted(Arc<Message>),
    MessageEdited(Arc<Message>),
    MessageDeleted(Arc<Message>),
    MessageReacted(Arc<Message>),
    ConversationRead {
        conversation: Id,
        profile: Id,
        read_n: u64,
    },
    ConversationCreated(ConversationBrief),
    ConversationUpdated(ConversationBrief),
    MemberAdded {
        conversation: Id,
        profile: Id,
        role: Role,
    },
    MemberRemoved {
        conversation: Id,
        profile: Id,
        role: Role,
    },
    ProfileUpdated(Profile),
    /// `until`: the `exp` of its last access token (Unix s), for the list of ended sessions; not on the wire.
    SessionEnded {
        session: SessionId,
        until: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Admin,
    Member,
}

/// What an event says of a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct ConversationBrief {
    pub id: Id,
    #[serde(rename = "type")]
    pub kind: ConversationType,
    pub title: Option<String>,
    pub image: Option<Image>,
    pub members_count: u64,
}

impl Fact {
    /// The event's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::MessagePosted(_) => "message.posted",
            Fact::MessageEdited(_) => "message.edited",
            Fact::MessageDeleted(_) => "message.deleted",
            Fact::MessageReacted(_) => "message.reacted",
            Fact::ConversationRead { .. } => "conversation.read",
            Fact::ConversationCreated(_) => "conversation.created",
            Fact::ConversationUpdated(_) => "conversation.updated",
            Fact::MemberAdded { .. } => "member.added",
            Fact::MemberRemoved { .. } => "member.removed",
            Fact::ProfileUpdated(_) => "profile.updated",
            Fact::SessionEnded { .. } => "session.ended",
        }
    }
}

/// The events of one profile behind a cursor, a page at a time, in seq order.
#[derive(Clone, Debug)]
pub struct ReadLog {
    pub profile: Id,
    /// Exclusive.
    pub after: u64,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub enum LogPage {
    Events {
        /// Rendered as they are now; audience is not filled (it is the asker).
        events: Vec<(u64, Fact)>,
        /// Everything of this profile up to here is in this page or before it.
        through: u64,
        /// Whether `through` is the head the page was read at.
        complete: bool,
    },
    /// `after` is older than what is kept; the head is where to go on.
    Pruned { head: u64 },
    /// `after` is ahead of the log: the cursor is of another history.
    Ahead { head: u64 },
}
