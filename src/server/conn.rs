//! One connection as the server sees it: what it has received, what waits to be sent, and what it waits for.
//!
//! A phase is named by what it waits for; each has one deadline. `dispatch` is the only code that matches on all of them.
//!
//! ```text
//! ReadHead ──head──→ ReadBody ──body──→ Await ──→ (answer)
//!    │                  │                 ↑ ╲
//!    │                  └──→ (answer)     │  ──→ HandOver ──→ Stream ─────────────────→ Linger
//!    ├──head of an upload, or a stream────│──────┘    │         └───a poll──→ (answer)
//!    ├──→ (answer)                        └───────────┴─────→ ReadUpload ─→ (answer)
//!    └──a refusal by rate──→ Delay ──→ (answer)
//!
//! (answer) ──its body still comes──→ Drain ──→ ReadHead, or Linger
//!          ──kept alive────────────→ ReadHead
//!          ──Connection: close─────→ Linger
//! Linger ──the peer has read the answer, or its time is over──→ Closed
//! ```
//! Each phase may go to `Closed` when its peer leaves, its time is over or the server needs its slot.
//! Invariant: a connection in `Await` or `Delay` parses nothing, so answers can't be reordered.

use std::net::IpAddr;
use std::time::Instant;

use crate::base::network::Prefix;
use crate::base::send_queue::SendQueue;
use crate::limits::PIPELINE_BYTES_MAX;
use crate::model::id::MemberId;
use crate::model::problem::Problem;
use crate::proto::http::body::BodyDecoder;
use crate::proto::http::head::HeadReader;
use crate::server::close_reason::CloseReason;
use crate::server::contract::{ConnId, ListenerKind, Ticket};
use crate::server::crowd::{Origin, Standing};
use crate::server::request::exchange::{Exchange, Handover, ReadBody};
use crate::server::request::receiving::Holder;
use crate::server::streams::hub::Subscription;
use crate::server::streams::kinds::StreamKind;
use crate::server::uploads::receive::{ReadUpload, Temporary};
use crate::server::uploads::reservations::Reservation;

/// Nearly all connections of a full server are idle sockets: what few of them have is in a box.
pub struct Conn {
    pub id: ConnId,
    pub peer: IpAddr,
    pub listener_kind: ListenerKind,
    /// Its TLS handshake is not complete.
    pub is_handshaking: bool,
    /// Its peer is a trusted proxy, which brings the requests of many people.
    pub is_proxy: bool,
    pub phase: Phase,
    /// Received and not parsed: less than a head, or requests after the one that is being answered.
    pub inbox: Vec<u8>,
    pub send: SendQueue,
    /// The peer will send nothing more.
    pub ended: bool,
    /// The profile whose events it receives. It is here and not in a phase, so that no change of phase can lose it.
    pub subscription: Option<Subscription>,
    /// The temporary file of the upload it brings. It is here for the same reason.
    pub upload: Option<Box<Temporary>>,
    /// What that upload reserves of its owner's quota until it has a row. It is here for the same reason.
    pub reservation: Option<Box<Reservation>>,
    /// The member whose export it sends. It is here for the same reason.
    pub exports: Option<MemberId>,
    /// It waits in [`Phase::Delay`], as `delays` has counted it. It is here for the same reason.
    pub is_delayed: bool,
    /// A write of this connection met a fault: its lane refuses everything until the connection is closed.
    pub faulted: bool,
    /// It is open only so that its peer can read that there is no room for it.
    pub is_refused: bool,
    /// A request on it had a good access token.
    pub has_account: bool,
    /// When it came, or was last answered.
    pub useful_at: Instant,
    /// What `crowd` has recorded: whether it gives way to others, and since when it has not been useful.
    pub yielding: Option<(Standing, Instant)>,
    /// The client whose request a trusted proxy has brought and that is in progress. It is here for the same reason.
    pub origin: Option<Box<Origin>>,
    /// The bytes of incomplete requests that it holds, as `receiving` has counted them.
    pub held: Option<Box<(Holder, usize)>>,
    /// When this phase ends at the latest.
    pub deadline: Option<Instant>,
    /// The deadline that the timers have: it is set when it changes, not with every step.
    pub armed: Option<Instant>,
    /// The prefix with whose send queues its own is counted; `None` for a proxy or the control socket, which serve many people.
    pub address: Option<Prefix>,
    /// Memory that its send queue holds, as `backlog` has counted it.
    pub charged: usize,
    /// Bytes sent since the progress of this answer was last checked.
    pub progress: u64,
    /// The kind of stream that it is, as the metrics have counted it.
    pub counted: Option<usize>,
    /// A flush is asked for, and the runtime has not taken that yet.
    pub flush_asked: bool,
    /// What `dispatch::wants_read` said last: when it turns true, the runtime is asked to read again.
    pub reading: bool,
}

