//! Three machines with a network between them, made of namespaces, bridges and pairs of virtual links.
//!
//! ```text
//!                  ┌─────── core ───────┐   the test has 10.77.0.254 here, for the monitors of the log
//!               link 0     link 1     link 2
//!            machine 0   machine 1   machine 2
//!             ├ log 0     ├ log 1     ├ log 2     10.77.0.2x
//!             └ node 0    └ node 1    └ node 2    10.77.0.1x, and 10.78.0.1x at the door
//!                  door: clients, the test has 10.78.0.254
//! ```
//! Each nats-server and each natter has a namespace of its own. A partition is a link that is down: packets are lost without a word.
//! Invariant: it is only made inside a namespace of its own, and ends with that.

use std::net::Ipv4Addr;

use super::room::run;
use crate::servers::Site;

/// What is cut off.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// A machine from the other two, and its node from clients.
    Machine(usize),
    /// A machine from the other two. Clients reach its node, which reaches the server beside it.
    Minority(usize),
    /// All machines from each other: there is no majority.
    All,
    /// A node from all servers of the log, but not from clients.
    Node(usize),
    /// A server of the log from all.
    Log(usize),
}

pub struct Network(());

impl Network {
    /// `None` if it can't be made here.
    pub fn make() -> Option<Network> {
        // The names of namespaces are files here. Nobody else sees this folder, as its mount is private.
        run("mount", &["-t", "tmpfs", "natter-campaign", "/run"])?;
        ip("link set lo up")?;
        for (bridge, address) in [("core", "10.77.0.254/24"), ("door", "10.78.0.254/24")] {
            ip(&format!("link add {bridge} type bridge"))?;
            ip(&format!("addr add {address} dev {bridge}"))?;
            ip(&format!("link set {bridge} up"))?;
        }
        for index in 0..3 {
            ip(&format!("link add machine{index} type bridge"))?;
            ip(&format!("link set machine{index} up"))?;
            ip(&format!("link add link{index} type veth peer name inner{index}"))?;
            ip(&format!("link set link{index} master core up"))?;
            ip(&format!("link set inner{index} master machine{index} up"))?;
            for space in ["log", "node"] {
                ip(&format!("netns add {space}{index}"))?;
                ip(&format!("-n {space}{index} link set lo up"))?;
            }
            plug("log", index, "eth0", &format!("machine{index}"), &format!("10.77.0.2{index}"))?;
            plug("node", index, "eth0", &format!("machine{index}"), &format!("10.77.0.1{index}"))?;
            plug("node", index, "eth1", "door", &format!("10.78.0.1{index}"))?;
        }
        Some(Network(()))
    }

    pub fn log_site(&self, index: usize) -> Site {
        site("log", index, Ipv4Addr::new(10, 77, 0, 20 + index as u8))
    }

    pub fn node_site(&self, index: usize) -> Site {
        site("node", index, Ipv4Addr::new(10, 78, 0, 10 + index as u8))
    }

    pub fn cut(&self, cut: Cut) {
        set(cut, "down");
    }

    pub fn heal(&self, cut: Cut) {
        set(cut, "up");
    }
}

fn set(cut: Cut, state: &str) {
    let links = match cut {
        Cut::Machine(index) => vec![format!("link{index}"), format!("node{index}eth1")],
        Cut::Minority(index) => vec![format!("link{index}")],
        Cut::All => (0..3).map(|index| format!("link{index}")).collect(),
        Cut::Node(index) => vec![format!("node{index}eth0")],
        Cut::Log(index) => vec![format!("log{index}eth0")],
    };
    for link in links {
        ip(&format!("link set {link} {state}")).expect("a link");
    }
}

/// Connects a namespace to a bridge, by a link that is named after both of its ends.
fn plug(space: &str, index: usize, device: &str, bridge: &str, address: &str) -> Option<()> {
    let (link, space) = (format!("{space}{index}{device}"), format!("{space}{index}"));
    ip(&format!("link add {link} type veth peer name {device} netns {space}"))?;
    ip(&format!("link set {link} master {bridge} up"))?;
    ip(&format!("-n {space} addr add {address}/24 dev {device}"))?;
    ip(&format!("-n {space} link set {device} up"))
}

fn site(space: &str, index: usize, host: Ipv4Addr) -> Site {
    let wrapper = vec!["nsenter".to_owned(), format!("--net=/run/netns/{space}{index}"), "--".to_owned()];
    Site { host, wrapper, folder: None }
}

fn ip(words: &str) -> Option<()> {
    let words: Vec<&str> = words.split(' ').collect();
    run("ip", &words).map(|_| ())
}
