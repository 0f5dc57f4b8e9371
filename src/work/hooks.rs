//! Calls outgoing hooks: signs each event and posts it to the address of its bot.
//!
//! Shares threads and the rules for addresses with notifications. Owns the connections that are kept for the next call.
//! Invariant: nothing that the other side sent is in the reason of a failure, which those who manage the bot see.

use std::time::Duration;

use super::kept::{Kept, Reach, exchange};
use crate::model::hook::{HookCall, HookFailure};
use crate::proto::hook::{HookEndpoint, HookRequest};
use crate::proto::http::client::{Authority, RetryAfter};

/// Addresses whose connections one thread keeps.
const KEPT_MAX: usize = 2;

/// The connections of one worker thread, the one that was used last first.
#[derive(Default)]
pub struct HookCaller {
    kept: Vec<(Authority, Kept)>,
}

impl HookCaller {
    pub fn call(&mut self, reach: Reach<'_>, call: &HookCall) -> Result<(), HookFailure> {
        let failed = |error: &str| HookFailure { error: error.to_owned(), retry_after: None };
        let endpoint =
            HookEndpoint::parse(call.url.expose()).map_err(|_| failed("the address can't be used"))?;
        let authority = &endpoint.authority;
        // What was stored under HOOKS_PRIVATE is no longer sent in the clear without it.
        if !authority.tls && !reach.private {
            return Err(failed("the address is not https"));
        }
        let request = endpoint.post(&HookRequest {
            id: &call.id,
            unix_s: call.unix_s,
            secret: call.secret.expose(),
            body: call.body.expose(),
        });
        let known = self.kept.iter().position(|(known, _)| known == authority);
        let mut kept = known.map(|at| self.kept.remove(at).1);
        let exchanged = exchange(reach, authority, &mut kept, &request);
        if let Some(kept) = kept {
            self.kept.insert(0, (authority.clone(), kept));
        }
        while self.kept.len() > KEPT_MAX {
            self.kept.pop().into_iter().for_each(|(_, kept)| kept.close());
        }
        let head = exchanged.map_err(|fault| failed(fault.reason()))?;
        if (200..300).contains(&head.status) {
            return Ok(());
        }
        let retry_after = head.retry_after.map(|after| match after {
            RetryAfter::Seconds(seconds) => Duration::from_secs(seconds),
            RetryAfter::At(at) => Duration::from_secs(at.since(call.unix_s)),
        });
        Err(HookFailure { error: format!("the answer was {}", head.status), retry_after })
    }

    /// Closes the connections.
    pub fn idle(&mut self) {
        std::mem::take(&mut self.kept).into_iter().for_each(|(_, kept)| kept.close());
    }
}
