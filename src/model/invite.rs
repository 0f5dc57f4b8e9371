//! Invites: links by which people join a group, or sign up.
//!
//! Invariant: a code is in the link and nowhere else; what travels and is stored is its hash.

use serde::Serialize;

use super::event::ConversationBrief;
use super::id::{ConversationId, InviteId, MemberId, ProfileId};
use crate::base::time::UnixMs;

/// SHA-256 of the 128 random bits of a code.
pub type InviteHash = [u8; 32];

/// An invite, as the admins see it who can revoke it.
#[derive(Clone, Debug, Serialize)]
pub struct Invite {
    /// The id.
    pub id: InviteId,
    /// The group; `None` for an invite to the server.
    pub conversation: Option<ConversationId>,
    /// Who made it; `None` for the operator.
    pub maker: Option<ProfileId>,
    /// How often it was used.
    pub uses: u64,
    /// How often it can be used.
    pub uses_max: u64,
    /// When it was made.
    pub created_at: UnixMs,
    /// Until when it can be used.
    pub expires_at: UnixMs,
}

/// Makes an invite to a group of which the member is an admin, or to the server by an admin of the server. `NotFound` for a group
/// that the member can't read, `NotAllowed` for one that is no admin, `QuotaExceeded` above a limit of open invites.
#[derive(Clone, Debug)]
pub struct CreateInvite {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// Its id.
    pub id: InviteId,
    /// The hash of its code.
    pub hash: InviteHash,
    /// The group; `None` for an invite to the server.
    pub conversation: Option<ConversationId>,
    /// How often it can be used.
    pub uses_max: u64,
    /// Until when it can be used.
    pub expires_at: UnixMs,
}

/// The open invites to a group or to the server, the oldest first; refused as [`CreateInvite`] is.
#[derive(Clone, Debug)]
pub struct ListInvites {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The group; `None` for those to the server.
    pub conversation: Option<ConversationId>,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListInvites`].
#[derive(Clone, Debug)]
pub struct InvitePage {
    /// The invites.
    pub invites: Vec<Invite>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Ends an invite that [`ListInvites`] shows to this member; `NotFound` for any other.
#[derive(Clone, Debug)]
pub struct RevokeInvite {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// Which invite.
    pub invite: InviteId,
}

/// An open invite by the hash of its code. `Invalid("invite")` for any other: wrong, expired, used up, revoked or ended.
#[derive(Clone, Copy, Debug)]
pub struct FindInvite {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The hash of its code.
    pub hash: InviteHash,
}

/// The answer to [`FindInvite`].
#[derive(Clone, Debug)]
pub struct FoundInvite {
    /// The group that one joins.
    pub conversation: Option<ConversationBrief>,
    /// Whether it permits a sign-up where only an invite does: it is one to the server, or its maker is an admin of the server.
    pub admits: bool,
}

/// A member joins the group of an invite, which counts one use. A profile that is in the group already changes and counts nothing.
/// `Invalid("invite")` as for [`FindInvite`], for a block between the profile and the maker, and for a profile that an admin removed
/// from the group; `Invalid("members")` if the group is full.
#[derive(Clone, Copy, Debug)]
pub struct UseInvite {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// Who joins.
    pub profile: ProfileId,
    /// What a sign-up does with an invite, too.
    pub invite: PresentedInvite,
}

/// An invite that was presented to join a group or to sign up.
#[derive(Clone, Copy, Debug)]
pub struct PresentedInvite {
    /// The hash of its code.
    pub hash: InviteHash,
    /// Whether it must permit a sign-up by itself; else `NotAllowed`.
    pub must_admit: bool,
    /// The most members that a group may have.
    pub members_max: usize,
}
