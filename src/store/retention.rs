//! What is too old to be kept: finds it for a reader, and erases it as the deletion of a message does, one bounded step at a time.
//!
//! Messages of a conversation are erased from its first one on, so that one number, `erased_n`, says for all of them that they are
//! tombstones; clients learn it by one event of the conversation, after the last step. A message with an older file loses the file.
//! Leaves to [`changes`] what a tombstone is.
//!
//! Invariant: all messages up to `erased_n` are tombstones, and a step that leaves nothing to erase in a conversation makes its event, also
//! if the steps before it were those of another run.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::event_log::{self, Change};
use super::fault::Stop;
use super::value::{id, int, joined, number, number_or_null};
use super::{changes, conversations, groups, messages, search_changes, uploads};
use crate::base::time::UnixMs;
use crate::limits::UNSHOWN_KEPT_MS;
use crate::model::event::{Event, Events, Fact};
use crate::model::id::{ConversationId, MessageId, UploadId};
use crate::model::operation::Answer;
use crate::model::retention::{EraseOld, FindOld, Old, OldPage, OldPlace, limit};
use crate::model::upload::DeleteUpload;

/// Messages erased in one step, which takes the writer a few milliseconds.
pub const RETAIN_STEP: u32 = 100;
/// Conversations or uploads that are looked at for one page.
const FIND_ROWS: u32 = 1_000;

pub fn find(conn: &Connection, find: FindOld) -> rusqlite::Result<OldPage> {
    match find.after {
        OldPlace::Conversation(after) => find_conversations(conn, &find, after),
        OldPlace::Upload(at, key) => find_uploads(conn, &find, (at, key)),
        OldPlace::Unshown(at, key) => find_unshown(conn, &find, (at, key)),
    }
}

fn find_conversations(conn: &Connection, find: &FindOld, after: u64) -> rusqlite::Result<OldPage> {
    // Without a time of the server only the groups with a time of their own are read.
    let sql = match find.messages_kept {
        Some(_) => {
            "SELECT key, id, messages_kept, erased_n FROM conversations WHERE key > ?1 ORDER BY key LIMIT ?2"
        }
        None => {
            "SELECT key, id, messages_kept, erased_n FROM conversations \
             WHERE key > ?1 AND messages_kept IS NOT NULL ORDER BY key LIMIT ?2"
        }
    };
    let mut first = conn.prepare_cached("SELECT id_high FROM messages WHERE conversation = ?1 AND n = ?2")?;
    let (mut page, mut rows) = (OldPage::default(), 0);
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query((int(after), FIND_ROWS))?;
    let mut last = after;
    while let Some(row) = found.next()? {
        (rows, last) = (rows + 1, number(row, 0)?);
        let Some(before) = limit(find.at, find.messages_kept, number_or_null(row, 2)?) else { continue };
        let oldest = first
            .query_row((int(last), int(number(row, 3)? + 1)), |row| row.get(0))
            .optional()?
            .map(posted_at);
        if oldest.is_some_and(|at| at < before) {
            page.found.push(Old::Conversation(id(row, 1)?));
        }
    }
    page.next = match rows < FIND_ROWS {
        true => Some(find.uploads_kept.map_or_else(|| unshown(find), |_| OldPlace::Upload(0, 0))),
        false => Some(OldPlace::Conversation(last)),
    };
    Ok(page)
}

fn find_uploads(conn: &Connection, find: &FindOld, after: (u64, u64)) -> rusqlite::Result<OldPage> {
    let mut page = OldPage::default();
    let Some(before) = limit(find.at, find.uploads_kept, None) else { return Ok(page) };
    let mut statement = conn.prepare_cached(
        "SELECT created_at, key, id FROM uploads WHERE (created_at, key) > (?1, ?2) AND created_at < ?3 \
         ORDER BY created_at, key LIMIT ?4",
    )?;
    let mut rows = 0;
    let mut found = statement.query((int(after.0), int(after.1), int(before), FIND_ROWS))?;
    let mut last = after;
    while let Some(row) = found.next()? {
        (rows, last) = (rows + 1, (number(row, 0)?, number(row, 1)?));
        if !is_only_picture(conn, row.get(1)?)? {
            page.found.push(Old::Upload(id(row, 2)?));
        }
    }
    page.next = Some(if rows == FIND_ROWS { OldPlace::Upload(last.0, last.1) } else { unshown(find) });
    Ok(page)
}

