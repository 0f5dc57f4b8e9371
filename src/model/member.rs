//! Members and their accounts: what storage may be asked about them.
//!
//! Invariant: only the member itself and an operator see a [`Member`]; others see its profile.

use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use serde::{Serialize, Serializer};

use super::code::NewCode;
use super::id::{MemberId, ProfileId};
use super::invite::PresentedInvite;
use super::profile::{DisplayName, Profile};
use super::second_factor::StoredFactor;
use super::session::NewSession;

/// A member as it sees itself and as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// The id.
    pub id: MemberId,
    /// The e-mail address, in lower case; empty for a bot, and then null in JSON.
    #[serde(serialize_with = "text_or_null")]
    pub email: String,
    /// Whether the e-mail address is verified.
    pub verified: bool,
    /// Whether it may sign in.
    pub active: bool,
    /// Whether it is an admin of the server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Whether it is a bot.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
    /// Whether it wants a mail a day about what is unread. Operators do not see it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
    /// Whether a sign-in needs a code.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub second_factor: bool,
    /// How many recovery codes are left. Operators do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_codes: Option<u64>,
    /// When it signed up.
    pub created_at: UnixMs,
}

fn text_or_null<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(text) }
}

/// What a sign-in compares. It never leaves the server.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The member.
    pub member: MemberId,
    /// The profile.
    pub profile: ProfileId,
    /// Whether it may sign in.
    pub active: bool,
    /// A PHC string.
    pub hash: Secret,
    /// The display name.
    pub display_name: String,
    /// Whether this member has or had a session with [`FindCredential::device`].
    pub device_known: bool,
    /// What a code is compared with.
    pub second_factor: Option<StoredFactor>,
}

/// A member and its profile.
#[derive(Clone, Debug)]
pub struct Account {
    /// The member.
    pub member: Member,
    /// The profile.
    pub profile: Profile,
}

/// The credential of an e-mail address; `None` if no member has it.
#[derive(Clone, Debug)]
pub struct FindCredential {
    /// The e-mail address, in lower case.
    pub email: String,
    /// SHA-256 of the device id in the sign-in.
    pub device: Option<[u8; 32]>,
}

/// What a password is compared with, and by which rules it is checked. It never leaves the server.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// A PHC string.
    pub hash: Secret,
    /// The e-mail address, in lower case.
    pub email: Secret,
    /// The display name.
    pub display_name: String,
    /// What a code is compared with.
    pub second_factor: Option<StoredFactor>,
}

/// `Unauthorized` if the member was deleted or is disabled.
#[derive(Clone, Debug)]
pub struct FindSecret {
    /// The member.
    pub member: MemberId,
}

/// `NotFound` if the member was deleted.
#[derive(Clone, Debug)]
pub struct FindAccount {
    /// The member.
    pub member: MemberId,
}

/// A new member and its profile.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The id of the member.
    pub member: MemberId,
    /// The id of the profile.
    pub profile: ProfileId,
    /// In lower case.
    pub email: Secret,
    /// A PHC string.
    pub hash: Secret,
    /// The display name.
    pub display_name: DisplayName,
    /// Tried in order until one is free; the last has enough random digits to be free in practice.
    pub nick_names: Vec<String>,
}

/// Makes member, profile and first session in one transaction, in which the member joins the group of its invite. `EmailTaken` if
/// the address is in use; for a refused invite as [`UseInvite`](super::invite::UseInvite), and `NotAllowed` if it must permit the
/// sign-up and does not.
#[derive(Clone, Debug)]
pub struct SignUp {
    /// The new account.
    pub account: NewAccount,
    /// Its first session.
    pub session: NewSession,
    /// The code that verifies the address; `None` sends none.
    pub code: Option<Box<NewCode>>,
    /// The invite that was presented.
    pub invite: Option<PresentedInvite>,
}

/// What becomes of a deleted member's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They stay, without a sender.
    Keep,
    /// They become tombstones.
    Erase,
}

/// Deletes an account: sessions end, groups are left, e-mail, hash, codes and the texts of the profile are erased. With
/// [`Leftovers::Erase`] the messages are erased later by [`EraseMessages`]. `Unauthorized` if the member was deleted, or its
/// hash is no longer the proven one.
#[derive(Clone, Debug)]
pub struct DeleteAccount {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The PHC string with which the password was compared; `None` for an admin of the server and the operator, who need none.
    pub proven: Option<Secret>,
    /// Which admin asks, if nothing is proven; `None` for the operator.
    pub by: Option<MemberId>,
    /// What becomes of the messages.
    pub leftovers: Leftovers,
}

/// One bounded step that turns messages of a deleted member into tombstones, of the oldest deletion that is not complete.
#[derive(Clone, Copy, Debug)]
pub struct EraseMessages {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
}

/// Whether there is more to erase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// Nothing is left to erase.
    All,
    /// There is more: ask again.
    Some,
}

/// Every member, in the order in which they signed up. `NotAllowed` unless the operator or an admin of the server asks.
#[derive(Clone, Debug)]
pub struct ListAccounts {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// Only those whose address, nick name or display name has this text.
    pub search: Option<DisplayName>,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListAccounts`].
#[derive(Clone, Debug)]
pub struct AccountPage {
    /// The members.
    pub members: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A member in the list of the operator and the admins.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The member.
    #[serde(flatten)]
    pub member: Member,
    /// Its profile.
    pub profile: ProfileId,
    /// Its nick name.
    pub nick_name: String,
    /// Its display name.
    pub display_name: String,
}

/// A member as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRef {
    /// By its id.
    Id(MemberId),
    /// In lower case.
    Email(String),
    /// In lower case.
    NickName(String),
}

/// `NotFound` when there is none. `NotAllowed` unless the operator or an admin of the server asks.
#[derive(Clone, Debug)]
pub struct FindMember {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// Which member.
    pub who: MemberRef,
}

/// Makes a member for an operator or an admin of the server, who vouches for the address: verified, without a session and without a
/// mail. `NotAllowed` for others, `EmailTaken` if the address is in use.
#[derive(Clone, Debug)]
pub struct AddMember {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The new account.
    pub account: NewAccount,
}

/// Makes a member an admin of the server, or takes that back. `NotAllowed` for a bot.
#[derive(Clone, Copy, Debug)]
pub struct SetAdmin {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// Whether it is an admin from now on.
    pub admin: bool,
}

/// Disables a member, which ends every session, or enables it again. `NotAllowed` unless the operator or an admin of the server asks,
/// and for an admin who asks for an admin.
#[derive(Clone, Copy, Debug)]
pub struct SetActive {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The member.
    pub member: MemberId,
    /// Whether it may sign in from now on.
    pub active: bool,
}
