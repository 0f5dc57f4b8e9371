//! Uploads: their rows, who may read them, and which files are no longer needed.
//!
//! Owns the counts of each owner's stored bytes and files. Touches no file: a file without a row is listed in `erased_files`, and a
//! worker removes it.
//! Invariant: an upload that is shown exists, and the bytes of a file are in `files` (as its id, or as the `bytes_of` of a forwarded one)
//! or in `erased_files`, never in both.

use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::profiles;
use super::value::{id, int, number, number_or_null, text, text_or_null};
use crate::base::crypto::hex;
use crate::base::time::UnixMs;
use crate::model::id::UploadId;
use crate::model::metrics::Totals;
use crate::model::operation::{Answer, Refusal};
use crate::model::upload::{
    AdmitUpload, DeleteUpload, FindKept, FindOrphans, FindUpload, ForgetFiles, Image, KeptFile,
    ListErasedFiles, PREVIEW, PublishUpload, PublishedUpload, Quota, StoredFile, UpdateUpload, Upload,
    is_played,
};

// ---- making --------------------------------------------------------------------------------------

pub fn admit(conn: &Connection, admit: AdmitUpload) -> Result<u64, Stop> {
    let owner = profiles::key(conn, admit.owner)?.ok_or(Refusal::Unauthorized)?;
    has_room(conn, owner, (admit.bytes, admit.files), admit.quota)
}

/// The bytes that the owner has left, if these bytes and files fit.
pub(super) fn has_room(
    conn: &Connection,
    owner: i64,
    (bytes, files): (u64, u64),
    quota: Quota,
) -> Result<u64, Stop> {
    let (used, kept) = conn
        .prepare_cached("SELECT bytes, files FROM upload_usage WHERE owner = ?1")?
        .query_row([owner], |row| Ok((number(row, 0)?, number(row, 1)?)))
        .optional()?
        .unwrap_or_default();
    let room = quota.bytes.saturating_sub(used);
    if bytes <= room && kept.saturating_add(files) <= quota.files {
        Ok(room)
    } else {
        Err(Refusal::QuotaExceeded.into())
    }
}

pub fn publish(batch: &mut Batch<'_>, publish: PublishUpload) -> Result<Written, Stop> {
    let (conn, new) = (batch.conn, publish.file);
    let owner = profiles::key(conn, publish.owner)?.ok_or(Refusal::Unauthorized)?;
    // How many files there are was checked before the body came. Those in progress since then are few.
    let replaced = publish.preview_of.map_or(Ok(0), |upload| preview_size(conn, upload))?;
    let more = new.size.saturating_sub(replaced);
    has_room(conn, owner, (more, 0), Quota { bytes: publish.quota, files: u64::MAX })?;
    let known = conn
        .prepare_cached("SELECT key FROM files WHERE owner = ?1 AND sha256 = ?2")?
        .query_row((owner, new.sha256), |row| row.get::<_, i64>(0))
        .optional()?;
    let file = match known {
        Some(key) => key,
        None => conn
            .prepare_cached(
                "INSERT INTO files (id, owner, sha256, size, mime, width, height) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .insert((new.id.to_bytes(), owner, new.sha256, int(new.size), new.mime, new.width, new.height))?,
    };
    let id = match publish.preview_of {
        Some(upload) => {
            let key = own_unshown(conn, owner, upload)?;
            count_more(conn, file, 0)?;
            set_preview(conn, key, file)?;
            upload
        }
        None => {
            conn.prepare_cached("INSERT INTO uploads (id, file, name, created_at) VALUES (?1, ?2, ?3, ?4)")?
                .execute((new.id.to_bytes(), file, &new.name, int(publish.at)))?;
            count_more(conn, file, 1)?;
            new.id
        }
    };
    let upload = of_id(conn, id)?;
    Written::quietly(Answer::PublishUpload(Box::new(PublishedUpload { upload, is_copy: known.is_some() })))
}

/// Counts the bytes of a file in the quota of its owner once more, and an upload unless it is a preview.
pub(super) fn count_more(conn: &Connection, file: i64, uploads: u64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO upload_usage (owner, bytes, files) SELECT owner, size, ?2 FROM files WHERE key = ?1 \
         ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes, files = files + excluded.files",
    )?
    .execute((file, int(uploads)))?;
    Ok(())
}

