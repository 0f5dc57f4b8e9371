//! Sessions: opened by sign-in, continued by the exchange of refresh tokens, ended by logout or after a theft.
//!
//! ```text
//! refresh token presented        what it is                        what happens
//! ───────────────────────────    ──────────────────────────────    ─────────────────────────────
//! the current one                                                  a new pair; this one becomes the prior one
//! the prior one, within 60 s     a retry after a lost answer       the same pair again
//! any other of this session      stolen, or its owner's after      the session ends
//!                                a thief used it
//! ```
//! Invariant: an ended session is remembered until its last access token has expired.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, number_or_null, text, text_or_null};
use super::{accounts, digests, event_log, outbox, push, second_factor};
use crate::base::crypto::sha256;
use crate::base::id::Id;
use crate::base::time::{UnixMs, UnixS};
use crate::model::event::{Audience, EndedSession, Event, Fact};
use crate::model::id::SessionId;
use crate::model::member::Account;
use crate::model::operation::{Answer, Refusal};
use crate::model::session::{
    ChangePassword, EndSession, ListSessions, NewSession, OpenSession, Opened, RecordLastSeen,
    RefreshSession, Refreshed, RevokeSessions, SessionPage, SessionSelector, SessionView, TokenPair,
};

/// Milliseconds in which a refresh token that was just exchanged returns the same pair again
/// ([`protocol`](crate::protocol), session.refresh). After that, its use ends the session.
pub const REFRESH_REPEAT_MS: u64 = 60_000;
/// Sessions of one member. When another opens, the one with the oldest activity ends.
pub const SESSIONS_MAX: u64 = 1_000;

/// A row of `sessions`, with the fields of its member that an answer needs.
struct Session {
    key: i64,
    pair: TokenPair,
    profile_key: i64,
    member_active: bool,
    prior_refresh_uuid: Option<Id>,
    rotated_at: Option<UnixMs>,
    access_until: UnixS,
}

/// Inserts a session's row. Returns `true` if its member never had a session on this device before.
pub fn insert(conn: &Connection, member: i64, session: &NewSession, at: UnixMs) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "INSERT INTO sessions (id, member, access_uuid, refresh_uuid, unique_id, user_agent, address, issued, \
         access_expire, refresh_expire, access_until, created_at, last_seen_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?9, ?11, ?11)",
    )?
    .execute((
        session.id.to_bytes(),
        member,
        session.access_uuid.to_bytes(),
        session.refresh_uuid.to_bytes(),
        &session.unique_id,
        &session.user_agent,
        &session.address,
        int(at.s()),
        int(session.access_expire),
        int(session.refresh_expire),
        int(at),
    ))?;
    let new_devices = conn
        .prepare_cached("INSERT OR IGNORE INTO devices (member, device) VALUES (?1, ?2)")?
        .execute((member, device_of(session)))?;
    Ok(new_devices > 0)
}

/// The value that identifies a session's device.
fn device_of(session: &NewSession) -> [u8; 32] {
    match &session.unique_id {
        Some(unique_id) => sha256(unique_id.as_bytes()),
        // A device id has no blank, so it never equals the text of a user agent.
        None => sha256(format!("user agent {}", session.user_agent).as_bytes()),
    }
}

/// The claims of a session's first tokens.
pub fn first_pair(account: &Account, session: &NewSession, at: UnixMs) -> TokenPair {
    TokenPair {
        session: session.id,
        member: account.member.id,
        profile: account.profile.id,
        access_uuid: session.access_uuid,
        refresh_uuid: session.refresh_uuid,
        device: session.unique_id.as_deref().map(|unique_id| sha256(unique_id.as_bytes())),
        issued: at.s(),
        access_expire: session.access_expire,
        refresh_expire: session.refresh_expire,
    }
}

