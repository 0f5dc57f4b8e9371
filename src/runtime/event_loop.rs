//! The loop: one thread, one turn after the other, each in the same order. Owns the order and the lists of what is to
//! be done; refuses to know what any of it means: the machine decides, this performs.
//!
//! ```text
//! poll → clock → signals → accepts → reads → completions → tick → (effects → hand over → flush)* → close
//! ```
//! Invariant: work is proportional to what happened, never to the sockets that are open: a socket whose bytes the
//! machine does not want, or that takes none, stands in no list and costs nothing until an event or a `Flush` names it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};

use super::background::Background;
use super::disk::Disk;
use super::inbox::{Completion, Inbox, Piece, Written};
use super::listener::{Accept, Listener};
use super::notify::Notify;
use super::socket::{Flushed, Read, Socket, Sockets};
use super::storage::Storage;
use super::threads::Thread;
use super::workers::Workers;
use super::{Machine, ServeFault, Stops};
use crate::base::send_queue::Front;
use crate::base::time::Now;
use crate::limits::{
    ACCEPTS_TURN_MAX, CONTROL_CONNECTIONS_MAX, DRAIN_MAX, EVENTS_MAX, JOIN_CHECK, READ_BUFFER, READ_TURN_MAX,
    SETTLE_ROUNDS_MAX,
};
use crate::model::job::Done;
use crate::model::metrics::Trouble;
use crate::model::operation::{Outcome, Refusal};
use crate::server::contract::{ConnId, Door, Effect, Input, Ticket, UploadId};

pub const WAKER: Token = Token(usize::MAX);
pub const SIGNALS: Token = Token(usize::MAX - 1);
/// Listeners count down from here; sockets count up from 0.
const LISTENERS: usize = usize::MAX - 2;

pub fn listener_token(index: usize) -> Token {
    Token(LISTENERS - index)
}

/// What a loop is made of.
pub struct Parts<M, S> {
    pub poll: Poll,
    pub machine: M,
    pub signals: S,
    pub listeners: Vec<Listener>,
    pub storage: Storage,
    pub workers: Workers,
    pub disk: Disk,
    pub inbox: Arc<Inbox>,
    pub background: Background,
    pub notify: Option<Notify>,
}

pub struct EventLoop<M, S> {
    parts: Parts<M, S>,
    sockets: Sockets,
    control_open: usize,
    buffer: Box<[u8]>,
    /// Sockets with something to read that the machine wants; each once (`Socket::listed`).
    ready: Vec<ConnId>,
    /// Sockets to flush; each once (`Socket::dirty`).
    dirty: Vec<ConnId>,
    /// Sockets to drop at the end of the turn.
    closing: Vec<ConnId>,
    /// Questions no queue had room for, to be answered in the next round.
    refused: Vec<Refused>,
    /// Empty between two turns; its memory is reused.
    completions: Vec<Completion>,
    /// The rounds of a turn ended with something left to do.
    unsettled: bool,
    phase: Phase,
}

enum Refused {
    Store(Ticket, Refusal),
    Work(Ticket, Done),
    Append(UploadId),
}

enum Phase {
    Serving,
    Draining { until: Instant },
}

impl<M: Machine, S: Stops> EventLoop<M, S> {
    pub fn new(parts: Parts<M, S>) -> EventLoop<M, S> {
        EventLoop {
            parts,
            sockets: Sockets::default(),
            control_open: 0,
            buffer: vec![0; READ_BUFFER].into(),
            ready: Vec::new(),
            dirty: Vec::new(),
            closing: Vec::new(),
            refused: Vec::new(),
            completions: Vec::new(),
            unsettled: false,
            phase: Phase::Serving,
        }
    }

    pub fn run(mut self) -> Result<(), ServeFault> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.notify("READY=1");
        let ended = loop {
            match self.turn(&mut events) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        match ended {
            Err(ServeFault::Forced) => Err(ServeFault::Forced),
            ended => self.finish(&mut events).and(ended),
        }
    }

    /// One turn; `true` when it was the last.
    fn turn(&mut self, events: &mut Events) -> Result<bool, ServeFault> {
        self.poll(events)?;
        let now = clock();
        self.note(events);
        self.hear_signals(now)?;
        self.accept(now);
        self.read(now);
        self.complete(now)?;
        self.tick(now);
        self.settle(now);
        self.close();
        Ok(match self.phase {
            Phase::Serving => false,
            Phase::Draining { until } => {
                let late = now.instant >= until;
                if late {
                    log::warn!("{} connections were not finished in time", self.sockets.len());
                }
                late || self.parts.machine.is_drained()
            }
        })
    }

