//! Members with their profiles: made by sign-up, found by sign-in.
//! Invariant: a member, its profile and its first session are made together or not at all.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number};
use super::{codes, profiles, sessions};
use crate::base::id::Id;
use crate::model::member::{
    Account, Credential, FindAccount, FindCredential, FindSecret, Member, Secret, SignUp,
};
use crate::model::message::Time;
use crate::model::operation::{Answer, Refusal};
use crate::model::profile::search_key;
use crate::model::session::Opened;

pub fn find_credential(conn: &Connection, find: FindCredential) -> Result<Option<Credential>, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT m.id, p.id, m.active, m.hash, p.display_name, \
             EXISTS (SELECT 1 FROM devices d WHERE d.member = m.key AND d.device = ?2) \
             FROM members m JOIN profiles p ON p.member = m.key WHERE m.email = ?1",
        )?
        .query_row((find.email, find.device), |row| {
            Ok(Credential {
                member: id(row, 0)?,
                profile: id(row, 1)?,
                active: row.get(2)?,
                hash: row.get(3)?,
                display_name: row.get(4)?,
                device_known: row.get(5)?,
            })
        })
        .optional()?;
    Ok(found)
}

pub fn find_secret(conn: &Connection, find: FindSecret) -> Result<Secret, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT m.hash, m.email, p.display_name FROM members m JOIN profiles p ON p.member = m.key \
             WHERE m.id = ?1 AND m.active",
        )?
        .query_row([find.member.to_bytes()], |row| {
            Ok(Secret { hash: row.get(0)?, email: row.get(1)?, display_name: row.get(2)? })
        })
        .optional()?;
    Ok(found.ok_or(Refusal::Unauthorized)?)
}

/// The key of a member.
pub fn key(conn: &Connection, member: Id) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM members WHERE id = ?1")?
        .query_row([member.to_bytes()], |row| row.get(0))
        .optional()
}

pub fn find_account(conn: &Connection, find: FindAccount) -> Result<Account, Stop> {
    Ok(account(conn, find.member)?.ok_or(Refusal::NotFound)?)
}

/// A member and the profile it speaks as.
pub fn account(conn: &Connection, member: Id) -> rusqlite::Result<Option<Account>> {
    conn.prepare_cached(
        "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at, \
         m.email, m.verified, m.active, m.created_at \
         FROM members m JOIN profiles p ON p.member = m.key WHERE m.id = ?1",
    )?
    .query_row([member.to_bytes()], |row| {
        Ok(Account {
            profile: profiles::from_row(row)?,
            member: Member {
                id: id(row, 1)?,
                email: row.get(7)?,
                verified: row.get(8)?,
                active: row.get(9)?,
                created_at: Time(number(row, 10)?),
            },
        })
    })
    .optional()
}

pub fn sign_up(batch: &mut Batch<'_>, sign_up: SignUp) -> Result<Written, Stop> {
    let conn = batch.conn;
    if conn.prepare_cached("SELECT 1 FROM members WHERE email = ?1")?.exists([&sign_up.email])? {
        return Err(Refusal::EmailTaken.into());
    }
    let mut taken = conn.prepare_cached("SELECT 1 FROM profiles WHERE nick_name = ?1")?;
    let mut free = None;
    for nick_name in &sign_up.nick_names {
        if !taken.exists([nick_name])? {
            free = Some(nick_name);
            break;
        }
    }
    let nick_name = free.ok_or(Refusal::NicknameTaken)?;

    let member_key = conn
        .prepare_cached(
            "INSERT INTO members (id, email, hash, verified, active, created_at) VALUES (?1, ?2, ?3, 0, 1, ?4)",
        )?
        .insert((sign_up.member.to_bytes(), &sign_up.email, &sign_up.hash, int(sign_up.at)))?;
    conn.prepare_cached(
        "INSERT INTO profiles (id, member, display_name, name_key, nick_name, is_private, presence, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, 0, 1, ?6)",
    )?
    .execute((
        sign_up.profile.to_bytes(),
        member_key,
        &sign_up.display_name,
        search_key(&sign_up.display_name),
        nick_name,
        int(sign_up.at),
    ))?;
    sessions::insert(conn, member_key, &sign_up.session, sign_up.at)?;
    if let Some(code) = &sign_up.code {
        codes::first(conn, member_key, code, sign_up.at)?;
    }

    let account = account(conn, sign_up.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let pair = sessions::first_pair(&account, &sign_up.session, sign_up.at);
    Written::quietly(Answer::SignUp(Opened { account, pair }))
}
