//! Measures durable posts a second over loopback, and the latency of their answers.
//!
//! The path is complete: from a WebSocket frame to the answer, and to the delivery after the commit. The baseline is bare SQLite
//! (FULL) in the same run, in turns.
//!
//! `cargo bench --bench relay`, or `-- 4x16 64x16` for these senders × unanswered posts. The data is in the target folder, or in
//! `BENCH_DIR`; `NATTER_BIN` measures another binary. One process is the server, with its default durability; this process, on
//! one thread, is all clients. Each sends to a partner who receives it. The bench prints a result for each required value, and
//! ends with status 1 if one is missed.

#[path = "support/bare.rs"]
mod bare;
#[path = "support/line.rs"]
mod line;
#[path = "support/people.rs"]
mod people;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bare::Bare;
use people::People;
use support::net::PATIENCE;
use support::process::{Launch, Natter};

const ROUNDS: usize = 5;
const BARE_ROUND: Duration = Duration::from_millis(500);
const ROUND: Duration = Duration::from_millis(1_200);
/// Senders, and unanswered posts of each.
const LOADS: [(usize, usize); 5] = [(1, 1), (8, 1), (64, 1), (4, 16), (64, 16)];

/// The required part of the rate of bare SQLite, at the batch size that is in flight.
const THROUGHPUT_FLOOR: f64 = 0.6;
/// The allowed latency, as a multiple of a bare commit of one row.
const LATENCY_CEILING: f64 = 2.5;

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Server CPU for one post.
    cpu_us: f64,
}

fn main() -> ExitCode {
    let asked: Vec<_> = std::env::args().filter_map(|argument| load(&argument)).collect();
    let loads = if asked.is_empty() { LOADS.to_vec() } else { asked };
    let dir = std::env::var_os("BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-relay"), Into::into);
    let _ = std::fs::remove_dir_all(&dir); // of an earlier run
    std::fs::create_dir_all(&dir).expect("a folder for the bench");
    let mut bare = Bare::create(&dir.join("bare.db")).expect("a bare database");
    // The server does all its work except the access log; the start-up line has the port.
    let env = [("LOG_LEVEL", "info,natter::access=warn"), ("CONNECTIONS_PER_ADDRESS", "10000")];
    let natter = Launch::new(&dir).with(&env).start();
    let mut people = People::arrive(
        natter.address,
        loads.iter().map(|load| load.0.next_multiple_of(2)).max().unwrap_or(2),
    );

    println!(
        "senders × in flight   posts/s   p50 ms   p99 ms   cpu µs |  bare rows/s  commit p50 ms | of bare"
    );
    let mut met = true;
    for (senders, window) in loads {
        let batch = senders * window;
        let (mut ours, mut yardstick) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            natter.wait_until_idle(PATIENCE);
            yardstick.push(measure_bare(&mut bare, batch));
            ours.push(measure(&natter, &mut people, senders, window));
        }
        let (ours, bare) = (median(ours), median(yardstick));
        let ratio = ours.per_second / bare.per_second;
        println!(
            "{senders:>7} × {window:<2} {batch:>9} {:>9.0} {:>8.2} {:>8.2} {:>8.1} | {:>12.0} {:>14.2} | {:>6.0}%",
            ours.per_second,
            ours.p50_us / 1e3,
            ours.p99_us / 1e3,
            ours.cpu_us,
            bare.per_second,
            bare.p50_us / 1e3,
            ratio * 100.0,
        );
        met &= match batch {
            1 => {
                let times = ours.p50_us / bare.p50_us;
                verdict(times < LATENCY_CEILING, format_args!("one in flight: {times:.2} × a bare commit"))
            }
            64 | 1_024 => {
                let percent = ratio * 100.0;
                verdict(ratio >= THROUGHPUT_FLOOR, format_args!("{batch} in flight: {percent:.0} % of bare"))
            }
            _ => true,
        };
    }
    natter.stop();
    let _ = std::fs::remove_dir_all(&dir); // what stays is in the target folder
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `64x16`: senders, and unanswered posts of each.
fn load(argument: &str) -> Option<(usize, usize)> {
    let (senders, window) = argument.split_once('x')?;
    Some((senders.parse().ok()?, window.parse().ok()?))
}

fn verdict(met: bool, what: std::fmt::Arguments<'_>) -> bool {
    println!("  {} {what}", if met { "reached:" } else { "MISSED: " });
    met
}

fn measure_bare(bare: &mut Bare, size: usize) -> Measured {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < BARE_ROUND {
        times.push(bare.batch(size).expect("a batch"));
    }
    let spent: Duration = times.iter().sum();
    let per_second = (size * times.len()) as f64 / spent.as_secs_f64();
    let (p50_us, p99_us) = quantiles(&mut times);
    Measured { per_second, p50_us, p99_us, cpu_us: 0.0 }
}

fn measure(natter: &Natter, people: &mut People, senders: usize, window: usize) -> Measured {
    let before = natter.cpu_time();
    let mut times = people.exchange(senders, window, ROUND);
    let cpu = natter.cpu_time().saturating_sub(before);
    let count = times.len();
    let (p50_us, p99_us) = quantiles(&mut times);
    Measured {
        per_second: count as f64 / ROUND.as_secs_f64(),
        p50_us,
        p99_us,
        cpu_us: cpu.as_secs_f64() * 1e6 / count.max(1) as f64,
    }
}

/// Median and 99th percentile in µs.
fn quantiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}

fn median(mut rounds: Vec<Measured>) -> Measured {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rounds[rounds.len() / 2]
}
