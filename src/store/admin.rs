//! What an admin of the server or the operator does to members, groups and messages.
//!
//! Owns the acts of [`Act`]. Those that existed before are in `accounts`, `invites`, `bots` and `hooks`.
//! Invariant: an act checks who asks first, so that its refusal says nothing of what is there; and it writes its row of the log.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::event_log::{self, Change};
use super::fault::Stop;
use super::value::{id, int, number, text};
use super::{
    accounts, attachments, audit, changes, groups, messages, outbox, profiles, reports, second_factor,
    sessions, system_messages,
};
use crate::base::time::UnixMs;
use crate::model::admin::{
    Act, Administer, EndSessions, FindResetLink, GroupMemberPage, GroupPage, ListGroupMembers, ListGroups,
    ListStorage, ListedGroup, ListedGroupMember, MakeResetLink, RemoveFactor, Rename, SetPassword, Usage,
    UseResetLink,
};
use crate::model::event::{Audience, Event, Events, Fact, Membership};
use crate::model::id::{ConversationId, MemberId, MessageId, ProfileId};
use crate::model::member::StoredSecret;
use crate::model::operation::{Answer, Refusal};
use crate::model::profile::UpdateProfile;
use crate::model::second_factor::{ChangeFactor, FactorChange};
use crate::model::session::{RevokeSessions, SessionSelector};

/// Who asks, and when.
type Asked = (UnixMs, Option<MemberId>);

pub fn perform(batch: &mut Batch<'_>, administer: Administer) -> Result<Written, Stop> {
    let Administer { at, by, act } = administer;
    audit::check(batch.conn, by)?;
    let asked = (at, by);
    let (member, events) = match act {
        Act::SetPassword(set) => (Some(set.member), set_password(batch, asked, &set)?),
        Act::VerifyAddress(member) => (Some(member), verify(batch, asked, member)?),
        Act::Rename(rename) => (Some(rename.member), self::rename(batch, asked, rename)?),
        Act::EndSessions(end) => (Some(end.member), end_sessions(batch, asked, end)?),
        Act::MakeResetLink(make) => (Some(make.member), make_reset_link(batch, asked, make)?),
        Act::DeleteGroup(group) => (None, delete_group(batch, asked, group)?),
        Act::RemoveMessage(message) => (None, remove_message(batch, asked, message)?),
        Act::RemoveFactor(remove) => (Some(remove.member), remove_factor(batch, asked, remove)?),
        Act::BackUp => {
            audit::record::<()>(batch.conn, asked, "backup", None, "")?;
            (None, Events::None)
        }
        Act::CloseReport(report) => (None, reports::close(batch.conn, asked, report)?),
    };
    let member = match member {
        Some(member) => accounts::account(batch.conn, member)?.map(|account| account.member),
        None => None,
    };
    Ok(Written { result: Ok(Answer::Administer(Box::new(member))), events })
}

/// The key of a person: a bot has no password.
fn person(batch: &Batch<'_>, by: Option<MemberId>, member: MemberId) -> Result<i64, Stop> {
    let key = audit::target(batch.conn, by, member)?;
    let is_bot = batch.conn.prepare_cached("SELECT 1 FROM members WHERE key = ?1 AND bot")?.exists([key])?;
    if is_bot { Err(Refusal::NotAllowed.into()) } else { Ok(key) }
}

fn set_password(batch: &mut Batch<'_>, asked: Asked, set: &SetPassword) -> Result<Events, Stop> {
    let conn = batch.conn;
    let key = person(batch, asked.1, set.member)?;
    conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((key, &set.hash))?;
    outbox::put(conn, Some(key), &set.mail, asked.0)?;
    audit::record(conn, asked, "member.password", Some(set.member), "")?;
    Ok(sessions::revoke_others(batch, key, None, asked.0)?.into())
}

fn verify(batch: &mut Batch<'_>, asked: Asked, member: MemberId) -> Result<Events, Stop> {
    let key = person(batch, asked.1, member)?;
    batch.conn.prepare_cached("UPDATE members SET verified = 1 WHERE key = ?1")?.execute([key])?;
    audit::record(batch.conn, asked, "member.verify", Some(member), "")?;
    Ok(Events::None)
}

fn rename(batch: &mut Batch<'_>, asked: Asked, rename: Rename) -> Result<Events, Stop> {
    let Rename { member, display_name, nick_name } = rename;
    let key = audit::target(batch.conn, asked.1, member)?;
    let profile: ProfileId = batch
        .conn
        .prepare_cached("SELECT id FROM profiles WHERE member = ?1")?
        .query_row([key], |row| id(row, 0))?;
    let detail = match (&display_name, &nick_name) {
        (Some(_), Some(_)) => "display_name,nick_name",
        (Some(_), None) => "display_name",
        _ => "nick_name",
    };
    let update = UpdateProfile { at: asked.0, profile, display_name, nick_name, ..UpdateProfile::default() };
    let written = profiles::update(batch, &update)?;
    written.result?;
    audit::record(batch.conn, asked, "member.rename", Some(member), detail)?;
    Ok(written.events)
}

