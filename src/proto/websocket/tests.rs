//! Tests of the WebSocket: bytes in, messages and bytes out, with the numbers of the Autobahn suite.

use super::*;

const MAX: usize = 65_536;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MORE: u8 = 0x40; // added to an opcode: not the last fragment

/// A frame of a client. The opcode may carry `MORE`.
fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![if opcode & MORE == 0 { 0x80 | opcode } else { opcode & !MORE }];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0xfe);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn close_frame(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

/// A control frame of the server.
fn ours(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, payload.len() as u8], payload].concat()
}

fn our_close(code: u16, reason: &str) -> Vec<u8> {
    ours(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

fn show(incoming: Incoming) -> String {
    match incoming {
        Incoming::Text(text) if text.len() > 200 => format!("text of {}", text.len()),
        Incoming::Text(text) => format!("text {}", &*text),
        Incoming::Binary(bytes) if bytes.len() > 200 => format!("binary of {}", bytes.len()),
        Incoming::Binary(bytes) => format!("binary {:x?}", &*bytes),
        Incoming::Ping => "ping".into(),
        Incoming::Pong => "pong".into(),
        Incoming::Close { code } => format!("close {code:?}"),
        Incoming::Failed { code } => format!("failed {code}"),
    }
}

fn drain(socket: &mut WebSocket, out: &mut SendQueue) -> Vec<String> {
    std::iter::from_fn(|| socket.next(out)).map(show).collect()
}

/// The result of `chunks`, each drained before the next.
fn run<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Vec<u8>) {
    let (mut socket, mut out, mut seen) = (WebSocket::new(MAX), SendQueue::new(), Vec::new());
    for chunk in chunks {
        socket.feed(chunk);
        seen.extend(drain(&mut socket, &mut out));
        assert!(!socket.has_input());
        assert!(socket.input.len() < 139, "what is left is part of a head or of a control frame");
        assert!(socket.input.capacity() <= 2 * 139);
    }
    (seen, out.take_bytes())
}

fn check(name: &str, frames: &[Vec<u8>], seen: &[&str], out: &[u8]) {
    let bytes = frames.concat();
    let expect = (seen.iter().map(ToString::to_string).collect::<Vec<_>>(), out.to_vec());
    assert_eq!(run([&bytes[..]]), expect, "{name}");
    let near_an_edge = |at: &usize| bytes.len() < 2_000 || at % 4_099 < 20 || bytes.len() - at < 20;
    for at in (1..bytes.len()).filter(near_an_edge) {
        assert_eq!(run([&bytes[..at], &bytes[at..]]), expect, "{name}: split at {at}");
    }
    assert_eq!(run(bytes.chunks(1)), expect, "{name}: byte by byte");
    if !seen.iter().any(|seen| seen.starts_with("close") || seen.starts_with("failed")) {
        let twice = ([&expect.0[..], &expect.0].concat(), expect.1.repeat(2));
        assert_eq!(run([&bytes.repeat(2)[..]]), twice, "{name}: pipelined twice");
    }
}

/// A case that fails the connection, also with good frames before and after it.
fn check_failure(name: &str, frames: &[Vec<u8>], code: u16) {
    let failed = format!("failed {code}");
    check(name, frames, &[&failed], &our_close(code, ""));
    let mut among = vec![frame(TEXT, "a"), frame(PING, "p")];
    among.extend_from_slice(frames);
    among.extend([frame(TEXT, "b"), frame(PING, "q"), close_frame(1000, "")]);
    check(name, &among, &["text a", "ping", &failed], &[ours(PONG, b"p"), our_close(code, "")].concat());
}

#[test]
fn messages_of_every_length() {
    for len in [0, 1, 125, 126, 127, 128, 200] {
        let text = "*".repeat(len);
        check("1.1", &[frame(TEXT, &text)], &[&format!("text {text}")], b"");
        check("1.2", &[frame(BINARY, &text)], &[&format!("binary {:x?}", text.as_bytes())], b"");
    }
    for len in [1_023, 1_024, 1_025, 65_535, MAX] {
        check("1.1", &[frame(TEXT, vec![b'*'; len])], &[&format!("text of {len}")], b"");
        check("1.2", &[frame(BINARY, vec![0xfe; len])], &[&format!("binary of {len}")], b"");
    }
    check_failure("one more", &[frame(TEXT, vec![b'*'; MAX + 1])], TOO_BIG);
    let half = || frame(CONTINUE | MORE, vec![b'*'; MAX / 2]);
    let start = || frame(TEXT | MORE, vec![b'*'; MAX / 2]);
    check("the most", &[start(), half(), frame(CONTINUE, "")], &[&format!("text of {MAX}")], b"");
    check_failure("one more", &[start(), half(), frame(CONTINUE, "*")], TOO_BIG);
    let mut pieces = vec![frame(TEXT | MORE, vec![b'*'; 1_300])];
    pieces.extend((0..49).map(|_| frame(CONTINUE | MORE, vec![b'*'; 1_300])));
    pieces.push(frame(CONTINUE, vec![b'*'; 536]));
    check("10.1.1", &pieces, &[&format!("text of {MAX}")], b"");
}

#[test]
fn pings_and_pongs() {
    check("2.1", &[frame(PING, "")], &["ping"], &ours(PONG, b""));
    check("2.2", &[frame(PING, "Hello")], &["ping"], &ours(PONG, b"Hello"));
    check("2.3", &[frame(PING, [0, 255, 254, 0x81])], &["ping"], &ours(PONG, &[0, 255, 254, 0x81]));
    check("2.4", &[frame(PING, [0xfe; 125])], &["ping"], &ours(PONG, &[0xfe; 125]));
    check_failure("2.5", &[frame(PING, [0xfe; 126])], PROTOCOL_ERROR);
    check("2.7", &[frame(PONG, "")], &["pong"], b"");
    check("2.9", &[frame(PONG, "x"), frame(PING, "y")], &["pong", "ping"], &ours(PONG, b"y"));
    let pings: Vec<_> = (0..10u8).map(|n| frame(PING, [n])).collect();
    let pongs: Vec<_> = (0..10u8).map(|n| ours(PONG, &[n])).collect();
    check("2.10", &pings, &["ping"; 10], &pongs.concat());
}

#[test]
fn reserved_bits_and_opcodes() {
    for rsv in 1..8u8 {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let mut bad = frame(opcode, "x");
            bad[0] |= rsv << 4;
            check_failure("3", &[bad], PROTOCOL_ERROR);
        }
    }
    for opcode in (3..8).chain(11..16) {
        check_failure("4", &[frame(opcode, "")], PROTOCOL_ERROR);
        check_failure("4", &[frame(opcode, "x")], PROTOCOL_ERROR);
    }
    check_failure("not masked", &[vec![0x81, 1, b'x']], PROTOCOL_ERROR);
    check_failure("not masked", &[vec![0x89, 0]], PROTOCOL_ERROR);
    check_failure("a length in too many bytes", &[vec![0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x']], PROTOCOL_ERROR);
}

#[test]
fn fragments() {
    check_failure("5.1", &[frame(PING | MORE, "a"), frame(CONTINUE, "b")], PROTOCOL_ERROR);
    check_failure("5.2", &[frame(PONG | MORE, "a"), frame(CONTINUE, "b")], PROTOCOL_ERROR);
    let (first, last) = (frame(TEXT | MORE, "one "), frame(CONTINUE, "two"));
    check("5.3", &[first.clone(), last.clone()], &["text one two"], b"");
    let between = [first.clone(), frame(PING, "p"), last.clone()];
    check("5.6", &between, &["ping", "text one two"], &ours(PONG, b"p"));
    check_failure("5.9", &[frame(CONTINUE, "x"), frame(TEXT, "y")], PROTOCOL_ERROR);
    check_failure("5.12", &[frame(CONTINUE | MORE, "x"), frame(TEXT, "y")], PROTOCOL_ERROR);
    check_failure("5.15", &[frame(CONTINUE | MORE, ""), frame(CONTINUE, "y")], PROTOCOL_ERROR);
    check_failure("5.18", &[first.clone(), frame(TEXT, "two")], PROTOCOL_ERROR);
    check_failure("5.18", &[first, frame(BINARY | MORE, "two")], PROTOCOL_ERROR);
    let mut many = vec![frame(BINARY | MORE, "")];
    for n in 0..5u8 {
        many.extend([frame(CONTINUE | MORE, [n]), frame(PING, [n])]);
    }
    many.push(frame(CONTINUE, ""));
    let pongs: Vec<_> = (0..5u8).map(|n| ours(PONG, &[n])).collect();
    let seen = ["ping", "ping", "ping", "ping", "ping", "binary [0, 1, 2, 3, 4]"];
    check("5.19", &many, &seen, &pongs.concat());
    check(
        "6.1.3",
        &[frame(TEXT | MORE, ""), frame(CONTINUE | MORE, ""), frame(CONTINUE, "")],
        &["text "],
        b"",
    );
}

#[test]
fn text_is_utf8_across_fragments_and_fails_at_the_first_bad_byte() {
    let good = "Hello-µ@ßöäüàá-UTF-8!! 🦀\u{10ffff}\u{0}";
    check("6.2.1", &[frame(TEXT, good)], &[&format!("text {good}")], b"");
    let bytes = good.as_bytes();
    for at in 0..=bytes.len() {
        let parts = [frame(TEXT | MORE, &bytes[..at]), frame(CONTINUE, &bytes[at..])];
        check("6.2.2", &parts, &[&format!("text {good}")], b"");
    }
    let bad: [&[u8]; 12] = [
        b"\x80",             // a lone continuation
        b"ab\xff",           // no UTF-8 at all
        b"\xc0\xaf",         // overlong
        b"\xe0\x80\xaf",     // overlong
        b"\xed\xa0\x80",     // a surrogate
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"\xf8\x88\x80\x80\x80",
        b"\xce",                                                           // cut short
        b"\xf0\x9f\xa6",                                                   // cut short
        b"\xf0\x9fab",                                                     // cut short
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", // 6.3.1
        b"\xc3\xa9\xfe\xfe",
    ];
    for bytes in bad {
        check_failure("6.3", &[frame(TEXT, bytes)], INVALID_UTF8);
        for at in 0..=bytes.len() {
            let parts = [frame(TEXT | MORE, &bytes[..at]), frame(CONTINUE, &bytes[at..])];
            check_failure("6.3.2", &parts, INVALID_UTF8);
        }
    }
    // 6.4: the rest of the frame, or of the message, has not arrived and is not needed.
    let bytes = frame(TEXT, [b"\xce\xba\xe1\xbd\xb9\xf4\x90", &[b'x'; 300][..]].concat());
    let bad_at = 8 + 7;
    assert_eq!(run([&bytes[..bad_at - 1]]), (vec![], vec![]));
    let failed = (vec!["failed 1007".to_string()], our_close(INVALID_UTF8, ""));
    assert_eq!(run([&bytes[..bad_at]]), failed);
    assert_eq!(run([&bytes[..bad_at - 1], &bytes[bad_at - 1..bad_at]]), failed);
    assert_eq!(run([&frame(TEXT | MORE, "a\u{7ff}")[..], &frame(CONTINUE | MORE, b"\xed\xa0")[..]]), failed);
    check("binary is not text", &[frame(BINARY, [0xff])], &["binary [ff]"], b"");
}

#[test]
fn a_close_is_answered_and_ends_it() {
    let check_close = |name, bytes: Vec<u8>, code: Option<u16>, answer: &[u8]| {
        check(name, &[bytes, frame(TEXT, "late"), frame(PING, "")], &[&format!("close {code:?}")], answer);
    };
    check_close("7.3.1", frame(CLOSE, ""), None, &ours(CLOSE, b""));
    check_failure("7.3.2", &[frame(CLOSE, "a")], PROTOCOL_ERROR);
    check_close("7.3.3", close_frame(1000, ""), Some(1000), &our_close(1000, ""));
    check_close("7.3.4", close_frame(1000, "Hello"), Some(1000), &our_close(1000, "Hello"));
    let long = "*".repeat(123);
    check_close("7.3.5", close_frame(1000, &long), Some(1000), &our_close(1000, &long));
    check_failure("7.3.6", &[close_frame(1000, "*".repeat(124))], PROTOCOL_ERROR);
    check_failure("7.5.1", &[close_frame(1000, b"\xce\xba\xed\xa0\x80")], INVALID_UTF8);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        check_close("7.7", close_frame(code, ""), Some(code), &our_close(code, ""));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let answer = our_close(PROTOCOL_ERROR, "Protocol violation");
        check_close("7.9", close_frame(code, ""), Some(PROTOCOL_ERROR), &answer);
    }
    let within = [frame(TEXT | MORE, "a"), close_frame(1000, "")];
    check("7.1.5", &within, &["close Some(1000)"], &our_close(1000, ""));
}

#[test]
fn a_close_is_sent_once_and_then_only_its_answer_is_read() {
    let (mut socket, mut out) = (WebSocket::new(MAX), SendQueue::new());
    socket.feed(&frame(TEXT | MORE, "a"));
    assert_eq!(drain(&mut socket, &mut out).len(), 0);
    assert!(!socket.is_closing());
    socket.close(&mut out, 4401, "session over");
    socket.close(&mut out, 1000, "");
    assert!(socket.is_closing());
    assert_eq!(out.take_bytes(), our_close(4401, "session over"));
    for late in [frame(CONTINUE, "b"), frame(PING, "p"), frame(BINARY, "c"), frame(PONG, "")] {
        socket.feed(&late);
        assert_eq!(drain(&mut socket, &mut out).len(), 0);
    }
    socket.feed(&close_frame(4401, ""));
    socket.feed(&frame(TEXT, "d"));
    assert_eq!(drain(&mut socket, &mut out), ["close Some(4401)"]);
    socket.close(&mut out, 1000, "");
    socket.feed(&frame(PING, "q"));
    assert_eq!((drain(&mut socket, &mut out).len(), out.len()), (0, 0));

    let (mut socket, mut out) = (WebSocket::new(MAX), SendQueue::new());
    socket.close(&mut out, 1001, "");
    socket.feed(&[0xff; 14]);
    assert_eq!(drain(&mut socket, &mut out), ["failed 1002"]);
    assert_eq!(out.take_bytes(), our_close(1001, ""), "no second close frame");
}

#[test]
fn input_that_is_not_read_is_kept() {
    let (mut socket, mut out) = (WebSocket::new(MAX), SendQueue::new());
    socket.feed(&[frame(TEXT, "a"), frame(PING, "p"), frame(TEXT, "b")].concat());
    assert_eq!(socket.next(&mut out).map(show).as_deref(), Some("text a"));
    assert!(socket.has_input() && out.is_empty(), "the ping is not looked at yet");
    socket.feed(&frame(TEXT, "c"));
    assert_eq!(drain(&mut socket, &mut out), ["ping", "text b", "text c"]);
    assert!(!socket.has_input());
    socket.feed(&frame(TEXT, "d")[..3]);
    assert!(socket.has_input(), "until next has looked");
    assert_eq!((drain(&mut socket, &mut out).len(), socket.has_input()), (0, false));
}

#[test]
fn a_flood_of_pings_costs_one_pong_once_the_queue_is_long() {
    let (mut socket, mut out) = (WebSocket::new(MAX), SendQueue::new());
    for n in 0..2_000u32 {
        socket.feed(&frame(PING, [n.to_be_bytes().as_slice(), &[0; 121]].concat()));
        assert_eq!(drain(&mut socket, &mut out), ["ping"]);
        assert!(out.memory() < PONG_QUEUE_MAX + 127);
    }
    assert!(!socket.pong.is_empty() && out.memory() >= PONG_QUEUE_MAX);
    let answered = out.take_bytes().len() / 127;
    assert_eq!(drain(&mut socket, &mut out).len(), 0);
    let last = ours(PONG, &[1_999u32.to_be_bytes().as_slice(), &[0; 121]].concat());
    assert_eq!((out.take_bytes(), socket.pong.is_empty()), (last, true));
    assert_eq!(answered, PONG_QUEUE_MAX.div_ceil(127), "all of them up to the bound");
}

#[test]
fn between_messages_it_owns_no_memory() {
    let (mut socket, mut out) = (WebSocket::new(MAX), SendQueue::new());
    let owns_nothing = |socket: &WebSocket| {
        socket.context.is_none() && socket.frame.is_none() && socket.input.capacity() == 0
    };
    let large = frame(TEXT, vec![b'*'; MAX]);
    socket.feed(&large);
    assert_eq!(drain(&mut socket, &mut out).len(), 1);
    assert!(owns_nothing(&socket));
    // Not inside a message, and no byte of the next one is lost.
    let middle = [frame(TEXT | MORE, "a"), frame(PING, ""), large[..9].to_vec()].concat();
    socket.feed(&middle[..middle.len() - 9]);
    assert_eq!(drain(&mut socket, &mut out), ["ping"]);
    assert!(!owns_nothing(&socket) && socket.memory() == 1);
    socket.feed(&[frame(CONTINUE, "b"), large[..9].to_vec()].concat());
    assert_eq!(drain(&mut socket, &mut out), ["text ab"]);
    assert_eq!(socket.input.capacity(), 9, "the beginning of a head");
    socket.feed(&large[9..]);
    assert_eq!(drain(&mut socket, &mut out), [format!("text of {MAX}")]);
    assert!(owns_nothing(&socket) && socket.memory() == 0);
    assert!(size_of::<WebSocket>() <= 144, "{}", size_of::<WebSocket>());
    // A head with a large length has used no memory yet.
    socket.feed(&large[..large.len() - MAX + 1]);
    assert_eq!(drain(&mut socket, &mut out).len(), 0);
    assert_eq!((socket.input.capacity(), socket.memory()), (0, 1));
    // Of a message that is not complete, each byte that has come is counted.
    socket.feed(&large[large.len() - MAX + 1..large.len() - 9]);
    assert_eq!((drain(&mut socket, &mut out).len(), socket.memory()), (0, MAX - 9));
    socket.feed(&large[large.len() - 9..]);
    assert_eq!((drain(&mut socket, &mut out).len(), socket.memory()), (1, 0));
}

/// Any stream gives the same result in all splits, and none panics.
#[test]
fn random_streams_come_out_the_same_in_any_pieces() {
    for seed in 1..=3_000u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below
        };
        let mut bytes = Vec::new();
        let mut open = false;
        for _ in 0..1 + draw(12) {
            let payload: Vec<u8> = match draw(4) {
                0 => "é🦀µ".repeat(draw(20)).into_bytes(),
                1 => (0..draw(10)).map(|_| draw(256) as u8).collect(),
                2 => vec![b'x'; draw(400)],
                _ => vec![b'y'; draw(126)],
            };
            let short = &payload[..payload.len().min(125)];
            bytes.extend(match draw(12) {
                0 => frame(PING, short),
                1 => frame(PONG, short),
                2 if draw(3) == 0 => close_frame(draw(5_000) as u16, &short[..short.len().min(123)]),
                _ => {
                    let opcode = if open { CONTINUE } else { TEXT + draw(2) as u8 };
                    open = draw(3) == 0;
                    frame(if open { opcode | MORE } else { opcode }, payload)
                }
            });
        }
        if draw(2) == 0 {
            let at = draw(bytes.len());
            bytes[at] ^= 1 << draw(8);
        }
        bytes.truncate(bytes.len() - if draw(2) == 0 { draw(bytes.len()) } else { 0 });
        let at_once = run([&bytes[..]]);
        let mut rest = &bytes[..];
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let longest = 1 << draw(9);
            let (chunk, following) = rest.split_at(1 + draw(rest.len().min(longest)));
            chunks.push(chunk);
            rest = following;
        }
        assert_eq!(run(chunks), at_once, "seed {seed}");
    }
}

