//! Codes of six digits that prove access to a mailbox, as storage sees them: an HMAC, never the code.
//!
//! Invariant: a code is valid for one member, one purpose, five minutes, five attempts and one use.

use super::id::MemberId;
use super::mail::NewMail;
use crate::base::secret::Secret;
use crate::base::time::UnixMs;

/// What a code proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// That the address is the member's.
    Verify,
    /// That a new password may be set.
    Reset,
}

/// A new code. If its account and purpose had one within a minute, or five within an hour, storage keeps the old one and sends
/// nothing.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// HMAC of code, purpose and holder.
    pub tag: Secret<[u8; 32]>,
    /// An HMAC that identifies the member or the address.
    pub holder: [u8; 16],
    /// The mail that goes with it.
    pub mail: NewMail,
}

/// Issues a verification code for the member of a token. `Unauthorized` if the member was deleted.
#[derive(Clone, Debug)]
pub struct IssueVerifyCode {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The code.
    pub code: NewCode,
}

/// Issues a reset code for the member with this address. Without one, the work and the answer are the same.
#[derive(Clone, Debug)]
pub struct IssueResetCode {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// In lower case.
    pub email: Secret,
    /// The code.
    pub code: NewCode,
}

/// Uses a verification code: the member is verified then. `CodeWrong` for any other code.
#[derive(Clone, Debug)]
pub struct VerifyMember {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// As in [`NewCode::holder`].
    pub holder: [u8; 16],
    /// As in [`NewCode::tag`].
    pub tag: Secret<[u8; 32]>,
}

/// Uses a reset code: the member has a new password then, and no session. `CodeWrong` for any other code or address.
#[derive(Clone, Debug)]
pub struct ResetPassword {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// In lower case.
    pub email: Secret,
    /// As in [`NewCode::holder`].
    pub holder: [u8; 16],
    /// As in [`NewCode::tag`].
    pub tag: Secret<[u8; 32]>,
    /// A PHC string; `None` if the password may not protect this account: then the answer to a right code is `Invalid`, and the
    /// code stays valid.
    pub hash: Option<Secret>,
    /// The mail that goes with it.
    pub mail: NewMail,
}
