//! `natter cluster join FILE`: begins a node with a backup of another node, or of this one.
//!
//! The backup has the rows, the place in the log and the keys. Owns the checks that come before anything is in DATA_DIR: whether the log
//! reaches back to that place, and whether the name of this node is free. Leaves the files to `restore`.
//! Invariant: a node that could not start here leaves both folders empty.

use std::path::Path;

use super::visit::{Purpose, Visit};
use super::{join as join_faults, seal_key};
use crate::commands::output::say;
use crate::commands::restore::{self, FileKind};
use crate::commands::restoring::Restoring;
use crate::commands::{absolute, archive};
use crate::config::cluster::Cluster;
use crate::config::{Config, secrets};
use crate::runtime::replica::check;
use crate::store::{self, Place, StoreOptions};

pub(super) fn join(config: &Config, cluster: &Cluster, file: &Path) -> Result<(), String> {
    let mut found = None;
    restore::unpack_into(config, file, &mut |restoring, kind| {
        found = Some(examine(config, cluster, file, restoring, kind)?);
        Ok(())
    })?;
    let (place, head) = found.ok_or("the backup was not examined")?;
    say!(
        "node {} of cluster {} is in {}, at entry {} of the log, {} before its end",
        cluster.node,
        cluster.name,
        absolute(&config.data_dir),
        place.position,
        head.saturating_sub(place.position)
    );
    for name in secrets::missing(&config.data_dir, config) {
        say!("{name} is not in this backup: set the one of the other nodes, or the next start is refused");
    }
    say!("start natter here: it applies what it has missed");
    Ok(())
}

/// Prepares what is unpacked, and asks the log. Returns the place of the copy and the end of the log.
fn examine(
    config: &Config,
    cluster: &Cluster,
    file: &Path,
    restoring: &Restoring,
    kind: FileKind,
) -> Result<(Place, u64), String> {
    let shown = file.display();
    let (key, _) = secrets::cluster_key(&restoring.stage).map_err(|faults| join_faults(&faults))?;
    let key = key.filter(|_| kind == FileKind::Archive).ok_or_else(|| {
        format!("{shown} has no key of a cluster: make a backup of a node that runs, by `natter backup FILE` there")
    })?;
    let key = seal_key(config, &key)?;
    let database = StoreOptions::new(restoring.stage.join(archive::DATABASE));
    let place = store::adopt_node(&database).map_err(|fault| format!("{shown} can't be used: {fault}"))?;
    let place = place.ok_or_else(|| {
        format!("{shown} is the backup of a natter alone: `natter restore` restores it, and `natter cluster init` makes it a node")
    })?;
    let mut visit = Visit::open(config, cluster, Some(key), Purpose::Look)?;
    let state = visit.reach().map_err(|reason| {
        format!("the log can't be reached, so nobody knows whether this copy is new enough: {reason}")
    })?;
    check(Some(&place.log), place.position, &state)?;
    if visit.listen().iter().any(|(node, _)| *node == cluster.node) {
        return Err(format!(
            "a natter runs under the name {} already: stop it, or give this node another CLUSTER_NODE",
            cluster.node
        ));
    }
    Ok((place, state.head))
}
