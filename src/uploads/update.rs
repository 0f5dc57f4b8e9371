//! The handlers of upload.update and upload.preview: what the owner of a file adds to it before something shows it.
//!
//! Both replace what was there, so that a repeated request changes nothing. Leaves to storage whether the file may still be
//! changed.
//! Invariant: a preview is a picture of few bytes and few pixels, found from its bytes like any other.

use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::params::written_name;
use crate::model::problem::{Code, Problem};
use crate::model::settings::SignUrls;
use crate::model::upload::{UpdateUpload, is_preview};

/// Characters of an alt text.
pub const ALT_MAX: usize = 1_000;
/// A day, the longest that a sound or a film may say it plays.
pub const DURATION_MS_MAX: u64 = 86_400_000;

/// PUT /uploads/{upload}.
pub fn update(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let (alt, duration_ms) = (params.text("alt")?, params.number("duration_ms")?);
    if alt.is_some_and(|alt| !written_name(alt, ALT_MAX)) {
        return Err(Problem::invalid("alt"));
    }
    if duration_ms.is_some_and(|duration| !(1..=DURATION_MS_MAX).contains(&duration)) {
        return Err(Problem::invalid("duration_ms"));
    }
    let upload = params.required_id("upload")?;
    let update = UpdateUpload { actor: actor.profile, upload, alt: alt.map(str::to_owned), duration_ms };
    Ok(Step::store(update, |ctx, mut upload| {
        upload.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&upload).step()
    }))
}

/// PUT /uploads/{upload}/preview.
pub fn preview(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let upload = request.params.required_id("upload")?;
    let file = request.file.cloned().ok_or(Problem::invalid("file"))?;
    if !is_preview(&file.mime) {
        return Err(Problem::new(Code::NotSupportedType));
    }
    Ok(file.publish(ctx, actor, Some(upload), |_, upload| Reply::ok(&upload).step()))
}
