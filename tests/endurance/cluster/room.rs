//! What only root can make for a campaign: namespaces for its links and mounts, and the end of everything in them.
//!
//! The program runs itself again in namespaces of its own. Owns these and the folder of the run. Leaves links to `network` and images to
//! `disks`. Invariant: what is made in the room ends with it, also when this program is killed: processes with their namespace of
//! processes, mounts with that of mounts, links with that of the network.

use std::process::Command;

use super::clock::Clocks;
use super::disks::Disk;
use super::network::Network;
use crate::servers::Site;
use crate::support::TestDir;

/// Set in the environment of the program inside.
const INSIDE: &str = "NATTER_CAMPAIGN_ROOM";
/// A process that becomes root of a new room. The first two words make it end with this program.
const ENTER: [&str; 10] = [
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
];
/// Bytes of the image of a server of the log, and of a node. The files are sparse.
const LOG_DISK: u64 = 4 << 30;
const NODE_DISK: u64 = 256 << 20;

/// Runs this program again in a room. `None` if this process may not make one, or is in one; else whether all was kept.
pub fn run_again() -> Option<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let enter = || {
        let mut command = Command::new(ENTER[0]);
        command.args(&ENTER[1..]);
        command
    };
    if !enter().arg("true").output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    // Process ids inside are small, so names made of them would not differ from those of another run.
    let dir = TestDir::new();
    let status = enter()
        .arg(std::env::current_exe().expect("this program"))
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("TMPDIR", dir.path())
        .status()
        .expect("the program runs again");
    Some(status.success())
}

/// Whether this program runs in a room.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// What could be made. It is removed with the value.
#[derive(Default)]
pub struct Room {
    pub network: Option<Network>,
    /// Of the servers of the log, then of the nodes; empty if there are none.
    pub disks: Vec<Disk>,
    pub clocks: Option<Clocks>,
    #[allow(dead_code, reason = "it is removed with the value, after all that is in it")]
    dir: Option<TestDir>,
}

impl Room {
    /// Makes what can be made here, and says what is left out.
    pub fn make() -> Room {
        let dir = TestDir::new();
        let clocks = Clocks::make(dir.path());
        if clocks.is_none() {
            println!(
                "left out: the clock of a node is moved by a library, which needs a C compiler and Linux"
            );
        }
        if std::env::var_os(INSIDE).is_none() {
            println!(
                "left out: partitions, power cuts and a full disk, which need root, setpriv and unshare"
            );
            return Room { clocks, dir: Some(dir), ..Room::default() };
        }
        let network = Network::make();
        if network.is_none() {
            println!("left out: partitions, because `ip` can't make bridges and namespaces here");
        }
        let make = |index: usize| {
            let bytes = if index < 3 { LOG_DISK } else { NODE_DISK };
            Disk::make(
                &dir.path().join(format!("image{index}")),
                &dir.path().join(format!("disk{index}")),
                bytes,
            )
        };
        // All or none.
        let disks = (0..6).map(make).collect::<Option<Vec<Disk>>>().unwrap_or_default();
        if disks.is_empty() {
            println!("left out: power cuts and a full disk, because no ext4 image can be mounted here");
        }
        Room { network, disks, clocks, dir: Some(dir) }
    }

    /// Where the servers of the log run.
    pub fn logs(&self) -> [Site; 3] {
        [0, 1, 2].map(|index| {
            let site = self.network.as_ref().map_or_else(Site::default, |network| network.log_site(index));
            Site { folder: self.disks.get(index).map(Disk::folder), ..site }
        })
    }

    /// Where the nodes run.
    pub fn nodes(&self) -> [Site; 3] {
        [0, 1, 2].map(|index| {
            let mut site =
                self.network.as_ref().map_or_else(Site::default, |network| network.node_site(index));
            site.wrapper.extend(self.clocks.iter().flat_map(|clocks| clocks.wrapper(index)));
            Site { folder: self.disks.get(3 + index).map(Disk::folder), ..site }
        })
    }
}

/// Runs a program to its end. Returns its output if it succeeded.
pub fn run(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
