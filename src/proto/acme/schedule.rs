//! When the next order begins: before the certificate ends, after a failure later and later, and never too often.
//!
//! Owns the back-off and the bound on orders of an hour, which hold over restarts because the caller stores [`Record`].
//! Invariant: no clock that was wrong for a while keeps an order from beginning for longer than [`HELD_MAX`].

use serde::Serialize;

use super::order::Failure;
use crate::base::time::UnixS;
use crate::proto::x509::Facts;

/// Orders in an hour. Let's Encrypt takes 5 failed validations an hour of a name.
pub const ORDERS_AN_HOUR: usize = 4;
const HOUR: u64 = 3_600;
/// The wait after each failure in a row, then the last one again and again.
const BACK_OFF: [u64; 7] = [60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];
/// The longest wait while there is no certificate, or less than [`CLOSE_TO_END`] is left of it.
const URGENT_BACK_OFF: u64 = HOUR;
const CLOSE_TO_END: u64 = 2 * 86_400;
/// The longest time that the authority can ask to wait: its longest rate limit.
pub const HELD_MAX: u64 = 7 * 86_400;
/// A certificate is renewed when this part of its life is left.
const LIFE_LEFT: u64 = 3;

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When the orders of the last hour began.
    pub orders: Vec<UnixS>,
    /// The authority wants no order before this.
    pub held_until: UnixS,
}

#[derive(Clone, Debug, Default)]
pub struct Schedule {
    pub record: Record,
    failures: u32,
    /// Not before this, after a failure.
    retry_at: UnixS,
}

impl Schedule {
    pub fn new(record: Record) -> Schedule {
        Schedule { record, ..Schedule::default() }
    }

    /// When a certificate is due: when a third of its life is left, or when the authority suggests, if that is earlier.
    pub fn renew_at(facts: &Facts, suggested: Option<UnixS>) -> UnixS {
        let life = facts.not_after.since(facts.not_before);
        let third = UnixS(facts.not_after.0 - life / LIFE_LEFT);
        suggested.map_or(third, |at| at.min(third))
    }

    /// When the next order may begin, if one is due at `due`.
    pub fn next(&mut self, now: UnixS, due: UnixS) -> UnixS {
        self.forget(now);
        let hourly = match self.record.orders.len().checked_sub(ORDERS_AN_HOUR) {
            Some(index) => self.record.orders[index].after(HOUR),
            None => UnixS(0),
        };
        due.max(self.retry_at).max(self.record.held_until).max(hourly)
    }

    /// An order begins.
    pub fn began(&mut self, now: UnixS) {
        self.forget(now);
        self.record.orders.push(now);
    }

    pub fn failed(&mut self, now: UnixS, failure: &Failure, not_after: Option<UnixS>) {
        let index = (self.failures as usize).min(BACK_OFF.len() - 1);
        self.failures = self.failures.saturating_add(1);
        let is_urgent = not_after.is_none_or(|end| end < now.after(CLOSE_TO_END));
        let longest = if is_urgent { URGENT_BACK_OFF } else { u64::MAX };
        self.retry_at = now.after(BACK_OFF[index].min(longest));
        if let Some(at) = failure.not_before {
            self.record.held_until = at.min(now.after(HELD_MAX));
        }
    }

    pub fn issued(&mut self) {
        (self.failures, self.retry_at, self.record.held_until) = (0, UnixS(0), UnixS(0));
    }

    /// An operator wants a try now. What the authority asked for, and the bound of an hour, still hold.
    pub fn hurry(&mut self) {
        self.retry_at = UnixS(0);
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What is over, and what a clock that was ahead has left.
    fn forget(&mut self, now: UnixS) {
        self.record.orders.retain(|at| *at <= now && at.after(HOUR) > now);
        if self.record.held_until > now.after(HELD_MAX) {
            self.record.held_until = UnixS(0);
        }
        if self.retry_at > now.after(BACK_OFF[BACK_OFF.len() - 1]) {
            self.retry_at = UnixS(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixS = UnixS(1_000_000_000);

    fn failure(not_before: Option<UnixS>) -> Failure {
        Failure { reason: "why".to_owned(), not_before, of_validation: false }
    }

    #[test]
    fn a_third_of_the_life_is_left_or_the_authority_is_earlier() {
        let facts = |not_before, not_after| Facts {
            not_before,
            not_after,
            has_names: true,
            serial: Vec::new(),
            issuer_key: None,
        };
        let ninety = facts(NOW, NOW.after(90 * 86_400));
        assert_eq!(Schedule::renew_at(&ninety, None), NOW.after(60 * 86_400));
        assert_eq!(Schedule::renew_at(&ninety, Some(NOW.after(70 * 86_400))), NOW.after(60 * 86_400));
        assert_eq!(Schedule::renew_at(&ninety, Some(UnixS(5))), UnixS(5));
        assert_eq!(Schedule::renew_at(&facts(NOW, UnixS(NOW.0 - 5)), None), UnixS(NOW.0 - 5));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_less_when_the_end_is_near() {
        let far = Some(NOW.after(30 * 86_400));
        for (not_after, waits) in [
            (far, [60, 300, 900, 3_600, 10_800, 21_600, 43_200, 43_200]),
            (None, [60, 300, 900, 3_600, 3_600, 3_600, 3_600, 3_600]),
            (Some(NOW.after(CLOSE_TO_END - 1)), [60, 300, 900, 3_600, 3_600, 3_600, 3_600, 3_600]),
        ] {
            let mut schedule = Schedule::default();
            for wait in waits {
                schedule.failed(NOW, &failure(None), not_after);
                assert_eq!(schedule.next(NOW, UnixS(0)), NOW.after(wait));
            }
            assert_eq!(schedule.failures(), 8);
            schedule.hurry();
            assert_eq!(schedule.next(NOW, NOW), NOW);
            schedule.issued();
            assert_eq!((schedule.failures(), schedule.next(NOW, NOW.after(5))), (0, NOW.after(5)));
        }
    }

    #[test]
    fn the_authority_and_the_hour_hold_over_restarts_and_haste() {
        let mut schedule = Schedule::default();
        for at in 0..ORDERS_AN_HOUR as u64 {
            assert_eq!(schedule.next(NOW.after(at), UnixS(0)), UnixS(0), "the {at}th order of the hour");
            schedule.began(NOW.after(at));
        }
        let mut again = Schedule::new(schedule.record.clone());
        again.hurry();
        assert_eq!(again.next(NOW.after(10), UnixS(0)), NOW.after(HOUR));
        assert_eq!(again.next(NOW.after(HOUR), UnixS(0)), UnixS(0));
        again.failed(NOW, &failure(Some(NOW.after(86_400))), None);
        again.hurry();
        assert_eq!(again.next(NOW, UnixS(0)), NOW.after(86_400));
        again.failed(NOW, &failure(Some(UnixS(u64::MAX))), None);
        assert_eq!(again.next(NOW, UnixS(0)), NOW.after(HELD_MAX));
    }

    #[test]
    fn a_clock_that_was_ahead_is_forgotten() {
        let ahead = NOW.after(400 * 86_400);
        let mut schedule = Schedule::default();
        for _ in 0..ORDERS_AN_HOUR {
            schedule.began(ahead);
        }
        schedule.failed(ahead, &failure(Some(ahead.after(60))), None);
        assert_eq!(schedule.next(NOW, UnixS(0)), UnixS(0));
    }
}
