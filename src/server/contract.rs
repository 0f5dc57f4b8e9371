//! The contract with the runtime: what happened comes in as an [`Input`], what must be done leaves as an [`Effect`].
//!
//! Invariant: both are plain data, and no wider than a post's own command.

#![warn(missing_docs)]

use std::net::IpAddr;

use crate::base::slab::Key;
use crate::model::backup::BackUp;
use crate::model::id::UploadId;
use crate::model::job::{Done, Job};
use crate::model::metrics::{ErrorKind, LogProgress};
use crate::model::node::{NodeName, NodeState};
use crate::model::operation::{Flow, Lane, Outcome, Read, Refusal, Write};
use crate::model::readiness::Readiness;
use crate::proto::tls::server::Acceptor;

/// A connection, named by the runtime for as long as its socket is open: the slot in the low 32 bits, the generation above. A
/// slot is reused only under another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// No connection has this name: the runtime's slots stay far below it.
    pub const NOBODY: ConnId = ConnId(u64::MAX);

    /// The low 32 bits.
    pub fn slot(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    /// The lane of this connection's writes.
    pub fn lane(self) -> Lane {
        Lane(self.0)
    }
}

/// Names a call that the server waits for. An answer for a call that no longer exists is ignored.
pub type Ticket = Key<crate::server::calls::Call>;

/// Which listener accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// The public listener.
    Public,
    /// The public listener, whose connections speak TLS.
    Tls,
    /// The public listener of plain requests while the other one speaks TLS: it only redirects to that.
    Redirect,
    /// `DATA_DIR/control.sock`: the admin routes, only there.
    Control,
}

/// What happened: the only way in. `conn` names the connection, `ticket` the call, `upload` the file it concerns.
#[allow(missing_docs, reason = "each variant describes its fields")]
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection was accepted.
    Accepted { conn: ConnId, peer: IpAddr, listener_kind: ListenerKind },
    /// The TLS handshake of a connection is complete; `resumed` if it continued an earlier session.
    Secured { conn: ConnId, resumed: bool },
    /// A connection that should speak TLS does not. It has become a plain one.
    NotTls { conn: ConnId },
    /// Bytes came: of a TLS connection, decrypted.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// The runtime wrote this many bytes of the connection's send queue to its socket.
    Sent { conn: ConnId, bytes: u64 },
    /// The peer will send nothing more.
    Ended { conn: ConnId },
    /// The socket is broken; the runtime has closed it already.
    Failed { conn: ConnId },
    /// A storage command's outcome. The outcomes of writes come in the order of their commits.
    Answered { ticket: Ticket, outcome: Outcome },
    /// The outcome of a write that no call of this server waits for: in a cluster, one that another node asked for. It comes in
    /// its place in the order of the commits.
    Happened(Outcome),
    /// In a cluster: what another node has said by its [`Effect::Whisper`].
    Whispered { node: NodeName, bytes: Vec<u8> },
    /// A worker's result.
    Finished { ticket: Ticket, done: Done },
    /// Bytes of an upload reached its file; with the last of them comes the hash of all.
    Appended { upload: UploadId, bytes: usize, sha256: Option<[u8; 32]> },
    /// An upload's file could not be written; `full` when the disk has no space left.
    DiskFailed { upload: UploadId, full: bool },
    /// Background errors of one kind, already logged where they happened, and the text of the newest one.
    BackgroundErrors { kind: ErrorKind, count: u64, text: String },
    /// What the database can do, when that changes. A server begins with what its [`Start`](crate::model::operation::Start) says.
    Storage(Readiness),
    /// In a cluster: what another node says of itself, once a second. In a box, as the widest inputs are.
    PeerState { node: NodeName, state: Box<NodeState> },
    /// In a cluster: how far this node has come in the log. For reports only.
    Progressed(Box<LogProgress>),
    /// Lines of the log that were dropped since the start.
    LogDropped(u64),
    /// An operator asks for the certificate to be read again.
    Reload,
    /// A deadline may have come.
    Tick,
    /// Stop: finish what was begun, refuse what is new.
    Drain,
}

impl Input<'static> {
    /// Storage does not do what the call asks for.
    pub fn refused(ticket: Ticket, refusal: Refusal) -> Input<'static> {
        Input::Answered { ticket, outcome: Outcome::quiet(Err(refusal)) }
    }
}

/// What is to be done: the only way out. `conn`, `ticket` and `upload` come back with the [`Input`] that answers it.
#[allow(missing_docs, reason = "each variant describes its fields")]
#[derive(Debug)]
pub enum Effect {
    /// Have storage write. A full queue is answered at once with `Refusal::Busy`.
    Write { ticket: Ticket, lane: Lane, write: Write },
    /// Have storage read, in turn with the reads of other flows. A full queue, a budget that is used up and a cancellation
    /// are answered with `Refusal::Busy`. In a box: only one kind of effect may be as wide as a write.
    Read { ticket: Ticket, flow: Flow, read: Box<Read> },
    /// Have the database copied while writes go on. One copy at a time: a second is answered with `Refusal::Busy`.
    BackUp { ticket: Ticket, wanted: BackUp },
    /// No client waits for this read any more: it is answered early, unless it is answered already.
    Cancel(Ticket),
    /// Tell all other nodes of the cluster, as an [`Input::Whispered`]. It may be lost. A server alone says nothing.
    Whisper(Vec<u8>),
    /// The connection of a lane that saw a fault is gone: the lane may be forgotten.
    LaneReset(Lane),
    /// Have a worker do something. A full queue is answered at once with `Done::Busy`.
    Work { ticket: Ticket, job: Job },
    /// Write the next bytes of an upload, and hash them: on another thread, since the loop serves all connections.
    Append { upload: UploadId, bytes: Vec<u8>, last: bool },
    /// Remove a temporary file.
    Abandon { upload: UploadId },
    /// The send queue has something to write.
    Flush(ConnId),
    /// Shut the writing side down once the send queue is empty. Reading continues.
    ShutdownWrite(ConnId),
    /// Close the socket now; the server has forgotten it.
    Close(ConnId),
    /// Accept new TLS connections with this certificate. In a box, as a read is.
    UseCertificate(Box<Acceptor>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in `model::operation`: what is wider than the storage contract's own rows is copied with every one of them.
    #[test]
    fn nothing_is_wider_than_a_post() {
        let (effect, input) = (size_of::<Effect>(), size_of::<Input<'_>>());
        assert!(effect <= 96 && input <= 96, "{effect}, {input}");
    }
}
