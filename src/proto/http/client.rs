//! An HTTP client for one request (RFC 9112), sans-IO: the response here, the URL and the request in `endpoint`.
//!
//! Has no redirects, cookies, caches or second request: the connection is closed after the response.
//! Invariant: at most LOOKUP_HEAD_MAX and LOOKUP_BODY_MAX bytes of a response are held.

mod endpoint;

use httparse::Status;

use crate::base::time::{UnixS, parse_http_date};
use crate::limits::HEADERS_MAX;

pub(crate) use endpoint::is_path_byte;
pub use endpoint::{Ask, Authority, BadEndpoint, BadRequest, Endpoint};

/// Bytes of the head of a response to one of our look-ups, and of its trailers. Above it: the look-up fails.
const LOOKUP_HEAD_MAX: usize = 8_192;
/// Bytes of the body of such a response: a place is some hundred, a chain of certificates some thousand. Above it: the look-up
/// fails.
const LOOKUP_BODY_MAX: usize = 65_536;
/// Bytes of a chunk's size line, extensions included. Above it: the look-up fails.
const LOOKUP_CHUNK_LINE_MAX: usize = 256;
/// Interim (1xx) responses before the one that counts. Above it: the look-up fails.
const LOOKUP_INTERIM_MAX: u32 = 4;

/// The response is not HTTP/1, or is larger than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    Malformed,
    TooLarge,
    /// The connection ended before the response was complete.
    Truncated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The fields that the reader was to keep, in the order in which they came.
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first field with this name, as it was given to [`ResponseReader::keeping`].
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(kept, _)| *kept == name).map(|(_, value)| value.as_str())
    }
}

/// When the server asks for the next request: the header Retry-After (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds from now.
    Seconds(u64),
    /// A date.
    At(UnixS),
}

/// What is known of a response once its head is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub status: u16,
    pub retry_after: Option<RetryAfter>,
}

/// Reads one response.
///
/// ```
/// use natter::proto::http::client::{Endpoint, ResponseReader};
///
/// let service = Endpoint::parse("https://ipinfo.io").expect("a URL");
/// let request = service.get("192.0.2.7", Some("token")).expect("a request");
/// assert!(request.starts_with(b"GET /192.0.2.7 HTTP/1.1\r\n"));
///
/// let mut reader = ResponseReader::new();
/// reader.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").expect("a valid response");
/// assert_eq!(reader.finish().expect("a complete response").body, b"{}");
/// ```
pub struct ResponseReader {
    state: State,
    /// Bytes of a head, a chunk line or a trailer that is not complete yet.
    buffered: Vec<u8>,
    interim: u32,
    /// Of the response that counts.
    head: Option<ResponseHead>,
    /// The names of the fields to keep, in lower case.
    kept: &'static [&'static str],
    fields: Vec<(&'static str, String)>,
    /// The answer to a HEAD request, which has no body whatever its head says (RFC 9112 §6.3, rule 1).
    is_bodiless: bool,
    body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// For this many bytes of the body, then for `then`.
    Bytes {
        left: u64,
        chunked: bool,
    },
    ChunkLine,
    /// For the line end after a chunk.
    ChunkEnd,
    /// For the empty line after the last chunk.
    Trailers,
    /// For the end of the connection, which ends the body (RFC 9112 §6.3, rule 8).
    Close,
    Done,
}

impl Default for ResponseReader {
    fn default() -> Self {
        ResponseReader::new()
    }
}

impl ResponseReader {
    pub fn new() -> ResponseReader {
        ResponseReader::keeping(&[], Ask::Get)
    }

