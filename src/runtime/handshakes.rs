//! The threads that do the work of TLS handshakes, and the order in which connections get them.
//!
//! A part of a handshake is the work that one flight of the client causes: a signature and a key exchange, or the check of its
//! last message. Owns the order (in turn by address prefix) and the threads. Leaves the bytes to the sockets, and the time limit
//! to the machine.
//! Invariants: a connection waits here at most once, so the number of connections bounds the queue; a session is with a thread
//! or with its socket, never with both.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::inbox::{Completion, Inbox};
use super::kernel;
use super::queue::{Producer, Queue, Taken};
use super::threads::{Thread, spawn};
use crate::base::network::Prefix;
use crate::base::turns::{Turns, prefixes};
use crate::proto::tls::TlsError;
use crate::proto::tls::server::Session;
use crate::server::contract::ConnId;

/// Threads that do handshakes. After a restart all clients come back at once, so there are as many as two processors can use.
/// They have low priority, since connected clients come first.
const HANDSHAKE_THREADS: usize = 2;
/// Parts given to the threads: each has one in work and one that is next, so that no thread waits for the loop.
const IN_FLIGHT_MAX: usize = HANDSHAKE_THREADS * 2;

/// A part of a handshake that was worked on.
pub struct Worked {
    pub conn: ConnId,
    /// The session continues, or it ends with this error after it wrote its alert. `None` if the thread panicked.
    pub session: Option<(Box<Session>, Result<(), TlsError>)>,
}

type Part = (ConnId, Box<Session>);

/// The loop's side.
pub struct Handshakes {
    waiting: Turns<Prefix, ConnId>,
    parts: Producer<Part>,
    threads: Vec<Thread>,
}

impl Handshakes {
    pub fn start(inbox: &Arc<Inbox>) -> io::Result<Handshakes> {
        let parts = Producer::new(IN_FLIGHT_MAX);
        let mut threads = Vec::with_capacity(HANDSHAKE_THREADS);
        for _ in 0..HANDSHAKE_THREADS {
            let (queue, answers) = (parts.queue(), Arc::clone(inbox));
            threads.push(spawn("handshake", inbox, move || work_until_closed(&queue, &answers))?);
        }
        Ok(Handshakes { waiting: Turns::default(), parts, threads })
    }

    /// A connection has a part to be worked on.
    pub fn wait(&mut self, conn: ConnId, peer: IpAddr) {
        self.waiting.push(&prefixes(peer), conn);
    }

    /// A connection is gone.
    pub fn forget(&mut self, conn: ConnId, peer: IpAddr) {
        self.waiting.remove(&prefixes(peer), |waiting| *waiting == conn);
    }

    /// The connection whose turn it is, while a thread can begin a part soon.
    pub fn next(&mut self) -> Option<ConnId> {
        if self.parts.is_full() { None } else { self.waiting.pop() }
    }

    /// Gives a part to the threads. Follows [`Handshakes::next`], so there is room.
    pub fn submit(&mut self, conn: ConnId, session: Box<Session>) {
        let taken = self.parts.offer((conn, session));
        debug_assert!(taken);
    }

    /// A thread has done a part.
    pub fn done(&mut self) {
        self.parts.returned(1);
    }

    pub fn push_staged(&mut self) {
        self.parts.push_staged();
    }

    /// Ends the threads. Parts that wait are dropped with their connections.
    pub fn close(&mut self) -> Vec<Thread> {
        self.parts.abandon();
        std::mem::take(&mut self.threads)
    }
}

fn work_until_closed(queue: &Queue<Part>, inbox: &Inbox) {
    kernel::lower_priority(kernel::NICE_AWAITED);
    let mut items = VecDeque::with_capacity(1);
    while queue.take(&mut items, 1, None) != Taken::Closed {
        for (conn, mut session) in items.drain(..) {
            let session = catch_unwind(AssertUnwindSafe(move || {
                let result = session.work();
                (session, result)
            }));
            inbox.post(Completion::Handshake(Worked { conn, session: session.ok() }));
        }
    }
}
