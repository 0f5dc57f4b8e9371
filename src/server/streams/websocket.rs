//! A WebSocket: its life, its clock, its back-pressure.
//!
//! Leaves the native frames to `ops` and `replay`, the legacy ones to `legacy_socket`, ephemeral events to `ephemeral`.
//! Invariant: events reach a connection in strictly rising seq, and nothing is queued after a close frame.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::base::send_queue::SendQueue;
use crate::limits::{
    IN_FLIGHT_MAX, PROGRESS_BYTES, PROGRESS_WINDOW, REFUSED_MAX, REFUSED_WINDOW, STREAM_PAUSE_BYTES,
};
use crate::model::handler::{Actor, Client, Step};
use crate::model::id::{ConversationId, SessionId};
use crate::model::operation::{Answer, Refusal};
use crate::model::problem::Problem;
use crate::proto::websocket::{self, Incoming, WebSocket};
use crate::server::clock::{instant_of, soonest};
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::Ticket;
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::http;
use crate::server::request::respond;
use crate::server::streams::ephemeral;
use crate::server::streams::hub::{self, Subscription};
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::legacy_socket::{self, LegacySocket};
use crate::server::streams::ops::{self, Ops};
use crate::server::streams::presence::{self, TypingState};
use crate::server::streams::publication::Publication;
use crate::server::streams::replay::Replay;

/// How long before a token's `exp` a stream gets `expiring` (`protocol.md`, "WebSocket").
const EXPIRING_NOTICE: Duration = Duration::from_secs(60);
/// Jitter of the reconnect hint in a shutdown's close frame, in milliseconds.
const RETRY_JITTER_MS: u64 = 5_000;

pub struct SocketStream {
    pub ws: WebSocket,
    pub protocol: Protocol,
    pub ops: Ops,
    pub actor: Actor,
    pub client: Client,
    /// When the peer last sent anything, or we last began to read.
    last_heard: Instant,
    next_ping: Instant,
    warned: bool,
    /// When the latest refused frames came: at most [`REFUSED_MAX`], none older than [`REFUSED_WINDOW`].
    refused: VecDeque<Instant>,
    /// Since when something waits to be sent and nothing was sent.
    stalled_since: Option<Instant>,
    /// The server stops: ops in progress are answered, then the stream closes with this reason.
    leaving: Option<String>,
    /// A close frame is queued, for this reason; the peer has a while to answer.
    closing: Option<CloseReason>,
    /// What it types at the moment.
    pub typing_state: Option<Box<TypingState>>,
    /// The conversation that it shows at the moment.
    pub focus: Option<ConversationId>,
}

pub enum Protocol {
    Native(Replay),
    /// In a box: few sockets are legacy ones, and it is twice as large.
    Legacy(Box<LegacySocket>),
}

impl SocketStream {
    pub fn session(&self) -> SessionId {
        self.actor.session
    }

    /// The one rule of back-pressure: more bytes are read only when there is room for the frames that were read before.
    pub fn has_room(&self, send: &SendQueue) -> bool {
        self.ws.is_closing() || (!self.ws.has_input() && self.takes_frames(send))
    }

    fn takes_frames(&self, send: &SendQueue) -> bool {
        let replaying = matches!(&self.protocol, Protocol::Native(replay) if !replay.is_live())
            || matches!(&self.protocol, Protocol::Legacy(pair) if !pair.is_open());
        !replaying
            && self.leaving.is_none()
            && !self.ops.is_paused()
            && !self.ops.is_refused()
            && self.ops.in_flight() < IN_FLIGHT_MAX
            && send.memory() < STREAM_PAUSE_BYTES
    }

    /// Takes an event of its audience; `true` when something was queued or is due.
    pub fn deliver(&mut self, send: &mut SendQueue, is_origin: bool, publication: &mut Publication) -> bool {
        if self.ws.is_closing() {
            return false;
        }
        match &mut self.protocol {
            Protocol::Native(replay) => !is_origin && replay.deliver(send, publication),
            Protocol::Legacy(pair) => pair.deliver(send, self.actor.profile, publication),
        }
    }
}

