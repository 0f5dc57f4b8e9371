//! Tests with real sockets: kept-alive, slow, half-closed, and very many.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use super::support::TestDir;
use super::support::net::{Http, PATIENCE, Received, Ws, at};
use super::support::process::{Launch, is_left_out_over_tls, is_over_tls};
use super::{client_id, post_to};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    for _ in 0..3 {
        assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    }
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let mut all = Vec::new();
    for i in 0..50 {
        let bearer = format!("Bearer {}", ann.access);
        let body = post_to(&bob.profile, &client_id(), &i.to_string());
        let fields = [("Authorization", bearer.as_str()), ("X-Request-Id", &format!("r{i}"))];
        all.extend(super::support::http::request("POST", "/api/v1/messages", &fields, Some(&body)));
    }
    http.send(&all).expect("sent");
    for i in 0..50 {
        let response = http.response(false).expect("a connection").expect("a response");
        assert_eq!((response.status, response.at("data.n")), (201, (i + 1).to_string()));
        assert_eq!(response.field("x-request-id"), Some(format!("r{i}").as_str()));
    }
    http.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(http.response(false).expect("a connection").expect("a response").status, 200);
    assert!(http.response(false).expect("a clean end").is_none());
}

#[test]
fn a_request_may_come_byte_by_byte_while_others_are_served() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let (mut slow, mut quick) = (Http::connect(natter.address), Http::connect(natter.address));
    let body = r#"{"email":"nobody@example.org","password":"not the password"}"#;
    let request = super::support::http::request("POST", "/api/v1/user/sign-in", &[], Some(body));
    for byte in request {
        slow.send(&[byte]).expect("sent");
        assert_eq!(quick.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    }
    let response = slow.response(false).expect("a connection").expect("a response");
    assert_eq!((response.status, response.code()), (401, "email_password_wrong".into()));
}

#[test]
fn a_peer_that_sends_no_more_still_gets_its_answers() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    http.send(&GET.repeat(3)).expect("sent");
    http.stream.shutdown(Shutdown::Write).expect("shut");
    for _ in 0..3 {
        assert_eq!(http.response(false).expect("a connection").expect("a response").status, 200);
    }
    assert!(http.response(false).expect("a clean end").is_none());
    // An incomplete request and an end: there is no response, and the connection ends.
    let mut http = Http::connect(natter.address);
    http.send(b"GET /healthz HT").expect("sent");
    http.stream.shutdown(Shutdown::Write).expect("shut");
    let rest = http.rest().expect("a clean end");
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_peer_that_reads_late_loses_nothing() {
    // A forwarder to TLS buffers too.
    let posts: u64 = if is_over_tls() { 600 } else { 200 };
    let dir = TestDir::new();
    let env = [("SEND_QUEUE_MAX", "65536"), ("MESSAGE_MAX", "60000"), ("WS_MESSAGE_MAX", "65536")];
    let natter = Launch::new(dir.path()).with(&env).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    // In total far more than the buffers of a socket: the receiver is closed 4408, but misses no event.
    let text = "x".repeat(40_000);
    let (mut ws, epoch) = Ws::native(natter.address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    for _ in 0..posts {
        let body = post_to(&bob.profile, &client_id(), &text);
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        assert_eq!(posted.status, 201);
    }
    let (mut seq, mut received, mut closed) = (0, 0, 0);
    while received < posts {
        match ws.receive().expect("a frame") {
            Received::Text(text) if text.contains("message.posted") => {
                let next: u64 = at(&text, "seq").parse().expect("a seq");
                assert!(next > seq, "{next} after {seq}");
                seq = next;
                received += 1;
            }
            Received::Text(_) => {}
            Received::Close(4408, _) | Received::End => {
                let cursor = format!("{epoch}:{seq}");
                (ws, _) = Ws::native(natter.address, &bob.access, Some(&cursor)).expect("a socket");
                closed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(closed > 0, "it was too slow, and received the close code");
    natter.stop();
}

#[test]
fn many_connections_are_served_at_once() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let mut sockets: Vec<Ws> = (0..300)
        .map(|_| {
            let (mut ws, _) = Ws::native(natter.address, &bob.access, None).expect("a socket");
            ws.until("event", "caught_up");
            ws
        })
        .collect();
    let body = post_to(&bob.profile, &client_id(), "to all of you");
    let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201);
    for ws in &mut sockets {
        let text = ws.text();
        assert_eq!(
            (at(&text, "event"), at(&text, "data.body")),
            ("message.posted".into(), "to all of you".into())
        );
    }
    drop(sockets);
    // Hundreds that end without a close do not affect other connections.
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    natter.stop();
}

#[test]
fn at_the_limit_of_connections_idle_ones_are_closed_and_streams_are_not() {
    if is_left_out_over_tls("a connection beyond the limit gets no answer: see https") {
        return;
    }
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).with(&[("CONNECTIONS_MAX", "9")]).start();
    let mut idle: Vec<Http> = (0..9).map(|_| Http::connect(natter.address)).collect();
    for http in &mut idle {
        assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    }
    let mut newcomer = Http::connect(natter.address);
    assert_eq!(newcomer.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    assert!(idle.remove(0).rest().expect("a clean end").is_empty(), "the one that idled for longest");
    let ann = newcomer.sign_up("ann");
    let streams: Vec<Ws> =
        (0..8).map(|_| Ws::native(natter.address, &ann.access, None).expect("a socket").0).collect();
    // Its own connection is the last one that is not a stream: it is closed, and after it no other one is.
    let last = Ws::native(natter.address, &ann.access, None).expect("a socket");
    let mut refused = Http::connect(natter.address);
    let response = refused.response(false).expect("a connection").expect("a prompt response");
    assert_eq!(
        (response.status, response.code(), response.field("retry-after")),
        (503, "busy".into(), Some("1"))
    );
    assert!(refused.rest().expect("a clean end").is_empty());
    drop((streams, last));
    let until = Instant::now() + PATIENCE;
    while !matches!(Http::connect(natter.address).ask("GET", "/healthz", &[], None), Ok(response) if response.status == 200)
    {
        assert!(Instant::now() < until, "room again");
    }
    natter.stop();
}

#[test]
fn one_address_cannot_use_all_connections() {
    if is_left_out_over_tls("a connection beyond the limit gets no answer: see https") {
        return;
    }
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).with(&[("CONNECTIONS_PER_ADDRESS", "4")]).start();
    let mut open: Vec<Http> = Vec::new();
    for _ in 0..4 {
        let mut http = Http::connect(natter.address);
        assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
        open.push(http);
    }
    let mut fifth = Http::connect(natter.address);
    let response = fifth.response(false).expect("a connection").expect("a prompt response");
    assert_eq!((response.status, response.code()), (429, "rate_limited".into()));
    open.pop();
    let until = Instant::now() + PATIENCE;
    // The loop has not read the end of the fourth yet; soon another one is accepted.
    while !matches!(Http::connect(natter.address).ask("GET", "/healthz", &[], None), Ok(response) if response.status == 200)
    {
        assert!(Instant::now() < until, "room again");
    }
    natter.stop();
}

#[test]
fn a_head_that_never_ends_gets_a_408() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    let mut partial = Http::connect(natter.address);
    partial.stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").expect("sent");
    let response = partial.response(false).expect("a connection").expect("a response");
    assert_eq!((response.status, response.code()), (408, "request_timeout".into()));
    assert!(partial.rest().expect("a clean end").is_empty());
    natter.stop();
}

