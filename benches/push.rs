//! Measures what notifications cost the posts: 5,000 posts a second to members with a thousand subscribed devices, beside the same
//! load on a server without subscriptions.
//!
//! `cargo bench --bench push`, or `-- 3` for three pairs instead of 20. The two servers take the same load in turns, so that both
//! meet the same machine; a push service in this process decrypts TLS and takes each notification. `NATTER_BIN` measures another
//! binary. The bench prints the median ratio with its interval, and ends with status 1 if a required value is missed.

#[path = "load/mod.rs"]
#[allow(dead_code, reason = "this bench uses the engine and posts")]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use load::engine::{Bounds, Engine, Pace};
use load::place::Place;
use load::ratios::{PAIRS, Ratio, median};
use load::scenarios::push;

/// Members who post, and as many who receive.
const TALKERS: usize = 64;
/// Subscribed devices of each receiver: 1,024 together.
const DEVICES: usize = 16;
const RATE: f64 = 5_000.0;
/// Longer than the delay of a notification, so that they are sent during the load.
const ROUND: Duration = Duration::from_secs(8);
/// The required parts: posts/s at least, p99 at most.
const POSTS_FLOOR: f64 = 0.95;
const P99_CEILING: f64 = 1.05;

struct Side {
    place: Place,
    engine: Engine,
    devices: push::Devices,
}

/// What one round showed.
struct Round {
    per_second: f64,
    p99_ms: f64,
    cpu_us: f64,
}

fn main() -> ExitCode {
    let pairs = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(PAIRS).max(1);
    let (mut without, mut with) = (Side::start(false), Side::start(true));
    let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
    let (pushes_before, began) = (with.devices.sent(&with.place).expect("metrics"), Instant::now());
    let mut loaded = Duration::ZERO;
    for _ in 0..pairs {
        rounds[0].push(without.round());
        let start = Instant::now();
        rounds[1].push(with.round());
        loaded += start.elapsed();
    }
    let pushes = with.devices.sent(&with.place).expect("metrics") - pushes_before;
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
        println!("  memory {name}: {} KiB", side.place.memory_kib().unwrap_or_default());
    }
    let judged = with.devices.verify(&with.place).expect("metrics");
    assert!(judged.is_kept, "{}", judged.what);
    assert!(pushes > 0, "nothing was pushed, so nothing is measured");
    let ratio =
        |value: fn(&Round) -> f64| Ratio::of(rounds[1].iter().map(value), rounds[0].iter().map(value));
    let posts = ratio(|round| round.per_second).judge("posts/s with / without", POSTS_FLOOR..);
    let p99 = ratio(|round| round.p99_ms).judge("p99 with / without", ..=P99_CEILING);
    without.place.end(false);
    with.place.end(false);
    if posts && p99 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Side {
    fn start(subscribes: bool) -> Side {
        let env = push::env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut place = Place::start(None, &env).expect("a server");
        // Both sides have the same sessions.
        let (prepared, devices) =
            push::prepare(&mut place, 2 * TALKERS, DEVICES, subscribes).expect("people with devices");
        let engine = Engine::new(prepared).expect("sockets");
        Side { place, engine, devices }
    }

    fn round(&mut self) -> Round {
        self.place.wait_until_idle();
        let (before, began) = (self.place.cpu_time().unwrap_or_default(), Instant::now());
        let bounds = Bounds { time: ROUND, count: u64::MAX };
        let step = self.engine.run(Pace::Open(RATE), bounds).expect("a round");
        assert_eq!((step.refusals(), step.unanswered), (0, 0), "{:?}", step.refused);
        let cpu = self.place.cpu_time().unwrap_or_default().saturating_sub(before);
        let count = step.answered() as f64;
        Round {
            per_second: count / began.elapsed().as_secs_f64(),
            p99_ms: step.kinds[0].latency.quantile_ms(0.99),
            cpu_us: cpu.as_secs_f64() * 1e6 / count,
        }
    }
}
