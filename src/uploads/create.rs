//! The handler of upload.create: the body is admitted by its length, then the file is published.

use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::upload::AdmitUpload;

/// Checks, before the body is read, that the member has room for all bodies under way. The final check comes when an
/// upload is published.
pub fn admit(ctx: &mut Ctx<'_>, actor: Actor, bytes: u64) -> Result<Step, Problem> {
    let limits = &ctx.settings.limits;
    let (quota, files_max) = (limits.upload_quota, limits.upload_files_max);
    let admit = AdmitUpload { owner: actor.profile, bytes, quota, files_max };
    Ok(Step::store(admit, |_, room| Ok(Step::Receive { room })))
}

/// POST /uploads.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let file = request.file.cloned().ok_or(Problem::invalid("file"))?;
    Ok(file.publish(ctx, actor, |_, upload| Reply::created(&upload).step()))
}
