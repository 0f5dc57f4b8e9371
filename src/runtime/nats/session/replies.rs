//! What the session does with a reply, and what it concludes from a look at the stream.
//!
//! Leaves the requests to the session.

use std::time::Instant;

use super::{
    AUDITS_MAX, BEHIND_MIN, FETCH_PAUSE, Fetch, LED_MAX, LOOK_EVERY, MAKE_MAX, PROBE_AFTER, REFUSED_PAUSE,
    REQUEST_MAX, Session, Step, WATCH_EVERY,
};
use crate::proto::nats::jetstream::{self as js, ApiError, Holder, StreamInfo};
use crate::proto::nats::{Connection, Message, safety};
use crate::runtime::log::{LogClock, LogEvent, LogState};
use crate::runtime::nats::flight::Flown;
use crate::runtime::nats::{LogSurvey, SurveyedServer};

/// What `/readyz` says while entries are refused.
const REFUSED: &str = "the servers of the log take no entries now: their disks may be full. The log of this process says what they answer";

impl Session {
    pub(super) fn reply(&mut self, conn: &mut Connection, message: Message, now: Instant) {
        let start = self.setup.inbox.len() + ".r.".len();
        let Some((kind, number)) = message.subject.get(start..).and_then(|rest| rest.split_at_checked(1))
        else {
            return;
        };
        let Ok(number) = number.parse::<u32>() else { return };
        match (kind, self.step) {
            ("a", _) => {
                let flown = match unless_refused(&message, js::read_ack) {
                    Ok(stored) => self.flight.acknowledged(number, stored),
                    Err(error) => {
                        self.log_once(&format!("it takes no entry: {}", error.description));
                        let flown = self.flight.refused(number);
                        // A reply without this number is a status: nobody leads the log now.
                        if flown == Flown::Lost && error.err_code > 0 {
                            self.events.push(LogEvent::Refused(REFUSED));
                            return;
                        }
                        flown
                    }
                };
                self.flown(flown);
            }
            ("p", _) => {
                if let Some(probe) = self.probe.filter(|probe| probe.request == number)
                    && let Ok(stored) = unless_refused(&message, js::read_ack)
                {
                    self.flown(Flown::of(stored, probe.position));
                }
            }
            ("i", Step::Asking(request)) if request == number => {
                let stream = unless_refused(&message, js::read_stream);
                self.compare_clock(&stream, self.asked_at, now);
                self.asked(conn, stream, now);
            }
            ("i", _) if self.watch.is_some_and(|(request, _)| request == number) => {
                let sent_at = self.watch.take().map_or(now, |(_, at)| at);
                self.watch_at = now + if self.step == Step::Reading { WATCH_EVERY } else { LOOK_EVERY };
                let stream = unless_refused(&message, js::read_stream);
                self.compare_clock(&stream, sent_at, now);
                match stream {
                    Ok(stream) => self.look(conn, &stream, true, now),
                    Err(error) => {
                        log::debug!(target: "natter::cluster", "the stream can't be read: {}", error.description)
                    }
                }
            }
            ("c", Step::Creating(request)) if request == number => {
                match unless_refused(&message, js::read_consumer) {
                    Ok(_) => {
                        (self.step, self.heard_at) = (Step::Reading, now);
                        self.until = now + self.quiet_max();
                    }
                    Err(error) => {
                        self.log_once(&format!("no consumer can be made: {}", error.description));
                        self.step = Step::Waiting;
                        self.until = now + LOOK_EVERY;
                    }
                }
            }
            ("m" | "d", _) => {
                if let Some(fetch) = self.fetch.take_if(|fetch| fetch.request == number) {
                    let is_direct = kind == "d";
                    self.fetched(conn, message, is_direct, fetch, now);
                }
            }
            // The stream was deleted, or it was not: the next look shows it.
            ("x", Step::Waiting) => self.ask(conn, now),
            // An answer that came too late.
            _ => {}
        }
    }

