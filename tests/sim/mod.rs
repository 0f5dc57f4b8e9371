//! One run of the simulation: people with devices, a runtime, and a seed that decides what happens next.
//!
//! Owns the order of the steps and the end of a run, at which nothing is in progress and every device knows everything.
//! Invariant: a run is a function of its seed. Nothing here reads a clock or the system's randomness.

pub mod answer_checker;
pub mod backup_checker;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod codec;
pub mod connecting;
pub mod database;
pub mod deletion_checker;
pub mod device;
pub mod disk;
#[cfg(feature = "cluster")]
pub mod entries;
pub mod event_checker;
pub mod export_checker;
pub mod history;
pub mod http_checker;
pub mod invite_checker;
pub mod mail_checker;
pub mod mirror;
pub mod network;
pub mod operator;
pub mod push_checker;
pub mod random;
pub mod reference;
pub mod retention_checker;
pub mod runtime;
pub mod sabotage;
pub mod transcript;
pub mod upload_checker;
pub mod workload;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use natter::limits::Limits;
use natter::model::id::{ConversationId, InviteId, ProfileId};
use natter::server::contract::ConnId;

use device::{Carried, Device, Form, Person, Point, Start};
use mirror::{Mirror, Planted};
use random::Rng;
use reference::Model;
use retention_checker::Kept;
use runtime::{FaultRates, Runtime};

/// How many files each device asks for at the end of a run.
const FILES_ASKED: usize = 4;

/// What may happen in a run, drawn from its seed before it begins.
pub struct Plan {
    pub steps: usize,
    /// All devices are signed in before it begins, so that the steps are spent on messages.
    pub warm: bool,
    pub sabotage: bool,
    /// How many of a thousand bodies are long.
    pub long_bodies: usize,
    /// How many of a thousand streams are legacy sockets.
    pub legacy_sockets: usize,
    /// How many of a thousand streams of the log or of values are plain HTTP.
    pub http_streams: usize,
    /// Groups are created, joined and left.
    pub groups: bool,
    /// Most devices have notifications pushed.
    pub pushes: bool,
    /// Files are uploaded and deleted.
    pub uploads: bool,
    /// Accounts are deleted.
    pub deletions: bool,
    /// Groups keep their messages for a day.
    pub days: bool,
    /// People block each other.
    pub blocks: bool,
    pub crashes: bool,
    pub clock_jumps: bool,
    /// The disk fails and forgets, and a crash may be a power cut.
    pub forgetful: bool,
}

/// Counts of what happened, which show whether a run is worth its time.
#[derive(Debug, Default)]
pub struct Stats {
    pub seeds: u64,
    pub steps: u64,
    pub posts: u64,
    pub repeats: u64,
    pub responses: u64,
    pub refusals: u64,
    pub events: u64,
    pub lines: u64,
    pub streams: u64,
    pub event_streams: u64,
    pub values: u64,
    pub polls: u64,
    pub typings: u64,
    pub found: u64,
    pub exports: u64,
    pub pushes: u64,
    pub mails: u64,
    pub uploads: u64,
    pub downloads: u64,
    pub deletions: u64,
    /// Messages that were erased as they were too old.
    pub retained: u64,
    /// Who is in a group by an invite.
    pub invited: u64,
    pub backups: u64,
    pub resets: u64,
    pub crashes: u64,
    pub drains: u64,
    pub disk_failures: u64,
    pub power_cuts: u64,
    pub revived: u64,
    pub closes: BTreeMap<u16, u64>,
    /// How often the mirror has performed each write, and its restarts.
    pub mirrored: BTreeMap<&'static str, u64>,
    pub mirror_restarts: u64,
    /// The digest of the run's transcript; of several runs, of all of them.
    pub transcript: u64,
}

