//! The messages of one sender, wherever they stand. No index leads to them, since on the path of a post each would cost a
//! page for every sender of a batch: they are found by walking the conversations the sender is or was in.
//! Invariant: whoever posted in a conversation is a member of it or stands in `departures`, so that a walk misses nothing;
//! it visits each conversation once, in the order of their keys, and costs nothing for those of others.

use rusqlite::{Connection, OptionalExtension};

use super::value::{int, joined, number};
use crate::base::id::Id;
use crate::limits::SENDER_SCAN;
use crate::model::export::MessageCursor;

/// A message on the walk.
pub struct OwnMessage {
    pub message: Id,
    /// The key of its conversation.
    pub conversation: u64,
    /// It is not deleted.
    pub stands: bool,
}

/// To be called where a membership ends.
pub fn note_departure(conn: &Connection, profile: i64, conversation: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR IGNORE INTO departures (profile, conversation) VALUES (?1, ?2)")?
        .execute((profile, conversation))?;
    Ok(())
}

/// Nobody will walk for this one again.
pub fn forget_departures(conn: &Connection, profile: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM departures WHERE profile = ?1")?.execute([profile])?;
    Ok(())
}

/// Shows `visit` the messages of a sender behind `place`, until it says that it has enough (`false`) or [`SENDER_SCAN`]
/// messages of anybody were looked at. Then the place to go on from, also where none was shown; `None` behind the last.
pub fn scan(
    conn: &Connection,
    sender: i64,
    mut place: MessageCursor,
    mut visit: impl FnMut(OwnMessage) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<MessageCursor>> {
    let mut statement = conn.prepare_cached(
        "SELECT n, seq, id_high, sender, deleted_at IS NULL FROM messages WHERE conversation = ?1 AND n > ?2 \
         ORDER BY n LIMIT ?3",
    )?;
    let mut left = SENDER_SCAN;
    loop {
        let mut rows = statement.query((int(place.conversation), int(place.n), left))?;
        while let Some(row) = rows.next()? {
            place.n = number(row, 0)?;
            left -= 1;
            if row.get::<_, i64>(3)? != sender {
                continue;
            }
            let own = OwnMessage {
                message: joined(row.get(2)?, row.get(1)?),
                conversation: place.conversation,
                stands: row.get(4)?,
            };
            if !visit(own)? {
                return Ok(Some(place));
            }
        }
        if left == 0 {
            return Ok(Some(place));
        }
        let Some(conversation) = next_conversation(conn, sender, place.conversation)? else {
            return Ok(None);
        };
        place = MessageCursor { conversation, n: 0 };
        left -= 1;
    }
}

/// The first one behind this key that the profile is in, or was: two looks, each into an index.
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
