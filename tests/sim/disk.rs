//! A disk that loses unsynced writes: a VFS of SQLite that keeps the durable content of each file, and fails on demand.
//!
//! Owns the durable content of each file in a folder that was registered. All other files use SQLite's VFS unchanged. The
//! file itself has the content of the page cache, which reads and a killed process see. Changes without SQLite (a copy of the
//! database, a rename) count as synced.
//!
//! ```text
//! write          → the page cache; its blocks are dirty
//! sync           → dirty blocks become durable
//! a failed sync  → dirty blocks are dead: later writes and syncs do not change their durable content, as on ext4
//! truncate       → blocks after the end are dropped, dead ones too
//! ```
//! Invariant: a block is durable only after a successful sync, or by chance, if it is dirty at a power cut.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi;

use super::random::Rng;

const BLOCK: u64 = 4_096;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A sync fails, and its blocks are dead.
    Sync,
    /// A write fails after half of its bytes.
    Write,
    /// A write fails because the disk is full.
    Full,
}

/// The file of the database that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFile {
    Wal,
    Database,
}

/// A fault that is armed for the next matching calls, this many times.
#[derive(Clone, Copy, Debug)]
struct Armed {
    file: DatabaseFile,
    failure: Failure,
    times: usize,
}

/// One file, identified by its inode, so that a rename changes nothing.
struct Content {
    /// Open as long as the disk exists, so that no other file gets its inode.
    file: File,
    durable: Vec<u8>,
    dirty: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    /// The number of writes and truncations, and the offset of the last write.
    changes: u64,
    written_at: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Content>,
    armed: Option<Armed>,
    failures: u64,
}

/// The disk below one folder.
pub struct Disk {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

/// The disk and the file of an open SQLite file.
struct Open {
    state: Arc<Mutex<State>>,
    inode: u64,
    file: Option<DatabaseFile>,
    methods: &'static ffi::sqlite3_io_methods,
}

/// The folders with such a disk; their open SQLite files, by address; and the replaced methods of such a file with the
/// original ones.
static DISKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());
static OPEN: Mutex<BTreeMap<usize, Arc<Open>>> = Mutex::new(BTreeMap::new());
static METHODS: Mutex<BTreeMap<usize, &'static ffi::sqlite3_io_methods>> = Mutex::new(BTreeMap::new());

/// SQLite's own VFS, which does the work.
struct Real(*mut ffi::sqlite3_vfs);
// SAFETY: SQLite never changes or frees its own VFS.
unsafe impl Send for Real {}
static REAL: Mutex<Option<Real>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn new(path: &Path) -> std::io::Result<Content> {
        let durable = fs::read(path)?;
        let (dirty, dead) = (BTreeSet::new(), BTreeSet::new());
        Ok(Content { file: File::open(path)?, durable, dirty, dead, changes: 0, written_at: 0 })
    }

    fn written(&mut self, at: u64, len: u64) {
        self.changes += 1;
        self.written_at = at;
        if len > 0 {
            self.dirty.extend(at / BLOCK..=(at + len - 1) / BLOCK);
        }
    }

    fn truncated(&mut self, size: u64) {
        self.changes += 1;
        self.durable.truncate(size as usize);
        let kept = size.div_ceil(BLOCK);
        self.dirty.retain(|block| *block < kept);
        self.dead.retain(|block| *block < kept);
    }

    /// Makes some of the dirty blocks durable. Returns the durable content.
    fn written_back(&self, mut is_durable: impl FnMut() -> bool) -> Vec<u8> {
        let mut durable = self.durable.clone();
        let len = self.file.metadata().expect("a file").len();
        for block in &self.dirty {
            if self.dead.contains(block) || !is_durable() {
                continue;
            }
            let (from, until) = (block * BLOCK, len.min((block + 1) * BLOCK));
            if from >= until {
                continue;
            }
            let mut bytes = vec![0; (until - from) as usize];
            self.file.read_exact_at(&mut bytes, from).expect("what was written");
            if durable.len() < until as usize {
                durable.resize(until as usize, 0);
            }
            durable[from as usize..until as usize].copy_from_slice(&bytes);
        }
        durable
    }

    fn sync(&mut self) {
        self.durable = self.written_back(|| true);
        self.dirty.clear();
        let len = self.file.metadata().expect("a file").len();
        // The length of a file is durable even if its last blocks are not.
        if self.durable.len() < len as usize {
            self.durable.resize(len as usize, 0);
        }
    }

    fn forget(&mut self) {
        self.dead.append(&mut self.dirty);
    }
}

impl State {
    /// Whether the armed fault matches this call.
    fn fails(&mut self, file: Option<DatabaseFile>, failures: &[Failure]) -> Option<Failure> {
        let armed = self.armed.as_mut()?;
        if Some(armed.file) != file || !failures.contains(&armed.failure) {
            return None;
        }
        let failure = armed.failure;
        armed.times -= 1;
        if armed.times == 0 {
            self.armed = None;
        }
        self.failures += 1;
        Some(failure)
    }
}

