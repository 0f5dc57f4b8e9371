//! The files of uploads on disk: published, opened, removed, and cleaned up at the start.
//!
//! Owns the path of each below `UPLOADS`:
//!
//! ```text
//! tmp/<id>      being received; an orphan after a crash. <id>.<number> if another node sends it
//! <aa>/<id>     published; `aa` is the last byte of the id, which bounds the size of a folder
//! ```
//!
//! Files of some kinds are inspected when they are complete, before they are published (`proto::media`). Does not know
//! rows: at the start it asks the caller which files are orphans.
//! Invariant: a published file and its folder are on disk before any client learns of it, and a published file is never
//! written again.

mod open;
mod publish;
mod sweep;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use self::open::{FilePaths, Opener};
pub use self::publish::Publisher;
use self::sweep::old_files;
pub use self::sweep::{Swept, sweep};
use crate::base::id::Id;
use crate::model::id::UploadId;

/// The path of a published file.
fn published(uploads: &Path, file: UploadId) -> PathBuf {
    folder_of(uploads, file).join(file.to_string())
}

fn folder_of(uploads: &Path, file: UploadId) -> PathBuf {
    uploads.join(format!("{:02x}", file.low() as u8))
}

fn temporary(uploads: &Path) -> PathBuf {
    uploads.join("tmp")
}

/// Calls `each` with every published file and its name below `uploads`, which [`is_published`].
pub fn each_published<E: From<io::Error>>(
    uploads: &Path,
    mut each: impl FnMut(&str, &Path) -> Result<(), E>,
) -> Result<(), E> {
    for byte in 0..=u8::MAX {
        for path in entries(&uploads.join(format!("{byte:02x}")))? {
            let Some(name) = path.strip_prefix(uploads).ok().and_then(Path::to_str) else { continue };
            if is_published(name) {
                each(name, &path)?;
            }
        }
    }
    Ok(())
}

/// Whether a published file can have this name below `UPLOADS`.
pub fn is_published(name: &str) -> bool {
    let file = name.split_once('/').and_then(|(_, id)| Id::parse(id));
    file.is_some_and(|file| published(Path::new(""), file).as_os_str() == name)
}

/// The files of a folder; none if the folder does not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
