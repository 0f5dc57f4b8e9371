//! The JSON parser (RFC 8259): reads a text into a borrowed [`Value`].
//!
//! Owns the grammar. natter has its own parser because numbers must be kept as they were written: serde_json refuses numbers
//! that do not fit a 64-bit float, also in a member that no handler reads, and does not keep their text.
//! Invariant: the time is linear in the text, and the recursion is not deeper than [`DEPTH_MAX`].

use std::borrow::Cow;

use super::{NotJson, Object, Value, escaped_at};

/// How deep lists and objects may be nested; it bounds the stack that the recursion uses.
pub const DEPTH_MAX: usize = 127;

/// The state of reading one text.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// A name that two members of an object have, which ends the reading.
    repeated: Option<Cow<'a, str>>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, repeated: None }
    }

    /// Reads the complete text: one value, with white space around it.
    pub fn document(mut self) -> Result<Value<'a>, NotJson> {
        let value = self.value(DEPTH_MAX)?;
        self.space();
        if self.at == self.text.len() { Ok(value) } else { Err(NotJson) }
    }

    /// The text of the first member `name` of an object, as it was written.
    pub fn member(mut self, name: &str) -> Result<Option<&'a str>, NotJson> {
        let mut found = None;
        self.members(DEPTH_MAX, |reader, key, depth| {
            reader.space();
            let from = reader.at;
            reader.value(depth)?;
            if found.is_none() && key == name {
                found = Some(&reader.text[from..reader.at]);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The name that two members of an object have, also of one within.
    pub fn repeated(mut self) -> Option<Cow<'a, str>> {
        self.value(DEPTH_MAX).err()?;
        self.repeated
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, NotJson> {
        self.space();
        match self.peek().ok_or(NotJson)? {
            b'"' => self.string().map(Value::Str),
            b'{' => {
                let mut object = Object(Vec::with_capacity(8));
                self.members(depth, |reader, key, depth| {
                    object.0.push((key, reader.value(depth)?));
                    Ok(())
                })?;
                if object.has_duplicate() {
                    self.repeated = object.repeated();
                    return Err(NotJson);
                }
                Ok(Value::Object(object))
            }
            b'[' => self.list(depth).map(Value::List),
            b'-' | b'0'..=b'9' => self.number(),
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            _ => Err(NotJson),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NotJson> {
        let is_next = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        if is_next { Ok(value) } else { Err(NotJson) }
    }

    /// Reads the members of an object; `member` reads the value after each colon.
    fn members(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Cow<'a, str>, usize) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        let depth = depth.checked_sub(1).ok_or(NotJson)?;
        self.space();
        if !self.take(b'{') {
            return Err(NotJson);
        }
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(NotJson);
            }
            member(self, key, depth)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(NotJson);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value<'a>>, NotJson> {
        let depth = depth.checked_sub(1).ok_or(NotJson)?;
        let mut list = Vec::new();
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(list);
        }
        loop {
            list.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(list);
            }
            if !self.take(b',') {
                return Err(NotJson);
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, NotJson> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let is_whole = !matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let text = &self.text[from..self.at];
        // `-0` must not become the text `0`.
        let small = if is_whole && text != "-0" { text.parse().ok() } else { None };
        Ok(small.map_or(Value::Number(text), Value::Int))
    }

    /// At least one digit. `01` fails later: only the end of a value may follow the zero.
    fn digits(&mut self) -> Result<(), NotJson> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(NotJson) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        if !self.take(b'"') {
            return Err(NotJson);
        }
        let mut from = self.at;
        let mut owned: Option<String> = None;
        loop {
            self.at = escaped_at(self.text.as_bytes(), self.at);
            match self.peek().ok_or(NotJson)? {
                b'"' => {
                    let rest = &self.text[from..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        Some(mut owned) => {
                            owned.push_str(rest);
                            Cow::Owned(owned)
                        }
                        None => Cow::Borrowed(rest),
                    });
                }
                b'\\' => {
                    let owned = owned.get_or_insert_default();
                    owned.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    owned.push(self.escape()?);
                    from = self.at;
                }
                // A control character.
                _ => return Err(NotJson),
            }
        }
    }

    /// Reads an escape after its backslash.
    fn escape(&mut self) -> Result<char, NotJson> {
        let byte = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(NotJson),
        })
    }

    /// Reads four hexadecimal digits, and the low surrogate after a high one. A single surrogate is an error.
    fn unicode_escape(&mut self) -> Result<char, NotJson> {
        let unit = self.four_digits()?;
        let code = if (0xd800..0xdc00).contains(&unit) {
            if !(self.take(b'\\') && self.take(b'u')) {
                return Err(NotJson);
            }
            let low = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(NotJson);
            }
            0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00))
        } else {
            unit
        };
        char::from_u32(code).ok_or(NotJson)
    }

    fn four_digits(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(NotJson)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, &digit| {
            let digit = char::from(digit).to_digit(16).ok_or(NotJson)?;
            Ok(value << 4 | digit)
        })
    }
}
