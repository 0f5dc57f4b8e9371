//! `multipart/form-data` (RFC 7578) as it streams past, sans-IO: [`Multipart::next`] takes the bytes at hand
//! and yields one event. Owns the framing and the two headers that mean something in a form; refuses to own
//! what a field or file name may be, and the size of the whole, which are the route's.
//!
//! ```text
//!   Seek ──delimiter──► Line ──CRLF──► Head ──empty line──► Seek (inside a part) ──► …
//!    ▲                   │ └──"--"──► End (the epilogue is ignored)
//!    └──anything else────┘   (it was data after all, byte for byte)
//! ```
//! Invariant: the events and their bytes are the same however the input is split.

use memchr::memmem::Finder;

use crate::limits::{MULTIPART_BOUNDARY_MAX, MULTIPART_HEAD_MAX, MULTIPART_PADDING_MAX, MULTIPART_PARTS_MAX};

/// One thing that happened. Data comes in pieces of any size, never empty.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    PartBegin(Part),
    Data(&'a [u8]),
    PartEnd,
    /// The closing delimiter was seen; whatever follows is the epilogue.
    End,
    /// All input is consumed.
    NeedMore,
}

/// The head of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// As sent, path separators and control characters included; `None` makes it a plain field. A browser
    /// sends the empty name where no file was chosen.
    pub filename: Option<String>,
    pub content_type: Option<String>,
}

/// What the peer did wrong; each is a 400 `error_parsing_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultipartError {
    /// The Content-Type has no boundary, two, or one that RFC 2046 §5.1.1 does not allow.
    Boundary,
    /// A part's head is not the head of a form field.
    Head,
    HeadTooLarge,
    TooManyParts,
    /// The body ended before its closing delimiter.
    Truncated,
}

/// The boundary that `Content-Type: multipart/form-data; boundary=…` names.
pub fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let (media, parameters) = content_type.split_once(';').ok_or(MultipartError::Boundary)?;
    if !media.trim_matches(WSP).eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::Boundary);
    }
    let mut found = None;
    for parameter in Parameters(parameters) {
        let (name, value) = parameter.ok_or(MultipartError::Boundary)?;
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return Err(MultipartError::Boundary);
        }
    }
    found.filter(|boundary| is_boundary(boundary)).ok_or(MultipartError::Boundary)
}

/// `bchars`, not ending in a space. None of them is CR: the delimiter search below stands on that.
fn is_boundary(text: &str) -> bool {
    (1..=MULTIPART_BOUNDARY_MAX).contains(&text.len())
        && !text.ends_with(' ')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b))
}

pub struct Multipart {
    /// Finds, and holds, `CRLF "--" boundary`.
    delimiter: Finder<'static>,
    state: State,
    in_part: bool,
    parts: usize,
    /// Delimiter bytes matched so far, and how many of them stood in the input: a part's first bytes and the
    /// body's are matched as if a CRLF preceded them.
    matched: usize,
    sent: usize,
    /// What followed a whole delimiter on its line (bounded by MULTIPART_PADDING_MAX), or the head of a part
    /// (bounded by MULTIPART_HEAD_MAX), or bytes taken for a delimiter that turned out to be data.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For the next delimiter, dropping the preamble or yielding a part's bytes.
    Seek,
    /// For the rest of the line that began with a delimiter.
    Line,
    /// For the empty line behind a part's headers.
    Head,
    End,
}

/// An event without a borrow, so that one function can both go on and give up its buffer.
enum Step {
    PartBegin(Part),
    /// This range of the input.
    Data(std::ops::Range<usize>),
    /// What is in `held`.
    Held,
    PartEnd,
    End,
    NeedMore,
}

