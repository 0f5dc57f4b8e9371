//! Decodes the codes of one JPEG scan, to find its last bit (ITU T.81, annexes F and G).
//!
//! Sequential scans and most progressive ones need no earlier scan. A scan that refines AC coefficients has one bit for each
//! coefficient that is not zero yet, so the decoder remembers for each block which ones are: eight bytes a block, at most
//! [`HISTORY_MAX`] blocks. It decodes no pixel.

use std::io::{Read, Seek, Write};

use super::super::Fault;
use super::super::medium::Medium;
use super::{COMPONENTS_MAX, Frame};

/// The most blocks that are remembered (8 MiB): a picture of 44 megapixels with half the resolution of colour.
const HISTORY_MAX: usize = 1 << 20;
/// Coefficients of one block.
const BLOCK: u32 = 64;

#[derive(Clone, Copy, Default)]
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) across: u32,
    pub(super) down: u32,
}

/// Codes by their length: how many there are of each, and their symbols (ITU T.81, F.2.2.3).
#[derive(Clone, Default)]
pub(super) struct Codes {
    counts: [u16; 16],
    symbols: Vec<u8>,
}

impl Codes {
    pub(super) fn new(lengths: impl Iterator<Item = u8>, symbols: &[u8]) -> Codes {
        let mut counts = [0; 16];
        counts.iter_mut().zip(lengths).for_each(|(count, length)| *count = u16::from(length));
        Codes { counts, symbols: symbols.to_vec() }
    }

    fn symbol<F: Read + Write + Seek>(&self, bits: &mut Bits<'_, '_, F>) -> Result<Option<u8>, Fault> {
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_usize);
        for count in self.counts.map(u32::from) {
            let Some(bit) = bits.next()? else { return Ok(None) };
            code |= bit;
            if code.wrapping_sub(first) < count {
                return Ok(self.symbols.get(index + (code - first) as usize).copied());
            }
            index += count as usize;
            first = (first + count) << 1;
            code <<= 1;
        }
        Ok(None)
    }
}

/// A component in a scan: its index in the frame, its blocks in one unit, and its tables.
pub(super) struct Part {
    pub(super) component: usize,
    blocks: u32,
    dc: usize,
    ac: usize,
}

/// The head of a scan.
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    units: u64,
    first: u32,
    last: u32,
    is_refinement: bool,
}

impl Scan {
    /// `None` if it does not fit its frame.
    pub(super) fn read(frame: &Frame, head: &[u8]) -> Option<Scan> {
        let (count, rest) = head.split_first()?;
        let (selectors, rest) = rest.split_at_checked(usize::from(*count) * 2)?;
        let &[first, last, bits, ..] = rest else { return None };
        let mut parts = Vec::new();
        for pair in selectors.chunks_exact(2) {
            let component = frame.components.iter().position(|it| it.id == pair[0])?;
            let it = frame.components[component];
            let (dc, ac) = (usize::from(pair[1] >> 4 & 3), usize::from(pair[1] & 3) + 4);
            parts.push(Part { component, blocks: it.across * it.down, dc, ac });
        }
        if parts.is_empty() || parts.len() > COMPONENTS_MAX {
            return None;
        }
        let most = |side: fn(&Component) -> u32| frame.components.iter().map(side).max().unwrap_or(1);
        let (across, down) = (most(|it| it.across), most(|it| it.down));
        // A scan of one component has blocks of this component; a scan of several has units of all of them (annex A.2).
        let units = if let [part] = &mut parts[..] {
            let it = frame.components[part.component];
            part.blocks = 1;
            let side = |image: u32, own: u32, most: u32| u64::from((image * own).div_ceil(most).div_ceil(8));
            side(frame.width, it.across, across) * side(frame.height, it.down, down)
        } else {
            let side = |image: u32, most: u32| u64::from(image.div_ceil(8 * most));
            side(frame.width, across) * side(frame.height, down)
        };
        let (first, last, is_refinement) = match frame.is_progressive {
            true => (first.into(), last.into(), bits >> 4 != 0),
            false => (0, BLOCK - 1, false),
        };
        // A progressive scan has DC coefficients, or AC coefficients of one component (G.1.1.1).
        let is_right = last < BLOCK
            && first <= last
            && (!frame.is_progressive || if first == 0 { last == 0 } else { parts.len() == 1 });
        let scan = Scan { parts, units, first, last, is_refinement };
        (is_right && scan.has_codes(frame)).then_some(scan)
    }

