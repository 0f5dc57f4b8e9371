//! The log that the nodes of a cluster apply, as the writer sees it: the seam to the engine that keeps it.
//!
//! An implementation owns its connections and its thread, and tries again by itself for as long as it takes. It knows neither what an
//! entry says nor what is next: the writer judges order, sends again what was not delivered, and stops at a log that is not what it
//! was. So an implementation may lose, repeat and reorder what it appends, and repeat what it delivers.
//!
//! ```text
//! Down ⇄ Up(identity, first, head)      read_after(position) → Delivered, Delivered, …
//!   └──────┴──→ Broken                  append(sealed)       → Delivered of the same bytes, or nothing, or Lost
//! ```
//! Invariant: a delivered entry is on disk at a majority of the log's servers, and at its position for ever.

use std::sync::Arc;
use std::time::Instant;

use crate::base::time::{Now, UnixMs};

/// Bytes of entries that an implementation holds until the writer takes them. Above: it reads no more of its connection.
pub const DELIVERED_BYTES_MAX: usize = 8_388_608;

/// Called by an implementation after it has something new for [`Log::take`]. It never waits.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A log. No method waits for the network.
pub trait Log: Send + 'static {
    /// Delivers the entries after this position, from now on and in order; what was read before and not taken is dropped. Called once at
    /// the start, and again when the next entry was not delivered or damaged: then the entries are read anew, if possible from another
    /// replica.
    fn read_after(&mut self, position: u64);

    /// Sends an entry. While the log is down it is dropped: the writer sends it again after [`LogEvent::Up`].
    fn append(&mut self, sealed: &Arc<[u8]>);

    /// Moves what is new to the end of `out`, oldest first.
    fn take(&mut self, out: &mut Vec<LogEvent>);
}

/// What an implementation tells the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// The log can be read and appended to. What was appended before may be lost.
    Up(LogState),
    /// It cannot, for this reason, which `/readyz` shows. A log begins like this.
    Down(&'static str),
    /// Something that was appended is lost, or may be.
    Lost,
    /// The log refuses what is appended, for this reason, which `/readyz` shows until an entry is delivered. It is lost.
    Refused(&'static str),
    /// The entry at a position.
    Delivered {
        /// Its position: that of the first entry of a log is 1.
        position: u64,
        /// When the log took it, by the clock of the log.
        time: UnixMs,
        /// As it was appended.
        sealed: Arc<[u8]>,
    },
    /// A server of the log has said what its clock shows.
    Clock(LogClock),
    /// The log may not be used: what is wrong, and what to do. The process stops with this message.
    Broken(String),
}

/// What the clock of the log showed at some moment after it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogClock {
    pub asked_at: Instant,
    pub heard_at: Instant,
    pub time: UnixMs,
}

impl LogClock {
    /// How far the clock of this node is ahead of it at least, in milliseconds; negative if it is behind. 0 while the time that the
    /// answer took may explain the difference.
    pub fn ahead_ms(&self, now: Now) -> i64 {
        let shown = |at: Instant| {
            let ago = now.instant.saturating_duration_since(at).as_millis();
            i128::from(now.unix_ms.0) - i128::from(u64::try_from(ago).unwrap_or(u64::MAX))
        };
        let time = i128::from(self.time.0);
        let ahead = (shown(self.asked_at) - time).max(0) + (shown(self.heard_at) - time).min(0);
        i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What a log is when it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Names this log: another one has another identity, also one that was made anew under the same name.
    pub identity: String,
    /// The position of the oldest entry that it still has; `head + 1` if it has none.
    pub first: u64,
    /// The position of the newest entry, as a majority of the servers has it: a node that is ahead of it stops.
    pub head: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_is_off_by_what_the_way_of_the_answer_does_not_explain() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let clock = LogClock { asked_at: start, heard_at: start + ms(400), time: UnixMs(100_000) };
        for (unix_ms, expect) in [
            // One second after it was asked.
            (101_000, 0),
            (100_600, 0),
            (101_001, 1),
            (100_599, -1),
            (3_701_000, 3_600_000),
            (0, -100_600),
            (u64::MAX, i64::MAX),
        ] {
            let now = Now { instant: start + ms(1_000), unix_ms: UnixMs(unix_ms) };
            assert_eq!(clock.ahead_ms(now), expect, "{unix_ms}");
        }
        let far = LogClock { time: UnixMs(u64::MAX), ..clock };
        assert_eq!(far.ahead_ms(Now { instant: start, unix_ms: UnixMs(0) }), i64::MIN);
    }
}
