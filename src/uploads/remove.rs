//! upload.delete, and the sweep of files nothing refers to any more.
//! Invariant: a file is removed only after the transaction that took its last row is on disk.

use crate::limits::SWEEP_FILES_MAX;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::job::{Done, Job};
use crate::model::problem::{Code, Problem};
use crate::model::upload::{DeleteUpload, ForgetFiles, ListErasedFiles};

/// DELETE /uploads/{upload}.
pub fn delete(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let upload = request.params.required_id("upload")?;
    let delete = DeleteUpload { actor: actor.profile, upload };
    Ok(Step::store(delete, |_, ()| Reply::no_content().step()))
}

/// One sweep, from the rows that name erased files to their end. Nobody waits for its reply; what fails is reported where
/// it fails, and tried again by the next.
pub fn sweep() -> Step {
    Step::store(ListErasedFiles { limit: SWEEP_FILES_MAX }, |_, files| {
        if files.is_empty() {
            return Reply::done().step();
        }
        let removed = files.clone();
        Ok(Step::work(Job::RemoveFiles { files }, move |_, done| match done {
            Done::FilesRemoved => {
                let more = removed.len() == SWEEP_FILES_MAX as usize;
                Ok(Step::store(ForgetFiles { files: removed }, move |_, ()| {
                    if more { Ok(sweep()) } else { Reply::done().step() }
                }))
            }
            _ => Err(Problem::new(Code::GeneralError)),
        }))
    })
}
