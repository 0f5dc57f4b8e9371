//! The elliptic curve P-256: keys that sign (ECDSA, FIPS 186-5), and one key agreement for each message (ECDH, SP 800-56A).
//!
//! Owns the forms of the keys as bytes. ring draws the randomness of both itself and takes no other, so [`P256`] is made from the
//! system's and given to those who use it: below the runtime nothing can make one.
//! Invariant: a private key is used for one agreement and is never seen.

use std::fmt;

use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::SystemEntropy;
use crate::base::secret::Secret;

/// A public key: a point in its uncompressed form (SEC 1 §2.3.3).
pub type Point = [u8; 65];

/// Operations on the curve that draw randomness.
#[derive(Clone)]
pub struct P256(SystemRandom);

/// What two sides agreed on.
pub struct Agreement {
    /// The key of this side, which the other needs.
    pub public: Point,
    /// Known to the two sides only.
    pub shared: Secret<[u8; 32]>,
}

/// A key that signs.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Secret<Vec<u8>>,
    system: SystemRandom,
}

const PROMISE: &str = "the operating system gives random bytes";

impl P256 {
    pub fn new(entropy: &SystemEntropy) -> P256 {
        P256(entropy.system.clone())
    }

    /// A new key that signs, as PKCS#8 (RFC 5958).
    pub fn generate_signing_key(&self) -> Secret<Vec<u8>> {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0).expect(PROMISE);
        Secret::new(key.as_ref().to_vec())
    }

    /// A new key that signs, to be used at once.
    pub fn new_signing_key(&self) -> SigningKey {
        self.signing_key(self.generate_signing_key().expose()).expect("ring reads the key that it made")
    }

    /// The key of [`P256::generate_signing_key`]; `None` if the bytes are not one.
    pub fn signing_key(&self, pkcs8: &[u8]) -> Option<SigningKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &self.0).ok()?;
        Some(SigningKey { pair, pkcs8: Secret::new(pkcs8.to_vec()), system: self.0.clone() })
    }

    /// Makes a key for one message and agrees on a secret with `peer`; `None` if that is not a point of the curve.
    pub fn agree(&self, peer: &Point) -> Option<Agreement> {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &self.0).expect(PROMISE);
        let public =
            point(private.compute_public_key().expect("a key that was made has a public key").as_ref());
        let peer = UnparsedPublicKey::new(&ECDH_P256, peer);
        let copy = |secret: &[u8]| {
            let mut shared = [0; 32];
            shared.copy_from_slice(secret);
            Secret::new(shared)
        };
        let shared = agree_ephemeral(private, &peer, copy).ok()?;
        Some(Agreement { public, shared })
    }
}

impl SigningKey {
    /// The key as PKCS#8, to be stored, or for a library that signs with it.
    pub fn pkcs8(&self) -> &Secret<Vec<u8>> {
        &self.pkcs8
    }

    pub fn public(&self) -> Point {
        point(self.pair.public_key().as_ref())
    }

    /// `r` and `s`, as a JWT has them (RFC 7518 §3.4).
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(&self.system, bytes).expect(PROMISE);
        let mut out = [0; 64];
        out.copy_from_slice(signature.as_ref());
        out
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn point(bytes: &[u8]) -> Point {
    let mut out = [0; 65];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::PublicKey;
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};

    #[test]
    fn another_implementation_accepts_the_signatures() {
        let curve = P256::new(&SystemEntropy::new());
        let pkcs8 = curve.generate_signing_key();
        let key = curve.signing_key(pkcs8.expose()).expect("a key");
        let judge = VerifyingKey::from_sec1_bytes(&key.public()).expect("a point");
        let signature = Signature::from_slice(&key.sign(b"a text")).expect("a signature");
        assert!(judge.verify(b"a text", &signature).is_ok());
        assert!(judge.verify(b"another", &signature).is_err());
        assert!(curve.signing_key(&pkcs8.expose()[1..]).is_none());
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }

    #[test]
    fn two_agreements_with_one_peer_share_no_key() {
        let curve = P256::new(&SystemEntropy::new());
        let peer = curve.signing_key(curve.generate_signing_key().expose()).expect("a key").public();
        let (one, two) = (curve.agree(&peer).expect("a point"), curve.agree(&peer).expect("a point"));
        assert!(one.public != two.public && one.shared != two.shared);
        assert!(PublicKey::from_sec1_bytes(&one.public).is_ok());
        let mut off_the_curve = peer;
        off_the_curve[64] ^= 1;
        assert!(curve.agree(&off_the_curve).is_none());
        assert!(curve.agree(&[0; 65]).is_none());
    }
}
