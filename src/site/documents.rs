//! The documents of the contract: the page of `protocol.md`, OpenAPI 3.1 for HTTP and AsyncAPI 3 for the streams.
//!
//! They are written by hand. Tests compare the latter two with the route table, the ops, the events and real responses.
//! Invariant: the page runs no script and loads nothing.

use crate::base::send_queue::Segment;
use crate::model::handler::{Ctx, Reply, Request, Step};
use crate::model::problem::Problem;

/// Permits nothing but the style that is in the page.
const POLICY: &str = concat!(
    "default-src 'none'; style-src '",
    env!("NATTER_DOCS_STYLE"),
    "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

/// `GET /docs`.
pub fn docs(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    super::send(request, &super::DOCS, super::ASK, POLICY)
}

/// `GET /openapi.json`.
pub fn openapi(_: &mut Ctx<'_>, _: &Request<'_>) -> Result<Step, Problem> {
    document(include_bytes!("openapi.json"))
}

/// `GET /asyncapi.json`.
pub fn asyncapi(_: &mut Ctx<'_>, _: &Request<'_>) -> Result<Step, Problem> {
    document(include_bytes!("asyncapi.json"))
}

fn document(bytes: &'static [u8]) -> Result<Step, Problem> {
    Reply::raw(200, "application/json", Segment::Static(bytes))
        .header("Cache-Control", "no-cache")
        .header("X-Content-Type-Options", "nosniff")
        .step()
}
