//! The layer of wire formats, sans-IO: bytes in, values out.
//!
//! Knows nothing of chat, and uses no socket and no clock.

pub mod http;
pub mod image;
pub mod media;
#[cfg(not(feature = "tls"))]
mod no_tls;
pub mod smtp;
pub mod sse;
#[cfg(feature = "tls")]
pub mod tls;
pub mod websocket;
pub mod x509;

#[cfg(not(feature = "tls"))]
pub use no_tls as tls;
