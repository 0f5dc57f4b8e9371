//! Accepted connections that the server has not yet got, round-robin by network ([`Prefix::networks`]): the kernel's queue is first in,
//! first out, and thousands of connections of one network would delay all others.
//!
//! Owns the order, and which connection is closed when too many wait. The loop's `accept` adds all that the kernel has, since accepting
//! costs little; its `admit` gives them to the server.
//! Invariant: a connection of a trusted proxy is never closed here, because it carries the requests of many people.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::socket::Stream;
use crate::base::network::Prefix;
use crate::base::turns::Turns;
use crate::server::contract::ListenerKind;

/// The most connections that wait. One more closes the newest of the network with the most.
pub const ARRIVALS_MAX: usize = 1_024;
/// Connections of trusted proxies that wait. Above: nothing is accepted until one of them has been given to the server.
const PROXIED_MAX: usize = 1_024;

/// One accepted connection.
pub struct Arrival {
    pub stream: Stream,
    pub peer: IpAddr,
    pub listener_kind: ListenerKind,
}

#[derive(Default)]
pub struct Arrivals {
    clients: Turns<Prefix, Arrival>,
    proxied: VecDeque<Arrival>,
    /// Whether `proxied` is next if both have something: they alternate.
    proxied_next: bool,
}

impl Arrivals {
    pub fn has_room(&self) -> bool {
        self.proxied.len() < PROXIED_MAX
    }

    /// Adds a connection. Returns the one that is closed for it.
    pub fn push(&mut self, arrival: Arrival, is_proxy: bool) -> Option<Arrival> {
        if is_proxy {
            self.proxied.push_back(arrival);
            return None;
        }
        self.clients.push(&Prefix::networks(arrival.peer), arrival);
        (self.clients.len() > ARRIVALS_MAX).then(|| self.clients.drop_newest())?
    }

    pub fn pop(&mut self) -> Option<Arrival> {
        self.proxied_next = !self.proxied_next;
        if self.proxied_next {
            self.clients.pop().or_else(|| self.proxied.pop_front())
        } else {
            self.proxied.pop_front().or_else(|| self.clients.pop())
        }
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.proxied.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;

    fn arrival(peer: &str) -> Arrival {
        let (stream, _) = UnixStream::pair().expect("a pair");
        let peer = peer.parse().expect("an address");
        Arrival { stream: Stream::Unix(stream), peer, listener_kind: ListenerKind::Public }
    }

    #[test]
    fn networks_and_proxies_come_in_turn() {
        let mut arrivals = Arrivals::default();
        let peers = ["192.0.2.1", "192.0.2.2", "192.0.3.3", "198.51.100.1", "2001:db8::1"];
        for peer in peers {
            assert!(arrivals.push(arrival(peer), false).is_none());
        }
        (0..3).for_each(|_| assert!(arrivals.push(arrival("127.0.0.1"), true).is_none()));
        let order: Vec<String> =
            std::iter::from_fn(|| arrivals.pop()).map(|it| it.peer.to_string()).collect();
        let expect = [
            "192.0.2.1",
            "127.0.0.1",
            "198.51.100.1",
            "127.0.0.1",
            "2001:db8::1",
            "127.0.0.1",
            "192.0.3.3",
            "192.0.2.2",
        ];
        assert_eq!(order, expect);
        assert!(arrivals.is_empty());
    }

    #[test]
    fn above_the_bound_the_newest_of_the_largest_network_is_closed_and_no_proxy() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.push(arrival("198.51.100.1"), false).is_none());
        for number in 1..ARRIVALS_MAX {
            let peer = format!("192.0.2.{}", number % 250);
            assert!(arrivals.push(arrival(&peer), false).is_none());
        }
        let closed = arrivals.push(arrival("203.0.113.1"), false).expect("it is full");
        assert_eq!(
            Prefix::outermost(closed.peer),
            Prefix::outermost("192.0.2.9".parse().expect("an address"))
        );
        for _ in 0..PROXIED_MAX {
            assert!(arrivals.has_room() && arrivals.push(arrival("127.0.0.1"), true).is_none());
        }
        assert!(!arrivals.has_room());
        arrivals.pop();
        arrivals.pop();
        assert!(arrivals.has_room());
    }
}
