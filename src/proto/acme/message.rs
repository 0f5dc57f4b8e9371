//! The responses of an authority: its directory, orders, authorizations and errors (RFC 8555 §7).
//!
//! Owns which members are read, and that a URL is one that can be asked. Leaves to `order` what follows. Invariant: lists are bounded,
//! and a token has only characters that a path may have.

use super::{Method, shown};
use crate::base::json::{self, Value};
use crate::base::time::UnixS;
use crate::limits::TLS_DOMAINS_MAX;
use crate::proto::http::client::{Endpoint, Response, RetryAfter};

/// Challenges of an authorization that are looked at; there are three kinds.
const CHALLENGES_MAX: usize = 32;
/// Bytes of a token or a nonce; both have about 40.
const TOKEN_MAX: usize = 512;
/// What the type of an error begins with (RFC 8555 §6.7).
const ERROR_PREFIX: &str = "urn:ietf:params:acme:error:";

/// The response is not what RFC 8555 says: what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected(pub &'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// RFC 9773.
    pub renewal_info: Option<String>,
    /// Accounts are given only to customers.
    pub needs_binding: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    /// `invalid`, and whatever else there is no way on from.
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderState {
    pub status: Status,
    pub authorizations: Vec<String>,
    pub finalize: String,
    pub certificate: Option<String>,
    pub error: Option<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub domain: String,
    pub status: Status,
    pub challenges: Vec<Offer>,
}

/// A challenge that the authority offers, of a kind that natter can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub method: Method,
    pub url: String,
    pub token: String,
    pub error: Option<Problem>,
}

/// An error of the authority (RFC 7807).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Without [`ERROR_PREFIX`]; empty if it is of another kind.
    pub kind: String,
    /// For the log.
    pub detail: String,
}

pub fn directory(body: &[u8]) -> Result<Directory, Unexpected> {
    let value = json::parse(body).map_err(|_| Unexpected("a directory in JSON"))?;
    let url = |name| url(&value, name);
    let missing = Unexpected("a directory with newNonce, newAccount and newOrder");
    let flag = value.get("meta").and_then(|meta| meta.get("externalAccountRequired"));
    Ok(Directory {
        new_nonce: url("newNonce").ok_or(missing)?,
        new_account: url("newAccount").ok_or(missing)?,
        new_order: url("newOrder").ok_or(missing)?,
        renewal_info: url("renewalInfo"),
        needs_binding: matches!(flag, Some(Value::Bool(true))),
    })
}

pub fn order(body: &[u8]) -> Result<OrderState, Unexpected> {
    let missing = Unexpected("an order");
    let value = json::parse(body).map_err(|_| missing)?;
    let list = value.get("authorizations").and_then(Value::as_list).ok_or(missing)?;
    if list.len() > TLS_DOMAINS_MAX {
        return Err(missing);
    }
    let authorizations = list.iter().map(|item| item.as_str().filter(|text| is_url(text)).map(str::to_owned));
    Ok(OrderState {
        status: status(&value),
        authorizations: authorizations.collect::<Option<_>>().ok_or(missing)?,
        finalize: url(&value, "finalize").ok_or(missing)?,
        certificate: url(&value, "certificate"),
        error: value.get("error").map(problem_of),
    })
}

pub fn authorization(body: &[u8]) -> Result<Authorization, Unexpected> {
    let missing = Unexpected("an authorization");
    let value = json::parse(body).map_err(|_| missing)?;
    let domain = value.get("identifier").and_then(|identifier| identifier.get("value")?.as_str());
    let challenges = value.get("challenges").and_then(Value::as_list).ok_or(missing)?;
    let offer = |item: &Value<'_>| {
        let token = item.get("token")?.as_str().filter(|token| is_token(token))?;
        Some(Offer {
            method: Method::of(item.get("type")?.as_str()?)?,
            url: url(item, "url")?,
            token: token.to_owned(),
            error: item.get("error").map(problem_of),
        })
    };
    Ok(Authorization {
        domain: domain.ok_or(missing)?.to_ascii_lowercase(),
        status: status(&value),
        challenges: challenges.iter().take(CHALLENGES_MAX).filter_map(offer).collect(),
    })
}

/// The error that a response with a status of 400 or more is.
pub fn problem(response: &Response) -> Problem {
    let mut problem = json::parse(&response.body)
        .map(|value| problem_of(&value))
        .unwrap_or(Problem { kind: String::new(), detail: String::new() });
    if problem.detail.is_empty() {
        problem.detail = format!("status {}", response.status);
    }
    problem
}

/// When the authority wants to be asked again (RFC 9110 §10.2.3).
pub fn retry_after(response: &Response, now: UnixS) -> Option<UnixS> {
    let value = response.field("retry-after")?.trim();
    RetryAfter::parse(value.as_bytes()).map(|after| after.at(now))
}

/// The nonce for the next request (RFC 8555 §6.5.1).
pub fn nonce(response: &Response) -> Option<&str> {
    response.field("replay-nonce").filter(|nonce| is_token(nonce))
}

