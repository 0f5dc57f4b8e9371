//! Filters JPEG (ITU T.81) while it streams: decides which segments stay, and where the image ends.
//!
//! Everything that is needed to show the image stays byte for byte: frame, tables, scans, JFIF, ICC profile, Adobe's colour
//! transform. Unless metadata is kept, every other application segment and every comment is removed: EXIF (a segment with only
//! the orientation replaces it), XMP, IPTC, thumbnails, data of camera makers. The directory of a multi-picture file (MPF) is
//! always removed: the images that it points to are after the end and are removed too.
//!
//! ```text
//!   Start ─► Marker ─FF─► Code ─► Segment ─► Body ─► Marker │ Scan ─FF─► Code … EOI ─► End
//! ```
//! Files that decoders show are accepted: bytes between two segments are skipped, as in libjpeg, and are not stored. After a
//! scan has begun, the file is not refused: the first bytes that cannot be parsed end the image, and an EOI is added.
//! Invariant: the stored bytes end with EOI, unless the file ends inside a segment.

use super::exif::{self, OrientationReader};
use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// Bytes that identify the segment with the longest name, `ICC_PROFILE`.
const NAME_MAX: usize = 12;

pub(super) struct Jpeg {
    keep_metadata: bool,
    state: State,
    gather: Gather<{ 2 + NAME_MAX }>,
    /// Of the first EXIF block; later ones are ignored.
    orientation: Option<OrientationReader>,
    pixels: Option<Pixels>,
    /// A scan has begun: there is something to show.
    has_scan: bool,
    /// The image ended without an EOI: its last scan may contain bytes that do not belong to it.
    is_open_ended: bool,
}

/// Each state is named after what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    Marker,
    Code { in_scan: bool },
    Segment { code: u8 },
    Body { left: u64, action: ChunkAction, then_scan: bool },
    Scan,
    End,
}

/// What the filter does with a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkAction {
    Keep,
    Drop,
    /// Read for its orientation, and kept.
    KeepExif,
    /// Read for its orientation, and replaced by a segment with only the orientation.
    ReduceExif,
}

impl Jpeg {
    pub(super) fn new(keep_metadata: bool) -> Jpeg {
        Jpeg {
            keep_metadata,
            state: State::Start,
            gather: Gather::new(),
            orientation: None,
            pixels: None,
            has_scan: false,
            is_open_ended: false,
        }
    }

