//! A complete natter in memory, without a socket, a clock or a thread.
//!
//! The real server, the real store in a temporary folder and the real password hasher are driven input by input. A test sends
//! and reads the bytes that a client sends and reads.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod asked;
#[cfg(feature = "acme")]
pub mod authority;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod contract;
pub mod files;
pub mod hop;
pub mod http;
pub mod net;
pub mod observer;
pub mod pictures;
pub mod process;
#[cfg(feature = "tls")]
pub mod push_service;
pub mod seed;
pub mod socket;
pub mod streams;
#[cfg(feature = "tls")]
pub mod tls;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "cluster")]
use self::cluster::Follower;
use self::contract::Contract;
use self::observer::Observer;
pub use self::seed::Seeded;
use natter::base::crypto::HmacKey;
use natter::base::send_queue::{Front, SendQueue};
use natter::base::time::{Now, UnixMs};
use natter::in_memory::{Append, Environment, InMemory, StorageCommand};
use natter::limits::{Limits, READ_BUFFER};
use natter::model::hook::{HookCall, HookFailure};
use natter::model::job::{Delivery, Done, Job};
use natter::model::mail::Letter;
use natter::model::measures::Gauge;
use natter::model::operation::{Outcome, Refusal, Start};
use natter::model::push::{Notification, Pushed};
use natter::model::settings::Settings;
use natter::server::Server;
use natter::server::contract::{ConnId, Input, ListenerKind, Ticket};
use natter::server::schema::examples::Recording;
use natter::store::{Index, Reader, Store, StoreOptions};
use natter::work::password::{Cost, PasswordHasher, PasswordOptions};

/// 2026-11-22T13:03:54.120Z.
pub const START_MS: UnixMs = UnixMs(1_795_352_634_120);

/// A temporary folder of one test, removed when the value is dropped.
pub struct TestDir(PathBuf);

impl TestDir {
    pub fn new() -> TestDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("natter-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        TestDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The other end of a connection.
#[derive(Default)]
pub struct Peer {
    /// Received bytes that the test has not taken yet.
    pub received: Vec<u8>,
    /// The server shut its write side.
    pub write_shut: bool,
    /// The server closed the socket.
    pub closed: bool,
    /// While set, the peer reads nothing, and its send queue only grows.
    pub stalled: bool,
    /// The most bytes that were queued in memory for it.
    pub most_queued: usize,
    /// Sent by the peer and not yet read by the server.
    unread: Vec<u8>,
    /// After these bytes the peer sends no more.
    ends: bool,
    /// The server shuts its write side when all bytes are sent.
    shuts: bool,
    /// Holds what goes over the wire against the documents.
    observer: Observer,
}

/// The other ends of all connections, as the runtime sees them.
struct Peers<'a>(&'a mut BTreeMap<ConnId, Peer>);

impl Peer {
    /// One whose bytes are not held against the documents.
    pub fn unwatched() -> Peer {
        Peer { observer: Observer::blind(), ..Peer::default() }
    }
}

/// What becomes of the bytes on the wire.
#[derive(Clone, Copy)]
pub enum Watch {
    /// Each connection is held against the documents.
    Judges,
    /// Against these, and what was judged is kept.
    Records(&'static Contract),
    /// A test whose connections are no real ones.
    Nothing,
}

pub struct World {
    runtime: InMemory,
    settings: Settings,
    pub store: Store,
    pub reader: Reader,
    pub index: Index,
    hasher: PasswordHasher,
    pub files: files::Files,
    pub peers: BTreeMap<ConnId, Peer>,
    next_conn: u64,
    /// Peers with bytes that the server has not read.
    waiting: BTreeSet<ConnId>,
    pub dir: TestDir,
    /// Mails that were sent.
    pub mails: Vec<Letter>,
    /// The results of the next attempts to send one; `Sent` if there is none.
    pub deliveries: VecDeque<Delivery>,
    pub places: BTreeMap<IpAddr, String>,
    /// While set, look-ups of places never finish.
    pub lookups_hang: bool,
    /// While set, a backup is not made: it waits in `backups_held`.
    pub backups_hang: bool,
    /// Notifications that were given to workers.
    pub pushes: Vec<Notification>,
    /// What becomes of the next ones; accepted if there is none.
    pub push_outcomes: VecDeque<Pushed>,
    /// While set, push services do not answer: the notifications wait in `pushes_held`.
    pub pushes_hang: bool,
    /// The calls of outgoing hooks.
    pub hook_calls: Vec<HookCall>,
    /// How the next ones fail; then they are accepted.
    pub hook_failures: VecDeque<HookFailure>,
    pub pushes_held: Vec<Ticket>,
    /// Backups that are not made.
    pub backups_held: Vec<Ticket>,
    /// The names of the commands and jobs since a test last emptied it.
    pub trace: Vec<&'static str>,
    /// While set, storage executes no commands: they wait in `asked`.
    pub holds: bool,
    /// While set, the disk writes nothing: appends wait.
    pub holds_appends: bool,
    pub watch: Watch,
    /// Of a node of a cluster.
    follower: Option<Follower>,
}

/// Limits without rates, so that only tests of rates reach them.
pub fn limits() -> Limits {
    Limits { rate_limit: false, ..Limits::default() }
}

pub fn settings(limits: Limits) -> Settings {
    Settings { limits, ..Settings::with_defaults(|name| HmacKey::new(name.as_bytes())) }
}

/// Without the feature no server is one of several.
#[cfg(not(feature = "cluster"))]
enum Follower {}

fn open_store(dir: &Path, now: Now, in_cluster: bool) -> (Store, Reader, Index, Start) {
    let path = dir.join("natter.db");
    let options = StoreOptions { synchronous_full: false, in_cluster, ..StoreOptions::new(path) };
    let (store, start) = Store::open(&options, &mut Seeded(7), now.unix_ms).expect("a store");
    let reader = Reader::open(&options).expect("a reader");
    let index = Index::open(&options).expect("an index");
    (store, reader, index, start)
}

impl World {
    pub fn new() -> World {
        World::with(settings(limits()))
    }

