//! The files of deleted uploads on one node of several: each removes its own, and the node on duty forgets the rows later.
//!
//! Owns which of the listed files this node has removed. Leaves to `tasks` when a run begins, and a server alone to
//! [`uploads`](crate::uploads), which forgets each row at once.
//! Invariant: a row is forgotten [`FORGOTTEN_AFTER`] after its file is removed here, so that every node that runs has seen it; one that
//! did not run finds the file at its start, without a row.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::id::UploadId;
use crate::model::job::{Done, Job};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::upload::{ForgetFiles, ListErasedFiles};
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Rows of one page, files of one job, and rows that are forgotten in one run.
const FILES_MAX: usize = 256;
/// Between the removal of a file here and the end of its row.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);
/// Removed files that are known, about 50 bytes each. Above: the others are removed again in each run, and forgotten later.
const REMOVED_MAX: usize = 65_536;

const RUN: Next = Next::Task(Task::Run(Periodic::RemoveFiles));

#[derive(Default)]
pub struct Sweep {
    /// Files that this node has removed and whose rows were there in the last run, and since when they are removed.
    removed: BTreeMap<UploadId, Instant>,
    /// The same, of the run under way.
    listed: BTreeMap<UploadId, Instant>,
    /// The last one of the page, if it was full.
    after: Option<UploadId>,
    /// Those of the page that a worker removes.
    removing: Vec<UploadId>,
}

/// Begins a run.
pub fn run(core: &mut Core) -> bool {
    let sweep = &mut core.background.sweep;
    (sweep.after, sweep.removing) = (None, Vec::new());
    sweep.listed.clear();
    list(core);
    true
}

fn list(core: &mut Core) {
    let list = ListErasedFiles { after: core.background.sweep.after, limit: FILES_MAX as u32 };
    core.ask_store(Caller::Server, list.into_command(), RUN);
}

/// A page is listed, or the rows are forgotten.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    // After a fault the next run does it.
    let Ok(Some(files)) = result.map(ListErasedFiles::from_answer) else {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    };
    let sweep = &mut core.background.sweep;
    sweep.after = files.last().copied().filter(|_| files.len() >= FILES_MAX);
    for file in files {
        match sweep.removed.get(&file) {
            Some(since) => {
                sweep.listed.insert(file, *since);
            }
            None => sweep.removing.push(file),
        }
    }
    if sweep.removing.is_empty() {
        return go_on(core);
    }
    let files = sweep.removing.clone();
    let ticket = core.calls.insert(Call { caller: Caller::Server, next: RUN });
    core.effects.push_back(Effect::Work { ticket, job: Job::RemoveFiles { files } });
}

/// A worker has removed the files of the page, or could not.
pub fn removed(core: &mut Core, done: &Done) {
    if !matches!(done, Done::FilesRemoved) {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    }
    let now = core.now.instant;
    let sweep = &mut core.background.sweep;
    for file in std::mem::take(&mut sweep.removing) {
        if sweep.listed.len() < REMOVED_MAX {
            sweep.listed.insert(file, now);
        }
    }
    go_on(core);
}

/// The next page; after the last one the rows whose time is over.
fn go_on(core: &mut Core) {
    if core.background.sweep.after.is_some() {
        return list(core);
    }
    let now = core.now.instant;
    let sweep = &mut core.background.sweep;
    sweep.removed = std::mem::take(&mut sweep.listed);
    let is_over = |since: &Instant| *since + FORGOTTEN_AFTER <= now;
    let over = sweep.removed.iter().filter(|(_, since)| is_over(since)).map(|(file, _)| *file);
    let files: Vec<UploadId> = over.take(FILES_MAX).collect();
    if files.is_empty() || !core.has_duty() {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    }
    core.ask_store(Caller::Server, ForgetFiles { files }.into_command(), RUN);
}
