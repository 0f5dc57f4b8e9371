//! The head of a request whose body becomes a file: which body that is, and whether its head can be accepted.
//!
//! Leaves the body itself to `server::uploads`.
//! Invariant: nothing here reads a byte of the body.

use crate::model::problem::{Code, Problem};
use crate::proto::http::head::{Framing, Head};
use crate::server::core::Core;
use crate::server::request::routes::BodyKind;
use crate::uploads::{Source, Wanted};

/// Which form the body has, if an intake receives it.
pub fn wanted(body: BodyKind, head: &Head) -> Option<Wanted> {
    match body {
        BodyKind::Upload => Some(Wanted { field: "file", file_only: true }),
        BodyKind::Form(field) => {
            let content_type = head.headers.get("content-type").unwrap_or_default();
            crate::uploads::is_form(content_type).then_some(Wanted { field, file_only: false })
        }
        _ => None,
    }
}

/// Checks the head of a body for an intake: 411, 413, 415, 400, 422.
pub fn admit_head(core: &Core, head: &Head, wanted: Wanted) -> Result<(), Problem> {
    let length = match head.framing {
        Framing::Empty => return Err(Problem::new(Code::LengthRequired)),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let source = Source::of(&head.headers, wanted);
    let file_max = core.settings.limits.upload_max;
    let body_max = source.as_ref().map_or(file_max, |source| source.body_max(file_max));
    if length.is_some_and(|length| length > body_max) {
        return Err(Problem::new(Code::TooLarge));
    }
    source.map(|_| ())
}
