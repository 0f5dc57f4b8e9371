//! What the writer's thread does between two batches, whatever brings it the batches: maintenance of the database, the deletion of what the
//! index has applied, and reports to the loop.
//!
//! Invariant: the loop learns of each change of the readiness before the answers that follow it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::writer_thread::Writer;
use crate::limits::PROBE_EVERY;
use crate::model::metrics::ErrorKind;
use crate::model::readiness::Readiness;
use crate::runtime::inbox::{Completion, Inbox};
use crate::runtime::indexing::IndexProgress;
use crate::runtime::sizes::Sizes;
use crate::store::Fault;

/// Time between two calls of [`Writer::maintain`] (checkpoint, repair) while no write comes.
pub(super) const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
/// Pause after a deletion of search changes, in lengths of that step: posts keep 95 % of the writer.
const SWEEP_REST: u32 = 19;
/// Minimum of that pause.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// The error kind that counts a fault of this kind of work. The store has logged it.
pub(super) fn error_kind(fault: Fault, work: ErrorKind) -> ErrorKind {
    match fault {
        Fault::Full => ErrorKind::DiskFull,
        Fault::Sync => ErrorKind::Sync,
        _ => work,
    }
}

/// The reason why the process must stop, if it must: further writes would make a corrupt database worse.
pub(super) fn fatal(fault: Fault) -> Option<&'static str> {
    (fault == Fault::Corrupt).then(|| fault.reason())
}

pub(super) struct Maintenance {
    /// The readiness that was last reported to the loop.
    readiness: Readiness,
    /// The shared state of the index, and the last search change that was deleted because the index applied it.
    progress: Arc<IndexProgress>,
    swept: u64,
    /// The last deletion left something to do, and the time before which the next one does not begin.
    is_sweep_left: bool,
    sweep_at: Instant,
    sizes: Sizes,
    inbox: Arc<Inbox>,
}

impl Maintenance {
    pub fn new(readiness: Readiness, progress: Arc<IndexProgress>, inbox: Arc<Inbox>) -> Maintenance {
        let (is_sweep_left, sweep_at) = (true, Instant::now());
        let sizes = Sizes::default();
        Maintenance { readiness, progress, swept: 0, is_sweep_left, sweep_at, sizes, inbox }
    }

    /// When there is something to do although no write comes.
    pub fn due_at(&self) -> Instant {
        if self.is_sweep_left { self.sweep_at } else { Instant::now() + MAINTAIN_EVERY }
    }

    /// So many writes were committed.
    pub fn written(&self, count: usize) {
        self.progress.written(count);
    }

    /// `because` is why no write is answered although the database could.
    pub fn maintain(
        &mut self,
        writer: &mut dyn Writer,
        because: Option<&'static str>,
    ) -> Option<&'static str> {
        let maintained = writer.maintain();
        self.report(writer, because);
        self.sizes.measure(writer.folder(), &self.inbox.measures);
        maintained.err().and_then(|fault| self.maintenance_failed(fault))
    }

    /// Reports the readiness to the loop if it changed.
    pub fn report(&mut self, writer: &mut dyn Writer, because: Option<&'static str>) {
        let mut readiness = writer.readiness();
        readiness.unready = readiness.unready.or(because);
        if std::mem::replace(&mut self.readiness, readiness) != readiness {
            self.progress.hold(readiness.unproven);
            self.inbox.post(Completion::Storage(readiness));
        }
    }

    /// Deletes search changes that the index has applied. Rare, and limited so that posts keep most of the writer's time.
    pub fn sweep(&mut self, writer: &mut dyn Writer) -> Option<&'static str> {
        let (began, done) = (Instant::now(), self.progress.done());
        if !self.readiness.is_ready() || began < self.sweep_at || !(self.is_sweep_left || done > self.swept) {
            return None;
        }
        let swept = writer.sweep_search(done);
        self.sweep_at = Instant::now() + SWEEP_PAUSE.max(began.elapsed() * SWEEP_REST);
        match swept {
            Ok(more) => {
                (self.swept, self.is_sweep_left) = (done, more);
                None
            }
            Err(fault) => {
                self.sweep_at += PROBE_EVERY;
                self.maintenance_failed(fault)
            }
        }
    }

    fn maintenance_failed(&mut self, fault: Fault) -> Option<&'static str> {
        self.inbox.count(error_kind(fault, ErrorKind::Checkpoint), fault.to_string());
        fatal(fault)
    }
}
