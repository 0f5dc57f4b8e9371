//! Measures fairness: one account or one address prefix must not slow the others.
//!
//! Runs attacks against a server with its default settings, and measures a bystander without and with the attack. Prints a
//! result for each, and ends with status 1 if one is missed.
//!
//! See `scripts/fairness`, which gives the server a core of its own. Arguments: names of attacks, `--rounds=N`, `--list`; the
//! variable ROUNDS is the same as `--rounds`. Invariant: a run ends within the time that it prints first, with a verdict.

mod attacks;
mod bystander;
mod scene;
#[path = "../../tests/support/mod.rs"]
mod support;
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use attacks::{ATTACKS, Attack, Stop};
use bystander::{KINDS, Seen, watch};
use scene::Stage;

const ROUNDS: usize = 5;
/// Rounds with addresses of their own: each server is new, so that later ones may use them again.
const ADDRESSES: usize = 6;
const PEACE: Duration = Duration::from_secs(3);
const WAR: Duration = Duration::from_secs(4);
/// The time after an attack until the memory is measured.
const AFTER: Duration = Duration::from_secs(2);

/// What a round may take with its start, its waits and the requests that are not answered. Rounds that begin after the sum of all
/// are left out, and the run fails.
const ROUND_MAX: Duration = Duration::from_secs(45);
/// What the data may take.
const SEED_MAX: Duration = Duration::from_secs(300);

/// How long a bystander may wait during an attack, as a multiple of the p99 without it.
const TIMES_MAX: f64 = 5.0;
/// A latency in milliseconds that is always allowed.
const UNNOTICED_MS: f64 = 20.0;
/// The resident memory that the README promises for the default settings, in MiB.
const MEMORY_MAX_MIB: u64 = 384;

/// One round of one attack. The attackers share a core with the bystander and run only while it waits: what is measured is the
/// server, not how long the bystander waits for the attackers' own work.
struct Round {
    peace: [Seen; 4],
    war: [Seen; 4],
    /// MiB: before the attack, the maximum during it, after it.
    memory: [u64; 3],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--list") {
        ATTACKS.iter().for_each(|attack| println!("{:<16} {}", attack.name, attack.what));
        return ExitCode::SUCCESS;
    }
    let Ok(rounds) = rounds(&arguments) else {
        eprintln!("the number of rounds is 1 or more");
        return ExitCode::from(2);
    };
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) =
        names.iter().find(|name| !ATTACKS.iter().any(|attack| attack.name == name.as_str()))
    {
        eprintln!("no attack is called {unknown}: see --list");
        return ExitCode::from(2);
    }
    let played: Vec<&Attack> = ATTACKS
        .iter()
        .filter(|attack| names.is_empty() || names.iter().any(|name| *name == attack.name))
        .collect();
    let began = Instant::now();
    let time_max = SEED_MAX + ROUND_MAX * u32::try_from(rounds * played.len()).unwrap_or(u32::MAX);
    println!("{} attacks, {rounds} rounds each: this ends within {} s", played.len(), time_max.as_secs());
    let stage = Stage::build();
    println!("the data is complete after {} s", began.elapsed().as_secs());
    let mut missed = Vec::new();
    println!("a bystander's p50 and p99 in ms, medians of {rounds} rounds; `!` counts requests that failed");
    for attack in played {
        if attack.needs_ipv6 && !stage.ipv6 {
            println!("\n{}: left out, since it needs IPv6 addresses of a network namespace", attack.name);
            continue;
        }
        println!("\n{}: {}", attack.name, attack.what);
        let has_time = |_: &usize| began.elapsed() + ROUND_MAX <= time_max;
        let all: Vec<Round> = (0..rounds)
            .take_while(has_time)
            .map(|round| play(&stage, attack, (round % ADDRESSES) as u8))
            .collect();
        if all.len() < rounds {
            println!("  {} of {rounds} rounds, since the time is over", all.len());
            missed.push(format!("{} time", attack.name));
        }
        if !all.is_empty() {
            report(attack, &all, &mut missed);
        }
    }
    println!("\nit took {} s", began.elapsed().as_secs());
    if missed.is_empty() {
        println!(
            "\nreached: under each attack a bystander waits less than {TIMES_MAX} × as without it or {UNNOTICED_MS} ms"
        );
        return ExitCode::SUCCESS;
    }
    println!("\nMISSED: {}", missed.join(", "));
    ExitCode::FAILURE
}

/// The argument, else the variable, else [`ROUNDS`].
fn rounds(arguments: &[String]) -> Result<usize, ()> {
    let argument = arguments.iter().find_map(|it| it.strip_prefix("--rounds=")).map(str::to_owned);
    let Some(text) = argument.or_else(|| std::env::var("ROUNDS").ok()) else { return Ok(ROUNDS) };
    text.parse().ok().filter(|rounds| *rounds > 0).ok_or(())
}

fn play(stage: &Stage, attack: &Attack, round: u8) -> Round {
    let (running, scene) = stage.open(attack.env);
    // The first request of each kind fills caches.
    watch(&scene, Duration::from_millis(600), 19);
    let peace = watch(&scene, PEACE, round);
    let before = running.memory().0;
    let stop = Stop::default();
    let war = std::thread::scope(|scope| {
        scope.spawn(|| {
            wire::yield_core();
            (attack.run)(&scene, &stop)
        });
        std::thread::sleep(attack.lead);
        let war = watch(&scene, WAR, round + 6);
        stop.set();
        war
    });
    std::thread::sleep(AFTER);
    let (after, most) = running.memory();
    Round { peace, war, memory: [before, most, after] }
}

fn report(attack: &Attack, rounds: &[Round], missed: &mut Vec<String>) {
    for (kind, name) in KINDS.iter().enumerate() {
        let of = |value: fn(&Seen) -> f64, war: bool| {
            median(rounds.iter().map(|round| value(if war { &round.war[kind] } else { &round.peace[kind] })))
        };
        let (p50, p99) =
            ([false, true].map(|war| of(|it| it.p50, war)), [false, true].map(|war| of(|it| it.p99, war)));
        let failed: usize = rounds.iter().map(|round| round.war[kind].failed).sum();
        let met = p99[1] < (TIMES_MAX * p99[0]).max(UNNOTICED_MS);
        if !met {
            missed.push(format!("{} {name}", attack.name));
        }
        println!(
            "  {name:<12} peace {:>7.2} {:>8.2}   attack {:>8.2} {:>9.2}   {:>6.1} ×  {}{}",
            p50[0],
            p99[0],
            p50[1],
            p99[1],
            p99[1] / p99[0].max(0.001),
            if met { "reached" } else { "MISSED" },
            if failed > 0 { format!("  !{failed}") } else { String::new() },
        );
    }
    let [before, most, after] =
        [0, 1, 2].map(|at| median(rounds.iter().map(|round| round.memory[at] as f64)) as u64);
    let met = most <= MEMORY_MAX_MIB;
    if !met {
        missed.push(format!("{} memory", attack.name));
    }
    let verdict = if met { "reached" } else { "MISSED" };
    println!("  memory       {before} MiB before, {most} at most, {after} after   {verdict}");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
