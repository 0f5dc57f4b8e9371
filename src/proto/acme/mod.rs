//! ACME (RFC 8555), sans-IO: how a certificate is ordered, and when the next one.
//!
//! [`order`] is one order as a state machine: it says what to send, what to publish and how long to wait, and it takes the responses
//! and the time. [`schedule`] says when an order begins, [`renewal_info`] what the authority says about that (RFC 9773). [`jws`] signs
//! requests, [`message`] reads responses, [`certificate`] makes what is in DER. Leaves sockets, files and TLS to its caller.
//! Invariant: no bytes of an authority panic, and nothing here loops or waits without a bound.

pub mod certificate;
pub mod jws;
pub mod message;
pub mod order;
pub mod renewal_info;
pub mod schedule;

/// Characters of a text of the authority that reach a log. The rest is cut.
const SHOWN_CHARS_MAX: usize = 400;

/// How the authority finds out that a name leads to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a request to port 80 (RFC 8555 §8.3).
    Http01,
    /// By a TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Http01 => "http-01",
            Method::TlsAlpn01 => "tls-alpn-01",
        }
    }

    pub fn of(name: &str) -> Option<Method> {
        [Method::Http01, Method::TlsAlpn01].into_iter().find(|method| method.name() == name)
    }
}

/// What the server shows until the authority has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub domain: String,
    pub method: Method,
    /// The last part of the path of HTTP-01.
    pub token: String,
    /// The content of HTTP-01; TLS-ALPN-01 shows its hash.
    pub key_authorization: String,
}

/// A text of the authority in one line of bounded length.
fn shown(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut: String = line.trim().chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < line.trim().len() { format!("{cut}…") } else { cut }
}
