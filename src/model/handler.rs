//! The handler contract: a pure function from a request to the next step.
//!
//! A handler sees no connection, no socket and no SQL. Time, randomness and settings come with [`Ctx`]; what it wants done
//! leaves as a [`Step`].
//! Invariant: a handler that is called twice with the same context and request takes the same step.

#![warn(missing_docs)]

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::attempts::Attempts;
use super::id::{MemberId, ProfileId, SessionId};
use super::job::{Done, Job};
use super::message::{self, Message};
use super::operation::{Answer, Command, Operation, Refusal};
use super::params::Params;
use super::problem::{Code, Problem};
use super::settings::Settings;
use super::upload::{ReceivedFile, UnderWay};
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::json;
use crate::base::send_queue::Segment;
use crate::base::time::{Now, UnixS};
use crate::proto::http::head::{Headers, Method};
use crate::proto::http::language::Language;

/// The member, profile and session that ask, proven by an access token or a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The member.
    pub member: MemberId,
    /// Its profile.
    pub profile: ProfileId,
    /// The session of the credential.
    pub session: SessionId,
    /// The access token's `exp`, Unix seconds: a stream opened with it ends then unless extended.
    pub expires: UnixS,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// The address of the peer, or the one that a trusted proxy names.
    pub address: IpAddr,
    /// At most 512 bytes of printable characters; the rest is cut.
    pub user_agent: String,
    /// The `UniqueId` header: a device id of 1–128 visible ASCII characters; empty is `None`.
    pub unique_id: Option<String>,
    /// The language of titles in its errors.
    pub language: Language,
}

/// One complete request, of HTTP or of a WebSocket op.
pub struct Request<'a> {
    /// Values of the path, the query and the JSON body, by name.
    pub params: Params<'a>,
    /// Where the request comes from.
    pub client: &'a Client,
    /// The method of an HTTP request; an op has none.
    pub method: Option<Method>,
    /// The fields of an HTTP request; an op has none.
    pub headers: Option<&'a Headers>,
    /// What an upload or a form brought.
    pub file: Option<&'a ReceivedFile>,
    /// The bytes of a body that the handler reads itself; empty for all others.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers?.get(name)
    }
}

/// What a step may use.
pub struct Ctx<'a> {
    /// The time of the input that is being handled.
    pub now: Now,
    /// The only source of randomness.
    pub entropy: &'a mut dyn Entropy,
    /// The configuration.
    pub settings: &'a Settings,
    /// Recent failed attempts: the server stores them, handlers decide what follows from them.
    pub attempts: &'a mut Attempts,
    /// The log's epoch.
    pub epoch: &'a str,
    /// The greatest `seq` the server has seen.
    pub head: u64,
    /// Whether all stored data is known to be on disk, so that an answer may have a cursor.
    pub proven: bool,
    /// The message as the event of the same outcome showed it to others: its `rev` and its JSON, which the answer copies. `None` if
    /// no stream took the event.
    pub last_published: Option<(u64, &'a [u8])>,
    /// Work in addition to the answer, which does not wait for it. The server does it at the end of the turn.
    pub follow_ups: &'a mut Vec<FollowUp>,
}

/// Work that no client waits for. The server does it, whether or not the connection that caused it is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// A write put a mail into the outbox. The server itself sees that.
    Mail,
    /// Look up the place of this address, for the session's row and for the mail that waits for it.
    FindPlace {
        /// The session whose row gets the place.
        session: SessionId,
        /// The address from which it signed in.
        address: IpAddr,
    },
    /// A device subscribed to notifications. The server itself sees that.
    Push,
    /// An outgoing hook was set or removed, or a bot may have been disabled, enabled or deleted. The server itself sees that.
    Hooks,
    /// An admin asks for a backup.
    Backup,
    /// The member's e-mail address is verified now.
    Verified(MemberId),
}

impl Ctx<'_> {
    /// A new id with the current time.
    pub fn id<K>(&mut self) -> Id<K> {
        self.entropy.id(self.now.unix_ms)
    }

    /// Sixteen random bytes for a new password hash.
    pub fn salt(&mut self) -> [u8; 16] {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        salt
    }
}

/// A handler of a row of the route table. The router has proven the actor before a member handler runs.
#[derive(Clone, Copy)]
pub enum Handler {
    /// For any client; the handler proves what it needs itself.
    Public(fn(&mut Ctx<'_>, &Request<'_>) -> Result<Step, Problem>),
    /// For a proven actor.
    Member(fn(&mut Ctx<'_>, Actor, &Request<'_>) -> Result<Step, Problem>),
    /// For an actor or for the holder of a signed link; the handler checks which.
    Either(fn(&mut Ctx<'_>, Option<Actor>, &Request<'_>) -> Result<Step, Problem>),
}

/// Decides by the head of a request whether its body may come. It gets what this and all other uploads in progress of the member
/// take, and returns [`Step::Receive`] or a problem.
pub type Admit = fn(&mut Ctx<'_>, Actor, UnderWay) -> Result<Step, Problem>;

/// What comes next: an answer, or work to be done first.
pub enum Step {
    /// The answer; the chain of steps ends.
    Reply(Reply),
    /// Asks storage, then continues with its answer.
    Store(Command, Then<Result<Answer, Refusal>>),
    /// Has a worker do a job, then continues with its result.
    Work(Job, Then<Done>),
    /// The connection becomes a stream. In a box: rare, and wider than the rest.
    Stream(Box<Stream>),
    /// From [`Admit`] only: the body may come.
    Receive {
        /// Bytes of the quota that are left for it and the member's other uploads in progress.
        room: u64,
    },
}

/// A continuation: what the handler does with the answer it asked for.
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
    /// The HTTP status; an op ignores it.
    pub status: u16,
    /// Further response fields; an op ignores them.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body of the response, or the `ok` of an op.
    pub body: Body,
}

