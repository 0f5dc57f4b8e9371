//! Messages as they are read: one, or a page of a conversation.
//!
//! A message is found by its `seq`, which is its rowid and the low half of its id. Leaves the row of a new message to `posting`.
//! Invariant: a row that is damaged on the disk hides no other row.

use rusqlite::{Connection, OptionalExtension, Row};

use super::conversations::Readable;
use super::fault::Stop;
use super::page::{Budget, message_bytes};
use super::profiles::{self, Names};
use super::value::{id, int, joined, number, number_or_null, or_damaged};
use super::{attachments, changes, conversations, mentions, metadata, pins, system_messages};
use crate::base::time::UnixMs;
use crate::limits::PAGE_MAX;
use crate::model::id::{ConversationId, MessageId};
use crate::model::message::{
    GetMessage, LegacyHistory, ListMessages, Message, MessagePage, OpenLegacySocket, PagePoint,
};
use crate::model::operation::Refusal;

/// Messages searched for the newest one with a text. If none of them has one, the conversation counts as without text.
const TEXT_SEARCH_MAX: u32 = 1_000;

/// The bits of `messages.flags`, which is NULL for nearly all messages. The other one is
/// [`IS_SYSTEM`](system_messages::IS_SYSTEM), always alone.
pub const HAS_FILES: i64 = 1;
pub const IS_FORWARDED: i64 = 4;

/// The columns [`from_row`] reads, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.seq, m.id_high, m.n, m.sender, m.client_high, m.client_low, m.reply_to, m.rev, m.edited_at, \
             m.deleted_at, m.body, m.flags FROM messages m ",
            $rest
        )
    };
}

fn from_row(
    conn: &Connection,
    names: &mut Names,
    conversation: ConversationId,
    row: &Row<'_>,
) -> rusqlite::Result<Message> {
    let seq = number(row, 0)?;
    // One row that is damaged on the disk must not hide the rows around it: its readable fields are shown.
    let mut damaged = false;
    let damage = &mut damaged;
    let id = joined(or_damaged(row.get(1), damage)?, int(seq));
    let rev = or_damaged(number_or_null(row, 7), damage)?;
    // Nearly no message is a reply or has changed: what only a change sets is read only of a changed message.
    let reply_to = match or_damaged(number_or_null(row, 6), damage)? {
        Some(seq) => id_of_seq(conn, seq, damage)?,
        None => None,
    };
    let mut time = |column| match rev {
        Some(_) => Ok(or_damaged(number_or_null(row, column), damage)?.map(UnixMs)),
        None => Ok::<_, rusqlite::Error>(None),
    };
    let (edited_at, deleted_at) = (time(8)?, time(9)?);
    // A system message has no file but a row of its own.
    let shows: Option<i64> = or_damaged(row.get(11), damage)?;
    let system = match shows {
        Some(system_messages::IS_SYSTEM) => system_messages::of(conn, names, seq)?,
        _ => None,
    };
    let flags = shows.unwrap_or_default();
    let has_files = flags & HAS_FILES != 0;
    let body: Option<String> = or_damaged(row.get(10), damage)?;
    // Every message was posted with a text or with files, or tells of a change.
    *damage |=
        body.is_none() && deleted_at.is_none() && flags & (HAS_FILES | system_messages::IS_SYSTEM) == 0;
    *damage |= shows == Some(system_messages::IS_SYSTEM) && system.is_none();
    let mentions = mentions::of(conn, names, seq, body.as_deref())?;
    Ok(Message {
        id,
        client_id: joined(or_damaged(row.get(4), damage)?, or_damaged(row.get(5), damage)?),
        conversation,
        n: or_damaged(number(row, 2), damage)?,
        seq,
        rev: rev.unwrap_or(seq),
        sender: match or_damaged(row.get::<_, Option<i64>>(3), damage)? {
            Some(sender) => names.of(conn, sender)?,
            None => None,
        },
        body,
        attachments: if has_files { attachments::of_message(conn, seq)? } else { Vec::new() },
        reply_to,
        // A message without a change has no reactions: no lookup for nearly all messages.
        reactions: if rev.is_some() { changes::reactions(conn, names, seq)? } else { Vec::new() },
        mentions,
        forwarded: flags & IS_FORWARDED != 0,
        pinned: rev.is_some() && pins::is_pinned(conn, seq)?,
        system,
        created_at: id.unix_ms(),
        edited_at,
        deleted_at,
        damaged,
    })
}

