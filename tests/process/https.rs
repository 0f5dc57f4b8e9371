//! https by a certificate in files, with real handshakes of several clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use natter::base::crypto::{hex, sha256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::reload::{DETACHED, is_detachable};
use super::support::TestDir;
use super::support::http::{request, series};
use super::support::net::{Http, PATIENCE, Ws};
use super::support::process::{Launch, Natter, Signal};
use super::support::tls::{self, TlsStream};
use super::uploads::{SECURE_READER_KIB_MAX, slow_downloads, upload};
use super::{client_id, post_to, until};

fn start(dir: &TestDir, env: &[(&str, &str)]) -> Natter {
    tls::secure(Launch::new(dir.path())).with(env).start()
}

/// The response to one request, after which the connection ends by close_notify.
fn get(stream: &mut TlsStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", tls::NAME);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response, and close_notify");
    response
}

fn metric(address: SocketAddr, name: &str) -> u64 {
    let response = get(&mut tls::connect(address, &tls::config()).expect("a handshake"), "/metrics");
    series(&response, name)
}

/// The certificate that a new connection is shown.
fn shown(address: SocketAddr) -> CertificateDer<'static> {
    let stream = tls::connect(address, &tls::config()).expect("a handshake");
    stream.conn.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

fn certificate(kind: &str) -> CertificateDer<'static> {
    let pem = fs::read(Path::new(tls::FOLDER).join(format!("{kind}.pem"))).expect("a file");
    CertificateDer::from_pem_slice(&pem).expect("a certificate")
}

/// Runs a client that may not be installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    if output.is_err() {
        println!("SKIPPED: {program} is not installed");
    }
    output.ok()
}

#[test]
fn all_that_http_does_is_done_over_tls() {
    let dir = TestDir::new();
    let natter = start(&dir, &[]);
    let address = tls::forward_to(natter.address);
    let mut http = Http::connect(address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut ws, _) = Ws::native(address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    let mut events = Http::connect(address);
    let bearer = format!("Bearer {}", bob.access);
    let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    events.send(&request("GET", "/api/v1/events", &fields, None)).expect("a request");
    let (mut seen, mut buffer) = (String::new(), [0; 4_096]);
    while !seen.contains("id: ") {
        let count = events.stream.read(&mut buffer).expect("events");
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    // Large enough for several records.
    let text = "x".repeat(3_900);
    let ids: Vec<String> = (0..20).map(|_| client_id()).collect();
    for id in &ids {
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&post_to(&bob.profile, id, &text)));
        assert_eq!(posted.expect("a response").status, 201);
    }
    for id in &ids {
        ws.until("data.client_id", id);
    }
    while !ids.iter().all(|id| seen.contains(id.as_str())) {
        let count = events.stream.read(&mut buffer).expect("events");
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let body: Vec<u8> = (0..9_000_000_u32).map(|at| b'a' + (at / 7 % 26) as u8).collect();
    let stored = upload(address, &ann, "large.txt", &body);
    assert_eq!((stored.status, stored.at("data.sha256")), (201, hex(&sha256(&body))));
    let file = http.ask("GET", &stored.at("data.url"), &[], None).expect("a response");
    assert!(file.status == 200 && file.body == body);
    let part = http.ask("GET", &stored.at("data.url"), &[("Range", "bytes=100000-299999")], None);
    let part = part.expect("a response");
    assert!(part.status == 206 && part.body == body[100_000..300_000]);
    natter.stop();
}

#[test]
fn slow_downloads_cost_bounded_memory_over_tls() {
    let dir = TestDir::new();
    let mut natter = start(&dir, &[]);
    natter.address = tls::forward_to(natter.address);
    // In addition the parts of files that are read at the same time.
    slow_downloads(natter, 100, 100 * SECURE_READER_KIB_MAX + 4_096);
}

#[test]
fn openssl_agrees_only_to_what_is_strong() {
    let dir = TestDir::new();
    let natter = start(&dir, &[]);
    let address = natter.address.to_string();
    let authority = format!("{}/authority.pem", tls::FOLDER);
    let said = |more: &[&str]| {
        let fixed =
            ["s_client", "-connect", &address, "-CAfile", &authority, "-verify_return_error", "-ign_eof"];
        // Its stdin has ended: it ends after the handshake.
        let fixed = &fixed[..fixed.len() - 1];
        let output = run("openssl", &[fixed, more].concat())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some((output.status.success() && text.contains("Verify return code: 0 (ok)"), text))
    };
    let name = ["-servername", tls::NAME];
    let Some((good, text)) = said(&name) else { return };
    assert!(good && text.contains("TLSv1.3"), "{text}");
    let agreed = |more: &[&str]| said(&[&name, more].concat()).expect("as before").0;
    assert!(agreed(&["-tls1_2"]) && agreed(&["-tls1_3"]));
    for old in ["-tls1", "-tls1_1"] {
        assert!(!agreed(&[old, "-cipher", "DEFAULT@SECLEVEL=0"]), "{old}");
    }
    for strong in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        assert!(agreed(&["-tls1_2", "-cipher", strong]), "{strong}");
    }
    for weak in [
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "aNULL",
        "DHE",
    ] {
        assert!(!agreed(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]), "{weak}");
    }
    // No certificate for an unknown name; one for a client that names none.
    let (good, text) = said(&["-servername", "other.example.org"]).expect("as before");
    assert!(!good && !text.contains("BEGIN CERTIFICATE"), "{text}");
    assert!(said(&["-noservername"]).expect("as before").0);
    assert!(
        said(&["-servername", tls::NAME, "-alpn", "http/1.1"]).expect("as before").1.contains("http/1.1")
    );
    assert!(!said(&["-servername", tls::NAME, "-alpn", "h2"]).expect("as before").0);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = dir.path().join("session").display().to_string();
        // The tickets of TLS 1.3 come after the handshake, with the response.
        let script = format!(
            "printf 'GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -connect {address} \
             -servername {} {version} -ign_eof",
            tls::NAME
        );
        let first = run("sh", &["-c", &format!("{script} -sess_out {session}")]).expect("a shell");
        assert!(String::from_utf8_lossy(&first.stdout).contains("200 OK"), "{first:?}");
        let second = run("sh", &["-c", &format!("{script} -sess_in {session}")]).expect("a shell");
        assert!(String::from_utf8_lossy(&second.stdout).contains("Reused, TLSv1."), "{second:?}");
    }
    natter.stop();
}

