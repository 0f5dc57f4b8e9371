//! A hop between a real client and a real server: passes every byte on, and holds all of it against the documents.
//!
//! Owns its listener and the faults that it found; `Observer` reads the bytes. Invariant: a test that uses a hop fails if the
//! documents do not describe what went through it, or if nothing did.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::observer::Observer;

pub struct Hop {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    /// Exchanges, events and frames that were held against the documents.
    judged: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Hop {
    /// The server may be killed and started again at this address.
    pub fn to(server: SocketAddr) -> Hop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let seen = Arc::clone(&shared);
                // Either side may leave at any time; without a server the client is told by the end of its connection.
                std::thread::spawn(move || pass(client, server, &seen).ok());
            }
        });
        Hop { address, seen, accepting: Some(accepting) }
    }

    /// What it found, which is then no longer a fault of the test.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn judged(&self) -> usize {
        self.seen.judged.load(Ordering::SeqCst)
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the thread that accepts
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        if !std::thread::panicking() {
            let faults = self.take_faults();
            assert!(faults.is_empty(), "{faults:#?}");
            assert!(self.judged() > 0, "nothing went through the hop");
        }
    }
}

/// Reads what goes one way, before it is passed on: a response is never read before its request.
type Side = fn(&mut Observer, &[u8]);

fn pass(client: TcpStream, server: SocketAddr, seen: &Arc<Seen>) -> io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    for stream in [&client, &upstream] {
        stream.set_nodelay(true)?;
    }
    let observer = Arc::new(Mutex::new(Observer::default()));
    let up = {
        let (from, to) = (client.try_clone()?, upstream.try_clone()?);
        let (observer, seen) = (Arc::clone(&observer), Arc::clone(seen));
        std::thread::spawn(move || copy(from, to, &observer, Observer::sent, &seen))
    };
    let down = copy(upstream, client, &observer, Observer::received, seen);
    up.join().expect("no panic").and(down)
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    observer: &Mutex<Observer>,
    read: Side,
    seen: &Seen,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(count) => count,
            Err(error) => {
                let _ = to.shutdown(Shutdown::Both); // it may have left already
                return Err(error);
            }
        };
        observe(observer, read, &buffer[..count], seen);
        if let Err(error) = to.write_all(&buffer[..count]) {
            let _ = from.shutdown(Shutdown::Both);
            return Err(error);
        }
    }
}

fn observe(observer: &Mutex<Observer>, read: Side, bytes: &[u8], seen: &Seen) {
    let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
    let before = observer.judged();
    let outcome = catch_unwind(AssertUnwindSafe(|| read(&mut observer, bytes)));
    seen.judged.fetch_add(observer.judged() - before, Ordering::SeqCst);
    if let Err(payload) = outcome {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let mut faults = seen.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(text.unwrap_or_else(|| "a panic without a text".to_owned()));
        *observer = Observer::blind();
    }
}
