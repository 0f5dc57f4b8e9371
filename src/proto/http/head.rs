//! The head of a request: where it ends, what it says, how its body is framed (RFC 9112 §2–§6). Owns the
//! refusal of every head that two parsers could read differently; refuses to read a byte of the body.
//! Invariant: the verdict on a head is the same however its bytes are split, and each byte is looked at a
//! bounded number of times however they drip.
//!
//! One rule says what a line is: bytes up to CRLF, with no other CR, LF or NUL. The head ends with the first
//! empty line behind the request line. httparse judges what stands in the lines, and must come to the same
//! end or the head is refused.

use super::headers::{elements, is_token};
use super::target::{Target, normal_host};
use crate::limits::{HEADERS_MAX, METHOD_MAX, TARGET_MAX};

pub use super::headers::Headers;

/// A request method. Names are case-sensitive (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Trace,
    Connect,
    /// Any other token: 501.
    Unknown,
}

/// The protocol version, which also bounds what an answer may use. A later 1.x is read as 1.1
/// (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
}

/// How the body is delimited (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    Empty,
    Length(u64),
    Chunked,
}

/// What the client waits for before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    None,
    /// `100-continue`.
    Continue,
    /// Anything else: 417.
    Unsupported,
}

/// A whole, checked request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    pub target: Target,
    pub version: Version,
    pub headers: Headers,
    pub framing: Framing,
    /// The client would send another request on this connection.
    pub keep_alive: bool,
    pub expect: Expect,
    /// `host[:port]` in lower case, from the target where it has an authority, else from Host. `None` only
    /// in HTTP/1.0.
    pub host: Option<String>,
}

/// Why a head is refused. The connection closes after the answer, whatever the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Malformed or ambiguous; the text is for the log alone.
    Bad(&'static str),
    TargetTooLong,
    TooLarge,
    VersionNotSupported,
    /// A transfer coding other than chunked.
    CodingNotImplemented,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Connect => "CONNECT",
            Method::Unknown => "UNKNOWN",
        }
    }

    fn parse(token: &str) -> Method {
        match token {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "PATCH" => Method::Patch,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "CONNECT" => Method::Connect,
            _ => Method::Unknown,
        }
    }
}

impl HeadError {
    pub fn status(self) -> u16 {
        match self {
            HeadError::Bad(_) => 400,
            HeadError::TargetTooLong => 414,
            HeadError::TooLarge => 431,
            HeadError::VersionNotSupported => 505,
            HeadError::CodingNotImplemented => 501,
        }
    }

    /// The problem code of API.md section 1.
    pub fn code(self) -> &'static str {
        match self {
            HeadError::Bad(_) => "bad_request",
            HeadError::TargetTooLong => "target_too_long",
            HeadError::TooLarge => "head_too_large",
            HeadError::VersionNotSupported => "version_not_supported",
            HeadError::CodingNotImplemented => "not_implemented",
        }
    }
}

/// Finds and reads one head after the other in bytes that arrive in any pieces.
///
/// `bytes` of each call begins at the first byte not yet consumed, and only grows until a head is read.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes before it hold no fault and no end.
    scanned: usize,
    /// Where the head begins: behind the one empty line that is ignored.
    start: usize,
    /// Where the line begins that `scanned` stands in.
    line: usize,
    /// Header lines before it have been judged.
    checked: usize,
    /// Header lines that are complete.
    headers: usize,
    request_line: RequestLine,
}

/// How far the first line has come.
#[derive(Debug, Default)]
enum RequestLine {
    #[default]
    Method,
    /// The target begins at `start`.
    Target {
        start: usize,
    },
    Version,
    /// The first header line begins at `end`.
    Whole {
        method: Method,
        target: Target,
        version: Version,
        end: usize,
    },
}

/// What the next CR, LF or NUL is.
enum Mark {
    /// None has arrived, or half of a CRLF: look again from here.
    Nothing(usize),
    /// A line ends here, with CRLF.
    Line(usize),
    Fault(usize, &'static str),
}

impl HeadReader {
    pub fn new() -> HeadReader {
        HeadReader::default()
    }

