//! One attempt to send a mail: to a server that plays each possible behaviour, and into a file.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use natter::base::id::Id;
use natter::base::secret::Secret;
use natter::base::time::UnixMs;
use natter::model::job::{Delivery, Done, Job};
use natter::model::mail::Letter;
use natter::proto::smtp::{Mailbox, SmtpOptions, Tls};
use natter::work::Trust;
use natter::work::mail::{MailOptions, Mailer};

use super::script::{Script, Step};
use crate::support::TestDir;

fn letter(body: &str) -> Letter {
    Letter {
        id: Id::from_u128(7),
        member: Id::from_u128(9),
        kind: "verification code",
        to: Secret::new("ada@example.net".to_owned()),
        date_ms: UnixMs(1_795_352_634_120),
        subject: Secret::new("Your code".to_owned()),
        body: Secret::new(body.to_owned()),
    }
}

fn send(mailer: &mut Mailer, letter: Letter) -> Delivery {
    match mailer.run(Job::SendMail(Box::new(letter))) {
        Done::Mail(delivery) => delivery,
        done => panic!("{done:?}"),
    }
}

fn from() -> Mailbox {
    Mailbox::parse("natter <chat@example.org>").expect("a mailbox")
}

fn to_server(port: u16, user: Option<&str>) -> Mailer {
    let smtp = SmtpOptions {
        host_name: "chat.example.org".to_owned(),
        tls: Tls::None,
        user: user.map(str::to_owned),
        password: "secret".to_owned(),
    };
    let trust = Trust::new(None).expect("the built-in roots");
    let options = MailOptions::Server { host: "127.0.0.1".to_owned(), port, from: from(), smtp, trust };
    Mailer::new(options, Arc::default())
}

/// The script of a server that accepts everything, up to `steps` of it; `last` replaces its last line.
fn script(steps: usize, last: Option<&str>) -> Vec<Step> {
    let mut all: Vec<Step> = [
        ("", "220 mx ready\r\n"),
        ("\r\n", "250-mx\r\n250 8BITMIME\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "354 go on\r\n"),
        ("\r\n.\r\n", "250 taken\r\n"),
        ("\r\n", "221 bye\r\n"),
    ]
    .into_iter()
    .map(|(until, answer)| (until, answer.to_owned()))
    .collect();
    all.truncate(steps);
    if let (Some(last), Some(step)) = (last, all.last_mut()) {
        step.1 = last.to_owned();
    }
    all
}

/// A mail arrives unchanged and with all header fields. The predecessor's mails had neither Date nor Message-ID.
#[test]
fn a_mail_is_delivered_byte_for_byte() {
    let server = Script::play(script(7, None));
    let body = "Hello,\n\n.dot\nرمز 042137\n";
    assert_eq!(send(&mut to_server(server.address.port(), None), letter(body)), Delivery::Sent);
    let received = server.received();
    let expect = [
        "EHLO chat.example.org\r\nMAIL FROM:<chat@example.org> BODY=8BITMIME\r\nRCPT TO:<ada@example.net>\r\nDATA\r\n",
        "From: \"natter\"\r\n <chat@example.org>\r\nTo: <ada@example.net>\r\nSubject: Your code\r\n",
        "Date: Sun, 22 Nov 2026 13:03:54 +0000\r\nMessage-ID: <00000000000000000000000007@example.org>\r\n",
        "\r\n\r\nHello,\r\n\r\n..dot\r\nرمز 042137\r\n.\r\nQUIT\r\n",
    ];
    for part in expect {
        assert!(received.contains(part), "{part:?} in {received:?}");
    }
}

#[test]
fn a_login_is_made_if_one_is_configured() {
    let mut steps = script(7, None);
    steps[1].1 = "250-mx\r\n250 AUTH PLAIN LOGIN\r\n".to_owned();
    steps.insert(2, ("\r\n", "235 welcome\r\n".to_owned()));
    let server = Script::play(steps);
    let port = server.address.port();
    assert_eq!(send(&mut to_server(port, Some("chat")), letter("x")), Delivery::Sent);
    // base64 of NUL chat NUL secret.
    assert!(server.received().contains("AUTH PLAIN AGNoYXQAc2VjcmV0\r\n"));
}

#[test]
fn the_result_follows_the_server_s_reply() {
    for (steps, last, expect) in [
        (1, Some("554 go away\r\n"), Delivery::Failed),
        (2, Some("421 shutting down\r\n"), Delivery::Failed),
        (4, Some("450 try later <ada@example.net>\r\n"), Delivery::Failed),
        (4, Some("550 no such user <ada@example.net>\r\n"), Delivery::Refused),
        (6, Some("451 disk\r\n"), Delivery::Failed),
        (6, Some("554 spam\r\n"), Delivery::Refused),
        // The connection breaks: before the final reply the result is open; after it only the reply to QUIT is lost.
        (5, None, Delivery::Failed),
        (6, None, Delivery::Sent),
        (2, Some("this is no SMTP\r\n"), Delivery::Failed),
    ] {
        let server = Script::play(script(steps, last));
        let delivery = send(&mut to_server(server.address.port(), None), letter("x"));
        assert_eq!(delivery, expect, "{steps} {last:?}");
        server.received();
    }
}

#[test]
fn a_closed_port_is_a_failure() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    assert_eq!(send(&mut to_server(port, None), letter("x")), Delivery::Failed);
}

#[test]
fn without_a_server_mails_are_kept_in_a_private_file() {
    let dir = TestDir::new();
    let path = dir.path().join("mail.mbox");
    let options = MailOptions::File { path: path.clone(), from: from() };
    let mut mailer = Mailer::new(options, Arc::default());
    assert_eq!(send(&mut mailer, letter("one 111111\n")), Delivery::Sent);
    assert_eq!(send(&mut mailer, letter("From the second\n")), Delivery::Sent);
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text.matches("From chat@example.org Sun Nov 22 13:03:54 2026\n").count(), 2, "{text}");
    assert!(text.contains("\n\none 111111\n\n") && text.contains("\n\n>From the second\n\n"), "{text}");
    let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // A folder has the file's name: nothing was sent, and nothing is lost.
    let options = MailOptions::File { path: dir.path().to_owned(), from: from() };
    assert_eq!(send(&mut Mailer::new(options, Arc::default()), letter("x")), Delivery::Failed);
}

/// No address can inject a command or a header field. In the predecessor header lines could be injected.
#[test]
fn no_address_carries_a_command_or_a_header() {
    let mut mailer = to_server(1, None);
    for to in ["ada@example.net>\r\nRCPT TO:<bob@example.net", "", "ada", "ada@example.net\n"] {
        let letter = Letter { to: Secret::new(to.to_owned()), ..letter("x") };
        assert_eq!(send(&mut mailer, letter), Delivery::Refused, "{to:?}");
    }
}
