//! Inputs: connections, bytes and completions, each passed to the machine.
//!
//! Invariant: no input is handled twice, and none waits for a later turn unless the time of this one is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::arrivals::{ARRIVALS_MAX, Arrival};
use super::super::inbox::{Completion, Errors, Piece, Written};
use super::super::listener::{Accept, Listener};
#[cfg(feature = "cluster")]
use super::super::peers::Heard;
use super::super::socket::{Read, Socket, Stream};
use super::super::{Machine, ServeFault, Stops};
use super::EventLoop;
#[cfg(feature = "cluster")]
use crate::base::seal::Chain;
use crate::base::send_queue::Front;
use crate::base::time::Now;
use crate::limits::ACCEPTS_TURN_MAX;
use crate::model::metrics::ErrorKind;
use crate::model::operation::Outcome;
use crate::server::contract::{ConnId, Input, ListenerKind};

/// Bytes read from one socket at once. Above it, the socket waits for all others, so that one fast sender does not delay them.
const READ_TURN_MAX: usize = 262_144;
/// Time in which one turn reads sockets. After it, answers are sent first: when thousands of sockets are readable, a request
/// waits for some of them, and its answer not for all the rest.
const READ_TURN_TIME: Duration = Duration::from_millis(1);
/// Connections after which those that they ended are closed. A close takes longer than a read, so it has to count in the time of
/// the step: after 350 reads of 1 ms, 350 closes took 20 ms.
const SETTLED_EVERY: usize = 16;
/// Time in which one turn accepts connections, and in which it gives them to the machine. Together they have more time than the
/// reads: a request can't come before its connection, and no order of the server's applies to what waits in the kernel.
const ACCEPT_TURN_TIME: Duration = Duration::from_millis(1);
const ADMIT_TURN_TIME: Duration = Duration::from_millis(1);
/// Concurrent connections of the control socket. They don't count in `connections_max`, so that an operator can connect
/// when it is reached. Above it: closed at accept.
const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Answers of one batch after which their effects are performed and flushed: the first clients to post continue while the
/// rest is still written, and the writer always has work. Fewer would cause more and smaller writes.
const ANSWERS_A_FLUSH: usize = 128;

impl<M: Machine, S: Stops> EventLoop<M, S> {
    /// The control socket accepts also when the public listener is full, because an operator needs it then.
    pub(super) fn may_accept(&self, listener: &Listener) -> bool {
        match listener.listener_kind() {
            ListenerKind::Control => true,
            ListenerKind::Public | ListenerKind::Tls | ListenerKind::Redirect => {
                self.parts.machine.is_accepting()
            }
        }
    }

    /// Takes what waits in the kernel, whose queue has one order for all. A connection of the control socket needs no turn.
    pub(super) fn accept(&mut self, now: Now) {
        let begun = Instant::now();
        let mut is_full = false;
        for index in 0..self.parts.listeners.len() {
            for _ in 0..ARRIVALS_MAX {
                let listener = &self.parts.listeners[index];
                if !listener.is_ready(now.instant) || !self.may_accept(listener) {
                    break;
                }
                let listener_kind = listener.listener_kind();
                let is_control = listener_kind == ListenerKind::Control;
                if !is_control && (!self.arrivals.has_room() || begun.elapsed() >= ACCEPT_TURN_TIME) {
                    break;
                }
                match self.parts.listeners[index].accept(now.instant) {
                    Accept::WouldBlock => break,
                    Accept::Gone => {}
                    Accept::Failed(error) => {
                        self.parts.background.report(ErrorKind::Accept, format_args!("accept: {error}"));
                    }
                    Accept::One(_, _) if is_control && self.control_open >= CONTROL_CONNECTIONS_MAX => {
                        self.parts
                            .background
                            .report(ErrorKind::Accept, "the control socket has no free connection");
                    }
                    Accept::One(stream, peer) => {
                        let arrival = Arrival { stream, peer, listener_kind };
                        if is_control {
                            self.enter(now, arrival);
                        } else {
                            let is_proxy = self.parts.machine.is_proxy(peer);
                            is_full |= self.arrivals.push(arrival, is_proxy).is_some();
                        }
                    }
                }
            }
        }
        if is_full {
            self.parts.background.report(
                ErrorKind::Accept,
                "more connections came than can be answered: those of the network with the most were closed",
            );
        }
    }

