//! Where a request begins and ends, and the requests that are refused because two parsers could read them differently.

use super::Then::{Closes, Keeps};
use super::check;
use crate::support::World;

/// A route that takes a JSON body without a token and asks storage nothing if the refresh token is malformed.
const POST: &str = "POST /api/v1/user/refresh HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";

fn get(lines: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

/// Which heads are bad is the table of `proto/http/head/tests.rs`: here is one of each cause.
#[test]
fn a_broken_head_is_400_and_closes() {
    let mut world = World::new();
    let inputs = [
        get("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        get("Transfer-Encoding: chunked, gzip\r\n"),
        "GET /healthz HTTP/1.1\r\nHost: h\n\r\n".to_owned(),
        get("A: b\r\n c\r\n"),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\0\u{5}\u{1}".to_owned(),
    ];
    for input in inputs {
        check(&mut world, input, 400, "bad_request", Closes);
    }
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn unsupported_versions_and_codings_are_refused() {
    let mut world = World::new();
    check(&mut world, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported", Closes);
    check(&mut world, get("Transfer-Encoding: gzip, chunked\r\n"), 501, "not_implemented", Closes);
    for method in ["BREW", "get"] {
        let input = format!("{method} /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
        check(&mut world, input, 501, "not_implemented", Keeps);
    }
}

/// Which chunks are bad is the table of `proto/http/body.rs`.
#[test]
fn a_broken_chunk_is_400_and_closes() {
    let mut world = World::new();
    let chunked = |body: &str| format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}");
    let long_line = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(300));
    let trailers = format!("2\r\n{{}}\r\n0\r\nA: {}\r\n\r\n", "b".repeat(4_200));
    for body in
        ["+2\r\n{}\r\n0\r\n\r\n", "2\r\n{}}\r\n0\r\n\r\n", "2\r\n{}\r\n0\n\r\n", &long_line, &trailers]
    {
        check(&mut world, chunked(body), 400, "bad_request", Closes);
    }
}

/// A broken chunk is detected even if the body is not used: otherwise its rest would be read as the next request.
#[test]
fn a_broken_chunk_is_400_also_if_the_body_is_ignored() {
    let mut world = World::new();
    let input = get("Transfer-Encoding: chunked\r\n");
    check(&mut world, format!("{input}2\r\n{{}}\r\n0\r\n\r\n"), 200, "", Keeps);
    check(&mut world, format!("{input}2\r\n{{}}X"), 400, "bad_request", Closes);
    // Refused before the body is read, but the part that had arrived was already broken.
    for (head, status) in [
        ("POST /api/v1/messages HTTP/1.1\r\nHost: h\r\n", 401),
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\n", 404),
        ("DELETE /healthz HTTP/1.1\r\nHost: h\r\n", 405),
        ("OPTIONS /healthz HTTP/1.1\r\nHost: h\r\n", 204),
        ("BREW /healthz HTTP/1.1\r\nHost: h\r\n", 501),
    ] {
        let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let next = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
        let complete = format!("{head}2\r\n{{}}\r\n0\r\n\r\n{next}");
        let (all, then) = super::play(&mut world, &[complete.as_bytes()]);
        assert_eq!((all.len(), all[0].status, all[1].status, then), (2, status, 200, Keeps), "{head}");
        let broken = format!("{head}2\r\n{{}}XX{next}");
        let (all, then) = super::play(&mut world, &[broken.as_bytes()]);
        assert_eq!((all.len(), all[0].status, then), (1, 400, Closes), "{head}");
        // Answered before the fault was visible: nothing after it is taken for a request.
        let (all, then) = super::play(&mut world, &[head.as_bytes(), &broken.as_bytes()[head.len()..]]);
        assert_eq!((all.len(), all[0].status, then), (1, status, Closes), "{head}");
    }
}

#[test]
fn well_formed_requests_are_answered() {
    let mut world = World::new();
    for input in [
        get(""),
        format!("\r\n{}", get("")),
        get("A:b\r\nC: \t d \t\r\nEmpty:\r\n"),
        get("Content-Length: 0\r\n"),
        format!("{}abc", get("Content-Length: 3\r\n")),
        format!("{}0\r\n\r\n", get("Transfer-Encoding: chunked\r\n")),
        format!("{}3;a;b=c;d=\"e f\"\r\nabc\r\n0\r\nA: b\r\n\r\n", get("transfer-encoding: CHUNKED\r\n")),
        "GET http://h/healthz HTTP/1.1\r\nHost: other\r\n\r\n".to_owned(),
        "GET /%68ealth%7A HTTP/1.1\r\nHost: h:80\r\n\r\n".to_owned(),
        "GET /healthz?a=b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.9\r\nHost: h\r\n\r\n".to_owned(),
        get("Connection: keep-alive\r\n"),
        "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ] {
        let response = check(&mut world, input, 200, "", Keeps);
        assert_eq!(response.text(), r#"{"data":{"status":"ok"}}"#);
        assert_eq!(response.field("Content-Length"), Some("24"));
    }
    for input in [
        get("Connection: close\r\n"),
        get("Connection: Keep-Alive, CLOSE\r\n"),
        "GET /healthz HTTP/1.0\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.0\r\nConnection: close\r\n\r\n".to_owned(),
    ] {
        check(&mut world, input, 200, "", Closes);
    }
    let kept = "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(check(&mut world, kept, 200, "", Keeps).field("Connection"), Some("keep-alive"));
    for path in ["/healthz/", "//healthz", "/a/../healthz", "/health%2fz", "/Healthz"] {
        check(&mut world, format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"), 404, "not_found", Keeps);
    }
}

#[test]
fn heads_are_bounded() {
    let mut world = World::new();
    let max = 16_384;
    let padded = |len: usize| {
        let bare = get("A: \r\n").len();
        get(&format!("A: {}\r\n", "b".repeat(len - bare)))
    };
    assert_eq!(padded(max).len(), max);
    check(&mut world, padded(max - 1), 200, "", Keeps);
    check(&mut world, padded(max), 200, "", Keeps);
    check(&mut world, padded(max + 1), 431, "head_too_large", Closes);
    check(&mut world, padded(3 * max), 431, "head_too_large", Closes);
    let fields = |count: usize| get(&"A: b\r\n".repeat(count - 1));
    check(&mut world, fields(63), 200, "", Keeps);
    check(&mut world, fields(64), 200, "", Keeps);
    check(&mut world, fields(65), 431, "head_too_large", Closes);
    let target = |len: usize| format!("GET /healthz?{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(len - 9));
    check(&mut world, target(8_191), 200, "", Keeps);
    check(&mut world, target(8_192), 200, "", Keeps);
    check(&mut world, target(8_193), 414, "target_too_long", Closes);
    check(&mut world, target(40_000), 414, "target_too_long", Closes);
    check(
        &mut world,
        format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "A".repeat(65)),
        400,
        "bad_request",
        Closes,
    );
}
