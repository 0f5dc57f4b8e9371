//! Which profiles may see another's typing and online state.
//!
//! Invariant: a block, a private profile and `presence:false` hide it in both directions.

use rusqlite::Connection;

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number_or_null};
use super::{conversations, profiles};
use crate::base::time::UnixMs;
use crate::model::id::ProfileId;
use crate::model::operation::{Answer, Refusal};
use crate::model::presence::{FindListeners, FindPeers, MarkOffline, Peers};

/// Direct peers that receive a profile's presence, those with the newest activity first. The others don't.
const PRESENCE_PEERS_MAX: u32 = 1_000;

pub fn find_listeners(conn: &Connection, find: FindListeners) -> Result<Vec<ProfileId>, Stop> {
    let readable = conversations::readable(conn, find.viewer, find.conversation)?;
    let conversation = readable.ok_or(Refusal::NotFound)?;
    let viewer = profiles::key(conn, find.viewer)?.ok_or(Refusal::NotFound)?;
    let listeners = conn
        .prepare_cached(
            "SELECT p.id FROM memberships m JOIN profiles p ON p.key = m.profile \
             WHERE m.conversation = ?1 AND m.profile <> ?2 AND p.member IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM blocks WHERE (blocker = ?2 AND blocked = p.key) OR (blocker = p.key AND blocked = ?2))",
        )?
        .query_map([conversation.key, viewer], |row| id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(listeners)
}

pub fn find_peers(conn: &Connection, find: FindPeers) -> Result<Peers, Stop> {
    let key = profiles::key(conn, find.profile)?.ok_or(Refusal::NotFound)?;
    peers(conn, find.profile, key)
}

pub fn mark_offline(batch: &mut Batch<'_>, mark: MarkOffline) -> Result<Written, Stop> {
    batch
        .conn
        .prepare_cached("UPDATE profiles SET last_seen_at = ?2 WHERE id = ?1 AND member IS NOT NULL")?
        .execute((mark.profile.to_bytes(), int(mark.at)))?;
    // The profile may be deleted since: its peers saw it online until now and must be notified. Its conversations still exist.
    let key = profiles::remembered_key(batch.conn, mark.profile)?.ok_or(Refusal::NotFound)?;
    // The peers are ordered by an activity that the cache may hold.
    batch.cache.write(batch.conn)?;
    let peers = peers(batch.conn, mark.profile, key)?;
    Written::quietly(Answer::MarkOffline(Box::new(peers)))
}

fn peers(conn: &Connection, profile: ProfileId, key: i64) -> Result<Peers, Stop> {
    let (hidden, last_seen_at) = conn
        .prepare_cached("SELECT is_private OR NOT presence, last_seen_at FROM profiles WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, number_or_null(row, 1)?.map(UnixMs))))?;
    let peers = conn
        .prepare_cached(
            "SELECT p.id FROM memberships m JOIN conversations c ON c.key = m.conversation \
             JOIN profiles p ON p.key = CASE WHEN c.low = ?1 THEN c.high ELSE c.low END \
             WHERE m.profile = ?1 AND c.kind = 0 AND p.member IS NOT NULL AND p.presence AND NOT p.is_private \
             AND NOT EXISTS \
             (SELECT 1 FROM blocks WHERE (blocker = ?1 AND blocked = p.key) OR (blocker = p.key AND blocked = ?1)) \
             ORDER BY c.activity DESC, c.key LIMIT ?2",
        )?
        .query_map((key, PRESENCE_PEERS_MAX), |row| id(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Peers { profile, hidden, peers, last_seen_at })
}
