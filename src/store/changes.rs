//! Changes of a posted message: edit, delete, react.
//!
//! Invariant: a change does not move the message: `n`, `seq`, `created_at` and `client_id` stay, and `rev` is the seq of
//! the newest change.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::cache::{PairStatus, Slot};
use super::event_log::{self, Change};
use super::fault::Stop;
use super::profiles::Names;
use super::value::{int, number, text};
use super::{attachments, conversations, groups, mentions, messages, pins, search_changes, system_messages};
use crate::base::emoji;
use crate::base::time::UnixMs;
use crate::limits::{REACTION_PROFILES_SHOWN, REACTIONS_MAX};
use crate::model::event::{Event, Fact};
use crate::model::id::{ConversationId, MessageId, ProfileId};
use crate::model::message::{DeleteMessage, EditMessage, Message, React, Reaction};
use crate::model::operation::{Answer, Refusal};

/// A message that is about to be changed, and its position.
pub struct Target {
    pub slot: Slot,
    pub conversation: ConversationId,
    pub conversation_key: i64,
    pub actor_key: i64,
    pub seq: u64,
    n: u64,
    is_sender: bool,
    pub is_deleted: bool,
    is_forwarded: bool,
}

/// `NotFound` unless the actor is a member of its conversation who sees it. `NotAllowed` for a system message: nobody changes one.
pub fn find(batch: &mut Batch<'_>, actor: ProfileId, message: MessageId) -> Result<Target, Stop> {
    let conversation = messages::conversation_of(batch.conn, message)?.ok_or(Refusal::NotFound)?;
    let slot = conversations::load(batch, conversation)?.ok_or(Refusal::NotFound)?;
    let cached = batch.cache.get(slot);
    let member = cached.member(actor).ok_or(Refusal::NotFound)?;
    let (actor_key, conversation_key) = (cached.members[member].profile_key, cached.key);
    let first_n = cached.members[member].first_n;
    let seq = message.seq();
    let (n, sender, is_deleted, flags) = batch
        .conn
        .prepare_cached(
            "SELECT n, sender, deleted_at IS NOT NULL, ifnull(flags, 0) FROM messages WHERE seq = ?1",
        )?
        .query_row([int(seq)], |row| {
            Ok((number(row, 0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, i64>(3)?))
        })?;
    if n < first_n {
        return Err(Refusal::NotFound.into());
    }
    if flags == system_messages::IS_SYSTEM {
        return Err(Refusal::NotAllowed.into());
    }
    let (is_sender, is_forwarded) = (sender == actor_key, flags & messages::IS_FORWARDED != 0);
    Ok(Target {
        slot,
        conversation,
        conversation_key,
        actor_key,
        seq,
        n,
        is_sender,
        is_deleted,
        is_forwarded,
    })
}

/// Refuses a change in a conversation where one of the two blocked the other.
pub fn must_be_open(batch: &Batch<'_>, target: &Target) -> Result<(), Stop> {
    match batch.cache.get(target.slot).pair_status {
        PairStatus::Blocked => Err(Refusal::NotAllowed.into()),
        PairStatus::Open | PairStatus::PeerGone => Ok(()),
    }
}

/// Appends the change, sets the message's `rev` and returns the message as it is now.
pub fn changed(
    batch: &mut Batch<'_>,
    target: &Target,
    change: Change,
    at: UnixMs,
) -> Result<(u64, Arc<Message>), Stop> {
    let content_changes = matches!(change, Change::MessageEdited(_) | Change::MessageDeleted(_));
    let seq = event_log::append_change(batch, target.conversation_key, change, at)?;
    if content_changes {
        // In the same transaction: the index must learn of every text that its file may no longer contain.
        search_changes::record(batch.conn, seq, target.seq)?;
    }
    batch
        .conn
        .prepare_cached("UPDATE messages SET rev = ?2 WHERE seq = ?1")?
        .execute((int(target.seq), int(seq)))?;
    batch.cache.change(target.slot).last_seq = seq;
    let message = messages::of_seq(batch.conn, &mut Names::default(), target.conversation, target.seq)?;
    Ok((seq, Arc::new(message.ok_or(Refusal::Internal)?)))
}

pub fn written(batch: &Batch<'_>, target: &Target, seq: u64, answer: Answer, fact: Fact) -> Written {
    Written { result: Ok(answer), events: event(batch, target, seq, fact).into() }
}

/// An event of a change, for those who see the message.
pub fn event(batch: &Batch<'_>, target: &Target, seq: u64, fact: Fact) -> Event {
    Event { seq, audience: batch.cache.get(target.slot).who_see(target.n), fact }
}

pub fn edit(batch: &mut Batch<'_>, edit: EditMessage) -> Result<Written, Stop> {
    let target = find(batch, edit.actor, edit.message)?;
    // A forwarded text is not its sender's to change.
    if !target.is_sender || target.is_deleted || target.is_forwarded {
        return Err(Refusal::NotAllowed.into());
    }
    must_be_open(batch, &target)?;
    batch.conn.prepare_cached("UPDATE messages SET body = ?2, edited_at = ?3 WHERE seq = ?1")?.execute((
        int(target.seq),
        &edit.body,
        int(edit.at),
    ))?;
    // By the nick names and the members of now: who is mentioned anew has it as an unread mention, if the message is unread.
    let mentioned = mentions::resolve(batch, target.slot, target.actor_key, Some(&edit.body))?;
    mentions::erase(batch.conn, target.seq)?;
    mentions::insert(batch.conn, (target.seq, target.conversation_key, target.n), &mentioned)?;
    let (seq, message) = changed(batch, &target, Change::MessageEdited(edit.message), edit.at)?;
    let answer = Answer::EditMessage(Arc::clone(&message));
    Ok(written(batch, &target, seq, answer, Fact::MessageEdited(message)))
}

pub fn delete(batch: &mut Batch<'_>, delete: DeleteMessage) -> Result<Written, Stop> {
    let target = find(batch, delete.actor, delete.message)?;
    if !target.is_sender && !groups::is_admin(batch.conn, target.conversation_key, target.actor_key)? {
        return Err(Refusal::NotAllowed.into());
    }
    if target.is_deleted {
        return Written::quietly(Answer::DeleteMessage(()));
    }
    erase(batch.conn, target.conversation_key, target.seq, target.n, delete.at)?;
    let (seq, message) = changed(batch, &target, Change::MessageDeleted(delete.message), delete.at)?;
    Ok(written(batch, &target, seq, Answer::DeleteMessage(()), Fact::MessageDeleted(message)))
}

/// Removes all content of a message. Its position stays, and it does not count as unread.
pub fn erase(conn: &Connection, conversation: i64, seq: u64, n: u64, at: UnixMs) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE messages SET body = NULL, reply_to = NULL, flags = NULL, deleted_at = ?2 WHERE seq = ?1",
    )?
    .execute((int(seq), int(at)))?;
    attachments::detach(conn, seq)?;
    mentions::erase(conn, seq)?;
    system_messages::erase(conn, seq)?;
    pins::erase(conn, seq)?;
    conn.prepare_cached("DELETE FROM reactions WHERE message = ?1")?.execute([int(seq)])?;
    count_as_read(conn, conversation, n)
}

