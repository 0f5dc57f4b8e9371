//! Whether stderr goes to the journal of systemd.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Whether `JOURNAL_STREAM`, the device and the inode of the journal's socket, names this file (systemd.exec(5)).
pub fn is_journal(stream: Option<&OsStr>, file: impl AsFd) -> bool {
    let Some(stream) = stream.and_then(OsStr::to_str) else { return false };
    let found = file.as_fd().try_clone_to_owned().and_then(|file| File::from(file).metadata());
    found.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_the_journal_if_the_variable_names_its_inode() {
        let file = File::open("Cargo.toml").expect("a file");
        let found = file.metadata().expect("its inode");
        let (dev, ino) = (found.dev(), found.ino());
        for (stream, expect) in [
            (format!("{dev}:{ino}"), true),
            (format!("{dev}:{}", ino + 1), false),
            (format!("{ino}"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_journal(Some(OsStr::new(&stream)), &file), expect, "{stream}");
        }
        assert!(!is_journal(None, &file));
    }
}
