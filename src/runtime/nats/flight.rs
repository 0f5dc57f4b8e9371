//! The entries that were sent and not acknowledged.
//!
//! Owns when a silence or a refusal means that entries are lost. Leaves their order and their repetition to the writer.
//! Invariant: several refusals of what was sent together are one loss. At most [`FLIGHT_MAX`] are remembered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Without an acknowledgement for this long, an entry counts as lost.
const ACK_MAX: Duration = Duration::from_secs(2);
/// Losses by silence, without an acknowledgement between them, after which another server is asked: this one may be cut off
/// from the others.
const SILENCES_MAX: u32 = 2;
/// Entries that are remembered; the writer sends four at a time.
const FLIGHT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// The number of the last one.
    number: u32,
    /// Losses up to this number were reported.
    reported: u32,
    silences: u32,
}

#[derive(Debug)]
struct Sent {
    number: u32,
    at: Instant,
    /// The last position that was read before.
    position: u64,
}

/// What follows for the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flown {
    Nothing,
    /// The log has taken it, at this position.
    Taken(u64),
    Lost,
    /// Another server must be tried.
    Leave,
    /// The log stored it at a position that this node had already read: it has forgotten what was there.
    Forgotten(u64),
}

impl Flown {
    /// The log has stored an entry at `stored` that was sent after `position` had been read.
    pub(super) fn of(stored: u64, position: u64) -> Flown {
        if stored <= position { Flown::Forgotten(stored) } else { Flown::Taken(stored) }
    }
}

impl Flight {
    /// An entry is sent. Returns its number, for the subject of its reply.
    pub(super) fn sent(&mut self, position: u64, now: Instant) -> u32 {
        if self.sent.len() == FLIGHT_MAX {
            self.sent.pop_front();
        }
        self.number = self.number.wrapping_add(1);
        self.sent.push_back(Sent { number: self.number, at: now, position });
        self.number
    }

    pub(super) fn acknowledged(&mut self, number: u32, stored: u64) -> Flown {
        let Some(sent) = self.take(number) else { return Flown::Nothing };
        self.silences = 0;
        Flown::of(stored, sent.position)
    }

    pub(super) fn refused(&mut self, number: u32) -> Flown {
        let is_new = self.take(number).is_some() && number.wrapping_sub(self.reported).cast_signed() > 0;
        if is_new { self.lost() } else { Flown::Nothing }
    }

    /// Nothing that is under way will be answered.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.reported = self.number;
    }

    pub(super) fn tick(&mut self, now: Instant) -> Flown {
        if self.sent.front().is_none_or(|first| now < first.at + ACK_MAX) {
            return Flown::Nothing;
        }
        self.clear();
        self.silences += 1;
        if self.silences < SILENCES_MAX {
            return self.lost();
        }
        self.silences = 0;
        Flown::Leave
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sent.front().map(|first| first.at + ACK_MAX)
    }

    fn lost(&mut self) -> Flown {
        self.reported = self.number;
        Flown::Lost
    }

    fn take(&mut self, number: u32) -> Option<Sent> {
        let at = self.sent.iter().position(|sent| sent.number == number)?;
        self.sent.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_what_was_sent_together_are_one_loss() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let sent: Vec<u32> = (0..4).map(|_| flight.sent(7, now)).collect();
        assert_eq!(flight.acknowledged(sent[0], 8), Flown::Taken(8));
        assert_eq!(flight.acknowledged(sent[0], 8), Flown::Nothing, "twice");
        assert_eq!(flight.refused(sent[1]), Flown::Lost);
        assert_eq!(flight.refused(sent[2]), Flown::Nothing);
        let again = flight.sent(8, now);
        assert_eq!(flight.refused(sent[3]), Flown::Nothing);
        assert_eq!(flight.refused(again), Flown::Lost);
        let last = flight.sent(8, now);
        assert_eq!(flight.acknowledged(last, 9), Flown::Taken(9));
    }

    #[test]
    fn a_silence_is_a_loss_and_two_are_the_fault_of_the_server() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        assert_eq!((flight.tick(now + ACK_MAX * 9), flight.deadline()), (Flown::Nothing, None));
        let first = flight.sent(0, now);
        flight.sent(0, now + ACK_MAX / 2);
        assert_eq!(flight.deadline(), Some(now + ACK_MAX));
        assert_eq!(flight.tick(now + ACK_MAX - Duration::from_millis(1)), Flown::Nothing);
        assert_eq!(flight.tick(now + ACK_MAX), Flown::Lost);
        assert_eq!(flight.acknowledged(first, 1), Flown::Nothing, "it was given up");
        flight.sent(0, now + ACK_MAX);
        assert_eq!(flight.tick(now + ACK_MAX * 2), Flown::Leave);
    }

    #[test]
    fn a_position_that_was_read_is_never_stored_anew() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let number = flight.sent(5, now);
        assert_eq!(flight.acknowledged(number, 5), Flown::Forgotten(5));
        let number = flight.sent(5, now);
        assert_eq!(flight.acknowledged(number, 6), Flown::Taken(6));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let first = flight.sent(0, now);
        for _ in 0..FLIGHT_MAX {
            flight.sent(0, now);
        }
        assert_eq!((flight.sent.len(), flight.acknowledged(first, 1)), (FLIGHT_MAX, Flown::Nothing));
        flight.number = u32::MAX;
        let (last, next) = (flight.sent(0, now), flight.sent(0, now));
        assert_eq!((last, next), (0, 1), "numbers begin anew");
        flight.reported = u32::MAX;
        assert_eq!(flight.refused(next), Flown::Lost);
    }
}
