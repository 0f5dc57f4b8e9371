//! Notifications by the real binary: a push service of the test decrypts them and judges their form and their signature.
//!
//! The service speaks TLS on loopback, so the tests set PUSH_PRIVATE.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use natter::base::crypto::{HmacKey, base64url, base64url_decode};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey};
use ring::aead;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE, Ws, at};
use super::support::process::{Launch, Natter, Signal};
use super::support::tls;
use super::{client_id, post_to, until};

/// A request that arrived.
#[derive(Debug)]
struct Arrived {
    path: String,
    head: String,
    body: Vec<u8>,
}

impl Arrived {
    fn field(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| &line[name.len() + 2..]).unwrap_or_else(|| panic!("no {name}: {}", self.head))
    }
}

/// A push service. It answers by the path of the address: `/gone/…` is 410, `/moved/…` a redirect to `/a/…`, `/slow/…` takes the
/// message and never answers, `/huge/…` begins an answer without end; anything else is 201.
struct Service {
    origin: String,
    arrived: Receiver<Arrived>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("https://{}", listener.local_addr().expect("an address"));
        let (sender, arrived) = channel();
        let file = |name: &str| Path::new(tls::FOLDER).join(name);
        let certificate = CertificateDer::from_pem_file(file("p256.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("p256.key.pem")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a configuration");
        let config = Arc::new(config);
        // The threads end with the process of the tests.
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, sender) = (Arc::clone(&config), sender.clone());
                std::thread::spawn(move || {
                    let conn = ServerConnection::new(config).expect("a connection");
                    // A client that leaves is what some of the tests want to see.
                    let _ = serve(StreamOwned::new(conn, socket), |arrived| {
                        let _ = sender.send(arrived);
                    });
                });
            }
        });
        Service { origin, arrived }
    }

    fn next(&self) -> Arrived {
        self.arrived.recv_timeout(PATIENCE).expect("a notification")
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    arrived: impl Fn(Arrived),
) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("ASCII");
    let (_, rest) = head.split_once("POST ").expect("a POST");
    let path = rest.split(' ').next().expect("a path").to_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body)?;
    let kind = path.split('/').nth(1).unwrap_or_default().to_owned();
    let moved = format!(
        "HTTP/1.1 307 Moved\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        path.replace("moved", "a")
    );
    arrived(Arrived { path, head, body });
    match kind.as_str() {
        "slow" => {
            // Until the client gives up.
            stream.read_exact(&mut byte)?;
        }
        "huge" => {
            stream.write_all(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                stream.write_all(b"4\r\nhuge\r\n")?;
            }
        }
        "gone" => stream.write_all(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")?,
        "moved" => stream.write_all(moved.as_bytes())?,
        _ => stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")?,
    }
    stream.conn.send_close_notify();
    stream.flush()
}

/// The keys of a browser.
struct Browser {
    secret: SecretKey,
    auth: [u8; 16],
}

impl Browser {
    fn new(seed: u8) -> Browser {
        Browser { secret: SecretKey::from_slice(&[seed; 32]).expect("a key"), auth: [seed; 16] }
    }

    fn public(&self) -> Vec<u8> {
        self.secret.public_key().to_sec1_point(false).as_bytes().to_vec()
    }

    fn subscription(&self, endpoint: &str, level: &str) -> String {
        let (public, auth) = (base64url(&self.public()), base64url(&self.auth));
        format!(r#"{{"endpoint":"{endpoint}","p256dh":"{public}","auth":"{auth}","level":"{level}"}}"#)
    }

    /// RFC 8291 §3.4 and RFC 8188 §2, from the side of the browser.
    fn decrypt(&self, body: &[u8]) -> String {
        let (salt, rest) = body.split_at(16);
        let (record_size, rest) = rest.split_at(4);
        assert_eq!(record_size, 4_096_u32.to_be_bytes());
        assert_eq!(rest[0], 65);
        let (sender, record) = rest[1..].split_at(65);
        assert!(body.len() <= 4_096 && (record.len() - 17) % 256 == 0, "{}", body.len());
        let peer = PublicKey::from_sec1_bytes(sender).expect("a point");
        let shared = p256::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
        let hmac = |key: &[u8], parts: &[&[u8]]| HmacKey::new(key).sign(&parts.concat());
        let prk_key = hmac(&self.auth, &[shared.raw_secret_bytes()]);
        let ikm = hmac(&prk_key, &[b"WebPush: info\0", &self.public(), sender, &[1]]);
        let prk = hmac(salt, &[&ikm]);
        let key = &hmac(&prk, &[b"Content-Encoding: aes128gcm\0\x01"])[..16];
        let nonce = &hmac(&prk, &[b"Content-Encoding: nonce\0\x01"])[..12];
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, key).expect("a key"));
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).expect("a nonce");
        let mut record = record.to_vec();
        let plain = key.open_in_place(nonce, aead::Aad::empty(), &mut record).expect("the right keys");
        let end = plain.iter().rposition(|byte| *byte != 0).expect("a mark");
        assert_eq!(plain[end], 2, "the mark of the last record");
        String::from_utf8(plain[..end].to_vec()).expect("UTF-8")
    }
}

