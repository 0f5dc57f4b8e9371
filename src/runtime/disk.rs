//! The disk's threads: uploads being received, and files read ahead of their sockets.
//! Owns the temporary files and their hashes until they are published or abandoned; refuses to judge, sync or publish them.
//! Invariant: an upload's bytes reach its file in order or not at all: after one failure the rest of it is dropped.
//!
//! Hashing stands here because it is what an upload costs (2.5 to 5 ms of a core for each MiB where the processor has no
//! instructions for SHA-256): on the loop's thread everybody's messages would wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::background::Background;
use super::inbox::{Completion, Inbox, Piece, Written};
use super::kernel;
use super::queue::{Producer, Queue, Taken};
use super::threads::{Thread, spawn};
use crate::base::crypto::Sha256;
use crate::base::no_follow::NO_FOLLOW;
use crate::model::metrics::ErrorKind;
use crate::server::contract::{ConnId, UploadId};

/// Threads that write and hash uploads: an upload stays with one of them, and one upload must not stand before all others.
const APPEND_THREADS: usize = 2;
/// Bytes of an upload after which the disk is asked to begin with them, so that the sync at the end has less to wait for.
const WRITE_BEHIND: usize = 1_048_576;
/// Bytes of uploads on their way to their files. Beyond: that upload fails, retry; the disk is slower than the senders.
const APPEND_BYTES_MAX: usize = 16_777_216;
/// What an append costs beside its bytes, in that bound: many tiny ones must not be free.
const APPEND_COST: usize = 256;
/// Uploads remembered as failed until they are abandoned. Beyond: the oldest is forgotten.
const UPLOADS_FAILED_MAX: usize = 16_384;
/// Bytes a thread reads at once into its buffer, which stays in the processor's cache.
const PIECE_SCRATCH: usize = 65_536;
/// Pieces being read. Beyond: the connection waits its turn.
const PIECES_IN_FLIGHT_MAX: usize = 32;
/// Connections waiting their turn. Beyond (a disk that hangs, while peers come and go): closed.
const PIECES_WAITING_MAX: usize = 16_384;
/// Threads that read pieces: a cold read must not stand before all others.
const PIECE_THREADS: usize = 2;

enum Item {
    Append { upload: UploadId, bytes: Vec<u8>, last: bool },
    Abandon(UploadId),
}

struct Wanted {
    conn: ConnId,
    file: Arc<File>,
    offset: u64,
    len: usize,
}

/// The loop's end.
pub struct Disk {
    /// A queue for each thread: an upload's items all go to the same.
    appends: Vec<Producer<Item>>,
    /// Which, for those under way: at first the one with the fewest.
    placed: BTreeMap<UploadId, usize>,
    /// How many uploads each has.
    loads: [usize; APPEND_THREADS],
    /// Bytes handed over and not yet written.
    bytes: usize,
    /// Uploads that met a full queue.
    refused: Failed,
    pieces: Producer<Wanted>,
    /// Connections whose piece found no place; each once, by `Socket::piece_under_way`.
    waiting: VecDeque<ConnId>,
    threads: Vec<Thread>,
}

impl Disk {
    /// `uploads` is the folder of the setting UPLOADS; its `tmp` is made when missing.
    pub fn start(uploads: &Path, inbox: &Arc<Inbox>, background: &Background) -> io::Result<Disk> {
        let folder = uploads.join("tmp");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let pieces = Producer::new(PIECES_IN_FLIGHT_MAX);
        let mut threads = Vec::with_capacity(APPEND_THREADS + PIECE_THREADS);
        let mut appends = Vec::with_capacity(APPEND_THREADS);
        for _ in 0..APPEND_THREADS {
            let receiver = Receiver {
                folder: folder.clone(),
                hashes: BTreeMap::new(),
                failed: Failed::default(),
                inbox: Arc::clone(inbox),
                background: background.clone(),
            };
            let feed = Producer::new(0); // bounded by bytes, not by number: see `append`
            let queue = feed.queue();
            threads.push(spawn("uploads", inbox, move || receiver.run(&queue))?);
            appends.push(feed);
        }
        for _ in 0..PIECE_THREADS {
            let (queue, answers) = (pieces.queue(), Arc::clone(inbox));
            threads.push(spawn("files", inbox, move || read_until_closed(&queue, &answers))?);
        }
        let (refused, waiting) = (Failed::default(), VecDeque::new());
        let (placed, loads) = (BTreeMap::new(), [0; APPEND_THREADS]);
        Ok(Disk { appends, placed, loads, bytes: 0, refused, pieces, waiting, threads })
    }

