//! How much memory the send queues of one address, and of the process, hold together.
//!
//! Each queue has a bound of its own, but a thousand readers that never read would hold a thousand times that. Owns the sums
//! and the choice of which connections close; leaves the closing to `server`.
//! Invariant: the sums are those of `Conn::charged`, which follows the queue after every step of its connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::network::Prefix;
use crate::limits::MemoryShares;
use crate::server::contract::ConnId;

/// Between the moment a bound is passed and the closing: by then, what was queued for peers that read is written.
const GRACE: Duration = Duration::from_millis(50);

pub struct Backlog {
    /// Bytes of all queues. Above: the largest are closed.
    max: usize,
    /// Bytes of the queues of one address; less, so that it does not close the streams of all others.
    of_address_max: usize,
    total: usize,
    by_address: BTreeMap<Prefix, usize>,
    /// When to check again, after a bound was passed.
    look_at: Option<Instant>,
}

/// What one connection holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub conn: ConnId,
    pub address: Option<Prefix>,
    pub bytes: usize,
}

impl Backlog {
    pub fn new(memory: &MemoryShares) -> Backlog {
        let (max, of_address_max) = (memory.queues, memory.queues_of_address);
        Backlog { max, of_address_max, total: 0, by_address: BTreeMap::new(), look_at: None }
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// A queue held `before` bytes and holds `after` now.
    pub fn change(&mut self, address: Option<Prefix>, before: usize, after: usize, now: Instant) {
        self.total = self.total - before + after;
        let mut is_over = self.total > self.max;
        if let Some(address) = address {
            let sum = self.by_address.entry(address).or_default();
            *sum = *sum - before + after;
            is_over |= *sum > self.of_address_max;
            if *sum == 0 {
                self.by_address.remove(&address);
            }
        }
        if is_over && self.look_at.is_none() {
            self.look_at = Some(now + GRACE);
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether it is time to check again; then [`Backlog::beyond`] names the connections to close.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.look_at.take_if(|at| *at <= now).is_some()
    }

    /// The connections to close so that every sum is within its bound again: the largest first.
    pub fn beyond(&self, mut all: Vec<Held>) -> Vec<ConnId> {
        all.sort_unstable_by_key(|held| std::cmp::Reverse((held.bytes, held.conn)));
        let (mut total, mut by_address) = (self.total, self.by_address.clone());
        let mut go = Vec::new();
        for Held { conn, address, bytes } in all {
            let sum = address.and_then(|address| by_address.get_mut(&address));
            if total <= self.max && sum.as_ref().is_none_or(|sum| **sum <= self.of_address_max) {
                continue;
            }
            total -= bytes;
            sum.into_iter().for_each(|sum| *sum -= bytes);
            go.push(conn);
        }
        go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1_048_576;

    #[test]
    fn the_largest_go_first_and_no_more_than_have_to() {
        let address = |last| Some(Prefix::innermost(std::net::IpAddr::from([192, 0, 2, last])));
        let now = Instant::now();
        let check = |held: &[(Option<Prefix>, usize)], expect: &[u64]| {
            let mut backlog = Backlog::new(&MemoryShares::default());
            let all: Vec<Held> = (0..)
                .zip(held)
                .map(|(conn, (address, bytes))| Held { conn: ConnId(conn), address: *address, bytes: *bytes })
                .collect();
            all.iter().for_each(|held| backlog.change(held.address, 0, held.bytes, now));
            assert_eq!(backlog.next_deadline().is_some(), !expect.is_empty());
            assert!(!backlog.is_due(now), "who reads gets what waits first");
            assert_eq!(backlog.is_due(now + GRACE), !expect.is_empty());
            let go: Vec<u64> = backlog.beyond(all.clone()).into_iter().map(|conn| conn.0).collect();
            assert_eq!(go, expect);
            all.iter().for_each(|held| backlog.change(held.address, held.bytes, 0, now));
            assert_eq!((backlog.total(), backlog.by_address.len()), (0, 0));
        };
        check(&[(address(1), 32 * MIB), (address(2), 32 * MIB), (None, 64 * MIB)], &[]);
        // One address: its own, however large another's is.
        check(&[(address(1), 20 * MIB), (address(1), 13 * MIB), (address(2), 31 * MIB)], &[0]);
        check(&[(address(1), 1), (address(1), 20 * MIB), (address(1), 13 * MIB)], &[1]);
        // The process: the largest of all.
        check(&[(address(1), 30 * MIB), (None, 60 * MIB), (None, 39 * MIB)], &[1]);
    }
}
