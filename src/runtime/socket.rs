//! Sockets and what the kernel last said of each. Owns readiness and the system calls; refuses to know what the bytes
//! mean or whether the server wants them.
//! Invariant: each socket is registered once, edge-triggered, for both directions, so its readiness is remembered here
//! until a call says `WouldBlock`, or a read comes back short: epoll(7), question 9, promises an edge for what follows.

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::kernel::send_file;
use crate::base::send_queue::{Front, SendQueue};
use crate::base::slab::{Key, Slab};
use crate::server::contract::{ConnId, ListenerKind};

/// Bytes written to one socket in one turn. Beyond: it waits for the next turn, so that one fast reader stalls nobody.
const WRITE_TURN_MAX: usize = 524_288;
/// Slices of one gather-write: small frames are joined before they come here, so that more gain nothing.
const WRITE_SLICES_MAX: usize = 64;
/// Bytes read ahead of a socket that takes them as they come. They stand in the page cache, not in this process.
const FILE_PIECE_MAX: usize = 524_288;
/// Bytes read ahead of a socket that is slow: hundreds of slow downloads must not push each other out of the page cache.
const FILE_PIECE_MIN: usize = 65_536;
/// How long what was read ahead is believed to be in the page cache still. Beyond: it is read again, by a thread that may wait.
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

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => send_file(stream, file, offset, len),
            Stream::Unix(stream) => send_file(stream, file, offset, len),
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

/// What reading would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    /// Nothing until the next event.
    Drained,
    /// Perhaps bytes.
    Waiting,
    /// The peer sends no more, and was heard.
    Ended,
}

/// What writing would do, and whether the last byte is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// After the last queued byte, shut the writing side down.
    Wanted,
    Done,
}

pub struct Socket {
    stream: Stream,
    pub listener_kind: ListenerKind,
    incoming: Incoming,
    ending: Ending,
    writable: bool,
    /// The peer's end is coming: a short read may have the end right behind it, without an edge of its own.
    closing: bool,
    /// The kernel reported an error; reading will say which.
    broken: bool,
    /// In the loop's list of sockets to read.
    pub listed: bool,
    /// In the loop's list of sockets to flush.
    pub dirty: bool,
    /// A piece of a file is being read for this socket.
    pub piece_under_way: bool,
    /// Bytes of the next piece: doubled while the socket takes all at once, what it took at once after it blocked.
    piece: usize,
    /// What can be sent without waiting for a disk.
    ahead: Option<Ahead>,
}

/// A part of a file that was read a moment ago.
struct Ahead {
    file: Arc<File>,
    from: u64,
    until: u64,
    at: Instant,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// How a flush ended.
#[derive(Debug)]
pub enum Flushed {
    /// All is sent, or the socket takes no more; an event will tell.
    Settled,
    /// The turn's share is used up.
    Again,
    /// A file stands in front: this much of it is to be read ahead. Flush again: there may be something to send meanwhile.
    File {
        file: Arc<File>,
        offset: u64,
        len: usize,
    },
    Broken,
}

impl Socket {
    pub fn new(stream: Stream, listener_kind: ListenerKind) -> Socket {
        Socket {
            stream,
            listener_kind,
            incoming: Incoming::Drained,
            ending: Ending::Open,
            writable: false,
            closing: false,
            broken: false,
            listed: false,
            dirty: false,
            piece_under_way: false,
            piece: FILE_PIECE_MIN,
            ahead: None,
        }
    }

