//! Whether Litestream copies the WAL, or only its tables are left from an earlier time.
//!
//! Litestream raises a counter in the database with each of its checkpoints, at least one a minute while the database is
//! written. `/proc` shows its locks, but not from another container. So it counts as running while either shows it, and as not
//! running when the WAL was long for [`SILENT_MAX`] and neither did. Owns this decision; what follows from it is left to
//! `checkpoints`.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

/// How long the WAL may be long without a checkpoint of Litestream: five times its default interval. Its `monitor-interval` and
/// its attempts to get the write lock add seconds.
const SILENT_MAX: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The table whose existence shows that Litestream has copied this database.
const LOCK_TABLE: &str = "_litestream_lock";
/// The table of the counter.
const COUNTER_TABLE: &str = "_litestream_seq";

#[derive(Default)]
pub(super) struct Litestream {
    /// The counter at the last look. The outer `None` before the first one.
    counter: Option<Option<i64>>,
    presence: Presence,
    look_at: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
enum Presence {
    /// The WAL is short, so Litestream has nothing to do.
    #[default]
    Unknown,
    /// The WAL is long, and this is when Litestream was last seen, or when the WAL became long.
    SeenAt(Instant),
    /// It was not seen for too long.
    Absent,
}

/// Whether Litestream has its tables in this database.
pub(super) fn has_tables(conn: &Connection) -> rusqlite::Result<bool> {
    has_table(conn, LOCK_TABLE)
}

fn has_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([name])
}

impl Litestream {
    /// Whether the checkpoints of a long WAL are left to it.
    pub(super) fn is_running(
        &mut self,
        conn: &Connection,
        now: Instant,
        is_open_elsewhere: impl Fn() -> bool,
    ) -> rusqlite::Result<bool> {
        if !has_tables(conn)? {
            *self = Litestream::default();
            return Ok(false);
        }
        if self.look_at.is_none_or(|at| at <= now) {
            self.look_at = Some(now + LOOK_EVERY);
            self.look(counter(conn)?, now, is_open_elsewhere());
        }
        Ok(!matches!(self.presence, Presence::Absent))
    }

    fn look(&mut self, counter: Option<i64>, now: Instant, is_open_elsewhere: bool) {
        let moves = self.counter.replace(counter) != Some(counter);
        self.presence = match self.presence {
            _ if moves || is_open_elsewhere => Presence::SeenAt(now),
            Presence::Unknown => Presence::SeenAt(now),
            Presence::SeenAt(at) if now >= at + SILENT_MAX => {
                log::info!(
                    "storage: the database has Litestream's tables, but no checkpoint of Litestream in {} s: \
                     the WAL is truncated as without it",
                    SILENT_MAX.as_secs()
                );
                Presence::Absent
            }
            presence => presence,
        };
    }

    /// The WAL is short: no checkpoint is expected.
    pub(super) fn rest(&mut self) {
        if let Presence::SeenAt(_) = self.presence {
            self.presence = Presence::Unknown;
        }
    }
}

fn counter(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_table(conn, COUNTER_TABLE)? {
        return Ok(None);
    }
    let mut counter = conn.prepare_cached("SELECT seq FROM _litestream_seq WHERE id = 1")?;
    Ok(counter.query_row([], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litestream_is_absent_when_a_long_wal_had_no_checkpoint_for_long() {
        let start = Instant::now();
        let after = |part: u32| start + SILENT_MAX / 4 * part;
        let mut litestream = Litestream::default();
        let mut running = |at: u32, counter: i64, is_open_elsewhere: bool| {
            litestream.look(Some(counter), after(at), is_open_elsewhere);
            !matches!(litestream.presence, Presence::Absent)
        };
        assert!(running(0, 1, false), "the WAL became long now");
        assert!(running(3, 1, false));
        assert!(running(4, 2, false), "its checkpoint");
        assert!(running(7, 2, false));
        assert!(running(8, 2, true), "another process has the database open");
        assert!(running(11, 2, false));
        assert!(!running(12, 2, false));
        assert!(!running(13, 2, false), "it stays absent");
        assert!(running(14, 3, false), "until its next checkpoint");
        assert!(running(17, 3, false));
        assert!(!running(18, 3, false));
        litestream.rest();
        assert!(matches!(litestream.presence, Presence::Absent), "also when the WAL is short");
        litestream.look(Some(4), after(19), false);
        litestream.rest();
        litestream.look(Some(4), after(40), false);
        assert!(matches!(litestream.presence, Presence::SeenAt(_)), "a short WAL needs no checkpoint");
    }
}
