//! Files are published, opened, removed and swept, on a real file system.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::open::OPEN_FILES_MAX;
use super::publish::Folders;
use super::*;
use crate::base::id::Id;
use crate::base::testing::Folder;
use crate::base::time::UnixMs;
use crate::model::id::UploadId;
use crate::model::job::{Done, Job, Received};
use crate::model::upload::FileSource;

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
            publisher.run(Job::PublishUpload {
                file,
                inspect: None,
                received: Box::new(Received { owner: Id::from_u128(1), sha256: [0; 32] })
            }),
            Done::UploadPublished { inspected: None, given: 0 }
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
            publisher.run(Job::PublishUpload {
                file: Id::from_u128(1),
                inspect: None,
                received: Box::new(Received { owner: Id::from_u128(1), sha256: [0; 32] })
            }),
            Done::Failed
        ),
        "never received"
    );
    // A file has the name that its folder needs.
    fs::write(uploads.0.join("02"), b"").expect("a file");
    uploads.receive(Id::from_u128(2), b"hello");
    assert!(matches!(
        publisher.run(Job::PublishUpload {
            file: Id::from_u128(2),
            inspect: None,
            received: Box::new(Received { owner: Id::from_u128(1), sha256: [0; 32] })
        }),
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
        symlink(published(&uploads.0, Id::from_u128(0)), published(&uploads.0, upload(n))).expect("a link");
    });
    let mut held: Vec<Done> = (1..OPEN_FILES_MAX).map(|n| open(FileSource::Upload(upload(n)))).collect();
    assert!(held.iter().all(|done| matches!(done, Done::FileOpened(_))));
    assert!(matches!(open(FileSource::Upload(upload(OPEN_FILES_MAX))), Done::Busy));
    assert!(matches!(open(FileSource::Upload(upload(1))), Done::FileOpened(_)), "that one is open already");
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
    let swept = sweep(&uploads.0, None, |files| -> io::Result<_> {
        Ok(Some(files.into_iter().filter(|file| *file != known).collect()))
    });
    assert_eq!(swept.expect("swept"), Swept { temporary: 1, orphans: 1, foreign: 0 });
    assert!(published(&uploads.0, known).exists() && !published(&uploads.0, orphan).exists());
    assert!(uploads.0.join("aa/notes.txt").exists() && uploads.0.join("readme").exists());
    // A database that knows of no upload at all is more likely the wrong database.
    let swept = sweep(&uploads.0, None, |_| -> io::Result<_> { Ok(None) });
    assert_eq!(swept.expect("swept"), Swept { temporary: 0, orphans: 0, foreign: 1 });
    assert!(published(&uploads.0, known).exists());
    // Nothing is removed because of a database that can't be read.
    let failed =
        sweep(&uploads.0, None, |_| Err::<Option<Vec<UploadId>>, _>(io::Error::other("no database")));
    assert!(failed.is_err() && published(&uploads.0, known).exists());
    let nowhere = sweep(&uploads.0.join("nowhere"), None, |_| -> io::Result<_> { Ok(None) });
    assert_eq!(nowhere.expect("nothing there"), Swept::default());
}

#[test]
fn a_file_of_another_node_is_old_before_it_is_an_orphan() {
    let uploads = TestUploads::new();
    let files: Vec<UploadId> = [0x1aa, 0x2aa, 0x3aa, 0x4ab].map(Id::from_u128).to_vec();
    files.iter().for_each(|file| uploads.put(*file, b"bytes"));
    let written = |file: UploadId, ms: u64| {
        let opened = fs::File::options().write(true).open(published(&uploads.0, file)).expect("a file");
        opened.set_modified(std::time::UNIX_EPOCH + Duration::from_millis(ms)).expect("a time");
    };
    files.iter().zip([999, 1_000, 500, 500]).for_each(|(file, ms)| written(*file, ms));
    let found = |after, before| old_files(&uploads.0, 0xaa, after, UnixMs(before)).expect("a folder");
    assert_eq!(found(Id::default(), 1_000), [files[0], files[2]]);
    assert_eq!(found(files[0], 1_001), [files[1], files[2]]);
    assert_eq!(found(files[2], 1_001), []);
    assert_eq!(found(Id::default(), 500), []);
    let swept = sweep(&uploads.0, Some(UnixMs(1_000)), |files| -> io::Result<_> { Ok(Some(files)) });
    assert_eq!(swept.expect("swept"), Swept { temporary: 0, orphans: 3, foreign: 0 });
    assert!(published(&uploads.0, files[1]).exists(), "its row may still come");
}
