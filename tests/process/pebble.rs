//! Certificates from a real ACME server: Pebble, in strict mode, with its own DNS.
//!
//! Runs with NATTER_ALL=1 where `pebble` and `pebble-challtestsrv` are installed (`.ci/run` names the version), and says if it did
//! not. Pebble looks at ports that are given to it at its start, so the tests listen there and forward to the server.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use natter::base::crypto::p256::P256;
use natter::base::crypto::{SystemEntropy, base64url, pem};
use natter::base::json::{self, Value};
use natter::proto::acme::jws;
use natter::proto::http::client::{Ask, Endpoint, Response, ResponseReader};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

use super::reload::{DETACHED, is_detachable};
use super::support::TestDir;
use super::support::authority::ca_file;
use super::support::net::PATIENCE;
use super::support::process::{Launch, Natter, Signal, address_in};
use super::support::tls;
use super::until;

/// A program that ends with its value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, if it is installed and all tests are asked for.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join("go/bin"));
    let found =
        std::env::split_paths(&path).chain(home).map(|folder| folder.join(name)).find(|it| it.is_file());
    match (std::env::var_os("NATTER_ALL").is_some(), &found) {
        (false, _) => println!("SKIPPED: without NATTER_ALL=1"),
        (true, None) => println!("SKIPPED: {name} is not installed (see .ci/run)"),
        _ => return found,
    }
    None
}

/// A port that was free a moment ago, for a program that can't choose one itself.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Listens on a port, and forwards each connection to an address that is set later.
struct Forwarder {
    port: u16,
    to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Forwarder {
    fn start() -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let to: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let target = Arc::clone(&to);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(to) = *target.lock().expect("no panic") else { continue };
                std::thread::spawn(move || forward(&client, to));
            }
        });
        Forwarder { port, to }
    }

    fn lead_to(&self, address: SocketAddr) {
        *self.to.lock().expect("no panic") = Some(address);
    }
}

/// A side that has left ends the other one.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn forward(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    std::thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
    Ok(())
}

/// Pebble, its DNS, and what leads to the server.
struct Pebble {
    directory: String,
    management: String,
    dns_management: String,
    http: Forwarder,
    tls: Forwarder,
    _programs: [Program; 2],
}

impl Pebble {
    fn start(dir: &TestDir, env: &[(&str, &str)]) -> Option<Pebble> {
        let (pebble, dns) = (found("pebble")?, found("pebble-challtestsrv")?);
        let (http, tls_forwarder) = (Forwarder::start(), Forwarder::start());
        let [port, management, dns_port, dns_management] = [(); 4].map(|()| free_port());
        let local = |port: u16| format!("127.0.0.1:{port}");
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"{}","managementListenAddress":"{}","certificate":"{}","privateKey":"{}",
            "httpPort":{},"tlsPort":{},"retryAfter":{{"authz":1,"order":1}},"keyAlgorithm":"ecdsa",
            "profiles":{{"default":{{"description":"x","validityPeriod":7776000}}}}}}}}"#,
            local(port),
            local(management),
            Path::new(tls::FOLDER).join("p256.pem").display(),
            Path::new(tls::FOLDER).join("p256.key.pem").display(),
            http.port,
            tls_forwarder.port
        );
        let file = dir.path().join("pebble.json");
        fs::write(&file, config).expect("a file");
        let start = |command: &mut Command| {
            let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Program(quiet.spawn().expect("it starts"))
        };
        let dns = start(
            Command::new(dns)
                .args(["-dnsserver", &local(dns_port), "-management", &local(dns_management)])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""]),
        );
        let pebble = start(
            Command::new(pebble)
                .arg("-strict")
                .args(["-config", &file.display().to_string(), "-dnsserver", &local(dns_port)])
                .envs(env.iter().copied()),
        );
        let started = Pebble {
            directory: format!("https://{}/dir", local(port)),
            management: format!("https://{}", local(management)),
            dns_management: local(dns_management),
            http,
            tls: tls_forwarder,
            _programs: [dns, pebble],
        };
        until("Pebble answers", || ask(&started.directory, Ask::Get).is_ok_and(|it| it.status == 200));
        until("its DNS answers", || TcpStream::connect(&started.dns_management).is_ok());
        Some(started)
    }

    /// The address that every name has from now on.
    fn names_lead_to(&self, address: &str) {
        let body = format!(r#"{{"ip":"{address}"}}"#);
        let mut socket = TcpStream::connect(&self.dns_management).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let head = format!("POST /set-default-ipv4 HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all([head, body].concat().as_bytes()).expect("sent");
        let mut response = String::new();
        socket.read_to_string(&mut response).expect("a response");
        assert!(response.contains(" 200 "), "{response}");
    }

    fn root(&self) -> CertificateDer<'static> {
        let response = ask(&format!("{}/roots/0", self.management), Ask::Get).expect("a response");
        CertificateDer::from_pem_slice(&response.body).expect("a certificate")
    }

    fn serve(&self, dir: &TestDir, env: &[(&str, &str)]) -> Natter {
        let ca_file = ca_file().display().to_string();
        let mut natter = Launch::new(dir.path())
            .with(&[
                ("TLS_DOMAIN", "chat.example.org,www.example.org"),
                ("ACME_DIRECTORY", &self.directory),
                ("ACME_EMAIL", "me@example.org"),
                ("TLS_CA_FILE", &ca_file),
                ("HOST", "127.0.0.1"),
                ("HTTP_PORT", "0"),
            ])
            .with(env)
            .by(DETACHED)
            .start();
        self.tls.lead_to(natter.address);
        self.http.lead_to(address_in(&natter.wait_for_line("are redirected")));
        natter
    }

    /// The certificate that a client is shown which trusts Pebble only.
    fn shown(&self, natter: &Natter) -> Option<CertificateDer<'static>> {
        let stream = tls::connect(natter.address, &tls::trusting(&self.root())).ok()?;
        Some(stream.conn.peer_certificates().expect("a certificate")[0].clone().into_owned())
    }

    /// Asks for the revocation of a certificate (RFC 8555 §7.6), as the account that ordered it.
    fn revoke(&self, dir: &TestDir, certificate: &CertificateDer<'_>) {
        let read = |file: &str| fs::read_to_string(dir.path().join("data/acme").join(file)).expect("a file");
        let key = pem::read_private_key(&read("account.pem")).expect("a key");
        let key = P256::new(&SystemEntropy::new()).signing_key(key.expose()).expect("a key");
        let state = read("state.json");
        let state = json::parse_text(&state).expect("JSON");
        let account = state.get("account").and_then(Value::as_str).expect("an account");
        let directory = ask(&self.directory, Ask::Get).expect("a directory").body;
        let directory = json::parse(&directory).expect("JSON");
        let url = |name: &str| directory.get(name).and_then(Value::as_str).expect("a URL").to_owned();
        let payload = format!(r#"{{"certificate":"{}"}}"#, base64url(certificate));
        until("revoked", || {
            let nonce = ask(&url("newNonce"), Ask::Head).expect("a nonce");
            let nonce = nonce.field("replay-nonce").expect("a nonce").to_owned();
            let url = url("revokeCert");
            let body = jws::sign(&key, Some(account), &nonce, &url, Some(payload.as_bytes()));
            let response = ask(&url, Ask::Post { content_type: jws::CONTENT_TYPE, body: &body });
            // Pebble refuses some nonces on purpose.
            response.is_ok_and(|response| response.status == 200)
        });
    }
}

