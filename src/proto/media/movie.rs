//! MP4 and QuickTime movies: finds the tracks and the displayed size, and removes metadata.
//!
//! Boxes that are needed to play the movie are listed by name and stay, at every level and in fragments. Any other box becomes
//! `free` with zeroes: user data, iTunes and QuickTime metadata (`udta`, `meta`: places, makers, serial numbers, comments), XMP
//! (`uuid`), data that makers append. A track that is no picture and no sound is removed: places and motion during the
//! recording (GoPro's `gpmd`, DJI's `djmd`), texts (drones write their places as subtitles), time codes. Creation times, the
//! names of handlers and encoders, and the paths of other files become zeroes.
//!
//! Of the data (`mdat`) only the samples of the tracks that stay are kept, wherever they are and also in fragments; all bytes
//! between them become zeroes. So a movie without its tables, which no player shows, has no data either.

mod samples;
mod sound;

use std::io::{Read, Seek, Write};

use super::super::image::{Kind, Pixels};
use super::boxes::{Atom, Atoms, blank};
use super::kept::Kept;
use super::medium::Medium;
use super::{BROKEN, Fault};

/// The boxes that a movie needs, by the box that contains them (`file` is the file itself). A box that is no key here stays as
/// it is.
const KNOWN: &[(&[u8; 4], &[&[u8; 4]])] = &[
    (FILE, &[b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"wide"]),
    (b"moov", &[b"mvhd", b"trak", b"mvex"]),
    (b"mvex", &[b"mehd", b"trex", b"leva"]),
    (b"trak", &[b"tkhd", b"tref", b"edts", b"mdia", b"tapt", b"clip", b"matt", b"trgr"]),
    // Other tracks that a track needs: layers, transparency, depth, another sound. Not texts, chapters and time codes.
    (b"tref", &[b"auxl", b"vdep", b"vplx", b"scal", b"sbas", b"prem", b"thmb", b"fall", b"dpnd"]),
    (b"edts", &[b"elst"]),
    (b"tapt", &[b"clef", b"prof", b"enof"]),
    (b"mdia", &[b"mdhd", b"hdlr", b"minf", b"elng"]),
    (b"minf", &[b"vmhd", b"smhd", b"hmhd", b"nmhd", b"sthd", b"gmhd", b"dinf", b"stbl", b"hdlr"]),
    (b"dinf", &[b"dref"]),
    (
        b"stbl",
        &[
            b"stsd", b"stts", b"ctts", b"cslg", b"stsc", b"stsz", b"stz2", b"stco", b"co64", b"stss",
            b"stps", b"stsh", b"padb", b"stdp", b"sdtp", b"sbgp", b"sgpd", b"subs", b"saiz", b"saio",
        ],
    ),
    (b"moof", &[b"mfhd", b"traf"]),
    (b"traf", &[b"tfhd", b"trun", b"tfdt", b"sdtp", b"sbgp", b"sgpd", b"subs", b"saiz", b"saio"]),
    (b"mfra", &[b"tfra", b"mfro"]),
];
const FILE: &[u8; 4] = b"file";
/// Tracks with more are refused as malformed: each fragment looks its tracks up in the list.
const TRACKS_MAX: usize = 256;

/// The tracks of a movie.
#[derive(Default)]
pub(super) struct Tracks {
    pub(super) pixels: Option<Pixels>,
    has_video: bool,
    has_sound: bool,
    /// The ids of the tracks that stay.
    shown: Vec<u32>,
    /// The size of a sample in fragments, by the id of its track, where the fragment does not tell it.
    sizes: Vec<(u32, u32)>,
    /// What of the file stays: boxes, and samples of the tracks that stay.
    pub(super) kept: Kept,
}

/// What was read of the track in progress.
#[derive(Default)]
struct Track {
    id: u32,
    handler: Option<[u8; 4]>,
    pixels: Option<Pixels>,
    table: Option<Atom>,
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    kind: Kind,
) -> Result<(Kind, Option<Pixels>), Fault> {
    let mut tracks = Tracks::default();
    let mut atoms = Atoms::between(0, medium.len());
    while let Some(atom) = atoms.next(medium)? {
        let is_data = &atom.name == b"mdat";
        tracks.kept.add(atom.at, if is_data { atom.body } else { atom.end } - atom.at);
        match &atom.name {
            b"mdat" => {}
            b"moov" => movie(medium, &atom, &mut tracks)?,
            b"moof" => fragment(medium, &atom, &mut tracks)?,
            b"wide" => medium.zero(atom.body, atom.len())?,
            name if known(FILE).contains(&name) => clean(medium, &atom, &mut Track::default())?,
            _ => blank(medium, &atom)?,
        }
    }
    std::mem::take(&mut tracks.kept).clear_others(medium)?;
    let is_sound = tracks.has_sound && !tracks.has_video;
    let kind = if is_sound && kind != Kind::Mov { Kind::Mp4Audio } else { kind };
    let kind = if tracks.has_video && kind == Kind::Mp4Audio { Kind::Mp4 } else { kind };
    Ok((kind, tracks.pixels))
}

