//! Reads the variables into a [`Config`].
//!
//! Owns which parser reads which variable, and which values are valid together. Leaves the grammar to `values` and `url`,
//! and the source of the values to `reader`.
//! Invariant: one fault hides no other: every variable is read in any case.

use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Reader, SecretRule};
use super::{
    Acme, BACKUPS, Backups, CertificateSource, Config, EmailTls, Host, Https, IpInfo, Mail, MailServer,
    Synchronous, cluster, memory, secrets, url, values,
};
use crate::limits::{Limits, MemoryShares, TLS_DOMAINS_MAX};
use crate::logging::{LogFormat, LogOptions};
use crate::model::settings::SignUpRule;

pub(super) fn read(r: &mut Reader<'_>) -> Config {
    let (data_dir, uploads) = folders(r);
    let backups = backups(r, &data_dir);
    let mut limits = limits(r);
    let orders = r.is_set("TLS_DOMAIN");
    let (host_is_any, host, port) = listen(r, orders);
    let (argon2, https) = (r.value("ARGON2", values::argon2), https(r));
    // A port of 0 is another one each time.
    if port != 0 && https.as_ref().is_some_and(|https| https.http_port == Some(port)) {
        r.fault("HTTP_PORT", "is the port of https, too: set PORT or HTTP_PORT to another one");
    }
    memory(r, argon2, https.is_some(), &mut limits);
    let config = Config {
        host,
        host_is_any,
        port,
        public_url: r.optional("PUBLIC_URL", url::site),
        data_dir,
        uploads,
        backups,
        disk_free_min: r.number("DISK_FREE_MIN"),
        default_profile_pic: r.optional("DEFAULT_PROFILE_PIC", readable_file),
        allowed_origins: r.value("ALLOWED_ORIGINS", url::origins),
        trusted_proxies: r.optional("TRUSTED_PROXIES", values::networks).unwrap_or_default(),
        synchronous: r.value("SYNCHRONOUS", |text| {
            values::word(text, &[("full", Synchronous::Full), ("normal", Synchronous::Normal)])
        }),
        wal_max: r.number("WAL_MAX"),
        events_kept: r.optional_number("EVENTS_KEPT").map(|days| days as u32),
        messages_kept: days(r, "MESSAGES_KEPT"),
        uploads_kept: days(r, "UPLOADS_KEPT"),
        log: log_options(r),
        access_log: r.value("ACCESS_LOG", values::access_log),
        metrics_token: r.secret("METRICS_TOKEN", SecretRule::HeaderKey),
        conformance_files: conformance_files(r),
        access_secret: r.secret("ACCESS_SECRET", SecretRule::Key),
        refresh_secret: r.secret("REFRESH_SECRET", SecretRule::Key),
        password_secret: r.secret("PASSWORD_SECRET", SecretRule::Key),
        argon2,
        // One line must not open a server to strangers.
        sign_up: r
            .optional("SIGN_UP", |text| {
                let rules = [
                    ("open", SignUpRule::Open),
                    ("invite", SignUpRule::Invite),
                    ("closed", SignUpRule::Closed),
                ];
                values::word(text, &rules)
            })
            .unwrap_or(if orders { SignUpRule::Invite } else { SignUpRule::Open }),
        directory: r.value("DIRECTORY", values::switch),
        require_verified: r.value("REQUIRE_VERIFIED", values::switch),
        ip_info: ip_info(r),
        geoip_db: geoip_db(r),
        mail: mail(r),
        tls_ca_file: tls_ca_file(r),
        https,
        push_private: r.value("PUSH_PRIVATE", values::switch),
        hooks_private: r.value("HOOKS_PRIVATE", values::switch),
        keep_metadata: r.value("KEEP_METADATA", values::switch),
        limits,
        cluster: cluster::read(r),
    };
    if config.cluster.is_some() {
        cluster::check_limits(r, &config.limits);
        if config.synchronous == Synchronous::Normal {
            r.fault("SYNCHRONOUS", "normal: a node of a cluster answers for its own disk too");
        }
    }
    if config.synchronous == Synchronous::Normal {
        r.warn("SYNCHRONOUS", "normal: a power cut may lose the last acknowledged messages");
    }
    if config.argon2.is_weak() {
        r.warn(
            "ARGON2",
            "an attacker with stolen password hashes could guess passwords faster than with 7168,5,1",
        );
    }
    let keys = [&config.access_secret, &config.refresh_secret, &config.password_secret];
    for (left, right) in secrets::same(keys.map(Option::as_ref)) {
        r.fault(left, format!("the secret is the same as {right}"));
    }
    config
}

