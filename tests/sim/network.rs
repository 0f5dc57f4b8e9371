//! One connection with its two byte streams, all that can happen to bytes on their way, and the connections of a server.
//!
//! Owns the bytes in flight and the slots of the connections. Does not know their meaning.
//! Invariant: bytes arrive in order and unchanged, or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;

use natter::base::send_queue::{Front, SendQueue};
use natter::server::Server;
use natter::server::contract::{ConnId, Input};

use super::random::Rng;
use crate::support::observer::Observer;

pub struct Link {
    /// Written by the client, not read by the server.
    pub up: VecDeque<u8>,
    /// The client will write no more; the server learns it once `up` is read.
    pub up_ended: bool,
    pub end_delivered: bool,
    /// Written by the server, not read by the client.
    pub down: VecDeque<u8>,
    /// The maximum of bytes in `down`: the buffers of both kernels.
    capacity: usize,
    /// The server has closed or shut its side: the end follows `down`.
    pub down_ended: bool,
    /// The server shuts its side when its queue is empty.
    pub shut_asked: bool,
    /// The server has its socket open.
    pub server_open: bool,
    /// The client has its socket open.
    pub client_open: bool,
    /// The network is cut: the server learns it at its next read.
    pub broken: bool,
    /// The client does not read.
    pub stalled: bool,
    /// The server has more bytes to write than the link took.
    pub blocked: bool,
    /// The maximum of bytes that move at once.
    piece_max: usize,
    /// The server at the other end shuts down.
    pub draining: bool,
    /// The server at the other end began with what is not proven to be on disk.
    pub began_unproven: bool,
    /// The epoch of the server it was opened to.
    pub epoch: String,
    /// Checks what the server reads and writes against the documents.
    pub observer: Observer,
}

impl Link {
    pub fn new(rng: &mut Rng, epoch: &str) -> Link {
        let piece_max = [1, 3, 40, 1_400, 65_536, 65_536, 65_536][rng.below(7)];
        let capacity = [512, 4_096, 65_536, 1 << 20][rng.below(4)];
        Link {
            up: VecDeque::new(),
            up_ended: false,
            end_delivered: false,
            down: VecDeque::new(),
            capacity,
            down_ended: false,
            shut_asked: false,
            server_open: true,
            client_open: true,
            broken: false,
            stalled: false,
            blocked: false,
            piece_max,
            draining: false,
            began_unproven: false,
            epoch: epoch.to_owned(),
            observer: Observer::default(),
        }
    }

    /// How many bytes the server's next write may take; fewer than it has is a short write.
    fn room(&self, rng: &mut Rng, wanted: usize) -> usize {
        let room = self.capacity.saturating_sub(self.down.len()).min(wanted);
        if room > 1 && rng.chance(200) { rng.between(1, room) } else { room }
    }

    /// The server writes to its socket, as far as that takes something. Returns what it wrote.
    fn flush(&mut self, rng: &mut Rng, queue: &mut SendQueue) -> Vec<u8> {
        let room = if self.broken { 0 } else { self.room(rng, queue.len() as usize) };
        let mut bytes = Vec::with_capacity(room);
        while bytes.len() < room {
            match queue.front() {
                Front::Empty => break,
                Front::Bytes => {
                    let mut slice = [IoSlice::new(&[])];
                    queue.slices(&mut slice);
                    let count = slice[0].len().min(room - bytes.len());
                    bytes.extend_from_slice(&slice[0][..count]);
                    queue.advance(count);
                }
                Front::File { file, offset, len } => {
                    let mut piece = vec![0; (room - bytes.len()).min(len as usize)];
                    file.read_exact_at(&mut piece, offset).expect("a piece of a file");
                    queue.file_sent(piece.len() as u64);
                    bytes.extend(piece);
                }
            }
        }
        self.blocked = !queue.is_empty();
        self.observer.received(&bytes);
        self.down.extend(&bytes);
        self.down_ended |= self.shut_asked && queue.is_empty();
        bytes
    }

    /// The next piece for the server.
    fn take_up(&mut self, rng: &mut Rng) -> Vec<u8> {
        let count = piece(rng, self.piece_max, self.up.len());
        self.up.drain(..count).collect()
    }

    /// The next piece for the client.
    pub fn take_down(&mut self, rng: &mut Rng) -> Vec<u8> {
        let count = piece(rng, self.piece_max, self.down.len());
        self.down.drain(..count).collect()
    }

    /// The server closes its socket. If it had unread bytes, the peer's kernel receives a reset, which may overtake bytes
    /// on their way.
    pub fn close_server(&mut self, rng: &mut Rng) {
        self.server_open = false;
        self.down_ended = true;
        if !self.up.is_empty() && rng.chance(500) {
            let kept = rng.between(0, self.down.len());
            self.down.truncate(kept);
        }
        self.up.clear();
    }

    /// The network is cut, or the client is gone: a part of the bytes on their way arrives.
    pub fn cut(&mut self, rng: &mut Rng) {
        self.broken = true;
        self.client_open = false;
        let arrives = rng.between(0, self.up.len());
        self.up.truncate(arrives);
        self.down.clear();
    }

