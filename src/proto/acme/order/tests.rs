//! An order against an authority that is a function: each request is looked at, and each wait is counted.

use super::*;
use crate::base::crypto::SystemEntropy;
use crate::base::crypto::p256::P256;
use crate::base::json::Value;
use crate::base::time::UnixMs;
use crate::proto::x509;
use Method::{Http01, TlsAlpn01};

const DOMAIN: &str = "chat.example.org";

fn now() -> Now {
    Now { instant: Instant::now(), unix_ms: UnixMs(1_000_000_000_000) }
}

fn new_key() -> SigningKey {
    P256::new(&SystemEntropy::new()).new_signing_key()
}

fn wanted(methods: &[Method]) -> Wanted {
    Wanted {
        directory: "https://a/dir".to_owned(),
        domains: vec![DOMAIN.to_owned()],
        contact: Some("me@example.org".to_owned()),
        updates_contact: false,
        methods: methods.to_vec(),
        replaces: None,
        account: None,
    }
}

fn response(status: u16, fields: &[(&'static str, &str)], body: &str) -> Response {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let fields = fields.chain([("replay-nonce", "fresh".to_owned())]).collect();
    Response { status, fields, body: body.as_bytes().to_vec() }
}

fn refusal(status: u16, kind: &str) -> Response {
    response(status, &[], &format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"why"}}"#))
}

fn order_body(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","authorizations":["https://a/authz"],"finalize":"https://a/fin","certificate":"https://a/cert"}}"#
    )
}

fn authorization(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","identifier":{{"type":"dns","value":"{DOMAIN}"}},"challenges":[
        {{"type":"http-01","url":"https://a/http","token":"t-http"}},
        {{"type":"tls-alpn-01","url":"https://a/alpn","token":"t-alpn"}}]}}"#
    )
}

/// What a good authority says. The second time an authorization is asked for, it is valid.
fn good(url: &str, times: usize) -> Response {
    let order = [("location", "https://a/order")];
    match url {
        // As that of Let's Encrypt, without a nonce.
        "https://a/dir" => Response {
            status: 200,
            fields: Vec::new(),
            body: br#"{"newNonce":"https://a/nonce","newAccount":"https://a/new-acct","newOrder":"https://a/new-order"}"#
                .to_vec(),
        },
        "https://a/nonce" => response(204, &[], ""),
        "https://a/new-acct" => response(201, &[("location", "https://a/acct")], "{}"),
        "https://a/new-order" => response(201, &order, &order_body("pending")),
        "https://a/authz" => response(200, &[], &authorization(["pending", "valid"][times.min(1)])),
        "https://a/http" | "https://a/alpn" | "https://a/acct" => response(200, &[], "{}"),
        "https://a/fin" | "https://a/order" => {
            response(200, &order, &order_body(["processing", "valid"][usize::from(url != "https://a/fin")]))
        }
        "https://a/cert" => response(200, &[], "the chain"),
        other => panic!("{other}"),
    }
}

/// What became of an order.
struct Ran {
    urls: Vec<String>,
    waited: Duration,
    published: Vec<Challenge>,
    result: Result<String, Failure>,
}

/// The last part of each URL that was asked for.
fn paths(ran: &Ran) -> Vec<&str> {
    ran.urls.iter().map(|url| url.trim_start_matches("https://a/")).collect()
}

/// Runs an order to its end. `authority` gets the URL and how often it was asked for before; `None` is a good answer.
fn run(wanted: Wanted, mut authority: impl FnMut(&str, usize) -> Option<Result<Response, String>>) -> Ran {
    let start = now();
    let (mut order, mut now) = (Order::new(wanted, Arc::new(new_key()), new_key(), start), start);
    let mut ran = Ran {
        urls: Vec::new(),
        waited: Duration::ZERO,
        published: Vec::new(),
        result: Err(Failure { reason: String::new(), not_before: None, of_validation: false }),
    };
    loop {
        match order.next(now) {
            Action::Request(Request { url, what }) => {
                let times = ran.urls.iter().filter(|asked| **asked == url).count();
                if let What::Post(body) = &what {
                    let sent = json::parse(body).expect("JSON");
                    assert!(sent.get("signature").and_then(Value::as_str).is_some());
                } else {
                    assert_eq!(what == What::Head, url == "https://a/nonce");
                }
                let answer = authority(&url, times).unwrap_or_else(|| Ok(good(&url, times)));
                ran.urls.push(url);
                order.answered(now, answer);
            }
            Action::Wait(at) => {
                assert!(at > now.instant, "a wait that is over");
                ran.waited += at - now.instant;
                now = now.later(at - now.instant);
            }
            Action::Publish(challenges) => {
                ran.published = challenges;
                order.published();
            }
            Action::Issued(chain) => {
                ran.result = Ok(String::from_utf8(chain).expect("UTF-8"));
                return ran;
            }
            Action::Failed(failure) => {
                ran.result = Err(failure);
                return ran;
            }
        }
    }
}

fn reason(ran: &Ran) -> &str {
    &ran.result.as_ref().expect_err("a failure").reason
}

