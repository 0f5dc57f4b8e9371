//! One node: the process of a natter with its database, its replica and its server, and the links of its clients.
//!
//! Owns what is in progress in it, its clock, and its ends: a crash, a stop with a message. Does not choose when
//! something happens.
//! Invariant: it keeps the promises of the thread of a cluster's node and of its loop: the server begins after the
//! database has what it missed, and outcomes come in the order of the commits.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use natter::base::crypto::{Entropy, HmacKey};
use natter::base::id::Id;
use natter::base::seal::{Chain, SealKey};
use natter::base::send_queue::SendQueue;
use natter::base::time::{Now, UnixMs};
use natter::in_memory::{Environment, InMemory, StorageCommand};
use natter::limits::Limits;
use natter::model::entry::{Entry, EntryBody, LEVEL, Life, NodeName};
use natter::model::event::Fact;
use natter::model::id::SessionId;
use natter::model::job::{Delivery, Done, Job};
use natter::model::message::PostMessage;
use natter::model::metrics::LogProgress;
use natter::model::operation::{Lane, Outcome, Write};
use natter::model::push::Pushed;
use natter::model::readiness::Readiness;
use natter::model::settings::{ClusterSettings, Settings};
use natter::replica::{Applies, Broker, MemoryLog, Output, Replica};
use natter::server::Server;
use natter::server::contract::{ConnId, Effect, Input, ListenerKind, Ticket};
use natter::store::{Applied, AppliedEntry, Delivered, Fault, Index, Place, Reader, Store, StoreOptions};
use natter::work::password::{Cost, PasswordHasher, PasswordOptions};

use super::record::Record;
use crate::sim::disk::Disk;
use crate::sim::network::{Link, Links};
use crate::sim::random::Rng;
use crate::sim::runtime::Dir;
use crate::sim::transcript::Transcript;
use crate::support::files::Files;
use crate::support::{START_MS, Seeded, settings};

/// How long a start waits for the log. After that it serves what it has.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// Between two reports of how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long a process that stops waits for its clients, and then for its entries.
const DRAIN_MAX: Duration = Duration::from_secs(10);
const END_MAX: Duration = Duration::from_secs(2);

/// How many of a thousand iterations of the writer are followed by its own work.
const MAINTAINED: usize = 60;

/// A fault of a node that the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It performs a post twice.
    Twice,
    /// It does not perform a post of another node.
    Skipped,
    /// It does not hear what the others say.
    Deaf,
    /// It stops at once when it is told to stop.
    Abrupt,
    /// Its commits are not synced.
    Unsynced,
    /// Devices do not notice an event of an event stream.
    Missed,
}

/// What all nodes share: the log and the course of the run.
pub struct Shared {
    pub rng: Rng,
    pub broker: Broker,
    pub record: Record,
    pub transcript: Transcript,
    /// The time since the beginning of the run.
    pub time: Duration,
    /// The generation of the next connection: two nodes never give the same name.
    generation: u32,
    began: Instant,
    /// The end of a run: links are fast.
    pub calm: bool,
    /// How often each mail was sent.
    pub mails: BTreeMap<String, u64>,
    /// For which session each notification was.
    pub pushes: Vec<SessionId>,
    /// How long messages are kept.
    pub kept: Option<Duration>,
}

impl Shared {
    pub fn new(rng: Rng, broker: Broker) -> Shared {
        Shared {
            rng,
            broker,
            record: Record::default(),
            transcript: Transcript::new(),
            time: Duration::ZERO,
            generation: 0,
            began: Instant::now(),
            calm: false,
            mails: BTreeMap::new(),
            pushes: Vec::new(),
            kept: None,
        }
    }
}

/// What the writer and the readers have for the loop.
enum Told {
    Answered(Ticket, Outcome),
    Happened(Outcome),
    Storage(Readiness),
    Progressed(LogProgress),
}

/// What the loop has for the writer, in order.
enum Order {
    Write(Ticket),
    Reset(Lane),
}

