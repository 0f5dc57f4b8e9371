//! One connection's two pipes, and all that can happen to bytes on their way. Owns what is in flight; refuses to know what
//! the bytes mean. Invariant: bytes arrive in order and unchanged, or not at all.

use std::collections::VecDeque;

use super::random::Rng;

pub struct Link {
    /// Written by the client, not read by the server.
    pub up: VecDeque<u8>,
    /// The client will write nothing more; told to the server once `up` is read.
    pub up_ended: bool,
    pub end_told: bool,
    /// Written by the server, not read by the client.
    pub down: VecDeque<u8>,
    /// What `down` holds at most: the buffers of both kernels.
    capacity: usize,
    /// The server has closed or shut its side: the end stands behind `down`.
    pub down_ended: bool,
    /// The server was told to shut its side when its queue is empty.
    pub shut_asked: bool,
    /// The server still has its socket.
    pub server_open: bool,
    /// The client still has its socket.
    pub client_open: bool,
    /// The wire is cut: the server learns it at its next look.
    pub broken: bool,
    /// The client does not read.
    pub stalled: bool,
    /// The server has more to write than the link took.
    pub blocked: bool,
    /// Bytes move in pieces of at most so many.
    piece_max: usize,
    /// The server at the other end shuts down.
    pub draining: bool,
    /// Of the server it was opened to.
    pub epoch: String,
}

impl Link {
    pub fn new(rng: &mut Rng, epoch: &str) -> Link {
        let piece_max = [1, 3, 40, 1_400, 65_536, 65_536, 65_536][rng.below(7)];
        let capacity = [512, 4_096, 65_536, 1 << 20][rng.below(4)];
        Link {
            up: VecDeque::new(),
            up_ended: false,
            end_told: false,
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
            epoch: epoch.to_owned(),
        }
    }

    /// How many bytes the server's next write may take; fewer than it has is a short write.
    pub fn room(&self, rng: &mut Rng, wanted: usize) -> usize {
        let room = self.capacity.saturating_sub(self.down.len()).min(wanted);
        if room > 1 && rng.chance(200) { rng.between(1, room) } else { room }
    }

    /// The next piece on its way up.
    pub fn take_up(&mut self, rng: &mut Rng) -> Vec<u8> {
        let count = piece(rng, self.piece_max, self.up.len());
        self.up.drain(..count).collect()
    }

    /// The next piece on its way down.
    pub fn take_down(&mut self, rng: &mut Rng) -> Vec<u8> {
        let count = piece(rng, self.piece_max, self.down.len());
        self.down.drain(..count).collect()
    }

    /// The server closes its socket. Where it had not read everything, the peer's kernel gets a reset, which may overtake
    /// what is still on its way.
    pub fn close_server(&mut self, rng: &mut Rng) {
        self.server_open = false;
        self.down_ended = true;
        if !self.up.is_empty() && rng.chance(500) {
            let kept = rng.between(0, self.down.len());
            self.down.truncate(kept);
        }
        self.up.clear();
    }

    /// The wire is cut, or the client is gone: of what is on its way a part arrives.
    pub fn cut(&mut self, rng: &mut Rng) {
        self.broken = true;
        self.client_open = false;
        let arrives = rng.between(0, self.up.len());
        self.up.truncate(arrives);
        self.down.clear();
    }

    /// How many pieces may move at once, so that a connection of single bytes gets on too.
    pub fn pieces(&self, rng: &mut Rng) -> usize {
        rng.between(1, 1 + 400 / self.piece_max)
    }

    /// From now on bytes move as fast as they can.
    pub fn hurry(&mut self) {
        self.piece_max = 1 << 20;
        self.stalled = false;
    }

    pub fn is_gone(&self) -> bool {
        !self.server_open && !self.client_open
    }
}

fn piece(rng: &mut Rng, max: usize, available: usize) -> usize {
    let max = max.min(available);
    if max > 1 && rng.chance(250) { rng.between(1, max) } else { max }
}
