//! Reads a database file for a command without changing it or the files next to it.
//!
//! Owns how a file is opened for that. The caller must know whether a server has it open: SQLite would leave `-wal` and
//! `-shm` files next to a database that no process has open, so such a file is read without its WAL, unless a crash left a
//! WAL with content.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::connection::{APPLICATION_ID, application_id, configure, is_ours, length, verdict, with_suffix};
use super::fault::OpenFault;
use super::migrations;
#[cfg(feature = "cluster")]
use super::place::{self, Place, Skip};
use super::value::number;
use super::{StoreOptions, metadata, replacement, schema_check};
use crate::limits::CacheSizes;
use crate::model::id::UploadId;

/// Whether another process may have the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The caller holds the lock of its folder.
    Exclusive,
    Shared,
}

/// Whether there is a database. An empty file is not one, unless the WAL next to it has content.
pub fn exists(options: &StoreOptions) -> bool {
    [options.path.clone(), with_suffix(&options.path, "-wal")].iter().any(|path| length(path) > 0)
}

/// Whether there is any account. A missing file has none.
pub fn has_members(options: &StoreOptions, access: Access) -> Result<bool, OpenFault> {
    if !exists(options) {
        return Ok(false);
    }
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, error);
    let conn = open(&options.path, access)?;
    // A file whose first start was interrupted has no table yet.
    if migrations::version(&conn).map_err(wrap)? == 0 {
        return Ok(false);
    }
    conn.query_row("SELECT EXISTS (SELECT 1 FROM members)", [], |row| row.get(0)).map_err(wrap)
}

/// Whether its members need another password secret than the one of `options.password_tag`.
pub fn needs_other_secret(options: &StoreOptions, access: Access) -> Result<bool, OpenFault> {
    let Some(tag) = options.password_tag.filter(|_| exists(options)) else { return Ok(false) };
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, error);
    let conn = open(&options.path, access)?;
    if migrations::version(&conn).map_err(wrap)? < migrations::PASSWORD_TAG {
        return Ok(false);
    }
    metadata::needs_other_secret(&conn, tag).map_err(wrap)
}

/// What a database says of its cluster.
#[cfg(feature = "cluster")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRows {
    /// `None` for a database that follows no log.
    pub place: Option<Place>,
    /// `None` if the next start of a natter alone would draw another one.
    pub epoch: Option<String>,
    /// The nodes that have written, as far as this one knows, and the highest level that each knows; 0 for one that is not waited for.
    pub nodes: Vec<(String, u32)>,
    /// The last entry that it skips or has skipped.
    pub skip: Option<Skip>,
}

/// Reads what a database says of its cluster; `None` if its schema is older than any cluster's.
#[cfg(feature = "cluster")]
pub fn cluster_rows(options: &StoreOptions, access: Access) -> Result<Option<ClusterRows>, OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, error);
    let conn = open(&options.path, access)?;
    let version = migrations::version(&conn).map_err(wrap)?;
    if version < migrations::CLUSTER {
        return Ok(None);
    }
    let read = || {
        Ok(ClusterRows {
            place: place::read(&conn)?,
            epoch: metadata::lasting_epoch(&conn)?,
            nodes: place::nodes(&conn)?,
            skip: place::skip(&conn)?,
        })
    };
    read().map(Some).map_err(wrap)
}

/// Reads the complete database and checks every page, index and reference, and that it has no object that natter did not
/// make (`natter check`). The time grows with the file. The server may run meanwhile.
pub fn check(options: &StoreOptions, access: Access) -> Result<(), OpenFault> {
    let path = &options.path;
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    if replacement::replacement(path).exists() {
        let detail = "a complete copy is about to replace it: start the server, then check again".to_owned();
        return Err(OpenFault::Failed { path: path.clone(), detail });
    }
    let conn = open(path, access)?;
    let target = migrations::target(&conn, options.in_cluster).map_err(wrap)?;
    if migrations::version(&conn).map_err(wrap)? < target {
        let detail = "its schema is not yet of this version".to_owned();
        return Err(OpenFault::Failed { path: path.clone(), detail });
    }
    check_content(&conn, path)
}

/// As [`check`], for a file from another machine: it must have natter's application id, any version up to the current one,
/// and content.
pub fn check_restored(options: &StoreOptions, access: Access) -> Result<(), OpenFault> {
    let path = &options.path;
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    if length(path) == 0 {
        return Err(OpenFault::Altered { path: path.clone(), detail: "it is empty".to_owned() });
    }
    let conn = open(path, access)?;
    if application_id(&conn).map_err(wrap)? != APPLICATION_ID {
        return Err(OpenFault::Foreign { path: path.clone() });
    }
    check_content(&conn, path)
}

