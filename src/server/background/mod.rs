//! Work that belongs to no connection: mail, geolocation, last-seen times, upkeep of storage and memory.
//!
//! `tasks` has the table of what runs when; the other files have what one run does.

pub mod certificate;
pub mod last_seen;
pub mod outbox;
pub mod push;
pub mod tasks;
pub mod upkeep;
