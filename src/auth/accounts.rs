//! account.sign_up, account.sign_in, account.me. Owns the order of the steps and what may be told; the hash is
//! computed by a worker, the rows are written by storage. Invariant: a wrong password, an unknown address and a
//! disabled member get the same answer, after the same work.

use std::net::IpAddr;

use serde::Serialize;

use super::{codes, rules, token};
use crate::base::crypto::sha256;
use crate::base::network::is_public;
use crate::limits::{PASSWORD_MAX, PLACE_HOLD_MS};
use crate::model::attempts::AttemptKey;
use crate::model::handler::{Actor, Client, Ctx, Errand, Reply, Request, Step};
use crate::model::job::{Done, Hidden, Job};
use crate::model::mail::{Content, NewDevice, NewMail};
use crate::model::member::{FindAccount, FindCredential, Member, SignUp};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::profile::Profile;
use crate::model::session::{NewSession, OpenSession, Opened, SessionId, Token};
use crate::model::settings::SignUrls;

/// POST /user/sign-up.
pub fn sign_up(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    if !ctx.settings.sign_up_open {
        return Err(Code::SignUpClosed.into());
    }
    let display_name = rules::display_name(&request.params)?;
    let email = rules::email(&request.params)?;
    let password = request.params.required_text("password")?;
    if !rules::good_password(password, &email, &display_name) {
        return Err(Problem::invalid("password"));
    }
    let device = rules::unique_id(&request.params)?;
    let address_key = address_key(ctx, request.client.address);
    refuse_prober(ctx, &address_key)?;

    let client = request.client.clone();
    let job = Job::HashPassword { password: Hidden(password.to_owned()), salt: ctx.salt() };
    Ok(Step::work(job, move |ctx, done| {
        let Done::PasswordHashed(Hidden(hash)) = done else { return Err(Code::GeneralError.into()) };
        let member = ctx.id();
        let code = codes::new_verify_code(ctx, member, client.language);
        let write = SignUp {
            at: ctx.now.unix_ms,
            member,
            profile: ctx.id(),
            email,
            hash,
            nick_names: rules::nick_names(&display_name, ctx.entropy),
            display_name,
            session: new_session(ctx, &client, device),
            code: Some(Box::new(code)),
        };
        Ok(Step::store_or(write, move |ctx, opened| match opened {
            Ok(opened) => {
                ctx.errands.push(Errand::Mail);
                find_place(ctx, opened.pair.session, client.address);
                signed_in(ctx, 201, opened).step()
            }
            Err(Refusal::EmailTaken) => {
                // Asked again: others of this address may have been told meanwhile.
                refuse_prober(ctx, &address_key)?;
                ctx.attempts.email_taken.failed(address_key, ctx.now);
                Err(Code::EmailTaken.into())
            }
            Err(refusal) => Err(refusal.into()),
        }))
    }))
}

/// POST /user/sign-in.
///
/// Ten failures close an account for devices it has not seen, so that its owner's devices can't be locked out by
/// strangers; a device is known by its `unique_id` only, since a user agent can be guessed.
pub fn sign_in(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    // A password outside of the rules is a wrong one: which rules an old one was made by is nobody's business.
    let password = request.params.required_text("password")?;
    let password =
        Hidden(if password.chars().nth(PASSWORD_MAX).is_none() { password } else { "" }.to_owned());
    let device = rules::unique_id(&request.params)?;
    let client = request.client.clone();
    let question =
        FindCredential { email: email.clone(), device: device.as_deref().map(|id| sha256(id.as_bytes())) };

    Ok(Step::store(question, move |ctx, credential| {
        let account_key = account_key(ctx, &email);
        let device_known = credential.as_ref().is_some_and(|credential| credential.device_known);
        refuse_guesser(ctx, &account_key, device_known)?;
        // Without an active member the worker takes a dummy hash of the same cost.
        let credential = credential.filter(|credential| credential.active);
        let hash = credential.as_ref().map(|credential| Hidden(credential.hash.clone()));
        let job = Job::VerifyPassword { password, hash, salt: ctx.salt() };
        Ok(Step::work(job, move |ctx, done| {
            let Done::PasswordVerified { matches, rehash } = done else {
                return Err(Code::GeneralError.into());
            };
            // Asked again: of many guesses sent at once, those beyond the tenth failure learn nothing.
            refuse_guesser(ctx, &account_key, device_known)?;
            let Some(credential) = credential.filter(|_| matches) else {
                ctx.attempts.sign_in.failed(account_key, ctx.now);
                return Err(Code::EmailPasswordWrong.into());
            };
            ctx.attempts.sign_in.succeeded(&account_key);
            let session = new_session(ctx, &client, device);
            let mail = new_device_mail(ctx, &client, &session);
            let write = OpenSession {
                at: ctx.now.unix_ms,
                member: credential.member,
                session,
                hash: Hidden(credential.hash),
                rehash: rehash.map(|Hidden(hash)| hash),
                mail,
            };
            Ok(Step::store_or(write, move |ctx, opened| match opened {
                Ok(opened) => {
                    ctx.errands.push(Errand::Mail);
                    find_place(ctx, opened.pair.session, client.address);
                    signed_in(ctx, 200, opened).step()
                }
                // Disabled or deleted while the hash was computed.
                Err(Refusal::Unauthorized) => Err(Code::EmailPasswordWrong.into()),
                Err(refusal) => Err(refusal.into()),
            }))
        }))
    }))
}

