//! TLS for outgoing connections (mail, look-ups); with [`server`] the only module that uses rustls, with ring.
//!
//! [`TlsConnection`] converts between plain and encrypted bytes and uses no socket. Owns which certificates are trusted; leaves time
//! limits to the caller. rustls reads the clock to check a certificate and to date a session ticket. This is the only clock
//! reading below `runtime`; the simulation is not affected, since it opens no outgoing connection and its connections are plain.
//!
//! Invariant: no plain byte is returned before the certificate of the peer is checked against its name.
//!
//! ```
//! use natter::proto::tls::{TlsConnection, TlsError, client_config};
//!
//! let roots = client_config(None).expect("the built-in roots");
//! let mut connection = TlsConnection::new(&roots, "mail.example.org").expect("a name");
//! let mut to_server = Vec::new();
//! connection.outgoing(&mut to_server); // for the socket
//! assert!(connection.is_handshaking() && to_server[0] == 22); // a record with a handshake message
//!
//! let mut plain = Vec::new();
//! let failed = connection.receive(b"220 a server without TLS\r\n", &mut plain);
//! assert!(matches!(failed, Err(TlsError::Peer(_))) && plain.is_empty());
//! ```

mod resolver;
pub mod server;

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// The trusted certificates. Made once, cheap to clone.
#[derive(Clone)]
pub struct Config(Arc<ClientConfig>);

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// TLS_CA_FILE has no certificate, or one that cannot be read: an error of the operator.
    CaFile,
    /// The name of the server is not a name or address of a certificate: an error of the operator.
    ServerName,
    /// The peer's certificate is not accepted; the text is for the log.
    Untrusted(String),
    /// The peer does not support our TLS, or ended the handshake; the text is for the log.
    Peer(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::CaFile => f.write_str("TLS_CA_FILE can't be read as certificates"),
            TlsError::ServerName => f.write_str("the host name can't be in a certificate"),
            TlsError::Untrusted(reason) | TlsError::Peer(reason) => f.write_str(reason),
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(_) => TlsError::Untrusted(error.to_string()),
            _ => TlsError::Peer(error.to_string()),
        }
    }
}

/// Trusts the built-in public roots, and the certificates of TLS_CA_FILE if it is set. A certificate of TLS_CA_FILE is trusted
/// as an authority, and as the certificate of a server.
pub fn client_config(ca_file_pem: Option<&[u8]>) -> Result<Config, TlsError> {
    let mut own = Vec::new();
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_file_pem {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TlsError::CaFile)?;
            roots.add(certificate.clone()).map_err(|_| TlsError::CaFile)?;
            own.push(certificate);
        }
        if own.is_empty() {
            return Err(TlsError::CaFile);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .expect("there are roots");
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { chains, own }))
        .with_no_client_auth();
    // Mails and look-ups are rare: session tickets would save nothing.
    config.resumption = Resumption::disabled();
    Ok(Config(Arc::new(config)))
}

/// Checks a certificate by its chain; a certificate that is in TLS_CA_FILE needs no chain. A self-signed certificate of a mail
/// server, made by `openssl req -x509`, is marked as an authority or has an issuer that is not in the file. It has no valid
/// chain, but the operator has chosen to trust it.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match chain {
            // Dates are checked before the chain and have their own errors, so with these two errors they are valid.
            // `Other` is the error for a server certificate that is an authority.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) if self.own.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// The TLS state of one connection. The caller moves bytes from [`TlsConnection::outgoing`] to the socket, and from the socket to
/// [`TlsConnection::receive`].
pub struct TlsConnection(ClientConnection);

