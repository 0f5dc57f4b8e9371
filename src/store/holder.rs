//! Other processes that have the database open or read its WAL, as far as the system shows them.
//!
//! The index of the WAL (`-shm`) has a lock for each reader (<https://www.sqlite.org/walformat.html>, section 2.3). To ask
//! the kernel for a lock needs a descriptor of the file, and closing that descriptor would release our own locks. So this
//! reads `/proc/locks`, where Linux lists all locks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Offsets of the readers' locks in the index: one for each of five marks.
const READ_MARKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The lock that each process with an open connection holds.
const OPEN_MARK: std::ops::RangeInclusive<u64> = 128..=128;

/// The process outside of this one that holds a read lock. `None` if there is none, or if `/proc` is absent or hides it.
pub fn of_log(index: &Path) -> Option<u32> {
    other(index, READ_MARKS)
}

/// Another process that has the database open. `None` as for [`of_log`].
pub fn of_database(index: &Path) -> Option<u32> {
    other(index, OPEN_MARK)
}

fn other(index: &Path, marks: std::ops::RangeInclusive<u64>) -> Option<u32> {
    let inode = std::fs::metadata(index).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    find(&locks, inode, marks, std::process::id())
}

/// Parses lines such as `1: POSIX  ADVISORY  READ  1234 08:01:131 123 123`. Linux joins adjacent locks of a process to one.
fn find(locks: &str, inode: u64, marks: std::ops::RangeInclusive<u64>, ours: u32) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, access) = (words.next()?, words.next()?, words.next()?);
        let pid: u32 = words.next()?.parse().ok()?;
        let file: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
        let start: u64 = words.next()?.parse().ok()?;
        let end: u64 = words.next()?.parse().unwrap_or(u64::MAX); // `EOF`
        let is_reader = kind == "POSIX" && access == "READ" && start <= *marks.end() && end >= *marks.start();
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
        assert_eq!(find(locks, 131, READ_MARKS, 4), Some(5));
        assert_eq!(find(locks, 131, READ_MARKS, 5), Some(4));
        assert_eq!(find(locks, 133, READ_MARKS, 1), None);
        assert_eq!(find("", 131, READ_MARKS, 1), None);
        let strange = "strange\n: \n1: POSIX ADVISORY READ -1 08:01:131 124 124";
        assert_eq!(find(strange, 131, READ_MARKS, 1), None);
        assert_eq!(find(locks, 131, OPEN_MARK, 2), Some(1));
        assert_eq!(find(locks, 131, OPEN_MARK, 1), None);
        let joined =
            "1: POSIX  ADVISORY  READ 6 08:01:131 127 128\n2: POSIX  ADVISORY  READ 7 08:01:132 0 EOF";
        assert_eq!((find(joined, 131, OPEN_MARK, 1), find(joined, 131, READ_MARKS, 1)), (Some(6), Some(6)));
        assert_eq!(find(joined, 132, OPEN_MARK, 1), Some(7));
    }
}
