//! Mentions: which members of a group a message addresses, and which of these messages a member has not read.
//!
//! Owns the rows of `mentions`. Leaves to `base::mention` what is a name in a text. A direct conversation has no mentions: whoever
//! mutes it hears nothing of it.
//! Invariant: a message has rows only while its text has an `@`, and a mention by somebody with a block in between has none.

use rusqlite::{Connection, OptionalExtension};

use super::batch::Batch;
use super::cache::{self, Slot};
use super::profiles::{self, Names};
use super::value::{id, int, number, number_or_null};
use super::{groups, messages};
use crate::base::mention;
use crate::limits::{MENTIONS_MAX, UNREAD_MENTIONS_MAX};
use crate::model::conversation::{ConversationType, UnreadMentions};
use crate::model::id::{ConversationId, ProfileId};
use crate::model::message::{ALL, Mention, Message};

/// The key that means all members; no profile has it.
const ALL_KEY: i64 = 0;

/// Whom a message mentions, each with the key of its profile, in the order of the keys.
pub type Mentions = Vec<(i64, Mention)>;

/// Whether a text may mention somebody. `false` for nearly every text, which costs the search of one byte.
pub fn may_mention(conversation: &cache::Conversation, body: Option<&str>) -> bool {
    conversation.kind == ConversationType::Group && body.is_some_and(|body| body.contains('@'))
}

/// The members that a text of this one mentions, by the nick names and the members of this moment.
pub fn resolve(
    batch: &Batch<'_>,
    slot: Slot,
    sender_key: i64,
    body: Option<&str>,
) -> rusqlite::Result<Mentions> {
    let (conversation, conn) = (batch.cache.get(slot), batch.conn);
    let Some(body) = body.filter(|body| may_mention(conversation, Some(body))) else { return Ok(Vec::new()) };
    let mut found = Mentions::new();
    for name in mention::names(body, MENTIONS_MAX) {
        if name == ALL {
            if groups::is_admin(conn, conversation.key, sender_key)? {
                found.push((ALL_KEY, Mention::All));
            }
        } else if let Some((key, profile)) = named(conn, &name)?
            && conversation.member(profile).is_some()
            && !profiles::blocked(conn, sender_key, key)?
        {
            found.push((key, Mention::Profile(profile)));
        }
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    Ok(found)
}

fn named(conn: &Connection, name: &str) -> rusqlite::Result<Option<(i64, ProfileId)>> {
    conn.prepare_cached("SELECT key, id FROM profiles WHERE nick_name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, id(row, 1)?)))
        .optional()
}

/// Stores whom a message mentions: its `seq`, the key of its conversation and its `n`.
pub fn insert(
    conn: &Connection,
    (seq, conversation, n): (u64, i64, u64),
    mentions: &Mentions,
) -> rusqlite::Result<()> {
    if mentions.is_empty() {
        return Ok(());
    }
    let mut insert = conn
        .prepare_cached("INSERT INTO mentions (message, profile, conversation, n) VALUES (?1, ?2, ?3, ?4)")?;
    for (profile, _) in mentions {
        insert.execute((int(seq), profile, conversation, int(n)))?;
    }
    Ok(())
}

pub fn erase(conn: &Connection, seq: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM mentions WHERE message = ?1")?.execute([int(seq)])?;
    Ok(())
}

// ---- for the readers -----------------------------------------------------------------------------

/// Whom a message with this text mentions. A member whose account was deleted is left out.
pub fn of(
    conn: &Connection,
    names: &mut Names,
    seq: u64,
    body: Option<&str>,
) -> rusqlite::Result<Vec<Mention>> {
    let mut mentions = Vec::new();
    if !body.is_some_and(|body| body.contains('@')) {
        return Ok(mentions);
    }
    let mut statement =
        conn.prepare_cached("SELECT profile FROM mentions WHERE message = ?1 ORDER BY profile")?;
    let mut rows = statement.query([int(seq)])?;
    while let Some(row) = rows.next()? {
        mentions.extend(match row.get(0)? {
            ALL_KEY => Some(Mention::All),
            profile => names.of(conn, profile)?.map(Mention::Profile),
        });
    }
    Ok(mentions)
}

/// The messages after `read_n` that mention a profile or all members. All of them are by others: a post moves the read mark of its
/// sender.
pub fn unread(
    conn: &Connection,
    profile: i64,
    conversation: i64,
    read_n: u64,
) -> rusqlite::Result<UnreadMentions> {
    let (count, first) = conn
        .prepare_cached(
            "SELECT count(*), min(n) FROM (SELECT n FROM (SELECT n FROM mentions \
             WHERE profile = ?1 AND conversation = ?2 AND n > ?3 ORDER BY n LIMIT ?4) UNION SELECT n FROM \
             (SELECT n FROM mentions WHERE profile = 0 AND conversation = ?2 AND n > ?3 ORDER BY n LIMIT ?4))",
        )?
        .query_row((profile, conversation, int(read_n), int(UNREAD_MENTIONS_MAX)), |row| {
            Ok((number(row, 0)?.min(UNREAD_MENTIONS_MAX), number_or_null(row, 1)?))
        })?;
    Ok(UnreadMentions { count: (count > 0).then_some(count), first })
}

/// The newest message after `read_n` that mentions a profile or all members.
pub fn newest_unread(
    conn: &Connection,
    profile: i64,
    conversation: ConversationId,
    read_n: u64,
) -> rusqlite::Result<Option<Message>> {
    let key: i64 = conn
        .prepare_cached("SELECT key FROM conversations WHERE id = ?1")?
        .query_row([conversation.to_bytes()], |row| row.get(0))?;
    let newest = |profile: i64| {
        conn.prepare_cached(
            "SELECT max(n) FROM mentions WHERE profile = ?1 AND conversation = ?2 AND n > ?3",
        )?
        .query_row((profile, key, int(read_n)), |row| number_or_null(row, 0))
    };
    match newest(profile)?.max(newest(ALL_KEY)?) {
        Some(n) => messages::at(conn, &mut Names::default(), (key, conversation), n),
        None => Ok(None),
    }
}
