//! One HTTP request, from its head to its response.
//!
//! Owns the parser's use, access, rates, routing, the step loop of handlers and the response's bytes. It does not know that
//! streams or uploads exist: what takes a connection over is decided above, in `dispatch`.

pub mod admit;
pub mod client;
pub mod cors;
pub mod exchange;
pub mod hashing;
pub mod http;
pub mod rate_limit;
pub mod reads;
pub mod receiving;
pub mod report;
pub mod respond;
pub mod router;
pub mod routes;
pub mod steps;
pub mod upload_head;
pub mod verified;
