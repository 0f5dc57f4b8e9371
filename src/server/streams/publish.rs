//! Events on their way to those who may hear them: encoded once, queued on every stream of the audience.
//! Invariant: events go out in the order of their seq, before the answer of the call that caused them.

use std::sync::Arc;

use crate::base::send_queue::SendQueue;
use crate::limits::SEGMENT_COPY_MAX;
use crate::model::event::{EndedSession, Event, Fact, write_event};
use crate::model::settings::SignUrls;
use crate::proto::websocket as frames;
use crate::server::conn::{Conns, Phase};
use crate::server::contract::ConnId;
use crate::server::core::Core;
use crate::server::streams::poll;
use crate::server::streams::presence;
use crate::server::streams::replay::sse_event;
use crate::server::streams::sse;
use crate::server::streams::sse::SseWire;
use crate::server::streams::websocket;

/// Bytes of the room that events are written in, kept from one to the next. Beyond: given back.
const EVENT_TEXT_KEPT: usize = 16_384;

/// An event and, once somebody hears it, its text.
pub struct Publication {
    pub event: Event,
    /// Empty until somebody hears it.
    text: Vec<u8>,
    /// Where in `text` the message begins, if it shows one.
    message_at: Option<usize>,
    frame: Option<Arc<[u8]>>,
    /// As a body of known end frames it, and in a chunk.
    sse: [Option<Arc<[u8]>>; 2],
    epoch: Arc<str>,
    /// How many streams its audience has open.
    pub sharers: usize,
}

impl Publication {
    /// Queues the event as one WebSocket frame: a small one as a copy, a large one as a reference to the same bytes as all.
    pub fn push_frame(&mut self, send: &mut SendQueue) {
        self.write();
        if self.text.len() <= SEGMENT_COPY_MAX {
            frames::push_text(send, &self.text);
        } else {
            send.push_shared(self.frame(), self.sharers);
        }
    }

    /// The event as one WebSocket frame, the same bytes for every native stream.
    pub fn frame(&mut self) -> Arc<[u8]> {
        self.write();
        Arc::clone(self.frame.get_or_insert_with(|| frames::text_frame(&self.text)))
    }

    /// The event as one server-sent event, the same bytes for every stream that frames its body alike.
    pub fn sse(&mut self, wire: SseWire) -> Arc<[u8]> {
        self.write();
        let Publication { event, text, epoch, sse, .. } = self;
        let encode = || wire.frame(sse_event(epoch, event.seq, event.fact.name(), text)).into();
        Arc::clone(sse[usize::from(wire.chunked)].get_or_insert_with(encode))
    }

    fn write(&mut self) {
        if self.text.is_empty() {
            self.message_at = write_event(&mut self.text, self.event.seq, &self.event.fact);
        }
    }
}

/// The event published last. The answer it goes before shows the same message, and need not write it again; the room is used
/// for the next.
#[derive(Default)]
pub struct LastPublished {
    seq: u64,
    text: Vec<u8>,
    message_at: Option<usize>,
}

impl LastPublished {
    /// The message whose newest change was told, as JSON, with the seq of that change.
    pub fn message(&self) -> Option<(u64, &[u8])> {
        let json = self.text.get(self.message_at?..self.text.len().checked_sub(1)?)?;
        Some((self.seq, json))
    }

    /// What was told is over.
    pub fn forget(&mut self) {
        self.message_at = None;
    }
}

/// Queues an event, and appends the connections it touched. `origin` gets its answer instead.
pub fn publish(core: &mut Core, conns: &mut Conns, origin: ConnId, event: Event, touched: &mut Vec<ConnId>) {
    let first = touched.len();
    core.head = core.head.max(event.seq);
    core.metrics.events += 1;
    let epoch = Arc::clone(&core.epoch);
    let mut text = std::mem::take(&mut core.last_published).text;
    text.clear();
    let sharers = event.audience.profiles.iter().map(|profile| core.hub.of(*profile).len()).sum();
    let sse = [None, None];
    let mut publication = Publication { event, text, message_at: None, frame: None, sse, epoch, sharers };
    publication.event.fact.sign_urls(&core.settings.urls, core.now.unix_s());
    for place in 0..publication.event.audience.profiles.len() {
        for &id in core.hub.of(publication.event.audience.profiles[place]) {
            let Some(conn) = conns.get_mut(id) else { continue };
            let heard = match &mut conn.phase {
                Phase::WebSocket(stream) => stream.deliver(&mut conn.send, id == origin, &mut publication),
                Phase::EventStream(stream) => stream.deliver(&mut conn.send, &mut publication),
                Phase::Poll(poll) => poll.deliver(),
                _ => false,
            };
            if heard {
                core.metrics.deliveries += 1;
                touched.push(id);
            }
        }
    }
    let Publication { event: Event { seq, fact, audience }, text, message_at, .. } = publication;
    if text.capacity() <= EVENT_TEXT_KEPT {
        core.last_published = LastPublished { seq, text, message_at };
    }
    let audience = audience.profiles;
    if let Fact::SessionEnded(ended) = &fact {
        let EndedSession { session, until } = **ended;
        core.session_ended(session, until);
        for profile in audience.iter() {
            for id in core.hub.of(*profile).to_vec() {
                let Some(conn) = conns.get_mut(id) else { continue };
                match &conn.phase {
                    Phase::WebSocket(stream) if stream.session() == Some(session) => {
                        websocket::close(core, conn, websocket::SESSION_OVER, "session over");
                    }
                    Phase::EventStream(stream) if stream.session() == session => sse::end(core, conn),
                    Phase::Poll(poll) if poll.session() == session => poll::refuse(core, conn),
                    _ => continue,
                }
                touched.push(id);
            }
        }
    }
    // Who hides now was perhaps announced before.
    if let Fact::ProfileUpdated(profile) = &fact
        && !core.hub.of(profile.id).is_empty()
    {
        presence::changed(core, profile.id);
    }
    // The first message makes two people peers: who of them is online was none of the other's business until now.
    if let Fact::MessagePosted(message) = &fact
        && message.n == 1
        && audience.len() == 2
    {
        presence::on_new_peers(core, conns, &audience);
    }
    // Too slow a reader, or a Go-form socket that has something to mark read.
    for &id in &touched[first..] {
        if let Some(conn) = conns.get_mut(id) {
            match &conn.phase {
                Phase::WebSocket(_) => websocket::on_delivered(core, conn),
                Phase::EventStream(_) => sse::advance(core, conn),
                Phase::Poll(_) => poll::advance(core, conn),
                _ => {}
            }
        }
    }
}