impl TlsConnection {
    /// `server_name` is a DNS name or an IP address that the certificate must contain.
    pub fn new(config: &Config, server_name: &str) -> Result<TlsConnection, TlsError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::ServerName)?;
        let mut connection = ClientConnection::new(Arc::clone(&config.0), name).map_err(TlsError::from)?;
        // The caller bounds the sent bytes: a mail or a request.
        connection.set_buffer_limit(None);
        Ok(TlsConnection(connection))
    }

    /// Takes bytes of the socket and appends the decrypted bytes to `plain`. After an error the connection has ended, and
    /// [`TlsConnection::outgoing`] may still have an alert for the peer.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        while !bytes.is_empty() {
            let taken = self.0.read_tls(&mut bytes).map_err(|error| TlsError::Peer(error.to_string()))?;
            self.0.process_new_packets()?;
            match self.0.reader().read_to_end(plain) {
                // WouldBlock: more bytes are needed. UnexpectedEof cannot happen, since no end was reported.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(TlsError::Peer(error.to_string())),
            }
            // The peer sent close_notify; bytes after it are not TLS.
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Takes bytes for the peer. [`TlsConnection::outgoing`] returns them encrypted after the handshake.
    pub fn send(&mut self, plain: &[u8]) {
        self.0.writer().write_all(plain).expect("a buffer without a limit takes every byte");
    }

    /// Appends the bytes to send on the socket now to `out`.
    pub fn outgoing(&mut self, out: &mut Vec<u8>) {
        while self.0.wants_write() {
            self.0.write_tls(out).expect("a Vec takes every byte");
        }
    }

    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Sends close_notify.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Whether the peer sent close_notify. If the connection ends without it, bytes may be missing: a response that only the
    /// end of the connection ends is then incomplete.
    pub fn peer_closed(&mut self) -> bool {
        self.0.process_new_packets().is_ok_and(|state| state.peer_has_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    // Made for these tests: an authority, and a certificate for mail.example.org and 127.0.0.1, both from
    // 2020 to 2120. The key protects nothing.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBZTCCAQugAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5uYXR0ZXIg
dGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGTEXMBUG
A1UEAwwObmF0dGVyIHRlc3QgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR4
scH6/Itozw+TAdBu+l8MEXb1hKPJt9ouUr2gnKrD2ikDO2MA4IewYznrMwDoRiLi
Vbm6gZ1/DB5ZPosxGcBYo0IwQDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQE
AwICBDAdBgNVHQ4EFgQUdZy6/pKWQM9Y6uosbWdaT4Ry0dMwCgYIKoZIzj0EAwID
SAAwRQIgYbsF8MhVx+RXIqACCvkh4/eJ+i1ESQFusrXHhits62UCIQCCDQznS91E
mjLPbgCJ2STDAuMN0zpYzEFzliB8s7E0Fg==
-----END CERTIFICATE-----
";
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIBAjAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5uYXR0ZXIg
dGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIG
A1UEAwwLbmF0dGVyIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATR4Tio
EPS7dMosFxcnEc+f/IDp7VPzJ0R3fmF3XVj/Oj8wGxo7Z05pVcVy56gw3/F59uIS
gHf13TvWrwOhQuj6o3AwbjAhBgNVHREEGjAYghBtYWlsLmV4YW1wbGUub3JnhwR/
AAABMAkGA1UdEwQCMAAwHQYDVR0OBBYEFGk4J4yOp7AElZRC5ovlbFzvZUaxMB8G
A1UdIwQYMBaAFHWcuv6SlkDPWOrqLG1nWk+EctHTMAoGCCqGSM49BAMCA0gAMEUC
IBJMFq0iTO3BiYFeEnDmog7GOnkkWdtvRb0m+9A253D6AiEAr351HxYOyGvlvFpA
+MFHgGjRpGYvxhI49TtROKtIzKs=
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHmOhzs1TLYq1eg9v
3jjCOdqJdtRXnm2ER9CaHprrWAShRANCAATR4TioEPS7dMosFxcnEc+f/IDp7VPz
J0R3fmF3XVj/Oj8wGxo7Z05pVcVy56gw3/F59uISgHf13TvWrwOhQuj6
-----END PRIVATE KEY-----
";

    // Certificates of mail.example.org as `openssl req -x509` makes them: self-signed, and authorities. One is valid from 2020
    // to 2120, the other one was valid until 2021.
    const OWN: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcjCCARigAwIBAgIBAzAKBggqhkjOPQQDAjAZMRcwFQYDVQQDEw5uYXR0ZXIg
dGVzdCBjYTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGTEXMBUG
A1UEAxMObmF0dGVyIHRlc3QgY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS7
iKYsOALt8LOYx2g+uXTx4YvibbWeepaqy3Spdm0MSlG8xCMJR8S9oxUZKcd6Gmut
n5HhvHkjlXdeH2YJlNh5o08wTTAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBR7
hSR/O52oul/iVBjDS26i7JS0fzAbBgNVHREEFDASghBtYWlsLmV4YW1wbGUub3Jn
MAoGCCqGSM49BAMCA0gAMEUCIENh3jXYZmXHcBOVRxlouiRRjdS4MSP7nMegyJ4L
NXpSAiEAuXygGSbEaOCPDG8glv8x6NZoPfLtewhLMVjF1TGz2TE=
-----END CERTIFICATE-----
";
    const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBezCCASCgAwIBAgIBBDAKBggqhkjOPQQDAjAeMRwwGgYDVQQDExNuYXR0ZXIg
dGVzdCBleHBpcmVkMB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowHjEc
MBoGA1UEAxMTbmF0dGVyIHRlc3QgZXhwaXJlZDBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABLuIpiw4Au3ws5jHaD65dPHhi+JttZ56lqrLdKl2bQxKUbzEIwlHxL2j
FRkpx3oaa62fkeG8eSOVd14fZgmU2HmjTzBNMA8GA1UdEwEB/wQFMAMBAf8wHQYD
VR0OBBYEFHuFJH87nai6X+JUGMNLbqLslLR/MBsGA1UdEQQUMBKCEG1haWwuZXhh
bXBsZS5vcmcwCgYIKoZIzj0EAwIDSQAwRgIhAI9drMYJkE0AbrhtdQ5u+XkclPaz
Nj20HwqiofR3BSF0AiEAqA1+WfNtLvrwOrNKLJCoEb1QWeQlvYKzEIJlFODxgLI=
-----END CERTIFICATE-----
";
    const OWN_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMn6Jz4YNwHH5s0U/
ERZVqna+BBoDooXLlIsCQNF2DjmhRANCAAS7iKYsOALt8LOYx2g+uXTx4YvibbWe
epaqy3Spdm0MSlG8xCMJR8S9oxUZKcd6Gmutn5HhvHkjlXdeH2YJlNh5
-----END PRIVATE KEY-----
";

    fn server(certificate: &str, key: &str) -> ServerConnection {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        ServerConnection::new(Arc::new(config)).expect("a connection")
    }

    /// Both sides send in pieces of `size`: the client sends hello at once, the server echoes it and closes.
    fn exchange(config: &Config, name: &str, size: usize) -> Result<Vec<u8>, TlsError> {
        talk_to(server(CERTIFICATE, KEY), config, name, size)
    }

    fn talk_to(
        mut server: ServerConnection,
        config: &Config,
        name: &str,
        size: usize,
    ) -> Result<Vec<u8>, TlsError> {
        let mut connection = TlsConnection::new(config, name)?;
        let (mut received, mut echoed) = (Vec::new(), false);
        connection.send(b"hello");
        for _ in 0..64 {
            let mut to_server = Vec::new();
            connection.outgoing(&mut to_server);
            for mut piece in to_server.chunks(size) {
                while !piece.is_empty() {
                    server.read_tls(&mut piece).expect("read");
                    if let Err(error) = server.process_new_packets() {
                        panic!("the client never errs: {error}");
                    }
                }
            }
            let mut buffer = [0; 16];
            if let Ok(count) = server.reader().read(&mut buffer)
                && count > 0
            {
                server.writer().write_all(&buffer[..count]).expect("write");
                server.send_close_notify();
                echoed = true;
            }
            let mut to_client = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut to_client).expect("write");
            }
            for piece in to_client.chunks(size) {
                connection.receive(piece, &mut received)?;
            }
            if echoed {
                assert!(!connection.is_handshaking() && connection.peer_closed());
                connection.close();
                let mut goodbye = Vec::new();
                connection.outgoing(&mut goodbye);
                assert!(!goodbye.is_empty());
                // Not TLS, and ignored.
                connection.receive(b"after the end", &mut received)?;
                return Ok(received);
            }
            assert!(!connection.peer_closed());
        }
        panic!("the exchange does not end");
    }

    #[test]
    fn only_a_trusted_certificate_of_the_right_name_is_accepted() {
        let own = client_config(Some(AUTHORITY.as_bytes())).expect("a configuration");
        for size in [usize::MAX, 1, 5, 100] {
            assert_eq!(
                exchange(&own, "mail.example.org", size),
                Ok(b"hello".to_vec()),
                "in pieces of {size}"
            );
        }
        assert_eq!(exchange(&own, "127.0.0.1", usize::MAX), Ok(b"hello".to_vec()));
        let public = client_config(None).expect("a configuration");
        for (config, name) in
            [(&own, "other.example.org"), (&own, "127.0.0.2"), (&public, "mail.example.org")]
        {
            assert!(matches!(exchange(config, name, usize::MAX), Err(TlsError::Untrusted(_))), "{name}");
        }
        assert_eq!(exchange(&own, "not a name", usize::MAX), Err(TlsError::ServerName));
    }

    /// A certificate is trusted because it is in TLS_CA_FILE, with any issuer and any declared use.
    #[test]
    fn a_certificate_of_the_file_is_trusted_for_its_name_and_its_time() {
        let trusting = |pem: &str| client_config(Some(pem.as_bytes())).expect("a configuration");
        let (leaf, own) = (trusting(CERTIFICATE), trusting(&format!("{AUTHORITY}{OWN}")));
        assert_eq!(
            exchange(&leaf, "mail.example.org", usize::MAX),
            Ok(b"hello".to_vec()),
            "its issuer is unknown"
        );
        let to_own = |config, name| talk_to(server(OWN, OWN_KEY), config, name, usize::MAX);
        assert_eq!(to_own(&own, "mail.example.org"), Ok(b"hello".to_vec()), "it is an authority");
        let expired = talk_to(server(EXPIRED, OWN_KEY), &trusting(EXPIRED), "mail.example.org", usize::MAX);
        for refused in [
            exchange(&leaf, "other.example.org", usize::MAX),
            to_own(&own, "other.example.org"),
            to_own(&leaf, "mail.example.org"),
            expired,
        ] {
            assert!(matches!(refused, Err(TlsError::Untrusted(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_peer_without_tls_is_an_error() {
        let config = client_config(None).expect("a configuration");
        let mut connection = TlsConnection::new(&config, "mail.example.org").expect("a connection");
        let mut plain = Vec::new();
        assert!(matches!(connection.receive(b"220 mx ready\r\n", &mut plain), Err(TlsError::Peer(_))));
        assert!(plain.is_empty() && connection.is_handshaking());
    }

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let cut = &AUTHORITY[..AUTHORITY.len() - 40];
        let wrong = AUTHORITY.replacen("MII", "MIJ", 1);
        for bad in ["", "text", KEY, cut, &wrong, &format!("{AUTHORITY}{wrong}")] {
            assert_eq!(client_config(Some(bad.as_bytes())).err(), Some(TlsError::CaFile), "{bad}");
        }
        assert!(client_config(Some(format!("{AUTHORITY}{CERTIFICATE}").as_bytes())).is_ok());
    }
}
