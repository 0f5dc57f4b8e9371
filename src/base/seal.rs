//! The seal of what nodes send to each other: encrypted, authenticated, and chained in the order of the log.
//!
//! Owns the keys, the form of a sealed text and the chain. Leaves to `model::entry` what is sealed, and to the runtime which number is
//! next.
//!
//! ```text
//! version: 1 byte | length of node: 1 | node | life: 16 | n: 8, big-endian | AES-256-GCM of the text | tag: 16
//! ```
//!
//! The part before the text is in clear and authenticated. The key is that of a purpose, a node and a life: HMAC-SHA-256 of the three. The
//! nonce is `n`. Neither is random: the same text with the same number has the same bytes, so that a repeated entry is recognized, and
//! a nonce is used twice only if a node gives two texts one number in one life, which it must not.
//!
//! Invariant: what [`SealKey::open`] returns was sealed with this secret, for this purpose, by this node, life and number.

use std::fmt;

use super::crypto::aes_256_gcm::{AeadKey, TAG_BYTES};
use super::crypto::{HmacKey, Sha256, hex};

/// The version of the form above.
const VERSION: u8 = 1;
/// Bytes of a node's name: its length is one byte.
pub const NODE_BYTES_MAX: usize = 255;
const LIFE_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;

/// Bytes that a seal adds, for a node with a name of `node` bytes.
pub const fn seal_bytes(node: usize) -> usize {
    2 + node + LIFE_BYTES + NUMBER_BYTES + TAG_BYTES
}

/// What a text is sealed for. A text for one purpose does not open for another, and each counts its numbers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealPurpose {
    /// An entry of the log.
    Entry,
    /// An ephemeral message between nodes.
    Whisper,
    /// A row of the certificate that one node orders for all.
    Certificate,
}

impl SealPurpose {
    fn label(self) -> &'static [u8] {
        match self {
            SealPurpose::Entry => b"natter entry",
            SealPurpose::Whisper => b"natter whisper",
            SealPurpose::Certificate => b"natter certificate",
        }
    }
}

/// Who sealed a text, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBy<'a> {
    /// The node: at most [`NODE_BYTES_MAX`] bytes.
    pub node: &'a str,
    /// Drawn at each start of the node.
    pub life: u128,
    /// The number of the text in this life and for this purpose: each is used for one text.
    pub n: u64,
}

/// Why a sealed text does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// It is no sealed text: something else, or a part of one.
    Malformed,
    /// It has a later version of the form than this build knows.
    Newer,
    /// Another secret, or a bit of it was changed.
    Forged,
}

/// The secret of a cluster.
#[derive(Clone)]
pub struct SealKey(HmacKey);

impl SealKey {
    pub fn new(secret: &[u8; 32]) -> SealKey {
        SealKey(HmacKey::new(secret))
    }

    /// Seals a text.
    pub fn seal(&self, purpose: SealPurpose, by: SealedBy<'_>, text: &[u8]) -> Vec<u8> {
        let SealedBy { node, life, n } = by;
        let node_len = u8::try_from(node.len()).expect("the name of a node has at most NODE_BYTES_MAX bytes");
        let mut bytes = Vec::with_capacity(seal_bytes(node.len()) + text.len());
        bytes.extend_from_slice(&[VERSION, node_len]);
        bytes.extend_from_slice(node.as_bytes());
        bytes.extend_from_slice(&life.to_be_bytes());
        bytes.extend_from_slice(&n.to_be_bytes());
        let head = bytes.len();
        bytes.extend_from_slice(text);
        self.of_life(purpose, node, life).seal(nonce(n), &mut bytes, head);
        bytes
    }

    /// Who sealed a text, and the text.
    pub fn open<'a>(
        &self,
        purpose: SealPurpose,
        sealed: &'a [u8],
    ) -> Result<(SealedBy<'a>, Vec<u8>), SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Malformed)?;
        if *version > VERSION {
            return Err(SealError::Newer);
        }
        let (by, text) = head(rest).filter(|_| *version == VERSION).ok_or(SealError::Malformed)?;
        let key = self.of_life(purpose, by.node, by.life);
        let text = key.open(nonce(by.n), sealed, sealed.len() - text.len()).ok_or(SealError::Forged)?;
        Ok((by, text))
    }

    /// No label is the beginning of another one and of a name: the byte 0 ends it, and no label has one.
    fn of_life(&self, purpose: SealPurpose, node: &str, life: u128) -> AeadKey {
        self.derive(&[purpose.label(), &[0], node.as_bytes(), &[0], &life.to_be_bytes()])
    }

    /// The key of a purpose. The first part is a label with the byte 0 after it.
    pub(super) fn derive(&self, parts: &[&[u8]]) -> AeadKey {
        AeadKey::new(&self.0.sign(&parts.concat()))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// The part in clear after the version, and what follows it.
fn head(bytes: &[u8]) -> Option<(SealedBy<'_>, &[u8])> {
    let (node_len, rest) = bytes.split_first()?;
    let (node, rest) = rest.split_at_checked(usize::from(*node_len))?;
    let (life, rest) = rest.split_first_chunk::<LIFE_BYTES>()?;
    let (n, text) = rest.split_first_chunk::<NUMBER_BYTES>()?;
    let by = SealedBy {
        node: std::str::from_utf8(node).ok()?,
        life: u128::from_be_bytes(*life),
        n: u64::from_be_bytes(*n),
    };
    (text.len() >= TAG_BYTES).then_some((by, text))
}

pub(super) fn nonce(n: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&n.to_be_bytes());
    nonce
}

