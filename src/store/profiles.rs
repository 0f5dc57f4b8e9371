//! Profiles: by which key they are known, and how they are shown.
//! Invariant: a profile whose member is deleted is found by nobody and shown to nobody.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::value::{id, number};
use crate::base::id::Id;
use crate::model::message::Time;
use crate::model::profile::Profile;

/// A profile as its owner sees it, from the first seven columns of a row: `p.id, m.id, p.display_name, p.nick_name,
/// p.is_private, p.presence, p.created_at`.
pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Profile> {
    Ok(Profile {
        id: id(row, 0)?,
        member: Some(id(row, 1)?),
        display_name: row.get(2)?,
        nick_name: row.get(3)?,
        profile_image: None,
        is_private: row.get(4)?,
        presence: Some(row.get(5)?),
        created_at: Time(number(row, 6)?),
    })
}

/// The key of a profile whose member exists.
pub fn key(conn: &Connection, profile: Id) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM profiles WHERE id = ?1 AND member IS NOT NULL")?
        .query_row([profile.to_bytes()], |row| row.get(0))
        .optional()
}

/// The profile of a key as other people see it; `None` once deleted.
pub fn for_others(conn: &Connection, key: i64) -> rusqlite::Result<Option<Profile>> {
    let profile = conn
        .prepare_cached(
            "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at \
             FROM profiles p JOIN members m ON m.key = p.member WHERE p.key = ?1",
        )?
        .query_row([key], from_row)
        .optional()?;
    Ok(profile.map(Profile::for_others))
}

/// The ids behind the keys of one answer, each looked up once.
#[derive(Default)]
pub struct Names(BTreeMap<i64, Option<Id>>);

impl Names {
    /// `None` once deleted.
    pub fn of(&mut self, conn: &Connection, key: i64) -> rusqlite::Result<Option<Id>> {
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

/// Whether these two see each other's read marks: neither hides, neither blocked the other.
pub fn receipts(conn: &Connection, a: i64, b: i64) -> rusqlite::Result<bool> {
    let hidden = conn
        .prepare_cached("SELECT 1 FROM profiles WHERE key IN (?1, ?2) AND (is_private OR NOT presence)")?
        .exists([a, b])?;
    Ok(!hidden && !blocked(conn, a, b)?)
}
