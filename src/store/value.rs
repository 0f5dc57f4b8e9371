//! Numbers and ids on their way in and out of rows. SQLite has signed 64-bit integers; the model has unsigned
//! ones that never reach the sign bit, and what a peer makes greater is cut to the greatest.

use rusqlite::types::ValueRef;
use rusqlite::{Error, Row};

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

/// The two columns of an id that is kept as integers: its halves, in two's complement.
pub fn halves(id: Id) -> (i64, i64) {
    (id.high() as i64, id.0 as i64)
}

/// The id of its [`halves`].
pub fn joined(high: i64, low: i64) -> Id {
    Id(u128::from(high as u64) << 64 | u128::from(low as u64))
}

/// A 16-byte id. A damaged one, of another length or type, is read as an id that names nothing.
pub fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Id> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().map_or(Id(0), Id::from_bytes),
        _ => Id(0),
    })
}

/// A text as far as it can be read: a name that is damaged on the disk must not hide the rows around it. What is no UTF-8
/// becomes U+FFFD, and so does a whole value that is no text.
pub fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(text_or_null(row, column)?.unwrap_or_else(|| char::REPLACEMENT_CHARACTER.to_string()))
}

/// As [`text`], for a column that may be NULL.
pub fn text_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(_) | ValueRef::Real(_) => Some(char::REPLACEMENT_CHARACTER.to_string()),
    })
}

/// The value of a column, or the default and a note where the column holds what natter never writes there. Other errors, of
/// the disk and of SQLite, stay what they are.
pub fn or_damaged<T: Default>(value: rusqlite::Result<T>, damaged: &mut bool) -> rusqlite::Result<T> {
    match value {
        Err(error) if is_damage(&error) => {
            *damaged = true;
            Ok(T::default())
        }
        value => value,
    }
}

/// Whether a row was read, and holds what no row of ours can hold.
pub fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// What each reading makes of values that no row of ours holds: a flipped bit in the head of a row gives any type.
    #[test]
    fn a_damaged_value_hides_no_row() {
        let conn = Connection::open_in_memory().expect("a database");
        let check = |sql: &str, expect: (&str, Option<&str>, u128, (i64, bool))| {
            let read = conn.query_row(&format!("SELECT {sql}"), [], |row| {
                let mut damaged = false;
                let number = or_damaged(row.get::<_, i64>(0), &mut damaged)?;
                Ok((text(row, 0)?, text_or_null(row, 0)?, id(row, 0)?.0, (number, damaged)))
            });
            let (text, optional, id, number) = read.expect(sql);
            assert_eq!((text.as_str(), optional.as_deref(), id, number), expect, "{sql}");
        };
        check("'word'", ("word", Some("word"), 0, (0, true)));
        check("CAST(x'61ff62' AS TEXT)", ("a\u{fffd}b", Some("a\u{fffd}b"), 0, (0, true)));
        check("x'6162'", ("ab", Some("ab"), 0, (0, true)));
        check("7", ("\u{fffd}", Some("\u{fffd}"), 0, (7, false)));
        check("1.5", ("\u{fffd}", Some("\u{fffd}"), 0, (0, true)));
        check("NULL", ("\u{fffd}", None, 0, (0, true)));
        let id = 0x4141_4141_4141_4141_4141_4141_4141_4131;
        let text = "AAAAAAAAAAAAAAA1";
        check("x'41414141414141414141414141414131'", (text, Some(text), id, (0, true)));
        // A fault of SQLite is none of the row.
        let error = conn.query_row("SELECT abs(-9223372036854775808)", [], |row| {
            or_damaged(row.get::<_, i64>(0), &mut false)
        });
        assert!(error.is_err_and(|error| !is_damage(&error)));
    }

    #[test]
    fn an_id_is_joined_of_its_halves() {
        let table = [
            (0, (0, 0)),
            (1, (0, 1)),
            (1 << 63, (0, i64::MIN)),
            (u128::from(u64::MAX), (0, -1)),
            (1 << 64, (1, 0)),
            (1 << 127, (i64::MIN, 0)),
            (u128::MAX - 1, (-1, -2)),
            (0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, (0x0123_4567_89ab_cdef, -0x0123_4567_89ab_cdf0)),
        ];
        for (id, expect) in table {
            assert_eq!(halves(Id(id)), expect, "{id:x}");
            assert_eq!(joined(expect.0, expect.1), Id(id));
        }
    }
}
