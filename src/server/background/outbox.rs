//! The outbox: fetches mails that are due, has workers send them, and writes the result of each.
//!
//! Owns the state of the mails that were fetched. Leaves to `tasks` when it runs, to `model` the texts, to `work` the delivery, to
//! `store` the time of the next try.
//!
//! ```text
//! due ──fetched──► Sending ──done──► Recording ──written──► gone, or due again later
//!                     │ no worker free    │ storage refused
//!                     └──► due            └──► Unrecorded ──next look──► Recording
//! ```
//! Invariant: a mail that was sent is never handed out again by this process, whatever storage answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::secret::Secret;
use crate::limits::MAILS_UNDER_WAY_MAX;
use crate::model::id::MailId;
use crate::model::job::{Delivery, Done, Job};
use crate::model::mail::{DueMail, FetchMail, Letter, MailFailed, MailFate, MailPage, MailSent};
use crate::model::mail_text;
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// The wait after storage or the workers refused the outbox's work.
const OUTBOX_RETRY: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Outbox {
    /// At most [`MAILS_UNDER_WAY_MAX`].
    under_way: BTreeMap<MailId, State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sending,
    /// Its outcome is being written.
    Recording(Delivery),
    /// Its outcome could not be written.
    Unrecorded(Delivery),
    /// Its outcome is written. It is kept until the fetch in flight has ended, which may still show the row.
    Recorded,
}

/// Looks at the outbox: writes again what could not be written, and fetches what is due.
pub fn run(core: &mut Core) -> bool {
    let unrecorded = core.background.outbox.under_way.iter().filter_map(|(id, state)| match state {
        State::Unrecorded(delivery) => Some((*id, *delivery)),
        _ => None,
    });
    let unrecorded: Vec<(MailId, Delivery)> = unrecorded.collect();
    for (id, delivery) in unrecorded {
        record(core, id, delivery);
    }
    let is_full = core.background.outbox.under_way.len() >= MAILS_UNDER_WAY_MAX;
    if is_full || core.is_draining() || !core.has_duty() {
        return false;
    }
    // Rows that were fetched before are still due, and come first: the page has room for all of them and at least one more.
    let fetch = FetchMail { at: core.now.unix_ms, limit: MAILS_UNDER_WAY_MAX as u32 };
    core.ask_store(Caller::Server, fetch.into_command(), Next::Task(Task::Run(Periodic::Mail)));
    true
}

pub fn fetched(core: &mut Core, result: Result<Answer, Refusal>) {
    let Ok(Some(page)) = result.map(FetchMail::from_answer) else {
        forget_recorded(core);
        return tasks::ended(core, Periodic::Mail, Some(OUTBOX_RETRY));
    };
    let MailPage { mails, next_due_at } = page;
    let is_on_duty = core.has_duty();
    for mail in mails.into_iter().take_while(|_| is_on_duty) {
        let outbox = &mut core.background.outbox;
        if outbox.under_way.contains_key(&mail.id) {
            continue;
        }
        if outbox.under_way.len() >= MAILS_UNDER_WAY_MAX {
            break;
        }
        send(core, mail);
    }
    // Not earlier: this page may be older than the outcome of its mails.
    forget_recorded(core);
    let wait = next_due_at.map(|due_at| Duration::from_millis(due_at.since(core.now.unix_ms)));
    // A row that is due waits for room; the end of a mail makes room and wakes this task.
    tasks::ended(core, Periodic::Mail, wait.filter(|wait| !wait.is_zero()));
}

fn forget_recorded(core: &mut Core) {
    core.background.outbox.under_way.retain(|_, state| *state != State::Recorded);
}

fn retry(core: &mut Core) {
    core.background.tasks.run_by(Periodic::Mail, core.now.instant + OUTBOX_RETRY);
}

fn send(core: &mut Core, mail: DueMail) {
    let Some(to) = &mail.to else {
        // A mail without a recipient takes as long as any other, so that its time does not show that no account has the address.
        return record(core, mail.id, Delivery::Sent);
    };
    let (subject, body) = mail_text::render(&mail, &core.settings.lookup_key, &core.settings.public_url);
    let letter = Letter {
        id: mail.id,
        member: to.member,
        kind: mail.content.kind(),
        to: to.email.clone(),
        date_ms: mail.written_at,
        subject: Secret::new(subject),
        body: Secret::new(body),
    };
    core.background.outbox.under_way.insert(mail.id, State::Sending);
    let call = Call { caller: Caller::Server, next: Next::Task(Task::SendMail(mail.id)) };
    let ticket = core.calls.insert(call);
    core.effects.push_back(Effect::Work { ticket, job: Job::SendMail(Box::new(letter)) });
}

/// A worker is done with a mail.
pub fn delivered(core: &mut Core, id: MailId, done: Done) {
    match done {
        Done::Mail(delivery) => {
            // Counted now and not after a day of tries, since only the operator can fix it.
            if delivery == Delivery::Blocked {
                core.metrics.trouble(ErrorKind::Mail, "no mail can be sent as it is configured");
            }
            record(core, id, delivery);
        }
        Done::Busy => {
            core.background.outbox.under_way.remove(&id);
            retry(core);
        }
        // The worker panicked; the pool has logged it.
        _ => record(core, id, Delivery::Failed),
    }
}

fn record(core: &mut Core, id: MailId, delivery: Delivery) {
    core.background.outbox.under_way.insert(id, State::Recording(delivery));
    let at = core.now.unix_ms;
    let command = match delivery {
        Delivery::Sent => MailSent { id }.into_command(),
        Delivery::Failed | Delivery::Blocked => MailFailed { id, at, permanent: false }.into_command(),
        Delivery::Refused => MailFailed { id, at, permanent: true }.into_command(),
    };
    core.ask_store(Caller::Server, command, Next::Task(Task::RecordMail(id)));
}

/// The outcome of a mail is written, or could not be.
pub fn recorded(core: &mut Core, id: MailId, result: Result<Answer, Refusal>) {
    let Some(State::Recording(delivery)) = core.background.outbox.under_way.get(&id).copied() else { return };
    match result {
        Err(_) => {
            core.background.outbox.under_way.insert(id, State::Unrecorded(delivery));
            retry(core);
        }
        Ok(answer) => {
            if core.background.tasks.is_in_flight(Periodic::Mail) {
                core.background.outbox.under_way.insert(id, State::Recorded);
            } else {
                core.background.outbox.under_way.remove(&id);
            }
            if let Some(MailFate::GivenUp) = MailFailed::from_answer(answer) {
                log::error!(target: "natter::mail", mail:% = id; "a mail was given up");
                core.metrics.trouble(ErrorKind::Mail, "a mail was given up");
            }
            // There is room for one more mail, and a failed one has a new time.
            tasks::wake(core, Periodic::Mail);
        }
    }
}
