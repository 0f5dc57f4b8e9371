//! MEMORY_MAX: how much memory each part may hold, so that all of them together fit.
//!
//! What an idle server and a password hash take is fixed; the rest is divided. No part gets more than it has without MEMORY_MAX.
//! Invariant: the parts are no more than the whole.

use super::Argon2;
use super::values::Problem;
use crate::limits::{CacheSizes, Limits, MemoryShares};

/// What an idle server holds, https included: its code, threads and tables.
const IDLE_BYTES: u64 = 8 << 20;
/// What is left when no password is hashed. With less, a few slow readers close each other's streams.
const REST_MIN: u64 = 6 << 20;
/// What an open connection takes, and what the system keeps for it.
const CONNECTION_BYTES: u64 = 2 << 10;
const SECURE_CONNECTION_BYTES: u64 = 12 << 10;
/// The connections that share one reader cache size: two readers, the searches, and the index on both of its files.
const READER_CACHES: u64 = 5;
const KIB: u64 = 1_024;

/// `24MiB`: bytes, or with a unit.
pub(super) fn size(text: &str) -> Result<u64, Problem> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
    let (digits, unit) =
        units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes))).unwrap_or((text, 1));
    let digits = digits.trim_end();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number with KiB, MiB or GiB".to_owned());
    }
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(|| "is out of range".to_owned())
}

/// The bounds of `limits` that no variable sets, so that the process stays within `max` bytes. Fails if what is fixed leaves too little.
pub(super) fn divide(
    max: u64,
    argon2: Argon2,
    over_tls: bool,
    set: Set,
    limits: &mut Limits,
) -> Result<(), Problem> {
    let hash = u64::from(argon2.memory_kib) * KIB;
    let default = MemoryShares::default();
    // A second hash at once only where the first ones are a small part of it all.
    let hashes = if 8 * hash <= max { default.hashes } else { 1 };
    let fixed = IDLE_BYTES + hashes as u64 * hash;
    let Some(rest) = max.checked_sub(fixed).filter(|rest| *rest >= REST_MIN) else {
        let needed = (IDLE_BYTES + hash + REST_MIN).div_ceil(KIB * KIB);
        return Err(format!(
            "{max} bytes are too little: an idle server, a password hash of ARGON2 and what people have open need {needed} MiB"
        ));
    };
    // Two eighths each for connections, their queues and the caches of the database, and one for uploads. The last eighth is for
    // what is in progress, and for what the allocator holds between.
    let eighth = rest / 8;
    let caches = 2 * eighth / KIB;
    let at_most = |share: u64, most: usize| usize::try_from(share).map_or(most, |share| share.min(most));
    let cache = |share: u64, most: u32| u32::try_from(share).map_or(most, |share| share.min(most));
    let queues = at_most(2 * eighth, default.queues);
    limits.memory = MemoryShares {
        queues,
        queues_of_address: default.queues_of_address.min(queues / 2),
        uploads: at_most(eighth, default.uploads),
        hashes,
        caches: CacheSizes {
            writer_kib: cache(caches / 2, default.caches.writer_kib),
            reader_kib: cache(caches / 4 / READER_CACHES, default.caches.reader_kib),
            index_kib: cache(caches / 4, default.caches.index_kib),
        },
    };
    if !set.send_queue_max {
        let most = limits.memory.queues_of_address / 2;
        limits.send_queue_max = limits.send_queue_max.min(most.max(limits.ws_message_max));
    }
    if limits.send_queue_max > limits.memory.queues_of_address {
        return Err(format!(
            "{max} bytes leave {} to the send queues of one address, which is less than SEND_QUEUE_MAX ({})",
            limits.memory.queues_of_address, limits.send_queue_max
        ));
    }
    let connection = if over_tls { SECURE_CONNECTION_BYTES } else { CONNECTION_BYTES };
    let connections = at_most(2 * eighth / connection, usize::MAX);
    if !set.connections_max {
        limits.connections_max = limits.connections_max.min(connections);
    } else if limits.connections_max > connections {
        return Err(format!(
            "{max} bytes leave room for {connections} connections, and CONNECTIONS_MAX is {}",
            limits.connections_max
        ));
    }
    Ok(())
}

/// Which bounds a variable sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub connections_max: bool,
    pub send_queue_max: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const ARGON2: Argon2 = Argon2 { memory_kib: 7_168, passes: 5, lanes: 1 };
    const NONE: Set = Set { connections_max: false, send_queue_max: false };

    fn divided(max: u64, argon2: Argon2, over_tls: bool) -> Result<Limits, Problem> {
        let mut limits = Limits::default();
        divide(max, argon2, over_tls, NONE, &mut limits).map(|()| limits)
    }

    #[test]
    fn sizes_with_and_without_a_unit() {
        for (text, bytes) in
            [("25165824", 24 * MIB), ("24MiB", 24 * MIB), ("64 MiB", 64 * MIB), ("1GiB", 1_024 * MIB)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "24MB", "24 mib", "-1", "1.5GiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_parts_are_no_more_than_the_whole() {
        for max in [21, 24, 32, 48, 64, 100, 128, 256, 1_024, 65_536] {
            for over_tls in [false, true] {
                let limits = divided(max * MIB, ARGON2, over_tls).expect("enough");
                let MemoryShares { queues, queues_of_address, uploads, hashes, caches } = limits.memory;
                let connection = if over_tls { SECURE_CONNECTION_BYTES } else { CONNECTION_BYTES };
                let cached = u64::from(caches.writer_kib + caches.index_kib)
                    + READER_CACHES * u64::from(caches.reader_kib);
                let sum = IDLE_BYTES
                    + hashes as u64 * 7 * MIB
                    + (queues + uploads) as u64
                    + cached * KIB
                    + limits.connections_max as u64 * connection;
                assert!(sum <= max * MIB, "{max} MiB: {sum} bytes");
                assert!(limits.send_queue_max <= queues_of_address && queues_of_address < queues);
                assert!(limits.ws_message_max <= limits.send_queue_max);
            }
        }
        assert_eq!(
            divided(65_536 * MIB, ARGON2, true),
            Ok(Limits::default()),
            "no part gets more than without it"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = divided(20 * MIB, ARGON2, false).expect_err("too little");
        assert!(message.contains("need 21 MiB"), "{message}");
        let message =
            divided(100 * MIB, Argon2 { memory_kib: 102_400, ..ARGON2 }, false).expect_err("too little");
        assert!(message.contains("need 114 MiB"), "{message}");
        let mut limits = Limits { connections_max: 5_000, ..Limits::default() };
        let message = divide(24 * MIB, ARGON2, false, Set { connections_max: true, ..NONE }, &mut limits)
            .expect_err("too many connections");
        assert!(message.contains("leave room for 1152 connections"), "{message}");
        let mut limits = Limits::default();
        let message = divide(24 * MIB, ARGON2, false, Set { send_queue_max: true, ..NONE }, &mut limits);
        assert_eq!(message, Ok(()), "1 MiB is within the queues of an address");
    }
}
