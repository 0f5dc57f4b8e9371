//! Conditional requests and ranges of a GET or HEAD (RFC 9110 §13, §14).
//!
//! Owns the order of the five conditions. It does not read the resource: its validators and its length are enough.
//! Invariant: a selected part is within the length.

use super::head::{Headers, Method};
use crate::base::time::{UnixS, parse_http_date};

/// What a Range header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    Complete,
    /// Both ends are included: `first <= last < len`.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

/// The response to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 200 with everything.
    Complete,
    /// 206 with these bytes, both ends included.
    Part { first: u64, last: u64 },
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
    /// 416
    Unsatisfiable,
}

impl Decision {
    pub fn status(self) -> u16 {
        match self {
            Decision::Complete => 200,
            Decision::Part { .. } => 206,
            Decision::NotModified => 304,
            Decision::PreconditionFailed => 412,
            Decision::Unsatisfiable => 416,
        }
    }

    /// The text of Content-Range for 206 and 416 (RFC 9110 §14.4).
    pub fn content_range(self, len: u64) -> Option<String> {
        match self {
            Decision::Part { first, last } => Some(format!("bytes {first}-{last}/{len}")),
            Decision::Unsatisfiable => Some(format!("bytes */{len}")),
            _ => None,
        }
    }
}

/// Decides by RFC 9110 §13.2.2. `etag` is the current one with its quotes; `len` is the
/// length of the complete resource. Only GET has ranges (§14.2).
pub fn decide(method: Method, headers: &Headers, etag: &str, last_modified: UnixS, len: u64) -> Decision {
    let matched = match headers.get("if-match") {
        Some(_) => any_etag(headers, "if-match", etag, strong_match),
        None => date(headers, "if-unmodified-since").is_none_or(|date| last_modified <= date),
    };
    if !matched {
        return Decision::PreconditionFailed;
    }
    let unchanged = match headers.get("if-none-match") {
        Some(_) => any_etag(headers, "if-none-match", etag, weak_match),
        None => date(headers, "if-modified-since").is_some_and(|date| last_modified <= date),
    };
    if unchanged {
        return Decision::NotModified;
    }
    if method != Method::Get || !range_applies(headers, etag, last_modified) {
        return Decision::Complete;
    }
    match select(single(headers, "range"), len) {
        Selected::Complete => Decision::Complete,
        Selected::Part { first, last } => Decision::Part { first, last },
        Selected::Unsatisfiable => Decision::Unsatisfiable,
    }
}

/// Whether If-None-Match has `etag`: enough for a resource without ranges and without a date (RFC 9110 §13.1.2).
pub fn not_modified(headers: &Headers, etag: &str) -> bool {
    any_etag(headers, "if-none-match", etag, weak_match)
}

/// Reads a Range header. Several ranges, another unit and a malformed header are ignored, as RFC 9110 §14.2 allows: no client
/// of natter needs a multipart response.
///
/// ```
/// use natter::proto::http::range::{Selected, select};
///
/// assert_eq!(select(Some("bytes=0-99"), 1_000), Selected::Part { first: 0, last: 99 });
/// assert_eq!(select(Some("bytes=-100"), 1_000), Selected::Part { first: 900, last: 999 });
/// assert_eq!(select(Some("bytes=1000-"), 1_000), Selected::Unsatisfiable);
/// assert_eq!(select(Some("bytes=0-1,5-6"), 1_000), Selected::Complete);
/// ```
pub fn select(range: Option<&str>, len: u64) -> Selected {
    let Some((unit, range)) = range.and_then(|range| range.split_once('=')) else {
        return Selected::Complete;
    };
    let Some((first, last)) = range.split_once('-') else { return Selected::Complete };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Selected::Complete;
    }
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        (None, Some(0)) if first.is_empty() => return Selected::Unsatisfiable,
        // An empty resource has no suffix that a Content-Range could describe: the answer is the complete resource.
        (None, Some(_)) if first.is_empty() && len == 0 => return Selected::Complete,
        (None, Some(suffix)) if first.is_empty() => (len.saturating_sub(suffix), u64::MAX),
        _ => return Selected::Complete,
    };
    if first >= len {
        return Selected::Unsatisfiable;
    }
    Selected::Part { first, last: last.min(len - 1) }
}

