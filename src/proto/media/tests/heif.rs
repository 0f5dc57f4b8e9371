//! HEIC and AVIF: the orientation and the size of a picture are kept.

use super::*;

#[test]
fn a_heif_picture_keeps_its_orientation_and_has_its_size() {
    let exif = exif();
    let mut kept = vec![0; 4];
    kept.extend_from_slice(&minimal(6));
    kept.resize(exif.len(), 0);
    let zeroes = vec![0; SECRET.len()];
    let size = ispe(64, 48);
    let turn = |angle: u8| atom(b"irot", &[&[angle]]);
    let crop = atom(b"clap", &[&[0, 0, 0, 60, 0, 0, 0, 2, 0, 0, 0, 40, 0, 0, 0, 1], &[0; 16]]);
    for (properties, links, pixels) in [
        (vec![&size[..], b""], &b"\x01\x01"[..], (64, 48)),
        (vec![&size[..], &turn(1)], b"\x02\x01\x82", (48, 64)),
        (vec![&size[..], &turn(2)], b"\x02\x01\x82", (64, 48)),
        (vec![&size[..], &crop], b"\x02\x01\x82", (30, 40)),
        (vec![&turn(3), &ispe(8, 8), &size, &crop], b"\x03\x03\x84\x81", (40, 30)),
    ] {
        let file = |exif: &[u8], xmp: &[u8], name: &[u8]| heif(&properties, links, exif, xmp, name);
        let (original, stored) = (file(&exif, SECRET, SECRET), file(&kept, &zeroes, &zeroes));
        check(&original, Kind::Heic, Kind::Heic, Some(pixels), &stored);
        // What no item refers to, in the data of the items.
        let longer = |file: &[u8], rest: &[u8]| {
            let at = file.windows(4).position(|four| four == b"mdat").expect("data") - 4;
            let len = (file.len() - at + rest.len()) as u32;
            [&file[..at], &len.to_be_bytes(), &file[at + 4..], rest].concat()
        };
        let (given, expect) = (longer(&original, SECRET), longer(&stored, &zeroes));
        check(&given, Kind::Heic, Kind::Heic, Some(pixels), &expect);
        // A movie that a phone appends, with a place in it.
        let film = atom(b"mpvd", &[SECRET]);
        check(
            &[&original[..], &film].concat(),
            Kind::Heic,
            Kind::Heic,
            Some(pixels),
            &[&stored[..], &free(film.len())].concat(),
        );
    }
}

fn minimal(orientation: u8) -> [u8; 26] {
    crate::proto::image::minimal_exif(Some(orientation)).expect("turned")
}

#[test]
fn a_heif_picture_of_no_size_or_too_many_pixels_is_refused() {
    let file = |properties: &[&[u8]], links: &[u8]| heif(properties, links, &exif(), b"", b"");
    let verdict = |file: &[u8]| run(file, Kind::Avif, RULES).0;
    assert_eq!(verdict(&file(&[&ispe(1_000, 1_000)], b"\x01\x01")), Ok((Kind::Avif, Some((1_000, 1_000)))));
    assert_eq!(verdict(&file(&[&ispe(1_000, 1_001)], b"\x01\x01")), Err(Refused::TooManyPixels));
    assert_eq!(verdict(&file(&[&ispe(8, 8), &ispe(1_000, 1_001)], b"\x01\x01")), Err(Refused::TooManyPixels));
    assert_eq!(verdict(&file(&[&ispe(8, 8)], b"\x01\x02")), Err(Refused::BrokenImage));
    assert_eq!(verdict(&file(&[&ispe(0, 8)], b"\x01\x01")), Err(Refused::BrokenImage));
    assert_eq!(verdict(&ftyp(b"heic")), Err(Refused::BrokenImage));
    // A sequence of pictures has tracks.
    let video = track(b"pict", true, b"", 0, b"", b"");
    let sequence = [ftyp(b"avis"), atom(b"moov", &[&video])].concat();
    check(&sequence, Kind::Avif, Kind::Avif, Some((48, 64)), &sequence);
}

#[test]
fn a_heif_picture_has_no_texts_and_times() {
    let file = |kind: &[u8; 4], name: &[u8]| {
        let properties = [atom(kind, &[name]), ispe(64, 48)].concat();
        heif(&[&properties], b"\x01\x02", &[0; 34], &[0; 9], name)
    };
    for kind in [b"udes", b"uuid", b"altt", b"crtt", b"mdft", b"itai"] {
        let (given, stored) = (file(kind, SECRET), file(b"free", &[0; SECRET.len()]));
        check(&given, Kind::Heic, Kind::Heic, Some((64, 48)), &stored);
    }
    // Items of no known type, and of the first versions, which had none.
    for (version, kind) in [(2, b"blob"), (2, b"uri "), (2, b"XMP "), (0, b"\0\0\0\0")] {
        let with = |bytes: &[u8]| {
            let mut file = heif(&[&ispe(64, 48)], b"\x01\x01", &[0; 34], bytes, &[0; 9]);
            let at = file.windows(4).position(|four| four == b"mime").expect("an item");
            file[at..at + 4].copy_from_slice(kind);
            file[at - 8] = version;
            file
        };
        check(&with(SECRET), Kind::Heic, Kind::Heic, Some((64, 48)), &with(&[0; SECRET.len()]));
    }
}
