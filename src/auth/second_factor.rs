//! The handlers of factor.begin, factor.confirm, factor.recovery and factor.remove, and the check of a code at a sign-in.
//!
//! Owns how a secret is drawn and sealed, what a recovery code is, and that guesses are counted. Leaves to storage that each code is used
//! once.
//!
//! ```text
//! begin: the secret, and `setup`, which is the secret sealed ──► the member's app shows codes
//! confirm: `setup`, the password and a code ──► what is stored is `setup`; the recovery codes are shown this once
//! ```
//! Invariant: between begin and confirm the server keeps nothing, and a secret that is stored was drawn here for this member within
//! [`SETUP_LIFE_S`].

use serde::Serialize;

use super::{password, rules};
use crate::base::crypto::aes_256_gcm::AeadKey;
use crate::base::crypto::{HmacKey, base32, base64url, base64url_decode};
use crate::base::percent;
use crate::base::secret::Secret;
use crate::base::time::UnixS;
use crate::base::totp;
use crate::model::attempts::{Attempt, AttemptKey};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::MemberId;
use crate::model::mail::{Content, FactorNews, NewMail};
use crate::model::member::{FindAccount, FindSecret, Member};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::second_factor::{
    ChangeFactor, FactorChange, NewFactor, RECOVERY_CODES, StoredFactor, UsedFactor,
};
use crate::proto::http::language::Language;

/// Seconds from begin to confirm at most.
const SETUP_LIFE_S: u64 = 3_600;
/// Bytes of a recovery code, which are 16 characters: nobody guesses 80 bits.
const RECOVERY_BYTES: usize = 10;
const RECOVERY_CHARS: usize = 16;
/// Characters of a code as it is typed, with its blanks. Above: 422 `invalid_code`.
pub(crate) const CODE_MAX: usize = 64;
/// Bytes that make the key of each sealed secret another one.
const SALT_BYTES: usize = 16;
/// The key is used once: see [`seal_key`].
const NONCE: [u8; 12] = [0; 12];

/// POST /user/second-factor.
pub fn begin(ctx: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Begun {
        secret: String,
        uri: String,
        setup: String,
    }
    let mut secret = [0; totp::SECRET_BYTES];
    ctx.entropy.fill(&mut secret);
    let setup = seal(ctx, actor.member, &secret);
    Ok(Step::store(FindAccount { member: actor.member }, move |ctx, account| {
        if account.member.second_factor {
            return Err(Code::NotAllowed.into());
        }
        let secret = base32(&secret);
        let url = &ctx.settings.public_url;
        let issuer = percent::encode(url.split_once("://").map_or(url.as_str(), |(_, host)| host));
        let who = percent::encode(&account.member.email);
        let uri = format!("otpauth://totp/{issuer}:{who}?secret={secret}&issuer={issuer}");
        Reply::ok(&Begun { secret, uri, setup }).step()
    }))
}

/// PUT /user/second-factor.
pub fn confirm(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let presented = rules::presented_password(&request.params)?;
    let code = presented_code(request)?.ok_or(Problem::invalid("code"))?;
    let setup = request.params.required_text("setup")?;
    let (secret, drawn) = open(ctx, actor.member, setup).ok_or(Problem::invalid("setup"))?;
    if drawn.after(SETUP_LIFE_S) < ctx.now.unix_s() {
        return Err(Problem::invalid("setup"));
    }
    let step = totp::step_of(&secret, &code, ctx.now.unix_s(), 0).ok_or(Problem::new(Code::CodeWrong))?;
    let (codes, recovery) = draw_recovery(ctx, actor.member);
    let change = FactorChange::Add(NewFactor { sealed: Secret::new(setup.to_owned()), step, recovery });
    Ok(change_as(actor, presented, None, change, (codes, FactorNews::On, request.client.language)))
}

/// POST /user/second-factor/recovery.
pub fn renew(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let presented = rules::presented_password(&request.params)?;
    let code = presented_code(request)?.ok_or(Problem::invalid("code"))?;
    let (codes, recovery) = draw_recovery(ctx, actor.member);
    let told = (codes, FactorNews::Renewed, request.client.language);
    Ok(change_as(actor, presented, Some(code), FactorChange::Renew(recovery), told))
}

/// DELETE /user/second-factor.
pub fn remove(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let presented = rules::presented_password(&request.params)?;
    let code = presented_code(request)?.ok_or(Problem::invalid("code"))?;
    let told = (Vec::new(), FactorNews::Off, request.client.language);
    Ok(change_as(actor, presented, Some(code), FactorChange::Remove, told))
}

/// Makes a change after the password was proven, and a code of the present factor if there must be one. The answer has the codes, and a mail the
/// news.
fn change_as(
    actor: Actor,
    presented: Secret,
    code: Option<String>,
    change: FactorChange,
    (codes, news, language): (Vec<String>, FactorNews, Language),
) -> Step {
    #[derive(Serialize)]
    struct Changed {
        member: Member,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        recovery_codes: Vec<String>,
    }
    Step::store(FindSecret { member: actor.member }, move |ctx, secret| {
        let factor = secret.second_factor.clone();
        password::prove(ctx, actor, presented, secret, move |ctx, hash| {
            let used = match code {
                Some(code) => {
                    Some(check(ctx, actor.member, &factor.ok_or(Problem::new(Code::NotFound))?, &code)?)
                }
                None => None,
            };
            let (at, member) = (ctx.now.unix_ms, actor.member);
            let mail = NewMail::new(ctx.id(), language, Content::SecondFactor(news));
            let change = ChangeFactor { at, member, proven: Some(hash), used, change, mail };
            Ok(Step::store_or(change, move |ctx, changed| match changed {
                Ok(member) => {
                    succeeded(ctx, actor.member);
                    Reply::ok(&Changed { member, recovery_codes: codes }).step()
                }
                // The password was changed while it was compared.
                Err(Refusal::Unauthorized) => Err(Code::EmailPasswordWrong.into()),
                Err(refusal) => Err(refusal.into()),
            }))
        })
    })
}

