//! The handlers of reports: made by members, read and closed by the admins of the server.
//!
//! Owns what a request may contain. Storage decides who may report what, and how many.
//! Invariant: nobody but the admins and the operator learns of a report, not even the one who is reported.

use crate::base::json::{Object, Value};
use crate::base::time::rfc3339;
use crate::model::admin::{Act, Administer};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::report::{ListReports, MakeReport, REASON_MAX, Report, Reported, ReportedPerson};

/// POST /messages/{message}/report.
pub fn message(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    make(ctx, actor, request, Reported::Message(request.params.required_id("message")?))
}

/// POST /profile/{profile}/report.
pub fn person(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    make(ctx, actor, request, Reported::Person(request.params.required_id("profile")?))
}

fn make(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>, what: Reported) -> Result<Step, Problem> {
    let reason = request.params.text("reason")?.unwrap_or_default().trim();
    if reason.chars().count() > REASON_MAX || reason.contains('\0') {
        return Err(Problem::invalid("reason"));
    }
    let (at, id) = (ctx.now.unix_ms, ctx.id());
    let make = MakeReport { at, reporter: actor.profile, id, what, reason: reason.to_owned() };
    Ok(Step::store(make, |_, made| {
        let mut report = Object::default();
        report.push("id", Value::Str(made.id.to_string().into()));
        let status = if made.duplicate { 200 } else { 201 };
        Reply::data(status, &Value::Object(report)).step()
    }))
}

/// GET /admin/reports.
pub fn list(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListReports {
        by: actor.map(|actor| actor.member),
        at: ctx.now.unix_ms,
        after: request.params.next_number('r')?,
        limit: request.params.limit()?,
    };
    Ok(Step::store(list, |_, page| {
        let reports = page.reports.iter().map(shown).collect();
        Reply::list(&Value::List(reports), page.next.map(|place| format!("r{place}"))).step()
    }))
}

/// DELETE /admin/reports/{report}.
pub fn close(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let by = actor.map(|actor| actor.member);
    let act = Act::CloseReport(request.params.required_id("report")?);
    Ok(Step::store(Administer { at: ctx.now.unix_ms, by, act }, |_, _| Reply::no_content().step()))
}

fn shown(report: &Report) -> Value<'_> {
    let message = report.message.as_ref().map_or(Value::Null, |message| {
        let mut shown = Object::default();
        let files = message.files.iter().map(|name| Value::Str(name.as_str().into())).collect();
        shown.push("id", Value::Str(message.id.to_string().into()));
        shown.push("body", Value::Str(message.body.as_str().into()));
        shown.push("files", Value::List(files));
        shown.push("created_at", Value::Str(rfc3339(message.posted_at).into()));
        shown.push("deleted", Value::Bool(message.now.is_none()));
        // The copy is what the reporter has seen; what was made of it since is the moderator's to see, too.
        let edited = message.now.as_deref().filter(|now| *now != message.body);
        shown.push("edited", edited.map_or(Value::Null, |now| Value::Str(now.into())));
        Value::Object(shown)
    });
    let mut shown = Object::default();
    shown.push("id", Value::Str(report.id.to_string().into()));
    shown.push("created_at", Value::Str(rfc3339(report.at).into()));
    shown.push("reporter", report.reporter.as_ref().map_or(Value::Null, person_shown));
    shown.push("person", person_shown(&report.person));
    shown.push("message", message);
    shown.push("reason", Value::Str(report.reason.as_str().into()));
    Value::Object(shown)
}

fn person_shown(person: &ReportedPerson) -> Value<'_> {
    let mut shown = Object::default();
    shown.push("profile", Value::Str(person.profile.to_string().into()));
    let member = person.member.map_or(Value::Null, |member| Value::Str(member.to_string().into()));
    shown.push("member", member);
    shown.push("nick_name", Value::Str(person.nick_name.as_str().into()));
    shown.push("display_name", Value::Str(person.display_name.as_str().into()));
    shown.push("active", Value::Bool(person.active));
    Value::Object(shown)
}