struct Process {
    replica: Replica,
    log: MemoryLog,
    store: Store,
    reader: Reader,
    index: Index,
    /// `None` until the database has what it missed.
    memory: Option<InMemory>,
    orders: Vec<Order>,
    lanes: Vec<(Ticket, Lane)>,
    told: VecDeque<Told>,
    readiness: Readiness,
    serve_at: Instant,
    /// When the server is told how far it is.
    tell_at: Instant,
    /// The greatest seq that the server knows.
    published: u64,
    /// Sessions whose end the server knows, and the head of the log when it came to know it.
    over: BTreeMap<SessionId, u64>,
    /// It has been told to stop: when it does at the latest.
    drain_until: Option<Instant>,
    /// Its clients are gone: when it does not wait any longer for its entries.
    end_at: Option<Instant>,
}

pub struct Node {
    pub name: NodeName,
    /// Its number at the broker.
    pub number: usize,
    process: Option<Process>,
    /// The process is stopped and goes on later.
    pub is_paused: bool,
    /// Why it has stopped for ever.
    pub stopped: Option<String>,
    /// An entry of a process that was killed may still come.
    is_haunted: bool,
    /// It performs each entry with this fault.
    pub planted: Option<Planted>,
    /// The highest level that the next process knows.
    pub known: u32,
    dir: Dir,
    /// What is durable of it, in a run with power cuts or faults of disks.
    disk: Option<Disk>,
    /// Its process began with what is not proven to be on disk.
    began_unproven: bool,
    /// How far it was when it answered last: this is on its disk.
    answered: u64,
    /// The last entry of the transaction whose sync failed last.
    refused: u64,
    /// Faults of the disks before this one.
    disk_failures: u64,
    key: SealKey,
    skew_ms: i64,
    now: Now,
    pub links: Links,
    hasher: PasswordHasher,
    files: Files,
    uploads: Dir,
}

fn hasher() -> PasswordHasher {
    let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    let hasher = PasswordHasher::new(PasswordOptions { secret: HmacKey::new(b"password"), cost });
    hasher.unwrap_or_else(|_| panic!("a cheap hasher"))
}

impl Node {
    pub fn new(shared: &Shared, name: NodeName, number: usize, key: SealKey, skew_ms: i64) -> Node {
        let (dir, uploads) = (Dir::new(), Dir::new());
        let mut node = Node {
            name,
            number,
            process: None,
            is_paused: false,
            stopped: None,
            is_haunted: false,
            planted: None,
            known: LEVEL,
            dir,
            disk: None,
            began_unproven: false,
            answered: 0,
            refused: 0,
            disk_failures: 0,
            key,
            skew_ms,
            now: Now { instant: shared.began, unix_ms: START_MS },
            links: Links::default(),
            hasher: hasher(),
            files: Files::new(uploads.path()),
            uploads,
        };
        node.follow_time(shared);
        node
    }

    // ---- its life -----------------------------------------------------------------------------------

    pub fn runs(&self) -> bool {
        self.process.is_some() && !self.is_paused
    }

    pub fn is_down(&self) -> bool {
        self.process.is_none() && self.stopped.is_none()
    }

    pub fn serves(&self) -> bool {
        self.runs() && self.process.as_ref().is_some_and(|process| process.memory.is_some())
    }

