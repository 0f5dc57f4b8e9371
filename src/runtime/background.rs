//! The one channel for background errors: failures for which no caller waits.
//!
//! Owns when such an error is logged. Does not decide what it means.
//! Invariant: every report is counted, and every report is in the log: as its own line, or in the count of a line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::time::Instant;

use super::inbox::Inbox;
use super::queue::lock;
use crate::model::metrics::ErrorKind;

/// Equal background errors are logged once in this time, then with their count.
const ERROR_WINDOW: Duration = Duration::from_secs(10);
/// Different messages of one kind logged in one window. Further ones are counted with the equal ones.
const ERROR_LINES_MAX: usize = 5;

#[derive(Clone)]
pub struct Background {
    inbox: Arc<Inbox>,
    windows: Arc<Mutex<Windows>>,
}

/// The messages logged of each kind since its window began.
#[derive(Default)]
struct Windows(BTreeMap<ErrorKind, Window>);

struct Window {
    ends: Instant,
    lines: Vec<String>,
    repeated: u64,
}

impl Background {
    pub fn new(inbox: Arc<Inbox>) -> Background {
        Background { inbox, windows: Arc::default() }
    }

    /// Logs an error, or counts it if an equal one was logged, and informs the server.
    pub fn report(&self, kind: ErrorKind, message: impl Display) {
        let message = message.to_string();
        let (repeated, first) = lock(&self.windows).record(kind, &message, Instant::now());
        log_repeated(kind, repeated);
        if first {
            log::error!(kind = kind.name(); "{message}");
        }
        self.inbox.count(kind, message);
    }

    /// Logs the counts whose window is over; all of them if `now` is `None`.
    pub fn flush(&self, now: Option<Instant>) {
        let over = lock(&self.windows).close(now);
        over.into_iter().for_each(|(kind, repeated)| log_repeated(kind, repeated));
    }

    /// The time when [`Background::flush`] has something to log.
    pub fn next_deadline(&self) -> Option<Instant> {
        lock(&self.windows).0.values().map(|window| window.ends).min()
    }
}

fn log_repeated(kind: ErrorKind, repeated: u64) {
    if repeated > 0 {
        log::error!(kind = kind.name(), repeated = repeated; "errors of this kind were repeated");
    }
}

impl Windows {
    /// Returns the repetitions of a window that ended without a flush, and whether this message gets its own line.
    fn record(&mut self, kind: ErrorKind, message: &str, now: Instant) -> (u64, bool) {
        let old = self.0.get(&kind).filter(|window| window.ends <= now).map_or(0, |window| window.repeated);
        if self.0.get(&kind).is_some_and(|window| window.ends <= now) {
            self.0.remove(&kind);
        }
        let window = self.0.entry(kind).or_insert_with(|| Window {
            ends: now + ERROR_WINDOW,
            lines: Vec::new(),
            repeated: 0,
        });
        let first = window.lines.len() < ERROR_LINES_MAX && window.lines.iter().all(|line| line != message);
        if first {
            window.lines.push(message.to_owned());
        } else {
            window.repeated += 1;
        }
        (old, first)
    }

    fn close(&mut self, now: Option<Instant>) -> Vec<(ErrorKind, u64)> {
        let over = |window: &Window| now.is_none_or(|now| window.ends <= now);
        let counts = self.0.iter().filter(|(_, window)| over(window)).map(|(kind, w)| (*kind, w.repeated));
        let counts = counts.collect();
        self.0.retain(|_, window| !over(window));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn equal_errors_are_one_line_and_a_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut windows = Windows::default();
        let mut check = |kind, message: &str, second, expect| {
            assert_eq!(windows.record(kind, message, at(second)), expect, "{message} at {second}");
        };
        check(ErrorKind::Commit, "disk I/O error", 0, (0, true));
        check(ErrorKind::Commit, "disk I/O error", 1, (0, false));
        check(ErrorKind::Commit, "locked", 2, (0, true));
        check(ErrorKind::Accept, "disk I/O error", 2, (0, true));
        check(ErrorKind::Commit, "disk I/O error", 9, (0, false));
        check(ErrorKind::Commit, "disk I/O error", 10, (2, true));
        for line in 1..ERROR_LINES_MAX {
            check(ErrorKind::Commit, &line.to_string(), 11, (0, true));
        }
        check(ErrorKind::Commit, "one more", 11, (0, false));
        assert_eq!(windows.close(Some(at(12))), [(ErrorKind::Accept, 0)]);
        assert_eq!(windows.close(None), [(ErrorKind::Commit, 1)]);
    }
}