/// An independent client and the server understand each other.
#[test]
fn an_independent_client_gets_its_echo() {
    #[derive(Default)]
    struct Wire {
        to_client: Vec<u8>,
        to_server: Vec<u8>,
    }
    impl Read for Wire {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let taken = (&self.to_client[..]).read(buf)?;
            self.to_client.drain(..taken);
            if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }
    }
    impl Write for Wire {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.to_server.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut client = tungstenite::WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
    let (mut server, mut out) = (WebSocket::new(MAX), SendQueue::new());
    for len in [0, 1, 125, 126, 1_000, 65_535, MAX] {
        for sent in [Message::text("é".repeat(len / 2)), Message::binary(vec![7; len])] {
            client.send(sent.clone()).expect("memory takes all");
            server.feed(&mem::take(&mut client.get_mut().to_server));
            let mut echo = Vec::new();
            match server.next(&mut out).expect("the message") {
                Incoming::Text(text) => frame::encode_text(&mut echo, text.as_bytes()),
                Incoming::Binary(bytes) => binary(&mut echo, &bytes),
                other => panic!("{other:?}"),
            }
            assert_eq!(server.next(&mut out), None);
            client.get_mut().to_client.extend(echo);
            assert_eq!(client.read().expect("the echo"), sent);
        }
    }
    ping(&mut out);
    server.close(&mut out, 1001, r#"{"retry_after_ms":7}"#);
    client.get_mut().to_client.extend(out.take_bytes());
    assert_eq!(client.read().expect("the ping"), Message::Ping(Bytes::new()));
    let Message::Close(Some(close)) = client.read().expect("the close") else { panic!("no close") };
    assert_eq!((u16::from(close.code), &*close.reason), (1001, r#"{"retry_after_ms":7}"#));
    client.flush().expect("memory takes all");
    server.feed(&mem::take(&mut client.get_mut().to_server));
    assert_eq!(drain(&mut server, &mut out), ["pong", "close Some(1001)"][1..]);
    assert!(out.is_empty());
}

#[test]
fn a_text_in_parts_is_one_frame() {
    for len in [0, 1, 120, 121, 5_000, 70_000] {
        let (long, parts) = (vec![b'x'; len], [&b"{\"a\""[..], b":"]);
        let mut whole = Vec::new();
        frame::encode_text(&mut whole, &[parts[0], parts[1], &long].concat());
        let mut send = SendQueue::new();
        push_parts(&mut send, &[parts[0], parts[1], &long]);
        assert_eq!(send.take_bytes(), whole, "{len}");
        push_parts_and(&mut send, &parts, long);
        assert_eq!(send.len(), whole.len() as u64, "{len}");
        assert_eq!(send.take_bytes(), whole, "{len}");
    }
}
