//! Runs a real Litestream on the bench's database, with a file replica.
//!
//! Owns its configuration, which is the README's sample with paths of the bench and a port for metrics, and reads its
//! metrics. Invariant: the process ends with its value.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::net::PATIENCE;

pub struct Litestream {
    child: Child,
    log: PathBuf,
    metrics: SocketAddr,
}

/// Seconds and counts since its start, from its metrics.
#[derive(Clone, Default)]
pub struct Locks {
    /// Each sync copies new pages of the WAL to Litestream's folder.
    syncs: (f64, f64),
    sync_errors: f64,
    /// It holds the write lock during one that is not passive.
    passive: (f64, f64),
    restart: (f64, f64),
    checkpoint_errors: f64,
}

/// `LITESTREAM`, or the program of this name in PATH.
fn program() -> PathBuf {
    std::env::var_os("LITESTREAM").map_or_else(|| PathBuf::from("litestream"), PathBuf::from)
}

fn config(dir: &Path) -> PathBuf {
    dir.join("litestream.yml")
}

pub fn database(dir: &Path) -> PathBuf {
    dir.join("data/natter.db")
}

impl Litestream {
    /// Starts it and waits until its first snapshot and all of the WAL are in the replica.
    pub fn start(dir: &Path) -> Litestream {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let metrics = free.expect("a free port");
        let settings = std::env::var("LITESTREAM_DB").unwrap_or_default();
        let text = format!(
            "addr: \"{metrics}\"\ndbs:\n  - path: {}\n    monitor-interval: 200ms\n{settings}\n    replicas:\n      - {{ type: file, path: {}, sync-interval: 1s, snapshot-interval: 6h, retention: 24h }}\n",
            database(dir).display(),
            dir.join("replica").display()
        );
        std::fs::write(config(dir), text).expect("its configuration");
        let path = dir.join("litestream.log");
        let log = File::create(&path).expect("its log");
        let child = Command::new(program())
            .args(["replicate", "-config"])
            .arg(config(dir))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("Litestream starts");
        let litestream = Litestream { child, log: path, metrics };
        let until = Instant::now() + PATIENCE * 4;
        while !litestream.is_level() {
            assert!(Instant::now() < until, "Litestream is not ready: see litestream.log");
            std::thread::sleep(Duration::from_millis(100)); // between two looks
        }
        litestream
    }

    /// Whether the first part of the WAL is in the replica. Posts since its last run are always a part.
    fn is_level(&self) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|text| text.contains("wal segment written"))
    }

    fn scrape(&self) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.metrics, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub fn locks(&self) -> Locks {
        let text = self.scrape().expect("its metrics");
        let value = |name: &str| metric(&text, &format!("litestream_{name}")).unwrap_or_default();
        let checkpoints = |mode: &str| {
            let of = |name: &str| {
                let lines = text.lines().filter(|line| line.starts_with(&format!("litestream_{name}{{")));
                let line = lines.into_iter().find(|line| line.contains(&format!("mode=\"{mode}\"")));
                line.and_then(number).unwrap_or_default()
            };
            (of("checkpoint_count"), of("checkpoint_seconds"))
        };
        Locks {
            syncs: (value("sync_count"), value("sync_seconds")),
            sync_errors: value("sync_error_count"),
            passive: checkpoints("PASSIVE"),
            restart: checkpoints("RESTART"),
            checkpoint_errors: text
                .lines()
                .filter(|line| line.starts_with("litestream_checkpoint_error_count{"))
                .filter_map(number)
                .sum(),
        }
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().expect("a shell's kill");
        assert!(status.success(), "kill -TERM {pid}");
        self.child.wait().expect("a child");
    }

    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("a child");
    }
}

impl Drop for Litestream {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Restores the newest state of the replica to `to`.
pub fn restore(dir: &Path, to: &Path) {
    let output = Command::new(program())
        .args(["restore", "-config"])
        .arg(config(dir))
        .arg("-o")
        .args([to, &database(dir)])
        .output()
        .expect("Litestream runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn number(line: &str) -> Option<f64> {
    line.rsplit(' ').next()?.parse().ok()
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))
        .and_then(number)
}

impl Locks {
    fn pairwise(&mut self, other: &Locks, op: fn(f64, f64) -> f64) {
        for (mine, other) in [
            (&mut self.syncs, &other.syncs),
            (&mut self.passive, &other.passive),
            (&mut self.restart, &other.restart),
        ] {
            *mine = (op(mine.0, other.0), op(mine.1, other.1));
        }
        self.sync_errors = op(self.sync_errors, other.sync_errors);
        self.checkpoint_errors = op(self.checkpoint_errors, other.checkpoint_errors);
    }

    pub fn add(&mut self, other: &Locks) {
        self.pairwise(other, |mine, other| mine + other);
    }

    pub fn since(&self, before: &Locks) -> Locks {
        let mut since = self.clone();
        since.pairwise(before, |now, before| now - before);
        since
    }
}

impl fmt::Display for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (count, seconds)) in
            [("syncs", self.syncs), ("passive checkpoints", self.passive), ("restarts", self.restart)]
        {
            write!(f, "{count} {name} of {:.1} ms, ", seconds * 1e3 / count.max(1.0))?;
        }
        write!(f, "{} failed syncs, {} failed checkpoints", self.sync_errors, self.checkpoint_errors)
    }
}
