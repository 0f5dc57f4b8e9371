//! What the nodes of a cluster tell each other beside the log: sealed, numbered, and sorted by whom it is for.
//!
//! [`Peers`] is the side of the loop, which speaks, and [`Hearing`] that of the thread of the log, which hears. Owns the envelope. Leaves
//! the carrier to its caller, what the server says to `model::whisper`, the comparison of chains to the writer's thread, and what is asked
//! at an address to `work::copies`.
//!
//! ```text
//! 1, then what the server says        2, then the state of the node        3, host:port, where it is asked for files
//! ```
//! Invariant: what is heard was said by another node of this cluster, and is heard once: a number that is not greater than the last one
//! of its life is dropped.

use std::collections::BTreeMap;

use super::inbox::{Completion, Inbox};
use super::nats::Whispers;
use crate::base::id::Id;
use crate::base::seal::{SealKey, SealPurpose, SealedBy};
use crate::model::node::{NodeName, NodeState};
use crate::work::copies::{Address, KnownNodes};

/// Nodes whose numbers are kept. Above: the one of the lowest name is forgotten.
const NODES_MAX: usize = 64;

const WHISPER: u8 = 1;
const STATE: u8 = 2;
const ADDRESS: u8 = 3;

/// Sends the messages of this node.
pub struct Peers {
    key: SealKey,
    node: NodeName,
    /// Of this process; the numbers of the entries have a life of their own.
    life: Id,
    said: u64,
    /// What it tells of itself; how far it is changes.
    state: NodeState,
    carrier: Whispers,
    /// Where this node is asked for files.
    address: Option<Address>,
}

impl Peers {
    /// `life` is one that no other process has or had. `state` is what the node says of itself beside how far it is.
    pub fn new(key: SealKey, node: NodeName, life: Id, state: NodeState, carrier: Whispers) -> Peers {
        Peers { key, node, life, said: 0, state, carrier, address: None }
    }

    /// From now on the others are told that this node is asked for files there.
    pub fn listen_at(&mut self, address: Address) {
        self.address = Some(address);
    }

    /// What the server says to the servers of all other nodes.
    pub(super) fn whisper(&mut self, bytes: &[u8]) {
        self.say(WHISPER, bytes);
    }

    /// How far this node has applied the log, and what it was; and where it is asked for files.
    pub(super) fn announce(&mut self, position: u64, chain: [u8; 32]) {
        if let Some(address) = &self.address {
            let text = address.to_string();
            self.say(ADDRESS, text.as_bytes());
        }
        (self.state.position, self.state.chain) = (position, chain);
        let bytes = self.state.to_bytes();
        self.say(STATE, &bytes);
    }

    fn say(&mut self, kind: u8, bytes: &[u8]) {
        self.said += 1;
        let by = SealedBy { node: self.node.as_str(), life: self.life.to_u128(), n: self.said };
        let text = [&[kind], bytes].concat();
        self.carrier.send(self.key.seal(SealPurpose::Whisper, by, &text));
    }
}

/// What another node has said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// To this server.
    Whisper { node: NodeName, bytes: Vec<u8> },
    /// To this server and to this store.
    State { node: NodeName, state: NodeState },
}

/// What a command hears of the nodes: their states. `None` for anything else.
pub fn overhear(key: &SealKey, sealed: &[u8]) -> Option<(NodeName, NodeState)> {
    let (by, text) = key.open(SealPurpose::Whisper, sealed).ok()?;
    match text.split_first() {
        Some((&STATE, rest)) => NodeName::parse(by.node).zip(NodeState::from_bytes(rest)),
        _ => None,
    }
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// To the loop.
    Heard(Heard),
    /// To the workers.
    Address(NodeName, Address),
}

/// Receives the messages of the other nodes.
pub struct Hearing {
    key: SealKey,
    node: NodeName,
    /// The life and the number of the last message of each node.
    last: BTreeMap<NodeName, (u128, u64)>,
    known: KnownNodes,
}

impl Hearing {
    /// `known` learns where the others are asked for files.
    pub fn new(key: SealKey, node: NodeName, known: KnownNodes) -> Hearing {
        Hearing { key, node, last: BTreeMap::new(), known }
    }

