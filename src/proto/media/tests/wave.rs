//! WAV and MP3: the sound alone is kept.

use super::*;

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
    let cut = |text: &[u8]| [&frame[..], b"TAG", text].concat();
    check(&cut(SECRET), Kind::Mp3, Kind::Mp3, None, &cut(&[0; 9]));
    let bare = [&frame[..], frame].concat();
    check(&bare, Kind::Mp3, Kind::Mp3, None, &bare);
}
