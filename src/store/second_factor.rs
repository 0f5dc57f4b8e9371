//! Second factors: a sealed secret with the last step that was used, and recovery codes as HMACs.
//!
//! Invariant: a step is used once, in the order of time, and a recovery code once, in the transaction that does what it permits.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{int, number};
use super::{accounts, outbox};
use crate::model::operation::{Answer, Refusal};
use crate::model::second_factor::{ChangeFactor, FactorChange, StoredFactor, UsedFactor};

/// That of a member.
pub fn of(conn: &Connection, member: i64) -> rusqlite::Result<Option<StoredFactor>> {
    conn.prepare_cached("SELECT sealed, step FROM second_factors WHERE member = ?1")?
        .query_row([member], |row| Ok(StoredFactor { sealed: row.get(0)?, step: number(row, 1)? }))
        .optional()
}

/// How many recovery codes a member has left; `None` without a second factor.
pub fn recovery_codes(conn: &Connection, member: i64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached(
        "SELECT (SELECT count(*) FROM recovery_codes r WHERE r.member = f.member) FROM second_factors f WHERE f.member = ?1",
    )?
    .query_row([member], |row| number(row, 0))
    .optional()
}

/// Uses a code, if the member has a second factor; returns whether it has. `CodeWrong` if this is none or one that was used.
pub fn use_up(conn: &Connection, member: i64, used: Option<&UsedFactor>) -> Result<bool, Stop> {
    let Some(factor) = of(conn, member)? else { return Ok(false) };
    let rows = match used {
        Some(UsedFactor::Step(step)) if *step > factor.step => conn
            .prepare_cached("UPDATE second_factors SET step = ?2 WHERE member = ?1")?
            .execute((member, int(*step)))?,
        Some(UsedFactor::Recovery(tag)) => conn
            .prepare_cached("DELETE FROM recovery_codes WHERE member = ?1 AND tag = ?2")?
            .execute((member, tag.expose()))?,
        _ => 0,
    };
    if rows == 0 { Err(Refusal::CodeWrong.into()) } else { Ok(true) }
}

pub fn change(batch: &mut Batch<'_>, change: &ChangeFactor) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = match &change.proven {
        Some(hash) => conn
            .prepare_cached("SELECT key FROM members WHERE id = ?1 AND hash = ?2 AND active")?
            .query_row((change.member.to_bytes(), hash), |row| row.get::<_, i64>(0))
            .optional()?
            .ok_or(Refusal::Unauthorized)?,
        None => accounts::key(conn, change.member)?.ok_or(Refusal::NotFound)?,
    };
    let exists = of(conn, member)?.is_some();
    match &change.change {
        FactorChange::Add(_) if exists => return Err(Refusal::NotAllowed.into()),
        FactorChange::Add(_) => {}
        _ if change.proven.is_none() => {}
        _ if !exists => return Err(Refusal::NotFound.into()),
        _ => drop(use_up(conn, member, change.used.as_ref())?),
    }
    conn.prepare_cached("DELETE FROM recovery_codes WHERE member = ?1")?.execute([member])?;
    let recovery = match &change.change {
        FactorChange::Add(new) => {
            conn.prepare_cached("INSERT INTO second_factors (member, sealed, step) VALUES (?1, ?2, ?3)")?
                .execute((member, &new.sealed, int(new.step)))?;
            &*new.recovery
        }
        FactorChange::Renew(recovery) => recovery,
        FactorChange::Remove => {
            conn.prepare_cached("DELETE FROM second_factors WHERE member = ?1")?.execute([member])?;
            &[]
        }
    };
    for tag in recovery {
        conn.prepare_cached("INSERT OR IGNORE INTO recovery_codes (member, tag) VALUES (?1, ?2)")?
            .execute((member, tag.expose()))?;
    }
    if exists || matches!(change.change, FactorChange::Add(_)) {
        outbox::put(conn, Some(member), &change.mail, change.at)?;
    }
    let account = accounts::account(conn, change.member)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Written::quietly(Answer::ChangeFactor(Box::new(account.member)))
}
