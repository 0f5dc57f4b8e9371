//! The event log: all durable events of a profile, in `seq` order.
//!
//! Owns no content: an event records where something happened, and reading it shows the current content there.
//!
//! A profile's events come from several sources, each already in order: the messages of each of its conversations, the read
//! marks of its memberships, and its own rows of `log`. A read merges them. No row is stored per recipient, and a source
//! without new events costs nothing.
//!
//! Invariant: a page holds every event of the profile from its cursor to `through`, each once.

mod merge;

pub use merge::read;
use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::metadata;
use super::value::{int, number};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::event::{PruneLog, Role};
use crate::model::id::{ConversationId, MessageId, ProfileId, SessionId};
use crate::model::operation::Answer;

/// Rows of the log deleted in one transaction.
pub const PRUNE_ROWS: u32 = 1_000;

/// The values of `log.kind` are stored in databases: never change them.
const SESSION_ENDED: i64 = 1;
const MESSAGE_EDITED: i64 = 2;
const MESSAGE_DELETED: i64 = 3;
const MESSAGE_REACTED: i64 = 4;
const CONVERSATION_CREATED: i64 = 5;
const CONVERSATION_UPDATED: i64 = 6;
/// The subject is the id of the profile, followed by its role.
const MEMBER_ADDED: i64 = 7;
const MEMBER_REMOVED: i64 = 8;
/// An event for the profile itself and for its direct peers (the index log_of_updates contains this number).
const PROFILE_UPDATED: i64 = 9;
/// As `PROFILE_UPDATED`, for the profile itself only: no other profile may see what changed.
const PROFILE_UPDATED_FOR_ONESELF: i64 = 10;
const MESSAGE_PINNED: i64 = 11;
/// The subject is the id of the conversation: with its key, the event would be one of all its members.
const PREFERENCES_CHANGED: i64 = 12;

/// An event of a conversation, as a row: the kind and ids, never content.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    MessageEdited(MessageId),
    MessageDeleted(MessageId),
    MessageReacted(MessageId),
    MessagePinned(MessageId),
    ConversationCreated,
    ConversationUpdated,
    MemberAdded(ProfileId, Role),
    /// The key of the removed profile: it is no longer a member, but receives this event.
    MemberRemoved(ProfileId, i64, Role),
}

