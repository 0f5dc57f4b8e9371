//! The request that calls an outgoing hook, signed as Standard Webhooks says (version 1.0: `webhook-id`, `webhook-timestamp` and
//! `webhook-signature`).
//!
//! Owns the bytes of the request and of the signature. Leaves the answer to `http::client`.
//! Invariant: a request has only bytes that an HTTP head may hold, so that an address cannot begin a second header.

use crate::base::crypto::{HmacKey, base64};
use crate::base::time::UnixS;
use crate::proto::http::client::Authority;
use crate::proto::push::request::{BadPushEndpoint, split_url};

/// What the text of a key begins with.
const SECRET_PREFIX: &str = "whsec_";

/// The address of an outgoing hook: `http` or `https`, with a path and a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEndpoint {
    pub authority: Authority,
    target: String,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct HookRequest<'a> {
    /// The same for each try. No point in it, since points separate what is signed.
    pub id: &'a str,
    pub unix_s: UnixS,
    pub secret: &'a [u8; 32],
    /// JSON.
    pub body: &'a [u8],
}

/// The key as its receiver gets it, and as the libraries of Standard Webhooks take it.
pub fn secret_text(secret: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", base64(secret))
}

impl HookEndpoint {
    pub fn parse(url: &str) -> Result<HookEndpoint, BadPushEndpoint> {
        let (authority, target) = split_url(url)?;
        Ok(HookEndpoint { authority, target })
    }

    /// The bytes of the request. The connection may be used again after the answer.
    pub fn post(&self, request: &HookRequest<'_>) -> Vec<u8> {
        let HookRequest { id, unix_s, secret, body } = *request;
        let mut signed = format!("{id}.{unix_s}.").into_bytes();
        signed.extend_from_slice(body);
        let signature = base64(&HmacKey::new(secret).sign(&signed));
        let mut bytes = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             User-Agent: natter\r\nwebhook-id: {id}\r\nwebhook-timestamp: {unix_s}\r\n\
             webhook-signature: v1,{signature}\r\n\r\n",
            self.target,
            self.authority.host_and_port(),
            body.len(),
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_signed_over_its_id_its_time_and_its_body() {
        let endpoint = HookEndpoint::parse("http://127.0.0.1:9000/a?b").expect("an address");
        let secret = *b"0123456789abcdef0123456789abcdef";
        let body = br#"{"event":"message.posted"}"#;
        let request = HookRequest { id: "01J-k3-7", unix_s: UnixS(1_795_352_634), secret: &secret, body };
        let tag = HmacKey::new(&secret).sign(br#"01J-k3-7.1795352634.{"event":"message.posted"}"#);
        let expect = format!(
            "POST /a?b HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\
             User-Agent: natter\r\nwebhook-id: 01J-k3-7\r\nwebhook-timestamp: 1795352634\r\n\
             webhook-signature: v1,{}\r\n\r\n{{\"event\":\"message.posted\"}}",
            base64(&tag)
        );
        assert_eq!(String::from_utf8_lossy(&endpoint.post(&request)), expect);
        assert_eq!(secret_text(&secret), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        for bad in ["ftp://a/", "https://u@a/", "https://a/ b", "https://a/#b", ""] {
            assert!(HookEndpoint::parse(bad).is_err(), "{bad}");
        }
    }

    /// The example of the specification's own library.
    #[test]
    fn the_example_of_standard_webhooks() {
        let key = crate::base::crypto::base64url_decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let tag = HmacKey::new(&key).sign(signed);
        assert_eq!(base64(&tag), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
