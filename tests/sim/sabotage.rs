//! Faults inside of SQLite, at the two places where a write can fail: a statement, and the COMMIT.
//!
//! They are triggers that another connection adds to the database, so that the store's own error paths are tested.
//! Invariant: while it is off, it changes nothing.

use std::path::Path;

use rusqlite::Connection;

/// While sabotage is on, a new message whose text begins with this fails alone.
pub const STATEMENT: &str = "boom";
/// A new message whose text begins with this fails its complete transaction, at its COMMIT.
pub const COMMIT: &str = "doom";

pub struct Sabotage {
    conn: Connection,
    on: bool,
}

impl Sabotage {
    pub fn new(path: &Path) -> Sabotage {
        let conn = Connection::open(path).expect("a second connection");
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS sabotage (is_on INTEGER NOT NULL);
             DELETE FROM sabotage;
             INSERT INTO sabotage VALUES (0);
             CREATE TABLE IF NOT EXISTS sabotage_parent (key INTEGER PRIMARY KEY);
             CREATE TABLE IF NOT EXISTS sabotage_child (
                 parent INTEGER REFERENCES sabotage_parent (key) DEFERRABLE INITIALLY DEFERRED
             );
             CREATE TRIGGER IF NOT EXISTS sabotage_statement AFTER INSERT ON messages
             WHEN NEW.body GLOB 'boom*' AND (SELECT is_on FROM sabotage)
             BEGIN SELECT RAISE(ABORT, 'sabotage'); END;
             CREATE TRIGGER IF NOT EXISTS sabotage_commit AFTER INSERT ON messages
             WHEN NEW.body GLOB 'doom*' AND (SELECT is_on FROM sabotage)
             BEGIN INSERT INTO sabotage_child VALUES (1); END;",
        )
        .expect("the triggers");
        Sabotage { conn, on: false }
    }

    /// Removes the triggers and tables: the database again has exactly natter's schema.
    pub fn remove(&self) {
        self.conn
            .execute_batch(
                "DROP TRIGGER sabotage_statement; DROP TRIGGER sabotage_commit; DROP TABLE sabotage_child; \
                 DROP TABLE sabotage_parent; DROP TABLE sabotage;",
            )
            .expect("no sabotage any more");
    }

    pub fn set(&mut self, on: bool) {
        if self.on != on {
            self.on = on;
            self.conn.execute("UPDATE sabotage SET is_on = ?1", [on]).expect("a switch");
        }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }
}
