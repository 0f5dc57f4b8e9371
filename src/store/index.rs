//! The search index follows the messages: it reads committed messages and writes blocks of terms into its own file.
//!
//! Owns how far it has read, and which erased content may still be in its file. Owns no thread and no clock, and does not
//! write to `natter.db`: it only reports which rows of `search_changes` are done.
//!
//! A block holds the terms of consecutive messages of one conversation. The first is made when a conversation has 16
//! messages that are in no block. Four blocks of one size are joined into one of four times the size, up to 1,024 messages.
//! A search reads messages that are in no block itself, so that it does not wait for the index.
//!
//! ```text
//! step: look (one snapshot of natter.db: changes, then new messages) → apply (one transaction here)
//! maintain: TRUNCATE, so that erased content is in neither the file nor its WAL → those changes are done
//! ```
//! Invariant: a change is done only when no file of the index holds what it erased. Applying a change again has no effect.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, ffi};

use super::block::{self, Damaged};
use super::fault::{Fault, FaultLog, OpenFault, with_cause};
use super::value::{int, number};
use super::{StoreOptions, connection, index_file};

/// Messages of the smallest block: a search reads at most this many unindexed messages of each conversation. Smaller blocks
/// would be more numerous and written more often.
const BLOCK_MESSAGES: u64 = 16;
/// Blocks of one size that become one.
const BLOCKS_JOINED: usize = 4;
/// Messages of the largest block: half of it would double the cost of rare words, twice of it would double the cost of a
/// change.
const BLOCK_MESSAGES_MAX: u64 = 1_024;
/// Above this many bytes, blocks are not joined: long texts stay in smaller blocks.
const BLOCK_BYTES_MAX: usize = 262_144;
/// Messages looked at in one step.
const STEP_MESSAGES: u32 = 1_024;
/// Blocks begun in one step, which takes some milliseconds. The rest waits for the next step.
const STEP_BLOCKS: usize = 32;
/// Messages that are read again after a crash, at most: while posts are rare, most steps write nothing.
const UNSTORED_MESSAGES_MAX: u64 = 1_024;
/// Changes applied in one step.
const STEP_CHANGES: u32 = 64;
/// Time between two checkpoints because of erased content: erased content is gone within a minute, and a flood of erasures
/// costs six checkpoints a minute.
const ERASE_EVERY: Duration = Duration::from_secs(10);
/// Milliseconds a checkpoint waits for a search, which reads one block at a time. After that it is tried again.
const CHECKPOINT_BUSY_MS: u64 = 100;

const _: () = assert!(BLOCK_MESSAGES * (BLOCKS_JOINED as u64).pow(3) == BLOCK_MESSAGES_MAX);

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// There is more to do at once.
    pub more: bool,
    /// Rows of `search_changes` up to this one are done and may be deleted.
    pub done: u64,
    /// There is work left although no new row arrives: an erasure waits for its checkpoint.
    pub waits: bool,
}

pub struct Index {
    options: StoreOptions,
    path: PathBuf,
    natter: Connection,
    /// The inode of that file: the writer replaces the file after a failed sync.
    inode: u64,
    file: Option<Connection>,
    /// Messages up to this seq were read since the file was opened, and its state says so with the next block: what makes no block is
    /// read again after a crash.
    read: u64,
    /// The last change that this process applied, and the last that is done.
    applied: u64,
    done: u64,
    /// No checkpoint because of erased content before this time.
    erase_at: Option<Instant>,
    faults: FaultLog,
}

/// The writes that one snapshot of `natter.db` requires.
#[derive(Default)]
struct Work {
    changes: Vec<Change>,
    seals: Vec<Seal>,
    /// The last message that was read, and the high half of its id.
    through: Option<(u64, i64)>,
    applied: u64,
    more: bool,
}

struct Change {
    message: u64,
    conversation: i64,
    body: Option<String>,
}

/// The messages of a conversation that become a block, up to the one at position `n`.
struct Seal {
    conversation: i64,
    n: u64,
    messages: Vec<(u64, Option<String>)>,
}

