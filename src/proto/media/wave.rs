//! WAV and MP3: keeps the sound, and removes every tag.
//!
//! A tag has a title, but also a place, an owner, a comment or a picture with its own metadata. No tag is needed to play the
//! file, and natter keeps its name. In a WAV, chunks without sound become `JUNK` with zeroes. The tags of an MP3 become empty
//! tags of the same length, since players expect sound where there is no tag.

use std::io::{Read, Seek, Write};

use super::Fault;
use super::medium::Medium;

/// Chunks that are needed to play a WAV: format, number of samples, samples, silence, and the loops of an instrument.
const SOUND: [&[u8; 4]; 7] = [b"fmt ", b"fact", b"data", b"wavl", b"slnt", b"smpl", b"cue "];
/// The bound of tags at one end of a file. Real files have one or two.
const TAGS_MAX: usize = 8;
const ID3V1: u64 = 128;
const APE_FOOTER: u64 = 32;

pub(super) fn clean_wav<F: Read + Write + Seek>(medium: &mut Medium<'_, F>) -> Result<(), Fault> {
    let mut at = 12;
    while let Some([a, b, c, d, size @ ..]) = medium.array::<8>(at)? {
        medium.turn()?;
        let (name, size) = ([a, b, c, d], u64::from(u32::from_le_bytes(size)));
        let room = medium.len() - at - 8;
        // A recording that was not closed has samples up to its end.
        if &name == b"data" && (size == 0 || size >= room) {
            return Ok(());
        }
        if !SOUND.contains(&&name) {
            medium.write(at, b"JUNK")?;
            medium.zero(at + 8, size.min(room))?;
        }
        at = (at + 8).saturating_add(size + (size & 1));
    }
    medium.zero(at, medium.len().saturating_sub(at))
}

pub(super) fn clean_mp3<F: Read + Write + Seek>(medium: &mut Medium<'_, F>) -> Result<(), Fault> {
    let mut at = 0;
    for _ in 0..TAGS_MAX {
        let Some(size) = id3(medium, at, b"ID3")? else { break };
        // Version and size stay. The flags become zero, since they describe bytes that are padding now.
        medium.zero(at + 5, 1)?;
        medium.zero(at + 10, size)?;
        at = at.saturating_add(10 + size);
    }
    let mut end = medium.len();
    for _ in 0..TAGS_MAX {
        let Some(from) = clear_tag_before(medium, end)? else { break };
        end = from;
    }
    if end == medium.len() { clear_incomplete_tag(medium) } else { Ok(()) }
}

/// An incomplete file may end inside of its last tag. In sound these three letters are next to impossible so near to the end,
/// and would cost a part of a frame.
fn clear_incomplete_tag<F: Read + Write + Seek>(medium: &mut Medium<'_, F>) -> Result<(), Fault> {
    let from = medium.len().saturating_sub(ID3V1 - 1);
    let last = medium.range(from, medium.len() - from, ID3V1 as usize)?.unwrap_or_default();
    match last.windows(3).rposition(|three| three == b"TAG") {
        Some(at) => medium.zero(from + at as u64 + 3, last.len() as u64),
        None => Ok(()),
    }
}

/// The size after the head of an ID3v2 tag: four bytes of seven bits.
fn id3<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    at: u64,
    mark: &[u8],
) -> Result<Option<u64>, Fault> {
    let Some(head) = medium.array::<10>(at)? else { return Ok(None) };
    if !head.starts_with(mark) || head[6..].iter().any(|byte| *byte >= 0x80) {
        return Ok(None);
    }
    let size = head[6..].iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    // A second head at the end is not included in the size.
    let footer = if head[5] & 0x10 != 0 && mark == b"ID3" { 10 } else { 0 };
    Ok(Some(size + footer))
}

/// Empties the tag that ends at an offset (APE, ID3v2 with a footer, Lyrics3, ID3v1), and returns where it begins.
fn clear_tag_before<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    end: u64,
) -> Result<Option<u64>, Fault> {
    if let Some(at) = end.checked_sub(APE_FOOTER)
        && let Some(footer) = medium.array::<{ APE_FOOTER as usize }>(at)?
        && footer.starts_with(b"APETAGEX")
    {
        let number =
            |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
        let items = u64::from(number(12)).saturating_sub(APE_FOOTER).min(at);
        let head = if number(20) >> 31 == 1 { APE_FOOTER.min(at - items) } else { 0 };
        let from = at - items - head;
        // The number of items is at the 16th byte of the head and of the footer.
        medium.zero(from + 16, if head == 0 { 0 } else { 4 })?;
        medium.zero(at - items, items)?;
        medium.zero(at + 16, 4)?;
        return Ok(Some(from));
    }
    if let Some(at) = end.checked_sub(10)
        && let Some(size) = id3(medium, at, b"3DI")?
    {
        let size = size.min(at);
        medium.zero(at - size, size)?;
        return Ok(Some((at - size).saturating_sub(10)));
    }
    if let Some(at) = end.checked_sub(15)
        && let Some(footer) = medium.array::<15>(at)?
        && footer.ends_with(b"LYRICS200")
    {
        let digits = std::str::from_utf8(&footer[..6]).ok().and_then(|digits| digits.parse::<u64>().ok());
        let size = digits.unwrap_or_default().min(at);
        // LYRICSBEGIN is its first word.
        medium.zero(at - size + size.min(11), size - size.min(11))?;
        return Ok(Some(at - size));
    }
    if let Some(at) = end.checked_sub(ID3V1)
        && medium.array::<3>(at)? == Some(*b"TAG")
    {
        medium.zero(at + 3, ID3V1 - 4)?;
        // No genre.
        medium.write(end - 1, &[0xff])?;
        return Ok(Some(at));
    }
    Ok(None)
}
