//! Bytes of incomplete requests: how many all connections together may hold, and which requests give way above that.
//!
//! Owns the two sums; the connections own the bytes. Uploads have other bounds, since their bytes go to the disk.
//!
//! Anonymous requests share one pool, those of members another. In a full pool the network (or the member) that holds the most
//! gives way, its largest request first: a sign-in is some hundred bytes, and never the largest one.
//!
//! Invariant: a pool is over its bound only while an input is handled.

use std::collections::{BTreeMap, BinaryHeap};

use crate::base::network::Prefix;
use crate::model::id::MemberId;
use crate::server::conn::{Conn, Conns, Phase};
use crate::server::contract::ConnId;

/// Bytes of anonymous requests. Above: 503 `busy` for the largest request of the network that holds the most.
const STRANGERS_BYTES_MAX: usize = 16_777_216;
/// Bytes of the requests of members. Above: the same by member.
const MEMBERS_BYTES_MAX: usize = 67_108_864;
/// How many requests of the greatest length a pool has room for at least, for any configured length.
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
    held: [usize; 2],
}

impl Receiving {
    /// Counts what a connection holds, after any input.
    pub fn update(&mut self, conn: &mut Conn) {
        let held = held(conn);
        if held != conn.held {
            self.forget(conn);
            if let Some((holder, bytes)) = held {
                self.held[holder.pool()] += bytes;
            }
            conn.held = held;
        }
    }

    pub fn forget(&mut self, conn: &mut Conn) {
        if let Some((holder, bytes)) = conn.held.take() {
            self.held[holder.pool()] -= bytes;
        }
    }

    /// The connections that give way so that both pools are a quarter below their bounds again; none unless a pool is full.
    /// `request_max` is the length of the largest request.
    pub fn victims(&self, conns: &Conns, request_max: usize) -> Vec<ConnId> {
        let mut victims = Vec::new();
        for (pool, max) in [STRANGERS_BYTES_MAX, MEMBERS_BYTES_MAX].into_iter().enumerate() {
            let max = max.max(request_max.saturating_mul(WHOLE_REQUESTS_MIN));
            if self.held[pool] > max {
                let excess = self.held[pool] - max / 4 * 3;
                victims.extend(largest(
                    conns.iter().filter_map(|conn| Some((conn.id, conn.held?))),
                    pool,
                    excess,
                ));
            }
        }
        victims
    }
}

/// How many bytes of incomplete requests a connection holds, and for whom. A buffer counts with its capacity.
fn held(conn: &Conn) -> Option<(Holder, usize)> {
    let mut bytes = conn.inbox.capacity();
    let mut address = conn.peer;
    let mut account = None;
    match &conn.phase {
        Phase::ReadBody(reading) => {
            bytes += reading.body.capacity();
            address = reading.exchange.client.address;
            account = reading.exchange.actor.map(|actor| actor.member);
        }
        Phase::Await { exchange, .. } => {
            address = exchange.client.address;
            account = exchange.actor.map(|actor| actor.member);
        }
        _ => {}
    }
    let holder = account.map_or(Holder::Network(Prefix::outermost(address)), Holder::Account);
    (bytes > 0).then_some((holder, bytes))
}

/// The largest requests, each of the holder that has the most then, until they are `excess` bytes together.
fn largest(held: impl Iterator<Item = (ConnId, (Holder, usize))>, pool: usize, excess: usize) -> Vec<ConnId> {
    let mut of_holder: BTreeMap<Holder, Vec<(usize, ConnId)>> = BTreeMap::new();
    for (id, (holder, bytes)) in held.filter(|(_, (holder, _))| holder.pool() == pool) {
        of_holder.entry(holder).or_default().push((bytes, id));
    }
    let mut most: BinaryHeap<(usize, Holder)> = BinaryHeap::new();
    for (holder, requests) in &mut of_holder {
        requests.sort_unstable();
        most.push((requests.iter().map(|(bytes, _)| bytes).sum(), *holder));
    }
    let (mut victims, mut freed) = (Vec::new(), 0);
    while freed < excess
        && let Some((sum, holder)) = most.pop()
    {
        if let Some((bytes, id)) = of_holder.get_mut(&holder).and_then(Vec::pop) {
            victims.push(id);
            freed += bytes;
            most.push((sum - bytes, holder));
        }
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn the_largest_requests_of_the_largest_holder_give_way() {
        let network = |text: &str| Holder::Network(Prefix::outermost(text.parse().expect("an address")));
        let (a, b, c) = (network("192.0.2.1"), network("2001:db8::1"), network("198.51.100.1"));
        let all = [
            (a, 300),
            (b, 60_000),
            (b, 9_000),
            (c, 40_000),
            (c, 50_000),
            (Holder::Account(Id::from_u128(1)), 99_000),
        ];
        let held = || all.iter().enumerate().map(|(id, it)| (ConnId(id as u64), *it));
        let victims = |excess| largest(held(), 0, excess).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(victims(0), [0; 0]);
        assert_eq!(victims(1), [4], "90,000 are of one network");
        assert_eq!(victims(60_000), [4, 1]);
        assert_eq!(victims(120_000), [4, 1, 3]);
        assert_eq!(victims(1_000_000).len(), 5, "an account's bytes are in another pool");
    }
}
