//! Notifications by the real binary: a push service of the test decrypts them and judges their form and their signature.
//!
//! The service speaks TLS on loopback, so the tests set PUSH_PRIVATE.

use std::path::Path;

use natter::limits::PUSH_THREADS;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, Ws, at};
use super::support::process::{Launch, Natter, Signal};
use super::support::push_service::{Browser, Service, judge_signature};
use super::support::tls;
use super::{client_id, post_to, until};

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
    until("it is counted", || s.http.metric("natter_pushes_total") == 2);
    // The key outlives the process.
    s.natter.signal(Signal::Term);
    assert!(s.natter.wait().success());
    s.restart();
    assert_eq!(s.http.ask_as(&bob, "GET", "/api/v1/push", None).expect("a response").at("data.key"), key);
}

/// A handshake costs more than all the rest of a notification.
#[test]
fn notifications_share_a_connection_while_the_service_keeps_it() {
    let mut s = Stage::new(&[]);
    let ann = s.ann.clone();
    let people: Vec<Person> = (0..12).map(|i| s.http.sign_up(&format!("reader{i}"))).collect();
    for person in &people {
        s.subscribe(person, "/a/x", "text");
    }
    people.iter().for_each(|person| s.post(&ann, person, "hello"));
    people.iter().for_each(|_| drop(s.service.next()));
    let connections = s.service.connections();
    assert!((1..=PUSH_THREADS).contains(&connections), "{connections} connections for 12 notifications");
    // Each connection of this kind is closed after its answer: the next notification needs a new one, and none is lost.
    let others: Vec<Person> = (0..12).map(|i| s.http.sign_up(&format!("other{i}"))).collect();
    for person in &others {
        s.subscribe(person, "/once/x", "text");
    }
    others.iter().for_each(|person| s.post(&ann, person, "hello"));
    others.iter().for_each(|_| drop(s.service.next()));
    until("each was answered", || s.http.metric("natter_pushes_total") == 24);
    assert_eq!(s.http.metric("natter_push_failures_total"), 0);
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
    until("the end of an endless answer is not waited for", || s.http.metric("natter_pushes_total") == 2);
    until("a refusal is counted", || s.http.metric("natter_push_failures_total") >= 1);
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
    until("the try has failed", || s.http.metric("natter_push_failures_total") == 1);
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
