//! A response that does not end by itself: server-sent events. The log form resumes by cursor like a WebSocket; the two
//! Go forms show one value, at once and then only when it changes.
//! Invariant: a stream that has nothing to say costs one comment in a quarter of a minute, and no question to storage.

use std::time::{Duration, Instant};

use super::calls::{Caller, Next};
use super::conn::{Conn, Exchange, Phase};
use super::contract::{ConnId, Ticket};
use super::core::Core;
use super::hub::Subscription;
use super::publish::Publication;
use super::replay::Replay;
use super::{http, instant_of, respond, soonest};
use crate::base::crypto::sha256;
use crate::base::id::Id;
use crate::base::json;
use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::limits::{CHATS_EVERY, COMMENT_EVERY, COMMENTS_TOGETHER_MS, PAGE_MAX, STALLED_COMMENTS_MAX};
use crate::model::conversation::ListChats;
use crate::model::event::Fact;
use crate::model::handler::{Actor, Cursor, ValueForm};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::settings::SignUrls;
use crate::proto::http::head::{Method, Version};
use crate::proto::http::response;
use crate::proto::sse;

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

/// How the bytes of an event go out.
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

/// One value of the Go server's streams.
pub struct Value {
    form: ValueForm,
    /// Something happened that may have changed it.
    stale: bool,
    reading: Option<Ticket>,
    /// Not before this: at most four a second.
    next_at: Instant,
    /// What was shown last, hashed.
    shown: Option<[u8; 32]>,
}

impl EventStream {
    pub fn session(&self) -> Id {
        self.actor.session
    }

    /// Takes an event of its audience; `true` when something was queued or is due.
    pub fn hear(&mut self, send: &mut SendQueue, publication: &mut Publication) -> bool {
        match &mut self.kind {
            Kind::Log(replay) => replay.hear(send, publication),
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
        return http::linger(core, conn);
    }
    let now = core.now.instant;
    // Subscribed first, read afterwards: what is committed meanwhile is held, not missed.
    core.subscribe(conn, Subscription { profile: actor.profile, device: true });
    let kind = match opening {
        Opening::Log(cursor) => {
            let mut replay = Replay::events(cursor, wire);
            replay.begin(core, &mut conn.send, conn.id, actor);
            Kind::Log(replay)
        }
        Opening::Value(form) => {
            Kind::Value(Value { form, stale: true, reading: None, next_at: now, shown: None })
        }
    };
    let next_comment = comment_behind(core.now);
    let stream = EventStream { kind, actor, wire, next_comment, stalled: 0 };
    conn.inbox = Vec::new();
    conn.phase = Phase::EventStream(Box::new(stream));
    advance(core, conn);
}

/// When the next comment is due. Thousands of idle streams share a few moments, so that one turn of the loop serves many.
fn comment_behind(now: Now) -> Instant {
    now.instant + COMMENT_EVERY - Duration::from_millis(now.unix_ms % COMMENTS_TOGETHER_MS)
}

/// Asks for what is due, and sets the one deadline.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let id = conn.id;
    let max = core.settings.limits.send_queue_max;
    let Phase::EventStream(stream) = &mut conn.phase else { return };
    if conn.send.memory() > max {
        // The client's Last-Event-ID is still good; nothing more can be said to one who does not read.
        core.metrics.streams_cut += 1;
        conn.phase = Phase::Closed;
        return;
    }
    let actor = stream.actor;
    let mut due = None;
    match &mut stream.kind {
        Kind::Log(replay) => replay.go_on(core, &conn.send, id, actor),
        Kind::Value(value) => {
            if value.stale && value.reading.is_none() && conn.send.is_empty() {
                if value.next_at <= core.now.instant {
                    value.read(core, id, actor);
                } else {
                    due = Some(value.next_at);
                }
            }
        }
    }
    conn.deadline = soonest([Some(stream.next_comment), Some(instant_of(core.now, actor.expires)), due]);
}

/// The stream's own question is answered.
pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let Phase::EventStream(stream) = &mut conn.phase else { return };
    let wire = stream.wire;
    let done = match &mut stream.kind {
        Kind::Log(replay) => replay.answered(core, &mut conn.send, ticket, result),
        Kind::Value(value) => value.answered(core, &mut conn.send, wire, ticket, result),
    };
    if done.is_err() {
        return end(core, conn);
    }
    advance(core, conn);
}

/// One of the stream's clocks has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let now = core.now.instant;
    let Phase::EventStream(stream) = &mut conn.phase else { return };
    if stream.actor.expires <= core.now.unix_s() {
        return end(core, conn);
    }
    if now >= stream.next_comment {
        stream.stalled = if conn.send.is_empty() || conn.progress > 0 { 0 } else { stream.stalled + 1 };
        if stream.stalled >= STALLED_COMMENTS_MAX {
            conn.phase = Phase::Closed;
            return;
        }
        conn.progress = 0;
        stream.next_comment = comment_behind(core.now);
        let mut comment = Vec::new();
        sse::comment(&mut comment);
        stream.wire.push(&mut conn.send, comment);
    }
    advance(core, conn);
}

/// Ends the body in order; the client comes back by itself.
pub fn end(core: &mut Core, conn: &mut Conn) {
    let Phase::EventStream(stream) = &mut conn.phase else { return };
    if stream.wire.chunked {
        let mut last = Vec::new();
        response::last_chunk(&mut last);
        conn.send.push_bytes(&last);
    }
    core.unsubscribe(conn);
    http::linger(core, conn);
}

impl Value {
    fn read(&mut self, core: &mut Core, conn: ConnId, actor: Actor) {
        self.stale = false;
        let list = ListChats { viewer: actor.profile, limit: PAGE_MAX };
        self.reading = Some(core.ask_store(Caller::Stream(conn), list.into_command(), Next::Stream));
    }

    fn answered(
        &mut self,
        core: &mut Core,
        send: &mut SendQueue,
        wire: SseWire,
        ticket: Ticket,
        result: Result<Answer, Refusal>,
    ) -> Result<(), Refusal> {
        if self.reading != Some(ticket) {
            return Ok(());
        }
        self.reading = None;
        let chats = ListChats::from_answer(result?).ok_or(Refusal::Internal)?;
        let (text, hash) = match self.form {
            ValueForm::ChatCounter => {
                let text = json::to_vec(&chats.unread_conversations);
                let hash = sha256(&text);
                (text, hash)
            }
            ValueForm::ChatList => {
                let mut chats = chats.chats;
                // A signed URL changes by the hour; that is no news.
                let hash = sha256(&json::to_vec(&chats));
                for chat in &mut chats {
                    chat.receiver.sign_urls(&core.settings.urls, core.now.unix_s());
                }
                (json::to_vec(&chats), hash)
            }
        };
        if self.shown == Some(hash) {
            return Ok(());
        }
        self.shown = Some(hash);
        self.next_at = core.now.instant + CHATS_EVERY;
        let mut event = Vec::with_capacity(text.len() + 16);
        sse::event(&mut event, "", "", &text);
        wire.push(send, event);
        Ok(())
    }
}
