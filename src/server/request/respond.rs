//! The bytes of an answer: the fields that every response has, the body in one of three shapes, the line of the access log.
//!
//! Invariant: each request has exactly one answer, and at most one line in the access log: exactly one with `ACCESS_LOG=all`.

use std::borrow::Cow;

use crate::base::json;
use crate::base::send_queue::Segment;
use crate::model::handler::{Body, Reply};
use crate::model::measures::Measure;
use crate::model::problem::{Code, Problem};
use crate::proto::http::head::{Method, Version};
use crate::proto::http::language::Language;
use crate::proto::http::response::{BodyFraming, ResponseHead};
use crate::server::close_reason::CloseReason;
use crate::server::conn::Conn;
use crate::server::contract::ListenerKind;
use crate::server::core::Core;
use crate::server::request::admit;
use crate::server::request::cors;
use crate::server::request::exchange::Exchange;
use crate::server::request::http;
use crate::server::request::metrics;
use crate::server::request::rate_limit::Verdict;
use crate::server::request::routes::{Access, Action, RateClass};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// Queues a handler's reply and moves on.
pub fn reply(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>, reply: Reply) {
    let mut head = begin(core, conn, &exchange, reply.status);
    for (name, value) in reply.headers {
        head = head.header(name, value);
    }
    let body = match reply.body {
        Body::Empty => None,
        Body::Data { data, beside } => {
            head = head.header("Content-Type", JSON).header("Cache-Control", "no-store");
            let mut body = Vec::with_capacity(data.len() + beside.len() + 9);
            body.extend_from_slice(b"{\"data\":");
            body.extend_from_slice(&data);
            body.extend_from_slice(&beside);
            body.push(b'}');
            Some(Segment::Owned(body))
        }
        Body::Raw { mime, bytes } => {
            head = head.header("Content-Type", mime);
            Some(bytes)
        }
    };
    finish(core, conn, &mut exchange, reply.status, head, body);
}

/// Queues a refusal and moves on.
pub fn refuse(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>, problem: &Problem) {
    let failure = count_failure(core, &exchange, problem);
    core.metrics.refused(problem.code);
    exchange.rate = exchange.rate.or(failure);
    let is_write = exchange.route.is_some_and(|route| route.rate == RateClass::Write);
    // No request may overtake a post that is to be repeated. After a fault the writer refuses the rest of this connection's
    // lane, so the client needs a new connection.
    exchange.close |=
        problem.status() >= 500 && problem.code != Code::NotImplemented || problem.retry() && is_write;
    exchange.close |= matches!(problem.code, Code::BadRequest | Code::RequestTimeout);
    match problem.code {
        Code::BadRequest => exchange.close_reason = CloseReason::ProtocolError,
        Code::RequestTimeout => exchange.close_reason = CloseReason::RequestTimeout,
        _ if problem.status() >= 500 => exchange.close_reason = CloseReason::Unavailable,
        _ => {}
    }
    exchange.close |= exchange.unread.is_some() && exchange.body_unasked;
    let language = exchange.client.language;
    let mut head = problem_fields(begin(core, conn, &exchange, problem.status()), problem, language);
    for (name, value) in std::mem::take(&mut exchange.fields) {
        head = head.header(name, value);
    }
    if let Some((name, value)) = problem.header() {
        head = head.header(name, value.to_owned());
    }
    let body = Segment::Owned(json::to_vec(&problem.body(language)));
    finish(core, conn, &mut exchange, problem.status(), head, Some(body));
}

/// Refuses bytes that are not a request. The caller closes the connection afterwards.
pub fn headless(core: &mut Core, conn: &mut Conn, problem: &Problem) {
    let request_id = admit::new_request_id(core);
    let head = ResponseHead::new(problem.status())
        .header("Date", core.date().to_owned())
        .header("X-Request-Id", request_id.clone());
    let rate = admit::take_address(core, conn.peer, RateClass::Read);
    let head = problem_fields(rate_fields(head, rate), problem, Language::En);
    let body = json::to_vec(&problem.body(Language::En));
    let mut out = Vec::with_capacity(512);
    head.encode(&mut out, BodyFraming::Length(body.len() as u64), false, Version::Http11);
    out.extend_from_slice(&body);
    conn.send.push(Segment::Owned(out));
    core.metrics.response("-", problem.status());
    core.metrics.refused(problem.code);
    if !core.metrics.is_logged(core.settings.access_log, problem.status()) {
        return;
    }
    log::info!(
        target: "natter::access",
        request = request_id.as_str(), route = "-", status = problem.status(), bytes = body.len(), us = 0,
        peer:% = conn.peer, member = "-";
        "request"
    );
}

/// The answer to a good `OPTIONS`, with the fields of a preflight if it is one.
pub fn options(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>) {
    let mut fields = std::mem::take(&mut exchange.fields);
    if let Some(origin) = cors::preflight_origin(&exchange.head.headers)
        && !is_private(&exchange)
    {
        cors::preflight_fields(&core.settings.origins, origin, &mut fields);
    }
    let mut head = begin(core, conn, &exchange, 204);
    for (name, value) in fields {
        head = head.header(name, value);
    }
    finish(core, conn, &mut exchange, 204, head, None);
}

/// 101: after it the connection is a WebSocket.
pub fn switch(core: &mut Core, conn: &mut Conn, exchange: &Exchange) {
    let Some(accept) = &exchange.upgrade else { return };
    let mut head = begin(core, conn, exchange, 101)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Accept", accept.key.clone());
    if let Some(protocol) = accept.protocol {
        head = head.header("Sec-WebSocket-Protocol", protocol);
    }
    let mut out = Vec::with_capacity(512);
    head.encode(&mut out, BodyFraming::None, true, exchange.head.version);
    conn.send.push(Segment::Owned(out));
    log_access(core, conn, exchange, 101, 0);
}

