//! The baseline of the benches: only SQLite.
//!
//! One table with the columns of a message, one index, UNIQUE (conversation, n), and one transaction per batch with
//! `synchronous=FULL`. A ratio to it measures what natter adds: the look-up of the client_id, membership, read marks, answers,
//! events, JSON, sockets.

use std::path::Path;
use std::time::{Duration, Instant};

/// A message of about a hundred bytes, which is a usual length.
pub const BODY: &str =
    "A hundred bytes of text, more or less, as a person writes them when there is something to say today.";

/// The number of conversations of the rows.
const CONVERSATIONS: usize = 32;

pub struct Bare {
    conn: rusqlite::Connection,
    seq: i64,
    n: [i64; CONVERSATIONS],
    random: u64,
}

impl Bare {
    /// A new database at `path`.
    pub fn create(path: &Path) -> rusqlite::Result<Bare> {
        let conn = rusqlite::Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
             CREATE TABLE messages (seq INTEGER PRIMARY KEY, id_high INTEGER NOT NULL,
                conversation INTEGER NOT NULL, n INTEGER NOT NULL, sender INTEGER NOT NULL, client_id BLOB NOT NULL,
                reply_to INTEGER, rev INTEGER, edited_at INTEGER, deleted_at INTEGER, body TEXT,
                UNIQUE (conversation, n)) STRICT;",
        )?;
        Ok(Bare { conn, seq: 0, n: [0; CONVERSATIONS], random: 1 })
    }

    /// Commits `size` rows, and returns the time that it took.
    pub fn batch(&mut self, size: usize) -> rusqlite::Result<Duration> {
        let began = Instant::now();
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        {
            let mut insert = self.conn.prepare_cached(
                "INSERT INTO messages (seq, id_high, conversation, n, sender, client_id, reply_to, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for _ in 0..size {
                self.seq += 1;
                let conversation = self.seq as usize % CONVERSATIONS;
                self.n[conversation] += 1;
                self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                insert.execute((
                    self.seq,
                    self.random as i64,
                    conversation as i64,
                    self.n[conversation],
                    2 * conversation as i64 + self.seq % 2,
                    u128::from(self.random).to_be_bytes(),
                    None::<i64>,
                    BODY,
                ))?;
            }
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(began.elapsed())
    }
}
