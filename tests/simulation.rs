//! The simulation: the complete server and the real store, run from one seed, without socket, clock or thread.
//!
//! Every fault is an ordinary step. A reference model compares the promises of `protocol.md` with what is stored and
//! what every client receives.
//!
//! ```text
//! SIM_SEED=17 cargo test --test simulation        replays one seed
//! SIM_SEEDS=1000 cargo test --test simulation     plays this many; SIM_FROM=n begins there
//! ```

mod sim;
mod support;

use std::cell::Cell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use natter::model::operation::Write;
use sim::mirror::Planted;

/// Seeds in `cargo test`, and with `NATTER_ALL=1` as `.ci/run` sets it; scripts/simulate plays more.
const SEEDS: u64 = 30;
const SEEDS_ALL: u64 = 300;

/// Runs in one of which a planted fault must be found: what it needs to be seen, such as a power cut, does not happen in each.
const PLANTED_SEEDS: u64 = 30;

/// A run stops after this many failures.
const FAILURES_MAX: usize = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn every_promise_holds_for_every_seed() {
    let (total, count) = play_seeds(sim::play, sim::Stats::add);
    if count >= SEEDS_ALL {
        let missing: Vec<&&str> =
            Write::NAMES.iter().filter(|name| !total.mirrored.contains_key(**name)).collect();
        assert!(missing.is_empty(), "the mirror has never performed {missing:?}");
        assert!(total.retained > 0, "nothing was ever too old");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn every_promise_of_a_cluster_holds_for_every_seed() {
    let (total, count) = play_seeds(sim::cluster::play, sim::cluster::Stats::add);
    if count >= SEEDS {
        let sim::cluster::Stats { ignored, repeats, ahead, typings, .. } = total;
        let sim::cluster::Stats {
            drains, sent_away, blocks, pages, presences, disk_failures, retained, ..
        } = total;
        let sim::cluster::Stats {
            crashes,
            power_cuts,
            pauses,
            cuts,
            misreads,
            probes,
            fenced,
            logouts,
            outages,
            ..
        } = total;
        let all = [
            ignored,
            repeats,
            ahead,
            typings,
            crashes,
            power_cuts,
            pauses,
            cuts,
            misreads,
            probes,
            fenced,
            logouts,
            outages,
            drains,
            sent_away,
            blocks,
            pages,
            presences,
            disk_failures,
            retained,
        ];
        assert!(all.iter().all(|count| *count > 0), "something never happened: {total:?}");
    }
}

/// Plays the seeds that the variables ask for. Returns what happened, and in how many.
fn play_seeds<S: Default + Debug + Send>(play: fn(u64, &Cell<usize>) -> S, add: fn(&mut S, S)) -> (S, u64) {
    if let Some(seed) = number("SIM_SEED") {
        let stats = play(seed, &Cell::new(0));
        println!("seed {seed}: {stats:#?}");
        return (stats, 1);
    }
    let from = number("SIM_FROM").unwrap_or(1);
    let seeds = if number("NATTER_ALL") == Some(1) { SEEDS_ALL } else { SEEDS };
    let until = from + number("SIM_SEEDS").unwrap_or(seeds);
    let next = AtomicU64::new(from);
    let (failed, total) = (Mutex::new(Vec::new()), Mutex::new(S::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().expect("no panic here").len() >= FAILURES_MAX;
                    if seed >= until || enough {
                        return;
                    }
                    let step = Cell::new(0);
                    match catch_unwind(AssertUnwindSafe(|| play(seed, &step))) {
                        Ok(stats) => add(&mut total.lock().expect("no panic here"), stats),
                        Err(_) => {
                            let line =
                                format!("seed {seed}, step {}: SIM_SEED={seed} replays it", step.get());
                            eprintln!("{line}");
                            failed.lock().expect("no panic here").push(line);
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("no panic here");
    println!("{total:#?}");
    let failed = failed.into_inner().expect("no panic here");
    assert!(failed.is_empty(), "{} of {} seeds failed:\n{}", failed.len(), until - from, failed.join("\n"));
    (total, until - from)
}

/// The mirror finds what is not a function of the writes, whether an answer shows it or only a row.
#[test]
fn a_store_that_differs_is_found() {
    for planted in [Planted::Answer, Planted::Row, Planted::Field] {
        let is_found = |seed| catch_unwind(|| sim::play_with(seed, &Cell::new(0), Some(planted))).is_err();
        assert!((1..=PLANTED_SEEDS).any(is_found), "{planted:?} is not found");
    }
}

/// The same seed gives the same run, to each byte and command: otherwise no failure could be replayed.
#[test]
fn a_seed_is_one_run() {
    let play = |seed| format!("{:?}", sim::play(seed, &Cell::new(0)));
    for seed in 1..=3 {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}

/// As above, for the nodes of a cluster: by its rows, by what its clients are shown, and by what it has after a power cut.
#[cfg(feature = "cluster")]
#[test]
fn a_node_that_differs_is_found() {
    use sim::cluster::Planted;
    let is_found =
        |planted, seed| catch_unwind(|| sim::cluster::play_with(seed, &Cell::new(0), Some(planted))).is_err();
    for planted in
        [Planted::Twice, Planted::Skipped, Planted::Deaf, Planted::Missed, Planted::Abrupt, Planted::Unsynced]
    {
        assert!((1..=PLANTED_SEEDS).any(|seed| is_found(planted, seed)), "{planted:?} is not found");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn a_seed_is_one_run_of_a_cluster() {
    let play = |seed| format!("{:?}", sim::cluster::play(seed, &Cell::new(0)));
    for seed in 1..=3 {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}
