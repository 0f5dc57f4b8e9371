//! upload.create: admitted by its length, then published.

use crate::limits::FORM_OVERHEAD_MIN;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::upload::AdmitUpload;

/// Whether the member has room for a body of this length, before it is read. A body of unknown length needs at least room
/// for a byte; the verdict that counts falls when the upload is published.
pub fn admit(ctx: &mut Ctx<'_>, actor: Actor, length: Option<u64>) -> Result<Step, Problem> {
    let bytes = length.unwrap_or_default().saturating_sub(FORM_OVERHEAD_MIN).max(1);
    let admit = AdmitUpload { owner: actor.profile, bytes, quota: ctx.settings.limits.upload_quota };
    Ok(Step::store(admit, |_, ()| Ok(Step::Receive)))
}

/// POST /uploads.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let file = request.file.cloned().ok_or(Problem::invalid("file"))?;
    Ok(file.publish(ctx, actor, |_, upload| Reply::created(&upload).step()))
}
