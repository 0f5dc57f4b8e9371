//! `natter backup --verify FILE`: whether a backup can be restored, without restoring it.
//!
//! Reads the archive once: the checksum of all of it, every page, index and reference of the database in it, and the
//! SHA-256 of each upload that the database has. Invariant: FILE is only read, and the copy of the database that is
//! made beside it is gone at the end.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::super::archive::{DATABASE, Reader, UPLOADS};
use super::pace::Pace;
use super::{create_part, folder_of};
use crate::base::crypto::Sha256;
use crate::base::id::Id;
use crate::config::secrets;
use crate::store::{self, FileHashes, StoreOptions};

/// What a good backup has.
pub struct Verified {
    pub uploads: u64,
    /// Files of uploads that the database knows and that are not in it.
    pub missing: u64,
    /// An older natter made it: its database has no hashes of files to compare with.
    pub is_old: bool,
}

/// A copy of the database, which is removed at the end.
struct Copy {
    path: PathBuf,
    // Its lock tells other backups that it is in use.
    file: File,
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!(target: "natter::backup", "{} could not be removed: {error}", self.path.display());
        }
    }
}

/// Reads a backup to its end. The error says what is wrong with it.
pub fn verify(file: &Path, pace: &mut Pace) -> Result<Verified, String> {
    let text = |error: io::Error| format!("{}: {error}", file.display());
    let bad = |what: String| format!("{} is not a good backup: {what}", file.display());
    let from = File::open(file).map_err(text)?;
    let mut reader = Reader::new(BufReader::new(from));
    let (mut hashes, mut uploads) = (None, 0);
    while let Some(entry) = reader.entry().map_err(text)? {
        let name = entry.name.as_str();
        match name.strip_prefix(UPLOADS).map(|inner| inner.rsplit('/').next().and_then(Id::parse)) {
            None if name == DATABASE => hashes = Some(open(file, &mut reader, pace)?),
            None if secrets::FILES.contains(&name) => {}
            Some(Some(id)) => {
                let Some((_, hashes)) = &hashes else {
                    return Err(bad("its database is not the first".to_owned()));
                };
                let sha256 = hash(&mut reader, pace).map_err(text)?;
                let expected = hashes.of(id).map_err(|fault| bad(fault.to_string()))?;
                if expected.is_some_and(|expected| expected != sha256) {
                    return Err(bad(format!("the bytes of the upload {id} have changed")));
                }
                uploads += u64::from(expected.is_some());
            }
            _ => return Err(bad(format!("it holds {name:?}"))),
        }
    }
    let (_copy, hashes) = hashes.ok_or_else(|| bad("it holds no database".to_owned()))?;
    let missing = hashes.count().saturating_sub(uploads);
    Ok(Verified { uploads, missing, is_old: hashes.is_old() })
}

/// Copies the database out of the archive, checks it, and opens it for the hashes of files.
fn open<R: Read>(file: &Path, reader: &mut Reader<R>, pace: &mut Pace) -> Result<(Copy, FileHashes), String> {
    // The folder of a backup may be one that can only be read.
    let name = file.file_name().unwrap_or_default();
    let beside = create_part(file).or_else(|_| create_part(&std::env::temp_dir().join(name)));
    let (path, out) = beside.map_err(|error| {
        format!("no copy of its database can be made in {} to check it: {error}", folder_of(file).display())
    })?;
    let mut copy = Copy { path, file: out };
    let text = |error: io::Error| format!("{}: {error}", file.display());
    reader.copy_to(&mut pace.writer(&mut copy.file, None)).map_err(text)?;
    let bad = |fault: store::OpenFault| format!("{} is not a good backup: {fault}", file.display());
    let hashes = store::file_hashes(&StoreOptions::new(copy.path.clone())).map_err(bad)?;
    Ok((copy, hashes))
}

/// Takes what is written into it.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hash<R: Read>(reader: &mut Reader<R>, pace: &mut Pace) -> io::Result<[u8; 32]> {
    let mut sum = Hashing(Sha256::new());
    reader.copy_to(&mut pace.writer(&mut sum, None))?;
    Ok(sum.0.finish())
}
