//! TLS of the connections that clients open: the server's side, sans-IO.
//!
//! [`Acceptor`] owns a certificate and its key; `resolver` decides which clients get it. [`Session`] is the TLS state of one connection.
//! The caller moves bytes between the socket and the session, decides which thread does the work of a handshake, and sets time
//! limits. TLS 1.2 and 1.3 with the suites of rustls and ring: all have forward secrecy and authenticated encryption.
//! Invariants: no plain byte is returned before the handshake is complete; a session holds no encrypted bytes but the records
//! that are not written yet.
//!
//! ```
//! use std::io::IoSlice;
//!
//! use natter::proto::tls::server::{Acceptor, Tickets};
//! use natter::proto::tls::{TlsConnection, client_config};
//! # const AUTHORITY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/authority.pem"));
//! # const CHAIN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/p256.pem"));
//! # const KEY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/p256.key.pem"));
//!
//! let tickets = Tickets::new().expect("random bits");
//! let acceptor = Acceptor::new(CHAIN.as_bytes(), KEY.as_bytes(), &tickets).expect("a certificate and its key");
//! let mut server = acceptor.accept().expect("a session");
//! let trusted = client_config(Some(AUTHORITY.as_bytes())).expect("an authority");
//! let mut client = TlsConnection::new(&trusted, "chat.example.org").expect("a name");
//!
//! // The bytes that a socket would carry in each direction.
//! let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
//! while server.is_handshaking() {
//!     client.outgoing(&mut to_server);
//!     if server.take(&to_server).expect("records") {
//!         server.work().expect("a handshake"); // natter has a thread do this
//!     }
//!     to_server.clear();
//!     while server.has_output() {
//!         server.write_to(&mut to_client).expect("a Vec takes every byte");
//!     }
//!     client.receive(&to_client, &mut plain).expect("a certificate of the authority");
//!     to_client.clear();
//! }
//! server.encrypt(&[IoSlice::new(b"hello")], 16_384).expect("a record");
//! server.write_to(&mut to_client).expect("a Vec takes every byte");
//! client.receive(&to_client, &mut plain).expect("a record");
//! assert_eq!(plain, b"hello");
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ProducesTickets, ServerConfig};
use rustls::{HandshakeKind, ServerConnection};

use super::TlsError;
pub use super::resolver::ChallengeCertificate;
use super::resolver::{ACME_TLS_1, Resolver, certify};
use crate::proto::x509::{Facts, facts};

/// The one protocol that is spoken over TLS (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";
/// The content type of a record with handshake messages, with which every TLS connection begins (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Slices that one record is made of.
const RECORD_SLICES_MAX: usize = 64;

/// The keys of session tickets (RFC 8446 §4.6.1). rustls changes them every six hours. They are kept when the certificate
/// changes, so that clients still resume their sessions.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

impl Tickets {
    pub fn new() -> Result<Tickets, TlsError> {
        Ok(Tickets(Ticketer::new()?))
    }
}

/// Why a certificate and its key can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// The first file has no certificate in PEM, or one that can't be read.
    Certificate,
    /// The second file has no private key in PEM.
    Key,
    /// The key is of a kind that is not supported.
    KeyKind,
    /// The key is not the key of the first certificate.
    Mismatch,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateFault::Certificate => {
                "TLS_CERT: the file holds no certificate in PEM that can be read: it must hold the certificate of the server, then those of its authorities"
            }
            CertificateFault::Key => "TLS_KEY: the file holds no private key in PEM",
            CertificateFault::KeyKind => "TLS_KEY: the key can't be used: it must be ECDSA (P-256, P-384), Ed25519 or RSA",
            CertificateFault::Mismatch => {
                "TLS_KEY: the key is not that of the first certificate in TLS_CERT"
            }
        })
    }
}

/// What new connections are accepted with. Cheap to clone; connections keep the one they were accepted with.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    resolver: Resolver,
    facts: Option<Facts>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// `chain_pem` holds the certificate of the server, then those of its authorities; `key_pem` holds its key.
    pub fn new(chain_pem: &[u8], key_pem: &[u8], tickets: &Tickets) -> Result<Acceptor, CertificateFault> {
        let chain = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CertificateFault::Certificate)?;
        let facts = chain.first().and_then(|first| facts(first)).ok_or(CertificateFault::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| CertificateFault::Key)?;
        let certified = certify(chain, key, &default_provider())?;
        let resolver = Resolver {
            certified: Some(Arc::new(certified)),
            has_names: facts.has_names,
            challenges: BTreeMap::new(),
        };
        Ok(Acceptor { config: config(&resolver, tickets.0.clone()), resolver, facts: Some(facts) })
    }

    /// Without a certificate: each client gets an alert.
    pub fn without_certificate(tickets: &Tickets) -> Acceptor {
        let resolver = Resolver::default();
        Acceptor { config: config(&resolver, tickets.0.clone()), resolver, facts: None }
    }

    /// The same, which shows exactly these challenges to an authority.
    pub fn with_challenges(
        &self,
        challenges: &[ChallengeCertificate<'_>],
    ) -> Result<Acceptor, CertificateFault> {
        let mut resolver = Resolver { challenges: BTreeMap::new(), ..self.resolver.clone() };
        for challenge in challenges {
            resolver.add_challenge(challenge, &default_provider())?;
        }
        let config = config(&resolver, Arc::clone(&self.config.ticketer));
        Ok(Acceptor { config, resolver, facts: self.facts.clone() })
    }

    /// What the certificate of the server says, if there is one.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Whether the certificate is for this domain.
    pub fn covers(&self, domain: &str) -> bool {
        let Some(certified) = &self.resolver.certified else { return false };
        let (Ok(name), Ok(certificate)) = (ServerName::try_from(domain), certified.end_entity_cert()) else {
            return false;
        };
        ParsedCertificate::try_from(certificate).is_ok_and(|it| verify_server_name(&it, &name).is_ok())
    }

    /// The session of a new connection.
    pub fn accept(&self) -> Result<Session, TlsError> {
        let tls = ServerConnection::new(Arc::clone(&self.config))?;
        Ok(Session { tls, records: Records::default() })
    }
}

