//! The schema's history: the steps from an empty file to the current schema.
//!
//! A released step is never changed, only followed by another. Comments between its statements may change; those inside of
//! a statement may not, because SQLite stores them in the schema, which `natter check` compares.
//!
//! A natter alone takes all steps when it opens the database. The database of a node of a cluster has the schema of the level in force,
//! and takes the steps of the next one at the entry of the log that raises it, as those of all other nodes do.
//! Invariant: an upgrade and its version number are committed in one transaction, and no step leaves a row that refers to a
//! missing row.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, TransactionBehavior, ffi};

use super::metadata;
use crate::model::node::{FIRST_LEVEL, LEVEL};

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// The step at index `i` leads to version `i + 1`.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "two people chat", sql: include_str!("migrations/001_two_people_chat.sql") },
    Migration { name: "codes and mail", sql: include_str!("migrations/002_codes_and_mail.sql") },
    Migration { name: "accounts", sql: include_str!("migrations/003_accounts.sql") },
    Migration { name: "groups", sql: include_str!("migrations/004_groups.sql") },
    Migration { name: "presence", sql: include_str!("migrations/005_presence.sql") },
    Migration { name: "uploads", sql: include_str!("migrations/006_uploads.sql") },
    Migration { name: "search", sql: include_str!("migrations/007_search.sql") },
    Migration { name: "export", sql: include_str!("migrations/008_export.sql") },
    Migration { name: "client ids in order", sql: include_str!("migrations/009_client_ids_in_order.sql") },
    Migration {
        name: "client ids as integers",
        sql: include_str!("migrations/010_client_ids_as_integers.sql"),
    },
    Migration {
        name: "search in its own file",
        sql: include_str!("migrations/011_search_in_its_own_file.sql"),
    },
    Migration {
        name: "tag of the password secret",
        sql: include_str!("migrations/012_tag_of_the_password_secret.sql"),
    },
    Migration { name: "tombstones in blocks", sql: include_str!("migrations/013_tombstones_in_blocks.sql") },
    Migration { name: "push", sql: include_str!("migrations/014_push.sql") },
    Migration { name: "mentions", sql: include_str!("migrations/015_mentions.sql") },
    Migration { name: "admins", sql: include_str!("migrations/016_admins.sql") },
    Migration { name: "invites", sql: include_str!("migrations/017_invites.sql") },
    Migration { name: "system messages", sql: include_str!("migrations/018_system_messages.sql") },
    Migration {
        name: "history for newcomers",
        sql: include_str!("migrations/019_history_for_newcomers.sql"),
    },
    Migration { name: "previews", sql: include_str!("migrations/020_previews.sql") },
    Migration { name: "forwarding", sql: include_str!("migrations/021_forwarding.sql") },
    Migration { name: "pins", sql: include_str!("migrations/022_pins.sql") },
    Migration {
        name: "files of conversations",
        sql: include_str!("migrations/023_files_of_conversations.sql"),
    },
    Migration { name: "digests", sql: include_str!("migrations/024_digests.sql") },
    Migration { name: "preferences", sql: include_str!("migrations/025_preferences.sql") },
    Migration { name: "seen before sign-out", sql: include_str!("migrations/026_seen_before_sign_out.sql") },
    Migration { name: "flags of messages", sql: include_str!("migrations/027_flags_of_messages.sql") },
    Migration { name: "cluster", sql: include_str!("migrations/028_cluster.sql") },
    Migration { name: "skipped entries", sql: include_str!("migrations/029_skipped_entries.sql") },
    Migration { name: "certificate", sql: include_str!("migrations/030_certificate.sql") },
    Migration { name: "bots", sql: include_str!("migrations/031_bots.sql") },
    Migration { name: "bot hooks", sql: include_str!("migrations/032_bot_hooks.sql") },
    Migration { name: "levels of a cluster", sql: include_str!("migrations/033_levels_of_a_cluster.sql") },
    Migration { name: "retention", sql: include_str!("migrations/034_retention.sql") },
    Migration { name: "second factor", sql: include_str!("migrations/035_second_factor.sql") },
    Migration { name: "people", sql: include_str!("migrations/036_people.sql") },
    Migration { name: "bound of the audit", sql: include_str!("migrations/037_bound_of_the_audit.sql") },
    #[cfg(feature = "next-level")]
    Migration { name: "next level", sql: include_str!("migrations/next_level.sql") },
];