pub enum Phase {
    /// `since`: when the first byte of this head came.
    ReadHead {
        reader: HeadReader,
        since: Option<Instant>,
    },
    ReadBody(Box<ReadBody>),
    /// For a body that becomes a file, then for its last bytes to reach it.
    ReadUpload(Box<ReadUpload>),
    /// For the outcome of `ticket`.
    Await {
        ticket: Ticket,
        exchange: Box<Exchange>,
    },
    /// For the time at which a refusal by rate is answered.
    Delay {
        exchange: Box<Exchange>,
        problem: Box<Problem>,
    },
    /// For nothing: a stream or an upload is about to take the connection over. No input finds a connection in this phase.
    HandOver {
        exchange: Box<Exchange>,
        to: Handover,
    },
    /// For the rest of an unwanted body; then for the next head, or for the end.
    Drain {
        decoder: BodyDecoder,
        left: u64,
        /// `None`: the connection is kept alive.
        close: Option<CloseReason>,
    },
    Stream(StreamKind),
    /// For the peer to read the last response: the write side shuts down, what comes is dropped.
    Linger {
        left: u64,
        reason: CloseReason,
    },
    Closed(CloseReason),
}

impl Conn {
    pub fn new(
        id: ConnId,
        peer: IpAddr,
        listener_kind: ListenerKind,
        now: Instant,
        deadline: Instant,
    ) -> Conn {
        Conn {
            id,
            peer,
            listener_kind,
            is_handshaking: listener_kind == ListenerKind::Tls,
            is_proxy: false,
            phase: Phase::ReadHead { reader: HeadReader::new(), since: None },
            inbox: Vec::new(),
            send: SendQueue::new(),
            ended: false,
            subscription: None,
            upload: None,
            reservation: None,
            exports: None,
            is_delayed: false,
            faulted: false,
            is_refused: false,
            has_account: false,
            useful_at: now,
            yielding: None,
            origin: None,
            held: None,
            deadline: Some(deadline),
            armed: None,
            address: None,
            charged: 0,
            progress: 0,
            counted: None,
            flush_asked: false,
            reading: true,
        }
    }

    /// Whether the next request may be read: not while many bytes wait to be sent, and not while a file does, since each would
    /// keep one more file open.
    pub fn may_pipeline(&self) -> bool {
        self.send.memory() < PIPELINE_BYTES_MAX && !self.send.has_file()
    }

    /// Takes the current phase out; the caller sets the next one.
    pub fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Closed(CloseReason::Internal))
    }

    /// Drops the first `count` bytes of the inbox; an empty one gives its memory back.
    pub fn consume(&mut self, count: usize) {
        if count >= self.inbox.len() {
            self.inbox = Vec::new();
            return;
        }
        self.inbox.drain(..count);
        // After a large read an incomplete head may stay for long.
        if self.inbox.capacity() > 4 * self.inbox.len().max(256) {
            self.inbox.shrink_to_fit();
        }
    }

    /// Ends it. The reason of a connection that was ending already stays.
    pub fn close(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed(self.close_reason().unwrap_or(reason));
    }

    /// Why it ends, once that is decided.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.phase {
            // What `take_phase` leaves is no reason yet.
            Phase::Closed(CloseReason::Internal) => None,
            Phase::Linger { reason, .. } | Phase::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }
}

/// All connections, found by the runtime's name for them.
#[derive(Default)]
pub struct Conns {
    slots: Vec<Option<Box<Conn>>>,
    len: usize,
}

impl Conns {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn insert(&mut self, conn: Conn) {
        let slot = conn.id.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if self.slots[slot].replace(Box::new(conn)).is_none() {
            self.len += 1;
        }
    }

    /// The connection that holds the slot of `id`, under this name or another.
    pub fn in_slot(&self, id: ConnId) -> Option<ConnId> {
        self.slots.get(id.slot())?.as_ref().map(|conn| conn.id)
    }

    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.slot())?.as_deref().filter(|conn| conn.id == id)
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot())?.as_deref_mut().filter(|conn| conn.id == id)
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.get(id)?;
        self.len -= 1;
        self.slots.get_mut(id.slot())?.take()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conn> + '_ {
        self.slots.iter().flatten().map(|conn| &**conn)
    }

    pub fn ids(&self) -> Vec<ConnId> {
        self.slots.iter().flatten().map(|conn| conn.id).collect()
    }
}
