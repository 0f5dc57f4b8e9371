//! Secure sockets in the loop: what arrives encrypted reaches the machine plain, and handshakes go to their threads.
//!
//! Invariant: the machine learns that a handshake is complete before it gets the first plain byte.

use super::super::handshakes::Worked;
use super::super::socket::Came;
use super::super::{Machine, Stops};
use super::EventLoop;
use crate::base::time::Now;
use crate::model::metrics::ErrorKind;
use crate::proto::tls::TlsError;
use crate::server::contract::{ConnId, Input};

impl<M: Machine, S: Stops> EventLoop<M, S> {
    /// Takes the bytes that were just read from a secure socket into the buffer.
    pub(super) fn decrypt(&mut self, now: Now, conn: ConnId, count: usize) {
        let Some(acceptor) = &self.parts.acceptor else { return };
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        self.plain.clear();
        let came = socket.decrypt(&self.buffer[..count], &mut self.plain, acceptor);
        let peer = socket.peer;
        if !self.plain.is_empty() {
            self.parts.machine.handle(now, Input::Received { conn, bytes: &self.plain });
        }
        match came {
            Came::Partial => {}
            Came::NotTls => self.parts.machine.handle(now, Input::NotTls { conn }),
            Came::Part => self.parts.handshakes.iter_mut().for_each(|handshakes| handshakes.wait(conn, peer)),
            Came::Traffic { ended, output } => {
                if output {
                    self.mark_dirty(conn);
                }
                if ended {
                    self.end_incoming(now, conn);
                }
            }
            Came::Broken(error) => self.break_off(now, conn, &error),
        }
    }

    /// Gives the threads the next parts of handshakes.
    pub(super) fn start_handshakes(&mut self) {
        let Some(handshakes) = &mut self.parts.handshakes else { return };
        while let Some(conn) = handshakes.next() {
            if let Some(session) = self.sockets.get_mut(conn).and_then(|socket| socket.take_session()) {
                handshakes.submit(conn, session);
            }
        }
        handshakes.push_staged();
    }

    /// A thread has worked on a part of a handshake.
    pub(super) fn worked(&mut self, now: Now, Worked { conn, session }: Worked) {
        self.parts.handshakes.iter_mut().for_each(|handshakes| handshakes.done());
        let Some((session, result)) = session else {
            self.parts.background.report(ErrorKind::Worker, "a TLS handshake panicked");
            return self.fail(now, conn);
        };
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        self.plain.clear();
        let put = socket.put_session(session, &mut self.plain);
        let has_ended = socket.peer_closed();
        let resumed = match result.and(put) {
            Ok(resumed) => resumed,
            Err(error) => return self.break_off(now, conn, &error),
        };
        if resumed.is_some() && socket.is_challenge() {
            // It has seen the certificate, which is all that it came for (RFC 8737 §3).
            log::debug!(target: "natter::tls", peer:% = socket.peer; "the authority has looked at a challenge");
            socket.say_goodbye();
            return self.fail(now, conn);
        }
        if let Some(resumed) = resumed {
            self.parts.machine.handle(now, Input::Secured { conn, resumed });
        }
        if !self.plain.is_empty() {
            self.parts.machine.handle(now, Input::Received { conn, bytes: &self.plain });
        }
        if has_ended {
            self.end_incoming(now, conn);
        }
        // It has something to write, and it may be read again.
        self.mark_dirty(conn);
    }

    fn end_incoming(&mut self, now: Now, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn) {
            socket.end_incoming();
            self.parts.machine.handle(now, Input::Ended { conn });
        }
    }

    /// The peer does not speak TLS as we do, or not to us.
    fn break_off(&mut self, now: Now, conn: ConnId, error: &TlsError) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        log::debug!(target: "natter::tls", peer:% = socket.peer; "TLS failed: {error}");
        socket.say_goodbye();
        self.fail(now, conn);
    }
}
