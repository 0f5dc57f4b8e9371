//! A copy of the complete database, as an operator asks for it.

use serde::Serialize;

use crate::base::id::Id;

/// Copies the database, while it is in use, into a new file in the same folder. The writer thread does it between its batches
/// and answers at the end; one at a time, a second one is `Busy`.
#[derive(Clone, Debug)]
pub struct BackUp {
    /// Names the copy.
    pub id: Id,
}

/// A complete copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseCopy {
    /// Its file name in DATA_DIR. The command that reads it removes it; else the next backup or the next start does.
    pub file: String,
}
