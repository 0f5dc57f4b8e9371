//! Search: the messages of a viewer's conversations that contain all words of a query, newest first.
//!
//! Owns the scan through conversations, blocks and texts, and its cost limit. The index only says where to look: each
//! message that is shown was read and compared with its current text.
//!
//! Every conversation is scanned from its newest message down: first the texts that are in no block of the index yet, then
//! block by block. The conversation whose unread part may hold the newest message is next, so results are found in order,
//! and a scan can stop anywhere: `next` is the seq below which it continues.
//! Invariant: a search shows only what it reads from `messages`, so that an index that lags shows less, but never erased
//! content. Messages that the viewer does not see change neither the cost nor `next`: both would say what is in them.

use std::collections::BinaryHeap;
use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::StoreOptions;
use super::block;
use super::conversations;
use super::fault::{FaultLog, Stop};
use super::index_file;
use super::messages;
use super::page::{Budget, message_bytes};
use super::profiles::{self, Names};
use super::value::{id, int, number};
use crate::base::words::Query;
use crate::limits::CacheSizes;
use crate::model::id::ConversationId;
use crate::model::message::{FoundMessages, SearchMessages};
use crate::model::operation::Refusal;

/// Different words of a query that count. Further words are ignored, so that a match of the first ones is found.
const SEARCH_WORDS_MAX: usize = 16;

/// Messages of one conversation that a search reads because they are in no block. A conversation has fewer unless the index
/// lags or is being rebuilt. Above it: they are skipped, and the answer says that it is incomplete.
const TEXTS_MAX: u32 = 2_048;
/// Maximum cost of one search, in texts read and compared (some microseconds each): a few tens of milliseconds. The
/// necessary minimum, one lookup for each of the viewer's conversations, may be higher. Above it: `next` continues.
const COST_MAX: u64 = 8_192;
/// The cost of a block: this many texts, and one more for each KiB.
const BLOCK_COST: u64 = 4;
/// This many conversations cost as much as one text, before any of them is scanned.
const CONVERSATIONS_A_TEXT: u64 = 4;

/// A reader's access to the index: opened when it is first needed, and again when its file was replaced.
pub struct IndexReader {
    path: PathBuf,
    caches: CacheSizes,
    open: Option<(Connection, Option<(u64, u64)>)>,
    faults: FaultLog,
}

impl IndexReader {
    pub fn new(options: &StoreOptions) -> IndexReader {
        IndexReader {
            path: index_file::path(&options.path),
            caches: options.caches,
            open: None,
            faults: FaultLog::new("a search in the index"),
        }
    }

    /// `None` while there is no usable index: then only the newest messages are searched.
    fn connection(&mut self, natter: &Connection) -> Option<&Connection> {
        let identity = index_file::identity(&self.path);
        if self.open.as_ref().is_none_or(|(_, opened)| *opened != identity) {
            self.open = None;
            match index_file::open_reader(&self.path, natter, self.caches) {
                Ok(opened) => self.open = opened.map(|conn| (conn, identity)),
                Err(error) => drop(self.faults.begins(&error)),
            }
        }
        self.open.as_ref().map(|(conn, _)| conn)
    }
}

/// The scan of one conversation.
struct Scan {
    key: i64,
    id: ConversationId,
    last_n: u64,
    /// The viewer sees no message before this one.
    first_n: u64,
    /// Its seq, or the least seq.
    floor: u64,
    /// Messages below this seq are not scanned yet.
    below: u64,
    /// Seqs above `below` that may match, the oldest first.
    found: Vec<u64>,
    /// Messages that are in no block have been scanned.
    in_blocks: bool,
}

impl Scan {
    /// The seq of the newest message that this scan may still find, or a greater one. `None` at its end.
    fn newest(&self) -> Option<u64> {
        self.found.last().copied().or_else(|| self.below.checked_sub(1).filter(|seq| *seq >= self.floor))
    }
}

/// The common state of all scans of a search.
struct Search<'a> {
    natter: &'a Connection,
    index: Option<&'a Connection>,
    query: Query,
    cost: u64,
    complete: bool,
}

