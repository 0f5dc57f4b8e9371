//! The files of deleted uploads on one node of several: each removes its own, and the node on duty forgets the rows later.
//!
//! Each run then looks at the files of one of the 256 folders: a file that another node gave may have no row, because its upload was
//! refused, and one that has a row may have lost its second copy, which is then made again. Owns which of the listed files this node has
//! removed. Leaves to `tasks` when a run begins, and a server alone to
//! [`uploads`](crate::uploads), which forgets each row at once.
//!
//! ```text
//! erased files are listed ──► removed ──► the next page … ──► old rows are forgotten ──► old files are found ──► those without a row
//!                                                             (the node on duty)                                 are removed
//!                                                                                     those that no other node has are given to one ◄─┘
//! ```
//! Invariant: a row is forgotten [`ERASED_ROWS_KEPT`] after its file is removed here, so that every node that runs has seen it; one that
//! did not run finds the file at its start, without a row. A file without a row is removed only by a node that has applied an entry of
//! the last minute: the row of a file that was answered is in the log seconds after the file came.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::base::time::UnixMs;
use crate::limits::ERASED_ROWS_KEPT;
use crate::model::id::UploadId;
use crate::model::job::{Done, Job, KeptCopies};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::upload::{FindKept, FindOrphans, ForgetFiles, ListErasedFiles, OLD_FILES_MAX};
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Rows of one page, files of one job, and rows that are forgotten in one run.
const FILES_MAX: usize = 256;
/// A file without a row that is older is removed.
const ORPHAN_AFTER_MS: u64 = 3_600_000;
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
    /// Where the search for files without a row goes on: a folder, and the last file of it that was looked at.
    folder: u8,
    looked_at: UploadId,
    /// The folder of the files that were found, and these files.
    found_in: u8,
    found: Vec<UploadId>,
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

/// Storage has answered a step of the run.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    match result {
        Ok(Answer::ListErasedFiles(files)) => listed(core, files),
        Ok(Answer::ForgetFiles(())) => find_old_files(core),
        Ok(Answer::FindOrphans(Some(orphans))) if !orphans.is_empty() => {
            work(core, Job::RemoveFiles { files: orphans })
        }
        Ok(Answer::FindOrphans(Some(_))) => find_kept(core),
        Ok(Answer::FindKept(files)) if !files.is_empty() => work(core, Job::KeepCopies { files }),
        // After a fault the next run does it.
        _ => tasks::ended(core, Periodic::RemoveFiles, None),
    }
}

fn listed(core: &mut Core, files: Vec<UploadId>) {
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
    work(core, Job::RemoveFiles { files });
}

fn work(core: &mut Core, job: Job) {
    let ticket = core.calls.insert(Call { caller: Caller::Server, next: RUN });
    core.effects.push_back(Effect::Work { ticket, job });
}

/// A worker has done a step of the run, or could not.
pub fn worked(core: &mut Core, done: Done) {
    match done {
        Done::FilesRemoved if !core.background.sweep.removing.is_empty() => removed(core),
        Done::FilesRemoved => find_kept(core),
        Done::FilesFound(files) => found(core, files),
        Done::CopiesKept(kept) => copies_kept(core, kept),
        _ => tasks::ended(core, Periodic::RemoveFiles, None),
    }
}

/// The files of the page are removed.
fn removed(core: &mut Core) {
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
    let is_over = |since: &Instant| *since + ERASED_ROWS_KEPT <= now;
    let over = sweep.removed.iter().filter(|(_, since)| is_over(since)).map(|(file, _)| *file);
    let files: Vec<UploadId> = over.take(FILES_MAX).collect();
    if files.is_empty() || !core.has_duty() {
        return find_old_files(core);
    }
    core.ask_store(Caller::Server, ForgetFiles { files }.into_command(), RUN);
}

/// Looks at the next folder, or at the rest of the last one.
fn find_old_files(core: &mut Core) {
    if !core.background.duty.is_current(core.now) {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    }
    let before = UnixMs(core.now.unix_ms.0.saturating_sub(ORPHAN_AFTER_MS));
    let Sweep { folder, looked_at: after, .. } = core.background.sweep;
    work(core, Job::FindOldFiles { folder, after, before });
}

fn found(core: &mut Core, files: Vec<UploadId>) {
    let sweep = &mut core.background.sweep;
    sweep.found_in = sweep.folder;
    match files.last() {
        Some(last) if files.len() >= OLD_FILES_MAX => sweep.looked_at = *last,
        _ => (sweep.folder, sweep.looked_at) = (sweep.folder.wrapping_add(1), UploadId::default()),
    }
    if files.is_empty() {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    }
    core.background.sweep.found.clone_from(&files);
    core.ask_store(Caller::Server, FindOrphans { files }.into_command(), RUN);
}

/// What the rows say of the files that were found.
fn find_kept(core: &mut Core) {
    let files = std::mem::take(&mut core.background.sweep.found);
    if files.is_empty() {
        return tasks::ended(core, Periodic::RemoveFiles, None);
    }
    core.ask_store(Caller::Server, FindKept { files }.into_command(), RUN);
}

/// The files that were found are there twice, or some of them: then the next run goes on after these.
fn copies_kept(core: &mut Core, kept: KeptCopies) {
    if let Some(through) = kept.through {
        let sweep = &mut core.background.sweep;
        (sweep.folder, sweep.looked_at) = (sweep.found_in, through);
    }
    tasks::ended(core, Periodic::RemoveFiles, None);
}
