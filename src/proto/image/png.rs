//! Filters PNG (W3C PNG, third edition) while it streams.
//!
//! Chunks that are needed to show the image stay byte for byte, with animation and colour; of the others only the orientation
//! in eXIf stays, in a chunk with nothing else. Unknown chunks are removed as metadata, so that a future chunk of a camera
//! cannot leak anything (and so is iDOT, which points at bytes that may have moved).
//!
//! Files that browsers show are accepted: check sums are not checked. After the pixel data has begun, the file is not
//! refused: the first bytes that cannot be parsed end it, and an IEND is added.

use super::exif::{self, OrientationReader};
use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

/// The signature and the complete IHDR chunk, with which every file begins.
const START: usize = 33;
const LENGTH_MAX: u32 = i32::MAX as u32;

/// Ancillary chunks that are needed to show the image: transparency, colour, size, animation.
const SHOWING: [&[u8; 4]; 19] = [
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi",
    b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT", b"sTER",
];

pub(super) struct Png {
    keep_metadata: bool,
    state: State,
    gather: Gather<START>,
    orientation: Option<OrientationReader>,
    pixels: Option<Pixels>,
    /// A byte of pixel data has arrived: there is something to show.
    has_data: bool,
}

/// Each state is named after what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    Chunk,
    /// `left` includes the check sum of four bytes.
    Body {
        left: u64,
        action: ChunkAction,
    },
    End,
}

/// What the filter does with a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkAction {
    Keep,
    Drop,
    KeepExif,
    ReduceExif,
    /// Kept, and something to show.
    KeepData,
}

impl Png {
    pub(super) fn new(keep_metadata: bool) -> Png {
        Png {
            keep_metadata,
            state: State::Start,
            gather: Gather::new(),
            orientation: None,
            pixels: None,
            has_data: false,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Start => {
                    if !self.gather.fill(START, input) {
                        return Ok(());
                    }
                    let start = self.gather.take();
                    let known = start.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
                    let side = |at: usize| u32_at(&start[at..]);
                    if !known || side(16).max(side(20)) > LENGTH_MAX {
                        return Err(Broken);
                    }
                    self.pixels = Some(Pixels::new(side(16), side(20)).ok_or(Broken)?);
                    out.extend_from_slice(&start);
                    self.state = State::Chunk;
                }
                State::Chunk => {
                    if !self.gather.fill(8, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    let length = u32_at(&head);
                    // IEND, or a chunk that cannot be parsed.
                    let Ok(action) = self.begin([head[4], head[5], head[6], head[7]], length) else {
                        self.end(out)?;
                        continue;
                    };
                    if action.writes() {
                        out.extend_from_slice(&head[..8]);
                    }
                    self.state = State::Body { left: u64::from(length) + 4, action };
                }
                State::Body { mut left, action } => {
                    let data = left.saturating_sub(4);
                    let bytes = run_off(input, &mut left);
                    self.has_data |= action == ChunkAction::KeepData && data > 0 && !bytes.is_empty();
                    if action.writes() {
                        out.extend_from_slice(bytes);
                    }
                    if matches!(action, ChunkAction::KeepExif | ChunkAction::ReduceExif)
                        && let Some(reader) = &mut self.orientation
                    {
                        reader.push(&bytes[..bytes.len().min(usize::try_from(data).unwrap_or(usize::MAX))]);
                    }
                    if left > 0 {
                        self.state = State::Body { left, action };
                        return Ok(());
                    }
                    if action == ChunkAction::ReduceExif
                        && let Some(block) = exif::minimal(self.orientation())
                    {
                        put_chunk(out, b"eXIf", &block);
                    }
                    self.state = State::Chunk;
                }
                // These bytes do not belong to the image.
                State::End => return Ok(()),
            }
        }
    }

    pub(super) fn area(&self) -> u64 {
        self.pixels.map_or(0, Pixels::area)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if !self.has_data {
            return Err(Broken);
        }
        put_chunk(out, b"IEND", b"");
        self.state = State::End;
        Ok(())
    }

    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Option<Pixels> {
        let orientation = self.orientation();
        match self.state {
            State::End => {}
            // The file ends inside a chunk that is stored: an IEND would be read as a part of it.
            State::Body { action, .. } if action.writes() && self.has_data => {}
            _ => self.end(out).ok()?,
        }
        self.pixels.map(|pixels| pixels.turned(orientation))
    }

    fn orientation(&self) -> Option<u8> {
        self.orientation.as_ref().and_then(OrientationReader::value)
    }

    fn begin(&mut self, name: [u8; 4], length: u32) -> Result<ChunkAction, Broken> {
        if length > LENGTH_MAX || !name.iter().all(u8::is_ascii_alphabetic) {
            return Err(Broken);
        }
        Ok(match &name {
            b"PLTE" => ChunkAction::Keep,
            b"IDAT" => ChunkAction::KeepData,
            // IEND; or an unknown critical chunk (§5.4), or a second IHDR: no decoder reads further.
            _ if name[0].is_ascii_uppercase() => return Err(Broken),
            b"eXIf" if self.orientation.is_none() => {
                self.orientation = Some(OrientationReader::new());
                if self.keep_metadata { ChunkAction::KeepExif } else { ChunkAction::ReduceExif }
            }
            _ if self.keep_metadata || SHOWING.contains(&&name) => ChunkAction::Keep,
            _ => ChunkAction::Drop,
        })
    }
}

