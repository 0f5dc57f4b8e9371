//! Background tasks: what the server does by itself, and when.
//!
//! Owns the table of periodic tasks and the one mechanism that runs them. Leaves to `outbox`, `last_seen`, `push` and `upkeep`
//! what a run does.
//! Invariant: at most one run of a task is in flight, and a task belongs to no connection, so no connection can delay or lose
//! it by closing.

use std::time::{Duration, Instant};

use crate::model::handler::FollowUp;
use crate::model::job::{Done, Job};
use crate::model::mail::PlaceSession;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::background::backup;
use crate::server::background::certificate;
use crate::server::background::digest;
use crate::server::background::duty;
use crate::server::background::hooks;
use crate::server::background::last_seen;
use crate::server::background::outbox;
use crate::server::background::push;
use crate::server::background::retention;
use crate::server::background::sweep;
use crate::server::background::upkeep;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// One periodic task.
struct Row {
    task: Periodic,
    /// From the start of the process to the first run.
    first: Duration,
    /// From the start of a run to the start of the next, unless a run finds that there is work earlier.
    every: Duration,
    /// Whether one node of a cluster does it for all.
    is_shared: bool,
    /// Begins a run; `true` when it waits for storage or a worker, whose answer then calls [`ended`].
    run: fn(&mut Core) -> bool,
}

const MINUTE: Duration = Duration::from_secs(60);

const TABLE: [Row; 12] = [
    // A new mail wakes the task; mails that the last process left are fetched at once. What was sent is recorded without the duty too,
    // so it is the task that asks for it.
    row(Periodic::Mail, Duration::ZERO, MINUTE, outbox::run),
    row(Periodic::Digest, MINUTE, Duration::from_secs(600), digest::run).shared(),
    row(Periodic::LastSeen, MINUTE, MINUTE, last_seen::run),
    row(Periodic::Erase, MINUTE, MINUTE, upkeep::erase).shared(),
    row(Periodic::Retain, MINUTE, Duration::from_secs(3_600), retention::run).shared(),
    row(Periodic::PruneLog, MINUTE, Duration::from_secs(3_600), upkeep::prune).shared(),
    // The file of a deleted upload is removed within a minute, on each node.
    row(Periodic::RemoveFiles, Duration::from_secs(20), Duration::from_secs(20), upkeep::remove_files),
    // Each second while anyone has a subscription; the first one wakes the task.
    row(Periodic::Push, Duration::ZERO, MINUTE, push::run).shared(),
    // Some times a second while a bot has an outgoing hook; the first one wakes the task.
    row(Periodic::Hooks, Duration::ZERO, MINUTE, hooks::run).shared(),
    row(Periodic::Expire, MINUTE, MINUTE, upkeep::expire),
    // With 100,000 members it takes a reader some milliseconds.
    row(Periodic::Totals, Duration::ZERO, MINUTE, upkeep::count_totals),
    // A new file of a certificate is in use within half a minute; an order asks for earlier runs.
    row(Periodic::Certificate, Duration::ZERO, Duration::from_secs(20), certificate::run),
];

const fn row(task: Periodic, first: Duration, every: Duration, run: fn(&mut Core) -> bool) -> Row {
    Row { task, first, every, is_shared: false, run }
}

impl Row {
    const fn shared(self) -> Row {
        Row { is_shared: true, ..self }
    }
}

#[derive(Clone, Copy)]
struct State {
    next_at: Instant,
    in_flight: bool,
    /// Whether there is new work that the run in flight may not see.
    again: bool,
}

/// When each task of the table runs next.
pub struct Tasks([State; TABLE.len()]);

impl Tasks {
    pub fn new(now: Instant) -> Tasks {
        Tasks(TABLE.map(|row| State { next_at: now + row.first, in_flight: false, again: false }))
    }

    /// A run in flight has no deadline: its answer ends it.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter(|state| !state.in_flight).map(|state| state.next_at).min()
    }

    pub fn is_in_flight(&self, task: Periodic) -> bool {
        self.0[index(task)].in_flight
    }

    /// Makes the next run of a task start at `at` or earlier.
    pub fn run_by(&mut self, task: Periodic, at: Instant) {
        let state = &mut self.0[index(task)];
        state.next_at = state.next_at.min(at);
    }
}

fn index(task: Periodic) -> usize {
    TABLE.iter().position(|row| row.task == task).expect("each task has a row")
}

/// Starts the tasks that are due.
pub fn tick(core: &mut Core) {
    duty::tick(core);
    hooks::tick(core);
    for row in &TABLE {
        start_if_due(core, row.task);
    }
}

fn start_if_due(core: &mut Core, task: Periodic) {
    let state = core.background.tasks.0[index(task)];
    if !state.in_flight && (state.again || state.next_at <= core.now.instant) {
        start(core, task);
    }
}

