//! The flow to which the reads of each connection belong, and which of them are in flight.
//!
//! Owns both for as long as a connection is open. Leaves the order of reads to the runtime.
//! Invariant: a ticket is listed from its question to its answer, so that a read that no client waits for can be cancelled.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::operation::Flow;
use crate::server::contract::{ConnId, Ticket};

/// The anonymous readers of an IPv6 prefix of this length share one flow: it is what one site is given.
const V6_PREFIX: u32 = 48;
/// The same for IPv4: the smallest network that is routed.
const V4_PREFIX: u32 = 24;

#[derive(Default)]
pub struct Reads {
    of: BTreeMap<ConnId, Reader>,
}

struct Reader {
    flow: Flow,
    under_way: Vec<Ticket>,
}

impl Reads {
    /// From now on this connection's reads are of this flow.
    pub fn set(&mut self, conn: ConnId, flow: Flow) {
        self.of.entry(conn).or_insert(Reader { flow, under_way: Vec::new() }).flow = flow;
    }

    /// Lists a read; returns its flow.
    pub fn asked(&mut self, conn: ConnId, ticket: Ticket) -> Flow {
        let Some(reader) = self.of.get_mut(&conn) else { return Flow::SERVER };
        reader.under_way.push(ticket);
        reader.flow
    }

    pub fn answered(&mut self, conn: ConnId, ticket: Ticket) {
        let Some(reader) = self.of.get_mut(&conn) else { return };
        if let Some(index) = reader.under_way.iter().position(|asked| *asked == ticket) {
            reader.under_way.swap_remove(index);
        }
        if reader.under_way.is_empty() && reader.under_way.capacity() > 8 {
            reader.under_way = Vec::new();
        }
    }

    /// Forgets a connection that was closed; returns the reads that it waited for.
    pub fn closed(&mut self, conn: ConnId) -> Vec<Ticket> {
        self.of.remove(&conn).map_or(Vec::new(), |reader| reader.under_way)
    }
}

/// The flow of requests without an access token.
pub fn anonymous(address: IpAddr) -> Flow {
    match address.to_canonical() {
        IpAddr::V4(v4) => Flow::of_number(u64::from(v4.to_bits() >> (32 - V4_PREFIX))),
        IpAddr::V6(v6) => Flow::of_number(1 << V6_PREFIX | (v6.to_bits() >> (128 - V6_PREFIX)) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::slab::Key;

    #[test]
    fn a_read_is_listed_until_it_is_answered() {
        let mut reads = Reads::default();
        let (conn, flow) = (ConnId(1), Flow::of_account(Id::from_u128(7)));
        assert_eq!(reads.asked(conn, Key::from_u64(1)), Flow::SERVER, "no connection of ours");
        reads.set(conn, anonymous(IpAddr::from([10, 0, 0, 1])));
        reads.set(conn, flow);
        for n in 2..5 {
            assert_eq!(reads.asked(conn, Key::from_u64(n)), flow);
        }
        reads.answered(conn, Key::from_u64(3));
        reads.answered(conn, Key::from_u64(3));
        let left: Vec<u64> = reads.closed(conn).into_iter().map(Key::to_u64).collect();
        assert_eq!(left, [2, 4]);
        assert!(reads.closed(conn).is_empty());
    }

    #[test]
    fn anonymous_readers_count_by_prefix() {
        let of = |text: &str| anonymous(text.parse().expect("an address"));
        assert_eq!(of("10.0.0.1"), of("10.0.0.200"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.200"));
        assert_ne!(of("10.0.0.1"), of("10.0.1.1"));
        assert_eq!(of("2001:db8:1:1::1"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_ne!(of("10.0.0.1"), Flow::SERVER);
    }
}
