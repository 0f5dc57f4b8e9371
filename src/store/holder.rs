//! The process that currently reads the WAL of the database, as far as the system shows it.
//!
//! The index of the WAL (`-shm`) has a lock for each reader (<https://www.sqlite.org/walformat.html>, section 2.3). To ask
//! the kernel for a lock needs a descriptor of the file, and closing that descriptor would release our own locks. So this
//! reads `/proc/locks`, where Linux lists all locks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Offsets of the readers' locks in the index: one for each of five marks.
const READ_MARKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The process outside of this one that holds a read lock. `None` if there is none, or if `/proc` is absent or hides it.
pub fn of_log(index: &Path) -> Option<u32> {
    let inode = std::fs::metadata(index).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    find(&locks, inode, std::process::id())
}

/// Parses lines such as `1: POSIX  ADVISORY  READ  1234 08:01:131 123 123`.
fn find(locks: &str, inode: u64, ours: u32) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, access) = (words.next()?, words.next()?, words.next()?);
        let pid: u32 = words.next()?.parse().ok()?;
        let file: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
        let start: u64 = words.next()?.parse().ok()?;
        let is_reader = kind == "POSIX" && access == "READ" && READ_MARKS.contains(&start);
        (is_reader && file == inode && pid != ours && pid != 0).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_the_wal_is_found_among_all_locks() {
        let locks = "1: FLOCK  ADVISORY  WRITE 7 08:01:131 0 EOF\n\
                     2: POSIX  ADVISORY  READ 1 08:01:131 128 128\n\
                     3: POSIX  ADVISORY  READ 2 08:01:132 124 124\n\
                     4: POSIX  ADVISORY  WRITE 3 08:01:131 120 120\n\
                     5: POSIX  ADVISORY  READ 4 08:01:131 124 124\n\
                     5: -> POSIX  ADVISORY  WRITE 6 08:01:131 124 124\n\
                     6: POSIX  ADVISORY  READ 5 08:01:131 125 125\n";
        assert_eq!(find(locks, 131, 4), Some(5));
        assert_eq!(find(locks, 131, 5), Some(4));
        assert_eq!(find(locks, 133, 1), None);
        assert_eq!(find("", 131, 1), None);
        assert_eq!(find("strange\n: \n1: POSIX ADVISORY READ -1 08:01:131 124 124", 131, 1), None);
    }
}