impl Disk {
    /// Registers a folder: the files that SQLite opens in it from now on belong to this disk.
    pub fn new(folder: &Path) -> Disk {
        register();
        let state = Arc::<Mutex<State>>::default();
        lock(&DISKS).insert(folder.to_owned(), Arc::clone(&state));
        Disk { folder: folder.to_owned(), state }
    }

    pub fn arm(&self, file: DatabaseFile, failure: Failure, times: usize) {
        lock(&self.state).armed = Some(Armed { file, failure, times });
    }

    /// The next write or sync of a file fails, if there is one before the next fault.
    pub fn fail_next(&self, rng: &mut Rng) {
        let which = [DatabaseFile::Wal, DatabaseFile::Database][rng.below(2)];
        match rng.below(5) {
            0..=2 => self.arm(which, Failure::Sync, rng.between(1, 2)),
            3 => self.arm(which, Failure::Write, 1),
            _ => self.arm(which, Failure::Full, rng.between(1, 20)),
        }
    }

    /// At the start after a crash a sync fails, or not.
    pub fn may_fail_at_start(&self, rng: &mut Rng) {
        if rng.chance(300) {
            self.arm([DatabaseFile::Wal, DatabaseFile::Database][rng.below(2)], Failure::Sync, 1);
        }
    }

    pub fn disarm(&self) {
        lock(&self.state).armed = None;
    }

    /// The number of faults that happened.
    pub fn failures(&self) -> u64 {
        lock(&self.state).failures
    }

    /// Whether the database or its WAL has dead blocks, which would be lost in a power cut also after later syncs.
    pub fn is_suspect(&self) -> bool {
        self.has_dead("natter.db") || self.has_dead("natter.db-wal")
    }

    /// Whether the store must assume that the database file itself has dead blocks.
    pub fn is_database_suspect(&self) -> bool {
        self.has_dead("natter.db") || self.folder.join("natter.db.suspect").exists()
    }

    fn has_dead(&self, name: &str) -> bool {
        let inode = inode(&self.folder.join(name));
        let state = lock(&self.state);
        inode.and_then(|inode| state.files.get(&inode)).is_some_and(|content| !content.dead.is_empty())
    }

    /// The current WAL and its number of changes, if the sync after a transaction failed: then a killed process leaves the
    /// refused transaction. The header of a restarted WAL is synced before any frame follows it.
    pub fn refused(&self) -> Option<(u64, u64)> {
        let inode = inode(&self.folder.join("natter.db-wal"))?;
        let state = lock(&self.state);
        let content = state.files.get(&inode)?;
        let is_kept = content.dirty.is_empty() && !content.dead.is_empty() && content.written_at > 0;
        is_kept.then_some((inode, content.changes))
    }

    /// Copies the files into another folder as of a power cut, or of a killed process.
    pub fn crashed(&self, rng: &mut Rng, is_cut: bool, to: &Path) -> Disk {
        if !is_cut {
            return self.killed(to);
        }
        let odds = [0, 0, 500, 900][rng.below(4)];
        self.power_cut(to, || rng.chance(odds))
    }

    /// Copies the files into another folder as a killed process leaves them: the page cache, and the durable part of it.
    pub fn killed(&self, to: &Path) -> Disk {
        let disk = Disk::new(to);
        for (name, content) in self.names(to) {
            let from = self.folder.join(&name);
            fs::copy(&from, to.join(&name)).expect("a copy");
            if let Some(inode) = content {
                let state = lock(&self.state);
                let old = &state.files[&inode];
                let mut new = Content::new(&to.join(&name)).expect("the copy");
                (new.durable, new.dirty, new.dead) =
                    (old.durable.clone(), old.dirty.clone(), old.dead.clone());
                let inode = new.file.metadata().expect("a file").ino();
                lock(&disk.state).files.insert(inode, new);
            }
        }
        disk
    }

    /// Copies the files into another folder as a power cut leaves them. `by_chance` decides whether a dirty block is durable.
    pub fn power_cut(&self, to: &Path, mut by_chance: impl FnMut() -> bool) -> Disk {
        for (name, content) in self.names(to) {
            match content {
                // SQLite never syncs this file.
                None if name.ends_with(".suspect") => {}
                None => drop(fs::copy(self.folder.join(&name), to.join(&name)).expect("a copy")),
                Some(inode) => {
                    let durable = lock(&self.state).files[&inode].written_back(&mut by_chance);
                    fs::write(to.join(&name), durable).expect("the durable content");
                }
            }
        }
        Disk::new(to)
    }

