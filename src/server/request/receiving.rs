//! Bytes of incomplete requests and WebSocket messages: how many all connections together may hold, and which give way above
//! that.
//!
//! Owns the two sums; the connections own the bytes. Uploads have other bounds, since their bytes go to the disk.
//!
//! Anonymous requests share one pool, those of members another. In a full pool the network (or the member) that holds the most
//! gives way, its largest request first: a sign-in is some hundred bytes, and never the largest one.
//!
//! Invariant: a pool is over its bound only while an input is handled.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::network::Prefix;
use crate::limits::Limits;
use crate::model::id::MemberId;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::ConnId;
use crate::server::request::routes::BodyKind;

/// Bytes of anonymous requests. Above: 503 `busy` for the largest request of the network that holds the most.
const STRANGERS_BYTES_MAX: usize = 16_777_216;
/// Bytes of the requests of members. Above: the same by member.
const MEMBERS_BYTES_MAX: usize = 67_108_864;
/// How many requests or messages of the greatest length a pool has room for at least, for any configured length.
const WHOLE_REQUESTS_MIN: usize = 16;

/// Whose the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Network(Prefix),
    Account(MemberId),
}

impl Holder {
    fn pool(self) -> usize {
        match self {
            Holder::Network(_) => 0,
            Holder::Account(_) => 1,
        }
    }
}

#[derive(Debug, Default)]
pub struct Receiving {
    pools: [Pool; 2],
}

/// What the connections of one pool hold, in an order in which the next one that gives way is found at once.
#[derive(Debug, Default)]
struct Pool {
    bytes: usize,
    shares: BTreeMap<Holder, Share>,
    /// The holders by what they hold.
    by_bytes: BTreeSet<(usize, Holder)>,
}

#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    conns: BTreeSet<(usize, ConnId)>,
}

impl Receiving {
    /// Counts what a connection holds, after any input.
    pub fn update(&mut self, conn: &mut Conn) {
        let held = held(conn);
        if held != conn.held.as_deref().copied() {
            self.forget(conn);
            if let Some((holder, bytes)) = held {
                self.pools[holder.pool()].add(holder, conn.id, bytes);
            }
            conn.held = held.map(Box::new);
        }
    }

    pub fn forget(&mut self, conn: &mut Conn) {
        if let Some((holder, bytes)) = conn.held.take().map(|held| *held) {
            self.pools[holder.pool()].remove(holder, conn.id, bytes);
        }
    }

    /// The connection that gives way; `None` unless a pool is over its bound.
    pub fn victim(&self, limits: &Limits) -> Option<ConnId> {
        let request_max = limits.head_max.max(limits.json_body_max);
        // Only members have WebSockets.
        let bounds =
            [(STRANGERS_BYTES_MAX, request_max), (MEMBERS_BYTES_MAX, request_max.max(limits.ws_message_max))];
        self.pools.iter().zip(bounds).find_map(|(pool, (bytes_max, whole_max))| {
            let is_full = pool.bytes > bytes_max.max(whole_max.saturating_mul(WHOLE_REQUESTS_MIN));
            is_full.then(|| pool.largest())?
        })
    }
}

impl Pool {
    fn add(&mut self, holder: Holder, conn: ConnId, bytes: usize) {
        let share = self.shares.entry(holder).or_default();
        self.by_bytes.remove(&(share.bytes, holder));
        share.bytes += bytes;
        share.conns.insert((bytes, conn));
        self.by_bytes.insert((share.bytes, holder));
        self.bytes += bytes;
    }

    fn remove(&mut self, holder: Holder, conn: ConnId, bytes: usize) {
        let Some(share) = self.shares.get_mut(&holder) else { return };
        self.by_bytes.remove(&(share.bytes, holder));
        share.bytes -= bytes;
        share.conns.remove(&(bytes, conn));
        if share.conns.is_empty() {
            self.shares.remove(&holder);
        } else {
            self.by_bytes.insert((share.bytes, holder));
        }
        self.bytes -= bytes;
    }

