//! What a connection becomes when it is no longer request and response: WebSocket, server-sent events, long poll, export.
//!
//! Owns the delivery of events: the hub, the replay after a cursor, presence and other ephemeral events.

pub mod backlog;
pub(crate) mod echo;
pub(crate) mod ephemeral;
pub(crate) mod export;
pub(crate) mod focus;
pub(crate) mod hub;
pub(crate) mod kinds;
pub(crate) mod legacy_socket;
pub(crate) mod ops;
pub(crate) mod poll;
pub(crate) mod presence;
pub(crate) mod publication;
pub(crate) mod replay;
pub(crate) mod sse;
pub(crate) mod values;
pub(crate) mod websocket;

/// Who is connected and what is on its way to them.
///
/// Invariant: nothing here is stored; a client that connects again gets all of it anew.
#[derive(Default)]
pub(crate) struct Streams {
    pub hub: hub::Hub,
    pub presence: presence::Presence,
    pub focus: focus::Focus,
    pub values: values::Values,
    pub exports: export::Exports,
    pub backlog: backlog::Backlog,
}
