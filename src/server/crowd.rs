//! Which connections may be open: counts by address prefix, and which one gives way when all are in use.
//!
//! Owns the counts, also those of the streams and requests that trusted proxies bring of one address or member. Leaves the
//! closing of connections to `server`.
//!
//! A new connection takes a free slot; else that of the anonymous connection that was not useful for longest; else that of
//! the longest idle one of a member; else that of the member's request that has been incomplete for longest. Streams and
//! complete requests keep theirs: if these use all slots, new connections are refused. A connection is useful when it comes
//! and when it has been answered: bytes of a request that never ends do not count. The connections of a trusted proxy never
//! give way. Instead, while they are many, each closes after its answer: a proxy may keep an idle one for each of its clients.
//!
//! Invariant: no bound ever stops the server from accepting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::network::Prefix;
use crate::limits::ACCEPTS_TURN_MAX;
use crate::model::id::MemberId;
use crate::model::problem::{Code, Problem};
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{ConnId, ListenerKind};

/// How many times CONNECTIONS_PER_ADDRESS a prefix around a subscriber's may have open, by [`Prefix::width`].
const WIDER: [usize; 3] = [1, 2, 4];

/// Refused connections that wait until their peer has read why. Above: the oldest is closed. They don't count in
/// CONNECTIONS_MAX.
const REFUSED_MAX: usize = 256;
// A refusal must be written before it is closed, so those of one turn must fit.
const _: () = assert!(REFUSED_MAX >= ACCEPTS_TURN_MAX);

/// How long a refused peer has to read why.
pub const REFUSED_LINGER: Duration = Duration::from_secs(2);

/// After how many milliseconds the next try may succeed.
const RETRY_MS: u64 = 1_000;

/// The part of CONNECTIONS_MAX that idle connections of trusted proxies may use, as a divisor: above it each closes after its
/// answer.
const PROXIED_IDLE_PART: usize = 2;

/// Which connections give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No request on it had a good access token.
    Stranger,
    /// It is idle; a member's request came on it before.
    Member,
    /// It is receiving a member's request.
    Sender,
}

/// The client whose request a trusted proxy brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub address: IpAddr,
    pub member: Option<MemberId>,
}

#[derive(Debug, Default)]
pub struct Crowd {
    open: BTreeMap<Prefix, usize>,
    /// Connections that may be closed for others, those that give way first at the front.
    yielding: BTreeSet<(Standing, Instant, ConnId)>,
    refused: VecDeque<ConnId>,
    /// Open connections of trusted proxies.
    proxied: usize,
    /// Streams and requests in progress through trusted proxies.
    by_address: BTreeMap<Prefix, usize>,
    by_member: BTreeMap<MemberId, usize>,
}

impl Crowd {
    /// Whether this address may open one more connection.
    pub fn has_room(&self, peer: IpAddr, per_address: usize) -> bool {
        has_room(&self.open, peer, per_address)
    }

    /// One more connection is open.
    pub fn enter(&mut self, conn: &Conn) {
        count(&mut self.open, conn.peer);
        self.proxied += usize::from(conn.is_proxy);
    }

    /// Whether a trusted proxy's connection should close after its answer. The answer says so, so no request is lost.
    pub fn closes_after_answer(&self, conn: &Conn, connections_max: usize) -> bool {
        conn.is_proxy && self.proxied > connections_max / PROXIED_IDLE_PART
    }

    /// Removes everything that was kept for a connection.
    pub fn leave(&mut self, conn: &mut Conn) {
        self.done(conn);
        self.forget_yielding(conn);
        if conn.is_refused {
            self.refused.retain(|id| *id != conn.id);
        } else {
            uncount(&mut self.open, conn.peer);
            self.proxied -= usize::from(conn.is_proxy);
        }
    }

    /// Adds a connection that is open only to read its refusal; returns the one that must close for it.
    pub fn refuse(&mut self, conn: ConnId) -> Option<ConnId> {
        self.refused.push_back(conn);
        (self.refused.len() > REFUSED_MAX).then(|| self.refused.front().copied())?
    }

    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// The connection that gives way to a new one.
    pub fn first_to_yield(&self) -> Option<ConnId> {
        self.yielding.first().map(|(_, _, id)| *id)
    }

