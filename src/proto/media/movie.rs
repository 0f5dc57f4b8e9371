//! MP4 and QuickTime movies: finds the tracks and the displayed size, and removes metadata.
//!
//! Boxes that are needed to play the movie are listed by name and stay. Any other box becomes `free` with zeroes: user data,
//! iTunes and QuickTime metadata (`udta`, `meta`: places, makers, serial numbers, comments), XMP (`uuid`), data that makers
//! append. A track that is neither shown nor heard (places and motion during the recording) is removed with its samples.
//! Creation times and the names of handlers and encoders become zeroes.

use std::io::{Read, Seek, Write};

use super::super::image::{Kind, Pixels};
use super::boxes::{Atom, Atoms, blank};
use super::medium::Medium;
use super::{Fault, TABLE_MAX};

const TOP: [&[u8; 4]; 9] = [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"wide"];
const IN_MOVIE: [&[u8; 4]; 4] = [b"mvhd", b"trak", b"mvex", b"iods"];
const IN_TRACK: [&[u8; 4]; 8] = [b"tkhd", b"tref", b"edts", b"mdia", b"tapt", b"clip", b"matt", b"trgr"];
const IN_MEDIA: [&[u8; 4]; 4] = [b"mdhd", b"hdlr", b"minf", b"elng"];
/// Handlers of tracks that are shown or heard, and of their texts and time codes.
const SHOWN: [&[u8; 4]; 9] =
    [b"vide", b"soun", b"text", b"sbtl", b"subt", b"clcp", b"tmcd", b"pict", b"auxv"];

/// The kinds of tracks in a movie.
#[derive(Default)]
pub(super) struct Tracks {
    pub(super) pixels: Option<Pixels>,
    has_video: bool,
    has_sound: bool,
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    kind: Kind,
) -> Result<(Kind, Option<Pixels>), Fault> {
    let mut tracks = Tracks::default();
    let mut atoms = Atoms::between(0, medium.len());
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"moov" => movie(medium, &atom, &mut tracks)?,
            name if TOP.contains(&name) => {}
            _ => blank(medium, &atom)?,
        }
    }
    let (at, end) = atoms.rest();
    medium.zero(at, end - at)?;
    let is_sound = tracks.has_sound && !tracks.has_video;
    let kind = if is_sound && kind != Kind::Mov { Kind::Mp4Audio } else { kind };
    let kind = if tracks.has_video && kind == Kind::Mp4Audio { Kind::Mp4 } else { kind };
    Ok((kind, tracks.pixels))
}

/// The box `moov`, of a movie or of a sequence of pictures.
pub(super) fn movie<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    movie: &Atom,
    tracks: &mut Tracks,
) -> Result<(), Fault> {
    let mut atoms = Atoms::of(movie);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"mvhd" => clear_times(medium, &atom)?,
            b"trak" => track(medium, &atom, tracks)?,
            name if IN_MOVIE.contains(&name) => {}
            _ => blank(medium, &atom)?,
        }
    }
    Ok(())
}

fn track<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    track: &Atom,
    tracks: &mut Tracks,
) -> Result<(), Fault> {
    let (mut handler, mut pixels, mut table) = (None, None, None);
    let mut atoms = Atoms::of(track);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"tkhd" => {
                pixels = displayed(medium, &atom)?;
                clear_times(medium, &atom)?;
            }
            b"mdia" => (handler, table) = media(medium, &atom)?,
            name if IN_TRACK.contains(&name) => {}
            _ => blank(medium, &atom)?,
        }
    }
    match handler.as_ref() {
        Some(b"vide" | b"pict") => {
            tracks.has_video = true;
            tracks.pixels = tracks.pixels.or(pixels);
        }
        Some(b"soun") => tracks.has_sound = true,
        Some(name) if SHOWN.contains(&name) => {}
        _ => {
            if let Some(table) = table {
                clear_samples(medium, &table)?;
            }
            blank(medium, track)?;
        }
    }
    Ok(())
}

/// The handler of a track, and its table of samples.
fn media<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    media: &Atom,
) -> Result<(Option<[u8; 4]>, Option<Atom>), Fault> {
    let (mut handler, mut table) = (None, None);
    let mut atoms = Atoms::of(media);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"mdhd" => clear_times(medium, &atom)?,
            b"hdlr" => {
                handler = medium.array::<4>(atom.body + 8)?;
                clear_name(medium, &atom)?;
            }
            b"minf" => {
                let mut inner = Atoms::of(&atom);
                while let Some(inner) = inner.next(medium)? {
                    match &inner.name {
                        b"stbl" => table = Some(inner),
                        b"hdlr" => clear_name(medium, &inner)?,
                        b"udta" | b"meta" | b"uuid" | b"free" | b"skip" => blank(medium, &inner)?,
                        _ => {}
                    }
                }
            }
            name if IN_MEDIA.contains(&name) => {}
            _ => blank(medium, &atom)?,
        }
    }
    if let (Some(b"vide"), Some(table)) = (handler.as_ref(), &table) {
        clear_encoder(medium, table)?;
    }
    Ok((handler, table))
}

