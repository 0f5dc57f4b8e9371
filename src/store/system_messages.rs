//! System messages: what a group's conversation tells of a change, stored in the transaction of the change.
//!
//! Owns the rows of `system_messages` and `system_message_profiles`. Leaves to `groups` which changes have one.
//! Invariant: a system message has a position as every message has, and a row in `tombstones`, so that nobody has it unread.

use rusqlite::{Connection, OptionalExtension};

use super::batch::Batch;
use super::cache::Slot;
use super::fault::Stop;
use super::profiles::Names;
use super::value::{halves, int, number, text_or_null};
use super::{changes, messages, posting};
use crate::base::time::UnixMs;
use crate::model::event::{Event, Fact};
use crate::model::operation::Refusal;
use crate::model::system_message::{SYSTEM_PROFILES_MAX, SystemKind, SystemMessage};

/// The value of `messages.flags` of a system message: no other flag is added to it.
pub const IS_SYSTEM: i64 = 2;

/// A change that is told.
pub struct Told<'a> {
    pub at: UnixMs,
    /// The key of the profile that made the change.
    pub by: i64,
    pub kind: SystemKind,
    /// The keys of the profiles that it is about.
    pub profiles: &'a [i64],
    pub title: Option<&'a str>,
}

/// Stores a system message as the newest message of a group. Its event is for those who are members now. Must be the last part of
/// an operation that can fail: it changes the cache.
pub fn tell(batch: &mut Batch<'_>, slot: Slot, told: &Told<'_>) -> Result<Event, Stop> {
    let (conn, seq) = (batch.conn, batch.log.head + 1);
    let (key, conversation, n) = {
        let group = batch.cache.get(slot);
        (group.key, group.id, group.last_n + 1)
    };
    let id = posting::next_id(batch.log, told.at, 0);
    let (row, (high, low)) = (int(seq), halves(id));
    // Its own id is its client_id: nobody else's message has it.
    conn.prepare_cached(
        "INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low, flags) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?2, ?6, ?7)",
    )?
    .execute((row, high, key, int(n), told.by, low, IS_SYSTEM))?;
    conn.prepare_cached("INSERT INTO system_messages (message, kind, count, title) VALUES (?1, ?2, ?3, ?4)")?
        .execute((row, told.kind as i64, int(told.profiles.len() as u64), told.title))?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO system_message_profiles (message, place, profile) VALUES (?1, ?2, ?3)",
    )?;
    for (place, profile) in (0_i64..).zip(told.profiles.iter().take(SYSTEM_PROFILES_MAX)) {
        insert.execute((row, place, profile))?;
    }
    changes::count_as_read(conn, key, n)?;
    let message =
        messages::of_seq(conn, &mut Names::default(), conversation, seq)?.ok_or(Refusal::Internal)?;
    batch.log.newest_id_high = id.high();
    batch.next_seq();
    let group = batch.cache.change(slot);
    (group.last_n, group.last_seq, group.activity) = (n, seq, seq);
    let audience = group.everyone();
    Ok(Event { seq, audience, fact: Fact::MessagePosted(message.into()) })
}

/// The content of a system message. `None` if the disk lost it.
pub fn of(
    conn: &Connection,
    names: &mut Names,
    message: u64,
) -> rusqlite::Result<Option<Box<SystemMessage>>> {
    let found = conn
        .prepare_cached("SELECT kind, count, title FROM system_messages WHERE message = ?1")?
        .query_row([int(message)], |row| {
            let kind = usize::try_from(number(row, 0)?).ok().and_then(|kind| SystemKind::ALL.get(kind));
            let (count, title) = (number(row, 1)?, text_or_null(row, 2)?);
            Ok(kind.map(|(_, kind)| SystemMessage { kind: *kind, profiles: Vec::new(), count, title }))
        })
        .optional()?
        .flatten();
    let Some(mut system) = found else { return Ok(None) };
    let mut statement =
        conn.prepare_cached("SELECT profile FROM system_message_profiles WHERE message = ?1 ORDER BY place")?;
    let mut rows = statement.query([int(message)])?;
    while let Some(row) = rows.next()? {
        system.profiles.extend(names.of(conn, row.get(0)?)?);
    }
    Ok(Some(Box::new(system)))
}

/// Removes the content of a message that becomes a tombstone.
pub fn erase(conn: &Connection, message: u64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM system_message_profiles WHERE message = ?1",
        "DELETE FROM system_messages WHERE message = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([int(message)])?;
    }
    Ok(())
}