/// GET /user/me.
pub fn me(_: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Me {
        member: Member,
        profile: Profile,
    }
    Ok(Step::store_or(FindAccount { member: actor.member }, |ctx, account| {
        let mut account = account.map_err(|refusal| match refusal {
            // The member is gone: so is the right to ask.
            Refusal::NotFound => Code::UnauthorizedAccess.into(),
            refusal => Problem::from(refusal),
        })?;
        account.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&Me { member: account.member, profile: account.profile }).step()
    }))
}

/// `{token,member,profile}`.
fn signed_in(ctx: &Ctx<'_>, status: u16, opened: Opened) -> Reply {
    #[derive(Serialize)]
    struct SignedIn {
        token: Token,
        member: Member,
        profile: Profile,
    }
    let Opened { mut account, pair } = opened;
    account.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
    let token = token::sign_pair(ctx.settings, ctx.epoch, &pair);
    Reply::data(status, &SignedIn { token, member: account.member, profile: account.profile })
}

/// The session is bound to the `unique_id` of the body and to nothing else: a client that merely sends the `UniqueId`
/// header has not asked to be bound, and would be locked out the day it leaves the header away.
fn new_session(ctx: &mut Ctx<'_>, client: &Client, unique_id: Option<String>) -> NewSession {
    let issued = ctx.now.unix_s();
    NewSession {
        id: ctx.id(),
        access_uuid: ctx.id(),
        refresh_uuid: ctx.id(),
        unique_id,
        user_agent: client.user_agent.clone(),
        address: client.address.to_canonical().to_string(),
        access_expire: issued + ctx.settings.limits.access_ttl,
        refresh_expire: issued + ctx.settings.limits.refresh_ttl,
    }
}

/// Sent if the device is new. Where the place can be found out, the mail waits for it: the sign-in does not.
fn new_device_mail(ctx: &mut Ctx<'_>, client: &Client, session: &NewSession) -> NewMail {
    let content = Content::NewDevice(Box::new(NewDevice {
        session: session.id,
        address: session.address.clone(),
        user_agent: session.user_agent.clone(),
        place: None,
    }));
    let mail = NewMail::new(ctx.id(), client.language, content);
    let hold_ms = if has_place(ctx, client.address) { PLACE_HOLD_MS } else { 0 };
    NewMail { hold_ms, ..mail }
}

/// An address of one's own house is nowhere, and nobody outside is told of it.
fn has_place(ctx: &Ctx<'_>, address: IpAddr) -> bool {
    ctx.settings.places && is_public(address)
}

fn find_place(ctx: &mut Ctx<'_>, session: SessionId, address: IpAddr) {
    if has_place(ctx, address) {
        ctx.errands.push(Errand::FindPlace { session, address });
    }
}

/// Under which failed sign-ins of an account are counted, known or unknown.
pub(super) fn account_key(ctx: &Ctx<'_>, email: &str) -> AttemptKey {
    ctx.settings.lookup_key.sign(format!("sign-in:{email}").as_bytes())
}

