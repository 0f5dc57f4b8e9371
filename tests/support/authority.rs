//! A certificate authority of the tests: ACME over https on a real socket, with faults on demand.
//!
//! It judges every signed request (RFC 8555 §6): form, signature, nonce, URL, and whether the key is shown or named. A test ends
//! with [`Authority::judge`]. Owns no assertion about natter's certificates. Invariant: a nonce is good once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use natter::base::crypto::{base64url, base64url_decode, sha256};
use natter::base::json::{self, Value};
use natter::base::time::{UnixS, rfc3339};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use time::OffsetDateTime;

use super::net::PATIENCE;
use super::tls;

/// How domains are looked at.
#[derive(Clone, Debug)]
pub enum Look {
    /// Nobody looks, and all is well.
    Trust,
    /// The look fails with this reason.
    Fail(&'static str),
    /// The authority really looks, at these ports of 127.0.0.1.
    At { http: u16, tls: u16 },
    /// It has not looked yet.
    Later,
}

/// What the authority does. A test changes it at any time.
#[derive(Clone, Debug)]
pub struct Conduct {
    pub look: Look,
    /// Kinds of challenges that it offers.
    pub offers: Vec<&'static str>,
    /// Signed requests that get `badNonce`.
    pub refused_nonces: u32,
    /// A request for an order gets 429 with this Retry-After.
    pub limited_s: Option<u64>,
    /// Polls of an order before its certificate is there.
    pub slow_polls: u32,
    /// Orders are forgotten as soon as the domains are proven.
    pub forgets_orders: bool,
    /// Validity of the certificates, in Unix seconds.
    pub validity: (u64, u64),
    /// What it suggests for the renewal of a certificate, in Unix seconds; `None`: it does not offer that.
    pub window: Option<(u64, u64)>,
}

struct Order {
    domains: Vec<String>,
    polls_left: u32,
    is_final: bool,
    /// PEM, once it is signed.
    chain: Option<String>,
}

struct Authorization {
    domain: String,
    token: String,
    status: &'static str,
    /// The kind of challenge that natter chose.
    chosen: Option<&'static str>,
    error: String,
}

struct State {
    conduct: Conduct,
    port: u16,
    nonces: BTreeSet<String>,
    made: u64,
    /// Public keys by the URL of their account.
    accounts: BTreeMap<String, [String; 2]>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    issued: Vec<Vec<u8>>,
    /// Method and path of every request.
    requests: Vec<String>,
    /// `replaces` of the orders.
    replaced: Vec<Option<String>>,
    complaints: Vec<String>,
    issuer: Issuer<'static, KeyPair>,
}

pub struct Authority {
    /// The URL of its directory.
    pub directory: String,
    /// What its certificates are signed with.
    pub root: CertificateDer<'static>,
    state: Arc<Mutex<State>>,
}

/// The certificate that natter's client trusts the authority by.
pub fn ca_file() -> PathBuf {
    Path::new(tls::FOLDER).join("authority.pem")
}

impl Authority {
    pub fn start(conduct: Conduct) -> Authority {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root").der().clone();
        let state = State {
            conduct,
            port,
            nonces: BTreeSet::new(),
            made: 0,
            accounts: BTreeMap::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            issued: Vec::new(),
            requests: Vec::new(),
            replaced: Vec::new(),
            complaints: Vec::new(),
            issuer: Issuer::new(params, key),
        };
        let state = Arc::new(Mutex::new(state));
        let (config, shared) = (server_config(), Arc::clone(&state));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
                std::thread::spawn(move || serve(socket.expect("a connection"), config, &shared));
            }
        });
        Authority { directory: format!("https://127.0.0.1:{port}/dir"), root, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    pub fn conduct(&self, change: impl FnOnce(&mut Conduct)) {
        change(&mut self.state().conduct);
    }

    /// How many requests had this method and path, such as `POST /new-order`.
    pub fn asked(&self, request: &str) -> usize {
        self.state().requests.iter().filter(|asked| *asked == request).count()
    }

    /// The kind of the challenge that was chosen in each authorization.
    pub fn chosen(&self) -> Vec<&'static str> {
        self.state().authorizations.iter().filter_map(|it| it.chosen).collect()
    }

    /// The certificates that it gave, in DER.
    pub fn issued(&self) -> Vec<Vec<u8>> {
        self.state().issued.clone()
    }

    /// What each order said that it replaces.
    pub fn replaced(&self) -> Vec<Option<String>> {
        self.state().replaced.clone()
    }

    pub fn accounts(&self) -> usize {
        self.state().accounts.len()
    }

    /// Fails if a request was not what it must be.
    #[track_caller]
    pub fn judge(&self) {
        let state = self.state();
        assert!(state.complaints.is_empty(), "{:#?}", state.complaints);
    }
}