/// What testssl.sh looks at.
#[test]
fn no_suite_group_or_signature_is_accepted_but_the_strong() {
    let every = ["ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"];
    let Some(output) = run("openssl", &every) else { return };
    let every = String::from_utf8(output.stdout).expect("UTF-8");
    for (kind, signature) in [("p256", "ECDSA"), ("rsa", "RSA")] {
        let dir = TestDir::new();
        tls::install(kind, dir.path());
        let env = [("TLS_CERT", "tls.pem"), ("TLS_KEY", "tls.key.pem")];
        let natter = Launch::new(dir.path()).with(&env).start();
        let address = natter.address.to_string();
        let agreed = |more: &[&str]| {
            let fixed = ["s_client", "-connect", &address, "-servername", tls::NAME];
            run("openssl", &[&fixed, more].concat()).expect("as before").status.success()
        };
        let strong = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
        let strong = strong.map(|cipher| format!("ECDHE-{signature}-{cipher}"));
        for suite in &strong {
            assert!(agreed(&["-tls1_2", "-cipher", suite]), "{suite}");
        }
        // All others together: the server would choose one that it has.
        let weak: Vec<&str> =
            every.trim().split(':').filter(|suite| !strong.iter().any(|it| it == suite)).collect();
        assert!(weak.len() > 50 && weak.contains(&"AES128-SHA"), "{weak:?}");
        assert!(!agreed(&["-tls1_2", "-cipher", &format!("{}:@SECLEVEL=0", weak.join(":"))]));
        for group in ["X25519", "P-256", "P-384"] {
            assert!(agreed(&["-tls1_3", "-groups", group]), "{group}");
        }
        for version in ["-tls1_2", "-tls1_3"] {
            assert!(!agreed(&[version, "-groups", "ffdhe2048:brainpoolP256r1:secp192k1"]), "{version}");
        }
        assert!(!agreed(&[
            "-tls1_2",
            "-sigalgs",
            "RSA+SHA1:ECDSA+SHA1:RSA+SHA224",
            "-cipher",
            "ALL:@SECLEVEL=0"
        ]));
        // A client can't begin a second handshake on a connection of TLS 1.2, and nothing is compressed.
        let fixed = ["s_client", "-connect", &address, "-servername", tls::NAME, "-tls1_2"];
        let mut command = Command::new("openssl");
        command.args(fixed).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn().expect("as before");
        let mut stdin = client.stdin.take().expect("a pipe");
        stdin.write_all(b"R\n").expect("its command to begin one");
        // It ends by the refusal: its stdin has not ended.
        let output = client.wait_with_output().expect("an end");
        drop(stdin);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Compression: NONE") && said.contains("no renegotiation"), "{said}");
        natter.stop();
    }
}

