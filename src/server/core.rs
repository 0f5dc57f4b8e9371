//! What the server knows in addition to its connections: keys, counts, calls, listeners, ended sessions.
//!
//! Owns the state that is shared, and asks storage for all. Leaves what the state means to the folder that each type is of.
//! Invariant: everything here has a named bound, or that of the number of connections.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::crypto::Entropy;
use crate::base::network::Prefix;
use crate::base::slab::Slab;
use crate::base::time::{Now, UnixS, imf_fixdate};
use crate::limits::LINGER_DEADLINE;
use crate::model::handler::Ctx;
use crate::model::id::SessionId;
use crate::model::operation::{Command, Flow, Read, Start};
use crate::model::readiness::Readiness;
use crate::model::settings::Settings;
use crate::model::whisper::Whisper;
use crate::server::background::Background;
use crate::server::calls::{Call, Caller, Next};
use crate::server::conn::Conn;
use crate::server::contract::{Effect, ListenerKind, Ticket};
use crate::server::crowd::Crowd;
use crate::server::ended::EndedSessions;
use crate::server::request::Requests;
use crate::server::request::metrics::Metrics;
use crate::server::streams::Streams;
use crate::server::turn::Turn;
use crate::server::uploads::receive::Uploads;

/// [`LINGER_DEADLINE`] while the server drains: a peer that has its last answer and does not close must not delay a restart,
/// and `docker stop` kills after 10 s.
const DRAIN_LINGER: Duration = Duration::from_secs(3);

pub struct Core {
    pub settings: Settings,
    pub entropy: Box<dyn Entropy>,
    pub now: Now,
    pub epoch: Arc<str>,
    /// The greatest seq that storage has answered.
    pub head: u64,
    /// What the database can do.
    pub storage: Readiness,
    pub effects: VecDeque<Effect>,
    pub calls: Slab<Call>,
    pub turn: Turn,
    pub metrics: Metrics,
    pub ended: EndedSessions,
    pub crowd: Crowd,
    pub requests: Requests,
    pub streams: Streams,
    pub uploads: Uploads,
    pub background: Background,
    /// While the server drains: until when mails and look-ups in progress are waited for.
    background_until: Option<Instant>,
    /// `Date` is the same within a second.
    date: (UnixS, String),
}

impl Core {
    pub fn new(settings: Settings, start: Start, entropy: Box<dyn Entropy>, now: Now) -> Core {
        let (ended, tokens) = (start.ended.clone(), start.bot_tokens.clone());
        let mut core = Core::empty(settings, start, entropy, now);
        tokens.into_iter().for_each(|token| core.requests.bots.add(token));
        ended.into_iter().for_each(|(session, until)| core.session_ended(session, until));
        core
    }

    fn empty(settings: Settings, start: Start, entropy: Box<dyn Entropy>, now: Now) -> Core {
        let background = Background::new(&settings, &start, now.instant);
        let streams = Streams::new(&settings.limits.memory, settings.cluster.as_ref(), now.instant);
        let requests = Requests::new(settings.limits.memory.hashes, settings.cluster.is_some(), now);
        Core {
            settings,
            entropy,
            now,
            epoch: start.epoch.into(),
            head: start.head,
            storage: start.readiness,
            effects: VecDeque::new(),
            calls: Slab::new(),
            turn: Turn::default(),
            metrics: Metrics::new(now.unix_ms),
            ended: EndedSessions::default(),
            crowd: Crowd::default(),
            requests,
            streams,
            uploads: Uploads::default(),
            background,
            background_until: None,
            date: (UnixS(u64::MAX), String::new()),
        }
    }