impl Multipart {
    /// `boundary` as [`boundary`] found it.
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
            held: Vec::new(),
        })
    }

    /// Takes some bytes from the front of `input` (how many is in the answer) and says what they were.
    /// Call again with the rest until [`Event::NeedMore`] or [`Event::End`].
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), MultipartError> {
        let (consumed, step) = self.step(input)?;
        let event = match step {
            Step::PartBegin(part) => Event::PartBegin(part),
            Step::Data(range) => Event::Data(&input[range]),
            Step::Held => Event::Data(&self.held),
            Step::PartEnd => Event::PartEnd,
            Step::End => Event::End,
            Step::NeedMore => Event::NeedMore,
        };
        Ok((consumed, event))
    }

    /// To be asked when the body is over.
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
                            return Ok((at, Step::Held));
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
                    match (self.held.last(), byte) {
                        (Some(b'\r'), b'\n') => {
                            self.state = State::Head;
                            self.parts += 1;
                        }
                        (Some(b'-'), b'-') => self.state = State::End,
                        (None, b'-') | (None | Some(b' ' | b'\t'), b' ' | b'\t' | b'\r')
                            if self.held.len() < MULTIPART_PADDING_MAX =>
                        {
                            self.held.push(byte);
                            at += 1;
                            continue;
                        }
                        // RFC 2046 would call every line that begins so a delimiter; a file that holds the
                        // boundary and goes on is kept byte for byte instead.
                        _ => {
                            if self.not_a_delimiter() {
                                return Ok((at, Step::Held));
                            }
                            continue;
                        }
                    }
                    self.held.clear();
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
                    self.held.push(byte);
                    if self.held.ends_with(b"\r\n\r\n") || self.held == b"\r\n" {
                        let part = parse_head(&self.held)?;
                        self.held = Vec::new();
                        (self.state, self.in_part) = (State::Seek, true);
                        (self.matched, self.sent) = (2, 0);
                        return Ok((at, Step::PartBegin(part)));
                    }
                    if self.held.len() == MULTIPART_HEAD_MAX {
                        return Err(MultipartError::HeadTooLarge);
                    }
                }
                State::End => return Ok((input.len(), Step::End)),
            }
        }
    }

    /// Bytes at the end of `rest` that may begin a delimiter. CR stands only at its front, so the last CR
    /// decides, and a mismatch never has to look back.
    fn partial(&self, rest: &[u8]) -> usize {
        let tail = &rest[rest.len().saturating_sub(self.delimiter.needle().len() - 1)..];
        match memchr::memrchr(b'\r', tail) {
            Some(cr) if self.delimiter.needle().starts_with(&tail[cr..]) => tail.len() - cr,
            _ => 0,
        }
    }

    fn enter_line(&mut self) {
        self.state = State::Line;
        self.held.clear();
    }

    /// What was matched so far was data: it is put back into `held`. False if there is nothing to yield.
    fn not_a_delimiter(&mut self) -> bool {
        let needle = &self.delimiter.needle()[..self.matched];
        let line = if self.state == State::Line { std::mem::take(&mut self.held) } else { Vec::new() };
        self.held.clear();
        self.held.extend_from_slice(&needle[self.matched - self.sent..]);
        self.held.extend_from_slice(&line);
        (self.matched, self.sent, self.state) = (0, 0, State::Seek);
        self.in_part && !self.held.is_empty()
    }
}

/// The white space of RFC 5234.
const WSP: [char; 2] = [' ', '\t'];