/// The counts of all owners together, and the number of members.
pub fn totals(conn: &Connection) -> rusqlite::Result<Totals> {
    conn.prepare_cached(
        "SELECT (SELECT count(*) FROM members), ifnull(sum(files), 0), ifnull(sum(bytes), 0) FROM upload_usage",
    )?
    .query_row([], |row| Ok(Totals { members: number(row, 0)?, uploads: number(row, 1)?, upload_bytes: number(row, 2)? }))
}

/// Bytes of the preview that an upload has; 0 without one.
fn preview_size(conn: &Connection, upload: UploadId) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT ifnull(sum(f.size), 0) FROM uploads u JOIN files f ON f.key = u.preview WHERE u.id = ?1",
    )?
    .query_row([upload.to_bytes()], |row| number(row, 0))
}

fn set_preview(conn: &Connection, upload: i64, preview: i64) -> rusqlite::Result<()> {
    let before: Option<i64> = conn
        .prepare_cached("SELECT preview FROM uploads WHERE key = ?1")?
        .query_row([upload], |row| row.get(0))?;
    conn.prepare_cached("UPDATE uploads SET preview = ?2 WHERE key = ?1")?.execute((upload, preview))?;
    let Some(before) = before else { return Ok(()) };
    give_back(conn, before, 0)?;
    erase_unless_needed(conn, before)
}

pub fn update(batch: &mut Batch<'_>, update: UpdateUpload) -> Result<Written, Stop> {
    let conn = batch.conn;
    let actor = profiles::key(conn, update.actor)?.ok_or(Refusal::Unauthorized)?;
    let key = own_unshown(conn, actor, update.upload)?;
    conn.prepare_cached("UPDATE uploads SET alt = ?2, duration_ms = ?3 WHERE key = ?1")?.execute((
        key,
        update.alt,
        update.duration_ms.map(int),
    ))?;
    let upload = of_id(conn, update.upload)?;
    if update.duration_ms.is_some() && !is_played(&upload.mime) {
        return Err(Refusal::Invalid("duration_ms").into());
    }
    Written::quietly(Answer::UpdateUpload(Box::new(upload)))
}

/// The key of an upload of this owner that nothing shows: only such a one may be changed or deleted.
fn own_unshown(conn: &Connection, actor: i64, upload: UploadId) -> Result<i64, Stop> {
    let (upload, owner) = conn
        .prepare_cached(
            "SELECT u.key, f.owner FROM uploads u JOIN files f ON f.key = u.file WHERE u.id = ?1",
        )?
        .query_row([upload.to_bytes()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?
        .ok_or(Refusal::NotFound)?;
    if owner != actor {
        let refusal = if may_read(conn, actor, upload)? { Refusal::NotAllowed } else { Refusal::NotFound };
        return Err(refusal.into());
    }
    if is_shown(conn, upload)? { Err(Refusal::InUse.into()) } else { Ok(upload) }
}

// ---- reading -------------------------------------------------------------------------------------

pub fn find(conn: &Connection, find: FindUpload) -> Result<StoredFile, Stop> {
    let is_preview = find.name == PREVIEW;
    let found = conn
        .prepare_cached(
            "SELECT u.key, f.owner, ifnull(f.bytes_of, f.id), f.mime, f.size, f.sha256, u.created_at, u.name \
             FROM uploads u JOIN files f ON f.key = iif(?2, u.preview, u.file) WHERE u.id = ?1",
        )?
        .query_row((find.upload.to_bytes(), is_preview), |row| {
            let stored = StoredFile {
                file: id(row, 2)?,
                mime: text(row, 3)?,
                size: number(row, 4)?,
                sha256: row.get(5)?,
                created_at: UnixMs(number(row, 6)?),
            };
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, stored, text(row, 7)?))
        })
        .optional()?;
    // The name is compared as it is shown: a damaged name differs from the one in the row.
    let (upload, owner, stored, _) =
        found.filter(|(_, _, _, name)| is_preview || *name == find.name).ok_or(Refusal::NotFound)?;
    if let Some(viewer) = find.viewer {
        let viewer = profiles::key(conn, viewer)?.ok_or(Refusal::Unauthorized)?;
        if viewer != owner && !may_read(conn, viewer, upload)? {
            return Err(Refusal::NotFound.into());
        }
    }
    Ok(stored)
}

