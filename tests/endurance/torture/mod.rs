//! `scripts/torture`: lets anybody check the promise. People post and read while the server, or a cluster, is made to fail.
//!
//! Owns the wish, the loop, the table and the verdict. Leaves the faults of one server to `machine`, those of a cluster to `cluster`, and the
//! people, who keep a history of their own, to `people` and `readers`.
//! Invariant: one seed gives one order of faults, and a verdict is given only over posts that were answered.

mod machine;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[cfg(feature = "cluster")]
pub use self::machine::damage_of;
use self::machine::{Fault, Machine};
use super::people::{Crowd, Habits, Tally};
use super::support::Seeded;
use super::verdict;
use natter::base::crypto::Entropy;

/// Between two posts of a writer, so that the database stays small enough for a disk in memory.
const REST: Duration = Duration::from_millis(2);
const WRITERS: usize = 6;
/// Between two faults.
const CALM_MS: u64 = 600;
/// Posts before the first fault.
const FIRST: u64 = 20;
/// The database is checked after each of so many ends of the process.
const CHECKED: usize = 5;
const PROGRESS: Duration = Duration::from_secs(5);
const SECONDS_MAX: u64 = 7 * 86_400;

/// A fault of the server itself, which must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It answers before the transaction is written.
    EarlyAnswer,
    /// It stores a repeated post again.
    NoDedupe,
    /// Its syncs do nothing.
    NoSync,
}

const PLANTED: [(&str, Planted); 3] =
    [("early-answer", Planted::EarlyAnswer), ("no-dedupe", Planted::NoDedupe), ("no-sync", Planted::NoSync)];

#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub seconds: u64,
    pub seed: u64,
    pub is_cluster: bool,
    pub planted: Option<Planted>,
    /// Each planted fault in turn must be found.
    pub is_proof: bool,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { seconds: 60, seed: 1, is_cluster: false, planted: None, is_proof: false }
    }
}

impl Wish {
    pub fn parse(words: &[&str]) -> Result<Wish, String> {
        let mut wish = Wish::default();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let mut number = |most: u64| {
                let value = words.next().and_then(|value| value.parse().ok());
                value.filter(|value| *value <= most).ok_or(format!("{word} takes a number up to {most}"))
            };
            match *word {
                "--seconds" => wish.seconds = number(SECONDS_MAX)?,
                "--seed" => wish.seed = number(u64::MAX)?,
                "--cluster" => wish.is_cluster = true,
                "--prove" => wish.is_proof = true,
                "--planted" => {
                    let planted = PLANTED.iter().find(|(name, _)| words.next_if_eq(&name).is_some());
                    wish.planted =
                        Some(planted.ok_or("--planted takes early-answer, no-dedupe or no-sync")?.1);
                }
                _ => return Err(format!("{word} is no option")),
            }
        }
        if wish.is_cluster && (wish.planted.is_some() || wish.is_proof) {
            return Err("--planted and --prove are for one server".into());
        }
        Ok(wish)
    }
}

/// What a run has shown.
#[derive(Default)]
struct Table {
    kinds: BTreeMap<&'static str, usize>,
    recoveries: Vec<Duration>,
    checks: usize,
    damaged: Vec<String>,
    /// Nothing was answered any more.
    is_dead: bool,
}

/// Returns whether the promise was kept.
pub fn run(wish: &Wish) -> bool {
    if wish.is_proof {
        return prove(wish);
    }
    if wish.is_cluster {
        return cluster(wish);
    }
    // For an image that can lose its power. The room has a network of its own, whose loopback is down at first.
    #[cfg(feature = "cluster")]
    if wish.planted.is_none() && super::cluster::room::run("ip", &["link", "show", "lo"]).is_some() {
        if let Some(held) = super::cluster::room::run_again() {
            return held;
        }
        if super::cluster::room::is_inside() {
            super::cluster::room::run("ip", &["link", "set", "lo", "up"]).expect("loopback");
        }
    }
    one(wish)
}

/// Whether each planted fault is found.
fn prove(wish: &Wish) -> bool {
    PLANTED.iter().fold(true, |all, (name, planted)| {
        println!("planted: {name}");
        let is_found = !one(&Wish { planted: Some(*planted), ..*wish });
        all & verdict(is_found, format_args!("the planted fault {name} is found"))
    })
}

fn one(wish: &Wish) -> bool {
    println!("one server, seed {}, {} s", wish.seed, wish.seconds);
    let Some(mut machine) = Machine::start(wish) else {
        println!("left out: planted faults need a C compiler and Linux");
        return false;
    };
    let crowd = Crowd::begin(&[machine.address()], Habits { writers: WRITERS, rest: REST });
    let (mut random, mut table) = (Seeded(wish.seed), Table::default());
    table.is_dead = crowd.wait_for(FIRST).is_none();
    machine.begin();
    let mut progress = Progress::new(wish.seconds);
    while !table.is_dead && progress.goes_on() {
        let faults = machine.faults();
        let fault = faults[below(&mut random, faults.len() as u64) as usize];
        let takes = Duration::from_millis(100 + below(&mut random, 700));
        let is_checked = fault.ends_the_process() && progress.faults.is_multiple_of(CHECKED);
        if let Some(damage) = machine.play(fault, takes, is_checked) {
            table.checks += 1;
            table.damaged.extend(damage);
        }
        *table.kinds.entry(fault.kind()).or_default() += 1;
        table.recovers(&crowd);
        progress.show(&crowd);
        crowd.rest(Duration::from_millis(below(&mut random, CALM_MS)));
    }
    if table.is_dead {
        machine.report();
    }
    let told = crowd.end();
    let tally = told.judge(&[machine.address()]);
    println!("returns of the readers: {:?}", told.returns());
    table.checks += 1;
    table.damaged.extend(machine.stop());
    table.judge(wish, tally)
}

