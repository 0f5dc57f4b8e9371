//! The handlers of one message: get, edit, delete, react and unreact, pin and unpin.
//!
//! Owns what a request may contain. Storage decides in its transaction who may change or react to a message.

use std::sync::Arc;

use super::messages::good_body;
use crate::base::emoji;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::MessageId;
use crate::model::message::{DeleteMessage, EditMessage, GetMessage, Message, PinMessage, React};
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;

/// Bytes of the emoji of one reaction, as sent and fully qualified. Above: 422 `invalid_emoji`.
pub(crate) const EMOJI_BYTES_MAX: usize = 64;

/// GET /messages/{message}, op `message.get`.
pub fn get(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let get = GetMessage { viewer: actor.profile, message: message(request)? };
    Ok(Step::store(get, |ctx, mut message| {
        message.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&message).step()
    }))
}

fn message(request: &Request<'_>) -> Result<MessageId, Problem> {
    request.params.required_id("message")
}

/// PUT /messages/{message}, op `message.edit`.
pub fn edit(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let message = message(request)?;
    let body = request.params.required_text("body")?;
    if !good_body(body, ctx.settings.limits.message_max, false) {
        return Err(Problem::invalid("body"));
    }
    let edit = EditMessage { at: ctx.now.unix_ms, actor: actor.profile, message, body: body.to_owned() };
    Ok(Step::store(edit, changed))
}

/// The message as it is now.
fn changed(ctx: &mut Ctx<'_>, mut message: Arc<Message>) -> Result<Step, Problem> {
    message.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
    Reply::ok(&*message).step()
}

/// DELETE /messages/{message}, op `message.delete`.
pub fn delete(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let delete = DeleteMessage { at: ctx.now.unix_ms, actor: actor.profile, message: message(request)? };
    Ok(Step::store(delete, |_, ()| Reply::no_content().step()))
}

/// PUT /messages/{message}/reactions/{emoji}, op `message.react`.
pub fn react(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    reaction(ctx, actor, request, true)
}

/// DELETE /messages/{message}/reactions/{emoji}, op `message.unreact`.
pub fn unreact(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    reaction(ctx, actor, request, false)
}

fn reaction(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>, on: bool) -> Result<Step, Problem> {
    let message = message(request)?;
    let sent = request.params.required_text("emoji")?;
    let emoji = Some(sent)
        .filter(|sent| sent.len() <= EMOJI_BYTES_MAX)
        .and_then(|sent| match emoji::bare(sent) {
            Some(bare) => (emoji::qualified(&bare).len() <= EMOJI_BYTES_MAX).then_some(bare),
            // Older servers stored any text as a reaction. A reaction that is shown can still be removed.
            None => (!on).then(|| emoji::without_style(sent)),
        })
        .ok_or(Problem::invalid("emoji"))?;
    let react = React { at: ctx.now.unix_ms, actor: actor.profile, message, emoji, on };
    Ok(Step::store(react, changed))
}

/// PUT /messages/{message}/pin, op `message.pin`.
pub fn pin(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let pin = PinMessage { at: ctx.now.unix_ms, actor: actor.profile, message: message(request)?, on: true };
    Ok(Step::store(pin, changed))
}

/// DELETE /messages/{message}/pin, op `message.unpin`.
pub fn unpin(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let pin = PinMessage { at: ctx.now.unix_ms, actor: actor.profile, message: message(request)?, on: false };
    Ok(Step::store(pin, changed))
}
