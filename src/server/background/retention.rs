//! Retention: erases messages and uploads that are older than they are kept, one after the other.
//!
//! Owns what the run in flight has found. Leaves to storage what is too old and what is erased in one step.
//! Invariant: one step is in flight, so that posts come between two steps; a node that loses the duty begins no further one.

use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::retention::{EraseOld, FindOld, Old, OldPlace};
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;

const RUN: Next = Next::Task(Task::Run(Periodic::Retain));

/// What is left of the page that was read last: at most as much as storage puts into one.
#[derive(Default)]
pub struct Retention {
    found: Vec<Old>,
    next: Option<OldPlace>,
}

/// Begins a run. Without any time that is set it costs one read of an empty index.
pub fn run(core: &mut Core) -> bool {
    core.background.retention = Retention { found: Vec::new(), next: Some(OldPlace::Conversation(0)) };
    go_on(core)
}

/// Storage has answered a step. After a fault the next run does it.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    let retention = &mut core.background.retention;
    let goes_on = match result {
        Ok(Answer::FindOld(page)) => {
            // The oldest is last, and taken first.
            retention.found = page.found.into_iter().rev().collect();
            retention.next = page.next;
            true
        }
        Ok(Answer::EraseOld(more)) => {
            if !more {
                retention.found.pop();
            }
            true
        }
        _ => false,
    };
    if !goes_on || !go_on(core) {
        core.background.retention = Retention::default();
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
    let command = match (core.background.retention.found.last(), core.background.retention.next) {
        (Some(&old), _) => {
            let kept = if matches!(old, Old::Upload(_)) { uploads_kept } else { messages_kept };
            EraseOld { at, old, kept }.into_command()
        }
        (None, Some(after)) => FindOld { at, messages_kept, uploads_kept, after }.into_command(),
        (None, None) => return false,
    };
    core.ask_store(Caller::Server, command, RUN);
    true
}
