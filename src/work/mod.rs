//! Layer 3: slow jobs in blocking code, run by the runtime's worker threads.
//!
//! A worker owns what it needs (an arena, a socket to a mail server) and shares almost nothing. It draws no randomness:
//! salts come with the job. Only `acme` is given a source of keys.

#[cfg(feature = "acme")]
pub mod acme;
pub(crate) mod certificate;
#[cfg(feature = "cluster")]
pub mod copies;
mod exchange;
pub(crate) mod file_version;
pub mod files;
pub mod geolocation;
mod hooks;
mod kept;
pub mod mail;
#[cfg(feature = "cluster")]
pub(crate) mod monitors;
pub mod password;
pub mod push;
mod wire;

pub use wire::Trust;
