//! A streaming parser for `multipart/form-data` (RFC 7578), sans-IO.
//!
//! [`Multipart::next`] reads the available bytes and returns one event. Owns the framing and the two headers that a form
//! uses; leaves the rules for field names and file names, and the total size, to the route.
//!
//! ```text
//!   Seek ──delimiter──► Line ──CRLF──► Head ──empty line──► Seek (inside a part) ──► …
//!    ▲                   │ └──"--"──► End (the epilogue is ignored)
//!    └──anything else────┘   (the bytes are data, and are kept)
//! ```
//! Invariant: the events and their bytes are the same for every split of the input.

mod part;

/// Bytes of a multipart boundary (RFC 2046 §5.1.1). Above it: 400 `error_parsing_data`.
const MULTIPART_BOUNDARY_MAX: usize = 70;
/// Parts of one form: the widest form of the contract has five fields. Above it: 400 `error_parsing_data`.
const MULTIPART_PARTS_MAX: usize = 32;
/// Bytes of one part's head: two spellings of a 255-byte name, percent-encoded, and room to spare.
/// Above it: 400 `error_parsing_data`.
const MULTIPART_HEAD_MAX: usize = 8_192;
/// White space after a boundary (RFC 2046 calls it transport padding). With more, it is not a boundary.
const MULTIPART_PADDING_MAX: usize = 64;
#[cfg(test)]
mod tests;

use memchr::memmem::Finder;

use part::parse_head;
pub use part::{Part, boundary};

/// An event. Data comes in pieces of any size, never empty.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    PartBegin(Part),
    Data(&'a [u8]),
    PartEnd,
    /// The closing delimiter was read; all later bytes are the epilogue.
    End,
    /// All input is consumed.
    NeedMore,
}

/// An error of the peer; each is a 400 `error_parsing_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultipartError {
    /// The Content-Type has no boundary, two, or one that RFC 2046 §5.1.1 does not allow.
    Boundary,
    /// The head of a part is not the head of a form field.
    Head,
    HeadTooLarge,
    TooManyParts,
    /// The body ended before its closing delimiter.
    Truncated,
}

/// `bchars`, not ending in a space. None of them is CR: the search for the delimiter below relies on this.
fn is_boundary(text: &str) -> bool {
    (1..=MULTIPART_BOUNDARY_MAX).contains(&text.len())
        && !text.ends_with(' ')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b))
}

/// ```
/// use natter::proto::http::multipart::{Event, Multipart};
///
/// let form = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n";
/// let mut multipart = Multipart::new("b").expect("a boundary");
/// let (mut input, mut data) = (&form[..], Vec::new());
/// loop {
///     let (consumed, event) = multipart.next(input).expect("a good form");
///     match event {
///         Event::PartBegin(part) => assert_eq!(part.name, "file"),
///         Event::Data(bytes) => data.extend_from_slice(bytes),
///         Event::PartEnd => {}
///         Event::End => break,
///         Event::NeedMore => unreachable!("the form is complete"),
///     }
///     input = &input[consumed..];
/// }
/// assert_eq!(data, b"hello");
/// ```
pub struct Multipart {
    /// Finds, and holds, `CRLF "--" boundary`.
    delimiter: Finder<'static>,
    state: State,
    in_part: bool,
    parts: usize,
    /// Delimiter bytes matched so far, and how many of them were in the input: the first bytes of a part and of the body
    /// are matched as if a CRLF came before them.
    matched: usize,
    sent: usize,
    /// The rest of the line after a complete delimiter (bounded by MULTIPART_PADDING_MAX), or the head of a part (bounded
    /// by MULTIPART_HEAD_MAX), or bytes that looked like a delimiter and are data.
    buffered: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For the next delimiter, dropping the preamble or yielding a part's bytes.
    Seek,
    /// For the rest of the line that began with a delimiter.
    Line,
    /// For the empty line after the headers of a part.
    Head,
    End,
}

/// An event without a borrow, so that one function can both continue and return its buffer.
enum Step {
    PartBegin(Part),
    /// This range of the input.
    Data(std::ops::Range<usize>),
    /// The bytes in `buffered`.
    Buffered,
    PartEnd,
    End,
    NeedMore,
}

impl Multipart {
    /// `boundary` is the result of [`boundary`].
    pub fn new(boundary: &str) -> Result<Multipart, MultipartError> {
        if !is_boundary(boundary) {
            return Err(MultipartError::Boundary);
        }
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Ok(Multipart {
            delimiter,
            state: State::Seek,
            in_part: false,
            parts: 0,
            matched: 2,
            sent: 0,
            buffered: Vec::new(),
        })
    }

