//! Entries of the log of a cluster, applied: how far a database is, which entries count, and their transaction.
//!
//! Owns the tables `place`, `nodes` and `skip`. What a write does is the same as for a natter alone; but no write of an entry is refused
//! for a
//! fault, because all other nodes perform it: the transaction ends, and the caller applies the same entries again.
//!
//! By which rules, and in which schema, is the level in force. An entry raises it if every node knows the level, as its last Hello says;
//! a node that is gone for good is not waited for.
//!
//! ```text
//! an entry of a node:  Hello of a greater life ──→ its life begins, with this number
//!                      the current life, last_n + 1 ──→ its writes are performed
//!                      anything else ──→ ignored; only its position and the chain are kept
//! ```
//! Lives only ascend, so that no entry of an earlier life counts again, however late it comes.
//! Invariant: rows, position and chain are of one transaction, and they are a function of the entries up to the position alone.

use std::mem;

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Log, erases};
use super::fault::{Fault, with_cause};
use super::migrations::{self, Relaxed};
use super::value::{id, int, number, text};
use super::writer::{Store, WriteHandle};
use super::{before_upgrade, connection, metadata};
use crate::base::crypto::Entropy;
use crate::base::seal::Chain;
use crate::base::time::UnixMs;
use crate::model::entry::{Entry, EntryBody, FIRST_LEVEL, Life, NodeName};
use crate::model::operation::{Outcome, Start, Write};

/// How far a database has applied a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Names the log.
    pub log: String,
    /// The position of the last entry that was applied; 0 before the first.
    pub position: u64,
    /// After that entry.
    pub chain: Chain,
    /// The level in force from there on.
    pub level: u32,
}

/// An entry that a node skips, because an operator has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Where it is in the log.
    pub position: u64,
    /// After it, for a node that does not skip it: no other entry is skipped.
    pub chain: Chain,
}

/// An entry as the log delivered it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its position: that of the last one and 1.
    pub position: u64,
    /// When the log took it.
    pub time: UnixMs,
    /// After this entry.
    pub chain: Chain,
    /// What it says.
    pub entry: Entry,
}

/// The result of [`WriteHandle::apply`].
#[derive(Debug)]
pub struct Applied {
    /// What each entry did, in order; empty after a fault.
    pub entries: Vec<AppliedEntry>,
    /// Why nothing was applied.
    pub fault: Option<Fault>,
}

/// What an entry did.
#[derive(Debug)]
pub enum AppliedEntry {
    /// The outcomes of its writes.
    Performed(Vec<Outcome>),
    /// The epoch is set, or a life of its node began.
    Begun,
    /// This level is in force.
    Raised(u32),
    /// Nothing, on any node.
    Ignored(Ignored),
}

/// Why an entry counts on no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The life of its author is over: a later one has begun. Or it has not begun.
    OtherLife,
    /// It was applied before: the log has it twice.
    Repeated,
    /// An earlier entry of its author is missing.
    Early,
    /// It sets an epoch, but is not the first entry of the log; or it is the first one and sets none; or it ends the log; or it says that
    /// a node has skipped an entry, as this one has.
    Misplaced,
}

impl Applied {
    fn failed(fault: Fault) -> Applied {
        Applied { entries: Vec::new(), fault: Some(fault) }
    }
}

impl Store {
    /// How far it is; `None` before [`Store::enter`].
    pub fn place(&self) -> Result<Option<Place>, Fault> {
        read(&self.conn).map_err(|error| Fault::of(&error))
    }

    /// The last entry that this node skips or has skipped.
    pub fn skip(&self) -> Result<Option<Skip>, Fault> {
        skip(&self.conn).map_err(|error| Fault::of(&error))
    }

    /// See [`WriteHandle::enter`].
    pub fn enter(&mut self, log: &str) -> Result<bool, Fault> {
        self.handle().enter(log)
    }

    /// A life that is greater than the last one of this node.
    pub fn next_life(
        &self,
        node: &NodeName,
        entropy: &mut dyn Entropy,
        now_ms: UnixMs,
    ) -> Result<Life, Fault> {
        next_life(&self.conn, node, entropy, now_ms)
    }

    /// What a start returns, as it is now: after the entries that were missing.
    pub fn start_values(&self, now_ms: UnixMs) -> Result<Start, Fault> {
        self.describe(now_ms).map_err(|error| Fault::of(&error))
    }

