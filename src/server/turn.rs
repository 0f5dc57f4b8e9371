//! Scratch data of one input: it exists between the beginning and the end of [`Server::handle`].
//!
//! Owns what one step leaves for a later step of the same turn. The next input uses none of it.
//! Invariant: [`Turn::end`] finds every list empty.
//!
//! [`Server::handle`]: crate::server::Server::handle

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::handler::FollowUp;
use crate::model::id::ProfileId;
use crate::server::contract::ConnId;

/// Bytes of the buffer that events are written in, kept from one event to the next. A larger one is freed.
const EVENT_TEXT_KEPT: usize = 16_384;

#[derive(Default)]
pub struct Turn {
    /// The event that was published last.
    pub last_published: LastPublished,
    /// Connections on which the current event queued something; they are updated after it.
    pub touched: Vec<ConnId>,
    /// Work that handlers asked for in addition to their answer.
    pub follow_ups: Vec<FollowUp>,
    /// Ephemeral events for other connections than the current one; they are queued at the end of the turn.
    pub broadcasts: VecDeque<Broadcast>,
}

impl Turn {
    /// The input is handled.
    pub fn end(&mut self) {
        debug_assert!(self.touched.is_empty() && self.follow_ups.is_empty() && self.broadcasts.is_empty());
        self.last_published.message_at = None;
    }
}

/// An ephemeral event for the native streams of some profiles. A profile without a stream does not get it later.
pub struct Broadcast {
    pub profiles: Arc<[ProfileId]>,
    pub frame: Arc<[u8]>,
}

/// The text of the event that was published last. The answer after it shows the same message and copies it from here. The
/// buffer is used for the next event.
#[derive(Default)]
pub struct LastPublished {
    seq: u64,
    text: Vec<u8>,
    message_at: Option<usize>,
}

impl LastPublished {
    pub fn new(seq: u64, text: Vec<u8>, message_at: Option<usize>) -> LastPublished {
        if text.capacity() > EVENT_TEXT_KEPT {
            return LastPublished::default();
        }
        LastPublished { seq, text, message_at }
    }

    /// The message whose newest change was published, as JSON, with the seq of that change.
    pub fn message(&self) -> Option<(u64, &[u8])> {
        let json = self.text.get(self.message_at?..self.text.len().checked_sub(1)?)?;
        Some((self.seq, json))
    }

    /// An empty buffer for the next event.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(self).text;
        text.clear();
        text
    }
}
