//! Subscriptions to notifications, and what is to be pushed to them.
//!
//! The pusher reads the messages by a cursor of its own, as a client reads its log: a post writes no row for it. Leaves to the
//! server when it reads and what was sent.
//! Invariant: the cursor only moves forward, and begins at the head of the log when the first subscription is made.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, number_or_null, text, text_or_null};
use super::{accounts, conversations, mentions, messages, metadata, profiles};
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use crate::limits::PUSH_SUBSCRIPTIONS_MAX;
use crate::model::conversation::{Conversation, GetConversation};
use crate::model::id::{ConversationId, MemberId, ProfileId, SessionId};
use crate::model::message::Message;
use crate::model::operation::{Answer, Refusal};
use crate::model::push::{
    FindPush, ForgetSubscription, MovePushCursor, PostedPage, Push, PushDevice, PushLevel, PushSubscription,
    ReadPosted, Recipient, SetPushLevel, Subscribe, Unsubscribe,
};

/// Messages of one page: a second at 5,000 posts a second is two.
const POSTED_MESSAGES_MAX: u32 = 2_500;
/// Pairs of a profile and a conversation in one page, and those of one more group.
const POSTED_PAIRS: usize = 4_096;

pub fn subscribe(batch: &mut Batch<'_>, subscribe: Subscribe) -> Result<Written, Stop> {
    let conn = batch.conn;
    let session = own_session(conn, subscribe.member, subscribe.session)?.ok_or(Refusal::Unauthorized)?;
    let member = accounts::key(conn, subscribe.member)?.ok_or(Refusal::Unauthorized)?;
    // A browser has one subscription: a session that used it before has left this browser.
    conn.prepare_cached(
        "DELETE FROM push_subscriptions WHERE endpoint = ?1 AND session <> ?2 \
         AND session IN (SELECT key FROM sessions WHERE member = ?3)",
    )?
    .execute((&subscribe.endpoint, session, member))?;
    let others = conn
        .prepare_cached(
            "SELECT count(*) FROM push_subscriptions WHERE session <> ?1 \
             AND session IN (SELECT key FROM sessions WHERE member = ?2)",
        )?
        .query_row([session, member], |row| number(row, 0))?;
    if others >= PUSH_SUBSCRIPTIONS_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    begin_if_first(batch, subscribe.level)?;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO push_subscriptions (session, endpoint, public, auth, level, since, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        session,
        &subscribe.endpoint,
        subscribe.recipient.public,
        subscribe.recipient.auth,
        level_column(subscribe.level),
        int(batch.log.head),
        int(subscribe.at),
    ))?;
    let made = PushSubscription { level: subscribe.level, created_at: subscribe.at };
    Written::quietly(Answer::Subscribe(made))
}

pub fn set_level(batch: &mut Batch<'_>, set: &SetPushLevel) -> Result<Written, Stop> {
    let session = own_session(batch.conn, set.member, set.session)?.ok_or(Refusal::NotFound)?;
    begin_if_first(batch, set.level)?;
    let created_at = batch
        .conn
        .prepare_cached("UPDATE push_subscriptions SET level = ?2 WHERE session = ?1 RETURNING created_at")?
        .query_row((session, level_column(set.level)), |row| number(row, 0))
        .optional()?
        .ok_or(Refusal::NotFound)?;
    Written::quietly(Answer::SetPushLevel(PushSubscription {
        level: set.level,
        created_at: UnixMs(created_at),
    }))
}

pub fn unsubscribe(batch: &mut Batch<'_>, unsubscribe: &Unsubscribe) -> Result<Written, Stop> {
    let conn = batch.conn;
    let session = own_session(conn, unsubscribe.member, unsubscribe.session)?.ok_or(Refusal::NotFound)?;
    conn.prepare_cached("DELETE FROM push_subscriptions WHERE session = ?1")?.execute([session])?;
    Written::quietly(Answer::Unsubscribe(()))
}