    /// Gives accepted connections to the machine, in turn by network.
    pub(super) fn admit(&mut self, now: Now) {
        let begun = Instant::now();
        for count in 1..=ACCEPTS_TURN_MAX {
            if !self.parts.machine.is_accepting() || begun.elapsed() >= ADMIT_TURN_TIME {
                break;
            }
            let Some(arrival) = self.arrivals.pop() else { break };
            self.enter(now, arrival);
            if count % SETTLED_EVERY == 0 {
                self.settle();
            }
        }
    }

    fn enter(&mut self, now: Now, arrival: Arrival) {
        let Arrival { stream, peer, listener_kind } = arrival;
        // An error means that the peer has left already.
        if stream.set_nodelay().is_err() {
            return;
        }
        let socket = match stream {
            Stream::Tcp(stream) if listener_kind == ListenerKind::Tls => Socket::secure(stream, peer),
            stream => Socket::new(stream, listener_kind, peer),
        };
        match self.sockets.insert(socket, self.parts.poll.registry()) {
            Ok(conn) => {
                self.control_open += usize::from(listener_kind == ListenerKind::Control);
                self.parts.machine.handle(now, Input::Accepted { conn, peer, listener_kind });
            }
            Err(error) => {
                self.parts
                    .background
                    .report(ErrorKind::Accept, format_args!("registering a socket: {error}"));
            }
        }
    }

    /// Reads sockets in turn. When the time of the turn is over, the rest waits until completions were handled and answers sent.
    pub(super) fn read(&mut self, now: Now) {
        let begun = Instant::now();
        let mut count = 0;
        while let Some(conn) = self.ready.pop() {
            self.read_socket(now, conn);
            count += 1;
            if count % SETTLED_EVERY == 0 {
                self.settle();
            }
            if begun.elapsed() >= READ_TURN_TIME {
                break;
            }
        }
    }

    fn read_socket(&mut self, now: Now, conn: ConnId) {
        let mut left = READ_TURN_MAX;
        if let Some(socket) = self.sockets.get_mut(conn) {
            socket.listed = false;
        }
        while let Some(socket) = self.sockets.get_mut(conn)
            && socket.is_readable()
            && self.parts.machine.wants_read(conn)
        {
            if left == 0 {
                socket.listed = true;
                self.ready.push(conn, socket.networks(), self.parts.machine.is_of_member(conn));
                break;
            }
            match socket.read(&mut self.buffer) {
                Read::Bytes(count) => {
                    left = left.saturating_sub(count);
                    if socket.is_secure() {
                        self.decrypt(now, conn, count);
                    } else {
                        let bytes = &self.buffer[..count];
                        self.parts.machine.handle(now, Input::Received { conn, bytes });
                    }
                }
                Read::Nothing => {}
                Read::End => self.parts.machine.handle(now, Input::Ended { conn }),
                Read::Broken => break,
            }
        }
        // A broken socket is read as far as the machine wants, because the peer may have sent a complete request before. After
        // that nothing more can arrive.
        if self.sockets.get_mut(conn).is_some_and(|socket| socket.is_broken() && !socket.listed) {
            self.fail(now, conn);
        }
    }

