//! SQLite's way to its files (a VFS, <https://www.sqlite.org/vfs.html>) with one difference: what it writes to the
//! write-ahead log goes by way of [`Frames`], so that a transaction reaches the file in few calls of the kernel. Every other
//! file is the built-in VFS's alone, and so is every call that is not named here.
//!
//! Owns the wrapper around the WAL's file; refuses to decide what waits (`frames`).
//! Invariant: before SQLite reads, measures, cuts off or syncs the log, all it wrote stands in the file. So a sync covers
//! all of it, and SQLite hears of a write that failed late before the transaction counts. That nothing held outlives its
//! transaction is the connection's part: in `serve` pages go to the log in a commit only (`connection::keep_pages`).
//!
//! The wrapper's memory is SQLite's: `szOsFile` bytes, aligned for any type, which it hands to `open` and frees after
//! `close`. The wrapped file lies behind the wrapper. SQLite uses a file from one thread at a time.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi::{
    SQLITE_ERROR, SQLITE_IOERR, SQLITE_OK, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_filename, sqlite3_int64,
    sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

use super::frames::Frames;

/// What a connection that writes is opened with.
pub const NAME: &CStr = c"natter";

/// The VFS as it is registered: SQLite's pointer to `base` is one to all of it.
#[repr(C)]
struct Vfs {
    base: sqlite3_vfs,
    inner: *mut sqlite3_vfs,
}

/// A WAL file: SQLite's pointer to `base` is one to all of it, and to the wrapped file behind it.
#[repr(C)]
struct WalFile {
    base: sqlite3_file,
    frames: Frames,
}

// What SQLite's allocations are aligned to, and the wrapped file behind this is too.
const _: () = assert!(align_of::<WalFile>() <= 8 && size_of::<WalFile>().is_multiple_of(8));

/// Version 1: a log has no shared memory of its own and is not mapped.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Makes [`NAME`] known to SQLite, once in a process. Fails with a code of SQLite's.
pub fn register() -> Result<(), c_int> {
    static CODE: OnceLock<c_int> = OnceLock::new();
    match *CODE.get_or_init(register_now) {
        SQLITE_OK => Ok(()),
        code => Err(code),
    }
}

fn register_now() -> c_int {
    // SAFETY: the built-in VFS lives as long as the process, and so does what is leaked here, which SQLite links into its
    // list. Its functions are given a copy of the structure they know, but for four fields that they don't read.
    unsafe {
        let inner = sqlite3_vfs_find(ptr::null());
        if inner.is_null() {
            return SQLITE_ERROR;
        }
        let base = sqlite3_vfs {
            szOsFile: size_of::<WalFile>() as c_int + (*inner).szOsFile,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            ..*inner
        };
        let vfs = Box::leak(Box::new(Vfs { base, inner }));
        sqlite3_vfs_register(ptr::from_mut(vfs).cast(), 0)
    }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: `vfs` is what was registered, and `file` has the room its `szOsFile` asks for.
    unsafe {
        let inner = (*vfs.cast::<Vfs>()).inner;
        let Some(open) = (*inner).xOpen else { return SQLITE_ERROR };
        if flags & SQLITE_OPEN_WAL == 0 {
            return open(inner, name, file, flags, flags_out);
        }
        let code = open(inner, name, wrapped(file), flags, flags_out);
        // SQLite closes what has methods, also after a failure.
        let methods = if (*wrapped(file)).pMethods.is_null() { ptr::null() } else { &raw const METHODS };
        let wrapper = WalFile { base: sqlite3_file { pMethods: methods }, frames: Frames::default() };
        file.cast::<WalFile>().write(wrapper);
        code
    }
}

/// The built-in VFS's file behind a wrapper.
unsafe fn wrapped(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: the room behind it is part of the same allocation.
    unsafe { file.cast::<WalFile>().add(1).cast() }
}

/// Calls a method of the wrapped file.
macro_rules! wrapped {
    ($file:ident . $method:ident ( $($argument:expr),* )) => {{
        // SAFETY: `open` has left the built-in VFS's methods there, and SQLite's own arguments are passed on.
        unsafe {
            let inner = wrapped($file);
            match (*(*inner).pMethods).$method {
                Some(method) => method(inner, $($argument),*),
                None => SQLITE_IOERR,
            }
        }
    }};
}

/// The way of what [`Frames`] has due into the wrapped file, which `open` made.
unsafe fn put(file: *mut sqlite3_file) -> impl FnMut(&[u8], u64) -> Result<(), c_int> {
    move |bytes, offset| {
        // No more than WAL_HELD_BYTES_MAX, or what SQLite asked for.
        let length = bytes.len() as c_int;
        match wrapped!(file.xWrite(bytes.as_ptr().cast(), length, offset as sqlite3_int64)) {
            SQLITE_OK => Ok(()),
            code => Err(code),
        }
    }
}

/// What is held first, then the call itself.
macro_rules! flushed {
    ($file:ident . $method:ident ( $($argument:expr),* )) => {{
        // SAFETY: `open` made the wrapper, and it is this call's alone.
        let flushed = unsafe { (*$file.cast::<WalFile>()).frames.flush(&mut put($file)) };
        match flushed {
            Ok(()) => wrapped!($file.$method($($argument),*)),
            Err(code) => code,
        }
    }};
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    piece: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: `length` bytes stand at `piece`; `open` made the wrapper, and it is this call's alone.
    let written = unsafe {
        let bytes = std::slice::from_raw_parts(piece.cast::<u8>(), length as usize);
        (*file.cast::<WalFile>()).frames.write(bytes, offset as u64, &mut put(file))
    };
    match written {
        Ok(()) => SQLITE_OK,
        Err(code) => code,
    }
}