pub fn forget(batch: &mut Batch<'_>, gone: &ForgetSubscription) -> Result<Written, Stop> {
    batch
        .conn
        .prepare_cached(
            "DELETE FROM push_subscriptions WHERE endpoint = ?2 \
             AND session = (SELECT key FROM sessions WHERE id = ?1)",
        )?
        .execute((gone.session.to_bytes(), &gone.endpoint))?;
    Written::quietly(Answer::ForgetSubscription(()))
}

pub fn move_cursor(batch: &mut Batch<'_>, moved: MovePushCursor) -> Result<Written, Stop> {
    batch.conn.prepare_cached("UPDATE state SET pushed = max(pushed, ?1)")?.execute([int(moved.through)])?;
    Written::quietly(Answer::MovePushCursor(()))
}

/// While nobody is subscribed the cursor stays where it is: with the first subscription it begins at the head, since nothing
/// before it is pushed.
fn begin_if_first(batch: &mut Batch<'_>, level: PushLevel) -> rusqlite::Result<()> {
    if level != PushLevel::Off && !is_anyone_subscribed(batch.conn)? {
        batch.conn.prepare_cached("UPDATE state SET pushed = ?1")?.execute([int(batch.log.head)])?;
    }
    Ok(())
}

pub fn is_anyone_subscribed(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM push_subscriptions WHERE level > 0")?.exists([])
}

fn own_session(conn: &Connection, member: MemberId, session: SessionId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT s.key FROM sessions s JOIN members m ON m.key = s.member WHERE s.id = ?1 AND m.id = ?2",
    )?
    .query_row((session.to_bytes(), member.to_bytes()), |row| row.get(0))
    .optional()
}

fn level_column(level: PushLevel) -> i64 {
    match level {
        PushLevel::Off => 0,
        PushLevel::Who => 1,
        PushLevel::Text => 2,
    }
}

fn level_of(column: i64) -> PushLevel {
    match column {
        0 => PushLevel::Off,
        1 => PushLevel::Who,
        _ => PushLevel::Text,
    }
}

