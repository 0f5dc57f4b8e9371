//! What a member sets of a conversation for oneself: the fields of conversation.update, and the handler of conversation.clear.
//!
//! Owns what a request may contain. Storage owns what a message or a time ends.

use crate::base::time::{UnixMs, parse_rfc3339};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::params::Params;
use crate::model::preferences::{ChangePreferences, ClearConversation};
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;

/// The preferences in the fields of conversation.update.
pub(super) fn read(params: &Params<'_>, now: UnixMs) -> Result<ChangePreferences, Problem> {
    let muted = params.flag("muted")?;
    let muted_until = params.text("muted_until")?.map(|text| parse_rfc3339(text).map(|until| until.ms()));
    let is_valid = match muted_until {
        None => muted.is_some() || !params.is_null("muted_until"),
        Some(until) => muted == Some(true) && until.is_some_and(|until| until > now),
    };
    if !is_valid {
        return Err(Problem::invalid("muted_until"));
    }
    let (pinned, archived) = (params.flag("pinned")?, params.flag("archived")?);
    if pinned == Some(true) && archived == Some(true) {
        return Err(Problem::invalid("archived"));
    }
    let marked_unread = params.flag("marked_unread")?;
    Ok(ChangePreferences { muted, muted_until: muted_until.flatten(), pinned, archived, marked_unread })
}

/// POST /conversations/{conversation}/clear, op `conversation.clear`.
pub fn clear(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let conversation = request.params.required_id("conversation")?;
    let hide = request.params.flag("hide")?.unwrap_or_default();
    let clear = ClearConversation { at: ctx.now.unix_ms, actor: actor.profile, conversation, hide };
    Ok(Step::store(clear, |ctx, mut conversation| {
        conversation.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&conversation).step()
    }))
}
