//! Proxies that pass no WebSocket, and one that holds event streams back: messages are sent and received all the same.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use super::*;

/// Heads of requests are smaller.
const HEAD_MAX: usize = 32 * 1024;

/// A proxy of HTTP/1.1 that removes `Upgrade`, and serves one request per connection.
struct Proxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    upgrades: AtomicU32,
    streams: AtomicU32,
    polls: AtomicU32,
}

impl Proxy {
    fn start(server: SocketAddr, passes_streams: bool) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let counts = Arc::clone(&shared);
                // Either side may leave at any time.
                std::thread::spawn(move || pass(client, server, passes_streams, &counts).ok());
            }
        });
        Proxy { address, counts, accepting: Some(accepting) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the thread that accepts
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// Up to the empty line, byte by byte: what follows is not the head's.
fn head_of(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        assert!(head.len() < HEAD_MAX, "a head without an end");
    }
    String::from_utf8(head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn pass(mut client: TcpStream, server: SocketAddr, passes_streams: bool, counts: &Counts) -> io::Result<()> {
    let head = head_of(&mut client)?;
    let mut upstream = TcpStream::connect(server)?;
    let is_hop = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        ["connection", "upgrade", "keep-alive"].contains(&name.as_str())
    };
    let lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    counts
        .upgrades
        .fetch_add(u32::from(lines.iter().any(|line| line.starts_with("Upgrade:"))), Ordering::SeqCst);
    counts
        .polls
        .fetch_add(u32::from(lines[0].contains("/events?") && lines[0].contains("wait=")), Ordering::SeqCst);
    let kept: Vec<&str> = lines.into_iter().filter(|line| !is_hop(line)).collect();
    write!(upstream, "{}\r\nConnection: close\r\n\r\n", kept.join("\r\n"))?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    // The body; and when the client leaves, the server learns it.
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let answer = head_of(&mut upstream)?;
    if answer.contains("text/event-stream") {
        counts.streams.fetch_add(1, Ordering::SeqCst);
        if !passes_streams {
            // Collected until its end, which is when the client gives up.
            return io::copy(&mut upstream, &mut io::sink()).map(|_| ());
        }
    }
    client.write_all(answer.as_bytes())?;
    let copied = io::copy(&mut upstream, &mut client).map(|_| ());
    client.shutdown(Shutdown::Both)?;
    copied
}

/// Ann is behind the proxy and Bob is not: both write, and read what the other wrote.
fn converse(passes_streams: bool, has_expected: fn(&Counts) -> bool) {
    let Some(mut stage) = Stage::set() else { return };
    let proxy = Proxy::start(stage.plain(), passes_streams);
    let ann = stage.sign_up_at("Ann", &format!("http://{}/", proxy.address));
    let bob = stage.sign_up("Bob");
    let folder = stage.launch.folder.clone();
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "Can you read this?");
    bob.click(c, "conversation");
    bob.wait(c, "arrived", &message("Can you read this?"));
    send(c, &bob, "I can. And this?");
    let said = ["Can you read this?", "I can. And this?"].map(str::to_owned);
    for page in [&ann, &bob] {
        page.wait(c, "both ways", &shows(&said, "sent"));
    }
    ann.wait(c, "read", "document.querySelector('[data-mine=true]').dataset.read === 'true'");

    // Files and changes go the same way.
    let file = folder.join("notes.txt");
    std::fs::write(&file, "some notes").expect("a file");
    ann.choose(c, "composer-file", &file);
    ann.click(c, "composer-send");
    bob.wait(c, "the file", &by("message-file"));
    // The list moves under the pointer until it has come back.
    let all_read = "[...document.querySelectorAll('[data-mine=true]')].filter(m => m.dataset.read === 'true').length === 2";
    ann.wait(c, "both are read", all_read);
    ann.hover(c, &message("Can you read this?"));
    ann.click(c, "message-more");
    ann.click(c, "menu-edit");
    ann.fill(c, "composer-input", "Could you read this?");
    ann.press(c, "Enter", 13);
    bob.wait(c, "changed", &message("Could you read this?"));

    // The server is killed: what is written meanwhile is sent, and nothing is missed or doubled.
    stage.natter.kill();
    ann.wait(c, "noticed", &format!("!({ONLINE})"));
    send(c, &ann, "Are you back?");
    stage.natter = stage.launch.start();
    bob.wait(c, "sent", &message("Are you back?"));
    send(c, &bob, "I am.");
    ann.wait(c, "received", &message("I am."));
    ann.wait(c, "online", ONLINE);
    assert_eq!(ann.eval(c, "document.querySelectorAll('[data-testid=message]').length"), "5");
    assert!(proxy.counts.upgrades.load(Ordering::SeqCst) > 0, "a WebSocket is tried first");
    assert!(has_expected(&proxy.counts), "the way that the proxy passes");
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn without_upgrade_the_client_goes_on_over_server_sent_events() {
    converse(true, |counts| {
        counts.streams.load(Ordering::SeqCst) > 0 && counts.polls.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn where_a_proxy_holds_streams_back_the_client_polls() {
    converse(false, |counts| counts.polls.load(Ordering::SeqCst) > 0);
}
