//! The listeners: public ones for TCP, and the control socket.
//!
//! Owns binding, accepting, and the pause after a failed `accept`. Does not decide which connections are admitted.
//! Invariant: a listener that can't accept costs no turn: it waits for an event, for the server, or for its retry.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::Instant;

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};

use super::kernel;
use super::socket::Stream;
use crate::server::contract::ListenerKind;

/// Pause after a failed `accept` (usually because no file descriptor is left): the listener stays readable, and an
/// immediate retry would be a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(250);

/// Connections that wait to be accepted: after a restart all clients come back at once. Above it, the kernel drops their
/// SYN, and they try again a second later. The kernel's own limit (`net.core.somaxconn`) is 4,096 since Linux 5.4.
const BACKLOG: i32 = 4_096;

enum Source {
    Tcp(TcpListener, ListenerKind),
    Unix { listener: UnixListener, path: SocketPath },
}

pub struct Listener {
    source: Source,
    /// Connections may be waiting.
    ready: bool,
    /// Not before this time, after a failure.
    retry: Option<Instant>,
}

/// The result of one `accept`.
pub enum Accept {
    One(Stream, IpAddr),
    /// No connection waits.
    WouldBlock,
    /// This connection was closed meanwhile; others may wait.
    Gone,
    /// The kernel has no descriptor or memory for it: pause, and report it.
    Failed(io::Error),
}

impl Listener {
    /// Binds a listener for TCP. Port 0 lets the kernel choose. Returns the bound address too.
    pub fn tcp(address: SocketAddr, kind: ListenerKind) -> io::Result<(Listener, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        kernel::set_backlog(&listener, BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((Listener::new(Source::Tcp(listener, kind)), bound))
    }

    /// A listener that the service manager opened, with the backlog of its unit. It never blocks.
    pub fn passed(listener: std::net::TcpListener, kind: ListenerKind) -> io::Result<(Listener, SocketAddr)> {
        let bound = listener.local_addr()?;
        Ok((Listener::new(Source::Tcp(TcpListener::from_std(listener), kind)), bound))
    }

    /// Binds the control socket with mode 0600, and replaces one that a killed server left. The caller holds the lock of
    /// the folder, so no other process listens there.
    pub fn control(path: &Path) -> io::Result<Listener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Listener::new(Source::Unix { listener, path: SocketPath(path.to_owned()) }))
    }

    fn new(source: Source) -> Listener {
        Listener { source, ready: false, retry: None }
    }

    /// Stops listening: no client can connect any more. The caller removes the file later, because that may take time.
    pub fn stop(self) -> Option<SocketPath> {
        match self.source {
            Source::Tcp(..) => None,
            Source::Unix { path, .. } => Some(path),
        }
    }

    pub fn listener_kind(&self) -> ListenerKind {
        match self.source {
            Source::Tcp(_, kind) => kind,
            Source::Unix { .. } => ListenerKind::Control,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.source {
            Source::Tcp(listener, _) => registry.register(listener, token, Interest::READABLE),
            Source::Unix { listener, .. } => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// An event arrived.
    pub fn record(&mut self) {
        self.ready = true;
    }

    /// Whether an accept now may succeed.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.ready && self.retry.is_none_or(|at| at <= now)
    }

    /// The time of the next try, after a failure.
    pub fn retry(&self) -> Option<Instant> {
        self.retry.filter(|_| self.ready)
    }

    pub fn accept(&mut self, now: Instant) -> Accept {
        self.retry = None;
        let accepted = match &self.source {
            Source::Tcp(listener, _) => {
                listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), peer.ip().to_canonical()))
            }
            Source::Unix { listener, .. } => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), IpAddr::V4(Ipv4Addr::LOCALHOST)))
            }
        };
        match accepted {
            Ok((stream, peer)) => Accept::One(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Accept::WouldBlock
            }
            Err(error) if is_of_one_connection(error.kind()) => Accept::Gone,
            Err(error) => {
                self.retry = Some(now + ACCEPT_RETRY);
                Accept::Failed(error)
            }
        }
    }
}

/// Whether an error of accept(2) concerns the new connection only. The system call returns network errors of that connection
/// and the refusal of a firewall, so without this check one peer could make all others wait for [`ACCEPT_RETRY`].
fn is_of_one_connection(error: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error,
        Kind::Interrupted
            | Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::NotConnected
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::PermissionDenied
    )
}

/// The file of the control socket, which is removed when the value is dropped.
pub struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            // Harmless: the next start removes it, under the lock.
            log::warn!("{} could not be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;

    #[test]
    fn the_control_socket_replaces_an_old_one_is_private_and_is_removed_with_its_listener() {
        let folder = Folder::new();
        let path = folder.join("control.sock");
        fs::write(&path, b"of a killed server").expect("a file");
        let mut listener = Listener::control(&path).expect("a listener");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let now = Instant::now();
        listener.record();
        assert!(listener.is_ready(now) && matches!(listener.accept(now), Accept::WouldBlock));
        assert!(!listener.is_ready(now));
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
        let Accept::One(_, peer) = listener.accept(now) else { panic!("one waits") };
        assert!(peer.is_loopback());
        let left = listener.stop();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err() && path.exists());
        drop(left);
        assert!(!path.exists());
        let long = folder.join("x".repeat(200));
        assert!(Listener::control(&long).is_err(), "a path too long for a socket is a fault of the start");
    }

    #[test]
    fn an_error_of_one_connection_delays_no_other() {
        let of_one = |number| is_of_one_connection(io::Error::from_raw_os_error(number).kind());
        for number in [libc::ECONNABORTED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ENETDOWN, libc::EPERM]
        {
            assert!(of_one(number), "{number}");
        }
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert!(!of_one(number), "{number}");
        }
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let Ok((mut listener, bound)) =
            Listener::tcp("[::]:0".parse().expect("an address"), ListenerKind::Public)
        else {
            return; // a host without IPv6
        };
        let _client = std::net::TcpStream::connect(("127.0.0.1", bound.port())).expect("a connection");
        loop {
            match listener.accept(Instant::now()) {
                Accept::One(_, peer) => break assert_eq!(peer, IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Accept::WouldBlock => std::thread::yield_now(),
                _ => panic!("it accepts"),
            }
        }
    }
}
