//! ULIDs: ids of 128 bits that sort by time, written as 26 characters of Crockford's base 32.
//!
//! Owns their text and their parts, and keeps ids of different kinds apart: what the kinds are, the model says. Invariant:
//! both cases are read, upper case is written, and ids compare as numbers.

use crate::base::time::UnixMs;
use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};

/// A ULID: 48 bits of Unix milliseconds, then 80 bits that make it unique.
///
/// `K` says what it names. It exists at compile time only: an id of one kind where another is asked for does not compile.
///
/// ```compile_fail,E0308
/// use natter::base::id::Id;
/// struct Door;
/// struct Key;
/// fn open(_: Id<Door>) {}
/// open(Id::<Key>::from_u128(7));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id<K = NoKind>(u128, PhantomData<K>);

/// The kind of an id that is compared with its like and names nothing: the `uuid` of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NoKind;

/// Characters of an id on the wire.
pub const ID_LEN: usize = 26;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut i = 0;
    while i < 32 {
        values[ALPHABET[i] as usize] = i as u8;
        values[ALPHABET[i].to_ascii_lowercase() as usize] = i as u8;
        i += 1;
    }
    values
};

/// Two characters for each value of ten bits.
static PAIRS: [[u8; 2]; 1_024] = {
    let mut pairs = [[0; 2]; 1_024];
    let mut i = 0;
    while i < pairs.len() {
        pairs[i] = [ALPHABET[i >> 5], ALPHABET[i & 31]];
        i += 1;
    }
    pairs
};

impl<K> Id<K> {
    /// An id with this time and 80 random bits.
    pub fn new(unix_ms: UnixMs, random: [u8; 10]) -> Id<K> {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Id::from_u128(u128::from_be_bytes(bytes))
    }

    pub const fn from_u128(number: u128) -> Id<K> {
        Id(number, PhantomData)
    }

    pub const fn to_u128(self) -> u128 {
        self.0
    }

    pub fn from_halves(high: u64, low: u64) -> Id<K> {
        Id::from_u128(u128::from(high) << 64 | u128::from(low))
    }

    /// The low 64 bits.
    pub fn low(&self) -> u64 {
        self.0 as u64
    }

    /// The high 64 bits.
    pub fn high(&self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The Unix milliseconds in the first 48 bits.
    pub fn unix_ms(&self) -> UnixMs {
        UnixMs((self.0 >> 80) as u64)
    }

    /// Reads 26 characters in either case. `None` for any other text, and for a value of more than 128 bits.
    pub fn parse(text: &str) -> Option<Id<K>> {
        let bytes: &[u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        if VALUES[bytes[0] as usize] > 7 {
            return None;
        }
        // Half of the characters have 63 or 65 bits, so that most of the work needs one register.
        let (high, low) = bytes.split_at(ID_LEN / 2);
        let (mut every, mut halves) = (0, [0u64; 2]);
        for (half, part) in halves.iter_mut().zip([high, &low[1..]]) {
            for &byte in part {
                let digit = VALUES[byte as usize];
                every |= digit;
                *half = *half << 5 | u64::from(digit);
            }
        }
        let middle = VALUES[low[0] as usize];
        if (every | middle) & !31 != 0 {
            return None;
        }
        let high = u128::from(halves[0]) << 5 | u128::from(middle);
        Some(Id::from_u128(high << 60 | u128::from(halves[1])))
    }

    /// The 26 characters on the wire.
    pub fn text(&self) -> [u8; ID_LEN] {
        let mut out = [0; ID_LEN];
        let mut rest = self.0;
        for pair in out.as_chunks_mut().0.iter_mut().rev() {
            *pair = PAIRS[(rest & 1_023) as usize];
            rest >>= 10;
        }
        out
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Id<K> {
        Id::from_u128(u128::from_be_bytes(bytes))
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_convert_both_ways() {
        let id = <Id>::new(UnixMs(1_795_352_634_120), [7; 10]);
        let text = id.to_string();
        assert_eq!((text.len(), Id::parse(&text), id.unix_ms()), (26, Some(id), UnixMs(1_795_352_634_120)));
        assert_eq!(Id::parse(&text.to_lowercase()), Some(id));
        assert_eq!(<Id>::from_u128(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        for bad in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0123456789ABCDEFGHJKMNPQR",
            "0123456789ABCDEFGHJKMNPQRI",
            "0123456789ABCUEFGHJKMNPQRS",
            "U123456789ABCDEFGHJKMNPQRS",
            "é123456789ABCDEFGHJKMNPQR",
        ] {
            assert_eq!(<Id>::parse(bad), None, "{bad}");
        }
        // Each bit is read and written in its place.
        for bit in 0..128 {
            let id = <Id>::from_u128(1 << bit);
            let text = id.to_string();
            let (at, digit) = (25 - bit / 5, b"1248G"[bit % 5]);
            assert_eq!((text.as_bytes()[at], text.matches('0').count()), (digit, 25), "{text}");
            assert_eq!(Id::parse(&text), Some(id), "{text}");
        }
        assert_eq!(<Id>::from_halves(7, 9).to_u128(), (7 << 64) + 9);
    }
}
