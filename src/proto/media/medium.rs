//! Reads and overwrites a file at offsets, through one small buffer.
//!
//! Owns the count of turns that bounds every parser of this folder. If metadata is kept, it writes nothing.
//! Invariant: a read after a write returns the written bytes.

use std::io::{Read, Result, Seek, SeekFrom, Write};

use super::{BROKEN, Fault};

const WINDOW: usize = 4_096;
/// The bound of boxes, elements, pages and samples of a file: this many, and in addition one for a number of its bytes. A file
/// with more is refused as malformed. No real file has nearly as many; without the bound, tables that point at the same bytes
/// would take seconds.
const TURNS: u64 = 4_096;
const BYTES_A_TURN: u64 = 8;
/// The bound of written zeroes: this many, and in addition a multiple of the file. Without it, samples that overlap could cost
/// any number.
const ZEROES: u64 = 65_536;
const ZEROES_A_BYTE: u64 = 2;

pub(super) struct Medium<'a, F> {
    file: &'a mut F,
    len: u64,
    keeps: bool,
    changed: bool,
    turns: u64,
    zeroes: u64,
    window: [u8; WINDOW],
    /// Where the buffer begins in the file, and how much of it is filled.
    start: u64,
    filled: usize,
}

impl<'a, F: Read + Write + Seek> Medium<'a, F> {
    pub(super) fn new(file: &'a mut F, keeps: bool) -> Result<Medium<'a, F>> {
        let len = file.seek(SeekFrom::End(0))?;
        let (turns, zeroes) = (TURNS + len / BYTES_A_TURN, ZEROES + len * ZEROES_A_BYTE);
        let (window, start, filled) = ([0; WINDOW], 0, 0);
        Ok(Medium { file, len, keeps, changed: false, turns, zeroes, window, start, filled })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Counts one more box, element, page or sample.
    pub(super) fn turn(&mut self) -> std::result::Result<(), Fault> {
        self.turns = self.turns.checked_sub(1).ok_or(BROKEN)?;
        Ok(())
    }

    /// Fills `bytes` from an offset. The returned count is smaller only at the end of the file.
    pub(super) fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let from = at.saturating_add(done as u64);
            let held = from.checked_sub(self.start).filter(|held| *held < self.filled as u64);
            let Some(held) = held else {
                if from >= self.len {
                    break;
                }
                self.fill(from)?;
                if self.filled == 0 {
                    break;
                }
                continue;
            };
            let held = &self.window[held as usize..self.filled];
            let count = held.len().min(bytes.len() - done);
            bytes[done..done + count].copy_from_slice(&held[..count]);
            done += count;
        }
        Ok(done)
    }

    fn fill(&mut self, from: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(from))?;
        (self.start, self.filled) = (from, 0);
        while self.filled < WINDOW {
            match self.file.read(&mut self.window[self.filled..])? {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(())
    }

    /// `N` bytes at an offset, if the file has them.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok((self.read(at, &mut bytes)? == N).then_some(bytes))
    }

    pub(super) fn u32(&mut self, at: u64) -> Result<Option<u32>> {
        Ok(self.array(at)?.map(u32::from_be_bytes))
    }

    /// A complete range, if it has at most `max` bytes and the file has all of them.
    pub(super) fn range(&mut self, at: u64, len: u64, max: usize) -> Result<Option<Vec<u8>>> {
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= max) else { return Ok(None) };
        let mut bytes = vec![0; len];
        Ok((self.read(at, &mut bytes)? == len).then_some(bytes))
    }

    /// Overwrites bytes that differ, unless metadata is kept.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        let mut done = 0;
        while !self.keeps && done < bytes.len() {
            let mut there = [0; WINDOW];
            let count = (bytes.len() - done).min(WINDOW);
            let (from, piece) = (at + done as u64, &bytes[done..done + count]);
            if self.read(from, &mut there[..count])? < count || there[..count] != *piece {
                self.file.seek(SeekFrom::Start(from))?;
                self.file.write_all(piece)?;
                self.changed = true;
                self.filled = 0;
            }
            done += count;
        }
        Ok(())
    }

    /// Overwrites a range with zeroes, up to the end of the file.
    pub(super) fn zero(&mut self, at: u64, len: u64) -> std::result::Result<(), Fault> {
        let end = at.saturating_add(len).min(self.len);
        self.zeroes = self.zeroes.checked_sub(end.saturating_sub(at)).ok_or(BROKEN)?;
        let mut at = at;
        while at < end {
            let count = (end - at).min(WINDOW as u64);
            self.write(at, &[0; WINDOW][..count as usize])?;
            at += count;
        }
        Ok(())
    }
}
