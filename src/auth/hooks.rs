//! The handlers of outgoing hooks, for the admins of the server and for the operator.
//!
//! Owns what the address of a hook may be. Leaves the names that an address resolves to, to the worker that uses them.
//! Invariant: an address that is not public, or not https, is never stored unless the operator allows it.

use std::net::IpAddr;

use serde::Serialize;

use crate::base::network::is_public;
use crate::base::secret::Secret;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::hook::{FindHook, HookState, NewHook, SetHook};
use crate::model::problem::{Code, Problem};
use crate::proto::hook::{HookEndpoint, secret_text};

/// PUT /bots/{profile}/hook.
pub fn set(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Made {
        #[serde(flatten)]
        state: HookState,
        secret: String,
    }
    let url = request.params.required_text("url")?;
    if !is_good(url, ctx.settings.hooks_private) {
        return Err(Problem::invalid("url"));
    }
    let mut secret = [0; 32];
    ctx.entropy.fill(&mut secret);
    let hook = NewHook { id: ctx.id(), url: Secret::new(url.to_owned()), secret: Secret::new(secret) };
    Ok(Step::store(of(ctx, actor, request, Some(hook))?, move |_, state| match state {
        Some(state) => Reply::ok(&Made { state, secret: secret_text(&secret) }).step(),
        None => Err(Code::GeneralError.into()),
    }))
}

/// DELETE /bots/{profile}/hook.
pub fn remove(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    Ok(Step::store(of(ctx, actor, request, None)?, |_, _| Reply::no_content().step()))
}

/// GET /bots/{profile}/hook.
pub fn find(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let by = actor.map(|actor| actor.member);
    let find = FindHook { by, bot: request.params.required_id("profile")? };
    Ok(Step::store(find, |_, state| Reply::ok(&state).step()))
}

fn of(
    ctx: &Ctx<'_>,
    actor: Option<Actor>,
    request: &Request<'_>,
    hook: Option<NewHook>,
) -> Result<SetHook, Problem> {
    Ok(SetHook {
        at: ctx.now.unix_ms,
        by: actor.map(|actor| actor.member),
        bot: request.params.required_id("profile")?,
        epoch: ctx.epoch.to_owned(),
        hook,
    })
}

/// An address that is written out is refused at once; a name is looked up when it is used.
fn is_good(url: &str, private: bool) -> bool {
    let Ok(endpoint) = HookEndpoint::parse(url) else { return false };
    let address = endpoint.authority.host.parse::<IpAddr>();
    private || endpoint.authority.tls && address.map_or(true, is_public)
}
