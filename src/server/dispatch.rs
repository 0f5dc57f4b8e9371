//! The only code that matches on all phases of a connection (on the kinds of streams: `streams/kinds.rs`), and gives each phase what happened to its connection.
//!
//! Owns which code an input reaches, and which code takes a connection over from its request. Leaves the rest to `request`,
//! `streams` and `uploads`: they import nothing from here, and leave a phase by setting the next one.
//! Invariant: [`advance`] follows every input, so no connection waits in [`Phase::HandOver`], and none keeps received bytes
//! that its phase could take.

use crate::model::handler::{Step, Stream};
use crate::model::problem::{Code, Problem};
use crate::server::calls::Caller;
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{Effect, Ticket};
use crate::server::core::Core;
use crate::server::request::delays;
use crate::server::request::exchange::{Exchange, Handover};
use crate::server::request::http;
use crate::server::request::respond;
use crate::server::request::steps;
use crate::server::streams::hub;
use crate::server::streams::kinds;
use crate::server::streams::websocket;
use crate::server::uploads::receive;

/// After how many milliseconds a member with too many streams may try again.
const STREAMS_RETRY_MS: u64 = 1_000;

/// Whether the server has a use for more bytes of this connection. Derived from its phase at each question; what the
/// runtime was told last is [`Conn::reading`].
pub fn wants_read(core: &Core, conn: &Conn) -> bool {
    if conn.ended {
        return false;
    }
    match &conn.phase {
        Phase::ReadHead { .. } => conn.may_pipeline(),
        Phase::ReadUpload(reading) => {
            reading.is_receiving()
                && !core.uploads.is_full()
                && conn.upload.as_ref().is_none_or(|file| file.has_room())
        }
        Phase::ReadBody(_) | Phase::Drain { .. } | Phase::Linger { .. } => true,
        Phase::Await { .. } | Phase::Delay { .. } | Phase::HandOver { .. } | Phase::Closed(_) => false,
        Phase::Stream(kind) => kind.wants_read(conn),
    }
}

/// Bytes came.
pub fn received(core: &mut Core, conn: &mut Conn, bytes: &[u8]) {
    core.metrics.bytes_in += bytes.len() as u64;
    match &conn.phase {
        Phase::Stream(_) => kinds::received(core, conn, bytes),
        Phase::ReadUpload(reading) if reading.is_receiving() => receive::received(core, conn, bytes),
        Phase::Linger { .. } => http::received_late(conn, bytes.len()),
        Phase::ReadHead { .. }
        | Phase::ReadBody(_)
        | Phase::ReadUpload(_)
        | Phase::Await { .. }
        | Phase::Delay { .. }
        | Phase::HandOver { .. }
        | Phase::Drain { .. }
        | Phase::Closed(_) => conn.inbox.extend_from_slice(bytes),
    }
}

/// The runtime wrote bytes of the send queue.
pub fn sent(core: &mut Core, conn: &mut Conn, bytes: u64) {
    core.metrics.bytes_out += bytes;
    conn.progress += bytes;
    match &conn.phase {
        Phase::Stream(_) => kinds::sent(core, conn),
        Phase::Linger { .. } if conn.ended && conn.send.is_empty() => conn.close(CloseReason::PeerLeft),
        _ => http::sent(core, conn),
    }
}

/// The peer will send nothing more. What it has asked for is still answered.
pub fn ended(core: &mut Core, conn: &mut Conn) {
    conn.ended = true;
    match &conn.phase {
        Phase::Stream(_) => kinds::ended(core, conn),
        // `advance` reads what has come, and closes after the last response.
        Phase::ReadHead { .. } => {}
        // An incomplete request gets no response, but earlier pipelined responses must still be flushed.
        Phase::ReadBody(_) | Phase::Drain { .. } | Phase::Linger { .. } => {
            http::close_when_sent(core, conn, CloseReason::PeerLeft)
        }
        Phase::ReadUpload(reading) if reading.is_receiving() => {
            http::close_when_sent(core, conn, CloseReason::PeerLeft)
        }
        Phase::Await { .. }
        | Phase::Delay { .. }
        | Phase::HandOver { .. }
        | Phase::ReadUpload(_)
        | Phase::Closed(_) => {}
    }
}

