//! Finds where the samples of the tracks that stay are, in a table or in a fragment.
//!
//! The places of samples are in the table of the track (ISO/IEC 14496-12, 8.7), or in the runs of each fragment (8.8). A table
//! that is cut or that contradicts itself refers to what a player would read of it: up to its first missing entry. Each entry is
//! read once, so the work is bounded by the length of the file.

use std::io::{Read, Seek, Write};

use super::super::boxes::{Atom, Atoms};
use super::super::kept::Kept;
use super::super::medium::Medium;
use super::super::{BROKEN, Fault};
use super::TRACKS_MAX;
use super::sound::Sound;

/// Flags of a fragment's track (8.8.7) and of a run (8.8.8).
const HAS_BASE: u32 = 0x1;
const HAS_DESCRIPTION: u32 = 0x2;
const HAS_DURATION: u32 = 0x8;
const HAS_SIZE: u32 = 0x10;
const BASE_IS_MOOF: u32 = 0x2_0000;
const RUN_HAS_OFFSET: u32 = 0x1;
const RUN_HAS_FIRST_FLAGS: u32 = 0x4;
const SAMPLE_HAS_DURATION: u32 = 0x100;
const SAMPLE_HAS_SIZE: u32 = 0x200;
const SAMPLE_HAS_FLAGS: u32 = 0x400;
const SAMPLE_HAS_TIME: u32 = 0x800;

/// Reads the entries of a table one after the other, through a buffer of its own: the tables of a track are read in turns.
struct Entries {
    at: u64,
    end: u64,
    buffer: [u8; 1_024],
    /// What is left of the buffer.
    from: usize,
    filled: usize,
}

impl Entries {
    /// The entries of a box after `skip` bytes of its body.
    fn of(atom: &Atom, skip: u64) -> Entries {
        Entries { at: atom.body + skip, end: atom.end, buffer: [0; 1_024], from: 0, filled: 0 }
    }

    fn next<const N: usize, F: Read + Write + Seek>(
        &mut self,
        medium: &mut Medium<'_, F>,
    ) -> Result<Option<[u8; N]>, Fault> {
        if self.filled - self.from < N {
            self.at = self.at.saturating_add(self.from as u64);
            let room = self.end.saturating_sub(self.at).min(self.buffer.len() as u64) as usize;
            (self.from, self.filled) = (0, medium.read(self.at, &mut self.buffer[..room])?);
        }
        let entry = self.buffer[self.from..self.filled].first_chunk::<N>().copied();
        self.from += if entry.is_some() { N } else { 0 };
        Ok(entry)
    }
}

/// The sizes of the samples of a track.
struct Sizes {
    /// The size of each, or zero.
    equal: u32,
    /// Samples that are not taken yet.
    left: u32,
    /// How many bits each single size has.
    bits: u32,
    entries: Entries,
    /// The second of two sizes in one byte.
    half: Option<u8>,
}

impl Sizes {
    fn read<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, atom: &Atom) -> Result<Sizes, Fault> {
        let first = medium.u32(atom.body + 4)?.unwrap_or_default();
        let (equal, bits) = if &atom.name == b"stz2" { (0, first & 0xff) } else { (first, 32) };
        let left = medium.u32(atom.body + 8)?.unwrap_or_default();
        Ok(Sizes { equal, left, bits, entries: Entries::of(atom, 12), half: None })
    }

    /// The bytes of the next samples, which are in one chunk.
    fn take<F: Read + Write + Seek>(
        &mut self,
        medium: &mut Medium<'_, F>,
        count: u32,
        sound: Option<&Sound>,
    ) -> Result<u64, Fault> {
        if self.equal > 0 {
            // Players take the number of samples in uncompressed sound from the chunks.
            let taken = if sound.is_some() { count } else { count.min(self.left) };
            self.left = self.left.saturating_sub(count);
            let len = u64::from(taken) * u64::from(self.equal);
            return Ok(len.max(sound.map_or(0, |sound| sound.len(taken.into()))));
        }
        let mut len = 0_u64;
        for _ in 0..count.min(self.left) {
            self.left -= 1;
            match self.next(medium)? {
                Some(size) => len += u64::from(size),
                None => self.left = 0,
            }
            if self.left == 0 {
                break;
            }
        }
        Ok(len)
    }

    fn next<F: Read + Write + Seek>(&mut self, medium: &mut Medium<'_, F>) -> Result<Option<u32>, Fault> {
        if let Some(half) = self.half.take() {
            return Ok(Some(half.into()));
        }
        Ok(match self.bits {
            4 => self.entries.next(medium)?.map(|[byte]: [u8; 1]| {
                self.half = Some(byte & 15);
                u32::from(byte >> 4)
            }),
            8 => self.entries.next(medium)?.map(|[byte]: [u8; 1]| byte.into()),
            16 => self.entries.next(medium)?.map(|pair| u16::from_be_bytes(pair).into()),
            _ => self.entries.next(medium)?.map(u32::from_be_bytes),
        })
    }

    /// Whether no chunk refers to a sample any more.
    fn is_done(&self, sound: Option<&Sound>) -> bool {
        self.left == 0 && (self.equal == 0 || sound.is_none())
    }
}

