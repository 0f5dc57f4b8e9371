//! The handlers of what only the operator and the admins of the server may do.
//!
//! The operator asks through the control socket, whose file's permissions are the credential: there is no token, and no actor. An admin
//! asks with an access token as for anything else; storage looks in the transaction of the act whether the member is an admin. Owns what
//! a request may contain. What only the operator may do has no row for the public listener.
//! Invariant: a member who is no admin gets one answer, whatever it asks for; and no handler works for it before storage has said so.

use super::rules;
use crate::base::crypto::{base64url, base64url_decode, sha256};
use crate::base::id::Id;
use crate::base::json::{Object, Value};
use crate::base::secret::Secret;
use crate::base::text::trim_blanks;
use crate::base::time::rfc3339;
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::admin::{
    Act, Administer, CheckAdmin, EndSessions, FindResetLink, ListAudit, ListGroupMembers, ListGroups,
    ListStorage, MakeResetLink, RemoveFactor, Rename, SetPassword, UseResetLink,
};
use crate::model::backup::BackUp;
use crate::model::duty::RemoveNode;
use crate::model::handler::{Actor, Ctx, FollowUp, Reply, Request, Step};
use crate::model::id::MemberId;
use crate::model::job::{Done, Job};
use crate::model::mail::{Content, FactorNews, NewMail};
use crate::model::measures::Gauge;
use crate::model::member::{
    AddMember, DeleteAccount, EraseMessages, Erased, FindMember, Leftovers, ListAccounts, Member, MemberRef,
    NewAccount, SetActive, SetAdmin,
};
use crate::model::node::NodeName;
use crate::model::operation::Refusal;
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::model::session::ListSessions;
use crate::proto::http::language::Language;

/// Bytes of the code in a link that sets a password: 128 bits, which nobody guesses.
const RESET_CODE_BYTES: usize = 16;
/// How long such a link can be used: a day.
const RESET_LINK_MS: u64 = 86_400_000;
/// Characters of a text that is searched. Above: 422 `invalid_search`.
pub(crate) const SEARCH_MAX: usize = 100;

/// Who asks: `None` for the operator, who is the only one without an actor here.
fn by(actor: Option<Actor>) -> Option<MemberId> {
    actor.map(|actor| actor.member)
}

/// GET /admin/members.
pub fn list(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let search = params.text("search")?.map(trim_blanks).filter(|text| !text.is_empty());
    if search.is_some_and(|text| text.chars().count() > SEARCH_MAX) {
        return Err(Problem::invalid("search"));
    }
    let list = ListAccounts {
        by: by(actor),
        search: search.map(|text| text.to_owned().into()),
        after: params.next_number('m')?,
        limit: params.limit()?,
    };
    Ok(Step::store(list, |_, page| {
        Reply::list(&page.members, page.next.map(|place| format!("m{place}"))).step()
    }))
}

/// POST /admin/members. The display name is the part of the address before the `@`, until the member changes it.
pub fn add(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    let local = email.split('@').next().unwrap_or_default();
    let display_name: String = local.chars().take(DISPLAY_NAME_MAX).collect();
    let password = request.params.required_text("password")?;
    if !rules::good_password(password, &email, &display_name) {
        return Err(Problem::invalid("password"));
    }
    let password = Secret::new(password.to_owned());
    let by = by(actor);
    // Before the hash, so that nobody else makes the server work.
    Ok(Step::store(CheckAdmin { by }, move |ctx, ()| {
        let job = Job::HashPassword { password, salt: ctx.salt() };
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
            Ok(Step::store(AddMember { by, account }, |_, member| Reply::created(&member).step()))
        }))
    }))
}

/// POST /admin/members/disable.
pub fn disable(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    set_active(by(actor), &request.params, false)
}

/// POST /admin/members/enable.
pub fn enable(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    set_active(by(actor), &request.params, true)
}

fn set_active(by: Option<MemberId>, params: &Params<'_>, active: bool) -> Result<Step, Problem> {
    with_member(by, params, move |ctx, member| {
        let set = SetActive { at: ctx.now.unix_ms, by, member: member.id, active };
        Ok(Step::store(set, |_, member| Reply::ok(&member).step()))
    })
}

/// POST /admin/members/promote.
pub fn promote(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    set_admin(&request.params, true)
}

/// POST /admin/members/demote.
pub fn demote(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    set_admin(&request.params, false)
}

