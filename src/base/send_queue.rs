//! The queue of bytes to send on one socket.
//!
//! Owns their order and their count; leaves their meaning to the server and the sending to the runtime.
//! Invariant: `len()` is the sum of the queued bytes, and bytes are sent in the order in which they were queued.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::open_file::OpenFile;
use crate::limits::SEGMENT_COPY_MAX;

/// An owned segment below this joins the one before it: many small frames become one `writev` entry.
const SEGMENT_JOIN_MAX: usize = 4_096;
/// Room an owned segment begins with: an answer and an event.
const SEGMENT_ROOM: usize = 1_024;

/// A run of bytes to send. A part of a file is an offset and a length, not a buffer.
#[derive(Debug)]
pub enum Segment {
    Owned(Vec<u8>),
    /// Bytes that are also in other queues; `share` is the part of their memory that this queue counts.
    Shared {
        bytes: Arc<[u8]>,
        share: usize,
    },
    Static(&'static [u8]),
    /// `len` bytes of `file` from `offset`. The runtime reads them into the page cache and sends them from there, so none of
    /// them is in the memory of this process.
    File {
        file: Arc<OpenFile>,
        offset: u64,
        len: u64,
    },
}

impl Segment {
    /// Bytes of this segment. Those of the front segment that are already sent are included.
    pub fn len(&self) -> u64 {
        match self {
            Segment::Owned(bytes) => bytes.len() as u64,
            Segment::Shared { bytes, .. } => bytes.len() as u64,
            Segment::Static(bytes) => bytes.len() as u64,
            Segment::File { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that this segment holds, including bytes that are already sent.
    fn held(&self) -> usize {
        match self {
            Segment::Owned(bytes) => bytes.len(),
            Segment::Shared { share, .. } => *share,
            Segment::Static(_) | Segment::File { .. } => 0,
        }
    }

    /// The bytes in memory. `None` for a file.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Owned(bytes) => Some(bytes),
            Segment::Shared { bytes, .. } => Some(bytes),
            Segment::Static(bytes) => Some(bytes),
            Segment::File { .. } => None,
        }
    }
}

/// The kind of segment at the front of the queue.
#[derive(Debug)]
pub enum Front {
    Empty,
    /// Bytes in memory: gather them with [`SendQueue::slices`].
    Bytes,
    /// A part of a file: the runtime sends from it and calls [`SendQueue::file_sent`].
    File {
        file: Arc<OpenFile>,
        offset: u64,
        len: u64,
    },
}

#[derive(Debug, Default)]
pub struct SendQueue {
    segments: VecDeque<Segment>,
    /// Bytes of the front segment that are already sent (memory segments only).
    taken: usize,
    /// All bytes still to send, files included.
    len: u64,
    /// Bytes still to send that are in memory: the bound of a slow stream counts these.
    memory: usize,
    /// Memory of this process that the segments hold: the common bound of all queues counts this.
    held: usize,
}

impl SendQueue {
    pub fn new() -> SendQueue {
        SendQueue::default()
    }

    /// Bytes still to send, including those of files.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a file or a part of one is queued.
    pub fn has_file(&self) -> bool {
        self.len > self.memory as u64
    }

    /// Bytes still to send that are in memory.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Memory that the queue holds: its own bytes, and its share of the bytes that are also in other queues.
    pub fn held(&self) -> usize {
        self.held
    }

    pub fn push(&mut self, segment: Segment) {
        let len = segment.len();
        if len == 0 {
            return;
        }
        match segment {
            Segment::Owned(bytes) => self.push_owned(bytes),
            Segment::Shared { bytes, share } => self.push_share(bytes, share),
            other => {
                if other.bytes().is_some() {
                    self.memory += len as usize;
                }
                self.len += len;
                self.segments.push_back(other);
            }
        }
    }

    /// Queues a copy of `bytes`. It is appended to the last segment if that one is owned and stays small.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.push_parts(bytes, &[]);
    }

    /// As [`SendQueue::push_bytes`], for bytes in parts: a head, and what follows it.
    pub fn push_parts(&mut self, head: &[u8], rest: &[&[u8]]) {
        let len = head.len() + rest.iter().map(|part| part.len()).sum::<usize>();
        if len == 0 {
            return;
        }
        self.len += len as u64;
        self.memory += len;
        self.held += len;
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(head);
            rest.iter().for_each(|part| out.extend_from_slice(part));
        };
        if let Some(Segment::Owned(back)) = self.segments.back_mut()
            && back.len() + len <= SEGMENT_JOIN_MAX
        {
            if back.capacity() - back.len() < len {
                // A segment that outgrows its first capacity is followed by many more frames: it grows once, not by doubling.
                back.reserve_exact(SEGMENT_JOIN_MAX - back.len());
            }
            return append(back);
        }
        // More small frames usually follow in the same turn, and a drained queue frees the capacity.
        let room = if self.segments.is_empty() { SEGMENT_ROOM } else { SEGMENT_JOIN_MAX };
        let mut owned = Vec::with_capacity(len.max(room));
        append(&mut owned);
        self.segments.push_back(Segment::Owned(owned));
    }

    fn push_owned(&mut self, bytes: Vec<u8>) {
        if let Some(Segment::Owned(back)) = self.segments.back()
            && back.len() + bytes.len() <= SEGMENT_JOIN_MAX
        {
            return self.push_bytes(&bytes);
        }
        self.len += bytes.len() as u64;
        self.memory += bytes.len();
        self.held += bytes.len();
        self.segments.push_back(Segment::Owned(bytes));
    }

