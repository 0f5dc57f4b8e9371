//! The handler of account.password, and the proof of the password that dangerous requests demand.
//!
//! A signed-in member must present the password itself for these requests, since an access token may have been stolen.
//! Invariant: a worker compares a password, and every failed guess is counted.

use crate::base::secret::Secret;
use crate::base::text::password_form;
use crate::model::attempts::{Attempt, AttemptKey};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::job::{Done, Job, VerifyPassword};
use crate::model::mail::{Content, NewMail};
use crate::model::member::{FindSecret, StoredSecret};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::session::ChangePassword;

use super::rules;

/// PUT /user/password.
pub fn change(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let old = rules::presented_password(&request.params)?;
    let new = request.params.required_text("new_password")?;
    let confirmed = request.params.required_text("confirm_password")?;
    if confirmed != new && password_form(confirmed) != password_form(new) {
        return Err(Code::PasswordMismatch.into());
    }
    if !rules::good_password(new, "", "") {
        return Err(Problem::invalid("new_password"));
    }
    let new = new.to_owned();
    let language = request.client.language;
    Ok(Step::store(FindSecret { member: actor.member }, move |ctx, secret| {
        if !rules::good_password(&new, secret.email.expose(), &secret.display_name) {
            return Err(Problem::invalid("new_password"));
        }
        prove(ctx, actor, old, secret, move |ctx, old_hash| {
            let job = Job::HashPassword { password: Secret::new(new), salt: ctx.salt() };
            Ok(Step::work(job, move |ctx, done| {
                let Done::PasswordHashed(hash) = done else {
                    return Err(Code::GeneralError.into());
                };
                let change = ChangePassword {
                    at: ctx.now.unix_ms,
                    member: actor.member,
                    session: actor.session,
                    old_hash,
                    hash,
                    mail: NewMail::new(ctx.id(), language, Content::PasswordChanged),
                };
                Ok(Step::store_or(change, |_, changed| match changed {
                    Ok(()) => Reply::done().step(),
                    // The password was changed or the member was disabled while the hashes were computed, so the proof
                    // is no longer valid.
                    Err(Refusal::Unauthorized) => Err(Code::EmailPasswordWrong.into()),
                    Err(refusal) => Err(refusal.into()),
                }))
            }))
        })
    }))
}

/// Compares a presented password with the member's, and continues with the hash it was compared with.
pub fn prove(
    ctx: &mut Ctx<'_>,
    actor: Actor,
    password: Secret,
    secret: StoredSecret,
    then: impl FnOnce(&mut Ctx<'_>, Secret) -> Result<Step, Problem> + Send + 'static,
) -> Result<Step, Problem> {
    let key = ctx.settings.lookup_key.sign(format!("password:{}", actor.member).as_bytes());
    refuse_guesser(ctx, &key)?;
    let hash = secret.hash.clone();
    let job = VerifyPassword { password, hash: Some(hash), salt: ctx.salt(), known_to: Some(actor.member) };
    let job = Job::VerifyPassword(Box::new(job));
    Ok(Step::work(job, move |ctx, done| {
        let Done::PasswordVerified { matches, .. } = done else { return Err(Code::GeneralError.into()) };
        // Checked again: of many guesses sent at once, those after the tenth failure learn nothing.
        refuse_guesser(ctx, &key)?;
        if !matches {
            ctx.attempts.failed(Attempt::Password(key), ctx.now);
            return Err(Code::EmailPasswordWrong.into());
        }
        ctx.attempts.succeeded(Attempt::Password(key));
        then(ctx, secret.hash)
    }))
}

fn refuse_guesser(ctx: &Ctx<'_>, key: &AttemptKey) -> Result<(), Problem> {
    match ctx.attempts.blocked(Attempt::Password(*key), ctx.now) {
        Some(wait) => Err(Problem::rate_limited(wait.as_millis() as u64)),
        None => Ok(()),
    }
}
