//! `natter serve`: the steps of a start, in order.
//!
//! Invariant: every step that can fail comes before the server listens, and its failure is one clear line.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::backup::scheduled::Maker;
#[cfg(feature = "cluster")]
use super::cluster::{self, Reached};
#[cfg(feature = "cluster")]
use super::copies::{self, FilesListener};
use super::https::{self, Certificate};
use super::output::note;
use super::prepare::{Prepared, cost};
use super::restoring::{Left, Restoring};
use super::{DataFolder, absolute, configure, keys};
use crate::base::crypto::p256::P256;
use crate::base::crypto::{HmacKey, SystemEntropy, base64url, sha256};
use crate::base::time::{Now, UnixMs};
use crate::cli::EXIT_USAGE;
use crate::config::cluster::Cluster;
use crate::config::{self, Config, Host, Secrets, Synchronous, Url};
use crate::logging::{self, Logging};
use crate::model::node::{LEVEL, NodeState};
use crate::model::operation::Operation;
use crate::model::settings::{ClusterSettings, DefaultImage, PushSettings, Settings, UrlSigner};
use crate::model::upload::FindOrphans;
use crate::runtime::data_dir::DataDir;
use crate::runtime::signals::Signals;
use crate::runtime::{
    Assigned, DatabaseSpace, Listen, Listeners, Notify, OnReload, Passed, PoolKind, Runtime, RuntimeOptions,
    Workers, Writes, free_bytes, is_journal,
};
use crate::server::Server;
use crate::store::{Index, Reader, Store, StoreOptions};
use crate::work::files::{self, FilePaths, Opener, Publisher, Swept};
use crate::work::geolocation::Geolocator;
use crate::work::mail::Mailer;
use crate::work::password::{PasswordHasher, PasswordOptions};
use crate::work::push::{PushOptions, PushSender};

/// Reader threads: a short read must not wait for a long one. Each costs a page cache.
const READER_THREADS: usize = 2;

