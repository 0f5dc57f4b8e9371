//! HTTP/1.1 on the wire (RFC 9110, RFC 9112), sans-IO.
//!
//! Owns parsing requests and writing responses; leaves routes and the meaning of a request to the server.

pub mod body;
pub mod client;
pub mod head;
mod headers;
pub mod language;
pub mod mime;
pub mod multipart;
pub mod range;
pub(crate) mod response;
pub mod target;
