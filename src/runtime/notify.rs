//! A word to the service manager, as sd_notify(3) describes it: one datagram, no answer.
//! Invariant: that the manager can't be reached never stops the server.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The value of NOTIFY_SOCKET: a path, or `@` and a name without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify(pub OsString);

impl Notify {
    /// Sends `READY=1` or `STOPPING=1`.
    pub fn send(&self, state: &str) {
        if let Err(error) = self.try_send(state) {
            log::warn!("the service manager was not told {state}: {error}");
        }
    }

    fn try_send(&self, state: &str) -> io::Result<()> {
        let address = address(&self.0)?;
        let socket = UnixDatagram::unbound()?;
        // A manager that reads nothing must not hold up the loop.
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
    fn the_manager_hears_the_state_and_its_absence_is_no_fault() {
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
    fn a_manager_that_reads_nothing_is_not_waited_for() {
        let name = format!("@natter-notify-full-{}", std::process::id());
        let _manager =
            UnixDatagram::bind_addr(&address(OsStr::new(&name)).expect("an address")).expect("a socket");
        let notify = Notify(name.into());
        // Its queue is full after some hundred datagrams at the most; a wait would never end.
        let full = (0..100_000).find_map(|_| notify.try_send("READY=1").err()).expect("a full queue");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
