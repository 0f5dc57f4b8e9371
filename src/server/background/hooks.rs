//! The outgoing hooks: reads the log of each bot that has one, and has workers call its address with each event.
//!
//! Owns how far each hook has come in this process, what is under way and the tries. Leaves to `tasks` when it runs, to `store` the events
//! and the cursors, to `work` the signature and the connection.
//!
//! ```text
//! Resting ──there are newer events──► Reading ──an event of the bot──► Calling ──accepted──► Resting, one event further
//!    ▲                                   │ none                            │ failed
//!    └───────────────────────────────────┘◄──────── back-off ──────────────┘
//! ```
//! Invariant: the events of a hook are accepted in their order, one after another, and the stored cursor is never further. So after a
//! crash the last ones are sent once more, with the same ids.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::secret::Secret;
use crate::limits::HOOK_THREADS;
use crate::model::event::{LogPage, ReadLog, encode_event};
use crate::model::hook::{Hook, HookCall, HookFailure, ListHooks, MoveHook};
use crate::model::id::HookId;
use crate::model::job::{Done, Job};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::settings::SignUrls;
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Between an event and the look for it, so that several are looked for once; and that for each hook, since each one is looked for.
const LOOK_AFTER: Duration = Duration::from_millis(100);
const LOOK_OF_ONE: Duration = Duration::from_millis(1);
/// Between two writes of a cursor.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// A hook that gets no events is stored only this often, so that its cursor is not older than the events that are kept.
const STORE_QUIET_EVERY: Duration = Duration::from_secs(600);
/// The wait after storage or the workers refused.
const RETRY: Duration = Duration::from_secs(5);
/// Hooks whose events are being read: one of the readers is busy with them at most.
const READING_MAX: usize = 4;
/// Of the workers, those for hooks whose last call failed or was slow: they must leave room for the others.
const SLOW_THREADS: usize = 2;
/// From this time on a call is slow.
const SLOW: Duration = Duration::from_secs(2);
/// The wait after the first failure. It doubles with each one.
const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// The longest wait, also if the other side asks for a longer one.
const BACKOFF_MAX: Duration = Duration::from_secs(86_400);

const _: () = assert!(SLOW_THREADS < HOOK_THREADS);

/// What a hook is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Resting,
    Reading,
    /// A worker has the event of this `seq`.
    Calling {
        seq: u64,
        since: Instant,
    },
}

struct State {
    hook: Hook,
    phase: Phase,
    /// Nothing is read before this.
    due: Instant,
    /// Its last call failed or was slow.
    is_slow: bool,
    /// The cursor in storage, as far as it is known.
    stored: u64,
    /// A call was answered since the cursor was stored.
    has_news: bool,
    store_after: Instant,
}

#[derive(Default)]
pub struct Hooks {
    /// Storage has hooks that are not listed here yet.
    is_stale: bool,
    /// At most one for each bot.
    all: BTreeMap<HookId, State>,
    /// The one that was looked at last: the next one is first then.
    last: HookId,
    /// The head of the log at the last look.
    seen: u64,
}

impl Hooks {
    /// `is_any`: whether storage has one.
    pub fn new(is_any: bool) -> Hooks {
        Hooks { is_stale: is_any, ..Hooks::default() }
    }

    fn count(&self, which: impl Fn(&State) -> bool) -> usize {
        self.all.values().filter(|state| which(state)).count()
    }

    /// The next hook that has something to do, in turn.
    fn next(&mut self, head: u64, now: Instant) -> Option<HookId> {
        let is_calling = |state: &State| matches!(state.phase, Phase::Calling { .. });
        let reading = self.count(|state| state.phase == Phase::Reading);
        let busy = reading + self.count(is_calling);
        let slow = self.count(|state| state.is_slow && state.phase != Phase::Resting);
        if reading >= READING_MAX || busy >= HOOK_THREADS {
            return None;
        }
        let may = |state: &State| {
            state.phase == Phase::Resting
                && state.due <= now
                && (state.hook.through < head || state.hook.epoch.is_empty())
                && (!state.is_slow || slow < SLOW_THREADS)
        };
        let after = self.all.range((std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded));
        let found =
            after.chain(self.all.range(..=self.last)).find(|(_, state)| may(state)).map(|(id, _)| *id);
        self.last = found.unwrap_or(self.last);
        found
    }
}