/// Nobody has the message at this position unread, whatever their read mark is.
pub fn count_as_read(conn: &Connection, conversation: i64, n: u64) -> rusqlite::Result<()> {
    let added = conn
        .prepare_cached("INSERT OR IGNORE INTO tombstones (conversation, n) VALUES (?1, ?2)")?
        .execute((conversation, int(n)))?;
    if added > 0 {
        conn.prepare_cached(
            "INSERT INTO tombstone_blocks (conversation, block, count) VALUES (?1, ?2, 1) \
             ON CONFLICT DO UPDATE SET count = count + 1",
        )?
        .execute((conversation, int(n >> BLOCK_BITS)))?;
    }
    Ok(())
}

/// Turns a message into a tombstone, as its sender could have.
pub fn tombstone(batch: &mut Batch<'_>, message: MessageId, at: UnixMs) -> Result<Option<Event>, Stop> {
    let Some(target) = target(batch, message)? else { return Ok(None) };
    erase(batch.conn, target.conversation_key, target.seq, target.n, at)?;
    let (seq, message) = changed(batch, &target, Change::MessageDeleted(message), at)?;
    Ok(Some(event(batch, &target, seq, Fact::MessageDeleted(message))))
}

/// A message that natter itself changes, in the name of its sender.
pub fn target(batch: &mut Batch<'_>, message: MessageId) -> Result<Option<Target>, Stop> {
    let Some(conversation) = messages::conversation_of(batch.conn, message)? else { return Ok(None) };
    let Some(slot) = conversations::load(batch, conversation)? else { return Ok(None) };
    let (seq, conversation_key) = (message.seq(), batch.cache.get(slot).key);
    let (n, actor_key) = batch
        .conn
        .prepare_cached("SELECT n, sender FROM messages WHERE seq = ?1")?
        .query_row([int(seq)], |row| Ok((number(row, 0)?, row.get(1)?)))?;
    Ok(Some(Target {
        slot,
        conversation,
        conversation_key,
        actor_key,
        seq,
        n,
        is_sender: true,
        is_deleted: false,
        is_forwarded: false,
    }))
}

