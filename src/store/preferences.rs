//! What members set of a conversation for themselves: changed, cleared, and read as it is at a time.
//!
//! Owns the columns of `memberships` that only their member sees. Leaves the read mark to `conversations`.
//! Invariant: a post writes none of them. What a message ends is stored as the last n of before, and compared when it is read.

use rusqlite::{Connection, Row};

use super::batch::{Batch, Written};
use super::cache::Slot;
use super::conversations;
use super::event_log;
use super::fault::Stop;
use super::groups;
use super::value::{int, number_or_null};
use crate::base::time::UnixMs;
use crate::model::conversation::{GetConversation, MarkRead};
use crate::model::event::{Audience, Event, Fact};
use crate::model::operation::{Answer, Refusal};
use crate::model::preferences::{
    ChangePreferences, ClearConversation, PINNED_CONVERSATIONS_MAX, Preferences,
};

/// The columns that [`read`] reads, of a membership `m`.
macro_rules! columns {
    () => {
        "m.muted, m.muted_until, m.pinned, m.marked_unread, m.archived_n, m.hidden_n"
    };
}
pub(super) use columns;

/// The preferences in the six columns from `first` on, as they are at a time. `ids` is the key of the conversation and its last n.
pub fn read(
    conn: &Connection,
    row: &Row<'_>,
    first: usize,
    (key, last_n): (i64, u64),
    at: UnixMs,
) -> rusqlite::Result<Preferences> {
    let muted_until = number_or_null(row, first + 1)?.map(UnixMs);
    let muted = row.get(first)? && muted_until.is_none_or(|until| at < until);
    // Whether no message that counts came since.
    let is_quiet = |column| match number_or_null(row, column)? {
        Some(since) => Ok::<_, rusqlite::Error>(Some(conversations::unread(conn, key, since, last_n)? == 0)),
        None => Ok(None),
    };
    Ok(Preferences {
        muted,
        muted_until: muted_until.filter(|_| muted),
        pinned: row.get(first + 2)?,
        marked_unread: row.get(first + 3)?,
        archived: is_quiet(first + 4)?.is_some_and(|quiet| quiet || muted),
        hidden: is_quiet(first + 5)?.unwrap_or_default(),
    })
}

/// Changes the preferences of a member and returns the event. The caller has checked everything else: a refusal changes nothing.
pub fn change(
    batch: &mut Batch<'_>,
    (slot, member): (Slot, usize),
    at: UnixMs,
    change: &ChangePreferences,
) -> Result<Event, Stop> {
    let cached = batch.cache.get(slot);
    let (membership, last_n) = (&cached.members[member], cached.last_n);
    let (key, profile) = (membership.key, membership.profile_key);
    if change.pinned == Some(true) && pinned_besides(batch.conn, profile, key)? >= PINNED_CONVERSATIONS_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    let pinned = if change.archived == Some(true) { Some(false) } else { change.pinned };
    let archived = if change.pinned == Some(true) { Some(false) } else { change.archived };
    batch
        .conn
        .prepare_cached(
            "UPDATE memberships SET muted_until = iif(?2 IS NULL, muted_until, ?3), muted = ifnull(?2, muted), \
             pinned = ifnull(?4, pinned), marked_unread = ifnull(?5, marked_unread), \
             archived_n = iif(?6 IS NULL, archived_n, iif(?6, ?7, NULL)) WHERE key = ?1",
        )?
        .execute((
            key,
            change.muted,
            change.muted_until.map(int),
            pinned,
            change.marked_unread,
            archived,
            int(last_n),
        ))?;
    if let Some(marked) = change.marked_unread {
        batch.cache.member(slot, member).marked_unread = marked;
    }
    changed(batch, (slot, member), at)
}

/// How many other conversations a profile has pinned, counted up to the bound.
fn pinned_besides(conn: &Connection, profile: i64, membership: i64) -> rusqlite::Result<usize> {
    let mut statement = conn
        .prepare_cached("SELECT 1 FROM memberships WHERE profile = ?1 AND pinned AND key <> ?2 LIMIT ?3")?;
    let mut rows = statement.query((profile, membership, PINNED_CONVERSATIONS_MAX as i64))?;
    let mut count = 0;
    while rows.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// The event of a change: for the member's own devices.
fn changed(batch: &mut Batch<'_>, (slot, member): (Slot, usize), at: UnixMs) -> Result<Event, Stop> {
    let cached = batch.cache.get(slot);
    let (key, id) = (cached.key, cached.id);
    let (profile, profile_key) = (cached.members[member].profile, cached.members[member].profile_key);
    let seq = event_log::append_preferences(batch, profile_key, id, at)?;
    let mut brief = groups::brief(batch.conn, key)?;
    brief.own = true;
    Ok(Event { seq, audience: Audience::one(profile), fact: Fact::ConversationUpdated(Box::new(brief)) })
}

/// Removes the mark of a conversation that its member now reads.
pub fn unmark(batch: &mut Batch<'_>, (slot, member): (Slot, usize), at: UnixMs) -> Result<Event, Stop> {
    let membership = batch.cache.member(slot, member);
    membership.marked_unread = false;
    let key = membership.key;
    batch.conn.prepare_cached("UPDATE memberships SET marked_unread = 0 WHERE key = ?1")?.execute([key])?;
    changed(batch, (slot, member), at)
}

pub fn clear(batch: &mut Batch<'_>, clear: ClearConversation) -> Result<Written, Stop> {
    let slot = conversations::load(batch, clear.conversation)?.ok_or(Refusal::NotFound)?;
    let cached = batch.cache.get(slot);
    let member = cached.member(clear.actor).ok_or(Refusal::NotFound)?;
    let (key, last_n) = (cached.members[member].key, cached.last_n);
    let membership = batch.cache.member(slot, member);
    (membership.first_n, membership.marked_unread) = (last_n + 1, false);
    let mark = MarkRead { at: clear.at, reader: clear.actor, conversation: clear.conversation, n: last_n };
    let mut events: Vec<Event> = conversations::mark_read(batch, mark)?.events.into_iter().collect();
    batch
        .conn
        .prepare_cached(
            "UPDATE memberships SET first_n = ?2, marked_unread = 0, hidden_n = iif(?3, ?4, NULL), \
             pinned = pinned AND NOT ?3, archived_n = iif(?3, NULL, archived_n) WHERE key = ?1",
        )?
        .execute((key, int(last_n + 1), clear.hide, int(last_n)))?;
    events.push(changed(batch, (slot, member), clear.at)?);
    let get = GetConversation { at: clear.at, viewer: clear.actor, conversation: clear.conversation };
    let conversation = conversations::get_in(batch, get)?;
    Ok(Written { result: Ok(Answer::ClearConversation(Box::new(conversation))), events: events.into() })
}

/// Forgets what a deleted account had set: its memberships of direct conversations stay.
pub fn forget(conn: &Connection, profile: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE memberships SET muted = 0, muted_until = NULL, pinned = 0, marked_unread = 0, archived_n = NULL, \
         hidden_n = NULL WHERE profile = ?1",
    )?
    .execute([profile])?;
    Ok(())
}
