//! Reads and writes the orientation, the only part of EXIF that is kept.
//!
//! It reads the orientation from a TIFF block that arrives in pieces, and writes the smallest block with nothing else. It reads
//! forward only: the first directory is after the header, so no byte needs to be held.

use super::gather::Gather;

/// Tag 0x0112, a SHORT (Exif 2.32, §4.6.4).
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

pub(super) struct OrientationReader {
    state: State,
    gather: Gather<12>,
    big_endian: bool,
    value: Option<u8>,
}

/// Each state is named after what it waits for.
enum State {
    Header,
    /// For the first directory, after this many bytes.
    Directory(u32),
    Count,
    Entries(u16),
    Done,
}

impl OrientationReader {
    pub(super) fn new() -> OrientationReader {
        OrientationReader { state: State::Header, gather: Gather::new(), big_endian: false, value: None }
    }

    /// 1 to 8; any other value is ignored.
    pub(super) fn value(&self) -> Option<u8> {
        self.value
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Header => {
                    if !self.gather.fill(8, input) {
                        return;
                    }
                    let head = self.gather.take();
                    self.big_endian = head[0] == b'M';
                    let offset = self.u32(&head[4..8]);
                    let known = matches!(&head[..4], b"II*\0" | b"MM\0*") && offset >= 8;
                    self.state = if known { State::Directory(offset - 8) } else { State::Done };
                }
                State::Directory(left) => {
                    let skip = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    *input = &input[skip..];
                    if skip as u64 != u64::from(left) {
                        self.state = State::Directory(left - skip as u32);
                        return;
                    }
                    self.state = State::Count;
                }
                State::Count => {
                    if !self.gather.fill(2, input) {
                        return;
                    }
                    let count = self.gather.take();
                    self.state = State::Entries(self.u16(&count));
                }
                State::Entries(0) => self.state = State::Done,
                State::Entries(left) => {
                    if !self.gather.fill(12, input) {
                        return;
                    }
                    let entry = self.gather.take();
                    self.state = State::Entries(left - 1);
                    let one_short = self.u16(&entry[2..]) == SHORT && self.u32(&entry[4..]) == 1;
                    if self.u16(&entry) == ORIENTATION && one_short {
                        self.value = u8::try_from(self.u16(&entry[8..])).ok().filter(|v| (1..=8).contains(v));
                        self.state = State::Done;
                    }
                }
                State::Done => return,
            }
        }
    }

    fn u16(&self, at: &[u8]) -> u16 {
        let bytes = [at[0], at[1]];
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, at: &[u8]) -> u32 {
        let bytes = [at[0], at[1], at[2], at[3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// A TIFF block with one directory of one entry; `None` for the default, upright.
pub(super) fn minimal(orientation: Option<u8>) -> Option<[u8; 26]> {
    let value = orientation.filter(|value| (2..=8).contains(value))?;
    let mut block = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    block[19] = value;
    Some(block)
}

pub(super) const LITTLE_HEADER: usize = 8;
pub(super) const LITTLE_DIRECTORY: usize = 18;

/// The header of a TIFF block of `len` bytes with the directory at its end: the content of the directory is known only when the
/// complete block that it replaces was read.
pub(super) fn little_header(len: u32) -> [u8; LITTLE_HEADER] {
    let mut header = *b"II*\0\0\0\0\0";
    header[4..].copy_from_slice(&(len - LITTLE_DIRECTORY as u32).to_le_bytes());
    header
}

/// A directory of one entry, the last in its block. A directory without an entry would be malformed, so upright is written too.
pub(super) fn little_directory(orientation: Option<u8>) -> [u8; LITTLE_DIRECTORY] {
    let mut directory = *b"\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    directory[10] = orientation.unwrap_or(1);
    directory
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(block: &[u8], expect: Option<u8>) {
        for at in 0..=block.len() {
            let mut reader = OrientationReader::new();
            reader.push(&block[..at]);
            reader.push(&block[at..]);
            assert_eq!(reader.value(), expect, "{block:?} split at {at}");
        }
        let mut reader = OrientationReader::new();
        block.chunks(1).for_each(|byte| reader.push(byte));
        assert_eq!(reader.value(), expect);
    }

    #[test]
    fn orientation_is_found_in_both_byte_orders_and_after_a_gap() {
        for value in 2..=8 {
            check(&minimal(Some(value)).expect("turned"), Some(value));
        }
        assert_eq!((minimal(Some(1)), minimal(Some(9)), minimal(None)), (None, None, None));
        let little =
            b"II*\0\x0c\0\0\0gap!\x02\0\x0f\x01\x02\0\x04\0\0\0abc\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        check(little, Some(6));
        for (at, byte) in
            [(0, b'X'), (4, 7), (12, 1), (26, 0x13), (28, 4), (30, 2), (34, 0), (34, 9), (35, 1)]
        {
            let mut bad = little.to_vec();
            bad[at] = byte;
            check(&bad, None);
        }
        check(&little[..30], None);
        check(b"MM\0*\xff\xff\xff\xff\0\x01", None);
        check(b"", None);
    }
}
