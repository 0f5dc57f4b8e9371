//! Which requests are allowed: the columns of the route table applied to a head.
//!
//! The checks have the order of [`protocol`](crate::protocol), "Precedence".
//! Invariant: nothing here reads a body byte or asks storage.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::auth::token;
use crate::base::crypto::base64url;
use crate::base::network::Prefix;
use crate::limits::{HOOK_BODY_MAX, Rate};
use crate::model::handler::{Actor, Client, Step};
use crate::model::id::{MemberId, SessionId};
use crate::model::operation::{Command, Flow, Write};
use crate::model::problem::{Code, Problem};
use crate::model::tickets::Worth;
use crate::model::whisper::Whisper;
use crate::proto::http::head::{Expect, Framing, Head, Headers, Method, Version};
use crate::proto::http::mime::ContentType;
use crate::proto::websocket::{self, UpgradeError};
use crate::server::close_reason::CloseReason;
use crate::server::conn::Conn;
use crate::server::contract::ListenerKind;
use crate::server::core::Core;
use crate::server::request::client;
use crate::server::request::cors;
use crate::server::request::exchange::Exchange;
use crate::server::request::rate_limit::{Bucket, Verdict};
use crate::server::request::reads;
use crate::server::request::router::{self, Found};
use crate::server::request::routes::{Access, Action, BodyKind, RateClass, Route};
use crate::server::request::upload_head;

/// How long a JSON request may take from its first byte. After that: 408.
const JSON_DEADLINE: Duration = Duration::from_secs(30);
/// After how many milliseconds a member with too many uploads in progress may try again.
const UPLOADS_RETRY_MS: u64 = 1_000;

/// Groups one member may create in an hour. Above: 429.
const GROUPS_PER_HOUR: u32 = 120;
/// Group members that one member may add in an hour, those of new groups included: five of the largest groups by the default
/// MEMBERS_MAX. Above: 429.
const MEMBERS_PER_HOUR: u32 = 5_000;

/// What is known of a request before anything is decided.
pub fn exchange(core: &mut Core, conn: &Conn, head: Head, started: Instant) -> Box<Exchange> {
    let client = client::of(&core.settings, conn.peer, &head);
    core.requests.reads.set(conn.id, reads::anonymous(client.address));
    let request_id = match head.headers.get("x-request-id").filter(|id| is_request_id(id)) {
        Some(id) => id.to_owned(),
        None => new_request_id(core),
    };
    // After a request for an upgrade, frames may follow even if its answer is a plain one; they are not requests.
    let upgrade = websocket::is_wanted(head.headers.get_all("upgrade"));
    let crowded = core.crowd.closes_after_answer(conn, core.settings.limits.connections_max);
    let close = !head.keep_alive || core.is_draining() || upgrade || crowded;
    Box::new(Exchange {
        head,
        route: None,
        path: Vec::new(),
        query: Vec::new(),
        bad_query: false,
        client,
        actor: None,
        request_id,
        started,
        rate: None,
        fields: Vec::new(),
        unread: None,
        body_unasked: false,
        close,
        close_reason: if core.is_draining() { CloseReason::Draining } else { CloseReason::Answered },
        upgrade: None,
    })
}

pub fn new_request_id(core: &mut Core) -> String {
    let mut random = [0; 12];
    core.entropy.fill(&mut random);
    base64url(&random)
}

fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Decides whether the request may continue. `exchange.route` stays `None` only for a good `OPTIONS`.
pub fn admit(core: &mut Core, conn: &Conn, exchange: &mut Exchange) -> Result<(), Problem> {
    let method = exchange.head.method;
    if method == Method::Unknown {
        return Err(Problem::new(Code::NotImplemented));
    }
    if exchange.head.expect == Expect::Unsupported {
        return Err(Problem::new(Code::ExpectationFailed));
    }
    if exchange.head.target.is_asterisk() {
        exchange.fields.push(("Allow", ALL_METHODS.into()));
        return admit_options(core, exchange);
    }
    if method == Method::Connect {
        exchange.fields.push(("Allow", ALL_METHODS.into()));
        return Err(Problem::new(Code::MethodNotAllowed));
    }
    let Some(route) = find_route(exchange, conn.listener_kind)? else { return admit_options(core, exchange) };
    // Health, readiness and metrics are answered until the end: they show that the server stops.
    if core.is_draining() && matches!(route.action, Action::Handle(_)) {
        return Err(Code::Unavailable.into());
    }
    match exchange.head.target.query_pairs() {
        Ok(query) => exchange.query = query,
        Err(_) => {
            exchange.bad_query = true;
            exchange.query = exchange.head.target.readable_pairs();
        }
    }
    authorize(core, conn, exchange, route)?;
    if route.is_socket() {
        admit_upgrade(core, exchange)?;
    }
    admit_body(core, exchange, route)
}

/// A browser sends a preflight by itself, so it is not counted; any other `OPTIONS` is a request like others.
fn admit_options(core: &mut Core, exchange: &mut Exchange) -> Result<(), Problem> {
    if cors::preflight_origin(&exchange.head.headers).is_some() {
        return Ok(());
    }
    spend_address(core, exchange, RateClass::Read)
}

const ALL_METHODS: &str = "DELETE, GET, HEAD, OPTIONS, POST, PUT";

/// The row, or `None` for an `OPTIONS` of a known path.
fn find_route(
    exchange: &mut Exchange,
    listener_kind: ListenerKind,
) -> Result<Option<&'static Route>, Problem> {
    let segments = exchange.head.target.segments().ok_or(Problem::new(Code::NotFound))?;
    if exchange.head.method == Method::Options {
        let methods = router::allowed(&segments, listener_kind).ok_or(Problem::new(Code::NotFound))?;
        exchange.fields.push(("Allow", methods.into()));
        return Ok(None);
    }
    match router::find(exchange.head.method, &segments, listener_kind) {
        Found::Route { route, path } => {
            exchange.route = Some(route);
            exchange.path = path;
            Ok(Some(route))
        }
        Found::OtherMethods(methods) => {
            exchange.fields.push(("Allow", methods.into()));
            Err(Problem::new(Code::MethodNotAllowed))
        }
        Found::Nothing => Err(Problem::new(Code::NotFound)),
    }
}

/// 429 by address, then 401, then 429 by account.
fn authorize(
    core: &mut Core,
    conn: &Conn,
    exchange: &mut Exchange,
    route: &'static Route,
) -> Result<(), Problem> {
    let is_operator = route.access == Access::Admin && conn.listener_kind == ListenerKind::Control;
    if route.access == Access::Control || is_operator {
        core.requests.reads.set(conn.id, Flow::SERVER);
        return Ok(());
    }
    if route.access == Access::Public || route.access == Access::Signed && is_signed(exchange) {
        return spend_address(core, exchange, route.rate);
    }
    let actor = match route.access {
        Access::Hook => hook_of(core, exchange),
        _ => actor_of(core, exchange, route)?,
    };
    let Some(actor) = actor else {
        // A flood of bad tokens ends in 429; a good token from the same address is still accepted.
        spend_address(core, exchange, RateClass::Read)?;
        log::debug!(target: "natter::auth", peer:% = conn.peer, route = route.name; "token refused");
        let is_hook = route.access == Access::Hook;
        return Err(Problem::new(if is_hook { Code::NotFound } else { Code::UnauthorizedAccess }));
    };
    exchange.actor = Some(actor);
    core.requests.reads.set(conn.id, Flow::of_account(actor.member));
    core.background.last_seen.record(actor.session, core.now);
    spend(core, exchange, Bucket::Account(actor.member))?;
    match route.rate {
        RateClass::Write => spend(core, exchange, Bucket::Writes(actor.member)),
        RateClass::Read | RateClass::Credential => Ok(()),
    }
}

/// Whether the request has a signature. The handler checks whether it is valid.
fn is_signed(exchange: &Exchange) -> bool {
    exchange.query.iter().any(|(name, _)| name == "sig" || name == "expires")
}

