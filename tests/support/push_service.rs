//! A push service of the tests: it speaks TLS on loopback, and judges signature and encryption as a real one and a browser do.
//!
//! Owns its listener, whose threads end with the process, and the keys of one browser. It knows nothing of what is pushed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

use super::net::{PATIENCE, at};
use super::tls;

/// A request that arrived.
#[derive(Debug)]
pub struct Arrived {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn field(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| &line[name.len() + 2..]).unwrap_or_else(|| panic!("no {name}: {}", self.head))
    }
}

/// A push service. It answers by the path of the address: `/gone/…` is 410, `/moved/…` a redirect to `/a/…`, `/slow/…` takes the
/// message and never answers, `/huge/…` begins an answer without end; anything else is 201.
///
/// A connection takes any number of requests, but for `/once/…`, which closes it after the answer without saying so.
pub struct Service {
    pub origin: String,
    pub arrived: Receiver<Arrived>,
    connections: Arc<AtomicUsize>,
}

impl Service {
    pub fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("https://{}", listener.local_addr().expect("an address"));
        let (sender, arrived) = channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&connections);
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
                opened.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let conn = ServerConnection::new(config).expect("a connection");
                    // A client that leaves is what some of the tests want to see.
                    let _ = serve(StreamOwned::new(conn, socket), |arrived| {
                        let _ = sender.send(arrived);
                    });
                });
            }
        });
        Service { origin, arrived, connections }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn next(&self) -> Arrived {
        self.arrived.recv_timeout(PATIENCE).expect("a notification")
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    arrived: impl Fn(Arrived),
) -> std::io::Result<()> {
    while serve_one(&mut stream, &arrived)? {}
    stream.conn.send_close_notify();
    stream.flush()
}

/// Returns whether another request may follow.
fn serve_one(
    stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>,
    arrived: &impl Fn(Arrived),
) -> std::io::Result<bool> {
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
    stream.flush()?;
    Ok(kind != "once")
}

/// The keys of a browser.
pub struct Browser {
    secret: SecretKey,
    pub auth: [u8; 16],
}

impl Browser {
    pub fn new(seed: u8) -> Browser {
        Browser { secret: SecretKey::from_slice(&[seed; 32]).expect("a key"), auth: [seed; 16] }
    }

    pub fn public(&self) -> Vec<u8> {
        self.secret.public_key().to_sec1_point(false).as_bytes().to_vec()
    }

    pub fn subscription(&self, endpoint: &str, level: &str) -> String {
        let (public, auth) = (base64url(&self.public()), base64url(&self.auth));
        format!(r#"{{"endpoint":"{endpoint}","p256dh":"{public}","auth":"{auth}","level":"{level}"}}"#)
    }

    /// RFC 8291 §3.4 and RFC 8188 §2, from the side of the browser.
    pub fn decrypt(&self, body: &[u8]) -> String {
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

/// The signature of RFC 8292, by the key that members subscribe with.
pub fn judge_signature(arrived: &Arrived, key: &str, origin: &str) {
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
