//! The threads for files: they write uploads that are being received, and read files ahead of their sockets.
//!
//! Owns the temporary files and their hashes until they are published or abandoned. Does not check, sync or publish them.
//! Hashing is here because it is the main cost of an upload (2.5 to 5 ms of a core for each MiB on a processor without
//! instructions for SHA-256): on the loop's thread it would delay all messages.
//! Invariant: an upload's bytes reach its file in order or not at all: after one failure the rest of it is dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::background::Background;
use super::inbox::{Completion, Inbox, Piece, Written};
use super::kernel;
use super::queue::{Producer, Queue, Taken};
use super::threads::{Thread, spawn};
use crate::base::crypto::Sha256;
use crate::base::no_follow::NO_FOLLOW;
use crate::base::open_file::OpenFile;
use crate::model::id::UploadId;
use crate::model::metrics::ErrorKind;
use crate::server::contract::ConnId;
#[cfg(feature = "cluster")]
use crate::work::copies::Room;

/// Threads that write and hash uploads: each upload stays with one of them, and one upload must not delay all others.
const APPEND_THREADS: usize = 2;
/// Bytes of an upload after which the kernel is asked to start writing them, so that the sync at the end has less to wait
/// for.
const WRITE_BEHIND: usize = 1_048_576;
/// The cost of an append in addition to its bytes, within that limit: many tiny appends must not be free.
const APPEND_COST: usize = 256;
/// Uploads remembered as failed until they are abandoned. Above it, the oldest is dropped.
const UPLOADS_FAILED_MAX: usize = 16_384;
/// Bytes a thread reads at once into its buffer, which fits the processor's cache.
const PIECE_SCRATCH: usize = 65_536;
/// Pieces being read, each for a TLS connection held in memory until its socket took it or blocked. Above it, the connection
/// waits.
const PIECES_IN_FLIGHT_MAX: usize = 32;
/// Connections that wait to read a piece. Above it (a disk that hangs, while peers come and go): closed.
const PIECES_WAITING_MAX: usize = 16_384;
/// Threads that read pieces: one slow read must not delay all others.
const PIECE_THREADS: usize = 2;

/// The space of its file system that uploads leave to the database: the setting DISK_FREE_MIN.
#[derive(Clone, Debug)]
pub struct DatabaseSpace {
    /// Where the database is.
    pub data: PathBuf,
    pub bytes: u64,
}

impl DatabaseSpace {
    /// The same check for files that come from other nodes.
    #[cfg(feature = "cluster")]
    pub fn room(self, uploads: PathBuf) -> Room {
        Arc::new(move |bytes| self.keep(&uploads, usize::try_from(bytes).unwrap_or(usize::MAX)))
    }

    /// Fails as on a full disk if these bytes would leave less to the database. Uploads on a file system of their own take
    /// nothing from it, and where the system does not report its space, none is kept.
    fn keep(&self, uploads: &Path, bytes: usize) -> io::Result<()> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let is_shared = matches!((device(uploads), device(&self.data)), (Ok(a), Ok(b)) if a == b);
        match kernel::free_bytes(&self.data) {
            Some(free) if is_shared && free < self.bytes.saturating_add(bytes as u64) => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "less than DISK_FREE_MIN would be left for the database",
            )),
            _ => Ok(()),
        }
    }
}

enum Item {
    Append { upload: UploadId, bytes: Vec<u8>, last: bool },
    Abandon(UploadId),
}

struct Wanted {
    conn: ConnId,
    part: Part,
}

/// A part of a file to be read.
pub struct Part {
    pub file: Arc<OpenFile>,
    pub offset: u64,
    pub len: usize,
    /// Into memory, not only into the page cache.
    pub in_memory: bool,
}

/// The loop's side.
pub struct Disk {
    /// One queue for each thread. All items of an upload go to the same one.
    appends: Vec<Producer<Item>>,
    /// The thread of each upload in progress: the one with the fewest uploads when it began.
    thread_by_upload: BTreeMap<UploadId, usize>,
    /// The number of uploads of each thread.
    loads: [usize; APPEND_THREADS],
    /// Bytes submitted and not yet written.
    bytes: usize,
    /// Their maximum. Above it, that upload fails and can be retried: the disk is slower than the senders.
    bytes_max: usize,
    /// Uploads that met a full queue.
    refused: Failed,
    pieces: Producer<Wanted>,
    /// Connections whose piece must wait; each once, by `Socket::is_reading_piece`.
    waiting: VecDeque<ConnId>,
    threads: Vec<Thread>,
}

