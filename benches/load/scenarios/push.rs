//! `push`: posts to people whose devices are notified, by a push service of this process.
//!
//! Owns the service and the devices. Only for a server that is started here: another one refuses a service at a private address.
//! Invariant: the service runs only when the server and the clients leave a core idle, as a real one has a machine of its own.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::push_service::{Browser, Service};
use crate::support::tls;

use super::super::place::Place;
use super::super::scenario::{Check, Prepared};
use super::talk;

pub struct Devices {
    service: Service,
    /// Notifications that were sent before the load.
    before: u64,
}

/// Settings of the server.
pub fn env() -> [(&'static str, String); 2] {
    let authority = Path::new(tls::FOLDER).join("authority.pem");
    [("TLS_CA_FILE", authority.display().to_string()), ("PUSH_PRIVATE", "on".to_owned())]
}

/// The first half of the members post to the second half, each of whom has `devices`; these are notified if they subscribe.
pub fn prepare(
    place: &mut Place,
    clients: usize,
    devices: usize,
    subscribes: bool,
) -> io::Result<(Prepared, Devices)> {
    let service = distant_service();
    let members = place.members(clients.next_multiple_of(2))?;
    let (browser, mut http) = (Browser::new(7), place.http());
    for (index, member) in members.iter().enumerate().skip(members.len() / 2) {
        for device in 0..devices {
            let session = place.sign_in(member)?;
            if !subscribes {
                continue;
            }
            let body = browser.subscription(&format!("{}/{index}/{device}", service.origin), "text");
            http.ask("PUT", "/api/v1/push", &session.access, &body)?.good()?;
        }
    }
    let mut devices = Devices { service, before: 0 };
    devices.before = devices.sent(place)?;
    Ok((talk::one_way(place, &members)?, devices))
}

fn distant_service() -> Service {
    let start = || {
        let thread = std::fs::read_link("/proc/thread-self").expect("the name of this thread");
        let id = thread.file_name().expect("its number").to_owned();
        // The threads that the service starts inherit it.
        let lowered = Command::new("renice").args(["-n", "19", "-p"]).arg(id).stdout(Stdio::null()).status();
        assert!(lowered.expect("renice runs").success(), "the priority of the push service was not lowered");
        Service::start()
    };
    std::thread::spawn(start).join().expect("a push service")
}

impl Devices {
    /// Notifications that the server has sent so far.
    pub fn sent(&self, place: &Place) -> io::Result<u64> {
        place.metric("natter_pushes_total")
    }

    /// Judges the notifications of the load.
    pub fn verify(&self, place: &Place) -> io::Result<Check> {
        let sent = self.sent(place)? - self.before;
        let failed = place.metric("natter_push_failures_total")?;
        let arrived = self.service.arrived.try_iter().count() as u64;
        Ok(Check::new(
            failed == 0 && arrived >= sent,
            format!("{sent} notifications were sent and {arrived} arrived, {failed} failed"),
        ))
    }
}
