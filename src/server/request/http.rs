//! From bytes to requests: the phases of an HTTP connection that read a head or a body, and those after the last answer.
//!
//! Leaves to `server::dispatch` which phase an input belongs to.
//! Invariant: a request is dispatched once, complete, and nothing after it is read before its answer is queued.

use std::time::Duration;

use crate::base::send_queue::Segment;
use crate::limits::{HEAD_DEADLINE, PROGRESS_BYTES, PROGRESS_WINDOW};
use crate::model::handler::Reply;
use crate::model::measures::Measure;
use crate::model::problem::{Code, Problem};
use crate::proto::http::body::BodyDecoder;
use crate::proto::http::head::{Expect, Framing, Head, HeadError, HeadReader};
use crate::proto::http::response::CONTINUE;
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{Effect, ListenerKind};
use crate::server::core::Core;
use crate::server::crowd::{self, Origin};
use crate::server::request::admit;
use crate::server::request::delays;
use crate::server::request::exchange::{Exchange, Handover, ReadBody};
use crate::server::request::respond;
use crate::server::request::routes::BodyKind;
use crate::server::request::steps;
use crate::server::request::upload_head;

/// See [`LINGER_DEADLINE`](crate::limits::LINGER_DEADLINE).
const LINGER_BYTES: u64 = 1_048_576;
/// The most of an unwanted body that is read and dropped for an orderly end, in addition: nobody may have a server read 100 MiB
/// for a request that it refused.
const UNWANTED_BYTES_MAX: u64 = 10_485_760;

/// How long a kept-alive connection may stay without a request. After that it is closed.
const IDLE_DEADLINE: Duration = Duration::from_secs(75);
/// The same for a trusted proxy: longer than proxies keep theirs (load balancers 600 s), so that the proxy closes first. A
/// request that crosses the server's close becomes a 502, which no proxy may retry.
const PROXY_IDLE_DEADLINE: Duration = Duration::from_secs(620);
const _: () = assert!(PROXY_IDLE_DEADLINE.as_secs() > 600);

/// The runtime wrote bytes of the send queue.
pub fn sent(core: &Core, conn: &mut Conn) {
    // A connection is idle when its answers are sent.
    if conn.send.is_empty() && matches!(conn.phase, Phase::ReadHead { since: None, .. }) {
        conn.deadline = Some(core.now.instant + idle_deadline(conn));
    }
}

/// The TLS handshake is complete: the head of a request has its own time.
pub fn secured(core: &mut Core, conn: &mut Conn, resumed: bool) {
    conn.is_handshaking = false;
    core.metrics.secured(resumed);
    // Nothing was answered yet, so this is when it came.
    let took = core.now.instant.saturating_duration_since(conn.useful_at);
    core.settings.measures.took_here(Measure::TlsHandshake, took);
    if matches!(conn.phase, Phase::ReadHead { since: None, .. }) {
        conn.deadline = Some(core.now.instant + HEAD_DEADLINE);
    }
}

/// A plain request came where TLS is spoken.
pub fn not_tls(core: &mut Core, conn: &mut Conn) {
    conn.is_handshaking = false;
    respond::headless(core, conn, &Problem::new(Code::HttpsRequired));
    linger(core, conn, CloseReason::ProtocolError);
}

/// Bytes that come after the last answer are dropped.
pub fn received_late(conn: &mut Conn, bytes: usize) {
    let Phase::Linger { left, reason } = &mut conn.phase else { return };
    *left = left.saturating_sub(bytes as u64);
    if *left == 0 {
        conn.phase = Phase::Closed(*reason);
    }
}

/// Closes once the send queue is empty: now, or after `sent`.
pub fn close_when_sent(core: &mut Core, conn: &mut Conn, reason: CloseReason) {
    if conn.send.is_empty() {
        conn.close(reason);
    } else {
        linger(core, conn, reason);
    }
}

