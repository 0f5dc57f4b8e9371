//! Reads and writes JSON; the only module that uses serde_json.
//!
//! Input from a peer is read into a borrowed [`Value`], so that an error can name the member with the wrong type. Output is
//! derived on model types and written in one pass. The grammar is in `parse`.
//! Invariant: a parsed [`Object`] has no duplicate key, and a number is kept as written until a handler reads it.

use std::borrow::Cow;

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

mod parse;

use parse::Reader;

/// A value as it was sent. Strings without escapes borrow from the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Any other number, as it was written, of any size and precision.
    Number(&'a str),
    Str(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// Members in the order in which they were sent, without duplicate keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Up to this many members, duplicates are found by comparing each pair; above, by sorting.
const LINEAR_MEMBERS_MAX: usize = 16;

/// Characters of the longest number of 64 bits, with its sign.
pub const DIGITS_MAX: usize = 20;

/// The text is not JSON (RFC 8259), is not UTF-8, is nested too deeply, or has a duplicate key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl<'a> Object<'a> {
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Cow<'a, str>, Value<'a>)> {
        self.0.iter()
    }

    /// Adds a member. The caller guarantees that the object has no such key yet.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        self.0.push((name.into(), value));
    }

    fn has_duplicate(&self) -> bool {
        if self.0.len() <= LINEAR_MEMBERS_MAX {
            return self.0.iter().enumerate().any(|(i, (key, _))| self.0[..i].iter().any(|(k, _)| k == key));
        }
        let mut keys: Vec<&str> = self.0.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// A name that two members have. By sorting, whatever their number: whoever sends a text makes it.
    fn repeated(self) -> Option<Cow<'a, str>> {
        let mut names: Vec<_> = self.0.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let at = names.windows(2).position(|pair| pair[0] == pair[1])?;
        Some(names.swap_remove(at))
    }
}