    /// The server that leads the stream, which gives entries their times, has said what its clock shows.
    fn compare_clock(&mut self, stream: &Result<StreamInfo, ApiError>, asked_at: Instant, now: Instant) {
        if let Some(time) = stream.as_ref().ok().and_then(|stream| stream.time) {
            self.events.push(LogEvent::Clock(LogClock { asked_at, heard_at: now, time }));
        }
    }

    /// One entry that was asked for.
    fn fetched(
        &mut self,
        conn: &mut Connection,
        message: Message,
        is_direct: bool,
        fetch: Fetch,
        now: Instant,
    ) {
        let stored = if is_direct {
            js::read_direct(message).ok_or(0)
        } else {
            unless_refused(&message, js::read_message).map_err(|error| error.err_code)
        };
        match stored {
            Ok(stored) => {
                // A consumer may have delivered it meanwhile.
                if stored.seq == self.position() + 1 {
                    self.deliver(stored.seq, stored.time, stored.payload);
                }
                if self.step == Step::Fetching {
                    self.until = now + REQUEST_MAX;
                }
                if self.position() < fetch.upto && !self.hears_consumer(now) {
                    self.fetch(conn, fetch.upto, now);
                } else if self.step == Step::Fetching {
                    self.ask(conn, now);
                }
            }
            Err(ApiError::MESSAGE_NOT_FOUND) if self.step == Step::Fetching => {
                self.missing += 1;
                self.ask(conn, now);
            }
            // A replica that has not caught up, or no leader.
            Err(_) => self.fetch = Some(Fetch { until: now + FETCH_PAUSE, ..fetch }),
        }
    }

    fn asked(&mut self, conn: &mut Connection, stream: Result<StreamInfo, ApiError>, now: Instant) {
        match stream {
            Ok(stream) if self.setup.replaces && !self.has_replaced => {
                let request = self.request(conn, 'x', &js::stream_delete(&stream.name), b"");
                self.has_replaced = request.is_some();
                self.step = Step::Waiting;
                self.until = now + MAKE_MAX;
            }
            Ok(stream) => self.look(conn, &stream, false, now),
            Err(error) if error.err_code == ApiError::STREAM_NOT_FOUND && self.may_create() => {
                let body = js::stream_config(&self.setup.stream);
                let request = self.request(conn, 'i', &js::stream_create(&self.setup.stream.name), &body);
                self.step = request.map_or(Step::Waiting, Step::Asking);
                self.until = now + MAKE_MAX;
            }
            Err(error) if error.err_code == ApiError::STREAM_NOT_FOUND => {
                let name = &self.setup.stream.name;
                self.survey.is_missing = true;
                self.fail(
                    &format!("the stream {name} does not exist: make it with `natter cluster init`"),
                    now,
                );
            }
            Err(error) => self.fail(&format!("the stream can't be read: {}", error.description), now),
        }
    }

    /// Not in place of a stream that this node has read.
    fn may_create(&self) -> bool {
        self.setup.creates && self.seen.is_none() && self.position() == 0
    }

