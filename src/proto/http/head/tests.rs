//! Tests of the head parser: the content of each head, the error of each bad one, and that no split changes them.

use proptest::prelude::*;

use super::*;

const HEAD_MAX: usize = 16_384;

/// Passes `pieces` of the input to the reader, each longer than the one before, then all of it.
fn run(input: &[u8], head_max: usize, pieces: &[usize]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut reader = HeadReader::new();
    for &upto in pieces {
        if let Some(read) = reader.read(&input[..upto], head_max)? {
            return Ok(Some(read));
        }
    }
    reader.read(input, head_max)
}

/// The status of a refusal, as the server answers it.
fn status(error: HeadError) -> u16 {
    match error {
        HeadError::Bad(_) => 400,
        HeadError::TargetTooLong => 414,
        HeadError::TooLarge => 431,
        HeadError::VersionNotSupported => 505,
        HeadError::CodingNotImplemented => 501,
    }
}

/// Reads the input in one piece, byte by byte, and split in two at every byte (every 97th of a long one): the result is the
/// same.
fn parse(input: &[u8], head_max: usize) -> Result<Option<(Head, usize)>, u16> {
    let verdict = |pieces: &[usize]| run(input, head_max, pieces).map_err(status);
    let at_once = verdict(&[]);
    let drip: Vec<usize> = (0..input.len()).collect();
    let text = String::from_utf8_lossy(&input[..input.len().min(500)]);
    assert_eq!(verdict(&drip), at_once, "{text:?}, drip");
    for at in (0..input.len()).step_by(if input.len() < 500 { 1 } else { 97 }) {
        assert_eq!(verdict(&[at]), at_once, "{text:?} split at {at}");
    }
    at_once
}