/// Takes one request from a bucket; its verdict goes into the answer's `RateLimit` fields.
fn spend(core: &mut Core, exchange: &mut Exchange, bucket: Bucket) -> Result<(), Problem> {
    let verdict = take(core, bucket);
    heed(exchange, verdict)
}

/// The same for the buckets of its address.
fn spend_address(core: &mut Core, exchange: &mut Exchange, class: RateClass) -> Result<(), Problem> {
    let verdict = take_address(core, exchange.client.address, class);
    heed(exchange, verdict)
}

fn heed(exchange: &mut Exchange, verdict: Option<Verdict>) -> Result<(), Problem> {
    let Some(verdict) = verdict else { return Ok(()) };
    exchange.rate = Some(exchange.rate.map_or(verdict, |rate| rate.tighter(verdict)));
    match verdict.retry_after {
        None => Ok(()),
        Some(after) => {
            exchange.rate = Some(verdict);
            Err(Problem::rate_limited(after.as_millis().max(1) as u64))
        }
    }
}

/// Takes one request from a bucket; `None` with RATE_LIMIT=off.
pub fn take(core: &mut Core, bucket: Bucket) -> Option<Verdict> {
    let limits = &core.settings.limits;
    if !limits.rate_limit {
        return None;
    }
    let rate = match bucket {
        Bucket::Credentials(_) => limits.rate_credentials,
        Bucket::Address(_) | Bucket::Overflow => limits.rate_address,
        Bucket::Account(_) => limits.rate_account,
        Bucket::Writes(member) => rate_of_writes(core, member),
        // These have rates of their own.
        Bucket::Groups(_) | Bucket::Members(_) | Bucket::Refusals(_) => return None,
    };
    Some(core.requests.rates.take(bucket, rate, core.now.instant))
}

/// A bot and its incoming hooks have a rate of their own.
fn rate_of_writes(core: &Core, member: MemberId) -> Rate {
    let limits = &core.settings.limits;
    if core.requests.bots.has(member) { limits.rate_bots } else { limits.rate_writes }
}

/// Runs after the handler and before storage: charges what a write costs in addition to one request, and refuses a member that
/// has created as many groups, or added as many group members, as one may in an hour.
pub fn charge(core: &mut Core, actor: Option<Actor>, step: &Step) -> Result<(), Problem> {
    let (Some(Actor { member, .. }), Step::Store(Command::Write(write), _)) = (actor, step) else {
        return Ok(());
    };
    let limits = &core.settings.limits;
    if !limits.rate_limit {
        return Ok(());
    }
    let (groups, members) = match write {
        Write::CreateConversation(create) => (1, u32::try_from(create.members.len()).unwrap_or(u32::MAX)),
        Write::PutMember(_) | Write::UseInvite(_) => (0, 1),
        _ => (0, 0),
    };
    let now = core.now.instant;
    for (bucket, an_hour, count) in [
        (Bucket::Groups(member), GROUPS_PER_HOUR, groups),
        (Bucket::Members(member), MEMBERS_PER_HOUR, members),
    ] {
        if count > 0
            && let Err(after) = core.requests.rates.take_hourly(bucket, an_hour, count, now)
        {
            return Err(Problem::rate_limited(u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1)));
        }
    }
    let more = write.weight() - 1;
    if more > 0 {
        let rate = rate_of_writes(core, member);
        core.requests.rates.charge(Bucket::Writes(member), rate, more, now);
    }
    Ok(())
}

/// As [`take`], from the buckets of an address and of the prefixes around it.
pub fn take_address(core: &mut Core, address: IpAddr, class: RateClass) -> Option<Verdict> {
    let limits = &core.settings.limits;
    let (bucket, rate): (fn(Prefix) -> Bucket, _) = match class {
        RateClass::Credential => (Bucket::Credentials, limits.rate_credentials),
        RateClass::Read | RateClass::Write => (Bucket::Address, limits.rate_address),
    };
    limits.rate_limit.then(|| core.requests.rates.take_nested(address, bucket, rate, core.now.instant))
}

