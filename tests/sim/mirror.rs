//! A second store that performs the same writes as the first, in other batches and with restarts at other times. With the feature
//! `cluster`, each batch is an entry of a log on its way: sealed, opened, and read from its bytes.
//!
//! Owns the writes that it has not performed yet, and the comparison of both databases. What a write answers and stores must be a
//! function of the writes before it: not of the batch that it is in, of a restart, of the order in which SQLite finds rows, or
//! of what the search index has applied. In half of the runs the mirror is a node of a cluster and gets the writes as the bytes of
//! sealed entries.
//! Invariant: it draws from its own source of randomness, so that the run is the same without it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

#[cfg(feature = "cluster")]
use natter::base::id::Id;
#[cfg(feature = "cluster")]
use natter::base::seal::SealKey;
#[cfg(feature = "cluster")]
use natter::model::entry::{Entry, EntryBody, NodeName};
use natter::model::operation::{Lane, Outcome, Write};
use natter::store::{Store, StoreOptions};
use rusqlite::Connection;
use rusqlite::types::Value;

#[cfg(feature = "cluster")]
use super::entries::Entries;
use super::random::Rng;
use super::runtime::Dir;
use crate::support::{START_MS, Seeded};

/// The writer of the mirror takes batches of at most this many.
const BATCH_MAX: usize = 40;
/// How many of a thousand batches are followed by a restart.
const RESTARTS: usize = 100;

/// Tables and columns that each store has for itself.
const OWN_TABLES: [&str; 5] = ["search", "sabotage", "sqlite_", "place", "nodes"];
const OWN_COLUMNS: [(&str, &str); 5] = [
    ("state", "epoch"),
    ("state", "running"),
    ("state", "touched"),
    ("state", "password_tag"),
    // A lower bound, raised at the end of some batches.
    ("state", "head"),
];
/// The head of the log as the store reads it at a start.
const HEAD: &str = "SELECT max(head, ifnull((SELECT max(seq) FROM messages), 0), ifnull((SELECT max(seq) FROM log), 0)) FROM state";

/// A fault of a test that the comparison must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A statement fails, so that a write is answered otherwise.
    Answer,
    /// Only a row differs, which no answer shows.
    Row,
    /// A field of a write is lost on the way.
    Field,
}

impl Planted {
    fn sql(self) -> Option<&'static str> {
        match self {
            Planted::Answer => Some(
                "CREATE TRIGGER planted BEFORE INSERT ON sessions WHEN EXISTS (SELECT 1 FROM sessions) \
                 BEGIN SELECT RAISE(ABORT, 'planted'); END;",
            ),
            Planted::Row => Some(
                "CREATE TRIGGER planted AFTER INSERT ON sessions \
                 BEGIN UPDATE sessions SET created_at = created_at + 1 WHERE key = NEW.key; END;",
            ),
            Planted::Field => None,
        }
    }
}

/// A write that the first store has on disk, and its outcome there.
struct Expected {
    write: Write,
    outcome: String,
}

pub struct Mirror {
    store: Option<Store>,
    options: StoreOptions,
    _folder: Dir,
    rng: Rng,
    behind: VecDeque<Expected>,
    /// What delivers the writes to a mirror in a cluster.
    #[cfg(feature = "cluster")]
    log: Option<Entries>,
    /// Batches so far.
    batches: u64,
    loses_a_field: bool,
    /// How often it has performed each row of the contract.
    pub performed: BTreeMap<&'static str, u64>,
    pub restarts: u64,
}

impl Mirror {
    /// An empty store.
    pub fn new(mut rng: Rng) -> Mirror {
        let folder = Dir::new();
        let in_cluster = cfg!(feature = "cluster") && rng.chance(500);
        let options =
            StoreOptions { synchronous_full: false, in_cluster, ..StoreOptions::new(folder.database()) };
        let mut mirror = Mirror {
            store: None,
            options,
            _folder: folder,
            rng,
            behind: VecDeque::new(),
            #[cfg(feature = "cluster")]
            log: None,
            batches: 0,
            loses_a_field: false,
            performed: BTreeMap::new(),
            restarts: 0,
        };
        mirror.open();
        #[cfg(feature = "cluster")]
        if in_cluster {
            mirror.log = Some(Entries::begin(mirror.store.as_mut().expect("an open store")));
        }
        mirror
    }

    pub fn plant(&mut self, planted: Planted) {
        self.loses_a_field = planted == Planted::Field;
        if let Some(trigger) = planted.sql() {
            let conn = Connection::open(&self.options.path).expect("a second connection");
            conn.execute_batch(trigger).expect("a trigger");
        }
    }

    /// Its epoch, and the time of the start, are its own.
    fn open(&mut self) {
        let opened = Store::open(&self.options, &mut Seeded(self.rng.next()), START_MS);
        let (store, _) = opened.unwrap_or_else(|fault| panic!("the mirror does not open: {fault}"));
        self.store = Some(store);
    }

    /// The first store has committed this batch. What a fault refused was not performed.
    pub fn committed(&mut self, commands: &[(Lane, Write)], outcomes: &[Outcome]) {
        for ((_, write), outcome) in commands.iter().zip(outcomes) {
            if outcome.result.as_ref().is_err_and(|refusal| refusal.is_fault()) {
                continue;
            }
            self.behind.push_back(Expected { write: write.clone(), outcome: format!("{outcome:?}") });
        }
        while self.behind.len() >= BATCH_MAX {
            self.perform_some();
        }
    }

