//! Time as a value. Owns the conversion between a clock reading and the two texts of the wire; reads no
//! clock itself: a [`Now`] is made once a turn by the runtime and handed down.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;

/// One reading of both clocks: `instant` for deadlines, `unix_ms` (milliseconds since 1970, UTC) for texts
/// and stored times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    pub unix_ms: u64,
}

impl Now {
    /// Whole seconds since 1970.
    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1_000
    }

    /// The reading `by` later, on both clocks.
    pub fn later(self, by: Duration) -> Now {
        Now { instant: self.instant + by, unix_ms: self.unix_ms + by.as_millis() as u64 }
    }
}

/// The last moment the calendar below can write: 9999-12-31T23:59:59.999Z.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

fn date(unix_ms: u64) -> OffsetDateTime {
    let nanos = i128::from(unix_ms.min(UNIX_MS_MAX)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `2026-11-22T13:03:54.120Z` (RFC 3339, always UTC, always three digits).
pub fn rfc3339(unix_ms: u64) -> String {
    let mut text = String::with_capacity(24);
    push_rfc3339(&mut text, unix_ms);
    text
}

/// Appends [`rfc3339`].
pub fn push_rfc3339(out: &mut String, unix_ms: u64) {
    out.extend(rfc3339_digits(unix_ms).iter().map(|&b| char::from(b)));
}

/// The bytes of [`rfc3339`]; written by hand since they stand in every message and every log line.
pub fn rfc3339_digits(unix_ms: u64) -> [u8; 24] {
    let unix_ms = unix_ms.min(UNIX_MS_MAX);
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
    put(0, 4, at.year().unsigned_abs());
    put(5, 2, u32::from(u8::from(at.month())));
    put(8, 2, u32::from(at.day()));
    put(11, 2, u32::from(h));
    put(14, 2, u32::from(m));
    put(17, 2, u32::from(s));
    put(20, 3, ms);
    digits
}

/// `Sun, 22 Nov 2026 13:03:54 GMT` (IMF-fixdate, RFC 9110 §5.6.7).
pub fn imf_fixdate(unix_ms: u64) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    date(unix_ms).format(&format).unwrap_or_default()
}

/// `Sun, 22 Nov 2026 13:03:54 +0000` (RFC 5322 §3.3), for mail.
pub fn mail_date(unix_ms: u64) -> String {
    date(unix_ms).format(&Rfc2822).unwrap_or_default()
}

/// Reads an IMF-fixdate back into Unix seconds; the two obsolete forms (RFC 9110 §5.6.7) give `None`, which
/// a conditional request treats as no condition at all.
pub fn parse_imf_fixdate(text: &str) -> Option<u64> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = time::PrimitiveDateTime::parse(text, &format).ok()?;
    u64::try_from(at.assume_utc().unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_of_one_moment() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_352_634_120), "2026-11-22T13:03:54.120Z");
        assert_eq!(imf_fixdate(1_795_352_634_120), "Sun, 22 Nov 2026 13:03:54 GMT");
        assert_eq!(parse_imf_fixdate("Sun, 22 Nov 2026 13:03:54 GMT"), Some(1_795_352_634));
        assert_eq!(parse_imf_fixdate("Sunday, 22-Nov-26 13:03:54 GMT"), None);
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(mail_date(1_795_352_634_120), "Sun, 22 Nov 2026 13:03:54 +0000");
    }
}
