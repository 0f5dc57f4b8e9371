//! GIF (87a, 89a) as it streams by: its blocks are walked to the trailer, and what stands behind is cut.
//! Everything stays byte for byte but an XMP packet, the one place where a GIF holds what a camera or an
//! editor knew; it goes unless metadata is kept.

use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const APPLICATION: u8 = 0xff;

pub(super) struct Gif {
    keep_metadata: bool,
    state: State,
    gather: Gather<13>,
    pixels: Option<Pixels>,
    has_image: bool,
}

/// Named by what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    /// A colour table, and before an image's data its code size: `left` bytes, then blocks or data.
    Table {
        left: u64,
        then_data: bool,
    },
    Block,
    Image,
    Extension,
    /// The length of the next piece of data.
    Length {
        write: bool,
    },
    Data {
        left: u64,
        write: bool,
    },
    End,
}

impl Gif {
    pub(super) fn new(keep_metadata: bool) -> Gif {
        Gif { keep_metadata, state: State::Start, gather: Gather::new(), pixels: None, has_image: false }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let input = &mut bytes;
        loop {
            match self.state {
                State::Start => {
                    if !self.gather.fill(13, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    let side = |at: usize| u32::from(u16::from_le_bytes([head[at], head[at + 1]]));
                    self.pixels = Some(Pixels::new(side(6), side(8)).ok_or(Broken)?);
                    out.extend_from_slice(&head);
                    self.state = State::Table { left: table_len(head[10]), then_data: false };
                }
                State::Table { mut left, then_data } => {
                    out.extend_from_slice(run_off(input, &mut left));
                    if left > 0 {
                        self.state = State::Table { left, then_data };
                        return Ok(());
                    }
                    self.state = if then_data { State::Length { write: true } } else { State::Block };
                }
                State::Block => {
                    if !self.gather.fill(1, input) {
                        return Ok(());
                    }
                    let block = self.gather.take()[0];
                    self.state = match block {
                        EXTENSION => State::Extension,
                        IMAGE => State::Image,
                        TRAILER if self.has_image => State::End,
                        _ => return Err(Broken),
                    };
                    // Whether an extension stays is known only when its name is read.
                    if block != EXTENSION {
                        out.push(block);
                    }
                }
                State::Image => {
                    if !self.gather.fill(9, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    out.extend_from_slice(&head[..9]);
                    self.has_image = true;
                    self.state = State::Table { left: table_len(head[8]) + 1, then_data: true };
                }
                State::Extension => {
                    if !self.gather.fill(2, input) {
                        return Ok(());
                    }
                    // An application's name is the first piece of its data, eleven bytes.
                    let named = self.gather.bytes()[..2] == [APPLICATION, 11];
                    let want = if named { 13 } else { 2 };
                    if !self.gather.fill(want, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    let write = self.keep_metadata || !named || &head[2..13] != b"XMP DataXMP";
                    if write {
                        out.push(EXTENSION);
                        out.extend_from_slice(&head[..want]);
                    }
                    self.state = match head[1] {
                        _ if named => State::Length { write },
                        0 => State::Block,
                        length => State::Data { left: length.into(), write },
                    };
                }
                State::Length { write } => {
                    if !self.gather.fill(1, input) {
                        return Ok(());
                    }
                    let length = self.gather.take()[0];
                    if write {
                        out.push(length);
                    }
                    self.state = match length {
                        0 => State::Block,
                        length => State::Data { left: length.into(), write },
                    };
                }
                State::Data { mut left, write } => {
                    let bytes = run_off(input, &mut left);
                    if write {
                        out.extend_from_slice(bytes);
                    }
                    if left > 0 {
                        self.state = State::Data { left, write };
                        return Ok(());
                    }
                    self.state = State::Length { write };
                }
                // Whatever stands here is no part of the picture.
                State::End => return Ok(()),
            }
        }
    }

    pub(super) fn finish(self) -> Option<Pixels> {
        match self.state {
            State::End => self.pixels,
            _ => None,
        }
    }
}

/// Bytes of the colour table that the packed field of a descriptor announces.
fn table_len(packed: u8) -> u64 {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, gif, refuse};
    use super::super::{Kind, Pixels};

    const SIZE: Pixels = Pixels { width: 3, height: 2 };

    #[test]
    fn a_gif_stays_as_it_is_but_for_xmp_and_its_tail() {
        let loops = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
        let others =
            [&loops[..], b"\x21\xfe\x02hi\0", b"\x21\xf9\x04\0\0\0\0\0", b"\x21\xff\0", b"\x21\xff\x02ab\0"]
                .concat();
        let xmp = b"\x21\xff\x0bXMP DataXMP\x05<GPS/\x01>\0";
        let picture = gif(&others);
        check(&picture, false, Kind::Gif, SIZE, &picture);
        let with_xmp = gif(&[&others[..], xmp].concat());
        check(&with_xmp, false, Kind::Gif, SIZE, &picture);
        check(&with_xmp, true, Kind::Gif, SIZE, &with_xmp);
        for behind in [&b";"[..], b"PK\x03\x04", b"<script>"] {
            check(&[&picture[..], behind].concat(), false, Kind::Gif, SIZE, &picture);
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = gif(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
        for end in 6..picture.len() {
            refuse(&picture[..end]);
        }
        refuse(&gif(b"\0"));
        refuse(&gif(b";"));
        let mut flat = gif(b"");
        flat[6] = 0;
        refuse(&flat);
    }
}
