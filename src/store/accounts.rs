//! Members with their profiles: created by sign-up or by an operator, found by sign-in, disabled and enabled.
//!
//! Invariant: a member, its profile and its first session are created together or not at all.

use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, text};
use super::{admin, audit, codes, invites, profiles, second_factor, sessions};
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use crate::model::id::MemberId;
use crate::model::member::{
    Account, AccountPage, AddMember, Credential, FindAccount, FindCredential, FindMember, FindSecret,
    ListAccounts, Listed, Member, MemberRef, NewAccount, SetActive, SetAdmin, SignUp, StoredSecret,
};
use crate::model::operation::{Answer, Refusal};
use crate::model::session::Opened;

pub fn find_credential(conn: &Connection, find: FindCredential) -> Result<Option<Credential>, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT m.id, p.id, m.active, m.hash, p.display_name, \
             EXISTS (SELECT 1 FROM devices d WHERE d.member = m.key AND d.device = ?2), m.key \
             FROM members m JOIN profiles p ON p.member = m.key WHERE m.email = ?1",
        )?
        .query_row((find.email, find.device), |row| {
            Ok(Credential {
                member: id(row, 0)?,
                profile: id(row, 1)?,
                active: row.get(2)?,
                hash: row.get(3)?,
                display_name: text(row, 4)?,
                device_known: row.get(5)?,
                second_factor: second_factor::of(conn, row.get(6)?)?,
            })
        })
        .optional()?;
    Ok(found)
}

pub fn find_secret(conn: &Connection, find: FindSecret) -> Result<StoredSecret, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT m.hash, m.email, p.display_name, m.key FROM members m JOIN profiles p ON p.member = m.key \
             WHERE m.id = ?1 AND m.active",
        )?
        .query_row([find.member.to_bytes()], |row| {
            Ok(StoredSecret {
                hash: row.get(0)?,
                email: Secret::new(text(row, 1)?),
                display_name: text(row, 2)?,
                second_factor: second_factor::of(conn, row.get(3)?)?,
            })
        })
        .optional()?;
    Ok(found.ok_or(Refusal::Unauthorized)?)
}

/// The key of a member.
pub fn key(conn: &Connection, member: MemberId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM members WHERE id = ?1")?
        .query_row([member.to_bytes()], |row| row.get(0))
        .optional()
}

pub fn find_account(conn: &Connection, find: FindAccount) -> Result<Account, Stop> {
    Ok(account(conn, find.member)?.ok_or(Refusal::NotFound)?)
}

/// A member and its profile.
pub fn account(conn: &Connection, member: MemberId) -> rusqlite::Result<Option<Account>> {
    conn.prepare_cached(
        "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at, \
         i.id, i.name, m.bot, m.email, m.verified, m.active, m.created_at, m.admin, \
         EXISTS (SELECT 1 FROM digests d WHERE d.member = m.key AND d.is_on), m.key \
         FROM members m JOIN profiles p ON p.member = m.key LEFT JOIN uploads i ON i.key = p.image \
         WHERE m.id = ?1",
    )?
    .query_row([member.to_bytes()], |row| {
        let profile = profiles::from_row(row)?;
        let bot = profile.bot;
        let recovery_codes = second_factor::recovery_codes(conn, row.get(16)?)?;
        Ok(Account {
            profile,
            member: Member {
                id: id(row, 1)?,
                email: email(row, 10, bot)?,
                verified: row.get(11)?,
                active: row.get(12)?,
                created_at: UnixMs(number(row, 13)?),
                admin: row.get(14)?,
                bot,
                digest: row.get(15)?,
                second_factor: recovery_codes.is_some(),
                recovery_codes,
            },
        })
    })
    .optional()
}

