//! Tests of the files of uploads: appends, publication, removal, and what a failing disk leaves.

use super::*;
use crate::base::crypto::sha256;
use crate::base::id::Id;
use crate::runtime::testing::{self, Folder, PATIENCE};
use mio::Poll;
use std::time::Instant;

const APPENDS_MAX: usize = 16 << 20;

struct Fixture {
    _poll: Poll,
    inbox: Arc<Inbox>,
    disk: Disk,
    uploads: Folder,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with_space_for_database(0)
    }

    fn with_space_for_database(bytes: u64) -> Fixture {
        let (poll, inbox) = testing::inbox();
        let uploads = Folder::new();
        let background = Background::new(Arc::clone(&inbox));
        let database_space = DatabaseSpace { data: uploads.to_path_buf(), bytes };
        let disk = Disk::start(&uploads, &database_space, APPENDS_MAX, &inbox, &background)
            .expect("a folder and threads");
        Fixture { _poll: poll, inbox, disk, uploads }
    }

    fn path(&self, upload: UploadId) -> PathBuf {
        self.uploads.join("tmp").join(upload.to_string())
    }

    /// The results of the next `count` completions.
    fn results(&mut self, count: usize) -> Vec<(UploadId, Written)> {
        self.disk.push_staged();
        let (mut results, mut taken) = (Vec::new(), Vec::new());
        let end = Instant::now() + PATIENCE;
        while results.len() < count {
            assert!(Instant::now() < end);
            self.inbox.take(&mut taken);
            for completion in taken.drain(..) {
                let Completion::Upload { upload, bytes, result } = completion else { panic!("an upload") };
                self.disk.appended(upload, bytes, result);
                results.push((upload, result));
            }
            std::thread::yield_now();
        }
        results
    }

    fn close(mut self) {
        self.disk.close().into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

#[test]
fn appends_reach_their_files_in_order_and_abandoned_files_are_gone() {
    let mut fixture = Fixture::new();
    let uploads = [Id::from_u128(1), Id::from_u128(2)];
    for round in 0..100_u8 {
        uploads.iter().for_each(|upload| assert!(fixture.disk.append(*upload, vec![round; 3], round == 99)));
    }
    let expect: Vec<u8> = (0..100).flat_map(|round| [round; 3]).collect();
    let results = fixture.results(200);
    let hashed = |sha256| results.iter().filter(|(_, it)| *it == Written::Stored { sha256 }).count();
    assert_eq!((hashed(None), hashed(Some(sha256(&expect)))), (198, 2), "with the last bytes of each");
    for upload in uploads {
        assert_eq!(fs::read(fixture.path(upload)).expect("a file"), expect);
    }
    fixture.disk.abandon(uploads[0]);
    assert!(fixture.disk.thread_by_upload.is_empty() && fixture.disk.loads == [0; APPEND_THREADS]);
    // The removal keeps its order after appends that are still in progress.
    let third = Id::from_u128(3);
    (0..50).for_each(|_| assert!(fixture.disk.append(third, vec![3; 1_000], false)));
    assert_eq!(fixture.disk.loads.iter().sum::<usize>(), 1);
    fixture.disk.abandon(third);
    assert_eq!(fixture.results(50).len(), 50);
    let path = fixture.path(uploads[0]);
    let third = fixture.path(third);
    let kept = fixture.path(uploads[1]);
    fixture.disk.close().into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert!(!path.exists() && !third.exists() && kept.exists());
    fixture.close();
}

#[test]
fn after_a_failure_the_rest_is_dropped_until_the_upload_is_abandoned() {
    let mut fixture = Fixture::new();
    let upload = Id::from_u128(7);
    // A link in the upload's path makes the open fail: nothing is written through it.
    std::os::unix::fs::symlink("/dev/null", fixture.path(upload)).expect("a link");
    (0..3).for_each(|_| assert!(fixture.disk.append(upload, b"x".to_vec(), true)));
    let failed = (upload, Written::Failed { full: false });
    assert_eq!(fixture.results(3), [failed, (upload, Written::Dropped), (upload, Written::Dropped)]);
    fixture.disk.abandon(upload);
    assert!(fixture.disk.append(upload, b"x".to_vec(), true));
    assert_eq!(
        fixture.results(1),
        [(upload, Written::Stored { sha256: Some(sha256(b"x")) })],
        "the link is removed, not its target"
    );
    fixture.close();
}

#[test]
fn a_full_disk_is_distinguished_from_other_errors() {
    // A device that is always full (full(4)). No upload can be opened there, because links are not followed.
    let mut file = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    assert!(is_full(&file.write_all(b"x").expect_err("no space")));
    let missing = File::open("/dev/null/nothing").expect_err("no folder");
    assert!(!is_full(&missing));
}

#[test]
fn what_the_database_needs_is_refused_like_a_full_disk() {
    let mut fixture = Fixture::with_space_for_database(u64::MAX);
    let upload = Id::from_u128(1);
    for last in [false, true] {
        assert!(fixture.disk.append(upload, b"x".to_vec(), last));
    }
    // The second append is of an upload that has failed.
    assert_eq!(fixture.results(2), [(upload, Written::Failed { full: true }), (upload, Written::Dropped)]);
    assert!(!fixture.path(upload).exists());
    fixture.close();
}

#[test]
fn an_uploads_folder_that_came_back_empty_is_used_again() {
    let mut fixture = Fixture::new();
    let (first, second, third) = (Id::from_u128(1), Id::from_u128(2), Id::from_u128(3));
    let uploads = fixture.uploads.to_path_buf();
    fs::remove_dir_all(&uploads).expect("gone");
    assert!(fixture.disk.append(first, b"x".to_vec(), true));
    assert_eq!(fixture.results(1), [(first, Written::Failed { full: false })]);
    assert!(!uploads.exists(), "not created: the volume may be mounted later");
    fs::create_dir(&uploads).expect("it came back");
    for upload in [second, third] {
        assert!(fixture.disk.append(upload, b"x".to_vec(), true));
    }
    let all = fixture.results(2);
    assert!(all.iter().all(|(_, it)| *it == Written::Stored { sha256: Some(sha256(b"x")) }), "{all:?}");
    fixture.close();
}

#[test]
fn queued_bytes_have_a_bound_and_a_refused_upload_stays_refused() {
    let mut fixture = Fixture::new();
    let (first, second) = (Id::from_u128(1), Id::from_u128(2));
    let block = vec![0; 1_048_576 - APPEND_COST];
    let blocks = APPENDS_MAX / 1_048_576;
    (0..blocks).for_each(|_| assert!(fixture.disk.append(first, block.clone(), false)));
    assert!(!fixture.disk.append(second, Vec::new(), false));
    fixture.results(blocks);
    assert!(!fixture.disk.append(second, Vec::new(), false), "a gap in its file is worse than its end");
    assert!(fixture.disk.append(first, block, false));
    fixture.disk.abandon(second);
    assert!(fixture.disk.append(second, Vec::new(), false));
    fixture.results(2);
    fixture.close();
}