    fn poll(&mut self, events: &mut Events) -> Result<(), ServeFault> {
        let timeout = if self.has_work() { Some(Duration::ZERO) } else { self.sleep() };
        match self.parts.poll.poll(events, timeout) {
            Ok(()) => Ok(()),
            // Without events: the next turn polls again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            Err(error) => Err(ServeFault::System { what: "poll failed", error }),
        }
    }

    fn has_work(&self) -> bool {
        self.unsettled || !self.ready.is_empty() || !self.dirty.is_empty()
    }

    /// Until the first deadline; `None` where there is none.
    fn sleep(&self) -> Option<Duration> {
        let machine = self.parts.machine.next_deadline();
        let mut first = machine.into_iter().chain(self.parts.background.next_deadline()).min();
        if let Phase::Draining { until } = self.phase {
            first = Some(first.map_or(until, |first| first.min(until)));
        }
        let now = Instant::now();
        for listener in &self.parts.listeners {
            if self.may_accept(listener) {
                let at = if listener.is_ready(now) { Some(now) } else { listener.retry() };
                first = first.into_iter().chain(at).min();
            }
        }
        first.map(|at| at.saturating_duration_since(now))
    }

    /// Remembers what the kernel says; nothing is read or written yet.
    fn note(&mut self, events: &Events) {
        for event in events {
            let token = event.token();
            if token == WAKER || token == SIGNALS {
                continue; // looked at in every turn
            }
            if let Some(listener) =
                LISTENERS.checked_sub(token.0).filter(|&at| at < self.parts.listeners.len())
            {
                self.parts.listeners[listener].note();
                continue;
            }
            let Some((conn, socket)) = self.sockets.of_token(token) else { continue };
            let (readable, unblocked) = socket.note(event);
            if readable && !std::mem::replace(&mut socket.listed, true) {
                self.ready.push(conn);
            }
            if unblocked && !std::mem::replace(&mut socket.dirty, true) {
                self.dirty.push(conn);
            }
        }
    }

    fn hear_signals(&mut self, now: Now) -> Result<(), ServeFault> {
        for _ in 0..self.parts.signals.drain() {
            match self.phase {
                Phase::Serving => {
                    log::info!("stopping: finishing what was begun, at most {} s", DRAIN_MAX.as_secs());
                    self.notify("STOPPING=1");
                    self.phase = Phase::Draining { until: now.instant + DRAIN_MAX };
                    self.parts.machine.handle(now, Input::Drain);
                }
                Phase::Draining { .. } => return Err(ServeFault::Forced),
            }
        }
        Ok(())
    }

    /// The control socket stays open when the public door is full: an operator must get in then, most of all.
    fn may_accept(&self, listener: &Listener) -> bool {
        match (&self.phase, listener.door()) {
            (Phase::Draining { .. }, _) => false,
            (Phase::Serving, Door::Control) => true,
            (Phase::Serving, Door::Public) => self.parts.machine.is_accepting(),
        }
    }

    fn accept(&mut self, now: Now) {
        for index in 0..self.parts.listeners.len() {
            for _ in 0..ACCEPTS_TURN_MAX {
                let listener = &self.parts.listeners[index];
                if !listener.is_ready(now.instant) || !self.may_accept(listener) {
                    break;
                }
                let door = listener.door();
                match self.parts.listeners[index].accept(now.instant) {
                    Accept::Nobody => break,
                    Accept::Gone => {}
                    Accept::Failed(error) => {
                        self.parts.background.report(Trouble::Accept, format_args!("accept: {error}"));
                    }
                    Accept::One(_, _)
                        if door == Door::Control && self.control_open >= CONTROL_CONNECTIONS_MAX =>
                    {
                        self.parts.background.report(Trouble::Accept, "the control socket is in full use");
                    }
                    Accept::One(stream, peer) => {
                        let socket = Socket::new(stream, door);
                        match self.sockets.insert(socket, self.parts.poll.registry()) {
                            Ok(conn) => {
                                self.control_open += usize::from(door == Door::Control);
                                self.parts.machine.handle(now, Input::Accepted { conn, peer, door });
                            }
                            Err(error) => {
                                self.parts
                                    .background
                                    .report(Trouble::Accept, format_args!("registering a socket: {error}"));
                            }
                        }
                    }
                }
            }
        }
    }

