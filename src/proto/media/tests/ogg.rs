//! Ogg: the sound is kept, its comments are removed.

use super::*;

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
fn comments_in_unusual_places_are_removed() {
    let text = [&b"OpusTags\x04\0\0\0Lavf\x01\0\0\0\x09\0\0\0"[..], SECRET].concat();
    let none = [&b"OpusTags\x04\0\0\0Lavf"[..], &vec![0; text.len() - 16]].concat();
    let page = |flags, serial, body: &[u8]| ogg_page(flags, serial, &[body.len() as u8], body);
    let sound = page(4, 1, b"sound");
    // On the page of the first packet, and after the end of a packet whose beginning is missing.
    let joined = |text: &[u8]| {
        [ogg_page(2, 1, &[8, text.len() as u8], &[b"OpusHead", text].concat()), sound.clone()].concat()
    };
    check(&joined(&text), Kind::Ogg, Kind::Ogg, None, &joined(&none));
    let after = |text: &[u8]| {
        let next = ogg_page(1, 1, &[3, text.len() as u8], &[b"end", text].concat());
        [page(2, 1, b"OpusHead"), next, sound.clone()].concat()
    };
    check(&after(&text), Kind::Ogg, Kind::Ogg, None, &after(&none));
    // A stream that is neither shown nor heard.
    let described = |first: &[u8], then: &[u8]| {
        [page(2, 1, b"OpusHead"), page(2, 2, first), page(0, 1, &none), page(0, 2, then), sound.clone()]
            .concat()
    };
    let zeroes = [0; SECRET.len()];
    for head in [b"fishead\0", b"\x80kate\0\0\0", b"\x01text\0\0\0"] {
        check(&described(head, SECRET), Kind::Ogg, Kind::Ogg, None, &described(&[0; 8], &zeroes));
    }
    // One after the other any number of streams, at once not.
    let chained: Vec<u8> =
        (0..100).flat_map(|serial| [page(2, serial, b"OpusHead"), page(0, serial, &none)].concat()).collect();
    check(&chained, Kind::Ogg, Kind::Ogg, None, &chained);
    let many: Vec<u8> = (0..100).flat_map(|serial| page(2, serial, b"OpusHead")).collect();
    assert_eq!(run(&many, Kind::Ogg, RULES).0, Err(Refused::BrokenImage));
}