    /// One batch, whose length has nothing to do with that of the first store.
    fn perform_some(&mut self) {
        let count = self.rng.between(1, BATCH_MAX).min(self.behind.len());
        let (mut writes, mut expected) = (Vec::new(), Vec::new());
        for Expected { write, outcome } in self.behind.drain(..count) {
            *self.performed.entry(write.name()).or_default() += 1;
            expected.push((format!("{write:?}"), outcome));
            writes.push(write);
        }
        self.batches += 1;
        let mut writes = travel(writes, self.batches);
        if self.loses_a_field {
            writes.iter_mut().for_each(lose_a_field);
        }
        let outcomes = self.perform(writes);
        assert_eq!(outcomes.len(), expected.len(), "one outcome for each write");
        for ((write, expected), outcome) in expected.iter().zip(&outcomes) {
            let outcome = format!("{outcome:?}");
            assert!(
                outcome == *expected,
                "{write}\nis answered here with  {expected}\nand by the mirror with {outcome}"
            );
        }
        if self.rng.chance(RESTARTS) {
            self.restarts += 1;
            // Half of the restarts are those of a killed process, which leaves a WAL.
            let store = self.store.take().expect("an open store");
            if self.rng.chance(500) {
                assert_eq!(store.close(), Ok(()), "the mirror closes");
            }
            self.open();
            #[cfg(feature = "cluster")]
            if let (Some(log), Some(store)) = (&mut self.log, &mut self.store) {
                log.restarted(store, &mut self.rng);
            }
        }
    }

    fn perform(&mut self, writes: Vec<Write>) -> Vec<Outcome> {
        let store = self.store.as_mut().expect("an open store");
        #[cfg(feature = "cluster")]
        if let Some(log) = &mut self.log {
            return log.perform(store, &mut self.rng, writes);
        }
        let committed = store.commit(&mut writes.into_iter().map(|write| (Lane(0), write)).collect());
        assert_eq!(committed.fault, None, "the mirror has no faults");
        committed.outcomes
    }

    /// Performs what it has not performed yet, and compares all rows with those of the database in `path`.
    pub fn compare(&mut self, path: &Path) {
        while !self.behind.is_empty() {
            self.perform_some();
        }
        compare_databases(path, &self.options.path);
    }
}

/// Two stores that performed the same writes have the same rows, but for those that each has for itself.
pub fn compare_databases(first: &Path, second: &Path) {
    let open = |path: &Path| Connection::open(path).expect("a second connection");
    let (first, second) = (open(first), open(second));
    let head = |conn: &Connection| conn.query_row(HEAD, [], |row| row.get::<_, i64>(0));
    assert_eq!(head(&first), head(&second), "the head of the log differs in the second store");
    for table in tables(&first) {
        let (ours, theirs) = (rows(&first, &table), rows(&second, &table));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "a row of {table} differs in the second store");
        }
        assert_eq!(ours.len(), theirs.len(), "the second store has another number of rows of {table}");
    }
}

/// The writes as another node reads them: in the entry `n` of a log.
#[cfg(feature = "cluster")]
fn travel(writes: Vec<Write>, n: u64) -> Vec<Write> {
    let (key, count) = (SealKey::new(&[7; 32]), writes.len());
    let node = NodeName::parse("first").expect("a name");
    let entry = Entry { node, life: Id::from_u128(1), n, body: EntryBody::Writes(writes) };
    let opened = Entry::open(&key, &entry.seal(&key));
    let opened = opened.unwrap_or_else(|error| panic!("{error}: {entry:?}"));
    match opened.body {
        EntryBody::Writes(read) if read.len() == count => read,
        body => panic!("{entry:?} is read as {body:?}"),
    }
}

#[cfg(not(feature = "cluster"))]
fn travel(writes: Vec<Write>, _n: u64) -> Vec<Write> {
    writes
}

fn lose_a_field(write: &mut Write) {
    if let Write::PostMessage(post) = write {
        post.draft_mut().reply_to = None;
    }
}

fn tables(conn: &Connection) -> Vec<String> {
    let names = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").and_then(
        |mut select| select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>(),
    );
    let mut names = names.expect("the tables");
    names.retain(|name| !OWN_TABLES.iter().any(|own| name.starts_with(own)));
    names
}

/// All rows in the order of their first columns.
fn rows(conn: &Connection, table: &str) -> Vec<Vec<(String, Value)>> {
    let columns: Vec<String> = conn
        .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("the columns");
    let compared = |name: &&String| !OWN_COLUMNS.contains(&(table, name.as_str()));
    let columns: Vec<&String> = columns.iter().filter(compared).collect();
    let list = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<String>>().join(", ");
    let select = format!("SELECT {list} FROM \"{table}\" ORDER BY {list}");
    conn.prepare(&select)
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    columns.iter().enumerate().map(|(i, name)| Ok(((*name).clone(), row.get(i)?))).collect()
                })?
                .collect()
        })
        .unwrap_or_else(|error| panic!("{select}: {error}"))
}