impl Disk {
    /// `uploads` is the folder of the setting UPLOADS. Its `tmp` is created if it is missing.
    pub fn start(
        uploads: &Path,
        database_space: &DatabaseSpace,
        bytes_max: usize,
        inbox: &Arc<Inbox>,
        background: &Background,
    ) -> io::Result<Disk> {
        let folder = uploads.join("tmp");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let pieces = Producer::new(PIECES_IN_FLIGHT_MAX);
        let mut threads = Vec::with_capacity(APPEND_THREADS + PIECE_THREADS);
        let mut appends = Vec::with_capacity(APPEND_THREADS);
        for _ in 0..APPEND_THREADS {
            let receiver = Receiver {
                folder: folder.clone(),
                database_space: database_space.clone(),
                hashes: BTreeMap::new(),
                failed: Failed::default(),
                inbox: Arc::clone(inbox),
                background: background.clone(),
            };
            let append = Producer::new(0); // bounded by bytes, not by number: see `append`
            let queue = append.queue();
            threads.push(spawn("uploads", inbox, move || receiver.run(&queue))?);
            appends.push(append);
        }
        for _ in 0..PIECE_THREADS {
            let (queue, answers) = (pieces.queue(), Arc::clone(inbox));
            threads.push(spawn("files", inbox, move || read_until_closed(&queue, &answers))?);
        }
        let (refused, waiting) = (Failed::default(), VecDeque::new());
        let (thread_by_upload, loads) = (BTreeMap::new(), [0; APPEND_THREADS]);
        Ok(Disk { appends, thread_by_upload, loads, bytes: 0, bytes_max, refused, pieces, waiting, threads })
    }

    /// The thread of this upload, so that its items keep their order.
    fn thread_of(&mut self, upload: UploadId) -> usize {
        let (appends, loads) = (&self.appends, &mut self.loads);
        *self.thread_by_upload.entry(upload).or_insert_with(|| {
            let fewest = (0..appends.len()).min_by_key(|&thread| loads[thread]).unwrap_or_default();
            loads[fewest] += 1;
            fewest
        })
    }

    /// Releases the thread of an upload. Only its removal may follow.
    fn release_thread(&mut self, upload: UploadId) {
        if let Some(thread) = self.thread_by_upload.remove(&upload) {
            self.loads[thread] -= 1;
        }
    }

    /// Queues bytes of an upload. Returns `false` if the queued bytes reached their limit, now or earlier for this upload.
    #[must_use]
    pub fn append(&mut self, upload: UploadId, bytes: Vec<u8>, last: bool) -> bool {
        if self.refused.contains(upload) || self.bytes + cost(bytes.len()) > self.bytes_max {
            self.refused.insert(upload);
            return false;
        }
        self.bytes += cost(bytes.len());
        let thread = self.thread_of(upload);
        self.appends[thread].force(Item::Append { upload, bytes, last });
        true
    }

    pub fn abandon(&mut self, upload: UploadId) {
        self.refused.remove(upload);
        let thread = self.thread_of(upload);
        self.appends[thread].force(Item::Abandon(upload));
        self.release_thread(upload);
    }

    /// An append was completed, successfully or not. After the last one of an upload any thread may remove its file.
    pub fn appended(&mut self, upload: UploadId, bytes: usize, result: Written) {
        self.bytes = self.bytes.saturating_sub(cost(bytes));
        if matches!(result, Written::Stored { sha256: Some(_) }) {
            self.release_thread(upload);
        }
    }

    /// Requests the next bytes of a file for a connection. If no slot is free, the connection may ask again when
    /// [`Disk::next_waiting`] returns it. Returns `false` if too many wait already.
    #[must_use]
    pub fn read(&mut self, conn: ConnId, part: Part) -> bool {
        if self.pieces.offer(Wanted { conn, part }) {
            return true;
        }
        if self.waiting.len() < PIECES_WAITING_MAX {
            self.waiting.push_back(conn);
            return true;
        }
        false
    }

    /// A piece was completed: its slot is free.
    pub fn piece_read(&mut self) {
        self.pieces.returned(1);
    }

    /// The next connection that should ask again. If it is closed, the caller takes the next one.
    pub fn next_waiting(&mut self) -> Option<ConnId> {
        self.waiting.pop_front()
    }

