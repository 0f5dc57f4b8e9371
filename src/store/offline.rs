//! Changes by a command to a database that no server has open.
//!
//! The caller holds the lock of its folder.

use rusqlite::Connection;

use super::connection::{close_in_order, open_writer};
use super::fault::OpenFault;
use super::inspect::{self, Access};
#[cfg(feature = "cluster")]
use super::place::{self, Place, Skip};
use super::{StoreOptions, audit, checkpoints, codes, metadata, outbox, schema_check, sessions};
use crate::base::time::UnixMs;
use crate::model::id::MemberId;

/// Whether a restored database keeps its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    Kept,
    Ended,
}

/// Prepares a copy of a database for use: checks it completely, migrates its schema, and begins a new history, so that no
/// old cursor fits.
pub fn adopt(options: &StoreOptions, restored: Sessions, at: UnixMs) -> Result<(), OpenFault> {
    // Before any write, and before one of its triggers could run.
    inspect::check_restored(options, Access::Exclusive)?;
    change(options, |conn| {
        schema_check::drop_litestream(conn)?;
        if restored == Sessions::Ended {
            sessions::forget_all(conn)?;
        }
        metadata::leave_cluster(conn)?;
        metadata::renew(conn)
    })?;
    let detail = if restored == Sessions::Ended { "end_sessions" } else { "" };
    // An older database has its log of acts only now.
    change(&alone(options), |conn| audit::record::<()>(conn, (at, None), "restore", None, detail))
}

/// A natter alone has the last schema, and a node that of its level.
fn alone(options: &StoreOptions) -> StoreOptions {
    StoreOptions { in_cluster: false, ..options.clone() }
}

/// Prepares the copy of a node of a cluster for another node, or for the same one again: the rows, the epoch and the place in the log
/// stay. `None` for another database.
#[cfg(feature = "cluster")]
pub fn adopt_node(options: &StoreOptions) -> Result<Option<Place>, OpenFault> {
    inspect::check_restored(options, Access::Exclusive)?;
    let mut place = None;
    change(options, |conn| {
        schema_check::drop_litestream(conn)?;
        place = place::read(conn)?;
        metadata::end(conn)
    })?;
    Ok(place)
}

/// From now on the database follows a log from this place on, which continues its rows under this epoch. What other logs said of
/// nodes is over: no entry of an earlier life counts in this one.
#[cfg(feature = "cluster")]
pub fn follow(options: &StoreOptions, place: &Place, epoch: &str) -> Result<(), OpenFault> {
    change(options, |conn| {
        metadata::leave_cluster(conn)?;
        metadata::set_epoch(conn, epoch)?;
        place::set(conn, place)?;
        metadata::end(conn)
    })
}

/// From now on the database is that of a natter alone; without an epoch the next start begins another history, so that clients load
/// everything again.
#[cfg(feature = "cluster")]
pub fn leave(options: &StoreOptions, keeps_epoch: bool) -> Result<(), OpenFault> {
    change(options, |conn| {
        metadata::leave_cluster(conn)?;
        if keeps_epoch { metadata::end(conn) } else { metadata::renew(conn) }
    })?;
    change(&alone(options), |_| Ok(()))
}

/// From now on the node skips this entry when it comes to it.
#[cfg(feature = "cluster")]
pub fn skip(options: &StoreOptions, skip: Skip) -> Result<(), OpenFault> {
    change(options, |conn| place::set_skip(conn, skip))
}

/// The e-mail addresses of these members are not verified.
pub fn unverify(options: &StoreOptions, members: &[MemberId]) -> Result<(), OpenFault> {
    change(options, |conn| {
        let mut statement = conn.prepare("UPDATE members SET verified = 0 WHERE id = ?1")?;
        members.iter().try_for_each(|member| statement.execute([member.to_bytes()]).map(|_| ()))?;
        metadata::end(conn)
    })
}

/// Makes every code void and deletes the mails that contain one, because the secret they depend on is replaced.
/// A node of a cluster is refused: the others would keep theirs.
pub fn forget_codes(options: &StoreOptions) -> Result<(), OpenFault> {
    let is_in_cluster = metadata::is_in_cluster(&open_writer(options)?);
    if is_in_cluster.map_err(|error| OpenFault::new(&options.path, error))? {
        return Err(OpenFault::InCluster { path: options.path.clone() });
    }
    change(options, |conn| {
        codes::void_all(conn)?;
        outbox::forget_codes(conn)?;
        metadata::set_password_tag(conn, None)
    })
}

/// Records `options.password_tag` as the one of the secret that the database needs from now on, as an act of the operator.
pub fn adopt_secret(options: &StoreOptions, at: UnixMs) -> Result<(), OpenFault> {
    // Opened without a tag, because the database may have the tag of another secret.
    let unchecked = StoreOptions { password_tag: None, ..options.clone() };
    change(&unchecked, |conn| {
        metadata::set_password_tag(conn, options.password_tag)?;
        audit::record::<()>(conn, (at, None), "secret.reset", None, "")
    })
}

/// Runs one transaction and closes the database with an empty WAL, unless another process may not have copied the WAL: the
/// next server removes what it may.
fn change(
    options: &StoreOptions,
    change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, error);
    let mut conn = open_writer(options)?;
    let transaction = conn.transaction().map_err(wrap)?;
    change(&transaction).map_err(wrap)?;
    transaction.commit().map_err(wrap)?;
    if checkpoints::is_shared(&conn, &options.path).map_err(wrap)? {
        return conn.close().map_err(|(_, error)| wrap(error));
    }
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(wrap)?;
    close_in_order(conn).map_err(wrap)
}
