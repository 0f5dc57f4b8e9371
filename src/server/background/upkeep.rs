//! Periodic upkeep: messages of deleted accounts, old events, files of deleted uploads, expired state in memory, totals for reports.
//!
//! Leaves to `tasks` when each runs.
//! Invariant: a run is one bounded step, so that posts come between two steps. What a step leaves is done by the next run,
//! which follows at once, or after a fault at its usual time.

use std::time::Duration;

use crate::base::time::UnixMs;
use crate::model::event::PruneLog;
use crate::model::member::{EraseMessages, Erased};
use crate::model::metrics::CountTotals;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::background::sweep;
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;
use crate::server::request::steps;

/// Erases messages of deleted accounts. The request that deletes an account erases them itself and waits for it; this task does
/// what a crash or a closed connection left. If nothing is left, it costs one read of an empty table.
pub fn erase(core: &mut Core) -> bool {
    if core.is_draining() {
        return false;
    }
    let erase = EraseMessages { at: core.now.unix_ms };
    core.ask_store(Caller::Server, erase.into_command(), Next::Task(Task::Run(Periodic::Erase)));
    true
}

pub fn erased(core: &mut Core, result: Result<Answer, Refusal>) {
    let is_more = result.ok().and_then(EraseMessages::from_answer) == Some(Erased::Some);
    tasks::ended(core, Periodic::Erase, is_more.then_some(Duration::ZERO));
}

/// Removes old events, if the operator has set EVENTS_KEPT.
pub fn prune(core: &mut Core) -> bool {
    let Some(kept) = core.settings.events_kept.filter(|_| !core.is_draining()) else { return false };
    let before = UnixMs(core.now.unix_ms.0.saturating_sub(kept.as_millis() as u64));
    let next = Next::Task(Task::Run(Periodic::PruneLog));
    core.ask_store(Caller::Server, PruneLog { before }.into_command(), next);
    true
}

pub fn pruned(core: &mut Core, result: Result<Answer, Refusal>) {
    let is_more = result.ok().and_then(PruneLog::from_answer) == Some(true);
    tasks::ended(core, Periodic::PruneLog, is_more.then_some(Duration::ZERO));
}

/// Removes files that no row refers to. It is a chain of handler steps, which ends with the step that asks nothing more.
pub fn remove_files(core: &mut Core) -> bool {
    // A row whose deletion a power cut may undo needs its file.
    if core.is_draining() || core.storage.unproven {
        return false;
    }
    if core.is_in_cluster() {
        return sweep::run(core);
    }
    steps::ask(core, Caller::Task(Periodic::RemoveFiles), crate::uploads::sweep()).is_some()
}

/// Counts members and uploads.
pub fn count_totals(core: &mut Core) -> bool {
    if core.is_draining() {
        return false;
    }
    core.ask_store(Caller::Server, CountTotals.into_command(), Next::Task(Task::Run(Periodic::Totals)));
    true
}

/// After a fault, the totals of the last minute stay.
pub fn counted(core: &mut Core, result: Result<Answer, Refusal>) {
    let totals = result.ok().and_then(CountTotals::from_answer);
    core.metrics.totals = totals.or(core.metrics.totals);
    core.metrics.counted_at = Some(core.now.instant);
    tasks::ended(core, Periodic::Totals, None);
}

/// Removes expired state from memory; it asks neither storage nor a worker.
pub fn expire(core: &mut Core) -> bool {
    core.requests.rates.expire(core.now.instant);
    core.ended.prune(core.now);
    core.requests.tickets.expire(core.now);
    let hub = &core.streams.hub;
    core.streams.values.forget_idle(|profile| !hub.of(profile).is_empty());
    false
}
