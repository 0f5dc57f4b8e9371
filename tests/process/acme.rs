//! https by `TLS_DOMAIN` alone: the real binary orders a certificate from an authority that really looks, by both methods.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::reload::{DETACHED, is_detachable};
use super::support::TestDir;
use super::support::authority::{Authority, Conduct, Look, ca_file};
use super::support::net::Http;
use super::support::process::{Launch, Natter, Signal, address_in};
use super::support::tls;
use super::until;

const DAY: u64 = 86_400;

fn conduct(offers: &[&'static str]) -> Conduct {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    Conduct {
        look: Look::Later,
        offers: offers.to_vec(),
        refused_nonces: 2,
        limited_s: None,
        slow_polls: 1,
        forgets_orders: false,
        validity: (now - DAY, now + 89 * DAY),
        window: None,
    }
}

/// A server that orders, and the address of its port of plain requests.
fn start(dir: &TestDir, authority: &Authority, wrapper: &[&str]) -> (Natter, SocketAddr) {
    let ca_file = ca_file().display().to_string();
    let mut natter = Launch::new(dir.path())
        .with(&[
            ("TLS_DOMAIN", tls::NAME),
            ("ACME_DIRECTORY", &authority.directory),
            ("TLS_CA_FILE", &ca_file),
            ("HOST", "127.0.0.1"),
            ("HTTP_PORT", "0"),
        ])
        .by(wrapper)
        .start();
    let plain = address_in(&natter.wait_for_line("are redirected"));
    (natter, plain)
}

fn ask(plain: SocketAddr, host: &str) -> (u16, String, String) {
    let mut http = Http::connect(plain);
    let request = format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\n\r\n");
    http.send(request.as_bytes()).expect("sent");
    let response = http.response(false).expect("a response").expect("one");
    let location = response.field("location").unwrap_or_default().to_owned();
    (response.status, location, String::from_utf8(response.body).expect("UTF-8"))
}

fn secure_get(natter: &Natter, authority: &Authority, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = tls::connect(natter.address, &tls::trusting(&authority.root)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", tls::NAME);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    Some(response)
}

#[test]
fn one_line_gives_https_by_either_method() {
    for kind in ["tls-alpn-01", "http-01"] {
        let dir = TestDir::new();
        let authority = Authority::start(conduct(&[kind, "dns-01"]));
        let (natter, plain) = start(&dir, &authority, &[]);
        // The authority has not looked yet: the server is up, and says why no client can connect.
        until("a challenge is chosen", || authority.chosen() == [kind]);
        let error =
            tls::connect(natter.address, &tls::trusting(&authority.root)).expect_err("no certificate");
        assert!(error.to_string().contains("alert"), "{error}");
        let (status, _, body) = ask(plain, tls::NAME);
        assert!(status == 503 && body.contains("is being ordered"), "{status} {body}");
        // Only the authority is shown the certificate of a challenge, and only now.
        assert_eq!(tls::challenge(natter.address, tls::NAME).is_ok(), kind == "tls-alpn-01");
        assert!(tls::challenge(natter.address, "other.example.org").is_err());

        authority.conduct(|it| it.look = Look::At { http: plain.port(), tls: natter.address.port() });
        until("https", || secure_get(&natter, &authority, "/healthz").is_some());
        assert!(tls::challenge(natter.address, tls::NAME).is_err());
        let port = natter.address.port();
        let (status, location, _) = ask(plain, tls::NAME);
        assert_eq!((status, location), (308, format!("https://{}:{port}/a?b", tls::NAME)));
        // A host without a certificate is not redirected to.
        let (_, location, _) = ask(plain, "evil.example.org");
        assert_eq!(location, format!("https://{}:{port}/a?b", tls::NAME));
        let ready = secure_get(&natter, &authority, "/readyz").expect("a response");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("\"warnings\":[]"), "{ready}");
        let metrics = secure_get(&natter, &authority, "/metrics").expect("a response");
        assert!(metrics.contains("natter_acme_orders_total{result=\"issued\"} 1"), "{metrics}");
        let mode = |path: &str| {
            let metadata = fs::metadata(dir.path().join("data").join(path)).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(
            (mode("acme"), mode("acme/account.pem"), mode("acme/certificate.pem")),
            (0o700, 0o600, 0o600)
        );
        natter.stop();
        // The next start has it at once.
        let (natter, _) = start(&dir, &authority, &[]);
        assert!(secure_get(&natter, &authority, "/healthz").is_some());
        natter.stop();
        assert_eq!(authority.asked("POST /new-order"), 1);
        authority.judge();
    }
}

#[test]
fn a_failing_order_is_told_everywhere_and_sighup_tries_again() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    let authority =
        Authority::start(Conduct { look: Look::Fail("no route to host"), ..conduct(&["http-01"]) });
    let (mut natter, plain) = start(&dir, &authority, DETACHED);
    let line = natter.wait_for_line("no certificate can be had");
    assert!(
        line.contains("ERROR") && line.contains("chat.example.org: the authority's look by http-01 failed")
    );
    until("it is told", || ask(plain, tls::NAME).2.contains("no route to host"));
    authority.conduct(|it| it.look = Look::At { http: plain.port(), tls: natter.address.port() });
    natter.signal(Signal::Hup);
    until("https", || secure_get(&natter, &authority, "/healthz").is_some());
    let metrics = secure_get(&natter, &authority, "/metrics").expect("a response");
    for count in [
        "natter_acme_orders_total{result=\"failed\"} 1",
        "natter_acme_orders_total{result=\"issued\"} 1",
        "natter_background_errors_total{kind=\"certificate\"} 1",
    ] {
        assert!(metrics.contains(count), "{count}");
    }
    natter.stop();
    authority.judge();
}

#[test]
fn a_failing_renewal_is_a_warning_of_a_server_that_serves() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    let mut first = conduct(&["http-01"]);
    first.look = Look::Trust;
    // Less than a third of its life is left.
    first.validity = (first.validity.0 - 62 * DAY, first.validity.0 + 20 * DAY);
    let authority = Authority::start(first);
    let (mut natter, _) = start(&dir, &authority, DETACHED);
    natter.wait_for_line("the new certificate is in use");
    authority.conduct(|it| it.look = Look::Fail("firewall"));
    natter.signal(Signal::Hup);
    natter.wait_for_line("the certificate can't be renewed");
    until("a warning", || {
        let ready = secure_get(&natter, &authority, "/readyz").expect("https goes on");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        ready.contains("the certificate can't be renewed: chat.example.org: ") && ready.contains("firewall")
    });
    natter.stop();
    authority.judge();
}
