//! Reads what a server sends, from a stream: lines, and messages with headers and a payload.
//!
//! Owns the bounds of what is buffered. Leaves the order of frames to the connection.
//! Invariant: the result is the same for the same bytes, however they are split; and no more is buffered than one frame at its
//! bounds and the bytes of one call.

use super::message::Message;

/// Bytes of one line. The longest is INFO, which lists the addresses of all servers.
pub(super) const LINE_MAX: usize = 64 * 1_024;
/// Bytes of the headers of one message; those that JetStream sends have a few hundred.
pub(super) const HEADERS_MAX: usize = 16 * 1_024;
/// Bytes of one payload. A server's own `max_payload` is 1 MiB unless it is configured, and its makers advise against more than
/// this.
pub(super) const PAYLOAD_MAX: usize = 8 * 1_024 * 1_024;
/// A buffer that is empty and larger than this is released.
const BUFFER_KEPT: usize = 64 * 1_024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The JSON of INFO.
    Info(Vec<u8>),
    Message(Message),
    Ok,
    /// The text of -ERR without its quotes.
    Err(String),
    Ping,
    Pong,
}

/// The bytes are not the protocol: which rule they break, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Default)]
pub(super) struct Parser {
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that were returned as frames.
    taken: usize,
    /// Bytes after `taken` that hold no end of a line.
    searched: usize,
}

impl Parser {
    /// Takes bytes of the server. Call [`Parser::next`] until it returns `None` before the next call.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes wait that are not a complete frame, or that were not asked for yet.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// The next complete frame, if it has arrived. After an error the stream can't be read any more.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = &self.buffer[self.taken..];
        let Some(at) = memchr::memchr(b'\n', &rest[self.searched..]) else {
            if rest.len() > LINE_MAX {
                return Err(Malformed("a line is too long"));
            }
            self.searched = rest.len();
            return Ok(None);
        };
        let end = self.searched + at;
        if end > LINE_MAX {
            return Err(Malformed("a line is too long"));
        }
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let (word, arguments) = split_word(line);
        let has_headers = word.eq_ignore_ascii_case(b"HMSG");
        if has_headers || word.eq_ignore_ascii_case(b"MSG") {
            let head = MessageHead::parse(arguments, has_headers)?;
            let message = head.message(&rest[end + 1..])?;
            let length = end + 1 + head.total + 2;
            self.searched = if message.is_some() { 0 } else { end };
            self.taken += if message.is_some() { length } else { 0 };
            return Ok(message.map(Frame::Message));
        }
        let frame = match word {
            _ if word.eq_ignore_ascii_case(b"INFO") => Frame::Info(arguments.to_vec()),
            _ if word.eq_ignore_ascii_case(b"PING") => Frame::Ping,
            _ if word.eq_ignore_ascii_case(b"PONG") => Frame::Pong,
            _ if word.eq_ignore_ascii_case(b"+OK") => Frame::Ok,
            _ if word.eq_ignore_ascii_case(b"-ERR") => {
                let text = String::from_utf8_lossy(arguments);
                Frame::Err(super::shown(text.trim_matches('\'')))
            }
            _ => return Err(Malformed("a line is not of the protocol")),
        };
        self.taken += end + 1;
        self.searched = 0;
        Ok(Some(frame))
    }
}

/// The line of a message: `MSG subject sid [reply] bytes`, `HMSG subject sid [reply] header-bytes bytes`.
struct MessageHead<'a> {
    subject: &'a str,
    sid: u32,
    reply: Option<&'a str>,
    headers: usize,
    /// Headers and payload.
    total: usize,
}

