//! The runtime in memory: it performs the effects of a server without a socket, a thread or a clock.
//!
//! Tests, the simulation and commands without a running server use it. Owns what the server asked for and what is not
//! executed yet; its user decides when each is executed, by which store, and what becomes of the bytes.
//! Invariant: it keeps the promises of the runtime with threads. Outcomes of writes come in the order of their commits,
//! lanes are those of `lanes.rs`, and a socket is written after all effects of a round.

use std::collections::VecDeque;
use std::mem;

use super::lanes::{Batches, Lanes};
use crate::base::send_queue::SendQueue;
use crate::base::time::Now;
use crate::model::backup::BackUp;
use crate::model::id::UploadId;
use crate::model::job::{Done, Job};
use crate::model::operation::{Answer, Lane, Outcome, Read, Refusal, Write};
use crate::server::Server;
use crate::server::contract::{ConnId, Effect, Input, Ticket};
use crate::store::{Committed, Reader, Store};

/// The sockets, and the faults of the queues.
pub trait Environment {
    /// Sends bytes of this queue. Returns how many.
    fn flush(&mut self, conn: ConnId, queue: &mut SendQueue) -> u64;
    /// Shuts the writing side down once the send queue is empty. A flush follows.
    fn shut_after_flush(&mut self, _conn: ConnId) {}
    fn close(&mut self, _conn: ConnId) {}
    /// Sees each effect before it is performed. Returns whether the queue of a write, a read or a job has room for it.
    fn admits(&mut self, _effect: &Effect) -> bool {
        true
    }
    /// Whether the cancellation of a read comes before its end.
    fn cancels(&mut self) -> bool {
        true
    }
}

/// A command that storage has not executed.
#[derive(Clone, Debug)]
pub enum StorageCommand {
    Write(Ticket, Lane, Write),
    Read(Ticket, Box<Read>),
    BackUp(Ticket, BackUp),
}

impl StorageCommand {
    pub fn ticket(&self) -> Ticket {
        match self {
            StorageCommand::Write(ticket, ..)
            | StorageCommand::Read(ticket, _)
            | StorageCommand::BackUp(ticket, _) => *ticket,
        }
    }

    /// The name of the command.
    pub fn name(&self) -> &'static str {
        match self {
            StorageCommand::Write(_, _, write) => write.name(),
            StorageCommand::Read(_, read) => read.name(),
            StorageCommand::BackUp(..) => "BackUp",
        }
    }
}

/// What the disk has to do for an upload.
#[derive(Debug)]
pub enum Append {
    Bytes { upload: UploadId, bytes: Vec<u8>, last: bool },
    Abandon(UploadId),
}

/// A server, and what is in progress for it.
pub struct InMemory {
    pub server: Server,
    pub now: Now,
    /// In the order in which they were asked for.
    pub asked: VecDeque<StorageCommand>,
    pub jobs: VecDeque<(Ticket, Job)>,
    pub appends: VecDeque<Append>,
    /// Outcomes of writes that the server does not have yet, in the order of their commits.
    pub committed: VecDeque<(Ticket, Outcome)>,
    /// What the server said to the other nodes, which is not delivered yet.
    pub whispers: VecDeque<Vec<u8>>,
    /// Lanes that met a full queue.
    closed: Lanes,
    batches: Batches,
    /// Lanes that are reset once a write of `asked` is in a batch.
    resets: Vec<(Ticket, Lane)>,
    refused: Vec<Input<'static>>,
    dirty: Vec<ConnId>,
}

impl InMemory {
    pub fn new(server: Server, now: Now) -> InMemory {
        InMemory {
            server,
            now,
            asked: VecDeque::new(),
            jobs: VecDeque::new(),
            appends: VecDeque::new(),
            committed: VecDeque::new(),
            whispers: VecDeque::new(),
            closed: Lanes::default(),
            batches: Batches::default(),
            resets: Vec::new(),
            refused: Vec::new(),
            dirty: Vec::new(),
        }
    }

    pub fn handle(&mut self, input: Input<'_>) {
        self.server.handle(self.now, input);
    }

    // ---- effects ------------------------------------------------------------------------------------

    /// Performs effects until there are none.
    pub fn perform(&mut self, environment: &mut impl Environment) {
        loop {
            while let Some(effect) = self.server.poll_effect() {
                let has_room = environment.admits(&effect);
                self.perform_one(environment, effect, has_room);
            }
            if self.dirty.is_empty() && self.refused.is_empty() {
                return;
            }
            mem::take(&mut self.refused).into_iter().for_each(|refused| self.handle(refused));
            mem::take(&mut self.dirty).into_iter().for_each(|conn| self.flush(environment, conn));
        }
    }

