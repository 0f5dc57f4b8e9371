//! A member: the person behind an account. Only its owner ever sees it.

use serde::Serialize;

use super::code::NewCode;
use super::message::Time;
use super::profile::Profile;
use super::session::NewSession;
use crate::base::id::Id;

#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub id: Id,
    pub email: String,
    pub verified: bool,
    pub active: bool,
    pub created_at: Time,
}

/// What sign-in compares: never leaves the server.
#[derive(Clone)]
pub struct Credential {
    pub member: Id,
    pub profile: Id,
    pub active: bool,
    /// A PHC string.
    pub hash: String,
    pub display_name: String,
    /// This member had a session with [`FindCredential::device`] before, living or ended.
    pub device_known: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("member", &self.member).finish_non_exhaustive()
    }
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
#[derive(Clone)]
pub struct Secret {
    /// A PHC string.
    pub hash: String,
    pub email: String,
    pub display_name: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `Unauthorized` when the member is gone or disabled.
#[derive(Clone, Debug)]
pub struct FindSecret {
    pub member: Id,
}

/// `NotFound` when the member is gone.
#[derive(Clone, Debug)]
pub struct FindAccount {
    pub member: Id,
}

/// Member, profile and first session in one transaction. `EmailTaken` when the address is in use.
#[derive(Clone)]
pub struct SignUp {
    pub at: u64,
    pub member: Id,
    pub profile: Id,
    /// In lower case.
    pub email: String,
    /// A PHC string.
    pub hash: String,
    pub display_name: String,
    /// Tried in order until one is free; the last has enough random digits to be free in practice.
    pub nick_names: Vec<String>,
    pub session: NewSession,
    /// Verifies the address; `None` where an operator vouches for it.
    pub code: Option<Box<NewCode>>,
}

impl std::fmt::Debug for SignUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignUp").field("member", &self.member).finish_non_exhaustive()
    }
}
