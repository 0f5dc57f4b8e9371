//! A node without a database: it appends numbered entries and applies what the log delivers.
//!
//! Owns the writer's rules in their shortest form: a window of four, go-back-N after a loss, and of each node only the next number
//! counts. Invariant: positions that are delivered are dense, or the test fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use natter::base::secret::Secret;
use natter::base::time::{Now, UnixMs};
use natter::nats::{Log, LogEvent, LogState, NatsLog, NatsOptions, Whispers};
use natter::proto::nats::Credentials;
use natter::work::Trust;

use super::servers::Servers;

const WINDOW: usize = 4;
const SEND_AGAIN: Duration = Duration::from_secs(2);
const SEND_AGAIN_MIN: Duration = Duration::from_millis(100);

fn password(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

/// A node that tries the servers from this one on.
pub fn options(servers: &Servers, first: usize, name: &str) -> NatsOptions {
    NatsOptions {
        servers: servers.list(first, false),
        credentials: password("app", "apppw"),
        system: Some(password("sys", "syspw")),
        monitors: Vec::new(),
        trust: Trust::new(None).expect("the built-in roots"),
        cluster: "c".to_owned(),
        node: name.to_owned(),
        process: format!("{name}-{}", next()),
        replicas: 3,
        max_age: Duration::from_secs(3_600),
        max_bytes: 1 << 30,
        probe: Some(Arc::from([0; 9])),
        follows: None,
        entry_bytes_max: 524_288,
        creates: true,
        replaces: false,
        surveys: false,
        is_unsafe: false,
    }
}

/// A number that no other call returns.
fn next() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub struct Node {
    name: u8,
    pub log: NatsLog,
    woken: Receiver<()>,
    whispered: Arc<Mutex<Vec<Vec<u8>>>>,
    pub whispers: Whispers,
    pub state: Option<LogState>,
    pub down: Option<&'static str>,
    pub broken: Option<String>,
    pub position: u64,
    /// What was applied, in order: node and number.
    pub applied: Vec<(u8, u64)>,
    /// The last number of each node.
    last: BTreeMap<u8, u64>,
    /// A hash of all that was delivered.
    pub chain: u64,
    pub time: u64,
    /// Entries that were ignored: doubled or early.
    pub ignored: usize,
    n: u64,
    size: usize,
    under_way: VecDeque<(u64, Arc<[u8]>, Instant)>,
    sent_at: Instant,
    go_back_at: Option<Instant>,
    /// The longest time without an application while something was under way.
    pub silence: Duration,
    progress_at: Instant,
}

impl Node {
    pub fn start(options: NatsOptions, name: u8, after: u64) -> Node {
        let (sender, woken): (Sender<()>, _) = channel();
        let sender = Mutex::new(sender);
        let whispered: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let theirs = Arc::clone(&whispered);
        // The node may have ended.
        let wake = Arc::new(move || {
            let _ = sender.lock().expect("a lock").send(());
        });
        let on_whisper = Box::new(move |message| theirs.lock().expect("a lock").push(message));
        let mut log = NatsLog::start(options, wake, on_whisper).expect("a thread");
        log.read_after(after);
        let now = Instant::now();
        Node {
            name,
            whispers: log.whispers(),
            log,
            woken,
            whispered,
            state: None,
            down: Some("not begun"),
            broken: None,
            position: after,
            applied: Vec::new(),
            last: BTreeMap::new(),
            chain: 0,
            time: 0,
            ignored: 0,
            n: 0,
            size: 250,
            under_way: VecDeque::new(),
            sent_at: now,
            go_back_at: None,
            silence: Duration::ZERO,
            progress_at: now,
        }
    }

    pub fn of_size(mut self, size: usize) -> Node {
        self.size = size;
        self
    }

    /// Appends as many entries as the window allows, up to the number `upto`.
    pub fn append(&mut self, upto: u64) {
        let now = Instant::now();
        while self.under_way.len() < WINDOW && self.n < upto && self.down.is_none() {
            self.n += 1;
            let mut bytes = vec![self.name; self.size.max(9)];
            bytes[1..9].copy_from_slice(&self.n.to_be_bytes());
            let sealed: Arc<[u8]> = bytes.into();
            if self.under_way.is_empty() {
                (self.sent_at, self.progress_at) = (now, now);
            }
            self.log.append(&sealed);
            self.under_way.push_back((self.n, sealed, now));
        }
        let is_due = self.go_back_at.is_some_and(|at| at <= now) || self.sent_at + SEND_AGAIN <= now;
        if is_due && !self.under_way.is_empty() {
            self.under_way.iter().for_each(|(_, sealed, _)| self.log.append(sealed));
            (self.sent_at, self.go_back_at) = (now, None);
        }
    }

    /// Entries that were appended and applied here.
    pub fn done(&self) -> u64 {
        self.n - self.under_way.len() as u64
    }

    /// Takes what is new, after waiting for it at most so long.
    pub fn turn(&mut self, wait: Duration) {
        if self.woken.recv_timeout(wait).is_ok() {
            while self.woken.try_recv().is_ok() {}
        }
        let mut events = Vec::new();
        self.log.take(&mut events);
        for event in events {
            match event {
                LogEvent::Up(state) => {
                    (self.state, self.down) = (Some(state), None);
                    self.go_back_at = Some(self.sent_at + SEND_AGAIN_MIN);
                }
                LogEvent::Down(reason) => self.down = Some(reason),
                LogEvent::Lost | LogEvent::Refused(_) => {
                    self.go_back_at = Some(self.sent_at + SEND_AGAIN_MIN)
                }
                // Both clocks are that of this machine, each cut to milliseconds.
                LogEvent::Clock(clock) => assert!(clock.ahead_ms(now()).abs() <= 1, "{clock:?}"),
                LogEvent::Broken(message) => self.broken = Some(message),
                LogEvent::Delivered { position, time, sealed } => {
                    assert_eq!(position, self.position + 1, "node {} skips or repeats", self.name);
                    self.position = position;
                    for byte in
                        position.to_be_bytes().iter().chain(&time.0.to_be_bytes()).chain(sealed.iter())
                    {
                        self.chain = (self.chain ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
                    }
                    self.time = self.time.max(time.0);
                    self.apply(&sealed);
                }
            }
        }
    }

    fn apply(&mut self, sealed: &[u8]) {
        let (node, n) = (sealed[0], u64::from_be_bytes(sealed[1..9].try_into().expect("eight bytes")));
        let last = self.last.entry(node).or_default();
        if n != *last + 1 {
            self.ignored += 1;
            return;
        }
        *last = n;
        self.applied.push((node, n));
        if node == self.name {
            let now = Instant::now();
            let (own, ..) = self.under_way.pop_front().expect("what it applies is under way");
            assert_eq!(own, n);
            self.silence = self.silence.max(now - self.progress_at);
            (self.progress_at, self.sent_at) = (now, now);
        }
    }

    pub fn whispered(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.whispered.lock().expect("a lock"))
    }
}

/// Turns all nodes until `done`; fails after `limit`.
#[track_caller]
pub fn until(what: &str, limit: Duration, nodes: &mut [Node], mut done: impl FnMut(&mut [Node]) -> bool) {
    let end = Instant::now() + limit;
    while !done(nodes) {
        let states: Vec<_> = nodes
            .iter()
            .map(|node| (node.position, node.n, node.done(), node.down, node.broken.clone()))
            .collect();
        assert!(Instant::now() < end, "{what}: {states:?}");
        let wait = Duration::from_millis(5) / nodes.len() as u32;
        nodes.iter_mut().for_each(|node| node.turn(wait));
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    Now { instant: Instant::now(), unix_ms: UnixMs(unix.as_millis() as u64) }
}
