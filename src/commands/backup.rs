//! `natter backup FILE`: writes the database, the keys and the uploads into one archive, or with `-` to stdout.
//!
//! The process that writes the database makes a copy of it. This command then archives that copy, the keys and the
//! uploads. An upload never changes after it is published, so its file can be read while the server runs. An upload
//! that was erased after the copy was made is not in the archive, because its owner erased it. Leaves to `verify`
//! whether an archive is good, and to `scheduled` the backups that the server makes by itself. Invariant: FILE is
//! complete or does not exist, and no existing file is overwritten.

mod pace;
pub mod scheduled;
mod verify;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use self::pace::{Pace, Paced};
use self::verify::Verified;
use super::archive::{DATABASE, UPLOADS, Writer};
use super::control::{BACKUP, BACKUP_ASKED, Control, Needs};
use super::output::{Failure, good, note, say};
use super::serve::store_options;
use super::{DataFolder, absolute, for_server, no_server};
use crate::base::json::Value;
use crate::config::{Config, secrets};
use crate::store::{self, StoreOptions, Survey};
use crate::work::files;

pub fn run(folder: &DataFolder, file: &Path) -> ExitCode {
    for_server(folder, |config| {
        let is_stdout = file == Path::new("-");
        let packed = if is_stdout { to_stdout(config)? } else { back_up(config, file, By::Command)? };
        let Packed { bytes, uploads, keys, survey } = packed;
        // On stdout is the archive.
        let say = |text: String| if is_stdout { note!("natter: {text}") } else { say!("{text}") };
        let name = if is_stdout { "stdout".to_owned() } else { file.display().to_string() };
        let folder = absolute(&config.data_dir);
        say(format!("{name}: {bytes} bytes, with {uploads} files of uploads, of the server in {folder}"));
        match keys {
            0 => say("the keys are in variables, not in this backup: keep them too".to_owned()),
            _ => say("it holds keys of this server: keep it as safe as DATA_DIR".to_owned()),
        }
        if survey.files > uploads {
            note!(
                "natter: {} files of uploads that the database knows are not in {}",
                survey.files - uploads,
                absolute(&config.uploads)
            );
        }
        if let Some(strange) = survey.strange {
            note!("natter: `natter restore` will refuse this backup: in the database, {strange}");
        }
        Ok(())
    })
}

/// `natter backup --verify FILE`.
pub fn run_verify(file: &Path) -> ExitCode {
    match verify::verify(file, &mut Pace::full()) {
        Ok(Verified { uploads, missing, is_old }) => {
            say!("{}: a good backup, with {uploads} files of uploads", file.display());
            if missing > 0 {
                say!("{missing} files of uploads that its database knows are not in it");
            }
            if is_old {
                say!("an older natter made it: its files of uploads have no hashes to compare with");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            note!("natter: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The content of an archive.
struct Packed {
    bytes: u64,
    uploads: u64,
    keys: usize,
    survey: Survey,
}

/// Who wants a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Command,
    /// The server itself, by BACKUP_EVERY.
    Schedule,
    /// The server, because an admin asks for it.
    Admin,
}

/// One that the server makes is made at half speed and verified: a file that is not good does not get its name.
fn back_up(config: &Config, file: &Path, by: By) -> Result<Packed, Failure> {
    let mut pace = if by == By::Command { Pace::full() } else { Pace::half() };
    let text = |error: io::Error| format!("{}: {error}", file.display());
    if file.symlink_metadata().is_ok() {
        return Err(format!("{} already exists, and is not overwritten", file.display()).into());
    }
    if !store::exists(&store_options(config)) {
        return Err(no_server(config).into());
    }
    remove_stale(folder_of(file), |text| note!("natter: {text}"));
    // Created before the request to the server, so that a folder that can't be written to is reported at once.
    let (part, out) = create_part(file).map_err(text)?;
    let result = copy_database(config, by).and_then(|(copy, survey)| {
        check_uploads(config, &survey)?;
        let mut to = &out;
        let packed = pack(config, &mut pace.writer(&mut to, Some(&out)), copy, survey).map_err(text)?;
        out.sync_all().map_err(text)?;
        if by != By::Command {
            verify::verify(&part, &mut pace)?;
        }
        put(&part, file).map_err(text)?;
        Ok(packed)
    });
    match fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            note!("natter: {} could not be removed: {error}", part.display());
        }
        _ => {}
    }
    result
}

/// `natter backup -`: for a program that takes it elsewhere. An archive that ends early is no backup: its checksum is
/// missing.
fn to_stdout(config: &Config) -> Result<Packed, Failure> {
    let mut stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return Err(
            "stdout is a terminal: send it to a file or a program, as in `natter backup - | ssh ...`"
                .to_owned()
                .into(),
        );
    }
    if !store::exists(&store_options(config)) {
        return Err(no_server(config).into());
    }
    let (copy, survey) = copy_database(config, By::Command)?;
    check_uploads(config, &survey)?;
    pack(config, &mut Pace::full().writer(&mut stdout, None), copy, survey)
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => {
                "stdout was closed before the archive was complete: what was read of it is no backup"
                    .to_owned()
            }
            _ => format!("stdout: {error}"),
        })
        .map_err(Failure::from)
}

