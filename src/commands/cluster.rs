//! A node of a cluster: the commands `natter cluster …`, and what `natter serve` does in addition to a natter alone.
//!
//! Owns the key of the cluster and how its log is reached. Each command is a file: `init` makes a log, `join` begins a node with a
//! copy of another one, `leave` goes back to a natter alone, `rebuild` makes a new log after the old one was lost, `remove` says that a
//! node is gone for good, `skip` goes past an entry that cannot be applied, `status` shows all; `visit` is how they reach the log. Leaves
//! what is demanded of the servers to `runtime::nats`, and what a node does with the log to
//! `runtime::replica`.
//! Invariant: a log is made by a command alone; no start makes one. A command that changes the database holds the lock of its folder.

mod init;
mod join;
mod leave;
mod rebuild;
mod remove;
mod skip;
mod status;
mod visit;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::copies::FilesListener;
use super::output::Failure;
use super::serve::{bare, clock, store_options};
use super::{DataFolder, absolute, for_server, no_server};
use crate::base::crypto::{Entropy, SystemEntropy, base64url_decode};
use crate::base::seal::SealKey;
use crate::base::secret::Secret;
use crate::cli::ClusterCommand;
use crate::config::cluster::{Cluster, LogLogin, LogServer};
use crate::config::{Config, Fault, Warning, secrets};
use crate::model::entry::{ENTRY_BYTES_MAX, Entry};
use crate::model::node::NodeState;
use crate::model::operation::Start;
use crate::proto::nats::{Credentials, Server, Servers};
use crate::runtime::Runtime;
use crate::runtime::data_dir::{DataDir, DataDirFault};
use crate::runtime::nats::{NatsLog, NatsOptions};
use crate::runtime::peers::{Hearing, Peers};
use crate::runtime::replica::{ClusterNode, Replica};
use crate::store::{self, Access, ClusterRows, Place, Store};
use crate::work::Trust;

/// Copies of the log, each on a server of its own: one of them may be lost.
const REPLICAS: u8 = 3;
/// How long a start waits for the log and for what it has missed. After that it serves what it has.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// Runs a command of a cluster.
pub fn run(folder: &DataFolder, command: &ClusterCommand) -> ExitCode {
    if let ClusterCommand::Status { json } = command {
        return status::run(folder, *json);
    }
    for_server(folder, |config| {
        match command {
            ClusterCommand::Init => init::init(config, needed(config)?)?,
            ClusterCommand::Join { file } => join::join(config, needed(config)?, file)?,
            ClusterCommand::Leave { new_epoch } => leave::leave(config, *new_epoch)?,
            ClusterCommand::Rebuild(wanted) => rebuild::rebuild(config, needed(config)?, wanted)?,
            ClusterCommand::Skip { position, confirm } => {
                skip::skip(config, needed(config)?, *position, *confirm)?;
            }
            ClusterCommand::Remove { node } => remove::remove(config, node)?,
            ClusterCommand::Status { .. } => unreachable!("it is run above"),
        }
        Ok(())
    })
}

fn needed(config: &Config) -> Result<&Cluster, Failure> {
    config.cluster.as_ref().ok_or_else(|| {
        Failure::usage(
            "CLUSTER_NODE: is not set: it names this node, and CLUSTER_SERVERS the servers of the log"
                .to_owned(),
        )
    })
}

/// The lock of a folder that a command may create.
fn hold_or_make(config: &Config) -> Result<DataDir, String> {
    DataDir::open(&config.data_dir, &config.uploads).map_err(held)
}

/// The lock of a folder whose database a command changes.
fn hold(config: &Config) -> Result<DataDir, String> {
    if !store::exists(&store_options(config)) {
        return Err(no_server(config));
    }
    DataDir::open_existing(&config.data_dir).map_err(held)
}

fn held(fault: DataDirFault) -> String {
    match fault {
        DataDirFault::Locked { .. } => format!("{fault}: stop natter there first"),
        fault => fault.to_string(),
    }
}

/// What the database of a node says of its cluster, and the place where it is. The caller holds the lock.
fn rows_of_node(config: &Config) -> Result<(ClusterRows, Place), String> {
    let rows =
        store::cluster_rows(&store_options(config), Access::Exclusive).map_err(|fault| fault.to_string())?;
    let found = rows.and_then(|rows| rows.place.clone().map(|place| (rows, place)));
    found.ok_or_else(|| {
        format!(
            "the database in {} is that of a natter alone: it is in no cluster",
            absolute(&config.data_dir)
        )
    })
}

// ---- natter serve -------------------------------------------------------------------------------

/// A node whose log is open.
pub(super) struct Reached {
    pub node: ClusterNode,
    pub key: SealKey,
    /// What its database has now.
    pub start: Start,
    /// Whether that is all that the log had.
    pub has_caught_up: bool,
}

