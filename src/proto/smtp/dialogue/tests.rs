//! Tests of the SMTP dialogue with scripted servers, with several splits of their bytes.

use std::collections::VecDeque;

use super::super::Mailbox;
use super::*;
use crate::base::time::UnixMs;
use crate::limits::SMTP_REPLY_MAX;

/// What the client must send, and the reply of the server. `*` is the TLS handshake.
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
        date_ms: UnixMs(0),
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
    let mut answer = |dialogue: &mut Dialogue, line: &str| match script.next() {
        Some(&(expect, reply)) => {
            assert_eq!(line, expect);
            reply.as_bytes().chunks(size).map(<[u8]>::to_vec).collect::<VecDeque<_>>()
        }
        None => {
            dialogue.ended();
            VecDeque::new()
        }
    };
    let mut coming = if options.tls == Tls::Implicit { VecDeque::new() } else { answer(&mut dialogue, "") };
    for _ in 0..2 * SMTP_REPLY_MAX {
        match dialogue.poll() {
            Action::Send(bytes) => {
                assert!(coming.is_empty(), "the client sent a command before the reply was complete");
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

fn misconfigured(code: u16, text: &str) -> Outcome {
    Outcome::Misconfigured { code, text: text.to_owned() }
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
    // The reply to QUIT may be missing, and may be anything.
    check(&options(Tls::None, None), ".a\nb.\n.", &script[..6], &Outcome::Delivered);
    let mut rude = script;
    rude[6].1 = "garbage\r\n";
    check(&options(Tls::None, None), ".a\nb.\n.", &rude, &Outcome::Delivered);
    // The reply to the mail may not be missing.
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
fn an_old_server_gets_helo_only_if_no_protection_is_lost() {
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
    check(&options(Tls::None, Some("me")), "b", &refused, &misconfigured(502, "what?"));
    check(&options(Tls::Starttls, None), "b", &refused, &misconfigured(502, "what?"));
}

#[test]
fn protection_is_never_given_up() {
    let starttls = options(Tls::Starttls, Some("me"));
    let none = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n"), QUIT];
    check(&starttls, "b", &none, &misconfigured(0, "the server offers no STARTTLS"));
    let offered = [GREETING, (EHLO, "250-mx\r\n250 STARTTLS\r\n")];
    let refused = [&offered[..], &[("STARTTLS\r\n", "454 not now\r\n"), QUIT]].concat();
    check(&starttls, "b", &refused, &transient(454, "not now"));
    // Text injected after the last reply in clear text is used neither as a reply nor as an extension.
    let injected = "220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n";
    let script =
        [&offered[..], &[("STARTTLS\r\n", injected), ("*", ""), (EHLO, "250 mx\r\n"), QUIT]].concat();
    let expect = misconfigured(0, "the server offers neither AUTH PLAIN nor AUTH LOGIN: mx");
    assert_eq!(play(&starttls, "b", &script, usize::MAX), expect);
}

#[test]
fn a_failure_is_permanent_only_if_it_is_about_the_mail() {
    let plain = options(Tls::None, None);
    let ok = "250 ok\r\n";
    let full = [GREETING, (EHLO, ok), (MAIL, ok), (RCPT, ok), ("DATA\r\n", "354 go\r\n")];
    let sent = data("b", "7bit");
    for (steps, reply, expect) in [
        (0, "554 we don't like you\r\n", transient(554, "we don't like you")),
        (2, "550 no such sender\r\n", permanent(550, "no such sender")),
        (2, "530 authenticate first\r\n", misconfigured(530, "authenticate first")),
        (2, "451 later\r\n", transient(451, "later")),
        (3, "550-5.1.1 no\r\n550 5.1.1 such\r\n", permanent(550, "5.1.1 no 5.1.1 such")),
        (3, "450 greylisted\r\n", transient(450, "greylisted")),
        (4, "554 no\r\n", permanent(554, "no")),
        (4, "250 what\r\n", transient(250, "what")),
        (5, "552 too big\r\n", permanent(552, "too big")),
        (5, "354 again\r\n", transient(354, "again")),
    ] {
        let line = if steps == 5 { sent.as_str() } else { full[steps].0 };
        let script = [&full[..steps], &[(line, reply), QUIT]].concat();
        check(&plain, "b", &script, &expect);
    }
    let auth = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n")];
    let wrong = [&auth[..], &[("AUTH PLAIN AG1lAHNlY3JldA==\r\n", "535 wrong\r\n"), QUIT]].concat();
    check(&options(Tls::None, Some("me")), "b", &wrong, &misconfigured(535, "wrong"));
}

#[test]
fn plain_that_fails_is_followed_by_login_where_it_is_offered() {
    const PLAIN: &str = "AUTH PLAIN AG1lAHNlY3JldA==\r\n";
    let sent = data("b", "7bit");
    let delivered = [
        (MAIL, "250 ok\r\n"),
        (RCPT, "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
        (&sent, "250 queued\r\n"),
        QUIT,
    ];
    let login = [
        ("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"),
        ("bWU=\r\n", "334 UGFzc3dvcmQ6\r\n"),
        ("c2VjcmV0\r\n", "235 in\r\n"),
    ];
    let me = options(Tls::None, Some("me"));
    let both = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN LOGIN\r\n")];
    for reply in ["535 wrong\r\n", "504 no such mechanism\r\n", "553 no\r\n", "454 not now\r\n"] {
        let script = [&both[..], &[(PLAIN, reply)], &login, &delivered].concat();
        check(&me, "b", &script, &Outcome::Delivered);
    }
    // An empty challenge is answered; what fails then is followed by LOGIN too.
    let response = "AG1lAHNlY3JldA==\r\n";
    let plain = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n"), (PLAIN, "334 \r\n")];
    let script = [&plain[..], &[(response, "235 in\r\n")], &delivered].concat();
    check(&me, "b", &script, &Outcome::Delivered);
    let challenged = [&both[..], &[(PLAIN, "334\r\n"), (response, "535 wrong\r\n")], &login, &delivered];
    check(&me, "b", &challenged.concat(), &Outcome::Delivered);
    // Two challenges and a wrong password twice: one failure, for the operator.
    let twice = [&plain[..], &[(response, "334 \r\n"), QUIT]].concat();
    check(&me, "b", &twice, &transient(334, ""));
    let wrong =
        [&both[..], &[(PLAIN, "535 wrong\r\n")], &login[..2], &[("c2VjcmV0\r\n", "535 wrong too\r\n"), QUIT]];
    check(&me, "b", &wrong.concat(), &misconfigured(535, "wrong too"));
    let later = [GREETING, (EHLO, "250-mx\r\n250 AUTH PLAIN\r\n"), (PLAIN, "454 not now\r\n"), QUIT];
    check(&me, "b", &later, &transient(454, "not now"));
}

#[test]
fn a_server_out_of_step_or_closing_ends_it() {
    let plain = options(Tls::None, None);
    check(&plain, "b", &[("", "421 busy\r\n")], &transient(421, "busy"));
    check(&plain, "b", &[("", "HTTP/1.1 400 Bad\r\n")], &transient(0, "the server does not speak SMTP"));
    let ahead = [GREETING, (EHLO, "250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n")];
    let expect = transient(0, "the server replied before a command was sent");
    assert_eq!(play(&plain, "b", &ahead, usize::MAX), expect);
    let endless = "220-x\r\n".repeat(4_000);
    check(&plain, "b", &[("", &endless)], &transient(0, "the server does not speak SMTP"));
    let long = format!("554 {}\r\n", "x".repeat(500));
    check(&plain, "b", &[("", &long), QUIT], &transient(554, &"x".repeat(SMTP_TEXT_MAX)));
}
