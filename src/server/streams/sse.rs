//! Server-sent events: a response that does not end by itself.
//!
//! The log resumes by cursor, as on a WebSocket; the two legacy streams show one value, at once and then only when it changes.
//! Invariant: a stream without news costs one comment in 15 s, and no question to storage.

use std::time::{Duration, Instant};

use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::model::event::Fact;
use crate::model::handler::{Actor, Cursor, ValueForm};
use crate::model::id::SessionId;
use crate::model::operation::{Answer, Refusal};
use crate::proto::http::head::{Method, Version};
use crate::proto::http::response;
use crate::proto::sse;
use crate::server::clock::{instant_of, soonest};
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::Ticket;
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::http;
use crate::server::request::respond;
use crate::server::streams::hub::{self, Subscription};
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::publication::Publication;
use crate::server::streams::replay::Replay;
use crate::server::streams::values::{self, Found};

/// Between two comments on a stream of server-sent events.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Comments that are due within this many milliseconds are sent in one turn: few wake-ups, and few enough comments at once that
/// they delay no client.
const COMMENTS_TOGETHER_MS: u64 = 100;
/// Comments in a row that find the one before unsent. After that the peer counts as gone, and the stream is closed.
const STALLED_COMMENTS_MAX: u32 = 4;

pub struct EventStream {
    kind: Kind,
    actor: Actor,
    wire: SseWire,
    next_comment: Instant,
    /// Comments in a row that found the one before still waiting.
    stalled: u32,
}

/// What a stream shows.
pub enum Kind {
    Log(Replay),
    Value(Value),
}

/// How the bytes of an event are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseWire {
    /// HTTP/1.1 frames a body of unknown length in chunks; HTTP/1.0 ends it by closing.
    pub chunked: bool,
}

impl SseWire {
    pub fn push(self, send: &mut SendQueue, bytes: Vec<u8>) {
        send.push_bytes(&self.frame(bytes));
    }

    /// The bytes as a part of the body.
    pub fn frame(self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.chunked {
            return bytes;
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        response::chunk(&mut out, &bytes);
        out
    }
}

/// One value of a profile; `values` reads it for all of the profile's streams.
pub struct Value {
    form: ValueForm,
    /// An event came that may have changed it.
    stale: bool,
    /// The number of the first read that may show it.
    awaited: Option<u64>,
    /// What was shown last, hashed.
    shown: Option<[u8; 32]>,
}

impl EventStream {
    pub fn session(&self) -> SessionId {
        self.actor.session
    }

    /// Takes an event of its audience; `true` when something was queued or is due.
    pub fn deliver(&mut self, send: &mut SendQueue, publication: &mut Publication) -> bool {
        match &mut self.kind {
            Kind::Log(replay) => replay.deliver(send, publication),
            Kind::Value(value) => {
                value.stale |= !matches!(publication.event.fact, Fact::SessionEnded(_));
                value.stale
            }
        }
    }
}

/// What to open.
pub enum Opening {
    Log(Option<Cursor>),
    Value(ValueForm),
}

/// A request becomes a stream of events.
pub fn open(core: &mut Core, conn: &mut Conn, exchange: &Exchange, actor: Actor, opening: Opening) {
    let wire = SseWire { chunked: exchange.head.version != Version::Http10 };
    respond::begin_stream(core, conn, exchange, &sse::HEAD_FIELDS);
    if exchange.head.method == Method::Head {
        return http::linger(core, conn, CloseReason::Finished);
    }
    // Subscribed first, read afterwards: what is committed meanwhile is held, not missed.
    hub::subscribe(core, conn, Subscription { profile: actor.profile, device: true });
    let kind = match opening {
        Opening::Log(cursor) => {
            let mut replay = Replay::events(cursor, wire);
            replay.begin(core, &mut conn.send, conn.id, actor);
            Kind::Log(replay)
        }
        Opening::Value(form) => Kind::Value(Value { form, stale: true, awaited: None, shown: None }),
    };
    let next_comment = next_comment(core.now);
    let stream = EventStream { kind, actor, wire, next_comment, stalled: 0 };
    conn.inbox = Vec::new();
    conn.phase = Phase::Stream(StreamKind::EventStream(Box::new(stream)));
    advance(core, conn);
}

/// When the next comment is due. Thousands of idle streams share a few instants, so that one turn of the loop serves many.
fn next_comment(now: Now) -> Instant {
    now.instant + COMMENT_EVERY - Duration::from_millis(now.unix_ms.0 % COMMENTS_TOGETHER_MS)
}

/// Asks for what is due, and sets the one deadline.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let id = conn.id;
    let max = core.settings.limits.send_queue_max;
    let Phase::Stream(StreamKind::EventStream(stream)) = &mut conn.phase else { return };
    if conn.send.memory() > max {
        // The client's Last-Event-ID is still valid, and a client that does not read would not read a last event.
        core.metrics.streams_cut += 1;
        conn.phase = Phase::Closed(CloseReason::SlowReader);
        return;
    }
    let actor = stream.actor;
    let mut due = None;
    match &mut stream.kind {
        Kind::Log(replay) => {
            replay.go_on(core, &conn.send, id, actor);
            due = replay.look_at();
        }
        Kind::Value(value) => {
            if std::mem::take(&mut value.stale) {
                value.awaited = Some(core.streams.values.next_read(actor.profile));
            }
            // A peer that does not read causes no read.
            if value.awaited.is_some() && conn.send.is_empty() {
                due = values::want(core, actor, value.shown.is_none());
            }
        }
    }
    conn.deadline = soonest([Some(stream.next_comment), Some(instant_of(core.now, actor.expires)), due]);
}

