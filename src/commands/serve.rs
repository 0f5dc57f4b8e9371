//! `natter serve`: the start in its order. Everything that can fail fails before the server listens, with one clear line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::configure;
use crate::base::crypto::{HmacKey, SystemEntropy};
use crate::base::time::Now;
use crate::config::{Config, Host, Secrets, Synchronous, secrets};
use crate::logging;
use crate::model::settings::{Settings, UrlSigner};
use crate::runtime::data_dir::DataDir;
use crate::runtime::signals::Signals;
use crate::runtime::{Kind, Notify, Runtime, RuntimeOptions};
use crate::server::Server;
use crate::store::{Reader, Store, StoreOptions};
use crate::work::password::{Cost, PasswordHasher, PasswordOptions};

pub fn run() -> ExitCode {
    let (config, warnings) = match configure() {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    if let Err(error) = logging::init(&config.log) {
        eprintln!("natter: no log: {error}");
        return ExitCode::FAILURE;
    }
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
    match start(&config) {
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

/// Why there is no server any more.
struct Stop {
    message: String,
    code: u8,
}

impl<E: std::fmt::Display> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop { message: error.to_string(), code: 1 }
    }
}

fn start(config: &Config) -> Result<(), Stop> {
    let data_dir = DataDir::open(&config.data_dir, &config.uploads)?;
    let mut entropy = SystemEntropy::new();
    let (secrets, warnings) = secrets::load_or_create(data_dir.path(), config, &mut entropy)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    for warning in warnings {
        log::warn!(target: "natter::config", "{warning}");
    }
    let now = clock();
    let options = store_options(config);
    let (store, begin) = Store::open(&options, &mut entropy, now.unix_ms)?;
    if begin.newest_ms > now.unix_ms {
        log::warn!(target: "natter", "the clock is behind the newest stored time: is it set?");
    }
    if config.synchronous == Synchronous::Normal {
        log::warn!(target: "natter", "SYNCHRONOUS=normal: a power loss may take the last messages");
    }
    let signals = Signals::install().map_err(|error| format!("no signal handler: {error}"))?;
    let runtime = Runtime::bind(RuntimeOptions {
        listen: listen_address(config)?,
        control: Some(data_dir.control_socket()),
        uploads: config.uploads.clone(),
        connections_max: config.limits.connections_max,
        notify: std::env::var_os("NOTIFY_SOCKET").map(Notify),
    })?;
    let address = runtime.address();
    let readers =
        (0..crate::limits::READER_THREADS).map(|_| Reader::open(&options)).collect::<Result<Vec<_>, _>>()?;
    let storage = runtime.storage(store, readers)?;
    let mut workers = runtime.workers();
    let password = PasswordOptions {
        secret: HmacKey::new(secrets.password.expose()),
        cost: Cost {
            memory_kib: config.argon2.memory_kib,
            passes: config.argon2.passes,
            lanes: config.argon2.lanes,
        },
    };
    // Once here, so that a cost the crate refuses stops the start rather than the first sign-in.
    PasswordHasher::new(password.clone()).map_err(|_| "ARGON2: these costs can't be used")?;
    workers.add(Kind::Password, move || {
        PasswordHasher::new(password.clone()).expect("these options made a hasher at the start")
    })?;
    let settings = settings(config, &secrets, address.port());
    let server = Server::new(settings, begin, Box::new(entropy), now);
    log::info!(
        target: "natter",
        "natter {} listens on http://{address}, data in {}",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display(),
    );
    runtime
        .serve(server, signals, storage, workers)
        .map_err(|fault| Stop { code: fault.exit_code(), message: fault.to_string() })
}

pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        path: config.data_dir.join("natter.db"),
        synchronous_full: config.synchronous == Synchronous::Full,
    }
}

fn clock() -> Now {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Now { instant: Instant::now(), unix_ms }
}

fn listen_address(config: &Config) -> Result<SocketAddr, String> {
    match &config.host {
        Host::Address(address) => Ok(SocketAddr::new(*address, config.port)),
        Host::Name(name) => (name.as_str(), config.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| format!("HOST: {name} has no address")),
    }
}

/// What handlers and server need of the configuration. Each purpose has a key of its own, derived from the three kept
/// secrets, so that a signature for one is worth nothing for another.
fn settings(config: &Config, secrets: &Secrets, port: u16) -> Settings {
    let derive = |secret: &[u8], purpose: &[u8]| HmacKey::new(&HmacKey::new(secret).sign(purpose));
    Settings {
        limits: config.limits.clone(),
        access_key: HmacKey::new(secrets.access.expose()),
        refresh_key: HmacKey::new(secrets.refresh.expose()),
        urls: UrlSigner::new(derive(secrets.access.expose(), b"natter upload url 1"), String::new()),
        lookup_key: derive(secrets.password.expose(), b"natter lookup 1"),
        origins: config.allowed_origins.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        public_url: config.public_url(port),
        sign_up_open: config.sign_up_open,
        require_verified: config.require_verified,
        metrics_token: config.metrics_token.as_ref().map(|token| HmacKey::new(token.expose())),
        synchronous_full: config.synchronous == Synchronous::Full,
        conformance_files: config.conformance_files.clone(),
    }
}
