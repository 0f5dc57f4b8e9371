//! What a handler is: a pure function from a request to the next step. It never sees a connection, a socket or
//! SQL; what it needs from the world comes with [`Ctx`], what it wants done goes out as a [`Step`].

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::attempts::Attempts;
use super::job::{Done, Job};
use super::operation::{Answer, Command, Operation, Refusal};
use super::params::Params;
use super::problem::{Code, Problem};
use super::session::SessionId;
use super::settings::Settings;
use super::tickets::Tickets;
use super::upload::ReceivedFile;
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::json;
use crate::base::send_queue::Segment;
use crate::base::time::Now;
use crate::proto::http::head::{Headers, Method};
use crate::proto::http::language::Language;

/// Who asks, proven by an access token, a ticket or a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    pub member: Id,
    pub profile: Id,
    pub session: SessionId,
    /// The access token's `exp`, Unix seconds: a stream opened with it ends then unless extended.
    pub expires: u64,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// The peer, or what a trusted proxy says of it.
    pub address: IpAddr,
    /// At most 512 bytes of printable characters; the rest is cut.
    pub user_agent: String,
    /// The `UniqueId` header: a device id of 1–128 visible ASCII characters; empty is `None`.
    pub unique_id: Option<String>,
    pub language: Language,
}

/// One complete request, of HTTP or of a WebSocket op.
pub struct Request<'a> {
    pub params: Params<'a>,
    pub client: &'a Client,
    /// The method of an HTTP request; an op has none.
    pub method: Option<Method>,
    /// The fields of an HTTP request; an op has none.
    pub headers: Option<&'a Headers>,
    /// What an upload or a form brought.
    pub file: Option<&'a ReceivedFile>,
}

impl<'a> Request<'a> {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers?.get(name)
    }
}

/// What a step may use of the world.
pub struct Ctx<'a> {
    pub now: Now,
    pub entropy: &'a mut dyn Entropy,
    pub settings: &'a Settings,
    /// What was tried and failed lately: kept by the server, judged by handlers.
    pub attempts: &'a mut Attempts,
    /// WebSocket tickets that wait to be used.
    pub tickets: &'a mut Tickets,
    /// The log's epoch and the greatest seq the server has seen.
    pub epoch: &'a str,
    pub head: u64,
    /// Whether what is read is known to be on disk, so that a cursor may be answered.
    pub proven: bool,
    /// The message as the event of this very outcome showed it to others: its `rev` and its JSON, to be answered as it is. Not
    /// there when nobody heard it.
    pub last_published: Option<(u64, &'a [u8])>,
    /// What is to be done besides, that no answer waits for: drained after each step.
    pub follow_ups: &'a mut Vec<FollowUp>,
}

/// Something nobody waits for. The server does it, whatever became of the connection that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// A write put a mail into the outbox.
    Mail,
    /// Where this address is, for the session's row and for the mail that waits for it.
    FindPlace { session: SessionId, address: IpAddr },
    /// The member's e-mail address is verified now.
    Verified(Id),
}

impl Ctx<'_> {
    /// A fresh id of this moment.
    pub fn id(&mut self) -> Id {
        self.entropy.id(self.now.unix_ms)
    }

    pub fn salt(&mut self) -> [u8; 16] {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        salt
    }
}

/// A handler of a row of the route table. The router has proven the actor before a member handler runs.
#[derive(Clone, Copy)]
pub enum Handler {
    Public(fn(&mut Ctx<'_>, &Request<'_>) -> Result<Step, Problem>),
    Member(fn(&mut Ctx<'_>, Actor, &Request<'_>) -> Result<Step, Problem>),
    /// A member, or the holder of something that is as good; the handler judges which.
    Either(fn(&mut Ctx<'_>, Option<Actor>, &Request<'_>) -> Result<Step, Problem>),
}

