//! Measures what https costs: posts, a fan-out to a thousand members, and handshakes.
//!
//! `cargo bench --bench https`, or `-- posts`, `-- fan-out`, `-- handshakes` for one of them. Two servers run side by side, one
//! with plain HTTP and one with a certificate (P-256), and the same load goes to each in turn, so that both meet the same machine.
//! This process, on one thread, is all clients, and decrypts what it receives. `NATTER_BIN` measures another binary. The bench
//! prints a result for each required value, and ends with status 1 if one is missed.

#[path = "load/mod.rs"]
#[allow(dead_code, reason = "this bench uses the engine and posts")]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;

use load::engine::{Bounds, Engine, Pace, Step};
use load::place::Place;
use load::ratios::{PAIRS, Ratio, median};
use load::scenario::Prepared;
use load::scenarios::talk;
use support::TestDir;
use support::net::PATIENCE;
use support::process::{Launch, Natter};
use support::tls;

/// Rounds of handshakes, which have no required value.
const HANDSHAKE_ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
/// Senders, and unanswered posts of each.
const POSTS: (usize, usize) = (64, 16);
/// Receivers of each post of a fan-out, and unanswered posts.
const CROWD: usize = 1_000;
const CROWD_WINDOW: usize = 16;
/// Clients that make handshakes at the same time.
const HANDSHAKERS: usize = 8;

/// The required part of the rate of plain HTTP.
const POSTS_FLOOR: f64 = 0.75;
const FAN_OUT_FLOOR: f64 = 0.6;

/// Both servers, plain first. They end with the value.
struct Pair {
    servers: [Natter; 2],
    _dirs: [TestDir; 2],
}

/// One round: things done in a second, and the CPU time that the server used for each, in µs.
#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    cpu_us: f64,
}