fn parse_head(head: &[u8]) -> Result<Part, MultipartError> {
    let text = std::str::from_utf8(head).map_err(|_| MultipartError::Head)?;
    let mut disposition = None;
    let mut content_type = None;
    let lines = text.strip_suffix("\r\n\r\n").unwrap_or_default();
    for line in lines.split("\r\n") {
        // A bare CR or LF, a NUL, a folded line: whatever another reader might take it for, we take it for
        // an error (RFC 9112 §2.2 and §5.2 say the same of heads).
        let (name, value) = line.split_once(':').ok_or(MultipartError::Head)?;
        if name.is_empty()
            || !name.bytes().all(is_token_byte)
            || value.chars().any(|c| c != '\t' && c.is_control())
        {
            return Err(MultipartError::Head);
        }
        let value = value.trim_matches(WSP);
        if name.eq_ignore_ascii_case("content-disposition") {
            if disposition.replace(value).is_some() {
                return Err(MultipartError::Head);
            }
        } else if name.eq_ignore_ascii_case("content-type") {
            if content_type.replace(value.to_owned()).is_some() {
                return Err(MultipartError::Head);
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            // Deprecated in forms (RFC 7578 §4.7). An encoded file would be stored encoded: refused.
            if !["binary", "8bit", "7bit"].iter().any(|identity| value.eq_ignore_ascii_case(identity)) {
                return Err(MultipartError::Head);
            }
        }
    }
    let (name, filename) = parse_disposition(disposition.ok_or(MultipartError::Head)?)?;
    Ok(Part { name, filename, content_type })
}

fn parse_disposition(value: &str) -> Result<(String, Option<String>), MultipartError> {
    let (kind, parameters) = value.split_once(';').ok_or(MultipartError::Head)?;
    if !kind.trim_matches(WSP).eq_ignore_ascii_case("form-data") {
        return Err(MultipartError::Head);
    }
    let (mut name, mut filename, mut extended) = (None, None, None);
    for parameter in Parameters(parameters) {
        let (key, value) = parameter.ok_or(MultipartError::Head)?;
        let (slot, value) = match key.to_ascii_lowercase().as_str() {
            "name" => (&mut name, unquote_percent(&value)),
            "filename" => (&mut filename, unquote_percent(&value)),
            "filename*" => (&mut extended, decode_extended(&value).ok_or(MultipartError::Head)?),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(MultipartError::Head);
        }
    }
    // Where both are given the extended one is meant (RFC 6266 §4.3).
    Ok((name.ok_or(MultipartError::Head)?, extended.or(filename)))
}

/// Browsers and curl write a quotation mark in a name as `%22` and nothing else of it so (WHATWG HTML,
/// multipart/form-data encoding); CR and LF as `%0D%0A`, which stay as they are: visible, and harmless.
fn unquote_percent(value: &str) -> String {
    value.replace("%22", "\"")
}

/// `UTF-8'language'percent-encoded` (RFC 8187 §3.2); another charset is `None`.
fn decode_extended(value: &str) -> Option<String> {
    let mut pieces = value.splitn(3, '\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).ok()
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `name=value; name="value"`: each pair, or `None` once where the text is none, then nothing.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        // A semicolon with nothing behind it is harmless and common.
        let rest = self.0.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return None;
        }
        let pair = read_parameter(rest);
        self.0 = pair.as_ref().map_or("", |&(_, _, rest)| rest);
        Some(pair.map(|(name, value, _)| (name, value)))
    }
}

fn read_parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim_end_matches(WSP);
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return None;
    }
    let rest = rest.trim_start_matches(WSP);
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => read_quoted(quoted)?,
        None => {
            let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let rest = rest.trim_start_matches(WSP);
    (rest.is_empty() || rest.starts_with(';')).then_some((name, value, rest))
}