/// `1*DIGIT`. A number of more than 64 bits becomes the largest one, which is after any end.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// RFC 9110 §13.1.5: if If-Range does not match, the request is for the complete resource. A date must be equal, not only
/// later.
fn range_applies(headers: &Headers, etag: &str, last_modified: UnixS) -> bool {
    match headers.get("if-range") {
        None => true,
        Some(_) => single(headers, "if-range").is_some_and(|condition| {
            strong_match(condition, etag) || parse_http_date(condition) == Some(last_modified)
        }),
    }
}

/// The date of a field that occurs once. Otherwise there is no condition (RFC 9110 §13.1.3, §13.1.4).
fn date(headers: &Headers, name: &str) -> Option<UnixS> {
    single(headers, name).and_then(parse_http_date)
}

fn single<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether `*` or one tag of the list matches. After a syntax error no tag matches.
fn any_etag(headers: &Headers, name: &str, etag: &str, matches: fn(&str, &str) -> bool) -> bool {
    headers.get_all(name).any(|list| list == "*" || tags(list).any(|tag| matches(tag, etag)))
}

/// The entity tags of a list (RFC 9110 §8.8.3). A tag may contain commas, but no escapes.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let text = rest.trim_start_matches([' ', '\t', ',']);
        let open = if text.starts_with("W/") { 3 } else { 1 };
        let opaque = text.get(open..).filter(|_| text[..open].ends_with('"'))?;
        let close = open + opaque.find('"')? + 1;
        rest = &text[close..];
        Some(&text[..close])
    })
}

/// RFC 9110 §8.8.3.2.
fn strong_match(a: &str, b: &str) -> bool {
    a == b && a.starts_with('"')
}