/// A name follows 24 bytes; zeroes are an empty one, terminated or counted.
fn clear_name<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, handler: &Atom) -> Result<(), Fault> {
    medium.zero(handler.body + 24, handler.len().saturating_sub(24))
}

/// The times of creation and change: after the version and the flags, of 32 or 64 bits each.
fn clear_times<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, header: &Atom) -> Result<(), Fault> {
    let Some([version]) = medium.array::<1>(header.body)? else { return Ok(()) };
    let len = if version == 1 { 16 } else { 8 };
    medium.zero(header.body + 4, header.len().saturating_sub(4).min(len))
}

/// The name of the encoder in each sample description of a video track.
fn clear_encoder<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, table: &Atom) -> Result<(), Fault> {
    let mut atoms = Atoms::of(table);
    while let Some(atom) = atoms.next(medium)? {
        if &atom.name != b"stsd" || atom.len() < 8 {
            continue;
        }
        let mut entries = Atoms::between(atom.body + 8, atom.end);
        while let Some(entry) = entries.next(medium)? {
            if entry.len() >= 42 + 32 {
                medium.zero(entry.body + 42, 32)?;
            }
        }
    }
    Ok(())
}

/// Width and height of a track header, turned by its matrix.
fn displayed<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    header: &Atom,
) -> Result<Option<Pixels>, Fault> {
    let Some([version]) = medium.array::<1>(header.body)? else { return Ok(None) };
    let matrix = header.body + if version == 1 { 52 } else { 40 };
    if matrix + 44 > header.end {
        return Ok(None);
    }
    let Some(bytes) = medium.array::<44>(matrix)? else { return Ok(None) };
    let at =
        |n: usize| u32::from_be_bytes([bytes[4 * n], bytes[4 * n + 1], bytes[4 * n + 2], bytes[4 * n + 3]]);
    // 16.16 fixed point; a quarter turn has nothing on the diagonal.
    let (width, height) = (at(9) >> 16, at(10) >> 16);
    let is_turned = at(0) == 0 && at(4) == 0 && at(1) != 0 && at(3) != 0;
    Ok(Pixels::new(width, height).map(|pixels| pixels.turned(is_turned.then_some(6))))
}

/// Overwrites every sample of a table with zeroes.
fn clear_samples<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, table: &Atom) -> Result<(), Fault> {
    let (mut sizes, mut chunks, mut runs, mut wide) = (None, None, Vec::new(), false);
    let mut atoms = Atoms::of(table);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"stsz" => sizes = Some(atom),
            b"stco" => chunks = Some(atom),
            b"co64" => (chunks, wide) = (Some(atom), true),
            b"stsc" => {
                let bytes = medium.range(atom.body, atom.len(), TABLE_MAX)?.unwrap_or_default();
                let entries = bytes.get(8..).unwrap_or_default().chunks_exact(12);
                runs = entries.map(|entry| (u32_of(&entry[0..]), u32_of(&entry[4..]))).collect();
            }
            _ => {}
        }
    }
    let (Some(sizes), Some(chunks)) = (sizes, chunks) else { return Ok(()) };
    let equal = medium.u32(sizes.body + 4)?.unwrap_or_default();
    let count = medium.u32(sizes.body + 8)?.unwrap_or_default();
    let chunk_count = medium.u32(chunks.body + 4)?.unwrap_or_default();
    let (mut sample, mut run) = (0_u32, 0_usize);
    for chunk in 0..chunk_count {
        medium.turn()?;
        let entry = chunks.body + 8 + u64::from(chunk) * if wide { 8 } else { 4 };
        if entry >= chunks.end || sample >= count {
            break;
        }
        let offset = match wide {
            true => medium.array(entry)?.map(u64::from_be_bytes),
            false => medium.u32(entry)?.map(u64::from),
        };
        let Some(mut offset) = offset else { break };
        while runs.get(run + 1).is_some_and(|next| next.0 <= chunk + 1) {
            run += 1;
        }
        let in_chunk = runs.get(run).map_or(1, |run| run.1).min(count - sample);
        for _ in 0..in_chunk {
            medium.turn()?;
            let size = match equal {
                0 => medium.u32(sizes.body + 12 + u64::from(sample) * 4)?.unwrap_or_default(),
                size => size,
            };
            medium.zero(offset, size.into())?;
            offset = offset.saturating_add(size.into());
            sample += 1;
        }
    }
    Ok(())
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
