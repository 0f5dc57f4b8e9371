//! One mail handed to one server (RFC 5321): bytes in, actions out. The caller owns the socket and its time
//! limits, and does what [`Dialogue::poll`] says until it says `Done`.
//!
//! ```text
//! Connect ─► Greeting ─► Hello ─► Ehlo ─► [Starttls ─► Hello ─► Ehlo] ─► [Auth…] ─► Mail ─► Rcpt ─► Data
//!                                  └─► Helo ─► Mail                        any refusal ──► Quit ◄── Sent
//! ```
//! Invariants: no credential and no mail travels in clear where TLS was configured; a failure is permanent
//! only if the server said so of this mail. What it says of us (our address, our password, no STARTTLS) an
//! operator can mend within the day in which the mail is tried again.

use super::base64;
use super::mail::{Mail, Transport, compose};
use super::reply::{Replies, Reply};
use crate::limits::SMTP_TEXT_MAX;

/// How the way to the server is protected (EMAIL_TLS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Clear until STARTTLS (RFC 3207), which must succeed.
    Starttls,
    /// From the first byte (RFC 8314).
    Implicit,
    /// Clear, password included: for a server on this host.
    None,
}

#[derive(Clone)]
pub struct SmtpOptions {
    /// Our name in EHLO.
    pub host_name: String,
    pub tls: Tls,
    /// Without a user nothing is authenticated.
    pub user: Option<String>,
    pub password: String,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Send(Vec<u8>),
    /// Read, then [`Dialogue::receive`] or [`Dialogue::ended`].
    NeedInput,
    /// Shake hands on this connection now; from here on all bytes go through TLS. If that fails, the mail
    /// was not sent, and the failure is transient.
    StartTls,
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// To be tried again. `code` is 0 where the server gave none.
    TransientFailure {
        code: u16,
        text: String,
    },
    /// Trying again is of no use.
    PermanentFailure {
        code: u16,
        text: String,
    },
}

pub struct Dialogue {
    options: SmtpOptions,
    mail: Mail,
    state: State,
    replies: Replies,
    secure: bool,
    ended: bool,
    extensions: Extensions,
}

/// Named by the reply it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Connect,
    Greeting,
    /// For nothing: we speak next.
    Hello,
    Ehlo,
    Helo,
    Starttls,
    /// AUTH LOGIN (in no RFC, in every server): asks for the name, then for the password.
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

/// What the server offered.
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

    /// Bytes of the server, through TLS once that has begun.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.replies.receive(bytes);
    }

    /// The connection is over, or the server took too long.
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
                    // What came before this in clear may be anyone's words (RFC 3207 §4.2, the injection
                    // of a plaintext command): forgotten, extensions included.
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

    /// Moves on by one reply; `None` where the state alone says what is next.
    fn take(&mut self, reply: &Reply) -> Option<Action> {
        let state = std::mem::replace(&mut self.state, State::Connect);
        if let State::Quit(outcome) = state {
            self.state = State::Over(outcome);
            return None;
        }
        if reply.code == 421 {
            // The server closes now (§3.8): nobody is there to hear a QUIT.
            self.state = State::Over(failure(reply, false));
            return None;
        }
        if !self.replies.is_empty() && !matches!(state, State::Starttls | State::Sent) {
            // We ask one thing at a time. An answer before its question would be taken for that of the next
            // one, at the worst for a receipt.
            self.over("the server answered before it was asked");
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
                let of_this_mail = matches!(state, State::Mail | State::Rcpt | State::Data | State::Sent)
                    // "Authenticate first" and its kin (RFC 4954 §6) are about us, wherever they are said.
                    && !matches!(code, 530 | 534 | 535 | 538);
                Some(self.quit(failure(reply, of_this_mail && (500..600).contains(&code))))
            }
        }
    }

    /// The hellos are exchanged: protect, authenticate, or begin.
    fn after_hello(&mut self, reply: &Reply) -> Action {
        let unable = |text: &str| Outcome::TransientFailure { code: 0, text: text.to_owned() };
        if !self.is_protected() {
            if !self.extensions.starttls {
                return self.quit(unable("the server offers no STARTTLS"));
            }
            self.state = State::Starttls;
            return self.say("STARTTLS");
        }
        match &self.options.user {
            None => self.mail_from(),
            Some(user) if self.extensions.auth_plain => {
                let secret = base64(format!("\0{user}\0{}", self.options.password).as_bytes());
                self.state = State::Auth;
                self.say(&format!("AUTH PLAIN {secret}"))
            }
            Some(_) if self.extensions.auth_login => {
                self.state = State::AuthName;
                self.say("AUTH LOGIN")
            }
            Some(_) => {
                let said = kept_text(reply);
                self.quit(unable(&format!("the server offers neither AUTH PLAIN nor AUTH LOGIN: {said}")))
            }
        }
    }

    fn mail_from(&mut self) -> Action {
        self.state = State::Mail;
        let body = match self.transport() {
            Transport::EightBit if !self.mail.body.is_ascii() => " BODY=8BITMIME",
            _ => "",
        };
        self.say(&format!("MAIL FROM:<{}>{body}", self.mail.from.address.as_str()))
    }

    /// As much protection as was configured is in place.
    fn is_protected(&self) -> bool {
        self.secure || self.options.tls == Tls::None
    }

    fn transport(&self) -> Transport {
        if self.extensions.eight_bit { Transport::EightBit } else { Transport::SevenBit }
    }

    fn user(&self) -> &str {
        self.options.user.as_deref().unwrap_or_default()
    }

    /// A domain or an address literal, and never a second command.
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

    /// Ends without a word. What was decided before QUIT stays decided.
    fn over(&mut self, why: &str) {
        self.state = match std::mem::replace(&mut self.state, State::Connect) {
            State::Quit(outcome) => State::Over(outcome),
            _ => State::Over(Outcome::TransientFailure { code: 0, text: why.to_owned() }),
        };
    }
}

