//! Three natters over three nats-servers on loopback: a conversation that survives the death of one of each, and a campaign of faults.
//!
//! `story` is `scripts/cluster`; `campaign` makes as many faults of each kind as it is asked for. People post and read through all nodes
//! while processes are killed and stopped. Owns the order of the faults and the verdicts. Leaves the processes to `stage`, the people to
//! `people`, and the databases to `rows`.
//! Invariant: all processes end with it, and a run without nats-server says so and is no failure.

mod people;
mod rows;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::people::Crowd;
use self::stage::Stage;
use super::verdict;

/// How long a fault lasts, and the time after it until the next one.
const FAULT: Duration = Duration::from_millis(1_500);
const CALM: Duration = Duration::from_millis(1_500);
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
    let crowd = Crowd::begin(&stage, 3);
    crowd.wait_for(&mut stage, 20);
    println!("  {} posts are answered, by all three nodes", crowd.answered());
    println!("kill -9 of node b");
    stage.kill_node(1);
    let before = crowd.answered();
    let took = crowd.wait_for(&mut stage, before + 50);
    println!("  its people post through the other nodes: 50 more after {} ms", took.as_millis());
    let leader = stage.leader();
    println!("kill -9 of nats-server {leader}, which leads the log");
    stage.servers.kill(leader);
    let before = crowd.answered();
    let took = crowd.wait_for(&mut stage, before + 50);
    println!("  posts are answered again: 50 more after {} ms", took.as_millis());
    println!("both come back");
    stage.servers.revive(leader);
    stage.start_node(1);
    let before = crowd.answered();
    crowd.wait_for(&mut stage, before + 50);
    finish(stage, crowd)
}

/// This many kills and pauses of natters and nats-servers in turn.
pub fn campaign(kills: usize, pauses: usize) -> bool {
    let Some(mut stage) = Stage::start() else { return true };
    let crowd = Crowd::begin(&stage, 6);
    crowd.wait_for(&mut stage, 20);
    let mut longest = Duration::ZERO;
    for turn in 0..kills + pauses {
        let (index, before) = (turn % 3, crowd.answered());
        let is_node = turn / 3 % 2 == 0;
        let leader = stage.leader();
        let server = if turn % 2 == 0 { leader } else { index };
        match (turn < kills, is_node) {
            (true, true) => {
                stage.kill_node(index);
                crowd.rest(FAULT);
                stage.start_node(index);
            }
            (true, false) if turn % 12 == 11 => {
                (0..3).for_each(|server| stage.servers.kill(server));
                crowd.rest(FAULT);
                (0..3).for_each(|server| stage.servers.revive(server));
            }
            (true, false) => {
                stage.servers.kill(server);
                crowd.rest(FAULT);
                stage.servers.revive(server);
            }
            (false, true) => {
                stage.pause_node(index);
                crowd.rest(FAULT);
                stage.go_on_node(index);
            }
            (false, false) => {
                stage.servers.pause(server);
                crowd.rest(FAULT);
                stage.servers.go_on(server);
            }
        }
        crowd.rest(CALM);
        longest = longest.max(crowd.wait_for(&mut stage, before + 1));
        if turn % 10 == 9 {
            println!("  {} faults, {} posts answered", turn + 1, crowd.answered());
        }
    }
    println!(
        "{kills} kills and {pauses} pauses; the longest wait for a post after one: {} ms",
        longest.as_millis()
    );
    finish(stage, crowd)
}

/// All stop posting, all nodes catch up, and what each knows is compared.
fn finish(mut stage: Stage, crowd: Crowd) -> bool {
    let told = crowd.end();
    let is_level = wait_until_level(&stage);
    let mut held = verdict(is_level, format_args!("all nodes are at the same entry of the log"));
    held &= told.judge(&stage);
    let databases = stop_at_one_entry(&mut stage);
    held & verdict(rows::are_equal(&databases), format_args!("all nodes have the same rows"))
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
