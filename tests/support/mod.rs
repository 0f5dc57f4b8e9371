//! A complete natter in memory, without a socket, a clock or a thread.
//!
//! The real server, the real store in a temporary folder and the real password hasher are driven input by input. A test sends
//! and reads the bytes that a client sends and reads.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod asked;
#[cfg(feature = "acme")]
pub mod authority;
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
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::contract::Contract;
use self::observer::Observer;
pub use self::seed::Seeded;
use natter::base::crypto::HmacKey;
use natter::base::send_queue::Front;
use natter::base::time::{Now, UnixMs};
use natter::limits::{Limits, READ_BUFFER};
use natter::model::backup::BackUp;
use natter::model::id::UploadId;
use natter::model::job::{Delivery, Done, Job};
use natter::model::mail::Letter;
use natter::model::operation::{Answer, Command, Lane, Outcome, Refusal, Start};
use natter::model::push::{Notification, Pushed};
use natter::model::settings::Settings;
use natter::server::Server;
use natter::server::contract::{ConnId, Effect, Input, ListenerKind, Ticket};
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

/// A command to storage that a test holds back.
type Question = (Ticket, Lane, Command);

/// Reads have no lane; this value means none.
const READS: Lane = Lane(u64::MAX);

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
    pub server: Server,
    settings: Settings,
    pub store: Store,
    pub reader: Reader,
    pub index: Index,
    hasher: PasswordHasher,
    pub files: files::Files,
    pub now: Now,
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
    /// Notifications that were given to workers.
    pub pushes: Vec<Notification>,
    /// What becomes of the next ones; accepted if there is none.
    pub push_outcomes: VecDeque<Pushed>,
    /// While set, push services do not answer: the notifications wait in `pushes_held`.
    pub pushes_hang: bool,
    pub pushes_held: Vec<Ticket>,
    /// The names of the commands and jobs since a test last emptied it.
    pub trace: Vec<&'static str>,
    /// While set, storage gets no commands: they wait in `held`.
    pub holds: bool,
    pub held: VecDeque<Question>,
    pub watch: Watch,
}

/// Limits without rates, so that only tests of rates reach them.
pub fn limits() -> Limits {
    Limits { rate_limit: false, ..Limits::default() }
}

pub fn settings(limits: Limits) -> Settings {
    Settings { limits, ..Settings::with_defaults(|name| HmacKey::new(name.as_bytes())) }
}

fn open_store(dir: &Path, now: Now) -> (Store, Reader, Index, Start) {
    let options = StoreOptions { synchronous_full: false, ..StoreOptions::new(dir.join("natter.db")) };
    let (store, start) = Store::open(&options, &mut Seeded(7), now.unix_ms).expect("a store");
    let reader = Reader::open(&options).expect("a reader");
    let index = Index::open(&options).expect("an index");
    (store, reader, index, start)
}

impl World {
    pub fn new() -> World {
        World::with(settings(limits()))
    }

    pub fn with(settings: Settings) -> World {
        let now = Now { instant: Instant::now(), unix_ms: START_MS };
        World::start(TestDir::new(), settings, now, 1)
    }

    /// Starts a process on this folder; another `seed` gives other random numbers.
    fn start(dir: TestDir, settings: Settings, now: Now, seed: u64) -> World {
        let (store, reader, index, start) = open_store(dir.path(), now);
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let options = PasswordOptions { secret: HmacKey::new(b"password"), cost };
        let hasher = PasswordHasher::new(options).unwrap_or_else(|_| panic!("a cheap hasher"));
        let server = Server::new(settings.clone(), start, Box::new(Seeded(seed)), now);
        let files = files::Files::new(dir.path());
        World {
            server,
            settings,
            store,
            reader,
            index,
            hasher,
            files,
            now,
            peers: BTreeMap::new(),
            next_conn: 0,
            dir,
            mails: Vec::new(),
            deliveries: VecDeque::new(),
            places: BTreeMap::new(),
            lookups_hang: false,
            pushes: Vec::new(),
            push_outcomes: VecDeque::new(),
            pushes_hang: false,
            pushes_held: Vec::new(),
            trace: Vec::new(),
            holds: false,
            held: VecDeque::new(),
            watch: Watch::Judges,
            waiting: BTreeSet::new(),
        }
    }

