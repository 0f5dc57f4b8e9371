//! Filters WebP (RFC 9649) while it streams, without a change of its length.
//!
//! The RIFF size comes first, and is hashed and written before the metadata arrives. So a chunk that must be removed becomes a
//! `JUNK` chunk of zeroes with the same length. `JUNK` is the filler of RIFF, which readers must skip (§2.7.1.6), and every
//! size stays correct.
//!
//! An EXIF chunk that the header declares keeps its length: a TIFF block with one directory at its end, which has only the
//! orientation. Browsers ignore the orientation of a WebP, so width and height are those of the canvas.
//!
//! Files that browsers show are accepted: a file that is shorter than its RIFF size, and bytes after the image that cannot be
//! parsed, which become `JUNK`.

use super::exif::{self, OrientationReader};
use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

/// Bits of the VP8X flags that declare EXIF and XMP.
const EXIF_FLAG: u8 = 0x08;
const XMP_FLAG: u8 = 0x04;
/// Some writers put these bytes before the TIFF block of an EXIF chunk, as in a JPEG.
const EXIF_NAME: &[u8] = b"Exif\0\0";
/// The head of a chunk, and the bytes after it with a width and height.
const HEAD: usize = 8;
const SIZE_BYTES: usize = 10;

pub(super) struct WebP {
    keep_metadata: bool,
    state: State,
    gather: Gather<{ HEAD + SIZE_BYTES }>,
    /// Remaining bytes of the RIFF form.
    left: u64,
    pixels: Option<Pixels>,
    /// The pixels of the canvas, or of an image that declares more.
    area: u64,
    has_image: bool,
    /// The header declares EXIF, and it has not arrived yet.
    expects_exif: bool,
    orientation: Option<OrientationReader>,
}

/// What the filter does with a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkAction {
    Keep,
    /// `JUNK` of zeroes.
    Blank,
    /// EXIF of zeroes; the last `tail` bytes are a directory with the orientation, and the padding.
    Reduce {
        tail: u64,
    },
}

/// Each state is named after what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    Chunk,
    Body { left: u64, action: ChunkAction },
    End,
}

impl WebP {
    pub(super) fn new(keep_metadata: bool) -> WebP {
        WebP {
            keep_metadata,
            state: State::Start,
            gather: Gather::new(),
            left: 0,
            pixels: None,
            area: 0,
            has_image: false,
            expects_exif: false,
            orientation: None,
        }
    }