    /// Reads the response to `ask`, and keeps the fields of its head with these names, in lower case. The bound of the head is
    /// theirs too.
    pub fn keeping(kept: &'static [&'static str], ask: Ask<'_>) -> ResponseReader {
        ResponseReader {
            state: State::Head,
            buffered: Vec::new(),
            interim: 0,
            head: None,
            kept,
            fields: Vec::new(),
            is_bodiless: ask == Ask::Head,
            body: Vec::new(),
        }
    }

    /// Reads bytes of the service. Returns true when the response is complete; bytes after it are ignored.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<bool, ClientError> {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Head => {
                    if !self.hold_until(b"\r\n\r\n", LOOKUP_HEAD_MAX, input)? {
                        return Ok(false);
                    }
                    let head = std::mem::take(&mut self.buffered);
                    self.begin(&head)?;
                }
                State::Bytes { left: 0, chunked } => {
                    self.state = if chunked { State::ChunkEnd } else { State::Done };
                }
                State::Bytes { left, chunked } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    if take == 0 {
                        return Ok(false);
                    }
                    self.keep(take, input)?;
                    self.state = State::Bytes { left: left - take as u64, chunked };
                }
                State::ChunkLine => {
                    if !self.hold_until(b"\r\n", LOOKUP_CHUNK_LINE_MAX, input)? {
                        return Ok(false);
                    }
                    let line = std::mem::take(&mut self.buffered);
                    self.state = match chunk_size(&line)? {
                        0 => State::Trailers,
                        size if size > LOOKUP_BODY_MAX as u64 => return Err(ClientError::TooLarge),
                        size => State::Bytes { left: size, chunked: true },
                    };
                }
                State::ChunkEnd => {
                    let Some((&byte, rest)) = input.split_first() else { return Ok(false) };
                    if byte != b"\r\n"[self.buffered.len()] {
                        return Err(ClientError::Malformed);
                    }
                    *input = rest;
                    self.buffered.push(byte);
                    if self.buffered.len() == 2 {
                        self.buffered.clear();
                        self.state = State::ChunkLine;
                    }
                }
                State::Trailers => {
                    // The lines before the empty one are ignored, and count towards the bound.
                    if !self.hold_until(b"\r\n", LOOKUP_HEAD_MAX, input)? {
                        return Ok(false);
                    }
                    if self.buffered == b"\r\n" || self.buffered.ends_with(b"\r\n\r\n") {
                        self.state = State::Done;
                    }
                }
                State::Close => {
                    let take = input.len();
                    self.keep(take, input)?;
                    return Ok(false);
                }
                State::Done => return Ok(true),
            }
        }
    }

    /// The status of the response, once its head is complete; also if the body is then refused.
    pub fn head(&self) -> Option<ResponseHead> {
        self.head
    }

    /// The connection ended: returns the response if it is complete.
    pub fn finish(self) -> Result<Response, ClientError> {
        match (self.state, self.head) {
            (State::Done | State::Close, Some(head)) => {
                Ok(Response { status: head.status, fields: self.fields, body: self.body })
            }
            _ => Err(ClientError::Truncated),
        }
    }

    /// Moves bytes into `buffered` until it ends with `mark`; returns true when it does.
    fn hold_until(&mut self, mark: &[u8], bound: usize, input: &mut &[u8]) -> Result<bool, ClientError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.buffered.push(byte);
            if self.buffered.ends_with(mark) {
                return Ok(true);
            }
            if self.buffered.len() >= bound {
                return Err(ClientError::TooLarge);
            }
        }
        Ok(false)
    }

    fn keep(&mut self, count: usize, input: &mut &[u8]) -> Result<(), ClientError> {
        if count > LOOKUP_BODY_MAX - self.body.len() {
            return Err(ClientError::TooLarge);
        }
        let (front, rest) = input.split_at(count);
        self.body.extend_from_slice(front);
        *input = rest;
        Ok(())
    }

    /// The head is complete: decides how the body ends (RFC 9112 §6.3).
    fn begin(&mut self, head: &[u8]) -> Result<(), ClientError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let is_complete = matches!(parsed.parse(head), Ok(Status::Complete(length)) if length == head.len());
        let status = parsed.code.filter(|_| is_complete).ok_or(ClientError::Malformed)?;
        match status {
            100..=199 if status != 101 && self.interim < LOOKUP_INTERIM_MAX => {
                self.interim += 1;
                return Ok(());
            }
            200..=599 => {}
            _ => return Err(ClientError::Malformed),
        }
        let retry_after =
            parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("retry-after"));
        let retry_after = retry_after.and_then(|header| RetryAfter::parse(header.value));
        self.head = Some(ResponseHead { status, retry_after });
        let (mut length, mut chunked) = (None, false);
        for header in parsed.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                // Two are refused even if they are equal, as in natter's server.
                if length.replace(content_length(header.value)?).is_some() {
                    return Err(ClientError::Malformed);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ClientError::Malformed);
                }
                chunked = true;
            }
            let kept = self.kept.iter().find(|kept| header.name.eq_ignore_ascii_case(kept));
            if let (Some(name), Ok(value)) = (kept, std::str::from_utf8(header.value)) {
                self.fields.push((name, value.to_owned()));
            }
        }
        self.state = match (length, chunked) {
            _ if status == 204 || status == 304 || self.is_bodiless => State::Done,
            (Some(_), true) => return Err(ClientError::Malformed),
            (None, true) => State::ChunkLine,
            (Some(length), false) if length > LOOKUP_BODY_MAX as u64 => return Err(ClientError::TooLarge),
            (Some(length), false) => State::Bytes { left: length, chunked: false },
            (None, false) => State::Close,
        };
        Ok(())
    }
}

