//! The journal of systemd: whether stderr goes to it, and the priority that it reads at the beginning of a line (sd-daemon(3)).
//!
//! Invariant: a line has a priority only where the journal takes it away again.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use log::Level;

/// Whether `JOURNAL_STREAM`, the device and the inode of the journal's socket, names this file (systemd.exec(5)).
pub fn is_journal(stream: Option<&OsStr>, file: impl AsFd) -> bool {
    let Some(stream) = stream.and_then(OsStr::to_str) else { return false };
    let found = file.as_fd().try_clone_to_owned().and_then(|file| File::from(file).metadata());
    found.is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

/// `<3>` to `<7>` (syslog(3)).
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
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
        assert_eq!([Level::Error, Level::Warn, Level::Info].map(priority), ["<3>", "<4>", "<6>"]);
    }
}
