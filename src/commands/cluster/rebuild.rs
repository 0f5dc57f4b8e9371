//! `natter cluster rebuild`: a new log after the old one was lost or is refused, from the rows of the node that is furthest.
//!
//! A position of the old log was answered or told by a node only if its database has it. So the epoch stays if no node has more than
//! this one: the operator names how far each other node is, as `natter cluster status` shows it there. Who has no such node any more asks
//! for another epoch, and clients load everything again.
//!
//! The level stays, so that a build which served this node before serves it after.
//! Invariant: two histories never have one epoch. A log is deleted only with `--replace`.

use super::visit::{Purpose, Visit};
use super::{hold, present_key, rows_of_node};
use crate::base::crypto::SystemEntropy;
use crate::cli::Rebuild;
use crate::commands::output::say;
use crate::commands::serve::store_options;
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::model::entry::EntryBody;
use crate::runtime::replica::check;
use crate::store::{self, ClusterRows, Place};

pub(super) fn rebuild(config: &Config, cluster: &Cluster, wanted: &Rebuild) -> Result<(), String> {
    let _data_dir = hold(config)?;
    let key = present_key(config)?;
    let (rows, place) = rows_of_node(config)?;
    let epoch = epoch(cluster, &rows, &place, wanted)?;
    let mut visit = Visit::open(config, cluster, Some(key.clone()), Purpose::Look)?;
    let purpose = match visit.reach() {
        Ok(state) => {
            visit.refuse_running_nodes()?;
            if !wanted.replace {
                return Err(match check(Some(&place.log), place.position, &state) {
                    Ok(()) => format!(
                        "the log is there, with {} entries behind this node's place, as far as its servers know: start natter. If it \
                         refuses this log, `--replace` deletes the log and makes another one",
                        state.head - place.position
                    ),
                    Err(why) => format!("{why}\n`--replace` deletes this log and makes another one"),
                });
            }
            Purpose::Replace
        }
        Err(_) if visit.survey().is_missing => Purpose::Make,
        Err(reason) => {
            return Err(format!(
                "the servers of the log can't be used, and a new log needs them: {reason}\nrepair them first; nothing was changed"
            ));
        }
    };
    drop(visit);
    let mut visit = Visit::open(config, cluster, None, purpose)?;
    let new = visit.make(cluster, &key, EntryBody::Continued { epoch: epoch.clone() }, place.level)?;
    store::follow(&store_options(config), &new, &epoch).map_err(|fault| {
        format!("the new log is made, and this database does not follow it yet: {fault}. Run the command again with --replace")
    })?;
    say!(
        "the log of cluster {} is new, and goes on with this node as it was at entry {}",
        cluster.name,
        place.position
    );
    match rows.epoch.as_deref() == Some(&epoch) {
        true => say!("the epoch stays: clients continue where they were"),
        false => say!("the epoch is another one: clients load everything again"),
    }
    say!("start natter here; each other node begins anew with a copy: `natter backup FILE` here, and there");
    say!("`natter cluster join FILE` in an empty DATA_DIR. Keep their old DATA_DIRs until all is well");
    Ok(())
}

/// The epoch of the new log.
fn epoch(cluster: &Cluster, rows: &ClusterRows, place: &Place, wanted: &Rebuild) -> Result<String, String> {
    if let Some((node, position)) = wanted.seen.iter().find(|(_, position)| *position > place.position) {
        return Err(format!(
            "node {node} is at entry {position}, and this one at entry {}: rebuild from that node, so that nothing answered is lost",
            place.position
        ));
    }
    if wanted.new_epoch {
        return Ok(store::new_epoch(&mut SystemEntropy::new()));
    }
    let own = cluster.node.as_str();
    let is_seen = |name: &str| wanted.seen.iter().any(|(node, _)| node == name);
    let unknown: Vec<&str> = rows
        .nodes
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != own && !is_seen(name))
        .collect();
    match &rows.epoch {
        Some(epoch) if unknown.is_empty() => Ok(epoch.clone()),
        Some(_) => {
            let options: Vec<String> = unknown.iter().map(|name| format!("--seen {name}=ENTRY")).collect();
            Err(format!(
                "this node is at entry {}. Is it the furthest? `natter cluster status` on each other node shows how far its database \
                 is: tell it, by {}, and clients continue where they were. If a database is lost, `--new-epoch`: then clients load \
                 everything again",
                place.position,
                options.join(" ")
            ))
        }
        None => Err("this database has no epoch that could go on: add --new-epoch".to_owned()),
    }
}
