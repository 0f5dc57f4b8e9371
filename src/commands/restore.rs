//! `natter restore FILE`: the content of a backup, in an empty DATA_DIR and an empty UPLOADS. Everything is unpacked and judged
//! beside its place first, and moved there in the end, the database last.
//! Invariant: what was there before is never touched, and a backup that is not whole leaves both folders as empty as they were.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::archive::{DATABASE, Reader, UPLOADS};
use super::with_config;
use crate::config::{Config, secrets};
use crate::runtime::data_dir::{self, DataDir, DataDirFault};
use crate::store::{self, StoreOptions};
use crate::work::files;

/// In both folders: where a restore prepares. A crash leaves it, and the next restore begins by removing it.
const STAGE: &str = "restoring";

/// What the root of a file system holds from its beginning, and only its owner may look into.
const LOST_AND_FOUND: &str = "lost+found";

pub fn run(file: &Path) -> ExitCode {
    with_config(|config| {
        restore(config, file)?;
        println!("restored from {} into {}", file.display(), config.data_dir.display());
        for name in secrets::missing(&config.data_dir, config) {
            println!("{name} is not in this backup: set it as it was, or the next start makes another one");
        }
        Ok(())
    })
}

fn restore(config: &Config, file: &Path) -> Result<(), String> {
    let archive = File::open(file).map_err(text(file))?;
    let data_dir = DataDir::open(&config.data_dir, &config.uploads).map_err(|fault| match fault {
        DataDirFault::Held { .. } => format!("{fault}: stop the server first"),
        fault => fault.to_string(),
    })?;
    let places = Places::new(data_dir.path(), data_dir.uploads());
    places.clear()?;
    places.are_empty()?;
    let result = unpack(archive, &places).map_err(text(file)).and_then(|()| {
        let database = StoreOptions { path: places.stage.join(DATABASE), synchronous_full: true };
        store::renew(&database).map_err(|fault| fault.to_string())?;
        places.move_in()
    });
    let cleared = places.clear();
    result.and(cleared)
}

fn text(path: &Path) -> impl Fn(io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}

/// Where everything goes, and where it is prepared: within the same folder, so that a move is a rename, also where UPLOADS is a
/// file system of its own.
struct Places {
    data: PathBuf,
    uploads: PathBuf,
    stage: PathBuf,
    stage_uploads: PathBuf,
}

impl Places {
    fn new(data: &Path, uploads: &Path) -> Places {
        Places {
            data: data.to_owned(),
            uploads: uploads.to_owned(),
            stage: data.join(STAGE),
            stage_uploads: uploads.join(STAGE),
        }
    }

    /// Removes what a restore prepared and did not use.
    fn clear(&self) -> Result<(), String> {
        for path in [&self.stage, &self.stage_uploads] {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(text(path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Beside what the lock itself needs, nothing may be there: it would be mixed with the backup's, or lost.
    fn are_empty(&self) -> Result<(), String> {
        let within = self.uploads.canonicalize().map_err(text(&self.uploads))?;
        for entry in entries(&self.data)? {
            let is_ours =
                entry.file_name().is_some_and(|name| data_dir::is_own(name) || name == LOST_AND_FOUND);
            let leads_to_uploads = || entry.canonicalize().is_ok_and(|entry| within.starts_with(entry));
            if !is_ours && !leads_to_uploads() {
                return Err(occupied("DATA_DIR", &self.data, &entry));
            }
        }
        for entry in entries(&self.uploads)? {
            if entry.file_name().is_some_and(|name| name == LOST_AND_FOUND) {
                continue;
            }
            // The folder of unfinished uploads stays behind every server.
            let is_empty_folder = entry.is_dir() && entries(&entry)?.is_empty();
            if !is_empty_folder {
                return Err(occupied("UPLOADS", &self.uploads, &entry));
            }
        }
        Ok(())
    }

    /// The database last: a folder without it holds no natter. What can't be finished is taken back.
    fn move_in(&self) -> Result<(), String> {
        let mut moved = Vec::new();
        let result = self.move_all(&mut moved);
        if result.is_err() {
            for path in moved.iter().rev() {
                let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                if let Err(error) = removed {
                    eprintln!("natter: {} could not be removed: {error}", path.display());
                }
            }
        }
        result
    }

    fn move_all(&self, moved: &mut Vec<PathBuf>) -> Result<(), String> {
        let mut put = |from: &Path, to: PathBuf| {
            fs::rename(from, &to).map_err(text(&to))?;
            moved.push(to);
            Ok::<(), String>(())
        };
        for folder in entries(&self.stage_uploads)? {
            sync(&folder)?;
            put(&folder, self.uploads.join(folder.file_name().unwrap_or_default()))?;
        }
        sync(&self.uploads)?;
        for name in secrets::FILES {
            if self.stage.join(name).exists() {
                put(&self.stage.join(name), self.data.join(name))?;
            }
        }
        sync(&self.data)?;
        put(&self.stage.join(DATABASE), self.data.join(DATABASE))?;
        sync(&self.data)
    }
}

fn occupied(variable: &str, folder: &Path, entry: &Path) -> String {
    format!(
        "{variable} is not empty: {} holds {:?}; a backup is restored into an empty one",
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

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Unpacks everything into its stage; a name that no backup of ours holds is refused.
fn unpack(archive: File, places: &Places) -> io::Result<()> {
    make(&places.stage)?;
    make(&places.stage_uploads)?;
    let foreign =
        |what: String| io::Error::new(ErrorKind::InvalidData, format!("this is no backup of natter: {what}"));
    let mut reader = Reader::new(BufReader::new(archive));
    let mut has_database = false;
    while let Some(entry) = reader.entry()? {
        let name = entry.name.as_str();
        let path = match name.strip_prefix(UPLOADS) {
            Some(inner) if files::is_published(inner) => places.stage_uploads.join(inner),
            None if name == DATABASE || secrets::FILES.contains(&name) => places.stage.join(name),
            _ => return Err(foreign(format!("it holds {name:?}"))),
        };
        has_database |= name == DATABASE;
        if let Some(folder) = path.parent() {
            make(folder)?;
        }
        let out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        let mut out = match out {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(foreign(format!("it holds {name:?} twice")));
            }
            out => out?,
        };
        reader.copy_to(&mut out)?;
        out.sync_all()?;
    }
    if has_database { Ok(()) } else { Err(foreign("it holds no database".to_owned())) }
}
