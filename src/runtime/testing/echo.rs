//! A machine that echoes its input, in its own event loop.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::unix::pipe::{self, Receiver, Sender};

use super::{Folder, Idle, PATIENCE, ScriptedWorker, Store, job, write};
use crate::base::id::Id;
use crate::base::open_file::OpenFile;
use crate::base::send_queue::{Segment, SendQueue};
use crate::base::slab::Key;
use crate::base::time::Now;
use crate::limits::MemoryShares;
use crate::model::metrics::ErrorKind;
use crate::proto::tls::server::Acceptor;
use crate::runtime::queue::lock;
use crate::runtime::{
    Asked, DatabaseSpace, Listen, Listeners, Machine, PoolKind, Runtime, RuntimeOptions, ServeFault, Stops,
    Writes,
};
use crate::server::contract::{ConnId, Effect, Input, ListenerKind};

/// Above it the machine wants no more bytes of a connection.
pub const QUEUE_MAX: usize = 65_536;

/// The state that a test reads.
#[derive(Default)]
pub struct Seen {
    pub failed: usize,
    pub ended: usize,
    pub memory_max: usize,
    /// Connections whose bytes the machine does not want at the moment.
    pub paused: usize,
    /// Of each TLS handshake that was completed, whether it resumed a session.
    pub secured: Vec<bool>,
    pub errors: Vec<ErrorKind>,
    pub peers: Vec<(IpAddr, ListenerKind)>,
}

#[derive(Default)]
struct Conn {
    queue: SendQueue,
    reading: bool,
    ended: bool,
}

/// Echoes. A message that is a command instead causes an effect, and the answer is its result.
pub struct Echo {
    conns: BTreeMap<ConnId, Conn>,
    effects: VecDeque<Effect>,
    pub conns_max: usize,
    pub file: Option<PathBuf>,
    /// Never drained, and reads nothing.
    pub stubborn: bool,
    draining: bool,
    pub asked: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Seen>>,
}

impl Echo {
    pub fn new() -> Echo {
        Echo {
            conns: BTreeMap::new(),
            effects: VecDeque::new(),
            conns_max: 1_000,
            file: None,
            stubborn: false,
            draining: false,
            asked: Arc::default(),
            seen: Arc::default(),
        }
    }

    fn send(&mut self, conn: ConnId, text: &str) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.queue.push_bytes(text.as_bytes());
            self.effects.push_back(Effect::Flush(conn));
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let ticket = Key::from_u64(conn.0);
        let upload = Id::from_u128(u128::from(conn.0));
        match bytes {
            b"store" => {
                self.effects.push_back(Effect::Write { ticket, lane: conn.lane(), write: write(1) });
            }
            b"hash" | b"panic" => {
                self.effects.push_back(Effect::Work { ticket, job: job(&String::from_utf8_lossy(bytes)) });
            }
            b"append" => {
                self.effects.push_back(Effect::Append { upload, bytes: bytes.to_vec(), last: false })
            }
            b"file" => {
                let file = self.file.as_ref().and_then(|path| File::open(path).ok()).expect("a file");
                let len = 1_000_000;
                let entry = self.conns.get_mut(&conn).expect("it is open");
                entry.queue.push_bytes(b"head");
                entry.queue.push(Segment::File {
                    file: Arc::new(OpenFile::new(file, Arc::new(drop))),
                    offset: 0,
                    len,
                });
                entry.queue.push_bytes(b"tail");
                self.effects.push_back(Effect::Flush(conn));
            }
            _ => {
                let entry = self.conns.get_mut(&conn).expect("it is open");
                entry.queue.push(Segment::Owned(bytes.to_vec()));
                entry.reading = entry.queue.memory() < QUEUE_MAX;
                let mut seen = lock(&self.seen);
                seen.paused += usize::from(!entry.reading);
                seen.memory_max = seen.memory_max.max(entry.queue.memory());
                self.effects.push_back(Effect::Flush(conn));
            }
        }
    }

    /// After bytes were sent, after the peer's end, and after the request to stop.
    fn resume(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let reading = !entry.ended && entry.queue.memory() < QUEUE_MAX;
        if reading && !std::mem::replace(&mut entry.reading, reading) {
            lock(&self.seen).paused -= 1;
            self.effects.push_back(Effect::Flush(conn));
        }
        if (entry.ended || self.draining) && entry.queue.is_empty() {
            self.conns.remove(&conn);
            self.effects.push_back(Effect::Close(conn));
        }
    }
}