/// Lists the hooks if they have changed, looks for newer events, and stores how far the hooks have come.
pub fn run(core: &mut Core) -> bool {
    if core.is_draining() || core.storage.unproven {
        core.background.tasks.run_by(Periodic::Hooks, core.now.instant + RETRY);
        return false;
    }
    if core.background.hooks.is_stale {
        core.background.hooks.is_stale = false;
        core.ask_store(Caller::Server, ListHooks.into_command(), Next::Task(Task::Run(Periodic::Hooks)));
        return true;
    }
    core.background.hooks.seen = core.head;
    store(core);
    advance(core);
    if let Some(next) = next_run(core) {
        core.background.tasks.run_by(Periodic::Hooks, next);
    }
    false
}

/// When there is something to do that no event and no answer says: a try, or a cursor to be stored.
fn next_run(core: &Core) -> Option<Instant> {
    let (now, head) = (core.now.instant, core.head);
    let all = core.background.hooks.all.values();
    let of = |state: &State| match state.phase {
        Phase::Resting if state.has_news => Some(now + STORE_EVERY),
        Phase::Resting if state.hook.through < head => Some(state.due).filter(|due| *due > now),
        _ => None,
    };
    all.filter_map(of).min()
}

/// Notices newer events, once in a turn.
pub fn tick(core: &mut Core) {
    let hooks = &mut core.background.hooks;
    if hooks.seen < core.head && !hooks.all.is_empty() {
        hooks.seen = core.head;
        let after = LOOK_AFTER.max(LOOK_OF_ONE * hooks.all.len() as u32);
        core.background.tasks.run_by(Periodic::Hooks, core.now.instant + after);
    }
}

/// The duty of a cluster has come or gone: each hook goes on from its stored cursor. Answers and workers under way find nothing.
pub fn begin_anew(core: &mut Core) {
    core.background.hooks = Hooks::new(true);
}

/// A hook was set or removed, or a bot was disabled, enabled or deleted.
pub fn changed(core: &mut Core) {
    core.background.hooks.is_stale = true;
    tasks::wake(core, Periodic::Hooks);
}

/// Storage has listed the hooks.
pub fn listed(core: &mut Core, result: Result<Answer, Refusal>) {
    let Ok(Some(list)) = result.map(ListHooks::from_answer) else {
        core.background.hooks.is_stale = true;
        return tasks::ended(core, Periodic::Hooks, Some(RETRY));
    };
    let now = core.now;
    let hooks = &mut core.background.hooks;
    let mut before = std::mem::take(&mut hooks.all);
    for mut hook in list {
        // One that is known here may be further than its stored cursor.
        if let Some(known) = before.remove(&hook.id) {
            hooks.all.insert(hook.id, known);
            continue;
        }
        if *hook.epoch != *core.epoch {
            // Of another history: see `next`.
            hook.epoch.clear();
        }
        let due = now.instant + Duration::from_millis(hook.retry_at.since(now.unix_ms)).min(BACKOFF_MAX);
        let (stored, is_slow) = (hook.through, hook.failures > 0);
        let state = State {
            hook,
            phase: Phase::Resting,
            due,
            is_slow,
            stored,
            has_news: false,
            store_after: now.instant + STORE_QUIET_EVERY,
        };
        hooks.all.insert(state.hook.id, state);
    }
    // The next run begins with them.
    tasks::ended(core, Periodic::Hooks, Some(Duration::ZERO));
}

/// Has the next events read, as far as there is room.
fn advance(core: &mut Core) {
    while !core.is_draining() && core.has_duty() {
        let Some(id) = core.background.hooks.next(core.head, core.now.instant) else { return };
        let Some(state) = core.background.hooks.all.get_mut(&id) else { return };
        if state.hook.epoch.is_empty() {
            reset(core, id, "epoch", core.head);
            continue;
        }
        state.phase = Phase::Reading;
        let read =
            ReadLog { profile: state.hook.profile, after: state.hook.through, from_oldest: false, limit: 1 };
        core.ask_store(Caller::Server, read.into_command(), Next::Task(Task::ReadHook(id)));
    }
}

/// Storage has read the next event of a hook.
pub fn read(core: &mut Core, id: HookId, result: Result<Answer, Refusal>) {
    let now = core.now;
    let Some(state) = core.background.hooks.all.get_mut(&id) else { return };
    state.phase = Phase::Resting;
    match result.map(ReadLog::from_answer) {
        Ok(Some(LogPage::Events { events, through, .. })) => match events.into_iter().next() {
            Some((seq, mut fact)) => {
                fact.sign_urls(&core.settings.urls, now.unix_s());
                call(core, id, seq, encode_event(seq, &fact));
            }
            None => state.hook.through = state.hook.through.max(through),
        },
        Ok(Some(LogPage::Pruned { head })) => reset(core, id, "pruned", head),
        Ok(Some(LogPage::Ahead { head })) => reset(core, id, "epoch", head),
        Ok(None) | Err(_) => wait(core, id, RETRY),
    }
    advance(core);
}

