//! WebM (RFC 8794, RFC 9559): finds the tracks and the displayed size, and removes metadata.
//!
//! Elements that are needed to play the file are listed by name and stay, at every level. Any other element becomes `Void`
//! with zeroes: tags, attachments, chapters, titles, dates, names of tracks, unknown elements. A track that is no picture and
//! no sound, subtitles included, is removed with its blocks. The names of the programs that wrote the file become empty, since the format requires
//! these elements, and so do the comments of Vorbis. A check sum (CRC-32) in a changed element would be wrong, so it becomes
//! `Void` too.

use std::io::{Read, Seek, Write};

use super::super::image::{Kind, Pixels};
use super::medium::Medium;
use super::{Fault, TABLE_MAX, ogg};

const HEADER: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const VOID: u32 = 0xec;
const CLUSTER: u32 = 0x1f43_b675;
const INFO: u32 = 0x1549_a966;
const MUXING_APP: u32 = 0x4d80;
const WRITING_APP: u32 = 0x5741;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const CODEC_PRIVATE: u32 = 0x63a2;
const VIDEO: u32 = 0xe0;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;
const DISPLAY_WIDTH: u32 = 0x54b0;
const DISPLAY_HEIGHT: u32 = 0x54ba;
const DISPLAY_UNIT: u32 = 0x54b2;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const SIMPLE_BLOCK: u32 = 0xa3;

/// The elements that contain others, and those that each may contain (RFC 9559 §5).
const KNOWN: &[(u32, &[u32])] = &[
    (HEADER, &[0x4286, 0x42f7, 0x42f2, 0x42f3, 0x4282, 0x4287, 0x4285]),
    (SEGMENT, &[0x114d_9b74, INFO, TRACKS, 0x1c53_bb6b, CLUSTER]),
    // The positions of other elements.
    (0x114d_9b74, &[0x4dbb]),
    (0x4dbb, &[0x53ab, 0x53ac]),
    // The scale of time, the duration, programs.
    (INFO, &[0x002a_d7b1, 0x4489, MUXING_APP, WRITING_APP]),
    (TRACKS, &[TRACK_ENTRY]),
    (
        TRACK_ENTRY,
        &[
            TRACK_NUMBER,
            0x73c5,
            TRACK_TYPE,
            CODEC_ID,
            CODEC_PRIVATE,
            VIDEO,
            // Flags: enabled, default, forced, for whom, lacing.
            0xb9,
            0x88,
            0x55aa,
            0x55ab,
            0x55ac,
            0x55ad,
            0x55ae,
            0x55af,
            0x9c,
            // Caches, durations, delays.
            0x6de7,
            0x6df8,
            0x0023_e383,
            0x0023_4e7a,
            0x0023_314f,
            0x56aa,
            0x56bb,
            0xaa,
            // Additions of blocks, for transparency.
            0x55ee,
            0x41e4,
            // Languages, overlays, sound, encodings.
            0x0022_b59c,
            0x0022_b59d,
            0x6fab,
            0xe1,
            0x6d80,
        ],
    ),
    (0x41e4, &[0x41f0, 0x41e7, 0x41ed]),
    (
        VIDEO,
        &[
            PIXEL_WIDTH,
            PIXEL_HEIGHT,
            DISPLAY_WIDTH,
            DISPLAY_HEIGHT,
            DISPLAY_UNIT,
            // Interlacing, stereo, transparency, crops, the kind of ratio, format, rate, colour, projection.
            0x9a,
            0x9d,
            0x53b8,
            0x53b9,
            0x53c0,
            0x54aa,
            0x54bb,
            0x54cc,
            0x54dd,
            0x54b3,
            0x002e_b524,
            0x0023_83e3,
            0x55b0,
            0x7670,
        ],
    ),
    (
        0x55b0,
        &[
            0x55b1, 0x55b2, 0x55b3, 0x55b4, 0x55b5, 0x55b6, 0x55b7, 0x55b8, 0x55b9, 0x55ba, 0x55bb, 0x55bc,
            0x55bd, 0x55d0,
        ],
    ),
    (0x55d0, &[0x55d1, 0x55d2, 0x55d3, 0x55d4, 0x55d5, 0x55d6, 0x55d7, 0x55d8, 0x55d9, 0x55da]),
    (0x7670, &[0x7671, 0x7672, 0x7673, 0x7674, 0x7675]),
    (0xe1, &[0xb5, 0x78b5, 0x9f, 0x6264, 0x52f1]),
    (0x6d80, &[0x6240]),
    (0x6240, &[0x5031, 0x5032, 0x5033, 0x5034, 0x5035]),
    (0x5034, &[0x4254, 0x4255]),
    (0x5035, &[0x47e1, 0x47e2, 0x47e7]),
    (0x47e7, &[0x47e8]),
    // Cues: points in time, and their positions.
    (0x1c53_bb6b, &[0xbb]),
    (0xbb, &[0xb3, 0xb7]),
    (0xb7, &[0xf7, 0xf1, 0xf0, 0xb2, 0x5378, 0xea]),
    // Timestamp, silent tracks, position, size of the one before, blocks.
    (CLUSTER, &[0xe7, 0x5854, 0xa7, 0xab, SIMPLE_BLOCK, BLOCK_GROUP, 0xaf]),
    (0x5854, &[0x58d7]),
    // The block, its additions, duration, priority, references, state, padding, slices.
    (BLOCK_GROUP, &[BLOCK, 0x75a1, 0x9b, 0xfa, 0xfb, 0xa4, 0x75a2, 0x8e]),
    (0x75a1, &[0xa6]),
    (0xa6, &[0xa5, 0xee]),
    (0x8e, &[0xe8]),
    (0xe8, &[0xcc]),
];

