//! The configuration: the environment as one checked value.
//!
//! Owns which combinations are valid, and makes the options of each module from the variables. The table of variables is in
//! `fields`, their reader in `reader`, the grammar of values in `values` and `url`, the rules between variables in `read`, the secrets on disk in
//! `secrets`. Opens no socket and creates no folder.
//! Invariant: natter can run with every [`Config`] that exists, and all faults are reported at once, so that a start does
//! not fail twice for one environment.

pub mod cluster;
pub(crate) mod dotenv;
pub(crate) mod fields;
mod memory;
mod read;
mod reader;
pub(crate) mod secrets;
pub(crate) mod url;
pub(crate) mod values;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::secret::Secret;
use crate::config::reader::Reader;
use crate::limits::Limits;
use crate::logging::LogOptions;
use crate::model::settings::{Origins, SignUpRule};

pub use crate::base::network::{Network, Networks};
pub use fields::{Accepts, SECTIONS, Variable, variables};
pub use reader::{Fault, Warning};
pub use secrets::Secrets;
pub use url::{Host, Url};
pub use values::{Argon2, Mailbox};

/// All settings of the environment. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    pub host: Host,
    /// HOST is not set and means all addresses: those of IPv4 where there is no IPv6.
    pub host_is_any: bool,
    /// 0 means any free port.
    pub port: u16,
    /// As set. [`Config::public_url`] also works if it is not set.
    pub public_url: Option<Url>,
    pub data_dir: PathBuf,
    pub uploads: PathBuf,
    /// Bytes of the file system of DATA_DIR that uploads leave to the database.
    pub disk_free_min: u64,
    /// An image file that could be read.
    pub default_profile_pic: Option<PathBuf>,
    pub allowed_origins: Origins,
    pub trusted_proxies: Networks,
    pub synchronous: Synchronous,
    pub wal_max: u64,
    /// Of how many requests one is logged: 0 for none.
    pub access_log: u32,
    pub backups: Backups,
    /// Days; `None` keeps all.
    pub events_kept: Option<u32>,
    /// Days; `None` keeps all.
    pub messages_kept: Option<u64>,
    /// Days; `None` keeps all.
    pub uploads_kept: Option<u64>,
    pub log: LogOptions,
    pub metrics_token: Option<Secret>,
    /// Set only with the feature `conformance`.
    pub conformance_files: Option<PathBuf>,
    /// The keys that the environment sets; [`secrets::load_or_create`] gives the others.
    pub access_secret: Option<Secret>,
    pub refresh_secret: Option<Secret>,
    pub password_secret: Option<Secret>,
    pub argon2: Argon2,
    pub sign_up: SignUpRule,
    pub directory: bool,
    pub require_verified: bool,
    /// The service for places; `None` without a token.
    pub ip_info: Option<IpInfo>,
    pub geoip_db: Option<PathBuf>,
    pub mail: Mail,
    pub tls_ca_file: Option<PathBuf>,
    /// https of the server's own; `None` speaks plain HTTP, as behind a proxy.
    pub https: Option<Https>,
    pub push_private: bool,
    pub hooks_private: bool,
    pub keep_metadata: bool,
    pub limits: Limits,
    /// `None` for one natter alone.
    pub cluster: Option<cluster::Cluster>,
}

/// The backups that the server makes by itself, and those that an admin asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    /// `None`: only when an admin asks.
    pub every: Option<Duration>,
    /// How many are kept, at least one.
    pub keep: usize,
    pub folder: PathBuf,
}

/// The name of that folder in DATA_DIR, unless BACKUP_DIR names another one.
pub const BACKUPS: &str = "backups";

/// A certificate and how it is used.
#[derive(Clone, Debug)]
pub struct Https {
    pub certificate: CertificateSource,
    /// For redirects, and for the authority.
    pub http_port: Option<u16>,
    /// Seconds; 0 sends no field.
    pub hsts_s: u64,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// From files that could be read.
    Files { certificate: PathBuf, key: PathBuf },
    /// From an authority.
    Acme(Acme),
}

/// What is asked of which authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// At least one, in lower case.
    pub domains: Vec<String>,
    pub directory: Url,
    pub email: Option<String>,
}

impl Https {
    /// The names for which certificates are ordered.
    pub fn domains(&self) -> &[String] {
        match &self.certificate {
            CertificateSource::Files { .. } => &[],
            CertificateSource::Acme(acme) => &acme.domains,
        }
    }
}

