//! A profile: what others see of a member, and what may be asked of profiles and blocks.

use serde::Serialize;

use super::id::{MemberId, ProfileId, UploadId};
use super::message::Time;
use super::upload::Image;

#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub id: ProfileId,
    /// The member's id in one's own profile, `None` in other people's and in events.
    pub member: Option<MemberId>,
    pub display_name: String,
    pub nick_name: String,
    pub profile_image: Option<Image>,
    pub is_private: bool,
    pub created_at: Time,
    /// Only in one's own profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<bool>,
}

impl Profile {
    /// As other people see it.
    pub fn for_others(mut self) -> Profile {
        self.member = None;
        self.presence = None;
        self
    }
}

/// How a profile was come upon: by its code one is shown even a private one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Search,
    QrCode,
}

/// Exactly this nick name, in lower case. `NotFound` also for a private one, unless it was scanned or the viewer shares
/// a conversation with it.
#[derive(Clone, Debug)]
pub struct FindProfile {
    pub viewer: ProfileId,
    pub nick_name: String,
    pub source: Source,
}

/// Those of these profiles that the viewer may see, in the order asked; each once.
#[derive(Clone, Debug)]
pub struct ListProfiles {
    pub viewer: ProfileId,
    pub ids: Vec<ProfileId>,
}

/// Profiles whose nick name begins with `prefix`, in the order of their nick names; then those whose display name
/// does, in the order of those. Private ones are left out.
#[derive(Clone, Debug)]
pub struct SearchProfiles {
    pub viewer: ProfileId,
    /// As [`search_key`] makes it.
    pub prefix: String,
    /// Continue behind this place.
    pub after: Option<SearchCursor>,
    pub limit: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchCursor {
    Nick(String),
    Name { name: String, profile: ProfileId },
}

#[derive(Clone, Debug)]
pub struct FoundProfiles {
    pub profiles: Vec<Profile>,
    pub next: Option<SearchCursor>,
}

/// What a name is searched by.
pub fn search_key(name: &str) -> String {
    name.to_lowercase()
}

/// First segments of the paths under `/api/v1`, those that are kept for later included: `GET /api/v1/{nick_name}` would never
/// reach a profile of such a name. A holder from before gets another when the database is opened.
pub const RESERVED_NICK_NAMES: &[&str] = &[
    "admin",
    "all",
    "asyncapi.json",
    "audit",
    "blocks",
    "bots",
    "chat-counter",
    "chat-list",
    "conversations",
    "directory",
    "docs",
    "events",
    "healthz",
    "hooks",
    "invites",
    "messages",
    "metrics",
    "openapi.json",
    "profile",
    "profiles",
    "push",
    "readyz",
    "reports",
    "search",
    "uploads",
    "user",
    "ws",
];

/// Changes of one's own profile; `None` leaves a field as it is. `NicknameTaken` when somebody else has it.
#[derive(Clone, Debug, Default)]
pub struct UpdateProfile {
    pub at: u64,
    pub profile: ProfileId,
    pub display_name: Option<String>,
    /// In lower case.
    pub nick_name: Option<String>,
    pub is_private: Option<bool>,
    pub presence: Option<bool>,
    /// An upload of this profile's member, or `Some(None)` for no image.
    pub image: Option<Option<UploadId>>,
}

impl UpdateProfile {
    /// Whether its direct peers may see the change, so that storage reads all of them. They never see `presence`.
    pub fn is_told_to_peers(&self) -> bool {
        self.display_name.is_some()
            || self.nick_name.is_some()
            || self.is_private.is_some()
            || self.image.is_some()
    }
}

/// The profiles one has blocked, the newest block first.
#[derive(Clone, Debug)]
pub struct ListBlocks {
    pub blocker: ProfileId,
    /// Continue behind this place.
    pub after: Option<u64>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct BlockPage {
    pub profiles: Vec<Profile>,
    pub next: Option<u64>,
}

/// Blocking the blocked and unblocking the unblocked is done already. `NotFound` when there is no such profile. Answers what
/// it changed, if it did.
#[derive(Clone, Copy, Debug)]
pub struct SetBlock {
    pub blocker: ProfileId,
    pub other: ProfileId,
    pub blocked: bool,
}

/// A block that was set or lifted just now.
#[derive(Clone, Copy, Debug)]
pub struct ChangedBlock {
    pub block: SetBlock,
    /// The two have a direct conversation, and so may know of each other's presence.
    pub peers: bool,
}
