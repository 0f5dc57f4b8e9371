//! The opening handshake of a WebSocket (RFC 6455 §4.2).
//!
//! Owns which requests are upgraded, and the two values of the response. The caller passes the field values and writes the 101;
//! the router checks origin and credentials. Invariant: an [`Accept`] exists only for a request that meets every MUST of
//! §4.2.1.

use crate::base::crypto;

/// The only version (RFC 6455 §4.1), also the value of `Sec-WebSocket-Version` in a 426.
pub const VERSION: &str = "13";

/// The subprotocol of natter's native stream, selected if it is offered ([`protocol`](crate::protocol), "WebSocket").
pub const PROTOCOL: &str = "natter.v1";

/// Appended to the key before hashing (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The fields of a 101 in addition to `Connection: Upgrade` and `Upgrade: websocket`. It never names an extension: natter
/// supports none, so none may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The value of `Sec-WebSocket-Accept`.
    pub key: String,
    /// The value of `Sec-WebSocket-Protocol`; `None` leaves the field out.
    pub protocol: Option<&'static str>,
}

/// Why a request is not upgraded; each variant decides the status of the plain response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeError {
    /// Not a GET of HTTP/1.1 with the two upgrade tokens: 426, with `Upgrade: websocket`.
    NotAnUpgrade,
    /// An upgrade to another version than 13, or to none: 426, with `Sec-WebSocket-Version: 13` (§4.4).
    VersionUnsupported,
    /// The key is missing, repeated, or not the base64 of 16 bytes: 400.
    BadKey,
}

impl UpgradeError {
    pub fn status(self) -> u16 {
        match self {
            UpgradeError::NotAnUpgrade | UpgradeError::VersionUnsupported => 426,
            UpgradeError::BadKey => 400,
        }
    }
}