    /// Ends the process and starts another one on the same folder: every connection is closed.
    pub fn restart(mut self) -> World {
        self.server.handle(self.now, Input::Drain);
        self.perform();
        let World {
            settings,
            store,
            reader,
            index,
            files,
            now,
            dir,
            next_conn,
            mails,
            deliveries,
            places,
            ..
        } = self;
        drop((reader, index));
        store.close().expect("closed in order");
        let started = World::start(dir, settings, now, next_conn + 2);
        World { files, next_conn, mails, deliveries, places, ..started }
    }

    /// The process is killed and another one starts, while the value that comes with it holds the write-ahead log: what the
    /// log holds can't be proven to be on disk.
    pub fn crash_and_hold(self) -> (World, rusqlite::Connection) {
        let World { settings, store, reader, index, files, now, dir, next_conn, mails, .. } = self;
        drop((reader, index, store));
        let shell = rusqlite::Connection::open(dir.path().join("natter.db")).expect("a shell");
        shell.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("a snapshot");
        let started = World::start(dir, settings, now, next_conn + 2);
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
        let peer = self.peers.get_mut(&conn).expect("a peer");
        if !peer.closed {
            peer.unread.extend_from_slice(bytes);
            self.waiting.insert(conn);
            self.perform();
        }
    }

    /// The peer shuts its write side after the bytes that it has sent.
    pub fn end(&mut self, conn: ConnId) {
        self.peers.get_mut(&conn).expect("a peer").ends = true;
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
            if !self.server.wants_read(conn) {
                continue;
            }
            let piece = peer.unread.len().min(READ_BUFFER);
            let bytes: Vec<u8> = peer.unread.drain(..piece).collect();
            if !bytes.is_empty() {
                peer.observer.sent(&bytes);
                self.server.handle(self.now, Input::Received { conn, bytes: &bytes });
            } else if std::mem::take(&mut peer.ends) {
                self.server.handle(self.now, Input::Ended { conn });
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
            let Some((ticket, lane, command)) = self.held.pop_front() else { break };
            self.answer(ticket, lane, command);
        }
        self.perform();
    }

    /// Storage executes the oldest command that is held back; its answer waits for [`World::deliver`].
    pub fn look(&mut self) -> (Ticket, Outcome) {
        let Some((ticket, _, Command::Read(read))) = self.held.pop_front() else { panic!("a read") };
        (ticket, Outcome::quiet(self.reader.read(read)))
    }

    pub fn deliver(&mut self, (ticket, outcome): (Ticket, Outcome)) {
        self.input(Input::Answered { ticket, outcome });
    }

    /// Storage refuses the oldest command that is held back.
    pub fn refuse(&mut self, refusal: Refusal) {
        let (ticket, ..) = self.held.pop_front().expect("a question");
        self.input(Input::Answered { ticket, outcome: Outcome::quiet(Err(refusal)) });
    }

    /// Drops a read that is held back; every other read is answered already.
    fn cancel(&mut self, ticket: Ticket) {
        if let Some(place) = self.held.iter().position(|(held, ..)| *held == ticket) {
            self.held.remove(place);
            let outcome = Outcome::quiet(Err(Refusal::Busy));
            self.server.handle(self.now, Input::Answered { ticket, outcome });
        }
    }

    fn command(&mut self, ticket: Ticket, lane: Lane, command: Command) {
        if self.holds {
            self.held.push_back((ticket, lane, command));
        } else {
            self.answer(ticket, lane, command);
        }
    }

    fn answer(&mut self, ticket: Ticket, lane: Lane, command: Command) {
        self.trace.push(command.name());
        let outcome = match command {
            Command::Write(write) => {
                let committed = self.store.commit(&mut vec![(lane, write)]);
                let done = self.store.maintain(self.now.instant);
                if self.store.readiness().is_ready() {
                    done.expect("a tidy store");
                    self.follow();
                }
                committed.outcomes.into_iter().next().expect("one outcome a command")
            }
            Command::Read(read) => Outcome::quiet(self.reader.read(read)),
            Command::BackUp(BackUp { id }) => {
                Outcome::quiet(self.store.back_up(id, &mut |_| true).map(Answer::BackUp))
            }
        };
        self.server.handle(self.now, Input::Answered { ticket, outcome });
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
        std::mem::take(&mut self.peers.get_mut(&conn).expect("a peer").received)
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
            && !matches!(self.watch, Watch::Nothing)
            && let Some(peer) = self.peers.get_mut(conn)
        {
            peer.observer.sent(bytes);
        }
        self.server.handle(self.now, input);
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.handle(input);
        self.perform();
    }

