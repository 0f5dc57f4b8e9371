//! Media types as text: reads Content-Type and writes Content-Disposition.
//!
//! Owns the grammar of parameters (RFC 9110 §5.6.6, RFC 8187); leaves to others which types are accepted and what the bytes
//! of a file are.

use super::headers::is_token;

/// Parameters of one media type. Above it: the media type is malformed.
const PARAMETERS_MAX: usize = 8;

/// A media type with its parameters (RFC 9110 §8.3.1).
///
/// ```
/// use natter::proto::http::mime::ContentType;
///
/// let type_ = ContentType::parse("Text/HTML; Charset=\"utf-8\"").expect("a media type");
/// assert_eq!((type_.essence(), type_.parameter("charset")), ("text/html", Some("utf-8")));
/// assert!(ContentType::parse("text/html; charset=a; charset=b").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// `type/subtype` in lower case.
    essence: String,
    /// Names in lower case, without duplicates; values without quotes and escapes.
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// `None` if the text is not a media type, names a parameter twice, or has more than [`PARAMETERS_MAX`] parameters.
    pub fn parse(text: &str) -> Option<ContentType> {
        let mut parts = split_outside_quotes(text, b';').map(|part| part.trim_matches([' ', '\t']));
        let essence = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let name = name.to_ascii_lowercase();
            let known = parameters.iter().any(|(known, _)| *known == name);
            if !is_token(&name) || known || parameters.len() == PARAMETERS_MAX {
                return None;
            }
            parameters.push((name, unquote(value)?));
        }
        Some(ContentType { essence, parameters })
    }

    /// `type/subtype` in lower case.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter; `name` in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `application/json` or an `application/…+json`, in UTF-8: JSON has no other encoding (RFC 8259 §8.1).
    pub fn is_json(&self) -> bool {
        let subtype = self.essence.strip_prefix("application/").unwrap_or_default();
        let utf_8 = self.parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
        utf_8 && (subtype == "json" || subtype.strip_suffix("+json").is_some_and(|base| !base.is_empty()))
    }
}

/// Whether a browser shows a file or saves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    Inline,
    Attachment,
}

/// Content-Disposition with the name of the file in two forms (RFC 6266 §4.3, §5): an ASCII `filename` for old clients, and
/// a `filename*`, which other clients use. Control characters and path separators become `_` in both.
pub fn content_disposition(disposition: Disposition, name: &str) -> String {
    let mut text = String::with_capacity(64 + 4 * name.len());
    text.push_str(match disposition {
        Disposition::Inline => "inline; filename=\"",
        Disposition::Attachment => "attachment; filename=\"",
    });
    // Quotes and backslashes would need escapes, and some clients decode `%` (RFC 6266 appendix D).
    text.extend(name.chars().map(|c| match c {
        '"' | '\\' | '/' | '%' => '_',
        ' '..='~' => c,
        _ => '_',
    }));
    text.push_str("\"; filename*=UTF-8''");
    for c in name.chars() {
        let c = if c.is_control() || c == '/' || c == '\\' { '_' } else { c };
        for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
            // attr-char (RFC 8187 §3.2.1).
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push('%');
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    text
}

/// Splits at `separator`, but not inside a quoted string. A quoted string without an end extends to the end of the text.
pub(super) fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if byte == separator && !quoted => {
                    rest = Some(&text[at + 1..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

/// The meaning of `token / quoted-string` (RFC 9110 §5.6.4).
fn unquote(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return is_token(text).then(|| text.to_owned());
    };
    let mut value = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_media_type_is_read_or_refused() {
        let check = |text: &str, essence: &str, parameters: &[(&str, &str)]| {
            let parsed = ContentType::parse(text).unwrap_or_else(|| panic!("{text}"));
            let seen: Vec<_> = parsed.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!((parsed.essence(), &seen[..]), (essence, parameters), "{text}");
        };
        check("text/plain", "text/plain", &[]);
        check("Text/Plain ; Charset=UTF-8;;", "text/plain", &[("charset", "UTF-8")]);
        check("a/b;c=\"d;\\\"e\\\\\";f=g", "a/b", &[("c", "d;\"e\\"), ("f", "g")]);
        check("a/b;c=\"\"", "a/b", &[("c", "")]);
        for bad in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a/b;c",
            "a/b;c=",
            "a/b;=d",
            "a/b; c =d",
            "a/b;c= d",
            "a/b;c=d e",
            "a/b;c=\"d",
            "a/b;c=\"d\"e",
            "a/b;c=\"d\\",
            "a/b;c=d;C=e",
            "a/b, c/d",
            "*",
            "a/\u{fffd}",
        ] {
            assert_eq!(ContentType::parse(bad), None, "{bad}");
        }
        let many = |count: usize| (0..count).fold("a/b".to_owned(), |text, at| format!("{text};p{at}=v"));
        assert!(ContentType::parse(&many(PARAMETERS_MAX)).is_some());
        assert_eq!(ContentType::parse(&many(PARAMETERS_MAX + 1)), None);
    }

    #[test]
    fn json_is_json_in_utf_8() {
        for (text, expect) in [
            ("application/json", true),
            ("Application/JSON; charset=\"UTF-8\"", true),
            ("application/problem+json", true),
            ("application/json;version=1", true),
            ("application/json;charset=latin1", false),
            ("application/+json", false),
            ("application/jsonp", false),
            ("text/json", false),
            ("text/plain", false),
        ] {
            assert_eq!(ContentType::parse(text).expect(text).is_json(), expect, "{text}");
        }
    }

    #[test]
    fn a_file_name_is_written_for_old_and_new_clients() {
        let check = |name: &str, fallback: &str, extended: &str| {
            let tail = format!("; filename=\"{fallback}\"; filename*=UTF-8''{extended}");
            assert_eq!(content_disposition(Disposition::Inline, name), format!("inline{tail}"));
            assert_eq!(content_disposition(Disposition::Attachment, name), format!("attachment{tail}"));
        };
        check("photo.jpg", "photo.jpg", "photo.jpg");
        check("a b'c*.txt", "a b'c*.txt", "a%20b%27c%2A.txt");
        check("صورة.png", "____.png", "%D8%B5%D9%88%D8%B1%D8%A9.png");
        check("a\"b\\c/d%41", "a_b_c_d_41", "a%22b_c_d%2541");
        check("a\r\nX: b\0\u{7f}\u{85}", "a__X: b___", "a__X%3A%20b___");
        check("", "", "");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in prop_oneof![any::<String>(), "[a/;=,\"\\\\ é*+]{0,16}"]) {
            if let Some(parsed) = ContentType::parse(&text) {
                let _ = parsed.is_json();
            }
            let parts: Vec<&str> = split_outside_quotes(&text, b';').collect();
            prop_assert_eq!(parts.join(";"), text.as_str());
            let written = content_disposition(Disposition::Attachment, &text);
            prop_assert!(written.bytes().all(|b| (b' '..=b'~').contains(&b)));
            // The parser reads back what was written.
            let parameters = ContentType::parse(&format!("a/b{}", &written["attachment".len()..]));
            prop_assert!(parameters.is_some_and(|parameters| parameters.parameters.len() == 2));
        }
    }
}