/// The file that a fault belongs to.
enum FileFault {
    Natter(rusqlite::Error),
    Index(rusqlite::Error),
}

impl FileFault {
    fn of_index(error: rusqlite::Error) -> FileFault {
        FileFault::Index(with_cause(error))
    }
}

impl Index {
    /// A [`super::Store`] must have opened the database before. The first step opens or creates the file of the index: the
    /// server starts even if that fails.
    pub fn open(options: &StoreOptions) -> Result<Index, OpenFault> {
        let inode = connection::inode(&options.path)
            .map_err(|error| OpenFault::Failed { path: options.path.clone(), detail: error.to_string() })?;
        Ok(Index {
            options: options.clone(),
            inode,
            path: index_file::path(&options.path),
            natter: connection::open_reader(options)?,
            file: None,
            read: 0,
            applied: 0,
            done: 0,
            erase_at: None,
            faults: FaultLog::new("the search index"),
        })
    }

    /// One bounded step of the outstanding work. After a fault the next step tries the same again.
    pub fn step(&mut self, now: Instant) -> Result<Step, Fault> {
        if connection::inode(&self.options.path).ok() != Some(self.inode) {
            let opened = Index::open(&self.options).map_err(|fault| {
                log::error!("storage: the search index can't follow the database to its new file: {fault}");
                Fault::Io
            })?;
            (self.natter, self.inode) = (opened.natter, opened.inode);
        }
        match self.advance(now) {
            Ok(more) => {
                self.faults.is_over();
                Ok(Step { more, done: self.done, waits: self.applied > self.done })
            }
            Err(FileFault::Natter(error)) => Err(self.faults.begins(&error)),
            Err(FileFault::Index(error)) => {
                let fault = self.faults.begins(&error);
                self.give_up(fault);
                // A new file repairs damage of the index, but no other fault.
                Err(if fault == Fault::Corrupt { Fault::Io } else { fault })
            }
        }
    }

    /// Closes the file, so that it is opened again. A damaged file is removed, and so is a file from which erased content
    /// can't be removed. The index is rebuilt when that is possible.
    fn give_up(&mut self, fault: Fault) {
        self.file = None;
        let holds_erased = self.applied > self.done || self.has_changes().unwrap_or(true);
        let must_go = fault == Fault::Corrupt || fault == Fault::Full && holds_erased;
        if !must_go || !self.path.exists() {
            return;
        }
        match index_file::discard(&self.path) {
            Ok(()) => log::warn!("storage: the search index is discarded and will be rebuilt"),
            Err(error) => log::error!("storage: the search index can't be removed: {error}"),
        }
    }

    fn has_changes(&self) -> rusqlite::Result<bool> {
        self.natter.prepare_cached("SELECT 1 FROM search_changes LIMIT 1")?.exists([])
    }

    fn has_messages(&self) -> rusqlite::Result<bool> {
        self.natter.prepare_cached("SELECT 1 FROM messages LIMIT 1")?.exists([])
    }

