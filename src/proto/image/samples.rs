//! Small real images, built byte by byte, and the check that all tests of this folder use.

use super::png::put_chunk;
use super::{Filter, Finished, Inner, Kind, Pixels, Refused, Rules, sniff};
use crate::limits::SNIFF_BYTES;

/// The result of `filter` for a file in `pieces`.
fn filter<'a>(
    mut filter: Filter,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(Finished, Vec<u8>), Refused> {
    let mut stored = Vec::new();
    for piece in pieces {
        filter.push(piece, &mut stored)?;
    }
    let finished = filter.finish(&mut stored)?;
    Ok((finished, stored))
}

/// The stored bytes of `file`: the same in one piece, byte by byte, and split in two at every byte.
pub(super) fn run(file: &[u8], keep_metadata: bool) -> Result<(Finished, Vec<u8>), Refused> {
    let rules = Rules { keep_metadata, pixels_max: 250_000_000 };
    let at_once = filter(Filter::new(rules), [file].into_iter());
    // The sniffer holds the first bytes back and passes them on in one piece, so the splits are also tested on a filter
    // that knows the type from the start.
    let known = || {
        let kind = sniff(&file[..file.len().min(SNIFF_BYTES)]);
        Filter { rules, inner: Inner::of(kind, rules) }
    };
    for new in [&|| Filter::new(rules) as Filter, &known as &dyn Fn() -> Filter] {
        if file.is_empty() {
            break;
        }
        assert_eq!(filter(new(), file.chunks(1)), at_once, "byte by byte: {file:?}");
        for at in 0..=file.len() {
            let (a, b) = file.split_at(at);
            assert_eq!(filter(new(), [a, b].into_iter()), at_once, "split at {at}: {file:?}");
        }
    }
    at_once
}

pub(super) fn check(file: &[u8], keep_metadata: bool, kind: Kind, pixels: Pixels, stored: &[u8]) {
    let found = |file| run(file, keep_metadata).map(|(found, bytes)| (found.kind, found.pixels, bytes));
    let expect = Ok((kind, Some(pixels), stored.to_vec()));
    assert_eq!(found(file), expect);
    assert_eq!(found(stored), expect, "a sanitized file is a fixed point");
}

pub(super) fn refuse(file: &[u8]) {
    assert_eq!(run(file, false), Err(Refused::BrokenImage), "{file:?}");
    assert_eq!(run(file, true), Err(Refused::BrokenImage), "{file:?}");
}

/// A TIFF block as a phone writes it: the maker, the orientation, a pointer to a GPS directory, a time.
pub(super) fn tiff(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x03\0".to_vec();
    block.extend_from_slice(b"\x0f\x01\x02\0\x04\0\0\0GPS\0");
    block.extend_from_slice(&[0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    block.extend_from_slice(b"\x25\x88\x04\0\x01\0\0\0\x32\0\0\0");
    block.extend_from_slice(b"\0\0\0\0");
    block.extend_from_slice(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0GPS 2026:11:22");
    block
}

/// A JPEG marker segment.
pub(super) fn segment(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).expect("a segment");
    [&[0xff, code][..], &length.to_be_bytes(), payload].concat()
}

/// A baseline JPEG, 16 by 8, grey, with `segments` after its first two bytes.
pub(super) fn jpeg(segments: &[u8]) -> Vec<u8> {
    let one_code = [&[1u8][..], &[0; 15], &[0]].concat(); // the code `0` of one bit means the value 0
    [
        &b"\xff\xd8"[..],
        segments,
        &segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        &segment(0xc0, b"\x08\0\x08\0\x10\x01\x01\x11\0"),
        &segment(0xc4, &[&[0x00][..], &one_code].concat()),
        &segment(0xc4, &[&[0x10][..], &one_code].concat()),
        &segment(0xda, b"\x01\x01\0\0\x3f\0"),
        b"\x0f", // two blocks of two zero bits, padded with ones
        b"\xff\xd9",
    ]
    .concat()
}

/// A PNG, 2 by 1, grey of eight bits, with chunks before and after its data.
pub(super) fn png(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    put_chunk(&mut out, b"IHDR", b"\0\0\0\x02\0\0\0\x01\x08\0\0\0\0");
    out.extend_from_slice(before);
    // zlib: one stored block of three bytes (filter 0, two pixels), Adler-32.
    put_chunk(&mut out, b"IDAT", b"\x78\x01\x01\x03\0\xfc\xff\0\x80\xff\x02\x02\x01\x80");
    out.extend_from_slice(after);
    put_chunk(&mut out, b"IEND", b"");
    out
}

/// A GIF, 3 by 2, with two colours and `blocks` before its image.
pub(super) fn gif(blocks: &[u8]) -> Vec<u8> {
    [
        &b"GIF89a\x03\0\x02\0\x80\0\0\0\0\0\xff\xff\xff"[..],
        blocks,
        b"\x2c\0\0\0\0\x03\0\x02\0\0\x02\x04\x4c\x98\x30\x29\0;", // clear, two ones, three times; end,
    ]
    .concat()
}

pub(super) fn riff_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if data.len().is_multiple_of(2) { b"" } else { b"\0" };
    [&name[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
}

/// Extended header of a canvas of 3 by 2.
pub(super) fn vp8x(flags: u8) -> Vec<u8> {
    riff_chunk(b"VP8X", &[flags, 0, 0, 0, 2, 0, 0, 1, 0, 0])
}

/// A lossless image of one colour, 3 by 2: five prefix codes of one symbol each.
pub(super) fn vp8l() -> Vec<u8> {
    riff_chunk(b"VP8L", b"\x2f\x02\x40\0\0\x88\x88\x08")
}

pub(super) fn webp(chunks: &[&[u8]]) -> Vec<u8> {
    let form = [b"WEBP".as_slice(), &chunks.concat()].concat();
    [&b"RIFF"[..], &(form.len() as u32).to_le_bytes(), &form].concat()
}

/// A file with much metadata of each image type.
pub(super) fn all() -> Vec<Vec<u8>> {
    let exif = segment(0xe1, &[b"Exif\0\0".as_slice(), &tiff(6)].concat());
    let mut chunks = Vec::new();
    put_chunk(&mut chunks, b"eXIf", &tiff(8));
    put_chunk(&mut chunks, b"tEXt", b"Comment\0GPS");
    vec![
        jpeg(&[&exif[..], &segment(0xfe, b"comment")].concat()),
        png(&chunks, &chunks),
        gif(b"\x21\xff\x0bXMP DataXMP\x05<GPS/\x01>\0\x21\xfe\x02hi\0"),
        webp(&[&vp8x(0x0c)[..], &vp8l(), &riff_chunk(b"EXIF", &tiff(3)), &riff_chunk(b"XMP ", b"GPS")]),
    ]
}
