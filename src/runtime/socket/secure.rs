//! The TLS layer of a socket: the server's bytes are plain, the kernel's are encrypted.
//!
//! Owns the session of a connection, when bytes are encrypted, and the rest of a record that the socket did not take. Leaves to
//! the loop which thread works on a handshake.
//! The send queue holds plain bytes, often shared with other queues. Bytes are encrypted a record at a time, when the socket can
//! take them, and leave the queue when the complete record is written. So the queue is empty when the kernel has all bytes, as
//! without TLS.
//! Invariant: a connection holds at most one record of encrypted bytes, and a part of a file only while its socket takes bytes.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;

use super::{Ending, FILE_PIECE_MIN, Flushed, Incoming, Socket, Stream, WRITE_SLICES_MAX, WRITE_TURN_MAX};
use crate::base::open_file::OpenFile;
use crate::base::send_queue::{Front, SendQueue};
use crate::proto::tls::TlsError;
use crate::proto::tls::server::{Acceptor, Session, begins_tls};
use crate::server::contract::ListenerKind;

/// Bytes read at once before the handshake is complete: a client may send a request right after its last message, and rustls
/// takes no more than a record before it has worked on it.
const HANDSHAKE_READ: usize = 4_096;
/// Plain bytes of one record: the most that TLS allows (RFC 8446 §5.1).
const RECORD_MAX: usize = 16_384;
/// The same for a socket that did not take a record at once: thousands of slow readers hold the rest of one each.
const RECORD_SLOW: usize = 4_096;
/// See [`Socket::secure`].
pub(super) struct Secure {
    state: State,
    /// The handshake is complete.
    established: bool,
    /// Plain bytes at the front of the queue that are encrypted, and not all written.
    unsent: usize,
    /// The socket has not taken all since it blocked.
    slow: bool,
    piece: Option<Piece>,
    /// close_notify was queued.
    closed: bool,
}

enum State {
    /// No byte was received.
    Fresh,
    Ready(Box<Session>),
    /// A part of the handshake waits for its turn.
    Waiting(Box<Session>),
    /// A thread has the session.
    Away,
}

/// A part of a file in memory.
struct Piece {
    file: Arc<OpenFile>,
    from: u64,
    bytes: Vec<u8>,
}

/// The meaning of bytes that were received.
#[derive(Debug)]
pub enum Came {
    /// Not TLS. From here on the socket is a plain one.
    NotTls,
    /// A part of a message: nothing to do yet.
    Partial,
    /// A part of the handshake needs a thread. Until it is done, nothing more is read.
    Part,
    /// Decrypted bytes, perhaps none.
    Traffic {
        ended: bool,
        output: bool,
    },
    Broken(TlsError),
}

impl Secure {
    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Ready(session) => Some(session),
            State::Fresh | State::Waiting(_) | State::Away => None,
        }
    }

    /// Gathers and encrypts what is at the front of the queue. `None` if it is a file whose bytes are not here.
    fn encrypt(&mut self, queue: &SendQueue) -> Option<Result<usize, TlsError>> {
        let most = if self.slow { RECORD_SLOW } else { RECORD_MAX };
        let State::Ready(session) = &mut self.state else { return None };
        if let Front::File { file, offset, len } = queue.front() {
            let piece = self.piece.as_ref()?;
            let at = usize::try_from(offset.checked_sub(piece.from)?).ok()?;
            let rest =
                piece.bytes.get(at..).filter(|rest| !rest.is_empty() && Arc::ptr_eq(&piece.file, &file))?;
            let most = most.min(usize::try_from(len).unwrap_or(most));
            return Some(session.encrypt(&[IoSlice::new(rest)], most));
        }
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        let filled = queue.slices(&mut slices);
        Some(session.encrypt(&slices[..filled], most))
    }
}

impl Socket {
    /// A socket whose peer is expected to speak TLS.
    pub fn secure(stream: TcpStream, peer: IpAddr) -> Socket {
        let secure = Secure {
            state: State::Fresh,
            established: false,
            unsent: 0,
            slow: false,
            piece: None,
            closed: false,
        };
        let socket = Socket::new(Stream::Tcp(stream), ListenerKind::Tls, peer);
        Socket { secure: Some(Box::new(secure)), ..socket }
    }

