//! What is said to the log over one connection after another: is it the right stream, what comes next in it, what was appended.
//!
//! ```text
//! Offline ─ready─► Asking ─the stream is good─► Creating ─► Reading ──heartbeats missed, consumer gone──► Asking
//!                   ▲  └─not now─► Waiting ─┐                  └──a jump──► Asking, after some: Fetching ──► Asking
//!                   └────────────────────────┘
//! ```
//! While there is no consumer, or no sign of it, entries that the log is known to have are asked for one by one, of any replica: to make a
//! consumer needs the leader of all of JetStream, whose election takes seconds.
//!
//! A consumer can be placed on a damaged replica, which skips entries without a word. So a delivery counts only if it is the next
//! one. After a jump the consumer is made anew, which may place it elsewhere; then the missing entries are asked for one by one; and
//! an entry that is still missing stops the node.
//!
//! Owns the position and what is under way. Leaves the socket and the choice of the server to the thread, time to its caller, and to
//! the writer what an entry says, when it is sent again, and whether a log that was reached is the one that it follows.
//! Invariants: positions that are delivered are dense. The stream is looked at before each consumer is made, and each second.
//! Nothing is concluded from the absence of an entry unless the leader hears a majority: a leader that was cut off does not know
//! what it lacks.

mod reading;
mod replies;
mod reports;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::reports::Reported;
use super::audit::Found;
use super::flight::{Flight, Flown};
use super::{LogSurvey, OnWhisper};
use crate::proto::nats::jetstream::{self as js, ServerFacts, StreamConfig};
use crate::proto::nats::{Connection, Message};
use crate::runtime::log::{LogEvent, LogState};

/// The time limit of a request. Without a leader nobody answers.
const REQUEST_MAX: Duration = Duration::from_millis(500);
/// The time limit of a request that makes something, which all servers must agree on.
const MAKE_MAX: Duration = Duration::from_secs(2);
/// The pause before an entry is asked for again.
const FETCH_PAUSE: Duration = Duration::from_millis(10);
/// The pause before the stream is asked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// The same, while an operator must repair something.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// Requests without success after which another server is asked.
const FAILURES_MAX: u32 = 5;
/// Time between two looks at the stream.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The same while there is no consumer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Without a sign of the consumer for this long it is made anew. It doubles while that does not help, 8 times at most. The consumer
/// lives on one server, which may have died.
const QUIET_MAX: Duration = Duration::from_millis(700);
/// Without a sign of the consumer for this long, entries that the log is known to have are asked for: writes wait for them. It is more than
/// the time between two heartbeats.
const QUIET_MIN: Duration = Duration::from_millis(300);
const _: () = assert!(
    reading::HEARTBEAT.as_millis() < QUIET_MIN.as_millis() && QUIET_MIN.as_millis() < QUIET_MAX.as_millis()
);
/// Jumps without progress after which the missing entries are asked for one by one.
const JUMPS_MAX: u32 = 3;
/// A leader that heard a majority within this is the only one: an election takes at least 4 s.
const LED_MAX: Duration = Duration::from_millis(2_500);

/// A leader may store an entry this long after another server has delivered it, and nobody is told.
const BEHIND_MIN: Duration = Duration::from_secs(1);
/// A leader that is behind for this long is asked by an entry that changes nothing. Before, it may just not have stored what another server
/// has delivered.
const PROBE_AFTER: Duration = Duration::from_millis(200);
/// Without an acknowledgement for this long, the entry is sent again.
const PROBE_AGAIN: Duration = Duration::from_secs(2);

/// Audits that fail at the start before the process stops: the servers may be starting too.
const AUDITS_MAX: u32 = 4;

/// Subscriptions: replies, messages of other nodes, and from here on one for each consumer.
const REPLIES: u32 = 1;
const WHISPERS: u32 = 2;
const CONSUMERS: u32 = 16;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) stream: StreamConfig,
    /// The subject of ephemeral messages.
    pub(super) whispers: String,
    /// The start of the subjects that only this process listens to.
    pub(super) inbox: String,
    /// The stream is made if there is none.
    pub(super) creates: bool,
    /// The stream that is found is deleted first.
    pub(super) replaces: bool,
    /// What is seen of the servers is recorded.
    pub(super) surveys: bool,
    /// Nothing is demanded of servers and stream.
    pub(super) is_unsafe: bool,
    /// Why a server may not have answered an audit, if the audit does not say so.
    pub(super) unasked: &'static str,
    /// The identity of the log that this node followed before this process.
    pub(super) follows: Option<String>,
    /// An entry that changes nothing.
    pub(super) probe: Option<Arc<[u8]>>,
    /// Bytes of the longest entry.
    pub(super) entry_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Offline,
    /// For the stream, or for its creation.
    Asking(u32),
    Waiting,
    Creating(u32),
    Reading,
    /// A consumer would skip again: entries are only asked for.
    Fetching,
    Stopped,
}

