//! The handler of upload.create: admits the body by its length, then publishes the file.

use crate::limits::PREVIEW_MAX;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::upload::{AdmitUpload, Quota, UnderWay};

/// Checks, before the body is read, that the member's quota has room for all bodies in progress. The quota is checked
/// again when an upload is published; the number of files is checked only here, with all uploads in progress.
pub fn admit(ctx: &mut Ctx<'_>, actor: Actor, under_way: UnderWay) -> Result<Step, Problem> {
    let limits = &ctx.settings.limits;
    let quota = Quota { bytes: limits.upload_quota, files: limits.upload_files_max };
    let UnderWay { files, bytes } = under_way;
    let admit = AdmitUpload { owner: actor.profile, bytes, files, quota };
    Ok(Step::store(admit, |_, room| Ok(Step::Receive { room })))
}

/// Admits the body of a preview, which is small and may replace another of the same size: only its publication knows what it adds.
pub fn admit_preview(_: &mut Ctx<'_>, _: Actor, _: UnderWay) -> Result<Step, Problem> {
    Ok(Step::Receive { room: PREVIEW_MAX })
}

/// POST /uploads.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let file = request.file.cloned().ok_or(Problem::invalid("file"))?;
    Ok(file.publish(ctx, actor, None, |_, upload| Reply::created(&upload).step()))
}
