//! Sockets and their readiness as the kernel last reported it.
//!
//! Owns readiness and the system calls. Does not know what the bytes mean or whether the server wants them; [`secure`] is the
//! TLS layer of those that have one.
//! Invariant: each socket is registered once, edge-triggered, for both directions. Its readiness is stored here until a
//! call returns `WouldBlock`, or a read is short: epoll(7), question 9, promises an edge for later bytes.

mod secure;

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::kernel::send_file;
use crate::base::network::Prefix;
use crate::base::open_file::OpenFile;
use crate::base::send_queue::{Front, SendQueue};
use crate::base::slab::{Key, Slab};
use crate::server::contract::{ConnId, ListenerKind};
use secure::Secure;

pub use secure::Came;

/// Bytes written to one socket in one turn. Above it, the socket waits for the next turn, so that one fast receiver does
/// not delay others.
const WRITE_TURN_MAX: usize = 524_288;
/// Slices of one gather-write: small frames are joined before, so that more slices gain nothing.
const WRITE_SLICES_MAX: usize = 64;
/// Bytes read ahead of a socket that accepts them quickly. They are in the page cache, not in this process.
const FILE_PIECE_MAX: usize = 524_288;
/// Bytes read ahead of a slow socket: hundreds of slow downloads must not evict each other from the page cache.
const FILE_PIECE_MIN: usize = 65_536;
/// How long bytes that were read ahead are assumed to be in the page cache. After that a thread, which may block, reads
/// them again.
const FILE_PIECE_KEPT: Duration = Duration::from_secs(1);

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => send_file(stream, file, offset, len),
            Stream::Unix(stream) => send_file(stream, file, offset, len),
        }
    }

    /// A small frame must not wait for the acknowledgement of the previous one.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            Stream::Unix(_) => Ok(()),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, both),
            Stream::Unix(stream) => registry.register(stream, token, both),
        }
    }
}

/// For TLS, which writes by itself.
impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a read would return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    /// No bytes until the next event.
    Drained,
    /// Perhaps bytes.
    Waiting,
    /// The peer sends no more bytes, and a read returned its end.
    Ended,
}

/// The state of the writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// After the last queued byte, shut the writing side down.
    Wanted,
    Done,
}

pub struct Socket {
    stream: Stream,
    /// The TLS layer, if it has one.
    secure: Option<Box<Secure>>,
    pub listener_kind: ListenerKind,
    pub peer: IpAddr,
    incoming: Incoming,
    ending: Ending,
    writable: bool,
    /// The peer has closed its side: the end may follow a short read without an edge of its own.
    closing: bool,
    /// The kernel reported an error; the next read returns it.
    broken: bool,
    /// In the loop's list of sockets to read.
    pub listed: bool,
    /// In the loop's list of sockets to flush.
    pub dirty: bool,
    /// A piece of a file is being read for this socket.
    pub is_reading_piece: bool,
    /// Bytes of the next piece: doubled while the socket accepts all at once; after it blocked, what it accepted at once.
    piece: usize,
    /// The part of a file that can be sent without waiting for a disk.
    ahead: Option<Ahead>,
}

/// A part of a file that was read recently.
struct Ahead {
    file: Arc<OpenFile>,
    from: u64,
    until: u64,
    at: Instant,
}

/// The result of one read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// The result of a flush.
#[derive(Debug)]
pub enum Flushed {
    /// All is sent, or the socket accepts no more until an event.
    Done,
    /// The socket used its share of the turn.
    Again,
    /// A file is at the front: this part of it has to be read ahead. Flush again, because an earlier part may be sent
    /// meanwhile.
    File {
        file: Arc<OpenFile>,
        offset: u64,
        len: usize,
    },
    Broken,
}

impl Socket {
    pub fn new(stream: Stream, listener_kind: ListenerKind, peer: IpAddr) -> Socket {
        Socket {
            stream,
            secure: None,
            listener_kind,
            peer,
            incoming: Incoming::Drained,
            ending: Ending::Open,
            writable: false,
            closing: false,
            broken: false,
            listed: false,
            dirty: false,
            is_reading_piece: false,
            piece: FILE_PIECE_MIN,
            ahead: None,
        }
    }

    /// Records an event. Returns whether there may be bytes to read, and whether the socket became writable.
    pub fn record(&mut self, event: &mio::event::Event) -> (bool, bool) {
        self.closing |= event.is_read_closed();
        self.broken |= event.is_error();
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        if readable && self.incoming == Incoming::Drained {
            self.incoming = Incoming::Waiting;
        }
        let unblocked = event.is_writable() && !self.writable;
        self.writable |= event.is_writable();
        (readable, unblocked)
    }

    /// The networks with which it is read in turn.
    pub fn networks(&self) -> [Prefix; 2] {
        Prefix::networks(self.peer)
    }

