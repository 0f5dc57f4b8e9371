//! upload.create: admitted by its length, then published.

use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::upload::AdmitUpload;

/// Whether the member has room for the bodies that are coming, before the newest is read. The verdict that counts falls
/// when an upload is published.
pub fn admit(ctx: &mut Ctx<'_>, actor: Actor, bytes: u64) -> Result<Step, Problem> {
    let admit = AdmitUpload { owner: actor.profile, bytes, quota: ctx.settings.limits.upload_quota };
    Ok(Step::store(admit, |_, room| Ok(Step::Receive { room })))
}

/// POST /uploads.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let file = request.file.cloned().ok_or(Problem::invalid("file"))?;
    Ok(file.publish(ctx, actor, |_, upload| Reply::created(&upload).step()))
}
