//! Tests with small files of each container, built byte by byte: their type, and the bytes that are kept.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules { keep_metadata: false, pixels_max: 1_000_000 };
/// A text that must not be in a stored file.
const SECRET: &[u8] = b"GPS+59.33";

/// A kind, and a width and height.
type Verdict = Result<(Kind, Option<(u32, u32)>), Refused>;

fn run(bytes: &[u8], kind: Kind, rules: Rules) -> (Verdict, Vec<u8>) {
    let mut file = Cursor::new(bytes.to_vec());
    let found = match inspect(&mut file, kind, rules) {
        Ok(found) => {
            let is_cut = found.len < bytes.len() as u64;
            assert_eq!(found.changed, is_cut || file.get_ref() != bytes, "`changed` is right");
            file.get_mut().truncate(found.len as usize);
            Ok((found.kind, found.pixels.map(|pixels| (pixels.width, pixels.height))))
        }
        Err(Fault::Refused(refused)) => Err(refused),
        Err(Fault::Io(error)) => panic!("{error}"),
    };
    (found, file.into_inner())
}

/// A file of this kind is stored as `stored`, which a second run does not change. With metadata kept it is not changed.
fn check(bytes: &[u8], kind: Kind, found: Kind, pixels: Option<(u32, u32)>, stored: &[u8]) {
    let (verdict, cleaned) = run(bytes, kind, RULES);
    assert_eq!(verdict, Ok((found, pixels)));
    assert_eq!(cleaned.len(), bytes.len(), "no byte moves");
    assert!(
        cleaned == stored,
        "{:?}\n{:?}",
        String::from_utf8_lossy(&cleaned),
        String::from_utf8_lossy(stored)
    );
    assert_eq!(run(stored, kind, RULES), (Ok((found, pixels)), stored.to_vec()), "a fixed point");
    let kept = run(bytes, kind, Rules { keep_metadata: true, ..RULES });
    assert_eq!(kept, (Ok((found, pixels)), bytes.to_vec()), "kept");
    assert_eq!(memchr::memmem::find(&cleaned, SECRET), None);
}

// ---- boxes ---------------------------------------------------------------------------------------

fn atom(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
}

/// The bytes of a box that was removed.
fn free(len: usize) -> Vec<u8> {
    atom(b"free", &[&vec![0; len - 8]])
}

fn ftyp(brand: &[u8; 4]) -> Vec<u8> {
    atom(b"ftyp", &[brand, &[0; 4], brand])
}

fn handler(kind: &[u8; 4], name: &[u8]) -> Vec<u8> {
    atom(b"hdlr", &[&[0; 8], kind, &[0; 12], name])
}

/// Version 0; a matrix and a size of 16.16.
fn tkhd(times: u8, is_turned: bool) -> Vec<u8> {
    let one = 0x1_0000_u32.to_be_bytes();
    let zero = [0; 4];
    let (a, b, c, d) = if is_turned { (zero, one, [0xff; 4], zero) } else { (one, zero, zero, one) };
    let matrix = [a, b, zero, c, d, zero, zero, zero, [0x40, 0, 0, 0]].concat();
    let side = |side: u32| (side << 16).to_be_bytes();
    atom(b"tkhd", &[&[0, 0, 0, 1], &[times; 8], &[0; 28], &matrix, &side(64), &side(48)])
}

fn track(kind: &[u8; 4], is_turned: bool, secret: &[u8], times: u8, rest: &[u8], table: &[u8]) -> Vec<u8> {
    let mdhd = atom(b"mdhd", &[&[0; 4], &[times; 8], &[0; 12]]);
    let media = [&mdhd[..], &handler(kind, secret), &atom(b"minf", &[&atom(b"stbl", &[table])])].concat();
    atom(b"trak", &[&tkhd(times, is_turned), &atom(b"mdia", &[&media]), rest])
}

fn mvhd(times: u8) -> Vec<u8> {
    atom(b"mvhd", &[&[0; 4], &[times; 8], &[0; 88]])
}

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

// ---- pictures ------------------------------------------------------------------------------------

