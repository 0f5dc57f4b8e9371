//! The thread of the log: its sockets, its clock, and the servers one after another.
//!
//! Owns the connections, and when the next one is tried. Leaves what is said on them to the session and to the audit.
//! Invariant: each turn takes what waits, handles what has come, sends, and only then reports: an event that waits for its
//! receiver delays the next turn, never what was already answered.

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::audit::{AUDIT_EVERY, Audit, Found, Monitors, unasked};
use super::link::{Link, READ_BUFFER, resolve};
use super::session::{Session, Setup};
use super::{LogEvent, NatsOptions, OnWhisper, Shared, Wake};
use crate::proto::nats::{Credentials, Event, Fault, Options, Servers};
use crate::runtime::queue::lock;

pub(super) const WAKER: Token = Token(0);
const MAIN: Token = Token(1);
const AUDIT: Token = Token(2);
/// A turn comes at least this often.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The servers are being asked what they are.
enum Auditing {
    /// As the user of the system account.
    Account(Box<Link>, Audit),
    Monitors(Monitors),
}

struct Client<'a> {
    options: &'a NatsOptions,
    shared: &'a Arc<Shared>,
    poll: Poll,
    servers: Servers,
    /// Addresses of the current server that were not tried yet.
    addresses: VecDeque<SocketAddr>,
    /// When the next connection is tried, while there is none.
    connect_at: Instant,
    link: Option<Link>,
    session: Session,
    audit: Option<Auditing>,
    audit_at: Instant,
    /// The writer has not taken what came: the socket is not read.
    is_full: bool,
    /// What a server has refused and an operator must correct, since one has served.
    refusal: Option<String>,
    /// The address of the current connection, which the audit uses too.
    address: Option<SocketAddr>,
    buffer: Vec<u8>,
}