/// Storage has answered a question of the stream itself.
pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let Phase::Stream(StreamKind::EventStream(stream)) = &mut conn.phase else { return };
    let Kind::Log(replay) = &mut stream.kind else { return };
    if replay.answered(core, &mut conn.send, ticket, result).is_err() {
        return end(core, conn, CloseReason::Unavailable);
    }
    advance(core, conn);
}

/// The chats of the stream's profile were read.
pub fn found(core: &mut Core, conn: &mut Conn, found: &Result<Found, Refusal>) {
    let Phase::Stream(StreamKind::EventStream(stream)) = &mut conn.phase else { return };
    let wire = stream.wire;
    let Kind::Value(value) = &mut stream.kind else { return };
    match found {
        Ok(found) => value.show(core, &mut conn.send, wire, found),
        Err(_) if value.awaited.is_some() => return end(core, conn, CloseReason::Unavailable),
        Err(_) => {}
    }
    advance(core, conn);
}

/// One of the stream's deadlines has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let now = core.now.instant;
    let Phase::Stream(StreamKind::EventStream(stream)) = &mut conn.phase else { return };
    if stream.actor.expires <= core.now.unix_s() {
        return end(core, conn, CloseReason::SessionOver);
    }
    if let Kind::Log(replay) = &mut stream.kind
        && replay.look(core).is_err()
    {
        return end(core, conn, CloseReason::Unavailable);
    }
    if now >= stream.next_comment {
        stream.stalled = if conn.send.is_empty() || conn.progress > 0 { 0 } else { stream.stalled + 1 };
        if stream.stalled >= STALLED_COMMENTS_MAX {
            conn.phase = Phase::Closed(CloseReason::SlowReader);
            return;
        }
        conn.progress = 0;
        stream.next_comment = next_comment(core.now);
        let mut comment = Vec::new();
        sse::comment(&mut comment);
        stream.wire.push(&mut conn.send, comment);
    }
    advance(core, conn);
}

/// Ends the body in order; an EventSource then reconnects by itself.
pub fn end(core: &mut Core, conn: &mut Conn, reason: CloseReason) {
    let Phase::Stream(StreamKind::EventStream(stream)) = &mut conn.phase else { return };
    if stream.wire.chunked {
        let mut last = Vec::new();
        response::last_chunk(&mut last);
        conn.send.push_bytes(&last);
    }
    hub::unsubscribe(core, conn);
    http::linger(core, conn, reason);
}

impl Value {
    /// Sends what was found, if it is new. A stream that is still sending takes the next one.
    fn show(&mut self, core: &Core, send: &mut SendQueue, wire: SseWire, found: &Found) {
        if !send.is_empty() || self.awaited.is_none_or(|awaited| awaited > found.number) {
            return;
        }
        self.awaited = None;
        let text = found.text(self.form, &core.settings.urls, core.now.unix_s());
        if self.shown == Some(text.hash) {
            return;
        }
        self.shown = Some(text.hash);
        let mut event = Vec::with_capacity(text.text.len() + 16);
        sse::event(&mut event, "", "", &text.text);
        wire.push(send, event);
    }
}
