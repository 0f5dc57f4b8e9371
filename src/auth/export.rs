//! The handler of account.export.
//!
//! Reads the first page before the response begins, so that a refused export gets a problem document. The server reads
//! the other pages as the peer takes them.

use crate::model::export::{ExportAccount, ExportCursor};
use crate::model::handler::{Actor, Ctx, Request, Step, Stream};
use crate::model::problem::Problem;

/// GET /user/export.
pub fn export(ctx: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    let read = ExportAccount {
        member: actor.member,
        profile: actor.profile,
        cursor: ExportCursor::Account,
        urls: ctx.settings.urls.clone(),
        unix_s: ctx.now.unix_s(),
    };
    Ok(Step::store(read, move |_, first| Stream::Export { actor, first }.step()))
}
