//! WebM (RFC 8794, RFC 9559): finds the tracks and the displayed size, and removes metadata.
//!
//! Tags, attachments, chapters, titles, dates, names of tracks and unknown elements become `Void` with zeroes. The names of the
//! programs that wrote the file become empty, since the format requires these elements. A check sum (CRC-32) in a changed
//! element would be wrong, so it becomes `Void` too.

use std::io::{Read, Seek, Write};

use super::super::image::{Kind, Pixels};
use super::Fault;
use super::medium::Medium;

const HEADER: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const VOID: u32 = 0xec;
const CRC: u32 = 0xbf;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const SEEK_HEAD: u32 = 0x114d_9b74;
const CUES: u32 = 0x1c53_bb6b;
/// Timestamp, silent tracks, position, size of the one before, blocks.
const IN_CLUSTER: [u32; 7] = [0xe7, 0x5854, 0xa7, 0xab, 0xa3, 0xa0, 0xaf];
/// The scale of time and the duration.
const IN_INFO: [u32; 2] = [0x002a_d7b1, 0x4489];
const MUXING_APP: u32 = 0x4d80;
const WRITING_APP: u32 = 0x5741;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NAME: u32 = 0x536e;
const TRACK_TYPE: u32 = 0x83;
const VIDEO: u32 = 0xe0;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;
const DISPLAY_WIDTH: u32 = 0x54b0;
const DISPLAY_HEIGHT: u32 = 0x54ba;
const DISPLAY_UNIT: u32 = 0x54b2;

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
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
) -> Result<(Kind, Option<Pixels>), Fault> {
    let mut found = Found::default();
    let (mut at, end, mut is_inside) = (0, medium.len(), false);
    while let Some(element) = next(medium, at, end)? {
        at = element.end;
        match element.id {
            HEADER if !is_inside => {}
            SEGMENT if !is_inside => {
                segment(medium, &element, &mut found)?;
                is_inside = true;
            }
            _ => void(medium, &element)?,
        }
    }
    medium.zero(at, end - at)?;
    let kind = if found.has_sound && !found.has_video { Kind::WebMAudio } else { Kind::WebM };
    Ok((kind, found.pixels))
}

fn segment<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    segment: &Element,
    found: &mut Found,
) -> Result<(), Fault> {
    let mut at = segment.body;
    while let Some(element) = next(medium, at, segment.end)? {
        at = element.end;
        match element.id {
            // A cluster of unknown size ends where an element begins that cannot be inside it: the loop reads both.
            CLUSTER if element.is_open => at = element.body,
            CLUSTER | SEEK_HEAD | CUES => {}
            id if IN_CLUSTER.contains(&id) => {}
            INFO => info(medium, &element)?,
            TRACKS => tracks(medium, &element, found)?,
            _ => void(medium, &element)?,
        }
    }
    medium.zero(at, segment.end - at)
}

fn info<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, info: &Element) -> Result<(), Fault> {
    let mut at = info.body;
    while let Some(element) = next(medium, at, info.end)? {
        at = element.end;
        match element.id {
            MUXING_APP | WRITING_APP => medium.zero(element.body, element.end - element.body)?,
            id if IN_INFO.contains(&id) => {}
            _ => void(medium, &element)?,
        }
    }
    Ok(())
}

fn tracks<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    tracks: &Element,
    found: &mut Found,
) -> Result<(), Fault> {
    let mut at = tracks.body;
    while let Some(element) = next(medium, at, tracks.end)? {
        at = element.end;
        match element.id {
            TRACK_ENTRY => track(medium, &element, found)?,
            _ => void(medium, &element)?,
        }
    }
    Ok(())
}

fn track<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    track: &Element,
    found: &mut Found,
) -> Result<(), Fault> {
    let (mut at, mut kind, mut pixels) = (track.body, 0, None);
    while let Some(element) = next(medium, at, track.end)? {
        at = element.end;
        match element.id {
            TRACK_TYPE => kind = number(medium, &element)?,
            VIDEO => pixels = displayed(medium, &element)?,
            // A track can be played without these.
            TRACK_NAME | CRC | VOID => void(medium, &element)?,
            _ => {}
        }
    }
    // RFC 9559 §5.1.4.1.3: video, audio, and both in one.
    found.has_video |= matches!(kind, 1 | 3);
    found.has_sound |= kind == 2;
    if matches!(kind, 1 | 3) {
        found.pixels = found.pixels.or(pixels);
    }
    Ok(())
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
    let Some(first) = head.get(id_len).filter(|first| **first != 0) else { return Ok(None) };
    let size_len = first.leading_zeros() as usize + 1;
    let Some(size) = head.get(id_len..id_len + size_len) else { return Ok(None) };
    let mask = 0x7f_u8 >> (size_len - 1);
    let size = size[1..].iter().fold(u64::from(first & mask), |size, byte| size << 8 | u64::from(*byte));
    let is_open = size == (1 << (7 * size_len)) - 1;
    let body = at + (id_len + size_len) as u64;
    let end = if is_open { end } else { body.saturating_add(size).min(end) };
    Ok(Some(Element { id, at, body, end, is_open }))
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
