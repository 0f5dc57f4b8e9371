//! Frames on their way into the write-ahead log, held until their transaction is whole. SQLite writes each frame in two
//! pieces, a header and a page; a batch of five hundred posts is some 160 calls of the kernel, an eighth of the writer's
//! time, where three calls carry the same bytes to the same place.
//!
//! Owns the bytes that wait and the rule of when they may; refuses to know a file.
//! Invariant: nothing waits once the last page of a transaction was written, and nothing overtakes what waits: the file
//! goes through the states it would go through without this, and skips some.

use crate::limits::WAL_HELD_BYTES_MAX;

/// Bytes of a frame's header (<https://www.sqlite.org/fileformat2.html#walformat>).
const HEADER_BYTES: usize = 24;
/// Where the header says how large the database is after the transaction: 0 in every frame but its last.
const COMMIT_MARK: std::ops::Range<usize> = 4..8;

/// Writes bytes to an offset of the file.
pub type Put<'a, E> = &'a mut dyn FnMut(&[u8], u64) -> Result<(), E>;

#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// The offset in the file of the first held byte.
    start: u64,
    /// The last held header had the mark of a commit: its page ends the transaction.
    commits: bool,
}

impl Frames {
    /// Takes a piece for this offset, and holds it if it may wait. What is neither a header nor follows what is held is no
    /// frame being appended, and does not wait: the header of the file, a page that is written a second time in one
    /// transaction. A header whose checksum is written anew waits until the next is read, and that of a commit not at all.
    pub fn write<E>(&mut self, piece: &[u8], offset: u64, put: Put<'_, E>) -> Result<(), E> {
        let header = piece.len() == HEADER_BYTES;
        let commits = header && piece[COMMIT_MARK] != [0; 4];
        let follows = !self.bytes.is_empty() && offset == self.start + self.bytes.len() as u64;
        let begins = self.bytes.is_empty() && header && !commits;
        let room = piece.len() <= WAL_HELD_BYTES_MAX - self.bytes.len();
        if !(begins || follows) || !room || self.bytes.try_reserve(piece.len()).is_err() {
            self.flush(put)?;
            return put(piece, offset);
        }
        if begins {
            self.start = offset;
        }
        self.bytes.extend_from_slice(piece);
        if header {
            self.commits = commits;
            return Ok(());
        }
        if self.commits { self.flush(put) } else { Ok(()) }
    }

    /// Writes what is held. It is forgotten also when that fails: its transaction fails with it.
    pub fn flush<E>(&mut self, put: Put<'_, E>) -> Result<(), E> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let done = put(&self.bytes, self.start);
        self.bytes.clear();
        self.commits = false;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4_096;
    const FRAME: u64 = (HEADER_BYTES + PAGE) as u64;
    /// Where the first frame begins.
    const FIRST: u64 = 32;

    fn header(commits: bool) -> [u8; HEADER_BYTES] {
        let mut header = [7; HEADER_BYTES];
        header[COMMIT_MARK].copy_from_slice(if commits { &[0, 0, 0, 9] } else { &[0; 4] });
        header
    }

    /// A log in memory.
    #[derive(Default)]
    struct Log {
        frames: Frames,
        file: Vec<u8>,
        /// Offset and length of each write that reached the file.
        writes: Vec<(u64, usize)>,
        full: bool,
    }

    impl Log {
        fn write(&mut self, piece: &[u8], offset: u64) -> Result<(), &'static str> {
            let Log { frames, file, writes, full } = self;
            frames.write(piece, offset, &mut |bytes, offset| {
                if *full {
                    return Err("full");
                }
                let end = offset as usize + bytes.len();
                file.resize(file.len().max(end), 0);
                file[offset as usize..end].copy_from_slice(bytes);
                writes.push((offset, bytes.len()));
                Ok(())
            })
        }

        /// A whole frame at a place.
        fn frame(&mut self, place: u64, commits: bool) {
            let offset = FIRST + place * FRAME;
            self.write(&header(commits), offset).expect("a header");
            self.write(&[place as u8; PAGE], offset + HEADER_BYTES as u64).expect("a page");
        }

        fn holds(&self) -> usize {
            self.frames.bytes.len()
        }
    }

