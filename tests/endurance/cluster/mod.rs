//! Three natters over three nats-servers on loopback: a conversation that survives the death of one of each, and a campaign of faults.
//!
//! `story` is `scripts/cluster`; `campaign` makes as many faults of each kind as it is asked for. People post and read through all nodes
//! meanwhile. Owns the story and the verdicts. Leaves the faults to `faults`, what root can make for them to `room`, the processes to
//! `stage`, the people to `super::people`, and the databases to `rows`.
//! Invariant: all processes end with it, and a run without nats-server says so and is no failure.

mod clock;
pub mod disks;
pub mod faults;
mod network;
pub mod room;
mod rows;
pub mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use self::faults::Wish;
use self::room::Room;
use self::stage::Stage;
use super::people::{Crowd, Habits, Tally};
use super::torture::damage_of;
use super::verdict;

/// The time after a fault has ended and all is well, until the next one.
const CALM: Duration = Duration::from_millis(700);
/// A wait that is reported.
const LONG: Duration = Duration::from_secs(10);
/// How long all may take to have caught up after the last fault.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Between two looks at how far they are.
const CHECK: Duration = Duration::from_millis(50);
/// How often all nodes are killed until they were at one entry.
const STOPS_MAX: usize = 10;

/// One command shows it: a conversation over three nodes, the death of a node and of a server of the log, and what is left.
pub fn story() -> bool {
    let Some(mut stage) = Stage::start() else { return true };
    println!("three nats-servers and three nodes run: a, b and c");
    let crowd = Crowd::begin(&stage.addresses(), Habits { writers: 3, rest: Duration::ZERO });
    wait_for(&crowd, &mut stage, 20);
    println!("  {} posts are answered, by all three nodes", crowd.answered());
    println!("kill -9 of node b");
    stage.kill_node(1);
    let before = crowd.answered();
    let took = wait_for(&crowd, &mut stage, before + 50);
    println!("  its people post through the other nodes: 50 more after {} ms", took.as_millis());
    let leader = stage.leader();
    println!("kill -9 of nats-server {leader}, which leads the log");
    stage.servers.kill(leader);
    let before = crowd.answered();
    let took = wait_for(&crowd, &mut stage, before + 50);
    println!("  posts are answered again: 50 more after {} ms", took.as_millis());
    println!("both come back");
    stage.servers.revive(leader);
    stage.start_node(1);
    let before = crowd.answered();
    wait_for(&crowd, &mut stage, before + 50);
    finish(stage, crowd)
}

/// So many faults of each kind, those that can be made here.
pub fn campaign(wish: Wish) -> bool {
    if wish.partitions + wish.power_cuts > 0
        && let Some(held) = room::run_again()
    {
        return held;
    }
    let room = if wish.partitions + wish.power_cuts > 0 { Room::make() } else { Room::default() };
    let Some(mut stage) = Stage::start_at(room.logs(), room.nodes()) else { return true };
    let crowd = Crowd::begin(&stage.addresses(), Habits { writers: 6, rest: Duration::ZERO });
    wait_for(&crowd, &mut stage, 20);
    let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
    let faults = faults::plan(wish, &room);
    for (turn, fault) in faults.iter().copied().enumerate() {
        crowd.take_silence();
        faults::play(fault, turn, &mut stage, &room, |time| crowd.rest(time));
        let ended = Instant::now();
        let posted = wait_for(&crowd, &mut stage, crowd.answered() + 1);
        let ready = wait_until_ready(&mut stage, ended);
        if posted.max(ready) > LONG {
            println!(
                "  fault {turn}, {}: a post after {} ms, all nodes ready after {} ms",
                fault.kind(),
                posted.as_millis(),
                ready.as_millis()
            );
        }
        let kind = kinds.entry(fault.kind()).or_default();
        kind.count += 1;
        kind.silence = kind.silence.max(crowd.take_silence());
        (kind.posted, kind.ready) = (kind.posted.max(posted), kind.ready.max(ready));
        crowd.rest(CALM);
        if turn % 10 == 9 {
            println!("  {} of {} faults, {} posts answered", turn + 1, faults.len(), crowd.answered());
        }
    }
    println!(
        "faults; at most: without an answered post, from the end of the fault to a post, to all nodes being ready:"
    );
    for (name, Kind { count, silence, posted, ready }) in &kinds {
        let [silence, posted, ready] = [silence, posted, ready].map(Duration::as_millis);
        println!("  {count:>4} × {name}: {silence} ms, {posted} ms, {ready} ms");
    }
    finish(stage, crowd)
}

/// What is known of one kind of faults.
#[derive(Default)]
struct Kind {
    count: usize,
    silence: Duration,
    posted: Duration,
    ready: Duration,
}

/// Waits until so many posts are answered. Returns how long that took.
fn wait_for(crowd: &Crowd, stage: &mut Stage, count: u64) -> Duration {
    crowd.wait_for(count).unwrap_or_else(|| {
        stage.report();
        panic!("no more posts are answered");
    })
}

/// Returns how long after `since` all nodes said that they take writes.
pub fn wait_until_ready(stage: &mut Stage, since: Instant) -> Duration {
    while !stage.is_ready() {
        if since.elapsed() > RECOVERY_MAX {
            stage.report();
            panic!("not all nodes take writes {} s after a fault", RECOVERY_MAX.as_secs());
        }
        std::thread::sleep(CHECK);
    }
    since.elapsed()
}

/// All stop posting, all nodes catch up, and what each knows is compared.
fn finish(stage: Stage, crowd: Crowd) -> bool {
    let (tally, _, are_equal) = end(stage, crowd);
    let held = verdict(
        tally.is_clean(),
        format_args!(
            "of {} answered posts on all nodes: {} lost, {} twice, {} out of order, {} not read by somebody",
            tally.answered, tally.lost, tally.twice, tally.out_of_order, tally.gaps
        ),
    );
    held & verdict(are_equal, format_args!("all nodes have the same rows"))
}

/// The same without a word: what the people found, the databases, and whether these are equal. All nodes are stopped then; the databases
/// are removed with the stage.
pub fn end(mut stage: Stage, crowd: Crowd) -> (Tally, Vec<Option<String>>, bool) {
    let told = crowd.end();
    let is_level = wait_until_level(&stage);
    let tally = told.judge(&stage.addresses());
    let databases = stop_at_one_entry(&mut stage);
    let damage = databases.iter().map(|path| damage_of(path)).collect();
    (tally, damage, is_level && rows::are_equal(&databases))
}

/// Whether all nodes come to the same entry.
fn wait_until_level(stage: &Stage) -> bool {
    let end = Instant::now() + RECOVERY_MAX;
    loop {
        let positions = stage.positions();
        if positions.iter().all(|position| position.is_some() && *position == positions[0]) {
            return true;
        }
        if Instant::now() > end {
            println!("  the nodes are at {positions:?}");
            return false;
        }
        std::thread::sleep(CHECK);
    }
}

/// Kills all nodes. An entry may come between two of them, since the nodes write for themselves: then once more.
fn stop_at_one_entry(stage: &mut Stage) -> Vec<PathBuf> {
    for _ in 0..STOPS_MAX {
        wait_until_level(stage);
        (0..3).for_each(|index| stage.kill_node(index));
        let databases = stage.databases();
        let positions: Vec<i64> = databases.iter().map(|path| rows::position(path)).collect();
        if positions.iter().all(|position| *position == positions[0]) {
            return databases;
        }
        (0..3).for_each(|index| stage.start_node(index));
    }
    panic!("the nodes never stopped at one entry");
}
