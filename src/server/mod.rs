//! The server as a value: it takes [`Input`]s and yields [`Effect`]s.
//!
//! It has no socket, no clock, no thread and no randomness of its own, so every protocol and every failure can be run from
//! one seed. Imports inside it go one way, from the top of this list to its end (`tests/architecture.rs`):
//!
//! | | |
//! |---|---|
//! | this file | the value: who gets an input, and what the runtime must know of a connection after it |
//! | `answers` | what storage and workers have answered, and what follows from a commit |
//! | `admission` | which connections may be open, and which close when all of them together hold too much |
//! | `whispers` | what the other nodes of a cluster say |
//! | [`publish`], [`reactions`] | events to their audience, and what else follows from a fact |
//! | [`dispatch`] | the only code that matches on all phases of a connection |
//! | [`streams`], [`uploads`], [`background`] | what a request becomes; work that belongs to no connection |
//! | [`request`] | one HTTP request, from its head to its response |
//! | [`conn`], [`core`], [`ended`], [`turn`], [`crowd`], [`calls`], [`contract`], [`clock`] | a connection, what all share, which sessions are over, what one input leaves, which connections may be open, the calls in flight |
//!
//! Invariants: `handle` is total and never panics; every effect of an input is there when `handle` returns.
//!
//! # The loop that drives it
//!
//! The runtime is a loop like this one over sockets and threads; the tests are one over memory.
//!
//! ```
//! use std::time::Instant;
//!
//! use natter::base::crypto::{HmacKey, SystemEntropy};
//! use natter::base::time::{Now, UnixMs};
//! use natter::model::operation::Outcome;
//! use natter::model::settings::Settings;
//! use natter::server::Server;
//! use natter::server::contract::{ConnId, ListenerKind, Effect, Input};
//! use natter::store::{Reader, Store, StoreOptions};
//! # let dir = std::env::temp_dir().join(format!("natter-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).expect("a folder");
//!
//! let now = Now { instant: Instant::now(), unix_ms: UnixMs(1_795_352_634_120) };
//! let options = StoreOptions::new(dir.join("natter.db"));
//! let (mut store, start) = Store::open(&options, &mut SystemEntropy::new(), now.unix_ms).expect("a database");
//! let mut reader = Reader::open(&options).expect("a reader");
//! let settings = Settings::with_defaults(|purpose| HmacKey::new(purpose.as_bytes()));
//! let mut server = Server::new(settings, start, Box::new(SystemEntropy::new()), now);
//!
//! // A peer connects and sends a request.
//! let conn = ConnId(0);
//! server.handle(now, Input::Accepted { conn, peer: [127, 0, 0, 1].into(), listener_kind: ListenerKind::Public });
//! let request = b"GET /api/v1/conversations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
//! server.handle(now, Input::Received { conn, bytes: request });
//!
//! let mut answer = Vec::new();
//! while let Some(effect) = server.poll_effect() {
//!     match effect {
//!         Effect::Write { ticket, lane, write } => {
//!             let mut committed = store.commit(&mut vec![(lane, write)]);
//!             let outcome = committed.outcomes.remove(0);
//!             server.handle(now, Input::Answered { ticket, outcome });
//!         }
//!         Effect::Read { ticket, read, .. } => {
//!             let outcome = Outcome::quiet(reader.read(*read));
//!             server.handle(now, Input::Answered { ticket, outcome });
//!         }
//!         Effect::Flush(conn) => {
//!             let queue = server.send_queue(conn).expect("a connection");
//!             let bytes = queue.take_bytes();
//!             answer.extend_from_slice(&bytes);
//!             server.handle(now, Input::Sent { conn, bytes: bytes.len() as u64 });
//!         }
//!         // Jobs of workers, files and closed sockets are handled in the same way.
//!         _ => {}
//!     }
//! }
//! // A request without a token is refused.
//! assert!(answer.starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
//! // When the next deadline has come, the loop passes `Input::Tick`.
//! assert!(server.next_deadline().is_some());
//! # drop(reader);
//! # store.close().expect("closed");
//! # std::fs::remove_dir_all(&dir).expect("removed");
//! ```

