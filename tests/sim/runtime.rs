//! The simulated runtime: it performs the server's effects at times and with faults that the seed decides.
//!
//! The server, the store and the runtime in memory are the real ones. Sockets, clocks, disks and all their faults are
//! simulated here. Owns what is in progress. Does not check it.
//! Invariant: it keeps the promises of the real runtime, and bytes come in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use natter::base::crypto::HmacKey;
use natter::base::id::Id;
use natter::base::send_queue::SendQueue;
use natter::base::time::{Now, UnixMs};
use natter::in_memory::{Append, Environment, InMemory};
use natter::limits::Limits;
use natter::model::event::Fact;
use natter::model::id::{ConversationId, ProfileId, SessionId};
use natter::model::job::{Delivery, Done, Job};
use natter::model::operation::{Answer, Lane, Outcome, Read, Refusal, Write};
use natter::model::push::Pushed;
use natter::model::settings::Settings;
use natter::model::upload::FindOrphans;
use natter::server::Server;
use natter::server::contract::{ConnId, Effect, Input, ListenerKind, Ticket};
use natter::store::{Index, Reader, Sessions, Store, StoreOptions, adopt};
use natter::work::files::sweep;
use natter::work::password::{Cost, PasswordHasher, PasswordOptions};

use super::database::Database;
use super::disk::Disk;
use super::mirror::Mirror;
use super::network::{Link, Links};
use super::operator;
use super::random::Rng;
use super::reference::Model;
use super::retention_checker::Kept;
use super::sabotage::Sabotage;
use super::transcript::Transcript;
use crate::support::files::Files;
use crate::support::{START_MS, Seeded, settings};

/// How many of a thousand requests fail.
#[derive(Clone, Copy, Default)]
pub struct FaultRates {
    pub writes_busy: usize,
    pub reads_busy: usize,
    pub work_busy: usize,
}

pub struct Runtime {
    memory: InMemory,
    database: Database,
    /// Another store with the same writes.
    pub mirror: Mirror,
    reader: Reader,
    index: Index,
    /// Faults of the disks before this one, crashes that were power cuts, and refused batches that a killed process left.
    pub disk_failures: u64,
    pub power_cuts: u64,
    pub revived: u64,
    hasher: PasswordHasher,
    pub epoch: String,
    pub limits: Limits,
    /// How long messages and uploads are kept.
    pub kept: Kept,
    pub full: bool,
    pub fault_rates: FaultRates,
    pub links: Links,
    /// The generation of the next connection.
    generation: u32,
    dir: Dir,
    /// Results of reads on their way to the server.
    read: Vec<(Ticket, Result<Answer, Refusal>)>,
    /// The disk of the uploads. A crash leaves its files.
    files: Files,
    /// How many appends have failed.
    pub appends_failed: u64,
    uploads: Dir,
    /// The greatest seq that the server has received.
    pub published: u64,
    /// Sessions whose end the server has received.
    pub over: BTreeSet<SessionId>,
    /// The head of the log at that time: their streams must not receive later events.
    pub over_at: BTreeMap<SessionId, u64>,
    /// The head of the log, whether the server knows it or not.
    head: u64,
    /// Each profile that a read ever found to be allowed to see another type in a conversation.
    pub may_know: BTreeSet<(ConversationId, ProfileId, ProfileId)>,
    /// The number of faults in this life of the server: after one, refusals that ask for a retry are allowed.
    pub faults: u64,
    pub draining: bool,
    /// The end of a run: new links are fast.
    pub calm: bool,
    /// Whose notifications about which conversation were looked up.
    pub looked_up: Vec<(ProfileId, ConversationId)>,
    /// Everything that passed between the server and the rest of the run.
    pub transcript: Transcript,
}

fn settings_of(limits: &Limits, kept: Kept) -> Settings {
    Settings {
        places: true,
        messages_kept: kept.messages.map(Duration::from_millis),
        uploads_kept: kept.uploads.map(Duration::from_millis),
        ..settings(limits.clone())
    }
}