    /// The one thread where this upload's items keep their order.
    fn place(&mut self, upload: UploadId) -> usize {
        let (appends, loads) = (&self.appends, &mut self.loads);
        *self.placed.entry(upload).or_insert_with(|| {
            let fewest = (0..appends.len()).min_by_key(|&thread| loads[thread]).unwrap_or_default();
            loads[fewest] += 1;
            fewest
        })
    }

    /// Nothing more comes of this upload, but perhaps its removal.
    fn placed_no_more(&mut self, upload: UploadId) {
        if let Some(thread) = self.placed.remove(&upload) {
            self.loads[thread] -= 1;
        }
    }

    /// Takes bytes of an upload; `false` when the bytes under way reached their bound or did so before.
    #[must_use]
    pub fn append(&mut self, upload: UploadId, bytes: Vec<u8>, last: bool) -> bool {
        if self.refused.contains(upload) || self.bytes + cost(bytes.len()) > APPEND_BYTES_MAX {
            self.refused.insert(upload);
            return false;
        }
        self.bytes += cost(bytes.len());
        let thread = self.place(upload);
        self.appends[thread].force(Item::Append { upload, bytes, last });
        true
    }

    pub fn abandon(&mut self, upload: UploadId) {
        self.refused.remove(upload);
        let thread = self.place(upload);
        self.appends[thread].force(Item::Abandon(upload));
        self.placed_no_more(upload);
    }

    /// An append came back, whatever became of it. After the last one of an upload any thread may remove its file.
    pub fn appended(&mut self, upload: UploadId, bytes: usize, result: Written) {
        self.bytes = self.bytes.saturating_sub(cost(bytes));
        if matches!(result, Written::Whole { sha256: Some(_) }) {
            self.placed_no_more(upload);
        }
    }

    /// Wants the next bytes of a file for a connection; where no place is free, it may ask again when
    /// [`Disk::next_waiting`] names it. `false` when too many wait already.
    #[must_use]
    pub fn read(&mut self, conn: ConnId, file: Arc<File>, offset: u64, len: usize) -> bool {
        if self.pieces.offer(Wanted { conn, file, offset, len }) {
            return true;
        }
        if self.waiting.len() < PIECES_WAITING_MAX {
            self.waiting.push_back(conn);
            return true;
        }
        false
    }

    /// A piece came back: its place is free.
    pub fn piece_read(&mut self) {
        self.pieces.returned(1);
    }

    /// The next connection to ask again; it may be gone, then the one behind it is next.
    pub fn next_waiting(&mut self) -> Option<ConnId> {
        self.waiting.pop_front()
    }

    pub fn push_staged(&mut self) {
        self.appends.iter_mut().for_each(Producer::push_staged);
        self.pieces.push_staged();
    }

    /// What was handed over of uploads is still written or removed.
    pub fn close(&mut self) -> Vec<Thread> {
        self.appends.iter_mut().for_each(Producer::close);
        self.pieces.abandon();
        std::mem::take(&mut self.threads)
    }
}

/// What an append under way costs, so that the bound of bytes bounds their number too.
fn cost(bytes: usize) -> usize {
    bytes + APPEND_COST
}

/// Uploads whose bytes are dropped until they are abandoned.
#[derive(Default)]
struct Failed(BTreeSet<UploadId>);

impl Failed {
    fn contains(&self, upload: UploadId) -> bool {
        self.0.contains(&upload)
    }

    fn insert(&mut self, upload: UploadId) {
        self.0.insert(upload);
        if self.0.len() > UPLOADS_FAILED_MAX {
            self.0.pop_first();
        }
    }

    fn remove(&mut self, upload: UploadId) {
        self.0.remove(&upload);
    }
}

/// A thread that writes uploads. It opens a file for each append and keeps none: a file belongs to whoever publishes
/// it next, and an open one that nobody closes is a leak (the open costs a hundredth of the write).
struct Receiver {
    folder: PathBuf,
    /// Of the uploads under way; each goes with the last bytes, or with the rest of what is abandoned.
    hashes: BTreeMap<UploadId, Hashed>,
    failed: Failed,
    inbox: Arc<Inbox>,
    background: Background,
}

/// How far an upload has come.
struct Hashed {
    hash: Sha256,
    bytes: usize,
}

impl Receiver {
    fn run(mut self, queue: &Queue<Item>) {
        let mut items = VecDeque::new();
        while queue.take(&mut items, APPENDS_TAKEN, None) != Taken::Closed {
            for item in items.drain(..) {
                match item {
                    Item::Append { upload, bytes, last } => {
                        let result = self.append(upload, &bytes, last);
                        self.inbox.post(Completion::Upload { upload, bytes: bytes.len(), result });
                    }
                    Item::Abandon(upload) => self.abandon(upload),
                }
            }
        }
    }