    pub(super) fn area(&self) -> u64 {
        self.pixels.map_or(0, Pixels::area)
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Start => {
                    if !self.gather.fill(2, input) {
                        return Ok(());
                    }
                    if self.gather.take()[..2] != [0xff, SOI] {
                        return Err(Broken);
                    }
                    out.extend_from_slice(&[0xff, SOI]);
                    self.state = State::Marker;
                }
                State::Marker => {
                    let Some(at) = memchr::memchr(0xff, input) else { return Ok(()) };
                    *input = &input[at + 1..];
                    self.state = State::Code { in_scan: false };
                }
                State::Code { in_scan } => {
                    let Some(code) = next(input) else { return Ok(()) };
                    match code {
                        // Any number of these may fill the space before a marker (§B.1.1.2).
                        0xff => {}
                        // A stuffed zero or a restart: the scan continues.
                        0x00 | 0xd0..=0xd7 if in_scan => {
                            out.extend_from_slice(&[0xff, code]);
                            self.state = State::Scan;
                        }
                        EOI if self.has_scan => {
                            out.extend_from_slice(&[0xff, EOI]);
                            self.state = State::End;
                        }
                        // Not a marker, or one without a segment: padding like any other byte.
                        0x00 | 0x01 | 0xd0..=0xd7 if !in_scan => self.state = State::Marker,
                        _ => self.state = State::Segment { code },
                    }
                }
                State::Segment { code } => {
                    if !self.gather.fill(2, input) {
                        return Ok(());
                    }
                    let [high, low, ..] = *self.gather.bytes() else { return Err(Broken) };
                    let Some(payload) = usize::from(u16::from_be_bytes([high, low])).checked_sub(2) else {
                        self.break_off(out)?;
                        continue;
                    };
                    let name = payload.min(NAME_MAX);
                    if !self.gather.fill(2 + name, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    let Ok(action) = self.begin(code, &head[2..2 + name]) else {
                        self.break_off(out)?;
                        continue;
                    };
                    if matches!(action, ChunkAction::Keep | ChunkAction::KeepExif) {
                        out.extend_from_slice(&[0xff, code]);
                        out.extend_from_slice(&head[..2 + name]);
                    }
                    self.state =
                        State::Body { left: (payload - name) as u64, action, then_scan: code == SOS };
                }
                State::Body { mut left, action, then_scan } => {
                    let bytes = run_off(input, &mut left);
                    if matches!(action, ChunkAction::Keep | ChunkAction::KeepExif) {
                        out.extend_from_slice(bytes);
                    }
                    if matches!(action, ChunkAction::KeepExif | ChunkAction::ReduceExif)
                        && let Some(reader) = &mut self.orientation
                    {
                        reader.push(bytes);
                    }
                    if left > 0 {
                        self.state = State::Body { left, action, then_scan };
                        return Ok(());
                    }
                    if action == ChunkAction::ReduceExif
                        && let Some(block) = exif::minimal(self.orientation())
                    {
                        out.extend_from_slice(&[0xff, APP1, 0, 34]);
                        out.extend_from_slice(b"Exif\0\0");
                        out.extend_from_slice(&block);
                    }
                    self.has_scan |= then_scan;
                    self.state = if then_scan { State::Scan } else { State::Marker };
                }
                State::Scan => {
                    let end = memchr::memchr(0xff, input);
                    let (data, rest) = input.split_at(end.unwrap_or(input.len()));
                    out.extend_from_slice(data);
                    if rest.is_empty() {
                        return Ok(());
                    }
                    *input = &rest[1..];
                    self.state = State::Code { in_scan: true };
                }
                // These bytes do not belong to the image.
                State::End => return Ok(()),
            }
        }
    }

    /// The bytes cannot be parsed further: this is the end of the image, if there is an image.
    fn break_off(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if !self.has_scan {
            return Err(Broken);
        }
        out.extend_from_slice(&[0xff, EOI]);
        self.is_open_ended = true;
        self.state = State::End;
        Ok(())
    }

    /// The size as displayed, and whether the last scan ended without an EOI.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Option<(Pixels, bool)> {
        let orientation = self.orientation();
        let is_inside_kept =
            matches!(self.state, State::Body { action: ChunkAction::Keep | ChunkAction::KeepExif, .. });
        if !matches!(self.state, State::End) && (!is_inside_kept || !self.has_scan) {
            self.break_off(out).ok()?;
        }
        self.pixels.map(|pixels| (pixels.turned(orientation), self.is_open_ended))
    }

    fn orientation(&self) -> Option<u8> {
        self.orientation.as_ref().and_then(OrientationReader::value)
    }

    /// Decides by the marker and the first bytes of its segment.
    fn begin(&mut self, code: u8, name: &[u8]) -> Result<ChunkAction, Broken> {
        let metadata = if self.keep_metadata { ChunkAction::Keep } else { ChunkAction::Drop };
        Ok(match code {
            // Huffman tables, arithmetic conditioning, quantization, line count, restart interval.
            0xc4 | 0xcc | 0xdb | 0xdc | 0xdd => ChunkAction::Keep,
            // A frame (C8 is reserved). A second one would be a hierarchical file, which no browser shows.
            0xc0..=0xc7 | 0xc9..=0xcf => {
                let &[_, h1, h0, w1, w0, ..] = name else { return Err(Broken) };
                let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                let pixels = Pixels::new(width.into(), height.into()).ok_or(Broken)?;
                if self.pixels.is_some() {
                    return Err(Broken);
                }
                self.pixels = Some(pixels);
                ChunkAction::Keep
            }
            SOS if self.pixels.is_some() => ChunkAction::Keep,
            APP0 if name.starts_with(b"JFIF\0") => ChunkAction::Keep,
            APP1 if name.starts_with(b"Exif\0") && name.len() >= 6 && self.orientation.is_none() => {
                let mut reader = OrientationReader::new();
                reader.push(&name[6..]);
                self.orientation = Some(reader);
                if self.keep_metadata { ChunkAction::KeepExif } else { ChunkAction::ReduceExif }
            }
            APP2 if name.starts_with(b"ICC_PROFILE\0") => ChunkAction::Keep,
            APP2 if name.starts_with(b"MPF\0") => ChunkAction::Drop,
            APP14 if name.starts_with(b"Adobe") => ChunkAction::Keep,
            APP0..=APP15 | COM => metadata,
            _ => return Err(Broken),
        })
    }
}

