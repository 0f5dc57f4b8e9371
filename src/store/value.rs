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

/// The two columns of an id that is kept as integers: its halves, in two's complement.
pub fn halves(id: Id) -> (i64, i64) {
    (id.high() as i64, id.0 as i64)
}

/// The id of its [`halves`].
pub fn joined(high: i64, low: i64) -> Id {
    Id(u128::from(high as u64) << 64 | u128::from(low as u64))
}

/// A 16-byte id.
pub fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Id> {
    Ok(Id::from_bytes(row.get(column)?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