/// The actor by a bearer token, or by what the row admits instead of one. A presented ticket is used up even if the request is
/// refused: a ticket that may be tried again could be used twice.
fn actor_of(core: &mut Core, exchange: &Exchange, route: &Route) -> Result<Option<Actor>, Problem> {
    let device = exchange.client.unique_id.as_deref();
    if let Some(token) = bearer(&exchange.head.headers) {
        return Ok(core.requests.bots.actor(token).or_else(|| actor(core, token, device)));
    }
    let query =
        |name: &str| exchange.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let by_ticket = match (route.access, query("ticket")) {
        (Access::Socket, Some(ticket)) => take_ticket(core, ticket)?,
        (Access::Events, Some(ticket)) => {
            token::verify_events_ticket(&core.settings, &core.epoch, core.now.unix_s(), ticket).ok()
        }
        (Access::Socket, None) => {
            let token = query("access");
            return Ok(token.and_then(|token| actor(core, token, device.or(query("unique_id")))));
        }
        (
            Access::Public
            | Access::Bearer
            | Access::Events
            | Access::Control
            | Access::Admin
            | Access::Signed
            | Access::Hook,
            _,
        ) => None,
    };
    Ok(by_ticket.filter(|actor| !core.ended.has(actor.session)))
}

/// The bot of an incoming hook, by the token in the path. Where it posts comes next to the token.
fn hook_of(core: &Core, exchange: &mut Exchange) -> Option<Actor> {
    let (_, token) = exchange.path.iter().find(|(name, _)| *name == "token")?;
    let (actor, conversation) = core.requests.bots.hook(token)?;
    exchange.path.push(("conversation", conversation.to_string()));
    Some(actor)
}

/// Uses a ticket for a WebSocket, here and on the other nodes.
fn take_ticket(core: &mut Core, ticket: &str) -> Result<Option<Actor>, Problem> {
    let verified = token::verify_socket_ticket(&core.settings, &core.epoch, core.now.unix_s(), ticket);
    let Ok((actor, ticket)) = verified else { return Ok(None) };
    match core.requests.tickets.take(ticket, core.now) {
        Worth::Good => {
            core.whisper(&Whisper::TicketUsed(ticket));
            Ok(Some(actor))
        }
        Worth::Nothing => Ok(None),
        Worth::Unknown => Err(Code::Busy.into()),
    }
}

/// The actor of an access token, if the token is valid, of this epoch, of a session that has not ended, and presented by the
/// device that it is bound to.
pub fn actor(core: &Core, token: &str, device: Option<&str>) -> Option<Actor> {
    let claims = token::verify_access(&core.settings, &core.epoch, core.now.unix_s(), token).ok()?;
    let alive = !core.ended.has(claims.actor.session);
    (alive && token::device_matches(claims.device, device)).then_some(claims.actor)
}

/// As [`actor`], for a newer token on a stream that this session has opened. The device was proven at the opening, also for a
/// ticket, whose clients can't set headers.
pub fn actor_again(core: &Core, token: &str, session: SessionId) -> Option<Actor> {
    let claims = token::verify_access(&core.settings, &core.epoch, core.now.unix_s(), token).ok()?;
    (claims.actor.session == session && !core.ended.has(session)).then_some(claims.actor)
}

