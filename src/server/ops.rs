//! The native form's frames: an op in, an answer out.
//! Invariant: writes are done and answered in the order sent; a read may overtake them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::admit;
use super::calls::{Caller, Next};
use super::contract::ConnId;
use super::core::Core;
use super::presence;
use super::rate_limit::Bucket;
use super::router;
use super::routes::{Action, RateClass};
use super::steps;
use super::stream::{self, SocketStream, push_text};
use crate::base::json::{self, Object, Value};
use crate::base::send_queue::SendQueue;
use crate::model::handler::{Body, Reply, Request, Step};
use crate::model::message::Time;
use crate::model::operation::Operation;
use crate::model::params::Params;
use crate::model::presence::FindListeners;
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::Language;

/// The ops of one socket that are under way.
#[derive(Default)]
pub struct Ops {
    next: u64,
    writes: VecDeque<Pending>,
    reads: Vec<Pending>,
    /// A frame that waits for the write rate, and until when.
    stash: Option<(Instant, String)>,
    /// A write was refused with `retry`: everything behind it is too, and the socket closes once all is answered.
    refused: bool,
}

struct Pending {
    number: u64,
    /// The op's `id` as JSON text; without one it is answered only when refused.
    re: Option<String>,
    answer: Option<Vec<u8>>,
}

impl Ops {
    pub fn in_flight(&self) -> usize {
        self.writes.len() + self.reads.len()
    }

    pub fn is_paused(&self) -> bool {
        self.stash.is_some()
    }

    pub fn is_refused(&self) -> bool {
        self.refused
    }

    pub fn refuse_rest(&mut self) {
        self.refused = true;
    }

    pub fn paused_until(&self) -> Option<Instant> {
        self.stash.as_ref().map(|(until, _)| *until)
    }

    /// The frame that waited, once its time has come.
    pub fn take_stash(&mut self, now: Instant) -> Option<String> {
        if self.stash.as_ref().is_some_and(|(until, _)| *until <= now) {
            return self.stash.take().map(|(_, text)| text);
        }
        None
    }

    pub fn pause(&mut self, now: Instant, after: Duration, text: &str) {
        self.stash = Some((now + after, text.to_owned()));
    }

    /// A new op's number.
    pub fn begin(&mut self, re: Option<String>, is_write: bool) -> u64 {
        self.next += 1;
        let pending = Pending { number: self.next, re, answer: None };
        if is_write {
            self.writes.push_back(pending);
        } else {
            self.reads.push(pending);
        }
        self.next
    }

    /// Queues the answer of an op as soon as its order allows.
    pub fn finish(
        &mut self,
        send: &mut SendQueue,
        number: u64,
        encode: impl FnOnce(Option<&str>) -> Vec<u8>,
    ) {
        if let Some(position) = self.reads.iter().position(|read| read.number == number) {
            let read = self.reads.swap_remove(position);
            return push_answer(send, &encode(read.re.as_deref()));
        }
        // Numbers rise along the queue.
        let Ok(position) = self.writes.binary_search_by_key(&number, |write| write.number) else { return };
        let write = &mut self.writes[position];
        write.answer = Some(encode(write.re.as_deref()));
        while let Some(answer) = self.writes.front_mut().and_then(|write| write.answer.take()) {
            self.writes.pop_front();
            push_answer(send, &answer);
        }
        if self.writes.is_empty() && self.writes.capacity() > 16 {
            self.writes = VecDeque::new();
        }
    }
}

/// An op that wants no answer has an empty one.
fn push_answer(send: &mut SendQueue, answer: &[u8]) {
    if !answer.is_empty() {
        push_text(send, answer);
    }
}

