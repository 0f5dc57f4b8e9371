//! Tests `kill -9` under load with the real binary.
//!
//! Every answered message is stored once, at its position, and a client that resumes with its cursor gets every event once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::support::TestDir;
use super::support::http::{Person, text_at};
use super::support::net::{Http, Received, Ws, at};
use super::support::process::Launch;
use super::{client_id, post_to};

const SENDERS: usize = 6;
const ROUNDS: usize = 3;
/// The number of answers after which the process is killed.
const ANSWERS: usize = 500;
/// Unanswered posts of a WebSocket sender.
const WINDOW: usize = 16;

/// What one sender knows: its posts in order, and the (n, seq) of each answered one, by client_id.
#[derive(Default)]
struct Sent {
    order: Vec<String>,
    answered: BTreeMap<String, (u64, u64)>,
}

impl Sent {
    fn record(&mut self, client_id: &str, n: &str, seq: &str) {
        let position = (n.parse().expect("an n"), seq.parse().expect("a seq"));
        let earlier = self.answered.insert(client_id.to_owned(), position);
        assert!(earlier.is_none_or(|earlier| earlier == position), "a message moved");
    }
}

/// Posts over HTTP, one after the other, until the server is gone.
fn post_over_http(address: SocketAddr, from: &Person, to: &str, sent: &mut Sent, count: &AtomicUsize) {
    let mut http = Http::connect(address);
    loop {
        let id = client_id();
        sent.order.push(id.clone());
        let Ok(posted) = http.ask_as(from, "POST", "/api/v1/messages", Some(&post_to(to, &id, &id))) else {
            return;
        };
        assert_eq!(posted.status, 201, "{}", posted.text());
        sent.record(&id, &posted.at("data.n"), &posted.at("data.seq"));
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Posts over the native WebSocket, a window of them at a time, until the server is gone.
fn post_over_ws(address: SocketAddr, from: &Person, to: &str, sent: &mut Sent, count: &AtomicUsize) {
    let (mut ws, _) = Ws::native(address, &from.access, None).expect("a socket");
    let mut in_flight = 0;
    loop {
        while in_flight < WINDOW {
            let id = client_id();
            sent.order.push(id.clone());
            if ws.send(&post_to(to, &id, &id)).is_err() {
                return;
            }
            in_flight += 1;
        }
        match ws.receive() {
            Ok(Received::Text(text)) if at(&text, "re") != "null" => {
                sent.record(&at(&text, "re"), &at(&text, "ok.n"), &at(&text, "ok.seq"));
                count.fetch_add(1, Ordering::Relaxed);
                in_flight -= 1;
            }
            Ok(Received::Text(_)) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Listens until the server is gone: the seq and client_id of every message.
fn listen(mut ws: Ws) -> Vec<(u64, String)> {
    let mut received = Vec::new();
    while let Ok(Received::Text(text)) = ws.receive() {
        if at(&text, "event") == "message.posted" {
            received.push((at(&text, "seq").parse().expect("a seq"), at(&text, "data.client_id")));
        }
    }
    received
}

#[test]
fn sigkill_under_load_loses_nothing_and_repeats_nothing() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let mut natter = launch.start();
    let mut http = Http::connect(natter.address);
    let bob = http.sign_up("bob");
    let people: Vec<Person> = (0..SENDERS).map(|i| http.sign_up(&format!("ann{i}"))).collect();
    let mut sent: Vec<Sent> = people.iter().map(|_| Sent::default()).collect();
    let mut received: Vec<(u64, String)> = Vec::new();
    let mut cursor: Option<String> = None;
    for round in 0..ROUNDS {
        let address = natter.address;
        let (mut ws, epoch) = Ws::native(address, &bob.access, cursor.as_deref()).expect("a socket");
        // The events that the listener missed in the crash of the last round come first.
        for text in ws.until("event", "caught_up") {
            assert_ne!(at(&text, "event"), "reset", "a crash under FULL keeps the epoch: {text}");
            if at(&text, "event") == "message.posted" {
                received.push((at(&text, "seq").parse().expect("a seq"), at(&text, "data.client_id")));
            }
        }
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            let listener = scope.spawn(|| listen(ws));
            for (index, (person, sent)) in people.iter().zip(&mut sent).enumerate() {
                let (to, count) = (bob.profile.as_str(), &count);
                match index % 2 {
                    0 => scope.spawn(move || post_over_ws(address, person, to, sent, count)),
                    _ => scope.spawn(move || post_over_http(address, person, to, sent, count)),
                };
            }
            while count.load(Ordering::Relaxed) < ANSWERS * (round + 1) {
                assert!(natter.is_running(), "{:#?}", natter.log());
                thread::yield_now();
            }
            natter.kill();
            received.extend(listener.join().expect("it listens"));
        });
        if let Some((seq, _)) = received.last() {
            cursor = Some(format!("{epoch}:{seq}"));
        }
        natter = launch.start();
    }

    let (mut ws, epoch) = Ws::native(natter.address, &bob.access, cursor.as_deref()).expect("a socket");
    for text in ws.until("event", "caught_up") {
        if at(&text, "event") == "message.posted" {
            received.push((at(&text, "seq").parse().expect("a seq"), at(&text, "data.client_id")));
        }
    }
    assert!(cursor.is_some_and(|cursor| cursor.starts_with(&epoch)));
    assert!(
        received.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "strictly increasing, across every restart"
    );
    let received: BTreeMap<String, u64> = received.into_iter().map(|(seq, id)| (id, seq)).collect();

    let mut http = Http::connect(natter.address);
    let (mut total, mut unanswered) = (0, 0);
    for (person, sent) in people.iter().zip(&sent) {
        let stored = history(&mut http, person);
        // Dense, each client_id once, in the order in which they were sent.
        assert!(stored.iter().map(|(_, n, _)| *n).eq(1..=stored.len() as u64));
        let mut order = sent.order.iter();
        for (id, n, seq) in &stored {
            assert!(order.any(|sent| sent == id), "stored twice, or in another order than sent: {id}");
            assert!(sent.answered.get(id).is_none_or(|answered| *answered == (*n, *seq)), "it moved: {id}");
            assert_eq!(
                received.get(id),
                Some(seq),
                "the listener missed it, or received it with another seq: {id}"
            );
        }
        let stored: BTreeMap<_, _> = stored.iter().map(|(id, n, seq)| (id, (n, seq))).collect();
        for id in sent.answered.keys() {
            assert!(stored.contains_key(id), "answered and lost: {id}");
        }
        total += stored.len();
        // A post without an answer can be repeated, and is then stored once.
        for id in sent.order.iter().filter(|id| !sent.answered.contains_key(*id)) {
            let body = post_to(&bob.profile, id, id);
            let posted = http.ask_as(person, "POST", "/api/v1/messages", Some(&body)).expect("a response");
            let expect = if stored.contains_key(id) { (200, "true") } else { (201, "null") };
            assert_eq!((posted.status, posted.at("duplicate").as_str()), expect, "{id}");
            unanswered += usize::from(!stored.contains_key(id));
        }
        assert_eq!(history(&mut http, person).len(), sent.order.len());
    }
    assert_eq!(received.len(), total, "every received message is stored");
    let list = http.ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(list.at("unread_total"), (total + unanswered).to_string());
}

/// The complete conversation of `person` with the only peer, oldest first: client_id, n, seq.
fn history(http: &mut Http, person: &Person) -> Vec<(String, u64, u64)> {
    let list = http.ask_as(person, "GET", "/api/v1/conversations", None).expect("a response");
    let base = format!("/api/v1/conversations/{}/messages?limit=200", list.at("data.0.id"));
    let (mut all, mut target) = (Vec::new(), format!("{base}&after=0"));
    loop {
        let page = http.ask_as(person, "GET", &target, None).expect("a response");
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        let items = page.as_object().and_then(|page| page.get("data")?.as_list()).expect("a list");
        for item in items {
            let number = |name: &str| text_at(item, name).parse().expect("a number");
            all.push((text_at(item, "client_id"), number("n"), number("seq")));
        }
        match text_at(&page, "next").as_str() {
            "null" => return all,
            next => target = format!("{base}&next={next}"),
        }
    }
}
