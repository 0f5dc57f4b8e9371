//! Messages to the service manager, as sd_notify(3) describes them: one datagram, no answer.
//!
//! Invariant: an unreachable service manager never stops the server.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The value of NOTIFY_SOCKET: a path, or `@` and a name without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify(pub OsString);

impl Notify {
    /// Sends `READY=1` or `STOPPING=1`.
    pub fn send(&self, state: &str) {
        if let Err(error) = self.try_send(state) {
            log::warn!("the service manager could not be notified of {state}: {error}");
        }
    }

    fn try_send(&self, state: &str) -> io::Result<()> {
        let address = address(&self.0)?;
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not block the loop.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(state.as_bytes(), &address).map(drop)
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().split_first() {
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_receives_the_state_and_its_absence_is_not_a_fault() {
        let name = format!("natter-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&address(OsStr::new(&format!("@{name}"))).expect("an address"))
            .expect("a socket");
        let notify = Notify(format!("@{name}").into());
        notify.send("READY=1");
        let mut buffer = [0; 64];
        let count = manager.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..count], b"READY=1");
        drop(manager);
        notify.send("STOPPING=1");
        assert!(notify.try_send("STOPPING=1").is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let name = format!("@natter-notify-full-{}", std::process::id());
        let _manager =
            UnixDatagram::bind_addr(&address(OsStr::new(&name)).expect("an address")).expect("a socket");
        let notify = Notify(name.into());
        // Its queue is full after at most some hundred datagrams. A blocking send would never end.
        let full = (0..100_000).find_map(|_| notify.try_send("READY=1").err()).expect("a full queue");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
