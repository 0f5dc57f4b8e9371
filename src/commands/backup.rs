//! `natter backup FILE`: a copy of the database, made by whoever writes it; then that copy, the keys and the uploads in one
//! archive, made here. An upload is never changed once it is there, so its file may be read while the server runs; one that was
//! erased since the copy was made is missing in the archive, as its owner wishes.
//! Invariant: FILE is whole or not there, and nothing that stood there is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use super::archive::{DATABASE, UPLOADS, Writer};
use super::control::{BACKUP, Control};
use super::member::good;
use super::with_config;
use crate::base::json::Value;
use crate::config::{Config, secrets};
use crate::work::files;

pub fn run(file: &Path) -> ExitCode {
    with_config(|config| {
        let Packed { bytes, uploads, keys } = back_up(config, file)?;
        println!("{}: {bytes} bytes, with {uploads} files of uploads", file.display());
        match keys {
            0 => println!("the keys stand in variables, not in this file: keep them too"),
            _ => println!("it holds keys of this server: keep it as safe as DATA_DIR"),
        }
        Ok(())
    })
}

/// What went into an archive.
struct Packed {
    bytes: u64,
    uploads: usize,
    keys: usize,
}

fn back_up(config: &Config, file: &Path) -> Result<Packed, String> {
    let text = |error: io::Error| format!("{}: {error}", file.display());
    if file.symlink_metadata().is_ok() {
        return Err(format!("{} is there already, and is not overwritten", file.display()));
    }
    // Made before the server is asked for anything: a place that can't be written to is told at once.
    let part = part_of(file).map_err(text)?;
    let out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&part).map_err(text)?;
    let result = copy_database(config).and_then(|copy| {
        pack(config, out, copy).and_then(|packed| put(&part, file).map(|()| packed)).map_err(text)
    });
    match fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            eprintln!("natter: {} could not be removed: {error}", part.display());
        }
        _ => {}
    }
    result
}

/// Where FILE grows until it is whole.
fn part_of(file: &Path) -> io::Result<PathBuf> {
    let mut name = file.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".part-{}", std::process::id()));
    Ok(file.with_file_name(name))
}

/// The copy of the database, whose name is gone already: however this process ends, nothing of it stays.
fn copy_database(config: &Config) -> Result<File, String> {
    let mut control = Control::reach(config)?;
    let asked = control.ask("POST", BACKUP, "");
    let copy = asked.and_then(|answer| {
        if answer.status == 404 {
            return Err("the server that runs here makes no backups: it is of another version".to_owned());
        }
        let answer = good(&answer).map_err(|problem| match answer.status {
            503 => format!(
                "the server makes no copy now: it stops, has another one to make, or is in trouble: {problem}"
            ),
            _ => problem,
        })?;
        let name = answer.get("data").and_then(|data| data.get("file")).and_then(Value::as_str);
        let name = name.filter(|name| is_plain(name)).ok_or("the server's answer names no copy")?;
        let path = config.data_dir.join(name);
        let text = |error: io::Error| format!("{}: {error}", path.display());
        let copy = File::open(&path).map_err(text)?;
        fs::remove_file(&path).map_err(text)?;
        Ok(copy)
    });
    control.close()?;
    copy
}

/// A name that leads nowhere but into its folder.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

fn pack(config: &Config, out: File, mut database: File) -> io::Result<Packed> {
    let mut archive = Writer::new(BufWriter::new(out));
    add(&mut archive, DATABASE, &mut database)?;
    let (mut keys, mut uploads) = (0, 0);
    for name in secrets::FILES {
        keys += usize::from(add_if_there(&mut archive, name, &config.data_dir.join(name))?);
    }
    files::each_published(&config.uploads, |name, path| {
        uploads += usize::from(add_if_there(&mut archive, &format!("{UPLOADS}{name}"), path)?);
        Ok::<(), io::Error>(())
    })?;
    let out = archive.finish()?.into_inner().map_err(|error| error.into_error())?;
    out.sync_all()?;
    Ok(Packed { bytes: out.metadata()?.len(), uploads, keys })
}

fn add<W: Write>(archive: &mut Writer<W>, name: &str, file: &mut File) -> io::Result<()> {
    let size = file.metadata()?.len();
    archive.add(name, size, file)
}

/// A file that may be erased while we look. Answers whether it was there.
fn add_if_there<W: Write>(archive: &mut Writer<W>, name: &str, path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(mut file) => add(archive, name, &mut file).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the whole archive its name. A link fails where something came to stand meanwhile, which a rename would overwrite; where
/// a file system has no links, the moment between look and rename has to do.
fn put(part: &Path, file: &Path) -> io::Result<()> {
    match fs::hard_link(part, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        Err(_) if file.symlink_metadata().is_ok() => return Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(part, file)?,
        Ok(()) => {}
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
