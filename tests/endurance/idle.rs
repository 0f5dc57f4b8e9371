//! The cost of waiting: thousands of event streams without events.
//!
//! The predecessor queried its database twice a second for each of them. Here each costs a comment every 15 seconds, and
//! the test limits the CPU time to that.

use std::time::{Duration, Instant};

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE};
use super::support::process::{Launch, Natter};
use super::verdict;

const FORMS: [&str; 3] = ["/api/v1/chat-list", "/api/v1/chat-counter", "/api/v1/events"];
const STREAMS_EACH: usize = 500;
/// The members they belong to, each with several devices.
const MEMBERS: usize = 50;
const WATCHED: Duration = Duration::from_secs(30);
/// A comment costs a timer, a write and the kernel's work on loopback: 25 µs, twice for each stream.
const COMMENT_COST: Duration = Duration::from_micros(25);

pub fn measure() -> bool {
    let dir = TestDir::new();
    let env = [("CONNECTIONS_PER_ADDRESS", "5000"), ("RATE_LIMIT", "off")];
    let natter = Launch::bare(dir.path()).with(&env).start();
    let mut http = Http::connect(natter.address);
    let members: Vec<Person> = (0..MEMBERS).map(|i| http.sign_up(&format!("idle{i}"))).collect();
    // Every member has a chat with an unread message.
    for pair in members.windows(2) {
        let client_id = <natter::base::id::Id>::new(natter::base::time::UnixMs(1), [7; 10]);
        let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"hi"}}"#, pair[1].profile);
        let posted = http.ask_as(&pair[0], "POST", "/api/v1/messages", Some(&body)).expect("a response");
        assert_eq!(posted.status, 201, "{}", posted.text());
    }
    let mut streams = Vec::new();
    for number in 0..STREAMS_EACH {
        for path in FORMS {
            streams.push(open(&natter, &members[number % MEMBERS], path));
        }
    }
    let count = streams.len();
    // The work that follows the opening (presence, idle workers) is done within ten seconds.
    std::thread::sleep(Duration::from_secs(10));
    let (before, began) = (natter.cpu_time(), Instant::now());
    std::thread::sleep(WATCHED);
    let (spent, took) = (natter.cpu_time() - before, began.elapsed());
    let bound = COMMENT_COST * (2 * count) as u32;
    let percent = 100.0 * spent.as_secs_f64() / took.as_secs_f64();
    let mut held = verdict(
        spent <= bound,
        format_args!(
            "{count} idle streams cost {spent:?} in {:.0?}, {percent:.2} % of one core, of {bound:?}",
            took
        ),
    );

    // The streams must still work: after one message, each stream of these two delivers it.
    let client_id = <natter::base::id::Id>::new(natter::base::time::UnixMs(2), [8; 10]);
    let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"awake"}}"#, members[1].profile);
    let posted = http.ask_as(&members[0], "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
    let awake = [0, 2].map(|form| until(&mut streams[FORMS.len() + form], "awake"));
    held &= verdict(awake == [true; 2], format_args!("a list and a log delivered the next message"));
    drop(streams);
    natter.stop();
    held
}

/// Opens a stream and reads its first field.
fn open(natter: &Natter, person: &Person, path: &str) -> Http {
    let mut http = Http::connect(natter.address);
    let bearer = format!("Bearer {}", person.access);
    let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    http.send(&super::support::http::request("GET", path, &fields, None)).expect("sent");
    assert!(until(&mut http, if path.ends_with("events") { "id: " } else { "data: " }), "{path} opens");
    http
}

/// Reads until a text has come.
fn until(http: &mut Http, text: &str) -> bool {
    let until = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    let mut piece = [0; 16_384];
    while Instant::now() < until {
        match std::io::Read::read(&mut http.stream, &mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(count) => all.extend_from_slice(&piece[..count]),
        }
        if all.windows(text.len()).any(|window| window == text.as_bytes()) {
            return true;
        }
    }
    false
}