    pub(super) fn complete(&mut self, now: Now) -> Result<(), ServeFault> {
        let mut completions = std::mem::take(&mut self.completions);
        let errors = self.parts.inbox.take(&mut completions);
        for (kind, Errors { count, text }) in errors {
            self.parts.machine.handle(now, Input::BackgroundErrors { kind, count, text });
        }
        let mut fatal = None;
        for completion in completions.drain(..) {
            match completion {
                Completion::Committed(tickets, outcomes) => {
                    self.parts.storage.written(tickets.len());
                    for (index, (ticket, outcome)) in tickets.into_iter().zip(outcomes).enumerate() {
                        if index > 0 && index % ANSWERS_A_FLUSH == 0 {
                            self.run_rounds(now);
                        }
                        self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                    }
                }
                #[cfg(feature = "cluster")]
                Completion::Happened(outcomes) => {
                    for (index, outcome) in outcomes.into_iter().enumerate() {
                        if index > 0 && index % ANSWERS_A_FLUSH == 0 {
                            self.run_rounds(now);
                        }
                        self.parts.machine.handle(now, Input::Happened(outcome));
                    }
                }
                #[cfg(feature = "cluster")]
                Completion::Heard(Heard::Whisper { node, bytes }) => {
                    self.parts.machine.handle(now, Input::Whispered { node, bytes });
                }
                #[cfg(feature = "cluster")]
                Completion::Heard(Heard::State { node, state }) => {
                    self.parts.storage.compare(state.position, Chain::from_bytes(state.chain));
                    self.parts.machine.handle(now, Input::PeerState { node, state: Box::new(state) });
                }
                #[cfg(feature = "cluster")]
                Completion::Progressed(progress) => {
                    self.parts.machine.handle(now, Input::Progressed(Box::new(progress)));
                    let peers = self.parts.peers.as_mut();
                    peers.into_iter().for_each(|peers| peers.announce(progress.position, progress.chain));
                }
                Completion::Read(ticket, result) => {
                    let outcome = Outcome::quiet(result);
                    self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                }
                Completion::Finished(kind, ticket, done) => {
                    self.parts.workers.finished(kind, ticket);
                    self.parts.machine.handle(now, Input::Finished { ticket, done });
                }
                Completion::Upload { upload, bytes, result } => {
                    self.parts.disk.appended(upload, bytes, result);
                    match result {
                        Written::Stored { sha256 } => {
                            self.parts.machine.handle(now, Input::Appended { upload, bytes, sha256 });
                        }
                        Written::Failed { full } => {
                            self.parts.machine.handle(now, Input::DiskFailed { upload, full });
                        }
                        Written::Dropped => {}
                    }
                }
                Completion::Piece(piece) => self.take_piece(now, piece),
                Completion::Handshake(worked) => self.worked(now, worked),
                Completion::Storage(readiness) => self.parts.machine.handle(now, Input::Storage(readiness)),
                Completion::Fatal(reason) => fatal = Some(reason),
            }
        }
        self.completions = completions;
        fatal.map_or(Ok(()), |reason| Err(ServeFault::Lost(reason)))
    }

    fn take_piece(&mut self, now: Now, piece: Piece) {
        self.parts.disk.piece_read();
        self.wake_a_waiting_piece();
        let Some(socket) = self.sockets.get_mut(piece.conn) else { return };
        let conn = piece.conn;
        match piece.result {
            Ok(()) => socket.piece_arrived(piece.file, piece.offset, piece.len, piece.bytes),
            Err(error) => {
                socket.is_reading_piece = false;
                // The queue may have another file at its front by now, or none.
                let front = self.parts.machine.send_queue(conn).map(|queue| queue.front());
                if matches!(front, Some(Front::File { file, .. }) if Arc::ptr_eq(&file, &piece.file)) {
                    self.parts.background.report(ErrorKind::Upload, format_args!("reading a file: {error}"));
                    return self.fail(now, conn);
                }
            }
        }
        self.mark_dirty(conn);
    }

    /// One slot for reading a piece is free: the first waiting connection that is still open asks again.
    fn wake_a_waiting_piece(&mut self) {
        while let Some(conn) = self.parts.disk.next_waiting() {
            if let Some(socket) = self.sockets.get_mut(conn) {
                socket.is_reading_piece = false;
                return self.mark_dirty(conn);
            }
        }
    }
}
