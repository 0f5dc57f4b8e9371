//! Preferences: what a member has set of a conversation, for oneself only.
//!
//! Invariant: no other member sees any of it, and a post writes none of it: what a time or a message ends is derived when it is read.

#![warn(missing_docs)]

use serde::Serialize;

use super::id::{ConversationId, ProfileId};
use crate::base::time::UnixMs;

/// Conversations that an account may have pinned. Above: `QuotaExceeded`.
pub const PINNED_CONVERSATIONS_MAX: usize = 100;

/// The preferences as they are at the time of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// It is muted now.
    pub muted: bool,
    /// When that ends; `None` if it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<UnixMs>,
    /// It is listed before those that are not.
    #[serde(skip_serializing_if = "is_not_set")]
    pub pinned: bool,
    /// It is in the archive, and not in the main list.
    #[serde(skip_serializing_if = "is_not_set")]
    pub archived: bool,
    /// The member marked it as unread.
    #[serde(skip_serializing_if = "is_not_set")]
    pub marked_unread: bool,
    /// It is in no list.
    #[serde(skip_serializing_if = "is_not_set")]
    pub hidden: bool,
}

fn is_not_set(flag: &bool) -> bool {
    !flag
}

/// Changes of preferences; `None` leaves one as it is. Archiving unpins, and pinning takes out of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePreferences {
    /// Muted or not.
    pub muted: Option<bool>,
    /// When that ends, with `muted`; `None`: it has no end.
    pub muted_until: Option<UnixMs>,
    /// `QuotaExceeded` above [`PINNED_CONVERSATIONS_MAX`].
    pub pinned: Option<bool>,
    /// Until the next message; a muted one stays archived.
    pub archived: Option<bool>,
    /// Until it is read.
    pub marked_unread: Option<bool>,
}

/// Makes all present messages of a conversation invisible for one member, as read. `NotFound` unless it is one.
#[derive(Clone, Debug)]
pub struct ClearConversation {
    /// When it was asked.
    pub at: UnixMs,
    /// The member.
    pub actor: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Takes it out of the lists too, until the next message. It is then neither pinned nor archived.
    pub hide: bool,
}