fn failure(reply: &Reply, permanent: bool) -> Outcome {
    let (code, text) = (reply.code, kept_text(reply));
    if permanent {
        Outcome::PermanentFailure { code, text }
    } else {
        Outcome::TransientFailure { code, text }
    }
}

fn kept_text(reply: &Reply) -> String {
    reply.lines.join(" ").chars().take(SMTP_TEXT_MAX).collect()
}

/// The lines behind the first name an extension each (RFC 5321 §4.1.1.1). `AUTH=` is an old spelling.
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

/// A dot before each line that begins with one, and the line that is only a dot (§4.5.2). The mail ends in
/// CRLF.
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
mod tests {
    use std::collections::VecDeque;

    use super::super::Mailbox;
    use super::*;
    use crate::limits::SMTP_REPLY_MAX;

    /// What the client must send, and what the server then answers. `*` is the handshake.
    type Script<'a> = &'a [(&'a str, &'a str)];

    const GREETING: (&str, &str) = ("", "220 mx ready\r\n");
    const QUIT: (&str, &str) = ("QUIT\r\n", "221 bye\r\n");
    const EHLO: &str = "EHLO chat.example.org\r\n";
    const MAIL: &str = "MAIL FROM:<chat@example.org>\r\n";
    const RCPT: &str = "RCPT TO:<ada@example.net>\r\n";

    fn mail(body: &str) -> Mail {
        Mail {
            from: Mailbox::parse("natter <chat@example.org>").expect("a mailbox"),
            to: Mailbox::parse("ada@example.net").expect("a mailbox"),
            subject: "s".to_owned(),
            body: body.to_owned(),
            date_ms: 0,
            message_id: "1@example.org".to_owned(),
        }
    }

    fn options(tls: Tls, user: Option<&str>) -> SmtpOptions {
        SmtpOptions {
            host_name: "chat.example.org\r\n".to_owned(),
            tls,
            user: user.map(str::to_owned),
            password: "secret".to_owned(),
        }
    }

    /// Plays `script` with the server's bytes in pieces of `size`; the connection ends with the script.
    fn play(options: &SmtpOptions, body: &str, script: Script<'_>, size: usize) -> Outcome {
        let mut dialogue = Dialogue::new(options.clone(), mail(body));
        let mut script = script.iter();
        let mut answer = |dialogue: &mut Dialogue, said: &str| match script.next() {
            Some(&(expect, reply)) => {
                assert_eq!(said, expect);
                reply.as_bytes().chunks(size).map(<[u8]>::to_vec).collect::<VecDeque<_>>()
            }
            None => {
                dialogue.ended();
                VecDeque::new()
            }
        };
        let mut coming =
            if options.tls == Tls::Implicit { VecDeque::new() } else { answer(&mut dialogue, "") };
        for _ in 0..2 * SMTP_REPLY_MAX {
            match dialogue.poll() {
                Action::Send(bytes) => {
                    assert!(coming.is_empty(), "the client spoke before the reply was whole");
                    coming = answer(&mut dialogue, std::str::from_utf8(&bytes).expect("UTF-8"));
                }
                Action::StartTls => coming = answer(&mut dialogue, "*"),
                Action::NeedInput => match coming.pop_front() {
                    Some(piece) => dialogue.receive(&piece),
                    None => dialogue.ended(),
                },
                Action::Done(outcome) => {
                    assert_eq!(dialogue.poll(), Action::Done(outcome.clone()));
                    assert!(script.next().is_none(), "the dialogue ended early: {outcome:?}");
                    return outcome;
                }
            }
        }
        panic!("the dialogue does not end");
    }