    pub fn is_readable(&self) -> bool {
        self.incoming == Incoming::Waiting && !self.is_held()
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The bytes of a secure socket are then to be given to [`Socket::decrypt`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Read {
        let max = self.read_max().min(buffer.len());
        let buffer = &mut buffer[..max];
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.incoming = Incoming::Ended;
                    return Read::End;
                }
                Ok(count) => {
                    if count < buffer.len() && !self.closing && !self.broken {
                        self.incoming = Incoming::Drained;
                    }
                    return Read::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.incoming = Incoming::Drained;
                    return Read::Nothing;
                }
                Err(_) => {
                    self.broken = true;
                    return Read::Broken;
                }
            }
        }
    }

    /// Shuts the writing side down once the queue is empty.
    pub fn end_after_flush(&mut self) {
        if self.ending == Ending::Open {
            self.ending = Ending::Wanted;
        }
    }

    /// Writes as much of the queue as the socket accepts. Returns the number of bytes.
    pub fn flush(&mut self, queue: &mut SendQueue) -> (u64, Flushed) {
        if self.secure.is_some() {
            return self.flush_secure(queue);
        }
        let mut sent = 0;
        loop {
            let result = match queue.front() {
                Front::Empty => {
                    self.ahead = None; // closes a file that is completely sent
                    return (sent, self.end_if_wanted());
                }
                _ if !self.writable => return (sent, Flushed::Done),
                Front::File { file, offset, len } => {
                    let ahead = self.ahead_of(&file, offset).min(len);
                    if ahead < len && ahead < self.piece as u64 && !self.is_reading_piece {
                        let len = (len - ahead).min(self.piece as u64) as usize;
                        return (sent, Flushed::File { file, offset: offset + ahead, len });
                    }
                    if ahead == 0 {
                        return (sent, Flushed::Done);
                    }
                    if sent >= WRITE_TURN_MAX as u64 {
                        return (sent, Flushed::Again);
                    }
                    let most = ahead.min(WRITE_TURN_MAX as u64 - sent) as usize;
                    let result = self.stream.send_file(&file, offset, most);
                    if let Ok(count @ 1..) = result {
                        queue.file_sent(count as u64);
                    }
                    result
                }
                Front::Bytes if sent >= WRITE_TURN_MAX as u64 => return (sent, Flushed::Again),
                Front::Bytes => {
                    let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
                    let filled = queue.slices(&mut slices);
                    let result = self.stream.write_vectored(&slices[..filled]);
                    if let Ok(count) = result {
                        queue.advance(count);
                    }
                    result
                }
            };
            match result {
                // The socket accepts nothing, or the file is shorter than announced.
                Ok(0) => return (sent, Flushed::Broken),
                Ok(count) => sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.piece = (sent as usize).clamp(FILE_PIECE_MIN, FILE_PIECE_MAX);
                    return (sent, Flushed::Done);
                }
                Err(_) => return (sent, Flushed::Broken),
            }
        }
    }

    /// The number of bytes of a file from `offset` that were read recently.
    fn ahead_of(&self, file: &Arc<OpenFile>, offset: u64) -> u64 {
        self.ahead
            .as_ref()
            .filter(|ahead| Arc::ptr_eq(&ahead.file, file) && ahead.from <= offset)
            .filter(|ahead| ahead.at.elapsed() < FILE_PIECE_KEPT)
            .map_or(0, |ahead| ahead.until.saturating_sub(offset))
    }

    /// A piece was read: the next may be larger, unless the socket blocks on this one. `bytes` are here if the socket needs
    /// them in memory.
    pub fn piece_arrived(&mut self, file: Arc<OpenFile>, offset: u64, len: usize, bytes: Option<Vec<u8>>) {
        if let Some(bytes) = bytes {
            return self.bytes_arrived(file, offset, bytes);
        }
        self.is_reading_piece = false;
        self.piece = (self.piece * 2).min(FILE_PIECE_MAX);
        let until = offset + len as u64;
        // If it continues the previous part, that part is still in the page cache.
        let before = self.ahead.take().filter(|it| Arc::ptr_eq(&it.file, &file) && it.until == offset);
        let from = before.filter(|it| it.at.elapsed() < FILE_PIECE_KEPT).map_or(offset, |it| it.from);
        self.ahead = Some(Ahead { file, from, until, at: Instant::now() });
    }

    fn end_if_wanted(&mut self) -> Flushed {
        if self.ending == Ending::Wanted {
            self.ending = Ending::Done;
            if self.stream.shutdown_write().is_err() {
                return Flushed::Broken;
            }
        }
        Flushed::Done
    }
}

/// All open sockets. The poll token is only the slot, so that it fits a 32-bit `usize`. No event is stale, because all
/// events of a poll are recorded before the first socket of a turn is closed.
#[derive(Default)]
pub struct Sockets {
    slab: Slab<Socket>,
    by_slot: Vec<ConnId>,
}

impl Sockets {
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn insert(&mut self, socket: Socket, registry: &Registry) -> io::Result<ConnId> {
        let key = self.slab.insert(socket);
        let conn = ConnId(key.to_u64());
        let registered =
            self.slab.get_mut(key).map(|socket| socket.stream.register(registry, Token(conn.slot())));
        if let Some(Err(error)) = registered {
            self.slab.remove(key);
            return Err(error);
        }
        if self.by_slot.len() <= conn.slot() {
            self.by_slot.resize(conn.slot() + 1, conn);
        }
        self.by_slot[conn.slot()] = conn;
        Ok(conn)
    }

    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.slab.get_mut(Key::from_u64(conn.0))
    }

    pub fn of_token(&mut self, token: Token) -> Option<(ConnId, &mut Socket)> {
        let conn = *self.by_slot.get(token.0)?;
        self.slab.get_mut(Key::from_u64(conn.0)).map(|socket| (conn, socket))
    }

    /// Closes the socket by dropping it, which also removes it from the poll.
    pub fn remove(&mut self, conn: ConnId) -> Option<Socket> {
        self.slab.remove(Key::from_u64(conn.0))
    }
}

#[cfg(test)]
mod tests;
