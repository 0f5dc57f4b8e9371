//! The second factor of a member: codes of an authenticator app, and recovery codes in their place.
//!
//! Owns the rows of the storage contract. Leaves to `auth/second_factor.rs` how a code is checked and a secret sealed.
//! Invariant: storage sees neither a secret nor a code, and no step and no recovery code is used twice.

#![warn(missing_docs)]

use super::id::MemberId;
use super::mail::NewMail;
use crate::base::secret::Secret;
use crate::base::time::UnixMs;

/// Recovery codes of a member.
pub const RECOVERY_CODES: usize = 10;

/// What a code is compared with. It never leaves the server.
#[derive(Clone, Debug)]
pub struct StoredFactor {
    /// The sealed secret, in base64url.
    pub sealed: Secret,
    /// The time step of the last code that was used.
    pub step: u64,
}

/// A code that was presented.
#[derive(Clone, Debug)]
pub enum UsedFactor {
    /// The code of this time step, which is right.
    Step(u64),
    /// The HMAC of a recovery code, which is right if storage has it.
    Recovery(Secret<[u8; 32]>),
}

/// What becomes of a second factor.
#[derive(Clone, Debug)]
pub enum FactorChange {
    /// The member has one from now on. `NotAllowed` if it has one.
    Add(NewFactor),
    /// It has other recovery codes.
    Renew(Vec<Secret<[u8; 32]>>),
    /// It has none any more.
    Remove,
}

/// A new second factor.
#[derive(Clone, Debug)]
pub struct NewFactor {
    /// The sealed secret, in base64url.
    pub sealed: Secret,
    /// The time step of the code that proved that the member has it.
    pub step: u64,
    /// The HMACs of the recovery codes.
    pub recovery: Vec<Secret<[u8; 32]>>,
}

/// Changes the second factor of a member. `Unauthorized` if the member was deleted or its hash is no longer the proven one; `NotFound` if
/// there is none to change; `CodeWrong` for a code that was used.
#[derive(Clone, Debug)]
pub struct ChangeFactor {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The PHC string with which the password was compared; `None` for an operator, who needs neither it nor a code, and for whom a
    /// member without a second factor is no refusal.
    pub proven: Option<Secret>,
    /// The code that was presented, except for `Add`.
    pub used: Option<UsedFactor>,
    /// The change.
    pub change: FactorChange,
    /// The mail that goes with it.
    pub mail: NewMail,
}