fn server_config() -> Arc<ServerConfig> {
    let read = |file: &str| std::fs::read(Path::new(tls::FOLDER).join(file)).expect("a file");
    let certificate = CertificateDer::from_pem_slice(&read("p256.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("p256.key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    Arc::new(config)
}

/// A response: status, fields, body.
type Said = (u16, Vec<(&'static str, String)>, String);

fn serve(socket: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) {
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut stream = StreamOwned::new(ServerConnection::new(config).expect("a connection"), socket);
    let Some((head, body)) = read_request(&mut stream) else { return };
    let mut state = state.lock().expect("no panic");
    let (status, fields, content) = state.answer(&head, &body);
    let request = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let is_head = request.starts_with("HEAD ");
    state.requests.push(request);
    drop(state);
    let mut text = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", content.len());
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    if !is_head {
        text.push_str(&content);
    }
    // A client that has left has its reasons.
    let written = stream.write_all(text.as_bytes());
    stream.conn.send_close_notify();
    let _ = written.and_then(|()| stream.flush());
}

fn read_request(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(at) = head {
            let head = String::from_utf8(bytes[..at].to_vec()).ok()?;
            let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if bytes.len() >= at + length {
                return Some((head, bytes[at..at + length].to_vec()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A client that does not trust this server.
            Err(_) => return None,
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn problem(status: u16, kind: &str, detail: &str) -> Said {
    let body =
        format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}","status":{status}}}"#);
    (status, Vec::new(), body)
}

/// A signed request that is what it must be.
struct Signed {
    account: String,
    payload: Vec<u8>,
}

impl State {
    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    fn nonce(&mut self) -> String {
        self.made += 1;
        let nonce = base64url(&sha256(format!("nonce {} {}", self.port, self.made).as_bytes()));
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn answer(&mut self, head: &str, body: &[u8]) -> Said {
        let line: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').collect();
        let [method, path, "HTTP/1.1"] = line[..] else {
            self.complaints.push(format!("no request line: {head}"));
            return problem(400, "malformed", "no request line");
        };
        for (name, expect) in
            [("host", format!("127.0.0.1:{}", self.port)), ("user-agent", "natter".to_owned())]
        {
            if field(head, name) != Some(&expect) {
                self.complaints.push(format!("{method} {path}: {name} is {:?}", field(head, name)));
            }
        }
        let (status, mut fields, content) = match (method, path) {
            // As at Let's Encrypt, without a nonce.
            ("GET", "/dir") => return (200, Vec::new(), self.directory()),
            ("GET", path) if path.starts_with("/renewal/") => return self.renewal(path),
            ("HEAD", "/new-nonce") => (200, Vec::new(), String::new()),
            ("POST", path) => match self.check(head, path, body) {
                Ok(signed) => self.act(path, &signed),
                Err(said) => said,
            },
            _ => {
                self.complaints.push(format!("{method} {path}"));
                problem(405, "malformed", "no such method")
            }
        };
        fields.push(("Replay-Nonce", self.nonce()));
        (status, fields, content)
    }

    fn directory(&self) -> String {
        let renewal = match self.conduct.window {
            Some(_) => format!(r#","renewalInfo":"{}""#, self.url("/renewal")),
            None => String::new(),
        };
        format!(
            r#"{{"newNonce":"{}","newAccount":"{}","newOrder":"{}","meta":{{"termsOfService":"x"}}{renewal}}}"#,
            self.url("/new-nonce"),
            self.url("/new-account"),
            self.url("/new-order")
        )
    }

    fn renewal(&mut self, path: &str) -> Said {
        let Some((start, end)) = self.conduct.window else { return problem(404, "malformed", "no") };
        let names = |der: &Vec<u8>| {
            let facts = natter::proto::x509::facts(der).expect("a certificate");
            natter::proto::acme::renewal_info::name(&facts).expect("an issuer")
        };
        if !self.issued.iter().any(|der| path.ends_with(&names(der))) {
            self.complaints.push(format!("a question about an unknown certificate: {path}"));
        }
        let time = |at: u64| rfc3339(UnixS(at).ms());
        let body = format!(r#"{{"suggestedWindow":{{"start":"{}","end":"{}"}}}}"#, time(start), time(end));
        (200, vec![("Retry-After", "21600".to_owned())], body)
    }

    /// Judges a signed request.
    fn check(&mut self, head: &str, path: &str, body: &[u8]) -> Result<Signed, Said> {
        let fault = |state: &mut State, what: &str| {
            state.complaints.push(format!("POST {path}: {what}"));
            problem(400, "malformed", what)
        };
        let Some((protected, payload, signature)) = parts(body) else {
            return Err(fault(self, "not a flattened JWS"));
        };
        if field(head, "content-type") != Some("application/jose+json") {
            return Err(fault(self, "the content type"));
        }
        let header = base64url_decode(&protected).unwrap_or_default();
        let Ok(header) = json::parse(&header) else { return Err(fault(self, "the header")) };
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        if text("alg") != Some("ES256") || text("url") != Some(&self.url(path)) {
            return Err(fault(self, "alg or url"));
        }
        let (account, key) = match (header.get("jwk"), text("kid")) {
            (Some(jwk), None) if path == "/new-account" => {
                let part = |name| jwk.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                if part("kty") != "EC" || part("crv") != "P-256" {
                    return Err(fault(self, "the key"));
                }
                let key = [part("x"), part("y")];
                let known =
                    self.accounts.iter().find(|(_, known)| **known == key).map(|(url, _)| url.clone());
                (known.unwrap_or_else(|| self.url(&format!("/account/{}", self.accounts.len() + 1))), key)
            }
            (None, Some(kid)) if path != "/new-account" => match self.accounts.get(kid) {
                Some(key) => (kid.to_owned(), key.clone()),
                None => return Err(problem(400, "accountDoesNotExist", "no such account")),
            },
            _ => return Err(fault(self, "jwk and kid")),
        };
        let [x, y] = key.each_ref().map(|part| base64url_decode(part).unwrap_or_default());
        let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4][..], &x, &y].concat()).verify(
            format!("{protected}.{payload}").as_bytes(),
            &base64url_decode(&signature).unwrap_or_default(),
        );
        if verified.is_err() {
            return Err(fault(self, "the signature"));
        }
        if !self.nonces.remove(text("nonce").unwrap_or_default()) {
            return Err(fault(self, "the nonce was never good, or was used"));
        }
        if self.conduct.refused_nonces > 0 {
            self.conduct.refused_nonces -= 1;
            return Err(problem(400, "badNonce", "on purpose"));
        }
        if path == "/new-account" {
            self.accounts.insert(account.clone(), key);
        }
        let payload = base64url_decode(&payload).unwrap_or_default();
        Ok(Signed { account, payload })
    }

    fn act(&mut self, path: &str, signed: &Signed) -> Said {
        let payload = json::parse(if signed.payload.is_empty() { b"null" } else { &signed.payload });
        let payload = payload.unwrap_or(Value::Null);
        let numbered = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        if path == "/new-account" {
            if payload.get("termsOfServiceAgreed") != Some(&Value::Bool(true)) {
                self.complaints.push("the terms were not agreed to".to_owned());
            }
            return (201, vec![("Location", signed.account.clone())], r#"{"status":"valid"}"#.to_owned());
        }
        if path == "/new-order" {
            return self.new_order(&payload);
        }
        let is_post_as_get = signed.payload.is_empty();
        if let Some(index) = numbered("/order/") {
            return if is_post_as_get { self.order(index) } else { self.not_empty(path) };
        }
        if let Some(index) = numbered("/authorization/") {
            return if is_post_as_get { self.authorization(index) } else { self.not_empty(path) };
        }
        if let Some(index) = numbered("/certificate/") {
            let chain = self.orders.get(index).and_then(|order| order.chain.clone());
            return (200, Vec::new(), chain.unwrap_or_default());
        }
        if let Some(index) = numbered("/finalize/") {
            return self.finalize(index, &payload);
        }
        for kind in ["http-01", "tls-alpn-01"] {
            if let Some(index) = numbered(&format!("/{kind}/")) {
                if payload.as_object().is_none() {
                    self.complaints.push(format!("{path}: the payload is not an object"));
                }
                self.authorizations[index].chosen = Some(kind);
                return (200, Vec::new(), r#"{"status":"processing"}"#.to_owned());
            }
        }
        self.complaints.push(format!("POST {path}"));
        problem(404, "malformed", "no such resource")
    }

    fn not_empty(&mut self, path: &str) -> Said {
        self.complaints.push(format!("{path}: POST-as-GET has an empty payload"));
        problem(400, "malformed", "not empty")
    }

    fn new_order(&mut self, payload: &Value<'_>) -> Said {
        if let Some(wait) = self.conduct.limited_s {
            let (status, mut fields, body) = problem(429, "rateLimited", "too many orders");
            fields.push(("Retry-After", wait.to_string()));
            return (status, fields, body);
        }
        let list = payload.get("identifiers").and_then(Value::as_list).unwrap_or_default();
        let domain = |item: &Value<'_>| {
            (item.get("type")?.as_str()? == "dns").then(|| item.get("value")?.as_str().map(str::to_owned))?
        };
        let domains: Vec<String> = list.iter().filter_map(domain).collect();
        self.replaced.push(payload.get("replaces").and_then(Value::as_str).map(str::to_owned));
        let index = self.orders.len();
        for domain in &domains {
            let token = base64url(&sha256(format!("{domain} {index}").as_bytes()));
            let domain = domain.clone();
            self.authorizations.push(Authorization {
                domain,
                token,
                status: "pending",
                chosen: None,
                error: String::new(),
            });
        }
        let polls_left = self.conduct.slow_polls;
        self.orders.push(Order { domains, polls_left, is_final: false, chain: None });
        let (_, fields, body) = self.order(index);
        (201, fields, body)
    }

    /// The first authorization of an order.
    fn first_authorization(&self, order: usize) -> usize {
        self.orders[..order].iter().map(|order| order.domains.len()).sum()
    }

    fn order(&mut self, index: usize) -> Said {
        let first = self.first_authorization(index);
        let Some(order) = self.orders.get_mut(index) else { return problem(404, "malformed", "no order") };
        let all = first..first + order.domains.len();
        let statuses: Vec<&str> = self.authorizations[all.clone()].iter().map(|it| it.status).collect();
        let is_proven = statuses.iter().all(|status| *status == "valid");
        if is_proven && self.conduct.forgets_orders {
            return problem(404, "malformed", "the order has expired");
        }
        let status = if statuses.contains(&"invalid") {
            "invalid"
        } else if !is_proven {
            "pending"
        } else if !order.is_final {
            "ready"
        } else if order.polls_left > 0 {
            order.polls_left -= 1;
            "processing"
        } else {
            "valid"
        };
        let urls = all.map(|index| format!("\"{}\"", self.url(&format!("/authorization/{index}"))));
        let mut body = format!(
            r#"{{"status":"{status}","authorizations":[{}],"finalize":"{}""#,
            urls.collect::<Vec<_>>().join(","),
            self.url(&format!("/finalize/{index}"))
        );
        if status == "valid" {
            body.push_str(&format!(r#","certificate":"{}""#, self.url(&format!("/certificate/{index}"))));
        }
        body.push('}');
        let location = self.url(&format!("/order/{index}"));
        (200, vec![("Location", location), ("Retry-After", "1".to_owned())], body)
    }

    fn authorization(&mut self, index: usize) -> Said {
        self.look(index);
        let Some(it) = self.authorizations.get(index) else {
            return problem(404, "malformed", "no authorization");
        };
        let offers = self.conduct.offers.iter().map(|kind| {
            let url = self.url(&format!("/{kind}/{index}"));
            let error = if it.chosen == Some(*kind) && !it.error.is_empty() {
                format!(
                    r#","error":{{"type":"urn:ietf:params:acme:error:connection","detail":"{}"}}"#,
                    it.error
                )
            } else {
                String::new()
            };
            format!(r#"{{"type":"{kind}","url":"{url}","token":"{}"{error}}}"#, it.token)
        });
        let body = format!(
            r#"{{"status":"{}","identifier":{{"type":"dns","value":"{}"}},"challenges":[{}]}}"#,
            it.status,
            it.domain,
            offers.collect::<Vec<_>>().join(",")
        );
        (200, vec![("Retry-After", "1".to_owned())], body)
    }

    /// Looks at a domain for which natter has chosen a challenge.
    fn look(&mut self, index: usize) {
        let Some(it) = self.authorizations.get(index) else { return };
        let (Some(kind), "pending") = (it.chosen, it.status) else { return };
        // There is one account in these tests.
        let [x, y] = self.accounts.values().next().cloned().unwrap_or_default();
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let expect = format!("{}.{}", it.token, base64url(&sha256(jwk.as_bytes())));
        let result = match &self.conduct.look {
            Look::Later => return,
            Look::Trust => Ok(()),
            Look::Fail(reason) => Err((*reason).to_owned()),
            Look::At { http, .. } if kind == "http-01" => look_by_http(*http, &it.domain, &it.token, &expect),
            Look::At { tls, .. } => look_by_tls(*tls, &it.domain, &expect),
        };
        let it = &mut self.authorizations[index];
        match result {
            Ok(()) => it.status = "valid",
            Err(reason) => (it.status, it.error) = ("invalid", reason),
        }
    }

    fn finalize(&mut self, index: usize, payload: &Value<'_>) -> Said {
        let Some(order) = self.orders.get_mut(index) else { return problem(404, "malformed", "no order") };
        let csr = payload.get("csr").and_then(Value::as_str).and_then(base64url_decode).unwrap_or_default();
        let has = |name: &str| csr.windows(name.len()).any(|bytes| bytes == name.as_bytes());
        let Some(point) = public_point(&csr).filter(|_| order.domains.iter().all(|domain| has(domain)))
        else {
            self.complaints.push("the certificate request has no key on P-256, or not all names".to_owned());
            return problem(400, "badCSR", "no");
        };
        let (not_before, not_after) = self.conduct.validity;
        let time = |at: u64| OffsetDateTime::from_unix_timestamp(at as i64).expect("a time");
        let mut params = CertificateParams::new(order.domains.clone()).expect("names");
        (params.not_before, params.not_after) = (time(not_before), time(not_after));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&Point(point), &self.issuer).expect("a certificate");
        let der = certificate.der().to_vec();
        order.is_final = true;
        order.chain = Some(pem(&der));
        self.issued.push(der);
        self.order(index)
    }
}

/// The three parts of a flattened JWS, and nothing else.
fn parts(body: &[u8]) -> Option<(String, String, String)> {
    let value = json::parse(body).ok()?;
    let part = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    (value.as_object()?.iter().count() == 3).then_some(())?;
    Some((part("protected")?, part("payload")?, part("signature")?))
}

/// The public key of a certificate request: an uncompressed point after the names of its algorithm and curve.
fn public_point(csr: &[u8]) -> Option<Vec<u8>> {
    const HEAD: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let at = csr.windows(HEAD.len()).position(|bytes| bytes == HEAD)? + HEAD.len();
    csr.get(at..at + 65).map(<[u8]>::to_vec)
}

struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn pem(der: &[u8]) -> String {
    let text = natter::base::crypto::base64(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// A look by HTTP-01 (RFC 8555 §8.3).
fn look_by_http(port: u16, domain: &str, token: &str, expect: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let request = format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {domain}\r\n\r\n");
    socket.write_all(request.as_bytes()).map_err(text)?;
    let mut response = String::new();
    socket.read_to_string(&mut response).map_err(text)?;
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body.trim_end());
    if response.starts_with("HTTP/1.1 200 ") && body == Some(expect) {
        Ok(())
    } else {
        Err("another response".to_owned())
    }
}

/// A look by TLS-ALPN-01 (RFC 8737 §3).
fn look_by_tls(port: u16, domain: &str, expect: &str) -> Result<(), String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (certificate, rest) = tls::challenge(address, domain).map_err(|error| error.to_string())?;
    let names = certificate.windows(domain.len()).any(|bytes| bytes == domain.as_bytes());
    // The extension is critical, and its value is an octet string in an octet string.
    let value = [&[0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20][..], &sha256(expect.as_bytes())].concat();
    let shows = certificate.windows(value.len()).any(|bytes| bytes == value);
    if names && shows && rest.is_empty() { Ok(()) } else { Err("another certificate".to_owned()) }
}
