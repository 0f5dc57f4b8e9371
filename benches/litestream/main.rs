//! Measures posts next to a real Litestream that replicates the database, then restores the replica after a loss.
//!
//! See `scripts/litestream`, which finds both binaries. At each rate the posts are due at fixed times (an open loop), in turns
//! on a server that never had a Litestream and on one with it. Afterwards the server and Litestream are killed during posts, and the
//! restored copy is compared with the source. The bench prints a result for each required value, and ends with status 1 if
//! one is missed. Arguments: rates, `--rounds=N`, `--seconds=N`. The data is in the target folder, or in `BENCH_DIR`.

#[path = "../load/mod.rs"]
#[allow(dead_code, reason = "this bench uses the engine and posts")]
mod load;
mod loss;
mod replica;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::engine::{Bounds, Engine, Pace, Step};
use load::place::Place;
use load::scenarios::talk;
use replica::{Litestream, Locks};
use support::process::{Launch, Natter};

const RATES: [u32; 3] = [200, 2_000, 10_000];
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(10);
/// Clients, in pairs.
const CLIENTS: usize = 64;
/// Posts before the first measurement, so that the database has its usual shape.
const WARM_UP: (u32, Duration) = (1_000, Duration::from_secs(2));

/// The allowed p99 with Litestream, as a multiple of the p99 without, at rates up to [`JUDGED_RATE`].
const TIMES_MAX: f64 = 3.0;
const JUDGED_RATE: u32 = 2_000;
/// A p99 in milliseconds that is always allowed: below it the multiple says little.
const UNNOTICED_MS: f64 = 5.0;
/// The default of WAL_MAX, in MiB. A commit may exceed it once.
const WAL_MAX_MIB: f64 = 256.0;
const WAL_SLACK_MIB: f64 = 16.0;

/// One round.
#[derive(Clone)]
struct Seen {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    refused: u64,
    wal_mib: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| arguments.iter().find_map(|it| it.strip_prefix(name)?.parse::<usize>().ok());
    let rounds = number("--rounds=").unwrap_or(ROUNDS).max(1);
    let time = number("--seconds=").map_or(ROUND, |seconds| Duration::from_secs(seconds.max(1) as u64));
    let mut rates: Vec<u32> =
        arguments.iter().filter_map(|it| it.parse().ok()).filter(|it| *it > 0).collect();
    if rates.is_empty() {
        rates = RATES.to_vec();
    }
    let dir = std::env::var_os("BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-litestream"), PathBuf::from);
    let _ = std::fs::remove_dir_all(&dir); // of an earlier run
    std::fs::create_dir_all(&dir).expect("a folder for the bench");
    let env = [("LOG_LEVEL", "info,natter::access=warn"), ("CONNECTIONS_PER_ADDRESS", "10000")];
    let plain_dir = dir.join("plain");
    std::fs::create_dir_all(&plain_dir).expect("a folder for the other server");
    let start = |dir: &Path| {
        let launch = Launch::new(dir).with(&env);
        let natter = launch.start();
        let mut place = Place::named(&format!("http://{}", natter.address), None).expect("a server");
        let mut people = Engine::new(talk::relay(&mut place, CLIENTS).expect("people")).expect("sockets");
        talk_at(&mut people, WARM_UP.0, WARM_UP.1);
        (launch, natter, people)
    };
    let (_, plain, mut plain_people) = start(&plain_dir);
    let (launch, natter, mut people) = start(&dir);

    println!("posts/s  Litestream   p50 ms   p99 ms   max ms  refused  largest WAL");
    let mut met = true;
    for rate in rates {
        let (mut without, mut with, mut locks) = (Vec::new(), Vec::new(), Locks::default());
        for _ in 0..rounds {
            without.push(measure(&plain_dir, &mut plain_people, rate, time));
            let litestream = Litestream::start(&dir);
            let before = litestream.locks();
            with.push(measure(&dir, &mut people, rate, time));
            locks.add(&litestream.locks().since(&before));
            litestream.stop();
        }
        let (without, with) = (summary(without), summary(with));
        for (name, seen) in [("without", &without), ("with", &with)] {
            println!(
                "{rate:>7}  {name:<10} {:>8.2} {:>8.2} {:>8.1} {:>8} {:>8.1} MiB",
                seen.p50_ms, seen.p99_ms, seen.max_ms, seen.refused, seen.wal_mib
            );
        }
        println!("         Litestream's own times: {locks}");
        let times = with.p99_ms / without.p99_ms;
        if rate <= JUDGED_RATE {
            met &= verdict(
                times <= TIMES_MAX || with.p99_ms <= UNNOTICED_MS,
                format_args!("{rate}/s: p99 is {times:.1} × as without Litestream"),
            );
        }
        met &= verdict(with.refused == 0, format_args!("{rate}/s: {} posts refused", with.refused));
        met &= verdict(
            with.wal_mib <= WAL_MAX_MIB + WAL_SLACK_MIB,
            format_args!("{rate}/s: the WAL stays below WAL_MAX"),
        );
    }
    drop(plain_people);
    plain.stop();
    met &= loss::play(&dir, &launch, natter, people);
    let _ = std::fs::remove_dir_all(&dir); // what stays is in the target folder
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(met: bool, what: std::fmt::Arguments<'_>) -> bool {
    println!("  {} {what}", if met { "reached:" } else { "MISSED: " });
    met
}

/// Ends the watch of a round, also after a panic.
struct Watched<'a>(&'a AtomicBool);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Posts at a fixed rate, each of which must be answered, or refused.
fn talk_at(people: &mut Engine, rate: u32, time: Duration) -> Step {
    let step = people.run(Pace::Open(f64::from(rate)), Bounds { time, count: u64::MAX }).expect("a round");
    assert_eq!(step.unanswered, 0, "{:?}", step.refused);
    step
}

fn measure(dir: &Path, people: &mut Engine, rate: u32, time: Duration) -> Seen {
    let ended = AtomicBool::new(false);
    let wal = dir.join("data/natter.db-wal");
    let (step, wal_bytes) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut largest = 0;
            while !ended.load(Ordering::Relaxed) {
                largest = largest.max(wal.metadata().map_or(0, |metadata| metadata.len()));
                std::thread::sleep(Duration::from_millis(20)); // between two looks
            }
            largest
        });
        let watched = Watched(&ended);
        let step = talk_at(people, rate, time);
        drop(watched);
        (step, watch.join().expect("the largest size"))
    });
    let latency = &step.kinds[0].latency;
    Seen {
        p50_ms: latency.quantile_ms(0.5),
        p99_ms: latency.quantile_ms(0.99),
        max_ms: latency.max_ms(),
        refused: step.refusals(),
        wal_mib: wal_bytes as f64 / f64::from(1 << 20),
    }
}

/// The medians of all rounds; of refusals the sum, of the WAL the largest.
fn summary(rounds: Vec<Seen>) -> Seen {
    let median = |value: fn(&Seen) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Seen {
        p50_ms: median(|seen| seen.p50_ms),
        p99_ms: median(|seen| seen.p99_ms),
        max_ms: median(|seen| seen.max_ms),
        refused: rounds.iter().map(|seen| seen.refused).sum(),
        wal_mib: rounds.iter().map(|seen| seen.wal_mib).fold(0.0, f64::max),
    }
}

/// Kills the server at once. It is a value of its own so that its address stays readable.
fn kill(mut natter: Natter) {
    natter.kill();
}