fn config(resolver: &Resolver, ticketer: Arc<dyn ProducesTickets>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver.clone()));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    // Agreed to only while there is something to show.
    if !resolver.challenges.is_empty() {
        config.alpn_protocols.push(ACME_TLS_1.to_vec());
    }
    config.ticketer = ticketer;
    // The ticket holds the state of a session, so that no client can fill a table of them.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

/// Whether a connection that begins with this byte is TLS. The method of an HTTP request begins with a letter.
pub fn begins_tls(first: u8) -> bool {
    first == HANDSHAKE
}

/// The TLS state of one connection.
pub struct Session {
    tls: ServerConnection,
    records: Records,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

impl Session {
    /// Takes bytes of a handshake without processing them. Returns whether a record is complete: then call [`Session::work`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, TlsError> {
        let mut left = bytes;
        while !left.is_empty() {
            if self.tls.read_tls(&mut left).map_err(|error| TlsError::Peer(error.to_string()))? == 0 {
                return Err(TlsError::Peer("a handshake message is too long".to_owned()));
            }
        }
        Ok(self.records.end_in(bytes))
    }

    /// Does the work of a handshake: a signature and a key exchange take 0.1 to 2 ms of a processor.
    pub fn work(&mut self) -> Result<(), TlsError> {
        self.tls.process_new_packets()?;
        Ok(())
    }

    /// Takes bytes of the socket after the handshake, and appends the decrypted ones to `plain`. After an error there may be an
    /// alert to write.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        while !bytes.is_empty() {
            let taken = self.tls.read_tls(&mut bytes).map_err(|error| TlsError::Peer(error.to_string()))?;
            self.tls.process_new_packets()?;
            self.take_plain(plain)?;
            // The peer sent close_notify; bytes after it are not TLS.
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Appends decrypted bytes that came with the last messages of the handshake.
    pub fn take_plain(&mut self, plain: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.tls.reader().read_to_end(plain) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(TlsError::Peer(error.to_string())),
        }
    }

    /// Encrypts at most `most` bytes of the slices as one record or more. Returns how many.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>], most: usize) -> Result<usize, TlsError> {
        let mut cut = [IoSlice::new(&[]); RECORD_SLICES_MAX];
        let (mut filled, mut left) = (0, most);
        for (slot, slice) in cut.iter_mut().zip(slices) {
            if left == 0 {
                break;
            }
            let part = &slice[..slice.len().min(left)];
            *slot = IoSlice::new(part);
            left -= part.len();
            filled += 1;
        }
        let taken = self.tls.writer().write_vectored(&cut[..filled]);
        taken.map_err(|error| TlsError::Peer(error.to_string()))
    }

    /// Whether there are bytes to write to the socket.
    pub fn has_output(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes such bytes to the socket.
    pub fn write_to(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        self.tls.write_tls(socket)
    }

    /// Makes a close_notify to write. Nothing can be sent after it (RFC 8446 §6.1).
    pub fn close(&mut self) {
        self.tls.send_close_notify();
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether it is that of an authority that looks at a challenge, and has seen it: nothing more is said (RFC 8737 §3).
    pub fn is_challenge(&self) -> bool {
        self.tls.alpn_protocol() == Some(ACME_TLS_1)
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the peer sent close_notify: it will send nothing more.
    pub fn peer_closed(&mut self) -> bool {
        self.tls.process_new_packets().is_ok_and(|state| state.peer_has_closed())
    }
}

/// Finds where the records of a handshake end, so that a slow client does not give a thread work with each byte.
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    have: usize,
    /// Missing bytes of the record, once its header is complete.
    left: usize,
}

impl Records {
    /// Counts `bytes`. Returns whether a record ended in them.
    fn end_in(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.have < self.header.len() {
                let count = bytes.len().min(self.header.len() - self.have);
                self.header[self.have..self.have + count].copy_from_slice(&bytes[..count]);
                self.have += count;
                bytes = &bytes[count..];
                if self.have == self.header.len() {
                    self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                }
            } else {
                let count = bytes.len().min(self.left);
                self.left -= count;
                bytes = &bytes[count..];
            }
            if self.have == self.header.len() && self.left == 0 {
                (self.have, ended) = (0, true);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests;
