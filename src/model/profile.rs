//! Profiles and blocks: what others see of a member, and what storage may be asked about it.
//!
//! Invariant: the reserved nick names are the first segments of all paths under `/api/v1`.

use crate::base::crypto::Entropy;
use crate::base::time::UnixMs;
use serde::Serialize;

use super::id::{MemberId, ProfileId, UploadId};
use super::upload::Image;

/// A profile, as the members that may see it see it.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// The id.
    pub id: ProfileId,
    /// The member's id in one's own profile, `None` in other people's and in events.
    pub member: Option<MemberId>,
    /// The display name.
    pub display_name: String,
    /// The nick name; unique.
    pub nick_name: String,
    /// The picture.
    pub profile_image: Option<Image>,
    /// Whether it is found only by its QR code and by profiles that share a conversation with it.
    pub is_private: bool,
    /// When its member signed up.
    pub created_at: UnixMs,
    /// Only in one's own profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<bool>,
    /// Whether its member is a bot.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
}

impl Profile {
    /// As other people see it.
    pub fn for_others(mut self) -> Profile {
        self.member = None;
        self.presence = None;
        self
    }
}

/// How a profile was found. By its QR code even a private profile is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By a search or a typed name.
    Search,
    /// By its QR code.
    QrCode,
}

/// The profile with exactly this nick name. `NotFound` also for a private one, unless it was found by its QR code or the viewer
/// shares a conversation with it.
#[derive(Clone, Debug)]
pub struct FindProfile {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The nick name, in lower case.
    pub nick_name: String,
    /// How the name was found.
    pub source: Source,
}

/// Those of these profiles that the viewer may see, in the same order, each once.
#[derive(Clone, Debug)]
pub struct ListProfiles {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The profiles that are asked for.
    pub ids: Vec<ProfileId>,
}

/// Profiles whose nick name begins with `prefix`, in the order of their nick names; then those whose display name does, in the
/// order of their display names. Private ones are left out.
#[derive(Clone, Debug)]
pub struct SearchProfiles {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// As [`search_key`] makes it.
    pub prefix: String,
    /// For the directory: without the viewer, disabled members, and profiles with a block between them and the viewer.
    pub is_directory: bool,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<SearchCursor>,
    /// The most items of the page.
    pub limit: u32,
}

/// Where the next page of [`SearchProfiles`] begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchCursor {
    /// After this nick name.
    Nick(String),
    /// After this display name and profile.
    Name {
        /// The display name, as [`search_key`] makes it.
        name: String,
        /// The profile.
        profile: ProfileId,
    },
}

/// A page of [`SearchProfiles`].
#[derive(Clone, Debug)]
pub struct FoundProfiles {
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<SearchCursor>,
}

/// The form of a name that is searched.
pub fn search_key(name: &str) -> String {
    name.to_lowercase()
}

/// A display name in a command. It brings the form in which it is searched: which letters have a lower case is a table of the build,
/// and every store that performs the command must write the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisplayName {
    /// As it is shown.
    pub text: String,
    /// As [`search_key`] made it.
    pub key: String,
}

impl From<String> for DisplayName {
    fn from(text: String) -> DisplayName {
        DisplayName { key: search_key(&text), text }
    }
}

/// First segments of the paths under `/api/v1`, also those that are reserved for later: `GET /api/v1/{nick_name}` would never
/// find a profile with such a name. When the database is opened, a profile that has one gets another name; in a cluster when a node gets
/// the duty.
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

/// Gives every holder of one of these nick names another one, and a mail that says so. The answer is how many there were.
///
/// It brings the names that the build of the asker reserves, and what is drawn, so that every node of a cluster decides alike.
#[derive(Clone, Debug)]
pub struct ReleaseNickNames {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The names.
    pub names: Vec<String>,
    /// What the new names and the ids of the mails are made of.
    pub seed: [u8; 16],
}

impl ReleaseNickNames {
    /// Of the names that this build reserves.
    pub fn new(at: UnixMs, entropy: &mut dyn Entropy) -> ReleaseNickNames {
        let mut seed = [0; 16];
        entropy.fill(&mut seed);
        ReleaseNickNames {
            at,
            names: RESERVED_NICK_NAMES.iter().map(|&name| name.to_owned()).collect(),
            seed,
        }
    }
}

/// Changes one's own profile; `None` leaves a field as it is. `NicknameTaken` if another profile has the nick name.
#[derive(Clone, Debug, Default)]
pub struct UpdateProfile {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile.
    pub profile: ProfileId,
    /// The new display name.
    pub display_name: Option<DisplayName>,
    /// In lower case.
    pub nick_name: Option<String>,
    /// Whether it is private from now on.
    pub is_private: Option<bool>,
    /// Whether others see it online from now on.
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

/// The profiles that `blocker` has blocked, the newest block first.
#[derive(Clone, Debug)]
pub struct ListBlocks {
    /// The profile that blocks.
    pub blocker: ProfileId,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListBlocks`].
#[derive(Clone, Debug)]
pub struct BlockPage {
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Sets or lifts a block. The answer is what changed; `None` if nothing did. `NotFound` if there is no such profile.
#[derive(Clone, Copy, Debug)]
pub struct SetBlock {
    /// The profile that blocks.
    pub blocker: ProfileId,
    /// The profile that is blocked.
    pub other: ProfileId,
    /// Whether it is blocked from now on.
    pub blocked: bool,
}

/// A block that was set or lifted.
#[derive(Clone, Copy, Debug)]
pub struct ChangedBlock {
    /// What changed.
    pub block: SetBlock,
    /// Whether the two have a direct conversation, so that they may know each other's presence.
    pub peers: bool,
}