/// `r` in the `RateLimit` of the response: how much of the budget is left.
fn left(http: &mut Http, fields: &[(&str, &str)]) -> u32 {
    let health = http.ask("GET", "/healthz", fields, None).expect("a response");
    assert!(health.status == 200 || health.status == 429, "{}", health.status);
    let field = health.field("ratelimit").expect("a rate").to_owned();
    let (_, rest) = field.split_once("r=").expect("the rest of the budget");
    rest.split(';').next().and_then(|left| left.parse().ok()).expect("a number")
}

/// One subscriber has a complete /64, so it has one budget; any other network has another. The test uses real addresses of real
/// sockets, which are IPv6-mapped IPv4 addresses on a dual-stack socket.
#[test]
fn addresses_of_ipv6_are_counted_by_their_64() {
    if is_left_out_over_tls("a forwarder has one address") {
        return;
    }
    const BURST: u32 = 60;
    let rated = |dir: &TestDir, host: &str, trusted: &str| {
        let env =
            [("RATE_LIMIT", "on"), ("RATE_ADDRESS", "1/60"), ("HOST", host), ("TRUSTED_PROXIES", trusted)];
        Launch::new(dir.path()).with(&env).start()
    };
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("SKIPPED: no IPv6 here; the same through the server alone is tested in tests/http");
        return;
    }
    let dir = TestDir::new();
    let natter = rated(&dir, "::1", "::1");
    assert!(natter.address.is_ipv6());
    let mut http = Http::connect(natter.address);
    let spend = |http: &mut Http, fields: &[(&str, &str)]| {
        (0..BURST * 2).any(|_| left(http, fields) == 0).then_some(()).expect("the budget is used up");
    };
    spend(&mut http, &[("X-Forwarded-For", "2001:db8:0:1::1")]);
    // During this test a budget regains one a second: that of an address in the same /64 is empty or nearly empty, that of
    // another network is full.
    for (same, other) in [
        (("X-Forwarded-For", "2001:db8:0:1:ffff::2"), ("X-Forwarded-For", "2001:db8:0:2::1")),
        (("X-Forwarded-For", "[2001:db8:0:1::3]:4711"), ("X-Forwarded-For", "[2001:db8:0:3::1]:4711")),
        (("Forwarded", "for=\"[2001:db8:0:1::4]\""), ("Forwarded", "for=\"[2001:db8:0:4::1]\"")),
    ] {
        let (same, other) = (left(&mut http, &[same]), left(&mut http, &[other]));
        assert!(same < BURST / 2 && other == BURST - 1, "{same} and {other} left");
    }
    // Requests of the proxy itself, on any connection, use its own budget.
    spend(&mut http, &[]);
    let mut another = Http::connect(natter.address);
    assert!(left(&mut another, &[]) < BURST / 2);
    natter.stop();

    // The forwarded address of a proxy that is not trusted is ignored.
    let natter = rated(&dir, "::1", "127.0.0.1");
    let mut http = Http::connect(natter.address);
    spend(&mut http, &[("X-Forwarded-For", "2001:db8:0:1::1")]);
    assert!(left(&mut http, &[("X-Forwarded-For", "2001:db8:0:2::1")]) < BURST / 2);
    natter.stop();

    // An IPv4 peer on an IPv6 socket is that IPv4 peer: the trusted one, or one budget.
    let natter = rated(&dir, "::ffff:127.0.0.1", "127.0.0.1");
    let address = SocketAddr::from(([127, 0, 0, 1], natter.address.port()));
    let mut http = Http::connect(address);
    spend(&mut http, &[("X-Forwarded-For", "192.0.2.1")]);
    assert!(left(&mut http, &[("X-Forwarded-For", "::ffff:192.0.2.1")]) < BURST / 2);
    assert_eq!(left(&mut http, &[("X-Forwarded-For", "192.0.2.2")]), BURST - 1);
    natter.stop();
}
