//! The staging folders of a restore, and the moves from there into DATA_DIR and UPLOADS.
//!
//! Both folders have a staging folder inside of them, so that each move is a rename, also if UPLOADS is another file
//! system. Before the first move, a list of all moves is in the staging folder, so that the next restore can undo those
//! of a killed one.
//! Invariant: files that existed before are never touched. Once DATA_DIR has a database, the restore is complete.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::archive::DATABASE;
use super::output::note;
use crate::config::{BACKUPS, Config, secrets};
use crate::runtime::data_dir::{self, DataDir, DataDirFault};

/// The staging folder, in both folders.
const STAGE: &str = "restoring";

/// The list of moves, in the staging folder of DATA_DIR: one line for each moved name, `data NAME` or `uploads NAME`.
const MOVES: &str = "moves";

/// A folder in the root of each ext file system, readable by root only.
const LOST_AND_FOUND: &str = "lost+found";

pub struct Restoring {
    data: PathBuf,
    uploads: PathBuf,
    pub stage: PathBuf,
    pub stage_uploads: PathBuf,
    /// The lock and the folders that were missing before.
    made: Vec<PathBuf>,
}

/// The state that an earlier restore left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// It was killed after the last move.
    Complete,
    /// It was killed before the last move.
    Part,
}

impl Restoring {
    pub fn new(config: &Config) -> Restoring {
        let (data, uploads) = (config.data_dir.clone(), config.uploads.clone());
        let (stage, stage_uploads) = (data.join(STAGE), uploads.join(STAGE));
        Restoring { stage, stage_uploads, data, uploads, made: Vec::new() }
    }

    /// Locks the folders, which must be empty but for what a killed restore left: that is removed. The lock lasts as long as the value.
    pub fn begin(config: &Config) -> Result<(DataDir, Restoring), String> {
        let absent =
            data_dir::absent(&config.data_dir, &config.uploads).map_err(|fault| fault.to_string())?;
        let data_dir = DataDir::open(&config.data_dir, &config.uploads).map_err(|fault| match fault {
            DataDirFault::Locked { .. } => format!("{fault}: stop the server first"),
            fault => fault.to_string(),
        })?;
        let restoring = Restoring { made: absent, ..Restoring::new(config) };
        match restoring.clear().and_then(|()| restoring.check_empty()) {
            Ok(()) => Ok((data_dir, restoring)),
            Err(problem) => restoring.end(Err(problem)),
        }
    }

