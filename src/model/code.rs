//! Codes of six digits that prove who reads a mailbox: what storage is told of them. It never sees a code, only its HMAC.
//! Invariant: a code is good for one member, one purpose, five minutes, five tries and one use.

use super::id::MemberId;
use super::mail::NewMail;
use crate::base::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// That the address is the member's.
    Verify,
    /// That a new password may be set.
    Reset,
}

/// A code just drawn. Where its account and purpose had one within a minute, or five within an hour, storage keeps what
/// is there and sends nothing.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// HMAC of code, purpose and holder.
    pub tag: Secret<[u8; 32]>,
    /// An HMAC that stands for the member or the address.
    pub holder: [u8; 16],
    pub mail: NewMail,
}

/// A verification code for the member of a token. `Unauthorized` when the member is gone.
#[derive(Clone, Debug)]
pub struct IssueVerifyCode {
    pub at: u64,
    pub member: MemberId,
    pub code: NewCode,
}

/// A reset code for whoever has this address: answered alike, after the same work, where nobody has it.
#[derive(Clone, Debug)]
pub struct IssueResetCode {
    pub at: u64,
    /// In lower case.
    pub email: Secret,
    pub code: NewCode,
}

/// Uses a verification code up: the member is verified then. `CodeWrong` for any other.
#[derive(Clone, Debug)]
pub struct VerifyMember {
    pub at: u64,
    pub member: MemberId,
    pub holder: [u8; 16],
    pub tag: Secret<[u8; 32]>,
}

/// Uses a reset code up: the member has a new password then, and no session. `CodeWrong` for any other code or address.
#[derive(Clone, Debug)]
pub struct ResetPassword {
    pub at: u64,
    /// In lower case.
    pub email: Secret,
    pub holder: [u8; 16],
    pub tag: Secret<[u8; 32]>,
    /// A PHC string; `None` when this password may not guard this account, which only the owner of a right code is told
    /// (`Invalid`), and the code stays good.
    pub hash: Option<Secret>,
    pub mail: NewMail,
}