/// The server stops: a connection without a request ends. What was begun is finished first.
pub fn drain_idle(core: &mut Core, conn: &mut Conn) {
    if matches!(conn.phase, Phase::ReadHead { since: None, .. }) {
        close_when_sent(core, conn, CloseReason::Draining);
    }
}

/// Reads one request head from the inbox; `true` when the phase went on.
pub fn read_head(core: &mut Core, conn: &mut Conn) -> bool {
    let Phase::ReadHead { reader, since } = &mut conn.phase else { return false };
    if conn.inbox.is_empty() {
        return false;
    }
    match reader.read(&conn.inbox, core.settings.limits.head_max) {
        Ok(None) => {
            if since.is_none() && reader.is_partial(&conn.inbox) {
                *since = Some(core.now.instant);
                conn.deadline = Some(core.now.instant + HEAD_DEADLINE);
            }
            false
        }
        Ok(Some((head, consumed))) => {
            let started = since.unwrap_or(core.now.instant);
            conn.consume(consumed);
            begin(core, conn, head, started);
            true
        }
        Err(error) => {
            let code = match error {
                HeadError::Bad(why) => {
                    log::debug!(target: "natter::http", peer:% = conn.peer; "bad head: {why}");
                    Code::BadRequest
                }
                HeadError::TargetTooLong => Code::TargetTooLong,
                HeadError::TooLarge => Code::HeadTooLarge,
                HeadError::VersionNotSupported => Code::VersionNotSupported,
                HeadError::CodingNotImplemented => Code::NotImplemented,
            };
            // The end of an unreadable head can only be guessed, so no byte after it is read.
            conn.inbox = Vec::new();
            respond::headless(core, conn, &Problem::new(code));
            linger(core, conn, CloseReason::ProtocolError);
            true
        }
    }
}

/// A head is complete: it is refused, answered, or its body is read.
fn begin(core: &mut Core, conn: &mut Conn, head: Head, started: std::time::Instant) {
    let mut exchange = admit::exchange(core, conn, head, started);
    core.comes_from(conn, exchange.client.address);
    let framing = exchange.head.framing;
    let has_body = !matches!(framing, Framing::Empty | Framing::Length(0));
    if conn.listener_kind == ListenerKind::Redirect {
        return redirect(core, conn, exchange);
    }
    let admitted = admit::admit(core, conn, &mut exchange).and_then(|()| {
        let origin =
            Origin { address: exchange.client.address, member: exchange.actor.map(|actor| actor.member) };
        let begun = core.crowd.begin(conn, origin, core.settings.limits.connections_per_address);
        // A proxy's connection never gives way: if it stayed open and idle after a refusal, it would use the slot that was
        // refused.
        exchange.close |= begun.is_err();
        begun
    });
    if let (Ok(()), Some(route)) = (&admitted, exchange.route) {
        if upload_head::wanted(&core.settings.limits, route.body, &exchange.head).is_some() {
            conn.phase = Phase::HandOver { exchange, to: Handover::Upload };
            return;
        }
        if !has_body {
            return steps::dispatch(core, conn, exchange, &[]);
        }
        if exchange.head.expect == Expect::Continue && conn.inbox.is_empty() {
            conn.send.push_bytes(CONTINUE);
        }
        conn.deadline = Some(exchange.started + admit::body_deadline(route));
        let decoder = BodyDecoder::new(framing);
        let reading = ReadBody { exchange, decoder, body: Vec::new(), received: 0 };
        conn.phase = Phase::ReadBody(Box::new(reading));
        return;
    }
    // The request is answered before its body is read, but after the bytes of it that have come were checked: broken
    // framing wins over every other answer, since no byte after it can be understood.
    if has_body && is_broken(framing, &conn.inbox) {
        return refuse_framing(core, conn, exchange);
    }
    if has_body {
        exchange.unread = Some(BodyDecoder::new(framing));
        exchange.body_unasked = exchange.head.expect != Expect::None;
        // A client that sent `Expect: 100-continue` may send the body or not: only a close separates it from the next request.
        // A body that is longer than what is drained ends the connection in any case, so the answer says so.
        let too_long = matches!(framing, Framing::Length(length) if length > drain_max(core));
        exchange.close |= exchange.body_unasked || too_long;
    }
    match admitted {
        Ok(()) => respond::options(core, conn, exchange),
        Err(problem) => delays::refuse(core, conn, exchange, problem),
    }
}

