//! The kinds of streams: the table of which code of a kind an input of its connection reaches.
//!
//! A new kind is a file beside this one, a variant of [`StreamKind`] and its arms here, where the compiler asks for them; `dispatch`
//! knows only that a connection is a stream. Owns no state. Leaves the behavior to the file of each kind.

use crate::model::handler::Stream;
use crate::model::id::SessionId;
use crate::model::operation::{Answer, Refusal};
use crate::proto::websocket::WebSocket;
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::Ticket;
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::http;
use crate::server::streams::echo;
use crate::server::streams::export::{self, Export};
use crate::server::streams::legacy_socket::LegacySocket;
use crate::server::streams::poll::{self, Poll};
use crate::server::streams::publication::Publication;
use crate::server::streams::replay::Replay;
use crate::server::streams::sse::{self, EventStream, Opening};
use crate::server::streams::websocket::{self, Protocol, SocketStream};

/// What a connection is after its request has opened a stream.
pub enum StreamKind {
    WebSocket(Box<SocketStream>),
    EventStream(Box<EventStream>),
    /// Waits for the peer to take a page, or for storage to read the next one.
    Export(Box<Export>),
    /// Waits for an event, or for the time to answer without one.
    Poll(Box<Poll>),
    /// Waits for a message to send back; only in the conformance build.
    Echo(Box<WebSocket>),
}

/// A request becomes a stream.
pub fn open(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, stream: Stream) {
    match stream {
        Stream::Events { actor, cursor } => sse::open(core, conn, &exchange, actor, Opening::Log(cursor)),
        Stream::Value { actor, form } => sse::open(core, conn, &exchange, actor, Opening::Value(form)),
        Stream::Export { actor, first } => export::open(core, conn, exchange, actor, first),
        Stream::Poll { actor, start, limit, wait } => {
            poll::open(core, conn, exchange, actor, start, limit, wait);
        }
        Stream::WebSocket { actor, cursor } => {
            websocket::open(core, conn, exchange, actor, Protocol::Native(Replay::new(cursor)));
        }
        Stream::LegacySocket { actor, receiver, pair } => {
            websocket::open(
                core,
                conn,
                exchange,
                actor,
                Protocol::Legacy(Box::new(LegacySocket::new(receiver, pair))),
            );
        }
        Stream::Echo => echo::open(core, conn, &exchange),
    }
}

impl StreamKind {
    /// Whether it has a use for more bytes of its connection.
    pub fn wants_read(&self, conn: &Conn) -> bool {
        match self {
            StreamKind::WebSocket(stream) => stream.has_room(&conn.send),
            StreamKind::EventStream(_) | StreamKind::Export(_) => true,
            StreamKind::Poll(_) => false,
            StreamKind::Echo(ws) => echo::has_room(ws, conn),
        }
    }

    /// Its number in [`STREAM_KINDS`](crate::server::request::metrics::STREAM_KINDS).
    pub fn number(&self) -> usize {
        match self {
            StreamKind::WebSocket(stream) => match stream.protocol {
                Protocol::Native(_) => 0,
                Protocol::Legacy(_) => 1,
            },
            StreamKind::EventStream(_) => 2,
            StreamKind::Export(_) => 3,
            StreamKind::Poll(_) => 4,
            StreamKind::Echo(_) => 5,
        }
    }

    /// The session whose end ends it. A complete request for an export is answered to its end.
    fn session(&self) -> Option<SessionId> {
        match self {
            StreamKind::WebSocket(stream) => Some(stream.session()),
            StreamKind::EventStream(stream) => Some(stream.session()),
            StreamKind::Poll(poll) => Some(poll.session()),
            StreamKind::Export(_) | StreamKind::Echo(_) => None,
        }
    }

    /// The WebSocket that carries the chat.
    pub fn websocket(&self) -> Option<&SocketStream> {
        if let StreamKind::WebSocket(stream) = self { Some(stream) } else { None }
    }
}

/// Bytes came.
pub fn received(core: &mut Core, conn: &mut Conn, bytes: &[u8]) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::received(core, conn, bytes),
        StreamKind::Poll(_) => conn.inbox.extend_from_slice(bytes),
        StreamKind::Echo(_) => echo::received(core, conn, bytes),
        // A client that receives events or an export can ask for nothing else on this connection.
        StreamKind::EventStream(_) | StreamKind::Export(_) => {}
    }
}

