//! Measures what notifications cost the posts: 5,000 posts a second to members with a thousand subscribed devices, beside the same
//! load on a server without subscriptions.
//!
//! `cargo bench --bench push`, or `-- 3` for three pairs instead of 20. The two servers take the same load in turns, so that both
//! meet the same machine; a push service in this process decrypts TLS and takes each notification. `NATTER_BIN` measures another
//! binary. The bench prints the median ratio with its interval, and ends with status 1 if a required value is missed.

#[path = "support/bare.rs"]
#[allow(dead_code, reason = "only the text of a message is used")]
mod bare;
#[path = "support/line.rs"]
mod line;
#[path = "support/people.rs"]
mod people;
#[path = "support/ratios.rs"]
mod ratios;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use people::People;
use ratios::{PAIRS, Ratio, median};
use support::TestDir;
use support::http::Person;
use support::net::{Http, PATIENCE};
use support::process::{Launch, Natter};
use support::push_service::{Browser, Service};
use support::tls;

/// Members who post, and as many who receive.
const TALKERS: usize = 64;
/// Subscribed devices of each receiver: 1,024 together.
const DEVICES: usize = 16;
const RATE: u32 = 5_000;
/// Longer than the delay of a notification, so that they are sent during the load.
const ROUND: Duration = Duration::from_secs(8);
/// The required parts: posts/s at least, p99 at most.
const POSTS_FLOOR: f64 = 0.95;
const P99_CEILING: f64 = 1.05;

struct Side {
    natter: Natter,
    people: People,
    _dir: TestDir,
}

/// What one round showed.
struct Round {
    per_second: f64,
    p99_ms: f64,
    cpu_us: f64,
}

fn main() -> ExitCode {
    let pairs = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(PAIRS).max(1);
    let service = distant_service();
    let mut without = Side::start(None);
    let mut with = Side::start(Some(&service));
    let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    let (pushes_before, began) = (with.metric("natter_pushes_total"), Instant::now());
    let mut loaded = Duration::ZERO;
    for _ in 0..pairs {
        rounds[0].push(without.round());
        let start = Instant::now();
        rounds[1].push(with.round());
        loaded += start.elapsed();
    }
    let pushes = with.metric("natter_pushes_total") - pushes_before;
    println!("{pairs} pairs of {} s at {RATE} posts/s, {} s", ROUND.as_secs(), began.elapsed().as_secs());
    for (name, rounds) in ["without", "with"].iter().zip(&rounds) {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        println!(
            "  {name:<8} {:>6.0} posts/s   p99 {:>6.2} ms   server {:>6.1} µs a post",
            of(|round| round.per_second),
            of(|round| round.p99_ms),
            of(|round| round.cpu_us)
        );
    }
    println!("  {pushes} notifications, {:.0} a second of load", pushes as f64 / loaded.as_secs_f64());
    for (name, side) in [("without", &without), ("with", &with)] {
        println!("  memory {name}: {} KiB", side.natter.memory_kib("VmRSS:").unwrap_or_default());
    }
    let failed = with.metric("natter_push_failures_total");
    assert_eq!(failed, 0, "notifications failed");
    assert!(pushes > 0, "nothing was pushed, so nothing is measured");
    let ratio =
        |value: fn(&Round) -> f64| Ratio::of(rounds[1].iter().map(value), rounds[0].iter().map(value));
    let posts = ratio(|round| round.per_second).judge("posts/s with / without", POSTS_FLOOR..);
    let p99 = ratio(|round| round.p99_ms).judge("p99 with / without", ..=P99_CEILING);
    without.natter.stop();
    with.natter.stop();
    if posts && p99 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A push service whose threads run only when the clients and the server leave a core idle: a real one has a machine of its own, so
/// its work must not delay the posts that are measured.
fn distant_service() -> Service {
    let start = || {
        let thread = std::fs::read_link("/proc/thread-self").expect("the name of this thread");
        let id = thread.file_name().expect("its number").to_owned();
        // The threads that the service starts inherit it.
        let lowered = Command::new("renice").args(["-n", "19", "-p"]).arg(id).stdout(Stdio::null()).status();
        assert!(lowered.expect("renice runs").success(), "the priority of the push service was not lowered");
        Service::start()
    };
    std::thread::spawn(start).join().expect("a push service")
}

impl Side {
    /// On a connection of its own: between two looks the server closes an idle one.
    fn metric(&self, name: &str) -> u64 {
        Http::connect(self.natter.address).metric(name)
    }

    fn start(service: Option<&Service>) -> Side {
        let dir = TestDir::new();
        let authority = Path::new(tls::FOLDER).join("authority.pem");
        let natter = Launch::new(dir.path())
            .with(&[
                ("TLS_CA_FILE", authority.to_str().expect("UTF-8")),
                ("PUSH_PRIVATE", "on"),
                ("LOG_LEVEL", "info,natter::access=warn"),
            ])
            .start();
        let mut http = Http::connect(natter.address);
        let persons: Vec<Person> = (0..2 * TALKERS).map(|at| http.sign_up(&format!("person{at}"))).collect();
        let browser = Browser::new(7);
        for at in TALKERS..2 * TALKERS {
            // Both sides have the same sessions.
            for device in 0..DEVICES {
                let session = http.sign_in(&format!("person{at}"));
                let Some(Service { origin, .. }) = service else { continue };
                let body = browser.subscription(&format!("{origin}/{at}/{device}"), "text");
                let made = http.ask_as(&session, "PUT", "/api/v1/push", Some(&body)).expect("a response");
                assert_eq!(made.status, 200, "{}", made.text());
            }
        }
        let people = People::one_way(natter.address, &persons);
        Side { natter, people, _dir: dir }
    }

    fn round(&mut self) -> Round {
        self.natter.wait_until_idle(PATIENCE);
        let (before, began) = (self.natter.cpu_time(), Instant::now());
        let mut seen = self.people.talk_at(RATE, ROUND);
        assert_eq!(seen.refused, 0, "posts were refused");
        let cpu = self.natter.cpu_time().saturating_sub(before);
        seen.times.sort();
        let count = seen.times.len();
        Round {
            per_second: count as f64 / began.elapsed().as_secs_f64(),
            p99_ms: seen.times[count * 99 / 100].as_secs_f64() * 1e3,
            cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        }
    }
}