fn next(input: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, jpeg, refuse, segment, tiff};
    use super::super::{Kind, Pixels};

    const WIDE: Pixels = Pixels { width: 16, height: 8 };
    const TALL: Pixels = Pixels { width: 8, height: 16 };

    fn exif(orientation: u8) -> Vec<u8> {
        segment(0xe1, &[b"Exif\0\0".as_slice(), &tiff(orientation)].concat())
    }

    /// An EXIF segment with the orientation and nothing else.
    fn reduced(orientation: u8) -> Vec<u8> {
        let block = super::exif::minimal(Some(orientation)).expect("turned");
        segment(0xe1, &[b"Exif\0\0".as_slice(), &block].concat())
    }

    #[test]
    fn a_photograph_keeps_its_pixels_and_its_orientation_only() {
        let jfif = segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        let icc = segment(0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), &[7; 300]].concat());
        let adobe = segment(0xee, b"Adobe\0\x64\0\0\0\0\x01");
        let stays = [&jfif[..], &icc, &adobe].concat();
        let goes = [
            segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta GPS/>"),
            segment(0xed, b"Photoshop 3.0\08BIM GPS"),
            segment(0xfe, b"a comment"),
            segment(0xe0, b"JFXX\0\x10thumbnail"),
            segment(0xec, b"Ducky"),
            segment(0xe2, b"ICC_"),
            segment(0xe1, b"Exif"),
            segment(0xe1, b""),
        ]
        .concat();
        for orientation in 1..=8 {
            let photograph = jpeg(&[&exif(orientation)[..], &stays, &goes].concat());
            let kept = if orientation == 1 { Vec::new() } else { reduced(orientation) };
            let stored = jpeg(&[&kept[..], &stays].concat());
            let pixels = if orientation < 5 { WIDE } else { TALL };
            check(&photograph, false, Kind::Jpeg, pixels, &stored);
            check(&photograph, true, Kind::Jpeg, pixels, &photograph);
            assert_eq!(memchr::memmem::find(&stored, b"GPS"), None);
        }
        check(&jpeg(&stays), false, Kind::Jpeg, WIDE, &jpeg(&stays));
    }

    #[test]
    fn only_the_first_exif_block_is_used() {
        let twice = jpeg(&[exif(6), exif(1)].concat());
        check(&twice, false, Kind::Jpeg, TALL, &jpeg(&reduced(6)));
    }

    #[test]
    fn bytes_after_the_end_are_removed() {
        let picture = jpeg(b"");
        for trailing in [&b"PK\x03\x04"[..], b"<script>", b"\xff\xd9", &jpeg(b""), b"\0"] {
            check(&[&picture[..], trailing].concat(), false, Kind::Jpeg, WIDE, &picture);
            check(&[&picture[..], trailing].concat(), true, Kind::Jpeg, WIDE, &picture);
        }
        // A multi-picture file loses its directory and its other images, with metadata kept or not.
        let several = [jpeg(&segment(0xe2, b"MPF\0II*\0")), jpeg(b"")].concat();
        check(&several, true, Kind::Jpeg, WIDE, &picture);
    }

    #[test]
    fn several_scans_restarts_and_fill_bytes() {
        let plain = jpeg(b"");
        let scan = [&segment(0xda, b"\x01\x01\0\0\x3f\0")[..], b"\x0f\xff\x00\xff\xd0\x0f"].concat();
        let end = plain.len() - 2;
        let progressive = [&plain[..end], &segment(0xc4, b"\0table"), &scan, &plain[end..]].concat();
        check(&progressive, false, Kind::Jpeg, WIDE, &progressive);
        let commented = [&plain[..end], &segment(0xfe, b"late"), &scan, &plain[end..]].concat();
        check(&commented, false, Kind::Jpeg, WIDE, &[&plain[..end], &scan, &plain[end..]].concat());
        let filled = [&plain[..2], b"\xff\xff", &plain[2..end], b"\xff", &plain[end..]].concat();
        check(&filled, false, Kind::Jpeg, WIDE, &plain);
    }

    #[test]
    fn files_that_browsers_show_are_accepted() {
        let picture = jpeg(b"");
        let end = picture.len() - 2;
        // No end; a tail that is not a marker; a segment that cannot be parsed.
        for tail in [
            &b""[..],
            b"\xff",
            b"\xff\xff\xff",
            b"\xff\xd8\xff\xe1",
            b"\xff\x02\0\x04ab",
            b"\xff\xe1\0\x01",
            b"\xff\xc0\0\x0b\x08\0\x08\0\x10\x01\x01\x11\0",
            b"\xff\xfe\0\x10GPS",
            b"\xff\xfe\0\x05GPS\0\0\xff\x01\xff\xd3\xff\xd9tail",
            b"\xff\xdb\0",
        ] {
            check(&[&picture[..end], tail].concat(), false, Kind::Jpeg, WIDE, &picture);
        }
        // Bytes between segments belong to no segment.
        let start = segment(0xdb, &[&[0][..], &[1; 64]].concat());
        for padding in [&b"\0\0\0\0\0\0\0"[..], b"GPS", b"\xff\0", b"\xff\x01", b"\xff\xd0", b"\xff\xff"] {
            let padded = jpeg(&[&start[..], padding].concat());
            check(&padded, false, Kind::Jpeg, WIDE, &jpeg(&start));
        }
        // The file ends inside a later table: stored as far as it goes.
        let table = [&picture[..end], b"\xff\xdb\0\x43\x01\x01"].concat();
        let cut = [&table[..], &[1; 30]].concat();
        check(&cut, false, Kind::Jpeg, WIDE, &cut);
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = jpeg(&exif(6));
        for end in 3..picture.len() - 3 {
            refuse(&picture[..end]);
        }
        let frame = segment(0xc0, b"\x08\0\x08\0\x10\x01\x01\x11\0");
        let scan = segment(0xda, b"\x01\x01\0\0\x3f\0");
        let built = |parts: &[&[u8]]| [b"\xff\xd8".as_slice(), &parts.concat(), b"\x0f\xff\xd9"].concat();
        check(&built(&[&frame, &scan]), false, Kind::Jpeg, WIDE, &built(&[&frame, &scan]));
        for parts in [
            &[&scan[..]][..],
            &[&frame, &frame, &scan],
            &[&frame],
            &[&frame, b"\xff\xd9"],
            &[&frame, b"\xff\xe1\0\x01", &scan],
            &[&frame, &segment(0x02, b""), &scan],
            &[&frame, &segment(0xf7, b""), &scan],
            &[&segment(0xc8, b"\x08\0\x08\0\x10\x01"), &scan],
            &[&segment(0xc0, b"\x08\0\0\0\x10\x01"), &scan],
            &[&segment(0xc0, b"\x08\0"), &scan],
        ] {
            refuse(&built(parts));
        }
    }
}