fn unshown(find: &FindOld) -> OldPlace {
    OldPlace::Unshown(find.unshown_after.0, find.unshown_after.1)
}

fn find_unshown(conn: &Connection, find: &FindOld, after: (u64, u64)) -> rusqlite::Result<OldPage> {
    let mut page = OldPage::default();
    let before = UnixMs(find.at.0.saturating_sub(UNSHOWN_KEPT_MS));
    // In the order of the index of ages, whatever SQLite thinks of the other tables.
    let mut statement = conn.prepare_cached(
        "SELECT u.created_at, u.key, u.id, p.id FROM uploads u CROSS JOIN files f ON f.key = u.file \
         CROSS JOIN profiles p ON p.key = f.owner WHERE (u.created_at, u.key) > (?1, ?2) AND u.created_at < ?3 \
         ORDER BY u.created_at, u.key LIMIT ?4",
    )?;
    let mut rows = 0;
    let mut found = statement.query((int(after.0), int(after.1), int(before), FIND_ROWS))?;
    while let Some(row) = found.next()? {
        let last = (number(row, 0)?, number(row, 1)?);
        (rows, page.unshown_through) = (rows + 1, Some(last));
        if !uploads::is_shown(conn, row.get(1)?)? {
            page.unshown.push(DeleteUpload { actor: id(row, 3)?, upload: id(row, 2)? });
        }
        page.next = (rows == FIND_ROWS).then_some(OldPlace::Unshown(last.0, last.1));
    }
    Ok(page)
}

/// Pictures of profiles and groups are kept as long as they are in use.
fn is_only_picture(conn: &Connection, upload: i64) -> rusqlite::Result<bool> {
    Ok(uploads::is_picture(conn, upload)? && !is_attached(conn, upload)?)
}

fn is_attached(conn: &Connection, upload: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM attachments WHERE upload = ?1")?.exists([upload])
}

pub fn erase(batch: &mut Batch<'_>, erase: EraseOld) -> Result<Written, Stop> {
    let (more, events) = match erase.old {
        Old::Conversation(conversation) => erase_messages(batch, &erase, conversation)?,
        Old::Upload(upload) => erase_upload(batch, &erase, upload)?,
    };
    Ok(Written { result: Ok(Answer::EraseOld(more)), events })
}

/// The time of a message, by the upper half of its id.
fn posted_at(id_high: i64) -> UnixMs {
    UnixMs((id_high as u64) >> 16)
}