/// What a node has read of the log, as one number: two nodes that have read the same entries at the same positions have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// Before the first entry.
    pub const START: Chain = Chain([0; 32]);

    /// After the entry at `position`.
    pub fn next(self, position: u64, sealed: &[u8]) -> Chain {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(&position.to_be_bytes());
        hash.update(sealed);
        Chain(hash.finish())
    }

    /// The same, for a node that has skipped the last entry. No chain of entries alone is the same: what is hashed here is shorter.
    pub fn skipped(self) -> Chain {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(b"skipped");
        Chain(hash.finish())
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Chain {
        Chain(bytes)
    }

    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// The first bytes tell two apart.
impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({}..)", hex(&self.0[..8]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: SealedBy<'static> = SealedBy { node: "a", life: 5, n: 9 };

    fn key() -> SealKey {
        SealKey::new(&[7; 32])
    }

    #[test]
    fn what_is_sealed_opens() {
        let long = "n".repeat(NODE_BYTES_MAX);
        for by in
            [BY, SealedBy { node: "", life: 0, n: 0 }, SealedBy { node: &long, life: u128::MAX, n: u64::MAX }]
        {
            for text in [&b""[..], b"text", &[0; 5_000]] {
                let sealed = key().seal(SealPurpose::Entry, by, text);
                assert_eq!(sealed.len(), seal_bytes(by.node.len()) + text.len());
                assert_eq!(key().open(SealPurpose::Entry, &sealed), Ok((by, text.to_vec())));
                assert_eq!(key().seal(SealPurpose::Entry, by, text), sealed, "the same again");
                assert!(text.is_empty() || !sealed.windows(text.len()).any(|part| part == text), "in clear");
            }
        }
    }

    #[test]
    fn no_two_texts_share_a_key_and_a_nonce() {
        let other = [
            (SealPurpose::Whisper, BY),
            (SealPurpose::Certificate, BY),
            (SealPurpose::Entry, SealedBy { node: "b", ..BY }),
            (SealPurpose::Entry, SealedBy { life: 6, ..BY }),
            (SealPurpose::Entry, SealedBy { n: 10, ..BY }),
        ];
        let text = [0; 64];
        let sealed = key().seal(SealPurpose::Entry, BY, &text);
        for (purpose, by) in other {
            let other = key().seal(purpose, by, &text);
            assert_ne!(other[other.len() - 80..], sealed[sealed.len() - 80..], "{purpose:?}, {by:?}");
        }
        assert_eq!(key().open(SealPurpose::Whisper, &sealed), Err(SealError::Forged));
    }

    #[test]
    fn anything_else_does_not_open() {
        let sealed = key().seal(SealPurpose::Entry, BY, b"text");
        let open = |bytes: &[u8]| key().open(SealPurpose::Entry, bytes).map(|(_, text)| text);
        assert_eq!(SealKey::new(&[8; 32]).open(SealPurpose::Entry, &sealed), Err(SealError::Forged));
        for end in 0..sealed.len() {
            let expect = if end < seal_bytes(1) { SealError::Malformed } else { SealError::Forged };
            assert_eq!(open(&sealed[..end]), Err(expect), "{end}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed).is_err(), "{bit}");
        }
        assert_eq!(open(&[&sealed[..], b"x"].concat()), Err(SealError::Forged));
        let version = |version: u8| open(&[&[version], &sealed[1..]].concat());
        assert_eq!((version(0), version(2)), (Err(SealError::Malformed), Err(SealError::Newer)));
        // The text of one node in the frame of another.
        let other = key().seal(SealPurpose::Entry, SealedBy { node: "b", ..BY }, b"text");
        let head = sealed.len() - 20;
        assert_eq!(open(&[&sealed[..head], &other[head..]].concat()), Err(SealError::Forged));
    }

    /// Nodes of other builds have the same. Computed by another implementation of HMAC, AES-GCM and SHA-256.
    #[test]
    fn the_bytes_of_a_sealed_text() {
        let sealed = key().seal(SealPurpose::Entry, BY, b"text");
        let (head, rest) = sealed.split_at(27);
        assert_eq!(hex(head), format!("010161{:032x}{:016x}", 5, 9));
        assert_eq!(hex(rest), "49813b7397035a257b1964faa1ee9c9c3d06011d");
        let chain = Chain::START.next(1, b"a").next(2, b"b");
        assert_eq!(
            hex(&chain.to_bytes()),
            "ac801c2ef8753f5f117fa8512dea5681d91feb10de2a4af83a72cb74b5cffce2"
        );
    }

    #[test]
    fn a_chain_is_one_history() {
        let chain = Chain::START.next(1, b"a").next(2, b"b");
        for other in [
            Chain::START.next(2, b"b").next(1, b"a"),
            Chain::START.next(1, b"a").next(3, b"b"),
            Chain::START.next(1, b"a"),
            Chain::START.next(2, b"b"),
            Chain::START.next(1, b"a").next(2, b"c"),
            Chain::START.next(1, b"a").next(2, b"b").skipped(),
            Chain::START.next(1, b"a").skipped().next(2, b"b"),
            Chain::START,
        ] {
            assert_ne!(other, chain);
        }
        assert_eq!(Chain::from_bytes(chain.to_bytes()), chain);
    }

    #[test]
    fn a_key_is_hidden() {
        assert_eq!(format!("{:?}", key()), "SealKey(..)");
    }
}
