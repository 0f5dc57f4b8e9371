//! What natter shows a browser.

use crate::base::send_queue::Segment;
use crate::model::handler::{Ctx, Reply, Request, Step};
use crate::model::problem::Problem;

const INDEX: &str = include_str!("index.html");

/// `GET /`.
pub fn index(_ctx: &mut Ctx<'_>, _request: &Request<'_>) -> Result<Step, Problem> {
    Reply::raw(200, "text/html; charset=utf-8", Segment::Static(INDEX.as_bytes()))
        .header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        .header("X-Content-Type-Options", "nosniff")
        .header("Cache-Control", "no-cache")
        .step()
}