impl RetryAfter {
    /// As a time.
    pub fn at(self, now: UnixS) -> UnixS {
        match self {
            RetryAfter::Seconds(seconds) => now.after(seconds),
            RetryAfter::At(at) => at,
        }
    }

    /// A value of neither form counts as absent.
    pub fn parse(value: &[u8]) -> Option<RetryAfter> {
        let text = std::str::from_utf8(value).ok()?;
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(RetryAfter::Seconds(text.parse().unwrap_or(u64::MAX)));
        }
        parse_http_date(text).map(RetryAfter::At)
    }
}

fn content_length(value: &[u8]) -> Result<u64, ClientError> {
    let digits = std::str::from_utf8(value).map_err(|_| ClientError::Malformed)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ClientError::Malformed);
    }
    digits.parse().map_err(|_| ClientError::TooLarge)
}

/// The size of a chunk. An empty one is refused here; httparse would read it as 0.
fn chunk_size(line: &[u8]) -> Result<u64, ClientError> {
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((used, size))) if used == line.len() && line[0].is_ascii_hexdigit() => Ok(size),
        _ => Err(ClientError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Response, ClientError> {
        let mut reader = ResponseReader::new();
        for piece in pieces {
            if reader.receive(piece)? {
                break;
            }
        }
        reader.finish()
    }

    fn check(text: &str, expect: Result<(u16, &str), ClientError>) {
        let expect = expect.map(|(status, body)| Response {
            status,
            fields: Vec::new(),
            body: body.as_bytes().to_vec(),
        });
        let bytes = text.as_bytes();
        assert_eq!(run([bytes].into_iter()), expect, "{text:?}");
        assert_eq!(run(bytes.chunks(1)), expect, "byte by byte: {text:?}");
        for at in 0..=bytes.len().min(2_000) {
            let (a, b) = bytes.split_at(at);
            assert_eq!(run([a, b].into_iter()), expect, "split at {at}: {text:?}");
        }
    }

    #[test]
    fn answers() {
        use ClientError::{Malformed, Truncated};
        for (text, expect) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Ok((200, "{}"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1", Ok((200, "{}"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok((200, ""))),
            ("HTTP/1.0 404 Not Found\r\n\r\ngone", Ok((404, "gone"))),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, ""))),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\n1", Ok((200, "1"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n",
                Ok((200, "{}0123456789")),
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n0\r\nX: y\r\nZ: w\r\n\r\n", Ok((200, ""))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", Err(Truncated)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", Err(Truncated)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n", Err(Truncated)),
            ("HTTP/1.1 200 OK\r\n", Err(Truncated)),
            ("", Err(Truncated)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}", Err(Malformed)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Err(Malformed),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\n0\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 99 x\r\n\r\n", Err(Malformed)),
            ("SSH-2.0-x\r\n\r\n", Err(Malformed)),
        ] {
            check(text, expect);
        }
    }

    #[test]
    fn bounds() {
        use ClientError::TooLarge;
        let head = |length: usize| {
            let fixed = "HTTP/1.1 204 x\r\nX: \r\n\r\n".len();
            format!("HTTP/1.1 204 x\r\nX: {}\r\n\r\n", "x".repeat(length - fixed))
        };
        check(&head(LOOKUP_HEAD_MAX), Ok((204, "")));
        check(&head(LOOKUP_HEAD_MAX + 1), Err(TooLarge));
        let full = "x".repeat(LOOKUP_BODY_MAX);
        check(&format!("HTTP/1.0 200 x\r\n\r\n{full}"), Ok((200, &full)));
        check(&format!("HTTP/1.0 200 x\r\n\r\n{full}x"), Err(TooLarge));
        check(&format!("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n", full.len() + 1), Err(TooLarge));
        check(&format!("HTTP/1.1 200 x\r\nContent-Length: 9{}\r\n\r\n", u64::MAX), Err(TooLarge));
        let chunked = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let half = "x".repeat(LOOKUP_BODY_MAX / 2);
        let chunk = format!("{:x}\r\n{half}\r\n", half.len());
        check(&format!("{chunked}{chunk}{chunk}0\r\n\r\n"), Ok((200, &full)));
        check(&format!("{chunked}{chunk}{chunk}1\r\nx\r\n0\r\n\r\n"), Err(TooLarge));
        check(&format!("{chunked}ffffffffffffffff\r\n"), Err(TooLarge));
        check(&format!("{chunked}1;{}", "x".repeat(LOOKUP_CHUNK_LINE_MAX)), Err(TooLarge));
        let trailers = "X: abc\r\n".repeat(LOOKUP_HEAD_MAX / 8 - 1);
        check(&format!("{chunked}0\r\n{trailers}\r\n"), Ok((200, "")));
        check(&format!("{chunked}0\r\n{trailers}X: abc\r\n\r\n"), Err(TooLarge));
        let interim = "HTTP/1.1 103 x\r\n\r\n".repeat(LOOKUP_INTERIM_MAX as usize);
        check(&format!("{interim}HTTP/1.1 204 x\r\n\r\n"), Ok((204, "")));
        check(&format!("{interim}HTTP/1.1 103 x\r\n\r\n"), Err(ClientError::Malformed));
    }

    #[test]
    fn a_head_is_known_before_its_body_and_if_that_is_refused() {
        for (headers, expect) in [
            ("", None),
            ("Retry-After: 120\r\n", Some(RetryAfter::Seconds(120))),
            ("retry-after: 99999999999999999999\r\n", Some(RetryAfter::Seconds(u64::MAX))),
            ("Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", Some(RetryAfter::At(UnixS(946_684_799)))),
            ("Retry-After: soon\r\n", None),
            ("Retry-After: -1\r\n", None),
        ] {
            for length in ["5", "99999999999", "x"] {
                let mut reader = ResponseReader::new();
                let text = format!("HTTP/1.1 503 x\r\n{headers}Content-Length: {length}\r\n\r\n");
                let (last, before) = text.as_bytes().split_last().expect("bytes");
                assert_eq!((reader.receive(before), reader.head()), (Ok(false), None));
                assert_eq!(reader.receive(&[*last]).is_ok(), length == "5");
                assert_eq!(reader.head(), Some(ResponseHead { status: 503, retry_after: expect }), "{text}");
            }
        }
    }

    #[test]
    fn fields_are_kept_by_name_and_a_head_has_no_body() {
        let read = |ask: Ask<'_>, text: &str| {
            let mut reader = ResponseReader::keeping(&["location", "etag"], ask);
            let is_complete = reader.receive(text.as_bytes()).expect("a response");
            (is_complete, reader.finish())
        };
        let head = "HTTP/1.1 200 x\r\nLOCATION: /a\r\nX: y\r\nlocation: /b\r\nETag: \u{e9}\r\nContent-Length: 1\r\n\r\n";
        let (is_complete, response) = read(Ask::Head, head);
        let response = response.expect("complete");
        assert!(is_complete && response.field("location") == Some("/a") && response.fields.len() == 3);
        assert_eq!((response.field("x"), response.body.len()), (None, 0));
        assert_eq!(read(Ask::Get, head), (false, Err(ClientError::Truncated)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_at_once_and_split(
            start in prop_oneof![
                Just("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"), Just("HTTP/1.1 200 x\r\n"), Just(""),
            ],
            noise in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b':')], 0..40),
        ) {
            let bytes = [start.as_bytes(), &noise].concat();
            prop_assert_eq!(run(bytes.chunks(1)), run([&bytes[..]].into_iter()));
        }
    }
}
