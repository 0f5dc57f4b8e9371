//! Removes at the start what a crash left: files that were being received, and files without a row.
//!
//! Leaves to its caller which files have a row. Invariant: where the database knows of no file, no published file is
//! removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{entries, temporary};
use crate::base::id::Id;
use crate::model::id::UploadId;

/// File names in one question to storage, when the start looks for files that no row refers to.
const ORPHANS_ASKED_MAX: usize = 1_024;

/// The result of [`sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files that were being received.
    pub temporary: usize,
    /// Published files whose row was never written, or is gone.
    pub orphans: usize,
    /// Published files that were kept, because the database knows no file at all.
    pub foreign: usize,
}

/// Removes what a crash left, before the server runs. `orphans` returns those of the named files that no row refers to,
/// or `None` if the database knows of no file.
pub fn sweep<E: From<io::Error>>(
    uploads: &Path,
    mut orphans: impl FnMut(Vec<UploadId>) -> Result<Option<Vec<UploadId>>, E>,
) -> Result<Swept, E> {
    let mut swept = Swept::default();
    for file in entries(&temporary(uploads))? {
        fs::remove_file(file)?;
        swept.temporary += 1;
    }
    for byte in 0..=u8::MAX {
        let folder = uploads.join(format!("{byte:02x}"));
        let named = |path: &PathBuf| path.file_name()?.to_str().and_then(Id::parse);
        let files: Vec<UploadId> = entries(&folder)?.iter().filter_map(named).collect();
        for asked in files.chunks(ORPHANS_ASKED_MAX) {
            let Some(found) = orphans(asked.to_vec())? else {
                swept.foreign += asked.len();
                continue;
            };
            for orphan in found {
                fs::remove_file(folder.join(orphan.to_string()))?;
                swept.orphans += 1;
            }
        }
    }
    Ok(swept)
}
