//! Groups: created, named, joined and left.
//!
//! Invariant: a group with members has an admin, and the audience of an event is the members at its seq (a removed member
//! also receives its own removal).

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::cache::Slot;
use super::conversations;
use super::event_log::{self, Change};
use super::fault::Stop;
use super::page::{Budget, profile_bytes};
use super::system_messages::{self, Told};
use super::value::{id, int, number, number_or_null, text_or_null};
use super::{attachments, by_sender, invites, preferences, profiles, uploads};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::conversation::{
    ConversationType, CreateConversation, CreatedConversation, GetConversation, GroupMember, History,
    ListMembers, MemberPage, PutMember, RemoveMember, UpdateConversation,
};
use crate::model::event::{Audience, ConversationBrief, Event, Fact, Membership, Role};
use crate::model::id::{ClientId, ConversationId, ProfileId, UploadId};
use crate::model::operation::{Answer, Refusal};
use crate::model::preferences::ChangePreferences;
use crate::model::system_message::SystemKind;

const ADMIN: i64 = 1;

pub fn role(column: i64) -> Role {
    if column == ADMIN { Role::Admin } else { Role::Member }
}

fn column(role: Role) -> i64 {
    i64::from(role == Role::Admin)
}

/// What newcomers of a group see, from its column.
pub fn history(kind: ConversationType, column: i64) -> Option<History> {
    let history = if column == 0 { History::All } else { History::Joined };
    (kind == ConversationType::Group).then_some(history)
}

pub fn is_admin(conn: &Connection, conversation: i64, profile: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM memberships WHERE conversation = ?1 AND profile = ?2 AND role = 1")?
        .exists([conversation, profile])
}

/// The description of a conversation in events, as it is now.
pub fn brief(conn: &Connection, key: i64) -> rusqlite::Result<ConversationBrief> {
    conn.prepare_cached(
        "SELECT c.id, c.kind, c.title, c.members_count, c.image, c.history, c.messages_kept, c.erased_n \
         FROM conversations c WHERE c.key = ?1",
    )?
    .query_row([key], |row| {
        let kind = conversations::kind(row.get(1)?);
        Ok(ConversationBrief {
            id: id(row, 0)?,
            kind,
            title: text_or_null(row, 2)?,
            image: uploads::image(conn, row.get(4)?)?,
            members_count: number(row, 3)?,
            history: history(kind, row.get(5)?),
            messages_kept: number_or_null(row, 6)?,
            erased_n: Some(number(row, 7)?).filter(|n| *n > 0),
            own: false,
        })
    })
}

pub fn create(batch: &mut Batch<'_>, create: CreateConversation) -> Result<Written, Stop> {
    let conn = batch.conn;
    let creator = profiles::key(conn, create.creator)?.ok_or(Refusal::Unauthorized)?;
    if let Some(client_id) = create.client_id
        && let Some(made) = made_before(conn, creator, client_id)?
    {
        // A creator that has left the group may not read it any more.
        let get = GetConversation { at: create.at, viewer: create.creator, conversation: made };
        let conversation = conversations::get_in(batch, get)?;
        return Written::quietly(Answer::CreateConversation(Box::new(CreatedConversation {
            conversation,
            duplicate: true,
        })));
    }
    let mut members = vec![(creator, create.creator)];
    for profile in create.members {
        let key = profiles::key(conn, profile)?.ok_or(Refusal::NotFound)?;
        if profiles::blocked(conn, creator, key)? {
            return Err(Refusal::NotFound.into());
        }
        if !members.contains(&(key, profile)) {
            members.push((key, profile));
        }
    }
    if members.len() > create.members_max {
        return Err(Refusal::Invalid("members").into());
    }
    let key = conn
        .prepare_cached(
            "INSERT INTO conversations (id, kind, title, members_count, last_n, last_seq, activity, creator, client_id) \
             VALUES (?1, 1, ?2, ?3, 0, 0, 0, ?4, ?5)",
        )?
        .insert((
            create.id.to_bytes(),
            create.title,
            int(members.len() as u64),
            creator,
            create.client_id.map(Id::to_bytes),
        ))?;
    let seq = event_log::append_change(batch, key, Change::ConversationCreated, create.at)?;
    // Founding members receive the creation event, so their log begins before it.
    for (member, _) in &members {
        join(conn, (key, *member), i64::from(*member == creator), create.at, seq - 1, (0, 0))?;
    }
    conn.prepare_cached("UPDATE conversations SET last_seq = ?2, activity = ?2 WHERE key = ?1")?
        .execute((key, int(seq)))?;
    let audience: Vec<ProfileId> = members.iter().map(|(_, profile)| *profile).collect();
    let event = Event {
        seq,
        audience: Audience { profiles: audience.into(), direct: false },
        fact: Fact::ConversationCreated(Box::new(brief(conn, key)?)),
    };
    let slot = conversations::load(batch, create.id)?.ok_or(Refusal::Internal)?;
    let others: Vec<i64> = members.iter().skip(1).map(|(key, _)| *key).collect();
    let told = Told { at: create.at, by: creator, kind: SystemKind::Created, profiles: &others, title: None };
    let created = system_messages::tell(batch, slot, &told)?;
    // The answer is read from rows that the cache has not written yet.
    batch.cache.write(conn)?;
    let get = GetConversation { at: create.at, viewer: create.creator, conversation: create.id };
    let conversation = conversations::get_in(batch, get)?;
    Ok(Written {
        result: Ok(Answer::CreateConversation(Box::new(CreatedConversation {
            conversation,
            duplicate: false,
        }))),
        events: vec![event, created].into(),
    })
}

