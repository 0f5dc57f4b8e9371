//! What shows an upload: the attachments of messages, and the pictures of profiles and groups.
//!
//! Owns the rows of `attachments`, and the uploads that a forwarded message makes on the same bytes. Leaves the rows of the uploads
//! themselves to `uploads`.
//! Invariant: what shows an upload is of its owner, and an upload that nothing shows any more is erased.

use rusqlite::{Connection, OptionalExtension, Row};

use super::conversations;
use super::fault::Stop;
use super::page::{Budget, attachment_bytes};
use super::profiles::Names;
use super::uploads::{count_more, erase_unless_shown, has_room};
use super::value::{id, int, joined, number, number_or_null, text, text_or_null};
use crate::base::time::UnixMs;
use crate::model::id::{MessageId, UploadId};
use crate::model::operation::Refusal;
use crate::model::upload::{
    Attachment, FileKind, FilePage, FilePlace, ListFiles, Quota, ShownFile, is_image,
};

/// The attachments of a message, in the order in which they were posted.
pub fn of_message(conn: &Connection, message: u64) -> rusqlite::Result<Vec<Attachment>> {
    conn.prepare_cached(
        "SELECT u.id, u.name, f.mime, f.size, f.width, f.height, u.alt, u.duration_ms, u.preview IS NOT NULL \
         FROM attachments a \
         JOIN uploads u ON u.key = a.upload JOIN files f ON f.key = u.file \
         WHERE a.message = ?1 ORDER BY a.place",
    )?
    .query_map([int(message)], attachment)?
    .collect()
}

fn attachment(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        id: id(row, 0)?,
        name: text(row, 1)?,
        mime: text(row, 2)?,
        size: number(row, 3)?,
        width: row.get(4)?,
        height: row.get(5)?,
        alt: text_or_null(row, 6)?,
        duration_ms: number_or_null(row, 7)?,
        url: String::new(),
        preview: row.get::<_, bool>(8)?.then(String::new),
    })
}

/// Uploads of this owner that a message is about to show: their keys, and how they are shown. `None` if one of them belongs
/// to another owner.
pub fn of_owner(
    conn: &Connection,
    owner: i64,
    uploads: &[UploadId],
) -> rusqlite::Result<Option<Vec<(i64, Attachment)>>> {
    let mut statement = conn.prepare_cached(
        "SELECT u.id, u.name, f.mime, f.size, f.width, f.height, u.alt, u.duration_ms, u.preview IS NOT NULL, u.key \
         FROM uploads u JOIN files f ON f.key = u.file WHERE u.id = ?1 AND f.owner = ?2",
    )?;
    let mut found = Vec::with_capacity(uploads.len());
    for upload in uploads {
        let row = statement
            .query_row((upload.to_bytes(), owner), |row| Ok((row.get::<_, i64>(9)?, attachment(row)?)))
            .optional()?;
        let Some(row) = row else { return Ok(None) };
        found.push(row);
    }
    Ok(Some(found))
}

/// Makes uploads of `owner` of the files that a message shows: each a row of its own on the same bytes, counted as any other upload.
/// Their ids are the first of `ids`.
pub fn share(
    conn: &Connection,
    message: u64,
    (owner, ids): (i64, &[UploadId]),
    quota: Quota,
    at: UnixMs,
) -> Result<Vec<(i64, Attachment)>, Stop> {
    let shown = conn
        .prepare_cached(
            "SELECT u.key, u.file, u.preview, f.size + ifnull(p.size, 0) FROM attachments a \
             JOIN uploads u ON u.key = a.upload JOIN files f ON f.key = u.file LEFT JOIN files p ON p.key = u.preview \
             WHERE a.message = ?1 ORDER BY a.place",
        )?
        .query_map([int(message)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, number(row, 3)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let own = ids.get(..shown.len()).ok_or(Refusal::Internal)?;
    // The rows of previews have ids too, which nothing names.
    let mut others = ids.iter().rev();
    for ((upload, file, preview, size), id) in shown.into_iter().zip(own) {
        has_room(conn, owner, (size, 1), quota)?;
        let file = share_file(conn, file, owner, *id)?;
        let preview = match (preview, others.next()) {
            (Some(preview), Some(id)) => Some(share_file(conn, preview, owner, *id)?),
            _ => None,
        };
        conn.prepare_cached(
            "INSERT INTO uploads (id, file, preview, name, alt, duration_ms, created_at) \
             SELECT ?1, ?2, ?3, name, alt, duration_ms, ?4 FROM uploads WHERE key = ?5",
        )?
        .execute((id.to_bytes(), file, preview, int(at), upload))?;
        count_more(conn, file, 1)?;
        preview.map_or(Ok(()), |preview| count_more(conn, preview, 0))?;
    }
    Ok(of_owner(conn, owner, own)?.ok_or(Refusal::Internal)?)
}

/// The file of `owner` with the bytes of another file: the one with these bytes that it has already, or a new row on them.
fn share_file(conn: &Connection, file: i64, owner: i64, id: UploadId) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO files (id, owner, sha256, size, mime, width, height, bytes_of) \
         SELECT ?1, ?2, sha256, size, mime, width, height, ifnull(bytes_of, id) FROM files WHERE key = ?3 \
         ON CONFLICT (owner, sha256) DO NOTHING",
    )?
    .execute((id.to_bytes(), owner, file))?;
    conn.prepare_cached(
        "SELECT key FROM files WHERE owner = ?1 AND sha256 = (SELECT sha256 FROM files WHERE key = ?2)",
    )?
    .query_row([owner, file], |row| row.get(0))
}

