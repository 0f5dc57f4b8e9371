//! Two servers under the same load in turns: two binaries, or posts beside bare SQLite.
//!
//! Both run side by side and take the load in turns, so that both meet the same machine; which one is first changes from pair to pair. Owns
//! the rounds. Leaves the ratio and its interval to `ratios`. Invariant: a round begins when both servers are idle.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::bare::Bare;
use super::engine::{Bounds, Engine, Pace};
use super::options::Options;
use super::place::Place;
use super::ratios::{Ratio, median};
use super::scenarios::{self, Name};

const ROUND: Duration = Duration::from_millis(1_200);
/// Unanswered posts of each client, unless `--window` says how many.
const WINDOWS: [usize; 2] = [1, 16];

struct Side {
    place: Place,
    engine: Engine,
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
    ("a second", |round| round.per_second),
    ("p50 ms", |round| round.p50_ms),
    ("p99 ms", |round| round.p99_ms),
    ("cpu µs", |round| round.cpu_us),
];

impl Side {
    fn start(binary: Option<&Path>, options: &Options) -> io::Result<Side> {
        let env = options.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut place = Place::start(binary, &env)?;
        let engine = Engine::new(scenarios::prepare(&mut place, options)?)?;
        Ok(Side { place, engine })
    }

    fn round(&mut self, pace: Pace, count: u64) -> io::Result<Round> {
        let before = self.place.cpu_time().unwrap_or_default();
        let step = self.engine.run(pace, Bounds { time: ROUND, count })?;
        let cpu = self.place.cpu_time().unwrap_or_default().saturating_sub(before);
        if step.refusals() + step.unanswered + step.wrong > 0 {
            return Err(io::Error::other(format!(
                "{} unanswered, {} wrong, refused: {:?}",
                step.unanswered, step.wrong, step.refused
            )));
        }
        let worst =
            |part: f64| step.kinds.iter().map(|kind| kind.latency.quantile_ms(part)).fold(0.0, f64::max);
        Ok(Round {
            per_second: step.per_second(),
            p50_ms: worst(0.5),
            p99_ms: worst(0.99),
            cpu_us: cpu.as_secs_f64() * 1e6 / step.answered().max(1) as f64,
        })
    }
}

/// Prints for each load the medians, and the median ratio B / A with its interval. Returns whether both kept their promises.
pub fn binaries(options: &Options, [a, b]: &[std::path::PathBuf; 2]) -> io::Result<bool> {
    let mut sides = [Side::start(Some(a), options)?, Side::start(Some(b), options)?];
    let paces: Vec<Pace> = match (options.window, options.rates.as_slice(), options.scenario) {
        (Some(window), ..) => vec![Pace::Closed(window)],
        (None, [], Name::Relay) => WINDOWS.map(Pace::Closed).to_vec(),
        (None, [], _) => vec![Pace::Closed(options.usual_window())],
        (None, rates, _) => rates.iter().copied().map(Pace::Open).collect(),
    };
    for pace in paces {
        let (name, clients, pairs) = (options.scenario.text(), options.clients(), options.pairs);
        println!("{name}, {clients} clients, {pace:?}, {pairs} pairs of {} ms", ROUND.as_millis());
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for pair in 0..pairs {
            for index in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
                // The search index of one must not work during the round of the other.
                sides.iter().for_each(|side| side.place.wait_until_idle());
                rounds[index].push(sides[index].round(pace, options.count())?);
            }
            eprint!("\r  {} of {pairs} pairs", pair + 1);
        }
        eprintln!();
        for (name, value) in VALUES {
            let [a, b] = [0, 1].map(|index| rounds[index].iter().map(value));
            let ratio = Ratio::of(b.clone(), a.clone());
            let verdict = match (ratio.interval, ratio.is_difference()) {
                (None, _) => "too few pairs to say",
                (Some(_), true) => "a difference",
                (Some(_), false) => "no difference seen",
            };
            println!("  {name:<8} A {:>12.2}   B {:>12.2}   B / A {ratio}: {verdict}", median(a), median(b));
        }
    }
    let mut is_good = true;
    for (name, Side { place, mut engine }) in ["A", "B"].iter().zip(sides) {
        println!("memory of {name}: {} KiB", place.memory_kib().unwrap_or_default());
        let discarded = engine.discarded();
        for check in engine.scenario().verify(discarded) {
            println!("  {} {name}: {}", if check.is_kept { "kept:  " } else { "BROKEN:" }, check.what);
            is_good &= check.is_kept;
        }
        place.end(false);
    }
    Ok(is_good)
}

const BARE_ROUNDS: usize = 5;
const BARE_ROUND: Duration = Duration::from_millis(500);
/// Clients, and unanswered posts of each.
const LOADS: [(usize, usize); 5] = [(1, 1), (8, 1), (64, 1), (4, 16), (64, 16)];
/// The required part of the rate of bare SQLite, at the batch size that is in flight.
const THROUGHPUT_FLOOR: f64 = 0.6;
/// The allowed latency, as a multiple of a bare commit of one row.
const LATENCY_CEILING: f64 = 2.5;

/// Posts beside batches of the same size in bare SQLite. Returns whether the required values are met.
pub fn bare(options: &Options) -> io::Result<bool> {
    let dir = crate::support::TestDir::new();
    let mut bare = Bare::create(&dir.path().join("bare.db")).map_err(io::Error::other)?;
    let mut side = Side::start(None, options)?;
    println!("clients × in flight   posts/s   p50 ms   p99 ms   cpu µs |  bare rows/s  commit ms | of bare");
    let mut is_met = true;
    let all = side.engine.askers();
    for (clients, window) in LOADS.into_iter().filter(|(clients, _)| *clients <= all) {
        let size = clients * window;
        side.engine.set_askers(clients);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..BARE_ROUNDS {
            side.place.wait_until_idle();
            theirs.push(bare_round(&mut bare, size)?);
            ours.push(side.round(Pace::Closed(window), options.count())?);
        }
        ours.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        theirs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ours, (rows, commit_ms)) = (ours[BARE_ROUNDS / 2], theirs[BARE_ROUNDS / 2]);
        let ratio = ours.per_second / rows;
        println!(
            "{clients:>7} × {window:<2} {size:>9} {:>9.0} {:>8.2} {:>8.2} {:>8.1} | {rows:>12.0} {commit_ms:>10.2} | {:>6.0} %",
            ours.per_second,
            ours.p50_ms,
            ours.p99_ms,
            ours.cpu_us,
            ratio * 100.0,
        );
        let met = match size {
            1 => ours.p50_ms / commit_ms < LATENCY_CEILING,
            64 | 1_024 => ratio >= THROUGHPUT_FLOOR,
            _ => continue,
        };
        println!("  {}", if met { "reached" } else { "MISSED" });
        is_met &= met;
    }
    for check in side.engine.scenario().verify(0) {
        println!("  {} {}", if check.is_kept { "kept:  " } else { "BROKEN:" }, check.what);
        is_met &= check.is_kept;
    }
    side.place.end(false);
    Ok(is_met)
}

/// Rows a second, and the median time of a commit in ms.
fn bare_round(bare: &mut Bare, size: usize) -> io::Result<(f64, f64)> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < BARE_ROUND {
        times.push(bare.batch(size).map_err(io::Error::other)?);
    }
    times.sort();
    let spent: Duration = times.iter().sum();
    Ok(((size * times.len()) as f64 / spent.as_secs_f64(), times[times.len() / 2].as_secs_f64() * 1e3))
}
