//! Publishes received files, removes erased ones, and finds those that another node of a cluster has.
//!
//! Owns which folders are known to be on disk. Leaves the copy on a second node of a cluster to `work::copies`.
//! Invariant: a file and its folder are on disk before a publication is answered, in a cluster also on another node, and a received file
//! that is refused is gone.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{folder_of, old_files, published, temporary};
use crate::base::crypto::Sha256;
use crate::model::id::UploadId;
use crate::model::job::{Done, Job, KeptCopies};
use crate::model::upload::{InspectedFile, Inspection, KeptFile};
use crate::proto::media::{self, Fault};
#[cfg(feature = "cluster")]
use crate::work::copies::{Copies, NotCopied};

/// How many bytes of a file are hashed at once.
const HASH_BUFFER: usize = 65_536;

/// Publishes received files and removes erased ones.
#[derive(Clone)]
pub struct Publisher {
    uploads: PathBuf,
    folders: Arc<Mutex<Folders>>,
    /// Of a node of a cluster.
    #[cfg(feature = "cluster")]
    copies: Option<Copies>,
}

impl Publisher {
    pub fn new(uploads: PathBuf) -> Publisher {
        Publisher {
            uploads,
            folders: Arc::default(),
            #[cfg(feature = "cluster")]
            copies: None,
        }
    }

    /// One that gives each file to another node, too.
    #[cfg(feature = "cluster")]
    pub fn with_copies(self, copies: Copies) -> Publisher {
        Publisher { copies: Some(copies), ..self }
    }

    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::PublishUpload { file, inspect, received } => self.publish(file, inspect, received.sha256),
            Job::RemoveFiles { files } => self.remove(&files),
            Job::FindOldFiles { folder, after, before } => {
                match old_files(&self.uploads, folder, after, before) {
                    Ok(files) => Done::FilesFound(files),
                    Err(error) => {
                        log::error!("looking for files of uploads: {error}");
                        Done::Failed
                    }
                }
            }
            #[cfg(feature = "cluster")]
            Job::FetchFile { file, size, sha256 } => {
                match self.copies.as_ref().map(|copies| copies.fetch(file, size, sha256)) {
                    Some(Ok(bytes)) => Done::FileFetched { bytes },
                    Some(Err(NotCopied)) | None => Done::NotFetched,
                }
            }
            Job::KeepCopies { files } => Done::CopiesKept(self.keep(&files)),
            // The pools give each worker only its own kinds of job.
            _ => Done::Failed,
        }
    }

    /// The file is flushed first, then its name: a file that has a name after a power failure must be complete.
    fn publish(&self, file: UploadId, inspection: Option<Inspection>, received: [u8; 32]) -> Done {
        let from = temporary(&self.uploads).join(file.to_string());
        let to = self.path(file);
        let inspected = match inspection.map(|inspection| inspect(&from, inspection)).transpose() {
            Ok(inspected) => Ok(inspected),
            Err(Fault::Refused(refused)) => {
                forget_quietly(&from);
                return Done::UploadRefused(refused);
            }
            Err(Fault::Io(error)) => Err(error),
        };
        let result = inspected.and_then(|inspected| self.put_in_place(&from, file).map(|()| inspected));
        let error = match result {
            Ok(inspected) => {
                let sha256 = inspected.and_then(|inspected| inspected.sha256).unwrap_or(received);
                if let Some(given) = self.give(file, sha256) {
                    return Done::UploadPublished { inspected: inspected.map(Box::new), given };
                }
                forget_quietly(&to);
                return Done::NotGiven;
            }
            Err(error) => error,
        };
        log::error!("publishing an upload: {error}");
        for path in [from, to] {
            forget_quietly(&path);
        }
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Done::DiskFull,
            _ => Done::Failed,
        }
    }

    /// Syncs a complete file and gives it its name.
    pub(in crate::work) fn put_in_place(&self, from: &Path, file: UploadId) -> io::Result<()> {
        let folder = folder_of(&self.uploads, file);
        File::open(from)?.sync_all()?;
        self.make_folder(&folder)?;
        fs::rename(from, self.path(file))?;
        sync_folder(&folder)
    }

    /// The path of a published file.
    pub(in crate::work) fn path(&self, file: UploadId) -> PathBuf {
        published(&self.uploads, file)
    }

    /// A path for a file that comes from another node. The number is of this transfer: two may be under way.
    #[cfg(feature = "cluster")]
    pub(in crate::work) fn temporary(&self, file: UploadId, number: u64) -> PathBuf {
        temporary(&self.uploads).join(format!("{file}.{number}"))
    }

    /// How many bytes another node has taken, if the file is on as many machines as it must be.
    #[cfg(feature = "cluster")]
    fn give(&self, file: UploadId, sha256: [u8; 32]) -> Option<u64> {
        self.copies.as_ref().map_or(Ok(0), |copies| copies.give(file, sha256)).ok()
    }

    #[cfg(feature = "cluster")]
    fn keep(&self, files: &[KeptFile]) -> KeptCopies {
        self.copies.as_ref().map_or_else(KeptCopies::default, |copies| copies.keep(files))
    }

    #[cfg(not(feature = "cluster"))]
    fn keep(&self, _: &[KeptFile]) -> KeptCopies {
        KeptCopies::default()
    }

    #[cfg(not(feature = "cluster"))]
    fn give(&self, _: UploadId, _: [u8; 32]) -> Option<u64> {
        Some(0)
    }

    /// One thread at a time, so that no thread publishes into a folder whose name another one still syncs.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        folders.sync(folder, made, || sync_folder(&self.uploads))
    }

    fn remove(&self, files: &[UploadId]) -> Done {
        for file in files {
            match fs::remove_file(published(&self.uploads, *file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    log::error!("removing a file of an upload: {error}");
                    return Done::Failed;
                }
                _ => {}
            }
        }
        Done::FilesRemoved
    }
}

/// Inspects and cleans a complete file at its temporary path. Nothing else refers to it yet.
fn inspect(path: &Path, inspection: Inspection) -> Result<InspectedFile, Fault> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let found = media::inspect(&mut file, inspection.kind, inspection.rules)?;
    if file.metadata()?.len() > found.len {
        file.set_len(found.len)?;
    }
    let sha256 = if found.changed { Some(hash(&mut file)?) } else { None };
    Ok(InspectedFile { mime: found.kind.mime(), pixels: found.pixels, sha256, size: found.len })
}

fn hash(file: &mut File) -> io::Result<[u8; 32]> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; HASH_BUFFER]);
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// The folders whose names are known to be on disk. A folder is unknown if its sync failed, or if an earlier process made
/// it and may not have synced it: the next publication there syncs first.
#[derive(Debug, Default)]
pub(super) struct Folders(BTreeSet<PathBuf>);

impl Folders {
    pub(super) fn sync(
        &mut self,
        folder: &Path,
        made: bool,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if made {
            self.0.remove(folder);
        }
        if !self.0.contains(folder) {
            sync()?;
            self.0.insert(folder.to_owned());
        }
        Ok(())
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Used after a failure that was already reported. The next start removes what is left.
fn forget_quietly(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            log::warn!("a temporary file could not be removed; the next start tries again: {error}")
        }
        _ => {}
    }
}
