//! Work that belongs to no connection: mail, geolocation, last-seen times, pruning and erasure.

pub mod erase;
pub mod last_seen;
pub mod outbox;
pub mod tasks;
