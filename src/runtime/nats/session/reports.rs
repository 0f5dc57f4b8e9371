//! What the writer and the operator are told of the log: that it is up, that it is down and why, and that the node must stop.
//!
//! Invariant: nothing is told twice in a row.

use std::time::Instant;

use super::{FAILURES_MAX, PAUSE, Session, Step};
use crate::runtime::log::{LogEvent, LogState};

/// What was reported last, so that nothing is reported twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reported {
    Up(LogState),
    Down(&'static str),
}

impl Session {
    /// A step did not succeed: again after a pause, and after some on another server.
    pub(super) fn fail(&mut self, reason: &str, now: Instant) {
        self.down("the log has no leader, or this node is cut off from it", reason);
        self.failures += 1;
        if self.failures >= FAILURES_MAX {
            self.leave = Some(reason.to_owned());
        }
        self.step = Step::Waiting;
        self.until = now + PAUSE;
    }

    pub(super) fn stop(&mut self, reason: String) {
        self.is_serving = false;
        self.step = Step::Stopped;
        self.events.push(LogEvent::Broken(reason));
    }

    /// The stream was good at the last look. Whether it takes entries is seen by the writer.
    pub(super) fn up(&mut self) {
        if let Some(seen) = &self.seen {
            // Another head is no news.
            if !matches!(self.reported, Some(Reported::Up(_))) {
                self.logged.clear();
                log::info!(target: "natter::cluster", "the log is up at entry {}", seen.head);
                self.report(Reported::Up(seen.clone()));
            }
        }
    }

    /// `state` is for `/readyz`, `reason` for the log.
    pub(super) fn down(&mut self, state: &'static str, reason: &str) {
        self.is_serving = false;
        self.log_once(reason);
        self.report(Reported::Down(state));
    }

    fn report(&mut self, reported: Reported) {
        if self.reported.as_ref() != Some(&reported) {
            self.events.push(match &reported {
                Reported::Up(state) => LogEvent::Up(state.clone()),
                Reported::Down(reason) => LogEvent::Down(reason),
            });
            self.reported = Some(reported);
        }
    }

    pub(super) fn log_once(&mut self, reason: &str) {
        if self.setup.surveys {
            reason.clone_into(&mut self.survey.reason);
            self.is_surveyed = true;
        }
        if self.logged != reason {
            reason.clone_into(&mut self.logged);
            log::warn!(target: "natter::cluster", "the log: {reason}");
        }
    }
}