fn check_content(conn: &Connection, path: &Path) -> Result<(), OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    verdict(conn, path, "PRAGMA integrity_check(1)")?;
    if let Some(detail) = schema_check::difference(conn).map_err(wrap)? {
        return Err(OpenFault::Altered { path: path.to_owned(), detail });
    }
    let broken = conn
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get::<_, i64>(0))
        .map_err(wrap)?;
    match broken {
        0 => Ok(()),
        rows => {
            let detail = format!("{rows} rows refer to nothing");
            Err(OpenFault::Corrupt { path: path.to_owned(), detail })
        }
    }
}

/// What a backup reports about the copy it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Files of uploads that the database refers to.
    pub files: u64,
    /// Why a restore would refuse it.
    pub strange: Option<String>,
}

/// Reads a copy that no other process has open.
pub fn survey(options: &StoreOptions) -> Result<Survey, OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, error);
    let conn = open(&options.path, Access::Exclusive)?;
    let files = conn
        .query_row("SELECT count(DISTINCT ifnull(bytes_of, id)) FROM files", [], |row| number(row, 0))
        .map_err(wrap)?;
    Ok(Survey { files, strange: schema_check::difference(&conn).map_err(wrap)? })
}

/// The SHA-256 of the files of uploads in a backup.
pub struct FileHashes {
    conn: Connection,
    path: PathBuf,
    /// The files that it refers to; `None` in a database of a version that had no table of them.
    count: Option<u64>,
}

/// Checks a copy of the database as `natter restore` does, and opens it for the hashes of files.
pub fn file_hashes(options: &StoreOptions) -> Result<FileHashes, OpenFault> {
    check_restored(options, Access::Exclusive)?;
    let path = options.path.clone();
    let wrap = |error: rusqlite::Error| OpenFault::new(&path, error);
    let conn = open(&path, Access::Exclusive)?;
    let has_files = migrations::version(&conn).map_err(wrap)? >= migrations::FORWARDING;
    let count =
        || conn.query_row("SELECT count(DISTINCT ifnull(bytes_of, id)) FROM files", [], |row| number(row, 0));
    let count = if has_files { Some(count().map_err(wrap)?) } else { None };
    Ok(FileHashes { conn, path, count })
}

impl FileHashes {
    /// Files of uploads that the database refers to; 0 if it [is old](FileHashes::is_old).
    pub fn count(&self) -> u64 {
        self.count.unwrap_or(0)
    }

    /// Whether it is of a version that had no table of files.
    pub fn is_old(&self) -> bool {
        self.count.is_none()
    }

    /// The hash of a published file; `None` if the database does not refer to it.
    pub fn of(&self, file: UploadId) -> Result<Option<[u8; 32]>, OpenFault> {
        if self.is_old() {
            return Ok(None);
        }
        let find = || {
            self.conn
                .prepare_cached("SELECT sha256 FROM files WHERE id = ?1 OR bytes_of = ?1 LIMIT 1")?
                .query_row([file.to_bytes()], |row| row.get(0))
                .optional()
        };
        find().map_err(|error| OpenFault::new(&self.path, error))
    }
}

fn open(path: &Path, access: Access) -> Result<Connection, OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match access == Access::Exclusive && length(&with_suffix(path, "-wal")) == 0 {
        true => Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI),
        false => Connection::open_with_flags(path, flags),
    };
    let conn = conn.map_err(wrap)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(wrap)?;
    configure(&conn, CacheSizes::default().reader_kib).map_err(wrap)?;
    conn.pragma_update(None, "query_only", true).map_err(wrap)?;
    is_ours(&conn, path)?;
    Ok(conn)
}

/// The file as a URI (<https://www.sqlite.org/uri.html>) with which SQLite only reads it and creates no other file.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            // Writing to a `String` can't fail.
            byte => _ = write!(uri, "%{byte:02x}"),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_is_a_uri() {
        for (path, expect) in [
            ("data/natter.db", "file:data/natter.db?immutable=1"),
            ("/a b/n?x=1#%.db", "file:/a%20b/n%3fx%3d1%23%25.db?immutable=1"),
            ("دردشة", "file:%d8%af%d8%b1%d8%af%d8%b4%d8%a9?immutable=1"),
        ] {
            assert_eq!(immutable(Path::new(path)), expect);
        }
    }
}
