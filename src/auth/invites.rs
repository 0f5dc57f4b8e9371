//! The handlers of invites, for members and for the operator.
//!
//! Owns what a request may contain, and the code of an invite: 128 random bits, which are in the answer to `invite.create` and in
//! the requests of those who were invited. Storage decides who may do what.
//! Invariant: a code is never in a path or a query, so that no log and no proxy keeps it; all invites that can't be used get one
//! and the same answer.

use serde::Serialize;

use crate::base::crypto::{base64url, base64url_decode, sha256};
use crate::limits::{INVITE_S_MAX, INVITE_S_MIN, INVITE_USES_MAX};
use crate::model::event::ConversationBrief;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::MemberId;
use crate::model::invite::{
    CreateInvite, FindInvite, Invite, InviteHash, ListInvites, PresentedInvite, RevokeInvite, UseInvite,
};
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::model::settings::{SignUpRule, SignUrls};

/// Bytes of a code: 128 bits, which nobody guesses.
const CODE_BYTES: usize = 16;
/// The life of an invite, in seconds, unless it is given: a week.
const EXPIRES_S_DEFAULT: u64 = 604_800;

/// POST /invites.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    create_by(ctx, Some(actor.member), &request.params)
}

/// GET /invites.
pub fn list(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    list_by(ctx, Some(actor.member), &request.params)
}

/// DELETE /invites/{invite}.
pub fn revoke(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    revoke_by(ctx, Some(actor.member), &request.params)
}

/// POST /admin/invites.
pub fn operator_create(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    create_by(ctx, None, &request.params)
}

/// GET /admin/invites.
pub fn operator_list(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    list_by(ctx, None, &request.params)
}

/// POST /admin/invites/revoke.
pub fn operator_revoke(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    revoke_by(ctx, None, &request.params)
}

fn create_by(ctx: &mut Ctx<'_>, by: Option<MemberId>, params: &Params<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Created {
        #[serde(flatten)]
        invite: Invite,
        code: String,
        url: String,
    }
    let conversation = params.id("conversation")?.filter(|_| by.is_some());
    let uses_max = params.number("uses")?.unwrap_or(1);
    if !(1..=INVITE_USES_MAX).contains(&uses_max) {
        return Err(Problem::invalid("uses"));
    }
    let expires_s = params.number("expires_s")?.unwrap_or(EXPIRES_S_DEFAULT);
    if !(INVITE_S_MIN..=INVITE_S_MAX).contains(&expires_s) {
        return Err(Problem::invalid("expires_s"));
    }
    if conversation.is_none() && ctx.settings.sign_up == SignUpRule::Closed {
        return Err(Code::SignUpClosed.into());
    }
    let mut code = [0; CODE_BYTES];
    ctx.entropy.fill(&mut code);
    let at = ctx.now.unix_ms;
    let expires_at = at.after(expires_s * 1_000);
    let create =
        CreateInvite { at, by, id: ctx.id(), hash: sha256(&code), conversation, uses_max, expires_at };
    Ok(Step::store(create, move |ctx, invite| {
        let code = base64url(&code);
        // A fragment is not sent to any server.
        let url = format!("{}/#/i/{code}", ctx.settings.public_url);
        Reply::created(&Created { invite, code, url }).step()
    }))
}

fn list_by(ctx: &Ctx<'_>, by: Option<MemberId>, params: &Params<'_>) -> Result<Step, Problem> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let list = ListInvites {
        at: ctx.now.unix_ms,
        by,
        conversation: params.id("conversation")?.filter(|_| by.is_some()),
        after: params.next(|text| text.strip_prefix('i').filter(|text| digits(text))?.parse().ok())?,
        limit: params.limit()?,
    };
    Ok(Step::store(list, |_, page| {
        Reply::list(&page.invites, page.next.map(|place| format!("i{place}"))).step()
    }))
}

fn revoke_by(ctx: &Ctx<'_>, by: Option<MemberId>, params: &Params<'_>) -> Result<Step, Problem> {
    let revoke = RevokeInvite { at: ctx.now.unix_ms, by, invite: params.required_id("invite")? };
    Ok(Step::store(revoke, |_, ()| Reply::no_content().step()))
}

/// The hash of the code in `invite`, if there is one. A text that can't be a code is answered like any code that is not valid.
pub(super) fn presented(params: &Params<'_>) -> Result<Option<InviteHash>, Problem> {
    let Some(text) = params.text("invite")? else { return Ok(None) };
    let code = base64url_decode(text).filter(|code| code.len() == CODE_BYTES);
    code.map(|code| Some(sha256(&code))).ok_or(Problem::invalid("invite"))
}

/// POST /invites/check.
pub fn check(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Invited {
        conversation: Option<ConversationBrief>,
        sign_up: bool,
    }
    let hash = presented(&request.params)?.ok_or(Problem::invalid("invite"))?;
    Ok(Step::store(FindInvite { at: ctx.now.unix_ms, hash }, |ctx, mut found| {
        if let Some(brief) = &mut found.conversation {
            brief.image.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        }
        let sign_up = match ctx.settings.sign_up {
            SignUpRule::Open => true,
            SignUpRule::Invite => found.admits,
            SignUpRule::Closed => false,
        };
        Reply::ok(&Invited { conversation: found.conversation, sign_up }).step()
    }))
}

/// POST /invites/use.
pub fn redeem(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let hash = presented(&request.params)?.ok_or(Problem::invalid("invite"))?;
    let invite = PresentedInvite { hash, must_admit: false, members_max: ctx.settings.limits.members_max };
    let used = UseInvite { at: ctx.now.unix_ms, profile: actor.profile, invite };
    Ok(Step::store(used, |ctx, mut conversation| {
        conversation.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&conversation).step()
    }))
}
