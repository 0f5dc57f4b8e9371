//! What a connection becomes when it is no longer request and response: WebSocket, server-sent events, long poll, export.
//!
//! Owns the delivery of events: the hub, the replay after a cursor, presence and other ephemeral events.

pub mod backlog;
pub mod echo;
pub mod ephemeral;
pub mod export;
pub mod focus;
pub mod hub;
pub mod legacy_socket;
pub mod ops;
pub mod poll;
pub mod presence;
pub mod publication;
pub mod replay;
pub mod sse;
pub mod values;
pub mod websocket;