    fn advance(&mut self, now: Instant) -> Result<bool, FileFault> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open_file()?,
        };
        let file = self.file.insert(file);
        let stored = through(file).map_err(FileFault::of_index)?;
        let work = look(&self.natter, stored.max(self.read), self.applied).map_err(FileFault::Natter)?;
        let read = work.through.map_or(self.read, |(seq, _)| seq);
        if !work.changes.is_empty() || !work.seals.is_empty() || read >= stored + UNSTORED_MESSAGES_MAX {
            apply(file, &work).map_err(FileFault::of_index)?;
        }
        self.read = read;
        self.applied = self.applied.max(work.applied);
        if self.applied > self.done && self.erase_at.is_none_or(|at| at <= now) {
            self.erase_at = Some(now + ERASE_EVERY);
            if truncate(file).map_err(FileFault::of_index)? {
                self.done = self.applied;
            }
        }
        Ok(work.more)
    }

    fn open_file(&mut self) -> Result<Connection, FileFault> {
        let opened = match index_file::open_writer(&self.path, &self.natter, self.options.caches)
            .map_err(FileFault::of_index)?
        {
            Some(opened) => opened,
            None => {
                let epoch = index_file::epoch(&self.natter).map_err(FileFault::Natter)?;
                let has_messages = self.has_messages().map_err(FileFault::Natter)?;
                log::info!(
                    "storage: the search index is {}",
                    if has_messages { "rebuilt" } else { "created" }
                );
                index_file::make(&self.path, &epoch).map_err(FileFault::of_index)?;
                let opened = index_file::open_writer(&self.path, &self.natter, self.options.caches)
                    .map_err(FileFault::of_index)?;
                opened.ok_or_else(|| FileFault::Index(damaged()))?
            }
        };
        // A crash may have left changes in the file's WAL: changes that were applied before count only after the WAL is
        // truncated.
        self.applied = self.done;
        self.read = 0;
        truncate(&opened).map_err(FileFault::of_index)?;
        Ok(opened)
    }
}

fn damaged() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_CORRUPT),
        Some("a block of the index".to_owned()),
    )
}

impl From<Damaged> for rusqlite::Error {
    fn from(_: Damaged) -> rusqlite::Error {
        damaged()
    }
}

/// The seq up to which messages were read.
pub fn through(file: &Connection) -> rusqlite::Result<u64> {
    file.prepare_cached("SELECT through FROM state")?.query_row([], |row| number(row, 0))
}

/// Truncates the WAL. Returns whether that was possible.
fn truncate(file: &Connection) -> rusqlite::Result<bool> {
    connection::set_busy_timeout(file, CHECKPOINT_BUSY_MS)?;
    file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

// ---- reading natter.db ---------------------------------------------------------------------------

fn look(natter: &Connection, through: u64, applied: u64) -> rusqlite::Result<Work> {
    // The last look failed: its snapshot is too old for this one.
    if !natter.is_autocommit() {
        natter.execute_batch("ROLLBACK")?;
    }
    natter.prepare_cached("BEGIN")?.execute([])?;
    let work = look_within(natter, through, applied)?;
    natter.prepare_cached("COMMIT")?.execute([])?;
    Ok(work)
}

fn look_within(natter: &Connection, through: u64, applied: u64) -> rusqlite::Result<Work> {
    let mut work = Work { applied, ..Work::default() };
    changes(natter, &mut work)?;
    let mut statement = natter.prepare_cached(
        "SELECT seq, id_high, conversation, n FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query((int(through), STEP_MESSAGES))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        seen += 1;
        work.through = Some((number(row, 0)?, row.get(1)?));
        let n = number(row, 3)?;
        if n.is_multiple_of(BLOCK_MESSAGES) {
            let conversation = row.get(2)?;
            work.seals.push(Seal { conversation, n, messages: newest(natter, conversation, n)? });
            if work.seals.len() == STEP_BLOCKS {
                work.more = true;
                return Ok(work);
            }
        }
    }
    work.more |= seen == STEP_MESSAGES;
    Ok(work)
}

/// Messages that were edited or erased, with their current text.
fn changes(natter: &Connection, work: &mut Work) -> rusqlite::Result<()> {
    let mut statement = natter.prepare_cached(
        "SELECT s.op, s.message, m.conversation, m.body FROM search_changes s JOIN messages m ON m.seq = s.message \
         WHERE s.op > ?1 ORDER BY s.op LIMIT ?2",
    )?;
    let mut rows = statement.query((int(work.applied), STEP_CHANGES))?;
    while let Some(row) = rows.next()? {
        work.applied = number(row, 0)?;
        work.changes.push(Change {
            message: number(row, 1)?,
            conversation: row.get(2)?,
            body: text(row, 3)?,
        });
    }
    work.more = work.changes.len() == STEP_CHANGES as usize;
    Ok(())
}

/// The messages of a conversation that make a block, up to position `n`.
fn newest(natter: &Connection, conversation: i64, n: u64) -> rusqlite::Result<Vec<(u64, Option<String>)>> {
    natter
        .prepare_cached(
            "SELECT seq, body FROM messages WHERE conversation = ?1 AND n > ?2 AND n <= ?3 ORDER BY n",
        )?
        .query_map((conversation, int(n.saturating_sub(BLOCK_MESSAGES)), int(n)), |row| {
            Ok((number(row, 0)?, text(row, 1)?))
        })?
        .collect()
}

/// A text that can't be read any more has no terms. The rest is indexed.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    })
}

