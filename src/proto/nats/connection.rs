//! One connection to a NATS server as a value: bytes in, events out, bytes to send.
//!
//! ```text
//! Greeting ─INFO─► [Handshake ─secured─►] Connecting ─PONG─► Ready
//!     any ── -ERR, or bytes that are not the protocol ──► Over
//! ```
//! The caller owns the socket, the TLS handshake that [`Event::StartTls`] asks for, and all time limits. It calls
//! [`Connection::poll`] until it returns `None` after each [`Connection::receive`].
//!
//! The addresses of other servers in INFO (`connect_urls`) are ignored. The operator lists the servers: what a server
//! announces is often an address inside its own network, its name is in no certificate, and before TLS anybody could have written it.
//!
//! Invariants: with TLS configured, no credential and no message is sent in clear text. What waits to be sent has a bound.

use super::message::Message;
use super::parser::{Frame, Parser};
use super::{shown, writer};
use crate::base::json::{self, Value};
use crate::base::secret::Secret;

/// Bytes that wait to be sent. Above: [`PublishError::Full`].
const OUT_MAX: usize = 16 * 1_024 * 1_024;
/// Bytes of the output that were sent before it is moved to the front of its buffer.
const SENT_MAX: usize = 64 * 1_024;

#[derive(Clone, Debug, Default)]
pub enum Credentials {
    #[default]
    None,
    Password {
        user: String,
        password: Secret,
    },
    Token(Secret),
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TLS is demanded, whatever the server says. Without it TLS is used if the server demands it.
    pub tls: bool,
    pub credentials: Credentials,
    /// Our name, which the server shows to its operator.
    pub name: String,
    /// Whether our own messages come back to our own subscriptions. What a stream delivers comes from its server, so it comes
    /// in any case.
    pub echo: bool,
}

/// What the server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub server_name: String,
    pub version: String,
    pub max_payload: usize,
    pub jetstream: bool,
    tls_required: bool,
    tls_available: bool,
    headers: bool,
    retiring: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Start the TLS handshake on this socket now, then call [`Connection::secured`]. All later bytes go through TLS.
    StartTls,
    /// The server has accepted us: subscribe and publish.
    Ready,
    Message(Message),
    /// The answer to [`Connection::ping`].
    Pong,
    /// The server will end soon: connect to another one.
    Retiring,
    /// The server forbids a subject; the connection goes on. The text is for the log.
    Denied(String),
    /// The connection is over.
    Failed(Fault),
}

/// Why a connection is over. The text is for the log and contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails until an operator corrects the configuration of one of the two sides.
    Misconfigured(String),
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The connection is not ready.
    NotReady,
    /// It is longer than the server's `max_payload`.
    TooLarge,
    /// Too much waits to be sent.
    Full,
    /// A subject is empty, or contains a space or a control character.
    Subject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Handshake,
    Connecting,
    Ready,
    Over,
}

pub struct Connection {
    options: Options,
    state: State,
    info: Info,
    parser: Parser,
    out: Vec<u8>,
    /// Bytes at the start of `out` that were sent.
    sent: usize,
}

impl Connection {
    pub fn new(options: Options) -> Connection {
        Connection {
            options,
            state: State::Greeting,
            info: Info::default(),
            parser: Parser::default(),
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Takes bytes of the server, decrypted if TLS has begun.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.parser.receive(bytes);
        }
    }

