//! Tests of mails and look-ups of places with the real binary: it uses its configuration.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::support::TestDir;
use super::support::net::{Http, PATIENCE};
use super::support::process::{Launch, Signal};

/// The text of the mailbox file, once `enough` returns true for it.
fn mbox(data: &Path, enough: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(data.join("mail.mbox")).unwrap_or_default();
        if enough(&text) {
            return text;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn code_in(text: &str) -> String {
    let code = text.lines().rev().find(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit()));
    code.expect("six digits").to_owned()
}

#[test]
fn without_a_mail_server_codes_go_to_a_private_file_and_never_to_the_log() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let mut natter = Launch::new(dir.path()).start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    let text = mbox(&data, |text| text.contains("To: <ann@example.org>"));
    let mode = data.join("mail.mbox").metadata().expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let code = code_in(&text);
    let line = natter.wait_for_line("a mail was written to mail.mbox");
    assert!(line.contains(&ann.member), "{line}");
    let body = format!(r#"{{"code":"{code}"}}"#);
    let done = http.ask_as(&ann, "POST", "/api/v1/user/verify/check", Some(&body)).expect("a response");
    assert_eq!(done.status, 200, "{}", done.text());
    let log = natter.stop();
    let log = log.join("\n");
    assert!(!log.contains(&code) && !log.contains("ann@example.org"), "{log}");
    assert_eq!(
        log.matches("EMAIL_HOST is not set").count(),
        2,
        "once at the start, and once per mail: {log}"
    );
}

#[test]
fn the_mail_of_an_answered_sign_up_survives_a_kill() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    for round in 0..3 {
        let mut natter = Launch::new(dir.path()).start();
        let name = format!("p{round}");
        Http::connect(natter.address).sign_up(&name);
        natter.signal(Signal::Kill);
        natter.wait();
        // The mail may be sent already; if not, the next start sends it.
        let natter = Launch::new(dir.path()).start();
        let to = format!("To: <{name}@example.org>");
        mbox(&data, |text| text.contains(&to));
        natter.stop();
    }
}

#[test]
fn a_place_is_looked_up_after_the_answer() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", service.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = service.accept().expect("a client");
        let mut received = Vec::new();
        let mut byte = [0];
        while !received.ends_with(b"\r\n\r\n") {
            assert_eq!(socket.read(&mut byte).expect("a request"), 1);
            received.push(byte[0]);
        }
        let body = r#"{"city":"Cairo","country":"EG"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).expect("the client listens");
        String::from_utf8(received).expect("UTF-8")
    });
    let dir = TestDir::new();
    let env = [("IP_INFO", "t0ken"), ("IP_INFO_URL", url.as_str()), ("TRUSTED_PROXIES", "127.0.0.1")];
    let natter = Launch::new(dir.path()).with(&env).start();
    let mut http = Http::connect(natter.address);
    http.sign_up("ann");
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let fields = [("X-Forwarded-For", "8.8.4.4"), ("User-Agent", "tablet"), ("Accept-Language", "ar")];
    let signed_in = http.ask("POST", "/api/v1/user/sign-in", &fields, Some(body)).expect("a response");
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let text = mbox(&dir.path().join("data"), |text| text.contains("Cairo, EG"));
    assert!(text.contains("العنوان: 8.8.4.4\n") && text.contains("الجهاز: tablet\n"), "{text}");
    let bearer = format!("Bearer {}", signed_in.at("data.token.access"));
    let list =
        http.ask("GET", "/api/v1/user/sessions", &[("Authorization", &bearer)], None).expect("a response");
    assert_eq!(list.at("data.0.place"), "Cairo, EG");
    let received = thread.join().expect("no panic");
    assert!(received.starts_with("GET /8.8.4.4 ") && received.contains("Bearer t0ken\r\n"), "{received}");
    natter.stop();
}
