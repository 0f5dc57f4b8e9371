//! A conversation between two people with a real binary, step by step, with a result at the end.
//!
//! The binary is that of `NATTER_BIN` (`scripts/smoke` sets it), else that of this build, without any configuration. The other
//! tests cover all cases and errors of each step.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use natter::base::id::Id;
use natter::base::json::{self, Value};
use support::TestDir;
use support::http::{Person, Response, text_at};
use support::net::{Http, Received, Ws, at};
use support::process::{Launch, Natter};

/// The number of messages that ann sends while the server is killed.
const UNDER_FIRE: usize = 40;
const ANSWERED_MIN: usize = 10;

fn main() -> ExitCode {
    // `cargo test WORD` passes the word to every target, and this test runs only if its name has it.
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list")
        || !filters.is_empty() && !filters.iter().any(|word| "smoke".contains(word.as_str()))
    {
        return ExitCode::SUCCESS;
    }
    let dir = TestDir::new();
    let launch = Launch::bare(dir.path());
    println!("natter smoke: {}", launch.binary.display());
    let began = Instant::now();
    match catch_unwind(AssertUnwindSafe(|| converse(&launch))) {
        Ok(()) => {
            println!("natter smoke: PASSED in {:.1} s", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(_) => {
            println!("natter smoke: FAILED");
            ExitCode::FAILURE
        }
    }
}

/// Prints a step that succeeded, with its result.
fn ok(step: &str, seen: impl std::fmt::Display) {
    println!("  ok  {step:<34} {seen}");
}

fn client_id(number: usize) -> String {
    <Id>::from_u128(1 << 100 | number as u128).to_string()
}

fn post_op(to: &Person, number: usize) -> String {
    let id = client_id(number);
    format!(
        r#"{{"op":"message.post","id":"{id}","to":"{}","client_id":"{id}","body":"message {number}"}}"#,
        to.profile
    )
}

#[track_caller]
fn ask(
    http: &mut Http,
    person: &Person,
    method: &str,
    path: &str,
    body: Option<&str>,
    status: u16,
) -> Response {
    let response = http.ask_as(person, method, path, body).expect("a response");
    assert_eq!(response.status, status, "{method} {path}: {}", response.text());
    response
}

fn sign_in(http: &mut Http, name: &str) -> Person {
    let body = format!(r#"{{"email":"{name}@example.org","password":"correct horse {name}'s"}}"#);
    let response = http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    Person::from_response(&response)
}

fn converse(launch: &Launch) {
    let mut natter = launch.start();
    ok("starts without configuration", format!("http://{}", natter.address));
    let mut http = Http::connect(natter.address);
    let signed_up = [http.sign_up("ann"), http.sign_up("bob")];
    ok("two people sign up", format!("{} and {}", signed_up[0].profile, signed_up[1].profile));
    let (ann, bob) = (sign_in(&mut http, "ann"), sign_in(&mut http, "bob"));
    assert_eq!((&ann.profile, &bob.profile), (&signed_up[0].profile, &signed_up[1].profile));
    ok("and sign in", "each with a session of its own");

    let cursor = talk(&natter, &mut http, &ann, &bob);
    let answered = under_fire(&natter, &ann, &bob);
    natter.kill();
    ok("kill -9 while ann posts", format!("{} of {UNDER_FIRE} were answered", answered.len()));
    natter = launch.start();
    ok("restarts on the same data", format!("http://{}", natter.address));
    resume(&natter, &ann, &bob, &cursor, &answered);

    natter.stop();
    let check = launch.run(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    ok("SIGTERM ends it with status 0", String::from_utf8_lossy(&check.stdout).trim_end());
}

/// Ann uses the legacy socket, bob the native one; the third message is sent over HTTP. Returns bob's cursor at the end.
fn talk(natter: &Natter, http: &mut Http, ann: &Person, bob: &Person) -> String {
    let (mut native, epoch) = Ws::native(natter.address, &bob.access, None).expect("bob's socket");
    native.until("event", "caught_up");
    let target = format!("/api/v1/ws/{}/{}?access={}", ann.profile, bob.profile, ann.access);
    let mut pair =
        Ws::open(natter.address, &target, &ann.access).expect("a connection").expect("ann's socket");
    assert_eq!(pair.text(), "[]", "no history yet");
    ok("both WebSocket forms open", format!("epoch {epoch}"));

    pair.send(r#"{"message":"hi bob"}"#).expect("sent");
    let echoed = pair.text();
    assert_eq!((at(&echoed, "0.message"), at(&echoed, "0.sender")), ("hi bob".into(), ann.profile.clone()));
    let received = native.text();
    assert_eq!(
        (at(&received, "event"), at(&received, "data.body"), at(&received, "data.n")),
        ("message.posted".into(), "hi bob".into(), "1".into())
    );
    ok("ann posts on the legacy socket", "bob receives it on the native one");

    native.send(&post_op(ann, 2)).expect("sent");
    let answer = native.text();
    assert_eq!((at(&answer, "re"), at(&answer, "ok.n")), (client_id(2), "2".into()), "{answer}");
    assert_eq!(at(&pair.text(), "0.message"), "message 2");
    ok("bob posts on the native socket", "ann receives it on the legacy one");

    let posted = ask(http, ann, "POST", "/api/v1/messages", Some(&post_op(bob, 3)), 201);
    let again = ask(http, ann, "POST", "/api/v1/messages", Some(&post_op(bob, 3)), 200);
    assert_eq!((again.at("duplicate"), again.at("data")), ("true".into(), posted.at("data")));
    // Before it bob receives that ann, whose legacy socket shows his message, has read it.
    let last = native.until("event", "message.posted").pop().expect("one");
    assert_eq!(at(&last, "data.n"), "3");
    ok("ann posts over HTTP, twice", "the second answer is the original");

    let list = ask(http, bob, "GET", "/api/v1/conversations", None, 200);
    assert_eq!((list.at("data.0.unread"), list.at("data.0.last_n")), ("1".into(), "3".into()));
    let path = format!("/api/v1/conversations/{}/read", list.at("data.0.id"));
    let read = ask(http, bob, "POST", &path, Some(r#"{"n":3}"#), 200);
    assert_eq!((read.at("data.read_n"), read.at("data.unread")), ("3".into(), "0".into()));
    ok("bob has one unread, and reads it", "unread 0");
    let bodies: Vec<String> = history(http, ann).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["hi bob", "message 2", "message 3"]);
    ok("the history has it all", "3 messages, n = 1, 2, 3");
    format!("{epoch}:{}", at(&last, "seq"))
}

/// Ann posts without waiting; returns the numbers of the answered posts, which are some of all.
fn under_fire(natter: &Natter, ann: &Person, bob: &Person) -> Vec<usize> {
    let (mut ws, _) = Ws::native(natter.address, &ann.access, None).expect("ann's socket");
    ws.until("event", "caught_up");
    let numbers = 4..4 + UNDER_FIRE;
    for number in numbers.clone().take(UNDER_FIRE / 2) {
        ws.send(&post_op(bob, number)).expect("sent");
    }
    let mut answered = Vec::new();
    while answered.len() < ANSWERED_MIN {
        match ws.receive().expect("a frame") {
            Received::Text(text) => {
                answered.extend(numbers.clone().find(|n| client_id(*n) == at(&text, "re")))
            }
            other => panic!("{other:?}"),
        }
    }
    // The other half is sent when the server is killed.
    for number in numbers.skip(UNDER_FIRE / 2) {
        ws.send(&post_op(bob, number)).expect("sent");
    }
    answered
}

/// Bob resumes with his cursor; ann repeats the posts without an answer. Nothing is lost, and nothing is stored twice.
fn resume(natter: &Natter, ann: &Person, bob: &Person, cursor: &str, answered: &[usize]) {
    let mut http = Http::connect(natter.address);
    let (mut ws, _) = Ws::native(natter.address, &bob.access, Some(cursor)).expect("bob's socket");
    let mut received: Vec<String> = Vec::new();
    let mut listen = |texts: Vec<String>| {
        let posted = texts.iter().filter(|text| at(text, "event") == "message.posted");
        received.extend(posted.map(|text| at(text, "data.client_id")));
        received.clone()
    };
    let after_crash = listen(ws.until("event", "caught_up"));
    for number in answered {
        assert!(after_crash.contains(&client_id(*number)), "message {number} was answered and is lost");
    }
    ok("bob resumes from his cursor", format!("{} messages he had missed", after_crash.len()));
    let (mut new, mut old) = (0, 0);
    for number in (4..4 + UNDER_FIRE).filter(|number| !answered.contains(number)) {
        let posted =
            http.ask_as(ann, "POST", "/api/v1/messages", Some(&post_op(bob, number))).expect("a response");
        match (posted.status, after_crash.contains(&client_id(number))) {
            (201, false) => new += 1,
            (200, true) => old += 1,
            (status, stored) => panic!("message {number}: {status}, stored: {stored}: {}", posted.text()),
        }
    }
    ok("ann posts again what had no answer", format!("{old} had been stored, {new} had not"));
    let last = (0..new).map(|_| ws.text()).collect();
    let received = listen(last);
    let stored = history(&mut http, bob);
    let expect: Vec<String> = stored.iter().skip(3).map(|(client_id, _)| client_id.clone()).collect();
    assert_eq!(received, expect, "what bob received is what is stored, in its order");
    assert_eq!(expect.len(), UNDER_FIRE);
    for number in 4..4 + UNDER_FIRE {
        assert_eq!(expect.iter().filter(|id| **id == client_id(number)).count(), 1, "message {number}");
    }
    ok("nothing lost, nothing twice", format!("{} messages, n = 1 to {0}", stored.len()));
}

/// All messages of the only conversation: client_id and body, checked to be dense.
fn history(http: &mut Http, person: &Person) -> Vec<(String, String)> {
    let list = ask(http, person, "GET", "/api/v1/conversations", None, 200);
    let path = format!("/api/v1/conversations/{}/messages?limit=200", list.at("data.0.id"));
    let page = ask(http, person, "GET", &path, None, 200);
    let page = json::parse(&page.body).unwrap_or_else(|_| panic!("not JSON"));
    let items = page.as_object().and_then(|page| page.get("data")).and_then(Value::as_list).expect("a list");
    let numbers = items.iter().map(|item| text_at(item, "n").parse::<usize>().expect("an n"));
    assert!(numbers.eq(1..=items.len()), "dense");
    items.iter().map(|item| (text_at(item, "client_id"), text_at(item, "body"))).collect()
}