impl Runtime {
    pub fn new(
        rng: &mut Rng,
        limits: Limits,
        (full, forgetful): (bool, bool),
        kept: Kept,
        mirror: Mirror,
    ) -> Runtime {
        let dir = Dir::new();
        let uploads = Dir::new();
        let disk = forgetful.then(|| Disk::new(&dir.path));
        let now = Now { instant: Instant::now(), unix_ms: START_MS };
        let options = StoreOptions { synchronous_full: full, ..StoreOptions::new(dir.database()) };
        let (store, start) = Store::open(&options, &mut Seeded(rng.next()), now.unix_ms).expect("a store");
        let reader = Reader::open(&options).expect("a reader");
        let index = Index::open(&options).expect("an index");
        let sabotage = (!forgetful).then(|| Sabotage::new(&options.path));
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let hasher = PasswordHasher::new(PasswordOptions { secret: HmacKey::new(b"password"), cost });
        let epoch = start.epoch.clone();
        let server = Server::new(settings_of(&limits, kept), start, Box::new(Seeded(rng.next())), now);
        Runtime {
            memory: InMemory::new(server, now),
            database: Database {
                store: Some(store),
                sabotage,
                disk,
                refused_batch: None,
                began_unproven: false,
            },
            mirror,
            reader,
            index,
            disk_failures: 0,
            power_cuts: 0,
            revived: 0,
            hasher: hasher.unwrap_or_else(|_| panic!("a cheap hasher")),
            epoch,
            limits,
            kept,
            full,
            fault_rates: FaultRates::default(),
            links: Links::default(),
            generation: 0,
            dir,
            read: Vec::new(),
            files: Files::new(&uploads.path),
            appends_failed: 0,
            uploads,
            published: 0,
            over: BTreeSet::new(),
            over_at: BTreeMap::new(),
            head: 0,
            may_know: BTreeSet::new(),
            faults: 0,
            draining: false,
            calm: false,
            looked_up: Vec::new(),
            transcript: Transcript::new(),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        match &input {
            Input::Received { conn, bytes } => self.transcript.bytes("received", conn.0, bytes),
            // The name and the time of an open file are those of the machine.
            Input::Finished { ticket, done: Done::FileOpened(opened) } => {
                self.transcript.value("file", &(ticket, opened.len));
            }
            input => self.transcript.value("input", input),
        }
        self.memory.handle(input);
    }

    // ---- sockets ------------------------------------------------------------------------------------

    /// A new connection from the address of a device.
    pub fn connect(&mut self, rng: &mut Rng, address: u8) -> ConnId {
        let mut link = Link::new(rng, &self.epoch);
        link.draining = self.draining;
        link.began_unproven = self.database.began_unproven;
        if self.calm {
            link.hurry();
        }
        self.generation += 1;
        let conn = self.links.open(self.generation, link);
        if self.server.is_accepting() {
            // One that has a place.
            let peer = [9, 0, 0, address].into();
            self.input(Input::Accepted { conn, peer, listener_kind: ListenerKind::Public });
        } else {
            // The listener is closed or paused: no answer comes.
            self.links.close(rng, conn);
        }
        conn
    }

    /// The epoch of the server at the other end. It may have stopped while its last bytes are on their way.
    pub fn epoch_of(&self, conn: ConnId) -> String {
        self.links[&conn].epoch.clone()
    }

    pub fn link(&mut self, conn: ConnId) -> &mut Link {
        self.links.get_mut(&conn).expect("a link")
    }

    /// Links with input for the server: bytes that it reads, an end, a reset.
    pub fn readable(&self) -> Vec<ConnId> {
        self.links.readable(&self.memory.server)
    }

    /// The server reads once from a link.
    pub fn deliver_up(&mut self, rng: &mut Rng, conn: ConnId) {
        if let Some(arrived) = self.links.read(rng, &self.memory.server, conn) {
            self.input(arrived.input(conn));
        }
    }

    /// Links that the server has more bytes for, and that can take some again.
    pub fn writable(&self) -> Vec<ConnId> {
        self.links.writable()
    }

    /// The environment of the runtime in memory.
    fn split<'a>(
        &'a mut self,
        rng: &'a mut Rng,
        model: &'a mut Model,
    ) -> (&'a mut InMemory, SimulatedEnvironment<'a>) {
        let environment = SimulatedEnvironment {
            rng,
            model,
            links: &mut self.links,
            fault_rates: self.fault_rates,
            faults: &mut self.faults,
            over: &self.over,
            looked_up: &mut self.looked_up,
            transcript: &mut self.transcript,
        };
        (&mut self.memory, environment)
    }

