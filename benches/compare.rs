//! Compares two binaries of natter: durable posts a second, the latency of their answers, CPU time and memory.
//!
//! `cargo bench --bench compare -- A B`, and `64x1 64x16` for these senders × unanswered posts. Both servers run side by side and
//! take the same load in turns, so that both meet the same machine; which one is first changes from pair to pair. This process, on
//! one thread, is all clients. The bench prints for each load the medians and the median ratio B / A of 20 pairs with its interval;
//! a difference is one when 1 is outside of the interval. It requires no value.

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

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use people::People;
use ratios::{PAIRS, Ratio, median};
use support::TestDir;
use support::net::PATIENCE;
use support::process::{Launch, Natter};

const ROUND: Duration = Duration::from_millis(1_200);
/// Senders, and unanswered posts of each.
const LOADS: [(usize, usize); 2] = [(64, 1), (64, 16)];

struct Side {
    natter: Natter,
    people: People,
    _dir: TestDir,
}

#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
}

/// A value of a round, and its name.
type Value = (&'static str, fn(&Round) -> f64);
const VALUES: [Value; 4] = [
    ("posts/s", |round| round.per_second),
    ("p50 ms", |round| round.p50_ms),
    ("p99 ms", |round| round.p99_ms),
    ("cpu µs", |round| round.cpu_us),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let asked: Vec<_> = words.iter().filter_map(|word| load(word)).collect();
    let loads = if asked.is_empty() { LOADS.to_vec() } else { asked };
    let binaries: Vec<PathBuf> =
        words.iter().filter(|word| load(word).is_none()).map(PathBuf::from).collect();
    let [a, b] = binaries.as_slice() else {
        eprintln!("usage: scripts/load --compare A B [64x16 ...], where A and B are binaries of natter");
        return ExitCode::from(2);
    };
    let clients = loads.iter().map(|load| load.0.next_multiple_of(2)).max().unwrap_or(2);
    let mut sides = [a, b].map(|binary| Side::start(binary, clients));
    for (senders, window) in loads {
        println!("{senders} senders × {window}, {PAIRS} pairs of {} ms", ROUND.as_millis());
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for pair in 0..PAIRS {
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                // The search index of one must not work during the round of the other.
                sides.iter().for_each(|side| side.natter.wait_until_idle(PATIENCE));
                rounds[index].push(sides[index].round(senders, window));
            }
        }
        for (name, value) in VALUES {
            let [a, b] = [0, 1].map(|index| rounds[index].iter().map(value));
            let ratio = Ratio::of(b.clone(), a.clone());
            let verdict = if ratio.is_difference() { "a difference" } else { "no difference seen" };
            println!("  {name:<8} A {:>12.2}   B {:>12.2}   B / A {ratio}: {verdict}", median(a), median(b));
        }
    }
    for (name, side) in ["A", "B"].iter().zip(sides) {
        println!("memory of {name}: {} KiB", side.natter.memory_kib("VmRSS:").unwrap_or_default());
        side.natter.stop();
    }
    ExitCode::SUCCESS
}

impl Side {
    fn start(binary: &Path, clients: usize) -> Side {
        let dir = TestDir::new();
        let env = [("LOG_LEVEL", "info,natter::access=warn"), ("CONNECTIONS_PER_ADDRESS", "10000")];
        let natter = Launch::new(dir.path()).of(binary).with(&env).start();
        let people = People::arrive(natter.address, clients);
        Side { natter, people, _dir: dir }
    }

    fn round(&mut self, senders: usize, window: usize) -> Round {
        let before = self.natter.cpu_time();
        let mut times = self.people.exchange(senders, window, ROUND);
        let cpu = self.natter.cpu_time().saturating_sub(before);
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        Round {
            per_second: times.len() as f64 / ROUND.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            cpu_us: cpu.as_secs_f64() * 1e6 / times.len() as f64,
        }
    }
}

/// `64x16`: senders, and unanswered posts of each.
fn load(argument: &str) -> Option<(usize, usize)> {
    let (senders, window) = argument.split_once('x')?;
    Some((senders.parse().ok()?, window.parse().ok()?))
}
