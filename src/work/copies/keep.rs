//! Sees that each file of this node is on another one, too: a second copy is lost with a disk, or with a node that is built anew.
//!
//! Asks all other nodes which files they lack, and gives those that all lack to one. Leaves which files have a row, and the time of the
//! next look, to the server.
//! Invariant: nothing is given while a node that may have the files is only away.

use std::collections::BTreeSet;

use super::{Copies, CopyFault, answer_of};
use crate::base::id::Id;
use crate::model::job::KeptCopies;
use crate::model::upload::{KeptFile, OLD_FILES_MAX};
use crate::proto::copies::{LACKS_MAX, Reply, Request};
use crate::work::copies::nodes::Address;

/// Bytes that one look gives, and a file more: at one look in 20 s some 3 MiB a second, which leaves the disks and the network to clients.
const GIVEN_MAX: u64 = 64 << 20;

const _: () = assert!(OLD_FILES_MAX <= LACKS_MAX, "all files of one look are one question");

impl Copies {
    /// Gives those of these files that no other node has to one.
    pub fn keep(&self, files: &[KeptFile]) -> KeptCopies {
        let mut kept = KeptCopies::default();
        let number = files.first().map_or(0, |first| first.file.low());
        let Some(nodes) = self.0.options.nodes.all_alive(number).filter(|nodes| !nodes.is_empty()) else {
            return kept;
        };
        let mut lacking: BTreeSet<Id> = files.iter().map(|kept| Id::from_u128(kept.file.to_u128())).collect();
        for (node, address) in nodes {
            if lacking.is_empty() {
                return kept;
            }
            match self.lacks(&address, &lacking) {
                Ok(lacks) => lacking.retain(|file| lacks.contains(file)),
                Err(fault) => {
                    log::debug!(target: "natter::cluster", node:%; "node {node} does not say what it lacks: {fault}");
                    return kept;
                }
            }
        }
        let is_lacking = |kept: &&KeptFile| lacking.contains(&Id::from_u128(kept.file.to_u128()));
        for KeptFile { file, sha256, .. } in files.iter().filter(is_lacking) {
            if kept.bytes >= GIVEN_MAX {
                return kept;
            }
            // What was said of a file that is not given is logged. It comes again in the next round.
            if let Ok(bytes @ 1..) = self.give(*file, *sha256) {
                (kept.files, kept.bytes) = (kept.files + 1, kept.bytes + bytes);
                log::info!(target: "natter::cluster", "file {file} had one copy only, and has two again");
            }
            kept.through = Some(*file);
        }
        kept.through = None;
        kept
    }

    fn lacks(&self, address: &Address, files: &BTreeSet<Id>) -> Result<Vec<Id>, CopyFault> {
        let mut link = self.connect(address, 0)?;
        link.send(&Request::Lacks { files: files.iter().copied().collect() }.to_bytes())?;
        match answer_of(&mut link)? {
            Reply::Lacks { files } => Ok(files),
            _ => Err(CopyFault::Unexpected),
        }
    }
}
