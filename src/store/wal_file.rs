//! The WAL as a file: finds the current log in it, proves it on disk, and removes what earlier logs left.
//!
//! SQLite writes one log after another into the same file, each from its beginning, and marks each frame with the number of
//! its log (<https://www.sqlite.org/fileformat2.html#walformat>: salt-1 increases by one with each log). After the frames of
//! the current log the file still holds the rest of earlier ones. Knows nothing of transactions: the caller holds the
//! database's write lock, so that no other connection writes to the file.
//! Invariant: no frame of the current log is removed or changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::base::no_follow::NO_FOLLOW;

const HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
/// Offset of the log's number in the header of the file and in that of a frame.
const NUMBER_IN_HEADER: u64 = 16;
const NUMBER_IN_FRAME: u64 = 8;
/// Bytes that are written again at once.
const COPY_BYTES: u64 = 1 << 20;

pub struct WalFile {
    file: File,
    frames: u64,
    frame_bytes: u64,
    /// The number of the current log.
    pub number: u32,
}

impl WalFile {
    /// `None` if the file holds no log.
    pub fn open(path: &Path, page_bytes: u64) -> io::Result<Option<WalFile>> {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW).open(path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let Some(bytes) = file.metadata()?.len().checked_sub(HEADER_BYTES) else { return Ok(None) };
        let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
        let number = number_at(&file, NUMBER_IN_HEADER)?;
        Ok(Some(WalFile { file, frames: bytes / frame_bytes, frame_bytes, number }))
    }

    /// Shortens the file by the frames that are of neither the current log nor one of the `kept` logs before it.
    pub fn remove_earlier(&self, kept: u32) -> io::Result<()> {
        let frames = self.frames_since(kept)?;
        if frames == self.frames {
            Ok(())
        } else {
            self.file.set_len(HEADER_BYTES + frames * self.frame_bytes)
        }
    }

    /// Writes the current log again as it is, and syncs it. A page whose sync has failed is clean, and another sync would not
    /// write it; after this, all of them are on disk.
    pub fn rewrite(&self) -> io::Result<()> {
        let end = HEADER_BYTES + self.frames_since(0)? * self.frame_bytes;
        let mut buffer = vec![0; COPY_BYTES as usize];
        for at in (0..end).step_by(COPY_BYTES as usize) {
            let piece = &mut buffer[..(end - at).min(COPY_BYTES) as usize];
            self.file.read_exact_at(piece, at)?;
            self.file.write_all_at(piece, at)?;
        }
        self.file.sync_all()
    }

    /// How many frames are of the current log or of one of the `kept` logs before it.
    fn frames_since(&self, kept: u32) -> io::Result<u64> {
        // Each log began at the beginning of the file: a frame is of the same log as the frame before it or of an earlier one.
        let (mut low, mut high) = (0, self.frames);
        while low < high {
            let middle = low + (high - low) / 2;
            let number = number_at(&self.file, HEADER_BYTES + middle * self.frame_bytes + NUMBER_IN_FRAME)?;
            if self.number.wrapping_sub(number) <= kept { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

fn number_at(file: &File, offset: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;

    const PAGE: u64 = 512;

    /// A file whose current log has `current`, and whose frames have `numbers`.
    fn file(path: &Path, current: u32, numbers: &[u32]) {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[16..20].copy_from_slice(&current.to_be_bytes());
        for number in numbers {
            let mut frame = vec![0; (FRAME_HEADER_BYTES + PAGE) as usize];
            frame[8..12].copy_from_slice(&number.to_be_bytes());
            bytes.extend(frame);
        }
        std::fs::write(path, bytes).expect("written");
    }

    #[test]
    fn only_frames_of_earlier_logs_are_removed() {
        let folder = Folder::new();
        let path = folder.join("natter.db-wal");
        assert!(WalFile::open(&path, PAGE).expect("no file").is_none());
        for (current, numbers, kept, left) in [
            (7, &[][..], 0, 0),
            (7, &[7, 7, 7], 0, 3),
            (7, &[7, 7, 6, 6, 5, 3], 0, 2),
            (7, &[7, 7, 6, 6, 5, 3], 1, 4),
            (7, &[6, 6, 5], 0, 0),
            (0, &[0, u32::MAX, u32::MAX - 1], 1, 2),
            // A value that no log before the current one has.
            (7, &[7, 8], 1, 1),
        ] {
            file(&path, current, numbers);
            let wal = WalFile::open(&path, PAGE).expect("read").expect("a log");
            assert_eq!(wal.number, current);
            let before = std::fs::read(&path).expect("a file");
            wal.rewrite().expect("written again");
            assert_eq!(std::fs::read(&path).expect("a file"), before);
            wal.remove_earlier(kept).expect("shortened");
            let length = path.metadata().expect("a file").len();
            let expected = HEADER_BYTES + left * (FRAME_HEADER_BYTES + PAGE);
            assert_eq!(length, expected, "{numbers:?}, {kept} kept");
        }
        std::fs::write(&path, b"").expect("written");
        assert!(WalFile::open(&path, PAGE).expect("an empty file").is_none());
    }
}