pub fn react(batch: &mut Batch<'_>, react: React) -> Result<Written, Stop> {
    let target = find(batch, react.actor, react.message)?;
    if target.is_deleted {
        return Err(Refusal::NotAllowed.into());
    }
    must_be_open(batch, &target)?;
    let conn = batch.conn;
    let row_key = (int(target.seq), react.emoji.as_str(), target.actor_key);
    let mut others = emoji_of(conn, row_key.0)?;
    others.retain(|other| other != row_key.1);
    // Reactions of old versions are stored as sent: all spellings of this emoji are made equal before the lookup.
    for spelling in others.extract_if(.., |other| emoji::without_style(other) == row_key.1) {
        conn.prepare_cached("UPDATE OR REPLACE reactions SET emoji = ?2 WHERE message = ?1 AND emoji = ?3")?
            .execute((row_key.0, row_key.1, spelling))?;
    }
    let rows = if react.on {
        if others.len() >= REACTIONS_MAX {
            return Err(Refusal::Invalid("emoji").into());
        }
        conn.prepare_cached(
            "INSERT OR IGNORE INTO reactions (message, emoji, profile, seq) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((row_key.0, row_key.1, row_key.2, int(batch.log.head + 1)))?
    } else {
        conn.prepare_cached("DELETE FROM reactions WHERE message = ?1 AND emoji = ?2 AND profile = ?3")?
            .execute(row_key)?
    };
    if rows == 0 && !react.on && emoji::bare(&react.emoji).is_none() {
        return Err(Refusal::Invalid("emoji").into());
    }
    if rows == 0 {
        // The reaction is already set, or already removed: no event.
        let message = messages::of_seq(conn, &mut Names::default(), target.conversation, target.seq)?;
        return Written::quietly(Answer::React(Arc::new(message.ok_or(Refusal::Internal)?)));
    }
    let (seq, message) = changed(batch, &target, Change::MessageReacted(react.message), react.at)?;
    let answer = Answer::React(Arc::clone(&message));
    Ok(written(batch, &target, seq, answer, Fact::MessageReacted(message)))
}

/// The different emoji of a message as they are stored. Each costs one look-up in the index, however many profiles used it.
fn emoji_of(conn: &Connection, message: i64) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "WITH RECURSIVE found (emoji) AS (SELECT min(emoji) FROM reactions WHERE message = ?1 UNION ALL \
         SELECT (SELECT min(emoji) FROM reactions WHERE message = ?1 AND emoji > found.emoji) \
         FROM found WHERE emoji IS NOT NULL) SELECT emoji FROM found WHERE emoji IS NOT NULL",
    )?
    .query_map([message], |row| text(row, 0))?
    .collect()
}

