//! How many bytes the samples of uncompressed and of old QuickTime sound take.
//!
//! QuickTime counts each point in time as one sample and writes a size of one for it, whatever it takes: the true size follows
//! from the description of the sound (QuickTime File Format Specification, "Sound Sample Descriptions"). Of several possible
//! sizes the greatest counts, since nothing that is heard may be overwritten.

use std::io::{Read, Seek, Write};

use super::super::Fault;
use super::super::boxes::{Atom, Atoms};
use super::super::medium::Medium;

/// Bytes of a description, with its head.
const DESCRIPTION: usize = 72;

#[derive(Default)]
pub(super) struct Sound {
    /// By description: the bytes of so many samples.
    packets: Vec<(u64, u64)>,
}

/// A track with more descriptions is read as if it had this many.
const DESCRIPTIONS_MAX: usize = 16;

impl Sound {
    pub(super) fn read<F: Read + Write + Seek>(
        medium: &mut Medium<'_, F>,
        list: &Atom,
    ) -> Result<Sound, Fault> {
        let mut sound = Sound::default();
        let mut entries = Atoms::between(list.body.saturating_add(8), list.end);
        while let Some(entry) = entries.next(medium)? {
            if sound.packets.len() >= DESCRIPTIONS_MAX {
                break;
            }
            let mut bytes = [0; DESCRIPTION];
            let room = usize::try_from(entry.end - entry.at).unwrap_or(DESCRIPTION).min(DESCRIPTION);
            medium.read(entry.at, &mut bytes[..room])?;
            sound.packets.extend(packet(&entry.name, &bytes));
        }
        Ok(sound)
    }

    /// The most bytes that so many samples take.
    pub(super) fn len(&self, samples: u64) -> u64 {
        let lens = self.packets.iter().map(|(bytes, count)| samples.div_ceil(*count).saturating_mul(*bytes));
        lens.max().unwrap_or(0)
    }
}

/// The bytes and the samples of a packet. `None` where the table of sizes is true.
fn packet(name: &[u8; 4], entry: &[u8; DESCRIPTION]) -> Option<(u64, u64)> {
    let short = |at: usize| u64::from(u16::from_be_bytes([entry[at], entry[at + 1]]));
    let long =
        |at: usize| u64::from(u32::from_be_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]));
    let (version, channels, bits) = (short(16), short(24), short(26));
    let by_name = match name {
        b"in24" => Some((3 * channels, 1)),
        b"in32" | b"fl32" => Some((4 * channels, 1)),
        b"fl64" => Some((8 * channels, 1)),
        b"ima4" => Some((34 * channels, 64)),
        // The field for bits says 16, as of the decoded sound.
        b"ulaw" | b"alaw" => Some((channels, 1)),
        b"sowt" | b"twos" | b"raw " | b"NONE" | b"\0\0\0\0" => Some((bits.div_ceil(8).max(1) * channels, 1)),
        _ => None,
    };
    match version {
        // Samples and bytes of a packet, for all channels.
        1 if long(36) > 0 && long(44) > 0 => {
            let (bytes, samples) = (long(44), long(36));
            let greater = by_name.filter(|(named, count)| named * samples > bytes * count);
            greater.or(Some((bytes, samples)))
        }
        2 if long(64) > 0 && long(68) > 0 => Some((long(64), long(68))),
        _ => by_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_samples_follow_from_the_description() {
        for (name, fields, samples, len) in [
            (b"sowt", &[(24, 2_u32, 2), (26, 16, 2)][..], 10, 40),
            (b"raw ", &[(24, 1, 2), (26, 8, 2)], 10, 10),
            (b"alaw", &[(24, 2, 2), (26, 16, 2)], 10, 20),
            // The field for bits says 16.
            (b"in24", &[(24, 2, 2), (26, 16, 2)], 10, 60),
            (b"ima4", &[(24, 2, 2), (26, 16, 2)], 65, 136),
            (b"mp4a", &[(24, 2, 2), (26, 16, 2)], 10, 0),
            // Version 1: samples and bytes of a packet.
            (b"ima4", &[(16, 1, 2), (24, 1, 2), (36, 64, 4), (44, 34, 4)], 128, 68),
            (b"MAC3", &[(16, 1, 2), (24, 1, 2), (36, 6, 4), (44, 2, 4)], 7, 4),
            // Version 2.
            (b"lpcm", &[(16, 2, 2), (24, 3, 2), (26, 16, 2), (64, 12, 4), (68, 1, 4)], 10, 120),
        ] {
            let mut entry = [0; DESCRIPTION];
            for (at, value, width) in fields {
                entry[*at..at + width].copy_from_slice(&value.to_be_bytes()[4 - width..]);
            }
            let sound = Sound { packets: packet(name, &entry).into_iter().collect() };
            assert_eq!(sound.len(samples), len, "{name:?}");
        }
    }
}
