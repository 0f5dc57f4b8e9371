//! Renames the profiles whose nick name became reserved: when the database of a natter alone was opened and is proven to be on disk, and
//! in a
//! cluster by a write, so that all nodes draw the same names.
//!
//! Owns the new name, the event that notifies devices and peers, and the mail to the holder. The list of
//! reserved names is in the model.
//! Invariant: after a start that could write, or that write, no profile has a reserved name.

use rusqlite::{Connection, TransactionBehavior};

use super::batch::{Batch, Log, Written};
use super::cache::Cache;
use super::fault::Stop;
use super::value::id;
use super::{outbox, profiles};
use crate::base::crypto::{Entropy, sha256};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::event::{Event, Events};
use crate::model::id::ProfileId;
use crate::model::mail::{Content, Language, NewMail};
use crate::model::operation::Answer;
use crate::model::profile::{RESERVED_NICK_NAMES, ReleaseNickNames, UpdateProfile};

/// Random digits appended to the old name. The new name has at most 23 of 25 characters.
pub(super) const DIGITS: usize = 6;
/// Random names tried for one holder. After that, the next start tries again.
pub(super) const DRAWS_MAX: usize = 16;

const _: () = {
    let mut i = 0;
    while i < RESERVED_NICK_NAMES.len() {
        assert!(RESERVED_NICK_NAMES[i].len() + DIGITS <= crate::limits::NICK_NAME_MAX);
        i += 1;
    }
};

/// Gives every holder of a reserved name a new name, when a natter alone opens its database.
pub fn release(
    conn: &mut Connection,
    log: &mut Log,
    entropy: &mut dyn Entropy,
    at: UnixMs,
) -> rusqlite::Result<()> {
    let release = ReleaseNickNames::new(at, entropy);
    if holders(conn, &release.names)?.is_empty() {
        return Ok(());
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut cache = Cache::default();
    rename_all(&mut Batch { conn: &transaction, log, cache: &mut cache, insert: None }, &release)?;
    transaction.commit()
}

/// The same as a write: in a cluster the node with the duty asks for it.
pub fn perform(batch: &mut Batch<'_>, release: &ReleaseNickNames) -> Result<Written, Stop> {
    let (holders, events) = rename_all(batch, release)?;
    Ok(Written { result: Ok(Answer::ReleaseNickNames(holders)), events: events.into() })
}

/// How many holders there were, and what is told of them.
fn rename_all(batch: &mut Batch<'_>, release: &ReleaseNickNames) -> rusqlite::Result<(u64, Vec<Event>)> {
    let holders = holders(batch.conn, &release.names)?;
    let (mut drawn, mut events) = (Drawn { seed: release.seed, count: 0 }, Vec::new());
    for holder in &holders {
        events.extend(rename(batch, holder, &mut drawn, release.at)?);
    }
    if !holders.is_empty() {
        log::info!("storage: {} nick names are reserved now, and their holders have others", holders.len());
    }
    Ok((holders.len() as u64, events))
}

/// Numbers that every node draws alike.
struct Drawn {
    seed: [u8; 16],
    count: u64,
}

impl Entropy for Drawn {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.count += 1;
            let drawn = sha256(&[&self.seed[..], &self.count.to_be_bytes()].concat());
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

struct Holder {
    profile: ProfileId,
    member: Option<i64>,
    nick_name: String,
}

/// A name that a newer build reserves may be too long for the digits: it is left.
fn holders(conn: &Connection, names: &[String]) -> rusqlite::Result<Vec<Holder>> {
    let mut found = Vec::new();
    let mut statement = conn.prepare("SELECT id, member, nick_name FROM profiles WHERE nick_name = ?1")?;
    for name in names.iter().filter(|name| name.len() + DIGITS <= crate::limits::NICK_NAME_MAX) {
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
) -> rusqlite::Result<Events> {
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
        let events = match profiles::update(batch, &update) {
            Ok(written) => written.events,
            Err(Stop::Failed(error)) => return Err(error),
            // Only the name changes, and it is free.
            Err(Stop::Refused(_)) => continue,
        };
        let mut random = [0; 10];
        entropy.fill(&mut random);
        let mail = NewMail::new(Id::new(at, random), Language::En, Content::NickNameChanged(String::new()));
        outbox::put(batch.conn, holder.member, &mail, at)?;
        return Ok(events);
    }
    Ok(Events::None)
}