/// Whether a profile that is not its owner may read an upload.
fn may_read(conn: &Connection, viewer: i64, upload: i64) -> rusqlite::Result<bool> {
    Ok(is_picture(conn, upload)?
        || conn
            .prepare_cached(
                "SELECT 1 FROM attachments a JOIN messages m ON m.seq = a.message \
                 JOIN memberships s ON s.conversation = m.conversation AND s.profile = ?2 AND s.first_n <= m.n \
                 WHERE a.upload = ?1",
            )?
            .exists([upload, viewer])?)
}

/// Whether the upload is the image of a profile or a group.
pub(super) fn is_picture(conn: &Connection, upload: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM profiles WHERE image = ?1 UNION ALL SELECT 1 FROM conversations WHERE image = ?1",
    )?
    .exists([upload])
}

/// The image of a profile or a conversation.
pub fn image(conn: &Connection, upload: Option<i64>) -> rusqlite::Result<Option<Image>> {
    let Some(upload) = upload else { return Ok(None) };
    conn.prepare_cached("SELECT id, name FROM uploads WHERE key = ?1")?
        .query_row([upload], |row| Ok(Image { upload: id(row, 0)?, name: text(row, 1)?, url: String::new() }))
        .optional()
}

/// The columns of [`upload`], of `uploads u` and `files f`.
macro_rules! upload_columns {
    () => {
        "u.id, u.name, f.mime, f.size, f.sha256, f.width, f.height, u.alt, u.duration_ms, u.preview IS NOT NULL"
    };
}
pub(super) use upload_columns;

/// An upload as its owner sees it, from [`upload_columns`].
pub fn upload(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload {
        id: id(row, 0)?,
        name: text(row, 1)?,
        mime: text(row, 2)?,
        size: number(row, 3)?,
        sha256: hex(&row.get::<_, [u8; 32]>(4)?),
        width: row.get(5)?,
        height: row.get(6)?,
        alt: text_or_null(row, 7)?,
        duration_ms: number_or_null(row, 8)?,
        url: String::new(),
        preview: row.get::<_, bool>(9)?.then(String::new),
    })
}

fn of_id(conn: &Connection, id: UploadId) -> rusqlite::Result<Upload> {
    conn.prepare_cached(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM uploads u JOIN files f ON f.key = u.file WHERE u.id = ?1"
    ))?
    .query_row([id.to_bytes()], upload)
}

// ---- erasing -------------------------------------------------------------------------------------

pub fn delete(batch: &mut Batch<'_>, delete: DeleteUpload) -> Result<Written, Stop> {
    let conn = batch.conn;
    let actor = profiles::key(conn, delete.actor)?.ok_or(Refusal::Unauthorized)?;
    erase(conn, own_unshown(conn, actor, delete.upload)?)?;
    Written::quietly(Answer::DeleteUpload(()))
}

/// Whether a message, a profile or a group shows it.
pub(super) fn is_shown(conn: &Connection, upload: i64) -> rusqlite::Result<bool> {
    let attached = conn.prepare_cached("SELECT 1 FROM attachments WHERE upload = ?1")?.exists([upload])?;
    Ok(attached || is_picture(conn, upload)?)
}

pub(super) fn erase_unless_shown(conn: &Connection, upload: i64) -> rusqlite::Result<()> {
    match is_shown(conn, upload)? {
        true => Ok(()),
        false => erase(conn, upload),
    }
}

/// Erases an upload that nothing shows, its preview, and their files.
fn erase(conn: &Connection, upload: i64) -> rusqlite::Result<()> {
    let (file, preview) = conn
        .prepare_cached("DELETE FROM uploads WHERE key = ?1 RETURNING file, preview")?
        .query_row([upload], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
    // The preview may have the same bytes: both count, before the one file is erased.
    give_back(conn, file, 1)?;
    preview.map_or(Ok(()), |preview| give_back(conn, preview, 0))?;
    erase_unless_needed(conn, file)?;
    match preview {
        Some(preview) if preview != file => erase_unless_needed(conn, preview),
        _ => Ok(()),
    }
}

/// Counts a file in the quota of its owner once less.
fn give_back(conn: &Connection, file: i64, uploads: u64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE upload_usage SET files = files - ?2, bytes = bytes - (SELECT size FROM files WHERE key = ?1) \
         WHERE owner = (SELECT owner FROM files WHERE key = ?1)",
    )?
    .execute((file, int(uploads)))?;
    Ok(())
}

