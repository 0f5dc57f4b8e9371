//! Asks all servers of the cluster what they are: once before the log is used, and every half minute.
//!
//! The question goes to the system account, on a connection of its own for as long as it takes. Every server answers by itself, so
//! nobody knows how many answers there will be. Without a user of that account the monitoring ports are asked, by a thread of its own,
//! since those requests wait. Leaves what is demanded of the servers to `proto/nats/safety`.
//! Invariant: an audit ends after [`GATHER_MAX`] at the latest once it has asked; at monitoring ports, after the limits of
//! `work::monitors`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::{NatsOptions, Shared};
use crate::proto::nats::jetstream::{self as js, ServerFacts};
use crate::proto::nats::{Connection, Message};
use crate::work::monitors;

/// Time between two audits: a server may come back with another configuration.
pub(super) const AUDIT_EVERY: Duration = Duration::from_secs(30);
/// How long answers are gathered.
const GATHER_MAX: Duration = Duration::from_millis(600);
/// Servers of one cluster that are listened to.
const ANSWERS_MAX: usize = 64;

/// What an audit has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What the servers say of themselves.
    pub(super) facts: Vec<ServerFacts>,
    /// Why some or all could not be asked.
    pub(super) fault: Option<String>,
}

impl Found {
    pub(super) fn failed(reason: String) -> Found {
        Found { facts: Vec::new(), fault: Some(reason) }
    }
}

/// Why a server may not have answered, if nothing else is known.
pub(super) fn unasked(options: &NatsOptions) -> &'static str {
    match options.monitors.is_empty() {
        true => "is it running, and is the user of the system account right?",
        false => "no URL of CLUSTER_MONITORS is that of its monitoring port",
    }
}

/// The monitoring ports, while they are asked.
pub(super) struct Monitors(Receiver<Found>);

impl Monitors {
    /// Asks. The thread of the log is woken when they have answered.
    pub(super) fn ask(options: &NatsOptions, shared: &Arc<Shared>) -> io::Result<Monitors> {
        let (sender, receiver) = sync_channel(1);
        let (urls, trust, shared) = (options.monitors.clone(), options.trust.clone(), Arc::clone(shared));
        std::thread::Builder::new().name("monitors".to_owned()).spawn(move || {
            let (facts, fault) = monitors::ask(&urls, &trust);
            // The log may have been closed meanwhile.
            if sender.send(Found { facts, fault }).is_ok() {
                shared.wake();
            }
        })?;
        Ok(Monitors(receiver))
    }

    /// What they have answered, when they have.
    pub(super) fn result(&self) -> Option<Found> {
        match self.0.try_recv() {
            Ok(found) => Some(found),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Found::failed("the thread that asks the monitoring ports panicked".to_owned()))
            }
        }
    }
}

pub(super) struct Audit {
    /// Where answers go.
    inbox: String,
    facts: Vec<ServerFacts>,
    until: Option<Instant>,
    /// Nobody may answer this user.
    is_refused: bool,
}

impl Audit {
    pub(super) fn new(inbox: &str) -> Audit {
        Audit { inbox: [inbox, ".v"].concat(), facts: Vec::new(), until: None, is_refused: false }
    }

    /// The server has accepted us: asks. Returns `false` if it takes no question.
    pub(super) fn connected(&mut self, conn: &mut Connection, now: Instant) -> bool {
        self.until = Some(now + GATHER_MAX);
        conn.subscribe(&self.inbox, 1).and(conn.publish(js::SERVERS, &self.inbox, b"{}")).is_ok()
    }

    pub(super) fn message(&mut self, message: &Message) {
        if message.status() == Some(Message::NO_RESPONDERS) {
            self.is_refused = true;
        } else if self.facts.len() < ANSWERS_MAX {
            self.facts.extend(js::read_server(&message.payload));
        }
    }

    /// The server forbids the question.
    pub(super) fn denied(&mut self) {
        self.is_refused = true;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// What the servers have answered, when it is time.
    pub(super) fn result(&mut self, now: Instant) -> Option<Found> {
        if self.is_refused || self.until.is_some_and(|until| now >= until) && self.facts.is_empty() {
            let text = "the servers can't be asked whether they sync: configure a user of the system account, or CLUSTER_MONITORS";
            return Some(Found::failed(text.to_owned()));
        }
        let is_over = self.until.is_some_and(|until| now >= until);
        is_over.then(|| Found { facts: std::mem::take(&mut self.facts), fault: None })
    }
}