fn made_before(
    conn: &Connection,
    creator: i64,
    client_id: ClientId,
) -> rusqlite::Result<Option<ConversationId>> {
    conn.prepare_cached("SELECT id FROM conversations WHERE creator = ?1 AND client_id = ?2")?
        .query_row((creator, client_id.to_bytes()), |row| id(row, 0))
        .optional()
}

fn join(
    conn: &Connection,
    (conversation, profile): (i64, i64),
    role: i64,
    at: UnixMs,
    joined_seq: u64,
    (read_n, first_n): (u64, u64),
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq, role, joined_at, first_n) \
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)",
    )?
    .execute((profile, conversation, int(joined_seq), int(read_n), role, int(at), int(first_n)))?;
    Ok(())
}

/// A group and the member that is about to change it.
struct Acting {
    slot: Slot,
    key: i64,
    actor_key: i64,
    is_admin: bool,
}

/// `NotFound` unless the actor is a member. `NotAllowed` in a direct conversation.
fn acting(batch: &mut Batch<'_>, actor: ProfileId, conversation: ConversationId) -> Result<Acting, Stop> {
    let slot = conversations::load(batch, conversation)?.ok_or(Refusal::NotFound)?;
    let cached = batch.cache.get(slot);
    let member = cached.member(actor).ok_or(Refusal::NotFound)?;
    if cached.kind == ConversationType::Direct {
        return Err(Refusal::NotAllowed.into());
    }
    let (key, actor_key) = (cached.key, cached.members[member].profile_key);
    let is_admin = is_admin(batch.conn, key, actor_key)?;
    Ok(Acting { slot, key, actor_key, is_admin })
}

pub fn update(batch: &mut Batch<'_>, update: UpdateConversation) -> Result<Written, Stop> {
    let slot = conversations::load(batch, update.conversation)?.ok_or(Refusal::NotFound)?;
    let cached = batch.cache.get(slot);
    let member = cached.member(update.actor).ok_or(Refusal::NotFound)?;
    let (key, profile_key) = (cached.key, cached.members[member].profile_key);
    let is_of_group = update.title.is_some()
        || update.image.is_some()
        || update.history.is_some()
        || update.messages_kept.is_some();
    let mut is_renamed = false;
    if is_of_group {
        if cached.kind == ConversationType::Direct || !is_admin(batch.conn, key, profile_key)? {
            return Err(Refusal::NotAllowed.into());
        }
        is_renamed = write(batch.conn, key, profile_key, &update)?;
    }
    let mut events = Vec::new();
    // Before the changes of the cache: it is refused above a bound.
    if update.own != ChangePreferences::default() {
        events.push(preferences::change(batch, (slot, member), update.at, &update.own)?);
    }
    if is_of_group {
        let seq = event_log::append_change(batch, key, Change::ConversationUpdated, update.at)?;
        batch.cache.change(slot).last_seq = seq;
        let fact = Fact::ConversationUpdated(Box::new(brief(batch.conn, key)?));
        events.push(Event { seq, audience: batch.cache.get(slot).everyone(), fact });
    }
    if is_renamed {
        let (at, title) = (update.at, update.title.as_deref());
        let told = Told { at, by: profile_key, kind: SystemKind::Renamed, profiles: &[], title };
        events.push(system_messages::tell(batch, slot, &told)?);
    }
    let get = GetConversation { at: update.at, viewer: update.actor, conversation: update.conversation };
    let conversation = conversations::get_in(batch, get)?;
    Ok(Written { result: Ok(Answer::UpdateConversation(Box::new(conversation))), events: events.into() })
}

