//! The threads of storage (one writes, a few read, one searches, one indexes), and the loop's side of them.
//!
//! Owns the bound of writes in flight; the writer's thread is `storage/writer_thread.rs`, what it does in a cluster
//! `storage/cluster_node.rs`, and between batches `storage/maintenance.rs`; lanes and batches are `lanes.rs`. Does not know SQL.
//! Invariant: writes are committed in the order in which they were submitted. After a fault in a lane, no later write of
//! that lane is committed: the lane is closed where the fault happened (at the full queue here, or in the writer) until
//! [`Storage::reset_lane`].

#[cfg(feature = "cluster")]
mod cluster_node;
mod maintenance;
#[cfg(feature = "cluster")]
mod measured;
mod writer_thread;

use std::io;
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "cluster")]
pub use self::cluster_node::ClusterNode;
use self::writer_thread::WriterThread;
pub use self::writer_thread::{Database, Writer, Writes};
use super::background::Background;
use super::inbox::Inbox;
use super::indexing::{IndexProgress, Indexes, index_until_closed};
use super::lanes::Lanes;
use super::queue::Producer;
use super::readers::{Readers, Reads};
use super::threads::{Thread, spawn};
#[cfg(feature = "cluster")]
use crate::base::seal::Chain;
use crate::model::backup::BackUp;
use crate::model::measures::Measure;
use crate::model::operation::{Flow, Lane, Read, Refusal, Write};
use crate::server::contract::Ticket;

/// Writes passed to the writer and not answered: 50 ms of work at full speed. Above it: `Refusal::Busy`, and the lane is
/// closed.
const WRITES_IN_FLIGHT_MAX: usize = 8_192;

enum Item {
    Write(Ticket, Lane, Write),
    BackUp(Ticket, BackUp),
    LaneReset(Lane),
    /// The process will end: it does not wait for a backup.
    Drain,
    /// The log of a cluster has something new.
    #[cfg(feature = "cluster")]
    Log,
    /// What another node of the cluster has read.
    #[cfg(feature = "cluster")]
    Compare(u64, Chain),
}

/// The loop's side.
pub struct Storage {
    writes: Producer<Item>,
    readers: Readers,
    /// Separate from all other reads: one search may cost as much as a hundred of them.
    searches: Readers,
    progress: Arc<IndexProgress>,
    /// Lanes that met a full queue.
    closed: Lanes,
    threads: Vec<Thread>,
}

impl Storage {
    pub(super) fn start<R: Reads>(
        writer: impl Database,
        writes: Writes,
        readers: Vec<R>,
        searcher: R,
        index: impl Indexes,
        inbox: &Arc<Inbox>,
        background: &Background,
    ) -> io::Result<Storage> {
        let readiness = writer.readiness();
        let progress = Arc::new(IndexProgress::default());
        progress.hold(readiness.unproven);
        let thread = WriterThread::new(writes, readiness, Arc::clone(&progress), Arc::clone(inbox));
        let writes = Producer::measured(WRITES_IN_FLIGHT_MAX, &inbox.measures, Measure::WaitWrite);
        let mut threads = Vec::with_capacity(3 + readers.len());
        let queue = writes.queue();
        threads.push(spawn("writer", inbox, move || thread.run(writer, &queue))?);
        let readers = Readers::start("reader", Measure::WaitRead, readers, inbox, background, &mut threads)?;
        let searches =
            Readers::start("search", Measure::WaitSearch, vec![searcher], inbox, background, &mut threads)?;
        let (its_progress, its_inbox) = (Arc::clone(&progress), Arc::clone(inbox));
        threads.push(spawn("index", inbox, move || index_until_closed(index, &its_progress, &its_inbox))?);
        Ok(Storage { writes, readers, searches, progress, closed: Lanes::default(), threads })
    }

    /// Submits one write, or returns its refusal at once.
    pub(super) fn submit(&mut self, ticket: Ticket, lane: Lane, write: Write) -> Result<(), Refusal> {
        let writes = &mut self.writes;
        self.closed.offer(lane, || writes.offer(Item::Write(ticket, lane, write)))
    }

    /// Submits a request for a backup, or returns its refusal at once.
    pub(super) fn back_up(&mut self, ticket: Ticket, wanted: BackUp) -> Result<(), Refusal> {
        if self.writes.offer(Item::BackUp(ticket, wanted)) { Ok(()) } else { Err(Refusal::Busy) }
    }

    /// Reopens a lane: its connection sends no more writes that depend on the failed one. Takes effect after the writes that
    /// were submitted before.
    pub(super) fn reset_lane(&mut self, lane: Lane) {
        self.closed.reset(lane);
        self.writes.force(Item::LaneReset(lane));
    }

    /// In a cluster: another node has this chain after this position. If this node has another one, the process stops.
    #[cfg(feature = "cluster")]
    pub(super) fn compare(&mut self, position: u64, chain: Chain) {
        self.writes.force(Item::Compare(position, chain));
    }

    /// The process will end soon: a backup in progress is cancelled. All other work continues.
    pub(super) fn drain(&mut self) {
        self.writes.force(Item::Drain);
    }

    /// Passes the turn's commands to the threads, with one lock and no more wakes than sleeping threads.
    pub(super) fn push_staged(&mut self) {
        self.writes.push_staged();
        self.readers.push_staged();
        self.searches.push_staged();
    }

    /// Submits one read. Returns the ticket of the read that is refused for it, if one is.
    #[must_use]
    pub(super) fn read(&mut self, flow: Flow, ticket: Ticket, read: Box<Read>) -> Option<Ticket> {
        let readers = match *read {
            Read::SearchMessages(_) => &mut self.searches,
            _ => &mut self.readers,
        };
        readers.submit(flow, ticket, read)
    }

    /// The answer of this read is no longer needed: see [`Readers::cancel`].
    #[must_use]
    pub(super) fn cancel(&mut self, ticket: Ticket) -> bool {
        self.readers.cancel(ticket) || self.searches.cancel(ticket)
    }

    /// When [`Storage::tick`] is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [&self.readers, &self.searches].into_iter().filter_map(Readers::next_deadline).min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.readers.watch(now);
        self.searches.watch(now);
    }

    /// `count` writes were answered.
    pub(super) fn written(&mut self, count: usize) {
        self.writes.returned(count);
    }

    /// Ends the threads: the writer finishes its queue and closes the database, the others stop.
    pub(super) fn close(&mut self) -> Vec<Thread> {
        self.writes.close();
        self.readers.close();
        self.searches.close();
        self.progress.close();
        std::mem::take(&mut self.threads)
    }
}

/// If a later step of the start fails, the value is dropped, and the index thread ends too.
impl Drop for Storage {
    fn drop(&mut self) {
        self.progress.close();
    }
}

#[cfg(feature = "cluster")]
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