impl Stats {
    pub fn add(&mut self, other: Stats) {
        let Stats {
            seeds, steps, posts, repeats, responses, refusals, events, lines, streams, resets, ..
        } = other;
        self.seeds += seeds;
        self.steps += steps;
        self.posts += posts;
        self.repeats += repeats;
        self.responses += responses;
        self.refusals += refusals;
        self.events += events;
        self.lines += lines;
        self.streams += streams;
        self.event_streams += other.event_streams;
        self.values += other.values;
        self.polls += other.polls;
        self.typings += other.typings;
        self.found += other.found;
        self.exports += other.exports;
        self.pushes += other.pushes;
        self.mails += other.mails;
        self.uploads += other.uploads;
        self.downloads += other.downloads;
        self.deletions += other.deletions;
        self.retained += other.retained;
        self.invited += other.invited;
        self.backups += other.backups;
        self.resets += resets;
        self.crashes += other.crashes;
        self.drains += other.drains;
        self.disk_failures += other.disk_failures;
        self.power_cuts += other.power_cuts;
        self.revived += other.revived;
        // In any order: runs of several seeds are played side by side.
        self.transcript ^= other.transcript;
        for (code, count) in other.closes {
            *self.closes.entry(code).or_default() += count;
        }
        for (name, count) in other.mirrored {
            *self.mirrored.entry(name).or_default() += count;
        }
        self.mirror_restarts += other.mirror_restarts;
    }
}

pub struct Run {
    pub rng: Rng,
    pub plan: Plan,
    pub runtime: Runtime,
    pub model: Model,
    pub people: Vec<Person>,
    pub devices: Vec<Device>,
    /// The device that holds the client's end of a link.
    pub owners: BTreeMap<ConnId, usize>,
    pub bodies: u64,
    /// The id and the code of invites that were made.
    pub invites: Vec<(InviteId, String)>,
    /// An expiry may have passed and come back.
    pub clock_was_set: bool,
    pub stats: Stats,
    /// `SIM_TRACE=1` prints all steps of a seed.
    tracing: bool,
}

/// Plays one seed. `step` holds the current step, for the report of a failure.
pub fn play(seed: u64, step: &Cell<usize>) -> Stats {
    play_with(seed, step, None)
}

