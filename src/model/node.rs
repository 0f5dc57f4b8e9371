//! One natter among several that apply one log: its name, and what it tells the others of itself.
//!
//! Invariant: a name is 1–32 of `[a-z0-9-]`, so it is a part of a subject, a label and a file name as it is.

use std::fmt;

use crate::base::crypto::hex;
use crate::base::fields::{self, Field, Reader, fields};

/// What this build can apply at most: raised with each change after which the same entry is applied otherwise, with each row, variant or
/// field that an older build may not ignore, and with each migration. What is applied at an entry is the level in force there
/// ([`EntryBody::Level`](super::entry::EntryBody::Level)).
pub const LEVEL: u32 = if cfg!(feature = "next-level") { 2 } else { 1 };

/// The level of a log whose first entry names none.
pub const FIRST_LEVEL: u32 = 1;

/// Bytes of the longest name of a node.
pub const NODE_NAME_MAX: usize = 32;

/// The name of a node: 1–32 of `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(Box<str>);

impl NodeName {
    /// `None` for a text of another form.
    pub fn parse(text: &str) -> Option<NodeName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ((1..=NODE_NAME_MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| NodeName(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a node tells the others of itself, once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// The last entry of the log that it has applied.
    pub position: u64,
    /// Of all entries up to there: two nodes that have applied the same ones have the same.
    pub chain: [u8; 32],
    /// The highest level of entries that it can apply.
    pub level: u32,
    /// The settings that all nodes must have in common: for each a hash of its name, and one of its value.
    pub settings: Vec<(u32, u32)>,
    /// The last entry that it skips or has skipped; 0 for none.
    pub skipped: u64,
}

fields! {
    NodeState { 1 position, 2 chain, 3 level, 4 settings, 5 skipped }
}

impl NodeState {
    /// The bytes that [`NodeState::from_bytes`] reads, in any build.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// `None` for what no build has said.
    pub fn from_bytes(bytes: &[u8]) -> Option<NodeState> {
        fields::read(bytes)
    }
}

/// The first bytes of a chain, as people compare them.
pub fn short_chain(chain: &[u8; 32]) -> String {
    hex(&chain[..8])
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Field for NodeName {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> NodeName {
        std::str::from_utf8(bytes).ok().and_then(NodeName::parse).unwrap_or_else(|| {
            reader.fail();
            NodeName(Box::default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fields;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "a".repeat(NODE_NAME_MAX);
        for good in ["a", "node-1", "0", &longest] {
            assert_eq!(NodeName::parse(good).expect("a name").as_str(), good);
        }
        for bad in ["", "A", "a.b", "a b", "ä", "a*", &format!("{longest}a")] {
            assert_eq!(NodeName::parse(bad), None, "{bad}");
            assert_eq!(fields::read::<NodeName>(bad.as_bytes()), None, "{bad}");
        }
    }
}
