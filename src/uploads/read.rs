//! The handler of upload.get: the bytes of a file, complete, in part, or a 304.
//!
//! Owns the header fields of every file reply. Reads no bytes: the reply is a segment of an open file, and the runtime
//! reads ahead of the socket.
//! Invariant: no served file can run code in a browser: its type was determined by its bytes, and its sandbox allows
//! nothing.

use crate::base::crypto::{base64url_decode, hex};
use crate::base::send_queue::Segment;
use crate::base::time::{UnixS, imf_fixdate};
use crate::model::handler::{Actor, Body, Ctx, Reply, Request, Step};
use crate::model::id::UploadId;
use crate::model::job::{Done, Job, OpenedFile};
use crate::model::problem::{Code, Problem};
use crate::model::settings::DefaultImage;
use crate::model::upload::{FileSource, FindOrphans, FindUpload, StoredFile};
use crate::proto::http::head::{Headers, Method};
use crate::proto::http::mime::{Disposition, content_disposition};
use crate::proto::http::range::{Decision, decide};

/// GET /uploads/{id}/{name}: for any client with a signed URL, else for a member who may read it.
pub fn get(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let (upload, name) = (params.required_id("upload")?, params.required_text("name")?.to_owned());
    let viewer = match actor {
        Some(actor) => Some(actor.profile),
        None if is_signed(ctx, upload, request) => None,
        None => return Err(Problem::new(Code::NotFound)),
    };
    if upload == DefaultImage::ID {
        return default_image(ctx, name, request);
    }
    let conditions = Conditions::of(request);
    let find = FindUpload { upload, name: name.clone(), viewer };
    Ok(Step::store(find, move |_, stored| Ok(open_upload(stored, name, conditions))))
}

/// Sends the file of an upload. A node of a cluster that does not have it fetches it first.
fn open_upload(stored: StoredFile, name: String, conditions: Conditions) -> Step {
    let StoredFile { file, mime, size, sha256, created_at } = stored;
    let meta = Meta { etag: format!("\"{}\"", hex(&sha256)), modified: created_at.s(), mime, name };
    Step::work(Job::OpenFile { source: FileSource::Upload(file) }, move |ctx, done| match done {
        Done::NoFile if ctx.settings.cluster.is_some() => {
            Ok(Step::work(Job::FetchFile { file, size, sha256 }, move |_, done| match done {
                Done::FileFetched { .. } => Ok(open_fetched(file, meta, conditions)),
                Done::Busy => Err(Code::Busy.into()),
                _ => Err(Code::Unavailable.into()),
            }))
        }
        done => opened(done, |_| meta, &conditions),
    })
}

/// Sends a file that has just been fetched. It may have been deleted meanwhile, and its removal has not met it then.
fn open_fetched(file: UploadId, meta: Meta, conditions: Conditions) -> Step {
    Step::store(FindOrphans { files: vec![file] }, move |_, orphans| match orphans.as_deref() {
        Some([]) => Ok(open(FileSource::Upload(file), move |_| meta, conditions)),
        Some(_) | None => {
            Ok(Step::work(Job::RemoveFiles { files: vec![file] }, |_, _| Err(Problem::new(Code::NotFound))))
        }
    })
}

/// The picture of a profile without one: any member may see it.
fn default_image(ctx: &Ctx<'_>, name: String, request: &Request<'_>) -> Result<Step, Problem> {
    let image = ctx.settings.urls.default_image().filter(|image| image.name == name);
    let mime = image.ok_or(Problem::new(Code::NotFound))?.mime.to_owned();
    Ok(operator_file(request, FileSource::DefaultImage, mime, name))
}

/// Whether the request carries a signature that is valid for this upload now.
fn is_signed(ctx: &Ctx<'_>, upload: UploadId, request: &Request<'_>) -> bool {
    let text = |name| request.params.text(name).ok().flatten();
    let Some(sig) = text("sig").and_then(base64url_decode) else { return false };
    let expires = request.params.number("expires").ok().flatten();
    expires.is_some_and(|expires| ctx.settings.urls.verify(upload, UnixS(expires), &sig, ctx.now.unix_s()))
}

/// A file that the operator owns and may replace.
pub fn operator_file(request: &Request<'_>, source: FileSource, mime: String, name: String) -> Step {
    open(source, |opened| Meta::of_file(opened, mime, name), Conditions::of(request))
}

/// The conditions and the range of a request for a file.
struct Conditions {
    method: Method,
    headers: Headers,
}

impl Conditions {
    fn of(request: &Request<'_>) -> Conditions {
        Conditions {
            method: request.method.unwrap_or(Method::Get),
            headers: request.headers.cloned().unwrap_or_default(),
        }
    }
}

/// What the reply says about a file.
struct Meta {
    /// As sent, quotes included.
    etag: String,
    modified: UnixS,
    mime: String,
    name: String,
}

impl Meta {
    fn of_file(opened: &OpenedFile, mime: String, name: String) -> Meta {
        let etag = format!("\"{}\"", opened.tag);
        Meta { etag, modified: UnixS(opened.modified_s), mime, name }
    }
}

fn open(
    source: FileSource,
    meta: impl FnOnce(&OpenedFile) -> Meta + Send + 'static,
    conditions: Conditions,
) -> Step {
    Step::work(Job::OpenFile { source }, move |_, done| opened(done, meta, &conditions))
}

fn opened(
    done: Done,
    meta: impl FnOnce(&OpenedFile) -> Meta,
    conditions: &Conditions,
) -> Result<Step, Problem> {
    match done {
        Done::FileOpened(opened) => reply(conditions, &meta(&opened), opened),
        // The file was removed after its row was read.
        Done::NoFile => Err(Problem::new(Code::NotFound)),
        _ => Err(Problem::new(Code::GeneralError)),
    }
}

fn reply(conditions: &Conditions, meta: &Meta, opened: OpenedFile) -> Result<Step, Problem> {
    let OpenedFile { file, len, .. } = opened;
    let decision = decide(conditions.method, &conditions.headers, &meta.etag, meta.modified, len);
    let (offset, len) = match decision {
        Decision::Complete => (0, len),
        Decision::Part { first, last } => (first, last - first + 1),
        Decision::NotModified => {
            return described(Reply { status: 304, headers: Vec::new(), body: Body::Empty }, meta).step();
        }
        Decision::PreconditionFailed => return Err(Problem::new(Code::PreconditionFailed)),
        Decision::Unsatisfiable => {
            let range = decision.content_range(len).unwrap_or_default();
            return Err(Problem::new(Code::RangeNotSatisfiable).with_header("Content-Range", range));
        }
    };
    let bytes = if len == 0 { Segment::Static(b"") } else { Segment::File { file, offset, len } };
    let shown = ["image/", "audio/", "video/"].iter().any(|family| meta.mime.starts_with(family));
    let disposition = if shown { Disposition::Inline } else { Disposition::Attachment };
    let mut reply = described(Reply::raw(decision.status(), meta.mime.clone(), bytes), meta)
        .header("Accept-Ranges", "bytes")
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", "sandbox; default-src 'none'")
        .header("Content-Disposition", content_disposition(disposition, &meta.name));
    if let Some(range) = decision.content_range(opened.len) {
        reply = reply.header("Content-Range", range);
    }
    reply.step()
}

/// Adds the header fields that a 304 has too (RFC 9110 §15.4.5).
fn described(reply: Reply, meta: &Meta) -> Reply {
    reply
        .header("ETag", meta.etag.clone())
        .header("Last-Modified", imf_fixdate(meta.modified))
        .header("Cache-Control", "private, max-age=3600, immutable")
}