impl<'a> MessageHead<'a> {
    fn parse(arguments: &'a [u8], has_headers: bool) -> Result<MessageHead<'a>, Malformed> {
        const WRONG: Malformed = Malformed("the line of a message is wrong");
        let arguments = std::str::from_utf8(arguments).map_err(|_| WRONG)?;
        // One more than the line can have.
        let mut words = [""; 6];
        let mut count = 0;
        for (slot, word) in words.iter_mut().zip(arguments.split_ascii_whitespace()) {
            *slot = word;
            count += 1;
        }
        let numbers = if has_headers { 2 } else { 1 };
        let reply = match count - numbers.min(count) {
            2 => None,
            3 => Some(words[2]),
            _ => return Err(WRONG),
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| WRONG);
        let total = number(words[count - 1])? as usize;
        let headers = if has_headers { number(words[count - 2])? as usize } else { 0 };
        if headers > total {
            return Err(WRONG);
        }
        if headers > HEADERS_MAX || total - headers > PAYLOAD_MAX {
            return Err(Malformed("a message is too large"));
        }
        Ok(MessageHead { subject: words[0], sid: number(words[1])?, reply, headers, total })
    }

    /// The message, if `body` holds all of it.
    fn message(&self, body: &[u8]) -> Result<Option<Message>, Malformed> {
        if body.len() < self.total + 2 {
            return Ok(None);
        }
        if !body[self.total..].starts_with(b"\r\n") {
            return Err(Malformed("a payload has not the length that was declared"));
        }
        let (headers, payload) = body[..self.total].split_at(self.headers);
        Ok(Some(Message {
            sid: self.sid,
            subject: self.subject.to_owned(),
            reply: self.reply.map(str::to_owned),
            headers: headers.to_vec(),
            payload: payload.to_vec(),
        }))
    }
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<(), Malformed>) {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        for piece in pieces {
            parser.receive(piece);
            loop {
                match parser.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(malformed) => return (frames, Err(malformed)),
                }
            }
            assert!(parser.buffer.len() <= LINE_MAX + HEADERS_MAX + PAYLOAD_MAX + 4 + piece.len());
        }
        (frames, Ok(()))
    }

    /// At once, in bytes, and split in two at every byte.
    #[track_caller]
    fn check(input: &str, expect: (Vec<Frame>, Result<(), Malformed>)) {
        let bytes = input.as_bytes();
        assert_eq!(run([bytes].into_iter()), expect, "{input:?}");
        assert_eq!(run(bytes.chunks(1)), expect, "{input:?} in bytes");
        for at in 0..bytes.len() {
            let (one, two) = bytes.split_at(at);
            assert_eq!(run([one, two].into_iter()), expect, "{input:?} split at {at}");
        }
    }

    fn message(subject: &str, sid: u32, reply: Option<&str>, headers: &str, payload: &str) -> Frame {
        Frame::Message(Message {
            sid,
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            headers: headers.as_bytes().to_vec(),
            payload: payload.as_bytes().to_vec(),
        })
    }

    #[test]
    fn every_frame_is_read() {
        let good = |input: &str, frame: Frame| {
            check(input, (vec![frame.clone()], Ok(())));
            check(&format!("{input}{input}"), (vec![frame.clone(), frame], Ok(())));
        };
        good("PING\r\n", Frame::Ping);
        good("ping \r\n", Frame::Ping);
        good("PONG\n", Frame::Pong);
        good("+OK\r\n", Frame::Ok);
        good("INFO {\"a\":1} \r\n", Frame::Info(b"{\"a\":1}".to_vec()));
        good("-ERR 'Stale Connection'\r\n", Frame::Err("Stale Connection".to_owned()));
        good("-ERR\r\n", Frame::Err(String::new()));
        good("MSG a.b 7 5\r\nhello\r\n", message("a.b", 7, None, "", "hello"));
        good("MSG a.b 7 r.1 5\r\n\r\n\r\n\r\r\n", message("a.b", 7, Some("r.1"), "", "\r\n\r\n\r"));
        good("msg\ta  7\tr 0\r\n\r\n", message("a", 7, Some("r"), "", ""));
        let headers = "NATS/1.0 503\r\n\r\n";
        good("HMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", message("a", 1, None, headers, ""));
        good("HMSG a 1 r 16 18\r\nNATS/1.0 503\r\n\r\nhi\r\n", message("a", 1, Some("r"), headers, "hi"));
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        let wrong = |input: &str, why: &'static str| check(input, (vec![], Err(Malformed(why))));
        let line = "the line of a message is wrong";
        for bad in [
            "MSG\r\n",
            "MSG a\r\n",
            "MSG a 1\r\n",
            "MSG a 1 x\r\n",
            "MSG a x 1\r\n",
            "MSG a 1 r 5 6\r\n",
            "MSG a 1 -1\r\n",
            "MSG a 1 99999999999\r\n",
            "MSG a 4294967296 1\r\n",
            "HMSG a 1 1\r\n",
            "HMSG a 1 9 8\r\n",
            "HMSG a 1 r 1 2 3\r\n",
            "HMSG a 1 r 1 2 3 4 5\r\n",
        ] {
            wrong(bad, line);
        }
        wrong("GET / HTTP/1.1\r\n", "a line is not of the protocol");
        wrong("\r\n", "a line is not of the protocol");
        wrong("MSG a 1 1\r\nxyz", "a payload has not the length that was declared");
        wrong(&format!("MSG a 1 {}\r\n", PAYLOAD_MAX + 1), "a message is too large");
        wrong(&format!("HMSG a 1 {0} {0}\r\n", HEADERS_MAX + 1), "a message is too large");
        check("PONG\r\nx\r\n", (vec![Frame::Pong], Err(Malformed("a line is not of the protocol"))));
    }

    #[test]
    fn each_bound_is_met_exactly() {
        let long = |length: usize| format!("INFO {}", "x".repeat(length - "INFO ".len()));
        let read = |input: &str| run([input.as_bytes()].into_iter());
        assert!(matches!(&read(&format!("{}\n", long(LINE_MAX))).0[..], [Frame::Info(_)]));
        let too_long = Err(Malformed("a line is too long"));
        for input in [long(LINE_MAX + 1), format!("{}\n", long(LINE_MAX + 1))] {
            assert_eq!(read(&input).1, too_long);
            assert_eq!(run(input.as_bytes().chunks(1_000)).1, too_long);
        }
        assert_eq!(read(&long(LINE_MAX)), (vec![], Ok(())));
        let payload = "x".repeat(PAYLOAD_MAX);
        let input = format!("MSG a 1 {PAYLOAD_MAX}\r\n{payload}\r\n");
        assert_eq!(read(&input), (vec![message("a", 1, None, "", &payload)], Ok(())));
        let headers = "h".repeat(HEADERS_MAX);
        let input = format!("HMSG a 1 {HEADERS_MAX} {}\r\n{headers}{payload}\r\n", HEADERS_MAX + PAYLOAD_MAX);
        assert_eq!(read(&input), (vec![message("a", 1, None, &headers, &payload)], Ok(())));
    }

    #[test]
    fn a_large_buffer_is_released() {
        let mut parser = Parser::default();
        parser.receive(format!("MSG a 1 200000\r\n{}\r\n", "x".repeat(200_000)).as_bytes());
        assert!(matches!(parser.next(), Ok(Some(Frame::Message(_)))));
        assert!(parser.is_empty());
        parser.receive(b"PING");
        assert!(parser.buffer.capacity() < BUFFER_KEPT && !parser.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_at_once_and_split(
            parts in prop::collection::vec(prop_oneof![
                Just("MSG a.b 7 5\r\nhello\r\n"), Just("HMSG a 1 r 16 18\r\nNATS/1.0 503\r\n\r\nhi\r\n"),
                Just("PING\r\n"), Just("INFO {}\r\n"), Just("MSG a 1 "), Just("HMSG a 1 12 "), Just("9\r\n"),
                Just("-ERR 'x'"), Just("\r"), Just("\n"), Just(" "), Just("\u{e9}"), Just("x"),
            ], 0..12),
            cut in 1usize..9,
        ) {
            let bytes = parts.concat().into_bytes();
            let whole = run([&bytes[..]].into_iter());
            prop_assert_eq!(run(bytes.chunks(1)), whole.clone());
            prop_assert_eq!(run(bytes.chunks(cut)), whole);
        }
    }
}
