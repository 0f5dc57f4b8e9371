//! Content negotiation (RFC 9110 §12): Accept-Language, Accept and Accept-Encoding.
//!
//! Owns the weights. Invariant: no header is an error; a header that cannot be parsed expresses no preference.

use std::cmp::Reverse;

use super::headers::Headers;
use super::mime::split_outside_quotes;

/// The languages of natter's responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    En,
    Ar,
}

impl Language {
    /// The tag, for Content-Language and for `lang`.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Ar => "ar",
        }
    }

    /// Of a tag that was stored: English if it is none of ours.
    pub fn of_stored(tag: &str) -> Language {
        if tag == Language::Ar.as_str() { Language::Ar } else { Language::En }
    }
}

/// The language of a response: the one with the greater weight, of equal ones the first, and English if the header names
/// neither. A range selects its language (`ar-EG` selects Arabic, RFC 4647 §3.4); `*` stands for languages that are not named.
///
/// ```
/// use natter::proto::http::language::{Language, language};
///
/// assert_eq!(language(Some("fr, ar-EG;q=0.8, en;q=0.5")), Language::Ar);
/// assert_eq!(language(Some("fr, *;q=0.1")), Language::En);
/// assert_eq!(language(None), Language::En);
/// ```
pub fn language(header: Option<&str>) -> Language {
    let (mut en, mut ar, mut other) = (None, None, 0);
    for (index, (range, weight)) in header.into_iter().flat_map(weighted).enumerate() {
        let preference = Some((weight, Reverse(index)));
        match range.split('-').next() {
            Some(primary) if primary.eq_ignore_ascii_case("en") => en = en.max(preference),
            Some(primary) if primary.eq_ignore_ascii_case("ar") => ar = ar.max(preference),
            _ if range == "*" => other = weight,
            _ => {}
        }
    }
    let unnamed = (other, Reverse(usize::MAX));
    let (en, ar) = (en.unwrap_or(unnamed), ar.unwrap_or(unnamed));
    if ar > en && ar.0 > 0 { Language::Ar } else { Language::En }
}

/// Whether Accept names `media` without a wildcard and with a weight above 0: a client that can read an event stream names it,
/// and `*/*` gets JSON.
pub fn accepts(header: Option<&str>, media: &str) -> bool {
    weight_of(header, media) > 0
}

/// The weight in thousandths that Accept gives to `media` by name; 0 if it does not name it.
pub fn weight_of(header: Option<&str>, media: &str) -> u16 {
    let named = header.into_iter().flat_map(weighted).filter(|(range, _)| range.eq_ignore_ascii_case(media));
    named.map(|(_, weight)| weight).max().unwrap_or(0)
}

