//! Finds the end of a JPEG without an EOI: decodes the codes of its scans.
//!
//! Some phones write a trailer directly after the last scan, without an EOI. The head of a frame gives the number of blocks in
//! each scan, so the last bit can be found without decoding a pixel ([`scan`]).
//! Invariant: no byte stays after the last bit that a decoder of ITU T.81 would take, and none between two segments. A scan
//! whose last bit cannot be found is removed.

mod scan;

use std::io::{Read, Seek, Write};

use super::medium::Medium;
use super::{BROKEN, Fault};
use scan::{Codes, Component, Decoder};

/// The longest segment: its length has 16 bits.
const SEGMENT_MAX: usize = 65_535;
const COMPONENTS_MAX: usize = 4;
/// The bound of scans, each of which costs a step for each block. Encoders write about ten; a picture ends after so many.
const SCANS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Frame {
    is_progressive: bool,
    width: u32,
    height: u32,
    components: Vec<Component>,
    /// DC tables, then AC tables.
    codes: [Codes; 8],
    restart: u32,
}

/// Overwrites bytes between the segments, and returns the offset after the last bit of the picture.
pub(super) fn end<F: Read + Write + Seek>(medium: &mut Medium<'_, F>) -> Result<u64, Fault> {
    let (mut frame, mut decoder) = (Frame::default(), Decoder::default());
    let (mut at, mut end, mut scanned) = (2, None, [false; COMPONENTS_MAX]);
    for _ in 0..SCANS_MAX {
        let Some((head, from)) = next_scan(medium, &mut frame, at)? else { break };
        let Some(scan) = scan::Scan::read(&frame, &head) else { break };
        let Some(found) = decoder.decode(medium, &frame, &scan, from)? else { break };
        end = Some(found);
        for part in &scan.parts {
            scanned[part.component] = true;
        }
        // In a sequential frame each component has one scan.
        if !frame.is_progressive && scanned[..frame.components.len()].iter().all(|is_scanned| *is_scanned) {
            break;
        }
        // Any number of these bytes may fill the space before a marker (§B.1.1.2).
        let Some(next) = next_marker(medium, found)? else { break };
        fill(medium, found, next)?;
        at = next;
    }
    end.ok_or(BROKEN)
}

/// Reads the segments up to a scan. Returns the head of the scan, and where its data begins.
fn next_scan<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    frame: &mut Frame,
    mut at: u64,
) -> Result<Option<(Vec<u8>, u64)>, Fault> {
    loop {
        medium.turn()?;
        let Some([0xff, code, high, low]) = medium.array::<4>(at)? else { return Ok(None) };
        if code == 0xff {
            at += 1;
            continue;
        }
        let len = u64::from(u16::from_be_bytes([high, low]));
        let Some(body) = medium.range(at + 4, len.saturating_sub(2), SEGMENT_MAX)? else { return Ok(None) };
        at += 2 + len;
        match code {
            0xc4 => define(frame, &body),
            // Only these are shown by browsers: other frames are lossless, hierarchical or of arithmetic codes.
            0xc0..=0xc2 if read_frame(frame, code, &body).is_some() => {}
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(None),
            0xdd => frame.restart = body.first_chunk().map_or(0, |two| u16::from_be_bytes(*two).into()),
            0xda => return Ok(Some((body, at))),
            _ => {}
        }
    }
}

fn define(frame: &mut Frame, mut body: &[u8]) {
    while let Some((head, rest)) = body.split_first_chunk::<17>() {
        let total: usize = head[1..].iter().map(|count| usize::from(*count)).sum();
        let Some((symbols, rest)) = rest.split_at_checked(total) else { return };
        let table = usize::from(head[0] >> 4 & 1) * 4 + usize::from(head[0] & 3);
        frame.codes[table] = Codes::new(head[1..].iter().copied(), symbols);
        body = rest;
    }
}

fn read_frame(frame: &mut Frame, code: u8, body: &[u8]) -> Option<()> {
    let (head, components) = body.split_first_chunk::<6>()?;
    frame.is_progressive = code == 0xc2;
    frame.height = u16::from_be_bytes([head[1], head[2]]).into();
    frame.width = u16::from_be_bytes([head[3], head[4]]).into();
    frame.components = components
        .chunks_exact(3)
        .take(COMPONENTS_MAX)
        .map(|it| Component { id: it[0], across: u32::from(it[1] >> 4), down: u32::from(it[1] & 15) })
        .collect();
    let is_sampled = |it: &Component| (1..=4).contains(&it.across) && (1..=4).contains(&it.down);
    (!frame.components.is_empty() && frame.components.iter().all(is_sampled)).then_some(())
}

/// Where the next segment begins: a marker that is not a restart. The last one is the EOI that the filter added.
fn next_marker<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    mut at: u64,
) -> Result<Option<u64>, Fault> {
    while let Some(pair) = medium.array::<2>(at)? {
        match pair {
            [0xff, 0xd9] => return Ok(None),
            [0xff, 0x00 | 0xd0..=0xd7] => at += 2,
            [0xff, 0xff] => at += 1,
            [0xff, _] => return Ok(Some(at)),
            _ => at += 1,
        }
    }
    Ok(None)
}

/// Overwrites bytes that belong to no segment. They are few, or the file is malformed.
fn fill<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, from: u64, to: u64) -> Result<(), Fault> {
    let Some(len) = usize::try_from(to - from).ok().filter(|len| *len <= SEGMENT_MAX) else {
        return Err(BROKEN);
    };
    Ok(medium.write(from, &vec![0xff; len])?)
}
