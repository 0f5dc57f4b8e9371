//! Time as a value, and its text forms.
//!
//! Owns the conversion between a clock reading and the texts on the wire. Reads no clock: the runtime makes one [`Now`] in each
//! turn and passes it down.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime};

/// One reading of both clocks: `instant` is for deadlines, `unix_ms` (milliseconds since 1970, UTC) for texts and stored times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    pub unix_ms: UnixMs,
}

impl Now {
    /// Whole seconds since 1970.
    pub fn unix_s(self) -> UnixS {
        self.unix_ms.s()
    }

    /// The reading `by` later, on both clocks.
    pub fn later(self, by: Duration) -> Now {
        Now { instant: self.instant + by, unix_ms: self.unix_ms.after(by.as_millis() as u64) }
    }
}

/// Milliseconds since 1970, UTC: when something happened. On the wire it is a text ([`rfc3339`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The second that it is in.
    pub const fn s(self) -> UnixS {
        UnixS(self.0 / 1_000)
    }

    pub const fn after(self, ms: u64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this; 0 if this is the earlier one.
    pub const fn since(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*self))
    }
}

/// Seconds since 1970, UTC: when a token, a session or a signed URL expires. On the wire it is a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnixS(pub u64);

impl UnixS {
    pub const fn ms(self) -> UnixMs {
        UnixMs(self.0.saturating_mul(1_000))
    }

