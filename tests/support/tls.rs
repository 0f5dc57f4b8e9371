//! TLS for the tests of the real binary: certificates, a client, and a forwarder that lets any plain client speak TLS.
//!
//! Owns no assertion. Invariant: the forwarder loses no byte and keeps both half-closes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::net::PATIENCE;
use super::process::Launch;

/// The name in the certificates.
pub const NAME: &str = "chat.example.org";
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Copies a certificate of the tests and its key to where a server reads them: first the certificate, then the key.
pub fn install(kind: &str, folder: &Path) {
    for (from, to) in [(format!("{kind}.pem"), "tls.pem"), (format!("{kind}.key.pem"), "tls.key.pem")] {
        // As `certbot` and `mv` do it: the name is that of a complete file at any time.
        let new = folder.join(format!("{to}.new"));
        fs::copy(Path::new(FOLDER).join(from), &new).expect("a copy");
        fs::rename(new, folder.join(to)).expect("a new file");
    }
}

/// The settings of a server with https, whose certificate is in its folder.
pub fn secure(launch: Launch) -> Launch {
    install("p256", &launch.folder);
    launch.with(&[("TLS_CERT", "tls.pem"), ("TLS_KEY", "tls.key.pem")])
}

/// The same with the certificate where it is, so that nothing is added to the folder of the server.
pub fn secure_in_place(launch: Launch) -> Launch {
    let (certificate, key) = (format!("{FOLDER}/p256.pem"), format!("{FOLDER}/p256.key.pem"));
    launch.with(&[("TLS_CERT", &certificate), ("TLS_KEY", &key)])
}

/// Trusts the authority of the tests.
pub fn config() -> Arc<ClientConfig> {
    let pem = fs::read(Path::new(FOLDER).join("authority.pem")).expect("a file");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a client")
}

/// A connection whose handshake is complete.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut conn = client(config);
    while conn.is_handshaking() {
        conn.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(conn, socket))
}

/// The servers by the ports of their forwarders.
static FORWARDED: Mutex<BTreeMap<u16, SocketAddr>> = Mutex::new(BTreeMap::new());

/// The server of the forwarder at a port.
pub fn forwarded_by(port: u16) -> Option<SocketAddr> {
    FORWARDED.lock().expect("no panic").get(&port).copied()
}

/// Starts a forwarder to a server with TLS, and returns the address where plain clients reach it. It ends with the process.
pub fn forward_to(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = config();
    FORWARDED.lock().expect("no panic").insert(address.port(), server);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, config) = (client.expect("a connection"), Arc::clone(&config));
            std::thread::spawn(move || {
                // A connection that the server refuses or cuts off ends, for the client too.
                let forwarded = forward(&client, server, &config);
                if forwarded.is_err() {
                    let _ = client.shutdown(Shutdown::Both);
                }
            });
        }
    });
    address
}

fn forward(client: &TcpStream, server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let StreamOwned { conn, sock } = connect(server, config)?;
    sock.set_read_timeout(None)?;
    sock.set_write_timeout(None)?;
    let conn = Mutex::new(conn);
    std::thread::scope(|scope| {
        let up = scope.spawn(|| upwards(client, &sock, &conn));
        let down = downwards(client, &sock, &conn);
        if down.is_err() {
            let _ = client.shutdown(Shutdown::Both);
        }
        up.join().expect("no panic").and(down)
    })
}

/// What the client sends, encrypted. Only this direction writes to the server, so records stay in order.
fn upwards(mut client: &TcpStream, mut sock: &TcpStream, conn: &Mutex<ClientConnection>) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = client.read(&mut buffer)?;
        let mut wire = Vec::new();
        {
            let mut conn = conn.lock().expect("no panic");
            conn.set_buffer_limit(None);
            match count {
                0 => conn.send_close_notify(),
                count => conn.writer().write_all(&buffer[..count])?,
            }
            while conn.wants_write() {
                conn.write_tls(&mut wire)?;
            }
        }
        sock.write_all(&wire)?;
        if count == 0 {
            return sock.shutdown(Shutdown::Write);
        }
    }
}

/// What the server sends, decrypted. An end without close_notify resets nothing here: it is the caller's error.
fn downwards(mut client: &TcpStream, mut sock: &TcpStream, conn: &Mutex<ClientConnection>) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = sock.read(&mut buffer)?;
        let (mut wire, mut plain) = (&buffer[..count], Vec::new());
        let mut ended = false;
        {
            let mut conn = conn.lock().expect("no panic");
            while !wire.is_empty() && !ended {
                conn.read_tls(&mut wire)?;
                ended = conn.process_new_packets().map_err(io::Error::other)?.peer_has_closed();
                match conn.reader().read_to_end(&mut plain) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        }
        client.write_all(&plain)?;
        if ended {
            return client.shutdown(Shutdown::Write);
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Accepts any certificate, as an authority that looks at a challenge does.
#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake by the protocol of TLS-ALPN-01: the certificate in DER, and what the server said after it until it closed.
pub fn challenge(address: SocketAddr, domain: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = ServerName::try_from(domain.to_owned()).expect("a name");
    let mut conn = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    while conn.is_handshaking() {
        conn.complete_io(&mut socket)?;
    }
    if conn.alpn_protocol() != Some(b"acme-tls/1") {
        return Err(io::Error::other("another protocol was agreed to"));
    }
    let shown = conn.peer_certificates().and_then(|chain| chain.first()).map(|it| it.to_vec());
    let mut rest = Vec::new();
    io::Read::read_to_end(&mut StreamOwned::new(conn, socket), &mut rest)?;
    Ok((shown.unwrap_or_default(), rest))
}

/// A client that trusts these roots only.
pub fn trusting(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
