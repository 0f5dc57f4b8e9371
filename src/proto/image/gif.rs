//! Filters GIF (87a, 89a) while it streams: reads its blocks up to the trailer, and removes the bytes after it.
//!
//! Images, their controls, the loop count and the colour profile stay byte for byte. Unless metadata is kept, every other
//! extension is removed: comments, XMP, data of editors, and plain text, which no browser draws.
//! Files that browsers show are accepted: NULs between blocks are skipped and not stored. After the data of an image has begun,
//! the file is not refused: the first bytes that cannot be parsed end it, and a trailer is added.

use super::gather::{Gather, run_off};
use super::{Broken, Pixels};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const APPLICATION: u8 = 0xff;
const GRAPHIC_CONTROL: u8 = 0xf9;
/// Application extensions that are needed to show the image: two forms of the loop count, and the colour profile.
const SHOWING: [&[u8; 11]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

pub(super) struct Gif {
    keep_metadata: bool,
    state: State,
    gather: Gather<13>,
    pixels: Option<Pixels>,
    /// The pixels of the canvas or of the largest frame, whichever is greater.
    area: u64,
    /// The data of an image has begun: there is something to show.
    has_image: bool,
}

/// Each state is named after what it waits for.
#[derive(Clone, Copy)]
enum State {
    Start,
    /// A colour table, and before the data of an image its code size: `left` bytes, then blocks or data.
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
        Gif {
            keep_metadata,
            state: State::Start,
            gather: Gather::new(),
            pixels: None,
            area: 0,
            has_image: false,
        }
    }

    pub(super) fn area(&self) -> u64 {
        self.area
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
                    let pixels = Pixels::new(side(6), side(8)).ok_or(Broken)?;
                    self.area = pixels.area();
                    self.pixels = Some(pixels);
                    out.extend_from_slice(&head);
                    self.state = State::Table { left: table_len(head[10]), then_data: false };
                }
                State::Table { mut left, then_data } => {
                    out.extend_from_slice(run_off(input, &mut left));
                    if left > 0 {
                        self.state = State::Table { left, then_data };
                        return Ok(());
                    }
                    self.has_image |= then_data;
                    self.state = if then_data { State::Length { write: true } } else { State::Block };
                }
                State::Block => {
                    if !self.gather.fill(1, input) {
                        return Ok(());
                    }
                    let block = self.gather.take()[0];
                    self.state = match block {
                        0 => State::Block,
                        EXTENSION => State::Extension,
                        IMAGE => State::Image,
                        _ if self.has_image => {
                            out.push(TRAILER);
                            State::End
                        }
                        _ => return Err(Broken),
                    };
                }
                State::Image => {
                    if !self.gather.fill(9, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    out.push(IMAGE);
                    out.extend_from_slice(&head[..9]);
                    let side = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
                    self.area = self.area.max((side(0) + side(4)) * (side(2) + side(6)));
                    self.state = State::Table { left: table_len(head[8]) + 1, then_data: true };
                }
                State::Extension => {
                    if !self.gather.fill(2, input) {
                        return Ok(());
                    }
                    // The name of an application is the first piece of its data: eleven bytes.
                    let named = self.gather.bytes()[..2] == [APPLICATION, 11];
                    let want = if named { 13 } else { 2 };
                    if !self.gather.fill(want, input) {
                        return Ok(());
                    }
                    let head = self.gather.take();
                    let write = self.keep_metadata
                        || head[0] == GRAPHIC_CONTROL
                        || named && SHOWING.iter().any(|known| head[2..13] == **known);
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
                // These bytes do not belong to the image.
                State::End => return Ok(()),
            }
        }
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) -> Option<Pixels> {
        if !self.has_image {
            return None;
        }
        match self.state {
            // The file ends inside a block that is stored: no byte after it would be read as a trailer.
            State::End | State::Table { .. } | State::Data { write: true, .. } => {}
            State::Length { write: true } => out.extend_from_slice(&[0, TRAILER]),
            _ => out.push(TRAILER),
        }
        self.pixels
    }
}

/// Bytes of the colour table that the packed field of a descriptor declares.
fn table_len(packed: u8) -> u64 {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{check, gif, refuse, run};
    use super::super::{Kind, Pixels, Refused};

    const SIZE: Pixels = Pixels { width: 3, height: 2 };

    #[test]
    fn a_gif_loses_its_texts_and_its_tail_and_nothing_else() {
        let loops = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
        let stays = [
            &loops[..],
            b"\x21\xff\x0bANIMEXTS1.0\x03\x01\0\0\0",
            b"\x21\xff\x0bICCRGBG1012\x02pr\0",
            b"\x21\xf9\x04\0\0\0\0\0",
        ]
        .concat();
        let picture = gif(&stays);
        check(&picture, false, Kind::Gif, SIZE, &picture);
        for goes in [
            &b"\x21\xff\x0bXMP DataXMP\x05<GPS/\x01>\0"[..],
            b"\x21\xfe\x02hi\x03GPS\0",
            b"\x21\xfe\0",
            b"\x21\xff\0",
            b"\x21\xff\x02ab\0",
            b"\x21\xff\x0bMAKERS GPS1\x01x\0",
            b"\x21\x01\x0c\0\0\0\0\0\0\0\0\0\0\0\0\x03GPS\0",
            b"\x21\x42\x03GPS\0",
        ] {
            let with = gif(&[&stays[..], goes].concat());
            check(&with, false, Kind::Gif, SIZE, &picture);
            check(&with, true, Kind::Gif, SIZE, &with);
        }
        for trailing in [&b";"[..], b"PK\x03\x04", b"<script>"] {
            check(&[&picture[..], trailing].concat(), false, Kind::Gif, SIZE, &picture);
        }
    }

    #[test]
    fn files_that_browsers_show_are_accepted() {
        let picture = gif(b"");
        let body = &picture[..picture.len() - 1];
        for tail in
            [&b""[..], b"\0;", b"\0\0", b"x", b"\x2c", b"\x2c\0\0", b"\x21", b"\x21\xfe", b"\x21\xfe\x05com"]
        {
            check(&[body, tail].concat(), false, Kind::Gif, SIZE, &picture);
        }
        check(&gif(b"\0\0"), false, Kind::Gif, SIZE, &picture);
        // An incomplete file: the image is stored as far as it goes, and ended where an end can be read.
        let data = picture.len() - 6;
        for cut in data..picture.len() - 1 {
            let (finished, stored) = run(&picture[..cut], false).expect("taken");
            assert_eq!(finished.pixels, Some(SIZE));
            assert!(stored.starts_with(&picture[..cut]) && stored.len() <= cut + 2);
            assert_eq!(run(&stored, false), Ok((finished, stored.clone())), "a fixed point");
        }
        // For a frame that is larger than its canvas, its own size is used.
        let mut large = picture.clone();
        let frame = picture.len() - 18;
        assert_eq!(large[frame], 0x2c);
        large[frame + 5..frame + 9].fill(0xff);
        assert_eq!(run(&large, false), Err(Refused::TooManyPixels));
    }

    #[test]
    fn broken_files_are_refused() {
        let picture = gif(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
        let image = picture.len() - 6 - 2;
        for end in 6..=image {
            refuse(&picture[..end]);
        }
        refuse(&gif(b"x"));
        refuse(&gif(b";"));
        let mut flat = gif(b"");
        flat[6] = 0;
        refuse(&flat);
    }
}