/// The version of the schema of each level, from [`FIRST_LEVEL`] on. The one of a level that was released never changes: a step after it
/// belongs to another level.
const OF_LEVELS: &[i64] = &[
    37,
    #[cfg(feature = "next-level")]
    38,
];

const _: () = assert!(
    OF_LEVELS.len() as u32 == LEVEL - FIRST_LEVEL + 1 && OF_LEVELS[OF_LEVELS.len() - 1] == VERSION,
    "the last step is one of the last level"
);

/// From this version on there is a tag of the password secret.
pub(super) const PASSWORD_TAG: i64 = 12;

/// From this version on there is a place in the log of a cluster, and its level.
pub(super) const CLUSTER: i64 = 33;

/// From this version on a file may have the bytes of another one, and each has its hash.
pub(super) const FORWARDING: i64 = 21;

/// The schema version this natter writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// A database in memory with the schema after the first `version` steps.
pub(super) fn empty_of(version: i64) -> rusqlite::Result<Connection> {
    let conn = Connection::open_in_memory()?;
    for migration in MIGRATIONS.iter().take(usize::try_from(version).unwrap_or_default()) {
        conn.execute_batch(migration.sql)?;
    }
    Ok(conn)
}

/// The version of the schema of a level. Of a level that this build does not know: the last one.
pub(super) fn of_level(level: u32) -> i64 {
    OF_LEVELS.get((level.max(FIRST_LEVEL) - FIRST_LEVEL) as usize).copied().unwrap_or(VERSION)
}

/// The version to which a database is opened: that of its level for the one of a node of a cluster, the first one for a node that follows
/// no log yet, and the last one for a natter alone.
pub(super) fn target(conn: &Connection, in_cluster: bool) -> rusqlite::Result<i64> {
    if version(conn)? >= CLUSTER
        && let Some(level) = metadata::level(conn)?
    {
        return Ok(of_level(level));
    }
    Ok(if in_cluster { of_level(FIRST_LEVEL) } else { VERSION })
}

/// Migrates a database of any known version to this one. Returns the number of steps.
pub(super) fn migrate(conn: &mut Connection, target: i64) -> rusqlite::Result<usize> {
    let from = version(conn)?;
    if from >= target {
        return Ok(0);
    }
    if from > 0 {
        // Logged before the work: with a large file the server does not listen for some time.
        log::info!("storage: the schema goes from version {from} to {target}");
    }
    let relaxed = Relaxed::begin(conn)?;
    let taken = take_all(conn, target);
    // A step that failed is already rolled back here.
    let enforced = relaxed.end(conn);
    let taken = taken?;
    enforced?;
    Ok(taken)
}

/// All steps in one transaction: a full disk or a failed step leaves the old version unchanged.
fn take_all(conn: &mut Connection, target: i64) -> rusqlite::Result<usize> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken = take_steps(&transaction, target)?;
    transaction.commit()?;
    Ok(taken)
}

/// Takes the steps to this version, in a transaction of the caller that began under [`Relaxed`].
pub(super) fn take_steps(conn: &Connection, target: i64) -> rusqlite::Result<usize> {
    let from = version(conn)?;
    let mut taken = 0;
    for (version, migration) in (1_i64..).zip(MIGRATIONS) {
        if version <= from || version > target {
            continue;
        }
        conn.execute_batch(migration.sql)?;
        check_references(conn, version)?;
        conn.pragma_update(None, "user_version", version)?;
        log::debug!("storage: schema version {version}: {}", migration.name);
        taken += 1;
    }
    Ok(taken)
}

/// The settings under which a transaction that takes steps runs. Inside of one they can't be changed
/// (<https://www.sqlite.org/lang_altertable.html#otheralter>).
pub(super) struct Relaxed {
    defensive: bool,
}

impl Relaxed {
    pub fn begin(conn: &Connection) -> rusqlite::Result<Relaxed> {
        // A step that changes a table which others refer to makes a new table and drops the old one, which enforced references forbid.
        conn.pragma_update(None, "foreign_keys", false)?;
        // A step may rename a table that a virtual table uses, which a defensive connection forbids.
        let defensive = conn.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        Ok(Relaxed { defensive })
    }

