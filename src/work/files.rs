//! The files of uploads: published, opened, removed, and swept at the start. Owns where each stands below `UPLOADS`:
//!
//! ```text
//! tmp/<id>      being received; nobody's after a crash
//! <aa>/<id>     published; `aa` is the last byte of the id, so that no folder grows without end
//! ```
//! Refuses to judge bytes and to know of rows, but for one question at the start. Invariant: a published file and the
//! folder it stands in are on disk before anybody hears of it, and a file is never written again.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::base::id::Id;
use crate::limits::{OPEN_FILES_MAX, ORPHANS_ASKED_MAX};
use crate::model::job::{Done, Job, OpenedFile};
use crate::model::upload::FilePlace;

/// Where a published file stands.
fn published(uploads: &Path, file: Id) -> PathBuf {
    folder_of(uploads, file).join(file.to_string())
}

fn folder_of(uploads: &Path, file: Id) -> PathBuf {
    uploads.join(format!("{:02x}", file.0 as u8))
}

fn temporary(uploads: &Path) -> PathBuf {
    uploads.join("tmp")
}

// ---- publishing ----------------------------------------------------------------------------------

/// Publishes received files and removes erased ones.
#[derive(Clone, Debug)]
pub struct Publisher {
    uploads: PathBuf,
}

impl Publisher {
    pub fn new(uploads: PathBuf) -> Publisher {
        Publisher { uploads }
    }

    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::PublishUpload { file } => self.publish(file),
            Job::RemoveFiles { files } => self.remove(&files),
            // The pools hand each kind of job to its own craft.
            _ => Done::Failed,
        }
    }

    /// The file first, then its name: what a folder names after a power cut must be whole.
    fn publish(&self, file: Id) -> Done {
        let from = temporary(&self.uploads).join(file.to_string());
        let (folder, to) = (folder_of(&self.uploads, file), published(&self.uploads, file));
        let result = File::open(&from)
            .and_then(|bytes| bytes.sync_all())
            .and_then(|()| make_folder(&self.uploads, &folder))
            .and_then(|()| fs::rename(&from, &to))
            .and_then(|()| sync_folder(&folder));
        let Err(error) = result else { return Done::UploadPublished };
        log::error!("publishing an upload: {error}");
        for path in [from, to] {
            forget_quietly(&path);
        }
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Done::DiskFull,
            _ => Done::Failed,
        }
    }

    fn remove(&self, files: &[Id]) -> Done {
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

fn make_folder(uploads: &Path, folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync_folder(uploads),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// On the way out of a failure that was already reported; the next start sweeps what stays.
fn forget_quietly(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => log::warn!("a file stays behind: {error}"),
        _ => {}
    }
}

// ---- opening -------------------------------------------------------------------------------------

/// Where the files to be sent stand.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub uploads: PathBuf,
    pub default_image: Option<PathBuf>,
    pub conformance: Option<PathBuf>,
}

/// Opens files to be sent: each once, however many connections read it, since a piece is read at an offset.
#[derive(Clone)]
pub struct Opener {
    places: Arc<Places>,
    open: Arc<Mutex<BTreeMap<FilePlace, Weak<File>>>>,
}

impl Opener {
    pub fn new(places: Places) -> Opener {
        Opener { places: Arc::new(places), open: Arc::default() }
    }

    pub fn run(&mut self, job: Job) -> Done {
        let Job::OpenFile { place } = job else { return Done::Failed };
        match self.open(place) {
            Ok(Some(opened)) => Done::FileOpened(opened),
            Ok(None) => Done::Busy,
            Err(error) if error.kind() == ErrorKind::NotFound => Done::NoFile,
            Err(error) => {
                log::error!("opening a file to be sent: {error}");
                Done::Failed
            }
        }
    }

    /// `None` when too many are open.
    fn open(&self, place: FilePlace) -> io::Result<Option<OpenedFile>> {
        let path = self.path(&place).ok_or(ErrorKind::NotFound)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.get(&place).and_then(Weak::upgrade);
        if known.is_none() && open.len() >= OPEN_FILES_MAX {
            open.retain(|_, file| file.strong_count() > 0);
            if open.len() >= OPEN_FILES_MAX {
                return Ok(None);
            }
        }
        drop(open); // a cold disk must not hold up the other thread
        let file = match known {
            // A file of ours never changes; another may have been replaced.
            Some(file) if matches!(place, FilePlace::Upload(_)) => file,
            _ => Arc::new(File::open(path)?),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let modified_s = u64::try_from(metadata.mtime()).unwrap_or_default();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(place, Arc::downgrade(&file));
        Ok(Some(OpenedFile { file, len: metadata.len(), modified_s }))
    }

    fn path(&self, place: &FilePlace) -> Option<PathBuf> {
        match place {
            FilePlace::Upload(file) => Some(published(&self.places.uploads, *file)),
            FilePlace::DefaultImage => self.places.default_image.clone(),
            #[cfg(feature = "conformance")]
            FilePlace::Conformance(name) => self.places.conformance.as_ref().map(|folder| folder.join(name)),
        }
    }
}

// ---- the start -----------------------------------------------------------------------------------

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files that were being received.
    pub temporary: usize,
    /// Published files whose row was never written, or is gone.
    pub orphans: usize,
    /// Published files left alone, since the database knows of none at all.
    pub foreign: usize,
}

/// Removes what a crash left behind; before the server runs. `orphans` answers which of the named files no row refers to,
/// `None` where no file is known.
pub fn sweep<E: From<io::Error>>(
    uploads: &Path,
    mut orphans: impl FnMut(Vec<Id>) -> Result<Option<Vec<Id>>, E>,
) -> Result<Swept, E> {
    let mut swept = Swept::default();
    for file in entries(&temporary(uploads))? {
        fs::remove_file(file)?;
        swept.temporary += 1;
    }
    for byte in 0..=u8::MAX {
        let folder = uploads.join(format!("{byte:02x}"));
        let named = |path: &PathBuf| path.file_name()?.to_str().and_then(Id::parse);
        let files: Vec<Id> = entries(&folder)?.iter().filter_map(named).collect();
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

/// The files of a folder; none where there is no folder.
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