pub fn run(folder: &DataFolder) -> ExitCode {
    // First of all: it must come before any thread and any open file.
    let passed = Passed::take();
    let (config, warnings) = match configure(folder) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    let stream = std::env::var_os("JOURNAL_STREAM");
    let to_journal = is_journal(stream.as_deref(), std::io::stderr());
    let log = match logging::init(&config.log, to_journal) {
        Ok(log) => log,
        Err(error) => {
            note!("natter: no log: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
    match start(&config, &log, passed) {
        Ok(()) => {
            log::info!(target: "natter", "stopped");
            ExitCode::SUCCESS
        }
        Err(Stop { message, code }) => {
            log::error!(target: "natter", "{message}");
            ExitCode::from(code)
        }
    }
}

/// Why the server ended.
struct Stop {
    message: String,
    code: u8,
}

impl<E: std::fmt::Display> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop { message: error.to_string(), code: 1 }
    }
}

fn start(config: &Config, log: &Logging, passed: Result<Passed, String>) -> Result<(), Stop> {
    let mut entropy = SystemEntropy::new();
    let curve = P256::new(&entropy);
    let Prepared { trust, certificate, default_image, mails, places, mut warnings } =
        Prepared::of(config, &curve)
            .map_err(|faults| Stop { message: faults.join("; "), code: EXIT_USAGE })?;
    if matches!(config.mail, config::Mail::Mbox { .. }) {
        log::warn!(target: "natter::mail", "EMAIL_HOST is not set: mails are written to mail.mbox in DATA_DIR");
    }
    let listen = listeners(config, passed?)?;
    let data_dir = DataDir::open(&config.data_dir, &config.uploads)?;
    finish_restore(config)?;
    #[cfg(feature = "cluster")]
    cluster::check(config, &trust)?;
    let (secrets, more) = keys::load_or_make(config, &mut entropy)?;
    warnings.extend(more);
    let (push_key, more) = keys::push(config, &curve)?;
    warnings.extend(more);
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
    let now = clock();
    let options = StoreOptions {
        password_tag: Some(keys::tag(&secrets.password)),
        free_bytes: Some(free_bytes),
        ..store_options(config)
    };
    #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "a node of a cluster catches up"))]
    let (mut store, mut begin) = Store::open(&options, &mut entropy, now.unix_ms)?;
    if begin.newest_ms > now.unix_ms {
        log::warn!(target: "natter", "the clock shows an earlier time than the newest stored row: check the clock");
    }
    if config.synchronous == Synchronous::Normal {
        log::warn!(target: "natter", "SYNCHRONOUS=normal: the last messages may be lost in a power failure");
    }
    let mut readers = (0..READER_THREADS).map(|_| Reader::open(&options)).collect::<Result<Vec<_>, _>>()?;
    // Rows that may be lost in a power failure do not show which files are orphans: these are removed at a later start. A node of a
    // cluster has not applied yet what it has missed.
    if let Some(reader) =
        readers.first_mut().filter(|_| !store.readiness().unproven && config.cluster.is_none())
    {
        sweep(&config.uploads, None, reader)?;
    }
    let signals = Signals::install().map_err(|error| format!("no signal handler: {error}"))?;
    let certificate = Certificate::open(config, certificate, &trust, curve.clone())?;
    let runtime_options = RuntimeOptions {
        acceptor: certificate.as_ref().map(|certificate| certificate.acceptor.clone()),
        control: Some(data_dir.control_socket()),
        uploads: config.uploads.clone(),
        database_space: DatabaseSpace { data: config.data_dir.clone(), bytes: config.disk_free_min },
        connections_max: config.limits.connections_max,
        appends_max: config.limits.memory.uploads,
        notify: std::env::var_os("NOTIFY_SOCKET").map(Notify),
        log_dropped: log.dropped(),
        on_reload: Some(reload_log(log)),
    };
    #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "a node of a cluster speaks"))]
    let mut runtime = Runtime::bind(listen, runtime_options)?;
    let address = runtime.address();
    let (searcher, index) = (Reader::open(&options)?, Index::open(&options)?);
    let mut workers = runtime.workers();
    #[cfg_attr(not(feature = "cluster"), expect(unused_mut, reason = "a node of a cluster makes copies"))]
    let mut publisher = Publisher::new(config.uploads.clone());
    let writes = match &config.cluster {
        #[cfg(feature = "cluster")]
        Some(cluster) => {
            let files = FilesListener::bind(cluster)?;
            let state = cluster_settings(cluster, &secrets).state;
            let reached = cluster::reach(config, cluster, state, &mut runtime, &mut store, &trust, &files)?;
            let Reached { node, key, start, has_caught_up } = reached;
            begin = start;
            if let Some(reader) = readers.first_mut().filter(|_| !store.readiness().unproven) {
                copies::erase(&mut publisher, reader)?;
                sweep(&config.uploads, Some(copies::orphans_before(has_caught_up)), reader)?;
            }
            let copies = files.open(config, cluster, key, &runtime, &publisher, &mut entropy)?;
            publisher = publisher.with_copies(copies);
            publishers(&mut workers, PoolKind::Fetch, publisher.clone())?;
            publishers(&mut workers, PoolKind::Give, publisher.clone())?;
            Writes::InCluster(Box::new(node))
        }
        _ => Writes::alone(),
    };
    let storage = runtime.storage(store, writes, readers, searcher, index)?;
    let password = password_options(config, &secrets);
    workers.add(PoolKind::Password, move || {
        PasswordHasher::new(password.clone()).expect("these costs made a hasher before the start")
    })?;
    let mail_file = Arc::default();
    workers.add(PoolKind::Mail, move || Mailer::new(mails.clone(), Arc::clone(&mail_file)))?;
    if let Some(source) = places {
        let known = Arc::default();
        workers.add(PoolKind::Place, move || Geolocator::new(source.clone(), Arc::clone(&known)))?;
    }
    let pushes = PushOptions {
        curve,
        key: Arc::new(push_key),
        contact: contact(config),
        private: config.push_private,
        hooks_private: config.hooks_private,
        trust: trust.clone(),
    };
    let push_settings = PushSettings { key: base64url(&pushes.key.public()), private: pushes.private };
    workers.add(PoolKind::Push, move || PushSender::new(pushes.clone()))?;
    publishers(&mut workers, PoolKind::Upload, publisher)?;
    let paths = FilePaths {
        uploads: config.uploads.clone(),
        default_image: config.default_profile_pic.clone(),
        conformance: config.conformance_files.clone(),
    };
    let opener = Opener::new(paths, runtime.closer()?);
    workers.add(PoolKind::File, move || opener.clone())?;
    let mut settings = settings(config, &secrets, address.port(), default_image);
    settings.measures = runtime.measures();
    let backups = Maker::new(config, runtime.background(), runtime.measures());
    backups.begin()?;
    workers.add(PoolKind::Backup, move || backups.clone())?;
    // Every push service speaks https.
    settings.push = cfg!(feature = "tls").then_some(push_settings);
    if let Some(certificate) = certificate {
        settings.https = certificate.settings(config, address.port());
        certificate.add_to(&mut workers)?;
    }
    let server = Server::new(settings, begin, Box::new(entropy), now);
    log::info!(
        target: "natter",
        "natter {} listens on {}://{address}, data in {}",
        env!("CARGO_PKG_VERSION"),
        if config.https.is_some() { "https" } else { "http" },
        absolute(&config.data_dir),
    );
    if let Some(redirect) = runtime.redirect() {
        log::info!(target: "natter", "requests to http://{redirect} are redirected");
    }
    runtime
        .serve(server, signals, storage, workers)
        .map_err(|fault| Stop { code: fault.exit_code(), message: fault.to_string() })
}

/// Two kinds of work have the same worker.
fn publishers(workers: &mut Workers, kind: PoolKind, publisher: Publisher) -> std::io::Result<()> {
    workers.add(kind, move || publisher.clone())
}

/// Handles the staging folder of a killed restore. If its database was already moved, only the staging folder is
/// removed. Otherwise the start is refused, because it would make a new server with a part of the old data.
fn finish_restore(config: &Config) -> Result<(), String> {
    let restoring = Restoring::new(config);
    match restoring.complete()? {
        Left::Complete => restoring.clear(),
        _ => Ok(()),
    }
}

/// Removes the files that a crash left in UPLOADS, of those without a row only what was written before. No other code writes there yet.
fn sweep(uploads: &Path, before: Option<UnixMs>, reader: &mut Reader) -> Result<(), Stop> {
    let swept = files::sweep(uploads, before, |files| {
        match reader.read(FindOrphans { files }.into()).map(FindOrphans::from_answer) {
            Ok(Some(orphans)) => Ok(orphans),
            Ok(None) | Err(_) => Err(Stop::from("the database can't list its uploads")),
        }
    });
    let Swept { temporary, orphans, foreign } = swept?;
    if temporary + orphans > 0 {
        log::info!(target: "natter", "removed {temporary} unfinished uploads and {orphans} that nothing refers to");
    }
    if foreign > 0 {
        log::warn!(
            target: "natter",
            "{} holds {foreign} files, but the database has no uploads: check that UPLOADS and DATA_DIR belong together",
            uploads.display(),
        );
    }
    Ok(())
}

pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        path: config.data_dir.join("natter.db"),
        synchronous_full: config.synchronous == Synchronous::Full,
        password_tag: None,
        wal_max: config.wal_max,
        caches: config.limits.memory.caches,
        in_cluster: config.cluster.is_some(),
        free_bytes: None,
    }
}

