//! Writes the head of a response and the framing of its body (RFC 9112 §4, §6).
//!
//! Owns the bytes; leaves the choice of the status to the server. Invariant: no byte of a value can end a line or begin another
//! field.

use std::borrow::Cow;

use super::head::Version;
use super::headers::is_token;

/// The interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the body of a response is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// This many bytes follow, or would follow if the request were not HEAD.
    Length(u64),
    /// [`chunk`]s follow, then [`last_chunk`]. HTTP/1.0 has no chunks: see [`BodyFraming::stream`].
    Chunked,
    /// The bytes follow without framing, and the end of the connection ends them.
    UntilClose,
    /// 1xx, 204 and 304 have no body and no field about its length.
    None,
}

impl BodyFraming {
    /// How a body of unknown length is sent to a client of this version.
    pub fn stream(version: Version) -> BodyFraming {
        match version {
            Version::Http11 => BodyFraming::Chunked,
            Version::Http10 => BodyFraming::UntilClose,
        }
    }
}

/// Status and fields, already as text: a response is encoded once and never read.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    status: u16,
    lines: Vec<u8>,
}

impl ResponseHead {
    pub fn new(status: u16) -> ResponseHead {
        debug_assert!((100..1000).contains(&status));
        ResponseHead { status, lines: Vec::with_capacity(256) }
    }

    /// Adds a field; see [`ResponseHead::push`].
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> ResponseHead {
        self.push(name, &value.into());
        self
    }