impl Machine for Echo {
    fn handle(&mut self, _now: Now, input: Input<'_>) {
        match input {
            Input::Accepted { conn, peer, listener_kind } => {
                lock(&self.seen).peers.push((peer, listener_kind));
                self.conns.insert(conn, Conn { reading: true, ..Conn::default() });
            }
            Input::Received { conn, bytes } => self.received(conn, bytes),
            Input::Sent { conn, .. } => self.resume(conn),
            Input::Ended { conn } => {
                lock(&self.seen).ended += 1;
                self.conns.get_mut(&conn).expect("it is open").ended = true;
                self.effects.push_back(Effect::ShutdownWrite(conn));
                self.resume(conn);
            }
            Input::Failed { conn } => {
                lock(&self.seen).failed += 1;
                assert!(self.conns.remove(&conn).is_some(), "it is informed once");
            }
            Input::Answered { ticket, outcome } => {
                let text = match outcome.result {
                    Ok(_) => "stored".to_owned(),
                    Err(refusal) => format!("{refusal:?}"),
                };
                self.send(ConnId(ticket.to_u64()), &text);
            }
            Input::Finished { ticket, done } => self.send(ConnId(ticket.to_u64()), &format!("{done:?}")),
            Input::Appended { upload, bytes, .. } => {
                self.send(ConnId(upload.low()), &format!("appended {bytes}"));
                self.effects.push_back(Effect::Abandon { upload });
            }
            Input::DiskFailed { upload, full } => {
                self.send(ConnId(upload.low()), &format!("disk failed, full: {full}"));
            }
            Input::BackgroundErrors { kind, count, .. } => {
                lock(&self.seen).errors.extend((0..count).map(|_| kind));
            }
            Input::Storage(_) | Input::LogDropped(_) | Input::Tick | Input::Reload => {}
            // It is alone.
            Input::Happened(_) | Input::Whispered { .. } | Input::PeerState { .. } | Input::Progressed(_) => {
            }
            Input::Secured { resumed, .. } => lock(&self.seen).secured.push(resumed),
            Input::NotTls { conn } => self.send(conn, "not tls"),
            Input::Drain => {
                self.draining = true;
                let conns: Vec<ConnId> = self.conns.keys().copied().collect();
                if !self.stubborn {
                    conns.into_iter().for_each(|conn| self.resume(conn));
                }
            }
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        !self.stubborn && self.conns.get(&conn).is_some_and(|conn| conn.reading)
    }

    fn is_of_member(&self, _conn: ConnId) -> bool {
        false
    }

    fn send_queue(&mut self, conn: ConnId) -> Option<&mut SendQueue> {
        self.conns.get_mut(&conn).map(|conn| &mut conn.queue)
    }

    fn is_accepting(&self) -> bool {
        !self.draining && self.conns.len() < self.conns_max
    }

    fn is_proxy(&self, _peer: IpAddr) -> bool {
        false
    }

    fn is_drained(&self) -> bool {
        !self.stubborn && self.draining && self.conns.is_empty()
    }
}

struct Pipe(Receiver);

impl Stops for Pipe {
    fn receiver(&mut self) -> &mut Receiver {
        &mut self.0
    }

    fn drain(&mut self) -> Asked {
        let mut bytes = [0; 8];
        Asked { stops: self.0.read(&mut bytes).map_or(0, |count| count as u32), reload: false }
    }
}

/// A running loop with its own port and folder.
pub struct Running {
    pub address: SocketAddr,
    pub folder: Folder,
    pub stop: Sender,
    thread: JoinHandle<Result<(), ServeFault>>,
}

impl Running {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    pub fn stop(mut self) -> Result<(), ServeFault> {
        // The loop may have ended already.
        let _ = self.stop.write(b"1");
        self.thread.join().expect("no panic")
    }
}

pub fn start(machine: Echo) -> Running {
    start_with(machine, PATIENCE)
}

/// [`start`] with TLS.
#[cfg(feature = "tls")]
pub fn start_secure(machine: Echo) -> Running {
    run(machine, PATIENCE, Some(super::secure::acceptor()))
}

/// [`start`] with another limit of the time from the request to stop to the end.
pub fn start_with(machine: Echo, drain_max: Duration) -> Running {
    run(machine, drain_max, None)
}

fn run(machine: Echo, drain_max: Duration, acceptor: Option<Acceptor>) -> Running {
    let folder = Folder::new();
    let public = Listen::Bind("127.0.0.1:0".parse().expect("an address"));
    let listen = Listeners { public, redirect: None };
    let options = RuntimeOptions {
        acceptor,
        control: Some(folder.join("control.sock")),
        uploads: folder.to_path_buf(),
        database_space: DatabaseSpace { data: folder.to_path_buf(), bytes: 0 },
        connections_max: 1_000,
        appends_max: MemoryShares::default().uploads,
        notify: None,
        log_dropped: Arc::default(),
        on_reload: None,
    };
    let runtime = Runtime::bind(listen, options).expect("bound");
    let address = runtime.address();
    let (stop, receiver) = pipe::new().expect("a pipe");
    let storage = {
        let readers = vec![Store::default(), Store::default()];
        runtime.storage(Store::default(), Writes::alone(), readers, Store::default(), Idle).expect("threads")
    };
    let mut workers = runtime.workers();
    workers.add(PoolKind::Password, ScriptedWorker::default).expect("threads");
    let thread = std::thread::spawn(move || {
        runtime.serve_at_most(drain_max, machine, Pipe(receiver), storage, workers)
    });
    Running { address, folder, stop, thread }
}
