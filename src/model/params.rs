//! The parameters of one request: path, query and JSON body of HTTP, or the members of a WebSocket op.
//!
//! Both are read by the same functions, so that one handler serves both.
//! Invariant: a wrong value names its field; an absent member and `null` are the same.

use super::problem::{Code, Problem};
use crate::base::id::Id;
use crate::base::json::{Object, Value};
use crate::base::text::{is_one_line, shows_something};
use crate::limits::PAGE_MAX;

/// Items of a list when `limit` is not given (`protocol.md`, "Shapes").
pub(crate) const PAGE_DEFAULT: u32 = 50;

/// The parameters of one request.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    /// Captured from the path; checked for form by the router.
    path: &'a [(&'static str, String)],
    query: &'a [(String, String)],
    body: Option<&'a Object<'a>>,
}

enum Param<'a> {
    /// From a path or a query: always a text.
    Text(&'a str),
    Json(&'a Value<'a>),
}

impl<'a> Params<'a> {
    /// From the parts of an HTTP request, or from the object of an op as `body`.
    pub fn new(
        path: &'a [(&'static str, String)],
        query: &'a [(String, String)],
        body: Option<&'a Object<'a>>,
    ) -> Params<'a> {
        Params { path, query, body }
    }

    /// The path wins over the body, the body over the query.
    fn find(&self, name: &str) -> Option<Param<'a>> {
        if let Some((_, text)) = self.path.iter().find(|(key, _)| *key == name) {
            return Some(Param::Text(text));
        }
        match self.body.and_then(|body| body.get(name)) {
            Some(Value::Null) | None => {}
            Some(value) => return Some(Param::Json(value)),
        }
        self.query.iter().find(|(key, _)| key == name).map(|(_, text)| Param::Text(text))
    }

    /// Whether the parameter is given.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether the body has the member with the value `null`, which removes a stored value.
    pub fn is_null(&self, name: &str) -> bool {
        matches!(self.body.and_then(|body| body.get(name)), Some(Value::Null))
    }

    /// A text; anything else is 422.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        match self.find(name) {
            None => Ok(None),
            Some(Param::Text(text)) => Ok(Some(text)),
            Some(Param::Json(Value::Str(text))) => Ok(Some(text)),
            Some(Param::Json(_)) => Err(Problem::invalid(name)),
        }
    }

    /// A text; 422 if it is absent.
    pub fn required_text(&self, name: &'static str) -> Result<&'a str, Problem> {
        self.text(name)?.ok_or(Problem::invalid(name))
    }

    /// An id; anything else is 422.
    pub fn id<K>(&self, name: &'static str) -> Result<Option<Id<K>>, Problem> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => Id::parse(text).map(Some).ok_or(Problem::invalid(name)),
        }
    }

    /// An id; 422 if it is absent.
    pub fn required_id<K>(&self, name: &'static str) -> Result<Id<K>, Problem> {
        self.id(name)?.ok_or(Problem::invalid(name))
    }

    /// A whole number from 0. Storage counts with 63 bits: a greater number is clamped, as any other that is too large.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let invalid = || Problem::invalid(name);
        match self.find(name) {
            None => Ok(None),
            // Digits only: Rust's `parse` accepts `+5`, the contract does not.
            Some(Param::Text(text)) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Some(text.parse::<i64>().unwrap_or(i64::MAX) as u64))
            }
            Some(Param::Json(Value::Int(number))) => u64::try_from(*number).map(Some).map_err(|_| invalid()),
            Some(Param::Json(Value::Number(text))) if text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Some(i64::MAX as u64))
            }
            Some(_) => Err(invalid()),
        }
    }

    /// As [`Params::number`]; 422 if it is absent.
    pub fn required_number(&self, name: &'static str) -> Result<u64, Problem> {
        self.number(name)?.ok_or(Problem::invalid(name))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.find(name) {
            None => Ok(None),
            Some(Param::Json(Value::Bool(flag))) => Ok(Some(*flag)),
            Some(Param::Text("true")) => Ok(Some(true)),
            Some(Param::Text("false")) => Ok(Some(false)),
            Some(_) => Err(Problem::invalid(name)),
        }
    }

    /// A list of ids: a JSON array, or separated by commas in a query. Absent is empty.
    pub fn ids<K>(&self, name: &'static str, max: usize) -> Result<Vec<Id<K>>, Problem> {
        let invalid = || Problem::invalid(name);
        let ids: Option<Vec<Id<K>>> = match self.find(name) {
            None => Some(Vec::new()),
            Some(Param::Text("")) => Some(Vec::new()),
            Some(Param::Text(text)) => text.split(',').map(Id::parse).collect(),
            Some(Param::Json(Value::List(list))) => {
                list.iter().map(|value| value.as_str().and_then(Id::parse)).collect()
            }
            Some(Param::Json(_)) => None,
        };
        ids.filter(|ids| ids.len() <= max).ok_or_else(invalid)
    }

    /// `limit`: 50 unless given, clamped to 200, below 1 is 422.
    pub fn limit(&self) -> Result<u32, Problem> {
        match self.number("limit")? {
            None => Ok(PAGE_DEFAULT),
            Some(0) => Err(Problem::invalid("limit")),
            Some(limit) => Ok(limit.min(u64::from(PAGE_MAX)) as u32),
        }
    }

    /// The `next` of a list that goes on behind a number: this letter and the number. Anything else is 400.
    pub fn next_number(&self, letter: char) -> Result<Option<u64>, Problem> {
        // Digits only: Rust's `parse` accepts a sign, the contract does not.
        let is_digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
        self.next(|text| text.strip_prefix(letter).filter(is_digits)?.parse().ok())
    }

    /// The opaque `next` of a list; a text that `read` does not accept is 400.
    pub fn next<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        match self.find("next") {
            None => Ok(None),
            Some(Param::Text(text)) => read(text).map(Some).ok_or(Problem::new(Code::ErrorParsingData)),
            Some(Param::Json(Value::Str(text))) => {
                read(text).map(Some).ok_or(Problem::new(Code::ErrorParsingData))
            }
            Some(Param::Json(_)) => Err(Problem::new(Code::ErrorParsingData)),
        }
    }
}