    /// Looks for a head at the start of `bytes`; `None` asks for more. The number is the bytes it took, the
    /// ignored empty line included; the reader is then ready for the next head.
    /// `head_max` bounds the bytes from the request line to the last CRLF.
    pub fn read(&mut self, bytes: &[u8], head_max: usize) -> Result<Option<(Head, usize)>, HeadError> {
        loop {
            // What stands behind the bound must not change the verdict: it might not have arrived yet.
            let window = &bytes[..bytes.len().min(self.start.saturating_add(head_max))];
            let mark = next_mark(window, self.scanned);
            let (Mark::Nothing(upto) | Mark::Line(upto) | Mark::Fault(upto, _)) = mark;
            self.measure_request_line(window, upto)?;
            match mark {
                Mark::Fault(_, why) => return Err(HeadError::Bad(why)),
                Mark::Nothing(upto) => {
                    self.scanned = upto;
                    self.check_lines(bytes)?;
                    let full = window.len() - self.start >= head_max;
                    return if full { Err(HeadError::TooLarge) } else { Ok(None) };
                }
                Mark::Line(end) => {
                    let line = self.line..end;
                    (self.scanned, self.line) = (end + 2, end + 2);
                    match self.request_line {
                        RequestLine::Whole { .. } if line.is_empty() => {
                            return std::mem::take(self).finish(bytes).map(Some);
                        }
                        RequestLine::Whole { .. } => {
                            self.headers += 1;
                            if self.headers > HEADERS_MAX {
                                self.check_lines(bytes)?;
                                return Err(HeadError::TooLarge);
                            }
                        }
                        // RFC 9112 §2.2: one empty line, left behind a body by an old client, is ignored.
                        _ if line.is_empty() && line.start == 0 => self.start = self.line,
                        _ if line.is_empty() => return Err(HeadError::Bad("empty lines before the request")),
                        _ => {
                            self.request_line = request_line(&bytes[line.start..self.line], self.line)?;
                            self.checked = self.line;
                        }
                    }
                }
            }
        }
    }

    /// Whether a head has begun: then the deadline answers 408 instead of only closing.
    pub fn is_partial(&self, bytes: &[u8]) -> bool {
        let behind_empty_line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        !matches!(behind_empty_line, b"" | b"\r")
    }

    /// Holds the method and the target to their bounds while the first line arrives, in the order in which
    /// its bytes come: then no split can change which bound speaks first.
    fn measure_request_line(&mut self, window: &[u8], upto: usize) -> Result<(), HeadError> {
        let mut from = self.scanned;
        if let RequestLine::Method = self.request_line {
            let space = memchr::memchr(b' ', &window[from..upto]).map(|at| from + at);
            if space.unwrap_or(upto) - self.start > METHOD_MAX {
                return Err(HeadError::Bad("first word too long for a method"));
            }
            let Some(space) = space else { return Ok(()) };
            from = space + 1;
            self.request_line = RequestLine::Target { start: from };
        }
        if let RequestLine::Target { start } = self.request_line {
            let space = memchr::memchr(b' ', &window[from..upto]).map(|at| from + at);
            if space.unwrap_or(upto) - start > TARGET_MAX {
                return Err(HeadError::TargetTooLong);
            }
            if space.is_some() {
                self.request_line = RequestLine::Version;
            }
        }
        Ok(())
    }

    /// Judges the header lines that became complete since the last call, so that a malformed one is refused
    /// without waiting for the end. A head that arrives whole never comes here.
    fn check_lines(&mut self, bytes: &[u8]) -> Result<(), HeadError> {
        if matches!(self.request_line, RequestLine::Whole { .. }) && self.checked < self.line {
            let mut scratch = [httparse::EMPTY_HEADER; HEADERS_MAX + 1];
            httparse::parse_headers(&bytes[self.checked..self.line], &mut scratch).map_err(malformed)?;
            self.checked = self.line;
        }
        Ok(())
    }

