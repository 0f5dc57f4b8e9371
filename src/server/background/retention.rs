//! Retention: erases messages and uploads that are older than they are kept, and uploads that nothing has shown for days, one after the
//! other.
//!
//! Owns what the run in flight has found. Leaves to storage what is too old and what is erased in one step.
//! Invariant: one step is in flight, so that posts come between two steps; a node that loses the duty begins no further one.

use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::retention::{EraseOld, FindOld, Old, OldPlace};
use crate::model::upload::DeleteUpload;
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;

const RUN: Next = Next::Task(Task::Run(Periodic::Retain));

/// What is left of the page that was read last: at most as much as storage puts into one.
#[derive(Default)]
pub struct Retention {
    found: Vec<Old>,
    unshown: Vec<DeleteUpload>,
    next: Option<OldPlace>,
    /// Up to which upload those that nothing shows were found in this run.
    unshown_through: Option<(u64, u64)>,
    /// The same of the runs that have ended, so that each upload is looked at once in the life of the process.
    unshown_after: (u64, u64),
}

/// Begins a run. Without any time that is set it costs one read of an empty index, and one of the uploads that are a week old since the
/// last run.
pub fn run(core: &mut Core) -> bool {
    let unshown_after = core.background.retention.unshown_after;
    let next = Some(OldPlace::Conversation(0));
    core.background.retention = Retention { next, unshown_after, ..Retention::default() };
    go_on(core)
}

/// Storage has answered a step. After a fault the next run does it.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    let retention = &mut core.background.retention;
    let goes_on = match result {
        Ok(Answer::FindOld(page)) => {
            // The oldest is last, and taken first.
            retention.found = page.found.into_iter().rev().collect();
            retention.unshown = page.unshown;
            retention.unshown_through = page.unshown_through.or(retention.unshown_through);
            retention.next = page.next;
            true
        }
        Ok(Answer::EraseOld(more)) => {
            if !more {
                retention.found.pop();
            }
            true
        }
        // Who refuses it shows it by now, or has deleted it.
        Ok(Answer::DeleteUpload(())) | Err(Refusal::InUse | Refusal::NotFound | Refusal::Unauthorized) => {
            retention.unshown.pop().is_some()
        }
        _ => false,
    };
    if !goes_on || !go_on(core) {
        let Retention { found, unshown, next, unshown_through, mut unshown_after } =
            std::mem::take(&mut core.background.retention);
        if found.is_empty() && unshown.is_empty() && next.is_none() {
            unshown_after = unshown_through.unwrap_or(unshown_after);
        }
        core.background.retention.unshown_after = unshown_after;
        tasks::ended(core, Periodic::Retain, None);
    }
}

/// The next step. `false` if there is none.
fn go_on(core: &mut Core) -> bool {
    if core.is_draining() || !core.has_duty() {
        return false;
    }
    let at = core.now.unix_ms;
    let ms = |kept: Option<std::time::Duration>| kept.map(|kept| kept.as_millis() as u64);
    let (messages_kept, uploads_kept) = (ms(core.settings.messages_kept), ms(core.settings.uploads_kept));
    let Retention { found, unshown, next, unshown_after, .. } = &core.background.retention;
    let unshown_after = *unshown_after;
    let command = match (found.last(), unshown.last(), *next) {
        (Some(&old), ..) => {
            let kept = if matches!(old, Old::Upload(_)) { uploads_kept } else { messages_kept };
            EraseOld { at, old, kept }.into_command()
        }
        (None, Some(delete), _) => (*delete).into_command(),
        (None, None, Some(after)) => {
            FindOld { at, messages_kept, uploads_kept, after, unshown_after }.into_command()
        }
        (None, None, None) => return false,
    };
    core.ask_store(Caller::Server, command, RUN);
    true
}
