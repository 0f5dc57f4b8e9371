//! `natter restore FILE`: restores a backup, or a database without an archive, into empty DATA_DIR and UPLOADS.
//!
//! Everything is unpacked and checked in a staging folder first, and then moved, the database last.
//! Invariant: existing files are never touched. If FILE is incomplete, or contains anything that natter did not make,
//! both folders stay empty, or are not made.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::archive::{DATABASE, Reader, UPLOADS};
use super::output::say;
use super::restoring::{Restoring, make, text};
use super::serve::clock;
use super::{DataFolder, absolute, keys, with_config};
use crate::config::{Config, secrets};
use crate::store::{self, Access, Sessions, StoreOptions};
use crate::work::files;

/// The first bytes of every SQLite database (<https://www.sqlite.org/fileformat.html>).
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The kind of FILE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Archive,
    /// A database without an archive, for example from Litestream.
    Database,
}

pub fn run(folder: &DataFolder, file: &Path, end_sessions: bool) -> ExitCode {
    with_config(folder, |config| {
        let sessions = if end_sessions { Sessions::Ended } else { Sessions::Kept };
        let (kind, needs_other_secret) = restore(config, file, sessions)?;
        say!("restored from {} into {}", file.display(), absolute(&config.data_dir));
        say!(
            "{}members that were disabled and content that was erased since this backup was made are back{}",
            if end_sessions { "all members have to sign in again; " } else { "sessions that were revoked, " },
            if end_sessions { "" } else { "; use --end-sessions to have all members sign in again" },
        );
        for name in secrets::missing(&config.data_dir, config) {
            let otherwise = match name == secrets::PASSWORD {
                true => "the next start is refused",
                false => "the next start makes a new one",
            };
            say!("{name} is not in this backup: set the old one, or {otherwise}");
        }
        if needs_other_secret {
            say!(
                "{} is not the one that the passwords of this database need: set the right one, or the next start is refused",
                secrets::PASSWORD
            );
        }
        if matches!(kind, FileKind::Database) {
            say!("uploads are not in it: copy them into {}", absolute(&config.uploads));
        }
        Ok(())
    })
}

/// Restores FILE. Returns its kind, and whether the database needs another password secret than the present one.
fn restore(config: &Config, file: &Path, sessions: Sessions) -> Result<(FileKind, bool), String> {
    let kind = unpack_into(config, file, &mut |restoring, _| {
        let database = StoreOptions::new(restoring.stage.join(DATABASE));
        store::adopt(&database, sessions, clock().unix_ms)
            .map_err(|fault| format!("{} can't be restored: {fault}", file.display()))
    })?;
    let needs_other_secret = store::needs_other_secret(&keys::present(config)?, Access::Exclusive);
    Ok((kind, needs_other_secret.map_err(|fault| fault.to_string())?))
}

/// Unpacks FILE, lets `prepare` check and change what is in the staging folder, and moves it into DATA_DIR and UPLOADS.
pub fn unpack_into(
    config: &Config,
    file: &Path,
    prepare: &mut dyn FnMut(&Restoring, FileKind) -> Result<(), String>,
) -> Result<FileKind, String> {
    let mut from = File::open(file).map_err(text(file))?;
    let kind = kind(&mut from).map_err(text(file))?;
    let (_data_dir, restoring) = Restoring::begin(config)?;
    let unpacked = match kind {
        FileKind::Archive => unpack(from, &restoring).map_err(text(file)),
        FileKind::Database => take(from, file, &restoring),
    };
    let result = unpacked.and_then(|()| prepare(&restoring, kind)).and_then(|()| restoring.move_in());
    restoring.end(result.map(|()| kind))
}

fn kind(from: &mut File) -> io::Result<FileKind> {
    let mut front = Vec::with_capacity(SQLITE_MAGIC.len());
    from.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut front)?;
    from.seek(SeekFrom::Start(0))?;
    Ok(if front == SQLITE_MAGIC { FileKind::Database } else { FileKind::Archive })
}

/// Copies a database into the staging folder. A database with a WAL next to it is in use, or was left by a crash: its
/// file alone is incomplete.
fn take(mut from: File, file: &Path, restoring: &Restoring) -> Result<(), String> {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(format!(
            "{} is the write-ahead log of {}, which is incomplete without it: `natter backup` makes a complete copy",
            log.display(),
            file.display()
        ));
    }
    let path = restoring.stage.join(DATABASE);
    restoring.make_stages().map_err(text(&restoring.stage))?;
    let copied = create(&path).and_then(|mut out| {
        io::copy(&mut from, &mut out)?;
        out.sync_all()
    });
    copied.map_err(text(&path))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

/// Unpacks everything into the staging folders. Refuses names that natter does not write into a backup.
fn unpack(archive: File, restoring: &Restoring) -> io::Result<()> {
    restoring.make_stages()?;
    let foreign = |what: String| {
        io::Error::new(ErrorKind::InvalidData, format!("this is not a backup of natter: {what}"))
    };
    let mut reader = Reader::new(BufReader::new(archive));
    let mut has_database = false;
    while let Some(entry) = reader.entry()? {
        let name = entry.name.as_str();
        let path = match name.strip_prefix(UPLOADS) {
            Some(inner) if files::is_published(inner) => restoring.stage_uploads.join(inner),
            None if name == DATABASE || secrets::FILES.contains(&name) => restoring.stage.join(name),
            _ => return Err(foreign(format!("it holds {name:?}"))),
        };
        has_database |= name == DATABASE;
        if let Some(folder) = path.parent() {
            make(folder)?;
        }
        let mut out = match create(&path) {
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