#[cfg(not(feature = "cluster"))]
fn cluster(_: &Wish) -> bool {
    println!("this build is without the feature cluster");
    false
}

#[cfg(feature = "cluster")]
fn cluster(wish: &Wish) -> bool {
    use super::cluster::{self, room, stage::Stage};
    if let Some(held) = room::run_again() {
        return held;
    }
    println!("three natters over three nats-servers, seed {}, {} s", wish.seed, wish.seconds);
    let room = room::Room::make();
    let Some(mut stage) = Stage::start_at(room.logs(), room.nodes()) else { return true };
    let crowd = Crowd::begin(&stage.addresses(), Habits { writers: WRITERS, rest: REST });
    let (mut random, mut table) = (Seeded(wish.seed), Table::default());
    table.is_dead = crowd.wait_for(FIRST).is_none();
    let all = cluster::Wish { kills: 12, pauses: 4, partitions: 6, power_cuts: 2 };
    let faults = cluster::faults::plan(all, &room);
    let mut progress = Progress::new(wish.seconds);
    while !table.is_dead && progress.goes_on() {
        let fault = faults[below(&mut random, faults.len() as u64) as usize];
        cluster::faults::play(fault, progress.faults, &mut stage, &room, |time| crowd.rest(time));
        *table.kinds.entry(fault.kind()).or_default() += 1;
        table.recovers(&crowd);
        cluster::wait_until_ready(&mut stage, Instant::now());
        progress.show(&crowd);
        crowd.rest(Duration::from_millis(below(&mut random, CALM_MS)));
    }
    if table.is_dead {
        stage.report();
    }
    let (tally, damage, are_equal) = cluster::end(stage, crowd);
    table.checks += damage.len() + 1;
    table.damaged.extend(damage.into_iter().flatten());
    table.damaged.extend((!are_equal).then(|| "the nodes differ".to_owned()));
    table.judge(wish, tally)
}

impl Table {
    /// A fault has ended: the time until a post is answered.
    fn recovers(&mut self, crowd: &Crowd) {
        match crowd.wait_for(crowd.answered() + 1) {
            Some(time) => self.recoveries.push(time),
            None => self.is_dead = true,
        }
    }

    /// Prints the table and the verdict.
    fn judge(mut self, wish: &Wish, tally: Tally) -> bool {
        self.recoveries.sort();
        let at = |part: f64| {
            let index = (self.recoveries.len().saturating_sub(1) as f64 * part) as usize;
            self.recoveries.get(index).map_or(0, Duration::as_millis)
        };
        let Tally { answered, lost, twice, out_of_order, gaps, faults } = tally;
        println!("| fault | times |\n|---|---|");
        self.kinds.iter().for_each(|(name, count)| println!("| {name} | {count} |"));
        println!("| **result** | |");
        println!("| posts answered | {answered} |");
        println!("| lost, twice, out of order | {lost}, {twice}, {out_of_order} |");
        println!("| gaps in what readers got; other faults | {gaps}; {faults} |");
        println!("| integrity checks, failed | {}, {} |", self.checks, self.damaged.len());
        println!("| from the end of a fault to an answer: p50, p99 | {} ms, {} ms |", at(0.5), at(0.99));
        self.damaged.iter().for_each(|damage| println!("  {damage}"));
        if self.is_dead {
            println!("  nothing was answered any more");
        }
        let is_kept = tally.is_clean() && self.damaged.is_empty() && !self.is_dead;
        let verdict = if is_kept { "KEPT" } else { "BROKEN" };
        println!(
            "{verdict}: every answered post is there once, in order, for everybody (seed {})",
            wish.seed
        );
        is_kept
    }
}

fn below(random: &mut Seeded, end: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_be_bytes(bytes) % end
}

/// How long a run goes on, and what it shows meanwhile.
struct Progress {
    until: Instant,
    next: Instant,
    faults: usize,
}

impl Progress {
    fn new(seconds: u64) -> Progress {
        let now = Instant::now();
        Progress { until: now + Duration::from_secs(seconds), next: now + PROGRESS, faults: 0 }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn show(&mut self, crowd: &Crowd) {
        self.faults += 1;
        if Instant::now() >= self.next {
            self.next = Instant::now() + PROGRESS;
            let left = self.until.saturating_duration_since(Instant::now()).as_secs();
            println!("  {} faults, {} posts answered, {left} s to go", self.faults, crowd.answered());
        }
    }
}

impl Fault {
    /// Whether the database can be looked at in the middle of it.
    fn ends_the_process(self) -> bool {
        matches!(self, Fault::Kill | Fault::Restart | Fault::PowerCut | Fault::ImageCut)
    }
}
