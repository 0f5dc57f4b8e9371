//! Which profiles may know that one types or is online.
//!
//! Presence is never stored, except the time at which a profile went offline.

use super::id::{ConversationId, ProfileId};
use crate::base::time::UnixMs;

/// The profiles that may know that `viewer` types in a conversation: its other members, except those with a block between them
/// and the viewer. `NotFound` unless `viewer` is a member.
#[derive(Clone, Debug)]
pub struct FindListeners {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
}

/// The direct peers of a profile that may know its presence and whose presence it may know, newest activity first.
#[derive(Clone, Debug)]
pub struct FindPeers {
    /// The profile.
    pub profile: ProfileId,
}

/// Stores that a profile went offline; the answer is that of [`FindPeers`].
#[derive(Clone, Debug)]
pub struct MarkOffline {
    /// The profile that went offline.
    pub profile: ProfileId,
    /// When it was asked, Unix ms.
    pub at: UnixMs,
}

/// The answer to [`FindPeers`] and [`MarkOffline`].
#[derive(Clone, Debug)]
pub struct Peers {
    /// The profile whose peers they are.
    pub profile: ProfileId,
    /// Whether the profile hides its presence, or is private.
    pub hidden: bool,
    /// The direct peers that do not hide theirs, with no block in between.
    pub peers: Vec<ProfileId>,
    /// When the profile was last online.
    pub last_seen_at: Option<UnixMs>,
}