/// The reactions of a message, in the order their emoji were first used.
pub fn reactions(conn: &Connection, names: &mut Names, seq: u64) -> rusqlite::Result<Vec<Reaction>> {
    let mut statement = conn.prepare_cached(
        "SELECT emoji, count(*), min(seq) AS first FROM reactions WHERE message = ?1 \
         GROUP BY emoji ORDER BY first, emoji",
    )?;
    let mut reactions = statement
        .query_map([int(seq)], |row| {
            Ok(Reaction { emoji: text(row, 0)?, count: number(row, 1)?, profiles: Vec::new() })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut who = conn.prepare_cached(
        "SELECT profile FROM reactions WHERE message = ?1 AND emoji = ?2 ORDER BY seq LIMIT ?3",
    )?;
    for reaction in &mut reactions {
        let mut rows = who.query((int(seq), reaction.emoji.as_str(), REACTION_PROFILES_SHOWN))?;
        while let Some(row) = rows.next()? {
            reaction.profiles.extend(names.of(conn, row.get(0)?)?);
        }
        // Stored without variation selectors, which is how it is compared. Shown as fonts expect it.
        reaction.emoji = emoji::qualified(&emoji::without_style(&reaction.emoji));
    }
    Ok(joined_spellings(reactions))
}

/// Old versions stored reactions as sent, so that two rows may mean one emoji until a profile reacts with it again.
fn joined_spellings(reactions: Vec<Reaction>) -> Vec<Reaction> {
    let mut joined: Vec<Reaction> = Vec::with_capacity(reactions.len());
    for reaction in reactions {
        match joined.iter_mut().find(|other| other.emoji == reaction.emoji) {
            Some(other) => {
                let shown = reaction.profiles.len();
                let mut profiles = reaction.profiles;
                profiles.retain(|profile| !other.profiles.contains(profile));
                other.count += reaction.count - (shown - profiles.len()) as u64;
                other.profiles.extend(profiles);
                other.profiles.truncate(REACTION_PROFILES_SHOWN as usize);
            }
            None => joined.push(reaction),
        }
    }
    joined
}

/// Tombstones are counted in blocks of so many messages, as a power of two: of a block a count reads single tombstones.
const BLOCK_BITS: u32 = 10;

/// How many of the messages after `read_n` are deleted: those of its block one by one, all later ones by blocks.
pub fn deleted_after(conn: &Connection, conversation: i64, read_n: u64) -> rusqlite::Result<u64> {
    let block = (read_n >> BLOCK_BITS) + 1;
    conn.prepare_cached(
        "SELECT (SELECT count(*) FROM tombstones WHERE conversation = ?1 AND n > ?2 AND n < ?3) \
         + (SELECT ifnull(sum(count), 0) FROM tombstone_blocks WHERE conversation = ?1 AND block >= ?4)",
    )?
    .query_row((conversation, int(read_n), int(block << BLOCK_BITS), int(block)), |row| number(row, 0))
}

/// When the newest of the messages after `read_n` that are not deleted was posted: ids rise with `n`, so that it is the latest.
/// Of deleted messages at the end, complete blocks are skipped by their counts; one more block is read message by message.
pub fn newest_after(
    conn: &Connection,
    conversation: i64,
    read_n: u64,
    last_n: u64,
) -> rusqlite::Result<Option<UnixMs>> {
    let mut through = last_n;
    let mut blocks = conn.prepare_cached(
        "SELECT block, count FROM tombstone_blocks WHERE conversation = ?1 AND block > ?2 AND block <= ?3 \
         ORDER BY block DESC",
    )?;
    let mut rows = blocks.query((conversation, int(read_n >> BLOCK_BITS), int(last_n >> BLOCK_BITS)))?;
    while let Some(row) = rows.next()? {
        let first = number(row, 0)? << BLOCK_BITS;
        if first >> BLOCK_BITS != through >> BLOCK_BITS || number(row, 1)? <= through - first {
            break;
        }
        through = first - 1;
    }
    conn.prepare_cached(
        "SELECT x.id_high FROM messages x WHERE x.conversation = ?1 AND x.n > ?2 AND x.n <= ?3 \
         AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.conversation = ?1 AND t.n = x.n) \
         ORDER BY x.n DESC LIMIT 1",
    )?
    .query_row((conversation, int(read_n), int(through)), |row| {
        Ok(UnixMs((row.get::<_, i64>(0)? as u64) >> 16))
    })
    .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    #[test]
    fn the_newest_message_is_found_before_any_number_of_deleted_ones() {
        let conn = migrations::empty_of(migrations::VERSION).expect("a database");
        conn.execute_batch("PRAGMA foreign_keys = OFF").expect("the setting");
        let count = 3_u64 << BLOCK_BITS;
        for n in 1..=count {
            conn.prepare_cached(
                "INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low) \
                 VALUES (?1, ?1 << 16, 1, ?1, 1, 0, ?1)",
            )
            .and_then(|mut insert| insert.execute([int(n)]))
            .expect("a message");
        }
        let newest = |read_n| newest_after(&conn, 1, read_n, count).expect("an answer").map(|at| at.0);
        assert_eq!((newest(0), newest(count - 1), newest(count)), (Some(count), Some(count), None));
        let mut live = count;
        for left in [count - 1, 2_048, 2_047, 1_500, 1_024, 1_023, 1] {
            for n in left + 1..=live {
                count_as_read(&conn, 1, n).expect("a tombstone");
            }
            live = left;
            assert_eq!((newest(0), newest(left - 1), newest(left)), (Some(left), Some(left), None), "{left}");
        }
        // A gap in the middle: the newest is after it.
        conn.execute_batch(
            "DELETE FROM tombstones WHERE n = 2500; UPDATE tombstone_blocks SET count = count - 1 WHERE block = 2",
        )
        .expect("one less");
        assert_eq!((newest(0), newest(2_499), newest(2_500)), (Some(2_500), Some(2_500), None));
    }
}
