//! The cryptographic primitives that natter uses, all from ring.
//!
//! Owns HMAC-SHA-256, SHA-256, SHA-1 (for the WebSocket accept key only), HMAC-SHA-1 (for one-time passwords only), AES-128-GCM, their text encodings, and randomness as a
//! value; [`p256`] has the elliptic curve. Leaves to its callers what is signed and with which key. Invariant: `Debug` never
//! shows a secret.

pub mod aes_256_gcm;
pub mod p256;
pub mod pem;

use crate::base::time::UnixMs;
use ring::rand::SecureRandom;
use ring::{aead, digest, hmac};

use super::id::Id;

/// A source of randomness: the operating system in a server, a seed in a simulation.
pub trait Entropy: Send {
    fn fill(&mut self, bytes: &mut [u8]);

    fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A uniformly distributed number below `bound`, which is not 0. A number from the biased end of the range is drawn again.
    fn below(&mut self, bound: u64) -> u64 {
        let unbiased = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.u64();
            if drawn < unbiased {
                return drawn % bound;
            }
        }
    }
}

impl dyn Entropy + '_ {
    /// A new ULID with this time.
    pub fn id<K>(&mut self, unix_ms: UnixMs) -> Id<K> {
        let mut random = [0; 10];
        self.fill(&mut random);
        Id::new(unix_ms, random)
    }
}

/// The operating system's generator. Only `runtime` and the command line make one.
///
/// It reads a pool of bytes at a time: two system calls per message took a tenth of the loop's time for that message. Bytes
/// that are handed out are erased from the pool, so that the memory does not show an id or a code that was drawn before.
pub struct SystemEntropy {
    system: ring::rand::SystemRandom,
    pool: [u8; POOL],
    /// Bytes at the end of `pool` that are not handed out yet.
    left: usize,
}

/// Bytes drawn at once: the random parts of about three hundred posts.
const POOL: usize = 4_096;

impl SystemEntropy {
    #[expect(clippy::new_without_default, reason = "a source of randomness is requested explicitly")]
    pub fn new() -> SystemEntropy {
        SystemEntropy { system: ring::rand::SystemRandom::new(), pool: [0; POOL], left: 0 }
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Without randomness the process must stop: it would sign tokens that can be guessed.
        const PROMISE: &str = "the operating system gives random bytes";
        if bytes.len() > POOL {
            return self.system.fill(bytes).expect(PROMISE);
        }
        if bytes.len() > self.left {
            self.system.fill(&mut self.pool).expect(PROMISE);
            self.left = POOL;
        }
        let drawn = &mut self.pool[POOL - self.left..][..bytes.len()];
        bytes.copy_from_slice(drawn);
        drawn.fill(0);
        self.left -= bytes.len();
    }
}

/// A prepared HMAC-SHA-256 key. It is prepared once; each use takes 0.27 µs.
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    pub fn new(secret: &[u8]) -> HmacKey {
        HmacKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        tag_bytes(&hmac::sign(&self.0, bytes))
    }

    /// Compares in constant time.
    pub fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, bytes, tag).is_ok()
    }
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// SHA-256 of bytes that arrive in parts.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    #[expect(clippy::new_without_default, reason = "a hash is started explicitly")]
    pub fn new() -> Sha256 {
        Sha256(digest::Context::new(&digest::SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

/// SHA-1. Its only use is the WebSocket accept key (RFC 6455 §4.2.2).
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    out
}

/// HMAC-SHA-1. Its only use are the codes of authenticator apps (RFC 6238).
pub fn hmac_sha1(key: &[u8], bytes: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    out.copy_from_slice(hmac::sign(&key, bytes).as_ref());
    out
}

/// AES-128-GCM (RFC 5116 §5.1) in place, without additional data: appends the tag. A key and a nonce are used together once.
pub fn seal_aes_128_gcm(key: &[u8; 16], nonce: [u8; 12], bytes: &mut Vec<u8>) {
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, key).expect("a key of this algorithm has 16 bytes");
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::empty(), bytes)
        .expect("the text is shorter than the 64 GiB of one message");
}

pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Without padding (RFC 4648 §6).
pub fn base32(bytes: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(bytes)
}

/// The standard alphabet, with padding (RFC 4648 §4).
pub fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// Strict, with padding, as [`base64`] writes it.
#[cfg(feature = "cluster")]
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

pub fn base64url(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

/// Strict: padding, white space and characters of the other base64 alphabet are refused.
pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xfb\xff", "+/8=")]
        {
            #[cfg(feature = "cluster")]
            assert_eq!(base64_decode(text).as_deref(), Some(bytes));
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn random_bytes_are_handed_out_once() {
        let mut entropy = SystemEntropy::new();
        let mut seen = std::collections::BTreeSet::new();
        for len in (16..=64).cycle().take(500).chain([POOL - 1, POOL, POOL + 1, 3 * POOL]) {
            let mut bytes = vec![0; len];
            entropy.fill(&mut bytes);
            let fresh = bytes.windows(16).step_by(16).all(|window| seen.insert(window.to_vec()));
            assert!(fresh, "bytes were handed out twice");
            assert!(
                entropy.pool[..POOL - entropy.left].iter().all(|byte| *byte == 0),
                "bytes are still in the pool after their use"
            );
        }
        entropy.fill(&mut []);
    }

    #[test]
    fn known_answers() {
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let key = HmacKey::new(b"key");
        let tag = key.sign(b"The quick brown fox jumps over the lazy dog");
        assert_eq!(hex(&tag), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
        assert!(!key.verify(b"the quick brown fox jumps over the lazy dog", &tag));
        assert_eq!(base64url_decode("a+b"), None);
        assert_eq!(format!("{key:?}"), "HmacKey(..)");
    }
}