/// Erases a file that no upload has.
fn erase_unless_needed(conn: &Connection, file: i64) -> rusqlite::Result<()> {
    let is_needed = conn
        .prepare_cached(
            "SELECT 1 FROM uploads WHERE file = ?1 UNION ALL SELECT 1 FROM uploads WHERE preview = ?1",
        )?
        .exists([file])?;
    if is_needed {
        return Ok(());
    }
    let bytes: [u8; 16] = conn
        .prepare_cached("DELETE FROM files WHERE key = ?1 RETURNING ifnull(bytes_of, id)")?
        .query_row([file], |row| row.get(0))?;
    // The files of others that were forwarded share the bytes.
    conn.prepare_cached(
        "INSERT INTO erased_files SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM files WHERE id = ?1 OR bytes_of = ?1)",
    )?
    .execute([bytes])?;
    Ok(())
}

/// Removes all uploads of a deleted account's profile from everything that shows them.
pub fn erase_all(conn: &Connection, owner: i64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM attachments WHERE upload IN \
         (SELECT u.key FROM files f JOIN uploads u ON u.file = f.key WHERE f.owner = ?1)",
        "UPDATE profiles SET image = NULL WHERE image IN \
         (SELECT u.key FROM files f JOIN uploads u ON u.file = f.key WHERE f.owner = ?1)",
        "UPDATE conversations SET image = NULL WHERE image IN \
         (SELECT u.key FROM files f JOIN uploads u ON u.file = f.key WHERE f.owner = ?1)",
        "DELETE FROM uploads WHERE file IN (SELECT key FROM files WHERE owner = ?1)",
        "INSERT INTO erased_files SELECT ifnull(bytes_of, id) AS bytes FROM files WHERE owner = ?1 AND NOT EXISTS \
         (SELECT 1 FROM files o WHERE o.owner <> ?1 AND (o.id = ifnull(files.bytes_of, files.id) \
         OR o.bytes_of = ifnull(files.bytes_of, files.id)))",
        "DELETE FROM files WHERE owner = ?1",
        "DELETE FROM upload_usage WHERE owner = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([owner])?;
    }
    Ok(())
}

// ---- for the removal of files --------------------------------------------------------------------

pub fn list_erased(conn: &Connection, list: ListErasedFiles) -> Result<Vec<UploadId>, Stop> {
    let files = conn
        .prepare_cached("SELECT id FROM erased_files WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map((list.after.unwrap_or_default().to_bytes(), list.limit), |row| id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(files)
}

pub fn forget(batch: &mut Batch<'_>, forget: ForgetFiles) -> Result<Written, Stop> {
    let mut delete = batch.conn.prepare_cached("DELETE FROM erased_files WHERE id = ?1")?;
    for file in forget.files {
        delete.execute([file.to_bytes()])?;
    }
    Written::quietly(Answer::ForgetFiles(()))
}

pub fn kept(conn: &Connection, find: FindKept) -> Result<Vec<KeptFile>, Stop> {
    let mut select =
        conn.prepare_cached("SELECT size, sha256 FROM files WHERE id = ?1 OR bytes_of = ?1 LIMIT 1")?;
    let mut kept = Vec::new();
    for file in find.files {
        let row = select.query_row([file.to_bytes()], |row| Ok((number(row, 0)?, row.get(1)?))).optional()?;
        kept.extend(row.map(|(size, sha256)| KeptFile { file, size, sha256 }));
    }
    Ok(kept)
}

pub fn orphans(conn: &Connection, find: FindOrphans) -> Result<Option<Vec<UploadId>>, Stop> {
    let knows_any =
        conn.prepare_cached("SELECT 1 FROM files UNION ALL SELECT 1 FROM erased_files LIMIT 1")?.exists([])?;
    if !knows_any {
        return Ok(None);
    }
    let mut known = conn.prepare_cached("SELECT 1 FROM files WHERE id = ?1 OR bytes_of = ?1")?;
    let mut orphans = Vec::new();
    for file in find.files {
        if !known.exists([file.to_bytes()])? {
            orphans.push(file);
        }
    }
    Ok(Some(orphans))
}
