//! The pusher: reads the log for new messages and has workers push what a person has not read.
//!
//! Owns what waits to be pushed, and the cursor. Leaves to `tasks` when it reads the log, to [`devices`] the workers and the tries,
//! to `store` who has read what, to `work` the encryption and the connection.
//!
//! ```text
//! log ──read──► Waiting ──a few seconds──► found ──► one notification for each device ──► sent
//!                  │ a device shows it        │ read, muted or left         │ to be tried again
//!                  └──► dropped               └──► dropped                  └──► Waiting, for this device
//! ```
//! Invariant: the stored cursor is before each message whose notification is not sent or dropped. So after a crash it is sent, perhaps
//! once more; a device shows one for each conversation (`tag`).

pub mod devices;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::devices::{Devices, Waits};
use crate::base::timers::Timers;
use crate::limits::PUSH_SUBSCRIPTIONS_MAX;
use crate::model::id::{ConversationId, ProfileId, SessionId};
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::push::{FindPush, ForgetSubscription, MovePushCursor, ReadPosted};
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;

/// Between two reads of the log, and between two writes of the cursor.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Between a message and its notification: who reads it at once on some device gets none, and several messages are one.
const PUSH_DELAY: Duration = Duration::from_secs(4);
/// The wait after storage or the workers refused.
const PUSH_RETRY: Duration = Duration::from_secs(5);
/// Pairs of a person and a conversation that wait, about 150 bytes each. Above it the log is read on when there is room.
const WAITING_MAX: usize = 16_384;
/// Subjects that are tried again, of all accounts and of one. Above either, one more is given up: push services that always fail must
/// not keep the log from being read on, and those of one account not the tries of others.
const RETRIES_MAX: usize = 8_192;
const RETRIES_OF_ACCOUNT_MAX: usize = 128;
/// Pairs whose state is being read: one of the readers is busy with them at most.
const FINDING_MAX: usize = 16;
/// Notifications that wait for a worker, about 4 KiB each. Above it no more pairs are looked up.
const NOTIFICATIONS_MAX: usize = 1_024;

const _: () = assert!(NOTIFICATIONS_MAX > FINDING_MAX * PUSH_SUBSCRIPTIONS_MAX as usize);

/// What is to be pushed: the state of a conversation, to all devices of a person or to one that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub profile: ProfileId,
    pub conversation: ConversationId,
    pub device: Option<SessionId>,
}

/// What is known of a subject besides what storage knows.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    /// All messages up to this `seq` are pushed.
    pub after: u64,
    /// Tries that failed.
    pub tries: u32,
}

#[derive(Default)]
pub struct Pusher {
    /// Whether anyone may have a subscription: the log is read only then.
    is_subscribed: bool,
    /// Someone has subscribed since the log was asked, which may not know it.
    is_new: bool,
    /// The log is read up to here; `None` if it is to be read from the stored cursor.
    read_to: Option<u64>,
    /// The stored cursor, as far as it is known.
    stored: u64,
    /// A write of the cursor is in flight.
    storing: bool,
    /// The cursor is not written again before this.
    store_after: Option<Instant>,
    /// At most [`WAITING_MAX`] for all devices of a person, and in addition those of one page; at most [`RETRIES_MAX`] for one device.
    waiting: BTreeMap<Subject, Owed>,
    /// How many of them are for one device.
    retries: usize,
    due: Timers<Subject>,
    /// At most [`FINDING_MAX`].
    finding: BTreeMap<u64, (Subject, Owed)>,
    next_number: u64,
    pub devices: Devices,
}

impl Pusher {
    pub fn new(is_subscribed: bool) -> Pusher {
        Pusher { is_subscribed, ..Pusher::default() }
    }

    /// Whether the next subject may be looked up.
    fn has_room(&self) -> bool {
        let most = (self.finding.len() + 1) * PUSH_SUBSCRIPTIONS_MAX as usize;
        self.finding.len() < FINDING_MAX && self.devices.count() + most <= NOTIFICATIONS_MAX
    }

