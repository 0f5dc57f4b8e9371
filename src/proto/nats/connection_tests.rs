//! The connection from bytes to events, and its bounds.

use proptest::prelude::*;

use super::*;

const INFO: &str = "INFO {\"server_name\":\"n1\",\"version\":\"2.15.3\",\"max_payload\":100,\"headers\":true,\"jetstream\":true}\r\n";
const SECURE: &str = "INFO {\"tls_required\":true,\"max_payload\":100,\"headers\":true}\r\n";

fn options(tls: bool) -> Options {
    Options {
        tls,
        credentials: Credentials::Password {
            user: "ann".to_owned(),
            password: Secret::new("pw\"".to_owned()),
        },
        name: "natter a".to_owned(),
        echo: false,
    }
}

/// What a caller sees: the events, and the bytes to send. The handshake is done at once.
fn play<'a>(options: Options, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, String) {
    let mut conn = Connection::new(options);
    let (mut events, mut sent) = (Vec::new(), String::new());
    for piece in pieces {
        conn.receive(piece);
        while let Some(event) = conn.poll() {
            if event == Event::StartTls {
                assert_eq!(conn.outgoing(), b"", "nothing is sent in clear text");
                conn.secured();
            }
            events.push(event);
        }
        sent.push_str(std::str::from_utf8(conn.outgoing()).expect("text"));
        conn.sent(conn.outgoing().len());
    }
    (events, sent)
}

#[track_caller]
fn check(options: &Options, input: &str, expect: &[Event], sent: &str) {
    let bytes = input.as_bytes();
    let expect = (expect.to_vec(), sent.to_owned());
    assert_eq!(play(options.clone(), [bytes].into_iter()), expect, "{input:?}");
    for at in 0..bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(play(options.clone(), [one, two].into_iter()), expect, "{input:?} split at {at}");
    }
    assert_eq!(play(options.clone(), bytes.chunks(1)), expect, "{input:?} in bytes");
}

fn connect(tls: bool, credentials: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":{tls},\"echo\":false,\"headers\":true,\"no_responders\":true,\
         \"lang\":\"rust\",\"version\":\"{version}\",\"protocol\":1,\"name\":\"natter a\"{credentials}}}\r\nPING\r\n"
    )
}

const PASSWORD: &str = ",\"user\":\"ann\",\"pass\":\"pw\\\"\"";

fn failed(text: &str) -> Event {
    Event::Failed(Fault::Failed(text.to_owned()))
}

fn misconfigured(text: &str) -> Event {
    Event::Failed(Fault::Misconfigured(text.to_owned()))
}

#[test]
fn a_connection_becomes_ready_with_each_kind_of_credentials() {
    let clear = options(false);
    check(&clear, &format!("{INFO}PONG\r\n"), &[Event::Ready], &connect(false, PASSWORD));
    let token = Options { credentials: Credentials::Token(Secret::new("t".to_owned())), ..clear.clone() };
    check(
        &token,
        &format!("{INFO}+OK\r\nPONG\r\n"),
        &[Event::Ready],
        &connect(false, ",\"auth_token\":\"t\""),
    );
    let none = Options { credentials: Credentials::None, ..clear };
    check(
        &none,
        &format!("{INFO}PING\r\nPONG\r\n"),
        &[Event::Ready],
        &format!("{}PONG\r\n", connect(false, "")),
    );
}

#[test]
fn tls_begins_after_info_before_any_credential() {
    let secured = format!("{}PONG\r\n", "");
    let tls = connect(true, PASSWORD);
    for wants in [false, true] {
        let mut conn = Connection::new(options(wants));
        conn.receive(SECURE.as_bytes());
        assert_eq!((conn.poll(), conn.poll()), (Some(Event::StartTls), None));
        assert_eq!(conn.outgoing(), b"");
        assert_eq!(conn.publish("a", "", b""), Err(PublishError::NotReady));
        conn.secured();
        assert_eq!(conn.outgoing(), tls.as_bytes());
        conn.receive(secured.as_bytes());
        assert_eq!(conn.poll(), Some(Event::Ready));
    }
    let available = SECURE.replace("tls_required", "tls_available");
    check(&options(true), &available, &[Event::StartTls], &tls);
    check(&options(false), &available, &[], &connect(false, PASSWORD));
    let no_tls = misconfigured("the server has no TLS, which the address tls:// demands");
    check(&options(true), INFO, &[no_tls], "");
    // In one piece: somebody put it there. In two, the second piece is no record of TLS.
    let (events, sent) = play(options(true), [format!("{SECURE}PONG\r\n").as_bytes()].into_iter());
    assert_eq!(events, [failed("the server sent clear text before the TLS handshake")]);
    assert_eq!(sent, "");
}

#[test]
fn messages_pings_and_announcements_are_events() {
    let ready = format!("{INFO}PONG\r\n");
    let sent = connect(false, PASSWORD);
    let message = Message { sid: 3, subject: "a".to_owned(), payload: b"hi".to_vec(), ..Message::default() };
    let input = format!("{ready}MSG a 3 2\r\nhi\r\nPING\r\nPONG\r\n");
    let expect = [Event::Ready, Event::Message(message), Event::Pong];
    check(&options(false), &input, &expect, &format!("{sent}PONG\r\n"));
    let retiring = INFO.replace("\"max", "\"ldm\":true,\"max");
    let input = format!("{ready}{INFO}{retiring}{retiring}");
    check(&options(false), &input, &[Event::Ready, Event::Retiring], &sent);
    let denied = "Permissions Violation for Publish to \"a\"";
    let input = format!("{ready}-ERR '{denied}'\r\nPONG\r\n");
    let expect = [Event::Ready, Event::Denied(format!("the server forbids it: {denied}")), Event::Pong];
    check(&options(false), &input, &expect, &sent);
}