    /// Queues bytes that many queues share. Small ones are copied, large ones are referenced: for a small frame a copy took 6 ns
    /// per reader, a reference 42 ns, since all readers write one reference count. `sharers` is the number of these queues.
    pub fn push_shared(&mut self, bytes: Arc<[u8]>, sharers: usize) {
        if bytes.len() <= SEGMENT_COPY_MAX {
            return self.push_bytes(&bytes);
        }
        let share = bytes.len().div_ceil(sharers.max(1)) + size_of::<Segment>();
        self.push_share(bytes, share);
    }

    fn push_share(&mut self, bytes: Arc<[u8]>, share: usize) {
        self.len += bytes.len() as u64;
        self.memory += bytes.len();
        self.held += share;
        self.segments.push_back(Segment::Shared { bytes, share });
    }

    /// What the runtime sends next.
    pub fn front(&self) -> Front {
        match self.segments.front() {
            None => Front::Empty,
            Some(Segment::File { file, offset, len }) => {
                Front::File { file: Arc::clone(file), offset: *offset, len: *len }
            }
            Some(_) => Front::Bytes,
        }
    }

    /// Fills `out` with the memory segments at the front, up to the first file or the end of `out`. Returns how many it filled.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (segment, slot) in self.segments.iter().zip(out.iter_mut()) {
            let Some(bytes) = segment.bytes() else { break };
            let skip = if filled == 0 { self.taken } else { 0 };
            *slot = IoSlice::new(&bytes[skip..]);
            filled += 1;
        }
        filled
    }

    /// Marks `sent` bytes of the memory segments at the front as sent.
    pub fn advance(&mut self, mut sent: usize) {
        debug_assert!(sent <= self.memory);
        self.len -= sent as u64;
        self.memory -= sent;
        while sent > 0 {
            let Some(bytes) = self.segments.front().and_then(Segment::bytes) else { return };
            let left = bytes.len() - self.taken;
            if sent < left {
                self.taken += sent;
                return;
            }
            sent -= left;
            self.taken = 0;
            self.held -= self.segments.pop_front().map_or(0, |segment| segment.held());
        }
        if self.segments.is_empty() {
            // A drained queue frees its memory: thousands of idle sockets must cost nothing.
            self.segments = VecDeque::new();
        }
    }

    /// Marks `sent` bytes of the file at the front as sent.
    pub fn file_sent(&mut self, sent: u64) {
        let Some(Segment::File { offset, len, .. }) = self.segments.front_mut() else { return };
        debug_assert!(sent <= *len);
        *offset += sent;
        *len -= sent;
        self.len -= sent;
        if *len == 0 {
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            self.segments = VecDeque::new();
        }
    }

    /// Drops all queued bytes.
    pub fn clear(&mut self) {
        *self = SendQueue::new();
    }

    /// Takes all bytes in memory, in order; for tests and the simulation.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.memory);
        let mut slices = [IoSlice::new(&[]); 16];
        loop {
            let filled = self.slices(&mut slices);
            if filled == 0 {
                return all;
            }
            let before = all.len();
            slices[..filled].iter().for_each(|slice| all.extend_from_slice(slice));
            slices = [IoSlice::new(&[]); 16];
            self.advance(all.len() - before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn bytes_are_sent_in_order_for_writes_of_any_size() {
        let long: Arc<[u8]> = vec![b'x'; SEGMENT_COPY_MAX + 1].into();
        for step in [1, 3, 7, 4_000] {
            let mut queue = SendQueue::new();
            queue.push_bytes(b"abc");
            queue.push(Segment::Static(b"def"));
            queue.push_shared(Arc::clone(&long), 2);
            let share = long.len().div_ceil(2) + size_of::<Segment>();
            assert_eq!(queue.held(), 3 + share, "static bytes hold no memory of the queue");
            queue.push(Segment::Owned(b"end".to_vec()));
            let mut seen = Vec::new();
            while !queue.is_empty() {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = queue.slices(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
                let sent = all.len().min(step);
                seen.extend_from_slice(&all[..sent]);
                queue.advance(sent);
            }
            assert_eq!(seen.len(), 3 + 3 + long.len() + 3);
            assert!(seen.starts_with(b"abcdefx") && seen.ends_with(b"xend"));
            assert_eq!((queue.len(), queue.memory(), queue.held()), (0, 0, 0));
        }
    }

    #[test]
    fn a_file_is_sent_part_by_part_between_its_neighbours() {
        let file = Arc::new(OpenFile::new(File::open("/dev/null").expect("a device"), Arc::new(drop)));
        let mut queue = SendQueue::new();
        queue.push_bytes(b"head");
        queue.push(Segment::File { file, offset: 10, len: 6 });
        queue.push_bytes(b"tail");
        assert_eq!((queue.len(), queue.memory()), (14, 8));
        queue.advance(4);
        let Front::File { offset: 10, len: 6, .. } = queue.front() else { panic!("the file is in front") };
        queue.file_sent(4);
        let Front::File { offset: 14, len: 2, .. } = queue.front() else {
            panic!("the rest of it is in front")
        };
        assert_eq!((queue.len(), queue.memory()), (6, 4));
        queue.file_sent(2);
        assert_eq!(queue.take_bytes(), b"tail");
        assert!(queue.is_empty());
    }
}