/// Opens the log of the cluster and applies what this node has missed. What it hears makes `files` known, and it says where it is asked
/// for files itself.
pub(super) fn reach(
    config: &Config,
    cluster: &Cluster,
    state: NodeState,
    runtime: &mut Runtime,
    store: &mut Store,
    trust: &Trust,
    files: &FilesListener,
) -> Result<Reached, String> {
    let entropy: &mut dyn Entropy = &mut SystemEntropy::new();
    let key = present_key(config)?;
    let now = clock();
    let place = store.place().map_err(|fault| fault.to_string())?;
    let known = place.as_ref().map_or(0, |place| place.position);
    let follows = place.as_ref().map(|place| place.log.clone());
    let skip = store.skip().map_err(|fault| fault.to_string())?;
    let state = NodeState { skipped: skip.map_or(0, |skip| skip.position), ..state };
    let voice = entropy.id(now.unix_ms);
    let on_whisper = runtime.hearing(Hearing::new(key.clone(), cluster.node.clone(), files.nodes.clone()));
    let replica =
        Replica::new(cluster.node.clone(), key.clone(), place, Box::new(SystemEntropy::new()), now.unix_ms)
            .skipping(skip);
    let options = NatsOptions { follows, ..options(cluster, trust, Some(&key), entropy)? };
    let mut whispers = None;
    let node = ClusterNode::open(replica, |wake| {
        let log = NatsLog::start(options, wake, on_whisper)?;
        whispers = Some(log.whispers());
        Ok(Box::new(log))
    });
    let mut node = node.map_err(|error| format!("no thread for the log of the cluster: {error}"))?;
    if let Some(whispers) = whispers {
        let mut peers = Peers::new(key.clone(), cluster.node.clone(), voice, state, whispers);
        files.address.iter().for_each(|address| peers.listen_at(address.clone()));
        runtime.speak(peers);
    }
    let has_caught_up = node.catch_up(store, Instant::now() + CATCH_UP_MAX)?;
    if has_caught_up {
        let place = store.place().map_err(|fault| fault.to_string())?;
        let position = place.map_or(0, |place| place.position);
        log::info!(
            target: "natter::cluster",
            "node {} is at entry {position} of the log, {} more than at its end", cluster.node, position - known
        );
    } else {
        log::warn!(
            target: "natter::cluster",
            "the log of the cluster was not reached in {} s: reads are answered, and writes are refused until it is",
            CATCH_UP_MAX.as_secs()
        );
    }
    let start = store.start_values(clock().unix_ms).map_err(|fault| fault.to_string())?;
    if start.epoch.is_empty() {
        return Err(
            "this node has nothing of the log yet, and the log cannot be reached: check CLUSTER_SERVERS"
                .to_owned(),
        );
    }
    Ok(Reached { node, key, start, has_caught_up })
}

/// What would keep a node from its log, other than the log itself. Makes and changes no file.
pub(super) fn check(config: &Config, trust: &Trust) -> Result<(), String> {
    let Some(cluster) = &config.cluster else { return Ok(()) };
    // All nodes have the same keys, so a node makes none.
    let missing = secrets::missing(&config.data_dir, config);
    if !missing.is_empty() {
        return Err(format!(
            "a node of a cluster has the keys of the others, and {} {} neither set nor in {}: copy the files of another node, begin this \
             one with a copy of it (`natter cluster join FILE`), or make a new cluster with `natter cluster init`",
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" },
            absolute(&config.data_dir)
        ));
    }
    let (key, _) = secrets::stored(&config.data_dir, secrets::CLUSTER_KEY).map_err(|faults| join(&faults))?;
    let key = made_key(config, key)?;
    options(cluster, trust, Some(&key), &mut SystemEntropy::new()).map(drop)
}

/// The key of the cluster, which only `natter cluster init` makes.
pub(super) fn present_key(config: &Config) -> Result<SealKey, String> {
    let (key, warnings) = secrets::cluster_key(&config.data_dir).map_err(|faults| join(&faults))?;
    warn(&warnings);
    made_key(config, key)
}

fn made_key(config: &Config, key: Option<Secret>) -> Result<SealKey, String> {
    let key = key.ok_or_else(|| {
        format!(
            "{} has no key of a cluster: begin this node with a copy of another one (`natter backup FILE` there, `natter cluster join \
             FILE` here), or make a new cluster with `natter cluster init`",
            absolute(&config.data_dir)
        )
    })?;
    seal_key(config, &key)
}

fn seal_key(config: &Config, key: &Secret) -> Result<SealKey, String> {
    let bytes = base64url_decode(key.expose()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(|bytes| SealKey::new(&bytes)).ok_or_else(|| {
        format!(
            "{} is not a key: copy it from another node",
            absolute(&config.data_dir.join(secrets::CLUSTER_KEY))
        )
    })
}

fn options(
    cluster: &Cluster,
    trust: &Trust,
    key: Option<&SealKey>,
    entropy: &mut dyn Entropy,
) -> Result<NatsOptions, String> {
    let server = |server: &LogServer| Server { host: bare(&server.host), port: server.port, tls: server.tls };
    let servers = Servers::new(cluster.servers.iter().map(server).collect());
    let login = |user: &str, password: &Secret| Credentials::Password {
        user: user.to_owned(),
        password: password.clone(),
    };
    Ok(NatsOptions {
        servers: servers.ok_or("CLUSTER_SERVERS: names too many servers")?,
        credentials: match &cluster.login {
            LogLogin::Nobody => Credentials::None,
            LogLogin::User(user, password) => login(user, password),
            LogLogin::Token(token) => Credentials::Token(token.clone()),
        },
        system: cluster.system.as_ref().map(|(user, password)| login(user, password)),
        monitors: cluster.monitors.clone(),
        trust: trust.clone(),
        cluster: cluster.name.as_str().to_owned(),
        node: cluster.node.as_str().to_owned(),
        process: entropy.id::<()>(clock().unix_ms).to_string(),
        // One server is enough to try a cluster.
        replicas: if cluster.is_unsafe { 1 } else { REPLICAS },
        max_age: cluster.log_kept,
        max_bytes: cluster.log_max,
        probe: key.map(|key| Entry::probe(cluster.node.clone()).seal(key).into()),
        follows: None,
        entry_bytes_max: ENTRY_BYTES_MAX,
        creates: false,
        replaces: false,
        surveys: false,
        is_unsafe: cluster.is_unsafe,
    })
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
}

fn join(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