/// The id of a message that is answered. A statement of its own, as few messages have one: as a part of the other it opened a cursor
/// for each row of a page.
fn id_of_seq(conn: &Connection, seq: u64, damage: &mut bool) -> rusqlite::Result<Option<MessageId>> {
    let high = conn
        .prepare_cached("SELECT id_high FROM messages WHERE seq = ?1")?
        .query_row([int(seq)], |row| or_damaged(row.get::<_, Option<i64>>(0), damage))
        .optional()?;
    Ok(high.flatten().map(|high| joined(high, int(seq))))
}

/// The message of a `seq`, as it is now.
pub fn of_seq(
    conn: &Connection,
    names: &mut Names,
    conversation: ConversationId,
    seq: u64,
) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(select!("WHERE m.seq = ?1"))?
        .query_row([int(seq)], |row| from_row(conn, names, conversation, row))
        .optional()
}

/// The message at position `n` of a conversation.
pub fn at(
    conn: &Connection,
    names: &mut Names,
    (key, conversation): (i64, ConversationId),
    n: u64,
) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(select!("WHERE m.conversation = ?1 AND m.n = ?2"))?
        .query_row((key, int(n)), |row| from_row(conn, names, conversation, row))
        .optional()
}

pub fn list(conn: &Connection, list: ListMessages) -> Result<MessagePage, Stop> {
    let readable = conversations::readable(conn, list.viewer, list.conversation)?;
    let conversation = readable.ok_or(Refusal::NotFound)?;
    let ids = (conversation.key, list.conversation);
    // Where the list ends: a page that reaches it has no next one.
    let Some((first_n, last_n)) = ends(conn, &conversation, list.pinned)? else {
        return Ok(MessagePage { messages: Vec::new(), next: None });
    };
    Ok(match list.at {
        PagePoint::After(n) => {
            let sql = match list.pinned {
                false => {
                    select!("WHERE m.conversation = ?1 AND m.n > ?2 AND m.n >= ?4 ORDER BY m.n LIMIT ?3")
                }
                true => select!(
                    "JOIN pins p ON p.message = m.seq WHERE p.conversation = ?1 AND m.n > ?2 AND m.n >= ?4 \
                     ORDER BY m.n LIMIT ?3"
                ),
            };
            let messages = page(conn, sql, ids, (n, first_n), list.limit)?;
            let last = messages.last().map_or(u64::MAX, |message| message.n);
            let next = (last < last_n).then_some(PagePoint::After(last));
            MessagePage { messages, next }
        }
        PagePoint::Newest => before(conn, ids, (conversation.last_n + 1, first_n), &list)?,
        PagePoint::Before(n) => before(conn, ids, (n, first_n), &list)?,
    })
}

/// The first and the last position of what is listed; `None` if nothing is pinned.
fn ends(conn: &Connection, of: &Readable, pinned: bool) -> rusqlite::Result<Option<(u64, u64)>> {
    if !pinned {
        return Ok(Some((of.first_n, of.last_n)));
    }
    let (first, last) = conn
        .prepare_cached(
            "SELECT min(m.n), max(m.n) FROM pins p JOIN messages m ON m.seq = p.message \
             WHERE p.conversation = ?1 AND m.n >= ?2",
        )?
        .query_row((of.key, int(of.first_n)), |row| Ok((number_or_null(row, 0)?, number_or_null(row, 1)?)))?;
    Ok(first.zip(last))
}

fn before(
    conn: &Connection,
    ids: (i64, ConversationId),
    (n, first_n): (u64, u64),
    list: &ListMessages,
) -> rusqlite::Result<MessagePage> {
    let sql = match list.pinned {
        false => select!("WHERE m.conversation = ?1 AND m.n < ?2 AND m.n >= ?4 ORDER BY m.n DESC LIMIT ?3"),
        true => select!(
            "JOIN pins p ON p.message = m.seq WHERE p.conversation = ?1 AND m.n < ?2 AND m.n >= ?4 \
             ORDER BY m.n DESC LIMIT ?3"
        ),
    };
    let mut messages = page(conn, sql, ids, (n, first_n), list.limit)?;
    messages.reverse();
    let first = messages.first().map_or(0, |message| message.n);
    Ok(MessagePage { messages, next: (first > first_n.max(1)).then_some(PagePoint::Before(first)) })
}

pub fn get(conn: &Connection, get: GetMessage) -> Result<Message, Stop> {
    let conversation = conversation_of(conn, get.message)?.ok_or(Refusal::NotFound)?;
    let readable = conversations::readable(conn, get.viewer, conversation)?.ok_or(Refusal::NotFound)?;
    let message = of_seq(conn, &mut Names::default(), conversation, get.message.seq())?;
    Ok(message.filter(|message| message.n >= readable.first_n).ok_or(Refusal::NotFound)?)
}

