//! The frames of a native WebSocket: an op in, an answer out.
//!
//! Invariant: writes are done and answered in the order sent; a read may overtake them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::json::{self, Object, Value};
use crate::base::send_queue::SendQueue;
use crate::base::time::UnixMs;
use crate::model::handler::{Body, Reply, Request, Step};
use crate::model::measures::Measure;
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::Language;
use crate::proto::websocket::{push_parts, push_parts_and};
use crate::server::calls::Caller;
use crate::server::contract::ConnId;
use crate::server::core::Core;
use crate::server::request::admit;
use crate::server::request::metrics;
use crate::server::request::rate_limit::Bucket;
use crate::server::request::router;
use crate::server::request::routes::{Action, RateClass};
use crate::server::request::steps;
use crate::server::streams::presence;
use crate::server::streams::websocket::{self, SocketStream};

/// The ops of one socket that are not answered yet.
#[derive(Default)]
pub struct Ops {
    next: u64,
    writes: VecDeque<Pending>,
    reads: Vec<Pending>,
    /// A frame that waits for the write rate, and until when.
    deferred: Option<(Instant, String)>,
    /// A write was refused with `retry`: every write after it is refused too, and the socket closes when all are answered.
    refused: bool,
}

struct Pending {
    number: u64,
    /// What its duration counts as, and since when.
    class: Measure,
    asked: Instant,
    /// An op without an `id` is answered only when it is refused.
    re: Option<RequestId>,
    response: Option<Response>,
}

/// The op's `id`, to be echoed.
pub enum RequestId {
    Number(i64),
    /// Any other, as it was written.
    Json(String),
}

/// Bytes of an op's `id` as it is written; it is kept until the op is answered. Above: 422 `invalid_id`.
const ID_BYTES_MAX: usize = 1_024;

/// An answer from this length on has a segment of its own in the send queue. A shorter one joins those before it.
const OWN_SEGMENT_BYTES: usize = 4_096;

/// An answer, as JSON.
pub enum Response {
    Ok {
        data: Vec<u8>,
        beside: Vec<u8>,
    },
    Error(Vec<u8>),
    /// The complete text of a legacy socket's answer, or nothing.
    Line(Vec<u8>),
}

impl Ops {
    pub fn in_flight(&self) -> usize {
        self.writes.len() + self.reads.len()
    }

    pub fn is_paused(&self) -> bool {
        self.deferred.is_some()
    }

    pub fn is_refused(&self) -> bool {
        self.refused
    }

    pub fn refuse_rest(&mut self) {
        self.refused = true;
    }

    pub fn paused_until(&self) -> Option<Instant> {
        self.deferred.as_ref().map(|(until, _)| *until)
    }

    /// The frame that waited for the write rate, when its time has come.
    pub fn take_deferred(&mut self, now: Instant) -> Option<String> {
        if self.deferred.as_ref().is_some_and(|(until, _)| *until <= now) {
            return self.deferred.take().map(|(_, text)| text);
        }
        None
    }

    pub fn pause(&mut self, now: Instant, after: Duration, text: &str) {
        self.deferred = Some((now + after, text.to_owned()));
    }

    /// A new op's number.
    pub fn begin(&mut self, re: Option<RequestId>, is_write: bool, class: Measure, asked: Instant) -> u64 {
        self.next += 1;
        let pending = Pending { number: self.next, class, asked, re, response: None };
        if is_write {
            self.writes.push_back(pending);
        } else {
            self.reads.push(pending);
        }
        self.next
    }

    /// Queues the answer of an op as soon as its order allows.
    pub fn finish(&mut self, core: &Core, send: &mut SendQueue, number: u64, response: Response) {
        let count = |op: &Pending| {
            let took = core.now.instant.saturating_duration_since(op.asked);
            core.settings.measures.took_here(op.class, took);
        };
        if let Some(position) = self.reads.iter().position(|read| read.number == number) {
            let read = self.reads.swap_remove(position);
            if self.reads.is_empty() {
                self.reads = Vec::new(); // an idle socket keeps no room for four
            }
            count(&read);
            return push_answer(send, read.re.as_ref(), response);
        }
        // Answers come in the order of the queue, except for an op that was refused at once. Numbers rise along the queue.
        let is_next = self.writes.front().is_some_and(|write| write.number == number);
        let found =
            if is_next { Ok(0) } else { self.writes.binary_search_by_key(&number, |write| write.number) };
        let Ok(position) = found else { return };
        self.writes[position].response = Some(response);
        while let Some(response) = self.writes.front_mut().and_then(|write| write.response.take()) {
            let write = self.writes.pop_front();
            write.iter().for_each(count);
            push_answer(send, write.and_then(|write| write.re).as_ref(), response);
        }
        if self.writes.is_empty() && self.writes.capacity() > 16 {
            self.writes = VecDeque::new();
        }
    }
}

