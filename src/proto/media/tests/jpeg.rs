//! JPEG without an end marker.

use super::*;

#[test]
fn a_jpeg_without_an_end_ends_with_its_last_block() {
    // Two units of six blocks of two bits: three bytes; with restarts two bytes each, the second half filled up.
    let restart = b"\xff\xdd\0\x04\0\x01";
    for (restart, scan) in [(&b""[..], &b"\0\0\0"[..]), (restart, b"\0\x0f\xff\xd0\0\x0f")] {
        let picture = |tail: &[u8]| jpeg(restart, &[scan, tail].concat());
        for trailer in [&b""[..], b"GPS+59.33 and more", b"\0", b"GPS\xff\0\xff\xd3\xff\xdb\0\x03!"] {
            for keep_metadata in [false, true] {
                let rules = Rules { keep_metadata, ..RULES };
                let (found, stored) = run(&picture(&[trailer, b"\xff\xd9"].concat()), Kind::Jpeg, rules);
                assert_eq!((found, stored), (Ok((Kind::Jpeg, None)), picture(b"\xff\xd9")), "{trailer:?}");
            }
        }
        // The file ends inside the scan: stored as far as it goes.
        let cut = picture(b"");
        let cut = [&cut[..cut.len() - 1], b"\xff\xd9"].concat();
        assert_eq!(run(&cut, Kind::Jpeg, RULES).1, cut);
    }
    // The end of a progressive frame cannot be found.
    let mut progressive = jpeg(b"", b"\0\0\0tail\xff\xd9");
    progressive[3] = 0xc2;
    assert_eq!(run(&progressive, Kind::Jpeg, RULES).1, progressive);
}
