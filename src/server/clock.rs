//! The server's own time: the monotonic clock without the time in which the process did not run.
//!
//! The process does not run while it is stopped (SIGSTOP), the machine sleeps or a hypervisor takes a snapshot. What clients
//! sent in that time was not read, so it does not count as their silence, and every deadline moves by it. This also notices
//! when the calendar clock was set, since a token's Unix seconds are a deadline on the monotonic clock here.
//!
//! Owns the difference between the two; leaves to `server` what follows from a step of the calendar clock.
//! Invariant: own time never runs backwards and never faster than the monotonic clock.

use std::time::{Duration, Instant};

use crate::base::time::{Now, UnixS};

/// If the loop comes back this much later than the deadline it asked for, the process did not run. Less is a busy machine.
const STANDSTILL: Duration = Duration::from_secs(1);
/// How far the calendar clock may drift from the monotonic one before deadlines are derived again.
const STEP_MS: u64 = 1_000;

pub struct Clock {
    /// The last reading, as it was read.
    read: Instant,
    /// Time in which the process did not run.
    lost: Duration,
    /// A reading of both clocks: from it follows where the calendar clock would be if it had not been set since.
    reference: Now,
}

impl Clock {
    pub fn new(now: Now) -> Clock {
        Clock { read: now.instant, lost: Duration::ZERO, reference: now }
    }

    /// Turns a reading into own time, and says whether the calendar clock was set. `deadline` is the first deadline in own time:
    /// a process that runs comes back at the latest then.
    pub fn take(&mut self, read: Now, deadline: impl FnOnce() -> Option<Instant>) -> (Now, bool) {
        let before = self.read.checked_sub(self.lost).unwrap_or(self.read);
        self.read = self.read.max(read.instant);
        let mut instant = self.read.checked_sub(self.lost).unwrap_or(self.read);
        if instant.saturating_duration_since(before) > STANDSTILL {
            let expected = deadline().map_or(instant, |deadline| deadline.max(before));
            let late = instant.saturating_duration_since(expected);
            if late > STANDSTILL {
                self.lost += late;
                instant = expected;
            }
        }
        let now = Now { instant, unix_ms: read.unix_ms };
        let elapsed = instant.saturating_duration_since(self.reference.instant).as_millis() as u64;
        let is_set = read.unix_ms.0.abs_diff(self.reference.unix_ms.after(elapsed).0) > STEP_MS;
        if is_set {
            self.reference = now;
        }
        (now, is_set)
    }

    /// When the monotonic clock will read what own time calls `at`.
    pub fn read_at(&self, at: Instant) -> Instant {
        at + self.lost
    }
}

/// The earliest of any number of deadlines, some of which may not be set.
pub fn soonest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}

/// The instant of a Unix second, for expiries that the wire states in seconds.
pub fn instant_of(now: Now, unix_s: UnixS) -> Instant {
    let ms = unix_s.ms().since(now.unix_ms);
    // A token may say it expires in the year 9999; a deadline a year ahead is as good.
    now.instant + Duration::from_millis(ms.min(31_536_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::UnixMs;

    #[test]
    fn time_beyond_the_deadline_does_not_count_and_the_calendar_is_watched() {
        let start = Now { instant: Instant::now(), unix_ms: UnixMs(1_000_000) };
        let at = |ms: u64| start.later(Duration::from_millis(ms));
        let mut clock = Clock::new(start);
        let mut check = |read: Now, deadline_ms: Option<u64>, own_ms: u64, is_set: bool| {
            let (own, set) = clock.take(read, || deadline_ms.map(|ms| at(ms).instant));
            assert_eq!(
                (own.instant, own.unix_ms, set),
                (at(own_ms).instant, read.unix_ms, is_set),
                "{read:?}"
            );
            clock.read_at(own.instant)
        };
        check(at(500), Some(10), 500, false); // a busy machine
        check(at(30_000), Some(30_000), 30_000, false); // a quiet one
        check(at(32_000), Some(31_000), 32_000, false); // a second late is not later than that
        // 20 s of standstill, of which the deadline's time had passed anyway.
        check(at(52_000), Some(33_000), 33_000, true);
        let read = check(at(53_000), Some(60_000), 34_000, false);
        assert_eq!(read, at(53_000).instant, "and back");
        // A deadline that was over already, and none at all.
        check(at(63_000), Some(1_000), 34_000, true);
        check(at(163_000), None, 134_000, false);
        // A reading that is older than the last one changes nothing.
        check(at(162_999), None, 134_000, false);
        let set = |read: Now, by_ms: i64| Now {
            unix_ms: UnixMs(read.unix_ms.0.saturating_add_signed(by_ms)),
            ..read
        };
        check(set(at(163_100), 86_400_000), None, 134_100, true);
        check(set(at(163_200), 86_400_000), None, 134_200, false);
        check(at(163_300), None, 134_300, true);
        check(set(at(163_400), -900), None, 134_400, false); // a clock that is slewed
    }
}
