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
    // What no table refers to: between the samples, before and after them.
    let data = |secret: &[u8]| atom(b"mdat", &[secret, b"pictures", secret, b"sound", secret]);
    let (first, second) = (8 + SECRET.len(), 16 + 2 * SECRET.len());
    let zeroes = vec![0; SECRET.len()];
    for (brand, kind) in [(b"isom", Kind::Mp4), (b"qt  ", Kind::Mov)] {
        for is_turned in [false, true] {
            let pixels = Some(if is_turned { (48, 64) } else { (64, 48) });
            let video = |secret, times, rest: &[u8], data: usize| {
                track(
                    b"vide",
                    is_turned,
                    secret,
                    times,
                    rest,
                    &table(&[(data + first, &[5]), (data + first + 5, &[3])]),
                )
            };
            let sound = |secret, times, data: usize| {
                track(b"soun", false, secret, times, b"", &table(&[(data + second, &[2, 3])]))
            };
            let movie = |data| {
                let tracks = [video(SECRET, 7, &udta, data), sound(SECRET, 7, data)].concat();
                atom(b"moov", &[&mvhd(7), &tracks, &udta, &meta, &uuid])
            };
            let clean = |data| {
                let tracks = [video(&zeroes, 0, &free(udta.len()), data), sound(&zeroes, 0, data)].concat();
                let blank = [free(udta.len()), free(meta.len()), free(uuid.len())];
                atom(b"moov", &[&mvhd(0), &tracks, &blank.concat()])
            };
            let around = [&unknown[..], &uuid, &atom(b"free", &[SECRET]), &atom(b"skip", &[SECRET])].concat();
            let blank =
                [free(unknown.len()), free(uuid.len()), free(SECRET.len() + 8), free(SECRET.len() + 8)];
            // The tables first, last, and trailing bytes that are not a box.
            let front = ftyp(brand);
            let at = front.len() + movie(0).len() + around.len();
            let file = [&front[..], &movie(at), &around, &data(SECRET), b"\0\0\0\x04GPS+59.33"].concat();
            let stored = [&front[..], &clean(at), &blank.concat(), &data(&zeroes), &[0; 13]].concat();
            check(&file, kind, kind, pixels, &stored);
            let at = front.len();
            let file = [&front[..], &data(SECRET), &around, &movie(at)].concat();
            let stored = [&front[..], &data(&zeroes), &blank.concat(), &clean(at)].concat();
            check(&file, kind, kind, pixels, &stored);
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

/// Cameras write their places into separate tracks: GoPro and DJI as data, drones as subtitles.
#[test]
fn a_track_that_is_no_picture_and_no_sound_is_removed_with_its_samples() {
    let first = ftyp(b"isom").len() + 8;
    let video = track(b"vide", false, b"", 0, b"", &table(&[(first + 9, &[4]), (first + 22, &[1])]));
    for kind in [b"meta", b"text", b"sbtl", b"subt", b"clcp", b"tmcd", b"hint", b"\0\0\0\0"] {
        let places = table(&[(first, &[4, 5]), (first + 13, &[9])]);
        let places = track(kind, false, SECRET, 7, b"", &places);
        let file = |data: &[u8], places: &[u8]| {
            [ftyp(b"isom"), atom(b"mdat", &[data]), atom(b"moov", &[&video, places])].concat()
        };
        let stored = file(&[&[0; 9][..], b"show", &[0; 9], b"!"].concat(), &free(places.len()));
        check(&file(b"GPS+59.33showGPS+59.33!", &places), Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
    }
}

/// Transparency is a track of its own, which the picture refers to. A chapter is a text.
#[test]
fn a_track_keeps_its_references_to_tracks_that_stay() {
    let link = |kind: &[u8; 4]| atom(kind, &[&[0, 0, 0, 2]]);
    let file = |text: &[u8]| {
        let links = atom(b"tref", &[&link(b"auxl"), text, &link(b"fall")]);
        let tracks = [track(b"vide", false, b"", 0, &links, b""), track(b"auxv", false, b"", 0, b"", b"")];
        [ftyp(b"isom"), atom(b"moov", &[&tracks.concat()])].concat()
    };
    for kind in [b"chap", b"tmcd", b"cdsc"] {
        let stored = file(&free(link(kind).len()));
        check(&file(&link(kind)), Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
    }
}

/// A movie whose tables are missing, cut or wrong keeps what a player would read, and no player waits for the rest.
#[test]
fn incomplete_and_wrong_tables_cost_little() {
    let number = |n: u32| n.to_be_bytes();
    let kept = |table: &[u8]| {
        let video = track(b"vide", false, b"", 0, b"", table);
        let file = [ftyp(b"isom"), atom(b"mdat", &[b"pictures"]), atom(b"moov", &[&video])].concat();
        let (verdict, stored) = run(&file, Kind::Mp4, RULES);
        assert_eq!(verdict, Ok((Kind::Mp4, Some((64, 48)))));
        String::from_utf8_lossy(&stored[28..36]).replace('\0', "-")
    };
    let sizes = |equal: u32, count: u32, list: &[u32]| {
        let list: Vec<u8> = list.iter().flat_map(|size| size.to_be_bytes()).collect();
        atom(b"stsz", &[&[0; 4], &number(equal), &number(count), &list])
    };
    let runs = |list: &[[u32; 3]]| {
        let bytes: Vec<u8> = list.iter().flatten().flat_map(|value| value.to_be_bytes()).collect();
        atom(b"stsc", &[&[0; 4], &number(list.len() as u32), &bytes])
    };
    let chunks = |count: u32, list: &[u32]| {
        let list: Vec<u8> = list.iter().flat_map(|offset| offset.to_be_bytes()).collect();
        atom(b"stco", &[&[0; 4], &number(count), &list])
    };
    let one = runs(&[[1, 1, 1]]);
    for (table, expect) in [
        (vec![], "--------"),
        (vec![sizes(0, 1, &[4]), one.clone()], "--------"),
        (vec![one.clone(), chunks(1, &[28])], "--------"),
        // Without runs each chunk has one sample.
        (vec![sizes(0, 2, &[1, 2]), chunks(2, &[28, 33])], "p----re-"),
        // Fewer entries than declared, and fewer declared than there are.
        (vec![sizes(0, u32::MAX, &[1, 2]), one.clone(), chunks(u32::MAX, &[28, 33, 35])], "p----re-"),
        (vec![sizes(0, 1, &[1, 2]), one.clone(), chunks(2, &[28, 33])], "p-------"),
        (vec![sizes(3, 1, &[]), one.clone(), chunks(2, &[28, 33])], "pic-----"),
        // Runs of chunks that come too late, twice, or with any number of samples.
        (vec![sizes(0, 3, &[1, 1, 1]), runs(&[[1, 2, 1], [2, 1, 1]]), chunks(2, &[28, 33])], "pi---r--"),
        (vec![sizes(0, 3, &[1, 1, 1]), runs(&[[0, 0, 0], [0, 3, 1]]), chunks(1, &[29])], "-ict----"),
        (vec![sizes(0, 3, &[1, 1, 1]), runs(&[[1, u32::MAX, 1]]), chunks(1, &[29])], "-ict----"),
        (vec![sizes(1, 3, &[]), runs(&[[1, u32::MAX, 1]]), chunks(1, &[29])], "-ict----"),
        // Samples beyond the file, and as large as can be.
        (vec![sizes(u32::MAX, u32::MAX, &[]), runs(&[[1, u32::MAX, 1]]), chunks(1, &[34])], "------es"),
        (vec![sizes(4, 2, &[]), one.clone(), chunks(2, &[u32::MAX, 30])], "--ctur--"),
    ] {
        assert_eq!(kept(&table.concat()), expect, "{table:?}");
    }
    // A movie in which nothing refers to the data.
    let file = |data: &[u8]| [ftyp(b"isom"), atom(b"mdat", &[data])].concat();
    check(&file(SECRET), Kind::Mp4, Kind::Mp4, None, &file(&[0; SECRET.len()]));
    // Many tracks, each of which every fragment would look up.
    let tracks = track(b"vide", false, b"", 0, b"", b"").repeat(257);
    let file = [ftyp(b"isom"), atom(b"moov", &[&tracks])].concat();
    assert_eq!(run(&file, Kind::Mp4, RULES).0, Err(Refused::BrokenImage));
}

#[test]
fn a_movie_has_nothing_else_at_any_level() {
    let hidden = [atom(b"udta", &[SECRET]), atom(b"meta", &[SECRET]), atom(b"GPS ", &[SECRET])].concat();
    let blank = free(SECRET.len() + 8).repeat(3);
    let part = |name: &[u8; 4], parts: &[&[u8]]| atom(name, parts);
    let file = |extra: &[u8], path: &[u8]| {
        let paths = part(
            b"dinf",
            &[&part(b"dref", &[&[0; 4], &[0, 0, 0, 1], &part(b"url ", &[b"\0\0\0\x01", path])])],
        );
        let code = part(b"mp4a", &[&[0; 28]]);
        let table = part(b"stbl", &[&part(b"stsd", &[&[0; 4], &[0, 0, 0, 1], &code]), extra]);
        let media = part(b"mdia", &[&handler(b"soun", b""), &part(b"minf", &[&paths, &table, extra]), extra]);
        let edits = part(b"edts", &[&part(b"elst", &[&[0; 8]]), extra]);
        let sound = part(b"trak", &[&tkhd(0, false), &edits, &media, extra]);
        let more = part(b"mvex", &[&part(b"trex", &[&[0; 24]]), extra]);
        let wide = part(b"wide", &[path]);
        [ftyp(b"isom"), part(b"moov", &[&sound, &more, extra]), wide, extra.to_vec()].concat()
    };
    let stored = file(&blank, &[0; SECRET.len()]);
    check(&file(&hidden, SECRET), Kind::Mp4, Kind::Mp4Audio, None, &stored);
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
        let fragment = |extra: &[u8], data: &[u8], rest: &[u8], traf: Option<&[u8]>| {
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
            [build(len + 8), atom(b"mdat", &[b"show", data, rest])].concat()
        };
        let movie = |places: &[u8]| [ftyp(b"isom"), atom(b"moov", &[&video, places, &more])].concat();
        let given =
            [movie(&places), fragment(&hidden, &data, SECRET, None), fragment(b"", &data, SECRET, None)]
                .concat();
        let zeroes = vec![0; data.len()];
        let stored = [
            movie(&free(places.len())),
            fragment(&blank, &zeroes, &[0; SECRET.len()], Some(b"")),
            fragment(b"", &zeroes, &[0; SECRET.len()], Some(b"")),
        ]
        .concat();
        check(&given, Kind::Mp4, Kind::Mp4, Some((64, 48)), &stored);
    }
}

#[test]
fn samples_of_compact_sizes_are_kept() {
    let number = |n: u32| n.to_be_bytes();
    let first = (ftyp(b"isom").len() + 8) as u32;
    for (bits, sizes) in [(4_u8, &b"\x45\x10"[..]), (8, b"\x04\x05\x01"), (16, b"\0\x04\0\x05\0\x01")] {
        let table = [
            atom(b"stz2", &[&[0; 7], &[bits], &number(3), sizes]),
            atom(b"stsc", &[&[0; 4], &number(1), &number(1), &number(2), &number(1)]),
            atom(b"stco", &[&[0; 4], &number(2), &number(first), &number(first + 9 + SECRET.len() as u32)]),
        ];
        let video = track(b"vide", false, b"", 0, b"", &table.concat());
        let file = |secret: &[u8]| {
            [ftyp(b"isom"), atom(b"mdat", &[b"show this", secret, b"!"]), atom(b"moov", &[&video])].concat()
        };
        check(&file(SECRET), Kind::Mp4, Kind::Mp4, Some((64, 48)), &file(&[0; SECRET.len()]));
    }
}

/// QuickTime writes a size of one for each point in time of uncompressed sound.
#[test]
fn uncompressed_sound_is_kept_whole() {
    let number = |n: u32| n.to_be_bytes();
    let first = (ftyp(b"qt  ").len() + 8) as u32;
    // Two channels of 16 bits; the table counts fewer points than the chunks have.
    let description = atom(b"sowt", &[&[0; 16], &[0, 2, 0, 16], &[0; 8]]);
    let table = [
        atom(b"stsd", &[&[0; 4], &number(1), &description]),
        atom(b"stsz", &[&[0; 4], &number(1), &number(4)]),
        atom(b"stsc", &[&[0; 4], &number(1), &number(1), &number(3), &number(1)]),
        atom(b"stco", &[&[0; 4], &number(2), &number(first), &number(first + 12 + SECRET.len() as u32)]),
    ];
    let sound = track(b"soun", false, b"", 0, b"", &table.concat());
    let file = |secret: &[u8]| {
        let data = atom(b"mdat", &[b"twelve bytes", secret, b"and 12 more.", secret]);
        [ftyp(b"qt  "), data, atom(b"moov", &[&sound])].concat()
    };
    check(&file(SECRET), Kind::Mov, Kind::Mov, None, &file(&[0; SECRET.len()]));
}