/// The code of a request, without blanks and hyphens, in upper case.
pub(super) fn presented_code(request: &Request<'_>) -> Result<Option<String>, Problem> {
    let Some(text) = request.params.text("code")? else { return Ok(None) };
    if !(1..=CODE_MAX).contains(&text.chars().count()) {
        return Err(Problem::invalid("code"));
    }
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).take(RECOVERY_CHARS + 1).collect();
    Ok(Some(plain.to_ascii_uppercase()))
}

/// Checks a code as far as it can be without storage, which has the recovery codes. It counts as a failure until [`succeeded`].
pub(super) fn check(
    ctx: &mut Ctx<'_>,
    member: MemberId,
    factor: &StoredFactor,
    code: &str,
) -> Result<UsedFactor, Problem> {
    let attempt = Attempt::Password(attempt_key(ctx, member));
    if let Some(wait) = ctx.attempts.blocked(attempt, ctx.now) {
        return Err(Problem::rate_limited(wait.as_millis() as u64));
    }
    ctx.attempts.failed(attempt, ctx.now);
    if totp::is_code(code) {
        // A secret that does not open was sealed with another PASSWORD_SECRET: only an operator can help.
        let (secret, _) = open(ctx, member, factor.sealed.expose()).ok_or(Problem::new(Code::CodeWrong))?;
        let step = totp::step_of(&secret, code, ctx.now.unix_s(), factor.step);
        return step.map(UsedFactor::Step).ok_or(Code::CodeWrong.into());
    }
    if code.len() != RECOVERY_CHARS {
        return Err(Code::CodeWrong.into());
    }
    Ok(UsedFactor::Recovery(recovery_tag(&ctx.settings.lookup_key, member, code)))
}

/// A code was right, and is used up.
pub(super) fn succeeded(ctx: &mut Ctx<'_>, member: MemberId) {
    let key = attempt_key(ctx, member);
    ctx.attempts.succeeded(Attempt::Password(key));
}

fn attempt_key(ctx: &Ctx<'_>, member: MemberId) -> AttemptKey {
    ctx.settings.lookup_key.sign(format!("second factor:{member}").as_bytes())
}

/// Recovery codes as the member writes them down, and as they are stored.
fn draw_recovery(ctx: &mut Ctx<'_>, member: MemberId) -> (Vec<String>, Vec<Secret<[u8; 32]>>) {
    let draw = |_| {
        let mut bytes = [0; RECOVERY_BYTES];
        ctx.entropy.fill(&mut bytes);
        let code = base32(&bytes);
        let tag = recovery_tag(&ctx.settings.lookup_key, member, &code);
        let parts: Vec<&str> = (0..RECOVERY_CHARS).step_by(4).map(|at| &code[at..at + 4]).collect();
        (parts.join("-"), tag)
    };
    (0..RECOVERY_CODES).map(draw).unzip()
}

fn recovery_tag(key: &HmacKey, member: MemberId, code: &str) -> Secret<[u8; 32]> {
    Secret::new(key.sign(&[&b"natter recovery code "[..], &member.to_bytes(), code.as_bytes()].concat()))
}

/// `salt: 16 | AES-256-GCM of secret and time | tag`, with the salt as additional data, in base64url.
fn seal(ctx: &mut Ctx<'_>, member: MemberId, secret: &[u8; totp::SECRET_BYTES]) -> String {
    let mut bytes = vec![0; SALT_BYTES];
    ctx.entropy.fill(&mut bytes);
    let key = seal_key(&ctx.settings.lookup_key, member, &bytes);
    bytes.extend_from_slice(secret);
    bytes.extend_from_slice(&ctx.now.unix_s().0.to_be_bytes());
    key.seal(NONCE, &mut bytes, SALT_BYTES);
    base64url(&bytes)
}

/// The secret, and when it was drawn.
fn open(ctx: &Ctx<'_>, member: MemberId, sealed: &str) -> Option<([u8; totp::SECRET_BYTES], UnixS)> {
    let sealed = base64url_decode(sealed)?;
    let salt = sealed.get(..SALT_BYTES)?;
    let text = seal_key(&ctx.settings.lookup_key, member, salt).open(NONCE, &sealed, SALT_BYTES)?;
    let (secret, drawn) = text.split_first_chunk()?;
    Some((*secret, UnixS(u64::from_be_bytes(drawn.try_into().ok()?))))
}

/// The key of one secret: the salt is drawn with it, so that no key seals two texts.
fn seal_key(key: &HmacKey, member: MemberId, salt: &[u8]) -> AeadKey {
    AeadKey::new(&key.sign(&[&b"natter second factor "[..], &member.to_bytes(), salt].concat()))
}
