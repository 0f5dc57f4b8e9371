//! MP4 and MOV: what plays a movie is kept, and what names its place or owner is removed.

use super::*;

#[test]
fn a_movie_keeps_what_plays_it_and_its_turned_size() {
    let udta = atom(b"udta", &[&atom(b"\xa9xyz", &[SECRET])]);
    let meta = atom(
        b"meta",
        &[&[0; 4], &handler(b"mdta", b""), &atom(b"keys", &[SECRET]), &atom(b"ilst", &[SECRET])],
    );
    let uuid = atom(b"uuid", &[b"\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac", SECRET]);
    let unknown = atom(b"mpvd", &[SECRET]);
    let data = atom(b"mdat", &[b"pictures"]);
    let zeroes = vec![0; SECRET.len()];
    for (brand, kind) in [(b"isom", Kind::Mp4), (b"qt  ", Kind::Mov)] {
        for is_turned in [false, true] {
            let pixels = Some(if is_turned { (48, 64) } else { (64, 48) });
            let video = |secret, times, rest: &[u8]| track(b"vide", is_turned, secret, times, rest, b"");
            let sound = |secret, times| track(b"soun", false, secret, times, b"", b"");
            let movie =
                atom(b"moov", &[&mvhd(7), &video(SECRET, 7, &udta), &sound(SECRET, 7), &udta, &meta, &uuid]);
            let clean = atom(
                b"moov",
                &[
                    &mvhd(0),
                    &video(&zeroes, 0, &free(udta.len())),
                    &sound(&zeroes, 0),
                    &free(udta.len()),
                    &free(meta.len()),
                    &free(uuid.len()),
                ],
            );
            let around = [&unknown[..], &uuid, &atom(b"free", &[SECRET]), &atom(b"skip", &[SECRET])].concat();
            let blank =
                [free(unknown.len()), free(uuid.len()), free(SECRET.len() + 8), free(SECRET.len() + 8)];
            // The tables first, last, and trailing bytes that are not a box.
            let file = [&ftyp(brand)[..], &movie, &around, &data, b"\0\0\0\x04GPS+59.33"].concat();
            let stored = [&ftyp(brand)[..], &clean, &blank.concat(), &data, &[0; 13]].concat();
            check(&file, kind, kind, pixels, &stored);
            let file = [&ftyp(brand)[..], &data, &around, &movie].concat();
            check(&file, kind, kind, pixels, &[&ftyp(brand)[..], &data, &blank.concat(), &clean].concat());
        }
    }
}

#[test]
fn a_movie_without_a_picture_is_a_sound() {
    let sound = track(b"soun", false, b"", 0, b"", b"");
    let video = track(b"vide", false, b"", 0, b"", b"");
    let file = |brand, tracks: &[&[u8]]| [ftyp(brand), atom(b"moov", tracks)].concat();
    for (file, kind, found, pixels) in [
        (file(b"M4A ", &[&sound]), Kind::Mp4, Kind::Mp4Audio, None),
        (file(b"isom", &[&sound]), Kind::Mp4, Kind::Mp4Audio, None),
        (file(b"isom", &[&sound, &video]), Kind::Mp4, Kind::Mp4, Some((64, 48))),
        (file(b"qt  ", &[&sound]), Kind::Mov, Kind::Mov, None),
        (file(b"isom", &[]), Kind::Mp4, Kind::Mp4, None),
        (ftyp(b"isom"), Kind::Mp4, Kind::Mp4, None),
    ] {
        check(&file, kind, found, pixels, &file);
    }
}

/// Cameras write their places into a separate track.
#[test]
fn a_track_of_places_is_removed_with_its_samples() {
    let number = |n: u32| n.to_be_bytes();
    let video = track(b"vide", false, b"", 0, b"", b"");
    let layout = |first: u32| {
        let sizes = atom(b"stsz", &[&[0; 8], &number(3), &number(4), &number(5), &number(9)]);
        let runs = atom(
            b"stsc",
            &[&[0; 4], &number(2), &number(1), &number(2), &number(1), &number(2), &number(1), &number(1)],
        );
        let chunks = atom(b"stco", &[&[0; 4], &number(2), &number(first), &number(first + 13)]);
        track(b"meta", false, SECRET, 7, b"", &[sizes, runs, chunks].concat())
    };
    let first = (ftyp(b"isom").len() + 8) as u32;
    let places = layout(first);
    let file = |data: &[u8], places: &[u8]| {
        [ftyp(b"isom"), atom(b"mdat", &[data]), atom(b"moov", &[&video, places])].concat()
    };
    let stored = file(&[&[0; 9][..], b"show", &[0; 9], b"!"].concat(), &free(places.len()));
    check(&file(b"GPS+59.33showGPS+59.33!", &places), Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
}

#[test]
fn tables_with_unbounded_cost_are_refused() {
    let number = |n: u32| n.to_be_bytes();
    // Samples as long as the file, more than the bound.
    let table = [
        atom(b"stsz", &[&[0; 4], &number(u32::MAX), &number(u32::MAX)]),
        atom(b"stsc", &[&[0; 4], &number(1), &number(1), &number(u32::MAX), &number(1)]),
        atom(b"stco", &[&[0; 4], &number(1), &number(0)]),
    ];
    let places = track(b"meta", false, b"", 0, b"", &table.concat());
    let file = [ftyp(b"isom"), atom(b"moov", &[&places]), vec![0; 100_000]].concat();
    assert_eq!(run(&file, Kind::Mp4, RULES).0, Err(Refused::BrokenImage));
}
