//! AES-256-GCM with additional data (RFC 5116 §5.2).
//!
//! Leaves to its callers that a nonce is used once with a key. Invariant: a text that was changed, or moved to other additional data,
//! does not open.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes that the seal adds to a text.
pub const TAG_BYTES: usize = 16;

/// A prepared key.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    pub fn new(key: &[u8; 32]) -> AeadKey {
        AeadKey(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, key).expect("a key of this algorithm has 32 bytes"),
        ))
    }

    /// Seals in place what `bytes` holds after its first `head` bytes, which are the additional data, and appends the tag.
    pub fn seal(&self, nonce: [u8; 12], bytes: &mut Vec<u8>, head: usize) {
        let (aad, text) = bytes.split_at_mut(head);
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*aad), text)
            .expect("the text is shorter than the 64 GiB of one message");
        bytes.extend_from_slice(tag.as_ref());
    }

    /// The text of what [`AeadKey::seal`] has made. `None` if the key, the nonce, the additional data or the text is another.
    pub fn open(&self, nonce: [u8; 12], bytes: &[u8], head: usize) -> Option<Vec<u8>> {
        let (aad, sealed) = bytes.split_at_checked(head)?;
        let mut text = sealed.to_vec();
        let len =
            self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text).ok()?.len();
        text.truncate(len);
        Some(text)
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}