    pub fn ctx(&mut self) -> Ctx<'_> {
        Ctx {
            now: self.now,
            entropy: &mut *self.entropy,
            settings: &self.settings,
            attempts: &mut self.requests.attempts,
            epoch: &self.epoch,
            head: self.head,
            proven: !self.storage.unproven,
            last_published: self.turn.last_published.message(),
            follow_ups: &mut self.turn.follow_ups,
        }
    }

    pub fn date(&mut self) -> &str {
        let second = self.now.unix_s();
        if self.date.0 != second {
            self.date = (second, imf_fixdate(second));
        }
        &self.date.1
    }

    /// How long a peer may take to close after our side has ended.
    pub fn linger_until(&self) -> Instant {
        self.now.instant + if self.is_draining() { DRAIN_LINGER } else { LINGER_DEADLINE }
    }

    /// Asks storage; the outcome comes back as an input.
    pub fn ask_store(&mut self, caller: Caller, command: Command, next: Next) -> Ticket {
        let ticket = self.calls.insert(Call { caller, next });
        let conn = caller.conn();
        self.effects.push_back(match command {
            Command::Write(write) => Effect::Write { ticket, lane: conn.lane(), write },
            Command::Read(read) => {
                Effect::Read { ticket, flow: self.requests.reads.asked(conn, ticket), read: Box::new(read) }
            }
            Command::BackUp(wanted) => Effect::BackUp { ticket, wanted },
        });
        ticket
    }

    /// Asks a reader on behalf of an account rather than of one connection.
    pub fn ask_read(&mut self, flow: Flow, read: impl Into<Read>, next: Next) {
        let ticket = self.calls.insert(Call { caller: Caller::Server, next });
        self.effects.push_back(Effect::Read { ticket, flow, read: Box::new(read.into()) });
    }

    /// Tells the other nodes of a cluster. Alone there is nobody to tell.
    pub fn whisper(&mut self, whisper: &Whisper) {
        if self.is_in_cluster() {
            self.effects.push_back(Effect::Whisper(whisper.to_bytes()));
        }
    }

    /// Whether other nodes apply the same log.
    pub fn is_in_cluster(&self) -> bool {
        self.settings.cluster.is_some()
    }

    /// Whether this node does the work that one node of a cluster does for all.
    pub fn has_duty(&self) -> bool {
        self.background.duty.is_held(self.now)
    }

    /// From now on no token of this session is accepted; `until` is the `exp` of the last one.
    pub fn session_ended(&mut self, session: SessionId, until: UnixS) {
        let access_ttl = Duration::from_secs(self.settings.limits.access_ttl);
        self.ended.add(session, until, access_ttl, self.now.instant);
    }

    /// The server stops: it finishes what was begun, refuses what is new, and waits so long for its own work in progress.
    pub fn begin_drain(&mut self, background: Duration) {
        self.background_until.get_or_insert(self.now.instant + background);
    }

    pub fn is_draining(&self) -> bool {
        self.background_until.is_some()
    }

    /// While the server drains: until when it waits for its own work in progress.
    pub fn background_until(&self) -> Option<Instant> {
        self.background_until
    }

    /// Records how much memory a connection's send queue holds now.
    pub fn charge(&mut self, conn: &mut Conn, held: usize) {
        let before = std::mem::replace(&mut conn.charged, held);
        if before != held {
            self.streams.backlog.change(conn.address, before, held, self.now.instant);
        }
    }

    /// Records from which client the request on a connection is: through a proxy, each request may be of another one.
    pub fn comes_from(&mut self, conn: &mut Conn, client: IpAddr) {
        let many =
            conn.listener_kind == ListenerKind::Control || self.settings.trusted_proxies.contains(client);
        let address = (!many).then(|| Prefix::innermost(client));
        if conn.address != address {
            let held = conn.charged;
            self.charge(conn, 0);
            conn.address = address;
            self.charge(conn, held);
        }
    }

    /// A connection's export, or the request for one, has ended.
    pub fn end_export(&mut self, conn: &mut Conn) {
        if let Some(member) = conn.exports.take() {
            self.streams.exports.ended(member);
        }
    }

    /// Releases what the upload of this connection reserved: the quota is free again, or its row counts from now on.
    pub fn release_reservation(&mut self, conn: &mut Conn) {
        if let Some(reservation) = conn.reservation.take() {
            self.uploads.reservations.give_back(*reservation);
        }
    }
}
