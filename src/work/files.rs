//! The files of uploads on disk: published, opened, removed, and cleaned up at the start.
//!
//! Owns the path of each below `UPLOADS`:
//!
//! ```text
//! tmp/<id>      being received; an orphan after a crash
//! <aa>/<id>     published; `aa` is the last byte of the id, which bounds the size of a folder
//! ```
//!
//! Files of some kinds are inspected when they are complete, before they are published (`proto::media`). Does not know
//! rows: at the start it asks the caller which files are orphans.
//! Invariant: a published file and its folder are on disk before any client learns of it, and a published file is never
//! written again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::base::crypto::Sha256;
use crate::base::id::Id;
use crate::base::open_file::{Closer, OpenFile};
use crate::model::id::UploadId;
use crate::model::job::{Done, Job, OpenedFile};
use crate::model::upload::{FileSource, InspectedFile, Inspection};
use crate::proto::media::{self, Fault};

/// Files of uploads open for sending, each once for all its readers. Above it: `Done::Busy`, 503.
const OPEN_FILES_MAX: usize = 1_024;
/// File names in one question to storage, when the start looks for files that no row refers to.
const ORPHANS_ASKED_MAX: usize = 1_024;

/// How many bytes of a file are hashed at once.
const HASH_BUFFER: usize = 65_536;

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

// ---- publishing ----------------------------------------------------------------------------------

/// Publishes received files and removes erased ones.
#[derive(Clone, Debug)]
pub struct Publisher {
    uploads: PathBuf,
    folders: Arc<Mutex<Folders>>,
}

