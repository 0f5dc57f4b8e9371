//! Tests that the server runs on when something else stops: the reader of its log, a mail server, a closed terminal.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::reload::is_detachable;
use super::support::TestDir;
use super::support::net::{Http, Received, Ws};
use super::support::process::{Launch, Natter, Signal};
use super::{client_id, post_to};

/// A server whose stderr is read up to its first address and then no more.
fn with_a_log_without_a_reader(launch: &Launch) -> (Natter, std::io::PipeReader) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut natter = launch.spawn(Stdio::from(writer));
    let mut line = Vec::new();
    while !line.ends_with(b"\n") || !String::from_utf8_lossy(&line).contains("listens on") {
        if line.ends_with(b"\n") {
            line.clear();
        }
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).expect("a log"), 1, "{}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    natter.address = super::support::process::address_in(&String::from_utf8_lossy(&line));
    (natter, reader)
}

#[test]
fn a_log_without_a_reader_does_not_stop_the_server() {
    const DROPPED: &str = "natter_log_lines_dropped_total";
    let dir = TestDir::new();
    let (mut natter, log) = with_a_log_without_a_reader(&Launch::new(dir.path()));
    let mut http = Http::connect(natter.address);
    assert_eq!(http.metric(DROPPED), 0);
    // Each request is a line. The pipe holds 64 KiB, the queue about ten thousand lines.
    let many = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let mut asked = 0;
    while http.metric(DROPPED) == 0 {
        http.send(&many).expect("sent");
        for _ in 0..100 {
            assert_eq!(http.response(false).expect("a connection").expect("a response").status, 200);
        }
        asked += 100;
        assert!(asked < 100_000, "a bound that is never reached");
    }
    assert_eq!(
        Http::connect(natter.address).ask("GET", "/healthz", &[], None).expect("a response").status,
        200
    );
    natter.signal(Signal::Term);
    drop(http);
    assert_eq!(natter.wait().code(), Some(0));
    drop(log);
}

#[test]
fn dropped_lines_are_reported_when_the_log_is_read_again() {
    let dir = TestDir::new();
    let (mut natter, log) = with_a_log_without_a_reader(&Launch::new(dir.path()));
    let mut http = Http::connect(natter.address);
    while http.metric("natter_log_lines_dropped_total") == 0 {
        (0..500).for_each(|_| drop(http.ask("GET", "/healthz", &[], None).expect("a response")));
    }
    let reading =
        std::thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>());
    natter.signal(Signal::Term);
    drop(http);
    assert_eq!(natter.wait().code(), Some(0));
    let lines = reading.join().expect("a log");
    assert!(lines.iter().any(|line| line.contains("lines were dropped")), "{:?}", lines.last());
    assert!(lines.last().is_some_and(|line| line.ends_with("stopped")), "{:?}", lines.last());
}

/// The thread of the event loop opens, reads and syncs no file, and never sleeps: every client would wait for such a call.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn the_loop_makes_no_call_that_may_block() {
    let dir = TestDir::new();
    let (source, library) = (dir.path().join("blocking_calls.c"), dir.path().join("blocking_calls.so"));
    std::fs::write(&source, include_str!("blocking_calls.c")).expect("a file");
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if !compiler.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no C compiler here");
        return;
    }
    let trace = dir.path().join("calls");
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let env = [("LD_PRELOAD", &text(&library)), ("BLOCKING_CALLS", &text(&trace))];
    let natter = Launch::new(dir.path()).with(&env.map(|(name, value)| (name, value.as_str()))).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut ws, _) = Ws::native(natter.address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        http.ask_as(&ann, method, path, body).expect("a response")
    };
    assert_eq!(
        ask("POST", "/api/v1/messages", Some(&post_to(&bob.profile, &client_id(), "hello"))).status,
        201
    );
    ws.until("event", "message.posted");
    let file = "x".repeat(2_000_000);
    let upload = super::uploads::upload(natter.address, &ann, "x.txt", file.as_bytes());
    assert_eq!(upload.status, 201, "{}", upload.text());
    assert_eq!(ask("GET", &upload.at("data.url"), None).body.len(), file.len());
    for path in
        ["/", "/docs", "/metrics", "/readyz", "/nothing", "/api/v1/search?q=hello", "/api/v1/user/sessions"]
    {
        ask("GET", path, None);
    }
    let wrong = r#"{"email":"ann@example.org","password":"not the password"}"#;
    assert_eq!(ask("POST", "/api/v1/user/sign-in", Some(wrong)).status, 401);
    assert_eq!(ask("DELETE", &format!("/api/v1/uploads/{}", upload.at("data.id")), None).status, 204);
    drop(ws);
    assert_eq!(ask("POST", "/api/v1/user/logout", None).status, 200);
    let calls = std::fs::read_to_string(&trace).expect("the library was loaded");
    assert_eq!(calls, "recording \n", "calls on the loop's thread");
    natter.stop();
}

