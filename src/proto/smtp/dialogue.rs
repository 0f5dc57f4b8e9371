//! Sends one mail to one server (RFC 5321): bytes in, actions out.
//!
//! The caller owns the socket and its time limits, and performs the action of [`Dialogue::poll`] until it is `Done`.
//!
//! ```text
//! Connect ─► Greeting ─► Hello ─► Ehlo ─► [Starttls ─► Hello ─► Ehlo] ─► [Auth…] ─► Mail ─► Rcpt ─► Data
//!                                  └─► Helo ─► Mail                        any refusal ──► Quit ◄── Sent
//! ```
//! If AUTH PLAIN fails and the server also offers AUTH LOGIN, AUTH LOGIN follows: some servers offer both and accept only the
//! second.
//!
//! Invariants: with TLS configured, no credential and no mail is sent in clear text. A failure is permanent only if the server
//! says so about this mail. A failure of our configuration (the password, no STARTTLS) can be repaired by an operator during
//! the day in which the mail is tried again: it is a separate outcome, which is reported at once.

use super::mail::{Mail, Transport, compose};
use super::reply::{Replies, Reply};
use crate::base::crypto::base64;

/// Characters of a mail server's words that are kept with a failure, for the log.
const SMTP_TEXT_MAX: usize = 256;

/// How the connection to the server is protected (EMAIL_TLS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Clear text until STARTTLS (RFC 3207), which must succeed.
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Clear text, with the password too: for a server on this host.
    None,
}

#[derive(Clone)]
pub struct SmtpOptions {
    /// Our name in EHLO.
    pub host_name: String,
    pub tls: Tls,
    /// Without a user there is no authentication.
    pub user: Option<String>,
    pub password: String,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Send(Vec<u8>),
    /// Read, then [`Dialogue::receive`] or [`Dialogue::ended`].
    NeedInput,
    /// Start the TLS handshake on this connection now; all later bytes go through TLS. If it fails, the mail was not sent,
    /// and the failure is transient.
    StartTls,
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The mail can be tried again. `code` is 0 if the server gave none.
    TransientFailure {
        code: u16,
        text: String,
    },
    /// The mail can be tried again, but it fails until an operator corrects the configuration.
    Misconfigured {
        code: u16,
        text: String,
    },
    /// Another attempt is useless.
    PermanentFailure {
        code: u16,
        text: String,
    },
}

/// ```
/// use natter::base::time::UnixMs;
/// use natter::proto::smtp::{Action, Dialogue, Mail, Mailbox, Outcome, SmtpOptions, Tls};
///
/// let mail = Mail {
///     from: Mailbox::parse("natter <chat@example.org>").expect("a mailbox"),
///     to: Mailbox::parse("ada@example.net").expect("a mailbox"),
///     subject: "Hello".to_owned(),
///     body: "Hello.\n".to_owned(),
///     date_ms: UnixMs(0),
///     message_id: "1@example.org".to_owned(),
/// };
/// let options =
///     SmtpOptions { host_name: "chat".to_owned(), tls: Tls::None, user: None, password: String::new() };
/// let mut dialogue = Dialogue::new(options, mail);
/// let mut server = ["220 ready\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 queued\r\n"].into_iter();
/// let outcome = loop {
///     match dialogue.poll() {
///         // A caller writes these bytes to its socket.
///         Action::Send(_) => {}
///         Action::NeedInput => match server.next() {
///             Some(reply) => dialogue.receive(reply.as_bytes()),
///             None => dialogue.ended(),
///         },
///         Action::StartTls => unreachable!("TLS is not configured"),
///         Action::Done(outcome) => break outcome,
///     }
/// };
/// assert_eq!(outcome, Outcome::Delivered);
/// ```
pub struct Dialogue {
    options: SmtpOptions,
    mail: Mail,
    state: State,
    replies: Replies,
    secure: bool,
    ended: bool,
    extensions: Extensions,
}

/// Each state is named after the reply that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Connect,
    Greeting,
    /// For no reply: the client sends next.
    Hello,
    Ehlo,
    Helo,
    Starttls,
    /// AUTH PLAIN carries the response at once. A server may still ask for it with an empty challenge (RFC 4954 §4), which is
    /// answered once.
    AuthPlain {
        challenged: bool,
    },
    /// AUTH LOGIN (in no RFC, but in every server): it asks for the name, then for the password.
    AuthName,
    AuthPassword,
    Auth,
    Mail,
    Rcpt,
    Data,
    Sent,
    Quit(Outcome),
    Over(Outcome),
}

