//! Refusals by rate that are answered after a pause, so that a client that repeats them at once does not occupy the loop.
//!
//! The first refusals of a network are prompt. Above a rate of refusals an answer waits for [`PAUSE`], and the connection parses
//! nothing meanwhile: n connections get n answers in that time. A pause after the answer would delay the next request of the
//! connection, which through a proxy may be that of another person.
//! Owns which refusals wait. Invariant: the number of those that wait has a bound; above it a refusal is prompt.

use std::net::IpAddr;
use std::time::Duration;

use crate::limits::Rate;
use crate::model::problem::Problem;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::ListenerKind;
use crate::server::core::Core;
use crate::server::crowd::Origin;
use crate::server::request::exchange::Exchange;
use crate::server::request::rate_limit::Bucket;
use crate::server::request::respond;

/// Prompt refusals of one address (a /64 of IPv6). The prefixes around it may have more, as with all rates.
const PROMPT: Rate = Rate { per_second: 10, burst: 20 };
/// How long each further refusal waits. A client that obeys `Retry-After` waits longer than that.
const PAUSE: Duration = Duration::from_millis(500);
/// The part of CONNECTIONS_MAX that may wait at once, as a divisor.
const WAITING_PART: usize = 4;

#[derive(Debug, Default)]
pub struct Delays {
    waiting: usize,
}

/// Answers with a refusal: at once, or after the pause.
pub fn refuse(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>, problem: Problem) {
    if !waits(core, conn, &mut exchange) {
        return respond::refuse(core, conn, exchange, &problem);
    }
    core.requests.delays.waiting += 1;
    conn.is_delayed = true;
    conn.deadline = Some(core.now.instant + PAUSE);
    conn.phase = Phase::Delay { exchange, problem: Box::new(problem) };
}

/// Whether a refusal of this address is prompt. Those of a flood are not.
pub fn is_prompt(core: &mut Core, address: IpAddr) -> bool {
    let now = core.now.instant;
    !core.settings.limits.rate_limit
        || core.requests.rates.take_nested(address, Bucket::Refusals, PROMPT, now).retry_after.is_none()
}

fn waits(core: &mut Core, conn: &mut Conn, exchange: &mut Exchange) -> bool {
    let is_by_rate = exchange.rate.is_some_and(|rate| rate.retry_after.is_some());
    let address = exchange.client.address;
    if !is_by_rate
        || core.is_draining()
        || conn.listener_kind == ListenerKind::Control
        || is_prompt(core, address)
    {
        return false;
    }
    let limits = &core.settings.limits;
    if core.requests.delays.waiting >= limits.connections_max / WAITING_PART {
        return false;
    }
    // Through a proxy it counts as a request in progress: the proxy's connections never give way to others.
    let origin = Origin { address, member: exchange.actor.map(|actor| actor.member) };
    let has_room = core.crowd.begin(conn, origin, limits.connections_per_address).is_ok();
    exchange.close |= !has_room;
    has_room
}

/// The pause is over, or ends early.
pub fn answer(core: &mut Core, conn: &mut Conn) {
    match conn.take_phase() {
        Phase::Delay { exchange, problem } => {
            forget(core, conn);
            respond::refuse(core, conn, exchange, &problem);
        }
        other => conn.phase = other,
    }
}

/// The connection does not wait any more.
pub fn forget(core: &mut Core, conn: &mut Conn) {
    core.requests.delays.waiting -= usize::from(std::mem::take(&mut conn.is_delayed));
}
