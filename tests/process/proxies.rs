//! Tests of the sample configurations in the README with real proxies, if they are installed.
//!
//! A request, a large upload, a WebSocket and server-sent events pass through, and the address of the client arrives.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::support::TestDir;
use super::support::http::request;
use super::support::net::{Http, PATIENCE, Ws, at};
use super::support::process::{Launch, Natter};
use super::{client_id, post_to};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
/// Debian installs servers in folders that are only in root's PATH.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/sbin"];

/// A proxy in front of a server.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Not SIGKILL, after which its workers would run on. It may have ended already.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The sample of this language in the README.
fn sample(language: &str) -> String {
    let (_, rest) = README.split_once(&format!("```{language}\n")).expect("a sample");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// `text` with `line` instead of the one line that contains `mark`.
fn with_line(text: &str, mark: &str, line: &str) -> String {
    assert_eq!(text.lines().filter(|it| it.contains(mark)).count(), 1, "one line with {mark:?}");
    let lines: Vec<&str> = text.lines().map(|it| if it.contains(mark) { line } else { it }).collect();
    lines.join("\n") + "\n"
}

/// Starts a proxy with arguments for its configuration. `None`, and a line on stderr, if it is not installed.
fn start(name: &str, folder: &Path, configuration: &str, arguments: &[&str], port: u16) -> Option<Proxy> {
    let Some(binary) = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|it| it.exists())
    else {
        eprintln!("{name} is not installed: its sample configuration is not tested");
        return None;
    };
    fs::write(folder.join("configuration"), configuration).expect("a configuration");
    let mut command = Command::new(binary);
    command.args(arguments).current_dir(folder).env("HOME", folder).env("XDG_DATA_HOME", folder);
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut proxy = Proxy { child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(proxy.address).is_err() {
        let ended = proxy.child.try_wait().expect("a child");
        assert!(
            ended.is_none() && Instant::now() < until,
            "{name} does not listen: {ended:?}\n{configuration}"
        );
        std::thread::yield_now();
    }
    Some(proxy)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn natter(dir: &TestDir) -> Natter {
    Launch::new(dir.path()).with(&[("TRUSTED_PROXIES", "127.0.0.1"), ("RATE_LIMIT", "on")]).start()
}

/// The requests of a usual client, through the proxy.
fn play(natter: Natter, proxy: &Proxy) {
    let mut http = Http::connect(proxy.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    // Larger than proxies buffer or accept by default.
    let file = "natter ".repeat(9_000_000 / 7);
    let bearer = format!("Bearer {}", ann.access);
    let length = file.len().to_string();
    let fields =
        [("Authorization", bearer.as_str()), ("X-Filename", "a.txt"), ("Content-Length", length.as_str())];
    let mut upload = request("POST", "/api/v1/uploads", &fields, None);
    upload.extend_from_slice(file.as_bytes());
    http.send(&upload).expect("sent");
    let uploaded = http.response(false).expect("a connection").expect("a response");
    assert_eq!((uploaded.status, uploaded.at("data.size")), (201, length));
    // A stream of each kind receives a message that is posted while it is open.
    let (mut ws, _) = Ws::native(proxy.address, &bob.access, None).expect("a socket");
    ws.until("event", "caught_up");
    let mut events = Http::connect(proxy.address);
    let bearer = format!("Bearer {}", bob.access);
    let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    events.send(&request("GET", "/api/v1/events", &fields, None)).expect("sent");
    read_until(&mut events, "id: ");
    let body = post_to(&bob.profile, &client_id(), "through the proxy");
    let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201);
    assert_eq!(
        at(&ws.until("event", "message.posted").pop().expect("an event"), "data.body"),
        "through the proxy"
    );
    read_until(&mut events, "through the proxy");
    // A refused upgrade is a plain response here too.
    let refused = Ws::open(proxy.address, "/api/v1/ws", "nonsense").expect("a response");
    assert_eq!(refused.err().map(|response| response.status), Some(401));
    // The proxy forwards the address of the client: /metrics is refused for any request through a proxy.
    assert_eq!(http.ask("GET", "/metrics", &[], None).expect("a response").status, 403);
    drop((ws, events, http));
    natter.stop();
}

fn read_until(http: &mut Http, text: &str) {
    let until = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    while !all.windows(text.len()).any(|window| window == text.as_bytes()) {
        let count = std::io::Read::read(&mut http.stream, &mut piece).expect("an event in time");
        // Comments arrive without an end.
        assert!(count > 0 && Instant::now() < until, "no {text:?}: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn the_sample_for_nginx_forwards_every_kind_of_request() {
    let (dir, folder, port) = (TestDir::new(), TestDir::new(), free_port());
    let natter = natter(&dir);
    let server = sample("nginx").replace("127.0.0.1:8080", &natter.address.to_string());
    let server = with_line(&server, "listen 443", &format!("listen 127.0.0.1:{port};"));
    let server = with_line(&with_line(&server, "ssl_certificate ", ""), "ssl_certificate_key", "");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
    // As root its workers would change to another user, who may not write here.
    let root = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.path()).expect("a folder")) == 0;
    let user = if root { "user root;" } else { "" };
    let configuration = format!(
        "{user} daemon off; pid nginx.pid; error_log stderr crit;\nevents {{ worker_connections 64; }}\n\
         http {{\naccess_log off;\n{temporary}{server}}}\n"
    );
    let path = folder.path().display().to_string();
    let arguments = ["-p", path.as_str(), "-c", "configuration", "-e", "stderr"];
    if let Some(proxy) = start("nginx", folder.path(), &configuration, &arguments, port) {
        play(natter, &proxy);
    }
}

#[test]
fn the_sample_for_haproxy_forwards_every_kind_of_request() {
    let (dir, folder, port) = (TestDir::new(), TestDir::new(), free_port());
    let natter = natter(&dir);
    let sample = sample("haproxy").replace("127.0.0.1:8080", &natter.address.to_string());
    let configuration = with_line(&sample, "bind :443", &format!("    bind 127.0.0.1:{port}"));
    if let Some(proxy) =
        start("haproxy", folder.path(), &configuration, &["-db", "-f", "configuration"], port)
    {
        play(natter, &proxy);
    }
}

#[test]
fn the_sample_for_caddy_forwards_every_kind_of_request() {
    let (dir, folder, port) = (TestDir::new(), TestDir::new(), free_port());
    let natter = natter(&dir);
    let sample = sample("caddyfile").replace("127.0.0.1:8080", &natter.address.to_string());
    let sample = with_line(&sample, "chat.example.org {", &format!("http://:{port} {{\n    bind 127.0.0.1"));
    let configuration = format!("{{\n    admin off\n    auto_https off\n}}\n{sample}");
    let arguments = ["run", "--adapter", "caddyfile", "--config", "configuration"];
    if let Some(proxy) = start("caddy", folder.path(), &configuration, &arguments, port) {
        play(natter, &proxy);
    }
}