    /// Clients that connect are accepted: also by the kernel of a process that is paused.
    pub fn accepts(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.memory.is_some() && process.drain_until.is_none())
    }

    pub fn database(&self) -> PathBuf {
        self.dir.database()
    }

    pub fn place(&self) -> Option<Place> {
        self.process.as_ref().and_then(|process| process.replica.place().cloned())
    }

    pub fn position(&self) -> u64 {
        self.place().map_or(0, |place| place.position)
    }

    pub fn published(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.published)
    }

    /// The head of the log when its server came to know of the end of this session.
    pub fn over_at(&self, session: SessionId) -> Option<u64> {
        self.process.as_ref().and_then(|process| process.over.get(&session).copied())
    }

    pub fn unready(&self) -> Option<&'static str> {
        self.process.as_ref().and_then(|process| process.replica.unready())
    }

    /// Nothing is in progress in it.
    pub fn is_idle(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let Some(memory) = &process.memory else { return false };
        let in_memory = memory.asked.len() + memory.jobs.len() + process.told.len();
        in_memory == 0 && process.replica.is_idle() && !process.replica.is_at_work()
    }

    /// Its clocks go on, whether it runs or not.
    pub fn follow_time(&mut self, shared: &Shared) {
        self.now.instant = shared.began + shared.time;
        let unix_ms = START_MS.0 + shared.time.as_millis() as u64;
        self.now.unix_ms = UnixMs(unix_ms.saturating_add_signed(self.skew_ms));
        if let Some(memory) = self.process.as_mut().and_then(|process| process.memory.as_mut()) {
            memory.now = self.now;
        }
    }

    /// The log answers what its clock shows.
    pub fn hear_time(&self, shared: &Shared) {
        if self.runs() {
            shared.broker.tell_time(self.number, self.now.instant);
        }
    }

    /// A process starts on its folder.
    pub fn start(&mut self, shared: &mut Shared) {
        assert!(self.is_down(), "one process at a time");
        self.follow_time(shared);
        let synchronous_full = self.planted != Some(Planted::Unsynced);
        let options =
            StoreOptions { in_cluster: true, synchronous_full, ..StoreOptions::new(self.dir.database()) };
        let opened = Store::open(&options, &mut Seeded(shared.rng.next()), self.now.unix_ms);
        let (store, _) = opened.unwrap_or_else(|fault| panic!("the database does not open: {fault}"));
        let place = store.place().expect("a place");
        let position = place.as_ref().map_or(0, |place| place.position);
        assert!(
            position >= self.answered,
            "node {} has lost what it answered at {}",
            self.name,
            self.answered
        );
        self.began_unproven = !store.readiness().is_ready();
        let entropy = Box::new(Seeded(shared.rng.next()));
        let replica = Replica::new(self.name.clone(), self.key.clone(), place, entropy, self.now.unix_ms);
        let mut replica = replica.knowing(self.known);
        let mut log = shared.broker.rejoin(self.number);
        replica.begin(&mut log);
        self.process = Some(Process {
            replica,
            log,
            reader: Reader::open(&options).expect("a reader"),
            index: Index::open(&options).expect("an index"),
            readiness: store.readiness(),
            store,
            memory: None,
            orders: Vec::new(),
            lanes: Vec::new(),
            told: VecDeque::new(),
            serve_at: self.now.instant + CATCH_UP_MAX,
            tell_at: self.now.instant,
            published: 0,
            over: BTreeMap::new(),
            drain_until: None,
            end_at: None,
        });
    }

    /// From now on its disk may fail, and loses at a power cut what was not synced.
    pub fn forgets(&mut self) {
        self.disk = Some(Disk::new(self.dir.path()));
    }

    /// `kill -9`: what was committed stays. Or a power cut, after which what was synced stays. Returns whether it was
    /// one.
    pub fn crash(&mut self, shared: &mut Shared, loses_power: bool, disk_fails: bool) -> bool {
        let Some(disk) = self.disk.take() else {
            self.dir = self.copy();
            self.end(shared);
            return false;
        };
        // A killed process leaves a transaction that was refused. What no node has performed cannot be compared.
        let is_unknown = disk.refused().is_some() && self.refused > shared.record.position();
        let (copy, is_cut) = (Dir::new(), loses_power && shared.rng.chance(600) || is_unknown);
        let next = disk.crashed(&mut shared.rng, is_cut, copy.path());
        if disk_fails {
            next.may_fail_at_start(&mut shared.rng);
        }
        self.disk_failures += disk.failures();
        self.disk = Some(next);
        self.dir = copy;
        self.end(shared);
        is_cut
    }

    /// The next write or sync of one of its files fails.
    pub fn fail(&mut self, rng: &mut Rng) {
        self.disk.iter().for_each(|disk| disk.fail_next(rng));
    }

    /// Its disk works again.
    pub fn repair(&mut self) {
        self.disk.iter().for_each(Disk::disarm);
    }

    /// Faults of its disks so far.
    pub fn disk_failures(&self) -> u64 {
        self.disk_failures + self.disk.as_ref().map_or(0, Disk::failures)
    }

    /// The process is told to stop: it lets its clients go first.
    pub fn drain(&mut self, shared: &mut Shared) {
        if !self.serves() {
            return;
        }
        if self.planted == Some(Planted::Abrupt) {
            return self.end(shared);
        }
        let Some(process) = &mut self.process else { return };
        process.drain_until = Some(self.now.instant + DRAIN_MAX);
        self.links.values_mut().for_each(|link| link.draining = true);
        self.input(shared, Input::Drain);
    }

    /// A process that was told to stop ends when its clients are gone, and its entries are applied.
    pub fn end_if_drained(&mut self, shared: &mut Shared) {
        let now = self.now.instant;
        let Some(process) = self.process.as_mut().filter(|_| !self.is_paused) else { return };
        let Some(until) = process.drain_until else { return };
        let is_drained = process.memory.as_ref().is_none_or(|memory| memory.server.is_drained());
        if (is_drained || until <= now) && process.end_at.is_none() {
            // Nobody is answered any more.
            process.submit(now);
            process.memory = None;
            process.end_at = Some(now + END_MAX);
            self.links.close_all(&mut shared.rng);
        }
        let Some(process) = self.process.as_mut() else { return };
        if process.end_at.is_some_and(|at| process.replica.is_idle() || at <= now) {
            let Some(process) = self.process.take() else { return };
            let closed = process.store.close();
            assert!(closed.is_ok() || self.has_failed(), "the database is not closed: {closed:?}");
            self.end(shared);
        }
    }

    pub fn is_draining(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.drain_until.is_some())
    }

    /// Its disk has failed in this life, or before it.
    fn has_failed(&self) -> bool {
        self.began_unproven || self.disk.as_ref().is_some_and(|disk| disk.failures() > 0)
    }

    /// A copy of its files as they are now, as of a process that is killed.
    pub fn copy(&self) -> Dir {
        self.dir.copied()
    }

    /// Another process will start on these files.
    pub fn take_over(&mut self, dir: Dir) {
        self.dir = dir;
    }

    /// Its supervisor starts it again if its predecessor was taken for another process: the Hello of one that was killed came after
    /// its own, and both began in the same millisecond of the log.
    pub fn outlives_its_predecessor(&mut self) {
        let is_taken_for_another = |message: &String| message.contains("a later life has begun");
        if self.is_haunted && self.stopped.as_ref().is_some_and(is_taken_for_another) {
            (self.stopped, self.is_haunted) = (None, false);
        }
    }

    fn end(&mut self, shared: &mut Shared) {
        self.is_haunted |= shared.broker.sent(self.number) > 0;
        self.process = None;
        self.is_paused = false;
        self.links.close_all(&mut shared.rng);
        self.files = Files::new(self.uploads.path());
    }

    /// The database has what it missed, or the log is not reached in time.
    fn serve(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        let start = process.store.start_values(self.now.unix_ms).expect("what a start finds");
        if start.epoch.is_empty() {
            return;
        }
        process.published = start.head;
        process.over = start.ended.iter().map(|(session, _)| (*session, shared.record.head)).collect();
        let limits = Limits { rate_limit: false, access_ttl: 86_400, ..Limits::default() };
        let cluster = Some(ClusterSettings::new(self.name.clone()));
        let settings = Settings { cluster, messages_kept: shared.kept, ..settings(limits) };
        let server = Server::new(settings, start, Box::new(Seeded(shared.rng.next())), self.now);
        process.memory = Some(InMemory::new(server, self.now));
    }

    // ---- the writer ---------------------------------------------------------------------------------

    /// One iteration of the writer.
    pub fn turn(&mut self, shared: &mut Shared) {
        if !self.runs() {
            return;
        }
        let Some(process) = &mut self.process else { return };
        process.submit(self.now.instant);
        let mut watched = Watched {
            store: &mut process.store,
            record: &mut shared.record,
            node: &self.name,
            planted: &mut self.planted,
            disk: self.disk.as_ref(),
            refused: &mut self.refused,
            began_unproven: self.began_unproven,
        };
        process.replica.turn(self.now.instant, &mut process.log, &mut watched);
        let mut fatal = None;
        for output in process.replica.take_outputs() {
            match output {
                Output::Committed(tickets, outcomes) => {
                    // Also a refusal comes after what was answered before it.
                    self.answered = process.replica.place().map_or(0, |place| place.position);
                    for (ticket, outcome) in tickets.into_iter().zip(outcomes) {
                        let at = process.lanes.iter().position(|(its, _)| *its == ticket);
                        let (_, lane) = process.lanes.remove(at.expect("what was asked for"));
                        shared.record.caused(lane, &outcome.events);
                        process.told.push_back(Told::Answered(ticket, outcome));
                    }
                }
                Output::Happened(outcomes) => process.told.extend(outcomes.into_iter().map(Told::Happened)),
                Output::Fatal(message) => fatal = Some(message),
            }
        }
        if let Some(message) = fatal {
            shared.transcript.value("stopped", &(&self.name, &message));
            self.end(shared);
            self.stopped = Some(message);
            return;
        }
        if shared.rng.chance(MAINTAINED) || !process.store.readiness().is_ready() {
            self.maintain();
        }
        let is_suspect = self.disk.as_ref().is_some_and(Disk::is_suspect);
        let Some(process) = &mut self.process else { return };
        let is_ready = process.store.readiness().is_ready();
        assert!(!is_suspect || !is_ready, "node {} is ready although its disk has dead blocks", self.name);
        if process.memory.is_none() {
            process.told.clear();
            if process.drain_until.is_some() {
                return;
            }
            if process.replica.has_caught_up() || self.now.instant >= process.serve_at {
                self.serve(shared);
            }
            return;
        }
        let mut readiness = process.store.readiness();
        readiness.unready = readiness.unready.or(process.replica.unready());
        if readiness != process.readiness {
            process.readiness = readiness;
            process.told.push_back(Told::Storage(readiness));
        }
        if self.now.instant >= process.tell_at {
            process.tell_at = self.now.instant + TELL_EVERY;
            process.told.push_back(Told::Progressed(process.replica.progress(self.now)));
        }
    }

    /// The writer's own work, and that of the search index.
    fn maintain(&mut self) {
        let Some(process) = &mut self.process else { return };
        let done = process.store.maintain(self.now.instant);
        let mut swept = Ok(false);
        if !process.store.readiness().unproven {
            let step = process.index.step(self.now.instant).expect("the search index");
            swept = process.store.sweep_search(step.done);
        }
        let is_sound = !self.has_failed();
        assert!(done.is_ok() || !is_sound, "the store's own work: {done:?}");
        assert!(swept.is_ok() || !is_sound, "the deletion of search changes: {swept:?}");
    }

    /// How far it is, as it tells the others.
    pub fn chain(&self) -> Option<(u64, Chain)> {
        self.place().map(|place| (place.position, place.chain))
    }

    /// Another node has said how far it is.
    pub fn compare(&mut self, (position, chain): (u64, Chain)) {
        if let Some(process) = self.process.as_mut().filter(|_| !self.is_paused) {
            process.replica.compare(position, chain);
        }
    }

    // ---- the loop -----------------------------------------------------------------------------------

    fn input(&mut self, shared: &mut Shared, input: Input<'_>) {
        let Some(memory) = self.process.as_mut().and_then(|process| process.memory.as_mut()) else { return };
        match &input {
            Input::Received { conn, bytes } => shared.transcript.bytes("received", conn.0, bytes),
            input => shared.transcript.value("input", &(&self.name, input)),
        }
        memory.handle(input);
    }

    pub fn told(&self) -> usize {
        self.process.as_ref().map_or(0, |process| process.told.len())
    }

    /// The next outcome reaches the server.
    pub fn tell(&mut self, shared: &mut Shared) {
        if !self.serves() {
            return;
        }
        let Some(process) = &mut self.process else { return };
        let Some(told) = process.told.pop_front() else { return };
        if let Told::Answered(_, outcome) | Told::Happened(outcome) = &told {
            for event in &outcome.events {
                process.published = process.published.max(event.seq);
                if let Fact::SessionEnded(ended) = &event.fact {
                    process.over.insert(ended.session, shared.record.head);
                }
            }
        }
        self.input(
            shared,
            match told {
                Told::Answered(ticket, outcome) => Input::Answered { ticket, outcome },
                Told::Happened(outcome) => Input::Happened(outcome),
                Told::Storage(readiness) => Input::Storage(readiness),
                Told::Progressed(progress) => Input::Progressed(Box::new(progress)),
            },
        );
    }

    pub fn tick(&mut self, shared: &mut Shared) {
        if !self.serves() {
            return;
        }
        let deadline =
            self.process.as_ref().and_then(|process| process.memory.as_ref()?.server.next_deadline());
        if deadline.is_some_and(|at| at <= self.now.instant) {
            self.input(shared, Input::Tick);
        }
    }

    /// Performs the effects of the server.
    pub fn perform(&mut self, shared: &mut Shared) {
        if !self.serves() {
            return;
        }
        let Some(Process { memory: Some(memory), orders, .. }) = &mut self.process else { return };
        let mut wires = Wires {
            node: &self.name,
            rng: &mut shared.rng,
            transcript: &mut shared.transcript,
            links: &mut self.links,
            orders,
        };
        memory.perform(&mut wires);
    }

    /// How many reads and jobs wait.
    pub fn work_left(&self) -> usize {
        let memory = self.process.as_ref().and_then(|process| process.memory.as_ref());
        memory.filter(|_| !self.is_paused).map_or(0, |memory| memory.reads() + memory.jobs.len())
    }

    /// A reader or a worker does one thing.
    pub fn work(&mut self, shared: &mut Shared) {
        if self.work_left() == 0 {
            return;
        }
        let Some(Process { memory: Some(memory), reader, .. }) = &mut self.process else { return };
        let count = memory.reads();
        if count > 0 && (memory.jobs.is_empty() || shared.rng.chance(700)) {
            let Some((ticket, read)) = memory.take_read(shared.rng.below(count)) else { return };
            let outcome = Outcome::quiet(reader.read(*read));
            return self.input(shared, Input::Answered { ticket, outcome });
        }
        let Some((ticket, job)) = memory.jobs.pop_front() else { return };
        let done = match job {
            Job::Push(notification) => {
                shared.pushes.push(Id::from_u128(u128::from_be_bytes(notification.recipient.auth)));
                Done::Pushed(Pushed::Accepted)
            }
            Job::SendMail(letter) => {
                *shared.mails.entry(format!("{:?}", letter.id)).or_default() += 1;
                Done::Mail(Delivery::Sent)
            }
            Job::FindPlace { .. } => Done::Place(None),
            job @ (Job::HashPassword { .. } | Job::VerifyPassword(_)) => self.hasher.run(job),
            job => self.files.run(job),
        };
        self.input(shared, Input::Finished { ticket, done });
    }

    /// What the server has said to the others, oldest first.
    pub fn take_whisper(&mut self) -> Option<Vec<u8>> {
        self.process.as_mut()?.memory.as_mut()?.whispers.pop_front()
    }

    pub fn hear(&mut self, shared: &mut Shared, node: NodeName, bytes: Vec<u8>) {
        if self.serves() && self.planted != Some(Planted::Deaf) {
            self.input(shared, Input::Whispered { node, bytes });
        }
    }

    // ---- links --------------------------------------------------------------------------------------

    pub fn connect(&mut self, shared: &mut Shared, address: u8) -> ConnId {
        let mut link = Link::new(&mut shared.rng, "");
        if shared.calm {
            link.hurry();
        }
        shared.generation += 1;
        let conn = self.links.open(shared.generation, link);
        let peer = [9, 0, 0, address].into();
        self.input(shared, Input::Accepted { conn, peer, listener_kind: ListenerKind::Public });
        conn
    }

    /// Links with something for the server.
    pub fn readable(&self) -> Vec<ConnId> {
        let memory = self.process.as_ref().and_then(|process| process.memory.as_ref());
        let Some(memory) = memory.filter(|_| !self.is_paused) else { return Vec::new() };
        self.links.readable(&memory.server)
    }

    /// The server reads once from a link.
    pub fn read(&mut self, shared: &mut Shared, conn: ConnId) {
        let memory = self.process.as_ref().and_then(|process| process.memory.as_ref());
        let Some(memory) = memory else { return };
        if let Some(arrived) = self.links.read(&mut shared.rng, &memory.server, conn) {
            self.input(shared, arrived.input(conn));
        }
    }

    /// The server goes on to write to a link that was full.
    pub fn write(&mut self, shared: &mut Shared) {
        if !self.serves() {
            return;
        }
        let blocked = self.links.writable();
        let Some(Process { memory: Some(memory), orders, .. }) = &mut self.process else { return };
        let mut wires = Wires {
            node: &self.name,
            rng: &mut shared.rng,
            transcript: &mut shared.transcript,
            links: &mut self.links,
            orders,
        };
        blocked.into_iter().for_each(|conn| memory.flush(&mut wires, conn));
    }

    /// Removes links that neither side has open.
    pub fn sweep(&mut self) {
        self.links.sweep();
    }
}