    /// Opens a message and gives it to the loop. What is not for this node is dropped, and so is all while the loop has much to do:
    /// each of these messages may be lost.
    pub(super) fn hear(&mut self, inbox: &Inbox, sealed: &[u8]) {
        match self.open(sealed) {
            Some(Said::Address(node, address)) => self.known.heard(node, address),
            Some(Said::Heard(heard)) => {
                if !inbox.offer(Completion::Heard(heard)) {
                    log::debug!(target: "natter::cluster", "a message of another node was dropped: the loop is busy");
                }
            }
            None => {
                log::debug!(target: "natter::cluster", "a message was dropped: it is of no other node of this cluster")
            }
        }
    }

    fn open(&mut self, sealed: &[u8]) -> Option<Said> {
        let (SealedBy { node, life, n }, text) = self.key.open(SealPurpose::Whisper, sealed).ok()?;
        let node = NodeName::parse(node).filter(|node| *node != self.node)?;
        if self.last.get(&node).is_some_and(|last| *last >= (life, n)) {
            return None;
        }
        self.last.insert(node.clone(), (life, n));
        if self.last.len() > NODES_MAX {
            self.last.pop_first();
        }
        let (kind, rest) = text.split_first()?;
        match *kind {
            WHISPER => Some(Said::Heard(Heard::Whisper { node, bytes: rest.to_vec() })),
            STATE => NodeState::from_bytes(rest).map(|state| Said::Heard(Heard::State { node, state })),
            ADDRESS => {
                let address = Address::parse(std::str::from_utf8(rest).ok()?)?;
                Some(Said::Address(node, address))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).expect("a name")
    }

    fn said(node: &str, life: u128, n: u64, text: &[u8]) -> Vec<u8> {
        SealKey::new(&[7; 32]).seal(SealPurpose::Whisper, SealedBy { node, life, n }, text)
    }

    #[test]
    fn each_message_of_another_node_is_heard_once() {
        let mut ear = Hearing::new(SealKey::new(&[7; 32]), name("a"), KnownNodes::default());
        let mut hear = |sealed: &[u8]| ear.open(sealed);
        let whisper =
            |bytes: &[u8]| Some(Said::Heard(Heard::Whisper { node: name("b"), bytes: bytes.to_vec() }));
        assert_eq!(hear(&said("b", 1, 1, b"\x01one")), whisper(b"one"));
        assert_eq!(hear(&said("b", 1, 1, b"\x01one")), None, "again");
        assert_eq!(hear(&said("b", 1, 3, b"\x01three")), whisper(b"three"));
        assert_eq!(hear(&said("b", 1, 2, b"\x01two")), None, "late");
        assert_eq!(hear(&said("b", 2, 1, b"\x01")), whisper(b""), "a new process");
        assert_eq!(hear(&said("b", 1, 9, b"\x01nine")), None, "an old process");
        assert_eq!(hear(&said("a", 1, 1, b"\x01own")), None);
        assert_eq!(hear(&said("B", 1, 1, b"\x01no name")), None);
        let state =
            NodeState { position: 7, chain: [9; 32], level: 2, settings: vec![(1, 2), (3, 4)], skipped: 6 };
        let bytes = [&[STATE][..], &state.to_bytes()].concat();
        let key = SealKey::new(&[7; 32]);
        assert_eq!(overhear(&key, &said("c", 1, 1, &bytes)), Some((name("c"), state.clone())));
        assert_eq!(overhear(&key, &said("c", 1, 1, b"\x01x")), None);
        let heard = Heard::State { node: name("c"), state };
        assert_eq!(hear(&said("c", 1, 1, &bytes)), Some(Said::Heard(heard)));
        let address = Address { host: "10.0.0.1".to_owned(), port: 7001 };
        assert_eq!(hear(&said("d", 1, 1, b"\x0310.0.0.1:7001")), Some(Said::Address(name("d"), address)));
        let others: [&[u8]; 6] =
            [&bytes[..bytes.len() - 1], b"\x03", b"\x03a:0", b"\x03\xff:1", b"\x04", b""];
        for (n, text) in (2..).zip(others) {
            assert_eq!(hear(&said("c", 1, n, text)), None, "{text:?}");
        }
        let other = SealKey::new(&[8; 32]);
        let by = SealedBy { node: "b", life: 3, n: 1 };
        assert_eq!(hear(&other.seal(SealPurpose::Whisper, by, b"\x01")), None, "another cluster");
        assert_eq!(hear(&SealKey::new(&[7; 32]).seal(SealPurpose::Entry, by, b"\x01")), None, "an entry");
    }
}
