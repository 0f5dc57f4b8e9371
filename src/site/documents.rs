//! The documents of the contract: the page of `protocol.md`, OpenAPI 3.1 for HTTP and AsyncAPI 3 for the streams.
//!
//! `protocol.md` is written by hand. The latter two, and the reference that follows the protocol on the page, are written from
//! `server::schema`; tests compare them with everything that they see on the wire.
//! Invariant: the page runs no script and loads nothing.

use std::sync::LazyLock;

use crate::base::crypto::{base64, sha256};
use crate::model::handler::{Ctx, Request, Step};
use crate::model::problem::Problem;

/// Permits only the style that is in the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = base64(&sha256(include_bytes!("docs.css")));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// A document for machines loads nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// `GET /docs`.
pub fn docs(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    super::send(request, &super::DOCS, super::ASK, &POLICY).step()
}

/// `GET /openapi.json`.
pub fn openapi(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    super::send(request, &super::OPENAPI, super::ASK, NOTHING).step()
}

/// `GET /asyncapi.json`.
pub fn asyncapi(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    super::send(request, &super::ASYNCAPI, super::ASK, NOTHING).step()
}
