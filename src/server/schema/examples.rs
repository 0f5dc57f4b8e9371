//! What was really asked and answered, to be shown as the example of an operation.
//!
//! A test asks every operation and hands the exchanges over. What differs from run to run, or is as long as it is opaque, is
//! replaced: ids by a row of ids, tokens and signatures by a word. Invariant: the same exchanges give the same examples.

use std::collections::BTreeMap;

use super::shape::string;
use crate::base::id::Id;
use crate::base::json::{self, Object, Value};

/// One request and its response.
pub struct Exchange {
    /// Its operationId.
    pub operation: String,
    pub method: String,
    pub target: String,
    /// Those of the path, the query and the head, by name.
    pub parameters: Vec<(String, Value<'static>)>,
    pub request: Vec<u8>,
    pub status: u16,
    pub response: Vec<u8>,
}

/// What was said on a stream, by the name of its message.
pub struct Frame {
    pub message: String,
    pub text: Vec<u8>,
}

/// In the order in which it happened.
#[derive(Default)]
pub struct Recording {
    pub exchanges: Vec<Exchange>,
    pub frames: Vec<Frame>,
}

pub struct Examples<'a> {
    recording: &'a Recording,
    /// Ids as they came, and what is shown in their place.
    ids: BTreeMap<String, String>,
}

/// Longer ones say no more, such as these documents themselves.
const EXAMPLE_BYTES_MAX: usize = 4_096;

/// Shown in the place of every invite's code.
const INVITE_CODE: &str = "5pX0g2fQm3Jr0uYc1tLw8A";

/// Items of a list that are shown.
const ITEMS_SHOWN: usize = 1;

impl<'a> Examples<'a> {
    pub fn new(recording: &'a Recording) -> Examples<'a> {
        let mut ids = BTreeMap::new();
        let exchanges = recording.exchanges.iter();
        let http = exchanges.map(|it| [it.target.as_bytes(), &it.request, &it.response]);
        let frames = recording.frames.iter().map(|frame| [&*frame.text, b"", b""]);
        for texts in http.chain(frames) {
            for text in texts.into_iter().filter(|text| text.len() <= EXAMPLE_BYTES_MAX) {
                for word in text.split(|byte| !byte.is_ascii_alphanumeric()) {
                    if let Some(word) =
                        std::str::from_utf8(word).ok().filter(|word| <Id>::parse(word).is_some())
                    {
                        let number = ids.len();
                        ids.entry(word.to_owned()).or_insert_with(|| format!("01KATEXAMP1E{number:014}"));
                    }
                }
            }
        }
        Examples { recording, ids }
    }

    fn of(&self, operation: &str) -> Option<&Exchange> {
        self.recording.exchanges.iter().find(|exchange| exchange.operation == operation)
    }

    /// The method and the target of the request, and the status of its response.
    pub fn line(&self, operation: &str) -> Option<(String, u16)> {
        let exchange = self.of(operation)?;
        let target = self.clean_text("", &exchange.target);
        Some((format!("{} {target}", exchange.method), exchange.status))
    }

    pub fn parameter(&self, operation: &str, name: &str) -> Option<Value<'static>> {
        let sent = self.of(operation)?.parameters.iter().find(|(key, _)| key == name);
        sent.map(|(name, value)| self.clean(name, value))
    }

    /// A message of a stream.
    pub fn frame(&self, message: &str) -> Option<Value<'static>> {
        let frame = self.recording.frames.iter().find(|frame| frame.message == message)?;
        self.shown(&frame.text)
    }

    pub fn request(&self, operation: &str) -> Option<Value<'static>> {
        self.shown(&self.of(operation)?.request)
    }

    pub fn response(&self, operation: &str) -> Option<(u16, Value<'static>)> {
        let exchange = self.of(operation)?;
        Some((exchange.status, self.shown(&exchange.response)?))
    }

    fn shown(&self, text: &[u8]) -> Option<Value<'static>> {
        let text = Some(text).filter(|text| text.len() <= EXAMPLE_BYTES_MAX)?;
        json::parse(text).ok().map(|value| self.clean("", &value))
    }

    fn clean(&self, name: &str, value: &Value<'_>) -> Value<'static> {
        match value {
            Value::Null => Value::Null,
            Value::Bool(flag) => Value::Bool(*flag),
            Value::Int(number) => Value::Int(*number),
            Value::Number(text) => string(text),
            Value::Str(text) => string(&self.clean_text(name, text)),
            Value::List(list) => {
                Value::List(list.iter().take(ITEMS_SHOWN).map(|item| self.clean(name, item)).collect())
            }
            Value::Object(members) => {
                let mut object = Object::default();
                for (name, value) in members.iter() {
                    object.push(name.to_string(), self.clean(name, value));
                }
                Value::Object(object)
            }
        }
    }

    fn clean_text(&self, name: &str, text: &str) -> String {
        match name {
            "access" => return "eyJhbGciOiJIUzI1NiJ9.access.signature".to_owned(),
            "refresh" => return "eyJhbGciOiJIUzI1NiJ9.refresh.signature".to_owned(),
            "ticket" => return "ticket".to_owned(),
            "sig" => return "signature".to_owned(),
            "invite" if <Id>::parse(text).is_none() => return INVITE_CODE.to_owned(),
            "code" if text.len() == INVITE_CODE.len() => return INVITE_CODE.to_owned(),
            "code" if text.bytes().all(|byte| byte.is_ascii_digit()) => return "123456".to_owned(),
            _ => {}
        }
        if let Some((server, _)) = text.split_once("/#/i/") {
            return format!("{server}/#/i/{INVITE_CODE}");
        }
        let text =
            text.split_once("&sig=").map_or(text.to_owned(), |(head, _)| format!("{head}&sig=signature"));
        self.ids.iter().fold(text, |text, (id, shown)| text.replace(id, shown))
    }
}