fn set_admin(params: &Params<'_>, admin: bool) -> Result<Step, Problem> {
    with_member(None, params, move |ctx, member| {
        let set = SetAdmin { at: ctx.now.unix_ms, member: member.id, admin };
        Ok(Step::store(set, |_, member| Reply::ok(&member).step()))
    })
}

/// POST /admin/members/second-factor-off. Of a member that has none it changes nothing.
pub fn second_factor_off(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let language = request.client.language;
    with_member(None, &request.params, move |ctx, member| {
        let mail = NewMail::new(ctx.id(), language, Content::SecondFactor(FactorNews::Off));
        Ok(act(ctx, None, Act::RemoveFactor(RemoveFactor { member: member.id, mail })))
    })
}

/// POST /admin/members/delete. The messages stay, without a sender.
pub fn delete(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let by = by(actor);
    with_member(by, &request.params, move |ctx, member| {
        let (at, id) = (ctx.now.unix_ms, member.id);
        let delete = DeleteAccount { at, member: id, proven: None, by, leftovers: Leftovers::Keep };
        Ok(Step::store(delete, move |_, ()| Reply::ok(&member).step()))
    })
}

/// POST /admin/members/verify.
pub fn verify(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let by = by(actor);
    with_member(by, &request.params, move |ctx, member| {
        let act = Act::VerifyAddress(member.id);
        Ok(Step::store(Administer { at: ctx.now.unix_ms, by, act }, |ctx, member| {
            ctx.follow_ups.extend(member.iter().map(|member| FollowUp::Verified(member.id)));
            Reply::ok(&member).step()
        }))
    })
}

/// POST /admin/members/rename.
pub fn rename(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let display_name = match params.has("display_name") {
        true => Some(rules::display_name(params)?),
        false => None,
    };
    let nick_name = match params.text("nick_name")? {
        Some(nick) if !rules::good_nick_name(nick) => return Err(Problem::invalid("nick_name")),
        nick => nick.map(str::to_owned),
    };
    if display_name.is_none() && nick_name.is_none() {
        return Err(Problem::invalid("display_name"));
    }
    let by = by(actor);
    with_member(by, params, move |ctx, member| {
        let rename = Rename { member: member.id, display_name: display_name.map(Into::into), nick_name };
        Ok(act(ctx, by, Act::Rename(rename)))
    })
}

/// POST /admin/members/password.
pub fn set_password(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let password = request.params.required_text("password")?.to_owned();
    let language = request.client.language;
    with_member(None, &request.params, move |ctx, member| {
        if !rules::good_password(&password, &member.email, "") {
            return Err(Problem::invalid("password"));
        }
        let job = Job::HashPassword { password: Secret::new(password), salt: ctx.salt() };
        Ok(Step::work(job, move |ctx, done| {
            let Done::PasswordHashed(hash) = done else { return Err(Code::GeneralError.into()) };
            let mail = NewMail::new(ctx.id(), language, Content::PasswordChanged);
            Ok(act(ctx, None, Act::SetPassword(SetPassword { member: member.id, hash, mail })))
        }))
    })
}

/// POST /admin/members/sessions: the body names the member, so that no address is in a path.
pub fn sessions(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let (after, limit) = (request.params.next_number('s')?, request.params.limit()?);
    with_member(None, &request.params, move |ctx, member| {
        let (at, member) = (ctx.now.unix_ms, member.id);
        let list = ListSessions { at, member, current: Id::from_u128(0), after, limit };
        Ok(Step::store(list, |_, page| {
            Reply::list(&page.sessions, page.next.map(|place| format!("s{place}"))).step()
        }))
    })
}

/// POST /admin/members/revoke.
pub fn revoke(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let (by, session) = (by(actor), request.params.id("session")?);
    with_member(by, &request.params, move |ctx, member| {
        Ok(act(ctx, by, Act::EndSessions(EndSessions { member: member.id, session })))
    })
}

/// POST /admin/members/reset-link.
pub fn make_reset_link(
    _: &mut Ctx<'_>,
    actor: Option<Actor>,
    request: &Request<'_>,
) -> Result<Step, Problem> {
    let by = by(actor);
    with_member(by, &request.params, move |ctx, member| {
        let mut code = [0; RESET_CODE_BYTES];
        ctx.entropy.fill(&mut code);
        let at = ctx.now.unix_ms;
        let expires_at = at.after(RESET_LINK_MS);
        let make = MakeResetLink { member: member.id, hash: sha256(&code), expires_at };
        Ok(Step::store(Administer { at, by, act: Act::MakeResetLink(make) }, move |ctx, _| {
            // A fragment is not sent to any server.
            let url = format!("{}/#/r/{}", ctx.settings.public_url, base64url(&code));
            let mut link = Object::default();
            link.push("url", Value::Str(url.into()));
            link.push("expires_at", Value::Str(rfc3339(expires_at).into()));
            Reply::created(&Value::Object(link)).step()
        }))
    })
}

