//! The bytes of a file as they come from another node: written, hashed, and put into their place.
//!
//! Owns the temporary file. Invariant: it is gone afterwards, whatever happened.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::link::Link;
use super::{CopyFault, Shared, remove_quietly};
use crate::base::crypto::Sha256;
use crate::base::no_follow::NO_FOLLOW;
use crate::model::id::UploadId;

/// A file that is removed unless it was moved.
struct Unfinished(PathBuf);

impl Unfinished {
    /// The folder may be missing: before the first upload, and after UPLOADS was emptied. UPLOADS itself is not made, because a later
    /// mount would hide it.
    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(NO_FOLLOW);
        match (options.open(&self.0), self.0.parent()) {
            (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
                match DirBuilder::new().mode(0o700).create(folder) {
                    // Another thread made it first.
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                    _ => options.open(&self.0),
                }
            }
            (opened, _) => opened,
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove_quietly(&self.0);
    }
}

/// Receives a file and publishes it. It is on disk when this returns.
pub fn receive(
    shared: &Shared,
    link: &mut Link,
    file: UploadId,
    size: u64,
    sha256: [u8; 32],
) -> Result<(), CopyFault> {
    (shared.options.room)(size)?;
    let unfinished = Unfinished(shared.publisher.temporary(file, shared.next_number()));
    let mut to = unfinished.create()?;
    let (mut hash, mut left) = (Sha256::new(), size);
    while left > 0 {
        let bytes = link.receive()?;
        if bytes.is_empty() || bytes.len() as u64 > left {
            return Err(CopyFault::OtherBytes);
        }
        // Others may have taken the room meanwhile.
        (shared.options.room)(bytes.len() as u64)?;
        to.write_all(&bytes)?;
        hash.update(&bytes);
        left -= bytes.len() as u64;
    }
    drop(to);
    if hash.finish() != sha256 {
        return Err(CopyFault::OtherBytes);
    }
    shared.publisher.put_in_place(unfinished.path(), file)?;
    Ok(())
}
