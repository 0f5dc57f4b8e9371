//! Ephemeral events on one native socket: which of its peers are online, and which of them type.
//!
//! Leaves to `presence` what is sent and to which profiles.
//! Invariant: ephemeral events are best-effort: a stream that is not up to date, slow or closing does not get them.

use std::sync::Arc;

use crate::limits::STREAM_PAUSE_BYTES;
use crate::model::handler::{Reply, Step};
use crate::model::operation::{Answer, Refusal};
use crate::model::problem::{Code, Problem};
use crate::server::calls::{AskedTyping, Caller};
use crate::server::conn::{Conn, Phase};
use crate::server::core::Core;
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::presence;
use crate::server::streams::websocket::{self, Protocol, SocketStream};

/// Whether it is a native stream that has caught up: only such a stream gets ephemeral events.
pub fn is_live(conn: &Conn) -> bool {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &conn.phase else { return false };
    matches!(&stream.protocol, Protocol::Native(replay) if replay.is_live()) && !stream.ws.is_closing()
}

/// Queues an ephemeral event on a stream that has caught up; a slow one does not get it.
pub fn send_ephemeral(core: &mut Core, conn: &mut Conn, frame: &Arc<[u8]>) {
    if is_live(conn) && conn.send.memory() < STREAM_PAUSE_BYTES {
        core.metrics.deliveries += 1;
        // Each queue may be the only one that keeps these bytes, so a slow stream does not get them.
        conn.send.push_shared(Arc::clone(frame), 1);
    }
}

/// Storage has answered which profiles are the stream's peers.
pub fn on_snapshot(core: &mut Core, conn: &mut Conn, result: Result<Answer, Refusal>) {
    let Phase::Stream(StreamKind::WebSocket(stream)) = &conn.phase else { return };
    if !stream.ws.is_closing() {
        presence::on_snapshot(core, &mut conn.send, result);
    }
}

/// Storage has answered which profiles may know that the stream types.
pub fn typed(
    core: &mut Core,
    conn: &mut Conn,
    caller: Caller,
    asked: AskedTyping,
    result: Result<Answer, Refusal>,
) {
    let AskedTyping { conversation, active, blocks } = asked;
    let (Caller::Op { op, .. }, Phase::Stream(StreamKind::WebSocket(socket))) = (caller, &mut conn.phase)
    else {
        return;
    };
    let actor = socket.actor;
    if result.is_ok() && blocks != core.streams.presence.blocks() {
        return presence::ask_listeners(core, caller, actor.profile, conversation, active);
    }
    let step = match result {
        Ok(Answer::FindListeners(listeners)) => {
            // One conversation at a time: typing in another one ends it here.
            if let Some(typing_state) =
                socket.typing_state.take_if(|typing_state| !typing_state.is_in(conversation))
            {
                presence::stopped(core, actor.profile, *typing_state);
            }
            let typing_state = presence::typing(core, actor.profile, conversation, active, listeners.into());
            socket.typing_state = typing_state.map(Box::new);
            Ok(Step::Reply(Reply::done()))
        }
        Ok(_) => Err(Problem::new(Code::GeneralError)),
        Err(refusal) => Err(refusal.into()),
    };
    websocket::op_step(core, conn, op, step);
    websocket::advance(core, conn);
}

/// A stream that has typed nothing for a while has stopped.
pub fn expire_typing(core: &mut Core, socket: &mut SocketStream) {
    let now = core.now.instant;
    if let Some(typing_state) = socket.typing_state.take_if(|typing_state| typing_state.expires_at() <= now) {
        presence::stopped(core, socket.actor.profile, *typing_state);
    }
}
