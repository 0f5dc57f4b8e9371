//! The https of a start: the certificate, who looks after it, and where it is served.
//!
//! Owns the choice between files and an authority. Invariant: what can't be used stops the start, with the name of its variable.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
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
use crate::runtime::data_dir::DataDir;
use crate::runtime::{PoolKind, Workers};
use crate::work::Trust;
#[cfg(feature = "acme")]
use crate::work::acme::{Renewer, RenewerOptions, RowSeal};
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
    /// `None` without https.
    pub fn open(
        config: &Config,
        data_dir: &DataDir,
        trust: &Trust,
        curve: P256,
    ) -> Result<Option<Certificate>, String> {
        let Some(https) = &config.https else { return Ok(None) };
        match &https.certificate {
            CertificateSource::Files { certificate, key } => {
                let (files, acceptor) = CertificateFiles::open(certificate.clone(), key.clone())?;
                Ok(Some(Certificate { acceptor, keeper: Keeper::Files(files) }))
            }
            #[cfg(feature = "acme")]
            CertificateSource::Acme(acme) => {
                let options = RenewerOptions {
                    folder: data_dir.path().join("acme"),
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
                Ok(Some(Certificate { acceptor, keeper: Keeper::Acme(renewer) }))
            }
            #[cfg(not(feature = "acme"))]
            CertificateSource::Acme(_) => {
                let (_, _, _) = (data_dir, trust, curve);
                Err("TLS_DOMAIN: this build is without the feature acme".to_owned())
            }
        }
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
