//! Invites: made, listed, revoked and used.
//!
//! Invariant: an invite in the table was made by somebody who may still make it: it is deleted when its maker stops being an
//! admin, is disabled or is deleted. A use is counted in the transaction of what it permits, and never above `uses_max`.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number};
use super::{accounts, audit, conversations, groups, profiles};
use crate::base::time::UnixMs;
use crate::model::conversation::GetConversation;
use crate::model::event::{Event, Role};
use crate::model::id::{ConversationId, MemberId, ProfileId};
use crate::model::invite::{
    CreateInvite, FindInvite, FoundInvite, Invite, InviteHash, InvitePage, ListInvites, PresentedInvite,
    RevokeInvite, UseInvite,
};
use crate::model::operation::{Answer, Refusal};
use crate::model::system_message::SystemKind;

/// Invites of one member that can still be used; those of the operator count together. Above: `QuotaExceeded`.
pub const OPEN_INVITES_MAX: i64 = 100;

/// Who asks: the key of a member, or `None` for the operator.
type By = Option<i64>;

fn by(conn: &Connection, by: Option<MemberId>) -> Result<By, Stop> {
    let Some(member) = by else { return Ok(None) };
    Ok(Some(accounts::key(conn, member)?.ok_or(Refusal::Unauthorized)?))
}

/// The key of the group, if `by` may invite to it: an admin of the group, or of the server for the server.
fn permitted(conn: &Connection, by: By, group: Option<ConversationId>) -> Result<Option<i64>, Stop> {
    let (allowed, key) = match (by, group) {
        (None, None) => (true, None),
        (Some(member), None) => {
            (conn.prepare_cached("SELECT 1 FROM members WHERE key = ?1 AND admin")?.exists([member])?, None)
        }
        (by, Some(group)) => {
            let found: Option<(i64, bool)> = conn
                .prepare_cached(
                    "SELECT c.key, c.kind = 1 AND s.role = 1 FROM conversations c JOIN memberships s \
                     ON s.conversation = c.key JOIN profiles p ON p.key = s.profile WHERE c.id = ?1 AND p.member = ?2",
                )?
                .query_row((group.to_bytes(), by), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (key, is_admin) = found.ok_or(Refusal::NotFound)?;
            (is_admin, Some(key))
        }
    };
    if allowed { Ok(key) } else { Err(Refusal::NotAllowed.into()) }
}

/// An invite that can still be used.
struct Open {
    key: i64,
    /// The profile of its maker.
    maker: Option<i64>,
    conversation: Option<(i64, ConversationId)>,
    admits: bool,
}

fn open(conn: &Connection, hash: InviteHash, at: UnixMs) -> Result<Open, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT i.key, p.key, c.key, c.id, c.key IS NULL OR ifnull(m.admin, 0) FROM invites i \
             LEFT JOIN members m ON m.key = i.maker LEFT JOIN profiles p ON p.member = m.key \
             LEFT JOIN conversations c ON c.key = i.conversation \
             WHERE i.hash = ?1 AND i.uses < i.uses_max AND i.expires_at > ?2",
        )?
        .query_row((hash, int(at)), |row| {
            let conversation = match row.get::<_, Option<i64>>(2)? {
                Some(key) => Some((key, id(row, 3)?)),
                None => None,
            };
            Ok(Open { key: row.get(0)?, maker: row.get(1)?, conversation, admits: row.get(4)? })
        })
        .optional()?;
    Ok(found.ok_or(Refusal::Invalid("invite"))?)
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn find(conn: &Connection, find: FindInvite) -> Result<FoundInvite, Stop> {
    let open = open(conn, find.hash, find.at)?;
    let conversation = open.conversation.map(|(key, _)| groups::brief(conn, key)).transpose()?;
    Ok(FoundInvite { conversation, admits: open.admits })
}