    fn read(&mut self, now: Now) {
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

    fn complete(&mut self, now: Now) -> Result<(), ServeFault> {
        let mut completions = std::mem::take(&mut self.completions);
        let troubles = self.parts.inbox.take(&mut completions);
        for (trouble, count) in troubles {
            (0..count).for_each(|_| self.parts.machine.handle(now, Input::Troubled(trouble)));
        }
        let mut lost = None;
        for completion in completions.drain(..) {
            match completion {
                Completion::Committed(answers) => {
                    self.parts.storage.written(answers.len());
                    for (ticket, outcome) in answers {
                        self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                    }
                }
                Completion::Read(ticket, result) => {
                    self.parts.storage.read();
                    let outcome = Outcome { result, events: Vec::new() };
                    self.parts.machine.handle(now, Input::Answered { ticket, outcome });
                }
                Completion::Finished(kind, ticket, done) => {
                    self.parts.workers.finished(kind);
                    self.parts.machine.handle(now, Input::Finished { ticket, done });
                }
                Completion::Upload { upload, bytes, result } => {
                    self.parts.disk.appended(bytes);
                    match result {
                        Written::Whole => self.parts.machine.handle(now, Input::Appended { upload, bytes }),
                        Written::Failed { full } => {
                            self.parts.machine.handle(now, Input::DiskFailed { upload, full });
                        }
                        Written::Dropped => {}
                    }
                }
                Completion::Piece(piece) => self.take_piece(now, piece),
                Completion::Storage(health) => self.parts.machine.handle(now, Input::Storage(health)),
                Completion::Lost(reason) => lost = Some(reason),
            }
        }
        self.completions = completions;
        lost.map_or(Ok(()), |reason| Err(ServeFault::Lost(reason)))
    }

    fn take_piece(&mut self, now: Now, piece: Piece) {
        self.parts.disk.piece_read();
        self.wake_a_waiting_piece();
        let Some(socket) = self.sockets.get_mut(piece.conn) else { return };
        socket.piece_arrived();
        // The queue may hold another file by now, or none.
        let front = self.parts.machine.send_queue(piece.conn).filter(|queue| {
            matches!(queue.front(), Front::File { file, offset, .. }
                if Arc::ptr_eq(&file, &piece.file) && offset == piece.offset)
        });
        match (front, piece.bytes) {
            (Some(queue), Ok(bytes)) => queue.file_read(bytes),
            (Some(_), Err(error)) => {
                self.parts.background.report(Trouble::Upload, format_args!("reading a file: {error}"));
                return self.fail(now, piece.conn);
            }
            (None, _) => {}
        }
        self.soil(piece.conn);
    }

    /// One place to read a piece is free: the first waiting connection that is still open asks again.
    fn wake_a_waiting_piece(&mut self) {
        while let Some(conn) = self.parts.disk.next_waiting() {
            if let Some(socket) = self.sockets.get_mut(conn) {
                socket.piece_under_way = false;
                return self.soil(conn);
            }
        }
    }

    fn tick(&mut self, now: Now) {
        if self.parts.machine.next_deadline().is_some_and(|at| at <= now.instant) {
            self.parts.machine.handle(now, Input::Tick);
        }
        if self.parts.background.next_deadline().is_some_and(|at| at <= now.instant) {
            self.parts.background.flush(Some(now.instant));
        }
    }

    /// Performs and flushes until nothing follows, but not for ever: flushing makes room, which may make the machine
    /// go on with what it had stopped.
    fn settle(&mut self, now: Now) {
        self.unsettled = true;
        let mut later = Vec::new();
        for _ in 0..SETTLE_ROUNDS_MAX {
            let mut quiet = true;
            while let Some(effect) = self.parts.machine.poll_effect() {
                quiet = false;
                self.perform(effect);
            }
            if quiet && self.dirty.is_empty() && self.refused.is_empty() {
                self.unsettled = false;
                break;
            }
            // Before the flush: the threads work while the sockets are written.
            self.parts.storage.hand_over();
            self.parts.workers.hand_over();
            self.answer_refused(now);
            self.flush(now, &mut later);
            self.parts.disk.hand_over();
        }
        self.dirty.append(&mut later);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Store { ticket, lane, command } => {
                if let Err(refusal) = self.parts.storage.submit(ticket, lane, command) {
                    self.refused.push(Refused::Store(ticket, refusal));
                }
            }
            Effect::LaneOver(lane) => self.parts.storage.lane_over(lane),
            Effect::Work { ticket, job } => {
                if let Err(done) = self.parts.workers.submit(ticket, job) {
                    self.refused.push(Refused::Work(ticket, done));
                }
            }
            Effect::Append { upload, bytes } => {
                if !self.parts.disk.append(upload, bytes) {
                    self.refused.push(Refused::Append(upload));
                }
            }
            Effect::Abandon { upload } => self.parts.disk.abandon(upload),
            Effect::Flush(conn) => self.soil(conn),
            Effect::ShutdownWrite(conn) => {
                self.sockets.get_mut(conn).into_iter().for_each(Socket::end_after_flush);
                self.soil(conn);
            }
            Effect::Close(conn) => self.closing.push(conn),
        }
    }

