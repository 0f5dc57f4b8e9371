//! Layer 2: the nouns of chat, and the contracts between threads.
//!
//! Owns plain data and the rules of a handler. Leaves SQL to `store`, sockets to `runtime`, connections to `server`.
//! Invariant: every public item is documented, with its units and errors.

#![warn(missing_docs)]

pub mod admin;
pub(crate) mod attempts;
pub mod backup;
pub mod bot;
pub mod certificate;
pub mod code;
pub mod conversation;
pub mod duty;
#[cfg(feature = "cluster")]
pub mod entry;
pub mod event;
pub mod export;
pub mod handler;
pub mod hook;
pub mod id;
pub mod invite;
pub mod job;
pub mod mail;
pub(crate) mod mail_text;
pub mod measures;
pub mod member;
pub mod message;
pub mod metrics;
pub mod node;
pub mod operation;
pub mod params;
pub mod preferences;
pub mod presence;
pub mod problem;
pub mod profile;
pub mod push;
pub mod readiness;
pub mod report;
pub mod retention;
pub mod second_factor;
pub mod session;
pub mod settings;
pub mod system_message;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tickets;
pub mod upload;
pub mod whisper;
#[cfg(feature = "cluster")]
mod write_bytes;
#[cfg(feature = "cluster")]
pub mod write_time;
