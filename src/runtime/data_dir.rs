//! The data folder and its lock.
//!
//! Owns the folders, the lock file and the path of the control socket. Does not know the other content. The lock is the
//! kernel's (`flock` by `File::try_lock`): it ends with the process, even after a crash, so that a stale file never
//! prevents a start. The pid in the file is for people only.
//! Invariant: while a [`DataDir`] lives, no other process has one of the same folder: there is always one writer.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::mem::{offset_of, size_of};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::kernel;
use crate::base::no_follow::NO_FOLLOW;

/// Maximum bytes of a path that can be bound as a socket, without the closing NUL (`sun_path`: 107 on Linux).
pub const SOCKET_PATH_MAX: usize =
    size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// The data folder, locked while this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Kept for its lock.
    _lock: File,
}

/// Why there is no [`DataDir`].
#[derive(Debug)]
pub enum DataDirFault {
    /// Another process has it. `pid` is the one in the lock file, if it can be read.
    Locked { lock: PathBuf, pid: Option<u32> },
    /// The path of the control socket would be too long to bind.
    SocketPathTooLong { path: PathBuf },
    /// The file system refused an operation.
    Disk { doing: &'static str, path: PathBuf, error: io::Error },
}

impl fmt::Display for DataDirFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataDirFault::Locked { lock, pid: Some(pid) } => {
                write!(f, "{} is locked: process {pid} uses this folder", lock.display())
            }
            DataDirFault::Locked { lock, pid: None } => {
                write!(f, "{} is locked: another process uses this folder", lock.display())
            }
            DataDirFault::SocketPathTooLong { path } => write!(
                f,
                "{} has {} bytes, and the path of a socket may have {SOCKET_PATH_MAX}: choose a shorter DATA_DIR, \
                 or one relative to the working directory",
                path.display(),
                path.as_os_str().len(),
            ),
            DataDirFault::Disk { doing, path, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for DataDirFault {}

impl DataDir {
    /// Creates both folders (0700) if they are missing, and takes the lock. Does not wait for it.
    pub fn open(path: &Path, uploads: &Path) -> Result<DataDir, DataDirFault> {
        check(path, uploads)?;
        make_folder(path)?;
        let data_dir = DataDir::open_existing(path)?;
        make_folder(uploads)?;
        Ok(data_dir)
    }

    /// As [`DataDir::open`], in a folder that must exist.
    pub fn open_existing(path: &Path) -> Result<DataDir, DataDirFault> {
        fits_socket(path)?;
        let lock = take_lock(&path.join(LOCK))?;
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the control socket. Only the holder of the lock may unlink and bind it.
    pub fn control_socket(&self) -> PathBuf {
        control_socket(&self.path)
    }
}

/// What would keep [`DataDir::open`] from these folders, found without a change. Does not look at the lock.
pub fn check(path: &Path, uploads: &Path) -> Result<(), DataDirFault> {
    fits_socket(path)?;
    may_write(path)?;
    may_write(uploads)?;
    let lock = path.join(LOCK);
    match lock.symlink_metadata() {
        Ok(_) => writable(&lock),
        Err(_) => Ok(()),
    }
}

/// What [`DataDir::open`] would make of these folders: the lock first, then what is inside before what it is in.
pub fn absent(path: &Path, uploads: &Path) -> Result<Vec<PathBuf>, DataDirFault> {
    let lock = path.join(LOCK);
    let mut folders: Vec<&Path> = [missing(path)?.0, missing(uploads)?.0].concat();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    folders.dedup();
    let lock = lock.symlink_metadata().is_err().then_some(lock);
    Ok(lock.into_iter().chain(folders.into_iter().map(Path::to_owned)).collect())
}

/// Whether a folder can be written to, or can be made.
pub fn may_write(path: &Path) -> Result<(), DataDirFault> {
    writable(missing(path)?.1)
}

fn writable(path: &Path) -> Result<(), DataDirFault> {
    kernel::may_write(path).map_err(|error| DataDirFault::Disk {
        doing: "write to",
        path: path.to_owned(),
        error,
    })
}

/// The path where the server of the data folder `path` listens for commands.
pub fn control_socket(path: &Path) -> PathBuf {
    path.join(CONTROL_SOCKET)
}

/// The lock of a data folder, if it is free: while it lives no server can start there. Creates and writes no file.
pub fn hold(path: &Path) -> Option<File> {
    let file = File::open(path.join(LOCK)).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Whether an entry of a data folder belongs to its lock: it does not show that there is a database.
pub fn is_own(name: &OsStr) -> bool {
    name == LOCK || name == CONTROL_SOCKET
}

const CONTROL_SOCKET: &str = "control.sock";
const LOCK: &str = "lock";

fn fits_socket(path: &Path) -> Result<(), DataDirFault> {
    let socket = path.join(CONTROL_SOCKET);
    match socket.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
        true => Err(DataDirFault::SocketPathTooLong { path: socket }),
        false => Ok(()),
    }
}

fn take_lock(path: &Path) -> Result<File, DataDirFault> {
    let disk = |doing, error| DataDirFault::Disk { doing, path: path.to_owned(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(path)
        .map_err(|error| disk("open", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirFault::Locked { lock: path.to_owned(), pid: read_pid(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(disk("lock", error)),
    }
    // Its holder removed it between these two steps, as a refused restore does: this lock would exclude nobody.
    if file.metadata().map_err(|error| disk("look at", error))?.nlink() == 0 {
        return Err(DataDirFault::Locked { lock: path.to_owned(), pid: None });
    }
    // The pid of an earlier holder is removed first: a reader at this moment finds none rather than a wrong one.
    match file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes())) {
        // The lock is held nevertheless: a server starts on a full disk, and its pid is for people only.
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {}
        written => written.map_err(|error| disk("write", error))?,
    }
    Ok(file)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // A text longer than a pid is not a pid.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

/// Creates `path` and its missing ancestors, and syncs each new name: SQLite syncs the folder of its database, but not the
/// folder above.
fn make_folder(path: &Path) -> Result<(), DataDirFault> {
    let disk = |doing, path: &Path, error| DataDirFault::Disk { doing, path: path.to_owned(), error };
    for folder in missing(path)?.0.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            // A concurrent first start created it; the lock decides between the two.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(disk("make the folder", folder, error)),
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| disk("sync", parent, error))?;
    }
    Ok(())
}

/// The folders that are missing, the innermost first, and the one that is there.
fn missing(path: &Path) -> Result<(Vec<&Path>, &Path), DataDirFault> {
    let disk = |doing, path: &Path, error| DataDirFault::Disk { doing, path: path.to_owned(), error };
    let mut missing = Vec::new();
    for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        match folder.metadata() {
            Ok(metadata) if metadata.is_dir() => return Ok((missing, folder)),
            Ok(_) => return Err(disk("use as a folder", folder, io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(folder),
            Err(error) => return Err(disk("look at", folder, error)),
        }
    }
    Ok((missing, Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("there").permissions().mode() & 0o7777
    }

    #[track_caller]
    fn refused(path: &Path, uploads: &Path) -> String {
        DataDir::open(path, uploads).expect_err("a fault").to_string()
    }

    #[test]
    fn one_holder_at_a_time() {
        let folder = Folder::new();
        let (path, uploads) = (folder.join("a/b"), folder.join("c/d"));
        let held = DataDir::open(&path, &uploads).expect("ours");
        for made in [&path, &uploads, &folder.join("a")] {
            assert_eq!(mode(made), 0o700, "{}", made.display());
        }
        let lock = path.join("lock");
        assert_eq!(mode(&lock), 0o600);
        assert_eq!(held.path(), path.as_path());

        assert_eq!(held.control_socket(), path.join("control.sock"));
        let text = refused(&path, &uploads);
        assert_eq!(
            text,
            format!("{} is locked: process {} uses this folder", lock.display(), std::process::id())
        );
        std::fs::write(&lock, "no pid").expect("written");
        assert_eq!(
            refused(&path, &uploads),
            format!("{} is locked: another process uses this folder", lock.display())
        );
        drop(held);
        std::fs::write(&lock, "99999999").expect("written");
        drop(DataDir::open(&path, &uploads).expect("free again"));
        assert_eq!(std::fs::read_to_string(&lock).expect("read"), format!("{}\n", std::process::id()));
    }

    #[test]
    fn what_is_absent_is_what_it_makes() {
        let folder = Folder::new();
        let (path, uploads) = (folder.join("a/b"), folder.join("a/b/up"));
        let absent = absent(&path, &uploads).expect("paths");
        assert_eq!(absent, ["a/b/lock", "a/b/up", "a/b", "a"].map(|name| folder.join(name)));
        drop(DataDir::open(&path, &uploads).expect("made"));
        assert!(absent.iter().all(|path| path.exists()));
        assert_eq!(super::absent(&path, &uploads).expect("paths"), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_not_written_through() {
        let folder = Folder::new();
        let (data, uploads, file) = (folder.join("data"), folder.join("uploads"), folder.join("elsewhere"));
        std::fs::create_dir(&data).expect("a folder");
        std::fs::write(&file, "as it was").expect("a file");
        std::os::unix::fs::symlink(&file, data.join(LOCK)).expect("a link");
        DataDir::open(&data, &uploads).expect_err("a link");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "as it was");
    }

    #[test]
    fn a_fault_of_the_disk_names_the_path() {
        let folder = Folder::new();
        let file = folder.join("file");
        std::fs::write(&file, "").expect("a file");
        let text = refused(&file, &folder.join("up"));
        assert!(text.starts_with(&format!("cannot use as a folder {}: ", file.display())), "{text}");
        let text = refused(&folder.join("data"), &file.join("up"));
        assert!(text.contains(&format!("{}", file.display())), "{text}");
        std::fs::create_dir_all(folder.join("taken/lock")).expect("a folder");
        let text = refused(&folder.join("taken"), &folder.join("up"));
        assert!(text.starts_with("cannot open ") && text.contains("taken/lock: "), "{text}");
    }

    #[test]
    fn a_control_socket_must_fit() {
        let folder = Folder::new();
        let base = folder.as_os_str().len() + "//control.sock".len();
        let fits = folder.join("x".repeat(SOCKET_PATH_MAX - base));
        let held = DataDir::open(&fits, &folder.join("up")).expect("it fits");
        std::os::unix::net::UnixListener::bind(held.control_socket()).expect("the kernel agrees");
        let long = folder.join("x".repeat(SOCKET_PATH_MAX - base + 1));
        let text = refused(&long, &folder.join("up"));
        assert!(text.contains(&format!("has {} bytes", SOCKET_PATH_MAX + 1)), "{text}");
        assert!(!long.exists());
        assert!(std::os::unix::net::UnixListener::bind(folder.join("x".repeat(SOCKET_PATH_MAX))).is_err());
    }
}