pub fn password_options(config: &Config, secrets: &Secrets) -> PasswordOptions {
    PasswordOptions { secret: HmacKey::new(secrets.password.expose().as_bytes()), cost: cost(config) }
}

/// The sockets of the service manager; the server binds what it did not pass.
fn listeners(config: &Config, passed: Passed) -> Result<Listeners, String> {
    if let Some(warning) = &passed.warning {
        log::warn!(target: "natter", "{warning}");
    }
    let Assigned { public, redirect } = passed.assign(config.https.is_some())?;
    let bind = |port| https::listen_address(config, port).map(Listen::Bind);
    Ok(Listeners {
        public: public.map_or_else(|| bind(config.port), |socket| Ok(Listen::Passed(socket)))?,
        redirect: match (redirect, https::http_port(config)) {
            (Some(socket), _) => Some(Listen::Passed(socket)),
            (None, Some(port)) => Some(bind(port)?),
            (None, None) => None,
        },
    })
}

/// LOG_LEVEL is read again from `.env`.
fn reload_log(log: &Logging) -> OnReload {
    let levels = log.levels();
    OnReload(Arc::new(move || match Config::reload_log() {
        Ok(Some(options)) => levels.set(&options),
        Ok(None) => {}
        Err(problem) => log::error!(target: "natter::config", "LOG_LEVEL stays as it is: {problem}"),
    }))
}

