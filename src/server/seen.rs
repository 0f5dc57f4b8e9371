//! When sessions were last seen: collected in memory, written once a minute, a bounded piece at a time.
//! Invariant: a session's row is written at most once a minute, and no request waits for it.

use std::collections::BTreeMap;

use super::calls::{Caller, Next};
use super::core::Core;
use crate::base::time::Now;
use crate::limits::{SEEN_BATCH_MAX, SEEN_SESSIONS_MAX};
use crate::model::operation::Operation;
use crate::model::session::{NoteSeen, SessionId};

#[derive(Default)]
pub struct Seen {
    /// Since the last sweep.
    fresh: BTreeMap<SessionId, u64>,
    /// On their way to storage.
    leaving: BTreeMap<SessionId, u64>,
    under_way: bool,
}

impl Seen {
    pub fn note(&mut self, session: SessionId, now: Now) {
        if self.fresh.len() < SEEN_SESSIONS_MAX || self.fresh.contains_key(&session) {
            self.fresh.insert(session, now.unix_ms);
        }
    }
}

/// The minute is over: what was seen in it leaves.
pub fn sweep(core: &mut Core) {
    if core.seen.leaving.is_empty() {
        core.seen.leaving = std::mem::take(&mut core.seen.fresh);
    }
    write_some(core);
}

/// Writes a piece unless one is under way.
fn write_some(core: &mut Core) {
    let left = &mut core.seen.leaving;
    if core.seen.under_way || left.is_empty() {
        return;
    }
    let rest = match left.keys().nth(SEEN_BATCH_MAX).copied() {
        Some(first) => left.split_off(&first),
        None => BTreeMap::new(),
    };
    let piece = std::mem::replace(left, rest);
    core.seen.under_way = true;
    let note = NoteSeen { seen: piece.into_iter().collect() };
    core.ask_store(Caller::Server, note.into_command(), Next::Seen);
}

/// A piece is written, or lost to a fault: it tells nothing that the next minute doesn't tell again.
pub fn written(core: &mut Core) {
    core.seen.under_way = false;
    write_some(core);
}