/// A HEIF file of a picture, an Exif item in `mdat` and XMP in `idat`.
fn heif(properties: &[&[u8]], links: &[u8], exif: &[u8], xmp: &[u8], name: &[u8]) -> Vec<u8> {
    let item = |id: u8, kind: &[u8; 4], rest: &[u8]| {
        atom(b"infe", &[&[2, 0, 0, 0], &[0, id], &[0, 0], kind, b"\0", rest])
    };
    let items = atom(
        b"iinf",
        &[
            &[0; 4],
            &[0, 3],
            &item(1, b"hvc1", b""),
            &item(2, b"Exif", b""),
            &item(3, b"mime", b"application/rdf+xml\0"),
        ],
    );
    let property =
        atom(b"iprp", &[&atom(b"ipco", properties), &atom(b"ipma", &[&[0; 4], &[0, 0, 0, 1, 0, 1], links])]);
    let locations = |picture: u32| {
        let entry = |id: u8, method: u8, offset: u32, len: usize| {
            let head = [0, id, 0, method, 0, 0, 0, 1].to_vec();
            [head, offset.to_be_bytes().to_vec(), (len as u32).to_be_bytes().to_vec()].concat()
        };
        let entries =
            [entry(1, 0, picture, 5), entry(2, 0, picture + 5, exif.len()), entry(3, 1, 0, xmp.len())]
                .concat();
        atom(b"iloc", &[&[1, 0, 0, 0, 0x44, 0, 0, 3], &entries])
    };
    let meta = |picture: u32| {
        let parts = [
            handler(b"pict", name),
            atom(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
            items.clone(),
            locations(picture),
            property.clone(),
            atom(b"idat", &[xmp]),
        ];
        atom(b"meta", &[&[0; 4], &parts.concat()])
    };
    let picture = ftyp(b"heic").len() + meta(0).len() + 8;
    [ftyp(b"heic"), meta(picture as u32), atom(b"mdat", &[b"image", exif])].concat()
}

fn ispe(width: u32, height: u32) -> Vec<u8> {
    atom(b"ispe", &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()])
}

/// As a phone writes it: the distance to the block, the maker, the orientation.
fn exif() -> Vec<u8> {
    let block =
        b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x0a\0\0\0\x26\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    [&b"\0\0\0\x06Exif\0\0"[..], block, SECRET, b"\0"].concat()
}

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
    super::super::image::minimal_exif(Some(orientation)).expect("turned")
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

/// 16 by 16 of three components, 2 × 2, 1, 1: six blocks in one unit. Each has two codes of one bit and ends at once.
fn jpeg(restart: &[u8], scan: &[u8]) -> Vec<u8> {
    let segment = |code: u8, body: &[u8]| [&[0xff, code, 0, body.len() as u8 + 2], body].concat();
    let table = |id: u8| segment(0xc4, &[&[id, 1], &[0; 15][..], &[0]].concat());
    [
        b"\xff\xd8".to_vec(),
        segment(0xc0, b"\x08\0\x10\0\x20\x03\x01\x22\0\x02\x11\0\x03\x11\0"),
        table(0),
        table(0x10),
        restart.to_vec(),
        segment(0xda, b"\x03\x01\0\x02\0\x03\0\0\x3f\0"),
        scan.to_vec(),
    ]
    .concat()
}

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

// ---- WebM ----------------------------------------------------------------------------------------

fn element(id: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [id, &[0x40 | (body.len() >> 8) as u8, body.len() as u8], &body].concat()
}

/// The bytes of a removed element with a head of this length.
fn void(head: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0xec];
    out.extend_from_slice(&(len as u64 | 1 << (7 * (head - 1))).to_be_bytes()[9 - head..]);
    out.resize(head + len, 0);
    out
}

fn webm_track(kind: u8, more: &[u8]) -> Vec<u8> {
    element(b"\xae", &[&element(b"\x83", &[&[kind]]), &element(b"\x86", &[b"V_VP8"]), more])
}

fn webm(parts: &[&[u8]]) -> Vec<u8> {
    let head = element(b"\x1a\x45\xdf\xa3", &[&element(b"\x42\x82", &[b"webm"])]);
    [head, element(b"\x18\x53\x80\x67", parts)].concat()
}