    /// See [`WriteHandle::apply`].
    pub fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
        self.handle().apply(delivered)
    }

    /// The level that this node may raise the cluster to: it has the duty, and every node knows the level, which is not in force.
    pub fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault> {
        raisable(&self.conn, node).map_err(|error| Fault::of(&error))
    }

    /// The level that this entry will raise the cluster to, if it is the next one that is applied.
    pub fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault> {
        raises(&self.conn, entry).map_err(|error| Fault::of(&error))
    }
}

impl WriteHandle<'_> {
    /// Begins to follow this log from its beginning. `false` if the database is not empty: the log does not know its rows.
    pub fn enter(&mut self, log: &str) -> Result<bool, Fault> {
        if let Some(fault) = self.writer_state.durability.fault() {
            return Err(fault);
        }
        let entered = enter(self.conn, log).map_err(|error| self.commit_failed(&with_cause(error)))?;
        if entered {
            self.writer_state.log.level = FIRST_LEVEL;
        }
        Ok(entered)
    }

    /// See [`Store::next_life`].
    pub fn next_life(
        &self,
        node: &NodeName,
        entropy: &mut dyn Entropy,
        now_ms: UnixMs,
    ) -> Result<Life, Fault> {
        next_life(self.conn, node, entropy, now_ms)
    }

    /// See [`Store::raisable`].
    pub fn raisable(&self, node: &NodeName) -> Result<Option<u32>, Fault> {
        raisable(self.conn, node).map_err(|error| Fault::of(&error))
    }

    /// See [`Store::raises`].
    pub fn raises(&self, entry: &Entry) -> Result<Option<u32>, Fault> {
        raises(self.conn, entry).map_err(|error| Fault::of(&error))
    }

    /// Applies these entries in one transaction, in order. One at which the schema may change is alone. `delivered` is empty afterwards.
    /// After a fault nothing of it was applied, but writes were taken from it: the same entries must be read again, and applied before
    /// any other.
    pub fn apply(&mut self, delivered: &mut Vec<Delivered>) -> Applied {
        if let Some(fault) = self.writer_state.durability.fault() {
            return Applied::failed(fault);
        }
        let may_migrate = delivered.iter().any(|each| each.entry.body.may_migrate());
        assert!(!may_migrate || delivered.len() == 1, "the schema changes in a transaction of its own");
        let written = if may_migrate {
            self.migrating(delivered)
        } else {
            let written = self.perform_all(delivered);
            self.conclude(written)
        };
        self.writer_state.log.time = None;
        match written {
            Ok(entries) => {
                delivered.clear();
                Applied { entries, fault: None }
            }
            Err(error) => Applied::failed(Fault::of(&error)),
        }
    }

    /// Applies an entry under the settings that a change of the schema needs.
    fn migrating(&mut self, delivered: &mut [Delivered]) -> rusqlite::Result<Vec<AppliedEntry>> {
        if let [each] = &*delivered
            && let Some(level) = raises(self.conn, &each.entry)?
        {
            let state = &self.writer_state;
            before_upgrade::keep(self.conn, &state.path, migrations::of_level(level), state.free_bytes);
        }
        let relaxed = Relaxed::begin(self.conn)?;
        let written = connection::keep_pages(self.conn, false).and_then(|()| self.perform_all(delivered));
        let written = self.conclude(written);
        let kept = connection::keep_pages(self.conn, true);
        relaxed.end(self.conn)?;
        kept?;
        written
    }

    fn perform_all(&mut self, delivered: &mut [Delivered]) -> rusqlite::Result<Vec<AppliedEntry>> {
        self.begin_transaction()?;
        let mut entries = Vec::with_capacity(delivered.len());
        let erases = delivered.iter().any(|each| erases_any(&each.entry.body));
        for each in &mut *delivered {
            entries.push(self.perform_entry(each)?);
        }
        if let (Some(first), Some(last)) = (delivered.first(), delivered.last()) {
            move_place(self.conn, first.position - 1, last)?;
        }
        self.finish_writes(erases)?;
        Ok(entries)
    }

    fn perform_entry(&mut self, delivered: &mut Delivered) -> rusqlite::Result<AppliedEntry> {
        let Entry { node, life, n, body } = &mut delivered.entry;
        let conn = self.conn;
        if let EntryBody::Genesis { epoch, level } = body {
            if delivered.position > 1 {
                return Ok(AppliedEntry::Ignored(Ignored::Misplaced));
            }
            metadata::set_epoch(conn, epoch)?;
            if *level > FIRST_LEVEL {
                raise(conn, &mut self.writer_state.log, *level)?;
            }
            return Ok(AppliedEntry::Begun);
        }
        // A database that begins with such an entry has its rows already, one that has ended reads no further, and one that may not go on
        // is not given an entry that says so.
        let has_no_rows =
            matches!(body, EntryBody::Continued { .. } | EntryBody::End | EntryBody::Skipped { .. });
        if delivered.position == 1 || has_no_rows {
            return Ok(AppliedEntry::Ignored(Ignored::Misplaced));
        }
        let last = of_node(conn, node)?;
        let writes = match (body, last) {
            (EntryBody::Hello { level }, last) if last.is_none_or(|last| last.life < *life) => {
                begin_life(conn, node, Last { life: *life, n: *n }, *level)?;
                return Ok(AppliedEntry::Begun);
            }
            (_, Some(last)) if last.life == *life && *n <= last.n => {
                return Ok(AppliedEntry::Ignored(Ignored::Repeated));
            }
            (_, Some(last)) if last.life == *life && *n > last.n + 1 => {
                return Ok(AppliedEntry::Ignored(Ignored::Early));
            }
            (EntryBody::Level { level }, Some(last)) if last.life == *life => {
                set_last(conn, node, *n)?;
                if !may_raise(conn, *level)? {
                    return Ok(AppliedEntry::Performed(Vec::new()));
                }
                raise(conn, &mut self.writer_state.log, *level)?;
                return Ok(AppliedEntry::Raised(*level));
            }
            (EntryBody::Writes(writes), Some(last)) if last.life == *life => writes,
            _ => return Ok(AppliedEntry::Ignored(Ignored::OtherLife)),
        };
        set_last(conn, node, *n)?;
        self.perform_writes(mem::take(writes), delivered.time).map(AppliedEntry::Performed)
    }

    fn perform_writes(&mut self, writes: Vec<Write>, time: UnixMs) -> rusqlite::Result<Vec<Outcome>> {
        self.writer_state.log.time = Some(time);
        let mut open = Batch {
            conn: self.conn,
            log: &mut self.writer_state.log,
            cache: &mut self.writer_state.cache,
            insert: None,
        };
        let mut outcomes = Vec::with_capacity(writes.len());
        for mut write in writes {
            write.hold_to(time);
            let written = open.perform(write)?;
            outcomes.push(Outcome { result: written.result, events: written.events });
        }
        Ok(outcomes)
    }
}

