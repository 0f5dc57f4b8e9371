//! What the world says: connections, bytes, completions, each handed to the machine as an input.
//! Invariant: no input is handled twice, none waits for a later turn unless its socket used up its share.

use std::sync::Arc;

use super::super::inbox::{Completion, Piece, Written};
use super::super::listener::{Accept, Listener};
use super::super::socket::{Read, Socket};
use super::super::{Machine, ServeFault, Stops};
use super::EventLoop;
use crate::base::send_queue::Front;
use crate::base::time::Now;
use crate::limits::ACCEPTS_TURN_MAX;
use crate::model::metrics::ErrorKind;
use crate::model::operation::Outcome;
use crate::server::contract::{Input, ListenerKind};

/// Bytes read from one socket in one turn. Beyond: it waits for the next turn, so that one fast sender stalls nobody.
const READ_TURN_MAX: usize = 262_144;
/// Connections of the control socket at once. They don't count in `connections_max`, so that an operator gets in when
/// it is reached. Beyond: closed at accept.
const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Answers of one batch after which what they queued is flushed: the first to post go on while the rest is still written,
/// and the writer does not run dry. Fewer would be more and smaller writes.
const ANSWERS_A_FLUSH: usize = 128;

impl<M: Machine, S: Stops> EventLoop<M, S> {
    /// The control socket stays open when the public door is full: an operator must get in then, most of all.
    pub(super) fn may_accept(&self, listener: &Listener) -> bool {
        match listener.listener_kind() {
            ListenerKind::Control => true,
            ListenerKind::Public => self.parts.machine.is_accepting(),
        }
    }

    pub(super) fn accept(&mut self, now: Now) {
        for index in 0..self.parts.listeners.len() {
            for _ in 0..ACCEPTS_TURN_MAX {
                let listener = &self.parts.listeners[index];
                if !listener.is_ready(now.instant) || !self.may_accept(listener) {
                    break;
                }
                let listener_kind = listener.listener_kind();
                match self.parts.listeners[index].accept(now.instant) {
                    Accept::Nobody => break,
                    Accept::Gone => {}
                    Accept::Failed(error) => {
                        self.parts.background.report(ErrorKind::Accept, format_args!("accept: {error}"));
                    }
                    Accept::One(_, _)
                        if listener_kind == ListenerKind::Control
                            && self.control_open >= CONTROL_CONNECTIONS_MAX =>
                    {
                        self.parts.background.report(ErrorKind::Accept, "the control socket is in full use");
                    }
                    Accept::One(stream, peer) => {
                        let socket = Socket::new(stream, listener_kind);
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
                }
            }
        }
    }

    pub(super) fn read(&mut self, now: Now) {
        // What is not finished goes to the new list: the next turn.
        for conn in std::mem::take(&mut self.ready) {
            let Some(socket) = self.sockets.get_mut(conn) else { continue };
            socket.listed = false;
            let mut left = READ_TURN_MAX;
            while socket.is_readable() && self.parts.machine.wants_read(conn) {
                if left == 0 {
                    socket.listed = true;
                    self.ready.push(conn);
                    break;
                }
                match socket.read(&mut self.buffer) {
                    Read::Bytes(count) => {
                        left = left.saturating_sub(count);
                        let bytes = &self.buffer[..count];
                        self.parts.machine.handle(now, Input::Received { conn, bytes });
                    }
                    Read::Nothing => {}
                    Read::End => self.parts.machine.handle(now, Input::Ended { conn }),
                    Read::Broken => break,
                }
            }
            // A broken socket is read as far as the machine wants, since the peer may have sent a whole request
            // before; then nothing more can come of it.
            if socket.is_broken() && !socket.listed {
                self.fail(now, conn);
            }
        }
    }

    pub(super) fn complete(&mut self, now: Now) -> Result<(), ServeFault> {
        let mut completions = std::mem::take(&mut self.completions);
        let troubles = self.parts.inbox.take(&mut completions);
        for (trouble, count) in troubles {
            (0..count).for_each(|_| self.parts.machine.handle(now, Input::BackgroundError(trouble)));
        }
        let mut lost = None;
        for completion in completions.drain(..) {
            match completion {
                Completion::Committed(tickets, outcomes) => {
                    self.parts.storage.written(tickets.len());
                    for (place, (ticket, outcome)) in tickets.into_iter().zip(outcomes).enumerate() {
                        if place > 0 && place % ANSWERS_A_FLUSH == 0 {
                            self.settle(now);
                        }
                        self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                    }
                }
                Completion::Read(ticket, result) => {
                    let outcome = Outcome::quiet(result);
                    self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                }
                Completion::Finished(kind, ticket, done) => {
                    self.parts.workers.finished(kind);
                    self.parts.machine.handle(now, Input::Finished { ticket, done });
                }
                Completion::Upload { upload, bytes, result } => {
                    self.parts.disk.appended(upload, bytes, result);
                    match result {
                        Written::Whole { sha256 } => {
                            self.parts.machine.handle(now, Input::Appended { upload, bytes, sha256 });
                        }
                        Written::Failed { full } => {
                            self.parts.machine.handle(now, Input::DiskFailed { upload, full });
                        }
                        Written::Dropped => {}
                    }
                }
                Completion::Piece(piece) => self.take_piece(now, piece),
                Completion::Storage(health) => self.parts.machine.handle(now, Input::Storage(health)),
                Completion::Fatal(reason) => lost = Some(reason),
            }
        }
        self.completions = completions;
        lost.map_or(Ok(()), |reason| Err(ServeFault::Lost(reason)))
    }

    fn take_piece(&mut self, now: Now, piece: Piece) {
        self.parts.disk.piece_read();
        self.wake_a_waiting_piece();
        let Some(socket) = self.sockets.get_mut(piece.conn) else { return };
        let conn = piece.conn;
        match piece.result {
            Ok(()) => socket.piece_arrived(piece.file, piece.offset, piece.len),
            Err(error) => {
                socket.piece_under_way = false;
                // The queue may hold another file by now, or none.
                let front = self.parts.machine.send_queue(conn).map(|queue| queue.front());
                if matches!(front, Some(Front::File { file, .. }) if Arc::ptr_eq(&file, &piece.file)) {
                    self.parts.background.report(ErrorKind::Upload, format_args!("reading a file: {error}"));
                    return self.fail(now, conn);
                }
            }
        }
        self.mark_dirty(conn);
    }

    /// One place to read a piece is free: the first waiting connection that is still open asks again.
    fn wake_a_waiting_piece(&mut self) {
        while let Some(conn) = self.parts.disk.next_waiting() {
            if let Some(socket) = self.sockets.get_mut(conn) {
                socket.piece_under_way = false;
                return self.mark_dirty(conn);
            }
        }
    }
}
