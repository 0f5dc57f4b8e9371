//! The responses for a browser: the web client of `src/site/client`, which `build.rs` puts into the binary.
//!
//! Owns how its files are addressed, negotiated and cached; knows nothing of their content.
//!
//! `/` names its files under `/client/<version>/`, where they never change and are cached for a year. A browser
//! revalidates the page itself at each load, by its tag. So the next load after an upgrade of the server gets the
//! complete new client. `/client/<path>` without a version is the current file, for a person who reads the client's
//! source, and for a browser that looks for another version of the worker.
//! Invariant: the policy permits no script, style or connection from another origin.

#[cfg(test)]
mod bundle;
pub mod documents;

use std::sync::OnceLock;

use miniz_oxide::inflate;

use crate::base::send_queue::Segment;
use crate::model::handler::{Body, Ctx, Reply, Request, Step};
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::prefers_gzip;
use crate::proto::http::range::not_modified;

/// One file of the client.
struct File {
    /// From the client's root: `ui/kit.js`.
    path: &'static str,
    mime: &'static str,
    /// Filled from `gzip` when the first client asks without `Accept-Encoding: gzip`. A second copy in the binary would
    /// make it half a megabyte larger.
    plain: OnceLock<Box<[u8]>>,
    /// RFC 1952: a header of `GZIP_HEADER` bytes without optional fields, deflate, and a trailer.
    gzip: &'static [u8],
    /// Two strong tags, since the plain and the compressed form are two sequences of bytes (RFC 9110 §8.8.3.3).
    plain_tag: &'static str,
    gzip_tag: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/client.rs"));

impl File {
    /// The file's own bytes. The first call inflates them, in less than a millisecond; they stay in memory.
    fn plain(&self) -> &[u8] {
        self.plain.get_or_init(|| {
            let (rest, trailer) = self.gzip.split_last_chunk::<GZIP_TRAILER>().expect("gzip has a trailer");
            let [.., a, b, c, d] = *trailer;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            inflate::decompress_to_vec_with_limit(&rest[GZIP_HEADER..], length)
                .expect("build.rs compressed it")
                .into_boxed_slice()
        })
    }
}

const INDEX: &str = "index.html";
/// The page's worker. Its address has no version: a browser compares what is there with what it runs.
const WORKER: &str = "worker.js";

const GZIP_HEADER: usize = 10;
/// A checksum, then the file's length.
const GZIP_TRAILER: usize = 8;

/// Permits everything from natter itself and nothing from another origin; pictures also from files that wait in the
/// page to be sent.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// A voice message needs the microphone; nothing else of the machine is used, by no frame.
const PERMISSIONS: &str =
    "microphone=(self), camera=(), geolocation=(), display-capture=(), usb=(), payment=()";

/// Cached, but revalidated each time.
const ASK: &str = "no-cache";
/// Cached without revalidation: other content has another address.
const KEEP: &str = "public, max-age=31536000, immutable";

/// `GET /`.
pub fn index(_ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    serve(request, INDEX, ASK)
}

/// `GET /client/{path...}`.
pub fn file(_ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let path = request.params.required_text("path")?;
    match path.split_once('/') {
        Some((VERSION, path)) => serve(request, path, KEEP),
        // The address of another version is never answered with this version's file: a page would mix two builds.
        _ => serve(request, path, ASK),
    }
}

fn serve(request: &Request<'_>, path: &str, cache: &'static str) -> Result<Step, Problem> {
    let file = FILES.iter().find(|file| file.path == path).ok_or(Problem::new(Code::NotFound))?;
    let reply = send(request, file, cache, POLICY);
    match path {
        // It answers for the page at `/`, which is above its own address.
        WORKER => reply.header("Service-Worker-Allowed", "/").step(),
        INDEX => reply.header("Permissions-Policy", PERMISSIONS).step(),
        _ => reply.step(),
    }
}

fn send(request: &Request<'_>, file: &'static File, cache: &'static str, policy: &'static str) -> Reply {
    let gzip = request.headers.is_some_and(prefers_gzip);
    let (bytes, tag) = if gzip { (file.gzip, file.gzip_tag) } else { (file.plain(), file.plain_tag) };
    let unchanged = request.headers.is_some_and(|headers| not_modified(headers, tag));
    let mut reply = match unchanged {
        true => Reply { status: 304, headers: Vec::new(), body: Body::Empty },
        false => Reply::raw(200, file.mime, Segment::Static(bytes)),
    };
    if gzip && !unchanged {
        reply = reply.header("Content-Encoding", "gzip");
    }
    reply
        .header("ETag", tag)
        .header("Cache-Control", cache)
        .header("Vary", "Accept-Encoding")
        .header("Content-Security-Policy", policy)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .header("Cross-Origin-Opener-Policy", "same-origin")
}

#[cfg(test)]
mod tests;
