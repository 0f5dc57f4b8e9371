//! Percent-encoding (RFC 3986 §2.1) of UTF-8 text, for targets, file names and signed URLs.
//!
//! Leaves the parts of a URL and their meaning to the caller. Invariant: `decode(encode(text))` is `text`.

/// Encodes all characters except the unreserved ones (RFC 3986 §2.3).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `None` for a malformed escape and for bytes that are not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        // Digit by digit: a number parser would also accept a sign.
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(if byte == b'%' { (digit()? << 4 | digit()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok()
}

/// The value of the first field of this name in an `application/x-www-form-urlencoded` text, where `+` is a space.
pub fn form_value(form: &str, name: &str) -> Option<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    form_decode(value)
}

/// As [`decode`], of a text in which `+` is a space.
pub fn form_decode(text: &str) -> Option<String> {
    if text.contains('+') { decode(&text.replace('+', " ")) } else { decode(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_utf_8_in_two_digits() {
        assert_eq!(decode("a%20b%C3%a9+.png").as_deref(), Some("a bé+.png"));
        for bad in ["%", "%2", "%zz", "%+1", "%2 ", "%ff", "a%C3"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(encode("a b/é-._~%"), "a%20b%2F%C3%A9-._~%25");
        let form = |form: &str| form_value(form, "b");
        assert_eq!(form("a=1&b=x+y%2B&b=2").as_deref(), Some("x y+"));
        assert!(form("").is_none() && form("ab=1&b").is_none() && form("b=%ff").is_none());
        for text in ["", "صورة.jpg", "a%2fb", "\0\u{7f}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }
}