impl Process {
    /// Gives the writer what the loop has for it.
    fn submit(&mut self, now: Instant) {
        let Some(memory) = &mut self.memory else { return };
        for order in self.orders.drain(..) {
            match order {
                Order::Reset(lane) => self.replica.reset_lane(lane),
                Order::Write(ticket) => {
                    let at = memory.asked.iter().position(|asked| asked.ticket() == ticket);
                    // A lane that is closed was refused before the queue.
                    match at.and_then(|at| memory.asked.remove(at)) {
                        Some(StorageCommand::Write(ticket, lane, write)) => {
                            self.lanes.push((ticket, lane));
                            self.replica.submit(now, ticket, lane, write);
                        }
                        other => assert!(other.is_none(), "a write has a ticket of its own: {other:?}"),
                    }
                }
            }
        }
    }
}

/// The links of a node, and what its loop has for the writer.
struct Wires<'a> {
    node: &'a NodeName,
    rng: &'a mut Rng,
    transcript: &'a mut Transcript,
    links: &'a mut Links,
    orders: &'a mut Vec<Order>,
}

impl Environment for Wires<'_> {
    fn flush(&mut self, conn: ConnId, queue: &mut SendQueue) -> u64 {
        let bytes = self.links.flush(self.rng, conn, queue);
        self.transcript.bytes("sent", conn.0, &bytes);
        bytes.len() as u64
    }

    fn shut_after_flush(&mut self, conn: ConnId) {
        self.links.shut_after_flush(conn);
    }

    fn close(&mut self, conn: ConnId) {
        self.links.close(self.rng, conn);
    }

    fn admits(&mut self, effect: &Effect) -> bool {
        self.transcript.value("effect", &(self.node, effect));
        match effect {
            Effect::Write { ticket, .. } => self.orders.push(Order::Write(*ticket)),
            Effect::LaneReset(lane) => self.orders.push(Order::Reset(*lane)),
            _ => {}
        }
        true
    }
}

