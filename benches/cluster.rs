//! Measures posts in a cluster: three natters over three nats-servers, all on this machine.
//!
//! `cargo bench --bench cluster`. Posts at a fixed rate through one node until they are answered, and until another node has delivered
//! them; as many as it takes from 64 senders with 16 unanswered posts each; and the return of the clients of a node that is killed.
//! Each nats-server uses one processor (GOMAXPROCS), since seven processes share the machine. `NATTER_BIN` measures another binary.
//! Without nats-server it says so and ends. The bench prints a result for each required value, and ends with status 1 if one is missed.

#[path = "load/mod.rs"]
#[allow(dead_code, reason = "this bench uses the engine and posts")]
mod load;
#[path = "support/returning.rs"]
mod returning;
#[path = "../tests/cluster/servers.rs"]
mod servers;
#[path = "../tests/endurance/cluster/stage.rs"]
mod stage;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use load::engine::{Bounds, Engine, Pace, Step};
use load::histogram::Histogram;
use load::place::Place;
use load::scenarios::talk;
use returning::Returning;
use stage::Stage;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const RATE: f64 = 1_000.0;
/// Senders, and unanswered posts of each.
const LOAD: (usize, usize) = (64, 16);
/// Persons at each node, of whom one half posts to the other.
const PAIRS: usize = 32;
/// Clients of the node that is killed.
const CLIENTS: usize = 1_000;

/// The required values.
const P50_MS_MAX: f64 = 2.5;
const P99_MS_MAX: f64 = 15.0;
const POSTS_MIN: f64 = 60_000.0;
const DELIVERED_P99_MS_MAX: f64 = 20.0;
const RETURN_S_MAX: f64 = 3.0;

fn main() -> ExitCode {
    let Some(mut stage) = Stage::start() else { return ExitCode::SUCCESS };
    let place =
        |index: usize| Place::named(&format!("http://{}", stage.address(index)), None).expect("a node");
    let (mut first, mut second) = (place(0), place(1));
    let across = talk::across(&mut first, &mut second, PAIRS).expect("people at two nodes");
    let mut across = Engine::new(across).expect("sockets");
    let (p50, p99) = median_of(&mut across, |step| &step.deliveries);
    println!("{RATE} posts a second: delivered by another node in {p50:.2} ms (p50), {p99:.2} ms (p99)");
    let mut met = verdict(p99 <= DELIVERED_P99_MS_MAX, format_args!("{DELIVERED_P99_MS_MAX} ms"));
    drop(across);
    let mut people = Engine::new(talk::relay(&mut first, LOAD.0).expect("people")).expect("sockets");
    let (p50, p99) = median_of(&mut people, |step| &step.kinds[0].latency);
    println!(
        "{RATE} posts a second: answered in {p50:.2} ms (p50), {p99:.2} ms (p99), the round of the median p99"
    );
    met &= verdict(p50 <= P50_MS_MAX && p99 <= P99_MS_MAX, format_args!("{P50_MS_MAX} and {P99_MS_MAX} ms"));
    let mut rates: Vec<f64> =
        (0..ROUNDS).map(|_| round(&mut people, Pace::Closed(LOAD.1)).per_second()).collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates[ROUNDS / 2];
    println!("{} × {} in flight: {rate:.0} posts a second", LOAD.0, LOAD.1);
    met &= verdict(rate >= POSTS_MIN, format_args!("{POSTS_MIN} posts a second"));
    drop(people);
    let [first, second, third] = stage.addresses();
    let returning = Returning::enter([second, third, first], CLIENTS);
    let back = returning.measure(|| stage.kill_node(1)).as_secs_f64();
    println!(
        "{CLIENTS} clients of a node that is killed: the last one is back and has caught up after {back:.2} s"
    );
    met &= verdict(back <= RETURN_S_MAX, format_args!("{RETURN_S_MAX} s"));
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn round(engine: &mut Engine, pace: Pace) -> Step {
    let step = engine.run(pace, Bounds { time: ROUND, count: u64::MAX }).expect("a round");
    assert_eq!((step.refusals(), step.unanswered), (0, 0), "{:?}", step.refused);
    step
}

/// The median and the 99th percentile in ms, of the round whose 99th percentile is the median one.
fn median_of(engine: &mut Engine, value: impl Fn(&Step) -> &Histogram) -> (f64, f64) {
    let of = |histogram: &Histogram| (histogram.quantile_ms(0.5), histogram.quantile_ms(0.99));
    let mut rounds: Vec<(f64, f64)> =
        (0..ROUNDS).map(|_| of(value(&round(engine, Pace::Open(RATE))))).collect();
    rounds.sort_by(|left, right| left.1.total_cmp(&right.1));
    rounds[ROUNDS / 2]
}

fn verdict(met: bool, what: std::fmt::Arguments<'_>) -> bool {
    println!("  {} {what}", if met { "reached:" } else { "MISSED: " });
    met
}