#[test]
fn an_order_goes_its_way() {
    let ran = run(wanted(&[TlsAlpn01, Http01]), |_, _| None);
    assert_eq!(ran.result.as_deref(), Ok("the chain"));
    let way = ["dir", "nonce", "new-acct", "new-order", "authz", "alpn", "authz", "fin", "order", "cert"];
    assert_eq!(paths(&ran), way);
    let [challenge] = &ran.published[..] else { panic!("one challenge") };
    assert_eq!((challenge.method, challenge.token.as_str()), (TlsAlpn01, "t-alpn"));
    assert!(challenge.key_authorization.starts_with("t-alpn.") && challenge.domain == DOMAIN);

    let known = Wanted { account: Some("https://a/acct".to_owned()), ..wanted(&[Http01]) };
    let ran = run(known.clone(), |_, _| None);
    assert_eq!(paths(&ran)[..5], ["dir", "nonce", "new-order", "authz", "http"]);
    let ran = run(Wanted { updates_contact: true, ..known }, |_, _| None);
    assert_eq!(paths(&ran)[..4], ["dir", "nonce", "acct", "new-order"]);
}

#[test]
fn what_is_proven_is_not_proven_again() {
    let ran = run(wanted(&[Http01]), |url, _| {
        (url == "https://a/authz").then(|| Ok(response(200, &[], &authorization("valid"))))
    });
    assert!(ran.result.is_ok() && ran.published.is_empty());
    assert_eq!(paths(&ran), ["dir", "nonce", "new-acct", "new-order", "authz", "fin", "order", "cert"]);
    let ready = response(201, &[("location", "https://a/order")], &order_body("ready"));
    let ran = run(wanted(&[Http01]), |url, _| (url == "https://a/new-order").then(|| Ok(ready.clone())));
    assert_eq!(paths(&ran)[3..], ["new-order", "fin", "order", "cert"]);
}

#[test]
fn a_refused_nonce_costs_a_repeat_and_not_more_than_some() {
    let ran = run(wanted(&[Http01]), |url, times| {
        (url != "https://a/dir" && times < 3 && url != "https://a/authz")
            .then(|| Ok(refusal(400, "badNonce")))
    });
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    let ran =
        run(wanted(&[Http01]), |url, _| (url == "https://a/new-order").then(|| Ok(refusal(400, "badNonce"))));
    assert!(reason(&ran).contains("refused to take an order: why"), "{}", reason(&ran));
    let asked = ran.urls.iter().filter(|url| *url == "https://a/new-order").count();
    assert_eq!(asked, NONCE_RETRIES_MAX as usize + 1);
}

#[test]
fn a_broken_connection_is_tried_again_some_times() {
    let broken = || Some(Err("reset".to_owned()));
    // Each request fails twice, then succeeds with a nonce of its own.
    let ran = run(wanted(&[Http01]), |url, times| {
        if times < 2 && !["https://a/nonce", "https://a/authz"].contains(&url) { broken() } else { None }
    });
    assert!(ran.result.is_ok(), "{:?}", ran.result);
    assert!(ran.waited >= INTERRUPTED_WAIT * 3 * 7);
    let ran = run(wanted(&[Http01]), |url, _| if url == "https://a/fin" { broken() } else { None });
    assert_eq!(reason(&ran), "the authority can't be asked to sign the certificate: reset");
    let ran = run(wanted(&[Http01]), |url, _| {
        (url == "https://a/dir").then(|| Ok(response(503, &[("retry-after", "3600")], "")))
    });
    let failure = ran.result.expect_err("a failure");
    assert_eq!(failure.not_before, Some(UnixS(1_000_000_000 + 3_600)));
    assert_eq!(ran.urls.len(), 1, "it asked for patience");
}

#[test]
fn a_limit_ends_the_order_until_the_authority_says() {
    let ran = run(wanted(&[Http01]), |url, _| {
        let mut refusal = refusal(429, "rateLimited");
        refusal.fields.push(("retry-after", "7200".to_owned()));
        (url == "https://a/new-order").then_some(Ok(refusal))
    });
    let failure = ran.result.expect_err("a failure");
    assert_eq!((failure.not_before, failure.of_validation), (Some(UnixS(1_000_007_200)), false));
    assert_eq!(failure.reason, "the authority refused to take an order: why");
}

