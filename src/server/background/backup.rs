//! Backups that an admin asks for: hands each to a worker.
//!
//! Leaves to `commands/backup` how one is made, where, and which are kept, and to the gauges what came of it.
//! Invariant: one is under way at most; who asks meanwhile gets that one.

use crate::model::job::{Done, Job};
use crate::model::measures::Gauge;
use crate::model::metrics::ErrorKind;
use crate::server::calls::{Call, Caller, Next, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

const MADE: Next = Next::Task(Task::MakeBackup);

/// An admin asks for one.
pub fn begin(core: &mut Core) {
    if core.background.backup {
        return;
    }
    core.background.backup = true;
    // Before the worker begins: who asks next is refused.
    core.settings.measures.set(Gauge::BackupRuns, 1);
    let ticket = core.calls.insert(Call { caller: Caller::Server, next: MADE });
    core.effects.push_back(Effect::Work { ticket, job: Job::MakeBackup });
}

/// The worker is done, or there is none.
pub fn ended(core: &mut Core, done: &Done) {
    core.background.backup = false;
    core.settings.measures.set(Gauge::BackupRuns, 0);
    if matches!(done, Done::BackupEnded) {
        return;
    }
    // It panicked, or there was none: it has set no other gauge.
    core.settings.measures.set(Gauge::BackupFailed, 1);
    core.settings.measures.set(Gauge::BackupFailedAt, core.now.unix_s().0);
    // The pool reports the other failures.
    if matches!(done, Done::Busy) {
        core.metrics.trouble(ErrorKind::Backup, "no thread makes a backup now: ask for it again");
    }
}