#[test]
fn curl_and_python_are_content() {
    let dir = TestDir::new();
    let natter = start(&dir, &[]);
    let port = natter.address.port();
    let authority = format!("{}/authority.pem", tls::FOLDER);
    let resolve = format!("{}:{port}:127.0.0.1", tls::NAME);
    let url = format!("https://{}:{port}/healthz", tls::NAME);
    if let Some(output) = run("curl", &["-sS", "--cacert", &authority, "--resolve", &resolve, &url]) {
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"status\":\"ok\""), "{output:?}");
    }
    let script = "
import http.client, socket, ssl, sys
port, authority, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=authority)
context.set_alpn_protocols(['h2', 'http/1.1'])
def connect(name):
    return context.wrap_socket(socket.create_connection(('127.0.0.1', port), timeout=30), server_hostname=name)
line = connect(name)
assert line.version() == 'TLSv1.3' and line.selected_alpn_protocol() == 'http/1.1', line.version()
for _ in range(3):
    line.sendall(b'GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    response = http.client.HTTPResponse(line)
    response.begin()
    assert response.status == 200 and b'ok' in response.read()
line.unwrap()
assert connect('127.0.0.1').version() == 'TLSv1.3'
try:
    connect('other.example.org')
except ssl.SSLError as error:
    print('refused', error.reason)
";
    let port = port.to_string();
    if let Some(output) = run("python3", &["-c", script, &port, &authority, tls::NAME]) {
        assert!(String::from_utf8_lossy(&output.stdout).contains("refused"), "{output:?}");
    }
    natter.stop();
}

