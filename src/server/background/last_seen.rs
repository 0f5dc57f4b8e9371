//! When sessions were last seen: collected in memory, written once a minute, a bounded batch at a time.
//!
//! Owns the two lists; leaves to `tasks` when they are written.
//! Invariant: a session's row is written at most once a minute, and no request waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::time::{Now, UnixMs};
use crate::model::id::SessionId;
use crate::model::operation::Operation;
use crate::model::session::RecordLastSeen;
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;

/// Sessions whose last-seen time waits to be written, 24 bytes each. Above: not recorded in this minute.
const SEEN_SESSIONS_MAX: usize = 65_536;
/// Of them in one write, about a millisecond of the writer's time. The next write follows the answer.
const SEEN_BATCH_MAX: usize = 256;

#[derive(Default)]
pub struct LastSeen {
    /// Since the last run.
    pending: BTreeMap<SessionId, UnixMs>,
    /// On their way to storage.
    in_flight: BTreeMap<SessionId, UnixMs>,
}

impl LastSeen {
    pub fn record(&mut self, session: SessionId, now: Now) {
        if self.pending.len() < SEEN_SESSIONS_MAX || self.pending.contains_key(&session) {
            self.pending.insert(session, now.unix_ms);
        }
    }
}

/// Writes a batch of last-seen times; those left from the last minute first.
pub fn run(core: &mut Core) -> bool {
    let LastSeen { pending, in_flight } = &mut core.background.last_seen;
    if in_flight.is_empty() {
        *in_flight = std::mem::take(pending);
    }
    if in_flight.is_empty() {
        return false;
    }
    let rest = match in_flight.keys().nth(SEEN_BATCH_MAX).copied() {
        Some(first) => in_flight.split_off(&first),
        None => BTreeMap::new(),
    };
    let batch = std::mem::replace(in_flight, rest);
    let seen = RecordLastSeen { seen: batch.into_iter().collect() };
    core.ask_store(Caller::Server, seen.into_command(), Next::Task(Task::Run(Periodic::LastSeen)));
    true
}

/// A batch is written, or a fault lost it: then the next minute records the same sessions again.
pub fn written(core: &mut Core) {
    let is_more = !core.background.last_seen.in_flight.is_empty();
    tasks::ended(core, Periodic::LastSeen, is_more.then_some(Duration::ZERO));
}
