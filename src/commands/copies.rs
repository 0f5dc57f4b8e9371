//! What `natter serve` does with uploaded files on a node of a cluster: it erases what was deleted meanwhile, and then answers the other
//! nodes that give files or ask for them.
//!
//! Owns the order of these steps. Leaves the exchange to `work::copies`, and its threads to `runtime::copies`.
//! Invariant: no file that this node knows to be deleted is there when it begins to serve.

use std::net::TcpListener;
use std::time::Duration;

use super::serve::{bare, clock};
use crate::base::crypto::Entropy;
use crate::base::seal::SealKey;
use crate::base::time::UnixMs;
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::limits::ERASED_ROWS_KEPT;
use crate::model::job::{Done, Job};
use crate::model::operation::Operation;
use crate::model::upload::ListErasedFiles;
use crate::runtime::{DatabaseSpace, Runtime};
use crate::store::Reader;
use crate::work::copies::{Address, Answerer, Copies, CopyOptions, KnownNodes};
use crate::work::files::Publisher;

/// Files of one step of [`erase`].
const ERASED_MAX: u32 = 1_024;
/// A file that is older and has no row is none that another node has just given. What was deleted while this node was away is older, or
/// its erased row is still there.
const YOUNG: Duration = Duration::from_secs(1_800);
const _: () =
    assert!(YOUNG.as_secs() * 2 <= ERASED_ROWS_KEPT.as_secs(), "clocks differ, and a node may be behind");

/// Where this node is asked for files; nowhere in a cluster for trying that does not say it.
pub(super) struct FilesListener {
    listener: Option<TcpListener>,
    /// What the other nodes are told.
    pub address: Option<Address>,
    /// Where the others are asked.
    pub nodes: KnownNodes,
}

impl FilesListener {
    pub fn bind(cluster: &Cluster) -> Result<FilesListener, String> {
        let nodes = KnownNodes::default();
        let Some(at) = &cluster.files else {
            return Ok(FilesListener { listener: None, address: None, nodes });
        };
        let fault = |error| format!("CLUSTER_LISTEN: can't listen on {}: {error}", at.listen);
        let listener = TcpListener::bind(at.listen).map_err(fault)?;
        let address = match &at.address {
            Some((host, port)) => Address { host: bare(host), port: *port },
            None => listener.local_addr().map_err(fault)?.into(),
        };
        Ok(FilesListener { listener: Some(listener), address: Some(address), nodes })
    }

    /// Begins to answer. Returns what gives files to the others and fetches theirs.
    pub fn open(
        self,
        config: &Config,
        cluster: &Cluster,
        key: SealKey,
        runtime: &Runtime,
        publisher: &Publisher,
        entropy: &mut dyn Entropy,
    ) -> Result<Copies, String> {
        let space = DatabaseSpace { data: config.data_dir.clone(), bytes: config.disk_free_min };
        let options = CopyOptions {
            key,
            life: entropy.id::<()>(clock().unix_ms).to_u128(),
            nodes: self.nodes,
            room: space.room(config.uploads.clone()),
            is_needed: !cluster.is_unsafe,
        };
        let copies = Copies::new(options, publisher.clone());
        if let (Some(listener), Some(address)) = (self.listener, self.address) {
            let answered = runtime.answer_copies(listener, Answerer::new(copies.clone()));
            answered.map_err(|fault| fault.to_string())?;
            log::info!(target: "natter::cluster", "other nodes give files and ask for them at {address}");
        }
        Ok(copies)
    }
}

/// Removes the files that were deleted while this node was away, as far as it has applied the log.
pub(super) fn erase(publisher: &mut Publisher, reader: &mut Reader) -> Result<(), String> {
    let mut after = None;
    loop {
        let list = ListErasedFiles { after, limit: ERASED_MAX };
        let listed = reader.read(list.into()).ok().and_then(ListErasedFiles::from_answer);
        let files = listed.ok_or("the database can't list its erased uploads")?;
        let Some(last) = files.last() else { return Ok(()) };
        after = Some(*last);
        if !matches!(publisher.run(Job::RemoveFiles { files }), Done::FilesRemoved) {
            return Err("the file of an erased upload can't be removed".to_owned());
        }
    }
}

/// Files without a row that were written before this time are orphans; none if a row may be missing because the log was not reached.
pub(super) fn orphans_before(has_caught_up: bool) -> UnixMs {
    let young = if has_caught_up { YOUNG.as_millis() as u64 } else { u64::MAX };
    UnixMs(clock().unix_ms.0.saturating_sub(young))
}
