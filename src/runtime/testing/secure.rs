//! A TLS client for the tests of the loop, and the certificate it trusts.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::echo::Running;
use crate::proto::tls::server::{Acceptor, Tickets};

const AUTHORITY: &[u8] = include_bytes!("../../../tests/certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/certificates/p256.pem");
const KEY: &[u8] = include_bytes!("../../../tests/certificates/p256.key.pem");

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub fn acceptor() -> Acceptor {
    let tickets = Tickets::new().expect("randomness");
    Acceptor::new(CERTIFICATE, KEY, &tickets).expect("a certificate and its key")
}

pub fn client_config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A client that has done nothing yet: its first read or write does the handshake.
pub fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("chat.example.org").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

impl Running {
    pub fn connect_secure(&self, config: &Arc<ClientConfig>) -> TlsStream {
        StreamOwned::new(client(config), self.connect())
    }
}
