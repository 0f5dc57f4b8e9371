//! The rows of several databases, compared.
//!
//! Owns which tables and columns each node has for itself. Invariant: everything else is compared.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

/// What a node has for itself: its search index, and marks of its own process.
const OWN_TABLES: [&str; 2] = ["search", "sqlite_"];
const OWN_COLUMNS: [(&str, &str); 4] =
    [("state", "running"), ("state", "touched"), ("state", "password_tag"), ("state", "head")];

/// The last entry of the log that a database has.
pub fn position(database: &Path) -> i64 {
    let conn = Connection::open(database).expect("a database");
    conn.query_row("SELECT position FROM place", [], |row| row.get(0)).expect("a place")
}

type Table = (String, Vec<Vec<Value>>);

pub fn are_equal(databases: &[PathBuf]) -> bool {
    let (first, others) = databases.split_first().expect("databases");
    let expected = tables(first);
    let mut equal = true;
    for other in others {
        for ((name, expected), (_, rows)) in expected.iter().zip(tables(other)) {
            if *expected != rows {
                let differing = expected.iter().zip(&rows).find(|(left, right)| left != right);
                println!(
                    "  {name}: {} and {} rows, first difference {differing:?}",
                    expected.len(),
                    rows.len()
                );
                equal = false;
            }
        }
    }
    equal
}

fn tables(database: &Path) -> Vec<Table> {
    let conn = Connection::open(database).expect("a database");
    let list = |sql: &str| -> Vec<String> {
        let mut select = conn.prepare(sql).expect("a query");
        let rows = select.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("rows")
    };
    let mut names = list("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    names.retain(|name| !OWN_TABLES.iter().any(|own| name.starts_with(own)));
    assert!(names.len() > 10, "{names:?}");
    let read = |name: String| {
        let mut columns = list(&format!("SELECT name FROM pragma_table_info('{name}')"));
        columns.retain(|column| !OWN_COLUMNS.contains(&(name.as_str(), column.as_str())));
        let columns: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
        let columns = columns.join(", ");
        let mut select =
            conn.prepare(&format!("SELECT {columns} FROM \"{name}\" ORDER BY {columns}")).expect("a query");
        let count = select.column_count();
        let rows = select.query_map([], |row| (0..count).map(|at| row.get(at)).collect()).expect("rows");
        let rows = rows.collect::<rusqlite::Result<_>>().expect("rows");
        (name, rows)
    };
    names.into_iter().map(read).collect()
}
