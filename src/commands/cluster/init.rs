//! `natter cluster init`: makes the keys and the log of a new cluster, on its first node.
//!
//! A database that exists becomes the one of the first node: the log then begins with an entry that says so, and each other node begins
//! with a copy.
//! Invariant: a log that has other entries is left as it is. Until the log is made, the database is that of a natter alone.

use super::visit::{Purpose, Visit};
use super::{hold_or_make, join, seal_key, warn};
use crate::base::crypto::SystemEntropy;
use crate::base::crypto::p256::P256;
use crate::commands::output::say;
use crate::commands::serve::{clock, store_options};
use crate::commands::{absolute, keys};
use crate::config::cluster::Cluster;
use crate::config::{Config, secrets};
use crate::model::entry::{EntryBody, LEVEL};
use crate::store::{self, Store, StoreOptions};

pub(super) fn init(config: &Config, cluster: &Cluster) -> Result<(), String> {
    let data_dir = hold_or_make(config)?;
    let epoch = known_epoch(config)?;
    let mut entropy = SystemEntropy::new();
    let curve = P256::new(&entropy);
    let (_, warnings) = keys::load_or_make(config, &mut entropy)?;
    warn(&warnings);
    let (_, warnings) = keys::push(config, &curve)?;
    warn(&warnings);
    // A command that was interrupted has made it already.
    let (key, warnings) = secrets::cluster_key(data_dir.path()).map_err(|faults| join(&faults))?;
    warn(&warnings);
    let key = match key {
        Some(key) => key,
        None => secrets::make_cluster_key(data_dir.path(), &mut entropy).map_err(|faults| join(&faults))?,
    };
    let key = seal_key(config, &key)?;
    let mut visit = Visit::open(config, cluster, None, Purpose::Make)?;
    let folder = absolute(&config.data_dir);
    let Some(epoch) = epoch else {
        let epoch = store::new_epoch(&mut entropy);
        visit.make(cluster, &key, EntryBody::Genesis { epoch, level: LEVEL }, LEVEL)?;
        say!("the log of cluster {} is made, and the keys are in {folder}", cluster.name);
        say!("start natter here; each other node needs an empty DATA_DIR with a copy of these keys:");
        say!("  {}", secrets::FILES.join(" "));
        say!("or a copy of a node: `natter backup FILE` here, and `natter cluster join FILE` there");
        return Ok(());
    };
    // The database was opened as that of a natter alone, so it has the schema of the last level.
    let place = visit.make(cluster, &key, EntryBody::Continued { epoch: epoch.clone() }, LEVEL)?;
    store::follow(&store_options(config), &place, &epoch).map_err(|fault| fault.to_string())?;
    say!("the log of cluster {} is made, and the database in {folder} goes on in it", cluster.name);
    say!("start natter here; each other node begins with a copy: `natter backup FILE` here, and there");
    say!("`natter cluster join FILE` in an empty DATA_DIR");
    Ok(())
}

/// The epoch of a database that exists. It is opened and closed once as that of a natter alone, which upgrades it, proves what a crash
/// has left, and draws another epoch if answered writes may be lost.
fn known_epoch(config: &Config) -> Result<Option<String>, String> {
    let alone = StoreOptions { in_cluster: false, ..keys::present(config)? };
    if !store::exists(&alone) {
        return Ok(None);
    }
    let opened = Store::open(&alone, &mut SystemEntropy::new(), clock().unix_ms);
    let (store, start) = opened.map_err(|fault| match fault {
        store::OpenFault::InCluster { path } => format!(
            "{} is the database of a node of a cluster already: start natter, or look at it with `natter cluster status`",
            absolute(&path)
        ),
        fault => fault.to_string(),
    })?;
    store.close().map_err(|fault| fault.to_string())?;
    Ok(Some(start.epoch))
}
