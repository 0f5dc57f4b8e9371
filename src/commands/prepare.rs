//! What a start makes of its configuration and of the files that variables name, before it locks a folder, makes a file or listens.
//!
//! Owns these values, their faults and their warnings. `natter serve` and `natter check` both begin with them, so that the two cannot
//! differ in what they accept.
//! Invariant: nothing is made and nothing is changed. A fault begins with the name of its variable.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use super::https;
use super::serve::bare;
use crate::base::crypto::HmacKey;
use crate::base::crypto::p256::P256;
use crate::config::{self, Config, EmailTls, Host, Warning};
use crate::limits::SNIFF_BYTES;
use crate::model::settings::DefaultImage;
use crate::proto::http::client::Endpoint;
use crate::proto::image;
use crate::proto::smtp::{Address, Mailbox, SmtpOptions, Tls};
use crate::proto::tls::server::Acceptor;
use crate::runtime::data_dir;
use crate::work::Trust;
use crate::work::certificate::CertificateFiles;
use crate::work::geolocation::PlaceSource;
use crate::work::mail::MailOptions;
use crate::work::password::{Cost, PasswordHasher, PasswordOptions};

/// The values.
pub(super) struct Prepared {
    pub trust: Trust,
    /// From TLS_CERT and TLS_KEY.
    pub certificate: Option<(CertificateFiles, Acceptor)>,
    pub default_image: Option<DefaultImage>,
    pub mails: MailOptions,
    pub places: Option<PlaceSource>,
    pub warnings: Vec<Warning>,
}

impl Prepared {
    /// All faults at once.
    pub fn of(config: &Config, curve: &P256) -> Result<Prepared, Vec<String>> {
        let mut faults = Vec::new();
        let certificate = known(https::read(config, curve), &mut faults);
        let image = config.default_profile_pic.as_deref().map(default_image).transpose();
        let image = known(image, &mut faults);
        // A cost that the crate refuses stops the start, and not the first sign-in.
        let options = PasswordOptions { secret: HmacKey::new(&[]), cost: cost(config) };
        if PasswordHasher::new(options).is_err() {
            faults.push("ARGON2: these costs can't be used".to_owned());
        }
        let prepared = known(trust(config), &mut faults).and_then(|trust| {
            let mails = known(mail_options(config, &trust), &mut faults);
            let places = known(place_source(config, &trust), &mut faults);
            let (certificate, default_image) = (certificate?, image?);
            let warnings = warnings(config);
            Some(Prepared { trust, certificate, default_image, mails: mails?, places: places?, warnings })
        });
        prepared.filter(|_| faults.is_empty()).ok_or(faults)
    }
}

fn known<T>(made: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    made.map_err(|fault| faults.push(fault)).ok()
}

/// What does not stop a start, and that an operator should know.
fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = config.public_url_warning().into_iter().collect();
    if config.backups.every.is_some()
        && let Err(fault) = data_dir::may_write(&config.backups.folder)
    {
        warnings.push(Warning { source: "BACKUP_DIR".to_owned(), message: fault.to_string() });
    }
    warnings
}

pub(super) fn cost(config: &Config) -> Cost {
    let config::Argon2 { memory_kib, passes, lanes } = config.argon2;
    Cost { memory_kib, passes, lanes }
}

/// The file of DEFAULT_PROFILE_PIC, if its bytes are those of a picture.
fn default_image(path: &Path) -> Result<DefaultImage, String> {
    let fault = |what: &str| format!("DEFAULT_PROFILE_PIC: {} {what}", path.display());
    let mut prefix = Vec::with_capacity(SNIFF_BYTES);
    let read = File::open(path).and_then(|file| file.take(SNIFF_BYTES as u64).read_to_end(&mut prefix));
    read.map_err(|error| fault(&format!("cannot be read: {error}")))?;
    let kind = image::sniff(&prefix).filter(|kind| kind.is_image());
    let kind = kind.ok_or_else(|| fault("is not a JPEG, PNG, GIF or WebP file"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(DefaultImage { name, mime: kind.mime() })
}

/// The certificates that outgoing connections trust.
pub(super) fn trust(config: &Config) -> Result<Trust, String> {
    let pem = match &config.tls_ca_file {
        Some(path) => Some(std::fs::read(path).map_err(|error| format!("TLS_CA_FILE: {error}"))?),
        None => None,
    };
    Trust::new(pem.as_deref()).map_err(|problem| format!("TLS_CA_FILE: {problem}"))
}

fn mail_options(config: &Config, trust: &Trust) -> Result<MailOptions, String> {
    let mailbox = |from: &config::Mailbox| {
        let address = Address::parse(&from.address)
            .map_err(|_| "EMAIL_FROM: is not a valid sender address".to_owned())?;
        Ok::<Mailbox, String>(Mailbox { name: from.name.clone(), address })
    };
    let server = match &config.mail {
        config::Mail::Server(server) => server,
        config::Mail::Mbox { from } => {
            let default =
                config::Mailbox { name: "natter".to_owned(), address: "natter@localhost".to_owned() };
            let from = mailbox(from.as_ref().unwrap_or(&default))?;
            return Ok(MailOptions::File { path: config.data_dir.join("mail.mbox"), from });
        }
    };
    let from = mailbox(&server.from)?;
    // The name in the greeting: that of PUBLIC_URL, or else the domain of the sender (RFC 5321 §4.1.3 for addresses).
    let host_name = match config.public_url.as_ref().map(|url| &url.host) {
        Some(Host::Name(name)) => name.clone(),
        Some(Host::Address(IpAddr::V4(address))) => format!("[{address}]"),
        Some(Host::Address(IpAddr::V6(address))) => format!("[IPv6:{address}]"),
        None => server.from.address.rsplit('@').next().unwrap_or("localhost").to_owned(),
    };
    let login = server.login.as_ref();
    let smtp = SmtpOptions {
        host_name,
        tls: match server.tls {
            EmailTls::Starttls => Tls::Starttls,
            EmailTls::Tls => Tls::Implicit,
            EmailTls::None => Tls::None,
        },
        user: login.map(|(user, _)| user.clone()),
        password: login.map(|(_, password)| password.expose().clone()).unwrap_or_default(),
    };
    Ok(MailOptions::Server { host: bare(&server.host), port: server.port, from, smtp, trust: trust.clone() })
}

/// GEOIP_DB is preferred: no address leaves the host.
fn place_source(config: &Config, trust: &Trust) -> Result<Option<PlaceSource>, String> {
    #[cfg(feature = "geoip")]
    if let Some(path) = &config.geoip_db {
        return PlaceSource::database(path).map(Some).map_err(|problem| format!("GEOIP_DB: {problem}"));
    }
    let Some(service) = &config.ip_info else { return Ok(None) };
    let endpoint = Endpoint::parse(&service.url.to_string())
        .map_err(|_| "IP_INFO_URL: is not a usable URL".to_owned())?;
    let token = service.token.expose().clone();
    Ok(Some(PlaceSource::Service { endpoint, token, trust: trust.clone() }))
}