/// The URL of what was created.
pub fn location(response: &Response) -> Option<&str> {
    response.field("location").filter(|text| is_url(text))
}

fn problem_of(value: &Value<'_>) -> Problem {
    let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type").strip_prefix(ERROR_PREFIX).unwrap_or_default();
    let kind = if kind.bytes().all(|b| b.is_ascii_alphanumeric()) { shown(kind) } else { String::new() };
    // An error of several domains says more in the errors of each (RFC 8555 §6.7.1).
    let part = value.get("subproblems").and_then(Value::as_list).and_then(|list| list.first());
    let part = part.and_then(|part| part.get("detail")?.as_str());
    let detail = match part {
        Some(part) => format!("{} ({part})", text("detail")),
        None => text("detail").to_owned(),
    };
    Problem { kind, detail: shown(&detail) }
}

fn status(value: &Value<'_>) -> Status {
    match value.get("status").and_then(Value::as_str) {
        Some("pending") => Status::Pending,
        Some("ready") => Status::Ready,
        Some("processing") => Status::Processing,
        Some("valid") => Status::Valid,
        _ => Status::Ended,
    }
}

fn url(value: &Value<'_>, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).filter(|text| is_url(text)).map(str::to_owned)
}

/// Only https (RFC 8555 §6.1).
pub fn is_url(text: &str) -> bool {
    Endpoint::resource(text).is_ok_and(|endpoint| endpoint.authority.tls)
}

/// base64url (RFC 8555 §6.5.1, §8.3).
fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_refused_and_what_is_unknown_is_ignored() {
        let good = br#"{"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o","x":1,
            "meta":{"externalAccountRequired":true}}"#;
        let read = directory(good).expect("a directory");
        assert!(read.needs_binding && read.renewal_info.is_none() && read.new_order == "https://a/o");
        for (bad, instead) in [("https://a/n", "http://a/n"), ("newOrder", "order"), ("{", "[")] {
            let text = String::from_utf8_lossy(good).replacen(bad, instead, 1);
            assert!(directory(text.as_bytes()).is_err(), "{text}");
        }
        let order_of = |text: &str| order(text.as_bytes());
        let text = r#"{"status":"ready","authorizations":["https://a/z"],"finalize":"https://a/f"}"#;
        assert_eq!(order_of(text).map(|order| order.status), Ok(Status::Ready));
        assert!(order_of(&text.replace("https://a/z", "z")).is_err());
        let many = vec![r#""https://a/z""#; TLS_DOMAINS_MAX + 1].join(",");
        assert!(order_of(&text.replace(r#""https://a/z""#, &many)).is_err());
        assert_eq!(order_of(&text.replace("ready", "new")).map(|order| order.status), Ok(Status::Ended));
    }

    #[test]
    fn a_challenge_with_a_token_that_no_path_has_is_not_offered() {
        let text = r#"{"status":"pending","identifier":{"type":"dns","value":"Chat.example.org"},"challenges":[
            {"type":"dns-01","url":"https://a/1","token":"abc"},
            {"type":"http-01","url":"https://a/2","token":"a/../b"},
            {"type":"http-01","url":"https://a/3","token":"a_b-c","error":{"type":"urn:ietf:params:acme:error:dns","detail":"no\naddress"}},
            {"type":"tls-alpn-01","url":"https://a/4","token":""}]}"#;
        let read = authorization(text.as_bytes()).expect("an authorization");
        let error = Problem { kind: "dns".to_owned(), detail: "no address".to_owned() };
        let offer = Offer {
            method: Method::Http01,
            url: "https://a/3".to_owned(),
            token: "a_b-c".to_owned(),
            error: Some(error),
        };
        assert_eq!((read.domain.as_str(), read.challenges), ("chat.example.org", vec![offer]));
    }

    #[test]
    fn a_time_to_wait_has_two_forms() {
        let after = |value: &str| {
            let fields = vec![("retry-after", value.to_owned())];
            retry_after(&Response { status: 429, fields, body: Vec::new() }, UnixS(1_000))
        };
        assert_eq!(after("120"), Some(UnixS(1_120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(UnixS(784_111_777)));
        assert_eq!(after("99999999999999999999999"), Some(UnixS(u64::MAX)));
        assert_eq!((after("soon"), after("-1"), after("")), (None, None, None));
    }

    #[test]
    fn an_error_of_any_form_has_a_text() {
        let problem = |body: &str| {
            problem(&Response { status: 403, fields: Vec::new(), body: body.as_bytes().to_vec() })
        };
        let of = |kind: &str, detail: &str| Problem { kind: kind.to_owned(), detail: detail.to_owned() };
        let text = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","subproblems":[{"detail":"of a"}]}"#;
        assert_eq!(problem(text), of("rateLimited", "too many (of a)"));
        assert_eq!(problem("<html>"), of("", "status 403"));
        assert_eq!(problem(r#"{"type":"about:blank","detail":5}"#), of("", "status 403"));
        let long = problem(&format!(r#"{{"detail":"{}"}}"#, "x".repeat(10_000))).detail;
        assert!(long.ends_with('…') && long.chars().count() == 401);
    }
}