/// Whether to send the gzip form (RFC 9110 §12.5.3): it is acceptable, and not less than the plain form. A request without the
/// header would accept it too, but such a client often cannot decompress it.
pub fn prefers_gzip(headers: &Headers) -> bool {
    let (mut gzip, mut identity, mut other) = (None, None, None);
    for (coding, weight) in headers.get_all("accept-encoding").flat_map(weighted) {
        let named = match coding {
            "*" => &mut other,
            _ if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => &mut gzip,
            _ if coding.eq_ignore_ascii_case("identity") => &mut identity,
            _ => continue,
        };
        *named = (*named).max(Some(weight));
    }
    let gzip = gzip.or(other).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// The elements of a weighted list: the text before the first `;`, and the weight in thousandths. An element with a malformed
/// weight is left out.
fn weighted(list: &str) -> impl Iterator<Item = (&str, u16)> {
    split_outside_quotes(list, b',').filter_map(|element| {
        let mut parts = split_outside_quotes(element, b';').map(|part| part.trim_matches([' ', '\t']));
        let range = parts.next().filter(|range| !range.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some((range, weight.map_or(Some(1_000), qvalue)?))
    })
}

/// `qvalue` (RFC 9110 §12.4.2): 0 to 1 with at most three decimals.
fn qvalue(text: &str) -> Option<u16> {
    let (integer, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = (0..3)
        .fold(0, |sum, at| sum * 10 + decimals.as_bytes().get(at).map_or(0, |digit| u16::from(digit - b'0')));
    match integer {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::head::HeadReader;
    use super::*;

    #[test]
    fn the_language_follows_weight_then_order() {
        for (header, expect) in [
            ("", Language::En),
            ("en", Language::En),
            ("ar", Language::Ar),
            ("AR-eg", Language::Ar),
            ("fr", Language::En),
            ("fr, ar;q=0.1", Language::Ar),
            ("fr;q=0.9,ar ; q=0.2,en;q=0.1", Language::Ar),
            ("en, ar", Language::En),
            ("ar, en", Language::Ar),
            ("ar;q=0.5, en;q=0.5", Language::Ar),
            ("en;q=0.5, ar;q=0.501", Language::Ar),
            ("en-GB;q=0.3, ar;q=0.6, en;q=0.8", Language::En),
            ("*", Language::En),
            ("ar, *", Language::Ar),
            ("*, en;q=0", Language::Ar),
            ("*;q=0.5, en;q=0.1", Language::Ar),
            ("en;q=0", Language::En),
            ("ar;q=0", Language::En),
            ("ar;q=0, *", Language::En),
            ("ar;q=2", Language::En),
            ("ar;q=x", Language::En),
            ("ar;q=1.001", Language::En),
            ("ar;q=0.0001", Language::En),
            ("arc, english", Language::En),
            (", ;q=1,,ar", Language::Ar),
            ("ar;q=1.000", Language::Ar),
            ("\u{fffd}\"", Language::En),
        ] {
            assert_eq!(language(Some(header)), expect, "{header}");
        }
        assert_eq!(language(None), Language::En);
        assert_eq!((Language::En.as_str(), Language::Ar.as_str()), ("en", "ar"));
    }

    #[test]
    fn a_media_type_is_accepted_by_name_alone() {
        let check = |header: Option<&str>, expect: u16| {
            assert_eq!(weight_of(header, "text/event-stream"), expect, "{header:?}");
            assert_eq!(accepts(header, "text/event-stream"), expect > 0, "{header:?}");
        };
        check(None, 0);
        check(Some("*/*"), 0);
        check(Some("text/*"), 0);
        check(Some("application/json"), 0);
        check(Some("text/event-stream"), 1_000);
        check(Some("Text/Event-Stream;charset=utf-8"), 1_000);
        check(Some("application/json, text/event-stream;q=0.5"), 500);
        check(Some("text/event-stream;q=0"), 0);
        check(Some("text/event-stream;q=0.000, */*"), 0);
        check(Some("a/b;c=\",text/event-stream,\""), 0);
    }

    #[test]
    fn gzip_is_sent_if_its_weight_is_not_lower() {
        for (lines, expect) in [
            (&[][..], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["gzip, deflate, br, zstd"], true),
            (&["br", "gzip"], true),
            (&["br"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000, *"], false),
            (&["gzip;q=0.001"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity, gzip"], true),
            (&["identity;q=0.5, gzip;q=0.4"], false),
            (&["identity;q=0.5, gzip;q=0.5"], true),
            (&["identity;q=0"], false),
            (&["gzip;q=2"], false),
            (&["gzipped"], false),
        ] {
            let text: String = lines.iter().map(|line| format!("Accept-Encoding: {line}\r\n")).collect();
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{text}\r\n");
            let head =
                HeadReader::new().read(text.as_bytes(), 16_384).expect("valid").expect("a complete head").0;
            assert_eq!(prefers_gzip(&head.headers), expect, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_wish_panics(text in prop_oneof![any::<String>(), "[aren;=q01.,*\" -]{0,20}"]) {
            let _ = language(Some(&text));
            prop_assert!(weight_of(Some(&text), "a/b") <= 1_000);
        }
    }
}
