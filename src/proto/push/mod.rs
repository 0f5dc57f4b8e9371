//! Web Push: one message to the push service of a browser (RFC 8030), encrypted for it (RFC 8291), signed by us (RFC 8292).
//!
//! Owns the forms on the wire. Leaves to its callers which message is sent when, the keys, and every connection.
//! Invariant: a push service sees no byte of a message, only its size in steps and to whom it goes.

pub mod encryption;
pub mod request;
pub mod vapid;
