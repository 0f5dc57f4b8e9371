//! Codes of six digits that prove who reads a mailbox: what storage is told of them. It never sees a code, only its HMAC.
//! Invariant: a code is good for one member, one purpose, five minutes, five tries and one use.

use std::fmt;

use super::id::MemberId;
use super::mail::NewMail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// That the address is the member's.
    Verify,
    /// That a new password may be set.
    Reset,
}

/// A code just drawn. Where its account and purpose had one within a minute, or five within an hour, storage keeps what
/// is there and sends nothing.
#[derive(Clone)]
pub struct NewCode {
    /// HMAC of code, purpose and holder.
    pub tag: [u8; 32],
    /// An HMAC that stands for the member or the address.
    pub holder: [u8; 16],
    pub mail: NewMail,
}

impl fmt::Debug for NewCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCode").field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// A verification code for the member of a token. `Unauthorized` when the member is gone.
#[derive(Clone, Debug)]
pub struct IssueVerifyCode {
    pub at: u64,
    pub member: MemberId,
    pub code: NewCode,
}

/// A reset code for whoever has this address: answered alike, after the same work, where nobody has it.
#[derive(Clone)]
pub struct IssueResetCode {
    pub at: u64,
    /// In lower case.
    pub email: String,
    pub code: NewCode,
}

impl fmt::Debug for IssueResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueResetCode").field("code", &self.code).finish_non_exhaustive()
    }
}

/// Uses a verification code up: the member is verified then. `CodeWrong` for any other.
#[derive(Clone)]
pub struct VerifyMember {
    pub at: u64,
    pub member: MemberId,
    pub holder: [u8; 16],
    pub tag: [u8; 32],
}

impl fmt::Debug for VerifyMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyMember").field("member", &self.member).finish_non_exhaustive()
    }
}

/// Uses a reset code up: the member has a new password then, and no session. `CodeWrong` for any other code or address.
#[derive(Clone)]
pub struct ResetPassword {
    pub at: u64,
    /// In lower case.
    pub email: String,
    pub holder: [u8; 16],
    pub tag: [u8; 32],
    /// A PHC string; `None` when this password may not guard this account, which only the owner of a right code is told
    /// (`Invalid`), and the code stays good.
    pub hash: Option<String>,
    pub mail: NewMail,
}

impl fmt::Debug for ResetPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResetPassword").finish_non_exhaustive()
    }
}
