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
mod tests {
    use super::*;
    use crate::base::time::UnixS;
    use rustls::client::WebPkiServerVerifier;
    use rustls::{
        ALL_VERSIONS, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore,
        SupportedProtocolVersion,
        version::{TLS12, TLS13},
    };

    const AUTHORITY: &str = include_str!("../../../tests/certificates/authority.pem");
    const P256: [&str; 2] = [
        include_str!("../../../tests/certificates/p256.pem"),
        include_str!("../../../tests/certificates/p256.key.pem"),
    ];
    const RSA: [&str; 2] = [
        include_str!("../../../tests/certificates/rsa.pem"),
        include_str!("../../../tests/certificates/rsa.key.pem"),
    ];
    const ED25519: [&str; 2] = [
        include_str!("../../../tests/certificates/ed25519.pem"),
        include_str!("../../../tests/certificates/ed25519.key.pem"),
    ];
    const NAMELESS: &str = include_str!("../../../tests/certificates/nameless.pem");
    const NAME: &str = "chat.example.org";

    fn acceptor([certificate, key]: [&str; 2]) -> Result<Acceptor, CertificateFault> {
        let tickets = Tickets::new().expect("randomness");
        Acceptor::new(certificate.as_bytes(), key.as_bytes(), &tickets)
    }

    fn client_config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("a certificate");
        roots.add(authority).expect("an authority");
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_webpki_verifier(verifier.build().expect("roots"))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn client(config: &Arc<ClientConfig>, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(Arc::clone(config), name).expect("a client")
    }

    /// What a talk came to.
    #[derive(Debug, PartialEq, Eq)]
    struct Talked {
        version: ProtocolVersion,
        resumed: bool,
        echo: Vec<u8>,
    }

