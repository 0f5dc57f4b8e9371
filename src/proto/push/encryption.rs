//! The encryption of one message for one browser: the content coding `aes128gcm` (RFC 8188) with the keys of RFC 8291.
//!
//! Owns the derivation of the keys and the padding. Takes the agreed secret, so that the RFC's own example can be its test.
//! Invariant: the length of a message shows its text's length only in steps.

use crate::base::crypto::p256::{Agreement, Point};
use crate::base::crypto::{HmacKey, seal_aes_128_gcm};

/// The record size (RFC 8188 §2.1), and the size of a message that each push service takes (RFC 8291 §4, RFC 8030 §7.2).
pub const RECORD_BYTES: usize = 4_096;
/// Bytes before the encrypted text: salt, record size, and our public key with its length.
const HEADER_BYTES: usize = 16 + 4 + 1 + size_of::<Point>();
/// The mark after the text, and the tag of the encryption.
const RECORD_EXTRA_BYTES: usize = 1 + 16;
/// Bytes of a text. A longer one does not fit.
pub const TEXT_BYTES_MAX: usize = RECORD_BYTES - HEADER_BYTES - RECORD_EXTRA_BYTES;
/// A text is padded to a multiple of this: its length says whether it is a word or a paragraph, and not which word.
pub const PADDING_STEP: usize = 256;

const _: () = assert!(PADDING_STEP < TEXT_BYTES_MAX);

/// The keys of a subscription that only the browser has made (`p256dh` and `auth` of the Push API).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub public: Point,
    pub auth: [u8; 16],
}

/// The text has more than [`TEXT_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Encrypts a text, padded to the next multiple of `padding_step`. `agreed` and `salt` are drawn anew for each message.
pub fn encrypt(
    text: &[u8],
    padding_step: usize,
    recipient: &Recipient,
    agreed: &Agreement,
    salt: [u8; 16],
) -> Result<Vec<u8>, TooLong> {
    let padded = text.len().next_multiple_of(padding_step).min(TEXT_BYTES_MAX);
    if text.len() > TEXT_BYTES_MAX {
        return Err(TooLong);
    }
    let (key, nonce) = keys(recipient, agreed, salt);
    // The only record, and so the last: the mark 2, then zeros (RFC 8188 §2).
    let mut record = Vec::with_capacity(padded + RECORD_EXTRA_BYTES);
    record.extend_from_slice(text);
    record.push(2);
    record.resize(padded + 1, 0);
    seal_aes_128_gcm(&key, nonce, &mut record);

    let mut body = Vec::with_capacity(HEADER_BYTES + record.len());
    body.extend_from_slice(&salt);
    body.extend_from_slice(&(RECORD_BYTES as u32).to_be_bytes());
    body.push(size_of::<Point>() as u8);
    body.extend_from_slice(&agreed.public);
    body.extend_from_slice(&record);
    Ok(body)
}

/// The key and the nonce of the one record (RFC 8291 §3.4).
fn keys(recipient: &Recipient, agreed: &Agreement, salt: [u8; 16]) -> ([u8; 16], [u8; 12]) {
    let key_info = [b"WebPush: info\0", &recipient.public[..], &agreed.public[..]].concat();
    let secret = expand(&extract(&recipient.auth, agreed.shared.expose()), &key_info);
    let prk = extract(&salt, &secret);
    let cut = |info: &[u8]| expand(&prk, info);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    key.copy_from_slice(&cut(b"Content-Encoding: aes128gcm\0")[..16]);
    nonce.copy_from_slice(&cut(b"Content-Encoding: nonce\0")[..12]);
    (key, nonce)
}

/// HKDF-Extract (RFC 5869 §2.2).
fn extract(salt: &[u8], secret: &[u8]) -> [u8; 32] {
    HmacKey::new(salt).sign(secret)
}

/// HKDF-Expand (RFC 5869 §2.3) for at most one block.
fn expand(prk: &[u8; 32], info: &[u8]) -> [u8; 32] {
    HmacKey::new(prk).sign(&[info, &[1]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::{base64url, base64url_decode};
    use crate::base::secret::Secret;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        base64url_decode(text).expect("base64url").try_into().expect("the length")
    }

    /// RFC 8291 §5 and appendix A.
    fn example() -> (Recipient, Agreement, [u8; 16]) {
        let recipient = Recipient {
            public: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
        };
        let agreed = Agreement {
            public: bytes(
                "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
            ),
            shared: Secret::new(bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs")),
        };
        (recipient, agreed, bytes("DGv6ra1nlYgDCS1FRnbzlw"))
    }

    #[test]
    fn the_example_of_the_rfc() {
        let (recipient, agreed, salt) = example();
        let (key, nonce) = keys(&recipient, &agreed, salt);
        assert_eq!(
            (base64url(&key), base64url(&nonce)),
            ("oIhVW04MRdy2XN9CiKLxTg".into(), "4h_95klXJ5E_qnoN".into())
        );
        let text = b"When I grow up, I want to be a watermelon";
        let body = encrypt(text, 1, &recipient, &agreed, salt).expect("a short text");
        assert_eq!(
            base64url(&body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w\
             EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn lengths_are_shown_in_steps_and_bounded() {
        let (recipient, agreed, salt) = example();
        let length = |text: usize| {
            encrypt(&vec![b'x'; text], PADDING_STEP, &recipient, &agreed, salt).map(|body| body.len())
        };
        let extra = HEADER_BYTES + RECORD_EXTRA_BYTES;
        for (text, expect) in [
            (1, PADDING_STEP),
            (PADDING_STEP, PADDING_STEP),
            (PADDING_STEP + 1, 2 * PADDING_STEP),
            (TEXT_BYTES_MAX - 1, TEXT_BYTES_MAX),
            (TEXT_BYTES_MAX, TEXT_BYTES_MAX),
        ] {
            assert_eq!(length(text), Ok(expect + extra), "{text}");
        }
        assert_eq!(TEXT_BYTES_MAX + extra, RECORD_BYTES);
        assert_eq!(length(TEXT_BYTES_MAX + 1), Err(TooLong));
    }
}