/// Checks a request by its method, its minor HTTP version, and `values`, which returns every value of the field with this
/// (lower-case) name, in order.
///
/// ```
/// use natter::proto::websocket::{UpgradeError, check_upgrade};
///
/// // The example of RFC 6455 §1.3.
/// let fields = [
///     ("upgrade", "websocket"),
///     ("connection", "keep-alive, Upgrade"),
///     ("sec-websocket-version", "13"),
///     ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
/// ];
/// let values = |name| fields.iter().filter(move |field| field.0 == name).map(|field| field.1);
/// let accept = check_upgrade("GET", 1, values).expect("a complete request");
/// assert_eq!(accept.key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert_eq!(check_upgrade("POST", 1, values), Err(UpgradeError::NotAnUpgrade));
/// ```
pub fn check_upgrade<'a, Values: Iterator<Item = &'a str>>(
    method: &str,
    http_minor: u8,
    values: impl Fn(&'static str) -> Values,
) -> Result<Accept, UpgradeError> {
    let has_token = |name, token: &str| tokens(values(name)).any(|t| t.eq_ignore_ascii_case(token));
    if method != "GET"
        || http_minor != 1
        || !has_token("connection", "upgrade")
        || !has_token("upgrade", "websocket")
    {
        return Err(UpgradeError::NotAnUpgrade);
    }
    if single(values("sec-websocket-version")) != Some(VERSION) {
        return Err(UpgradeError::VersionUnsupported);
    }
    let key = single(values("sec-websocket-key")).and_then(accept_key).ok_or(UpgradeError::BadKey)?;
    // Subprotocol names are compared as written (§4.1 item 10 of the client's requirements).
    let offered = tokens(values("sec-websocket-protocol")).any(|token| token == PROTOCOL);
    Ok(Accept { key, protocol: offered.then_some(PROTOCOL) })
}

/// Whether the values of `Upgrade` request a WebSocket, also in a malformed request.
pub fn is_wanted<'a>(upgrade: impl Iterator<Item = &'a str>) -> bool {
    tokens(upgrade).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`; `None` unless the key is the canonical base64
/// of exactly 16 bytes (§4.2.1 item 5).
pub fn accept_key(key: &str) -> Option<String> {
    // base64 and base64url differ in two characters and the padding, so the strict decoder of one is used for both.
    let digits = key.strip_suffix("==").filter(|digits| !digits.contains(['-', '_']))?;
    let nonce = crypto::base64url_decode(&digits.replace('+', "-").replace('/', "_"))?;
    if nonce.len() != 16 {
        return None;
    }
    let hash = crypto::sha1(format!("{key}{GUID}").as_bytes());
    Some(crypto::base64url(&hash).replace('-', "+").replace('_', "/") + "=")
}

/// The members of a comma-separated list, over all its field lines (RFC 9110 §5.6.1).
fn tokens<'a>(values: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    values.flat_map(|value| value.split(',')).map(trim).filter(|token| !token.is_empty())
}

/// The value of a field that may occur only once (RFC 6455 §11.3).
fn single<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = values.next()?;
    values.next().is_none().then(|| trim(first))
}

/// Optional white space is only space and tab (RFC 9110 §5.6.3).
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn a_key_is_sixteen_bytes_in_canonical_base64() {
        let check =
            |key: &str, expect: Option<&str>| assert_eq!(accept_key(key).as_deref(), expect, "{key:?}");
        check(KEY, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); // RFC 6455 §1.3
        check("x3JJHMbDL1EzLkh9GBhXDw==", Some("HSmrc0sMlYUkAGmm5OPpG2HaGWk="));
        check("+/+/+/+/+/+/+/+/+/+/+w==", Some("M0DUs3om0SqzerhOhYSMM7WQuBQ="));
        for bad in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",       // no padding
            "dGhlIHNhbXBsZSBub25jZQ=",      // half of it
            "dGhlIHNhbXBsZSBub25jZR==",     // bits after the last byte
            "dGhlIHNhbXBsZSBub25j",         // 15 bytes
            "dGhlIHNhbXBsZSBub25jZWU=",     // 17 bytes
            "dGhlIHNhbXBsZSBub25jZWVlZQ==", // 19 bytes
            "dGhlIHNhbXBsZSBub25j ZQ==",
            "-_-_-_-_-_-_-_-_-_-_-w==", // base64url
            "dGhlIHNhbXBsZSBub25jé==",
        ] {
            check(bad, None);
        }
    }

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn upgrade(method: &str, http_minor: u8, fields: Fields<'_>) -> Result<Accept, UpgradeError> {
        check_upgrade(method, http_minor, |name| {
            fields.iter().filter(move |(n, _)| *n == name).map(|(_, value)| *value)
        })
    }

    /// The good request with the field `name` replaced by `values`.
    fn with<'a>(name: &'a str, values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let good = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let kept = good.into_iter().filter(|(n, _)| *n != name);
        kept.chain(values.iter().map(|value| (name, *value))).collect()
    }

    #[test]
    fn every_must_of_the_request_is_checked() {
        use UpgradeError::*;
        let check = |name, values: &[&str], expect: Result<Option<&'static str>, UpgradeError>| {
            let found = upgrade("GET", 1, &with(name, values)).map(|accept| {
                assert_eq!(accept.key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                accept.protocol
            });
            assert_eq!(found, expect, "{name}: {values:?}");
        };
        check("origin", &[], Ok(None));
        check("connection", &["keep-alive, \tuPgRaDe "], Ok(None));
        check("connection", &["keep-alive", "Upgrade"], Ok(None));
        check("connection", &[], Err(NotAnUpgrade));
        check("connection", &["keep-alive"], Err(NotAnUpgrade));
        check("connection", &["upgraded"], Err(NotAnUpgrade));
        check("upgrade", &["WebSocket"], Ok(None));
        check("upgrade", &["h2c, websocket"], Ok(None));
        check("upgrade", &["h2c"], Err(NotAnUpgrade));
        check("upgrade", &[], Err(NotAnUpgrade));
        check("sec-websocket-version", &[" 13 "], Ok(None));
        check("sec-websocket-version", &[], Err(VersionUnsupported));
        check("sec-websocket-version", &["8"], Err(VersionUnsupported));
        check("sec-websocket-version", &["013"], Err(VersionUnsupported));
        check("sec-websocket-version", &["13", "13"], Err(VersionUnsupported));
        check("sec-websocket-key", &[], Err(BadKey));
        check("sec-websocket-key", &["short"], Err(BadKey));
        check("sec-websocket-key", &[KEY, KEY], Err(BadKey));
        check("sec-websocket-protocol", &["chat"], Ok(None));
        check("sec-websocket-protocol", &["NATTER.V1"], Ok(None));
        check("sec-websocket-protocol", &["chat,natter.v1"], Ok(Some("natter.v1")));
        check("sec-websocket-protocol", &["chat", "natter.v1"], Ok(Some("natter.v1")));

        assert_eq!(upgrade("POST", 1, &with("origin", &[])), Err(NotAnUpgrade));
        assert_eq!(upgrade("GET", 0, &with("origin", &[])), Err(NotAnUpgrade));
        let statuses = [NotAnUpgrade, VersionUnsupported, BadKey].map(UpgradeError::status);
        assert_eq!(statuses, [426, 426, 400]);
    }
}
