//! The handlers of the operator's requests, which only the control socket offers.
//!
//! The permissions of the socket's file are the credential, so there is no token. Owns what a request may contain; the
//! router checks the listener.
//! Invariant: no client of the public listener can reach these handlers.

use super::{rules, second_factor};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::text::trim_blanks;
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::backup::BackUp;
use crate::model::duty::RemoveNode;
use crate::model::handler::{Ctx, Reply, Request, Step};
use crate::model::job::{Done, Job};
use crate::model::member::{
    AddMember, DeleteAccount, FindMember, Leftovers, ListAccounts, Member, MemberRef, NewAccount, SetActive,
    SetAdmin,
};
use crate::model::node::NodeName;
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};

/// GET /admin/members.
pub fn list(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListAccounts { after: request.params.next_number('m')?, limit: request.params.limit()? };
    Ok(Step::store(list, |_, page| {
        Reply::list(&page.members, page.next.map(|place| format!("m{place}"))).step()
    }))
}

/// POST /admin/members. The display name is the part of the address before the `@`, until the member changes it.
pub fn add(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    let local = email.split('@').next().unwrap_or_default();
    let display_name: String = local.chars().take(DISPLAY_NAME_MAX).collect();
    let password = request.params.required_text("password")?;
    if !rules::good_password(password, &email, &display_name) {
        return Err(Problem::invalid("password"));
    }
    let job = Job::HashPassword { password: Secret::new(password.to_owned()), salt: ctx.salt() };
    Ok(Step::work(job, move |ctx, done| {
        let Done::PasswordHashed(hash) = done else { return Err(Code::GeneralError.into()) };
        let account = NewAccount {
            at: ctx.now.unix_ms,
            member: ctx.id(),
            profile: ctx.id(),
            email: Secret::new(email),
            hash,
            nick_names: rules::nick_names(&display_name, ctx.entropy),
            display_name: display_name.into(),
        };
        Ok(Step::store(AddMember { account }, |_, member| Reply::created(&member).step()))
    }))
}

/// POST /admin/members/disable.
pub fn disable(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |ctx, member| Ok(set_active(ctx, &member, false)))
}

/// POST /admin/members/enable.
pub fn enable(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |ctx, member| Ok(set_active(ctx, &member, true)))
}

fn set_active(ctx: &Ctx<'_>, member: &Member, active: bool) -> Step {
    let set = SetActive { at: ctx.now.unix_ms, member: member.id, active };
    Step::store(set, |_, member| Reply::ok(&member).step())
}

/// POST /admin/members/promote.
pub fn promote(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |_, member| Ok(set_admin(&member, true)))
}

/// POST /admin/members/demote.
pub fn demote(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |_, member| Ok(set_admin(&member, false)))
}

fn set_admin(member: &Member, admin: bool) -> Step {
    Step::store(SetAdmin { member: member.id, admin }, |_, member| Reply::ok(&member).step())
}

/// POST /admin/members/second-factor-off. Of a member that has none it changes nothing.
pub fn second_factor_off(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |_, member| Ok(second_factor::remove_for(&member)))
}

/// POST /admin/members/delete. The messages stay, without a sender.
pub fn delete(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    with_member(&request.params, |ctx, member| {
        let (at, id) = (ctx.now.unix_ms, member.id);
        let delete = DeleteAccount { at, member: id, proven: None, leftovers: Leftovers::Keep };
        Ok(Step::store(delete, move |_, ()| Reply::ok(&member).step()))
    })
}

/// POST /admin/cluster/remove. 404 for a node that has never written.
pub fn remove_node(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let node = NodeName::parse(request.params.required_text("node")?).ok_or(Problem::invalid("node"))?;
    let removed = |existed| match existed {
        true => Reply::done().step(),
        false => Err(Code::NotFound.into()),
    };
    Ok(Step::store(RemoveNode { node }, move |_, existed| removed(existed)))
}

/// POST /admin/backup. Responds when the copy of the database is complete.
pub fn back_up(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<Step, Problem> {
    Ok(Step::store(BackUp { id: ctx.id() }, |_, copy| Reply::created(&copy).step()))
}

/// `who`: an e-mail address, an id or a nick name.
fn with_member(
    params: &Params<'_>,
    then: impl FnOnce(&mut Ctx<'_>, Member) -> Result<Step, Problem> + Send + 'static,
) -> Result<Step, Problem> {
    let text = trim_blanks(params.required_text("who")?);
    // An address has an `@`, which neither an id nor a nick name has; a nick name is shorter than an id.
    let who = match Id::parse(text) {
        Some(id) => MemberRef::Id(id),
        None if text.contains('@') => MemberRef::Email(text.to_ascii_lowercase()),
        None => MemberRef::NickName(text.to_ascii_lowercase()),
    };
    Ok(Step::store(FindMember { who }, then))
}
