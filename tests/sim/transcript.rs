//! A digest of one run: of every byte, command and answer between the server, its clients and its threads, in their order.
//!
//! Owns the digest. Two runs of one seed must have the same one: a counter that happens to be equal proves less.

use std::fmt::{self, Debug, Write};

/// FNV-1a, 64 bits: fast, and the same in every process.
pub struct Transcript(u64);

impl Transcript {
    pub fn new() -> Transcript {
        Transcript(0xcbf2_9ce4_8422_2325)
    }

    /// `bytes` passed at the point `what` of the connection `conn`.
    pub fn bytes(&mut self, what: &str, conn: u64, bytes: &[u8]) {
        self.value(what, &(conn, bytes.len()));
        self.add(bytes);
    }

    /// `value` passed at the point `what`.
    pub fn value(&mut self, what: &str, value: &impl Debug) {
        write!(self, "{what} {value:?};").expect("a digest takes all text");
    }

    pub fn digest(&self) -> u64 {
        self.0
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Write for Transcript {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}
