//! JPEG without an end marker.

use super::*;

/// 24 by 17 with half the resolution of colour: ten scans, three of which refine AC coefficients; a restart after two units.
const PROGRESSIVE: &[u8] = include_bytes!("progressive.jpg");
const EOI: &[u8] = b"\xff\xd9";
const TRAILERS: [&[u8]; 5] = [
    b"",
    b"GPS+59.33 and more",
    b"\0",
    b"GPS+59.33\xff\0\xff\xd3\xff\xdb\0\x03!",
    b"GPS+59.33\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0GPS+59.33",
];

/// A file that the filter has ended with an EOI is stored as `stored`, with metadata kept or not.
fn check_end(file: &[u8], stored: &[u8]) {
    for keep_metadata in [false, true] {
        let rules = Rules { keep_metadata, ..RULES };
        let (found, bytes) = run(&[file, EOI].concat(), Kind::Jpeg, rules);
        assert_eq!(found, Ok((Kind::Jpeg, None)));
        assert_eq!(bytes, [stored, EOI].concat(), "{:?}", String::from_utf8_lossy(file));
    }
}

#[test]
fn a_jpeg_without_an_end_ends_with_its_last_block() {
    // Two units of six blocks of two bits: three bytes; with restarts two bytes each, the second half filled up.
    let restart = b"\xff\xdd\0\x04\0\x01";
    for (restart, scan) in [(&b""[..], &b"\0\0\0"[..]), (restart, b"\0\x0f\xff\xd0\0\x0f")] {
        let picture = jpeg(restart, scan);
        for trailer in TRAILERS {
            check_end(&[&picture[..], trailer].concat(), &picture);
        }
        // The file ends inside the scan: stored as far as it goes.
        let cut = &picture[..picture.len() - 1];
        check_end(cut, cut);
    }
}

#[test]
fn a_progressive_jpeg_without_an_end_ends_with_its_last_scan() {
    let picture = PROGRESSIVE.strip_suffix(EOI).expect("an end");
    for trailer in TRAILERS {
        check_end(&[picture, trailer].concat(), picture);
    }
    // Every scan ends where the next segment begins, and bytes between them are overwritten.
    let mut scans = 0;
    for at in 2..picture.len() {
        let is_segment = matches!(picture[at..], [0xff, 0xc4 | 0xda, 0, ..]);
        if !is_segment || picture[..at].windows(2).all(|pair| pair != [0xff, 0xda]) {
            continue;
        }
        scans += u32::from(picture[at + 1] == 0xda);
        let with = |between: &[u8]| [&picture[..at], between, &picture[at..]].concat();
        if picture[at + 1] == 0xc4 {
            check_end(&picture[..at], &picture[..at]);
            check_end(&with(SECRET), &with(&[0xff; SECRET.len()]));
        }
    }
    assert_eq!(scans, 9);
    // The file ends anywhere inside a scan: nothing is stored that the file does not have.
    let first = picture.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan");
    for cut in first + 14..picture.len() {
        let (found, stored) = run(&[&picture[..cut], EOI].concat(), Kind::Jpeg, RULES);
        assert_eq!(found, Ok((Kind::Jpeg, None)), "{cut}");
        assert!(stored.len() <= cut + 2 && picture.starts_with(&stored[..stored.len() - 2]), "{cut}");
    }
}

#[test]
fn a_scan_that_cannot_be_decoded_ends_the_picture() {
    let restart = b"\xff\xdd\0\x04\0\x01";
    // A code that does not exist; the next restart goes on.
    let broken = jpeg(restart, b"\xfe\x0f\xff\xd0\0\x0f");
    check_end(&[&broken[..], SECRET].concat(), &broken);
    // A code has at most sixteen bits.
    let broken = jpeg(b"", b"\0\xfe\0");
    check_end(&[&broken[..], SECRET].concat(), &broken);
    // A second scan that does not fit the frame.
    let picture = PROGRESSIVE.strip_suffix(EOI).expect("an end");
    let unfit = [picture, b"\xff\xda\0\x08\x01\x09\0\0\0\x01", SECRET].concat();
    check_end(&unfit, picture);
    // Browsers show no frame of arithmetic codes, and none without tables.
    for (at, code) in [(3, 0xc9), (24, 0xfe)] {
        let mut file = jpeg(b"", b"\0\0\0GPS+59.33\xff\xd9");
        file[at] = code;
        assert_eq!(run(&file, Kind::Jpeg, RULES).0, Err(Refused::BrokenImage));
    }
}
