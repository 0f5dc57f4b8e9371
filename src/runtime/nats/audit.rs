//! Asks all servers of the cluster what they are: once before the log is used, and every half minute.
//!
//! The question goes to the system account, on a connection of its own for as long as it takes. Every server answers by itself, so
//! nobody knows how many answers there will be. Leaves what is demanded of them to `proto/nats/safety`.
//! Invariant: an audit ends after [`GATHER_MAX`] at the latest once it has asked.

use std::time::{Duration, Instant};

use crate::proto::nats::jetstream::{self as js, ServerFacts};
use crate::proto::nats::{Connection, Message};

/// Time between two audits: a server may come back with another configuration.
pub(super) const AUDIT_EVERY: Duration = Duration::from_secs(30);
/// How long answers are gathered.
const GATHER_MAX: Duration = Duration::from_millis(600);
/// Servers of one cluster that are listened to.
const ANSWERS_MAX: usize = 64;

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
    pub(super) fn result(&mut self, now: Instant) -> Option<Result<Vec<ServerFacts>, String>> {
        if self.is_refused || self.until.is_some_and(|until| now >= until) && self.facts.is_empty() {
            let text = "the servers can't be asked whether they sync: configure a user of the system account";
            return Some(Err(text.to_owned()));
        }
        self.until.is_some_and(|until| now >= until).then(|| Ok(std::mem::take(&mut self.facts)))
    }
}