    /// Remembers an event; answers whether there may be something to read, and something to write again.
    pub fn note(&mut self, event: &mio::event::Event) -> (bool, bool) {
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

    pub fn is_readable(&self) -> bool {
        self.incoming == Incoming::Waiting
    }

    pub fn is_broken(&self) -> bool {
        self.broken
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> Read {
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

    /// Shut the writing side down once the queue is empty.
    pub fn end_after_flush(&mut self) {
        if self.ending == Ending::Open {
            self.ending = Ending::Wanted;
        }
    }

    /// Writes what the queue holds and the socket takes, and counts it.
    pub fn flush(&mut self, queue: &mut SendQueue) -> (u64, Flushed) {
        let mut sent = 0;
        loop {
            let result = match queue.front() {
                Front::Empty => {
                    self.ahead = None; // its file is open no longer than it is sent
                    return (sent, self.end_if_wanted());
                }
                _ if !self.writable => return (sent, Flushed::Settled),
                Front::File { file, offset, len } => {
                    let ahead = self.ahead_of(&file, offset).min(len);
                    if ahead < len && ahead < self.piece as u64 && !self.piece_under_way {
                        let len = (len - ahead).min(self.piece as u64) as usize;
                        return (sent, Flushed::File { file, offset: offset + ahead, len });
                    }
                    if ahead == 0 {
                        return (sent, Flushed::Settled);
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
                // Of a socket that takes nothing, or a file that ends before what was promised of it.
                Ok(0) => return (sent, Flushed::Broken),
                Ok(count) => sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.piece = (sent as usize).clamp(FILE_PIECE_MIN, FILE_PIECE_MAX);
                    return (sent, Flushed::Settled);
                }
                Err(_) => return (sent, Flushed::Broken),
            }
        }
    }

    /// Bytes of a file from an offset on that were read a moment ago.
    fn ahead_of(&self, file: &Arc<File>, offset: u64) -> u64 {
        self.ahead
            .as_ref()
            .filter(|ahead| Arc::ptr_eq(&ahead.file, file) && ahead.from <= offset)
            .filter(|ahead| ahead.at.elapsed() < FILE_PIECE_KEPT)
            .map_or(0, |ahead| ahead.until.saturating_sub(offset))
    }

    /// A piece came: the next may be larger, unless the socket blocks on this one.
    pub fn piece_arrived(&mut self, file: Arc<File>, offset: u64, len: usize) {
        self.piece_under_way = false;
        self.piece = (self.piece * 2).min(FILE_PIECE_MAX);
        let until = offset + len as u64;
        // Where it goes on from the one before, that one is still there.
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
        Flushed::Settled
    }
}

/// All open sockets. The poll token is the slot alone, so that it fits a 32-bit `usize`; no event is stale, since a
/// slot is reused only in the next turn's accepts, after a poll that can't name the old socket any more.
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

    /// Closes the socket by dropping it, which also takes it out of the poll.
    pub fn remove(&mut self, conn: ConnId) -> Option<Socket> {
        self.slab.remove(Key::from_u64(conn.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::send_queue::Segment;
    use crate::base::testing::Folder;
    use mio::{Events, Poll};
    use std::time::Duration;

    fn pair() -> (Poll, Socket, std::os::unix::net::UnixStream) {
        let poll = Poll::new().expect("a poll");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a flag");
        let mut socket = Socket::new(Stream::Unix(UnixStream::from_std(ours)), ListenerKind::Public);
        socket.stream.register(poll.registry(), Token(0)).expect("a registration");
        (poll, socket, theirs)
    }

    fn wait(poll: &mut Poll, socket: &mut Socket) -> (bool, bool) {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("a poll");
        let event = events.iter().next().expect("an event");
        socket.note(event)
    }

    #[test]
    fn a_short_read_drains_unless_the_end_may_stand_behind_it() {
        let (mut poll, mut socket, mut theirs) = pair();
        let mut buffer = [0; 8];
        theirs.write_all(b"abc").expect("a write");
        assert_eq!(wait(&mut poll, &mut socket), (true, true));
        assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(3), false));
        theirs.write_all(b"12345678").expect("a write");
        assert!(wait(&mut poll, &mut socket).0);
        assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(8), true));
        assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Nothing, false));
        theirs.write_all(b"de").expect("a write");
        drop(theirs);
        assert!(wait(&mut poll, &mut socket).0);
        assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(2), true));
        assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::End, false));
    }

    #[test]
    fn a_flush_stops_where_the_socket_does_and_ends_only_after_the_last_byte() {
        let (mut poll, mut socket, mut theirs) = pair();
        wait(&mut poll, &mut socket);
        let mut queue = SendQueue::new();
        let shared: Arc<[u8]> = vec![7; 100_000].into();
        (0..100).for_each(|_| queue.push_shared(Arc::clone(&shared), 100));
        socket.end_after_flush();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all.len())
        });
        let mut sent = 0;
        while !queue.is_empty() {
            let (count, flushed) = socket.flush(&mut queue);
            sent += count;
            assert!(count <= (WRITE_TURN_MAX + WRITE_SLICES_MAX * 100_000) as u64);
            match flushed {
                Flushed::Settled if queue.is_empty() => {}
                Flushed::Settled => while !wait(&mut poll, &mut socket).1 {},
                Flushed::Again => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, 10_000_000);
        assert_eq!(reader.join().expect("it ends").expect("it reads"), 10_000_000);
    }

    #[test]
    fn a_slow_socket_gets_small_pieces_of_a_file_and_a_fast_one_grows() {
        let (mut poll, mut socket, mut theirs) = pair();
        wait(&mut poll, &mut socket);
        let folder = Folder::new();
        let path = folder.join("file");
        let content: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).expect("a file");
        let file = Arc::new(File::open(&path).expect("a file"));
        let mut queue = SendQueue::new();
        queue.push(Segment::File { file, offset: 0, len: content.len() as u64 });
        let (sent, Flushed::File { file, offset: 0, len: FILE_PIECE_MIN }) = socket.flush(&mut queue) else {
            panic!("nothing is sent that was not read ahead");
        };
        assert_eq!(sent, 0);
        socket.piece_under_way = true;
        assert!(matches!(socket.flush(&mut queue), (0, Flushed::Settled)), "nothing to send, nothing to ask");
        socket.piece_arrived(file, 0, FILE_PIECE_MIN);
        assert_eq!(socket.piece, FILE_PIECE_MIN * 2);
        // Nobody reads: sooner or later the socket blocks, and no more is read ahead.
        let mut asked = FILE_PIECE_MIN;
        let mut sent = 0;
        while socket.writable {
            let (count, flushed) = socket.flush(&mut queue);
            sent += count;
            if let Flushed::File { file, offset, len } = flushed {
                assert_eq!(offset as usize, asked, "each part is read once");
                asked += len;
                socket.piece_arrived(file, offset, len);
            }
        }
        assert!(asked - sent as usize <= 2 * FILE_PIECE_MAX, "{asked} read, {sent} sent");
        assert_eq!(queue.memory(), 0);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all)
        });
        socket.end_after_flush();
        while !queue.is_empty() {
            match socket.flush(&mut queue).1 {
                Flushed::File { file, offset, len } => socket.piece_arrived(file, offset, len),
                Flushed::Settled if queue.is_empty() => {}
                Flushed::Settled => while !wait(&mut poll, &mut socket).1 {},
                Flushed::Again => {}
                Flushed::Broken => panic!("broken"),
            }
        }
        assert!(matches!(socket.flush(&mut queue), (0, Flushed::Settled)));
        assert!(reader.join().expect("it ends").expect("it reads") == content);
        // What was read long ago is not believed to be there.
        assert!(socket.ahead.is_none());
    }

    #[test]
    fn a_file_that_ends_too_early_ends_the_connection() {
        let (mut poll, mut socket, _theirs) = pair();
        wait(&mut poll, &mut socket);
        let file = Arc::new(File::open("/dev/null").expect("a device"));
        let mut queue = SendQueue::new();
        queue.push(Segment::File { file: Arc::clone(&file), offset: 0, len: 10 });
        socket.piece_arrived(file, 0, 10);
        assert!(matches!(socket.flush(&mut queue).1, Flushed::Broken));
    }
}
