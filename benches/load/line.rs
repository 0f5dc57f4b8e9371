//! A connection to the server under load, plain or with TLS: blocking for the preparations, non-blocking under load.
//!
//! Owns sockets and encryption. Invariant: a secure line reads and writes as a plain one does, as much as the socket has or takes, so that
//! the two differ by the encryption alone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Bytes of one read.
const READ: usize = 65_536;
/// How long one blocking call may take.
pub const CALL_MAX: Duration = Duration::from_secs(30);

#[cfg(feature = "tls")]
pub type Tls = (std::sync::Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>);
#[cfg(not(feature = "tls"))]
pub type Tls = std::convert::Infallible;

/// Where a server is reached.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// The field `Host`.
    pub host: String,
    pub tls: Option<Tls>,
}

/// A blocking connection.
pub enum Stream {
    Plain(Blocking),
    #[cfg(feature = "tls")]
    Secure(Box<rustls::StreamOwned<rustls::ClientConnection, Blocking>>),
}

impl Stream {
    pub fn connect(target: &Target) -> io::Result<Stream> {
        let socket = Blocking::connect_timeout(&target.address, CALL_MAX)?;
        socket.set_read_timeout(Some(CALL_MAX))?;
        socket.set_write_timeout(Some(CALL_MAX))?;
        socket.set_nodelay(true)?;
        match &target.tls {
            None => Ok(Stream::Plain(socket)),
            #[cfg(not(feature = "tls"))]
            Some(never) => match *never {},
            #[cfg(feature = "tls")]
            Some(tls) => Ok(Stream::Secure(Box::new(rustls::StreamOwned::new(client(tls)?, socket)))),
        }
    }
}

#[cfg(feature = "tls")]
fn client((config, name): &Tls) -> io::Result<rustls::ClientConnection> {
    rustls::ClientConnection::new(std::sync::Arc::clone(config), name.clone()).map_err(io::Error::other)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Stream::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Stream::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            #[cfg(feature = "tls")]
            Stream::Secure(stream) => stream.flush(),
        }
    }
}

/// Memory that the lines of one thread share.
pub struct Buffers {
    wire: Vec<u8>,
    #[cfg(feature = "tls")]
    plain: Vec<u8>,
}

impl Buffers {
    pub fn new() -> Buffers {
        Buffers {
            wire: vec![0; READ],
            #[cfg(feature = "tls")]
            plain: Vec::new(),
        }
    }
}

/// A non-blocking connection, which may not be established yet.
pub enum Line {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Secure(TcpStream, Box<rustls::ClientConnection>),
}

impl Line {
    pub fn connect(target: &Target) -> io::Result<Line> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        match &target.tls {
            None => Ok(Line::Plain(stream)),
            #[cfg(not(feature = "tls"))]
            Some(never) => match *never {},
            #[cfg(feature = "tls")]
            Some(tls) => {
                let mut conn = client(tls)?;
                conn.set_buffer_limit(None); // the engine bounds what is under way
                Ok(Line::Secure(stream, Box::new(conn)))
            }
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn stream(&mut self) -> &mut TcpStream {
        match self {
            Line::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Line::Secure(stream, _) => stream,
        }
    }

    /// Writes what the socket takes. Returns how many of the bytes need not be given again; an event follows if that is not all.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => {
                let mut written = 0;
                while written < bytes.len() {
                    match stream.write(&bytes[written..]) {
                        Ok(count) => written += count,
                        Err(error) if is_later(&error) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(written)
            }
            #[cfg(feature = "tls")]
            Line::Secure(stream, conn) => {
                conn.writer().write_all(bytes)?;
                while conn.wants_write() {
                    match conn.write_tls(stream) {
                        Ok(_) => {}
                        Err(error) if is_later(&error) => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(bytes.len())
            }
        }
    }

    /// Reads once. Returns the plain bytes, and whether there may be more; `WouldBlock` if there is nothing now.
    pub fn read<'a>(&mut self, buffers: &'a mut Buffers) -> io::Result<(&'a [u8], bool)> {
        let count = match self.stream().read(&mut buffers.wire) {
            Err(error) if is_later(&error) => return Err(ErrorKind::WouldBlock.into()),
            result => result?,
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let wire = &buffers.wire[..count];
        match self {
            Line::Plain(_) => Ok((wire, count == READ)),
            #[cfg(feature = "tls")]
            Line::Secure(_, conn) => {
                let mut left = wire;
                buffers.plain.clear();
                while !left.is_empty() {
                    conn.read_tls(&mut left)?;
                    conn.process_new_packets().map_err(io::Error::other)?;
                    match conn.reader().read_to_end(&mut buffers.plain) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                        _ => {}
                    }
                }
                Ok((&buffers.plain, count == READ))
            }
        }
    }
}

/// The call can be made again after the next event; a socket that is not connected yet says `NotConnected`.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}