/// The subscription of a session, from the columns `level` and `created_at`; both are NULL if it has none.
pub fn of_session(row: &Row<'_>, level: usize) -> rusqlite::Result<Option<PushSubscription>> {
    let Some(column) = row.get::<_, Option<i64>>(level)? else { return Ok(None) };
    let created_at = number_or_null(row, level + 1)?.unwrap_or_default();
    Ok(Some(PushSubscription { level: level_of(column), created_at: UnixMs(created_at) }))
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn read_posted(conn: &Connection, read: ReadPosted) -> Result<PostedPage, Stop> {
    let head = metadata::head(conn)?;
    let (stored, pruned) = conn
        .prepare_cached("SELECT pushed, pruned FROM state")?
        .query_row([], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
    let after = read.after.unwrap_or(stored).max(pruned);
    let is_subscribed = is_anyone_subscribed(conn)?;
    let (through, unread) = (head.max(after), Vec::new());
    let mut page = PostedPage { after, through, unread, is_subscribed, is_full: false };
    if !is_subscribed {
        return Ok(page);
    }
    let mut posted = conn.prepare_cached(
        "SELECT seq, conversation FROM messages WHERE seq > ?1 AND flags IS NOT 2 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = posted.query((int(after), POSTED_MESSAGES_MAX))?;
    let (mut seen, mut count, mut last) = (BTreeSet::new(), 0, after);
    while let Some(row) = rows.next()? {
        let (seq, conversation): (u64, i64) = (number(row, 0)?, row.get(1)?);
        if seen.insert(conversation) {
            if page.unread.len() >= POSTED_PAIRS {
                (page.through, page.is_full) = (last, true);
                return Ok(page);
            }
            unread_by(conn, conversation, (after, read.at), &mut page.unread)?;
        }
        (count, last) = (count + 1, seq);
    }
    if count == POSTED_MESSAGES_MAX {
        (page.through, page.is_full) = (last, true);
    }
    Ok(page)
}

/// The members of a conversation that have it unread, and have a subscription. Of those who have muted it, the ones that a message
/// after this position mentions.
fn unread_by(
    conn: &Connection,
    conversation: i64,
    (after, at): (u64, UnixMs),
    out: &mut Vec<(ProfileId, ConversationId)>,
) -> rusqlite::Result<()> {
    let mut members = conn.prepare_cached(
        "SELECT p.id, c.id FROM conversations c JOIN memberships m ON m.conversation = c.key \
         JOIN profiles p ON p.key = m.profile \
         WHERE c.key = ?1 AND m.read_n < c.last_n AND (NOT m.muted OR m.muted_until <= ?3 \
         OR (SELECT x.message FROM mentions x WHERE x.profile = m.profile AND x.conversation = c.key \
             AND x.n > m.read_n ORDER BY x.n DESC LIMIT 1) > ?2 \
         OR (SELECT x.message FROM mentions x WHERE x.profile = 0 AND x.conversation = c.key \
             AND x.n > m.read_n ORDER BY x.n DESC LIMIT 1) > ?2) AND EXISTS \
         (SELECT 1 FROM sessions s JOIN push_subscriptions u ON u.session = s.key \
          WHERE s.member = p.member AND u.level > 0)",
    )?;
    let mut rows = members.query((conversation, int(after), int(at)))?;
    while let Some(row) = rows.next()? {
        out.push((id(row, 0)?, id(row, 1)?));
    }
    Ok(())
}

pub fn find(conn: &Connection, find: FindPush) -> Result<Option<Push>, Stop> {
    let get = GetConversation { at: find.at, viewer: find.profile, conversation: find.conversation };
    let conversation = match conversations::get(conn, get) {
        // The member has left it, or was deleted.
        Err(Stop::Refused(_)) => return Ok(None),
        found => found?,
    };
    if conversation.unread == 0 {
        return Ok(None);
    }
    let newest = if conversation.own.muted {
        newest_mention(conn, find.profile, &conversation)?
    } else {
        newest_counted(conn, &conversation)?
    };
    let Some(newest) = newest else { return Ok(None) };
    let sender = match newest.sender {
        Some(sender) => conn
            .prepare_cached("SELECT display_name FROM profiles WHERE id = ?1 AND member IS NOT NULL")?
            .query_row([sender.to_bytes()], |row| text_or_null(row, 0))
            .optional()?
            .flatten(),
        None => None,
    };
    let devices = conn
        .prepare_cached(
            "SELECT s.id, u.endpoint, u.public, u.auth, u.level FROM profiles p \
             JOIN sessions s ON s.member = p.member JOIN push_subscriptions u ON u.session = s.key \
             WHERE p.id = ?1 AND u.level > 0 AND u.since < ?2 AND max(s.refresh_expire, s.access_until) > ?3 \
             ORDER BY s.key",
        )?
        .query_map((find.profile.to_bytes(), int(newest.seq), int(find.at.s())), |row| {
            Ok(PushDevice {
                session: id(row, 0)?,
                endpoint: Secret::new(text(row, 1)?),
                recipient: Recipient { public: row.get(2)?, auth: row.get(3)? },
                level: level_of(row.get(4)?),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let push = Push { profile: find.profile, conversation, newest, sender, devices };
    Ok((!push.devices.is_empty()).then_some(push))
}

/// A system message is not pushed: the notification is about the newest message before it.
fn newest_counted(conn: &Connection, conversation: &Conversation) -> rusqlite::Result<Option<Message>> {
    let Conversation { id, read_n, last_n, last_message, .. } = conversation;
    if last_message.as_ref().is_none_or(|last| last.system.is_none()) {
        return Ok(last_message.clone());
    }
    let key = conn
        .prepare_cached("SELECT key FROM conversations WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| row.get(0))?;
    messages::newest_counted(conn, (key, *id), (*read_n, *last_n))
}

/// Of a conversation that is muted, only a mention is pushed.
fn newest_mention(
    conn: &Connection,
    profile: ProfileId,
    conversation: &Conversation,
) -> rusqlite::Result<Option<Message>> {
    if conversation.mentions.count.is_none() {
        return Ok(None);
    }
    let Some(profile) = profiles::key(conn, profile)? else { return Ok(None) };
    mentions::newest_unread(conn, profile, conversation.id, conversation.read_n)
}