#[test]
fn a_server_that_refuses_or_is_none_ends_the_connection() {
    let sent = connect(false, PASSWORD);
    let said = |text: &str| format!("the server says: {text}");
    let after = format!("{INFO}-ERR 'Authorization Violation'\r\nPONG\r\nPING\r\n");
    check(&options(false), &after, &[misconfigured(&said("Authorization Violation"))], &sent);
    let after = format!("{INFO}PONG\r\n-ERR 'Stale Connection'\r\nPONG\r\n");
    check(&options(false), &after, &[Event::Ready, failed(&said("Stale Connection"))], &sent);
    let first = "the server did not begin with INFO: is it a NATS server?";
    check(&options(false), "PING\r\n", &[failed(first)], "");
    let noise = "the server does not speak NATS: a line is not of the protocol";
    check(&options(false), "220 mx ready\r\n", &[failed(noise)], "");
    check(&options(false), "INFO {\r\n", &[failed("the server's INFO can't be read")], "");
    check(&options(false), "INFO {\"max_payload\":-1}\r\n", &[failed("the server's INFO can't be read")], "");
    let headers = "the server is without headers: set no_header_support to false";
    check(&options(false), "INFO {\"max_payload\":1}\r\n", &[misconfigured(headers)], "");
    let early = "the server sent a message before it was asked";
    check(&options(false), &format!("{INFO}MSG a 1 0\r\n\r\n"), &[failed(early)], &sent);
}

fn ready() -> Connection {
    let mut conn = Connection::new(options(false));
    conn.receive(format!("{INFO}PONG\r\n").as_bytes());
    assert_eq!(conn.poll(), Some(Event::Ready));
    conn.sent(conn.outgoing().len());
    conn
}

#[test]
fn what_is_published_is_written_and_bounded() {
    let mut conn = ready();
    assert_eq!(conn.info().server_name, "n1");
    assert_eq!(conn.publish("a.b", "", b"hi"), Ok(()));
    assert_eq!(conn.publish("a", "r", b""), Ok(()));
    assert_eq!(conn.publish_with("a", "r", b"NATS/1.0\r\n\r\n", b"x"), Ok(()));
    assert_eq!((conn.subscribe("a.>", 7), conn.unsubscribe(7), conn.ping()), (Ok(()), Ok(()), Ok(())));
    let expect = "PUB a.b 2\r\nhi\r\nPUB a r 0\r\n\r\nHPUB a r 12 13\r\nNATS/1.0\r\n\r\nx\r\nSUB a.> 7\r\nUNSUB 7\r\nPING\r\n";
    assert_eq!(String::from_utf8_lossy(conn.outgoing()), expect);
    for bad in ["", "a b", "a\r\n", "a\tb", "\0"] {
        assert_eq!(conn.publish(bad, "", b""), Err(PublishError::Subject));
        assert_eq!(conn.subscribe(bad, 1), Err(PublishError::Subject));
    }
    assert_eq!(conn.publish("a", "r r", b""), Err(PublishError::Subject));
    assert_eq!(conn.publish("a", "", &[0; 100]), Ok(()));
    assert_eq!(conn.publish("a", "", &[0; 101]), Err(PublishError::TooLarge));
    let mut count = 0;
    while conn.publish("a", "", &[0; 100]).is_ok() {
        count += 1;
        assert!(conn.outgoing().len() < OUT_MAX + 200, "after {count}");
    }
    assert_eq!(conn.publish("a", "", &[0; 100]), Err(PublishError::Full));
    conn.sent(OUT_MAX / 2);
    assert_eq!(conn.publish("a", "", b"x"), Ok(()));
    conn.sent(usize::MAX);
    assert_eq!((conn.outgoing(), conn.out.capacity()), (&b""[..], 0));
}

#[test]
fn sent_bytes_are_never_sent_again() {
    let mut conn = ready();
    let mut sent = Vec::new();
    for number in 0..3_000u32 {
        conn.publish("a", "", &number.to_be_bytes()).expect("room");
        let count = conn.outgoing().len().min(number as usize % 37);
        sent.extend_from_slice(&conn.outgoing()[..count]);
        conn.sent(count);
    }
    sent.extend_from_slice(conn.outgoing());
    let expect: Vec<u8> = (0..3_000u32)
        .flat_map(|number| [b"PUB a 4\r\n", &number.to_be_bytes()[..], b"\r\n"].concat())
        .collect();
    assert!(sent == expect);
}

#[test]
fn a_server_that_only_pings_is_left() {
    let mut conn = ready();
    let pings = "PING\r\n".repeat(100_000);
    let over = (0..100).find_map(|_| {
        conn.receive(pings.as_bytes());
        conn.poll()
    });
    assert_eq!(over, Some(failed("the server does not read")));
}

proptest! {
    #[test]
    fn any_bytes_are_the_same_events_at_once_and_split(
        parts in prop::collection::vec(prop_oneof![
            Just(INFO), Just("PONG\r\n"), Just("PING\r\n"), Just("+OK\r\n"), Just("-ERR 'x'\r\n"),
            Just("MSG a 1 2\r\nhi\r\n"), Just("HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n"), Just("MSG a"), Just("\r\n"), Just("{"),
        ], 0..10),
        cut in 1usize..30,
    ) {
        let input = [INFO, &parts.concat()].concat();
        let whole = play(options(false), [input.as_bytes()].into_iter());
        prop_assert_eq!(play(options(false), input.as_bytes().chunks(cut)), whole);
    }
}
