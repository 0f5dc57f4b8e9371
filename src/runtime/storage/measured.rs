//! The store of a node of a cluster, with its transactions measured and their faults counted, as those of a natter
//! alone are.
//!
//! Owns nothing; the replica decides what is applied and when it is tried again.

use std::time::Instant;

use super::maintenance::error_kind;
use crate::base::crypto::Entropy;
use crate::base::time::UnixMs;
use crate::model::entry::{Entry, Life, NodeName};
use crate::model::measures::Measure;
use crate::model::metrics::ErrorKind;
use crate::runtime::inbox::Inbox;
use crate::runtime::replica::Applies;
use crate::store::{Applied, Delivered, Fault};

pub(super) struct Measured<'a> {
    pub store: &'a mut dyn Applies,
    pub inbox: &'a Inbox,
}

impl Measured<'_> {
    fn failed(&self, fault: Fault) {
        self.inbox.count(error_kind(fault, ErrorKind::Commit), fault.to_string());
    }
}

impl Applies for Measured<'_> {
    fn enter(&mut self, log: &str) -> Result<bool, Fault> {
        self.store.enter(log).inspect_err(|fault| self.failed(*fault))
    }

    fn next_life(&self, node: &NodeName, entropy: &mut dyn Entropy, now_ms: UnixMs) -> Result<Life, Fault> {
        self.store.next_life(node, entropy, now_ms)
    }

    fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
        let (entries, began) = (delivered.len() as u64, Instant::now());
        let applied = self.store.apply(delivered);
        self.inbox.measures.took_here(Measure::Commit, began.elapsed());
        self.inbox.measures.observe(Measure::Batch, entries);
        applied.fault.into_iter().for_each(|fault| self.failed(fault));
        applied
    }

    fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault> {
        self.store.raisable(node)
    }

    fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault> {
        self.store.raises(entry).inspect_err(|fault| self.failed(*fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::inbox::Errors;

    /// A store at which everything fails.
    struct Failing(Fault);

    impl Applies for Failing {
        fn enter(&mut self, _: &str) -> Result<bool, Fault> {
            Err(self.0)
        }

        fn next_life(&self, _: &NodeName, _: &mut dyn Entropy, _: UnixMs) -> Result<Life, Fault> {
            Err(self.0)
        }

        fn apply(&mut self, _: &mut Vec<Delivered>) -> Applied {
            Applied { entries: Vec::new(), fault: Some(self.0) }
        }

        fn raisable(&self, _: &NodeName) -> Result<Option<u32>, Fault> {
            Err(self.0)
        }

        fn raises(&self, _: &Entry) -> Result<Option<u32>, Fault> {
            Err(self.0)
        }
    }

    #[test]
    fn a_fault_of_a_transaction_is_a_background_error_as_alone() {
        let (_poll, inbox) = crate::runtime::testing::inbox();
        for (fault, kind) in [
            (Fault::Io, ErrorKind::Commit),
            (Fault::Internal, ErrorKind::Commit),
            (Fault::Full, ErrorKind::DiskFull),
            (Fault::Sync, ErrorKind::Sync),
        ] {
            let mut store = Failing(fault);
            let mut measured = Measured { store: &mut store, inbox: &inbox };
            assert!(measured.apply(&mut Vec::new()).fault.is_some() && measured.enter("log").is_err());
            let errors = Errors { count: 2, text: fault.to_string() };
            let taken = inbox.take(&mut Vec::new()).into_iter().collect::<Vec<_>>();
            assert_eq!(taken, [(kind, errors)], "{fault:?}");
        }
        assert_eq!(inbox.measures.observed(Measure::Commit).count(), 4);
    }
}