    /// Performs effects and reads the bytes that the server wants, until nothing is left to do.
    pub fn perform(&mut self) {
        loop {
            while let Some(effect) = self.server.poll_effect() {
                self.perform_one(effect);
            }
            if !self.read() {
                break;
            }
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Write { ticket, lane, write } => self.command(ticket, lane, Command::Write(write)),
            Effect::Read { ticket, read, .. } => self.command(ticket, READS, Command::Read(*read)),
            Effect::BackUp { ticket, wanted } => self.command(ticket, READS, Command::BackUp(wanted)),
            Effect::Cancel(ticket) => self.cancel(ticket),
            Effect::Work { job: Job::FindPlace { .. }, .. } if self.lookups_hang => {}
            Effect::Work { ticket, job: Job::Push(notification) } if self.pushes_hang => {
                self.pushes.push(*notification);
                self.pushes_held.push(ticket);
            }
            Effect::Work { ticket, job } => {
                let done = self.work(job);
                self.server.handle(self.now, Input::Finished { ticket, done });
            }
            Effect::Flush(conn) => self.flush(conn),
            Effect::ShutdownWrite(conn) => {
                if let Some(peer) = self.peers.get_mut(&conn) {
                    peer.shuts = true;
                }
                self.flush(conn);
            }
            Effect::Close(conn) => {
                if let Some(peer) = self.peers.get_mut(&conn) {
                    peer.closed = true;
                }
            }
            Effect::LaneReset(_) | Effect::UseCertificate(_) => {}
            Effect::Append { upload, bytes, last } if self.files.hold_appends => {
                self.files.held.push_back((upload, bytes, last));
            }
            Effect::Append { upload, bytes, last } => self.append(upload, &bytes, last),
            Effect::Abandon { upload } => self.files.abandon(upload),
        }
    }

    /// Does the work of worker threads: real hashes; mails are kept for the test, places are those that the test has set.
    fn work(&mut self, job: Job) -> Done {
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
            Job::FindPlace { address } => Done::Place(self.places.get(&address).cloned()),
            Job::HashPassword { .. } | Job::VerifyPassword(_) => self.hasher.run(job),
            job => self.files.run(job),
        }
    }

    /// The newest mail to this address.
    pub fn mail_to(&self, email: &str) -> &Letter {
        self.mails
            .iter()
            .rev()
            .find(|mail| mail.to.expose() == email)
            .unwrap_or_else(|| panic!("no mail to {email}"))
    }

    fn append(&mut self, upload: UploadId, bytes: &[u8], last: bool) {
        let input = match self.files.append(upload, bytes, last) {
            Ok(sha256) => Input::Appended { upload, bytes: bytes.len(), sha256 },
            Err(full) => Input::DiskFailed { upload, full },
        };
        self.server.handle(self.now, input);
    }

    /// The disk executes the appends that were held back.
    pub fn write_held_appends(&mut self) {
        for (upload, bytes, last) in std::mem::take(&mut self.files.held) {
            self.append(upload, &bytes, last);
            self.perform();
        }
    }

    fn flush(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.stalled {
            return;
        }
        let Some(queue) = self.server.send_queue(conn) else { return };
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
        if bytes.is_empty() {
            return;
        }
        if !matches!(self.watch, Watch::Nothing) {
            peer.observer.received(&bytes);
        }
        peer.received.extend_from_slice(&bytes);
        self.server.handle(self.now, Input::Sent { conn, bytes: bytes.len() as u64 });
    }

    /// A stalled peer reads again.
    pub fn unstall(&mut self, conn: ConnId) {
        self.peers.get_mut(&conn).expect("a peer").stalled = false;
        self.flush(conn);
        self.perform();
    }
}
