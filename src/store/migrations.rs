//! The schema's history. Owns the steps from an empty file to the schema of today; a step that was released is
//! never changed, only followed by another.
//! Invariant: each step and its version number become true in one transaction.

use rusqlite::{Connection, TransactionBehavior};

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// The step at place `i` leads to version `i + 1`.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "two people chat", sql: include_str!("migrations/001_two_people_chat.sql") },
    Migration { name: "codes and mail", sql: include_str!("migrations/002_codes_and_mail.sql") },
    Migration { name: "accounts", sql: include_str!("migrations/003_accounts.sql") },
    Migration { name: "groups", sql: include_str!("migrations/004_groups.sql") },
    Migration { name: "presence", sql: include_str!("migrations/005_presence.sql") },
    Migration { name: "uploads", sql: include_str!("migrations/006_uploads.sql") },
    Migration { name: "search", sql: include_str!("migrations/007_search.sql") },
    Migration { name: "export", sql: include_str!("migrations/008_export.sql") },
];

/// The schema version this natter writes.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a database of any known version to today's. Returns how many steps were taken.
pub(super) fn migrate(conn: &mut Connection) -> rusqlite::Result<usize> {
    let from = usize::try_from(version(conn)?).unwrap_or_default();
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(from) {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        ::log::info!("storage: schema version {version}: {}", migration.name);
    }
    Ok(MIGRATIONS.len().saturating_sub(from))
}
