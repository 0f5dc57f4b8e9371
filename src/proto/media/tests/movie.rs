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

#[test]
fn a_movie_has_nothing_else_at_any_level() {
    let hidden = [atom(b"udta", &[SECRET]), atom(b"meta", &[SECRET]), atom(b"GPS ", &[SECRET])].concat();
    let blank = free(SECRET.len() + 8).repeat(3);
    let part = |name: &[u8; 4], parts: &[&[u8]]| atom(name, parts);
    let file = |extra: &[u8], path: &[u8], tape: &[u8]| {
        let paths = part(
            b"dinf",
            &[&part(b"dref", &[&[0; 4], &[0, 0, 0, 1], &part(b"url ", &[b"\0\0\0\x01", path])])],
        );
        let code = part(b"tmcd", &[&[0; 26], tape]);
        let table = part(b"stbl", &[&part(b"stsd", &[&[0; 4], &[0, 0, 0, 1], &code]), extra]);
        let media = part(b"mdia", &[&handler(b"tmcd", b""), &part(b"minf", &[&paths, &table, extra]), extra]);
        let edits = part(b"edts", &[&part(b"elst", &[&[0; 8]]), extra]);
        let codes = part(b"trak", &[&tkhd(0, false), &edits, &media, extra]);
        let more = part(b"mvex", &[&part(b"trex", &[&[0; 24]]), extra]);
        [ftyp(b"isom"), part(b"moov", &[&codes, &more, extra]), extra.to_vec()].concat()
    };
    let zeroes = [0; SECRET.len()];
    let stored = file(&blank, &zeroes, &[0; SECRET.len() + 8]);
    check(&file(&hidden, SECRET, &atom(b"name", &[SECRET])), Kind::Mp4, Kind::Mp4, None, &stored);
}

/// A movie in fragments, as browsers record it: the samples of a track of places are in the same data as the pictures.
#[test]
fn a_fragment_keeps_what_is_shown() {
    let number = |n: u32| n.to_be_bytes();
    let video = track(b"vide", false, b"", 0, b"", b"");
    let mut places = track(b"meta", false, SECRET, 0, b"", b"");
    // The id of the second track.
    places[8 + 8 + 15] = 2;
    let more = atom(
        b"mvex",
        &[&atom(b"trex", &[&[0; 4], &number(2), &number(1), &number(0), &number(4), &number(0)])],
    );
    let hidden = [atom(b"udta", &[SECRET]), atom(b"meta", &[SECRET]), atom(b"uuid", &[SECRET])].concat();
    let blank = free(SECRET.len() + 8).repeat(3);
    let sizes = |sizes: &[u32]| sizes.iter().flat_map(|size| size.to_be_bytes()).collect::<Vec<u8>>();
    // Each track's flags, fields and runs; the data of the second one.
    for (flags, fields, runs, data) in [
        // The base is the fragment, and each run tells where it begins.
        (0x2_0000_u32, vec![], vec![(0x201_u32, vec![3_u32, 2])], b"GPS+5".to_vec()),
        // The data follows that of the track before; one size for all.
        (0x10, sizes(&[3]), vec![(0, vec![0; 2])], b"GPSGPS".to_vec()),
        // The size of the movie's default.
        (0, vec![], vec![(0, vec![0; 1]), (0x4, vec![0; 1])], b"GPS+59.3".to_vec()),
        // Each sample with a duration and a size, after a description and a duration for all.
        (0xa, sizes(&[1, 9]), vec![(0x300, vec![2, 2])], b"GPS+".to_vec()),
    ] {
        let fragment = |extra: &[u8], data: &[u8], traf: Option<&[u8]>| {
            let build = |offset: u32| {
                let first = {
                    let head = atom(b"tfhd", &[&[0, 2, 0, 0], &number(1)]);
                    let run = atom(b"trun", &[&number(0x201), &number(1), &number(offset), &number(4)]);
                    atom(b"traf", &[&head, &run, extra])
                };
                let head = atom(b"tfhd", &[&number(flags), &number(2), &fields]);
                let runs: Vec<u8> = runs
                    .iter()
                    .flat_map(|(flags, list)| {
                        let mut body = [number(*flags), number(list.len() as u32)].concat();
                        if flags & 0x1 != 0 {
                            body.extend(number(offset + 4));
                        }
                        if flags & 0x4 != 0 {
                            body.extend(number(0));
                        }
                        for size in list.iter().filter(|_| flags & 0x200 != 0) {
                            body.extend(number(77).iter().filter(|_| flags & 0x100 != 0));
                            body.extend(number(*size));
                        }
                        atom(b"trun", &[&body])
                    })
                    .collect();
                let second = atom(b"traf", &[&head, &runs]);
                let second = traf
                    .map_or(second.clone(), |traf| if traf.is_empty() { free(second.len()) } else { second });
                atom(b"moof", &[&atom(b"mfhd", &[&[0; 8]]), &first, &second, extra])
            };
            let len = build(0).len() as u32;
            [build(len + 8), atom(b"mdat", &[b"show", data, b"rest"])].concat()
        };
        let movie = |places: &[u8]| [ftyp(b"isom"), atom(b"moov", &[&video, places, &more])].concat();
        let given = [movie(&places), fragment(&hidden, &data, None), fragment(b"", &data, None)].concat();
        let zeroes = vec![0; data.len()];
        let stored = [
            movie(&free(places.len())),
            fragment(&blank, &zeroes, Some(b"")),
            fragment(b"", &zeroes, Some(b"")),
        ]
        .concat();
        check(&given, Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
    }
}

#[test]
fn samples_of_compact_sizes_are_overwritten() {
    let number = |n: u32| n.to_be_bytes();
    let video = track(b"vide", false, b"", 0, b"", b"");
    let first = (ftyp(b"isom").len() + 8) as u32;
    for (bits, sizes) in [(4_u8, &b"\x45"[..]), (8, b"\x04\x05"), (16, b"\0\x04\0\x05")] {
        let table = [
            atom(b"stz2", &[&[0; 7], &[bits], &number(2), sizes]),
            atom(b"stsc", &[&[0; 4], &number(1), &number(1), &number(2), &number(1)]),
            atom(b"stco", &[&[0; 4], &number(1), &number(first)]),
        ];
        let places = track(b"meta", false, SECRET, 7, b"", &table.concat());
        let file = |data: &[u8], places: &[u8]| {
            [ftyp(b"isom"), atom(b"mdat", &[data, b"show"]), atom(b"moov", &[&video, places])].concat()
        };
        let stored = file(&[0; 9], &free(places.len()));
        check(&file(SECRET, &places), Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
    }
}
