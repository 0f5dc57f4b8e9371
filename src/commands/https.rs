//! The https of a start: the certificate, who looks after it, and where it is served.
//!
//! Owns the choice between files and an authority. Invariant: what can't be used stops the start, with the name of its variable.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
#[cfg(feature = "acme")]
use std::path::PathBuf;
use std::time::Duration;

#[cfg(all(feature = "acme", feature = "cluster"))]
use super::cluster::present_key;
#[cfg(all(feature = "acme", feature = "cluster"))]
use super::serve::clock;
use crate::base::crypto::p256::P256;
#[cfg(all(feature = "acme", feature = "cluster"))]
use crate::base::crypto::{Entropy, SystemEntropy};
use crate::config::{CertificateSource, Config, Host, Url};
use crate::model::settings::{Https, Validity};
use crate::proto::tls::server::Acceptor;
use crate::runtime::{PoolKind, Workers};
use crate::work::Trust;
#[cfg(feature = "acme")]
use crate::work::acme::{self, Renewer, RenewerOptions, RowSeal};
use crate::work::certificate::CertificateFiles;

/// The time of a connection to this host itself.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// What connections are accepted with, and the worker that looks after it.
pub struct Certificate {
    pub acceptor: Acceptor,
    keeper: Keeper,
}

enum Keeper {
    Files(CertificateFiles),
    #[cfg(feature = "acme")]
    Acme(Renewer),
}

impl Certificate {
    /// From the files of [`read`], or of an authority; `None` without https. The caller holds the lock of DATA_DIR.
    pub fn open(
        config: &Config,
        files: Option<(CertificateFiles, Acceptor)>,
        trust: &Trust,
        curve: P256,
    ) -> Result<Option<Certificate>, String> {
        if let Some((files, acceptor)) = files {
            return Ok(Some(Certificate { acceptor, keeper: Keeper::Files(files) }));
        }
        #[cfg(feature = "acme")]
        if let Some(https) = &config.https
            && let CertificateSource::Acme(acme) = &https.certificate
        {
            let options = RenewerOptions {
                folder: acme_folder(config),
                directory: acme.directory.to_string(),
                domains: acme.domains.clone(),
                email: acme.email.clone(),
                answers_http: https.http_port.is_some(),
                trust: trust.clone(),
                curve,
                seal: row_seal(config)?,
            };
            let (renewer, acceptor) =
                Renewer::open(options).map_err(|problem| format!("TLS_DOMAIN: {problem}"))?;
            return Ok(Some(Certificate { acceptor, keeper: Keeper::Acme(renewer) }));
        }
        #[cfg(not(feature = "acme"))]
        let (_, _, _) = (config, trust, curve);
        Ok(None)
    }

    /// What the server must know of it; `port` is the one that speaks https.
    pub fn settings(&self, config: &Config, port: u16) -> Option<Https> {
        let https = config.https.as_ref()?;
        Some(Https {
            hsts_s: https.hsts_s,
            redirect_to: config.public_url.as_ref().map(Url::to_string),
            port,
            validity: self.acceptor.facts().map(Validity::of),
            domains: https.domains().to_vec(),
        })
    }

    /// Adds its worker.
    pub fn add_to(self, workers: &mut Workers) -> std::io::Result<()> {
        match self.keeper {
            Keeper::Files(files) => workers.add(PoolKind::Certificate, move || files.clone()),
            #[cfg(feature = "acme")]
            Keeper::Acme(renewer) => workers.add(PoolKind::Certificate, move || renewer.clone()),
        }
    }
}

/// The certificate of TLS_CERT. With TLS_DOMAIN there is none yet: only whether a start can use what is stored. Changes nothing.
pub fn read(config: &Config, curve: &P256) -> Result<Option<(CertificateFiles, Acceptor)>, String> {
    match config.https.as_ref().map(|https| &https.certificate) {
        None => Ok(None),
        Some(CertificateSource::Files { certificate, key }) => {
            CertificateFiles::open(certificate.clone(), key.clone()).map(Some)
        }
        #[cfg(feature = "acme")]
        Some(CertificateSource::Acme(_)) => {
            // A node of a cluster has rows instead.
            let checked = config.cluster.is_some().then_some(Ok(()));
            let checked = checked.unwrap_or_else(|| acme::check(acme_folder(config), curve));
            checked.map(|()| None).map_err(|problem| format!("TLS_DOMAIN: {problem}"))
        }
        #[cfg(not(feature = "acme"))]
        Some(CertificateSource::Acme(_)) => {
            let _ = curve;
            Err("TLS_DOMAIN: this build is without the feature acme".to_owned())
        }
    }
}

#[cfg(feature = "acme")]
fn acme_folder(config: &Config) -> PathBuf {
    config.data_dir.join("acme")
}

/// In a cluster the node with the duty orders for all.
#[cfg(feature = "acme")]
fn row_seal(config: &Config) -> Result<Option<RowSeal>, String> {
    #[cfg(feature = "cluster")]
    if let Some(cluster) = &config.cluster {
        let entropy: &mut dyn Entropy = &mut SystemEntropy::new();
        let life = entropy.id::<()>(clock().unix_ms).to_u128();
        return Ok(Some(RowSeal { key: present_key(config)?, node: cluster.node.clone(), life }));
    }
    #[cfg(not(feature = "cluster"))]
    let _ = config;
    Ok(None)
}

pub fn http_port(config: &Config) -> Option<u16> {
    config.https.as_ref().and_then(|https| https.http_port)
}

/// Where to listen at `port`.
pub fn listen_address(config: &Config, port: u16) -> Result<SocketAddr, String> {
    match &config.host {
        Host::Address(address) if config.host_is_any && !serves_both(*address) => {
            Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        Host::Address(address) => Ok(SocketAddr::new(*address, port)),
        Host::Name(name) => (name.as_str(), port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| format!("HOST: {name} has no address")),
    }
}

/// Whether a listener on `any`, an address of IPv6, is reached by IPv4 too: not where the host has no IPv6, or keeps the two apart
/// (`net.ipv6.bindv6only`).
fn serves_both(any: IpAddr) -> bool {
    let probe = || {
        let listener = TcpListener::bind((any, 0))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        TcpStream::connect_timeout(&address, PROBE_DEADLINE)
    };
    probe().is_ok()
}
