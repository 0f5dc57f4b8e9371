//! What the server does by itself, beside every connection: follow_ups of handlers, the outbox, places, who is verified.
//! Owns the dispatch only. Invariant: a task belongs to no connection, so none can delay or lose it by closing.

use std::time::Duration;

use crate::model::event::PruneLog;
use crate::model::handler::FollowUp;
use crate::model::job::{Done, Job};
use crate::model::mail::PlaceSession;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::background::erase;
use crate::server::background::last_seen;
use crate::server::background::outbox;
use crate::server::calls::{Call, Caller, Next, Task};
use crate::server::contract::Effect;
use crate::server::core::{Core, SWEEP_EVERY};

/// Between two looks for events older than EVENTS_KEPT.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// Does what the handlers of this turn asked for in addition to their answers.
pub fn run(core: &mut Core) {
    for follow_up in std::mem::take(&mut core.turn.follow_ups) {
        match follow_up {
            FollowUp::Mail => outbox::wake(core),
            FollowUp::Verified(member) => core.verified.insert(member),
            FollowUp::FindPlace { session, address } => {
                let call = Call { caller: Caller::Server, next: Next::Task(Task::FindPlace(session)) };
                let ticket = core.calls.insert(call);
                core.effects.push_back(Effect::Work { ticket, job: Job::FindPlace { address } });
            }
        }
    }
}

/// Forgets what has expired, and starts what is due with it.
pub fn sweep(core: &mut Core) {
    let unix_s = core.now.unix_s();
    let now = core.now.instant;
    core.rates.sweep(now);
    core.ended.retain(|_, ended| ended.until >= unix_s || ended.kept_until > now);
    core.tickets.expire(core.now);
    let hub = &core.hub;
    core.values.sweep(|profile| !hub.of(profile).is_empty());
    last_seen::flush(core);
    erase::flush(core);
    prune(core);
    core.sweep_at = now + SWEEP_EVERY;
}

/// Storage has answered a task.
pub fn answered(core: &mut Core, task: Task, result: Result<Answer, Refusal>) {
    match task {
        Task::FetchMail => outbox::fetched(core, result),
        Task::SettleMail(id) => outbox::settled(core, id, result),
        // Where it could not be written the place stays empty, and the mail is due by itself.
        Task::PlaceSession => outbox::wake(core),
        Task::PruneLog => pruned(core, result),
        Task::SendMail(_) | Task::FindPlace(_) => {}
    }
}

/// Forgets old events now and then, where the operator keeps only some.
fn prune(core: &mut Core) {
    let Some(kept) = core.settings.events_kept else { return };
    if core.now.instant < core.prune_at {
        return;
    }
    core.prune_at = core.now.instant + PRUNE_EVERY;
    ask_to_prune(core, kept);
}

fn ask_to_prune(core: &mut Core, kept: Duration) {
    let before = core.now.unix_ms.saturating_sub(kept.as_millis() as u64);
    core.ask_store(Caller::Server, PruneLog { before }.into_command(), Next::Task(Task::PruneLog));
}

/// More of them wait: on at once, a bounded step at a time, so that posts come in between. A fault waits for the next turn.
fn pruned(core: &mut Core, result: Result<Answer, Refusal>) {
    if let (Some(true), Some(kept)) = (result.ok().and_then(PruneLog::from_answer), core.settings.events_kept)
        && !core.draining
    {
        ask_to_prune(core, kept);
    }
}

/// A worker has finished a task.
pub fn finished(core: &mut Core, task: Task, done: Done) {
    match task {
        Task::SendMail(id) => outbox::delivered(core, id, done),
        Task::FindPlace(session) => {
            let place = match done {
                Done::Place(place) => place,
                _ => None,
            };
            let found = PlaceSession { at: core.now.unix_ms, session, place };
            core.ask_store(Caller::Server, found.into_command(), Next::Task(Task::PlaceSession));
        }
        Task::FetchMail | Task::SettleMail(_) | Task::PlaceSession | Task::PruneLog => {}
    }
}