/// A quoted string from behind its opening mark. A backslash escapes only a mark or itself: some senders
/// put a whole Windows path here, unescaped.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next_if(|&(_, next)| next == '"' || next == '\\') {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The parts with their content, when the body is given in `pieces`.
    fn run<'a>(
        boundary: &str,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<(Part, Vec<u8>)>, MultipartError> {
        let mut form = Multipart::new(boundary)?;
        let (mut parts, mut open) = (Vec::new(), None);
        for mut piece in pieces {
            loop {
                let (consumed, event) = form.next(piece)?;
                piece = &piece[consumed..];
                match event {
                    Event::PartBegin(part) => assert!(open.replace((part, Vec::new())).is_none()),
                    Event::Data(data) => {
                        assert!(!data.is_empty());
                        open.as_mut().expect("data inside a part").1.extend_from_slice(data);
                    }
                    Event::PartEnd => parts.push(open.take().expect("an open part")),
                    Event::NeedMore | Event::End => break,
                }
            }
            assert!(piece.is_empty());
        }
        form.finish()?;
        Ok(parts)
    }

    /// Name, file name, content.
    type Expected<'a> = (&'a str, Option<&'a str>, &'a [u8]);

    /// Whole, byte by byte, and split in two at every place.
    fn check(body: &[u8], expect: Result<&[Expected<'_>], MultipartError>) {
        let got = run("XX", [body].into_iter());
        let seen = got.as_ref().map_err(|&e| e).map(|parts| {
            let seen =
                |(part, data): &(Part, Vec<u8>)| (part.name.clone(), part.filename.clone(), data.clone());
            parts.iter().map(seen).collect::<Vec<_>>()
        });
        let expect = expect.map(|parts| {
            let own = |&(name, filename, data): &Expected<'_>| {
                (name.to_owned(), filename.map(str::to_owned), data.to_vec())
            };
            parts.iter().map(own).collect::<Vec<_>>()
        });
        let shown = String::from_utf8_lossy(body);
        assert_eq!(seen, expect, "{shown:?}");
        assert_eq!(run("XX", body.chunks(1)), got, "byte by byte: {shown:?}");
        for at in 0..=body.len() {
            let (a, b) = body.split_at(at);
            assert_eq!(run("XX", [a, b].into_iter()), got, "split at {at}: {shown:?}");
        }
    }

    fn field(head: &str, data: &str) -> Vec<u8> {
        format!("--XX\r\n{head}\r\n\r\n{data}\r\n--XX--\r\n").into_bytes()
    }

    #[test]
    fn forms() {
        let file =
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: image/png";
        check(b"--XX--", Ok(&[]));
        check(b"pre\r\n--X\r\n--XX--\r\nepilogue\r\n--XX\r\n", Ok(&[]));
        check(
            format!("preamble\r\n--XX \t\r\n{file}\r\n\r\n\r\n\r\n--XX\r\ncontent-disposition:form-data;name=b\r\n\r\n1\r\n--XX--").as_bytes(),
            Ok(&[("file", Some("a.bin"), b"\r\n"), ("b", None, b"1")]),
        );
        // An empty part, with and without its own CRLF.
        check(&field(file, ""), Ok(&[("file", Some("a.bin"), b"")]));
        check(format!("--XX\r\n{file}\r\n\r\n--XX--").as_bytes(), Ok(&[("file", Some("a.bin"), b"")]));
    }

    #[test]
    fn what_only_looks_like_a_delimiter_is_data() {
        let long = format!("\r\n--XX{}\r\n", " ".repeat(MULTIPART_PADDING_MAX + 1));
        for data in [
            "\r",
            "\r\n",
            "\r\n-",
            "\r\n--",
            "\r\n--X",
            "\r\n--XY",
            "\r\n--XXY\r\n",
            "\r\n--XX-",
            "\r\n--XX-\r\n",
            "\r\n--XX \rX",
            "\r\n--XX\n",
            "\r\n--XX\r",
            "\r\r\n\r\n--\r\n--X",
            "--X",
            "--XXY",
            "\n--XX--",
            "\0\r\n--XX\t-",
            &long,
        ] {
            let disposition = "Content-Disposition: form-data; name=a";
            check(&field(disposition, data), Ok(&[("a", None, data.as_bytes())]));
        }
    }

    #[test]
    fn names() {
        for (parameters, expect) in [
            ("name=a", Some(("a", None))),
            ("name=\"\"; filename=\"\"", Some(("", Some("")))),
            ("NAME = \"a b\" ; FileName = x.txt ;", Some(("a b", Some("x.txt")))),
            ("name=a; filename=\"\u{0645}\u{0631}.jpg\"", Some(("a", Some("\u{0645}\u{0631}.jpg")))),
            ("name=a; filename=\"q\\\"u\\\\o;te%22\"", Some(("a", Some("q\"u\\o;te\"")))),
            ("name=a; filename=\"C:\\dir\\x.txt\"", Some(("a", Some("C:\\dir\\x.txt")))),
            ("name=a; filename=x; filename*=UTF-8''%e2%82%AC.txt", Some(("a", Some("\u{20ac}.txt")))),
            ("name=a; filename*=utf-8'en'a%20b", Some(("a", Some("a b")))),
            ("name=a; unknown=1; unknown=2", Some(("a", None))),
            ("name=a; filename*=ISO-8859-1''%e9", None),
            ("name=a; filename*=UTF-8''%ff", None),
            ("name=a; filename*=UTF-8''%4", None),
            ("name=a; filename*=x", None),
            ("name=a; name=b", None),
            ("name=a; filename=b; filename=c", None),
            ("name=\"a", None),
            ("name=\"a\"b", None),
            ("name", None),
            ("=a", None),
            ("filename=a", None),
            ("", None),
        ] {
            let body = field(&format!("Content-Disposition: form-data; {parameters}"), "1");
            match expect {
                Some((name, filename)) => check(&body, Ok(&[(name, filename, b"1")])),
                None => check(&body, Err(MultipartError::Head)),
            }
        }
    }

    #[test]
    fn heads_that_are_refused() {
        let good = "Content-Disposition: form-data; name=a";
        for head in [
            "Content-Type: text/plain",
            "Content-Disposition: attachment; name=a",
            "Content-Disposition: form-data",
            "Content-Disposition : form-data; name=a",
            "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a",
            "Content-Disposition: form-data;\r\n name=a",
            "Content-Disposition: form-data; name=a\nX: y",
            "Content-Disposition: form-data; name=\"a\0\"",
            "Content-Disposition: form-data; name=a\r\nnonsense",
            "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
        ] {
            check(&field(head, "1"), Err(MultipartError::Head));
        }
        check(b"--XX\r\n\r\n1\r\n--XX--", Err(MultipartError::Head));
        check(
            b"--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--XX--",
            Err(MultipartError::Head),
        );
        let at_bound = MULTIPART_HEAD_MAX - good.len() - "\r\nX: \r\n\r\n".len();
        let head = |padding: usize| format!("{good}\r\nX: {}", "x".repeat(padding));
        assert!(run("XX", [&field(&head(at_bound), "1")[..]].into_iter()).is_ok());
        let over = run("XX", [&field(&head(at_bound + 1), "1")[..]].into_iter());
        assert_eq!(over, Err(MultipartError::HeadTooLarge));
    }

    #[test]
    fn a_body_that_ends_early_is_truncated() {
        let body = field("Content-Disposition: form-data; name=a", "12");
        let whole = body.len() - 2; // the last CRLF is already epilogue
        for at in 0..whole {
            assert_eq!(run("XX", [&body[..at]].into_iter()), Err(MultipartError::Truncated), "{at}");
        }
        assert!(run("XX", [&body[..whole]].into_iter()).is_ok());
    }

    #[test]
    fn parts_are_counted() {
        let part = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        let form = |parts: usize| part.repeat(parts) + "--XX--";
        let count = |parts| run("XX", [form(parts).as_bytes()].into_iter()).map(|parts| parts.len());
        assert_eq!(count(MULTIPART_PARTS_MAX), Ok(MULTIPART_PARTS_MAX));
        assert_eq!(count(MULTIPART_PARTS_MAX + 1), Err(MultipartError::TooManyParts));
    }

    #[test]
    fn boundaries() {
        let long = "b".repeat(MULTIPART_BOUNDARY_MAX);
        for (content_type, expect) in [
            ("multipart/form-data; boundary=abc".to_owned(), Some("abc")),
            ("Multipart/Form-Data ; charset=utf-8; Boundary=\"a b(c)\"".to_owned(), Some("a b(c)")),
            (format!("multipart/form-data; boundary={long}"), Some(long.as_str())),
            (format!("multipart/form-data; boundary={long}b"), None),
            ("multipart/form-data".to_owned(), None),
            ("multipart/form-data; boundary=".to_owned(), None),
            ("multipart/form-data; boundary=\"a \"".to_owned(), None),
            ("multipart/form-data; boundary=\"a\rb\"".to_owned(), None),
            ("multipart/form-data; boundary=a; boundary=a".to_owned(), None),
            ("multipart/mixed; boundary=a".to_owned(), None),
        ] {
            assert_eq!(boundary(&content_type).ok().as_deref(), expect, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_the_same_whole_and_split(
            pieces in prop::collection::vec(prop_oneof![
                Just(b"\r\n--XX".to_vec()), Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"\r".to_vec()),
                Just(b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..8),
            ], 0..24),
            at in any::<prop::sample::Index>(),
        ) {
            let body = pieces.concat();
            let whole = run("XX", [&body[..]].into_iter());
            let (a, b) = body.split_at(at.index(body.len() + 1));
            prop_assert_eq!(run("XX", [a, b].into_iter()), whole.clone());
            prop_assert_eq!(run("XX", body.chunks(1)), whole);
        }
    }
}
