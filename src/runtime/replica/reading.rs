//! How far a node has read the log, and whether the log is still the one that it was.
//!
//! Owns the position, the chain and the messages for a log that may not be used. Leaves the entries to their reader.
//! Invariant: what is read are the entries after the place of the store, in the order of their positions, without a gap; each opened with
//! the key of the cluster.

use std::collections::{BTreeMap, VecDeque};

use super::{Broken, LogState};
use crate::base::seal::{Chain, SealKey};
use crate::base::time::UnixMs;
use crate::model::entry::{Entry, EntryBody, EntryError, LEVEL};
use crate::store::{Delivered, Place, Skip};

/// How often entries are read anew because the next one is missing or damaged. Then the process stops.
const READ_TRIES: u32 = 3;
/// Positions whose chain is kept for the comparison with other nodes.
const CHAINS_KEPT: usize = 4_096;
/// Chains that other nodes named for positions that this one has not read. Above: the one of the lowest position is dropped.
const CHAINS_AHEAD_MAX: usize = 64;

/// The entry at a position.
pub(super) enum Read {
    Next(Box<Delivered>),
    /// It was read before.
    Known,
    /// The entries after the last good one must be read anew.
    Anew,
}

pub(super) struct Reading {
    key: SealKey,
    position: u64,
    chain: Chain,
    tries: u32,
    /// What an operator lets this node skip.
    skip: Option<Skip>,
    /// The chain after each of the last positions, and what other nodes said of later ones.
    chains: VecDeque<(u64, Chain)>,
    chains_ahead: BTreeMap<u64, Chain>,
}

impl Reading {
    pub fn new(key: SealKey, place: Option<&Place>) -> Reading {
        let (position, chain) = place.map_or((0, Chain::START), |place| (place.position, place.chain));
        Reading {
            key,
            position,
            chain,
            tries: 0,
            skip: None,
            chains: VecDeque::new(),
            chains_ahead: BTreeMap::new(),
        }
    }

    /// This entry is read as one that changes nothing, and its chain says that it was skipped.
    pub fn skip(&mut self, skip: Option<Skip>) {
        self.skip = skip;
    }

    /// Why a node that has applied all before this entry may not go on with it.
    pub fn objection(&self, entry: &Entry) -> Option<Broken> {
        let EntryBody::Skipped { position, chain } = entry.body else { return None };
        let skipped = Skip { position, chain: Chain::from_bytes(chain) };
        // Of an earlier one it is not known any more.
        if self.skip.is_some_and(|own| own == skipped || own.position > position) {
            return None;
        }
        Some(format!(
            "node {} has skipped entry {position} of the log (`natter cluster skip`), which this node has applied: the two have different \
             messages. Begin this node with a copy of one that has skipped it, by `natter backup FILE` there and `natter cluster join FILE` \
             here, in an empty DATA_DIR; or keep what this one has, by `natter cluster rebuild` here",
            entry.node
        ))
    }

    /// Reads the bytes of an entry again that was read before. `Err` if they are no longer what they were.
    pub fn again(&self, before: &Delivered, sealed: &[u8]) -> Result<Entry, Broken> {
        let entry = Entry::open(&self.key, sealed)
            .map_err(|error| format!("an entry that was read before is {error} now"))?;
        let is_skipped = self
            .skip
            .is_some_and(|skip| skip.position == before.position && skip.chain.skipped() == before.chain);
        Ok(if is_skipped { Entry::probe(entry.node) } else { entry })
    }