fn refuse_guesser(ctx: &Ctx<'_>, account: &AttemptKey, device_known: bool) -> Result<(), Problem> {
    match ctx.attempts.sign_in.blocked(account, ctx.now) {
        Some(wait) if !device_known => Err(Problem::rate_limited(wait.as_millis() as u64)),
        _ => Ok(()),
    }
}

/// `email_taken` is the one admitted disclosure: an address that asked often enough may not sign anyone up for a
/// while, taken or not. A rate by address, so `RATE_LIMIT=off` lifts it.
fn refuse_prober(ctx: &Ctx<'_>, address: &AttemptKey) -> Result<(), Problem> {
    match ctx.attempts.email_taken.blocked(address, ctx.now) {
        Some(wait) if ctx.settings.limits.rate_limit => Err(Problem::rate_limited(wait.as_millis() as u64)),
        _ => Ok(()),
    }
}

/// One household of IPv6 is a /64.
fn address_key(ctx: &Ctx<'_>, address: IpAddr) -> AttemptKey {
    let network = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    };
    ctx.settings.lookup_key.sign(&[b"email-taken:", network.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::json;
    use crate::model::handler::Handler;
    use crate::model::member::{Account, Credential};
    use crate::model::message::Time;
    use crate::model::operation::{Answer, Command};
    use crate::model::session::Pair;
    use crate::model::testing::{Played, Stage, UNIX_MS, problem, reply, text};

    const SIGN_UP: Handler = Handler::Public(sign_up);
    const SIGN_IN: Handler = Handler::Public(sign_in);
    const ME: Handler = Handler::Member(me);
    const GOOD: &str = r#"{"display_name":"Ada","email":"Ada@Example.org","password":"analytical engine"}"#;
    const CREDENTIALS: &str = r#"{"email":"Ada@Example.org","password":"analytical engine"}"#;

    fn account(member: Id, profile: Id) -> Account {
        Account {
            member: Member {
                id: member,
                email: "ada@example.org".to_owned(),
                verified: false,
                active: true,
                created_at: Time(UNIX_MS),
            },
            profile: Profile {
                id: profile,
                member: Some(member),
                display_name: "Ada".to_owned(),
                nick_name: "ada1234".to_owned(),
                profile_image: None,
                is_private: false,
                created_at: Time(UNIX_MS),
                presence: Some(true),
            },
        }
    }

    fn opened(member: Id, profile: Id, session: &NewSession) -> Opened {
        Opened {
            account: account(member, profile),
            pair: Pair {
                session: session.id,
                member,
                profile,
                access_uuid: session.access_uuid,
                refresh_uuid: session.refresh_uuid,
                device: session.unique_id.as_deref().map(|id| sha256(id.as_bytes())),
                issued: UNIX_MS / 1_000,
                access_expire: session.access_expire,
                refresh_expire: session.refresh_expire,
            },
        }
    }

    fn hashed(job: Job) -> Done {
        let Job::HashPassword { password, salt } = job else { panic!("{job:?}") };
        assert_eq!(password.0, "analytical engine");
        assert_ne!(salt, [0; 16]);
        Done::PasswordHashed(Hidden("$phc".to_owned()))
    }

    fn credential(active: bool, device_known: bool) -> Answer {
        Answer::FindCredential(Some(Credential {
            member: Id(11),
            profile: Id(12),
            active,
            hash: "$phc".to_owned(),
            display_name: "Ada".to_owned(),
            device_known,
        }))
    }

    /// Sign-in up to the verdict of the worker.
    fn guess(stage: &mut Stage, found: Answer, right: bool) -> Played {
        let step = stage.ask(SIGN_IN, CREDENTIALS);
        let step = stage.answer(step, |_| found)?;
        stage.finish(Ok(step), |_| Done::PasswordVerified { matches: right, rehash: None })
    }

    fn open(stage: &mut Stage, step: Played) -> Played {
        stage.answer(step, |command| {
            let Command::OpenSession(open) = command else { panic!("{command:?}") };
            Answer::OpenSession(Box::new(opened(Id(11), Id(12), &open.session)))
        })
    }

    #[test]
    fn sign_up_hashes_then_writes_then_answers_with_tokens() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_UP, &GOOD.replace('}', r#","unique_id":"phone"}"#));
        let step = stage.finish(step, hashed);
        let step = stage.answer(step, |command| {
            let Command::SignUp(write) = command else { panic!("{command:?}") };
            assert_eq!(
                (write.at, write.email.as_str(), write.hash.as_str()),
                (UNIX_MS, "ada@example.org", "$phc")
            );
            assert_eq!((write.display_name.as_str(), write.nick_names.len()), ("Ada", 5));
            assert_eq!(write.session.unique_id.as_deref(), Some("phone"));
            assert_eq!(
                (write.session.address.as_str(), write.session.user_agent.as_str()),
                ("192.0.2.7", "test")
            );
            assert_eq!(write.session.access_expire, UNIX_MS / 1_000 + 900);
            assert_eq!(write.session.refresh_expire, UNIX_MS / 1_000 + 2_592_000);
            let ids = [write.member, write.profile, write.session.id, write.session.access_uuid];
            assert!(ids.iter().all(|id| id.unix_ms() == UNIX_MS));
            Answer::SignUp(Box::new(opened(write.member, write.profile, &write.session)))
        });
        let (status, body) = text(step);
        assert_eq!(status, 201);
        let value = json::parse(body.as_bytes()).expect("JSON");
        let data = value.get("data").expect("data");
        let access = data.get("token").and_then(|token| token.get("access")).and_then(|a| a.as_str());
        let claims = token::verify_access(&stage.settings, "k3", UNIX_MS / 1_000, access.expect("access"))
            .expect("good");
        assert!(token::device_matches(claims.device, Some("phone")) && claims.device.is_some());
        for name in ["access", "refresh", "token_uuid", "refresh_uuid", "token_expire", "refresh_expire"] {
            assert!(data.get("token").and_then(|token| token.get(name)).is_some(), "{name}");
        }
        assert_eq!(
            data.get("member").and_then(|m| m.get("email")).and_then(|e| e.as_str()),
            Some("ada@example.org")
        );
        assert!(data.get("profile").and_then(|p| p.get("presence")).is_some());
        assert!(!body.contains("$phc"));
    }

    #[test]
    fn sign_up_names_what_is_wrong_before_any_work() {
        let check = |body: &str, expect: (u16, &str)| {
            let (status, code) = problem(Stage::new().ask(SIGN_UP, body));
            assert_eq!((status, code.as_str()), expect, "{body}");
        };
        check("{}", (422, "invalid_display_name"));
        check(&GOOD.replace("Ada@Example.org", "ada"), (422, "invalid_email"));
        check(&GOOD.replace("\"Ada\"", "\" \""), (422, "invalid_display_name"));
        check(&GOOD.replace("\"Ada\"", "[]"), (422, "invalid_display_name"));
        check(&GOOD.replace("analytical engine", "a"), (422, "invalid_password"));
        check(&GOOD.replace("analytical engine", "ada@example.org"), (422, "invalid_password"));
        check(&GOOD.replace('}', r#","unique_id":"a b"}"#), (422, "invalid_unique_id"));
        let mut closed = Stage::new();
        closed.settings.sign_up_open = false;
        assert_eq!(problem(closed.ask(SIGN_UP, GOOD)), (403, "sign_up_closed".to_owned()));
    }

    #[test]
    fn the_unique_id_header_alone_binds_nothing() {
        let mut stage = Stage::new();
        stage.client.unique_id = Some("header".to_owned());
        let step = stage.ask(SIGN_UP, &GOOD.replace('}', r#","unique_id":""}"#));
        let step = stage.finish(step, hashed);
        stage
            .answer(step, |command| {
                let Command::SignUp(write) = command else { panic!("{command:?}") };
                assert_eq!(write.session.unique_id, None);
                Answer::SignUp(Box::new(opened(write.member, write.profile, &write.session)))
            })
            .map(|_| ())
            .expect("an answer");
    }

    #[test]
    fn an_address_is_told_ten_times_an_hour_that_an_e_mail_is_taken() {
        let taken = |stage: &mut Stage| {
            let step = stage.ask(SIGN_UP, GOOD);
            if step.is_err() {
                return problem(step);
            }
            let step = stage.finish(step, hashed);
            problem(stage.refuse(step, Refusal::EmailTaken))
        };
        let mut stage = Stage::new();
        for _ in 0..10 {
            assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        }
        assert_eq!(taken(&mut stage), (429, "rate_limited".to_owned()));
        stage.client.address = "192.0.2.8".parse().expect("an address");
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        stage.client.address = "192.0.2.7".parse().expect("an address");
        stage.wait(3_600);
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));

        // One household of IPv6 counts as one, and RATE_LIMIT=off lifts it.
        let mut stage = Stage::new();
        for i in 0..10 {
            stage.client.address = format!("2001:db8::{i}").parse().expect("an address");
            assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        }
        stage.client.address = "2001:db8::ff".parse().expect("an address");
        assert_eq!(taken(&mut stage), (429, "rate_limited".to_owned()));
        stage.settings.limits.rate_limit = false;
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
    }

    #[test]
    fn sign_in_reads_verifies_and_opens_a_session() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_IN, &CREDENTIALS.replace('}', r#","unique_id":"phone"}"#));
        let step = stage.answer(step, |command| {
            let Command::FindCredential(find) = command else { panic!("{command:?}") };
            // A capital letter locked the Go server's users out.
            assert_eq!((find.email.as_str(), find.device), ("ada@example.org", Some(sha256(b"phone"))));
            credential(true, false)
        });
        let step = stage.finish(step, |job| {
            let Job::VerifyPassword { password, hash, .. } = job else { panic!("{job:?}") };
            assert_eq!(
                (password.0.as_str(), hash.map(|h| h.0).as_deref()),
                ("analytical engine", Some("$phc"))
            );
            Done::PasswordVerified { matches: true, rehash: Some(Hidden("$new".to_owned())) }
        });
        let step = stage.answer(step, |command| {
            let Command::OpenSession(open) = command else { panic!("{command:?}") };
            assert_eq!((open.member, open.rehash.as_deref()), (Id(11), Some("$new")));
            assert_eq!(open.session.unique_id.as_deref(), Some("phone"));
            Answer::OpenSession(Box::new(opened(Id(11), Id(12), &open.session)))
        });
        assert_eq!(reply(step).status, 200);
    }

    /// Texts and time told the Go server's guests which accounts exist.
    #[test]
    fn lineage_wrong_unknown_and_disabled_look_the_same() {
        let mut seen = Vec::new();
        for found in [credential(true, false), Answer::FindCredential(None), credential(false, false)] {
            let active = matches!(&found, Answer::FindCredential(Some(c)) if c.active);
            let mut stage = Stage::new();
            let step = stage.ask(SIGN_IN, CREDENTIALS);
            let step = stage.answer(step, |_| found);
            let mut jobs = 0;
            // The worker runs in every case; where there is no active member it has no hash to betray.
            let step = stage.finish(step, |job| {
                let Job::VerifyPassword { hash, .. } = job else { panic!("{job:?}") };
                assert_eq!(hash.is_some(), active);
                jobs += 1;
                Done::PasswordVerified { matches: false, rehash: None }
            });
            let Err(told) = step else { panic!("expected a problem") };
            seen.push((told, jobs));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        assert_eq!(seen[0].0.code_text(), "email_password_wrong");

        // Disabled between the two steps.
        let mut stage = Stage::new();
        let step = guess(&mut stage, credential(true, false), true);
        assert_eq!(
            problem(stage.refuse(step, Refusal::Unauthorized)),
            (401, "email_password_wrong".to_owned())
        );
    }

    #[test]
    fn a_password_outside_of_the_rules_is_a_wrong_one() {
        for password in ["a", "", &"x".repeat(129)] {
            let mut stage = Stage::new();
            let body = format!(r#"{{"email":"ada@example.org","password":"{password}"}}"#);
            let step = stage.ask(SIGN_IN, &body);
            let step = stage.answer(step, |_| credential(true, false));
            let step = stage.finish(step, |job| {
                let Job::VerifyPassword { password, .. } = job else { panic!("{job:?}") };
                assert!(password.0.len() <= 128);
                Done::PasswordVerified { matches: false, rehash: None }
            });
            assert_eq!(problem(step), (401, "email_password_wrong".to_owned()), "{password}");
        }
        for (body, code) in [
            ("{}", "invalid_email"),
            (r#"{"email":"ada","password":"x"}"#, "invalid_email"),
            (r#"{"email":"ada@example.org"}"#, "invalid_password"),
            (r#"{"email":"ada@example.org","password":1}"#, "invalid_password"),
            (r#"{"email":"ada@example.org","password":"x","unique_id":" "}"#, "invalid_unique_id"),
        ] {
            assert_eq!(problem(Stage::new().ask(SIGN_IN, body)), (422, code.to_owned()), "{body}");
        }
    }

    /// The Go server had no limit on guesses.
    #[test]
    fn lineage_ten_failures_close_an_account_for_strangers() {
        for unknown in [false, true] {
            let found = |known| if unknown { Answer::FindCredential(None) } else { credential(true, known) };
            let mut stage = Stage::new();
            for _ in 0..10 {
                let step = guess(&mut stage, found(false), false);
                assert_eq!(problem(step), (401, "email_password_wrong".to_owned()));
                // Another address makes no difference.
                stage.client.address = "192.0.2.9".parse().expect("an address");
            }
            let step = guess(&mut stage, found(false), true);
            let Err(told) = step else { panic!("expected a problem") };
            assert_eq!((told.status(), told.retry_after_ms), (429, Some(900_000)));
            stage.settings.limits.rate_limit = false;
            assert_eq!(
                problem(guess(&mut stage, found(false), true)).0,
                429,
                "RATE_LIMIT=off never lifts this"
            );
            if !unknown {
                // The owner's own device is not locked out.
                let step = guess(&mut stage, found(true), true);
                assert_eq!(reply(open(&mut stage, step)).status, 200);
            }
            stage.wait(900);
            assert_eq!(problem(guess(&mut stage, found(false), false)).0, 401);
        }
    }

    #[test]
    fn guesses_sent_at_once_learn_no_more_than_ten() {
        let mut stage = Stage::new();
        let mut flying = Vec::new();
        for _ in 0..20 {
            let step = stage.ask(SIGN_IN, CREDENTIALS);
            flying.push(stage.answer(step, |_| credential(true, false)));
        }
        let mut statuses = Vec::new();
        for (i, step) in flying.into_iter().enumerate() {
            // The fifteenth is right, and is not told so.
            let step = stage.finish(step, |_| Done::PasswordVerified { matches: i == 14, rehash: None });
            statuses.push(problem(step).0);
        }
        assert_eq!(statuses, [[401; 10], [429; 10]].concat());
    }

    #[test]
    fn a_success_clears_the_count() {
        let mut stage = Stage::new();
        for _ in 0..3 {
            for _ in 0..9 {
                assert_eq!(problem(guess(&mut stage, credential(true, false), false)).0, 401);
            }
            let step = guess(&mut stage, credential(true, false), true);
            assert_eq!(reply(open(&mut stage, step)).status, 200);
        }
    }

    #[test]
    fn a_worker_without_time_is_busy() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_UP, GOOD);
        assert_eq!(problem(stage.finish(step, |_| Done::Busy)), (503, "busy".to_owned()));
        let step = stage.ask(SIGN_IN, CREDENTIALS);
        let step = stage.answer(step, |_| credential(true, false));
        assert_eq!(problem(stage.finish(step, |_| Done::Failed)), (500, "general_error".to_owned()));
        // A fault is no failure of the guesser.
        assert!(stage.attempts.sign_in.blocked(&[0; 32], stage.now).is_none());
    }

    #[test]
    fn me_is_my_account() {
        let mut stage = Stage::new();
        let step = stage.ask(ME, "");
        let step = stage.answer(step, |command| {
            let Command::FindAccount(find) = command else { panic!("{command:?}") };
            assert_eq!(find.member, Id(11));
            Answer::FindAccount(Box::new(account(Id(11), Id(12))))
        });
        let (status, body) = text(step);
        assert_eq!(status, 200);
        let (member, profile) = (Id(11), Id(12));
        assert_eq!(
            body,
            format!(
                r#"{{"data":{{"member":{{"id":"{member}","email":"ada@example.org","verified":false,"active":true,"created_at":"2026-11-22T13:03:54.120Z"}},"profile":{{"id":"{profile}","member":"{member}","display_name":"Ada","nick_name":"ada1234","profile_image":null,"is_private":false,"created_at":"2026-11-22T13:03:54.120Z","presence":true}}}}}}"#
            )
        );
        let step = stage.ask(ME, "");
        assert_eq!(problem(stage.refuse(step, Refusal::NotFound)), (401, "unauthorized_access".to_owned()));
    }
}
