//! Floor 1: the wire formats, sans-IO. Bytes in, values out; no chat, no socket, no clock.

pub mod http;
pub mod image;
pub mod media;
pub mod smtp;
pub mod sse;
#[cfg(feature = "tls")]
pub mod tls;
pub mod websocket;
