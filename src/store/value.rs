//! Numbers and ids on their way in and out of rows. SQLite has signed 64-bit integers; the model has unsigned
//! ones that never reach the sign bit, and what a peer makes greater is cut to the greatest.

use rusqlite::Row;

use crate::base::id::Id;

/// A number as a column: what no row can hold becomes the greatest that one can.
pub fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column that is never negative.
pub fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// As [`number`], for a column that may be NULL.
pub fn number_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(column)?.as_i64_or_null()? {
        None => Ok(None),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(rusqlite::Error::IntegralValueOutOfRange(column, value)),
        },
    }
}

/// A 16-byte id.
pub fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Id> {
    Ok(Id::from_bytes(row.get(column)?))
}
