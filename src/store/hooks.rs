//! Outgoing hooks of bots, and how far each has come in the log.
//!
//! A hook reads the log of its bot as a client does: a post writes no row for it. Leaves to the server when it is called.
//! Invariant: what is accepted is stored after it was accepted, so that a crash repeats an event and loses none.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, text, text_or_null};
use super::{audit, bots};
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use crate::model::hook::{FindHook, Hook, HookState, MoveHook, SetHook};
use crate::model::operation::{Answer, Refusal};

pub fn set(batch: &mut Batch<'_>, set: &SetHook) -> Result<Written, Stop> {
    let conn = batch.conn;
    audit::check(conn, set.by)?;
    let bot = bots::find(conn, set.bot)?;
    conn.prepare_cached("DELETE FROM bot_hooks WHERE member = ?1")?.execute([bot.member])?;
    let act = if set.hook.is_some() { "bot.url.set" } else { "bot.url.remove" };
    audit::record(conn, (set.at, set.by), act, Some(bot.member_id), "")?;
    let Some(hook) = &set.hook else { return Written::quietly(Answer::SetHook(Box::new(None))) };
    conn.prepare_cached(
        "INSERT INTO bot_hooks (member, id, url, secret, epoch, through, failures, retry_at, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7)",
    )?
    .execute((
        bot.member,
        hook.id.to_bytes(),
        &hook.url,
        hook.secret.expose(),
        &set.epoch,
        int(batch.log.head),
        int(set.at),
    ))?;
    Written::quietly(Answer::SetHook(Box::new(Some(state(conn, bot.member)?))))
}

pub fn move_on(batch: &mut Batch<'_>, moved: &MoveHook) -> Result<Written, Stop> {
    batch
        .conn
        .prepare_cached(
            "UPDATE bot_hooks SET through = iif(epoch = ?2, max(through, ?3), ?3), epoch = ?2, failures = ?4, \
             retry_at = ?5, error = ?6 WHERE id = ?1",
        )?
        .execute((
            moved.hook.to_bytes(),
            &moved.epoch,
            int(moved.through),
            moved.failures,
            int(moved.retry_at),
            &moved.error,
        ))?;
    Written::quietly(Answer::MoveHook(()))
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn is_any(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM bot_hooks")?.exists([])
}

pub fn find(conn: &Connection, find: FindHook) -> Result<HookState, Stop> {
    audit::check(conn, find.by)?;
    state(conn, bots::find(conn, find.bot)?.member)
}

fn state(conn: &Connection, member: i64) -> Result<HookState, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT id, url, through, failures, error, retry_at, created_at FROM bot_hooks WHERE member = ?1",
        )?
        .query_row([member], |row| {
            Ok(HookState {
                id: id(row, 0)?,
                url: text(row, 1)?,
                seq: number(row, 2)?,
                failures: row.get(3)?,
                error: text_or_null(row, 4)?,
                retry_at: Some(UnixMs(number(row, 5)?)).filter(|at| at.0 > 0),
                created_at: UnixMs(number(row, 6)?),
            })
        })
        .optional()?;
    Ok(found.ok_or(Refusal::NotFound)?)
}

pub fn list(conn: &Connection) -> Result<Vec<Hook>, Stop> {
    let hooks = conn
        .prepare_cached(
            "SELECT h.id, p.id, h.url, h.secret, h.epoch, h.through, h.failures, h.retry_at FROM bot_hooks h \
             JOIN members m ON m.key = h.member JOIN profiles p ON p.member = m.key WHERE m.active ORDER BY h.id",
        )?
        .query_map([], |row| {
            Ok(Hook {
                id: id(row, 0)?,
                profile: id(row, 1)?,
                url: Secret::new(text(row, 2)?),
                secret: Secret::new(row.get(3)?),
                epoch: text(row, 4)?,
                through: number(row, 5)?,
                failures: row.get(6)?,
                retry_at: UnixMs(number(row, 7)?),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(hooks)
}
