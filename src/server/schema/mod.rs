//! The schema table: the request, the answer and the problems of every operation, and the frames of every stream.
//!
//! A test writes `openapi.json`, `asyncapi.json` and `reference.md` of `site` from it (`SCHEMA_UPDATE=1`); they are never
//! edited by hand. The problems of an operation follow from its row of `ROUTES` where possible: access, rate, body, path. The
//! running server serves the written documents and does not read the table, so that the table is not in the binary.
//! Invariant: each route of the public listener and each event has exactly one row; the tests compare all requests, answers
//! and frames that they see with the documents.

pub mod asyncapi;
pub(crate) mod events;
pub mod examples;
pub mod openapi;
pub mod operations;
pub mod pretty;
pub mod reference;
pub(crate) mod shape;
pub(crate) mod types;
pub mod typescript;

mod accounts;
mod admin;
mod bots;
mod chats;
mod invites;
mod site;