/// The three forms of an answer.
#[derive(Debug)]
pub enum Body {
    /// No body (204, or a HEAD-like answer).
    Empty,
    /// `{"data":…}` in HTTP, `"ok":…` on a WebSocket.
    Data {
        /// JSON.
        data: Vec<u8>,
        /// Members next to `data`, each with its leading comma: `,"next":null`.
        beside: Vec<u8>,
    },
    /// Bytes that are not JSON of the API.
    Raw {
        /// The `Content-Type`.
        mime: Cow<'static, str>,
        /// The body.
        bytes: Segment,
    },
}

impl Reply {
    /// An answer with this status and `data`.
    pub fn data<T: Serialize + ?Sized>(status: u16, data: &T) -> Reply {
        Reply::json(status, json::to_vec(data))
    }

    /// As [`Reply::data`], for a value that is encoded already.
    pub fn json(status: u16, data: Vec<u8>) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Data { data, beside: Vec::new() } }
    }

    /// 200 with `data`.
    pub fn ok<T: Serialize + ?Sized>(data: &T) -> Reply {
        Reply::data(200, data)
    }

    /// 200 without a result: `{"data":null}`.
    pub fn done() -> Reply {
        Reply::data(200, &())
    }

    /// 201 with `data`.
    pub fn created<T: Serialize + ?Sized>(data: &T) -> Reply {
        Reply::data(201, data)
    }

    /// 204 without a body.
    pub fn no_content() -> Reply {
        Reply { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// A page of a list: `next` is the opaque continuation or `null`.
    pub fn list<T: Serialize + ?Sized>(data: &T, next: Option<String>) -> Reply {
        Reply::ok(data).beside("next", &next)
    }

    /// The same for messages.
    pub fn messages(data: &[Message], next: Option<String>) -> Reply {
        Reply::json(200, message::write_all(data)).beside("next", &next)
    }

    /// Adds a member next to `data`.
    pub fn beside<T: Serialize + ?Sized>(mut self, name: &'static str, value: &T) -> Reply {
        if let Body::Data { beside, .. } = &mut self.body {
            beside.push(b',');
            json::write(beside, name);
            beside.push(b':');
            json::write(beside, value);
        }
        self
    }

    /// An answer that is not JSON of the API.
    pub fn raw(status: u16, mime: impl Into<Cow<'static, str>>, bytes: Segment) -> Reply {
        Reply { status, headers: Vec::new(), body: Body::Raw { mime: mime.into(), bytes } }
    }

    /// Adds a response field.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The step that gives this answer.
    pub fn step(self) -> Result<Step, Problem> {
        Ok(Step::Reply(self))
    }
}

/// A request that becomes a stream: the server takes the connection over.
#[allow(missing_docs, reason = "the fields of each variant are the arguments of the function that opens it")]
#[derive(Debug)]
pub enum Stream {
    /// `/api/v1/ws`: from the cursor, or from now.
    WebSocket { actor: Actor, cursor: Option<Cursor> },
    /// `/api/v1/ws/{sender}/{receiver}`.
    LegacySocket { actor: Actor, receiver: ProfileId, pair: super::message::LegacyHistory },
    /// The log as server-sent events: from the cursor, or from now.
    Events { actor: Actor, cursor: Option<Cursor> },
    /// The log as JSON, after a wait if there is nothing yet.
    Poll { actor: Actor, start: PollStart, limit: u32, wait: Duration },
    /// One value of a profile, at once and when it changes (a legacy stream).
    Value { actor: Actor, form: ValueForm },
    /// Everything that is stored about the actor, page by page; the first page was read.
    Export { actor: Actor, first: super::export::ExportPage },
    /// A WebSocket that sends back what it receives, for conformance suites.
    Echo,
}

impl Stream {
    /// The actor that receives events on it; `None` for a stream that shows only stored data.
    pub fn listener(&self) -> Option<Actor> {
        match self {
            Stream::WebSocket { actor, .. }
            | Stream::LegacySocket { actor, .. }
            | Stream::Events { actor, .. }
            | Stream::Poll { actor, .. }
            | Stream::Value { actor, .. } => Some(*actor),
            Stream::Export { .. } | Stream::Echo => None,
        }
    }

    /// The step that opens it.
    pub fn step(self) -> Result<Step, Problem> {
        Ok(Step::Stream(Box::new(self)))
    }

    /// Whether it shows future events, and not only stored data.
    pub fn follows_log(&self) -> bool {
        match self {
            Stream::WebSocket { .. }
            | Stream::LegacySocket { .. }
            | Stream::Events { .. }
            | Stream::Poll { .. }
            | Stream::Value { .. } => true,
            Stream::Export { .. } | Stream::Echo => false,
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
    /// After this event.
    Cursor(Cursor),
}

/// Which value of a profile a value stream shows.
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
    /// 1–32 of `[a-z0-9]`; names one history of the log.
    pub epoch: String,
    /// The last event the client has.
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
