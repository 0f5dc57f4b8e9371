//! Reads the boxes of ISO/IEC 14496-12, which QuickTime calls atoms: a size, a type, and a body of bytes or of boxes.

use std::io::{Read, Seek, Write};

use super::Fault;
use super::medium::Medium;

/// One box. `body` and `end` are offsets in the file. A box that declares more than its parent has ends with its parent, as in
/// an incomplete file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) name: [u8; 4],
    pub(super) at: u64,
    pub(super) body: u64,
    pub(super) end: u64,
}

impl Atom {
    pub(super) fn len(&self) -> u64 {
        self.end - self.body
    }
}

/// The boxes between two offsets, one after the other.
pub(super) struct Atoms {
    at: u64,
    end: u64,
}

impl Atoms {
    pub(super) fn between(at: u64, end: u64) -> Atoms {
        Atoms { at, end }
    }

    pub(super) fn of(atom: &Atom) -> Atoms {
        Atoms { at: atom.body, end: atom.end }
    }

    pub(super) fn next<F: Read + Write + Seek>(
        &mut self,
        medium: &mut Medium<'_, F>,
    ) -> Result<Option<Atom>, Fault> {
        if self.end.saturating_sub(self.at) < 8 {
            return Ok(None);
        }
        medium.turn()?;
        let Some(head) = medium.array::<8>(self.at)? else { return Ok(None) };
        // Zeroes: they end the lists of QuickTime, and trailing bytes become zeroes.
        if head == [0; 8] {
            return Ok(None);
        }
        let [a, b, c, d, name @ ..] = head;
        let (size, head_len) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (self.end - self.at, 8),
            1 => match medium.array::<8>(self.at + 8)? {
                Some(size) => (u64::from_be_bytes(size), 16),
                None => return Ok(None),
            },
            size => (u64::from(size), 8),
        };
        if size < head_len {
            return Ok(None);
        }
        let end = self.at.saturating_add(size).min(self.end);
        let atom = Atom {
            name,
            at: self.at,
            body: self.at + head_len,
            end: end.max(self.at + head_len).min(self.end),
        };
        if atom.body > atom.end {
            return Ok(None);
        }
        self.at = atom.end;
        Ok(Some(atom))
    }
}

/// Changes a box to a type that every reader skips, with a body of zeroes.
pub(super) fn blank<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, atom: &Atom) -> Result<(), Fault> {
    medium.write(atom.at + 4, b"free")?;
    medium.zero(atom.body, atom.len())
}
