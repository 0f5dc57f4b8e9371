//! When sessions were last seen: collected in memory, written once a minute, a bounded piece at a time.
//! Invariant: a session's row is written at most once a minute, and no request waits for it.

use std::collections::BTreeMap;

use crate::base::time::Now;
use crate::model::operation::Operation;
use crate::model::session::{NoteSeen, SessionId};
use crate::server::calls::{Caller, Next};
use crate::server::core::Core;

/// Sessions whose last sight waits to be written, 24 bytes each. Beyond: not noted, until the next minute.
const SEEN_SESSIONS_MAX: usize = 65_536;
/// Of them in one write, about a millisecond of the writer's time; the next follows when it is answered.
const SEEN_BATCH_MAX: usize = 256;

#[derive(Default)]
pub struct LastSeen {
    /// Since the last sweep.
    pending: BTreeMap<SessionId, u64>,
    /// On their way to storage.
    in_flight: BTreeMap<SessionId, u64>,
    writing: bool,
}

impl LastSeen {
    pub fn record(&mut self, session: SessionId, now: Now) {
        if self.pending.len() < SEEN_SESSIONS_MAX || self.pending.contains_key(&session) {
            self.pending.insert(session, now.unix_ms);
        }
    }
}

/// The minute is over: what was seen in it leaves.
pub fn flush(core: &mut Core) {
    if core.last_seen.in_flight.is_empty() {
        core.last_seen.in_flight = std::mem::take(&mut core.last_seen.pending);
    }
    write_some(core);
}

/// Writes a piece unless one is under way.
fn write_some(core: &mut Core) {
    let left = &mut core.last_seen.in_flight;
    if core.last_seen.writing || left.is_empty() {
        return;
    }
    let rest = match left.keys().nth(SEEN_BATCH_MAX).copied() {
        Some(first) => left.split_off(&first),
        None => BTreeMap::new(),
    };
    let piece = std::mem::replace(left, rest);
    core.last_seen.writing = true;
    let note = NoteSeen { seen: piece.into_iter().collect() };
    core.ask_store(Caller::Server, note.into_command(), Next::LastSeen);
}

/// A piece is written, or lost to a fault: it tells nothing that the next minute doesn't tell again.
pub fn written(core: &mut Core) {
    core.last_seen.writing = false;
    write_some(core);
}