    fn path(&self, upload: UploadId) -> PathBuf {
        self.folder.join(upload.0.to_string())
    }

    fn append(&mut self, upload: UploadId, bytes: &[u8], last: bool) -> Written {
        if self.failed.contains(upload) {
            return Written::Dropped;
        }
        match self.open(upload).and_then(|mut file| file.write_all(bytes).map(|()| file)) {
            Ok(file) => Written::Whole { sha256: self.hash(upload, &file, bytes, last) },
            Err(error) => {
                self.hashes.remove(&upload);
                self.failed.insert(upload);
                let full = is_full(&error);
                let trouble = if full { ErrorKind::DiskFull } else { ErrorKind::Upload };
                let folder = self.folder.display();
                self.background.report(trouble, format_args!("writing an upload to {folder}: {error}"));
                Written::Failed { full }
            }
        }
    }

    /// Opens the file of an upload. Where UPLOADS came back empty (mounted anew, or emptied), its `tmp` is made again; where it is
    /// missing, nothing is: what is to be mounted there would hide it.
    fn open(&self, upload: UploadId) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(NO_FOLLOW);
        let open = || options.open(self.path(upload));
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::DirBuilder::new().mode(0o700).create(&self.folder) {
                    // Another thread was faster.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => open(),
                }
            }
            opened => opened,
        }
    }

    /// Hashes what was just written, while the disk takes what was written before.
    fn hash(&mut self, upload: UploadId, file: &File, bytes: &[u8], last: bool) -> Option<[u8; 32]> {
        let under_way = self.hashes.entry(upload).or_insert_with(|| Hashed { hash: Sha256::new(), bytes: 0 });
        let before = under_way.bytes;
        under_way.bytes += bytes.len();
        if before / WRITE_BEHIND != under_way.bytes / WRITE_BEHIND || last && before >= WRITE_BEHIND {
            kernel::begin_writing(file);
        }
        under_way.hash.update(bytes);
        if last { self.hashes.remove(&upload).map(|whole| whole.hash.finish()) } else { None }
    }

    fn abandon(&mut self, upload: UploadId) {
        self.failed.remove(upload);
        self.hashes.remove(&upload);
        match fs::remove_file(self.path(upload)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.background.report(ErrorKind::Upload, format_args!("removing an upload: {error}"));
            }
            _ => {}
        }
    }
}

/// Whether an error means that nothing more can be stored, for now: of the disk, or of this account's part of it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Items taken at once: more would only hold memory longer.
const APPENDS_TAKEN: usize = 16;

