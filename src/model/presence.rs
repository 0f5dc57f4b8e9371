//! Who may hear that somebody types or is online. Never stored, but for the time of the last good-bye.

use super::id::{ConversationId, ProfileId};
use super::message::Time;

/// Those of a conversation who may hear that `viewer` types: its other members, less those between whom and the viewer a
/// block stands. `NotFound` unless `viewer` is a member.
#[derive(Clone, Debug)]
pub struct FindListeners {
    pub viewer: ProfileId,
    pub conversation: ConversationId,
}

/// The direct peers of a profile between whom presence may be known, of newest activity first.
#[derive(Clone, Debug)]
pub struct FindPeers {
    pub profile: ProfileId,
}

/// A profile went offline; answers as [`FindPeers`].
#[derive(Clone, Debug)]
pub struct MarkOffline {
    pub profile: ProfileId,
    pub at: u64,
}

#[derive(Clone, Debug)]
pub struct Peers {
    /// The profile hides its presence, or is private.
    pub hidden: bool,
    /// Direct peers who don't hide theirs, with no block in between.
    pub peers: Vec<ProfileId>,
    pub last_seen_at: Option<Time>,
}