    fn finish(self, bytes: &[u8]) -> Result<(Head, usize), HeadError> {
        let RequestLine::Whole { method, target, version, end } = self.request_line else {
            return Err(HeadError::Bad("no request line"));
        };
        let mut scratch = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let parsed = match httparse::parse_headers(&bytes[end..self.line], &mut scratch) {
            Ok(httparse::Status::Complete((taken, parsed))) if taken == self.line - end => parsed,
            Ok(_) => return Err(HeadError::Bad("the head ends twice")),
            Err(error) => return Err(malformed(error)),
        };
        let headers = Headers::copy(parsed);
        let head = Head {
            host: host(&headers, &target, version)?,
            framing: framing(&headers, version)?,
            keep_alive: keep_alive(&headers, version),
            expect: expect(&headers, version),
            method,
            target,
            version,
            headers,
        };
        Ok((head, self.line))
    }
}

/// RFC 9112 §2.2 lets a recipient take a bare LF for a line end and a bare CR for a space. We refuse both:
/// whoever stands before us may have read the line differently.
fn next_mark(window: &[u8], from: usize) -> Mark {
    let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &window[from..]).map(|at| from + at) else {
        return Mark::Nothing(window.len());
    };
    match (window[at], window.get(at + 1)) {
        (b'\r', Some(b'\n')) => Mark::Line(at),
        (b'\r', None) => Mark::Nothing(at),
        (b'\r', Some(_)) => Mark::Fault(at, "bare CR"),
        (b'\n', _) => Mark::Fault(at, "bare LF"),
        _ => Mark::Fault(at, "NUL"),
    }
}

/// Reads `line`, its CRLF included; `end` is where the next line begins.
fn request_line(line: &[u8], end: usize) -> Result<RequestLine, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse(line);
    let (Some(token), Some(text)) = (request.method, request.path) else {
        return Err(HeadError::Bad("request line"));
    };
    let version = match (parsed, request.version) {
        (Ok(_), Some(0)) => Version::Http10,
        (Ok(_), Some(1)) => Version::Http11,
        (Err(httparse::Error::Version), _) => other_version(&line[token.len() + text.len() + 2..])?,
        _ => return Err(HeadError::Bad("request line")),
    };
    let method = Method::parse(token);
    Ok(RequestLine::Whole { method, target: Target::parse(text, method)?, version, end })
}

/// A version httparse does not know: a later 1.x is ours (RFC 9110 §2.5), another major is 505, anything but
/// `HTTP/` DIGIT `.` DIGIT is malformed.
fn other_version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b'\r', b'\n'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9', b'\r', b'\n'] => {
            Err(HeadError::VersionNotSupported)
        }
        _ => Err(HeadError::Bad("version")),
    }
}

fn malformed(error: httparse::Error) -> HeadError {
    HeadError::Bad(match error {
        httparse::Error::HeaderName => "header name, white space before its colon, or a folded line",
        httparse::Error::HeaderValue => "control character in a header value",
        _ => "header line",
    })
}

/// RFC 9112 §3.2: exactly one valid Host, which an authority in the target then overrules; HTTP/1.0 may have
/// none.
fn host(headers: &Headers, target: &Target, version: Version) -> Result<Option<String>, HeadError> {
    let mut hosts = headers.get_all("host");
    let sent = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(HeadError::Bad("more than one Host")),
        (Some(text), None) => Some(normal_host(text).ok_or(HeadError::Bad("malformed Host"))?),
        (None, None) if version == Version::Http11 => return Err(HeadError::Bad("no Host")),
        (None, None) => None,
    };
    Ok(target.authority().and_then(normal_host).or(sent))
}

/// RFC 9112 §6.3, with every liberty taken as a refusal: whatever another parser could read as a different
/// length is 400.
fn framing(headers: &Headers, version: Version) -> Result<Framing, HeadError> {
    let mut lengths = headers.get_all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        // Equal ones may be merged (RFC 9110 §8.6); who sends them is either broken or probing.
        return Err(HeadError::Bad("more than one Content-Length"));
    }
    let mut codings = headers.get_all("transfer-encoding").flat_map(elements).peekable();
    if codings.peek().is_some() {
        if length.is_some() {
            return Err(HeadError::Bad("Content-Length with Transfer-Encoding"));
        }
        if version == Version::Http10 {
            return Err(HeadError::Bad("Transfer-Encoding in HTTP/1.0"));
        }
        return transfer_coding(codings);
    }
    length.map_or(Ok(Framing::Empty), |text| {
        // "005" is within the grammar, but octal to some.
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let length = text.parse().ok().filter(|_| plain).ok_or(HeadError::Bad("Content-Length"))?;
        Ok(Framing::Length(length))
    })
}

