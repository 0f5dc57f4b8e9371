//! Digests: who wants a mail about what is unread, for whom it is time for one, and what it says.
//!
//! Owns the rows of `digests`. The mail is a row of the outbox, and says what is unread when it is sent.
//! Invariant: a member gets at most one in [`EVERY_MS`], over restarts too, and none without asking for them.

use rusqlite::Connection;

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, text, text_or_null};
use super::{accounts, changes, conversations, outbox};
use crate::base::time::UnixMs;
use crate::model::mail::{
    Content, Digest, DigestPage, FindDigests, Language, NewMail, SetDigest, WriteDigests,
};
use crate::model::operation::{Answer, Refusal};

/// Milliseconds between two digests of a member.
pub const EVERY_MS: u64 = 86_400_000;
/// Milliseconds that no device of the member was seen for.
const AWAY_MS: u64 = 3_600_000;
/// Members that one page looks at: each costs as much as a list of its conversations.
const PAGE_MEMBERS: u32 = 20;
/// Conversations that a mail names. Of the others it says the number of messages.
const NAMED_MAX: usize = 10;

/// A conversation with unread messages.
struct Unread {
    /// Its key.
    conversation: i64,
    title: String,
    read_n: u64,
    last_n: u64,
    count: u64,
}

pub fn set(batch: &mut Batch<'_>, set: &SetDigest) -> Result<Written, Stop> {
    let member = accounts::key(batch.conn, set.member)?.ok_or(Refusal::Unauthorized)?;
    // The time of the last one stays: off and on again makes no second mail on that day.
    batch
        .conn
        .prepare_cached(
            "INSERT INTO digests (member, is_on, language, written_at) VALUES (?1, ?2, ?3, 0) \
             ON CONFLICT DO UPDATE SET is_on = excluded.is_on, language = excluded.language",
        )?
        .execute((member, set.on, set.language.as_str()))?;
    Written::quietly(Answer::SetDigest(()))
}

/// Of the next members who want digests, those who have something unread that came after they were last seen.
pub fn find(conn: &Connection, find: FindDigests) -> Result<DigestPage, Stop> {
    let mut statement = conn.prepare_cached(
        "SELECT d.member, m.id, p.id, p.key, d.is_on AND d.written_at <= ?2 AND m.verified AND m.active, \
         max(d.seen_at, ifnull((SELECT max(s.last_seen_at) FROM sessions s WHERE s.member = d.member), 0)) \
         FROM digests d JOIN members m ON m.key = d.member JOIN profiles p ON p.member = m.key \
         WHERE d.member > ?1 ORDER BY d.member LIMIT ?3",
    )?;
    let before = UnixMs(find.at.0.saturating_sub(EVERY_MS));
    let away = find.at.0.saturating_sub(AWAY_MS);
    let mut rows = statement.query((int(find.after), int(before), PAGE_MEMBERS))?;
    let (mut page, mut count) = (DigestPage::default(), 0);
    while let Some(row) = rows.next()? {
        count += 1;
        page.next = Some(number(row, 0)?);
        let seen = UnixMs(number(row, 5)?);
        if row.get(4)? && seen.0 <= away && is_missed(conn, row.get(3)?, seen, find.at)? {
            page.members.push((id(row, 1)?, id(row, 2)?));
        }
    }
    if count < PAGE_MEMBERS {
        page.next = None;
    }
    Ok(page)
}

pub fn write(batch: &mut Batch<'_>, write: WriteDigests) -> Result<Written, Stop> {
    let conn = batch.conn;
    let before = UnixMs(write.at.0.saturating_sub(EVERY_MS));
    for (member, mail) in write.mails {
        let Some(key) = accounts::key(conn, member)? else { continue };
        let mut due = conn.prepare_cached(
            "UPDATE digests SET written_at = ?2 WHERE member = ?1 AND is_on AND written_at <= ?3 RETURNING language",
        )?;
        let mut rows = due.query((key, int(write.at), int(before)))?;
        let Some(language) = rows.next()?.map(|row| text(row, 0)).transpose()? else { continue };
        drop(rows);
        let content = Content::Digest(Digest::default());
        outbox::put(conn, Some(key), &NewMail::new(mail, Language::of_stored(&language), content), write.at)?;
    }
    Written::quietly(Answer::WriteDigests(()))
}

/// Whether a message that the profile has unread came after it was last seen.
fn is_missed(conn: &Connection, profile: i64, seen: UnixMs, at: UnixMs) -> rusqlite::Result<bool> {
    for unread in unread(conn, profile, at)? {
        let newest = changes::newest_after(conn, unread.conversation, unread.read_n, unread.last_n)?;
        if newest.is_some_and(|newest| newest > seen) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps in the row of a session's member that it was here until the session ends. The session's own row is deleted.
pub fn seen_until(conn: &Connection, session: i64, at: UnixMs) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE digests SET seen_at = max(seen_at, ?2) \
         WHERE member = (SELECT member FROM sessions WHERE key = ?1)",
    )?
    .execute((session, int(at)))?;
    Ok(())
}

/// Keeps when each member was last seen, before all sessions are deleted.
pub fn keep_last_seen(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE digests SET seen_at = max(seen_at, \
         ifnull((SELECT max(s.last_seen_at) FROM sessions s WHERE s.member = digests.member), 0))",
        [],
    )?;
    Ok(())
}

/// What a mail says now.
pub fn of(conn: &Connection, profile: i64, at: UnixMs) -> rusqlite::Result<Digest> {
    let mut all = unread(conn, profile, at)?;
    let total = all.iter().map(|unread| unread.count).sum();
    all.truncate(NAMED_MAX);
    Ok(Digest { total, conversations: all.into_iter().map(|unread| (unread.title, unread.count)).collect() })
}

/// The conversations of a profile with unread messages that it has not muted at this time, the newest activity first.
fn unread(conn: &Connection, profile: i64, at: UnixMs) -> rusqlite::Result<Vec<Unread>> {
    let mut statement = conn.prepare_cached(
        "SELECT c.key, m.read_n, c.last_n, ifnull(c.title, (SELECT p.display_name FROM profiles p \
         WHERE p.key = iif(c.low = m.profile, c.high, c.low))) \
         FROM memberships m JOIN conversations c ON c.key = m.conversation \
         WHERE m.profile = ?1 AND m.read_n < c.last_n AND (NOT m.muted OR m.muted_until <= ?2) \
         ORDER BY c.activity DESC",
    )?;
    let mut rows = statement.query((profile, int(at)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (conversation, read_n, last_n) = (row.get(0)?, number(row, 1)?, number(row, 2)?);
        let count = conversations::unread(conn, conversation, read_n, last_n)?;
        if count > 0 {
            let title = text_or_null(row, 3)?.unwrap_or_default();
            found.push(Unread { conversation, title, read_n, last_n, count });
        }
    }
    Ok(found)
}
