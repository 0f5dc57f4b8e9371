//! The handler of message.search.
//!
//! Any text is a valid query; one without a word finds nothing.

use crate::base::secret::Secret;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::message::SearchMessages;
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;

/// Characters of a search. Above: 422 `invalid_q`.
const SEARCH_CHARS_MAX: usize = 512;

/// GET /search, op `message.search`.
pub fn messages(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let query = params.required_text("q")?;
    if query.chars().nth(SEARCH_CHARS_MAX).is_some() {
        return Err(Problem::invalid("q"));
    }
    let conversation = params.id("conversation")?;
    let limit = params.limit()?;
    let before = params.next(|text| super::read_number(text.strip_prefix('s')?))?;
    let search = SearchMessages {
        viewer: actor.profile,
        query: Secret::new(query.to_owned()),
        conversation,
        before,
        limit,
    };
    Ok(Step::store(search, |ctx, mut found| {
        found.messages.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        let reply = Reply::messages(&found.messages, found.next.map(|seq| format!("s{seq}")));
        if found.complete { reply.step() } else { reply.beside("complete", &false).step() }
    }))
}