fn erases_any(body: &EntryBody) -> bool {
    matches!(body, EntryBody::Writes(writes) if writes.iter().any(erases))
}

/// The last entry of a node that counted.
#[derive(Clone, Copy)]
struct Last {
    life: Life,
    n: u64,
}

fn of_node(conn: &Connection, node: &NodeName) -> rusqlite::Result<Option<Last>> {
    conn.prepare_cached("SELECT life, last_n FROM nodes WHERE name = ?1")?
        .query_row([node.as_str()], |row| Ok(Last { life: id(row, 0)?, n: number(row, 1)? }))
        .optional()
}

fn next_life(
    conn: &Connection,
    node: &NodeName,
    entropy: &mut dyn Entropy,
    now_ms: UnixMs,
) -> Result<Life, Fault> {
    let last = of_node(conn, node).map_err(|error| Fault::of(&error))?;
    let earliest = last.map_or(UnixMs(0), |last| last.life.unix_ms().after(1));
    Ok(entropy.id(now_ms.max(earliest)))
}

fn begin_life(conn: &Connection, node: &NodeName, last: Last, level: u32) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO nodes (name, life, last_n, level) VALUES (?1, ?2, ?3, ?4)")?
        .execute((node.as_str(), last.life.to_bytes(), int(last.n), level))?;
    Ok(())
}

fn set_last(conn: &Connection, node: &NodeName, n: u64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE nodes SET last_n = ?2 WHERE name = ?1")?.execute((node.as_str(), int(n)))?;
    Ok(())
}

