//! Pinned messages: which messages of a conversation its members are shown above the others.
//!
//! Owns the rows of `pins`. Leaves the change of the message and its event to `changes`.
//! Invariant: a pinned message exists and is no tombstone, and a conversation has at most [`PINNED_MAX`] of them.

use std::sync::Arc;

use rusqlite::Connection;

use super::batch::{Batch, Written};
use super::event_log::Change;
use super::fault::Stop;
use super::profiles::Names;
use super::value::{int, number};
use super::{changes, groups, messages};
use crate::model::conversation::ConversationType;
use crate::model::event::Fact;
use crate::model::message::{PINNED_MAX, PinMessage};
use crate::model::operation::{Answer, Refusal};

pub fn pin(batch: &mut Batch<'_>, pin: PinMessage) -> Result<Written, Stop> {
    let target = changes::find(batch, pin.actor, pin.message)?;
    let is_group = batch.cache.get(target.slot).kind == ConversationType::Group;
    if target.is_deleted
        || is_group && !groups::is_admin(batch.conn, target.conversation_key, target.actor_key)?
    {
        return Err(Refusal::NotAllowed.into());
    }
    changes::must_be_open(batch, &target)?;
    let conn = batch.conn;
    if is_pinned(conn, target.seq)? == pin.on {
        let message = messages::of_seq(conn, &mut Names::default(), target.conversation, target.seq)?;
        return Written::quietly(Answer::PinMessage(Arc::new(message.ok_or(Refusal::Internal)?)));
    }
    if pin.on {
        let count = conn
            .prepare_cached("SELECT count(*) FROM pins WHERE conversation = ?1")?
            .query_row([target.conversation_key], |row| number(row, 0))?;
        if count >= PINNED_MAX && erase_unseen(conn, target.conversation_key)? == 0 {
            return Err(Refusal::Invalid("pinned").into());
        }
        conn.prepare_cached("INSERT INTO pins (message, conversation) VALUES (?1, ?2)")?
            .execute((int(target.seq), target.conversation_key))?;
    } else {
        erase(conn, target.seq)?;
    }
    let (seq, message) = changes::changed(batch, &target, Change::MessagePinned(pin.message), pin.at)?;
    let answer = Answer::PinMessage(Arc::clone(&message));
    Ok(changes::written(batch, &target, seq, answer, Fact::MessagePinned(message)))
}

pub fn is_pinned(conn: &Connection, message: u64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM pins WHERE message = ?1")?.exists([int(message)])
}

/// Unpins what no member sees: messages before the joining of all of them, or cleared by all. Returns how many there were.
fn erase_unseen(conn: &Connection, conversation: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM pins WHERE conversation = ?1 AND (SELECT n FROM messages WHERE seq = message) < \
         (SELECT min(first_n) FROM memberships WHERE conversation = ?1)",
    )?
    .execute([conversation])
}

/// Of a message that becomes a tombstone.
pub fn erase(conn: &Connection, message: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pins WHERE message = ?1")?.execute([int(message)])?;
    Ok(())
}
