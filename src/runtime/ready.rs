//! The order in which sockets with something to read are read, so that a flood from one network delays no other network.
//!
//! Owns the order; the loop owns the sockets. Members' connections alternate with all others. Within both, networks take
//! turns at both sizes of [`Prefix::networks`], and within a network the oldest socket is first.
//! Invariant: a socket is in the queue at most once (`Socket::listed`), and each network in the queue has a socket to read.

use crate::base::network::Prefix;
use crate::base::turns::Turns;
use crate::server::contract::ConnId;

#[derive(Debug, Default)]
pub struct Ready {
    members: Turns<Prefix, ConnId>,
    others: Turns<Prefix, ConnId>,
    /// Which of the two is next when both have something.
    members_next: bool,
}

impl Ready {
    pub fn push(&mut self, conn: ConnId, networks: [Prefix; 2], is_member: bool) {
        let turns = if is_member { &mut self.members } else { &mut self.others };
        turns.push(&networks, conn);
    }

    pub fn pop(&mut self) -> Option<ConnId> {
        let (first, second) = if self.members_next {
            (&mut self.members, &mut self.others)
        } else {
            (&mut self.others, &mut self.members)
        };
        self.members_next = !self.members_next;
        first.pop().or_else(|| second.pop())
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_served_in_turn_and_members_alternate_with_all_others() {
        let network = |text: &str| Prefix::networks(text.parse().expect("an address"));
        let mut ready = Ready::default();
        (0..4).for_each(|conn| ready.push(ConnId(conn), network("192.0.2.1"), false));
        ready.push(ConnId(4), network("192.0.2.77"), false);
        ready.push(ConnId(5), network("198.51.100.1"), false);
        (6..9).for_each(|conn| ready.push(ConnId(conn), network("2001:db8::1"), true));
        ready.push(ConnId(9), network("192.0.2.1"), true);
        let served: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|conn| conn.0).collect();
        assert_eq!(served, [0, 6, 5, 9, 1, 7, 2, 8, 3, 4]);
        assert!(ready.is_empty() && ready.pop().is_none());
    }
}
