//! One HTTP request, from its head to its response.
//!
//! Owns the use of the HTTP parser, access, rates, routing, the step loop of handlers and the bytes of the response. It imports
//! neither streams nor uploads: `dispatch` decides what takes a connection over.

pub mod admit;
pub mod client;
pub mod conformance;
pub mod cors;
pub mod delays;
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
