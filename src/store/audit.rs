//! The log of what admins of the server and the operator did, and who may do it.
//!
//! Invariant: a row is inserted by the transaction of its act, and triggers of the schema refuse every change of it, and every deletion but
//! that of the rows before the newest [`AUDIT_ROWS_MAX`]. A row has ids, and no text of a person.

use rusqlite::{Connection, OptionalExtension};

use super::fault::Stop;
use super::value::{id, int, number, text, text_or_null};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::admin::{AuditPage, AuditRow, ListAudit};
use crate::model::id::MemberId;
use crate::model::operation::Refusal;

/// Rows that are kept. Beyond, the oldest one is deleted with each new one; a trigger of the schema has the same number.
pub const AUDIT_ROWS_MAX: u64 = 100_000;

/// Refuses everybody but the operator and the admins of the server, whatever they ask for.
pub fn check(conn: &Connection, by: Option<MemberId>) -> Result<(), Stop> {
    let Some(by) = by else { return Ok(()) };
    let is_admin = conn
        .prepare_cached("SELECT admin AND active FROM members WHERE id = ?1")?
        .query_row([by.to_bytes()], |row| row.get::<_, bool>(0))
        .optional()?
        .ok_or(Refusal::Unauthorized)?;
    if is_admin { Ok(()) } else { Err(Refusal::NotAllowed.into()) }
}

/// The key of a member to whom something is done. An admin is the operator's: no admin can take over or lock out another one.
pub fn target(conn: &Connection, by: Option<MemberId>, member: MemberId) -> Result<i64, Stop> {
    check(conn, by)?;
    let (key, is_admin) = conn
        .prepare_cached("SELECT key, admin FROM members WHERE id = ?1")?
        .query_row([member.to_bytes()], |row| Ok((row.get(0)?, row.get::<_, bool>(1)?)))
        .optional()?
        .ok_or(Refusal::NotFound)?;
    if by.is_some() && is_admin { Err(Refusal::NotAllowed.into()) } else { Ok(key) }
}

/// Writes the row of an act.
pub fn record<K>(
    conn: &Connection,
    (at, by): (UnixMs, Option<MemberId>),
    act: &str,
    whom: Option<Id<K>>,
    detail: &str,
) -> rusqlite::Result<()> {
    insert(conn, (at, by), act, whom.map(Id::to_bytes), detail)
}

/// Of one form for all ids.
fn insert(
    conn: &Connection,
    (at, by): (UnixMs, Option<MemberId>),
    act: &str,
    whom: Option<[u8; 16]>,
    detail: &str,
) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO audit (at, who, act, whom, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((int(at), by.map(Id::to_bytes), act, whom, detail))?;
    conn.prepare_cached("DELETE FROM audit WHERE key <= ?1")?
        .execute([conn.last_insert_rowid() - int(AUDIT_ROWS_MAX)])?;
    Ok(())
}

pub fn list(conn: &Connection, list: ListAudit) -> Result<AuditPage, Stop> {
    check(conn, list.by)?;
    let mut rows = conn
        .prepare_cached(
            "SELECT a.key, a.at, a.who, a.act, a.whom, a.detail, \
             (SELECT p.nick_name FROM members m JOIN profiles p ON p.member = m.key WHERE m.id = a.who), \
             (SELECT p.nick_name FROM members m JOIN profiles p ON p.member = m.key WHERE m.id = a.whom) \
             FROM audit a WHERE a.key < ?1 ORDER BY a.key DESC LIMIT ?2",
        )?
        .query_map((int(list.before.unwrap_or(u64::MAX)), list.limit + 1), |row| {
            let found = AuditRow {
                at: UnixMs(number(row, 1)?),
                who: row.get::<_, Option<[u8; 16]>>(2)?.map(Id::from_bytes),
                act: text(row, 3)?,
                whom: match row.get::<_, Option<[u8; 16]>>(4)? {
                    Some(_) => Some(id::<()>(row, 4)?.to_string()),
                    None => None,
                },
                detail: text(row, 5)?,
                who_name: text_or_null(row, 6)?,
                whom_name: text_or_null(row, 7)?,
            };
            Ok((found, number(row, 0)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // One row more than fits shows whether there is a next page.
    let more = rows.len() > list.limit as usize;
    rows.truncate(list.limit as usize);
    let next = rows.last().filter(|_| more).map(|(_, key)| *key);
    Ok(AuditPage { rows: rows.into_iter().map(|(row, _)| row).collect(), next })
}
