//! Renames the profiles whose nick name became reserved, once, when the database was opened and is proven to be on disk.
//!
//! Owns this transaction: the new name, the event that notifies devices and peers, and the mail to the holder. The list of
//! reserved names is in the model.
//! Invariant: after a start that could write, no profile has a reserved name.

use rusqlite::{Connection, TransactionBehavior};

use super::batch::{Batch, Log};
use super::cache::Cache;
use super::fault::Stop;
use super::value::id;
use super::{outbox, profiles};
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::id::ProfileId;
use crate::model::mail::{Content, Language, NewMail};
use crate::model::profile::{RESERVED_NICK_NAMES, UpdateProfile};

/// Random digits appended to the old name. The new name has at most 23 of 25 characters.
const DIGITS: usize = 6;
/// Random names tried for one holder. After that, the next start tries again.
const DRAWS_MAX: usize = 16;

const _: () = {
    let mut i = 0;
    while i < RESERVED_NICK_NAMES.len() {
        assert!(RESERVED_NICK_NAMES[i].len() + DIGITS <= crate::limits::NICK_NAME_MAX);
        i += 1;
    }
};

/// Gives every holder of a reserved name a new name. Returns the number of holders.
pub fn release(
    conn: &mut Connection,
    log: &mut Log,
    entropy: &mut dyn Entropy,
    at: UnixMs,
) -> rusqlite::Result<usize> {
    let holders = holders(conn)?;
    if holders.is_empty() {
        return Ok(0);
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut cache = Cache::default();
    let mut batch = Batch { conn: &transaction, log, cache: &mut cache, insert: None };
    for holder in &holders {
        rename(&mut batch, holder, entropy, at)?;
    }
    drop(batch);
    transaction.commit()?;
    log::info!("storage: {} nick names are reserved now, and their holders have others", holders.len());
    Ok(holders.len())
}

struct Holder {
    profile: ProfileId,
    member: Option<i64>,
    nick_name: String,
}

fn holders(conn: &Connection) -> rusqlite::Result<Vec<Holder>> {
    let mut found = Vec::new();
    let mut statement = conn.prepare("SELECT id, member, nick_name FROM profiles WHERE nick_name = ?1")?;
    for name in RESERVED_NICK_NAMES {
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            found.push(Holder { profile: id(row, 0)?, member: row.get(1)?, nick_name: row.get(2)? });
        }
    }
    Ok(found)
}

fn rename(
    batch: &mut Batch<'_>,
    holder: &Holder,
    entropy: &mut dyn Entropy,
    at: UnixMs,
) -> rusqlite::Result<()> {
    for _ in 0..DRAWS_MAX {
        let nick_name = format!("{}{:0DIGITS$}", holder.nick_name, entropy.below(10u64.pow(DIGITS as u32)));
        let taken =
            batch.conn.prepare_cached("SELECT 1 FROM profiles WHERE nick_name = ?1")?.exists([&nick_name])?;
        if taken {
            continue;
        }
        let update = UpdateProfile {
            at,
            profile: holder.profile,
            nick_name: Some(nick_name),
            ..UpdateProfile::default()
        };
        match profiles::update(batch, &update) {
            Ok(_) => {}
            Err(Stop::Failed(error)) => return Err(error),
            // Only the name changes, and it is free.
            Err(Stop::Refused(_)) => continue,
        }
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let mail = NewMail::new(Id::new(at, random), Language::En, Content::NickNameChanged(String::new()));
        return outbox::put(batch.conn, holder.member, &mail, at);
    }
    Ok(())
}