/// Handles the received bytes as far as possible, and closes a connection that has nothing left to do.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    loop {
        let went_on = match &conn.phase {
            // The next request waits until the responses before it have left.
            Phase::ReadHead { .. } if !conn.may_pipeline() => return,
            Phase::ReadHead { .. } => http::read_head(core, conn),
            Phase::ReadBody(_) => http::read_body(core, conn),
            Phase::Drain { .. } => http::drain(core, conn),
            Phase::HandOver { .. } => {
                let Phase::HandOver { exchange, to } = conn.take_phase() else { return };
                hand_over(core, conn, exchange, to);
                true
            }
            Phase::Await { .. }
            | Phase::Delay { .. }
            | Phase::ReadUpload(_)
            | Phase::Stream(_)
            | Phase::Linger { .. }
            | Phase::Closed(_) => false,
        };
        if !went_on {
            break;
        }
    }
    if conn.ended && matches!(conn.phase, Phase::ReadHead { .. }) {
        http::close_when_sent(core, conn, CloseReason::PeerLeft);
    } else if core.is_draining() {
        http::drain_idle(core, conn);
    }
}

/// A stream or an upload takes the connection over from its request.
fn hand_over(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, to: Handover) {
    match to {
        Handover::Upload => receive::begin(core, conn, exchange),
        Handover::Body { room } => receive::receive(core, conn, exchange, room),
        Handover::Stream(stream) => open(core, conn, exchange, *stream),
    }
}

/// A request becomes a stream, unless its session ended in the meantime.
fn open(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, stream: Stream) {
    let too_many = stream.listener().is_some_and(|actor| {
        core.settings.limits.rate_limit
            && core.streams.hub.of(actor.profile).len() >= core.settings.limits.streams_per_account
    });
    let refusal = match steps::still_good(core, &exchange) {
        Err(problem) => Some(problem),
        Ok(()) if core.storage.unproven && stream.follows_log() => Some(Code::Unavailable.into()),
        Ok(()) => too_many.then(|| Problem::rate_limited(STREAMS_RETRY_MS)),
    };
    if let Some(problem) = refusal {
        return respond::refuse(core, conn, exchange, &problem);
    }
    kinds::open(core, conn, exchange, stream);
}

/// A continuation has run: continues the request or op that waits for `ticket`.
pub fn resume(core: &mut Core, conn: &mut Conn, caller: Caller, ticket: Ticket, step: Result<Step, Problem>) {
    match caller {
        Caller::Request(_) => match conn.take_phase() {
            Phase::Await { ticket: awaited, exchange } if awaited == ticket => {
                steps::run(core, conn, exchange, step);
            }
            other => conn.phase = other,
        },
        Caller::Op { op, .. } => {
            websocket::op_step(core, conn, op, step);
            websocket::advance(core, conn);
        }
        Caller::Stream(_) | Caller::Task(_) | Caller::Server => {}
    }
}

/// All that is incomplete holds too much memory, and this connection gives way.
pub fn crowded_out(core: &mut Core, conn: &mut Conn) {
    match &conn.phase {
        Phase::Stream(kind) if kind.websocket().is_some() => websocket::crowded_out(core, conn),
        _ => http::crowded_out(core, conn),
    }
}

/// The deadline of the phase has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    conn.deadline = None;
    if http::slow_but_moving(core, conn) {
        return;
    }
    match &conn.phase {
        Phase::ReadHead { .. }
        | Phase::ReadBody(_)
        | Phase::Drain { .. }
        | Phase::Linger { .. }
        | Phase::Closed(_) => http::timed_out(core, conn),
        Phase::ReadUpload(_) => receive::timed_out(core, conn),
        Phase::Stream(_) => kinds::timed_out(core, conn),
        Phase::Delay { .. } => delays::answer(core, conn),
        // A call always ends, and its answer sets the next deadline.
        Phase::Await { .. } | Phase::HandOver { .. } => {}
    }
}

/// The server stops: streams are closed with a time to come back, and a connection without a request ends.
pub fn drain(core: &mut Core, conn: &mut Conn) {
    match &conn.phase {
        Phase::Stream(_) => kinds::drain(core, conn),
        Phase::Delay { .. } => delays::answer(core, conn),
        Phase::Linger { .. } | Phase::Drain { .. } => {
            conn.deadline = conn.deadline.min(Some(core.linger_until()));
        }
        // A request that was begun is finished first; `advance` closes connections without one.
        _ => {}
    }
}

/// Releases everything that was kept for a connection that was closed.
pub fn forget(core: &mut Core, conn: &mut Conn) {
    core.charge(conn, 0);
    core.crowd.leave(conn);
    core.requests.receiving.forget(conn);
    delays::forget(core, conn);
    if let Phase::Await { ticket, .. } = &conn.phase
        && core.requests.hashing.forget(*ticket)
    {
        core.calls.remove(*ticket);
    }
    let reads = core.requests.reads.closed(conn.id);
    core.effects.extend(reads.into_iter().map(Effect::Cancel));
    hub::unsubscribe(core, conn);
    core.end_export(conn);
    receive::abandon(core, conn);
    core.release_reservation(conn);
}
