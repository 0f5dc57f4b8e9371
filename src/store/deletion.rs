//! The deletion of an account: what is erased with it, and its messages afterwards, one bounded step at a time.
//!
//! Invariant: a deletion that began is finished, also after a restart: a row records what is left to erase.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::event_log::{self, Change};
use super::fault::Stop;
use super::value::{id, int, joined, number};
use super::{accounts, audit, by_sender, changes, groups, preferences, reports, sessions, uploads};
use crate::base::time::UnixMs;
use crate::model::conversation::RemoveMember;
use crate::model::event::{Audience, Event, Fact};
use crate::model::export::MessageCursor;
use crate::model::id::{ConversationId, MessageId};
use crate::model::member::{DeleteAccount, EraseMessages, Erased, Leftovers};
use crate::model::operation::{Answer, Refusal};

/// Direct peers that are notified of a deleted account, those with the newest activity first, all in one transaction. The
/// other peers see it when they read.
pub const NOTIFIED_PEERS_MAX: u32 = 1_000;
/// Messages of a deleted member erased in one step, which takes the writer a few milliseconds.
pub const ERASE_STEP: usize = 100;

pub fn delete(batch: &mut Batch<'_>, delete: &DeleteAccount) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = accounts::key(conn, delete.member)?.ok_or(Refusal::Unauthorized)?;
    if let Some(hash) = &delete.proven {
        // The password was checked outside of this transaction: the hash it was compared with must still be the same.
        let is_unchanged = conn
            .prepare_cached("SELECT 1 FROM members WHERE key = ?1 AND hash = ?2 AND active")?
            .exists((member, hash))?;
        if !is_unchanged {
            return Err(Refusal::Unauthorized.into());
        }
    } else {
        audit::target(conn, delete.by, delete.member)?;
        audit::record(conn, (delete.at, delete.by), "member.delete", Some(delete.member), "")?;
    }
    let (profile, profile_id) = conn
        .prepare_cached("SELECT key, id FROM profiles WHERE member = ?1")?
        .query_row([member], |row| Ok((row.get::<_, i64>(0)?, id(row, 1)?)))?;

    let mut events = sessions::revoke_others(batch, member, None, delete.at)?;
    // Before the member is deleted: each group is notified that it left, and gets an admin if it needs one.
    for conversation in groups_of(conn, profile)? {
        let leave = RemoveMember { at: delete.at, actor: profile_id, conversation, profile: profile_id };
        events.extend(groups::remove_member(batch, leave)?.events);
    }
    uploads::erase_all(conn, profile)?;
    preferences::forget(conn, profile)?;
    conn.prepare_cached("DELETE FROM blocks WHERE blocker = ?1 OR blocked = ?1")?.execute([profile])?;
    conn.prepare_cached(
        "UPDATE profiles SET display_name = '', name_key = '', nick_name = NULL, last_seen_at = NULL, \
         updated_seq = 0 WHERE key = ?1",
    )?
    .execute([profile])?;
    // The schema deletes all rows that refer to the member. Its profile stays, without a member.
    conn.prepare_cached("DELETE FROM members WHERE key = ?1")?.execute([member])?;
    match delete.leftovers {
        Leftovers::Keep => by_sender::forget_departures(conn, profile)?,
        Leftovers::Erase => {
            conn.prepare_cached("INSERT INTO erasures (profile, conversation, n) VALUES (?1, 0, 0)")?
                .execute([profile])?;
        }
    }
    // The cache holds conversations with their members, which include the deleted profile.
    batch.cache.write(conn)?;
    batch.cache.clear();
    events.extend(notify_peers_of_deletion(batch, profile, delete.at)?);
    Ok(Written { result: Ok(Answer::DeleteAccount(())), events: events.into() })
}

