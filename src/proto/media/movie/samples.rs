//! Finds the samples of a track that is neither shown nor heard, in its table or in a fragment, and overwrites them.
//!
//! The places of samples are in the table of the track (ISO/IEC 14496-12, 8.7), or in the runs of each fragment (8.8).

use std::io::{Read, Seek, Write};

use super::super::boxes::{Atom, Atoms};
use super::super::medium::Medium;
use super::super::{Fault, TABLE_MAX};

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

/// The sizes of the samples of a track.
struct Sizes {
    /// The size of each, or zero.
    equal: u32,
    count: u32,
    /// Where the single sizes begin, and how many bits each has.
    at: u64,
    bits: u64,
}

impl Sizes {
    fn read<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, atom: &Atom) -> Result<Sizes, Fault> {
        let first = medium.u32(atom.body + 4)?.unwrap_or_default();
        let (equal, bits) = if &atom.name == b"stz2" { (0, u64::from(first & 0xff)) } else { (first, 32) };
        let count = medium.u32(atom.body + 8)?.unwrap_or_default();
        Ok(Sizes { equal, count, at: atom.body + 12, bits })
    }

    fn of<F: Read + Write + Seek>(&self, medium: &mut Medium<'_, F>, sample: u32) -> Result<u32, Fault> {
        if self.equal > 0 {
            return Ok(self.equal);
        }
        let bit = u64::from(sample) * self.bits;
        let bytes = medium.array::<1>(self.at + bit / 8)?.map_or(0, |[byte]| byte);
        Ok(match self.bits {
            4 => u32::from(if bit.is_multiple_of(8) { bytes >> 4 } else { bytes & 15 }),
            8 => bytes.into(),
            16 => medium.array::<2>(self.at + bit / 8)?.map_or(0, |pair| u16::from_be_bytes(pair).into()),
            _ => medium.u32(self.at + bit / 8)?.unwrap_or_default(),
        })
    }
}

/// Overwrites every sample of a table with zeroes.
pub(super) fn clear<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, table: &Atom) -> Result<(), Fault> {
    let (mut sizes, mut chunks, mut runs, mut wide) = (None, None, Vec::new(), false);
    let mut atoms = Atoms::of(table);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"stsz" | b"stz2" => sizes = Some(Sizes::read(medium, &atom)?),
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
    let chunk_count = medium.u32(chunks.body + 4)?.unwrap_or_default();
    let (mut sample, mut run) = (0_u32, 0_usize);
    for chunk in 0..chunk_count {
        medium.turn()?;
        let entry = chunks.body + 8 + u64::from(chunk) * if wide { 8 } else { 4 };
        if entry >= chunks.end || sample >= sizes.count {
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
        let in_chunk = runs.get(run).map_or(1, |run| run.1).min(sizes.count - sample);
        for _ in 0..in_chunk {
            medium.turn()?;
            let size = u64::from(sizes.of(medium, sample)?);
            medium.zero(offset, size)?;
            offset = offset.saturating_add(size);
            sample += 1;
        }
    }
    Ok(())
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

/// Reads the runs of a track in a fragment (`traf`), and overwrites their samples if it is not shown.
pub(super) fn run<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    moof: &Atom,
    traf: &Atom,
    sizes: &[(u32, u32)],
    data_end: Option<u64>,
    is_shown: impl Fn(u32) -> bool,
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
                if !found.is_shown {
                    medium.zero(from, len)?;
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
        medium.turn()?;
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