/// `{"re":7,"ok":…,"duplicate":true}` or `{"re":7,"error":{…}}`; `re` is `null` for a refused op without an id.
fn push_answer(send: &mut SendQueue, re: Option<&RequestId>, response: Response) {
    let mut digits = [0; json::DIGITS_MAX];
    let text = match re {
        Some(RequestId::Json(text)) => text.as_bytes(),
        Some(RequestId::Number(number)) => json::digits(*number, &mut digits),
        None => b"null",
    };
    match response {
        // A page of a list: its bytes are not copied, and it has room for what follows them.
        Response::Ok { mut data, beside } if re.is_some() && data.len() >= OWN_SEGMENT_BYTES => {
            data.extend_from_slice(&beside);
            data.push(b'}');
            push_parts_and(send, &[b"{\"re\":", text, b",\"ok\":"], data);
        }
        Response::Ok { data, beside } if re.is_some() => {
            push_parts(send, &[b"{\"re\":", text, b",\"ok\":", &data, &beside, b"}"]);
        }
        Response::Error(error) => push_parts(send, &[b"{\"re\":", text, b",\"error\":", &error, b"}"]),
        Response::Line(line) if !line.is_empty() => push_parts(send, &[&line]),
        Response::Ok { .. } | Response::Line(_) => {}
    }
}

/// Handles one text frame, which is one JSON object.
pub fn text(core: &mut Core, stream: &mut SocketStream, send: &mut SendQueue, conn: ConnId, text: &str) {
    let Ok(Value::Object(object)) = json::parse_text(text) else {
        websocket::count_refused(stream, core.now.instant);
        let problem = Problem::new(Code::ErrorParsingData);
        return push_answer(send, None, refused(&problem, stream.client.language));
    };
    let Ok(re) = re_of(text, &object) else {
        websocket::count_refused(stream, core.now.instant);
        return push_answer(send, None, refused(&Problem::invalid("id"), stream.client.language));
    };
    let name = object.get("op").and_then(Value::as_str).unwrap_or_default();
    if name == "auth" {
        let number = stream.ops.begin(re, false, Measure::RequestOther, core.now.instant);
        let result = auth(core, stream, &object);
        return answer(core, stream, send, number, result);
    }
    if name == "focus" {
        let bucket = Bucket::Account(stream.actor.member);
        if let Some(after) = admit::take(core, bucket).and_then(|verdict| verdict.retry_after) {
            return stream.ops.pause(core.now.instant, after, text);
        }
        let number = stream.ops.begin(re, false, Measure::RequestOther, core.now.instant);
        let result = focus(core, stream, &object);
        return answer(core, stream, send, number, result);
    }
    if name == "typing" {
        // What others get costs as much as a post: a start or an end goes to as many streams.
        let member = stream.actor.member;
        let is_told = is_typing_told(stream, core.now.instant, &object);
        let bucket = if is_told { Bucket::Writes(member) } else { Bucket::Account(member) };
        if let Some(after) = admit::take(core, bucket).and_then(|verdict| verdict.retry_after) {
            return stream.ops.pause(core.now.instant, after, text);
        }
        let number = stream.ops.begin(re, false, Measure::RequestOther, core.now.instant);
        return typing(core, stream, send, conn, number, &object);
    }
    let Some(route) = router::find_op(name) else {
        let number = stream.ops.begin(re, false, Measure::RequestOther, core.now.instant);
        return answer(core, stream, send, number, Err(Problem::new(Code::UnknownOp)));
    };
    let is_write = route.rate == RateClass::Write;
    let actor = stream.actor;
    let bucket = if is_write { Bucket::Writes(actor.member) } else { Bucket::Account(actor.member) };
    if let Some(after) = admit::take(core, bucket).and_then(|verdict| verdict.retry_after) {
        return stream.ops.pause(core.now.instant, after, text);
    }
    let number = stream.ops.begin(re, is_write, metrics::class_of(Some(route)), core.now.instant);
    let Action::Handle(handler) = route.action else { return };
    let params = Params::new(&[], &[], Some(&object));
    let request =
        Request { params, client: &stream.client, method: None, headers: None, file: None, body: &[] };
    let outcome = steps::call(core, handler, Some(actor), &request)
        .and_then(|step| admit::charge(core, Some(actor), &step).map(|()| step));
    step(core, stream, send, conn, number, outcome);
}

/// The op's `id`, if it has one: a number or a string, which the answer repeats as it was sent.
fn re_of(text: &str, object: &Object<'_>) -> Result<Option<RequestId>, Problem> {
    match object.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Int(id)) => Ok(Some(RequestId::Number(*id))),
        Some(Value::Number(_) | Value::Str(_)) => json::member_text(text, "id")
            .filter(|id| id.len() <= ID_BYTES_MAX)
            .map(|id| Some(RequestId::Json(id.to_owned())))
            .ok_or(Problem::invalid("id")),
        Some(_) => Err(Problem::invalid("id")),
    }
}

