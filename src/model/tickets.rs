//! WebSocket tickets: one-time credentials for clients that can't set headers.
//!
//! A ticket is valid for one use within half a minute. Tickets are in memory only, so they end with the process. Owns their
//! look-up; leaves to `auth` who gets one, and to the server where one is accepted.
//! Invariant: a ticket is found at most once, also if the request that presented it is refused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::handler::Actor;
use super::id::MemberId;
use crate::base::crypto::sha256;
use crate::base::time::Now;
use crate::limits::TICKET_TTL;

/// Unused WebSocket tickets of one member. Above: the oldest of them becomes invalid.
const TICKETS_OF_MEMBER_MAX: usize = 32;
/// Unused WebSocket tickets in all, about 150 bytes each; they expire within seconds. Above: `busy`.
const TICKETS_MAX: usize = 65_536;

/// SHA-256 of a ticket: the time of a look-up by hash discloses nothing about the ticket.
type Key = [u8; 32];

/// Tickets that wait to be used.
#[derive(Debug, Default)]
pub struct Tickets {
    by_key: BTreeMap<Key, (Actor, Instant)>,
    /// Of each member, oldest first.
    of_member: BTreeMap<MemberId, Vec<Key>>,
    /// All that were issued, by expiry; those that were used in the meantime are still here.
    expiries: VecDeque<(Instant, Key)>,
}

/// There is no room for one more ticket.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Tickets {
    /// Stores a ticket. A member with too many loses the oldest.
    pub fn issue(&mut self, ticket: &str, actor: Actor, now: Now) -> Result<(), Full> {
        self.expire(now);
        if self.expiries.len() >= TICKETS_MAX {
            return Err(Full);
        }
        let (key, expires) = (sha256(ticket.as_bytes()), now.instant + TICKET_TTL);
        let own = self.of_member.entry(actor.member).or_default();
        if own.len() >= TICKETS_OF_MEMBER_MAX {
            self.by_key.remove(&own.remove(0));
        }
        own.push(key);
        self.by_key.insert(key, (actor, expires));
        self.expiries.push_back((expires, key));
        Ok(())
    }

    /// Uses a ticket: it is not found again.
    pub fn take(&mut self, ticket: &str, now: Now) -> Option<Actor> {
        let (actor, expires) = self.remove(&sha256(ticket.as_bytes()))?;
        (expires > now.instant && actor.expires > now.unix_s()).then_some(actor)
    }

    /// How many tickets can still be used.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Forgets what has expired.
    pub fn expire(&mut self, now: Now) {
        while let Some((_, key)) =
            self.expiries.front().copied().filter(|(expires, _)| *expires <= now.instant)
        {
            self.expiries.pop_front();
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<(Actor, Instant)> {
        let found = self.by_key.remove(key)?;
        let member = found.0.member;
        if let Some(own) = self.of_member.get_mut(&member) {
            own.retain(|other| other != key);
            if own.is_empty() {
                self.of_member.remove(&member);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::id::Id;
    use crate::base::time::{UnixMs, UnixS};

    fn actor(member: u128) -> Actor {
        Actor {
            member: Id::from_u128(member),
            profile: Id::from_u128(2),
            session: Id::from_u128(3),
            expires: UnixS(1_000),
        }
    }

    fn start() -> Now {
        Now { instant: Instant::now(), unix_ms: UnixMs(500_000) }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_while() {
        let (mut tickets, now) = (Tickets::default(), start());
        tickets.issue("a", actor(1), now).expect("room");
        tickets.issue("b", actor(1), now).expect("room");
        assert_eq!(tickets.take("c", now), None);
        assert_eq!(tickets.take("a", now), Some(actor(1)));
        assert_eq!(tickets.take("a", now), None);
        let last = now.later(TICKET_TTL - Duration::from_millis(1));
        tickets.issue("c", actor(1), now).expect("room");
        assert_eq!(tickets.take("b", last), Some(actor(1)));
        assert_eq!(tickets.take("c", now.later(TICKET_TTL)), None);
        assert!(tickets.is_empty() && tickets.of_member.is_empty());
    }

    #[test]
    fn a_ticket_outlives_no_token() {
        let (mut tickets, now) = (Tickets::default(), Now { unix_ms: UnixMs(990_000), ..start() });
        tickets.issue("a", actor(1), now).expect("room");
        assert_eq!(tickets.take("a", now.later(Duration::from_secs(10))), None);
    }

    #[test]
    fn tickets_are_bounded_by_member_and_in_all() {
        let (mut tickets, now) = (Tickets::default(), start());
        for n in 0..=TICKETS_OF_MEMBER_MAX {
            tickets.issue(&n.to_string(), actor(1), now).expect("room");
        }
        assert_eq!((tickets.take("0", now), tickets.take("1", now)), (None, Some(actor(1))));
        let mut tickets = Tickets::default();
        for n in 0..TICKETS_MAX {
            tickets.issue(&n.to_string(), actor(n as u128), now).expect("room");
        }
        assert_eq!(tickets.issue("more", actor(1), now), Err(Full));
        let later = now.later(TICKET_TTL);
        assert_eq!(tickets.issue("more", actor(1), later), Ok(()));
        assert_eq!((tickets.len(), tickets.expiries.len()), (1, 1));
    }
}