impl<'a> Value<'a> {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The member `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.as_object()?.get(name)
    }
}

/// Reads one JSON value. Only white space may follow it.
pub fn parse(text: &[u8]) -> Result<Value<'_>, NotJson> {
    parse_text(std::str::from_utf8(text).map_err(|_| NotJson)?)
}

/// Like [`parse()`], for a text that is known to be UTF-8.
pub fn parse_text(text: &str) -> Result<Value<'_>, NotJson> {
    Reader::new(text).document()
}

/// The member `name` of an object as it was written, with its escapes.
pub fn member_text<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    Reader::new(object).member(name).ok().flatten()
}

/// The name that two members of an object have, also of one within: why [`parse()`] refuses a text that is JSON otherwise.
pub fn repeated_member(object: &str) -> Option<Cow<'_, str>> {
    Reader::new(object).repeated()
}

/// Writes `value` in one pass.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value);
    out
}

/// Writes a number at the beginning of `out` and returns its digits. `out` has room for the longest.
pub fn digits(number: i64, out: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut rest = out.as_mut_slice();
    serde_json::to_writer(&mut rest, &number).expect("room for the longest");
    let unused = rest.len();
    &out[..DIGITS_MAX - unused]
}

/// Appends `value` to `out`.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Model types have string keys, and writing to a Vec cannot fail.
    serde_json::to_writer(out, value).expect("a model type is always representable as JSON");
}

/// Appends `,"name":` to a `Vec<u8>`. For the few texts that are written for every message: they are written without serde,
/// with the same bytes that serde would write.
macro_rules! push_key {
    ($out:expr, $name:literal) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}
pub(crate) use push_key;

/// Appends a text that contains no character that JSON escapes.
pub fn push_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Appends such a text, or `null`.
pub fn push_plain_or_null(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => push_plain(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a string. It is copied if no character needs an escape.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    match is_plain(text) {
        true => push_plain(out, text.as_bytes()),
        false => write(out, text),
    }
}

/// Whether JSON writes each character of a string as it is.
pub fn is_plain(text: &str) -> bool {
    escaped_at(text.as_bytes(), 0) == text.len()
}

/// The index of the first byte, from `from` on, that JSON escapes in a string: a control character, a quote or a backslash
/// (RFC 8259 §7). The length of `bytes` if there is none.
///
/// Eight bytes are tested at once, since a loop over single bytes costs 13 instructions a byte in a binary that is compiled for
/// size. `byte - limit` sets the high bit of a byte below its limit. A borrow from there may mark later bytes falsely, so that
/// only the first mark counts; a byte of 0x80 or more is masked out.
fn escaped_at(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let (eights, rest) = bytes.get(from..).unwrap_or_default().as_chunks();
    for (index, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let control = eight.wrapping_sub(ONES * 0x20);
        let quote = (eight ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (eight ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let marks = (control | quote | backslash) & !eight & HIGH;
        if marks != 0 {
            return from + index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let is_escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    bytes.len() - rest.len() + rest.iter().position(is_escaped).unwrap_or(rest.len())
}

pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_vec(value)).expect("JSON is UTF-8")
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Number(text) => {
                serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom)?.serialize(serializer)
            }
            Value::Str(value) => serializer.serialize_str(value),
            Value::List(list) => serializer.collect_seq(list),
            Value::Object(object) => serializer.collect_map(object.0.iter().map(|(key, value)| (key, value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_sent() {
        let text = br#"{"a":null,"b":[true,-1,1.5,18446744073709551615,18446744073709551616],"c":"x\n","d":{"e":"f"}}"#;
        let value = parse(text).expect("valid");
        assert_eq!(value.get("c").and_then(Value::as_str), Some("x\n"));
        assert!(matches!(value.get("d").and_then(|d| d.get("e")), Some(Value::Str(Cow::Borrowed("f")))));
        assert_eq!(
            to_string(&value),
            r#"{"a":null,"b":[true,-1,1.5,18446744073709551615,18446744073709551616],"c":"x\n","d":{"e":"f"}}"#
        );
    }

    #[test]
    fn the_first_escaped_byte_is_found_at_each_place() {
        for len in 0..20 {
            for fill in [b' ', b'~', 0x7f, 0x80, 0xff] {
                let plain = vec![fill; len];
                for from in 0..=len {
                    assert_eq!(escaped_at(&plain, from), len, "{len} of {fill}");
                }
                for (at, escaped) in (0..len).flat_map(|at| [0, 0x1f, b'"', b'\\'].map(|byte| (at, byte))) {
                    let mut bytes = plain.clone();
                    bytes[at] = escaped;
                    // What follows a mark may be marked falsely; it is never the first one.
                    bytes[at + 1..].fill(fill.wrapping_add(1));
                    assert_eq!(escaped_at(&bytes, 0), at, "{bytes:?}");
                    assert!(escaped_at(&bytes, at + 1) > at, "{bytes:?}");
                }
            }
        }
        for byte in 0..=255u8 {
            let is_escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
            for len in [1, 8] {
                assert_eq!(escaped_at(&vec![byte; len], 0) == 0, is_escaped, "{byte}");
            }
        }
    }

    #[test]
    fn numbers_have_room_for_their_digits() {
        for number in [i64::MIN, -1, 0, 7, i64::MAX] {
            assert_eq!(digits(number, &mut [0; DIGITS_MAX]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn numbers_of_any_size_are_kept_as_written() {
        for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(parse_text(text), text.parse().map(Value::Int).map_err(|_| NotJson), "{text}");
        }
        let long = "9".repeat(5_000);
        for text in [
            "-0",
            "0.10",
            "-0.0",
            "1e400",
            "-1E+400",
            "1e-999",
            "1.5e0",
            "9223372036854775808",
            "18446744073709551616",
            &long,
        ] {
            assert_eq!(parse_text(text), Ok(Value::Number(text)), "{text}");
            assert_eq!(to_string(&Value::Number(text)), text);
        }
        for bad in [
            "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "0x1", "1_000", "NaN", "Infinity",
            "1 2", "--1",
        ] {
            assert_eq!(parse_text(bad), Err(NotJson), "{bad}");
        }
    }

    #[test]
    fn members_as_they_were_written() {
        let check =
            |object: &str, expect: Option<&str>| assert_eq!(member_text(object, "id"), expect, "{object}");
        check(r#"{"id":1e400}"#, Some("1e400"));
        check("{ \"op\":[{\"id\":1}], \"id\" :\t\"a\\u0041\\\"\" }", Some(r#""a\u0041\"""#));
        check(r#"{"\u0069d":0.10}"#, Some("0.10"));
        check(r#"{"x":{"id":3}}"#, None);
        check("[]", None);
        check(r#"{"id":"#, None);
    }

    #[test]
    fn strings() {
        let check = |text: &str, expect: &str| {
            assert_eq!(parse_text(text).as_ref().map(Value::as_str), Ok(Some(expect)), "{text}");
        };
        check(r#""""#, "");
        check("\"\u{e9}\u{1f44d}\u{7f}\"", "\u{e9}\u{1f44d}\u{7f}");
        check(r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t");
        check(r#""a\u00e9\uD83D\udc4db\u0000""#, "a\u{e9}\u{1f44d}b\0");
        for bad in [
            "\"",
            "\"\\",
            "\"\\\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\u+123""#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#""\ud83d\ud83d""#,
            r#""\udc4d""#,
            "\"\n\"",
            "\"\0\"",
            "\"\t\"",
            "'a'",
            r#""\u00\u{e9}""#,
        ] {
            assert_eq!(parse_text(bad), Err(NotJson), "{bad}");
        }
    }

    #[test]
    fn shapes() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        for good in ["[]", "[ ]", "{}", "{ }", "[1,[],{}]", "\r\n\t null ", &nested(127), &objects(127)] {
            assert!(parse_text(good).is_ok(), "{good}");
        }
        for bad in [
            " ",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "[}",
            "{]",
            "nullx",
            "tru",
            "True",
            "\u{feff}{}",
            "/**/1",
            "1,",
            "\u{a0}1",
            &nested(128),
            &objects(128),
            &"[".repeat(60_000),
        ] {
            assert_eq!(parse_text(bad), Err(NotJson), "{bad}");
        }
    }

    proptest::proptest! {
        /// serde_json is the reference for every text whose numbers it can represent.
        #[test]
        fn texts_are_read_as_serde_json_reads_them(text in r#"[\[\]{}:,"\\a0-9eE.+\-nulltruefalse \t/ud8Cé\x00-\x1f]{0,24}"#) {
            check_against_serde(&text);
        }

        #[test]
        fn values_are_read_as_serde_json_writes_them(text in ".{0,40}", number: i64, large: u64, float: f64) {
            let written = serde_json::json!({"t": text, "n": [number, large, float], "k": {text.as_str(): null}});
            check_against_serde(&written.to_string());
            check_against_serde(&serde_json::to_string_pretty(&written).expect("JSON"));
        }
    }

    fn check_against_serde(text: &str) {
        let theirs: Result<serde_json::Value, _> = serde_json::from_str(text);
        match (parse_text(text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                let again: serde_json::Value = serde_json::from_str(&to_string(&ours)).expect("JSON");
                assert_eq!(again, theirs, "{text}");
            }
            (Err(NotJson), Err(_)) => {}
            // Texts that only one of the two parsers accepts.
            (Err(NotJson), Ok(_)) => assert!(text.contains('"'), "{text}"),
            (Ok(_), Err(error)) => {
                assert!(error.to_string().contains("number out of range"), "{text}: {error}")
            }
        }
    }

    #[test]
    fn texts_that_are_not_json_are_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let many: String = (0..20).map(|i| format!("\"k{i}\":0,")).collect();
        let twice_many = format!("{{{many}\"k3\":1}}");
        for bad in [
            "",
            "{",
            "{}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":{\"b\":1,\"\\u0062\":2}}",
            "\"\\ud800\"",
            "01",
            "nul",
            &deep,
            &twice_many,
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(NotJson), "{bad}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(NotJson));
        assert_eq!(parse(b" {} \n"), Ok(Value::Object(Object::default())));
    }
}
