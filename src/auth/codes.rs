//! The handlers of verify.code, verify.renew, verify.check, reset.code and reset.password.
//!
//! Owns how a code is drawn and what it is bound to. Storage decides when a code may be made and whether one is right,
//! in one transaction with what follows from it.
//! Invariant: an HMAC binds a code to its member (or its address) and its purpose, so that it is worth nothing anywhere
//! else; and a request for an unknown address does the same work and gets the same response as one for a known address.

use super::{rules, sign_in};
use crate::base::crypto::HmacKey;
use crate::base::secret::Secret;
use crate::model::attempts::Attempt;
use crate::model::code::{IssueResetCode, IssueVerifyCode, NewCode, Purpose, ResetPassword, VerifyMember};
use crate::model::handler::{Actor, Ctx, FollowUp, Reply, Request, Step};
use crate::model::id::MemberId;
use crate::model::job::{Done, Job};
use crate::model::mail::{CODES, Content, NewMail, SealedCode};
use crate::model::member::FindCredential;
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::Language;

/// POST /user/verify/code and /user/verify/renew.
pub fn verify_code(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    // The predecessor's clients name the kind of code. Only one kind exists for the member of a token, so the value is
    // checked to be a text and ignored.
    request.params.text("code_type")?;
    let code = new_verify_code(ctx, actor.member, request.client.language);
    let issue = IssueVerifyCode { at: ctx.now.unix_ms, member: actor.member, code };
    Ok(Step::store(issue, |ctx, ()| with_delivery(ctx, Reply::created(&())).step()))
}

/// POST /user/verify/check.
pub fn verify_check(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let code = request.params.required_text("code")?;
    let member = actor.member;
    let subject = member.to_bytes();
    let key = &ctx.settings.lookup_key;
    let verify = VerifyMember {
        at: ctx.now.unix_ms,
        member,
        holder: holder(key, Purpose::Verify, &subject),
        tag: tag(key, Purpose::Verify, &subject, code),
    };
    Ok(Step::store(verify, move |ctx, ()| {
        ctx.follow_ups.push(FollowUp::Verified(member));
        Reply::done().step()
    }))
}

/// POST /user/reset/code.
pub fn reset_code(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    let code = new_code(ctx, Purpose::Reset, email.as_bytes(), request.client.language);
    let issue = IssueResetCode { at: ctx.now.unix_ms, email: Secret::new(email), code };
    Ok(Step::store(issue, |ctx, ()| with_delivery(ctx, Reply::created(&())).step()))
}

/// POST /user/reset/password and /user/verify/reset/password.
pub fn reset_password(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    let code = request.params.required_text("code")?.to_owned();
    let password = request.params.required_text("password")?;
    if !rules::good_password(password, &email, "") {
        return Err(Problem::invalid("password"));
    }
    let password = password.to_owned();
    let language = request.client.language;
    let question = FindCredential { email: email.clone(), device: None };
    Ok(Step::store(question, move |ctx, credential| {
        // Only a client with a right code learns that the password is the account's name. Storage checks the code.
        let allowed = credential
            .is_none_or(|credential| rules::good_password(&password, &email, &credential.display_name));
        let job = Job::HashPassword { password: Secret::new(password), salt: ctx.salt() };
        Ok(Step::work(job, move |ctx, done| {
            let Done::PasswordHashed(hash) = done else { return Err(Code::GeneralError.into()) };
            let mail = NewMail::new(ctx.id(), language, Content::PasswordChanged);
            let key = &ctx.settings.lookup_key;
            let reset = ResetPassword {
                at: ctx.now.unix_ms,
                holder: holder(key, Purpose::Reset, email.as_bytes()),
                tag: tag(key, Purpose::Reset, email.as_bytes(), &code),
                hash: allowed.then_some(hash),
                email: Secret::new(email.clone()),
                mail,
            };
            Ok(Step::store_or(reset, move |ctx, result| {
                result.map_err(|refusal| match refusal {
                    // A member who was deleted meanwhile has no code.
                    Refusal::NotFound | Refusal::Unauthorized => Code::CodeWrong.into(),
                    refusal => Problem::from(refusal),
                })?;
                // A client that has a right code reads the mailbox, so it is not a guesser.
                let account = sign_in::account_key(ctx, &email);
                ctx.attempts.succeeded(Attempt::SignIn(account));
                Reply::done().step()
            }))
        }))
    }))
}

/// Adds where the code is found, if it is not in the mailbox of the address.
pub fn with_delivery(ctx: &Ctx<'_>, reply: Reply) -> Reply {
    if ctx.settings.mail_to_file { reply.beside("delivery", "file") } else { reply }
}

/// Makes a code that verifies the address of this member.
pub fn new_verify_code(ctx: &mut Ctx<'_>, member: MemberId, language: Language) -> NewCode {
    new_code(ctx, Purpose::Verify, &member.to_bytes(), language)
}

/// Draws six digits from the system's generator.
fn new_code(ctx: &mut Ctx<'_>, purpose: Purpose, subject: &[u8], language: Language) -> NewCode {
    let code = ctx.entropy.below(u64::from(CODES)) as u32;
    let mail = ctx.id();
    let key = &ctx.settings.lookup_key;
    let sealed = SealedCode::seal(key, mail, code);
    let content = match purpose {
        Purpose::Verify => Content::VerifyCode(sealed),
        Purpose::Reset => Content::ResetCode(sealed),
    };
    NewCode {
        tag: tag(key, purpose, subject, &format!("{code:06}")),
        holder: holder(key, purpose, subject),
        mail: NewMail::new(mail, language, content),
    }
}

/// The form in which storage keeps a code.
fn tag(key: &HmacKey, purpose: Purpose, subject: &[u8], code: &str) -> Secret<[u8; 32]> {
    // The length comes first, so that two different pairs of subject and code never give the same bytes.
    let length = (subject.len() as u64).to_be_bytes();
    Secret::new(key.sign(&[&b"natter code "[..], word(purpose), &length, subject, code.as_bytes()].concat()))
}

/// Identifies the member or the address in a row that must not show it.
fn holder(key: &HmacKey, purpose: Purpose, subject: &[u8]) -> [u8; 16] {
    let tag = key.sign(&[&b"natter code holder "[..], word(purpose), subject].concat());
    let mut half = [0; 16];
    half.copy_from_slice(&tag[..16]);
    half
}

fn word(purpose: Purpose) -> &'static [u8] {
    match purpose {
        Purpose::Verify => b"verify ",
        Purpose::Reset => b"reset ",
    }
}
