//! The messages of one sender, in all conversations.
//!
//! There is no index for them: it would cost each post one more page write for every sender of a batch. They are found by a
//! scan of the conversations the sender is or was a member of.
//! Invariant: a profile that posted in a conversation is a member of it or has a row in `departures`, so that a scan misses
//! no message. A scan visits each conversation once, in the order of their keys, and reads none of the others.

use rusqlite::{Connection, OptionalExtension};

use super::value::{int, joined, number};
use crate::limits::SENDER_SCAN;
use crate::model::export::MessageCursor;
use crate::model::id::MessageId;

/// A message that a scan found.
pub struct OwnMessage {
    pub message: MessageId,
    /// The key of its conversation.
    pub conversation: u64,
    /// Whether it has content of its sender: a tombstone has none, and a system message only a title.
    pub has_content: bool,
}

/// Records that a profile left a conversation, or that an admin removed it. Must be called where a membership ends.
pub fn record_departure(
    conn: &Connection,
    profile: i64,
    conversation: i64,
    removed: bool,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO departures (profile, conversation, removed) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET removed = ?3",
    )?
    .execute((profile, conversation, removed))?;
    Ok(())
}

/// Deletes a profile's departures: it will never be scanned for again.
pub fn forget_departures(conn: &Connection, profile: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM departures WHERE profile = ?1")?.execute([profile])?;
    Ok(())
}

/// Calls `visit` with the messages of a sender after `cursor`, until `visit` returns `false` or [`SENDER_SCAN`] messages of
/// any sender were read. Returns the cursor to continue from, also if no message was found; `None` after the last message.
pub fn scan(
    conn: &Connection,
    sender: i64,
    mut cursor: MessageCursor,
    mut visit: impl FnMut(OwnMessage) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<MessageCursor>> {
    let mut statement = conn.prepare_cached(
        "SELECT n, seq, id_high, sender, deleted_at IS NULL AND (flags IS NOT 2 \
         OR EXISTS (SELECT 1 FROM system_messages WHERE message = seq AND title IS NOT NULL)) \
         FROM messages WHERE conversation = ?1 AND n > ?2 ORDER BY n LIMIT ?3",
    )?;
    let mut left = SENDER_SCAN;
    loop {
        let mut rows = statement.query((int(cursor.conversation), int(cursor.n), left))?;
        while let Some(row) = rows.next()? {
            cursor.n = number(row, 0)?;
            left -= 1;
            if row.get::<_, i64>(3)? != sender {
                continue;
            }
            let own = OwnMessage {
                message: joined(row.get(2)?, row.get(1)?),
                conversation: cursor.conversation,
                has_content: row.get(4)?,
            };
            if !visit(own)? {
                return Ok(Some(cursor));
            }
        }
        if left == 0 {
            return Ok(Some(cursor));
        }
        let Some(conversation) = next_conversation(conn, sender, cursor.conversation)? else {
            return Ok(None);
        };
        cursor = MessageCursor { conversation, n: 0 };
        left -= 1;
    }
}

/// The first conversation after this key that the profile is or was a member of: two index lookups.
fn next_conversation(conn: &Connection, profile: i64, after: u64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached(
        "SELECT conversation FROM (\
         SELECT min(conversation) AS conversation FROM memberships WHERE profile = ?1 AND conversation > ?2 \
         UNION ALL SELECT min(conversation) FROM departures WHERE profile = ?1 AND conversation > ?2) \
         WHERE conversation IS NOT NULL ORDER BY conversation LIMIT 1",
    )?
    .query_row((profile, int(after)), |row| number(row, 0))
    .optional()
}