/// The runtime wrote bytes of the send queue.
pub fn sent(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::sent(core, conn),
        StreamKind::EventStream(_) => sse::advance(core, conn),
        StreamKind::Export(_) => export::advance(core, conn),
        StreamKind::Echo(_) => echo::advance(core, conn),
        // Its answer is a response like others, which the responses before it may precede.
        StreamKind::Poll(_) => http::sent(core, conn),
    }
}

/// The peer will send nothing more.
pub fn ended(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::ended(core, conn),
        // An EventSource that leaves closes both directions.
        StreamKind::EventStream(_) | StreamKind::Echo(_) => conn.close(CloseReason::PeerLeft),
        // The request was complete, so the rest of the response is still sent.
        StreamKind::Export(_) | StreamKind::Poll(_) => {}
    }
}

/// Storage has answered a read of the stream itself.
pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::answered(core, conn, ticket, result),
        StreamKind::EventStream(_) => sse::answered(core, conn, ticket, result),
        StreamKind::Export(_) => export::answered(core, conn, ticket, result),
        StreamKind::Poll(_) => poll::answered(core, conn, ticket, result),
        StreamKind::Echo(_) => {}
    }
}

/// An event of the connection's profile; `true` when something was queued or is due.
pub fn deliver(conn: &mut Conn, is_origin: bool, publication: &mut Publication) -> bool {
    let Phase::Stream(kind) = &mut conn.phase else { return false };
    match kind {
        StreamKind::WebSocket(stream) => stream.deliver(&mut conn.send, is_origin, publication),
        StreamKind::EventStream(stream) => stream.deliver(&mut conn.send, publication),
        StreamKind::Poll(poll) => poll.deliver(),
        StreamKind::Export(_) | StreamKind::Echo(_) => false,
    }
}

/// An event was delivered: the reader may be too slow, a legacy socket may have something to mark as read.
pub fn on_delivered(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::on_delivered(core, conn),
        StreamKind::EventStream(_) => sse::advance(core, conn),
        StreamKind::Poll(_) => poll::advance(core, conn),
        StreamKind::Export(_) | StreamKind::Echo(_) => {}
    }
}

/// A session is over: its stream ends. `false` when the connection is not a stream of that session.
pub fn session_ended(core: &mut Core, conn: &mut Conn, session: SessionId) -> bool {
    let Phase::Stream(kind) = &conn.phase else { return false };
    if kind.session() != Some(session) {
        return false;
    }
    match kind {
        StreamKind::WebSocket(_) => websocket::close(core, conn, CloseReason::SessionOver, "session over"),
        StreamKind::EventStream(_) => sse::end(core, conn, CloseReason::SessionOver),
        StreamKind::Poll(_) => poll::refuse(core, conn),
        StreamKind::Export(_) | StreamKind::Echo(_) => return false,
    }
    true
}

/// The deadline of the stream has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::timed_out(core, conn),
        StreamKind::EventStream(_) => sse::timed_out(core, conn),
        StreamKind::Export(_) => export::timed_out(core, conn),
        StreamKind::Poll(_) => poll::timed_out(core, conn),
        StreamKind::Echo(_) => conn.close(CloseReason::Silent),
    }
}

/// The calendar clock was set: a token may have expired by it, while its deadline was derived from the clock before.
pub fn clock_was_set(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::clock_was_set(core, conn),
        StreamKind::EventStream(_) => sse::timed_out(core, conn),
        StreamKind::Poll(_) => poll::clock_was_set(core, conn),
        StreamKind::Export(_) | StreamKind::Echo(_) => {}
    }
}

/// The server stops: a stream is closed with a time to come back.
pub fn drain(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(kind) = &conn.phase else { return };
    match kind {
        StreamKind::WebSocket(_) => websocket::drain(core, conn),
        StreamKind::EventStream(_) => sse::end(core, conn, CloseReason::Draining),
        StreamKind::Poll(_) => poll::timed_out(core, conn),
        StreamKind::Echo(_) => conn.close(CloseReason::Draining),
        StreamKind::Export(_) => {}
    }
}