/// The extensions that the server offers.
#[derive(Clone, Copy, Debug, Default)]
struct Extensions {
    starttls: bool,
    eight_bit: bool,
    auth_plain: bool,
    auth_login: bool,
}

impl Dialogue {
    pub fn new(options: SmtpOptions, mail: Mail) -> Dialogue {
        Dialogue {
            options,
            mail,
            state: State::Connect,
            replies: Replies::default(),
            secure: false,
            ended: false,
            extensions: Extensions::default(),
        }
    }

    /// Takes bytes of the server, decrypted if TLS has begun.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.replies.receive(bytes);
    }

    /// The connection ended, or the server took too long.
    pub fn ended(&mut self) {
        self.ended = true;
    }

    pub fn poll(&mut self) -> Action {
        loop {
            match &self.state {
                State::Connect => {
                    self.state = State::Greeting;
                    if self.options.tls == Tls::Implicit {
                        self.secure = true;
                        return Action::StartTls;
                    }
                }
                State::Hello => {
                    // An attacker may have injected the clear text before this (RFC 3207 §4.2): replies and
                    // extensions are forgotten.
                    self.replies.clear();
                    self.extensions = Extensions::default();
                    self.state = State::Ehlo;
                    return self.say(&format!("EHLO {}", self.host_name()));
                }
                State::Over(outcome) => return Action::Done(outcome.clone()),
                _ => match self.replies.next() {
                    Ok(Some(reply)) => {
                        if let Some(action) = self.take(&reply) {
                            return action;
                        }
                    }
                    Ok(None) if !self.ended => return Action::NeedInput,
                    Ok(None) => self.over("the connection ended"),
                    Err(_) => self.over("the server does not speak SMTP"),
                },
            }
        }
    }

    /// Advances by one reply; `None` if the state alone decides the next action.
    fn take(&mut self, reply: &Reply) -> Option<Action> {
        let state = std::mem::replace(&mut self.state, State::Connect);
        if let State::Quit(outcome) = state {
            self.state = State::Over(outcome);
            return None;
        }
        if reply.code == 421 {
            // The server closes now (§3.8), so a QUIT would not be read.
            self.state = State::Over(failure(reply, Blame::Moment));
            return None;
        }
        if !self.replies.is_empty() && !matches!(state, State::Starttls | State::Sent) {
            // The client sends one command at a time. A reply before its command would be taken for the reply to
            // the next command, in the worst case for the acceptance of the mail.
            self.over("the server replied before a command was sent");
            return None;
        }
        match (state, reply.code) {
            (State::Greeting, 220) => {
                self.state = State::Hello;
                None
            }
            (State::Ehlo, 250) => {
                self.extensions = read_extensions(&reply.lines);
                Some(self.after_hello(reply))
            }
            // An old server (§3.2). It has neither STARTTLS nor AUTH.
            (State::Ehlo, 500 | 502 | 504 | 550) if self.options.user.is_none() && self.is_protected() => {
                self.state = State::Helo;
                Some(self.say(&format!("HELO {}", self.host_name())))
            }
            (State::Helo, 250) => Some(self.after_hello(reply)),
            (State::Starttls, 220) => {
                self.secure = true;
                self.state = State::Hello;
                Some(Action::StartTls)
            }
            (State::AuthPlain { challenged: false }, 334) => {
                self.state = State::AuthPlain { challenged: true };
                let response = self.plain_response();
                Some(self.say(&response))
            }
            (State::AuthPlain { .. }, 235) => Some(self.mail_from()),
            (State::AuthPlain { .. }, 400..) if self.extensions.auth_login => {
                self.state = State::AuthName;
                Some(self.say("AUTH LOGIN"))
            }
            (State::AuthName, 334) => {
                self.state = State::AuthPassword;
                Some(self.say(&base64(self.user().as_bytes())))
            }
            (State::AuthPassword, 334) => {
                self.state = State::Auth;
                Some(self.say(&base64(self.options.password.as_bytes())))
            }
            (State::Auth, 235) => Some(self.mail_from()),
            (State::Mail, 250) => {
                self.state = State::Rcpt;
                Some(self.say(&format!("RCPT TO:<{}>", self.mail.to.address.as_str())))
            }
            (State::Rcpt, 250..=252) => {
                self.state = State::Data;
                Some(self.say("DATA"))
            }
            (State::Data, 354) => {
                self.state = State::Sent;
                Some(Action::Send(stuff_dots(&compose(&self.mail, self.transport()))))
            }
            (State::Sent, 250) => Some(self.quit(Outcome::Delivered)),
            (state, code) => {
                let outcome = match state {
                    _ if code < 500 => failure(reply, Blame::Moment),
                    // A server that refuses the connection may accept it later.
                    State::Greeting => failure(reply, Blame::Moment),
                    // "Authenticate first" and similar replies (RFC 4954 §6) are about the client, in every state.
                    _ if matches!(code, 530 | 534 | 535 | 538) => failure(reply, Blame::Us),
                    State::Mail | State::Rcpt | State::Data | State::Sent => failure(reply, Blame::Mail),
                    _ => failure(reply, Blame::Us),
                };
                Some(self.quit(outcome))
            }
        }
    }

    /// EHLO is complete: start TLS, authenticate, or begin the mail.
    fn after_hello(&mut self, reply: &Reply) -> Action {
        let unable = |text: &str| Outcome::Misconfigured { code: 0, text: text.to_owned() };
        if !self.is_protected() {
            if !self.extensions.starttls {
                return self.quit(unable("the server offers no STARTTLS"));
            }
            self.state = State::Starttls;
            return self.say("STARTTLS");
        }
        match &self.options.user {
            None => self.mail_from(),
            Some(_) if self.extensions.auth_plain => {
                let response = self.plain_response();
                self.state = State::AuthPlain { challenged: false };
                self.say(&format!("AUTH PLAIN {response}"))
            }
            Some(_) if self.extensions.auth_login => {
                self.state = State::AuthName;
                self.say("AUTH LOGIN")
            }
            Some(_) => {
                let refusal = kept_text(reply);
                self.quit(unable(&format!("the server offers neither AUTH PLAIN nor AUTH LOGIN: {refusal}")))
            }
        }
    }

    /// An empty authorization identity, the user, the password (RFC 4616 §2).
    fn plain_response(&self) -> String {
        base64(format!("\0{}\0{}", self.user(), self.options.password).as_bytes())
    }

    fn mail_from(&mut self) -> Action {
        self.state = State::Mail;
        let body = match self.transport() {
            Transport::EightBit if !self.mail.body.is_ascii() => " BODY=8BITMIME",
            _ => "",
        };
        self.say(&format!("MAIL FROM:<{}>{body}", self.mail.from.address.as_str()))
    }

    /// Whether the configured protection is active.
    fn is_protected(&self) -> bool {
        self.secure || self.options.tls == Tls::None
    }

    fn transport(&self) -> Transport {
        if self.extensions.eight_bit { Transport::EightBit } else { Transport::SevenBit }
    }

    fn user(&self) -> &str {
        self.options.user.as_deref().unwrap_or_default()
    }

    /// A domain or an address literal. It can never contain a second command.
    fn host_name(&self) -> String {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || ".-:[]".contains(*c);
        let name: String = self.options.host_name.chars().filter(allowed).take(255).collect();
        if name.is_empty() { "localhost".to_owned() } else { name }
    }

    fn say(&self, line: &str) -> Action {
        Action::Send(format!("{line}\r\n").into_bytes())
    }

    fn quit(&mut self, outcome: Outcome) -> Action {
        self.state = State::Quit(outcome);
        self.say("QUIT")
    }

    /// Ends without another command. An outcome that was decided before QUIT stays.
    fn over(&mut self, why: &str) {
        self.state = match std::mem::replace(&mut self.state, State::Connect) {
            State::Quit(outcome) => State::Over(outcome),
            _ => State::Over(Outcome::TransientFailure { code: 0, text: why.to_owned() }),
        };
    }
}

