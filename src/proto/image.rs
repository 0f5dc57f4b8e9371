//! What an upload is, told by its bytes, and what of it may be kept. [`Filter`] takes the bytes of a file in
//! any split and yields the bytes to store: without the metadata that tells places, times and devices, and
//! ending where the image ends. It refuses to decode a pixel, and to know of names or declared types.
//!
//! Everything streams, in constant memory (`SNIFF_BYTES` at the start, some forty bytes later), because the
//! stored bytes are hashed and appended as they pass: nothing behind can correct what went before. That is
//! why a WebP keeps its length (see `webp.rs`).
//!
//! Invariant: the stored bytes are the same however the file is split, and a sanitized file passes through
//! a second filter unchanged.

mod exif;
mod gather;
mod gif;
mod jpeg;
mod kind;
mod png;
#[cfg(test)]
mod samples;
mod text;
mod webp;

pub use kind::{Kind, sniff};
pub use text::{NotUtf8, Utf8Stream};

use crate::limits::SNIFF_BYTES;

/// The orientation that a whole TIFF block says.
pub(super) fn exif_orientation(block: &[u8]) -> Option<u8> {
    let mut reader = exif::OrientationReader::new();
    reader.push(block);
    reader.value()
}

/// A TIFF block that says the orientation and nothing else; none for what is upright.
pub(super) fn minimal_exif(orientation: Option<u8>) -> Option<[u8; 26]> {
    exif::minimal(orientation)
}

/// Why a file is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No byte at all: 422 `invalid_file`.
    Empty,
    /// None of the accepted types, and not UTF-8: 415 `not_supported_type`.
    UnknownType,
    /// It begins like an image, and does not go on as one: 415 `not_supported_type`.
    BrokenImage,
    /// Its declared width × height is beyond PIXELS_MAX: 422 `invalid_file`.
    TooManyPixels,
}

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// EXIF, XMP, comments and the like stay; the end of a file is enforced all the same.
    pub keep_metadata: bool,
    /// Of one picture (PIXELS_MAX): a small file can declare more than a viewer has memory for.
    pub pixels_max: u64,
}

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub kind: Kind,
    /// For the four kinds of image.
    pub pixels: Option<Pixels>,
    /// A JPEG without an EOI of its own: its last scan may hold what is no part of it.
    pub is_open_ended: bool,
}

impl Finished {
    /// What it shows and what may stay of it is told by the whole file.
    pub fn needs_inspection(&self) -> bool {
        self.is_open_ended || super::media::is_inspected(self.kind)
    }
}

/// Width and height as displayed: turned where the EXIF orientation says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
}

impl Pixels {
    /// None where a side is zero.
    pub(super) fn new(width: u32, height: u32) -> Option<Pixels> {
        (width > 0 && height > 0).then_some(Pixels { width, height })
    }

    pub(super) fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Orientations 5 to 8 are turned by a quarter.
    pub(super) fn turned(self, orientation: Option<u8>) -> Pixels {
        match orientation {
            Some(5..=8) => Pixels { width: self.height, height: self.width },
            _ => self,
        }
    }
}

pub struct Filter {
    rules: Rules,
    inner: Inner,
}

enum Inner {
    /// The first bytes, bounded by SNIFF_BYTES.
    Sniff(Vec<u8>),
    Jpeg(jpeg::Jpeg),
    Png(png::Png),
    Gif(gif::Gif),
    WebP(webp::WebP),
    Text(Utf8Stream),
    /// Stored as it is.
    Opaque(Kind),
}

impl Inner {
    fn of(sniffed: Option<Kind>, rules: Rules) -> Inner {
        let Rules { keep_metadata, .. } = rules;
        match sniffed {
            Some(Kind::Jpeg) => Inner::Jpeg(jpeg::Jpeg::new(keep_metadata)),
            Some(Kind::Png) => Inner::Png(png::Png::new(keep_metadata)),
            Some(Kind::Gif) => Inner::Gif(gif::Gif::new(keep_metadata)),
            Some(Kind::WebP) => Inner::WebP(webp::WebP::new(keep_metadata)),
            Some(Kind::Text) | None => Inner::Text(Utf8Stream::new()),
            Some(kind) => Inner::Opaque(kind),
        }
    }
}

impl Filter {
    pub fn new(rules: Rules) -> Filter {
        Filter { rules, inner: Inner::Sniff(Vec::new()) }
    }

    /// The type, once known.
    pub fn kind(&self) -> Option<Kind> {
        match &self.inner {
            Inner::Sniff(_) => None,
            Inner::Jpeg(_) => Some(Kind::Jpeg),
            Inner::Png(_) => Some(Kind::Png),
            Inner::Gif(_) => Some(Kind::Gif),
            Inner::WebP(_) => Some(Kind::WebP),
            Inner::Text(_) => Some(Kind::Text),
            Inner::Opaque(kind) => Some(*kind),
        }
    }