/// POST /user/reset/link.
pub fn use_reset_link(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let code = base64url_decode(request.params.required_text("link")?);
    let password = request.params.required_text("password")?.to_owned();
    let Some(code) = code.filter(|code| code.len() == RESET_CODE_BYTES) else {
        return Err(Code::CodeWrong.into());
    };
    let (link, language) = (sha256(&code), request.client.language);
    Ok(Step::store(FindResetLink { at: ctx.now.unix_ms, hash: link }, move |ctx, found| {
        let Some(found) = found else { return Err(Code::CodeWrong.into()) };
        if !rules::good_password(&password, found.email.expose(), &found.display_name) {
            return Err(Problem::invalid("password"));
        }
        let job = Job::HashPassword { password: Secret::new(password), salt: ctx.salt() };
        Ok(Step::work(job, move |ctx, done| use_with(ctx, link, done, language)))
    }))
}

fn use_with(ctx: &mut Ctx<'_>, link: [u8; 32], done: Done, language: Language) -> Result<Step, Problem> {
    let Done::PasswordHashed(hash) = done else { return Err(Code::GeneralError.into()) };
    let mail = NewMail::new(ctx.id(), language, Content::PasswordChanged);
    let used = UseResetLink { at: ctx.now.unix_ms, link, hash, mail };
    Ok(Step::store(used, |_, ()| Reply::done().step()))
}

/// GET /admin/groups.
pub fn list_groups(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListGroups { after: request.params.next_number('g')?, limit: request.params.limit()? };
    Ok(Step::store(list, |_, page| {
        let shown = page.groups.iter().map(|group| {
            object([
                ("id", Value::Str(group.id.to_string().into())),
                ("title", Value::Str(group.title.as_str().into())),
                ("members", number(group.members)),
                ("last_n", number(group.last_n)),
            ])
        });
        list_of(shown.collect(), page.next.map(|place| format!("g{place}")))
    }))
}

/// GET /admin/groups/{conversation}/members.
pub fn list_group_members(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let group = params.required_id("conversation")?;
    let list = ListGroupMembers { group, after: params.next_number('m')?, limit: params.limit()? };
    Ok(Step::store(list, |_, page| {
        let shown = page.members.iter().map(|member| {
            object([
                ("profile", Value::Str(member.profile.to_string().into())),
                ("nick_name", Value::Str(member.nick_name.as_str().into())),
                ("display_name", Value::Str(member.display_name.as_str().into())),
                ("role", Value::Str(if member.admin { "admin" } else { "member" }.into())),
            ])
        });
        list_of(shown.collect(), page.next.map(|place| format!("m{place}")))
    }))
}

/// DELETE /admin/groups/{conversation}. Answers when the messages are erased, too.
pub fn delete_group(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let act = Act::DeleteGroup(request.params.required_id("conversation")?);
    let administer = Administer { at: ctx.now.unix_ms, by: None, act };
    Ok(Step::store(administer, |ctx, _| Ok(erase_messages(ctx))))
}

/// The group is gone. A background task goes on after a fault.
fn erase_messages(ctx: &Ctx<'_>) -> Step {
    Step::store_or(EraseMessages { at: ctx.now.unix_ms }, |ctx, erased| match erased {
        Ok(Erased::Some) => Ok(erase_messages(ctx)),
        Ok(Erased::All) | Err(_) => Reply::no_content().step(),
    })
}

/// DELETE /admin/messages/{message}.
pub fn remove_message(
    ctx: &mut Ctx<'_>,
    actor: Option<Actor>,
    request: &Request<'_>,
) -> Result<Step, Problem> {
    let act = Act::RemoveMessage(request.params.required_id("message")?);
    let administer = Administer { at: ctx.now.unix_ms, by: by(actor), act };
    Ok(Step::store(administer, |_, _| Reply::no_content().step()))
}

