//! The faults of a campaign: which, in what order, and how each begins and ends.
//!
//! Owns the plan. Leaves processes to `stage`, links to `network`, images to `disks`. Invariant: the same wish makes the same plan, and a
//! fault that has ended has left nothing.

use std::time::Duration;

use super::network::Cut;
use super::room::Room;
use super::stage::Stage;

/// How long faults last, in turn. Only the longer ones outlast the patience of nodes and servers with each other.
const SHORT: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1_000), Duration::from_millis(2_500)];
const PARTED: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(8)];
const DARK: Duration = Duration::from_millis(300);
const FULL: Duration = Duration::from_secs(5);
const OFF: Duration = Duration::from_secs(5);
/// How far a clock is off.
const HOUR: libc::c_long = 3_600;

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    pub kills: usize,
    pub pauses: usize,
    pub partitions: usize,
    pub power_cuts: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    KillNode(usize),
    KillLog(usize),
    KillLeader,
    /// A server that does not lead the log: the first or the second one after its leader.
    KillFollower(usize),
    /// All servers of the log.
    KillLogs,
    KillAll,
    PauseNode(usize),
    PauseLog(usize),
    PauseLeader,
    Part(Cut),
    PartLeader,
    PowerCut,
    FullDisk(usize),
    /// Seconds that the clock of a node is off.
    Clock(usize, libc::c_long),
}

impl Fault {
    /// Its kind, in the report.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::KillNode(_) => "kill of a node",
            Fault::KillLog(_) | Fault::KillFollower(_) => "kill of a follower of the log",
            Fault::KillLeader => "kill of the leader of the log",
            Fault::KillLogs => "kill of all servers of the log",
            Fault::KillAll => "kill of all nodes and servers",
            Fault::PauseNode(_) => "pause of a node",
            Fault::PauseLog(_) => "pause of a server of the log",
            Fault::PauseLeader => "pause of the leader of the log",
            Fault::Part(Cut::All) => "partition without a majority",
            Fault::Part(Cut::Machine(_)) => "partition of a machine, also from clients",
            Fault::Part(Cut::Minority(_)) => "partition of a machine",
            Fault::Part(Cut::Node(_)) => "partition of a node from the log",
            Fault::Part(Cut::Log(_)) | Fault::PartLeader => "partition of a server of the log",
            Fault::PowerCut => "power cut of all machines",
            Fault::FullDisk(_) => "full disk of a node",
            Fault::Clock(..) => "clock of a node an hour off",
        }
    }
}

/// The faults that can be made in this room, the kinds spread over the whole time.
pub fn plan(wish: Wish, room: &Room) -> Vec<Fault> {
    let kill = |turn: usize| match turn % 12 {
        0 | 3 | 6 => Fault::KillLeader,
        1 | 5 | 9 => Fault::KillFollower(1 + turn / 12 % 2),
        10 => Fault::KillLogs,
        11 => Fault::KillAll,
        _ => Fault::KillNode(turn % 3),
    };
    let pause = |turn: usize| match turn % 4 {
        0 => Fault::PauseLeader,
        2 => Fault::PauseLog(turn % 3),
        _ => Fault::PauseNode(turn % 3),
    };
    let part = |turn: usize| match turn % 6 {
        0 => Fault::Part(Cut::Machine(turn % 4 % 3)),
        1 => Fault::PartLeader,
        2 => Fault::Part(Cut::All),
        3 => Fault::Part(Cut::Minority(turn % 5 % 3)),
        4 => Fault::Part(Cut::Node(turn % 3)),
        _ => Fault::Part(Cut::Log(turn % 5 % 3)),
    };
    let partitions = if room.network.is_some() { wish.partitions } else { 0 };
    let has_disks = !room.disks.is_empty();
    let power_cuts = if has_disks { wish.power_cuts } else { 0 };
    let mut others = Vec::new();
    if has_disks && wish.power_cuts > 0 {
        others.push(Fault::FullDisk(1));
    }
    if room.clocks.is_some() && wish.power_cuts > 0 {
        others.extend([Fault::Clock(2, HOUR), Fault::Clock(0, -HOUR)]);
    }
    let mut placed: Vec<(f64, Fault)> = Vec::new();
    let mut spread = |faults: Vec<Fault>| {
        let count = faults.len() as f64;
        let at = |(index, fault)| ((index as f64 + 0.5) / count, fault);
        placed.extend(faults.into_iter().enumerate().map(at));
    };
    spread((0..wish.kills).map(kill).collect());
    spread((0..wish.pauses).map(pause).collect());
    spread((0..partitions).map(part).collect());
    spread(vec![Fault::PowerCut; power_cuts]);
    spread(others);
    placed.sort_by(|left, right| left.0.total_cmp(&right.0));
    placed.into_iter().map(|(_, fault)| fault).collect()
}

/// Makes a fault, and ends it. `rest` is given how long it lasts, and comes back after that.
pub fn play(fault: Fault, turn: usize, stage: &mut Stage, room: &Room, rest: impl Fn(Duration)) {
    let short = SHORT[turn % SHORT.len()];
    let parted = PARTED[turn % PARTED.len()];
    match fault {
        Fault::KillNode(index) => {
            stage.kill_node(index);
            rest(short);
            stage.start_node(index);
        }
        Fault::KillLeader => play(Fault::KillLog(stage.leader()), turn, stage, room, rest),
        Fault::KillFollower(after) => {
            play(Fault::KillLog((stage.leader() + after) % 3), turn, stage, room, rest)
        }
        Fault::KillLog(index) => {
            stage.servers.kill(index);
            rest(short);
            stage.servers.revive(index);
        }
        Fault::KillLogs => {
            (0..3).for_each(|index| stage.servers.kill(index));
            rest(short);
            (0..3).for_each(|index| stage.servers.revive(index));
        }
        Fault::KillAll => {
            stage.kill_all();
            rest(short);
            stage.start_all();
        }
        Fault::PauseNode(index) => {
            stage.pause_node(index);
            rest(short);
            stage.go_on_node(index);
        }
        Fault::PauseLeader => play(Fault::PauseLog(stage.leader()), turn, stage, room, rest),
        Fault::PauseLog(index) => {
            stage.servers.pause(index);
            rest(short);
            stage.servers.go_on(index);
        }
        Fault::PartLeader => play(Fault::Part(Cut::Log(stage.leader())), turn, stage, room, rest),
        Fault::Part(cut) => {
            let network = room.network.as_ref().expect("a network");
            network.cut(cut);
            rest(parted);
            network.heal(cut);
        }
        Fault::PowerCut => {
            stage.stop_all();
            room.disks.iter().for_each(|disk| disk.cut_power());
            stage.kill_all();
            rest(DARK);
            room.disks.iter().for_each(|disk| disk.come_back());
            stage.start_all();
        }
        Fault::FullDisk(index) => {
            let disk = &room.disks[3 + index];
            disk.fill();
            rest(FULL);
            disk.free();
        }
        Fault::Clock(index, seconds) => {
            let clocks = room.clocks.as_ref().expect("clocks");
            clocks.move_by(index, seconds);
            rest(OFF);
            clocks.move_by(index, 0);
        }
    }
}
