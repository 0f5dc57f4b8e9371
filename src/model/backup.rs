//! A copy of the whole database, as an operator asks for it.

use serde::Serialize;

use crate::base::id::Id;

/// Copies the database, while it is in use, into a new file beside it. The writer's thread does it between its batches and
/// answers at the end; one at a time, a second one is `Busy`.
#[derive(Clone, Debug)]
pub struct BackUp {
    /// Names the copy.
    pub id: Id,
}

/// A copy that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseCopy {
    /// Its name in DATA_DIR. Whoever fetches it removes it; one that stays is removed by the next backup, or the next start.
    pub file: String,
}
