//! The outbox pump: fetches mails that are due, has workers send them, writes what became of each. It works for nobody's
//! request and so belongs to no connection. Owns when the table is looked at; texts, delivery and the rests between tries
//! are elsewhere.
//!
//! ```text
//! due ──fetched──► Sending ──done──► Settling ──written──► gone, or due again later
//!                     │ no worker free    │ storage refused
//!                     └──► due            └──► Unsettled ──next look──► Settling
//! ```
//! Invariant: a mail that was sent is never handed out again by this process, whatever storage answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::id::Id;
use crate::limits::MAILS_UNDER_WAY_MAX;
use crate::model::job::{Delivery, Done, Job};
use crate::model::mail::{DueMail, FetchMail, Letter, MailFailed, MailFate, MailPage, MailSent};
use crate::model::mail_text;
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::calls::{Call, Caller, Next, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Between two looks at the outbox at the most; a mail that was just written is looked for at once.
const OUTBOX_LOOK_EVERY: Duration = Duration::from_secs(60);
/// After storage or the workers refused to do the outbox's work.
const OUTBOX_RETRY: Duration = Duration::from_secs(5);

pub struct Outbox {
    /// When to look at the latest. Storage is asked for what has come due, and for when the next will be.
    look_at: Instant,
    looking: bool,
    /// Something was written while we were looking: the answer may not show it.
    again: bool,
    /// At most [`MAILS_UNDER_WAY_MAX`].
    under_way: BTreeMap<Id, State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// Its outcome is being written.
    Settling(Delivery),
    /// Its outcome could not be written.
    Unsettled(Delivery),
    /// Written; remembered until the look under way is over, which may still show the row.
    Settled,
}

impl Outbox {
    /// What was left by the last run is looked for at once.
    pub fn new(now: Instant) -> Outbox {
        Outbox { look_at: now, looking: false, again: false, under_way: BTreeMap::new() }
    }

    pub fn deadline(&self) -> Instant {
        self.look_at
    }
}

/// A mail was written: it is due now, or will be.
pub fn wake(core: &mut Core) {
    core.outbox.again = true;
    look(core);
}

/// The time to look has come.
pub fn tick(core: &mut Core) {
    if core.outbox.look_at > core.now.instant {
        return;
    }
    core.outbox.look_at = core.now.instant + OUTBOX_LOOK_EVERY;
    let unsettled = core.outbox.under_way.iter().filter_map(|(id, state)| match state {
        State::Unsettled(delivery) => Some((*id, *delivery)),
        _ => None,
    });
    let unsettled: Vec<(Id, Delivery)> = unsettled.collect();
    for (id, delivery) in unsettled {
        settle(core, id, delivery);
    }
    look(core);
}

fn look(core: &mut Core) {
    let outbox = &mut core.outbox;
    if outbox.looking || outbox.under_way.len() >= MAILS_UNDER_WAY_MAX || core.draining {
        return;
    }
    outbox.looking = true;
    outbox.again = false;
    // Rows under way are due too, and come first: the page has room for all of them and one more at least.
    let fetch = FetchMail { at: core.now.unix_ms, limit: MAILS_UNDER_WAY_MAX as u32 };
    core.ask_store(Caller::Server, fetch.into_command(), Next::Task(Task::FetchMail));
}

pub fn fetched(core: &mut Core, result: Result<Answer, Refusal>) {
    core.outbox.looking = false;
    let Ok(Some(page)) = result.map(FetchMail::from_answer) else {
        forget_settled(core);
        return look_in(core, OUTBOX_RETRY);
    };
    let MailPage { mails, next_due_at } = page;
    for mail in mails {
        let outbox = &mut core.outbox;
        if outbox.under_way.contains_key(&mail.id) {
            continue;
        }
        if outbox.under_way.len() >= MAILS_UNDER_WAY_MAX {
            break;
        }
        send(core, mail);
    }
    // Not before: this page may be older than what became of its mails.
    forget_settled(core);
    if let Some(due_at) = next_due_at {
        let wait = Duration::from_millis(due_at.saturating_sub(core.now.unix_ms));
        // A row that is due already waits for room, which a mail's end makes and looks again.
        if !wait.is_zero() {
            look_in(core, wait);
        }
    }
    if core.outbox.again {
        look(core);
    }
}

fn forget_settled(core: &mut Core) {
    core.outbox.under_way.retain(|_, state| *state != State::Settled);
}

fn look_in(core: &mut Core, wait: Duration) {
    let at = core.now.instant + wait.min(OUTBOX_LOOK_EVERY);
    core.outbox.look_at = core.outbox.look_at.min(at);
}

fn send(core: &mut Core, mail: DueMail) {
    let Some(to) = &mail.to else {
        // For nobody: it goes the way of all mails, but not out of the house.
        return settle(core, mail.id, Delivery::Sent);
    };
    let (subject, body) = mail_text::render(&mail, &core.settings.lookup_key, &core.settings.public_url);
    let letter = Letter {
        id: mail.id,
        member: to.member,
        kind: mail.content.kind(),
        to: to.email.clone(),
        date_ms: mail.written_at,
        subject,
        body,
    };
    core.outbox.under_way.insert(mail.id, State::Sending);
    let call = Call { caller: Caller::Server, next: Next::Task(Task::SendMail(mail.id)) };
    let ticket = core.calls.insert(call);
    core.effects.push_back(Effect::Work { ticket, job: Job::SendMail(Box::new(letter)) });
}

/// A worker is done with a mail.
pub fn delivered(core: &mut Core, id: Id, done: Done) {
    match done {
        Done::Mail(delivery) => {
            // Counted now and not after a day of tries: nobody else can mend it.
            if delivery == Delivery::Blocked {
                core.metrics.trouble(ErrorKind::Mail);
            }
            settle(core, id, delivery);
        }
        Done::Busy => {
            core.outbox.under_way.remove(&id);
            look_in(core, OUTBOX_RETRY);
        }
        // The worker broke at it; the pool has said so.
        _ => settle(core, id, Delivery::Failed),
    }
}

fn settle(core: &mut Core, id: Id, delivery: Delivery) {
    core.outbox.under_way.insert(id, State::Settling(delivery));
    let at = core.now.unix_ms;
    let command = match delivery {
        Delivery::Sent => MailSent { id }.into_command(),
        Delivery::Failed | Delivery::Blocked => MailFailed { id, at, permanent: false }.into_command(),
        Delivery::Refused => MailFailed { id, at, permanent: true }.into_command(),
    };
    core.ask_store(Caller::Server, command, Next::Task(Task::SettleMail(id)));
}

/// What became of a mail is written, or not.
pub fn settled(core: &mut Core, id: Id, result: Result<Answer, Refusal>) {
    let Some(State::Settling(delivery)) = core.outbox.under_way.get(&id).copied() else { return };
    match result {
        Err(_) => {
            core.outbox.under_way.insert(id, State::Unsettled(delivery));
            look_in(core, OUTBOX_RETRY);
        }
        Ok(answer) => {
            if core.outbox.looking {
                core.outbox.under_way.insert(id, State::Settled);
            } else {
                core.outbox.under_way.remove(&id);
            }
            if let Some(MailFate::GivenUp) = MailFailed::from_answer(answer) {
                log::error!(target: "natter::mail", mail:% = id; "a mail was given up");
                core.metrics.trouble(ErrorKind::Mail);
            }
            // There is room for one more, and a failed one has its next time.
            wake(core);
        }
    }
}
