//! Outgoing hooks: the address of a bot's own program, which gets the bot's events.
//!
//! Invariant: a hook knows up to which event its program has accepted all, and it only moves forward in one epoch of the log.

#![warn(missing_docs)]

use std::time::Duration;

use serde::Serialize;

use super::id::{HookId, MemberId, ProfileId};
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};

/// The key by which a program recognizes the calls of its hook.
pub type HookSecret = Secret<[u8; 32]>;

/// Sets the outgoing hook of a bot, in place of the one that it has, or removes it. `NotAllowed` unless the operator or an admin of the
/// server asks, `NotFound` if there is no such bot.
#[derive(Clone, Debug)]
pub struct SetHook {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The bot.
    pub bot: ProfileId,
    /// The epoch of the log: the first event is the next one.
    pub epoch: String,
    /// The hook; `None` removes it.
    pub hook: Option<NewHook>,
}

/// A new outgoing hook.
#[derive(Clone, Debug)]
pub struct NewHook {
    /// The id, which is a part of the id of each call.
    pub id: HookId,
    /// The address: who knows it may be able to call it.
    pub url: Secret,
    /// The key of the signatures.
    pub secret: HookSecret,
}

/// The state of the outgoing hook of a bot; refused as [`SetHook`] is, and `NotFound` if it has none.
#[derive(Clone, Copy, Debug)]
pub struct FindHook {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The bot.
    pub bot: ProfileId,
}

/// An outgoing hook as those who manage it see it.
#[derive(Clone, Debug, Serialize)]
pub struct HookState {
    /// The id.
    pub id: HookId,
    /// The address.
    pub url: String,
    /// All events up to this `seq` were accepted.
    pub seq: u64,
    /// Calls that failed since one was accepted.
    pub failures: u32,
    /// Why the last one failed; `None` if it was accepted.
    pub error: Option<String>,
    /// When the next try is made, if one failed.
    pub retry_at: Option<UnixMs>,
    /// When it was set.
    pub created_at: UnixMs,
}

/// Every outgoing hook of a bot that is not disabled, to be called.
#[derive(Clone, Copy, Debug)]
pub struct ListHooks;

/// An outgoing hook as the server calls it.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The id.
    pub id: HookId,
    /// Whose events it gets.
    pub profile: ProfileId,
    /// The address.
    pub url: Secret,
    /// The key of the signatures.
    pub secret: HookSecret,
    /// The epoch that it has come to.
    pub epoch: String,
    /// The `seq` that it has come to.
    pub through: u64,
    /// Calls that failed since one was accepted.
    pub failures: u32,
    /// No call is made before this time.
    pub retry_at: UnixMs,
}

/// Stores how far a hook has come. A hook that was replaced stays as it is.
#[derive(Clone, Debug)]
pub struct MoveHook {
    /// Which hook.
    pub hook: HookId,
    /// The epoch of the log.
    pub epoch: String,
    /// All events up to this `seq` were accepted.
    pub through: u64,
    /// Calls that failed since one was accepted.
    pub failures: u32,
    /// No call is made before this time; 0 if none failed. A time to come.
    pub retry_at: UnixMs,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// One call of a hook, for a worker.
#[derive(Clone, Debug)]
pub struct HookCall {
    /// The address.
    pub url: Secret,
    /// The key of the signature.
    pub secret: HookSecret,
    /// The same for each try.
    pub id: String,
    /// The event as JSON.
    pub body: Secret<Vec<u8>>,
    /// The time for its signature.
    pub unix_s: UnixS,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFailure {
    /// A phrase without anything that the other side sent.
    pub error: String,
    /// The other side asks for the next call after this time.
    pub retry_after: Option<Duration>,
}
