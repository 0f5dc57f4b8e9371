//! WebM: what plays it is kept.

use super::*;

#[test]
fn a_webm_keeps_what_plays_it() {
    let sides = |width: u8, height: u8| {
        element(b"\xe0", &[&element(b"\xb0", &[&[width]]), &element(b"\xba", &[&[height]])])
    };
    let cluster = element(
        b"\x1f\x43\xb6\x75",
        &[&element(b"\xe7", &[b"\0"]), &element(b"\xa3", &[b"\x81GPS, but a block"])],
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
    let heard = element(b"\x1f\x43\xb6\x75", &[&element(b"\xa3", &[b"\x82sound"])]);
    let sound = webm(&[&tracks(&[&webm_track(2, b"")]), &heard]);
    check(&sound, Kind::WebM, Kind::WebMAudio, None, &sound);
    // As a browser records it: the segment and its clusters have no size and end where the next one begins.
    let open = |tags: &[u8]| {
        let head = element(b"\x1a\x45\xdf\xa3", &[&element(b"\x42\x82", &[b"webm"])]);
        let cluster =
            [&b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff"[..], &element(b"\xa3", &[b"\x81block"])]
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

#[test]
fn a_webm_has_nothing_else_at_any_level() {
    let bits = |parts: &[&[u8]]| element(b"\x1f\x43\xb6\x75", parts);
    let video = webm_track(1, b"");
    let tracks = |tracks: &[&[u8]]| element(b"\x16\x54\xae\x6b", tracks);
    let block = |id: &[u8], track: u8, text: &[u8]| element(id, &[&[0x80 | track], b"\0\0\x80", text]);
    let group = |parts: &[&[u8]]| element(b"\xa0", parts);
    let hidden = [element(b"\xec", &[SECRET]), element(b"\xbf", &[SECRET]), element(b"\x67\xc8", &[SECRET])];
    let blank = [void(3, SECRET.len()), void(3, SECRET.len()), void(4, SECRET.len())];
    let file = |tracks: &[u8], inside: &[Vec<u8>; 3], simple: &[u8], grouped: &[u8]| {
        let head = element(b"\x1a\x45\xdf\xa3", &[&element(b"\x42\x82", &[b"webm"]), &inside[0], &inside[2]]);
        let cues =
            element(b"\x1c\x53\xbb\x6b", &[&element(b"\xbb", &[&inside[0], &element(b"\xb3", &[b"\0"])])]);
        let shown = block(b"\xa3", 1, b"show");
        let cluster = bits(&[
            &inside[1],
            &element(b"\xe7", &[b"\0"]),
            &shown,
            simple,
            &group(&[&block(b"\xa1", 1, b"show"), &inside[2]]),
            &group(&[grouped, &element(b"\x9b", &[b"\x01"])]),
        ]);
        let parts = [tracks, &cues, &cluster, &inside[0], &cluster].concat();
        [head, element(b"\x18\x53\x80\x67", &[&parts])].concat()
    };
    // Data, and subtitles.
    for kind in [33, 17] {
        let places = webm_track(kind, &element(b"\x63\xa2", &[SECRET]));
        let hidden_block = |id: &[u8]| block(id, kind, SECRET);
        let given =
            file(&tracks(&[&video, &places]), &hidden, &hidden_block(b"\xa3"), &hidden_block(b"\xa1"));
        let gone = void(3, SECRET.len() + 4);
        let stored = file(&tracks(&[&video, &void(3, places.len() - 3)]), &blank, &gone, &gone);
        check(&given, Kind::WebM, Kind::WebM, None, &stored);
    }

    // The second of three packets before the sound has comments.
    let packet =
        |text: &[u8], count: u8| [b"\x03vorbis\x04\0\0\0Lavf", &[count, 0, 0, 0][..], text, b"\x01"].concat();
    let text = [b"\x09\0\0\0", SECRET].concat();
    let private = |packet: &[u8]| {
        let id = element(b"\x86", &[b"A_VORBIS"]);
        let head = [b"\x02\x03", &[packet.len() as u8][..], b"id.", packet, b"set-up"].concat();
        let sound = [element(b"\xd7", &[b"\x02"]), element(b"\x83", &[b"\x02"]), id].concat();
        webm(&[&tracks(&[&element(b"\xae", &[&sound, &element(b"\x63\xa2", &[&head])])])])
    };
    let clean = [&packet(b"", 0)[..], &vec![0; text.len()]].concat();
    check(&private(&packet(&text, 1)), Kind::WebM, Kind::WebMAudio, None, &private(&clean));
}