/// One entry after another is asked for, up to and with `upto`.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    request: u32,
    upto: u64,
    /// When the answer is late.
    until: Instant,
}

/// The entry that changes nothing, on its way: where it is stored tells whether the log has forgotten what this node has read.
///
/// That the leader says that it has less proves nothing: a new leader was seen to store nothing for 18 s, although it had all entries. An
/// acknowledgement proves it, since a majority has stored the entry where this node had read another one.
#[derive(Clone, Copy, Debug)]
struct Probe {
    request: u32,
    /// The last position that was delivered before.
    position: u64,
    sent_at: Instant,
}

pub(super) struct Session {
    setup: Setup,
    on_whisper: OnWhisper,
    flight: Flight,
    step: Step,
    /// When the step has taken too long, or a pause is over.
    until: Instant,
    /// The last position that was delivered. Nothing is read before the writer has named one.
    position: Option<u64>,
    /// Since when the leader has had less than this node.
    ahead_since: Option<Instant>,
    probe: Option<Probe>,
    /// The last look at the stream, and where this node was.
    seen: Option<LogState>,
    seen_at: u64,
    /// The last entry of this node that the log has taken.
    taken: u64,
    fetch: Option<Fetch>,
    /// The number of the last request.
    requests: u32,
    /// The request of the look under way, and when it was made.
    watch: Option<(u32, Instant)>,
    watch_at: Instant,
    /// When the stream was asked for in this step.
    asked_at: Instant,
    /// Consumers that were made, and those since the last sign of one.
    consumers: u32,
    silent_consumers: u32,
    /// The last sign of the consumer.
    heard_at: Instant,
    failures: u32,
    jumps: u32,
    /// How often the next entry was missing when it was asked for.
    missing: u32,
    /// What the servers said of themselves, and why some or all could not be asked.
    facts: Vec<ServerFacts>,
    audit_fault: Option<String>,
    audits: u32,
    wants_audit: bool,
    /// The stream was good once: a fault that comes later is waited for.
    was_good: bool,
    /// The last reason that was logged.
    logged: String,
    /// The stream is good and entries are sent.
    is_serving: bool,
    reported: Option<Reported>,
    has_replaced: bool,
    survey: LogSurvey,
    is_surveyed: bool,
    events: Vec<LogEvent>,
    /// Another server should be asked.
    leave: Option<String>,
}

impl Session {
    pub(super) fn new(setup: Setup, on_whisper: OnWhisper, now: Instant) -> Session {
        Session {
            setup,
            on_whisper,
            flight: Flight::default(),
            step: Step::Offline,
            until: now,
            position: None,
            ahead_since: None,
            probe: None,
            seen: None,
            seen_at: 0,
            taken: 0,
            fetch: None,
            requests: 0,
            watch: None,
            watch_at: now,
            asked_at: now,
            consumers: 0,
            silent_consumers: 0,
            heard_at: now,
            failures: 0,
            jumps: 0,
            missing: 0,
            facts: Vec::new(),
            audit_fault: None,
            audits: 0,
            wants_audit: false,
            was_good: false,
            logged: String::new(),
            is_serving: false,
            reported: None,
            has_replaced: false,
            survey: LogSurvey::default(),
            is_surveyed: false,
            events: Vec::new(),
            leave: None,
        }
    }

    /// Moves the events since the last call to `out`, in their order.
    pub(super) fn take_events(&mut self, out: &mut Vec<LogEvent>) {
        out.append(&mut self.events);
    }

    /// What was seen of the log and its servers, if it is recorded and new.
    pub(super) fn take_survey(&mut self) -> Option<LogSurvey> {
        let is_new = std::mem::take(&mut self.is_surveyed) && self.setup.surveys;
        is_new.then(|| self.survey.clone())
    }