/// 101, the subscription, and what the stream sends first.
pub fn open(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>, actor: Actor, protocol: Protocol) {
    respond::switch(core, conn, &exchange);
    let now = core.now.instant;
    let heartbeat = core.settings.limits.heartbeat;
    let mut client =
        std::mem::replace(&mut exchange.client, crate::server::request::admit::unknown_client(conn));
    // There may be thousands of idle sockets: what no op uses is not kept.
    client.user_agent = String::new();
    let mut ws = WebSocket::new(core.settings.limits.ws_message_max);
    ws.feed(&std::mem::take(&mut conn.inbox));
    let mut socket = Box::new(SocketStream {
        ws,
        protocol,
        ops: Ops::default(),
        actor,
        client,
        last_heard: now,
        next_ping: now + heartbeat,
        warned: false,
        refused: VecDeque::new(),
        stalled_since: None,
        leaving: None,
        closing: None,
        typing_state: None,
        focus: None,
    });
    // Subscribed first, read afterwards: what is committed meanwhile is held, not missed.
    hub::subscribe(core, conn, Subscription { profile: actor.profile, device: true });
    match &mut socket.protocol {
        Protocol::Native(replay) => replay.begin(core, &mut conn.send, conn.id, actor),
        Protocol::Legacy(pair) => pair.begin(core, &mut conn.send, conn.id, actor),
    }
    conn.phase = Phase::Stream(StreamKind::WebSocket(socket));
    advance(core, conn);
    if conn.ended {
        ended(core, conn);
    }
}

pub fn received(core: &mut Core, conn: &mut Conn, bytes: &[u8]) {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    stream.last_heard = core.now.instant;
    stream.ws.feed(bytes);
    advance(core, conn);
}

/// The peer took bytes.
pub fn sent(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    stream.stalled_since = None;
    advance(core, conn);
}

/// Handles the received frames as far as the bounds and the rates allow.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let id = conn.id;
    loop {
        let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
        let listened = stream.has_room(&conn.send);
        if !stream.ws.is_closing() {
            if let Protocol::Native(replay) = &mut stream.protocol {
                replay.go_on(core, &conn.send, id, stream.actor);
                if replay.take_arrival() {
                    presence::send_snapshot(core, id, stream.actor.profile);
                }
            }
            let refresh = stream.leaving.is_none() && !stream.ops.is_refused();
            if refresh && let Some(text) = stream.ops.take_deferred(core.now.instant) {
                match stream.protocol {
                    Protocol::Legacy(_) => legacy_socket::text(core, stream, &mut conn.send, id, &text),
                    Protocol::Native(_) => ops::text(core, stream, &mut conn.send, id, &text),
                }
                enforce_limits(core, conn);
                continue;
            }
            if !stream.takes_frames(&conn.send) {
                break;
            }
        }
        match stream.ws.next(&mut conn.send) {
            None => {
                if !listened {
                    // Time in which the server did not read does not count as the peer's silence.
                    stream.last_heard = core.now.instant;
                }
                break;
            }
            Some(Incoming::Text(text)) => match &mut stream.protocol {
                Protocol::Native(_) => ops::text(core, stream, &mut conn.send, id, &text),
                Protocol::Legacy(_) => legacy_socket::text(core, stream, &mut conn.send, id, &text),
            },
            Some(Incoming::Binary(_)) => {
                close(core, conn, CloseReason::ProtocolError, "text frames only");
                continue;
            }
            Some(Incoming::Ping | Incoming::Pong) => {}
            Some(Incoming::Close { .. }) => return end(core, conn, CloseReason::PeerLeft),
            Some(Incoming::Failed { .. }) => return end(core, conn, CloseReason::ProtocolError),
        }
        enforce_limits(core, conn);
    }
    rearm(core, conn);
}

/// After frames, answers or events: closes the stream if it is over one of its bounds.
fn enforce_limits(core: &mut Core, conn: &mut Conn) {
    let max = core.settings.limits.send_queue_max;
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    if stream.ws.is_closing() {
        return;
    }
    let quiet = stream.ops.in_flight() == 0;
    if conn.send.memory() > max {
        core.metrics.streams_cut += 1;
        close(core, conn, CloseReason::SlowReader, "reader too slow");
    } else if stream.refused.len() >= REFUSED_MAX {
        close(core, conn, CloseReason::Flood, "too many refused frames");
    } else if quiet && stream.ops.is_refused() {
        // The ops before the refused post have their answers, and so have those after it.
        close(core, conn, CloseReason::Unavailable, "try again");
    } else if quiet && let Some(reason) = stream.leaving.take() {
        close(core, conn, CloseReason::Draining, &reason);
    }
}