fn erase_messages(
    batch: &mut Batch<'_>,
    erase: &EraseOld,
    conversation: ConversationId,
) -> Result<(bool, Events), Stop> {
    let conn = batch.conn;
    let Some(slot) = conversations::load(batch, conversation)? else { return Ok((false, Events::None)) };
    let key = batch.cache.get(slot).key;
    let (kept, erased_n) = conn
        .prepare_cached("SELECT messages_kept, erased_n FROM conversations WHERE key = ?1")?
        .query_row([key], |row| Ok((number_or_null(row, 0)?, number(row, 1)?)))?;
    let Some(before) = limit(erase.at, erase.kept, kept) else { return Ok((false, Events::None)) };
    let mut old = conn
        .prepare_cached(
            "SELECT n, seq, id_high, deleted_at IS NULL FROM messages WHERE conversation = ?1 AND n > ?2 \
             ORDER BY n LIMIT ?3",
        )?
        .query_map((key, int(erased_n), RETAIN_STEP + 1), |row| {
            Ok((number(row, 0)?, number(row, 1)?, posted_at(row.get(2)?), row.get::<_, bool>(3)?))
        })?
        .take_while(|row| !row.as_ref().is_ok_and(|(_, _, at, _)| *at >= before))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = old.len() > RETAIN_STEP as usize;
    old.truncate(RETAIN_STEP as usize);
    let Some((last, ..)) = old.last().copied() else { return Ok((false, Events::None)) };
    for (n, seq, _, _) in old.into_iter().filter(|(.., has_content)| *has_content) {
        changes::erase(conn, key, seq, n, erase.at)?;
        // Each has a `rev` of its own, as the index needs one; the event of the conversation stands for all of them.
        let rev = batch.next_bare_seq();
        search_changes::record(conn, rev, seq)?;
        conn.prepare_cached("UPDATE messages SET rev = ?2 WHERE seq = ?1")?.execute((int(seq), int(rev)))?;
    }
    conn.prepare_cached("UPDATE conversations SET erased_n = ?2 WHERE key = ?1")?
        .execute((key, int(last)))?;
    if more {
        return Ok((true, Events::None));
    }
    let seq = event_log::append_change(batch, key, Change::ConversationUpdated, erase.at)?;
    batch.cache.change(slot).last_seq = seq;
    let fact = Fact::ConversationUpdated(Box::new(groups::brief(conn, key)?));
    Ok((false, Event { seq, audience: batch.cache.get(slot).everyone(), fact }.into()))
}

fn erase_upload(batch: &mut Batch<'_>, erase: &EraseOld, upload: UploadId) -> Result<(bool, Events), Stop> {
    let conn = batch.conn;
    let found = conn
        .prepare_cached("SELECT key, created_at FROM uploads WHERE id = ?1")?
        .query_row([upload.to_bytes()], |row| Ok((row.get::<_, i64>(0)?, UnixMs(number(row, 1)?))))
        .optional()?;
    let before = limit(erase.at, erase.kept, None);
    let Some((key, _)) = found.filter(|(_, at)| before.is_some_and(|before| *at < before)) else {
        return Ok((false, Events::None));
    };
    let shown_by: Vec<MessageId> = conn
        .prepare_cached(
            "SELECT DISTINCT m.id_high, m.seq FROM attachments a JOIN messages m ON m.seq = a.message \
             WHERE a.upload = ?1 ORDER BY m.seq LIMIT ?2",
        )?
        .query_map((key, RETAIN_STEP), |row| Ok(joined(row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut events = Vec::with_capacity(shown_by.len());
    for message in shown_by {
        events.extend(take_from(batch, message, key, erase.at)?);
    }
    let more = is_attached(conn, key)?;
    if !more {
        uploads::erase_unless_shown(conn, key)?;
    }
    Ok((more, events.into()))
}

/// Takes an upload out of a message, which becomes a tombstone if nothing else is in it.
fn take_from(
    batch: &mut Batch<'_>,
    message: MessageId,
    upload: i64,
    at: UnixMs,
) -> Result<Option<Event>, Stop> {
    let (conn, seq) = (batch.conn, int(message.seq()));
    conn.prepare_cached("DELETE FROM attachments WHERE message = ?1 AND upload = ?2")?
        .execute((seq, upload))?;
    let has_files = conn.prepare_cached("SELECT 1 FROM attachments WHERE message = ?1")?.exists([seq])?;
    let has_text =
        conn.prepare_cached("SELECT 1 FROM messages WHERE seq = ?1 AND body IS NOT NULL")?.exists([seq])?;
    if !has_files && !has_text {
        return changes::tombstone(batch, message, at);
    }
    if !has_files {
        conn.prepare_cached("UPDATE messages SET flags = nullif(flags & ~?2, 0) WHERE seq = ?1")?
            .execute((seq, messages::HAS_FILES))?;
    }
    let Some(target) = changes::target(batch, message)? else { return Ok(None) };
    let (seq, message) = changes::changed(batch, &target, Change::MessageEdited(message), at)?;
    Ok(Some(changes::event(batch, &target, seq, Fact::MessageEdited(message))))
}
