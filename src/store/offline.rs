//! What a command changes in a database that no server has open. The caller holds the lock of its folder.

use rusqlite::Connection;

use super::connection::{close_in_order, open_writer};
use super::fault::OpenFault;
use super::inspect::{self, Held};
use super::{StoreOptions, codes, judge, metadata, outbox, sessions};

/// What becomes of the sessions of a restored database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    Kept,
    Ended,
}

/// Makes a copy of a database ready to go on from: judged as a whole, its schema of today, and a new history, so that no cursor
/// of the old one fits.
pub fn adopt(options: &StoreOptions, restored: Sessions) -> Result<(), OpenFault> {
    // Before anything of it is written, or of its triggers runs.
    inspect::judge(options, Held::Alone)?;
    change(options, |conn| {
        judge::drop_litestream(conn)?;
        if restored == Sessions::Ended {
            sessions::forget_all(conn)?;
        }
        metadata::renew(conn)
    })
}

/// Makes every code void, and takes back the mails that would bring one: their secret is another one from now on.
pub fn forget_codes(options: &StoreOptions) -> Result<(), OpenFault> {
    change(options, |conn| {
        codes::void_all(conn)?;
        outbox::forget_codes(conn)
    })
}

/// One transaction, and a closed database with an empty log after it.
fn change(
    options: &StoreOptions,
    change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), OpenFault> {
    let wrap = |error: rusqlite::Error| OpenFault::new(&options.path, &error);
    let mut conn = open_writer(options)?;
    let transaction = conn.transaction().map_err(wrap)?;
    change(&transaction).map_err(wrap)?;
    transaction.commit().map_err(wrap)?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(wrap)?;
    close_in_order(conn).map_err(wrap)
}
