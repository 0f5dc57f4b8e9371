//! Layer 3: uploaded files, from the body to the file and back.
//!
//! Owns how a body becomes a file (`intake`), which names a file may have (`name`), and the handlers: an upload is
//! created, described, read and deleted, and a background task removes files that no row refers to. Does not touch the disk: the
//! runtime appends the bytes that the intake returns; workers publish, open and remove files.
//! Invariant: the type of a served file was determined by its bytes, never by its name or its declared type.

mod create;
mod intake;
mod name;
mod read;
mod remove;
mod update;

pub use create::{admit, admit_preview, create};
pub use intake::{Intake, Received, Source, Wanted, is_form};
pub(crate) use name::FILE_NAME_MAX;
pub use read::{get, operator_file};
pub use remove::{delete, sweep};
pub use update::{ALT_MAX, DURATION_MS_MAX, preview, update};