/// Nothing is read for this hook for a while.
fn wait(core: &mut Core, id: HookId, time: Duration) {
    let due = core.now.instant + time;
    if let Some(state) = core.background.hooks.all.get_mut(&id) {
        state.due = due;
        core.background.tasks.run_by(Periodic::Hooks, due);
    }
}

/// Tells that events are missing: all up to this `seq`.
fn reset(core: &mut Core, id: HookId, reason: &str, seq: u64) {
    let body = format!(r#"{{"event":"reset","reason":"{reason}","seq":{seq}}}"#);
    call(core, id, seq, body.into_bytes());
}

fn call(core: &mut Core, id: HookId, seq: u64, body: Vec<u8>) {
    let now = core.now;
    let Some(state) = core.background.hooks.all.get_mut(&id) else { return };
    state.phase = Phase::Calling { seq, since: now.instant };
    let call = HookCall {
        url: state.hook.url.clone(),
        secret: state.hook.secret,
        // A restored database repeats a `seq`, in another epoch.
        id: format!("{id}-{}-{seq}", core.epoch),
        body: Secret::new(body),
        unix_s: now.unix_s(),
    };
    let ticket = core.calls.insert(Call { caller: Caller::Server, next: Next::Task(Task::CallHook(id)) });
    core.effects.push_back(Effect::Work { ticket, job: Job::CallHook(Box::new(call)) });
}

/// A worker is done with a call.
pub fn called(core: &mut Core, id: HookId, done: Done) {
    let now = core.now;
    let epoch = core.epoch.to_string();
    let Some(state) = core.background.hooks.all.get_mut(&id) else { return };
    let Phase::Calling { seq, since } = state.phase else { return };
    state.phase = Phase::Resting;
    match done {
        Done::HookCalled(Ok(())) => {
            core.metrics.hook_calls += 1;
            let had_failed = state.hook.failures > 0;
            state.hook.epoch = epoch;
            state.hook.through = seq;
            state.hook.failures = 0;
            state.is_slow = now.instant.saturating_duration_since(since) >= SLOW;
            state.has_news = true;
            if had_failed {
                // Those who look at its state see that it works again.
                move_hook(core, id, None);
            } else {
                core.background.tasks.run_by(Periodic::Hooks, now.instant + STORE_EVERY);
            }
        }
        // The workers have no time for it now.
        Done::Busy => wait(core, id, RETRY),
        done => {
            core.metrics.hook_failures += 1;
            let failure = match done {
                Done::HookCalled(Err(failure)) => *failure,
                // The worker panicked, and the pool has logged it.
                _ => HookFailure { error: "an error of this server".to_owned(), retry_after: None },
            };
            let doubled = BACKOFF_FIRST.saturating_mul(1 << state.hook.failures.min(16));
            let time = doubled.max(failure.retry_after.unwrap_or_default()).min(BACKOFF_MAX);
            state.hook.failures = state.hook.failures.saturating_add(1);
            state.hook.retry_at = now.unix_ms.after(time.as_millis() as u64);
            state.is_slow = true;
            wait(core, id, time);
            move_hook(core, id, Some(failure.error));
        }
    }
    advance(core);
}

/// Stores how far the hooks have come, each at most once a second.
fn store(core: &mut Core) {
    let now = core.now.instant;
    let is_due = |state: &State| {
        state.hook.through > state.stored
            && state.hook.failures == 0
            && (state.has_news || state.store_after <= now)
    };
    let due = core.background.hooks.all.iter().filter(|(_, state)| is_due(state));
    for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
        move_hook(core, id, None);
    }
}

/// Writes the cursor of a hook. After a fault of storage the next one is written with the next event.
fn move_hook(core: &mut Core, id: HookId, error: Option<String>) {
    let now = core.now.instant;
    let Some(state) = core.background.hooks.all.get_mut(&id) else { return };
    // Of another history it has come nowhere yet.
    if state.hook.epoch.is_empty() {
        state.hook.through = 0;
    }
    (state.stored, state.has_news) = (state.hook.through, false);
    state.store_after = now + STORE_QUIET_EVERY;
    let moved = MoveHook {
        hook: id,
        epoch: state.hook.epoch.clone(),
        through: state.hook.through,
        failures: state.hook.failures,
        retry_at: if error.is_some() { state.hook.retry_at } else { Default::default() },
        error,
    };
    core.ask_store(Caller::Server, moved.into_command(), Next::Task(Task::MoveHook));
}
