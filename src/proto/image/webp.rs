//! WebP (RFC 9649) as it streams by, at its own length. The RIFF size stands at the front and has left for
//! the disk, hashed, before the metadata comes: so a chunk that has to go becomes an equally long `JUNK` of
//! zeroes, RIFF's filler, which readers must skip (§2.7.1.6), and no size is ever wrong. (Holding the file
//! back, or patching it afterwards, would cost the constant memory or the one pass of the hash.)
//!
//! For the same reason the flags that announce EXIF and XMP are cleared before anyone knows whether the
//! chunks come, and no reduced EXIF can follow them: a WebP loses an orientation. Browsers show a WebP by
//! its pixels alone, so width and height are the canvas's.

use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

/// Bits of the VP8X flags that announce EXIF and XMP.
const METADATA_FLAGS: u8 = 0x08 | 0x04;
/// A chunk's head and the bytes of it that hold a width and height.
const HEAD: usize = 8;
const SIZE_BYTES: usize = 10;

pub(super) struct WebP {
    keep_metadata: bool,
    state: State,
    gather: Gather<{ HEAD + SIZE_BYTES }>,
    /// Bytes of the RIFF form still to come.
    left: u64,
    pixels: Option<Pixels>,
    has_image: bool,
}

/// Named by what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    Chunk,
    Body { left: u64, write: bool },
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
            has_image: false,
        }
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
                    if self.left < HEAD as u64 {
                        return Err(Broken);
                    }
                    if !self.gather.fill(HEAD, input) {
                        return Ok(());
                    }
                    let length = u64::from(u32_at(&self.gather.bytes()[4..]));
                    let room = self.left - HEAD as u64;
                    // Chunks are padded to even lengths; some writers forget it for the last one.
                    let padded = (length + (length & 1)).min(room);
                    if length > room {
                        return Err(Broken);
                    }
                    let front = length.min(SIZE_BYTES as u64) as usize;
                    if !self.gather.fill(HEAD + front, input) {
                        return Ok(());
                    }
                    let mut head = self.gather.take();
                    let write = self.begin(&mut head, front)?;
                    if write {
                        out.extend_from_slice(&head[..HEAD + front]);
                    } else {
                        out.extend_from_slice(b"JUNK");
                        out.extend_from_slice(&head[4..HEAD]);
                        out.resize(out.len() + front, 0);
                    }
                    self.left = room - padded;
                    self.state = State::Body { left: padded - front as u64, write };
                }
                State::Body { mut left, write } => {
                    let bytes = run_off(input, &mut left);
                    if write {
                        out.extend_from_slice(bytes);
                    } else {
                        out.resize(out.len() + bytes.len(), 0);
                    }
                    if left > 0 {
                        self.state = State::Body { left, write };
                        return Ok(());
                    }
                    self.state = State::Chunk;
                }
                // Whatever stands here is no part of the picture.
                State::End => return Ok(()),
            }
        }
    }

    pub(super) fn finish(self) -> Option<Pixels> {
        match self.state {
            State::End if self.has_image => self.pixels,
            // The last chunk may end the form with no byte behind it to say so.
            State::Chunk if self.left == 0 && self.has_image => self.pixels,
            _ => None,
        }
    }

    /// Decides by a chunk's name and its first bytes, and learns the size of the picture. True to keep it.
    fn begin(&mut self, head: &mut [u8], front: usize) -> Result<bool, Broken> {
        let (name, data) = head.split_at_mut(HEAD);
        let data = &mut data[..front];
        let first = self.pixels.is_none();
        let size = match &name[..4] {
            b"VP8X" if first => extended_size(data),
            b"VP8 " => lossy_size(data),
            b"VP8L" => lossless_size(data),
            // One of the three comes first, and the extended header only first.
            _ if first || name.starts_with(b"VP8X") => return Err(Broken),
            b"ALPH" | b"ANIM" | b"ICCP" => return Ok(true),
            b"ANMF" => {
                self.has_image = true;
                return Ok(true);
            }
            _ => return Ok(self.keep_metadata),
        };
        let size = size.ok_or(Broken)?;
        if name.starts_with(b"VP8X") {
            if !self.keep_metadata {
                data[0] &= !METADATA_FLAGS;
            }
        } else {
            self.has_image = true;
        }
        self.pixels.get_or_insert(size);
        Ok(true)
    }
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The canvas, each side less one in 24 bits (§2.7).
fn extended_size(data: &[u8]) -> Option<Pixels> {
    let &[_, _, _, _, w0, w1, w2, h0, h1, h2] = data else { return None };
    let side = |low, middle, high| 1 + u32::from_le_bytes([low, middle, high, 0]);
    Pixels::new(side(w0, w1, w2), side(h0, h1, h2))
}

/// A key frame's start code and two sides of 14 bits (RFC 6386 §9.1).
fn lossy_size(data: &[u8]) -> Option<Pixels> {
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = data else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    if tag & 1 == 0 { Pixels::new(side(w0, w1), side(h0, h1)) } else { None }
}

/// A signature byte and two sides less one of 14 bits (RFC 9649 §3.4).
fn lossless_size(data: &[u8]) -> Option<Pixels> {
    let &[0x2f, a, b, c, d, ..] = data else { return None };
    let bits = u32::from_le_bytes([a, b, c, d]);
    Pixels::new(1 + (bits & 0x3fff), 1 + (bits >> 14 & 0x3fff))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, refuse, riff_chunk, tiff, vp8l, vp8x, webp};
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
        let stored =
            webp(&[&vp8x(0x20)[..], &icc, &vp8l(), &junk(tiff(6).len()), &junk(17), &junk(1), &junk(0)]);
        assert_eq!(stored.len(), picture.len());
        check(&picture, false, Kind::WebP, SIZE, &stored);
        check(&picture, true, Kind::WebP, SIZE, &picture);
        assert_eq!(memchr::memmem::find(&stored, b"GPS"), None);
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
    fn what_stands_behind_the_end_is_cut() {
        let picture = webp(&[&vp8l()]);
        for behind in [&b"PK\x03\x04"[..], b"<script>", b"\0", &picture] {
            check(&[&picture[..], behind].concat(), false, Kind::WebP, SIZE, &picture);
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = webp(&[&vp8x(0x08)[..], &vp8l(), &riff_chunk(b"EXIF", &tiff(6))]);
        for end in 12..picture.len() {
            refuse(&picture[..end]);
        }
        refuse(&webp(&[]));
        refuse(&webp(&[&vp8x(0)]));
        refuse(&webp(&[&riff_chunk(b"EXIF", b"x"), &vp8l()[..]]));
        refuse(&webp(&[&vp8l()[..], &vp8x(0)]));
        refuse(&webp(&[&vp8x(0)[..], &vp8x(0), &vp8l()]));
        refuse(&webp(&[&riff_chunk(b"VP8X", b"\0\0\0\0\0\0\0\0\0")[..], &vp8l()]));
        refuse(&webp(&[&vp8l()[..], b"EXIF\xff\xff\xff\xffx"]));
        refuse(&webp(&[&vp8l()[..], b"EXIF"]));
        for (at, byte) in [(4, 3), (20, 0x2e), (16, 4)] {
            let mut bad = webp(&[&vp8l()]);
            bad[at] = byte;
            refuse(&bad);
        }
        refuse(&webp(&[&riff_chunk(b"VP8 ", b"\x11\0\0\x9d\x01\x2a\x03\0\x02\0")]));
        refuse(&webp(&[&riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\0\0\x02\0")]));
    }
}
