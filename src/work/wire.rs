//! An outgoing connection in blocking code: a socket, TLS over it if needed, and one deadline for all of it.
//!
//! Owns no protocol.
//! Invariant: no call lasts longer than the deadline, whatever the other side does. The only exception is the system's
//! resolver, which takes no limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use crate::proto::tls;

/// Bytes read at once of a connection that a worker opened.
const WIRE_READ_BUFFER: usize = 4_096;

/// Which certificates are trusted. Empty in a build without the feature `tls`, whose configuration needs none.
#[derive(Clone)]
pub struct Trust {
    #[cfg(feature = "tls")]
    config: tls::Config,
}

impl Trust {
    /// The built-in roots, and those of TLS_CA_FILE. The error is a phrase that follows that name.
    #[cfg(feature = "tls")]
    pub fn new(ca_file_pem: Option<&[u8]>) -> Result<Trust, &'static str> {
        let config = tls::client_config(ca_file_pem).map_err(|_| "holds no certificate that can be read")?;
        Ok(Trust { config })
    }

    #[cfg(not(feature = "tls"))]
    pub fn new(_: Option<&[u8]>) -> Result<Trust, &'static str> {
        Ok(Trust {})
    }

    /// A connection that somebody else's socket carries.
    #[cfg(all(feature = "tls", feature = "cluster"))]
    pub fn connection(&self, server_name: &str) -> Result<tls::TlsConnection, tls::TlsError> {
        tls::TlsConnection::new(&self.config, server_name)
    }
}

/// Why a connection can't be used any more. The text is for the log and contains nothing that the other side sent.
#[derive(Debug)]
pub enum WireFault {
    Failed(String),
    /// It fails until an operator corrects the configuration of one of the two sides.
    Misconfigured(String),
}

impl WireFault {
    pub fn failed(reason: &str) -> WireFault {
        WireFault::Failed(reason.to_owned())
    }

    pub fn reason(&self) -> &str {
        let (WireFault::Failed(reason) | WireFault::Misconfigured(reason)) = self;
        reason
    }
}

impl From<io::Error> for WireFault {
    fn from(error: io::Error) -> WireFault {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => WireFault::failed("it took too long"),
            _ => WireFault::Failed(error.to_string()),
        }
    }
}

pub struct Wire {
    socket: TcpStream,
    until: Instant,
    #[cfg(feature = "tls")]
    tls: Option<tls::TlsConnection>,
}

impl Wire {
    /// Tries each address of `host` until one answers or the deadline has passed.
    pub fn connect(host: &str, port: u16, limit: Duration) -> Result<Wire, WireFault> {
        Wire::connect_to(host, port, limit, |_| true)
    }