/// One request over https to a server with a certificate of these tests.
fn ask(url: &str, ask: Ask<'_>) -> io::Result<Response> {
    let endpoint = Endpoint::resource(url).expect("a URL");
    let socket = TcpStream::connect((endpoint.authority.host.as_str(), endpoint.authority.port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(endpoint.authority.host.clone()).expect("a name");
    let conn = ClientConnection::new(tls::config(), name).expect("a client");
    let mut stream = StreamOwned::new(conn, socket);
    stream.write_all(&endpoint.request(ask))?;
    let mut reader = ResponseReader::keeping(&["replay-nonce"], ask);
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer)?;
        let is_complete = reader.receive(&buffer[..count]).map_err(|_| io::ErrorKind::InvalidData)?;
        if is_complete || count == 0 {
            return reader.finish().map_err(|_| io::ErrorKind::InvalidData.into());
        }
    }
}

#[test]
fn pebble_gives_a_certificate_and_after_its_revocation_another() {
    let dir = TestDir::new();
    // A quarter of all good nonces is refused, domains are looked at late, and nothing that was proven is remembered.
    let env = [("PEBBLE_WFE_NONCEREJECT", "25"), ("PEBBLE_VA_SLEEPTIME", "2"), ("PEBBLE_AUTHZREUSE", "0")];
    if !is_detachable() {
        return;
    }
    let Some(pebble) = Pebble::start(&dir, &env) else { return };
    let natter = pebble.serve(&dir, &[]);
    until("a certificate", || pebble.shown(&natter).is_some());
    let first = pebble.shown(&natter).expect("a certificate");
    pebble.revoke(&dir, &first);
    natter.signal(Signal::Hup);
    until("another certificate", || pebble.shown(&natter).is_some_and(|shown| shown != first));
    natter.stop();
}

#[test]
fn a_name_that_leads_elsewhere_fails_until_it_leads_here() {
    let dir = TestDir::new();
    let env = [("PEBBLE_WFE_NONCEREJECT", "0"), ("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")];
    if !is_detachable() {
        return;
    }
    let Some(pebble) = Pebble::start(&dir, &env) else { return };
    pebble.names_lead_to("127.0.0.77");
    let mut natter = pebble.serve(&dir, &[]);
    natter.wait_for_line("look by tls-alpn-01 failed");
    // The next try is by the other method.
    pebble.names_lead_to("127.0.0.1");
    natter.signal(Signal::Hup);
    until("a certificate", || pebble.shown(&natter).is_some());
    natter.stop();
}