/// The failures that a `COMMIT` survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// A power cut.
    Full,
    /// A crash of the process only.
    Normal,
}

#[derive(Clone, Debug)]
pub struct IpInfo {
    pub token: Secret,
    pub url: Url,
}

/// Where mails are sent.
#[derive(Clone, Debug)]
pub enum Mail {
    /// To the file `DATA_DIR/mail.mbox`, from this sender if one is set.
    Mbox {
        from: Option<Mailbox>,
    },
    Server(MailServer),
}

#[derive(Clone, Debug)]
pub struct MailServer {
    pub host: Host,
    pub port: u16,
    pub tls: EmailTls,
    pub from: Mailbox,
    /// User and password; `None`: no AUTH.
    pub login: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailTls {
    /// The connection begins in clear text and must change to TLS before any credential or mail is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
    None,
}

impl Config {
    /// Checks `env` (the real variables, which take precedence) and the text of a `.env` file. It reads no other
    /// environment. The only other input is the files that variables name (`NAME_FILE`, GEOIP_DB, …), which must be
    /// readable.
    pub fn load(
        env: impl Fn(&str) -> Option<OsString>,
        dotenv_text: Option<&str>,
    ) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
        let mut reader = Reader::new(&env, dotenv_text);
        let config = read::read(&mut reader);
        reader.finish(config)
    }

    /// [`Config::load`] with the environment of the process and the `.env` file of its working directory, if there is one.
    /// `data_dir` takes precedence over DATA_DIR.
    pub fn from_environment(data_dir: Option<&Path>) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
        let env = |name: &str| match data_dir {
            Some(folder) if name == "DATA_DIR" => Some(folder.as_os_str().to_owned()),
            _ => std::env::var_os(name),
        };
        let path = Path::new(".env");
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Config::load(env, None),
            _ => match reader::read_text(".env") {
                Ok(text) => Config::load(env, Some(&text)),
                Err(problem) => {
                    // The variables are still checked, so that all faults are reported at once.
                    let mut faults = Config::load(env, None).err().unwrap_or_default();
                    let fault = Fault { source: ".env".into(), problem, accepts: String::new() };
                    faults.insert(0, fault);
                    Err(faults)
                }
            },
        }
    }

    /// LOG_LEVEL as `.env` has it now. `None` if a real variable sets it, which can't change.
    pub fn reload_log() -> Result<Option<LogOptions>, String> {
        if std::env::var_os("LOG_LEVEL").is_some() {
            return Ok(None);
        }
        let text = match Path::new(".env").symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(reader::read_text(".env").map_err(|problem| format!(".env {problem}"))?),
        };
        let env = |name: &str| std::env::var_os(name);
        let mut reader = Reader::new(&env, text.as_deref());
        let options = read::log_options(&mut reader);
        let fault = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
        reader.finish(options).map(|(options, _)| Some(options)).map_err(fault)
    }

    /// Nobody else reaches the URL that stands in links if PUBLIC_URL is not set and HOST means all addresses.
    pub fn public_url_warning(&self) -> Option<Warning> {
        let is_any = matches!(&self.host, Host::Address(address) if address.is_unspecified());
        let has_domain = self.https.as_ref().is_some_and(|https| !https.domains().is_empty());
        (self.public_url.is_none() && is_any && !has_domain).then(|| Warning {
            source: "PUBLIC_URL".to_owned(),
            message: format!(
                "is not set: the links in invites and mails lead to {}, which only this host reaches",
                self.public_url(self.port)
            ),
        })
    }

    /// The URL at which clients reach this server, without a `/` at its end; `port` is the port that it listens on.
    pub fn public_url(&self, port: u16) -> String {
        match &self.public_url {
            Some(url) => url.to_string(),
            None => {
                let domain = self.https.as_ref().and_then(|https| https.domains().first());
                let host = match &self.host {
                    _ if domain.is_some() => Host::Name(domain.cloned().unwrap_or_default()),
                    // A client cannot connect to the address that means all addresses.
                    Host::Address(address) if address.is_unspecified() => Host::Name("localhost".into()),
                    host => host.clone(),
                };
                let https = self.https.is_some();
                let default_port = if https { 443 } else { 80 };
                let port = Some(port).filter(|port| *port != default_port);
                Url { https, host, port, path: String::new() }.to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests;