/// Writes what an admin changes of a group. Returns whether it has another title now.
fn write(conn: &Connection, group: i64, admin: i64, update: &UpdateConversation) -> Result<bool, Stop> {
    let mut renamed = 0;
    if let Some(title) = &update.title {
        renamed = conn
            .prepare_cached("UPDATE conversations SET title = ?2 WHERE key = ?1 AND title IS NOT ?2")?
            .execute((group, title))?;
    }
    if let Some(history) = update.history {
        conn.prepare_cached("UPDATE conversations SET history = ?2 WHERE key = ?1")?
            .execute((group, history == History::Joined))?;
    }
    if let Some(days) = update.messages_kept {
        conn.prepare_cached("UPDATE conversations SET messages_kept = ?2 WHERE key = ?1")?
            .execute((group, days))?;
    }
    if let Some(image) = update.image {
        set_image(conn, group, admin, image)?;
    }
    Ok(renamed > 0)
}

/// Sets the image of a group, one of this member's uploads, or none.
fn set_image(conn: &Connection, group: i64, owner: i64, image: Option<UploadId>) -> Result<(), Stop> {
    let now = image.map(|image| attachments::picture(conn, owner, image, "image")).transpose()?;
    let before = conn
        .prepare_cached("SELECT image FROM conversations WHERE key = ?1")?
        .query_row([group], |row| row.get(0))?;
    conn.prepare_cached("UPDATE conversations SET image = ?2 WHERE key = ?1")?.execute((group, now))?;
    Ok(attachments::picture_replaced(conn, before, now)?)
}

pub fn put_member(batch: &mut Batch<'_>, put: PutMember) -> Result<Written, Stop> {
    let acting = acting(batch, put.actor, put.conversation)?;
    if !acting.is_admin {
        return Err(Refusal::NotAllowed.into());
    }
    let profile = profiles::key(batch.conn, put.profile)?.ok_or(Refusal::NotFound)?;
    let current_role = batch
        .conn
        .prepare_cached("SELECT role FROM memberships WHERE conversation = ?1 AND profile = ?2")?
        .query_row([acting.key, profile], |row| row.get::<_, i64>(0))
        .optional()?;
    let events = match current_role {
        Some(now) if now == column(put.role) => {
            return Written::quietly(Answer::PutMember(Box::new(member(batch.conn, acting.key, profile)?)));
        }
        Some(_) => {
            if put.role == Role::Member && admins(batch.conn, acting.key)? == 1 {
                return Err(Refusal::NotAllowed.into());
            }
            batch
                .conn
                .prepare_cached("UPDATE memberships SET role = ?3 WHERE conversation = ?1 AND profile = ?2")?
                .execute((acting.key, profile, column(put.role)))?;
            if put.role == Role::Member {
                invites::end_of_group(batch.conn, acting.key, profile)?;
            }
            let kind = if put.role == Role::Admin { SystemKind::Promoted } else { SystemKind::Demoted };
            announce(batch, acting.slot, (acting.actor_key, kind), (profile, put.profile), put.role, put.at)?
        }
        None => {
            if profiles::blocked(batch.conn, acting.actor_key, profile)? {
                return Err(Refusal::NotFound.into());
            }
            let by = (acting.actor_key, SystemKind::Added);
            add(batch, acting.slot, by, (profile, put.profile), put.role, put.at, put.members_max)?
        }
    };
    let member = member(batch.conn, acting.key, profile)?;
    Ok(Written { result: Ok(Answer::PutMember(Box::new(member))), events: events.into() })
}

