//! Files that are judged and cleaned once they are whole on disk: movies, HEIF pictures and sounds, whose
//! tables may follow or point into what they describe. [`inspect`] says what such a file is and shows, and
//! overwrites what tells places, owners, devices and comments.
//!
//! It owns the rules of each container and knows no file: it works on anything that reads, writes and seeks.
//! Invariants: no byte moves, so that every offset inside a file stays right, and nothing but a trailer is cut; memory is
//! bounded by [`TABLE_MAX`], work by the length of the file (`medium`); a second run changes nothing.

mod boxes;
mod ebml;
mod heif;
mod jpeg;
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

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub kind: Kind,
    /// As displayed, of a picture or of the first video track.
    pub pixels: Option<Pixels>,
    /// Bytes of it were overwritten, or are to be cut off.
    pub changed: bool,
    /// What follows this many bytes is no part of it.
    pub len: u64,
}

/// Why there is no verdict, or a bad one.
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

/// What shows nothing to anybody.
const BROKEN: Fault = Fault::Refused(Refused::BrokenImage);

/// Whether files of this kind are inspected.
pub fn is_inspected(kind: Kind) -> bool {
    !matches!(kind, Kind::Jpeg | Kind::Png | Kind::Gif | Kind::WebP | Kind::Pdf | Kind::Zip | Kind::Text)
}

/// Reads a whole file of a sniffed kind, and overwrites its metadata unless that is kept.
pub fn inspect<F: Read + Write + Seek>(file: &mut F, kind: Kind, rules: Rules) -> Result<Inspected, Fault> {
    // A trailer is no metadata: it goes in any case.
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
            if let Some(end) = jpeg::end(&mut medium)?.filter(|end| end + 2 < len) {
                medium.write(end, b"\xff\xd9")?;
                len = end + 2;
            }
            (kind, None)
        }
        Kind::Png | Kind::Gif | Kind::WebP | Kind::Pdf | Kind::Zip | Kind::Text => (kind, None),
    };
    Ok(Inspected { kind, pixels, changed: medium.changed() || len < medium.len(), len })
}