/// Exactly `chunked` is read. An unknown coding that chunked follows, or that stands alone, is 501
/// (RFC 9112 §6.1); chunked anywhere but once at the end is 400 (§6.3), and so is what is no coding.
fn transfer_coding<'a>(codings: impl Iterator<Item = &'a str>) -> Result<Framing, HeadError> {
    let (mut chunked, mut unknown) = (false, false);
    for coding in codings {
        if !is_token(coding) {
            return Err(HeadError::Bad("Transfer-Encoding"));
        }
        if chunked {
            return Err(HeadError::Bad("chunked is not the last coding"));
        }
        chunked = coding.eq_ignore_ascii_case("chunked");
        unknown |= !chunked;
    }
    if unknown { Err(HeadError::CodingNotImplemented) } else { Ok(Framing::Chunked) }
}

/// RFC 9112 §9.3.
fn keep_alive(headers: &Headers, version: Version) -> bool {
    let wished = version == Version::Http11 || headers.has_token("connection", "keep-alive");
    wished && !headers.has_token("connection", "close")
}

/// RFC 9110 §10.1.1: HTTP/1.0 has no expectations.
fn expect(headers: &Headers, version: Version) -> Expect {
    let mut wished = headers.get_all("expect").flat_map(elements).filter(|element| !element.is_empty());
    if version == Version::Http10 {
        return Expect::None;
    }
    match wished.next() {
        None => Expect::None,
        Some(first) => {
            let known = |element: &str| element.eq_ignore_ascii_case("100-continue");
            if known(first) && wished.all(known) { Expect::Continue } else { Expect::Unsupported }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD_MAX: usize = 16_384;

    /// Gives the reader `pieces` of the input, each longer than the one before, then all of it.
    fn run(input: &[u8], head_max: usize, pieces: &[usize]) -> Result<Option<(Head, usize)>, HeadError> {
        let mut reader = HeadReader::new();
        for &upto in pieces {
            if let Some(read) = reader.read(&input[..upto], head_max)? {
                return Ok(Some(read));
            }
        }
        reader.read(input, head_max)
    }

    /// Whole, byte by byte, and split in two at every byte (every 97th of a long one): always the same.
    fn judge(input: &[u8], head_max: usize) -> Result<Option<(Head, usize)>, u16> {
        let verdict = |pieces: &[usize]| run(input, head_max, pieces).map_err(HeadError::status);
        let whole = verdict(&[]);
        let drip: Vec<usize> = (0..input.len()).collect();
        let text = String::from_utf8_lossy(&input[..input.len().min(500)]);
        assert_eq!(verdict(&drip), whole, "{text:?}, drip");
        for at in (0..input.len()).step_by(if input.len() < 500 { 1 } else { 97 }) {
            assert_eq!(verdict(&[at]), whole, "{text:?} split at {at}");
        }
        whole
    }

    fn accept(input: &str) -> Head {
        let piped = format!("{input}GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
        let (head, taken) = judge(piped.as_bytes(), HEAD_MAX).expect(input).expect(input);
        assert_eq!(taken, input.len(), "{input:?}");
        head
    }

    fn refuse(status: u16, input: &str) {
        assert_eq!(judge(input.as_bytes(), HEAD_MAX), Err(status), "{input:?}");
    }

    /// A GET in HTTP/1.1 with these lines, Host included.
    fn with(lines: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
    }

    #[test]
    fn a_head_says_what_was_asked() {
        let head =
            accept("POST /a?b=c HTTP/1.1\r\nhOST: H:80\r\nX-One:1\r\nx-two: \t 2 \t\r\nEmpty:\r\n\r\n");
        assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
        assert_eq!((head.target.path(), head.target.query()), ("/a", Some("b=c")));
        let fields: Vec<_> = head.headers.iter().collect();
        assert_eq!(fields, [("hOST", "H:80"), ("X-One", "1"), ("x-two", "2"), ("Empty", "")]);
        assert_eq!(head.host.as_deref(), Some("h:80"));
        assert_eq!((head.framing, head.keep_alive, head.expect), (Framing::Empty, true, Expect::None));
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            assert_eq!(accept(&format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n")).method.as_str(), name);
        }
        assert_eq!(accept("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").method, Method::Connect);
        for name in ["get", "BREW", "M-SEARCH", &"A".repeat(METHOD_MAX)] {
            assert_eq!(
                accept(&format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n")).method,
                Method::Unknown,
                "{name}"
            );
        }
    }

    #[test]
    fn bytes_of_other_codings_are_kept_apart_from_text() {
        let (head, _) =
            judge(b"GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa9 \xff\r\n\r\n", HEAD_MAX).unwrap().unwrap();
        assert_eq!(head.headers.get("a"), Some("é \u{fffd}"));
    }

    #[test]
    fn heads_follow_each_other() {
        let mut reader = HeadReader::new();
        let (one, two) = ("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", "\r\nGET /2 HTTP/1.0\r\n\r\n");
        let piped = [one, two, "G"].concat();
        let (head, taken) = reader.read(piped.as_bytes(), HEAD_MAX).unwrap().unwrap();
        assert_eq!((head.target.path(), taken), ("/1", one.len()));
        let (head, taken) = reader.read(&piped.as_bytes()[one.len()..], HEAD_MAX).unwrap().unwrap();
        assert_eq!((head.target.path(), taken), ("/2", two.len()));
        assert_eq!(reader.read(b"G", HEAD_MAX), Ok(None));
    }

    #[test]
    fn one_empty_line_before_a_request_is_ignored() {
        assert_eq!(accept(&format!("\r\n{}", with(""))).method, Method::Get);
        refuse(400, &format!("\r\n\r\n{}", with("")));
        refuse(400, &format!("\n{}", with("")));
        refuse(400, &format!("\r{}", with("")));
        refuse(400, &format!(" {}", with("")));
        let reader = HeadReader::new();
        for (bytes, expect) in
            [("", false), ("\r", false), ("\r\n", false), ("\r\n\r", false), ("\r\nG", true), ("G", true)]
        {
            assert_eq!(reader.is_partial(bytes.as_bytes()), expect, "{bytes:?}");
        }
        assert_eq!(judge(b"\r\n", HEAD_MAX), Ok(None));
    }

    #[test]
    fn request_lines_are_read_one_way_or_not_at_all() {
        for line in [
            "GET /",
            "GET",
            "GET ",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/1.",
            "GET / HTTP/1.10",
            "GET / HTTP/01.1",
            "GET / HTTP/1.1x",
            "GET / HTTP/11",
            "GET / HTTP/a.b",
            "GET / HTTP /1.1",
            "GET / ",
            "GET HTTP/1.1",
            "GET /a b HTTP/1.1",
            " ",
            "G(T / HTTP/1.1",
            "\u{1}\u{2}",
            "GET /\u{7f} HTTP/1.1",
            "GET /é HTTP/1.1",
            "GET /# HTTP/1.1",
            "GET * HTTP/1.1",
            "GET h:80 HTTP/1.1",
            "GET \\ HTTP/1.1",
            "é / HTTP/1.1",
            "GET / HTTP/é.1",
            ": / HTTP/1.1",
        ] {
            refuse(400, &format!("{line}\r\nHost: h\r\n\r\n"));
        }
        for line in
            ["PRI * HTTP/2.0", "GET / HTTP/2.0", "GET /# HTTP/9.9", "GET / HTTP/0.9", "GET / HTTP/3.1"]
        {
            refuse(505, &format!("{line}\r\n\r\n"));
        }
        assert_eq!(accept("GET / HTTP/1.2\r\nHost: h\r\n\r\n").version, Version::Http11);
    }

    #[test]
    fn lines_end_with_crlf_alone() {
        for text in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "GET / HTTP/1.1\rHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
            "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\rx",
            "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        ] {
            refuse(400, text);
        }
        for line in [
            "A: b\rc",
            "A: b\nc",
            "A: b\0c",
            "A: b\u{1}c",
            "A: b\u{b}",
            "A: b\u{c}",
            "A: b\u{7f}",
            "A : b",
            "A\t: b",
            "A",
            "A b: c",
            " A: b",
            "\tA: b",
            ": b",
            "A[: b",
            "é: b",
            "A: b\r\n c",
            "A: b\r\n\tc",
            "A: b\r\n ",
        ] {
            refuse(400, &with(&format!("{line}\r\n")));
        }
    }

    #[test]
    fn what_is_certain_is_said_at_once() {
        for text in [
            "GET /a\0",
            "G\n",
            "\r\n\r\n",
            "\r\n\rx",
            "\rx",
            "GET /\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n",
            "GET / HTTP/1.1\r\nA: b\r\nA: b\n",
            &"A".repeat(METHOD_MAX + 1),
            "\u{16}\u{3}\u{1}\0",
        ] {
            refuse(400, text);
        }
        refuse(505, "PRI * HTTP/2.0\r\n");
        for text in [
            "",
            "G",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r",
            "GET / HTTP/1.1\r\nA: b\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\r",
        ] {
            assert_eq!(judge(text.as_bytes(), HEAD_MAX), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn host_is_there_once_and_valid() {
        let host = |lines: &str| accept(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).host;
        assert_eq!(host("Host: Natter.Example:8080\r\n").as_deref(), Some("natter.example:8080"));
        assert_eq!(host("Host: [::1]:1\r\n").as_deref(), Some("[::1]:1"));
        assert_eq!(accept("GET / HTTP/1.0\r\n\r\n").host, None);
        assert_eq!(accept("GET http://T:1/ HTTP/1.1\r\nHost: other\r\n\r\n").host.as_deref(), Some("t:1"));
        assert_eq!(accept("GET http://t/ HTTP/1.0\r\n\r\n").host.as_deref(), Some("t"));
        for lines in [
            "",
            "Host:\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nhost: b\r\n",
            "Host: a, b\r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: u@a\r\n",
            "Host: a:b\r\n",
            "Host: [::1\r\n",
            "Host: http://a\r\n",
            "Host: é\r\n",
        ] {
            refuse(400, &format!("GET / HTTP/1.1\r\n{lines}\r\n"));
            refuse(400, &format!("GET http://a/ HTTP/1.1\r\n{lines}\r\n"));
        }
        refuse(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n");
        refuse(400, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n");
    }

    #[test]
    fn a_body_has_one_length() {
        let check =
            |lines: &str, expect: Framing| assert_eq!(accept(&with(lines)).framing, expect, "{lines:?}");
        check("Content-Length: 0\r\n", Framing::Length(0));
        check("content-length:\t5 \r\n", Framing::Length(5));
        check("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX));
        check("Content_Length: 5\r\n", Framing::Empty);
        check("Transfer-Encoding: chunked\r\n", Framing::Chunked);
        check("TRANSFER-ENCODING:\tChunked \r\n", Framing::Chunked);
        for value in [
            "",
            "+5",
            "-5",
            "-0",
            "5,5",
            "5, 5",
            "5;",
            "0x5",
            "5.0",
            "5 5",
            "1_0",
            "a",
            "05",
            "00",
            "é",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            refuse(400, &with(&format!("Content-Length: {value}\r\n")));
        }
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 6\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
            "Transfer-Encoding:\r\nContent-Length: 5\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: ,chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked \u{e9}\r\n",
        ] {
            refuse(400, &with(lines));
        }
        refuse(400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        for value in ["gzip", "xchunked", "identity", "gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
            refuse(501, &with(&format!("Transfer-Encoding: {value}\r\n")));
        }
    }

    #[test]
    fn the_connection_stays_or_closes() {
        for (version, lines, expect) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, CLOSE ,y\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = accept(&format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n"));
            assert_eq!(head.keep_alive, expect, "{version} {lines}");
        }
    }

    #[test]
    fn an_expectation_is_met_or_refused() {
        for (lines, expect) in [
            ("", Expect::None),
            ("Expect:\r\n", Expect::None),
            ("Expect: 100-Continue\r\n", Expect::Continue),
            ("Expect: 100-continue, 100-continue\r\n", Expect::Continue),
            ("Expect: 200-ok\r\n", Expect::Unsupported),
            ("Expect: 100-continue, b=c\r\n", Expect::Unsupported),
            ("Expect: 100-continue\r\nExpect: x\r\n", Expect::Unsupported),
        ] {
            assert_eq!(accept(&with(lines)).expect, expect, "{lines}");
            assert_eq!(accept(&format!("GET / HTTP/1.0\r\n{lines}\r\n")).expect, Expect::None);
        }
    }

    #[test]
    fn sizes_are_bounded_at_below_and_above() {
        let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(len - 1));
        assert_eq!(accept(&target(TARGET_MAX)).target.path().len(), TARGET_MAX);
        refuse(414, &target(TARGET_MAX + 1));
        refuse(414, &target(100_000));
        refuse(414, &format!("GET /{}", "a".repeat(TARGET_MAX)));
        let padded = |len: usize| {
            let bare = with("A: \r\n");
            bare.replace("A: ", &format!("A: {}", "b".repeat(len - bare.len())))
        };
        assert_eq!(
            judge(padded(HEAD_MAX).as_bytes(), HEAD_MAX).map(|read| read.map(|r| r.1)),
            Ok(Some(HEAD_MAX))
        );
        assert!(judge(format!("\r\n{}", padded(HEAD_MAX)).as_bytes(), HEAD_MAX).is_ok());
        refuse(431, &padded(HEAD_MAX + 1));
        refuse(431, &padded(100_000));
        refuse(431, &padded(100_000)[..HEAD_MAX]);
        assert_eq!(judge(&padded(100_000).as_bytes()[..HEAD_MAX - 1], HEAD_MAX), Ok(None));
        // What is certain first speaks first.
        refuse(400, &padded(HEAD_MAX + 1).replacen("A: ", "B : c\r\nA: ", 1));
        refuse(431, &format!("{}B : c\r\n\r\n", padded(HEAD_MAX + 1).trim_end_matches("\r\n")));
        refuse(400, &"A".repeat(100_000));
        // Host is one of them.
        let headers = |count: usize| with(&"A: b\r\n".repeat(count - 1));
        assert_eq!(accept(&headers(HEADERS_MAX)).headers.len(), HEADERS_MAX);
        refuse(431, &headers(HEADERS_MAX + 1));
        refuse(431, &headers(10_000)[..600]);
    }

    #[test]
    fn a_log_sees_no_secret_of_a_head() {
        let head =
            accept("GET /ws?access=SECRET HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer SECRET\r\n\r\n");
        let text = format!("{head:?}");
        assert!(!text.contains("SECRET") && text.contains("Authorization"), "{text}");
        let mut reader = HeadReader::new();
        assert_eq!(reader.read(b"GET /ws?access=SECRET HTTP/1.1\r\nA:", HEAD_MAX), Ok(None));
        assert!(!format!("{reader:?}").contains("SECRET"));
    }

    #[test]
    fn each_refusal_has_its_status_and_code() {
        for (error, status, code) in [
            (HeadError::Bad("why"), 400, "bad_request"),
            (HeadError::TargetTooLong, 414, "target_too_long"),
            (HeadError::TooLarge, 431, "head_too_large"),
            (HeadError::VersionNotSupported, 505, "version_not_supported"),
            (HeadError::CodingNotImplemented, 501, "not_implemented"),
        ] {
            assert_eq!((error.status(), error.code()), (status, code));
        }
    }

    /// Pieces that make heads, nearly heads, and nonsense.
    fn almost_a_head() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "POST /a?b=%41 HTTP/1.0\r\n",
            "Host: h\r\n",
            "Content-Length: 5\r\n",
            "\r\n",
            "\r\n\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "A: b\r\n",
            "\r",
            "\n",
            " ",
            ":",
            "%",
            "é",
            "HTTP/2.0",
            "GET ",
            "/",
            "*",
            "http://h",
            "Connection: close\r\n",
            "aaaaaaaaaaaaaaaaaaaa",
            "\0",
            ",",
        ]);
        let piece = prop_oneof![
            8 => known.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_split_changes_the_verdict(
            mut start in prop_oneof![Just(&b""[..]), Just(&b"GET / HTTP/1.1\r\nHost: h\r\n"[..])].prop_map(<[u8]>::to_vec),
            rest in almost_a_head(),
            head_max in prop_oneof![Just(HEAD_MAX), 1..80_usize],
        ) {
            start.extend(rest);
            if let Ok(Some((head, taken))) = judge(&start, head_max) {
                prop_assert!(start[..taken].ends_with(b"\r\n\r\n") && taken <= head_max + 2);
                prop_assert!(head.headers.len() <= HEADERS_MAX);
                let _ = (head.target.segments(), head.target.query_pairs(), head.target.redacted());
            }
            let _ = judge(&start[start.len() / 2..], head_max);
        }
    }
}
