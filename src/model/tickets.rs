//! WebSocket tickets that were used: each is good once.
//!
//! A ticket is signed and not stored, so any node of a cluster takes it. Owns which were used, and for how long a ticket is good.
//! Leaves to `auth` its bytes and who gets one, to the server where one is accepted and to tell the other nodes that it was used.
//! Invariant: a process takes a ticket at most once, also if the request that presented it is refused, and none that is older than
//! itself: what was used before its start it does not know.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::id::TicketId;
use crate::base::time::Now;
use crate::limits::TICKET_TTL;

/// Tickets used within [`KEPT`], about 60 bytes each. Above: `busy`.
const USED_MAX: usize = 65_536;
/// How far the clock of the node that made a ticket may be ahead, or this one may be set back: a ticket of a later time is refused.
const AHEAD_MAX_MS: u64 = 5_000;
/// For how long a used ticket is known.
const KEPT: Duration = TICKET_TTL.saturating_add(Duration::from_millis(AHEAD_MAX_MS));

/// Tickets that were used.
#[derive(Debug)]
pub struct Tickets {
    started: Instant,
    used: BTreeSet<TicketId>,
    /// The same, and until when each is known, in the order of their use.
    by_time: VecDeque<(Instant, TicketId)>,
}

/// What a ticket is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It opens one stream, now.
    Good,
    /// It was used, or its time is over.
    Nothing,
    /// There is no room to remember its use.
    Unknown,
}

impl Tickets {
    /// Of a process that starts now.
    pub fn new(now: Now) -> Tickets {
        Tickets { started: now.instant, used: BTreeSet::new(), by_time: VecDeque::new() }
    }

    /// Uses a ticket.
    pub fn take(&mut self, ticket: TicketId, now: Now) -> Worth {
        self.expire(now);
        let (issued, ttl) = (ticket.unix_ms(), TICKET_TTL.as_millis() as u64);
        let age = now.unix_ms.since(issued);
        let up = now.instant.saturating_duration_since(self.started).as_millis() as u64;
        if age >= ttl || age > up || issued.since(now.unix_ms) > AHEAD_MAX_MS || self.used.contains(&ticket) {
            return Worth::Nothing;
        }
        if self.used.len() >= USED_MAX {
            return Worth::Unknown;
        }
        self.remember(ticket, now);
        Worth::Good
    }

    /// Another node has taken it. Without room it is not remembered: here it is good once, then.
    pub fn used_elsewhere(&mut self, ticket: TicketId, now: Now) {
        self.expire(now);
        if self.used.len() < USED_MAX {
            self.remember(ticket, now);
        }
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Now) {
        while let Some((_, ticket)) = self.by_time.front().filter(|(until, _)| *until <= now.instant) {
            self.used.remove(ticket);
            self.by_time.pop_front();
        }
    }

    fn remember(&mut self, ticket: TicketId, now: Now) {
        if self.used.insert(ticket) {
            self.by_time.push_back((now.instant + KEPT, ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::UnixMs;

    fn start() -> Now {
        Now { instant: Instant::now(), unix_ms: UnixMs(500_000) }
    }

    fn ticket(at: Now, number: u8) -> TicketId {
        TicketId::new(at.unix_ms, [number; 10])
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_while() {
        let now = start();
        let mut tickets = Tickets::new(now);
        let (a, b) = (ticket(now, 1), ticket(now, 2));
        assert_eq!((tickets.take(a, now), tickets.take(a, now)), (Worth::Good, Worth::Nothing));
        let last = now.later(TICKET_TTL - Duration::from_millis(1));
        assert_eq!((tickets.take(a, last), tickets.take(b, last)), (Worth::Nothing, Worth::Good));
        assert_eq!(tickets.take(ticket(now, 3), now.later(TICKET_TTL)), Worth::Nothing);
        tickets.expire(last.later(KEPT));
        assert!(tickets.used.is_empty() && tickets.by_time.is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_used_ticket_good_again() {
        let now = start();
        let mut tickets = Tickets::new(now);
        let later = now.later(Duration::from_secs(60));
        let used = ticket(later, 1);
        assert_eq!(tickets.take(used, later), Worth::Good);
        // 34 s later it is set back so far that the ticket would be a second old, then that it would be of the future.
        let (known, ahead) = (later.later(Duration::from_secs(34)), later.later(Duration::from_secs(36)));
        let set = |now: Now, to_ms: u64| Now { unix_ms: UnixMs(to_ms), ..now };
        assert_eq!(tickets.take(used, set(known, later.unix_ms.0 + 1_000)), Worth::Nothing);
        assert_eq!(tickets.take(used, set(ahead, later.unix_ms.0 - 5_001)), Worth::Nothing);
        // The clock of another node may be ahead.
        assert_eq!(tickets.take(used, set(ahead, later.unix_ms.0 - 5_000)), Worth::Good);
    }

    #[test]
    fn a_ticket_that_is_older_than_the_process_may_have_been_used() {
        let now = start();
        let mut tickets = Tickets::new(now.later(Duration::from_secs(1)));
        let later = now.later(Duration::from_secs(2));
        assert_eq!(tickets.take(ticket(now, 1), later), Worth::Nothing);
        assert_eq!(tickets.take(ticket(now.later(Duration::from_secs(1)), 1), later), Worth::Good);
    }

    #[test]
    fn what_another_node_has_taken_is_used() {
        let now = start();
        let mut tickets = Tickets::new(now);
        tickets.used_elsewhere(ticket(now, 1), now);
        tickets.used_elsewhere(ticket(now, 1), now);
        assert_eq!((tickets.take(ticket(now, 1), now), tickets.by_time.len()), (Worth::Nothing, 1));
    }

    #[test]
    fn the_used_ones_are_bounded() {
        let now = start();
        let mut tickets = Tickets::new(now);
        for n in 0..USED_MAX as u128 {
            assert_eq!(tickets.take(TicketId::from_u128(ticket(now, 0).to_u128() + n), now), Worth::Good);
        }
        let more = ticket(now, 9);
        tickets.used_elsewhere(more, now);
        assert_eq!((tickets.take(more, now), tickets.used.len()), (Worth::Unknown, USED_MAX));
        let later = now.later(KEPT);
        assert_eq!(tickets.take(ticket(later, 9), later), Worth::Good);
    }
}