    /// `None` while there is no room: the end of a look-up or of a notification makes room, and calls [`tick`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.next().filter(|_| self.has_room())
    }

    /// Has a subject looked up at `at`, or earlier if it waits already. What was owed for it already is still owed. Returns `false` if
    /// there is no room for one that is tried again.
    fn wait(&mut self, subject: Subject, owed: Owed, at: Instant) -> bool {
        if let Some(waiting) = self.waiting.get_mut(&subject) {
            waiting.after = waiting.after.min(owed.after);
            waiting.tries = waiting.tries.max(owed.tries);
            return true;
        }
        if subject.device.is_some() {
            if self.retries >= RETRIES_MAX || self.retries_of(subject.profile) >= RETRIES_OF_ACCOUNT_MAX {
                return false;
            }
            self.retries += 1;
        }
        self.waiting.insert(subject, owed);
        self.due.set(subject, Some(at));
        true
    }

    /// How many subjects of an account are tried again, counted to the bound.
    fn retries_of(&self, profile: ProfileId) -> usize {
        let first = Subject { profile, conversation: ConversationId::from_u128(0), device: None };
        let of_account = self.waiting.range(first..).take_while(|(subject, _)| subject.profile == profile);
        of_account.filter(|(subject, _)| subject.device.is_some()).take(RETRIES_OF_ACCOUNT_MAX).count()
    }

    /// The next subject whose time has come.
    fn take_due(&mut self, now: Instant) -> Option<(Subject, Owed)> {
        let subject = self.due.pop(now)?;
        self.retries -= usize::from(subject.device.is_some());
        Some((subject, self.waiting.remove(&subject)?))
    }

    /// Up to which message all notifications are sent.
    fn done_through(&self) -> Option<u64> {
        let waiting = self.waiting.values().chain(self.finding.values().map(|(_, owed)| owed));
        let first = waiting.map(|owed| owed.after).chain(self.devices.owed()).min();
        first.into_iter().chain(self.read_to).min()
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Messages that are not pushed yet, for `/metrics`.
    pub fn lag(&self, head: u64) -> u64 {
        let done = self.done_through().filter(|_| self.is_subscribed);
        done.map_or(0, |done| head.saturating_sub(done))
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.finding.len()
    }
}

/// Reads the log on, if anyone has a subscription.
pub fn run(core: &mut Core) -> bool {
    store_cursor(core);
    let pusher = &core.background.pusher;
    if core.is_draining() || core.settings.push.is_none() || !pusher.is_subscribed {
        return false;
    }
    let has_new = pusher.read_to.is_none_or(|read_to| read_to < core.head);
    if !has_new || pusher.waiting.len() - pusher.retries >= WAITING_MAX {
        again(core);
        return false;
    }
    let read = ReadPosted { at: core.now.unix_ms, after: pusher.read_to };
    core.background.pusher.is_new = false;
    core.ask_store(Caller::Server, read.into_command(), Next::Task(Task::Run(Periodic::Push)));
    true
}

/// The duty of a cluster is this node's now: the log is read on from the stored cursor.
pub fn begin(core: &mut Core) {
    stop(core);
    core.background.pusher.is_subscribed = true;
}

/// Another node does it now. What waits is still owed by the stored cursor; answers and workers under way find nothing.
pub fn stop(core: &mut Core) {
    let pusher = &mut core.background.pusher;
    let (storing, is_subscribed, next_number) = (pusher.storing, pusher.is_subscribed, pusher.next_number);
    let devices = std::mem::take(&mut pusher.devices).stopped();
    *pusher = Pusher { storing, is_subscribed, next_number, devices, ..Pusher::default() };
}

/// Someone subscribed, or changed what a device shows.
pub fn subscribed(core: &mut Core) {
    core.background.pusher.is_subscribed = true;
    core.background.pusher.is_new = true;
    tasks::wake(core, Periodic::Push);
}

/// While anyone has a subscription the log is read each second. The first subscription wakes the task.
fn again(core: &mut Core) {
    core.background.tasks.run_by(Periodic::Push, core.now.instant + READ_EVERY);
}