pub fn sign_up(batch: &mut Batch<'_>, sign_up: SignUp) -> Result<Written, Stop> {
    let SignUp { account: new, session, code, invite } = sign_up;
    let conn = batch.conn;
    if let Some(invite) = invite {
        invites::check(conn, invite, new.at)?;
    }
    let member_key = insert(conn, &new, false)?;
    sessions::insert(conn, member_key, &session, new.at)?;
    if let Some(code) = &code {
        codes::first(conn, member_key, code, new.at)?;
    }
    let account = account(conn, new.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let mut events = Vec::new();
    if let Some(invite) = invite {
        let profile = profiles::key(conn, new.profile)?.ok_or(Refusal::Internal)?;
        events.extend(invites::take(batch, invite, (profile, new.profile), new.at, true)?.1);
    }
    let pair = sessions::first_pair(&account, &session, new.at);
    Ok(Written { result: Ok(Answer::SignUp(Box::new(Opened { account, pair }))), events: events.into() })
}

/// Inserts the rows of a member and of its profile. Returns the member's key.
pub fn insert(conn: &Connection, new: &NewAccount, verified: bool) -> Result<i64, Stop> {
    if conn.prepare_cached("SELECT 1 FROM members WHERE email = ?1")?.exists([&new.email])? {
        return Err(Refusal::EmailTaken.into());
    }
    let mut taken = conn.prepare_cached("SELECT 1 FROM profiles WHERE nick_name = ?1")?;
    let mut free = None;
    for nick_name in &new.nick_names {
        if !taken.exists([nick_name])? {
            free = Some(nick_name);
            break;
        }
    }
    let nick_name = free.ok_or(Refusal::NicknameTaken)?;
    let member_key = conn
        .prepare_cached(
            "INSERT INTO members (id, email, hash, verified, active, created_at) VALUES (?1, ?2, ?3, ?4, 1, ?5)",
        )?
        .insert((new.member.to_bytes(), &new.email, &new.hash, verified, int(new.at)))?;
    conn.prepare_cached(
        "INSERT INTO profiles (id, member, display_name, name_key, nick_name, is_private, presence, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, 0, 1, ?6)",
    )?
    .execute((
        new.profile.to_bytes(),
        member_key,
        &new.display_name.text,
        &new.display_name.key,
        nick_name,
        int(new.at),
    ))?;
    Ok(member_key)
}

// ---- for the operator ----------------------------------------------------------------------------

pub fn add(batch: &mut Batch<'_>, add: &AddMember) -> Result<Written, Stop> {
    audit::check(batch.conn, add.by)?;
    insert(batch.conn, &add.account, true)?;
    audit::record(batch.conn, (add.account.at, add.by), "member.add", Some(add.account.member), "")?;
    let account = account(batch.conn, add.account.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Written::quietly(Answer::AddMember(Box::new(account.member)))
}

pub fn set_active(batch: &mut Batch<'_>, set: SetActive) -> Result<Written, Stop> {
    let key = audit::target(batch.conn, set.by, set.member)?;
    let act = if set.active { "member.enable" } else { "member.disable" };
    audit::record(batch.conn, (set.at, set.by), act, Some(set.member), "")?;
    batch.conn.prepare_cached("UPDATE members SET active = ?2 WHERE key = ?1")?.execute((key, set.active))?;
    let mut events = Vec::new();
    if !set.active {
        events = sessions::revoke_others(batch, key, None, set.at)?;
        invites::end_all(batch.conn, key)?;
    }
    let account = account(batch.conn, set.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Written { result: Ok(Answer::SetActive(Box::new(account.member))), events: events.into() })
}

pub fn set_admin(batch: &mut Batch<'_>, set: SetAdmin) -> Result<Written, Stop> {
    let key = key(batch.conn, set.member)?.ok_or(Refusal::NotFound)?;
    if set.admin
        && batch.conn.prepare_cached("SELECT 1 FROM members WHERE key = ?1 AND bot")?.exists([key])?
    {
        return Err(Refusal::NotAllowed.into());
    }
    let act = if set.admin { "member.promote" } else { "member.demote" };
    audit::record(batch.conn, (set.at, None), act, Some(set.member), "")?;
    batch.conn.prepare_cached("UPDATE members SET admin = ?2 WHERE key = ?1")?.execute((key, set.admin))?;
    if !set.admin {
        invites::end_of_server(batch.conn, key)?;
    }
    let account = account(batch.conn, set.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Written::quietly(Answer::SetAdmin(Box::new(account.member)))
}

/// What a bot has in its place is no address.
fn email(row: &Row<'_>, index: usize, bot: bool) -> rusqlite::Result<String> {
    if bot { Ok(String::new()) } else { text(row, index) }
}

fn member_from_row(row: &Row<'_>) -> rusqlite::Result<Member> {
    let bot = row.get(6)?;
    Ok(Member {
        id: id(row, 0)?,
        email: email(row, 1, bot)?,
        verified: row.get(2)?,
        active: row.get(3)?,
        created_at: UnixMs(number(row, 4)?),
        admin: row.get(5)?,
        bot,
        digest: false,
        second_factor: row.get(7)?,
        recovery_codes: None,
    })
}

pub fn list(conn: &Connection, list: &ListAccounts) -> Result<AccountPage, Stop> {
    audit::check(conn, list.by)?;
    let search = list.search.as_ref().map(|search| search.text.to_lowercase());
    let name = list.search.as_ref().map(|search| &search.key);
    // The whole table is read for a text that few have: an admin's search, not a member's.
    let mut members = conn
        .prepare_cached(
            "SELECT m.id, m.email, m.verified, m.active, m.created_at, m.admin, m.bot, \
             EXISTS (SELECT 1 FROM second_factors f WHERE f.member = m.key), m.key, p.id, \
             ifnull(p.nick_name, ''), p.display_name FROM members m JOIN profiles p ON p.member = m.key \
             WHERE m.key > ?1 AND (?3 IS NULL OR instr(m.email, ?3) AND NOT m.bot OR instr(lower(p.nick_name), ?3) \
             OR instr(p.name_key, ?4)) ORDER BY m.key LIMIT ?2",
        )?
        .query_map((int(list.after.unwrap_or(0)), list.limit + 1, search, name), |row| {
            let (member, profile) = (member_from_row(row)?, id(row, 9)?);
            let (nick_name, display_name) = (text(row, 10)?, text(row, 11)?);
            Ok((Listed { member, profile, nick_name, display_name }, number(row, 8)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = admin::next(&mut members, list.limit);
    Ok(AccountPage { members: members.into_iter().map(|(member, _)| member).collect(), next })
}

pub fn find_member(conn: &Connection, find: &FindMember) -> Result<Member, Stop> {
    audit::check(conn, find.by)?;
    macro_rules! select {
        ($condition:literal) => {
            conn.prepare_cached(concat!(
                "SELECT id, email, verified, active, created_at, admin, bot, \
                 EXISTS (SELECT 1 FROM second_factors WHERE member = key) FROM members WHERE ",
                $condition
            ))?
        };
    }
    let found = match &find.who {
        MemberRef::Id(id) => select!("id = ?1").query_row([id.to_bytes()], member_from_row),
        MemberRef::Email(email) => select!("email = ?1").query_row([email], member_from_row),
        MemberRef::NickName(name) => select!("key = (SELECT member FROM profiles WHERE nick_name = ?1)")
            .query_row([name], member_from_row),
    };
    Ok(found.optional()?.ok_or(Refusal::NotFound)?)
}