fn end_sessions(batch: &mut Batch<'_>, asked: Asked, end: EndSessions) -> Result<Events, Stop> {
    let EndSessions { member, session } = end;
    let key = audit::target(batch.conn, asked.1, member)?;
    let events = match session {
        None => sessions::revoke_others(batch, key, None, asked.0)?.into(),
        Some(one) => {
            let revoke = RevokeSessions { at: asked.0, member, which: SessionSelector::One(one) };
            sessions::revoke_some(batch, revoke)?.events
        }
    };
    let detail = session.map_or_else(|| "all".to_owned(), |session| session.to_string());
    audit::record(batch.conn, asked, "member.revoke", Some(member), &detail)?;
    Ok(events)
}

fn make_reset_link(batch: &mut Batch<'_>, asked: Asked, make: MakeResetLink) -> Result<Events, Stop> {
    let conn = batch.conn;
    let key = person(batch, asked.1, make.member)?;
    if !conn.prepare_cached("SELECT 1 FROM members WHERE key = ?1 AND active")?.exists([key])? {
        return Err(Refusal::NotAllowed.into());
    }
    conn.prepare_cached(
        "INSERT OR REPLACE INTO reset_links (member, hash, expires_at, maker) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((key, make.hash, int(make.expires_at), asked.1.map(MemberId::to_bytes)))?;
    audit::record(conn, asked, "member.reset_link", Some(make.member), "")?;
    Ok(Events::None)
}

fn remove_factor(batch: &mut Batch<'_>, asked: Asked, remove: RemoveFactor) -> Result<Events, Stop> {
    let RemoveFactor { member, mail } = remove;
    audit::target(batch.conn, asked.1, member)?;
    let change = FactorChange::Remove;
    let change = ChangeFactor { at: asked.0, member, proven: None, used: None, change, mail };
    let written = second_factor::change(batch, &change)?;
    written.result?;
    audit::record(batch.conn, asked, "member.second_factor_off", Some(member), "")?;
    Ok(written.events)
}

/// Who has an open link. A link of a disabled member can't be used.
const RESETTABLE: &str = "SELECT m.key, m.hash, m.email, p.display_name FROM reset_links r \
     JOIN members m ON m.key = r.member JOIN profiles p ON p.member = m.key \
     WHERE r.hash = ?1 AND r.expires_at > ?2 AND m.active";

pub fn find_reset_link(conn: &Connection, find: FindResetLink) -> Result<Option<StoredSecret>, Stop> {
    let found = conn
        .prepare_cached(RESETTABLE)?
        .query_row((find.hash, int(find.at)), |row| {
            // The link stands for the password only: a sign-in still asks for the second factor.
            let (hash, email, display_name) = (row.get(1)?, row.get(2)?, text(row, 3)?);
            Ok(StoredSecret { hash, email, display_name, second_factor: None })
        })
        .optional()?;
    Ok(found)
}

/// No act of an admin: it is the member's own.
pub fn use_reset_link(batch: &mut Batch<'_>, used: &UseResetLink) -> Result<Written, Stop> {
    let conn = batch.conn;
    let key: i64 = conn
        .prepare_cached(RESETTABLE)?
        .query_row((used.link, int(used.at)), |row| row.get(0))
        .optional()?
        .ok_or(Refusal::CodeWrong)?;
    // A trigger ends the link with the password.
    conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((key, &used.hash))?;
    outbox::put(conn, Some(key), &used.mail, used.at)?;
    let events = sessions::revoke_others(batch, key, None, used.at)?;
    Ok(Written { result: Ok(Answer::UseResetLink(())), events: events.into() })
}

/// Each member is told of its own removal: the log shows each no more of a group than what happened before that.
fn delete_group(batch: &mut Batch<'_>, asked: Asked, group: ConversationId) -> Result<Events, Stop> {
    let conn = batch.conn;
    let (key, image) = conn
        .prepare_cached("SELECT key, image FROM conversations WHERE id = ?1 AND kind = 1 AND title <> ''")?
        .query_row([group.to_bytes()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?
        .ok_or(Refusal::NotFound)?;
    // The cache refers to rows, so it is written before one of them is deleted.
    batch.cache.write(conn)?;
    batch.cache.clear();
    let members = conn
        .prepare_cached(
            "SELECT p.key, p.id, m.role FROM memberships m JOIN profiles p ON p.key = m.profile \
             WHERE m.conversation = ?1 ORDER BY m.key",
        )?
        .query_map([key], |row| Ok((row.get::<_, i64>(0)?, id(row, 1)?, groups::role(row.get(2)?))))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    conn.prepare_cached("DELETE FROM memberships WHERE conversation = ?1")?.execute([key])?;
    conn.prepare_cached("DELETE FROM invites WHERE conversation = ?1")?.execute([key])?;
    conn.prepare_cached("DELETE FROM departures WHERE conversation = ?1")?.execute([key])?;
    let mut events = Vec::with_capacity(members.len());
    for (profile_key, profile, role) in members {
        let change = Change::MemberRemoved(profile, profile_key, role);
        let seq = event_log::append_change(batch, key, change, asked.0)?;
        let removed = Membership { conversation: group, profile, role };
        let (audience, fact) = (Audience::one(profile), Fact::MemberRemoved(Box::new(removed)));
        events.push(Event { seq, audience, fact });
    }
    let last_seq = events.last().map(|event| int(event.seq));
    conn.prepare_cached(
        "UPDATE conversations SET title = '', image = NULL, members_count = 0, last_seq = ifnull(?2, last_seq) \
         WHERE key = ?1",
    )?
    .execute((key, last_seq))?;
    attachments::picture_replaced(conn, image, None)?;
    conn.prepare_cached("INSERT INTO group_erasures (conversation, n) VALUES (?1, 0)")?.execute([key])?;
    audit::record(conn, asked, "group.delete", Some(group), "")?;
    Ok(events.into())
}

fn remove_message(batch: &mut Batch<'_>, asked: Asked, message: MessageId) -> Result<Events, Stop> {
    let conn = batch.conn;
    let conversation = messages::conversation_of(conn, message)?.ok_or(Refusal::NotFound)?;
    let (is_deleted, flags): (bool, i64) = conn
        .prepare_cached("SELECT deleted_at IS NOT NULL, ifnull(flags, 0) FROM messages WHERE seq = ?1")?
        .query_row([int(message.seq())], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if flags == system_messages::IS_SYSTEM {
        return Err(Refusal::NotAllowed.into());
    }
    audit::record(conn, asked, "message.delete", Some(message), &conversation.to_string())?;
    if is_deleted {
        return Ok(Events::None);
    }
    Ok(changes::tombstone(batch, message, asked.0)?.map_or(Events::None, Events::from))
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn list_groups(conn: &Connection, list: ListGroups) -> Result<GroupPage, Stop> {
    let mut groups = conn
        .prepare_cached(
            "SELECT id, title, members_count, last_n, key FROM conversations \
             WHERE kind = 1 AND title <> '' AND key > ?1 ORDER BY key LIMIT ?2",
        )?
        .query_map((int(list.after.unwrap_or(0)), list.limit + 1), |row| {
            let (members, last_n) = (number(row, 2)?, number(row, 3)?);
            Ok((ListedGroup { id: id(row, 0)?, title: text(row, 1)?, members, last_n }, number(row, 4)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = next(&mut groups, list.limit);
    Ok(GroupPage { groups: groups.into_iter().map(|(group, _)| group).collect(), next })
}

pub fn list_group_members(conn: &Connection, list: ListGroupMembers) -> Result<GroupMemberPage, Stop> {
    let key: i64 = conn
        .prepare_cached("SELECT key FROM conversations WHERE id = ?1 AND kind = 1 AND title <> ''")?
        .query_row([list.group.to_bytes()], |row| row.get(0))
        .optional()?
        .ok_or(Refusal::NotFound)?;
    let mut members = conn
        .prepare_cached(
            "SELECT p.id, ifnull(p.nick_name, ''), p.display_name, m.role, m.key FROM memberships m \
             JOIN profiles p ON p.key = m.profile WHERE m.conversation = ?1 AND m.key > ?2 ORDER BY m.key LIMIT ?3",
        )?
        .query_map((key, int(list.after.unwrap_or(0)), list.limit + 1), |row| {
            let member = ListedGroupMember {
                profile: id(row, 0)?,
                nick_name: text(row, 1)?,
                display_name: text(row, 2)?,
                admin: row.get(3)?,
            };
            Ok((member, number(row, 4)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = next(&mut members, list.limit);
    Ok(GroupMemberPage { members: members.into_iter().map(|(member, _)| member).collect(), next })
}

/// One row more than fits shows whether there is a next page, which begins after the last one that fits.
pub fn next<T>(rows: &mut Vec<(T, u64)>, limit: u32) -> Option<u64> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(|(_, key)| *key)
}

pub fn list_storage(conn: &Connection, list: ListStorage) -> Result<Vec<Usage>, Stop> {
    audit::check(conn, list.by)?;
    let usage = conn
        .prepare_cached(
            "SELECT m.id, ifnull(p.nick_name, ''), p.display_name, u.bytes, \
             (SELECT count(*) FROM files f WHERE f.owner = p.key) \
             FROM upload_usage u JOIN profiles p ON p.key = u.owner JOIN members m ON m.key = p.member \
             WHERE u.bytes > 0 ORDER BY u.bytes DESC, p.key LIMIT ?1",
        )?
        .query_map([list.limit], |row| {
            Ok(Usage {
                member: id(row, 0)?,
                nick_name: text(row, 1)?,
                display_name: text(row, 2)?,
                bytes: number(row, 3)?,
                files: number(row, 4)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(usage)
}
