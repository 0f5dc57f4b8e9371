//! System messages: what a group's conversation tells of its members and its title.
//!
//! Invariant: nobody has one unread, and no member can change one.

#![warn(missing_docs)]

use serde::Serialize;

use super::id::ProfileId;

/// Profiles that a system message names. Above: only their number.
pub const SYSTEM_PROFILES_MAX: usize = 50;

/// The content of a system message. Its sender is who made the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SystemMessage {
    /// What happened.
    pub kind: SystemKind,
    /// The first of the profiles that it is about, without those whose account was deleted.
    pub profiles: Vec<ProfileId>,
    /// How many profiles it is about.
    #[serde(rename = "profiles_count")]
    pub count: u64,
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What a system message tells; `kind` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemKind {
    /// The sender made the group with these profiles.
    Created,
    /// The sender added these profiles.
    Added,
    /// The sender removed these profiles.
    Removed,
    /// The sender left.
    Left,
    /// These profiles became admins. The sender is one of them if the last admin left.
    Promoted,
    /// These profiles are no longer admins.
    Demoted,
    /// The sender gave the group another title.
    Renamed,
    /// The sender joined by an invite.
    Joined,
}

impl SystemKind {
    /// All of them. The position of each is stored in databases: a new one is added at the end.
    pub const ALL: [(&str, SystemKind); 8] = [
        ("created", SystemKind::Created),
        ("added", SystemKind::Added),
        ("removed", SystemKind::Removed),
        ("left", SystemKind::Left),
        ("promoted", SystemKind::Promoted),
        ("demoted", SystemKind::Demoted),
        ("renamed", SystemKind::Renamed),
        ("joined", SystemKind::Joined),
    ];
}
