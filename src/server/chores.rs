//! What the server does by itself, beside every connection: errands of handlers, the outbox, places, who is verified.
//! Owns the dispatch only. Invariant: a chore belongs to no connection, so none can delay or lose it by closing.

use std::time::Duration;

use super::calls::{Call, Caller, Chore, Next};
use super::contract::Effect;
use super::core::Core;
use super::outbox;
use crate::limits::PRUNE_EVERY;
use crate::model::event::PruneLog;
use crate::model::handler::Errand;
use crate::model::job::{Done, Job};
use crate::model::mail::PlaceSession;
use crate::model::operation::{Answer, Operation, Refusal};

/// Does what the last step asked for besides its answer.
pub fn run(core: &mut Core) {
    for errand in std::mem::take(&mut core.errands) {
        match errand {
            Errand::Mail => outbox::wake(core),
            Errand::Verified(member) => core.verified.insert(member),
            Errand::FindPlace { session, address } => {
                let call = Call { caller: Caller::Server, next: Next::Chore(Chore::FindPlace(session)) };
                let ticket = core.calls.insert(call);
                core.effects.push_back(Effect::Work { ticket, job: Job::FindPlace { address } });
            }
        }
    }
}

/// Storage has answered a chore.
pub fn answered(core: &mut Core, chore: Chore, result: Result<Answer, Refusal>) {
    match chore {
        Chore::FetchMail => outbox::fetched(core, result),
        Chore::SettleMail(id) => outbox::settled(core, id, result),
        // Where it could not be written the place stays empty, and the mail is due by itself.
        Chore::PlaceSession => outbox::wake(core),
        Chore::PruneLog => pruned(core, result),
        Chore::SendMail(_) | Chore::FindPlace(_) => {}
    }
}

/// Forgets old events now and then, where the operator keeps only some.
pub fn prune(core: &mut Core) {
    let Some(kept) = core.settings.events_kept else { return };
    if core.now.instant < core.prune_at {
        return;
    }
    core.prune_at = core.now.instant + PRUNE_EVERY;
    ask_to_prune(core, kept);
}

fn ask_to_prune(core: &mut Core, kept: Duration) {
    let before = core.now.unix_ms.saturating_sub(kept.as_millis() as u64);
    core.ask_store(Caller::Server, PruneLog { before }.into_command(), Next::Chore(Chore::PruneLog));
}

/// More of them wait: on at once, a bounded step at a time, so that posts come in between. A fault waits for the next turn.
fn pruned(core: &mut Core, result: Result<Answer, Refusal>) {
    if let (Some(true), Some(kept)) = (result.ok().and_then(PruneLog::from_answer), core.settings.events_kept)
        && !core.draining
    {
        ask_to_prune(core, kept);
    }
}

/// A worker has finished a chore.
pub fn finished(core: &mut Core, chore: Chore, done: Done) {
    match chore {
        Chore::SendMail(id) => outbox::delivered(core, id, done),
        Chore::FindPlace(session) => {
            let place = match done {
                Done::Place(place) => place,
                _ => None,
            };
            let found = PlaceSession { at: core.now.unix_ms, session, place };
            core.ask_store(Caller::Server, found.into_command(), Next::Chore(Chore::PlaceSession));
        }
        Chore::FetchMail | Chore::SettleMail(_) | Chore::PlaceSession | Chore::PruneLog => {}
    }
}