/// On the port of plain requests an authority that looks at a challenge gets its answer. Without a certificate there is no https to
/// redirect to, so the answer says what is under way. Every other request is answered by the same address with https: 308 keeps
/// the method (RFC 9110 §15.4.9). The connection closes, since nothing more is said on it.
fn redirect(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>) {
    exchange.close = true;
    if let Some(challenge) = core.background.certificate.challenge(exchange.head.target.path()) {
        let content = Segment::Owned(challenge.content.clone().into_bytes());
        let reply = Reply::raw(200, "application/octet-stream", content).header("Cache-Control", "no-store");
        return respond::reply(core, conn, exchange, reply);
    }
    if let Some(reason) = core.background.certificate.missing() {
        let text = format!("This server speaks https, and it has no certificate yet: {reason}.\n");
        let reply = Reply::raw(503, "text/plain; charset=utf-8", Segment::Owned(text.into_bytes()))
            .header("Retry-After", "30")
            .header("Cache-Control", "no-store");
        return respond::reply(core, conn, exchange, reply);
    }
    match secure_url(core, &exchange.head) {
        Some(url) => {
            let reply = Reply::raw(308, "text/plain; charset=utf-8", Segment::Static(b"See https.\n"));
            respond::reply(core, conn, exchange, reply.header("Location", url));
        }
        None => respond::refuse(core, conn, exchange, &Problem::new(Code::HttpsRequired)),
    }
}

/// The address of a request with https: at PUBLIC_URL, else at the host that it names, if that may have a certificate. `None` if it
/// names none.
fn secure_url(core: &Core, head: &Head) -> Option<String> {
    let https = core.settings.https.as_ref()?;
    let mut url = match &https.redirect_to {
        Some(url) => url.clone(),
        None => {
            let host = head.host.as_deref().filter(|host| !host.is_empty())?;
            // The brackets of an IPv6 address hold colons.
            let name = match host.rfind(':').filter(|at| !host[*at..].contains(']')) {
                Some(at) => &host[..at],
                None => host,
            };
            let is_own = https.domains.iter().any(|domain| domain.eq_ignore_ascii_case(name));
            let name = https.domains.first().filter(|_| !is_own).map_or(name, String::as_str);
            match https.port {
                443 => format!("https://{name}"),
                port => format!("https://{name}:{port}"),
            }
        }
    };
    if !head.target.is_asterisk() {
        url.push_str(head.target.path());
        url.extend(head.target.query().iter().flat_map(|query| ["?", *query]));
    }
    Some(url)
}

/// Whether the bytes of a body that have come already break its framing.
fn is_broken(framing: Framing, bytes: &[u8]) -> bool {
    let mut decoder = BodyDecoder::new(framing);
    let mut position = 0;
    loop {
        match decoder.decode(&bytes[position..]) {
            Err(_) => return true,
            Ok(piece) if piece.done || piece.consumed == 0 => return false,
            Ok(piece) => position += piece.consumed,
        }
    }
}

/// The end of a body with broken framing can only be guessed, so no byte after it is read.
fn refuse_framing(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>) {
    exchange.close = true;
    exchange.unread = None;
    conn.inbox = Vec::new();
    respond::refuse(core, conn, exchange, &Problem::new(Code::BadRequest));
}

/// Bytes of an unwanted body that are read and dropped.
fn drain_max(core: &Core) -> u64 {
    core.settings.limits.upload_max.min(UNWANTED_BYTES_MAX).saturating_add(LINGER_BYTES)
}

