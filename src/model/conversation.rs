//! Conversations and their members: as one viewer sees them, and what storage may be asked about them.
//!
//! Invariant: `Conversation` has fields of one viewer, so it is never part of an event.

use crate::base::time::UnixMs;
use serde::Serialize;

use super::event::Role;
use super::id::{ClientId, ConversationId, ProfileId, UploadId};
use super::message::Message;
use super::preferences::{ChangePreferences, Preferences};
use super::profile::Profile;
use super::upload::Image;

/// The kind of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationType {
    /// Two profiles.
    Direct,
    /// Any number of profiles, with admins.
    Group,
}

/// What of a group newcomers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// Everything.
    All,
    /// What is said after they joined.
    Joined,
}

/// A row of conversation.list, and conversation.get's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    /// The id.
    pub id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// The title of a group.
    pub title: Option<String>,
    /// The image of a group.
    pub image: Option<Image>,
    /// How many members it has.
    pub members_count: u64,
    /// The peer of a direct conversation; `None` if it was deleted, and for groups.
    pub peer: Option<Profile>,
    /// The newest message.
    pub last_message: Option<Message>,
    /// How many messages are unread.
    pub unread: u64,
    /// Up to which `n` the viewer has read.
    pub read_n: u64,
    /// The `n` of the newest message.
    pub last_n: u64,
    /// What the viewer has set for oneself.
    #[serde(flatten)]
    pub own: Preferences,
    /// How far the peer of a direct conversation has read, if the viewer may see it: a client that just connected shows its read
    /// marks by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_read_n: Option<u64>,
    /// The viewer's own role in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Days that the messages of a group are kept, if that is less than those of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_kept: Option<u64>,
    /// All messages up to this `n` are tombstones: their time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_n: Option<u64>,
    /// The first message that the viewer sees, if it is not the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_n: Option<u64>,
    /// The viewer's unread mentions in a group.
    #[serde(flatten)]
    pub mentions: UnreadMentions,
}

/// The unread messages of a group that mention the viewer. Both are `None` if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnreadMentions {
    /// How many, counted up to a bound.
    #[serde(rename = "unread_mentions", skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The `n` of the oldest.
    #[serde(rename = "mention_n", skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
}

/// The conversations of a profile: those that it has pinned, then the others, each newest activity first. Without those that it has hidden.
#[derive(Clone, Debug)]
pub struct ListConversations {
    /// When it was asked.
    pub at: UnixMs,
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<ConversationCursor>,
    /// Only those in the archive, or only the others.
    pub archived: Option<bool>,
    /// The most items of the page.
    pub limit: u32,
}

/// A position in the list: the `seq` of the conversation's last activity (unique, so no tie-break is needed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConversationCursor {
    /// Whether the conversation is pinned.
    pub pinned: bool,
    /// The `seq` of the last activity.
    pub activity: u64,
}

/// A page of [`ListConversations`].
#[derive(Clone, Debug)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ConversationCursor>,
    /// The head of the log when the page was read.
    pub as_of: u64,
    /// Unread messages of all conversations.
    pub unread_total: u64,
    /// How many conversations are in the archive.
    pub archived_total: u64,
}

/// One conversation. `NotFound` unless `viewer` is a member of it.
#[derive(Clone, Debug)]
pub struct GetConversation {
    /// When it was asked.
    pub at: UnixMs,
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
}

/// Makes a group; its creator is admin. A repeated `client_id` of this creator returns the group that it made. `NotFound` if a
/// profile does not exist, or if there is a block between it and the creator; `Invalid("members")` above `members_max`.
#[derive(Clone, Debug)]
pub struct CreateConversation {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that creates it.
    pub creator: ProfileId,
    /// The client's own id.
    pub client_id: Option<ClientId>,
    /// The id of the new conversation.
    pub id: ConversationId,
    /// Its title.
    pub title: String,
    /// Each once, with or without the creator.
    pub members: Vec<ProfileId>,
    /// The most members that a group may have.
    pub members_max: usize,
}