    fn has_codes(&self, frame: &Frame) -> bool {
        let needs_dc = self.first == 0 && !self.is_refinement;
        let is_there = |table: usize| !frame.codes[table].symbols.is_empty();
        self.parts.iter().all(|it| (!needs_dc || is_there(it.dc)) && (self.last == 0 || is_there(it.ac)))
    }

    fn is_ac_only(&self) -> bool {
        self.first > 0
    }
}

/// What earlier scans of the picture have said.
#[derive(Default)]
pub(super) struct Decoder {
    /// For each block of a component the coefficients that are not zero, one bit each.
    history: [Vec<u64>; COMPONENTS_MAX],
}

/// A scan ends before its last block: at a marker, at the end of the file, or at a code that does not exist.
struct Ended;

impl Decoder {
    /// The offset after the last bit of a scan, or after the last one that can be decoded. `None` if it cannot be found.
    pub(super) fn decode<F: Read + Write + Seek>(
        &mut self,
        medium: &mut Medium<'_, F>,
        frame: &Frame,
        scan: &Scan,
        at: u64,
    ) -> Result<Option<u64>, Fault> {
        let is_remembered = scan.is_ac_only() && self.remember(scan);
        if scan.is_ac_only() && scan.is_refinement && !is_remembered {
            return Ok(None);
        }
        let mut bits = Bits { medium, at, held: 0, left: 0 };
        let restart = u64::from(frame.restart);
        // Blocks that have no more codes (G.1.2.2).
        let (mut unit, mut without_code, mut has_restarted) = (0, 0_u64, true);
        while unit < scan.units {
            if restart > 0 && unit.is_multiple_of(restart) && !std::mem::take(&mut has_restarted) {
                without_code = 0;
                if !bits.restart()? {
                    break;
                }
            }
            let decoded = if scan.is_ac_only() {
                self.ac_block(&mut bits, frame, scan, unit, &mut without_code)?
            } else {
                dc_unit(&mut bits, frame, scan)?
            };
            if decoded.is_err() {
                // A decoder goes on at the next restart.
                if restart == 0 || !bits.seek_restart()? {
                    break;
                }
                unit += restart - unit % restart;
                (without_code, has_restarted) = (0, true);
                continue;
            }
            unit += 1;
            has_restarted = false;
        }
        Ok(Some(bits.at))
    }

    /// Makes room for the blocks of a scan. False if they are too many: then the scan can be decoded, but none that refines it.
    fn remember(&mut self, scan: &Scan) -> bool {
        let held: usize = self.history.iter().map(Vec::len).sum();
        let [Part { component, .. }] = scan.parts[..] else { return false };
        let history = &mut self.history[component];
        if !history.is_empty() {
            return true;
        }
        let Some(blocks) = usize::try_from(scan.units).ok().filter(|units| held + units <= HISTORY_MAX)
        else {
            return false;
        };
        history.resize(blocks, 0);
        true
    }

