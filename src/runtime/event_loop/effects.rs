//! Effects: performs what the machine requests, flushes sockets and closes them.
//!
//! Invariant: a socket is written after all effects of a round, so that a thousand deliveries to it are one write.

use std::time::Instant;

use super::super::disk::Part;
use super::super::socket::{Flushed, Socket};
use super::super::{Machine, Stops};
use super::{EventLoop, TRIM_AFTER, TRIM_CLOSED_MIN};
use crate::base::time::Now;
use crate::model::operation::Refusal;
use crate::server::contract::{ConnId, Effect, Input, ListenerKind};

/// Rounds of effects → flush → `Sent` → effects in one turn. More rounds wait for the next turn, after a poll of the
/// sockets.
const ROUNDS_MAX: usize = 8;

impl<M: Machine, S: Stops> EventLoop<M, S> {
    /// Performs effects and flushes until none follow, up to a limit: flushing frees space, which may make the machine
    /// resume paused work.
    pub(super) fn run_rounds(&mut self, now: Now) {
        self.has_rounds_left = true;
        let mut later = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let quiet = !self.push_staged();
            if quiet && self.dirty.is_empty() && self.refused.is_empty() {
                self.has_rounds_left = false;
                break;
            }
            for refused in std::mem::take(&mut self.refused) {
                self.parts.machine.handle(now, refused);
            }
            self.flush(now, &mut later);
            // For the pieces of files that the flush requested.
            self.parts.disk.push_staged();
        }
        self.dirty.append(&mut later);
    }

    /// Performs the machine's effects and passes work to the threads, which run while the loop handles other completions
    /// and writes sockets. Returns `false` if there were no effects.
    pub(super) fn push_staged(&mut self) -> bool {
        let any = self.perform_all();
        self.parts.storage.push_staged();
        self.parts.workers.push_staged();
        self.parts.disk.push_staged();
        self.start_handshakes();
        any
    }

    fn perform_all(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.parts.machine.poll_effect() {
            any = true;
            self.perform(effect);
        }
        any
    }

    /// Closes what the inputs until now have ended. A connection that the machine has ended has no bytes to be written.
    pub(super) fn settle(&mut self) {
        self.perform_all();
        self.close();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Write { ticket, lane, write } => {
                if let Err(refusal) = self.parts.storage.submit(ticket, lane, write) {
                    self.refused.push(Input::refused(ticket, refusal));
                }
            }
            Effect::Read { ticket, flow, read } => {
                let refused = self.parts.storage.read(flow, ticket, read);
                self.refused.extend(refused.map(|ticket| Input::refused(ticket, Refusal::Busy)));
            }
            Effect::BackUp { ticket, wanted } => {
                if let Err(refusal) = self.parts.storage.back_up(ticket, wanted) {
                    self.refused.push(Input::refused(ticket, refusal));
                }
            }
            Effect::Cancel(ticket) => {
                if self.parts.storage.cancel(ticket) {
                    self.refused.push(Input::refused(ticket, Refusal::Busy));
                }
            }
            #[cfg(feature = "cluster")]
            Effect::Whisper(bytes) => {
                self.parts.peers.as_mut().into_iter().for_each(|peers| peers.whisper(&bytes));
            }
            // A server alone says nothing.
            #[cfg(not(feature = "cluster"))]
            Effect::Whisper(_) => {}
            Effect::LaneReset(lane) => self.parts.storage.reset_lane(lane),
            Effect::Work { ticket, job } => {
                let received = job.received_file();
                if let Err(done) = self.parts.workers.submit(ticket, job) {
                    // The upload will never be published.
                    received.into_iter().for_each(|file| self.parts.disk.abandon(file));
                    self.refused.push(Input::Finished { ticket, done });
                }
            }
            Effect::Append { upload, bytes, last } => {
                if !self.parts.disk.append(upload, bytes, last) {
                    self.refused.push(Input::DiskFailed { upload, full: false });
                }
            }
            Effect::Abandon { upload } => self.parts.disk.abandon(upload),
            Effect::Flush(conn) => self.mark_dirty(conn),
            Effect::ShutdownWrite(conn) => {
                self.sockets.get_mut(conn).into_iter().for_each(Socket::end_after_flush);
                self.mark_dirty(conn);
            }
            Effect::Close(conn) => self.closing.push(conn),
            Effect::UseCertificate(acceptor) => self.parts.acceptor = Some(*acceptor),
        }
    }

    /// Marks a socket to be flushed in this turn, and to be checked again for reading.
    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn)
            && !std::mem::replace(&mut socket.dirty, true)
        {
            self.dirty.push(conn);
        }
    }

    /// Flushes each dirty socket once. Those that used their share of the turn go to `later`.
    fn flush(&mut self, now: Now, later: &mut Vec<ConnId>) {
        for conn in std::mem::take(&mut self.dirty) {
            let Some(socket) = self.sockets.get_mut(conn) else { continue };
            socket.dirty = false;
            let Some(queue) = self.parts.machine.send_queue(conn) else { continue };
            let (mut bytes, mut flushed) = socket.flush(queue);
            if let Flushed::File { file, offset, len } = flushed {
                // The part that is already read is sent while this part is read.
                socket.is_reading_piece = true;
                let part = Part { file, offset, len, in_memory: socket.needs_bytes() };
                if self.parts.disk.read(conn, part) {
                    let more;
                    (more, flushed) = socket.flush(queue);
                    bytes += more;
                } else {
                    flushed = Flushed::Broken;
                }
            }
            if matches!(flushed, Flushed::Again) {
                socket.dirty = true;
                later.push(conn);
            }
            if matches!(flushed, Flushed::Broken) {
                self.fail(now, conn);
                continue;
            }
            if bytes > 0 {
                self.parts.machine.handle(now, Input::Sent { conn, bytes });
            }
            if socket.is_readable() && !socket.listed && self.parts.machine.wants_read(conn) {
                socket.listed = true;
                self.ready.push(conn, socket.networks(), self.parts.machine.is_of_member(conn));
            }
        }
    }

    /// Closes an unusable socket, then informs the machine.
    pub(super) fn fail(&mut self, now: Now, conn: ConnId) {
        if self.drop_socket(conn) {
            self.parts.machine.handle(now, Input::Failed { conn });
        }
    }

    pub(super) fn close(&mut self) {
        for conn in std::mem::take(&mut self.closing) {
            self.sockets.get_mut(conn).into_iter().for_each(Socket::say_goodbye);
            self.drop_socket(conn);
        }
    }

    fn drop_socket(&mut self, conn: ConnId) -> bool {
        let Some(socket) = self.sockets.remove(conn) else { return false };
        self.control_open -= usize::from(socket.listener_kind == ListenerKind::Control);
        if socket.is_held() {
            self.parts.handshakes.iter_mut().for_each(|handshakes| handshakes.forget(conn, socket.peer));
        }
        self.closed += 1;
        if self.closed >= TRIM_CLOSED_MIN {
            self.trim_at.get_or_insert_with(|| Instant::now() + TRIM_AFTER);
        }
        true
    }
}
