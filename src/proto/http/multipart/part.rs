//! The two heads of a form: the Content-Type that names its boundary, and what stands above each part. Owns the grammar of
//! parameters as forms are really sent, which is laxer than [`super::super::mime`] allows: `boundary=----=_Part_1` unquoted,
//! a Windows path with its backslashes. Refuses to judge what a name may be.
//! Invariant: a head that two readers could read differently is refused.

use super::super::headers::is_token_byte;
use super::{MultipartError, is_boundary};
use crate::base::percent;

/// The head of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// As sent, path separators and control characters included; `None` makes it a plain field. A browser
    /// sends the empty name where no file was chosen.
    pub filename: Option<String>,
    pub content_type: Option<String>,
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

/// The white space of RFC 5234.
const WSP: [char; 2] = [' ', '\t'];

pub(super) fn parse_head(head: &[u8]) -> Result<Part, MultipartError> {
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
    percent::decode(encoded)
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