/// How the operator of a push service reaches ours (RFC 8292 §2.1): by the web if it is https, else by mail.
fn contact(config: &Config) -> Option<String> {
    let url = config.public_url.as_ref().map(Url::to_string).filter(|url| url.starts_with("https:"));
    url.or_else(|| match &config.mail {
        config::Mail::Server(server) => Some(format!("mailto:{}", server.from.address)),
        config::Mail::Mbox { .. } => None,
    })
}

/// The host as resolvers and certificates name it: without the brackets of a URL.
pub(super) fn bare(host: &Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

pub fn clock() -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { instant: Instant::now(), unix_ms: UnixMs(unix_ms) }
}

/// The part of the configuration that handlers and server need. Each purpose has its own key, derived from the three
/// stored secrets, so that a signature for one purpose is not valid for another.
pub fn settings(
    config: &Config,
    secrets: &Secrets,
    port: u16,
    default_image: Option<DefaultImage>,
) -> Settings {
    let derive = |secret: &[u8], purpose: &[u8]| HmacKey::new(&HmacKey::new(secret).sign(purpose));
    Settings {
        limits: config.limits.clone(),
        access_key: HmacKey::new(secrets.access.expose().as_bytes()),
        refresh_key: HmacKey::new(secrets.refresh.expose().as_bytes()),
        urls: UrlSigner::new(
            derive(secrets.access.expose().as_bytes(), b"natter upload url 1"),
            String::new(),
        )
        .with_default_image(default_image),
        lookup_key: derive(secrets.password.expose().as_bytes(), b"natter lookup 1"),
        origins: config.allowed_origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        public_url: config.public_url(port),
        sign_up: config.sign_up,
        directory: config.directory,
        require_verified: config.require_verified,
        metrics_token: config.metrics_token.as_ref().map(|token| HmacKey::new(token.expose().as_bytes())),
        synchronous_full: config.synchronous == Synchronous::Full,
        keep_metadata: config.keep_metadata,
        mail_to_file: matches!(config.mail, config::Mail::Mbox { .. }),
        events_kept: config.events_kept.map(|days| Duration::from_secs(u64::from(days) * 86_400)),
        messages_kept: config.messages_kept.map(|days| Duration::from_secs(days * 86_400)),
        uploads_kept: config.uploads_kept.map(|days| Duration::from_secs(days * 86_400)),
        places: config.ip_info.is_some() || config.geoip_db.is_some(),
        push: None,
        hooks_private: config.hooks_private,
        https: None,
        cluster: config.cluster.as_ref().map(|cluster| cluster_settings(cluster, secrets)),
        access_log: config.access_log,
        measures: Arc::default(),
    }
}

/// What a node tells the others of its settings: hashes, also of the keys, so that a difference has a name.
fn cluster_settings(cluster: &Cluster, secrets: &Secrets) -> ClusterSettings {
    let hash = |text: &[u8]| {
        let [a, b, c, d, ..] = sha256(text);
        u32::from_be_bytes([a, b, c, d])
    };
    let keys = [
        ("ACCESS_SECRET", &secrets.access),
        ("REFRESH_SECRET", &secrets.refresh),
        ("PASSWORD_SECRET", &secrets.password),
    ];
    let keys = keys.map(|(name, key)| (name, key.expose().as_bytes()));
    let shared = cluster.shared.iter().map(|(name, value)| (*name, value.as_bytes()));
    let all: Vec<(&'static str, &[u8])> = shared.chain(keys).collect();
    // The name is a part of what is hashed: the same value elsewhere has another hash.
    let pair = |(name, value): &(&str, &[u8])| {
        (hash(name.as_bytes()), hash(&[name.as_bytes(), b"=", value].concat()))
    };
    let state = NodeState { level: LEVEL, settings: all.iter().map(pair).collect(), ..NodeState::default() };
    ClusterSettings {
        state,
        names: all.iter().map(|(name, _)| *name).collect(),
        ..ClusterSettings::new(cluster.node.clone())
    }
}
