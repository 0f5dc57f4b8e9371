//! The file of a backup: a tar archive, which any `tar` can list and unpack.
//!
//! POSIX ustar; sizes above 8 GiB are written as GNU tar writes them. Owns the bytes of the archive. Leaves to `backup`
//! what it contains, and to `restore` where its content goes.
//!
//! ```text
//! natter.db                                        the database, as it was when its copy was complete
//! access_secret, refresh_secret, password_secret   those keys that natter made and that are in no variable
//! push_key                                         the key that signs for push services
//! uploads/<aa>/<id>                                every published upload, with its path in UPLOADS
//! natter.sha256                                    the SHA-256 of all bytes before it, in hex
//! ```
//! Invariant: an archive that is read to its end without an error has the bytes that were written.

use std::io::{self, Read, Write};

use crate::base::crypto::{Sha256, hex};

const BLOCK: usize = 512;
/// Bytes of a name: its field in the header.
const NAME_MAX: usize = 100;
/// The greatest size in eleven octal digits.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// The name of the database's entry, and the prefix of the names of uploads.
pub const DATABASE: &str = "natter.db";
pub const UPLOADS: &str = "uploads/";
/// The last entry.
const SUM: &str = "natter.sha256";

pub struct Writer<W> {
    out: W,
    sum: Sha256,
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer { out, sum: Sha256::new() }
    }

    /// Adds a file of exactly `size` bytes.
    pub fn add(&mut self, name: &str, size: u64, from: &mut impl Read) -> io::Result<()> {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(io::Error::other(format!("{name}: the name is too long for a backup")));
        }
        self.write_all(&header(name, size))?;
        let copied = io::copy(&mut from.take(size), self)?;
        if copied != size {
            return Err(io::Error::other(format!("{name}: the file became shorter while it was read")));
        }
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.write_all(&[0; BLOCK][..padding as usize])
    }

    /// Writes the checksum and two empty blocks.
    pub fn finish(mut self) -> io::Result<W> {
        let sum = hex(&self.sum.clone().finish());
        self.add(SUM, sum.len() as u64, &mut sum.as_bytes())?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size <= OCTAL_MAX {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\0");
    put(263, b"00");
    let sum = sum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The checksum of a header, with its own field counted as blanks.
fn sum(block: &[u8; BLOCK]) -> u32 {
    let own = 148..156;
    block.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

pub struct Reader<R> {
    from: R,
    /// Unread bytes of the current entry, and of its padding.
    left: u64,
    padding: u64,
    sum: Sha256,
    /// The checksum was read, and is correct.
    proven: bool,
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        self.sum.update(&bytes[..count]);
        Ok(count)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub size: u64,
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Reader<R> {
        Reader { from, left: 0, padding: 0, sum: Sha256::new(), proven: false }
    }

    /// The next file; `None` at the end. Skips the unread bytes of the previous file.
    pub fn entry(&mut self) -> io::Result<Option<Entry>> {
        let rest = self.left + self.padding;
        if io::copy(&mut self.by_ref().take(rest), &mut io::sink())? != rest {
            return Err(damaged("it ends in the middle of a file"));
        }
        (self.left, self.padding) = (0, 0);
        let before = self.sum.clone();
        let mut block = [0; BLOCK];
        self.read_exact(&mut block).map_err(|_| damaged("its end is missing"))?;
        if block == [0; BLOCK] {
            return if self.proven { self.end() } else { Err(damaged("its checksum is missing")) };
        }
        let stored = octal(&block[148..156]).ok_or_else(|| damaged("a header is damaged"))?;
        if stored != u64::from(sum(&block)) || &block[257..262] != b"ustar" || !matches!(block[156], b'0' | 0)
        {
            return Err(damaged("a header is damaged, or of another kind"));
        }
        let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| damaged("a name is damaged"))?.to_owned();
        let size = size(&block[124..136]).ok_or_else(|| damaged("a size is damaged"))?;
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        if self.proven {
            return Err(foreign("data follows its checksum"));
        }
        if name == SUM {
            let mut sum = Vec::new();
            self.copy_to(&mut sum)?;
            self.proven = sum == hex(&before.finish()).into_bytes();
            return if self.proven { self.entry() } else { Err(damaged("its checksum is wrong")) };
        }
        Ok(Some(Entry { name, size }))
    }

    /// Reads the second of the two empty blocks. What comes behind them is in no checksum.
    fn end(&mut self) -> io::Result<Option<Entry>> {
        let mut block = [0; BLOCK];
        self.read_exact(&mut block).map_err(|_| damaged("its end is missing"))?;
        let is_over = block == [0; BLOCK] && io::copy(&mut self.by_ref().take(1), &mut io::sink())? == 0;
        if is_over { Ok(None) } else { Err(foreign("data follows its end")) }
    }

    /// Writes the bytes of the current entry.
    pub fn copy_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        let left = self.left;
        let copied = io::copy(&mut self.by_ref().take(left), out)?;
        if copied != left {
            return Err(damaged("it ends in the middle of a file"));
        }
        self.left = 0;
        Ok(())
    }
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not a complete backup: {how}"))
}

fn foreign(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not a backup as natter made it: {how}"))
}

fn size(field: &[u8]) -> Option<u64> {
    if field.first() == Some(&0x80) {
        return Some(u64::from_be_bytes(field.get(4..12)?.try_into().ok()?)).filter(|size| *size < 1 << 62);
    }
    octal(field)
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits: Vec<u8> = field.iter().copied().take_while(|byte| (b'0'..=b'7').contains(byte)).collect();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| number.checked_mul(8)?.checked_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, bytes) in
            [("natter.db", vec![7; 1_000]), ("uploads/a", Vec::new()), ("uploads/b", vec![9; 512])]
        {
            writer.add(name, bytes.len() as u64, &mut bytes.as_slice()).expect("packed");
        }
        writer.finish().expect("finished")
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut reader = Reader::new(bytes);
        let mut all = Vec::new();
        while let Some(entry) = reader.entry()? {
            let mut out = Vec::new();
            reader.copy_to(&mut out)?;
            assert_eq!(out.len() as u64, entry.size);
            all.push((entry.name, out));
        }
        Ok(all)
    }

    #[test]
    fn packed_files_are_unpacked_unchanged() {
        let all = unpack(&packed()).expect("a complete archive");
        let names: Vec<_> = all.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        assert_eq!(names, [("natter.db", 1_000), ("uploads/a", 0), ("uploads/b", 512)]);
        // A file may be skipped.
        let bytes = packed();
        let mut reader = Reader::new(bytes.as_slice());
        let mut count = 0;
        while reader.entry().expect("complete").is_some() {
            count += 1;
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn an_incomplete_or_damaged_archive_is_refused() {
        let packed_bytes = packed();
        let ends = [2_048, 1_024, 512, 1].map(|less| packed_bytes.len() - less);
        for cut in [0, 1, 511, 512, 600, 1_500, 1_536].into_iter().chain(ends) {
            assert!(unpack(&packed_bytes[..cut]).is_err(), "{cut}");
        }
        for more in [&[0; 1][..], &[0; BLOCK], &[0; 10_240], b"x", &packed_bytes] {
            let error = unpack(&[&packed_bytes, more].concat()).expect_err("data after the end");
            assert!(error.to_string().contains("data follows its end"), "{error}");
        }
        for at in [0, 110, 130, 150, 258, 600, 1_530, packed_bytes.len() - 1_500] {
            let mut bytes = packed_bytes.clone();
            bytes[at] ^= 1;
            assert!(unpack(&bytes).is_err(), "{at}");
        }
    }

    #[test]
    fn large_sizes_and_long_names() {
        for (bytes, expect) in [(5, 5), (OCTAL_MAX, OCTAL_MAX), (OCTAL_MAX + 1, OCTAL_MAX + 1)] {
            let header = header("x", bytes);
            let entry = Reader::new(header.as_slice()).entry().expect("a header").expect("an entry");
            assert_eq!(entry.size, expect);
        }
        let mut writer = Writer::new(Vec::new());
        assert!(writer.add(&"x".repeat(101), 0, &mut io::empty()).is_err());
        assert!(writer.add("x", 5, &mut io::empty()).is_err(), "shorter than its declared size");
    }
}