#[test]
fn a_plain_request_is_told_where_to_go() {
    let dir = TestDir::new();
    let mut natter = start(&dir, &[("HTTP_PORT", "0"), ("HSTS", "31536000")]);
    let line = natter.wait_for_line("are redirected");
    let redirect = super::support::process::address_in(&line);
    let mut plain = Http::connect(natter.address);
    let refused = plain.ask("GET", "/healthz", &[], None).expect("a response");
    assert_eq!((refused.status, refused.code()), (400, "https_required".into()));
    assert_eq!(refused.field("strict-transport-security"), None, "not over plain HTTP");
    assert!(plain.rest().expect("a clean end").is_empty());
    let port = natter.address.port();
    for (host, method, target, expect) in [
        ("chat.example.org", "GET", "/a%20b?c=d", format!("https://chat.example.org:{port}/a%20b?c=d")),
        ("chat.example.org:80", "HEAD", "/", format!("https://chat.example.org:{port}/")),
        ("[::1]:8080", "GET", "/x", format!("https://[::1]:{port}/x")),
        ("127.0.0.1", "OPTIONS", "*", format!("https://127.0.0.1:{port}")),
    ] {
        let mut http = Http::connect(redirect);
        http.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("sent");
        let response = http.response(method == "HEAD").expect("a connection").expect("a response");
        assert_eq!((response.status, response.field("location")), (308, Some(expect.as_str())));
        assert_eq!(response.field("strict-transport-security"), None, "not over plain HTTP");
        assert!(http.rest().expect("a clean end").is_empty());
    }
    // A body is not read, and no route is served.
    let body = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let posted = Http::connect(redirect).ask("POST", "/api/v1/user/sign-in", &[], Some(body));
    assert_eq!(posted.expect("a response").status, 308);
    let mut nameless = Http::connect(redirect);
    nameless.send(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let response = nameless.response(false).expect("a connection").expect("a response");
    assert_eq!((response.status, response.code()), (400, "https_required".into()));
    let secure = get(&mut tls::connect(natter.address, &tls::config()).expect("a handshake"), "/healthz");
    assert!(secure.contains("\r\nStrict-Transport-Security: max-age=31536000\r\n"), "{secure}");
    natter.stop();
}

#[test]
fn beyond_the_connections_there_is_no_handshake() {
    let dir = TestDir::new();
    let natter = start(&dir, &[("CONNECTIONS_MAX", "2")]);
    let address = tls::forward_to(natter.address);
    let mut http = Http::connect(address);
    let ann = http.sign_up("ann");
    drop(http);
    let streams: Vec<Ws> =
        (0..2).map(|_| Ws::native(address, &ann.access, None).expect("a socket").0).collect();
    let mut refused = TcpStream::connect(natter.address).expect("accepted");
    refused.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut answer = Vec::new();
    // The end may be a reset.
    let _ = refused.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    drop(streams);
    until("room again", || tls::connect(natter.address, &tls::config()).is_ok());
    natter.stop();
}

#[test]
fn a_handshake_that_stalls_ends_by_the_deadline_of_a_head() {
    let dir = TestDir::new();
    let natter = start(&dir, &[]);
    let silent = TcpStream::connect(natter.address).expect("accepted");
    let mut begun = TcpStream::connect(natter.address).expect("accepted");
    begun.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
    for mut stalled in [silent, begun] {
        stalled.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut answer = Vec::new();
        stalled.read_to_end(&mut answer).expect("a clean end");
        assert!(answer.is_empty());
    }
    assert_eq!(metric(natter.address, "natter_connections_closed_total{reason=\"tls_handshake\"}"), 2);
    natter.stop();
}

#[test]
fn a_new_certificate_is_used_without_an_end_of_a_connection() {
    if !is_detachable() {
        return;
    }
    let dir = TestDir::new();
    let natter = tls::secure(Launch::new(dir.path())).by(DETACHED).start();
    let address = tls::forward_to(natter.address);
    let mut http = Http::connect(address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut ws, _) = Ws::native(address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    // Clients that come and go, and one that stays, all the time.
    let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..3)
        .map(|_| {
            let (ended, served, address) = (Arc::clone(&ended), Arc::clone(&served), natter.address);
            std::thread::spawn(move || {
                let config = tls::config();
                while !ended.load(Ordering::Relaxed) {
                    let mut stream = tls::connect(address, &config).expect("a handshake");
                    assert!(get(&mut stream, "/healthz").starts_with("HTTP/1.1 200 "));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut talk = || {
        let id = client_id();
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&post_to(&bob.profile, &id, "hi")));
        assert_eq!(posted.expect("a response").status, 201);
        ws.until("data.client_id", &id);
    };
    assert_eq!(shown(natter.address), certificate("p256"));
    for kind in ["rsa", "ed25519", "p256"] {
        tls::install(kind, dir.path());
        natter.signal(Signal::Hup);
        until("it is shown", || {
            talk();
            shown(natter.address) == certificate(kind)
        });
    }
    // Without a signal, too.
    tls::install("rsa", dir.path());
    until("it is shown", || {
        std::thread::sleep(Duration::from_millis(20)); // between two handshakes
        shown(natter.address) == certificate("rsa")
    });
    // What can't be used replaces nothing, and is told.
    fs::copy(Path::new(tls::FOLDER).join("p256.pem"), dir.path().join("tls.pem")).expect("a copy");
    natter.signal(Signal::Hup);
    let ready = || get(&mut tls::connect(natter.address, &tls::config()).expect("a handshake"), "/readyz");
    until("a warning", || ready().contains("TLS_KEY: the key is not that of the first certificate"));
    assert!(ready().starts_with("HTTP/1.1 200 "));
    assert_eq!(shown(natter.address), certificate("rsa"));
    tls::install("rsa", dir.path());
    natter.signal(Signal::Hup);
    until("no warning", || ready().contains("\"warnings\":[]"));
    talk();
    ended.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().expect("every request was served"));
    assert!(served.load(Ordering::Relaxed) > 0);
    assert_eq!(metric(natter.address, "natter_tls_certificate_expires_seconds"), 4_733_510_400);
    natter.stop();
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let dir = TestDir::new();
    tls::install("p256", dir.path());
    fs::copy(Path::new(tls::FOLDER).join("rsa.key.pem"), dir.path().join("rsa.key.pem")).expect("a copy");
    for (env, expect) in [
        (&[("TLS_CERT", "tls.pem"), ("TLS_KEY", "rsa.key.pem")][..], "TLS_KEY: the key is not that of"),
        (
            &[("TLS_CERT", "tls.key.pem"), ("TLS_KEY", "tls.key.pem")],
            "TLS_CERT: the file holds no certificate",
        ),
        (&[("TLS_CERT", "tls.pem")], "TLS_KEY: is not set"),
        (&[("TLS_KEY", "tls.key.pem")], "TLS_CERT: is not set"),
        (
            &[("TLS_CERT", "missing.pem"), ("TLS_KEY", "tls.key.pem")],
            "TLS_CERT: \"missing.pem\" cannot be read",
        ),
        (&[("HTTP_PORT", "0")], "HTTP_PORT: is set, and there is no https"),
        (
            &[("TLS_CERT", "tls.pem"), ("TLS_KEY", "tls.key.pem"), ("PORT", "8443"), ("HTTP_PORT", "8443")],
            "HTTP_PORT: is the port of https, too",
        ),
    ] {
        let output = Launch::new(dir.path()).with(env).run(&[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(expect), "{errors}");
    }
}