    /// Takes the next bytes of the file and appends to `out` what of it is to be stored. After a refusal the
    /// file is lost: what was yielded before is worth nothing.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        if let Inner::Sniff(held) = &mut self.inner {
            let (front, rest) = bytes.split_at(bytes.len().min(SNIFF_BYTES - held.len()));
            held.extend_from_slice(front);
            if held.len() < SNIFF_BYTES {
                return Ok(());
            }
            bytes = rest;
            self.decide(out)?;
        }
        self.forward(bytes, out)
    }

    /// The file is whole; appends what was still held back.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Finished, Refused> {
        if let Inner::Sniff(held) = &self.inner {
            if held.is_empty() {
                return Err(Refused::Empty);
            }
            self.decide(out)?;
        }
        let kind = self.kind().ok_or(Refused::UnknownType)?;
        let mut is_open_ended = false;
        let pixels = match self.inner {
            Inner::Jpeg(jpeg) => {
                let finished = jpeg.finish(out);
                is_open_ended = finished.is_some_and(|(_, is_open_ended)| is_open_ended);
                finished.map(|(pixels, _)| pixels)
            }
            Inner::Png(png) => png.finish(out),
            Inner::Gif(gif) => gif.finish(out),
            Inner::WebP(webp) => webp.finish(out),
            Inner::Text(text) => {
                text.finish().map_err(|NotUtf8| Refused::UnknownType)?;
                return Ok(Finished { kind, pixels: None, is_open_ended });
            }
            Inner::Sniff(_) | Inner::Opaque(_) => return Ok(Finished { kind, pixels: None, is_open_ended }),
        };
        Ok(Finished { kind, pixels: Some(pixels.ok_or(Refused::BrokenImage)?), is_open_ended })
    }

    fn decide(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        let Inner::Sniff(held) = &mut self.inner else { return Ok(()) };
        let held = std::mem::take(held);
        self.inner = Inner::of(sniff(&held), self.rules);
        self.forward(&held, out)
    }

    fn forward(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        let (pushed, area) = match &mut self.inner {
            Inner::Sniff(_) => return Ok(()),
            Inner::Jpeg(jpeg) => (jpeg.push(bytes, out), jpeg.area()),
            Inner::Png(png) => (png.push(bytes, out), png.area()),
            Inner::Gif(gif) => (gif.push(bytes, out), gif.area()),
            Inner::WebP(webp) => (webp.push(bytes, out), webp.area()),
            Inner::Text(text) => {
                text.push(bytes).map_err(|NotUtf8| Refused::UnknownType)?;
                out.extend_from_slice(bytes);
                return Ok(());
            }
            Inner::Opaque(_) => {
                out.extend_from_slice(bytes);
                return Ok(());
            }
        };
        // First, since it was found first: what is broken may not even have been sent by then.
        if area > self.rules.pixels_max {
            return Err(Refused::TooManyPixels);
        }
        pushed.map_err(|Broken| Refused::BrokenImage)
    }
}

/// The bytes are not an image of the kind they began as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

#[cfg(test)]
mod tests {
    use super::samples::run;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_that_are_no_images() {
        let text = |bytes: &[u8]| {
            let finished = Finished { kind: Kind::Text, pixels: None, is_open_ended: false };
            assert_eq!(run(bytes, false), Ok((finished, bytes.to_vec())), "{bytes:?}");
        };
        text(b"x");
        text(b"<html><script>alert(1)</script>");
        text(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
        text("\u{feff}\u{0633}\u{0644}\u{0627}\u{0645} \u{1f44b}".repeat(200).as_bytes());
        let pdf = [b"%PDF-1.7\n".as_slice(), &[0xff; 1000]].concat();
        assert_eq!(
            run(&pdf, false),
            Ok((Finished { kind: Kind::Pdf, pixels: None, is_open_ended: false }, pdf.clone()))
        );
        for (bytes, refused) in [
            (b"".to_vec(), Refused::Empty),
            (b"\xff\xfeh\0i\0".to_vec(), Refused::UnknownType),
            (b"\x7fELF\x02\x01\x01\0\xff".to_vec(), Refused::UnknownType),
            ([&[b'a'; SNIFF_BYTES][..], b"\xc3"].concat(), Refused::UnknownType),
            (b"\xff\xd8\xff<script>".to_vec(), Refused::BrokenImage),
            (b"GIF89a/\0*\0<script>*/=1".to_vec(), Refused::BrokenImage),
            (b"GIF89a/*<script>*/=1".to_vec(), Refused::TooManyPixels),
        ] {
            assert_eq!(run(&bytes, false), Err(refused), "{bytes:?}");
        }
    }

    proptest! {
        /// Real openings followed by anything: no panic, one result for every split, and a fixed point.
        #[test]
        fn any_bytes_give_the_same_whole_and_split(
            sample in 0..samples::all().len(),
            cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            keep in any::<bool>(),
        ) {
            let sample = &samples::all()[sample];
            let mut bytes = sample[..cut.index(sample.len() + 1)].to_vec();
            bytes.extend_from_slice(&noise);
            bytes.extend_from_slice(&sample[at.index(sample.len())..]);
            if let Ok((finished, stored)) = run(&bytes, keep) {
                let again = Finished { is_open_ended: false, ..finished };
                prop_assert_eq!(run(&stored, keep).map(|(found, bytes)| (Finished { is_open_ended: false, ..found }, bytes)), Ok((again, stored.clone())));
            }
        }
    }
}