    /// Records whether a connection would give way; called after every step of the connection.
    pub fn update(&mut self, conn: &mut Conn) {
        let standing = standing(conn);
        if standing == conn.yielding {
            return;
        }
        self.forget_yielding(conn);
        if let Some((standing, at)) = standing {
            self.yielding.insert((standing, at, conn.id));
        }
        conn.yielding = standing;
    }

    fn forget_yielding(&mut self, conn: &mut Conn) {
        if let Some((standing, at)) = conn.yielding.take() {
            self.yielding.remove(&(standing, at, conn.id));
        }
    }

    /// A request of a trusted proxy is admitted: it counts until its answer, or as long as its stream. An address and a member
    /// may each have as many as an address may have connections.
    pub fn begin(&mut self, conn: &mut Conn, origin: Origin, per_address: usize) -> Result<(), Problem> {
        if !conn.is_proxy {
            return Ok(());
        }
        self.done(conn);
        let of_member = origin.member.and_then(|member| self.by_member.get(&member)).copied().unwrap_or(0);
        if of_member >= per_address || !has_room(&self.by_address, origin.address, per_address) {
            return Err(Problem::rate_limited(RETRY_MS));
        }
        count(&mut self.by_address, origin.address);
        if let Some(member) = origin.member {
            *self.by_member.entry(member).or_default() += 1;
        }
        conn.origin = Some(Box::new(origin));
        Ok(())
    }

    /// The request has its answer.
    pub fn done(&mut self, conn: &mut Conn) {
        let Some(origin) = conn.origin.take() else { return };
        let Origin { address, member } = *origin;
        uncount(&mut self.by_address, address);
        if let Some(member) = member {
            decrease(&mut self.by_member, member);
        }
    }
}

/// The refusal when all connections are in use.
pub fn full() -> Problem {
    Code::Busy.into()
}

/// The refusal when an address has as many connections as it may have.
pub fn too_many() -> Problem {
    Problem::rate_limited(RETRY_MS)
}

/// Whether a connection would give way, and since when it has not been useful.
fn standing(conn: &Conn) -> Option<(Standing, Instant)> {
    if conn.is_proxy || conn.is_refused || conn.listener_kind == ListenerKind::Control {
        return None;
    }
    let stranger = Some((Standing::Stranger, conn.useful_at));
    match &conn.phase {
        Phase::ReadHead { .. } | Phase::Drain { .. } | Phase::Linger { .. } | Phase::Delay { .. }
            if !conn.has_account =>
        {
            stranger
        }
        Phase::ReadBody(reading) if !conn.has_account && reading.exchange.actor.is_none() => stranger,
        Phase::ReadHead { since: None, .. } if conn.inbox.is_empty() && conn.send.is_empty() => {
            Some((Standing::Member, conn.useful_at))
        }
        // One member with many addresses could otherwise use all slots with requests that it never completes.
        Phase::ReadHead { since: Some(since), .. } => Some((Standing::Sender, *since)),
        Phase::ReadBody(reading) => Some((Standing::Sender, reading.exchange.started)),
        Phase::Delay { exchange, .. } => Some((Standing::Sender, exchange.started)),
        _ => None,
    }
}

fn has_room(counts: &BTreeMap<Prefix, usize>, address: IpAddr, own: usize) -> bool {
    Prefix::around(address)
        .all(|prefix| counts.get(&prefix).copied().unwrap_or(0) < own.saturating_mul(WIDER[prefix.width()]))
}

fn count(counts: &mut BTreeMap<Prefix, usize>, address: IpAddr) {
    Prefix::around(address).for_each(|prefix| *counts.entry(prefix).or_default() += 1);
}

fn uncount(counts: &mut BTreeMap<Prefix, usize>, address: IpAddr) {
    Prefix::around(address).for_each(|prefix| decrease(counts, prefix));
}

fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