pub fn list(conn: &Connection, list: &ListInvites) -> Result<InvitePage, Stop> {
    let group = permitted(conn, by(conn, list.by)?, list.conversation)?;
    let mut invites = conn
        .prepare_cached(
            "SELECT i.id, (SELECT p.id FROM profiles p WHERE p.member = i.maker), i.uses, i.uses_max, i.created_at, \
             i.expires_at, i.key FROM invites i WHERE i.conversation IS ?1 AND i.key > ?2 AND i.uses < i.uses_max \
             AND i.expires_at > ?3 ORDER BY i.key LIMIT ?4",
        )?
        .query_map((group, int(list.after.unwrap_or(0)), int(list.at), list.limit + 1), |row| {
            let invite = Invite {
                id: id(row, 0)?,
                conversation: list.conversation,
                maker: row.get::<_, Option<[u8; 16]>>(1)?.map(ProfileId::from_bytes),
                uses: number(row, 2)?,
                uses_max: number(row, 3)?,
                created_at: UnixMs(number(row, 4)?),
                expires_at: UnixMs(number(row, 5)?),
            };
            Ok((invite, number(row, 6)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // One row more than fits shows whether there is a next page.
    let more = invites.len() > list.limit as usize;
    invites.truncate(list.limit as usize);
    let next = invites.last().filter(|_| more).map(|(_, key)| *key);
    Ok(InvitePage { invites: invites.into_iter().map(|(invite, _)| invite).collect(), next })
}

// ---- for the writer ------------------------------------------------------------------------------

pub fn create(batch: &mut Batch<'_>, create: &CreateInvite) -> Result<Written, Stop> {
    let conn = batch.conn;
    let maker = by(conn, create.by)?;
    let group = permitted(conn, maker, create.conversation)?;
    // No list shows these any more. So a member has no more rows than open invites.
    conn.prepare_cached("DELETE FROM invites WHERE maker IS ?1 AND (expires_at <= ?2 OR uses >= uses_max)")?
        .execute((maker, int(create.at)))?;
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM invites WHERE maker IS ?1")?
        .query_row([maker], |row| row.get(0))?;
    if count >= OPEN_INVITES_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    let (uses_max, created, expires) = (int(create.uses_max), int(create.at), int(create.expires_at));
    conn.prepare_cached(
        "INSERT INTO invites (id, hash, maker, conversation, uses, uses_max, created_at, expires_at) \
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)",
    )?
    .execute((create.id.to_bytes(), create.hash, maker, group, uses_max, created, expires))?;
    let maker = conn
        .prepare_cached("SELECT id FROM profiles WHERE member = ?1")?
        .query_row([maker], |row| id(row, 0))
        .optional()?;
    if group.is_none() {
        let uses = create.uses_max.to_string();
        audit::record(conn, (create.at, create.by), "invite.create", Some(create.id), &uses)?;
    }
    let invite = Invite {
        id: create.id,
        conversation: create.conversation,
        maker,
        uses: 0,
        uses_max: create.uses_max,
        created_at: create.at,
        expires_at: create.expires_at,
    };
    Written::quietly(Answer::CreateInvite(Box::new(invite)))
}

pub fn revoke(batch: &mut Batch<'_>, revoke: &RevokeInvite) -> Result<Written, Stop> {
    let conn = batch.conn;
    let found: Option<(i64, Option<[u8; 16]>)> = conn
        .prepare_cached(
            "SELECT i.key, c.id FROM invites i LEFT JOIN conversations c ON c.key = i.conversation WHERE i.id = ?1",
        )?
        .query_row([revoke.invite.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (key, group) = found.ok_or(Refusal::NotFound)?;
    match permitted(conn, by(conn, revoke.by)?, group.map(ConversationId::from_bytes)) {
        // Who can't list it does not learn that it exists.
        Err(Stop::Refused(Refusal::NotAllowed)) => return Err(Refusal::NotFound.into()),
        permitted => permitted?,
    };
    conn.prepare_cached("DELETE FROM invites WHERE key = ?1")?.execute([key])?;
    if group.is_none() {
        audit::record(conn, (revoke.at, revoke.by), "invite.revoke", Some(revoke.invite), "")?;
    }
    Written::quietly(Answer::RevokeInvite(()))
}

pub fn redeem(batch: &mut Batch<'_>, used: UseInvite) -> Result<Written, Stop> {
    let profile = profiles::key(batch.conn, used.profile)?.ok_or(Refusal::Unauthorized)?;
    let (conversation, events) = take(batch, used.invite, (profile, used.profile), used.at, false)?;
    let answer = match conversation {
        None => None,
        Some(conversation) => Some(conversations::get_in(
            batch,
            GetConversation { at: used.at, viewer: used.profile, conversation },
        )?),
    };
    Ok(Written { result: Ok(Answer::UseInvite(Box::new(answer))), events: events.into() })
}

/// Refuses a sign-up that the invite does not permit, before the sign-up learns anything about other accounts.
pub fn check(conn: &Connection, invite: PresentedInvite, at: UnixMs) -> Result<(), Stop> {
    let open = open(conn, invite.hash, at)?;
    if invite.must_admit && !open.admits { Err(Refusal::NotAllowed.into()) } else { Ok(()) }
}

/// Uses an invite once: the profile joins its group. An invite to the server does nothing for a profile that is there already.
pub fn take(
    batch: &mut Batch<'_>,
    invite: PresentedInvite,
    (profile, profile_id): (i64, ProfileId),
    at: UnixMs,
    signs_up: bool,
) -> Result<(Option<ConversationId>, Vec<Event>), Stop> {
    let conn = batch.conn;
    let open = open(conn, invite.hash, at)?;
    let mut events = Vec::new();
    if let Some((key, conversation)) = open.conversation {
        let slot = conversations::load(batch, conversation)?.ok_or(Refusal::Internal)?;
        if batch.cache.get(slot).member(profile_id).is_some() {
            return Ok((Some(conversation), events));
        }
        let removed = conn
            .prepare_cached("SELECT 1 FROM departures WHERE profile = ?1 AND conversation = ?2 AND removed")?
            .exists([profile, key])?;
        let blocked = match open.maker {
            Some(maker) => profiles::blocked(conn, maker, profile)?,
            None => false,
        };
        // Neither is told apart from a code that does not exist.
        if removed || blocked {
            return Err(Refusal::Invalid("invite").into());
        }
        let by = (profile, SystemKind::Joined);
        events = groups::add(batch, slot, by, (profile, profile_id), Role::Member, at, invite.members_max)?;
    } else if !signs_up {
        return Ok((None, events));
    }
    conn.prepare_cached("UPDATE invites SET uses = uses + 1 WHERE key = ?1")?.execute([open.key])?;
    Ok((open.conversation.map(|(_, id)| id), events))
}

/// Ends the invites that a member made to the server.
pub fn end_of_server(conn: &Connection, maker: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM invites WHERE maker = ?1 AND conversation IS NULL")?.execute([maker])?;
    Ok(())
}

/// Ends all invites of a member.
pub fn end_all(conn: &Connection, maker: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM invites WHERE maker = ?1")?.execute([maker])?;
    Ok(())
}

/// Ends the invites that a profile made to a group of which it is no admin any more.
pub fn end_of_group(conn: &Connection, conversation: i64, profile: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM invites WHERE conversation = ?1 AND maker = (SELECT member FROM profiles WHERE key = ?2)",
    )?
    .execute([conversation, profile])?;
    Ok(())
}
