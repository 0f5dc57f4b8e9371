//! Tests of an orderly shutdown: open requests are completed, every client is notified, and the status is 0.

use std::io::Write;
use std::time::{Duration, Instant};

use super::support::TestDir;
use super::support::net::{Http, Received, Ws, at};
use super::support::process::{Launch, Signal};
use super::{client_id, post_to};

#[test]
fn sigterm_completes_open_requests_and_notifies_every_socket() {
    for signal in [Signal::Term, Signal::Int] {
        let dir = TestDir::new();
        // Slow hashes, so that a sign-in is not complete when the signal arrives.
        let mut natter = Launch::new(dir.path()).with(&[("ARGON2", "16384,20,1")]).start();
        let mut http = Http::connect(natter.address);
        let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
        let (mut native, _) = Ws::native(natter.address, &ann.access, None).expect("a socket");
        let target = format!("/api/v1/ws/{}/{}", bob.profile, ann.profile);
        let mut pair =
            Ws::open(natter.address, &target, &bob.access).expect("a connection").expect("a socket");
        assert_eq!(pair.text(), "[]");
        let mut idle = Http::connect(natter.address);
        assert_eq!(idle.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
        let mut waiting = Http::connect(natter.address);
        assert_eq!(waiting.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
        let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
        let request = super::support::http::request("POST", "/api/v1/user/sign-in", &[], Some(body));
        waiting.send(&request).expect("sent");
        // It has begun when a later request of another open connection is answered: one loop reads in order.
        assert_eq!(idle.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
        natter.signal(signal);
        let asked = Instant::now();
        let response = waiting.response(false).expect("a connection").expect("an answer");
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
        for ws in [&mut native, &mut pair] {
            let mut received = ws.receive().expect("a frame");
            while let Received::Text(_) = received {
                received = ws.receive().expect("a frame");
            }
            let Received::Close(1001, reason) = received else { panic!("1001, not {received:?}") };
            assert!(at(&reason, "retry_after_ms").parse::<u64>().is_ok(), "{reason}");
        }
        assert!(idle.rest().expect("a clean end").is_empty());
        drop(http);
        // Clients that received the close frame and do not close delay the end only for a moment.
        let status = natter.wait();
        assert_eq!(status.code(), Some(0), "{:#?}", natter.log());
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        assert!(natter.log().last().is_some_and(|line| line.ends_with("stopped")), "{:#?}", natter.log());
        drop((native, pair, waiting));
        // After a checkpoint the next start has nothing to recover.
        let wal = dir.path().join("data/natter.db-wal");
        assert_eq!(wal.metadata().map_or(0, |wal| wal.len()), 0);
    }
}

#[test]
fn no_new_connection_is_served_during_shutdown() {
    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).start();
    // A request without its body keeps the server draining.
    let mut slow = Http::connect(natter.address);
    slow.send(b"POST /api/v1/user/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .expect("sent");
    let mut idle = Http::connect(natter.address);
    assert_eq!(idle.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    natter.signal(Signal::Term);
    natter.wait_for_line("stopping");
    // Refused by the kernel; or, between the log line and the end of the listener, accepted and not answered.
    let late = Http::try_connect(natter.address).map(|mut late| {
        let _ = late.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); // the server may have ended already
        late
    });
    natter.signal(Signal::Term);
    let status = natter.wait();
    assert_eq!(status.code(), Some(130), "{:#?}", natter.log());
    assert!(!matches!(late.map(|mut late| late.response(false)), Ok(Ok(Some(_)))));
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = TestDir::new();
    let mut natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let posted = http
        .ask_as(&ann, "POST", "/api/v1/messages", Some(&post_to(&bob.profile, &client_id(), "before")))
        .expect("a response");
    assert_eq!(posted.status, 201);
    let mut slow = Http::connect(natter.address);
    slow.stream
        .write_all(b"POST /api/v1/user/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .expect("sent");
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    natter.signal(Signal::Term);
    natter.wait_for_line("stopping");
    let began = Instant::now();
    natter.signal(Signal::Int);
    assert_eq!(natter.wait().code(), Some(130), "{:#?}", natter.log());
    assert!(began.elapsed() < Duration::from_secs(5), "it did not end at once: {:?}", began.elapsed());
    // As after any crash, every answered message is stored.
    let natter = Launch::new(dir.path()).start();
    let list =
        Http::connect(natter.address).ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(list.at("data.0.last_message.body"), "before");
}