/// 200 and the head of a body that ends with its stream.
pub fn begin_stream(
    core: &mut Core,
    conn: &mut Conn,
    exchange: &Exchange,
    fields: &[(&'static str, &'static str)],
) {
    let mut head = begin(core, conn, exchange, 200);
    for (name, value) in fields {
        head = head.header(name, *value);
    }
    let mut out = Vec::with_capacity(512);
    head.encode(&mut out, BodyFraming::stream(exchange.head.version), false, exchange.head.version);
    conn.send.push(Segment::Owned(out));
    if exchange.route.is_some_and(|route| route.access == Access::Events) {
        let took = core.now.instant.saturating_duration_since(exchange.started);
        core.settings.measures.took_here(Measure::RequestStream, took);
    }
    log_access(core, conn, exchange, 200, 0);
}

/// Whether web pages may not read it, even those of ALLOWED_ORIGINS.
fn is_private(exchange: &Exchange) -> bool {
    match exchange.route {
        Some(route) => matches!(route.action, Action::Metrics),
        None => exchange.head.target.segments().is_some_and(|segments| segments.iter().eq(["metrics"])),
    }
}

/// The fields that every response has.
fn begin(core: &mut Core, conn: &Conn, exchange: &Exchange, status: u16) -> ResponseHead {
    let mut head = ResponseHead::new(status)
        .header("Date", core.date().to_owned())
        .header("X-Request-Id", exchange.request_id.clone());
    head = rate_fields(head, exchange.rate);
    // Only over TLS (RFC 6797 §7.2).
    if let Some(https) = core.settings.https.as_ref().filter(|https| https.hsts_s > 0)
        && conn.listener_kind == ListenerKind::Tls
    {
        head = head.header("Strict-Transport-Security", format!("max-age={}", https.hsts_s));
    }
    let mut fields = Vec::new();
    if !is_private(exchange) {
        cors::fields(&core.settings.origins, exchange.head.headers.get("origin"), &mut fields);
    }
    for (name, value) in fields {
        head = head.header(name, value);
    }
    head
}

fn rate_fields(head: ResponseHead, rate: Option<Verdict>) -> ResponseHead {
    let Some(rate) = rate else { return head };
    let (policy, left) = rate.fields();
    head.header("RateLimit-Policy", policy).header("RateLimit", left)
}

fn problem_fields(head: ResponseHead, problem: &Problem, language: Language) -> ResponseHead {
    let mut head = head
        .header("Content-Type", PROBLEM_JSON)
        .header("Content-Language", language.as_str())
        .header("Cache-Control", "no-store");
    if problem.status() == 401 {
        head = head.header("WWW-Authenticate", "Bearer");
    }
    if let Some(ms) = problem.retry_after_ms {
        head = head.header("Retry-After", Cow::Owned(ms.div_ceil(1_000).max(1).to_string()));
    }
    head
}

fn finish(
    core: &mut Core,
    conn: &mut Conn,
    exchange: &mut Exchange,
    status: u16,
    head: ResponseHead,
    body: Option<Segment>,
) {
    let keep_alive = !exchange.close && !core.is_draining();
    exchange.close = !keep_alive;
    if core.is_draining() {
        exchange.close_reason = CloseReason::Draining;
    }
    let framing = match &body {
        None if status == 204 || status == 304 => BodyFraming::None,
        None => BodyFraming::Length(0),
        Some(body) => BodyFraming::Length(body.len()),
    };
    let mut out = Vec::with_capacity(512);
    head.encode(&mut out, framing, keep_alive, exchange.head.version);
    conn.send.push(Segment::Owned(out));
    let mut bytes = 0;
    if exchange.head.method != Method::Head
        && let Some(body) = body
    {
        bytes = body.len();
        conn.send.push(body);
    }
    log_access(core, conn, exchange, status, bytes);
    http::after_answer(core, conn, exchange);
}

/// One log line for each request. It holds no part of a path that a client chose, no token, no code and no text.
fn log_access(core: &mut Core, conn: &Conn, exchange: &Exchange, status: u16, bytes: u64) {
    let route = exchange.route.map_or("-", |route| route.name);
    core.metrics.response(route, status);
    let took = core.now.instant.saturating_duration_since(exchange.started);
    // The answer to a poll comes when an event does.
    if exchange.route.is_none_or(|route| route.access != Access::Events) {
        core.settings.measures.took_here(metrics::class_of(exchange.route), took);
    }
    let is_logged = core.metrics.is_logged(core.settings.access_log, status);
    if !is_logged || !log::log_enabled!(target: "natter::access", log::Level::Info) {
        return;
    }
    let us = took.as_micros() as u64;
    let member = exchange.actor.map_or("-".to_owned(), |actor| actor.member.to_string());
    let peer = if exchange.client.address == conn.peer { conn.peer } else { exchange.client.address };
    log::info!(
        target: "natter::access",
        request = exchange.request_id.as_str(), method = exchange.head.method.as_str(), route = route,
        status = status, bytes = bytes, us = us, peer:% = peer, member = member.as_str();
        "request"
    );
}

/// Counts a failed request against its address, unless it was counted there when it came.
fn count_failure(core: &mut Core, exchange: &Exchange, problem: &Problem) -> Option<Verdict> {
    let counted = exchange.route.is_some_and(|route| route.access == Access::Public)
        || problem.code == Code::RateLimited;
    let is_hook = exchange.route.is_some_and(|route| route.access == Access::Hook);
    let by_token = exchange.actor.is_none() && (problem.status() == 401 || is_hook);
    if counted || by_token {
        return None;
    }
    admit::take_address(core, exchange.client.address, RateClass::Read)
}
