//! Decodes the framing of a request body (RFC 9112 §6, §7.1).
//!
//! Owns which bytes belong to the body and where it ends. It keeps no byte of it: data are slices of the input; chunk
//! extensions and trailers are dropped. Invariant: data, end and errors are the same for every split of the bytes.
//!
//! ```text
//! Length ────────────────────────────────────────────────────────────▶ Done
//! Size ─▶ (extensions) ─▶ SizeLf ─▶ Data ─▶ DataCr ─▶ DataLf ─▶ Size
//!                           └ size 0 ─▶ Trailer ⇄ (name, value) ─▶ EndLf ─▶ Done
//! ```
//!
//! The chunk line is read here, byte by byte, and not by httparse: httparse accepts any byte in an extension, white space
//! before the CRLF, and an empty size as 0, and it starts again with each piece.

use super::head::Framing;
use super::headers::is_token_byte;

/// Bytes of one chunk line, its extensions included: room for a size and a signature. Above it: 400.
const CHUNK_LINE_MAX: usize = 256;
/// Bytes of all chunk extensions of one body. They are read and dropped, so that without a bound one data
/// byte could cost a chunk line each time (RFC 9112 §7.1.1). Above it: 400.
const CHUNK_EXTENSIONS_MAX: usize = 16_384;
/// Bytes of the trailer section of one body, which is read and dropped. Above it: 400.
const TRAILERS_MAX: usize = 4_096;

/// Decodes the framing of one request body.
///
/// ```
/// use natter::proto::http::body::BodyDecoder;
/// use natter::proto::http::head::Framing;
///
/// let mut decoder = BodyDecoder::new(Framing::Chunked);
/// let (mut input, mut body) = (&b"5\r\nhello\r\n0\r\n\r\nGET /"[..], Vec::new());
/// while !decoder.is_done() {
///     let piece = decoder.decode(input).expect("good chunks");
///     body.extend_from_slice(piece.data);
///     input = &input[piece.consumed..];
/// }
/// assert_eq!((&body[..], input), (&b"hello"[..], &b"GET /"[..]));
/// ```
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// The size in the chunk line that is being read.
    size: u64,
    /// Bytes of this chunk line.
    line: usize,
    /// Bytes of all extensions so far.
    extensions: usize,
    /// Bytes of the trailer section so far.
    trailers: usize,
}

/// What one call found.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Bytes of the input that are consumed. The caller passes the bytes after them again.
    pub consumed: usize,
    /// Body bytes, a part of the consumed ones. May be empty.
    pub data: &'a [u8],
    /// The body is complete: the next request begins after the consumed bytes.
    pub done: bool,
}

/// The framing is broken; the text is for the log. The response is 400 `bad_request`, and the connection closes, since no
/// byte after the error can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError(pub &'static str);

/// Each state is named after the byte that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes of Content-Length still to come, never 0.
    Length(u64),
    /// A hex digit of the size; the value counts the digits so far.
    Size(u8),
    /// White space or `;` after the size.
    SizeEnd,
    ExtensionStart,
    ExtensionName,
    ExtensionNameEnd,
    ExtensionValue,
    ExtensionToken,
    Quoted,
    QuotedPair,
    QuotedEnd,
    ExtensionEnd,
    SizeLf,
    /// Bytes of this chunk still to come, never 0.
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Failed(&'static str),
}

/// 2^63 - 1: no file is larger, and code that adds sizes may use signed numbers.
const CHUNK_SIZE_MAX: u64 = i64::MAX as u64;
/// Enough digits for any 64-bit number. More digits are leading zeros, which no honest client sends.
const CHUNK_DIGITS_MAX: u8 = 16;

