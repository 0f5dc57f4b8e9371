//! A real Chromium over its DevTools protocol: found, started in its own folder, controlled over one WebSocket, ended.
//!
//! Owns the process and the messages of the protocol; knows nothing of a page's content. Invariants: the process never
//! outlives its value; nothing waits longer than [`PATIENCE`].

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use natter::base::json;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use crate::support::net::at;

/// The limit for anything a browser does on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A name of 127.0.0.1 for which a browser offers only what it offers over plain HTTP.
pub const PLAIN_HOST: &str = "natter.test";

/// The pause between two checks of a condition. Nothing waits for it to pass.
pub const GLANCE: Duration = Duration::from_millis(10);

/// Names under which a Chromium is installed, the usual ones first.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// The Chromium of `NATTER_CHROMIUM`, else the first one in `PATH`.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("NATTER_CHROMIUM") {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

pub struct Chromium {
    process: Process,
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// The faults that each page reported: exceptions, errors in its console, refusals of its policy.
    faults: BTreeMap<String, Vec<String>>,
    /// The registrations of workers that a page with the domain `ServiceWorker` reported, by their scope.
    registrations: BTreeMap<String, String>,
}

impl Chromium {
    /// Starts `binary` with all its files below `folder`, which must be empty. It trusts any certificate if `trusts_all` is set.
    pub fn start(binary: &Path, folder: &Path, trusts_all: bool) -> Chromium {
        let profile = folder.join("profile");
        let home = folder.join("home");
        for folder in [&profile, &home] {
            std::fs::create_dir(folder).expect("a folder");
        }
        let mut command = Command::new(binary);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // A mouse, which a machine without a screen does not have: the tests use elements that show on hover.
            .arg("--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4")
            // A microphone that beeps, which a machine without one does not have.
            .args(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"])
            // A name that is no secure context, as a server in a local network without a certificate.
            .arg(format!("--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"))
            .args(["--disable-breakpad", "--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(trusts_all.then_some("--ignore-certificate-errors"))
            .arg("about:blank")
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("http_proxy")
            .env_remove("all_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process(command.spawn().expect("Chromium starts"));
        let (address, path) = endpoint(&mut process, &profile.join("DevToolsActivePort"));
        Chromium {
            socket: open(address, &path),
            process,
            last_id: 0,
            faults: BTreeMap::new(),
            registrations: BTreeMap::new(),
        }
    }

    /// Sends one command; returns its response as the text of `{"id":…,"result":…}`. `params` are JSON.
    pub fn call(&mut self, session: Option<&str>, method: &str, params: &str) -> String {
        self.last_id += 1;
        let id = self.last_id;
        let session = session.map_or(String::new(), |id| format!(r#","sessionId":{}"#, json::to_string(id)));
        let frame = format!(r#"{{"id":{id},"method":"{method}","params":{params}{session}}}"#);
        self.socket.send(Message::text(frame)).expect("Chromium hears");
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.hear(until).unwrap_or_else(|| panic!("no answer to {method} {params}"));
            if at(&text, "id") == id.to_string() {
                return text;
            }
            self.note(&text);
        }
    }

    /// As [`Chromium::call`]; a refusal is a failed test.
    pub fn must(&mut self, session: Option<&str>, method: &str, params: &str) -> String {
        let answer = self.call(session, method, params);
        assert_eq!(at(&answer, "error"), "null", "{method} {params}: {answer}");
        answer
    }

    /// Returns and clears the faults that a page has reported.
    pub fn faults(&mut self, session: &str) -> Vec<String> {
        self.faults.remove(session).unwrap_or_default()
    }

    /// The registration of the worker of `scope`.
    #[cfg(feature = "tls")]
    pub fn registration(&self, scope: &str) -> Option<&str> {
        self.registrations.get(scope).map(String::as_str)
    }

    fn hear(&mut self, until: Instant) -> Option<String> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(error.kind()) => {
                    if Instant::now() > until {
                        return None;
                    }
                }
                Err(error) => panic!("Chromium is gone: {error}"),
            }
        }
    }

    fn note(&mut self, event: &str) {
        let session = at(event, "sessionId");
        if at(event, "method") == "ServiceWorker.workerRegistrationUpdated" {
            for i in 0.. {
                let of = |name: &str| at(event, &format!("params.registrations.{i}.{name}"));
                match of("isDeleted").as_str() {
                    "false" => drop(self.registrations.insert(of("scopeURL"), of("registrationId"))),
                    "true" => drop(self.registrations.remove(&of("scopeURL"))),
                    _ => return,
                }
            }
        }
        let fault = match at(event, "method").as_str() {
            "Runtime.exceptionThrown" => {
                let thrown = at(event, "params.exceptionDetails.exception.description");
                format!("{} {thrown}", at(event, "params.exceptionDetails.text"))
            }
            "Runtime.consoleAPICalled" if at(event, "params.type") == "error" => {
                format!("console.error {}", at(event, "params.args.0.description"))
            }
            // A broken connection is reported here too, and some tests break it on purpose.
            "Log.entryAdded" if at(event, "params.entry.source") == "security" => {
                at(event, "params.entry.text")
            }
            _ => return,
        };
        self.faults.entry(session).or_default().push(fault);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked first, so that its own children end properly; `Process` ends it in any case.
        let asked = self.socket.send(Message::text(r#"{"id":0,"method":"Browser.close"}"#)).is_ok();
        let until = Instant::now() + Duration::from_secs(5);
        while asked && Instant::now() < until && matches!(self.process.0.try_wait(), Ok(None)) {
            std::thread::sleep(GLANCE);
        }
    }
}

/// A child process that ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended already
        let _ = self.0.wait();
    }
}

/// The address of its listener: it writes port and path into a file when it is ready.
fn endpoint(process: &mut Process, file: &Path) -> (SocketAddr, String) {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n') {
            let port: u16 = port.parse().expect("a port");
            return (SocketAddr::from(([127, 0, 0, 1], port)), path.trim().to_owned());
        }
        if let Some(status) = process.0.try_wait().expect("a child") {
            panic!("Chromium ended at once: {status}");
        }
        assert!(Instant::now() < until, "Chromium opened no listener_kind");
        std::thread::sleep(GLANCE);
    }
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The opening handshake of RFC 6455, without an Origin: Chromium lets no web site in.
fn open(address: SocketAddr, path: &str) -> WebSocket<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("Chromium hears");
    // Byte by byte: the bytes after the head belong to the socket.
    let mut head = Vec::new();
    let until = Instant::now() + PATIENCE;
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => panic!("Chromium hung up"),
            Ok(_) => head.push(byte[0]),
            Err(error) if is_timeout(error.kind()) => assert!(Instant::now() < until, "no answer"),
            Err(error) => panic!("Chromium is gone: {error}"),
        }
    }
    let head = String::from_utf8(head).expect("an ASCII head");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    WebSocket::from_raw_socket(stream, Role::Client, None)
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
