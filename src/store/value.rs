//! Conversions of numbers, ids and texts between the model and the columns of rows.
//!
//! SQLite has signed 64-bit integers. The model has unsigned integers that never reach the sign bit. Greater numbers from a
//! client are clamped to the greatest that fits.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Error, Row};

use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};

impl<T: ToSql> ToSql for Secret<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.expose().to_sql()
    }
}

impl<T: FromSql> FromSql for Secret<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Secret<T>> {
        T::column_result(value).map(Secret::new)
    }
}

/// A number as a column. A number that does not fit becomes the greatest that does.
pub fn int(number: impl Number) -> i64 {
    i64::try_from(number.value()).unwrap_or(i64::MAX)
}

/// What a column of integers may hold.
pub trait Number {
    /// As it is stored.
    fn value(self) -> u64;
}

impl Number for u64 {
    fn value(self) -> u64 {
        self
    }
}

impl Number for UnixMs {
    fn value(self) -> u64 {
        self.0
    }
}

impl Number for UnixS {
    fn value(self) -> u64 {
        self.0
    }
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

/// The two columns of an id that is stored as integers: its halves, in two's complement.
pub fn halves<K>(id: Id<K>) -> (i64, i64) {
    (id.high() as i64, id.low() as i64)
}

/// The id of its [`halves`].
pub fn joined<K>(high: i64, low: i64) -> Id<K> {
    Id::from_halves(high as u64, low as u64)
}

/// A 16-byte id. A damaged one, of another length or type, is read as an id that belongs to no object.
pub fn id<K>(row: &Row<'_>, column: usize) -> rusqlite::Result<Id<K>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().map_or(Id::from_u128(0), Id::from_bytes),
        _ => Id::from_u128(0),
    })
}

/// A text as far as it can be read: a name that is damaged on the disk must not hide the rows around it. Invalid UTF-8
/// becomes U+FFFD. A value that is not a text becomes one U+FFFD.
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

/// The value of a column. If natter never writes such a value there, returns the default and sets `damaged`. Other errors,
/// of the disk and of SQLite, are returned unchanged.
pub fn or_damaged<T: Default>(value: rusqlite::Result<T>, damaged: &mut bool) -> rusqlite::Result<T> {
    match value {
        Err(error) if is_damage(&error) => {
            *damaged = true;
            Ok(T::default())
        }
        value => value,
    }
}

/// Whether a row was read and holds a value that natter never writes.
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
    use crate::base::id::NoKind;

    /// The result of each read for values that natter never writes: one flipped bit in a row's header gives a value any
    /// type.
    #[test]
    fn a_damaged_value_hides_no_row() {
        let conn = Connection::open_in_memory().expect("a database");
        let check = |sql: &str, expect: (&str, Option<&str>, u128, (i64, bool))| {
            let read = conn.query_row(&format!("SELECT {sql}"), [], |row| {
                let mut damaged = false;
                let number = or_damaged(row.get::<_, i64>(0), &mut damaged)?;
                Ok((text(row, 0)?, text_or_null(row, 0)?, id::<NoKind>(row, 0)?.to_u128(), (number, damaged)))
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
        // An error of SQLite is not a damaged row.
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
            assert_eq!(halves(<Id>::from_u128(id)), expect, "{id:x}");
            assert_eq!(joined(expect.0, expect.1), <Id>::from_u128(id));
        }
    }
}