    pub fn poll(&mut self) -> Option<Event> {
        // In the handshake the bytes are not ours.
        while !matches!(self.state, State::Handshake | State::Over) {
            let event = match self.parser.next() {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => return None,
                Err(malformed) => {
                    self.over(Fault::Failed(format!("the server does not speak NATS: {}", malformed.0)))
                }
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The TLS handshake is complete.
    pub fn secured(&mut self) {
        if self.state == State::Handshake {
            self.connect();
        }
    }

    pub fn info(&self) -> &Info {
        &self.info
    }

    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Bytes for the socket, encrypted if TLS has begun.
    pub fn outgoing(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// `count` bytes of [`Connection::outgoing`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent = self.out.len().min(self.sent + count);
        if self.sent == self.out.len() && self.out.capacity() > SENT_MAX {
            self.out = Vec::new();
            self.sent = 0;
        } else if self.sent == self.out.len() || self.sent > SENT_MAX {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Publishes a message. `reply` is the subject that answers go to, or empty.
    pub fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.publish_with(subject, reply, b"", payload)
    }

    /// As [`Connection::publish`], with headers: `NATS/1.0`, then lines as in HTTP, then an empty line.
    pub fn publish_with(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &[u8],
        payload: &[u8],
    ) -> Result<(), PublishError> {
        if !is_subject(subject) || !reply.is_empty() && !is_subject(reply) {
            return Err(PublishError::Subject);
        }
        let length = headers.len() + payload.len();
        if length > self.info.max_payload {
            return Err(PublishError::TooLarge);
        }
        self.writable(length)?;
        writer::publish(&mut self.out, subject, reply, headers, payload);
        Ok(())
    }

    pub fn subscribe(&mut self, subject: &str, sid: u32) -> Result<(), PublishError> {
        if !is_subject(subject) {
            return Err(PublishError::Subject);
        }
        self.writable(subject.len())?;
        writer::subscribe(&mut self.out, subject, sid);
        Ok(())
    }

    pub fn unsubscribe(&mut self, sid: u32) -> Result<(), PublishError> {
        self.writable(0)?;
        writer::unsubscribe(&mut self.out, sid);
        Ok(())
    }

    /// Asks for a sign of life, which is [`Event::Pong`].
    pub fn ping(&mut self) -> Result<(), PublishError> {
        self.writable(0)?;
        self.out.extend_from_slice(b"PING\r\n");
        Ok(())
    }

    fn writable(&self, more: usize) -> Result<(), PublishError> {
        if self.state != State::Ready {
            return Err(PublishError::NotReady);
        }
        if self.outgoing().len() + more > OUT_MAX { Err(PublishError::Full) } else { Ok(()) }
    }

    fn take(&mut self, frame: Frame) -> Option<Event> {
        match (self.state, frame) {
            (_, Frame::Info(json)) => self.take_info(&json),
            (State::Greeting, _) => self
                .over(Fault::Failed("the server did not begin with INFO: is it a NATS server?".to_owned())),
            (_, Frame::Err(text)) => self.take_error(&text),
            (State::Connecting, Frame::Pong) => {
                self.state = State::Ready;
                Some(Event::Ready)
            }
            (State::Ready, Frame::Pong) => Some(Event::Pong),
            (State::Ready, Frame::Message(message)) => Some(Event::Message(message)),
            (_, Frame::Ping) => {
                // A server that sends PING without reading the answers is not a NATS server.
                if self.outgoing().len() > OUT_MAX {
                    return self.over(Fault::Failed("the server does not read".to_owned()));
                }
                self.out.extend_from_slice(b"PONG\r\n");
                None
            }
            (_, Frame::Ok) => None,
            (_, Frame::Pong | Frame::Message(_)) => {
                self.over(Fault::Failed("the server sent a message before it was asked".to_owned()))
            }
        }
    }

    /// The first INFO decides how to go on; later ones announce changes.
    fn take_info(&mut self, json: &[u8]) -> Option<Event> {
        let Some(info) = read_info(json) else {
            return self.over(Fault::Failed("the server's INFO can't be read".to_owned()));
        };
        let was_retiring = std::mem::replace(&mut self.info, info).retiring;
        if self.state != State::Greeting {
            let is_new = self.info.retiring && !was_retiring;
            return is_new.then_some(Event::Retiring);
        }
        let unable = |text: &str| Fault::Misconfigured(text.to_owned());
        if !self.info.headers {
            return self.over(unable("the server is without headers: set no_header_support to false"));
        }
        if !self.options.tls && !self.info.tls_required {
            self.connect();
            return None;
        }
        if !self.info.tls_required && !self.info.tls_available {
            return self.over(unable("the server has no TLS, which the address tls:// demands"));
        }
        if !self.parser.is_empty() {
            // Clear text that somebody else may have put behind INFO must not be taken for what TLS protects.
            return self
                .over(Fault::Failed("the server sent clear text before the TLS handshake".to_owned()));
        }
        self.options.tls = true;
        self.state = State::Handshake;
        Some(Event::StartTls)
    }

    fn take_error(&mut self, text: &str) -> Option<Event> {
        let contains = |part: &str| text.to_ascii_lowercase().contains(part);
        if contains("permissions violation") || contains("invalid subject") {
            return Some(Event::Denied(format!("the server forbids it: {text}")));
        }
        let said = format!("the server says: {text}");
        let is_ours = contains("authorization") || contains("authentication") || contains("tls required");
        self.over(if is_ours { Fault::Misconfigured(said) } else { Fault::Failed(said) })
    }

    /// The PONG to this PING says that the credentials are good.
    fn connect(&mut self) {
        self.state = State::Connecting;
        writer::connect(&mut self.out, &self.options);
        self.out.extend_from_slice(b"PING\r\n");
    }

    fn over(&mut self, fault: Fault) -> Option<Event> {
        self.state = State::Over;
        Some(Event::Failed(fault))
    }
}

fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

fn read_info(json: &[u8]) -> Option<Info> {
    let value = json::parse(json).ok()?;
    let text = |name| value.get(name).and_then(Value::as_str).map_or_else(String::new, shown);
    let flag = |name| matches!(value.get(name), Some(Value::Bool(true)));
    let max_payload = value.get("max_payload").and_then(Value::as_i64)?;
    Some(Info {
        server_name: text("server_name"),
        version: text("version"),
        max_payload: usize::try_from(max_payload).ok()?,
        jetstream: flag("jetstream"),
        tls_required: flag("tls_required"),
        tls_available: flag("tls_available"),
        headers: flag("headers"),
        retiring: flag("ldm"),
    })
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
