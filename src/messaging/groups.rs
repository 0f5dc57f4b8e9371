//! The handlers of conversations and their members: create, get, update, list, add and remove.
//!
//! Owns what a request may contain. Storage decides who may do it, in the transaction that does it.

use super::preferences;
use crate::model::conversation::{
    CreateConversation, GetConversation, History, ListMembers, PutMember, RemoveMember, UpdateConversation,
};
use crate::model::event::Role;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::params::written_name;
use crate::model::problem::Problem;
use crate::model::retention::KEPT_DAYS_MAX;
use crate::model::settings::SignUrls;

/// Characters of a group's title. Above: 422 `invalid_title`.
pub(crate) const TITLE_CHARS_MAX: usize = 128;

/// POST /conversations, op `conversation.create`.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let client_id = params.id("client_id")?;
    let title = title(params.text("title")?)?.ok_or(Problem::invalid("title"))?;
    let members_max = ctx.settings.limits.members_max;
    let members = params.ids("members", members_max)?;
    let create = CreateConversation {
        at: ctx.now.unix_ms,
        creator: actor.profile,
        client_id,
        id: ctx.id(),
        title,
        members,
        members_max,
    };
    Ok(Step::store(create, |ctx, mut created| {
        created.conversation.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        if created.duplicate {
            Reply::ok(&created.conversation).beside("duplicate", &true).step()
        } else {
            Reply::created(&created.conversation).step()
        }
    }))
}

fn title(text: Option<&str>) -> Result<Option<String>, Problem> {
    match text {
        None => Ok(None),
        Some(text) if written_name(text, TITLE_CHARS_MAX) => Ok(Some(text.to_owned())),
        Some(_) => Err(Problem::invalid("title")),
    }
}

/// GET /conversations/{conversation}, op `conversation.get`.
pub fn get(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let conversation = request.params.required_id("conversation")?;
    let get = GetConversation { at: ctx.now.unix_ms, viewer: actor.profile, conversation };
    Ok(Step::store(get, |ctx, mut conversation| {
        conversation.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&conversation).step()
    }))
}

/// PUT /conversations/{conversation}, op `conversation.update`.
pub fn update(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let conversation = params.required_id("conversation")?;
    let title = title(params.text("title")?)?;
    let image = match params.id("image")? {
        None => params.is_null("image").then_some(None),
        image => Some(image),
    };
    let history = match params.text("history")? {
        None => None,
        Some("all") => Some(History::All),
        Some("joined") => Some(History::Joined),
        Some(_) => return Err(Problem::invalid("history")),
    };
    let messages_kept = match params.number("messages_kept")? {
        None => params.is_null("messages_kept").then_some(None),
        Some(days) if (1..=u64::from(KEPT_DAYS_MAX)).contains(&days) => Some(Some(days as u32)),
        Some(_) => return Err(Problem::invalid("messages_kept")),
    };
    let (at, actor) = (ctx.now.unix_ms, actor.profile);
    let own = preferences::read(params, at)?;
    let update = UpdateConversation { at, actor, conversation, title, image, history, messages_kept, own };
    Ok(Step::store(update, |ctx, mut conversation| {
        conversation.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&conversation).step()
    }))
}

/// GET /conversations/{conversation}/members, op `member.list`.
pub fn list_members(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let conversation = request.params.required_id("conversation")?;
    let limit = request.params.limit()?;
    let after = request.params.next(|text| super::read_number(text.strip_prefix('m')?))?;
    let list = ListMembers { viewer: actor.profile, conversation, after, limit };
    Ok(Step::store(list, |ctx, mut page| {
        for member in &mut page.members {
            member.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        }
        Reply::list(&page.members, page.next.map(|place| format!("m{place}"))).step()
    }))
}

/// PUT /conversations/{conversation}/members/{profile}, op `member.add`.
pub fn put_member(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let (conversation, profile) = (params.required_id("conversation")?, params.required_id("profile")?);
    let role = match params.text("role")? {
        None | Some("member") => Role::Member,
        Some("admin") => Role::Admin,
        Some(_) => return Err(Problem::invalid("role")),
    };
    let put = PutMember {
        at: ctx.now.unix_ms,
        actor: actor.profile,
        conversation,
        profile,
        role,
        members_max: ctx.settings.limits.members_max,
    };
    Ok(Step::store(put, |ctx, mut member| {
        member.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&member).step()
    }))
}

/// DELETE /conversations/{conversation}/members/{profile}, op `member.remove`.
pub fn remove_member(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let (conversation, profile) = (params.required_id("conversation")?, params.required_id("profile")?);
    let remove = RemoveMember { at: ctx.now.unix_ms, actor: actor.profile, conversation, profile };
    Ok(Step::store(remove, |_, ()| Reply::no_content().step()))
}
