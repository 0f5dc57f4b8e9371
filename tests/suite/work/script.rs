//! A server of one connection that plays a script on a real loopback socket.
//!
//! Each step waits for the expected bytes, then sends a line. Owns a thread; the received bytes are returned when it is
//! joined.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::support::net::PATIENCE;

/// One step: read until the bytes end in this (empty: don't read), then send this.
pub type Step = (&'static str, String);

pub struct Script {
    pub address: SocketAddr,
    thread: JoinHandle<Vec<u8>>,
}

impl Script {
    /// Plays `steps` to the first client that connects, then closes.
    pub fn play(steps: Vec<Step>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            // A second client would wait without end otherwise.
            drop(listener);
            socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
            let mut received = Vec::new();
            for (until, answer) in steps {
                if !until.is_empty() && !read_until(&mut socket, &mut received, until.as_bytes()) {
                    return received;
                }
                socket.write_all(answer.as_bytes()).expect("the client listens");
            }
            received
        });
        Script { address, thread }
    }

    /// All received bytes.
    pub fn received(self) -> String {
        String::from_utf8(self.thread.join().expect("no panic")).expect("UTF-8")
    }
}

/// `false` if the client closed first.
fn read_until(socket: &mut TcpStream, received: &mut Vec<u8>, until: &[u8]) -> bool {
    let from = received.len();
    let mut byte = [0];
    while !received[from..].ends_with(until) {
        match socket.read(&mut byte).expect("the client says something in time") {
            0 => return false,
            _ => received.push(byte[0]),
        }
    }
    true
}
