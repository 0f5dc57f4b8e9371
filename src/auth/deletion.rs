//! The handler of account.delete.
//!
//! The password is checked first. Then one transaction of storage deletes the account, then the messages are deleted
//! step by step.
//! Invariant: 204 means that everything is deleted, or that a fault stopped the deletion of messages and a background
//! task continues it.

use super::{password, rules};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::member::{DeleteAccount, EraseMessages, Erased, FindSecret, Leftovers};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};

/// DELETE /user/me, POST /user/delete.
pub fn delete(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let presented = rules::presented_password(&request.params)?;
    let leftovers = match request.params.text("messages")? {
        None | Some("keep") => Leftovers::Keep,
        Some("erase") => Leftovers::Erase,
        Some(_) => return Err(Problem::invalid("messages")),
    };
    Ok(Step::store(FindSecret { member: actor.member }, move |ctx, secret| {
        password::prove(ctx, actor, presented, secret, move |ctx, hash| {
            let delete = DeleteAccount {
                at: ctx.now.unix_ms,
                member: actor.member,
                proven: Some(hash),
                by: None,
                leftovers,
            };
            Ok(Step::store_or(delete, move |ctx, deleted| match deleted {
                Ok(()) if leftovers == Leftovers::Keep => Reply::no_content().step(),
                Ok(()) => Ok(erase_messages(ctx)),
                // The password was changed while it was compared.
                Err(Refusal::Unauthorized) => Err(Code::EmailPasswordWrong.into()),
                Err(refusal) => Err(refusal.into()),
            }))
        })
    }))
}

/// The account is deleted, so the client can't ask again. A fault from here on is not reported to it, since a
/// background task continues the deletion.
fn erase_messages(ctx: &Ctx<'_>) -> Step {
    Step::store_or(EraseMessages { at: ctx.now.unix_ms }, |ctx, erased| match erased {
        Ok(Erased::Some) => Ok(erase_messages(ctx)),
        Ok(Erased::All) | Err(_) => Reply::no_content().step(),
    })
}