pub(super) fn run(
    options: &NatsOptions,
    poll: Poll,
    shared: &Arc<Shared>,
    wake: &Wake,
    on_whisper: OnWhisper,
) -> io::Result<()> {
    let now = Instant::now();
    let setup = Setup {
        stream: options.stream(),
        whispers: ["natter.", &options.cluster, ".w"].concat(),
        inbox: ["_INBOX.", &options.process].concat(),
        creates: options.creates,
        replaces: options.replaces,
        surveys: options.surveys,
        is_unsafe: options.is_unsafe,
        unasked: unasked(options),
        probe: options.probe.clone(),
        follows: options.follows.clone(),
        entry_bytes_max: options.entry_bytes_max,
    };
    let mut client = Client {
        options,
        shared,
        poll,
        servers: options.servers.clone(),
        addresses: VecDeque::new(),
        connect_at: now,
        link: None,
        session: Session::new(setup, on_whisper, now),
        audit: None,
        audit_at: now + AUDIT_EVERY,
        refusal: None,
        address: None,
        is_full: false,
        buffer: vec![0; READ_BUFFER],
    };
    let mut ready = Events::with_capacity(16);
    let (mut events, mut more) = (Vec::new(), false);
    loop {
        let timeout = if more { Duration::ZERO } else { client.wait() };
        match client.poll.poll(&mut ready, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        if !client.take(shared, now) {
            return Ok(());
        }
        more = client.turn(now);
        client.session.take_events(&mut events);
        let survey = client.session.take_survey();
        let is_surveyed = survey.is_some();
        if let Some(survey) = survey {
            lock(&shared.exchange).survey = survey;
        }
        if client.report(shared, &mut events) | is_surveyed {
            wake();
        }
    }
}

impl Client<'_> {
    /// Until when nothing is due.
    fn wait(&self) -> Duration {
        if self.is_full {
            // The writer wakes the thread.
            return TURN_MAX;
        }
        let link = match &self.link {
            Some(link) => link.deadline(),
            None => self.connect_at,
        };
        let audit = match &self.audit {
            Some(Auditing::Account(link, audit)) => Some(audit.deadline().unwrap_or_else(|| link.deadline())),
            // Their thread wakes this one.
            Some(Auditing::Monitors(_)) => None,
            None => Some(self.audit_at),
        };
        let now = Instant::now();
        let until = [Some(link), audit, self.session.deadline()].into_iter().flatten().min();
        until.map_or(TURN_MAX, |until| until.saturating_duration_since(now).min(TURN_MAX))
    }

    /// Takes what the writer has queued. Returns `false` at the end.
    fn take(&mut self, shared: &Shared, now: Instant) -> bool {
        let mut exchange = lock(&shared.exchange);
        let (appends, whispers) = (take(&mut exchange.appends), take(&mut exchange.whispers));
        let (read_after, has_dropped) = (exchange.read_after.take(), take(&mut exchange.has_dropped));
        self.is_full = exchange.is_full();
        let is_closed = exchange.is_closed;
        drop(exchange);
        if let Some(position) = read_after {
            self.session.read_after(self.link.as_mut().map(|link| &mut link.connection), position, now);
        }
        if let Some(link) = &mut self.link {
            appends.iter().for_each(|sealed| self.session.append(&mut link.connection, sealed, now));
            whispers.iter().for_each(|message| self.session.whisper(&mut link.connection, message));
        }
        if has_dropped {
            self.session.dropped();
        }
        !is_closed
    }

    /// Gives the writer what is new. Returns whether it is anything.
    fn report(&mut self, shared: &Shared, events: &mut Vec<LogEvent>) -> bool {
        if events.is_empty() {
            return false;
        }
        let mut exchange = lock(&shared.exchange);
        if exchange.read_after.is_some() {
            // They are of before.
            events.retain(|event| !matches!(event, LogEvent::Delivered { .. }));
        }
        if events.iter().any(is_clock) {
            // One is enough, however long the writer takes.
            exchange.events.retain(|event| !is_clock(event));
        }
        let bytes = events.iter().map(|event| match event {
            LogEvent::Delivered { sealed, .. } => sealed.len(),
            _ => 0,
        });
        exchange.delivered_bytes += bytes.sum::<usize>();
        exchange.events.append(events);
        self.is_full = exchange.is_full();
        true
    }

    /// One turn. Returns whether more bytes may be waiting.
    fn turn(&mut self, now: Instant) -> bool {
        if self.link.is_none() && now >= self.connect_at {
            self.connect(now);
        }
        let mut more = false;
        if let Some(mut link) = self.link.take() {
            match self.serve(&mut link, now) {
                Ok(waits) => {
                    more = waits;
                    self.link = Some(link);
                }
                Err(fault) => self.lost(link, fault, now),
            }
        }
        more | self.audit(now)
    }

    fn serve(&mut self, link: &mut Link, now: Instant) -> Result<bool, Fault> {
        if self.is_full {
            // The socket is not read, so its silence means nothing.
            link.pause(now);
            link.flush()?;
            return Ok(false);
        }
        let received = link.receive(&mut self.buffer, now);
        // What came before an end of the connection still counts.
        while let Some(event) = link.event() {
            match event {
                Event::Ready => self.session.connected(&mut link.connection, now),
                Event::Message(message) => self.session.message(&mut link.connection, message, now),
                Event::Denied(reason) => self.session.denied(&reason, now),
                Event::Retiring => return Err(Fault::Failed("the server ends".to_owned())),
                Event::Failed(fault) => return Err(fault),
                Event::Pong | Event::StartTls => {}
            }
        }
        let more = received?;
        link.tick(now)?;
        if link.connection.is_ready() {
            self.session.tick(&mut link.connection, now);
        }
        if self.session.is_serving() {
            self.servers.succeeded();
            self.refusal = None;
        }
        if let Some(reason) = self.session.take_leave() {
            return Err(Fault::Failed(reason));
        }
        link.flush()?;
        Ok(more)
    }

    fn connect(&mut self, now: Instant) {
        let server = self.servers.current();
        if self.addresses.is_empty() {
            match resolve(server) {
                Ok(addresses) => self.addresses = addresses,
                Err(fault) => return self.failed(&fault, now),
            }
        }
        let Some(address) = self.addresses.pop_front() else {
            return self.failed(&Fault::Failed("its name has no address".to_owned()), now);
        };
        self.address = Some(address);
        match self.open(address, &self.options.credentials, MAIN, now) {
            Ok(link) => self.link = Some(link),
            Err(fault) => self.failed(&fault, now),
        }
    }

    fn open(
        &self,
        address: SocketAddr,
        credentials: &Credentials,
        token: Token,
        now: Instant,
    ) -> Result<Link, Fault> {
        let server = self.servers.current();
        let options = Options {
            tls: server.tls,
            credentials: credentials.clone(),
            name: ["natter ", &self.options.node].concat(),
            echo: false,
        };
        let trust = &self.options.trust;
        Link::open(address, &server.host, options, trust, self.poll.registry(), token, now)
    }

    fn lost(&mut self, mut link: Link, fault: Fault, now: Instant) {
        // The last bytes may be a TLS alert with the reason.
        if link.flush().is_err() {
            log::trace!(target: "natter::cluster", "the last bytes were not sent");
        }
        if link.connection.is_ready() {
            self.addresses.clear();
        }
        drop(link);
        self.failed(&fault, now);
    }

    /// The next address is tried, or the next server after a pause.
    fn failed(&mut self, fault: &Fault, now: Instant) {
        let server = self.servers.current();
        let (Fault::Failed(reason) | Fault::Misconfigured(reason)) = fault;
        let reason = format!("{}:{}: {reason}", server.host, server.port);
        self.session.disconnected(&reason);
        if matches!(fault, Fault::Misconfigured(_)) {
            self.refusal = Some(reason);
        }
        self.connect_at = if self.addresses.is_empty() { now + self.servers.failed() } else { now };
        // Another server may accept what one refuses.
        if let Some(refusal) = self.refusal.as_ref().filter(|_| self.servers.have_all_failed()) {
            self.session.refused(refusal);
        }
    }

    /// Asks the servers when it is time. Returns whether more bytes may be waiting.
    fn audit(&mut self, now: Instant) -> bool {
        let is_ready = self.link.as_ref().is_some_and(|link| link.connection.is_ready());
        let is_due = self.session.take_wants_audit() || now >= self.audit_at;
        if self.audit.is_none() && is_due {
            self.audit_at = now + AUDIT_EVERY;
            let Some(address) = self.address.filter(|_| is_ready && !self.options.is_unsafe) else {
                return false;
            };
            match self.begin_audit(address, now) {
                Ok(audit) => self.audit = Some(audit),
                Err(reason) => self.session.audited(Found::failed(reason), now),
            }
        }
        let found = match &mut self.audit {
            None => return false,
            Some(Auditing::Monitors(monitors)) => match monitors.result() {
                None => return false,
                Some(found) => found,
            },
            Some(Auditing::Account(link, audit)) => match advance(link, audit, &mut self.buffer, now) {
                Ok((more, None)) => return more,
                Ok((_, Some(found))) => found,
                Err(fault) => Found::failed(audit_fault(&fault)),
            },
        };
        self.session.audited(found, now);
        self.audit = None;
        // What follows from it is done in the next turn.
        true
    }

    fn begin_audit(&self, address: SocketAddr, now: Instant) -> Result<Auditing, String> {
        if !self.options.monitors.is_empty() {
            return Monitors::ask(self.options, self.shared)
                .map(Auditing::Monitors)
                .map_err(|error| format!("there is no thread that asks the monitoring ports: {error}"));
        }
        let credentials = self.options.system.as_ref().unwrap_or(&self.options.credentials);
        let link = self.open(address, credentials, AUDIT, now).map_err(|fault| audit_fault(&fault))?;
        let audit = Audit::new(&["_INBOX.", &self.options.process].concat());
        Ok(Auditing::Account(Box::new(link), audit))
    }
}

fn is_clock(event: &LogEvent) -> bool {
    matches!(event, LogEvent::Clock(_))
}

fn advance(
    link: &mut Link,
    audit: &mut Audit,
    buffer: &mut [u8],
    now: Instant,
) -> Result<(bool, Option<Found>), Fault> {
    let received = link.receive(buffer, now);
    while let Some(event) = link.event() {
        match event {
            Event::Ready if !audit.connected(&mut link.connection, now) => {
                return Err(Fault::Failed("it takes no question".to_owned()));
            }
            Event::Message(message) => audit.message(&message),
            Event::Denied(_) => audit.denied(),
            Event::Failed(fault) => return Err(fault),
            Event::Ready | Event::Retiring | Event::Pong | Event::StartTls => {}
        }
    }
    let found = audit.result(now);
    if found.is_some() {
        return Ok((false, found));
    }
    let more = received?;
    link.tick(now)?;
    link.flush()?;
    Ok((more, None))
}

fn audit_fault(fault: &Fault) -> String {
    let (Fault::Failed(reason) | Fault::Misconfigured(reason)) = fault;
    format!("the servers can't be asked whether they sync, as the user of the system account: {reason}")
}
