//! Work that belongs to no connection: mail, geolocation, last-seen times, upkeep of storage and memory.
//!
//! `tasks` has the table of what runs when; the other files have what one run does.

pub(crate) mod certificate;
pub(crate) mod last_seen;
pub(crate) mod outbox;
pub(crate) mod push;
pub(crate) mod tasks;
pub(crate) mod upkeep;