/// See [`Store::place`].
pub fn read(conn: &Connection) -> rusqlite::Result<Option<Place>> {
    conn.prepare_cached("SELECT log, position, chain, level FROM place")?
        .query_row([], |row| {
            let chain = Chain::from_bytes(row.get(2)?);
            Ok(Place { log: text(row, 0)?, position: number(row, 1)?, chain, level: row.get(3)? })
        })
        .optional()
}

/// An empty database of a natter alone may have a later schema than a log begins with.
fn enter(conn: &Connection, log: &str) -> rusqlite::Result<bool> {
    let is_empty: bool = conn.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM profiles) AND NOT EXISTS (SELECT 1 FROM place)",
        [],
        |row| row.get(0),
    )?;
    let enters = is_empty && migrations::version(conn)? == migrations::of_level(FIRST_LEVEL);
    if enters {
        set(conn, &Place { log: log.to_owned(), position: 0, chain: Chain::START, level: FIRST_LEVEL })?;
    }
    Ok(enters)
}

/// Whether the level is not in force, and every node knows it.
fn may_raise(conn: &Connection, level: u32) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT ?1 > level AND NOT EXISTS (SELECT 1 FROM nodes WHERE level BETWEEN 1 AND ?1 - 1) FROM place",
    )?
    .query_row([level], |row| row.get(0))
}

/// See [`Store::raises`].
fn raises(conn: &Connection, entry: &Entry) -> rusqlite::Result<Option<u32>> {
    let EntryBody::Level { level } = entry.body else { return Ok(None) };
    let last = of_node(conn, &entry.node)?;
    let is_next = last.is_some_and(|last| last.life == entry.life && last.n + 1 == entry.n);
    Ok((is_next && may_raise(conn, level)?).then_some(level))
}

/// See [`Store::raisable`].
fn raisable(conn: &Connection, node: &NodeName) -> rusqlite::Result<Option<u32>> {
    let level = conn
        .prepare_cached(
            "SELECT min(level) FROM nodes WHERE level > 0 AND EXISTS (SELECT 1 FROM duty WHERE node = ?1)",
        )?
        .query_row([node.as_str()], |row| row.get::<_, Option<u32>>(0))?;
    let Some(level) = level else { return Ok(None) };
    Ok(may_raise(conn, level)?.then_some(level))
}

/// The level is in force from here on, and the schema is that of the level.
fn raise(conn: &Connection, log: &mut Log, level: u32) -> rusqlite::Result<()> {
    migrations::take_steps(conn, migrations::of_level(level))?;
    conn.execute("UPDATE place SET level = ?1", [level])?;
    log.level = level;
    Ok(())
}

/// Begins to follow a log, from this place on.
pub fn set(conn: &Connection, place: &Place) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO place (only_row, log, position, chain, level) VALUES (1, ?1, ?2, ?3, ?4)",
        (&place.log, int(place.position), place.chain.to_bytes(), place.level),
    )?;
    Ok(())
}

/// See [`Store::skip`].
pub fn skip(conn: &Connection) -> rusqlite::Result<Option<Skip>> {
    conn.prepare_cached("SELECT position, chain FROM skip")?
        .query_row([], |row| Ok(Skip { position: number(row, 0)?, chain: Chain::from_bytes(row.get(1)?) }))
        .optional()
}

/// The next entry to be skipped.
pub fn set_skip(conn: &Connection, skip: Skip) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO skip (only_row, position, chain) VALUES (1, ?1, ?2)",
        (int(skip.position), skip.chain.to_bytes()),
    )?;
    Ok(())
}

/// The nodes that have written, and the highest level that each knows; 0 for one that is not waited for.
pub fn nodes(conn: &Connection) -> rusqlite::Result<Vec<(String, u32)>> {
    conn.prepare("SELECT name, level FROM nodes ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Fails unless the place is where the entries begin, which is a bug of the caller.
fn move_place(conn: &Connection, from: u64, to: &Delivered) -> rusqlite::Result<()> {
    let moved = conn
        .prepare_cached("UPDATE place SET position = ?2, chain = ?3 WHERE position = ?1")?
        .execute((int(from), int(to.position), to.chain.to_bytes()))?;
    if moved == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(moved)) }
}