    /// How many pieces may move at once, so that a connection of single bytes also makes progress.
    pub fn pieces(&self, rng: &mut Rng) -> usize {
        rng.between(1, 1 + 400 / self.piece_max)
    }

    /// From now on bytes move at full speed.
    pub fn hurry(&mut self) {
        self.piece_max = 1 << 20;
        self.stalled = false;
    }

    /// The server has nothing more to say on it, as far as it knows.
    pub fn is_quiet(&self) -> bool {
        self.server_open && self.client_open && !self.draining && !self.blocked && self.down.is_empty()
    }

    pub fn is_gone(&self) -> bool {
        !self.server_open && !self.client_open
    }
}

/// The connections of a server by their names, and which slots they take.
#[derive(Default)]
pub struct Links {
    links: BTreeMap<ConnId, Link>,
    slots: Vec<bool>,
}

/// What the server reads from a connection.
pub enum Arrived {
    Bytes(Vec<u8>),
    End,
    Reset,
}

impl Arrived {
    pub fn input(&self, conn: ConnId) -> Input<'_> {
        match self {
            Arrived::Bytes(bytes) => Input::Received { conn, bytes },
            Arrived::End => Input::Ended { conn },
            Arrived::Reset => Input::Failed { conn },
        }
    }
}

impl Links {
    /// A new connection in the first free slot. `generation` is another one for each.
    pub fn open(&mut self, generation: u32, link: Link) -> ConnId {
        let slot = self.slots.iter().position(|is_taken| !is_taken).unwrap_or(self.slots.len());
        self.slots.resize(self.slots.len().max(slot + 1), false);
        self.slots[slot] = true;
        let conn = ConnId(u64::from(generation) << 32 | slot as u64);
        self.links.insert(conn, link);
        conn
    }

    /// Those with input for the server: bytes that it reads, an end, a reset.
    pub fn readable(&self, server: &Server) -> Vec<ConnId> {
        let wants = |conn: ConnId, link: &Link| {
            let has_any = !link.up.is_empty() || link.up_ended && !link.end_delivered;
            link.server_open && (has_any && server.wants_read(conn) || link.broken)
        };
        self.links.iter().filter(|(conn, link)| wants(**conn, link)).map(|(conn, _)| *conn).collect()
    }

    /// The server reads once.
    pub fn read(&mut self, rng: &mut Rng, server: &Server, conn: ConnId) -> Option<Arrived> {
        let wants_read = server.wants_read(conn);
        let link = self.links.get_mut(&conn).filter(|link| link.server_open)?;
        if wants_read && !link.up.is_empty() {
            let bytes = link.take_up(rng);
            link.observer.sent(&bytes);
            return Some(Arrived::Bytes(bytes));
        }
        if link.broken {
            link.server_open = false;
            return Some(Arrived::Reset);
        }
        let is_end = wants_read && link.up_ended && !link.end_delivered;
        link.end_delivered |= is_end;
        is_end.then_some(Arrived::End)
    }

    /// Those that the server has more bytes for, and that can take some again.
    pub fn writable(&self) -> Vec<ConnId> {
        let is = |link: &Link| link.blocked && link.server_open && !link.broken;
        self.links.iter().filter(|(_, link)| is(link)).map(|(conn, _)| *conn).collect()
    }

    /// The server writes. Returns what the connection took.
    pub fn flush(&mut self, rng: &mut Rng, conn: ConnId, queue: &mut SendQueue) -> Vec<u8> {
        let link = self.links.get_mut(&conn).filter(|link| link.server_open);
        link.map_or_else(Vec::new, |link| link.flush(rng, queue))
    }

    pub fn shut_after_flush(&mut self, conn: ConnId) {
        self.links.entry(conn).and_modify(|link| link.shut_asked = true);
    }

    /// The server closes its socket.
    pub fn close(&mut self, rng: &mut Rng, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn).filter(|link| link.server_open) {
            link.close_server(rng);
        }
        self.slots[conn.slot()] = false;
    }

    /// The process of the server ends.
    pub fn close_all(&mut self, rng: &mut Rng) {
        self.links.values_mut().for_each(|link| link.close_server(rng));
        self.slots.iter_mut().for_each(|is_taken| *is_taken = false);
    }

    /// Removes those that neither side has open.
    pub fn sweep(&mut self) {
        self.links.retain(|_, link| !link.is_gone());
    }
}

impl Deref for Links {
    type Target = BTreeMap<ConnId, Link>;

    fn deref(&self) -> &BTreeMap<ConnId, Link> {
        &self.links
    }
}

impl DerefMut for Links {
    fn deref_mut(&mut self) -> &mut BTreeMap<ConnId, Link> {
        &mut self.links
    }
}

fn piece(rng: &mut Rng, max: usize, available: usize) -> usize {
    let max = max.min(available);
    if max > 1 && rng.chance(250) { rng.between(1, max) } else { max }
}