mod admission;
mod answers;
pub(crate) mod background;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod close_reason;
pub(crate) mod conn;
pub mod contract;
pub(crate) mod core;
pub(crate) mod crowd;
pub(crate) mod dispatch;
pub(crate) mod ended;
pub(crate) mod publish;
pub(crate) mod reactions;
pub mod request;
pub mod schema;
pub mod streams;
pub(crate) mod turn;
pub(crate) mod uploads;
mod whispers;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::background::certificate;
use self::background::duty;
use self::background::push;
use self::background::tasks;
use self::calls::{Call, Periodic};
use self::clock::{Clock, soonest};
use self::close_reason::CloseReason;
use self::conn::{Conn, Conns, Phase};
use self::contract::{ConnId, Effect, Input};
use self::core::Core;
use self::request::http;
use self::streams::ephemeral;
use self::streams::kinds;
use self::streams::nodes;
use self::streams::presence;
use self::turn::Broadcast;
use self::uploads::receive;
use crate::base::crypto::Entropy;
use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::base::timers::Timers;
use crate::model::job::Done;
use crate::model::measures::Measure;
use crate::model::operation::{Outcome, Start};
use crate::model::settings::Settings;

/// How long a mail or a look-up in progress may take while the server ends: most mails are delivered within it, and none
/// is sent twice then. After that the mail stays in the outbox, for the next start.
const DRAIN_BACKGROUND: Duration = Duration::from_secs(2);

/// Deadlines of connections that one tick handles. The rest is due at once: thousands of requests that began together and never
/// end must not delay all others.
const TIMEOUTS_TICK_MAX: usize = 64;

/// The server. One owner calls its methods: [`Server::handle`] for each input, [`Server::poll_effect`] until `None`.
pub struct Server {
    conns: Conns,
    timers: Timers<ConnId>,
    clock: Clock,
    core: Core,
}

impl Server {
    /// A server without connections. `start` is what the store found in its database.
    pub fn new(settings: Settings, start: Start, entropy: Box<dyn Entropy>, now: Now) -> Server {
        Server {
            conns: Conns::default(),
            timers: Timers::new(),
            clock: Clock::new(now),
            core: Core::new(settings, start, entropy, now),
        }
    }