    pub fn flush(&mut self, rng: &mut Rng, model: &mut Model, conn: ConnId) {
        let (memory, mut environment) = self.split(rng, model);
        memory.flush(&mut environment, conn);
    }

    /// Removes links that neither side has open.
    pub fn sweep(&mut self) {
        self.links.sweep();
    }

    // ---- effects ------------------------------------------------------------------------------------

    /// Performs effects until there are none, as the loop does once per turn.
    pub fn perform(&mut self, rng: &mut Rng, model: &mut Model) {
        let (memory, mut environment) = self.split(rng, model);
        memory.perform(&mut environment);
    }

    // ---- storage and work ---------------------------------------------------------------------------

    pub fn reads_done(&self) -> usize {
        self.read.len()
    }

    /// The next bytes of an upload reach its file, or the disk fails.
    pub fn append_one(&mut self, rng: &mut Rng) {
        let Some(append) = self.appends.pop_front() else { return };
        let (upload, bytes, last) = match append {
            Append::Abandon(upload) => return self.files.abandon(upload),
            Append::Bytes { upload, bytes, last } => (upload, bytes, last),
        };
        if !self.calm && rng.chance(20) {
            self.appends_failed += 1;
            return self.input(Input::DiskFailed { upload, full: rng.chance(500) });
        }
        let sha256 = self.files.append(upload, &bytes, last).expect("an append");
        self.input(Input::Appended { upload, bytes: bytes.len(), sha256 });
    }

    /// Whether nothing is in progress in storage or the workers.
    pub fn is_idle(&self) -> bool {
        let in_storage = self.asked.len() + self.writes() + self.committed.len() + self.read.len();
        in_storage + self.jobs.len() + self.appends.len() == 0
    }

    /// One iteration of the writer, with a batch of at most `count_max` writes and one of deferred ones. Updates the model.
    pub fn commit(&mut self, model: &mut Model, count_max: usize) {
        let (database, files, faults) = (&mut self.database, &self.files, &mut self.faults);
        let mirror = &mut self.mirror;
        self.memory.commit(count_max, |batch| {
            let committed = database.commit(model, mirror, files, batch);
            let is_fault = |outcome: &&Outcome| outcome.result.as_ref().is_err_and(|it| it.is_fault());
            *faults += committed.outcomes.iter().filter(is_fault).count() as u64;
            committed
        });
        self.head = model.head;
        self.maintain();
    }

    /// The maintenance of the store.
    fn maintain(&mut self) {
        let readiness = self.database.store().readiness();
        self.input(Input::Storage(readiness));
        let database = &mut self.database;
        let had_failed = database.has_failed();
        let done = database.store().maintain(self.memory.now.instant);
        assert!(done.is_ok() || had_failed || database.has_failed(), "the store's own work: {done:?}");
        let readiness = database.store().readiness();
        assert!(!database.is_suspect() || !readiness.is_ready(), "ready although the disk has dead blocks");
        // The other threads continue while the writer has a fault, except before the WAL is proven.
        if self.head.is_multiple_of(3) && !readiness.unproven {
            let step = self.index.step(self.memory.now.instant).expect("the search index");
            let swept = database.store().sweep_search(step.done);
            assert!(
                swept.is_ok() || database.is_sabotaged() || database.has_failed(),
                "the deletion of search changes: {swept:?}"
            );
        }
        let readiness = database.store().readiness();
        self.input(Input::Storage(readiness));
    }

