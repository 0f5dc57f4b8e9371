//! The routes for outside conformance suites, which only a build with the feature `conformance` has.
//!
//! Owns their rows and the echo of a body. Leaves the echo of a WebSocket to `streams::echo`. The code is compiled in every
//! build, so that no change can break it unnoticed; what the feature decides is only whether the routes exist.
//! Invariant: a request of a build without the feature finds none of these routes.

use crate::base::send_queue::Segment;
use crate::model::handler::{Ctx, Handler, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::upload::FileSource;
use crate::proto::http::head::Method;
use crate::server::request::routes::{Access, Action, BodyKind, RateClass, Route, row};
use crate::uploads;

pub static ROUTES: &[Route] = if cfg!(feature = "conformance") { ROWS } else { &[] };

#[rustfmt::skip]
const ROWS: &[Route] = &[
    row("conformance.echo", Method::Post, "/__echo", Access::Public, BodyKind::Any, RateClass::Read, Action::Echo),
    row("conformance.socket", Method::Get, "/__echo", Access::Public, BodyKind::None, RateClass::Read, Action::EchoSocket),
    row("conformance.file", Method::Get, "/__files/{name}", Access::Public, BodyKind::None, RateClass::Read, Action::Handle(Handler::Public(file))),
];

/// `POST /__echo`: the body.
pub fn echo(body: &[u8]) -> Result<Step, Problem> {
    Reply::raw(200, MIME, Segment::Owned(body.to_vec())).step()
}

/// `GET /__files/{name}`: a file of the folder CONFORMANCE_FILES, sent as an upload is.
fn file(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let name = request.params.required_text("name")?.to_owned();
    Ok(uploads::operator_file(request, FileSource::Conformance(name.clone()), MIME.to_owned(), name))
}

const MIME: &str = "application/octet-stream";