    /// Looks at the stream: can it be trusted now, and what is to be done.
    fn look(&mut self, conn: &mut Connection, stream: &StreamInfo, is_watch: bool, now: Instant) {
        if !stream.is_led(LED_MAX) {
            return self.fail("its leader does not hear a majority of its servers", now);
        }
        let identity = format!("{} of {}", stream.name, stream.created);
        // Nothing is written to a log that this node does not follow.
        let before = self.seen.as_ref().map(|before| &before.identity).or(self.setup.follows.as_ref());
        let is_other = before.is_some_and(|before| *before != identity);
        let is_ahead = stream.last_seq < self.position();
        if is_ahead && !is_other {
            let since = *self.ahead_since.get_or_insert(now);
            if now >= since + PROBE_AFTER {
                self.ask_by_probe(conn, now);
            }
            self.watch_at = self.watch_at.min(now + LOOK_EVERY);
            if !is_watch || now >= since + BEHIND_MIN {
                self.fail("its leader has less than this node has read", now);
            }
            return;
        }
        (self.ahead_since, self.probe) = (None, None);
        if self.setup.surveys {
            self.record(stream);
        }
        if !self.is_good(conn, stream, now) {
            return;
        }
        let next = self.position() + 1;
        if self.missing > 1 && stream.last_seq >= next && stream.first_seq <= next {
            return self.stop(format!(
                "the log has lost entry {next}, although it ends at {}: a disk of its servers may be damaged. This node has changed nothing: \
                 keep its DATA_DIR",
                stream.last_seq
            ));
        }
        let seen = LogState { identity, first: stream.first_seq.max(1), head: stream.last_seq };
        // Whether it is the log that the writer follows, and goes on where the writer is, is for the writer to judge.
        if is_other || seen.first > next {
            self.reported = None;
        }
        // At the look before, the stream held more than this node has read until now.
        let had_more = self.seen.as_ref().is_some_and(|before| before.head > self.position());
        let is_behind = self.step == Step::Reading && self.seen_at == self.position() && had_more;
        (self.seen_at, self.seen) = (self.position(), Some(seen));
        self.failures = 0;
        if !self.is_serving {
            self.is_serving = true;
            self.watch_at = now + WATCH_EVERY;
        }
        self.up();
        if is_watch {
            if is_behind {
                self.jump(conn, self.head() + 1, now);
            }
        } else if self.position.is_none() {
            self.step = Step::Waiting;
            self.until = now + WATCH_EVERY;
        } else if self.missing > 0 && self.is_behind() {
            self.step = Step::Fetching;
            self.until = now + REQUEST_MAX;
            self.fetch(conn, next, now);
        } else {
            self.missing = 0;
            self.consume(conn, now);
        }
    }

    fn record(&mut self, stream: &StreamInfo) {
        let server = |holder: &Holder| {
            let facts = self.facts.iter().find(|facts| facts.name == holder.name);
            SurveyedServer {
                name: holder.name.clone(),
                is_leader: holder.is_leader,
                is_reached: holder.is_leader || !holder.is_offline && holder.silent <= LED_MAX,
                version: facts.map(|facts| facts.version.clone()),
                syncs: facts.map(|facts| facts.sync_always),
            }
        };
        let servers = stream.holders.iter().map(server).collect();
        self.survey = LogSurvey { is_missing: false, is_lasting: false, servers, reason: String::new() };
        self.is_surveyed = true;
    }

    /// Whether the stream and the servers keep what they acknowledge. If not: what follows from that.
    fn is_good(&mut self, conn: &Connection, stream: &StreamInfo, now: Instant) -> bool {
        let mut faults = safety::payload_faults(conn.info(), self.setup.entry_bytes_max);
        if !self.setup.is_unsafe {
            if self.audits == 0 {
                self.wants_audit = true;
                self.step = Step::Waiting;
                self.until = now + REFUSED_PAUSE;
                return false;
            }
            faults.extend(safety::stream_faults(stream, &self.setup.stream));
            match &self.audit_fault {
                Some(reason) if self.facts.is_empty() => faults.push(reason.clone()),
                fault => {
                    let unasked = fault.as_deref().unwrap_or(self.setup.unasked);
                    faults.extend(safety::server_faults(stream, &self.facts, unasked));
                }
            }
        }
        if faults.is_empty() {
            self.was_good = true;
            return true;
        }
        let text = faults.join("; ");
        if !self.was_good && self.audits >= AUDITS_MAX {
            self.stop(format!("the log is not safe, so natter does not use it: {text}"));
        } else {
            // The servers may be starting, or come back after a repair.
            self.wants_audit = true;
            self.down("the log is not safe", &text);
            self.step = Step::Waiting;
            self.until = now + REFUSED_PAUSE;
        }
        false
    }
}

/// Reads a reply. A server that finds nobody who answers says so in the status.
fn unless_refused<T>(message: &Message, read: fn(&[u8]) -> Result<T, ApiError>) -> Result<T, ApiError> {
    match message.status() {
        Some(code) => {
            let description = match code {
                Message::NO_RESPONDERS => "no server leads it now".to_owned(),
                code => format!("status {code}"),
            };
            Err(ApiError { code, err_code: 0, description })
        }
        None => read(&message.payload),
    }
}