/// One text frame: one JSON object.
pub fn text(core: &mut Core, stream: &mut SocketStream, send: &mut SendQueue, conn: ConnId, text: &str) {
    let parsed = json::parse(text.as_bytes());
    let Ok(Value::Object(object)) = parsed else {
        stream::count_refused(stream, core.now.instant);
        return push_text(send, &error(None, &Problem::new(Code::ErrorParsingData), stream.client.language));
    };
    let re = match object.get("id") {
        None | Some(Value::Null) => None,
        Some(id @ (Value::Int(_) | Value::Large(_) | Value::Float(_) | Value::Str(_))) => {
            Some(json::to_string(id))
        }
        Some(_) => {
            stream::count_refused(stream, core.now.instant);
            return push_text(send, &error(None, &Problem::invalid("id"), stream.client.language));
        }
    };
    let name = object.get("op").and_then(Value::as_str).unwrap_or_default();
    if name == "auth" {
        let number = stream.ops.begin(re, false);
        let result = auth(core, stream, &object);
        return answer(core, stream, send, number, result);
    }
    if name == "typing" {
        if let Some(actor) = stream.actor
            && let Some(after) =
                admit::take(core, Bucket::Account(actor.member)).and_then(|verdict| verdict.retry_after)
        {
            return stream.ops.pause(core.now.instant, after, text);
        }
        let number = stream.ops.begin(re, false);
        return typing(core, stream, send, conn, number, &object);
    }
    let Some(route) = router::find_op(name) else {
        let number = stream.ops.begin(re, false);
        return answer(core, stream, send, number, Err(Problem::new(Code::UnknownOp)));
    };
    let is_write = route.rate == RateClass::Write;
    if let Some(actor) = stream.actor {
        let bucket = if is_write { Bucket::Writes(actor.member) } else { Bucket::Account(actor.member) };
        if let Some(after) = admit::take(core, bucket).and_then(|verdict| verdict.retry_after) {
            return stream.ops.pause(core.now.instant, after, text);
        }
    }
    let number = stream.ops.begin(re, is_write);
    let Action::Handle(handler) = route.action else { return };
    let params = Params::new(&[], &[], Some(&object));
    let request = Request { params, client: &stream.client, method: None, headers: None, file: None };
    let outcome = steps::call(core, handler, stream.actor, &request);
    step(core, stream, send, conn, number, outcome);
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
        Ok(reply) => stream.ops.finish(send, number, |re| re.map_or(Vec::new(), |re| ok(re, reply))),
        Err(problem) => {
            stream::count_refused(stream, core.now.instant);
            let is_write = stream.ops.writes.iter().any(|write| write.number == number);
            stream.ops.finish(send, number, |re| error(re, &problem, language));
            // Storage refuses what is under way behind it, and no further frame is taken: nothing overtakes.
            if is_write && (problem.retry() || problem.code == Code::GeneralError) {
                stream.ops.refuse_rest();
            }
        }
    }
}

/// `{"re":7,"ok":…,"duplicate":true}`.
fn ok(re: &str, reply: Reply) -> Vec<u8> {
    let (data, beside) = match reply.body {
        Body::Data { data, beside } => (data, beside),
        Body::Empty | Body::Raw { .. } => (b"null".to_vec(), Vec::new()),
    };
    let mut out = Vec::with_capacity(re.len() + data.len() + beside.len() + 16);
    out.extend_from_slice(b"{\"re\":");
    out.extend_from_slice(re.as_bytes());
    out.extend_from_slice(b",\"ok\":");
    out.extend_from_slice(&data);
    out.extend_from_slice(&beside);
    out.push(b'}');
    out
}

/// `{"re":7,"error":{…}}`; `re` is `null` for an op without an id.
fn error(re: Option<&str>, problem: &Problem, language: Language) -> Vec<u8> {
    let mut out = b"{\"re\":".to_vec();
    out.extend_from_slice(re.unwrap_or("null").as_bytes());
    out.extend_from_slice(b",\"error\":");
    json::write(&mut out, &problem.on_stream(language));
    out.push(b'}');
    out
}

/// `{"op":"typing","conversation":…,"active":true}`: told to who may know, and to nobody twice in a short while.
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
    let ((conversation, active), actor) = match (asked, stream.actor) {
        (Ok(asked), Some(actor)) => (asked, actor),
        (Err(problem), _) => return answer(core, stream, send, number, Err(problem)),
        (Ok(_), None) => return answer(core, stream, send, number, Err(Code::UnauthorizedAccess.into())),
    };
    let now = core.now.instant;
    let known = if active {
        stream.typist.as_mut().is_some_and(|typist| typist.goes_on(conversation, now))
    } else {
        match stream.typist.take_if(|typist| typist.is_in(conversation)) {
            Some(typist) => {
                presence::stopped(core, actor.profile, *typist);
                true
            }
            None => false,
        }
    };
    if known {
        return answer(core, stream, send, number, Ok(Reply::done()));
    }
    let find = FindListeners { viewer: actor.profile, conversation };
    let next = Next::Typing { conversation, active };
    core.ask_store(Caller::Op { conn, op: number }, find.into_command(), next);
}

#[derive(Serialize)]
struct Extended {
    expires_at: Time,
}

/// `{"op":"auth","access":…}`: the session goes on with a newer token. Another session's is 401, and the socket stays.
fn auth(core: &mut Core, stream: &mut SocketStream, object: &Object<'_>) -> Result<Reply, Problem> {
    let access = object.get("access").and_then(Value::as_str).ok_or(Problem::invalid("access"))?;
    let renewed = stream.actor.and_then(|old| admit::actor_again(core, access, old.session));
    let actor = renewed.ok_or(Problem::new(Code::UnauthorizedAccess))?;
    stream::extend(stream, actor);
    Ok(Reply::ok(&Extended { expires_at: Time(actor.expires * 1_000) }))
}
