//! Days in minutes: constant posting while sockets come and go and the server is killed and restarted.
//!
//! All the time each listener must receive each message once and in order, and memory must not grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, Received as Frame, Ws, at};
use super::support::process::{Launch, Natter};
use super::verdict;

const PAIRS: usize = 4;
/// Time between two crashes.
const LIFE: Duration = Duration::from_secs(10);
/// Maximum resident memory for 2 × PAIRS people.
const MEMORY_KIB_MAX: u64 = 64 * 1_024;

/// What a listener has received: the greatest seq, how many messages, and how often it reconnected.
#[derive(Default)]
struct Received {
    epoch: String,
    seq: u64,
    messages: u64,
    returns: u64,
}

pub fn run(seconds: u64) -> bool {
    let dir = TestDir::new();
    // One port for all restarts, as clients expect of a server.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let env = [("PORT", port.to_string()), ("RATE_LIMIT", "off".to_owned())];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let launch = Launch::bare(dir.path()).with(&[("LOG_LEVEL", "info,natter::access=warn")]).with(&env);
    let mut natter = launch.start();
    let mut http = Http::connect(natter.address);
    let people: Vec<Person> = (0..2 * PAIRS).map(|i| http.sign_up(&format!("soak{i}"))).collect();
    let (over, posted) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut crashes, mut memory) = (0, Vec::new());
    let began = Instant::now();
    let (address, received) = (
        natter.address,
        thread::scope(|scope| {
            let listeners: Vec<_> = (0..PAIRS)
                .map(|pair| {
                    let (ann, bob) = (&people[2 * pair], &people[2 * pair + 1]);
                    let (over, posted, address) = (&over, &posted, natter.address);
                    scope.spawn(move || talk(address, ann, bob, over, posted, pair as u64));
                    scope.spawn(move || listen(address, bob, over, posted))
                })
                .collect();
            while began.elapsed() < Duration::from_secs(seconds) {
                thread::sleep(LIFE.min(Duration::from_secs(seconds)));
                memory.extend(natter.memory_kib("VmRSS:"));
                natter.kill();
                crashes += 1;
                natter = launch.start();
                println!(
                    "  {:>5} s  {} posts answered, {crashes} crashes, {} KiB",
                    began.elapsed().as_secs(),
                    posted.load(Ordering::Relaxed),
                    memory.last().copied().unwrap_or_default()
                );
            }
            over.store(true, Ordering::Relaxed);
            listeners
                .into_iter()
                .map(|listener| listener.join().expect("a listener"))
                .collect::<Vec<Received>>()
        }),
    );
    check(natter, address, &people, &received, crashes, &memory)
}

fn check(
    natter: Natter,
    address: std::net::SocketAddr,
    people: &[Person],
    received: &[Received],
    crashes: u32,
    memory: &[u64],
) -> bool {
    let mut held = true;
    for (pair, received) in received.iter().enumerate() {
        let bob = &people[2 * pair + 1];
        let list =
            Http::connect(address).ask_as(bob, "GET", "/api/v1/conversations", None).expect("a response");
        let stored: u64 = list.at("data.0.last_n").parse().expect("a number");
        // Messages stored after the listener stopped arrive with one resume.
        let cursor = format!("{}:{}", received.epoch, received.seq);
        let (mut ws, _) = Ws::native(address, &bob.access, Some(&cursor)).expect("a socket");
        let rest = ws.until("event", "caught_up");
        let rest = rest.iter().filter(|text| at(text, "event") == "message.posted").count() as u64;
        let total = received.messages + rest;
        held &= verdict(
            total == stored,
            format_args!(
                "pair {pair}: {stored} stored, {total} received, each once and in order, over {} reconnects",
                received.returns
            ),
        );
    }
    let most = memory.iter().copied().max().unwrap_or_default();
    held &=
        verdict(most < MEMORY_KIB_MAX, format_args!("at most {most} KiB resident, over {crashes} crashes"));
    natter.stop();
    held
}

/// Posts to `to`, each message again until it is answered, whatever happens to the server.
fn talk(
    address: std::net::SocketAddr,
    from: &Person,
    to: &Person,
    over: &AtomicBool,
    posted: &AtomicU64,
    lane: u64,
) {
    let mut http: Option<Http> = None;
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let id = <natter::base::id::Id>::from_u128(u128::from(lane + 1) << 100 | number);
        let body = format!(r#"{{"to":"{}","client_id":"{id}","body":"message {number}"}}"#, to.profile);
        loop {
            if http.is_none() {
                http = Http::try_connect(address).ok();
            }
            let answer = http.as_mut().map(|http| http.ask_as(from, "POST", "/api/v1/messages", Some(&body)));
            match answer {
                Some(Ok(answer)) if answer.status == 201 || answer.status == 200 => break,
                Some(Ok(answer)) => assert_eq!(answer.at("retry"), "true", "{}", answer.text()),
                Some(Err(_)) | None => {
                    http = None;
                    thread::sleep(Duration::from_millis(5)); // it is being started again
                }
            }
        }
        posted.fetch_add(1, Ordering::Relaxed);
    }
}

/// Listens, reconnects with its cursor, and sometimes disconnects by itself.
fn listen(address: std::net::SocketAddr, person: &Person, over: &AtomicBool, posted: &AtomicU64) -> Received {
    let mut received = Received::default();
    let cursor = |received: &Received| {
        (!received.epoch.is_empty()).then(|| format!("{}:{}", received.epoch, received.seq))
    };
    while !over.load(Ordering::Relaxed) {
        let from = cursor(&received);
        let Ok((mut ws, epoch)) = Ws::native(address, &person.access, from.as_deref()) else {
            thread::sleep(Duration::from_millis(5)); // it is being started again
            continue;
        };
        if received.epoch.is_empty() {
            // From the oldest event: "now" would miss what was posted before this socket opened.
            received.epoch = epoch;
            continue;
        }
        assert_eq!(epoch, received.epoch, "a crash under FULL keeps the epoch");
        received.returns += 1;
        let leave_at = posted.load(Ordering::Relaxed) + 20_000;
        while let Ok(Frame::Text(text)) = ws.receive() {
            match at(&text, "event").as_str() {
                "message.posted" => {
                    let seq: u64 = at(&text, "seq").parse().expect("a seq");
                    assert!(seq > received.seq, "{seq} after {}", received.seq);
                    received.seq = seq;
                    received.messages += 1;
                }
                "reset" => panic!("a reset: {text}"),
                _ => {}
            }
            if over.load(Ordering::Relaxed) || posted.load(Ordering::Relaxed) > leave_at {
                break;
            }
        }
    }
    received
}
