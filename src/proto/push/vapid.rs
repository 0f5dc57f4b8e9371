//! The signature by which a push service knows this server: a token for its origin (RFC 8292).
//!
//! Owns the form of the token. Leaves the key and the time to its callers.
//! Invariant: a token is for one push service, so none can use it at another one.

use serde::Serialize;

use crate::base::crypto::base64url;
use crate::base::crypto::p256::SigningKey;
use crate::base::json;
use crate::base::time::UnixS;
use crate::proto::http::client::Authority;

/// How long a token is good. A push service refuses one for more than 24 hours (RFC 8292 §2), by its own clock.
const TOKEN_LIFE_S: u64 = 12 * 3_600;

#[derive(Serialize)]
struct Claims<'a> {
    aud: String,
    exp: UnixS,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

/// The value of the header Authorization. `contact` is the `mailto:` or `https:` URL by which the service's operator reaches ours.
pub fn authorization(key: &SigningKey, service: &Authority, contact: Option<&str>, now: UnixS) -> String {
    let signed = signing_input(service, contact, now.after(TOKEN_LIFE_S));
    let signature = base64url(&key.sign(signed.as_bytes()));
    format!("vapid t={signed}.{signature}, k={}", base64url(&key.public()))
}

/// The first two parts of the token (RFC 7515 §5.1).
fn signing_input(service: &Authority, contact: Option<&str>, exp: UnixS) -> String {
    let scheme = if service.tls { "https" } else { "http" };
    let claims = Claims { aud: format!("{scheme}://{}", service.host_and_port()), exp, sub: contact };
    format!("{}.{}", base64url(br#"{"typ":"JWT","alg":"ES256"}"#), base64url(&json::to_vec(&claims)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::p256::P256;
    use crate::base::crypto::{SystemEntropy, base64url_decode};
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};

    fn service(url: &str) -> Authority {
        Authority::split(url).expect("a URL").0
    }

    /// RFC 8292 §2.4: what is signed, and that its signature and key are in the form of ours.
    #[test]
    fn the_example_of_the_rfc() {
        let signed = signing_input(
            &service("https://push.example.net/p/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV"),
            Some("mailto:push@example.com"),
            UnixS(1_453_523_768),
        );
        assert_eq!(
            signed,
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3\
             NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0"
        );
        check(
            &signed,
            "i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA",
            "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs",
        );
    }

    fn check(signed: &str, signature: &str, key: &str) {
        let bytes = |text: &str| base64url_decode(text).expect("base64url");
        let judge = VerifyingKey::from_sec1_bytes(&bytes(key)).expect("a point");
        let signature = Signature::from_slice(&bytes(signature)).expect("a signature");
        judge.verify(signed.as_bytes(), &signature).expect("the signature of this text");
    }

    #[test]
    fn a_token_names_its_service_its_end_and_a_contact() {
        let curve = P256::new(&SystemEntropy::new());
        let key = curve.signing_key(curve.generate_signing_key().expose()).expect("a key");
        for (url, contact, claims) in [
            (
                "https://a.example:8443/x",
                Some("https://chat.example"),
                r#"{"aud":"https://a.example:8443","exp":43300,"sub":"https://chat.example"}"#,
            ),
            ("https://[2001:db8::1]/", None, r#"{"aud":"https://[2001:db8::1]","exp":43300}"#),
        ] {
            let header = authorization(&key, &service(url), contact, UnixS(100));
            let (token, public) = header
                .strip_prefix("vapid t=")
                .and_then(|rest| rest.split_once(", k="))
                .expect("its two parts");
            let (signed, signature) = token.rsplit_once('.').expect("a signature");
            check(signed, signature, public);
            let payload = base64url_decode(signed.split_once('.').expect("claims").1).expect("base64url");
            assert_eq!(String::from_utf8(payload).expect("UTF-8"), claims);
        }
    }
}