    /// Removes the staging folders and, of what has failed, what [`Restoring::begin`] has made. The caller still has the lock.
    pub fn end<T>(&self, result: Result<T, String>) -> Result<T, String> {
        let cleared = self.clear();
        let result = result.and_then(|ended| cleared.map(|()| ended));
        if result.is_err() {
            for path in &self.made {
                let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
                match removed {
                    // What somebody else has put there stays.
                    Err(error)
                        if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) =>
                    {
                        note!("natter: {} could not be removed: {error}", path.display());
                    }
                    _ => {}
                }
            }
        }
        result
    }

    /// The staging folder of DATA_DIR is removed last: while it exists, other files may be left.
    pub fn left(&self) -> Left {
        match (self.stage.exists(), self.data.join(DATABASE).exists()) {
            (false, _) => Left::Nothing,
            (true, true) => Left::Complete,
            (true, false) => Left::Part,
        }
    }

    /// What a start finds, which refuses a part of the old data.
    pub fn complete(&self) -> Result<Left, String> {
        match self.left() {
            Left::Part => Err(format!(
                "a restore was interrupted in {}: run `natter restore FILE` again, which starts from the beginning",
                self.data.display()
            )),
            left => Ok(left),
        }
    }

    /// Removes the staging folders, and undoes the moves of a killed restore.
    pub fn clear(&self) -> Result<(), String> {
        if self.left() == Left::Part {
            self.undo_moves()?;
        }
        for path in [&self.stage_uploads, &self.stage] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(text(path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn undo_moves(&self) -> Result<(), String> {
        let list = self.stage.join(MOVES);
        let moves = match fs::read_to_string(&list) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            moves => moves.map_err(text(&list))?,
        };
        for line in moves.lines() {
            let path = match line.split_once(' ') {
                Some(("data", name)) if secrets::FILES.contains(&name) => self.data.join(name),
                Some(("uploads", name)) if is_folder_of_uploads(name) => self.uploads.join(name),
                _ => continue,
            };
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(text(&path)(error)),
                _ => {}
            }
        }
        sync(&self.uploads)?;
        sync(&self.data)
    }

    /// Refuses folders that contain anything in addition to the files of the lock and the backups, because other files would be
    /// mixed with those of the backup.
    pub fn check_empty(&self) -> Result<(), String> {
        let within = self.uploads.canonicalize().map_err(text(&self.uploads))?;
        for entry in entries(&self.data)? {
            let is_ours = entry
                .file_name()
                .is_some_and(|name| data_dir::is_own(name) || name == LOST_AND_FOUND || name == BACKUPS);
            let leads_to_uploads = || entry.canonicalize().is_ok_and(|entry| within.starts_with(entry));
            if !is_ours && !leads_to_uploads() {
                return Err(occupied("DATA_DIR", &self.data, &entry));
            }
        }
        for entry in entries(&self.uploads)? {
            if entry.file_name().is_some_and(|name| name == LOST_AND_FOUND) {
                continue;
            }
            // Every server leaves its folder of unfinished uploads.
            let is_empty_folder = entry.is_dir() && entries(&entry)?.is_empty();
            if !is_empty_folder {
                return Err(occupied("UPLOADS", &self.uploads, &entry));
            }
        }
        Ok(())
    }

    pub fn make_stages(&self) -> io::Result<()> {
        make(&self.stage)?;
        make(&self.stage_uploads)
    }

    /// Moves everything into DATA_DIR and UPLOADS, the database last: a folder without a database is not a server's. If
    /// a move fails, the moves are undone by [`Restoring::clear`].
    pub fn move_in(&self) -> Result<(), String> {
        let result = self.move_all();
        if result.is_err() {
            // It may have been moved, and then the sync of the folder failed.
            match fs::remove_file(self.data.join(DATABASE)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    note!("natter: {} could not be removed: {error}", self.data.join(DATABASE).display());
                }
                _ => {}
            }
        }
        result
    }

    fn move_all(&self) -> Result<(), String> {
        let folders = entries(&self.stage_uploads)?;
        let keys: Vec<&str> =
            secrets::FILES.into_iter().filter(|name| self.stage.join(name).exists()).collect();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut list: String = folders.iter().map(|folder| format!("uploads {}\n", name(folder))).collect();
        list.extend(keys.iter().map(|name| format!("data {name}\n")));
        self.write_list(&list)?;
        let put = |from: &Path, to: PathBuf| fs::rename(from, &to).map_err(text(&to));
        for folder in &folders {
            sync(folder)?;
            // The target may be an empty folder that a server left.
            put(folder, self.uploads.join(name(folder)))?;
        }
        sync(&self.uploads)?;
        for name in keys {
            put(&self.stage.join(name), self.data.join(name))?;
        }
        sync(&self.data)?;
        put(&self.stage.join(DATABASE), self.data.join(DATABASE))?;
        sync(&self.data)
    }

    /// Writes and syncs the list before the first move.
    fn write_list(&self, list: &str) -> Result<(), String> {
        let path = self.stage.join(MOVES);
        let written =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).and_then(|mut file| {
                file.write_all(list.as_bytes())?;
                file.sync_all()
            });
        written.map_err(text(&path))?;
        sync(&self.stage)?;
        sync(&self.data)
    }
}

/// `UPLOADS/<aa>`.
fn is_folder_of_uploads(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn occupied(variable: &str, folder: &Path, entry: &Path) -> String {
    format!(
        "{variable} is not empty: {} holds {:?}. A backup can only be restored into an empty folder",
        folder.display(),
        entry.file_name().unwrap_or_default(),
    )
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        })
        .map_err(text(folder))?;
    paths.sort();
    Ok(paths)
}

fn sync(folder: &Path) -> Result<(), String> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(text(folder))
}

pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

pub fn text(path: &Path) -> impl Fn(io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