    /// Reads bytes from the front of `input`; returns how many, and the event that they are. Call it again with the rest
    /// until [`Event::NeedMore`] or [`Event::End`].
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), MultipartError> {
        let (consumed, step) = self.step(input)?;
        let event = match step {
            Step::PartBegin(part) => Event::PartBegin(part),
            Step::Data(range) => Event::Data(&input[range]),
            Step::Buffered => Event::Data(&self.buffered),
            Step::PartEnd => Event::PartEnd,
            Step::End => Event::End,
            Step::NeedMore => Event::NeedMore,
        };
        Ok((consumed, event))
    }

    /// Call it at the end of the body: an incomplete form is an error.
    pub fn finish(&self) -> Result<(), MultipartError> {
        if self.state == State::End { Ok(()) } else { Err(MultipartError::Truncated) }
    }

    fn step(&mut self, input: &[u8]) -> Result<(usize, Step), MultipartError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Seek if self.matched == 0 => {
                    let rest = &input[at..];
                    let found = self.delimiter.find(rest);
                    let data = found.unwrap_or_else(|| rest.len() - self.partial(rest));
                    self.matched = found.map_or(rest.len() - data, |_| self.delimiter.needle().len());
                    self.sent = self.matched;
                    let (from, to) = (at, at + data);
                    at = to + self.matched;
                    if self.matched == self.delimiter.needle().len() {
                        self.enter_line();
                    }
                    if self.in_part && data > 0 {
                        return Ok((at, Step::Data(from..to)));
                    }
                    if at == input.len() {
                        return Ok((at, Step::NeedMore));
                    }
                }
                State::Seek => {
                    let Some(&byte) = input.get(at) else { return Ok((at, Step::NeedMore)) };
                    if byte != self.delimiter.needle()[self.matched] {
                        if self.not_a_delimiter() {
                            return Ok((at, Step::Buffered));
                        }
                        continue;
                    }
                    at += 1;
                    self.matched += 1;
                    self.sent += 1;
                    if self.matched == self.delimiter.needle().len() {
                        self.enter_line();
                    }
                }
                State::Line => {
                    let Some(&byte) = input.get(at) else { return Ok((at, Step::NeedMore)) };
                    match (self.buffered.last(), byte) {
                        (Some(b'\r'), b'\n') => {
                            self.state = State::Head;
                            self.parts += 1;
                        }
                        (Some(b'-'), b'-') => self.state = State::End,
                        (None, b'-') | (None | Some(b' ' | b'\t'), b' ' | b'\t' | b'\r')
                            if self.buffered.len() < MULTIPART_PADDING_MAX =>
                        {
                            self.buffered.push(byte);
                            at += 1;
                            continue;
                        }
                        // By RFC 2046 every line that begins with the boundary is a delimiter. Here a line that
                        // continues with other bytes is data, so that a file may have such a line.
                        _ => {
                            if self.not_a_delimiter() {
                                return Ok((at, Step::Buffered));
                            }
                            continue;
                        }
                    }
                    self.buffered.clear();
                    at += 1;
                    if std::mem::take(&mut self.in_part) {
                        return Ok((at, Step::PartEnd));
                    }
                }
                State::Head => {
                    if self.parts > MULTIPART_PARTS_MAX {
                        return Err(MultipartError::TooManyParts);
                    }
                    let Some(&byte) = input.get(at) else { return Ok((at, Step::NeedMore)) };
                    at += 1;
                    self.buffered.push(byte);
                    if self.buffered.ends_with(b"\r\n\r\n") || self.buffered == b"\r\n" {
                        let part = parse_head(&self.buffered)?;
                        self.buffered = Vec::new();
                        (self.state, self.in_part) = (State::Seek, true);
                        (self.matched, self.sent) = (2, 0);
                        return Ok((at, Step::PartBegin(part)));
                    }
                    if self.buffered.len() == MULTIPART_HEAD_MAX {
                        return Err(MultipartError::HeadTooLarge);
                    }
                }
                State::End => return Ok((input.len(), Step::End)),
            }
        }
    }

    /// Bytes at the end of `rest` that may begin a delimiter. CR is only its first byte, so the last CR decides, and after
    /// a mismatch no earlier byte is read again.
    fn partial(&self, rest: &[u8]) -> usize {
        let tail = &rest[rest.len().saturating_sub(self.delimiter.needle().len() - 1)..];
        match memchr::memrchr(b'\r', tail) {
            Some(cr) if self.delimiter.needle().starts_with(&tail[cr..]) => tail.len() - cr,
            _ => 0,
        }
    }

    fn enter_line(&mut self) {
        self.state = State::Line;
        self.buffered.clear();
    }

    /// The bytes matched so far are data: they are put into `buffered`. False if there are none to return.
    fn not_a_delimiter(&mut self) -> bool {
        let needle = &self.delimiter.needle()[..self.matched];
        let line = if self.state == State::Line { std::mem::take(&mut self.buffered) } else { Vec::new() };
        self.buffered.clear();
        self.buffered.extend_from_slice(&needle[self.matched - self.sent..]);
        self.buffered.extend_from_slice(&line);
        (self.matched, self.sent, self.state) = (0, 0, State::Seek);
        self.in_part && !self.buffered.is_empty()
    }
}