/// GET /admin/audit.
pub fn audit(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let (before, limit) = (request.params.next_number('a')?, request.params.limit()?);
    Ok(Step::store(ListAudit { by: by(actor), before, limit }, |_, page| {
        let shown = page.rows.iter().map(|row| {
            object([
                ("at", Value::Str(rfc3339(row.at).into())),
                ("who", row.who.map_or(Value::Null, |who| Value::Str(who.to_string().into()))),
                ("who_name", text_or_null(row.who_name.as_deref())),
                ("act", Value::Str(row.act.as_str().into())),
                ("whom", text_or_null(row.whom.as_deref())),
                ("whom_name", text_or_null(row.whom_name.as_deref())),
                ("detail", Value::Str(row.detail.as_str().into())),
            ])
        });
        list_of(shown.collect(), page.next.map(|place| format!("a{place}")))
    }))
}

/// GET /admin/storage.
pub fn storage(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListStorage { by: by(actor), limit: request.params.limit()? };
    Ok(Step::store(list, |_, usage| {
        let shown = usage.iter().map(|usage| {
            object([
                ("member", Value::Str(usage.member.to_string().into())),
                ("nick_name", Value::Str(usage.nick_name.as_str().into())),
                ("display_name", Value::Str(usage.display_name.as_str().into())),
                ("bytes", number(usage.bytes)),
                ("files", number(usage.files)),
            ])
        });
        list_of(shown.collect(), None)
    }))
}

/// POST /admin/cluster/remove. 404 for a node that has never written.
pub fn remove_node(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let node = NodeName::parse(request.params.required_text("node")?).ok_or(Problem::invalid("node"))?;
    let removed = |existed| match existed {
        true => Reply::done().step(),
        false => Err(Code::NotFound.into()),
    };
    Ok(Step::store(RemoveNode { at: ctx.now.unix_ms, node }, move |_, existed| removed(existed)))
}

/// POST /api/v1/admin/backup. Answers when the act is in the log: a backup may take minutes.
pub fn begin_backup(_: &mut Ctx<'_>, actor: Option<Actor>, _: &Request<'_>) -> Result<Step, Problem> {
    let by = by(actor);
    Ok(Step::store(CheckAdmin { by }, move |ctx, ()| {
        if ctx.settings.measures.get(Gauge::BackupRuns) == Some(1) {
            return Err(Code::BackupRunning.into());
        }
        // From now on another request is refused, before it has written that it was one.
        ctx.settings.measures.set(Gauge::BackupRuns, 1);
        let administer = Administer { at: ctx.now.unix_ms, by, act: Act::BackUp };
        Ok(Step::store_or(administer, |ctx, noted| {
            if let Err(refusal) = noted {
                ctx.settings.measures.set(Gauge::BackupRuns, 0);
                return Err(refusal.into());
            }
            ctx.follow_ups.push(FollowUp::Backup);
            Reply::data(202, &()).step()
        }))
    }))
}

/// POST /admin/backup of the control socket. Responds when the copy of the database is complete. `asked=true`: an admin has asked for it, and the
/// log has that act.
pub fn back_up(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    if request.params.text("asked")? == Some("true") {
        return Ok(Step::store(BackUp { id: ctx.id() }, |_, copy| Reply::created(&copy).step()));
    }
    let administer = Administer { at: ctx.now.unix_ms, by: None, act: Act::BackUp };
    // The row is in the copy. If it can't be written, the disk is full or failing: this is when a backup is wanted.
    Ok(Step::store_or(administer, |ctx, noted: Result<Option<Member>, Refusal>| {
        if let Err(refusal) = noted {
            log::warn!("audit: a backup is made that is not in the log of acts: {refusal:?}");
        }
        Ok(Step::store(BackUp { id: ctx.id() }, |_, copy| Reply::created(&copy).step()))
    }))
}

/// An act on a member, who is the answer.
fn act(ctx: &Ctx<'_>, by: Option<MemberId>, act: Act) -> Step {
    Step::store(Administer { at: ctx.now.unix_ms, by, act }, |_, member| Reply::ok(&member).step())
}

/// `who`: an e-mail address, an id or a nick name.
fn with_member(
    by: Option<MemberId>,
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
    Ok(Step::store(FindMember { by, who }, then))
}

fn object<'a, const N: usize>(members: [(&'static str, Value<'a>); N]) -> Value<'a> {
    let mut object = Object::default();
    members.into_iter().for_each(|(name, value)| object.push(name, value));
    Value::Object(object)
}

fn number(number: u64) -> Value<'static> {
    Value::Int(number.cast_signed())
}

fn text_or_null(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, |text| Value::Str(text.into()))
}

fn list_of(items: Vec<Value<'_>>, next: Option<String>) -> Result<Step, Problem> {
    Reply::list(&Value::List(items), next).step()
}
