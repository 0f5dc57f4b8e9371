//! HEIF pictures (ISO/IEC 23008-12), including HEIC and AVIF: finds the displayed size, and removes metadata.
//!
//! Of the data (`mdat`, `idat`) only the items that are pictures are kept, and the samples of a sequence of pictures; all other
//! bytes become zeroes: XMP (`mime`), other items, what no item refers to. An item of type Exif keeps its length and the
//! orientation. The names of all items, texts and times among the properties, and the boxes that [`super::movie`] clears, for
//! example a movie that a phone appends, become zeroes too. Everything that is needed to show the picture stays: its properties
//! (size, turn, mirror, colour) and its data.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use super::super::image::{Pixels, Refused, exif_orientation, minimal_exif};
use super::boxes::{Atom, Atoms, blank};
use super::kept::Kept;
use super::medium::Medium;
use super::{BROKEN, Fault, TABLE_MAX, movie};

/// A file with more is refused as malformed. A picture of 200 megapixels in tiles of 512 has 800.
const ITEMS_MAX: usize = 8_192;
/// Bytes of an Exif item that are read for its orientation, which is in the first directory.
const EXIF_READ: u64 = 4_096;

const TOP: [&[u8; 4]; 4] = [b"ftyp", b"meta", b"mdat", b"moov"];
const IN_META: [&[u8; 4]; 11] =
    [b"hdlr", b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat", b"dinf", b"grpl", b"ipro", b"altr"];

/// Pictures, and what they are made of: coded pictures, tiles, grids, overlays, tone maps, masks.
const PICTURES: [&[u8; 4]; 19] = [
    b"hvc1", b"hev1", b"hvt1", b"lhv1", b"av01", b"avc1", b"vvc1", b"evc1", b"jpeg", b"j2k1", b"unci",
    b"grid", b"iovl", b"iden", b"tmap", b"mski", b"ster", b"hvt2", b"jxl ",
];
/// Properties that are texts or times, or of no known type. Their bodies become zeroes.
const PRIVATE_PROPERTIES: [&[u8; 4]; 8] =
    [b"free", b"skip", b"udes", b"uuid", b"altt", b"crtt", b"mdft", b"itai"];

#[derive(Default)]
struct Meta {
    primary: Option<u32>,
    /// Items that stay; true for Exif, of which the orientation stays.
    items: BTreeMap<u32, bool>,
    locations: Option<Atom>,
    data: Option<Atom>,
    properties: Option<Atom>,
}

pub(super) fn inspect<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    pixels_max: u64,
) -> Result<Pixels, Fault> {
    let (mut picture, mut tracks) = (None, movie::Tracks::default());
    let mut atoms = Atoms::between(0, medium.len());
    while let Some(atom) = atoms.next(medium)? {
        let described = match &atom.name {
            b"mdat" => atom.body,
            // Its boxes are kept one by one.
            b"meta" => atom.body.saturating_add(4).min(atom.end),
            _ => atom.end,
        };
        tracks.kept.add(atom.at, described - atom.at);
        match &atom.name {
            b"meta" => picture = picture.or(meta(medium, &atom, pixels_max, &mut tracks.kept)?),
            b"moov" => movie::movie(medium, &atom, &mut tracks)?,
            name if TOP.contains(&name) => {}
            _ => blank(medium, &atom)?,
        }
    }
    std::mem::take(&mut tracks.kept).clear_others(medium)?;
    let pixels = picture.or(tracks.pixels).ok_or(BROKEN)?;
    if pixels.area() > pixels_max {
        return Err(Fault::Refused(Refused::TooManyPixels));
    }
    Ok(pixels)
}

/// The box `meta`: a version, then the boxes that describe the items.
fn meta<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    atom: &Atom,
    pixels_max: u64,
    kept: &mut Kept,
) -> Result<Option<Pixels>, Fault> {
    let mut meta = Meta::default();
    let mut atoms = Atoms::between(atom.body + 4, atom.end);
    while let Some(inner) = atoms.next(medium)? {
        let is_data = &inner.name == b"idat";
        kept.add(inner.at, if is_data { inner.body } else { inner.end } - inner.at);
        match &inner.name {
            b"hdlr" => medium.zero(inner.body + 24, inner.len().saturating_sub(24))?,
            b"pitm" => {
                let bytes = medium.range(inner.body, inner.len(), 64)?.ok_or(BROKEN)?;
                let mut table = Table::new(&bytes);
                let version = table.number(4)? >> 24;
                meta.primary = Some(table.number(if version == 0 { 2 } else { 4 })? as u32);
            }
            b"iinf" => meta.items = items(medium, &inner)?,
            b"iloc" => meta.locations = Some(inner),
            b"idat" => meta.data = Some(inner),
            b"dinf" => {
                let mut lists = Atoms::of(&inner);
                while let Some(list) = lists.next(medium)? {
                    movie::clear_paths(medium, &list)?;
                }
            }
            b"iprp" => meta.properties = Some(inner),
            name if IN_META.contains(&name) => {}
            _ => blank(medium, &inner)?,
        }
    }
    if let Some(locations) = meta.locations {
        keep_items(medium, &meta, &locations, kept)?;
    }
    let (Some(properties), Some(primary)) = (meta.properties, meta.primary) else { return Ok(None) };
    displayed(medium, &properties, primary, pixels_max)
}

