//! The transactions of a replica: which of the entries that have arrived are applied together, and what follows from a fault.
//!
//! An entry of this node is applied at once, with all that precedes it, since somebody waits for it. Entries of other nodes are gathered for
//! a few milliseconds: a node then commits, syncs and wakes its loop a few hundred times a second instead of once for each entry.
//! Leaves what an entry does to the store. Invariant: an entry at which the schema may change is alone in its transaction, and so is each
//! entry after a fault of natter.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{APPLY_RETRY, Applies, Arrived, Broken, Replica};
use crate::model::entry::{EntryBody, Life};
use crate::model::operation::Write;
use crate::store::{Applied, AppliedEntry, Delivered, Fault};

/// Entries of one transaction. What waits longer than a commit is applied together.
const APPLY_ENTRIES_MAX: usize = 64;
/// Writes after which a transaction takes no further entry.
const APPLY_WRITES_MAX: usize = 512;
/// Between two transactions, while all that has arrived is of other nodes. It is what a person who waits for another node's post does not
/// notice, and a third of what the log itself takes.
const GATHER: Duration = Duration::from_millis(4);
/// Entries that are applied at once, whoever wrote them: the node is behind.
const GATHERED_MAX: usize = 32;
const _: () = assert!(GATHERED_MAX < APPLY_ENTRIES_MAX);
/// Attempts to apply an entry at which natter itself fails. Then the process stops.
const APPLY_TRIES: u32 = 3;

/// What is known of an entry that is being applied.
struct Origin {
    position: u64,
    is_own: bool,
    life: Life,
    n: u64,
}

impl Replica {
    pub(super) fn apply(&mut self, now: Instant, store: &mut dyn Applies) -> Result<(), Broken> {
        self.gathers_until = self.gathering(now);
        if self.gathers_until.is_some() {
            return Ok(());
        }
        let Some(place) = self.place.as_mut().filter(|_| self.retry_at.is_none()) else { return Ok(()) };
        let mut entries_max = if self.apply_tries > 0 { 1 } else { APPLY_ENTRIES_MAX };
        // What comes before it is applied first.
        let objection = |(each, _): &Arrived| self.reading.objection(&each.entry);
        if let Some((at, objection)) =
            self.arrived.iter().enumerate().find_map(|(at, each)| Some((at, objection(each)?)))
        {
            if at == 0 {
                return Err(objection);
            }
            entries_max = entries_max.min(at);
        }
        fill_transaction(&mut self.arrived, &mut self.applying, &mut self.applying_sealed, entries_max);
        let Some(last) = self.applying.last() else { return Ok(()) };
        let (position, chain) = (last.position, last.chain);
        // An entry at which the schema may change is alone.
        match store.raises(&last.entry) {
            Ok(Some(level)) if level > self.known => {
                return Err(format!(
                    "entry {position} of the log raises the cluster to level {level}, and this natter knows level {}: install the \
                     version that the other nodes have, and start it again in this DATA_DIR",
                    self.known
                ));
            }
            Ok(_) => {}
            Err(fault) => return self.not_applied(now, fault),
        }
        let origin = |each: &Delivered| Origin {
            position: each.position,
            is_own: each.entry.node == self.node,
            life: each.entry.life,
            n: each.entry.n,
        };
        let origins: Vec<Origin> = self.applying.iter().map(origin).collect();
        let Applied { entries, fault } = store.apply(&mut self.applying);
        if let Some(fault) = fault {
            return self.not_applied(now, fault);
        }
        self.apply_tries = 0;
        self.applied_at = Some(now);
        self.applying_sealed.clear();
        self.applied += entries.len() as u64;
        (place.position, place.chain) = (position, chain);
        let raised = entries.iter().find_map(|entry| match entry {
            AppliedEntry::Raised(level) => Some(*level),
            _ => None,
        });
        if let Some(level) = raised {
            place.level = level;
            log::info!(target: "natter::cluster", "the cluster is at level {level} from entry {position} on");
        }
        for (Origin { position, is_own, life, n }, applied) in origins.into_iter().zip(entries) {
            if is_own {
                self.refused = None;
                self.own.applied(now, (life, n), applied, &mut self.outputs).map_err(|fenced| {
                    format!(
                        "another natter runs under the name {} of this node: stop one of the two, or give it another CLUSTER_NODE \
                         (entry {position}: {fenced})",
                        self.node
                    )
                })?;
            } else if let AppliedEntry::Performed(outcomes) = applied {
                self.outputs.happened(outcomes);
            }
        }
        Ok(())
    }

    /// Until when what has arrived waits for more.
    fn gathering(&self, now: Instant) -> Option<Instant> {
        let is_mine = |(each, _): &Arrived| each.entry.node == self.node;
        let is_behind = !self.own.has_begun() || self.arrived.len() >= GATHERED_MAX;
        if self.arrived.is_empty() || is_behind || self.arrived.iter().any(is_mine) {
            return None;
        }
        self.applied_at.map(|at| at + GATHER).filter(|until| now < *until)
    }

    /// Nothing of the transaction is done. The same entries come first again.
    fn not_applied(&mut self, now: Instant, fault: Fault) -> Result<(), Broken> {
        let position = self.applying.first().map_or(0, |first| first.position);
        let is_alone = self.applying.len() == 1;
        // The store has taken their writes, so that the usual path copies none.
        for (mut delivered, sealed) in self.applying.drain(..).zip(self.applying_sealed.drain(..)).rev() {
            delivered.entry = self.reading.again(&delivered, &sealed)?;
            self.arrived.push_front((delivered, sealed));
        }
        match fault {
            Fault::Corrupt => return Err(fault.reason().to_owned()),
            Fault::Internal if is_alone => self.apply_tries += 1,
            Fault::Internal => self.apply_tries = self.apply_tries.max(1),
            Fault::Full | Fault::Io | Fault::Sync | Fault::Busy => {}
        }
        if self.apply_tries > APPLY_TRIES {
            return Err(format!(
                "entry {position} of the log cannot be applied, which is a fault of natter: keep DATA_DIR and what this process has \
                 logged, and report it. A newer natter may apply it. Until there is one, `natter cluster skip {position}` on each node \
                 that has stopped here tells what it is and goes past it"
            ));
        }
        self.retry_at = Some(now + APPLY_RETRY);
        Ok(())
    }
}

/// Takes the entries of the next transaction. One at which the schema may change is alone. After a fault of natter each is alone, so that
/// what precedes it is applied and it is named.
fn fill_transaction(
    arrived: &mut VecDeque<Arrived>,
    applying: &mut Vec<Delivered>,
    applying_sealed: &mut Vec<Arc<[u8]>>,
    entries_max: usize,
) {
    let mut writes = 0;
    while applying.len() < entries_max
        && writes < APPLY_WRITES_MAX
        && let Some((next, sealed)) = arrived.pop_front()
    {
        let is_alone = next.entry.body.may_migrate();
        if is_alone && !applying.is_empty() {
            arrived.push_front((next, sealed));
            return;
        }
        if let EntryBody::Writes(more) = &next.entry.body {
            let is_heavy = more.iter().any(Write::is_heavy);
            writes += if is_heavy { APPLY_WRITES_MAX } else { more.len() };
        }
        applying.push(next);
        applying_sealed.push(sealed);
        if is_alone {
            return;
        }
    }
}