struct Stage {
    service: Service,
    launch: Launch,
    natter: Natter,
    http: Http,
    ann: Person,
    bob: Person,
    browser: Browser,
    _dir: TestDir,
}

impl Stage {
    fn new(env: &[(&str, &str)]) -> Stage {
        let dir = TestDir::new();
        let authority = Path::new(tls::FOLDER).join("authority.pem");
        let launch = Launch::new(dir.path())
            .with(&[("TLS_CA_FILE", authority.to_str().expect("UTF-8")), ("PUSH_PRIVATE", "on")])
            .with(env);
        let natter = launch.start();
        let mut http = Http::connect(natter.address);
        let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
        let browser = Browser::new(7);
        Stage { service: Service::start(), launch, natter, http, ann, bob, browser, _dir: dir }
    }

    fn subscribe(&mut self, who: &Person, path: &str, level: &str) {
        let body = self.browser.subscription(&format!("{}{path}", self.service.origin), level);
        let made = self.http.ask_as(who, "PUT", "/api/v1/push", Some(&body)).expect("a response");
        assert_eq!(made.status, 200, "{}", made.text());
    }

    fn post(&mut self, from: &Person, to: &Person, body: &str) {
        let post = post_to(&to.profile, &client_id(), body);
        let posted = self.http.ask_as(from, "POST", "/api/v1/messages", Some(&post)).expect("a response");
        assert_eq!(posted.status, 201, "{}", posted.text());
    }

    fn restart(&mut self) {
        self.natter = self.launch.start();
        self.http = Http::connect(self.natter.address);
    }

