//! The notifications on their way to workers: in which order, how many at once, and what follows from the answer of a push service.
//!
//! Owns what is known of each device in this process. A push service is chosen by a member, so it may be slow on purpose: an account
//! has one notification under way at a time, and devices that did not answer last time share a few of the workers.
//! Invariant: a device that is slow or fails delays other accounts by no more than those workers.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{NOTIFICATIONS_MAX, Owed, PUSH_RETRY, Subject};
use crate::base::crypto::base64url;
use crate::base::secret::Secret;
use crate::limits::PUSH_THREADS;
use crate::model::id::{ProfileId, SessionId};
use crate::model::job::{Done, Job};
use crate::model::metrics::ErrorKind;
use crate::model::push::{ForgetSubscription, Notification, Push, PushDevice, Pushed};
use crate::proto::push::request::TOPIC_CHARS_MAX;
use crate::server::calls::{Call, Caller, Next, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Workers for devices whose push service has not accepted the last notification, or got none yet.
const UNPROVEN_THREADS: usize = 4;
/// Notifications that wait for a worker: of one account, and of all devices that are not proven. Above either, one more is looked up
/// again later: those that are slow must leave room for the others.
const QUEUED_OF_ACCOUNT_MAX: usize = 64;
const QUEUED_UNPROVEN_MAX: usize = NOTIFICATIONS_MAX / 4;
/// Devices of which something is known, about 60 bytes each. Above it, the one with the oldest session is forgotten.
const KNOWN_MAX: usize = 16_384;
/// Tries of one notification. After them it is given up.
const TRIES_MAX: u32 = 6;
/// The wait after the first failure. It doubles with each one.
const BACKOFF_FIRST: Duration = Duration::from_secs(15);
/// The longest wait, also if a push service asks for a longer one.
const BACKOFF_MAX: Duration = Duration::from_secs(3_600);

const _: () = assert!(UNPROVEN_THREADS < PUSH_THREADS);

/// Which workers a device may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Proven,
    Unproven,
}

/// What is known of a device in this process.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// The last notification was accepted.
    Proven,
    /// So many failed in a row; none is sent before this time.
    Failed { count: u32, until: Instant },
}

struct Queued {
    subject: Subject,
    owed: Owed,
    session: SessionId,
    /// As it was when it was queued.
    class: Class,
    notification: Box<Notification>,
}

/// One that a worker has.
struct UnderWay {
    subject: Subject,
    owed: Owed,
    session: SessionId,
    endpoint: Secret,
    class: Class,
}

#[derive(Default)]
pub struct Devices {
    known: BTreeMap<SessionId, Known>,
    /// The notifications of each account. An account is here as long as it has one, waiting or under way.
    queues: BTreeMap<ProfileId, VecDeque<Queued>>,
    /// The accounts that wait for a worker, by the class of the device that is next.
    proven: VecDeque<ProfileId>,
    unproven: VecDeque<ProfileId>,
    /// At most [`PUSH_THREADS`].
    under_way: BTreeMap<u64, UnderWay>,
    next_number: u64,
    len: usize,
    /// How many were queued for devices that were not proven.
    queued_unproven: usize,
}

/// Whether a device may be sent a notification now.
pub enum Waits {
    No,
    Until(Instant),
}

impl Devices {
    /// With nothing that waits or is under way. What is known of devices is kept.
    pub fn stopped(self) -> Devices {
        Devices { known: self.known, next_number: self.next_number, ..Devices::default() }
    }

    /// Notifications that wait or are under way.
    pub fn count(&self) -> usize {
        self.len
    }

    /// After which message each of them is owed.
    pub fn owed(&self) -> impl Iterator<Item = u64> {
        let queued = self.queues.values().flatten().map(|queued| queued.owed.after);
        queued.chain(self.under_way.values().map(|under_way| under_way.owed.after))
    }