/// A part of the bench; it returns whether its required values are met.
type Part = fn() -> bool;
/// How a client connects to an address.
type Connect = fn(SocketAddr) -> Client;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let parts: [(&str, Part); 3] = [("posts", posts), ("fan-out", fan_out), ("handshakes", handshakes)];
    if let Some(unknown) = words.iter().find(|word| !parts.iter().any(|(name, _)| name == word)) {
        eprintln!("no part is called {unknown}: posts, fan-out, handshakes");
        return ExitCode::from(2);
    }
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let mut met = true;
    for (_, run) in parts.iter().filter(|(name, _)| is_wanted(name)) {
        met &= run();
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Pair {
    fn start() -> Pair {
        let dirs = [TestDir::new(), TestDir::new()];
        let env = [
            ("CONNECTIONS_PER_ADDRESS", "5000"),
            ("MEMBERS_MAX", "5000"),
            ("LOG_LEVEL", "info,natter::access=warn"),
        ];
        let start = |dir: &TestDir, is_secure: bool| {
            let launch = Launch::new(dir.path()).with(&env);
            if is_secure { tls::secure(launch) } else { launch }.start()
        };
        Pair { servers: [start(&dirs[0], false), start(&dirs[1], true)], _dirs: dirs }
    }

    /// The same people at both servers.
    fn engines(&self, prepare: impl Fn(&mut Place) -> io::Result<Prepared>) -> [Engine; 2] {
        let authority = Path::new(tls::FOLDER).join("authority.pem");
        let engine = |url: String| {
            let mut place = Place::named(&url, Some(&authority))?;
            Engine::new(prepare(&mut place)?)
        };
        let [plain, secure] = [&self.servers[0], &self.servers[1]].map(|natter| natter.address);
        [format!("http://{plain}"), format!("https://{secure}")].map(|url| engine(url).expect("people"))
    }

    /// The rounds of each server, plain first.
    fn in_turns(&self, mut measure: impl FnMut(usize, &Natter) -> Measured) -> [Vec<Measured>; 2] {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..PAIRS {
            for (index, natter) in self.servers.iter().enumerate() {
                natter.wait_until_idle(PATIENCE);
                rounds[index].push(measure(index, natter));
            }
        }
        rounds
    }

    fn stop(self) {
        self.servers.into_iter().for_each(|natter| drop(natter.stop()));
    }
}

/// As many posts as are answered, so many of each sender unanswered.
fn exchange(engine: &mut Engine, window: usize) -> Step {
    let step = engine.run(Pace::Closed(window), Bounds { time: ROUND, count: u64::MAX }).expect("a round");
    assert_eq!((step.refusals(), step.unanswered), (0, 0), "{:?}", step.refused);
    step
}

fn posts() -> bool {
    let pair = Pair::start();
    let mut engines = pair.engines(|place| talk::relay(place, POSTS.0));
    let both = pair.in_turns(|index, natter| {
        let before = natter.cpu_time();
        let step = exchange(&mut engines[index], POSTS.1);
        measured(natter, before, step.in_time as usize, ROUND)
    });
    pair.stop();
    compare(&format!("posts/s, {} senders × {}", POSTS.0, POSTS.1), both, POSTS_FLOOR)
}

fn fan_out() -> bool {
    let pair = Pair::start();
    let mut engines = pair.engines(|place| talk::fanout(place, CROWD + 1));
    let both = pair.in_turns(|index, natter| {
        let (before, began) = (natter.cpu_time(), Instant::now());
        let step = exchange(&mut engines[index], CROWD_WINDOW);
        measured(natter, before, step.deliveries.count() as usize, began.elapsed())
    });
    pair.stop();
    compare(&format!("deliveries/s to {CROWD} members"), both, FAN_OUT_FLOOR)
}

fn measured(natter: &Natter, before: Duration, count: usize, time: Duration) -> Measured {
    let cpu = natter.cpu_time().saturating_sub(before);
    Measured {
        per_second: count as f64 / time.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / count.max(1) as f64,
    }
}

fn medians(rounds: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| median(rounds.iter().map(value));
    Measured { per_second: of(|round| round.per_second), cpu_us: of(|round| round.cpu_us) }
}

fn compare(what: &str, [plain, secure]: [Vec<Measured>; 2], floor: f64) -> bool {
    println!("{what}");
    for (name, rounds) in [("plain", &plain), ("https", &secure)] {
        let Measured { per_second, cpu_us } = medians(rounds);
        println!("  {name} {per_second:>12.0}   server {cpu_us:>6.2} µs each");
    }
    let [secure, plain] = [secure, plain].map(|rounds| rounds.into_iter().map(|round| round.per_second));
    Ratio::of(secure, plain).judge(&format!("https / plain, at least {floor}:"), floor..)
}

/// There is no required value: the rates depend on the machine. Plain connections are their measure.
fn handshakes() -> bool {
    let pair = Pair::start();
    let (plain, secure) = (pair.servers[0].address, pair.servers[1].address);
    println!("connections/s, {HANDSHAKERS} at a time, each with its handshake");
    let kinds: [(&str, usize, Connect); 3] = [
        ("plain", 0, |address| Client { address, config: None }),
        ("full", 1, |address| Client { address, config: Some(resuming(Resumption::disabled())) }),
        ("resumed", 1, |address| Client {
            address,
            config: Some(resuming(Resumption::in_memory_sessions(32))),
        }),
    ];
    let mut rounds = kinds.map(|_| Vec::new());
    for _ in 0..HANDSHAKE_ROUNDS {
        for ((_, index, client), rounds) in kinds.iter().zip(&mut rounds) {
            let natter = &pair.servers[*index];
            natter.wait_until_idle(PATIENCE);
            rounds.push(connect_for(ROUND, natter, || client([plain, secure][*index])));
        }
    }
    for ((name, ..), rounds) in kinds.iter().zip(rounds) {
        let Measured { per_second, cpu_us } = medians(&rounds);
        println!("  {name:<8} {per_second:>8.0}   server {cpu_us:>6.0} µs each");
    }
    pair.stop();
    true
}

fn resuming(resumption: Resumption) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&tls::config());
    config.resumption = resumption;
    Arc::new(config)
}

struct Client {
    address: SocketAddr,
    config: Option<Arc<ClientConfig>>,
}

impl Client {
    /// One connection, until its handshake is complete and a ticket for the next one is there.
    fn connect(&self) -> io::Result<()> {
        let Some(config) = &self.config else {
            // The plain server has seen the connection when it has answered.
            let mut stream = TcpStream::connect(self.address)?;
            io::Write::write_all(
                &mut stream,
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )?;
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        };
        let mut stream = tls::connect(self.address, config)?;
        while stream.conn.tls13_tickets_received() == 0 {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(())
    }
}

/// Connections of [`HANDSHAKERS`] clients for a time.
fn connect_for(time: Duration, natter: &Natter, client: impl Fn() -> Client) -> Measured {
    let (before, began) = (natter.cpu_time(), Instant::now());
    let (ended, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..HANDSHAKERS {
            let (client, ended, count) = (client(), &ended, &count);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    client.connect().expect("a connection");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        ended.store(true, Ordering::Relaxed);
    });
    measured(natter, before, count.into_inner() as usize, began.elapsed())
}
