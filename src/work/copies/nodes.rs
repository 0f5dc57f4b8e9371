//! Where the other nodes of a cluster listen for questions about files, as each tells the others.
//!
//! Owns the table, which the thread of the log writes and workers read. Invariant: it holds at most [`NODES_MAX`] nodes, and a node is
//! alive for [`SILENT_AFTER`] after it was last heard.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::node::NodeName;

/// A node tells its address each second. One that was not heard for this long is asked for a file last, and is given none.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// One that was not heard for this long may be gone with its files. A restart, or the exchange of a part, takes less.
const GONE_AFTER: Duration = Duration::from_secs(900);
/// Other nodes. Above: the one of the lowest name is forgotten.
const NODES_MAX: usize = 31;
/// Bytes of a host: those of the longest name in DNS.
const HOST_BYTES_MAX: usize = 253;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
}

impl Address {
    /// `host:port`, with an address of IPv6 in brackets.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = text.rsplit_once(':')?;
        let is_plain =
            |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
            None => Some(host).filter(|host| is_plain(host))?.to_owned(),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
        (1..=HOST_BYTES_MAX).contains(&host.len()).then_some(Address { host, port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

struct Known {
    node: NodeName,
    address: Address,
    heard_at: Instant,
}

/// The table, in the order of the names: every node has the same.
#[derive(Clone, Default)]
pub struct KnownNodes(Arc<Mutex<Vec<Known>>>);

impl KnownNodes {
    /// A node of the cluster says where it listens.
    pub fn heard(&self, node: NodeName, address: Address) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known { node, address, heard_at: Instant::now() };
        match nodes.iter().position(|other| other.node >= known.node) {
            Some(at) if nodes[at].node == known.node => nodes[at] = known,
            Some(at) => nodes.insert(at, known),
            None => nodes.push(known),
        }
        if nodes.len() > NODES_MAX {
            nodes.remove(0);
        }
    }

    /// Nodes that are heard, in an order that depends on this number: so each has its share of the files, and whoever looks for one asks
    /// first where it probably is.
    pub fn alive(&self, number: u64) -> Vec<(NodeName, Address)> {
        self.list(number, &[true])
    }

    /// As [`KnownNodes::alive`], and after them those that were heard before.
    pub fn known(&self, number: u64) -> Vec<(NodeName, Address)> {
        self.list(number, &[true, false])
    }

    /// As [`KnownNodes::alive`], if no other one may come back with its files.
    pub fn all_alive(&self, number: u64) -> Option<Vec<(NodeName, Address)>> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_away = |known: &Known| (SILENT_AFTER..GONE_AFTER).contains(&known.heard_at.elapsed());
        let is_any_away = nodes.iter().any(is_away);
        drop(nodes);
        (!is_any_away).then(|| self.alive(number))
    }

    fn list(&self, number: u64, wanted: &[bool]) -> Vec<(NodeName, Address)> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (number % nodes.len().max(1) as u64) as usize;
        let mut list = Vec::new();
        for is_alive in wanted {
            for known in nodes[first..].iter().chain(&nodes[..first]) {
                if (known.heard_at.elapsed() < SILENT_AFTER) == *is_alive {
                    list.push((known.node.clone(), known.address.clone()));
                }
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).expect("a name")
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in ["10.0.0.1:7001", "node-1.example:1", "[::1]:65535"] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        let longest = format!("{}:1", "a".repeat(HOST_BYTES_MAX));
        assert!(Address::parse(&longest).is_some());
        for text in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "::1:1",
            "[a]:1",
            "[::1:1",
            &format!("a{longest}"),
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn files_are_spread_over_the_nodes_that_are_heard() {
        let nodes = KnownNodes::default();
        assert!(nodes.alive(5).is_empty() && nodes.known(5).is_empty());
        for port in 1..=3 {
            nodes.heard(name(&format!("n{port}")), Address { host: "h".to_owned(), port });
        }
        let ports = |all: Vec<(NodeName, Address)>| all.iter().map(|(_, to)| to.port).collect::<Vec<_>>();
        assert_eq!(ports(nodes.alive(0)), [1, 2, 3]);
        assert_eq!(ports(nodes.alive(5)), [3, 1, 2]);
        // One is silent: it is given nothing, and asked last.
        let silent = Instant::now().checked_sub(SILENT_AFTER).expect("a clock that runs for a while");
        nodes.0.lock().expect("a lock")[2].heard_at = silent;
        assert_eq!((ports(nodes.alive(5)), ports(nodes.known(5))), (vec![1, 2], vec![1, 2, 3]));
        assert_eq!(nodes.all_alive(5), None, "it may come back");
        if let Some(long_ago) = Instant::now().checked_sub(GONE_AFTER) {
            nodes.0.lock().expect("a lock")[2].heard_at = long_ago;
            assert_eq!(nodes.all_alive(5).map(ports), Some(vec![1, 2]));
        }
        for port in 1..=NODES_MAX as u16 {
            nodes.heard(name(&format!("m{port}")), Address { host: "h".to_owned(), port });
        }
        assert_eq!(nodes.known(0).len(), NODES_MAX);
    }
}
