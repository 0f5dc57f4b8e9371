//! The processes: three nats-servers and three natters, with their folders and ports.
//!
//! Invariant: they end with the value.

#![allow(dead_code, reason = "the tests of files, the campaign and the measurement use different parts")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::servers::{Servers, Site, Wish};
use crate::support::TestDir;
use crate::support::http::series;
use crate::support::net::Http;
use crate::support::process::{Launch, Natter, Signal};

/// Of the log. It is far below what the disk of a server has.
const LOG_MAX: &str = "1073741824";
/// A test in a namespace of its own is no loopback peer.
const METRICS_TOKEN: &str = "a-token-of-the-test-for-its-metrics";
/// Longer than a campaign, so that nobody has to sign in again while a clock is off.
const ACCESS_TTL: &str = "86400";

pub const NAMES: [&str; 3] = ["a", "b", "c"];
/// What the nodes have in common beside the key of the cluster.
const KEYS: [&str; 5] = ["access_secret", "refresh_secret", "password_secret", "push_key", "cluster_key"];
/// Lines of the log of a node in a report.
const REPORT_LINES: usize = 12;
/// A node that is stopped does not answer a question about it.
const ASK_MAX: Duration = Duration::from_secs(5);

pub struct Stage {
    pub servers: Servers,
    nodes: Vec<Node>,
}

struct Node {
    launch: Launch,
    address: SocketAddr,
    /// Where it is asked for files.
    files_at: SocketAddr,
    running: Option<Natter>,
    data: PathBuf,
    /// Its working directory.
    #[allow(dead_code, reason = "it is removed with the value")]
    dir: TestDir,
}

impl Stage {
    /// On loopback. `None` without nats-server.
    pub fn start() -> Option<Stage> {
        Stage::start_at(Default::default(), Default::default())
    }

    /// The servers of the log and the nodes, each at its place.
    pub fn start_at(logs: [Site; 3], sites: [Site; 3]) -> Option<Stage> {
        let servers = Servers::start_at(Wish::default(), logs)?;
        let urls: Vec<String> = (0..3).map(|index| format!("nats://{}", servers.address(index))).collect();
        // All are bound at once, so that they differ; the nodes bind them again at once.
        let listeners: Vec<TcpListener> =
            (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let node = |(index, site): (usize, Site)| {
            let files_at = SocketAddr::from((site.host, ports[3 + index]));
            let dir = TestDir::new();
            let address = SocketAddr::from((site.host, ports[index]));
            let data = site.folder.unwrap_or_else(|| dir.path().join("data"));
            let wrapper: Vec<&str> = site.wrapper.iter().map(String::as_str).collect();
            let mut order = urls.clone();
            order.rotate_left(index);
            let launch = Launch::new(dir.path()).by(&wrapper).with(&[
                ("HOST", &site.host.to_string()),
                ("PORT", &address.port().to_string()),
                ("DATA_DIR", data.to_str().expect("a path")),
                ("ACCESS_TTL", ACCESS_TTL),
                ("LOG_MAX", LOG_MAX),
                ("METRICS_TOKEN", METRICS_TOKEN),
                ("CLUSTER_NODE", NAMES[index]),
                ("CLUSTER_SERVERS", &order.join(",")),
                ("CLUSTER_LISTEN", &files_at.to_string()),
                ("CLUSTER_USER", "app"),
                ("CLUSTER_PASSWORD", "apppw"),
                ("CLUSTER_SYSTEM_USER", "sys"),
                ("CLUSTER_SYSTEM_PASSWORD", "syspw"),
                ("RATE_LIMIT", "off"),
            ]);
            Node { launch, address, files_at, running: None, data, dir }
        };
        let nodes = sites.into_iter().enumerate().map(node).collect();
        let mut stage = Stage { servers, nodes };
        let made = stage.nodes[0].launch.run(&["cluster", "init"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let first = &stage.nodes[0].data;
        for other in [1, 2].map(|index| &stage.nodes[index].data) {
            fs::create_dir_all(other).expect("a folder");
            for key in KEYS {
                fs::copy(first.join(key), other.join(key)).expect("a copy of a key");
                // A power cut may come at once.
                fs::File::open(other.join(key)).and_then(|file| file.sync_all()).expect("synced");
            }
            fs::File::open(other).and_then(|folder| folder.sync_all()).expect("synced");
        }
        (0..3).for_each(|index| stage.start_node(index));
        Some(stage)
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].address
    }

    pub fn files_address(&self, index: usize) -> SocketAddr {
        self.nodes[index].files_at
    }

    /// Its stored files.
    pub fn uploads(&self, index: usize) -> PathBuf {
        self.nodes[index].data.join("uploads")
    }

    pub fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|index| self.address(index))
    }