fn known(id: u32) -> Option<&'static [u32]> {
    KNOWN.iter().find(|(parent, _)| *parent == id).map(|(_, children)| *children)
}

/// One element. Its size may be unknown (§6.2 of RFC 8794), as in a recording that was not closed.
#[derive(Clone, Copy)]
struct Element {
    id: u32,
    at: u64,
    body: u64,
    end: u64,
    is_open: bool,
}

#[derive(Default)]
struct Found {
    pixels: Option<Pixels>,
    has_video: bool,
    has_sound: bool,
    /// The numbers of the tracks that are shown or heard, after the list of tracks.
    shown: Option<Vec<u64>>,
    track: Track,
}

/// The track whose elements are read.
#[derive(Default)]
struct Track {
    number: u64,
    kind: u64,
    pixels: Option<Pixels>,
    is_vorbis: bool,
    private: Option<Element>,
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
) -> Result<(Kind, Option<Pixels>), Fault> {
    let mut found = Found::default();
    let (mut at, end, mut is_inside) = (0, medium.len(), false);
    while let Some(element) = next(medium, at, end)? {
        at = element.end;
        match element.id {
            HEADER | SEGMENT if !is_inside => {
                children(medium, &element, &mut found)?;
                is_inside = element.id == SEGMENT;
            }
            _ => void(medium, &element)?,
        }
    }
    medium.zero(at, end - at)?;
    let kind = if found.has_sound && !found.has_video { Kind::WebMAudio } else { Kind::WebM };
    Ok((kind, found.pixels))
}

/// Reads the elements in another one, which is in the table. Returns where the next one after it begins: an element of unknown
/// size ends where an element begins that only the segment can contain.
fn children<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    parent: &Element,
    found: &mut Found,
) -> Result<u64, Fault> {
    let names = known(parent.id).unwrap_or_default();
    let mut at = parent.body;
    while let Some(element) = next(medium, at, parent.end)? {
        at = element.end;
        if names.contains(&element.id) {
            if known(element.id).is_some() {
                begin(&element, found);
                at = children(medium, &element, found)?;
            }
            complete(medium, &element, found)?;
        } else if parent.is_open && known(SEGMENT).is_some_and(|names| names.contains(&element.id)) {
            return Ok(element.at);
        } else {
            void(medium, &element)?;
        }
    }
    medium.zero(at, parent.end.saturating_sub(at))?;
    Ok(parent.end)
}

fn begin(element: &Element, found: &mut Found) {
    match element.id {
        TRACKS => found.shown = Some(found.shown.take().unwrap_or_default()),
        TRACK_ENTRY => found.track = Track::default(),
        _ => {}
    }
}

