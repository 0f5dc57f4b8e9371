//! WebM: what plays it is kept.

use super::*;

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