pub fn open(batch: &mut Batch<'_>, open: OpenSession) -> Result<Written, Stop> {
    let conn = batch.conn;
    // The password was checked outside of this transaction: it may have been changed since, and every session ended.
    let member: i64 = conn
        .prepare_cached("SELECT key FROM members WHERE id = ?1 AND hash = ?2 AND active")?
        .query_row((open.member.to_bytes(), &open.hash), |row| row.get(0))
        .optional()?
        .ok_or(Refusal::Unauthorized)?;
    if second_factor::use_up(conn, member, open.used.as_ref())?
        && let Some(mail) = &open.used_mail
    {
        outbox::put(conn, Some(member), mail, open.at)?;
    }
    // After that: it counts the recovery codes that are left.
    let account = accounts::account(conn, open.member)?.ok_or(Refusal::Unauthorized)?;
    if let Some(hash) = &open.rehash {
        conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((member, hash))?;
    }
    // Sessions that can't be continued any more are deleted at the next sign-in of their member, who is seen now.
    conn.prepare_cached(
        "DELETE FROM sessions WHERE member = ?1 AND refresh_expire <= ?2 AND access_until <= ?2",
    )?
    .execute((member, int(open.at.s())))?;
    let events = make_room(batch, member, open.at)?;
    if insert(conn, member, &open.session, open.at)? {
        outbox::put(conn, Some(member), &open.mail, open.at)?;
    }
    let pair = first_pair(&account, &open.session, open.at);
    Ok(Written { result: Ok(Answer::OpenSession(Box::new(Opened { account, pair }))), events: events.into() })
}

/// Ends the sessions with the oldest activity if one more session would exceed the limit.
fn make_room(batch: &mut Batch<'_>, member: i64, at: UnixMs) -> rusqlite::Result<Vec<Event>> {
    let count = batch
        .conn
        .prepare_cached("SELECT count(*) FROM sessions WHERE member = ?1")?
        .query_row([member], |row| number(row, 0))?;
    if count < SESSIONS_MAX {
        return Ok(Vec::new());
    }
    let surplus = int(count + 1 - SESSIONS_MAX);
    let ids = batch
        .conn
        .prepare_cached("SELECT id FROM sessions WHERE member = ?1 ORDER BY last_seen_at, key LIMIT ?2")?
        .query_map((member, surplus), |row| id(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    revoke_all(batch, &ids, at)
}

pub fn refresh(batch: &mut Batch<'_>, refresh: RefreshSession) -> Result<Written, Stop> {
    let conn = batch.conn;
    let session = find(conn, refresh.session)?.ok_or(Refusal::Unauthorized)?;
    let foreign_device = session.pair.device.is_some() && session.pair.device != refresh.device;
    if foreign_device || !session.member_active || session.pair.refresh_expire <= refresh.at.s() {
        return Err(Refusal::Unauthorized.into());
    }
    if refresh.refresh_uuid == session.pair.refresh_uuid {
        let pair = rotate(conn, &session, &refresh)?;
        return Written::quietly(Answer::RefreshSession(Box::new(Refreshed { pair })));
    }
    let repeats = session.prior_refresh_uuid == Some(refresh.refresh_uuid)
        && session.rotated_at.is_some_and(|at| refresh.at.since(at) <= REFRESH_REPEAT_MS);
    if repeats {
        return Written::quietly(Answer::RefreshSession(Box::new(Refreshed { pair: session.pair })));
    }
    let event = revoke(batch, &session, refresh.at)?;
    Ok(Written { result: Err(Refusal::Unauthorized), events: event.into() })
}

fn rotate(conn: &Connection, session: &Session, refresh: &RefreshSession) -> rusqlite::Result<TokenPair> {
    let pair = TokenPair {
        access_uuid: refresh.next_access_uuid,
        refresh_uuid: refresh.next_refresh_uuid,
        issued: refresh.at.s(),
        access_expire: refresh.access_expire,
        refresh_expire: refresh.refresh_expire,
        ..session.pair
    };
    conn.prepare_cached(
        "UPDATE sessions SET prior_refresh_uuid = refresh_uuid, rotated_at = ?2, access_uuid = ?3, \
         refresh_uuid = ?4, issued = ?5, access_expire = ?6, refresh_expire = ?7, \
         access_until = max(access_until, ?6), last_seen_at = ?2 WHERE key = ?1",
    )?
    .execute((
        session.key,
        int(refresh.at),
        pair.access_uuid.to_bytes(),
        pair.refresh_uuid.to_bytes(),
        int(pair.issued),
        int(pair.access_expire),
        int(pair.refresh_expire),
    ))?;
    Ok(pair)
}

pub fn end(batch: &mut Batch<'_>, end: EndSession) -> Result<Written, Stop> {
    let events = match find(batch.conn, end.session)? {
        Some(session) => vec![revoke(batch, &session, end.at)?],
        None => Vec::new(),
    };
    Ok(Written { result: Ok(Answer::EndSession(())), events: events.into() })
}

/// Deletes every session without events. Only for a restored database with a new epoch, which no token contains.
pub fn forget_all(conn: &Connection) -> rusqlite::Result<()> {
    digests::keep_last_seen(conn)?;
    conn.execute("DELETE FROM sessions", [])?;
    Ok(())
}

fn revoke_all(batch: &mut Batch<'_>, ids: &[SessionId], at: UnixMs) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(session) = find(batch.conn, *id)? {
            events.push(revoke(batch, &session, at)?);
        }
    }
    Ok(events)
}

