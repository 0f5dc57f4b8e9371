//! The schema table: what every operation takes and gives, and what every stream says, beside the row of `ROUTES` that does it.
//!
//! `openapi.json`, `asyncapi.json` and `reference.md` of `site` are written from it by a test (`SCHEMA_UPDATE=1`), never by hand.
//! Which problems an operation may be answered with follows from its route where it can: access, rate, body, path. The running
//! server does not read the table: it serves what was written, so that nothing of it is in the binary.
//! Invariant: each route of the public door and each event has exactly one row; the tests hold all requests, answers and frames
//! that they see against the documents.

pub mod asyncapi;
pub mod events;
pub mod examples;
pub mod openapi;
pub mod operations;
pub mod pretty;
pub mod reference;
pub mod shape;
pub mod types;

mod accounts;
mod chats;
mod site;