    /// One block of AC coefficients (G.1.2.2 and G.1.2.3).
    fn ac_block<F: Read + Write + Seek>(
        &mut self,
        bits: &mut Bits<'_, '_, F>,
        frame: &Frame,
        scan: &Scan,
        unit: u64,
        without_code: &mut u64,
    ) -> Result<Result<(), Ended>, Fault> {
        let part = &scan.parts[0];
        let codes = &frame.codes[part.ac];
        let mut unknown = 0;
        let known = self.history[part.component].get_mut(unit as usize).unwrap_or(&mut unknown);
        let mut index = scan.first;
        while *without_code == 0 && index <= scan.last {
            let Some(symbol) = codes.symbol(bits)? else { return Ok(Err(Ended)) };
            let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
            if size == 0 && run < 15 {
                let Some(more) = bits.number(run)? else { return Ok(Err(Ended)) };
                *without_code = (1 << run) + u64::from(more);
                break;
            }
            if !bits.skip(size)? {
                return Ok(Err(Ended));
            }
            if !scan.is_refinement {
                index += run;
            } else {
                // The run counts the coefficients that are still zero; each of the others has a bit.
                while index <= scan.last {
                    if *known >> index & 1 == 1 {
                        if !bits.skip(1)? {
                            return Ok(Err(Ended));
                        }
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    index += 1;
                }
            }
            if size > 0 && index < BLOCK {
                *known |= 1 << index;
            }
            index += 1;
        }
        if *without_code > 0 {
            *without_code -= 1;
            if scan.is_refinement {
                let rest =
                    *known & (u64::MAX >> (BLOCK - 1 - scan.last)) & u64::MAX.checked_shl(index).unwrap_or(0);
                if !bits.skip(rest.count_ones() as u8)? {
                    return Ok(Err(Ended));
                }
            }
        }
        Ok(Ok(()))
    }
}

/// The blocks of a unit: complete ones of a sequential scan, or the DC coefficients of a progressive one.
fn dc_unit<F: Read + Write + Seek>(
    bits: &mut Bits<'_, '_, F>,
    frame: &Frame,
    scan: &Scan,
) -> Result<Result<(), Ended>, Fault> {
    for part in &scan.parts {
        for _ in 0..part.blocks {
            let size = match scan.is_refinement {
                true => Some(1),
                false => frame.codes[part.dc].symbol(bits)?,
            };
            let Some(size) = size else { return Ok(Err(Ended)) };
            if !bits.skip(size)? || scan.last > 0 && !ac_coefficients(bits, &frame.codes[part.ac])? {
                return Ok(Err(Ended));
            }
        }
    }
    Ok(Ok(()))
}

/// The rest of a block in a sequential scan: runs of zeroes and sizes. False if it ends before.
fn ac_coefficients<F: Read + Write + Seek>(bits: &mut Bits<'_, '_, F>, codes: &Codes) -> Result<bool, Fault> {
    let mut index = 1;
    while index < BLOCK {
        let Some(symbol) = codes.symbol(bits)? else { return Ok(false) };
        match (symbol >> 4, symbol & 15) {
            (0, 0) => break,
            (15, 0) => index += 16,
            (run, size) => {
                index += u32::from(run) + 1;
                if !bits.skip(size)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// The bits of a scan, up to a marker or the end of the file.
struct Bits<'m, 'f, F> {
    medium: &'m mut Medium<'f, F>,
    at: u64,
    held: u8,
    left: u8,
}

impl<F: Read + Write + Seek> Bits<'_, '_, F> {
    fn next(&mut self) -> Result<Option<u32>, Fault> {
        if self.left == 0 {
            let Some([byte]) = self.medium.array::<1>(self.at)? else { return Ok(None) };
            if byte == 0xff {
                if self.medium.array::<1>(self.at + 1)? != Some([0]) {
                    return Ok(None);
                }
                self.at += 1;
            }
            self.at += 1;
            (self.held, self.left) = (byte, 8);
        }
        self.left -= 1;
        Ok(Some(u32::from(self.held >> self.left & 1)))
    }

    fn skip(&mut self, count: u8) -> Result<bool, Fault> {
        for _ in 0..count {
            if self.next()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A number of at most 14 bits.
    fn number(&mut self, width: u32) -> Result<Option<u32>, Fault> {
        let mut number = 0;
        for _ in 0..width {
            let Some(bit) = self.next()? else { return Ok(None) };
            number = number << 1 | bit;
        }
        Ok(Some(number))
    }

    /// A restart marker begins at a byte boundary. Without one the scan ends.
    fn restart(&mut self) -> Result<bool, Fault> {
        self.left = 0;
        let is_there = matches!(self.medium.array::<2>(self.at)?, Some([0xff, 0xd0..=0xd7]));
        if is_there {
            self.at += 2;
        }
        Ok(is_there)
    }

    /// Continues after the next restart marker, if the next marker is one.
    fn seek_restart(&mut self) -> Result<bool, Fault> {
        self.left = 0;
        let mut at = self.at;
        while let Some(pair) = self.medium.array::<2>(at)? {
            at += 1;
            match pair {
                [0xff, 0xd0..=0xd7] => {
                    self.at = at + 1;
                    return Ok(true);
                }
                [0xff, 0x00 | 0xff] => {}
                [0xff, _] => break,
                _ => {}
            }
        }
        Ok(false)
    }
}