/// An op's handler or continuation has come to a step.
pub fn step(
    core: &mut Core,
    stream: &mut SocketStream,
    send: &mut SendQueue,
    conn: ConnId,
    number: u64,
    step: Result<Step, Problem>,
) {
    match step {
        Ok(Step::Reply(reply)) => answer(core, stream, send, number, Ok(reply)),
        Err(problem) => answer(core, stream, send, number, Err(problem)),
        // No row that is an op opens a stream.
        Ok(Step::Stream(_) | Step::Receive { .. }) => {
            answer(core, stream, send, number, Err(Problem::new(Code::UnknownOp)))
        }
        Ok(step) => {
            steps::ask(core, Caller::Op { conn, op: number }, step);
        }
    }
}

fn answer(
    core: &mut Core,
    stream: &mut SocketStream,
    send: &mut SendQueue,
    number: u64,
    result: Result<Reply, Problem>,
) {
    if stream.ws.is_closing() {
        return;
    }
    let language = stream.client.language;
    match result {
        Ok(reply) => stream.ops.finish(core, send, number, done(reply)),
        Err(problem) => {
            websocket::count_refused(stream, core.now.instant);
            let is_write = stream.ops.writes.iter().any(|write| write.number == number);
            core.metrics.refused(problem.code);
            stream.ops.finish(core, send, number, refused(&problem, language));
            // No further frame is read, and a fault of storage has closed the lane, so no write overtakes the refused one.
            if is_write && (problem.retry() || problem.code == Code::GeneralError) {
                stream.ops.refuse_rest();
            }
        }
    }
}

fn done(reply: Reply) -> Response {
    match reply.body {
        Body::Data { data, beside } => Response::Ok { data, beside },
        Body::Empty | Body::Raw { .. } => Response::Ok { data: b"null".to_vec(), beside: Vec::new() },
    }
}

fn refused(problem: &Problem, language: Language) -> Response {
    Response::Error(json::to_vec(&problem.on_stream(language)))
}

/// Whether `typing` causes more than that what was announced continues.
fn is_typing_told(stream: &SocketStream, now: Instant, object: &Object<'_>) -> bool {
    let params = Params::new(&[], &[], Some(object));
    let Ok(Some(conversation)) = params.id("conversation") else { return false };
    let continues = stream.typing_state.as_ref().is_some_and(|state| state.is_fresh(conversation, now));
    !continues || params.flag("active").is_ok_and(|active| active == Some(false))
}

/// `{"op":"typing","conversation":…,"active":true}`: sent to the profiles that may know, and not again within a short time.
fn typing(
    core: &mut Core,
    stream: &mut SocketStream,
    send: &mut SendQueue,
    conn: ConnId,
    number: u64,
    object: &Object<'_>,
) {
    let params = Params::new(&[], &[], Some(object));
    let asked = params
        .required_id("conversation")
        .and_then(|conversation| Ok((conversation, params.flag("active")?.unwrap_or(true))));
    let (conversation, active) = match asked {
        Ok(asked) => asked,
        Err(problem) => return answer(core, stream, send, number, Err(problem)),
    };
    let (now, actor) = (core.now.instant, stream.actor);
    let known = if active {
        stream.typing_state.as_mut().is_some_and(|typing_state| typing_state.refresh(conversation, now))
    } else {
        match stream.typing_state.take_if(|typing_state| typing_state.is_in(conversation)) {
            Some(typing_state) => {
                presence::stopped(core, actor.profile, *typing_state);
                true
            }
            None => false,
        }
    };
    if known {
        return answer(core, stream, send, number, Ok(Reply::done()));
    }
    presence::ask_listeners(core, Caller::Op { conn, op: number }, actor.profile, conversation, active);
}

/// `{"op":"focus","conversation":…}`: what the device shows, or `null`. The person gets no notification of it.
fn focus(core: &mut Core, stream: &mut SocketStream, object: &Object<'_>) -> Result<Reply, Problem> {
    let conversation = Params::new(&[], &[], Some(object)).id("conversation")?;
    // A stream that closes has left the hub, which would end what it shows.
    if !stream.ws.is_closing() {
        core.streams.show(stream.actor.profile, stream.focus, conversation, core.now.instant);
        stream.focus = conversation;
    }
    Ok(Reply::done())
}

#[derive(Serialize)]
struct Extended {
    expires_at: UnixMs,
}

/// `{"op":"auth","access":…}`: the socket continues with a newer token of its session. A token of another session is 401, and
/// the socket stays open.
fn auth(core: &mut Core, stream: &mut SocketStream, object: &Object<'_>) -> Result<Reply, Problem> {
    let access = object.get("access").and_then(Value::as_str).ok_or(Problem::invalid("access"))?;
    let renewed = admit::actor_again(core, access, stream.actor.session);
    let actor = renewed.ok_or(Problem::new(Code::UnauthorizedAccess))?;
    websocket::extend(stream, actor);
    Ok(Reply::ok(&Extended { expires_at: actor.expires.ms() }))
}
