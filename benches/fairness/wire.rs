//! An HTTP client of the bench with a chosen source address.
//!
//! Loopback has sixteen million addresses, so one process can be many clients. Owns the system calls that std lacks (a bind
//! before the connect). It never retries.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::FromRawFd;
use std::time::{Duration, Instant};

use super::support::http::{Response, next_response};

/// How long a bystander waits; after that the request counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    pub stream: TcpStream,
    /// A connection over TLS, whose handshake is complete.
    #[cfg(feature = "tls")]
    secure: Option<Box<rustls::ClientConnection>>,
    received: Vec<u8>,
}

impl Client {
    /// Connects from `source` to the server's port on loopback.
    pub fn connect(source: IpAddr, port: u16) -> io::Result<Client> {
        let stream = connect_from(source, port)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream,
            #[cfg(feature = "tls")]
            secure: None,
            received: Vec::new(),
        })
    }

    /// The same by TLS, with a complete handshake.
    #[cfg(feature = "tls")]
    pub fn connect_secure(
        source: IpAddr,
        port: u16,
        config: &std::sync::Arc<rustls::ClientConfig>,
    ) -> io::Result<Client> {
        let mut client = Client::connect(source, port)?;
        let mut conn = super::support::tls::client(config);
        while conn.is_handshaking() {
            conn.complete_io(&mut client.stream)?;
        }
        client.secure = Some(Box::new(conn));
        Ok(client)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(conn) = &mut self.secure {
            return rustls::Stream::new(conn.as_mut(), &mut self.stream).write_all(bytes);
        }
        self.stream.write_all(bytes)
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(conn) = &mut self.secure {
            return rustls::Stream::new(conn.as_mut(), &mut self.stream).read(piece);
        }
        self.stream.read(piece)
    }

    /// Sends one request, and reads one complete response.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Response> {
        self.send(request)?;
        self.response()
    }

    pub fn response(&mut self) -> io::Result<Response> {
        let until = Instant::now() + PATIENCE;
        let mut piece = [0; 65_536];
        loop {
            if let Some(response) = next_response(&mut self.received, false) {
                return Ok(response);
            }
            let count = self.read(&mut piece)?;
            if count == 0 || Instant::now() > until {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&piece[..count]);
        }
    }
}

/// A request with the fields that every client of the bench sends.
pub fn request(method: &str, path: &str, bearer: Option<&str>, fields: &str, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: natter\r\n{fields}");
    if let Some(token) = bearer {
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

/// From now on this thread, and those that it starts, run only while the others of this process have nothing to do.
pub fn yield_core() {
    // SAFETY: all fields of the parameters are numbers, for which zero is valid; 0 names the calling thread.
    let set = unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters)
    };
    if set != 0 {
        eprintln!("attackers compete with the bystander for one core: {}", io::Error::last_os_error());
    }
}

fn connect_from(source: IpAddr, port: u16) -> io::Result<TcpStream> {
    let target: IpAddr =
        if source.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    let family = if source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the stream owns the descriptor from its creation; each address lives through its call, with its length.
    unsafe {
        let fd = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let stream = TcpStream::from_raw_fd(fd);
        // On Linux this also limits a connect.
        stream.set_write_timeout(Some(PATIENCE))?;
        let one: libc::c_int = 1;
        // The port is chosen at the connect, per pair of addresses: else there are only 28,000 ports.
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
        for (call, address) in [(true, SocketAddr::new(source, 0)), (false, SocketAddr::new(target, port))] {
            let (raw, len) = raw_address(address);
            let pointer = (&raw const raw).cast();
            let done = if call { libc::bind(fd, pointer, len) } else { libc::connect(fd, pointer, len) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stream)
    }
}

fn raw_address(address: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    match address {
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: 0,
            };
            (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
        SocketAddr::V4(v4) => {
            // The same first fields, shorter: family, port, address (where IPv6 has its flow).
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET as libc::sa_family_t,
                sin6_port: v4.port().to_be(),
                sin6_flowinfo: u32::from_ne_bytes(v4.ip().octets()),
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            };
            (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
    }
}
