//! What a log carries that several natters apply: entries, each of one node.
//!
//! Owns the entry, its bytes and its size. Leaves the bytes of a write to `write_bytes`, the seal to
//! [`base::seal`](crate::base::seal), and what an entry does to `store`.
//! Invariant: an entry that this build cannot apply as its author meant it is refused, never guessed.

use std::fmt;

pub use super::id::Life;
pub use super::node::{FIRST_LEVEL, LEVEL, NodeName};
use super::operation::Write;
use crate::base::fields::{self, Field, Reader, fields};
use crate::base::seal::{SealError, SealKey, SealPurpose, SealedBy, seal_bytes};

/// Bytes of a sealed entry. A broker takes messages of 1 MiB unless it is told otherwise, and a batch must stay under half of that. Above:
/// the writes go into several entries ([`EntryDraft::push`]).
pub const ENTRY_BYTES_MAX: usize = 524_288;

/// The length of a body has one byte in a draft, and at most three when it ends.
const LENGTH_GROWTH_MAX: usize = 2;
const _: () = assert!(ENTRY_BYTES_MAX < 1 << 21);

/// One entry of the log. It is applied whole or not at all.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The node that wrote it.
    pub node: NodeName,
    /// The life of the node in which it did.
    pub life: Life,
    /// The number of the entry in this life, from 1.
    pub n: u64,
    /// What it says.
    pub body: EntryBody,
}

/// What an entry says.
#[derive(Clone, Debug)]
pub enum EntryBody {
    /// The first entry of a log.
    Genesis {
        /// The epoch that all nodes have: 1–32 of `[a-z0-9]`.
        epoch: String,
        /// The level that is in force from here on.
        level: u32,
    },
    /// A life begins: the earlier ones of its node are over.
    Hello {
        /// The highest level that this process knows.
        level: u32,
    },
    /// Writes, in order.
    Writes(Vec<Write>),
    /// The first entry of a log that continues the rows of a database. Its node has them, and each other node begins with a copy.
    Continued {
        /// The epoch from here on: that of the rows, or a new one.
        epoch: String,
    },
    /// The last entry that counts: its node goes on without a log, so no other one may go on with it.
    End,
    /// An operator has had this node skip an entry that it could not apply. A node that has applied it does not go on.
    Skipped {
        /// Where the entry that was skipped is: before this one.
        position: u64,
        /// The chain after it, as it is for a node that does not skip it.
        chain: [u8; 32],
    },
    /// This level is in force from here on, if every node knows it: the Hello of the last life of each says so. Else the entry changes
    /// nothing. Any build reads it, so that one which does not know the level stops here, and at no entry that changes nothing.
    Level {
        /// Greater than the one in force.
        level: u32,
    },
}

/// Why bytes are no entry for this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// Its level is above [`LEVEL`], or its seal is of a later version: a newer natter wrote it.
    Newer,
    /// It is no entry.
    Malformed,
    /// It was sealed with another secret, or changed since.
    Forged,
}

impl From<SealError> for EntryError {
    fn from(error: SealError) -> EntryError {
        match error {
            SealError::Malformed => EntryError::Malformed,
            SealError::Newer => EntryError::Newer,
            SealError::Forged => EntryError::Forged,
        }
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryError::Newer => "written by a newer natter",
            EntryError::Malformed => "no entry of natter",
            EntryError::Forged => "sealed with another key, or damaged",
        })
    }
}

fields! {
    // The number 1 is that of the level, which is read first.
    Entry { 2 node, 3 life, 4 n, 5 body }
    Level { 1 level }
}

/// The level of an entry of any form.
struct Level {
    level: u32,
}

/// The kinds of a body, by their first byte.
mod kind {
    pub const GENESIS: u8 = 1;
    pub const HELLO: u8 = 2;
    pub const WRITES: u8 = 3;
    pub const CONTINUED: u8 = 4;
    pub const END: u8 = 5;
    pub const LEVEL: u8 = 6;
    pub const SKIPPED: u8 = 7;
}

impl Field for EntryBody {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            EntryBody::Genesis { epoch, level } => {
                out.push(kind::GENESIS);
                fields::put_field(out, 1, epoch);
                fields::put_field(out, 2, level);
            }
            EntryBody::Hello { level } => put_level(out, kind::HELLO, level),
            EntryBody::Level { level } => put_level(out, kind::LEVEL, level),
            EntryBody::Writes(writes) => {
                out.push(kind::WRITES);
                writes.put(out);
            }
            EntryBody::Continued { epoch } => {
                out.push(kind::CONTINUED);
                fields::put_field(out, 1, epoch);
            }
            EntryBody::End => out.push(kind::END),
            EntryBody::Skipped { position, chain } => {
                out.push(kind::SKIPPED);
                fields::put_field(out, 1, position);
                fields::put_field(out, 2, chain);
            }
        }
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> EntryBody {
        let (kind, rest) = fields::variant(bytes);
        match kind {
            kind::GENESIS => {
                let [epoch, level, ..] = reader.split(rest);
                EntryBody::Genesis { epoch: Field::take(epoch, reader), level: take_level(level, reader) }
            }
            kind::WRITES => EntryBody::Writes(Field::take(rest, reader)),
            kind::CONTINUED => {
                let [epoch, ..] = reader.split(rest);
                EntryBody::Continued { epoch: Field::take(epoch, reader) }
            }
            kind::END => EntryBody::End,
            kind::SKIPPED => {
                let [position, chain, ..] = reader.split(rest);
                EntryBody::Skipped {
                    position: Field::take(position, reader),
                    chain: Field::take(chain, reader),
                }
            }
            kind::HELLO | kind::LEVEL => {
                let [level, ..] = reader.split(rest);
                let level = take_level(level, reader);
                if kind == kind::HELLO { EntryBody::Hello { level } } else { EntryBody::Level { level } }
            }
            _ => {
                reader.fail();
                EntryBody::End
            }
        }
    }
}