/// Storage has answered which conversations have new messages.
pub fn read(core: &mut Core, result: Result<Answer, Refusal>) {
    if !core.has_duty() {
        return tasks::ended(core, Periodic::Push, None);
    }
    let Ok(Some(page)) = result.map(ReadPosted::from_answer) else {
        return tasks::ended(core, Periodic::Push, Some(PUSH_RETRY));
    };
    let at = core.now.instant + PUSH_DELAY;
    let pusher = &mut core.background.pusher;
    if pusher.read_to.is_none() {
        pusher.stored = pusher.stored.max(page.after);
    }
    pusher.is_subscribed = page.is_subscribed || pusher.is_new;
    // Without a subscription the stored cursor stays, and the first one moves it.
    pusher.read_to = page.is_subscribed.then_some(page.through);
    for (profile, conversation) in page.unread {
        let subject = Subject { profile, conversation, device: None };
        pusher.wait(subject, Owed { after: page.after, tries: 0 }, at);
    }
    // Not before the next second otherwise: while posts go on there is always a newer one.
    let wait = if page.is_full { Duration::ZERO } else { READ_EVERY };
    tasks::ended(core, Periodic::Push, page.is_subscribed.then_some(wait));
}

/// Writes the cursor, if it has moved.
fn store_cursor(core: &mut Core) {
    let now = core.now.instant;
    let pusher = &mut core.background.pusher;
    if pusher.storing || pusher.store_after.is_some_and(|after| after > now) {
        return;
    }
    if let Some(through) = pusher.done_through().filter(|done| *done > pusher.stored) {
        pusher.storing = true;
        pusher.store_after = Some(now + READ_EVERY);
        let moved = MovePushCursor { through };
        core.ask_store(Caller::Server, moved.into_command(), Next::Task(Task::MovePushCursor(through)));
    }
}

pub fn stored(core: &mut Core, through: u64, result: &Result<Answer, Refusal>) {
    core.background.pusher.storing = false;
    // After a fault the next run writes it again.
    if result.is_ok() {
        core.background.pusher.stored = core.background.pusher.stored.max(through);
    }
}

/// Looks up the subjects whose time has come. What a device of the person shows is not pushed.
pub fn tick(core: &mut Core) {
    while !core.is_draining() && core.background.pusher.has_room() {
        let Some((subject, owed)) = core.background.pusher.take_due(core.now.instant) else { return };
        let Subject { profile, conversation, .. } = subject;
        if core.streams.is_shown(profile, conversation) {
            continue;
        }
        let number = core.background.pusher.number();
        core.background.pusher.finding.insert(number, (subject, owed));
        let find = FindPush { at: core.now.unix_ms, profile, conversation };
        core.ask_store(Caller::Server, find.into_command(), Next::Task(Task::FindPush(number)));
    }
}

/// Storage has answered what is to be pushed.
pub fn found(core: &mut Core, number: u64, result: Result<Answer, Refusal>) {
    let Some((subject, owed)) = core.background.pusher.finding.remove(&number) else { return };
    let now = core.now.instant;
    match result.map(FindPush::from_answer) {
        Ok(Some(Some(push))) => {
            for device in &push.devices {
                // A session may have ended since storage looked.
                let is_over = core.ended.has(device.session);
                if is_over || subject.device.is_some_and(|only| only != device.session) {
                    continue;
                }
                let one = Subject { device: Some(device.session), ..subject };
                match core.background.pusher.devices.waits(subject.profile, device.session, now) {
                    Waits::Until(at) => try_again(core, one, owed, at),
                    Waits::No => devices::queue(core, &push, device, one, owed),
                }
            }
        }
        Ok(_) => {}
        Err(_) => try_again(core, subject, owed, now + PUSH_RETRY),
    }
    devices::start(core);
    tick(core);
}

/// A subject is looked up again after a while.
fn try_again(core: &mut Core, subject: Subject, owed: Owed, at: Instant) {
    if !core.background.pusher.wait(subject, owed, at) {
        core.metrics.trouble(ErrorKind::Push, "too many notifications wait: one was dropped");
    }
}

/// A push service does not know a subscription any more.
fn forget(core: &mut Core, gone: ForgetSubscription) {
    core.ask_store(Caller::Server, gone.into_command(), Next::Task(Task::ForgetSubscription));
}
