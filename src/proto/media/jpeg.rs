//! Finds the end of a JPEG without an EOI: decodes the codes of its last scan.
//!
//! Some phones write a trailer directly after the scan, without an EOI. The head of a sequential Huffman frame gives the number
//! of blocks in its scan, so the last bit can be found without decoding a pixel. A progressive scan depends on earlier scans
//! and would need all of them in memory, so the bytes after it are kept.

use std::io::{Read, Seek, Write};

use super::Fault;
use super::medium::Medium;

/// The longest segment: its length has 16 bits.
const SEGMENT_MAX: usize = 65_535;
const COMPONENTS_MAX: usize = 4;

#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    across: u32,
    down: u32,
}

/// Codes by their length: the first of each, how many, and where their symbols begin (ITU T.81, annex F.2.2.3).
#[derive(Clone, Default)]
struct Codes {
    counts: [u16; 16],
    symbols: Vec<u8>,
}

impl Codes {
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

#[derive(Default)]
struct Frame {
    is_sequential: bool,
    width: u32,
    height: u32,
    components: Vec<Component>,
    /// DC tables, then AC tables.
    codes: [Codes; 8],
    restart: u32,
}

/// The offset after the last bit of the last scan, if it can be found.
pub(super) fn end<F: Read + Write + Seek>(medium: &mut Medium<'_, F>) -> Result<Option<u64>, Fault> {
    let (mut frame, mut at) = (Frame::default(), 2);
    loop {
        medium.turn()?;
        let Some([0xff, code, high, low]) = medium.array::<4>(at)? else { return Ok(None) };
        let len = u64::from(u16::from_be_bytes([high, low]));
        let Some(body) = medium.range(at + 4, len.saturating_sub(2), SEGMENT_MAX)? else { return Ok(None) };
        at += 2 + len;
        match code {
            0xc4 => define(&mut frame, &body),
            0xc0..=0xcf if code != 0xc8 && code != 0xcc && read_frame(&mut frame, code, &body).is_none() => {
                return Ok(None);
            }
            0xdd => frame.restart = body.first_chunk().map_or(0, |two| u16::from_be_bytes(*two).into()),
            // In a sequential frame a scan of all components is the complete image.
            0xda if body.first().map(|count| usize::from(*count)) == Some(frame.components.len()) => {
                return scan_end(medium, &frame, &body, at);
            }
            0xda => match next_segment(medium, at)? {
                Some(next) => at = next,
                None => return scan_end(medium, &frame, &body, at),
            },
            _ => {}
        }
    }
}

fn define(frame: &mut Frame, mut body: &[u8]) {
    while let Some((head, rest)) = body.split_first_chunk::<17>() {
        let total: usize = head[1..].iter().map(|count| usize::from(*count)).sum();
        let Some((symbols, rest)) = rest.split_at_checked(total) else { return };
        let table = usize::from(head[0] >> 4 & 1) * 4 + usize::from(head[0] & 3);
        let mut counts = [0; 16];
        counts.iter_mut().zip(&head[1..]).for_each(|(count, byte)| *count = u16::from(*byte));
        frame.codes[table] = Codes { counts, symbols: symbols.to_vec() };
        body = rest;
    }
}

fn read_frame(frame: &mut Frame, code: u8, body: &[u8]) -> Option<()> {
    let (head, components) = body.split_first_chunk::<6>()?;
    frame.is_sequential = matches!(code, 0xc0 | 0xc1);
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

/// Where the next segment begins after a scan: a marker that is not a restart. The last one is the EOI that the filter added.
fn next_segment<F: Read + Write + Seek>(
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

fn scan_end<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    frame: &Frame,
    head: &[u8],
    at: u64,
) -> Result<Option<u64>, Fault> {
    let Some((count, selectors)) = head.split_first() else { return Ok(None) };
    let selected = selectors.chunks_exact(2).take((*count).into());
    let parts: Option<Vec<_>> = selected
        .map(|pair| {
            let component = frame.components.iter().find(|component| component.id == pair[0])?;
            Some((*component, usize::from(pair[1] >> 4 & 3), usize::from(pair[1] & 3) + 4))
        })
        .collect();
    let Some(parts) = parts.filter(|parts| frame.is_sequential && !parts.is_empty()) else { return Ok(None) };
    let most = |side: fn(&Component) -> u32| frame.components.iter().map(side).max().unwrap_or(1);
    let (across, down) = (most(|it| it.across), most(|it| it.down));
    // A scan of one component has blocks of this component; a scan of several has units of all of them (annex A.2).
    let (units, blocks): (u64, Vec<_>) = if let [(one, dc, ac)] = parts[..] {
        let side = |image: u32, own: u32, most: u32| u64::from((image * own).div_ceil(most).div_ceil(8));
        (side(frame.width, one.across, across) * side(frame.height, one.down, down), vec![(1, dc, ac)])
    } else {
        let side = |image: u32, most: u32| u64::from(image.div_ceil(8 * most));
        let blocks = parts.iter().map(|(it, dc, ac)| (it.across * it.down, *dc, *ac)).collect();
        (side(frame.width, across) * side(frame.height, down), blocks)
    };
    let mut bits = Bits { medium, at, held: 0, left: 0 };
    for unit in 0..units {
        if frame.restart > 0 && unit > 0 && unit % u64::from(frame.restart) == 0 && !bits.restart()? {
            return Ok(None);
        }
        for (count, dc, ac) in &blocks {
            for _ in 0..*count {
                if block(&mut bits, &frame.codes[*dc], &frame.codes[*ac])?.is_none() {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(bits.at))
}

/// One block: the size of its first coefficient, then runs of zeroes and sizes.
fn block<F: Read + Write + Seek>(
    bits: &mut Bits<'_, '_, F>,
    dc: &Codes,
    ac: &Codes,
) -> Result<Option<()>, Fault> {
    let Some(size) = dc.symbol(bits)? else { return Ok(None) };
    if !bits.skip(size)? {
        return Ok(None);
    }
    let mut index = 1;
    while index < 64 {
        let Some(symbol) = ac.symbol(bits)? else { return Ok(None) };
        let (run, size) = (symbol >> 4, symbol & 15);
        match (run, size) {
            (0, 0) => break,
            (15, 0) => index += 16,
            (run, size) => {
                index += u32::from(run) + 1;
                if !bits.skip(size)? {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(()))
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
            self.at += 1;
            if byte == 0xff {
                if self.medium.array::<1>(self.at)? != Some([0]) {
                    return Ok(None);
                }
                self.at += 1;
            }
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

    /// A restart marker begins at a byte boundary.
    fn restart(&mut self) -> Result<bool, Fault> {
        self.left = 0;
        let is_there = matches!(self.medium.array::<2>(self.at)?, Some([0xff, 0xd0..=0xd7]));
        self.at += 2;
        Ok(is_there)
    }
}