/// What is still held belongs to no whole transaction: nobody misses it.
unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = wrapped!(file.xClose());
    // SAFETY: the last call for this file; SQLite frees the memory, but not what the frames keep elsewhere.
    unsafe { ptr::drop_in_place(&raw mut (*file.cast::<WalFile>()).frames) };
    code
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    to: *mut c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    flushed!(file.xRead(to, length, offset))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    flushed!(file.xTruncate(size))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    flushed!(file.xSync(flags))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    flushed!(file.xFileSize(size))
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    wrapped!(file.xLock(level))
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    wrapped!(file.xUnlock(level))
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, reserved: *mut c_int) -> c_int {
    wrapped!(file.xCheckReservedLock(reserved))
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    wrapped!(file.xFileControl(operation, argument))
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    wrapped!(file.xSectorSize())
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    wrapped!(file.xDeviceCharacteristics())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rusqlite::{Connection, OpenFlags};

    use super::*;

    /// A folder of the test's own, gone when it ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("natter-vfs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// A writer whose cache is too small for a transaction, so that pages go to the log early, and some of them twice.
    fn open(path: &Path) -> Connection {
        register().expect("registered");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = Connection::open_with_flags_and_vfs(path, flags, NAME).expect("open");
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 10; \
             CREATE TABLE pages (key INTEGER PRIMARY KEY, round INTEGER, body BLOB); \
             CREATE INDEX by_round ON pages (round, key);",
        )
        .expect("a schema");
        conn
    }

    fn round(conn: &Connection, round: i64) {
        conn.execute_batch(&format!(
            "BEGIN; \
             WITH RECURSIVE k (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < 300) \
             INSERT INTO pages (round, body) SELECT {round}, zeroblob(900 + i % 7) FROM k; \
             UPDATE pages SET round = {round} WHERE key % 3 = 0; \
             SAVEPOINT s; DELETE FROM pages; ROLLBACK TO s; RELEASE s; \
             UPDATE pages SET body = zeroblob(950) WHERE key % 5 = 0;"
        ))
        .expect("a transaction");
    }

    fn state(conn: &Connection) -> (i64, i64, i64) {
        conn.query_row("SELECT count(*), sum(round), sum(length(body)) FROM pages", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .expect("a state")
    }

    /// What is in the files at this moment, as a start after SIGKILL finds it.
    fn recovered(path: &Path, folder: &Path) -> (i64, i64, i64) {
        let copy = folder.join("copy.db");
        for end in ["", "-wal"] {
            let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
            std::fs::copy(name(path), name(&copy)).expect("a copy");
        }
        let _ = std::fs::remove_file(folder.join("copy.db-shm"));
        let conn = Connection::open(&copy).expect("open");
        let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        assert_eq!(said, "ok");
        state(&conn)
    }

    /// Also without a sync, which would flush what is held.
    #[test]
    fn a_commit_is_in_the_file_and_seen_by_others_when_it_returns() {
        for synchronous in ["OFF", "NORMAL", "FULL"] {
            let folder = Folder::new(&format!("commit-{synchronous}"));
            let path = folder.0.join("a.db");
            let conn = open(&path);
            conn.execute_batch(&format!("PRAGMA synchronous = {synchronous}")).expect("the setting");
            let other = Connection::open(&path).expect("a reader");
            let mut last = 0;
            for number in 1..=6 {
                let before = (number > 1).then(|| state(&other));
                round(&conn, number);
                assert_eq!(
                    before,
                    (number > 1).then(|| state(&other)),
                    "an open transaction is nobody else's"
                );
                conn.execute_batch(if number % 3 == 2 { "ROLLBACK" } else { "COMMIT" }).expect("an end");
                // A small transaction, of which nothing is written early or twice.
                let touch = "UPDATE pages SET round = round + 100 WHERE key IN (1, 100, 200)";
                conn.execute(touch, []).expect("a small transaction");
                // The writer last: its own reading would write what is held.
                let now = recovered(&path, &folder.0);
                assert_eq!(now.0, 300 * (number - (number + 1) / 3));
                assert_eq!((state(&other), state(&conn)), (now, now));
                assert!(now.1 > last, "the small one too");
                last = now.1;
                if number % 2 == 0 {
                    let pragma =
                        if number == 4 { "wal_checkpoint(TRUNCATE)" } else { "wal_checkpoint(RESTART)" };
                    conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
                        .expect(pragma);
                    assert_eq!((state(&conn), state(&other)), (now, now));
                }
            }
            // The last to close copies the log into the database and deletes it.
            drop(other);
            let now = state(&conn);
            conn.close().expect("closed");
            assert!(!folder.0.join("a.db-wal").exists());
            assert_eq!(state(&Connection::open(&path).expect("open")), now);
        }
    }

    #[test]
    fn a_transaction_that_never_ended_leaves_nothing() {
        let folder = Folder::new("unended");
        let path = folder.0.join("a.db");
        let conn = open(&path);
        round(&conn, 1);
        conn.execute_batch("COMMIT").expect("an end");
        let kept = state(&conn);
        round(&conn, 2);
        assert_eq!(recovered(&path, &folder.0), kept);
        drop(conn);
        assert_eq!(state(&Connection::open(&path).expect("open")), kept);
    }
}
