//! Removes at the start what a crash left: files that were being received, and files without a row.
//!
//! On a node of a cluster another node may have given it a file whose row is still to come. So there only older files are orphans, and
//! the server looks for these while it runs, too.
//! Leaves to its caller which files have a row. Invariant: where the database knows of no file, no published file is
//! removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{entries, folder_of, temporary};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::id::UploadId;
use crate::model::upload::OLD_FILES_MAX;

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
/// or `None` if the database knows of no file. Files that were written since `before`, if it is given, are no orphans.
pub fn sweep<E: From<io::Error>>(
    uploads: &Path,
    before: Option<UnixMs>,
    mut orphans: impl FnMut(Vec<UploadId>) -> Result<Option<Vec<UploadId>>, E>,
) -> Result<Swept, E> {
    let mut swept = Swept::default();
    for file in entries(&temporary(uploads))? {
        fs::remove_file(file)?;
        swept.temporary += 1;
    }
    for byte in 0..=u8::MAX {
        let folder = uploads.join(format!("{byte:02x}"));
        let files = files_before(&folder, before)?;
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

/// Published files of one of the 256 folders that were written before this time: at most [`OLD_FILES_MAX`] after this one, in order.
pub(super) fn old_files(
    uploads: &Path,
    folder: u8,
    after: UploadId,
    before: UnixMs,
) -> io::Result<Vec<UploadId>> {
    let folder = folder_of(uploads, Id::from_u128(u128::from(folder)));
    let mut files = files_before(&folder, Some(before))?;
    files.retain(|file| *file > after);
    files.sort_unstable();
    files.truncate(OLD_FILES_MAX);
    Ok(files)
}

fn files_before(folder: &Path, before: Option<UnixMs>) -> io::Result<Vec<UploadId>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        let named = |path: &PathBuf| path.file_name()?.to_str().and_then(Id::parse);
        let Some(file) = named(&path) else { continue };
        match before {
            Some(before) if written_at(&path)?.is_none_or(|at| at >= before) => {}
            _ => files.push(file),
        }
    }
    Ok(files)
}

/// `None` if it was removed meanwhile.
fn written_at(path: &Path) -> io::Result<Option<UnixMs>> {
    match fs::symlink_metadata(path) {
        Ok(about) => {
            let ms = about.mtime().saturating_mul(1_000).saturating_add(about.mtime_nsec() / 1_000_000);
            Ok(Some(UnixMs(u64::try_from(ms).unwrap_or_default())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
