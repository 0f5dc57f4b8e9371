//! A conversation as one viewer sees it in lists.

use serde::Serialize;

use super::message::{Message, Time};
use super::profile::Profile;
use super::upload::Image;
use crate::base::id::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationType {
    Direct,
    Group,
}

/// A row of conversation.list, and conversation.get's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    pub id: Id,
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
}

/// Newest activity first.
#[derive(Clone, Debug)]
pub struct ListConversations {
    pub viewer: Id,
    /// Continue behind this place.
    pub after: Option<ConversationPlace>,
    pub limit: u32,
}

/// A place in the list: the seq of the conversation's last activity (unique, so no tie-break is needed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationPlace {
    pub activity: u64,
}

#[derive(Clone, Debug)]
pub struct ConversationPage {
    pub conversations: Vec<Conversation>,
    pub next: Option<ConversationPlace>,
    /// The log's head this page was read at.
    pub as_of: u64,
    pub unread_total: u64,
}

/// Forward only, clamped to `last_n`. `NotFound` unless `reader` is a member.
#[derive(Clone, Debug)]
pub struct MarkRead {
    pub at: u64,
    pub reader: Id,
    pub conversation: Id,
    pub n: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Marked {
    pub read_n: u64,
    pub unread: u64,
}

/// The Go server's chat list: every direct conversation of `viewer`, newest first.
#[derive(Clone, Debug)]
pub struct ListChats {
    pub viewer: Id,
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
    pub id: Id,
    pub sender: Id,
    pub receiver: Vec<Profile>,
    pub message: String,
    pub is_read: bool,
    pub created_at: Time,
}
