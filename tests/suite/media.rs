//! Real files of each container, made by the tools of the field: what is stored still plays, and has no metadata.
//!
//! A secret is in every place for metadata that the tools can write. Owns the list of files and their changes. A tool that is
//! not installed is named, and its files are left out; `NATTER_REQUIRE_TOOLS=1` requires all of them.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Seeded, TestDir};
use natter::base::crypto::Entropy;
use natter::proto::image::{Filter, Finished, Refused, Rules};
use natter::proto::media::{Fault, inspect};

const SECRET: &str = "Ann59N18E";
const PIXELS_MAX: u64 = 250_000_000;
/// Changed copies of each file.
const CHANGES: usize = 60;

/// A file, and how it is made: a program with its arguments for each step. `$` is the folder.
struct Row {
    name: &'static str,
    steps: &'static [&'static str],
}

const fn row(name: &'static str, steps: &'static [&'static str]) -> Row {
    Row { name, steps }
}

const ROWS: [Row; 33] = [
    row("a.jpg", &["ffmpeg PICTURE $/a.jpg", "exiftool TAGS -Comment=SECRET $/a.jpg"]),
    row("a.png", &["ffmpeg PICTURE $/a.png", "exiftool TAGS -PNG:Comment=SECRET $/a.png"]),
    row("a.gif", &["ffmpeg FILM $/a.gif", "exiftool -Comment=SECRET -XMP:Creator=SECRET $/a.gif"]),
    row("a.webp", &["ffmpeg PICTURE -c:v libwebp $/a.webp", "exiftool TAGS $/a.webp"]),
    row("b.heic", &["heif-enc $/a.jpg -o $/b.heic", "exiftool TAGS $/b.heic"]),
    row("b.avif", &["heif-enc -A $/a.jpg -o $/b.avif", "exiftool TAGS $/b.avif"]),
    row("a.mp4", &["ffmpeg FILM SOUND MARKS -movflags use_metadata_tags $/a.mp4", "exiftool TAGS $/a.mp4"]),
    row("fast.mp4", &["ffmpeg FILM SOUND MARKS -movflags faststart $/fast.mp4"]),
    row("parts.mp4", &["ffmpeg FILM SOUND MARKS -movflags frag_keyframe+empty_moov $/parts.mp4"]),
    row("dash.mp4", &["ffmpeg FILM SOUND MARKS -movflags dash+frag_every_frame $/dash.mp4"]),
    row("a.mov", &["ffmpeg FILM SOUND MARKS -timecode 01:02:03:04 $/a.mov", "exiftool TAGS $/a.mov"]),
    row("gaps.mp4", &["ffmpeg FILM SOUND $/gaps.mp4", "hide $/gaps.mp4"]),
    row("gaps-fast.mp4", &["ffmpeg FILM SOUND -movflags faststart $/gaps-fast.mp4", "hide $/gaps-fast.mp4"]),
    row("gaps.heic", &["heif-enc $/a.jpg -o $/gaps.heic", "hide $/gaps.heic"]),
    row("pcm.mov", &["ffmpeg FILM SOUND -c:a pcm_s16le $/pcm.mov", "hide $/pcm.mov"]),
    row("pcm24.mov", &["ffmpeg FILM SOUND -ac 2 -c:a pcm_s24be $/pcm24.mov", "hide $/pcm24.mov"]),
    row("float.mov", &["ffmpeg FILM SOUND -ac 2 -c:a pcm_f32le $/float.mov", "hide $/float.mov"]),
    row("alaw.mov", &["ffmpeg FILM SOUND -c:a pcm_alaw $/alaw.mov", "hide $/alaw.mov"]),
    row("ima.mov", &["ffmpeg FILM SOUND -ac 2 -c:a adpcm_ima_qt $/ima.mov", "hide $/ima.mov"]),
    row("text.mp4", &["ffmpeg TEXT FILM SOUND -c:s mov_text $/text.mp4"]),
    row(
        "text-parts.mp4",
        &["ffmpeg TEXT FILM SOUND -c:s mov_text -movflags frag_keyframe+empty_moov $/text-parts.mp4"],
    ),
    row("a.m4a", &["ffmpeg SOUND MARKS $/a.m4a"]),
    row("a.webm", &["ffmpeg FILM SOUND MARKS -c:v libvpx -c:a libopus $/a.webm"]),
    row("vorbis.webm", &["ffmpeg FILM SOUND MARKS -c:v libvpx-vp9 -c:a libvorbis $/vorbis.webm"]),
    row("live.webm", &["ffmpeg FILM SOUND MARKS -c:v libvpx -c:a libopus -live 1 $/live.webm"]),
    row("text.webm", &["ffmpeg TEXT FILM SOUND -c:v libvpx -c:a libopus -c:s webvtt $/text.webm"]),
    row(
        "mkvmerge.webm",
        &["mkvmerge --webm --title SECRET --track-name 0:SECRET -o $/mkvmerge.webm $/a.webm"],
    ),
    row("a.ogg", &["ffmpeg SOUND MARKS -c:a libvorbis $/a.ogg"]),
    row("opus.ogg", &["ffmpeg SOUND MARKS -c:a libopus $/opus.ogg"]),
    row("flac.ogg", &["ffmpeg SOUND MARKS -c:a flac $/flac.ogg"]),
    row("theora.ogg", &["ffmpeg FILM SOUND MARKS -c:v libtheora -c:a libvorbis $/theora.ogg"]),
    row("a.mp3", &["ffmpeg SOUND MARKS -write_id3v1 1 $/a.mp3"]),
    row("a.wav", &["ffmpeg SOUND MARKS $/a.wav"]),
];

/// What the words in capitals mean.
const WORDS: [(&str, &str); 6] = [
    ("TEXT", "-i $/a.srt"),
    ("PICTURE", "-f lavfi -i testsrc2=size=96x64 -frames:v 1"),
    ("FILM", "-f lavfi -i testsrc2=size=96x64:rate=10 -t 1 -pix_fmt yuv420p"),
    ("SOUND", "-f lavfi -i sine=frequency=440:duration=1"),
    (
        "MARKS",
        "-metadata title=SECRET -metadata comment=SECRET -metadata artist=SECRET -metadata copyright=SECRET \
         -metadata location=+59.3293+018.0686/SECRET -metadata:s title=SECRET -metadata:s handler_name=SECRET",
    ),
    (
        "TAGS",
        "-q -overwrite_original -m -Artist=SECRET -Copyright=SECRET -XMP:Creator=SECRET -XMP:Location=SECRET \
         -EXIF:OwnerName=SECRET -EXIF:SerialNumber=SECRET -EXIF:UserComment=SECRET -EXIF:GPSAreaInformation=SECRET",
    ),
];

/// Arguments of a step. The inputs of ffmpeg come before what is done with them.
fn arguments(step: &str, folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inputs = 0;
    for word in step.split_whitespace() {
        let meaning = WORDS.iter().find(|(name, _)| *name == word).map_or(word, |(_, meaning)| meaning);
        for part in meaning.split_whitespace() {
            words.push(part.replace("SECRET", SECRET).replace('$', &folder.display().to_string()));
        }
    }
    // Moves `-f lavfi -i …` to the front.
    for at in 0..words.len() {
        if words[at] == "lavfi" && at > inputs + 1 {
            let input: Vec<String> = words.drain(at - 1..at + 3).collect();
            words.splice(inputs..inputs, input);
        }
        if words[at] == "lavfi" {
            inputs += 4;
        }
    }
    words
}

/// Makes a file. `None` with a line if a tool is not installed, or cannot write this kind.
fn make(row: &Row, folder: &Path) -> Option<PathBuf> {
    let required = std::env::var_os("NATTER_REQUIRE_TOOLS").is_some();
    for step in row.steps {
        let (program, rest) = step.split_once(' ').expect("a program and its arguments");
        if program == "hide" {
            hide(&folder.join(row.name));
            continue;
        }
        let quiet: &[&str] = if program == "ffmpeg" { &["-v", "error", "-y"] } else { &[] };
        let output = Command::new(program).args(quiet).args(arguments(rest, folder)).output();
        let failure = match output {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(!required, "{}: {program}: {failure}", row.name);
        eprintln!("{} is left out: {program}: {}", row.name, failure.lines().next().unwrap_or_default());
        return None;
    }
    Some(folder.join(row.name))
}

/// Puts the secret into the data of a movie where no table refers to it, as dashcams do: before the samples, between two
/// chunks, and after the samples. In a picture after the items.
fn hide(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    let find = |bytes: &[u8], name: &[u8]| bytes.windows(4).position(|window| window == name);
    let number = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
    let data = find(&bytes, b"mdat").expect("data") - 4;
    let end = data + number(&bytes, data) as usize;
    let mut places = vec![end];
    let mut from = 0;
    let mut entries = Vec::new();
    while let Some(at) = find(&bytes[from..], b"stco").map(|at| from + at) {
        entries.extend((0..number(&bytes, at + 8) as usize).map(|entry| at + 12 + 4 * entry));
        from = at + 4;
    }
    if !entries.is_empty() {
        let mut offsets: Vec<usize> = entries.iter().map(|at| number(&bytes, *at) as usize).collect();
        offsets.sort_unstable();
        places = vec![data + 8, offsets[offsets.len() / 2], end];
    }
    for at in entries {
        let offset = number(&bytes, at);
        let shift = SECRET.len() * places.iter().filter(|place| **place <= offset as usize).count();
        bytes[at..at + 4].copy_from_slice(&(offset + shift as u32).to_be_bytes());
    }
    let len = (end - data + SECRET.len() * places.len()) as u32;
    bytes[data..data + 4].copy_from_slice(&len.to_be_bytes());
    for place in places.into_iter().rev() {
        bytes.splice(place..place, SECRET.bytes());
    }
    std::fs::write(path, bytes).expect("a file");
}

/// The stored bytes of a file that arrives in pieces, as the server makes them.
fn store(bytes: &[u8], piece: usize, rules: Rules) -> Result<(Finished, Vec<u8>), Refused> {
    let (mut filter, mut stored) = (Filter::new(rules), Vec::new());
    for piece in bytes.chunks(piece) {
        filter.push(piece, &mut stored)?;
    }
    let finished = filter.finish(&mut stored)?;
    if finished.needs_inspection() {
        let mut file = Cursor::new(stored);
        let inspected = match inspect(&mut file, finished.kind, rules) {
            Ok(inspected) => inspected,
            Err(Fault::Refused(refused)) => return Err(refused),
            Err(Fault::Io(error)) => panic!("a file in memory: {error}"),
        };
        stored = file.into_inner();
        stored.truncate(inspected.len as usize);
    }
    Ok((finished, stored))
}

/// A sum of every decoded picture and of all sound. `None` if the file cannot be read.
fn content(path: &Path) -> Option<BTreeSet<String>> {
    // ffmpeg reads no HEIF pictures.
    let is_heif = path.extension().is_some_and(|it| it == "heic" || it == "avif");
    let decoded = path.with_extension("png");
    if is_heif && !Command::new("heif-convert").arg(path).arg(&decoded).output().ok()?.status.success() {
        return None;
    }
    let path = if is_heif { &decoded } else { path };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:v?", "-map", "0:a?", "-f", "framemd5", "-"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sums: BTreeSet<String> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    (output.status.success() && !sums.is_empty()).then_some(sums)
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

const CLEAN: Rules = Rules { keep_metadata: false, pixels_max: PIXELS_MAX };
const KEEP: Rules = Rules { keep_metadata: true, pixels_max: PIXELS_MAX };

#[test]
fn real_files_are_stored_without_metadata_and_still_play() {
    let folder = TestDir::new();
    let text = format!("1\n00:00:00,000 --> 00:00:00,900\n{SECRET}\n");
    std::fs::write(folder.path().join("a.srt"), text).expect("subtitles");
    let mut random = Seeded(7);
    let mut below = |bound: usize| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_be_bytes(bytes) as usize % bound.max(1)
    };
    for row in &ROWS {
        let Some(path) = make(row, folder.path()) else { continue };
        let bytes = std::fs::read(&path).expect("a file");
        assert!(holds(&bytes, SECRET), "{}: the secret is in the file", row.name);
        let (finished, stored) = store(&bytes, 65_536, CLEAN).expect(row.name);
        assert!(!holds(&stored, SECRET), "{}: the secret is stored", row.name);
        assert_eq!(store(&bytes, 61, CLEAN), Ok((finished, stored.clone())), "{}: in small pieces", row.name);
        let again = store(&stored, 65_536, CLEAN).map(|(_, bytes)| bytes);
        assert_eq!(again, Ok(stored.clone()), "{}: a second run changes nothing", row.name);
        let (_, kept) = store(&bytes, 65_536, KEEP).expect(row.name);
        assert!(holds(&kept, SECRET), "{}: metadata is kept where it is wanted", row.name);
        let clean = path.with_file_name(format!("clean-{}", row.name));
        std::fs::write(&clean, &stored).expect("a file");
        let played = content(&path);
        assert!(played.is_some(), "{}: it plays", row.name);
        assert_eq!(content(&clean), played, "{}: the same pictures and sound", row.name);

        for _ in 0..CHANGES {
            // The secret is found in no part of the file.
            let cut = &bytes[..below(bytes.len() + 1)];
            let result = store(cut, 1 + below(4_096), CLEAN);
            assert_eq!(result, store(cut, 65_536, CLEAN), "{}: cut at {}", row.name, cut.len());
            if let Ok((_, stored)) = result {
                assert!(!holds(&stored, SECRET), "{}: the secret is stored of {} bytes", row.name, cut.len());
            }
            // Wrong bytes: a result, and a second run changes nothing.
            let mut wrong = bytes.clone();
            for _ in 0..1 + below(4) {
                let at = below(wrong.len());
                wrong[at] = below(256) as u8;
            }
            if let Ok((_, stored)) = store(&wrong, 1 + below(4_096), CLEAN)
                && let Ok((_, again)) = store(&stored, 65_536, CLEAN)
            {
                assert!(again.len() <= stored.len(), "{}", row.name);
            }
        }
    }
}
