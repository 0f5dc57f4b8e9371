//! A member: the person behind an account. Only its owner ever sees it.

use crate::base::secret::Secret;
use serde::Serialize;

use super::code::NewCode;
use super::id::{MemberId, ProfileId};
use super::message::Time;
use super::profile::Profile;
use super::session::NewSession;

#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub id: MemberId,
    pub email: String,
    pub verified: bool,
    pub active: bool,
    pub created_at: Time,
}

/// What sign-in compares: never leaves the server.
#[derive(Clone, Debug)]
pub struct Credential {
    pub member: MemberId,
    pub profile: ProfileId,
    pub active: bool,
    /// A PHC string.
    pub hash: Secret,
    pub display_name: String,
    /// This member had a session with [`FindCredential::device`] before, living or ended.
    pub device_known: bool,
}

/// A member together with the profile it speaks as.
#[derive(Clone, Debug)]
pub struct Account {
    pub member: Member,
    pub profile: Profile,
}

/// By e-mail, in lower case.
#[derive(Clone, Debug)]
pub struct FindCredential {
    pub email: String,
    /// SHA-256 of the device id the sign-in came with.
    pub device: Option<[u8; 32]>,
}

/// What a password is compared with and judged by: never leaves the server.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// A PHC string.
    pub hash: Secret,
    pub email: Secret,
    pub display_name: String,
}

/// `Unauthorized` when the member is gone or disabled.
#[derive(Clone, Debug)]
pub struct FindSecret {
    pub member: MemberId,
}

/// `NotFound` when the member is gone.
#[derive(Clone, Debug)]
pub struct FindAccount {
    pub member: MemberId,
}

/// A member and its profile, about to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub at: u64,
    pub member: MemberId,
    pub profile: ProfileId,
    /// In lower case.
    pub email: Secret,
    /// A PHC string.
    pub hash: Secret,
    pub display_name: String,
    /// Tried in order until one is free; the last has enough random digits to be free in practice.
    pub nick_names: Vec<String>,
}

/// Member, profile and first session in one transaction. `EmailTaken` when the address is in use.
#[derive(Clone, Debug)]
pub struct SignUp {
    pub account: NewAccount,
    pub session: NewSession,
    /// Verifies the address; without one nobody is asked to.
    pub code: Option<Box<NewCode>>,
}

/// What becomes of a deleted member's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They stay, without a sender.
    Keep,
    /// They become tombstones.
    Erase,
}

/// The end of an account: sessions end, groups are left, e-mail, hash, codes and the texts of the profile are erased.
/// With [`Leftovers::Erase`] the messages follow by [`EraseMessages`]. `Unauthorized` when the member is gone, or its
/// hash is not the proven one any more.
#[derive(Clone, Debug)]
pub struct DeleteAccount {
    pub at: u64,
    pub member: MemberId,
    /// The PHC string the password was compared with; `None` for an operator, who needs none.
    pub proven: Option<Secret>,
    pub leftovers: Leftovers,
}

/// One bounded step of turning a deleted member's messages into tombstones; the oldest deletion that is not done yet.
#[derive(Clone, Copy, Debug)]
pub struct EraseMessages {
    pub at: u64,
}

/// Whether there is more to erase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    All,
    Some,
}

/// Every member, in the order they signed up.
#[derive(Clone, Debug)]
pub struct ListAccounts {
    /// Continue behind this place.
    pub after: Option<u64>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct AccountPage {
    pub members: Vec<Member>,
    pub next: Option<u64>,
}

/// A member as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRef {
    Id(MemberId),
    /// In lower case.
    Email(String),
}

/// `NotFound` when there is none.
#[derive(Clone, Debug)]
pub struct FindMember {
    pub who: MemberRef,
}

/// A member made by an operator, who vouches for the address: verified, without a session and without a mail.
/// `EmailTaken` when the address is in use.
#[derive(Clone, Debug)]
pub struct AddMember {
    pub account: NewAccount,
}

/// Disables a member, which ends every session, or enables it again.
#[derive(Clone, Copy, Debug)]
pub struct SetActive {
    pub at: u64,
    pub member: MemberId,
    pub active: bool,
}
