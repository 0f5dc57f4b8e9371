//! A WebSocket that sends back each message: for the conformance suites of RFC 6455, see `request::conformance`.
//!
//! Owns nothing of the chat: it has no actor and receives no events. Invariant: it reads no more than its peer takes.

use crate::limits::STREAM_PAUSE_BYTES;
use crate::proto::websocket::{self, Incoming, WebSocket};
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::{http, respond};
use crate::server::streams::kinds::StreamKind;

/// 101, then an echo.
pub fn open(core: &mut Core, conn: &mut Conn, exchange: &Exchange) {
    respond::switch(core, conn, exchange);
    let message_max = usize::try_from(core.settings.limits.upload_max).unwrap_or(usize::MAX);
    conn.phase = Phase::Stream(StreamKind::Echo(Box::new(WebSocket::new(message_max))));
    let early = std::mem::take(&mut conn.inbox);
    received(core, conn, &early);
    if conn.ended {
        http::linger(core, conn, CloseReason::PeerLeft);
    }
}

pub fn has_room(ws: &WebSocket, conn: &Conn) -> bool {
    !ws.has_input() && conn.send.memory() < STREAM_PAUSE_BYTES
}

pub fn received(core: &mut Core, conn: &mut Conn, bytes: &[u8]) {
    let Phase::Stream(StreamKind::Echo(ws)) = &mut conn.phase else { return };
    ws.feed(bytes);
    conn.deadline = Some(core.now.instant + core.settings.limits.heartbeat * 5 / 2);
    advance(core, conn);
}

/// Sends back what is complete, while there is room for it.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(StreamKind::Echo(ws)) = &mut conn.phase else { return };
    while conn.send.memory() < STREAM_PAUSE_BYTES {
        match ws.next(&mut conn.send) {
            None => return,
            Some(Incoming::Text(text)) => websocket::push_text(&mut conn.send, text.as_bytes()),
            Some(Incoming::Binary(bytes)) => {
                let mut frame = Vec::new();
                websocket::binary(&mut frame, &bytes);
                conn.send.push_bytes(&frame);
            }
            Some(Incoming::Ping | Incoming::Pong) => {}
            Some(Incoming::Close { .. }) => return http::linger(core, conn, CloseReason::PeerLeft),
            Some(Incoming::Failed { .. }) => return http::linger(core, conn, CloseReason::ProtocolError),
        }
    }
}
