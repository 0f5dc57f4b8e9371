//! The contract for machines: what HTTP takes and gives (OpenAPI 3.1) and what the streams say (AsyncAPI 3). Kept by hand
//! beside the code; a test holds both against the route table, the ops and the events, and against real answers.

use crate::base::send_queue::Segment;
use crate::model::handler::{Ctx, Reply, Request, Step};
use crate::model::problem::Problem;

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
