//! The database of one life of the server: the real store, on a disk that may fail, with statements that may fail.
//!
//! Owns the store and its faults. Each batch is checked against the model when it is committed.

use natter::model::id::UploadId;
use natter::model::operation::{Lane, Write};
use natter::store::{Committed, Fault, Store};

use super::disk::Disk;
use super::mirror::Mirror;
use super::reference::Model;
use super::sabotage::Sabotage;
use crate::support::files::Files;

/// The batch with its lanes, and the salts of the log that it is in.
pub type RefusedBatch = (Vec<(Lane, Write)>, (u64, u64));

pub struct Database {
    /// `None` between two lives.
    pub store: Option<Store>,
    /// The failing statements of a run without faults of the disk.
    pub sabotage: Option<Sabotage>,
    /// The disk of a run with faults.
    pub disk: Option<Disk>,
    /// A batch that was refused because its sync failed, and which log it is in while nothing was written since.
    pub refused_batch: Option<RefusedBatch>,
    /// This life began with what is not proven to be on disk.
    pub began_unproven: bool,
}

impl Database {
    pub fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("an open store")
    }

    pub fn is_sabotaged(&self) -> bool {
        self.sabotage.as_ref().is_some_and(Sabotage::is_on)
    }

    /// Whether the disk has dead blocks.
    pub fn is_suspect(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::is_suspect)
    }

    /// Whether the disk failed in this life.
    pub fn has_failed(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.failures() > 0) || self.began_unproven
    }

    /// Commits one batch, and updates the model and the mirror.
    pub fn commit(
        &mut self,
        model: &mut Model,
        mirror: &mut Mirror,
        files: &Files,
        batch: &mut Vec<(Lane, Write)>,
    ) -> Committed {
        let commands = batch.clone();
        let was_suspect = self.is_suspect();
        let committed = self.store().commit(batch);
        let Committed { outcomes, fault } = &committed;
        assert_eq!(outcomes.len(), commands.len(), "one outcome for each command");
        assert!(fault.is_none() || self.is_sabotaged() || self.has_failed(), "a commit failed: {fault:?}");
        assert!(!was_suspect || fault.is_some(), "an answer although the disk has dead blocks");
        model.committed(&commands, outcomes, *fault, self.is_sabotaged());
        mirror.committed(&commands, outcomes);
        let forgotten = commands.iter().zip(outcomes).filter_map(|((_, write), outcome)| match write {
            Write::ForgetFiles(forget) if outcome.result.is_ok() => Some(&forget.files),
            _ => None,
        });
        let forgotten: Vec<UploadId> = forgotten.flatten().copied().collect();
        model.check_files(files, &forgotten);
        let refused_in = self.disk.as_ref().and_then(Disk::refused).filter(|_| *fault == Some(Fault::Sync));
        self.refused_batch = match refused_in {
            Some(changes) => Some((commands, changes)),
            None => self.refused_batch.take(),
        };
        committed
    }
}
