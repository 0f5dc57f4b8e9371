//! Detects the type of an upload from its bytes, and removes the metadata of images while they stream.
//!
//! [`Filter`] takes the bytes of a file in any split and gives the bytes to store: without metadata about places, times and
//! devices, and only up to the end of the image. It decodes no pixel, and knows no file names and no declared types.
//!
//! It uses constant memory (`SNIFF_BYTES` at the start, about forty bytes later), because the stored bytes are hashed and
//! appended as they arrive: later bytes cannot correct earlier ones. For this reason a WebP keeps its length (see `webp.rs`).
//!
//! Invariant: the stored bytes are the same for every split of the file, and a second filter changes nothing.
//!
//! ```
//! use natter::proto::image::{Filter, Kind, Pixels, Rules};
//!
//! // A GIF of one pixel with a comment.
//! let head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff";
//! let comment = b"!\xfe\x06by Ann\0";
//! let pixel = b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
//!
//! let mut filter = Filter::new(Rules { keep_metadata: false, pixels_max: 1_000_000 });
//! let mut stored = Vec::new();
//! for bytes in [&head[..], comment, pixel, b"bytes after the end"] {
//!     filter.push(bytes, &mut stored).expect("a picture");
//! }
//! let finished = filter.finish(&mut stored).expect("a complete picture");
//! assert_eq!((finished.kind, finished.pixels), (Kind::Gif, Some(Pixels { width: 1, height: 1 })));
//! assert_eq!(stored, [&head[..], pixel].concat());
//! ```

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

/// The orientation in a complete TIFF block.
pub(super) fn exif_orientation(block: &[u8]) -> Option<u8> {
    let mut reader = exif::OrientationReader::new();
    reader.push(block);
    reader.value()
}

/// A TIFF block with the orientation and nothing else; `None` for an upright image.
pub(super) fn minimal_exif(orientation: Option<u8>) -> Option<[u8; 26]> {
    exif::minimal(orientation)
}

/// Why a file is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The file is empty: 422 `invalid_file`.
    Empty,
    /// None of the accepted types, and not UTF-8: 415 `not_supported_type`.
    UnknownType,
    /// It begins like an image and is malformed: 415 `not_supported_type`.
    BrokenImage,
    /// Its declared width × height is above PIXELS_MAX: 422 `invalid_file`.
    TooManyPixels,
}

/// The settings of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// EXIF, XMP, comments and similar metadata stay. Bytes after the end of the image are removed in any case.
    pub keep_metadata: bool,
    /// The maximum for one picture (PIXELS_MAX): a small file can declare more pixels than fit the memory of a viewer.
    pub pixels_max: u64,
}

/// The result: what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub kind: Kind,
    /// For the four kinds of image.
    pub pixels: Option<Pixels>,
    /// A JPEG without an EOI: its last scan may contain bytes that do not belong to the image.
    pub is_open_ended: bool,
}

impl Finished {
    /// Whether its size and its metadata can be found only in the complete file.
    pub fn needs_inspection(&self) -> bool {
        self.is_open_ended || super::media::is_inspected(self.kind)
    }
}

/// Width and height as displayed: exchanged if the EXIF orientation turns the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: u32,
    pub height: u32,
}

impl Pixels {
    /// `None` if a side is zero.
    pub(super) fn new(width: u32, height: u32) -> Option<Pixels> {
        (width > 0 && height > 0).then_some(Pixels { width, height })
    }

    pub(super) fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Orientations 5 to 8 are a quarter turn.
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
    /// Stored unchanged.
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

    /// Reads the next bytes of the file and appends the bytes to store to `out`. After an error the file is refused, and the
    /// bytes that were stored so far are of no use.
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

    /// The file is complete: appends the bytes that were held back.
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
        // Before the format error, since the size is found first: the malformed bytes may not have arrived by then.
        if area > self.rules.pixels_max {
            return Err(Refused::TooManyPixels);
        }
        pushed.map_err(|Broken| Refused::BrokenImage)
    }
}

/// The bytes are not an image of the type that they began as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

#[cfg(test)]
mod tests {
    use super::samples::run;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_that_are_not_images() {
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
        /// The beginning of a real file followed by any bytes: no panic, one result for every split, and a fixed point.
        #[test]
        fn any_bytes_give_the_same_at_once_and_split(
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