/// The answer to [`CreateConversation`].
#[derive(Clone, Debug)]
pub struct CreatedConversation {
    /// The new conversation, or the original.
    pub conversation: Conversation,
    /// This creator used this `client_id` before.
    pub duplicate: bool,
}

/// Changes a conversation; `None` leaves a field as it is. `NotAllowed` for a title, an image or a history by a profile that is not admin,
/// and for those of a direct conversation.
#[derive(Clone, Debug)]
pub struct UpdateConversation {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The new title.
    pub title: Option<String>,
    /// An upload of the actor, or `Some(None)` for no image.
    pub image: Option<Option<UploadId>>,
    /// What later newcomers of a group see; nothing changes for those who have joined.
    pub history: Option<History>,
    /// Days that messages are kept, or `Some(None)` for as long as those of others.
    pub messages_kept: Option<Option<u32>>,
    /// For oneself only.
    pub own: ChangePreferences,
}

/// A member of a group, as the others see it.
#[derive(Clone, Debug, Serialize)]
pub struct GroupMember {
    /// The profile.
    pub profile: Profile,
    /// What it may do.
    pub role: Role,
    /// When it joined.
    pub joined_at: UnixMs,
    /// Up to which `n` it has read, if the viewer may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_n: Option<u64>,
}

/// The members of a conversation, in the order in which they joined. `NotFound` unless `viewer` is one.
#[derive(Clone, Debug)]
pub struct ListMembers {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListMembers`].
#[derive(Clone, Debug)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<GroupMember>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Adds a profile to a group, or changes its role. `NotAllowed` unless `actor` is admin, and for the role of the last admin.
#[derive(Clone, Debug)]
pub struct PutMember {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The profile to be added or changed.
    pub profile: ProfileId,
    /// What it may do from now on.
    pub role: Role,
    /// The most members that a group may have.
    pub members_max: usize,
}

/// Removes a profile from a group. `NotAllowed` unless `actor` is admin or the profile itself. When the last admin leaves, the
/// earliest member becomes admin.
#[derive(Clone, Debug)]
pub struct RemoveMember {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The profile to be removed.
    pub profile: ProfileId,
}

/// Moves a read mark: only forward, clamped to `last_n`. `NotFound` unless `reader` is a member.
#[derive(Clone, Debug)]
pub struct MarkRead {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that has read.
    pub reader: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Up to which message.
    pub n: u64,
}

/// The answer to [`MarkRead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Marked {
    /// Up to which `n` the viewer has read.
    pub read_n: u64,
    /// How many messages are unread.
    pub unread: u64,
    /// How many of them mention the viewer.
    #[serde(flatten)]
    pub mentions: UnreadMentions,
}

/// The chat list of the legacy route: every direct conversation of `viewer`, newest first.
#[derive(Clone, Debug)]
pub struct ListChats {
    /// When it was asked.
    pub at: UnixMs,
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The most items of the page.
    pub limit: u32,
}

/// The answer to [`ListChats`].
#[derive(Clone, Debug)]
pub struct Chats {
    /// The chats.
    pub chats: Vec<Chat>,
    /// Conversations of any type with unread messages.
    pub unread_conversations: u64,
    /// The head of the log when it was read.
    pub as_of: u64,
}

/// `{id,sender,receiver:[profile],message,is_read,created_at}`: id = conversation, sender = me.
#[derive(Clone, Debug, Serialize)]
pub struct Chat {
    /// The conversation.
    pub id: ConversationId,
    /// The viewer.
    pub sender: ProfileId,
    /// The other profile.
    pub receiver: Vec<Profile>,
    /// The newest text.
    pub message: String,
    /// Whether the viewer has read it.
    pub is_read: bool,
    /// When it was posted.
    pub created_at: UnixMs,
}