/// Counts a refused frame, so that a flood of them closes the stream.
pub fn count_refused(stream: &mut SocketStream, now: Instant) {
    let refused = &mut stream.refused;
    while refused.front().is_some_and(|at| now.saturating_duration_since(*at) >= REFUSED_WINDOW) {
        refused.pop_front();
    }
    if refused.len() < REFUSED_MAX {
        refused.push_back(now);
    }
}

/// The server stops: no more frames are read, ops in progress are answered, and the close frame says when to come back.
pub fn drain(core: &mut Core, conn: &mut Conn) {
    let wait_ms = 500 + core.entropy.below(RETRY_JITTER_MS);
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    stream.leaving = Some(format!("{{\"retry_after_ms\":{wait_ms}}}"));
    enforce_limits(core, conn);
}

/// Sends a close frame; the peer has some time to answer it.
pub fn close(core: &mut Core, conn: &mut Conn, reason: CloseReason, text: &str) {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    if stream.ws.is_closing() {
        return;
    }
    stream.ws.close(&mut conn.send, code_of(reason), text);
    stream.closing = Some(reason);
    hub::unsubscribe(core, conn);
    conn.progress = 0;
    conn.deadline = Some(core.linger_until());
}

/// The closing handshake is done, or the protocol is broken: only the queued bytes are still sent.
fn end(core: &mut Core, conn: &mut Conn, reason: CloseReason) {
    hub::unsubscribe(core, conn);
    let reason = closing_reason(conn).unwrap_or(reason);
    http::linger(core, conn, reason);
}

/// All incomplete messages together are too large, and this one gives way: its bytes are dropped at once.
pub fn crowded_out(core: &mut Core, conn: &mut Conn) {
    close(core, conn, CloseReason::GaveWay, "try again");
    end(core, conn, CloseReason::GaveWay);
}

/// Why the server sent a close frame, if it did.
fn closing_reason(conn: &Conn) -> Option<CloseReason> {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &conn.phase else { return None };
    stream.closing
}

/// The close code that a client sees ([`protocol`](crate::protocol), "WebSocket").
fn code_of(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::SessionOver => 4401,
        CloseReason::SlowReader => 4408,
        CloseReason::Flood => 4429,
        // A binary frame: RFC 6455 §7.4.1.
        CloseReason::ProtocolError => 1003,
        CloseReason::Draining => 1001,
        _ => 1013,
    }
}

/// The peer shut its side down without a close frame.
pub fn ended(core: &mut Core, conn: &mut Conn) {
    end(core, conn, CloseReason::PeerLeft);
    if conn.send.is_empty() {
        conn.close(CloseReason::PeerLeft);
    }
}

/// An op's handler or continuation has come to a step.
pub fn op_step(core: &mut Core, conn: &mut Conn, op: u64, step: Result<Step, Problem>) {
    let id = conn.id;
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    match stream.protocol {
        Protocol::Native(_) => ops::step(core, stream, &mut conn.send, id, op, step),
        Protocol::Legacy(_) => legacy_socket::step(core, stream, &mut conn.send, id, op, step),
    }
    on_delivered(core, conn);
}

/// Storage has answered a question of the stream itself.
pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let id = conn.id;
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    let actor = stream.actor;
    if stream.ws.is_closing() {
        return;
    }
    let fault = match &mut stream.protocol {
        Protocol::Native(replay) => replay.answered(core, &mut conn.send, ticket, result),
        Protocol::Legacy(pair) => pair.answered(core, &mut conn.send, id, actor, ticket, result),
    };
    if fault.is_err() {
        // The client's cursor is still good.
        close(core, conn, CloseReason::Unavailable, "try again");
    }
    advance(core, conn);
}

/// Events or answers were queued: marks what a legacy socket has shown as read, and enforces the bounds.
pub fn on_delivered(core: &mut Core, conn: &mut Conn) {
    let id = conn.id;
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    if let Protocol::Legacy(pair) = &mut stream.protocol {
        pair.mark_read(core, id, stream.actor);
    }
    enforce_limits(core, conn);
}