    /// Adds a field. A byte that is not visible ASCII, space or tab becomes `?` (RFC 9110 §5.5), since a value may come from a
    /// peer. [`ResponseHead::encode`] writes length, coding and `close`.
    pub fn push(&mut self, name: &'static str, value: &str) {
        debug_assert!(is_token(name));
        debug_assert!(!name.eq_ignore_ascii_case("content-length"));
        debug_assert!(!name.eq_ignore_ascii_case("transfer-encoding"));
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        if value.bytes().all(is_plain) {
            self.lines.extend_from_slice(value.as_bytes());
        } else {
            let plain = |c: char| u8::try_from(c).ok().filter(|&b| is_plain(b)).unwrap_or(b'?');
            self.lines.extend(value.chars().map(plain));
        }
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Appends the complete head. The status line is always HTTP/1.1, the version of the sender (RFC 9110 §2.5); `version` is
    /// that of the request. With [`BodyFraming::UntilClose`] the connection closes for any `keep_alive`; an interim response
    /// does not mention it.
    pub fn encode(&self, out: &mut Vec<u8>, framing: BodyFraming, keep_alive: bool, version: Version) {
        out.reserve(self.lines.len() + 128);
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, self.status.into(), 10);
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.lines);
        // RFC 9110 §8.6, RFC 9112 §6.1: these statuses must not have a length. RFC 9112 §7: 1.0 has no chunks.
        let framing = match (framing, version) {
            _ if matches!(self.status, 100..=199 | 204 | 304) => BodyFraming::None,
            (BodyFraming::Chunked, Version::Http10) => BodyFraming::UntilClose,
            _ => framing,
        };
        match framing {
            BodyFraming::Length(bytes) => {
                out.extend_from_slice(b"Content-Length: ");
                push_number(out, bytes, 10);
                out.extend_from_slice(b"\r\n");
            }
            BodyFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            BodyFraming::UntilClose | BodyFraming::None => {}
        }
        let keep_alive = keep_alive && framing != BodyFraming::UntilClose;
        match (self.status, keep_alive, version) {
            (100..=199, ..) => {}
            (_, false, _) => out.extend_from_slice(b"Connection: close\r\n"),
            (_, true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (_, true, Version::Http11) => {}
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `bytes` as one chunk. For no bytes it writes nothing, since an empty chunk would end the body.
pub fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.reserve(bytes.len() + 20);
    push_number(out, bytes.len() as u64, 16);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body, without trailers.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// The reason phrase of RFC 9110 §15 and RFC 6585; empty for a status that natter does not send.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

fn is_plain(b: u8) -> bool {
    b == b'\t' || (b' '..0x7f).contains(&b)
}

/// Without `format!`, since every response uses it.
fn push_number(out: &mut Vec<u8>, mut value: u64, radix: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(value % radix) as usize];
        value /= radix;
        if value == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: ResponseHead, framing: BodyFraming, keep_alive: bool, version: Version, expect: &str) {
        let mut out = b"before".to_vec();
        head.encode(&mut out, framing, keep_alive, version);
        assert_eq!(String::from_utf8(out).expect("ASCII"), format!("before{expect}"));
    }

    #[test]
    fn a_head_has_the_framing_of_its_body_and_the_end_of_the_connection() {
        use BodyFraming::*;
        use Version::*;
        let head = |status| ResponseHead::new(status).header("A", "b");
        let ok = "HTTP/1.1 200 OK\r\nA: b\r\n";
        let length = format!("{ok}Content-Length: 18446744073709551615\r\n");
        check(head(200), Length(u64::MAX), true, Http11, &format!("{length}\r\n"));
        check(head(200), Length(u64::MAX), false, Http11, &format!("{length}Connection: close\r\n\r\n"));
        check(
            head(200),
            Length(0),
            true,
            Http10,
            &format!("{ok}Content-Length: 0\r\nConnection: keep-alive\r\n\r\n"),
        );
        check(
            head(200),
            Length(7),
            false,
            Http10,
            &format!("{ok}Content-Length: 7\r\nConnection: close\r\n\r\n"),
        );
        check(head(200), Chunked, true, Http11, &format!("{ok}Transfer-Encoding: chunked\r\n\r\n"));
        for framing in [Chunked, UntilClose] {
            check(head(200), framing, true, Http10, &format!("{ok}Connection: close\r\n\r\n"));
        }
        check(head(204), None, true, Http11, "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
        check(head(304), Length(5), true, Http11, "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n");
        check(head(101), None, false, Http11, "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n");
        check(head(599), None, true, Http11, "HTTP/1.1 599 \r\nA: b\r\n\r\n");
        check(ResponseHead::new(100), None, true, Http11, std::str::from_utf8(CONTINUE).expect("ASCII"));
        assert_eq!(BodyFraming::stream(Http11), Chunked);
        assert_eq!(BodyFraming::stream(Http10), UntilClose);
    }

    #[test]
    fn no_value_can_end_its_line() {
        for (value, expect) in [
            ("plain value\t\"~\"", "plain value\t\"~\""),
            ("a\r\nSet-Cookie: b", "a??Set-Cookie: b"),
            ("\0\u{1b}\u{7f}", "???"),
            ("سلام é", "???? ?"),
        ] {
            let head = ResponseHead::new(200).header("A", value);
            check(
                head,
                BodyFraming::None,
                true,
                Version::Http11,
                &format!("HTTP/1.1 200 OK\r\nA: {expect}\r\n\r\n"),
            );
        }
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        let mut out = Vec::new();
        ResponseHead::new(200).header("A", all).encode(&mut out, BodyFraming::None, true, Version::Http11);
        assert_eq!(out.iter().filter(|&&b| b < b' ' && b != b'\t').count(), 6, "three line ends");
    }

    #[test]
    fn chunks_come_back_from_our_own_decoder() {
        use super::super::body::BodyDecoder;
        use super::super::head::Framing;
        let long = [b'x'; 300];
        let mut out = Vec::new();
        for bytes in [&b"abc"[..], b"", &long] {
            chunk(&mut out, bytes);
        }
        assert!(out.starts_with(b"3\r\nabc\r\n12c\r\nxx"));
        last_chunk(&mut out);
        let (mut decoder, mut data, mut rest) = (BodyDecoder::new(Framing::Chunked), Vec::new(), &out[..]);
        while !decoder.is_done() {
            let piece = decoder.decode(rest).expect("well formed");
            data.extend_from_slice(piece.data);
            rest = &rest[piece.consumed..];
        }
        assert_eq!((data, rest), ([&b"abc"[..], &long].concat(), &b""[..]));
    }
}
