//! Pictures built byte by byte, as cameras and attackers write them.

/// A JPEG marker segment.
fn segment(code: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).expect("a segment");
    [&[0xff, code][..], &length.to_be_bytes(), payload].concat()
}

/// A baseline JPEG, 16 by 8 as stored, grey, with `segments` after its first two bytes.
pub fn jpeg(segments: &[u8]) -> Vec<u8> {
    let one_code = [&[1u8][..], &[0; 15], &[0]].concat();
    [
        &b"\xff\xd8"[..],
        segments,
        &segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        &segment(0xc0, b"\x08\0\x08\0\x10\x01\x01\x11\0"),
        &segment(0xc4, &[&[0x00][..], &one_code].concat()),
        &segment(0xc4, &[&[0x10][..], &one_code].concat()),
        &segment(0xda, b"\x01\x01\0\0\x3f\0"),
        b"\x0f\xff\xd9",
    ]
    .concat()
}

/// The EXIF of a phone that was held upright: its maker, the orientation "turn right" (6), a place, a time.
pub fn phone_exif() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x03\0".to_vec();
    tiff.extend_from_slice(b"\x0f\x01\x02\0\x04\0\0\0GPS\0");
    tiff.extend_from_slice(&[0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]);
    tiff.extend_from_slice(b"\x25\x88\x04\0\x01\0\0\0\x32\0\0\0\0\0\0\0");
    tiff.extend_from_slice(b"\x01\0\x01\0\x02\0\x02\0\0\0N\0\0\0\0\0\0\0GPS 2026:11:22");
    segment(0xe1, &[&b"Exif\0\0"[..], &tiff].concat())
}

/// A portrait from a phone: 8 by 16 as displayed.
pub fn portrait() -> Vec<u8> {
    jpeg(&phone_exif())
}

/// The orientation in a picture, read as a viewer reads it: APP1, TIFF, tag 0x0112.
pub fn orientation(jpeg: &[u8]) -> Option<u16> {
    let mut at = 2;
    while let Some(&[0xff, code, high, low]) = jpeg.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let payload = jpeg.get(at + 4..at + 2 + length)?;
        if code == 0xe1 && payload.starts_with(b"Exif\0\0") {
            return tiff_orientation(&payload[6..]);
        }
        if code == 0xda {
            return None;
        }
        at += 2 + length;
    }
    None
}

fn tiff_orientation(tiff: &[u8]) -> Option<u16> {
    let little = tiff.starts_with(b"II");
    let number = |bytes: &[u8]| -> usize {
        let fold = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    };
    let directory = number(tiff.get(4..8)?);
    let entries = number(tiff.get(directory..directory + 2)?);
    (0..entries).find_map(|entry| {
        let entry = tiff.get(directory + 2 + entry * 12..directory + 14 + entry * 12)?;
        (number(&entry[..2]) == 0x0112).then(|| number(&entry[8..10]) as u16)
    })
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&name[..], data].concat();
    let crc = !body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            },
        )
    });
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat()
}

/// A PNG, 2 by 1, grey, with a text chunk of this text.
pub fn png(text: &str) -> Vec<u8> {
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &chunk(b"IHDR", b"\0\0\0\x02\0\0\0\x01\x08\0\0\0\0"),
        &chunk(b"tEXt", format!("Comment\0{text}").as_bytes()),
        &chunk(b"IDAT", b"\x78\x01\x01\x03\0\xfc\xff\0\x80\xff\x02\x02\x01\x80"),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

/// A PNG with `n` in its pixel data, so that no two are equal.
pub fn picture(n: u8) -> Vec<u8> {
    let adler_low = 1 + 0x80 + u32::from(n);
    let adler_high = 1 + (1 + 0x80) + adler_low;
    let mut data = b"\x78\x01\x01\x03\0\xfc\xff\0\x80".to_vec();
    data.push(n);
    data.extend_from_slice(&(adler_high << 16 | adler_low).to_be_bytes());
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &chunk(b"IHDR", b"\0\0\0\x02\0\0\0\x01\x08\0\0\0\0"),
        &chunk(b"IDAT", &data),
        &chunk(b"IEND", b""),
    ]
    .concat()
}