/// Notifies direct peers that their conversation changed: a client that reads it again finds no peer. The profile itself
/// gets no event, because there is no content of it left to show.
fn notify_peers_of_deletion(batch: &mut Batch<'_>, profile: i64, at: UnixMs) -> rusqlite::Result<Vec<Event>> {
    let conn = batch.conn;
    let left = conn
        .prepare_cached(
            "SELECT c.key, p.id FROM memberships m JOIN conversations c ON c.key = m.conversation AND c.kind = 0 \
             JOIN profiles p ON p.key = CASE WHEN c.low = ?1 THEN c.high ELSE c.low END \
             WHERE m.profile = ?1 AND p.member IS NOT NULL ORDER BY c.activity DESC, c.key LIMIT ?2",
        )?
        .query_map((profile, NOTIFIED_PEERS_MAX), |row| Ok((row.get::<_, i64>(0)?, id(row, 1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut events = Vec::with_capacity(left.len());
    for (conversation, peer) in left {
        let seq = event_log::append_change(batch, conversation, Change::ConversationUpdated, at)?;
        conn.prepare_cached("UPDATE conversations SET last_seq = ?2 WHERE key = ?1")?
            .execute((conversation, int(seq)))?;
        let fact = Fact::ConversationUpdated(Box::new(groups::brief(conn, conversation)?));
        events.push(Event { seq, audience: Audience::one(peer), fact });
    }
    Ok(events)
}

/// In an order that the rows decide, since each group gets its events in this order.
fn groups_of(conn: &Connection, profile: i64) -> rusqlite::Result<Vec<ConversationId>> {
    conn.prepare_cached(
        "SELECT c.id FROM memberships m JOIN conversations c ON c.key = m.conversation AND c.kind = 1 \
         WHERE m.profile = ?1 ORDER BY m.conversation",
    )?
    .query_map([profile], |row| id(row, 0))?
    .collect()
}

pub fn erase_some(batch: &mut Batch<'_>, erase: EraseMessages) -> Result<Written, Stop> {
    let conn = batch.conn;
    let more_reports = reports::erase_old(conn, erase.at)?;
    let found = conn
        .prepare_cached("SELECT profile, conversation, n FROM erasures ORDER BY profile LIMIT 1")?
        .query_row([], |row| {
            Ok((row.get::<_, i64>(0)?, MessageCursor { conversation: number(row, 1)?, n: number(row, 2)? }))
        })
        .optional()?;
    let Some((profile, done)) = found else { return erase_of_group(batch, erase.at, more_reports) };
    let mut step = Vec::new();
    let next = by_sender::scan(conn, profile, done, |own| {
        if own.has_content {
            step.push(own.message);
        }
        Ok(step.len() < ERASE_STEP)
    })?;
    let mut events: Vec<Event> = Vec::new();
    for message in step {
        events.extend(changes::tombstone(batch, message, erase.at)?);
    }
    match next {
        Some(done) => {
            conn.prepare_cached("UPDATE erasures SET conversation = ?2, n = ?3 WHERE profile = ?1")?
                .execute((profile, int(done.conversation), int(done.n)))?;
        }
        None => {
            conn.prepare_cached("DELETE FROM erasures WHERE profile = ?1")?.execute([profile])?;
            by_sender::forget_departures(conn, profile)?;
        }
    }
    let others =
        conn.prepare_cached("SELECT 1 FROM erasures UNION ALL SELECT 1 FROM group_erasures")?.exists([])?;
    let erased = if others || more_reports { Erased::Some } else { Erased::All };
    Ok(Written { result: Ok(Answer::EraseMessages(erased)), events: events.into() })
}

/// One step for a group that an operator has deleted: its next messages become tombstones.
fn erase_of_group(batch: &mut Batch<'_>, at: UnixMs, more_reports: bool) -> Result<Written, Stop> {
    let conn = batch.conn;
    let found = conn
        .prepare_cached("SELECT conversation, n FROM group_erasures ORDER BY conversation LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?)))
        .optional()?;
    let mut events: Vec<Event> = Vec::new();
    if let Some((conversation, done)) = found {
        let step = conn
            .prepare_cached(
                "SELECT n, seq, id_high, deleted_at IS NULL FROM messages WHERE conversation = ?1 AND n > ?2 \
                 ORDER BY n LIMIT ?3",
            )?
            .query_map((conversation, int(done), ERASE_STEP as u32), |row| {
                let message = joined(row.get(2)?, row.get(1)?);
                Ok((number(row, 0)?, message, row.get::<_, bool>(3)?))
            })?
            .collect::<rusqlite::Result<Vec<(u64, MessageId, bool)>>>()?;
        for (_, message, has_content) in &step {
            if *has_content {
                events.extend(changes::tombstone(batch, *message, at)?);
            }
        }
        match step.last() {
            Some((n, ..)) if step.len() == ERASE_STEP => {
                conn.prepare_cached("UPDATE group_erasures SET n = ?2 WHERE conversation = ?1")?
                    .execute((conversation, int(*n)))?;
            }
            _ => {
                conn.prepare_cached("DELETE FROM group_erasures WHERE conversation = ?1")?
                    .execute([conversation])?;
            }
        }
    }
    let others = conn.prepare_cached("SELECT 1 FROM group_erasures")?.exists([])?;
    let erased = if others || more_reports { Erased::Some } else { Erased::All };
    Ok(Written { result: Ok(Answer::EraseMessages(erased)), events: events.into() })
}
