//! Sends notifications: encrypts each one for its browser and posts it to the push service.
//!
//! A member chooses the URL of the push service: see `kept`. Owns what is known of a service, with the connection that is kept
//! for its next notification. Its threads call outgoing hooks, too.
//! Invariant: one thread knows at most [`SERVICES_MAX`] services.

use std::sync::Arc;

use super::hooks::HookCaller;
use super::kept::{Kept, Reach, exchange};
use super::wire::{Trust, WireFault};
use crate::base::crypto::p256::{P256, SigningKey};
use crate::base::time::UnixS;
use crate::model::job::{Done, Job};
use crate::model::push::{Notification, Pushed};
use crate::proto::http::client::Authority;
use crate::proto::push::encryption::{PADDING_STEP, encrypt};
use crate::proto::push::request::{PushEndpoint, PushRequest, Verdict, verdict};
use crate::proto::push::vapid;

/// How long a push service keeps a notification for an offline device, in seconds. After that the member sees the messages when they
/// open the client.
const PUSH_TTL_S: u32 = 3 * 86_400;

/// Push services that one thread knows. The browsers of most people have two or three.
const SERVICES_MAX: usize = 2;
/// For how long a signed token is sent, in seconds. It is good for longer, also by a clock that differs.
const AUTHORIZATION_LIFE_S: u64 = 3_600;

/// How notifications are sent.
#[derive(Clone)]
pub struct PushOptions {
    /// Makes the P-256 key that each notification is encrypted with.
    pub curve: P256,
    /// Signs the token for the push service (VAPID, RFC 8292).
    pub key: Arc<SigningKey>,
    /// How the operator of a push service reaches the operator of this server: an `https:` or `mailto:` URL.
    pub contact: Option<String>,
    /// Whether a push service may have an address that is not public (PUSH_PRIVATE).
    pub private: bool,
    /// The same for outgoing hooks (HOOKS_PRIVATE).
    pub hooks_private: bool,
    pub trust: Trust,
}

/// The sender of one worker thread.
pub struct PushSender {
    options: PushOptions,
    /// At most [`SERVICES_MAX`], the one that was used last first.
    services: Vec<Service>,
    hooks: HookCaller,
}

/// What is kept of a push service for its next notification.
struct Service {
    authority: Authority,
    /// The value of the header Authorization, and when it was signed.
    authorization: String,
    signed_at: UnixS,
    kept: Option<Kept>,
}

impl PushSender {
    pub fn new(options: PushOptions) -> PushSender {
        PushSender { options, services: Vec::new(), hooks: HookCaller::default() }
    }

    /// Does the job in this thread.
    pub fn run(&mut self, job: Job) -> Done {
        let notification = match job {
            Job::Push(notification) => notification,
            Job::CallHook(call) => {
                let reach = Reach { private: self.options.hooks_private, trust: &self.options.trust };
                return Done::HookCalled(self.hooks.call(reach, &call).map_err(Box::new));
            }
            job => {
                log::error!(target: "natter::push", "{} is not a notification", job.name());
                return Done::Failed;
            }
        };
        let pushed = self.send(&notification).unwrap_or_else(|fault| {
            // The address belongs to a member, so it is not logged.
            log::debug!(target: "natter::push", "a notification could not be sent: {}", fault.reason());
            Pushed::Later(None)
        });
        Done::Pushed(pushed)
    }

    /// Closes the connections.
    pub fn idle(&mut self) {
        let services = std::mem::take(&mut self.services);
        services.into_iter().filter_map(|service| service.kept).for_each(Kept::close);
        self.hooks.idle();
    }

    fn send(&mut self, notification: &Notification) -> Result<Pushed, WireFault> {
        let Ok(endpoint) = PushEndpoint::parse(notification.endpoint.expose()) else {
            return Ok(Pushed::Gone);
        };
        // A key that is no point of the curve can receive nothing, now or later.
        let Some(agreed) = self.options.curve.agree(&notification.recipient.public) else {
            return Ok(Pushed::Gone);
        };
        let text = notification.text.expose();
        let Ok(body) = encrypt(text, PADDING_STEP, &notification.recipient, &agreed, notification.salt)
        else {
            return Ok(Pushed::Refused);
        };
        let now = notification.unix_s;
        let mut service = self.take_service(&endpoint.service, now);
        let request = endpoint.post(&PushRequest {
            ttl_s: PUSH_TTL_S,
            topic: &notification.topic,
            authorization: &service.authorization,
            body: &body,
        });
        let reach = Reach { private: self.options.private, trust: &self.options.trust };
        let exchanged = exchange(reach, &service.authority, &mut service.kept, &request);
        self.services.insert(0, service);
        let head = exchanged?;
        Ok(match verdict(head, now) {
            Verdict::Accepted => Pushed::Accepted,
            Verdict::Gone => Pushed::Gone,
            Verdict::Later(after) => Pushed::Later(after),
            Verdict::Refused => {
                log::debug!(target: "natter::push", "a push service refused with status {}", head.status);
                Pushed::Refused
            }
        })
    }

    /// What is known of a service, with a token for it. It makes room for itself.
    fn take_service(&mut self, authority: &Authority, now: UnixS) -> Service {
        let known = self.services.iter().position(|service| service.authority == *authority);
        let known = known.map(|at| self.services.remove(at));
        while self.services.len() >= SERVICES_MAX {
            let kept = self.services.pop().and_then(|service| service.kept);
            kept.into_iter().for_each(Kept::close);
        }
        let is_fresh = |signed_at: UnixS| signed_at <= now && now.since(signed_at) < AUTHORIZATION_LIFE_S;
        match known {
            Some(service) if is_fresh(service.signed_at) => service,
            known => {
                let PushOptions { key, contact, .. } = &self.options;
                Service {
                    authority: authority.clone(),
                    authorization: vapid::authorization(key, authority, contact.as_deref(), now),
                    signed_at: now,
                    kept: known.and_then(|service| service.kept),
                }
            }
        }
    }
}