impl BodyDecoder {
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::Size(0),
        };
        BodyDecoder { state, size: 0, line: 0, extensions: 0, trailers: 0 }
    }

    /// Reads the next piece: at most one run of data, and the framing around it. Call it again with the rest while bytes
    /// were consumed and the body is not complete. After an error every call fails.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, BodyError> {
        let mut at = 0;
        let mut data: &[u8] = &[];
        loop {
            self.state = match self.state {
                State::Done => break,
                State::Failed(why) => return Err(BodyError(why)),
                State::Length(left) | State::Data(left) => {
                    let rest = &input[at..];
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    if taken == 0 || !data.is_empty() {
                        break;
                    }
                    (data, at) = (&rest[..taken], at + taken);
                    match (self.state, left - taken as u64) {
                        (State::Length(_), 0) => State::Done,
                        (State::Length(_), left) => State::Length(left),
                        (_, 0) => State::DataCr,
                        (_, left) => State::Data(left),
                    }
                }
                state => {
                    let Some(&byte) = input.get(at) else { break };
                    at += 1;
                    match self.step(state, byte) {
                        Ok(next) => next,
                        Err(why) => State::Failed(why),
                    }
                }
            };
        }
        Ok(Piece { consumed: at, data, done: self.is_done() })
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Body bytes still to come, if the framing says it. Use it for a quota, never as a size to allocate.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// One byte of chunked framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, &'static str> {
        match state {
            State::DataCr => return expect(byte, b'\r', State::DataLf, "no CRLF after a chunk"),
            State::DataLf => {
                self.line = 0;
                self.size = 0;
                return expect(byte, b'\n', State::Size(0), "bare CR after a chunk");
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => return self.trailer(state, byte),
            _ => {}
        }
        self.line += 1;
        if self.line > CHUNK_LINE_MAX {
            return Err("chunk line too long");
        }
        if let State::Size(digits) = state {
            return self.size_digit(digits, byte);
        }
        if state == State::SizeLf {
            let next = if self.size == 0 { State::TrailerStart } else { State::Data(self.size) };
            return expect(byte, b'\n', next, "bare CR in a chunk line");
        }
        self.extensions += 1;
        if self.extensions > CHUNK_EXTENSIONS_MAX {
            return Err("too many chunk extensions");
        }
        extension(state, byte)
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<State, &'static str> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if digits < CHUNK_DIGITS_MAX => {
                let size = self.size.checked_mul(16).map(|size| size | u64::from(digit));
                self.size = size.filter(|&size| size <= CHUNK_SIZE_MAX).ok_or("chunk size too large")?;
                Ok(State::Size(digits + 1))
            }
            (Some(_), _) => Err("chunk size too long"),
            (None, _) if digits == 0 => Err("no chunk size"),
            (None, b'\r') => Ok(State::SizeLf),
            (None, b';') => Ok(State::ExtensionStart),
            (None, b' ' | b'\t') => Ok(State::SizeEnd),
            _ => Err("character in a chunk size"),
        }
    }

    /// `*( field-line CRLF ) CRLF`: checked by the grammar of a header line, then dropped (RFC 9112 §7.1.2), so that no
    /// trailer is taken for a header.
    fn trailer(&mut self, state: State, byte: u8) -> Result<State, &'static str> {
        self.trailers += 1;
        if self.trailers > TRAILERS_MAX {
            return Err("trailers too long");
        }
        match (state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerName, b) if is_token_byte(b) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b) if is_text(b) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err("trailer"),
        }
    }
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1). Ignored, but only in a form in
/// which every parser finds the same end of the line.
fn extension(state: State, byte: u8) -> Result<State, &'static str> {
    use State::*;
    let space = matches!(byte, b' ' | b'\t');
    let token = is_token_byte(byte);
    match (state, byte) {
        (ExtensionStart, _) if space => Ok(ExtensionStart),
        (ExtensionStart | ExtensionName, _) if token => Ok(ExtensionName),
        (ExtensionName | ExtensionNameEnd, b'=') => Ok(ExtensionValue),
        (ExtensionName | ExtensionNameEnd, _) if space => Ok(ExtensionNameEnd),
        (ExtensionValue, _) if space => Ok(ExtensionValue),
        (ExtensionValue, b'"') => Ok(Quoted),
        (ExtensionValue | ExtensionToken, _) if token => Ok(ExtensionToken),
        (Quoted, b'"') => Ok(QuotedEnd),
        (Quoted, b'\\') => Ok(QuotedPair),
        (Quoted | QuotedPair, b) if is_text(b) => Ok(Quoted),
        (ExtensionToken | QuotedEnd | ExtensionEnd, _) if space => Ok(ExtensionEnd),
        (SizeEnd, _) if space => Ok(SizeEnd),
        (SizeEnd | ExtensionEnd | ExtensionName | ExtensionNameEnd | ExtensionToken | QuotedEnd, b';') => {
            Ok(ExtensionStart)
        }
        (ExtensionName | ExtensionToken | QuotedEnd, b'\r') => Ok(SizeLf),
        _ => Err("chunk extension"),
    }
}

