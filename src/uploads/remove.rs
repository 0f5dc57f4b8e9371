//! The handler of upload.delete, and the removal of files that no row refers to.
//!
//! Invariant: a file is removed only after the transaction that deleted its last row is on disk.

use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::job::{Done, Job};
use crate::model::problem::{Code, Problem};
use crate::model::upload::{DeleteUpload, ForgetFiles, ListErasedFiles};

/// Files that one run removes. If there were as many, the next run follows at once.
const SWEEP_FILES_MAX: u32 = 256;

/// DELETE /uploads/{upload}.
pub fn delete(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let upload = request.params.required_id("upload")?;
    let delete = DeleteUpload { actor: actor.profile, upload };
    Ok(Step::store(delete, |_, ()| Reply::no_content().step()))
}

/// One run of the background removal, from the rows that name erased files to the deletion of these rows. No client
/// waits for its reply. A failure is reported where it happens, and the next run tries again.
pub fn sweep() -> Step {
    Step::store(ListErasedFiles { after: None, limit: SWEEP_FILES_MAX }, |_, files| {
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
