//! Which members have verified an e-mail address, for REQUIRE_VERIFIED.
//!
//! An access token can't say it, since it may be older than the verification. Storage is asked, and the answer is kept, since a
//! verified member stays verified.
//! Invariant: nothing outside of `/api/v1/user/` is done for a member that is not known to be verified.

use std::collections::BTreeSet;

use crate::model::handler::{Actor, FollowUp, Step};
use crate::model::id::MemberId;
use crate::model::member::FindAccount;
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::server::core::Core;
use crate::server::request::routes::Route;

/// Members that are kept as verified, 32 bytes each. Above: one is forgotten, and storage is asked about it again.
const VERIFIED_KEPT_MAX: usize = 65_536;

/// Members that are known to be verified. Storage is asked about any other.
#[derive(Debug, Default)]
pub struct Verified(BTreeSet<MemberId>);

impl Verified {
    pub fn contains(&self, member: MemberId) -> bool {
        self.0.contains(&member)
    }

    pub fn insert(&mut self, member: MemberId) {
        if self.0.len() >= VERIFIED_KEPT_MAX {
            // Storage is asked once more about a forgotten member.
            self.0.pop_first();
        }
        self.0.insert(member);
    }
}

/// Runs between a handler and its first step. A handler is pure, so what is wrong with the request itself (422) is answered
/// before what its member may not do (403), as the protocol's order says. A stream is checked once, when it opens; its ops are
/// not checked again.
pub fn gate(
    core: &Core,
    route: &'static Route,
    actor: Option<Actor>,
    step: Result<Step, Problem>,
) -> Result<Step, Problem> {
    let step = step?;
    let Some(actor) = actor else { return Ok(step) };
    let exempt = !core.settings.require_verified || route.path.starts_with("/api/v1/user/");
    if exempt || core.requests.verified.contains(actor.member) {
        return Ok(step);
    }
    Ok(Step::store_or(FindAccount { member: actor.member }, move |ctx, account| match account {
        Ok(account) if account.member.verified => {
            ctx.follow_ups.push(FollowUp::Verified(actor.member));
            Ok(step)
        }
        Ok(_) => Err(Code::NotVerified.into()),
        Err(Refusal::NotFound) => Err(Code::UnauthorizedAccess.into()),
        Err(refusal) => Err(refusal.into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn a_full_set_forgets_a_member() {
        let mut verified = Verified::default();
        for n in 0..VERIFIED_KEPT_MAX as u128 + 10 {
            verified.insert(Id::from_u128(n));
        }
        assert_eq!(verified.0.len(), VERIFIED_KEPT_MAX);
        assert!(
            !verified.contains(Id::from_u128(0))
                && verified.contains(Id::from_u128(VERIFIED_KEPT_MAX as u128 + 9))
        );
    }
}