fn accept(input: &str) -> Head {
    let piped = format!("{input}GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, taken) = parse(piped.as_bytes(), HEAD_MAX).expect(input).expect(input);
    assert_eq!(taken, input.len(), "{input:?}");
    head
}

fn refuse(status: u16, input: &str) {
    assert_eq!(parse(input.as_bytes(), HEAD_MAX), Err(status), "{input:?}");
}

/// A GET in HTTP/1.1 with a Host and these lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

#[test]
fn a_head_has_method_target_fields_and_framing() {
    let head = accept("POST /a?b=c HTTP/1.1\r\nhOST: H:80\r\nX-One:1\r\nx-two: \t 2 \t\r\nEmpty:\r\n\r\n");
    assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
    assert_eq!((head.target.path(), head.target.query()), ("/a", Some("b=c")));
    let fields: Vec<_> = head.headers.iter().collect();
    assert_eq!(fields, [("hOST", "H:80"), ("X-One", "1"), ("x-two", "2"), ("Empty", "")]);
    assert_eq!(head.host.as_deref(), Some("h:80"));
    assert_eq!((head.framing, head.keep_alive, head.expect), (Framing::Empty, true, Expect::None));
    for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        assert_eq!(accept(&format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n")).method.as_str(), name);
    }
    assert_eq!(accept("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").method, Method::Connect);
    for name in ["get", "BREW", "M-SEARCH", &"A".repeat(METHOD_MAX)] {
        assert_eq!(
            accept(&format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n")).method,
            Method::Unknown,
            "{name}"
        );
    }
}

#[test]
fn bytes_of_other_codings_are_kept_apart_from_text() {
    let (head, _) =
        parse(b"GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa9 \xff\r\n\r\n", HEAD_MAX).unwrap().unwrap();
    assert_eq!(head.headers.get("a"), Some("é \u{fffd}"));
}

#[test]
fn heads_follow_each_other() {
    let mut reader = HeadReader::new();
    let (one, two) = ("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", "\r\nGET /2 HTTP/1.0\r\n\r\n");
    let piped = [one, two, "G"].concat();
    let (head, taken) = reader.read(piped.as_bytes(), HEAD_MAX).unwrap().unwrap();
    assert_eq!((head.target.path(), taken), ("/1", one.len()));
    let (head, taken) = reader.read(&piped.as_bytes()[one.len()..], HEAD_MAX).unwrap().unwrap();
    assert_eq!((head.target.path(), taken), ("/2", two.len()));
    assert_eq!(reader.read(b"G", HEAD_MAX), Ok(None));
}

#[test]
fn one_empty_line_before_a_request_is_ignored() {
    assert_eq!(accept(&format!("\r\n{}", with(""))).method, Method::Get);
    refuse(400, &format!("\r\n\r\n{}", with("")));
    refuse(400, &format!("\n{}", with("")));
    refuse(400, &format!("\r{}", with("")));
    refuse(400, &format!(" {}", with("")));
    let reader = HeadReader::new();
    for (bytes, expect) in
        [("", false), ("\r", false), ("\r\n", false), ("\r\n\r", false), ("\r\nG", true), ("G", true)]
    {
        assert_eq!(reader.is_partial(bytes.as_bytes()), expect, "{bytes:?}");
    }
    assert_eq!(parse(b"\r\n", HEAD_MAX), Ok(None));
}

#[test]
fn request_lines_are_read_one_way_or_not_at_all() {
    for line in [
        "GET /",
        "GET",
        "GET ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / HTTP/a.b",
        "GET / HTTP /1.1",
        "GET / ",
        "GET HTTP/1.1",
        "GET /a b HTTP/1.1",
        " ",
        "G(T / HTTP/1.1",
        "\u{1}\u{2}",
        "GET /\u{7f} HTTP/1.1",
        "GET /é HTTP/1.1",
        "GET /# HTTP/1.1",
        "GET * HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "GET \\ HTTP/1.1",
        "é / HTTP/1.1",
        "GET / HTTP/é.1",
        ": / HTTP/1.1",
    ] {
        refuse(400, &format!("{line}\r\nHost: h\r\n\r\n"));
    }
    for line in ["PRI * HTTP/2.0", "GET / HTTP/2.0", "GET /# HTTP/9.9", "GET / HTTP/0.9", "GET / HTTP/3.1"] {
        refuse(505, &format!("{line}\r\n\r\n"));
    }
    assert_eq!(accept("GET / HTTP/1.2\r\nHost: h\r\n\r\n").version, Version::Http11);
}

#[test]
fn lines_end_with_crlf_alone() {
    for text in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\rHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\rx",
        "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        refuse(400, text);
    }
    for line in [
        "A: b\rc",
        "A: b\nc",
        "A: b\0c",
        "A: b\u{1}c",
        "A: b\u{b}",
        "A: b\u{c}",
        "A: b\u{7f}",
        "A : b",
        "A\t: b",
        "A",
        "A b: c",
        " A: b",
        "\tA: b",
        ": b",
        "A[: b",
        "é: b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\r\n ",
    ] {
        refuse(400, &with(&format!("{line}\r\n")));
    }
}

#[test]
fn a_bad_head_is_refused_before_its_end() {
    for text in [
        "GET /a\0",
        "G\n",
        "\r\n\r\n",
        "\r\n\rx",
        "\rx",
        "GET /\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n",
        "GET / HTTP/1.1\r\nA: b\r\nA: b\n",
        &"A".repeat(METHOD_MAX + 1),
        "\u{16}\u{3}\u{1}\0",
    ] {
        refuse(400, text);
    }
    refuse(505, "PRI * HTTP/2.0\r\n");
    for text in [
        "",
        "G",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\r\nA: b\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\r",
    ] {
        assert_eq!(parse(text.as_bytes(), HEAD_MAX), Ok(None), "{text:?}");
    }
}

#[test]
fn host_is_required_once_and_valid() {
    let host = |lines: &str| accept(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).host;
    assert_eq!(host("Host: Natter.Example:8080\r\n").as_deref(), Some("natter.example:8080"));
    assert_eq!(host("Host: [::1]:1\r\n").as_deref(), Some("[::1]:1"));
    assert_eq!(accept("GET / HTTP/1.0\r\n\r\n").host, None);
    assert_eq!(accept("GET http://T:1/ HTTP/1.1\r\nHost: other\r\n\r\n").host.as_deref(), Some("t:1"));
    assert_eq!(accept("GET http://t/ HTTP/1.0\r\n\r\n").host.as_deref(), Some("t"));
    for lines in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: [::1\r\n",
        "Host: http://a\r\n",
        "Host: é\r\n",
    ] {
        refuse(400, &format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        refuse(400, &format!("GET http://a/ HTTP/1.1\r\n{lines}\r\n"));
    }
    refuse(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n");
    refuse(400, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n");
}

#[test]
fn a_body_has_one_length() {
    let check = |lines: &str, expect: Framing| assert_eq!(accept(&with(lines)).framing, expect, "{lines:?}");
    check("Content-Length: 0\r\n", Framing::Length(0));
    check("content-length:\t5 \r\n", Framing::Length(5));
    check("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX));
    check("Content_Length: 5\r\n", Framing::Empty);
    check("Transfer-Encoding: chunked\r\n", Framing::Chunked);
    check("TRANSFER-ENCODING:\tChunked \r\n", Framing::Chunked);
    for value in [
        "",
        "+5",
        "-5",
        "-0",
        "5,5",
        "5, 5",
        "5;",
        "0x5",
        "5.0",
        "5 5",
        "1_0",
        "a",
        "05",
        "00",
        "é",
        "18446744073709551616",
        "99999999999999999999",
    ] {
        refuse(400, &with(&format!("Content-Length: {value}\r\n")));
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked \u{e9}\r\n",
    ] {
        refuse(400, &with(lines));
    }
    refuse(400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    for value in ["gzip", "xchunked", "identity", "gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        refuse(501, &with(&format!("Transfer-Encoding: {value}\r\n")));
    }
}

#[test]
fn the_connection_stays_or_closes() {
    for (version, lines, expect) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE ,y\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = accept(&format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n"));
        assert_eq!(head.keep_alive, expect, "{version} {lines}");
    }
}

#[test]
fn an_expectation_is_met_or_refused() {
    for (lines, expect) in [
        ("", Expect::None),
        ("Expect:\r\n", Expect::None),
        ("Expect: 100-Continue\r\n", Expect::Continue),
        ("Expect: 100-continue, 100-continue\r\n", Expect::Continue),
        ("Expect: 200-ok\r\n", Expect::Unsupported),
        ("Expect: 100-continue, b=c\r\n", Expect::Unsupported),
        ("Expect: 100-continue\r\nExpect: x\r\n", Expect::Unsupported),
    ] {
        assert_eq!(accept(&with(lines)).expect, expect, "{lines}");
        assert_eq!(accept(&format!("GET / HTTP/1.0\r\n{lines}\r\n")).expect, Expect::None);
    }
}

#[test]
fn sizes_are_bounded_at_below_and_above() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(len - 1));
    assert_eq!(accept(&target(TARGET_MAX)).target.path().len(), TARGET_MAX);
    refuse(414, &target(TARGET_MAX + 1));
    refuse(414, &target(100_000));
    refuse(414, &format!("GET /{}", "a".repeat(TARGET_MAX)));
    let padded = |len: usize| {
        let bare = with("A: \r\n");
        bare.replace("A: ", &format!("A: {}", "b".repeat(len - bare.len())))
    };
    assert_eq!(
        parse(padded(HEAD_MAX).as_bytes(), HEAD_MAX).map(|read| read.map(|r| r.1)),
        Ok(Some(HEAD_MAX))
    );
    assert!(parse(format!("\r\n{}", padded(HEAD_MAX)).as_bytes(), HEAD_MAX).is_ok());
    refuse(431, &padded(HEAD_MAX + 1));
    refuse(431, &padded(100_000));
    refuse(431, &padded(100_000)[..HEAD_MAX]);
    assert_eq!(parse(&padded(100_000).as_bytes()[..HEAD_MAX - 1], HEAD_MAX), Ok(None));
    // The first error in the order of the bytes is reported.
    refuse(400, &padded(HEAD_MAX + 1).replacen("A: ", "B : c\r\nA: ", 1));
    refuse(431, &format!("{}B : c\r\n\r\n", padded(HEAD_MAX + 1).trim_end_matches("\r\n")));
    refuse(400, &"A".repeat(100_000));
    // Host is one of them.
    let headers = |count: usize| with(&"A: b\r\n".repeat(count - 1));
    assert_eq!(accept(&headers(HEADERS_MAX)).headers.len(), HEADERS_MAX);
    refuse(431, &headers(HEADERS_MAX + 1));
    refuse(431, &headers(10_000)[..600]);
}

#[test]
fn debug_of_a_head_shows_no_secret() {
    let head = accept("GET /ws?access=SECRET HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer SECRET\r\n\r\n");
    let text = format!("{head:?}");
    assert!(!text.contains("SECRET") && text.contains("Authorization"), "{text}");
    let mut reader = HeadReader::new();
    assert_eq!(reader.read(b"GET /ws?access=SECRET HTTP/1.1\r\nA:", HEAD_MAX), Ok(None));
    assert!(!format!("{reader:?}").contains("SECRET"));
}

/// Bytes that are heads, almost heads, or neither.
fn almost_a_head() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b=%41 HTTP/1.0\r\n",
        "Host: h\r\n",
        "Content-Length: 5\r\n",
        "\r\n",
        "\r\n\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "A: b\r\n",
        "\r",
        "\n",
        " ",
        ":",
        "%",
        "é",
        "HTTP/2.0",
        "GET ",
        "/",
        "*",
        "http://h",
        "Connection: close\r\n",
        "aaaaaaaaaaaaaaaaaaaa",
        "\0",
        ",",
    ]);
    let piece = prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_split_changes_the_verdict(
        mut start in prop_oneof![Just(&b""[..]), Just(&b"GET / HTTP/1.1\r\nHost: h\r\n"[..])].prop_map(<[u8]>::to_vec),
        rest in almost_a_head(),
        head_max in prop_oneof![Just(HEAD_MAX), 1..80_usize],
    ) {
        start.extend(rest);
        if let Ok(Some((head, taken))) = parse(&start, head_max) {
            prop_assert!(start[..taken].ends_with(b"\r\n\r\n") && taken <= head_max + 2);
            prop_assert!(head.headers.len() <= HEADERS_MAX);
            let _ = (head.target.segments(), head.target.query_pairs(), head.target.redacted());
        }
        let _ = parse(&start[start.len() / 2..], head_max);
    }
}