    pub fn waits(&self, profile: ProfileId, session: SessionId, now: Instant) -> Waits {
        let of_account = self.queues.get(&profile).map_or(0, VecDeque::len);
        match self.known.get(&session) {
            Some(Known::Failed { until, .. }) if *until > now => Waits::Until(*until),
            Some(Known::Proven) if of_account < QUEUED_OF_ACCOUNT_MAX => Waits::No,
            None | Some(Known::Failed { .. })
                if of_account < QUEUED_OF_ACCOUNT_MAX && self.queued_unproven < QUEUED_UNPROVEN_MAX =>
            {
                Waits::No
            }
            _ => Waits::Until(now + PUSH_RETRY),
        }
    }

    fn class(&self, session: SessionId) -> Class {
        match self.known.get(&session) {
            Some(Known::Proven) => Class::Proven,
            _ => Class::Unproven,
        }
    }

    fn learn(&mut self, session: SessionId, known: Known) {
        self.known.insert(session, known);
        if self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// Takes the notification of an account that is next, or the next one for this device.
    fn take(&mut self, profile: ProfileId, session: Option<SessionId>) -> Option<Queued> {
        let queue = self.queues.get_mut(&profile)?;
        let index = queue.iter().position(|one| session.is_none_or(|session| one.session == session))?;
        let queued = queue.remove(index)?;
        self.queued_unproven -= usize::from(queued.class == Class::Unproven);
        Some(queued)
    }

    /// Puts an account in line that has nothing under way, by its next device.
    fn line_up(&mut self, profile: ProfileId) {
        let Some(queue) = self.queues.get(&profile) else { return };
        let Some(next) = queue.front() else {
            self.queues.remove(&profile);
            return;
        };
        match self.class(next.session) {
            Class::Proven => self.proven.push_back(profile),
            Class::Unproven => self.unproven.push_back(profile),
        }
    }

    /// The account whose turn it is, if one of the workers of its class is free.
    fn next(&mut self) -> Option<(ProfileId, Class)> {
        let unproven = self.under_way.values().filter(|one| one.class == Class::Unproven).count();
        if self.under_way.len() - unproven < PUSH_THREADS - UNPROVEN_THREADS
            && let Some(profile) = self.proven.pop_front()
        {
            return Some((profile, Class::Proven));
        }
        if unproven < UNPROVEN_THREADS {
            return self.unproven.pop_front().map(|profile| (profile, Class::Unproven));
        }
        None
    }
}

/// Queues a notification for a device.
pub fn queue(core: &mut Core, push: &Push, device: &PushDevice, subject: Subject, owed: Owed) {
    let mut salt = [0; 16];
    core.entropy.fill(&mut salt);
    let notification = Box::new(Notification {
        endpoint: device.endpoint.clone(),
        recipient: device.recipient,
        text: Secret::new(push.text(device.level)),
        topic: topic(core, subject),
        salt,
        unix_s: core.now.unix_s(),
    });
    let devices = &mut core.background.pusher.devices;
    devices.len += 1;
    let class = devices.class(device.session);
    devices.queued_unproven += usize::from(class == Class::Unproven);
    let queued = Queued { subject, owed, session: device.session, class, notification };
    match devices.queues.get_mut(&subject.profile) {
        Some(queue) => queue.push_back(queued),
        None => {
            devices.queues.insert(subject.profile, [queued].into());
            devices.line_up(subject.profile);
        }
    }
}

/// The same for each notification of a device about a conversation. It says nothing about either, and two devices have two.
fn topic(core: &Core, subject: Subject) -> String {
    let mut bytes = b"natter push topic ".to_vec();
    bytes.extend(subject.conversation.to_bytes());
    bytes.extend(subject.device.iter().flat_map(|session| session.to_bytes()));
    let mut topic = base64url(&core.settings.lookup_key.sign(&bytes));
    topic.truncate(TOPIC_CHARS_MAX);
    topic
}

/// Gives notifications to the workers that are free.
pub fn start(core: &mut Core) {
    while !core.is_draining() {
        let devices = &mut core.background.pusher.devices;
        let Some((profile, class)) = devices.next() else { return };
        let Some(queued) = devices.take(profile, None) else { continue };
        devices.next_number += 1;
        let number = devices.next_number;
        let Queued { subject, owed, session, notification, .. } = queued;
        let endpoint = notification.endpoint.clone();
        devices.under_way.insert(number, UnderWay { subject, owed, session, endpoint, class });
        let call = Call { caller: Caller::Server, next: Next::Task(Task::Push(number)) };
        let ticket = core.calls.insert(call);
        core.effects.push_back(Effect::Work { ticket, job: Job::Push(notification) });
    }
}

/// A session has ended: what is queued for its device is not sent.
pub fn session_ended(core: &mut Core, profile: ProfileId, session: SessionId) {
    let devices = &mut core.background.pusher.devices;
    devices.known.remove(&session);
    let before = devices.len;
    while devices.take(profile, Some(session)).is_some() {
        devices.len -= 1;
    }
    let is_under_way = || devices.under_way.values().any(|one| one.subject.profile == profile);
    if devices.len == before || is_under_way() {
        return;
    }
    // Another device is next.
    devices.proven.retain(|waiting| *waiting != profile);
    devices.unproven.retain(|waiting| *waiting != profile);
    devices.line_up(profile);
}

/// A worker is done with a notification.
pub fn pushed(core: &mut Core, number: u64, done: Done) {
    let devices = &mut core.background.pusher.devices;
    let Some(UnderWay { subject, owed, session, endpoint, .. }) = devices.under_way.remove(&number) else {
        return;
    };
    devices.len -= 1;
    match done {
        Done::Pushed(Pushed::Accepted) => {
            core.metrics.pushes += 1;
            core.background.pusher.devices.learn(session, Known::Proven);
        }
        Done::Pushed(Pushed::Gone) => {
            core.background.pusher.devices.known.remove(&session);
            super::forget(core, ForgetSubscription { session, endpoint });
        }
        Done::Pushed(Pushed::Later(after)) => {
            core.metrics.push_failures += 1;
            let until = failed(core, subject.profile, session, after);
            let owed = Owed { tries: owed.tries + 1, ..owed };
            if owed.tries < TRIES_MAX {
                super::try_again(core, subject, owed, until);
            } else {
                core.metrics.trouble(ErrorKind::Push, "a notification failed in all its tries");
            }
        }
        // The worker has no time for it now.
        Done::Busy => {
            let at = core.now.instant + PUSH_RETRY;
            super::try_again(core, subject, owed, at);
        }
        // Refused for good, or the worker panicked and the pool has logged it.
        _ => {
            core.metrics.push_failures += 1;
            core.metrics.trouble(ErrorKind::Push, "a push service refused a notification");
            failed(core, subject.profile, session, None);
        }
    }
    core.background.pusher.devices.line_up(subject.profile);
    start(core);
    super::tick(core);
}

/// Nothing is sent to this device for a while, also not what is queued for it. Returns until when.
fn failed(core: &mut Core, profile: ProfileId, session: SessionId, after: Option<Duration>) -> Instant {
    let devices = &mut core.background.pusher.devices;
    let count = match devices.known.get(&session) {
        Some(Known::Failed { count, .. }) => count.saturating_add(1),
        _ => 1,
    };
    let doubled = BACKOFF_FIRST.saturating_mul(1 << (count - 1).min(16));
    let wait = doubled.max(after.unwrap_or_default()).min(BACKOFF_MAX);
    let until = core.now.instant + wait;
    devices.learn(session, Known::Failed { count, until });
    while let Some(queued) = core.background.pusher.devices.take(profile, Some(session)) {
        core.background.pusher.devices.len -= 1;
        super::try_again(core, queued.subject, queued.owed, until);
    }
    until
}
