//! The request that gives a push service one message, and what its answer means (RFC 8030 §5).
//!
//! Owns which addresses can be those of a subscription. Leaves to its callers what a name resolves to.
//! Invariant: a request has only bytes that an HTTP head may hold, so that an address cannot begin a second header.

use std::time::Duration;

use crate::base::time::UnixS;
use crate::proto::http::client::{Authority, ResponseHead, RetryAfter, is_path_byte};

/// Bytes of the address of a subscription. Those of the browsers' services have 150 to 500. Above it: refused.
pub const ENDPOINT_BYTES_MAX: usize = 1_024;
/// Characters of a topic (RFC 8030 §5.4).
pub const TOPIC_CHARS_MAX: usize = 32;

/// The address of a subscription at its push service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushEndpoint {
    pub service: Authority,
    /// With its query.
    target: String,
}

/// The text is not an `https` URL, or it is too long, or has a user or a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPushEndpoint;

/// One message for a push service.
#[derive(Clone, Copy, Debug)]
pub struct PushRequest<'a> {
    /// Seconds for which the service keeps it for a device that is away.
    pub ttl_s: u32,
    /// A later message of the same topic replaces it while the device is away.
    pub topic: &'a str,
    /// Of [`super::vapid::authorization`].
    pub authorization: &'a str,
    /// Of [`super::encryption::encrypt`].
    pub body: &'a [u8],
}

/// What the answer of a push service means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// The subscription does not exist any more.
    Gone,
    /// To be tried again, not before this if the service says so.
    Later(Option<Duration>),
    /// It would be refused again. A redirect is one of these: where it leads was chosen by nobody who subscribed.
    Refused,
}

impl PushEndpoint {
    pub fn parse(url: &str) -> Result<PushEndpoint, BadPushEndpoint> {
        let (service, target) = split_url(url)?;
        if service.tls { Ok(PushEndpoint { service, target }) } else { Err(BadPushEndpoint) }
    }

    /// The bytes of the request. A device is to be woken at once (RFC 8030 §5.3). The connection may be used again after the answer.
    pub fn post(&self, request: &PushRequest<'_>) -> Vec<u8> {
        let PushRequest { ttl_s, topic, authorization, body } = *request;
        debug_assert!(topic.len() <= TOPIC_CHARS_MAX, "a topic of {} characters", topic.len());
        let mut bytes = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\nTTL: {ttl_s}\r\nUrgency: high\r\n\
             Topic: {topic}\r\nContent-Encoding: aes128gcm\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {}\r\nUser-Agent: natter\r\n\r\n",
            self.target,
            self.service.host_and_port(),
            body.len(),
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// The authority of an `http` or `https` URL that somebody else has chosen, and its path with its query.
pub fn split_url(url: &str) -> Result<(Authority, String), BadPushEndpoint> {
    if url.len() > ENDPOINT_BYTES_MAX {
        return Err(BadPushEndpoint);
    }
    let (authority, rest) = Authority::split(url).map_err(|_| BadPushEndpoint)?;
    let is_target_byte = |byte| is_path_byte(byte) || byte == b'?';
    if !rest.bytes().all(is_target_byte) {
        return Err(BadPushEndpoint);
    }
    let target = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    Ok((authority, target))
}

/// What the head of an answer means; the body does not count.
pub fn verdict(head: ResponseHead, now: UnixS) -> Verdict {
    match head.status {
        200..=299 => Verdict::Accepted,
        404 | 410 => Verdict::Gone,
        429 | 500..=599 => Verdict::Later(head.retry_after.map(|after| match after {
            RetryAfter::Seconds(seconds) => Duration::from_secs(seconds),
            RetryAfter::At(at) => Duration::from_secs(at.since(now)),
        })),
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |url: &str| {
            let parsed = PushEndpoint::parse(url).ok()?;
            Some((parsed.service.host_and_port(), parsed.target))
        };
        for (url, expect) in [
            ("https://push.example/a/b", Some(("push.example", "/a/b"))),
            (
                "https://push.example:8443/w/?token=a%2Fb&x=1",
                Some(("push.example:8443", "/w/?token=a%2Fb&x=1")),
            ),
            ("https://push.example/a/", Some(("push.example", "/a/"))),
            ("https://push.example", Some(("push.example", "/"))),
            ("https://push.example?a", Some(("push.example", "/?a"))),
            ("https://[2001:db8::1]/a", Some(("[2001:db8::1]", "/a"))),
            ("http://push.example/a", None),
            ("https://user@push.example/a", None),
            ("https://push.example/a#b", None),
            ("https://push.example/a b", None),
            ("https://push.example/a\r\nX: y", None),
            ("https://push.example/\u{e9}", None),
            ("https://push.example:0/a", None),
            ("wss://push.example/a", None),
            ("", None),
        ] {
            let expect = expect.map(|(host, target): (&str, &str)| (host.to_owned(), target.to_owned()));
            assert_eq!(parse(url), expect, "{url}");
        }
        let long = |bytes: usize| format!("https://a/{}", "x".repeat(bytes - "https://a/".len()));
        assert!(parse(&long(ENDPOINT_BYTES_MAX)).is_some() && parse(&long(ENDPOINT_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn a_request() {
        let endpoint = PushEndpoint::parse("https://push.example:8443/a?b").expect("an address");
        let request =
            PushRequest { ttl_s: 60, topic: "topic", authorization: "vapid t=x, k=y", body: b"\x00\xff" };
        let expect = "POST /a?b HTTP/1.1\r\nHost: push.example:8443\r\nAuthorization: vapid t=x, k=y\r\nTTL: 60\r\n\
                      Urgency: high\r\nTopic: topic\r\nContent-Encoding: aes128gcm\r\n\
                      Content-Type: application/octet-stream\r\nContent-Length: 2\r\nUser-Agent: natter\r\n\r\n";
        assert_eq!(endpoint.post(&request), [expect.as_bytes(), b"\x00\xff"].concat());
    }

    #[test]
    fn answers() {
        let at = |status, retry_after| verdict(ResponseHead { status, retry_after }, UnixS(1_000));
        for (status, expect) in [
            (200, Verdict::Accepted),
            (201, Verdict::Accepted),
            (204, Verdict::Accepted),
            (301, Verdict::Refused),
            (307, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::Refused),
            (403, Verdict::Refused),
            (404, Verdict::Gone),
            (410, Verdict::Gone),
            (413, Verdict::Refused),
            (429, Verdict::Later(None)),
            (500, Verdict::Later(None)),
            (503, Verdict::Later(None)),
        ] {
            assert_eq!(at(status, None), expect, "{status}");
        }
        let later = |seconds| Verdict::Later(Some(Duration::from_secs(seconds)));
        assert_eq!(at(429, Some(RetryAfter::Seconds(7))), later(7));
        assert_eq!(at(503, Some(RetryAfter::At(UnixS(1_060)))), later(60));
        assert_eq!(at(503, Some(RetryAfter::At(UnixS(900)))), later(0));
    }
}