impl Publisher {
    pub fn new(uploads: PathBuf) -> Publisher {
        Publisher { uploads, folders: Arc::default() }
    }

    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::PublishUpload { file, inspect } => self.publish(file, inspect),
            Job::RemoveFiles { files } => self.remove(&files),
            // The pools give each worker only its own kinds of job.
            _ => Done::Failed,
        }
    }

    /// The file is flushed first, then its name: a file that has a name after a power failure must be complete.
    fn publish(&self, file: UploadId, inspection: Option<Inspection>) -> Done {
        let from = temporary(&self.uploads).join(file.to_string());
        let (folder, to) = (folder_of(&self.uploads, file), published(&self.uploads, file));
        let inspected = match inspection.map(|inspection| inspect(&from, inspection)).transpose() {
            Ok(inspected) => Ok(inspected),
            Err(Fault::Refused(refused)) => {
                forget_quietly(&from);
                return Done::UploadRefused(refused);
            }
            Err(Fault::Io(error)) => Err(error),
        };
        let result = inspected.and_then(|inspected| {
            File::open(&from)?.sync_all()?;
            self.make_folder(&folder)?;
            fs::rename(&from, &to)?;
            sync_folder(&folder)?;
            Ok(inspected)
        });
        let error = match result {
            Ok(inspected) => return Done::UploadPublished { inspected },
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
struct Folders(BTreeSet<PathBuf>);

impl Folders {
    fn sync(&mut self, folder: &Path, made: bool, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
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

// ---- opening -------------------------------------------------------------------------------------

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
        let modified_ns = u64::try_from(metadata.mtime_nsec()).unwrap_or_default();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(source, Arc::downgrade(&file));
        Ok(Some(OpenedFile { file, len: metadata.len(), modified_s, modified_ns }))
    }

    fn path(&self, source: &FileSource) -> Option<PathBuf> {
        match source {
            FileSource::Upload(file) => Some(published(&self.paths.uploads, *file)),
            FileSource::DefaultImage => self.paths.default_image.clone(),
            #[cfg(feature = "conformance")]
            FileSource::Conformance(name) => self.paths.conformance.as_ref().map(|folder| folder.join(name)),
        }
    }
}

// ---- the start -----------------------------------------------------------------------------------

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    /// The `UPLOADS` folder of a test.
    struct TestUploads(Folder);

    impl TestUploads {
        fn new() -> TestUploads {
            let uploads = TestUploads(Folder::new());
            fs::create_dir_all(temporary(&uploads.0)).expect("a folder");
            uploads
        }

        fn receive(&self, file: UploadId, bytes: &[u8]) {
            fs::write(temporary(&self.0).join(file.to_string()), bytes).expect("a file");
        }

        fn put(&self, file: UploadId, bytes: &[u8]) {
            fs::create_dir_all(folder_of(&self.0, file)).expect("a folder");
            fs::write(published(&self.0, file), bytes).expect("a file");
        }

        fn opener(&self) -> Opener {
            Opener::new(FilePaths { uploads: self.0.to_path_buf(), ..FilePaths::default() }, Arc::new(drop))
        }
    }

    #[test]
    fn a_published_file_is_in_its_folder_and_nowhere_else() {
        let uploads = TestUploads::new();
        let mut publisher = Publisher::new(uploads.0.to_path_buf());
        for file in [Id::from_u128(0x1ab), Id::from_u128(0x2ab), Id::from_u128(0x300)] {
            uploads.receive(file, b"hello");
            assert!(matches!(
                publisher.run(Job::PublishUpload { file, inspect: None }),
                Done::UploadPublished { inspected: None }
            ));
            assert_eq!(fs::read(published(&uploads.0, file)).expect("a file"), b"hello");
        }
        assert!(
            published(&uploads.0, Id::from_u128(0x2ab)).starts_with(uploads.0.join("ab")),
            "the last byte of the id"
        );
        assert_eq!(entries(&temporary(&uploads.0)).expect("a folder").len(), 0);
        let mode = fs::metadata(uploads.0.join("ab")).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "no other user reads what members send");
    }

    #[test]
    fn a_folder_is_synced_until_a_sync_succeeds_and_again_after_it_is_made_again() {
        let mut folders = Folders::default();
        let folder = Path::new("uploads/ab");
        // Whether it was made, the result of a sync, whether a sync is expected.
        for (made, result, expected) in [
            (true, Err(()), true),
            (false, Err(()), true),
            (false, Ok(()), true),
            (false, Err(()), false),
            (true, Err(()), true),
            (false, Ok(()), true),
            (false, Err(()), false),
        ] {
            let mut synced = false;
            let done = folders.sync(folder, made, || {
                synced = true;
                result.map_err(|()| io::Error::other("a disk"))
            });
            assert_eq!((synced, done.is_ok()), (expected, !expected || result.is_ok()));
        }
        assert!(folders.sync(Path::new("uploads/ac"), false, || Err(io::Error::other("a disk"))).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_published_is_removed() {
        let uploads = TestUploads::new();
        let mut publisher = Publisher::new(uploads.0.to_path_buf());
        assert!(
            matches!(
                publisher.run(Job::PublishUpload { file: Id::from_u128(1), inspect: None }),
                Done::Failed
            ),
            "never received"
        );
        // A file has the name that its folder needs.
        fs::write(uploads.0.join("02"), b"").expect("a file");
        uploads.receive(Id::from_u128(2), b"hello");
        assert!(matches!(
            publisher.run(Job::PublishUpload { file: Id::from_u128(2), inspect: None }),
            Done::Failed
        ));
        assert_eq!(entries(&temporary(&uploads.0)).expect("a folder").len(), 0);
    }

    #[test]
    fn a_removal_is_done_when_no_file_is_left() {
        let uploads = TestUploads::new();
        let mut publisher = Publisher::new(uploads.0.to_path_buf());
        uploads.put(Id::from_u128(1), b"hello");
        let remove = || Job::RemoveFiles { files: vec![Id::from_u128(1), Id::from_u128(2)] };
        assert!(
            matches!(publisher.run(remove()), Done::FilesRemoved),
            "a file that does not exist counts as removed"
        );
        assert!(!published(&uploads.0, Id::from_u128(1)).exists());
        assert!(matches!(publisher.run(remove()), Done::FilesRemoved));
        fs::create_dir_all(published(&uploads.0, Id::from_u128(2))).expect("a folder where a file should be");
        assert!(matches!(publisher.run(remove()), Done::Failed), "and the next run tries again");
    }

    #[test]
    fn a_file_is_open_once_however_many_read_it() {
        let uploads = TestUploads::new();
        uploads.put(Id::from_u128(1), b"hello");
        let mut opener = uploads.opener();
        let mut open = |source| opener.run(Job::OpenFile { source });
        let Done::FileOpened(first) = open(FileSource::Upload(Id::from_u128(1))) else { panic!("a file") };
        // Connections that have it open read it to its end, even after its name is removed.
        fs::remove_file(published(&uploads.0, Id::from_u128(1))).expect("removed");
        let Done::FileOpened(second) = open(FileSource::Upload(Id::from_u128(1))) else {
            panic!("the same file")
        };
        assert!(Arc::ptr_eq(&first.file, &second.file));
        assert_eq!((first.len, second.len), (5, 5));
        drop((first, second));
        assert!(
            matches!(open(FileSource::Upload(Id::from_u128(1))), Done::NoFile),
            "no connection has it open any more"
        );
        assert!(matches!(open(FileSource::Upload(Id::from_u128(2))), Done::NoFile));
        assert!(matches!(open(FileSource::DefaultImage), Done::NoFile), "there is none");
        fs::create_dir_all(published(&uploads.0, Id::from_u128(3))).expect("a folder");
        assert!(matches!(open(FileSource::Upload(Id::from_u128(3))), Done::NoFile), "a folder is not a file");
    }

    #[test]
    fn open_files_have_a_bound_and_the_operators_file_may_be_replaced() {
        let uploads = TestUploads::new();
        let picture = uploads.0.join("picture.png");
        fs::write(&picture, b"old").expect("a file");
        let paths = FilePaths {
            uploads: uploads.0.to_path_buf(),
            default_image: Some(picture.clone()),
            conformance: None,
        };
        let opener = Opener::new(paths, Arc::new(drop));
        let open = |source| opener.clone().run(Job::OpenFile { source });
        let Done::FileOpened(old) = open(FileSource::DefaultImage) else { panic!("a file") };
        fs::write(uploads.0.join("new"), b"newer").expect("a file");
        fs::rename(uploads.0.join("new"), &picture).expect("replaced");
        let Done::FileOpened(new) = open(FileSource::DefaultImage) else { panic!("a file") };
        assert_eq!((old.len, new.len), (3, 5));
        // As many names of one file as files may be open.
        uploads.put(Id::from_u128(0), b"hello");
        let upload = |n: usize| Id::from_u128((n as u128) << 8);
        (1..=OPEN_FILES_MAX).for_each(|n| {
            symlink(published(&uploads.0, Id::from_u128(0)), published(&uploads.0, upload(n)))
                .expect("a link");
        });
        let mut held: Vec<Done> = (1..OPEN_FILES_MAX).map(|n| open(FileSource::Upload(upload(n)))).collect();
        assert!(held.iter().all(|done| matches!(done, Done::FileOpened(_))));
        assert!(matches!(open(FileSource::Upload(upload(OPEN_FILES_MAX))), Done::Busy));
        assert!(
            matches!(open(FileSource::Upload(upload(1))), Done::FileOpened(_)),
            "that one is open already"
        );
        held.pop();
        assert!(matches!(open(FileSource::Upload(upload(OPEN_FILES_MAX))), Done::FileOpened(_)));
    }

    #[test]
    fn the_start_removes_files_that_no_row_refers_to_and_no_others() {
        let uploads = TestUploads::new();
        let (known, orphan) = (Id::from_u128(0x1aa), Id::from_u128(0x2aa));
        uploads.receive(Id::from_u128(7), b"half");
        uploads.put(known, b"known");
        uploads.put(orphan, b"orphan");
        fs::write(uploads.0.join("aa/notes.txt"), b"an operator's").expect("a file");
        fs::write(uploads.0.join("readme"), b"an operator's").expect("a file");
        let swept = sweep(&uploads.0, |files| -> io::Result<_> {
            Ok(Some(files.into_iter().filter(|file| *file != known).collect()))
        });
        assert_eq!(swept.expect("swept"), Swept { temporary: 1, orphans: 1, foreign: 0 });
        assert!(published(&uploads.0, known).exists() && !published(&uploads.0, orphan).exists());
        assert!(uploads.0.join("aa/notes.txt").exists() && uploads.0.join("readme").exists());
        // A database that knows of no upload at all is more likely the wrong database.
        let swept = sweep(&uploads.0, |_| -> io::Result<_> { Ok(None) });
        assert_eq!(swept.expect("swept"), Swept { temporary: 0, orphans: 0, foreign: 1 });
        assert!(published(&uploads.0, known).exists());
        // Nothing is removed because of a database that can't be read.
        let failed = sweep(&uploads.0, |_| Err::<Option<Vec<UploadId>>, _>(io::Error::other("no database")));
        assert!(failed.is_err() && published(&uploads.0, known).exists());
        let nowhere = sweep(&uploads.0.join("nowhere"), |_| -> io::Result<_> { Ok(None) });
        assert_eq!(nowhere.expect("nothing there"), Swept::default());
    }
}