fn folders(r: &mut Reader<'_>) -> (PathBuf, PathBuf) {
    let data_dir = r.value("DATA_DIR", path);
    // The default of UPLOADS follows DATA_DIR: it is `data/uploads` only if both are unset.
    let uploads = r.optional("UPLOADS", path).unwrap_or_else(|| data_dir.join("uploads"));
    if uploads.components().eq(data_dir.components()) {
        r.fault("UPLOADS", "is the folder of the database");
    }
    (data_dir, uploads)
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text.contains('\0') {
        true => Err("has a NUL".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

fn backups(r: &mut Reader<'_>, data_dir: &Path) -> Backups {
    let every = r.optional("BACKUP_EVERY", values::time);
    let keep = r.size("BACKUP_KEEP");
    let folder = r.optional("BACKUP_DIR", path).unwrap_or_else(|| data_dir.join(BACKUPS));
    Backups { every, keep, folder }
}

fn limits(r: &mut Reader<'_>) -> Limits {
    let limits = Limits {
        head_max: r.size("HEAD_MAX"),
        json_body_max: r.size("JSON_BODY_MAX"),
        upload_max: r.number("UPLOAD_MAX"),
        upload_quota: r.number("UPLOAD_QUOTA"),
        upload_files_max: r.number("UPLOAD_FILES_MAX"),
        pixels_max: r.number("PIXELS_MAX"),
        message_max: r.size("MESSAGE_MAX"),
        members_max: r.size("MEMBERS_MAX"),
        ws_message_max: r.size("WS_MESSAGE_MAX"),
        send_queue_max: r.size("SEND_QUEUE_MAX"),
        connections_max: r.size("CONNECTIONS_MAX"),
        connections_per_address: r.size("CONNECTIONS_PER_ADDRESS"),
        streams_per_account: r.size("STREAMS_PER_ACCOUNT"),
        access_ttl: r.number("ACCESS_TTL"),
        refresh_ttl: r.number("REFRESH_TTL"),
        heartbeat: Duration::from_secs(r.number("HEARTBEAT")),
        rate_credentials: r.value("RATE_CREDENTIALS", values::rate),
        rate_address: r.value("RATE_ADDRESS", values::rate),
        rate_account: r.value("RATE_ACCOUNT", values::rate),
        rate_writes: r.value("RATE_WRITES", values::rate),
        rate_bots: r.value("RATE_BOTS", values::rate),
        rate_limit: r.value("RATE_LIMIT", values::switch),
        memory: MemoryShares::default(),
    };
    let Limits { access_ttl, refresh_ttl, ws_message_max, send_queue_max, message_max, .. } = limits;
    if access_ttl > refresh_ttl {
        r.fault("ACCESS_TTL", format!("{access_ttl} is more than REFRESH_TTL ({refresh_ttl})"));
    }
    if send_queue_max < ws_message_max {
        // The response to a message may be as large as the message.
        r.fault("SEND_QUEUE_MAX", format!("{send_queue_max} is less than WS_MESSAGE_MAX ({ws_message_max})"));
    }
    if message_max > ws_message_max.min(limits.json_body_max) {
        r.warn(
            "MESSAGE_MAX",
            format!("{message_max} characters do not fit JSON_BODY_MAX or WS_MESSAGE_MAX, so longer messages are refused"),
        );
    }
    limits
}

/// MEMORY_MAX.
fn memory(r: &mut Reader<'_>, argon2: values::Argon2, over_tls: bool, limits: &mut Limits) {
    let Some(max) = r.optional("MEMORY_MAX", memory::size) else { return };
    let set = memory::Set {
        connections_max: r.is_set("CONNECTIONS_MAX"),
        send_queue_max: r.is_set("SEND_QUEUE_MAX"),
    };
    if let Err(problem) = memory::divide(max, argon2, over_tls, set, limits) {
        r.fault("MEMORY_MAX", problem);
    }
}

pub(super) fn log_options(r: &mut Reader<'_>) -> LogOptions {
    let levels = r.value("LOG_LEVEL", values::log_levels);
    LogOptions {
        level: levels.default.unwrap_or(log::LevelFilter::Info),
        modules: levels.modules,
        format: r.value("LOG_FORMAT", |text| {
            values::word(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        }),
    }
}

fn conformance_files(r: &mut Reader<'_>) -> Option<PathBuf> {
    if cfg!(feature = "conformance") {
        return r.optional("CONFORMANCE_FILES", |text| match Path::new(text).is_dir() {
            true => Ok(PathBuf::from(text)),
            false => Err("is not a folder".into()),
        });
    }
    if r.is_set("CONFORMANCE_FILES") {
        // Not a fault: one environment may be used for both builds, and this build is only safer.
        r.warn("CONFORMANCE_FILES", "is ignored: this build is without the feature conformance");
    }
    None
}

fn ip_info(r: &mut Reader<'_>) -> Option<IpInfo> {
    let token = r.secret("IP_INFO", SecretRule::HeaderText);
    let url = r.value("IP_INFO_URL", url::url);
    let token = token?;
    if url.https && !cfg!(feature = "tls") {
        r.fault("IP_INFO_URL", "is https, and this build is without the feature tls");
    }
    if !url.https && !url.host.is_loopback() {
        r.warn("IP_INFO_URL", "is http: the token and the addresses of members are sent in clear text");
    }
    Some(IpInfo { token, url })
}

fn geoip_db(r: &mut Reader<'_>) -> Option<PathBuf> {
    if !cfg!(feature = "geoip") {
        if r.is_set("GEOIP_DB") {
            r.fault("GEOIP_DB", "is set, and this build is without the feature geoip");
        }
        return None;
    }
    r.optional("GEOIP_DB", readable_file)
}

/// A number of days, of which 0 is none.
fn days(r: &mut Reader<'_>, name: &'static str) -> Option<u64> {
    Some(r.number(name)).filter(|days| *days > 0)
}

fn tls_ca_file(r: &mut Reader<'_>) -> Option<PathBuf> {
    if !cfg!(feature = "tls") {
        if r.is_set("TLS_CA_FILE") {
            r.fault("TLS_CA_FILE", "is set, and this build is without the feature tls");
        }
        return None;
    }
    r.optional("TLS_CA_FILE", readable_file)
}

/// Whether HOST is the default of a server that is reached from anywhere, HOST, PORT.
fn listen(r: &mut Reader<'_>, orders: bool) -> (bool, Host, u16) {
    let (host, port) = (r.value("HOST", url::host), r.number("PORT") as u16);
    let host_is_any = orders && !r.is_set("HOST");
    let host = if host_is_any { Host::Address(Ipv6Addr::UNSPECIFIED.into()) } else { host };
    (host_is_any, host, if orders && !r.is_set("PORT") { 443 } else { port })
}

/// TLS_DOMAIN and what belongs to it; `None` if it is not set or wrong.
fn acme(r: &mut Reader<'_>) -> Option<Acme> {
    let domains = r.optional("TLS_DOMAIN", |text| {
        let domains = values::list(text)?.into_iter().map(domain).collect::<Result<Vec<_>, _>>()?;
        match domains.len() <= TLS_DOMAINS_MAX {
            true => Ok(domains),
            false => Err(format!("has more than {TLS_DOMAINS_MAX} names")),
        }
    });
    let directory = r.value("ACME_DIRECTORY", |text| match url::url(text)? {
        url if url.https => Ok(url),
        _ => Err("is not https".to_owned()),
    });
    let email = r.optional("ACME_EMAIL", values::mailbox).map(|mailbox| mailbox.address);
    if !r.is_set("TLS_DOMAIN") {
        if r.is_set("ACME_EMAIL") {
            r.warn("ACME_EMAIL", "has no effect without TLS_DOMAIN");
        }
    } else if !cfg!(feature = "acme") {
        r.fault("TLS_DOMAIN", "is set, and this build is without the feature acme");
    }
    Some(Acme { domains: domains?, directory, email })
}

/// A name that an authority can look at by HTTP or TLS.
fn domain(text: &str) -> Result<String, String> {
    if text.starts_with("*.") {
        return Err("has a wildcard, which an authority proves by DNS only: name each host".to_owned());
    }
    match url::host(text).map_err(|problem| format!("has an entry that {problem}"))? {
        Host::Name(name) => Ok(name),
        Host::Address(_) => Err("has an address, and certificates are ordered for names only".to_owned()),
    }
}

fn https(r: &mut Reader<'_>) -> Option<Https> {
    let acme = acme(r);
    let certificate = r.optional("TLS_CERT", readable_file);
    let key = r.optional("TLS_KEY", readable_file);
    let http_port = r.optional_number("HTTP_PORT").map(|port| port as u16);
    let hsts_s = r.number("HSTS");
    let is_set = ["TLS_CERT", "TLS_KEY"].map(|name| r.is_set(name));
    match is_set {
        [true, _] | [_, true] if r.is_set("TLS_DOMAIN") => {
            r.fault("TLS_DOMAIN", "is set, and TLS_CERT or TLS_KEY too: unset one of them");
        }
        [true, true] if !cfg!(feature = "tls") => {
            r.fault("TLS_CERT", "is set, and this build is without the feature tls");
        }
        [true, true] => {}
        [true, false] => r.fault("TLS_KEY", "is not set, and TLS_CERT needs it"),
        [false, true] => r.fault("TLS_CERT", "is not set, and TLS_KEY needs it"),
        [false, false] if r.is_set("TLS_DOMAIN") => {
            let http_port = http_port.or(Some(80));
            return acme.map(|acme| Https { certificate: CertificateSource::Acme(acme), http_port, hsts_s });
        }
        [false, false] => {
            if r.is_set("HTTP_PORT") {
                // A server that was to redirect to https would serve plain HTTP instead.
                r.fault(
                    "HTTP_PORT",
                    "is set, and there is no https to redirect to: neither TLS_DOMAIN nor TLS_CERT is set",
                );
            }
            if hsts_s > 0 {
                r.warn("HSTS", "has no effect without https");
            }
        }
    }
    let certificate = CertificateSource::Files { certificate: certificate?, key: key? };
    Some(Https { certificate, http_port, hsts_s })
}

fn mail(r: &mut Reader<'_>) -> Mail {
    // All are read before any decision, so that all their faults are reported.
    let host = r.optional("EMAIL_HOST", url::host);
    let port = r.optional_number("EMAIL_PORT").map(|port| port as u16);
    let tls = r.optional("EMAIL_TLS", |text| {
        values::word(
            text,
            &[("starttls", EmailTls::Starttls), ("tls", EmailTls::Tls), ("none", EmailTls::None)],
        )
    });
    let from = r.optional("EMAIL_FROM", values::mailbox);
    let user = r.optional("EMAIL_USER", |text| match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("has a blank or a character outside ASCII".into()),
    });
    let password = r.secret("EMAIL_PASSWORD", SecretRule::Text);
    if !r.is_set("EMAIL_HOST") {
        for name in ["EMAIL_PORT", "EMAIL_TLS", "EMAIL_USER", "EMAIL_PASSWORD", "EMAIL_PASSWORD_FILE"] {
            if r.is_set(name) {
                r.warn(name, "has no effect without EMAIL_HOST");
            }
        }
        return Mail::Mbox { from };
    }
    if !r.is_set("EMAIL_FROM") {
        r.fault("EMAIL_FROM", "is not set, and EMAIL_HOST needs it");
    }
    if r.is_set("EMAIL_USER") && !r.is_set("EMAIL_PASSWORD") && !r.is_set("EMAIL_PASSWORD_FILE") {
        r.fault("EMAIL_PASSWORD", "is not set, and EMAIL_USER needs it");
    }
    let tls = tls.unwrap_or(if port == Some(465) { EmailTls::Tls } else { EmailTls::Starttls });
    if tls != EmailTls::None && !cfg!(feature = "tls") {
        r.fault("EMAIL_TLS", "needs the feature tls, and this build is without it: set it to none");
    }
    let (Some(host), Some(from)) = (host, from) else { return Mail::Mbox { from: None } };
    if tls == EmailTls::None && password.is_some() && !host.is_loopback() {
        r.warn("EMAIL_TLS", "none: the password is sent in clear text");
    }
    let port = port.unwrap_or(match tls {
        EmailTls::Starttls => 587,
        EmailTls::Tls => 465,
        EmailTls::None => 25,
    });
    let login = password.map(|password| (user.unwrap_or_else(|| from.address.clone()), password));
    Mail::Server(MailServer { host, port, tls, from, login })
}

/// The path of a file that can be read now. A folder is refused here, since opening it succeeds and only reading fails.
fn readable_file(text: &str) -> Result<PathBuf, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let path = PathBuf::from(text);
    if !path.metadata().map_err(cannot)?.is_file() {
        return Err("is not a file".into());
    }
    std::fs::File::open(&path).map_err(cannot)?;
    Ok(path)
}