fn known(name: &[u8; 4]) -> &'static [&'static [u8; 4]] {
    KNOWN.iter().find(|(parent, _)| *parent == name).map_or(&[], |(_, children)| children)
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
            b"mvex" => {
                clean(medium, &atom, &mut Track::default())?;
                samples::defaults(medium, &atom, &mut tracks.sizes)?;
            }
            _ => blank(medium, &atom)?,
        }
    }
    Ok(())
}

fn track<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    atom: &Atom,
    tracks: &mut Tracks,
) -> Result<(), Fault> {
    let mut track = Track::default();
    clean(medium, atom, &mut track)?;
    match track.handler.as_ref() {
        // Transparency and depth of a sequence of pictures are `auxv`.
        Some(b"vide" | b"pict") => {
            tracks.has_video = true;
            tracks.pixels = tracks.pixels.or(track.pixels);
        }
        Some(b"soun") => tracks.has_sound = true,
        Some(b"auxv") => {}
        _ => return blank(medium, atom),
    }
    if tracks.shown.len() == TRACKS_MAX {
        return Err(BROKEN);
    }
    tracks.shown.push(track.id);
    let Some(table) = track.table else { return Ok(()) };
    let is_sound = track.handler.as_ref() == Some(b"soun");
    if track.handler.as_ref() == Some(b"vide") {
        clear_encoders(medium, &table)?;
    }
    samples::keep(medium, &table, is_sound, &mut tracks.kept)
}

/// Removes from a box, and from all boxes in it, what is not needed.
fn clean<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    parent: &Atom,
    track: &mut Track,
) -> Result<(), Fault> {
    let names = known(&parent.name);
    if names.is_empty() {
        return Ok(());
    }
    let mut atoms = Atoms::of(parent);
    while let Some(atom) = atoms.next(medium)? {
        if !names.contains(&&atom.name) {
            blank(medium, &atom)?;
            continue;
        }
        match &atom.name {
            b"tkhd" => {
                (track.id, track.pixels) = (track_id(medium, &atom)?, displayed(medium, &atom)?);
                clear_times(medium, &atom)?;
            }
            b"mdhd" => clear_times(medium, &atom)?,
            b"hdlr" => {
                if &parent.name == b"mdia" {
                    track.handler = medium.array::<4>(atom.body + 8)?;
                }
                clear_name(medium, &atom)?;
            }
            b"dref" => clear_paths(medium, &atom)?,
            b"stbl" => {
                track.table = Some(atom);
                clean(medium, &atom, track)?;
            }
            _ => clean(medium, &atom, track)?,
        }
    }
    Ok(())
}

/// The box `moof`: a fragment, whose tracks are named by their ids.
fn fragment<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    moof: &Atom,
    tracks: &mut Tracks,
) -> Result<(), Fault> {
    clean(medium, moof, &mut Track::default())?;
    let mut data_end = None;
    let mut atoms = Atoms::of(moof);
    while let Some(atom) = atoms.next(medium)? {
        if &atom.name != b"traf" {
            continue;
        }
        let Tracks { shown, sizes, kept, .. } = &mut *tracks;
        let is_shown = |id: u32| shown.contains(&id);
        let run = samples::run(medium, moof, &atom, sizes, data_end, is_shown, kept)?;
        data_end = Some(run.end);
        if !run.is_shown {
            blank(medium, &atom)?;
        }
    }
    Ok(())
}

/// After the version, the flags and two times.
fn track_id<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, header: &Atom) -> Result<u32, Fault> {
    let Some([version]) = medium.array::<1>(header.body)? else { return Ok(0) };
    Ok(medium.u32(header.body + if version == 1 { 20 } else { 12 })?.unwrap_or_default())
}

/// The paths and names of data in other files, which are not part of an upload: four bytes of each entry are needed.
pub(super) fn clear_paths<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    list: &Atom,
) -> Result<(), Fault> {
    let mut entries = Atoms::between(list.body + 8, list.end);
    while let Some(entry) = entries.next(medium)? {
        medium.zero(entry.body + 4, entry.len().saturating_sub(4))?;
    }
    Ok(())
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
fn clear_encoders<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, table: &Atom) -> Result<(), Fault> {
    let (from, len) = (42, 32);
    let mut atoms = Atoms::of(table);
    while let Some(atom) = atoms.next(medium)? {
        if &atom.name != b"stsd" || atom.len() < 8 {
            continue;
        }
        let mut entries = Atoms::between(atom.body + 8, atom.end);
        while let Some(entry) = entries.next(medium)? {
            if entry.len() >= from + len {
                medium.zero(entry.body + from, len)?;
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
