//! ULIDs: ids of 128 bits that sort by time, written as 26 characters of Crockford's base 32.
//!
//! Owns their text and their parts. Invariant: both cases are read, upper case is written, and ids compare as numbers.

use std::fmt;

use serde::{Serialize, Serializer};

/// A ULID: 48 bits of Unix milliseconds, then 80 bits that make it unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub u128);

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

impl Id {
    /// An id with this time and 80 random bits.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Id {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        Id(u128::from_be_bytes(bytes))
    }

    /// The id of a message: time (48 bits), random bits (16), `seq` (64). A lookup finds `seq`, then compares all bits.
    pub fn of_message(unix_ms: u64, random: u16, seq: u64) -> Id {
        Id(u128::from(unix_ms & 0xffff_ffff_ffff) << 80 | u128::from(random) << 64 | u128::from(seq))
    }

    pub fn from_halves(high: u64, low: u64) -> Id {
        Id(u128::from(high) << 64 | u128::from(low))
    }

    /// The low 64 bits: the `seq` of a message.
    pub fn seq(self) -> u64 {
        self.0 as u64
    }

    /// The high 64 bits: the time and the random bits of a message.
    pub fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The Unix milliseconds in the first 48 bits.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// Reads 26 characters in either case. `None` for any other text, and for a value of more than 128 bits.
    pub fn parse(text: &str) -> Option<Id> {
        let bytes: &[u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        if VALUES[bytes[0] as usize] > 7 {
            return None;
        }
        let mut value = 0u128;
        for &byte in bytes {
            let digit = VALUES[byte as usize];
            if digit == 255 {
                return None;
            }
            value = value << 5 | u128::from(digit);
        }
        Some(Id(value))
    }

    /// The 26 characters on the wire.
    pub fn text(self) -> [u8; ID_LEN] {
        let mut out = [0; ID_LEN];
        let mut rest = self.0;
        for slot in out.iter_mut().rev() {
            *slot = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        out
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        Id(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_convert_both_ways() {
        let id = Id::new(1_795_352_634_120, [7; 10]);
        let text = id.to_string();
        assert_eq!((text.len(), Id::parse(&text), id.unix_ms()), (26, Some(id), 1_795_352_634_120));
        assert_eq!(Id::parse(&text.to_lowercase()), Some(id));
        assert_eq!(Id(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        for bad in [
            "",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0123456789ABCDEFGHJKMNPQR",
            "0123456789ABCDEFGHJKMNPQRI",
            "é123456789ABCDEFGHJKMNPQR",
        ] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
        let message = Id::of_message(5, 9, 77);
        assert_eq!((message.seq(), message.unix_ms()), (77, 5));
    }
}
