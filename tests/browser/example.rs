//! `examples/client.js` on a page of another origin: it keeps the promise that it shows while its server is killed and its page is
//! loaded anew.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use natter::base::json;

use super::Stage;
use super::chromium::Chromium;
use super::page::Page;
use crate::support::net::Http;

const CLIENT: &str = include_str!("../../examples/client.js");
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Example</title><body><ol></ol><script type=module>\
     import { Client } from './client.js'; window.Client = Client;</script>";

/// A web server with two files.
struct Site {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::spawn(move || serve(stream));
            }
        });
        Site { address, over, thread: Some(thread) }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread; where nobody listens any more, it is over.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            thread.join().expect("its end");
        }
    }
}

/// One request a connection. A browser also opens connections on which it asks nothing.
fn serve(mut stream: TcpStream) {
    stream.set_read_timeout(Some(super::PATIENCE)).expect("a time limit");
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let (media, body) = match line.split(' ').nth(1) {
        Some("/client.js") => ("text/javascript", CLIENT),
        Some("/") => ("text/html", PAGE),
        _ => ("text/plain", ""),
    };
    let mut field = String::new();
    while reader.read_line(&mut field).is_ok_and(|count| count > 2) {
        field.clear();
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The browser may have left.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// Loads the page and signs in; the client shows what it stored before.
fn open(c: &mut Chromium, page: &Page, site: &Site, server: &str, name: &str) {
    page.go(c, &format!("{}/", site.origin()));
    page.wait(c, "the module", "window.Client");
    let sign_in = format!(
        "(async () => {{ window.client = new Client('{server}'); \
         await client.signIn('{name}@example.org', \"correct horse {name}'s\"); return 'in'; }})()"
    );
    assert_eq!(page.eval(c, &sign_in), "in");
}

fn write(c: &mut Chromium, page: &Page, to: &str, texts: &[String]) {
    for text in texts {
        page.eval(c, &format!("client.write('{to}', {})", json::to_string(text)));
    }
}

const BODIES: &str = "JSON.stringify(client.shown().map((message) => message.body))";

#[test]
fn the_example_client_outlives_a_server_that_is_killed_and_a_page_that_is_loaded_anew() {
    let site = Site::start();
    let Some(mut stage) = Stage::with(&[("ALLOWED_ORIGINS", &site.origin())]) else { return };
    let server = stage.origin();
    let mut http = Http::connect(stage.plain());
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let url = format!("{}/", site.origin());
    let c = &mut stage.chromium;
    let (at_ann, at_bob) = (Page::open(c, "Ann", &url), Page::open(c, "Bob", &url));
    open(c, &at_ann, &site, &server, "ann");
    open(c, &at_bob, &site, &server, "bob");
    let texts = |name: &str, from: usize| (from..from + 5).map(|n| format!("{name} {n}")).collect::<Vec<_>>();

    write(c, &at_ann, &bob.profile, &texts("ann", 0));
    write(c, &at_bob, &ann.profile, &texts("bob", 0));
    for page in [&at_ann, &at_bob] {
        page.wait(c, "ten messages", "client.shown().length === 10 && client.state.outbox.length === 0");
    }
    // Some of these are stored and not answered, some are neither.
    write(c, &at_ann, &bob.profile, &texts("ann", 5));
    stage.natter.kill();
    write(c, &at_bob, &ann.profile, &texts("bob", 5));
    write(c, &at_ann, &bob.profile, &texts("ann", 10));
    at_bob.wait(c, "noticed", "!client.live && client.state.outbox.length === 5");
    stage.natter = stage.launch.start();
    // Ann's page begins anew, from what it stored.
    open(c, &at_ann, &site, &server, "ann");
    for page in [&at_ann, &at_bob] {
        page.wait(c, "all messages", "client.shown().length === 25 && client.state.outbox.length === 0");
    }
    let shown = at_ann.eval(c, BODIES);
    assert_eq!(shown, at_bob.eval(c, BODIES));
    let shown = json::parse_text(&shown).expect("JSON");
    let shown: Vec<&str> = shown.as_list().expect("a list").iter().filter_map(|body| body.as_str()).collect();
    for (name, count) in [("ann", 15), ("bob", 10)] {
        let theirs: Vec<&str> = shown.iter().copied().filter(|text| text.starts_with(name)).collect();
        let sent: Vec<String> = (0..count).map(|n| format!("{name} {n}")).collect();
        assert_eq!(theirs, sent, "in the order in which they were written");
    }
}
