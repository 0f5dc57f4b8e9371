//! `natter cluster leave`: the cluster ends, and this node goes on as a natter alone.
//!
//! Under its epoch, a `seq` means one thing for ever. So the epoch stays only if no node has or will have anything behind the place of
//! this one: the command appends an entry that ends the log, and looks where it came. If it is the next one, all that any node has
//! answered or told is in this database, and every node that reads on stops there. In any other case the operator asks for another
//! epoch, and clients load everything again.
//! Invariant: two natters never write under one epoch.

use std::sync::Arc;

use super::visit::{Purpose, Visit};
use super::{hold, needed, present_key, rows_of_node};
use crate::base::crypto::{Entropy, SystemEntropy};
use crate::commands::absolute;
use crate::commands::output::say;
use crate::commands::serve::{clock, store_options};
use crate::config::Config;
use crate::model::entry::{Entry, EntryBody};
use crate::runtime::replica::check;
use crate::store::{self, Place};

pub(super) fn leave(config: &Config, new_epoch: bool) -> Result<(), String> {
    let _data_dir = hold(config)?;
    let (rows, place) = rows_of_node(config)?;
    if !new_epoch {
        if rows.epoch.is_none() {
            return Err(
                "this database has no epoch that could go on: `natter cluster leave --new-epoch`".to_owned()
            );
        }
        end(config, &place).map_err(|why| {
            format!(
                "{why}\nnothing was changed. To leave all the same, with another epoch: `natter cluster leave --new-epoch`. Then \
                 clients load everything again, and what only other nodes have is not here"
            )
        })?;
    }
    store::leave(&store_options(config), !new_epoch).map_err(|fault| fault.to_string())?;
    say!(
        "the database in {} is that of a natter alone, as it was at entry {}",
        absolute(&config.data_dir),
        place.position
    );
    match new_epoch {
        true => say!("the next start draws another epoch: clients load everything again"),
        false => say!("the log has ended: no other node goes on, and clients continue where they were"),
    }
    say!("unset CLUSTER_NODE and the other CLUSTER_ variables, and start natter");
    Ok(())
}

/// Ends the log behind this place.
fn end(config: &Config, place: &Place) -> Result<(), String> {
    let cluster = needed(config)?;
    let key = present_key(config)?;
    let mut visit = Visit::open(config, cluster, Some(key.clone()), Purpose::Look)?;
    let state = visit.reach().map_err(|reason| {
        format!("the log can't be reached, so nobody knows whether another node has answered more than this one has: {reason}")
    })?;
    check(Some(&place.log), place.position, &state)?;
    visit.refuse_running_nodes()?;
    // One entry more may be the end itself, of a command that was interrupted.
    if state.head > place.position + 1 {
        return Err(behind(place.position, state.head));
    }
    let entropy: &mut dyn Entropy = &mut SystemEntropy::new();
    let life = entropy.id(clock().unix_ms);
    let last = Entry { node: cluster.node.clone(), life, n: 1, body: EntryBody::End };
    let sealed: Arc<[u8]> = last.seal(&key).into();
    let is_own_end = |entry: &Entry| matches!(entry.body, EntryBody::End) && entry.node == cluster.node;
    match visit.append_at(place.position, &sealed, &key, is_own_end)? {
        true => Ok(()),
        false => Err(behind(place.position, state.head.max(place.position + 1))),
    }
}

fn behind(position: u64, head: u64) -> String {
    format!(
        "this node is at entry {position}, and the log ends at entry {head}: start natter here once more, so that it applies what it has \
         missed, and stop it"
    )
}