#[test]
fn a_mail_server_that_hangs_does_not_delay_the_shutdown() {
    let dir = TestDir::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let env = [
        ("EMAIL_HOST", "127.0.0.1"),
        ("EMAIL_PORT", port.as_str()),
        ("EMAIL_TLS", "none"),
        ("EMAIL_FROM", "natter@example.org"),
    ];
    let mut natter = Launch::new(dir.path()).with(&env).start();
    Http::connect(natter.address).sign_up("ann");
    // It accepts the connection and sends nothing.
    let (_silent, _) = server.accept().expect("the mailer");
    natter.signal(Signal::Term);
    assert_eq!(natter.wait().code(), Some(0), "{:#?}", natter.log());
    let given_up = |line: &String| line.contains("not sent") || line.contains("not finished in time");
    assert!(!natter.log().iter().any(given_up), "it ended before the mail was given up: {:#?}", natter.log());
    // The mail is still stored for the next start.
    let natter = Launch::new(dir.path()).with(&env).start();
    server.accept().expect("the mailer connects again");
    natter.stop();
}

#[test]
fn a_process_that_did_not_run_keeps_its_sockets() {
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).with(&[("HEARTBEAT", "5")]).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut ws, _) = Ws::native(natter.address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    natter.signal(Signal::Stop);
    // Longer than the 2.5 heartbeats after which silence ends a stream.
    std::thread::sleep(std::time::Duration::from_secs(14));
    natter.signal(Signal::Continue);
    let body = post_to(&bob.profile, &client_id(), "after the standstill");
    let posted = Http::connect(natter.address).ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.expect("a response").status, 201);
    loop {
        match ws.receive().expect("a frame") {
            Received::Text(text) if text.contains("after the standstill") => break,
            Received::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    natter.stop();
}

/// The limit of a shutdown (30 s) counts only the time in which the process runs: here it is stopped for longer than that.
#[test]
fn a_process_that_did_not_run_finishes_its_requests_at_a_shutdown() {
    let dir = TestDir::new();
    // Slow hashes, so that the request is not answered in the turn in which its last bytes are read.
    let mut natter = Launch::new(dir.path()).with(&[("ARGON2", "16384,20,1")]).start();
    let mut http = Http::connect(natter.address);
    http.sign_up("ann");
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let expects = [("Expect", "100-continue")];
    let request = super::support::http::request("POST", "/api/v1/user/sign-in", &expects, Some(body));
    let (head, body) = request.split_at(request.len() - body.len());
    let mut waiting = Http::connect(natter.address);
    waiting.send(head).expect("sent");
    // The server has read the head: the request is one that it has begun.
    assert_eq!(waiting.response(false).expect("a connection").expect("an answer").status, 100);
    natter.signal(Signal::Term);
    natter.wait_for_line("stopping");
    natter.signal(Signal::Stop);
    waiting.send(body).expect("sent");
    std::thread::sleep(std::time::Duration::from_secs(31));
    natter.signal(Signal::Continue);
    let response = waiting.response(false).expect("a connection").expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    drop((waiting, http));
    assert_eq!(natter.wait().code(), Some(0), "{:#?}", natter.log());
    assert!(!natter.log().iter().any(|line| line.contains("not finished in time")), "{:#?}", natter.log());
}

/// A server that has no terminal continues after a hangup, whether `nohup` started it or not.
#[test]
fn a_hangup_without_a_terminal_ends_no_server() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).binary;
    for option in ["--default-signal=HUP", "--ignore-signal=HUP"] {
        let mut launch = Launch::new(dir.path());
        launch.binary = "/usr/bin/env".into();
        if launch.run(&[option, "true"]).status.code() != Some(0) {
            println!("SKIPPED: this env(1) does not support {option}");
            return;
        }
        let natter = launch.start_with(&[option, "setsid", &natter.to_string_lossy()]);
        natter.signal(Signal::Hup);
        let mut http = Http::connect(natter.address);
        assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
        natter.stop();
    }
}
