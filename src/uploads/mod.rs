//! Floor 3: files. How a body becomes a file (`intake`), what it may be called (`name`), and the handlers: an upload is
//! created, read, deleted, and what nothing refers to any more is swept.
//! Refuses to touch the disk: bytes leave the intake to be appended by the runtime, files are published, opened and
//! removed by workers. Invariant: what is served was judged by its bytes, never by its name or its declared type.

mod create;
mod intake;
mod name;
mod read;
mod remove;

pub use create::{admit, create};
pub use intake::{Intake, Received, Source, Wanted, is_form};
#[cfg(feature = "conformance")]
pub use read::conformance;
pub use read::get;
pub use remove::{delete, sweep};
