//! Which certificate a client is shown: that of the server for its names, or that of a challenge (RFC 8737).
//!
//! Invariant: a client that agrees to the protocol of challenges gets the certificate of one, or none; nobody else gets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::server::CertificateFault;

/// The protocol by which an authority sees the certificate of a challenge (RFC 8737 §6.2).
pub(super) const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// The certificate of a challenge and its key, both in DER.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeCertificate<'a> {
    pub domain: &'a str,
    pub certificate: &'a [u8],
    pub pkcs8: &'a [u8],
}

/// Shows the certificate to clients that ask for one of its names (RFC 6066 §3), and to those that ask for no name, such as one
/// that connects to an address. A certificate without names, as `openssl req -x509` makes it, is shown to all.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    /// `None` until there is one: a client gets an alert.
    pub certified: Option<Arc<CertifiedKey>>,
    pub has_names: bool,
    /// By domain, in lower case.
    pub challenges: BTreeMap<String, Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // An authority offers this protocol and no other (RFC 8737 §3).
        if hello.alpn().is_some_and(|mut offered| offered.all(|protocol| protocol == ACME_TLS_1)) {
            return self.challenges.get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        let certified = self.certified.as_ref()?;
        let is_right = match hello.server_name() {
            Some(name) if self.has_names => {
                let name = ServerName::try_from(name).ok()?;
                let certificate = ParsedCertificate::try_from(certified.end_entity_cert().ok()?).ok()?;
                verify_server_name(&certificate, &name).is_ok()
            }
            _ => true,
        };
        is_right.then(|| Arc::clone(certified))
    }
}

impl Resolver {
    pub fn add_challenge(
        &mut self,
        challenge: &ChallengeCertificate<'_>,
        provider: &CryptoProvider,
    ) -> Result<(), CertificateFault> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(challenge.pkcs8.to_vec()));
        let chain = vec![CertificateDer::from(challenge.certificate.to_vec())];
        let key = provider.key_provider.load_private_key(key).map_err(|_| CertificateFault::KeyKind)?;
        // Without a look at the certificate: its critical extension is one that no check knows.
        let certified = Arc::new(CertifiedKey::new(chain, key));
        self.challenges.insert(challenge.domain.to_ascii_lowercase(), certified);
        Ok(())
    }
}

pub(super) fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateFault> {
    let key = provider.key_provider.load_private_key(key).map_err(|_| CertificateFault::KeyKind)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(CertificateFault::Mismatch),
        Err(_) => Err(CertificateFault::Certificate),
    }
}