/// The items that stay. All others lose their names too.
fn items<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    list: &Atom,
) -> Result<BTreeMap<u32, bool>, Fault> {
    let mut items = BTreeMap::new();
    let Some([version, ..]) = medium.array::<4>(list.body)? else { return Err(BROKEN) };
    let mut atoms = Atoms::between(list.body + if version == 0 { 6 } else { 8 }, list.end);
    let mut count = 0;
    while let Some(item) = atoms.next(medium)? {
        count += 1;
        if count > ITEMS_MAX {
            return Err(BROKEN);
        }
        let bytes = medium.range(item.body, item.len().min(16), 16)?.ok_or(BROKEN)?;
        let mut table = Table::new(&bytes);
        let version = table.number(4)? >> 24;
        let id = table.number(if version == 3 { 4 } else { 2 })? as u32;
        table.number(2)?;
        // Before version 2 an item had no type, and was not a picture of this kind of file.
        let kind = if version < 2 { *b"mime" } else { (table.number(4)? as u32).to_be_bytes() };
        if &kind == b"Exif" || PICTURES.contains(&&kind) {
            items.insert(id, &kind == b"Exif");
        }
        // A name, and for some types a second text.
        let text = (bytes.len() - table.bytes.len()) as u64;
        medium.zero(item.body + text, item.len().saturating_sub(text))?;
    }
    Ok(items)
}

/// Reads the locations (§8.11.3 of ISO/IEC 14496-12), and adds the extents of the items that stay to what is kept.
fn keep_items<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    meta: &Meta,
    locations: &Atom,
    kept: &mut Kept,
) -> Result<(), Fault> {
    let bytes = medium.range(locations.body, locations.len(), TABLE_MAX)?.ok_or(BROKEN)?;
    let mut table = Table::new(&bytes);
    let version = table.number(4)? >> 24;
    let widths = table.number(2)?;
    let width = |shift: u64| (widths >> shift & 0xf) as usize;
    let (offset_width, length_width, base_width) = (width(12), width(8), width(4));
    let index_width = if version == 1 || version == 2 { width(0) } else { 0 };
    let count = table.number(if version < 2 { 2 } else { 4 })?;
    for _ in 0..count {
        medium.turn()?;
        let id = table.number(if version < 2 { 2 } else { 4 })? as u32;
        let method = if version == 1 || version == 2 { table.number(2)? & 0xf } else { 0 };
        table.number(2)?;
        let base = table.number(base_width)?;
        let extents = table.number(2)?;
        let is_exif = meta.items.get(&id).copied();
        for extent in 0..extents {
            medium.turn()?;
            table.number(index_width)?;
            let offset = base.saturating_add(table.number(offset_width)?);
            let length = table.number(length_width)?;
            let Some(is_exif) = is_exif else { continue };
            let (from, end) = match (method, meta.data) {
                (0, _) => (offset, medium.len()),
                (1, Some(data)) => (data.body.saturating_add(offset), data.end),
                // It is made of other items, which have places of their own.
                _ => continue,
            };
            // A length of zero means up to the end.
            let room = end.saturating_sub(from);
            let length = if length == 0 { room } else { length.min(room) };
            if is_exif {
                clear_exif(medium, from, length, extent == 0)?;
            }
            kept.add(from, length);
        }
    }
    Ok(())
}