    /// Whether the disk has dead blocks.
    pub fn is_suspect(&self) -> bool {
        self.database.is_suspect()
    }

    /// Faults of the disk in all lives.
    pub fn all_disk_failures(&self) -> u64 {
        self.disk_failures + self.database.disk.as_ref().map_or(0, Disk::failures)
    }

    /// The next outcome reaches the server.
    pub fn answer(&mut self) {
        let Some((ticket, outcome)) = self.committed.pop_front() else { return };
        for event in &outcome.events {
            self.published = self.published.max(event.seq);
            if let Fact::SessionEnded(ended) = &event.fact {
                self.over.insert(ended.session);
                self.over_at.insert(ended.session, self.head);
            }
        }
        self.input(Input::Answered { ticket, outcome });
    }

    /// A reader runs: it sees the database as it is now, whenever its answer arrives.
    pub fn run_reader(&mut self, model: &Model, index: usize) {
        let Some((ticket, read)) = self.take_read(index) else { return };
        let typing = match &*read {
            Read::FindListeners(find) => Some((find.viewer, find.conversation)),
            _ => None,
        };
        let checked = matches!(*read, Read::FindPush(_) | Read::ReadPosted(_) | Read::FetchMail(_));
        let asked = checked.then(|| read.clone());
        let result = self.reader.read(*read);
        if let Some(asked) = asked {
            match (&*asked, &result) {
                (Read::FetchMail(fetch), Ok(Answer::FetchMail(page))) => model.check_fetched(fetch, page),
                (Read::FetchMail(_), other) => panic!("mails: {other:?}"),
                _ => model.check_push_read(&asked, &result),
            }
        }
        if let Some((typist, conversation)) = typing {
            let found = match &result {
                Ok(Answer::FindListeners(found)) => Some(found.iter().copied().collect()),
                Err(Refusal::NotFound) => None,
                other => panic!("listeners: {other:?}"),
            };
            assert_eq!(found, model.listeners(typist, conversation), "the listeners of {typist}");
            let new = found.into_iter().flatten().map(|listener| (conversation, typist, listener));
            self.may_know.extend(new);
        }
        self.read.push((ticket, result));
    }

    pub fn answer_read(&mut self, index: usize) {
        let (ticket, result) = self.read.swap_remove(index);
        let outcome = Outcome::quiet(result);
        self.input(Input::Answered { ticket, outcome });
    }

    pub fn finish_job(&mut self, rng: &mut Rng, model: &mut Model, index: usize) {
        let (ticket, job) = self.jobs.remove(index).expect("a job");
        let done = match job {
            Job::SendMail(letter) => {
                let delivery = match rng.below(if self.calm { 1 } else { 20 }) {
                    0..15 => Delivery::Sent,
                    15..18 => Delivery::Failed,
                    18 => Delivery::Blocked,
                    _ => Delivery::Refused,
                };
                model.mail_answered(letter.id, delivery);
                Done::Mail(delivery)
            }
            Job::Push(notification) => {
                let pushed = match rng.below(if self.calm { 1 } else { 30 }) {
                    0..21 => Pushed::Accepted,
                    21 => Pushed::Gone,
                    22 => Pushed::Refused,
                    23..26 => Pushed::Later(None),
                    _ => Pushed::Later(Some(Duration::from_secs(1))),
                };
                model.pushed(&notification, pushed);
                Done::Pushed(pushed)
            }
            Job::FindPlace { .. } => {
                Done::Place(rng.chance(500).then(|| format!("Place {}", rng.below(100))))
            }
            job @ (Job::HashPassword { .. } | Job::VerifyPassword(_)) => self.hasher.run(job),
            job => self.files.run(job),
        };
        self.input(Input::Finished { ticket, done });
    }

    /// The search index catches up with what is stored.
    pub fn index(&mut self) {
        while self.index.step(self.now.instant).expect("an index").more {}
    }

