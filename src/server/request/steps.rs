//! Handlers and their continuations: one request, step by step, to its answer.
//!
//! Invariant: a handler that panics costs one 500, not the process and not the connections of others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::json::{self, Object, Value};
use crate::model::handler::{Actor, Ctx, Handler, Request, Step, Stream, Then};
use crate::model::job::{Done, Job};
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Command, Read};
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::model::upload::ReceivedFile;
use crate::proto::http::head::Method;
use crate::server::calls::{Call, Caller, Next};
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{Effect, ListenerKind, Ticket};
use crate::server::core::Core;
use crate::server::request::admit;
use crate::server::request::bots;
use crate::server::request::cluster;
use crate::server::request::conformance;
use crate::server::request::exchange::{Exchange, Handover};
use crate::server::request::hashing::Asker;
use crate::server::request::overview;
use crate::server::request::report;
use crate::server::request::respond;
use crate::server::request::routes::{Action, BodyKind};
use crate::server::request::verified;

/// Credentials: a request that changes something does not take them from its query.
const CREDENTIALS: [&str; 6] = ["access", "code", "confirm_password", "new_password", "password", "refresh"];

/// Runs a handler or a continuation.
pub fn guard(
    core: &mut Core,
    work: impl FnOnce(&mut Ctx<'_>) -> Result<Step, Problem>,
) -> Result<Step, Problem> {
    let mut ctx = core.ctx();
    // The context is unchanged data, or counters of which at most one count is lost.
    match catch_unwind(AssertUnwindSafe(|| work(&mut ctx))) {
        Ok(step) => step,
        Err(_) => {
            log::error!(target: "natter::server", "a handler panicked; its caller got a 500");
            core.metrics.trouble(ErrorKind::Panic, "a handler panicked; its caller got a 500");
            Err(Problem::new(Code::GeneralError))
        }
    }
}

/// Calls a row's handler.
pub fn call(
    core: &mut Core,
    handler: Handler,
    actor: Option<Actor>,
    request: &Request<'_>,
) -> Result<Step, Problem> {
    guard(core, |ctx| match (handler, actor) {
        (Handler::Public(handler), _) => handler(ctx, request),
        (Handler::Either(handler), actor) => handler(ctx, actor, request),
        (Handler::Member(handler), Some(actor)) => handler(ctx, actor, request),
        // The router proves the actor of every row that is not public.
        (Handler::Member(_), None) => Err(Problem::new(Code::UnauthorizedAccess)),
    })
}

/// Calls the handler of a request's row.
pub fn call_row(
    core: &mut Core,
    exchange: &Exchange,
    params: Params<'_>,
    file: Option<&ReceivedFile>,
    body: &[u8],
) -> Result<Step, Problem> {
    let Some(Action::Handle(handler)) = exchange.route.map(|route| route.action) else {
        return Err(Problem::new(Code::GeneralError));
    };
    let (method, headers) = (Some(exchange.head.method), Some(&exchange.head.headers));
    let request = Request { params, client: &exchange.client, method, headers, file, body };
    call(core, handler, exchange.actor, &request)
}

/// Whether a request is still good after its body came; also does the checks of its head that come after those of the body.
pub fn still_good(core: &Core, exchange: &Exchange) -> Result<(), Problem> {
    if exchange.actor.is_some_and(|actor| core.ended.has(actor.session)) {
        return Err(Problem::new(Code::UnauthorizedAccess));
    }
    if exchange.bad_query {
        return Err(Problem::new(Code::ErrorParsingData));
    }
    // Proxies and browsers store targets in logs and histories, where a secret can be read.
    if !matches!(exchange.head.method, Method::Get | Method::Head)
        && let Some(name) = CREDENTIALS.iter().find(|name| exchange.query.iter().any(|(key, _)| key == *name))
    {
        return Err(Problem::invalid(name));
    }
    Ok(())
}

/// Runs the handler of a complete request.
pub fn dispatch(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, body: &[u8]) {
    let Some(route) = exchange.route else { return respond::options(core, conn, exchange) };
    if let Err(problem) = still_good(core, &exchange) {
        return respond::refuse(core, conn, exchange, &problem);
    }
    let step = match route.action {
        Action::Handle(_) => match body_object(route.body, body) {
            Ok(object) => {
                let params = Params::new(&exchange.path, &exchange.query, object.as_ref());
                let raw = if route.body == BodyKind::Hook { body } else { &[] };
                let step = call_row(core, &exchange, params, None, raw)
                    .and_then(|step| bots::gate(core, route, exchange.actor, &step).map(|()| step))
                    .and_then(|step| admit::charge(core, exchange.actor, &step).map(|()| step))
                    .and_then(|step| begin_export(core, conn, &step).map(|()| step));
                verified::gate(core, route, exchange.actor, step)
            }
            Err(problem) => Err(problem),
        },
        Action::Health => Ok(Step::Reply(report::health())),
        Action::Ready => Ok(Step::Reply(report::ready(core, exchange.client.language))),
        Action::Overview => {
            let step = Ok(overview::overview(core, exchange.actor));
            verified::gate(core, route, exchange.actor, step)
        }
        Action::Cluster => cluster::status(core).map(Step::Reply),
        Action::Metrics => report::metrics(core, conn, &exchange.head).map(Step::Reply),
        Action::Echo => conformance::echo(body),
        Action::EchoSocket => Stream::Echo.step(),
    };
    run(core, conn, exchange, step);
}

/// An export counts before its first page is read.
fn begin_export(core: &mut Core, conn: &mut Conn, step: &Step) -> Result<(), Problem> {
    if let Step::Store(Command::Read(Read::ExportAccount(export)), _) = step {
        core.streams.exports.begin(export.member)?;
        conn.exports = Some(export.member);
    }
    Ok(())
}

/// No body equals `{}`; no route takes JSON that is not an object.
fn body_object(kind: BodyKind, body: &[u8]) -> Result<Option<Object<'_>>, Problem> {
    if !matches!(kind, BodyKind::Json | BodyKind::Form(_)) || body.is_empty() {
        return Ok(None);
    }
    match json::parse(body) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) | Err(_) => Err(Problem::new(Code::ErrorParsingData)),
    }
}

