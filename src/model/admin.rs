//! What an admin of the server or the operator does to members, groups and messages, and the log of it.
//!
//! Owns the acts that nobody else can do, and the rows of the log. Leaves to the other modules the acts that existed before (`member`,
//! `invite`, `bot`, `hook`), which carry who asks as well.
//! Invariant: an act and its row are one transaction, and no command changes or removes a row.

#![warn(missing_docs)]

use super::id::{ConversationId, MemberId, MessageId, ProfileId, ReportId, SessionId};
use super::mail::NewMail;
use super::profile::DisplayName;
use crate::base::secret::Secret;
use crate::base::time::UnixMs;

/// Does one act. `NotAllowed` unless the operator or an admin of the server asks, and for an admin who asks for an act on an admin:
/// only the operator does that.
#[derive(Clone, Debug)]
pub struct Administer {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// What.
    pub act: Act,
}

/// An act on a member answers with the member as it is then, the others with `None`. `NotFound` if there is no such thing.
#[derive(Clone, Debug)]
pub enum Act {
    /// Gives a member another password, which ends every session.
    SetPassword(SetPassword),
    /// The address of the member is taken as verified.
    VerifyAddress(MemberId),
    /// Gives a member another name.
    Rename(Rename),
    /// Ends the sessions of a member.
    EndSessions(EndSessions),
    /// Makes a link by which a member sets a new password, instead of a former one.
    MakeResetLink(MakeResetLink),
    /// Removes all members of a group, and erases its messages later by [`EraseMessages`](super::member::EraseMessages).
    DeleteGroup(ConversationId),
    /// Erases a message, as its sender can.
    RemoveMessage(MessageId),
    /// Erases a report.
    CloseReport(ReportId),
    /// The member signs in with the password alone again; answered so also if it has no second factor.
    RemoveFactor(RemoveFactor),
    /// Only the row: a copy of the database is made, which is no write.
    BackUp,
}

/// See [`Act::SetPassword`]. `NotAllowed` for a bot, which has none.
#[derive(Clone, Debug)]
pub struct SetPassword {
    /// The member.
    pub member: MemberId,
    /// A PHC string.
    pub hash: Secret,
    /// The mail that goes with it.
    pub mail: NewMail,
}

/// See [`Act::Rename`]. `NicknameTaken` if another profile has the nick name.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The member.
    pub member: MemberId,
    /// `None` keeps it.
    pub display_name: Option<DisplayName>,
    /// `None` keeps it.
    pub nick_name: Option<String>,
}

/// See [`Act::EndSessions`].
#[derive(Clone, Copy, Debug)]
pub struct EndSessions {
    /// The member.
    pub member: MemberId,
    /// `None` ends all.
    pub session: Option<SessionId>,
}

/// See [`Act::MakeResetLink`]. `NotAllowed` for a bot and for a member that is disabled.
#[derive(Clone, Copy, Debug)]
pub struct MakeResetLink {
    /// The member.
    pub member: MemberId,
    /// SHA-256 of the code in the link.
    pub hash: [u8; 32],
    /// Until when it can be used, Unix ms.
    pub expires_at: UnixMs,
}

/// See [`Act::RemoveFactor`].
#[derive(Clone, Debug)]
pub struct RemoveFactor {
    /// The member.
    pub member: MemberId,
    /// The mail that goes with it, unless the member has none.
    pub mail: NewMail,
}

/// Whose password a link sets; `None` for a link that can't be used.
#[derive(Clone, Copy, Debug)]
pub struct FindResetLink {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// SHA-256 of the code in the link.
    pub hash: [u8; 32],
}

/// Sets the password of a member by a link, which ends every session and the link. `CodeWrong` for a link that can't be used.
#[derive(Clone, Debug)]
pub struct UseResetLink {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// SHA-256 of the code in the link.
    pub link: [u8; 32],
    /// A PHC string.
    pub hash: Secret,
    /// The mail that goes with it.
    pub mail: NewMail,
}

/// The rows of the log, the newest first. `NotAllowed` as [`Administer`].
#[derive(Clone, Copy, Debug)]
pub struct ListAudit {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The page begins with the rows before this; `None`: with the newest.
    pub before: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListAudit`].
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The rows.
    pub rows: Vec<AuditRow>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// One act.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// When, Unix ms.
    pub at: UnixMs,
    /// Which admin; `None` for the operator.
    pub who: Option<MemberId>,
    /// The nick name that the admin has now, if the account exists.
    pub who_name: Option<String>,
    /// What.
    pub act: String,
    /// The id of what it was done to.
    pub whom: Option<String>,
    /// The nick name that the member has now, if it was done to a member whose account exists.
    pub whom_name: Option<String>,
    /// More of it; never a secret, an address or a text of somebody else.
    pub detail: String,
}

/// Every group that was not deleted, in the order in which they were made; for the operator.
#[derive(Clone, Copy, Debug)]
pub struct ListGroups {
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListGroups`].
#[derive(Clone, Debug)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<ListedGroup>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A group as the operator sees it.
#[derive(Clone, Debug)]
pub struct ListedGroup {
    /// The id.
    pub id: ConversationId,
    /// Its title.
    pub title: String,
    /// How many members it has.
    pub members: u64,
    /// The position of its newest message.
    pub last_n: u64,
}

/// The members of a group, in the order in which they joined; for the operator. `NotFound` if there is no such group.
#[derive(Clone, Copy, Debug)]
pub struct ListGroupMembers {
    /// The group.
    pub group: ConversationId,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListGroupMembers`].
#[derive(Clone, Debug)]
pub struct GroupMemberPage {
    /// The members.
    pub members: Vec<ListedGroupMember>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A member of a group as the operator sees it.
#[derive(Clone, Debug)]
pub struct ListedGroupMember {
    /// The profile.
    pub profile: ProfileId,
    /// Its nick name.
    pub nick_name: String,
    /// Its display name.
    pub display_name: String,
    /// Whether it is an admin of the group.
    pub admin: bool,
}

/// Who has uploaded the most, the greatest sum first. `NotAllowed` as [`Administer`].
#[derive(Clone, Copy, Debug)]
pub struct ListStorage {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The most items.
    pub limit: u32,
}

/// What the uploads of a member take.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The member.
    pub member: MemberId,
    /// Its nick name.
    pub nick_name: String,
    /// Its display name.
    pub display_name: String,
    /// Bytes of all its uploads.
    pub bytes: u64,
    /// How many files these are; equal bytes are one.
    pub files: u64,
}

/// Nothing unless the operator or an admin of the server asks, else `NotAllowed`: for what is not in the database.
#[derive(Clone, Copy, Debug)]
pub struct CheckAdmin {
    /// `None` for the operator.
    pub by: Option<MemberId>,
}