    fn metric(&mut self, name: &str) -> u64 {
        let metrics = self.http.ask("GET", "/metrics", &[], None).expect("a response");
        let line = metrics.text().lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}

/// The signature of RFC 8292, by the key that members subscribe with.
fn judge_signature(arrived: &Arrived, key: &str, origin: &str) {
    let header = arrived.field("authorization");
    let (token, public) =
        header.strip_prefix("vapid t=").and_then(|rest| rest.split_once(", k=")).expect("a token and a key");
    assert_eq!(public, key);
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let bytes = |text: &str| base64url_decode(text).expect("base64url");
    let judge = VerifyingKey::from_sec1_bytes(&bytes(public)).expect("a point");
    let signature = Signature::from_slice(&bytes(signature)).expect("a signature");
    judge.verify(signed.as_bytes(), &signature).expect("a good signature");
    let claims = String::from_utf8(bytes(signed.split_once('.').expect("claims").1)).expect("UTF-8");
    assert_eq!(at(&claims, "aud"), origin);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let expires: u64 = at(&claims, "exp").parse().expect("a number");
    assert!(expires > now && expires <= now + 86_400, "{claims}");
}

#[test]
fn a_notification_is_encrypted_signed_and_says_what_was_asked_for() {
    let mut s = Stage::new(&[]);
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    s.subscribe(&bob, "/a/b?c=d", "text");
    let key = s.http.ask_as(&bob, "GET", "/api/v1/push", None).expect("a response").at("data.key");
    s.post(&ann, &bob, "one");
    s.post(&ann, &bob, "two");
    let arrived = s.service.next();
    assert_eq!(arrived.path, "/a/b?c=d");
    judge_signature(&arrived, &key, &s.service.origin);
    assert_eq!((arrived.field("content-encoding"), arrived.field("urgency")), ("aes128gcm", "high"));
    assert_eq!(format!("https://{}", arrived.field("host")), s.service.origin);
    let ttl: u64 = arrived.field("ttl").parse().expect("a number");
    assert!((3_600..=2_419_200).contains(&ttl), "{ttl}");
    let topic = arrived.field("topic").to_owned();
    let is_url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!((1..=32).contains(&topic.len()) && topic.bytes().all(is_url_safe), "{topic}");
    let text = s.browser.decrypt(&arrived.body);
    assert_eq!(
        (at(&text, "body"), at(&text, "sender"), at(&text, "unread")),
        ("two".into(), "ann".into(), "2".into())
    );
    assert!(!arrived.head.contains(&at(&text, "conversation")));
    // A later one replaces it at the push service; it has another key, and less in it.
    s.subscribe(&bob, "/a/b?c=d", "who");
    s.post(&ann, &bob, "three");
    let later = s.service.next();
    assert_eq!(later.field("topic"), topic);
    assert_ne!(later.body[21..86], arrived.body[21..86], "each message has a key of its own");
    let text = s.browser.decrypt(&later.body);
    assert!(!text.contains("three") && at(&text, "n") == "3", "{text}");
    until("it is counted", || s.metric("natter_pushes_total") == 2);
    // The key outlives the process.
    s.natter.signal(Signal::Term);
    assert!(s.natter.wait().success());
    s.restart();
    assert_eq!(s.http.ask_as(&bob, "GET", "/api/v1/push", None).expect("a response").at("data.key"), key);
}

#[test]
fn a_killed_server_pushes_after_its_next_start() {
    let mut s = Stage::new(&[]);
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    s.subscribe(&bob, "/a", "text");
    for body in ["one", "two", "three"] {
        s.post(&ann, &bob, body);
        s.natter.kill();
        s.restart();
        let arrived = s.service.next();
        assert_eq!(at(&s.browser.decrypt(&arrived.body), "body"), body);
    }
}

#[test]
fn a_push_service_that_is_gone_moved_slow_or_endless_delays_nobody() {
    let mut s = Stage::new(&[]);
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    let names = ["slow", "moved", "huge", "gone"];
    let people = names.map(|name| s.http.sign_up(name));
    for (person, name) in people.iter().zip(names) {
        s.subscribe(person, &format!("/{name}/x"), "text");
        s.post(&ann, person, "hello");
    }
    s.subscribe(&bob, "/a/bob", "text");
    s.post(&ann, &bob, "hello");
    let mut paths: Vec<String> = (0..5).map(|_| s.service.next().path).collect();
    paths.sort();
    assert_eq!(
        paths,
        ["/a/bob", "/gone/x", "/huge/x", "/moved/x", "/slow/x"],
        "and nothing follows a redirect"
    );
    until("the end of an endless answer is not waited for", || s.metric("natter_pushes_total") == 2);
    until("a refusal is counted", || s.metric("natter_push_failures_total") >= 1);
    let gone = &people[3];
    until("a subscription that is gone is removed", || {
        let sessions = s.http.ask_as(gone, "GET", "/api/v1/user/sessions", None).expect("a response");
        sessions.at("data.0.push") == "null"
    });
}

/// A name may resolve to any address: it is looked up when it is used, and only public addresses are connected to.
#[test]
fn no_private_address_is_reached_through_a_name() {
    let mut s = Stage::new(&[("PUSH_PRIVATE", "off")]);
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    let port = s.service.origin.rsplit(':').next().expect("a port").to_owned();
    let literal = s.browser.subscription(&format!("{}/a", s.service.origin), "text");
    let refused = s.http.ask_as(&bob, "PUT", "/api/v1/push", Some(&literal)).expect("a response");
    assert_eq!((refused.status, refused.code()), (422, "invalid_endpoint".into()));
    let named = s.browser.subscription(&format!("https://localhost:{port}/a"), "text");
    let made = s.http.ask_as(&bob, "PUT", "/api/v1/push", Some(&named)).expect("a response");
    assert_eq!(made.status, 200, "{}", made.text());
    s.post(&ann, &bob, "hello");
    until("the try has failed", || s.metric("natter_push_failures_total") == 1);
    assert!(s.service.arrived.try_recv().is_err());
}

#[test]
fn what_a_device_shows_is_not_pushed() {
    let mut s = Stage::new(&[]);
    let (ann, bob) = (s.ann.clone(), s.bob.clone());
    s.post(&ann, &bob, "the first");
    let list = s.http.ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    let conversation = list.at("data.0.id");
    s.subscribe(&bob, "/bob", "text");
    let (mut ws, _) = Ws::native(s.natter.address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    ws.send(&format!(r#"{{"id":1,"op":"focus","conversation":"{conversation}"}}"#)).expect("sent");
    ws.until("re", "1");
    s.post(&ann, &bob, "shown");
    // What comes after it is pushed, and only that.
    let eve = s.http.sign_up("eve");
    s.post(&eve, &bob, "not shown");
    let text = s.browser.decrypt(&s.service.next().body);
    assert_eq!((at(&text, "sender"), at(&text, "body")), ("eve".into(), "not shown".into()));
    drop(ws);
}
