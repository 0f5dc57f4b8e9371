//! Parses the head of a request: its end, its fields, and the framing of its body (RFC 9112 §2–§6).
//!
//! Owns the refusal of every head that two parsers could read differently; leaves the body to `body`.
//! Invariant: the result is the same for every split of the bytes, and each byte is read a bounded number of times.
//!
//! A line is the bytes up to CRLF, without any other CR, LF or NUL. The head ends with the first empty line after the request
//! line. httparse parses the content of the lines, and must find the same end, else the head is refused.

use super::headers::{elements, is_token};
use super::target::{Target, normal_host};
use crate::limits::{HEADERS_MAX, TARGET_MAX};

pub use super::headers::Headers;

/// Bytes of a method: far above any that is registered, so that an unknown one still gets its 501. A longer
/// first word is not a method: 400 `bad_request`, before the line has ended.
const METHOD_MAX: usize = 64;

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

/// The protocol version, which also limits what the response may use. A later 1.x is read as 1.1 (RFC 9110 §2.5).
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

/// A complete, checked request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    pub target: Target,
    pub version: Version,
    pub headers: Headers,
    pub framing: Framing,
    /// The client wants to send another request on this connection.
    pub keep_alive: bool,
    pub expect: Expect,
    /// `host[:port]` in lower case: from the target if it has an authority, else from Host. `None` only in HTTP/1.0.
    pub host: Option<String>,
}

impl Head {
    /// Bytes of memory that it takes in addition to its value.
    pub fn memory(&self) -> usize {
        self.target.memory() + self.headers.memory() + self.host.as_ref().map_or(0, String::capacity)
    }
}

/// Why a head is refused. The connection closes after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Malformed or ambiguous; the text is only for the log.
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

/// Reads one head after the other from bytes that arrive in any pieces.
///
/// In each call `bytes` begins at the first byte that is not consumed, and only grows until a head is read.
#[derive(Debug, Default)]
///
/// ```
/// use natter::proto::http::head::{Framing, HeadError, HeadReader, Method};
///
/// let mut reader = HeadReader::new();
/// let bytes = b"POST /api/v1/messages?x=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\n\r\n{}";
/// // The head is incomplete so far: the same bytes come again, with more.
/// assert_eq!(reader.read(&bytes[..40], 16_384), Ok(None));
/// let (head, len) = reader.read(bytes, 16_384).expect("a good head").expect("a complete one");
/// assert_eq!((head.method, head.target.path(), head.framing), (Method::Post, "/api/v1/messages", Framing::Length(2)));
/// assert_eq!(&bytes[len..], b"{}");
/// // A head that two servers could read differently is refused.
/// let twice = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
/// assert!(matches!(HeadReader::new().read(twice, 16_384), Err(HeadError::Bad(_))));
/// ```
pub struct HeadReader {
    /// The bytes before this offset have no error and no end.
    scanned: usize,
    /// Where the head begins: after the one empty line that is ignored.
    start: usize,
    /// Where the line of `scanned` begins.
    line: usize,
    /// The header lines before this offset are checked.
    checked: usize,
    /// Header lines that are complete.
    headers: usize,
    request_line: RequestLine,
}

/// How much of the first line is read.
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

/// The meaning of the next CR, LF or NUL.
enum Mark {
    /// None has arrived, or only the CR of a CRLF: search again from here.
    Nothing(usize),
    /// A line ends here, with CRLF.
    Line(usize),
    Fault(usize, &'static str),
}

impl HeadReader {
    pub fn new() -> HeadReader {
        HeadReader::default()
    }

    /// Reads a head at the start of `bytes`; `None` means that more bytes are needed. The number is the length of the head,
    /// with the ignored empty line; the reader is then ready for the next head. `head_max` bounds the bytes from the request
    /// line to the last CRLF.
    pub fn read(&mut self, bytes: &[u8], head_max: usize) -> Result<Option<(Head, usize)>, HeadError> {
        loop {
            // Bytes after the bound must not change the result: they might not have arrived yet.
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
                        // RFC 9112 §2.2: one empty line is ignored, since old clients send one after a body.
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

    /// Whether a head has begun: then the response at the deadline is 408, else the connection only closes.
    pub fn is_partial(&self, bytes: &[u8]) -> bool {
        let behind_empty_line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        !matches!(behind_empty_line, b"" | b"\r")
    }

    /// Enforces the bounds of the method and the target while the first line arrives, in the order of its bytes, so that no
    /// split changes which bound is exceeded first.
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

    /// Checks the header lines that became complete since the last call, so that a malformed one is refused before the end of
    /// the head. Not used for a head that arrives in one piece.
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

/// RFC 9112 §2.2 allows a recipient to read a bare LF as a line end and a bare CR as a space. natter refuses both: a proxy in
/// front of it may have read the line differently.
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

/// Reads `line`, which includes its CRLF; `end` is where the next line begins.
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

/// A version that httparse does not know: a later 1.x is accepted (RFC 9110 §2.5), another major version is 505, and a text
/// that is not `HTTP/` DIGIT `.` DIGIT is malformed.
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

/// RFC 9112 §3.2: exactly one valid Host; an authority in the target takes precedence over it. HTTP/1.0 may have none.
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

/// RFC 9112 §6.3 in its strictest form: if another parser could read a different length, it is 400.
fn framing(headers: &Headers, version: Version) -> Result<Framing, HeadError> {
    let mut lengths = headers.get_all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        // RFC 9110 §8.6 allows merging equal ones, but only a broken client or an attacker sends them.
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
        // "005" follows the grammar, but some parsers read it as octal.
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let length = text.parse().ok().filter(|_| plain).ok_or(HeadError::Bad("Content-Length"))?;
        Ok(Framing::Length(length))
    })
}

/// Only `chunked` is accepted. An unknown coding, alone or before chunked, is 501 (RFC 9112 §6.1). Chunked that is not once and
/// last is 400 (§6.3), and so is a text that is not a coding.
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
mod tests;
