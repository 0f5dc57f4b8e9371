//! The head of a request whose body becomes a file: which body that is, and whether its head can be accepted.
//!
//! Leaves the body itself to `server::uploads`.
//! Invariant: nothing here reads a byte of the body.

use crate::limits::{Limits, PREVIEW_MAX};
use crate::model::problem::{Code, Problem};
use crate::model::upload::PREVIEW;
use crate::proto::http::head::{Framing, Head};
use crate::server::request::routes::BodyKind;
use crate::uploads::{Source, Wanted};

/// Pixels of a preview: it is shown without being asked for, and a few bytes can describe very many.
const PREVIEW_PIXELS_MAX: u64 = 1_048_576;

/// Which form the body has, if an intake receives it.
pub fn wanted(limits: &Limits, body: BodyKind, head: &Head) -> Option<Wanted> {
    let (bytes_max, pixels_max) = (limits.upload_max, limits.pixels_max);
    let file = Wanted { field: "file", file_only: true, nameless: None, bytes_max, pixels_max };
    match body {
        BodyKind::Upload => Some(file),
        BodyKind::Preview => Some(Wanted {
            nameless: Some(PREVIEW),
            bytes_max: bytes_max.min(PREVIEW_MAX),
            pixels_max: pixels_max.min(PREVIEW_PIXELS_MAX),
            ..file
        }),
        BodyKind::Form(field) => {
            let content_type = head.headers.get("content-type").unwrap_or_default();
            crate::uploads::is_form(content_type).then_some(Wanted { field, file_only: false, ..file })
        }
        _ => None,
    }
}

/// Checks the head of a body for an intake: 411, 413, 415, 400, 422.
pub fn admit_head(head: &Head, wanted: Wanted) -> Result<(), Problem> {
    let length = match head.framing {
        Framing::Empty => return Err(Problem::new(Code::LengthRequired)),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let source = Source::of(&head.headers, wanted);
    let body_max = source.as_ref().map_or(wanted.bytes_max, |source| source.body_max(wanted));
    if length.is_some_and(|length| length > body_max) {
        return Err(Problem::new(Code::TooLarge));
    }
    source.map(|_| ())
}