fn complete<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    element: &Element,
    found: &mut Found,
) -> Result<(), Fault> {
    match element.id {
        MUXING_APP | WRITING_APP => medium.zero(element.body, element.end - element.body)?,
        TRACK_NUMBER => found.track.number = number(medium, element)?,
        TRACK_TYPE => found.track.kind = number(medium, element)?,
        CODEC_ID => {
            let name = medium.range(element.body, element.end - element.body, TABLE_MAX)?;
            found.track.is_vorbis = name.is_some_and(|name| name.starts_with(b"A_VORBIS"));
        }
        CODEC_PRIVATE => found.track.private = Some(*element),
        VIDEO => found.track.pixels = displayed(medium, element)?,
        TRACK_ENTRY => track(medium, element, found)?,
        SIMPLE_BLOCK | BLOCK => {
            let mut head = [0; 8];
            let have = medium.read(element.body, &mut head)?;
            let track = vint(&head[..have]).map(|(number, _)| number);
            if found.shown.as_ref().is_some_and(|shown| track.is_none_or(|track| !shown.contains(&track))) {
                void(medium, element)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn track<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    element: &Element,
    found: &mut Found,
) -> Result<(), Fault> {
    let track = std::mem::take(&mut found.track);
    // RFC 9559 §5.1.4.1.3: video, audio, both in one. Not subtitles: cameras write places as such, and no browser shows them.
    if !matches!(track.kind, 1..=3) {
        return void(medium, element);
    }
    if let Some(shown) = &mut found.shown {
        shown.push(track.number);
    }
    found.has_video |= matches!(track.kind, 1 | 3);
    found.has_sound |= track.kind == 2;
    if matches!(track.kind, 1 | 3) {
        found.pixels = found.pixels.or(track.pixels);
    }
    match track.private {
        Some(private) if track.is_vorbis => clear_vorbis(medium, &private),
        _ => Ok(()),
    }
}

/// The three first packets of a Vorbis stream, with their sizes before them; the second has comments.
fn clear_vorbis<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, private: &Element) -> Result<(), Fault> {
    let bytes = medium.range(private.body, private.end - private.body, TABLE_MAX)?;
    let Some(mut bytes) = bytes.filter(|bytes| bytes.first() == Some(&2)) else { return Ok(()) };
    let (mut at, mut sizes) = (1, [0_usize; 2]);
    for size in &mut sizes {
        loop {
            let Some(byte) = bytes.get(at) else { return Ok(()) };
            at += 1;
            *size += usize::from(*byte);
            if *byte < 255 {
                break;
            }
        }
    }
    let Some(packet) = bytes.get_mut(at + sizes[0]..).and_then(|rest| rest.get_mut(..sizes[1])) else {
        return Ok(());
    };
    ogg::clear_vorbis(packet);
    Ok(medium.write(private.body, &bytes)?)
}

fn displayed<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    video: &Element,
) -> Result<Option<Pixels>, Fault> {
    let (mut at, mut stored, mut display, mut unit) = (video.body, (0, 0), (0, 0), 0);
    while let Some(element) = next(medium, at, video.end)? {
        at = element.end;
        let side = match element.id {
            PIXEL_WIDTH => &mut stored.0,
            PIXEL_HEIGHT => &mut stored.1,
            DISPLAY_WIDTH => &mut display.0,
            DISPLAY_HEIGHT => &mut display.1,
            DISPLAY_UNIT => &mut unit,
            _ => continue,
        };
        *side = number(medium, &element)?;
    }
    // In units other than pixels the sides are a ratio.
    let (width, height) = if unit == 0 && display.0 > 0 && display.1 > 0 { display } else { stored };
    Ok(u32::try_from(width).ok().zip(u32::try_from(height).ok()).and_then(|(w, h)| Pixels::new(w, h)))
}

fn number<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, element: &Element) -> Result<u64, Fault> {
    let bytes = medium.range(element.body, element.end - element.body, 8)?.unwrap_or_default();
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The element at an offset, if there is one.
fn next<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    at: u64,
    end: u64,
) -> Result<Option<Element>, Fault> {
    if at >= end {
        return Ok(None);
    }
    medium.turn()?;
    let mut head = [0; 12];
    let have = medium.read(at, &mut head)?.min(usize::try_from(end - at).unwrap_or(usize::MAX));
    let head = &head[..have];
    let Some(id_len) = head.first().map(|first| first.leading_zeros() as usize + 1) else { return Ok(None) };
    let (Some(id), true) = (head.get(..id_len), id_len <= 4) else { return Ok(None) };
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let Some((size, size_len)) = vint(&head[id_len..]) else { return Ok(None) };
    let is_open = size == (1 << (7 * size_len)) - 1;
    let body = at + (id_len + size_len) as u64;
    let end = if is_open { end } else { body.saturating_add(size).min(end) };
    Ok(Some(Element { id, at, body, end, is_open }))
}

/// A number of variable length, and its length (RFC 8794 §4).
fn vint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first().filter(|first| **first != 0)?;
    let len = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..len)?;
    let mask = 0x7f_u8 >> (len - 1);
    Some((rest.iter().fold(u64::from(first & mask), |number, byte| number << 8 | u64::from(*byte)), len))
}

/// Changes an element to one of the same length that every reader skips, with a body of zeroes.
fn void<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, element: &Element) -> Result<(), Fault> {
    let total = element.end - element.at;
    if total < 2 {
        return medium.zero(element.at, total);
    }
    // As wide as the head that it replaces, so that a second run changes nothing.
    let mut width = (element.body - element.at - 1).clamp(1, 8).min(total - 1);
    // All ones would mean an unknown size.
    while width < 8 && width < total - 1 && total - 1 - width >= (1 << (7 * width)) - 1 {
        width += 1;
    }
    let size = total - 1 - width;
    let mut head = vec![VOID as u8];
    head.extend_from_slice(&(size | 1 << (7 * width)).to_be_bytes()[8 - width as usize..]);
    medium.write(element.at, &head)?;
    medium.zero(element.at + head.len() as u64, size)
}