/// Appends an event of a conversation.
pub fn append_change(
    batch: &mut Batch<'_>,
    conversation: i64,
    change: Change,
    at: UnixMs,
) -> rusqlite::Result<u64> {
    let (kind, profile, subject) = match change {
        Change::MessageEdited(message) => (MESSAGE_EDITED, None, message.to_bytes().to_vec()),
        Change::MessageDeleted(message) => (MESSAGE_DELETED, None, message.to_bytes().to_vec()),
        Change::MessageReacted(message) => (MESSAGE_REACTED, None, message.to_bytes().to_vec()),
        Change::MessagePinned(message) => (MESSAGE_PINNED, None, message.to_bytes().to_vec()),
        Change::ConversationCreated => (CONVERSATION_CREATED, None, Vec::new()),
        Change::ConversationUpdated => (CONVERSATION_UPDATED, None, Vec::new()),
        Change::MemberAdded(profile, role) => (MEMBER_ADDED, None, member_subject(profile, role)),
        Change::MemberRemoved(profile, key, role) => {
            (MEMBER_REMOVED, Some(key), member_subject(profile, role))
        }
    };
    let seq = batch.next_seq();
    batch
        .conn
        .prepare_cached(
            "INSERT INTO log (seq, kind, at, profile, subject, conversation) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((int(seq), kind, int(at), profile, subject, conversation))?;
    Ok(seq)
}

fn member_subject(profile: ProfileId, role: Role) -> Vec<u8> {
    let mut subject = profile.to_bytes().to_vec();
    subject.push(u8::from(role == Role::Admin));
    subject
}

fn read_member_subject(subject: &[u8]) -> Option<(ProfileId, Role)> {
    let (id, role) = subject.split_at_checked(16)?;
    let role = if role == [1] { Role::Admin } else { Role::Member };
    Some((Id::from_bytes(id.try_into().ok()?), role))
}

pub fn append_session_ended(
    batch: &mut Batch<'_>,
    profile: i64,
    session: SessionId,
    at: UnixMs,
) -> rusqlite::Result<u64> {
    append_own(batch, SESSION_ENDED, profile, &session.to_bytes(), at)
}

/// Appends an event of one profile only.
fn append_own(
    batch: &mut Batch<'_>,
    kind: i64,
    profile: i64,
    subject: &[u8],
    at: UnixMs,
) -> rusqlite::Result<u64> {
    let seq = batch.next_seq();
    batch
        .conn
        .prepare_cached("INSERT INTO log (seq, kind, at, profile, subject) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((int(seq), kind, int(at), profile, subject))?;
    Ok(seq)
}

/// Appends a change of what a profile has set of a conversation, for itself only.
pub fn append_preferences(
    batch: &mut Batch<'_>,
    profile: i64,
    conversation: ConversationId,
    at: UnixMs,
) -> rusqlite::Result<u64> {
    append_own(batch, PREFERENCES_CHANGED, profile, &conversation.to_bytes(), at)
}

/// Appends a change of a profile, for its direct peers too or only for itself.
pub fn append_profile_updated(
    batch: &mut Batch<'_>,
    profile: i64,
    for_peers: bool,
    at: UnixMs,
) -> rusqlite::Result<u64> {
    let kind = if for_peers { PROFILE_UPDATED } else { PROFILE_UPDATED_FOR_ONESELF };
    let seq = batch.next_seq();
    batch
        .conn
        .prepare_cached("INSERT INTO log (seq, kind, at, profile) VALUES (?1, ?2, ?3, ?4)")?
        .execute((int(seq), kind, int(at), profile))?;
    if for_peers {
        batch
            .conn
            .prepare_cached("UPDATE profiles SET updated_seq = ?2 WHERE key = ?1")?
            .execute((profile, int(seq)))?;
    }
    Ok(seq)
}

/// Deletes events older than a time from `log`. A client with an older cursor has to start again. `seq` and time increase
/// together, except after the clock was set back: then the later of two adjacent times decides.
pub fn prune(batch: &mut Batch<'_>, prune: PruneLog) -> Result<Written, Stop> {
    let conn = batch.conn;
    let head = batch.log.head;
    let (mut old, mut kept) = (metadata::pruned(conn)?, head + 1);
    let begin = old;
    // The greatest old seq, by binary search.
    while old + 1 < kept {
        let middle = old.midpoint(kept);
        match time_from(conn, middle, kept)? {
            Some((seq, at)) if at < prune.before => old = seq,
            _ => kept = middle,
        }
    }
    if old > begin {
        conn.prepare_cached("UPDATE state SET pruned = ?1, head = max(head, ?2)")?
            .execute((int(old), int(head)))?;
    }
    let gone = conn
        .prepare_cached(
            "DELETE FROM log WHERE seq IN (SELECT seq FROM log WHERE seq <= ?1 ORDER BY seq LIMIT ?2)",
        )?
        .execute((int(old), PRUNE_ROWS))?;
    Written::quietly(Answer::PruneLog(gone == PRUNE_ROWS as usize))
}

/// The first event with at least this seq, and its time. `None` if there is none before `end`.
fn time_from(conn: &Connection, seq: u64, end: u64) -> rusqlite::Result<Option<(u64, UnixMs)>> {
    let bounds = (int(seq), int(end));
    let message = conn
        .prepare_cached(
            "SELECT seq, id_high FROM messages WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1",
        )?
        .query_row(bounds, |row| Ok((number(row, 0)?, UnixMs((row.get::<_, i64>(1)? as u64) >> 16))))
        .optional()?;
    let other = conn
        .prepare_cached("SELECT seq, at FROM log WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1")?
        .query_row(bounds, |row| Ok((number(row, 0)?, UnixMs(number(row, 1)?))))
        .optional()?;
    Ok([message, other].into_iter().flatten().min())
}