/// Judges a head before its body is read, with the bytes of this body and of all others its member brings at the moment;
/// [`Step::Receive`] lets it in.
pub type Admit = fn(&mut Ctx<'_>, Actor, u64) -> Result<Step, Problem>;

/// What comes next: an answer, or something to be done first.
pub enum Step {
    Reply(Reply),
    Store(Command, Then<Result<Answer, Refusal>>),
    Work(Job, Then<Done>),
    /// In a box: rare, and wider than the rest.
    Stream(Box<Stream>),
    /// From [`Admit`] only: the body may come, and with the others under way take so many bytes.
    Receive {
        room: u64,
    },
}

pub type Then<T> = Box<dyn FnOnce(&mut Ctx<'_>, T) -> Result<Step, Problem> + Send>;

impl Step {
    /// Asks storage one question; a refusal becomes its problem.
    pub fn store<O>(
        operation: O,
        then: impl FnOnce(&mut Ctx<'_>, O::Answer) -> Result<Step, Problem> + Send + 'static,
    ) -> Step
    where
        O: Operation,
    {
        Step::store_or(operation, move |ctx, result| then(ctx, result?))
    }

    /// As [`Step::store`], for a handler that has its own answer to a refusal.
    pub fn store_or<O>(
        operation: O,
        then: impl FnOnce(&mut Ctx<'_>, Result<O::Answer, Refusal>) -> Result<Step, Problem> + Send + 'static,
    ) -> Step
    where
        O: Operation,
    {
        Step::Store(
            operation.into_command(),
            Box::new(move |ctx, result| {
                let result = match result {
                    Ok(answer) => Ok(O::from_answer(answer).ok_or(Problem::new(Code::GeneralError))?),
                    Err(refusal) => Err(refusal),
                };
                then(ctx, result)
            }),
        )
    }

    /// Has a worker do something; a full queue and a failed worker become their problems.
    pub fn work(
        job: Job,
        then: impl FnOnce(&mut Ctx<'_>, Done) -> Result<Step, Problem> + Send + 'static,
    ) -> Step {
        Step::Work(
            job,
            Box::new(move |ctx, done| match done {
                Done::Busy => Err(Code::Busy.into()),
                Done::Failed => Err(Code::GeneralError.into()),
                done => then(ctx, done),
            }),
        )
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    /// No body (204, or a HEAD-like answer).
    Empty,
    /// `{"data":…}` in HTTP, `"ok":…` on a WebSocket. `beside` holds ready-made members that stand next to it, each with its
    /// leading comma: `,"next":null`.
    Data { data: Vec<u8>, beside: Vec<u8> },
    /// Bytes of another kind than the API's JSON.
    Raw { mime: Cow<'static, str>, bytes: Segment },
}

impl Reply {
    pub fn data<T: Serialize + ?Sized>(status: u16, data: &T) -> Reply {
        Reply::json(status, json::to_vec(data))
    }

    /// As [`Reply::data`], of what is JSON already.
    pub fn json(status: u16, data: Vec<u8>) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Data { data, beside: Vec::new() } }
    }

    pub fn ok<T: Serialize + ?Sized>(data: &T) -> Reply {
        Reply::data(200, data)
    }

    /// 200 without a result: `{"data":null}`.
    pub fn done() -> Reply {
        Reply::data(200, &())
    }

    pub fn created<T: Serialize + ?Sized>(data: &T) -> Reply {
        Reply::data(201, data)
    }

    pub fn no_content() -> Reply {
        Reply { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// A page of a list: `next` is the opaque continuation or `null`.
    pub fn list<T: Serialize + ?Sized>(data: &T, next: Option<String>) -> Reply {
        Reply::ok(data).beside("next", &next)
    }

    /// Adds a member that stands next to `data`.
    pub fn beside<T: Serialize + ?Sized>(mut self, name: &'static str, value: &T) -> Reply {
        if let Body::Data { beside, .. } = &mut self.body {
            beside.push(b',');
            json::write(beside, name);
            beside.push(b':');
            json::write(beside, value);
        }
        self
    }

    pub fn raw(status: u16, mime: impl Into<Cow<'static, str>>, bytes: Segment) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Raw { mime: mime.into(), bytes } }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    pub fn step(self) -> Result<Step, Problem> {
        Ok(Step::Reply(self))
    }
}

/// A request that becomes a stream: the server takes the connection over.
#[derive(Debug)]
pub enum Stream {
    /// `/api/v1/ws`: from the cursor, or from now.
    WebSocket { actor: Actor, cursor: Option<Cursor> },
    /// `/api/v1/ws/{sender}/{receiver}`.
    LegacySocket { actor: Actor, receiver: Id, pair: super::message::LegacyHistory },
    /// The log as server-sent events: from the cursor, or from now.
    Events { actor: Actor, cursor: Option<Cursor> },
    /// The log as JSON, after a wait where there is nothing yet.
    Poll { actor: Actor, start: PollStart, limit: u32, wait: Duration },
    /// One of the Go server's values, at once and on change.
    Value { actor: Actor, form: ValueForm },
    /// Everything stored about the actor, page by page; the first is read.
    Export { actor: Actor, first: super::export::ExportPage },
    /// The conformance build's WebSocket echo.
    #[cfg(feature = "conformance")]
    Echo,
}

impl Stream {
    /// Who hears events on it, or waits for them.
    pub fn listener(&self) -> Option<Actor> {
        match self {
            Stream::WebSocket { actor, .. }
            | Stream::LegacySocket { actor, .. }
            | Stream::Events { actor, .. }
            | Stream::Poll { actor, .. }
            | Stream::Value { actor, .. } => Some(*actor),
            Stream::Export { .. } => None,
            #[cfg(feature = "conformance")]
            Stream::Echo => None,
        }
    }

    /// The step that opens it.
    pub fn step(self) -> Result<Step, Problem> {
        Ok(Step::Stream(Box::new(self)))
    }

    /// Whether it shows what comes, and not only what is there.
    pub fn follows_log(&self) -> bool {
        match self {
            Stream::WebSocket { .. }
            | Stream::LegacySocket { .. }
            | Stream::Events { .. }
            | Stream::Poll { .. }
            | Stream::Value { .. } => true,
            Stream::Export { .. } => false,
            #[cfg(feature = "conformance")]
            Stream::Echo => false,
        }
    }
}

/// Where a poll begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollStart {
    /// The oldest event that is kept.
    Oldest,
    /// The head: only what comes.
    Now,
    Cursor(Cursor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueForm {
    /// The array of chats.
    ChatList,
    /// The number of conversations with unread messages.
    ChatCounter,
}

/// `<epoch>:<seq>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub epoch: String,
    pub seq: u64,
}

impl Cursor {
    /// Epoch 1–32 of `[a-z0-9]`, seq decimal; anything else is not a cursor.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (epoch, seq) = text.split_once(':')?;
        let epoch_good = (1..=32).contains(&epoch.len())
            && epoch.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let seq_good = (1..=20).contains(&seq.len()) && seq.bytes().all(|b| b.is_ascii_digit());
        if !epoch_good || !seq_good {
            return None;
        }
        Some(Cursor { epoch: epoch.to_owned(), seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_exactly_epoch_and_seq() {
        assert_eq!(Cursor::parse("k3:12").map(|c| c.to_string()), Some("k3:12".to_owned()));
        let long = format!("{}:1", "a".repeat(33));
        for bad in
            ["", "k3", "k3:", ":1", "K3:1", "k3:-1", "k3:+1", "k3:1:2", "k3:99999999999999999999", &long]
        {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