/// Adds a profile that is no member yet. The caller has checked that it may join.
pub fn add(
    batch: &mut Batch<'_>,
    slot: Slot,
    by: (i64, SystemKind),
    (profile, profile_id): (i64, ProfileId),
    role: Role,
    at: UnixMs,
    members_max: usize,
) -> Result<Vec<Event>, Stop> {
    let cached = batch.cache.get(slot);
    if cached.members.len() >= members_max {
        return Err(Refusal::Invalid("members").into());
    }
    // A new member's log begins with their own joining. Earlier messages can be read, but do not count as missed.
    let (key, last_n, joined_seq) = (cached.key, cached.last_n, batch.log.head);
    let first_n = if sees_all(batch.conn, key)? { 0 } else { last_n + 1 };
    join(batch.conn, (key, profile), column(role), at, joined_seq, (last_n, first_n))?;
    count_members(batch.conn, key)?;
    announce(batch, slot, by, (profile, profile_id), role, at)
}

/// The event of a profile that joined, or has another role, and its system message: who made the change, and which it is.
fn announce(
    batch: &mut Batch<'_>,
    slot: Slot,
    (by, kind): (i64, SystemKind),
    (profile_key, profile): (i64, ProfileId),
    role: Role,
    at: UnixMs,
) -> Result<Vec<Event>, Stop> {
    let cached = batch.cache.get(slot);
    let (key, conversation) = (cached.key, cached.id);
    let seq = event_log::append_change(batch, key, Change::MemberAdded(profile, role), at)?;
    batch.cache.change(slot).last_seq = seq;
    let slot = forget(batch, conversation)?;
    let fact = Fact::MemberAdded(Box::new(Membership { conversation, profile, role }));
    let event = Event { seq, audience: batch.cache.get(slot).everyone(), fact };
    let profiles = if kind == SystemKind::Joined { &[][..] } else { &[profile_key][..] };
    let told = Told { at, by, kind, profiles, title: None };
    Ok(vec![event, system_messages::tell(batch, slot, &told)?])
}

pub fn remove_member(batch: &mut Batch<'_>, remove: RemoveMember) -> Result<Written, Stop> {
    let acting = acting(batch, remove.actor, remove.conversation)?;
    let cached = batch.cache.get(acting.slot);
    let leaves = remove.actor == remove.profile;
    if !leaves && !acting.is_admin {
        return Err(Refusal::NotAllowed.into());
    }
    let index = cached.member(remove.profile).ok_or(Refusal::NotFound)?;
    let (membership, profile) = (cached.members[index].key, cached.members[index].profile_key);
    let had = batch
        .conn
        .prepare_cached("SELECT role FROM memberships WHERE key = ?1")?
        .query_row([membership], |row| row.get::<_, i64>(0))?;
    let mut events = Vec::new();
    // The cache refers to rows, so it is written before one of them is deleted.
    batch.cache.write(batch.conn)?;
    batch.conn.prepare_cached("DELETE FROM memberships WHERE key = ?1")?.execute([membership])?;
    by_sender::record_departure(batch.conn, profile, acting.key, !leaves)?;
    invites::end_of_group(batch.conn, acting.key, profile)?;
    count_members(batch.conn, acting.key)?;
    let change = Change::MemberRemoved(remove.profile, profile, role(had));
    let seq = event_log::append_change(batch, acting.key, change, remove.at)?;
    batch.cache.change(acting.slot).last_seq = seq;
    let slot = forget(batch, remove.conversation)?;
    let mut audience = batch.cache.get(slot).audience.to_vec();
    audience.push(remove.profile);
    let removed = Membership { conversation: remove.conversation, profile: remove.profile, role: role(had) };
    events.push(Event {
        seq,
        audience: Audience { profiles: audience.into(), direct: false },
        fact: Fact::MemberRemoved(Box::new(removed)),
    });
    let (kind, profiles) =
        if leaves { (SystemKind::Left, &[][..]) } else { (SystemKind::Removed, &[profile][..]) };
    let told = Told { at: remove.at, by: acting.actor_key, kind, profiles, title: None };
    events.push(system_messages::tell(batch, slot, &told)?);
    if had == ADMIN && admins(batch.conn, acting.key)? == 0 {
        events.extend(promote_eldest(batch, slot, remove.at)?);
    }
    Ok(Written { result: Ok(Answer::RemoveMember(())), events: events.into() })
}

/// Whether newcomers of a group see what was said before.
fn sees_all(conn: &Connection, conversation: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM conversations WHERE key = ?1 AND history = 0")?.exists([conversation])
}