/// A store whose entries are recorded.
struct Watched<'a> {
    store: &'a mut Store,
    record: &'a mut Record,
    node: &'a NodeName,
    planted: &'a mut Option<Planted>,
    disk: Option<&'a Disk>,
    refused: &'a mut u64,
    began_unproven: bool,
}

impl Applies for Watched<'_> {
    fn enter(&mut self, log: &str) -> Result<bool, Fault> {
        self.store.enter(log)
    }

    fn next_life(&self, node: &NodeName, entropy: &mut dyn Entropy, now: UnixMs) -> Result<Life, Fault> {
        self.store.next_life(node, entropy, now)
    }

    fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault> {
        self.store.raisable(node)
    }

    fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault> {
        self.store.raises(entry)
    }

    fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
        let before = delivered.clone();
        if let Some(planted) = *self.planted
            && delivered.iter_mut().any(|each| plant(planted, self.node, each))
        {
            *self.planted = None;
        }
        let was_suspect = self.disk.is_some_and(Disk::is_suspect);
        let mut applied = self.store.apply(delivered);
        if applied.fault == Some(Fault::Sync) {
            *self.refused = before.last().map_or(0, |last| last.position);
        }
        let (fault, failures) = (applied.fault, self.disk.map_or(0, Disk::failures));
        assert!(fault.is_none() || failures > 0 || self.began_unproven, "an entry is not applied: {fault:?}");
        assert!(fault.is_some() || !was_suspect, "node {} goes on on dead blocks", self.node);
        for (each, applied) in before.iter().zip(&mut applied.entries) {
            if let (AppliedEntry::Performed(outcomes), EntryBody::Writes(writes)) =
                (&mut *applied, &each.entry.body)
            {
                outcomes.truncate(writes.len());
            }
            self.record.applied(self.node.as_str(), each, applied);
        }
        applied
    }
}

/// Changes an entry as a faulty node would. Returns whether it did.
fn plant(planted: Planted, node: &NodeName, delivered: &mut Delivered) -> bool {
    let EntryBody::Writes(writes) = &mut delivered.entry.body else { return false };
    if delivered.entry.node == *node {
        return false;
    }
    let Some(at) = writes.iter().position(|write| matches!(write, Write::PostMessage(_))) else {
        return false;
    };
    match planted {
        Planted::Deaf | Planted::Abrupt | Planted::Unsynced | Planted::Missed => return false,
        Planted::Skipped => drop(writes.remove(at)),
        Planted::Twice => {
            let Write::PostMessage(post) = &writes[at] else { return false };
            let mut again: PostMessage = post.clone();
            again.draft_mut().client_id = Id::from_u128(1);
            writes.push(Write::PostMessage(again));
        }
    }
    true
}
