//! The rows of the schema table that tell of the server itself.

use super::operations::{JSON, Operation, row};
use super::shape::*;
use crate::model::problem::Code;
use crate::proto::http::head::Method::Get;

const SAME: &str = "The client's copy is still current.";

#[rustfmt::skip]
pub fn operations() -> Vec<Operation> {
    let tag = "Server";
    let html = || vec![("text/html", text())];
    vec![
        row(Get, "/", tag, "The web client")
            .answer(200, "The page; its scripts and styles are below /client.", html())
            .answer(304, SAME, vec![]),
        row(Get, "/client/{path...}", tag, "A file of the web client")
            .answer(200, "The file: JavaScript, CSS, HTML, the manifest, a table as text, SVG or PNG. `worker.js` has `Service-Worker-Allowed: /`.", vec![
                ("text/javascript", text()), ("text/css", text()), ("text/html", text()), ("text/plain", text()),
                ("image/svg+xml", text()),
                ("application/manifest+json", any_object()), ("image/png", bytes()),
            ])
            .answer(304, SAME, vec![]),
        row(Get, "/healthz", tag, "200 while the event loop runs")
            .says("Says nothing of the database: see /readyz.")
            .gives(200, "The server runs.", object(&[must("status", constant("ok"), "Always `ok`.")]), "How it is."),
        row(Get, "/readyz", tag, "200 while the database takes writes, else 503 `unavailable` with the reason in `detail`")
            .answer(200, "It takes writes.", vec![(JSON, object(&[must("data", readiness(), "How it is.")]))])
            .answer(503, "It does not, and why.", vec![("application/problem+json", unready())]),
        row(Get, "/metrics", tag, "Metrics as Prometheus text, with METRICS_TOKEN or from loopback without a proxy; 403 `origin_not_allowed` for any request with an Origin")
            .answer(200, "The metrics.", vec![("text/plain", text())])
            .codes(&[Code::UnauthorizedAccess, Code::NotAllowed, Code::OriginNotAllowed]),
        row(Get, "/docs", tag, "The protocol, for authors of clients")
            .says("The contract, a tour and the reference of every operation and event on one page.")
            .answer(200, "The page.", html())
            .answer(304, SAME, vec![]),
        row(Get, "/openapi.json", tag, "This OpenAPI document")
            .answer(200, "An OpenAPI 3.1 document.", vec![(JSON, any_object())])
            .answer(304, SAME, vec![]),
        row(Get, "/asyncapi.json", tag, "The WebSockets and their frames")
            .answer(200, "An AsyncAPI 3.0 document.", vec![(JSON, any_object())])
            .answer(304, SAME, vec![]),
    ]
}

/// A sentence for an operator.
fn reason() -> Schema {
    text().length(1, 4_096)
}

#[rustfmt::skip]
fn readiness() -> Schema {
    object(&[
        must("status", text().length(1, 64), "`ready`, or what is wrong."),
        must("reason", or_null(reason()), "Why it takes no writes."),
        must("durability", text().length(4, 128), "SYNCHRONOUS: `full`, or `normal` and what that means."),
        must("warnings", list(reason()).items_max(16), WARNINGS),
        must("errors", map(count()), "Background errors since the start, by kind."),
    ])
}

const WARNINGS: &str = "Conditions that do not stop writes by themselves: another process that keeps the write-ahead log from being restarted.";

#[rustfmt::skip]
fn unready() -> Schema {
    object(&[
        must("type", constant("about:blank"), "As in every problem."),
        must("status", count_from(503).at_most(503), "The status of the response."),
        must("code", constant("unavailable"), "Never changes for an error."),
        must("title", text().length(1, 256), "In the language of Accept-Language (en, ar)."),
        must("detail", or_null(reason()), "Why it takes no writes."),
        must("field", null(), "Always null."),
        must("retry", always(true), "It may be ready later."),
        must("retry_after_ms", count(), "When it is worth asking again."),
        must("warnings", list(reason()).items_max(16), WARNINGS),
        must("errors", map(count()), "Background errors since the start, by kind."),
    ])
}
