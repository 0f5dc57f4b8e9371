//! The one channel of background errors: whoever fails where no caller waits says so here.
//! Owns when such an error is logged; refuses to decide what it means. Invariant: every report is counted, and every one
//! is in the log: as a line of its own, or in the count of a line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::time::Instant;

use super::inbox::Inbox;
use super::queue::lock;
use crate::model::metrics::ErrorKind;

/// Equal background errors are logged once in so long, then with their count.
const TROUBLE_WINDOW: Duration = Duration::from_secs(10);
/// Different messages of one kind logged in one window. Beyond: counted with the equal ones.
const TROUBLE_LINES_MAX: usize = 5;

#[derive(Clone)]
pub struct Background {
    inbox: Arc<Inbox>,
    windows: Arc<Mutex<Windows>>,
}

/// What was logged of each kind since its window began.
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

    /// Logs an error, or counts it with its equals, and tells the server of it.
    pub fn report(&self, trouble: ErrorKind, message: impl Display) {
        let message = message.to_string();
        let (repeated, first) = lock(&self.windows).note(trouble, &message, Instant::now());
        log_repeated(trouble, repeated);
        if first {
            log::error!(kind = trouble.name(); "{message}");
        }
        self.inbox.count(trouble);
    }

    /// Logs the counts whose window is over; all of them when `now` is `None`.
    pub fn flush(&self, now: Option<Instant>) {
        let over = lock(&self.windows).close(now);
        over.into_iter().for_each(|(trouble, repeated)| log_repeated(trouble, repeated));
    }

    /// When [`Background::flush`] has something to log.
    pub fn next_deadline(&self) -> Option<Instant> {
        lock(&self.windows).0.values().map(|window| window.ends).min()
    }
}

fn log_repeated(trouble: ErrorKind, repeated: u64) {
    if repeated > 0 {
        log::error!(kind = trouble.name(), repeated = repeated; "errors of this kind were repeated");
    }
}

impl Windows {
    /// The repetitions of a window that is over and was not flushed, and whether this message gets its own line.
    fn note(&mut self, trouble: ErrorKind, message: &str, now: Instant) -> (u64, bool) {
        let old =
            self.0.get(&trouble).filter(|window| window.ends <= now).map_or(0, |window| window.repeated);
        if self.0.get(&trouble).is_some_and(|window| window.ends <= now) {
            self.0.remove(&trouble);
        }
        let window = self.0.entry(trouble).or_insert_with(|| Window {
            ends: now + TROUBLE_WINDOW,
            lines: Vec::new(),
            repeated: 0,
        });
        let first = window.lines.len() < TROUBLE_LINES_MAX && window.lines.iter().all(|line| line != message);
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
            assert_eq!(windows.note(kind, message, at(second)), expect, "{message} at {second}");
        };
        check(ErrorKind::Commit, "disk I/O error", 0, (0, true));
        check(ErrorKind::Commit, "disk I/O error", 1, (0, false));
        check(ErrorKind::Commit, "locked", 2, (0, true));
        check(ErrorKind::Accept, "disk I/O error", 2, (0, true));
        check(ErrorKind::Commit, "disk I/O error", 9, (0, false));
        check(ErrorKind::Commit, "disk I/O error", 10, (2, true));
        for line in 1..TROUBLE_LINES_MAX {
            check(ErrorKind::Commit, &line.to_string(), 11, (0, true));
        }
        check(ErrorKind::Commit, "one more", 11, (0, false));
        assert_eq!(windows.close(Some(at(12))), [(ErrorKind::Accept, 0)]);
        assert_eq!(windows.close(None), [(ErrorKind::Commit, 1)]);
    }
}
