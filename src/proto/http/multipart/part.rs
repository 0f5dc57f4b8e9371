//! The two heads of a form: the Content-Type with its boundary, and the head of each part.
//!
//! Owns the grammar of parameters as browsers send them, which is less strict than [`super::super::mime`]:
//! `boundary=----=_Part_1` without quotes, a Windows path with its backslashes. Leaves to the route which names are valid.
//! Invariant: a head that two parsers could read differently is refused.

use super::super::headers::is_token_byte;
use super::{MultipartError, is_boundary};
use crate::base::percent;

/// The head of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// As sent, with path separators and control characters. `None` means a plain field. A browser sends an empty name if no
    /// file was chosen.
    pub filename: Option<String>,
    pub content_type: Option<String>,
}

/// The boundary in `Content-Type: multipart/form-data; boundary=…`.
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

/// The white space of RFC 5234.
const WSP: [char; 2] = [' ', '\t'];

pub(super) fn parse_head(head: &[u8]) -> Result<Part, MultipartError> {
    let text = std::str::from_utf8(head).map_err(|_| MultipartError::Head)?;
    let mut disposition = None;
    let mut content_type = None;
    let lines = text.strip_suffix("\r\n\r\n").unwrap_or_default();
    for line in lines.split("\r\n") {
        // A bare CR or LF, a NUL and a folded line are errors, since another parser might read them differently
        // (RFC 9112 §2.2 and §5.2 have the same rule for heads).
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
            // Deprecated in forms (RFC 7578 §4.7). It is refused, since the file would be stored in its encoded form.
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
    // If both are given, the extended one takes precedence (RFC 6266 §4.3).
    Ok((name.ok_or(MultipartError::Head)?, extended.or(filename)))
}

/// Browsers and curl write a quotation mark in a name as `%22`, and no other printable character in this way (WHATWG HTML,
/// multipart/form-data encoding). They write CR and LF as `%0D%0A`, which stays so: it is visible and harmless.
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
    percent::decode(encoded)
}

/// `name=value; name="value"`: an iterator over the pairs. A malformed text gives one `None`, then the end.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        // A semicolon at the end is harmless and common.
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

/// A quoted string, read from after its opening quote. A backslash escapes only a quote or itself, since some clients send a
/// Windows path without escapes.
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
