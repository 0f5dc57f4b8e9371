//! The listener at which the other nodes of a cluster give files and ask for them.
//!
//! Owns its threads: one accepts, and each connection has one until it is answered. Leaves the answer and its time limits to
//! `work::copies`.
//! Invariant: at most [`CONNECTIONS_MAX`] connections are answered at once; a further one is closed, and its node asks another one, or
//! later.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::inbox::Inbox;
use super::threads::spawn;
use crate::work::copies::Answerer;

/// Connections that are answered at once: each has a thread, and a file is read and written in parts of 64 KiB.
const CONNECTIONS_MAX: usize = 16;
/// The wait after `accept` failed, such as without a free descriptor.
const RETRY: Duration = Duration::from_millis(100);

/// Starts the thread that accepts. No code waits for its end, which is that of the process.
pub fn start(listener: TcpListener, answerer: Answerer, inbox: &Arc<Inbox>) -> io::Result<()> {
    let its_inbox = Arc::clone(inbox);
    start_thread("copies", inbox, Box::new(move || accept(&listener, &answerer, &its_inbox)))
}

/// One form of both threads.
fn start_thread(name: &str, inbox: &Arc<Inbox>, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    spawn(name, inbox, run).map(drop)
}

fn accept(listener: &TcpListener, answerer: &Answerer, inbox: &Arc<Inbox>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => {
                log::warn!(target: "natter::cluster", "no connection of another node is accepted now: {error}");
                std::thread::sleep(RETRY);
                continue;
            }
        };
        let slot = Slot::new(&open);
        if open.load(Ordering::Relaxed) > CONNECTIONS_MAX {
            log::debug!(target: "natter::cluster", "a connection of another node was closed: there are too many");
            continue;
        }
        let answerer = answerer.clone();
        let answer = move || {
            let _slot = slot;
            answerer.answer(socket);
        };
        let answered = start_thread("copy", inbox, Box::new(answer));
        if let Err(error) = answered {
            log::warn!(target: "natter::cluster", "no thread for a connection of another node: {error}");
        }
    }
}

/// One of the connections, until the value is dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn new(open: &Arc<AtomicUsize>) -> Slot {
        open.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(open))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
