//! The body of an upload, from the socket to its file, and what uploads in progress reserve of their owner's quota.

pub(crate) mod receive;
pub(crate) mod reservations;