    /// The client sends hello at once, and closes after the echo. Both sides send in pieces of `size`.
    fn talk(acceptor: &Acceptor, mut client: ClientConnection, size: usize) -> Result<Talked, String> {
        let mut session = acceptor.accept().expect("a session");
        let (mut plain, mut echo, mut echoed) = (Vec::new(), Vec::new(), false);
        client.writer().write_all(b"hello").expect("written");
        for _ in 0..64 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("a Vec takes all");
            }
            for piece in wire.chunks(size) {
                if session.is_handshaking() {
                    assert!(plain.is_empty());
                    if session.take(piece).map_err(|error| error.to_string())? {
                        session.work().map_err(|error| error.to_string())?;
                        session.take_plain(&mut plain).map_err(|error| error.to_string())?;
                    }
                } else {
                    session.receive(piece, &mut plain).map_err(|error| error.to_string())?;
                }
            }
            if plain == b"hello" && !echoed {
                let slices = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo and more")];
                assert_eq!(session.encrypt(&slices, 5).expect("encrypted"), 5);
                echoed = true;
            }
            let mut wire = Vec::new();
            while session.has_output() {
                session.write_to(&mut wire).expect("a Vec takes all");
            }
            for mut piece in wire.chunks(size) {
                while !piece.is_empty() {
                    client.read_tls(&mut piece).expect("read");
                    client.process_new_packets().map_err(|error| error.to_string())?;
                }
            }
            match client.reader().read_to_end(&mut echo) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if session.peer_closed() {
                let version = client.protocol_version().expect("a version");
                assert_eq!(client.handshake_kind() == Some(HandshakeKind::Resumed), session.is_resumed());
                return Ok(Talked { version, resumed: session.is_resumed(), echo });
            }
            if echo == b"hello" {
                client.send_close_notify();
            }
        }
        panic!("the talk does not end");
    }

    #[test]
    fn every_kind_of_key_speaks_both_versions_however_the_bytes_are_cut() {
        for pair in [P256, RSA, ED25519] {
            let acceptor = acceptor(pair).expect("a pair");
            for (versions, version) in
                [(&[&TLS12], ProtocolVersion::TLSv1_2), (&[&TLS13], ProtocolVersion::TLSv1_3)]
            {
                let config = client_config(versions, &["h2", "http/1.1"]);
                for (size, resumed) in [(usize::MAX, false), (1, true), (5, true), (100, true)] {
                    let talked = talk(&acceptor, client(&config, NAME), size);
                    assert_eq!(talked, Ok(Talked { version, resumed, echo: b"hello".to_vec() }), "{size}");
                }
            }
        }
    }

    #[test]
    fn a_ticket_outlives_its_certificate() {
        let tickets = Tickets::new().expect("randomness");
        let with = |[certificate, key]: [&str; 2]| {
            Acceptor::new(certificate.as_bytes(), key.as_bytes(), &tickets).expect("a pair")
        };
        let config = client_config(ALL_VERSIONS, &[]);
        let resumed = |acceptor: &Acceptor| {
            talk(acceptor, client(&config, NAME), usize::MAX).map(|talked| talked.resumed)
        };
        assert_eq!(resumed(&with(P256)), Ok(false));
        assert_eq!(resumed(&with(RSA)), Ok(true));
        assert_eq!(resumed(&acceptor(P256).expect("a pair")), Ok(false), "keys of another process");
    }

    #[test]
    fn a_certificate_is_shown_for_its_names_only() {
        let config = client_config(ALL_VERSIONS, &[]);
        let said = |acceptor: &Acceptor, name| talk(acceptor, client(&config, name), usize::MAX);
        let named = acceptor(P256).expect("a pair");
        assert!(said(&named, NAME).is_ok());
        assert!(said(&named, "127.0.0.1").is_ok(), "no name is asked for");
        let refused = said(&named, "other.example.org").expect_err("another name");
        assert!(refused.contains("no server certificate"), "{refused}");
        // Shown for any name: what is wrong with it the client finds out by itself.
        let nameless = acceptor([NAMELESS, P256[1]]).expect("a pair");
        for name in [NAME, "other.example.org"] {
            let refused = said(&nameless, name).expect_err("not trusted");
            assert!(
                refused.contains("certificate") && !refused.contains("no server certificate"),
                "{refused}"
            );
        }
    }

    #[test]
    fn no_other_protocol_is_agreed() {
        let acceptor = acceptor(P256).expect("a pair");
        let talked =
            |alpn: &[&str]| talk(&acceptor, client(&client_config(ALL_VERSIONS, alpn), NAME), usize::MAX);
        for spoken in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            assert!(talked(spoken).is_ok(), "{spoken:?}");
        }
        for other in [&["h2"][..], &["acme-tls/1"]] {
            assert!(talked(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn without_a_certificate_a_client_gets_an_alert() {
        let empty = Acceptor::without_certificate(&Tickets::new().expect("randomness"));
        assert!(empty.facts().is_none() && !empty.covers(NAME));
        let mut session = empty.accept().expect("a session");
        let mut client = client(&client_config(ALL_VERSIONS, &[]), NAME);
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("a Vec takes all");
        assert!(session.take(&wire).expect("a hello") && session.work().is_err());
        let mut wire = Vec::new();
        session.write_to(&mut wire).expect("a Vec takes all");
        client.read_tls(&mut &wire[..]).expect("read");
        let alert = client.process_new_packets().expect_err("an alert");
        assert!(matches!(alert, rustls::Error::AlertReceived(_)), "{alert}");
    }

    /// What the server agrees to and whether it shows a challenge, or why it shows nothing.
    #[cfg(feature = "acme")]
    fn shown(acceptor: &Acceptor, alpn: &[&str], name: &str) -> Result<(Vec<u8>, bool), String> {
        let mut session = acceptor.accept().expect("a session");
        let mut client = client(&client_config(ALL_VERSIONS, alpn), name);
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("a Vec takes all");
        session.take(&wire).and_then(|_| session.work()).map_err(|error| error.to_string())?;
        let agreed = session.tls.alpn_protocol().map(<[u8]>::to_vec).unwrap_or_default();
        Ok((agreed, session.is_challenge()))
    }

    #[cfg(feature = "acme")]
    #[test]
    fn an_authority_is_shown_the_challenge_of_a_domain_and_nobody_else_is() {
        use crate::base::crypto::SystemEntropy;
        use crate::base::crypto::p256::P256;
        use crate::proto::acme::certificate::challenge;
        let plain = acceptor(P256).expect("a pair");
        assert!(plain.covers(NAME) && !plain.covers("other.example.org"));
        let key = P256::new(&SystemEntropy::new()).new_signing_key();
        let made = challenge("other.example.org", "t0ken.thumb", &key).expect("a name");
        let [certificate, pkcs8] = [&made[..], key.pkcs8().expose()];
        let with = plain
            .with_challenges(&[ChallengeCertificate { domain: "Other.example.org", certificate, pkcs8 }])
            .expect("a challenge");
        let acme = (b"acme-tls/1".to_vec(), true);
        assert_eq!(shown(&with, &["acme-tls/1"], "other.example.org"), Ok(acme));
        // Not for another name, not for one that is not asked for, and not in the name of http.
        assert!(shown(&with, &["acme-tls/1"], NAME).is_err());
        assert!(shown(&with, &["acme-tls/1"], "127.0.0.1").is_err());
        assert!(shown(&with, &["http/1.1"], "other.example.org").is_err());
        assert_eq!(shown(&with, &["acme-tls/1", "http/1.1"], NAME), Ok((b"http/1.1".to_vec(), false)));
        assert!(talk(&with, client(&client_config(ALL_VERSIONS, &[]), NAME), usize::MAX).is_ok());
        let over = with.with_challenges(&[]).expect("none");
        assert!(shown(&over, &["acme-tls/1"], "other.example.org").is_err());
    }

    #[test]
    fn faults_of_the_files() {
        let cut = &P256[0][..P256[0].len() - 60];
        for (certificate, key, expect) in [
            ("", P256[1], CertificateFault::Certificate),
            (P256[1], P256[1], CertificateFault::Certificate),
            (cut, P256[1], CertificateFault::Certificate),
            (P256[0], "", CertificateFault::Key),
            (P256[0], P256[0], CertificateFault::Key),
            (P256[0], RSA[1], CertificateFault::Mismatch),
            (RSA[0], ED25519[1], CertificateFault::Mismatch),
        ] {
            assert_eq!(acceptor([certificate, key]).err(), Some(expect.clone()), "{expect}");
        }
        let bad = P256[1].replacen("MIG", "MIH", 1);
        assert!(acceptor([P256[0], &bad]).is_err());
        let facts = acceptor(P256).expect("a pair").facts().cloned().expect("facts");
        assert_eq!((facts.not_before, facts.not_after), (UnixS(1_577_836_800), UnixS(4_733_510_400)));
        let nameless = acceptor([NAMELESS, P256[1]]).expect("a pair");
        assert!(facts.has_names && nameless.facts().is_some_and(|facts| !facts.has_names));
    }

    #[test]
    fn what_is_not_tls_is_an_error_and_a_record_ends_once() {
        assert!(begins_tls(22) && !begins_tls(b'G') && !begins_tls(0x80));
        let acceptor = acceptor(P256).expect("a pair");
        let mut session = acceptor.accept().expect("a session");
        let long = [22, 3, 1, 0xff, 0xff];
        assert!(session.take(&long).is_ok_and(|ended| !ended));
        assert!(session.work().is_err() && session.has_output(), "an alert says why");

        let two = [22, 3, 1, 0, 2, 9, 9, 22, 3, 3, 0, 0];
        for size in 1..two.len() {
            let mut records = Records::default();
            let ends = two.chunks(size).filter(|piece| records.end_in(piece)).count();
            // They end at the bytes 6 and 11.
            assert_eq!(ends, if 6 / size == 11 / size { 1 } else { 2 }, "{size}");
            assert!(!records.end_in(&[22, 3, 1, 0]) && !records.end_in(&[1]) && records.end_in(&[9]));
        }
    }
}
