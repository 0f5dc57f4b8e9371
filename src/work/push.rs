//! Sends notifications: encrypts each one for its browser and posts it to the push service.
//!
//! A member chooses the URL of the push service, so it must not lead into this host's network: each IP address that its name resolves to
//! is checked before the connection, and redirects are not followed. Owns the connections that are kept for the next notification: a TLS
//! handshake costs ten times what the rest does.
//! Invariant: a notification takes at most [`PUSH_DEADLINE`] plus the name resolution. A response is not waited for after its head.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Trust, Wire, WireFault};
use crate::base::crypto::p256::{P256, SigningKey};
use crate::base::network::is_public;
use crate::base::time::UnixS;
use crate::model::job::{Done, Job};
use crate::model::push::{Notification, Pushed};
use crate::proto::http::client::{Ask, Authority, ResponseHead, ResponseReader};
use crate::proto::push::encryption::{PADDING_STEP, encrypt};
use crate::proto::push::request::{PushEndpoint, PushRequest, Verdict, verdict};
use crate::proto::push::vapid;

/// Time limit of one notification, connection included.
const PUSH_DEADLINE: Duration = Duration::from_secs(10);
/// How long a push service keeps a notification for an offline device, in seconds. After that the member sees the messages when they
/// open the client.
const PUSH_TTL_S: u32 = 3 * 86_400;

/// Push services that one thread knows. The browsers of most people have two or three.
const SERVICES_MAX: usize = 2;
/// For how long after its start a connection is used: then the name of the service is resolved again.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// A connection that was not used for this long is not used again: the service may have closed it.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(10);
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
    pub trust: Trust,
}

/// The sender of one worker thread.
pub struct PushSender {
    options: PushOptions,
    /// At most [`SERVICES_MAX`], the one that was used last first.
    services: Vec<Service>,
}

/// What is kept of a push service for its next notification.
struct Service {
    authority: Authority,
    /// The value of the header Authorization, and when it was signed.
    authorization: String,
    signed_at: UnixS,
    kept: Option<Kept>,
}

/// An open connection whose last response is complete.
struct Kept {
    wire: Wire,
    opened: Instant,
    used: Instant,
}

impl Kept {
    fn is_usable(&self, now: Instant) -> bool {
        now - self.opened < CONNECTION_LIFE && now - self.used < CONNECTION_IDLE_MAX
    }
}

impl PushSender {
    pub fn new(options: PushOptions) -> PushSender {
        PushSender { options, services: Vec::new() }
    }

    /// Does the job in this thread.
    pub fn run(&mut self, job: Job) -> Done {
        let Job::Push(notification) = job else {
            log::error!(target: "natter::push", "{} is not a notification", job.name());
            return Done::Failed;
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
        services.into_iter().filter_map(|service| service.kept).for_each(|kept| kept.wire.close());
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
        let exchanged = exchange(&self.options, &mut service, &request);
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
            kept.into_iter().for_each(|kept| kept.wire.close());
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

/// Sends the request over the kept connection, or over a new one. Returns the head of the response.
fn exchange(options: &PushOptions, service: &mut Service, request: &[u8]) -> Result<ResponseHead, WireFault> {
    let began = Instant::now();
    let mut usable = service.kept.take();
    if let Some(stale) = usable.take_if(|kept| !kept.is_usable(began)) {
        stale.wire.close();
    }
    if let Some(mut kept) = usable {
        kept.wire.limit(PUSH_DEADLINE);
        match ask(&mut kept.wire, request) {
            Ok(answer) => return Ok(keep(service, kept, answer)),
            // The service has closed it, perhaps after it took the request: then the device gets the same topic twice.
            Err(fault) => {
                log::debug!(target: "natter::push", "a kept connection is over: {}", fault.reason())
            }
        }
    }
    let Authority { host, port, .. } = &service.authority;
    let allowed = |address: IpAddr| options.private || is_public(address);
    let left = PUSH_DEADLINE.saturating_sub(began.elapsed());
    let mut wire = Wire::connect_to(host, *port, left, allowed)?;
    wire.start_tls(&options.trust, host)?;
    let answer = ask(&mut wire, request)?;
    Ok(keep(service, Kept { wire, opened: began, used: began }, answer))
}

/// The head of a response, and whether the next request may follow on its connection.
struct Answered {
    head: ResponseHead,
    may_follow: bool,
}

fn ask(wire: &mut Wire, request: &[u8]) -> Result<Answered, WireFault> {
    wire.send(request)?;
    let mut reader = ResponseReader::keeping(&["connection"], Ask::Get);
    let mut received = Vec::new();
    loop {
        received.clear();
        let more = wire.receive(&mut received)?;
        let read = reader.receive(&received);
        match (reader.head(), read) {
            (Some(head), read) => {
                // A body that comes later is not waited for: it may have no end.
                let is_complete = read == Ok(true) && more;
                let closes =
                    || reader.finish().map_or(true, |response| response.field("connection").is_some());
                return Ok(Answered { head, may_follow: is_complete && !closes() });
            }
            (None, Err(_)) => return Err(WireFault::failed("the push service's response is not HTTP")),
            (None, Ok(_)) if !more => {
                return Err(WireFault::failed("the push service's response is incomplete"));
            }
            (None, Ok(_)) => {}
        }
    }
}

/// Keeps the connection of a service for its next notification, if it may have one.
fn keep(service: &mut Service, connection: Kept, answer: Answered) -> ResponseHead {
    if answer.may_follow {
        service.kept = Some(Kept { used: Instant::now(), ..connection });
    } else {
        connection.wire.close();
    }
    answer.head
}
