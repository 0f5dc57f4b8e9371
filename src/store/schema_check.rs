//! Checks that a database has exactly the schema that natter makes.
//!
//! Compares the objects of its schema with those that the migrations create. Owns the list of foreign tables that are
//! tolerated. A foreign trigger or view would run within natter's own statements; an index or a table of another shape
//! would make them fail or return wrong results.
//! Invariant: no statement of the checked file runs here.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{migrations, search_changes};

/// The tables that Litestream (version 0.3) keeps in a database it replicates: one row each, not needed in a restored copy.
pub const LITESTREAM: [&str; 2] = ["_litestream_seq", "_litestream_lock"];

type Objects = BTreeMap<(String, String), String>;

/// Describes the first object that differs from natter's schema at this version.
pub fn difference(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let version = migrations::version(conn)?;
    let expect = objects(&migrations::empty_of(version)?)?;
    let mut found = objects(conn)?;
    found.retain(|(kind, name), _| kind != "table" || !LITESTREAM.contains(&name.as_str()));
    for ((kind, name), sql) in &found {
        match expect.get(&(kind.clone(), name.clone())) {
            None => return Ok(Some(format!("it holds the {kind} {name:?}, which natter did not make"))),
            Some(expect) if expect != sql => {
                return Ok(Some(format!("its {kind} {name:?} is not as natter made it")));
            }
            Some(_) => {}
        }
    }
    let lacking = expect.keys().find(|key| !found.contains_key(key) && !search_changes::is_retired(&key.1));
    Ok(lacking.map(|(kind, name)| format!("it lacks the {kind} {name:?}")))
}

/// The schema, by kind and name. Blanks and quotes are left out: depending on the version of SQLite, a rename quotes a name
/// or not.
fn objects(conn: &Connection) -> rusqlite::Result<Objects> {
    conn.prepare("SELECT type, name, tbl_name || ' ' || ifnull(sql, '') FROM sqlite_schema")?
        .query_map([], |row| {
            let sql: String = row.get(2)?;
            let sql = sql.chars().filter(|c| !c.is_ascii_whitespace() && *c != '"').collect();
            Ok(((row.get(0)?, row.get(1)?), sql))
        })?
        .collect()
}

/// Removes Litestream's tables. Its next run creates them again.
pub fn drop_litestream(conn: &Connection) -> rusqlite::Result<()> {
    for table in LITESTREAM {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    }
    Ok(())
}
