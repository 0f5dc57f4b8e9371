//! Time-based one-time passwords (RFC 6238): six digits of HMAC-SHA-1, a new code each 30 seconds.
//!
//! These are the values that every authenticator app takes. Leaves to its callers that a step is used once.

use super::crypto::hmac_sha1;
use super::time::UnixS;

/// Bytes of a secret, as RFC 4226 §4 recommends.
pub const SECRET_BYTES: usize = 20;
/// Seconds that a code is shown.
const STEP_S: u64 = 30;
/// Digits of a code.
const DIGITS: usize = 6;

/// The code of a time step.
fn code(secret: &[u8], step: u64) -> u32 {
    let tag = hmac_sha1(secret, &step.to_be_bytes());
    // RFC 4226 §5.3: the last four bits say where the 31 bits begin.
    let at = usize::from(tag[tag.len() - 1] & 15);
    let bits = u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]) & 0x7fff_ffff;
    bits % 10_u32.pow(DIGITS as u32)
}

/// Whether a text has the form of a code.
pub fn is_code(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The step after `last` of which this is the code: the present one, or one beside it, since clocks differ.
pub fn step_of(secret: &[u8], text: &str, now: UnixS, last: u64) -> Option<u64> {
    let presented: u32 = text.parse().ok().filter(|_| is_code(text))?;
    let present = now.0 / STEP_S;
    let mut steps = present.saturating_sub(1)..=present + 1;
    steps.find(|step| *step > last && code(secret, *step) == presented)
}

/// What an app shows at this time.
pub fn shown(secret: &[u8], now: UnixS) -> String {
    format!("{:06}", code(secret, now.0 / STEP_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// The last six digits of the codes of RFC 6238, appendix B.
    #[test]
    fn the_codes_of_the_standard() {
        for (at, expect) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(shown(SECRET, UnixS(at)), expect, "{at}");
            assert_eq!(step_of(SECRET, expect, UnixS(at), 0), Some(at / 30), "{at}");
        }
    }

    #[test]
    fn a_code_is_right_one_step_early_and_late_and_once() {
        let at = |step: u64| UnixS(step * 30 + 7);
        let text = shown(SECRET, at(1_000));
        for (step, expect) in
            [(998, None), (999, Some(1_000)), (1_000, Some(1_000)), (1_001, Some(1_000)), (1_002, None)]
        {
            assert_eq!(step_of(SECRET, &text, at(step), 0), expect, "{step}");
        }
        assert_eq!(step_of(SECRET, &text, at(1_000), 999), Some(1_000));
        assert_eq!(step_of(SECRET, &text, at(1_000), 1_000), None, "it was used");
        for bad in ["", "28708", "2870821", "28708a", "+87082", " 87082", "٢٨٧٠٨٢"] {
            assert_eq!(step_of(SECRET, bad, UnixS(59), 0), None, "{bad}");
        }
    }
}
