//! Sends notifications: encrypts each one for its browser and posts it to the push service.
//!
//! A member chooses the URL of the push service, so it must not lead into this host's network: each IP address that its name resolves to
//! is checked before the connection, and redirects are not followed.
//! Invariant: a notification takes at most [`PUSH_DEADLINE`] plus the name resolution, and only the head of the response is read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{Trust, Wire, WireFault};
use crate::base::crypto::p256::{P256, SigningKey};
use crate::base::network::is_public;
use crate::model::job::{Done, Job};
use crate::model::push::{Notification, Pushed};
use crate::proto::http::client::{ResponseHead, ResponseReader};
use crate::proto::push::encryption::{PADDING_STEP, encrypt};
use crate::proto::push::request::{PushEndpoint, PushRequest, Verdict, verdict};
use crate::proto::push::vapid;

/// Time limit of one notification, connection included.
const PUSH_DEADLINE: Duration = Duration::from_secs(10);
/// How long a push service keeps a notification for an offline device, in seconds. After that the member sees the messages when they
/// open the client.
const PUSH_TTL_S: u32 = 3 * 86_400;

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
pub struct PushSender(PushOptions);

impl PushSender {
    pub fn new(options: PushOptions) -> PushSender {
        PushSender(options)
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

    fn send(&self, notification: &Notification) -> Result<Pushed, WireFault> {
        let PushOptions { curve, key, contact, private, trust } = &self.0;
        let Ok(endpoint) = PushEndpoint::parse(notification.endpoint.expose()) else {
            return Ok(Pushed::Gone);
        };
        // A key that is no point of the curve can receive nothing, now or later.
        let Some(agreed) = curve.agree(&notification.recipient.public) else { return Ok(Pushed::Gone) };
        let text = notification.text.expose();
        let Ok(body) = encrypt(text, PADDING_STEP, &notification.recipient, &agreed, notification.salt)
        else {
            return Ok(Pushed::Refused);
        };
        let service = &endpoint.service;
        let authorization = vapid::authorization(key, service, contact.as_deref(), notification.unix_s);
        let request = endpoint.post(&PushRequest {
            ttl_s: PUSH_TTL_S,
            topic: &notification.topic,
            authorization: &authorization,
            body: &body,
        });
        let allowed = |address: IpAddr| *private || is_public(address);
        let mut wire = Wire::connect_to(&service.host, service.port, PUSH_DEADLINE, allowed)?;
        wire.start_tls(trust, &service.host)?;
        wire.send(&request)?;
        let head = read_head(&mut wire)?;
        wire.close();
        Ok(match verdict(head, notification.unix_s) {
            Verdict::Accepted => Pushed::Accepted,
            Verdict::Gone => Pushed::Gone,
            Verdict::Later(after) => Pushed::Later(after),
            Verdict::Refused => {
                log::debug!(target: "natter::push", "a push service refused with status {}", head.status);
                Pushed::Refused
            }
        })
    }
}

fn read_head(wire: &mut Wire) -> Result<ResponseHead, WireFault> {
    let (mut reader, mut received) = (ResponseReader::new(), Vec::new());
    loop {
        received.clear();
        let more = wire.receive(&mut received)?;
        let read = reader.receive(&received);
        match (reader.head(), read) {
            (Some(head), _) => return Ok(head),
            (None, Err(_)) => return Err(WireFault::failed("the push service's response is not HTTP")),
            (None, Ok(_)) if !more => {
                return Err(WireFault::failed("the push service's response is incomplete"));
            }
            (None, Ok(_)) => {}
        }
    }
}