fn put_level(out: &mut Vec<u8>, kind: u8, level: &u32) {
    out.push(kind);
    fields::put_field(out, 1, level);
}

fn take_level(bytes: &[u8], reader: &mut Reader) -> u32 {
    u32::take(bytes, reader).max(FIRST_LEVEL)
}

impl EntryBody {
    /// The Hello of a process of this build.
    pub fn hello() -> EntryBody {
        EntryBody::Hello { level: LEVEL }
    }

    /// Whether the schema may change at this entry: it is applied in a transaction of its own.
    pub fn may_migrate(&self) -> bool {
        match self {
            EntryBody::Genesis { level, .. } => *level > FIRST_LEVEL,
            EntryBody::Level { .. } => true,
            EntryBody::Hello { .. }
            | EntryBody::Writes(_)
            | EntryBody::Continued { .. }
            | EntryBody::End
            | EntryBody::Skipped { .. } => false,
        }
    }
}

impl Entry {
    /// An entry of this node that no node performs, at whatever position it is: it belongs to no life. Where the log stores it tells whether
    /// the log still has all that was read of it.
    ///
    /// Every build reads it. Its number is the level, so that the bytes of two builds, which may differ, are never sealed under one nonce.
    pub fn probe(node: NodeName) -> Entry {
        Entry { node, life: Life::from_u128(0), n: u64::from(LEVEL), body: EntryBody::Writes(Vec::new()) }
    }

    /// The bytes that [`Entry::from_bytes`] reads, in any build.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_of(FIRST_LEVEL)
    }

    /// As [`Entry::to_bytes`], for those builds alone that know this level.
    fn to_bytes_of(&self, level: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        Level { level }.put(&mut out);
        self.put(&mut out);
        out
    }

    /// Reads an entry. `Newer` or `Malformed` if this build cannot apply it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryError> {
        let Level { level } = fields::read(bytes).ok_or(EntryError::Malformed)?;
        if level > LEVEL {
            return Err(EntryError::Newer);
        }
        fields::read(bytes).ok_or(EntryError::Malformed)
    }

    /// The entry as the log has it. One of writes is made by an [`EntryDraft`], which bounds it: a larger one opens nowhere.
    pub fn seal(&self, key: &SealKey) -> Vec<u8> {
        key.seal(SealPurpose::Entry, sealed_by(&self.node, self.life, self.n), &self.to_bytes())
    }

    /// The entry of what [`Entry::seal`] or [`EntryDraft::seal`] has made.
    pub fn open(key: &SealKey, sealed: &[u8]) -> Result<Entry, EntryError> {
        if sealed.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Malformed);
        }
        let (by, bytes) = key.open(SealPurpose::Entry, sealed)?;
        let entry = Entry::from_bytes(&bytes)?;
        // Both are authentic. A node that mixes up two entries would use a nonce twice.
        if sealed_by(&entry.node, entry.life, entry.n) == by { Ok(entry) } else { Err(EntryError::Malformed) }
    }
}

fn sealed_by(node: &NodeName, life: Life, n: u64) -> SealedBy<'_> {
    SealedBy { node: node.as_str(), life: life.to_u128(), n }
}

/// An entry of writes that grows: each write is encoded once, when it is added. It has no `Debug`, which would show its secrets.
pub struct EntryDraft {
    node: NodeName,
    life: Life,
    n: u64,
    bytes: Vec<u8>,
    /// Where the body begins, after the byte of its length. It ends the bytes.
    start: usize,
    writes: usize,
}

/// What became of a write that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the entry.
    Added,
    /// The entry is full: it goes into the next one.
    Full,
    /// It is larger than an entry.
    TooLarge,
}

impl EntryDraft {
    /// Without writes. `level` is the one in force where it is written: its writes may have what that level knows.
    pub fn new(node: NodeName, life: Life, n: u64, level: u32) -> EntryDraft {
        let entry = Entry { node, life, n, body: EntryBody::Writes(Vec::new()) };
        let bytes = entry.to_bytes_of(level);
        // Only the kind of the body.
        let start = bytes.len() - 1;
        EntryDraft { node: entry.node, life, n, bytes, start, writes: 0 }
    }

    /// Adds a write if the sealed entry stays within [`ENTRY_BYTES_MAX`]. A batch is split where the answer is `Full`: this entry is
    /// sealed, and the write begins the next one.
    pub fn push(&mut self, write: &Write) -> Pushed {
        let before = self.bytes.len();
        let start = fields::begin(&mut self.bytes);
        write.put(&mut self.bytes);
        fields::end(&mut self.bytes, start);
        let sealed = self.bytes.len() + LENGTH_GROWTH_MAX + seal_bytes(self.node.as_str().len());
        if sealed <= ENTRY_BYTES_MAX {
            self.writes += 1;
            return Pushed::Added;
        }
        self.bytes.truncate(before);
        if self.writes > 0 { Pushed::Full } else { Pushed::TooLarge }
    }

    /// How many writes it has.
    pub fn writes(&self) -> usize {
        self.writes
    }

    /// The bytes that [`Entry::from_bytes`] reads.
    pub fn into_bytes(mut self) -> Vec<u8> {
        fields::end(&mut self.bytes, self.start);
        self.bytes
    }

    /// The entry as the log has it.
    pub fn seal(self, key: &SealKey) -> Vec<u8> {
        let (node, life, n) = (self.node.clone(), self.life, self.n);
        key.seal(SealPurpose::Entry, sealed_by(&node, life, n), &self.into_bytes())
    }
}

#[cfg(test)]
mod tests;