    fn answer_refused(&mut self, now: Now) {
        for refused in std::mem::take(&mut self.refused) {
            let input = match refused {
                Refused::Store(ticket, refusal) => {
                    Input::Answered { ticket, outcome: Outcome { result: Err(refusal), events: Vec::new() } }
                }
                Refused::Work(ticket, done) => Input::Finished { ticket, done },
                Refused::Append(upload) => Input::DiskFailed { upload, full: false },
            };
            self.parts.machine.handle(now, input);
        }
    }

    /// To be flushed in this turn, and asked again whether it is to be read.
    fn soil(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn)
            && !std::mem::replace(&mut socket.dirty, true)
        {
            self.dirty.push(conn);
        }
    }

    /// Flushes each dirty socket once; those that used up their share go to `later`.
    fn flush(&mut self, now: Now, later: &mut Vec<ConnId>) {
        for conn in std::mem::take(&mut self.dirty) {
            let Some(socket) = self.sockets.get_mut(conn) else { continue };
            socket.dirty = false;
            let Some(queue) = self.parts.machine.send_queue(conn) else { continue };
            let (bytes, flushed) = socket.flush(queue);
            let mut broken = false;
            match flushed {
                Flushed::Settled => {}
                Flushed::Again => {
                    socket.dirty = true;
                    later.push(conn);
                }
                Flushed::File { file, offset, len } => {
                    socket.piece_under_way = true;
                    broken = !self.parts.disk.read(conn, file, offset, len);
                }
                Flushed::Broken => broken = true,
            }
            if broken {
                self.fail(now, conn);
                continue;
            }
            if bytes > 0 {
                self.parts.machine.handle(now, Input::Sent { conn, bytes });
            }
            if socket.is_readable() && !socket.listed && self.parts.machine.wants_read(conn) {
                socket.listed = true;
                self.ready.push(conn);
            }
        }
    }

    /// The socket is of no use any more: closed here, then told.
    fn fail(&mut self, now: Now, conn: ConnId) {
        if self.drop_socket(conn) {
            self.parts.machine.handle(now, Input::Failed { conn });
        }
    }

    fn close(&mut self) {
        for conn in std::mem::take(&mut self.closing) {
            self.drop_socket(conn);
        }
    }

    fn drop_socket(&mut self, conn: ConnId) -> bool {
        let Some(socket) = self.sockets.remove(conn) else { return false };
        self.control_open -= usize::from(socket.door == Door::Control);
        true
    }

    fn notify(&self, state: &str) {
        self.parts.notify.iter().for_each(|notify| notify.send(state));
    }

    /// Closes everything and joins every thread; the writer finishes its queue and checkpoints.
    fn finish(self, events: &mut Events) -> Result<(), ServeFault> {
        let Parts { mut poll, mut signals, mut storage, mut workers, mut disk, inbox, background, .. } =
            self.parts;
        drop(self.sockets);
        inbox.close();
        let mut threads: Vec<Thread> = Vec::new();
        threads.extend(workers.close());
        threads.extend(disk.close());
        threads.extend(storage.close());
        // A second signal ends this too: a checkpoint on a slow disk takes a while.
        while threads.iter().any(|thread| !thread.is_finished()) {
            match poll.poll(events, Some(JOIN_CHECK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(ServeFault::System { what: "poll failed", error });
                }
                _ => {}
            }
            if signals.drain() > 0 {
                return Err(ServeFault::Forced);
            }
        }
        let panicked = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        background.flush(None);
        if panicked > 0 {
            return Err(ServeFault::Lost("a thread panicked while it ended".to_owned()));
        }
        Ok(())
    }
}

/// The turn's one reading of both clocks. A clock before 1970 reads as 1970.
fn clock() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}
