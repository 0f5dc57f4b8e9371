//! One socket to one server: TCP, TLS over it if needed, and the connection that is spoken on it.
//!
//! Owns the bytes on their way and the time limits of a connection. Leaves what is said to its users, and the choice of a server.
//! Invariant: a link that becomes not ready in time, or on which nothing is heard, reports that it has failed.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::proto::nats::{Connection, Event, Fault, Options, Server};
#[cfg(feature = "tls")]
use crate::proto::tls::{TlsConnection, TlsError};
use crate::work::Trust;

/// From the start of the connection until the server has accepted us.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// After this long without a byte the server is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(1);
/// After this long without a byte the server is left. It is as long as a busy machine may need, and less than an election.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// Bytes read at once.
pub(super) const READ_BUFFER: usize = 64 * 1_024;
/// Reads of one turn: the events of the turn are bounded by it.
const READS_MAX: usize = 16;
/// Addresses of one server that are tried.
const ADDRESSES_MAX: usize = 8;

/// The addresses of a server. The system's resolver takes no time limit.
pub(super) fn resolve(server: &Server) -> Result<VecDeque<SocketAddr>, Fault> {
    match (server.host.as_str(), server.port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.take(ADDRESSES_MAX).collect()),
        Err(error) => Err(failed(&error)),
    }
}

pub(super) struct Link {
    socket: TcpStream,
    pub(super) connection: Connection,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    #[cfg(feature = "tls")]
    trust: Trust,
    host: String,
    opened: Instant,
    heard: Instant,
    has_pinged: bool,
}

#[cfg(feature = "tls")]
struct Tls {
    connection: TlsConnection,
    is_secured: bool,
    /// Encrypted bytes for the socket.
    out: Vec<u8>,
}

impl Link {
    pub(super) fn open(
        address: SocketAddr,
        host: &str,
        options: Options,
        trust: &Trust,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Result<Link, Fault> {
        #[cfg(not(feature = "tls"))]
        let _ = trust;
        let mut socket = TcpStream::connect(address).map_err(|error| failed(&error))?;
        registry
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| failed(&error))?;
        Ok(Link {
            socket,
            connection: Connection::new(options),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            trust: trust.clone(),
            host: host.to_owned(),
            opened: now,
            heard: now,
            has_pinged: false,
        })
    }

    /// Reads what has come. Returns whether more may be waiting. The events are in [`Link::event`].
    pub(super) fn receive(&mut self, buffer: &mut [u8], now: Instant) -> Result<bool, Fault> {
        for _ in 0..READS_MAX {
            let count = match self.socket.read(buffer) {
                Ok(0) => return Err(Fault::Failed("the server closed the connection".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Not connected: the connection is not complete yet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(failed(&error)),
            };
            self.heard = now;
            self.has_pinged = false;
            self.take(&buffer[..count])?;
        }
        Ok(true)
    }

    #[cfg(feature = "tls")]
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Some(tls) = &mut self.tls else {
            self.connection.receive(bytes);
            return Ok(());
        };
        let mut plain = Vec::new();
        let taken = tls.connection.receive(bytes, &mut plain);
        // Also after an error: the alert tells the server why.
        tls.connection.outgoing(&mut tls.out);
        taken.map_err(tls_fault)?;
        if !tls.is_secured && !tls.connection.is_handshaking() {
            tls.is_secured = true;
            self.connection.secured();
        }
        self.connection.receive(&plain);
        if tls.connection.peer_closed() {
            return Err(Fault::Failed("the server closed the connection".to_owned()));
        }
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.connection.receive(bytes);
        Ok(())
    }

    /// What has happened; the TLS handshake is begun here.
    pub(super) fn event(&mut self) -> Option<Event> {
        match self.connection.poll()? {
            Event::StartTls => match self.start_tls() {
                Ok(()) => None,
                Err(fault) => Some(Event::Failed(fault)),
            },
            event => Some(event),
        }
    }

    #[cfg(feature = "tls")]
    fn start_tls(&mut self) -> Result<(), Fault> {
        let connection = self.trust.connection(&self.host).map_err(tls_fault)?;
        self.tls = Some(Tls { connection, is_secured: false, out: Vec::new() });
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn start_tls(&mut self) -> Result<(), Fault> {
        let host = &self.host;
        Err(Fault::Misconfigured(format!("{host} demands TLS, and this build is without the feature `tls`")))
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            if tls.is_secured && !self.connection.outgoing().is_empty() {
                tls.connection.send(self.connection.outgoing());
                self.connection.sent(self.connection.outgoing().len());
            }
            tls.connection.outgoing(&mut tls.out);
            let count = write(&mut self.socket, &tls.out)?;
            tls.out.drain(..count);
            return Ok(());
        }
        let count = write(&mut self.socket, self.connection.outgoing())?;
        self.connection.sent(count);
        Ok(())
    }

    /// The socket is not read for now.
    pub(super) fn pause(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Checks the time limits, and asks for a sign of life when it is time.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Fault> {
        if !self.connection.is_ready() {
            let late = now >= self.opened + CONNECT_MAX;
            return if late { Err(Fault::Failed("it does not answer".to_owned())) } else { Ok(()) };
        }
        if now >= self.heard + SILENT_MAX {
            return Err(Fault::Failed("it has not sent anything for 3 seconds".to_owned()));
        }
        if now >= self.heard + PING_AFTER && !self.has_pinged {
            self.has_pinged = self.connection.ping().is_ok();
        }
        Ok(())
    }

    /// When [`Link::tick`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        match self.connection.is_ready() {
            false => self.opened + CONNECT_MAX,
            true if self.has_pinged => self.heard + SILENT_MAX,
            true => self.heard + PING_AFTER,
        }
    }
}

/// Writes what the socket takes.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Fault> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Err(Fault::Failed("the server closed the connection".to_owned())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(written)
}

fn failed(error: &io::Error) -> Fault {
    Fault::Failed(error.to_string())
}

#[cfg(feature = "tls")]
fn tls_fault(error: TlsError) -> Fault {
    let text = format!("TLS: {error}");
    match error {
        TlsError::Peer(_) => Fault::Failed(text),
        TlsError::CaFile | TlsError::ServerName | TlsError::Untrusted(_) => Fault::Misconfigured(text),
    }
}
