//! When the authority wants a certificate to be renewed (RFC 9773): its name there, and the window that it suggests.
//!
//! Invariant: any response gives a time or an error, and the time of the next question has bounds.

use crate::base::crypto::{base64url, sha256};
use crate::base::json::{self, Value};
use crate::base::time::{UnixS, parse_rfc3339};
use crate::proto::acme::message::{self, Unexpected};
use crate::proto::http::client::Response;
use crate::proto::x509::Facts;

/// Seconds between two questions (RFC 9773 §4.3.2): the least and the most, whatever the authority says, and what follows a
/// question that failed or an answer that does not say it.
const ASK_AFTER_MIN: u64 = 60;
const ASK_AFTER_MAX: u64 = 86_400;
pub const ASK_AFTER: u64 = 21_600;
const _: () = assert!(ASK_AFTER_MIN < ASK_AFTER && ASK_AFTER < ASK_AFTER_MAX);

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// A moment in the window. It follows from the name of the certificate, so that not all clients come at once, and
    /// the same window gives the same moment.
    pub renew_at: UnixS,
    /// When to ask again.
    pub ask_at: UnixS,
}

/// The name of a certificate (RFC 9773 §4.1). `None` if it does not say which key signed it.
pub fn name(facts: &Facts) -> Option<String> {
    let issuer = facts.issuer_key.as_ref()?;
    Some(format!("{}.{}", base64url(issuer), base64url(&facts.serial)))
}

/// The URL of the question, below that of the directory.
pub fn url(renewal_info: &str, name: &str) -> String {
    format!("{}/{name}", renewal_info.trim_end_matches('/'))
}

/// The answer to the question about the certificate with this name.
pub fn read(response: &Response, now: UnixS, name: &str) -> Result<Suggestion, Unexpected> {
    let missing = Unexpected("a suggested window");
    let value = json::parse(&response.body).map_err(|_| missing)?;
    let time = |name| {
        let window = value.get("suggestedWindow")?;
        parse_rfc3339(window.get(name).and_then(Value::as_str)?)
    };
    let (start, end) = (time("start").ok_or(missing)?, time("end").ok_or(missing)?);
    let length = end.0.checked_sub(start.0).ok_or(missing)?;
    let ask_at = message::retry_after(response, now).unwrap_or(now.after(ASK_AFTER));
    Ok(Suggestion {
        renew_at: start.after(spread(name) % length.saturating_add(1)),
        ask_at: ask_at.clamp(now.after(ASK_AFTER_MIN), now.after(ASK_AFTER_MAX)),
    })
}

/// A number that no two certificates are likely to share.
fn spread(name: &str) -> u64 {
    let hash = sha256(name.as_bytes());
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(body: &str, retry_after: Option<&str>) -> Result<Suggestion, Unexpected> {
        let fields = retry_after.map(|value| ("retry-after", value.to_owned())).into_iter().collect();
        read(&Response { status: 200, fields, body: body.as_bytes().to_vec() }, UnixS(1_000), "x.y")
    }

    #[test]
    fn a_moment_in_the_window_and_the_next_question() {
        let body = r#"{"suggestedWindow":{"start":"1970-01-01T01:00:00Z","end":"1970-01-01T02:00:00.5+00:00"},"explanationURL":"x"}"#;
        let renew_at = UnixS(3_600 + spread("x.y") % 3_601);
        for (after, ask_at) in [
            (Some("100"), 1_100),
            (None, 1_000 + ASK_AFTER),
            (Some("1"), 1_000 + ASK_AFTER_MIN),
            (Some("99999999999999999999"), 1_000 + ASK_AFTER_MAX),
        ] {
            assert_eq!(read_text(body, after), Ok(Suggestion { renew_at, ask_at: UnixS(ask_at) }));
        }
        assert!(spread("x.y") != spread("x.z"));
        for (what, instead) in [("02:00", "00:59"), ("start", "begin"), ("1970-01-01T01", "1970-01-01 01x")] {
            assert!(read_text(&body.replacen(what, instead, 1), None).is_err(), "{what}");
        }
    }

    #[test]
    fn the_name_of_the_rfc_s_example() {
        // RFC 9773 §4.1: the serial has a leading zero, since its first bit is set.
        let facts = Facts {
            not_before: UnixS(0),
            not_after: UnixS(0),
            has_names: true,
            serial: vec![0x00, 0x87, 0x65, 0x43, 0x21],
            issuer_key: Some(
                [
                    0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae,
                    0x2c, 0xde, 0x01, 0xc8, 0xd4,
                ]
                .to_vec(),
            ),
        };
        assert_eq!(name(&facts).as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert_eq!(name(&Facts { issuer_key: None, ..facts }), None);
        assert_eq!(url("https://a/renewal/", "x.y"), "https://a/renewal/x.y");
    }
}
