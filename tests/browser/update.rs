//! Another version of the client is offered, and is used when the member says so.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A proxy in front of one server that can pretend to be another build: it changes the client's version in both directions.
struct Rebuilt {
    address: SocketAddr,
    is_other: Arc<AtomicBool>,
}

/// In the place of a version, which has as many hexadecimal digits.
const OTHER: &str = "feedfeedfeedfeed";

impl Rebuilt {
    fn of(server: SocketAddr, version: &str) -> Rebuilt {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_other = Arc::new(AtomicBool::new(false));
        let (shared, version) = (Arc::clone(&is_other), version.to_owned());
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (is_other, version) = (Arc::clone(&shared), version.clone());
                // Either side may leave at any time.
                std::thread::spawn(move || pass(&client, server, &version, &is_other).ok());
            }
        });
        Rebuilt { address, is_other }
    }
}

fn pass(mut client: &TcpStream, server: SocketAddr, version: &str, is_other: &AtomicBool) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("an ASCII head");
    let mut upstream = TcpStream::connect(server)?;
    let is_file = head.starts_with("GET / ") || head.starts_with("GET /client/");
    if !is_file {
        upstream.write_all(head.as_bytes())?;
        let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
        std::thread::spawn(move || {
            io::copy(&mut from, &mut to).and_then(|_| to.shutdown(std::net::Shutdown::Write))
        });
        io::copy(&mut upstream, &mut client)?;
        return client.shutdown(std::net::Shutdown::Both);
    }
    // Uncompressed and complete, so that it can be changed; the names have one length.
    let plain: Vec<&str> = head
        .trim_end()
        .split("\r\n")
        .filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !["accept-encoding", "if-none-match", "connection"].contains(&name.as_str())
        })
        .collect();
    let is_other = is_other.load(Ordering::SeqCst);
    let asked = plain.join("\r\n").replace(OTHER, version);
    write!(upstream, "{asked}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    if is_other {
        let (from, to) = (version.as_bytes(), OTHER.as_bytes());
        for i in 0..answer.len().saturating_sub(from.len()) {
            if answer[i..].starts_with(from) {
                answer[i..i + to.len()].copy_from_slice(to);
            }
        }
    }
    client.write_all(&answer)?;
    client.shutdown(std::net::Shutdown::Both)
}

#[test]
fn another_version_is_offered_and_not_forced() {
    let Some(mut stage) = Stage::set() else { return };
    let version = "document.querySelector('script[src]').src.split('/')[4]";
    let probe = stage.page("Probe");
    let own = probe.eval(&mut stage.chromium, version);
    let proxy = Rebuilt::of(stage.plain(), &own);
    let url = format!("http://{}/", proxy.address);
    let ann = stage.sign_up_at("Ann", &url);
    let c = &mut stage.chromium;
    let two = ann.tab(c, "Ann, second tab", &url);
    two.wait(c, "in", ONLINE);
    ann.wait(c, "the worker", "navigator.serviceWorker.controller");
    let offered = format!("{}?.hidden === false", by("update-banner"));
    assert_eq!(ann.eval(c, &offered), "false");

    // The server is upgraded: both tabs offer it, and a reload alone does not change the version.
    proxy.is_other.store(true, Ordering::SeqCst);
    // A look that began before is not repeated.
    let until = Instant::now() + PATIENCE;
    while ann.eval(c, &offered) != "true" {
        assert!(Instant::now() < until, "another version is not found");
        ann.eval(c, "navigator.serviceWorker.ready.then((it) => it.update())");
    }
    for page in [&ann, &two] {
        page.wait(c, "offered", &offered);
    }
    views::check(c, &ann, "update");
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "offered again", &format!("{ONLINE} && {offered}"));
    assert_eq!(ann.eval(c, version), own);

    // Taken in one tab. The other goes on as it is until its member says so.
    two.eval(c, "window.isSame = true");
    ann.click(c, "update-now");
    ann.wait(c, "the other version", &format!("{ONLINE} && {version} === '{OTHER}'"));
    ann.wait(c, "nothing to offer", &format!("{}?.hidden", by("update-banner")));
    assert_eq!(two.eval(c, "window.isSame"), "true");
    two.wait(c, "still offered", &offered);
    two.click(c, "update-now");
    two.wait(c, "the other version", &format!("{ONLINE} && {version} === '{OTHER}'"));
    let caches = ann.eval(c, "caches.keys().then((names) => names.join())");
    assert_eq!(caches, format!("natter:{OTHER}"));
    for page in [&ann, &two] {
        page.has_no_faults(c);
    }
}