fn expect(byte: u8, wanted: u8, next: State, why: &'static str) -> Result<State, &'static str> {
    if byte == wanted { Ok(next) } else { Err(why) }
}

/// Whether a byte is allowed in a field value: no control character except the tab.
fn is_text(b: u8) -> bool {
    b == b'\t' || b >= b' ' && b != 0x7f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The complete result of a decoder: the data, and the bytes after the body, or `None` if the body is incomplete.
    type Complete<'a> = Result<(Vec<u8>, Option<&'a [u8]>), BodyError>;

    fn run<'a>(framing: Framing, input: &'a [u8], pieces: &[usize]) -> Complete<'a> {
        let mut decoder = BodyDecoder::new(framing);
        let mut data = Vec::new();
        let mut at = 0;
        for &upto in pieces.iter().chain([&input.len()]) {
            while !decoder.is_done() && at < upto {
                let piece = decoder.decode(&input[at..upto])?;
                assert!(piece.consumed > 0 && piece.consumed <= upto - at);
                assert_eq!(piece.done, decoder.is_done());
                data.extend_from_slice(piece.data);
                at += piece.consumed;
            }
        }
        Ok((data, decoder.is_done().then(|| &input[at..])))
    }

    /// Decodes the input at once, split in two at every byte, and byte by byte.
    fn check(framing: Framing, input: &[u8], expect: Complete<'_>) {
        let text = String::from_utf8_lossy(input);
        assert_eq!(run(framing, input, &[]), expect, "{text:?}");
        let drip: Vec<usize> = (0..input.len()).collect();
        assert_eq!(run(framing, input, &drip), expect, "{text:?}, drip");
        for at in drip {
            assert_eq!(run(framing, input, &[at]), expect, "{text:?} split at {at}");
        }
    }

    fn complete<'a>(data: &[u8], following: &'a [u8]) -> Complete<'a> {
        Ok((data.to_vec(), Some(following)))
    }

    #[test]
    fn a_length_is_counted() {
        check(Framing::Empty, b"GET", complete(b"", b"GET"));
        check(Framing::Length(0), b"GET", complete(b"", b"GET"));
        check(Framing::Length(3), b"abcGET", complete(b"abc", b"GET"));
        check(Framing::Length(3), b"abc", complete(b"abc", b""));
        check(Framing::Length(u64::MAX), b"abc", Ok((b"abc".to_vec(), None)));
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.remaining(), Some(5));
        assert_eq!(decoder.decode(b"ab"), Ok(Piece { consumed: 2, data: b"ab", done: false }));
        assert_eq!(decoder.remaining(), Some(3));
        assert_eq!(decoder.decode(b""), Ok(Piece { consumed: 0, data: b"", done: false }));
        assert_eq!(BodyDecoder::new(Framing::Chunked).remaining(), None);
    }

    #[test]
    fn chunks_are_joined_and_extensions_and_trailers_dropped() {
        for (input, data) in [
            ("0\r\n\r\n", ""),
            ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("3\r\nabc\r\n2\r\nde\r\n000\r\n\r\n", "abcde"),
            ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
            ("3\r\n\r\n\n\r\n0\r\n\r\n", "\r\n\n"),
            ("1;a\r\nx\r\n0;b=c;d=\"e\\\"\\\\;\t\"\r\n\r\n", "x"),
            ("1 ; a = b\t;c = \"d\" ;e\r\nx\r\n0\r\n\r\n", "x"),
            ("1\r\nx\r\n0\r\nA: b\r\nContent-Length:\t5\r\nc:\r\n\r\n", "x"),
        ] {
            let pipelined = format!("{input}GET / HTTP/1.1\r\n");
            check(Framing::Chunked, pipelined.as_bytes(), complete(data.as_bytes(), b"GET / HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn a_body_that_ends_early_is_incomplete() {
        for (input, data) in
            [("", ""), ("3", ""), ("3\r\nab", "ab"), ("1\r\nx\r\n0\r\n", "x"), ("0\r\n\r", "")]
        {
            check(Framing::Chunked, input.as_bytes(), Ok((data.as_bytes().to_vec(), None)));
        }
    }

    #[test]
    fn framing_that_two_parsers_could_read_differently_is_refused() {
        for input in [
            "\r\n",
            "\n",
            ";\r\n",
            " 1\r\n",
            "+1\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1_0\r\n",
            "g\r\n",
            "1\n",
            "1\rx",
            "1 \r\n",
            "1\t\r\n",
            "1;\r\n",
            "1;a=\r\n",
            "1; \r\n",
            "1;;a\r\n",
            "1;a b\r\n",
            "1;a=b c\r\n",
            "1;a=\"b\r\n",
            "1;a=\"\\\r\n",
            "1;a=\"b\"c\r\n",
            "1;a \r\n",
            "1;a=b \r\n",
            "1;a\n",
            "1;a\0\r\n",
            "1;\u{7f}\r\n",
            "1;a=\"\n\"\r\n",
            "1;[a]\r\n",
            "1a;=b\r\n",
            "1 1\r\n",
            "1\0\r\n",
            "1\r\nxx",
            "1\r\nx\n",
            "1\r\nx\rx",
            "00000000000000001\r\n",
            "8000000000000000\r\n",
            "FFFFFFFFFFFFFFFF\r\n",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\na\r\n\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\0\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            "0\r\na: b\rc\r\n\r\n",
            "0\r\n\rx",
        ] {
            // Some of these are refused only with the byte after them.
            let input = format!("{input}~");
            let Err(error) = run(Framing::Chunked, input.as_bytes(), &[]) else { panic!("{input:?}") };
            check(Framing::Chunked, input.as_bytes(), Err(error));
        }
    }

    #[test]
    fn a_refused_body_stays_refused() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let error = decoder.decode(b"x").expect_err("no size");
        assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error));
        assert_eq!(decoder.decode(b""), Err(error));
        assert!(!decoder.is_done());
    }

    #[test]
    fn lines_extensions_and_trailers_are_bounded() {
        let verdict = |input: String| {
            let seen = run(Framing::Chunked, input.as_bytes(), &[]);
            let drip: Vec<usize> = (0..input.len()).collect();
            assert_eq!(run(Framing::Chunked, input.as_bytes(), &drip), seen);
            seen.map(|(data, following)| (data.len(), following.is_some()))
        };
        // The line has "1;" and CRLF in addition to the name.
        let line = |name: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(name));
        assert_eq!(verdict(line(CHUNK_LINE_MAX - 4)), Ok((1, true)));
        assert_eq!(verdict(line(CHUNK_LINE_MAX - 3)), Err(BodyError("chunk line too long")));
        // The name and CR count; `;` and LF belong to the size's own states.
        let name = "a".repeat(127);
        let extensions = |chunks: usize| format!("{}0\r\n\r\n", format!("1;{name}\r\nx\r\n").repeat(chunks));
        let most = CHUNK_EXTENSIONS_MAX / 128;
        assert_eq!(verdict(extensions(most)), Ok((most, true)));
        assert_eq!(verdict(extensions(most + 1)), Err(BodyError("too many chunk extensions")));
        let trailers = |value: usize| format!("0\r\na:{}\r\n\r\n", "b".repeat(value));
        assert_eq!(verdict(trailers(TRAILERS_MAX - 6)), Ok((0, true)));
        assert_eq!(verdict(trailers(TRAILERS_MAX - 5)), Err(BodyError("trailers too long")));
        let chunks = "1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n";
        assert_eq!(verdict(chunks), Ok((100_000, true)), "the number of plain chunks is not bounded");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_split_changes_the_verdict(pieces in prop::collection::vec(
            prop_oneof![
                8 => prop::sample::select(vec![
                    "1", "0", "2;a", ";a=b", "=\"", "\"", "\r\n", "\r\n", "\r\n\r\n", "x", "xy", "A: b", "1\r\nx\r\n", "0\r\n", " ",
                    "\n", "\r", "\0", "f",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                1 => prop::collection::vec(any::<u8>(), 1..4),
            ],
            0..12,
        )) {
            let input = pieces.concat();
            for framing in [Framing::Chunked, Framing::Length(7)] {
                check(framing, &input, run(framing, &input, &[]));
            }
        }
    }
}
