//! Opens files to be sent.
//!
//! Owns which files are open. Invariant: a file of an upload is open once, however many connections read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::published;
use crate::base::open_file::{Closer, OpenFile};
use crate::model::job::{Done, Job, OpenedFile};
use crate::model::upload::FileSource;
use crate::work::file_version::FileVersion;

/// Files of uploads open for sending, each once for all its readers. Above it: `Done::Busy`, 503.
pub(super) const OPEN_FILES_MAX: usize = 1_024;

/// The paths of the files to be sent.
#[derive(Clone, Debug, Default)]
pub struct FilePaths {
    pub uploads: PathBuf,
    pub default_image: Option<PathBuf>,
    pub conformance: Option<PathBuf>,
}

/// Opens files to be sent. Each is open once, however many connections read it, since a segment is read at an offset.
#[derive(Clone)]
pub struct Opener {
    paths: Arc<FilePaths>,
    closer: Closer,
    open: Arc<Mutex<BTreeMap<FileSource, Weak<OpenFile>>>>,
}

impl Opener {
    /// `closer` closes files without readers: the last reader is the event loop, which must not wait for a close.
    pub fn new(paths: FilePaths, closer: Closer) -> Opener {
        Opener { paths: Arc::new(paths), closer, open: Arc::default() }
    }

    pub fn run(&mut self, job: Job) -> Done {
        let Job::OpenFile { source } = job else { return Done::Failed };
        match self.open(source) {
            Ok(Some(opened)) => Done::FileOpened(opened),
            Ok(None) => Done::Busy,
            Err(error) if error.kind() == ErrorKind::NotFound => Done::NoFile,
            Err(error) => {
                log::error!("opening a file to be sent: {error}");
                Done::Failed
            }
        }
    }

    /// `None` if too many are open.
    fn open(&self, source: FileSource) -> io::Result<Option<OpenedFile>> {
        let path = self.path(&source).ok_or(ErrorKind::NotFound)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.get(&source).and_then(Weak::upgrade);
        if known.is_none() && open.len() >= OPEN_FILES_MAX {
            open.retain(|_, file| file.strong_count() > 0);
            if open.len() >= OPEN_FILES_MAX {
                return Ok(None);
            }
        }
        drop(open); // a slow disk must not block the other thread
        let file = match known {
            // An uploaded file never changes; a file of the operator may have been replaced.
            Some(file) if matches!(source, FileSource::Upload(_)) => file,
            _ => Arc::new(OpenFile::new(File::open(path)?, Arc::clone(&self.closer))),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let modified_s = u64::try_from(metadata.mtime()).unwrap_or_default();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(source, Arc::downgrade(&file));
        Ok(Some(OpenedFile { file, len: metadata.len(), modified_s, tag: FileVersion::of(&metadata).tag() }))
    }

    fn path(&self, source: &FileSource) -> Option<PathBuf> {
        match source {
            FileSource::Upload(file) => Some(published(&self.paths.uploads, *file)),
            FileSource::DefaultImage => self.paths.default_image.clone(),
            FileSource::Conformance(name) => self.paths.conformance.as_ref().map(|folder| folder.join(name)),
        }
    }
}