    pub fn sabotage(&mut self, on: bool) {
        if let Some(sabotage) = &mut self.database.sabotage {
            sabotage.set(on);
        }
    }

    /// The next write or sync of a file fails, if there is one before the next fault.
    pub fn fail(&mut self, rng: &mut Rng) {
        if let Some(disk) = &self.database.disk {
            disk.fail_next(rng);
        }
    }

    /// The disk works again, and the store finds a way back.
    pub fn heal(&mut self) {
        let Some(disk) = &self.database.disk else { return };
        disk.disarm();
        for _ in 0..30 {
            self.maintain();
            if self.database.store().readiness().is_ready() {
                return;
            }
            self.pass(Duration::from_secs(1));
        }
        panic!("never ready again: {:?}", self.database.store().readiness());
    }

    // ---- time ---------------------------------------------------------------------------------------

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.later(time);
    }

    /// The clock is set. The monotonic clock does not change.
    pub fn set_clock(&mut self, by_ms: i64) {
        self.now.unix_ms = UnixMs(self.now.unix_ms.0.saturating_add_signed(by_ms));
    }

    pub fn tick(&mut self) {
        if self.server.next_deadline().is_some_and(|at| at <= self.now.instant) {
            self.input(Input::Tick);
        }
    }

    // ---- the end of a life --------------------------------------------------------------------------

    /// Copies the database between its batches, and opens the copy as a restored one. Returns whether there is one.
    pub fn back_up(&mut self, rng: &mut Rng, model: &mut Model) -> bool {
        while self.writes() > 0 {
            self.commit(model, 1_000);
        }
        let excused = self.database.is_sabotaged() || self.database.has_failed();
        let copied = match self.database.store().back_up(Id::from_u128(1), &mut |_| true) {
            Ok(copied) => copied,
            Err(refusal) => {
                assert!(excused, "no backup: {refusal:?}");
                return false;
            }
        };
        let dir = Dir::new();
        std::fs::rename(self.dir.path.join(copied.file), dir.database()).expect("the copy");
        if self.database.sabotage.is_some() {
            Sabotage::new(&dir.database()).remove();
        }
        let options = StoreOptions::new(dir.database());
        let sessions = if rng.chance(500) { Sessions::Kept } else { Sessions::Ended };
        adopt(&options, sessions, self.now.unix_ms)
            .unwrap_or_else(|fault| panic!("a backup is refused: {fault}"));
        let opened = Store::open(&options, &mut Seeded(rng.next()), self.now.unix_ms);
        let (store, start) = opened.unwrap_or_else(|fault| panic!("a backup does not open: {fault}"));
        let mut reader = Reader::open(&options).expect("a reader");
        assert_ne!(start.epoch, self.epoch, "an old cursor fits a restored backup");
        model.check_copy(&start, &mut reader);
        assert_eq!(store.close(), Ok(()), "the copy closes");
        true
    }

    /// `kill -9`: the files stay, everything else is lost, and every connection breaks. A committed batch without an answer
    /// stays; a batch that was not committed is lost. Or a power cut, which leaves only what is durable.
    pub fn crash(&mut self, rng: &mut Rng, model: &mut Model) {
        // Copies the files now, before the store closes them cleanly.
        let copy = match self.database.disk.take() {
            None => self.dir.copied(),
            Some(disk) => {
                let copy = Dir::new();
                let changes = disk.refused();
                let refused = self.database.refused_batch.take().filter(|(_, its)| changes == Some(*its));
                self.disk_failures += disk.failures();
                // A start that can't prove the WAL at once may still lose it, which the model does not cover.
                let is_cut = refused.is_some() && disk.is_database_suspect() || rng.chance(500);
                // An unanswered write exists until a power cut, or permanently once the start has proven it.
                let is_known = refused.is_none() || is_cut;
                if let Some((batch, _)) = refused.filter(|_| !is_cut) {
                    self.revived += 1;
                    self.learn_refused(rng, &disk, batch, model);
                }
                self.power_cuts += u64::from(is_cut);
                let next = disk.crashed(rng, is_cut, copy.path());
                if is_known {
                    next.may_fail_at_start(rng);
                }
                self.database.disk = Some(next);
                copy
            }
        };
        self.database.store = None;
        self.reopen(rng, copy, model);
        if self.full {
            return;
        }
        self.faults += 1;
    }

    /// A killed process leaves a batch in the WAL that it refused because its sync failed, and the next process finds it: an
    /// unacknowledged write may or may not survive. The model applies the batch as if it had been committed.
    fn learn_refused(
        &mut self,
        rng: &mut Rng,
        disk: &Disk,
        mut batch: Vec<(Lane, Write)>,
        model: &mut Model,
    ) {
        let dir = Dir::new();
        let without = disk.power_cut(&dir.path, || false);
        let options = StoreOptions::new(dir.database());
        let (mut store, _) =
            Store::open(&options, &mut Seeded(rng.next()), self.now.unix_ms).expect("a store");
        let commands = batch.clone();
        let committed = store.commit(&mut batch);
        assert_eq!(committed.fault, None, "on a sound disk");
        model.committed(&commands, &committed.outcomes, None, false);
        self.mirror.committed(&commands, &committed.outcomes);
        self.head = model.head;
        drop((store, without));
    }

    /// The second half of a shutdown: the writer finishes and closes; then a new process starts.
    pub fn restart(&mut self, rng: &mut Rng, model: &mut Model) {
        while self.writes() > 0 {
            self.commit(model, 1_000);
        }
        self.sabotage(false);
        self.heal();
        let store = self.database.store.take().expect("an open store");
        assert_eq!(store.close(), Ok(()), "the database closes");
        let epoch = self.epoch.clone();
        let dir = std::mem::replace(&mut self.dir, Dir { path: PathBuf::new() });
        self.reopen(rng, dir, model);
        assert_eq!(self.epoch, epoch, "a clean shutdown keeps the epoch");
    }

    fn reopen(&mut self, rng: &mut Rng, dir: Dir, model: &mut Model) {
        model.shows_nothing();
        model.mails_forgotten();
        let options = StoreOptions { synchronous_full: self.full, ..StoreOptions::new(dir.database()) };
        let opened = Store::open(&options, &mut Seeded(rng.next()), self.now.unix_ms);
        let (store, start) = opened.unwrap_or_else(|fault| panic!("the database does not open: {fault}"));
        self.reader = Reader::open(&options).expect("a reader");
        self.index = Index::open(&options).expect("an index");
        let disk = self.database.disk.take();
        let sabotage = disk.is_none().then(|| Sabotage::new(&options.path));
        let began_unproven = !start.readiness.is_ready();
        self.faults += u64::from(began_unproven);
        self.database = Database { store: Some(store), sabotage, disk, refused_batch: None, began_unproven };
        self.dir = dir;
        assert_eq!(start.head, model.head, "the head of the log after a restart");
        if self.full {
            assert_eq!(start.epoch, self.epoch, "the epoch after a restart under FULL");
        }
        for (session, until) in model.ended(self.now.unix_s()) {
            let known = start.ended.iter().any(|(id, _)| *id == session);
            self.over.insert(session);
            assert!(known, "an ended session is forgotten {until} s before its last token expires");
        }
        self.epoch = start.epoch.clone();
        let server =
            Server::new(settings_of(&self.limits, self.kept), start, Box::new(Seeded(rng.next())), self.now);
        self.memory = InMemory::new(server, self.now);
        self.links.close_all(rng);
        self.read.clear();
        self.files = Files::new(&self.uploads.path);
        let swept = sweep(&self.files.uploads, None, |files| {
            match self.reader.read(Read::FindOrphans(FindOrphans { files })) {
                Ok(Answer::FindOrphans(orphans)) => Ok(orphans),
                other => panic!("orphans: {other:?}"),
            }
        });
        swept.map_err(|error: std::io::Error| error).expect("a start without orphans");
        model.check_swept(&self.files);
        self.looked_up.clear();
        self.published = model.head;
        self.draining = false;
    }

    pub fn drain(&mut self) {
        self.draining = true;
        self.links.values_mut().for_each(|link| link.draining = true);
        self.input(Input::Drain);
    }

    /// Checks every page, index and reference of the database and its schema, at the end of a run.
    pub fn check_database(&self) {
        if let Some(sabotage) = &self.database.sabotage {
            sabotage.remove();
        }
        let options = StoreOptions { synchronous_full: self.full, ..StoreOptions::new(self.dir.database()) };
        natter::store::check(&options, natter::store::Access::Shared)
            .unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// The writes that no device asks for, at the end of a run.
    pub fn perform_others(&mut self) {
        for write in operator::writes(self.now.unix_ms) {
            let mut batch = vec![(Lane(0), write)];
            let commands = batch.clone();
            let committed = self.database.store().commit(&mut batch);
            for ((_, write), outcome) in commands.iter().zip(&committed.outcomes) {
                assert!(outcome.result.is_ok(), "{write:?}: {:?}", outcome.result);
            }
            self.mirror.committed(&commands, &committed.outcomes);
        }
    }

    /// The mirror has the same rows.
    pub fn compare_with_mirror(&mut self) {
        self.mirror.compare(&self.dir.database());
    }
}

