//! The connection of one client of a bench, plain or with TLS.
//!
//! It is opened by blocking calls and used without. Invariant: a secure line reads and writes as a plain one does, as much as the
//! socket has or takes, so that the two differ by the encryption alone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::support::net::PATIENCE;

/// Bytes of one read.
const READ: usize = 65_536;

/// Where a server listens, and how.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub is_secure: bool,
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

pub enum Line {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Secure(TcpStream, Box<rustls::ClientConnection>),
}

impl Line {
    /// Connects and asks for an upgrade to the native WebSocket. Returns what came after the frame `caught_up`, too.
    pub fn open(target: Target, access: &str) -> (Line, Vec<u8>) {
        #[cfg(feature = "tls")]
        if target.is_secure {
            use super::support::tls;
            let mut stream = tls::connect(target.address, &tls::config()).expect("a handshake");
            let (left, _) = enter(&mut stream, access, None);
            stream.conn.set_buffer_limit(None);
            return (Line::Secure(for_events(stream.sock), Box::new(stream.conn)), left);
        }
        assert!(!target.is_secure, "this build is without the feature tls");
        let mut stream = std::net::TcpStream::connect(target.address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let (left, _) = enter(&mut stream, access, None);
        (Line::Plain(for_events(stream)), left)
    }

    pub fn register(&mut self, registry: &Registry, token: Token) {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.stream().register(registry, token, both).expect("registered");
    }

    fn stream(&mut self) -> &mut TcpStream {
        match self {
            Line::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Line::Secure(stream, _) => stream,
        }
    }

    /// Writes what the socket takes, and removes it from `out`. An event follows if that is not all.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        match self {
            Line::Plain(stream) => {
                let mut written = 0;
                while written < out.len() {
                    match stream.write(&out[written..]) {
                        Ok(count) => written += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("a write: {error}"),
                    }
                }
                out.drain(..written);
            }
            #[cfg(feature = "tls")]
            Line::Secure(stream, conn) => {
                conn.writer().write_all(out).expect("room without a limit");
                out.clear();
                while conn.wants_write() {
                    match conn.write_tls(stream) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("a write: {error}"),
                    }
                }
            }
        }
    }

    /// Reads once. Returns the plain bytes, and whether there may be more.
    pub fn read<'a>(&mut self, buffers: &'a mut Buffers) -> io::Result<(&'a [u8], bool)> {
        let count = self.stream().read(&mut buffers.wire)?;
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

fn for_events(stream: std::net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).expect("a flag");
    TcpStream::from_std(stream)
}

/// Where the payload of the first frame begins and ends, if the frame is complete.
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= start + len).then_some((start, start + len))
}

/// The upgrade, and all frames up to `caught_up`. Returns what came after that, and these frames' texts.
pub fn enter(stream: &mut (impl Read + Write), access: &str, cursor: Option<&str>) -> (Vec<u8>, Vec<String>) {
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    let request = format!(
        "GET /api/v1/ws{query} HTTP/1.1\r\nHost: natter\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {access}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut bytes, mut piece, mut texts) = (Vec::new(), [0; 4_096], Vec::new());
    let mut more = |bytes: &mut Vec<u8>| {
        let count = stream.read(&mut piece).expect("an answer");
        assert!(count > 0, "{}", String::from_utf8_lossy(bytes));
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = loop {
        match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(&mut bytes),
        }
    };
    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&bytes));
    bytes.drain(..head);
    loop {
        let Some((start, end)) = frame(&bytes) else {
            more(&mut bytes);
            continue;
        };
        let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
        bytes.drain(..end);
        let is_last = text.starts_with("{\"event\":\"caught_up\"");
        texts.push(text);
        if is_last {
            return (bytes, texts);
        }
    }
}