    #[test]
    fn a_transaction_is_one_write() {
        let mut log = Log::default();
        log.write(&[1; 32], 0).expect("the header of the file");
        for first in [0, 3] {
            log.frame(first, false);
            log.frame(first + 1, false);
            assert_eq!(log.holds() as u64, 2 * FRAME);
            log.frame(first + 2, true);
            assert_eq!(log.holds(), 0);
        }
        let frames = 3 * FRAME as usize;
        assert_eq!(log.writes, [(0, 32), (FIRST, frames), (FIRST + 3 * FRAME, frames)]);
    }

    #[test]
    fn a_transaction_of_one_page_waits_for_nothing() {
        let mut log = Log::default();
        log.frame(0, true);
        assert_eq!(log.writes, [(FIRST, HEADER_BYTES), (FIRST + HEADER_BYTES as u64, PAGE)]);
    }

    #[test]
    fn what_is_no_appended_frame_goes_directly_and_overtakes_nothing() {
        let page = [5; PAGE];
        let cases: [(&str, &[u8], u64); 5] = [
            ("the file's header", &[1; 32], 0),
            ("a page again", &page, FIRST + HEADER_BYTES as u64),
            ("a header again", &header(false), FIRST),
            ("the commit's header again", &header(true), FIRST + FRAME),
            ("a frame after a rollback", &header(false), FIRST + FRAME),
        ];
        for (name, piece, offset) in cases {
            let mut log = Log::default();
            log.frame(0, false);
            log.frame(1, false);
            log.write(piece, offset).expect(name);
            assert_eq!(log.writes, [(FIRST, 2 * FRAME as usize), (offset, piece.len())], "{name}");
            assert_eq!(log.holds(), 0, "{name}");
        }
    }

    /// Else what a commit published could wait until somebody asks for a sync, and without `synchronous=FULL` nobody does.
    #[test]
    fn the_header_of_a_commit_never_waits_alone() {
        let mut log = Log::default();
        for place in 0..2 {
            log.write(&header(true), FIRST + place * FRAME).expect("a header");
            assert_eq!(log.holds(), 0);
        }
    }

    #[test]
    fn a_transaction_beyond_the_bound_is_several_writes() {
        let mut log = Log::default();
        let fit = (WAL_HELD_BYTES_MAX as u64) / FRAME;
        for place in 0..3 * fit {
            log.frame(place, false);
            assert!(log.holds() <= WAL_HELD_BYTES_MAX);
        }
        log.frame(3 * fit, true);
        assert_eq!(log.holds(), 0);
        assert!(log.writes.len() < 12, "{:?}", log.writes);
        assert!(log.writes.iter().all(|(_, bytes)| *bytes <= WAL_HELD_BYTES_MAX));
        assert_eq!(log.file.len() as u64, FIRST + (3 * fit + 1) * FRAME);
        for place in 0..=3 * fit {
            let end = (FIRST + (place + 1) * FRAME) as usize;
            assert!(log.file[end - PAGE..end].iter().all(|byte| *byte == place as u8), "{place}");
        }
    }

    #[test]
    fn a_full_disk_is_told_once_and_what_was_held_is_gone() {
        let mut log = Log { full: true, ..Log::default() };
        log.frame(0, false);
        log.write(&header(true), FIRST + FRAME).expect("held");
        assert_eq!(log.write(&[1; PAGE], FIRST + FRAME + HEADER_BYTES as u64), Err("full"));
        assert_eq!(log.holds(), 0);
        log.full = false;
        log.frame(0, false);
        log.frame(1, true);
        assert_eq!(log.writes, [(FIRST, 2 * FRAME as usize)]);
    }
}
