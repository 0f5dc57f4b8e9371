//! Cases of HTTP and of the Autobahn suite against the real binary, each over a plain connection and over TLS, in pieces of several
//! sizes: the answers are the same.
//!
//! The tables of every case, split at every byte, are in `tests/suite` and `proto`; these are one or more of each kind. A piece is
//! one TLS record. Every connection over TLS must end by close_notify, so that a client knows that it has the complete answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::support::TestDir;
use super::support::http::next_response;
use super::support::net::PATIENCE;
use super::support::process::{Launch, Natter};

/// Sizes of pieces. Inputs longer than [`LONG`] are not sent byte by byte.
const PIECES: [usize; 4] = [usize::MAX, 16_384, 61, 1];
const LONG: usize = 2_000;

/// One server for each kind of connection.
struct Servers {
    plain: Natter,
    #[cfg(feature = "tls")]
    secure: Natter,
    _dirs: [TestDir; 2],
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Servers {
    fn start() -> Servers {
        let dirs = [TestDir::new(), TestDir::new()];
        Servers {
            plain: Launch::new(dirs[0].path()).start(),
            #[cfg(feature = "tls")]
            secure: super::support::tls::secure(Launch::new(dirs[1].path())).start(),
            _dirs: dirs,
        }
    }

    /// The bytes that the server sends after `input` until it ends the connection, which are the same however they are sent.
    fn answer(&self, input: &[u8], normalize: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let mut answers = Vec::new();
        for size in PIECES.into_iter().filter(|size| *size > 61 || input.len() < LONG) {
            answers.push(("plain", size, play(Box::new(plain(self.plain.address)), input, size)));
            #[cfg(feature = "tls")]
            {
                use super::support::tls;
                let stream = tls::connect(self.secure.address, &tls::config()).expect("a handshake");
                answers.push(("https", size, play(Box::new(stream), input, size)));
            }
        }
        let mut answers = answers.into_iter().map(|(kind, size, bytes)| (kind, size, normalize(bytes)));
        let (_, _, first) = answers.next().expect("one");
        for (kind, size, other) in answers {
            let shown = String::from_utf8_lossy(&input[..input.len().min(200)]);
            assert!(
                first == other,
                "{shown:?} in pieces of {size} over {kind}: {:?} instead of {:?}",
                String::from_utf8_lossy(&other),
                String::from_utf8_lossy(&first)
            );
        }
        first
    }

    fn stop(self) {
        self.plain.stop();
        #[cfg(feature = "tls")]
        self.secure.stop();
    }
}

fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Sends pieces, and reads to the end.
fn play(mut stream: Box<dyn Stream>, input: &[u8], size: usize) -> Vec<u8> {
    for piece in input.chunks(size.min(input.len())) {
        // A server that has refused the first pieces may have ended the connection.
        if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end by FIN, and over TLS by close_notify");
    bytes
}

/// The last request of each connection: it is answered only if the connection lasted until then.
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn http_is_the_same_over_tls() {
    let servers = Servers::start();
    let get = |lines: &str| format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    let post = |lines: &str, body: &str| {
        format!(
            "POST /api/v1/user/refresh HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{lines}\r\n{body}"
        )
    };
    let body = r#"{"refresh":"x"}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut faults = Vec::new();
    for (input, expect) in [
        (get(""), &[200, 200][..]),
        (get("").repeat(20), &[200; 21]),
        (get("Connection: close\r\n"), &[200]),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), &[200]),
        ("GET http://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[200, 200]),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[200, 200]),
        ("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[404, 200]),
        ("DELETE /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[405, 200]),
        ("GET /api/v1/user HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[404, 200]),
        ("GET /api/v1/conversations HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[401, 200]),
        ("GET /api/v1/ws HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[401, 200]),
        // Bodies.
        (post(&length, body), &[401, 200]),
        (post(&length, body).repeat(3), &[401, 401, 401, 200]),
        (post(chunked, &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())), &[401, 200]),
        (post(chunked, "1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n"), &[401, 200]),
        (post("Content-Length: 2\r\n", "[]"), &[400, 200]),
        (post("Content-Length: 1\r\n", "{"), &[400, 200]),
        (post("Content-Length: 65537\r\n", ""), &[413]),
        (post(chunked, "x\r\n"), &[400]),
        (post(chunked, "1\r\n{x"), &[400]),
        // What two parsers could read differently.
        (get("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), &[400]),
        (get("Content-Length: 3\r\nContent-Length: 4\r\n"), &[400]),
        (get("Content-Length: +3\r\n"), &[400]),
        (get("Transfer-Encoding: chunked, gzip\r\n"), &[400]),
        (get("A: b\r\n c\r\n"), &[400]),
        (get("A : b\r\n"), &[400]),
        (get("A: b\0c\r\n"), &[400]),
        ("GET /healthz HTTP/1.1\nHost: h\r\n\r\n".to_owned(), &[400]),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), &[400]),
        ("GET /healthz HTTP/2.0\r\nHost: h\r\n\r\n".to_owned(), &[505]),
        ("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[501, 200]),
        (get(&format!("A: {}\r\n", "x".repeat(20_000))), &[431]),
        // A file of many records, and the same as 304 and in part.
        ("GET /docs HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), &[200, 200]),
        ("GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3), &[200, 200, 200, 200]),
    ] {
        let input = format!("{input}{LAST}");
        let statuses = |mut bytes: Vec<u8>| {
            let mut seen = Vec::new();
            while let Some(response) = next_response(&mut bytes, false) {
                let length = response.body.len();
                // The body of /healthz has the time since the start.
                seen.push(format!("{} {}", response.status, if length < 1_000 { 0 } else { length }));
            }
            assert!(bytes.is_empty(), "half a response: {:?}", String::from_utf8_lossy(&bytes));
            seen.join("\n").into_bytes()
        };
        let seen = String::from_utf8(servers.answer(input.as_bytes(), statuses)).expect("UTF-8");
        let seen: Vec<u16> = seen
            .lines()
            .map(|line| line.split(' ').next().expect("a status").parse().expect("a number"))
            .collect();
        if seen != expect {
            faults.push(format!("{seen:?} instead of {expect:?}: {:?}", &input[..input.len().min(200)]));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    servers.stop();
}

#[cfg(feature = "conformance")]
mod websocket {
    use super::*;

    const CONTINUE: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    /// Added to an opcode: not the last fragment.
    const MORE: u8 = 0x40;
    const UPGRADE: &str = "GET /__echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    fn frame(opcode: u8, payload: impl AsRef<[u8]>, mask: Option<[u8; 4]>) -> Vec<u8> {
        let payload = payload.as_ref();
        let mut bytes = vec![if opcode & MORE == 0 { 0x80 | opcode } else { opcode & !MORE }];
        let bit = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            len @ 0..=125 => bytes.push(bit | len as u8),
            len @ 126..=65_535 => {
                bytes.push(bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(bit | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(mask.into_iter().flatten());
        let mask = mask.unwrap_or_default();
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn theirs(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
        frame(opcode, payload, Some([0x12, 0x34, 0x56, 0x78]))
    }

    fn ours(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
        frame(opcode, payload, None)
    }

    fn code(code: u16) -> Vec<u8> {
        code.to_be_bytes().to_vec()
    }

    /// The frames of a client, to which a close is added, and what comes back; `ends` is the close frame of the server.
    fn check(servers: &Servers, name: &str, frames: &[Vec<u8>], expect: &[Vec<u8>], ends: u16) {
        let input = [UPGRADE.as_bytes(), &frames.concat(), &theirs(CLOSE, code(1000))].concat();
        let after_head = |bytes: Vec<u8>| {
            assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{name}: {:?}", String::from_utf8_lossy(&bytes));
            let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
            bytes[head + 4..].to_vec()
        };
        let seen = servers.answer(&input, after_head);
        let expect = [expect.concat(), ours(CLOSE, code(ends))].concat();
        assert!(seen == expect, "{name}: {:x?} instead of {:x?}", head_of(&seen), head_of(&expect));
    }

    fn head_of(bytes: &[u8]) -> &[u8] {
        &bytes[..bytes.len().min(64)]
    }

    #[test]
    fn websockets_are_the_same_over_tls() {
        let servers = Servers::start();
        let good =
            |name: &str, frames: &[Vec<u8>], expect: &[Vec<u8>]| check(&servers, name, frames, expect, 1000);
        let bad = |name: &str, frames: &[Vec<u8>], ends: u16| check(&servers, name, frames, &[], ends);
        for len in [0, 1, 125, 126, 127, 128, 1_024, 16_379, 16_380, 16_384, 65_535, 65_536] {
            let text = vec![b'*'; len];
            good("1.1, 9.1", &[theirs(TEXT, &text)], &[ours(TEXT, &text)]);
            good("1.2, 9.2", &[theirs(BINARY, &text)], &[ours(BINARY, &text)]);
        }
        let many: Vec<_> = (0..60_u32).map(|n| n.to_be_bytes().repeat(1_000)).collect();
        let sent: Vec<_> = many.iter().map(|bytes| theirs(BINARY, bytes)).collect();
        let echoed: Vec<_> = many.iter().map(|bytes| ours(BINARY, bytes)).collect();
        good("9.7", &sent, &echoed);
        good("2.2", &[theirs(PING, "Hello")], &[ours(PONG, "Hello")]);
        good("2.4", &[theirs(PING, [0xfe; 125])], &[ours(PONG, [0xfe; 125])]);
        bad("2.5", &[theirs(PING, [0xfe; 126])], 1002);
        good("2.7", &[theirs(PONG, "unasked")], &[]);
        let pings: Vec<_> = (0..10_u8).map(|n| theirs(PING, [n])).collect();
        let pongs: Vec<_> = (0..10_u8).map(|n| ours(PONG, [n])).collect();
        good("2.10", &pings, &pongs);
        for rsv in 1..8_u8 {
            let mut reserved = theirs(TEXT, "x");
            reserved[0] |= rsv << 4;
            bad("3", &[reserved], 1002);
        }
        for opcode in (3..8).chain(11..16) {
            bad("4", &[theirs(opcode, "x")], 1002);
        }
        bad("not masked", &[ours(TEXT, "x")], 1002);
        bad("5.1", &[theirs(PING | MORE, "a"), theirs(CONTINUE, "b")], 1002);
        let (first, last) = (theirs(TEXT | MORE, "one "), theirs(CONTINUE, "two"));
        good("5.3", &[first.clone(), last.clone()], &[ours(TEXT, "one two")]);
        good("5.6", &[first.clone(), theirs(PING, "p"), last], &[ours(PONG, "p"), ours(TEXT, "one two")]);
        bad("5.9", &[theirs(CONTINUE, "x")], 1002);
        bad("5.18", &[first, theirs(TEXT, "two")], 1002);
        let text = "Hello-µ@ßöäüàá-UTF-8!! 🦀\u{10ffff}";
        good("6.2.1", &[theirs(TEXT, text)], &[ours(TEXT, text)]);
        for at in [8, 9, text.len() - 2] {
            let parts =
                [theirs(TEXT | MORE, &text.as_bytes()[..at]), theirs(CONTINUE, &text.as_bytes()[at..])];
            good("6.2.2", &parts, &[ours(TEXT, text)]);
        }
        for not_utf8 in [&b"\x80"[..], b"ab\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce"]
        {
            bad("6.3", &[theirs(TEXT, not_utf8)], 1007);
        }
        for ends in [1000, 1001, 1003, 1011, 3000, 4999] {
            bad("7.7", &[theirs(CLOSE, code(ends))], ends);
        }
        bad("7.3.2", &[theirs(CLOSE, "a")], 1002);
        bad("7.5.1", &[theirs(CLOSE, [&code(1000)[..], b"\xce\xba\xed\xa0\x80"].concat())], 1007);
        servers.stop();
    }
}
