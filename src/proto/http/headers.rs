//! Header fields, and their parts: tokens and lists of tokens (RFC 9110 §5).
//!
//! Owns their storage; leaves the meaning of each field to its reader. Invariant: `{:?}` never shows a value.

use std::fmt;

/// Header fields in the order in which they were sent: one text, and two offsets per field.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    fields: Vec<Field>,
}

/// A field begins where the previous one ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field {
    name_end: u32,
    end: u32,
}

impl Headers {
    /// Bytes that are not UTF-8 become U+FFFD: such a value is present, and equals no value that natter looks for.
    pub(super) fn copy(parsed: &[httparse::Header<'_>]) -> Headers {
        let bytes = parsed.iter().map(|header| header.name.len() + header.value.len()).sum();
        let mut text = String::with_capacity(bytes);
        let mut fields = Vec::with_capacity(parsed.len());
        for header in parsed {
            text.push_str(header.name);
            let name_end = text.len() as u32;
            match std::str::from_utf8(header.value) {
                Ok(value) => text.push_str(value),
                Err(_) => text.push_str(&String::from_utf8_lossy(header.value)),
            }
            fields.push(Field { name_end, end: text.len() as u32 });
        }
        Headers { text, fields }
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes of memory that the fields take.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields: the name as sent, the value without the white space around it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let (name_end, end) = (field.name_end as usize, field.end as usize);
            let pair = (&self.text[start..name_end], &self.text[name_end..end]);
            start = end;
            pair
        })
    }

    /// Every value of `name`, in the order in which they were sent. Names are compared without case.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let mut start = 0;
        self.fields.iter().filter_map(move |field| {
            let (name_end, end) = (field.name_end as usize, field.end as usize);
            // Lengths are compared first: for every request about six names are looked up.
            let same = name_end - start == name.len()
                && self.text.as_bytes()[start..name_end].eq_ignore_ascii_case(name.as_bytes());
            start = end;
            same.then(|| &self.text[name_end..end])
        })
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Whether the comma-separated list `name` has `token`, in any of its lines.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).flat_map(elements).any(|element| element.eq_ignore_ascii_case(token))
    }
}

/// Names only: values may be tokens and passwords, and `{:?}` is often used in logs.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// The elements of a list of tokens, trimmed. Empty ones are included.
pub(super) fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|element| element.trim_matches([' ', '\t']))
}

/// `token` (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static [u8])]) -> Headers {
        let parsed: Vec<_> = fields.iter().map(|&(name, value)| httparse::Header { name, value }).collect();
        Headers::copy(&parsed)
    }

    #[test]
    fn fields_are_found_without_case_in_the_order_sent() {
        let headers = headers(&[
            ("Accept", b"a"),
            ("X-Empty", b""),
            ("accept", b"b, Upgrade ,\tkeep-alive"),
            ("X-Bytes", b"a\xffb"),
        ]);
        assert_eq!((headers.len(), headers.is_empty()), (4, false));
        assert_eq!(headers.get("ACCEPT"), Some("a"));
        assert_eq!(headers.get("x-empty"), Some(""));
        assert_eq!(headers.get("acc"), None);
        assert_eq!(headers.get_all("accept").collect::<Vec<_>>(), ["a", "b, Upgrade ,\tkeep-alive"]);
        assert_eq!(headers.iter().map(|(name, _)| name).last(), Some("X-Bytes"));
        assert_eq!(headers.get("x-bytes"), Some("a\u{fffd}b"));
        for (token, expect) in
            [("a", true), ("upgrade", true), ("Keep-Alive", true), ("keep", false), ("", false)]
        {
            assert_eq!(headers.has_token("Accept", token), expect, "{token}");
        }
        assert_eq!(format!("{headers:?}"), r#"["Accept", "X-Empty", "accept", "X-Bytes"]"#);
    }
}