/// As [`play`], with a fault of the mirror that has to be found.
pub fn play_with(seed: u64, step: &Cell<usize>, planted: Option<Planted>) -> Stats {
    let mut run = Run::new(seed);
    if let Some(planted) = planted {
        run.runtime.mirror.plant(planted);
    }
    if run.plan.warm {
        run.warm_up();
    }
    for number in 0..run.plan.steps {
        step.set(number);
        run.step();
    }
    run.stats.steps = run.plan.steps as u64;
    run.finish(step);
    let runtime = &run.runtime;
    (run.stats.disk_failures, run.stats.power_cuts) = (runtime.all_disk_failures(), runtime.power_cuts);
    run.stats.revived = runtime.revived;
    run.stats.pushes = run.model.pushes.accepted;
    run.stats.deletions = run.model.deletions();
    run.stats.retained = run.model.retained_away();
    run.stats.invited = run.model.invites.taken;
    run.stats.mails = run.model.mail_counts().1 as u64;
    run.stats.transcript = runtime.transcript.digest();
    run.stats.mirrored.clone_from(&runtime.mirror.performed);
    run.stats.mirror_restarts = runtime.mirror.restarts;
    run.stats
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng::new(seed);
        let mut plan = Plan {
            steps: rng.between(150, 560),
            warm: rng.chance(800),
            sabotage: rng.chance(400),
            long_bodies: [0, 0, 20, 300][rng.below(4)],
            legacy_sockets: [0, 150, 500][rng.below(3)],
            http_streams: [0, 250, 700][rng.below(3)],
            groups: rng.chance(700),
            blocks: rng.chance(300),
            pushes: rng.chance(500),
            uploads: rng.chance(500),
            deletions: rng.chance(300),
            days: rng.chance(100),
            crashes: rng.chance(600),
            clock_jumps: rng.chance(300),
            forgetful: false,
        };
        let mut limits = Limits { rate_limit: rng.chance(150), ..Limits::default() };
        limits.access_ttl = [60, 300, 900][rng.below(3)];
        limits.send_queue_max = [16_384, 131_072, 1_048_576][rng.below(3)];
        let full = rng.chance(800);
        // Only under FULL anything is promised, and one kind of fault is enough for a run.
        plan.forgetful = full && rng.chance(400);
        plan.sabotage &= !plan.forgetful;
        // Drawn from the seed, not from the run: a run is the same without it.
        let mirror = Mirror::new(Rng::new(!seed));
        // Some minutes stand for days: a sweep comes a minute after a start, then each hour.
        let kept = Kept {
            messages: [None, None, Some(60_000), Some(600_000)][rng.below(4)],
            uploads: [None, None, Some(60_000), Some(300_000)][rng.below(4)],
        };
        let mut runtime = Runtime::new(&mut rng, limits, (full, plan.forgetful), kept, mirror);
        if rng.chance(400) {
            runtime.fault_rates = FaultRates {
                writes_busy: rng.between(0, 30),
                reads_busy: rng.between(0, 30),
                work_busy: rng.between(0, 100),
            };
        }
        let count = rng.between(2, 4);
        let people: Vec<Person> = (0..count)
            .map(|i| Person {
                name: format!("Person {i}"),
                email: format!("person{i}@example.org"),
                password: format!("correct horse {i} battery"),
                profile: None,
                signed_up: false,
            })
            .collect();
        let mut devices = Vec::new();
        for person in 0..count {
            for number in 0..rng.between(1, 3) {
                let unique_id = rng.chance(400).then(|| format!("device-{person}-{number}"));
                devices.push(Device::new(person, devices.len() as u8 + 1, unique_id));
            }
        }
        Run {
            rng,
            plan,
            runtime,
            model: Model::default(),
            people,
            devices,
            owners: BTreeMap::new(),
            bodies: 0,
            invites: Vec::new(),
            clock_was_set: false,
            stats: Stats { seeds: 1, ..Stats::default() },
            tracing: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{}", what());
        }
    }

    pub fn profile(&self, d: usize) -> Option<ProfileId> {
        self.people[self.devices[d].person].profile
    }

    /// Whether the account of this device's person was deleted.
    pub fn is_gone(&self, d: usize) -> bool {
        self.profile(d).is_some_and(|profile| self.model.is_gone(profile))
    }

    fn warm_up(&mut self) {
        // A second device of a person learns from `email_taken` that it has to sign in.
        for _ in 0..3 {
            for d in 0..self.devices.len() {
                if self.devices[d].token.is_none() {
                    self.sign(d);
                }
            }
            self.run_until_idle("the beginning");
        }
        // Most devices open a stream before the first message.
        for d in 0..self.devices.len() {
            if self.rng.chance(750) {
                self.open_stream(d);
            }
            if self.plan.pushes && self.rng.chance(700) {
                self.subscribe(d);
            }
        }
    }

    // ---- steps --------------------------------------------------------------------------------------

    /// One random step.
    fn step(&mut self) {
        let when = |count: usize, weight: usize| if count > 0 { weight } else { 0 };
        let runtime = &self.runtime;
        let weights = [
            24,
            30,
            10,
            24,
            when(runtime.writes(), 14),
            when(runtime.committed.len(), 14),
            when(runtime.reads(), 12),
            when(runtime.reads_done(), 12),
            when(runtime.jobs.len(), 10),
            8,
            4,
            3,
            2,
            when(runtime.appends.len(), 14),
            when(usize::from(self.plan.pushes), 6),
        ];
        match self.rng.weighted(&weights) {
            0 => {
                let d = self.rng.below(self.devices.len());
                self.act(d);
            }
            1 => self.read_one(),
            2 => self.write_one(),
            3 => self.client_reads_one(),
            4 => {
                let count = [1, 2, 8, 1_000][self.rng.below(4)];
                self.runtime.commit(&mut self.model, count);
            }
            5 => (0..self.rng.between(1, 4)).for_each(|_| self.runtime.answer()),
            6 => {
                let index = self.rng.below(self.runtime.reads());
                self.runtime.run_reader(&self.model, index);
            }
            7 => {
                let index = self.rng.below(self.runtime.reads_done());
                self.runtime.answer_read(index);
            }
            8 => {
                let index = self.rng.below(self.runtime.jobs.len());
                self.runtime.finish_job(&mut self.rng, &mut self.model, index);
            }
            9 => {
                let ms = [1, 20, 300][self.rng.below(3)];
                self.runtime.pass(Duration::from_millis(ms));
            }
            10 => self.runtime.tick(),
            11 => self.stall_a_link(),
            12 => self.rare_step(),
            13 => self.runtime.append_one(&mut self.rng),
            // Notifications wait for seconds.
            _ => {
                let ms = self.rng.between(500, 6_000) as u64;
                self.time_passes(Duration::from_millis(ms));
            }
        }
        if self.plan.forgetful {
            if self.rng.chance(15) {
                self.runtime.fail(&mut self.rng);
            }
            // A crash is most dangerous right after a failed sync.
            let odds = if self.runtime.is_suspect() { 30 } else { 3 };
            if self.rng.chance(odds) {
                self.crash();
            }
        }
        // The loop performs effects once per turn, and a turn may have several inputs.
        if !self.rng.chance(150) {
            self.perform();
        }
        self.runtime.sweep();
    }

    fn perform(&mut self) {
        self.runtime.perform(&mut self.rng, &mut self.model);
        self.shown_is_not_pushed();
    }

    /// The server reads from a connection.
    fn read_one(&mut self) {
        let readable = self.runtime.readable();
        let Some(conn) = self.rng.pick(&readable).copied() else { return };
        for _ in 0..self.runtime.link(conn).pieces(&mut self.rng) {
            self.runtime.deliver_up(&mut self.rng, conn);
        }
    }

    /// The server continues to write to a connection that was full.
    fn write_one(&mut self) {
        let writable = self.runtime.writable();
        if let Some(conn) = self.rng.pick(&writable).copied() {
            self.runtime.flush(&mut self.rng, &mut self.model, conn);
        }
    }

    fn client_reads_one(&mut self) {
        let open = |link: &network::Link| link.client_open && !link.stalled;
        let ready: Vec<ConnId> = self
            .runtime
            .links
            .iter()
            .filter(|(_, link)| open(link) && (!link.down.is_empty() || link.down_ended))
            .map(|(conn, _)| *conn)
            .collect();
        let Some(conn) = self.rng.pick(&ready).copied() else { return };
        let mut bytes = Vec::new();
        for _ in 0..self.runtime.link(conn).pieces(&mut self.rng) {
            bytes.extend(self.runtime.link(conn).take_down(&mut self.rng));
        }
        self.receive(conn, &bytes);
        let Some(link) = self.runtime.links.get(&conn) else { return };
        if link.client_open && link.down.is_empty() && link.down_ended {
            self.receive_end(conn);
        }
    }

    fn stall_a_link(&mut self) {
        let open: Vec<ConnId> = self.runtime.links.keys().copied().collect();
        if let Some(conn) = self.rng.pick(&open).copied() {
            let link = self.runtime.link(conn);
            link.stalled = !link.stalled;
        }
    }

    fn rare_step(&mut self) {
        match self.rng.below(20) {
            0 | 1 if self.plan.crashes => self.crash(),
            2 => self.drain(),
            3..=5 => {
                let s = self.rng.between(1, 40) as u64;
                self.time_passes(Duration::from_secs(s));
            }
            6 => {
                let s = self.rng.between(60, 900) as u64;
                self.time_passes(Duration::from_secs(s));
            }
            7 | 8 if self.plan.clock_jumps => {
                self.clock_was_set = true;
                let s = self.rng.between(1, 7_200) as i64;
                let sign = if self.rng.chance(500) { 1 } else { -1 };
                self.runtime.set_clock(sign * s * 1_000);
            }
            14 => {
                // The process is suspended and continues: no deadline was checked meanwhile.
                let s = self.rng.between(1, 300) as u64;
                self.runtime.pass(Duration::from_secs(s));
                self.runtime.tick();
            }
            15 => self.back_up(),
            9..=13 => {
                let on = self.plan.sabotage && self.rng.chance(700);
                self.runtime.sabotage(on);
            }
            _ => {}
        }
    }

    /// Time passes from deadline to deadline, as in the real loop.
    fn time_passes(&mut self, time: Duration) {
        let end = self.runtime.now.instant + time;
        while let Some(at) = self.runtime.server.next_deadline().filter(|at| *at <= end) {
            let step = at.saturating_duration_since(self.runtime.now.instant);
            self.runtime.pass(step.max(Duration::from_millis(1)));
            self.runtime.tick();
            self.perform();
        }
        self.runtime.pass(end.saturating_duration_since(self.runtime.now.instant));
    }

    fn crash(&mut self) {
        self.stats.crashes += 1;
        self.trace(|| "crash".to_owned());
        self.runtime.crash(&mut self.rng, &mut self.model);
    }

    /// A copy while the server works, which is restored elsewhere.
    fn back_up(&mut self) {
        self.trace(|| "backup".to_owned());
        self.stats.backups += u64::from(self.runtime.back_up(&mut self.rng, &mut self.model));
    }

    /// A clean shutdown, and a new start.
    fn drain(&mut self) {
        self.stats.drains += 1;
        self.trace(|| "drain".to_owned());
        self.runtime.drain();
        for _ in 0..self.rng.between(0, 400) {
            if self.runtime.server.is_drained() {
                break;
            }
            self.step_quietly();
        }
        self.runtime.restart(&mut self.rng, &mut self.model);
    }

    // ---- the end ------------------------------------------------------------------------------------

    /// Continues everything that is in progress; no device begins anything. Returns whether something happened.
    fn step_quietly(&mut self) -> bool {
        let readable = self.runtime.readable();
        for conn in &readable {
            self.runtime.deliver_up(&mut self.rng, *conn);
        }
        let mut busy = !readable.is_empty() || !self.runtime.is_idle();
        self.runtime.commit(&mut self.model, 1_000);
        (0..self.runtime.committed.len()).for_each(|_| self.runtime.answer());
        (0..self.runtime.reads()).for_each(|_| self.runtime.run_reader(&self.model, 0));
        (0..self.runtime.reads_done()).for_each(|_| self.runtime.answer_read(0));
        (0..self.runtime.appends.len()).for_each(|_| self.runtime.append_one(&mut self.rng));
        (0..self.runtime.jobs.len()).for_each(|_| self.runtime.finish_job(&mut self.rng, &mut self.model, 0));
        self.perform();
        let writable = self.runtime.writable();
        for conn in writable {
            self.runtime.flush(&mut self.rng, &mut self.model, conn);
        }
        self.perform();
        let conns: Vec<ConnId> = self.runtime.links.keys().copied().collect();
        for conn in conns {
            let link = self.runtime.link(conn);
            if !link.client_open {
                continue;
            }
            let bytes = link.take_down(&mut self.rng);
            busy |= !bytes.is_empty();
            self.receive(conn, &bytes);
            let link = self.runtime.link(conn);
            if link.client_open && link.down.is_empty() && link.down_ended {
                busy = true;
                self.receive_end(conn);
            }
        }
        self.perform();
        self.runtime.sweep();
        busy
    }

    /// Steps until nothing is in progress. Connections that move single bytes need many steps.
    fn run_until_idle(&mut self, what: &str) {
        for _ in 0..400_000 {
            if !self.step_quietly() {
                return;
            }
        }
        panic!("{what}: it never becomes idle");
    }

    /// Ends all faults, lets every device get what it waits for, and then compares everything.
    fn finish(&mut self, step: &Cell<usize>) {
        self.runtime.sabotage(false);
        self.runtime.heal();
        self.runtime.fault_rates = FaultRates::default();
        self.plan.sabotage = true; // refusals from before may still arrive
        self.runtime.calm = true;
        self.runtime.links.values_mut().for_each(network::Link::hurry);
        self.run_until_idle("work in progress");
        // Values that are sent at limited intervals get their time.
        self.time_passes(Duration::from_secs(1));
        self.run_until_idle("values at intervals");
        self.messages_are_erased();
        for d in (0..self.devices.len()).filter(|d| self.is_gone(*d)).collect::<Vec<usize>>() {
            self.devices[d].token = None;
        }
        self.no_stream_outlived_its_end();
        self.legacy_sockets_are_marked_read();
        self.streams_are_up_to_date();
        for round in 0.. {
            step.set(self.plan.steps + round);
            assert!(round < 200, "a device never gets what it waits for");
            if !self.every_device_asks() {
                break;
            }
            self.run_until_idle("missing answers");
            // Rates refill, paused frames continue.
            self.time_passes(Duration::from_secs(2));
            self.run_until_idle("after a while");
            self.no_stream_outlived_its_end();
        }
        self.streams_are_up_to_date();
        self.every_device_knows_everything();
        self.posts_kept_their_order();
        self.histories_are_complete();
        self.everything_is_found();
        self.exports_are_complete();
        self.files_are_served();
        if self.plan.deletions {
            self.an_account_ends();
        }
        self.tokens_expire();
        self.what_is_old_is_erased();
        self.everything_is_pushed_and_mailed();
        self.erased_files_are_removed();
        self.all_is_quiet();
        if self.rng.chance(300) {
            self.back_up();
        }
        self.runtime.restart(&mut self.rng, &mut self.model);
        self.runtime.perform_others();
        self.runtime.check_database();
        self.runtime.compare_with_mirror();
    }

    /// An ended session has no stream, and a stream that refused a post with `retry` was closed.
    fn no_stream_outlived_its_end(&self) {
        let now = self.runtime.now.unix_s().0;
        for stream in self.devices.iter().filter_map(|device| device.stream.as_ref()) {
            let (proof, form) = (&stream.proof, stream.form);
            let under_way = stream.upgraded || stream.poll.is_some();
            let over = self.runtime.over.contains(&proof.session);
            assert!(!over || !under_way, "{form:?} of an ended session");
            let expired = proof.exp < now && !self.clock_was_set;
            assert!(!expired || !under_way, "{form:?} of a token that expired at {}", proof.exp);
            let refused = stream.refused || stream.carried.refused.is_some();
            assert!(!refused, "{form:?} continues after a refused post");
        }
    }

    /// The messages that an open legacy socket shows are marked as read.
    fn legacy_sockets_are_marked_read(&mut self) {
        for d in 0..self.devices.len() {
            let Some(stream) = self.devices[d].stream.as_ref().filter(|stream| stream.live) else { continue };
            let (Form::Legacy(peer), Some(me)) = (stream.form, self.profile(d)) else { continue };
            let Some(id) = self.model.direct(me, peer) else { continue };
            let conversation = &self.model.conversations[&id];
            let texts = conversation.messages.iter().filter(|message| !message.is_deleted());
            let newest = texts.map(|message| message.n).max().unwrap_or(0);
            assert!(
                stream.shown.is_some_and(|shown| shown >= newest),
                "a legacy socket shows its newest message"
            );
            assert_eq!(
                conversation.unread(me, self.model.head),
                0,
                "an open legacy socket has nothing unread"
            );
        }
    }

    /// When nothing is in progress, every open stream has delivered all events.
    fn streams_are_up_to_date(&self) {
        for (d, device) in self.devices.iter().enumerate() {
            let Some(stream) = device.stream.as_ref().filter(|stream| !stream.closing) else { continue };
            let Some(me) = self.profile(d) else { continue };
            let (form, head) = (stream.form, self.model.head);
            let receives = match form {
                Form::Native | Form::Events => stream.live,
                // The position of `now` is known only with the answer.
                Form::Poll => stream.poll.as_ref().is_some_and(|poll| poll.start != Start::Now),
                _ => false,
            };
            if receives {
                let strict = form == Form::Native;
                let due = self.model.due(stream.last, head + 1, me, stream.conn.lane());
                let missed: Vec<u64> =
                    due.into_iter().filter(|seq| strict || !self.model.is_excused(*seq, me)).collect();
                assert!(missed.is_empty(), "{form:?} never delivered {missed:?} after {}", stream.last);
            }
            if matches!(form, Form::Counter | Form::Chats) && stream.upgraded {
                let value = stream.value.as_ref().unwrap_or_else(|| panic!("{form:?} shows nothing"));
                let shown = natter::base::json::parse(value.as_bytes()).expect("JSON");
                assert!(self.is_value(me, form, &shown, head), "{form:?} shows an old value: {value}");
            }
        }
    }

    /// Once the index has caught up, a search finds exactly what the model finds.
    fn everything_is_found(&mut self) {
        self.runtime.index();
        for d in 0..self.devices.len() {
            for _ in 0..2 {
                self.search(d, None, true);
            }
            self.run_until_idle("a search");
        }
    }

    /// Each person's export holds everything that is stored about them.
    fn exports_are_complete(&mut self) {
        for d in 0..self.devices.len() {
            let before = self.stats.exports;
            if self.devices[d].token.is_some() {
                self.export(d, true);
                self.run_until_idle("an export");
                // Two at once are allowed; an earlier one may still be sent.
                assert!(self.stats.exports > before, "an export never came");
            }
        }
    }

    /// The messages of a deleted account are erased within a minute, also if its client did not wait for it.
    fn messages_are_erased(&mut self) {
        if self.model.to_erase().is_some() {
            self.time_passes(Duration::from_secs(61));
            self.run_until_idle("the erasure of messages");
            assert_eq!(self.model.to_erase(), None, "a message that is never erased");
        }
    }

    /// Each device gets the files that it may read, and no other.
    fn files_are_served(&mut self) {
        let uploads = self.model.all_uploads_ever();
        for d in 0..self.devices.len() {
            for _ in 0..FILES_ASKED {
                if let Some(upload) = self.rng.pick(&uploads).copied() {
                    self.download_one(d, upload);
                    self.run_until_idle("a file");
                }
            }
        }
    }

    /// One more account ends while nothing else happens: what the others are shown then is complete.
    fn an_account_ends(&mut self) {
        let d = self.rng.below(self.devices.len());
        self.delete_account(d, 1);
        self.run_until_idle("the end of an account");
        self.messages_are_erased();
        self.streams_are_up_to_date();
        self.histories_are_complete();
        self.everything_is_found();
        self.files_are_served();
    }

    /// Nothing outlives its time by more than the interval of the sweeps, also in a group with a time of its own.
    fn what_is_old_is_erased(&mut self) {
        let kept = self.runtime.kept;
        if self.plan.days {
            self.time_passes(Duration::from_secs(86_400));
            self.run_until_idle("a day");
        } else if !kept.is_some() {
            return;
        }
        self.time_passes(Duration::from_secs(3_601));
        self.run_until_idle("a sweep");
        assert_eq!(self.model.outlived(kept, self.runtime.now.unix_ms), None, "it was not erased in time");
    }

    /// The bytes of an upload are removed within a minute after it was deleted.
    fn erased_files_are_removed(&mut self) {
        if self.model.files_to_remove() > 0 {
            self.time_passes(Duration::from_secs(61));
            self.run_until_idle("the removal of files");
            assert_eq!(self.model.files_to_remove(), 0, "files that are never removed");
        }
    }

    /// Push services and mail servers answer again: each message that is unread then was pushed, and each mail was sent.
    fn everything_is_pushed_and_mailed(&mut self) {
        // Longer than the longest wait for either, and than a clock that was set back has to catch up.
        let pause = Duration::from_secs(if self.clock_was_set { 300 } else { 50 });
        for _ in 0..80 {
            self.time_passes(Duration::from_secs(10));
            self.run_until_idle("notifications and mails");
            if self.model.owed(self.model.head).is_none() && self.model.mail_counts().0 == 0 {
                return;
            }
            self.time_passes(pause);
            self.run_until_idle("notifications and mails");
        }
        self.model.all_is_pushed(self.model.head);
        assert_eq!(self.model.mail_counts().0, 0, "mails that are never sent");
    }

    /// Time passes without a refresh: each stream ends with its token.
    fn tokens_expire(&mut self) {
        let ttl = self.runtime.limits.access_ttl;
        if ttl > 60 {
            return;
        }
        for _ in 0..=ttl / 15 {
            self.time_passes(Duration::from_secs(15));
            self.run_until_idle("a quarter of a minute");
        }
        self.no_stream_outlived_its_end();
    }

    /// Every device without its goal takes a step towards it. Returns whether there was one.
    fn every_device_asks(&mut self) -> bool {
        let mut asked = false;
        for d in (0..self.devices.len()).filter(|d| !self.is_gone(*d)).collect::<Vec<usize>>() {
            let now = self.runtime.now.unix_s().0;
            let device = &self.devices[d];
            let waits = device.https.iter().any(|http| !http.asks.is_empty());
            let unsent =
                device.drafts.iter().filter(|draft| !draft.answered && draft.carrier.is_none()).count();
            let unanswered = device.drafts.iter().any(|draft| !draft.answered);
            let form = device.stream.as_ref().map(|stream| stream.form);
            match &device.token {
                None => self.sign(d),
                Some(token) if token.exp <= now + 5 => self.refresh(d),
                Some(_)
                    if matches!(form, Some(Form::Legacy(_) | Form::Poll | Form::Counter | Form::Chats)) =>
                {
                    let conn = self.devices[d].stream.as_ref().expect("a stream").conn;
                    self.cut(conn);
                }
                Some(_) if unsent > 0 => (0..unsent.min(5)).for_each(|_| self.send_draft(d)),
                Some(_) if form.is_none() => {
                    let cursor = self.devices[d].cursor.clone();
                    let events = self.plan.http_streams > 0 && self.rng.chance(300);
                    self.open(d, if events { Form::Events } else { Form::Native }, cursor);
                }
                Some(_) if waits || unanswered || !self.devices[d].live_log() => {}
                Some(_) => continue,
            }
            asked = true;
        }
        asked
    }

    /// Every device that stayed or resumed by its cursor knows every message of its conversations.
    fn every_device_knows_everything(&self) {
        for device in (0..).zip(&self.devices).filter(|(d, _)| !self.is_gone(*d)).map(|(_, device)| device) {
            let me = self.people[device.person].profile.expect("a profile");
            let since = device.since.expect("a beginning");
            let mine = self.model.of(me).flat_map(|(_, conversation)| &conversation.messages);
            let missing: Vec<u64> = mine
                .filter(|message| self.model.log[&message.seq].audience.contains(&me))
                .map(|message| message.seq)
                .filter(|seq| *seq > since && !device.known.contains_key(seq))
                .filter(|seq| !self.model.is_excused(*seq, me))
                .collect();
            assert!(missing.is_empty(), "a device never received {missing:?}");
            for draft in device.drafts.iter().filter(|draft| !draft.given_up) {
                let stored = self.model.posted(me, draft.client_id).expect("an answered draft is on disk");
                let is_forwarded = draft.forward.is_some();
                assert_eq!(stored.versions[0].forwarded, is_forwarded);
                assert!(is_forwarded || stored.versions[0].body.as_ref() == Some(&draft.body));
            }
        }
    }

    /// Posts of one connection keep their order, and no post overtakes one that was refused.
    fn posts_kept_their_order(&mut self) {
        for device in &mut self.devices {
            let me = self.people[device.person].profile.expect("a profile");
            let open = device.https.iter().map(|http| (http.conn, http.carried.clone()));
            let stream = device.stream.iter().map(|stream| (stream.conn, stream.carried.clone()));
            let all: Vec<(ConnId, Carried)> = device.over.drain(..).chain(open).chain(stream).collect();
            for (conn, carried) in all {
                let mut last = 0;
                for (index, client_id) in carried.posts.iter().enumerate() {
                    let accepted = |index: &usize| !carried.refusals.contains(index);
                    let again = (0..index).filter(accepted).any(|before| carried.posts[before] == *client_id);
                    if again || !accepted(&index) {
                        continue;
                    }
                    let stored = self.model.posted(me, *client_id).filter(|post| post.lane == conn.lane());
                    let Some(stored) = stored else { continue };
                    assert!(
                        stored.seq > last,
                        "posts of one connection changed their order: {carried:?} of {conn:?}"
                    );
                    last = stored.seq;
                    let refused = carried.refused.is_some_and(|refused| index >= refused);
                    assert!(!refused, "a post overtook one that was refused: {carried:?} of {conn:?}");
                }
            }
        }
    }

    /// Lists and histories show what is stored: each person reads all of it.
    fn histories_are_complete(&mut self) {
        for d in 0..self.devices.len() {
            // All devices of a person are shown the same.
            if d > 0 && self.devices[d].person == self.devices[d - 1].person {
                continue;
            }
            let me = self.profile(d).expect("a profile");
            self.list(d, None);
            let mine: Vec<(ConversationId, u64)> = self
                .model
                .of(me)
                .map(|(id, conversation)| (id, conversation.messages.len() as u64))
                .collect();
            for (conversation, last_n) in mine {
                self.list_page(d, conversation, Point::Newest, 200);
                self.run_until_idle("a newest page");
                for n in (0..last_n).step_by(25) {
                    self.list_page(d, conversation, Point::After(n), 50);
                    self.run_until_idle("a page");
                }
                self.list_files(d, conversation, last_n);
                self.run_until_idle("the files");
            }
            self.run_until_idle("the lists");
        }
    }

    /// All devices disconnect, or the server drains: then nothing is open, waited for or listened to.
    fn all_is_quiet(&mut self) {
        if self.rng.chance(500) {
            self.runtime.drain();
        } else {
            let held = |link: &&network::Link| link.client_open;
            let open: Vec<ConnId> =
                self.runtime.links.iter().filter(|(_, link)| held(link)).map(|(conn, _)| *conn).collect();
            open.into_iter().for_each(|conn| self.cut(conn));
        }
        self.run_until_idle("the end");
        self.time_passes(Duration::from_secs(30));
        self.run_until_idle("the very end");
        assert_eq!(self.runtime.server.load(), (0, 0, 0), "connections, calls, listeners at the end");
        assert!(!self.runtime.draining || self.runtime.server.is_drained(), "drained");
    }
}