    pub fn start_node(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.running = Some(node.launch.start());
    }

    /// Everything stops at one moment, as far as a program can do that.
    pub fn stop_all(&self) {
        let nodes = self.nodes.iter().flat_map(|node| node.running.as_ref().map(Natter::pid));
        let pids = nodes.chain(self.servers.pids()).map(|pid| pid.to_string());
        let status = Command::new("kill").args(["-s", "STOP"]).args(pids).status().expect("kill");
        assert!(status.success());
    }

    /// SIGKILL of everything.
    pub fn kill_all(&mut self) {
        (0..3).for_each(|index| self.servers.kill(index));
        (0..3).for_each(|index| self.kill_node(index));
    }

    /// Everything runs again.
    pub fn start_all(&mut self) {
        (0..3).for_each(|index| self.servers.revive(index));
        (0..3).for_each(|index| self.start_node(index));
    }

    /// Whether each node says that it takes writes.
    pub fn is_ready(&self) -> bool {
        self.nodes.iter().all(|node| {
            let ready = Http::try_connect_within(node.address, ASK_MAX).and_then(|mut http| {
                http.stream.set_read_timeout(Some(ASK_MAX))?;
                http.ask("GET", "/readyz", &[], None)
            });
            ready.is_ok_and(|answer| answer.status == 200)
        })
    }

    /// SIGKILL.
    pub fn kill_node(&mut self, index: usize) {
        self.nodes[index].running.take().expect("it runs").kill();
    }

    pub fn pause_node(&self, index: usize) {
        self.nodes[index].running.as_ref().expect("it runs").signal(Signal::Stop);
    }

    pub fn go_on_node(&self, index: usize) {
        self.nodes[index].running.as_ref().expect("it runs").signal(Signal::Continue);
    }

    /// The server that leads the log, as the first server that answers knows it; the first one if none does.
    pub fn leader(&self) -> usize {
        self.servers.find_leader("NATTER_natter").unwrap_or(0)
    }

    /// Prints what each node says of itself.
    pub fn report(&mut self) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(natter) = &mut node.running else { continue };
            println!("node {}: running {}", NAMES[index], natter.is_running());
            let ready = Http::try_connect_within(node.address, ASK_MAX).and_then(|mut http| {
                http.stream.set_read_timeout(Some(ASK_MAX))?;
                http.ask("GET", "/readyz", &[], None)
            });
            println!("  {:?}", ready.map(|response| response.text().to_owned()));
            let lines: Vec<&String> =
                natter.log().iter().filter(|line| !line.contains("natter::access")).collect();
            lines.iter().rev().take(REPORT_LINES).rev().for_each(|line| println!("  {line}"));
        }
    }

    /// How far each node has applied the log.
    pub fn positions(&self) -> [Option<u64>; 3] {
        let bearer = format!("Bearer {METRICS_TOKEN}");
        [0, 1, 2].map(|index| {
            let mut http = Http::try_connect_within(self.address(index), ASK_MAX).ok()?;
            http.stream.set_read_timeout(Some(ASK_MAX)).ok()?;
            let text = http.ask("GET", "/metrics", &[("Authorization", &bearer)], None).ok()?;
            Some(series(text.text(), "natter_cluster_log_position"))
        })
    }

    pub fn databases(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(|node| node.data.join("natter.db")).collect()
    }
}
