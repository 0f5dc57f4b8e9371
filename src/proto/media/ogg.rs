//! Ogg (RFC 3533): finds the kinds of its streams, and removes their comments.
//!
//! The second packet of most streams has the name of the encoder and comments, which may be anything, also pictures. The number
//! of comments becomes zero and their bytes become padding; check sums are computed again. In the mapping of FLAC, each packet
//! before the sound is a block of metadata, which is treated in the same way. A stream that is no picture and no sound becomes
//! zeroes: subtitles, a description of the other streams (Skeleton), unknown kinds. Bytes that belong to no page become zeroes.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use super::super::image::{Kind, Pixels};
use super::medium::Medium;
use super::{BROKEN, Fault, TABLE_MAX};

const PAGE_HEAD: usize = 27;
/// Streams that are tracked at once. A file with more is refused as malformed.
const STREAMS_MAX: usize = 64;
const BEGINS: u8 = 2;
const CONTINUES: u8 = 1;
const ENDS: u8 = 4;

/// The format of the comments of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Vorbis,
    Opus,
    Theora,
    /// Without bytes before the comments: Speex, CELT, PCM.
    Bare,
    Flac,
    Vp8,
    /// Without comments: Dirac.
    Plain,
    /// Not shown and not heard.
    Unknown,
}

impl Codec {
    fn of(packet: &[u8]) -> Codec {
        [
            (&b"\x01vorbis"[..], Codec::Vorbis),
            // OGM has comments as in Vorbis.
            (b"\x01video\0", Codec::Vorbis),
            (b"\x01audio\0", Codec::Vorbis),
            (b"OpusHead", Codec::Opus),
            (b"\x80theora", Codec::Theora),
            (b"Speex   ", Codec::Bare),
            (b"CELT    ", Codec::Bare),
            (b"PCM     ", Codec::Bare),
            (b"\x7fFLAC", Codec::Flac),
            (b"OVP80", Codec::Vp8),
            (b"BBCD\0", Codec::Plain),
        ]
        .into_iter()
        .find(|(mark, _)| packet.starts_with(mark))
        .map_or(Codec::Unknown, |(_, codec)| codec)
    }

    /// Bytes of the packet before the length of the name of the encoder.
    fn prefix(self) -> u64 {
        match self {
            Codec::Vorbis | Codec::Theora | Codec::Vp8 => 7,
            Codec::Opus => 8,
            Codec::Flac => 4,
            Codec::Bare | Codec::Plain | Codec::Unknown => 0,
        }
    }
}

/// A stream whose comments are not complete yet.
struct Stream {
    codec: Codec,
    /// Bytes of the packet so far.
    at: u64,
    /// Its first byte: for FLAC the kind of block.
    first: u8,
    vendor: u64,
}

impl Stream {
    /// Changes the bytes of one piece of a packet. True while more such packets may come.
    fn take(&mut self, piece: &mut [u8], ends: bool) -> bool {
        for byte in &mut *piece {
            self.clear(byte);
            self.at += 1;
        }
        if !ends {
            return true;
        }
        self.at = 0;
        self.vendor = 0;
        // The last block has its highest bit set; a packet that begins with all bits set is sound.
        self.codec == Codec::Unknown || self.codec == Codec::Flac && self.first & 0x80 == 0
    }