/// What a refusal is about.
enum Blame {
    Moment,
    Us,
    Mail,
}

fn failure(reply: &Reply, blame: Blame) -> Outcome {
    let (code, text) = (reply.code, kept_text(reply));
    match blame {
        Blame::Moment => Outcome::TransientFailure { code, text },
        Blame::Us => Outcome::Misconfigured { code, text },
        Blame::Mail => Outcome::PermanentFailure { code, text },
    }
}

fn kept_text(reply: &Reply) -> String {
    reply.lines.join(" ").chars().take(SMTP_TEXT_MAX).collect()
}

/// Each line after the first one names an extension (RFC 5321 §4.1.1.1). `AUTH=` is an old form.
fn read_extensions(lines: &[String]) -> Extensions {
    let mut found = Extensions::default();
    for line in lines.iter().skip(1) {
        let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("STARTTLS") => found.starttls = true,
            Some("8BITMIME") => found.eight_bit = true,
            Some("AUTH") => words.for_each(|mechanism| {
                found.auth_plain |= mechanism == "PLAIN";
                found.auth_login |= mechanism == "LOGIN";
            }),
            _ => {}
        }
    }
    found
}

/// Adds a dot before each line that begins with one, and a last line with only a dot (§4.5.2). The mail ends with CRLF.
fn stuff_dots(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests;