/// Ends every session of a member except `kept`.
pub fn revoke_others(
    batch: &mut Batch<'_>,
    member: i64,
    kept: Option<SessionId>,
    at: UnixMs,
) -> rusqlite::Result<Vec<Event>> {
    let ids = batch
        .conn
        .prepare_cached("SELECT id FROM sessions WHERE member = ?1 AND id IS NOT ?2 ORDER BY key")?
        .query_map((member, kept.map(Id::to_bytes)), |row| id(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    revoke_all(batch, &ids, at)
}

pub fn revoke_some(batch: &mut Batch<'_>, revocation: RevokeSessions) -> Result<Written, Stop> {
    let RevokeSessions { at, member, which } = revocation;
    let member_key = accounts::key(batch.conn, member)?.ok_or(Refusal::Unauthorized)?;
    let events = match which {
        SessionSelector::One(id) => {
            let session = find(batch.conn, id)?.filter(|session| session.pair.member == member);
            vec![revoke(batch, &session.ok_or(Refusal::NotFound)?, at)?]
        }
        SessionSelector::AllBut(kept) => revoke_others(batch, member_key, Some(kept), at)?,
    };
    Ok(Written { result: Ok(Answer::RevokeSessions(())), events: events.into() })
}

pub fn change_password(batch: &mut Batch<'_>, change: ChangePassword) -> Result<Written, Stop> {
    let member = accounts::key(batch.conn, change.member)?.ok_or(Refusal::Unauthorized)?;
    // The old password was checked outside of this transaction: its hash must still be the same.
    let changed = batch
        .conn
        .prepare_cached("UPDATE members SET hash = ?3 WHERE key = ?1 AND hash = ?2 AND active")?
        .execute((member, &change.old_hash, &change.hash))?;
    if changed == 0 {
        return Err(Refusal::Unauthorized.into());
    }
    outbox::put(batch.conn, Some(member), &change.mail, change.at)?;
    let events = revoke_others(batch, member, Some(change.session), change.at)?;
    Ok(Written { result: Ok(Answer::ChangePassword(())), events: events.into() })
}

pub fn record_last_seen(batch: &mut Batch<'_>, seen: &RecordLastSeen) -> Result<Written, Stop> {
    let mut update = batch
        .conn
        .prepare_cached("UPDATE sessions SET last_seen_at = max(last_seen_at, ?2) WHERE id = ?1")?;
    for (session, at) in &seen.seen {
        update.execute((session.to_bytes(), int(*at)))?;
    }
    Written::quietly(Answer::RecordLastSeen(()))
}

pub fn list(conn: &Connection, list: &ListSessions) -> Result<SessionPage, Stop> {
    let member = accounts::key(conn, list.member)?.ok_or(Refusal::Unauthorized)?;
    // One row more than fits shows whether there is a next page.
    let mut rows = conn
        .prepare_cached(
            "SELECT s.key, s.id, s.unique_id, s.user_agent, s.address, s.place, s.created_at, s.last_seen_at, \
             u.level, u.created_at FROM sessions s LEFT JOIN push_subscriptions u ON u.session = s.key \
             WHERE s.member = ?1 AND s.key < ?2 AND max(s.refresh_expire, s.access_until) > ?3 \
             ORDER BY s.key DESC LIMIT ?4",
        )?
        .query_map(
            (member, int(list.after.unwrap_or(u64::MAX)), int(list.at.s()), list.limit + 1),
            |row| {
                let id = id(row, 1)?;
                let session = SessionView {
                    id,
                    unique_id: text_or_null(row, 2)?,
                    user_agent: text(row, 3)?,
                    address: text(row, 4)?,
                    place: text_or_null(row, 5)?,
                    created_at: UnixMs(number(row, 6)?),
                    last_seen_at: UnixMs(number(row, 7)?),
                    current: id == list.current,
                    push: push::of_session(row, 8)?,
                };
                Ok((number(row, 0)?, session))
            },
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = rows.len() > list.limit as usize;
    rows.truncate(list.limit as usize);
    let next = rows.last().filter(|_| more).map(|(key, _)| *key);
    Ok(SessionPage { sessions: rows.into_iter().map(|(_, session)| session).collect(), next })
}

/// Ends a session: deletes its row, and remembers its id while an access token of it may be valid.
fn revoke(batch: &mut Batch<'_>, session: &Session, at: UnixMs) -> rusqlite::Result<Event> {
    let conn = batch.conn;
    let unix_s = int(at.s());
    let (name, until) = (session.pair.session, session.access_until);
    digests::seen_until(conn, session.key, at)?;
    conn.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([session.key])?;
    conn.prepare_cached("DELETE FROM ended_sessions WHERE until <= ?1")?.execute([unix_s])?;
    conn.prepare_cached("INSERT INTO ended_sessions (until, session) VALUES (?1, ?2)")?
        .execute((int(until), name.to_bytes()))?;
    let seq = event_log::append_session_ended(batch, session.profile_key, name, at)?;
    let fact = Fact::SessionEnded(Box::new(EndedSession { session: name, until }));
    Ok(Event { seq, audience: Audience::one(session.pair.profile), fact })
}

fn find(conn: &Connection, session: SessionId) -> rusqlite::Result<Option<Session>> {
    conn.prepare_cached(
        "SELECT s.key, m.id, p.id, p.key, m.active, s.access_uuid, s.refresh_uuid, s.prior_refresh_uuid, \
         s.rotated_at, s.unique_id, s.issued, s.access_expire, s.refresh_expire, s.access_until \
         FROM sessions s JOIN members m ON m.key = s.member JOIN profiles p ON p.member = m.key \
         WHERE s.id = ?1",
    )?
    .query_row([session.to_bytes()], |row| {
        let unique_id = text_or_null(row, 9)?;
        Ok(Session {
            key: row.get(0)?,
            pair: TokenPair {
                session,
                member: id(row, 1)?,
                profile: id(row, 2)?,
                access_uuid: id(row, 5)?,
                refresh_uuid: id(row, 6)?,
                device: unique_id.map(|unique_id| sha256(unique_id.as_bytes())),
                issued: UnixS(number(row, 10)?),
                access_expire: UnixS(number(row, 11)?),
                refresh_expire: UnixS(number(row, 12)?),
            },
            profile_key: row.get(3)?,
            member_active: row.get(4)?,
            prior_refresh_uuid: row.get::<_, Option<[u8; 16]>>(7)?.map(Id::from_bytes),
            rotated_at: number_or_null(row, 8)?.map(UnixMs),
            access_until: UnixS(number(row, 13)?),
        })
    })
    .optional()
}