/// One deadline for the stream: the earliest of its clocks.
fn rearm(core: &Core, conn: &mut Conn) {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &conn.phase else { return };
    if stream.ws.is_closing() {
        return;
    }
    let silence = core.settings.limits.heartbeat * 5 / 2;
    let expiry = instant_of(core.now, stream.actor.expires);
    let look_at = match &stream.protocol {
        Protocol::Native(replay) => replay.look_at(),
        Protocol::Legacy(_) => None,
    };
    let warning = (!stream.warned && matches!(stream.protocol, Protocol::Native(_)))
        .then(|| expiry.checked_sub(EXPIRING_NOTICE).unwrap_or(core.now.instant));
    conn.deadline = soonest([
        Some(stream.next_ping),
        Some(stream.last_heard + silence),
        Some(expiry),
        warning,
        look_at,
        stream.typing_state.as_ref().map(|typing_state| typing_state.expires_at()),
        stream.ops.paused_until().filter(|_| stream.leaving.is_none() && !stream.ops.is_refused()),
    ]);
}

/// One of the stream's deadlines has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let now = core.now.instant;
    let heartbeat = core.settings.limits.heartbeat;
    let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase else { return };
    if stream.ws.is_closing() {
        // While the peer takes bytes, those queued before the close frame may need longer than its answer may take.
        if !conn.send.is_empty() && conn.progress >= PROGRESS_BYTES {
            conn.progress = 0;
            conn.deadline = Some(now + PROGRESS_WINDOW);
        } else {
            conn.phase = Phase::Closed(stream.closing.unwrap_or(CloseReason::PeerLeft));
        }
        return;
    }
    if stream.actor.expires <= core.now.unix_s() {
        return close(core, conn, CloseReason::SessionOver, "token expired");
    }
    if !stream.warned
        && matches!(stream.protocol, Protocol::Native(_))
        && stream.actor.expires <= core.now.unix_s().after(EXPIRING_NOTICE.as_secs())
    {
        stream.warned = true;
        push_text(&mut conn.send, br#"{"event":"expiring"}"#);
    }
    if !stream.has_room(&conn.send) {
        stream.last_heard = now;
    }
    let silence = heartbeat * 5 / 2;
    if now >= stream.last_heard + silence {
        // No peer is there to read a close frame. What it was typing ends with its phase.
        hub::unsubscribe(core, conn);
        conn.phase = Phase::Closed(CloseReason::Silent);
        return;
    }
    if conn.send.is_empty() {
        stream.stalled_since = None;
    } else if now >= *stream.stalled_since.get_or_insert(now) + silence {
        // While its queue is full, the peer is not read, so its silence proves nothing. That it takes nothing does.
        core.metrics.streams_cut += 1;
        return close(core, conn, CloseReason::SlowReader, "reader too slow");
    }
    if let Protocol::Native(replay) = &mut stream.protocol
        && replay.look(core).is_err()
    {
        return close(core, conn, CloseReason::Unavailable, "try again");
    }
    ephemeral::expire_typing(core, stream);
    if now >= stream.next_ping {
        stream.next_ping = now + heartbeat;
        core.background.last_seen.record(stream.actor.session, core.now);
        websocket::ping(&mut conn.send);
        if let Protocol::Native(replay) = &stream.protocol
            && replay.is_live()
        {
            let seq = replay.high_water(core.head);
            push_text(&mut conn.send, format!(r#"{{"event":"heartbeat","seq":{seq}}}"#).as_bytes());
        }
    }
    advance(core, conn);
}

/// The calendar clock was set, and the token may have expired by it.
pub fn clock_was_set(core: &mut Core, conn: &mut Conn) {
    // A closing stream has the deadline of its close frame, whatever the calendar says.
    if matches!(&conn.phase, Phase::Stream(StreamKind::WebSocket(stream)) if !stream.ws.is_closing()) {
        timed_out(core, conn);
    }
}

/// The actor's token was renewed in place.
pub fn extend(stream: &mut SocketStream, actor: Actor) {
    stream.actor = actor;
    stream.warned = false;
}

/// Queues one text frame.
pub fn push_text(send: &mut SendQueue, payload: &[u8]) {
    websocket::push_text(send, payload);
}