/// Whether a text may be stored as a person's text: 1 to `max` characters of which one is visible, no U+0000.
pub fn written_text(text: &str, max: usize) -> bool {
    // A text has no more characters than bytes, so only a text that might be too long is counted.
    (text.len() <= max || text.chars().count() <= max) && !text.contains('\0') && shows_something(text)
}

/// Whether a text may be a name or a title: as [`written_text`], on one line, without a control that changes the direction of
/// the text around it.
pub fn written_name(text: &str, max: usize) -> bool {
    written_text(text, max) && is_one_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::NoKind;
    use crate::base::json;

    #[test]
    fn values_are_read_by_kind_and_named_when_wrong() {
        let body = json::parse(br#"{"a":"x","n":5,"neg":-1,"big":1e3,"far":18446744073709551616,"t":true,"nil":null,"ids":["01ARZ3NDEKTSV4RRFFQ69G5FAV"],"limit":0}"#).expect("json");
        let path = [("conversation", "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned())];
        let query = [
            ("before".to_owned(), "12".to_owned()),
            ("after".to_owned(), "+5".to_owned()),
            ("empty".to_owned(), String::new()),
            ("end".to_owned(), "9".repeat(30)),
        ];
        let params = Params::new(&path, &query, body.as_object());
        assert_eq!(params.text("a"), Ok(Some("x")));
        assert_eq!(params.text("n"), Err(Problem::invalid("n")));
        assert_eq!((params.number("n"), params.number("before")), (Ok(Some(5)), Ok(Some(12))));
        let end = Ok(Some(i64::MAX as u64));
        assert_eq!((params.number("far"), params.number("end")), (end.clone(), end));
        for bad in ["neg", "big", "after", "empty", "t"] {
            let name: &'static str = bad;
            assert_eq!(params.number(name), Err(Problem::invalid(name)));
        }
        assert_eq!((params.text("nil"), params.is_null("nil"), params.has("nil")), (Ok(None), true, false));
        assert_eq!(params.ids::<NoKind>("ids", 1).map(|ids| ids.len()), Ok(1));
        assert_eq!(params.ids::<NoKind>("ids", 0), Err(Problem::invalid("ids")));
        assert!(params.required_id::<NoKind>("conversation").is_ok());
        assert_eq!(params.limit(), Err(Problem::invalid("limit")));
        let far = [("limit".to_owned(), "9".repeat(30))];
        assert_eq!(Params::new(&[], &far, None).limit(), Ok(PAGE_MAX));
        assert_eq!(params.next(|_| Some(1)), Ok(None));
    }

    #[test]
    fn a_list_goes_on_behind_a_number() {
        let bad = Err(Problem::new(Code::ErrorParsingData));
        for (next, expect) in [
            ("b12", Ok(Some(12))),
            ("b+1", bad.clone()),
            ("b", bad.clone()),
            ("12", bad.clone()),
            ("m12", bad),
        ] {
            let query = [("next".to_owned(), next.to_owned())];
            assert_eq!(Params::new(&[], &query, None).next_number('b'), expect, "{next}");
        }
        assert_eq!(Params::new(&[], &[], None).next_number('b'), Ok(None));
    }

    #[test]
    fn text_a_person_wrote() {
        let rows = [
            ("", 5, false),
            (" \n\u{a0}", 5, false),
            ("a\0", 5, false),
            ("ééééé", 5, true),
            ("éééééé", 5, false),
            (" a ", 5, true),
            ("\u{200b}\u{3164}", 5, false),
        ];
        for (text, max, good) in rows {
            assert_eq!((written_text(text, max), written_name(text, max)), (good, good), "{text:?}");
        }
        for text in ["a\nb", "\u{202e}a"] {
            assert_eq!((written_text(text, 5), written_name(text, 5)), (true, false), "{text:?}");
        }
    }
}
