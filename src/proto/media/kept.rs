//! The ranges of a file that are shown or heard, or that describe what is: every other byte is overwritten.
//!
//! Owns a list of ranges. The parsers of this folder add to it what players read: complete boxes, and in boxes of data what the
//! tables refer to. Cameras write places between the samples (for example Novatek's `freeGPS`), and programs append data; no
//! table refers to these bytes.
//!
//! Invariants: memory is bounded by [`RANGES_MAX`]; n ranges in any order cost n × log n; a range that was added is never
//! overwritten.

use std::io::{Read, Seek, Write};

use super::Fault;
use super::medium::Medium;

/// The most ranges that are held, 2 MiB. Neighbours are one range, so a finished film has one for each part of its data. While
/// it is read there is one for each chunk of a track. If there are more, the smallest gaps between them count as kept: they are
/// most likely the chunks of the tracks that come next.
const RANGES_MAX: usize = 131_072;

#[derive(Default)]
pub(super) struct Kept {
    ranges: Vec<Part>,
}

/// The offsets of the first byte and of the first byte after it.
type Part = (u64, u64);

impl Kept {
    pub(super) fn add(&mut self, at: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut new = (at, at.saturating_add(len));
        while let Some(last) = self.ranges.last().filter(|last| last.0 <= new.1 && new.0 <= last.1) {
            new = (new.0.min(last.0), new.1.max(last.1));
            self.ranges.pop();
        }
        self.ranges.push(new);
        if self.ranges.len() > RANGES_MAX {
            self.merge();
            self.close_gaps(RANGES_MAX / 2);
        }
    }

    /// Sorts the ranges, and makes one of those that touch.
    fn merge(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, before| {
            let touches = next.0 <= before.1;
            before.1 = if touches { before.1.max(next.1) } else { before.1 };
            touches
        });
    }

    /// Makes at most `count` ranges of merged ones. Half of the room becomes free at once, so that this is rare.
    fn close_gaps(&mut self, count: usize) {
        let Some(mut excess) = self.ranges.len().checked_sub(count).filter(|excess| *excess > 0) else {
            return;
        };
        let mut gaps: Vec<u64> = self.ranges.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
        let largest = *gaps.select_nth_unstable(excess - 1).1;
        self.ranges.dedup_by(|next, before| {
            let closes = excess > 0 && next.0 - before.1 <= largest;
            if closes {
                (before.1, excess) = (next.1, excess - 1);
            }
            closes
        });
    }

    /// Overwrites every byte that is in no range.
    pub(super) fn clear_others<F: Read + Write + Seek>(
        mut self,
        medium: &mut Medium<'_, F>,
    ) -> Result<(), Fault> {
        self.merge();
        let mut at = 0;
        for (from, end) in self.ranges {
            medium.zero(at, from - at)?;
            at = end;
        }
        medium.zero(at, medium.len().saturating_sub(at))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn cleared(parts: &[(u64, u64)]) -> Vec<u8> {
        let mut file = Cursor::new(b"0123456789".to_vec());
        let mut kept = Kept::default();
        parts.iter().for_each(|(at, len)| kept.add(*at, *len));
        kept.clear_others(&mut Medium::new(&mut file, false).expect("a file")).expect("cleared");
        file.into_inner()
    }

    #[test]
    fn what_is_in_no_range_becomes_zeroes() {
        for (parts, expect) in [
            (&[][..], b"\0\0\0\0\0\0\0\0\0\0"),
            (&[(0, 10)], b"0123456789"),
            (&[(8, 1), (2, 3), (4, 2)], b"\x00\x002345\0\x008\0"),
            (&[(3, 0), (9, 1), (0, 1), (1, 1)], b"01\0\0\0\0\0\0\x009"),
            (&[(8, u64::MAX), (u64::MAX, 1), (20, 5)], b"\0\0\0\0\0\0\0\x0089"),
            // One within another, and one that joins two.
            (&[(1, 8), (3, 2)], b"\x0012345678\0"),
            (&[(1, 2), (5, 2), (3, 2)], b"\x00123456\0\0\0"),
        ] {
            assert_eq!(cleared(parts), expect, "{parts:?}");
        }
    }

    /// One range for each chunk of a track, more than fit, in each order: the largest gap is still cleared.
    #[test]
    fn many_ranges_cost_the_smallest_gaps() {
        let count = RANGES_MAX as u64 * 2;
        let parts = || (0..count).map(|n| (4 * n + if n < count / 2 { 0 } else { 1_000 }, 3));
        let gap = 4 * (count / 2) - 1;
        for is_reverse in [false, true] {
            let mut kept = Kept::default();
            match is_reverse {
                false => parts().for_each(|(at, len)| kept.add(at, len)),
                true => parts().rev().for_each(|(at, len)| kept.add(at, len)),
            }
            assert!(kept.ranges.len() <= RANGES_MAX);
            let mut file = Cursor::new(vec![7; (4 * count + 1_000) as usize]);
            kept.clear_others(&mut Medium::new(&mut file, false).expect("a file")).expect("cleared");
            let file = file.into_inner();
            assert!(file[gap as usize..gap as usize + 1_001].iter().all(|byte| *byte == 0), "the gap");
            assert!(
                parts().all(|(at, len)| file[at as usize..(at + len) as usize] == [7; 3]),
                "what is kept"
            );
        }
    }
}
