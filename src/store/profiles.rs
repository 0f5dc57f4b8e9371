//! Profiles: their keys, who may see them, how they are shown and changed.
//!
//! Invariant: a profile whose member is deleted is never found or shown. A private profile is shown only to itself, to
//! members of a shared conversation, and to a client that scanned its QR code.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::page::{Budget, profile_bytes};
use super::value::{id, number, text};
use super::{attachments, conversations, event_log, uploads};
use crate::base::time::UnixMs;
use crate::model::event::{Audience, Event, Fact};
use crate::model::id::ProfileId;
use crate::model::operation::{Answer, Refusal};
use crate::model::profile::{
    FindProfile, FoundProfiles, ListProfiles, Profile, SearchCursor, SearchProfiles, Source, UpdateProfile,
    search_key,
};
use crate::model::upload::Image;

/// A profile as its owner sees it, from the first ten columns of a row: `p.id, m.id, p.display_name, p.nick_name,
/// p.is_private, p.presence, p.created_at, i.id, i.name, m.bot`, where `uploads i` is its image.
pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Profile> {
    Ok(Profile {
        id: id(row, 0)?,
        member: Some(id(row, 1)?),
        display_name: text(row, 2)?,
        nick_name: text(row, 3)?,
        profile_image: match row.get_ref(7)? {
            ValueRef::Null => None,
            _ => Some(Image { upload: id(row, 7)?, name: text(row, 8)?, url: String::new() }),
        },
        is_private: row.get(4)?,
        presence: Some(row.get(5)?),
        created_at: UnixMs(number(row, 6)?),
        bot: row.get(9)?,
    })
}

/// The key of a profile whose member exists.
pub fn key(conn: &Connection, profile: ProfileId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM profiles WHERE id = ?1 AND member IS NOT NULL")?
        .query_row([profile.to_bytes()], |row| row.get(0))
        .optional()
}

/// The key of a profile, with or without a member.
pub fn remembered_key(conn: &Connection, profile: ProfileId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM profiles WHERE id = ?1")?
        .query_row([profile.to_bytes()], |row| row.get(0))
        .optional()
}

/// The columns [`from_row`] reads, the key, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at, \
             i.id, i.name, m.bot, p.key FROM profiles p JOIN members m ON m.key = p.member \
             LEFT JOIN uploads i ON i.key = p.image ",
            $rest
        )
    };
}

/// The profile of a key as other profiles see it; `None` once deleted.
pub fn for_others(conn: &Connection, key: i64) -> rusqlite::Result<Option<Profile>> {
    let profile = conn.prepare_cached(select!("WHERE p.key = ?1"))?.query_row([key], from_row).optional()?;
    Ok(profile.map(Profile::for_others))
}

/// A profile and its key, before the check of who may see it.
pub fn with_key(row: &Row<'_>) -> rusqlite::Result<(Profile, i64)> {
    Ok((from_row(row)?, row.get(10)?))
}

/// A profile as `viewer` may see it: its own with all fields, a private one only in a shared conversation.
pub fn as_seen_by(
    conn: &Connection,
    viewer: (i64, ProfileId),
    (profile, key): (Profile, i64),
) -> rusqlite::Result<Option<Profile>> {
    if key == viewer.0 {
        return Ok(Some(profile));
    }
    let visible = !profile.is_private || share_conversation(conn, viewer.0, key)?;
    Ok(visible.then(|| profile.for_others()))
}

/// Whether two profiles are members of one conversation, direct or group.
pub fn share_conversation(conn: &Connection, a: i64, b: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM memberships a JOIN memberships b ON b.conversation = a.conversation AND b.profile = ?2 \
         WHERE a.profile = ?1 LIMIT 1",
    )?
    .exists([a, b])
}

/// The ids of the keys in one answer, each looked up once.
#[derive(Default)]
pub struct Names(BTreeMap<i64, Option<ProfileId>>);

impl Names {
    /// `None` once deleted.
    pub fn of(&mut self, conn: &Connection, key: i64) -> rusqlite::Result<Option<ProfileId>> {
        if let Some(known) = self.0.get(&key) {
            return Ok(*known);
        }
        let name = conn
            .prepare_cached("SELECT id FROM profiles WHERE key = ?1 AND member IS NOT NULL")?
            .query_row([key], |row| id(row, 0))
            .optional()?;
        self.0.insert(key, name);
        Ok(name)
    }
}

/// Whether one of the two blocked the other.
pub fn blocked(conn: &Connection, a: i64, b: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM blocks WHERE (blocker = ?1 AND blocked = ?2) OR (blocker = ?2 AND blocked = ?1)",
    )?
    .exists([a, b])
}