/// Makes the eldest member an admin: a group with members always has one.
fn promote_eldest(batch: &mut Batch<'_>, slot: Slot, at: UnixMs) -> Result<Vec<Event>, Stop> {
    let (key, conversation) = (batch.cache.get(slot).key, batch.cache.get(slot).id);
    let eldest = batch
        .conn
        .prepare_cached(
            "SELECT m.key, p.id, p.key FROM memberships m JOIN profiles p ON p.key = m.profile \
             WHERE m.conversation = ?1 AND p.member IS NOT NULL ORDER BY m.key LIMIT 1",
        )?
        .query_row([key], |row| Ok((row.get::<_, i64>(0)?, id(row, 1)?, row.get::<_, i64>(2)?)))
        .optional()?;
    let Some((membership, profile, by)) = eldest else { return Ok(Vec::new()) };
    batch.conn.prepare_cached("UPDATE memberships SET role = 1 WHERE key = ?1")?.execute([membership])?;
    let seq = event_log::append_change(batch, key, Change::MemberAdded(profile, Role::Admin), at)?;
    batch.cache.change(slot).last_seq = seq;
    let audience = batch.cache.get(slot).everyone();
    let fact = Fact::MemberAdded(Box::new(Membership { conversation, profile, role: Role::Admin }));
    // The one who left made no decision: the message is by the new admin.
    let told = Told { at, by, kind: SystemKind::Promoted, profiles: &[by], title: None };
    Ok(vec![Event { seq, audience, fact }, system_messages::tell(batch, slot, &told)?])
}

fn admins(conn: &Connection, conversation: i64) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM memberships WHERE conversation = ?1 AND role = 1")?
        .query_row([conversation], |row| number(row, 0))
}

fn count_members(conn: &Connection, conversation: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE conversations SET members_count = (SELECT count(*) FROM memberships WHERE conversation = ?1) \
         WHERE key = ?1",
    )?
    .execute([conversation])?;
    Ok(())
}

/// Drops the cache, because the members of a conversation changed, and loads this conversation again.
fn forget(batch: &mut Batch<'_>, conversation: ConversationId) -> Result<Slot, Stop> {
    batch.cache.write(batch.conn)?;
    batch.cache.clear();
    Ok(conversations::load(batch, conversation)?.ok_or(Refusal::Internal)?)
}

fn member(conn: &Connection, conversation: i64, profile: i64) -> Result<GroupMember, Stop> {
    let (had, joined_at) = conn
        .prepare_cached("SELECT role, joined_at FROM memberships WHERE conversation = ?1 AND profile = ?2")?
        .query_row([conversation, profile], |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?)))?;
    let profile = profiles::for_others(conn, profile)?.ok_or(Refusal::NotFound)?;
    Ok(GroupMember { profile, role: role(had), joined_at: UnixMs(joined_at), read_n: None })
}

pub fn list_members(conn: &Connection, list: ListMembers) -> Result<MemberPage, Stop> {
    let readable = conversations::readable(conn, list.viewer, list.conversation)?;
    let conversation = readable.ok_or(Refusal::NotFound)?;
    let viewer = profiles::key(conn, list.viewer)?.ok_or(Refusal::Unauthorized)?;
    let mut statement = conn.prepare_cached(
        "SELECT key, profile, role, joined_at, read_n FROM memberships WHERE conversation = ?1 AND key > ?2 ORDER BY key",
    )?;
    let mut rows = statement.query((conversation.key, int(list.after.unwrap_or(0))))?;
    let (mut budget, mut page, mut last) =
        (Budget::new(list.limit), MemberPage { members: Vec::new(), next: None }, 0);
    while let Some(row) = rows.next()? {
        // A deleted account can't be shown as a member.
        let key = row.get(1)?;
        let Some(profile) = profiles::for_others(conn, key)? else { continue };
        if !budget.take(profile_bytes(&profile)) {
            page.next = Some(last);
            break;
        }
        last = number(row, 0)?;
        page.members.push(GroupMember {
            profile,
            role: role(row.get(2)?),
            joined_at: UnixMs(number(row, 3)?),
            read_n: profiles::receipts(conn, viewer, key)?.then_some(number(row, 4)?),
        });
    }
    Ok(page)
}
