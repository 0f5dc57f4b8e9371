//! Signed requests: a JSON Web Signature by ES256 (RFC 8555 §6.2, RFC 7515, RFC 7518).
//!
//! Owns the header and the thumbprint of a key. Invariant: what is signed is exactly what is sent.

use serde::Serialize;

use crate::base::crypto::p256::SigningKey;
use crate::base::crypto::{base64url, sha256};
use crate::base::json;

/// The media type of a signed request (RFC 8555 §6.2).
pub const CONTENT_TYPE: &str = "application/jose+json";

/// Bytes of a coordinate of P-256.
const COORDINATE: usize = 32;

/// The public key. The members are in the order that RFC 7638 §3 hashes.
#[derive(Serialize)]
struct Jwk {
    crv: &'static str,
    kty: &'static str,
    x: String,
    y: String,
}

impl Jwk {
    fn of(key: &SigningKey) -> Jwk {
        // An uncompressed point: one byte that says so, then both coordinates.
        let point = key.public();
        let (x, y) = point[1..].split_at(COORDINATE);
        Jwk { crv: "P-256", kty: "EC", x: base64url(x), y: base64url(y) }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Jwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    nonce: &'a str,
    url: &'a str,
}

#[derive(Serialize)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

/// A request to `url`. Without an account it carries the key itself, as only a request for an account does. Without a payload it
/// is a POST-as-GET (RFC 8555 §6.3).
pub fn sign(
    key: &SigningKey,
    account: Option<&str>,
    nonce: &str,
    url: &str,
    payload: Option<&[u8]>,
) -> Vec<u8> {
    let jwk = account.is_none().then(|| Jwk::of(key));
    let header = Header { alg: "ES256", jwk, kid: account, nonce, url };
    let (protected, payload) = (base64url(&json::to_vec(&header)), base64url(payload.unwrap_or_default()));
    let signature = base64url(&key.sign(format!("{protected}.{payload}").as_bytes()));
    json::to_vec(&Flattened { protected, payload, signature })
}

/// What a challenge is answered with (RFC 8555 §8.1).
pub fn key_authorization(key: &SigningKey, token: &str) -> String {
    format!("{token}.{}", base64url(&sha256(&json::to_vec(&Jwk::of(key)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::p256::P256;
    use crate::base::crypto::{SystemEntropy, base64url_decode};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn check(account: Option<&str>, payload: Option<&[u8]>) -> (String, Vec<u8>) {
        let key = P256::new(&SystemEntropy::new()).new_signing_key();
        let sent = sign(&key, account, "n0nce", "https://a/b", payload);
        let value = json::parse(&sent).expect("JSON");
        let part = |name: &str| value.get(name).and_then(json::Value::as_str).expect("a text");
        let point = key.public();
        let (x, y) = point[1..].split_at(COORDINATE);
        let signature = base64url_decode(part("signature")).expect("base64url");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(format!("{}.{}", part("protected"), part("payload")).as_bytes(), &signature)
            .expect("a good signature");
        let header = String::from_utf8(base64url_decode(part("protected")).expect("base64url"));
        let shown = [base64url(x), base64url(y)];
        let header = header.expect("UTF-8").replace(&shown[0], "X").replace(&shown[1], "Y");
        (header, base64url_decode(part("payload")).expect("base64url"))
    }

    #[test]
    fn a_request_names_its_key_or_its_account_and_is_signed() {
        assert_eq!(
            check(None, Some(b"{}")),
            (
                r#"{"alg":"ES256","jwk":{"crv":"P-256","kty":"EC","x":"X","y":"Y"},"nonce":"n0nce","url":"https://a/b"}"#
                    .to_owned(),
                b"{}".to_vec()
            )
        );
        assert_eq!(
            check(Some("https://a/acct/1"), None),
            (
                r#"{"alg":"ES256","kid":"https://a/acct/1","nonce":"n0nce","url":"https://a/b"}"#.to_owned(),
                Vec::new()
            )
        );
    }

    #[test]
    fn a_key_authorization_is_the_token_and_the_thumbprint() {
        let key = P256::new(&SystemEntropy::new()).new_signing_key();
        let text = key_authorization(&key, "t0ken");
        let point = key.public();
        let (x, y) = point[1..].split_at(COORDINATE);
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y));
        assert_eq!(text, format!("t0ken.{}", base64url(&sha256(jwk.as_bytes()))));
    }
}