/// Messages of the viewer's conversations that contain every word; newest first.
pub fn search(
    natter: &Connection,
    reader: &mut IndexReader,
    search: SearchMessages,
) -> Result<FoundMessages, Stop> {
    let viewer = profiles::key(natter, search.viewer)?.ok_or(Refusal::Unauthorized)?;
    let conversation = match search.conversation {
        Some(conversation) => {
            let readable = conversations::readable(natter, search.viewer, conversation)?;
            Some(readable.ok_or(Refusal::NotFound)?.key)
        }
        None => None,
    };
    let query = Query::new(search.query.expose(), SEARCH_WORDS_MAX);
    if query.is_empty() {
        return Ok(FoundMessages { messages: Vec::new(), next: None, complete: true });
    }
    let before = search.before.unwrap_or(u64::MAX);
    let scans = scans(natter, viewer, conversation, before)?;
    let with_index = Search { natter, index: reader.connection(natter), query, cost: 0, complete: true };
    match with_index.run(scans, before, search.limit) {
        Err(SearchFault::Index(error)) => {
            reader.faults.begins(&error);
            reader.open = None;
        }
        Err(SearchFault::Natter(stop)) => return Err(stop),
        Ok(found) => {
            if reader.open.is_some() {
                reader.faults.is_over();
            }
            return Ok(found);
        }
    }
    // The newest messages are searched without the index.
    let query = Query::new(search.query.expose(), SEARCH_WORDS_MAX);
    let scans = self::scans(natter, viewer, conversation, before)?;
    let without = Search { natter, index: None, query, cost: 0, complete: true };
    without.run(scans, before, search.limit).map_err(|fault| match fault {
        SearchFault::Index(error) => Stop::Failed(error),
        SearchFault::Natter(stop) => stop,
    })
}

/// The file whose fault ended a search: after a fault of the index, the search still answers without it.
enum SearchFault {
    Index(rusqlite::Error),
    Natter(Stop),
}

impl From<rusqlite::Error> for SearchFault {
    fn from(error: rusqlite::Error) -> SearchFault {
        SearchFault::Natter(Stop::Failed(error))
    }
}

/// The scans of the conversations in which the viewer sees a message. Rows of `messages` are never deleted, so that the
/// first message that a viewer sees has one, also as a tombstone.
fn scans(
    natter: &Connection,
    viewer: i64,
    conversation: Option<i64>,
    before: u64,
) -> rusqlite::Result<Vec<Scan>> {
    natter
        .prepare_cached(
            "SELECT c.key, c.id, c.last_n, c.activity, m.first_n, \
             iif(m.first_n > 1, (SELECT seq FROM messages WHERE conversation = c.key AND n = m.first_n), 1) \
             FROM memberships m JOIN conversations c ON c.key = m.conversation \
             WHERE m.profile = ?1 AND (?2 IS NULL OR m.conversation = ?2) AND m.first_n <= c.last_n",
        )?
        .query_map((viewer, conversation), |row| {
            Ok(Scan {
                key: row.get(0)?,
                id: id(row, 1)?,
                last_n: number(row, 2)?,
                first_n: number(row, 4)?,
                floor: number(row, 5)?,
                // Its last message has the seq of its activity, or an older one.
                below: before.min(number(row, 3)? + 1),
                found: Vec::new(),
                in_blocks: false,
            })
        })?
        .collect()
}