/// Reads what has come of a body; `true` when the phase went on.
pub fn read_body(core: &mut Core, conn: &mut Conn) -> bool {
    let Phase::ReadBody(mut reading) = conn.take_phase() else { return false };
    let route = reading.exchange.route;
    let max = admit::body_max(core, route);
    let keeps = route.is_some_and(|route| route.body != BodyKind::None);
    let mut position = 0;
    let refused = loop {
        let Ok(piece) = reading.decoder.decode(&conn.inbox[position..]) else {
            refuse_framing(core, conn, reading.exchange);
            return true;
        };
        position += piece.consumed;
        reading.received += piece.data.len();
        if reading.received > max {
            break Some(Code::TooLarge);
        }
        // For a chunked body this is known only here: an empty one counts as no body, and needs no type.
        if !piece.data.is_empty() && !admit::takes_type(&reading.exchange) {
            break Some(Code::NotSupportedType);
        }
        if keeps {
            reading.body.extend_from_slice(piece.data);
        }
        if piece.done {
            conn.consume(position);
            let ReadBody { exchange, body, .. } = *reading;
            steps::dispatch(core, conn, exchange, &body);
            return true;
        }
        if piece.consumed == 0 || position == conn.inbox.len() {
            break None;
        }
    };
    conn.consume(position);
    match refused {
        Some(code) => {
            let ReadBody { mut exchange, decoder, .. } = *reading;
            exchange.unread = Some(decoder);
            respond::refuse(core, conn, exchange, &Problem::new(code));
            true
        }
        None => {
            conn.phase = Phase::ReadBody(reading);
            false
        }
    }
}

/// What follows an answer that is queued: the next head, the rest of an unread body, or the end.
pub fn after_answer(core: &mut Core, conn: &mut Conn, exchange: &mut Exchange) {
    let close = exchange.close.then_some(exchange.close_reason);
    core.release_reservation(conn);
    core.end_export(conn);
    core.crowd.done(conn);
    conn.has_account |= exchange.actor.is_some();
    conn.useful_at = core.now.instant;
    conn.progress = 0;
    match exchange.unread.take() {
        Some(_) if exchange.body_unasked => linger(core, conn, exchange.close_reason),
        Some(decoder) => {
            // While it drains, a proxy's connection is counted for no client and never gives way: refused bodies that never end
            // would use all slots.
            let proxy_until = conn.is_proxy.then(|| core.now.instant + crowd::REFUSED_LINGER);
            conn.deadline = proxy_until.or(Some(core.linger_until()));
            conn.phase = Phase::Drain { decoder, left: drain_max(core), close };
        }
        None => match close {
            Some(reason) => linger(core, conn, reason),
            None => read_next(core, conn),
        },
    }
}

fn idle_deadline(conn: &Conn) -> Duration {
    if conn.is_proxy { PROXY_IDLE_DEADLINE } else { IDLE_DEADLINE }
}

fn read_next(core: &mut Core, conn: &mut Conn) {
    // Until the answer is sent, its progress decides; then `sent` sets the idle deadline.
    let wait = if conn.send.is_empty() { idle_deadline(conn) } else { PROGRESS_WINDOW };
    conn.deadline = Some(core.now.instant + wait);
    conn.phase = Phase::ReadHead { reader: HeadReader::new(), since: None };
}