#[test]
fn a_webm_keeps_what_plays_it() {
    let sides = |width: u8, height: u8| {
        element(b"\xe0", &[&element(b"\xb0", &[&[width]]), &element(b"\xba", &[&[height]])])
    };
    let cluster = element(
        b"\x1f\x43\xb6\x75",
        &[&element(b"\xe7", &[b"\0"]), &element(b"\xa3", &[b"GPS, but a block"])],
    );
    let info = |title: &[u8], app: &[u8]| {
        let scale = element(b"\x2a\xd7\xb1", &[b"\x0f\x42\x40"]);
        element(
            b"\x15\x49\xa9\x66",
            &[title, &scale, &element(b"\x4d\x80", &[app]), &element(b"\x57\x41", &[app])],
        )
    };
    let title = element(b"\x7b\xa9", &[SECRET]);
    let sum = element(b"\xbf", &[&[1; 4]]);
    let front = [&sum[..], &title].concat();
    let blank = [void(3, 4), void(4, SECRET.len())].concat();
    let zeroes = vec![0; SECRET.len()];
    let tags = element(b"\x12\x54\xc3\x67", &[SECRET]);
    let attachment = element(b"\x19\x41\xa4\x69", &[SECRET]);
    let gone = void(6, SECRET.len());
    let tracks = |tracks: &[&[u8]]| element(b"\x16\x54\xae\x6b", tracks);
    let name = element(b"\x53\x6e", &[SECRET]);
    let video = |name: &[u8]| webm_track(1, &[sides(64, 48), name.to_vec()].concat());
    let file = webm(&[
        &info(&front, SECRET),
        &tracks(&[&video(&name), &webm_track(2, b"")]),
        &tags,
        &cluster,
        &attachment,
    ]);
    let stored = webm(&[
        &info(&blank, &zeroes),
        &tracks(&[&video(&void(4, SECRET.len())), &webm_track(2, b"")]),
        &gone,
        &cluster,
        &gone,
    ]);
    check(&file, Kind::WebM, Kind::WebM, Some((64, 48)), &stored);
    let sound = webm(&[&tracks(&[&webm_track(2, b"")]), &cluster]);
    check(&sound, Kind::WebM, Kind::WebMAudio, None, &sound);
    // As a browser records it: the segment and its clusters have no size and end where the next one begins.
    let open = |tags: &[u8]| {
        let head = element(b"\x1a\x45\xdf\xa3", &[&element(b"\x42\x82", &[b"webm"])]);
        let cluster =
            [&b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff"[..], &element(b"\xa3", &[b"block"])]
                .concat();
        [
            &head[..],
            b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",
            &tracks(&[&video(b"")]),
            &cluster,
            tags,
            &cluster,
        ]
        .concat()
    };
    check(&open(&tags), Kind::WebM, Kind::WebM, Some((64, 48)), &open(&gone));
    let shown = element(
        b"\xe0",
        &[
            &element(b"\xb0", &[&[64]]),
            &element(b"\xba", &[&[48]]),
            &element(b"\x54\xb0", &[&[96]]),
            &element(b"\x54\xba", &[&[48]]),
        ],
    );
    let wide = webm(&[&tracks(&[&webm_track(1, &shown)])]);
    check(&wide, Kind::WebM, Kind::WebM, Some((96, 48)), &wide);
}

// ---- sounds --------------------------------------------------------------------------------------

/// One page; its check sum is right.
fn ogg_page(flags: u8, serial: u8, segments: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend_from_slice(&[0; 8]);
    page.extend_from_slice(&[serial, 0, 0, 0]);
    page.extend_from_slice(&[0; 8]);
    page.push(segments.len() as u8);
    page.extend_from_slice(segments);
    page.extend_from_slice(body);
    let sum = page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

#[test]
fn an_ogg_keeps_its_sound_and_has_no_comments() {
    let page = |flags, serial, body: &[u8]| ogg_page(flags, serial, &[body.len() as u8], body);
    let comments = |prefix: &[u8], framing: &[u8]| {
        let text = [&b"\x04\0\0\0Lavf\x01\0\0\0\x09\0\0\0"[..], SECRET, framing].concat();
        [prefix, &text].concat()
    };
    let none = |prefix: &[u8], framing: &[u8]| {
        let len = comments(prefix, framing).len();
        let mut out = [prefix, b"\x04\0\0\0Lavf\0\0\0\0", framing].concat();
        out.resize(len, 0);
        out
    };
    for (head, prefix, framing, found, pixels) in [
        (&b"\x01vorbis..."[..], &b"\x03vorbis"[..], &b"\x01"[..], Kind::Ogg, None),
        (b"OpusHead", b"OpusTags", b"", Kind::Ogg, None),
        (b"Speex   ", b"", b"", Kind::Ogg, None),
        (b"\x7fFLAC\x01\0", b"\x84\0\0\x1e", b"", Kind::Ogg, None),
        (
            b"\x80theora\x03\x02\x01\0\x04\0\x03\0\0\x40\0\0\x30..",
            b"\x81theora",
            b"",
            Kind::OggVideo,
            Some((64, 48)),
        ),
    ] {
        let sound = page(0, 1, b"GPS, but sound");
        let file = [page(2, 1, head), page(0, 1, &comments(prefix, framing)), sound.clone()].concat();
        let stored = [page(2, 1, head), page(0, 1, &none(prefix, framing)), sound.clone()].concat();
        check(&file, Kind::Ogg, found, pixels, &stored);
        // Bytes after the last page, and an incomplete page.
        let tail = [&file[..], b"TAG", SECRET].concat();
        check(&tail, Kind::Ogg, found, pixels, &[&stored[..], &[0; 12]].concat());
    }
    // A comment over two pages, another stream between them, and a packet of sound on the last.
    let long = comments(b"OpusTags", &[b'x'; 300]);
    let clean = none(b"OpusTags", &[0; 300]);
    let split = |packet: &[u8]| {
        let rest = packet.len() - 255;
        [
            page(2, 1, b"OpusHead"),
            page(2, 2, b"\x01vorbis"),
            ogg_page(0, 1, &[255], &packet[..255]),
            page(0, 2, &none(b"\x03vorbis", b"\x01")),
            ogg_page(1, 1, &[rest as u8, 5], &[&packet[255..], b"sound"].concat()),
        ]
        .concat()
    };
    check(&split(&long), Kind::Ogg, Kind::Ogg, None, &split(&clean));
    // Blocks of FLAC: a picture becomes padding, the sound after the last block stays.
    let picture = [&b"\x06\0\0\x09"[..], SECRET].concat();
    let padding = [&b"\x01\0\0\x09"[..], &[0; 9]].concat();
    let flac = |block: &[u8], last: &[u8]| {
        [page(2, 1, b"\x7fFLAC"), page(0, 1, block), page(0, 1, last), page(0, 1, b"\xff\xf8sound")].concat()
    };
    let (last, last_clean) = (comments(b"\x84\0\0\x1e", b""), none(b"\x84\0\0\x1e", b""));
    check(&flac(&picture, &last), Kind::Ogg, Kind::Ogg, None, &flac(&padding, &last_clean));
}

#[test]
fn a_wav_and_an_mp3_keep_their_sound_alone() {
    let chunk = |name: &[u8; 4], data: &[u8]| {
        let pad: &[u8] = if data.len() % 2 == 1 { b"\0" } else { b"" };
        [&name[..], &(data.len() as u32).to_le_bytes(), data, pad].concat()
    };
    let wav = |chunks: &[Vec<u8>]| [&b"RIFF\0\0\0\0WAVE"[..], &chunks.concat()].concat();
    let (format, data) = (chunk(b"fmt ", &[1; 16]), chunk(b"data", b"GPS, sound"));
    let junk = chunk(b"JUNK", &[0; 9]);
    let file = wav(&[
        format.clone(),
        chunk(b"LIST", SECRET),
        chunk(b"bext", SECRET),
        data.clone(),
        chunk(b"id3 ", SECRET),
    ]);
    let stored = wav(&[format.clone(), junk.clone(), junk.clone(), data.clone(), junk]);
    check(&file, Kind::Wav, Kind::Wav, None, &stored);
    let open = wav(&[format, b"data\xff\xff\xff\xffsound".to_vec()]);
    check(&open, Kind::Wav, Kind::Wav, None, &open);

    let id3 =
        |flags: u8, body: &[u8]| [&b"ID3\x04\0"[..], &[flags, 0, 0, 0, body.len() as u8], body].concat();
    let frame = b"\xff\xfb\x90\x64sound";
    let v1 = |body: &[u8], genre: u8| {
        let mut tag = [b"TAG", body].concat();
        tag.resize(127, 0);
        tag.push(genre);
        tag
    };
    let ape = |items: &[u8], count: u8| {
        let size = [items.len() as u8 + 32, 0, 0, 0];
        let part = |flags: u8| {
            [&b"APETAGEX\xd0\x07\0\0"[..], &size, &[count, 0, 0, 0], &[0, 0, 0, flags], &[0; 8]].concat()
        };
        [&part(0xa0)[..], items, &part(0x80)].concat()
    };
    let lyrics = |text: &[u8]| [&b"LYRICSBEGIN"[..], text, b"000020LYRICS200"].concat();
    let file = [&id3(0x80, SECRET)[..], frame, &ape(SECRET, 1), &lyrics(SECRET), &v1(SECRET, 17)].concat();
    let stored = [&id3(0, &[0; 9])[..], frame, &ape(&[0; 9], 0), &lyrics(&[0; 9]), &v1(b"", 0xff)].concat();
    check(&file, Kind::Mp3, Kind::Mp3, None, &stored);
    let bare = [&frame[..], frame].concat();
    check(&bare, Kind::Mp3, Kind::Mp3, None, &bare);
}

// ---- anything ------------------------------------------------------------------------------------

const KINDS: [Kind; 9] =
    [Kind::Jpeg, Kind::Mp4, Kind::Mov, Kind::Heic, Kind::Avif, Kind::WebM, Kind::Ogg, Kind::Mp3, Kind::Wav];

fn samples() -> Vec<Vec<u8>> {
    let places = track(b"meta", false, SECRET, 7, b"", &atom(b"stsz", &[&[0; 12]]));
    let video = track(b"vide", true, SECRET, 7, b"", &atom(b"stsd", &[&[0; 8], &atom(b"avc1", &[&[7; 80]])]));
    vec![
        jpeg(b"", b"\0\0\0GPS+59.33\xff\xd9"),
        [ftyp(b"isom"), atom(b"moov", &[&mvhd(7), &video, &places]), atom(b"free", &[SECRET])].concat(),
        heif(&[&ispe(64, 48), &atom(b"irot", &[&[1]])], b"\x02\x01\x82", &exif(), SECRET, SECRET),
        webm(&[
            &element(b"\x16\x54\xae\x6b", &[&webm_track(1, b"")]),
            &element(b"\x12\x54\xc3\x67", &[SECRET]),
        ]),
        [ogg_page(2, 1, &[8], b"OpusHead"), ogg_page(0, 1, &[20], b"OpusTags\0\0\0\0\0\0\0\0GPS+")].concat(),
        b"RIFF\0\0\0\0WAVELIST\x04\0\0\0GPS+".to_vec(),
        b"ID3\x04\0\0\0\0\0\x04GPS+\xff\xfb\x90\x64APETAGEX".to_vec(),
    ]
}

proptest! {
    /// Real files with wrong bytes, cut anywhere, inspected as any type: a result, the same length, and a fixed point.
    #[test]
    fn any_bytes_are_inspected_and_cleaned_once(
        sample in 0..samples().len(),
        kind in 0..KINDS.len(),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = samples()[sample].clone();
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let (found, cleaned) = run(&bytes, KINDS[kind], RULES);
        prop_assert!(cleaned.len() == bytes.len() || KINDS[kind] == Kind::Jpeg);
        if found.is_ok() {
            let (_, again) = run(&cleaned, KINDS[kind], RULES);
            prop_assert_eq!(again, cleaned);
        }
    }
}
