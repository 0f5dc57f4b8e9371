//! Sessions: opened by sign-in, carried on by the exchange of refresh tokens, ended by logout or by theft.
//!
//! ```text
//! refresh token presented        what it was                       what happens
//! ───────────────────────────    ──────────────────────────────    ─────────────────────────────
//! the current one                                                  a new pair; this one becomes the prior one
//! the prior one, within 60 s     a repeat after a lost answer      the same pair again
//! any other of this session      stolen, or its thief's twin       the session ends
//! ```
//! Invariant: an ended session is remembered until its last access token is dead.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, number_or_null};
use super::{accounts, log};
use crate::base::crypto::sha256;
use crate::base::id::Id;
use crate::limits::REFRESH_REPEAT_MS;
use crate::model::event::{Audience, Event, Fact};
use crate::model::member::Account;
use crate::model::operation::{Answer, Refusal};
use crate::model::session::{EndSession, NewSession, OpenSession, Opened, Pair, RefreshSession, Refreshed};

/// A row of `sessions` with what an answer says of its member.
struct Session {
    key: i64,
    pair: Pair,
    profile_key: i64,
    member_active: bool,
    prior_refresh_uuid: Option<Id>,
    rotated_at: Option<u64>,
    access_until: u64,
}

pub fn insert(conn: &Connection, member: i64, session: &NewSession, at: u64) -> rusqlite::Result<()> {
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
        int(at / 1_000),
        int(session.access_expire),
        int(session.refresh_expire),
        int(at),
    ))?;
    conn.prepare_cached("INSERT OR IGNORE INTO devices (member, device) VALUES (?1, ?2)")?
        .execute((member, device_of(session)))?;
    Ok(())
}

/// By what a session's device is known again.
fn device_of(session: &NewSession) -> [u8; 32] {
    match &session.unique_id {
        Some(unique_id) => sha256(unique_id.as_bytes()),
        // A device id has no blank, so no user agent can pass for one.
        None => sha256(format!("user agent {}", session.user_agent).as_bytes()),
    }
}

/// The claims of a session's first tokens.
pub fn first_pair(account: &Account, session: &NewSession, at: u64) -> Pair {
    Pair {
        session: session.id,
        member: account.member.id,
        profile: account.profile.id,
        access_uuid: session.access_uuid,
        refresh_uuid: session.refresh_uuid,
        device: session.unique_id.as_deref().map(|unique_id| sha256(unique_id.as_bytes())),
        issued: at / 1_000,
        access_expire: session.access_expire,
        refresh_expire: session.refresh_expire,
    }
}

pub fn open(batch: &mut Batch<'_>, open: OpenSession) -> Result<Written, Stop> {
    let conn = batch.conn;
    let account = accounts::account(conn, open.member)?.ok_or(Refusal::Unauthorized)?;
    if !account.member.active {
        return Err(Refusal::Unauthorized.into());
    }
    let member: i64 = conn
        .prepare_cached("SELECT key FROM members WHERE id = ?1")?
        .query_row([open.member.to_bytes()], |row| row.get(0))?;
    if let Some(hash) = &open.rehash {
        conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((member, hash))?;
    }
    // Sessions nobody can carry on any more leave with the next sign-in of their member.
    conn.prepare_cached(
        "DELETE FROM sessions WHERE member = ?1 AND refresh_expire <= ?2 AND access_until <= ?2",
    )?
    .execute((member, int(open.at / 1_000)))?;
    insert(conn, member, &open.session, open.at)?;
    let pair = first_pair(&account, &open.session, open.at);
    Written::quietly(Answer::OpenSession(Opened { account, pair }))
}

pub fn refresh(batch: &mut Batch<'_>, refresh: RefreshSession) -> Result<Written, Stop> {
    let conn = batch.conn;
    let session = find(conn, refresh.session)?.ok_or(Refusal::Unauthorized)?;
    let foreign_device = session.pair.device.is_some() && session.pair.device != refresh.device;
    if foreign_device || !session.member_active || session.pair.refresh_expire <= refresh.at / 1_000 {
        return Err(Refusal::Unauthorized.into());
    }
    if refresh.refresh_uuid == session.pair.refresh_uuid {
        let pair = rotate(conn, &session, &refresh)?;
        return Written::quietly(Answer::RefreshSession(Refreshed { pair }));
    }
    let repeats = session.prior_refresh_uuid == Some(refresh.refresh_uuid)
        && session.rotated_at.is_some_and(|at| refresh.at.saturating_sub(at) <= REFRESH_REPEAT_MS);
    if repeats {
        return Written::quietly(Answer::RefreshSession(Refreshed { pair: session.pair }));
    }
    let event = revoke(batch, &session, refresh.at)?;
    Ok(Written { result: Err(Refusal::Unauthorized), events: vec![event] })
}

fn rotate(conn: &Connection, session: &Session, refresh: &RefreshSession) -> rusqlite::Result<Pair> {
    let pair = Pair {
        access_uuid: refresh.next_access_uuid,
        refresh_uuid: refresh.next_refresh_uuid,
        issued: refresh.at / 1_000,
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
    Ok(Written { result: Ok(Answer::EndSession(())), events })
}

/// Ends a session: its row goes, its name stays while an access token of it may live.
fn revoke(batch: &mut Batch<'_>, session: &Session, at: u64) -> rusqlite::Result<Event> {
    let conn = batch.conn;
    let unix_s = int(at / 1_000);
    let (name, until) = (session.pair.session, session.access_until);
    conn.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([session.key])?;
    conn.prepare_cached("DELETE FROM ended_sessions WHERE until <= ?1")?.execute([unix_s])?;
    conn.prepare_cached("INSERT INTO ended_sessions (until, session) VALUES (?1, ?2)")?
        .execute((int(until), name.to_bytes()))?;
    let seq = log::append_session_ended(batch, session.profile_key, name, at)?;
    let fact = Fact::SessionEnded { session: name, until };
    Ok(Event { seq, audience: Audience::one(session.pair.profile), fact })
}

fn find(conn: &Connection, session: Id) -> rusqlite::Result<Option<Session>> {
    conn.prepare_cached(
        "SELECT s.key, m.id, p.id, p.key, m.active, s.access_uuid, s.refresh_uuid, s.prior_refresh_uuid, \
         s.rotated_at, s.unique_id, s.issued, s.access_expire, s.refresh_expire, s.access_until \
         FROM sessions s JOIN members m ON m.key = s.member JOIN profiles p ON p.member = m.key \
         WHERE s.id = ?1",
    )?
    .query_row([session.to_bytes()], |row| {
        let unique_id: Option<String> = row.get(9)?;
        Ok(Session {
            key: row.get(0)?,
            pair: Pair {
                session,
                member: id(row, 1)?,
                profile: id(row, 2)?,
                access_uuid: id(row, 5)?,
                refresh_uuid: id(row, 6)?,
                device: unique_id.map(|unique_id| sha256(unique_id.as_bytes())),
                issued: number(row, 10)?,
                access_expire: number(row, 11)?,
                refresh_expire: number(row, 12)?,
            },
            profile_key: row.get(3)?,
            member_active: row.get(4)?,
            prior_refresh_uuid: row.get::<_, Option<[u8; 16]>>(7)?.map(Id::from_bytes),
            rotated_at: number_or_null(row, 8)?,
            access_until: number(row, 13)?,
        })
    })
    .optional()
}