/// Reads and drops an unwanted body, so that the answer before it arrives (RFC 9112 §9.6).
pub fn drain(core: &mut Core, conn: &mut Conn) -> bool {
    let Phase::Drain { decoder, left, close } = &mut conn.phase else { return false };
    let close = *close;
    let mut position = 0;
    loop {
        let Ok(piece) = decoder.decode(&conn.inbox[position..]) else {
            conn.inbox = Vec::new();
            linger(core, conn, CloseReason::ProtocolError);
            return true;
        };
        position += piece.consumed;
        *left = left.saturating_sub(piece.consumed as u64);
        if piece.done {
            conn.consume(position);
            match close {
                Some(reason) => linger(core, conn, reason),
                None => read_next(core, conn),
            }
            return true;
        }
        if *left == 0 {
            // The answer was sent long ago, and enough was read for it to arrive.
            conn.inbox = Vec::new();
            close_when_sent(core, conn, close.unwrap_or(CloseReason::Answered));
            return true;
        }
        if piece.consumed == 0 || position == conn.inbox.len() {
            conn.consume(position);
            return false;
        }
    }
}

/// Ends in order: what is queued is sent, the write side shuts down, and bytes that still come are dropped for some time. A
/// close with unread bytes would reset the connection, and the peer would lose the answer.
pub fn linger(core: &mut Core, conn: &mut Conn, reason: CloseReason) {
    let reason = conn.close_reason().unwrap_or(reason);
    conn.inbox = Vec::new();
    conn.progress = 0;
    if conn.ended && conn.send.is_empty() {
        conn.phase = Phase::Closed(reason);
        return;
    }
    core.effects.push_back(Effect::ShutdownWrite(conn.id));
    conn.deadline = Some(core.linger_until());
    conn.phase = Phase::Linger { left: drain_max(core), reason };
}

/// A head or a body did not come in time, or the idle or linger deadline has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    match conn.take_phase() {
        Phase::ReadHead { since: Some(_), .. } => {
            respond::headless(core, conn, &Problem::new(Code::RequestTimeout));
            linger(core, conn, CloseReason::RequestTimeout);
        }
        Phase::ReadBody(reading) => {
            respond::refuse(core, conn, reading.exchange, &Problem::new(Code::RequestTimeout));
        }
        Phase::ReadHead { since: None, .. } => conn.phase = Phase::Closed(CloseReason::Idle),
        Phase::Drain { close, .. } => {
            conn.phase = Phase::Closed(close.unwrap_or(CloseReason::RequestTimeout));
        }
        Phase::Linger { reason, .. } => conn.phase = Phase::Closed(reason),
        other => conn.phase = other,
    }
}

/// All incomplete requests together are too large, and this one gives way. Those of a flood get no answer.
pub fn crowded_out(core: &mut Core, conn: &mut Conn) {
    let problem = crowd::full();
    conn.inbox = Vec::new();
    let phase = conn.take_phase();
    let address = match &phase {
        Phase::ReadBody(reading) => reading.exchange.client.address,
        _ => conn.peer,
    };
    match phase {
        Phase::ReadHead { .. } | Phase::ReadBody(_) if !delays::is_prompt(core, address) => {
            conn.close(CloseReason::GaveWay);
        }
        Phase::ReadHead { .. } => {
            respond::headless(core, conn, &problem);
            linger(core, conn, CloseReason::GaveWay);
        }
        Phase::ReadBody(reading) => {
            let mut exchange = reading.exchange;
            exchange.close = true;
            respond::refuse(core, conn, exchange, &problem);
        }
        Phase::Delay { mut exchange, problem } => {
            exchange.close = true;
            conn.phase = Phase::Delay { exchange, problem };
            delays::answer(core, conn);
        }
        // The bytes are of requests after the one that is being answered, or after the last one: they are not read any more.
        _ => conn.close(CloseReason::GaveWay),
    }
}

/// A long answer may take longer than any deadline, as long as the peer takes at least 1 KiB/s.
pub fn slow_but_moving(core: &mut Core, conn: &mut Conn) -> bool {
    let sending = matches!(conn.phase, Phase::ReadHead { .. } | Phase::Linger { .. } | Phase::Drain { .. });
    if !sending || conn.send.is_empty() || conn.progress < PROGRESS_BYTES {
        return false;
    }
    conn.progress = 0;
    conn.deadline = Some(core.now.instant + PROGRESS_WINDOW);
    true
}