    pub(super) fn area(&self) -> u64 {
        self.area
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Start => {
                    if !self.gather.fill(12, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    out.extend_from_slice(&head[..12]);
                    self.left = u64::from(u32_at(&head[4..])).checked_sub(4).ok_or(Broken)?;
                    self.state = State::Chunk;
                }
                State::Chunk if self.left == 0 => self.state = State::End,
                State::Chunk => {
                    // Too few bytes for a chunk: the size is too large, or includes a padding twice.
                    if self.left < HEAD as u64 {
                        if !self.has_image {
                            return Err(Broken);
                        }
                        self.state = State::Body { left: self.left, action: ChunkAction::Blank };
                        self.left = 0;
                        continue;
                    }
                    if !self.gather.fill(HEAD, input) {
                        return Ok(());
                    }
                    let room = self.left - HEAD as u64;
                    let length = u64::from(u32_at(&self.gather.bytes()[4..]));
                    if length > room {
                        if !self.has_image {
                            return Err(Broken);
                        }
                        self.gather.take();
                        out.extend_from_slice(b"JUNK");
                        out.extend_from_slice(&(room as u32).to_le_bytes());
                        self.state = State::Body { left: room, action: ChunkAction::Blank };
                        self.left = 0;
                        continue;
                    }
                    // Chunks are padded to even lengths; some writers omit the padding of the last one.
                    let padded = (length + (length & 1)).min(room);
                    let front = length.min(SIZE_BYTES as u64) as usize;
                    if !self.gather.fill(HEAD + front, input) {
                        return Ok(());
                    }
                    let mut head = self.gather.take();
                    let left = padded - front as u64;
                    let action = match self.begin(&mut head, front, length)? {
                        ChunkAction::Keep => {
                            out.extend_from_slice(&head[..HEAD + front]);
                            ChunkAction::Keep
                        }
                        ChunkAction::Blank => {
                            out.extend_from_slice(b"JUNK");
                            out.extend_from_slice(&head[4..HEAD]);
                            out.resize(out.len() + front, 0);
                            ChunkAction::Blank
                        }
                        ChunkAction::Reduce { tail } => {
                            let tail = tail + (padded - length);
                            out.extend_from_slice(b"EXIF");
                            out.extend_from_slice(&head[4..HEAD]);
                            out.extend_from_slice(&exif::little_header(length as u32));
                            let written = exif::LITTLE_HEADER as u64;
                            put_zeroes(out, padded - written - left.max(tail));
                            let block = &head[HEAD..HEAD + front];
                            let mut reader = OrientationReader::new();
                            reader.push(block.strip_prefix(EXIF_NAME).unwrap_or(block));
                            self.orientation = Some(reader);
                            ChunkAction::Reduce { tail }
                        }
                    };
                    self.left = room - padded;
                    self.state = State::Body { left, action };
                }
                State::Body { mut left, action } => {
                    let before = left;
                    let bytes = run_off(input, &mut left);
                    match action {
                        ChunkAction::Keep => out.extend_from_slice(bytes),
                        ChunkAction::Blank => put_zeroes(out, bytes.len() as u64),
                        ChunkAction::Reduce { tail } => {
                            if let Some(reader) = &mut self.orientation {
                                reader.push(bytes);
                            }
                            put_zeroes(out, before.max(tail) - left.max(tail));
                        }
                    }
                    if left > 0 {
                        self.state = State::Body { left, action };
                        return Ok(());
                    }
                    if let ChunkAction::Reduce { tail } = action {
                        let orientation = self.orientation.as_ref().and_then(OrientationReader::value);
                        let directory = exif::little_directory(orientation);
                        out.extend_from_slice(&directory);
                        put_zeroes(out, tail - directory.len() as u64);
                    }
                    self.state = State::Chunk;
                }
                // These bytes do not belong to the image.
                State::End => return Ok(()),
            }
        }
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) -> Option<Pixels> {
        // The file ended before the directory could be written: the stored file has the same length.
        if let State::Body { left, action: ChunkAction::Reduce { tail } } = self.state {
            put_zeroes(out, left.max(tail) - left);
        }
        let held = self.gather.bytes();
        if held.len() >= HEAD && self.has_image {
            if self.keep_metadata {
                out.extend_from_slice(held);
            } else {
                out.extend_from_slice(b"JUNK");
                out.extend_from_slice(&held[4..HEAD]);
                put_zeroes(out, (held.len() - HEAD) as u64);
            }
        }
        if self.has_image { self.pixels } else { None }
    }

    /// Decides by the name, the length and the first bytes of a chunk, and reads the size of the image.
    fn begin(&mut self, head: &mut [u8], front: usize, length: u64) -> Result<ChunkAction, Broken> {
        let (name, data) = head.split_at_mut(HEAD);
        let data = &mut data[..front];
        let first = self.pixels.is_none();
        let size = match &name[..4] {
            b"VP8X" if first => extended_size(data),
            b"VP8 " => lossy_size(data),
            b"VP8L" => lossless_size(data),
            // One of the three comes first, and the extended header only first.
            _ if first || name.starts_with(b"VP8X") => return Err(Broken),
            b"ALPH" | b"ANIM" | b"ICCP" => return Ok(ChunkAction::Keep),
            b"ANMF" => {
                self.has_image = true;
                return Ok(ChunkAction::Keep);
            }
            _ if self.keep_metadata => return Ok(ChunkAction::Keep),
            b"EXIF"
                if self.expects_exif && length >= (exif::LITTLE_HEADER + exif::LITTLE_DIRECTORY) as u64 =>
            {
                self.expects_exif = false;
                return Ok(ChunkAction::Reduce { tail: exif::LITTLE_DIRECTORY as u64 });
            }
            _ => return Ok(ChunkAction::Blank),
        };
        let size = size.ok_or(Broken)?;
        if name.starts_with(b"VP8X") {
            self.expects_exif = data[0] & EXIF_FLAG != 0;
            if !self.keep_metadata {
                data[0] &= !XMP_FLAG;
            }
        } else {
            self.has_image = true;
        }
        self.area = self.area.max(size.area());
        self.pixels.get_or_insert(size);
        Ok(ChunkAction::Keep)
    }
}