/// Reads what is wanted into the page cache, and keeps nothing: the socket sends it from there.
fn read_until_closed(queue: &Queue<Wanted>, inbox: &Inbox) {
    let mut items = VecDeque::with_capacity(1);
    let mut scratch = vec![0; PIECE_SCRATCH];
    while queue.take(&mut items, 1, None) != Taken::Closed {
        for Wanted { conn, file, offset, len } in items.drain(..) {
            // A file that became shorter is an error: its length was promised to the peer.
            let result = (0..len).step_by(PIECE_SCRATCH).try_for_each(|at| {
                let part = PIECE_SCRATCH.min(len - at);
                file.read_exact_at(&mut scratch[..part], offset + at as u64)
            });
            inbox.post(Completion::Piece(Piece { conn, file, offset, len, result }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::sha256;
    use crate::base::id::Id;
    use crate::runtime::testing::{self, Folder, PATIENCE};
    use mio::Poll;
    use std::time::Instant;

    struct Desk {
        _poll: Poll,
        inbox: Arc<Inbox>,
        disk: Disk,
        uploads: Folder,
    }

    impl Desk {
        fn new() -> Desk {
            let (poll, inbox) = testing::inbox();
            let uploads = Folder::new();
            let background = Background::new(Arc::clone(&inbox));
            let disk = Disk::start(&uploads, &inbox, &background).expect("a folder and threads");
            Desk { _poll: poll, inbox, disk, uploads }
        }

        fn path(&self, upload: UploadId) -> PathBuf {
            self.uploads.join("tmp").join(upload.0.to_string())
        }

        /// What the next `count` completions say.
        fn results(&mut self, count: usize) -> Vec<(UploadId, Written)> {
            self.disk.push_staged();
            let (mut results, mut taken) = (Vec::new(), Vec::new());
            let end = Instant::now() + PATIENCE;
            while results.len() < count {
                assert!(Instant::now() < end);
                self.inbox.take(&mut taken);
                for completion in taken.drain(..) {
                    let Completion::Upload { upload, bytes, result } = completion else {
                        panic!("an upload")
                    };
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
        let mut desk = Desk::new();
        let uploads = [UploadId(Id(1)), UploadId(Id(2))];
        for round in 0..100_u8 {
            uploads.iter().for_each(|upload| assert!(desk.disk.append(*upload, vec![round; 3], round == 99)));
        }
        let expect: Vec<u8> = (0..100).flat_map(|round| [round; 3]).collect();
        let results = desk.results(200);
        let hashed = |sha256| results.iter().filter(|(_, it)| *it == Written::Whole { sha256 }).count();
        assert_eq!((hashed(None), hashed(Some(sha256(&expect)))), (198, 2), "with the last bytes of each");
        for upload in uploads {
            assert_eq!(fs::read(desk.path(upload)).expect("a file"), expect);
        }
        desk.disk.abandon(uploads[0]);
        assert!(desk.disk.placed.is_empty() && desk.disk.loads == [0; APPEND_THREADS]);
        // Behind appends that are still under way the removal keeps its order.
        let third = UploadId(Id(3));
        (0..50).for_each(|_| assert!(desk.disk.append(third, vec![3; 1_000], false)));
        assert_eq!(desk.disk.loads.iter().sum::<usize>(), 1);
        desk.disk.abandon(third);
        assert_eq!(desk.results(50).len(), 50);
        let path = desk.path(uploads[0]);
        let third = desk.path(third);
        let kept = desk.path(uploads[1]);
        desk.disk.close().into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(!path.exists() && !third.exists() && kept.exists());
        desk.close();
    }

    #[test]
    fn after_a_failure_the_rest_is_dropped_until_the_upload_is_abandoned() {
        let mut desk = Desk::new();
        let upload = UploadId(Id(7));
        // A link in the upload's path fails the open: nothing is written through it.
        std::os::unix::fs::symlink("/dev/null", desk.path(upload)).expect("a link");
        (0..3).for_each(|_| assert!(desk.disk.append(upload, b"x".to_vec(), true)));
        let failed = (upload, Written::Failed { full: false });
        assert_eq!(desk.results(3), [failed, (upload, Written::Dropped), (upload, Written::Dropped)]);
        desk.disk.abandon(upload);
        assert!(desk.disk.append(upload, b"x".to_vec(), true));
        assert_eq!(
            desk.results(1),
            [(upload, Written::Whole { sha256: Some(sha256(b"x")) })],
            "the link is gone, not what it names"
        );
        desk.close();
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        // A device that is always full (full(4)). No upload can be opened there: links are not followed.
        let mut file = OpenOptions::new().write(true).open("/dev/full").expect("a device");
        assert!(is_full(&file.write_all(b"x").expect_err("no space")));
        let missing = File::open("/dev/null/nothing").expect_err("no folder");
        assert!(!is_full(&missing));
    }

    #[test]
    fn an_uploads_folder_that_came_back_empty_is_used_again() {
        let mut desk = Desk::new();
        let (first, second, third) = (UploadId(Id(1)), UploadId(Id(2)), UploadId(Id(3)));
        let uploads = desk.uploads.to_path_buf();
        fs::remove_dir_all(&uploads).expect("gone");
        assert!(desk.disk.append(first, b"x".to_vec(), true));
        assert_eq!(desk.results(1), [(first, Written::Failed { full: false })]);
        assert!(!uploads.exists(), "not made: the volume may be mounted later");
        fs::create_dir(&uploads).expect("it came back");
        for upload in [second, third] {
            assert!(desk.disk.append(upload, b"x".to_vec(), true));
        }
        let all = desk.results(2);
        assert!(all.iter().all(|(_, it)| *it == Written::Whole { sha256: Some(sha256(b"x")) }), "{all:?}");
        desk.close();
    }

    #[test]
    fn bytes_under_way_have_a_bound_and_a_refused_upload_stays_refused() {
        let mut desk = Desk::new();
        let (first, second) = (UploadId(Id(1)), UploadId(Id(2)));
        let block = vec![0; 1_048_576 - APPEND_COST];
        let blocks = APPEND_BYTES_MAX / 1_048_576;
        (0..blocks).for_each(|_| assert!(desk.disk.append(first, block.clone(), false)));
        assert!(!desk.disk.append(second, Vec::new(), false));
        desk.results(blocks);
        assert!(!desk.disk.append(second, Vec::new(), false), "a hole in its file is worse than its end");
        assert!(desk.disk.append(first, block, false));
        desk.disk.abandon(second);
        assert!(desk.disk.append(second, Vec::new(), false));
        desk.results(2);
        desk.close();
    }
}
