//! Measures posts in a cluster: three natters over three nats-servers, all on this machine.
//!
//! `cargo bench --bench cluster`. Posts at a fixed rate through one node, and as many as it takes from 64 senders with 16 unanswered posts
//! each. `NATTER_BIN` measures another binary. Without nats-server it says so and ends. The bench prints a result for each required
//! value, and ends with status 1 if one is missed.

#[path = "support/bare.rs"]
#[allow(dead_code, reason = "only the text of a message is used")]
mod bare;
#[path = "support/line.rs"]
mod line;
#[path = "support/people.rs"]
mod people;
#[path = "../tests/cluster/servers.rs"]
mod servers;
#[path = "../tests/endurance/cluster/stage.rs"]
#[allow(dead_code, reason = "nothing is killed here")]
mod stage;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use people::People;
use stage::Stage;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const RATE: u32 = 1_000;
/// Senders, and unanswered posts of each.
const LOAD: (usize, usize) = (64, 16);

/// The required values.
const P50_MS_MAX: f64 = 2.5;
const P99_MS_MAX: f64 = 15.0;
const POSTS_MIN: f64 = 60_000.0;

fn main() -> ExitCode {
    let Some(stage) = Stage::start() else { return ExitCode::SUCCESS };
    let mut people = People::arrive(stage.address(0), LOAD.0);
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let mut paced = people.talk_at(RATE, ROUND);
            assert_eq!(paced.refused, 0, "posts were refused");
            (at(&mut paced.times, 0.5), at(&mut paced.times, 0.99))
        })
        .collect();
    rounds.sort_by(|left, right| left.1.total_cmp(&right.1));
    let (p50, p99) = rounds[ROUNDS / 2];
    println!(
        "{RATE} posts a second: answered in {p50:.2} ms (p50), {p99:.2} ms (p99), the round of the median p99"
    );
    let mut met =
        verdict(p50 <= P50_MS_MAX && p99 <= P99_MS_MAX, format_args!("{P50_MS_MAX} and {P99_MS_MAX} ms"));
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| people.exchange(LOAD.0, LOAD.1, ROUND).len() as f64 / ROUND.as_secs_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    let rate = rates[ROUNDS / 2];
    println!("{} × {} in flight: {rate:.0} posts a second", LOAD.0, LOAD.1);
    met &= verdict(rate >= POSTS_MIN, format_args!("{POSTS_MIN} posts a second"));
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A quantile in ms.
fn at(times: &mut [Duration], part: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
}

fn verdict(met: bool, what: std::fmt::Arguments<'_>) -> bool {
    println!("  {} {what}", if met { "reached:" } else { "MISSED: " });
    met
}