#[test]
fn a_failed_look_names_the_domain_and_the_reason() {
    let ran = run(wanted(&[Http01]), |url, times| {
        let error =
            r#""token":"t-http","error":{"type":"urn:ietf:params:acme:error:connection","detail":"timeout"}"#;
        let ended = authorization("invalid").replace(r#""token":"t-http""#, error);
        (url == "https://a/authz" && times == 1).then(|| Ok(response(200, &[], &ended)))
    });
    let failure = ran.result.expect_err("a failure");
    assert_eq!(failure.reason, "chat.example.org: the authority's look by http-01 failed: timeout");
    assert!(failure.of_validation);
    let ran = run(wanted(&[Http01]), |url, _| {
        let other = authorization("pending").replace("http-01", "dns-01");
        (url == "https://a/authz").then(|| Ok(response(200, &[], &other)))
    });
    assert_eq!(reason(&ran), "chat.example.org: the authority offers none of http-01");
    let ran = run(wanted(&[Http01]), |url, _| {
        let other = authorization("pending").replace(DOMAIN, "evil.example.org");
        (url == "https://a/authz").then(|| Ok(response(200, &[], &other)))
    });
    assert!(reason(&ran).contains("a domain that was ordered"));
}

#[test]
fn an_order_that_ends_or_never_ends_fails() {
    let ended = order_body("invalid").replace(r#""certificate""#, r#""error":{"detail":"CAA"},"x""#);
    let ran =
        run(wanted(&[Http01]), |url, _| (url == "https://a/order").then(|| Ok(response(200, &[], &ended))));
    assert_eq!(reason(&ran), "the order failed: CAA");
    let ran =
        run(wanted(&[Http01]), |url, _| (url == "https://a/order").then(|| Ok(refusal(404, "malformed"))));
    assert_eq!(reason(&ran), "the authority refused to sign the certificate: why");
    for slow in ["https://a/order", "https://a/authz"] {
        for wait in ["", "0", "5", "86400", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            let ran = run(wanted(&[Http01]), |url, times| {
                let body = if slow == "https://a/order" {
                    order_body("processing")
                } else {
                    authorization("pending")
                };
                (url == slow && (times > 0 || slow == "https://a/order"))
                    .then(|| Ok(response(200, &[("retry-after", wait)], &body)))
            });
            assert!(
                ran.waited >= ORDER_TIME_MAX - POLL_MAX && ran.waited <= ORDER_TIME_MAX,
                "{:?}",
                ran.waited
            );
            assert!(ran.urls.len() < EXCHANGES_MAX as usize && reason(&ran).contains("took too long to"));
        }
    }
}

#[test]
fn a_lost_answer_to_the_request_for_the_certificate_loses_nothing() {
    let ran = run(wanted(&[Http01]), |url, times| match (url, times) {
        ("https://a/fin", 0) => Some(Err("reset".to_owned())),
        ("https://a/fin", 1) => Some(Ok(refusal(403, "orderNotReady"))),
        _ => None,
    });
    assert_eq!(ran.result.as_deref(), Ok("the chain"));
}

#[test]
fn an_account_that_the_authority_forgot_is_made_again() {
    let known = Wanted { account: Some("https://a/old".to_owned()), ..wanted(&[Http01]) };
    let ran = run(known, |url, times| {
        (url == "https://a/new-order" && times == 0).then(|| Ok(refusal(400, "accountDoesNotExist")))
    });
    assert!(ran.result.is_ok());
    assert_eq!(paths(&ran)[..5], ["dir", "nonce", "new-order", "new-acct", "new-order"]);
}

#[test]
fn what_is_replaced_is_a_hint() {
    let replaces = Wanted { replaces: Some("x.y".to_owned()), ..wanted(&[Http01]) };
    let ran = run(replaces, |url, times| {
        (url == "https://a/new-order" && times == 0).then(|| Ok(refusal(409, "alreadyReplaced")))
    });
    assert!(ran.result.is_ok());
}

#[test]
fn nothing_that_an_authority_says_panics() {
    for body in ["", "{}", "[]", "null", "\u{0}", r#"{"status":"valid"}"#, &"[".repeat(10_000)] {
        for bad in ["dir", "nonce", "new-acct", "new-order", "authz", "http", "fin", "order", "cert"] {
            for status in [200, 204, 302, 400, 404, 500] {
                let ran = run(wanted(&[Http01]), |url, _| {
                    (url == format!("https://a/{bad}"))
                        .then(|| Ok(Response { status, fields: Vec::new(), body: body.as_bytes().to_vec() }))
                });
                // The answer to a response to a challenge says nothing that is needed, and a chain is the worker's to read.
                let is_needed = status >= 300 || !["http", "cert"].contains(&bad);
                assert!(ran.result.is_err() || !is_needed, "{bad} {status} {body:?}");
            }
        }
    }
}

#[test]
fn a_certificate_request_and_a_challenge_are_what_was_asked_for() {
    let key = new_key();
    let request = certificate::request(&[DOMAIN.to_owned(), "b.example".to_owned()], &key).expect("names");
    for name in [DOMAIN, "b.example"] {
        assert!(request.windows(name.len()).any(|bytes| bytes == name.as_bytes()));
    }
    assert!(request.windows(65).any(|bytes| bytes == key.public()));
    let shown = certificate::challenge(DOMAIN, "t0ken.thumb", &key).expect("a name");
    assert!(x509::facts(&shown).is_some_and(|facts| facts.has_names));
    // id-pe-acmeIdentifier (RFC 8737 §3), critical, an OCTET STRING in an OCTET STRING.
    let digest = crate::base::crypto::sha256(b"t0ken.thumb");
    let extension = [
        &[
            0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04,
            0x20,
        ][..],
        &digest,
    ]
    .concat();
    assert!(shown.windows(extension.len()).any(|bytes| bytes == extension));
    assert!(certificate::request(&["ü".to_owned()], &key).is_err());
}
