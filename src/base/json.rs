//! JSON in and out: the one home of serde_json. What a peer sends is read into a borrowed [`Value`], so that
//! one wrongly typed member can be named; what we send is derived on model types and written in one pass.
//! Invariant: a parsed [`Object`] has no key twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// A value as sent. Strings without escapes point into the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number beyond those: no limit and no position is as large, but an op's `id` may be, and is echoed.
    Large(u64),
    /// Also whole numbers beyond 64 bits.
    Float(f64),
    Str(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// Members in the order sent, no key twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// Up to this many members a duplicate is found by looking at each; above, by sorting.
const LINEAR_MEMBERS_MAX: usize = 16;

/// The text is not JSON (RFC 8259), not UTF-8, nested beyond 128, or has a key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl<'a> Object<'a> {
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Cow<'a, str>, Value<'a>)> {
        self.0.iter()
    }

    /// Adds a member; the caller promises that it is not there yet.
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

/// Reads one JSON value and nothing behind it but white space.
pub fn parse(text: &[u8]) -> Result<Value<'_>, NotJson> {
    serde_json::from_slice(text).map_err(|_| NotJson)
}

/// As [`parse`], of what is known to be UTF-8.
pub fn parse_text(text: &str) -> Result<Value<'_>, NotJson> {
    serde_json::from_str(text).map_err(|_| NotJson)
}

/// Writes `value` in one pass.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value);
    out
}

/// Appends `value` to `out`.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Our own types have string keys and a Vec takes every byte: nothing here can fail.
    serde_json::to_writer(out, value).expect("a model type is always representable as JSON");
}

/// Appends `,"name":` to a `Vec<u8>`. For the few texts that are written for every message: by hand, with the same
/// bytes that serde would write.
macro_rules! push_key {
    ($out:expr, $name:literal) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes())
    };
}
pub(crate) use push_key;

/// Appends a text without a character that JSON escapes.
pub fn push_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Appends a text or `null`.
pub fn push_plain_or_null(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => push_plain(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a string: copied where nothing in it needs an escape, which is looked at in one pass without branches.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let escape = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |found, byte| found | escape(byte)) {
        return write(out, text);
    }
    push_plain(out, text.as_bytes());
}

pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_vec(value)).expect("JSON is UTF-8")
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Large(value), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut object = Object(Vec::with_capacity(8));
        while let Some(key) = map.next_key_seed(KeySeed)? {
            object.0.push((key, map.next_value()?));
        }
        if object.has_duplicate() {
            return Err(A::Error::custom("duplicate key"));
        }
        Ok(Value::Object(object))
    }
}

/// Keys borrowed where they have no escapes; serde's own `Cow` always copies.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Large(value) => serializer.serialize_u64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
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
            r#"{"a":null,"b":[true,-1,1.5,18446744073709551615,1.8446744073709552e+19],"c":"x\n","d":{"e":"f"}}"#
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
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