    /// After the transaction.
    pub fn end(self, conn: &Connection) -> rusqlite::Result<()> {
        let enforced = conn.pragma_update(None, "foreign_keys", true);
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, self.defensive)?;
        enforced
    }
}

/// The check that each statement would have made with enforced references.
fn check_references(conn: &Connection, version: i64) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
    let detail = format!(
        "a row of {table} refers to no row of {parent}, found on the way to schema version {version}"
    );
    Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CONSTRAINT_FOREIGNKEY), Some(detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(conn: &Connection) -> String {
        conn.query_row("SELECT group_concat(sql, ';') FROM sqlite_schema", [], |row| row.get(0))
            .expect("the schema")
    }

    fn enforced(conn: &Connection) -> bool {
        conn.pragma_query_value(None, "foreign_keys", |row| row.get(0)).expect("the setting")
    }

    /// A database of this version, empty except for one message and its sender.
    fn of_version(version: usize) -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        conn.pragma_update(None, "foreign_keys", true).expect("the setting");
        for migration in &MIGRATIONS[..version] {
            conn.execute_batch(migration.sql).expect(migration.name);
        }
        conn.pragma_update(None, "user_version", version as i64).expect("its version");
        conn.execute_batch(
            "INSERT INTO profiles (key, id, display_name, is_private, presence, created_at) \
             VALUES (1, zeroblob(16), '', 0, 1, 0); \
             INSERT INTO messages (seq, id_high, conversation, n, sender, client_id) VALUES (7, 0, 1, 1, 1, zeroblob(16))",
        )
        .expect("a message");
        conn
    }

    #[test]
    fn references_are_enforced_again_after_the_steps() {
        let mut conn = of_version(8);
        conn.execute_batch("INSERT INTO reactions VALUES (7, '+1', 1, 8)").expect("a reaction");
        assert_eq!(migrate(&mut conn, VERSION).expect("today's schema"), MIGRATIONS.len() - 8);
        assert!(enforced(&conn) && conn.is_autocommit());
        for refused in ["INSERT INTO reactions VALUES (8, '+1', 1, 9)", "DELETE FROM messages WHERE seq = 7"]
        {
            let error = conn.execute_batch(refused).expect_err(refused);
            assert!(error.to_string().contains("FOREIGN KEY"), "{refused}: {error}");
        }
        conn.execute_batch("DELETE FROM reactions; DELETE FROM messages").expect("in order");
        assert_eq!(migrate(&mut conn, VERSION).expect("nothing to do"), 0);
        assert!(enforced(&conn));
    }

    #[test]
    fn a_row_that_refers_to_a_missing_row_stops_a_step_which_is_undone() {
        let mut conn = of_version(8);
        conn.execute_batch(
            "PRAGMA foreign_keys = OFF; INSERT INTO reactions VALUES (6, '+1', 1, 8); PRAGMA foreign_keys = ON",
        )
        .expect("a reaction to nothing");
        let before = schema(&conn);
        for _ in 0..2 {
            let error = migrate(&mut conn, VERSION).expect_err("the step fails").to_string();
            assert!(error.contains("reactions") && error.contains("messages"), "{error}");
            assert!(enforced(&conn) && conn.is_autocommit());
            assert_eq!((version(&conn).expect("a version"), schema(&conn)), (8, before.clone()));
        }
        conn.execute_batch("DELETE FROM reactions").expect("mended");
        assert_eq!(migrate(&mut conn, VERSION).expect("today's schema"), MIGRATIONS.len() - 8);
    }

    #[test]
    fn a_client_id_of_another_length_stops_the_step_and_is_not_changed() {
        let mut conn = of_version(9);
        let before = schema(&conn);
        for strange in ["x''", "x'01'", "zeroblob(15)", "zeroblob(17)"] {
            conn.execute_batch(&format!("UPDATE messages SET client_id = {strange}")).expect(strange);
            let error = migrate(&mut conn, VERSION).expect_err(strange).to_string();
            assert!(error.contains("NOT NULL") && error.contains("client_high"), "{strange}: {error}");
            assert!(enforced(&conn) && conn.is_autocommit());
            assert_eq!((version(&conn).expect("a version"), schema(&conn)), (9, before.clone()));
        }
        conn.execute_batch("UPDATE messages SET client_id = zeroblob(16)").expect("mended");
        assert_eq!(migrate(&mut conn, VERSION).expect("today's schema"), MIGRATIONS.len() - 9);
    }
}
