//! Tells a file from the one that had its name before.
//!
//! Owns what is compared. Invariant: a file that was renamed onto the name of another has another version, also when both have
//! the same length and were written within one tick of the file system's clock.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::base::crypto::{hex, sha256};

#[cfg_attr(test, derive(Default))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    /// Two files that exist at the same time never share it; their times may be equal.
    inode: u64,
    /// Bytes.
    len: u64,
    /// Of the content: Unix seconds, and nanoseconds as far as the file system keeps any.
    modified: (i64, i64),
    /// Of the content, the name or the rights, in the same units.
    changed: (i64, i64),
}

impl FileVersion {
    pub fn of(file: &Metadata) -> FileVersion {
        FileVersion {
            device: file.dev(),
            inode: file.ino(),
            len: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// A short text for this version. It is a hash: the numbers of the file system are nobody's business.
    pub fn tag(&self) -> String {
        let FileVersion { device, inode, len, modified, changed } = self;
        let numbers = format!("{device} {inode} {len} {modified:?} {changed:?}");
        hex(&sha256(numbers.as_bytes())[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_another_of_the_same_time_has_another_version() {
        let dir = crate::base::testing::Folder::new();
        let [old, new] = ["old", "new"].map(|name| dir.join(name));
        let time = std::time::SystemTime::UNIX_EPOCH;
        for path in [&old, &new] {
            std::fs::write(path, "content").expect("a file");
            std::fs::File::open(path).and_then(|file| file.set_modified(time)).expect("a time");
        }
        let of = |path: &std::path::Path| FileVersion::of(&path.metadata().expect("a file"));
        let before = of(&old);
        assert_eq!((before, before.tag()), (of(&old), of(&old).tag()));
        std::fs::rename(&new, &old).expect("renamed");
        assert_ne!(before, of(&old));
        assert_ne!(before.tag(), of(&old).tag());
        let inode = FileVersion { inode: 1, ..FileVersion::default() };
        assert_ne!(inode.tag(), FileVersion::default().tag());
    }
}