    /// What the server measures.
    pub fn measures(&self) -> std::sync::Arc<natter::model::measures::Measures> {
        std::sync::Arc::clone(&self.settings.measures)
    }

    pub fn with(settings: Settings) -> World {
        let now = Now { instant: Instant::now(), unix_ms: START_MS };
        World::start(TestDir::new(), settings, now, 1, None)
    }

    /// Starts a process on this folder; another `seed` gives other random numbers.
    fn start(dir: TestDir, settings: Settings, now: Now, seed: u64, follower: Option<Follower>) -> World {
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut))]
        let (mut store, reader, index, mut start) = open_store(dir.path(), now, follower.is_some());
        #[cfg(feature = "cluster")]
        let follower = follower.map(|mut follower| {
            start = follower.begin(&mut store, now, &mut Seeded(seed));
            follower
        });
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let options = PasswordOptions { secret: HmacKey::new(b"password"), cost };
        let hasher = PasswordHasher::new(options).unwrap_or_else(|_| panic!("a cheap hasher"));
        let server = Server::new(settings.clone(), start, Box::new(Seeded(seed)), now);
        let files = files::Files::new(dir.path());
        World {
            runtime: InMemory::new(server, now),
            settings,
            store,
            reader,
            index,
            hasher,
            files,
            peers: BTreeMap::new(),
            next_conn: 0,
            dir,
            mails: Vec::new(),
            deliveries: VecDeque::new(),
            places: BTreeMap::new(),
            lookups_hang: false,
            backups_hang: false,
            pushes: Vec::new(),
            push_outcomes: VecDeque::new(),
            pushes_hang: false,
            hook_calls: Vec::new(),
            hook_failures: VecDeque::new(),
            pushes_held: Vec::new(),
            backups_held: Vec::new(),
            trace: Vec::new(),
            holds: false,
            holds_appends: false,
            watch: Watch::Judges,
            waiting: BTreeSet::new(),
            follower,
        }
    }

    /// Ends the process and starts another one on the same folder: every connection is closed.
    pub fn restart(mut self) -> World {
        self.input(Input::Drain);
        let now = self.now;
        let World {
            settings,
            store,
            reader,
            index,
            files,
            dir,
            next_conn,
            mails,
            deliveries,
            places,
            hook_failures,
            follower,
            ..
        } = self;
        drop((reader, index));
        store.close().expect("closed in order");
        let started = World::start(dir, settings, now, next_conn + 2, follower);
        World { files, next_conn, mails, deliveries, places, hook_failures, ..started }
    }

    /// The process is killed and another one starts, while the value that comes with it holds the write-ahead log: what the
    /// log holds can't be proven to be on disk.
    pub fn crash_and_hold(self) -> (World, rusqlite::Connection) {
        let now = self.now;
        let World { settings, store, reader, index, files, dir, next_conn, mails, .. } = self;
        drop((reader, index, store));
        let shell = rusqlite::Connection::open(dir.path().join("natter.db")).expect("a shell");
        shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
        let started = World::start(dir, settings, now, next_conn + 2, None);
        (World { files, next_conn, mails, ..started }, shell)
    }

    /// The server hears what the database can do.
    pub fn tell_readiness(&mut self) {
        let readiness = self.store.readiness();
        self.input(Input::Storage(readiness));
    }

    /// A new connection from 127.0.0.1.
    pub fn connect(&mut self) -> ConnId {
        self.connect_from("127.0.0.1")
    }

    pub fn connect_from(&mut self, peer: &str) -> ConnId {
        self.connect_through(peer, ListenerKind::Public)
    }

    pub fn connect_through(&mut self, peer: &str, listener_kind: ListenerKind) -> ConnId {
        let peer: IpAddr = peer.parse().expect("an address");
        // Slots are never reused here, so the generation may stay.
        let conn = ConnId(1 << 32 | self.next_conn);
        self.next_conn += 1;
        let observer = match (listener_kind, self.watch) {
            (ListenerKind::Public, Watch::Judges) => Observer::default(),
            (ListenerKind::Public, Watch::Records(contract)) => Observer::recording(contract),
            _ => Observer::blind(),
        };
        self.peers.insert(conn, Peer { observer, ..Peer::default() });
        self.input(Input::Accepted { conn, peer, listener_kind });
        conn
    }

    /// The peer sends bytes; the server gets them when it reads.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let peer = self.peer(conn);
        if !peer.closed {
            peer.unread.extend_from_slice(bytes);
            self.waiting.insert(conn);
            self.perform();
        }
    }

    /// The peer shuts its write side after the bytes that it has sent.
    pub fn end(&mut self, conn: ConnId) {
        self.peer(conn).ends = true;
        self.waiting.insert(conn);
        self.perform();
    }

    /// Reads as the runtime does: as many of the arrived bytes as the server wants. Returns `true` if bytes were read.
    fn read(&mut self) -> bool {
        let mut read = false;
        for conn in self.waiting.clone() {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            if peer.closed || peer.unread.is_empty() && !peer.ends {
                self.waiting.remove(&conn);
                continue;
            }
            if !self.runtime.server.wants_read(conn) {
                continue;
            }
            let piece = peer.unread.len().min(READ_BUFFER);
            let bytes: Vec<u8> = peer.unread.drain(..piece).collect();
            if !bytes.is_empty() {
                peer.observer.sent(&bytes);
                self.runtime.handle(Input::Received { conn, bytes: &bytes });
            } else if std::mem::take(&mut peer.ends) {
                self.runtime.handle(Input::Ended { conn });
            }
            read = true;
        }
        read
    }

    /// Bytes that the server has not read because it did not want them.
    pub fn unread(&self, conn: ConnId) -> usize {
        self.peers[&conn].unread.len()
    }

    /// Storage executes the oldest commands that are held back.
    pub fn release(&mut self, count: usize) {
        for _ in 0..count {
            if !self.execute() {
                break;
            }
        }
        self.perform();
    }

    /// Storage executes the oldest command that is held back; its answer waits for [`World::deliver`].
    pub fn look(&mut self) -> (Ticket, Outcome) {
        let Some(StorageCommand::Read(ticket, read)) = self.asked.pop_front() else { panic!("a read") };
        (ticket, Outcome::quiet(self.reader.read(*read)))
    }

    pub fn deliver(&mut self, (ticket, outcome): (Ticket, Outcome)) {
        self.input(Input::Answered { ticket, outcome });
    }

    /// Storage refuses the oldest command that is held back.
    pub fn refuse(&mut self, refusal: Refusal) {
        let command = self.asked.pop_front().expect("a command");
        self.input(Input::refused(command.ticket(), refusal));
    }

    /// Storage executes the oldest command. Returns `false` if there is none.
    fn execute(&mut self) -> bool {
        let Some(command) = self.runtime.asked.front() else { return false };
        self.trace.push(command.name());
        let is_write = matches!(command, StorageCommand::Write(..));
        if !is_write || !self.append_write() {
            self.runtime.execute(&mut self.store, &mut self.reader);
        }
        if is_write {
            let done = self.store.maintain(self.runtime.now.instant);
            if self.store.readiness().is_ready() {
                done.expect("a tidy store");
                self.follow();
            }
        }
        true
    }

    /// Alone, nothing is appended to a log.
    #[cfg(not(feature = "cluster"))]
    fn append_write(&mut self) -> bool {
        false
    }

    /// Runs the maintenance of storage at this time.
    pub fn maintain(&mut self, at: Instant) {
        self.store.maintain(at).expect("a tidy store");
        while self.index.step(at).expect("an index").more {}
    }

    /// Runs the search index until it is complete, and the writer's part of it.
    fn follow(&mut self) {
        let done = loop {
            let step = self.index.step(self.now.instant).expect("an index");
            if !step.more {
                break step.done;
            }
        };
        while self.store.sweep_search(done).expect("a sweep") {}
    }

    pub fn reset(&mut self, conn: ConnId) {
        self.input(Input::Failed { conn });
    }

    /// What was judged while the world recorded it, in the order of the connections.
    pub fn recording(&mut self) -> Recording {
        let mut all = Recording::default();
        let observers = self.peers.values_mut().map(|peer| &mut peer.observer);
        for recording in observers.filter_map(Observer::take_recording) {
            all.exchanges.extend(recording.exchanges);
            all.frames.extend(recording.frames);
        }
        all
    }

    /// The bytes that arrived since the last call.
    pub fn take(&mut self, conn: ConnId) -> Vec<u8> {
        std::mem::take(&mut self.peer(conn).received)
    }

    pub fn is_closed(&self, conn: ConnId) -> bool {
        let peer = &self.peers[&conn];
        peer.closed || peer.write_shut
    }

    /// Advances the time, deadline by deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.later(time);
        let mut stays = 0;
        while let Some(at) = self.server.next_deadline().filter(|at| *at <= end.instant) {
            stays = if at <= self.now.instant { stays + 1 } else { 0 };
            assert!(stays < 1_000, "a deadline that has come and stays would turn a loop without end");
            let step = at.saturating_duration_since(self.now.instant);
            self.now = self.now.later(step.max(Duration::from_millis(1)));
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Gives the server an input, and its observer the bytes.
    pub fn handle(&mut self, input: Input<'_>) {
        if let Input::Received { conn, bytes } = &input
            && let Some(peer) = self.peers.get_mut(conn)
        {
            peer.observer.sent(bytes);
        }
        self.runtime.handle(input);
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.handle(input);
        self.perform();
    }

    /// Performs effects, executes what the server asked for and reads the bytes that it wants, until nothing is left to do.
    pub fn perform(&mut self) {
        loop {
            self.runtime.perform(&mut Peers(&mut self.peers));
            let busy = !self.holds && self.execute() || self.work() || self.append() || self.read();
            if !busy {
                return;
            }
        }
    }

    /// Finishes the oldest job. Returns `false` if there is none.
    fn work(&mut self) -> bool {
        let Some((ticket, job)) = self.runtime.jobs.pop_front() else { return false };
        match job {
            Job::FindPlace { .. } if self.lookups_hang => {}
            Job::MakeBackup if self.backups_hang => self.backups_held.push(ticket),
            Job::Push(notification) if self.pushes_hang => {
                self.pushes.push(*notification);
                self.pushes_held.push(ticket);
            }
            job => {
                let done = self.run(job);
                self.runtime.handle(Input::Finished { ticket, done });
            }
        }
        true
    }

    /// Does the work of worker threads: real hashes; mails are kept for the test, places are those that the test has set.
    fn run(&mut self, job: Job) -> Done {
        self.trace.push(job.name());
        match job {
            Job::SendMail(letter) => match self.deliveries.pop_front().unwrap_or(Delivery::Sent) {
                Delivery::Sent => {
                    self.mails.push(*letter);
                    Done::Mail(Delivery::Sent)
                }
                failed => Done::Mail(failed),
            },
            Job::Push(notification) => {
                self.pushes.push(*notification);
                Done::Pushed(self.push_outcomes.pop_front().unwrap_or(Pushed::Accepted))
            }
            Job::CallHook(call) => {
                self.hook_calls.push(*call);
                Done::HookCalled(self.hook_failures.pop_front().map_or(Ok(()), |failure| Err(failure.into())))
            }
            Job::FindPlace { address } => Done::Place(self.places.get(&address).cloned()),
            Job::MakeBackup => self.make_backup(),
            Job::HashPassword { .. } | Job::VerifyPassword(_) => self.hasher.run(job),
            job => self.files.run(job),
        }
    }

    /// Says what the worker of a real server says of a good backup.
    fn make_backup(&mut self) -> Done {
        let at = self.now.unix_s().0;
        for (gauge, value) in [(Gauge::BackupAt, at), (Gauge::BackupBytes, 4_096), (Gauge::BackupRuns, 0)] {
            self.settings.measures.set(gauge, value);
        }
        Done::BackupEnded
    }

    /// The newest mail to this address.
    pub fn mail_to(&self, email: &str) -> &Letter {
        self.mails
            .iter()
            .rev()
            .find(|mail| mail.to.expose() == email)
            .unwrap_or_else(|| panic!("no mail to {email}"))
    }

    /// The disk executes the oldest append. Returns `false` if it has nothing to do.
    fn append(&mut self) -> bool {
        if self.holds_appends {
            return false;
        }
        let (upload, bytes, last) = match self.runtime.appends.pop_front() {
            None => return false,
            Some(Append::Abandon(upload)) => {
                self.files.abandon(upload);
                return true;
            }
            Some(Append::Bytes { upload, bytes, last }) => (upload, bytes, last),
        };
        self.runtime.handle(match self.files.append(upload, &bytes, last) {
            Ok(sha256) => Input::Appended { upload, bytes: bytes.len(), sha256 },
            Err(full) => Input::DiskFailed { upload, full },
        });
        true
    }

    /// The disk executes the appends that wait, and holds the next ones.
    pub fn write_held_appends(&mut self) {
        self.holds_appends = false;
        for _ in 0..self.appends.len() {
            self.append();
        }
        self.holds_appends = true;
        self.perform();
    }

    fn peer(&mut self, conn: ConnId) -> &mut Peer {
        self.peers.get_mut(&conn).expect("a peer")
    }

    /// A stalled peer reads again.
    pub fn unstall(&mut self, conn: ConnId) {
        self.peer(conn).stalled = false;
        self.runtime.flush(&mut Peers(&mut self.peers), conn);
        self.perform();
    }
}

impl Deref for World {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.runtime
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut InMemory {
        &mut self.runtime
    }
}

impl Environment for Peers<'_> {
    fn flush(&mut self, conn: ConnId, queue: &mut SendQueue) -> u64 {
        let Some(peer) = self.0.get_mut(&conn).filter(|peer| !peer.stalled) else { return 0 };
        peer.most_queued = peer.most_queued.max(queue.memory());
        let mut bytes = queue.take_bytes();
        while let Front::File { file, offset, len } = queue.front() {
            let mut piece = vec![0; len.min(100_000) as usize];
            file.read_exact_at(&mut piece, offset).expect("a piece of a file");
            queue.file_sent(piece.len() as u64);
            bytes.extend(piece);
            bytes.extend(queue.take_bytes());
        }
        peer.write_shut |= peer.shuts;
        if !bytes.is_empty() {
            peer.observer.received(&bytes);
        }
        peer.received.extend_from_slice(&bytes);
        bytes.len() as u64
    }

    fn shut_after_flush(&mut self, conn: ConnId) {
        self.0.entry(conn).and_modify(|peer| peer.shuts = true);
    }

    fn close(&mut self, conn: ConnId) {
        self.0.entry(conn).and_modify(|peer| peer.closed = true);
    }
}
