//! `natter cluster skip ENTRY`: goes past an entry that cannot be applied, on a node that has stopped at it.
//!
//! Every node performs the same writes on the same rows, so all stop at the same entry. Owns the proof that this node cannot apply it, what
//! the operator is told of it, and the refusal where another node has applied it. Leaves the skipping to `runtime::replica`.
//! Invariant: only the next entry of this node is skipped, whole, and only after `--confirm`. Nodes that have skipped it and nodes that
//! have applied it never go on beside each other: an entry of the log says that it was skipped, and their chains differ from there on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::visit::{Purpose, Visit};
use super::{hold, present_key, rows_of_node};
use crate::base::crypto::{Entropy, SystemEntropy};
use crate::base::seal::SealKey;
use crate::base::time::rfc3339;
use crate::commands::keys;
use crate::commands::output::say;
use crate::commands::serve::{clock, store_options};
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::model::entry::{Entry, EntryBody, EntryError};
use crate::model::node::{NodeName, NodeState};
use crate::runtime::replica::check;
use crate::store::{self, Delivered, Fault, Skip, Store};

pub(super) fn skip(
    config: &Config,
    cluster: &Cluster,
    position: u64,
    is_confirmed: bool,
) -> Result<(), String> {
    let _data_dir = hold(config)?;
    let key = present_key(config)?;
    let (_, place) = rows_of_node(config)?;
    if position != place.position + 1 {
        return Err(format!(
            "this node is at entry {}, and only the next one, {}, can be skipped, if it can't be applied",
            place.position,
            place.position + 1
        ));
    }
    let mut visit = Visit::open(config, cluster, Some(key.clone()), Purpose::Look)?;
    let state = visit.reach()?;
    check(Some(&place.log), place.position, &state)?;
    if state.head < position {
        return Err(format!("the log ends at entry {}: there is nothing to skip", state.head));
    }
    let running = visit.listen();
    if let Some(refusal) = refusal(&running, position) {
        return Err(refusal);
    }
    let (time, sealed) = visit.read_at(position)?;
    let chain = place.chain.next(position, &sealed);
    let delivered = Delivered { position, time, chain, entry: open(&key, position, &sealed)? };
    describe(&delivered);
    // Beside a node that has skipped it, this one must not apply it, even if it could.
    if let Some((node, _)) = running.iter().find(|(_, state)| state.position >= position) {
        say!("node {node} runs and has skipped it already");
    } else if !is_impossible(config, delivered)? {
        say!("this natter can apply it, and has done so: start natter");
        return Ok(());
    }
    if !is_confirmed {
        return Err(format!(
            "nothing was changed. A newer natter may be able to apply it: look for one first. A node that does not run, and whose database is \
             further as `natter cluster status` shows it there, has applied it: then begin the others with a copy of that one. \
             `natter cluster skip {position} --confirm` skips it, on this node; then do the same on each other node that has stopped at it"
        ));
    }
    // First the log: a node that has applied the entry may never go on beside this one.
    let entropy: &mut dyn Entropy = &mut SystemEntropy::new();
    let body = EntryBody::Skipped { position, chain: chain.to_bytes() };
    let said = Entry { node: cluster.node.clone(), life: entropy.id(clock().unix_ms), n: 1, body };
    visit.append(state.head, &said.seal(&key).into())?;
    store::skip(&store_options(config), Skip { position, chain }).map_err(|fault| fault.to_string())?;
    say!(
        "the next start goes past it. Do the same on each other node that has stopped at it; a node that has"
    );
    say!("applied it does not go on");
    Ok(())
}

/// A node that runs and is further has skipped the entry too, or it has applied it.
fn refusal(running: &[(NodeName, NodeState)], position: u64) -> Option<String> {
    let has_applied = |state: &NodeState| state.position >= position && state.skipped < position;
    let (node, state) = running.iter().find(|(_, state)| has_applied(state))?;
    Some(format!(
        "node {node} runs, is at entry {}, and has not skipped entry {position}: it has applied it. Begin this node with a copy of that one, \
         by `natter backup FILE` there and `natter cluster join FILE` here, in an empty DATA_DIR",
        state.position
    ))
}

fn open(key: &SealKey, position: u64, sealed: &[u8]) -> Result<Entry, String> {
    match Entry::open(key, sealed) {
        Ok(entry) if matches!(entry.body, EntryBody::Writes(_) | EntryBody::Level { .. }) => Ok(entry),
        Ok(_) => Err(format!(
            "entry {position} has no writes, so there is nothing in it that could fail: start natter"
        )),
        Err(EntryError::Newer) => {
            Err(format!("entry {position} was written by a newer natter: install that version on this node"))
        }
        Err(error) => Err(format!(
            "entry {position} is {error}. That is a fault of the log, which is not skipped: check the servers and their disks. If it stays, \
             `natter cluster rebuild` on the node that is furthest makes a new log"
        )),
    }
}

/// What the entry is, without anything that a person has written.
fn describe(delivered: &Delivered) {
    let Delivered { position, time, entry, .. } = delivered;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    say!("entry {position} was written by node {} at {}", entry.node, rfc3339(*time));
    match &entry.body {
        EntryBody::Level { level } => {
            say!("it raises the cluster to level {level}: skip it only to go on with the natter of before");
            return;
        }
        EntryBody::Writes(writes) => {
            writes.iter().for_each(|write| *counts.entry(write.name()).or_default() += 1);
        }
        _ => {}
    }
    let kinds: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    say!("its writes: {}", kinds.join(", "));
    say!("a node that has stopped at it has answered none of them as done");
}

/// Whether this natter fails at the entry. If it does not, the entry is applied then.
fn is_impossible(config: &Config, delivered: Delivered) -> Result<bool, String> {
    let position = delivered.position;
    let opened = Store::open(&keys::present(config)?, &mut SystemEntropy::new(), clock().unix_ms);
    let (mut store, _) = opened.map_err(|fault| fault.to_string())?;
    let applied = catch_unwind(AssertUnwindSafe(|| store.apply(&mut vec![delivered]).fault));
    match applied {
        // What the panic has left of the transaction ends with the connection.
        Err(_) | Ok(Some(Fault::Internal)) => Ok(true),
        Ok(Some(fault)) => Err(format!("nobody knows whether entry {position} can be applied: {fault}")),
        Ok(None) => store.close().map(|()| false).map_err(|fault| fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_has_applied_the_entry_is_told_from_one_that_has_skipped_it() {
        let state = |position, skipped| NodeState { position, skipped, ..NodeState::default() };
        let refused = |state: NodeState| {
            let running = [
                (NodeName::parse("a").expect("a name"), NodeState::default()),
                (NodeName::parse("b").expect("a name"), state),
            ];
            refusal(&running, 7).is_some_and(|text| text.starts_with("node b runs, is at entry "))
        };
        for (position, skipped, expect) in [
            (6, 0, false),
            (7, 0, true),
            (9, 5, true),
            (7, 7, false),
            (9, 7, false),
            (9, 8, false),
            (5, 7, false),
        ] {
            assert_eq!(refused(state(position, skipped)), expect, "{position} {skipped}");
        }
    }
}