/// Overwrites all but the orientation. Exif begins with the distance to its TIFF block, four bytes.
fn clear_exif<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    at: u64,
    length: u64,
    is_first: bool,
) -> Result<(), Fault> {
    let mut kept = Vec::new();
    if is_first && let Some(block) = medium.range(at, length.min(EXIF_READ), EXIF_READ as usize)? {
        let skip = block.first_chunk::<4>().map(|skip| u32::from_be_bytes(*skip) as usize);
        let tiff = skip.and_then(|skip| block.get(skip.saturating_add(4)..)).unwrap_or_default();
        if let Some(minimal) = minimal_exif(exif_orientation(tiff))
            && length >= 4 + minimal.len() as u64
        {
            kept = [&[0; 4][..], &minimal].concat();
        }
    }
    medium.write(at, &kept)?;
    medium.zero(at.saturating_add(kept.len() as u64), length - kept.len() as u64)
}

/// The displayed size of the primary item: cropped, then turned, by its properties. Every size that the file declares is
/// checked against the bound.
fn displayed<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    properties: &Atom,
    primary: u32,
    pixels_max: u64,
) -> Result<Option<Pixels>, Fault> {
    let (mut list, mut links) = (Vec::new(), None);
    let mut atoms = Atoms::of(properties);
    while let Some(atom) = atoms.next(medium)? {
        match &atom.name {
            b"ipco" => {
                let mut inner = Atoms::of(&atom);
                while let Some(inner) = inner.next(medium)? {
                    if list.len() == ITEMS_MAX {
                        return Err(BROKEN);
                    }
                    if PRIVATE_PROPERTIES.contains(&&inner.name) {
                        blank(medium, &inner)?;
                    }
                    list.push(inner);
                }
            }
            b"ipma" => links = links.or(Some(atom)),
            _ => {}
        }
    }
    for atom in &list {
        let size = if &atom.name == b"ispe" { size_of(medium, atom)? } else { None };
        if size.is_some_and(|size| size.area() > pixels_max) {
            return Err(Fault::Refused(Refused::TooManyPixels));
        }
    }
    let Some(links) = links else { return Ok(None) };
    let mut pixels: Option<Pixels> = None;
    for index in linked(medium, &links, primary)? {
        let Some(atom) = index.checked_sub(1).and_then(|index| list.get(index)).copied() else { continue };
        match &atom.name {
            b"ispe" => pixels = size_of(medium, &atom)?,
            b"clap" => {
                let Some(bytes) = medium.array::<16>(atom.body)? else { continue };
                let mut table = Table::new(&bytes);
                let mut side = || Ok::<u64, Fault>(table.number(4)? / table.number(4)?.max(1));
                let (width, height) = (side()? as u32, side()? as u32);
                pixels = pixels
                    .and_then(|image| Pixels::new(width.min(image.width), height.min(image.height)))
                    .or(pixels);
            }
            b"irot" => {
                let turns = medium.array::<1>(atom.body)?.map_or(0, |[turns]| turns & 3);
                pixels = pixels.map(|pixels| pixels.turned((turns % 2 == 1).then_some(6)));
            }
            _ => {}
        }
    }
    Ok(pixels)
}

fn size_of<F: Read + Write + Seek>(medium: &mut Medium<'_, F>, atom: &Atom) -> Result<Option<Pixels>, Fault> {
    if atom.len() < 12 {
        return Ok(None);
    }
    let (width, height) = (medium.u32(atom.body + 4)?, medium.u32(atom.body + 8)?);
    Ok(width.zip(height).and_then(|(width, height)| Pixels::new(width, height)))
}

/// The properties of an item, counted from one, in their order.
fn linked<F: Read + Write + Seek>(
    medium: &mut Medium<'_, F>,
    links: &Atom,
    item: u32,
) -> Result<Vec<usize>, Fault> {
    let bytes = medium.range(links.body, links.len(), TABLE_MAX)?.ok_or(BROKEN)?;
    let mut table = Table::new(&bytes);
    let head = table.number(4)?;
    let (version, is_wide) = (head >> 24, head & 1 == 1);
    for _ in 0..table.number(4)? {
        let id = table.number(if version == 0 { 2 } else { 4 })?;
        let count = table.number(1)?;
        let mut found = Vec::new();
        for _ in 0..count {
            let index = if is_wide { table.number(2)? & 0x7fff } else { table.number(1)? & 0x7f };
            found.push(index as usize);
        }
        if id == u64::from(item) {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Reads big-endian numbers of a table, one after the other.
struct Table<'a> {
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    fn new(bytes: &'a [u8]) -> Table<'a> {
        Table { bytes }
    }

    /// A number of `width` bytes, at most eight. A width of zero gives zero.
    fn number(&mut self, width: usize) -> Result<u64, Fault> {
        let (front, rest) = self.bytes.split_at_checked(width.min(8)).ok_or(BROKEN)?;
        self.bytes = rest;
        Ok(front.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}