    /// Takes one input. Total: any input, in any order.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        let (now, clock_was_set) = self.clock.take(now, || first_deadline(&self.core, &self.timers));
        self.core.now = now;
        self.core.metrics.at = now.unix_ms;
        if clock_was_set {
            self.expire();
        }
        self.take(input);
        whispers::tell_attempts(&mut self.core);
        tasks::follow_up(&mut self.core);
        self.relieve();
        self.hash();
        for conn in self.core.uploads.take_resumed() {
            self.ask_flush(conn);
        }
        self.broadcast();
        self.core.turn.end();
    }

    fn take(&mut self, input: Input<'_>) {
        match input {
            Input::Accepted { conn, peer, listener_kind } => self.accepted(conn, peer, listener_kind),
            Input::Secured { conn, resumed } => {
                self.with_conn(conn, |core, conn| http::secured(core, conn, resumed))
            }
            Input::NotTls { conn } => self.with_conn(conn, http::not_tls),
            Input::Received { conn, bytes } => {
                self.with_conn(conn, |core, conn| dispatch::received(core, conn, bytes))
            }
            Input::Sent { conn, bytes } => {
                self.with_conn(conn, |core, conn| dispatch::sent(core, conn, bytes))
            }
            Input::Ended { conn } => self.with_conn(conn, dispatch::ended),
            Input::Failed { conn } => self.close(conn, CloseReason::SocketFailed),
            Input::Answered { ticket, outcome } => self.answered(ticket, outcome),
            Input::Happened(Outcome { result, events }) => {
                self.on_committed(ConnId::NOBODY, events, &result);
            }
            Input::Whispered { node, bytes } => whispers::heard(&mut self.core, &node, &bytes),
            Input::Finished { ticket, done } => self.finished(ticket, done),
            Input::Appended { upload, bytes, sha256 } => {
                if let Some(conn) = self.core.uploads.conn_of(upload) {
                    self.with_conn(conn, |core, conn| receive::appended(core, conn, bytes, sha256));
                }
            }
            Input::DiskFailed { upload, full } => {
                if let Some(conn) = self.core.uploads.conn_of(upload) {
                    self.with_conn(conn, |core, conn| receive::disk_failed(core, conn, full));
                }
            }
            Input::BackgroundErrors { kind, count, text } => self.core.metrics.troubles(kind, count, &text),
            Input::Storage(state) => self.core.storage = state,
            Input::PeerState { node, state } => nodes::state_came(&mut self.core, &node, *state),
            Input::Progressed(progress) => {
                duty::clock_compared(&mut self.core, progress.clock_ahead_ms);
                self.core.metrics.progress = *progress;
            }
            Input::LogDropped(total) => self.core.metrics.log_dropped = total,
            Input::Reload => certificate::reload(&mut self.core),
            Input::Tick => self.tick(),
            Input::Drain => self.drain(),
        }
    }

    /// Answers `busy` to the passwords that found the queue full, and gives the next ones to workers.
    fn hash(&mut self) {
        while let Some(ticket) = self.core.requests.hashing.take_refused() {
            self.go_on_with(ticket, Done::Busy);
        }
        while let Some((ticket, job, asked)) = self.core.requests.hashing.start_next() {
            let waited = self.core.now.instant.saturating_duration_since(asked);
            self.core.settings.measures.took_here(Measure::WaitPassword, waited);
            self.core.effects.push_back(Effect::Work { ticket, job });
        }
    }

    /// Queues the ephemeral events of this turn on the native streams that are up to date.
    fn broadcast(&mut self) {
        while let Some(Broadcast { profiles, frame }) = self.core.turn.broadcasts.pop_front() {
            for profile in profiles.iter() {
                for id in self.core.streams.hub.of(*profile).to_vec() {
                    self.with_conn(id, |core, conn| ephemeral::send_ephemeral(core, conn, &frame));
                }
            }
        }
    }

    /// The next thing to be done, until `None`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.core.effects.pop_front()?;
        if let Effect::Flush(id) = effect
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.flush_asked = false;
        }
        Some(effect)
    }

    /// When `Tick` is due at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        first_deadline(&self.core, &self.timers).map(|at| self.clock.read_at(at))
    }

    /// Whether the runtime is to read from this connection's socket.
    pub fn wants_read(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|conn| dispatch::wants_read(&self.core, conn))
    }

    /// Whether a request on this connection had a good access token.
    pub fn is_of_member(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|conn| conn.has_account || conn.subscription.is_some())
    }

    /// What waits to be written to this connection's socket.
    pub fn send_queue(&mut self, conn: ConnId) -> Option<&mut SendQueue> {
        self.conns.get_mut(conn).map(|conn| &mut conn.send)
    }

    /// Whether new connections are accepted: always, until the server drains. One for which there is no room gets a refusal.
    pub fn is_accepting(&self) -> bool {
        !self.core.is_draining()
    }

    /// Whether it is the address of a trusted proxy.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.core.settings.trusted_proxies.contains(peer)
    }

    /// Whether a drain is complete: no connection is open, and no call is in flight except those that may be given up.
    pub fn is_drained(&self) -> bool {
        self.core.is_draining() && self.conns.is_empty() && self.calls_are_over()
    }

    /// Calls that may be given up are not waited for longer than [`DRAIN_BACKGROUND`]: a mail server may take longer to answer
    /// than a restart may last, and a mail that is not sent stays in the outbox.
    fn calls_are_over(&self) -> bool {
        let may_give_up = self.core.background_until().is_some_and(|until| until <= self.core.now.instant);
        self.core.calls.is_empty() || may_give_up && self.core.calls.values().all(Call::may_be_given_up)
    }

    /// How many connections, calls in flight and profiles with a stream there are. All are zero when the server is idle.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.conns.len(), self.core.calls.len(), self.core.streams.hub.profiles())
    }

    /// Runs `work` on a connection, then updates what follows from its state.
    fn with_conn(&mut self, id: ConnId, work: impl FnOnce(&mut Core, &mut Conn)) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        work(&mut self.core, conn);
        dispatch::advance(&mut self.core, conn);
        self.update(id);
    }

    /// Derives from a connection's state what the runtime must know of it: whether it reads, what it writes, its deadline.
    fn update(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.is_closed() {
            self.close(id, CloseReason::Internal);
            return;
        }
        self.core.crowd.update(conn);
        self.core.requests.receiving.update(conn);
        let kind = if let Phase::Stream(kind) = &conn.phase { Some(kind.number()) } else { None };
        count_stream(&mut self.core, conn, kind);
        let wants_read = dispatch::wants_read(&self.core, conn);
        let resumed = wants_read && !conn.reading;
        conn.reading = wants_read;
        let deadline = conn.deadline;
        let armed = std::mem::replace(&mut conn.armed, deadline);
        self.core.charge(conn, conn.send.held());
        if resumed || !conn.send.is_empty() {
            self.ask_flush(id);
        }
        if armed != deadline {
            self.timers.set(id, deadline);
        }
    }

    fn ask_flush(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !std::mem::replace(&mut conn.flush_asked, true)
        {
            self.core.effects.push_back(Effect::Flush(id));
        }
    }

    /// Forgets a connection, whatever it was doing. A call that it still waits for becomes an orphan.
    /// `reason` is used if the connection has none of its own yet.
    fn close(&mut self, id: ConnId, reason: CloseReason) {
        let Some(mut conn) = self.conns.remove(id) else { return };
        let reason = match conn.close_reason().unwrap_or(reason) {
            CloseReason::Idle | CloseReason::PeerLeft | CloseReason::SocketFailed if conn.is_handshaking => {
                CloseReason::TlsHandshake
            }
            reason => reason,
        };
        self.core.metrics.closed(reason);
        log::debug!(
            target: "natter::connection", peer:% = conn.peer, reason = reason.name(), unsent = conn.send.memory();
            "connection closed"
        );
        self.timers.set(id, None);
        dispatch::forget(&mut self.core, &mut conn);
        count_stream(&mut self.core, &mut conn, None);
        if conn.faulted {
            self.core.effects.push_back(Effect::LaneReset(id.lane()));
        }
        self.core.effects.push_back(Effect::Close(id));
        self.count();
    }

    /// Connections that only read their refusal are not counted.
    fn count(&mut self) {
        self.core.metrics.connections = (self.conns.len() - self.core.crowd.refused()) as u64;
    }

    fn tick(&mut self) {
        let now = self.core.now.instant;
        for _ in 0..TIMEOUTS_TICK_MAX {
            let Some(id) = self.timers.pop(now) else { break };
            if let Some(conn) = self.conns.get_mut(id) {
                conn.armed = None;
            }
            self.with_conn(id, dispatch::timed_out);
        }
        nodes::tick(&mut self.core);
        presence::tick(&mut self.core);
        push::tick(&mut self.core);
        if self.core.streams.backlog.is_due(now) {
            self.close_largest();
        }
        tasks::tick(&mut self.core);
    }

    /// The calendar clock was set: tokens expire by it, while the deadlines were derived from its reading before.
    fn expire(&mut self) {
        for id in self.conns.ids() {
            self.with_conn(id, kinds::clock_was_set);
        }
    }

    /// Stops accepting connections, lets calls finish, asks streams to come back later.
    fn drain(&mut self) {
        if self.core.is_draining() {
            return;
        }
        self.core.begin_drain(DRAIN_BACKGROUND);
        tasks::wake(&mut self.core, Periodic::LastSeen);
        for id in self.conns.ids() {
            self.with_conn(id, dispatch::drain);
        }
    }
}

/// Counts a connection as the kind of stream that it is now, if it is one.
fn count_stream(core: &mut Core, conn: &mut Conn, kind: Option<usize>) {
    let before = std::mem::replace(&mut conn.counted, kind);
    if before != kind {
        before.into_iter().for_each(|kind| core.metrics.streams[kind] -= 1);
        kind.into_iter().for_each(|kind| core.metrics.streams[kind] += 1);
    }
}

/// The first of all deadlines, in own time.
fn first_deadline(core: &Core, timers: &Timers<ConnId>) -> Option<Instant> {
    let giving_up = core.background_until().filter(|until| *until > core.now.instant);
    soonest([
        core.background.tasks.next_deadline(),
        core.background.duty.next_deadline(),
        giving_up,
        timers.next(),
        core.streams.presence.next_deadline(core.is_in_cluster()),
        core.streams.nodes.as_ref().and_then(|nodes| nodes.next_deadline()),
        core.background.pusher.next_deadline().filter(|_| !core.is_draining()),
        core.streams.backlog.next_deadline(),
    ])
}