fn start(core: &mut Core, task: Periodic) {
    let row = &TABLE[index(task)];
    let next_at = core.now.instant + row.every;
    let runs = !row.is_shared || core.has_duty();
    core.background.tasks.0[index(task)] = State { next_at, in_flight: runs, again: false };
    core.background.tasks.0[index(task)].in_flight = runs && (row.run)(core);
}

/// There is work for a task: runs it now, or once more after the run in flight.
pub fn wake(core: &mut Core, task: Periodic) {
    core.background.tasks.0[index(task)].again = true;
    start_if_due(core, task);
}

/// The duty of a cluster is this node's now: there may be work for each task that needs it.
pub fn wake_shared(core: &mut Core) {
    let is_wanted = |row: &&Row| row.is_shared || matches!(row.task, Periodic::Mail | Periodic::Certificate);
    for row in TABLE.iter().filter(is_wanted) {
        wake(core, row.task);
    }
}

/// The run in flight has ended. `wait` is the time to the next run that the task found, zero if work is left.
pub fn ended(core: &mut Core, task: Periodic, wait: Option<Duration>) {
    core.background.tasks.0[index(task)].in_flight = false;
    if let Some(wait) = wait {
        core.background.tasks.run_by(task, core.now.instant + wait);
    }
    start_if_due(core, task);
}

/// Starts the work that the handlers of this turn asked for in addition to their answers.
pub fn follow_up(core: &mut Core) {
    for follow_up in std::mem::take(&mut core.turn.follow_ups) {
        match follow_up {
            FollowUp::Mail => wake(core, Periodic::Mail),
            FollowUp::Push => push::subscribed(core),
            FollowUp::Hooks => hooks::changed(core),
            FollowUp::Backup => backup::begin(core),
            FollowUp::Verified(member) => core.requests.verified.insert(member),
            FollowUp::FindPlace { session, address } => {
                let call = Call { caller: Caller::Server, next: Next::Task(Task::FindPlace(session)) };
                let ticket = core.calls.insert(call);
                core.effects.push_back(Effect::Work { ticket, job: Job::FindPlace { address } });
            }
        }
    }
}

/// Storage has answered a task.
pub fn answered(core: &mut Core, task: Task, result: Result<Answer, Refusal>) {
    match task {
        Task::Run(Periodic::Mail) => outbox::fetched(core, result),
        Task::Run(Periodic::LastSeen) => last_seen::written(core),
        Task::Run(Periodic::Digest) => digest::answered(core, result),
        Task::Run(Periodic::Erase) => upkeep::erased(core, result),
        Task::Run(Periodic::Retain) => retention::answered(core, result),
        Task::Run(Periodic::PruneLog) => upkeep::pruned(core, result),
        Task::Run(Periodic::Totals) => upkeep::counted(core, result),
        Task::Run(Periodic::Push) => push::read(core, result),
        Task::Run(Periodic::Hooks) => hooks::listed(core, result),
        Task::ReadHook(hook) => hooks::read(core, hook, result),
        // After a fault it is written with the next event.
        Task::MoveHook => {}
        // Alone, handlers and their continuations do it.
        Task::Run(Periodic::RemoveFiles) => sweep::answered(core, result),
        Task::Run(Periodic::Expire | Periodic::Certificate) => {}
        Task::RecordMail(id) => outbox::recorded(core, id, result),
        // The mail that waited for it is sent because of the fact. If it could not be written, the place stays empty, and the mail
        // is due at its own time.
        Task::PlaceSession => {}
        Task::FindPush(number) => push::found(core, number, result),
        Task::MovePushCursor(through) => push::stored(core, through, &result),
        // After a fault the push service says again that it is gone.
        Task::ForgetSubscription => {}
        Task::HoldDuty => duty::answered(core, result),
        Task::ReleaseNickNames => duty::released(core, &result),
        Task::KeepCertificate => certificate::written(core, &result),
        Task::SendMail(_) | Task::FindPlace(_) | Task::Push(_) | Task::CallHook(_) | Task::MakeBackup => {}
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
        Task::Run(Periodic::Certificate) => certificate::renewed(core, done),
        Task::Run(Periodic::RemoveFiles) => sweep::worked(core, done),
        Task::Push(number) => push::devices::pushed(core, number, done),
        Task::CallHook(hook) => hooks::called(core, hook, done),
        Task::MakeBackup => backup::ended(core, &done),
        Task::Run(_)
        | Task::RecordMail(_)
        | Task::PlaceSession
        | Task::FindPush(_)
        | Task::MovePushCursor(_)
        | Task::ForgetSubscription
        | Task::ReadHook(_)
        | Task::MoveHook
        | Task::HoldDuty
        | Task::ReleaseNickNames
        | Task::KeepCertificate => {}
    }
}