fn check_uploads(config: &Config, survey: &Survey) -> Result<(), String> {
    if survey.files == 0 || config.uploads.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the database knows {} files of uploads, and {} is not a folder: set UPLOADS as for the server",
        survey.files,
        absolute(&config.uploads)
    ))
}

/// The part of an incomplete file's name before the process id.
const PART: &str = ".natter-part-";

/// Creates the file that becomes FILE when it is complete, with a lock that ends with this process.
fn create_part(file: &Path) -> io::Result<(PathBuf, File)> {
    let mut name = file.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!("{PART}{}", std::process::id()));
    let path = file.with_file_name(name);
    let out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    match out.try_lock() {
        // On a file system without locks, no other backup removes a file either.
        Ok(()) | Err(TryLockError::Error(_)) => {}
        Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
    }
    // Another backup looked for stale files between these two steps, and removed this one.
    if out.metadata()?.nlink() == 0 {
        return Err(io::Error::other("another backup removed this file while it was created: try again"));
    }
    Ok((path, out))
}

/// Removes the files that killed backups left in this folder. A backup that still writes to such a file holds its lock.
/// `tell` gets a sentence for each.
fn remove_stale(folder: &Path, tell: fn(&str)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_part = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.rsplit_once(PART)
                .is_some_and(|(_, pid)| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let is_file = || path.symlink_metadata().is_ok_and(|file| file.is_file());
        if !is_part || !is_file() {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(&path) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => tell(&format!("{} was left by a backup that was killed: removed", path.display())),
            Err(error) => tell(&format!("{} could not be removed: {error}", path.display())),
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A copy of the database, whose file is already unlinked: it disappears whenever and however this process ends.
fn copy_database(config: &Config, by: By) -> Result<(File, Survey), Failure> {
    let mut control = Control::reach(config, Needs::Database)?;
    let asked = control.ask("POST", if by == By::Admin { BACKUP_ASKED } else { BACKUP }, "");
    let copy = asked.and_then(|answer| {
        if answer.status == 404 {
            return Err("the running server has another version, which can't make a backup".to_owned().into());
        }
        let answer = good(&answer, "copy").map_err(|Failure { exit, problem }| match answer.status {
            503 => Failure {
                exit,
                problem: format!(
                    "the server can't make a copy now: it is stopping, is making another copy, or has a fault: {problem}"
                ),
            },
            _ => Failure { exit, problem },
        })?;
        let name = answer.get("data").and_then(|data| data.get("file")).and_then(Value::as_str);
        let name = name.filter(|name| is_plain(name)).ok_or_else(|| "the server's answer names no copy".to_owned())?;
        let path = config.data_dir.join(name);
        let text = |error: io::Error| format!("{}: {error}", path.display());
        let copy = File::open(&path).map_err(text)?;
        let options = StoreOptions::new(path.clone());
        let survey = store::survey(&options).map_err(|fault| fault.to_string());
        fs::remove_file(&path).map_err(text)?;
        Ok((copy, survey.map_err(Failure::from)?))
    });
    control.close()?;
    copy
}

/// Whether the name is one plain path segment.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

fn pack(config: &Config, out: &mut Paced<'_>, mut database: File, survey: Survey) -> io::Result<Packed> {
    let mut archive = Writer::new(BufWriter::new(out));
    add(&mut archive, DATABASE, &mut database)?;
    let (mut keys, mut uploads) = (0, 0_u64);
    for name in secrets::FILES {
        let is_there = add_if_there(&mut archive, name, &config.data_dir.join(name))?;
        // No variable sets that one: it says nothing about where the others are.
        keys += usize::from(is_there && name != secrets::PUSH_KEY);
    }
    files::each_published(&config.uploads, |name, path| {
        uploads += u64::from(add_if_there(&mut archive, &format!("{UPLOADS}{name}"), path)?);
        Ok::<(), io::Error>(())
    })?;
    let out = archive.finish()?.into_inner().map_err(|error| error.into_error())?;
    Ok(Packed { bytes: out.bytes, uploads, keys, survey })
}

fn add<W: Write>(archive: &mut Writer<W>, name: &str, file: &mut File) -> io::Result<()> {
    let size = file.metadata()?.len();
    archive.add(name, size, file)
}

/// Adds a file that may be erased at any time. Returns whether it existed.
fn add_if_there<W: Write>(archive: &mut Writer<W>, name: &str, path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(mut file) => add(archive, name, &mut file).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the complete archive its name. A link fails if the name was taken meanwhile, where a rename would overwrite
/// that file. On a file system without links, a short race between check and rename remains.
fn put(part: &Path, file: &Path) -> io::Result<()> {
    match fs::hard_link(part, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        Err(_) if file.symlink_metadata().is_ok() => return Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(part, file)?,
        Ok(()) => {}
    }
    File::open(folder_of(file))?.sync_all()
}
