//! The consumer: how it is made, what it delivers, and what is done when it skips.
//!
//! Leaves the stream that it reads to `replies`. Invariant: an entry is delivered only behind the one before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CONSUMERS, Fetch, JUMPS_MAX, MAKE_MAX, REQUEST_MAX, Session, Step};
use crate::base::time::UnixMs;
use crate::proto::nats::jetstream::{self as js, Place};
use crate::proto::nats::{Connection, Message};
use crate::runtime::log::LogEvent;

/// How often an idle consumer shows that it lives. JetStream allows no less than 100 ms.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(200);
/// A consumer that nobody listens to ends after this.
const CONSUMER_IDLE: Duration = Duration::from_secs(5);

impl Session {
    /// Makes a consumer that begins behind the position.
    pub(super) fn consume(&mut self, conn: &mut Connection, now: Instant) {
        let old = CONSUMERS.wrapping_add(self.consumers);
        self.consumers = self.consumers.wrapping_add(1);
        let deliver = format!("{}.d.{}", self.setup.inbox, self.consumers);
        let name = &self.setup.stream.name;
        let body = js::consumer_config(name, &deliver, self.position() + 1, HEARTBEAT, CONSUMER_IDLE);
        let subject = js::consumer_create(name);
        let subscribed =
            conn.unsubscribe(old).and(conn.subscribe(&deliver, CONSUMERS.wrapping_add(self.consumers)));
        let request = self.request(conn, 'c', &subject, &body).filter(|_| subscribed.is_ok());
        self.step = request.map_or(Step::Waiting, Step::Creating);
        self.until = now + MAKE_MAX;
    }

    pub(super) fn delivery(&mut self, conn: &mut Connection, message: Message, now: Instant) {
        let is_reading = matches!(self.step, Step::Reading | Step::Creating(_));
        if is_reading {
            (self.silent_consumers, self.heard_at) = (0, now);
            self.until = self.until.max(now + self.quiet_max());
        }
        match message.status() {
            None => {}
            Some(Message::CONTROL) => {
                if let Some(subject) = message.flow_control()
                    && conn.publish(subject, "", b"").is_err()
                {
                    log::debug!(target: "natter::cluster", "an answer for flow control was not sent");
                }
                let last = message.header("Nats-Last-Stream").and_then(|last| last.parse().ok());
                // It says that it has delivered more than has come.
                if let Some(last) = last.filter(|&last: &u64| last > self.position() && is_reading) {
                    self.jump(conn, last + 1, now);
                }
                return;
            }
            // It was deleted, or its server ends.
            Some(_) if is_reading => return self.ask(conn, now),
            Some(_) => return,
        }
        let Some(place) = message.reply.as_deref().and_then(Place::of) else { return };
        if place.stream_seq == self.position() + 1 {
            self.deliver(place.stream_seq, place.time, message.payload);
        } else if place.stream_seq > self.position() && is_reading {
            self.jump(conn, place.stream_seq, now);
        }
    }

    pub(super) fn deliver(&mut self, position: u64, time: UnixMs, sealed: Vec<u8>) {
        self.position = Some(position);
        (self.jumps, self.missing) = (0, 0);
        self.events.push(LogEvent::Delivered { position, time, sealed: Arc::from(sealed) });
    }

    /// Entries before `seen` are missing.
    pub(super) fn jump(&mut self, conn: &mut Connection, seen: u64, now: Instant) {
        let position = self.position();
        log::warn!(target: "natter::cluster", "the log skipped from entry {position} to {seen}: what is between is asked for again");
        self.jumps += 1;
        if self.jumps <= JUMPS_MAX {
            return self.ask(conn, now);
        }
        self.step = Step::Fetching;
        self.until = now + REQUEST_MAX;
        self.fetch(conn, seen - 1, now);
    }

    /// Asks for the next entry, and then for those behind it up to `upto`.
    pub(super) fn fetch(&mut self, conn: &mut Connection, upto: u64, now: Instant) {
        let body = js::message_by_seq(self.position() + 1);
        let name = &self.setup.stream.name;
        let request = if self.step == Step::Fetching {
            self.request(conn, 'm', &js::message_get(name), &body)
        } else {
            self.request(conn, 'd', &js::message_get_direct(name), &body)
        };
        self.fetch = request.map(|request| Fetch { request, upto, until: now + REQUEST_MAX });
    }
}