    fn clear(&mut self, byte: &mut u8) {
        if self.at == 0 {
            self.first = *byte;
        }
        if self.codec == Codec::Unknown {
            *byte = 0;
            return;
        }
        let prefix = self.codec.prefix();
        if self.codec == Codec::Flac && self.first & 0x7f != 4 {
            if self.first != 0xff {
                // The type becomes padding (1).
                *byte = match self.at {
                    0 => self.first & 0x80 | 1,
                    1..4 => *byte,
                    _ => 0,
                };
            }
            return;
        }
        let length = prefix..prefix + 4;
        if length.contains(&self.at) {
            self.vendor |= u64::from(*byte) << (8 * (self.at - prefix));
        }
        let count = prefix + 4 + self.vendor;
        if self.at >= count {
            // No comments. In Vorbis a bit follows that says that the packet is complete.
            *byte = u8::from(self.codec == Codec::Vorbis && self.at == count + 4);
        }
    }
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
) -> Result<(Kind, Option<Pixels>), Fault> {
    let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
    let (mut at, mut has_video, mut pixels) = (0, false, None);
    while let Some((head_len, len)) = page(medium, at)? {
        medium.turn()?;
        let head = medium.array::<PAGE_HEAD>(at)?.unwrap_or([0; PAGE_HEAD]);
        let serial = u32::from_le_bytes([head[14], head[15], head[16], head[17]]);
        if head[5] & BEGINS != 0 {
            let mut packet = [0; 32];
            let have = medium.read(at + head_len, &mut packet)?;
            let packet = &packet[..have];
            has_video |= is_video(packet);
            pixels = pixels.or_else(|| theora_size(packet));
            let codec = Codec::of(packet);
            streams.remove(&serial);
            if codec != Codec::Plain {
                if streams.len() == STREAMS_MAX {
                    return Err(BROKEN);
                }
                streams.insert(serial, Stream { codec, at: 0, first: 0, vendor: 0 });
            }
        }
        if let Some(stream) = streams.get_mut(&serial)
            && let Some(mut bytes) = medium.range(at, len, TABLE_MAX)?
        {
            if !clear_page(stream, &mut bytes, head_len as usize) || head[5] & ENDS != 0 {
                streams.remove(&serial);
            }
            let sum = check_sum(&mut bytes);
            bytes[22..26].copy_from_slice(&sum.to_le_bytes());
            medium.write(at, &bytes)?;
        }
        at = at.saturating_add(len);
    }
    medium.zero(at, medium.len().saturating_sub(at))?;
    let kind = if has_video { Kind::OggVideo } else { Kind::Ogg };
    Ok((kind, pixels))
}

/// The length of the head and of the complete page at an offset, if there is a page.
fn page<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, at: u64) -> Result<Option<(u64, u64)>, Fault> {
    let Some(head) = medium.array::<PAGE_HEAD>(at)? else { return Ok(None) };
    if !head.starts_with(b"OggS\0") {
        return Ok(None);
    }
    let mut segments = [0; 255];
    let segments = &mut segments[..usize::from(head[26])];
    if medium.read(at + PAGE_HEAD as u64, segments)? < segments.len() {
        return Ok(None);
    }
    let head_len = (PAGE_HEAD + segments.len()) as u64;
    let body: u64 = segments.iter().map(|length| u64::from(*length)).sum();
    let len = head_len + body;
    // A decoder does not accept an incomplete page either.
    Ok((at.saturating_add(len) <= medium.len()).then_some((head_len, len)))
}

/// True while the comments continue or more of them may follow.
fn clear_page(stream: &mut Stream, bytes: &mut [u8], head_len: usize) -> bool {
    let (flags, lengths) = (bytes[5], bytes[PAGE_HEAD..head_len].to_vec());
    // The first packet of a stream names its kind. A packet that continues from a missing page is not a packet of comments.
    let mut is_other =
        stream.codec != Codec::Unknown && (flags & BEGINS != 0 || stream.at == 0 && flags & CONTINUES != 0);
    let mut from = head_len;
    for length in lengths {
        let to = (from + usize::from(length)).min(bytes.len());
        if is_other {
            is_other = length == 255;
        } else if !stream.take(&mut bytes[from..to], length < 255) {
            return false;
        }
        from = to;
    }
    true
}

/// Clears a complete packet of comments that is outside of a page.
pub(super) fn clear_vorbis(packet: &mut [u8]) {
    Stream { codec: Codec::Vorbis, at: 0, first: 0, vendor: 0 }.take(packet, true);
}

fn is_video(packet: &[u8]) -> bool {
    [&b"\x80theora"[..], b"\x01video\0", b"OVP80", b"BBCD\0"].iter().any(|mark| packet.starts_with(mark))
}

/// The width and height of the picture in a Theora head, 24 bits each (§6.2 of its specification).
fn theora_size(packet: &[u8]) -> Option<Pixels> {
    let sides = packet.strip_prefix(b"\x80theora")?.get(7..13)?;
    let side = |at: usize| u32::from_be_bytes([0, sides[at], sides[at + 1], sides[at + 2]]);
    Pixels::new(side(0), side(3))
}

/// RFC 3533 §6: over the page with zeroes instead of the sum; polynomial 0x04c11db7, not reflected.
fn check_sum(page: &mut [u8]) -> u32 {
    page[22..26].fill(0);
    page.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| sum << 1 ^ (0x04c1_1db7 * (sum >> 31)))
    })
}
