//! NATS, sans-IO: the client's side of its protocol, and of JetStream on top of it.
//!
//! [`Connection`] is one connection as a value, [`Servers`] the order in which servers are tried, [`jetstream`] the requests and
//! replies of a stream, [`safety`] what a cluster demands of the servers and of the stream. Leaves sockets, TLS and time to its
//! caller.
//! Invariant: no bytes of a server panic, and every buffer has a bound.
//!
//! The protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

mod connection;
pub mod jetstream;
mod message;
mod parser;
pub mod safety;
mod servers;
mod writer;

pub use connection::{Connection, Credentials, Event, Fault, Info, Options, PublishError};
pub use message::Message;
pub use servers::{Server, Servers};

/// Characters of a server's text that reach a log. The rest is cut.
const SHOWN_CHARS_MAX: usize = 256;

/// A text of a server in one line of bounded length.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether a text can be a part of a subject, or the name of a stream: it ends no word and no line of the protocol and is no
/// wildcard.
pub fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(allowed)
}
