//! Work that belongs to no connection: mail, geolocation, last-seen times, upkeep of storage and memory.
//!
//! `tasks` has the table of what runs when; the other files have what one run does.

pub(crate) mod backup;
pub(crate) mod certificate;
pub(crate) mod digest;
pub(crate) mod duty;
pub(crate) mod hooks;
pub(crate) mod last_seen;
pub(crate) mod outbox;
pub(crate) mod push;
pub(crate) mod retention;
pub(crate) mod sweep;
pub(crate) mod tasks;
pub(crate) mod upkeep;

use std::time::Instant;

use crate::model::operation::Start;
use crate::model::settings::Settings;

/// What the server does by itself, and what it waits for.
///
/// Invariant: what must survive a crash is in rows or files; this is only what is in progress.
pub(crate) struct Background {
    pub tasks: tasks::Tasks,
    pub outbox: outbox::Outbox,
    pub pusher: push::Pusher,
    pub hooks: hooks::Hooks,
    pub last_seen: last_seen::LastSeen,
    pub certificate: certificate::Certificate,
    pub digests: digest::Digests,
    pub duty: duty::Duty,
    pub sweep: sweep::Sweep,
    pub retention: retention::Retention,
    /// Whether a worker has a backup to make.
    pub backup: bool,
}

impl Background {
    /// With what storage has at the start.
    pub fn new(settings: &Settings, start: &Start, now: Instant) -> Background {
        Background {
            tasks: tasks::Tasks::new(now),
            outbox: outbox::Outbox::default(),
            pusher: push::Pusher::new(start.is_subscribed),
            hooks: hooks::Hooks::new(start.has_hooks),
            last_seen: last_seen::LastSeen::default(),
            certificate: certificate::Certificate::new(settings.https.as_ref(), start.certificate.clone()),
            digests: digest::Digests::default(),
            sweep: sweep::Sweep::default(),
            retention: retention::Retention::default(),
            backup: false,
            duty: duty::Duty::new(settings.cluster.as_ref(), now),
        }
    }
}