impl Deref for Runtime {
    type Target = InMemory;

    fn deref(&self) -> &InMemory {
        &self.memory
    }
}

impl DerefMut for Runtime {
    fn deref_mut(&mut self) -> &mut InMemory {
        &mut self.memory
    }
}

/// What surrounds the runtime in memory: the links, and the faults of its queues.
struct SimulatedEnvironment<'a> {
    rng: &'a mut Rng,
    model: &'a mut Model,
    links: &'a mut Links,
    fault_rates: FaultRates,
    faults: &'a mut u64,
    over: &'a BTreeSet<SessionId>,
    looked_up: &'a mut Vec<(ProfileId, ConversationId)>,
    transcript: &'a mut Transcript,
}

impl Environment for SimulatedEnvironment<'_> {
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

    /// A running read may end before the interruption comes.
    fn cancels(&mut self) -> bool {
        self.rng.chance(700)
    }

    fn admits(&mut self, effect: &Effect) -> bool {
        let has_room = !self.rng.chance(match effect {
            Effect::Write { .. } => self.fault_rates.writes_busy,
            Effect::Read { .. } => self.fault_rates.reads_busy,
            Effect::Work { .. } => self.fault_rates.work_busy,
            _ => 0,
        });
        *self.faults += u64::from(!has_room);
        self.transcript.value("effect", &(has_room, effect));
        match effect {
            Effect::Read { read, .. } => {
                if let Read::FindPush(find) = &**read {
                    self.looked_up.push((find.profile, find.conversation));
                }
            }
            Effect::Work { job: Job::Push(notification), .. } => {
                self.model.check_push(notification, self.over);
            }
            Effect::Work { job: Job::SendMail(letter), .. } if has_room => self.model.mail_sending(letter),
            _ => {}
        }
        has_room
    }
}

/// A folder of a run, removed at its end; in memory if the system has such a file system: the disk's speed is not tested here.
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let shared_memory = PathBuf::from("/dev/shm");
        let parent = if shared_memory.is_dir() { shared_memory } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("natter-simulation-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Dir { path }
    }

    /// A copy of the database as it is now, as of a process that is killed.
    pub fn copied(&self) -> Dir {
        let copy = Dir::new();
        for name in ["natter.db", "natter.db-wal", "search.db", "search.db-wal"] {
            let from = self.path.join(name);
            if from.exists() {
                std::fs::copy(from, copy.path.join(name)).expect("a copy");
            }
        }
        copy
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("natter.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // A folder that can't be removed is not a failure.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