    /// The files of the folder that are not empty, in a fixed order, and their inodes if they are known.
    fn names(&self, to: &Path) -> Vec<(String, Option<u64>)> {
        assert_ne!(self.folder, to);
        let entries = fs::read_dir(&self.folder).expect("the folder");
        let names = entries.map(|entry| entry.expect("a file").file_name().into_string().expect("a name"));
        let mut names: Vec<String> =
            names.filter(|name| !name.ends_with("-shm") && name != "reserve").collect();
        names.sort_unstable();
        let state = lock(&self.state);
        let known =
            |name: &String| inode(&self.folder.join(name)).filter(|inode| state.files.contains_key(inode));
        names.into_iter().map(|name| (name.clone(), known(&name))).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).remove(&self.folder);
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.ino())
}

// ---- the VFS -------------------------------------------------------------------------------------

/// Makes this VFS the default one: it is SQLite's own VFS with another [`open`].
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's default VFS lives as long as the process, and so does the copy, which is leaked. The copy has the
        // same file size and the same data, so the functions of the original work with it.
        let registered = unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            assert!(!real.is_null(), "SQLite has a VFS");
            *lock(&REAL) = Some(Real(real));
            let copy = ffi::sqlite3_vfs {
                zName: c"forgetful".as_ptr(),
                xOpen: Some(open),
                pNext: std::ptr::null_mut(),
                ..*real
            };
            ffi::sqlite3_vfs_register(Box::leak(Box::new(copy)), 1)
        };
        assert_eq!(registered, ffi::SQLITE_OK);
    });
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let real = lock(&REAL).as_ref().expect("registered").0;
    // SAFETY: all arguments come from SQLite and are passed to its own VFS.
    let opened = unsafe { (*real).xOpen.expect("a method")(real, name, file, flags, out_flags) };
    if opened != ffi::SQLITE_OK || name.is_null() {
        return opened;
    }
    // SAFETY: SQLite names files by strings that end with a zero.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    let Some(state) = path.parent().and_then(|folder| lock(&DISKS).get(folder).cloned()) else {
        return opened;
    };
    let content = Content::new(path).expect("a file that was opened");
    let inode = content.file.metadata().expect("a file").ino();
    lock(&state).files.entry(inode).or_insert(content);
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let file_kind = match name {
        _ if !name.starts_with(b"natter.db") => None,
        _ if name.ends_with(b"-wal") => Some(DatabaseFile::Wal),
        _ => Some(DatabaseFile::Database),
    };
    // SAFETY: a file that was opened has methods, which are constants of SQLite.
    let methods = unsafe { &*(*file).pMethods };
    lock(&OPEN).insert(file as usize, Arc::new(Open { state, inode, file: file_kind, methods }));
    let replaced = *lock(&METHODS).entry(std::ptr::from_ref(methods) as usize).or_insert_with(|| {
        Box::leak(Box::new(ffi::sqlite3_io_methods {
            xClose: Some(close),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xSync: Some(sync),
            ..*methods
        }))
    });
    // SAFETY: the first field of an SQLite file is the pointer to its methods. No other code has the file yet.
    unsafe { (*file).pMethods = replaced };
    opened
}

/// The disk and the file of an SQLite file with replaced methods.
fn of(file: *mut ffi::sqlite3_file) -> Arc<Open> {
    Arc::clone(&lock(&OPEN)[&(file as usize)])
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = lock(&OPEN).remove(&(file as usize)).expect("an open file");
    // SAFETY: the arguments are those of the replaced method. The same holds below.
    unsafe { open.methods.xClose.expect("a method")(file) }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, len: c_int, at: i64) -> c_int {
    let open = of(file);
    let mut state = lock(&open.state);
    let failure = state.fails(open.file, &[Failure::Write, Failure::Full]);
    let written = match failure {
        None => len,
        Some(Failure::Full) => return ffi::SQLITE_FULL,
        Some(_) => len / 2,
    };
    // SAFETY: no more bytes than there are.
    let done = unsafe { open.methods.xWrite.expect("a method")(file, bytes, written, at) };
    state.files.get_mut(&open.inode).expect("a file").written(at as u64, written as u64);
    if failure.is_some() { ffi::SQLITE_IOERR_WRITE } else { done }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let open = of(file);
    let mut state = lock(&open.state);
    // SAFETY: as above.
    let done = unsafe { open.methods.xTruncate.expect("a method")(file, size) };
    state.files.get_mut(&open.inode).expect("a file").truncated(size as u64);
    done
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let open = of(file);
    let mut state = lock(&open.state);
    let failed = state.fails(open.file, &[Failure::Sync]).is_some();
    let content = state.files.get_mut(&open.inode).expect("a file");
    if failed {
        content.forget();
        return ffi::SQLITE_IOERR_FSYNC;
    }
    // No real sync: neither the speed of the real disk nor a real power cut is tested.
    content.sync();
    ffi::SQLITE_OK
}
