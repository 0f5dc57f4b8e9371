//! The processes: three nats-servers and three natters, with their folders and ports.
//!
//! Invariant: they end with the value.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::servers::{Servers, Wish};
use crate::support::TestDir;
use crate::support::http::series;
use crate::support::net::Http;
use crate::support::process::{Launch, Natter, Signal};

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
    running: Option<Natter>,
    dir: TestDir,
}

impl Stage {
    /// `None` without nats-server.
    pub fn start() -> Option<Stage> {
        let servers = Servers::start(Wish::default())?;
        let urls: Vec<String> =
            (0..3).map(|index| format!("nats://127.0.0.1:{}", servers.port(index))).collect();
        // All are bound at once, so that they differ; the nodes bind them again at once.
        let listeners: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        drop(listeners);
        let node = |(index, address): (usize, SocketAddr)| {
            let dir = TestDir::new();
            let mut order = urls.clone();
            order.rotate_left(index);
            let launch = Launch::new(dir.path()).with(&[
                ("PORT", &address.port().to_string()),
                ("CLUSTER_NODE", NAMES[index]),
                ("CLUSTER_SERVERS", &order.join(",")),
                ("CLUSTER_USER", "app"),
                ("CLUSTER_PASSWORD", "apppw"),
                ("CLUSTER_SYSTEM_USER", "sys"),
                ("CLUSTER_SYSTEM_PASSWORD", "syspw"),
                ("RATE_LIMIT", "off"),
            ]);
            Node { launch, address, running: None, dir }
        };
        let nodes = addresses.into_iter().enumerate().map(node).collect();
        let mut stage = Stage { servers, nodes };
        let made = stage.nodes[0].launch.run(&["cluster", "init"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let first = stage.data(0);
        for other in [1, 2].map(|index| stage.data(index)) {
            fs::create_dir_all(&other).expect("a folder");
            for key in KEYS {
                fs::copy(first.join(key), other.join(key)).expect("a copy of a key");
            }
        }
        (0..3).for_each(|index| stage.start_node(index));
        Some(stage)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.nodes[index].dir.path().join("data")
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].address
    }

    pub fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|index| self.address(index))
    }

    pub fn start_node(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.running = Some(node.launch.start());
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
            let ready = Http::try_connect(node.address).and_then(|mut http| {
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
        [0, 1, 2].map(|index| {
            let mut http = Http::try_connect(self.address(index)).ok()?;
            http.stream.set_read_timeout(Some(ASK_MAX)).ok()?;
            let text = http.ask("GET", "/metrics", &[], None).ok()?;
            Some(series(text.text(), "natter_cluster_log_position"))
        })
    }

    pub fn databases(&self) -> Vec<PathBuf> {
        (0..3).map(|index| self.data(index).join("natter.db")).collect()
    }
}
