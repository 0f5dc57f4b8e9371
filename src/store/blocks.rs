//! Blocks between profiles. They work in both directions; only the blocker sees and removes them.
//!
//! Invariant: after each change, the writer's cached status of a direct conversation equals its rows.

use rusqlite::Connection;

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::page::{Budget, profile_bytes};
use super::value::{int, number};
use super::{conversations, profiles};
use crate::model::operation::{Answer, Refusal};
use crate::model::profile::{BlockPage, ChangedBlock, ListBlocks, SetBlock};

pub fn set(batch: &mut Batch<'_>, block: SetBlock) -> Result<Written, Stop> {
    let conn = batch.conn;
    let blocker = profiles::key(conn, block.blocker)?.ok_or(Refusal::Unauthorized)?;
    let other = profiles::key(conn, block.other)?.ok_or(Refusal::NotFound)?;
    let sql = match block.blocked {
        true => "INSERT OR IGNORE INTO blocks (blocker, blocked) VALUES (?1, ?2)",
        false => "DELETE FROM blocks WHERE blocker = ?1 AND blocked = ?2",
    };
    let changed = conn.prepare_cached(sql)?.execute([blocker, other])? > 0;
    if changed {
        conversations::renew_pair(batch, block.blocker, block.other)?;
    }
    let peers = changed && conversations::direct_between(conn, blocker, other)?.is_some();
    Written::quietly(Answer::SetBlock(Box::new(changed.then_some(ChangedBlock { block, peers }))))
}

pub fn list(conn: &Connection, list: &ListBlocks) -> Result<BlockPage, Stop> {
    let blocker = profiles::key(conn, list.blocker)?.ok_or(Refusal::Unauthorized)?;
    // A block may be on a profile that is private to the blocker: the list must not reveal who it is.
    let mut statement = conn.prepare_cached(
        "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at, \
         i.id, i.name, m.bot, p.key, b.key FROM blocks b JOIN profiles p ON p.key = b.blocked \
         JOIN members m ON m.key = p.member LEFT JOIN uploads i ON i.key = p.image \
         WHERE b.blocker = ?1 AND b.key < ?2 ORDER BY b.key DESC",
    )?;
    let mut rows = statement.query((blocker, int(list.after.unwrap_or(u64::MAX))))?;
    let (mut budget, mut last) = (Budget::new(list.limit), None);
    let mut page = BlockPage { profiles: Vec::new(), next: None };
    while let Some(row) = rows.next()? {
        let found = profiles::with_key(row)?;
        let Some(profile) = profiles::as_seen_by(conn, (blocker, list.blocker), found)? else { continue };
        if !budget.take(profile_bytes(&profile)) {
            page.next = last;
            break;
        }
        page.profiles.push(profile);
        last = Some(number(row, 11)?);
    }
    Ok(page)
}
