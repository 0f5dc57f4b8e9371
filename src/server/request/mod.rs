//! One HTTP request, from its head to its response.
//!
//! Owns the use of the HTTP parser, access, rates, routing, the step loop of handlers and the bytes of the response. It imports
//! neither streams nor uploads: `dispatch` decides what takes a connection over.

pub(crate) mod admit;
pub(crate) mod client;
pub(crate) mod conformance;
pub(crate) mod cors;
pub(crate) mod delays;
pub(crate) mod exchange;
pub(crate) mod hashing;
pub(crate) mod http;
pub(crate) mod rate_limit;
pub(crate) mod reads;
pub(crate) mod receiving;
pub(crate) mod report;
pub(crate) mod respond;
pub(crate) mod router;
pub mod routes;
pub(crate) mod steps;
pub(crate) mod upload_head;
pub(crate) mod verified;