// ---- writing the index ---------------------------------------------------------------------------

fn apply(file: &Connection, work: &Work) -> rusqlite::Result<()> {
    file.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for change in &work.changes {
        replace(file, change)?;
    }
    for seal in &work.seals {
        add(file, seal)?;
    }
    if let Some((through, id_high)) = work.through {
        file.prepare_cached("UPDATE state SET through = ?1, through_id = ?2")?
            .execute((int(through), id_high))?;
    }
    file.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// A message that is in no block yet needs no change: it is indexed later with its text of that time.
fn replace(file: &Connection, change: &Change) -> rusqlite::Result<()> {
    let found = file
        .prepare_cached(
            "SELECT key, data FROM blocks WHERE conversation = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        )?
        .query_row((change.conversation, int(change.message)), |row| {
            let data = row.get_ref(1)?.as_blob()?;
            Ok((row.get::<_, i64>(0)?, block::replace(data, change.message, change.body.as_deref())?))
        })
        .optional()?;
    let Some((key, Some(data))) = found else { return Ok(()) };
    file.prepare_cached("UPDATE blocks SET data = ?2 WHERE key = ?1")?.execute((key, data))?;
    Ok(())
}

/// Adds a block, joined with the blocks of its size if it completes a larger one.
fn add(file: &Connection, seal: &Seal) -> rusqlite::Result<()> {
    let mut data = block::encode(&seal.messages);
    let mut count = BLOCK_MESSAGES;
    while count < BLOCK_MESSAGES_MAX && seal.n.is_multiple_of(count * BLOCKS_JOINED as u64) {
        let Some(older) = siblings(file, seal.conversation, count, data.len())? else { break };
        let mut parts = Vec::with_capacity(BLOCKS_JOINED);
        for (key, older) in older.into_iter().rev() {
            file.prepare_cached("DELETE FROM blocks WHERE key = ?1")?.execute([key])?;
            parts.push(older);
        }
        parts.push(data);
        data = block::join(&parts)?;
        count *= BLOCKS_JOINED as u64;
    }
    let Some((first, last)) = block::ends(&data)? else { return Ok(()) };
    file.prepare_cached(
        "INSERT INTO blocks (conversation, first, last, count, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((seal.conversation, int(first), int(last), int(count), data))?;
    Ok(())
}

/// The key of a block and its bytes.
type Stored = (i64, Vec<u8>);

/// The newest blocks of a conversation, if one more block of their size completes a larger one that is not too long.
fn siblings(
    file: &Connection,
    conversation: i64,
    count: u64,
    mut bytes: usize,
) -> rusqlite::Result<Option<Vec<Stored>>> {
    let mut statement = file.prepare_cached(
        "SELECT key, count, data FROM blocks WHERE conversation = ?1 ORDER BY first DESC LIMIT ?2",
    )?;
    let mut rows = statement.query((conversation, BLOCKS_JOINED as i64 - 1))?;
    let mut found = Vec::with_capacity(BLOCKS_JOINED);
    while let Some(row) = rows.next()? {
        let data: Vec<u8> = row.get(2)?;
        bytes += data.len();
        if number(row, 1)? != count || bytes > BLOCK_BYTES_MAX {
            return Ok(None);
        }
        found.push((row.get(0)?, data));
    }
    Ok((found.len() == BLOCKS_JOINED - 1).then_some(found))
}
