//! The accepted types ([`protocol`](crate::protocol), "Uploads"), and the bytes that identify each.
//!
//! It does not use the name or the declared type of a file.

/// An accepted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    WebP,
    Heic,
    /// With another coding than HEVC and AV1, or one that the brands of the file do not name.
    Heif,
    Avif,
    Mp4,
    /// Sound without a picture: found from the tracks, not from the first bytes.
    Mp4Audio,
    Mov,
    WebM,
    WebMAudio,
    Ogg,
    OggVideo,
    Mp3,
    Wav,
    Pdf,
    Zip,
    /// Any other UTF-8, also markup and scripts, which are never served as such.
    Text,
}

impl Kind {
    /// The Content-Type with which it is stored and served.
    pub fn mime(self) -> &'static str {
        match self {
            Kind::Jpeg => "image/jpeg",
            Kind::Png => "image/png",
            Kind::Gif => "image/gif",
            Kind::WebP => "image/webp",
            Kind::Heic => "image/heic",
            Kind::Heif => "image/heif",
            Kind::Avif => "image/avif",
            Kind::Mp4 => "video/mp4",
            Kind::Mp4Audio => "audio/mp4",
            Kind::Mov => "video/quicktime",
            Kind::WebM => "video/webm",
            Kind::WebMAudio => "audio/webm",
            Kind::Ogg => "audio/ogg",
            Kind::OggVideo => "video/ogg",
            Kind::Mp3 => "audio/mpeg",
            Kind::Wav => "audio/wav",
            Kind::Pdf => "application/pdf",
            Kind::Zip => "application/zip",
            Kind::Text => "text/plain; charset=utf-8",
        }
    }

    pub fn is_image(self) -> bool {
        self.mime().starts_with("image/")
    }
}

/// The type that `prefix` identifies: the first `SNIFF_BYTES` of a file, or all of a shorter one. Text has no such mark: a file
/// of no other type is text if it is UTF-8.
pub fn sniff(prefix: &[u8]) -> Option<Kind> {
    let at = |from: usize, mark: &[u8]| prefix.get(from..).is_some_and(|rest| rest.starts_with(mark));
    if at(0, b"\xff\xd8\xff") {
        Some(Kind::Jpeg)
    } else if at(0, b"\x89PNG\r\n\x1a\n") {
        Some(Kind::Png)
    } else if at(0, b"GIF87a") || at(0, b"GIF89a") {
        Some(Kind::Gif)
    } else if at(0, b"RIFF") && at(8, b"WEBP") {
        Some(Kind::WebP)
    } else if at(0, b"RIFF") && at(8, b"WAVE") {
        Some(Kind::Wav)
    } else if let Some(kind) = by_brands(prefix) {
        Some(kind)
    } else if is_webm(prefix) {
        Some(Kind::WebM)
    } else if at(0, b"OggS\0") {
        Some(Kind::Ogg)
    } else if is_id3(prefix) || is_mp3_frame(prefix) {
        Some(Kind::Mp3)
    } else if at(0, b"%PDF-") {
        Some(Kind::Pdf)
    } else if at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06") || at(0, b"PK\x07\x08") {
        Some(Kind::Zip)
    } else {
        None
    }
}

/// Brands of ISO 14496-12 and -14 files that players accept as MP4. Other files have the same container and are of another
/// type, unless they declare that they are compatible.
const MP4_BRANDS: [&[u8]; 9] = [b"iso", b"mp4", b"avc1", b"M4V", b"M4A", b"M4B", b"MSNV", b"dash", b"f4v "];
/// Files of pictures and of sequences of pictures often list `mp4` and `iso` brands too; they are pictures.
const HEIC_BRANDS: [&[u8]; 6] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"];
const AVIF_BRANDS: [&[u8]; 2] = [b"avif", b"avis"];
const HEIF_BRANDS: [&[u8]; 3] = [b"mif1", b"mif2", b"msf1"];

/// A file-type box: size, `ftyp`, major brand, minor version, compatible brands.
fn by_brands(prefix: &[u8]) -> Option<Kind> {
    let (head, _) = prefix.split_first_chunk::<16>()?;
    if &head[4..8] != b"ftyp" {
        return None;
    }
    let size =
        usize::try_from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])).unwrap_or(usize::MAX);
    if size < 16 || size % 4 != 0 {
        return None;
    }
    let brands = &prefix[16..prefix.len().min(size)];
    let known = |brand: &[u8]| MP4_BRANDS.iter().any(|known| brand.starts_with(known));
    let major = &head[8..12];
    let lists = |brands_of: &[&[u8]]| brands.chunks_exact(4).any(|brand| brands_of.contains(&brand));
    if AVIF_BRANDS.contains(&major) {
        Some(Kind::Avif)
    } else if HEIC_BRANDS.contains(&major) {
        Some(Kind::Heic)
    } else if HEIF_BRANDS.contains(&major) {
        // The other brands say how the pictures are coded.
        Some(match () {
            () if lists(&AVIF_BRANDS) => Kind::Avif,
            () if lists(&HEIC_BRANDS) => Kind::Heic,
            () => Kind::Heif,
        })
    } else if major == b"qt  " {
        Some(Kind::Mov)
    } else if known(major) || brands.chunks_exact(4).any(known) {
        Some(Kind::Mp4)
    } else if lists(&[b"qt  "]) {
        Some(Kind::Mov)
    } else {
        None
    }
}