    fn perform_one(&mut self, environment: &mut impl Environment, effect: Effect, has_room: bool) {
        match effect {
            Effect::Write { ticket, lane, write } => match self.closed.offer(lane, || has_room) {
                Ok(()) => self.asked.push_back(StorageCommand::Write(ticket, lane, write)),
                Err(refusal) => self.refused.push(Input::refused(ticket, refusal)),
            },
            Effect::Read { ticket, read, .. } if has_room => {
                self.asked.push_back(StorageCommand::Read(ticket, read));
            }
            Effect::Read { ticket, .. } => self.refused.push(Input::refused(ticket, Refusal::Busy)),
            Effect::BackUp { ticket, wanted } => self.asked.push_back(StorageCommand::BackUp(ticket, wanted)),
            Effect::Cancel(ticket) => {
                let is = |asked: &StorageCommand| matches!(asked, StorageCommand::Read(waits, _) if *waits == ticket);
                if let Some(index) = self.asked.iter().position(is)
                    && environment.cancels()
                {
                    self.asked.remove(index);
                    self.refused.push(Input::refused(ticket, Refusal::Busy));
                }
            }
            Effect::Whisper(bytes) => self.whispers.push_back(bytes),
            Effect::LaneReset(lane) => self.reset_lane(lane),
            Effect::Work { ticket, job } if has_room => {
                self.jobs.push_back((ticket, job));
            }
            Effect::Work { ticket, job } => {
                self.appends.extend(job.received_file().map(Append::Abandon));
                self.refused.push(Input::Finished { ticket, done: Done::Busy });
            }
            Effect::Append { upload, bytes, last } => {
                self.appends.push_back(Append::Bytes { upload, bytes, last });
            }
            Effect::Abandon { upload } => self.appends.push_back(Append::Abandon(upload)),
            Effect::Flush(conn) => self.mark_dirty(conn),
            Effect::ShutdownWrite(conn) => {
                environment.shut_after_flush(conn);
                self.mark_dirty(conn);
            }
            Effect::Close(conn) => environment.close(conn),
            Effect::UseCertificate(_) => {}
        }
    }

    fn mark_dirty(&mut self, conn: ConnId) {
        if !self.dirty.contains(&conn) {
            self.dirty.push(conn);
        }
    }

    /// A socket can take bytes.
    pub fn flush(&mut self, environment: &mut impl Environment, conn: ConnId) {
        let Some(queue) = self.server.send_queue(conn) else { return };
        let bytes = environment.flush(conn, queue);
        if bytes > 0 {
            self.handle(Input::Sent { conn, bytes });
        }
    }

    // ---- storage ------------------------------------------------------------------------------------

    /// How many writes are not committed.
    pub fn writes(&self) -> usize {
        let asked = self.asked.iter().filter(|asked| matches!(asked, StorageCommand::Write(..)));
        asked.count() + usize::from(self.batches.has_deferred())
    }

    /// How many reads no reader has taken.
    pub fn reads(&self) -> usize {
        self.asked.iter().filter(|asked| matches!(asked, StorageCommand::Read(..))).count()
    }

    /// A reader takes one of the reads.
    pub fn take_read(&mut self, index: usize) -> Option<(Ticket, Box<Read>)> {
        let mut reads = (0..).zip(&self.asked).filter(|(_, asked)| matches!(asked, StorageCommand::Read(..)));
        let (at, _) = reads.nth(index)?;
        match self.asked.remove(at) {
            Some(StorageCommand::Read(ticket, read)) => Some((ticket, read)),
            _ => None,
        }
    }

    /// One iteration of the writer: a batch of at most `count_max` of the writes that wait, then one of the deferred ones.
    /// The outcomes go to `committed`.
    pub fn commit(&mut self, count_max: usize, mut commit: impl FnMut(&mut Vec<(Lane, Write)>) -> Committed) {
        let mut left = count_max;
        for asked in mem::take(&mut self.asked) {
            match asked {
                StorageCommand::Write(ticket, lane, write) if left > 0 => {
                    left -= 1;
                    let refused = self.batches.push(ticket, lane, write);
                    self.refuse_closed(refused);
                    if let Some(index) = self.resets.iter().position(|(after, _)| *after == ticket) {
                        self.batches.reset(self.resets.swap_remove(index).1);
                    }
                }
                asked => self.asked.push_back(asked),
            }
        }
        self.commit_batch(&mut commit);
        let refused = self.batches.take_deferred();
        self.refuse_closed(refused);
        self.commit_batch(&mut commit);
    }

    fn commit_batch(&mut self, commit: &mut impl FnMut(&mut Vec<(Lane, Write)>) -> Committed) {
        if let Some((tickets, committed)) = self.batches.commit(commit) {
            self.committed.extend(tickets.into_iter().zip(committed.outcomes));
        }
    }

    fn refuse_closed(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        let refused = |ticket| (ticket, Outcome::quiet(Err(Refusal::Unavailable)));
        self.committed.extend(tickets.into_iter().map(refused));
    }

    /// Takes effect after the writes of this lane that wait.
    fn reset_lane(&mut self, lane: Lane) {
        self.closed.reset(lane);
        let of_lane = |asked: &StorageCommand| match asked {
            StorageCommand::Write(ticket, its, _) if *its == lane => Some(*ticket),
            _ => None,
        };
        match self.asked.iter().rev().find_map(of_lane) {
            Some(last) => self.resets.push((last, lane)),
            None => self.batches.reset(lane),
        }
    }

    /// The next outcome of a write reaches the server.
    pub fn answer(&mut self) {
        if let Some((ticket, outcome)) = self.committed.pop_front() {
            self.handle(Input::Answered { ticket, outcome });
        }
    }

    /// Storage executes the oldest command alone, and the server has its outcome. Returns `false` if none waits.
    pub fn execute(&mut self, store: &mut Store, reader: &mut Reader) -> bool {
        let (ticket, result) = match self.asked.pop_front() {
            None => return false,
            Some(StorageCommand::Read(ticket, read)) => (ticket, reader.read(*read)),
            Some(StorageCommand::BackUp(ticket, BackUp { id })) => {
                (ticket, store.back_up(id, &mut |_| true).map(Answer::BackUp))
            }
            Some(write) => {
                self.asked.push_front(write);
                self.commit(1, |batch| store.commit(batch));
                (0..self.committed.len()).for_each(|_| self.answer());
                return true;
            }
        };
        self.handle(Input::Answered { ticket, outcome: Outcome::quiet(result) });
        true
    }
}