    /// The writer reads on after this position.
    pub(super) fn read_after(&mut self, conn: Option<&mut Connection>, position: u64, now: Instant) {
        self.events.retain(|event| !matches!(event, LogEvent::Delivered { .. }));
        (self.position, self.ahead_since) = (Some(position), None);
        (self.jumps, self.missing, self.fetch) = (0, 0, None);
        match conn {
            Some(conn) if conn.is_ready() && !self.is_stopped() => self.ask(conn, now),
            _ => {}
        }
    }

    /// Sends an entry, if the log is up.
    pub(super) fn append(&mut self, conn: &mut Connection, sealed: &[u8], now: Instant) {
        if !self.is_serving {
            return;
        }
        let number = self.flight.sent(self.position(), now);
        let reply = format!("{}.r.a{number}", self.setup.inbox);
        if let Err(error) = conn.publish(&self.setup.stream.subject, &reply, sealed) {
            log::warn!(target: "natter::cluster", "an entry of {} bytes was not sent: {error:?}", sealed.len());
            let flown = self.flight.refused(number);
            self.flown(flown);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.step == Step::Stopped
    }

    /// Why the connection must be given up, once.
    pub(super) fn take_leave(&mut self) -> Option<String> {
        self.leave.take()
    }

    /// Whether this connection has served, so that the pauses between servers begin anew.
    pub(super) fn is_serving(&self) -> bool {
        self.is_serving
    }

    /// An entry was dropped before it came here.
    pub(super) fn dropped(&mut self) {
        self.events.push(LogEvent::Lost);
    }

    pub(super) fn whisper(&mut self, conn: &mut Connection, message: &[u8]) {
        // It may be lost: what it says is said again.
        if self.is_serving && conn.publish(&self.setup.whispers, "", message).is_err() {
            log::debug!(target: "natter::cluster", "an ephemeral message was not sent");
        }
    }

    /// A server has accepted us.
    pub(super) fn connected(&mut self, conn: &mut Connection, now: Instant) {
        if self.is_stopped() {
            return;
        }
        self.flight.clear();
        (self.watch, self.fetch, self.failures) = (None, None, 0);
        let replies = [&self.setup.inbox, ".r.*"].concat();
        let subscribed =
            conn.subscribe(&replies, REPLIES).and(conn.subscribe(&self.setup.whispers, WHISPERS));
        match subscribed {
            Ok(()) => self.ask(conn, now),
            Err(_) => self.leave = Some("it takes no subscription".to_owned()),
        }
    }

    /// There is no connection: the reason.
    pub(super) fn disconnected(&mut self, reason: &str) {
        if !self.is_stopped() {
            self.step = Step::Offline;
            self.down("no server of the log is connected", reason);
        }
    }

    /// No server accepts this node, and only an operator can change that. A node goes on trying; a command need not.
    pub(super) fn refused(&mut self, reason: &str) {
        if !self.is_stopped() {
            self.log_once(reason);
            self.survey.is_lasting = true;
        }
    }

    /// A server forbids what natter needs.
    pub(super) fn denied(&mut self, reason: &str, now: Instant) {
        self.down("a server of the log forbids what natter needs", reason);
        self.survey.is_lasting = true;
        self.step = Step::Waiting;
        self.until = now + REFUSED_PAUSE;
    }

    /// Whether the servers must be asked what they are, once.
    pub(super) fn take_wants_audit(&mut self) -> bool {
        std::mem::take(&mut self.wants_audit)
    }

    /// What the servers have answered, and why some have not.
    pub(super) fn audited(&mut self, Found { facts, fault }: Found, now: Instant) {
        self.audits = self.audits.saturating_add(1);
        self.facts.retain(|old| facts.iter().all(|new| new.name != old.name));
        self.facts.extend(facts);
        self.audit_fault = fault;
        if self.step == Step::Waiting {
            self.until = now;
        }
        self.watch_at = now;
    }

    pub(super) fn message(&mut self, conn: &mut Connection, message: Message, now: Instant) {
        match message.sid {
            _ if self.is_stopped() => {}
            REPLIES => self.reply(conn, message, now),
            WHISPERS => (self.on_whisper)(message.payload),
            sid if sid == CONSUMERS.wrapping_add(self.consumers) => self.delivery(conn, message, now),
            // Of a consumer before.
            _ => {}
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, conn: &mut Connection, now: Instant) {
        match self.step {
            Step::Offline | Step::Stopped => return,
            _ if now < self.until => {}
            Step::Waiting => self.ask(conn, now),
            Step::Reading => {
                self.silent_consumers += 1;
                self.ask(conn, now);
            }
            // It needs the leader of all of JetStream, and the log may be well.
            Step::Creating(_) => self.ask(conn, now),
            Step::Asking(_) => self.fail("its leader does not answer", now),
            Step::Fetching => self.fail("an entry is asked for, and not answered", now),
        }
        if self.fetch.is_some_and(|fetch| now >= fetch.until) {
            self.fetch = None;
        }
        if self.is_serving && self.fetch.is_none() && self.is_behind() && !self.hears_consumer(now) {
            self.fetch(conn, self.head(), now);
        }
        if self.is_serving {
            let flown = self.flight.tick(now);
            self.flown(flown);
        }
        if self.is_serving && now >= self.watch_at {
            self.watch_at = now + REQUEST_MAX;
            let request = self.request(conn, 'i', &js::stream_info(&self.setup.stream.name), b"");
            self.watch = request.map(|request| (request, now));
        }
    }

    /// When [`Session::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if matches!(self.step, Step::Offline | Step::Stopped) {
            return None;
        }
        let fetch = self.fetch.map(|fetch| fetch.until);
        let is_late = self.step == Step::Reading && self.fetch.is_none() && self.is_behind();
        let late = is_late.then(|| self.heard_at + QUIET_MIN);
        let serving = if self.is_serving {
            [Some(self.watch_at), self.flight.deadline(), fetch, late]
        } else {
            [None; 4]
        };
        [Some(self.until)].into_iter().chain(serving).flatten().min()
    }

