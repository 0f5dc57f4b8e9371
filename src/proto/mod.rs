//! The layer of wire formats, sans-IO: bytes in, values out.
//!
//! Knows nothing of chat, and uses no socket and no clock.

#[cfg(feature = "acme")]
pub mod acme;
#[cfg(feature = "cluster")]
pub mod copies;
pub mod hook;
pub mod http;
pub mod image;
pub mod media;
#[cfg(feature = "cluster")]
pub mod nats;
pub(crate) mod push;
pub mod smtp;
pub mod sse;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
#[cfg(feature = "tls")]
pub mod tls;
pub mod websocket;
pub mod x509;
