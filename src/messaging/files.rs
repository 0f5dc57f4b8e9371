//! The handler of file.list: the files that the messages of a conversation show.

use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;
use crate::model::upload::{FileKind, FilePlace, ListFiles};

/// GET /conversations/{conversation}/files, op `file.list`.
pub fn list(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let kind = params.required_text("kind")?;
    let kind = FileKind::ALL.into_iter().find(|(_, name)| *name == kind).ok_or(Problem::invalid("kind"))?.0;
    let conversation = params.required_id("conversation")?;
    let before = match params.next(read_next)? {
        Some(place) => Some(place),
        None => params.number("before")?.map(|n| FilePlace { n, place: 0 }),
    };
    let list = ListFiles { viewer: actor.profile, conversation, kind, before, limit: params.limit()? };
    Ok(Step::store(list, |ctx, mut page| {
        let unix_s = ctx.now.unix_s();
        page.files.iter_mut().for_each(|shown| shown.file.sign_urls(&ctx.settings.urls, unix_s));
        Reply::list(&page.files, page.next.map(|FilePlace { n, place }| format!("f{n}.{place}"))).step()
    }))
}

fn read_next(text: &str) -> Option<FilePlace> {
    let (n, place) = text.strip_prefix('f')?.split_once('.')?;
    Some(FilePlace { n: super::read_number(n)?, place: super::read_number(place)? })
}
