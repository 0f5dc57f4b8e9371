//! A conversation as one viewer sees it in lists.

use serde::Serialize;

use super::event::Role;
use super::id::{ClientId, ConversationId, ProfileId, UploadId};
use super::message::{Message, Time};
use super::profile::Profile;
use super::upload::Image;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationType {
    Direct,
    Group,
}

/// A row of conversation.list, and conversation.get's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    pub id: ConversationId,
    #[serde(rename = "type")]
    pub kind: ConversationType,
    pub title: Option<String>,
    pub image: Option<Image>,
    pub members_count: u64,
    /// The other one of a direct conversation, `None` once deleted and for groups.
    pub peer: Option<Profile>,
    pub last_message: Option<Message>,
    pub unread: u64,
    pub read_n: u64,
    pub last_n: u64,
    pub muted: bool,
    /// How far the other one of a direct conversation has read, where that may be seen: a client that just came draws its
    /// marks with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_read_n: Option<u64>,
    /// The viewer's own role in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// Newest activity first.
#[derive(Clone, Debug)]
pub struct ListConversations {
    pub viewer: ProfileId,
    /// Continue behind this place.
    pub after: Option<ConversationCursor>,
    pub limit: u32,
}

/// A place in the list: the seq of the conversation's last activity (unique, so no tie-break is needed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationCursor {
    pub activity: u64,
}

#[derive(Clone, Debug)]
pub struct ConversationPage {
    pub conversations: Vec<Conversation>,
    pub next: Option<ConversationCursor>,
    /// The log's head this page was read at.
    pub as_of: u64,
    pub unread_total: u64,
}

/// `NotFound` unless `viewer` is a member.
#[derive(Clone, Debug)]
pub struct GetConversation {
    pub viewer: ProfileId,
    pub conversation: ConversationId,
}

/// A group, its creator its admin. A repeated `client_id` of this creator answers the group it made.
/// `NotFound` when a member does not exist or is blocked, either way; `Invalid("members")` beyond the limit.
#[derive(Clone, Debug)]
pub struct CreateConversation {
    pub at: u64,
    pub creator: ProfileId,
    pub client_id: Option<ClientId>,
    pub id: ConversationId,
    pub title: String,
    /// Without the creator or with, each once.
    pub members: Vec<ProfileId>,
    pub members_max: usize,
}

#[derive(Clone, Debug)]
pub struct CreatedConversation {
    pub conversation: Conversation,
    pub duplicate: bool,
}

/// `NotAllowed` for a title by one who is no admin, and for any title of a direct conversation.
#[derive(Clone, Debug)]
pub struct UpdateConversation {
    pub at: u64,
    pub actor: ProfileId,
    pub conversation: ConversationId,
    pub title: Option<String>,
    /// An upload of the actor, or `Some(None)` for no image.
    pub image: Option<Option<UploadId>>,
    /// For oneself only.
    pub muted: Option<bool>,
}

/// A member as the others see it.
#[derive(Clone, Debug, Serialize)]
pub struct GroupMember {
    pub profile: Profile,
    pub role: Role,
    pub joined_at: Time,
}

/// In the order of joining.
#[derive(Clone, Debug)]
pub struct ListMembers {
    pub viewer: ProfileId,
    pub conversation: ConversationId,
    /// Continue behind this place.
    pub after: Option<u64>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct MemberPage {
    pub members: Vec<GroupMember>,
    pub next: Option<u64>,
}

/// Adds a member, or changes the role of one. By an admin; the last admin can't be made a member.
#[derive(Clone, Debug)]
pub struct PutMember {
    pub at: u64,
    pub actor: ProfileId,
    pub conversation: ConversationId,
    pub profile: ProfileId,
    pub role: Role,
    pub members_max: usize,
}

/// By an admin, or of oneself. When the last admin leaves, the eldest member becomes one.
#[derive(Clone, Debug)]
pub struct RemoveMember {
    pub at: u64,
    pub actor: ProfileId,
    pub conversation: ConversationId,
    pub profile: ProfileId,
}

/// Forward only, clamped to `last_n`. `NotFound` unless `reader` is a member.
#[derive(Clone, Debug)]
pub struct MarkRead {
    pub at: u64,
    pub reader: ProfileId,
    pub conversation: ConversationId,
    pub n: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Marked {
    pub read_n: u64,
    pub unread: u64,
}

/// The chat list of the legacy route: every direct conversation of `viewer`, newest first.
#[derive(Clone, Debug)]
pub struct ListChats {
    pub viewer: ProfileId,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct Chats {
    pub chats: Vec<Chat>,
    /// Conversations of any type with unread messages.
    pub unread_conversations: u64,
    pub as_of: u64,
}

/// `{id,sender,receiver:[profile],message,is_read,created_at}`: id = conversation, sender = me.
#[derive(Clone, Debug, Serialize)]
pub struct Chat {
    pub id: ConversationId,
    pub sender: ProfileId,
    pub receiver: Vec<Profile>,
    pub message: String,
    pub is_read: bool,
    pub created_at: Time,
}