/// An EBML header (RFC 8794 §11.2) whose DocType is `webm`; a bare Matroska file is not.
fn is_webm(prefix: &[u8]) -> bool {
    let Some(rest) = prefix.strip_prefix(b"\x1a\x45\xdf\xa3") else { return false };
    let Some((size, rest)) = read_vint(rest) else { return false };
    let mut rest = &rest[..rest.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    // Each turn takes at least two bytes of a bounded prefix.
    while !rest.is_empty() {
        let id_len = rest[0].leading_zeros() as usize + 1;
        let (Some(id), Some(following)) = (rest.get(..id_len), rest.get(id_len..)) else { return false };
        let Some((size, following)) = read_vint(following) else { return false };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(value) = following.get(..size) else { return false };
        if id == b"\x42\x82" {
            return value.strip_suffix(b"\0").unwrap_or(value) == b"webm";
        }
        rest = &following[size..];
    }
    false
}

/// An EBML variable-size integer (RFC 8794 §4): the leading zeroes of its first byte give its length.
fn read_vint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let extra = first.leading_zeros() as usize;
    if extra > 7 {
        return None;
    }
    let value = u64::from(first & (0x7f >> extra));
    let rest = bytes.get(1..=extra)?;
    let value = rest.iter().fold(value, |value, &byte| value << 8 | u64::from(byte));
    Some((value, &bytes[1 + extra..]))
}

/// An ID3v2 header: version 2 to 4, and a size whose bytes keep their high bit clear. A text that begins
/// with the three letters has no such size.
fn is_id3(prefix: &[u8]) -> bool {
    prefix.starts_with(b"ID3")
        && prefix.len() >= 10
        && (2..=4).contains(&prefix[3])
        && prefix[6..10].iter().all(|&byte| byte < 0x80)
}

/// The header of an MPEG audio frame of layer III with a bit rate and a sampling rate that exist.
fn is_mp3_frame(prefix: &[u8]) -> bool {
    let &[0xff, second, third, _, ..] = prefix else { return false };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let (bit_rate, sampling) = (third >> 4, third >> 2 & 3);
    second >> 5 == 7 && version != 1 && layer == 1 && (1..=14).contains(&bit_rate) && sampling != 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_identified_by_its_bytes() {
        for (prefix, expect) in [
            (&b"\xff\xd8\xff\xe0"[..], Some(Kind::Jpeg)),
            (b"\xff\xd8", None),
            (b"\x89PNG\r\n\x1a\n", Some(Kind::Png)),
            (b"\x89PNG\n", None),
            (b"GIF89a", Some(Kind::Gif)),
            (b"GIF88a", None),
            (b"RIFF\0\0\0\0WEBP", Some(Kind::WebP)),
            (b"RIFF\0\0\0\0WAVE", Some(Kind::Wav)),
            (b"RIFF\0\0\0\0AVI ", None),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2", Some(Kind::Mp4)),
            (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Some(Kind::Mp4)),
            (b"\0\0\0\x18ftypXAVC\0\0\0\0XAVCmp42", Some(Kind::Mp4)),
            (b"\0\0\0\x14ftypXAVC\0\0\0\0XAVCmp42", None),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1mp42", Some(Kind::Heic)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Some(Kind::Heic)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Some(Kind::Avif)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1jpeg", Some(Kind::Heif)),
            (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", Some(Kind::Avif)),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", Some(Kind::Mov)),
            (b"\0\0\0\x14ftypXAVC\0\0\0\0qt  ", Some(Kind::Mov)),
            (b"\0\0\0\x05ftypmp42\0\0\0\0", None),
            (b"\x1a\x45\xdf\xa3\x8b\x42\x86\x81\x01\x42\x82\x84webm", Some(Kind::WebM)),
            (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x0c\x42\x86\x81\x01\x42\x82\x85webm\0", Some(Kind::WebM)),
            (b"\x1a\x45\xdf\xa3\x8f\x42\x86\x81\x01\x42\x82\x88matroska", None),
            (b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01\x42\x82\x84webm", None),
            (b"\x1a\x45\xdf\xa3\x8b\x42\x86\xff", None),
            (b"OggS\0\x02", Some(Kind::Ogg)),
            (b"ID3\x04\0\0\0\0\0\x21", Some(Kind::Mp3)),
            (b"ID3 tags explained", None),
            (b"\xff\xfb\x90\x64", Some(Kind::Mp3)),
            (b"\xff\xfb\xf0\x64", None),
            (b"\xff\xfe\x41\x00", None),
            (b"%PDF-1.4", Some(Kind::Pdf)),
            (b"PK\x03\x04", Some(Kind::Zip)),
            (b"PK", None),
            (b"", None),
        ] {
            assert_eq!(sniff(prefix), expect, "{prefix:?}");
        }
    }

    #[test]
    fn only_pictures_are_images() {
        assert!(Kind::WebP.is_image() && !Kind::WebM.is_image());
    }
}