    pub fn push_staged(&mut self) {
        self.appends.iter_mut().for_each(Producer::push_staged);
        self.pieces.push_staged();
    }

    /// Ends the threads. Queued bytes and removals of uploads are still processed.
    pub fn close(&mut self) -> Vec<Thread> {
        self.appends.iter_mut().for_each(Producer::close);
        self.pieces.abandon();
        std::mem::take(&mut self.threads)
    }
}

/// The cost of an append, so that the limit of bytes also limits their number.
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

/// A thread that writes uploads. It opens a file for each append and keeps none open: the file may be published at any
/// time, and a file that is never closed is a leak (the open costs a hundredth of the write).
struct Receiver {
    folder: PathBuf,
    database_space: DatabaseSpace,
    /// The hashes of uploads in progress. Each is removed with the last bytes, or when the upload is abandoned.
    hashes: BTreeMap<UploadId, Hashed>,
    failed: Failed,
    inbox: Arc<Inbox>,
    background: Background,
}

/// The progress of an upload.
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
        self.folder.join(upload.to_string())
    }

    fn append(&mut self, upload: UploadId, bytes: &[u8], last: bool) -> Written {
        if self.failed.contains(upload) {
            return Written::Dropped;
        }
        let room = self.database_space.keep(&self.folder, bytes.len());
        let written =
            room.and_then(|()| self.open(upload)).and_then(|mut file| file.write_all(bytes).map(|()| file));
        match written {
            Ok(file) => Written::Stored { sha256: self.hash(upload, &file, bytes, last) },
            Err(error) => {
                self.hashes.remove(&upload);
                self.failed.insert(upload);
                let full = is_full(&error);
                let kind = if full { ErrorKind::DiskFull } else { ErrorKind::Upload };
                let folder = self.folder.display();
                self.background.report(kind, format_args!("writing an upload to {folder}: {error}"));
                Written::Failed { full }
            }
        }
    }

    /// Opens the file of an upload. If UPLOADS became empty (remounted, or emptied), its `tmp` is created again. If UPLOADS
    /// itself is missing, it is not created, because a later mount would hide it.
    fn open(&self, upload: UploadId) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(NO_FOLLOW);
        let open = || options.open(self.path(upload));
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::DirBuilder::new().mode(0o700).create(&self.folder) {
                    // Another thread created it first.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => open(),
                }
            }
            opened => opened,
        }
    }

    /// Hashes the bytes that were just written, while the disk writes earlier ones.
    fn hash(&mut self, upload: UploadId, file: &File, bytes: &[u8], last: bool) -> Option<[u8; 32]> {
        let progress = self.hashes.entry(upload).or_insert_with(|| Hashed { hash: Sha256::new(), bytes: 0 });
        let before = progress.bytes;
        progress.bytes += bytes.len();
        if before / WRITE_BEHIND != progress.bytes / WRITE_BEHIND || last && before >= WRITE_BEHIND {
            kernel::begin_writing(file);
        }
        progress.hash.update(bytes);
        if last { self.hashes.remove(&upload).map(|hashed| hashed.hash.finish()) } else { None }
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

/// Whether an error means that nothing more can be stored for now: the disk or this user's quota is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Items taken at once: more would only hold memory longer.
const APPENDS_TAKEN: usize = 16;

/// Reads pieces: into the page cache, from where the socket sends them, or into memory to be encrypted.
fn read_until_closed(queue: &Queue<Wanted>, inbox: &Inbox) {
    let mut items = VecDeque::with_capacity(1);
    let mut scratch = vec![0; PIECE_SCRATCH];
    while queue.take(&mut items, 1, None) != Taken::Closed {
        for Wanted { conn, part: Part { file, offset, len, in_memory } } in items.drain(..) {
            // A file that became shorter is an error: its length was announced to the peer.
            let (bytes, result) = if in_memory {
                let mut bytes = vec![0; len];
                let result = file.read_exact_at(&mut bytes, offset);
                (Some(bytes), result)
            } else {
                let result = (0..len).step_by(PIECE_SCRATCH).try_for_each(|at| {
                    let part = PIECE_SCRATCH.min(len - at);
                    file.read_exact_at(&mut scratch[..part], offset + at as u64)
                });
                (None, result)
            };
            inbox.post(Completion::Piece(Piece { conn, file, offset, len, bytes, result }));
        }
    }
}

#[cfg(test)]
mod tests;
