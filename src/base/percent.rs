//! Percent-encoding (RFC 3986 §2.1) of UTF-8 text: targets, file names, signed URLs. Knows no parts of a URL: what stands for
//! what is the caller's.
//! Invariant: `decode(encode(text))` is `text`.

/// Encodes everything but the unreserved characters (RFC 3986 §2.3).
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

/// `None` for a broken escape, or bytes that are not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        // Digit by digit: a parser of numbers takes a sign too.
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(if byte == b'%' { (digit()? << 4 | digit()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok()
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
        for text in ["", "صورة.jpg", "a%2fb", "\0\u{7f}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }
}