/// Whether these two see each other's read marks: neither is hidden, neither blocked the other.
pub fn receipts(conn: &Connection, a: i64, b: i64) -> rusqlite::Result<bool> {
    let hidden = conn
        .prepare_cached("SELECT 1 FROM profiles WHERE key IN (?1, ?2) AND (is_private OR NOT presence)")?
        .exists([a, b])?;
    Ok(!hidden && !blocked(conn, a, b)?)
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn find(conn: &Connection, find: &FindProfile) -> Result<Profile, Stop> {
    let viewer = key(conn, find.viewer)?.ok_or(Refusal::Unauthorized)?;
    let found = conn
        .prepare_cached(select!("WHERE p.nick_name = ?1"))?
        .query_row([&find.nick_name], with_key)
        .optional()?
        .ok_or(Refusal::NotFound)?;
    if find.source == Source::QrCode && found.1 != viewer {
        return Ok(found.0.for_others());
    }
    Ok(as_seen_by(conn, (viewer, find.viewer), found)?.ok_or(Refusal::NotFound)?)
}

pub fn list(conn: &Connection, list: &ListProfiles) -> Result<Vec<Profile>, Stop> {
    let viewer = key(conn, list.viewer)?.ok_or(Refusal::Unauthorized)?;
    let mut profiles: Vec<Profile> = Vec::with_capacity(list.ids.len());
    let mut statement = conn.prepare_cached(select!("WHERE p.id = ?1"))?;
    for id in &list.ids {
        if profiles.iter().any(|known| known.id == *id) {
            continue;
        }
        if let Some(found) = statement.query_row([id.to_bytes()], with_key).optional()? {
            profiles.extend(as_seen_by(conn, (viewer, list.viewer), found)?);
        }
    }
    Ok(profiles)
}

/// Sorts after every continuation of a prefix.
const GREATEST: char = char::MAX;

pub fn search(conn: &Connection, search: SearchProfiles) -> Result<FoundProfiles, Stop> {
    let viewer = key(conn, search.viewer)?.ok_or(Refusal::Unauthorized)?;
    let end = format!("{}{GREATEST}", search.prefix);
    let hides = search.is_directory.then_some(viewer);
    let mut page = Page { viewer, budget: Budget::new(search.limit), profiles: Vec::new(), last: None };
    let by_name = match search.after {
        Some(SearchCursor::Name { name, profile }) => Some((name, key_of_any(conn, profile)?)),
        after => {
            let begin = match after {
                Some(SearchCursor::Nick(nick)) => nick,
                _ => String::new(),
            };
            // Nick names are unique: a cursor after the last one shown misses and repeats none.
            let mut statement = conn.prepare_cached(select!(
                "WHERE p.nick_name >= ?1 AND p.nick_name < ?2 AND p.nick_name > ?3 AND NOT p.is_private \
                 AND (?4 IS NULL OR m.active AND p.key <> ?4 AND NOT EXISTS (SELECT 1 FROM blocks b WHERE \
                 (b.blocker = ?4 AND b.blocked = p.key) OR (b.blocker = p.key AND b.blocked = ?4))) \
                 ORDER BY p.nick_name"
            ))?;
            let rows = statement.query((&search.prefix, &end, begin, hides))?;
            let cursor = |profile: &Profile| SearchCursor::Nick(profile.nick_name.clone());
            if let Some(next) = page.fill(rows, cursor)? {
                return Ok(FoundProfiles { profiles: page.profiles, next: Some(next) });
            }
            None
        }
    };
    let (name, key) = by_name.unwrap_or((search.prefix.clone(), 0));
    let mut statement = conn.prepare_cached(select!(
        "WHERE p.name_key < ?2 AND (p.name_key, p.key) > (?3, ?4) AND NOT p.is_private \
         AND NOT (p.nick_name >= ?1 AND p.nick_name < ?2) \
         AND (?5 IS NULL OR m.active AND p.key <> ?5 AND NOT EXISTS (SELECT 1 FROM blocks b WHERE \
         (b.blocker = ?5 AND b.blocked = p.key) OR (b.blocker = p.key AND b.blocked = ?5))) \
         ORDER BY p.name_key, p.key"
    ))?;
    let rows = statement.query((&search.prefix, &end, name, key, hides))?;
    let cursor = |profile: &Profile| SearchCursor::Name {
        name: search_key(&profile.display_name),
        profile: profile.id,
    };
    let next = page.fill(rows, cursor)?;
    Ok(FoundProfiles { profiles: page.profiles, next })
}

/// The key of a profile, deleted or not: a cursor in an order outlives the profile.
fn key_of_any(conn: &Connection, profile: ProfileId) -> rusqlite::Result<i64> {
    Ok(remembered_key(conn, profile)?.unwrap_or_default())
}

struct Page {
    viewer: i64,
    budget: Budget,
    profiles: Vec<Profile>,
    last: Option<SearchCursor>,
}

impl Page {
    /// Adds rows until the page is full. Returns the cursor of the last row if there are more.
    fn fill(
        &mut self,
        mut rows: rusqlite::Rows<'_>,
        cursor: impl Fn(&Profile) -> SearchCursor,
    ) -> rusqlite::Result<Option<SearchCursor>> {
        while let Some(row) = rows.next()? {
            let (profile, key) = with_key(row)?;
            if !self.budget.take(profile_bytes(&profile)) {
                return Ok(self.last.take());
            }
            self.last = Some(cursor(&profile));
            self.profiles.push(if key == self.viewer { profile } else { profile.for_others() });
        }
        Ok(None)
    }
}

// ---- for the writer ------------------------------------------------------------------------------

pub fn update(batch: &mut Batch<'_>, update: &UpdateProfile) -> Result<Written, Stop> {
    let conn = batch.conn;
    let (before, key) = conn
        .prepare_cached(select!("WHERE p.id = ?1"))?
        .query_row([update.profile.to_bytes()], with_key)
        .optional()?
        .ok_or(Refusal::Unauthorized)?;
    let before_image: Option<i64> = conn
        .prepare_cached("SELECT image FROM profiles WHERE key = ?1")?
        .query_row([key], |row| row.get(0))?;
    let image = match update.image {
        None => before_image,
        Some(None) => None,
        Some(Some(upload)) => Some(attachments::picture(conn, key, upload, "profile_image")?),
    };
    let mut after = before.clone();
    after.profile_image = uploads::image(conn, image)?;
    after
        .display_name
        .clone_from(update.display_name.as_ref().map_or(&before.display_name, |name| &name.text));
    after.nick_name.clone_from(update.nick_name.as_ref().unwrap_or(&before.nick_name));
    after.is_private = update.is_private.unwrap_or(before.is_private);
    after.presence = update.presence.or(before.presence);
    if after.nick_name != before.nick_name
        && conn.prepare_cached("SELECT 1 FROM profiles WHERE nick_name = ?1")?.exists([&after.nick_name])?
    {
        return Err(Refusal::NicknameTaken.into());
    }
    let for_peers = (&after.display_name, &after.nick_name, after.is_private, image)
        != (&before.display_name, &before.nick_name, before.is_private, before_image);
    if !for_peers && after.presence == before.presence {
        return Written::quietly(Answer::UpdateProfile(Box::new(after)));
    }
    conn.prepare_cached(
        "UPDATE profiles SET display_name = ?2, name_key = ifnull(?3, name_key), nick_name = ?4, is_private = ?5, presence = ?6, \
         image = ?7 WHERE key = ?1",
    )?
    .execute((
        key,
        &after.display_name,
        update.display_name.as_ref().map(|name| &name.key),
        &after.nick_name,
        after.is_private,
        after.presence,
        image,
    ))?;
    attachments::picture_replaced(conn, before_image, image)?;
    if (after.is_private, after.presence) != (before.is_private, before.presence) {
        conversations::renew_all(batch, update.profile)?;
    }
    let seq = event_log::append_profile_updated(batch, key, for_peers, update.at)?;
    let mut audience = vec![update.profile];
    if for_peers {
        audience.extend(direct_peers(conn, key)?);
    }
    let audience = Audience { profiles: audience.into(), direct: false };
    let event = Event { seq, audience, fact: Fact::ProfileUpdated(Box::new(after.clone())) };
    Ok(Written { result: Ok(Answer::UpdateProfile(Box::new(after))), events: event.into() })
}

/// All profiles that this profile has a direct conversation with, except across a block.
fn direct_peers(conn: &Connection, key: i64) -> rusqlite::Result<Vec<ProfileId>> {
    conn.prepare_cached(
        "SELECT p.id FROM memberships m JOIN conversations c ON c.key = m.conversation AND c.kind = 0 \
         JOIN profiles p ON p.key = iif(c.low = m.profile, c.high, c.low) \
         WHERE m.profile = ?1 AND p.member IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM blocks WHERE (blocker = ?1 AND blocked = p.key) OR (blocker = p.key AND blocked = ?1)) \
         ORDER BY p.key",
    )?
    .query_map([key], |row| id(row, 0))?
    .collect()
}