/// The credentials of exactly one `Authorization: Bearer` (RFC 6750 §2.1; the scheme in any case).
pub fn bearer(headers: &Headers) -> Option<&str> {
    let mut sent = headers.get_all("authorization");
    let value = sent.next()?;
    if sent.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn admit_upgrade(core: &Core, exchange: &mut Exchange) -> Result<(), Problem> {
    let head = &exchange.head;
    let minor = u8::from(head.version == Version::Http11);
    match websocket::check_upgrade(head.method.as_str(), minor, |name| head.headers.get_all(name)) {
        Ok(accept) => {
            if !cors::upgrade_allowed(&core.settings.origins, &core.settings.public_url, head) {
                return Err(Problem::new(Code::OriginNotAllowed));
            }
            // The bytes of a body would be where the first frame must be.
            if !matches!(head.framing, Framing::Empty | Framing::Length(0)) {
                exchange.close = true;
                return Err(Problem::new(Code::BadRequest));
            }
            exchange.upgrade = Some(accept);
            Ok(())
        }
        Err(UpgradeError::NotAnUpgrade | UpgradeError::VersionUnsupported) => {
            exchange.fields.push(("Upgrade", "websocket".into()));
            exchange.fields.push(("Sec-WebSocket-Version", websocket::VERSION.into()));
            Err(Problem::new(Code::UpgradeRequired))
        }
        Err(UpgradeError::BadKey) => {
            exchange.close = true;
            Err(Problem::new(Code::BadRequest))
        }
    }
}

/// The most bytes of a body that this row takes. A row that takes none has the same maximum as a JSON row: the bytes are read
/// and dropped before the answer, to find where the next request begins.
pub fn body_max(core: &Core, route: Option<&Route>) -> usize {
    let limits = &core.settings.limits;
    match route.map_or(BodyKind::None, |route| route.body) {
        BodyKind::None | BodyKind::Json | BodyKind::Form(_) => limits.json_body_max,
        BodyKind::Hook => HOOK_BODY_MAX,
        // Where the body is not read as a file: of a request that was refused.
        BodyKind::Upload | BodyKind::Preview | BodyKind::Any => {
            usize::try_from(limits.upload_max).unwrap_or(usize::MAX)
        }
    }
}

/// From the first byte of the request to the last of its body.
pub fn body_deadline(route: &Route) -> Duration {
    match route.body {
        // A body that becomes a file has another deadline, by its size.
        BodyKind::None
        | BodyKind::Json
        | BodyKind::Form(_)
        | BodyKind::Hook
        | BodyKind::Upload
        | BodyKind::Preview => JSON_DEADLINE,
        // Enough for 10 MiB over a slow line.
        BodyKind::Any => Duration::from_secs(60 + 10_485_760 / 8_192),
    }
}

/// 429 for a member with too many uploads in progress; 413 if the length is known, then 415. For a chunked body, length and
/// emptiness are known only as it comes.
fn admit_body(core: &Core, exchange: &Exchange, route: &Route) -> Result<(), Problem> {
    if let Some(wanted) = upload_head::wanted(&core.settings.limits, route.body, &exchange.head) {
        if exchange.actor.is_some_and(|actor| !core.uploads.reservations.has_room(actor.profile)) {
            return Err(Problem::rate_limited(UPLOADS_RETRY_MS));
        }
        return upload_head::admit_head(&exchange.head, wanted);
    }
    let Framing::Length(length @ 1..) = exchange.head.framing else { return Ok(()) };
    if length > body_max(core, Some(route)) as u64 {
        return Err(Problem::new(Code::TooLarge));
    }
    if takes_type(exchange) { Ok(()) } else { Err(Problem::new(Code::NotSupportedType)) }
}

/// Whether the row takes a body of the type and coding that the head names.
pub fn takes_type(exchange: &Exchange) -> bool {
    if exchange.route.is_none_or(|route| !matches!(route.body, BodyKind::Json | BodyKind::Form(_))) {
        return true;
    }
    let headers = &exchange.head.headers;
    let mut types = headers.get_all("content-type");
    let json = types.next().and_then(ContentType::parse).is_some_and(|media| media.is_json());
    let coded = |coding: &str| !coding.eq_ignore_ascii_case("identity");
    json && types.next().is_none() && !headers.get_all("content-encoding").any(coded)
}

/// The client of a connection that has sent no complete head.
pub fn unknown_client(conn: &Conn) -> Client {
    Client {
        address: conn.peer,
        user_agent: String::new(),
        unique_id: None,
        language: crate::proto::http::language::Language::En,
    }
}
