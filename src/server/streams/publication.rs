//! One event on its way to the streams of its audience: encoded when the first stream takes it, once for each framing.
//!
//! Leaves to `server::publish` which profiles the audience is, and to the streams whether they take it.
//! Invariant: all streams with the same framing get the same bytes.

use std::sync::Arc;

use crate::base::send_queue::SendQueue;
use crate::base::time::UnixS;
use crate::limits::SEGMENT_COPY_MAX;
use crate::model::event::{Event, write_event};
use crate::model::settings::{SignUrls, UrlSigner};
use crate::proto::websocket as frames;
use crate::server::streams::replay::sse_event;
use crate::server::streams::sse::SseWire;
use crate::server::turn::LastPublished;

/// An event and, once a stream takes it, its text.
pub struct Publication {
    pub event: Event,
    /// Empty until a stream takes it.
    text: Vec<u8>,
    /// Where in `text` the message begins, if it shows one.
    message_at: Option<usize>,
    frame: Option<Arc<[u8]>>,
    /// The server-sent event without chunk framing, and as a chunk.
    sse: [Option<Arc<[u8]>>; 2],
    epoch: Arc<str>,
    /// How many streams its audience has open.
    pub sharers: usize,
}

impl Publication {
    /// `text` is an empty buffer; `sharers` is how many streams the audience has open.
    pub fn new(event: Event, text: Vec<u8>, epoch: Arc<str>, sharers: usize) -> Publication {
        Publication { event, text, message_at: None, frame: None, sse: [None, None], epoch, sharers }
    }

    pub fn sign_urls(&mut self, urls: &UrlSigner, unix_s: UnixS) {
        self.event.fact.sign_urls(urls, unix_s);
    }

    /// The event, and its text if any stream took it.
    pub fn into_parts(self) -> (Event, LastPublished) {
        let last = LastPublished::new(self.event.seq, self.text, self.message_at);
        (self.event, last)
    }

    /// Queues the event as one WebSocket frame: a small one as a copy, a large one as a reference to shared bytes.
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

    /// The event as one server-sent event, the same bytes for every stream with the same framing.
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