    /// As [`Wire::connect`], for a host that somebody else has chosen: only addresses that are allowed are connected to. The name is
    /// resolved once, so that it can't have another address when it is connected to.
    pub fn connect_to(
        host: &str,
        port: u16,
        limit: Duration,
        allowed: impl Fn(IpAddr) -> bool,
    ) -> Result<Wire, WireFault> {
        let until = Instant::now() + limit;
        let resolved = (host, port).to_socket_addrs()?;
        let addresses: Vec<SocketAddr> = resolved.filter(|address| allowed(address.ip())).collect();
        let mut last = WireFault::failed("the host name has no address that may be used");
        for (tried, address) in addresses.iter().enumerate() {
            // An address that never answers must leave time for the next one.
            let share = left(until)? / (addresses.len() - tried) as u32;
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(Wire {
                        socket,
                        until,
                        #[cfg(feature = "tls")]
                        tls: None,
                    });
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// A connection that the other side has opened.
    #[cfg(feature = "cluster")]
    pub fn accepted(socket: TcpStream, limit: Duration) -> Result<Wire, WireFault> {
        socket.set_nodelay(true)?;
        Ok(Wire {
            socket,
            until: Instant::now() + limit,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// A new deadline, for the next exchange over this connection.
    pub fn limit(&mut self, limit: Duration) {
        self.until = Instant::now() + limit;
    }

    /// Does the TLS handshake; from here on every byte goes through TLS.
    #[cfg(feature = "tls")]
    pub fn start_tls(&mut self, trust: &Trust, server_name: &str) -> Result<(), WireFault> {
        let mut tls = tls::TlsConnection::new(&trust.config, server_name).map_err(tls_fault)?;
        let mut plain = Vec::new();
        while tls.is_handshaking() {
            self.flush(&mut tls)?;
            let mut buffer = [0; BUFFER];
            let count = self.read_socket(&mut buffer)?;
            if count == 0 {
                return Err(WireFault::failed("the connection was closed in the TLS handshake"));
            }
            if let Err(fault) = tls.receive(&buffer[..count], &mut plain) {
                // The alert reports the reason to the other side. It does not matter here whether it arrives.
                let sent = self.flush(&mut tls);
                log::debug!("an alert was {}", if sent.is_ok() { "sent" } else { "not sent" });
                return Err(tls_fault(fault));
            }
        }
        self.flush(&mut tls)?;
        if !plain.is_empty() {
            return Err(WireFault::failed("the server sent data before it was asked"));
        }
        self.tls = Some(tls);
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    pub fn start_tls(&mut self, _: &Trust, _: &str) -> Result<(), WireFault> {
        Err(WireFault::Misconfigured("this build was made without the feature `tls`".to_owned()))
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), WireFault> {
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls.take() {
            tls.send(bytes);
            let result = self.flush(&mut tls);
            self.tls = Some(tls);
            return result;
        }
        self.write_socket(bytes)
    }

    /// Appends the received bytes; `false` if the other side will send no more. Under TLS an end without a close_notify
    /// is a fault, since bytes may be missing.
    pub fn receive(&mut self, plain: &mut Vec<u8>) -> Result<bool, WireFault> {
        let mut buffer = [0; BUFFER];
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls.take() {
            let before = plain.len();
            let result = loop {
                if tls.peer_closed() {
                    break Ok(false);
                }
                match self.read_socket(&mut buffer) {
                    Err(fault) => break Err(fault),
                    Ok(0) => break Err(WireFault::failed("the connection was closed")),
                    Ok(count) => {
                        if let Err(fault) = tls.receive(&buffer[..count], plain) {
                            break Err(tls_fault(fault));
                        }
                        if let Err(fault) = self.flush(&mut tls) {
                            break Err(fault);
                        }
                        if plain.len() > before {
                            break Ok(true);
                        }
                    }
                }
            };
            self.tls = Some(tls);
            return result;
        }
        let count = self.read_socket(&mut buffer)?;
        plain.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    /// Sends close_notify. The work is done, so it does not matter whether it arrives.
    pub fn close(self) {
        #[cfg(feature = "tls")]
        let wire = self.send_close_notify();
        #[cfg(not(feature = "tls"))]
        let wire = self;
        let shut = wire.socket.shutdown(Shutdown::Both);
        log::trace!("socket {}", if shut.is_ok() { "shut" } else { "gone already" });
    }

    #[cfg(feature = "tls")]
    fn send_close_notify(mut self) -> Wire {
        if let Some(mut tls) = self.tls.take() {
            tls.close();
            let sent = self.flush(&mut tls);
            log::trace!("close_notify {}", if sent.is_ok() { "sent" } else { "not sent" });
        }
        self
    }

    #[cfg(feature = "tls")]
    fn flush(&mut self, tls: &mut tls::TlsConnection) -> Result<(), WireFault> {
        let mut out = Vec::new();
        tls.outgoing(&mut out);
        if out.is_empty() { Ok(()) } else { self.write_socket(&out) }
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> Result<usize, WireFault> {
        loop {
            self.socket.set_read_timeout(Some(left(self.until)?))?;
            match self.socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Ok(result?),
            }
        }
    }

    fn write_socket(&mut self, mut bytes: &[u8]) -> Result<(), WireFault> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(left(self.until)?))?;
            match self.socket.write(bytes) {
                Ok(0) => return Err(WireFault::failed("the connection was closed")),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

const BUFFER: usize = WIRE_READ_BUFFER;

/// The time that is left; never zero, which a socket would take for "no limit".
fn left(until: Instant) -> Result<Duration, WireFault> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(WireFault::failed("it took too long")) } else { Ok(left) }
}

#[cfg(feature = "tls")]
fn tls_fault(error: tls::TlsError) -> WireFault {
    match error {
        tls::TlsError::Peer(reason) => WireFault::Failed(format!("TLS: {reason}")),
        tls::TlsError::Untrusted(reason) => WireFault::Misconfigured(format!("TLS: {reason}")),
        operators @ (tls::TlsError::CaFile | tls::TlsError::ServerName) => {
            WireFault::Misconfigured(operators.to_string())
        }
    }
}