fn weak_match(a: &str, b: &str) -> bool {
    a.strip_prefix("W/").unwrap_or(a) == b.strip_prefix("W/").unwrap_or(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::head::{Head, HeadReader};
    use super::*;

    #[test]
    fn one_range_of_bytes_is_selected() {
        use Selected::*;
        let part = |first, last| Part { first, last };
        for (range, len, expect) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=2-5", 10, part(2, 5)),
            ("Bytes=2-", 10, part(2, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-99", 10, part(0, 9)),
            ("bytes=0-99", 10, part(0, 9)),
            ("bytes=9-99999999999999999999999", 10, part(9, 9)),
            ("bytes=-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-5", 0, Complete),
            ("bytes=0-18446744073709551615", u64::MAX, part(0, u64::MAX - 1)),
        ] {
            assert_eq!(select(Some(range), len), expect, "{range} of {len}");
        }
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=1-2,",
            "bytes=1",
            "bytes= 1-2",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes =1-2",
            "items=0-1",
            "0-1",
        ] {
            assert_eq!(select(Some(range), 10), Complete, "{range}");
        }
        assert_eq!(select(None, 10), Complete);
    }

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const MODIFIED: UnixS = UnixS(784_111_777);
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn head_of(method: &str, fields: &[(&str, &str)]) -> Head {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("{method} / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        HeadReader::new().read(text.as_bytes(), 16_384).expect("valid").expect("a complete head").0
    }

    fn check_of(method: &str, fields: &[(&str, &str)], etag: &str, expect: Decision) {
        let head = head_of(method, fields);
        assert_eq!(decide(head.method, &head.headers, etag, MODIFIED, 10), expect, "{method} {fields:?}");
    }

    fn check(fields: &[(&str, &str)], expect: Decision) {
        check_of("GET", fields, "\"a\"", expect);
    }

    #[test]
    fn each_condition_alone() {
        use Decision::*;
        check(&[], Complete);
        for (list, found) in [
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            (",\"b,\" ,, \"a\",", true),
            ("*", true),
            ("\"b\"", false),
            ("\"A\"", false),
            ("\"b,\\\"a\"", false),
            ("a", false),
            ("x, \"a\"", false),
            ("\"a", false),
            ("\"b\", *", false),
            ("", false),
            ("W", false),
            ("W/", false),
            ("é\"a\"", false),
        ] {
            check(&[("If-None-Match", list)], if found { NotModified } else { Complete });
            let head = head_of("GET", &[("If-None-Match", list)]);
            assert_eq!(not_modified(&head.headers, "\"a\""), found, "{list}");
            check(&[("If-Match", list)], if found { Complete } else { PreconditionFailed });
        }
        check(&[("If-None-Match", "W/\"a\"")], NotModified);
        check(&[("If-Match", "W/\"a\"")], PreconditionFailed);
        check_of("GET", &[("If-None-Match", "\"a\"")], "W/\"a\"", NotModified);
        check_of("GET", &[("If-Match", "W/\"a\"")], "W/\"a\"", PreconditionFailed);
        check(&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")], NotModified);
        check(&[("If-Modified-Since", BEFORE)], Complete);
        check(&[("If-Modified-Since", THEN)], NotModified);
        check(&[("If-Modified-Since", AFTER)], NotModified);
        check(&[("If-Modified-Since", "yesterday")], Complete);
        check(&[("If-Modified-Since", THEN), ("If-Modified-Since", THEN)], Complete);
        check(&[("If-Unmodified-Since", BEFORE)], PreconditionFailed);
        check(&[("If-Unmodified-Since", THEN)], Complete);
        check(&[("If-Unmodified-Since", "yesterday")], Complete);
    }

    #[test]
    fn conditions_apply_in_their_order() {
        use Decision::*;
        check(&[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)], Complete);
        check(&[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], PreconditionFailed);
        check(&[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")], NotModified);
        check(&[("If-None-Match", "\"b\""), ("If-Modified-Since", AFTER)], Complete);
        check(&[("If-None-Match", "\"a\""), ("If-Modified-Since", BEFORE)], NotModified);
        check(&[("If-None-Match", "\"a\""), ("Range", "bytes=0-1")], NotModified);
        check(&[("If-Unmodified-Since", BEFORE), ("Range", "bytes=99-")], PreconditionFailed);
    }

    #[test]
    fn a_range_is_for_get_and_for_the_same_bytes() {
        use Decision::*;
        let range = ("Range", "bytes=2-3");
        let part = Part { first: 2, last: 3 };
        check(&[range], part);
        check(&[("Range", "bytes=10-")], Unsatisfiable);
        check(&[range, range], Complete);
        check_of("HEAD", &[range], "\"a\"", Complete);
        check_of("HEAD", &[("Range", "bytes=10-")], "\"a\"", Complete);
        check_of("HEAD", &[("If-None-Match", "*")], "\"a\"", NotModified);
        for (condition, holds) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("*", false),
            ("\"b\", \"a\"", false),
            (THEN, true),
            (BEFORE, false),
            (AFTER, false),
            ("", false),
        ] {
            check(&[range, ("If-Range", condition)], if holds { part } else { Complete });
            check(
                &[("Range", "bytes=10-"), ("If-Range", condition)],
                if holds { Unsatisfiable } else { Complete },
            );
        }
        check(&[range, ("If-Range", "\"a\""), ("If-Range", "\"a\"")], Complete);
        check(&[range, ("If-Range", "\"a\""), ("If-None-Match", "\"b\"")], part);
        check_of("GET", &[range, ("If-Range", "W/\"a\"")], "W/\"a\"", Complete);
    }

    #[test]
    fn a_part_has_a_content_range() {
        let part = Decision::Part { first: 2, last: 3 };
        assert_eq!(part.content_range(10).as_deref(), Some("bytes 2-3/10"));
        assert_eq!(Decision::Unsatisfiable.content_range(10).as_deref(), Some("bytes */10"));
        assert_eq!(Decision::Complete.content_range(10), None);
        let all = [Decision::Complete, part, Decision::NotModified, Decision::PreconditionFailed];
        assert_eq!(all.map(Decision::status), [200, 206, 304, 412]);
        assert_eq!(Decision::Unsatisfiable.status(), 416);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_length(
            text in prop_oneof![any::<String>(), "bytes=[0-9]{0,3}-[0-9]{0,3}", "[W/\",a* é]{0,12}"],
            len in prop_oneof![0..400_u64, any::<u64>()],
        ) {
            if let Selected::Part { first, last } = select(Some(&text), len) {
                prop_assert!(first <= last && last < len);
            }
            prop_assert!(tags(&text).all(|tag| tag.ends_with('"') && text.contains(tag)));
        }
    }
}