    pub const fn after(self, seconds: u64) -> UnixS {
        UnixS(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this; 0 if this is the earlier one.
    pub const fn since(self, earlier: UnixS) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The last moment the calendar below can write: 9999-12-31T23:59:59.999Z.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

fn date(unix_ms: UnixMs) -> OffsetDateTime {
    let nanos = i128::from(unix_ms.0.min(UNIX_MS_MAX)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `2026-11-22T13:03:54.120Z` (RFC 3339, always UTC, always three digits).
pub fn rfc3339(unix_ms: UnixMs) -> String {
    let mut text = String::with_capacity(24);
    push_rfc3339(&mut text, unix_ms);
    text
}

/// Appends [`rfc3339`].
pub fn push_rfc3339(out: &mut String, unix_ms: UnixMs) {
    out.extend(rfc3339_digits(unix_ms).iter().map(|&b| char::from(b)));
}

/// The bytes of [`rfc3339`]. Written without a formatter, since every message and every log line has one.
pub fn rfc3339_digits(unix_ms: UnixMs) -> [u8; 24] {
    let unix_ms = unix_ms.0.min(UNIX_MS_MAX);
    let ms = (unix_ms % 1_000) as u32;
    let at =
        OffsetDateTime::from_unix_timestamp((unix_ms / 1_000) as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (h, m, s) = at.to_hms();
    let mut digits = *b"0000-00-00T00:00:00.000Z";
    let mut put = |at: usize, width: usize, value: u32| {
        let mut value = value;
        for slot in digits[at..at + width].iter_mut().rev() {
            *slot = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    let (year, month, day) = at.to_calendar_date();
    put(0, 4, year.unsigned_abs());
    put(5, 2, u32::from(u8::from(month)));
    put(8, 2, u32::from(day));
    put(11, 2, u32::from(h));
    put(14, 2, u32::from(m));
    put(17, 2, u32::from(s));
    put(20, 3, ms);
    digits
}

/// `Sun, 22 Nov 2026 13:03:54 GMT` (IMF-fixdate, RFC 9110 §5.6.7).
pub fn imf_fixdate(unix_s: UnixS) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    date(unix_s.ms()).format(&format).unwrap_or_default()
}

/// `Sun, 22 Nov 2026 13:03:54 +0000` (RFC 5322 §3.3), for mail.
pub fn mail_date(unix_ms: UnixMs) -> String {
    date(unix_ms).format(&Rfc2822).unwrap_or_default()
}

/// A calendar time in UTC: `rest` is month, day, hour, minute, second. `None` if there is no such time, or if it
/// is before 1970.
pub fn utc(year: u32, rest: [u8; 5]) -> Option<UnixS> {
    let [month, day, hour, minute, second] = rest;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, Month::try_from(month).ok()?, day).ok()?;
    let at = date.with_hms(hour, minute, second).ok()?;
    unix(at.assume_utc())
}

/// Reads a time of RFC 3339, with any offset; parts of a second are dropped. `None` if it is none, or before 1970.
pub fn parse_rfc3339(text: &str) -> Option<UnixS> {
    unix(OffsetDateTime::parse(text, &Rfc3339).ok()?)
}

/// As [`parse_rfc3339`], in milliseconds; what is less is dropped.
pub fn parse_rfc3339_ms(text: &str) -> Option<UnixMs> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMs)
}

fn unix(at: OffsetDateTime) -> Option<UnixS> {
    u64::try_from(at.unix_timestamp()).ok().map(UnixS)
}

/// Reads a date in a request. A recipient must accept three forms (RFC 9110 §5.6.7), although a sender must not
/// use the last two: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
/// `None` for any other text; a conditional request then ignores the condition.
pub fn parse_http_date(text: &str) -> Option<UnixS> {
    let fixdate = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let asctime = format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let at = PrimitiveDateTime::parse(text, &fixdate)
        .or_else(|_| PrimitiveDateTime::parse(text, &asctime))
        .ok()
        .or_else(|| rfc850(text))?;
    unix(at.assume_utc())
}

/// The form with a year of two digits. No file was modified before 1970, so the century is known without a clock.
fn rfc850(text: &str) -> Option<PrimitiveDateTime> {
    let format = format_description!("[day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let (weekday, rest) = text.split_once(", ")?;
    let (day, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (year, time) = rest.split_once(' ')?;
    let [decade @ b'0'..=b'9', b'0'..=b'9'] = year.as_bytes() else { return None };
    let century = if *decade < b'7' { 20 } else { 19 };
    let at = PrimitiveDateTime::parse(&format!("{day} {month} {century}{year} {time}"), &format).ok()?;
    WEEKDAYS.contains(&weekday).then_some(at)
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_of_one_moment() {
        assert_eq!(rfc3339(UnixMs(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(UnixMs(1_795_352_634_120)), "2026-11-22T13:03:54.120Z");
        assert_eq!(imf_fixdate(UnixS(1_795_352_634)), "Sun, 22 Nov 2026 13:03:54 GMT");
        assert_eq!(rfc3339(UnixMs(u64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(mail_date(UnixMs(1_795_352_634_120)), "Sun, 22 Nov 2026 13:03:54 +0000");
    }

    #[test]
    fn a_time_is_read_to_the_millisecond() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_rfc3339_ms(text), expect.map(UnixMs), "{text}")
        };
        check("2026-11-22T13:03:54.120999999Z", Some(1_795_352_634_120));
        check("2026-11-22T13:03:54.1Z", Some(1_795_352_634_100));
        check("2026-11-22T14:03:54+01:00", Some(1_795_352_634_000));
        check("1970-01-01T00:00:00.000999Z", Some(0));
        for bad in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.998Z", "2026-11-22", ""] {
            check(bad, None);
        }
    }

    #[test]
    fn all_three_dates_of_http_are_read() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_http_date(text), Some(UnixS(784_111_777)), "{text}");
        }
        assert_eq!(parse_http_date("Sun, 22 Nov 2026 13:03:54 GMT"), Some(UnixS(1_795_352_634)));
        assert_eq!(parse_http_date("Sunday, 22-Nov-26 13:03:54 GMT"), Some(UnixS(1_795_352_634)));
        assert_eq!(parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT"), Some(UnixS(0)));
        for text in [
            "",
            "yesterday",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 2026 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov 06 08:49:37 94",
            "Wed, 31 Dec 1969 23:59:59 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