    /// The largest request of the holder that has the most.
    fn largest(&self) -> Option<ConnId> {
        let (_, holder) = self.by_bytes.last()?;
        self.shares.get(holder)?.conns.last().map(|(_, conn)| *conn)
    }
}

/// How many bytes of incomplete requests a connection holds, and for whom. A buffer counts with its capacity. What an echo of the
/// conformance build holds does not count: 16 of its bodies would make the pools of all others as large.
fn held(conn: &Conn) -> Option<(Holder, usize)> {
    let mut bytes = conn.inbox.capacity();
    let mut address = conn.peer;
    let mut account = None;
    match &conn.phase {
        Phase::ReadBody(reading) => {
            let is_echo = reading.exchange.route.is_some_and(|route| route.body == BodyKind::Any);
            bytes += if is_echo { 0 } else { reading.body.capacity() };
            address = reading.exchange.client.address;
            account = reading.exchange.actor.map(|actor| actor.member);
        }
        // Fragments of a message, or one that arrives slowly.
        Phase::Stream(kind) => {
            if let Some(stream) = kind.websocket() {
                bytes += stream.ws.memory();
                address = stream.client.address;
                account = Some(stream.actor.member);
            }
        }
        Phase::Await { exchange, .. } => {
            address = exchange.client.address;
            account = exchange.actor.map(|actor| actor.member);
        }
        // Until its refusal is due it keeps its head.
        Phase::Delay { exchange, .. } => {
            bytes += exchange.head.memory();
            address = exchange.client.address;
            account = exchange.actor.map(|actor| actor.member);
        }
        _ => {}
    }
    let holder = account.map_or(Holder::Network(Prefix::outermost(address)), Holder::Account);
    (bytes > 0).then_some((holder, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn the_largest_request_of_the_largest_holder_gives_way() {
        let network = |text: &str| Holder::Network(Prefix::outermost(text.parse().expect("an address")));
        let (a, b, c) = (network("192.0.2.1"), network("2001:db8::1"), network("198.51.100.1"));
        let mut pool = Pool::default();
        let all = [(a, 300), (b, 60_000), (b, 9_000), (c, 40_000), (c, 50_000)];
        for (id, (holder, bytes)) in all.into_iter().enumerate() {
            pool.add(holder, ConnId(id as u64), bytes);
        }
        let mut victims = Vec::new();
        while let Some(id) = pool.largest() {
            let (holder, bytes) = all[id.0 as usize];
            pool.remove(holder, id, bytes);
            victims.push(id.0);
        }
        assert_eq!(victims, [4, 1, 3, 2, 0], "90,000 are of one network");
        assert!(pool.bytes == 0 && pool.shares.is_empty() && pool.by_bytes.is_empty());
    }

    #[test]
    fn a_pool_has_room_for_some_of_the_largest_requests() {
        let mut receiving = Receiving::default();
        let holder = Holder::Account(Id::from_u128(1));
        receiving.pools[1].add(holder, ConnId(7), MEMBERS_BYTES_MAX);
        assert_eq!(receiving.victim(&Limits::default()), None, "at the bound");
        receiving.pools[1].add(holder, ConnId(8), 1);
        assert_eq!(receiving.victim(&Limits::default()), Some(ConnId(7)));
        let large = MEMBERS_BYTES_MAX / WHOLE_REQUESTS_MIN + 1;
        for limits in [
            Limits { head_max: large, ..Limits::default() },
            Limits { json_body_max: large, ..Limits::default() },
            Limits { ws_message_max: large, ..Limits::default() },
        ] {
            assert_eq!(receiving.victim(&limits), None);
        }
        let stranger = Holder::Network(Prefix::outermost("192.0.2.1".parse().expect("an address")));
        receiving.pools[0].add(stranger, ConnId(9), STRANGERS_BYTES_MAX + 1);
        let limits = Limits { ws_message_max: large, ..Limits::default() };
        assert_eq!(receiving.victim(&limits), Some(ConnId(9)), "a stranger has no WebSocket");
    }
}