    pub fn key(&self) -> &SealKey {
        &self.key
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Compares a log that was reached with what was read of it. `known` is the log that this node follows.
    pub fn check(&self, known: Option<&String>, state: &LogState) -> Result<(), Broken> {
        check(known, self.position, state)
    }

    /// Reads the entry at a position.
    pub fn read(&mut self, position: u64, time: UnixMs, sealed: &[u8]) -> Result<Read, Broken> {
        let next = self.position + 1;
        if position < next {
            return Ok(Read::Known);
        }
        if position > next {
            return self.misread(&format!("the log does not deliver entry {next}, but entry {position}"));
        }
        let mut entry = match Entry::open(&self.key, sealed) {
            Ok(entry) => entry,
            Err(EntryError::Newer) => {
                return Err(format!(
                    "entry {next} of the log was written by a newer natter: install the version that the other nodes have, and start it again in \
                     this DATA_DIR"
                ));
            }
            Err(error) => return self.misread(&format!("entry {next} of the log is {error}")),
        };
        match entry.body {
            // It has no rows, and the log does not bring them.
            EntryBody::Continued { .. } if position == 1 => {
                return Err("the log of this cluster goes on with a database that this node does not have: begin it with a copy of \
                     another node, by `natter backup FILE` there and `natter cluster join FILE` here, in an empty DATA_DIR"
                    .to_owned());
            }
            EntryBody::Genesis { level, .. } if position == 1 && level > LEVEL => {
                return Err(format!(
                    "the log of this cluster begins at level {level}, and this natter knows level {LEVEL}: install the version that the \
                     other nodes have"
                ));
            }
            EntryBody::Genesis { .. } => {}
            _ if position == 1 => {
                return Err(
                    "the first entry of the log names no epoch: make the log with `natter cluster init`"
                        .to_owned(),
                );
            }
            EntryBody::End => {
                return Err(format!(
                    "this cluster has ended at entry {position}: node {} went on alone with its messages (`natter cluster leave`). To \
                     be a node of a new cluster, begin this one with a copy of a node of that one, in an empty DATA_DIR",
                    entry.node
                ));
            }
            _ => {}
        }
        let mut chain = self.chain.next(position, sealed);
        if self.skip == Some(Skip { position, chain }) {
            log::warn!("cluster: entry {position} of the log is skipped, as `natter cluster skip` has said");
            (entry, chain) = (Entry::probe(entry.node), chain.skipped());
        }
        if self.chains_ahead.remove(&position).is_some_and(|other| other != chain) {
            return Err(divided(position));
        }
        (self.position, self.chain, self.tries) = (position, chain, 0);
        if self.chains.len() == CHAINS_KEPT {
            self.chains.pop_front();
        }
        self.chains.push_back((position, chain));
        Ok(Read::Next(Box::new(Delivered { position, time, chain, entry })))
    }

    fn misread(&mut self, what: &str) -> Result<Read, Broken> {
        self.tries += 1;
        if self.tries < READ_TRIES {
            log::warn!("cluster: {what}: it is read anew");
            return Ok(Read::Anew);
        }
        Err(format!(
            "{what}, also after it was read anew: the servers of the log may have lost or changed an entry, or cluster_key is that of \
             another cluster. Check the servers and their disks; this node has changed nothing"
        ))
    }

    /// Another node has this chain after this position.
    pub fn compare(&mut self, position: u64, chain: Chain) -> Result<(), Broken> {
        let known = self.chains.iter().rev().find(|(at, _)| *at == position).map(|(_, chain)| *chain);
        let other = match known {
            None if position > self.position => self.chains_ahead.insert(position, chain),
            known => known,
        };
        if self.chains_ahead.len() > CHAINS_AHEAD_MAX {
            self.chains_ahead.pop_first();
        }
        if other.is_some_and(|other| other != chain) { Err(divided(position)) } else { Ok(()) }
    }
}

/// Whether a node that has read up to `position` can go on with a log that was reached. `known` is the log that it follows.
pub fn check(known: Option<&String>, position: u64, state: &LogState) -> Result<(), Broken> {
    let LogState { identity, first, head } = state;
    if let Some(known) = known.filter(|known| *known != identity) {
        return Err(format!(
            "the log is {identity}, but this node has followed {known}: check the servers that are configured. If the cluster has a \
             new log, begin this node with a copy of another one: `natter backup FILE` there, and `natter cluster join FILE` here, in an \
             empty DATA_DIR"
        ));
    }
    if *head < position {
        return Err(format!(
            "the log ends at entry {head}, but this node has read entry {position}: the log has forgotten entries. Keep this \
             node's DATA_DIR: the newest copy of all messages may be there. If the log stays so, `natter cluster rebuild` on the node that \
             is furthest makes a new one"
        ));
    }
    let next = position + 1;
    if *first > next {
        return Err(format!(
            "the log begins at entry {first}, but this node needs entry {next}: it is older than what the log keeps \
             (LOG_KEPT, LOG_MAX). Make a newer copy of a node that runs, by `natter backup FILE`, and begin this one with it, by `natter \
             cluster join FILE`, in an empty DATA_DIR"
        ));
    }
    Ok(())
}

fn divided(position: u64) -> Broken {
    format!(
        "another node has read other entries up to entry {position} than this one: one of the two has skipped an entry (`natter cluster \
         status` shows it), or the log has told two stories. Stop all nodes and keep their DATA_DIRs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Life;
    use crate::model::node::NodeName;

    #[test]
    fn only_the_entry_that_was_named_is_skipped() {
        let key = SealKey::new(&[7; 32]);
        let node = NodeName::parse("a").expect("a name");
        let entry = |n, body| Entry { node: node.clone(), life: Life::from_u128(5), n, body };
        let first = entry(1, EntryBody::Genesis { epoch: "e".to_owned(), level: 1 }).seal(&key);
        let second = entry(2, EntryBody::Writes(Vec::new())).seal(&key);
        let plain = Chain::START.next(1, &first).next(2, &second);
        let read = |skip: Option<Skip>| {
            let mut reading = Reading::new(key.clone(), None);
            reading.skip(skip);
            let mut last = None;
            for (position, sealed) in [(1, &first), (2, &second)] {
                match reading.read(position, UnixMs(9), sealed) {
                    Ok(Read::Next(delivered)) => last = Some(delivered),
                    _ => panic!("it is the next one"),
                }
            }
            let delivered = last.expect("two entries");
            // After a fault of the disk it is read again.
            let again = reading.again(&delivered, &second).expect("the same bytes");
            assert_eq!(again.n, delivered.entry.n);
            (delivered.entry.life == Life::from_u128(0), delivered.chain)
        };
        assert_eq!(read(None), (false, plain));
        assert_eq!(read(Some(Skip { position: 2, chain: plain })), (true, plain.skipped()));
        // Whether a node with this skip goes on after it was told that the entry was skipped.
        let told = |skip: Option<Skip>| {
            let mut reading = Reading::new(key.clone(), None);
            reading.skip(skip);
            let body = EntryBody::Skipped { position: 2, chain: plain.to_bytes() };
            assert_eq!(reading.objection(&entry(1, EntryBody::hello())), None);
            reading.objection(&entry(1, body)).is_none()
        };
        for (skip, expect) in [
            (None, false),
            (Some((1, plain)), false),
            (Some((2, Chain::START)), false),
            (Some((2, plain)), true),
            (Some((3, Chain::START)), true),
        ] {
            let skip = skip.map(|(position, chain)| Skip { position, chain });
            assert_eq!(told(skip), expect, "{skip:?}");
        }
        let others = [(1, plain), (3, plain), (2, plain.skipped()), (2, Chain::START)];
        for (position, chain) in others {
            assert_eq!(read(Some(Skip { position, chain })), (false, plain), "{position}");
        }
    }
}
