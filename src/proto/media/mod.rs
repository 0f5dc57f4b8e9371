//! Checks movies, HEIF pictures and sounds when they are complete on disk, and removes their metadata.
//!
//! The tables of these files may come after the data or point into it, so they cannot be filtered while they stream.
//! [`inspect`] finds the type and the size of such a file, and overwrites places, owners, devices and comments.
//!
//! Owns the rules of each container; works on anything that can read, write and seek. Invariants: no byte moves, so that every
//! offset in a file stays correct, and only a trailer is cut off; memory is bounded by [`TABLE_MAX`], work by the length of the
//! file (`medium`); a second run changes nothing.
//!
//! ```
//! use std::io::Cursor;
//!
//! use natter::proto::image::{Kind, Rules};
//! use natter::proto::media::inspect;
//!
//! // A WAV with two samples, and a chunk that says where it was recorded.
//! let sound = b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x02\0\0\0\x80\x80";
//! let mut file = [b"RIFF\x3a\0\0\0", &sound[..], b"LIST\x06\0\0\0at sea"].concat();
//!
//! let rules = Rules { keep_metadata: false, pixels_max: 1_000_000 };
//! let inspected = inspect(&mut Cursor::new(&mut file), Kind::Wav, rules).expect("a sound");
//! assert!(inspected.changed);
//! assert!(file.ends_with(b"data\x02\0\0\0\x80\x80JUNK\x06\0\0\0\0\0\0\0\0\0"));
//! ```

mod boxes;
mod ebml;
mod heif;
mod jpeg;
mod kept;
mod medium;
mod movie;
mod ogg;
#[cfg(test)]
mod tests;
mod wave;

use std::io::{Error, Read, Seek, Write};

use super::image::{Kind, Pixels, Refused, Rules};
use medium::Medium;

/// The most bytes of one table that are held at once: item lists of a HEIF picture, one page of an Ogg file.
const TABLE_MAX: usize = 262_144;

/// The result of an inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub kind: Kind,
    /// The displayed size of a picture or of the first video track.
    pub pixels: Option<Pixels>,
    /// Bytes of it were overwritten or must be cut off.
    pub changed: bool,
    /// Bytes after this length do not belong to it.
    pub len: u64,
}

/// Why a file is refused or could not be inspected.
#[derive(Debug)]
pub enum Fault {
    Refused(Refused),
    Io(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Io(error)
    }
}

/// A file that no program can show.
const BROKEN: Fault = Fault::Refused(Refused::BrokenImage);

/// Whether files of this kind are inspected.
pub fn is_inspected(kind: Kind) -> bool {
    !matches!(kind, Kind::Jpeg | Kind::Png | Kind::Gif | Kind::WebP | Kind::Pdf | Kind::Zip | Kind::Text)
}

/// Reads a complete file of a detected type, and overwrites its metadata unless it is kept.
pub fn inspect<F: Read + Write + Seek>(file: &mut F, kind: Kind, rules: Rules) -> Result<Inspected, Fault> {
    // A trailer is not metadata: it is removed in any case.
    let mut medium = Medium::new(file, rules.keep_metadata && kind != Kind::Jpeg)?;
    let mut len = medium.len();
    let (kind, pixels) = match kind {
        Kind::Mp4 | Kind::Mp4Audio | Kind::Mov => movie::inspect(&mut medium, kind)?,
        Kind::Heic | Kind::Heif | Kind::Avif => (kind, Some(heif::inspect(&mut medium, rules.pixels_max)?)),
        Kind::WebM | Kind::WebMAudio => ebml::inspect(&mut medium)?,
        Kind::Ogg | Kind::OggVideo => ogg::inspect(&mut medium)?,
        Kind::Mp3 => {
            wave::clean_mp3(&mut medium)?;
            (kind, None)
        }
        Kind::Wav => {
            wave::clean_wav(&mut medium)?;
            (kind, None)
        }
        Kind::Jpeg => {
            let end = jpeg::end(&mut medium)?;
            medium.write(end, b"\xff\xd9")?;
            len = len.min(end + 2);
            (kind, None)
        }
        Kind::Png | Kind::Gif | Kind::WebP | Kind::Pdf | Kind::Zip | Kind::Text => (kind, None),
    };
    Ok(Inspected { kind, pixels, changed: medium.changed() || len < medium.len(), len })
}