/// Continues with the step of a handler or of a continuation.
pub fn run(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, step: Result<Step, Problem>) {
    match step {
        Err(problem) => respond::refuse(core, conn, exchange, &problem),
        Ok(Step::Reply(reply)) => respond::reply(core, conn, exchange, reply),
        Ok(Step::Stream(stream)) => conn.phase = Phase::HandOver { exchange, to: Handover::Stream(stream) },
        Ok(Step::Receive { room }) => conn.phase = Phase::HandOver { exchange, to: Handover::Body { room } },
        Ok(step) => {
            let ticket = match step {
                Step::Work(job, then) if job.is_password() => {
                    Some(wait_for_hash(core, conn, &exchange, job, then))
                }
                step => ask(core, Caller::Request(conn.id), step),
            };
            let Some(ticket) = ticket else { return };
            conn.deadline = None;
            conn.phase = Phase::Await { ticket, exchange };
        }
    }
}

/// Puts a password hash into the queue of [`hashing`](super::hashing).
fn wait_for_hash(core: &mut Core, conn: &Conn, exchange: &Exchange, job: Job, then: Then<Done>) -> Ticket {
    let known_to = match &job {
        Job::VerifyPassword(verify) => verify.known_to,
        _ => None,
    };
    let member = exchange.actor.map(|actor| actor.member).or(known_to);
    let asker = match member {
        Some(member) => Asker::Account(member),
        None if conn.listener_kind == ListenerKind::Control => Asker::Operator,
        None => Asker::Address(exchange.client.address),
    };
    let ticket = core.calls.insert(Call { caller: Caller::Request(conn.id), next: Next::Hash(then) });
    core.requests.hashing.ask(asker, ticket, job, core.now.instant);
    ticket
}

/// Sends a question to storage or a worker; `None` for a step that asks nothing, and for a password hash whose client has left.
pub fn ask(core: &mut Core, caller: Caller, step: Step) -> Option<Ticket> {
    match step {
        Step::Work(job, _) if job.is_password() => None,
        Step::Store(command, then) => Some(core.ask_store(caller, command, Next::Store(then))),
        Step::Work(job, then) => {
            let ticket = core.calls.insert(Call { caller, next: Next::Work(then) });
            core.effects.push_back(Effect::Work { ticket, job });
            Some(ticket)
        }
        Step::Reply(_) | Step::Stream(_) | Step::Receive { .. } => None,
    }
}

/// A continuation has run that has no connection, or whose connection was closed: what it asks for is still done, and only the
/// answer is dropped. An unfinished chain could leave a file without its row. Only a password is not hashed if its client has
/// left. `false` when the chain has ended.
pub fn resume_alone(core: &mut Core, caller: Caller, step: Result<Step, Problem>) -> bool {
    step.is_ok_and(|step| ask(core, caller, step).is_some())
}