    fn ask(&mut self, conn: &mut Connection, now: Instant) {
        let request = self.request(conn, 'i', &js::stream_info(&self.setup.stream.name), b"");
        self.step = request.map_or(Step::Waiting, Step::Asking);
        self.until = now + REQUEST_MAX;
        self.asked_at = now;
    }

    /// `None` if the output is full: the step is tried again later.
    fn request(&mut self, conn: &mut Connection, kind: char, subject: &str, body: &[u8]) -> Option<u32> {
        self.requests = self.requests.wrapping_add(1);
        let reply = format!("{}.r.{kind}{}", self.setup.inbox, self.requests);
        conn.publish(subject, &reply, body).is_ok().then_some(self.requests)
    }

    /// The leader has less than this node has read, for a while now: has the log forgotten it?
    fn ask_by_probe(&mut self, conn: &mut Connection, now: Instant) {
        if self.probe.is_some_and(|probe| now < probe.sent_at + PROBE_AGAIN) {
            return;
        }
        // A command without the key reads nothing, so it cannot be ahead.
        let Some(entry) = self.setup.probe.clone() else { return };
        let subject = self.setup.stream.subject.clone();
        let request = self.request(conn, 'p', &subject, &entry);
        self.probe = request.map(|request| Probe { request, position: self.position(), sent_at: now });
    }

    /// What has become of an entry that was sent.
    fn flown(&mut self, flown: Flown) {
        match flown {
            Flown::Nothing => {}
            Flown::Taken(position) => self.taken = position,
            Flown::Lost => self.events.push(LogEvent::Lost),
            Flown::Leave => self.leave = Some("it acknowledges no entry".to_owned()),
            Flown::Forgotten(stored) => self.stop(format!(
                "the log stored an entry at {stored}, where this node has already read another one: it has forgotten entries. Keep this \
                 node's DATA_DIR: the newest copy of all messages may be there"
            )),
        }
    }

    fn position(&self) -> u64 {
        self.position.unwrap_or(0)
    }

    /// The last entry that the log is known to have.
    fn head(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.head.max(self.taken))
    }

    fn is_behind(&self) -> bool {
        self.position.is_some() && self.head() > self.position()
    }

    fn hears_consumer(&self, now: Instant) -> bool {
        self.step == Step::Reading && now < self.heard_at + QUIET_MIN
    }

    fn quiet_max(&self) -> Duration {
        QUIET_MAX * (1 << self.silent_consumers.min(3))
    }
}

#[cfg(test)]
mod play;
#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