impl Search<'_> {
    fn run(mut self, mut scans: Vec<Scan>, before: u64, limit: u32) -> Result<FoundMessages, SearchFault> {
        self.cost = scans.len() as u64 / CONVERSATIONS_A_TEXT;
        let (mut names, mut page) = (Names::default(), Budget::new(limit));
        let mut found = FoundMessages { messages: Vec::new(), next: None, complete: true };
        let mut order: BinaryHeap<(u64, usize)> =
            scans.iter().enumerate().filter_map(|(at, scan)| Some((scan.newest()?, at))).collect();
        while let Some((newest, at)) = order.pop() {
            // Progress is required: the next search must begin below the start of this one.
            if self.cost >= COST_MAX && newest + 1 < before {
                found.next = Some(newest + 1);
                break;
            }
            let scan = &mut scans[at];
            if let Some(seq) = scan.found.pop() {
                if self.holds(scan, seq)? {
                    let message = messages::of_seq(self.natter, &mut names, scan.id, seq)?;
                    let message = message.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                    if !page.take(message_bytes(&message)) {
                        found.next = found.messages.last().map(|message| message.seq);
                        break;
                    }
                    found.messages.push(message);
                }
            } else {
                self.descend(scan)?;
            }
            order.extend(scan.newest().map(|newest| (newest, at)));
        }
        found.complete = self.complete;
        Ok(found)
    }

    /// Whether the viewer sees the message, and its current text matches, as the index says.
    fn holds(&mut self, scan: &Scan, seq: u64) -> rusqlite::Result<bool> {
        self.cost += 1;
        let holds = self
            .natter
            .prepare_cached(
                "SELECT body FROM messages WHERE seq = ?1 AND conversation = ?2 AND n >= ?3 AND deleted_at IS NULL",
            )?
            .query_row((int(seq), scan.key, int(scan.first_n)), |row| Ok(self.matches(row.get_ref(0)?)))
            .optional()?;
        Ok(holds.unwrap_or_default())
    }

    fn matches(&self, body: ValueRef<'_>) -> bool {
        matches!(body, ValueRef::Text(bytes) if std::str::from_utf8(bytes).is_ok_and(|text| self.query.matches(text)))
    }

    /// Scans the next part of a conversation.
    fn descend(&mut self, scan: &mut Scan) -> Result<(), SearchFault> {
        let last = match self.index {
            Some(index) => last_in_block(index, scan.key, scan.below).map_err(SearchFault::Index)?,
            None => None,
        };
        // A block of hidden messages is not read.
        let last = last.filter(|last| *last >= scan.floor);
        if !std::mem::replace(&mut scan.in_blocks, true) {
            let last = last.unwrap_or_default();
            if scan.below > last + 1 {
                return Ok(self.read_texts(scan, last)?);
            }
        }
        match (self.index, last) {
            (Some(index), Some(_)) => self.read_block(index, scan).map_err(SearchFault::Index),
            _ => {
                scan.below = 0;
                Ok(())
            }
        }
    }

    /// Reads the messages after the last block.
    fn read_texts(&mut self, scan: &mut Scan, last: u64) -> rusqlite::Result<()> {
        let mut statement = self.natter.prepare_cached(
            "SELECT n, seq, body FROM messages WHERE conversation = ?1 AND n BETWEEN ?2 AND ?3 ORDER BY n DESC LIMIT ?4",
        )?;
        let mut rows = statement.query((scan.key, int(scan.first_n), int(scan.last_n), TEXTS_MAX + 1))?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            let seq = number(row, 1)?;
            if seq <= last {
                break;
            }
            if read == TEXTS_MAX {
                self.complete = false;
                break;
            }
            read += 1;
            if seq < scan.below && self.matches(row.get_ref(2)?) {
                scan.found.push(seq);
            }
        }
        self.cost += u64::from(read);
        scan.found.reverse();
        scan.below = last + 1;
        Ok(())
    }

    fn read_block(&mut self, index: &Connection, scan: &mut Scan) -> rusqlite::Result<()> {
        let mut statement = index.prepare_cached(
            "SELECT first, data FROM blocks WHERE conversation = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1",
        )?;
        let block = statement
            .query_row((scan.key, int(scan.below)), |row| {
                let data = row.get_ref(1)?.as_blob()?;
                Ok((number(row, 0)?, block::candidates(data, &self.query)?, data.len() as u64))
            })
            .optional()?;
        // The block was there a moment ago: the index is being rebuilt.
        let Some((first, mut candidates, bytes)) = block else {
            self.complete = false;
            scan.below = 0;
            return Ok(());
        };
        self.cost += BLOCK_COST + bytes / 1_024;
        candidates.retain(|seq| (scan.floor..scan.below).contains(seq));
        scan.found = candidates;
        scan.below = first;
        Ok(())
    }
}

/// The last message of the newest block that begins below a seq.
fn last_in_block(index: &Connection, conversation: i64, below: u64) -> rusqlite::Result<Option<u64>> {
    index
        .prepare_cached(
            "SELECT last FROM blocks WHERE conversation = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1",
        )?
        .query_row((conversation, int(below)), |row| number(row, 0))
        .optional()
}
