//! The name of one natter among several that apply one log.
//!
//! Invariant: a name is 1–32 of `[a-z0-9-]`, so it is a part of a subject, a label and a file name as it is.

use std::fmt;

use crate::base::fields::{Field, Reader};

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
