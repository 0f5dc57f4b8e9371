//! What ACME needs in DER: the request for a certificate, and the certificate that TLS-ALPN-01 shows.
//!
//! The only module that uses rcgen. Invariant: a certificate request names exactly the domains that it is for.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use crate::base::crypto::p256::SigningKey;
use crate::base::crypto::sha256;

/// A name can't be in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

/// A certificate request (RFC 2986) for these domains. It has no subject: the domains are in the extension.
pub fn request(domains: &[String], key: &SigningKey) -> Result<Vec<u8>, BadName> {
    let params = params(domains)?;
    let request = params.serialize_request(&pair(key)?).map_err(|_| BadName)?;
    Ok(request.der().to_vec())
}

/// The certificate that shows the key authorization of a challenge (RFC 8737 §3), for this key.
pub fn challenge(domain: &str, key_authorization: &str, key: &SigningKey) -> Result<Vec<u8>, BadName> {
    let mut params = params(&[domain.to_owned()])?;
    let digest = sha256(key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(&pair(key)?).map_err(|_| BadName)?;
    Ok(certificate.der().to_vec())
}

fn params(domains: &[String]) -> Result<CertificateParams, BadName> {
    let mut params = CertificateParams::new(domains).map_err(|_| BadName)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

fn pair(key: &SigningKey) -> Result<KeyPair, BadName> {
    KeyPair::try_from(key.pkcs8().expose().as_slice()).map_err(|_| BadName)
}