impl ChunkAction {
    fn writes(self) -> bool {
        matches!(self, ChunkAction::Keep | ChunkAction::KeepExif | ChunkAction::KeepData)
    }
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Appends a small chunk.
pub(super) fn put_chunk(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let from = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(data);
    let sum = crc32(&out[from..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// The check sum of §5.5, bit by bit, since it is computed over only thirty bytes that natter writes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ (0xedb8_8320 * (sum & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, png, refuse, run, tiff};
    use super::super::{Kind, Pixels, Refused};
    use super::*;

    const WIDE: Pixels = Pixels { width: 2, height: 1 };
    const TALL: Pixels = Pixels { width: 1, height: 2 };

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_chunk(&mut out, name, data);
        out
    }

    #[test]
    fn the_check_sum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(chunk(b"IEND", b"").ends_with(b"\xae\x42\x60\x82"));
    }

    #[test]
    fn a_picture_keeps_its_pixels_and_its_orientation_only() {
        let stays = [chunk(b"gAMA", &[0, 0, 0xb1, 0x8f]), chunk(b"iCCP", &[9; 700]), chunk(b"pHYs", &[0; 9])];
        let goes = [
            chunk(b"tEXt", b"Comment\0GPS"),
            chunk(b"zTXt", b"Comment\0\0GPS"),
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0GPS"),
            chunk(b"tIME", b"\x07\xea\x0b\x16\x0d\x03\x36"),
            chunk(b"iDOT", &[0; 28]),
            chunk(b"prVt", b"GPS"),
            chunk(b"tEXt", b""),
        ];
        for orientation in 1..=8 {
            let exif = chunk(b"eXIf", &tiff(orientation));
            let kept = exif::minimal(Some(orientation)).map_or(Vec::new(), |block| chunk(b"eXIf", &block));
            let picture = png(&[stays.concat(), exif, goes.concat()].concat(), &goes[0]);
            let stored = png(&[stays.concat(), kept].concat(), b"");
            let pixels = if orientation < 5 { WIDE } else { TALL };
            check(&picture, false, Kind::Png, pixels, &stored);
            check(&picture, true, Kind::Png, pixels, &picture);
            assert_eq!(memchr::memmem::find(&stored, b"GPS"), None);
        }
        // After the data, incomplete, and a second one.
        let late = png(b"", &[chunk(b"eXIf", &tiff(6)), chunk(b"eXIf", &tiff(1))].concat());
        let kept = chunk(b"eXIf", &exif::minimal(Some(6)).expect("turned"));
        check(&late, false, Kind::Png, TALL, &png(b"", &kept));
        check(&png(&chunk(b"eXIf", b"GPS"), b""), false, Kind::Png, WIDE, &png(b"", b""));
    }

    #[test]
    fn bytes_after_the_end_are_removed() {
        let picture = png(b"", b"");
        for trailing in [&b"PK\x03\x04"[..], b"<script>", b"\0", &picture] {
            check(&[&picture[..], trailing].concat(), false, Kind::Png, WIDE, &picture);
            check(&[&picture[..], trailing].concat(), true, Kind::Png, WIDE, &picture);
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = png(&chunk(b"eXIf", &tiff(6)), b"");
        let data = picture.len() - 12 - 4 - 14;
        for end in 8..=data {
            refuse(&picture[..end]);
        }
        let good = png(b"", b"");
        for (at, byte) in [(11, 12), (12, b'X'), (16, 0x80), (19, 0), (33, 0x80), (37, b'i'), (37, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            refuse(&bad);
        }
        refuse(&png(&chunk(b"CgBI", b"\0\0\0\0"), b""));
        refuse(&png(&chunk(b"IHDR", &[0; 13]), b""));
        refuse(&png(&chunk(b"IEND", b""), b""));
    }

    #[test]
    fn files_that_browsers_show_are_accepted() {
        let good = png(b"", b"");
        let body = &good[..good.len() - 12];
        for tail in [
            &b""[..],
            b"\0",
            b"\0\0\0\0IEN",
            b"\0\0\0\0IEND",
            b"\0\0\0\0IEND\xae\x42",
            b"\0\0\0\0IEND\xae\x42\x60\x83garbage",
            b"\0\0\0\x01IENDx\0\0\0\0",
            b"\xff\xff\xff\xffgarbage",
            b"\0\0\0\0IHDR\0\0\0\0",
            b"\0\0\0\x09tEXtComm",
        ] {
            check(&[body, tail].concat(), false, Kind::Png, WIDE, &good);
        }
        // A wrong check sum does not change what a chunk is.
        let mut text = chunk(b"tEXt", b"Comment\0GPS");
        *text.last_mut().expect("a sum") ^= 1;
        check(&png(&text, &text), false, Kind::Png, WIDE, &good);
        let mut gamma = chunk(b"gAMA", &[0, 0, 0xb1, 0x8f]);
        *gamma.last_mut().expect("a sum") ^= 1;
        check(&png(&gamma, b""), false, Kind::Png, WIDE, &png(&gamma, b""));
        // The file ends inside the data: stored as far as it goes.
        for cut in 33 + 8 + 1..body.len() {
            check(&body[..cut], false, Kind::Png, WIDE, &body[..cut]);
        }
        // Each side is allowed, but their product is not.
        let mut large = good.clone();
        large[16..24].copy_from_slice(b"\0\0\x40\0\0\0\x40\0");
        assert_eq!(run(&large, false), Err(Refused::TooManyPixels));
    }
}
