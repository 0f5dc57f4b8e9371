//! Events to the streams of their audience: encoded once, queued on each.
//!
//! Owns the fan-out only; what else follows from a fact is in `reactions`.
//! Invariant: events go out in the order of their seq, before the answer of the call that caused them.

use std::sync::Arc;

use crate::model::event::{Audience, Event, Fact};
use crate::server::conn::Conns;
use crate::server::contract::ConnId;
use crate::server::core::Core;
use crate::server::streams::kinds;
use crate::server::streams::publication::Publication;

/// Queues an event on every open stream of its audience, except on `origin`, which gets its answer instead: no answer has a system
/// message, so that `origin` gets its event too. Returns the fact
/// and the audience; the connections on which something was queued are in `core.turn.touched`.
pub fn publish(core: &mut Core, conns: &mut Conns, origin: ConnId, event: Event) -> (Fact, Audience) {
    core.head = core.head.max(event.seq);
    core.metrics.events += 1;
    let mut streams = std::mem::take(&mut core.turn.touched);
    for profile in event.audience.profiles.iter() {
        streams.extend(core.streams.hub.of(*profile));
    }
    let text = core.turn.last_published.take_buffer();
    let is_answered = !matches!(&event.fact, Fact::MessagePosted(message) if message.system.is_some());
    let mut publication = Publication::new(event, text, Arc::clone(&core.epoch), streams.len());
    publication.sign_urls(&core.settings.urls, core.now.unix_s());
    streams.retain(|&id| {
        conns
            .get_mut(id)
            .is_some_and(|conn| kinds::deliver(conn, id == origin && is_answered, &mut publication))
    });
    core.metrics.deliveries += streams.len() as u64;
    core.turn.touched = streams;
    let (event, last_published) = publication.into_parts();
    core.turn.last_published = last_published;
    (event.fact, event.audience)
}