/// Adds every sample of a table to what is kept.
pub(super) fn keep<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    table: &Atom,
    is_sound: bool,
    kept: &mut Kept,
) -> Result<(), Fault> {
    let (mut sizes, mut chunks, mut runs, mut sound) = (None, None, None, None);
    let mut atoms = Atoms::of(table);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"stsz" | b"stz2" => sizes = Some(Sizes::read(medium, &atom)?),
            b"stco" | b"co64" => chunks = Some(atom),
            b"stsc" => runs = Some(Entries::of(&atom, 8)),
            b"stsd" if is_sound => sound = Some(Sound::read(medium, &atom)?),
            _ => {}
        }
    }
    let (Some(mut sizes), Some(chunks)) = (sizes, chunks) else { return Ok(()) };
    let is_wide = &chunks.name == b"co64";
    let count = medium.u32(chunks.body + 4)?.unwrap_or_default();
    let mut offsets = Entries::of(&chunks, 8);
    let mut next_run = run_of_chunks(medium, runs.as_mut())?;
    let mut in_chunk = 1;
    for chunk in 1..=count {
        medium.turn()?;
        let offset = match is_wide {
            true => offsets.next(medium)?.map(u64::from_be_bytes),
            false => offsets.next(medium)?.map(|offset| u32::from_be_bytes(offset).into()),
        };
        let Some(offset) = offset else { break };
        while let Some((_, samples)) = next_run.filter(|(first, _)| *first <= chunk) {
            in_chunk = samples;
            next_run = run_of_chunks(medium, runs.as_mut())?;
        }
        kept.add(offset, sizes.take(medium, in_chunk, sound.as_ref())?);
        if sizes.is_done(sound.as_ref()) {
            break;
        }
    }
    Ok(())
}

/// From which chunk on each has how many samples.
fn run_of_chunks<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    runs: Option<&mut Entries>,
) -> Result<Option<(u32, u32)>, Fault> {
    let Some(runs) = runs else { return Ok(None) };
    Ok(runs.next::<12, F>(medium)?.map(|entry| (u32_of(&entry[0..]), u32_of(&entry[4..]))))
}

/// The sizes of samples that fragments need not repeat (`trex`), by track.
pub(super) fn defaults<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    mvex: &Atom,
    sizes: &mut Vec<(u32, u32)>,
) -> Result<(), Fault> {
    let mut atoms = Atoms::of(mvex);
    while let Some(atom) = atoms.next(medium)? {
        if &atom.name == b"trex"
            && let (Some(track), Some(size)) = (medium.u32(atom.body + 4)?, medium.u32(atom.body + 16)?)
        {
            if sizes.len() == TRACKS_MAX {
                return Err(BROKEN);
            }
            sizes.push((track, size));
        }
    }
    Ok(())
}

/// The track of a fragment.
pub(super) struct Run {
    pub(super) is_shown: bool,
    /// The end of its data, where that of the next track may begin.
    pub(super) end: u64,
}

/// Reads the runs of a track in a fragment (`traf`), and adds their samples to what is kept if the track is shown.
pub(super) fn run<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    moof: &Atom,
    traf: &Atom,
    sizes: &[(u32, u32)],
    data_end: Option<u64>,
    is_shown: impl Fn(u32) -> bool,
    kept: &mut Kept,
) -> Result<Run, Fault> {
    let mut found = Run { is_shown: false, end: data_end.unwrap_or(moof.at) };
    let (mut base, mut size) = (found.end, 0);
    let mut atoms = Atoms::of(traf);
    while let Some(atom) = atoms.next(medium)? {
        let flags = medium.u32(atom.body)?.unwrap_or_default();
        let mut at = atom.body + 4;
        match &atom.name {
            b"tfhd" => {
                let track = next(medium, &mut at)?;
                found.is_shown = is_shown(track);
                size = sizes.iter().find(|(id, _)| *id == track).map_or(0, |(_, size)| *size);
                base = if flags & HAS_BASE != 0 {
                    u64::from(next(medium, &mut at)?) << 32 | u64::from(next(medium, &mut at)?)
                } else if flags & BASE_IS_MOOF != 0 {
                    moof.at
                } else {
                    found.end
                };
                at += 4 * u64::from((flags & HAS_DESCRIPTION != 0) as u8 + (flags & HAS_DURATION != 0) as u8);
                if flags & HAS_SIZE != 0 {
                    size = next(medium, &mut at)?;
                }
                found.end = base;
            }
            b"trun" => {
                let count = next(medium, &mut at)?;
                if flags & RUN_HAS_OFFSET != 0 {
                    found.end = base.saturating_add_signed(i64::from(next(medium, &mut at)? as i32));
                }
                at += if flags & RUN_HAS_FIRST_FLAGS != 0 { 4 } else { 0 };
                let from = found.end;
                let len = run_len(medium, flags, count, size, at..atom.end)?;
                if found.is_shown {
                    kept.add(from, len);
                }
                found.end = from.saturating_add(len);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The bytes of all samples of a run.
fn run_len<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    flags: u32,
    count: u32,
    size: u32,
    entries: std::ops::Range<u64>,
) -> Result<u64, Fault> {
    if flags & SAMPLE_HAS_SIZE == 0 {
        return Ok(u64::from(count) * u64::from(size));
    }
    let fields = [SAMPLE_HAS_DURATION, SAMPLE_HAS_SIZE, SAMPLE_HAS_FLAGS, SAMPLE_HAS_TIME];
    let step = 4 * fields.iter().filter(|field| flags & **field != 0).count();
    let skip = if flags & SAMPLE_HAS_DURATION != 0 { 4 } else { 0 };
    let mut len = 0_u64;
    for entry in entries.step_by(step).take(count as usize) {
        len = len.saturating_add(medium.u32(entry + skip)?.unwrap_or_default().into());
    }
    Ok(len)
}

fn next<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, at: &mut u64) -> Result<u32, Fault> {
    let number = medium.u32(*at)?.unwrap_or_default();
    *at += 4;
    Ok(number)
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