/// Attaches these uploads to a message that is about to be stored: its `seq`, its conversation, and its `n`.
pub fn attach(
    conn: &Connection,
    (message, conversation, n): (u64, i64, u64),
    uploads: &[(i64, Attachment)],
) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO attachments (message, place, upload, conversation, n, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, (upload, file)) in (0_i64..).zip(uploads) {
        let kind = FileKind::of(&file.mime) as i64;
        insert.execute((int(message), position, upload, conversation, int(n), kind))?;
    }
    Ok(())
}

pub fn list(conn: &Connection, list: ListFiles) -> Result<FilePage, Stop> {
    let readable = conversations::readable(conn, list.viewer, list.conversation)?.ok_or(Refusal::NotFound)?;
    let before = list.before.unwrap_or(FilePlace { n: readable.last_n.saturating_add(1), place: 0 });
    let mut statement = conn.prepare_cached(
        "SELECT u.id, u.name, f.mime, f.size, f.width, f.height, u.alt, u.duration_ms, u.preview IS NOT NULL, \
         a.n, a.place, a.message, m.id_high, m.sender FROM attachments a JOIN messages m ON m.seq = a.message \
         JOIN uploads u ON u.key = a.upload JOIN files f ON f.key = u.file \
         WHERE a.conversation = ?1 AND a.kind = ?2 AND (a.n, a.place) < (?3, ?4) AND a.n >= ?5 \
         ORDER BY a.n DESC, a.place DESC LIMIT ?6",
    )?;
    let (n, place) = (int(before.n), int(before.place));
    let asked = (readable.key, list.kind as i64, n, place, int(readable.first_n), i64::from(list.limit) + 1);
    let mut rows = statement.query(asked)?;
    let (mut names, mut budget, mut files) = (Names::default(), Budget::new(list.limit), Vec::new());
    let mut last = before;
    while let Some(row) = rows.next()? {
        let file = attachment(row)?;
        if !budget.take(attachment_bytes(&file)) {
            return Ok(FilePage { files, next: Some(last) });
        }
        last = FilePlace { n: number(row, 9)?, place: number(row, 10)? };
        let message: MessageId = joined(row.get(12)?, row.get(11)?);
        let sender = names.of(conn, row.get(13)?)?;
        files.push(ShownFile { message, n: last.n, sender, created_at: message.unix_ms(), file });
    }
    Ok(FilePage { files, next: None })
}

/// Removes the attachments of a message, and erases those that nothing else shows.
pub fn detach(conn: &Connection, message: u64) -> rusqlite::Result<()> {
    let mut uploads = conn
        .prepare_cached("DELETE FROM attachments WHERE message = ?1 RETURNING upload")?
        .query_map([int(message)], |row| row.get::<_, i64>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // SQLite promises no order of what RETURNING returns.
    uploads.sort_unstable();
    uploads.into_iter().try_for_each(|upload| erase_unless_shown(conn, upload))
}

/// The key of an image of this owner. `Invalid` for an upload that is not an image, or not this owner's.
pub fn picture(conn: &Connection, owner: i64, upload: UploadId, field: &'static str) -> Result<i64, Stop> {
    let found = of_owner(conn, owner, &[upload])?.and_then(|mut found| found.pop());
    match found {
        Some((key, attachment)) if is_image(&attachment.mime) => Ok(key),
        _ => Err(Refusal::Invalid(field).into()),
    }
}

/// Erases a former image of a profile or a group, unless something else shows it.
pub fn picture_replaced(conn: &Connection, before: Option<i64>, now: Option<i64>) -> rusqlite::Result<()> {
    match before {
        Some(before) if now != Some(before) => erase_unless_shown(conn, before),
        _ => Ok(()),
    }
}
