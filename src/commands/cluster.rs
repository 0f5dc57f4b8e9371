//! A node of a cluster: `natter cluster init`, and what `natter serve` does in addition to a natter alone.
//!
//! Owns the key of the cluster, how its log is reached, and the first entry. Leaves what is demanded of the servers to `runtime::nats`,
//! and what a node does with the log to `runtime::replica`.
//! Invariant: a log is made once, by one command; no start makes one.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::copies::FilesListener;
use super::serve::{bare, clock, store_options, trust};
use super::{DataFolder, absolute, keys, with_config};
use crate::base::crypto::p256::P256;
use crate::base::crypto::{Entropy, SystemEntropy, base64url_decode};
use crate::base::seal::SealKey;
use crate::base::secret::Secret;
use crate::config::cluster::{Cluster, LogLogin, LogServer};
use crate::config::{Config, Fault, Warning, secrets};
use crate::model::entry::{ENTRY_BYTES_MAX, Entry, EntryBody};
use crate::model::operation::Start;
use crate::proto::nats::{Credentials, Server, Servers};
use crate::runtime::Runtime;
use crate::runtime::data_dir::DataDir;
use crate::runtime::nats::{Log, LogEvent, NatsLog, NatsOptions};
use crate::runtime::peers::{Hearing, Peers};
use crate::runtime::replica::{ClusterNode, Replica};
use crate::store::{self, Store};
use crate::work::Trust;

/// Copies of the log, each on a server of its own: one of them may be lost.
const REPLICAS: u8 = 3;
/// How long a start waits for the log and for what it has missed. After that it serves what it has.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);
/// How long `natter cluster init` waits for the servers: they may have begun at the same time.
const INIT_MAX: Duration = Duration::from_secs(60);
/// Events that wait for `natter cluster init`; a wake more says nothing new.
const WAKES_MAX: usize = 1;

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
    let voice = entropy.id(now.unix_ms);
    let on_whisper = runtime.hearing(Hearing::new(key.clone(), cluster.node.clone(), files.nodes.clone()));
    let replica =
        Replica::new(cluster.node.clone(), key.clone(), place, Box::new(SystemEntropy::new()), now.unix_ms);
    let options = options(cluster, trust, &key, false, entropy)?;
    let mut whispers = None;
    let node = ClusterNode::open(replica, |wake| {
        let log = NatsLog::start(options, wake, on_whisper)?;
        whispers = Some(log.whispers());
        Ok(Box::new(log))
    });
    let mut node = node.map_err(|error| format!("no thread for the log of the cluster: {error}"))?;
    if let Some(whispers) = whispers {
        let mut peers = Peers::new(key.clone(), cluster.node.clone(), voice, whispers);
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

/// The key of the cluster, which only `natter cluster init` makes.
fn present_key(config: &Config) -> Result<SealKey, String> {
    let (key, warnings) = secrets::cluster_key(&config.data_dir).map_err(|faults| join(&faults))?;
    warn(&warnings);
    let key = key.ok_or_else(|| {
        format!(
            "{} has no key of a cluster: copy access_secret, refresh_secret, password_secret, push_key and cluster_key from another \
             node, or make a new cluster with `natter cluster init`",
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
    key: &SealKey,
    creates: bool,
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
        trust: trust.clone(),
        cluster: cluster.name.as_str().to_owned(),
        node: cluster.node.as_str().to_owned(),
        process: entropy.id::<()>(clock().unix_ms).to_string(),
        // One server is enough to try a cluster.
        replicas: if cluster.is_unsafe { 1 } else { REPLICAS },
        max_age: cluster.log_kept,
        max_bytes: cluster.log_max,
        probe: Entry::probe(cluster.node.clone()).seal(key).into(),
        entry_bytes_max: ENTRY_BYTES_MAX,
        creates,
        is_unsafe: cluster.is_unsafe,
    })
}

// ---- natter cluster init ------------------------------------------------------------------------

pub fn run(folder: &DataFolder) -> ExitCode {
    with_config(folder, |config| {
        let cluster = config.cluster.as_ref().ok_or("CLUSTER_NODE is not set: it names this node")?;
        init(config, cluster)?;
        println!(
            "the log of cluster {} is made, and the keys are in {}",
            cluster.name,
            absolute(&config.data_dir)
        );
        println!("start natter here; each other node needs an empty DATA_DIR with a copy of these keys:");
        println!("  {}", secrets::FILES.join(" "));
        Ok(())
    })
}

fn init(config: &Config, cluster: &Cluster) -> Result<(), String> {
    let database = store_options(config);
    if store::exists(&database) {
        return Err(format!("{} exists: a cluster begins with an empty DATA_DIR", absolute(&database.path)));
    }
    let data_dir = DataDir::open(&config.data_dir, &config.uploads).map_err(|fault| fault.to_string())?;
    let mut system = SystemEntropy::new();
    let curve = P256::new(&system);
    let entropy: &mut dyn Entropy = &mut system;
    let (_, warnings) = keys::load_or_make(config, entropy)?;
    warn(&warnings);
    let (_, warnings) = keys::push(config, &curve)?;
    warn(&warnings);
    // A command that was interrupted has made it already.
    let (key, warnings) = secrets::cluster_key(data_dir.path()).map_err(|faults| join(&faults))?;
    warn(&warnings);
    let key = match key {
        Some(key) => key,
        None => secrets::make_cluster_key(data_dir.path(), entropy).map_err(|faults| join(&faults))?,
    };
    let key = seal_key(config, &key)?;
    let options = options(cluster, &trust(config)?, &key, true, entropy)?;
    let epoch = store::new_epoch(entropy);
    let first = Entry {
        node: cluster.node.clone(),
        life: entropy.id(clock().unix_ms),
        n: 1,
        body: EntryBody::Genesis { epoch },
    };
    let sealed: Arc<[u8]> = first.seal(&key).into();
    append_first(options, &sealed)
}

/// Makes the stream and appends its first entry. It is sent again until the log has it, so its bytes are always the same.
fn append_first(options: NatsOptions, sealed: &Arc<[u8]>) -> Result<(), String> {
    let until = Instant::now() + INIT_MAX;
    let (sender, woken) = sync_channel(WAKES_MAX);
    let wake = Arc::new(move || wake_up(&sender));
    let mut log = NatsLog::start(options, wake, Box::new(|_| {}))
        .map_err(|error| format!("no thread for the log of the cluster: {error}"))?;
    log.read_after(0);
    let (mut events, mut reason) = (Vec::new(), "no server answers");
    loop {
        log.take(&mut events);
        for event in events.drain(..) {
            match event {
                LogEvent::Up(_) | LogEvent::Lost => log.append(sealed),
                LogEvent::Down(why) => reason = why,
                LogEvent::Refused(why) => {
                    reason = why;
                    log.append(sealed);
                }
                LogEvent::Clock(_) => {}
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Delivered { sealed: first, .. } if first == *sealed => return Ok(()),
                LogEvent::Delivered { .. } => {
                    return Err(
                        "the log of this cluster exists, and has entries: it was left as it is".to_owned()
                    );
                }
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        match woken.recv_timeout(left) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(format!("the log could not be made in {} s: {reason}", INIT_MAX.as_secs()));
            }
        }
    }
}

fn wake_up(sender: &SyncSender<()>) {
    match sender.try_send(()) {
        // One wake is under way, or nobody waits any more.
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
}

fn join(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
