//! Small files of each container, built byte by byte. Each format has a file of tests; here is what holds for any bytes.

mod heif;
mod jpeg;
mod movie;
mod ogg;
mod wave;
mod webm;

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

/// Version 0, track 1; a matrix and a size of 16.16.
fn tkhd(times: u8, is_turned: bool) -> Vec<u8> {
    let one = 0x1_0000_u32.to_be_bytes();
    let zero = [0; 4];
    let (a, b, c, d) = if is_turned { (zero, one, [0xff; 4], zero) } else { (one, zero, zero, one) };
    let matrix = [a, b, zero, c, d, zero, zero, zero, [0x40, 0, 0, 0]].concat();
    let side = |side: u32| (side << 16).to_be_bytes();
    atom(b"tkhd", &[&[0, 0, 0, 1], &[times; 8], &[0, 0, 0, 1], &[0; 24], &matrix, &side(64), &side(48)])
}

fn track(kind: &[u8; 4], is_turned: bool, secret: &[u8], times: u8, rest: &[u8], table: &[u8]) -> Vec<u8> {
    let mdhd = atom(b"mdhd", &[&[0; 4], &[times; 8], &[0; 12]]);
    let media = [&mdhd[..], &handler(kind, secret), &atom(b"minf", &[&atom(b"stbl", &[table])])].concat();
    atom(b"trak", &[&tkhd(times, is_turned), &atom(b"mdia", &[&media]), rest])
}

/// The table of a track's samples: one chunk for each list of sizes.
fn table(chunks: &[(usize, &[u32])]) -> Vec<u8> {
    let number = |n: usize| (n as u32).to_be_bytes();
    let sizes: Vec<u8> =
        chunks.iter().flat_map(|(_, sizes)| *sizes).flat_map(|size| size.to_be_bytes()).collect();
    let runs: Vec<u8> = (1..)
        .zip(chunks)
        .flat_map(|(chunk, (_, sizes))| [number(chunk), number(sizes.len()), number(1)].concat())
        .collect();
    let offsets: Vec<u8> = chunks.iter().flat_map(|(offset, _)| number(*offset)).collect();
    [
        atom(b"stsz", &[&[0; 8], &number(sizes.len() / 4), &sizes]),
        atom(b"stsc", &[&[0; 4], &number(chunks.len()), &runs]),
        atom(b"stco", &[&[0; 4], &number(chunks.len()), &offsets]),
    ]
    .concat()
}

fn mvhd(times: u8) -> Vec<u8> {
    atom(b"mvhd", &[&[0; 4], &[times; 8], &[0; 88]])
}

// ---- pictures ------------------------------------------------------------------------------------

/// A HEIF file of a picture, an Exif item in `mdat` and XMP in `idat`. The list of items and the XMP item have this name.
fn heif(properties: &[&[u8]], links: &[u8], exif: &[u8], xmp: &[u8], name: &[u8]) -> Vec<u8> {
    let item = |id: u8, kind: &[u8; 4], rest: &[u8]| {
        atom(b"infe", &[&[2, 0, 0, 0], &[0, id], &[0, 0], kind, b"\0", rest])
    };
    let items = atom(
        b"iinf",
        &[&[0; 4], &[0, 3], &item(1, b"hvc1", b""), &item(2, b"Exif", b""), &item(3, b"mime", name)],
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

/// A track whose number is its kind.
fn webm_track(kind: u8, more: &[u8]) -> Vec<u8> {
    let (number, kind) = (element(b"\xd7", &[&[kind]]), element(b"\x83", &[&[kind]]));
    element(b"\xae", &[&number, &kind, &element(b"\x86", &[b"V_VP8"]), more])
}

fn webm(parts: &[&[u8]]) -> Vec<u8> {
    let head = element(b"\x1a\x45\xdf\xa3", &[&element(b"\x42\x82", &[b"webm"])]);
    [head, element(b"\x18\x53\x80\x67", parts)].concat()
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

// ---- anything ------------------------------------------------------------------------------------

const KINDS: [Kind; 9] =
    [Kind::Jpeg, Kind::Mp4, Kind::Mov, Kind::Heic, Kind::Avif, Kind::WebM, Kind::Ogg, Kind::Mp3, Kind::Wav];

fn samples() -> Vec<Vec<u8>> {
    let places = track(b"meta", false, SECRET, 7, b"", &atom(b"stsz", &[&[0; 12]]));
    let video = track(b"vide", true, SECRET, 7, b"", &atom(b"stsd", &[&[0; 8], &atom(b"avc1", &[&[7; 80]])]));
    vec![
        jpeg(b"", b"\0\0\0GPS+59.33\xff\xd9"),
        [ftyp(b"isom"), atom(b"moov", &[&mvhd(7), &video, &places]), atom(b"free", &[SECRET])].concat(),
        [
            ftyp(b"isom"),
            atom(b"mdat", &[b"showGPS+59.33show"]),
            atom(b"moov", &[&track(b"vide", true, b"", 7, b"", &table(&[(28, &[1, 3]), (41, &[4])]))]),
        ]
        .concat(),
        heif(&[&ispe(64, 48), &atom(b"irot", &[&[1]])], b"\x02\x01\x82", &exif(), SECRET, SECRET),
        webm(&[
            &element(b"\x16\x54\xae\x6b", &[&webm_track(1, b"")]),
            &element(b"\x12\x54\xc3\x67", &[SECRET]),
            &element(
                b"\x1f\x43\xb6\x75",
                &[&element(b"\xa3", &[b"\x81block"]), &element(b"\xec", &[SECRET])],
            ),
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