    fn check(options: &SmtpOptions, body: &str, script: Script<'_>, expect: &Outcome) {
        for size in [usize::MAX, 1, 2, 3, 7] {
            assert_eq!(&play(options, body, script, size), expect, "in pieces of {size}");
        }
    }

    fn data(body: &str, encoding: &str) -> String {
        let mail = compose(&mail("x"), Transport::EightBit);
        let mail = String::from_utf8(mail).expect("UTF-8").replace("7bit\r\n\r\nx\r\n", "");
        format!("{mail}{encoding}\r\n\r\n{body}\r\n.\r\n")
    }

    fn transient(code: u16, text: &str) -> Outcome {
        Outcome::TransientFailure { code, text: text.to_owned() }
    }

    fn permanent(code: u16, text: &str) -> Outcome {
        Outcome::PermanentFailure { code, text: text.to_owned() }
    }

    #[test]
    fn a_mail_in_clear_with_dots_stuffed() {
        let sent = data("..a\r\nb.\r\n..", "7bit");
        let script = [
            ("", "220-mx\r\n220 ready\r\n"),
            (EHLO, "250-mx\r\n250-SIZE 100\r\n250 8bitmime\r\n"),
            (MAIL, "250 2.1.0 ok\r\n"),
            (RCPT, "251 forwards\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            (&sent, "250 queued\r\n"),
            QUIT,
        ];
        check(&options(Tls::None, None), ".a\nb.\n.", &script, &Outcome::Delivered);
        // The goodbye may be missing, and may say anything.
        check(&options(Tls::None, None), ".a\nb.\n.", &script[..6], &Outcome::Delivered);
        let mut rude = script;
        rude[6].1 = "garbage\r\n";
        check(&options(Tls::None, None), ".a\nb.\n.", &rude, &Outcome::Delivered);
        // The receipt may not.
        for end in 1..6 {
            let expect = transient(0, "the connection ended");
            check(&options(Tls::None, None), ".a\nb.\n.", &script[..end], &expect);
        }
    }

    #[test]
    fn starttls_then_auth_plain_then_eight_bits() {
        let sent = data("\u{e9}", "8bit");
        let rest = [
            (EHLO, "250-mx\r\n250-AUTH LOGIN PLAIN\r\n250 8BITMIME\r\n"),
            ("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "235 in\r\n"),
            ("MAIL FROM:<chat@example.org> BODY=8BITMIME\r\n", "250 ok\r\n"),
            (RCPT, "250 ok\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            (&sent, "250 queued\r\n"),
            QUIT,
        ];
        let offered = (EHLO, "250-mx\r\n250 STARTTLS\r\n");
        let starttls = [GREETING, offered, ("STARTTLS\r\n", "220 go\r\n"), ("*", "")];
        let both = [&starttls[..], &rest].concat();
        check(&options(Tls::Starttls, Some("me")), "\u{e9}", &both, &Outcome::Delivered);
        let implicit = [&[("*", GREETING.1)][..], &rest].concat();
        check(&options(Tls::Implicit, Some("me")), "\u{e9}", &implicit, &Outcome::Delivered);
    }

    #[test]
    fn auth_login_and_a_server_of_seven_bits() {
        let sent = data("w6kNCg==", "base64");
        let script = [
            GREETING,
            (EHLO, "250-mx\r\n250 AUTH=LOGIN\r\n"),
            ("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"),
            ("bWU=\r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("c2VjcmV0\r\n", "235 in\r\n"),
            (MAIL, "250 ok\r\n"),
            (RCPT, "250 ok\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            (&sent, "250 queued\r\n"),
            QUIT,
        ];
        check(&options(Tls::None, Some("me")), "\u{e9}", &script, &Outcome::Delivered);
    }

    #[test]
    fn an_old_server_hears_helo_only_where_nothing_is_lost_by_it() {
        let sent = data("b", "7bit");
        let no_ehlo = [GREETING, (EHLO, "502 what?\r\n")];
        let old = [
            &no_ehlo[..],
            &[
                ("HELO chat.example.org\r\n", "250 mx\r\n"),
                (MAIL, "250 ok\r\n"),
                (RCPT, "250 ok\r\n"),
                ("DATA\r\n", "354 go\r\n"),
                (&sent, "250 queued\r\n"),
                QUIT,
            ],
        ]
        .concat();
        check(&options(Tls::None, None), "b", &old, &Outcome::Delivered);
        let refused = [&no_ehlo[..], &[QUIT]].concat();
        check(&options(Tls::None, Some("me")), "b", &refused, &transient(502, "what?"));
        check(&options(Tls::Starttls, None), "b", &refused, &transient(502, "what?"));
    }

    #[test]
    fn protection_is_never_given_up() {
        let starttls = options(Tls::Starttls, Some("me"));
        let none = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n"), QUIT];
        check(&starttls, "b", &none, &transient(0, "the server offers no STARTTLS"));
        let offered = [GREETING, (EHLO, "250-mx\r\n250 STARTTLS\r\n")];
        let refused = [&offered[..], &[("STARTTLS\r\n", "454 not now\r\n"), QUIT]].concat();
        check(&starttls, "b", &refused, &transient(454, "not now"));
        // Words injected behind the last reply in clear are not heard, neither as a reply nor as an offer.
        let injected = "220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n";
        let script =
            [&offered[..], &[("STARTTLS\r\n", injected), ("*", ""), (EHLO, "250 mx\r\n"), QUIT]].concat();
        let expect = transient(0, "the server offers neither AUTH PLAIN nor AUTH LOGIN: mx");
        assert_eq!(play(&starttls, "b", &script, usize::MAX), expect);
    }

    #[test]
    fn a_failure_is_permanent_only_if_it_is_said_of_the_mail() {
        let plain = options(Tls::None, None);
        let ok = "250 ok\r\n";
        let full = [GREETING, (EHLO, ok), (MAIL, ok), (RCPT, ok), ("DATA\r\n", "354 go\r\n")];
        let sent = data("b", "7bit");
        for (steps, reply, expect) in [
            (0, "554 we don't like you\r\n", transient(554, "we don't like you")),
            (2, "550 no such sender\r\n", permanent(550, "no such sender")),
            (2, "530 authenticate first\r\n", transient(530, "authenticate first")),
            (2, "451 later\r\n", transient(451, "later")),
            (3, "550-5.1.1 no\r\n550 5.1.1 such\r\n", permanent(550, "5.1.1 no 5.1.1 such")),
            (3, "450 greylisted\r\n", transient(450, "greylisted")),
            (4, "554 no\r\n", permanent(554, "no")),
            (4, "250 what\r\n", transient(250, "what")),
            (5, "552 too big\r\n", permanent(552, "too big")),
            (5, "354 again\r\n", transient(354, "again")),
        ] {
            let said = if steps == 5 { sent.as_str() } else { full[steps].0 };
            let script = [&full[..steps], &[(said, reply), QUIT]].concat();
            check(&plain, "b", &script, &expect);
        }
        let auth = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n")];
        let wrong = [&auth[..], &[("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "535 wrong\r\n"), QUIT]].concat();
        check(&options(Tls::None, Some("me")), "b", &wrong, &transient(535, "wrong"));
    }

    #[test]
    fn a_server_out_of_step_or_closing_ends_it() {
        let plain = options(Tls::None, None);
        check(&plain, "b", &[("", "421 busy\r\n")], &transient(421, "busy"));
        check(&plain, "b", &[("", "HTTP/1.1 400 Bad\r\n")], &transient(0, "the server does not speak SMTP"));
        let ahead = [GREETING, (EHLO, "250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n")];
        let expect = transient(0, "the server answered before it was asked");
        assert_eq!(play(&plain, "b", &ahead, usize::MAX), expect);
        let endless = "220-x\r\n".repeat(4_000);
        check(&plain, "b", &[("", &endless)], &transient(0, "the server does not speak SMTP"));
        let long = format!("554 {}\r\n", "x".repeat(500));
        check(&plain, "b", &[("", &long), QUIT], &transient(554, &"x".repeat(SMTP_TEXT_MAX)));
    }
}