    pub fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// Whether a part of its handshake is with a thread, or waits for one.
    pub fn is_held(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| matches!(secure.state, State::Waiting(_) | State::Away))
    }

    /// How many bytes may be read at once.
    pub(super) fn read_max(&self) -> usize {
        match &self.secure {
            Some(secure) if !secure.established => HANDSHAKE_READ,
            _ => usize::MAX,
        }
    }

    /// Takes bytes that were read from a secure socket, and appends the decrypted ones to `plain`.
    pub fn decrypt(&mut self, wire: &[u8], plain: &mut Vec<u8>, acceptor: &Acceptor) -> Came {
        let Some(secure) = &mut self.secure else { return Came::NotTls };
        if let State::Fresh = secure.state {
            if !wire.first().is_some_and(|first| begins_tls(*first)) {
                self.secure = None;
                return Came::NotTls;
            }
            match acceptor.accept() {
                Ok(session) => secure.state = State::Ready(Box::new(session)),
                Err(error) => return Came::Broken(error),
            }
        }
        let State::Ready(mut session) = std::mem::replace(&mut secure.state, State::Away) else {
            return Came::Partial; // a thread has it: such a socket is not read
        };
        if !session.is_handshaking() {
            let received = session.receive(wire, plain);
            let came = match received {
                Ok(()) => Came::Traffic { ended: session.peer_closed(), output: session.has_output() },
                Err(error) => Came::Broken(error),
            };
            secure.state = State::Ready(session);
            return came;
        }
        let taken = session.take(wire);
        let is_part = matches!(taken, Ok(true));
        secure.state = if is_part { State::Waiting(session) } else { State::Ready(session) };
        match taken {
            Ok(true) => Came::Part,
            Ok(false) => Came::Partial,
            Err(error) => Came::Broken(error),
        }
    }

    /// The session of a connection whose turn it is, for a thread.
    pub fn take_session(&mut self) -> Option<Box<Session>> {
        let secure = self.secure.as_mut()?;
        match std::mem::replace(&mut secure.state, State::Away) {
            State::Waiting(session) => Some(session),
            other => {
                secure.state = other;
                None
            }
        }
    }

    /// A thread has worked on the session. If that completed the handshake, returns whether it resumed an earlier session.
    /// Decrypted bytes that came with its last messages are appended to `plain`.
    pub fn put_session(
        &mut self,
        mut session: Box<Session>,
        plain: &mut Vec<u8>,
    ) -> Result<Option<bool>, TlsError> {
        let Some(secure) = &mut self.secure else { return Ok(None) };
        let taken = session.take_plain(plain);
        let is_new = !session.is_handshaking()
            && !std::mem::replace(&mut secure.established, !session.is_handshaking());
        let resumed = is_new.then(|| session.is_resumed());
        secure.state = State::Ready(session);
        taken.map(|()| resumed)
    }

    /// Whether the peer is an authority that looks at a challenge.
    pub fn is_challenge(&mut self) -> bool {
        self.secure.as_mut().and_then(|secure| secure.session()).is_some_and(|session| session.is_challenge())
    }

    /// The peer has ended its side by close_notify.
    pub fn peer_closed(&mut self) -> bool {
        self.secure.as_mut().and_then(|secure| secure.session()).is_some_and(Session::peer_closed)
    }

    /// The peer will send nothing more.
    pub fn end_incoming(&mut self) {
        self.incoming = Incoming::Ended;
    }

    /// Writes an alert or close_notify before the socket is closed, if the socket takes it at once.
    pub fn say_goodbye(&mut self) {
        let Some(secure) = &mut self.secure else { return };
        let (is_established, unsent) = (secure.established, secure.unsent);
        let Some(session) = secure.session() else { return };
        if is_established && unsent == 0 {
            session.close();
        }
        if session.has_output() {
            // The socket is closed either way.
            let written = session.write_to(&mut self.stream);
            log::trace!("an alert was {}", if written.is_ok() { "sent" } else { "not sent" });
        }
    }

    /// Whether a thread has to read parts of files into memory for it.
    pub fn needs_bytes(&self) -> bool {
        self.secure.is_some()
    }

    /// A part of a file was read for a secure socket. If the socket takes nothing, it is dropped: it will be read again.
    pub(super) fn bytes_arrived(&mut self, file: Arc<OpenFile>, from: u64, bytes: Vec<u8>) {
        self.is_reading_piece = false;
        if let Some(secure) = self.secure.as_mut().filter(|_| self.writable) {
            secure.piece = Some(Piece { file, from, bytes });
        }
    }

    /// [`Socket::flush`] of a secure socket.
    pub(super) fn flush_secure(&mut self, queue: &mut SendQueue) -> (u64, Flushed) {
        let mut sent = 0;
        loop {
            let Some(secure) = self.secure.as_deref_mut() else { return (sent, Flushed::Broken) };
            let unsent = secure.unsent;
            let Some(session) = secure.session() else { return (sent, self.end_unspoken()) };
            if !self.writable {
                return (sent, Flushed::Done);
            }
            if session.has_output() {
                match session.write_to(&mut self.stream) {
                    Ok(0) => return (sent, Flushed::Broken),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.writable = false;
                        (secure.slow, secure.piece) = (true, None);
                        return (sent, Flushed::Done);
                    }
                    Err(_) => return (sent, Flushed::Broken),
                }
                continue;
            }
            if unsent > 0 {
                secure.unsent = 0;
                sent += unsent as u64;
                match queue.front() {
                    Front::File { .. } => queue.file_sent(unsent as u64),
                    Front::Bytes | Front::Empty => queue.advance(unsent),
                }
            }
            if queue.is_empty() {
                (secure.slow, secure.piece) = (false, None);
                if self.ending != Ending::Wanted || secure.closed || !secure.established {
                    return (sent, self.end_if_wanted());
                }
                secure.closed = true;
                secure.session().into_iter().for_each(Session::close);
                continue;
            }
            if !secure.established {
                return (sent, Flushed::Done);
            }
            if sent >= WRITE_TURN_MAX as u64 {
                return (sent, Flushed::Again);
            }
            match secure.encrypt(queue) {
                Some(Ok(count)) if count > 0 => secure.unsent = count,
                Some(_) => return (sent, Flushed::Broken),
                None => return (sent, self.wants_piece(queue)),
            }
        }
    }

    /// The next part of a file has to be read, unless it is being read.
    fn wants_piece(&mut self, queue: &SendQueue) -> Flushed {
        // The last part is sent: it is not kept while the next one is read.
        self.secure.iter_mut().for_each(|secure| secure.piece = None);
        match queue.front() {
            Front::File { file, offset, len } if !self.is_reading_piece => {
                // The bytes are in the memory of this process, so a part is as short as that of a slow socket.
                let len = len.min(FILE_PIECE_MIN as u64) as usize;
                Flushed::File { file, offset, len }
            }
            _ => Flushed::Done,
        }
    }

    /// Without a session nothing can be sent: the connection ends before its first byte, or within the handshake.
    fn end_unspoken(&mut self) -> Flushed {
        if self.is_held() { Flushed::Done } else { self.end_if_wanted() }
    }
}