/// As many zeroes as bytes were read from the input, so at most one piece of it.
fn put_zeroes(out: &mut Vec<u8>, count: u64) {
    out.resize(out.len() + count as usize, 0);
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The canvas: each side minus one, in 24 bits (§2.7).
fn extended_size(data: &[u8]) -> Option<Pixels> {
    let &[_, _, _, _, w0, w1, w2, h0, h1, h2] = data else { return None };
    let side = |low, middle, high| 1 + u32::from_le_bytes([low, middle, high, 0]);
    Pixels::new(side(w0, w1, w2), side(h0, h1, h2))
}

/// The start code of a key frame, and two sides of 14 bits (RFC 6386 §9.1).
fn lossy_size(data: &[u8]) -> Option<Pixels> {
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = data else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    if tag & 1 == 0 { Pixels::new(side(w0, w1), side(h0, h1)) } else { None }
}

/// A signature byte, and two sides minus one, in 14 bits each (RFC 9649 §3.4).
fn lossless_size(data: &[u8]) -> Option<Pixels> {
    let &[0x2f, a, b, c, d, ..] = data else { return None };
    let bits = u32::from_le_bytes([a, b, c, d]);
    Pixels::new(1 + (bits & 0x3fff), 1 + (bits >> 14 & 0x3fff))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, refuse, riff_chunk, run, tiff, vp8l, vp8x, webp};
    use super::super::{Kind, Pixels};

    const SIZE: Pixels = Pixels { width: 3, height: 2 };

    fn junk(length: usize) -> Vec<u8> {
        riff_chunk(b"JUNK", &vec![0; length])
    }

    #[test]
    fn metadata_becomes_zeroes_of_the_same_length() {
        let exif = riff_chunk(b"EXIF", &tiff(6));
        let xmp = riff_chunk(b"XMP ", b"<x:xmpmeta GPS/>!");
        let unknown = riff_chunk(b"GPS!", b"G");
        let icc = riff_chunk(b"ICCP", &[7; 301]);
        let picture =
            webp(&[&vp8x(0x2c)[..], &icc, &vp8l(), &exif, &xmp, &unknown, &riff_chunk(b"gps ", b"")]);
        let stored = webp(&[
            &vp8x(0x28)[..],
            &icc,
            &vp8l(),
            &reduced(tiff(6).len(), 6),
            &junk(17),
            &junk(1),
            &junk(0),
        ]);
        assert_eq!(stored.len(), picture.len());
        check(&picture, false, Kind::WebP, SIZE, &stored);
        check(&picture, true, Kind::WebP, SIZE, &picture);
        assert_eq!(memchr::memmem::find(&stored, b"GPS"), None);
    }

    /// An EXIF chunk with the orientation and nothing else.
    fn reduced(length: usize, orientation: u8) -> Vec<u8> {
        let mut block = super::exif::little_header(length as u32).to_vec();
        block.resize(length - super::exif::LITTLE_DIRECTORY, 0);
        block.extend_from_slice(&super::exif::little_directory(Some(orientation)));
        riff_chunk(b"EXIF", &block)
    }

    #[test]
    fn the_orientation_stays_if_the_header_declares_it() {
        let with = |flags: u8, block: &[u8]| webp(&[&vp8x(flags)[..], &vp8l(), &riff_chunk(b"EXIF", block)]);
        let kept =
            |length: usize, orientation: u8| webp(&[&vp8x(0x08)[..], &vp8l(), &reduced(length, orientation)]);
        for orientation in 1..=8 {
            let block = tiff(orientation);
            check(&with(0x08, &block), false, Kind::WebP, SIZE, &kept(block.len(), orientation));
            let named = [&b"Exif\0\0"[..], &block, b"!"].concat();
            check(&with(0x08, &named), false, Kind::WebP, SIZE, &kept(named.len(), orientation));
            let small = super::exif::minimal(Some(orientation)).map_or(vec![0; 26], |block| block.to_vec());
            check(&with(0x08, &small), false, Kind::WebP, SIZE, &kept(26, orientation));
        }
        // Too short for one; not declared; a second one.
        let none = |flags: u8, length: usize| webp(&[&vp8x(flags)[..], &vp8l(), &junk(length)]);
        check(&with(0x08, &tiff(6)[..25]), false, Kind::WebP, SIZE, &none(0x08, 25));
        check(&with(0, &tiff(6)), false, Kind::WebP, SIZE, &none(0, tiff(6).len()));
        let block = tiff(6);
        let exif = riff_chunk(b"EXIF", &block);
        let twice = webp(&[&vp8x(0x08)[..], &vp8l(), &exif, &exif]);
        let stored = webp(&[&vp8x(0x08)[..], &vp8l(), &reduced(block.len(), 6), &junk(block.len())]);
        check(&twice, false, Kind::WebP, SIZE, &stored);
    }

    #[test]
    fn files_that_browsers_show_are_accepted() {
        let picture = webp(&[&vp8x(0x08)[..], &vp8l(), &riff_chunk(b"EXIF", &tiff(6))]);
        // The file ends anywhere after the image has begun.
        let image = 12 + 18 + 8 + 8;
        for end in image..picture.len() {
            for keep in [true, false] {
                let (finished, stored) = run(&picture[..end], keep).expect("taken");
                assert_eq!(finished.pixels, Some(SIZE), "cut at {end}");
                // All bytes, except the head of a chunk without any data.
                assert!(stored.len() <= end && stored.len() + 18 > end, "cut at {end}");
                assert!(!keep || picture.starts_with(&stored), "cut at {end}");
                assert_eq!(run(&stored, keep), Ok((finished, stored.clone())), "a fixed point");
            }
        }
        // Bytes after the image that cannot be parsed become zeroes of a filler, since the size is already written.
        let good = webp(&[&vp8l()]);
        for (tail, kept) in [
            (&b"GPS"[..], &b"\0\0\0"[..]),
            (b"EXIF\xff\xff\xff\xffGPS", b"JUNK\x03\0\0\0\0\0\0"),
            (b"EXIF", b"\0\0\0\0"),
        ] {
            let mut bad = webp(&[&vp8l()[..], tail]);
            let mut stored = webp(&[&vp8l()[..], kept]);
            check(&bad, false, Kind::WebP, SIZE, &stored);
            // The size is too large, as some writers write it.
            (bad[4], stored[4]) = (bad[4] + 8, stored[4] + 8);
            if kept.starts_with(b"JUNK") {
                stored[good.len() + 4] += 8;
            } else {
                stored.truncate(good.len());
            }
            check(&bad, false, Kind::WebP, SIZE, &stored);
        }
    }

    #[test]
    fn the_simple_forms() {
        let lossless = webp(&[&vp8l()]);
        check(&lossless, false, Kind::WebP, SIZE, &lossless);
        let lossy = webp(&[&riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\x03\x40\x02\0data")]);
        check(&lossy, false, Kind::WebP, SIZE, &lossy);
        let animated =
            webp(&[&vp8x(0x02)[..], &riff_chunk(b"ANIM", &[0; 6]), &riff_chunk(b"ANMF", &[0; 40])]);
        check(&animated, false, Kind::WebP, SIZE, &animated);
        // A last chunk of odd length without its padding.
        let mut odd = webp(&[&vp8l()[..], &riff_chunk(b"ICCP", b"odd")]);
        odd.pop();
        odd[4] -= 1;
        check(&odd, false, Kind::WebP, SIZE, &odd);
    }

    #[test]
    fn bytes_after_the_end_are_removed() {
        let picture = webp(&[&vp8l()]);
        for trailing in [&b"PK\x03\x04"[..], b"<script>", b"\0", &picture] {
            check(&[&picture[..], trailing].concat(), false, Kind::WebP, SIZE, &picture);
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = webp(&[&vp8x(0x08)[..], &vp8l(), &riff_chunk(b"EXIF", &tiff(6))]);
        for end in 12..12 + 18 + 8 + 8 {
            refuse(&picture[..end]);
        }
        refuse(&webp(&[]));
        refuse(&webp(&[&vp8x(0)]));
        refuse(&webp(&[&riff_chunk(b"EXIF", b"x"), &vp8l()[..]]));
        refuse(&webp(&[&vp8l()[..], &vp8x(0)]));
        refuse(&webp(&[&vp8x(0)[..], &vp8x(0), &vp8l()]));
        refuse(&webp(&[&riff_chunk(b"VP8X", b"\0\0\0\0\0\0\0\0\0")[..], &vp8l()]));
        refuse(&webp(&[&vp8x(0)[..], b"EXIF\xff\xff\xff\xffx"]));
        refuse(&webp(&[&vp8x(0)[..], b"EXIF"]));
        for (at, byte) in [(4, 3), (20, 0x2e), (16, 4)] {
            let mut bad = webp(&[&vp8l()]);
            bad[at] = byte;
            refuse(&bad);
        }
        refuse(&webp(&[&riff_chunk(b"VP8 ", b"\x11\0\0\x9d\x01\x2a\x03\0\x02\0")]));
        refuse(&webp(&[&riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\x02\0")]));
    }
}