/// The conversation of a message. The id is compared completely.
pub fn conversation_of(conn: &Connection, message: MessageId) -> rusqlite::Result<Option<ConversationId>> {
    conn.prepare_cached(
        "SELECT c.id FROM messages m JOIN conversations c ON c.key = m.conversation \
         WHERE m.seq = ?1 AND m.id_high = ?2",
    )?
    .query_row((message.seq() as i64, message.high() as i64), |row| id(row, 0))
    .optional()
}

/// Messages in the order of `sql`, until the page is full.
fn page(
    conn: &Connection,
    sql: &str,
    (key, conversation): (i64, ConversationId),
    (n, first_n): (u64, u64),
    limit: u32,
) -> rusqlite::Result<Vec<Message>> {
    let (mut names, mut budget) = (Names::default(), Budget::new(limit));
    // In one allocation: a message has some hundred bytes even without its text, and most pages are full.
    let mut messages = Vec::with_capacity(limit.min(PAGE_MAX) as usize);
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((key, int(n), limit, int(first_n)))?;
    while let Some(row) = rows.next()? {
        let message = from_row(conn, &mut names, conversation, row)?;
        if !budget.take(message_bytes(&message)) {
            break;
        }
        messages.push(message);
    }
    Ok(messages)
}

pub fn open_legacy_socket(conn: &Connection, open: OpenLegacySocket) -> Result<LegacyHistory, Stop> {
    let sender = profiles::key(conn, open.sender)?.ok_or(Refusal::Unauthorized)?;
    let receiver = profiles::key(conn, open.receiver)?.ok_or(Refusal::NotFound)?;
    if sender == receiver || profiles::blocked(conn, sender, receiver)? {
        return Err(Refusal::NotFound.into());
    }
    let as_of = metadata::head(conn)?;
    let Some(id) = conversations::direct_between(conn, sender, receiver)? else {
        return Ok(LegacyHistory { conversation: None, last_n: 0, as_of, messages: Vec::new() });
    };
    let conversation = conversations::readable(conn, open.sender, id)?.ok_or(Refusal::NotFound)?;
    // Tombstones and messages with attachments only have no text. A long run of them is not searched to its end.
    let mut messages = page(
        conn,
        select!(
            "WHERE m.conversation = ?1 AND m.n > ?2 AND m.n >= ?4 AND m.body IS NOT NULL AND m.deleted_at IS NULL \
             ORDER BY m.n DESC LIMIT ?3"
        ),
        (conversation.key, id),
        (conversation.last_n.saturating_sub(u64::from(TEXT_SEARCH_MAX)), conversation.first_n),
        open.limit,
    )?;
    messages.reverse();
    Ok(LegacyHistory { conversation: Some(id), last_n: conversation.last_n, as_of, messages })
}

/// The newest message after `read_n` that is no system message, among the newest [`TEXT_SEARCH_MAX`].
pub fn newest_counted(
    conn: &Connection,
    (key, conversation): (i64, ConversationId),
    (read_n, last_n): (u64, u64),
) -> rusqlite::Result<Option<Message>> {
    let after = read_n.max(last_n.saturating_sub(u64::from(TEXT_SEARCH_MAX)));
    conn.prepare_cached(select!(
        "WHERE m.conversation = ?1 AND m.n > ?2 AND m.flags IS NOT 2 ORDER BY m.n DESC LIMIT 1"
    ))?
    .query_row((key, int(after)), |row| from_row(conn, &mut Names::default(), conversation, row))
    .optional()
}

/// The newest text of a conversation and its time. If no message has one, the last message's time with an empty text.
pub fn newest_text(
    conn: &Connection,
    key: i64,
    (first_n, last_n): (u64, u64),
) -> rusqlite::Result<Option<(String, UnixMs)>> {
    let time = |row: &Row<'_>| {
        Ok::<_, rusqlite::Error>(UnixMs((or_damaged(row.get::<_, i64>(0), &mut false)? as u64) >> 16))
    };
    let text = conn
        .prepare_cached(
            "SELECT id_high, body FROM messages WHERE conversation = ?1 AND n > ?2 AND n >= ?3 \
             AND body IS NOT NULL AND deleted_at IS NULL ORDER BY n DESC LIMIT 1",
        )?
        .query_row((key, int(last_n.saturating_sub(u64::from(TEXT_SEARCH_MAX))), int(first_n)), |row| {
            Ok((or_damaged(row.get(1), &mut false)?, time(row)?))
        })
        .optional()?;
    if text.is_some() {
        return Ok(text);
    }
    conn.prepare_cached("SELECT id_high FROM messages WHERE conversation = ?1 AND n = ?2")?
        .query_row((key, int(last_n)), |row| Ok((String::new(), time(row)?)))
        .optional()
}
